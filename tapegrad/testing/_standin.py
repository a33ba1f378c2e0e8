"""A strict stand-in for CuPy arrays: NumPy inside, and refusing whatever CuPy refuses.

No device is needed to find out that a rule would fail on one. A `StrictArray` has the attributes and methods of
`cupy.ndarray`, answers NumPy's two protocols as it does, and is none of NumPy's own types. What CuPy lacks is missing
(functions, keywords, loops of ufuncs, methods), what it refuses is refused (implicit conversion, NumPy arrays and lists
as operands, arrays of another device than the current one), and where its semantics differ this one differs too:
results are 0-d arrays and never scalars, C order is all there is, index arrays wrap around, repeated indices have no
last winner, atomic additions come in another order every time, failures of linear algebra are silent.

Programs guard themselves with it in three steps: `cuda_standin` makes it what `device="cuda"` means, `counting` tells
how often a step would have waited for the device and what it called, and whatever would fail on CuPy fails here.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import importlib
import inspect
import operator
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _array
from . import _cupy_table

__all__ = ["StrictArray", "counting", "cuda_standin", "strict"]

_NUMBERS = (bool, int, float, complex, np.generic)
# E is bfloat16, which NumPy has where ml_dtypes has been imported.
_DTYPES = frozenset("?bBhHiIlLqQefdFDE")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What CuPy's signatures do not say. First parameters by name: those that take operands, which must be CuPy's own
# arrays; those that take sequences of operands; those that may come from the host, and are uploaded then.
_OPERANDS = _words(
    "a a1 a2 ar ar1 ar2 arr arr1 arr2 array ary b choices condition condlist element f filt fp m mask p prototype v val"
    " vals x x1 x2 xp y z weights to_begin to_end prepend append values"
)
_SEQUENCES = _words("tup arrays args arys xi operands choicelist condlist keys choices varargs")
_FROM_HOST = _words("indices ind repeats bins q obj multi_index")

# Then functions: in which a plain number may stand for an operand; which make arrays from what the host has; whose
# answer is about arrays, and none; which wait for the device; and what they take for keywords.
_TAKE_NUMBERS = _words(
    "where clip isclose allclose full_like put putmask place fill_diagonal pad result_type diff ediff1d searchsorted"
    " can_cast append put_along_axis gradient einsum isscalar"
)
_TAKE_LISTS = _words("einsum pad")
_CREATION = _words("array asarray asanyarray ascontiguousarray asfortranarray asarray_chkfinite")
_ANSWERS = _words(
    "ndim shape size iscomplexobj isrealobj isscalar isfortran may_share_memory shares_memory can_cast result_type"
    " common_type min_scalar_type"
)
_WAITING = _words(
    "nonzero argwhere flatnonzero bincount histogram histogram2d histogramdd median nanmedian percentile quantile"
    " compress extract isin intersect1d union1d setdiff1d setxor1d unique unique_all unique_counts unique_inverse"
    " unique_values choose lexsort delete"
)
_ANYWHERE = _CREATION | _ANSWERS | _words("reshape ravel transpose swapaxes moveaxis squeeze expand_dims broadcast_to")
_KEYWORDS = {"einsum": {"dtype", "optimize"}, "meshgrid": {"indexing", "copy", "sparse"}}

# Last the methods of ufuncs: for which ufuncs they exist, for which dtypes, and their keywords.
_METHODS_OF = {
    "reduce": _words("add multiply"),
    "accumulate": _words("add multiply"),
    "reduceat": _words("add"),
    "at": _words("add subtract maximum minimum bitwise_and bitwise_or bitwise_xor"),
}
_AT_DTYPES = {"add": "iIlLqQefd", "subtract": "iIlLqQ"}
_METHOD_KEYWORDS = {
    "reduce": _words("axis dtype out keepdims"),
    "accumulate": _words("axis dtype out"),
    "reduceat": _words("axis dtype out"),
    "at": _words(""),
    "outer": _words("dtype out"),
}


@dataclass
class Counts:
    """What a program did to its device.

    Attributes
    ----------
    synchronizations : how often it waited for the device, which stops the pipeline
    uploads : how many host arrays went along unasked: operands and indices that were not moved beforehand
    calls : the functions and methods that were called, in order, each with the names of the keywords it was given
    """

    synchronizations: int = 0
    uploads: int = 0
    calls: list[tuple[str, tuple[str, ...]]] = field(default_factory=list, repr=False, compare=False)

    def called(self, name: str) -> int:
        """Return how often a function (`"matmul"`, `"linalg.inv"`, `"add.at"`, `"ndarray.sum"`) was called."""
        return sum(found == name for found, _ in self.calls)


_counters: list[Counts] = []


def _synchronize() -> None:
    for counts in _counters:
        counts.synchronizations += 1


def _upload() -> None:
    for counts in _counters:
        counts.uploads += 1


def _note(name: str, keywords: Any = ()) -> None:
    if _counters:
        call = name, tuple(keywords)
        for counts in _counters:
            counts.calls.append(call)


@contextlib.contextmanager
def counting() -> Iterator[Counts]:
    """Return a context that counts synchronizations, uploads and calls of stand-in arrays.

    Examples
    --------
    >>> from tapegrad.testing import counting, strict
    >>> with counting() as counts:
    ...     x = strict.ones(3)
    ...     total = float(x.sum())
    >>> counts
    Counts(synchronizations=1, uploads=0)
    >>> counts.calls
    [('ones', ()), ('ndarray.sum', ())]
    """
    counts = Counts()
    _counters.append(counts)
    try:
        yield counts
    finally:
        # By identity: two counts of equal values are equal.
        _counters[:] = [other for other in _counters if other is not counts]


# Devices


class CUDARuntimeError(RuntimeError):
    """The error of CUDA's own functions, with its number."""

    def __init__(self, status: int) -> None:
        super().__init__({101: "cudaErrorInvalidDevice: invalid device ordinal"}.get(status, f"error {status}"))
        self.status = status


