"""Finding faults: where a NaN or an infinity was made, which rule made one of a cotangent, and why the tape grows.

Records hold nothing of this. A watcher that is active writes down where the user's program made each record; these
notes are kept by position, and dropped with the records.
"""

from __future__ import annotations

import gc
import linecache
import os
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ._array import is_array, ones, to_host
from ._op import Op
from ._tape import MODE, Leaf, Mode, ModeContext, Record, Watcher, replay
from ._tensor import Tensor, detached
from .errors import AnomalyError, HistoryError
from .typing import Formula

__all__ = ["detect_anomaly", "explain"]

# Where a program was written


class Source(NamedTuple):
    """A line of the user's program: file, line number, and the function that it is in."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def text(self) -> str:
        """What is written there, or nothing if the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def traceback(self) -> str:
        """The place as Python's tracebacks spell it, which editors know how to open."""
        text = self.text
        return f'File "{self.file}", line {self.line}, in {self.function}' + (f": {text}" if text else "")


_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES = (_HERE, os.path.dirname(np.__file__) + os.sep)
# Programs that come with the package are users of it.
_PROGRAMS = (os.path.join(_HERE, "examples", ""), os.path.join(_HERE, "__main__.py"))


def calling() -> Source | None:
    """Return the line of the innermost caller outside this package and NumPy, or None if there is none."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        file = code.co_filename
        if not file.startswith(_LIBRARIES) or file.startswith(_PROGRAMS):
            return Source(file, frame.f_lineno or 0, code.co_name)
        frame = frame.f_back
    return None


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
        If `output` has no history, or a replay has released it.
    """
    record = output._record
    if record is None or not output.requires_grad:
        raise HistoryError("got a tensor without history; its inputs need requires_grad=True, and recording on")
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
    """What watchers found out about records, by position: the line that made each, and which made a NaN or infinity.

    Once they are many, the notes on records that have died are dropped; since that waits until their number has
    doubled, it costs a constant time for each.
    """

    _FEW = 50_000

    def __init__(self) -> None:
        self.sources: dict[int, Source] = {}
        self.made: dict[int, str] = {}
        self._limit = self._FEW
        self._lock = threading.Lock()

    def add(self, record: Record, source: Source | None) -> None:
        """Note that `record` was made by the line `source`."""
        if source is not None:
            self.sources[record.position] = source
            if len(self.sources) > self._limit:
                self._sweep()

    def _sweep(self) -> None:
        with self._lock:
            alive = {record.position for record in living()}
            for notes in (self.sources, self.made):
                for position in [position for position in list(notes) if position not in alive]:
                    notes.pop(position, None)
            self._limit = max(self._FEW, 2 * len(self.sources))


NOTES = _Notes()


# What is in an array


