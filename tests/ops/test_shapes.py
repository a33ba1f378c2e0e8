"""Shapes: orders of memory, paddings, windows, diagonals of any size, and what is raised; the sweep does the rest."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import tapegrad as tg
from tapegrad.errors import DtypeError, UnsupportedError
from tapegrad.testing import check_gradients

view = np.lib.stride_tricks.sliding_window_view


def transposed(function, x, seed=0):
    """Check that `function`, which is linear up to a constant, has its own transpose as VJP, and NumPy's values."""
    expected = function(x)
    w = tg.as_tensor(x).detach().requires_grad_()
    got = function(w)
    np.testing.assert_array_equal(got.detach().numpy(), expected)
    assert got.dtype == expected.dtype
    g = np.random.default_rng(seed).normal(size=expected.shape)
    got.backward(g)
    t = np.random.default_rng(seed + 1).normal(size=x.shape)
    moved = function(x + t) - function(x)
    np.testing.assert_allclose(np.sum(g * moved), np.sum(w.grad.numpy() * t), atol=1e-9, rtol=1e-9)
    assert w.grad.shape == x.shape


any_array = arrays_of.arrays(
    np.float64,
    arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    elements=st.integers(-9, 9).map(float),
)
full_array = arrays_of.arrays(
    np.float64,
    arrays_of.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4),
    elements=st.integers(-9, 9).map(float),
)


# Orders of memory


@given(shape=arrays_of.array_shapes(max_dims=3, min_side=0, max_side=4), order=st.sampled_from("CFAK"), data=st.data())
def test_orders_of_memory_are_read_as_numpy_reads_them(shape, order, data):
    made = np.arange(float(np.prod(shape))).reshape(shape, order=data.draw(st.sampled_from("CF")))
    made = made.transpose(data.draw(st.permutations(range(made.ndim))))
    made = made[:: data.draw(st.sampled_from([1, 2, -1]))]
    functions = [lambda x: np.ravel(x, order=order)]
    if order != "K":
        functions.append(lambda x: np.reshape(x, (-1, 1) if x.size else x.shape[::-1], order=order))
    for function in functions:
        x = tg.as_tensor(made).detach().requires_grad_()
        y = function(x)
        read = function(made)
        np.testing.assert_array_equal(y.detach().numpy(), read)
        y.backward(read)
        np.testing.assert_array_equal(x.grad.numpy(), made)


@pytest.mark.skipif("copy" not in inspect.signature(np.reshape).parameters, reason="NumPy 2.0 has no copy=")
def test_reshaping_without_a_copy_is_refused_where_it_needs_one():
    x = tg.as_tensor(np.ones((2, 3)).T)
    with pytest.raises(ValueError, match="copy"):
        np.reshape(x, -1, copy=False)
    assert np.reshape(x, (1, 3, 2), copy=False).shape == (1, 3, 2)


def test_shapes_that_do_not_fit_are_refused_by_numpy():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    for call in (
        lambda: np.reshape(x, (4, 2)),
        lambda: np.squeeze(x, axis=0),
        lambda: np.broadcast_to(x, (4, 3)),
        lambda: np.transpose(x, (0, 0)),
        lambda: np.moveaxis(x, 0, 5),
        lambda: np.expand_dims(x, 7),
        lambda: np.rollaxis(x, 3),
        lambda: np.matrix_transpose(x[0]),
        lambda: np.fliplr(x[0]),
        lambda: np.flip(x, axis=2),
        lambda: np.rot90(x, axes=(0, 0)),
        lambda: np.diagonal(x[0]),
        lambda: np.diag(np.ones((1, 1, 1)) * x[0, 0]),
        lambda: np.vander(x),
        lambda: np.repeat(x, [1, 2, 3], axis=0),
        lambda: np.repeat(x, -1),
        lambda: np.resize(x, -1),
        lambda: view(x, (3, 3)),
        lambda: np.broadcast_arrays(x, np.ones(4)),
    ):
        with pytest.raises(ValueError, match=r".+"):
            call()


# Axes


@given(x=any_array, data=st.data())
def test_axes_move_there_and_back(x, data):
    axes = data.draw(st.permutations(range(x.ndim)))
    transposed(lambda x: np.transpose(x, axes), x)
    transposed(lambda x: np.transpose(x, [a - x.ndim for a in axes]), x)
    source, target = data.draw(st.integers(-x.ndim, x.ndim - 1)), data.draw(st.integers(-x.ndim, x.ndim - 1))
    transposed(lambda x: np.moveaxis(x, source, target), x)
    start = data.draw(st.integers(-x.ndim, x.ndim))
    transposed(lambda x: np.rollaxis(x, source, start), x)
    shift = data.draw(st.integers(-5, 5))
    transposed(lambda x: np.roll(x, shift), x)
    transposed(lambda x: np.roll(x, (shift, 2), axis=(source, target)), x)


