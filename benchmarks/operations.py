"""Workloads of single operations: chains of small ones, a mixture of small ones, and large elementwise ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy

from .core import Budget, Workload
from .frameworks import Problem


def chain(np: Any, y: Any, w: Any, b: Any, pairs: int) -> Any:
    """Multiplications and additions, each of the result of the one before."""
    for _ in range(pairs):
        y = y * w + b
    return np.sum(y)


def chain_by_hand(np: Any, y: Any, w: Any, b: Any, pairs: int) -> Any:
    """Return the loss of `chain` and its gradients."""
    seen = []
    for _ in range(pairs):
        seen.append(y)
        y = y * w + b
    loss = np.sum(y)
    g = np.ones_like(y)
    gw = gb = 0.0
    for y in reversed(seen):
        gb = gb + g
        gw = gw + g * y
        g = g * w
    return loss, (g, gw, gb)


def chain_problem(shape: tuple[int, ...], pairs: int) -> Problem:
    """Return `chain` on arrays of `shape`, with numbers for which nothing grows or dies out."""
    rng = numpy.random.default_rng(0)
    parameters = [rng.uniform(low, high, shape) for low, high in ((-1, 1), (0.9, 0.99), (-0.1, 0.1))]
    return Problem(
        partial(chain, pairs=pairs), partial(chain_by_hand, pairs=pairs), [], parameters, operations=2 * pairs
    )


def mixed(np: Any, y: Any, w: Any, v: Any, rounds: int) -> Any:
    """Eleven operations a round, on 8 elements: elementwise, reduction, product, shapes and broadcasting."""
    for _ in range(rounds):
        s = np.sin(y)
        e = np.exp(s * w)
        r = np.reshape(np.maximum(s, e - 1), (2, 4))
        y = np.reshape(r * np.sum(r, axis=0), (8,)) + np.dot(e, v)
    return np.sum(y)


def mixed_by_hand(np: Any, y: Any, w: Any, v: Any, rounds: int) -> Any:
    """Return the loss of `mixed` and its gradients."""
    seen = []
    for _ in range(rounds):
        s = np.sin(y)
        e = np.exp(s * w)
        m = e - 1
        r = np.maximum(s, m).reshape(2, 4)
        c = np.sum(r, axis=0)
        seen.append((y, s, e, s > m, r, c))
        y = (r * c).reshape(8) + np.dot(e, v)
    loss = np.sum(y)
    gy = np.ones_like(y)
    gw = gv = 0.0
    for y, s, e, larger, r, c in reversed(seen):
        gp = np.sum(gy)
        gv = gv + gp * e
        gy = gy.reshape(2, 4)
        gm = (gy * c + np.sum(gy * r, axis=0)).reshape(8)
        gs = gm * larger
        gz = (gp * v + (gm - gs)) * e
        gw = gw + gz * s
        gy = (gs + gz * w) * np.cos(y)
    return loss, (gy, gw, gv)


def mixed_problem(rounds: int) -> Problem:
    """Return `mixed` with numbers for which nothing grows."""
    rng = numpy.random.default_rng(0)
    parameters = [rng.uniform(-1, 1, 8), rng.uniform(-0.5, 0.5, 8), rng.uniform(0, 0.1, 8)]
    settings = {"rounds": rounds}
    return Problem(
        partial(mixed, **settings), partial(mixed_by_hand, **settings), [], parameters, operations=11 * rounds
    )


def elementwise(np: Any, x: Any, w: Any, b: Any) -> Any:
    """A gated unit, elementwise: the kind of expression that fills scientific programs."""
    return np.sum(np.tanh(x * w + b) * np.sigmoid(x * b - w))


def elementwise_by_hand(np: Any, x: Any, w: Any, b: Any) -> Any:
    """Return the loss of `elementwise` and its gradients."""
    t = np.tanh(x * w + b)
    s = 1 / (1 + np.exp(w - x * b))
    ts = t * s
    loss = np.sum(ts)
    gt = s * (1 - t * t)
    gs = ts * (1 - s)
    return loss, (gt * x - gs, gt + gs * x)


def elementwise_problem(size: int, dtype: str) -> Problem:
    """Return `elementwise` on `size` elements."""
    rng = numpy.random.default_rng(0)
    x, w, b = (rng.standard_normal(size).astype(dtype) for _ in range(3))
    return Problem(elementwise, elementwise_by_hand, [x], [w, b])


SMALL = [Budget("autograd", 1 / 8), Budget("hand", 1.3, more=True)]

WORKLOADS = [
    Workload(
        "chain-0d",
        "chains",
        "1,000 multiplications and additions of numbers, each of the result before: y = y * w + b",
        partial(chain_problem, (), 500),
        partial(chain_problem, (), 3),
        [Budget("torch", 0.45), *SMALL],
    ),
    Workload(
        "chain-8",
        "chains",
        "the same on arrays of 8 elements",
        partial(chain_problem, (8,), 500),
        partial(chain_problem, (8,), 3),
        [Budget("torch", 0.45), *SMALL],
    ),
    Workload(
        "mixed",
        "mixed",
        "110 operations through `np.` functions on 8 elements: sin, exp, maximum, sum, dot, reshape, arithmetic",
        partial(mixed_problem, 10),
        partial(mixed_problem, 2),
        [Budget("torch", 0.6), *SMALL],
    ),
    *(
        Workload(
            name,
            "elementwise",
            f"sum(tanh(x * w + b) * sigmoid(x * b - w)) on {size:,} elements, {dtype}",
            partial(elementwise_problem, size, dtype),
            partial(elementwise_problem, 7, dtype),
            budgets,
        )
        for name, size, dtype, budgets in (
            ("elementwise-1e4", 10_000, "float64", []),
            ("elementwise-1e6", 1_000_000, "float64", [Budget("torch", 0.9), Budget("hand", 1.1)]),
            ("elementwise-1e6-float32", 1_000_000, "float32", [Budget("torch", 0.9), Budget("hand", 1.1)]),
        )
    ),
]
