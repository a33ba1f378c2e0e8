"""Hooks: functions that see, and may change, a cotangent as it arrives at a tensor; gradients kept on results.

Nothing is paid where there are none: a record with hooks has an op of its own, which the replay meets in the branch for
ops of any number of inputs; a leaf's hooks are asked for once a replay.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable
from typing import Any

from ._op import Op
from ._tape import Leaf, Record
from ._tensor import Tensor, hooked
from .errors import HistoryError, LeafError
from .typing import Shape

Hook = Callable[[Tensor], Any]


class HookedOp(Op):
    """The op of one record with hooks: its row, what is called with a cotangent, and the gradient if it is kept."""

    hooks: list[Hook]
    shape: Shape
    dtype: Any
    grad: Tensor | None = None
    completed: None = None

    @classmethod
    def of(cls, record: Record) -> HookedOp:
        """Return the hooked op of `record`, which gets it in place of its row's if it has none yet."""
        if not isinstance(record.op, cls):
            if record.op is None:
                # An input that a transform gave its function, where a reverse mode starts: nothing comes before it.
                record.op, record.x, record.for_x = _INPUT, (), ()
            op: Any = copy.copy(record.op)
            kind: Any = type(op)
            op.__class__ = _hooked_kind(kind)
            assert record.space is not None  # an op with several results is met through those
            op.hooks, (op.shape, op.dtype) = [], record.space
            if not op.many:
                count = len(op.rules)
                record.x, record.for_x = (record.x, record.y)[:count], (record.for_x, record.for_y)[:count]
                record.y = record.for_y = None
                op.many = True
            record.op = op
        assert isinstance(record.op, cls)
        return record.op

    def hooked(self, g: Any) -> Any:
        """Return the cotangent `g` after the hooks."""
        return hooked(self.hooks, g, self.shape, self.dtype)


@functools.cache
def _hooked_kind(kind: type[Op]) -> type[HookedOp]:
    """Return the class of ops of `kind` with hooks: what that does in its own way stays."""
    return HookedOp if kind is Op else type(f"Hooked{kind.__name__}", (HookedOp, kind), {})


_INPUT = Op(lambda *xs: xs, "linear", [lambda g, k: g], inputs="*xs", name="input")
"""What becomes the op of a record without one. Nobody calls its function."""


class Handle:
    """What a registration returns: `remove()` takes the hook away again, and so does the end of a `with` block."""

    __slots__ = ("_hook", "_hooks")

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        if not callable(hook):
            raise TypeError(f"got {type(hook).__name__} for a hook, expected a function of one tensor")
        self._hooks = hooks
        self._hook = hook
        hooks.append(hook)

    def remove(self) -> None:
        """Take the hook away; doing so twice is no error."""
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def _history(tensor: Tensor, what: str) -> Record:
    record = tensor._record
    if record is None or not tensor.requires_grad:
        raise HistoryError(f"got {what} of a tensor that is not tracked, where no cotangent ever arrives")
    if record.released:
        raise HistoryError(f"got {what} of a result whose history was released by an earlier replay")
    return record


def register_hook(self: Tensor, hook: Hook) -> Handle:
    """Call `hook` with the cotangent of this tensor whenever a replay has completed it; return a handle to remove it.

    The hook gets a tensor of this tensor's shape, for a leaf what is about to be added to `grad`, in the convention of
    `grad` for complex numbers. What it returns, unless None, takes the cotangent's place: same shape, cast to the
    same dtype. Hooks are called in the order of their registration. With `create_graph=True` they are
    differentiated. An exception in a hook leaves every `grad` unchanged.

    Raises
    ------
    HistoryError
        If the tensor is not tracked, or its history was released.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = x * 3
    >>> handle = y.register_hook(lambda g: g.clip(-1, 1))
    >>> (y * [10.0, 0.5]).sum().backward()
    >>> x.grad
    tensor([3. , 1.5])
    """
    record = _history(self, "register_hook")
    if isinstance(record, Leaf):
        if record.hooks is None:
            record.hooks = []
        return Handle(record.hooks, hook)
    return Handle(HookedOp.of(record).hooks, hook)


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> Handle:
    """Call `hook` with this leaf whenever `backward` has added to its `grad`; return a handle to remove the hook.

    All gradients of the replay are in place by then, so the hook may step an optimizer and set `grad` to None.

    Raises
    ------
    LeafError
        If the tensor is no tracked leaf.

    Examples
    --------
    >>> import tapegrad as tg
    >>> w = tg.tensor(2.0, requires_grad=True)
    >>> handle = w.register_post_accumulate_grad_hook(lambda leaf: print("gradient", leaf.grad.item()))
    >>> (w * w).backward()
    gradient 4.0
    """
    leaf = self._record
    if not isinstance(leaf, Leaf):
        raise LeafError("got a tensor that is no tracked leaf; its gradient is no place to wait for: use register_hook")
    if leaf.completed is None:
        leaf.completed = []
    # The leaf's record belongs to the tensor, so it must not hold the tensor in turn.
    tensor = weakref.ref(self)

    def complete() -> None:
        if (found := tensor()) is not None:
            hook(found)

    return Handle(leaf.completed, complete)


def retain_grad(self: Tensor) -> None:
    """Let `backward` add to `grad` of this result of operations too, as it does for leaves.

    Raises
    ------
    HistoryError
        If the tensor is not tracked, or its history was released.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> y = x * 3
    >>> y.retain_grad()
    >>> (y * y).backward()
    >>> y.grad, x.grad
    (tensor(12.), tensor(36.))
    """
    record = _history(self, "retain_grad")
    if not isinstance(record, Leaf):
        HookedOp.of(record).retains = True
