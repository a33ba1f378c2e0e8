"""Which operation made a NaN or an infinity, and which rule made one of a finite cotangent."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._array import is_array, to_host
from ._checkpoint import CALL
from ._history import MANY, NOTES, growth, history
from ._mode import ModeContext, Watcher
from ._op import Op
from ._source import Place, caller
from ._tape import Record
from ._tensor import Tensor, detached
from .errors import AnomalyError
from .typing import Formula

__all__ = ["detect_anomaly"]


# What is in an array


def floats(value: Any) -> Iterator[Any]:
    """Yield the floating point arrays and numbers in `value`: itself, or what a container holds; tensors as arrays."""
    value = detached(value)
    if is_array(value):
        if value.dtype.kind in "fcV":
            yield value
    elif isinstance(value, (float, complex)):
        yield np.asarray(value)
    elif isinstance(value, dict):
        yield from floats(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for entry in value:
            yield from floats(entry)


def plain(array: Any) -> Any:
    """Return `array` in a dtype that NumPy itself has."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def is_finite(*values: Any) -> bool:
    return all(bool(np.isfinite(plain(array)).all()) for value in values for array in floats(value))


def has_nan(*values: Any) -> bool:
    return any(bool(np.isnan(plain(array)).any()) for value in values for array in floats(value))


def described(value: Any) -> str:
    """Return dtype, shape and the range of values in words, with the numbers of NaN and infinities."""
    value = detached(value)
    if not is_array(value):
        return repr(value)
    host = np.asarray(to_host(plain(value)))
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


def kind_of(value: Any) -> str:
    """Return "nan" if there is one, otherwise "infinity"."""
    return "nan" if has_nan(value) else "infinity"


def _example(bad: Any, parts: Sequence[tuple[str, Any]]) -> str:
    """Return the values at the first place where `bad` is not finite, of all parts of its shape and all numbers."""
    found = list(floats(bad))
    if len(found) != 1:
        return ""
    host = np.asarray(to_host(plain(found[0])))
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(host))[0])
    words = []
    for name, value in [*parts, ("result", found[0])]:
        array = detached(value)
        if not hasattr(array, "shape"):
            if isinstance(array, (int, float, complex)):
                words.append(f"{name} {array}")
        elif is_array(array) and array.shape in (host.shape, ()):
            words.append(f"{name} {np.asarray(to_host(plain(array)))[place if array.shape else ()]}")
    return (f"at index {place}: " if place else "there: ") + ", ".join(words)


def indented(rows: Sequence[tuple[str, str]]) -> str:
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
    source: Place | None
    masked: bool
    text: str

    def __str__(self) -> str:
        return self.text


_MASKED = """
masked in forward, alive in backward: the {0} is exactly 0 here, because the program did not select this value
(np.where, clip, maximum, a product with 0), but the derivative is infinite or nan, and 0 * inf is nan.
Give the operation a harmless input where its result is not selected, np.where(ok, f(np.where(ok, x, 1)), 0),
or take derivatives under tapegrad.strong_zero()"""


def called(position: int | None, source: Place | None) -> str:
    if source is not None:
        return source.full
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


def forward_fault(
    op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, source: Place | None
) -> Fault | None:
    """Return what is wrong with the results of an operation that had nothing of the kind among its inputs, or None."""
    if is_finite(outs):
        return None
    kind = kind_of(outs)
    if has_nan(inputs, call) if kind == "nan" else not is_finite(inputs, call):
        return None
    position = None if record is None else record.position
    names = [f"xs[{i}]" for i in range(len(inputs))] if op.variadic else list(op.inputs)
    parts = list(zip(names, inputs, strict=False))
    results = list(zip(op.outputs, outs, strict=True))
    rows = [("line", called(position, source))]
    rows += [(name, described(value)) for name, value in parts if value is not None]
    rows += [(name, described(value)) for name, value in results]
    bad = next(value for _, value in results if not is_finite(value))
    if op.kind in ("unary", "binary", "elementwise"):
        rows.append(("first", _example(bad, parts)))
    if kind == "nan" and not is_finite(inputs, call):
        origin = _origin([x._record for x in inputs if isinstance(x, Tensor)])
        rows.append(("origin", origin or "an input was infinite already"))
    what = f"{op.name} made " + ("nan of inputs without any" if kind == "nan" else "an infinity of finite inputs")
    where = "" if position is None else f", record #{position}"
    return Fault(op.name, position, None, source, False, what + where + indented(rows))