class Device:
    """A device that stand-in arrays pretend to live on; as a context, the one that new arrays are made on.

    There are two, as if on a machine whose devices cannot read each other's memory.
    """

    current = 0
    count = 2

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = Device.current if device is None else int(device)
        self._before: list[int] = []

    def __enter__(self) -> Device:
        if not 0 <= self.id < Device.count:
            raise CUDARuntimeError(101)
        self._before.append(Device.current)
        Device.current = self.id
        return self

    def __exit__(self, *exception: object) -> None:
        Device.current = self._before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __int__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def synchronize(self) -> None:
        _synchronize()

    @property
    def mem_info(self) -> tuple[int, int]:
        return 1 << 30, 1 << 34


class MemoryPool:
    """What CuPy's pool tells of the memory that arrays take."""

    def used_bytes(self) -> int:
        alive = (a for a in gc.get_objects() if type(a) is StrictArray)
        return sum(a.nbytes for a in alive if a._base is None and a._where == Device.current)

    def total_bytes(self) -> int:
        return self.used_bytes()

    def free_all_blocks(self) -> None:
        pass


class Flags:
    """The memory layout of an array, with the three facts that CuPy knows."""

    def __init__(self, array: StrictArray) -> None:
        self.c_contiguous = bool(array._host.flags.c_contiguous)
        self.f_contiguous = bool(array._host.flags.f_contiguous)
        self.owndata = array._base is None

    def __getitem__(self, name: str) -> bool:
        known = {"C_CONTIGUOUS": self.c_contiguous, "F_CONTIGUOUS": self.f_contiguous, "OWNDATA": self.owndata}
        return known[name]


