"""Whose array is it: array libraries, host and device, scatter-add. The only file that imports cupy."""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, ContextVar
from typing import Any

import numpy as np

from .errors import DeviceError, DtypeError, MissingPackageError, OutOfMemoryError, TapegradError, UnsupportedError
from .typing import Array, ArrayLike, DtypeLike, Shape

DOUBLE = np.float64
"""The type of NumPy's 0-d results: recorders recognize it to skip comparing shapes and dtypes."""

MENDED = (TypeError, ValueError, MemoryError)
"""What libraries raise where devices or memory are the reason: `explained` says so."""

NUMBERS = (float, int, bool, complex)
"""What NumPy takes for numbers of no dtype of their own."""

DIFFERENTIABLE = "fc"
"""The kinds of dtype that have derivatives: real and complex floating point."""

LIBRARIES: dict[type, Any] = {np.ndarray: np}
"""Array type to the namespace that creates such arrays; see `register`."""

CUDA: list[Any] = []
"""What stands in for the cupy module: the last entry, if any, is used wherever a CUDA device is asked for."""

_waiting: list[Callable[[], None]] = []


def register(kind: type, module: Any) -> None:
    """Take arrays of type `kind` for arrays, made by the namespace `module`; the first that is not NumPy's is awaited.

    CuPy's arrays are registered when they are first met, the test kit's stand-in for them when it is imported.
    """
    LIBRARIES.setdefault(kind, module)
    while _waiting:
        _waiting.pop()()


def on_first_device(callback: Callable[[], None]) -> None:
    """Call `callback` once arrays other than NumPy's come into play, so that programs without pay nothing for them."""
    if len(LIBRARIES) > 1:
        callback()
    else:
        _waiting.append(callback)


def cupy() -> Any:
    """Return the cupy module (or what stands in for it), or raise an error that says what to install.

    Raises
    ------
    MissingPackageError
        If cupy is not installed, or its installation is broken.
    """
    if CUDA:
        return CUDA[-1]
    try:
        module = importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        raise MissingPackageError.of("cupy", "a CUDA device", "cuda12]' or 'tapegrad[cuda13") from error
    except ImportError as error:
        raise MissingPackageError(
            f"a CUDA device needs the package cupy, which is installed but cannot be imported ({error}); install it "
            "anew, one build only, for the CUDA version that nvidia-smi shows: pip install 'tapegrad[cuda12]'"
        ) from error
    if module.ndarray not in LIBRARIES:
        register(module.ndarray, module)
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
    with on_device(device) as module:
        return module.asarray(array, order="C")  # CuPy copies no array with gaps from one device to another


@contextlib.contextmanager
def on_device(device: str) -> Iterator[Any]:
    """Return a context in which CuPy, which it gives, makes its arrays on `device`: `"cuda"`, `"cuda:1"`.

    Raises
    ------
    DeviceError
        If `device` is misspelled or absent, or its driver is missing or too old.
    OutOfMemoryError
        If the device is full.
    MissingPackageError
        If cupy is not installed.
    """
    place, _, number = str(device).partition(":")
    if place != "cuda" or (":" in device and not number.isdigit()):
        raise DeviceError(f"got device {device!r}, expected 'cpu', 'cuda' or 'cuda:N'")
    module = cupy()
    try:
        with module.cuda.Device(int(number)) if number else contextlib.nullcontext():
            yield module
    except module.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"device {device!r} cannot be used: {_diagnosis(module, error)}; or use device='cpu'"
        ) from error
    except MemoryError as error:
        raise explained(error, f"device {device!r}", ()) from error


@contextlib.contextmanager
def device(name: str) -> Iterator[None]:
    """Return a context in which CuPy computes on the device `name`: `"cuda:1"`; `"cuda"` and `"cpu"` change nothing.

    CuPy computes on its current device, by default `"cuda:0"`, wherever its operands are. So programs on another one
    run in this context (or in CuPy's own, `cupy.cuda.Device(1)`), backward passes and optimizers' steps too; without
    it, an operation on arrays that the current device cannot read is a DeviceError. In it, `"cuda"` means `name`.

    Raises
    ------
    DeviceError
        If `name` is misspelled or absent, or its driver is missing or too old.
    MissingPackageError
        If cupy is not installed.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from tapegrad.testing import cuda_standin
    >>> with cuda_standin(), tg.device("cuda:1"):
    ...     w = tg.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    ...     (w * w).sum().backward()
    ...     w.grad.device
    'cuda:1'
    """
    if name == "cpu":
        yield
        return
    with on_device(name) as module:
        module.cuda.runtime.getDeviceCount()
        current = module.cuda.Device()
    with current:
        yield


