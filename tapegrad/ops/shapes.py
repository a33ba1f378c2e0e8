"""Shapes: reshaping, moving axes, broadcasting, flipping, repeating, padding, diagonals and triangles."""

from __future__ import annotations

import functools
import operator

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .._array import device_of, is_array, prototype_of, scatter_add, to_host, zeros
from .._mode import MODE
from .._op import CLASSIFIED, composite, linear
from .._op import constant as constants
from .._recorders import recorded
from .._tensor import OPS, Tensor, assign, detached, wrapped
from ..errors import UnsupportedError
from ._algebra import along, backwards, constant, count, instead, operand, unbroadcast, unless_integers
from ._domains import anything, case, distinct, real
from .indexing import assign as assign_row
from .indexing import ungetitem

MATRICES = [case((2, 3)), case((3, 2, 3)), case((2, 0))]

# The number of elements stays, and with it their order


_reshaped = linear(
    lambda x, shape, order="C": x.reshape(shape) if order == "C" else x.reshape(shape, order=order),
    lambda g, x_shape, order="C": g.reshape(x_shape) if order == "C" else g.reshape(x_shape, order=order),
    free="shape",
    name="reshape",
    on=anything,
    cases=[
        case((2, 3), args=((3, 2),)),
        case((2, 3), args=(-1,)),
        case((4,), args=((2, -1), "F")),
        case((2, 3), args=((3, 2),), order="A"),
        case((2, 3), shape=(6,), order="F", copy=True),
        case((), args=((1, 1),)),
        case((2, 0), args=((0, 3),)),
    ],
)


def _order_of(a, order):
    """Return the order "C" or "F" in which NumPy reads `a` where it is told to choose."""
    if order in ("A", "a"):
        flags = detached(a).flags
        return "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    return order


def _reshape(a, shape, order="C", *, copy=None):
    if copy is not None:
        np.reshape(detached(a), shape, order, copy=copy)  # tensors are values, so only the complaints matter
    if order == "C":
        if type(a) is Tensor and type(shape) in (tuple, int) and a._record is not None and MODE.get() is None:
            return recorded(_reshaped.op, a._array.reshape(shape), a._record, (a._array.shape, "C"))
        return _reshaped(a, shape)
    return _reshaped(a, shape, order=_order_of(a, order))


instead(_reshape, _reshaped, np.reshape)


def _ravel(a, order="C"):
    if order in ("K", "k"):
        strides = [abs(s) for s in detached(a).strides]
        a = a.transpose(sorted(range(a.ndim), key=lambda i: -strides[i]))
        order = "C"
    return _reshaped(a, -1) if order == "C" else _reshaped(a, -1, order=_order_of(a, order))


composite(
    np.ravel,
    _ravel,
    on=anything,
    cases=[case((2, 3)), *(case((2, 3), order=o) for o in "CFA"), case((0, 2)), case(())],
)

linear(
    np.expand_dims,
    lambda g, x_shape: g.reshape(x_shape),
    free="axis",
    on=anything,
    cases=[case((2, 3), args=(1,)), case((2,), axis=(0, -1)), case((), axis=0)],
)
linear(
    np.squeeze,
    lambda g, x_shape: g.reshape(x_shape),
    free="axis",
    on=anything,
    cases=[case((1, 2, 1)), case((1, 2, 1), axis=0), case((1, 2, 1), axis=(0, -1)), case((2,)), case((1, 0))],
)


def _at_least(ndim, shape_of):
    def run(*arys):
        results = tuple(a if a.ndim >= ndim else a.reshape(shape_of(a.shape)) for a in map(operand, arys))
        return results[0] if len(results) == 1 else results

    return run


AT_LEAST = [case(()), case((3,)), case((2, 3)), case((2, 1, 3)), case((), (2,)), case((0,))]
composite(np.atleast_1d, _at_least(1, lambda shape: (1,)), on=anything, cases=AT_LEAST)
composite(np.atleast_2d, _at_least(2, lambda shape: (1, *shape) if shape else (1, 1)), on=anything, cases=AT_LEAST)
composite(
    np.atleast_3d,
    _at_least(3, lambda shape: ((1, 1, 1), (1, *shape, 1), (*shape, 1))[len(shape)]),
    on=anything,
    cases=AT_LEAST,
)


