"""Statistics: variances, averages, order statistics, reductions that leave out nan, covariances and histograms."""

from __future__ import annotations

import builtins
import warnings
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .._array import count_up, device_of, is_array, to_host
from .._op import CLASSIFIED, composite, general, linear, unary
from .._tensor import OPS, Tensor, detached, wrapped
from ._algebra import (
    T,
    conj,
    constant,
    count,
    instead,
    kept,
    numpy_since,
    operand,
    stored,
    unless_integers,
)
from ._domains import anything, case, distinct, positive, real
from .reductions import (
    AXES,
    MASK,
    _accepting_out,
    _chosen,
    _cumprod,
    _cumsum,
    _evenly,
    _extremum,
    _mean,
    _prod,
    _share_of_numbers,
    _sum,
    _sum_and_size,
    masked,
    typed,
)

# Variances


def _divisor(x, axis, ddof):
    """Return how many degrees of freedom a variance is divided by, nan where none are left."""
    n = count(x.shape, axis) - ddof
    return n if n > 0 else float("nan")


_variance = general(
    lambda x, axis=None, ddof=0, keepdims=False: np.var(x, axis=axis, ddof=ddof, keepdims=keepdims),
    "x",
    "out",
    lambda g, x, axis=None, ddof=0, keepdims=False: (
        kept(g, x.shape, axis, keepdims)
        * (2 / _divisor(x, axis, ddof))
        * conj(x - np.mean(x, axis=axis, keepdims=True))
    ),
    name="var",
    on=anything,
    cases=(
        VARIANCES := [
            *AXES,
            case((0, 2), axis=1),
            case((4, 3), axis=0, ddof=1),
            case((4, 3), keepdims=True, ddof=0.5),
            case((4, 3), axis=1, correction=1),
            case((2, 3), axis=1, where=MASK),
            case((2, 3), axis=0, keepdims=True, mean=[[0.25, 0.5, -0.25]]),
            case((3,), axis=0, keepdims=True, mean=[[0.25, 0.5, -0.25]]),
            case((4, 3), dtype="complex128"),
        ]
    ),
)


@unless_integers(np.var)
def _var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    a = typed(a, dtype)
    if where is True and mean is None:
        return stored(typed(_variance(a, axis=axis, ddof=ddof, keepdims=keepdims), dtype), out)
    if mean is None:
        mean = _mean(a, axis=axis, keepdims=True, where=where)
    elif axis is not None:
        normalize_axis_tuple(axis, a.ndim)  # the mean may have more axes
    deviation = masked(a - operand(mean, a), where, 0)
    square = np.real(deviation * np.conj(deviation)) if deviation.dtype.kind == "c" else deviation * deviation
    total, size = _sum_and_size(square, axis, keepdims, where)
    if square.shape != a.shape and where is True:
        size = total.dtype.type(count(a.shape, axis))  # a mean of more axes spreads the entries, it makes no new ones
    return stored(typed(total / np.maximum(size - ddof, 0), dtype or square.dtype), out)


instead(_var, _variance, np.var)


def root(x):
    """Return the square root of a variance or of a sum of squares."""
    return np.sqrt(x)


# Where a variance is zero, so is its derivative, and that of its root is infinite; the smallest subgradient is zero.
root = unary(root, lambda g, out: g / np.where(out == 0, np.inf, 2 * out), kink=lambda out: out == 0, on=positive)


def _std(*args, out=None, **settings):
    return stored(root(_var(*args, **settings)), out)


composite(np.std, _std, on=anything, cases=[c for c in VARIANCES if c.shapes != ((),) and c.settings.get("axis") != ()])


# Averages, covariances


