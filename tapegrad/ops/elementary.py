"""Elementary functions: exponentials, logarithms, roots, trigonometric and hyperbolic functions, i0, sinc."""

import math

import numpy as np

from .._array import accumulation_dtype
from .._op import binary, elementwise, unary
from .._tensor import detached
from ._algebra import all_normal, blockwise, largest_number
from ._domains import anything, away_from, case, interval, positive, real
from .arithmetic import WITH_NUMBERS

_LN2, _LN10 = math.log(2), math.log(10)
_inside = interval(-0.9, 0.9).and_complex()
_moderate = interval(-1.4, 1.4).and_complex()

# Exponentials and logarithms

unary(np.exp, lambda g, out: g * out, on=anything)
unary(np.exp2, lambda g, out: g * (out * _LN2), on=anything)
# Not out + 1, which cancels for very negative x.
unary(np.expm1, lambda g, x: g * np.exp(x), on=anything)
unary(np.log, lambda g, x: g / x, on=positive.and_complex())
unary(np.log2, lambda g, x: g / x * (1 / _LN2), on=positive.and_complex())
unary(np.log10, lambda g, x: g / x * (1 / _LN10), on=positive.and_complex())
unary(np.log1p, lambda g, x: g / (1 + x), on=interval(-0.8, 3).and_complex())

# Roots: the derivative at 0 is infinite.

unary(np.sqrt, lambda g, out: g / (2 * out), on=positive.and_complex())
unary(np.cbrt, lambda g, out: g / (3 * (out * out)), on=away_from(0.0))

# Trigonometric functions. For complex numbers the derivatives of the inverse functions are taken from their values,
# which lie on NumPy's side of every branch cut.

unary(np.sin, blockwise(lambda g, x: g * np.cos(x)), on=anything)
unary(np.cos, blockwise(lambda g, x: -g * np.sin(x)), on=anything)
unary(np.tan, blockwise(lambda g, out: g * (1 + out * out)), on=_moderate)


def _cos_of_arcsin(x):
    """Return sqrt(1 - x^2), which does not cancel near 1."""
    return np.cos(np.arcsin(x)) if x.dtype.kind == "c" else np.sqrt((1 - x) * (1 + x))


def _arctan(g, x):
    """Return g / (1 + x^2)."""
    if x.dtype.kind == "c":
        return g / (1 + 1j * x) / (1 - 1j * x)
    if x.dtype.itemsize == 2:
        # Squares overflow from 256 on, where the derivative is still a number.
        r = np.hypot(x, 1)
        return g / r / r
    with np.errstate(over="ignore"):
        return g / (1 + x * x)


def _arctan2(g, x, y):
    """Return g x / (x^2 + y^2), and 0 with zero derivatives of every order at the origin."""
    with np.errstate(over="ignore"):
        square = x * x + y * y
    if all_normal(square):
        return g * (x / square)
    # Both are divided by the larger one first, so that squares neither overflow nor vanish. What they are divided by
    # cancels, so it counts as a constant; infinite, it makes both 0.
    s = np.maximum(abs(detached(x)), abs(detached(y)))
    origin = s == 0
    s = np.where(origin, np.inf, np.minimum(s, largest_number(s.dtype)))
    x, y = x / s, y / s
    return g * (x / s / (x * x + (y * y + origin)))


unary(np.arcsin, blockwise(lambda g, x: g / _cos_of_arcsin(x)), on=_inside)
unary(np.arccos, blockwise(lambda g, x: -g / _cos_of_arcsin(x)), on=_inside)
unary(np.arctan, blockwise(_arctan), on=_inside)
binary(
    np.arctan2,
    blockwise(lambda g, x, y: _arctan2(g, y, x)),
    blockwise(lambda g, x, y: -_arctan2(g, x, y)),
    kink=lambda x, y: (x == 0) & (y == 0),
    on=away_from(0.0, gap=0.3),
    cases=WITH_NUMBERS,
)
unary(np.deg2rad, lambda g: np.deg2rad(g), on=real)
unary(np.radians, lambda g: np.radians(g), on=real)
unary(np.rad2deg, lambda g: np.rad2deg(g), on=real)
unary(np.degrees, lambda g: np.degrees(g), on=real)

