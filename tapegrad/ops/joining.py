"""Joining and splitting arrays, and adding and removing entries."""

from __future__ import annotations

import itertools
import operator

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .._array import is_array, to_host
from .._op import CLASSIFIED, composite, linear
from .._tensor import OPS, Tensor, detached
from ._algebra import along, constant, instead, numpy_since, operand, stored
from ._domains import anything, case

# Concatenation


def joined(xs, axis, bounds, dtype=None, casting="same_kind"):
    """Return np.concatenate; `bounds` are the places in the result where one array ends and the next begins."""
    if dtype is None and casting == "same_kind":
        return np.concatenate(xs, axis)
    return np.concatenate(xs, axis, dtype=dtype, casting=casting)


# The bounds are shared by all inputs: were each to count the entries before it, many would take quadratic time.
joined = linear(
    joined,
    lambda g, k, axis, bounds: g[along(axis, slice(bounds[k], bounds[k + 1]))],
    inputs="*xs",
    free="dtype casting",
    on=anything,
    cases=[case([(2, 3), (1, 3)], args=(0, (0, 2, 3))), case([(2, 1), (2, 0), (2, 1)], args=(1, (0, 1, 1, 2)))],
)


def _like_tensors(xs):
    """Return the list of `xs` with numbers and sequences as arrays that can be joined with the others."""
    xs = list(xs)
    if all(type(x) is Tensor for x in xs):
        return xs
    first = next((x for x in xs if isinstance(x, Tensor) or is_array(x)), None)
    return [operand(x, first) for x in xs]


def _concatenate(arrays, axis=0, out=None, *, dtype=None, casting="same_kind"):
    xs = _like_tensors(arrays)
    if axis is None:
        xs, axis = [x.reshape(-1) for x in xs], 0
    shapes = [detached(x).shape for x in xs]
    ndim = len(shapes[0]) if shapes else 0
    if not all(-len(shape) <= axis < len(shape) == ndim for shape in shapes):
        return np.concatenate([detached(x) for x in xs], axis)  # which NumPy refuses
    axis = operator.index(axis) % ndim
    bounds = tuple(itertools.accumulate([shape[axis] for shape in shapes], initial=0))
    return stored(joined(xs, axis, bounds, dtype, casting), out)


composite(
    np.concatenate,
    _concatenate,
    on=anything,
    cases=[
        case([(2, 3), (1, 3)]),
        case([(2, 3), (2, 1), (2, 0)], axis=1),
        case([(2, 3), (2, 3)], axis=-1),
        case([(2, 3), (4,)], axis=None),
        case([(2,), (3,)], dtype="complex128", casting="unsafe"),
        case([(0,), (0,)]),
        case([(3,)]),
    ],
)


_stacked = linear(
    lambda xs, axis=0, dtype=None, casting="same_kind": (
        np.stack(xs, axis)
        if dtype is None and casting == "same_kind"
        else np.stack(xs, axis, dtype=dtype, casting=casting)
    ),
    lambda g, k, axis=0: g[along(axis % g.ndim, k)],
    name="stack",
    inputs="*xs",
    free="dtype casting",
    on=anything,
    cases=[
        case([(2, 3), (2, 3)]),
        case([(2, 3), (2, 3), (2, 3)], axis=-1),
        case([(2,), (2,)], axis=1),
        case([(), ()]),
        case([(2,), (2,)], dtype="complex128", casting="unsafe"),
        case([(0,), (0,)]),
    ],
)


def _stack(arrays, axis=0, dtype=None, casting="same_kind"):
    return _stacked(_like_tensors(arrays), axis, dtype, casting)


OPS["stack"] = instead(_stack, _stacked, np.stack)


def _after(shape_up, axis_of):
    """Return a function that shapes arrays with `shape_up` and then joins them along an axis that depends on them."""

    def run(tup, *, dtype=None, casting="same_kind"):
        xs = [shape_up(x) for x in _like_tensors(tup)]
        return _concatenate(xs, axis_of(xs), dtype=dtype, casting=casting)

    return run


def _as_column(x):
    return x if x.ndim > 1 else x.reshape(-1, 1)


