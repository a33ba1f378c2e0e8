"""Where the samples of an op's tests come from: domains of values, and cases of shapes and settings.

A row says `on=` which values its rule holds for, and `cases=` with which shapes and settings it is to be tried. Nothing
here is imported by the rules themselves; `tapegrad.testing` turns both into samples and into hypothesis strategies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Domain:
    """A set of arrays on which a rule holds.

    `draw(rng, shape)` gives float64 values (or, for constant inputs, booleans or integers). `complex` says that the
    rule holds for complex values too, whose real and imaginary parts are then drawn one after the other unless
    `draw_complex` says otherwise. `low` and `high` bound elementwise domains.
    """

    name: str
    draw: Draw
    complex: bool = False
    low: float = -np.inf
    high: float = np.inf
    draw_complex: Draw | None = None

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float64) -> np.ndarray[Any, Any]:
        """Return an array of `shape` and `dtype`; booleans and integers keep their own dtype."""
        dtype = np.dtype(dtype)
        if dtype.kind == "c":
            if not self.complex:
                raise TypeError(f"domain {self.name} holds no complex values")
            if self.draw_complex is not None:
                return self.draw_complex(rng, shape).astype(dtype)
            return (self.draw(rng, shape) + 1j * self.draw(rng, shape)).astype(dtype)
        values = np.asarray(self.draw(rng, shape))
        return values if values.dtype.kind in "bi" else values.astype(dtype)

    def and_complex(self, draw: Draw | None = None) -> Domain:
        """Return this domain with complex values too."""
        return replace(self, complex=True, draw_complex=draw)


def interval(low: float, high: float) -> Domain:
    """Real numbers between `low` and `high`."""
    return Domain(f"interval({low}, {high})", lambda rng, shape: rng.uniform(low, high, shape), low=low, high=high)


def away_from(*points: float, within: float = 3.0, gap: float = 0.1) -> Domain:
    """Real numbers of size at most `within` that keep a distance of at least `gap` from each of `points`."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        values = np.asarray(rng.uniform(-within, within, shape))
        for point in points:
            near = np.abs(values - point) < gap
            values = np.where(near, point + np.where(values < point, -gap, gap) + (values - point), values)
        return values

    return Domain(f"away_from{points}", draw, low=-within - gap, high=within + gap)


def _distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    count = int(np.prod(shape))
    values = (np.arange(count) - count / 2 + rng.uniform(0.1, 0.4, count)) * 0.37
    return rng.permutation(values).reshape(shape)


def _matrix(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return rng.uniform(-1, 1, shape)


real = replace(interval(-3, 3), name="real")
"""Real numbers of moderate size."""

anything = replace(real, name="anything", complex=True)
"""Real and complex numbers of moderate size."""

positive = replace(interval(0.2, 3), name="positive")

nonzero = replace(away_from(0.0, gap=0.3), name="nonzero", complex=True)

distinct = Domain("distinct", _distinct)
"""Real numbers of which no two are closer than a finite difference's step, in random order: no ties."""

booleans = Domain("booleans", lambda rng, shape: rng.random(shape) < 0.5)


def integers(low: int, high: int) -> Domain:
    """Integers from `low` up to, not including, `high`; constants."""
    return Domain(f"integers({low}, {high})", lambda rng, shape: rng.integers(low, high, shape))


def _well_conditioned(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    rows, columns = shape[-2:]
    return _matrix(rng, shape) + 2.0 * np.eye(rows, columns)


def _positive_definite(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    factor = _matrix(rng, shape)
    return factor @ np.swapaxes(factor, -1, -2) + np.eye(shape[-1])


invertible = Domain("invertible", _well_conditioned, complex=True)
positive_definite = Domain("positive_definite", _positive_definite)


def symmetric(gap: float = 0.1) -> Domain:
    """Symmetric matrices whose eigenvalues are at least `gap` apart."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        q, _ = np.linalg.qr(_matrix(rng, shape))
        n = shape[-1]
        w = (np.arange(n) - n / 2) * (gap + 0.5) + rng.uniform(0, 0.5, (*shape[:-2], n))
        return (q * w[..., None, :]) @ np.swapaxes(q, -1, -2)

    return Domain(f"symmetric(gap={gap})", draw)


@dataclass(frozen=True)
class Case:
    """One call of an op: the shapes of its inputs, and the arguments around them.

    An entry of `shapes` is a shape (a drawn array) or a list of shapes (a drawn sequence of arrays). `before` and
    `args` are literal positional arguments before and after the inputs, `settings` the keywords. `on` overrides the
    row's domain: one domain for all inputs, or a tuple of one for each.
    """

    shapes: tuple[Any, ...]
    before: tuple[Any, ...] = ()
    args: tuple[Any, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    on: Any = None


def case(
    *shapes: Any, before: tuple[Any, ...] = (), args: tuple[Any, ...] = (), on: Any = None, **settings: Any
) -> Case:
    """Return the case `function(*before, *arrays, *args, **settings)` with arrays of the given shapes."""
    return Case(shapes, before, args, settings, on)


ONE = [case(()), case((4,)), case((2, 3)), case((0,)), case((2, 0, 3)), case((2, 1, 3))]
"""The cases of a unary op, unless its row says otherwise."""

PAIRS = [
    case((), ()),
    case((3,), (3,)),
    case((2, 3), (2, 3)),
    case((), (3,)),
    case((2, 3), ()),
    case((2, 1), (3,)),
    case((2, 3), (3,)),
    case((1, 3), (2, 3)),
    case((4, 1, 3), (2, 1)),
    case((0, 3), (1, 3)),
    case((0,), (1,)),
]
"""The cases of a binary op, unless its row says otherwise: every way to broadcast, size 0 included."""
