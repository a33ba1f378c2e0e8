"""Reductions and scans: sums, products, extrema, means, variances, order statistics, differences and integrals."""

from __future__ import annotations

import builtins
import itertools

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .._array import accumulation_dtype, device_of, to_host
from .._mode import MODE
from .._op import CLASSIFIED, composite, general, linear
from .._recorders import recorded
from .._tensor import OPS, Tensor, detached
from ._algebra import (
    all_normal,
    along,
    axes_of,
    backwards,
    constant,
    count,
    instead,
    kept,
    operand,
    spread,
    stored,
    unless_integers,
)
from ._domains import anything, case, distinct
from .arithmetic import only
from .indexing import ungetitem
from .shapes import zero_padded

AXES = [
    case(()),
    case((4,)),
    case((2, 3), axis=0),
    case((2, 3), axis=-1, keepdims=True),
    case((2, 3), keepdims=True),
    case((2, 3, 2), axis=(0, -1)),
    case((2, 3, 2), axis=(2, 0), keepdims=True),
    case((2, 3), axis=()),
    case((1, 3), axis=0),
]
"""One case for every form of axis."""

MASK = np.array([[True, False, True], [True, True, False]])
EMPTY = [case((0,)), case((2, 0, 3), axis=1), case((0, 2), axis=1)]
SCANS = [
    case(()),
    case((4,)),
    case((2, 3)),
    case((2, 3), axis=0),
    case((2, 3), axis=-1),
    case((0,)),
    case((2, 0), axis=0),
]


def masked(a, where, fill):
    """Return `a` with `fill` in the entries for which `where`, which may be an array, is false."""
    return a if where is True else np.where(np.broadcast_to(constant(where, a), a.shape), a, fill)


def typed(a, dtype):
    """Return `a` converted to `dtype`, if one is given."""
    return a if dtype is None else a.astype(dtype)


def refuse_integers(a, dtype):
    """Raise the error of astype if a reduction of the tracked `a` were to be computed in integers."""
    if dtype is not None and np.dtype(dtype).kind not in "fcV":
        typed(a, dtype)


def given(initial, where):
    """Return those of the two settings that were given, as keywords: CuPy knows neither."""
    return ({} if initial is None else {"initial": initial}) | ({} if where is True else {"where": where})


# Sums and means

# Methods of arrays and ufuncs are called rather than NumPy's functions, which look for a protocol first.


_add_reduce = np.add.reduce


def _plain_sum(x, axis=None, dtype=None, out=None, keepdims=False):
    if type(x) is np.ndarray:
        return _add_reduce(x, axis, dtype, None, keepdims)
    return x.sum(axis, dtype, None, keepdims)


_add_up = linear(
    _plain_sum,
    lambda g, x_shape, axis=None, keepdims=False: spread(g, x_shape, axis, keepdims),
    free="dtype out",
    name="sum",
    on=anything,
    cases=[
        *AXES,
        *EMPTY,
        case((2, 3), axis=1, where=MASK),
        case((2, 3), initial=2.5, where=[True, False, True]),
        case((2, 3), axis=0, initial=-1.0),
        case((2, 3), dtype="complex128"),
    ],
)


def _sum(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True):
    if dtype is out is initial is None and where is True:
        if type(a) is Tensor and a._record is not None and type(x := a._array) is np.ndarray and MODE.get() is None:
            total = _add_reduce(x, axis, None, None, keepdims)
            return recorded(_add_up.op, total, a._record, (x.shape, axis, keepdims))
        return _add_up(a, axis, None, None, keepdims)
    return _sum_of_some(a, axis, dtype, out=out, keepdims=keepdims, **given(initial, where))


@unless_integers(np.sum)
def _sum_of_some(a, axis, dtype, keepdims, initial=None, where=True):
    refuse_integers(a, dtype)
    result = _add_up(masked(a, where, 0), axis, dtype, None, keepdims)
    return result if initial is None else typed(result + initial, result.dtype)


instead(_sum, _add_up, np.sum)


def _over(g, n):
    """Return g / n, or g if n is 0; large `n` are beyond half precision, which their reciprocals are not."""
    return g / (n or 1) if n < 32768 else g * (1 / n)


def _plain_mean(x, axis=None, dtype=None, out=None, keepdims=False):
    if type(x) is np.ndarray and dtype is None and x.dtype.char in "fdFD" and (n := count(x.shape, axis)):
        return _add_reduce(x, axis, None, None, keepdims) / n  # as np.mean does, in half its time
    return x.mean(axis, dtype, None, keepdims)


