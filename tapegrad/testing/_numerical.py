"""Derivatives by differences that say how far they can be trusted.

Central differences at three steps are extrapolated to step zero (Richardson): what remains is of the sixth order in the
step. How far the extrapolations from the first two and from the last two steps lie apart bounds what is still to gain,
and shows the noise of the function's values; what rounding can lose is added, and what jumps and kinks make uncertain.
This error estimate is what tolerances are made from.

Where differences are not precise enough and the function can be continued to complex numbers, a complex step,
Im(f(x + i h t)) / h, gives the derivative to the last digits: nothing cancels, so h may be as small as one likes. A
function that does not follow its continuation (it branches, conjugates, or takes sizes) is recognized by its
differences, which disagree.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._array import library, to_host

__all__ = ["Estimate", "derivative"]

Values = Sequence[Any]

_STEPS = (2.0**-8, 2.0**-11, 2.0**-5, 2.0**-14, 2.0**-20, 2.0**-30)
_GOOD = 1e-9
_FAIR = 1e-6
_UNIT = float(np.finfo(np.float64).eps)
_TINY = 1e-100
_ROUNDING = 1e-12
# The sixth divided difference over 0, and over plus and minus 4, 2 and 1 quarters of the step, scaled so that it shows
# the size of independent errors of the values: of a smooth function nothing else is left in it.
_WEIGHTS = np.array([-1 / 64, 1 / 5760, -1 / 288, 1 / 90]) / np.sqrt(
    1 / 64**2 + 2 * (1 / 5760**2 + 1 / 288**2 + 1 / 90**2)
)
# The same by the eighth difference of equidistant points, center first, and by the seventh.
_EIGHTH = np.array([70, -56, 28, -8, 1]) / np.sqrt(12870)
_SEVENTH = np.array([14, -14, 6, -1]) / np.sqrt(858)
_FEW = 8


@dataclass(frozen=True)
class Estimate:
    """A derivative found by differences, and how far from the truth it may be, entry by entry.

    The error is infinite where the function was not finite within the step.
    """

    value: np.ndarray[Any, Any]
    error: np.ndarray[Any, Any]


def derivative(function: Callable[..., Values], xs: Values, ts: Values) -> list[Estimate]:
    """Return the derivative of each result of `function` at `xs` in the direction `ts`.

    Parameters
    ----------
    function : takes arrays like `xs` and gives a sequence of arrays
    xs, ts : double precision arrays (real or complex) of equal shapes; a direction has entries of size about one

    Examples
    --------
    >>> import numpy as np
    >>> [slope] = derivative(lambda x: [np.sin(x)], [np.array(0.5)], [np.array(1.0)])
    >>> bool(abs(slope.value - np.cos(0.5)) < slope.error < 1e-10)
    True
    """
    best: list[Estimate] = []
    failure: Exception | None = None
    with np.errstate(all="ignore"):
        center = [to_host(y) for y in function(*xs)]
        unit = _unit_step(xs, ts)
        # Many entries show their errors together at the points of any step; those of a few may be small by chance.
        few = sum(c.size for c in center) < _FEW
        least = _scatter(function, xs, center) if few else [0.0 for _ in center]
        for step in _STEPS:
            try:
                found = _extrapolated(function, xs, ts, center, step * unit, least)
            except Exception as error:
                # A step has left the domain (a matrix that is singular there, say); smaller ones may not.
                failure = error
                continue
            first = not best
            if first and not few and any(_rests(slope, c) for slope, c in zip(found, center, strict=True)):
                few, least = True, _scatter(function, xs, center)
                found = _extrapolated(function, xs, ts, center, step * unit, least)
            best = found if first else [_better(known, other) for known, other in zip(best, found, strict=True)]
            if all(_is_good(estimate) for estimate in best):
                break
            if first:
                best = _continued(function, xs, ts, center, best)
    if failure is not None and not best:
        raise failure
    return best


def _continued(
    function: Callable[..., Values], xs: Values, ts: Values, center: Values, known: list[Estimate]
) -> list[Estimate]:
    """Return estimates made better by a complex step, entry by entry, where the function allows it.

    It allows it if it takes complex numbers, keeps its value, and the step agrees with differences that know what they
    say. Of what is too small to be seen by them (a part that has no continuation, say) a tenth remains.
    """
    if any(to_host(x).dtype.kind == "c" for x in xs) or any(y.dtype.kind == "c" for y in center):
        return known
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            moved = [to_host(y) for y in function(*(x + _TINY * 1j * t for x, t in zip(xs, ts, strict=True)))]
    except Exception:
        # Whatever a function says to numbers that it was not made for, differences remain.
        return known
    if [y.shape for y in moved] != [y.shape for y in center] or any(y.dtype.kind != "c" for y in moved):
        return known
    made = []
    reach = max((_largest(x) for x in xs), default=0.0)
    for y, c, estimate in zip(moved, center, known, strict=True):
        value = y.imag / _TINY
        rounding = 64 * _UNIT * (_largest(value) + np.abs(value) * reach)
        agrees = (np.abs(value - estimate.value) <= estimate.error) & (np.abs(y.real - c) <= 64 * _UNIT * np.abs(c))
        fair = estimate.error <= _FAIR * max(1.0, _largest(value))
        error = np.where(agrees & fair, rounding + estimate.error / 10, np.inf)
        made.append(_better(estimate, Estimate(value, error)))
    return made


def _unit_step(xs: Values, ts: Values) -> float:
    """Return one, or the size of the smallest number that moves if all of them are larger."""
    moving = [np.abs(to_host(x))[to_host(t) != 0] for x, t in zip(xs, ts, strict=True)]
    return max(1.0, min((float(sizes.min()) for sizes in moving if sizes.size), default=1.0))


def _rests(slope: Estimate, center: Any) -> bool:
    """Return whether a result that is not zero did not move at all: perhaps by less than its rounding."""
    return bool(np.any(center) and not np.any(slope.value))


def _is_good(estimate: Estimate) -> bool:
    return bool(np.all(estimate.error <= _GOOD * max(1.0, _largest(estimate.value))))


def _better(known: Estimate, other: Estimate) -> Estimate:
    """Return the estimates with the smaller error, entry by entry."""
    keep = known.error <= other.error
    return Estimate(np.where(keep, known.value, other.value), np.where(keep, known.error, other.error))


def _scatter(function: Callable[..., Values], xs: Values, center: Values) -> list[float]:
    """Return the size of the independent errors of the values of each result, seen at points close together.

    All inputs move, whichever one a derivative is for: where it changes values by less than their rounding, they stay
    what they are, and look exact.
    """
    ts = [library(x).asarray(np.cos(np.arange(1.0, x.size + 1) + k).reshape(x.shape)) for k, x in enumerate(xs)]
    h = 2.0**-18 * _unit_step(xs, ts)
    eighth, seventh = [_EIGHTH[0] * c for c in center], [np.zeros_like(c) for c in center]
    try:
        for k in (1, 2, 3, 4):
            above = [to_host(y) for y in function(*(x + k * h * t for x, t in zip(xs, ts, strict=True)))]
            below = [to_host(y) for y in function(*(x - k * h * t for x, t in zip(xs, ts, strict=True)))]
            eighth = [r + _EIGHTH[k] * (a + b) for r, a, b in zip(eighth, above, below, strict=True)]
            seventh = [r + _SEVENTH[k - 1] * (a - b) for r, a, b in zip(seventh, above, below, strict=True)]
    except Exception:
        return [0.0 for _ in center]  # steps of the differences say what they find there
    # Kinks and jumps are no rounding; the differences see them. What cancels may be as large as inputs, and constants.
    reach = max([1.0, *map(_largest, xs)])
    return [
        min(max(_largest(r), _largest(s)), _ROUNDING * max(reach, _largest(c)))
        for r, s, c in zip(eighth, seventh, center, strict=True)
    ]


def _extrapolated(
    function: Callable[..., Values], xs: Values, ts: Values, center: Values, step: float, least: Sequence[float]
) -> list[Estimate]:
    slopes, bends, sizes, rough = [], [], [], [_WEIGHTS[0] * c for c in center]
    for h, weight in zip((step, step / 2, step / 4), _WEIGHTS[1:], strict=True):
        above = [to_host(y) for y in function(*(x + h * t for x, t in zip(xs, ts, strict=True)))]
        below = [to_host(y) for y in function(*(x - h * t for x, t in zip(xs, ts, strict=True)))]
        rough = [r + weight * (a + b) for r, a, b in zip(rough, above, below, strict=True)]
        slopes.append([(a - b) / (2 * h) for a, b in zip(above, below, strict=True)])
        sizes.append([max(_largest(a), _largest(b)) for a, b in zip(above, below, strict=True)])
        bends.append([np.abs((a - c) - (c - b)) / h for a, b, c in zip(above, below, center, strict=True)])
    reach = max((_largest(x) for x in xs), default=0.0)
    estimates = []
    for size, coarse, middle, fine, wide, _, narrow, r, floor in zip(
        sizes[0], *slopes, *bends, rough, least, strict=True
    ):
        first = middle + (middle - coarse) / 3
        second = fine + (fine - middle) / 3
        value = second + (second - first) / 15
        # Values are rounded, and so are the points they are taken at; the smallest step suffers most. Values may be
        # rougher than their rounding: an entry as rough as half of all entries are is so by nature, not by a kink.
        roughness = np.maximum(max(_UNIT * size, floor), np.maximum(np.abs(r), _lower_half(r)))
        rounding = 8 / (step / 4) * (roughness + _UNIT * reach * _largest(value))
        change = np.abs(second - first)
        # A small change of one entry among larger ones is luck.
        error = np.maximum(change, _lower_half(change)) + rounding
        # Of smooth functions the differences settle, four times closer at every halving. At a jump they do not.
        settled = np.abs(fine - middle) <= np.abs(middle - coarse) / 2 + rounding
        error = error + np.where(settled, 0.0, np.abs(value) + np.abs(fine - coarse))
        # The slopes to both sides come closer too, in proportion to the step. At a kink they do not.
        error = error + np.where(narrow <= wide / 2 + rounding, 0.0, narrow)
        known = np.isfinite(error)
        estimates.append(Estimate(np.where(known, value, 0.0), np.where(known, error, np.inf)))
    return estimates


def _lower_half(values: Any) -> float:
    """Return the median of the sizes of the finite entries, the lower one of two."""
    sizes = np.sort(np.abs(values[np.isfinite(values)]), axis=None)
    return float(sizes[(sizes.size - 1) // 2]) if sizes.size else 0.0


def _largest(values: Any) -> float:
    """Return the largest size among the finite entries."""
    sizes = np.abs(to_host(values))
    return float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))