def test_transpose_of_a_vector_takes_its_only_axis():
    transposed(lambda x: np.transpose(x, 0), np.arange(3.0))


# Repetition


@given(x=full_array, data=st.data())
def test_repetition(x, data):
    reps = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    transposed(lambda x: np.tile(x, reps), x)
    shape = data.draw(arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    transposed(lambda x: np.resize(x, shape), x)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    counts = data.draw(st.lists(st.integers(0, 3), min_size=x.shape[axis], max_size=x.shape[axis]))
    transposed(lambda x: np.repeat(x, counts, axis=axis), x)
    count = data.draw(st.integers(0, 3))
    transposed(lambda x: np.repeat(x, count), x)
    transposed(lambda x: np.repeat(x, np.array(2), axis=axis), x)


def test_broadcasting_sums_half_precision_in_single():
    x = tg.tensor(np.ones((1, 2), np.float16), requires_grad=True)
    np.broadcast_to(x, (5000, 2)).backward(np.full((5000, 2), 0.5, np.float16))
    np.testing.assert_array_equal(x.grad.numpy(), [[2500, 2500]])
    assert x.grad.dtype == np.float16


# Diagonals, triangles, powers


@given(x=full_array, offset=st.integers(-4, 4))
def test_diagonals_of_any_offset(x, offset):
    if x.ndim > 1:
        transposed(lambda x: np.diagonal(x, offset, -1, 0), x)
        transposed(lambda x: np.trace(x, offset), x)
    if x.ndim < 3:
        transposed(lambda x: np.diag(x, offset), x)
        transposed(lambda x: np.diagflat(x, offset), x)
    transposed(lambda x: np.tril(x, offset), x)
    transposed(lambda x: np.triu(x, offset), x)


def test_a_trace_in_integers_would_lose_the_gradient():
    with pytest.raises(DtypeError, match="gradient would be lost"):
        np.trace(tg.tensor(np.eye(2), requires_grad=True), dtype=int)


def test_powers_of_zero():
    x = tg.tensor(np.array([0.0, 2.0], np.float32), requires_grad=True)
    y = np.vander(x, 3)
    assert y.dtype == np.vander(np.zeros(1, np.float32)).dtype
    y.backward(np.array([[1.0, 10.0, 100.0]] * 2))
    np.testing.assert_array_equal(x.grad.numpy(), [10, 14])
    assert x.grad.dtype == np.float32


# Windows


@given(x=full_array, data=st.data())
def test_windows_of_any_size(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    size = data.draw(st.integers(1, x.shape[axis]))
    transposed(lambda x: view(x, size, axis), x)
    sizes = tuple(data.draw(st.integers(1, n)) for n in x.shape)
    transposed(lambda x: view(x, sizes), x)


def test_windows_of_windows_have_second_derivatives():
    check_gradients(lambda x: np.sum(view(x, 3) ** 2, axis=1), np.arange(5.0))


# Padding

MODES = ["constant", "edge", "linear_ramp", "maximum", "mean", "median", "minimum", "reflect", "symmetric", "wrap"]


@pytest.mark.parametrize("mode", MODES)
@given(x=full_array, data=st.data())
def test_paddings_are_those_of_numpy(mode, x, data):
    widths = data.draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=x.ndim, max_size=x.ndim))
    options = {}
    if mode in ("constant", "linear_ramp"):
        name = "constant_values" if mode == "constant" else "end_values"
        options[name] = data.draw(st.sampled_from([0, 2.5, (1.0, -1.0), ((3.0,),)]))
    elif mode in ("maximum", "mean", "median", "minimum"):
        options["stat_length"] = data.draw(st.sampled_from([None, 1, 2, (1, 3), ((9, 1),)]))
    elif mode in ("reflect", "symmetric"):
        options["reflect_type"] = data.draw(st.sampled_from(["even", "odd"]))
    expected = np.pad(x, widths, mode, **options)
    w = tg.tensor(x, requires_grad=True)
    got = np.pad(w, widths, mode, **options)
    np.testing.assert_allclose(got.detach().numpy(), expected, atol=1e-12)
    if mode in ("maximum", "median", "minimum"):  # not linear; the sweep has them
        return
    g = np.random.default_rng(0).normal(size=expected.shape)
    t = np.random.default_rng(1).normal(size=x.shape)
    got.backward(g)
    moved = np.pad(x + t, widths, mode, **options) - expected
    np.testing.assert_allclose(np.sum(w.grad.numpy() * t), np.sum(g * moved), atol=1e-8)