_mean_of_all = linear(
    _plain_mean,
    lambda g, x_shape, axis=None, keepdims=False: spread(_over(g, count(x_shape, axis)), x_shape, axis, keepdims),
    free="dtype out",
    name="mean",
    on=anything,
    cases=[
        *AXES,
        case((2, 0, 3), axis=2),
        case((2, 3), axis=1, where=MASK),
        case((2, 3), keepdims=True, where=[True, False, True]),
        case((2, 3), dtype="complex128"),
        case((33000,)),  # more than half precision counts
    ],
)


def _mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True):
    if dtype is out is None and where is True:
        if type(a) is Tensor and a._record is not None and type(x := a._array) is np.ndarray and MODE.get() is None:
            return recorded(
                _mean_of_all.op, _plain_mean(x, axis, None, None, keepdims), a._record, (x.shape, axis, keepdims)
            )
        return _mean_of_all(a, axis, None, None, keepdims)
    return _mean_of_some(a, axis, dtype, out=out, keepdims=keepdims, **given(None, where))


@unless_integers(np.mean)
def _mean_of_some(a, axis, dtype, keepdims, where=True):
    refuse_integers(a, dtype)
    if where is True:
        return _mean_of_all(a, axis, dtype, None, keepdims)
    total, size = _sum_and_size(typed(a, dtype), axis, keepdims, where)
    return typed(total / size, np.dtype(dtype or a.dtype))


instead(_mean, _mean_of_all, np.mean)


def _sum_and_size(a, axis, keepdims, where):
    """Return the sum of the entries of `a` where `where` holds, and how many those are, in a dtype that can count."""
    total = np.sum(masked(a, where, 0), axis=axis, keepdims=keepdims, dtype=accumulation_dtype(a.dtype))
    mask = np.broadcast_to(constant(where, a), a.shape)
    return total, np.sum(mask, axis=axis, keepdims=keepdims, dtype=detached(total).real.dtype)


# Running sums and products


def _flat(a, axis):
    """Return `a` and a number from 0 on for `axis`; for None, `a` in one dimension, and 0."""
    return (a.reshape(-1) if a.ndim != 1 else a, 0) if axis is None else (a, normalize_axis_index(axis, a.ndim or 1))


def _sum_backwards(g, x_shape, axis):
    if axis is None or not x_shape:
        return backwards(np.cumsum(backwards(g, 0), axis=0), 0).reshape(x_shape)
    axis %= len(x_shape)
    return backwards(np.cumsum(backwards(g, axis), axis=axis), axis)


linear(
    np.cumsum,
    lambda g, x_shape, axis=None: _sum_backwards(g, x_shape, axis),
    free="dtype",
    on=anything,
    cases=[*SCANS, case((2, 3), axis=1, dtype="complex128")],
)
_cumsum_as_given = OPS[np.cumsum]


def _cumsum(a, axis=None, dtype=None, out=None):
    refuse_integers(a, dtype)
    return stored(_cumsum_as_given(a, axis=axis, dtype=dtype), out)


instead(_cumsum, _cumsum_as_given, np.cumsum)


def recurrence(a, b, axis):
    """Return s with s[0] = b[0] and s[k] = a[k-1] s[k-1] + b[k] along `axis`; `a` has one entry less than `b`."""
    b = b.astype(np.result_type(a.dtype, b.dtype), copy=False)
    n = b.shape[axis]
    if not isinstance(b, np.ndarray) or (n > 64 and b.size < 128 * n):
        return _by_halves(a, b, axis)
    a, s = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0).copy()
    for k in range(1, n):
        s[k] += a[k - 1] * s[k - 1]
    return np.moveaxis(s, 0, axis)


def _by_halves(a, b, axis):
    """Solve the recurrence by odd-even reduction, in few calls: two steps are one step of one of half the length."""
    n = b.shape[axis]
    if n < 2:
        return b

    def at(x, *bounds):
        return x[along(axis, slice(*bounds))]

    a_even, a_odd, b_even, b_odd = at(a, 0, None, 2), at(a, 1, None, 2), at(b, 0, None, 2), at(b, 1, None, 2)
    m, rest = n // 2, (n - 1) // 2
    at_odd = _by_halves(at(a_even, 1, m) * at(a_odd, 0, m - 1), at(a_even, 0, m) * at(b_even, 0, m) + b_odd, axis)
    s = np.empty_like(b)
    s[along(axis, slice(1, None, 2))] = at_odd
    s[along(axis, slice(0, 1))] = at(b, 0, 1)
    s[along(axis, slice(2, None, 2))] = at(a_odd, 0, rest) * at(at_odd, 0, rest) + at(b_even, 1, None)
    return s


