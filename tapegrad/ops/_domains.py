"""Where the samples of an op's tests come from: domains of values, and cases of shapes and settings.

A row says `on=` which values its rule holds for, and `cases=` with which shapes and settings it is to be tried. Nothing
here is imported by the rules themselves; `tapegrad.testing` turns both into samples and into hypothesis strategies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Draw = Callable[["np.random.Generator", tuple[int, ...]], Array]

# Sums and products of entries come out as they should up to rounding in the least precise dtype that is drawn.
_ROUNDING = 1e-2


@dataclass(frozen=True)
class Domain:
    """A set of arrays on which a rule holds.

    `draw(rng, shape)` gives float64 values (or, for constant inputs, booleans or integers). `complex` says that the
    rule holds for complex values too, whose real and imaginary parts are then drawn one after the other unless
    `draw_complex` says otherwise. `low` and `high` bound elementwise domains; `holds(values)` says of values
    within these bounds whether they belong. The name is the code that makes the domain.
    """

    name: str
    draw: Draw
    complex: bool = False
    low: float = -np.inf
    high: float = np.inf
    draw_complex: Draw | None = None
    holds: Callable[[Array], bool] | None = None

    def __repr__(self) -> str:
        return self.name

    @property
    def hermitian(self) -> bool:
        """Whether these are matrices equal to their own conjugate transposes, of which functions may read a half."""
        return self.name.startswith(("symmetric", "positive_definite", "hermitian"))

    def contains(self, values: Any) -> bool:
        """Return whether an array, of any dtype, lies in the domain.

        Examples
        --------
        >>> import numpy as np
        >>> positive.contains(np.array([0.5, 2.0])), positive.contains(np.array([0.5, -2.0]))
        (True, False)
        """
        values = np.asarray(values)
        if values.dtype.kind == "c":
            if not self.complex or not np.isfinite(values).all():
                return False
            # Drawn one after the other, both parts lie in the interval: off zeros and branch cuts.
            parts = replace(self, holds=None)
            inside = self.draw_complex is not None or (parts.contains(values.real) and parts.contains(values.imag))
            return inside and (self.holds is None or bool(self.holds(values)))
        slack = 0.0 if values.dtype.kind in "biu" else 4 * float(np.finfo(values.dtype).eps) * np.abs(values)
        values = values.astype(np.float64) if values.dtype.kind == "f" else values
        within = np.isfinite(values) & (values >= self.low - slack) & (values <= self.high + slack)
        return bool(within.all()) and (self.holds is None or bool(self.holds(values)))

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
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

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        values = np.asarray(rng.uniform(-within, within, shape))
        for point in points:
            near = np.abs(values - point) < gap
            values = np.where(near, point + np.where(values < point, -gap, gap) + (values - point), values)
        return values

    def holds(values: Array) -> bool:
        # A float16 next to the gap's edge may be rounded over it.
        return all(bool((np.abs(values - point) >= gap * (1 - _ROUNDING)).all()) for point in points)

    changed = f", within={within}" * (within != 3.0) + f", gap={gap}" * (gap != 0.1)
    name = f"away_from({', '.join(map(str, points))}{changed})"
    return Domain(name, draw, low=-within - gap, high=within + gap, holds=holds)


def _distinct(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    count = int(np.prod(shape))
    values = (np.arange(count) - count / 2 + rng.uniform(0.1, 0.4, count)) * 0.37
    return rng.permutation(values).reshape(shape)


def _matrix(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.uniform(-1, 1, shape)


real = replace(interval(-3, 3), name="real")
"""Real numbers of moderate size."""

anything = replace(real, name="anything", complex=True)
"""Real and complex numbers of moderate size."""

positive = replace(interval(0.2, 3), name="positive")
"""Positive numbers of moderate size."""

nonzero = replace(away_from(0.0, gap=0.3), name="nonzero", complex=True)
"""Real numbers that keep a distance from zero, and complex numbers whose parts do."""

distinct = Domain("distinct", _distinct, holds=lambda values: bool((np.diff(np.sort(values, axis=None)) > 0.05).all()))
"""Real numbers of which no two are closer than a finite difference's step, in random order: no ties."""

booleans = Domain("booleans", lambda rng, shape: rng.random(shape) < 0.5)


def integers(low: int, high: int) -> Domain:
    """Integers from `low` up to, not including, `high`; constants."""
    return Domain(f"integers({low}, {high})", lambda rng, shape: rng.integers(low, high, shape), low=low, high=high - 1)


# Vectors in the last axis


def _lengths(values: Array) -> Array:
    return np.sqrt(np.sum(values * values, axis=-1, keepdims=True))


