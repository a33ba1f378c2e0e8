"""The profile: time and memory of a program by operation, by line, and by record."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from time import perf_counter
from typing import Any, TypeVar

from .._array import is_array
from .._history import NOTES
from .._mode import ModeContext, Watcher
from .._op import Op
from .._source import Place, caller
from .._tape import Record
from .._tensor import Tensor, detached
from ..typing import Formula
from . import _page
from ._program import Line, Program, Writer
from ._words import Cost, aligned, duration, place

__all__ = ["Cost", "Profile", "profile"]

SHOWN = 30
"""So many operations and lines are printed."""

Key = TypeVar("Key")


class _Nested(threading.local):
    """The seconds of operations and rules that ran inside the present rule of this thread."""

    seconds = 0.0


class Profile(Watcher):
    """What `tapegrad.profile` returns: a context that measures, and afterwards what it has measured.

    Attributes
    ----------
    operations : name of operation to its `Cost` (calls, seconds forward and backward, bytes kept), the dearest first
    lines : line of the program (`file`, `line`, `function`) to its `Cost`, likewise
    seconds : of wall time spent in the context
    program : the last records as a `tapegrad.viz.Program`, with their times, though a replay has released them
    """

    def __init__(self, names: Mapping[str, Any] | None = None, keep: int = 10_000) -> None:
        names = names or {}
        self.seconds = 0.0
        self._keep = keep
        self._names = {name: t for name, t in names.items() if isinstance(t, Tensor)}
        self._writer = Writer(names, {t._record: name for name, t in self._names.items() if t._record}, fleeting=True)
        self._operations: dict[str, Cost] = {}
        self._lines: dict[Place | None, Cost] = {}
        self._steps: dict[int, Line] = {}
        self._nested = _Nested()
        self._lock = threading.Lock()
        self._context = ModeContext(watchers=(self,))
        self._started: list[float] = []

    def __enter__(self) -> Profile:
        self._context.__enter__()
        self._started.append(perf_counter())
        return self

    def __exit__(self, *exception: object) -> None:
        elapsed = perf_counter() - self._started.pop()
        if not self._started:
            self.seconds += elapsed
        self._context.__exit__(*exception)

    # Measuring

    def computed(
        self, op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, seconds: float
    ) -> None:
        """Add an operation to the sums, and write its line."""
        seconds += _wait(outs)
        self._nested.seconds += seconds
        source = caller()
        with self._lock:
            line = None
            # A record of forward mode alone has no op, and no place on the tape.
            if record is not None and record.op is not None:
                NOTES.add(record, source)
                results = tuple((detached(out).shape, out.dtype) for out in outs)
                line = self._writer.line(record, results, source, seconds)
                self._steps[record.position] = line
                if len(self._steps) > self._keep:
                    del self._steps[next(iter(self._steps))]
            for cost in self._costs(op, source):
                cost.calls += 1
                cost.forward += seconds
                cost.nbytes += line.nbytes if line is not None else 0

    def rule(self, op: Op, k: int, formula: Formula, record: Record | None) -> Formula:
        """Return `formula` with a clock around it."""

        def timed(*args: Any) -> Any:
            outside, self._nested.seconds = self._nested.seconds, 0.0
            started = perf_counter()
            try:
                h = formula(*args)
                _wait(h)
            finally:
                elapsed = perf_counter() - started
                # Rules of higher order consist of operations, which are counted where they belong.
                own = max(elapsed - self._nested.seconds, 0.0)
                self._nested.seconds = outside + elapsed
            self._add_rule(op, record, own)
            return h

        return timed

    def _add_rule(self, op: Op, record: Record | None, seconds: float) -> None:
        source = caller() if record is None else NOTES.sources.get(record.position)
        with self._lock:
            for cost in self._costs(op, source):
                if record is None:
                    cost.forward += seconds
                else:
                    cost.backward += seconds
            step = None if record is None else self._steps.get(record.position)
            if step is not None:
                self._steps[step.position] = replace(step, backward=(step.backward or 0.0) + seconds)

    def _costs(self, op: Op, source: Place | None) -> tuple[Cost, Cost]:
        return self._operations.setdefault(op.name, Cost()), self._lines.setdefault(source, Cost())

    # What was measured

    @property
    def operations(self) -> dict[str, Cost]:
        """Name of operation to its cost, the dearest first."""
        return _ordered(self._operations)

    @property
    def lines(self) -> dict[Place | None, Cost]:
        """Line of the program to its cost, the dearest first; None for records from before the profile."""
        return _ordered(self._lines)

    @property
    def total(self) -> Cost:
        """The cost of everything."""
        costs = list(self._operations.values())
        return Cost(
            sum(cost.calls for cost in costs),
            sum(cost.forward for cost in costs),
            sum(cost.backward for cost in costs),
            sum(cost.nbytes for cost in costs),
        )

    @property
    def program(self) -> Program:
        """The last records with their times, as they were when they were made."""
        with self._lock:
            lines = list(self._steps.values())
        leaves = {name: (t.shape, t.dtype) for name, t in self._names.items()}
        return Program(lines, leaves, "A profile")

    def times(self, position: int) -> tuple[float | None, float | None]:
        """Return the seconds forward and backward of the record at `position`, None where they are not known."""
        step = self._steps.get(position)
        return (None, None) if step is None else (step.forward, step.backward)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the program in dictionaries and lists, as JSON has them."""
        return {
            "seconds": self.seconds,
            "total": asdict(self.total),
            "operations": {name: asdict(cost) for name, cost in self.operations.items()},
            "lines": [
                (source._asdict() | {"text": source.text} if source else {"file": None}) | asdict(cost)
                for source, cost in self.lines.items()
            ],
        }

    def to_html(self, path: str | os.PathLike[str] | None = None, limit: int = 2000) -> str | None:
        """Write sums and program as a page that needs nothing else, or return it; see `Program.to_html`."""
        return _page.written(_page.page(self.program, limit, self.operations, self.lines, self.seconds), path)

    def _repr_html_(self) -> str:
        return _page.fragment(self.program, SHOWN, self.operations, self.lines, self.seconds)

    def __str__(self) -> str:
        total = self.total
        head = f"{duration(self.seconds)}: {duration(total.forward)} in {total.calls:,} calls of operations, "
        head += f"{duration(total.backward)} in their rules; {total.nbytes:,} bytes kept for the replay"
        by_line = {place(source): cost for source, cost in self.lines.items()}
        return f"{head}\n\n{_table('operation', self.operations, total)}\n\n{_table('line', by_line, total)}"

    __repr__ = __str__