# Axes


def inverse(axes):
    """Return the permutation that undoes the permutation `axes`."""
    axes = [a % len(axes) for a in axes]
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


_reversed_axes = linear(lambda x: x.T, lambda g: g.T, name="reversed axes", on=anything, cases=MATRICES)

_permuted = linear(
    lambda x, axes: x.transpose(axes),
    lambda g, axes: g.transpose(inverse(axes)),
    name="transpose",
    on=anything,
    cases=[case((2, 3)), case((2, 3, 4), args=((2, 0, 1),)), case((2, 3, 4), axes=(-1, 0, -2)), case(()), case((2, 0))],
)


def _transpose(a, axes=None):
    if axes is None:
        return _reversed_axes(a)
    return _permuted(a, (axes,) if isinstance(axes, int) else tuple(axes))


instead(_transpose, _permuted, np.transpose)

linear(np.matrix_transpose, lambda g: g.swapaxes(-1, -2), on=anything, cases=MATRICES)
linear(
    np.swapaxes,
    lambda g, axis1, axis2: g.swapaxes(axis1, axis2),
    on=anything,
    cases=[case((2, 3), args=(0, 1)), case((2, 3, 4), args=(-1, 0)), case((2, 3), args=(1, 1))],
)
linear(
    np.moveaxis,
    lambda g, source, destination: np.moveaxis(g, destination, source),
    on=anything,
    cases=[case((2, 3, 4), args=(0, -1)), case((2, 3, 4), args=((0, 1), (2, 0))), case((2, 3), args=(1, 1))],
)


def _rollaxis(a, axis, start=0):
    np.rollaxis(detached(a), axis, start)  # for its complaints
    axis, start = axis % a.ndim, start + a.ndim if start < 0 else start
    order = [i for i in range(a.ndim) if i != axis]
    order.insert(start - (axis < start), axis)
    return a.transpose(order)


composite(
    np.rollaxis,
    _rollaxis,
    on=anything,
    cases=[
        case((2, 3, 4), args=(2,)),
        case((2, 3, 4), args=(0, 3)),
        case((2, 3, 4), args=(1, -1)),
        case((2, 3), args=(0, 1)),
    ],
)


# Reversal and rotation

FLIPS = [
    case((2, 3)),
    case((2, 3), axis=0),
    case((2, 3), axis=-1),
    case((2, 3, 2), axis=(0, -1)),
    case((3,)),
    case((0,)),
]
linear(np.flip, lambda g, axis=None: np.flip(g, axis), on=anything, cases=FLIPS)
linear(np.fliplr, lambda g: np.fliplr(g), on=anything, cases=MATRICES)
linear(np.flipud, lambda g: np.flipud(g), on=anything, cases=[*MATRICES, case((3,))])
linear(
    np.rot90,
    lambda g, k=1, axes=(0, 1): np.rot90(g, -k, axes),
    on=anything,
    cases=[*(case((2, 3), args=(k,)) for k in range(-1, 5)), case((2, 3)), case((2, 3, 4), k=1, axes=(2, 0))],
)
linear(
    np.roll,
    lambda g, shift, axis=None: np.roll(
        g, tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift, axis
    ),
    on=anything,
    cases=[
        case((4,), args=(1,)),
        case((2, 3), args=(-2,)),
        case((2, 3), args=(1,), axis=1),
        case((2, 3), args=((1, 2),), axis=(0, 1)),
        case((2, 3), shift=2, axis=(0, 1)),
        case((0,), args=(1,)),
    ],
)


# Broadcasting and repetition

linear(
    np.broadcast_to,
    lambda g, x_shape: unbroadcast(g, x_shape),
    free="shape subok",
    on=anything,
    cases=[
        case((3,), args=((2, 3),)),
        case((2, 1), args=((4, 2, 3),)),
        case((), args=((2,),)),
        case((2,), shape=(2,)),
        case((1, 3), args=((0, 3),)),
    ],
)


def _broadcast_arrays(*args, subok=False):
    arrays = [operand(a, next((x for x in args if isinstance(x, Tensor)), None)) for a in args]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return tuple(a if a.shape == shape else np.broadcast_to(a, shape) for a in arrays)


