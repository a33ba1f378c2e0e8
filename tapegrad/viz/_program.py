"""The tape behind a tensor as a program: one line per record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._array import is_array, ones
from .._tape import Leaf, Record, replay
from .._tensor import Tensor, detached
from ..errors import HistoryError
from ..typing import Array, Shape

__all__ = ["Kept", "Line", "program", "tape_text"]


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


@dataclass(frozen=True)
class Line:
    """One record of the tape: its position, operation, inputs, results, and what it keeps.

    `inputs` are positions of records, names of leaves, and for constants None, or a name if it is known; `results`
    are shapes with dtypes, one for each result of the operation, None for one that nothing depends on.
    """

    position: int
    operation: str
    inputs: tuple[int | str | None, ...]
    results: tuple[tuple[Shape, np.dtype[Any]] | None, ...]
    keeps: tuple[Kept, ...]

    @property
    def nbytes(self) -> int:
        """The memory that this record keeps alive and no earlier one does."""
        return sum(kept.nbytes for kept in self.keeps)


def program(output: Tensor, names: Mapping[str, Any] | None = None) -> list[Line]:
    """Return the records that `output` was computed by, in the order in which they happened.

    Records know neither the shapes of their results nor their owners: a record keeps only what its rule names. A
    cotangent has the shape and dtype of what it belongs to, so shapes are found by one trial replay, which retains
    the history and leaves every `grad` alone. It costs as much as `backward`, and memory for all cotangents.

    Parameters
    ----------
    output : a tensor whose history is alive
    names : tensors or arrays by the names to show, `dict(model.named_parameters())` for instance; their memory is
        taken to be theirs, and not kept by the tape. Other leaves are called `leaf 1`, `leaf 2`, ...

    Raises
    ------
    HistoryError
        If `output` has no history, or a replay has released it.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad.viz import program
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> [(line.operation, line.results[0][0], line.nbytes) for line in program(np.sum(np.exp(w * 3)), {"w": w})]
    [('multiply', (2,), 0), ('exp', (2,), 16), ('sum', (), 0)]
    """
    lines, _ = _lines(output, names or {})
    return lines


def tape_text(output: Tensor, names: Mapping[str, Any] | None = None) -> str:
    """Return the tape behind `output` as text: position, operation, inputs, result and residuals, line by line.

    `#7` stands for the result of the record at position 7. Bytes are counted once, where memory is first kept; an
    array whose memory somebody else keeps anyway is shown with the holder: `y (of w)`, `out (of #7)`.

    Parameters and errors are those of `program`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad.viz import tape_text
    >>> x, w = np.ones((5, 3)), tg.tensor(np.ones((3, 2)), requires_grad=True)
    >>> print(tape_text(np.tanh(x @ w), {"w": w}))  # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
    position  operation  inputs       result          keeps for the replay  bytes
              leaf       w            float64 (3, 2)
         ...  matmul     constant, w  float64 (5, 2)  x float64 (5, 3)        120
         ...  tanh       #...         float64 (5, 2)  out float64 (5, 2)       80
                                                      together                200
    """
    lines, leaves = _lines(output, names or {})
    rows = [("position", "operation", "inputs", "result", "keeps for the replay", "bytes")]
    for name, leaf in leaves.items():
        rows.append(("", "leaf", name, _typed(leaf.shape, leaf.dtype), "", ""))
    for line in lines:
        kept = ", ".join(_described(entry) for entry in line.keeps) or "nothing"
        results = ", ".join("unused" if result is None else _typed(*result) for result in line.results)
        inputs = ", ".join(_shown(entry) for entry in line.inputs)
        rows.append((str(line.position), line.operation, inputs, results, kept, f"{line.nbytes:,}"))
    total = sum(line.nbytes for line in lines)
    rows.append(("", "", "", "", "together", f"{total:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in (0, 5) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _lines(output: Tensor, names: Mapping[str, Any]) -> tuple[list[Line], dict[str, Leaf]]:
    """Return the lines of the program, and the leaves by name in the order of their first use."""
    record = output._record
    if record is None or not output.requires_grad:
        raise HistoryError("got a tensor without history; its inputs need requires_grad=True, and recording on")
    records = _reachable(record)
    if any(entry.released for entry in records):
        raise HistoryError("the history of this tensor was released by a replay; use backward(retain_graph=True)")
    seed = ones(output.shape, output.dtype, like=output.data)
    with np.errstate(all="ignore"):
        cotangents = replay([(record, seed)], wanted=records, retain=True) if records else {}
    labels = {id(t._record): name for name, t in names.items() if isinstance(t, Tensor) and isinstance(t._record, Leaf)}
    leaves: dict[str, Leaf] = {}
    named = {name: detached(t) for name, t in names.items()}
    constants = {id(array): name for name, array in named.items()}
    holders: dict[int, int | str] = {id(_owner(array)): name for name, array in named.items() if is_array(array)}

    def label(parent: Record | None) -> int | str | None:
        if not isinstance(parent, Leaf):
            return None if parent is None else parent.position
        name = labels.setdefault(id(parent), f"leaf {len(leaves) + 1}")
        leaves[name] = parent
        return name

    if isinstance(record, Leaf):
        label(record)
    lines = []
    for entry in records:
        assert entry.op is not None
        parents = entry.parents() if entry.op.variadic else entry.parents()[: len(entry.op.inputs)]
        # A record does not know its constant inputs, unless a rule keeps them.
        kept = dict(_residuals(entry)) if not entry.op.variadic else {}
        inputs = tuple(
            constants.get(id(kept.get(name))) if parent is None else label(parent)
            for name, parent in zip(entry.op.inputs * len(parents), parents, strict=False)
        )
        keeps = tuple(_kept(entry, holders))
        lines.append(Line(entry.position, entry.op.name, inputs, _results(entry, cotangents[entry]), keeps))
    return lines, leaves


def _reachable(record: Record) -> list[Record]:
    """Return `record` and all records that it was computed from, by position; leaves are left out."""
    found: dict[int, Record] = {}
    waiting = [record]
    while waiting:
        record = waiting.pop()
        if record.op is not None and record.position not in found:
            found[record.position] = record
            waiting.extend(parent for parent in record.parents() if parent is not None)
    return [found[position] for position in sorted(found)]


def _residuals(record: Record) -> Iterator[tuple[str, Any]]:
    """Yield what the rules of a record keep, with the names of the formulas' parameters; shapes and settings too."""
    op = record.op
    assert op is not None
    for k, saved in enumerate(record.for_x or () if op.many else (record.for_x, record.for_y)):
        if saved is None:
            continue
        names = op.names[0 if op.variadic else k]
        yield from zip(names, (saved,) if len(names) == 1 else saved, strict=True)


