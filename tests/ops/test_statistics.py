"""Statistics: edges of variances, quantiles, reductions that leave out nan, and histograms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import tapegrad as tg
from tapegrad.testing import check_gradients


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


# Variances


def test_std_of_equal_numbers_has_derivative_zero_of_every_order():
    np.testing.assert_array_equal(gradient(np.std, [1.0, 1.0]), [0, 0])
    np.testing.assert_array_equal(hessian(np.std, [1.0, 1.0]), np.zeros((2, 2)))
    np.testing.assert_array_equal(gradient(np.nanstd, [1.0, np.nan, 1.0]), [0, 0, 0])


@pytest.mark.parametrize("function", [np.var, np.std, np.nanvar, np.nanstd])
def test_no_degrees_of_freedom_give_nan_and_the_warning_of_numpy(function):
    x = tg.tensor([2.0], requires_grad=True)
    with pytest.warns(RuntimeWarning, match="Degrees of freedom <= 0"), np.errstate(invalid="ignore"):
        y = function(x, ddof=1)
    assert np.isnan(y.item())
    y.backward()
    assert np.isnan(x.grad.item())


def test_a_tracked_mean_has_a_gradient_of_its_own():
    x = np.array([1.0, 2.0, 4.0])

    def variance(x, m):
        return np.var(x, mean=m, ddof=1)

    check_gradients(variance, x, np.array([0.3]))
    check_gradients(lambda x: np.std(x, mean=np.mean(x, keepdims=True)), x)


def test_correction_is_another_name_of_ddof():
    x = tg.tensor([1.0, 2.0, 4.0])
    assert np.var(x, correction=1).item() == np.var(x, ddof=1).item()
    with pytest.raises(ValueError, match="provided simultaneously"):
        np.std(x, correction=1, ddof=1)


def test_the_variance_of_complex_numbers_is_real():
    z = tg.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    y = np.var(z)
    assert y.dtype == np.float64
    y.backward()
    np.testing.assert_allclose(z.grad.numpy(), z.detach().numpy() - np.mean(z.detach().numpy()))


def test_weights_of_an_average_have_gradients():
    check_gradients(lambda x, w: np.average(x, weights=w), np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 2.0]))
    check_gradients(
        lambda x, w: np.average(x, axis=1, weights=w, returned=True), np.arange(6.0).reshape(2, 3), np.arange(1.0, 4)
    )
    w = tg.tensor([1.0, 2.0, 1.0], requires_grad=True)
    np.average(np.array([1.0, 2.0, 4.0]), weights=w).backward()
    np.testing.assert_allclose(w.grad.numpy(), (np.array([1.0, 2.0, 4.0]) - 2.25) / 4)


def test_averages_refuse_what_numpy_refuses():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ZeroDivisionError, match="sum to zero"):
        np.average(x, axis=1, weights=[1.0, -1.0, 0.0])
    with pytest.raises(TypeError, match="Axis must be specified"):
        np.average(x, weights=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="consistent"):
        np.average(x, axis=0, weights=[1.0, 2.0, 3.0])


def test_weights_of_a_covariance_have_gradients():
    x, w = np.random.default_rng(0).normal(size=(2, 5)), np.arange(1.0, 6)
    check_gradients(lambda x, w: np.cov(x, aweights=w), x, w)
    check_gradients(lambda x, w: np.cov(x, fweights=[1, 2, 1, 3, 1], aweights=w, ddof=2), x, w)


def test_covariances_refuse_and_warn_as_numpy_does():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    for settings, error, words in (
        ({"ddof": 0.5}, ValueError, "ddof must be integer"),
        ({"fweights": [1.5, 1.0, 1.0]}, TypeError, "must be integer"),
        ({"fweights": [1, 1]}, RuntimeError, "incompatible numbers of samples and fweights"),
        ({"aweights": [[1.0, 1.0, 1.0]]}, RuntimeError, "multidimensional aweights"),
        ({"aweights": [-1.0, 1.0, 1.0]}, ValueError, "cannot be negative"),
    ):
        with pytest.raises(error, match=words):
            np.cov(x, **settings)
        with pytest.raises(error, match=words):
            np.cov(x.detach().numpy(), **settings)
    with pytest.raises(ValueError, match="more than 2 dimensions"):
        np.cov(tg.tensor(np.ones((1, 2, 3))))
    with pytest.warns(RuntimeWarning, match="Degrees of freedom"), np.errstate(all="ignore"):
        np.cov(tg.tensor([[1.0], [2.0]]))


# Order statistics


def test_median_of_four_halves():
    np.testing.assert_array_equal(gradient(np.median, [4.0, 1.0, 3.0, 2.0]), [0, 0, 0.5, 0.5])


@given(x=few_values)
def test_ties_of_a_median_share_equally(x):
    expected = np.zeros_like(x)
    for rank in {(x.size - 1) // 2, x.size // 2}:
        chosen = x == np.sort(x)[rank]
        expected += chosen / chosen.sum()
    np.testing.assert_allclose(gradient(np.median, x), expected / expected.sum())


def test_nan_spoils_medians_and_quantiles():
    for function in (np.median, lambda x: np.quantile(x, 0.3), lambda x: np.percentile(x, 10, method="lower")):
        x = tg.tensor([1.0, np.nan, 3.0], requires_grad=True)
        y = function(x)
        assert np.isnan(y.item())
        y.backward()
        np.testing.assert_array_equal(x.grad.numpy(), [0, 1, 0])


METHODS = [
    "inverted_cdf",
    "averaged_inverted_cdf",
    "closest_observation",
    "interpolated_inverted_cdf",
    "hazen",
    "weibull",
    "linear",
    "median_unbiased",
    "normal_unbiased",
    "lower",
    "higher",
    "midpoint",
    "nearest",
]


@pytest.mark.parametrize("method", METHODS)
@given(
    x=arrays_of.arrays(np.float64, st.integers(1, 9), elements=st.floats(-9, 9)),
    q=st.floats(0, 1) | st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
def test_quantiles_are_those_of_numpy(method, x, q):
    for function, scale in ((np.quantile, 1), (np.percentile, 100), (np.nanquantile, 1), (np.nanpercentile, 100)):
        at = np.multiply(q, scale) if isinstance(q, list) else q * scale
        got = function(tg.tensor(x), at, method=method)
        np.testing.assert_allclose(got.numpy(), function(x, at, method=method), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 2**32 - 1), q=st.floats(0, 1))
def test_nan_quantiles_of_slices_are_those_of_numpy(method, seed, q):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random((5, 4)) < 0.4, np.nan, rng.normal(size=(5, 4)))
    x[0] = 1.0
    got = np.nanquantile(tg.tensor(x), [q, 0.5], axis=0, method=method)
    np.testing.assert_allclose(got.numpy(), np.nanquantile(x, [q, 0.5], axis=0, method=method), atol=1e-12)
    np.testing.assert_allclose(np.nanmedian(tg.tensor(x), axis=0).numpy(), np.nanmedian(x, axis=0), atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), q=st.floats(0, 1))
def test_weighted_quantiles_are_those_of_numpy(seed, q):
    rng = np.random.default_rng(seed)
    x, w = rng.integers(0, 5, (4, 3)).astype(float), rng.integers(0, 3, (4, 3)).astype(float)
    w[0] = 1
    # NumPy 2.0 takes entries of weight zero for the quantile 0.
    levels = [q, 0.0, 1.0] if np.lib.NumpyVersion(np.__version__) >= "2.1.0" else [q or 0.5, 1.0]
    for function in (np.quantile, np.nanquantile):
        got = function(tg.tensor(x), levels, axis=0, weights=w, method="inverted_cdf")
        expected = function(x, levels, axis=0, weights=w, method="inverted_cdf")
        np.testing.assert_array_equal(got.numpy(), expected)


def test_a_tracked_quantile_level_has_a_gradient():
    x = np.array([3.0, 1.0, 2.0, 7.0, 5.0])
    check_gradients(lambda x, q: np.quantile(x, q), x, np.array([0.3, 0.8]))
    check_gradients(lambda x, q: np.percentile(x, q, method="hazen"), x, np.array(45.0))
    check_gradients(lambda x, q: np.nanquantile(x, q, axis=0), np.stack([x, x[::-1]], 1), np.array([0.3, 0.8]))


def test_quantiles_keep_dtypes_as_numpy_does():
    x = np.arange(5, dtype=np.float32)
    for q in (0.3, np.float64(0.3), np.float32(0.3), [0.3], 1, np.array([0, 1])):
        assert np.quantile(tg.tensor(x), q).dtype == np.quantile(x, q).dtype


def test_quantiles_refuse_what_numpy_refuses():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for arguments, error, words in (
        ((1.5,), ValueError, "range"),
        ((0.5, None, None, False, "best"), ValueError, "not a valid method"),
        (([[[0.5]]],), ValueError, "scalar or 1d"),
    ):
        with pytest.raises(error, match=words):
            np.quantile(x, *arguments)
    with pytest.raises(ValueError, match="Percentiles must be in the range"):
        np.percentile(x, 101)
    with pytest.raises(ValueError, match="supports weights"):
        np.quantile(x, 0.5, weights=[1.0, 2.0])
    with pytest.raises(ValueError, match="non-negative"):
        np.quantile(x, 0.5, weights=[1.0, -2.0], method="inverted_cdf")
    with pytest.raises(ValueError, match="all zero"), np.errstate(all="ignore"):
        np.quantile(x, 0.5, weights=[0.0, 0.0], method="inverted_cdf")
    with pytest.raises(TypeError, match="real numbers"):
        np.quantile(tg.tensor([1j]), 0.5)
    with pytest.raises(IndexError):
        np.quantile(tg.tensor([]), 0.5)


# Nan

HOLES = np.array([[False, True, False, True], [True, False, False, False], [False, False, True, False]])
IGNORING_NAN = {
    "nansum": lambda x: np.nansum(x, axis=0),
    "nanprod": lambda x: np.nanprod(x, axis=1),
    "nancumsum": lambda x: np.nancumsum(x, axis=0),
    "nancumprod": lambda x: np.nancumprod(x, axis=1),
    "nanmean": lambda x: np.nanmean(x, axis=1, keepdims=True),
    "nanvar": lambda x: np.nanvar(x, axis=1, ddof=1),
    "nanstd": lambda x: np.nanstd(x, axis=0),
    "nanmax": lambda x: np.nanmax(x, axis=0),
    "nanmin": lambda x: np.nanmin(x),
    "nanmedian": lambda x: np.nanmedian(x, axis=1),
    "nanquantile": lambda x: np.nanquantile(x, [0.2, 0.9], axis=1),
    "nanpercentile": lambda x: np.nanpercentile(x, 35, axis=0, keepdims=True),
}


@pytest.mark.parametrize("name", IGNORING_NAN)
@pytest.mark.parametrize("imaginary", [0, 1j])
def test_functions_that_ignore_nan_differentiate_by_the_rest(name, imaginary):
    rng = np.random.default_rng(1)
    x = rng.permutation(np.arange(12.0)).reshape(3, 4) / 3 + 0.1
    if imaginary and name not in ("nanmedian", "nanquantile", "nanpercentile"):  # complex numbers have no quantiles
        x = x + imaginary * rng.uniform(-1, 1, x.shape)
    check_gradients(lambda x: IGNORING_NAN[name](np.where(HOLES, np.nan, x)), x)


@pytest.mark.parametrize("name", IGNORING_NAN)
def test_nan_gets_gradient_zero(name):
    x = tg.tensor(np.where(HOLES, np.nan, np.arange(12.0).reshape(3, 4)), requires_grad=True)
    y = IGNORING_NAN[name](x)
    np.testing.assert_allclose(y.detach().numpy(), IGNORING_NAN[name](x.detach().numpy()))
    y.backward(np.ones(y.shape))
    assert not x.grad.numpy()[HOLES].any()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("function", [np.nanmean, np.nanmax, np.nanmin, np.nanmedian, lambda x: np.nanquantile(x, 0.5)])
def test_slices_of_nothing_but_nan_give_nan(function):
    x = tg.tensor([np.nan, np.nan], requires_grad=True)
    if function in (np.nanmean, np.nanmax, np.nanmin, np.nanmedian):
        with pytest.warns(RuntimeWarning, match=r"Mean of empty slice|All-NaN"):
            y = function(x)
    else:
        with pytest.warns(RuntimeWarning, match="All-NaN"):
            y = function(x)
    assert np.isnan(y.item())
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0])


def test_weights_of_histograms_have_gradients():
    x = np.array([0.2, 1.7, 0.4, 3.0, 9.0, 1.0])
    w = np.arange(1.0, 7)
    for settings in ({"bins": 3, "range": (0, 3)}, {"bins": [0.0, 1.0, 3.0], "density": True}, {"bins": 4}):
        expected = np.histogram(x, weights=w, **settings)
        counts, edges = np.histogram(x, weights=tg.tensor(w, requires_grad=True), **settings)
        np.testing.assert_allclose(counts.detach().numpy(), expected[0])
        np.testing.assert_array_equal(edges, expected[1])
        check_gradients(lambda w, s=settings: np.histogram(x, weights=w, **s)[0], w)
    check_gradients(lambda w: np.histogram(x, 3, weights=w)[0], w + 1j)
    check_gradients(lambda x, w: np.histogram(x, 3, weights=w, density=True), x, w)
    check_gradients(lambda w: np.bincount([0, 2, 2, 5, 0, 1], w, minlength=7), w)
    sample = np.stack([x, x[::-1]], axis=1)
    for density in (False, True):
        counts, _ = np.histogramdd(sample, 3, weights=tg.tensor(w, requires_grad=True), density=density)
        np.testing.assert_allclose(
            counts.detach().numpy(), np.histogramdd(sample, 3, weights=w, density=density)[0], atol=1e-15
        )
        check_gradients(lambda w, d=density: np.histogramdd(sample, [2, 3], weights=w, density=d)[0], w)
        check_gradients(lambda w, d=density: np.histogram2d(x, x[::-1], 3, weights=w, density=d)[0], w)


def test_bins_that_depend_on_the_numbers_are_differentiated():
    x = np.array([0.2, 1.7, 0.4, 3.0])
    np.testing.assert_array_equal(gradient(lambda x: np.histogram(x, 2)[1][1], x), [0.5, 0, 0, 0.5])
    edges = tg.tensor([0.0, 1.0, 3.5], requires_grad=True)
    counts, found = np.histogram(x, edges, density=True)
    assert found is edges
    np.testing.assert_allclose(counts.detach().numpy(), np.histogram(x, [0.0, 1.0, 3.5], density=True)[0])


def test_tracked_weights_of_integers_have_gradients():
    w = tg.tensor([1.0, 3.0], requires_grad=True)
    np.average(tg.tensor([2, 6]), weights=w).backward()
    np.testing.assert_allclose(w.grad.numpy(), [-0.75, 0.25])