composite(
    np.broadcast_arrays,
    _broadcast_arrays,
    on=anything,
    cases=[case((3,), (2, 1)), case((2, 3)), case((), (3,), (2, 1))],
)


def _untile(g, x_shape, reps):
    """Return the sum of the copies that np.tile made."""
    reps = tuple(reps) if np.ndim(reps) else (reps,)
    ndim = max(len(reps), len(x_shape))
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - len(x_shape)) + tuple(x_shape)
    pairs = [n for pair in zip(reps, shape, strict=True) for n in pair]
    return np.sum(g.reshape(pairs), axis=tuple(range(0, 2 * ndim, 2))).reshape(x_shape)


linear(
    np.tile,
    lambda g, x_shape, reps: _untile(g, x_shape, reps),
    on=anything,
    cases=[
        case((3,), args=(2,)),
        case((2, 3), args=((2, 1),)),
        case((2,), args=((3, 1, 2),)),
        case((2, 1, 3), args=(2,)),
        case((), reps=(2, 2)),
        case((2,), args=(0,)),
    ],
)


def _unrepeat(g, x_shape, repeats, axis):
    """Return the sum of the copies that np.repeat made, each entry `repeats` times, or as often as a tuple says."""
    if isinstance(repeats, tuple):
        return _unrepeat_unevenly(g, x_shape, np.asarray(repeats), axis)
    if axis is None or not x_shape:
        return _unrepeat(g, (count(x_shape, None),), repeats, 0).reshape(x_shape)
    axis %= len(x_shape)
    g = g.reshape((*x_shape[: axis + 1], repeats, *x_shape[axis + 1 :]))
    if repeats in (0, 1) or repeats > 8:
        return np.sum(g, axis=axis + 1)
    # A sum over few entries that lie next to each other takes NumPy ten times as long as adding slices.
    total = g[along(axis + 1, 0)] + g[along(axis + 1, 1)]
    for i in range(2, repeats):
        total = total + g[along(axis + 1, i)]
    return total


def _unrepeat_unevenly(g, x_shape, counts, axis):
    """Return the sum of the copies of each entry; the copies of one are adjacent."""
    some = counts > 0
    if not some.any():
        return np.zeros_like(g, shape=x_shape)
    if type(g) is np.ndarray and counts.max() <= 8 and g.itemsize > 2 and count(x_shape[axis + 1 :], None) >= 16:
        # Of long rows the first copies of all, then the second ones of those that have two: in half of reduceat's time.
        starts, h = np.cumsum(counts) - counts, np.zeros(x_shape, g.dtype)
        for i in range(counts.max()):
            places = np.flatnonzero(counts > i)
            h[along(axis, places)] += g[along(axis, starts[places] + i)]
        return h
    if device_of(g) != "cpu":
        # CuPy's reduceat takes differences of running sums, which lose digits, and spread NaN.
        return ungetitem(g, x_shape, along(axis, constant(np.repeat(np.arange(counts.size), counts), g)))
    starts = (np.cumsum(counts) - counts)[some].tolist()
    sums = np.add.reduceat(g, constant(starts, g), axis=axis)
    return sums if some.all() else ungetitem(sums, x_shape, along(axis, constant(some, g)))


_repeated = linear(
    lambda x, repeats, axis=None: np.repeat(x, repeats, axis),
    lambda g, x_shape, repeats, axis=None: _unrepeat(g, x_shape, repeats, axis),
    name="repeat",
    on=anything,
    cases=[
        case((3,), args=(2,)),
        case((2, 3), args=(2,)),
        case((2, 3), args=(2,), axis=-1),
        case((2, 3), args=([1, 0, 3],), axis=1),
        case((3, 4, 4), args=([1, 0, 3],), axis=0),
        case((2, 2), args=([1, 0, 3, 2],)),
        case((2, 2), args=([2],), axis=0),
        case((2, 3), args=([0, 0],), axis=0),
        case((), args=(3,)),
        case((), args=(3,), axis=-1),
        case((2,), args=(0,)),
        case((2, 2), args=(9,), axis=0),
    ],
)


