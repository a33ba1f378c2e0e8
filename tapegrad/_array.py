"""Whose array is it: array libraries, host and device, scatter-add. The only file that imports cupy."""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from .errors import DeviceError, DtypeError, MissingPackageError
from .typing import Array, ArrayLike, DtypeLike, Shape

DOUBLE = np.float64
"""The type of NumPy's 0-d results: recorders recognize it to skip comparing shapes and dtypes."""

DIFFERENTIABLE = "fc"
"""The kinds of dtype that have derivatives: real and complex floating point."""

LIBRARIES: dict[type, Any] = {np.ndarray: np}
"""Array type to the namespace that creates such arrays; the test kit adds its stand-in for CuPy."""


def cupy() -> ModuleType:
    """Return the cupy module, or raise an error that names the command that installs it.

    Raises
    ------
    MissingPackageError
        If cupy is not installed.
    """
    try:
        module = importlib.import_module("cupy")
    except ImportError as error:
        raise MissingPackageError.of("cupy", "a CUDA device", "cuda12]' or 'tapegrad[cuda13") from error
    LIBRARIES.setdefault(module.ndarray, module)
    return module


def is_array(value: object) -> bool:
    """Return whether `value` is an array or a NumPy scalar, as opposed to a Python number, a sequence or a tensor."""
    kind = type(value)
    if kind in LIBRARIES or isinstance(value, (np.ndarray, np.generic)):
        return True
    if kind.__module__.partition(".")[0] == "cupy" and "cupy" in sys.modules:
        return isinstance(value, cupy().ndarray)
    return False


def library(array: Array) -> Any:
    """Return the namespace (numpy, cupy or a stand-in) that `array` belongs to."""
    found = LIBRARIES.get(type(array))
    if found is None:
        found = cupy() if type(array).__module__.partition(".")[0] == "cupy" else np
    return found


def device_of(array: Array) -> str:
    """Return `"cpu"`, or `"cuda:N"` for an array on the N-th CUDA device."""
    device = getattr(array, "device", "cpu")
    return device if isinstance(device, str) else f"cuda:{device.id}"