def test_paddings_keep_the_dtype():
    for mode in MODES:
        x = tg.tensor(np.arange(4, dtype=np.float32), requires_grad=True)
        y = np.pad(x, (3, 5), mode)
        assert y.dtype == np.float32
        y.backward(np.ones_like(y.detach()))
        assert x.grad.dtype == np.float32


def test_padding_values_have_gradients():
    check_gradients(lambda x, c: np.pad(x, 1, constant_values=c), np.ones(3), np.array([2.0, 3.0]))
    check_gradients(lambda x, c: np.pad(x, (2, 3), "linear_ramp", end_values=c), np.ones((2, 2)), np.array(2.0))


def test_paddings_refuse_what_numpy_refuses():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    for arguments, options, error, words in (
        ((-1,), {}, ValueError, "negative"),
        ((0.5,), {}, TypeError, "integral"),
        (([1, 2, 3],), {}, ValueError, "broadcast"),
        ((1, "best"), {}, ValueError, "not supported"),
        ((1, "edge"), {"constant_values": 1}, ValueError, "unsupported keyword"),
        ((1, "maximum"), {"stat_length": 0}, ValueError, "stat_length of 0"),
    ):
        with pytest.raises(error, match=words):
            np.pad(x, *arguments, **options)
        with pytest.raises(error, match=words):
            np.pad(x.detach().numpy(), *arguments, **options)
    with pytest.raises(ValueError, match="can't extend empty axis 0"):
        np.pad(tg.tensor(np.ones((0, 2))), 1, "edge")
    with pytest.raises(UnsupportedError, match="function as mode"):
        np.pad(x, 1, lambda *args: None)


# Copies, conversions, creation


def test_conversions():
    x = tg.tensor(np.ones(2, np.float32), requires_grad=True)
    y = np.astype(x, np.float64)
    assert y.dtype == np.float64
    y.backward(np.ones(2))
    assert x.grad.dtype == np.float32
    with pytest.raises(DtypeError, match="gradient would be lost"):
        np.astype(x, int)
    assert np.astype(x.detach(), int).dtype == np.dtype(int)


def test_copies_are_results_of_their_own():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    y = np.copy(x, order="F")
    assert y is not x
    assert not np.shares_memory(y.data, x.data)
    assert y.data.flags.f_contiguous
    y.backward(np.full((2, 3), 2.0))
    np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 3), 2.0))


def test_arrays_like_a_tensor_are_constants():
    x = tg.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    for made in (np.zeros_like(x), np.ones_like(x), np.empty_like(x), np.full_like(x, 2.5)):
        assert isinstance(made, tg.Tensor)
        assert not made.requires_grad
        assert made.shape == (2, 3)
        assert made.dtype == np.float32
    assert np.zeros_like(x, shape=(4,), dtype=int).dtype == np.dtype(int)


def test_a_tracked_value_to_fill_with_has_a_gradient():
    v = tg.tensor(2.0, requires_grad=True)
    np.full_like(tg.tensor(np.ones((2, 3), np.float32)), v).backward(np.ones((2, 3), np.float32))
    assert v.grad.item() == 6


def test_trimming_zeros():
    for trim in ("fb", "f", "b"):
        for values in ([0.0, 0.0, 1.0, 0.0, 2.0, 0.0], [0.0, 0.0], [1.0], [0.0, 3.0]):
            x = tg.tensor(values, requires_grad=True)
            y = np.trim_zeros(x, trim)
            expected = np.trim_zeros(np.array(values), trim)
            np.testing.assert_array_equal(y.detach().numpy(), expected)
            y.backward(np.ones(y.shape))
            assert x.grad.numpy().sum() == expected.size
            assert x.grad.numpy()[np.nonzero(values)].all()


def test_trimming_zeros_of_some_axes():
    x = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    try:
        expected = np.trim_zeros(x, axis=1)
    except TypeError:
        pytest.skip("NumPy before 2.2 trims vectors only")
    np.testing.assert_array_equal(np.trim_zeros(tg.tensor(x), axis=1).numpy(), expected)
    np.testing.assert_array_equal(np.trim_zeros(tg.tensor(x)).numpy(), np.trim_zeros(x))


def test_copying_into_a_tensor_is_recorded():
    a, b = tg.tensor(np.ones((2, 3)), requires_grad=True), tg.tensor(np.ones(3), requires_grad=True)
    t = a * 2
    np.copyto(t, b, where=np.array([[True], [False]]))
    t.backward(np.ones((2, 3)))
    np.testing.assert_array_equal(a.grad.numpy(), [[0, 0, 0], [2, 2, 2]])
    np.testing.assert_array_equal(b.grad.numpy(), [1, 1, 1])
    with pytest.raises(TypeError, match="Cannot cast"):
        np.copyto(tg.tensor([1, 2, 3]), b.detach())
    with pytest.raises(UnsupportedError, match="lose its gradient"):
        np.copyto(np.zeros(3), b)