def _repeat(a, repeats, axis=None):
    repeats = detached(repeats)
    counts = to_host(repeats) if is_array(repeats) else np.asarray(repeats)
    if counts.size == 1:
        return _repeated(a, int(counts.reshape(())), axis)
    if axis is None:
        a, axis = a.reshape(-1), 0
    return _repeated(a, tuple(counts.tolist()), normalize_axis_index(axis, a.ndim))


instead(_repeat, _repeated, np.repeat)


def _resize(a, new_shape):
    new_shape = (new_shape,) if isinstance(new_shape, (int, np.integer)) else tuple(new_shape)
    if any(n < 0 for n in new_shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    flat, size = a.reshape(-1), count(new_shape, None)
    if flat.size == 0 or size == 0:
        return flat[:0].reshape(new_shape) if size == 0 else np.zeros_like(a, shape=new_shape)
    repeats = -(-size // flat.size)
    return np.broadcast_to(flat, (repeats, flat.size)).reshape(-1)[:size].reshape(new_shape)


composite(
    np.resize,
    _resize,
    on=anything,
    cases=[case((2, 3), args=((4, 4),)), case((4,), args=(2,)), case((3,), args=((2, 2),)), case((), args=(3,))],
)


# Diagonals and triangles


def on_diagonal(g, x_shape, offset=0, axis1=0, axis2=1):
    """Return zeros of `x_shape` with the last axis of `g` along a diagonal: the transpose of np.diagonal."""
    ndim = len(x_shape)
    axes = (axis1 % ndim, axis2 % ndim)
    order = [i for i in range(ndim) if i not in axes] + list(axes)
    rows, columns = x_shape[axes[0]], x_shape[axes[1]]
    out = zeros((*g.shape[:-1], rows * columns), g.dtype, g)
    start = offset if offset >= 0 else -offset * columns
    if g.shape[-1]:
        out[..., start : start + (g.shape[-1] - 1) * (columns + 1) + 1 : columns + 1] = g
    return out.reshape(*(x_shape[i] for i in order)).transpose(sorted(range(ndim), key=order.__getitem__))


on_diagonal = linear(
    on_diagonal,
    lambda g, offset=0, axis1=0, axis2=1: np.diagonal(g, offset, axis1, axis2),
    free="x_shape",
    on=anything,
    cases=[case((2,), args=((2, 3),)), case((3, 2), args=((2, 3, 4),), offset=-1, axis1=2, axis2=0)],
)

DIAGONALS = [
    case((3, 3)),
    case((2, 3), offset=1),
    case((3, 2), offset=-1),
    case((2, 3), offset=5),
    case((2, 3, 4), axis1=-1, axis2=0, offset=-1),
    case((2, 0)),
]
linear(
    np.diagonal,
    lambda g, x_shape, offset=0, axis1=0, axis2=1: on_diagonal(g, x_shape, offset, axis1, axis2),
    on=anything,
    cases=DIAGONALS,
)


def _trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None):
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype, out=out)


composite(np.trace, _trace, on=anything, cases=[*DIAGONALS, case((2, 3), dtype="complex128")])


def _diag(v, k=0):
    if v.ndim == 2:
        return np.diagonal(v, k)
    if v.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = v.shape[0] + abs(k)
    return on_diagonal(v, (n, n), k)


DIAGS = [case((3,)), case((2,), k=1), case((2,), k=-2), case((0,))]
composite(np.diag, _diag, on=anything, cases=[*DIAGS, case((2, 3)), case((3, 2), args=(-1,))])
composite(
    np.diagflat,
    lambda v, k=0: _diag(operand(v).reshape(-1), k),
    on=anything,
    cases=[*DIAGS, case((2, 2), k=1), case(())],
)

TRIANGLES = [case((3, 3)), case((2, 3), k=1), case((2, 3, 2), k=-1), case((3,)), case((0, 2))]
linear(np.tril, lambda g, x_shape, k=0: unbroadcast(np.tril(g, k), x_shape), on=anything, cases=TRIANGLES)
linear(np.triu, lambda g, x_shape, k=0: unbroadcast(np.triu(g, k), x_shape), on=anything, cases=TRIANGLES)


