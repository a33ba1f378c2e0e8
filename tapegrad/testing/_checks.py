"""Checks that the derivatives of a function are right: against differences, against each other, and in their manners.

Tensors and arrays pair as Re(sum(conj(g) * t)), the convention of `backward`, `vjp` and `jvp`: for complex inputs the
gradient is the direction of steepest ascent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._array import as_array, device_of, is_array, library, to_host
from .._tape import differentiable
from .._tensor import Tensor
from .._transforms import jvp, vjp
from .._tree import leaves, unflatten
from ..ops.creation import tensor
from ._numerical import Estimate, derivative

__all__ = ["GradientError", "check_gradients", "check_jvp", "check_vjp"]

_MODES = ("reverse", "forward")
# A rule may lose ten bits of its result to rounding: long sums, and factors of moderate size that cancel.
_LOST = 1024
# Differences of numbers next to zero are no measure of anything.
_UNDERFLOW = 1e-290
# Functions of more numbers than this are differentiated along random directions, not along every axis.
_FULL = 64
_DIRECTIONS = 8


class GradientError(AssertionError):
    """A derivative is wrong, or the function cannot be checked; the message says which, where, and by how much."""


@dataclass
class Subject:
    """A function to be checked, as a function of its differentiable inputs alone, at one point.

    `call` takes arrays or tensors like `xs` and gives the list of its floating point and complex results.
    """

    name: str
    call: Callable[..., list[Any]]
    xs: list[Any]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @functools.cached_property
    def outputs(self) -> list[Any]:
        """The results at `xs`, as arrays."""
        return [_bare(y) for y in self.call(*self.xs)]

    @functools.cached_property
    def finite(self) -> list[Any]:
        """Where the results are finite: elsewhere they have no derivative."""
        return [np.isfinite(to_host(y)) for y in self.outputs]

    def like(self, arrays: Sequence[Any]) -> list[Any]:
        """Return random arrays of the shapes, dtypes and libraries of `arrays`, with entries between -1 and 1."""
        made = []
        for a in arrays:
            values = self.rng.uniform(-1, 1, a.shape)
            if a.dtype.kind == "c":
                values = values + 1j * self.rng.uniform(-1, 1, a.shape)
            made.append(library(a).asarray(values.astype(a.dtype)))
        return made

    def cotangents(self) -> list[Any]:
        """Return random cotangents of the results, zero where a result is not finite."""
        found = zip(self.like(self.outputs), self.finite, strict=True)
        return [g if mask.all() else library(g).asarray(np.where(mask, to_host(g), 0)) for g, mask in found]

    def pull(self, gs: Sequence[Any]) -> list[Any]:
        """Return the cotangents of the inputs, as arrays, for cotangents of the results."""
        return [_bare(h) for h in vjp(self.call, *self.xs)[1](list(gs))]

    def push(self, ts: Sequence[Any]) -> list[Any]:
        """Return the tangents of the results, as arrays, for tangents of the inputs."""
        return [_bare(t) for t in jvp(self.call, self.xs, ts)[1]]

    def doubled(self) -> Subject:
        """Return the same function at the same point in double precision, the inputs differences are taken of."""
        xs = [x.astype("complex128" if x.dtype.kind == "c" else "float64") for x in self.xs]
        return Subject(self.name, self.call, xs, self.rng)


def _bare(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def subject(function: Callable[..., Any], args: Sequence[Any], name: str | None = None, seed: int = 0) -> Subject:
    """Return `function` at `args` as a subject of checks, or explain why it is none.

    Raises
    ------
    GradientError
        If no argument is differentiable, or the function raises, gives no differentiable result, or gives other
        results on the second call.
    """
    if name is None:
        name = str(getattr(getattr(function, "op", function), "name", getattr(function, "__name__", "the function")))
    given = leaves(tuple(args))
    values = [as_array(_bare(a)) if isinstance(a, (float, complex, Tensor)) or is_array(a) else a for a in given]
    places = [i for i, a in enumerate(values) if is_array(a) and differentiable(a.dtype)]
    if not places:
        raise GradientError(f"{name} was given no floating point or complex argument, so there is nothing to check")

    def call(*xs: Any) -> list[Any]:
        called = list(values)
        for i, x in zip(places, xs, strict=True):
            called[i] = x
        result = function(*unflatten(tuple(args), called))
        return [y for y in leaves(result) if (isinstance(y, Tensor) or is_array(y)) and differentiable(y.dtype)]

    made = Subject(name, call, [values[i] for i in places], np.random.default_rng(seed))
    try:
        outputs = made.outputs
    except Exception as error:
        raise GradientError(f"{name} raised {type(error).__name__} at these arguments: {error}") from error
    if not outputs:
        raise GradientError(f"{name} gave no tensor or array of floating point or complex numbers")
    for first, second in zip(outputs, made.call(*made.xs), strict=True):
        if not np.array_equal(to_host(first), to_host(_bare(second)), equal_nan=True):
            raise GradientError(
                f"{name} gave two results for the same arguments: it is not deterministic; fix its seed"
            )
    return made


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
        raise GradientError(f"{what}: the function is not finite within a step of the point, so nothing can be said")
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
    count = f"; {int((~right).sum())} of {got.size} entries differ" if got.ndim else ""
    raise GradientError(
        f"{what}{place}: got {got[index]:.10g}, expected {expected[index]:.10g} "
        f"(error estimate {estimate:.1e}, tolerance {float(tolerance[index]):.1e}){count}"
    )


def pairing(gs: Sequence[Any], ts: Sequence[Any]) -> float:
    """Return Re(sum(conj(g) * t)) over all pairs."""
    return float(sum(np.vdot(to_host(g), to_host(t)).real for g, t in zip(gs, ts, strict=True)))


def _size(arrays: Sequence[Any]) -> float:
    return float(sum(np.abs(to_host(a)).astype(float).sum() for a in arrays))


# Numerical Jacobians


@dataclass
class Column:
    """The numerical derivative of all results by one direction of one input."""

    k: int
    index: tuple[int, ...] | None
    direction: list[Any]
    slopes: list[Estimate]


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
                    found.append(Column(k, index, direction, derivative(point.call, point.xs, direction)))
    else:
        for _ in range(_DIRECTIONS):
            direction = point.like(point.xs)
            found.append(Column(-1, None, direction, derivative(point.call, point.xs, direction)))
    return found


# Checks


def vjp_against(subject: Subject, found: Sequence[Column], gs: Sequence[Any], pulled: Sequence[Any]) -> None:
    """Check cotangents of the inputs, `pulled` for `gs`, against numerical columns."""
    unit = unit_of(*subject.xs, *pulled, *gs)
    expected = [np.zeros(h.shape, np.result_type(h.dtype, np.float64)) for h in pulled]
    errors = [np.zeros(h.shape) for h in pulled]
    scales = [0.0 for _ in pulled]
    for column in found:
        terms = [np.conj(to_host(g)) * slope.value for g, slope in zip(gs, column.slopes, strict=True)]
        value = float(sum(term.real.sum() for term in terms))
        error = sum(_weighted(slope.error, g) for g, slope in zip(gs, column.slopes, strict=True))
        if column.index is None:
            what = f"the VJP of {subject.name}, paired with a random direction"
            got = np.asarray(pairing(pulled, column.direction))
            compare(what, got, np.asarray(value), error, _size(terms), unit)
        else:
            expected[column.k][column.index] += value * to_host(column.direction[column.k])[column.index]
            errors[column.k][column.index] += error
            scales[column.k] = max(scales[column.k], _size(terms))
    if all(column.index is not None for column in found):
        for k, (h, value_k, error_k, scale) in enumerate(zip(pulled, expected, errors, scales, strict=True)):
            compare(f"the VJP of {subject.name} by input {k}", h, value_k, error_k, scale, unit)


def _weighted(error: Any, g: Any) -> float:
    """Return the sum of errors times sizes of cotangents, where unknown errors count only if they are asked for."""
    sizes = np.abs(to_host(g)).astype(float)
    return float(np.sum(np.where(sizes > 0, error, 0.0) * sizes))


def jvp_against(subject: Subject, found: Sequence[Column], ts: Sequence[Any], pushed: Sequence[Any]) -> None:
    """Check tangents of the results, `pushed` for `ts`, against a difference; columns say how much may cancel."""
    double = subject.doubled()
    slopes = derivative(double.call, double.xs, [_double(t) for t in ts])
    unit = unit_of(*subject.xs, *pushed)
    for i, (got, slope, mask) in enumerate(zip(pushed, slopes, subject.finite, strict=True)):
        which = f" for result {i}" if len(pushed) > 1 else ""
        sizes = [
            abs(pairing([ts[c.k]], [c.direction[c.k]])) * np.abs(c.slopes[i].value)
            for c in found
            if c.index is not None
        ]
        scale = float(np.max(sum(sizes), initial=0.0)) if sizes else 0.0
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
    unit = unit_of(*pulled, *pushed)
    what = f"the pairing <g, J t> (from the JVP) = <J^H g, t> (from the VJP) of {subject.name}"
    compare(what, np.asarray(left), np.asarray(right), 0.0, scale, unit)


def linear(subject: Subject, gs: Sequence[Any], pulled: Sequence[Any]) -> None:
    """Check that the VJP is linear in the cotangent."""
    others = subject.cotangents()
    mixed = [0.5 * g - 2.0 * other for g, other in zip(gs, others, strict=True)]
    parts = zip(pulled, subject.pull(others), strict=True)
    for k, (got, (h, other)) in enumerate(zip(subject.pull(mixed), parts, strict=True)):
        scale = float(2 * np.abs(to_host(other)).max(initial=0.0) + np.abs(to_host(h)).max(initial=0.0))
        expected = 0.5 * to_host(h) - 2.0 * to_host(other)
        what = f"the linearity in the cotangent of the VJP of {subject.name} by input {k}"
        compare(what, got, expected, 0.0, scale, unit_of(*subject.xs, *pulled))


def mannered(subject: Subject, gs: Sequence[Any]) -> None:
    """Check the laws of dtype, shape, device and memory of gradients as `backward` leaves them.

    A gradient has the dtype, shape and device of its leaf; it shares memory with nothing; inputs, results and
    cotangents are unchanged, also when the same records are replayed twice.
    """
    name = subject.name
    inputs = [tensor(x, requires_grad=True) for x in subject.xs]
    befores = [to_host(x).copy() for x in subject.xs]
    outs = [y for y in subject.call(*inputs) if isinstance(y, Tensor)]
    values = [to_host(y.data).copy() for y in outs]
    given = [to_host(g).copy() for g in gs]
    rounds: list[list[Any]] = []
    for _ in range(2):
        for x in inputs:
            x.grad = None
        for y, g in zip(outs, gs, strict=True):
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
                raise GradientError(f"{name} changed {what} {i}: it was {copy!r}, and is {to_host(array)!r}")
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
                raise GradientError(f"the gradient of {name} by input {k} has {fact} {got}, expected {expected}")
        if not np.array_equal(to_host(first), to_host(second), equal_nan=True):
            raise GradientError(f"the gradient of {name} by input {k} differs when the same records are replayed again")
        others = [("another gradient", other) for i, other in enumerate(rounds[0]) if i != k and other is not None]
        others += [("an input", x.data) for x in inputs] + [("a result", y.data) for y in outs]
        others += [("the cotangent given", g) for g in gs]
        for what, other in others:
            if shares(first, other):
                raise GradientError(f"the gradient of {name} by input {k} shares memory with {what}")


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
    subject: Subject, modes: Sequence[str] = _MODES, expected: tuple[Any, Any] | None = None
) -> tuple[list[Estimate], list[Estimate]]:
    """Check second derivatives in all combinations of `modes`, and return the numerical ones.

    With `H` the second derivative of <g, f> and `t` a direction, reverse over reverse, forward over reverse and reverse
    over forward must all give `H t`, the difference quotient of VJPs along `t`; forward over forward gives that of
    JVPs. The VJP must also be differentiable in its cotangent, which gives the JVP back. `expected` are numerical
    derivatives that were found before, on another library of arrays.
    """
    gs, ts = subject.cotangents(), subject.like(subject.xs)

    def reversed_(*xs: Any) -> list[Any]:
        return list(vjp(subject.call, *xs)[1](gs))

    def forwarded(*xs: Any) -> list[Any]:
        return list(jvp(subject.call, xs, ts)[1])

    if expected is None:
        slopes = derivative(lambda *xs: [_bare(h) for h in reversed_(*xs)], subject.xs, ts)
        bends = derivative(lambda *xs: [_bare(t) for t in forwarded(*xs)], subject.xs, ts) if "forward" in modes else []
    else:
        slopes, bends = expected
    found = {}
    if "reverse" in modes:
        found["reverse over reverse"] = (vjp(reversed_, *subject.xs)[1](ts), slopes)
    if "forward" in modes:
        found["forward over forward"] = (jvp(forwarded, subject.xs, ts)[1], bends)
    if "reverse" in modes and "forward" in modes:
        found["forward over reverse"] = (jvp(reversed_, subject.xs, ts)[1], slopes)
        found["reverse over forward"] = (vjp(forwarded, *subject.xs)[1](gs), slopes)
        pulled = vjp(lambda *cotangents: list(vjp(subject.call, *subject.xs)[1](cotangents)), *gs)[1](ts)
        pushed = [Estimate(to_host(t), np.asarray(0.0)) for t in subject.push(ts)]
        found["reverse over the cotangent"] = (pulled, pushed)
    for combination, (arrays, estimates) in found.items():
        of_results = combination in ("forward over forward", "reverse over the cotangent")
        for i, (got, slope) in enumerate(zip(arrays, estimates, strict=True)):
            what = f"the second derivative of {subject.name}, {combination}, {'result' if of_results else 'input'} {i}"
            mask = subject.finite[i] if of_results else True
            value, expected_value, error = (
                np.where(mask, to_host(a), 0) for a in (_bare(got), slope.value, slope.error)
            )
            compare(what, value, expected_value, error)
    return slopes, bends


def check_vjp(function: Callable[..., Any], *args: Any, name: str | None = None, seed: int = 0) -> None:
    """Check the reverse-mode derivative of `function` at `args` against differences.

    Also checked: linearity in the cotangent, and that gradients keep dtype, shape and device, share no memory, and
    leave inputs, results and cotangents unchanged.

    Parameters
    ----------
    function : takes arrays or tensors, alone or in nested containers, and gives tensors likewise
    args : where; floating point and complex arguments are differentiated, others are constants
    name : what messages call the function
    seed : of the random cotangents

    Raises
    ------
    GradientError
        With the input, the index, what was got and expected, and the error estimate.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import check_vjp
    >>> check_vjp(lambda x, y: np.sum(np.sin(x) * y, axis=0), np.ones((2, 3)), np.arange(3.0))
    """
    point = subject(function, args, name, seed)
    gs = point.cotangents()
    _reverse(point, columns(point.doubled()), gs)


def _reverse(point: Subject, found: Sequence[Column], gs: Sequence[Any]) -> Sequence[Any]:
    pulled = fitting(f"the cotangent from {point.name} for input", point.pull(gs), point.xs)
    vjp_against(point, found, gs, pulled)
    linear(point, gs, pulled)
    mannered(point, gs)
    return pulled


def _forward(point: Subject, found: Sequence[Column], ts: Sequence[Any]) -> Sequence[Any]:
    pushed = fitting(f"the tangent from {point.name} for result", point.push(ts), point.outputs)
    jvp_against(point, found, ts, pushed)
    return pushed


def check_jvp(function: Callable[..., Any], *args: Any, name: str | None = None, seed: int = 0) -> None:
    """Check the forward-mode derivative of `function` at `args` against differences.

    Parameters and errors are those of `check_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import check_jvp
    >>> check_jvp(lambda x: np.exp(-x * x), np.linspace(-1, 1, 5))
    """
    point = subject(function, args, name, seed)
    _forward(point, columns(point.doubled()), point.like(point.xs))


def check_gradients(
    function: Callable[..., Any],
    *args: Any,
    order: int = 2,
    modes: Sequence[str] = _MODES,
    name: str | None = None,
    seed: int = 0,
) -> None:
    """Check all derivatives of `function` at `args`, of first and second order, in reverse and forward mode.

    First order: VJP and JVP against differences, and against each other by <g, J t> = <J^H g, t>, which needs no
    differences; linearity in the cotangent; dtypes, shapes, devices, memory. Second order: all combinations of the
    modes against differences of the first derivatives.

    Parameters
    ----------
    function : takes arrays or tensors, alone or in nested containers, and gives tensors likewise
    args : where; floating point and complex arguments are differentiated, others are constants
    order : 1 or 2
    modes : "reverse", "forward", or both
    name : what messages call the function
    seed : of the random cotangents and directions

    Raises
    ------
    GradientError
        With the input, the index, what was got and expected, and the error estimate.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> from tapegrad.testing import check_gradients
    >>> check_gradients(lambda x: np.sum(x / (1 + x * x)), np.array([0.5, -1.0, 2.0]))

    A rule with a wrong sign:

    >>> wrong = tg.ops.unary(lambda x: np.cos(x), lambda g, x: g * np.sin(x), name="wrong")
    >>> check_gradients(wrong, np.array(0.5))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    tapegrad.testing.GradientError: the VJP of wrong by input 0: got 0.1313258614, expected -0.1313258614 (error ...)
    """
    if order not in (1, 2) or not modes or not set(modes) <= set(_MODES):
        raise ValueError(f"got order={order} and modes={modes}, expected 1 or 2, and some of {_MODES}")
    point = subject(function, args, name, seed)
    first_order(point, modes)
    if order == 2:
        second_order(point.doubled(), modes)


def first_order(point: Subject, modes: Sequence[str] = _MODES, found: Sequence[Column] | None = None) -> list[Column]:
    """Check first derivatives and manners of a subject, and return the numerical columns."""
    gs, ts = point.cotangents(), point.like(point.xs)
    found = columns(point.doubled()) if found is None else found
    pulled = _reverse(point, found, gs) if "reverse" in modes else None
    pushed = _forward(point, found, ts) if "forward" in modes else None
    if pulled is not None and pushed is not None:
        paired(point, gs, pulled, ts, pushed)
    return list(found)
