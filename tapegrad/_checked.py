"""Checked mode: whether what rules keep is still what it was when the operation was computed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._array import is_array, to_host
from ._faults import called, described, indented
from ._history import NOTES, residuals
from ._mode import ModeContext, Watcher
from ._op import Op
from ._source import caller
from ._tape import Leaf, Record
from ._tensor import detached
from .errors import ForeignWriteError
from .typing import Formula

__all__ = ["checked"]


def fingerprint(value: Any) -> Any:
    """Return what tells a value from others: shape, dtype and digest of arrays, also inside lists, tuples and dicts.

    Objects of other kinds stand for themselves, so what changes inside them is not seen.
    """
    value = detached(value)
    if is_array(value) and not value.dtype.hasobject:
        flat = np.ascontiguousarray(to_host(value)).reshape(-1)
        return value.shape, value.dtype, hashlib.blake2b(flat.view(np.uint8), digest_size=16).digest()
    if is_array(value):
        return value.tolist()
    if isinstance(value, dict):
        return [(key, fingerprint(entry)) for key, entry in value.items()]
    if isinstance(value, (tuple, list)):
        return [fingerprint(entry) for entry in value]
    return value


class _Checked(Watcher):
    """Takes fingerprints of what a record keeps, and compares them before its rules are applied."""

    def computed(
        self, op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, seconds: float
    ) -> None:
        """Take the fingerprints, by input and name."""
        if record is not None and record.op is not None:
            # Rules for several inputs often keep the same arrays.
            known: dict[int, Any] = {}
            prints: dict[tuple[int, str], Any] = {}
            for k, name, value in residuals(record):
                if id(value) not in known:
                    known[id(value)] = fingerprint(value)
                prints[k, name] = known[id(value)]
            NOTES.add(record, caller(), prints)

    def rule(self, op: Op, k: int, formula: Formula, record: Record | None) -> Formula:
        """Compare; and return `formula` with a look at what it does to its own arguments, if nobody has proven it."""
        if record is not None and (prints := NOTES.prints.get(record.position)):
            for i, name, value in residuals(record):
                # In lists, because what stands for itself may compare by elements.
                if i == k and [fingerprint(value)] != [prints[i, name]]:
                    raise ForeignWriteError(_changed(op, k, record, name, value))
        return formula if op.trusted else _guarded(op, k, formula)


_CHECKED = _Checked()


def _input(op: Op, k: int) -> str:
    return f"xs[{k}]" if op.variadic else op.inputs[k]


def _changed(op: Op, k: int, record: Record, name: str, value: Any) -> str:
    """Return what to say where the residual `name` for input `k` of `record` is not what it was."""
    source = called(record.position, NOTES.sources.get(record.position))
    shown = [(f"{name} now", described(value))] if is_array(value) and value.dtype.kind in "biufc" else []
    return (
        f"{op.name}, record #{record.position}, kept {name} for the gradient of its input {_input(op, k)}, and {name} "
        "was written to since" + indented([("line", source), *shown]) + f"\n{name} is {_whose(op, record, name)}"
    )


_OF_A_RESULT = (
    "its array was written to (t.data, or an array that shares its memory): write to a copy, assign to the tensor "
    "(t[...] = ..., which changes no other), or wait until the last replay is over"
)
_OF_A_LEAF = (
    "it was updated in between: update it after the last replay of this history, or compute the result anew after the "
    "update"
)
_OF_THE_PROGRAM = (
    "that the program can write to: write after the last replay, or give the operation a copy (a.copy(), or "
    "tapegrad.tensor(a), which copies, where as_tensor shares)"
)


def _whose(op: Op, record: Record, name: str) -> str:
    """Return what a residual is to the program, and what to do instead of writing to it."""
    if name in op.outputs:
        return f"the result of {op.name}; {_OF_A_RESULT}"
    if name not in op.inputs:
        return f"an argument {_OF_THE_PROGRAM}"
    parent = None if op.variadic else record.parents()[op.inputs.index(name)]
    if isinstance(parent, Leaf):
        return f"a tracked leaf; {_OF_A_LEAF}"
    if parent is not None and parent.op is not None:
        return f"the result of {parent.op.name}, record #{parent.position}; {_OF_A_RESULT}"
    return f"an operand {_OF_THE_PROGRAM}"


def _guarded(op: Op, k: int, formula: Formula) -> Formula:
    """Return `formula` with a look at whether it writes to the cotangent or to what was kept."""

    def run(*args: Any) -> Any:
        before = fingerprint(args)
        made = formula(*args)
        names = op.names[0 if op.variadic else k]
        for i, (was, now) in enumerate(zip(before, fingerprint(args), strict=True), len(names) - len(args)):
            if [was] != [now]:
                raise ForeignWriteError(
                    f"the rule of {op.name} for its input {_input(op, k)} writes to "
                    f"{'its cotangent' if i < 0 else names[i]}, which others go on to use; let it compute a new array"
                )
        return made

    return run


def checked() -> ModeContext:
    """Return a context, also a decorator, in which a replay raises where something that a rule keeps was written to.

    A tape does not copy what its rules keep. Operations never write to it, but other code can: into an array that
    `tapegrad.as_tensor` shares, that was an operand (`x * a`, and then `a[...] = 0`) or an index, into `t.data`, and
    optimizers do between two replays of one history. The gradient would be computed from the new values. Here the
    operations that are recorded take fingerprints (128 bits) of what their rules keep, and the replays compare them.
    Rules that do not come with the package are also caught when they write to their own arguments.

    Both the operations and the replay must run in such a context, not necessarily the same one. It covers this thread
    or task. Every array is read once when it is kept and once in the replay; arrays on a device are copied to the host
    for that, and waited for. What is inside objects other than arrays, lists, tuples and dicts is not looked at. Of a
    function under `checkpoint` the second run is looked at; the first one keeps nothing.

    Raises
    ------
    ForeignWriteError
        In the replay, which then changes no gradient: with the operation, its position on the tape, the input, the
        name of what was kept, the line of the program that called the operation, and what to do.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> weights = np.array([3.0, 4.0])
    >>> with tg.checked():
    ...     loss = np.sum(x * weights)
    ...     weights[...] = 0
    ...     loss.backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tapegrad.errors.ForeignWriteError: multiply, record #..., kept y for the gradient of its input x, and y was ...
      line   File "...", line 2, in <module>: loss = np.sum(x * weights)
      y now  float64 (2,) all 0
    y is an operand that the program can write to...
    """
    return ModeContext(watchers=(_CHECKED,))
