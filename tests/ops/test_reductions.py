"""Reductions and scans: ties, zeros, nan, dtypes, keywords, and what is raised; the sweep does the rest."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import tapegrad as tg
from tapegrad.errors import DtypeError, LostGradientError
from tapegrad.testing import check_gradients, strict


def gradient(function, x, cotangent=None):
    """Return the gradient of `function` at `x`."""
    x = tg.tensor(x, requires_grad=True)
    function(x).backward(cotangent)
    return x.grad.numpy()


def hessian(function, x):
    """Return second derivatives, by backward over backward with create_graph."""
    x = tg.tensor(x, requires_grad=True)
    function(x).backward(create_graph=True)
    first, rows = x.grad, []
    for i in np.ndindex(first.shape):
        x.grad = None
        if first.requires_grad:
            first[i].backward(retain_graph=True)
        rows.append(np.zeros(x.shape) if x.grad is None else x.grad.numpy())
    return np.stack(rows).reshape(first.shape + x.shape)


# Ties

few_values = arrays_of.arrays(np.float64, st.integers(1, 8), elements=st.integers(-1, 2))


@pytest.mark.parametrize("axis", [None, 0, -1, (0,)])
def test_ties_of_max_share_equally(axis):
    np.testing.assert_array_equal(gradient(lambda x: np.max(x, axis=axis), [1.0, 3.0, 3.0]), [0, 0.5, 0.5])
    np.testing.assert_array_equal(gradient(lambda x: np.min(x, axis=axis), [3.0, 1.0, 1.0]), [0, 0.5, 0.5])


@pytest.mark.parametrize("reduce", [np.max, np.min, np.amax, np.amin, np.nanmax, np.nanmin])
@given(x=few_values)
def test_shares_are_equal_and_sum_to_one(reduce, x):
    h = gradient(reduce, x)
    chosen = x == reduce(x)
    np.testing.assert_allclose(h, chosen / chosen.sum())


@pytest.mark.parametrize("reduce", [np.max, np.min])
def test_ties_in_single_and_half_precision_keep_their_dtype(reduce):
    for dtype in (np.float16, np.float32):
        h = gradient(lambda x: reduce(x, axis=1).sum(), np.ones((2, 3), dtype))
        assert h.dtype == dtype
        np.testing.assert_allclose(h, 1 / 3, rtol=1e-3)


def test_more_ties_than_half_precision_counts():
    h = gradient(np.max, np.ones(100_000, np.float16), np.float16(1000))
    np.testing.assert_allclose(h, 0.01, rtol=1e-3)
    h = gradient(np.mean, np.ones(100_000, np.float16), np.float16(1000))
    np.testing.assert_allclose(h, 0.01, rtol=1e-3)


def test_initial_is_one_more_candidate():
    np.testing.assert_allclose(gradient(lambda x: np.max(x, initial=2.0), [2.0, 1.0, 2.0]), [1 / 3, 0, 1 / 3])
    np.testing.assert_array_equal(gradient(lambda x: np.max(x, initial=5.0), [2.0, 1.0]), [0, 0])
    np.testing.assert_array_equal(
        gradient(lambda x: np.max(x, initial=0.0, where=[True, False, True]), [1.0, 9.0, 1.0]), [0.5, 0, 0.5]
    )
    np.testing.assert_array_equal(gradient(lambda x: np.nanmax(x, initial=2.0), [2.0, np.nan]), [0.5, 0])


def test_nan_takes_the_gradient_of_an_extremum():
    np.testing.assert_array_equal(gradient(np.max, [1.0, np.nan, 3.0]), [0, 1, 0])
    np.testing.assert_array_equal(gradient(np.min, [np.nan, 0.0, np.nan]), [0.5, 0, 0.5])


def test_an_infinite_cotangent_reaches_the_extremum_alone():
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(gradient(lambda x: np.sqrt(np.max(x)), [0.0, -1.0]), [np.inf, 0])


def test_ties_of_ptp():
    np.testing.assert_array_equal(gradient(np.ptp, [1.0, 3.0, 3.0, 1.0]), [-0.5, 0.5, 0.5, -0.5])


@given(x=few_values)
def test_running_extrema_share_among_the_entries_so_far(x):
    expected = np.zeros_like(x)
    for n in range(1, x.size + 1):
        chosen = x[:n] == x[:n].max()
        expected[:n] += chosen / chosen.sum() * n
    h = gradient(np.maximum.accumulate, x, np.arange(1.0, x.size + 1))
    np.testing.assert_allclose(h, expected)


# Products through zeros

factors = arrays_of.arrays(np.float64, st.integers(1, 6), elements=st.integers(-2, 2).map(float))


def without(x, *places):
    """Return the product of `x` without some places."""
    return np.prod(np.delete(x, places))


def test_products_of_the_contract():
    np.testing.assert_array_equal(gradient(np.prod, [0.0, 2.0, 3.0]), [6, 0, 0])
    np.testing.assert_array_equal(gradient(np.prod, [0.0, 0.0, 3.0]), [0, 0, 0])
    np.testing.assert_array_equal(hessian(np.prod, [0.0, 0.0, 3.0]), [[0, 3, 0], [3, 0, 0], [0, 0, 0]])


@given(x=factors)
def test_prod_is_exact_through_zeros(x):
    np.testing.assert_array_equal(gradient(np.prod, x), [without(x, i) for i in range(x.size)])
    pairs = [[0 if i == k else without(x, i, k) for k in range(x.size)] for i in range(x.size)]
    np.testing.assert_array_equal(hessian(np.prod, x), pairs)


@given(x=factors)
def test_cumprod_is_exact_through_zeros(x):
    weights = np.arange(1.0, x.size + 1)
    first, second = np.zeros(x.size), np.zeros((x.size, x.size))
    for n, w in enumerate(weights, 1):
        for i in range(n):
            first[i] += w * without(x[:n], i)
        for i, k in itertools.permutations(range(n), 2):
            second[i, k] += w * without(x[:n], i, k)
    np.testing.assert_array_equal(gradient(np.cumprod, x, weights), first)
    np.testing.assert_array_equal(hessian(lambda x: np.sum(np.cumprod(x) * weights), x), second)
    np.testing.assert_array_equal(gradient(np.multiply.accumulate, x, weights), first)


def test_products_along_axes_are_exact_through_zeros():
    x = np.array([[[0.0, 2.0], [3.0, 0.0]], [[5.0, 7.0], [0.0, 0.0]]])
    for axis in (None, 0, 2, (0, 2), (2, 0), (0, 1, 2), ()):
        expected = np.zeros_like(x)
        for place in np.ndindex(x.shape):
            without_it = x.copy()
            without_it[place] = 1
            marked = np.zeros(x.shape, bool)
            marked[place] = True
            expected[place] = np.sum(np.prod(without_it, axis=axis) * np.any(marked, axis=axis))
        np.testing.assert_array_equal(gradient(lambda x, axis=axis: np.sum(np.prod(x, axis=axis)), x), expected)


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_recurrence_is_what_a_loop_computes(n, seed):
    from tapegrad.ops.reductions import recurrence

    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-1, 1, (2, n, 2))
    expected, s = [], 0.0
    for k in range(n):
        s = a[k] * s + b[k]
        expected.append(s)
    np.testing.assert_allclose(recurrence(a[1:], b, axis=0), np.reshape(expected, (n, 2)), atol=1e-14)


def test_cumulative_products_start_with_one():
    if not hasattr(np, "cumulative_prod"):
        pytest.skip("NumPy before 2.1")
    x = tg.tensor([2.0, 0.0, 3.0], requires_grad=True)
    y = np.cumulative_prod(x, include_initial=True)
    np.testing.assert_array_equal(y.detach().numpy(), [1, 2, 0, 0])
    with pytest.raises(ValueError, match="axis"):
        np.cumulative_sum(tg.tensor(np.ones((2, 2))))


# Keywords


def test_where_hides_nan_from_the_gradient():
    x = [1.0, np.nan, 3.0]
    mask = [True, False, True]
    np.testing.assert_array_equal(gradient(lambda x: np.sum(x, where=mask), x), [1, 0, 1])
    np.testing.assert_array_equal(gradient(lambda x: np.mean(x, where=mask), x), [0.5, 0, 0.5])
    np.testing.assert_array_equal(gradient(lambda x: np.prod(x, where=mask), x), [3, 0, 1])
    np.testing.assert_array_equal(gradient(lambda x: np.var(x, where=mask), x), [-1, 0, 1])
    np.testing.assert_array_equal(gradient(lambda x: np.std(x, where=mask), x), [-0.5, 0, 0.5])


def test_where_must_fit_the_array():
    x = tg.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="operand"):
        np.sum(x, where=[[True, False], [True, True]])


def test_where_and_initial_work_where_the_library_lacks_them():
    x = tg.tensor(strict.asarray(np.array([[1.0, 4.0], [2.0, 3.0]])), requires_grad=True)
    mask = np.array([[True, False], [True, True]])
    y = np.sum(x, where=mask, initial=10.0) + np.max(x, where=mask, initial=0.0) + np.var(x, where=mask)
    y.backward()
    assert x.grad.device == "cuda:0"
    np.testing.assert_allclose(x.grad.numpy(), [[1 - 2 / 3, 0], [1, 2 + 2 / 3]])


@pytest.mark.parametrize("function", [np.sum, np.mean, np.prod, np.max, np.cumsum, np.var, np.median, np.add.reduce])
def test_results_can_be_stored(function):
    x = np.arange(1.0, 7).reshape(2, 3)
    expected = function(x, axis=1)
    w, out = tg.tensor(x, requires_grad=True), tg.tensor(np.empty(expected.shape))
    result = function(w, axis=1, out=out)
    assert result is out
    np.testing.assert_array_equal(out.detach().numpy(), expected)
    np.sum(out).backward()
    np.testing.assert_allclose(w.grad.numpy(), gradient(lambda x: np.sum(function(x, axis=1)), x))
    with pytest.raises(LostGradientError, match="plain array"):
        function(w, axis=1, out=np.empty(expected.shape))


@pytest.mark.parametrize("function", [np.sum, np.mean, np.prod, np.cumsum, np.cumprod, np.var, np.nansum])
def test_a_reduction_in_integers_would_lose_the_gradient(function):
    x = tg.tensor([1.5, 2.5], requires_grad=True)
    with pytest.raises(DtypeError, match="gradient would be lost"):
        function(x, dtype=int)
    assert function(x.detach(), dtype=int).dtype == function(np.array([1.5, 2.5]), dtype=int).dtype


@pytest.mark.parametrize("function", [np.sum, np.mean, np.prod, np.cumsum, np.cumprod, np.var, np.std, np.nanmean])
def test_a_wider_dtype_of_the_result_leaves_the_leaf_its_own(function):
    x = tg.tensor(np.array([1.5, 2.5, 4.0], np.float32), requires_grad=True)
    y = function(x, dtype=np.float64)
    assert y.dtype == np.float64
    y.backward(np.ones(y.shape))
    assert x.grad.dtype == np.float32


def test_half_precision_sums_many_cotangents():
    x = tg.tensor(np.ones(1, np.float16), requires_grad=True)
    np.sum(np.broadcast_to(x, (5000,)) * np.float16(0.5)).backward()
    assert x.grad.item() == 2500


@pytest.mark.parametrize("function", [np.sum, np.prod, np.max, np.mean, np.cumsum, np.median, np.var, np.ptp])
def test_a_wrong_axis_is_refused_by_numpy_and_nothing_recorded(function):
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ValueError, match=r"axis|out of bounds"):
        function(x, axis=2)
    assert x.grad is None


def test_extrema_of_nothing_are_refused_by_numpy():
    with pytest.raises(ValueError, match="zero-size array"):
        np.max(tg.tensor([], requires_grad=True))
    x = tg.tensor(np.ones(0), requires_grad=True)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"), np.errstate(invalid="ignore"):
        y = np.mean(x)
    y.backward()
    assert x.grad.shape == (0,)


# Differences, integrals, histograms, methods of ufuncs


def test_spacings_of_a_gradient_are_differentiated():
    f, t = np.array([[1.0, 4.0, 2.0, 3.0], [0.0, 1.0, 5.0, 2.0]]), np.array([0.0, 0.5, 2.0, 2.25])
    for edge_order in (1, 2):
        check_gradients(lambda f, t, e=edge_order: np.gradient(f, t, axis=1, edge_order=e), f, t)
    check_gradients(lambda f, h: np.gradient(f, h, axis=1), f, np.array(0.5))


def test_ends_of_differences_are_differentiated():
    check_gradients(lambda a, b, c: np.diff(a, prepend=b, append=c), np.ones((2, 3)), np.array(0.5), np.ones((2, 2)))
    check_gradients(lambda a, b: np.ediff1d(a, to_begin=b), np.ones((2, 3)), np.array([0.5]))


def test_differences_refuse_what_numpy_refuses():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ValueError, match="non-negative"):
        np.diff(x, n=-1)
    with pytest.raises(ValueError, match="at least one dimensional"):
        np.diff(x[0])
    with pytest.raises(ValueError, match="out of bounds"):
        np.diff(x, axis=1)
    with pytest.raises(TypeError, match="to_end"):
        np.ediff1d(x, to_end=1j)
    for arguments, settings, error, words in (
        ((), {"edge_order": 3}, ValueError, "not supported"),
        ((1.0, 2.0), {}, TypeError, "invalid number"),
        (([1.0],), {}, ValueError, "must match"),
        (([[1.0, 2.0]],), {}, ValueError, "scalars or 1d"),
        ((), {"edge_order": 2}, ValueError, "too small"),
    ):
        with pytest.raises(error, match=words):
            np.gradient(x, *arguments, **settings)


def test_methods_of_ufuncs():
    x = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 5.0]])
    check_gradients(lambda x: np.add.reduce(x), x)
    check_gradients(lambda x: np.add.reduce(x, axis=None, initial=2.0, where=[True, False, True]), x)
    check_gradients(lambda x: np.multiply.reduce(x, axis=1, keepdims=True), x)
    check_gradients(lambda x: np.maximum.reduce(x, axis=(0, 1)), x)
    check_gradients(lambda x: np.add.accumulate(x), x)
    check_gradients(lambda x: np.minimum.accumulate(x, axis=1), x)
    check_gradients(lambda x: np.add.reduceat(x, [0, 2, 1], axis=1), x)
    check_gradients(lambda x: np.multiply.reduceat(x, [1, 0, 2], axis=1), x)
    check_gradients(lambda x: np.maximum.reduceat(x, [0, 1]), x)
    check_gradients(lambda x, y: np.multiply.outer(x, y), x, np.array([2.0, 3.0]))
    check_gradients(lambda x, y: np.subtract.outer(x, y), x, np.array([[2.0], [3.0]]))


def test_segments_outside_of_the_array_are_refused():
    for ufunc in (np.add, np.multiply):
        with pytest.raises(IndexError, match="out-of-bounds"):
            ufunc.reduceat(tg.tensor([1.0, 2.0]), [0, 2])


@given(
    arrays_of.arrays(
        np.float64, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), elements=st.floats(-9, 9)
    )
)
def test_sums_of_any_shape_have_gradients_of_that_shape(x):
    for axis in (None, (), *range(x.ndim), *itertools.combinations(range(x.ndim), 2)):
        h = gradient(lambda x, axis=axis: np.sum(np.mean(x, axis=axis, keepdims=True)), x) if x.size else None
        if h is not None:
            count = x.size // np.sum(x, axis=axis).size
            np.testing.assert_allclose(h, np.full(x.shape, 1 / count))
        assert gradient(lambda x, axis=axis: np.sum(np.sum(x, axis=axis)), x).shape == x.shape


def test_rules_run_without_warnings_on_ordinary_numbers():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in (np.prod, np.std, np.median, np.max, np.nanvar, lambda x: np.sum(np.cumprod(x))):
            gradient(function, [0.5, 2.0, 3.0])


@pytest.mark.parametrize("dtype", [bool, np.int32, np.int64])
def test_integers_are_reduced_as_numpy_reduces_them(dtype):
    x = np.array([[3, 1, 2], [5, 0, 1]]).astype(dtype)
    mask = [True, False, True]
    for function in (
        lambda x: np.sum(x, axis=0, initial=2.5, where=mask),
        lambda x: np.mean(x, where=mask),
        lambda x: np.prod(x, initial=-1.5),
        lambda x: np.max(x, axis=1, initial=1, where=mask),
        lambda x: np.var(x, where=mask),
        lambda x: np.median(x, axis=0),
        lambda x: np.average(x, weights=x),
        *([] if dtype is bool else [lambda x: np.quantile(x, 0.3), lambda x: np.nanpercentile(x, [30, 60], axis=1)]),
    ):
        expected = function(x)
        got = function(tg.tensor(x))
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got.numpy(), expected)
