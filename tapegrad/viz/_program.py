"""The tape as a program, one line for each record: of one result, or of everything that is alive."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .._array import is_array
from .._history import NOTES, alive_history, living, residuals, starting_points
from .._op import _part_op
from .._source import Place
from .._tape import Leaf, Record
from .._tensor import Tensor, detached
from ..typing import Array, Shape
from . import _page
from ._words import aligned, duration, place, shown, typed

if TYPE_CHECKING:
    from ._profile import Profile

__all__ = ["Kept", "Line", "Program", "Tape", "program", "tape"]

SHOWN = 100
"""Longer programs are printed without their middle."""


@dataclass(frozen=True)
class Kept:
    """An array that a record keeps for its replay.

    `name` is what the rule calls it (`x`, `y`, `out`, ...). `nbytes` is the memory that it keeps alive, 0 where
    `holder` says who keeps that memory anyway: the position of an earlier record, or a name that the caller gave.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    nbytes: int
    holder: int | str | None

    def __str__(self) -> str:
        kept = typed(self.shape, self.dtype) if self.holder is None else f"(of {shown(self.holder)})"
        return f"{self.name} {kept}"


@dataclass(frozen=True)
class Line:
    """One record of the tape: its position, operation, inputs, results, and what it keeps.

    `inputs` are positions of records, names of leaves, and for constants None, or a name if it is known; `results`
    are shapes with dtypes, one for each result of the operation, None for one that nothing depends on. `source` is
    the line of the program that called the operation; `forward` and `backward` are the seconds that it took and that
    its rules took. They are None unless a watcher (`tapegrad.profile`, `tapegrad.detect_anomaly`) was there to see.
    """

    position: int
    operation: str
    inputs: tuple[int | str | None, ...]
    results: tuple[tuple[Shape, np.dtype[Any]] | None, ...]
    keeps: tuple[Kept, ...]
    source: Place | None = None
    forward: float | None = None
    backward: float | None = None

    @property
    def nbytes(self) -> int:
        """The memory that this record keeps alive and no earlier one does."""
        return sum(kept.nbytes for kept in self.keeps)

    @property
    def result(self) -> str:
        """The results in words."""
        return ", ".join("unused" if result is None else typed(*result) for result in self.results)


class Program(Sequence[Line]):
    """Lines of the tape, as they were when it was looked at; nothing is kept alive by it.

    A sequence of `Line`. `print` shows it as a table, without its middle if it is long, and so do notebooks.

    Attributes
    ----------
    leaves : what the program starts from: names with shape and dtype, in the order of their first use
    """

    def __init__(
        self, lines: Sequence[Line], leaves: Mapping[str, tuple[Shape, np.dtype[Any]]], title: str = "The tape"
    ) -> None:
        self._lines = tuple(lines)
        self.leaves = dict(leaves)
        self.title = title

    @overload
    def __getitem__(self, index: int) -> Line: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Line]: ...

    def __getitem__(self, index: int | slice) -> Line | Sequence[Line]:
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def nbytes(self) -> int:
        """The memory that the records keep alive, shared memory counted once."""
        return sum(line.nbytes for line in self)

    def columns(self) -> tuple[str, ...]:
        """The headings of the table; times and lines of the program only where they are known."""
        known = [name for name in ("forward", "backward") if any(getattr(line, name) is not None for line in self)]
        if any(line.source for line in self):
            known.append("line")
        return ("position", "operation", "inputs", "result", "keeps for the replay", "bytes", *known)

    def text(self, limit: int | None = None) -> str:
        """Return the program as a table, with at most `limit` records: the first and the last ones.

        `#7` stands for the result of the record at position 7. Bytes are counted once, where memory is first kept; an
        array whose memory somebody else keeps anyway is shown with the holder: `y (of w)`, `out (of #7)`.
        """
        columns = self.columns()
        rows = [columns]
        rows += [("", "leaf", name, typed(*space)) for name, space in self.leaves.items()]
        head, gap, tail = _page.ends(self, limit)
        for line in head:
            rows.append(_cells(line, columns))
        if gap:
            rows.append(("", f"... {gap:,} more"))
            rows += [_cells(line, columns) for line in tail]
        total: tuple[str, ...] = ("", "", "", "", "together", f"{self.nbytes:,}")
        for name in columns[6:]:
            if name != "line":
                total += (duration(sum(getattr(line, name) or 0.0 for line in self)),)
        return aligned([*rows, total], right={"position", "bytes", "forward", "backward"})

    def __str__(self) -> str:
        return self.text(SHOWN)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _page.fragment(self, SHOWN)

    def to_dot(self) -> str:
        """Return the program as a drawing in Graphviz' language DOT: `dot -Tsvg` makes a picture of it."""
        return _page.dot(self)

    @overload
    def to_html(self, path: None = None, limit: int = 2000) -> str: ...

    @overload
    def to_html(self, path: str | os.PathLike[str], limit: int = 2000) -> None: ...

    def to_html(self, path: str | os.PathLike[str] | None = None, limit: int = 2000) -> str | None:
        """Write the program as a page that needs nothing else, or return the page if no `path` is given.

        It shows the sums for each operation (and line of the program, if known), then the records, at most `limit`:
        what each keeps, and the time of its forward and backward step where it was profiled.
        """
        return _page.written(_page.page(self, limit), path)


