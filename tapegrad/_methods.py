"""The operators and ndarray methods of Tensor, attached from OPS: no derivative lives here."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ._op import recorder
from ._tensor import OPS, Tensor, assign, wrap
from .errors import DtypeError
from .typing import ArrayLike, DtypeLike

_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "divmod": np.divmod,
    "pow": np.power,
    "matmul": np.matmul,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
_UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
# Methods whose parameters after the tensor are those of NumPy's function.
_SAME = {
    name: getattr(np, name)
    for name in """all any argmax argmin argpartition argsort choose clip compress copy cumprod cumsum diagonal dot max
    mean min nonzero prod ravel repeat round searchsorted squeeze std sum swapaxes take trace var""".split()
} | {"conj": np.conjugate, "conjugate": np.conjugate}


def _with_operator(function: Any, name: str) -> Callable[..., Any]:
    """Return the op of `function`, computed by Python's operator on the arrays.

    The results are the same, and on NumPy's scalars the operator takes a tenth of the time.
    """
    run = OPS[function]
    op = getattr(run, "op", None)
    return run if op is None or not hasattr(operator, name) else recorder(op, getattr(operator, name))


def _reflected(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        return run(other, self)

    return method


def _in_place(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        result = run(self, other)
        if result is NotImplemented:
            return result
        if result.shape != self.shape or not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise DtypeError(
                f"got an in-place operation whose result has shape {result.shape} and dtype {result.dtype}, expected "
                f"{self.shape} and {self.dtype}; write t = t + v instead of t += v"
            )
        assign(self, result, ...)
        return self

    return method


def _shape_arguments(numbers: tuple[Any, ...]) -> Any:
    """Return the shape in `t.reshape(2, 3)` and `t.reshape((2, 3))` alike."""
    return numbers[0] if len(numbers) == 1 else numbers


def _reshape(self: Tensor, *shape: Any, **keywords: Any) -> Tensor:
    """Return the tensor in another shape of the same size, as `numpy.ndarray.reshape`."""
    return OPS[np.reshape](self, _shape_arguments(shape), **keywords)


def _transpose(self: Tensor, *axes: Any) -> Tensor:
    """Return the tensor with its axes permuted, by default reversed, as `numpy.ndarray.transpose`."""
    return OPS[np.transpose](self, _shape_arguments(axes)) if axes else OPS[np.transpose](self)


def _flatten(self: Tensor, order: str = "C") -> Tensor:
    """Return the tensor with one axis."""
    return OPS[np.reshape](self, -1) if order == "C" else OPS[np.ravel](self, order=order)


def _astype(self: Tensor, dtype: DtypeLike, copy: bool = True) -> Tensor:
    """Return the tensor converted to `dtype`; gradients come back in its own dtype.

    Raises DtypeError where the conversion of a tracked tensor would lose its gradient: to integers or bool.
    """
    dtype = np.dtype(dtype)
    if dtype == self.dtype:
        # Tensors are values, so another tensor may share array and record; only a leaf needs a record of its own.
        return OPS[np.copy](self) if self.requires_grad and self.is_leaf else wrap(self._array, self._record)
    if self.requires_grad and dtype.kind in "biu":
        raise DtypeError(f"got dtype {dtype} for a tracked tensor, whose gradient would be lost; detach() it first")
    return OPS["astype"](self, dtype)


def _to(self: Tensor, *targets: Any, device: str | None = None, dtype: DtypeLike = None) -> Tensor:
    """Return the tensor on another device, in another dtype, or both: `t.to("cuda")`, `t.to(float)`, `t.to(other)`."""
    for target in targets:
        if isinstance(target, Tensor):
            device, dtype = target.device, target.dtype
        elif isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
            device = target
        else:
            dtype = target
    moved = self if device is None or device == self.device else OPS["to_device"](self, device)
    return moved if dtype is None or dtype == moved.dtype else _astype(moved, dtype)


def _sort(self: Tensor, axis: int = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    """Sort the tensor in place along an axis, as `numpy.ndarray.sort`; recorded, like assignment."""
    assign(self, OPS[np.sort](self, axis), ...)


def _fill(self: Tensor, value: ArrayLike) -> None:
    """Give every entry one value; recorded, like assignment."""
    assign(self, value, ...)



def _attach() -> None:
    attach: dict[str, Any] = {}
    for name, function in _BINARY.items():
        run = _with_operator(function, name)
        attach[f"__{name}__"] = run
        attach[f"__r{name}__"] = _reflected(run)
        if name != "divmod":
            attach[f"__i{name}__"] = _in_place(run)
    for name, function in _UNARY.items():
        attach[f"__{name}__"] = _with_operator(function, name)
    for name, function in _COMPARISONS.items():
        attach[f"__{name}__"] = OPS[function]
    attach["__getitem__"] = OPS["getitem"]
    attach |= {name: OPS[function] for name, function in _SAME.items() if function in OPS}
    attach |= {"reshape": _reshape, "transpose": _transpose, "flatten": _flatten, "astype": _astype, "to": _to}
    attach |= {"sort": _sort, "fill": _fill, "cpu": lambda self: _to(self, device="cpu")}
    attach["T"] = property(_transpose, doc="The tensor with its axes reversed.")
    attach["mT"] = property(lambda self: OPS[np.swapaxes](self, -1, -2), doc="The matrices in the last two axes, transposed.")
    attach["real"] = property(lambda self: OPS[np.real](self), doc="The real part.")
    attach["imag"] = property(lambda self: OPS[np.imag](self), doc="The imaginary part.")
    attach["flat"] = property(lambda self: iter(_flatten(self)), doc="An iterator over the entries, as 0-d tensors.")
    for name, method in attach.items():
        setattr(Tensor, name, method)


_attach()
