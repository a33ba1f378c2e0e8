"""Array creation: functions that give tensors, and copies of other dtypes and devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._array import as_array, device_of, move, native, prototype_of
from .._array import from_dlpack as _from_dlpack
from .._op import linear
from .._tensor import OPS, Tensor, detached, wrap
from ..typing import Array, ArrayLike, DtypeLike, Shape
from ._domains import anything, case

__all__ = [
    "arange", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "ones", "ones_like",
    "zeros", "zeros_like",
]  # fmt: skip


def astype(x: Array, dtype: DtypeLike) -> Array:
    """Return `x` converted to `dtype`."""
    return x.astype(dtype)


def to_device(x: Array, device: str) -> Array:
    """Return `x` on `device`."""
    return move(x, device)


OPS["astype"] = linear(astype, lambda g, dtype: g, on=anything, cases=[case((2, 3), args=("complex128",))])
OPS["to_device"] = linear(
    to_device, lambda g, x_device, device: to_device(g, x_device), on=anything, cases=[case((2, 3), args=("cpu",))]
)


def tensor(
    data: ArrayLike, *, dtype: DtypeLike = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor with a copy of `data`.

    Parameters
    ----------
    data : an array, a number, or nested sequences of numbers or tensors; sequences that hold tensors are stacked,
        and the stacking is recorded
    dtype, device : converted to; by default those of `data`
    requires_grad : whether operations on it are recorded

    Raises
    ------
    DtypeError
        For object, string and datetime data, and for integers with `requires_grad`.
    LostGradientError
        If `data` is a tracked tensor: use `detach()` or `copy()`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensor([[1.0, 2.0]], requires_grad=True)
    tensor([[1., 2.]], requires_grad=True)
    """
    if type(data) in (list, tuple) and _holds_tensor(data):
        entries = [entry if isinstance(entry, Tensor) else tensor(entry, device=device) for entry in data]
        joined: Tensor = OPS["stack"](entries)
        joined = joined if dtype is None else joined.astype(dtype)
        return joined.detach().requires_grad_() if requires_grad and not joined.requires_grad else joined
    if isinstance(data, Tensor):
        data._refuse_if_tracked("tapegrad.tensor()")
        data = data.data
    array = as_array(data, dtype, device, copy=True)
    # Numbers are kept as NumPy's own scalars: arithmetic on them costs a tenth of arithmetic on 0-d arrays.
    result = wrap(array if array.ndim else array[()])
    result.requires_grad = requires_grad
    return result


def as_tensor(data: ArrayLike, *, dtype: DtypeLike = None, device: str | None = None) -> Tensor:
    """Return `data` as a tensor that shares its memory where possible; a tensor is returned as it is.

    Writing into the shared array behind the tensor's back changes saved residuals: do it only when no gradient that
    depends on them is still to be taken. `tapegrad.checked()` finds such writes.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> a = np.zeros(2)
    >>> t = tg.as_tensor(a)
    >>> a[0] = 1
    >>> t
    tensor([1., 0.])
    """
    if isinstance(data, Tensor):
        moved = data if device is None else data.to(device)
        return moved if dtype is None else moved.astype(dtype)
    if type(data) in (list, tuple) and _holds_tensor(data):
        return tensor(data, dtype=dtype, device=device)
    return wrap(as_array(data, dtype, device))


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """Return an array of another library (PyTorch, JAX, CuPy, ...) as a tensor, without a copy where that is possible.

    The other way, `torch.from_dlpack(t)` and `jax.numpy.from_dlpack(t)` take tensors, detached ones: history does not
    cross between libraries, so a tracked tensor is refused.

    Parameters
    ----------
    x : what has the methods `__dlpack__` and `__dlpack_device__`
    device : moved to, if given; otherwise the tensor is where `x` is
    copy : True for a copy always, False for none ever, None for one only where it must be

    Raises
    ------
    DeviceError, MissingPackageError
        If `x` is on a device that cannot be used, or copy=False and it is not on `device`.
    DtypeError
        For dtypes that no tensor can hold.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> a = np.array([1.0, 2.0])
    >>> t = tg.from_dlpack(a)
    >>> a[0] = 5
    >>> t
    tensor([5., 2.])
    """
    return wrap(native(_from_dlpack(x, device, copy)))


def _holds_tensor(data: Any) -> bool:
    return any(isinstance(entry, Tensor) or (type(entry) in (list, tuple) and _holds_tensor(entry)) for entry in data)