def _recur_backwards(g, a, axis):
    """Return u with u[k] = g[k] + a[k] u[k+1]: the transpose of the recurrence in b."""
    return backwards(recurrence(backwards(a, axis), backwards(g, axis), axis), axis)


recurrence = general(
    recurrence,
    "a b",
    "s",
    [
        lambda g, a, s, axis: _cut(_recur_backwards(g, a, axis), axis, 1, None) * _cut(s, axis, None, -1),
        lambda g, a, axis: _recur_backwards(g, a, axis),
    ],
    on=anything,
    cases=[case((max(n - 1, 0), 2), (n, 2), axis=0) for n in (0, 1, 2, 5, 8)] + [case((2, 6), (2, 7), axis=1)],
)


def _multiply_backwards(g, x, out, axis):
    """Return the products before each entry times the cotangents of the products after it."""
    if type(g) is np.ndarray and all_normal(abs(out)):
        # No factor is zero, and nothing has vanished or overflown, so that the factor may be divided out again.
        sums = _sum_backwards(g * out, x.shape, axis)
        sums /= x
        return sums
    sums = _recur_backwards(g, _cut(x, axis, 1, None), axis)
    later = _cut(out, axis, None, -1) * _cut(sums, axis, 1, None)
    return np.concatenate([_cut(sums, axis, 0, 1), later], axis=axis)


_cumprod_along = general(
    lambda x, axis: np.cumprod(x, axis=axis),
    "x",
    "out",
    lambda g, x, out, axis: _multiply_backwards(g, x, out, axis),
    name="cumprod",
    on=anything,
    cases=SCANS,
)


def _cumprod(a, axis=None, dtype=None, out=None):
    a, axis = _flat(typed(a, dtype), axis)
    return stored(_cumprod_along(a if a.ndim else a.reshape(1), axis=axis), out)


instead(_cumprod, _cumprod_along, np.cumprod)


def _others(x, axis):
    """Return, for each entry along `axis`, the product of all others: no division, and in linear time.

    Entries are multiplied in pairs, these again, and so on up to one; then, downwards, the others of an entry are the
    others of its pair, and its partner.
    """
    levels = [x]
    while levels[-1].shape[axis] > 1:
        x = levels[-1]
        m = x.shape[axis] // 2
        pairs = _cut(x, axis, 0, m) * _cut(x, axis, m, 2 * m)
        levels.append(np.concatenate([pairs, _cut(x, axis, 2 * m, None)], axis=axis) if x.shape[axis] % 2 else pairs)
    others = np.ones_like(levels.pop())
    while levels:
        x = levels.pop()
        m = x.shape[axis] // 2
        of_pairs = _cut(others, axis, 0, m)
        first, second = _cut(x, axis, 0, m), _cut(x, axis, m, 2 * m)
        if isinstance(x, np.ndarray):
            alone, others = _cut(others, axis, m, None), np.empty_like(x)
            np.multiply(of_pairs, second, out=_cut(others, axis, 0, m))
            np.multiply(of_pairs, first, out=_cut(others, axis, m, 2 * m))
            _cut(others, axis, 2 * m, None)[...] = alone
        else:
            others = np.concatenate([of_pairs * second, of_pairs * first, _cut(others, axis, m, None)], axis=axis)
    return others


def _products_of_others(g, x, out, axis, keepdims):
    """Return the cotangent of the product times, for each entry, the product of all others."""
    axes = axes_of(axis, x.ndim)
    g = kept(g, x.shape, axis, keepdims)
    if type(g) is np.ndarray is type(x) and all_normal(abs(kept(out, x.shape, axis, keepdims))):
        others = kept(out, x.shape, axis, keepdims) / x
        others *= g
        return others
    if len(axes) == 1:
        return g * _others(x, axes[0])
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    order = rest + axes
    flat = x.transpose(order).reshape(*(x.shape[i] for i in rest), count(x.shape, axes))
    others = _others(flat, len(rest)).reshape([x.shape[i] for i in order])
    return g * others.transpose(sorted(range(x.ndim), key=order.__getitem__))


