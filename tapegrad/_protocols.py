"""NumPy's two protocols on tensors: which op runs in place of a function, and what its keywords mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _array
from ._array import as_array, device_of, is_array
from ._mode import MODE, Mode
from ._tensor import OPS, Tensor, assign, check_castable, detached, store, wrapped
from .errors import TapegradError, UnsupportedError
from .typing import DtypeLike

LATE: list[Callable[[], None]] = []
"""What registers the rows of packages that may be imported later; asked when a ufunc without a row is met."""


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
    if method == "__call__" and not keywords:
        op = OPS.get(ufunc)
        if op is not None:
            try:
                return op(*inputs)
            except Exception as error:
                raise _refusal(error, ufunc, inputs, {}) from error.__cause__
    key = ufunc if method == "__call__" else (ufunc, method)
    if key not in OPS:
        for register in LATE:
            register()
    op = OPS.get(key)
    if op is None:
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        return _without_rule(getattr(ufunc, method), name, inputs, keywords)
    try:
        if method != "__call__":
            return op(*inputs, **keywords)
        return _ufunc_with_keywords(op, ufunc, inputs, **keywords)
    except Exception as error:
        raise _refusal(error, getattr(ufunc, method), inputs, keywords) from error.__cause__


def array_function(self: Tensor, function: Any, types: Any, args: Any, keywords: Any) -> Any:
    op = OPS.get(function)
    if op is None:
        return _without_rule(function, function.__name__, args, keywords)
    target = keywords.pop("out", None)
    try:
        result = op(*args, **keywords)
    except Exception as error:
        raise _refusal(error, function, args, keywords) from error.__cause__
    if target is None:
        return result
    if isinstance(target, Tensor):
        return store(result, target)
    result._refuse_if_tracked(f"{function.__name__} into a plain array (out=)")
    check_castable(result, target)
    target[...] = result._array
    return target


def _unwrap(value: Any, name: str) -> Any:
    """Return `value` with arrays in place of tensors, inside lists, tuples and dicts too; refuse tracked ones."""
    if isinstance(value, Tensor):
        if value.requires_grad and (MODE.get() or Mode()).recording:
            raise UnsupportedError(
                f"{name} has no derivative rule for this argument, and it was given a tracked tensor; detach() it "
                "if no gradient is wanted, or write the function with others that have one"
            )
        return value.data
    if type(value) in (tuple, list):
        return type(value)(_unwrap(entry, name) for entry in value)
    if type(value) is dict:
        return {key: _unwrap(entry, name) for key, entry in value.items()}
    return value


def _refusal(error: Exception, function: Callable[..., Any], args: Any, keywords: Any) -> Exception:
    """Return what to raise where an op failed by `error`: NumPy's own exception for the same call, if it raises one."""
    error = _array.explained(error, function.__name__, (args, keywords))
    if isinstance(error, TapegradError) or any(device_of(a) != "cpu" for a in _array.arrays_in((args, keywords))):
        return error
    try:
        function(*_copied(args), **_copied(keywords))
    except Exception as own:
        return own
    return error


def _copied(value: Any) -> Any:
    """Return `value` with copies of their arrays in place of tensors and arrays, inside lists, tuples and dicts too."""
    if isinstance(value, Tensor) or is_array(value):
        return detached(value).copy()
    if type(value) in (tuple, list):
        return type(value)(map(_copied, value))
    return {key: _copied(entry) for key, entry in value.items()} if type(value) is dict else value


def _without_rule(function: Callable[..., Any], name: str, args: Any, keywords: Any) -> Any:
    """Run a function that no chapter lists on the arrays of untracked tensors."""
    return wrapped(function(*_unwrap(tuple(args), name), **_unwrap(keywords, name)))


def _ufunc_with_keywords(
    op: Callable[..., Any],
    ufunc: Any,
    inputs: tuple[Any, ...],
    out: tuple[Any, ...] | None = None,
    where: Any = True,
    dtype: DtypeLike = None,
    **others: Any,
) -> Any:
    """Run a ufunc's op with the keywords that every ufunc has, each in terms of other ops."""
    # Generalized ufuncs have keywords of their own, which their ops take.
    settings = {keyword: others.pop(keyword) for keyword in ("casting", "order", "subok") if keyword in others}
    if others and ufunc.signature is None:
        raise UnsupportedError(f"{ufunc.__name__} of a tensor does not support the keyword {next(iter(others))}")
    if others:
        op = OPS.get((ufunc, "axes"), op)
    if settings or dtype is not None or where is not True:
        # Whether NumPy takes them does not depend on the entries, so it is asked without any.
        masked = {} if where is True else {"where": _without_entries(where, ufunc)}
        targets = None if out is None or ufunc.signature else tuple(_without_entries(target, ufunc) for target in out)
        ufunc(*(_without_entries(x, ufunc) for x in inputs), out=targets, dtype=dtype, **settings, **masked)
    if dtype is not None:
        inputs = tuple(x.astype(dtype) if isinstance(x, Tensor) or is_array(x) else x for x in inputs)
    if out is None:
        if where is not True:
            raise UnsupportedError(
                f"{ufunc.__name__} with where= and no out= leaves entries undefined; give out=, or use np.where"
            )
        return op(*inputs, **others)
    if where is not True and len(out) == 1 and isinstance(out[0], Tensor):
        # NumPy computes nothing where the mask is false, so there are no values and no derivatives there either.
        mask = _array.broadcast_to(detached(where), out[0].shape)
        assign(out[0], op(*[_array.broadcast_to(x, mask.shape)[mask] for x in inputs], **others), mask)
        return out[0]
    if all(isinstance(target, Tensor) for target in out if target is not None):
        results = op(*inputs, **others)
        several = isinstance(results, tuple)
        stored = [
            result if target is None else store(result, target, where)
            for result, target in zip(results if several else (results,), out, strict=True)
        ]
        return tuple(stored) if several else stored[0]
    for x in inputs:
        if isinstance(x, Tensor):
            x._refuse_if_tracked(f"{ufunc.__name__} into a plain array (out=, or array += tensor)")
    return ufunc(*(detached(x) for x in inputs), out=tuple(map(detached, out)), where=detached(where), **others)


def _without_entries(value: Any, ufunc: Any) -> Any:
    """Return an array of the dtype and library of `value` and no entries (for matrices one); a number as it is."""
    if value is None or isinstance(value, (bool, int, float, complex)):
        return value
    array = detached(value) if hasattr(value, "dtype") else as_array(value)
    return _array.zeros((1, 1) if ufunc.signature else (0,), array.dtype, array)