def _along_axes(weights, a, axis):
    """Return `weights`, given for the axes `axis` of `a` alone, in a shape that broadcasts with `a`.

    Raises TypeError or ValueError, as NumPy does, where their shapes do not fit.
    """
    if weights.shape == a.shape:
        return weights
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    axes = normalize_axis_tuple(axis, a.ndim)
    if weights.shape != tuple(a.shape[i] for i in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    weights = weights.transpose(sorted(range(len(axes)), key=axes.__getitem__))
    return weights.reshape([n if i in axes else 1 for i, n in enumerate(a.shape)])


def _average(a, axis=None, weights=None, returned=False, *, keepdims=False):
    a = operand(a, weights)
    if weights is None:
        result = np.mean(a, axis=axis, keepdims=keepdims)
        each = a.size / result.size  # as NumPy's, an error where there is no result
        return (result, np.full_like(result, each)) if returned else result
    weights = _along_axes(operand(weights, a), a, axis)
    dtype = np.result_type(a.dtype, weights.dtype, *([float] if a.dtype.kind in "biu" else []))
    weights = typed(weights, dtype)
    total = np.sum(weights, axis=axis, keepdims=keepdims)
    if np.any(detached(total) == 0):
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    result = np.sum(typed(a, dtype) * weights, axis=axis, keepdims=keepdims) / total
    if not returned:
        return result
    total = np.broadcast_to(total, result.shape).copy()
    return result, wrapped(total) if isinstance(result, Tensor) else total


composite(
    np.average,
    _average,
    on=positive.and_complex(),
    cases=[
        *AXES,
        case((2, 3), axis=1, weights=[1.0, 2.0, 0.5]),
        case((2, 3), weights=[[1.0, 2.0, 0.5], [1.0, 0.0, 3.0]]),
        case((2, 3), axis=0, weights=[1.0, 2.0], keepdims=True),
        case((2, 3, 4), axis=(2, 0), weights=[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]),
    ],
)


def _cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None):
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    m = operand(m, y)
    if dtype is None:
        dtype = np.result_type(m.dtype, np.float64 if y is None else operand(y).dtype, np.float64)
    if y is not None and operand(y, m).ndim > 2:
        raise ValueError("y has more than 2 dimensions")
    x = _as_rows(m, "m", dtype, rowvar or m.ndim == 1)
    if x.shape[0] == 0:
        return np.zeros_like(x, shape=(0, 0))
    if y is not None:
        y = _as_rows(operand(y, m), "y", dtype, True)
        x = np.concatenate([x, y if rowvar or y.shape[0] == 1 else T(y)], axis=0)
    if ddof is None:
        ddof = 0 if bias else 1
    if fweights is not None and np.any(detached(operand(fweights, m)) != np.round(detached(operand(fweights, m)))):
        raise TypeError("fweights must be integer")
    w = _as_weights(fweights, "fweights", x)
    aw = _as_weights(aweights, "aweights", x)
    w = aw if w is None else w if aw is None else w * aw
    mean, total = _average(x, axis=1, weights=w, returned=True)
    if w is None:
        freedom = x.shape[1] - ddof
    else:
        total = total[0]
        freedom = total if ddof == 0 else total - (ddof if aw is None else ddof * np.sum(w * aw) / total)
    if freedom <= 0:
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=4)
        freedom = 0.0
    x = x - mean[:, None]
    products = _products(x) if w is None else x @ conj(T(x * w))
    return np.squeeze(products * np.divide(1, freedom).astype(products.dtype))


def _products(x):
    """Return the products of each row with the conjugate of each row."""
    return x @ conj(T(x))


# Both factors are one, so one product serves both.
_products = general(
    _products,
    "x",
    "out",
    lambda g, x: (g + conj(T(g))) @ conj(x),
    name="products of rows",
    on=anything,
    cases=[case((2, 3)), case((3, 0)), case((1, 1))],
)


def _as_rows(x, name, dtype, rowvar):
    """Return `x` as a matrix whose rows are variables."""
    if x.ndim > 2:
        raise ValueError(f"{name} has more than 2 dimensions")
    x = typed(x, dtype)
    x = x if x.ndim == 2 else x.reshape(1, -1)
    return x if rowvar else T(x)


def _as_weights(weights, name, x):
    """Return `weights` in double precision, or raise the error with which NumPy refuses them."""
    if weights is None:
        return None
    weights = typed(operand(weights, x), float)
    if weights.ndim > 1:
        raise RuntimeError(f"cannot handle multidimensional {name}")
    if weights.shape[0] != x.shape[1]:
        raise RuntimeError(f"incompatible numbers of samples and {name}")
    if np.any(detached(weights) < 0):
        raise ValueError(f"{name} cannot be negative")
    return weights


