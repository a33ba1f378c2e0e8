"""Blame: which operation of a composite function has the wrong rule, or why the derivative is wrong though none has.

A failing function is run once more, and every operation that it recorded is checked by itself, at the values that it
met there. If one fails, it is named, with its place in the program and the smallest arrays at which it still fails. If
none does, the fault lies between the rules: a value left the tape on the way, or a kink is within reach of the step.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._array import is_array, to_host
from .._tape import differentiable
from .._tensor import Tensor
from .._transforms import jvp, vjp
from .._tree import leaves
from ._laws import MODES, first_order, second_order
from ._numerical import derivative
from ._report import code_of, shrunk
from ._subject import GradientError, Subject, UncertainError, bare
from ._trace import Step, Trace, is_hermitian, trace

__all__ = ["Verdict", "blame"]

# Of longer programs, one record of every kind is tried first, and no more than this many of all.
_MOST = 400
# How far the inputs are moved to see what moves with them: the first step of the differences.
_NEAR = 2.0**-8


@dataclass
class Guilty:
    """A step whose rule is wrong by itself, how, and the rule that it is a part of, if it is."""

    number: int
    step: Step
    error: GradientError
    within: Step | None = None


@dataclass
class Verdict:
    """What blame found: the steps whose rules are wrong, or what else is the matter, in sentences."""

    guilty: list[Guilty]
    tried: int
    total: int
    reasons: list[str]
    text: str

    @property
    def ops(self) -> list[str]:
        """The names of the operations whose rules are wrong."""
        return list(dict.fromkeys(found.step.op.name for found in self.guilty))


def blame(point: Subject, order: int = 2, modes: Sequence[str] = MODES) -> Verdict | None:
    """Return what is to blame for the failure of the checks of `point`, or None if the function cannot be run again."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            traced = trace(point)
        except Exception:
            # The function raises on tracked tensors, which the failed check has said already.
            return None
        guilty, tried, total = _tried(traced, order, modes)
        if guilty:
            return Verdict(guilty, tried, total, [], _accusation(traced, guilty, tried, total, order, modes))
        reasons = [*dict.fromkeys(_reasons(point, traced))]
        return Verdict([], tried, total, reasons, _acquittal(reasons, tried, total))


def fault(step: Step, xs: Sequence[Any] | None, order: int, modes: Sequence[str]) -> GradientError | None:
    """Return the error of a step's rule, checked by itself at the values recorded or at other inputs; None if right."""
    point = step.subject(xs)
    try:
        if not point.outputs:
            return None
        first_order(point, modes)
        if order == 2:
            second_order(point.doubled(), modes)
    except UncertainError:
        return None
    except GradientError as error:
        return error
    return None