def _vander(x, N=None, increasing=False):  # noqa: N803 - NumPy's name
    if x.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    n = x.shape[0] if N is None else operator.index(N)
    x = x.astype(np.promote_types(x.dtype, int))
    if n == 0:
        return np.broadcast_to(x[:, None], (x.shape[0], 0))
    ones = np.ones_like(detached(x), shape=(x.shape[0], 1))
    factors = [ones, np.broadcast_to(x[:, None], (x.shape[0], n - 1))]
    powers = np.cumprod(np.concatenate(factors, axis=1), axis=1)
    return powers if increasing else backwards(powers, 1)


composite(
    np.vander,
    _vander,
    on=anything,
    cases=[case((3,)), case((3,), N=2), case((2,), N=4, increasing=True), case((2,), N=0), case((0,))],
)


# Windows


def window(x, size, axis):
    """Return all windows of `size` entries along `axis`, one after the other; what is in them is the last axis."""
    return np.lib.stride_tricks.sliding_window_view(x, size, axis)


def unwindow(g, x_shape, size, axis):
    """Return the sum of all windows `g` at their places in zeros of `x_shape`: the transpose of `window`."""
    out = zeros(x_shape, g.dtype, g)
    axis %= len(x_shape)
    positions = x_shape[axis] - size + 1
    if size <= positions:
        for i in range(size):
            out[along(axis, slice(i, i + positions))] += g[..., i]
    else:
        g = np.moveaxis(g, -1, axis + 1)
        for i in range(positions):
            out[along(axis, slice(i, i + size))] += g[along(axis, i)]
    return out


window = linear(
    window,
    lambda g, x_shape, size, axis: unwindow(g, x_shape, size, axis),
    on=anything,
    cases=[case((5, 2), args=(2, 0)), case((2, 4), args=(3, 1)), case((4,), args=(4, 0))],
)
unwindow = linear(
    unwindow,
    lambda g, size, axis: window(g, size, axis),
    free="x_shape",
    on=anything,
    cases=[case((4, 2, 2), args=((5, 2), 2, 0)), case((2, 2, 3), args=((2, 4), 3, 1))],
)


def _sliding_window_view(x, window_shape, axis=None, *, subok=False, writeable=False):
    sizes = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    np.lib.stride_tricks.sliding_window_view(detached(x), window_shape, axis)  # for its complaints
    ndim = x.ndim
    for size, i in zip(sizes, axes, strict=True):
        x = window(x, operator.index(size), i % ndim)
    return x


composite(
    np.lib.stride_tricks.sliding_window_view,
    _sliding_window_view,
    on=anything,
    cases=[
        case((5,), args=(2,)),
        case((3, 4), args=((2, 3),)),
        case((3, 4), args=(2, -1)),
        case((3, 4), args=((2, 2), (1, 0))),
        case((5, 2), args=((2, 3), (0, 0))),
    ],
)


# Padding


def zero_padded(x, widths):
    """Return `x` with pairs of widths of zeros before and after it along each axis."""
    out = zeros(tuple(n + sum(pair) for n, pair in zip(x.shape, widths, strict=True)), x.dtype, x)
    out[_inside(out.shape, widths)] = x
    return out


def _inside(shape, widths):
    """Return the index of what lies between the paddings."""
    return tuple(slice(left, n - right) for n, (left, right) in zip(shape, widths, strict=True))


zero_padded = linear(
    zero_padded,
    lambda g, widths: g[_inside(g.shape, widths)],
    on=anything,
    cases=[case((2, 3), args=(((1, 0), (2, 1)),)), case((), args=((),)), case((0, 2), args=(((1, 1), (0, 1)),))],
)


def extended(x, before, after, axis):
    """Return `x` with copies of the entries `before` in front of it along `axis`, and of `after` behind it."""
    places = (np.asarray(side, np.intp) for side in (before, after))
    first, last = (np.take(x, constant(side, x), axis=axis) for side in places)
    return np.concatenate([first, x, last], axis=axis)


