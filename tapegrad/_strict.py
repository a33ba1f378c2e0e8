"""Strict at kinks: an error, or a warning, where a derivative would be taken by convention."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

from ._hooks import HookedOp
from ._mode import MODE, Mode, ModeContext, Watcher
from ._op import Op
from ._source import caller
from ._tape import Record
from ._tensor import Tensor, detached
from .errors import KinkError


class Strict(Watcher):
    """Looks for results at a kink, and at the cotangents that arrive there."""

    def __init__(self, action: str) -> None:
        self._action = action

    def computed(
        self, op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, seconds: float
    ) -> None:
        if record is None or op.kink is None:
            return
        mask = op.kinks([detached(x) for x in inputs], outs, call)
        if not mask.any():
            return
        mode = MODE.get() or Mode()
        if any(level.tangent(x._record) is not None for level in mode.levels for x in inputs if isinstance(x, Tensor)):
            self._complain(op, mask, "a tangent passes")
        if record.op is None:
            return

        def look(g: Tensor) -> None:
            taken = mask & (detached(g) != 0)
            if taken.any():
                self._complain(
                    op, taken, f"at position {record_position} of the tape, a cotangent other than 0 arrived"
                )

        record_position = record.position
        HookedOp.of(record).hooks.append(look)

    def _complain(self, op: Op, mask: Any, what: str) -> None:
        places = [tuple(map(int, place)) for place in zip(*mask.nonzero(), strict=True)] if mask.ndim else []
        shown = ", ".join(map(str, places[:3])) + (", ..." if len(places) > 3 else "")
        message = (
            f"{op.name} has a kink here{f', at index {shown} of its result' if shown else ''}: {what}, and "
            "the derivative would be a convention; move the values away from the kink, or leave tapegrad.strict()"
        )
        if self._action == "raise":
            raise KinkError(message)
        place = caller()
        if place is None:
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        else:
            warnings.warn_explicit(message, RuntimeWarning, place.file, place.line)


def strict(action: Literal["raise", "warn"] = "raise") -> ModeContext:
    """Return a context, also a decorator, in which no derivative is taken exactly at a kink.

    Where functions have a kink (`abs` at 0, `maximum` and `max` at ties, `clip` at a bound, `norm` at the zero vector,
    ...), the derivative that tapegrad returns is a convention, written down in `tapegrad/ops/README.md`. For operations
    that are computed in this context, a cotangent other than zero that arrives at such a place, or a tangent that
    passes it, raises instead. Steps without a derivative at all (`floor`, `sign`, comparisons) are not kinks.
    It looks at values, so on a device it waits for them.

    Parameters
    ----------
    action : "raise" a KinkError, or "warn" with a RuntimeWarning and go on by the convention

    Raises
    ------
    KinkError
        During the replay or in forward mode, with the operation, the entries, and the position on the tape.
    ValueError
        For another `action`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> with tg.strict():
    ...     tg.grad(lambda x: np.sum(np.abs(x)))(np.array([1.0, 0.0]))
    Traceback (most recent call last):
    ...
    tapegrad.errors.KinkError: absolute has a kink here, at index (1,) of its result: at position ... of the tape...
    """
    if action not in ("raise", "warn"):
        raise ValueError(f"got action={action!r}, expected 'raise' or 'warn'")
    return ModeContext(watchers=(Strict(action),))
