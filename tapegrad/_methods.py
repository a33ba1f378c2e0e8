"""The operators and ndarray methods of Tensor, attached from OPS: no derivative lives here."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ._array import move
from ._op import recorder
from ._tensor import OPS, Tensor, assign, wrap

# Operator name to NumPy's function. The operators compute with Python's own operator on the arrays: the same result,
# and far faster on NumPy's scalars.
_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.divide,
    "pow": np.power,
    "matmul": np.matmul,
}
_BINARY_UNTRACKED = {
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "divmod": np.divmod,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
_UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute}
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _reflected(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        return run(other, self)

    return method


def _in_place(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        result = run(self, other)
        if result is NotImplemented:
            return result
        assign(self, result, ...)
        return self

    return method


def _attach() -> None:
    for name, function in {**_BINARY, **_BINARY_UNTRACKED}.items():
        run = OPS[function]
        if name in _BINARY:
            run = recorder(run.op, getattr(operator, name))  # type: ignore[attr-defined]
        setattr(Tensor, f"__{name}__", run)
        setattr(Tensor, f"__r{name}__", _reflected(run))
        if name != "divmod":
            setattr(Tensor, f"__i{name}__", _in_place(run))
    for name, function in _UNARY.items():
        setattr(Tensor, f"__{name}__", recorder(OPS[function].op, getattr(operator, name)))  # type: ignore[attr-defined]
    for name, function in _COMPARISONS.items():
        setattr(Tensor, f"__{name}__", OPS[function])
    Tensor.__invert__ = OPS[np.invert]  # type: ignore[attr-defined]
    Tensor.__getitem__ = OPS["getitem"]  # type: ignore[attr-defined]


_attach()
_ = (move, wrap)