def _diagnosis(module: Any, error: Any) -> str:
    """Return what is wrong with the devices, and what to do about it."""
    status = getattr(error, "status", None)
    if status == 35:  # cudaErrorInsufficientDriver, which a machine without any driver gives too
        return (
            f"the NVIDIA driver is missing, or too old for the CUDA version that cupy {module.__version__} was built "
            "for; update the driver (nvidia-smi shows which CUDA it can do), or install cupy for an older CUDA"
        )
    if status == 100:  # cudaErrorNoDevice
        return "no CUDA device was found; see whether nvidia-smi lists one, and CUDA_VISIBLE_DEVICES does not hide it"
    if status == 101:  # cudaErrorInvalidDevice
        count = module.cuda.runtime.getDeviceCount()
        return f"there {'is one device' if count == 1 else f'are {count} devices'}, numbered from cuda:0"
    return f"{error}; see whether nvidia-smi lists the device, and mend the driver"


def explained(error: Exception, name: str, values: Any) -> Exception:
    """Return a better error than `error`, raised by `name` of `values`, where devices or memory are the reason.

    That is an UnsupportedError if CuPy lacks the function, a DeviceError if the arrays among `values`, in containers
    and tensors too, live on different devices, an OutOfMemoryError if a device is full, and otherwise `error` itself.
    """
    if isinstance(error, TapegradError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemoryError(
            f"{name} ran out of memory ({error}); let go of results that are no longer needed, with their history "
            "(use item() or detach() for what is only looked at), take smaller batches, or checkpoint; "
            "on a CUDA device, tapegrad.memory_summary() tells who holds how much"
        )
    found = {(np.ndarray if isinstance(a, np.generic) else type(a), device_of(a)) for a in arrays_in(values)}
    if len(found) < 2:
        place = next((place for _, place in found), "cpu")
        if place != "cpu" and any(
            words in str(error) for words in ("returned NotImplemented", "no implementation found")
        ):
            return UnsupportedError(
                f"{name} does not run on {place}: CuPy has no such function; compute it on the host, with t.cpu(), "
                f"and bring the result back with .to({place!r})"
            )
        if place != "cpu" and "current device" in str(error):
            return DeviceError(
                f"{name} got arrays on {place}, which is not CuPy's current device, on which it computes; "
                f"run it under tapegrad.device({place!r}), or move the arrays with t.to('cuda')"
            )
        return error
    places = sorted({place for _, place in found})
    there = "', '".join(places)
    return DeviceError(
        f"{name} got operands on different devices or of different array libraries ('{there}'); "
        f"move one of them, for instance with t.to({places[-1]!r}), or a plain array with "
        f"tapegrad.tensor(a, device={places[-1]!r})"
    )


def arrays_in(values: Any) -> Iterator[Any]:
    """Yield the arrays in nested containers, those of tensors too."""
    if isinstance(values, dict):
        values = tuple(values.values())
    if isinstance(values, (list, tuple)):
        for value in values:
            yield from arrays_in(value)
        return
    values = getattr(values, "_array", values)
    if is_array(values):
        yield values


def companion(array: Array, name: str, purpose: str) -> Any:
    """Return SciPy's module `name` ("scipy.linalg"), or cupyx's of that name for an array on a CUDA device.

    Raises
    ------
    MissingPackageError
        If SciPy is not installed, with what `purpose` needs.
    """
    there = library(array)
    if there is not np:
        # The stand-in for CuPy has what it has of cupyx within itself.
        own = getattr(there, "cupyx", None)
        return operator.attrgetter(name)(own) if own is not None else importlib.import_module(f"cupyx.{name}")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError.of("scipy", purpose, "scipy") from error


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """Return `array` as a NumPy array, copied from the device if it lives on one."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def quiet() -> Any:
    """Return a context in which divisions by zero, and what is computed from infinities, warn of nothing."""
    return np.errstate(divide="ignore", invalid="ignore", over="ignore")


def quietly(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, computed by NumPy without warnings: `quiet()` at a third of its price for small arrays.

    The function must not need the caller's context: modes, and what warnings the caller asked NumPy for.
    """
    return _QUIET.copy().run(function, *args)


_QUIET = Context()
_QUIET.run(np.seterr, all="ignore")


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


def from_dlpack(source: Any, device: str | None = None, copy: bool | None = None) -> Array:
    """Return what another library offers by DLPack as an array of NumPy, or of CuPy where it is on a CUDA device."""
    kind, number = source.__dlpack_device__()
    if int(kind) in _CUDA_KINDS:
        with on_device(f"cuda:{number}") as module:
            array = module.from_dlpack(source)
    else:
        array = np.from_dlpack(source)
    moved = array if device is None else move(array, device)
    if copy is False and moved is not array:
        raise DeviceError(f"got copy=False and device={device!r}, but the data is on {device_of(array)}")
    return moved.copy() if copy and moved is array else moved


_CUDA_KINDS = (2, 13)
"""DLPack's numbers for CUDA's own memory and its managed memory."""


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
    if not shape and LIBRARIES.get(type(like), np) is not np:
        return library(like).zeros((), dtype)  # CuPy's zeros_like takes the shape of `like` for ()
    return np.zeros_like(like, shape=shape, dtype=dtype)


def ones(shape: Shape, dtype: DtypeLike, like: Array) -> Array:
    """Return an array of ones in the library of `like`; for a number in NumPy, its scalar, which is made at once."""
    if not shape and isinstance(like, (np.ndarray, np.generic)):
        return np.dtype(dtype).type(1)
    if not shape and type(like) in LIBRARIES:
        return library(like).ones((), dtype)
    return np.ones_like(like, shape=shape, dtype=dtype)


def prototype_of(array: Array, shape: Any) -> tuple[Array, Any]:
    """Return a prototype and a shape of which `zeros_like` makes an array of `shape` in the library of `array`.

    CuPy's functions take () and 0 for the shape of the prototype.
    """
    if shape is None or library(array) is np:
        return array, shape
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return (array, shape) if shape else (library(array).zeros((), array.dtype), None)


def accumulation_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the wider dtype in which sums of `dtype` are accumulated, or None where it is its own."""
    return np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind in "fV" else None


def sum_over(values: Any, axes: Sequence[int]) -> Any:
    """Return `values`, an array or a tensor, summed over `axes`, ascending; 16-bit numbers are added up in 32 bits.

    Leading axes are summed by BLAS, as a product with ones: up to twenty times as fast for NumPy's arrays, and on a
    device, where a reduction to few numbers keeps few of its processors busy, large arrays are summed so too.
    """
    here = type(values) is np.ndarray
    if (here or (type(values) in LIBRARIES and values.size >= _MANY)) and values.dtype.char in "fd":
        count, ndim = len(axes), values.ndim
        if count == ndim == 1 and here:
            # Of few numbers by BLAS in half the time; of many pairwise, which loses less.
            size = values.shape[0]
            return np.add.reduce(values) if size > 256 else few_ones(size, values.dtype.char).dot(values)
        if axes[-1] == count - 1 < ndim - 1 and values.flags.c_contiguous and values.size:
            rows = values.shape[0] if count == 1 else math.prod(values.shape[:count])
            if here:
                ones = (few_ones if rows <= 65536 else np.ones)(rows, values.dtype.char)
            else:
                ones = np.ones_like(values, shape=rows)
            if ndim == 2:
                return ones.dot(values)  # takes half the time of @ where arrays are small
            return ones.dot(values.reshape(rows, -1)).reshape(values.shape[count:])
    wide = accumulation_dtype(values.dtype)
    return values.sum(axis=axes[0] if len(axes) == 1 else tuple(axes), dtype=wide)


_MANY = 1 << 16


@functools.lru_cache(32)
def few_ones(count: int, dtype: str) -> np.ndarray[Any, Any]:
    """Return a vector of ones, which is not to be written into: a product with it is a sum."""
    return np.ones(count, dtype)


_DETERMINISTIC: ContextVar[bool] = ContextVar("tapegrad_deterministic", default=False)


class deterministic(contextlib.ContextDecorator):  # noqa: N801 - a function by its use
    """Return a context, also a decorator, under which gradients on a CUDA device are the same bits in every run.

    What reads an entry more than once (`x[[0, 0]]`, `np.take`, an embedding) adds to its gradient more than once. CuPy
    does that, and `np.bincount` and histograms with tracked weights, by atomic additions, whose order, and so the last
    bits of the sum, changes from run to run. Here they are replaced by a sorted sum, in an order that the indices alone
    decide; it takes a sort and some ten kernels more, and waits for nothing. On the host gradients are always the same
    bits. It covers this thread or task, and `backward` must run under it.

    Parameters
    ----------
    enabled : whether it is on; `deterministic(False)` switches it off inside another

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> with tg.deterministic():
    ...     np.sum(x[[0, 0, 1]]).backward()
    >>> x.grad
    tensor([2., 1.])
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_DETERMINISTIC.get())
        _DETERMINISTIC.set(self._enabled)

    def __exit__(self, *exception: object) -> None:
        _DETERMINISTIC.set(self._before.pop())

    def _recreate_cm(self) -> deterministic:
        return deterministic(self._enabled)


