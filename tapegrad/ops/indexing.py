"""Indexing: reading and writing entries by basic, advanced and boolean indices; selection; sorting."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .._array import accumulation_dtype, as_array, device_of, explained, is_array, library, scatter_add, zeros
from .._mode import MODE, OFF
from .._op import CLASSIFIED, composite, linear
from .._recorders import recorded
from .._tape import project
from .._tensor import OPS, Tensor, detached, wrap, writable
from ..errors import UnsupportedError
from ..typing import Array, Shape
from ._algebra import along, constant, instead, numpy_since, operand, stored
from ._domains import anything, case, distinct

_NUMBERS = (float, int, bool, complex)


# Indices


def _constant(index: Any) -> Any:
    """Return `index` as basic entries and arrays: tensors and lists could change before a replay needs them.

    Arrays are laid out in C order, in which NumPy goes through them, so that of several writes to one entry the last
    in that order wins.
    """
    kind = type(index)
    if kind is int or index is None or index is Ellipsis:
        return index
    if kind is tuple:
        return tuple([_constant(entry) for entry in index])
    if kind is slice:
        bounds = index.start, index.stop, index.step
        for bound in bounds:
            if not (bound is None or type(bound) is int):
                return slice(*[b.__index__() if isinstance(b, (Tensor, np.ndarray)) else b for b in bounds])
        return index
    if kind is list:
        return np.asarray(_listed(index)) if index else np.zeros(0, np.intp)
    if isinstance(index, Tensor):
        if index.requires_grad:
            raise UnsupportedError("got a tracked tensor as an index; an index has no derivative, so detach() it")
        index = index.data
    if is_array(index) and index.ndim and not index.flags.c_contiguous:
        return index.copy(order="C")
    return index


def _listed(index: list[Any]) -> list[Any]:
    return [_listed(entry) if type(entry) is list else _constant(entry) for entry in index]


def _may_repeat(index: Any) -> bool:
    """Return whether `index` could name an entry more than once: of all entries only arrays of integers can."""
    if type(index) is not tuple:
        return is_array(index) and index.size > 1 and index.dtype.kind != "b"
    return any(is_array(entry) and entry.size > 1 and entry.dtype.kind != "b" for entry in index)


def _unmasked(index: Any) -> Any:
    """Return `index` with the places where masks are true in place of masks, if it holds other arrays besides.

    NumPy reads both alike, and CuPy only the former.
    """
    if type(index) is not tuple:
        return index
    arrays = [is_array(entry) and entry.ndim > 0 for entry in index]
    if sum(arrays) < 2:
        return index
    masks = [array and entry.dtype.kind == "b" for entry, array in zip(index, arrays, strict=True)]
    return tuple(
        part for entry, mask in zip(index, masks, strict=True) for part in (np.nonzero(entry) if mask else (entry,))
    )


# Reading


def getitem(x: Any, index: Any) -> Any:
    """Return `x[index]`."""
    try:
        return x[index]
    except (TypeError, ValueError, NotImplementedError) as error:
        return _read_on_device(error, x, index)


def _read_on_device(error: Exception, x: Any, index: Any) -> Any:
    """Return `x[index]` where CuPy reads it in other words, or raise what says why it does not."""
    index = _constant(index)
    there = index if isinstance(x, Tensor) or device_of(x) == "cpu" else _unmasked(index)
    if there is index:
        raise explained(error, "indexing", (x, index)) from None
    return x[there]


def ungetitem(g: Any, x_shape: Shape, index: Any, unique: bool = False) -> Any:
    """Return zeros of `x_shape` with `g` added at `index`: the transpose of reading there.

    `unique` promises that `index` names no entry twice.
    """
    index = _constant(index)
    if device_of(g) != "cpu":
        index = _unmasked(index)
    if unique or not _may_repeat(index):
        out = zeros(x_shape, g.dtype, g)
        runs = _runs(index) if type(g) is np.ndarray and type(index) is tuple else None
        if runs is None:
            out[index] = g
            return out
        # Slices of a few runs are copied several times as fast as entries chosen by a mask.
        start = 0
        for first, last in runs:
            out[along(len(index) - 1, slice(first, last))] = g[
                along(len(index) - 1, slice(start, start + last - first))
            ]
            start += last - first
        return out
    dtype = accumulation_dtype(g.dtype) or g.dtype
    if device_of(g) == "cpu":
        out = _added_up(np.asarray(g, dtype), x_shape, index)
    else:
        out = zeros(x_shape, dtype, g)
        scatter_add(out, index, g.astype(dtype, copy=False))
    return out.astype(g.dtype, copy=False)


def _runs(index: tuple[Any, ...]) -> list[list[int]] | None:
    """Return the runs of true entries in a mask of one axis, the last one of `index`; None if it is no such index."""
    mask = index[-1] if index else None
    if type(mask) is not np.ndarray or mask.dtype.kind != "b" or mask.ndim != 1:
        return None
    if any(type(entry) is not slice or entry != slice(None) for entry in index[:-1]):
        return None
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return edges.reshape(-1, 2).tolist() if edges.size <= 32 else None


def _added_up(g: Array, x_shape: Shape, index: Any) -> Array:
    """Return zeros of `x_shape` with `g` added at `index`, on the host.

    `np.add.at` takes 2 ns for each entry where one array of integers indexes a vector, and 10 ns otherwise. So the
    entries are numbered, and added to a vector.
    """
    out = np.zeros(x_shape, g.dtype)
    entries = index if type(index) is tuple else (index,)
    if len(entries) == len(x_shape) == 1:
        np.add.at(out, entries[0], g)
        return out
    if all(is_array(entry) and entry.dtype.kind in "iu" for entry in entries):
        lead = len(entries)
        if lead == 1 and entries[0].ndim == 1 and math.prod(x_shape[1:]) >= 16:
            return _rows_added_up(out, g, entries[0])
        width = math.prod(x_shape[lead:])
        numbers: Any = 0
        for entry, n in zip(entries, x_shape, strict=False):
            numbers = numbers * n + entry.astype(np.intp, copy=False) % n
        if width != 1:
            numbers = np.asarray(numbers)[..., None] * width + np.arange(width)
    else:
        numbers = np.arange(out.size).reshape(x_shape)[index]
    np.add.at(out.reshape(-1), numbers.reshape(-1), g.reshape(-1))
    return out


def _rows_added_up(out: Array, g: Array, places: Array) -> Array:
    """Return `out`, zeros, with the rows of `g` added at `places`: first those that come first at theirs, and so on."""
    places = places.astype(np.intp, copy=False) % max(len(out), 1)
    order = np.argsort(places, kind="stable")
    first = np.flatnonzero(np.diff(places[order], prepend=-1))
    lengths = np.diff(first, append=places.size)
    if lengths.max() > 8:
        out[places[order[first]]] = np.add.reduceat(g[order], first, axis=0)
        return out
    rank = np.arange(places.size) - np.repeat(first, lengths)
    for i in range(lengths.max()):
        rows = order[rank == i]
        out[places[rows]] += g[rows]
    return out


def erase(g: Any, index: Any) -> Any:
    """Return a copy of `g` with zeros at `index`."""
    out = as_array(g, copy=True)
    out[index if device_of(out) == "cpu" else _unmasked(_constant(index))] = 0
    return out


# Samples of indices: shapes to index, and what indexes them.
INDICES: list[tuple[Shape, Any]] = [
    ((4,), 1),
    ((4,), -1),
    ((4,), slice(1, 3)),
    ((4,), slice(None, None, -2)),
    ((2, 3), 1),
    ((2, 3), (1, -1)),
    ((2, 3), (slice(None), 1)),
    ((2, 3), (Ellipsis, None, 0)),
    ((2, 3), Ellipsis),
    ((2, 3), ()),
    ((), ()),
    ((), None),
    ((2, 3), (slice(0, 0), 1)),
    ((4,), [0, 0, 1]),
    ((4,), [[0, -1], [3, 3]]),
    ((4,), []),
    ((3, 4, 2), ([0, 0, 2], [1, 1, -1])),
    ((3, 4, 2), (slice(None), [3, 0, 3])),
    ((3, 4, 2), ([0, 1, 1], slice(1, 3), [0, 1, 1])),
    ((3, 4, 2), (0, slice(None), [0, 1, 1])),
    ((3, 4, 2), ([[0], [2]], None, [0, 1])),
    ((4,), [True, False, True, True]),
    ((2, 3), [[True, False, True], [False, False, True]]),
    ((2, 3), (slice(None), [True, False, True])),
    ((2, 3), ([True, True], [0, 2])),
    ((2, 3), [False, False]),
    ((2, 3), True),
    ((2, 3), False),
    ((), True),
]


def _add_read(target: Array, g: Any, x_shape: Shape, index: Any) -> bool:
    """Add `g` to `target` at a basic index, in place: loops over rows cost the rows then, not each time the whole."""
    if not target.shape:
        return False  # a number cannot be written to
    for entry in index if type(index) is tuple else (index,):
        if not (entry is None or entry is Ellipsis or isinstance(entry, (int, slice, np.integer))):
            return False
    target[index] += g
    return True


getitem = linear(
    getitem,
    lambda g, x_shape, index: ungetitem(g, x_shape, index),
    into=_add_read,
    on=anything,
    cases=[case(shape, args=(index,)) for shape, index in INDICES],
)
ungetitem = linear(
    ungetitem,
    lambda g, index: getitem(g, index),
    free="x_shape unique",
    on=anything,
    cases=[case(np.zeros(shape)[_constant(index)].shape, args=(shape, index)) for shape, index in INDICES]
    + [case((2, 3), args=((4, 3), np.array([3, 0])), unique=True)],
)
erase = linear(
    erase,
    lambda g, index: erase(g, index),
    on=anything,
    cases=[case(shape, args=(index,)) for shape, index in INDICES],
)


def _recorded_getitem(x: Tensor, index: Any) -> Tensor:
    """Record `x[index]`: a recorder of its own, because loops over steps and rows do little else."""
    if type(index) is not int:
        index = _constant(index)
    a = x._array
    mode = MODE.get()
    if mode is not None and mode is not OFF:
        return getitem.op.play(mode, (x,), (a,), functools.partial(getitem.op.function, a, index), ((index,), {}))
    try:
        out = a[index]
    except (TypeError, ValueError, NotImplementedError) as error:
        out = _read_on_device(error, a, index)
    parent = x._record
    return wrap(out) if parent is None or mode is OFF else recorded(getitem.op, out, parent, (a.shape, index))


_recorded_getitem.op = getitem.op
OPS["getitem"] = _recorded_getitem


# Writing


def assign(x: Any, value: Any, index: Any) -> Any:
    """Return a copy of `x` with `value` at `index`."""
    out = as_array(x, copy=True)
    _write(out, value, _constant(index))
    return out


def _write(array: Array, value: Any, index: Any) -> Array:
    """Do `array[index] = value`, so that of several writes to one entry the last wins, and return `array`."""
    try:
        if device_of(array) != "cpu":
            index = _unmasked(index)
            if _may_repeat(index) and np.ndim(value):
                # Writes are in no order there: let all writes to an entry write the value of the last one.
                last = _last_writers(array, index)
                value = np.reshape(np.broadcast_to(_stripped(value, last.ndim), last.shape), -1)[last]
        array[index] = value
    except (TypeError, ValueError) as error:
        raise explained(error, "assignment", (array, value, index)) from None
    return array


def _last_writers(like: Array, index: Any) -> Array:
    """Return for each position in `like[index]` the number of the last position that names the same entry."""
    writers = np.full_like(like, -1, dtype=np.intp)
    shape = writers[index].shape
    numbers = np.reshape(np.arange(math.prod(shape), like=writers), shape)
    if device_of(writers) == "cpu":
        writers[index] = numbers
    else:
        library(writers).maximum.at(writers, index, numbers)
    return writers[index]


def _stripped(value: Any, ndim: int) -> Any:
    """Return `value` without axes of length one that it has in front beyond `ndim`, which assignment ignores."""
    return value if value.ndim <= ndim else np.reshape(value, value.shape[value.ndim - ndim :])


def _for_value(g: Any, value_shape: Shape, index: Any) -> Any:
    index = _constant(index)
    if device_of(g) != "cpu":
        index = _unmasked(index)
    h = getitem(g, index)
    if _may_repeat(index):
        last = _last_writers(detached(g), index)
        h = h * (last == np.reshape(np.arange(last.size, like=last), last.shape))
    return h if h.shape == value_shape else sum_to(h, value_shape)


def sum_to(h: Any, shape: Shape) -> Any:
    """Return `h` summed over the axes along which an array of `shape` was broadcast to it."""
    h = project(h, shape[max(len(shape) - h.ndim, 0) :], h.dtype)
    return h if h.shape == shape else np.reshape(h, shape)


assign = linear(
    assign,
    lambda g, index: erase(g, index),
    lambda g, value_shape, index: _for_value(g, value_shape, index),
    inputs="x value",
    on=anything,
    cases=[case(shape, np.zeros(shape)[_constant(index)].shape, args=(index,)) for shape, index in INDICES]
    + [
        case((2, 3), (), args=(1,)),
        case((2, 3), (3,), args=(slice(None),)),
        case((2, 3), (2, 1), args=(Ellipsis,)),
        case((2, 3), (1, 1, 3), args=(0,)),
        case((3, 4), (4,), args=([0, 0, 2],)),
        case((3, 4), (3, 1), args=([0, 0, 2],)),
    ],
)


def _recorded_assign(target: Tensor, value: Any, index: Any) -> Tensor:
    """Return the value of `target` after `target[index] = value`, in its own memory where nobody else needs that."""
    index = _constant(index)
    number = type(value) in _NUMBERS
    if isinstance(value, Tensor):
        v, q = value._array, value._record
    elif number:
        # NumPy checks a Python number against the dtype.
        v, q = (np.asarray(value, target.dtype) if target.device == "cpu" else value), None
    else:
        v, q = operand(value, target), None
    given = v
    if not number and v.dtype != target.dtype:
        v = v.astype(target.dtype)  # a complaint about the conversion must not find the target half written
    p = target._record
    mode = MODE.get()
    array = writable(target)
    if mode is not None and mode is not OFF:
        v = operand(value, array) if number and target.device != "cpu" else v
        arrays = (array, v if number else given)
        inputs = (target, value if q is not None else arrays[1])
        return assign.op.play(mode, inputs, arrays, functools.partial(_write, array, v, index), ((index,), {}))
    _write(array, v, index)
    if mode is OFF or (p is None and q is None):
        return wrap(array)
    if number and target.device != "cpu":
        v = operand(value, array)
    return recorded(assign.op, array, p, index, q, None if q is None else (v.shape, index))


OPS["assign"] = _recorded_assign


# Selection


def _untake(g: Any, x_shape: Shape, indices: Any, axis: int | None, mode: str) -> Any:
    """Return the transpose of np.take."""
    indices = _constant(indices)
    if axis is None:
        return np.reshape(ungetitem(g, (math.prod(x_shape),), _in_range(indices, math.prod(x_shape), mode)), x_shape)
    axis = range(len(x_shape))[axis]
    return ungetitem(g, x_shape, along(axis, _in_range(indices, x_shape[axis], mode)))


def _in_range(indices: Any, n: int, mode: str) -> Any:
    """Return `indices` into `n` entries as NumPy's modes understand those that lie outside."""
    if mode == "wrap":
        return indices % n
    return np.clip(indices, 0, n - 1) if mode == "clip" else indices