MIXED = [case([(2, 3), (2, 3)]), case([(3,), (3,)]), case([(), ()]), case([(2, 1), (2, 1), (2, 1)])]
TYPED = [*MIXED, case([(3,), (3,)], dtype="complex128", casting="unsafe")]
_vstack = composite(np.vstack, _after(np.atleast_2d, lambda xs: 0), on=anything, cases=[*TYPED, case([(2, 3), (3,)])])
if hasattr(np, "row_stack"):  # a deprecated alias
    OPS[np.vstack], CLASSIFIED[np.vstack] = _vstack, ("composite", "")
composite(
    np.hstack,
    _after(np.atleast_1d, lambda xs: 0 if xs and xs[0].ndim == 1 else 1),
    on=anything,
    cases=[*TYPED, case([(2, 3), (2, 1)]), case([(2,), (0,)])],
)
composite(np.dstack, _after(np.atleast_3d, lambda xs: 2), on=anything, cases=[*MIXED, case([(2, 3, 2), (2, 3)])])
composite(np.column_stack, _after(_as_column, lambda xs: 1), on=anything, cases=[*MIXED, case([(2,), (2, 3)])])


def _depth(arrays, place="arrays"):
    """Return how deeply the lists of a block are nested, or raise the error with which NumPy refuses them."""
    if type(arrays) is tuple:
        raise TypeError(
            f"{place} is a tuple. Only lists can be used to arrange blocks, and np.block does not allow them."
        )
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise ValueError(f"List at {place} cannot be empty")
    depths = [_depth(entry, f"{place}[{i}]") for i, entry in enumerate(arrays)]
    if len(set(depths)) > 1:
        raise ValueError(f"List depths are mismatched. Those at {place} were {depths}")
    return 1 + depths[0]


def _entries(arrays):
    return [x for entry in arrays for x in _entries(entry)] if isinstance(arrays, list) else [arrays]


def _block(arrays):
    depth = _depth(arrays)
    xs = iter(_like_tensors(_entries(arrays)))

    def shaped(entry):
        return [shaped(e) for e in entry] if isinstance(entry, list) else next(xs)

    arrays = shaped(arrays)
    ndim = max(depth, *(x.ndim for x in _entries(arrays)), 0)

    def joined(entry, level):
        if level == 0:
            return entry if entry.ndim == ndim else entry.reshape((1,) * (ndim - entry.ndim) + tuple(entry.shape))
        return _concatenate([joined(e, level - 1) for e in entry], axis=-level)

    return joined(arrays, depth)


composite(
    np.block, _block, on=anything, cases=[case([(2,), (3,)]), case([(2, 2), (2, 1)]), case((2, 2)), case([(), (2,)])]
)


# Splitting


def _array_split(ary, indices_or_sections, axis=0):
    n = ary.shape[axis]
    axis = normalize_axis_index(axis, ary.ndim)
    if np.ndim(indices_or_sections):
        bounds = [0, *np.asarray(indices_or_sections).tolist(), n]
    else:
        sections = operator.index(indices_or_sections)
        if sections <= 0:
            raise ValueError("number sections must be larger than 0.")
        each, extra = divmod(n, sections)
        bounds = [i * each + min(i, extra) for i in range(sections + 1)]
    return [ary[along(axis, slice(start, end))] for start, end in itertools.pairwise(bounds)]


def _split(ary, indices_or_sections, axis=0):
    if np.ndim(indices_or_sections) == 0 and ary.shape[axis] % operator.index(indices_or_sections):
        raise ValueError("array split does not result in an equal division")
    return _array_split(ary, indices_or_sections, axis)


def _splitter(name, least, axis_of):
    def run(ary, indices_or_sections):
        if ary.ndim < least:
            raise ValueError(f"{name} only works on arrays of {least} or more dimensions")
        return _split(ary, indices_or_sections, axis_of(ary))

    return run


composite(
    np.array_split,
    _array_split,
    on=anything,
    cases=[
        case((5,), args=(3,)),
        case((2, 5), args=([1, 3],), axis=-1),
        case((4, 2), args=([3, 1, -1, 9],)),
        case((2,), args=(3,)),
    ],
)
composite(
    np.split,
    _split,
    on=anything,
    cases=[case((4,), args=(2,)), case((2, 3), args=(3,), axis=1), case((4,), args=([1],))],
)
composite(
    np.hsplit,
    _splitter("hsplit", 1, lambda ary: int(ary.ndim > 1)),
    on=anything,
    cases=[case((4,), args=(2,)), case((2, 4), args=([1, 2],))],
)
composite(
    np.vsplit,
    _splitter("vsplit", 2, lambda ary: 0),
    on=anything,
    cases=[case((4, 2), args=(2,)), case((2, 4), args=([1],))],
)
composite(np.dsplit, _splitter("dsplit", 3, lambda ary: 2), on=anything, cases=[case((1, 2, 4), args=(2,))])