def _unit_norm(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    values = np.asarray(rng.uniform(-1, 1, shape))
    if not values.ndim:
        return np.where(values < 0, -1.0, 1.0)
    if not values.size:
        return values
    # Directions that rounding would spoil are replaced by the first axis.
    short = _lengths(values) < 0.1
    values = np.where(short, np.arange(shape[-1]) == 0, values)
    return np.asarray(values / _lengths(values))


def _simplex(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    weights = np.asarray(rng.uniform(0.1, 1, shape))
    return weights / np.sum(weights, axis=-1, keepdims=True) if weights.size and weights.ndim else np.ones(shape)


unit_norm = Domain(
    "unit_norm",
    _unit_norm,
    low=-1,
    high=1,
    holds=lambda v: not v.size or np.allclose(_lengths(v) if v.ndim else np.abs(v), 1, atol=_ROUNDING),
)
"""Vectors of length one, in the last axis."""

simplex = Domain(
    "simplex",
    _simplex,
    low=0,
    high=1,
    holds=lambda v: not v.size or np.allclose(np.sum(v, axis=-1) if v.ndim else v, 1, atol=_ROUNDING),
)
"""Probabilities that sum to one along the last axis, none of them next to zero."""


# Matrices in the last two axes


def _turned(a: Array) -> Array:
    return np.swapaxes(a, -1, -2)


def _is_symmetric(a: Array) -> bool:
    return a.ndim > 1 and a.shape[-1] == a.shape[-2] and np.allclose(a, np.conj(_turned(a)), atol=_ROUNDING)


def _eigenvalues(a: Array) -> Array:
    return np.linalg.eigvalsh(a) if a.size else np.ones((*a.shape[:-2], 1))


def _well_conditioned(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    rows, columns = shape[-2:]
    return _matrix(rng, shape) + 2.0 * np.eye(rows, columns)


def _positive_definite(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    factor = _matrix(rng, shape)
    return factor @ _turned(factor) + np.eye(shape[-1])


def _has_full_rank(a: Array) -> bool:
    return a.ndim > 1 and (not a.size or bool((np.linalg.svd(a, compute_uv=False)[..., -1] > 1e-6).all()))


invertible = Domain("invertible", _well_conditioned, complex=True, holds=_has_full_rank)
"""Matrices next to twice the unit matrix: of full rank, seldom close to losing it."""

positive_definite = Domain(
    "positive_definite",
    _positive_definite,
    holds=lambda a: (
        _is_symmetric(a) and bool((_eigenvalues(a) > 1 - _ROUNDING * max(1, np.abs(a).max(initial=0))).all())
    ),
)
"""Symmetric matrices with eigenvalues of at least one."""


def symmetric(gap: float = 0.1) -> Domain:
    """Symmetric matrices whose eigenvalues are at least `gap` apart."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        q, _ = np.linalg.qr(_matrix(rng, shape))
        n = shape[-1]
        w = (np.arange(n) - n / 2) * (gap + 0.5) + rng.uniform(0, 0.5, (*shape[:-2], n))
        return (q * w[..., None, :]) @ _turned(q)

    def holds(a: Array) -> bool:
        return _is_symmetric(a) and bool(
            (np.diff(_eigenvalues(a), axis=-1) > gap - _ROUNDING * max(1, np.abs(a).max(initial=0))).all()
        )

    return Domain(f"symmetric(gap={gap})", draw, holds=holds)


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    rows, columns = shape[-2:]
    if rows < columns:
        return _turned(_orthogonal(rng, (*shape[:-2], columns, rows)))
    q, r = np.linalg.qr(_matrix(rng, shape))
    return q * np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[..., None, :]


def _is_orthogonal(a: Array) -> bool:
    if a.ndim < 2:
        return False
    a = a if a.shape[-2] >= a.shape[-1] else _turned(a)
    return np.allclose(_turned(a) @ a, np.eye(a.shape[-1]), atol=_ROUNDING)


orthogonal = Domain("orthogonal", _orthogonal, holds=_is_orthogonal)
"""Matrices with orthonormal columns or, if they are wide, rows."""


def triangular(lower: bool = True) -> Domain:
    """Triangular matrices whose diagonal keeps a distance from zero."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        a = np.tril(_matrix(rng, shape), -1) if lower else np.triu(_matrix(rng, shape), 1)
        return a + rng.uniform(0.5, 2, (*shape[:-1], 1)) * np.eye(shape[-2], shape[-1])

    def holds(a: Array) -> bool:
        if a.ndim < 2 or not np.array_equal(a, np.tril(a) if lower else np.triu(a)):
            return False
        return bool((np.abs(np.diagonal(a, axis1=-2, axis2=-1)) > 0.4).all())

    return Domain(f"triangular(lower={lower})", draw, holds=holds)


@dataclass(frozen=True)
class Case:
    """One call of an op: the shapes of its inputs, and the arguments around them.

    An entry of `shapes` is a shape (a drawn array) or a list of shapes (a drawn sequence of arrays). `before` and
    `args` are literal positional arguments before and after the inputs, `settings` the keywords. `on` overrides the
    row's domain: one domain for all inputs, or a tuple of one for each. `of` takes the op's result to what of it has a
    derivative, where that is not all: the projectors on eigenvectors, say, whose phases are anybody's choice.
    """

    shapes: tuple[Any, ...]
    before: tuple[Any, ...] = ()
    args: tuple[Any, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    on: Any = None
    of: Callable[[Any], Any] | None = None


def case(
    *shapes: Any,
    before: tuple[Any, ...] = (),
    args: tuple[Any, ...] = (),
    on: Any = None,
    of: Callable[[Any], Any] | None = None,
    **settings: Any,
) -> Case:
    """Return the case `function(*before, *arrays, *args, **settings)` with arrays of the given shapes."""
    return Case(shapes, before, args, settings, on, of)


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