def _tiers(order: int, modes: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield what steps are checked for, in turn: the VJP, which runs a rule alone; then what other rules take part in.

    A tangent may be a transposed VJP, and a second derivative is that of a rule: whose fault either is takes another
    look.
    """
    if "reverse" in modes:
        yield 1, ("reverse",)
    if "forward" in modes:
        yield 1, modes
    if order == 2:
        yield 2, modes


def _tried(traced: Trace, order: int, modes: Sequence[str]) -> tuple[list[Guilty], int, int]:
    """Return the guilty among the recorded steps, how many were tried, and how many there are."""
    found = [(number, step) for number, step in enumerate(traced.steps, 1) if step.places and step.record is not None]
    kinds = {_kind(step): number for number, step in reversed(found)}
    first = set(kinds.values())
    queue = sorted(found, key=lambda entry: entry[0] not in first)[:_MOST]
    for tier, (depth, chosen) in enumerate(_tiers(order, modes)):
        guilty: list[Guilty] = []
        for number, step in sorted(queue, key=lambda entry: entry[0]):
            try:
                error = fault(step, None, depth, chosen)
            except Exception:
                # It cannot be called again by itself; the others may still tell.
                continue
            if error is not None:
                inner = _inside(number, step) if tier or "reverse" not in modes else []
                guilty += inner or [Guilty(number, step, error)]
        if guilty:
            # The checks add results up: where that rule is wrong, they find fault with all others.
            return sorted(guilty, key=lambda one: one.step.op.name != "add"), len(queue), len(found)
    return [], len(queue), len(found)


def _inside(number: int, step: Step) -> list[Guilty]:
    """Return the operations with a wrong VJP among those that the rule of `step` itself is computed with."""
    point = step.subject().doubled()
    gs, ts = point.cotangents(), point.like(point.xs)
    name, count = f"the rule of {step.op.name}", len(gs)

    def pulled(*given: Any) -> list[Any]:
        return list(vjp(point.call, *given[count:])[1](list(given[:count])))

    def pushed(*given: Any) -> list[Any]:
        return list(jvp(point.call, given[len(ts) :], given[: len(ts)])[1])

    found = []
    try:
        for rule, inputs in ((pulled, [*gs, *point.xs]), (pushed, [*ts, *point.xs])):
            steps = trace(Subject(name, rule, inputs)).steps
            for inner in steps[:_MOST]:
                if inner.places and inner.op.name != step.op.name and _is_finite(inner):
                    error = fault(inner, None, 1, ("reverse",))
                    found += [Guilty(number, inner, error, step)] if error is not None else []
    except Exception:
        # The rule cannot be run again, or not be differentiated: then it is wrong itself.
        return found
    return found


def _is_finite(step: Step) -> bool:
    return all(np.isfinite(to_host(x)).all() for x in step.inputs if is_array(x) and x.dtype.kind in "fc")


def _kind(step: Step) -> Any:
    shapes = tuple(getattr(x, "shape", None) for x in step.inputs)
    dtypes = tuple(str(getattr(x, "dtype", type(x).__name__)) for x in step.inputs)
    return step.op.name, shapes, dtypes, tuple(step.places), str(sorted(step.call[1]))


# A rule is wrong


def _accusation(
    traced: Trace, guilty: Sequence[Guilty], tried: int, total: int, order: int, modes: Sequence[str]
) -> str:
    main = guilty[0]
    step = main.step
    place = main.within or step
    part = f", which the rule of {place.op.name} computes with" if main.within else ""
    lines = [f"Blame: {_which(main)} is wrong{part}, in record {main.number} of {len(traced.steps)}{_where(place)}"]
    if place.place and place.place.text:
        lines.append(f"    {place.place.text}")
    lines += ["  Checked by itself, at the values recorded there:", f"    {main.error}"]
    for k in step.places if main.within is None else ():
        origin = traced.origin(step.parents[k])
        if origin:
            lines.append(f"  Its input {k} ({step.name(k)}) is {origin}.")
    right = tried - len({g.number for g in guilty})
    others = [f"{g.step.op.name} (record {g.number})" for g in guilty[1:] if g.step.op.name != step.op.name]
    others = [*dict.fromkeys(others)]
    if others:
        lines.append(f"  Wrong too: {', '.join(others[:5])}{' and others' if len(others) > 5 else ''}.")
    if right:
        untried = f"; {total - tried} were not tried" if total > tried else ""
        lines.append(f"  The rules of the other {right} records are right{untried}.")
    depth, chosen = next(t for t in _tiers(order, modes) if main.within or fault(step, None, *t) is not None)
    if main.within:
        depth, chosen = 1, ("reverse",)
    small = shrunk(step, lambda xs: fault(step, xs, depth, chosen) is not None)
    options = _options(depth, chosen)
    return "\n".join(lines) + "\n\nReproduce:\n" + code_of(step, small, options)


def _which(main: Guilty) -> str:
    """Return `the rule of multiply for its input 1 (y)`, or only the op where the check does not tell the input."""
    text, step = str(main.error), main.step
    for i, k in enumerate(step.places):
        label = step.subject().label(i)
        if len(step.places) > 1 and f" {label} " in f"{text} ".replace(":", " "):
            return f"the rule of {step.op.name} for its input {k} ({step.name(k)})"
    if len(step.places) == 1:
        return f"the rule of {step.op.name} for its input {step.places[0]} ({step.name(step.places[0])})"
    return f"the rule of {step.op.name}"


def _where(step: Step) -> str:
    return f", at {step.place}:" if step.place and step.place.text else f", at {step.place}" if step.place else ""


def _options(order: int, modes: Sequence[str]) -> str:
    # A check of everything fails where one of less does: options are for those alone that would leave the fault out.
    return "" if "reverse" in modes or order == 2 else f", modes={tuple(modes)!r}"


# Every rule is right


def _acquittal(reasons: Sequence[str], tried: int, total: int) -> str:
    if not total:
        head = "Blame: no operation was recorded between the inputs and the results."
    else:
        untried = f" ({total - tried} more were not tried)" if total > tried else ""
        count = "the rule of the one record is" if tried == 1 else f"the rules of all {tried} records are"
        head = f"Blame: {count} right, each checked by itself{untried}. The fault lies between them:"
    if not reasons:
        return head.replace(" The fault lies between them:", "") + (
            " Nothing was found that left the tape, and no kink within the step. The function may read or change"
            " something besides its arguments, or lose so many digits that differences say little about it."
        )
    return "\n".join([head, *(f"  * {reason}" for reason in reasons)])


def _reasons(point: Subject, traced: Trace) -> Iterator[str]:
    """Yield what is the matter though every rule is right, the likeliest first."""
    double = point.doubled()
    ts = double.like(double.xs)
    ways = []
    try:
        here = trace(double)
        for size in (1e-3 * _NEAR, _NEAR, -_NEAR):
            ways.append(trace(double.at([x + size * t for x, t in zip(double.xs, ts, strict=True)])))
    except Exception as error:
        yield f"a step away from these arguments {point.name} raises {type(error).__name__}: {error}"
        return
    yield from _untracked(here, ways[0])
    yield from _branches(here, ways[1:])
    for number, step in enumerate(traced.steps, 1):
        if step.places and step.record is not None:
            yield from _kinks(number, step)
    yield from _triangles(traced)


def _same_program(a: Trace, b: Trace) -> bool:
    return [step.op.name for step in a.steps] == [step.op.name for step in b.steps]


def _moved(a: Any, b: Any) -> bool:
    """Return whether two values at neighboring points are numbers that differ."""
    if not _is_number(a) or not _is_number(b):
        return False
    x, y = to_host(bare(a)), to_host(bare(b))
    return x.shape != y.shape or not np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")


def _is_number(value: Any) -> bool:
    return isinstance(value, (Tensor, bool, int, float, complex)) or is_array(value)


def _is_continuous(value: Any) -> bool:
    if isinstance(value, Tensor) or is_array(value):
        return bool(differentiable(value.dtype))
    return isinstance(value, (float, complex))


def _untracked(here: Trace, near: Trace) -> Iterator[str]:
    """Yield the values that depend on the inputs, and take part in the program without being tracked."""
    if not _same_program(here, near):
        return
    lost: set[int] = set()
    for number, (step, other) in enumerate(zip(here.steps, near.steps, strict=True), 1):
        tracked = bool(step.places)
        known = False
        for k, (x, y) in enumerate(zip(step.inputs, other.inputs, strict=True)):
            if step.parents[k] is None and _is_continuous(x) and _moved(x, y):
                known = known or id(x) in lost
                if id(x) not in lost:
                    known = True
                    yield (
                        f"a constant that should have been tracked: input {k} ({step.name(k)}) of {step.op.name}, in "
                        f"record {number}{_line(step)}, changes with the inputs, and no gradient flows through it: "
                        f"{_history(here, number, x, step.tensors[k])}"
                    )
        if tracked and step.record is None:
            known = True
            yield (
                f"nothing was recorded for {step.op.name}{_line(step)}, though its inputs are tracked: recording was "
                "off there (no_grad, or set_grad_enabled(False))"
            )
        settings = zip(leaves([*step.call[0], step.call[1]]), leaves([*other.call[0], other.call[1]]), strict=False)
        if tracked and any(_is_continuous(a) and _moved(a, b) for a, b in settings):
            yield f"a setting of {step.op.name}{_line(step)} changes with the inputs, and no gradient flows through it"
        if known and step.record is None:
            # What is made of a lost value is lost for the same reason, and not worth another sentence.
            lost.update(map(id, step.outs))
    for i, (x, y) in enumerate(zip(here.results, near.results, strict=False)):
        lost_result = not isinstance(x, Tensor) or not x.requires_grad
        if lost_result and _moved(x, y) and id(bare(x)) not in lost:
            kind = "tensor without history" if isinstance(x, Tensor) else f"plain {type(x).__name__}"
            yield (
                f"result {i} is a {kind}, though it changes with the inputs: "
                f"{_history(here, len(here.steps) + 1, bare(x), isinstance(x, Tensor))}"
            )


def _line(step: Step) -> str:
    text = f" ({step.place.text})" if step.place and step.place.text else ""
    return f" at {step.place}{text}" if step.place else ""


def _history(here: Trace, number: int, value: Any, is_tensor: bool) -> str:
    """Return where an untracked value came from, as far as memory and values tell."""
    known = [(x.data, f"{here.origin(x._record)}") for x in here.inputs]
    for i, step in enumerate(here.steps[: number - 1], 1):
        known += [(out, f"the result of record {i}, {step.op.name}{_line(step)}") for out in step.outs]
    for array, origin in reversed(known):
        if is_array(value) and is_array(array) and (value is array or _share(value, array)):
            how = "detached, by detach() or as_tensor(t.data)" if is_tensor else "taken out, by .data or np.asarray"
            return f"it is {origin}, {how}; use the tensor itself"
    for array, origin in reversed(known):
        if _equal(value, array):
            if not is_array(value):
                return f"it is {origin}, made a Python number by item() or float(); use the tensor itself"
            how = "copied without its history (as_tensor, tensor, np.array)"
            return f"it is {origin}, {how}; use the tensor itself"
    return "it was computed from them outside the tape (of .data, item() or numpy()); compute it with the tensors"


def _share(a: Any, b: Any) -> bool:
    return type(a) is type(b) and isinstance(a, np.ndarray) and bool(a.size) and np.may_share_memory(a, b)


def _equal(value: Any, array: Any) -> bool:
    a, b = to_host(value), to_host(array)
    return a.size > 0 and a.shape == b.shape and bool(np.array_equal(a, b))


def _branches(here: Trace, ways: Sequence[Trace]) -> Iterator[str]:
    """Yield the conditions that change within the step: the function jumps or bends there."""
    for way in ways:
        if not _same_program(here, way):
            i = next(
                (i for i, (a, b) in enumerate(zip(here.steps, way.steps, strict=False)) if a.op.name != b.op.name),
                min(len(here.steps), len(way.steps)),
            )
            step = here.steps[min(i, len(here.steps) - 1)] if here.steps else None
            yield (
                "a kink or jump within reach of the step: the program takes another way there (an if on values)"
                + (f", from record {i + 1} on{_line(step)}" if step else "")
            )
            return
        for number, (step, other) in enumerate(zip(here.steps, way.steps, strict=True), 1):
            pairs = [
                (a, b)
                for k, (a, b) in enumerate(zip(step.inputs, other.inputs, strict=True))
                if step.parents[k] is None
            ]
            pairs += zip(leaves([*step.call[0], step.call[1]]), leaves([*other.call[0], other.call[1]]), strict=False)
            if any(_moved(a, b) and not _is_continuous(a) for a, b in pairs):
                yield (
                    f"a kink or jump within reach of the step: a condition or index of {step.op.name}, record {number}"
                    f"{_line(step)}, changes there; check at arguments farther from it"
                )


def _kinks(number: int, step: Step) -> Iterator[str]:
    """Yield what differences say of an operation that bends, jumps, or has no value within the step."""
    point = step.subject().doubled()
    try:
        at_kink = step.op.kinks([*step.inputs], step.outs, step.call)
    except Exception:
        at_kink = None
    if at_kink is not None and np.any(to_host(bare(at_kink))):
        yield (
            f"a kink: {step.op.name}, record {number}{_line(step)}, stands on one, where its derivative is a "
            "convention; check away from it"
        )
        return
    try:
        slopes = derivative(lambda *xs: [bare(y) for y in point.call(*xs)], point.xs, point.like(point.xs))
    except Exception:
        return
    for slope in slopes:
        if np.isinf(slope.error).any():
            yield (
                f"{step.op.name}, record {number}{_line(step)}, is not finite within a step of the values recorded; "
                "check at arguments inside its domain"
            )
        elif (slope.error > 1e-4 * (1 + np.abs(slope.value))).any():
            yield (
                f"a kink or jump within reach of the step: {step.op.name}, record {number}{_line(step)}, has no "
                f"derivative that differences could find near {_short(step.inputs)}; check at arguments farther from it"
            )


def _short(inputs: Sequence[Any]) -> str:
    texts = [np.array2string(to_host(x), precision=3, threshold=6, edgeitems=2) for x in inputs if _is_number(x)]
    return ", ".join(" ".join(text.split()) for text in texts)


def _triangles(traced: Trace) -> Iterator[str]:
    """Yield the operations on symmetric matrices, whose derivative supposes that both triangles move together."""
    for number, step in enumerate(traced.steps, 1):
        if any(is_hermitian(step.op, k) for k in step.places):
            yield (
                f"{step.op.name}, record {number}{_line(step)}, takes symmetric matrices, and its derivative supposes "
                "that both triangles move together; differences move one entry at a time: check "
                "f((x + x.T) / 2) as a function of x"
            )