def _kept(record: Record, holders: dict[int, int | str]) -> Iterator[Kept]:
    """Yield the arrays that a record keeps, each once, and note in `holders` whose memory they are."""
    found: dict[int, tuple[list[str], Array]] = {}
    for name, value in _residuals(record):
        for array in _arrays(value):
            names, _ = found.setdefault(id(array), ([], array))
            if name not in names:
                names.append(name)
    for names, array in found.values():
        owner = _owner(array)
        holder = holders.setdefault(id(owner), record.position)
        known = None if holder == record.position else holder
        yield Kept(" = ".join(names), array.shape, array.dtype, owner.nbytes if known is None else 0, known)


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


def _results(record: Record, cotangent: Any) -> tuple[tuple[Shape, np.dtype[Any]] | None, ...]:
    """Return shape and dtype of each result of a record, which are those of its cotangents."""
    assert record.op is not None
    count = len(record.op.outputs)
    # Several results share one cotangent, in which those that nothing depends on are missing.
    parts = [cotangent] if count == 1 else [cotangent.get(i) for i in range(count)]
    return tuple(None if part is None else (part.shape, part.dtype) for part in parts)


def _typed(shape: Shape, dtype: np.dtype[Any]) -> str:
    return f"{dtype} {shape}"


def _shown(entry: int | str | None) -> str:
    return "constant" if entry is None else f"#{entry}" if isinstance(entry, int) else entry


def _described(kept: Kept) -> str:
    return f"{kept.name} " + (_typed(kept.shape, kept.dtype) if kept.holder is None else f"(of {_shown(kept.holder)})")
