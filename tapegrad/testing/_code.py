"""Values as code: what a failing test prints can be pasted into a program, and is the same value there."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._array import to_host
from .._tensor import Tensor

__all__ = ["as_code"]


def as_code(value: Any) -> str:
    """Return Python code for arrays, tensors, indices, numbers, and containers of them, to the last digit.

    The code uses the names `np` and, for tensors, `tg`. Arrays come back with their dtype and as they lie in memory:
    in Fortran's order, strided, reversed or read-only.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import as_code
    >>> print(as_code({"x": np.float32([0.1, np.inf]), "i": (slice(1, None), Ellipsis)}))
    {'x': np.array([0.1, np.inf], dtype=np.float32), 'i': (np.s_[1:], ...)}
    """
    if isinstance(value, Tensor):
        code = f"tg.as_tensor({as_code(value.data)})"
        return f"{code}.requires_grad_()" if value.requires_grad else code
    if isinstance(value, np.generic):
        return f"np.{value.dtype.name}({_entry(value)})"
    if isinstance(value, np.ndarray) or (hasattr(value, "dtype") and hasattr(value, "shape")):
        return _array(to_host(value))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {as_code(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({', '.join(map(as_code, value))})"
    if type(value) in (list, tuple):
        inner = ", ".join(map(as_code, value)) + ("," if type(value) is tuple and len(value) == 1 else "")
        return f"[{inner}]" if type(value) is list else f"({inner})"
    if isinstance(value, slice):
        return f"np.s_[{_slice(value)}]"
    if value is Ellipsis:
        return "..."
    if isinstance(value, (float, complex)):
        return _entry(value)
    return repr(value)


def _slice(value: slice) -> str:
    start, stop, step = ("" if part is None else str(part) for part in (value.start, value.stop, value.step))
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


def _entry(value: Any) -> str:
    """Return the shortest code for a number that gives it back in its own precision."""
    if isinstance(value, (bool, np.bool_, int, np.integer)):
        return str(value)
    if isinstance(value, (complex, np.complexfloating)):
        if np.isfinite(value.real) and np.isfinite(value.imag):
            return str(value)
        return f"complex({_entry(value.real)}, {_entry(value.imag)})"
    if np.isnan(value):
        return "np.nan"
    return f"{'-' * bool(value < 0)}np.inf" if np.isinf(value) else str(value)


def _array(a: Any) -> str:
    if a.ndim and a.size and not a.flags.c_contiguous:
        if a.flags.f_contiguous:
            return f"np.asfortranarray({_array(np.ascontiguousarray(a))})" if a.flags.writeable else _read_only(a)
        if a.flags.writeable:
            # What matters about a layout is whether the last axis is walked backwards or with gaps.
            back = a.strides[-1] < 0 and a.shape[-1] > 1
            inner = np.ascontiguousarray(a[..., ::-1] if back else a)
            return f"{_array(inner)}[..., ::-1]" if back else f"np.repeat({_array(inner)}, 2, -1)[..., ::2]"
    if not a.flags.writeable:
        return _read_only(a)
    dtype = "" if a.dtype in (np.float64, np.complex128, np.bool_, np.int64) else f", dtype=np.{a.dtype.name}"
    if not a.size:
        return f"np.zeros({a.shape}{dtype or ('' if a.dtype == np.float64 else f', dtype=np.{a.dtype.name}')})"
    return f"np.array({_nested(a)}{dtype})"


def _read_only(a: Any) -> str:
    return f"np.broadcast_to({_array(np.array(a, order='C'))}, {a.shape})"


def _nested(a: Any) -> str:
    return _entry(a[()]) if not a.ndim else f"[{', '.join(map(_nested, a))}]"