_multiply_up = general(
    lambda x, axis=None, keepdims=False: np.prod(x, axis=axis, keepdims=keepdims),
    "x",
    "out",
    lambda g, x, out, axis=None, keepdims=False: _products_of_others(g, x, out, axis, keepdims),
    name="prod",
    on=anything,
    cases=[
        *AXES,
        *EMPTY,
        case((2, 3), axis=1, where=MASK),
        case((2, 3), axis=0, initial=-1.5),
        case((2, 3), dtype="complex128"),
    ],
)


@unless_integers(np.prod)
def _prod(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=True):
    result = _multiply_up(masked(typed(a, dtype), where, 1), axis=axis, keepdims=keepdims)
    if initial is not None:
        result = typed(result * initial, result.dtype)
    return stored(result, out)


instead(_prod, _multiply_up, np.prod)


def _cumulative(scan, start):
    def run(x, /, *, axis=None, dtype=None, out=None, include_initial=False):
        x = np.atleast_1d(x)
        if axis is None and x.ndim != 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        axis = 0 if axis is None else normalize_axis_index(axis, x.ndim)
        result = scan(x, axis=axis, dtype=dtype)
        if include_initial:
            shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
            first = np.full_like(detached(result), start, shape=shape)
            result = np.concatenate([first, result], axis=axis)
        return stored(result, out)

    return run


CUMULATIVE = [
    case((4,)),
    case((2, 3), axis=1),
    case((2, 3), axis=0, include_initial=True),
    case((4,), dtype="complex128"),
    case(()),
    case((), axis=0, include_initial=True),
]

if hasattr(np, "cumulative_sum"):  # since NumPy 2.1
    composite(np.cumulative_sum, _cumulative(np.cumsum, 0), on=anything, cases=CUMULATIVE)
    composite(np.cumulative_prod, _cumulative(np.cumprod, 1), on=anything, cases=CUMULATIVE)


# Extrema


def _extremum(reduce, pair):
    """Return `reduce` with `initial` and `where`, made of what CuPy has too."""

    def run(x, axis=None, out=None, keepdims=False, initial=None, where=True):
        if initial is None:
            if type(x) is np.ndarray and where is True:
                return pair.reduce(x, axis, None, None, keepdims)
            return reduce(x, axis=axis, keepdims=keepdims, **({} if where is True else {"where": where}))
        x = masked(x, where, initial)
        if count(x.shape, axis) == 0:
            return np.full_like(np.sum(x, axis=axis, keepdims=keepdims), initial)
        return pair(reduce(x, axis=axis, keepdims=keepdims), initial).astype(x.dtype)

    return run


def _has_nan(out):
    """Return whether an array has a NaN; for a device, which such a look would wait for, True."""
    return type(out) is not np.ndarray or np.count_nonzero(out != out) > 0


def _chosen(x, out):
    """Return which entries equal the extremum, as constants; if that is nan, which ones are nan."""
    x, out = detached(x), detached(out)
    chosen = x == out
    # A look at the result is cheaper than another pass over the array.
    return chosen | (x != x) if _has_nan(out) else chosen


def _evenly(g, chosen, axis, others=0, each=False):
    """Return the cotangent divided evenly among the chosen entries and `others` more, and 0 for the rest.

    `each` promises that there is a chosen entry for each cotangent.
    """
    if each and type(g) is np.ndarray is type(chosen) and np.count_nonzero(chosen) == g.size:
        # As many as there are cotangents, so there are no ties, and few entries to write.
        h = np.zeros(chosen.shape, g.dtype)
        np.copyto(h, g, where=chosen)
        return h
    wide = accumulation_dtype(g.dtype)
    ties = chosen.sum(axis, wide or g.dtype, None, True) + others
    part = g / (ties + (ties == 0))
    return only(part if wide is None else part.astype(g.dtype), chosen)


def _share(g, x, out, axis=None, keepdims=False, initial=None, where=True):
    """Return the cotangent divided evenly among the entries that equal the extremum; a nan takes all of it."""
    g, out = kept(g, x.shape, axis, keepdims), kept(out, x.shape, axis, keepdims)
    chosen = _chosen(x, out)
    if initial is None and where is True:
        return _evenly(g, chosen, axis, each=True)
    if where is not True:
        chosen = chosen & constant(where, x)
    return _evenly(g, chosen, axis, 0 if initial is None else (detached(out) == initial) | (initial != initial))