def _corrcoef(x, y=None, rowvar=True, *, dtype=None):
    c = _cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    deviation = np.sqrt(np.real(np.diagonal(c)))
    c = c / deviation[:, None] / deviation[None, :]
    if c.dtype.kind == "c":
        return np.clip(np.real(c), -1, 1) + 1j * np.clip(np.imag(c), -1, 1)
    return np.clip(c, -1, 1)


composite(
    np.cov,
    _cov,
    on=anything,
    cases=[
        case((4,)),
        case((2, 4)),
        case((4, 2), rowvar=False),
        case((2, 4), (2, 4)),
        case((4, 2), (4, 2), rowvar=False, bias=True),
        case((2, 4), ddof=0),
        case((2, 4), fweights=[1, 2, 0, 3]),
        case((2, 4), aweights=[1.0, 2.0, 0.5, 1.0]),
        case((2, 4), fweights=[1, 2, 1, 3], aweights=[1.0, 2.0, 0.5, 1.0], ddof=2),
        case((2, 4), dtype="complex128"),
    ],
)
composite(
    np.corrcoef,
    _corrcoef,
    on=anything,
    cases=[case((2, 4)), case((4, 3), rowvar=False), case((2, 5), (2, 5)), case((2, 4), dtype="complex128")],
)


# Order statistics


def _ranked(x, ranks, spoiled=True):
    """Return the entries of `x` that sorting along its first axis brings to the places `ranks`, one per entry of ranks.

    `ranks` holds integers: of one dimension, or an array that has the other axes of `x` too. If `spoiled`, nan makes
    all results nan.
    """
    if ranks.ndim > 1:
        ordered = np.sort(x, axis=0)
        out = np.take_along_axis(ordered, ranks, axis=0)
    else:
        ordered = np.partition(x, sorted({*ranks.tolist(), x.shape[0] - 1}), axis=0)
        out = ordered[constant(ranks, x)]
    return np.where(ordered[-1] == ordered[-1], out, ordered[-1]) if spoiled else out


def _share_ranked(g, x, out, spoiled=True):
    """Return each cotangent divided evenly among the entries that equal the one of its rank."""
    h = np.zeros_like(x)
    for i in builtins.range(out.shape[0]):
        one = detached(out)[i : i + 1]
        h = h + _evenly(g[i : i + 1], _chosen(x, one) if spoiled else detached(x) == one, 0)
    return h


_ranked = general(
    _ranked,
    "x",
    "out",
    _share_ranked,
    free="ranks",
    kink=lambda x, out: np.stack([np.sum(x == one, axis=0) > 1 for one in out]),
    on=distinct,
    cases=[
        case((5,), args=(np.array([0, 3]),)),
        case((5, 2), args=(np.array([2, 2, 4]),)),
        case((3, 2), args=(np.array([[0, 1], [2, 2]]),), spoiled=False),
    ],
)


def _in_front(a, axis):
    """Return `a` with the axes `axis` joined in one, which is the first, and the shape that keepdims=True gives."""
    axes = tuple(range(a.ndim)) if axis is None else tuple(sorted(normalize_axis_tuple(axis, a.ndim)))
    rest = [i for i in range(a.ndim) if i not in axes]
    moved = a if len(axes) == 1 and axes[0] == 0 else a.transpose(*axes, *rest)
    if len(axes) != 1:
        # As NumPy, which leaves the length to be found, and so refuses several axes, or none, beside empty ones.
        moved = moved.reshape(a.size if axis is None else -1, *(a.shape[i] for i in rest))
    return moved, tuple(1 if i in axes else n for i, n in enumerate(a.shape))


