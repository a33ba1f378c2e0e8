"""Which records are alive, what they keep, who made them, and why there are ever more.

The tape keeps no list of its records; they are found when somebody asks. Records hold no lines of the user's program
either: a watcher that is active writes them down, by position, and the notes are dropped with the records.
"""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._source import Place
from ._tape import Leaf, Record
from ._tensor import Tensor
from .errors import HistoryError


def living() -> list[Record]:
    """Return all records of operations that are alive, released ones too, by position.

    The tape keeps no list of them: the garbage collector knows them, as it knows every object that may be in a cycle.
    """
    # A class is asked for, and not the object: proxies would answer for what they stand for.
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), Record)]
    # Other threads may be about to make some, which have no position yet.
    return sorted(
        (record for record in found if getattr(record, "op", None) is not None and hasattr(record, "position")),
        key=lambda record: record.position,
    )


def history(record: Record) -> list[Record]:
    """Return `record` and all records that it was computed from, by position; those without an op are left out."""
    found: dict[int, Record] = {}
    waiting = [record]
    while waiting:
        record = waiting.pop()
        if record.op is not None and record.position not in found:
            found[record.position] = record
            waiting.extend(parent for parent in record.parents() if parent is not None)
    return [found[position] for position in sorted(found)]


def alive_history(output: Tensor) -> list[Record]:
    """Return the records that `output` was computed by, by position.

    Raises
    ------
    HistoryError
        If `output` has no history, is no tensor, or a replay has released its history.
    """
    record = output._record if isinstance(output, Tensor) else None
    if record is None or not output.requires_grad:
        got = "a tensor" if isinstance(output, Tensor) else type(output).__name__
        raise HistoryError(f"got {got} without history; its inputs need requires_grad=True, and recording on")
    records = history(record)
    if any(entry.released for entry in records):
        raise HistoryError("the history of this tensor was released by a replay; use backward(retain_graph=True)")
    return records


def residuals(record: Record) -> Iterator[tuple[int, str, Any]]:
    """Yield what the rules of a record keep: the input's position, the name in the formula, and the value.

    Shapes and settings are among them.
    """
    op = record.op
    assert op is not None
    for k, saved in enumerate(record.for_x or () if op.many else (record.for_x, record.for_y)):
        if saved is None:
            continue
        names = op.names[0 if op.variadic else k]
        for name, value in zip(names, (saved,) if len(names) == 1 else saved, strict=True):
            yield k, name, value


def starting_points(records: Sequence[Record], names: Mapping[str, Any]) -> dict[Record, str]:
    """Return the leaves of `records`, in the order of their first use, with names: from `names`, or numbered.

    What a transform starts from is no leaf, but an `input`.
    """
    given = {id(t._record): name for name, t in names.items() if isinstance(t, Tensor) and t._record is not None}
    found: dict[Record, str] = {}
    for record in records:
        for parent in (record,) if record.op is None else record.parents():
            if parent is not None and parent.op is None and parent not in found:
                word = "leaf" if isinstance(parent, Leaf) else "input"
                found[parent] = given.get(id(parent), f"{word} {len(found) + 1}")
    return found


class _Notes:
    """What watchers found out about records, by position.

    `sources`: the line that made each; `made`: which made a NaN or an infinity; `prints`: fingerprints of what they
    keep, by input and name. Once they are many, the notes on records that have died are dropped; since that waits until
    their number has doubled, it costs a constant time for each.
    """

    _FEW = 50_000

    def __init__(self) -> None:
        self.sources: dict[int, Place] = {}
        self.made: dict[int, str] = {}
        self.prints: dict[int, dict[tuple[int, str], Any]] = {}
        self._limit = self._FEW
        self._lock = threading.Lock()

    def add(self, record: Record, source: Place | None, prints: dict[tuple[int, str], Any] | None = None) -> None:
        """Note that `record` was made by the line `source`, and, if given, the fingerprints of what it keeps."""
        if source is not None:
            self.sources[record.position] = source
        if prints is not None:
            self.prints[record.position] = prints
        if self._count() > self._limit:
            self._sweep()

    def _count(self) -> int:
        return max(len(self.sources), len(self.prints))

    def _sweep(self) -> None:
        with self._lock:
            alive = {record.position for record in living()}
            for notes in (self.sources, self.made, self.prints):
                for position in [position for position in list(notes) if position not in alive]:
                    notes.pop(position, None)
            self._limit = max(self._FEW, 2 * self._count())


NOTES = _Notes()


# Growth

MANY = 1000


def growth() -> list[tuple[Place, str]]:
    """Return the lines of the program, as far as they are noted, that make the tape grow, each with a sentence."""
    records = [record for record in living() if not record.released]
    used = {id(parent) for record in records for parent in record.parents() if parent is not None}
    ends: Counter[Place] = Counter()
    cut: Counter[Place] = Counter()
    last: dict[Place, Record] = {}
    for record in records:
        source = NOTES.sources.get(record.position)
        if source is None:
            continue
        parents = [parent for parent in record.parents() if parent is not None]
        if any(parent.released for parent in parents):
            cut[source] += 1
        if id(record) not in used:
            ends[source] += 1
            last[source] = record
    sums = {source: _terms(record, source) for source, record in last.items()}
    found = []
    for source in {*cut, *ends}:
        if cut[source] >= MANY // 10:
            why = f"has added to {cut[source]:,} results whose history a replay has released: none can be replayed"
        elif sums.get(source, 0) >= MANY:
            why = f"has summed up {sums[source]:,} terms, and the history of all of them is alive"
        elif ends[source] >= MANY:
            why = f"has made {ends[source]:,} tensors that are held with their history and used by nothing on the tape"
        else:
            continue
        found.append(
            (
                source,
                f"the tape grows: {len(records):,} records are alive, and this line {why}. The usual cause is a "
                "running total or a list of losses that is never detached: use total += loss.item(), or "
                "loss.detach(), or tapegrad.no_grad() where nothing is trained",
            )
        )
    return found


def _terms(record: Record, source: Place) -> int:
    """Return how many terms a running total has that ends with `record`: additions of one line, each to the last."""
    count = 0
    link: Record | None = record
    while link is not None and link.op is not None and link.op.name == "add":
        # The total is the older of the two: its term was computed after it.
        parents = [parent for parent in link.parents() if parent is not None]
        if len(parents) != 2 or NOTES.sources.get(link.position) != source:
            break
        total, term = sorted(parents, key=lambda parent: parent.position)
        if any(total in entry.parents() for entry in _since(term, total.position)):
            break  # a recurrence: the term depends on the total so far
        count += 1
        link = total
    return count


def _since(record: Record, position: int) -> Iterator[Record]:
    """Yield `record` and what it was computed from, as far as it is younger than `position`."""
    seen = {id(record)}
    waiting = [record]
    while waiting:
        record = waiting.pop()
        if record.position > position:
            yield record
            for parent in record.parents():
                if parent is not None and id(parent) not in seen:
                    seen.add(id(parent))
                    waiting.append(parent)