def _taken(a: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
    """Return np.take, whose modes CuPy does not have."""
    if mode == "raise" or device_of(a) == "cpu":
        settings: Any = {} if mode == "raise" else {"mode": mode}
        return np.take(a, indices, axis=axis, **settings)
    n = a.size if axis is None else a.shape[axis]
    return np.take(a, _in_range(constant(_constant(indices), a), n, mode), axis=axis)


_taken = linear(
    _taken,
    lambda g, x_shape, indices, axis=None, mode="raise": _untake(g, x_shape, indices, axis, mode),
    inputs="x",
    name="take",
    on=anything,
    cases=[
        case((4,), args=([0, 0, 3],)),
        case((4,), args=(2,)),
        case((2, 3), args=([[5, 0], [0, 1]],)),
        case((2, 3), args=([0, 0, 2], 1)),
        case((2, 3, 4), indices=[[0, 1], [1, -1]], axis=-2),
        case((4,), args=([5, -6],), mode="wrap"),
        case((2, 3), args=([7, -6], 1), mode="clip"),
        case((2, 3), args=([], 1)),
    ],
)


def _take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    return stored(_taken(operand(a), indices, axis=axis, mode=mode), out)


instead(_take, _taken, np.take)


def _along_axis(x_shape: Shape, indices: Any, axis: int | None) -> tuple[Any, ...]:
    """Return the index that `take_along_axis` reads from an array of `x_shape`."""
    if axis is None:
        return (indices,)
    ndim = len(x_shape)
    grid = [np.reshape(np.arange(n, like=indices), (-1,) + (1,) * (ndim - i - 1)) for i, n in enumerate(x_shape)]
    grid[range(ndim)[axis]] = indices
    return tuple(grid)


def _untake_along_axis(g: Any, x_shape: Shape, indices: Any, axis: int | None, unique: bool = False) -> Any:
    """Return the transpose of np.take_along_axis."""
    flat = x_shape if axis is not None else (math.prod(x_shape),)
    return np.reshape(ungetitem(g, flat, _along_axis(flat, _constant(indices), axis), unique=unique), x_shape)


def _taken_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """Return np.take_along_axis, whose axis has no default on CuPy."""
    return np.take_along_axis(arr, indices, axis)


_taken_along_axis = linear(
    _taken_along_axis,
    lambda g, x_shape, indices, axis=-1: _untake_along_axis(g, x_shape, indices, axis),
    inputs="x",
    name="take_along_axis",
    on=anything,
    cases=[
        # Its axis has a default since NumPy 2.3.
        *([case((2, 3), args=(np.array([[0, 0], [2, -1]]),))] if numpy_since("2.3.0") else []),
        case((2, 3), args=(np.array([[1, 0, 1]]), 0)),
        case((2, 3), indices=np.array([[0], [2]]), axis=1),
        case((2, 3), args=(np.array([5, 0, 0]), None)),
        case((1, 3), args=(np.array([[0, 0], [2, 1]]), -1)),
        case((2, 3), args=(np.zeros((2, 0), int), -1)),
    ],
)
instead(_taken_along_axis, _taken_along_axis, np.take_along_axis)


def rearrange(x: Any, order: Any, axis: int) -> Any:
    """Return the entries of `x` along `axis` in `order`, a permutation of them."""
    return np.take_along_axis(x, order, axis)


def _tied(x: Any, axis: int) -> Any:
    """Return which entries equal a neighbor along `axis`: a sort may bring either to the other's place."""
    x = np.moveaxis(x, axis, -1)
    equal = x[..., 1:] == x[..., :-1]
    edge = np.zeros_like(x[..., :1], dtype=bool)
    tied = np.concatenate([equal, edge], -1) | np.concatenate([edge, equal], -1)
    return np.moveaxis(tied, -1, axis)


rearrange = linear(
    rearrange,
    lambda g, x_shape, order, axis: _untake_along_axis(g, x_shape, order, axis, unique=True),
    kink=lambda out, axis: _tied(out, axis),
    on=anything,
    cases=[
        case((2, 3), args=(np.array([[1, 0, 2], [2, 1, 0]]), 1)),
        case((3,), args=(np.array([2, 0, 1]), -1)),
        case((3, 2, 2), args=(np.array([[[0, 1], [1, 0]], [[1, 0], [0, 1]], [[1, 1], [0, 0]]]), 1)),
    ],
)


def _put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    if not isinstance(arr, Tensor):
        raise UnsupportedError(
            "put_along_axis got a tensor to write into a plain array, where its gradient would be lost; "
            "make the array a tensor first: t = tapegrad.tensor(array)"
        )
    indices = detached(indices)
    if axis is None:
        flat = np.reshape(arr, -1)
        flat[indices] = values
        arr[...] = np.reshape(flat, arr.shape)
    else:
        arr[_along_axis(arr.shape, indices, axis)] = values


_put_along_axis.op = assign.op
OPS[np.put_along_axis] = _put_along_axis
CLASSIFIED[np.put_along_axis] = ("linear", "")


def _places(condition: Any, n: int, like: Any) -> Any:
    """Return a mask of `n` entries from a condition, which may be shorter, or longer where it is false."""
    condition = detached(condition)
    count = len(condition)
    if count > n:
        if bool(np.any(condition[n:])):
            raise IndexError(f"the condition is true beyond the end of the axis, which has {n} entries")
        condition = condition[:n]
    condition = as_array(condition, like=detached(like)) != 0
    return np.concatenate([condition, np.zeros_like(condition, shape=n - count)]) if count < n else condition


def _compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    if np.ndim(condition) != 1:
        raise ValueError("condition must be a 1-d array")
    a = operand(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    axis = range(a.ndim)[axis]
    return stored(getitem(a, along(axis, _places(condition, a.shape[axis], a))), out)


composite(
    np.compress,
    _compress,
    on=anything,
    cases=[
        case((3,), before=([True, False, True],)),
        case((2, 3), before=([0, 1],), axis=0),
        case((2, 3), before=([True, False, True],), args=(1,)),
        case((2, 3), before=([False, True],), axis=-1),
        case((2, 3), before=([False, True, True, False, True],)),
        case((2,), before=([True, True, False],)),
        case((2, 3), before=([],), axis=0),
    ],
)
composite(
    np.extract,
    lambda condition, arr: _compress(np.reshape(detached(condition), -1), arr),
    on=anything,
    cases=[case((4,), before=([True, False, True, True],)), case((2, 3), before=([[1, 0, 2], [0, 0, 0]],))],
)


def choose(a: Any, *choices: Any, mode: str = "raise") -> Any:
    """Return at each place the entry of the choice whose number `a` has there."""
    return np.choose(a, choices, mode=mode)  # type: ignore[call-overload]  # the stubs know three modes as literals


choose = linear(
    choose,
    lambda g, k, shapes, a, mode="raise": sum_to(
        np.where(_in_range(_constant(a), len(shapes), mode) == k, g, 0), shapes[k]
    ),
    inputs="a *choices",
    on=anything,
    cases=[
        case((3,), (3,), before=(np.array([0, 1, 1]),)),
        case((3,), (), (2, 1), before=(np.array([2, 0, 1]),)),
        case((2, 3), (3,), before=(np.array([[0, 1, 1], [1, 0, 0]]),)),
        case((3,), (3,), before=(np.array([3, -1, 4]),), mode="wrap"),
        case((3,), (3,), before=(np.array([3, -1, 1]),), mode="clip"),
    ],
)


def _np_choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    if isinstance(a, Tensor):
        if a.requires_grad:
            raise UnsupportedError("choose got a tracked tensor of choice numbers; integers have no derivative")
        a = a.data
    like = next((choice for choice in choices if isinstance(choice, Tensor)), None)
    return stored(choose(operand(a, like), *choices, mode=mode), out)


OPS[np.choose] = _np_choose
CLASSIFIED[np.choose] = ("linear", "")


def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    like = next((choice for choice in [*choicelist, default] if isinstance(choice, Tensor)), None)
    conditions = [operand(detached(c), like) for c in condlist]
    if not conditions or len(conditions) != len(choicelist) or any(c.dtype != bool for c in conditions):
        return np.select(conditions, [detached(c) for c in choicelist], detached(default))  # NumPy's own complaint
    result = default
    for condition, choice in zip(reversed(conditions), reversed(list(choicelist)), strict=True):
        result = np.where(condition, choice, result)
    return result


composite(
    np.select,
    _select,
    on=anything,
    cases=[
        case([(3,), (3,)], before=([np.array([True, False, False]), np.array([True, True, False])],)),
        case([(2, 3), (3,), ()], before=([np.arange(3) > 1, np.ones((2, 1)) > 2, np.array(True)],)),
        case([(3,)], before=([np.array([True, False, False])],), default=2.0),
    ],
)


def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    x = operand(x)
    condlist = detached(condlist)
    if np.isscalar(condlist) or (x.ndim and not isinstance(condlist[0], list) and not np.ndim(condlist[0])):
        condlist = [condlist]
    conditions = [c if is_array(c) else np.asarray(c, bool) for c in map(detached, condlist)]
    if len(conditions) == len(funclist) - 1:
        conditions.append(~functools.reduce(np.logical_or, conditions))
    elif len(conditions) != len(funclist):
        return np.piecewise(detached(x), condlist, funclist)  # NumPy's own complaint
    y = np.zeros_like(detached(x))
    y = wrap(y) if isinstance(x, Tensor) else y
    for condition, function in zip(conditions, funclist, strict=True):
        if not callable(function):
            y[condition] = function
        else:
            values = x[condition]
            if values.size > 0:
                y[condition] = function(values, *args, **kw)
    return y


composite(
    np.piecewise,
    _piecewise,
    on=anything,
    cases=[
        case((4,), args=([[True, False, False, True]], [np.sin, np.exp])),
        case((4,), args=([[True, False, False, True], [True, True, False, False]], [np.sin, np.exp, 2.0])),
        case((), args=([True], [np.sin])),
        case((2, 2), args=(np.array([[True, False], [False, False]]), [np.exp, np.sin])),
    ],
)


# Sorting: the gradient follows the entries to the places that NumPy's stable sort gives them.


def _sort(
    a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: Any = None, **settings: Any
) -> Any:
    a = operand(a)
    if kind is not None or order is not None or stable is not None or settings:
        np.sort(np.empty(0), kind=kind, order=order, stable=stable, **settings)  # NumPy's complaint
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    # NumPy 2.5 has a keyword `descending`, and does not take it together with a kind.
    how = {"stable": True, **settings} if settings else {"kind": "stable"}
    return rearrange(a, np.argsort(detached(a), axis=axis, **how), axis)


def _partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Any:
    a = operand(a)
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    x = detached(a)
    # NumPy says nothing about where ties go, so they are taken from left to right: the n-th smallest of the result is
    # the n-th smallest of a.
    np.partition(np.empty(1), 0, kind=kind)  # type: ignore[call-overload]  # NumPy's complaint
    settings = {} if order is None else {"order": order}
    result = np.partition(x, detached(kth), axis=axis, **settings)
    smallest = np.argsort(x, axis=axis, kind="stable")
    ranks = np.argsort(np.argsort(result, axis=axis, kind="stable"), axis=axis)
    return rearrange(a, np.take_along_axis(smallest, ranks, axis), axis)


SORTS = [case((4,)), case((2, 3)), case((2, 3), axis=0), case((2, 3), axis=None), case((0,)), case((2, 0, 3), axis=1)]

composite(
    np.sort,
    _sort,
    on=distinct,
    cases=[
        *SORTS,
        case((2, 3), args=(0, "heapsort")),
        case((4,), kind="mergesort"),
        case((4,), stable=True),
        *([case((4,), descending=True), case((3, 2), axis=0, descending=False)] if numpy_since("2.5.0") else []),
    ],
)
composite(
    np.partition,
    _partition,
    on=distinct,
    cases=[
        case((5,), args=(2,)),
        case((5,), args=([1, 3],)),
        case((2, 5), args=(1, 1)),
        case((5, 2), kth=3, axis=0),
        case((2, 3), args=(1, None), kind="introselect"),
    ],
)