def _arrays(value: Any) -> Iterator[Any]:
    """Yield the floating point arrays and numbers in `value`: itself, or what a container holds; tensors as arrays."""
    value = detached(value)
    if is_array(value):
        if value.dtype.kind in "fcV":
            yield value
    elif isinstance(value, (float, complex)):
        yield np.asarray(value)
    elif isinstance(value, dict):
        yield from _arrays(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from _arrays(entry)


def _plain(array: Any) -> Any:
    """Return `array` in a dtype that NumPy itself has."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _is_finite(*values: Any) -> bool:
    return all(bool(np.isfinite(_plain(array)).all()) for value in values for array in _arrays(value))


def _has_nan(*values: Any) -> bool:
    return any(bool(np.isnan(_plain(array)).any()) for value in values for array in _arrays(value))


def described(value: Any) -> str:
    """Return dtype, shape and the range of values in words, with the numbers of NaN and infinities."""
    value = detached(value)
    if not is_array(value):
        return repr(value)
    host = np.asarray(to_host(_plain(value)))
    name = f"{value.dtype} {value.shape}"
    if not host.size:
        return f"{name}, empty"
    if host.dtype.kind in "biu":
        return f"{name} from {host.min()} to {host.max()}"
    sizes = np.abs(host) if host.dtype.kind == "c" else host
    finite = sizes[np.isfinite(sizes)]
    words = []
    if finite.size:
        low, high = f"{finite.min():.6g}", f"{finite.max():.6g}"
        what = "sizes " if host.dtype.kind == "c" else ""
        words.append(f"{what}all {low}" if low == high else f"{what}from {low} to {high}")
    for count, what in (
        (np.isnan(sizes).sum(), "nan"),
        ((sizes == np.inf).sum(), "inf"),
        ((sizes == -np.inf).sum(), "-inf"),
    ):
        if count:
            words.append(f"{count:,} {what}")
    return f"{name} " + ", ".join(words)


def _kind_of(value: Any) -> str:
    """Return "nan" if there is one, otherwise "infinity"."""
    return "nan" if _has_nan(value) else "infinity"


def _example(bad: Any, parts: Sequence[tuple[str, Any]]) -> str:
    """Return the values at the first place where `bad` is not finite, of all parts of its shape and all numbers."""
    arrays = list(_arrays(bad))
    if len(arrays) != 1:
        return ""
    host = np.asarray(to_host(_plain(arrays[0])))
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
    words = []
    for name, value in [*parts, ("result", arrays[0])]:
        array = detached(value)
        if not hasattr(array, "shape"):
            if isinstance(array, (int, float, complex)):
                words.append(f"{name} {array}")
        elif is_array(array) and array.shape in (host.shape, ()):
            words.append(f"{name} {np.asarray(to_host(_plain(array)))[place if array.shape else ()]}")
    return (f"at index {place}: " if place else "there: ") + ", ".join(words)


def _indented(rows: Sequence[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "".join(f"\n  {name.ljust(width)}  {text}" for name, text in rows)


# Faults


@dataclass(frozen=True)
class Fault:
    """A value or a cotangent that is not finite, and what it came from.

    Attributes
    ----------
    operation, position : of the record; the position is None for an operation that was not recorded
    input : the input whose rule it was, None for a value that was computed forward
    source : the line of the program that called the operation, if a watcher was there
    masked : whether the forward value was not selected (cotangent 0) and its derivative is infinite or NaN
    text : the report, several lines
    """

    operation: str
    position: int | None
    input: str | None
    source: Source | None
    masked: bool
    text: str

    def __str__(self) -> str:
        return self.text


_MASKED = (
    "masked in forward, alive in backward: the {} is exactly 0 here, because the program did not select this "
    "value (np.where, clip, maximum, a product with 0), but the derivative is infinite or nan, and 0 * inf is nan. "
    "Either give the operation a harmless input where its result is not selected, "
    "np.where(ok, f(np.where(ok, x, 1)), 0), or replay under tapegrad.strong_zero()"
)


def _called(position: int | None, source: Source | None) -> str:
    if source is not None:
        return source.traceback
    if position is None:
        return "unknown"
    return "unknown: only under detect_anomaly or profile is it written down"


def _origin(parents: Sequence[Record | None]) -> str | None:
    """Return who made the first NaN or infinity among the records that `parents` were computed from, if it is noted."""
    if not NOTES.made:
        return None
    positions = [record.position for parent in parents if parent is not None for record in history(parent)]
    first = min((place for place in positions if place in NOTES.made), default=None)
    return None if first is None else NOTES.made[first]


def _forward_fault(
    op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, source: Source | None
) -> Fault | None:
    """Return what is wrong with the results of an operation that had nothing of the kind among its inputs, or None."""
    if _is_finite(outs):
        return None
    kind = _kind_of(outs)
    if _has_nan(inputs, call) if kind == "nan" else not _is_finite(inputs, call):
        return None
    position = None if record is None else record.position
    names = [f"xs[{i}]" for i in range(len(inputs))] if op.variadic else list(op.inputs)
    parts = list(zip(names, inputs, strict=False))
    results = list(zip(op.outputs, outs, strict=True))
    rows = [("line", _called(position, source))]
    rows += [(name, described(value)) for name, value in parts if value is not None]
    rows += [(name, described(value)) for name, value in results]
    bad = next(value for _, value in results if not _is_finite(value))
    if op.kind in ("unary", "binary", "elementwise"):
        rows.append(("first", _example(bad, parts)))
    if kind == "nan" and not _is_finite(inputs, call):
        origin = _origin([x._record for x in inputs if isinstance(x, Tensor)])
        rows.append(("origin", origin or "an input was infinite already"))
    what = f"{op.name} made " + ("nan of inputs without any" if kind == "nan" else "an infinity of finite inputs")
    where = "" if position is None else f", record #{position}"
    return Fault(op.name, position, None, source, False, what + where + _indented(rows))


def _backward_fault(
    op: Op, k: int, record: Record | None, gs: Sequence[Any], residuals: Sequence[Any], h: Any
) -> Fault | None:
    """Return what is wrong with a cotangent (or a tangent, if there is no record) that a rule made, or None."""
    if _is_finite(h) or not _is_finite(gs):
        return None
    kind = _kind_of(h)
    name = f"xs[{k}]" if op.variadic else op.inputs[k]
    position = None if record is None else record.position
    source = calling() if record is None else NOTES.sources.get(record.position)
    masked = kind == "nan" and _was_masked(gs, h)
    saved = list(zip(op.names[0 if op.variadic else k], residuals, strict=False))
    numeric = [(known, value) for known, value in saved if is_array(detached(value)) or isinstance(value, float)]
    parts = [("g" if i == 0 else f"g{i}", g) for i, g in enumerate(_arrays(gs))] + numeric
    rows = [("line", _called(position, source))]
    rows += [(known, described(value)) for known, value in parts]
    rows += [("result", described(value)) for value in _arrays(h)]
    if op.kind in ("unary", "binary", "elementwise"):
        rows.append(("first", _example(h, parts)))
    if record is not None and not _is_finite([value for _, value in numeric]):
        rows.append(("origin", _origin([record]) or "what the rule kept was not finite already"))
    text = f"the rule of {op.name} for its input {name} made {'nan' if kind == 'nan' else 'an infinity'} of a finite "
    text += "tangent, in forward mode" if position is None else f"cotangent, in the replay of record #{position}"
    return Fault(
        op.name,
        position,
        name,
        source,
        masked,
        text + _indented(rows) + ("\n" + _MASKED.format("cotangent" if record else "tangent") if masked else ""),
    )


def _was_masked(gs: Sequence[Any], h: Any) -> bool:
    """Return whether every NaN of `h` is where the cotangent is exactly zero."""
    cotangents, results = list(_arrays(gs)), list(_arrays(h))
    if len(cotangents) == len(results) == 1 and cotangents[0].shape == results[0].shape:
        g, bad = cotangents[0], ~np.isfinite(_plain(results[0]))
        return not bool(((g != 0) & bad).any())
    return not any(bool((g != 0).any()) for g in cotangents)


class _Inside(threading.local):
    """Whether this thread is inside a rule, whose operations are no steps of the user's program."""

    depth = 0


class _Judge(Watcher):
    """A watcher that looks for faults in every result of an operation and of a rule."""

    judges = True

    def __init__(self) -> None:
        self._inside = _Inside()

    def computed(
        self, op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, seconds: float
    ) -> None:
        """Note who called, and look at the results."""
        source = calling()
        if record is not None:
            NOTES.add(record, source)
        if self._inside.depth:
            return
        fault = _forward_fault(op, inputs, call, outs, record, source)
        if fault is not None:
            if record is not None:
                kind = "nan" if _has_nan(outs) else "an infinity"
                NOTES.made[record.position] = f"#{record.position} {op.name} made {kind}: {_called(None, source)}"
            self.forward(fault, _has_nan(outs))

    def rule(self, op: Op, k: int, formula: Formula, record: Record | None) -> Formula:
        """Return `formula` with a look at what it makes of a finite cotangent."""
        count = 1 if record is not None else len(op.cotangents)

        def watched(*args: Any) -> Any:
            self._inside.depth += 1
            try:
                h = formula(*args)
            finally:
                self._inside.depth -= 1
            self.played(record, args[:count], h)
            if not self._inside.depth:
                fault = _backward_fault(op, k, record, args[:count], args[count:], h)
                if fault is not None:
                    self.backward(fault)
            return h

        return watched

    def forward(self, fault: Fault, nan: bool) -> None:
        """Take note of a fault in a value."""

    def backward(self, fault: Fault) -> None:
        """Take note of a fault in a cotangent."""

    def played(self, record: Record | None, gs: Sequence[Any], h: Any) -> None:
        """Look at a cotangent that was made."""


class _Anomalies(_Judge):
    """The watcher of `detect_anomaly`: it raises, and warns about a tape that grows."""

    def __init__(self, nan: bool, inf: bool) -> None:
        super().__init__()
        self._nan, self._inf = nan, inf
        self._made = 0
        self._next = 2 * _MANY
        self._warned: set[Any] = set()

    def computed(
        self, op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, seconds: float
    ) -> None:
        """Look at the results, and from time to time at the whole tape."""
        super().computed(op, inputs, call, outs, record, seconds)
        if record is not None:
            self._made += 1
            if self._made >= self._next:
                # Looking at every doubling costs a constant time for each record.
                self._next = 2 * self._made
                self._look_at_growth()

    def forward(self, fault: Fault, nan: bool) -> None:
        """Raise if this kind of fault was asked for."""
        if self._nan if nan else self._inf:
            raise AnomalyError(fault.text)

    def backward(self, fault: Fault) -> None:
        """Raise."""
        raise AnomalyError(fault.text)

    def _look_at_growth(self) -> None:
        for source, text in growth():
            if source not in self._warned:
                self._warned.add(source)
                warnings.warn_explicit(text, RuntimeWarning, source.file, source.line)


_MANY = 1000


def growth() -> list[tuple[Source, str]]:
    """Return the lines of the program, as far as they are noted, that make the tape grow, each with a sentence."""
    records = [record for record in living() if not record.released]
    used = {id(parent) for record in records for parent in record.parents() if parent is not None}
    ends: Counter[Source] = Counter()
    cut: Counter[Source] = Counter()
    last: dict[Source, Record] = {}
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
        if cut[source] >= _MANY // 10:
            why = f"has added to {cut[source]:,} results whose history a replay has released: none can be replayed"
        elif sums.get(source, 0) >= _MANY:
            why = f"has summed up {sums[source]:,} terms, and the history of all of them is alive"
        elif ends[source] >= _MANY:
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


def _terms(record: Record, source: Source) -> int:
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
            if value is None or not _has_nan(value) or (parent is not None and parent not in labels):
                continue
            # An infinity may be meant, as in masks, and so is left to the operation that makes a nan of it.
            what = f"the constant {name}" if parent is None else f"{labels[parent]}, its {name},"
            rows = [("line", _called(record.position, source)), (name, described(value))]
            text = f"nan came in: {what} of {op.name}, record #{record.position}, holds some" + _indented(rows)
            faults.append(Fault(op.name, record.position, name, source, False, text))
            return faults
        if record not in known:
            continue
        fault = _forward_fault(op, [value for _, value in inputs], (), (known[record],), record, source)
        if fault is None:
            continue
        nan = _has_nan(known[record])
        if any(value is None for _, value in inputs):
            text = f"{fault.text}\n  not all inputs are known: one of them may have been so already"
            fault = replace(fault, text=text)
        if nan or not faults:
            faults.append(fault)
        if nan:
            break
    return faults


# The two ways in


def detect_anomaly(nan: bool = True, inf: bool = False) -> ModeContext:
    """Return a context, also a decorator, in which the first operation or rule that makes a NaN raises.

    Forward, an operation is at fault if it made a NaN of inputs that hold none. One that made an infinity of finite
    inputs is only remembered, and named where the infinity becomes a NaN: infinities are often meant, in masks of
    attention for instance. In a replay, a rule is at fault if it made a cotangent that is not finite of a finite one.
    If its cotangent was exactly zero there, so that the value itself was not selected and only its infinite derivative
    is, the message says so, and what to do.

    Every message has the line of the program that called the operation, the ranges of all inputs and of what the rule
    kept, and the values at the first place. It covers this thread or task, values and rules of any order, and tangents.

    It also looks at the tape as that grows, and warns (RuntimeWarning) about a line that keeps ever more history alive,
    such as `total += loss`, at a thousand of them.

    Every result is looked at, and on a device waited for; where this context is not entered, none of it costs anything.

    Parameters
    ----------
    nan : whether an operation that makes a NaN raises; False if your program makes and then masks them
    inf : whether one that makes an infinity does

    Raises
    ------
    AnomalyError
        At the first fault, from inside the operation or the replay.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> x = tg.tensor([0.0, 4.0], requires_grad=True)
    >>> with tg.detect_anomaly():
    ...     loss = np.sum(np.where(x.data > 0, np.sqrt(x), 0))
    ...     loss.backward()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    tapegrad.errors.AnomalyError: the rule of sqrt for its input x made nan of a finite cotangent, in the replay of ...
      line    File "...", line 2, in <module>: loss = np.sum(np.where(x.data > 0, np.sqrt(x), 0))
      g       float64 (2,) from 0 to 1
      out     float64 (2,) from 0 to 2
      result  float64 (2,) all 0.25, 1 nan
      first   at index (0,): g 0.0, out 0.0, result nan
    masked in forward, alive in backward: ...
    """
    return ModeContext(watchers=(_Anomalies(nan, inf),))


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


class _Explainer(_Judge):
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
        for array in _arrays(h):
            size = float(np.abs(_plain(array)).max()) if array.size else 0.0
            if np.isfinite(size) and size > self.largest[0]:
                self.largest = size, record


def explain(output: Tensor, names: Mapping[str, Tensor] | None = None) -> Report:
    """Return a report on the values and cotangents behind `output`: where a NaN or an infinity was made, if one was.

    Nothing is changed: no `grad`, and no history is released. The replay is tried out under the modes that are active,
    strong zero for instance. Values are known as far as rules keep them, or as they can be computed again from those;
    the lines of the program only if they ran under `detect_anomaly` or `profile`.

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
    >>> report = tg.explain(np.sum(np.sqrt(x) * x), {"x": x})
    >>> print(report)  # doctest: +ELLIPSIS
    2 of 3 values behind this result are known, and finite
    the rule of sqrt for its input x made an infinity of ...
    """
    records = alive_history(output)
    labels = starting_points(records or [output._record], names or {})
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
            arrived = replay([(output._record, seed)], retain=True)
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
        place = f", {source.traceback}" if source else ""
        text.append(
            f"the largest cotangent has size {size:.6g}, made by {record.op.name}, record #{record.position}{place}"
        )
    rows = [(name, described(arrived[leaf]) if leaf in arrived else "none arrives") for leaf, name in labels.items()]
    text.append("cotangents of the leaves" + _indented(rows))
    return Report(tuple(faults), "\n".join(text))
