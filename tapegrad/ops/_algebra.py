"""The small words that formulas are made of: `T`, `H`, `spread`, and the like.

Formulas are plain NumPy on arrays, on CuPy arrays, and on tensors alike. So nothing here names a dtype, branches on
a value, or creates an array other than `*_like` something.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import numpy as np

from .._array import as_array, is_array, library
from .._op import CLASSIFIED
from .._tape import project
from .._tensor import OPS, Tensor, assign, detached, wrapped
from ..errors import LostGradientError
from ..typing import Array, ArrayLike, Axis, DtypeLike, Shape


def T(x: Any) -> Any:  # noqa: N802 - the mathematical name
    """Return the matrices in the last two axes of `x`, transposed."""
    return x.swapaxes(-1, -2)


def H(x: Any) -> Any:  # noqa: N802 - the mathematical name
    """Return the matrices in the last two axes of `x`, conjugated and transposed."""
    return np.conj(x.swapaxes(-1, -2))


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes that `axis`, a valid one, names in an array of `ndim` axes, as numbers from 0 on, in order."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, (tuple, list)):
        return tuple(sorted(operator.index(a) % ndim for a in axis))
    return (operator.index(axis) % ndim,) if ndim else ()


def kept_shape(x_shape: Shape, axis: Axis) -> Shape:
    """Return the shape that a reduction of `x_shape` over `axis` has with keepdims=True."""
    if axis is None:
        return (1,) * len(x_shape)
    if type(axis) is int and x_shape:
        axis %= len(x_shape)
        return (*x_shape[:axis], 1, *x_shape[axis + 1 :])
    axes = axes_of(axis, len(x_shape))
    return tuple([1 if i in axes else n for i, n in enumerate(x_shape)])


def count(x_shape: Shape, axis: Axis) -> int:
    """Return how many entries each result of a reduction of `x_shape` over `axis` is made of."""
    if axis is None:
        return x_shape[0] if len(x_shape) == 1 else math.prod(x_shape)
    if type(axis) is int:
        return x_shape[axis] if x_shape else 1
    return math.prod([x_shape[i] for i in axes_of(axis, len(x_shape))])


def kept(out: Any, x_shape: Shape, axis: Axis, keepdims: bool = False) -> Any:
    """Return `out`, shaped like a reduction of `x_shape` over `axis`, as keepdims=True would have given it."""
    return out if keepdims else out.reshape(kept_shape(x_shape, axis))


def broadcast(g: Any, shape: Shape) -> Any:
    """Return `g` broadcast to `shape`, read-only by convention."""
    if type(g) is np.ndarray or type(g) is np.float64:
        if g.shape == shape:
            return g
        # NumPy's own broadcast_to takes ten times as long as making the array over the same memory.
        if g.flags.c_contiguous and g.dtype.kind in "fc" and g.ndim in (0, len(shape)):
            if not g.ndim:
                return np.ndarray(shape, g.dtype, g, 0, (0,) * len(shape))
            strides = [0 if n == 1 else s for n, s in zip(g.shape, g.strides, strict=True)]
            return np.ndarray(shape, g.dtype, g, 0, strides)
    return np.broadcast_to(g, shape)


def spread(g: Any, x_shape: Shape, axis: Axis, keepdims: bool = False) -> Any:
    """Return `g`, shaped like a reduction over `axis`, broadcast back to `x_shape`."""
    if type(axis) is int and x_shape and not keepdims and type(g) is np.ndarray and g.flags.c_contiguous:
        # The same as below at a quarter of its price: what makes small reductions cheap.
        axis %= len(x_shape)
        strides = g.strides
        return np.ndarray(x_shape, g.dtype, g, 0, (*strides[:axis], 0, *strides[axis:]))
    return broadcast(g if keepdims or axis is None else g.reshape(kept_shape(x_shape, axis)), x_shape)


def unbroadcast(g: Any, x_shape: Shape) -> Any:
    """Return the sum of `g` over the axes along which `x_shape` was broadcast to its shape."""
    return project(g, x_shape, g.dtype)


def along(axis: int, index: Any) -> tuple[Any, ...]:
    """Return the index that applies `index` to the axis `axis`, counted from 0."""
    return (slice(None),) * axis + (index,)


def backwards(x: Any, axis: int) -> Any:
    """Return `x` in reverse order along `axis`, counted from 0."""
    return x[along(axis, slice(None, None, -1))]


def conj(x: Any) -> Any:
    """Return the conjugate of `x`: itself if it is real."""
    return np.conj(x) if x.dtype.kind == "c" else x


@functools.lru_cache(16)
def largest_number(dtype: Any) -> float:
    """Return the largest finite number of a floating point or complex dtype."""
    return float(np.finfo(dtype).max)


@functools.lru_cache(16)
def _normal_range(dtype: Any) -> tuple[float, float]:
    return float(np.finfo(dtype).smallest_normal), float(np.finfo(dtype).max)


def all_normal(x: Any) -> bool:
    """Return whether entries that are not negative are all normal numbers, of full precision.

    Where they are, a rule may take a shorter way to the same values; a device, which a look at values would wait for,
    always takes the long one.
    """
    if type(x) is not np.ndarray or not x.size:
        return False
    low, high = _normal_range(x.dtype)
    return bool(np.minimum.reduce(x, axis=None) >= low and np.maximum.reduce(x, axis=None) <= high)


_BLOCK = 1 << 18
"""Bytes of one piece: the fewest of which NumPy computes `a * b * c` in the memory of `a * b`."""


def blockwise(formula: Any) -> Any:
    """Return an elementwise formula evaluated piece by piece where arrays on the host are large.

    So its temporary arrays stay in the cache, and the system need not find memory for them.
    """
    names = ", ".join(formula.__code__.co_varnames[: formula.__code__.co_argcount])
    source = (
        f"lambda {names}: _in_blocks(_formula, {names}) if type(g) is _array and g.nbytes > {2 * _BLOCK} "
        f"else _formula({names})"
    )
    made = eval(
        compile(source, __file__, "eval"), {"_formula": formula, "_in_blocks": _in_blocks, "_array": np.ndarray}
    )
    made.__defaults__, made.__module__, made.__doc__ = formula.__defaults__, formula.__module__, formula.__doc__
    return made


def _in_blocks(formula: Any, g: Any, *residuals: Any) -> Any:
    """Return the formula of arrays of one shape and of Python numbers in blocks; of others, at once."""
    flat = [_flat(a, g.shape) for a in (g, *residuals)]
    if any(a is NotImplemented for a in flat):
        return formula(g, *residuals)
    step = _BLOCK // g.itemsize
    out: Any = None
    for start in range(0, g.size, step):
        end = start + step
        piece = formula(*[a[start:end] if type(a) is np.ndarray else a for a in flat])
        if out is None:
            out = np.empty(g.shape, piece.dtype)
            pieces = out.reshape(-1)
        pieces[start:end] = piece
    return out


def _flat(a: Any, shape: Shape) -> Any:
    """Return an array of `shape` in one dimension without copying it; Python numbers and None as they are."""
    if type(a) is not np.ndarray:
        return a if a is None or type(a) in (int, float) else NotImplemented
    if a.shape != shape:
        return NotImplemented
    if a.flags.c_contiguous:
        return a.reshape(-1)
    return NotImplemented if any(a.strides) else np.broadcast_to(a.flat[0], a.size)


# Words for composites


def numpy_since(version: str) -> bool:
    """Return whether NumPy is of this version or a later one: some functions changed their meaning."""
    return bool(np.lib.NumpyVersion(np.__version__) >= version)


def constant(value: ArrayLike, x: Any, dtype: DtypeLike = None) -> Array:
    """Return the values of `value` as an array in the library, and on the device, of `x`."""
    value, x = detached(value), detached(x)
    if type(value) is not type(x):
        value = library(x).asarray(value)
    return value if dtype is None or value.dtype == dtype else value.astype(dtype)


def operand(value: ArrayLike, x: Any = None) -> Any:
    """Return tensors and arrays as they are, and sequences and numbers as arrays that can be combined with `x`."""
    return value if isinstance(value, Tensor) or is_array(value) else as_array(library(detached(x)).asarray(value))


def stored(result: Any, out: Any) -> Any:
    """Return `result`, written to `out` first unless that is None."""
    out = out[0] if isinstance(out, tuple) else out
    if out is None:
        return result
    if isinstance(out, Tensor):
        assign(out, result, ...)
        return out
    if isinstance(result, Tensor):
        if result.requires_grad:
            raise LostGradientError("got a plain array as out= for a tracked result; give a tensor, or none")
        result = result._array
    out[...] = result
    return out


def unless_integers(function: Any) -> Any:
    """Return a decorator under which NumPy's own `function` runs on integers and booleans, which have no derivative."""

    def decorate(made: Any) -> Any:
        @functools.wraps(made)
        def run(a: Any, *args: Any, out: Any = None, **settings: Any) -> Any:
            if (
                not isinstance(a, Tensor)
                or a.dtype.kind not in "biu"
                or any(isinstance(v, Tensor) and v._record is not None for v in (*args, *settings.values()))
            ):
                return stored(made(a, *args, **settings), out)
            settings = {name: detached(value) for name, value in settings.items()}
            return stored(wrapped(function(a._array, *map(detached, args), **settings)), out)

        return run

    return decorate


def instead(made: Any, row: Any, *functions: Any) -> Any:
    """Let `made`, which settles arguments and calls the op `row`, run in place of `functions`, and return it."""
    op = row.op
    if op.function not in functions:
        op.__dict__["parameters"] = op.parameters  # those of the row's own function, which its recorder binds by
        del OPS[op.function], CLASSIFIED[op.function]
        op.function = functions[0]
    functools.update_wrapper(made, functions[0], assigned=("__name__", "__qualname__"), updated=())
    made.op = op
    op.public = made
    for function in functions:
        OPS[function] = made
        CLASSIFIED[function] = (op.kind, "")
    return made
