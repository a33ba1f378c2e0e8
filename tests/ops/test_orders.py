"""Third derivatives: every op of the sweep, forward and reverse mode in all eight orders, against differences and JAX.

The function is `h(x) = Re sum(conj(g) f(x))` of one number, and each order gives the same number: its derivative along
three directions in turn. A forward step is a JVP; a reverse step is a gradient, paired with the direction. Expected is
the difference of second derivatives (reverse, then forward), which the sweep has proven.

A few cases of each kind run always; all of them with: pytest tests/ops/test_orders.py -m deep
"""

import contextlib
import functools
import itertools
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._array import to_host
from tapegrad._tape import differentiable
from tapegrad._tree import leaves
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
    """Return the function of one number: results paired with `gs`, without entries whose cotangent is zero."""
    masks = [np.asarray(g != 0) for g in gs]
    if all(mask.all() for mask in masks):
        return lambda *xs: paired(call(*xs), gs)
    picked = [g[mask] for g, mask in zip(gs, masks, strict=True)]
    return lambda *xs: paired([y[mask] for y, mask in zip(call(*xs), masks, strict=True)], picked)


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
    # What cancels in the sum: the sizes of the derivatives of the results, one by one, of all three orders.
    pushed, scale = point.call, 0.0
    for ts in directions:
        pushed = functools.partial(lambda f, ts, *xs: list(tg.jvp(f, xs, ts)[1]), pushed, ts)
        scale += float(sum(np.sum(np.abs(y.data), where=np.isfinite(y.data)) for y in pushed(*point.xs)))
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


def is_singular(entry):
    """Return whether this is the determinant of a singular matrix: its third derivative comes out as NaN, knowingly."""
    return entry.op.name == "det" and any(
        a.size and np.any(np.linalg.matrix_rank(a) < a.shape[-1]) for a in entry.sample().xs
    )


@pytest.mark.deep
@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if not is_singular(entry)], ids=str)
def test_third_derivatives(entry):
    for dtypes in "dD":
        if dtypes == "d" or _sweep.accepts(entry, dtypes):
            quietly(third_derivatives, entry, dtypes)


# Beside JAX

SPACES = {"numpy": "numpy", "numpy.linalg": "numpy.linalg", "numpy.fft": "numpy.fft", "tapegrad.ops.neural": "nn"}


def largest_entries():
    """Return for every op the case with the largest inputs."""
    by_op = {}
    for entry in ENTRIES:
        by_op.setdefault(entry.op.name, []).append(entry)
    return [max(found, key=lambda entry: sum(a.size for a in entry.sample().arrays)) for found in by_op.values()]


def jax_function(jax, op):
    """Return JAX's function of the same name in the same space of names, or skip the test."""
    module = "numpy" if isinstance(op.function, np.ufunc) else (getattr(op.function, "__module__", None) or "")
    found = jax
    for name in (*SPACES.get(module, "absent").split("."), op.function.__name__):
        found = getattr(found, name, None)
    if found is None:
        pytest.skip("JAX has no function of this name")
    return found


@pytest.mark.deep
@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")  # what JAX warns about is its own
@pytest.mark.parametrize("entry", [entry for entry in largest_entries() if not is_singular(entry)], ids=str)
def test_third_derivatives_beside_jax(entry):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    function = jax_function(jax, entry.op)
    sample = entry.sample()
    point = sample.subject()
    if not point.xs or not point.outputs or sample.hermitian:
        pytest.skip("no derivatives, or by triangles of matrices, where conventions differ")
    if entry.op.name == "pinv" and "rcond" in entry.case.settings:
        pytest.skip("JAX's rule takes the matrix for one that nothing is cut off from; differences confirm ours")
    gs = point.cotangents()
    directions = [point.like(point.xs) for _ in range(3)]

    def call(*xs):
        ys = leaves(sample.call(*xs, function=function))
        return [y for y in ys if hasattr(y, "dtype") and differentiable(y.dtype)]

    try:
        values = call(*map(jax.numpy.asarray, point.xs))

        def theirs(*xs):
            pairs = zip(call(*xs), gs, strict=True)
            return sum(jax.numpy.sum(jax.numpy.real(jax.numpy.conj(g) * y)) for y, g in pairs)

        for ts in directions:
            theirs = functools.partial(
                lambda f, ts, *xs: jax.jvp(f, xs, ts)[1], theirs, tuple(map(jax.numpy.asarray, ts))
            )
        expected = np.asarray(theirs(*map(jax.numpy.asarray, point.xs)))
    except (TypeError, ValueError, NotImplementedError, AttributeError, IndexError) as error:
        pytest.skip(f"JAX refuses: {str(error).splitlines()[0]}")
    if [y.shape for y in values] != [y.shape for y in point.outputs] or not all(
        np.allclose(y, z, equal_nan=True) for y, z in zip(values, point.outputs, strict=True)
    ):
        pytest.skip("JAX gives other values")
    h = weighted(point.call, gs)
    for ts in directions:
        h = along(h, "f", ts)
    scale = float(sum(np.sum(np.abs(g)) for g in gs))
    compare(f"the third derivative of {entry} beside JAX", np.asarray(h(*point.xs).data), expected, 0.0, scale)


@pytest.mark.deep
@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if is_singular(entry)], ids=str)
def test_third_derivatives_of_singular_determinants_are_no_numbers(entry):
    point = entry.sample().subject()
    h = weighted(point.call, point.cotangents())
    for order in ORDERS:
        f = h
        for mode in order:
            f = along(f, mode, point.like(point.xs))
        with np.errstate(all="ignore"), contextlib.suppress(np.linalg.LinAlgError):
            assert np.isnan(f(*point.xs).item())