def scatter_add(target: Array, index: Any, values: Array) -> None:
    """Add `values` into `target[index]`, once for every time an entry is named, in place.

    CuPy's atomic additions know no complex numbers, so real and imaginary parts are added apart there.
    """
    if device_of(target) == "cpu":
        np.add.at(target, index, values)
    elif _DETERMINISTIC.get():
        sorted_add(target, index, values)
    else:
        # CuPy answers NumPy's own add.at only for an index that is one array.
        add_at = library(target).add.at
        if target.dtype.kind == "c":
            add_at(target.real, index, values.real)
            add_at(target.imag, index, values.imag)
        else:
            add_at(target, index, values)


def count_up(places: Array, weights: Array, size: int) -> Array:
    """Return np.bincount of `weights`, `size` sums or more, added up in a fixed order where that is asked for."""
    if device_of(weights) == "cpu" or not _DETERMINISTIC.get():
        return np.bincount(places, weights, size)
    total = np.zeros_like(weights, shape=max(size, int(np.max(places)) + 1 if places.size else 0), dtype=np.float64)
    sorted_add(total, places, weights.astype(np.float64, copy=False))
    return total


def sorted_add(target: Array, index: Any, values: Array) -> None:
    """Do what `scatter_add` does in an order of additions that the indices alone decide, in any array library.

    The values are sorted by the entry that they go to; then every run of equal entries is summed by doubling: after
    step `k` each value holds the sum of up to 2**k values of its run before and including it, so the last one of a run
    ends with the sum of all. Nothing here depends on how many runs there are, which only waiting would tell.
    """
    entries = index if type(index) is tuple else (index,)
    first = entries[0]
    if len(entries) == 1 and is_array(first) and first.dtype.kind in "iu" and target.ndim:
        rows, shape = target.shape[0], (first.size, math.prod(target.shape[1:]))
        numbers = library(target).asarray(first % rows)
        values = np.broadcast_to(values, (*first.shape, *target.shape[1:]))
    else:
        rows, shape = target.size, (-1, 1)
        numbers = np.reshape(np.arange(rows, like=target), target.shape)[index]
        values = np.broadcast_to(values, numbers.shape)
    numbers = np.ravel(numbers)
    count = numbers.shape[0]
    if not count:
        return
    order = np.argsort(numbers, kind="stable")
    numbers, values = numbers[order], np.reshape(values, shape)[order]
    step = 1
    while step < count:
        same = (numbers[step:] == numbers[:-step])[:, None]
        values = np.concatenate([values[:step], values[step:] + np.where(same, values[:-step], 0)])
        step *= 2
    # All but the last of each run are written to a row too much.
    places = np.where(numbers[1:] != numbers[:-1], numbers[:-1], rows)
    sums = np.zeros_like(target, shape=(rows + 1, values.shape[1]))
    sums[np.concatenate([places, numbers[-1:]])] = values
    target += np.reshape(sums[:rows], target.shape)


def owns_memory(array: Any) -> bool:
    """Return whether `array` is an array, no view, and may be written into."""
    return type(array) in LIBRARIES and array.base is None and getattr(array.flags, "writeable", True)


def holders(array: Array) -> int:
    """Return how many references to `array` exist besides those of a caller that holds it in one local name."""
    return sys.getrefcount(array) - _LOCAL_HOLDERS


def _calibrate() -> int:
    # Interpreters count borrowed stack references differently; measure instead of assuming.
    probe = np.empty(1)
    return holders(probe)


_LOCAL_HOLDERS = 0
_LOCAL_HOLDERS = _calibrate()
