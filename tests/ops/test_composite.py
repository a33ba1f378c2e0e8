"""Methods of ufuncs, ranges and interpolation: NumPy's forms of arguments, errors, ties, and derivatives."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.errors import LostGradientError, UnsupportedError
from tapegrad.testing import check_gradients

X = np.random.default_rng(0).uniform(0.5, 2, (3, 4))
MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])
FOLDED = [
    np.subtract, np.divide, np.power, np.float_power, np.remainder, np.fmod, np.hypot, np.arctan2, np.copysign,
    np.logaddexp, np.logaddexp2, np.nextafter,
]  # fmt: skip
REDUCED = [np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin]


def leaf(value):
    return tg.tensor(value, requires_grad=True)


def agree(function, *arrays, expected=None):
    """Assert that tensors give what arrays give, and that the derivatives are right."""
    expected = function(*arrays) if expected is None else expected
    got = function(*map(leaf, arrays))
    assert isinstance(got, tg.Tensor)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(got.data, expected, rtol=1e-14)
    check_gradients(function, *arrays)


@pytest.mark.parametrize("ufunc", REDUCED + FOLDED, ids=lambda f: f.__name__)
def test_reduce_and_accumulate(ufunc):
    agree(lambda x: ufunc.reduce(x), X)
    agree(lambda x: ufunc.reduce(x, 0, keepdims=True), X)
    agree(lambda x: ufunc.reduce(x, axis=0, initial=1.5), X)
    agree(lambda x: ufunc.accumulate(x, axis=1), X)
    agree(lambda x: ufunc.accumulate(x), X[:, 0])


@pytest.mark.parametrize("ufunc", REDUCED + FOLDED, ids=lambda f: f.__name__)
def test_reduce_over_the_last_axis(ufunc):
    # By hand, because NumPy 2.4 gives 4 for np.power.reduce([2, 3, 2]) on some processors, and the like for arctan2.
    expected = functools.reduce(ufunc, list(np.moveaxis(X, 1, 0)))
    np.testing.assert_allclose(ufunc.reduce(leaf(X), axis=-1).data, expected, rtol=1e-14)
    np.testing.assert_allclose(ufunc.reduce(leaf(X[1])).item(), expected[1], rtol=1e-14)


@pytest.mark.parametrize("ufunc", [*REDUCED, np.hypot, np.logaddexp, np.logaddexp2], ids=lambda f: f.__name__)
def test_reduce_over_several_axes(ufunc):
    agree(lambda x: ufunc.reduce(x, axis=(0, 1)), X)
    agree(lambda x: ufunc.reduce(x, axis=None, keepdims=True), X)
    agree(lambda x: ufunc.reduce(x, axis=None, initial=0.75), X)
    agree(lambda x: ufunc.reduce(x, axis=(), dtype=np.float64), X)


@pytest.mark.parametrize("ufunc", [*REDUCED, *FOLDED[6:]], ids=lambda f: f.__name__)
def test_reduce_with_where(ufunc):
    agree(lambda x: ufunc.reduce(x, axis=0, where=MASK, initial=1.5), X)
    if ufunc.identity is not None:
        agree(lambda x: ufunc.reduce(x, axis=1, where=MASK), X)
        agree(lambda x: ufunc.reduce(x, axis=None, where=MASK), X)
        agree(lambda x: ufunc.reduce(x, axis=1, where=[True, False, False, True]), X)


@pytest.mark.parametrize("ufunc", [np.subtract, np.hypot, np.maximum, np.add], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "call",
    [
        lambda f, x: f.reduce(x, axis=2),
        lambda f, x: f.reduce(x, axis=(0, 0)),
        lambda f, x: f.accumulate(x, axis=5),
        lambda f, x: f.accumulate(x, axis=None),
    ],
)
def test_what_numpy_refuses_is_refused_in_its_words(ufunc, call):
    with pytest.raises(ValueError) as plain:  # noqa: PT011 - compared with the other
        call(ufunc, X)
    with pytest.raises(type(plain.value)) as tracked:
        call(ufunc, leaf(X))
    if call.__code__.co_names[0] == "accumulate":
        assert str(tracked.value) == str(plain.value)


def test_only_ufuncs_of_any_order_reduce_several_axes():
    for call in (lambda x: np.subtract.reduce(x, axis=None), lambda x: np.subtract.reduce(x, where=MASK)):
        with pytest.raises(ValueError, match="operation 'subtract'") as plain:
            call(X)
        with pytest.raises(ValueError, match="operation 'subtract'") as tracked:
            call(leaf(X))
        assert str(tracked.value) == str(plain.value)


def test_empty_reductions():
    empty = np.zeros((2, 0))
    for ufunc in (np.add, np.multiply, np.hypot, np.logaddexp):
        np.testing.assert_array_equal(ufunc.reduce(leaf(empty), axis=1).data, ufunc.reduce(empty, axis=1))
    for ufunc in (np.maximum, np.subtract):
        with pytest.raises(ValueError, match="no identity"):
            ufunc.reduce(leaf(empty), axis=1)
        assert ufunc.accumulate(leaf(empty), axis=1).shape == (2, 0)


def test_results_are_stored_in_tensors_only():
    x, out = leaf(X), tg.zeros(4)
    assert np.add.reduce(x, out=out) is out
    out.backward(np.ones(4))
    assert x.grad.data.tolist() == np.ones((3, 4)).tolist()
    with pytest.raises(LostGradientError):
        np.hypot.reduce(leaf(X), out=np.zeros(4))


def test_extrema_of_numbers_leave_out_nan():
    x = leaf([[np.nan, 1.0, 3.0], [np.nan, np.nan, np.nan]])
    found = np.fmax.reduce(x, axis=1)
    np.testing.assert_array_equal(found.data, [3, np.nan])
    found.backward([1.0, 1.0])
    assert x.grad.data[0].tolist() == [0, 0, 1]
    np.testing.assert_array_equal(np.fmin.reduce(leaf([-np.inf, np.nan])).data, -np.inf)
    np.testing.assert_array_equal(np.maximum.reduce(leaf([1.0, np.nan])).data, np.nan)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, math.nan]), min_size=1, max_size=8))
def test_running_extrema_share_among_equals(values):
    for ufunc in (np.maximum, np.minimum, np.fmax, np.fmin):
        x = leaf(values)
        running = ufunc.accumulate(x)
        np.testing.assert_array_equal(running.data, ufunc.accumulate(np.array(values)))
        g = np.arange(1.0, len(values) + 1)
        running.backward(g)
        expected = np.zeros(len(values))
        for i, best in enumerate(running.data):
            equal = [j for j in range(i + 1) if values[j] == best or (np.isnan(best) and np.isnan(values[j]))]
            expected[equal] += g[i] / len(equal)
        np.testing.assert_allclose(x.grad.data, expected, rtol=1e-13)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.arctan2, np.power, np.maximum, np.logaddexp, np.hypot])
def test_outer(ufunc):
    agree(ufunc.outer, X, np.array([0.7, 1.3]))
    agree(lambda x: ufunc.outer(x, 1.5), X)
    agree(lambda x: ufunc.outer([2.0, 3.0], x), X)
    agree(lambda x: ufunc.outer(x, X[0], dtype=np.float64), X[1])


def test_outer_of_ufuncs_with_constant_results():
    quotient, rest = np.divmod.outer(leaf([5.0, 7.0]), [2, 3])
    assert quotient.data.tolist() == [[2, 1], [3, 2]]
    assert rest.data.tolist() == [[1, 2], [1, 1]]
    assert not quotient.requires_grad
    assert not np.less.outer(leaf([5.0]), [2, 3]).requires_grad


@pytest.mark.parametrize("indices", [[0, 2], [1], [0, 1, 2, 3], [3, 0, 0, 2], [2, 2, 1]])
def test_add_reduceat(indices):
    agree(lambda x: np.add.reduceat(x, indices, axis=1), X)
    agree(lambda x: np.add.reduceat(x, indices), X[0])


def test_other_reduceats_are_refused_for_tracked_tensors():
    with pytest.raises(UnsupportedError, match=r"multiply\.reduceat"):
        np.multiply.reduceat(leaf([1.0, 2.0]), [0])
    assert np.multiply.reduceat(tg.tensor([2.0, 3.0]), [0]).data.tolist() == [6]


def test_at_adds_once_for_every_time_an_entry_is_named():
    x, v = leaf([1.0, 2.0, 3.0]), leaf([1.0, 2.0, 3.0])
    t = x * 1
    before = t.data
    np.add.at(t, [0, 0, 2], v)
    np.subtract.at(t, 1, 5.0)
    assert t.data.tolist() == [4, -3, 6]
    assert before.tolist() == [1, 2, 3]
    t.backward([1.0, 10.0, 100.0])
    assert x.grad.data.tolist() == [1, 10, 100]
    assert v.grad.data.tolist() == [1, 1, 100]
    with pytest.raises(UnsupportedError, match="plain array"):
        np.add.at(np.zeros(3), [0], v)


# Ranges and interpolation


@pytest.mark.parametrize("function", [np.linspace, np.logspace, np.geomspace])
def test_ranges_take_numpys_arguments(function):
    for arguments, keywords in [
        ((1.5, 2.5, 4), {}),
        ((1.5, [2.5, 3.0], 4), {"axis": -1}),
        ((1.5, 2.5), {"num": 1}),
        ((1.5, 2.5), {"num": 3, "endpoint": False, "dtype": np.float32}),
        ((np.float32(1.5), 2.5), {"num": 3}),
    ]:
        start, *others = arguments
        expected = function(start, *others, **keywords)
        got = function(leaf(np.asarray(start)), *others, **keywords)
        assert got.dtype == function(np.asarray(start), *others, **keywords).dtype
        assert got.requires_grad
        np.testing.assert_allclose(got.data, expected, rtol=1e-6 if got.dtype == np.float32 else 1e-13)


def test_linspace_gives_its_step_and_constant_integers():
    start, stop = leaf(1.0), leaf(3.0)
    numbers, step = np.linspace(start, stop, 5, retstep=True)
    assert (numbers.data.tolist(), step.item()) == ([1, 1.5, 2, 2.5, 3], 0.5)
    step.backward()
    assert (start.grad.item(), stop.grad.item()) == (-0.25, 0.25)
    assert np.isnan(np.linspace(start, stop, 1, retstep=True)[1].item())
    whole = np.linspace(leaf(0.5), 4.0, 3, dtype=int)
    assert whole.data.tolist() == np.linspace(0.5, 4.0, 3, dtype=int).tolist()
    assert not whole.requires_grad


def test_geomspace_goes_around_the_circle_and_below_zero():
    agree(lambda a: np.geomspace(a, 8.0 * a, 4), np.array(-1.5))
    expected = np.geomspace(-1 + 0.5j, 2 + 1j, 5)
    np.testing.assert_allclose(np.geomspace(leaf(-1 + 0.5j), 2 + 1j, 5).data, expected, rtol=1e-13)
    check_gradients(lambda a, b: np.geomspace(a, b, 5), np.array(-1 + 0.5j), np.array(2 + 1j))
    with pytest.raises(ValueError, match="cannot include zero"):
        np.geomspace(leaf(0.0), 1.0)


@pytest.mark.parametrize("settings", [{}, {"left": -9.0, "right": 9.0}, {"period": 2.0}])
def test_interpolation(settings):
    x = np.array([0.0, 1.0, 1.5, 2.0, 2.72, 3.0, 3.14])
    xp, fp = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 0.0])
    t = leaf(x)
    got = np.interp(t, xp, fp, **settings)
    np.testing.assert_allclose(got.data, np.interp(x, xp, fp, **settings), rtol=1e-14)
    got.backward(np.ones(7))
    if "period" not in settings:
        # At a knot the interval on its right counts, and the ends belong to the inside.
        assert t.grad.data.tolist() == [0, -1, -1, -2, -2, -2, 0]
    assert np.interp(1.25, xp, leaf(fp)).item() == 2.75


def test_interpolation_of_infinite_numbers_and_bad_data():
    x = leaf([-np.inf, np.inf, np.nan])
    got = np.interp(x, [1.0, 2.0], [5.0, 7.0])
    np.testing.assert_array_equal(got.data, [5, 7, np.nan])
    got[:2].backward(np.ones(2))
    assert x.grad.data.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="not of the same length"):
        np.interp(x, [1.0, 2.0], [5.0])
    with pytest.raises(ValueError, match="array of sample points is empty"):
        np.interp(x, [], [])


def test_unwrapped_phases_pass_cotangents_on():
    p = leaf([0.0, 3.0, 6.5, 0.5])
    got = np.unwrap(p)
    np.testing.assert_array_equal(got.data, np.unwrap(p.detach().numpy()))
    got.backward([1.0, 2.0, 3.0, 4.0])
    assert p.grad.data.tolist() == [1, 2, 3, 4]
