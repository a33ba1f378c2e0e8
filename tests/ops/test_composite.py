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
    agree(lambda x: ufunc.reduce(x, axis=()), X)


@pytest.mark.parametrize("ufunc", [*REDUCED, *FOLDED[6:]], ids=lambda f: f.__name__)
def test_reduce_with_where(ufunc):
    agree(lambda x: ufunc.reduce(x, axis=0, where=MASK, initial=1.5), X)
    if ufunc.identity is not None:
        agree(lambda x: ufunc.reduce(x, axis=1, where=MASK), X)
        agree(lambda x: ufunc.reduce(x, axis=None, where=MASK), X)
        agree(lambda x: ufunc.reduce(x, axis=1, where=[True, False, False, True]), X)


@pytest.mark.parametrize("ufunc", [np.subtract, np.hypot, np.fmax], ids=lambda f: f.__name__)
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
def test_running_extrema_of_numbers_share_among_equals(values):
    for ufunc in (np.fmax, np.fmin):
        x = leaf(values)
        running = ufunc.accumulate(x)
        np.testing.assert_array_equal(running.data, ufunc.accumulate(np.array(values)))
        g = np.arange(1.0, len(values) + 1)
        running.backward(g)
        expected = np.zeros(len(values))
        for i, best in enumerate(running.data):
            equal = [j for j in range(i + 1) if values[j] == best]
            expected[equal] += g[i] / max(len(equal), 1)
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


# Functions of the user


def test_apply_along_axis():
    for function, axis in ((np.sum, 0), (np.cumprod, 1), (lambda line: np.outer(line, line), 0), (lambda line: 2.0, 1)):
        expected = np.apply_along_axis(function, axis, X)
        got = np.apply_along_axis(function, axis, leaf(X))
        assert got.shape == expected.shape
        np.testing.assert_allclose(got.data, expected, rtol=1e-14)
    check_gradients(lambda x: np.apply_along_axis(lambda line, c: np.sum(line**2) * c[:2], 1, x, np.arange(3.0)), X)
    with pytest.raises(ValueError, match="iteration dimensions are 0"):
        np.apply_along_axis(np.sum, 0, leaf(np.zeros((3, 0))))


def test_apply_over_axes():
    agree(lambda x: np.apply_over_axes(np.sum, x, [0, -1]), X)
    with pytest.raises(ValueError, match="correct shape"):
        np.apply_over_axes(lambda x, axis: np.sum(x), leaf(X), 0)


# Sets


def test_unique_values_share_among_equals():
    x = leaf([3.0, 1.0, 3.0, np.nan, 1.0, 3.0])
    values, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    expected = np.unique(x.detach().numpy(), return_index=True, return_inverse=True, return_counts=True)
    for got, other in zip((values, first, inverse, counts), expected, strict=True):
        np.testing.assert_array_equal(got.data, other)
    assert [t.requires_grad for t in (values, first, inverse, counts)] == [True, False, False, False]
    values[:2].backward([8.0, 6.0])
    assert x.grad.data.tolist() == [2, 4, 2, 0, 4, 2]


def test_unique_of_the_array_api_gives_named_tuples():
    x = np.array([[3.0, 1.0], [1.0, 2.0]])
    for function in (np.unique_all, np.unique_counts, np.unique_inverse):
        got, expected = function(leaf(x)), function(x)
        assert got._fields == expected._fields
        assert got.values.requires_grad
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one.data, other)
    np.testing.assert_array_equal(np.unique_values(leaf(x)).data, np.unique_values(x))


@given(st.lists(st.integers(0, 5), max_size=6), st.lists(st.integers(0, 5), max_size=6))
def test_sets(a, b):
    a, b = np.array(a, float), np.array(b, float)
    for function in (np.union1d, np.intersect1d, np.setdiff1d, np.setxor1d):
        x, y = leaf(a), leaf(b)
        values = function(x, y)
        np.testing.assert_array_equal(values.data, function(a, b))
        values.backward(np.ones(values.shape))
        total = sum(np.sum(t.grad.data) for t in (x, y) if t.grad is not None)
        np.testing.assert_allclose(total, values.size, rtol=1e-14)
        for t in (x, y):
            for entry, g in zip(t.data, np.zeros(t.shape) if t.grad is None else t.grad.data, strict=True):
                assert g == 0 or entry in values.data