def program(output: Tensor, names: Mapping[str, Any] | None = None, profile: Profile | None = None) -> Program:
    """Return the records that `output` was computed by, in the order in which they happened.

    Parameters
    ----------
    output : a tensor whose history is alive
    names : tensors or arrays by the names to show, `dict(model.named_parameters())` for instance; their memory is
        taken to be theirs, and not kept by the tape. Other leaves are called `leaf 1`, `leaf 2`, ...
    profile : of which to show the times

    Raises
    ------
    HistoryError
        If `output` has no history, or a replay has released it.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad.viz import program
    >>> x, w = np.ones((5, 3)), tg.tensor(np.ones((3, 2)), requires_grad=True)
    >>> lines = program(np.tanh(x @ w), {"w": w})
    >>> print(lines)  # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
    position  operation  inputs       result          keeps for the replay  bytes
              leaf       w            float64 (3, 2)
         ...  matmul     constant, w  float64 (5, 2)  x float64 (5, 3)        120
         ...  tanh       #...         float64 (5, 2)  out float64 (5, 2)       80
                                                      together                200
    >>> [(line.operation, line.nbytes) for line in lines]
    [('matmul', 120), ('tanh', 80)]
    """
    return _written(alive_history(output) or [output._record], names, profile, "The tape of one result")


class Tape:
    """The tape as something to look at: `tapegrad.tape` is the only one.

    The tape owns nothing and keeps no list of its records: each lives as long as a tensor or a later record needs it.
    So they are looked for when asked: those of all threads that are alive and can be replayed. Looking costs about
    0.1 microseconds for every object of the whole program, and changes nothing.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> before = len(tg.tape)
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> loss = np.sum(np.exp(w) * 3)
    >>> len(tg.tape) - before
    3
    >>> [line.operation for line in tg.tape.records()[-3:]]
    ['exp', 'multiply', 'sum']
    >>> loss.backward()
    >>> len(tg.tape) - before
    0
    """

    def records(self, names: Mapping[str, Any] | None = None, profile: Profile | None = None) -> Program:
        """Return all living records as a program; parameters are those of `tapegrad.viz.program`."""
        return _written([record for record in living() if not record.released], names, profile, "The tape")

    def __len__(self) -> int:
        return sum(not record.released for record in living())

    @property
    def nbytes(self) -> int:
        """The memory that living records keep alive, shared memory counted once."""
        return self.records().nbytes

    def __str__(self) -> str:
        return str(self.records())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.records()._repr_html_()

    def to_dot(self, names: Mapping[str, Any] | None = None) -> str:
        """Return all living records as a drawing in Graphviz' language DOT; see `Program.to_dot`."""
        return self.records(names).to_dot()

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        names: Mapping[str, Any] | None = None,
        profile: Profile | None = None,
    ) -> str | None:
        """Write all living records as a page, or return it; see `Program.to_html`."""
        return _page.written(self.records(names, profile).to_html(), path)


tape = Tape()


# From records to lines


