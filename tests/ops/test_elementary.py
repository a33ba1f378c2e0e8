"""Elementary functions: infinite derivatives, extremes without warnings, branch cuts, sinc and i0 at every order."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.ops.elementary import i0_derivative, sinc_derivative

INF = math.inf


def gradient(function, x, dtype=float):
    """Return the gradient of the sum of the real part of `function`."""
    t = tg.tensor(np.asarray(x, dtype), requires_grad=True)
    np.sum(np.real(function(t))).backward()
    return t.grad.data


def derivatives(function, x, order):
    """Return the derivatives of `function` at the number `x` up to `order`."""
    t = tg.tensor(float(x), requires_grad=True)
    found = []
    y = function(t)
    for _ in range(order):
        t.grad = None
        y.backward(create_graph=True)
        y = t.grad
        found.append(y.item())
    return found


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (np.sqrt, 0, INF),
        (np.cbrt, 0, INF),
        (np.arcsin, 1, INF),
        (np.arcsin, -1, INF),
        (np.arccos, 1, -INF),
        (np.arccosh, 1, INF),
        (np.log1p, -1, INF),
        (np.arctanh, 1, INF),
        (np.log, 0, INF),
        (np.log2, 0, INF),
        (np.log10, 0, INF),
    ],
)
def test_infinite_derivatives_are_infinite(function, x, expected):
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert gradient(function, x) == expected


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (np.exp, -1e4, 0),
        (np.exp2, -1e4, 0),
        (np.expm1, -40, math.exp(-40)),
        (np.expm1, -1e4, 0),
        (np.tanh, 1e4, 0),
        (np.arctan, 1e200, 0),
        (np.arctan, -INF, 0),
        (np.arcsinh, 1e200, 1e-200),
        (np.arccosh, 1e200, 1e-200),
        (np.arccosh, 1 + 1e-12, 1 / math.sqrt(2e-12)),
        (np.arcsin, 1 - 1e-12, 1 / math.sqrt(2e-12)),
        (np.log1p, 1e-300, 1),
        (np.log10, 1e-300, 1e300 / math.log(10)),
        (np.cbrt, 1e-300, 1e200 / 3),
        (np.cbrt, -8, 1 / 12),
    ],
)
def test_extremes_are_exact_and_silent(function, x, expected):
    # Of the numbers next to 1, the distance from 1 is known to four digits only.
    np.testing.assert_allclose(gradient(function, x), expected, rtol=1e-4 if abs(x - 1) < 1e-3 else 1e-14)


def test_half_precision_does_not_overflow_in_squares():
    np.testing.assert_allclose(gradient(np.arctan, 300, np.float16), 1 / (1 + 300**2), rtol=5e-3)
    np.testing.assert_allclose(gradient(np.arcsinh, 300, np.float16), 1 / 300, rtol=5e-3)
    np.testing.assert_allclose(gradient(np.log10, 50000, np.float16), 0.4343 / 50000, rtol=5e-3)


def test_arctan2():
    y, x = (tg.tensor(0.0, requires_grad=True) for _ in range(2))
    np.arctan2(y, x).backward(create_graph=True)
    assert (y.grad.item(), x.grad.item()) == (0, 0)
    first = y.grad
    y.grad = x.grad = None
    first.backward()
    assert (y.grad.item(), x.grad.item()) == (0, 0)
    for scale in (1e-200, 1.0, 1e200):
        y, x = tg.tensor(3 * scale, requires_grad=True), tg.tensor(-4 * scale, requires_grad=True)
        np.arctan2(y, x).backward()
        np.testing.assert_allclose([y.grad.item() * scale, x.grad.item() * scale], [-4 / 25, -3 / 25], rtol=1e-14)


@pytest.mark.parametrize("names", [
    ("arcsin", "asin"), ("arccos", "acos"), ("arctan", "atan"), ("arctan2", "atan2"), ("arcsinh", "asinh"),
    ("arccosh", "acosh"), ("arctanh", "atanh"), ("power", "pow"), ("conjugate", "conj"), ("remainder", "mod"),
])  # fmt: skip
def test_names_of_the_array_api_have_the_same_rules(names):
    first, second = (getattr(np, name) for name in names)
    two = first.nin == 2
    results = []
    for function in (first, second):
        t = tg.tensor(1.5 if "cosh" in names[0] else 0.5, requires_grad=True)
        (function(t, 0.7) if two else function(t)).backward()
        results.append(t.grad.item())
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (np.arcsin, lambda z: 1 / np.sqrt(1 - z * z)),
        (np.arccos, lambda z: -1 / np.sqrt(1 - z * z)),
        (np.arctan, lambda z: 1 / (1 + z * z)),
        (np.arcsinh, lambda z: 1 / np.sqrt(1 + z * z)),
        (np.arccosh, lambda z: 1 / (np.sqrt(z - 1) * np.sqrt(z + 1))),
        (np.arctanh, lambda z: 1 / (1 - z * z)),
    ],
)
@given(st.complex_numbers(min_magnitude=0.01, max_magnitude=20))
def test_complex_inverse_functions_off_their_cuts(function, derivative, z):
    if min(abs(z.real), abs(z.imag)) < 1e-3 or abs(z * z - 1) < 1e-2 or abs(z * z + 1) < 1e-2:
        return
    np.testing.assert_allclose(gradient(function, z, complex), np.conj(derivative(np.complex128(z))), rtol=1e-10)


@pytest.mark.parametrize("function", [np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh, np.arctanh])
@pytest.mark.parametrize("size", [2.0, 3.5])
@pytest.mark.parametrize("signs", [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)])
def test_complex_inverse_functions_follow_numpys_side_of_a_cut(function, size, signs):
    across_real = function not in (np.arctan, np.arcsinh)
    parts = (size, 0.0) if across_real else (0.0, size)
    z = complex(math.copysign(parts[0], signs[0]), math.copysign(parts[1], signs[1]))
    # A step along the cut that keeps the sign of the zero.
    low, high = (
        complex(z.real * f, z.imag) if across_real else complex(z.real, z.imag * f) for f in (1 - 1e-6, 1 + 1e-6)
    )
    slope = (function(np.complex128(high)) - function(np.complex128(low))) / (high - low)
    np.testing.assert_allclose(gradient(function, z, complex), np.conj(slope), rtol=1e-8)


# sinc and i0


def test_derivatives_of_sinc_at_zero():
    first, second, third, fourth = derivatives(np.sinc, 0, 4)
    assert (first, third) == (0, 0)
    np.testing.assert_allclose([second, fourth], [-(math.pi**2) / 3, math.pi**4 / 5], rtol=1e-15)


@pytest.mark.parametrize("x", [1e-300, 1e-9, -1e-4, 0.01, 0.3, 0.6366, 0.6367, -0.9, 1.0, 1.5, 2.0, 7.25])
def test_derivatives_of_sinc_by_its_integral(x):
    # sinc(x) is the integral of cos(pi x t) over t from 0 to 1, here by Gauss and Legendre's rule.
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t, weights = math.pi * (nodes + 1) / 2, weights / 2
    sin, cos = np.sin(x * t), np.cos(x * t)
    for order, got in enumerate(derivatives(np.sinc, x, 5), start=1):
        expected = np.sum(weights * t**order * (cos, -sin, -cos, sin)[order % 4])
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15 * math.pi**order if abs(x) > 0.1 else 0)


def test_derivatives_of_complex_sinc():
    z = np.array([0.3 + 0.2j, 1.5 - 0.7j, 1e-9j])
    u = np.pi * z
    exact = np.pi * (np.cos(u) / u - np.sin(u) / u**2)
    exact[2] = -np.pi * u[2] / 3
    np.testing.assert_allclose(gradient(np.sinc, z, complex), np.conj(exact), rtol=1e-13)


@given(st.floats(-3, 3), st.integers(1, 4))
def test_derivatives_of_sinc_have_the_parity_of_their_order(x, order):
    x = np.asarray(x)
    assert sinc_derivative(-x, order) == (-1) ** order * sinc_derivative(x, order)


def test_derivatives_of_i0():
    # Of the modified Bessel functions, I0' = I1 and I0'' = I0 - I1 / x; the values are from Abramowitz and Stegun.
    np.testing.assert_allclose(derivatives(np.i0, 1, 1), [0.565159103992485], rtol=1e-14)
    np.testing.assert_allclose(derivatives(np.i0, 0, 4), [0, 0.5, 0, 0.375], atol=1e-16)
    for x in (0.1, 1.0, 8.0, 30.0, 300.0, 700.0):
        first, second = derivatives(np.i0, x, 2)
        np.testing.assert_allclose(second, float(np.i0(x)) - first / x, rtol=1e-13)
    assert gradient(np.i0, -2.5) == -gradient(np.i0, 2.5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_derivatives_of_sinc_and_i0_keep_their_dtype(dtype):
    x = np.array([0.0, 0.5, 3.0], dtype)
    for made in (sinc_derivative(x, 2), i0_derivative(x, 1)):
        assert made.dtype == dtype
    np.testing.assert_allclose(i0_derivative(x, 1), i0_derivative(x.astype(float), 1), rtol=4 * np.finfo(dtype).eps)


def test_units_of_angle():
    np.testing.assert_allclose(gradient(np.deg2rad, 10.0), math.pi / 180)
    np.testing.assert_allclose(gradient(np.radians, 10.0), math.pi / 180)
    np.testing.assert_allclose(gradient(np.rad2deg, 10.0), 180 / math.pi)
    np.testing.assert_allclose(gradient(np.degrees, 10.0), 180 / math.pi)
