"""The small words that formulas are made of: `T`, `H`, `spread`, and the like.

Formulas are plain NumPy on arrays, on CuPy arrays, and on tensors alike. So nothing here names a dtype, branches on
a value, or creates an array other than `*_like` something.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..typing import Axis, Shape


def T(x: Any) -> Any:  # noqa: N802 - the mathematical name
    """Return the matrices in the last two axes of `x`, transposed."""
    return np.swapaxes(x, -1, -2)


def H(x: Any) -> Any:  # noqa: N802 - the mathematical name
    """Return the matrices in the last two axes of `x`, conjugated and transposed."""
    return np.conj(np.swapaxes(x, -1, -2))


def kept_shape(x_shape: Shape, axis: Axis) -> Shape:
    """Return the shape that a reduction of `x_shape` over `axis` has with keepdims=True."""
    if axis is None:
        return (1,) * len(x_shape)
    axes = {a % len(x_shape) for a in (axis if isinstance(axis, tuple) else (axis,))} if x_shape else set()
    return tuple(1 if i in axes else n for i, n in enumerate(x_shape))


def spread(g: Any, x_shape: Shape, axis: Axis, keepdims: bool) -> Any:
    """Return `g`, shaped like a reduction over `axis`, broadcast back to `x_shape`."""
    if not keepdims:
        g = np.reshape(g, kept_shape(x_shape, axis))
    return np.broadcast_to(g, x_shape)