def profile(names: Mapping[str, Any] | None = None, keep: int = 10_000) -> Profile:
    """Return a context that sums time, forward and backward, and memory by operation and by line of the program.

    The line is that of the innermost caller outside this package and NumPy, and rules count for the line that called
    their operation. Times are those of the functions and rules alone: what recording, projections and the measuring
    cost is not among them. Bytes are those that records keep for the replay, shared memory counted once, where it is
    first kept. It covers this thread or task. On a device every step is waited for.

    Inside, and afterwards, the lines are known to `tapegrad.tape`, `tapegrad.viz.program` and `tapegrad.explain` too.

    Parameters
    ----------
    names : tensors or arrays by the names to show, `dict(model.named_parameters())` for instance
    keep : of so many records, the last ones, single lines are kept for `program` and `to_html`

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> w = tg.tensor(np.ones((3, 2)), requires_grad=True)
    >>> with tg.profile({"w": w}) as p:
    ...     loss = np.sum(np.tanh(np.ones((5, 3)) @ w))
    ...     loss.backward()
    >>> {name: (cost.calls, cost.nbytes) for name, cost in sorted(p.operations.items())}
    {'matmul': (1, 120), 'sum': (1, 0), 'tanh': (1, 80)}
    >>> p.total.nbytes, [line.operation for line in p.program]
    (200, ['matmul', 'tanh', 'sum'])
    """
    return Profile(names, keep)


def _ordered(costs: dict[Key, Cost]) -> dict[Key, Cost]:
    return dict(sorted(costs.items(), key=lambda item: -item[1].seconds))


def _table(what: str, costs: Mapping[str, Cost], total: Cost) -> str:
    """Return a table of costs as text, the dearest first."""
    figures = ("calls", "forward", "backward", "share", "bytes")
    rows: list[tuple[str, ...]] = [(*figures, what)]
    for name, cost in [*list(costs.items())[:SHOWN], ("together", total)]:
        share = f"{cost.seconds / total.seconds:.0%}" if total.seconds else ""
        rows.append(
            (f"{cost.calls:,}", duration(cost.forward), duration(cost.backward), share, f"{cost.nbytes:,}", name)
        )
    if len(costs) > SHOWN:
        rows.insert(-1, ("", "", "", "", "", f"... {len(costs) - SHOWN:,} more"))
    return aligned(rows, right=set(figures))


def _wait(value: Any) -> float:
    """Wait until the device has computed the arrays in `value`, and return the seconds that it took."""
    value = detached(value)
    if isinstance(value, (tuple, list)):
        return sum(_wait(entry) for entry in value)
    if isinstance(value, dict):
        return _wait(tuple(value.values()))
    wait: Callable[[], None] | None = getattr(getattr(value, "device", None), "synchronize", None)
    if wait is None or not is_array(value):
        return 0.0
    started = perf_counter()
    wait()
    return perf_counter() - started
