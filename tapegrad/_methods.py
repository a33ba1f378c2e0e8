"""The operators and ndarray methods of Tensor, attached from OPS: no derivative lives here."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ._array import device_of, explained, on_first_device, to_host
from ._hooks import register_hook, register_post_accumulate_grad_hook, retain_grad
from ._mode import MODE, OFF
from ._protocols import array_function, array_ufunc
from ._recorders import recorder
from ._tape import Leaf
from ._tensor import OPS, Tensor, assign, detached, wrap, wrapped, writable
from .errors import DtypeError
from .ops.products import matmul_on_device
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
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
# Methods whose parameters after the tensor are those of NumPy's function.
_SAME = (
    *("all", "any", "argmax", "argmin", "argpartition", "argsort", "choose", "clip", "compress", "conj", "conjugate"),
    *("copy", "cumprod", "cumsum", "diagonal", "dot", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat"),
    *("round", "searchsorted", "squeeze", "std", "sum", "swapaxes", "take", "trace", "var"),
)
_METADATA = {
    "dtype": "dtype",
    "shape": "shape",
    "ndim": "number of axes",
    "size": "number of elements",
    "itemsize": "bytes of one element",
    "nbytes": "bytes of all elements",
}


def _with_operator(function: Any, name: str) -> Callable[..., Any]:
    """Return the op of `function`, computed by Python's operator on the arrays.

    The results are the same, and on NumPy's scalars the operator takes a tenth of the time.
    """
    run = OPS[function]
    op = getattr(run, "op", None)
    if op is None or not hasattr(operator, name):
        return run
    return recorder(op, _product if name == "matmul" else getattr(operator, name))


def _product(a: Any, b: Any) -> Any:
    """Return `a @ b`: of two matrices by `dot`, which takes two thirds of the time where they are small."""
    return a.dot(b) if type(a) is type(b) is np.ndarray and a.ndim == b.ndim == 2 else a @ b


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        try:
            return wrapped(compare(self._array, detached(other)))
        except TypeError as error:
            raise explained(error, compare.__name__, (self, other)) from None

    return method


def _reflected(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        return run(other, self)

    return method


def _in_place(run: Callable[[Any, Any], Any], ufunc: Any) -> Callable[[Any, Any], Any]:
    mode_of = MODE.get

    def method(self: Tensor, other: Any) -> Any:
        # Updates of parameters: nothing is recorded, and nothing needs to be converted or allocated.
        if mode_of() is OFF and type(other) is Tensor and (self._record is None or type(self._record) is Leaf):
            a, b = self._array, other._array
            if type(b) is np.ndarray and b.dtype is a.dtype and b.dtype.char in "fd" and b.shape == a.shape:
                del a
                array = writable(self)
                self._array = ufunc(array, b, array)
                return self
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


def _reshape(self: Tensor, *shape: Any, **keywords: Any) -> Any:
    """Return the tensor in another shape of the same size, as `numpy.ndarray.reshape`."""
    return OPS[np.reshape](self, _shape_arguments(shape), **keywords)


def _transpose(self: Tensor, *axes: Any) -> Any:
    """Return the tensor with its axes permuted, by default reversed, as `numpy.ndarray.transpose`."""
    return OPS[np.transpose](self, _shape_arguments(axes)) if axes else OPS[np.transpose](self)


def _flatten(self: Tensor, order: str = "C") -> Any:
    """Return the tensor with one axis."""
    return OPS[np.reshape](self, -1) if order == "C" else OPS[np.ravel](self, order=order)


def _astype(self: Tensor, dtype: DtypeLike, copy: bool = True) -> Any:
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


def _number(convert: Callable[[Any], Any]) -> Callable[[Tensor], Any]:
    """Return the conversion to a Python number, refused where a gradient would be lost."""

    def method(self: Tensor) -> Any:
        self._refuse_if_tracked(f"{convert.__name__}()")
        return convert(self._array.item())

    return method


def _item(self: Tensor, *index: Any) -> Any:
    """Return the only element, or the one at `index`, as a Python number."""
    return self._array.item(*index)


def _tolist(self: Tensor) -> Any:
    """Return the values as nested lists of Python numbers."""
    return self._array.tolist()


def _len(self: Tensor) -> int:
    if not self.shape:
        raise TypeError("got len() of a 0-d tensor; use item() for its number")
    return self.shape[0]


def _iter(self: Tensor) -> Iterator[Tensor]:
    if not self.shape:
        raise TypeError("got iteration over a 0-d tensor; use item() for its number")
    return (self[i] for i in range(len(self)))


def _contains(self: Tensor, value: object) -> bool:
    return bool((self._array == detached(value)).any())


def _repr(self: Tensor) -> str:
    # Arrays print 'array(...)' and indent following lines by as much; 'tensor(' is one character longer.
    text = "tensor" + repr(to_host(self._array)).removeprefix("array").replace("\n", "\n ")
    notes = [] if self.device == "cpu" else [f"device={self.device!r}"]
    if isinstance(self._record, Leaf):
        notes.append("requires_grad=True")
    elif self._record is not None and self._record.op is not None:
        notes.append(f"op={self._record.op.name}")
    return text[:-1] + "".join(f", {note}" for note in notes) + ")"


def _str(self: Tensor) -> str:
    return str(to_host(self._array))


def _format(self: Tensor, spec: str) -> str:
    return format(self.item(), spec) if spec else str(self)


# Copies have the values and `requires_grad`, and no history.


def _rebuild(array: Any, requires_grad: bool) -> Tensor:
    result = wrap(array)
    if requires_grad:
        result._record = Leaf(array.shape, array.dtype)
    return result


def _copied(self: Tensor) -> Tensor:
    return _rebuild(self.data, self.requires_grad)


def _deepcopied(self: Tensor, memo: dict[int, Any]) -> Tensor:
    memo[id(self)] = result = _rebuild(self.data.copy(), self.requires_grad)
    if self.grad is not None:
        result.grad = wrap(self.grad.data.copy())
    return result


def _reduced(self: Tensor) -> Any:
    return _rebuild, (self.data, self.requires_grad)


def _dlpack(self: Tensor, **keywords: Any) -> Any:
    """Return a DLPack capsule of the array, for `from_dlpack` of another library; refused while it is tracked."""
    self._refuse_if_tracked("__dlpack__() (from_dlpack of another library)")
    return self.data.__dlpack__(**keywords)


def _metadata(name: str, what: str) -> property:
    return property(lambda self: getattr(self._array, name), doc=f"The array's {what}.")


def attach() -> None:
    """Give Tensor its operators and methods."""
    methods: dict[str, Any] = {}
    for name, function in _BINARY.items():
        run = _with_operator(function, name)
        methods[f"__{name}__"] = run
        # Sums and products are the same either way.
        methods[f"__r{name}__"] = run if name in ("add", "mul") else _reflected(run)
        if name != "divmod":
            methods[f"__i{name}__"] = _in_place(run, function)
    for name, function in _UNARY.items():
        methods[f"__{name}__"] = _with_operator(function, name)
    for name in _COMPARISONS:
        methods[f"__{name}__"] = _comparison(getattr(operator, name))
    methods["__getitem__"] = OPS["getitem"]
    methods |= {name: OPS[getattr(np, name)] for name in _SAME if getattr(np, name) in OPS}
    methods |= {"reshape": _reshape, "transpose": _transpose, "flatten": _flatten, "astype": _astype, "to": _to}
    methods |= {"sort": _sort, "fill": _fill, "cpu": lambda self: _to(self, device="cpu")}
    methods["device"] = property(lambda self: device_of(self._array), doc="Where the array lives: 'cpu' or 'cuda:N'.")
    methods["T"] = property(_transpose, doc="The tensor with its axes reversed.")
    methods["mT"] = property(
        lambda self: OPS[np.swapaxes](self, -1, -2), doc="The matrices in the last two axes, transposed."
    )
    methods["real"] = property(lambda self: OPS[np.real](self), doc="The real part.")
    methods["imag"] = property(lambda self: OPS[np.imag](self), doc="The imaginary part.")
    methods["flat"] = property(lambda self: iter(_flatten(self)), doc="An iterator over the entries, as 0-d tensors.")
    methods |= {name: _metadata(name, what) for name, what in _METADATA.items()}
    methods |= {f"__{kind.__name__}__": _number(kind) for kind in (float, int, complex)}
    methods |= {"item": _item, "tolist": _tolist, "__len__": _len, "__iter__": _iter, "__contains__": _contains}
    methods |= {"__repr__": _repr, "__str__": _str, "__format__": _format}
    methods |= {"register_hook": register_hook, "retain_grad": retain_grad}
    methods["register_post_accumulate_grad_hook"] = register_post_accumulate_grad_hook
    methods |= {"__array_ufunc__": array_ufunc, "__array_function__": array_function}
    methods |= {"__copy__": _copied, "__deepcopy__": _deepcopied, "__reduce__": _reduced}
    methods |= {"__dlpack__": _dlpack, "__dlpack_device__": lambda self: self.data.__dlpack_device__()}
    methods["__bool__"] = lambda self: bool(self._array)
    methods["__index__"] = lambda self: operator.index(self._array)
    methods["__hash__"] = lambda self: id(self)
    for name, method in methods.items():
        setattr(Tensor, name, method)
    on_first_device(_fold_products)


def _fold_products() -> None:
    """Let products on devices run as few large ones; only programs that meet a device ask whose arrays they are."""
    run = recorder(OPS[np.matmul].op, matmul_on_device)  # type: ignore[attr-defined]
    OPS[np.matmul] = Tensor.__matmul__ = run  # type: ignore[method-assign]
    Tensor.__rmatmul__ = _reflected(run)  # type: ignore[method-assign]
