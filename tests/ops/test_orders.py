"""Third derivatives: every op of the sweep, forward and reverse mode in all eight orders, against differences and JAX.

The function is `h(x) = Re sum(conj(g) f(x))` of one number, and each order gives the same number: its derivative along
three directions in turn. A forward step is a JVP; a reverse step is a gradient, paired with the direction. Expected is
the difference of second derivatives (reverse, then forward), which the sweep has proven.

A few cases of each kind run always; all of them with: pytest tests/ops/test_orders.py -m deep
"""

import functools
import itertools
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._array import to_host
from tapegrad.testing import _sweep
from tapegrad.testing._laws import compare
from tapegrad.testing._numerical import derivative

ENTRIES = _sweep.entries()
ORDERS = list(itertools.product("rf", repeat=3))
# One case of every fifteenth op, and all of what programs of every kind are made of.
SPINE = ("multiply", "divide", "tanh", "matmul", "sum", "getitem", "where", "einsum", "cholesky", "cross_entropy")
QUICK = [ENTRIES[0], *(entry for entry in ENTRIES if entry.op.name in SPINE)][::3]
QUICK += [
    next(entry for entry in ENTRIES if entry.op.name == name)
    for name in list(dict.fromkeys(entry.op.name for entry in ENTRIES))[::15]
]


def along(h, mode, ts):
    """Return the derivative of `h` in the direction `ts` as a function, by one mode."""
    if mode == "f":
        return lambda *xs: tg.jvp(h, xs, ts)[1]
    places = tuple(range(len(ts)))
    return lambda *xs: paired(tg.grad(h, places)(*xs), ts)


def paired(gs, ts):
    return functools.reduce(np.add, [np.sum(np.real(np.conj(t) * g)) for g, t in zip(gs, ts, strict=True)])


def weighted(call, gs):
    """Return the function of one number: results paired with `gs`, without entries that are not finite."""
    masks = [np.asarray(g != 0) for g in gs]

    def h(*xs):
        ys = call(*xs)
        if not all(mask.all() for mask in masks):
            ys, used = (
                [y[mask] for y, mask in zip(ys, masks, strict=True)],
                [g[mask] for g, mask in zip(gs, masks, strict=True)],
            )
        else:
            used = gs
        return paired(ys, used)

    return h


def third_derivatives(entry, dtypes):
    """Check that all orders give the difference of second derivatives, and return what they give."""
    point = entry.sample(dtypes).subject()
    if not point.xs or not point.outputs:
        return
    h = weighted(point.call, point.cotangents())
    directions = [point.like(point.xs) for _ in range(3)]
    first, second, third = directions
    two = along(along(h, "r", first), "f", second)
    (expected,) = derivative(lambda *xs: [to_host(np.asarray(two(*xs).data))], point.xs, third)
    # What cancels in the sum: the sizes of the derivatives of the results, one by one.
    pushed = point.call
    for ts in directions:
        pushed = functools.partial(lambda f, ts, *xs: list(tg.jvp(f, xs, ts)[1]), pushed, ts)
    scale = float(sum(np.sum(np.abs(y.data), where=np.isfinite(y.data)) for y in pushed(*point.xs)))
    for order in ORDERS:
        f = h
        for mode, ts in zip(order, directions, strict=True):
            f = along(f, mode, ts)
        got = np.asarray(f(*point.xs).data)
        compare(
            f"the third derivative of {entry} in order {''.join(order)}", got, expected.value, expected.error, scale
        )


def quietly(check, entry, dtypes):
    """Run a check under which warnings of NumPy's own call are no errors."""
    sample = entry.sample(dtypes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sample.call(*sample.xs, function=entry.op.function)
    with warnings.catch_warnings():
        for category in {warning.category for warning in caught}:
            warnings.simplefilter("ignore", category)
        check(entry, dtypes)


@pytest.mark.parametrize("entry", QUICK, ids=str)
def test_third_derivatives_of_some(entry):
    quietly(third_derivatives, entry, "d")


@pytest.mark.deep
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_third_derivatives(entry):
    for dtypes in "dD":
        if dtypes == "d" or _sweep.accepts(entry, dtypes):
            quietly(third_derivatives, entry, dtypes)
