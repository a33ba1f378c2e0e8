"""Recorders: what runs in place of an op's function where a tensor may be among the arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ._array import DOUBLE, LIBRARIES, MENDED, NUMBERS, as_array, explained, is_array, native
from ._mode import MODE, OFF
from ._tape import Record, next_position, space_of
from ._tensor import Tensor, detached, wrap, wrapped
from .errors import UnsupportedError

if TYPE_CHECKING:
    from ._op import Op

_NUMBER = space_of((), DOUBLE(0).dtype)


_new = object.__new__


def _operand(value: Any) -> Any:
    """Return a constant operand as an array or Python number, or NotImplemented for what is neither."""
    if type(value) in NUMBERS:
        return value
    if type(value) in LIBRARIES:
        return native(value)
    if is_array(value):
        return value if value.shape == () else as_array(value)
    if isinstance(value, (list, tuple, range)):
        return as_array(value)
    return as_array(value.__array__()) if hasattr(value, "__array__") else NotImplemented


def recorded(op: Op, out: Any, x: Any, for_x: Any, y: Record | None = None, for_y: Any = None) -> Tensor:
    """Return the tensor of `out`, the one result of `op` on inputs with the records `x` and `y`, recorded.

    For ops that are called so often that they have a recorder of their own, which takes the common way alone.
    """
    made = Record()
    made.op = op
    made.x = x
    made.y = y
    made.for_x = for_x
    made.for_y = for_y
    made.space = space_of(out.shape, out.dtype)
    made.position = next_position()
    result = _new(Tensor)
    result._array = out
    result._record = made
    return result


def recorder(op: Op, function: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Return what runs instead of `op`'s function where a tensor may be among the arguments.

    Those for one and two arrays without settings, which training calls thousands of times, are the leanest.
    """
    count = len(op.formulas)
    single = len(op.outputs) == 1 and not op.many and op.jvp is None and None not in op.formulas
    bare = single and op.trusted and not op.known and count <= 2
    if bare:
        made = (_unary, _binary)[count - 1](op, function or op.function)
    else:
        made = _one(op) if single and count == 1 else _any(op)
    made.op = op  # type: ignore[attr-defined]
    return made


def _keeps(op: Op, k: int) -> tuple[bool, bool, bool, bool | None]:
    """Return whether formula `k` keeps just the first input, the second, or the result, or other things (or None)."""
    names = op.names[k]
    x, y = (*op.inputs, "")[:2]
    keeps = (names == (x,), names == (y,), names == op.outputs)
    return (*keeps, (names != () and not any(keeps)) or None)