def _unextended(g, x_shape, before, after, axis):
    """Return the cotangent of each entry with those of its copies added."""
    end = len(before) + x_shape[axis]
    h = g[along(axis, slice(len(before), end))]
    first, last = g[along(axis, slice(0, len(before)))], g[along(axis, slice(end, None))]
    if type(g) is not np.ndarray:
        copies, index = np.concatenate([first, last], axis=axis), along(axis, [*before, *after])
        return h + ungetitem(copies, x_shape, index)
    h = h.copy()
    for side, places in ((first, before), (last, after)):
        if len(set(places)) == len(places):
            h[along(axis, list(places))] += side
        else:
            scatter_add(h, along(axis, np.asarray(places)), side)
    return h


extended = linear(
    extended,
    lambda g, x_shape, before, after, axis: _unextended(g, x_shape, before, after, axis),
    on=anything,
    cases=[
        case((3, 2), args=((0, 0), (2,), 0)),
        case((2, 3), args=((2, 1), (), 1)),
        case((4,), args=((), (1, 1, 0), 0)),
    ],
)


def _pairs(values, ndim):
    """Return what np.pad takes for each side of each axis, spread out in shape (ndim, 2)."""
    values = operand(values)
    if values.size == 1:
        values = values.reshape(1, 1)
    elif values.size == 2 and values.shape != (2, 1):
        values = values.reshape(1, 2)
    return np.broadcast_to(values, (ndim, 2))


def _widths(pad_width, ndim):
    if isinstance(pad_width, dict):
        given, pad_width = pad_width, [(0, 0)] * ndim
        for axis, pair in given.items():
            pad_width[axis] = pair if isinstance(pair, tuple) else (pair, pair)
    widths = np.asarray(detached(pad_width))
    if widths.dtype.kind not in "iu":
        raise TypeError("`pad_width` must be of integral type.")
    if widths.size and widths.min() < 0:
        raise ValueError("index can't contain negative values")
    return tuple(tuple(pair) for pair in _pairs(widths, ndim).tolist())


@unless_integers(np.pad)
def _pad(array, pad_width, mode="constant", **options):
    a = operand(array)
    widths = _widths(pad_width, a.ndim)
    if callable(mode):
        raise UnsupportedError(
            "np.pad with a function as mode writes into arrays; pad with zeros and add what it wrote"
        )
    ones = np.ones((1,) * a.ndim)
    np.pad(ones, 1, mode, **{name: detached(value) for name, value in options.items()})  # for its complaints
    if mode == "empty" or (mode == "constant" and _is_zero(options.get("constant_values", 0))):
        return zero_padded(a, widths)
    for axis, (left, right) in enumerate(widths):
        if mode != "constant" and a.shape[axis] == 0 and left + right:
            raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
    values = _pairs(options.get("constant_values", options.get("end_values", 0)), a.ndim)
    lengths = _pairs(options["stat_length"], a.ndim).tolist() if options.get("stat_length") is not None else None
    for axis, (left, right) in enumerate(widths):
        if left == right == 0:
            continue
        if mode == "edge" or (mode in _PERIODS and options.get("reflect_type", "even") == "even"):
            a = extended(a, *_sources(a.shape[axis], left, right, mode), axis)
        elif mode in ("reflect", "symmetric") and a.shape[axis] > 1:
            a = _reflected(a, axis, left, right, mode == "symmetric")
        else:
            if mode in _STATISTICS:
                first, last = _statistics(
                    a, axis, _STATISTICS[mode], (None, None) if lengths is None else lengths[axis]
                )
            elif mode == "constant":
                first, last = (_value(values[axis, side], a) for side in (0, 1))
            else:
                first, last = a[along(axis, slice(0, 1))], a[along(axis, slice(-1, None))]
            if mode == "linear_ramp":
                before = _ramp(_value(values[axis, 0], a), first, axis, left)
                after = backwards(_ramp(_value(values[axis, 1], a), last, axis, right), axis)
            else:
                before, after = (
                    np.broadcast_to(edge, (*a.shape[:axis], width, *a.shape[axis + 1 :]))
                    for edge, width in ((first, left), (last, right))
                )
            a = np.concatenate([before, a, after], axis=axis)
    return a


def _is_zero(values):
    return not isinstance(values, Tensor) and not np.any(values)


def _value(value, a):
    """Return one number in the dtype and library of `a`."""
    return value.astype(a.dtype) if isinstance(value, Tensor) else constant(value, a, a.dtype)