def _share_of_numbers(g, x, out, axis=None, keepdims=False, initial=None, where=True):
    """Return the cotangent divided evenly among the entries that equal the extremum; nan takes nothing."""
    g, out = kept(g, x.shape, axis, keepdims), kept(out, x.shape, axis, keepdims)
    chosen = detached(x) == detached(out)
    if initial is None and where is True:
        return _evenly(g, chosen, axis, each=not _has_nan(detached(out)))
    if where is not True:
        chosen = chosen & constant(where, x)
    return _evenly(g, chosen, axis, 0 if initial is None else detached(out) == initial)


def _several(x, out, axis=None, keepdims=False, where=True):
    """Return where more than one entry equals the extremum."""
    chosen = (x == kept(out, x.shape, axis, keepdims)) & where
    return np.reshape(chosen.sum(axis) > 1, out.shape)


def _accepting_out(row, *functions):
    def run(a, axis=None, out=None, keepdims=False, initial=None, where=True):
        if out is initial is None and where is True:
            return row(a, axis, None, keepdims)
        return of_some(a, axis, out=out, keepdims=keepdims, **given(initial, where))

    of_some = unless_integers(functions[0])(row)
    return instead(run, row, *functions)


EXTREMA = [
    *AXES,
    case((0, 2), axis=1),
    case((2, 3), axis=1, initial=0.1, where=MASK),
    case((2, 3), axis=0, keepdims=True, initial=-9.0, where=[True, False, True]),
    case((2, 3), initial=9.0),
    case((0,), initial=1.0),
]

for _reduce, _pair, _names in ((np.max, np.maximum, (np.max, np.amax)), (np.min, np.minimum, (np.min, np.amin))):
    _accepting_out(
        general(
            _extremum(_reduce, _pair),
            "x",
            "out",
            _share,
            free="out",
            name=_reduce.__name__,
            kink=_several,
            on=distinct.and_complex(),
            cases=EXTREMA,
        ),
        *_names,
    )

composite(
    np.ptp,
    lambda a, axis=None, out=None, keepdims=False: stored(
        np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims), out
    ),
    on=distinct,
    cases=AXES,
)


# Differences and integrals


def _cut(x, axis, *bounds):
    """Return the slice of `x` between `bounds` along `axis`, counted from 0."""
    return x[along(axis, slice(*bounds))]


def _end(value, a, axis):
    """Return what is put before or after `a` along `axis`: an array, or a number that is broadcast."""
    value = operand(value, a)
    return value if value.ndim else np.broadcast_to(value, (*a.shape[:axis], 1, *a.shape[axis + 1 :]))


def _sum_differences(g, x_shape, n, axis):
    """Return the transpose of `n` differences: as many of the cotangents between zeros, with the sign turned."""
    if not g.shape[axis]:
        return np.zeros_like(g, shape=x_shape)
    if type(g) is np.ndarray:
        for _ in range(n):
            h = np.empty((*g.shape[:axis], g.shape[axis] + 1, *g.shape[axis + 1 :]), g.dtype)
            np.subtract(_cut(g, axis, None, -1), _cut(g, axis, 1, None), out=_cut(h, axis, 1, -1))
            np.negative(_cut(g, axis, 0, 1), out=_cut(h, axis, 0, 1))
            h[along(axis, -1)] = g[along(axis, -1)]
            g = h
        return g
    edge = np.zeros_like(detached(_cut(g, axis, 0, 1)))
    for _ in range(n):
        g = np.concatenate([edge, g, edge], axis=axis)
        g = _cut(g, axis, None, -1) - _cut(g, axis, 1, None)
    return g


_differences = linear(
    lambda x, n, axis: np.diff(x, n, axis),
    lambda g, x_shape, n, axis: _sum_differences(g, x_shape, n, axis),
    name="diff",
    on=anything,
    cases=[
        case((4,)),
        case((4, 2), axis=0, n=2),
        case((2, 3), n=3),
        case((2, 3), n=0),
        case((2, 3), prepend=0.5, append=[[1.0, 2.0], [3.0, 4.0]]),
        case((2, 3), axis=0, prepend=[[1.0, 2.0, 3.0]]),
        case((0,)),
    ],
)


def _diff(a, n=1, axis=-1, prepend=None, append=None):
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    a = operand(a, prepend if append is None else append)
    if a.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = normalize_axis_index(axis, a.ndim)
    if prepend is not None or append is not None:
        before = [] if prepend is None else [_end(prepend, a, axis)]
        after = [] if append is None else [_end(append, a, axis)]
        a = np.concatenate([*before, a, *after], axis=axis)
    return _differences(a, n, axis)