# Hyperbolic functions

unary(np.sinh, lambda g, x: g * np.cosh(x), on=anything)
unary(np.cosh, lambda g, x: g * np.sinh(x), on=anything)
unary(np.tanh, blockwise(lambda g, out: g * (1 - out * out)), on=_moderate)


def _cosh_of_arcsinh(x):
    """Return sqrt(1 + x^2), which does not overflow where x^2 would."""
    if x.dtype.kind == "c":
        return np.cosh(np.arcsinh(x))
    with np.errstate(over="ignore"):
        square = 1 + x * x
    if all_normal(square):
        return np.sqrt(square)
    s = np.minimum(np.maximum(abs(detached(x)), 1), largest_number(x.dtype))
    x, one = x / s, 1 / s
    return s * np.sqrt(x * x + one * one)


def _sinh_of_arccosh(x):
    """Return sqrt(x^2 - 1), which neither cancels near 1 nor overflows where x^2 would."""
    return np.sinh(np.arccosh(x)) if x.dtype.kind == "c" else np.sqrt(x - 1) * np.sqrt(x + 1)


unary(np.arcsinh, blockwise(lambda g, x: g / _cosh_of_arcsinh(x)), on=_inside)
unary(np.arccosh, blockwise(lambda g, x: g / _sinh_of_arccosh(x)), on=interval(1.2, 3).and_complex())
unary(np.arctanh, blockwise(lambda g, x: g / (1 - x) / (1 + x)), on=_inside)

# Two special functions. Their derivatives of all orders are ops of their own, exact wherever the functions are.


def sinc_derivative(x, order):
    """Return the derivative of np.sinc of the given order, at least 1.

    With f(u) = sin(u) / u, differentiating u f(u) = sin(u) gives f^(n) = (sin^(n)(u) - n f^(n-1)) / u, which loses no
    digits for |u| > n; for smaller u, the power series is summed.
    """
    u = x * np.pi
    small = np.abs(u) < order + 1
    near, far = np.where(small, u, 0), np.where(small, 1, u)
    series = 0 * near
    for power in reversed(range(order % 2, 4 * order + 22, 2)):
        k = (order + power) // 2
        series = series * (near * near) + (-1) ** k / ((2 * k + 1) * math.factorial(power))
    if order % 2:
        series = series * near
    sin, cos = np.sin(far), np.cos(far)
    recurrence = sin / far
    for n in range(1, order + 1):
        recurrence = ((sin, cos, -sin, -cos)[n % 4] - n * recurrence) / far
    return np.where(small, series, recurrence) * np.pi**order


sinc_derivative = elementwise(
    sinc_derivative,
    lambda g, x, order: g * sinc_derivative(x, order + 1),
    inputs="x",
    on=anything,
    cases=[case((2, 3), args=(order,)) for order in (1, 2, 3)],
)
unary(np.sinc, lambda g, x: g * sinc_derivative(x, 1), on=anything)


def i0_derivative(x, order):
    """Return the derivative of np.i0 of the given order, at least 1.

    The mean of cos(a)^n exp(x cos(a)) over all angles, taken with the trapezoidal rule, which converges geometrically
    for periodic functions: 256 angles give all digits up to the x at which np.i0 overflows. By symmetry a quarter of
    them will do, and then all terms have the same sign.
    """
    wide = x.astype(accumulation_dtype(x.dtype) or x.dtype)
    half = np.sinh if order % 2 else np.cosh
    count = 64
    total = 0 * wide
    for j in range(count):
        c = math.cos((j + 0.5) * math.pi / (2 * count))
        total = total + half(wide * c) * (c**order / count)
    return total.astype(x.dtype)


i0_derivative = elementwise(
    i0_derivative,
    lambda g, x, order: g * i0_derivative(x, order + 1),
    inputs="x",
    on=real,
    cases=[case((2, 3), args=(order,)) for order in (1, 2)],
)
unary(np.i0, lambda g, x: g * i0_derivative(x, 1), on=real)
