"""Array creation: functions that give tensors, and copies of other dtypes and devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._array import as_array, device_of, move
from .._op import linear
from .._tensor import OPS, Tensor, as_tensor, detached, wrap
from ..typing import Array, ArrayLike, DtypeLike, Shape
from ._domains import anything, case

__all__ = [
    "arange", "empty", "empty_like", "eye", "full", "full_like", "linspace", "ones", "ones_like", "zeros", "zeros_like",
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
    tensor = wrap(make(array, dtype=dtype, shape=shape))
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