def _median(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    x, shape = _in_front(a, axis)
    n = x.shape[0]
    middle = _ranked(x, np.arange((n - 1) // 2, n // 2 + 1)) if n else x
    result = np.mean(middle, axis=0)
    return stored(result.reshape(shape) if keepdims else result, out)


def _nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=False):
    if a.size == 0:
        return stored(np.nanmean(a, axis=axis, keepdims=keepdims), out)
    x, shape = _in_front(a, axis)
    n = _numbers_per_slice(x)
    if x.shape[0] == 0:
        result = np.nanmean(x, axis=0)
    else:
        ranks = np.stack([(n - 1) // 2, n // 2])
        result = np.mean(_ranked(x, np.maximum(ranks, 0), spoiled=False), axis=0)
    return stored(result.reshape(shape) if keepdims else result, out)


def _numbers_per_slice(x):
    """Return how many entries along the first axis are not nan, and warn, as NumPy does, if none are."""
    array = detached(x)
    n = np.sum(array == array, axis=0)
    if x.shape[0] and bool(np.any(n == 0)):
        warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=5)
    return n


MEDIANS = [*AXES, case((5,)), case((0, 3), axis=1)]
composite(np.median, _median, on=distinct, cases=MEDIANS)

# What the continuous methods take the position of a quantile to be: n q + alpha + q (1 - alpha - beta) - 1.
# R. J. Hyndman and Y. Fan, Sample quantiles in statistical packages.
_ALPHA_BETA = {
    "interpolated_inverted_cdf": (0, 1),
    "hazen": (0.5, 0.5),
    "weibull": (0, 0),
    "median_unbiased": (1 / 3.0, 1 / 3.0),
    "normal_unbiased": (3 / 8.0, 3 / 8.0),
}


def _up_unless(index, exact):
    """Return the integer after `index`, or before it where `exact` holds for its fraction and its floor; at least 0."""
    below = np.floor(index)
    return np.maximum(np.where(exact(index - below, below), below, below + 1), 0)


_DISCRETE = {
    "lower": lambda n, q: np.floor((n - 1) * q),
    "higher": lambda n, q: np.ceil((n - 1) * q),
    "nearest": lambda n, q: np.round((n - 1) * q),
    "inverted_cdf": lambda n, q: _up_unless(n * q - 1, lambda gamma, below: gamma == 0),
    "closest_observation": lambda n, q: _up_unless(
        n * q - 1 - 0.5, lambda gamma, below: (gamma == 0) & (below % 2 == 1)
    ),
}
METHODS = [*_ALPHA_BETA, *_DISCRETE, "linear", "midpoint", "averaged_inverted_cdf"]


def _neighbors(method, n, q):
    """Return the ranks between which the quantiles `q` of `n` numbers lie, and their place between them from 0 to 1.

    For methods that choose one number, the second rank and the place are None.
    """
    bare = detached(q)
    if method in _DISCRETE:
        return _DISCRETE[method](n, bare).astype(np.intp), None, None
    if method == "linear":
        v = (n - 1) * q
        if v.dtype.kind in "iu":
            return detached(v), None, None
    elif method == "midpoint":
        v = 0.5 * (np.floor((n - 1) * bare) + np.ceil((n - 1) * bare))
    elif method == "averaged_inverted_cdf":
        v = n * bare - 1
    else:
        alpha, beta = _ALPHA_BETA[method]
        v = n * q + (alpha + q * (1 - alpha - beta)) - 1
    position = detached(v)
    below = np.floor(position)
    if method == "midpoint":
        place = np.where(position == below, 0.0, 0.5)
    elif method == "averaged_inverted_cdf":
        place = np.where(position == below, 0.5, 1.0)
    else:
        place = v - below
    ends = (position >= n - 1, position < 0)
    low, high = (np.where(ends[0], n - 1, np.where(ends[1], 0, rank)).astype(np.intp) for rank in (below, below + 1))
    return low, high, place


def _weighted_ranks(x, weights, q, n):
    """Return the ranks at which the distribution function of the weighted numbers `x` reaches `q`."""
    order = np.argsort(x, axis=0)
    weights = np.take_along_axis(weights, order, axis=0)
    if n is not None:
        weights = np.where(np.take_along_axis(x, order, axis=0) == np.take_along_axis(x, order, axis=0), weights, 0)
    reached = np.cumsum(weights, axis=0, dtype=np.float64)
    total = reached[-1] if n is None else np.where(n == 0, 1, reached[-1])
    reached = reached / total
    if bool(np.any(reached[-1] != reached[-1])):
        raise ValueError("Weights included NaN, inf or were all zero.")
    reached = reached.astype(q.dtype) if q.dtype.kind == "f" else reached
    # A quantile of 0 is the first number with a weight.
    reached = np.where(reached == 0, -1, reached)
    return np.stack([np.minimum(np.sum(reached < p, axis=0), x.shape[0] - 1) for p in q.reshape(-1)])


# Before NumPy 2.4, its double precision scalars, which Python's numbers are an ancestor of, left the dtype alone too.
_DOUBLES_ARE_WEAK = not numpy_since("2.4.0")


def _quantiles(function, percent, spoiled):
    """Return np.quantile, or with `percent` np.percentile, or if not `spoiled` by nan their twins that ignore it."""
    words = ("Percentiles", "[0, 100]") if percent else ("Quantiles", "[0, 1]")

    @unless_integers(function)
    def run(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None):
        a = operand(a, q)
        if a.dtype.kind == "c":
            raise TypeError("a must be an array of real numbers")
        weak = type(q) in (int, float) or (_DOUBLES_ARE_WEAK and isinstance(q, float))
        q = operand(q, a)
        if percent:
            q = np.divide(q, 100)
        if not bool(np.all((detached(q) >= 0) & (detached(q) <= 1))):
            raise ValueError(f"{words[0]} must be in the range {words[1]}")
        if method not in METHODS:
            raise ValueError(f"{method!r} is not a valid method. Use one of: {METHODS}")
        if q.ndim > 2:
            raise ValueError("q must be a scalar or 1d")
        if weights is not None:
            weights = _weights_of_ranks(a, axis, weights, method)
        if a.size == 0 and not spoiled:
            return stored(np.nanmean(a, axis=axis, keepdims=keepdims), out)
        x, shape = _in_front(a, axis)
        rest = x.shape[1:]
        if x.shape[0] == 0:
            raise IndexError("index -1 is out of bounds for axis 0 with size 0")
        flat = q.reshape(-1, *(1 for _ in rest)) if not spoiled else q.reshape(-1)
        n = x.shape[0] if spoiled else _numbers_per_slice(x)
        if weights is not None:
            weights = _in_front(np.broadcast_to(weights, a.shape), axis)[0]
            low = _weighted_ranks(detached(x), weights, detached(q), None if spoiled else n)
            high = place = None
        else:
            low, high, place = _neighbors(method, n, flat)
        if not spoiled:
            low, high = (None if r is None else np.maximum(np.minimum(r, n - 1), 0) for r in (low, high))
        if high is None:
            result = _ranked(x, low, spoiled=spoiled)
        else:
            both = _ranked(x, np.concatenate([low, high]), spoiled=spoiled)
            first, second = both[: low.shape[0]], both[low.shape[0] :]
            place = place.reshape(-1, *(1 for _ in rest)) if spoiled else place
            place = constant(place, x) if not isinstance(place, Tensor) else place
            place = typed(place, x.dtype) if weak else place
            step = second - first
            result = np.where(detached(place) >= 0.5, second - step * (1 - place), first + step * place)
        return stored(result.reshape(q.shape + (shape if keepdims else rest)), out)

    return run


def _weights_of_ranks(a, axis, weights, method):
    """Return weights that broadcast with `a`, or raise the error with which NumPy refuses them."""
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    weights = _along_axes(detached(operand(weights, a)), a, axis)
    if bool(np.any(weights < 0)):
        raise ValueError("Weights must be non-negative.")
    return weights


def _quantile_cases(scale):
    return [
        *(case((5,), args=(0.3 * scale,), method=method) for method in METHODS),
        *(case((4, 3), args=([0.2 * scale, 0.55 * scale],), axis=0, method=method) for method in METHODS),
        case((4,), args=(0.5 * scale,)),
        case((5, 2), args=(0.4 * scale,), axis=0, keepdims=True),
        case((3, 2, 3), args=([0.0, 1.0 * scale],), axis=(0, -1), keepdims=True),
        case((3, 2), args=(0.25 * scale,), axis=()),
        case((5,), args=(0.4 * scale,), method="inverted_cdf", weights=[1.0, 0.0, 2.0, 1.0, 3.0]),
    ]


_WEIGHTED: dict[str, Any] = {"axis": 1, "method": "inverted_cdf", "weights": [1.0, 2.0, 0.5]}
for _function, _percent, _scale in ((np.quantile, False, 1), (np.percentile, True, 100)):
    composite(
        _function,
        _quantiles(_function, _percent, True),
        on=distinct,
        cases=[
            *_quantile_cases(_scale),
            case((3, 2, 3), args=([[0.0], [1.0 * _scale]],), axis=(0, -1), keepdims=True),
            case((2, 3), args=([0.3 * _scale, 0.9 * _scale],), **_WEIGHTED),
        ],
    )


# Reductions that leave out nan


def _numbers(x):
    return detached(x) == detached(x)


def _leaving_out(function, fill):
    """Return `function` applied with `fill` in place of nan, and of what `where` leaves out."""

    def run(a, *args, where=True, **settings):
        return function(np.where(_numbers(a), masked(a, where, fill), fill), *args, **settings)

    return run


NAN_REDUCTIONS = [
    case((4,)),
    case((2, 3), axis=0),
    case((2, 4), axis=-1, keepdims=True),
    case((2, 3, 2), axis=(0, 2)),
    case((2, 3), axis=0, on=anything),
    case((4, 3), keepdims=True, on=anything),
]
NAN_WHERE = case((2, 3), axis=1, where=np.array([True, True, False]))
NAN_SUMS = [*NAN_REDUCTIONS, NAN_WHERE, case((4,), initial=2.0), case((4,), dtype="complex128")]
NAN_SCANS = [case((4,)), case((2, 3)), case((2, 3), axis=1), case((2, 3), axis=0, on=anything)]

composite(np.nansum, _leaving_out(_sum, 0), on=distinct, cases=NAN_SUMS)
composite(np.nanprod, _leaving_out(_prod, 1), on=distinct, cases=NAN_SUMS)
composite(np.nancumsum, _leaving_out(_cumsum, 0), on=distinct, cases=NAN_SCANS)
composite(np.nancumprod, _leaving_out(_cumprod, 1), on=distinct, cases=NAN_SCANS)


def _mean_of_numbers_vjp(g, x, axis=None, keepdims=False):
    numbers = x == x
    n = np.sum(numbers, axis=axis, keepdims=True, dtype=g.dtype)
    return np.where(numbers, kept(g, x.shape, axis, keepdims) / (n + (n == 0)), 0)


_mean_of_numbers = general(
    lambda x, axis=None, keepdims=False: np.nanmean(x, axis=axis, keepdims=keepdims),
    "x",
    "out",
    _mean_of_numbers_vjp,
    name="nanmean",
    on=distinct,
    cases=[*NAN_REDUCTIONS, NAN_WHERE, case((2, 3), dtype="complex128")],
)


def _nanmean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    a = masked(typed(a, dtype), where, np.nan)
    return stored(_mean_of_numbers(a, axis=axis, keepdims=keepdims), out)


instead(_nanmean, _mean_of_numbers, np.nanmean)


def _nan_extremum(reduce, of_all, pair):
    """Return `reduce`, an extremum that leaves out nan, with `initial` and `where` made of what CuPy has too."""
    with_initial = _extremum(of_all, pair)

    def run(x, axis=None, out=None, keepdims=False, initial=None, where=True):
        if initial is None:
            return reduce(x, axis=axis, keepdims=keepdims, **({} if where is True else {"where": where}))
        return with_initial(x, axis, None, keepdims, initial, constant(where, x) & (x == x))

    return run


for _reduce, _of_all, _pair in ((np.nanmax, np.max, np.maximum), (np.nanmin, np.min, np.minimum)):
    _accepting_out(
        general(
            _nan_extremum(_reduce, _of_all, _pair),
            "x",
            "out",
            _share_of_numbers,
            free="out",
            name=_reduce.__name__,
            on=distinct,
            cases=[
                *NAN_REDUCTIONS[:4],
                case((2, 3), axis=0, on=distinct),
                case((2, 3), axis=1, initial=0.1, where=MASK),
                case((4,), initial=9.0),
            ],
        ),
        _reduce,
    )


def _variance_of_numbers_vjp(g, x, axis=None, ddof=0, keepdims=False):
    numbers = x == x
    n = np.sum(numbers, axis=axis, keepdims=True, dtype=g.real.dtype)
    known = np.where(numbers, x, 0)
    deviation = np.where(numbers, x - np.sum(known, axis=axis, keepdims=True) / (n + (n == 0)), 0)
    freedom = np.where(n > ddof, n - ddof, np.nan)
    return np.where(numbers, kept(g, x.shape, axis, keepdims) * (2 / freedom) * conj(deviation), 0)


def _variance_of_numbers(x, axis=None, ddof=0, keepdims=False):
    if not ddof or device_of(x) == "cpu":
        return np.nanvar(x, axis=axis, ddof=ddof, keepdims=keepdims)
    # CuPy cuts ddof to a whole number, and gives infinities where too few numbers are left.
    result = np.nanvar(x, axis=axis, keepdims=keepdims)
    n = np.sum(x == x, axis=axis, keepdims=keepdims, dtype=float)
    return (result * (n / np.where(n > ddof, n - ddof, np.nan))).astype(result.dtype)


_variance_of_numbers = general(
    _variance_of_numbers,
    "x",
    "out",
    _variance_of_numbers_vjp,
    name="nanvar",
    on=distinct,
    cases=(
        NAN_VARIANCES := [
            case((4,)),
            case((4, 3), axis=0),
            case((4, 5), axis=-1, keepdims=True, ddof=1),
            case((2, 3, 2), axis=(0, 2), ddof=0.5),
            case((4, 3), axis=0, correction=1, on=anything),
            case((2, 6), axis=1, where=np.array([True, True, False, True, True, True])),
            case((4, 3), axis=0, keepdims=True, mean=[[0.25, 0.5, -0.25]]),
        ]
    ),
)


@unless_integers(np.nanvar)
def _nanvar(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None):
    a = masked(typed(a, dtype), where, np.nan)
    if mean is not None:
        np.broadcast_to(detached(operand(mean, a)), a.shape)
        result = _var(a, axis, None, None, ddof, keepdims, where=_numbers(a), mean=mean, correction=correction)
        return stored(typed(result, detached(a).real.dtype), out)
    if correction is not None:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    return stored(_variance_of_numbers(a, axis=axis, ddof=ddof, keepdims=keepdims), out)


instead(_nanvar, _variance_of_numbers, np.nanvar)


def _nanstd(*args, out=None, **settings):
    return stored(root(_nanvar(*args, **settings)), out)


composite(np.nanstd, _nanstd, on=distinct, cases=NAN_VARIANCES)
composite(
    np.nanmedian, _nanmedian, on=distinct, cases=[c for c in NAN_REDUCTIONS if c.on is None] + [case((5,), on=distinct)]
)
composite(np.nanquantile, _quantiles(np.nanquantile, False, False), on=distinct, cases=_quantile_cases(1))
composite(np.nanpercentile, _quantiles(np.nanpercentile, True, False), on=distinct, cases=_quantile_cases(100))


# Histograms

_counted = linear(
    lambda weights, places, size: count_up(places, weights, size),
    lambda g, places: g[places],
    inputs="weights",
    free="size",
    name="bincount",
    on=real,
    cases=[case((5,), args=(np.array([0, 2, 2, 1, 5]), 4))],
)


def _bincount(x, /, weights=None, minlength=0):
    if not isinstance(weights, Tensor):
        return wrapped(np.bincount(detached(x), weights, minlength))
    places = constant(x, weights)
    if weights.shape != places.shape:
        raise ValueError("The weights and list don't have the same length.")
    return _counted(weights, places, minlength)


OPS[np.bincount] = _bincount
CLASSIFIED[np.bincount] = ("linear", "")


def _as_tensors(result, *args):
    """Return `result` as a tensor if any of the arguments is one."""
    return wrapped(result) if any(isinstance(x, Tensor) for x in args) else result


def _edges(x, bins, limits, found):
    """Return the edges `found` of bins, as a tensor where they depend on the tracked numbers `x` or bins."""
    if isinstance(bins, Tensor):
        return bins
    if limits is not None or np.ndim(bins) or not isinstance(x, Tensor) or not x.size:
        return _as_tensors(found, x)
    low, high = np.min(x), np.max(x)
    margin = 0.5 if bool(detached(low) == detached(high)) else 0.0
    return np.linspace(low - margin, high + margin, found.shape[0], dtype=found.dtype)


def _places(x, edges):
    """Return the bin of each number, and whether there is one; the last bin includes its upper edge."""
    places = np.searchsorted(edges, x, side="right") - 1
    places = places - ((places == edges.shape[0] - 1) & (x == edges[-1]))
    return places, (places >= 0) & (places < edges.shape[0] - 1)


def _weighed(weights, places, inside, size):
    """Return the sum of the weights in each of `size` bins, in the dtype of the weights."""
    places, weights = places[inside], weights[inside]
    if weights.dtype.kind == "c":
        total = _counted(np.real(weights), places, size) + 1j * _counted(np.imag(weights), places, size)
    else:
        total = _counted(weights, places, size)
    return typed(total, weights.dtype)


def _number_of(bins, x, range):
    """Return `bins`; on a device, where rules for their number are unknown, what the host finds by the rule."""
    if isinstance(bins, str) and device_of(x) != "cpu":
        return len(np.histogram_bin_edges(to_host(x), bins, range)) - 1
    return detached(bins)


def _histogram(a, bins=10, range=None, density=None, weights=None):
    x, w = detached(operand(a)), detached(weights)
    counts, found = np.histogram(x, _number_of(bins, x, range), range, weights=w)
    edges = _edges(a, bins, range, found)
    if isinstance(weights, Tensor):
        if weights.shape != x.shape:
            raise ValueError("weights should have the same shape as a.")
        counts = _weighed(weights.reshape(-1), *_places(x.reshape(-1), found), counts.shape[0])
    if density:
        counts = counts / typed(edges[1:] - edges[:-1], float) / np.sum(counts)
    return _as_tensors(counts, a), edges


def _histogram_bin_edges(a, bins=10, range=None, weights=None):
    x = detached(operand(a))
    if device_of(x) == "cpu":
        found = np.histogram_bin_edges(x, detached(bins), range, detached(weights))
    else:
        _, found = np.histogram(x, _number_of(bins, x, range), range)
    return _edges(a, bins, range, found)


def _histogramdd(sample, bins=10, range=None, density=None, weights=None):
    if isinstance(sample, Tensor) or (is_array(sample) and sample.ndim == 2):
        columns = [sample[:, i] for i in builtins.range(sample.shape[1])]
    else:
        columns = [operand(x) for x in sample]
    bare = [detached(x) for x in columns]
    bins = [bins] * len(columns) if np.ndim(bins) == 0 else list(bins)
    counts, found = np.histogramdd(
        np.stack(bare, axis=1), [detached(b) for b in bins], range, weights=detached(weights)
    )
    limits = [None] * len(columns) if range is None else range
    edges = tuple(_edges(*each) for each in zip(columns, bins, limits, found, strict=True))
    if isinstance(weights, Tensor):
        flat, inside = 0, True
        for x, e in zip(bare, found, strict=True):
            places, within = _places(x, e)
            flat, inside = flat * (e.shape[0] - 1) + places, inside & within
        counts = _weighed(weights, flat, inside, counts.size).reshape(counts.shape)
        counts = typed(counts, float) if counts.dtype.kind != "c" else counts
    if density:
        total = np.sum(counts)
        for i, e in enumerate(edges):
            widths = e[1:] - e[:-1]
            counts = counts / widths.reshape([-1 if k == i else 1 for k in builtins.range(len(edges))])
        counts = counts / total
    return _as_tensors(counts, *columns), edges


def _histogram2d(x, y, bins=10, range=None, density=None, weights=None):
    if np.ndim(bins) == 1 and len(bins) not in (1, 2):
        bins = [bins, bins]
    elif np.ndim(bins) == 1 and len(bins) == 1:
        bins = [bins[0], bins[0]]
    counts, (first, second) = _histogramdd([operand(x), operand(y)], bins, range, density, weights)
    return counts, first, second


composite(np.histogram, _histogram, on=distinct, cases=[case((6,), args=(4,)), case((2, 3), args=(3,), density=True)])
composite(
    np.histogram_bin_edges, _histogram_bin_edges, on=distinct, cases=[case((6,), args=(4,)), case((2, 9), bins="sqrt")]
)
composite(
    np.histogramdd,
    _histogramdd,
    on=distinct,
    cases=[case((6, 2), args=(3,)), case((6, 2), args=([2, 3],), density=True)],
)
composite(
    np.histogram2d, _histogram2d, on=distinct, cases=[case((6,), (6,), args=(3,)), case((4,), (4,), args=([2, 3],))]
)