def _ramp(start, edge, axis, width):
    """Return `width` evenly spaced entries from `start` up to, not including, `edge`."""
    steps = np.arange(width).reshape([-1 if i == axis else 1 for i in range(edge.ndim)]) / max(width, 1)
    return start + (edge - start) * constant(steps, edge, edge.dtype)


_STATISTICS = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}


def _statistics(a, axis, function, lengths):
    """Return a statistic of the first, and one of the last entries along `axis`."""
    n = a.shape[axis]
    left, right = (n if length is None or length > n else int(length) for length in lengths)
    first = function(a[along(axis, slice(0, left))], axis=axis, keepdims=True)
    if left == right == n:
        return first, first
    return first, function(a[along(axis, slice(n - right, n))], axis=axis, keepdims=True)


# The entries of one period, from the first on, of which the modes that repeat entries make an infinite sequence.
_PERIODS = {
    "reflect": lambda n: (*range(n), *range(n - 2, 0, -1)),
    "symmetric": lambda n: (*range(n), *range(n - 1, -1, -1)),
    "wrap": range,
}


def _sources(n, left, right, mode):
    """Return which of `n` entries stand before the first one, and which after the last."""
    if mode == "edge":
        return (0,) * left, (n - 1,) * right
    period = _PERIODS[mode](n)
    size = len(period)
    return tuple(period[i % size] for i in range(-left, 0)), tuple(period[i % size] for i in range(n, n + right))


def _reflected(a, axis, left, right, with_edge):
    """Return `a` turned around both ends, again and again until the widths are filled, in periods of its length."""
    period = a.shape[axis] - (not with_edge)
    first = int(not with_edge)
    while left or right:
        whole = (a.shape[axis] - first) // period * period
        parts = [a]
        if left:
            chunk = min(whole, left)
            mirrored = backwards(a[along(axis, slice(first, first + chunk))], axis)
            parts.insert(0, 2 * a[along(axis, slice(0, 1))] - mirrored)
            left -= chunk
        if right:
            chunk = min(whole, right)
            end = a.shape[axis] - first
            mirrored = backwards(a[along(axis, slice(end - chunk, end))], axis)
            parts.append(2 * a[along(axis, slice(-1, None))] - mirrored)
            right -= chunk
        a = np.concatenate(parts, axis=axis)
    return a


composite(
    np.pad,
    _pad,
    on=distinct.and_complex(),
    cases=[
        case((2, 3), args=(1,)),
        case((2, 3), args=(((1, 0), (2, 3)),)),
        case((2, 3), args=((1, 2), "constant"), constant_values=((1.0, 2.0), (3.0, 4.0))),
        case((3,), args=(2,), constant_values=0.5),
        case((0, 2), args=(1,)),
        case((2, 3), args=(((2, 1), (0, 3)), "edge")),
        case((2, 3), args=(((2, 1), (0, 3)), "linear_ramp")),
        case((3,), args=((2, 3), "linear_ramp"), end_values=(5.0, -1.0)),
        case((2, 3), args=(2, "mean")),
        case((2, 5), args=(((0, 1), (2, 1)), "maximum"), stat_length=((1, 2), (3, 2))),
        case((5,), args=((1, 2), "minimum"), stat_length=2),
        case((5,), args=((1, 2), "mean"), stat_length=(3, 9)),
        case((4,), args=(1, "median"), on=distinct),
        case((2, 3), args=(((1, 1), (2, 2)), "reflect")),
        case((3,), args=((7, 6), "reflect")),
        case((4,), args=((2, 9), "reflect"), reflect_type="odd"),
        case((1, 3), args=((2, 1), "reflect")),
        case((2, 3), args=(((2, 1), (3, 0)), "symmetric")),
        case((3,), args=((7, 5), "symmetric")),
        case((2, 3), args=((4, 5), "symmetric"), reflect_type="odd"),
        case((2, 3), args=(((1, 2), (3, 7)), "wrap")),
        case((4,), args=((9, 3), "wrap")),
    ],
)


# Copies and conversions


linear(np.copy, lambda g: g, free="order subok", on=anything, cases=[case((2, 3)), case((2, 3), order="F"), case(())])