def test_common_values_belong_to_both_sets():
    x, y = leaf([3.0, 1.0, 2.0, 3.0]), leaf([5.0, 3.0, 2.0])
    values, first, second = np.intersect1d(x, y, return_indices=True)
    assert (first.data.tolist(), second.data.tolist()) == ([2, 0], [2, 1])
    values.backward([1.0, 8.0])
    assert x.grad.data.tolist() == [2, 0, 0.5, 2]
    assert y.grad.data.tolist() == [0, 4, 0.5]


def test_sort_complex():
    for values in ([3.0, 1.0, 2.0], [1 + 2j, 1 - 1j, 0j], np.float32([2, 1]), np.int8([2, 1])):
        x = tg.tensor(values)
        got, expected = np.sort_complex(x), np.sort_complex(np.asarray(values))
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got.data, expected)


# Polynomials

P, Q = np.array([2.0, -3.0, 0.5, 1.5]), np.array([1.0, 0.5])


@pytest.mark.parametrize(
    "function",
    [
        lambda p, q: np.polyval(p, q),
        lambda p, q: np.polyval(q, p[:2].reshape(2, 1)),
        np.polyadd,
        np.polysub,
        np.polymul,
        lambda p, q: np.polydiv(p, q)[0],
        lambda p, q: np.polyder(p, 2) * q,
        lambda p, q: np.polyint(p, 2, k=q),
        lambda p, q: np.poly(p),
        lambda p, q: np.poly(np.outer(p[:2], q) + p[1:3]),
    ],
)
def test_polynomials(function):
    agree(function, P, Q)


def test_roots():
    for p in (P, np.array([1.0, 0.0, 1.0]), np.array([0.0, 2.0, 1.0, 0.0, 0.0]), np.array([3.0])):
        np.testing.assert_allclose(np.roots(leaf(p)).data, np.roots(p), rtol=1e-12)
    # x^2 - 3 x + 2 = (x - 1) (x - 2): moving a coefficient moves the root r by -r^k / (2 r - 3).
    p = leaf([1.0, -3.0, 2.0])
    roots = np.real(np.roots(p))
    np.sum(np.where(roots.data > 1.5, roots, 0)).backward()
    np.testing.assert_allclose(p.grad.data, [-4, -2, -1], rtol=1e-12)


def test_remainders_of_polynomials():
    quotient, rest = np.polydiv(leaf([3.0, 5.0, 2.0]), [2.0, 1.0])
    assert (quotient.data.tolist(), rest.data.tolist()) == ([1.5, 1.75], [0.25])
    check_gradients(lambda u, v: np.polydiv(u, v)[1][-1:], np.array([3.0, 5.0, 2.5]), np.array([2.0, 1.0]))


@pytest.mark.parametrize("settings", [{}, {"w": [1.0, 2.0, 1.0, 0.5, 1.0]}, {"cov": True}, {"cov": "unscaled"}])
def test_polynomial_fits(settings):
    x, y = np.array([-1.0, 0.2, 0.9, 2.1, 3.3]), np.array([0.3, -1.0, 2.0, 0.7, 0.1])
    got, expected = np.polyfit(leaf(x), leaf(y), 2, **settings), np.polyfit(x, y, 2, **settings)
    for one, other in zip(got, expected, strict=True) if "cov" in settings else [(got, expected)]:
        np.testing.assert_allclose(one.data, other, rtol=1e-10)
    with pytest.raises(TypeError, match="same length"):
        np.polyfit(leaf(x), leaf(y[:3]), 2)


def test_polynomials_refuse_what_numpy_refuses():
    for call, message in (
        (lambda p: np.polyder(p, -1), "must be positive"),
        (lambda p: np.polyint(p, -1), "must be positive"),
        (lambda p: np.polyint(p, 3, k=[1.0, 2.0]), "k must be a scalar"),
        (lambda p: np.poly(np.ones((2, 3)) * p[0]), "square 2d array"),
        (lambda p: np.roots(p.reshape(2, 2)), "rank-1 array"),
    ):
        with pytest.raises(ValueError, match=message):
            call(P)
        with pytest.raises(ValueError, match=message):
            call(leaf(P))