class StrictArray:
    """An array that behaves like `cupy.ndarray`, backed by a NumPy array.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import strict
    >>> x = strict.asarray(np.array([1.0, 2.0]))
    >>> np.exp(x).sum().shape
    ()
    >>> x + np.array([1.0, 2.0])
    Traceback (most recent call last):
    ...
    TypeError: Unsupported type <class 'numpy.ndarray'>
    """

    __slots__ = ("__weakref__", "_base", "_host", "_where")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    _host: np.ndarray[Any, Any]
    _base: StrictArray | None
    _where: int

    def __init__(self, host: np.ndarray[Any, Any], base: StrictArray | None = None) -> None:
        if host.dtype.char not in _DTYPES:
            raise ValueError(f"Unsupported dtype {host.dtype}")
        self._host = host
        self._base = base
        self._where = Device.current if base is None else base._where

    # What it is

    @property
    def dtype(self) -> Any:
        return self._host.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @property
    def ndim(self) -> int:
        return self._host.ndim

    @property
    def size(self) -> int:
        return self._host.size

    @property
    def itemsize(self) -> int:
        return self._host.itemsize

    @property
    def nbytes(self) -> int:
        return self._host.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self._host.strides

    @property
    def base(self) -> StrictArray | None:
        return self._base

    @property
    def flags(self) -> Flags:
        return Flags(self)

    @property
    def device(self) -> Device:
        return Device(self._where)

    @property
    def T(self) -> StrictArray:  # noqa: N802 - CuPy's name
        return self if self.ndim < 2 else _view(self._host.T, self)

    @property
    def mT(self) -> StrictArray:  # noqa: N802 - CuPy's name
        return _view(self._host.mT, self)

    @property
    def real(self) -> StrictArray:
        return _view(self._host.real, self) if self.dtype.kind == "c" else self

    @real.setter
    def real(self, value: Any) -> None:
        self._host.real = _operand(value)

    @property
    def imag(self) -> StrictArray:
        return _view(self._host.imag, self) if self.dtype.kind == "c" else StrictArray(np.zeros_like(self._host))

    @imag.setter
    def imag(self, value: Any) -> None:
        self._host.imag = _operand(value)

    # What leaves the device

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        _synchronize()
        if out is not None:
            out[...] = self._host
            return out
        return np.array(self._host, order=order)  # type: ignore[call-overload]

    def set(self, arr: Any, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise (TypeError if arr.dtype != self.dtype else ValueError)("Shape or dtype mismatch")
        self._host[...] = arr

    def item(self) -> Any:
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        return self.get().tobytes(order)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> Any:
        return _from_host, (self.get(),)

    def __copy__(self) -> StrictArray:
        return StrictArray(_here(self).copy())

    def __deepcopy__(self, memo: Any) -> StrictArray:
        with Device(self._where):
            return StrictArray(self._host.copy())

    # Other libraries believe it to be in the host's memory, where it is indeed.

    def __dlpack__(self, **keywords: Any) -> Any:
        keywords.pop("stream", None)
        return self._host.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self._host.__dlpack_device__()
        return device

    # What it contains

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[StrictArray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, index: Any) -> StrictArray:
        _note("ndarray.__getitem__")
        index, kind = _index(index, self.shape)
        found = (self._host if kind == "basic" else _here(self))[index]
        return _view(found, self) if kind == "basic" else StrictArray(_owned(found))

    def __setitem__(self, index: Any, value: Any) -> None:
        _note("ndarray.__setitem__")
        value = _operand(value)
        index, kind = _index(index, self.shape)
        if kind != "integer":
            _here(self)[index] = value
            return
        # Of several writes to one entry, CuPy lets any win. Here the first wins, so that nobody counts on the last.
        places = np.arange(self.size).reshape(self.shape)[index]
        values = np.broadcast_to(np.asarray(value), places.shape)
        flat = self._host.reshape(-1)
        flat[places.ravel()[::-1]] = values.ravel()[::-1]
        self._host[...] = flat.reshape(self.shape)

    def scatter_add(self, slices: Any, value: Any) -> None:
        _ufunc_method(np.add, "at", (self, slices, value), {})

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        name = str(ufunc.__name__)
        # CuPy looks for functions of these names, in its own namespace first, and does not ask whose the ufunc is.
        ufunc = getattr(np, name, None) if _has_ufunc(name) else ufunc
        if not _has_ufunc(name) and name not in _special_names():
            return NotImplemented
        for x in (*inputs, *keywords.get("out", ())):
            # NumPy arrays are of a known type, and refused with a reason; with unknown types, others may know better.
            # That goes for the indices of `at` and `reduceat` too: lists, tuples and slices are of no known type
            # (_core/core.pyx:2001), and only CuPy's own functions take them.
            if not isinstance(x, (StrictArray, np.ndarray, *_NUMBERS)):
                return NotImplemented
        if "out" in keywords:
            if len(keywords["out"]) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            keywords["out"] = keywords["out"][0]
        if not _has_ufunc(name):
            return _special(name, ufunc, *inputs) if method == "__call__" and not keywords else NotImplemented
        if method == "__call__":
            return _call_ufunc(ufunc, inputs, keywords)
        return _ufunc_method(ufunc, method, inputs, keywords)

    def __array_function__(self, function: Any, types_: Any, args: Any, keywords: Any) -> Any:
        module = ".".join(function.__module__.split(".")[1:])
        name = f"{module}.{function.__name__}" if module else function.__name__
        if name not in _functions() or any(t not in (StrictArray, np.ndarray) for t in types_):
            return NotImplemented
        return _call(name, args, keywords)


def _from_host(host: Any) -> StrictArray:
    return StrictArray(host)


def _view(host: Any, of: StrictArray) -> StrictArray:
    return StrictArray(np.asarray(host), of if of._base is None else of._base)


def _owned(host: Any) -> np.ndarray[Any, Any]:
    """Return a result in memory of its own and in C order, as every kernel writes it."""
    host = np.asarray(host)
    return host if host.base is None and host.flags.c_contiguous else host.copy(order="C")


def _wrap(result: Any, sources: Sequence[StrictArray] = (), viewing: bool = True) -> Any:
    """Return what NumPy gave as CuPy gives it: arrays for scalars, views of `sources` with their base, plain tuples."""
    if isinstance(result, (np.ndarray, np.generic)):
        if viewing and isinstance(result, np.ndarray):
            for source in sources:
                if result is source._host:
                    return source
                if result.size and np.may_share_memory(result, source._host):
                    return _view(result, source)
        return StrictArray(_owned(result))
    if isinstance(result, (tuple, list)):
        entries = [_wrap(entry, sources, viewing) for entry in result]
        return entries if isinstance(result, list) else tuple(entries)
    if isinstance(result, (bool, int, float, complex)):
        return StrictArray(np.asarray(result))
    return result


def _here(array: StrictArray) -> Any:
    """Return what computes in place of an array, refusing one that is not on the current device."""
    if array._where != Device.current:
        raise ValueError(
            f"The device where the array resides ({array._where}) is different from the current device "
            f"({Device.current}). Peer access is unavailable between these devices."
        )
    return array._host


def _operand(value: Any) -> Any:
    """Return what computes in place of an operand, refusing what CuPy refuses."""
    if isinstance(value, StrictArray):
        return _here(value)
    if isinstance(value, _NUMBERS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _index(index: Any, shape: tuple[int, ...]) -> tuple[Any, str]:
    """Return an index for NumPy with CuPy's meaning, and its kind: basic, integer (arrays) or mask."""
    entries = list(index) if isinstance(index, tuple) else [index]
    made: list[Any] = []
    arrays = masks = 0
    for entry in entries:
        if isinstance(entry, StrictArray):
            entry = _here(entry)
        elif isinstance(entry, (list, np.ndarray, bool, np.bool_)):
            _upload()
            entry = np.asarray(entry)
            entry = entry.astype(np.int32) if entry.size == 0 and entry.dtype.kind == "f" else entry
        elif not isinstance(entry, (int, np.integer, slice)) and entry is not None and entry is not Ellipsis:
            raise IndexError(
                f"got {type(entry).__name__} as an index; integers, slices, None, ... and arrays are valid"
            )
        elif isinstance(entry, slice) and any(
            isinstance(e, StrictArray) for e in (entry.start, entry.stop, entry.step)
        ):
            raise TypeError("slice indices must be integers or None")
        if isinstance(entry, np.ndarray):
            if entry.dtype.kind not in "biu":
                raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {entry.dtype})")
            arrays += 1
            masks += entry.dtype.kind == "b"
        made.append(entry)
    if masks:
        if arrays > 1:
            raise ValueError("currently, CuPy only supports slices that consist of one boolean array.")
        _synchronize()
        return tuple(made), "mask"
    if arrays:
        return tuple(_around(made, shape)), "integer"
    return (*made, *(() if any(entry is Ellipsis for entry in made) else (Ellipsis,))), "basic"


def _around(entries: list[Any], shape: tuple[int, ...]) -> Iterator[Any]:
    """Give index arrays wrapped around their axes: CuPy never finds an index out of bounds."""
    used = sum(entry is not None and entry is not Ellipsis for entry in entries)
    axis = 0
    for entry in entries:
        if isinstance(entry, np.ndarray) and shape[axis]:
            yield entry % shape[axis]
        else:
            yield entry
        axis += len(shape) - used if entry is Ellipsis else entry is not None


# Ufuncs


@functools.cache
def _loops() -> dict[str, list[str]]:
    return {name: loops for name, *loops in map(str.split, _cupy_table.UFUNCS.splitlines())}


def _has_ufunc(name: str) -> bool:
    return name in _loops() or (name in _functions() and isinstance(getattr(np, name, None), np.ufunc))


@functools.cache
def _loop_exists(name: str, kinds: tuple[Any, ...]) -> bool:
    """Return whether CuPy has a loop for operands of these dtypes, or types of Python numbers, which adapt."""
    return _fitting(_loops()[name], kinds) is not None


def _fitting(loops: Sequence[str], kinds: Sequence[Any]) -> str | None:
    """Return the first loop for operands of these kinds."""
    return next((loop for loop in loops if all(map(_takes, loop.partition("->")[0], kinds))), None)


def _takes(dtype: str, kind: Any) -> bool:
    if dtype == "E":
        return kind in (bool, int, float) or getattr(kind, "char", "") == "E"
    if isinstance(kind, np.dtype):
        return np.can_cast(kind, dtype)
    return np.dtype(dtype).kind in {bool: "biufc", int: "iufc", float: "fc", complex: "c"}[kind]


def _call_ufunc(ufunc: Any, inputs: Sequence[Any], keywords: dict[str, Any]) -> Any:
    name = ufunc.__name__
    _note(name, keywords)
    for keyword in keywords:
        if keyword not in ("out", "dtype", "casting") and not (
            ufunc.signature and keyword in ("axes", "axis", "keepdims")
        ):
            raise TypeError(f"Wrong arguments {{{keyword!r}}}")
    hosts = [_operand(x) for x in inputs]
    out = keywords.get("out")
    if out is not None:
        if not isinstance(out, StrictArray):
            raise TypeError(f"Unsupported type {type(out)}")
        keywords = keywords | {"out": out._host}
    if ufunc.signature is None:
        known = tuple(x.dtype if isinstance(x, (np.ndarray, np.generic)) else type(x) for x in hosts[: ufunc.nin])
        if not _loop_exists(name, known):
            raise TypeError(f"Wrong type {known} of arguments for cupy_{name}")
        narrow = next((kind for kind in known if getattr(kind, "char", "") == "E"), None)
        if narrow is not None:
            # NumPy knows only dtypes of its own to which numbers adapt.
            hosts = [np.asarray(x, narrow) if type(x) in (bool, int, float) else x for x in hosts]
    elif not all(isinstance(x, np.ndarray) for x in hosts):
        raise TypeError(f"{name} takes arrays")
    with np.errstate(all="ignore"):
        result = ufunc(*hosts, **keywords)
    return out if out is not None else _wrap(result, viewing=False)


def _ufunc_method(ufunc: Any, method: str, inputs: Sequence[Any], keywords: dict[str, Any]) -> Any:
    name = ufunc.__name__
    _note(f"{name}.{method}", keywords)
    if name not in _METHODS_OF.get(method, {name}):
        raise NotImplementedError(f"`{name}.{method}` is not supported yet")
    for keyword in keywords:
        if keyword not in _METHOD_KEYWORDS[method]:
            raise TypeError(f"{method}() got an unexpected keyword argument {keyword!r}")
    if method == "outer":
        a, b = (x if isinstance(x, StrictArray) else StrictArray(np.asarray(_operand(x))) for x in inputs)
        return _call_ufunc(ufunc, (a[(..., *(None,) * b.ndim)], b), keywords)
    target = inputs[0]
    if not isinstance(target, StrictArray):
        raise TypeError(f"Unsupported type {type(target)}")
    rest = list(inputs[1:])
    if method == "at":
        if target.dtype.char not in _AT_DTYPES.get(name, _DTYPES):
            raise TypeError(f"{name}.at does not support {target.dtype}")
        rest = [_index(rest[0], target.shape)[0], *map(_operand, rest[1:])]
        if name == "add" and target.dtype.kind == "f":
            return _in_any_order(_here(target), *rest)
    elif method == "reduceat":
        if not isinstance(rest[0], StrictArray):
            _upload()
        rest = [_here(rest[0]) if isinstance(rest[0], StrictArray) else rest[0], *rest[1:]]
        return StrictArray(_differences_of_sums(_here(target), *rest, **keywords))
    out = keywords.get("out")
    keywords = {key: _here(value) if isinstance(value, StrictArray) else value for key, value in keywords.items()}
    with np.errstate(all="ignore"):
        result = getattr(ufunc, method)(_here(target), *rest, **keywords)
    return out if out is not None else _wrap(result, viewing=False)


def _differences_of_sums(target: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """Return what add.reduceat gives in CuPy: differences of running sums (_core/_routines_indexing.pyx:1252)."""
    bounds = np.append(indices, target.shape[axis])
    with np.errstate(all="ignore"):
        sums = np.cumsum(target, axis, dtype)
        sums = np.insert(sums, 0, 0, axis)
        found = sums.take(bounds[1:], axis) - sums.take(bounds[:-1], axis)
    alone = (bounds[:-1] >= bounds[1:]).reshape(-1, *(1,) * (target.ndim - axis % target.ndim - 1))
    return np.where(alone, target.take(bounds[:-1], axis), found)


_atomic = np.random.default_rng(0)


def _in_any_order(target: Any, index: Any, values: Any) -> None:
    """Add as atomic additions do: in another order every time, so that nobody counts on the last bits."""
    places = np.arange(target.size).reshape(target.shape)[index]
    values = np.broadcast_to(values, places.shape)
    order = _atomic.permutation(places.size)
    flat = target.reshape(-1)
    np.add.at(flat, places.reshape(-1)[order], values.reshape(-1)[order])
    target[...] = flat.reshape(target.shape)


# Functions


_ABSENT = object()


@functools.cache
def _functions() -> dict[str, Callable[..., dict[str, Any]]]:
    """Return, by name, functions with CuPy's signatures that give the arguments they were called with, by name."""
    return {line.partition("(")[0]: _binder(line) for line in _cupy_table.FUNCTIONS.splitlines()}


@functools.cache
def _methods() -> dict[str, Callable[..., dict[str, Any]]]:
    return {line.partition("(")[0]: _binder(line) for line in _cupy_table.METHODS.splitlines()}


def _binder(line: str) -> Callable[..., dict[str, Any]]:
    """Return a function with the signature in `line` that gives its arguments by name, absent ones as `_ABSENT`."""
    name, _, parameters = line.partition("(")
    definition = ast.parse(f"def {name.rpartition('.')[2]}({parameters}: return locals()").body[0]
    assert isinstance(definition, ast.FunctionDef)
    absent = ast.copy_location(ast.Name("_ABSENT", ast.Load()), definition)
    definition.args.defaults = [absent for _ in definition.args.defaults]
    definition.args.kw_defaults = [default and absent for default in definition.args.kw_defaults]
    scope: dict[str, Any] = {"_ABSENT": _ABSENT}
    exec(compile(ast.Module([definition], []), "cupy", "exec"), scope)
    made: Callable[..., dict[str, Any]] = scope[definition.name]
    return made


def _argument(function: str, name: str, value: Any, sources: list[StrictArray]) -> Any:
    """Return what computes in place of an argument, refusing what CuPy refuses, and note arrays in `sources`."""
    if isinstance(value, StrictArray):
        sources.append(value)
        # Copies may come from anywhere, and views touch no memory.
        return value._host if function in _ANYWHERE else _here(value)
    if isinstance(value, (list, tuple)) and (
        name in _SEQUENCES or (name not in _OPERANDS and any(isinstance(v, StrictArray) for v in value))
    ):
        inner = "a" if name in _SEQUENCES else ""
        return type(value)(_argument(function, inner, entry, sources) for entry in value)
    if function in _CREATION or function in _ANSWERS:
        return value
    if isinstance(value, np.ndarray):
        if name not in _FROM_HOST:
            raise TypeError(f"Unsupported type {type(value)}")
        _upload()
    if name in _OPERANDS and (
        (isinstance(value, _NUMBERS) and function not in _TAKE_NUMBERS)
        or (isinstance(value, (list, tuple)) and function not in _TAKE_LISTS)
    ):
        raise TypeError(f"Unsupported type {type(value)}")
    if callable(value) and not isinstance(value, type):
        return lambda *args, **keywords: _bare(value(*_wrap(args), **keywords))
    return value


def _bare(value: Any) -> Any:
    return value._host if isinstance(value, StrictArray) else value


def _call(name: str, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """Call NumPy's function `name` with the arguments that CuPy's would take, and give what CuPy's would."""
    short = name.rpartition(".")[2]
    _note(name, keywords)
    bound = {key: value for key, value in _functions()[name](*args, **keywords).items() if value is not _ABSENT}
    _mind_differences(name, bound)
    sources: list[StrictArray] = []
    positional, by_name = _arguments(name, bound, sources)
    if _waits(short, bound) or (_checking and name in _SOLVERS):
        _synchronize()
    function = operator.attrgetter(name)(np)
    with np.errstate(all="ignore"):
        try:
            result = function(*positional, **by_name)
        except np.linalg.LinAlgError as error:
            result = _silent_failure(error, function, positional, by_name)
    if short == "where" and len(bound) == 3 and result.dtype.char == "E":
        result = result.astype(np.float32)  # the first loop that fits in _sorting/search.py:167
    out = bound.get("out")
    if isinstance(out, StrictArray):
        return out
    if short in _ANSWERS:
        return result
    if short in _CREATION and sources and sources[0]._where != Device.current:
        gaps = not (sources[0].flags.c_contiguous or sources[0].flags.f_contiguous)
        if gaps and bound.get("order", "C" if short == "ascontiguousarray" else None) != "C":
            raise NotImplementedError("CuPy cannot copy non-contiguous array between devices.")  # _core/core.pyx:888
        return StrictArray(_owned(result))
    return _wrap(result, sources, viewing=short != "array")


def _mind_differences(name: str, bound: dict[str, Any]) -> None:
    """Refuse arguments that CuPy refuses or understands otherwise, and change those that it understands otherwise."""
    short = name.rpartition(".")[2]
    if short.endswith("_like") and "shape" in bound and not bound["shape"]:
        del bound["shape"]  # `shape if shape else a.shape` in _creation/basic.py:107, 227, 294, 372
    if short in ("sort", "argsort"):
        _stable(bound.get("kind"))
    if short in ("nanvar", "nanstd") and "ddof" in bound:
        bound["ddof"] = int(bound["ddof"])  # an argument of type int64 in _core/_routines_statistics.pyx:746
    if short == "polyfit" and isinstance(bound.get("w"), StrictArray) and bound["y"].dtype.kind in "fc":
        y, w = bound["y"], bound["w"]._host
        bound["y"] = StrictArray(y._host.copy())
        y._host[...] = (y._host.T * w).T  # `rhs *= w` of the operand itself in lib/_routines_poly.py:270
    if short == "inner" and bound["a"].shape[-1:] == (0,) and bound["b"].ndim:
        raise ZeroDivisionError("integer division or modulo by zero")  # linalg/_product.py:321
    if short == "tensordot" and 0 in (bound["a"].ndim, bound["b"].ndim):
        axes = bound.get("axes", 2)
        if axes != 0 and axes != ((), ()):
            raise ValueError("An input is zero-dim while axes has dimensions")  # linalg/_product.py:385
    if name.startswith("fft.") and short.endswith(("n", "2")):
        _several_axes(bound)


def _stable(kind: Any) -> None:
    if kind not in (None, "stable", _ABSENT):  # _core/core.pyx:1128
        raise ValueError("kind can only be None or 'stable'")


def _several_axes(bound: dict[str, Any]) -> None:
    """Refuse transforms along several axes that CuPy computes otherwise than NumPy (fft/_fft.py:42, 212, 586)."""
    a: Any = bound["a"]
    s, axes = (None if bound.get(name, _ABSENT) is _ABSENT else bound[name] for name in ("s", "axes"))
    if 0 in a.shape:
        raise ValueError("Invalid number of FFT data points (0) specified.")
    if s is not None and -1 in s:
        raise ValueError("CuPy knows None for the length of an axis, and not -1")
    if s is not None and s == a.shape:
        raise ValueError("CuPy does not crop where a tuple equals the shape, not even a spectrum: give a list")
    if axes is not None and len({axis % a.ndim for axis in axes}) < len(axes):
        raise ValueError("CuPy crops and pads for all axes beforehand, and so transforms no axis twice")


def _arguments(name: str, bound: dict[str, Any], sources: list[StrictArray]) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments for NumPy's function: by position where CuPy demands them, and otherwise by name."""
    short = name.rpartition(".")[2]
    starred, keywords = _starred(name)
    positional: list[Any] = []
    by_name: dict[str, Any] = {}
    for parameter, value in bound.items():
        if parameter == keywords:
            for keyword in value:
                if keyword not in _KEYWORDS.get(short, value):
                    raise TypeError(f"Did not understand the following kwargs: {keyword}")
            by_name |= {keyword: _argument(short, keyword, entry, sources) for keyword, entry in value.items()}
        elif parameter == "blocking" or (parameter in ("prepend", "append") and value is None):
            continue
        elif parameter == starred:
            positional += _argument(short, parameter, value, sources)
        elif parameter in _required(name) or short == "where":
            positional.append(_argument(short, parameter, value, sources))
        else:
            by_name[parameter] = _argument(short, parameter, value, sources)
    return positional, by_name


def _waits(function: str, bound: dict[str, Any]) -> bool:
    """Return whether a call waits for the device."""
    if function == "where":
        return len(bound) == 1
    if function == "average":
        return bound.get("weights") is not None
    return function in _WAITING or (function == "repeat" and isinstance(bound["repeats"], StrictArray))


@functools.cache
def _required(name: str) -> frozenset[str]:
    """Return the parameters of a function that have no default, which are given by position."""
    function: Any = _functions()[name]
    code, defaults = function.__code__, function.__defaults__ or ()
    return frozenset(code.co_varnames[: code.co_argcount - len(defaults)])


@functools.cache
def _starred(name: str) -> tuple[str | None, str | None]:
    """Return the names under which a function takes any further arguments, by position and by name."""
    specification = inspect.getfullargspec(_functions()[name])
    return specification.varargs, specification.varkw


_checking: list[str] = []
_SOLVERS = _words(
    "linalg.cholesky linalg.eigh linalg.eigvalsh linalg.eig linalg.eigvals linalg.svd linalg.qr linalg.inv linalg.solve"
    " linalg.lstsq linalg.pinv linalg.det linalg.slogdet linalg.tensorsolve linalg.tensorinv"
)


@contextlib.contextmanager
def errstate(*, linalg: str = "ignore") -> Iterator[None]:
    """Return a context under which linear algebra that fails raises, `errstate(linalg="raise")`, as `cupyx.errstate`.

    To know that it failed it waits for the device.
    """
    before = list(_checking)
    _checking[:] = ["raise"] if linalg == "raise" else []
    try:
        yield
    finally:
        _checking[:] = before


def _silent_failure(error: Exception, function: Callable[..., Any], args: list[Any], keywords: dict[str, Any]) -> Any:
    """Return NaNs where CuPy's solvers fail without a word; errors about shapes are raised by CuPy too."""
    if _checking or not any(word in str(error) for word in ("Singular", "positive definite", "converge")):
        raise error
    harmless = [
        np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape) if i == 0 else a for i, a in enumerate(args)
    ]
    result = function(*harmless, **keywords)
    for array in result if isinstance(result, tuple) else (result,):
        array[...] = np.nan
    return result


# Methods and operators


def _in_place_method(name: str) -> Callable[..., None]:
    def method(self: StrictArray, *args: Any, **keywords: Any) -> None:
        _note(f"ndarray.{name}", keywords)
        bound = _methods()[name](self, *args, **keywords)
        _stable(bound.get("kind"))
        values = [_bare(value) for key, value in bound.items() if key != "self" and value is not _ABSENT]
        getattr(_here(self), name)(*values)

    return method


def _method(name: str) -> Callable[..., Any]:
    def method(self: StrictArray, *args: Any, **keywords: Any) -> Any:
        _note(f"ndarray.{name}", keywords)
        bound = _methods()[name](self, *args, **keywords)
        _stable(bound.get("kind"))
        del bound["self"]
        if name not in _ANYWHERE:
            _here(self)
        sources = [self]
        starred = bound.pop("shape", None) or bound.pop("axes", None)
        given = {
            key: _argument(f"ndarray.{name}", "a" if key in ("b", "v") else key, value, sources)
            for key, value in bound.items()
            if value is not _ABSENT and not (value is None and key in ("casting", "subok", "type", "copy", "keepdims"))
        }
        if name in ("nonzero", "compress", "choose") or (
            name == "repeat" and isinstance(bound["repeats"], StrictArray)
        ):
            _synchronize()
        with np.errstate(all="ignore"):
            if starred is not None:
                result = getattr(self._host, name)(*starred, **given)
            elif name in ("dot", "searchsorted", "astype", "compress", "choose", "take", "repeat", "swapaxes"):
                first = given.pop(next(iter(given)))
                if name == "swapaxes":
                    result = self._host.swapaxes(first, given["axis2"])
                else:
                    result = getattr(self._host, name)(first, **given)
            else:
                result = getattr(self._host, name)(**given)
        out = bound.get("out")
        return out if isinstance(out, StrictArray) else _wrap(result, sources)

    return method


def _defers(other: Any) -> bool:
    """Return whether CuPy leaves a binary operator to the other operand."""
    if hasattr(type(other), "__array_ufunc__"):
        return type(other).__array_ufunc__ is None
    return bool(getattr(other, "__array_priority__", 0) > StrictArray.__array_priority__)


def _attach() -> None:
    for name in _methods():
        if name in ("fill", "partition", "put", "sort"):
            setattr(StrictArray, name, _in_place_method(name))
        elif not hasattr(StrictArray, name) and name not in ("dump", "dumps", "tofile"):
            setattr(StrictArray, name, _method(name))
    names = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "pow": "power"}
    names |= {"floordiv": "floor_divide", "mod": "remainder", "divmod": "divmod", "matmul": "matmul"}
    names |= {"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift"}
    names |= {"rshift": "right_shift"}
    for name, ufunc_name in names.items():
        ufunc = getattr(np, ufunc_name)
        setattr(StrictArray, f"__{name}__", _operator(ufunc))
        setattr(StrictArray, f"__r{name}__", _reflected(ufunc))
        if name not in ("divmod", "matmul"):
            setattr(StrictArray, f"__i{name}__", _in_place(ufunc))
    for name, ufunc_name in {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal"}.items():
        setattr(StrictArray, f"__{name}__", _operator(getattr(np, ufunc_name)))
    for name, ufunc_name in {"gt": "greater", "ge": "greater_equal"}.items():
        setattr(StrictArray, f"__{name}__", _operator(getattr(np, ufunc_name)))
    for name, ufunc_name in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
        setattr(StrictArray, f"__{name}__", functools.partialmethod(_unary, getattr(np, ufunc_name)))


def _operator(ufunc: Any) -> Callable[..., Any]:
    def method(self: StrictArray, other: Any, *modulo: None) -> Any:
        return NotImplemented if _defers(other) else ufunc(self, other)

    return method


def _reflected(ufunc: Any) -> Callable[..., Any]:
    def method(self: StrictArray, other: Any, *modulo: None) -> Any:
        return ufunc(other, self)

    return method


def _in_place(ufunc: Any) -> Callable[..., Any]:
    def method(self: StrictArray, other: Any) -> Any:
        return _call_ufunc(ufunc, (self, other), {"out": self})

    return method


def _unary(self: StrictArray, ufunc: Any) -> Any:
    return ufunc(self)


_attach()


# The namespace


class Namespace(types.ModuleType):
    """What `cupy` is for CuPy arrays: functions under NumPy's names, as far as CuPy has them."""

    ndarray = StrictArray

    def __init__(self, name: str, prefix: str = "") -> None:
        super().__init__(name)
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        full = self._prefix + name
        if name.startswith("__"):
            raise AttributeError(name)
        if full in _functions():
            made: Any = functools.partial(_called, full)
        elif not self._prefix and name in _loops() and hasattr(np, name):
            made = StrictUfunc(getattr(np, name))
        elif not self._prefix and name in ("fft", "linalg", "lib"):
            made = Namespace(f"strict.{name}", f"{name}.")
        elif self._prefix == "lib." and name == "stride_tricks":
            made = Namespace("strict.lib.stride_tricks", "lib.stride_tricks.")
        elif not self._prefix and isinstance(getattr(np, name, None), (type, float, type(None))):
            made = getattr(np, name)
        else:
            raise AttributeError(f"module 'cupy' has no attribute {full!r}")
        setattr(self, name, made)
        return made


def _called(name: str, /, *args: Any, **keywords: Any) -> Any:
    return _call(name, args, keywords)


class StrictUfunc:
    """A ufunc of the namespace, with the methods that CuPy's have."""

    def __init__(self, ufunc: Any) -> None:
        self._ufunc = ufunc
        self.__name__ = self.name = ufunc.__name__
        self.nin, self.nout = ufunc.nin, ufunc.nout

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return _call_ufunc(self._ufunc, inputs, keywords)

    def __getattr__(self, method: str) -> Any:
        if method not in ("reduce", "accumulate", "reduceat", "at", "outer"):
            raise AttributeError(method)
        return lambda *inputs, **keywords: _ufunc_method(self._ufunc, method, inputs, keywords)


class Special(types.ModuleType):
    """What `cupyx.scipy.special` is for CuPy arrays: as many of SciPy's ufuncs as it has, which SciPy computes here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in _special_names():
            raise AttributeError(f"module 'cupyx.scipy.special' has no attribute {name!r}")
        scipy_special = importlib.import_module("scipy.special")
        # SciPy keeps the ufunc of two arguments under a name of its own.
        function = scipy_special._ufuncs._zeta if name == "zeta" else getattr(scipy_special, name)
        made = functools.partial(_special, name, function)
        setattr(self, name, made)
        return made


@functools.cache
def _special_names() -> dict[str, list[str]]:
    """Return the loops of the functions of `cupyx.scipy.special`, by name; none for what is no ufunc there."""
    return {name: loops for name, *loops in map(str.split, _cupy_table.SPECIAL.splitlines())}


def _special(name: str, function: Any, /, *inputs: Any, **keywords: Any) -> Any:
    """Compute what the kernel of `cupyx.scipy.special` computes, in the dtypes that it has."""
    _note(f"special.{name}", keywords)
    loops = _special_names()[name]
    if not loops:
        with np.errstate(all="ignore"):
            return _wrap(function(*(_bare(x) for x in inputs), **keywords), viewing=False)
    hosts = [_operand(x) for x in inputs]
    loop = _fitting(loops, [x.dtype if isinstance(x, (np.ndarray, np.generic)) else type(x) for x in hosts])
    if loop is None:
        raise TypeError(f"Wrong type of arguments for cupyx_scipy_special_{name}")
    takes, _, gives = loop.partition("->")
    with np.errstate(all="ignore"):
        found = function(*(np.asarray(x, dtype) for x, dtype in zip(hosts, takes, strict=True)))
    if len(gives) == 1:
        return StrictArray(np.array(found, gives))
    return tuple(StrictArray(np.array(each, dtype)) for each, dtype in zip(found, gives, strict=True))


class Linalg(types.ModuleType):
    """What `cupyx.scipy.linalg` is for CuPy arrays: the few functions that it has, which SciPy computes here."""

    def __getattr__(self, name: str) -> Any:
        line = next((line for line in _cupy_table.LINALG.splitlines() if line.startswith(f"{name}(")), None)
        if line is None:
            raise AttributeError(f"module 'cupyx.scipy.linalg' has no attribute {name!r}")
        made = functools.partial(_scipy_linalg, name, _binder(line))
        setattr(self, name, made)
        return made


def _scipy_linalg(name: str, bind: Callable[..., dict[str, Any]], /, *args: Any, **keywords: Any) -> Any:
    _note(f"scipy.linalg.{name}", keywords)
    sources: list[StrictArray] = []
    given = {
        key: _argument(name, "tup" if key == "lu_and_piv" else "a" if key == "b" else key, value, sources)
        for key, value in bind(*args, **keywords).items()
        if value is not _ABSENT
    }
    if name.startswith("lu") and any(a.ndim > 2 for a in sources):
        raise ValueError(f"{name} takes matrices, not stacks of them")
    function = getattr(importlib.import_module("scipy.linalg"), name)
    # Arrays go by position, because SciPy has other names for some.
    arrays = [given.pop(key) for key in ("a", "lu_and_piv", "b") if key in given]
    with np.errstate(all="ignore"):
        return _wrap(function(*arrays, **given), viewing=False)


class BitGenerator:
    """The state of a generator, which lies on the device as bytes: here the number of draws, and others."""

    def __init__(self, seed: Any) -> None:
        self._seed: Any = np.random.SeedSequence(seed).entropy
        self._state = StrictArray(np.zeros(48, np.int8))

    def next(self) -> np.random.Generator:
        """Return a source for one draw, and count it."""
        count = _here(self._state).view(np.int64)
        count[0] += 1
        return np.random.default_rng([self._seed, int(count[0])])


class Generator:
    """What `cupy.random.Generator` is: a seeded source of stand-in arrays, whose numbers are not those of CuPy."""

    def __init__(self, bit_generator: BitGenerator) -> None:
        self.bit_generator = bit_generator

    @property
    def _host(self) -> np.random.Generator:
        return self.bit_generator.next()

    def _give(self, values: Any, size: Any, dtype: Any) -> StrictArray:
        return StrictArray(np.asarray(values).astype(dtype).reshape(() if size is None else size))

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> StrictArray:
        _note("random.Generator.random")
        return self._give(self._host.random(size), size, dtype)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None, dtype: Any = np.float64) -> StrictArray:
        _note("random.Generator.uniform")
        return self._give(self._host.uniform(low, high, size), size, dtype)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> StrictArray:
        _note("random.Generator.standard_normal")
        return self._give(self._host.standard_normal(size), size, dtype)

    def integers(
        self, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64, endpoint: bool = False
    ) -> StrictArray:
        _note("random.Generator.integers")
        return self._give(self._host.integers(low, high, size, np.int64, endpoint), size, dtype)


def default_rng(seed: Any = None) -> Generator:
    """Return a generator of stand-in arrays."""
    return Generator(BitGenerator(seed))


def from_dlpack(array: Any, *, device: Any = None, copy: bool | None = None) -> StrictArray:
    """Return an array of another library as a stand-in array."""
    return StrictArray(np.from_dlpack(array))


def _device_count() -> int:
    return Device.count


_pool = MemoryPool()


strict = Namespace("strict")
"""The namespace that makes stand-in arrays: `strict.asarray(a)`, `strict.zeros(3)`, `strict.linalg.inv(x)`."""

# The parts of the two packages that are no functions of arrays.
vars(strict).update(
    __version__=_cupy_table.VERSION,
    from_dlpack=from_dlpack,
    get_default_memory_pool=lambda: _pool,
    random=types.SimpleNamespace(Generator=Generator, default_rng=default_rng),
    cuda=types.SimpleNamespace(
        Device=Device,
        runtime=types.SimpleNamespace(CUDARuntimeError=CUDARuntimeError, getDeviceCount=_device_count),
    ),
    cupyx=types.SimpleNamespace(
        errstate=errstate, scipy=types.SimpleNamespace(special=Special("special"), linalg=Linalg("linalg"))
    ),
)


@contextlib.contextmanager
def cuda_standin() -> Iterator[Namespace]:
    """Return a context in which the device "cuda" is the stand-in, so that a program for a GPU runs without one.

    Whatever in it CuPy would refuse raises here. There are two such devices, `"cuda:0"` and `"cuda:1"`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad.testing import counting, cuda_standin
    >>> with cuda_standin(), counting() as counts:
    ...     w = tg.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    ...     np.sum(w * w).backward()
    ...     w.grad.device
    'cuda:0'
    >>> counts
    Counts(synchronizations=0, uploads=0)
    """
    _array.CUDA.append(strict)
    try:
        yield strict
    finally:
        _array.CUDA.remove(strict)


# tapegrad takes arrays of the types in this table for arrays.
_array.register(StrictArray, strict)
