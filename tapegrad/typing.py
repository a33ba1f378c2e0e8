"""The types that appear in public signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Array", "ArrayLike", "Axis", "DtypeLike", "Formula", "Shape", "Tree"]

Array: TypeAlias = Any
"""A `numpy.ndarray`, a NumPy scalar, a `cupy.ndarray`, or another array type made known to tapegrad."""

ArrayLike: TypeAlias = Any
"""An array, a Tensor, a Python number, or nested sequences of them."""

Shape: TypeAlias = tuple[int, ...]
Axis: TypeAlias = int | tuple[int, ...] | None
DtypeLike: TypeAlias = np.dtype[Any] | type | str | None

Formula: TypeAlias = Callable[..., Any]
"""A rule for one input: the cotangent first, then its residuals and settings by name."""

Tree: TypeAlias = Any | Sequence["Tree"] | Mapping[str, "Tree"]
"""Nested containers whose leaves are arrays or tensors."""