instead(_diff, _differences, np.diff)


def _ediff1d(ary, to_end=None, to_begin=None):
    ary = operand(ary, to_end if to_begin is None else to_begin)
    flat = ary.reshape(-1)
    parts = [_differences(flat, 1, 0)]
    for name, end in (("to_begin", to_begin), ("to_end", to_end)):
        if end is not None:
            end = operand(end, ary)
            if not np.can_cast(end.dtype, ary.dtype, casting="same_kind"):
                raise TypeError(f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule.")
            end = typed(end.reshape(-1), ary.dtype)
            parts = [end, *parts] if name == "to_begin" else [*parts, end]
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


composite(
    np.ediff1d,
    _ediff1d,
    on=anything,
    cases=[case((4,)), case((2, 3)), case((4,), to_end=[1.0, 2.0], to_begin=-1.0), case((0,))],
)


def _gradient(f, *varargs, axis=None, edge_order=1):
    f = operand(f, next((v for v in varargs if isinstance(v, Tensor)), None))
    axes = tuple(range(f.ndim)) if axis is None else normalize_axis_tuple(axis, f.ndim)
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    if not varargs:
        spacings = [1.0] * len(axes)
    elif len(varargs) == 1 and np.ndim(varargs[0]) == 0:
        spacings = list(varargs) * len(axes)
    elif len(varargs) == len(axes):
        spacings = [_steps(v, f, i) for v, i in zip(varargs, axes, strict=True)]
    else:
        raise TypeError("invalid number of arguments")
    results = []
    for i, h in zip(axes, spacings, strict=True):
        if f.shape[i] < edge_order + 1:
            raise ValueError(
                "Shape of array too small to calculate a numerical gradient, "
                "at least (edge_order + 1) elements are required."
            )
        slopes = _slopes(f, h, i, edge_order)
        results.append(slopes if f.dtype.kind in "biu" else typed(slopes, f.dtype))
    return results[0] if len(axes) == 1 else tuple(results)


def _steps(distances, f, axis):
    """Return the spacings between coordinates along `axis`, or a scalar as it is."""
    if np.ndim(distances) == 0:
        return distances
    distances = operand(distances, f)
    if distances.ndim != 1:
        raise ValueError("distances must be either scalars or 1d")
    if distances.shape[0] != f.shape[axis]:
        raise ValueError("when 1d, distances must match the length of the corresponding dimension")
    distances = distances.astype(float) if distances.dtype.kind in "iu" else distances
    return (distances[1:] - distances[:-1]).reshape([-1 if i == axis else 1 for i in range(f.ndim)])


def _slopes(f, h, axis, edge_order):
    """Return differences of `f` along `axis` over the spacing `h`: central ones, and one-sided ones at the edges."""

    def at(*bounds):
        return _cut(f, axis, *bounds)

    if np.ndim(h) == 0:
        middle = (at(2, None) - at(None, -2)) / (2.0 * h)
        h1 = h2 = h3 = h4 = h
    else:
        before, after = _cut(h, axis, None, -1), _cut(h, axis, 1, None)
        middle = (
            at(None, -2) * (-after / (before * (before + after)))
            + at(1, -1) * ((after - before) / (before * after))
            + at(2, None) * (before / (after * (before + after)))
        )
        h1, h2 = _cut(h, axis, 0, 1), _cut(h, axis, 1, 2)
        h3, h4 = _cut(h, axis, -2, -1), _cut(h, axis, -1, None)
    if edge_order == 1:
        first = (at(1, 2) - at(0, 1)) / h1
        last = (at(-1, None) - at(-2, -1)) / h4
    else:
        first = (
            at(0, 1) * (-(2.0 * h1 + h2) / (h1 * (h1 + h2)))
            + at(1, 2) * ((h1 + h2) / (h1 * h2))
            + at(2, 3) * (-h1 / (h2 * (h1 + h2)))
        )
        last = (
            at(-3, -2) * (h4 / (h3 * (h3 + h4)))
            + at(-2, -1) * (-(h4 + h3) / (h3 * h4))
            + at(-1, None) * ((2.0 * h4 + h3) / (h4 * (h3 + h4)))
        )
    return np.concatenate([first, middle, last], axis=axis)


composite(
    np.gradient,
    _gradient,
    on=anything,
    cases=[
        case((4,)),
        case((2,)),
        case((3, 4)),
        case((3, 4), args=(0.5,), axis=1),
        case((3, 4), args=(0.5, 2.0), edge_order=2),
        case((3, 4), args=([0.0, 1.0, 3.0], 0.5), edge_order=1),
        case((3, 4), args=([0.0, 1.0, 3.0, 3.5],), axis=-1, edge_order=2),
        case((3, 4), axis=(1, 0)),
    ],
)


@unless_integers(np.trapezoid)
def _trapezoid(y, x=None, dx=1.0, axis=-1):
    y = operand(y, x if isinstance(x, Tensor) else dx)
    # Of an x with other axes than y, and of what both give together, the axis is counted anew.
    own = normalize_axis_index(axis, y.ndim)
    widths = dx if np.ndim(dx) == 0 else operand(dx, y)
    if x is None and np.ndim(dx) == 0 and y.dtype.kind in "fc" and y.shape[own] > 1:
        # Weighing the ends once takes fewer passes than adding neighbors.
        shape = [-1 if i == own else 1 for i in range(y.ndim)]
        weights = np.ones(y.shape[own])
        weights[[0, -1]] = 0.5
        return np.sum(y * constant(weights.reshape(shape), y, detached(y).real.dtype), axis=axis) * dx
    if x is not None:
        x = operand(x, y)
        widths = x[1:] - x[:-1] if x.ndim == 1 else _diff(x, axis=axis)
        if x.ndim == 1:
            widths = widths.reshape([-1 if i == own else 1 for i in range(y.ndim)])
    return np.sum(widths * (_cut(y, own, 1, None) + _cut(y, own, None, -1)) / 2.0, axis=axis)


composite(
    np.trapezoid,
    _trapezoid,
    on=anything,
    cases=[
        case((4,)),
        case((2, 3), axis=0, dx=0.5),
        case((2, 3), (3,)),
        case((3, 2), (3,), axis=0),
        case((2, 3), (2, 3)),
        case((3,), (2, 1, 3)),
        case((2, 1, 3), (2, 3)),
        case((3,), dx=[0.5, 1.5]),
    ],
)
_trapz = getattr(np, "trapz", None)  # its name before NumPy 2.4
if _trapz is not None:
    OPS[_trapz], CLASSIFIED[_trapz] = OPS[np.trapezoid], ("composite", "")


# Methods of ufuncs


def _method(ufunc, name, run):
    OPS[ufunc, name] = run
    CLASSIFIED[ufunc, name] = ("composite", "")


def _reduction(function):
    def reduce(array, axis=0, dtype=None, out=None, keepdims=False, **options):
        typing = {} if dtype is None else {"dtype": dtype}
        return stored(function(array, axis=axis, keepdims=keepdims, **typing, **options), out)

    return reduce


def _scan(function):
    def accumulate(array, axis=0, dtype=None, out=None):
        return stored(function(typed(array, dtype), axis=normalize_axis_index(axis, array.ndim)), out)

    return accumulate


def _running_extremum(ufunc, x, axis):
    """Return the accumulation by np.maximum or np.minimum, which CuPy lacks: there in steps of doubled distance."""
    if isinstance(x, np.ndarray):
        return ufunc.accumulate(x, axis=axis)
    distance = 1
    while distance < x.shape[axis]:
        later = ufunc(_cut(x, axis, distance, None), _cut(x, axis, None, -distance))
        x = np.concatenate([_cut(x, axis, None, distance), later], axis=axis)
        distance *= 2
    return x if distance > 1 else x.copy()


def _running_share(g, x, out, axis):
    """Return each cotangent divided evenly among the entries so far that equal the extremum so far."""
    out, x = detached(out), detached(x)
    chosen = (x == out) | (x != x)
    level = (_cut(out, axis, 1, None) == _cut(out, axis, None, -1)).astype(out.dtype)
    ties = recurrence(level, chosen.astype(out.dtype), axis=axis)
    return np.where(chosen, _recur_backwards(g / (ties + (ties == 0)), level, axis), 0)


for _ufunc, _reduced in ((np.add, _sum), (np.multiply, _prod), (np.maximum, OPS[np.max]), (np.minimum, OPS[np.min])):
    _method(_ufunc, "reduce", _reduction(_reduced))
_method(np.add, "accumulate", _scan(_cumsum))
_method(np.multiply, "accumulate", _scan(_cumprod))
for _ufunc in (np.maximum, np.minimum):
    _running = general(
        lambda x, axis, ufunc=_ufunc: _running_extremum(ufunc, x, axis),
        "x",
        "out",
        lambda g, x, out, axis: _running_share(g, x, out, axis),
        name=f"running {_ufunc.__name__}",
        on=distinct,
        cases=[case((6,), axis=0), case((2, 5), axis=1), case((0, 2), axis=0)],
    )
    _method(_ufunc, "accumulate", _scan(_running))


def segments(x, starts, axis):
    """Return np.add.reduceat."""
    if device_of(x) == "cpu":
        return np.add.reduceat(x, starts, axis=axis)
    # CuPy's own takes differences of running sums, which lose digits, and spread NaN.
    pieces = [np.arange(i, builtins.max(k, i + 1)) for i, k in itertools.pairwise([*starts, x.shape[axis]])]
    places = constant(np.concatenate([np.zeros(0, int), *pieces]), x)
    numbers = constant(np.repeat(np.arange(len(starts)), [piece.size for piece in pieces]), x)
    shape = (*x.shape[:axis], len(starts), *x.shape[axis + 1 :])
    return ungetitem(x[along(axis, places)], shape, along(axis, numbers))


def _unsegment(g, x_shape, starts, axis):
    """Return each cotangent at all places of its segment."""
    n = x_shape[axis]
    ends = [*starts[1:], n]
    lengths = [max(end - start, 1) for start, end in zip(starts, ends, strict=True)]
    g = np.repeat(g, lengths, axis=axis)
    if starts == sorted(set(starts)):
        return zero_padded(g, tuple((starts[0], 0) if i == axis else (0, 0) for i in builtins.range(len(x_shape))))
    places = [start + i for start, length in zip(starts, lengths, strict=True) for i in builtins.range(length)]
    return ungetitem(g, x_shape, along(axis, np.asarray(places, np.intp)))


segments = linear(
    segments,
    lambda g, x_shape, starts, axis: _unsegment(g, x_shape, starts, axis),
    name="add.reduceat",
    on=anything,
    cases=[
        case((6,), args=([0, 2, 3],), axis=0),
        case((6,), args=([4, 1, 1, 5],), axis=0),
        case((2, 5), args=([0, 3],), axis=1),
        case((4, 2), args=([1, 2],), axis=0),
    ],
)


def _starts(ufunc, indices, n):
    """Return the beginnings of segments as numbers, or raise NumPy's error for those outside of the array."""
    starts = to_host(detached(operand(indices))).tolist()
    for i in starts:
        if not 0 <= i < n:
            raise IndexError(f"index {i} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})")
    return starts


def _sum_segments(array, indices, axis=0, dtype=None, out=None):
    axis = normalize_axis_index(axis, array.ndim)
    return stored(segments(typed(array, dtype), _starts(np.add, indices, array.shape[axis]), axis=axis), out)


def _segment_by_segment(ufunc, reduce):
    def reduceat(array, indices, axis=0, dtype=None, out=None):
        array, axis = typed(array, dtype), normalize_axis_index(axis, array.ndim)
        starts = _starts(ufunc, indices, array.shape[axis])
        ends = [*starts[1:], array.shape[axis]]
        pieces = [_cut(array, axis, i, max(k, i + 1)) for i, k in zip(starts, ends, strict=True)]
        return stored(np.stack([reduce(piece, axis=axis) for piece in pieces], axis=axis), out)

    return reduceat


_method(np.add, "reduceat", _sum_segments)
for _of_two, _reduced, _on in (
    (np.multiply, _prod, anything),
    (np.maximum, OPS[np.max], distinct),
    (np.minimum, OPS[np.min], distinct),
):
    composite(
        _of_two.reduceat,
        _segment_by_segment(_of_two, _reduced),
        name=f"{_of_two.__name__}.reduceat",
        on=_on,
        cases=[case((5,), args=([0, 3],)), case((2, 5), args=([3, 1, 1],), axis=-1)],
    )
    _method(_of_two, "reduceat", OPS.pop(_of_two.reduceat))
    del CLASSIFIED[_of_two.reduceat]


def _outer(ufunc):
    def outer(a, b, **options):
        a, b = operand(a, b), operand(b, a)
        return ufunc(a.reshape((*a.shape, *(1 for _ in b.shape))), b, **options)

    return outer


for _any in {f for f in vars(np).values() if isinstance(f, np.ufunc) and f.nin == 2 and f.signature is None}:
    if (_any, "outer") not in OPS:
        _method(_any, "outer", _outer(_any))