def _unstack(x, /, *, axis=0):
    if x.ndim == 0:
        raise ValueError("Input array must be at least 1-d.")
    axis = normalize_axis_index(axis, x.ndim)
    return tuple([x[along(axis, i)] for i in range(x.shape[axis])])


if hasattr(np, "unstack"):  # since NumPy 2.1
    composite(np.unstack, _unstack, on=anything, cases=[case((2, 3)), case((2, 3), axis=-1), case((2,))])


# Adding and removing entries


def _append(arr, values, axis=None):
    return _concatenate([arr, values], axis=axis)


composite(
    np.append,
    _append,
    on=anything,
    cases=[
        case((2, 3), (2,)),
        case((2, 3), (1, 3), axis=0),
        case((2, 3), (2, 1), axis=-1),
        case((), ()),
        case((2,), args=(1.5,)),
    ],
)


def _on_host(places):
    """Return places, which are constants, where they can be looked at."""
    places = detached(places)
    return to_host(places) if is_array(places) else places


def _delete(arr, obj, axis=None):
    arr = operand(arr)
    if axis is None:
        arr, axis = (arr if arr.ndim == 1 else arr.reshape(-1)), 0
    axis = normalize_axis_index(axis, arr.ndim)
    n = arr.shape[axis]
    left = np.zeros(n, bool)
    left[np.delete(np.arange(n), _on_host(obj))] = True
    return arr[along(axis, constant(left, arr))]


composite(
    np.delete,
    _delete,
    on=anything,
    cases=[
        case((4,), args=(1,)),
        case((3, 2), args=([0, 2],), axis=0),
        case((2, 3), args=(-1,), axis=-1),
        case((2, 3), args=([1, 1, 4],)),
        case((5,), args=(slice(None, None, 2),)),
        case((3,), args=(np.array([True, False, True]),)),
        case((3,), args=([],)),
    ],
)


# Before NumPy 2.2, booleans were integers here.
_MASKS_INSERT = numpy_since("2.2.0")


def _insert(arr, obj, values, axis=None):
    arr = operand(arr, values)
    if axis is None:
        arr, axis = (arr if arr.ndim == 1 else arr.reshape(-1)), 0
    axis = normalize_axis_index(axis, arr.ndim)
    n = arr.shape[axis]
    values = operand(values, arr)
    values = values if values.dtype == arr.dtype else values.astype(arr.dtype)
    obj = _on_host(obj)
    places = np.arange(*obj.indices(n)) if isinstance(obj, slice) else np.asarray(obj)
    places = np.flatnonzero(places) if places.dtype == bool and _MASKS_INSERT else places
    shape = list(arr.shape)
    if places.size == 1:
        values = values.reshape((1,) * (arr.ndim - values.ndim) + tuple(values.shape))
        if places.ndim == 0:
            values = np.moveaxis(values, 0, axis)
        shape[axis] = values.shape[axis]
    else:
        shape[axis] = places.size
    order = np.insert(np.arange(n), obj, np.arange(n, n + shape[axis]))
    values = np.broadcast_to(values, tuple(shape))
    if places.size == 1:
        start = int(np.argmax(order >= n)) if shape[axis] else n
        return _concatenate([arr[along(axis, slice(0, start))], values, arr[along(axis, slice(start, n))]], axis=axis)
    return _concatenate([arr, values], axis=axis)[along(axis, order)]


composite(
    np.insert,
    _insert,
    on=anything,
    cases=[
        case((4,), args=(1, 5.0)),
        case((2, 3), args=(1, 5.0)),
        case((2, 3), args=(1, [1.0, 2.0]), axis=1),
        case((2, 3), args=([1], [[1.0], [2.0]]), axis=1),
        case((2, 3), args=(-1, [[1.0, 2.0, 3.0]] * 2), axis=0),
        case((4,), args=([2, 0, 2], [1.0, 2.0, 3.0])),
        case((2, 3), args=(slice(0, 2), 7.0), axis=1),
        case((3,), args=([], [])),
    ],
)