def _unary(op: Op, function: Callable[..., Any]) -> Callable[..., Any]:
    keeps_x, _, keeps_out, keeps = _keeps(op, 0)
    elementwise = op.kind == "unary"
    mode_of = MODE.get

    def record(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return function(x)
        a = x._array
        mode = mode_of()
        if mode is not None and mode is not OFF:
            return op.play(mode, (x,), (a,), functools.partial(function, a), ((), {}))
        try:
            out = function(a)
        except MemoryError as error:
            raise explained(error, op.name, (a,)) from None
        parent = x._record
        result = _new(Tensor)
        result._array = out
        if parent is None or mode is OFF:
            result._record = None
            return result
        made = Record()
        made.op = op
        made.x = parent
        made.y = made.for_y = None
        made.for_x = a if keeps_x else out if keeps_out else op.keepers[0](a, None, out) if keeps else None
        made.space = parent.space if elementwise and a.dtype is out.dtype else space_of(out.shape, out.dtype)
        made.position = next_position()
        result._record = made
        return result

    return record


def _binary(op: Op, function: Callable[..., Any]) -> Callable[..., Any]:
    x_keeps_x, x_keeps_y, x_keeps_out, x_keeps = _keeps(op, 0)
    y_keeps_x, y_keeps_y, y_keeps_out, y_keeps = _keeps(op, 1)
    mode_of = MODE.get
    exact = not op.broadcasts
    matrices = op.kind == "multilinear"

    def record(x: Any, y: Any) -> Any:
        if type(x) is Tensor:
            a, p = x._array, x._record
        elif type(x) is float or type(x) is int:
            a, p = x, None
        else:
            a, p = (x._array, x._record) if isinstance(x, Tensor) else (_operand(x), None)
        if type(y) is Tensor:
            b, q = y._array, y._record
        elif type(y) is float or type(y) is int:
            b, q = y, None
        else:
            b, q = (y._array, y._record) if isinstance(y, Tensor) else (_operand(y), None)
        if a is NotImplemented or b is NotImplemented:
            return NotImplemented
        if exact:
            # NumPy makes arrays of numbers here, with their own dtype.
            a = as_array(a) if type(a) in NUMBERS else a
            b = as_array(b) if type(b) in NUMBERS else b
        mode = mode_of()
        try:
            if mode is not None and mode is not OFF and (isinstance(x, Tensor) or isinstance(y, Tensor)):
                return op.play(mode, (x, y), (a, b), functools.partial(function, a, b), ((), {}))
            out = function(a, b)
        except MENDED as error:
            raise explained(error, op.name, (a, b)) from None
        result = _new(Tensor)
        result._array = out
        if mode is OFF or (p is None and q is None):
            result._record = None
            return result if isinstance(x, Tensor) or isinstance(y, Tensor) else out
        result._record = made = Record()
        made.op = op
        made.x = p
        made.y = q
        if p is None:
            made.for_x = None
        else:
            made.for_x = (
                b if x_keeps_y else a if x_keeps_x else out if x_keeps_out else x_keeps and op.keepers[0](a, b, out)
            )
        if q is None:
            made.for_y = None
        else:
            made.for_y = (
                a if y_keeps_x else b if y_keeps_y else out if y_keeps_out else y_keeps and op.keepers[1](a, b, out)
            )
        # The result's space is its inputs' wherever that is seen at a glance.
        tracked: Any = q if p is None else p
        space = tracked.space
        if type(out) is DOUBLE:
            space = _NUMBER
        elif exact or matrices or space is None or out.dtype is not space[1]:
            space = space_of(out.shape, out.dtype)
        elif p is not None and q is not None:
            if q.space is not space:
                space = space_of(out.shape, out.dtype)
        else:
            c = a if p is None else b
            if type(c) is not float and type(c) is not int and getattr(c, "shape", None) != space[0]:
                space = space_of(out.shape, out.dtype)
        made.space = space
        made.position = next_position()
        return result

    return record


def _one(op: Op) -> Callable[..., Any]:
    """Return the recorder of a function of one array with settings."""
    function = op.function
    trusted = op.trusted
    mode_of = MODE.get

    def record(x: Any = None, /, *rest: Any, **kwargs: Any) -> Any:
        if x is None:
            (x, *_), kwargs = _positional(op, (), kwargs)
        for value in rest:
            if isinstance(value, Tensor):
                rest = tuple(_settings(op, rest, kwargs))
                break
        if kwargs:
            rest = tuple(_settings(op, rest, kwargs))
        if not isinstance(x, Tensor):
            return function(x, *rest, **kwargs)
        a = x._array
        mode = mode_of()
        if mode is not None and mode is not OFF:
            return op.play(mode, (x,), (a,), functools.partial(function, a, *rest, **kwargs), (rest, kwargs))
        try:
            # Unpacking no keywords takes its time too.
            out = function(a, *rest, **kwargs) if kwargs else function(a, *rest)
        except MemoryError as error:
            raise explained(error, op.name, (a,)) from None
        parent = x._record
        if parent is None or mode is OFF:
            return wrapped(out)
        if kwargs or len(rest) > op.open:
            op.check_settings(rest, kwargs)
        made = Record()
        made.op = op
        made.x = parent
        made.y = made.for_y = None
        made.for_x = op.keepers[0](a, None, out, *rest, **kwargs) if kwargs else op.keepers[0](a, None, out, *rest)
        made.space = space_of(out.shape, out.dtype) if trusted else op.space(out)
        made.position = next_position()
        result = _new(Tensor)
        result._array = out
        result._record = made
        return result

    return record


def _any(op: Op) -> Callable[..., Any]:
    """Return the recorder of a function of any number of arrays, or of a sequence of arrays, with settings."""
    function = op.function
    count = len(op.inputs)
    leading = op.leading
    several = len(op.outputs) > 1
    partial = None in op.formulas
    mode_of = MODE.get

    def record(*args: Any, **kwargs: Any) -> Any:
        inputs: Sequence[Any]
        rest: Sequence[Any]
        if op.variadic:
            inputs, rest = (args[leading:], args[:leading]) if leading else (args[0], args[1:])
            inputs = inputs if isinstance(inputs, (list, tuple)) else tuple(inputs)
        else:
            if len(args) < count:
                args, kwargs = _positional(op, args, kwargs)
            inputs, rest = args[:count], args[count:]
        arrays: list[Any] = []
        parents: list[Record | None] = []
        tensors = tracked = False
        for x in inputs:
            if isinstance(x, Tensor):
                tensors = True
                arrays.append(x._array)
                parents.append(x._record)
                tracked = tracked or x._record is not None
            else:
                arrays.append(x if x is None or type(x) in NUMBERS else _constant(x))
                parents.append(None)
        if partial and tracked:
            parents = op.with_rules(parents)
            tracked = any(p is not None for p in parents)
        if rest or kwargs:
            rest = _settings(op, rest, kwargs)
        operands = [arrays] if op.variadic and not leading else arrays
        given = (*rest, *operands) if leading else (*operands, *rest)
        mode = mode_of()
        try:
            if mode is OFF or not tensors or (mode is None and not (tracked and several)):
                out = function(*given, **kwargs)
            else:
                return op.play(mode, inputs, arrays, functools.partial(function, *given, **kwargs), (rest, kwargs))
        except MENDED as error:
            raise explained(error, op.name, arrays) from None
        if not tensors:
            return out
        if not tracked or mode is OFF:
            return wrapped(out)
        if rest or kwargs:
            op.check_settings(rest, kwargs)
        if not op.broadcasts:
            arrays = [as_array(a) if type(a) in NUMBERS else a for a in arrays]
        made = Record()
        op.fill(made, parents, arrays, out, (rest, kwargs))
        return wrap(out, made)

    return record


def _constant(x: Any) -> Any:
    """Return an input that is no tensor as what the function and its rule take."""
    return x if is_array(x) else _operand(x)


def _positional(op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the call with inputs that were given by keyword moved to their positions."""
    names = op.parameters[len(args) : len(op.inputs)]
    if not all(name in kwargs for name in names):
        op.function(*args, **kwargs)  # NumPy's own complaint about what is missing
    return (*args, *(kwargs[name] for name in names)), {k: v for k, v in kwargs.items() if k not in names}


def _settings(op: Op, rest: Sequence[Any], kwargs: dict[str, Any]) -> Sequence[Any]:
    """Return settings with arrays in place of tensors, in `kwargs` too; a tracked one would lose its gradient."""
    for name, value in kwargs.items():
        if isinstance(value, Tensor):
            kwargs[name] = _setting(op, value)
    for value in rest:
        if isinstance(value, Tensor):
            refuse_positional_out(op.name, op.bound, rest)
            return [_setting(op, value) for value in rest]
    return rest


def refuse_positional_out(name: str, parameters: Sequence[str], args: Sequence[Any]) -> None:
    """Raise UnsupportedError for a tensor that is given as `out` by position: it would be written unseen."""
    if "out" in parameters[: len(args)] and isinstance(args[parameters.index("out")], Tensor):
        raise UnsupportedError(f"{name} got a tensor as out by position; give it by keyword: out=tensor")


def _setting(op: Op, value: Any) -> Any:
    if isinstance(value, Tensor) and value.requires_grad:
        raise UnsupportedError(f"{op.name} has no derivative by this argument; give it a constant, or detach()")
    return detached(value)
