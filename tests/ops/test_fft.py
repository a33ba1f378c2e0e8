"""Fourier transforms: every combination of settings, against the matrix of the transform; NumPy's errors; refusals."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.errors import LostGradientError

NORMS = st.sampled_from([None, "backward", "ortho", "forward"])
ONE_AXIS = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
SEVERAL_AXES = ["fftn", "ifftn", "rfftn", "irfftn"]
TWO_AXES = ["fft2", "ifft2", "rfft2", "irfft2"]


def takes_real(name):
    return name.startswith(("rfft", "ihfft"))


def draw_input(rng, name, shape):
    x = rng.normal(size=shape)
    return x if takes_real(name) else x + 1j * rng.normal(size=shape)


def units(x):
    """Return a basis of the arrays like `x`, over the real numbers."""
    for index in np.ndindex(x.shape):
        for unit in (1, 1j) if x.dtype.kind == "c" else (1,):
            e = np.zeros_like(x)
            e[index] = unit
            yield e


def check_transpose(function, x, rng):
    """Check the gradient of Re(sum(conj(g) f(x))), which is linear in x, on every basis vector, and forward mode."""
    out = function(x)
    g = rng.normal(size=out.shape)
    if out.dtype.kind == "c":
        g = g + 1j * rng.normal(size=out.shape)
    t = tg.tensor(x, requires_grad=True)
    result = function(t)
    np.testing.assert_array_equal(result.data, out)
    result.backward(g)
    grad = t.grad.data
    assert grad.dtype == x.dtype
    assert grad.shape == x.shape
    scale = 1e-12 * (1 + np.abs(out).sum()) * max(out.size, 1)
    for e in units(x):
        assert np.vdot(grad, e).real == pytest.approx(np.vdot(g, function(e)).real, abs=scale)
    tangent = tg.jvp(function, (x,), (x,))[1]
    np.testing.assert_array_equal(tangent.data, out)


@st.composite
def one_axis(draw):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return shape, axis, draw(st.none() | st.integers(1, 8)), draw(NORMS), draw(st.integers(0, 2**32 - 1))


@pytest.mark.parametrize("name", ONE_AXIS)
@given(call=one_axis())
def test_one_axis(name, call):
    shape, axis, n, norm, seed = call
    if name in ("irfft", "hfft") and n is None and shape[axis] == 1:
        n = 1  # a spectrum of one entry alone stands for a signal of none, which NumPy refuses
    rng = np.random.default_rng(seed)
    function = getattr(np.fft, name)
    check_transpose(lambda x: function(x, n=n, axis=axis, norm=norm), draw_input(rng, name, shape), rng)


@st.composite
def several_axes(draw, count=None):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=count or 1, max_size=3)))
    number = count or draw(st.integers(1, len(shape)))
    axes = draw(st.lists(st.integers(-len(shape), len(shape) - 1), min_size=number, max_size=number))
    s = draw(st.none() | st.lists(st.sampled_from([-1, 1, 2, 3, 5]), min_size=number, max_size=number))
    return shape, axes, s, draw(NORMS), draw(st.integers(0, 2**32 - 1))


def check_several(name, call):
    shape, axes, s, norm, seed = call
    rng = np.random.default_rng(seed)
    function = getattr(np.fft, name)
    x = draw_input(rng, name, shape)
    try:
        function(x, s=s, axes=axes, norm=norm)
    except ValueError:  # a spectrum of one entry again
        with pytest.raises(ValueError, match="Invalid number of FFT data points"):
            function(tg.tensor(x, requires_grad=True), s=s, axes=axes, norm=norm)
        return
    check_transpose(lambda x: function(x, s=s, axes=axes, norm=norm), x, rng)


@pytest.mark.parametrize("name", SEVERAL_AXES)
@given(call=several_axes())
def test_several_axes(name, call):
    check_several(name, call)


@pytest.mark.parametrize("name", TWO_AXES)
@given(call=several_axes(count=2))
def test_two_axes(name, call):
    check_several(name, call)


@pytest.mark.parametrize("name", SEVERAL_AXES)
@pytest.mark.parametrize("s", [None, (3, 4)])
def test_axes_left_out(name, s):
    rng = np.random.default_rng(0)
    function = getattr(np.fft, name)
    x = draw_input(rng, name, (2, 3, 3))
    if s is None:
        check_transpose(function, x, rng)
    else:
        with pytest.warns(DeprecationWarning, match="axes"):
            check_transpose(lambda x: function(x, s=s), x, rng)


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
@pytest.mark.parametrize("axes", [None, 0, (0, -1)])
def test_shifts(name, axes):
    rng = np.random.default_rng(0)
    function = getattr(np.fft, name)
    check_transpose(lambda x: function(x, axes), rng.normal(size=(3, 4)), rng)


def test_second_order():
    # The sum of |x^|^4, with x^ the transform, has a gradient and a Hessian of its own.
    x = np.random.default_rng(0).normal(size=5)

    def loss(x):
        return np.sum(np.abs(np.fft.rfft(x, 6, norm="ortho")) ** 4)

    matrix = np.fft.rfft(np.eye(5), 6, axis=0, norm="ortho")
    y = matrix @ x
    radial = (matrix.conj() * y[:, None]).real
    hessian = 4 * matrix.conj().T @ (np.abs(y) ** 2 * matrix.T).T + 8 * radial.T @ radial
    for i, row in enumerate(hessian.real):
        t = tg.tensor(x, requires_grad=True)
        loss(t).backward(create_graph=True)
        slope, t.grad = t.grad, None
        slope[i].backward()
        np.testing.assert_allclose(t.grad.data, row, rtol=1e-10)


@pytest.mark.parametrize("name", [*ONE_AXIS, *SEVERAL_AXES, *TWO_AXES])
def test_single_precision(name):
    dtype = np.float32 if takes_real(name) else np.complex64
    x = tg.tensor(np.ones((3, 4), dtype), requires_grad=True)
    out = getattr(np.fft, name)(x, norm="forward")
    assert out.dtype.itemsize in (4, 8)
    (out * np.conj(out)).real.sum().backward()
    assert x.grad.dtype == dtype


def test_real_input_of_a_complex_transform():
    x = tg.tensor([1.0, 2.0, 4.0], requires_grad=True)
    np.sum(np.abs(np.fft.fft(x)) ** 2).backward()
    np.testing.assert_allclose(x.grad.data, 6 * x.data)  # Parseval: three times the sum of squares


def test_errors_are_numpys():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    for call in (
        lambda a: np.fft.fft(a, n=0),
        lambda a: np.fft.fft(a, axis=2),
        lambda a: np.fft.fft(a, norm="unitary"),
        lambda a: np.fft.fftn(a, s=(2,), axes=(0, 1)),
        lambda a: np.fft.rfft(a + 0j),
    ):
        with pytest.raises((ValueError, IndexError, TypeError)) as expected:
            call(x.data)
        with pytest.raises(type(expected.value), match=None) as found:
            call(x)
        assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "fftn", "fft2"])
def test_out_is_refused_where_the_gradient_would_be_lost(name):
    x = tg.tensor(np.ones((3, 3)), requires_grad=True)
    function = getattr(np.fft, name)
    out = np.full(function(x.data).shape, 7 + 0j)
    with pytest.raises(LostGradientError, match="out="):
        function(x, out=out)
    np.testing.assert_array_equal(out, 7)


def test_frequencies_are_plain():
    np.testing.assert_array_equal(np.fft.fftfreq(4, 0.5), [0, 0.5, -1, -0.5])
    spacing = tg.tensor(0.5, requires_grad=True)
    np.sum(np.fft.rfftfreq(4, spacing)).backward()
    assert spacing.grad.item() == pytest.approx(-(0.25 + 0.5) / 0.25)


@pytest.mark.parametrize("name", ["irfft", "hfft", "irfftn"])
def test_half_precision_is_kept_where_there_is_one(name):
    out, pull = tg.vjp(getattr(np.fft, name), np.ones(3, np.float16))
    (made,) = pull(np.ones(4, np.float16))
    assert out.dtype == made.dtype == np.float16


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
@pytest.mark.parametrize("name", [*ONE_AXIS, *SEVERAL_AXES])
def test_agrees_with_torch(name):
    import torch

    rng = np.random.default_rng(0)
    x = draw_input(rng, name, (3, 4))
    t = tg.tensor(x, requires_grad=True)
    out = getattr(np.fft, name)(t, norm="ortho")
    out.backward(np.ones(out.shape, out.dtype))
    theirs = torch.tensor(x, requires_grad=True)
    result = getattr(torch.fft, name)(theirs, norm="ortho")
    result.backward(torch.ones_like(result))
    np.testing.assert_allclose(t.grad.data, theirs.grad.resolve_conj().numpy(), atol=1e-12)
