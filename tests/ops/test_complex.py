"""Complex numbers: the convention of gradients, parts, angles, signs, and real operands of complex operations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.errors import DtypeError

numbers = st.complex_numbers(min_magnitude=1e-3, max_magnitude=1e3)


def gradient(function, z, dtype=complex):
    t = tg.tensor(np.asarray(z, dtype), requires_grad=True)
    np.sum(function(t)).backward()
    return t.grad.data


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda z: np.abs(z) ** 2, 2 + 4j),
        (lambda z: np.real(z * np.conj(z)), 2 + 4j),
        (lambda z: z.real**2 + z.imag**2, 2 + 4j),
        (lambda z: np.real(z**2), 2 - 4j),
        (lambda z: np.real(z * z), 2 - 4j),
        (lambda z: np.real(np.square(z)), 2 - 4j),
        (lambda z: np.imag(z), 1j),
        (lambda z: np.real(z), 1),
        (lambda z: np.real(1j * z), -1j),
        (lambda z: np.real(np.exp(z)), np.conj(np.exp(1 + 2j))),
    ],
)
def test_the_gradient_is_the_direction_of_steepest_ascent(function, expected):
    np.testing.assert_allclose(gradient(function, 1 + 2j), expected, rtol=1e-14)


@given(numbers)
def test_moving_along_the_gradient_ascends_at_its_length(z):
    def loss(z):
        return np.real(np.log(z)) + np.imag(np.sqrt(z)) + np.abs(z - 3)

    if abs(z - 3) < 1e-2 or (z.real < 0 and abs(z.imag) < 1e-2):
        return
    g = gradient(loss, z).item()
    h = 1e-6 * abs(z) / abs(g)
    rise = (loss(np.complex128(z + h * g)) - loss(np.complex128(z - h * g))) / (2 * h)
    np.testing.assert_allclose(rise, abs(g) ** 2, rtol=1e-4)


def test_absolute_value_and_angle_at_zero():
    np.testing.assert_allclose(gradient(np.abs, [0, 3 + 4j]), [0, 0.6 + 0.8j], rtol=1e-15)
    assert gradient(np.angle, [0, 2j]).tolist() == [0, -0.5]
    z = tg.tensor(0j, requires_grad=True)
    np.abs(z).backward(create_graph=True)
    first, z.grad = z.grad, None
    np.real(first).backward()
    assert z.grad.item() == 0


def test_a_complex_loss_is_refused():
    z = tg.tensor(1 + 2j, requires_grad=True)
    with pytest.raises(DtypeError, match="no order to ascend"):
        (z * z).backward()


@pytest.mark.parametrize(
    "function",
    [
        lambda x, z: x * z,
        lambda x, z: x + z,
        lambda x, z: z - x,
        lambda x, z: x / z,
        lambda x, z: z / x,
        lambda x, z: z**x,
        lambda x, z: x**z,
    ],
)
@pytest.mark.parametrize("tracked", [True, False])
def test_a_real_operand_of_a_complex_operation_gets_a_real_gradient(function, tracked):
    x = tg.tensor(np.float32([1.5, 0.5]), requires_grad=True)
    z = tg.tensor(np.complex64(1 + 2j), requires_grad=tracked)
    out = np.sum(np.abs(function(x, z)))
    out.backward()
    assert x.grad.dtype == np.float32
    h = 1e-6
    x64, z128 = np.array([1.5, 0.5]), 1 + 2j
    for i in range(2):
        step = np.where(np.arange(2) == i, h, 0)
        slope = (np.abs(function(x64 + step, z128)).sum() - np.abs(function(x64 - step, z128)).sum()) / (2 * h)
        np.testing.assert_allclose(x.grad.data[i], slope, rtol=1e-5, atol=1e-6)
    if tracked:
        assert z.grad.dtype == np.complex64
        assert z.grad.shape == ()


def test_complex_numbers_of_python_with_real_tensors():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    np.sum(np.abs((1 + 2j) * x + 1j)).backward()
    z = (1 + 2j) * np.array([1, 2]) + 1j
    np.testing.assert_allclose(x.grad.data, np.real((1 + 2j) * np.conj(z)) / np.abs(z), rtol=1e-14)


def test_parts_of_real_numbers():
    x = tg.tensor([1.0, -2.0], requires_grad=True)
    assert (np.real(x) * 3).requires_grad
    np.sum(np.real(x) * 3 + np.conj(x) + np.imag(x)).backward()
    assert x.grad.dtype == np.float64
    assert x.grad.data.tolist() == [4, 4]
    assert x.real.data.tolist() == [1, -2]
    assert x.imag.data.tolist() == [0, 0]
    assert gradient(np.angle, [2.0, -2.0], float).tolist() == [0, 0]


@pytest.mark.parametrize("deg", [False, True])
@given(numbers)
def test_angles(deg, z):
    expected = 1j * z / abs(z) ** 2 * (180 / math.pi if deg else 1)
    np.testing.assert_allclose(gradient(lambda t: np.angle(t, deg), z), expected, rtol=1e-12)


def test_real_if_close_is_real_only_if_close():
    close = tg.tensor([1 + 1e-15j, 2], requires_grad=True)
    assert np.real_if_close(close).dtype == np.float64
    assert gradient(np.real_if_close, [1 + 1e-15j, 2]).tolist() == [1, 1]
    far = tg.tensor([1 + 1j, 2], requires_grad=True)
    assert np.real_if_close(far).dtype == np.complex128
    np.sum(np.real(np.real_if_close(far))).backward()
    assert far.grad.data.tolist() == [1, 1]


def test_signs_are_constant_for_real_numbers_only():
    assert not np.sign(tg.tensor([-1.0, 0.0, 2.0], requires_grad=True)).requires_grad
    z = tg.tensor([3 + 4j, 0], requires_grad=True)
    out = np.sign(z)
    assert out.data.tolist() == [0.6 + 0.8j, 0]
    np.sum(np.real(out)).backward()
    # Re(z / |z|) = x / |z| has the gradient (y^2 - i x y) / |z|^3.
    np.testing.assert_allclose(z.grad.data, [(16 - 12j) / 125, 0], rtol=1e-14)
    assert np.sign(np.complex64(2j)) == 1j