class Writer:
    """What writes lines: it knows names, and whose memory has been seen.

    Parameters
    ----------
    names : tensors and arrays by name
    starts : names of leaves
    fleeting : whether lines are written as records are made, so that nothing may be held between two of them
    """

    def __init__(self, names: Mapping[str, Any], starts: Mapping[Record, str], fleeting: bool = False) -> None:
        self._starts = starts
        self._fleeting = fleeting
        named = {name: detached(value) for name, value in names.items()}
        self._constants = {id(array): (array, name) for name, array in named.items()}
        self._holders: dict[int, tuple[Callable[[], Any], int | str]] = {}
        for name, array in named.items():
            if is_array(array):
                self._holder(_owner(array), name)

    def line(
        self,
        record: Record,
        results: tuple[tuple[Shape, np.dtype[Any]] | None, ...],
        source: Place | None,
        forward: float | None = None,
        backward: float | None = None,
    ) -> Line:
        """Return the line of `record`."""
        op: Any = record.op
        parents = record.parents() if op.variadic else record.parents()[: len(op.inputs)]
        saved = list(residuals(record))
        # A record does not know its constant inputs, unless a rule keeps them.
        kept = {} if op.variadic else {name: value for _, name, value in saved}
        inputs = tuple(
            self._constant(kept.get(name)) if parent is None else self._label(parent)
            for name, parent in zip(op.inputs * len(parents) if op.variadic else op.inputs, parents, strict=False)
        )
        return Line(
            record.position,
            op.name,
            inputs,
            results,
            tuple(self._kept(record.position, saved)),
            source,
            forward,
            backward,
        )

    def _constant(self, value: Any) -> str | None:
        array, name = self._constants.get(id(value), (None, None))
        return name if array is value else None

    def _label(self, parent: Record) -> int | str:
        if self._fleeting and _is_part(parent):
            parent = parent.x  # written as one line, when only the whole was there
        if parent.op is None:
            return self._starts.get(parent, "leaf" if isinstance(parent, Leaf) else "input")
        return f"#{parent.position} (released)" if parent.released else parent.position

    def _kept(self, position: int, saved: Sequence[tuple[int, str, Any]]) -> Iterator[Kept]:
        """Yield the arrays that the record at `position` keeps, each once, and remember whose memory they are."""
        found: dict[int, tuple[list[str], Array]] = {}
        for _, name, value in saved:
            for array in _arrays(value):
                names, _ = found.setdefault(id(array), ([], array))
                if name not in names:
                    names.append(name)
        for names, array in found.values():
            owner = _owner(array)
            holder = self._holder(owner, position)
            known = None if holder == position else holder
            yield Kept(" = ".join(names), array.shape, array.dtype, owner.nbytes if known is None else 0, known)

    def _holder(self, owner: Array, holder: int | str) -> int | str:
        """Return who held the memory of `owner` first: `holder` if nobody did."""
        alive, first = self._holders.get(id(owner), (None, holder))
        if alive is not None and alive() is owner:
            return first
        self._holders[id(owner)] = (self._reference(owner), holder)
        return holder

    def _reference(self, owner: Array) -> Callable[[], Any]:
        if not self._fleeting:
            return lambda: owner
        place = id(owner)
        try:
            return weakref.ref(owner, lambda _: self._holders.pop(place, None))
        except TypeError:
            return lambda: None  # a NumPy scalar, which is not worth the count


def _written(records: Sequence[Any], names: Mapping[str, Any] | None, profile: Profile | None, title: str) -> Program:
    """Return the program of `records`; one without an op is a leaf, and an empty program."""
    starts = starting_points(records, names or {})
    writer = Writer(names or {}, starts)
    lines = []
    parts = {(id(record.x), record.op.name): record.space for record in records if _is_part(record)}
    for record in records:
        if record.op is None:
            continue
        outputs = range(len(record.op.outputs))
        results = tuple(
            parts.get((id(record), _part_op(i).name)) if len(outputs) > 1 else record.space for i in outputs
        )
        forward, backward = profile.times(record.position) if profile is not None else (None, None)
        lines.append(writer.line(record, results, NOTES.sources.get(record.position), forward, backward))
    leaves = {name: start.space for start, name in starts.items() if start.space is not None}
    return Program(lines, leaves, title)


def _is_part(record: Record) -> bool:
    """Return whether `record` is one of several results of another."""
    parent, op = record.x, record.op
    if op is None or op.kind != "linear" or not isinstance(parent, Record) or parent.op is None:
        return False
    count = len(parent.op.outputs)
    return count > 1 and any(op.function is _part_op(i).function for i in range(count))


def _arrays(value: Any) -> Iterator[Array]:
    """Yield the arrays in a residual, which may be one, a sequence of them, or something else."""
    if is_array(value):
        yield value
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from _arrays(entry)


def _owner(array: Array) -> Array:
    """Return the array whose memory `array` is a view of: itself if it is no view."""
    while is_array(getattr(array, "base", None)):
        array = array.base
    return array


def _cells(line: Line, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the cells of the table for one line."""
    cells = (
        str(line.position),
        line.operation,
        ", ".join(shown(entry) for entry in line.inputs),
        line.result,
        ", ".join(str(kept) for kept in line.keeps) or "nothing",
        f"{line.nbytes:,}",
    )
    known = {
        "forward": duration(line.forward),
        "backward": duration(line.backward),
        "line": place(line.source),
    }
    return cells + tuple(known[name] for name in columns[6:])
