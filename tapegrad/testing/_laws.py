"""The laws that derivatives obey: against differences, against each other, and in their manners.

Tensors and arrays pair as Re(sum(conj(g) * t)), the convention of `backward`, `vjp` and `jvp`: for complex inputs the
gradient is the direction of steepest ascent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._array import device_of, library, to_host
from .._tensor import Tensor
from .._transforms import alias, jvp, vjp
from ..errors import LeafError
from ..ops.creation import tensor
from ._numerical import Estimate, derivative
from ._subject import GradientError, Subject, UncertainError, bare, explained

__all__ = ["MODES", "Column", "columns", "compare", "first_order", "second_order"]

MODES = ("reverse", "forward")
# A rule may lose ten bits of its result to rounding: long sums, and factors of moderate size that cancel.
_LOST = 1024
# Where the cotangents of a replay are larger than those at its ends, their rounding is; it stays below this share.
_ROUNDED = 1e-11
# Differences of numbers next to zero are no measure of anything.
_UNDERFLOW = 1e-290
# Where differences are no better than this, relatively, what they approach is no derivative.
_SINGULAR = 1e-3
# Functions of more numbers than this are differentiated along random directions, not along every axis.
_FULL = 64
_DIRECTIONS = 8


# Comparison


def unit_of(*arrays: Any) -> float:
    """Return the unit of rounding of the least precise of `arrays`."""
    dtypes = [a.dtype for a in arrays if a.dtype.kind in "fc"]
    return max((float(np.finfo(dtype).eps) for dtype in dtypes), default=float(np.finfo(np.float64).eps))


def compare(
    what: str, got: Any, expected: Any, error: Any = 0.0, scale: float = 0.0, unit: float | None = None
) -> None:
    """Raise GradientError unless `got` is `expected`, up to its error estimate and rounding.

    The tolerance is twice the error estimate, plus `_LOST` times the unit of rounding (by default that of `got`) at
    the size `scale` (at least the largest entry expected).
    """
    got, expected = to_host(got), to_host(expected)
    if got.shape != expected.shape:
        raise GradientError(f"{what}: got shape {got.shape}, expected {expected.shape}")
    unit = unit_of(got) if unit is None else unit
    if np.any(np.isinf(error)):
        raise UncertainError(f"{what}: the function is not finite within a step of the point, so nothing can be said")
    finite = np.abs(expected[np.isfinite(expected)])
    rounding = _LOST * unit * max(scale, float(finite.max(initial=0.0))) + _UNDERFLOW
    tolerance = np.broadcast_to(2 * error + rounding, got.shape)
    with np.errstate(invalid="ignore"):
        right = (np.abs(got - expected) <= tolerance) | (got == expected) | (np.isnan(got) & np.isnan(expected))
    if right.all():
        return
    index = np.unravel_index(np.argmax(~right), got.shape) if got.ndim else ()
    place = f" at index {tuple(map(int, index))}" if got.ndim else ""
    estimate = float(np.broadcast_to(error, got.shape)[index])
    if not np.isfinite(got[index]) and estimate > _SINGULAR * (1 + abs(expected[index])):
        raise UncertainError(
            f"{what}{place}: got {got[index]:.10g}, and differences find no derivative either (error estimate "
            f"{estimate:.1e}): the function has a singularity or a kink there"
        )
    count = f"; {int((~right).sum())} of {got.size} entries differ" if got.ndim else ""
    raise GradientError(
        f"{what}{place}: got {got[index]:.10g}, expected {expected[index]:.10g} "
        f"(error estimate {estimate:.1e}, tolerance {float(tolerance[index]):.1e}){count}"
    )


def noise(subject: Subject, gs: Sequence[Any]) -> float:
    """Return how large the terms may be that cancel in a derivative: that of <g, y>, for inputs of size one or less.

    A derivative that is zero, because they cancel all, is their rounding alone.
    """
    finite = zip(gs, subject.outputs, subject.finite, strict=True)
    # In double precision: products of half precision overflow.
    return float(sum((_sizes(g)[mask] * _sizes(y)[mask]).sum() for g, y, mask in finite))


def _sizes(a: Any) -> Any:
    return np.abs(to_host(a)).astype(float)


def pairing(gs: Sequence[Any], ts: Sequence[Any]) -> float:
    """Return Re(sum(conj(g) * t)) over all pairs."""
    return float(sum(np.vdot(to_host(g), to_host(t)).real for g, t in zip(gs, ts, strict=True)))


def _size(arrays: Sequence[Any]) -> float:
    return float(sum(_sizes(a).sum() for a in arrays))


# Numerical Jacobians


@dataclass
class Column:
    """The numerical derivative of all results by one direction of one input."""

    k: int
    index: tuple[int, ...] | None
    direction: list[Any]
    slopes: list[Estimate]


def differences(point: Subject, function: Callable[..., list[Any]], ts: Sequence[Any]) -> list[Estimate]:
    """Return the numerical derivative at a point in the direction `ts` of what belongs to its function."""
    with explained(f"{point.name}, a step away from these arguments,"):
        return derivative(lambda *xs: [bare(y) for y in function(*xs)], point.xs, ts)


def columns(point: Subject) -> list[Column]:
    """Return the columns of the Jacobian at a point in double precision, or of random combinations of them.

    A complex number has two directions, the real and the imaginary one.
    """
    zeros = [library(x).zeros_like(x) for x in point.xs]
    found = []
    if sum(x.size for x in point.xs) <= _FULL:
        for k, x in enumerate(point.xs):
            for index in np.ndindex(x.shape):
                for unit in (1.0, 1.0j) if x.dtype.kind == "c" else (1.0,):
                    t = np.zeros(x.shape, x.dtype)
                    t[index] = unit
                    direction = [library(x).asarray(t) if i == k else z for i, z in enumerate(zeros)]
                    found.append(Column(k, index, direction, differences(point, point.call, direction)))
    else:
        for _ in range(_DIRECTIONS):
            direction = point.like(point.xs)
            found.append(Column(-1, None, direction, differences(point, point.call, direction)))
    return found


# Checks


def vjp_against(subject: Subject, found: Sequence[Column], gs: Sequence[Any], pulled: Sequence[Any]) -> None:
    """Check cotangents of the inputs, `pulled` for `gs`, against numerical columns."""
    unit = unit_of(*subject.xs, *pulled, *gs)
    expected = [np.zeros(h.shape, np.result_type(h.dtype, np.float64)) for h in pulled]
    errors = [np.zeros(h.shape) for h in pulled]
    floor = noise(subject, gs)
    scales = [floor for _ in pulled]
    for column in found:
        terms = [np.conj(to_host(g)) * slope.value for g, slope in zip(gs, column.slopes, strict=True)]
        value = float(sum(term.real.sum() for term in terms))
        error = sum(_weighted(slope.error, g) for g, slope in zip(gs, column.slopes, strict=True))
        if column.index is None:
            what = f"the VJP of {subject.name}, paired with a random direction"
            got = np.asarray(pairing(pulled, column.direction))
            compare(what, got, np.asarray(value), error, max(floor, _size(terms)), unit)
        else:
            expected[column.k][column.index] += value * to_host(column.direction[column.k])[column.index]
            errors[column.k][column.index] += error
            scales[column.k] = max(scales[column.k], _size(terms))
    if all(column.index is not None for column in found):
        for k, (h, value_k, error_k, scale) in enumerate(zip(pulled, expected, errors, scales, strict=True)):
            compare(f"the VJP of {subject.name} by {subject.label(k)}", h, value_k, error_k, scale, unit)


def _weighted(error: Any, g: Any) -> float:
    """Return the sum of errors times sizes of cotangents, where unknown errors count only if they are asked for."""
    sizes = np.abs(to_host(g)).astype(float)
    return float(np.sum(np.where(sizes > 0, error, 0.0) * sizes))


def jvp_against(subject: Subject, found: Sequence[Column], ts: Sequence[Any], pushed: Sequence[Any]) -> None:
    """Check tangents of the results, `pushed` for `ts`, against a difference; columns say how much may cancel."""
    double = subject.doubled()
    slopes = differences(double, double.call, [_double(t) for t in ts])
    unit = unit_of(*subject.xs, *pushed)
    for i, (got, slope, mask) in enumerate(zip(pushed, slopes, subject.finite, strict=True)):
        which = f" for result {i}" if len(pushed) > 1 else ""
        sizes = [
            abs(pairing([ts[c.k]], [c.direction[c.k]])) * np.abs(c.slopes[i].value)
            for c in found
            if c.index is not None
        ]
        finite = np.abs(to_host(subject.outputs[i]))[mask].astype(float)
        scale = max(float(np.max(sum(sizes), initial=0.0)) if sizes else 0.0, float(finite.max(initial=0.0)))
        got, value, error = (np.where(mask, to_host(a), 0) for a in (got, slope.value, slope.error))
        compare(f"the JVP of {subject.name}{which}", got, value, error, scale, unit)


def _double(a: Any) -> Any:
    return a.astype("complex128" if a.dtype.kind == "c" else "float64")


def paired(
    subject: Subject, gs: Sequence[Any], pulled: Sequence[Any], ts: Sequence[Any], pushed: Sequence[Any]
) -> None:
    """Check that VJP and JVP are transposes of each other: <g, J t> = <J^H g, t>."""
    left, right = pairing(gs, pushed), pairing(pulled, ts)
    scale = _size([np.abs(to_host(g)) * np.abs(to_host(p)) for g, p in zip(gs, pushed, strict=True)])
    scale += _size([np.abs(to_host(h)) * np.abs(to_host(t)) for h, t in zip(pulled, ts, strict=True)])
    scale += noise(subject, gs)
    unit = unit_of(*pulled, *pushed)
    what = f"the pairing <g, J t> (from the JVP) = <J^H g, t> (from the VJP) of {subject.name}"
    compare(what, np.asarray(left), np.asarray(right), 0.0, scale, unit)


def linear(subject: Subject, gs: Sequence[Any], pulled: Sequence[Any]) -> None:
    """Check that the VJP is linear in the cotangent, and that records of one function get along in one replay."""
    others = subject.cotangents()
    mixed = [0.5 * g - 2.0 * other for g, other in zip(gs, others, strict=True)]
    pulled_others = subject.pull(others)
    # Three is no power of two: what a replay rounds differently then is what it loses on the way.
    thrice_as_much = [subject.pull([3.0 * g for g in seeds]) for seeds in (gs, others)]
    parts = zip(pulled, pulled_others, *thrice_as_much, strict=True)

    def thrice(*xs: Any) -> list[Any]:
        # A rule that writes to one place again and again spoils what it gave before; one that changes its cotangent
        # spoils it for the other side of the sum.
        sums = [a + b for a, b in zip(subject.call(*xs), subject.call(*xs), strict=True)]
        return [*sums, *subject.call(*xs)]

    several = dataclasses.replace(subject, call=thrice)
    for k, (got, (h, other, *three)) in enumerate(zip(several.pull([*mixed, *others]), parts, strict=True)):
        scale = 5 * float(_sizes(other).max(initial=0.0)) + 2 * float(_sizes(h).max(initial=0.0))
        scale = max(scale, noise(subject, gs), noise(subject, others))
        expected = to_host(h) - 3.0 * to_host(other)
        # What is got is 0.5 h and -2 other, each twice, and other; what is expected is h and -3 other: all are rounded.
        lost_h, lost_other = (
            float(np.abs(to_host(b) / 3.0 - to_host(a)).max(initial=0.0))
            for a, b in zip((h, other), three, strict=True)
        )
        lost = 2 * lost_h + 8 * lost_other
        what = f"the linearity in the cotangent of the VJP of {subject.name} by {subject.label(k)}"
        compare(what, got, expected, min(lost, _ROUNDED * scale), scale, unit_of(*subject.xs, *pulled))


def mannered(subject: Subject, gs: Sequence[Any]) -> None:
    """Check the laws of dtype, shape, device and memory of gradients as `backward` leaves them.

    A gradient has the dtype, shape and device of its leaf; it shares memory with nothing; inputs, results and
    cotangents are unchanged, also when the same records are replayed twice.
    """
    name, label = subject.name, subject.label
    inputs = [tensor(x, requires_grad=True) for x in subject.xs]
    befores = [to_host(x).copy() for x in subject.xs]
    with explained(f"{name} of tracked tensors"):
        try:
            results = subject.call(*inputs)
        except LeafError:
            # The function assigns to its arguments, which leaves forbid, and results of operations do not.
            results = subject.call(*map(alias, inputs))
    # A result that is no tensor has no history: the numbers have said so before.
    pairs = [(y, g) for y, g in zip(results, gs, strict=True) if isinstance(y, Tensor)]
    outs, gs = [y for y, _ in pairs], [g for _, g in pairs]
    values = [to_host(y.data).copy() for y in outs]
    given = [to_host(g).copy() for g in gs]
    rounds: list[list[Any]] = []
    for _ in range(2):
        for x in inputs:
            x.grad = None
        with explained(f"backward through {name}"):
            for y, g in pairs:
                if y.requires_grad:
                    y.backward(g, retain_graph=True)
        rounds.append([None if x.grad is None else x.grad.data for x in inputs])
    for what, arrays, copies in (
        ("input", [x.data for x in inputs], befores),
        ("result", [y.data for y in outs], values),
        ("cotangent", gs, given),
    ):
        for i, (array, copy) in enumerate(zip(arrays, copies, strict=True)):
            if not np.array_equal(to_host(array), copy, equal_nan=True):
                which = label(i) if what == "input" else f"{what} {i}"
                raise GradientError(f"{name} changed {which}: it was {copy!r}, and is {to_host(array)!r}")
    for k, (x, first, second) in enumerate(zip(inputs, *rounds, strict=True)):
        if first is None:
            continue
        for fact, got, expected in (
            ("shape", first.shape, x.shape),
            ("dtype", first.dtype, x.dtype),
            ("device", device_of(first), x.device),
            ("type", type(first), type(x.data)),
        ):
            if got != expected:
                raise GradientError(f"the gradient of {name} by {label(k)} has {fact} {got}, expected {expected}")
        if not np.array_equal(to_host(first), to_host(second), equal_nan=True):
            raise GradientError(
                f"the gradient of {name} by {label(k)} differs when the same records are replayed again"
            )
        others = [("another gradient", other) for i, other in enumerate(rounds[0]) if i != k and other is not None]
        others += [("an input", x.data) for x in inputs] + [("a result", y.data) for y in outs]
        others += [("the cotangent given", g) for g in gs]
        for what, other in others:
            if shares(first, other):
                raise GradientError(f"the gradient of {name} by {label(k)} shares memory with {what}")


def shares(a: Any, b: Any) -> bool:
    """Return whether two arrays of one library share memory."""
    kind = type(a)
    return kind is type(b) and bool(a.size and b.size) and bool(library(a).may_share_memory(a, b))


def fitting(what: str, found: Sequence[Any], like: Sequence[Any]) -> Sequence[Any]:
    """Return derivatives after checking that they have the shapes, dtypes and devices of what they belong to."""
    for i, (h, x) in enumerate(zip(found, like, strict=True)):
        facts = (("shape", h.shape, x.shape), ("dtype", h.dtype, x.dtype), ("device", device_of(h), device_of(x)))
        for fact, got, expected in facts:
            if got != expected:
                raise GradientError(f"{what} {i} has {fact} {got}, expected {expected}")
    return found


def second_order(
    subject: Subject,
    modes: Sequence[str] = MODES,
    expected: tuple[Any, Any] | None = None,
    along: tuple[Sequence[Any], Sequence[Any]] | None = None,
) -> tuple[list[Estimate], list[Estimate]]:
    """Check second derivatives in all combinations of `modes`, and return the numerical ones.

    With `H` the second derivative of <g, f> and `t` a direction, reverse over reverse, forward over reverse and reverse
    over forward must all give `H t`, the difference quotient of VJPs along `t`; forward over forward gives that of
    JVPs. The VJP must also be differentiable in its cotangent, which gives the JVP back. `expected` are numerical
    derivatives that were found before, on another library of arrays, `along` the cotangents and tangents there.
    """
    gs, ts = (subject.cotangents(), subject.like(subject.xs)) if along is None else along

    def reversed_(*xs: Any) -> list[Any]:
        return list(vjp(subject.call, *xs)[1](gs))

    def forwarded(*xs: Any) -> list[Any]:
        return list(jvp(subject.call, xs, ts)[1])

    if expected is None:
        slopes = differences(subject, reversed_, ts)
        bends = differences(subject, forwarded, ts) if "forward" in modes else []
    else:
        slopes, bends = expected
    scale = noise(subject, gs)
    name, found = f"the second derivative of {subject.name}", {}
    if "reverse" in modes:
        with explained(f"{name}, reverse over reverse,"):
            found["reverse over reverse"] = (vjp(reversed_, *subject.xs)[1](ts), slopes)
    if "forward" in modes:
        with explained(f"{name}, forward over forward,"):
            found["forward over forward"] = (jvp(forwarded, subject.xs, ts)[1], bends)
    if "reverse" in modes and "forward" in modes:
        with explained(f"{name}, forward over reverse,"):
            found["forward over reverse"] = (jvp(reversed_, subject.xs, ts)[1], slopes)
        with explained(f"{name}, reverse over forward,"):
            found["reverse over forward"] = (vjp(forwarded, *subject.xs)[1](gs), slopes)
        with explained(f"the VJP of {subject.name}, as a function of its cotangent,"):
            pulled = vjp(lambda *cotangents: list(vjp(subject.call, *subject.xs)[1](cotangents)), *gs)[1](ts)
        pushed = [Estimate(to_host(t), np.asarray(0.0)) for t in subject.push(ts)]
        found["reverse over the cotangent"] = (pulled, pushed)
    for combination, (arrays, estimates) in found.items():
        of_results = combination in ("forward over forward", "reverse over the cotangent")
        for i, (got, slope) in enumerate(zip(arrays, estimates, strict=True)):
            what = f"{name}, {combination}, {f'result {i}' if of_results else subject.label(i)}"
            mask = subject.finite[i] if of_results else True
            value, expected_value, error = (
                np.where(mask, to_host(a), 0) for a in (bare(got), slope.value, slope.error)
            )
            compare(what, value, expected_value, error, scale)
    return slopes, bends


def reverse_laws(point: Subject, found: Sequence[Column], gs: Sequence[Any]) -> Sequence[Any]:
    """Check cotangents, `gs` pulled back, against differences, for linearity and manners, and return them."""
    pulled = fitting(f"the cotangent from {point.name} for input", point.pull(gs), point.xs)
    vjp_against(point, found, gs, pulled)
    linear(point, gs, pulled)
    mannered(point, gs)
    return pulled


def forward_laws(point: Subject, found: Sequence[Column], ts: Sequence[Any]) -> Sequence[Any]:
    """Check tangents, `ts` pushed forward, against differences, and return them."""
    pushed = fitting(f"the tangent from {point.name} for result", point.push(ts), point.outputs)
    jvp_against(point, found, ts, pushed)
    return pushed


def first_order(point: Subject, modes: Sequence[str] = MODES, found: Sequence[Column] | None = None) -> list[Column]:
    """Check first derivatives and manners of a subject, and return the numerical columns."""
    gs, ts = point.cotangents(), point.like(point.xs)
    found = columns(point.doubled()) if found is None else found
    pulled = reverse_laws(point, found, gs) if "reverse" in modes else None
    pushed = forward_laws(point, found, ts) if "forward" in modes else None
    if pulled is not None and pushed is not None:
        paired(point, gs, pulled, ts, pushed)
    return list(found)


def layouts(point: Subject) -> None:
    """Check that strided, transposed and read-only inputs have the derivatives of contiguous ones."""
    gs, ts = point.cotangents(), point.like(point.xs)
    pulled, pushed = point.pull(gs), point.push(ts)
    for relaid in (strided, transposed):
        other = point.at([relaid(x) for x in point.xs])
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(other.outputs, point.outputs, strict=True)):
            # What NumPy computes may depend on the layout (order="K"): then its derivative does too.
            first_order(other)
            continue
        how = f"inputs {relaid.__name__}"
        for k, (got, expected) in enumerate(zip(other.pull([relaid(g) for g in gs]), pulled, strict=True)):
            compare(f"the VJP of {point.name} by {point.label(k)}, {how}", got, expected)
        for i, (got, expected) in enumerate(zip(other.push([relaid(t) for t in ts]), pushed, strict=True)):
            compare(f"the JVP of {point.name}, result {i}, {how}", got, expected)


def read_only(array: Any) -> Any:
    """Return a copy that cannot be written."""
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array: Any) -> Any:
    """Return an equal array whose entries lie apart."""
    if not array.ndim:
        return read_only(array)
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    wide.flags.writeable = False
    return wide[..., ::2]


def transposed(array: Any) -> Any:
    """Return an equal array in Fortran's order, backwards."""
    made = np.array(array[..., ::-1] if array.ndim else array, order="F")
    made.flags.writeable = False
    return made[..., ::-1] if array.ndim else made