def _astype(x, dtype, /, *, copy=True, device=None):
    return x.astype(dtype)


composite(
    np.astype,
    _astype,
    name="numpy.astype",
    on=anything,
    cases=[case((2, 3), args=("complex128",)), case((2,), args=("complex128",), copy=False)],
)


def _full_like(a, fill_value, dtype=None, order="K", subok=True, shape=None, *, device=None):
    if not isinstance(fill_value, Tensor):
        prototype, shape = prototype_of(detached(a), shape)
        made = np.full_like(prototype, fill_value, dtype=dtype, order=order, shape=shape)
        return wrapped(made) if isinstance(a, Tensor) else made
    np.empty_like(np.empty(0), order=order)  # NumPy's complaint about an unknown one
    shape = a.shape if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
    # It is assigned: axes of length 1 before those of the result do not count.
    lead = max(fill_value.ndim - len(shape), 0)
    if all(n == 1 for n in fill_value.shape[:lead]):
        fill_value = np.reshape(fill_value, fill_value.shape[lead:])
    return np.broadcast_to(fill_value.astype(a.dtype if dtype is None else dtype), shape)


composite(
    np.full_like,
    _full_like,
    on=(anything, real),
    cases=[
        case((2, 3), ()),
        case((2,), (), shape=(3, 2)),
        case((2, 3), (3,), dtype="complex128"),
        case((2, 3), (1, 1, 3)),
        case((), (1, 1)),
    ],
)
constants(np.zeros_like, np.ones_like, np.empty_like)


def _sized(run):
    @functools.wraps(run)
    def sized(prototype, *args, **settings):
        if "shape" in settings:
            prototype, settings["shape"] = prototype_of(detached(prototype), settings["shape"])
        return run(prototype, *args, **settings)

    return sized


for _function in (np.zeros_like, np.ones_like, np.empty_like):
    OPS[_function] = _sized(OPS[_function])


def _trim_zeros(filt, trim="fb", axis=None):
    kept = np.trim_zeros(detached(filt), trim, **({} if axis is None else {"axis": axis}))
    axes = range(filt.ndim) if axis is None else normalize_axis_tuple(axis, filt.ndim)
    places = np.nonzero(np.atleast_1d(detached(filt)))
    index = [slice(None)] * filt.ndim
    for i in axes:
        start = int(places[i].min()) if "f" in trim.lower() and places[i].size else 0
        index[i] = slice(start, start + kept.shape[i])
    return filt[tuple(index)]


composite(
    np.trim_zeros, _trim_zeros, on=anything, cases=[case((4,)), case((4,), trim="f"), case((3,), args=("b",)), case(())]
)


def _copyto(dst, src, casting="same_kind", where=True):
    src = operand(src)
    if not isinstance(dst, Tensor):
        raise UnsupportedError("np.copyto from a tensor into a plain array would lose its gradient; copy into a tensor")
    if not np.can_cast(src.dtype, dst.dtype, casting):
        raise TypeError(f"Cannot cast array data from {src.dtype!r} to {dst.dtype!r} according to the rule {casting!r}")
    assign(dst, src, ..., where)


# It writes in place and has no value to sweep: its rule is that of assignment.
_copyto.op = assign_row.op
OPS[np.copyto] = _copyto
CLASSIFIED[np.copyto] = ("linear", "")


def _meshgrid(*xi, copy=True, sparse=False, indexing="xy"):
    if indexing not in ("xy", "ij"):
        np.meshgrid(indexing=indexing)  # NumPy's own complaint
    n = len(xi)
    first, second = (1, 0) if indexing == "xy" and n > 1 else (0, 1)
    places = [first, second, *range(2, n)][:n]
    columns = [np.reshape(operand(x), (1,) * i + (-1,) + (1,) * (n - 1 - i)) for x, i in zip(xi, places, strict=True)]
    return tuple(columns) if sparse else np.broadcast_arrays(*columns)


composite(
    np.meshgrid,
    _meshgrid,
    on=anything,
    cases=[
        case((3,), (2,)),
        case((3,)),
        case((), (2,)),
        case((3,), (2,), (4,), indexing="ij"),
        case((3,), (2,), (4,), sparse=True, copy=False),
        case((0,), (2,)),
    ],
)