def _finish(array: Any, device: str | None, requires_grad: bool) -> Tensor:
    tensor = as_tensor(array, device=device)
    tensor.requires_grad = requires_grad
    return tensor


def zeros(
    shape: int | Shape, dtype: DtypeLike = None, *, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor of zeros.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.zeros((2, 2))
    tensor([[0., 0.],
            [0., 0.]])
    """
    return _finish(np.zeros(shape, dtype), device, requires_grad)


def ones(
    shape: int | Shape, dtype: DtypeLike = None, *, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor of ones.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.ones(3, requires_grad=True)
    tensor([1., 1., 1.], requires_grad=True)
    """
    return _finish(np.ones(shape, dtype), device, requires_grad)


def full(
    shape: int | Shape,
    fill_value: ArrayLike,
    dtype: DtypeLike = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor filled with a constant, which broadcasts.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.full(2, 7.0)
    tensor([7., 7.])
    """
    return _finish(np.full(shape, fill_value, dtype), device, requires_grad)


def empty(
    shape: int | Shape, dtype: DtypeLike = None, *, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor whose values are not set, to be filled by assignment.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.empty((2, 3)).shape
    (2, 3)
    """
    return _finish(np.empty(shape, dtype), device, requires_grad)


def eye(
    N: int,  # noqa: N803 - NumPy's name
    M: int | None = None,  # noqa: N803
    k: int = 0,
    dtype: DtypeLike = float,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a matrix of `N` rows and `M` columns with ones on the `k`-th diagonal and zeros elsewhere.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _finish(np.eye(N, M, k, dtype), device, requires_grad)


def arange(*limits: float, dtype: DtypeLike = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """Return evenly spaced numbers: `arange(stop)`, `arange(start, stop)` or `arange(start, stop, step)`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.arange(1.0, 2.0, 0.25)
    tensor([1.  , 1.25, 1.5 , 1.75])
    """
    return _finish(np.arange(*limits, dtype=dtype), device, requires_grad)


def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    dtype: DtypeLike = None,
    axis: int = 0,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return `num` evenly spaced numbers from `start` to `stop`, which is included if `endpoint`.

    Tracked ends are differentiated: the result is then a recorded one, and `requires_grad` has no effect.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    made = np.linspace(start, stop, num, endpoint=endpoint, dtype=dtype, axis=axis)
    return made if isinstance(made, Tensor) and made.requires_grad else _finish(made, device, requires_grad)


def _like(make: Any, prototype: ArrayLike, dtype: DtypeLike, shape: Any, device: Any, requires_grad: bool) -> Tensor:
    array = as_array(detached(prototype))
    like, shape = prototype_of(array, shape)
    tensor = wrap(make(like, dtype=dtype, shape=shape))
    return _finish(tensor, device_of(array) if device is None else device, requires_grad)


def zeros_like(
    a: ArrayLike,
    dtype: DtypeLike = None,
    shape: int | Shape | None = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of zeros with the shape, dtype and device of `a` where not given otherwise.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.zeros_like(tg.tensor([1.0, 2.0]))
    tensor([0., 0.])
    """
    return _like(np.zeros_like, a, dtype, shape, device, requires_grad)


def ones_like(
    a: ArrayLike,
    dtype: DtypeLike = None,
    shape: int | Shape | None = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor of ones with the shape, dtype and device of `a` where not given otherwise.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.ones_like(tg.tensor([1.0, 2.0]))
    tensor([1., 1.])
    """
    return _like(np.ones_like, a, dtype, shape, device, requires_grad)


def empty_like(
    a: ArrayLike,
    dtype: DtypeLike = None,
    shape: int | Shape | None = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor whose values are not set, with the shape, dtype and device of `a` where not given otherwise.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.empty_like(tg.zeros((2, 3))).shape
    (2, 3)
    """
    return _like(np.empty_like, a, dtype, shape, device, requires_grad)


def full_like(
    a: ArrayLike,
    fill_value: ArrayLike,
    dtype: DtypeLike = None,
    shape: int | Shape | None = None,
    *,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return a tensor filled with a constant, with the shape, dtype and device of `a` where not given otherwise.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.full_like(tg.zeros(2), 7.0)
    tensor([7., 7.])
    """

    def make(array: Array, **options: Any) -> Array:
        return np.full_like(array, fill_value, **options)

    return _like(make, a, dtype, shape, device, requires_grad)