def _backward_fault(
    op: Op, k: int, record: Record | None, gs: Sequence[Any], residuals: Sequence[Any], h: Any
) -> Fault | None:
    """Return what is wrong with a cotangent (or a tangent, if there is no record) that a rule made, or None."""
    if is_finite(h) or not is_finite(gs):
        return None
    kind = kind_of(h)
    name = f"xs[{k}]" if op.variadic else op.inputs[k]
    position = None if record is None else record.position
    source = caller() if record is None else NOTES.sources.get(record.position)
    masked = kind == "nan" and _was_masked(gs, h)
    saved = list(zip(op.names[0 if op.variadic else k], residuals, strict=False))
    numeric = [(known, value) for known, value in saved if is_array(detached(value)) or isinstance(value, float)]
    parts = [("g" if i == 0 else f"g{i}", g) for i, g in enumerate(floats(gs))] + numeric
    rows = [("line", called(position, source))]
    rows += [(known, described(value)) for known, value in parts]
    rows += [("result", described(value)) for value in floats(h)]
    if op.kind in ("unary", "binary", "elementwise"):
        rows.append(("first", _example(h, parts)))
    if record is not None and not is_finite([value for _, value in numeric]):
        rows.append(("origin", _origin([record]) or "what the rule kept was not finite already"))
    text = f"the rule of {op.name} for its input {name} made {'nan' if kind == 'nan' else 'an infinity'} of a finite "
    text += "tangent, in forward mode" if position is None else f"cotangent, in the replay of record #{position}"
    return Fault(
        op.name,
        position,
        name,
        source,
        masked,
        text + indented(rows) + (_MASKED.format("cotangent" if record else "tangent") if masked else ""),
    )


def _was_masked(gs: Sequence[Any], h: Any) -> bool:
    """Return whether every NaN of `h` is where the cotangent is exactly zero."""
    cotangents, results = list(floats(gs)), list(floats(h))
    if len(cotangents) == len(results) == 1 and cotangents[0].shape == results[0].shape:
        g, bad = cotangents[0], ~np.isfinite(plain(results[0]))
        return not bool(((g != 0) & bad).any())
    return not any(bool((g != 0).any()) for g in cotangents)


class _Inside(threading.local):
    """Whether this thread is inside a rule, whose operations are no steps of the user's program."""

    depth = 0


class Judge(Watcher):
    """A watcher that looks for faults in every result of an operation and of a rule."""

    judges = True

    def __init__(self) -> None:
        self._inside = _Inside()

    def computed(
        self, op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, seconds: float
    ) -> None:
        """Note who called, and look at the results."""
        source = caller()
        if record is not None and record.op is None:
            record = None  # one of forward mode alone, which has no place on the tape
        if record is not None:
            NOTES.add(record, source)
        if self._inside.depth:
            return
        fault = forward_fault(op, inputs, call, outs, record, source)
        if fault is not None:
            if record is not None:
                kind = "nan" if has_nan(outs) else "an infinity"
                NOTES.made[record.position] = f"#{record.position} {op.name} made {kind}: {called(None, source)}"
            self.forward(fault, has_nan(outs))

    def rule(self, op: Op, k: int, formula: Formula, record: Record | None) -> Formula:
        """Return `formula` with a look at what it makes of a finite cotangent."""
        if op is CALL:
            return formula  # it runs the user's program again, and that program's operations and rules are looked at
        count = 1 if record is not None else len(op.cotangents)

        def watched(*args: Any) -> Any:
            self._inside.depth += 1
            try:
                # What NumPy would warn about is judged here, and named.
                with np.errstate(all="ignore"):
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


class _Anomalies(Judge):
    """The watcher of `detect_anomaly`: it raises, and warns about a tape that grows."""

    def __init__(self, nan: bool, inf: bool) -> None:
        super().__init__()
        self._nan, self._inf = nan, inf
        self._made = 0
        self._next = 2 * MANY
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
