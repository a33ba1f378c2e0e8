"""The report on the values and the cotangents behind a result, after the fact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._array import ones
from ._faults import Fault, Judge, called, described, floats, forward_fault, has_nan, indented, plain
from ._history import NOTES, alive_history, residuals, starting_points
from ._mode import MODE, Mode
from ._tape import Record, replay
from ._tensor import Tensor

__all__ = ["Report", "explain"]


@dataclass(frozen=True)
class Report:
    """What `explain` found: `str` gives it as text.

    Attributes
    ----------
    faults : of values first, and then of cotangents, each in the order in which they happened
    text : the report
    """

    faults: tuple[Fault, ...]
    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


class _Explainer(Judge):
    """The watcher of `explain`: it keeps the first fault of a cotangent, and the largest cotangent."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Fault | None = None
        self.largest: tuple[float, Record | None] = (0.0, None)

    def backward(self, fault: Fault) -> None:
        """Keep the first one."""
        self.fault = self.fault or fault

    def played(self, record: Record | None, gs: Sequence[Any], h: Any) -> None:
        """Keep the size of the largest."""
        for array in floats(h):
            size = float(np.abs(plain(array)).max()) if array.size else 0.0
            if np.isfinite(size) and size > self.largest[0]:
                self.largest = size, record


def explain(output: Tensor, names: Mapping[str, Tensor] | None = None) -> Report:
    """Return a report on the values and cotangents behind `output`: where a NaN or an infinity was made, if one was.

    Nothing is changed: no `grad`, and no history is released. The replay is tried out under the modes that are active,
    strong zero for instance, and with the hooks of tensors. Values are known as far as rules keep them, or as they can
    be computed again from those; the lines of the program only if they ran under `detect_anomaly` or `profile`.

    Parameters
    ----------
    output : a tensor whose history is alive; the replay starts from ones
    names : leaves by the names to show, `dict(model.named_parameters())` for instance

    Raises
    ------
    HistoryError
        If `output` has no history, or a replay has released it.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> x = tg.tensor([0.0, 4.0], requires_grad=True)
    >>> report = tg.explain(np.sum(np.sqrt(x)), {"x": x})
    >>> print(report)  # doctest: +ELLIPSIS
    2 of 2 values behind this result are known, and finite
    the rule of sqrt for its input x made an infinity of a finite cotangent, in the replay of record #...
    """
    records = alive_history(output)
    start = output._record
    assert start is not None
    labels = starting_points(records or [start], names or {})
    with np.errstate(all="ignore"):
        tensors = [output, *(t for t in (names or {}).values() if isinstance(t, Tensor))]
        values = _known_values(records, {t._record: t.data for t in tensors})
        faults = _value_faults(records, values, labels)
        watcher = _Explainer()
        mode = MODE.get() or Mode()
        others = tuple(other for other in mode.watchers if not other.judges)
        before = MODE.set(Mode(False, (), (*others, watcher)))
        try:
            seed = ones(output.shape, output.dtype, like=output.data)
            arrived = replay([(start, seed)], retain=True)
        finally:
            MODE.reset(before)
    known = sum(record in values for record in records)
    text = [f"{known:,} of {len(records):,} values behind this result are known" + ("" if faults else ", and finite")]
    text += [fault.text for fault in faults]
    if watcher.fault is not None:
        faults.append(watcher.fault)
        text.append(watcher.fault.text)
    else:
        text.append("all cotangents are finite")
    size, record = watcher.largest
    if record is not None:
        assert record.op is not None
        source = NOTES.sources.get(record.position)
        place = f", {source.full}" if source else ""
        text.append(
            f"the largest cotangent has size {size:.6g}, made by {record.op.name}, record #{record.position}{place}"
        )
    rows = [(name, described(arrived[leaf]) if leaf in arrived else "none arrives") for leaf, name in labels.items()]
    text.append("cotangents of the leaves" + indented(rows))
    return Report(tuple(faults), "\n".join(text))


# What is known afterwards


def _known_values(records: Sequence[Record], given: Mapping[Record | None, Any]) -> dict[Record, Any]:
    """Return values of records and leaves: those given, what rules kept, and what ops without settings make of them."""
    known: dict[Record, Any] = {record: value for record, value in given.items() if record is not None}
    for record in records:
        op: Any = record.op
        parents = record.parents()
        for _, name, value in residuals(record):
            if name == "xs":
                known.update((p, v) for p, v in zip(parents, value, strict=True) if p is not None)
            elif name in op.inputs and (parent := parents[op.inputs.index(name)]) is not None:
                known[parent] = value
            elif (name,) == op.outputs:
                known[record] = value
    for record in records:
        op = record.op
        if record not in known and op.kind in ("unary", "binary") and not op.known:
            values = [value for _, value in _inputs(record, known)]
            if all(value is not None for value in values):
                known[record] = op.function(*values)
    return known


def _inputs(record: Record, known: Mapping[Record, Any]) -> list[tuple[Record | None, Any]]:
    """Return the inputs of a record: their records, None for constants, and values, None for unknown ones."""
    op: Any = record.op
    kept = {name: value for _, name, value in residuals(record)}
    if op.variadic:
        return [
            (p, known.get(p) if p is not None else kept["xs"][i] if "xs" in kept else None)
            for i, p in enumerate(record.parents())
        ]
    return [
        (p, kept.get(name) if p is None else known.get(p)) for p, name in zip(record.parents(), op.inputs, strict=False)
    ]


def _value_faults(records: Sequence[Record], known: Mapping[Record, Any], labels: Mapping[Record, str]) -> list[Fault]:
    """Return the first infinity and the first NaN that an operation made or that came in from outside."""
    faults: list[Fault] = []
    for record in records:
        op: Any = record.op
        source = NOTES.sources.get(record.position)
        inputs = _inputs(record, known)
        for i, (parent, value) in enumerate(inputs):
            name = f"xs[{i}]" if op.variadic else op.inputs[i]
            if value is None or not has_nan(value) or (parent is not None and parent not in labels):
                continue
            # An infinity may be meant, as in masks, and so is left to the operation that makes a nan of it.
            what = f"the constant {name}" if parent is None else f"{labels[parent]}, its {name},"
            rows = [("line", called(record.position, source)), (name, described(value))]
            text = f"nan came in: {what} of {op.name}, record #{record.position}, holds some" + indented(rows)
            faults.append(Fault(op.name, record.position, name, source, False, text))
            return faults
        if record not in known:
            continue
        fault = forward_fault(op, [value for _, value in inputs], (), (known[record],), record, source)
        if fault is None:
            continue
        nan = has_nan(known[record])
        if any(value is None for _, value in inputs):
            text = f"{fault.text}\n  not all inputs are known: one of them may have been so already"
            fault = replace(fault, text=text)
        if nan or not faults:
            faults.append(fault)
        if nan:
            break
    return faults
