"""Indexing: reading and writing entries by basic, advanced and boolean indices; selection; sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._array import accumulation_dtype, as_array, is_array, scatter_add, zeros
from .._op import linear
from .._tape import MODE, Record, next_position
from .._tensor import OPS, Tensor, wrap, writable
from ..errors import UnsupportedError

_new = object.__new__


# Indices


def _constant(index: Any) -> Any:
    """Return `index` with arrays in place of tensors and lists, which could change before a replay needs them."""
    if isinstance(index, Tensor):
        if index.requires_grad:
            raise UnsupportedError("got a tracked tensor as an index; indices have no derivative, so detach() it")
        return index._array
    kind = type(index)
    if kind is tuple:
        return tuple([_constant(entry) for entry in index])
    if kind is list:
        return np.asarray(_constant_list(index)) if index else np.zeros(0, np.intp)
    if kind is slice and not (_plain(index.start) and _plain(index.stop) and _plain(index.step)):
        return slice(*[None if i is None else i.__index__() for i in (index.start, index.stop, index.step)])
    return index


def _plain(bound: Any) -> bool:
    return bound is None or type(bound) is int


def _constant_list(index: list[Any]) -> list[Any]:
    return [_constant_list(entry) if type(entry) is list else _constant(entry) for entry in index]


def _may_repeat(index: Any) -> bool:
    """Return whether `index` could name an entry more than once: only arrays of integers can."""
    return any(
        is_array(entry) and entry.size > 1 and entry.dtype.kind != "b"
        for entry in (index if type(index) is tuple else (index,))
    )


# Reading


def getitem(x: Any, index: Any) -> Any:
    """Return `x[index]`."""
    return x[index]


def ungetitem(g: Any, x_shape: Any, index: Any, unique: bool = False) -> Any:
    """Return zeros of `x_shape` with `g` added at `index`: the transpose of reading there.

    `unique` promises that arrays of integers in `index` name no entry twice.
    """
    if unique or not _may_repeat(index):
        out = zeros(x_shape, g.dtype, g)
        out[index] = g
        return out
    wide = accumulation_dtype(g.dtype)
    out = zeros(x_shape, wide or g.dtype, g)
    scatter_add(out, index, g)
    return out if wide is None else out.astype(g.dtype)


def erase(g: Any, index: Any) -> Any:
    """Return a copy of `g` with zeros at `index`."""
    out = g.copy()
    out[index] = 0
    return out


getitem = linear(getitem, lambda g, x_shape, index: ungetitem(g, x_shape, index))
ungetitem = linear(ungetitem, lambda g, index: getitem(g, index), free="x_shape unique")
erase = linear(erase, lambda g, index: erase(g, index))


def _recorded_getitem(x: Tensor, index: Any) -> Tensor:
    if type(index) is not int:
        index = _constant(index)
    a = x._array
    out = a[index]
    parent = x._record
    result = _new(Tensor)
    result._array = out
    if parent is None:
        result._record = None
        return result
    op = getitem.op
    if MODE.get() is not None:
        return op.result(MODE.get(), (x,), (a,), out, ((index,), {}))
    result._record = made = _new(Record)
    made.op = op
    made.x = parent
    made.y = made.for_y = made.targets = None
    made.for_x = (a.shape, index)
    made.position = next_position()
    return result


_recorded_getitem.op = getitem.op
OPS["getitem"] = _recorded_getitem


# Writing


def assign(x: Any, value: Any, index: Any) -> Any:
    """Return a copy of `x` with `value` at `index`."""
    out = x.copy()
    out[index] = value
    return out


def _for_value(g: Any, value_shape: Any, index: Any) -> Any:
    h = getitem(g, index)
    if _may_repeat(index):
        h = h * _last_writes(g, index)
    return _sum_to(h, value_shape)


def _last_writes(g: Any, index: Any) -> Any:
    """Return a mask of the writes at `index` that a later one does not overwrite."""
    positions = np.zeros_like(g, dtype=np.intp)
    count = positions[index]
    order = np.arange(count.size).reshape(count.shape)
    positions[index] = order
    return positions[index] == order


def _sum_to(h: Any, shape: Any) -> Any:
    """Return `h` summed over the axes along which a value of `shape` was broadcast."""
    kept = shape[max(len(shape) - h.ndim, 0) :]
    lead = h.ndim - len(kept)
    axes = (*range(lead), *(lead + i for i, n in enumerate(kept) if n == 1 and h.shape[lead + i] != 1))
    if axes:
        h = np.sum(h, axis=axes)
    return np.reshape(h, shape)


assign = linear(
    assign,
    lambda g, index: erase(g, index),
    lambda g, value_shape, index: _for_value(g, value_shape, index),
    inputs="x value",
)


def _recorded_assign(target: Tensor, value: Any, index: Any) -> Tensor:
    index = _constant(index)
    v = value._array if isinstance(value, Tensor) else as_array(value, like=target._array)
    array = writable(target)
    array[index] = v
    if target._record is None and not (isinstance(value, Tensor) and value._record is not None):
        return wrap(array)
    return assign.op.result(MODE.get(), (target, value), (array, v), array, ((index,), {}))


OPS["assign"] = _recorded_assign