def move(array: Array, device: str) -> Array:
    """Return `array` on `device` (`"cpu"`, `"cuda"`, `"cuda:1"`): itself where it is there already.

    Raises
    ------
    DeviceError
        If `device` is misspelled or absent.
    MissingPackageError
        If a CUDA device is asked for and cupy is not installed.
    """
    place, _, number = str(device).partition(":")
    here = device_of(array)
    if str(device) == here or (not number and here.partition(":")[0] == place):
        return array
    if device == "cpu":
        return to_host(array)
    if place != "cuda" or (number and not number.isdigit()):
        raise DeviceError(f"got device {device!r}, expected 'cpu', 'cuda' or 'cuda:N'")
    module = cupy()
    try:
        with module.cuda.Device(int(number)) if number else contextlib.nullcontext():
            return module.asarray(array)
    except module.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"device {device!r} cannot be used: {error}; use device='cpu', or mend the driver") from error


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """Return `array` as a NumPy array, copied from the device if it lives on one."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def native(array: Array) -> Array:
    """Return `array` in the machine's byte order, refusing dtypes that no tensor can hold.

    Raises
    ------
    DtypeError
        For object, string, bytes, datetime, timedelta and structured dtypes.
    """
    dtype = array.dtype
    if dtype.kind not in "biufc" and not _is_extended_float(dtype):
        raise DtypeError(
            f"got dtype {dtype}, expected bool, integer, floating point or complex numbers; "
            "convert the data first, for instance with array.astype(float)"
        )
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _is_extended_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "V" and dtype.name == "bfloat16"


def as_array(
    data: ArrayLike, dtype: DtypeLike = None, device: str | None = None, copy: bool = False, like: Any = None
) -> Array:
    """Return `data` as an array that a tensor can hold.

    Parameters
    ----------
    data : array, number, or nested sequences of numbers
    dtype : converted to, if given
    device : moved to, if given; otherwise arrays stay where they are
    copy : whether the result must not share memory with `data`
    like : an array whose device is taken for data that is not an array yet

    Raises
    ------
    DtypeError
        For object, string and datetime data.
    """
    if not is_array(data):
        try:
            data, copy = np.asarray(data), False
        except ValueError as error:
            raise DtypeError(f"got nested sequences that form no array ({error}); make rows equally long") from None
    if isinstance(data, np.ma.MaskedArray):
        raise DtypeError("got a masked array, whose mask a tensor cannot hold; fill it first: data.filled(...)")
    array = native(np.asarray(data) if isinstance(data, np.ndarray) else data)
    if dtype is not None and array.dtype != np.dtype(dtype):
        array, copy = array.astype(dtype), False
        native(array)
    if device is None and like is not None and type(array) is np.ndarray and type(like) in LIBRARIES:
        with like.device if hasattr(like.device, "__enter__") else contextlib.nullcontext():
            array = library(like).asarray(array)
    if device is not None:
        moved = move(array, device)
        copy = copy and moved is array
        array = moved
    if isinstance(array, np.generic):
        return np.asarray(array)
    return array.copy(order="K") if copy else array


def castable(dtype: Any, target: Any) -> bool:
    """Return whether NumPy writes results of `dtype` into an array of dtype `target` without being told to."""
    return np.can_cast(dtype, target, "same_kind")


def broadcast_to(value: Any, shape: Shape) -> Any:
    """Return `value`, an array or a tensor, broadcast to `shape`."""
    return np.broadcast_to(value, shape)


def zeros(shape: Shape, dtype: DtypeLike, like: Array) -> Array:
    """Return an array of zeros in the library of `like`."""
    return np.zeros_like(like, shape=shape, dtype=dtype)


def ones(shape: Shape, dtype: DtypeLike, like: Array) -> Array:
    """Return an array of ones in the library of `like`; for a number in NumPy, its scalar, which is made at once."""
    if not shape and isinstance(like, (np.ndarray, np.generic)):
        return np.dtype(dtype).type(1)
    return np.ones_like(like, shape=shape, dtype=dtype)


def accumulation_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the wider dtype in which sums of `dtype` are accumulated, or None where it is its own."""
    return np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind in "fV" else None


def sum_over(values: Any, axes: Sequence[int]) -> Any:
    """Return `values`, an array or a tensor, summed over `axes`, ascending; 16-bit numbers are added up in 32 bits.

    Leading axes of NumPy's arrays are summed by BLAS, as a product with ones: up to twenty times as fast.
    """
    if (
        type(values) is np.ndarray
        and axes[-1] == len(axes) - 1 < values.ndim - 1
        and values.dtype.char in "fd"
        and values.flags.c_contiguous
        and values.size
    ):
        rest = values.shape[len(axes) :]
        rows = math.prod(values.shape[: len(axes)])
        ones = (_ones if rows <= 65536 else np.ones)(rows, values.dtype.char)
        total = ones @ (values if values.ndim == 2 else values.reshape(rows, -1))
        return total if len(rest) == 1 else total.reshape(rest)
    wide = accumulation_dtype(values.dtype)
    return values.sum(axis=axes[0] if len(axes) == 1 else tuple(axes), dtype=wide)


@functools.lru_cache(32)
def _ones(count: int, dtype: str) -> np.ndarray[Any, Any]:
    return np.ones(count, dtype)


def scatter_add(target: Array, index: Any, values: Array) -> None:
    """Add `values` into `target[index]`, once for every time an entry is named, in place.

    CuPy's atomic additions know no complex numbers, so real and imaginary parts are added apart there.
    """
    if target.dtype.kind == "c" and device_of(target) != "cpu":
        scatter_add(target.real, index, values.real)
        scatter_add(target.imag, index, values.imag)
    else:
        np.add.at(target, index, values)


def holders(array: Array) -> int:
    """Return how many references to `array` exist besides those of a caller that holds it in one local name."""
    return sys.getrefcount(array) - _LOCAL_HOLDERS


def _calibrate() -> int:
    # Interpreters count borrowed stack references differently; measure instead of assuming.
    probe = np.empty(1)
    return holders(probe)


_LOCAL_HOLDERS = 0
_LOCAL_HOLDERS = _calibrate()
