"""Tensor: an array, its record on the tape, and NumPy's two protocols, which look ops up in the table `OPS`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _array
from ._array import as_array, device_of, holders, is_array, to_host
from ._mode import MODE, Mode, ModeContext, Watcher
from ._tape import Leaf, Level, Record, differentiable, project, replay
from .errors import (
    DeviceError,
    DtypeError,
    HistoryError,
    LeafError,
    LostGradientError,
    ShapeError,
)
from .typing import Array, ArrayLike, Formula, NdarrayMethods, Shape

if TYPE_CHECKING:
    from ._op import Op

OPS: dict[Any, Callable[..., Any]] = {}
"""NumPy's function objects, and pairs (ufunc, method name), to what runs instead of them on tensors."""


_new = object.__new__
_commit_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    # Whoever forks waits for gradients that are being written, so that the child finds them whole and the lock free.
    os.register_at_fork(
        before=_commit_lock.acquire, after_in_parent=_commit_lock.release, after_in_child=_commit_lock.release
    )


class Tensor(NdarrayMethods):
    """A NumPy or CuPy array whose operations are recorded, so that derivatives can be taken.

    Tensors are made by `tapegrad.tensor`, `tapegrad.as_tensor`, the creation functions, and by operations.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = np.sum(x * np.exp(-x))
    >>> loss.backward()
    >>> x.grad
    tensor([ 0.        , -0.13533528, -0.09957414])
    """

    __slots__ = ("__weakref__", "_array", "_frozen", "_record")

    _array: Array
    _record: Record | None

    def __init__(self, data: ArrayLike, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            data._refuse_if_tracked("tapegrad.Tensor()")
        self._array = data._array if isinstance(data, Tensor) else as_array(data)
        self._record = None
        if requires_grad:
            self.requires_grad = True

    # What it is

    @property
    def data(self) -> Array:
        """The array itself, a live view without history.

        Writing into it changes the tensor's values unseen; `tapegrad.checked()` finds out.
        """
        if type(self._array) not in _array.LIBRARIES:
            self._array = as_array(self._array)
        return self._array

    @data.setter
    def data(self, value: ArrayLike) -> None:
        if type(value) not in _array.LIBRARIES or value.dtype != self.dtype:
            value = as_array(detached(value), like=self._array)
        if self.requires_grad and (value.shape != self.shape or value.dtype != self.dtype):
            raise ShapeError(
                f"got data of shape {value.shape} and dtype {value.dtype}, expected {self.shape} and {self.dtype}; "
                "make a new tensor to change them"
            )
        self._array = value

    # What it has to do with derivatives

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded. Only floating point and complex leaves can be switched.

        Setting it raises DtypeError for integer and boolean tensors, and LeafError for results of operations.
        """
        return self._record is not None and self._record.position >= 0

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if bool(value) == self.requires_grad:
            return
        if not self.is_leaf:
            raise LeafError("got a result of recorded operations; use detach() for a tensor without history")
        if value and not differentiable(self.dtype):
            raise DtypeError(
                f"got dtype {self.dtype}, expected floating point or complex: only these have derivatives; "
                "convert first, for instance with tapegrad.tensor(data, dtype=float, requires_grad=True)"
            )
        # A leaf that is switched off is remembered: history recorded from it, and its gradient, still belong to it.
        known = getattr(self, "_frozen", None)
        if not value:
            self._frozen, self._record = self._record, None
        elif known is not None and (known.shape, known.dtype) == (self.shape, self.dtype):
            self._record = known
        else:
            self._record = Leaf(self.shape, self.dtype)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` in place and return the tensor itself."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._record is None or isinstance(self._record, Leaf)

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` accumulated here, of this tensor's shape, dtype and device; None before.

        Leaves have one, and results of operations after `retain_grad()`.
        """
        record = self._record
        if type(record) is Leaf:
            return record.grad
        holder = grad_holder(record)
        return None if holder is None else holder.grad

    @grad.setter
    def grad(self, value: ArrayLike | None) -> None:
        holder = grad_holder(self._record)
        if holder is None:
            raise LeafError(
                "got a tensor that is no tracked leaf, so it has no gradient; use requires_grad=True, "
                "or retain_grad() on the result of an operation"
            )
        if value is not None:
            if not isinstance(value, Tensor):
                value = wrap(as_array(value, device=self.device, copy=True))
            if value.shape != self.shape or value.dtype != self.dtype:
                raise ShapeError(
                    f"got a gradient of shape {value.shape} and dtype {value.dtype}, "
                    f"expected {self.shape} and {self.dtype}"
                )
        holder.grad = value

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def backward(
        self,
        gradient: ArrayLike | None = None,
        retain_graph: bool = False,
        create_graph: bool = False,
        strong_zero: bool = False,
    ) -> None:
        """Replay the tape in reverse from here and add the gradients of this tensor to the leaves' `grad`.

        For a leaf `x` and a cotangent `g` of this tensor `y`, adds `sum(g * dy/dx)`. For complex leaves the gradient
        is the direction of steepest ascent, PyTorch's convention.

        Parameters
        ----------
        gradient : the cotangent, of this tensor's shape; needed unless its size is 1, and never changed or aliased
        retain_graph : keep the history for another replay
        create_graph : record the replay itself, so that gradients can be differentiated again
        strong_zero : replay under `tapegrad.strong_zero`

        Raises
        ------
        HistoryError
            If nothing was tracked, or the history was released by an earlier replay.
        ShapeError
            If `gradient` is missing or has the wrong shape.
        DtypeError
            If the tensor is complex and no `gradient` is given.

        Examples
        --------
        >>> import tapegrad as tg
        >>> x = tg.tensor(3.0, requires_grad=True)
        >>> (x ** 2).backward()
        >>> x.grad
        tensor(6.)
        """
        if self._record is None or not self.requires_grad:
            raise HistoryError(
                "got a tensor without history: no input had requires_grad=True, or recording was off (no_grad); "
                "make the leaves with tapegrad.tensor(..., requires_grad=True)"
            )
        seed = seed_for(self, gradient)
        again = retain_graph or create_graph
        if strong_zero:
            with ModeContext(watchers=(_STRONG_ZERO,)):
                arrived = run_replay([(self._record, seed)], None, again, create_graph)
        else:
            arrived = run_replay([(self._record, seed)], None, again, create_graph)
        commit(arrived, protected=seed)

    def detach(self) -> Tensor:
        """Return a tensor that shares the array and has no history: gradients stop here."""
        return wrap(self._array)

    # What leaves the tape

    def numpy(self) -> Any:
        """Return the values as a NumPy array, copied from the device if they live on one.

        Raises
        ------
        LostGradientError
            If the tensor is tracked; call `detach()` first.
        """
        self._refuse_if_tracked("numpy()")
        return to_host(self.data)

    def _refuse_if_tracked(self, what: str) -> None:
        record = self._record
        if record is None or record.released:
            return
        mode = MODE.get()
        if (mode is None or mode.recording or mode.levels) and (record.position >= 0 or (mode and mode.levels)):
            raise LostGradientError(
                f"got {what} of a tracked tensor, where its gradient would be lost unseen; use item() for a number, "
                "detach() for a tensor without history, tapegrad.stack or tapegrad.tensor([...]) to join tensors"
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self._refuse_if_tracked("conversion to a NumPy array (np.asarray, np.array, or a function without dispatch)")
        if self.device != "cpu":
            raise DeviceError(f"got a tensor on {self.device}; use numpy(), or to('cpu'), to copy it to the host")
        array = self.data
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"got dtype {dtype}, which needs a copy of {array.dtype}, and copy=False")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        assign(self, value, index)


def wrap(array: Array, record: Record | None = None) -> Tensor:
    """Return a tensor around `array`, without a copy and without a look at it."""
    result = _new(Tensor)
    result._array = array
    result._record = record
    return result


def detached(value: Any) -> Any:
    """Return the array of a tensor, and anything else as it is."""
    return value._array if isinstance(value, Tensor) else value


def wrapped(result: Any) -> Any:
    """Return `result` with tensors in place of arrays; other values stay as they are."""
    if is_array(result):
        return wrap(result)
    if isinstance(result, tuple):
        entries = [wrapped(entry) for entry in result]
        return type(result)(*entries) if hasattr(result, "_fields") else tuple(entries)
    return [wrapped(entry) for entry in result] if type(result) is list else result


def seed_for(output: Tensor, gradient: ArrayLike | None) -> Array:
    """Return the cotangent that a replay from `output` starts from: as given, or one for a real scalar."""
    if gradient is None:
        if type(output._array) is _array.DOUBLE:
            return _array.DOUBLE(1)
        if output.size != 1:
            raise ShapeError(
                f"got a tensor of shape {output.shape}, expected a single number; "
                "sum it first, or give backward the cotangent: backward(gradient=...)"
            )
        if output.dtype.kind == "c":
            raise DtypeError("got a complex number, which has no order to ascend; differentiate its real part or abs")
        return _array.ones(output.shape, output.dtype, like=output._array)
    tracked = gradient if isinstance(gradient, Tensor) else None
    seed = as_array(detached(gradient), like=output._array)
    if seed.shape != output.shape:
        raise ShapeError(f"got a cotangent of shape {seed.shape}, expected {output.shape}, the tensor's own")
    if device_of(seed) != output.device:
        raise DeviceError(f"got a cotangent on {device_of(seed)}, expected {output.device}; move it with to()")
    if seed.dtype.kind == "c" and output.dtype.kind != "c":
        raise DtypeError(f"got a complex cotangent for a tensor of dtype {output.dtype}; take its real part")
    if tracked is not None and tracked._record is not None:
        return tracked.conj().astype(output.dtype) if seed.dtype.kind == "c" else tracked.astype(output.dtype)
    seed = seed.astype(output.dtype, copy=False)
    return seed.conj() if seed.dtype.kind == "c" else seed


def run_replay(
    seeds: list[tuple[Record, Any]], wanted: list[Record] | None, retain: bool, create: bool, tied: bool = True
) -> dict[Record, Any]:
    """Replay with arrays, or with tensors where the replay itself is to be differentiated.

    Under forward-mode levels the cotangents have tangents, so the replay works on tensors there too.
    """
    levels: tuple[Level, ...] = (MODE.get() or Mode()).levels
    try:
        if not create and not levels:
            arrived = replay([(record, detached(g)) for record, g in seeds], wanted, retain)
        else:
            with ModeContext(recording=create):
                tensors = [(record, g if isinstance(g, Tensor) else wrap(g)) for record, g in seeds]
                arrived = replay(tensors, wanted, retain, create=True, tied=tied)
    except MemoryError as error:
        raise _array.explained(error, "backward", ()) from None
    for record in arrived:
        if type(record) is Leaf and record.hooks:
            arrived[record] = hooked(record.hooks, arrived[record], record.shape, record.dtype)
    return arrived


def grad_holder(record: Record | None) -> Any:
    """Return what holds the gradient of a tensor with `record`: a leaf, an op with `retain_grad`, or None."""
    if isinstance(record, Leaf):
        return record
    return record.op if record is not None and record.op is not None and record.op.retains else None


def hooked(hooks: list[Callable[[Tensor], Any]], g: Any, shape: Shape, dtype: Any) -> Any:
    """Return the cotangent `g`, which arrived at a tensor of `shape` and `dtype`, after its hooks.

    They see it as users see gradients: as a tensor, in the convention for complex numbers.
    """
    turn = dtype.kind == "c"
    for hook in list(hooks):
        higher = isinstance(g, Tensor)
        seen = g if higher else wrap(g)
        made = hook(seen.conj() if turn else seen)
        if made is None:
            continue
        made = made if isinstance(made, Tensor) else wrap(as_array(made, like=seen._array))
        if made.shape != shape or made.device != seen.device or not _array.castable(made.dtype, dtype):
            raise ShapeError(
                f"a hook returned a cotangent of shape {made.shape} and dtype {made.dtype} on {made.device}, expected "
                f"{shape} and {dtype} on {seen.device}, as it was given, or None to leave it as it is"
            )
        made = (made.conj() if turn else made).astype(dtype)
        g = made if higher else made._array
    return g


class _StrongZero(Watcher):
    """Lets a cotangent, or a tangent, that is exactly zero stay zero through elementwise rules."""

    def rule(self, op: Op, k: int, formula: Formula, record: Record | None) -> Formula:
        if not op.elementwise:
            return formula

        def strong(g: Any, *residuals: Any) -> Any:
            where = OPS["where"]
            # What zero makes of infinite and undefined derivatives is not taken, so it is nothing to warn of.
            with _array.quiet():
                zero = g == 0
                # Only NaN gives way: a finite derivative is linear in a cotangent that merely happens to be zero, which
                # matters at higher order. By what the rule keeps there is no derivative there, however steep it is.
                kept = [where(zero, r.detach(), r) if isinstance(r, Tensor) and r._record else r for r in residuals]
                h = formula(g, *kept)
                return where(zero & (h != h), 0, h)

        return strong


_STRONG_ZERO = _StrongZero()


def strong_zero() -> ModeContext:
    """Return a context, also a decorator, in which a cotangent of exactly zero stays zero through elementwise rules.

    By IEEE arithmetic `0 * inf` is NaN, so a value that `np.where`, `np.clip` or a mask did not select, and whose
    derivative there is infinite or NaN, turns the whole gradient into NaN, although it has no influence. Here an
    elementwise rule maps a cotangent `g = 0` to 0 whatever the local derivative is; the same holds for tangents. It
    covers the replays and the forward modes that run inside it, of this thread or task.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> def f(x):
    ...     with np.errstate(divide="ignore"):
    ...         return np.sum(np.where(x > 0, np.log(x), 0))
    >>> with tg.strong_zero():
    ...     tg.grad(f)(np.array([0.0, 2.0]))
    tensor([0. , 0.5])
    """
    return ModeContext(watchers=(_STRONG_ZERO,))


def commit(arrived: dict[Record, Any], protected: Any = None) -> None:
    """Add the cotangents that arrived to the gradients of their tensors: all of them or, on an error, none.

    Every gradient gets memory of its own: the caller's cotangent, views, and arrays that arrived twice are copied.
    """
    taken = {id(protected)}
    completed: Any = None
    grads: list[tuple[Any, Tensor]] = []
    with _commit_lock:
        for record, h in arrived.items():
            holder = record if type(record) is Leaf else grad_holder(record)
            if holder is None:
                continue
            dtype, before = holder.dtype, holder.grad
            if dtype.kind == "c":
                h = h.conj()
            if h.dtype is not dtype or h.shape != holder.shape:
                h = project(h, holder.shape, dtype)
            if type(h) is Tensor:
                grad = wrap(h._array.copy(), h._record) if before is None else before + h
            elif before is not None:
                grad = wrap(before._array + h, before._record)
            else:
                if h.base is not None or id(h) in taken:
                    h = h.copy()
                else:
                    taken.add(id(h))
                grad = _new(Tensor)
                grad._array = h
                grad._record = None
            grads.append((holder, grad))
        for holder, grad in grads:
            holder.grad = grad
            completed = completed or holder.completed
    if completed:
        for holder, _ in grads:
            for complete in holder.completed or ():
                complete()


def check_castable(result: Tensor, target: Any) -> None:
    """Raise DtypeError where NumPy's "same_kind" rule forbids to write `result` into `target`."""
    if not _array.castable(result.dtype, target.dtype):
        raise DtypeError(f"got a result of dtype {result.dtype} for an out of dtype {target.dtype}; convert it first")


def store(result: Tensor, target: Tensor, where: Any = True) -> Tensor:
    """Give `target` the value of a result of its shape, where `where` holds, and return it: the meaning of `out=`."""
    check_castable(result, target)
    assign(target, result, ..., where)
    return target


def assign(target: Tensor, value: ArrayLike, index: Any, where: Any = True) -> None:
    """Give `target` the value of `target[index] = value`, recorded; memory is reused where nobody else needs it.

    Raises
    ------
    LeafError
        If `target` is a tracked leaf and recording is on: it would lose its gradient.
    """
    mode = MODE.get() or Mode()
    if isinstance(target._record, Leaf) and (mode.recording or mode.levels):
        raise LeafError(
            "got assignment to a tracked leaf, which would cut it off from its gradient; "
            "assign to a copy (t = t.copy()), or under tapegrad.no_grad() to change its values"
        )
    if where is not True:
        value = OPS["where"](where, value, target)
    if isinstance(value, Tensor) and value.requires_grad and not differentiable(target.dtype):
        raise DtypeError(f"got a tracked value for a tensor of dtype {target.dtype}, where its gradient would be lost")
    record = target._record
    if not mode.recording and target.requires_grad and record is not None and record.op and not record.released:
        raise LostGradientError(
            "got assignment under no_grad to a result whose history is alive, which would cut it off unseen; "
            "assign to a detached copy (t.detach().copy()), or with recording on"
        )
    result = OPS["assign"](target, value, index)
    target._array = result._array
    if not isinstance(record, Leaf):
        target._record = result._record
        if grad_holder(record) is not None and result.requires_grad:
            target.retain_grad()  # asked for is the gradient of the tensor as it is


def writable(tensor: Tensor) -> Array:
    """Return the array of `tensor` for writing: itself if the tensor is its only owner, otherwise a copy."""
    array = tensor._array
    if _array.owns_memory(array) and holders(array) == 1:
        return array
    return as_array(array, copy=True)
