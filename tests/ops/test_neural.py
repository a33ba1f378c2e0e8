"""Functions of neural networks: the extremes, accuracy, dtypes, losses' arguments, costs; the sweep does the rest."""

import doctest
import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._op import RULES
from tapegrad.errors import DtypeError, ShapeError
from tapegrad.ops import neural
from tapegrad.testing import check_gradients, counting, strict

INF = math.inf


def leaf(value, **options):
    return tg.tensor(value, requires_grad=True, **options)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def value_and_grad(function, x):
    """Return the values of an elementwise function and its derivative, as lists."""
    x = leaf(np.asarray(x))
    y = function(x)
    y.backward(np.ones_like(x.data))
    return y.tolist(), x.grad.tolist()


# The recorders hide functions from doctest's own search.
@pytest.mark.parametrize("name", neural.__all__)
def test_examples(name):
    function = getattr(neural, name)
    found = doctest.DocTestParser().get_doctest(function.__doc__, {}, name, None, None)
    assert found.examples
    assert doctest.DocTestRunner().run(found).failed == 0


# The contract


@pytest.mark.parametrize(
    ("name", "values", "slopes"),
    [
        ("relu", [0, 0, 0, 1, 1000, INF], [0, 0, 0, 1, 1, 1]),
        ("sigmoid", [0, 0, 0.5, None, 1, 1], [0, 0, 0.25, None, 0, 0]),
        ("softplus", [0, 0, math.log(2), None, 1000, INF], [0, 0, 0.5, None, 1, 1]),
        ("leaky_relu", [-INF, -10, 0, 1, 1000, INF], [0.01, 0.01, 0.01, 1, 1, 1]),
        ("elu", [-1, -1, 0, 1, 1000, INF], [0, 0, 1, 1, 1, 1]),
    ],
)
def test_extremes_and_kinks(name, values, slopes):
    found = value_and_grad(getattr(neural, name), [-INF, -1000, 0, 1, 1000, INF])
    for got, expected in zip(found, (values, slopes), strict=True):
        assert [g for g, e in zip(got, expected, strict=True) if e is not None] == [
            e for e in expected if e is not None
        ]


@pytest.mark.parametrize("name", ["silu", "gelu"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_extremes_of_products_with_a_distribution_function(name, dtype):
    values, slopes = value_and_grad(getattr(neural, name), np.array([-1000, 0, 1000], dtype))
    assert values == [0, 0, 1000]
    assert slopes == [0, 0.5, 1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize(
    ("x", "expected", "gradient"),
    [
        ([-INF, 0], 0, [0, 1]),
        ([-INF, -INF], -INF, [0, 0]),
        ([INF, 0], INF, [1, 0]),
        ([INF, INF], INF, [0.5, 0.5]),
        ([INF, -INF], INF, [1, 0]),
        ([20000, 0], 20000, [1, 0]),
        ([-20000, -20000 - 32], -20000, [0.9999999999999873, 1.2664165549094176e-14]),
    ],
)
def test_logsumexp_at_extremes(x, expected, gradient, dtype):
    x = leaf(np.array(x, dtype))
    y = neural.logsumexp(x)
    y.backward()
    assert y.item() == expected
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-6, atol=1e-7 if dtype != np.float64 else 0)


@pytest.mark.parametrize("axis", [0, -1, None, (0, 1)])
def test_softmax_of_slices_without_a_number(axis):
    # All weights are zero there, so the Jacobian of softmax is zero and that of log_softmax the identity.
    x = leaf(np.full((2, 2), -INF))
    for function, expected, slope in ((neural.softmax, 0, 0), (neural.log_softmax, -INF, 1)):
        x.grad = None
        y = function(x, axis)
        assert (y.detach().numpy() == expected).all()
        y.backward(np.ones((2, 2)))
        assert (x.grad.numpy() == slope).all()


def test_a_masked_entry_gets_nothing_and_gives_nothing():
    x = leaf([[1.0, -INF, 2.0], [-INF, -INF, -INF]])
    y = neural.softmax(x)
    assert y.detach().numpy()[:, 1].tolist() == [0, 0]
    (y * np.arange(6.0).reshape(2, 3)).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    assert x.grad.numpy()[1].tolist() == [0, 0, 0]


def test_nan_is_not_hidden():
    x = np.array([np.nan, 1.0])
    for name in ("relu", "sigmoid", "softplus", "silu", "gelu", "elu", "leaky_relu"):
        assert math.isnan(getattr(neural, name)(x)[0])
    for name in ("softmax", "log_softmax", "logsumexp", "layer_norm"):
        assert np.isnan(getattr(neural, name)(x)).all()


def test_what_logsumexp_leaves_to_its_rule():
    x = leaf(normal(50, 10).astype(np.float32))
    record = neural.logsumexp(x, axis=-1)._record
    kept = [a for a in record.for_x if isinstance(a, np.ndarray)]
    assert kept[0] is x.data
    assert sum(a.nbytes for a in kept[1:]) == 2 * 50 * 4
    check_gradients(lambda x: neural.logsumexp(x, axis=(0, 2)) ** 2, normal(2, 3, 4))


@given(hnp.arrays(float, hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e4, 1e4)), st.data())
def test_softmax_and_its_kin_along_any_axes(x, data):
    axes = st.integers(-x.ndim, x.ndim - 1)
    axis = data.draw(st.one_of(st.none(), axes, st.sets(st.integers(0, x.ndim - 1), min_size=1).map(tuple)))
    shift = x.max(axis=axis, keepdims=True)
    expected = shift + np.log(np.exp(x - shift).sum(axis=axis, keepdims=True))
    np.testing.assert_allclose(neural.logsumexp(x, axis, keepdims=True), expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(
        neural.logsumexp(x, axis), expected.reshape(x.sum(axis=axis).shape), rtol=1e-13, atol=1e-13
    )
    np.testing.assert_allclose(neural.log_softmax(x, axis), x - expected, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(neural.softmax(x, axis).sum(axis=axis), 1, rtol=1e-12)


def test_rows_longer_than_a_block():
    x = normal(2, 3000)
    check = np.exp(x - x.max(-1, keepdims=True))
    np.testing.assert_allclose(neural.softmax(x), check / check.sum(-1, keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(neural.softmax(np.asfortranarray(x)), neural.softmax(x), rtol=1e-13)


def test_empty_slices():
    assert neural.softmax(np.zeros((2, 0))).shape == (2, 0)
    assert neural.logsumexp(np.zeros((2, 0)), axis=1).tolist() == [-INF, -INF]
    assert neural.logsumexp(np.zeros(0)) == -INF


# Accuracy


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gelu_is_accurate_everywhere(dtype):
    x = np.concatenate([np.linspace(-14 if dtype == np.float64 else -12, 9, 4001), [1e-30, -1e-30, 1e-20]]).astype(
        dtype
    )
    exact = x.astype(float)
    distribution = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in exact])
    # An exponential of a number near x**2 / 2 cannot be more accurate than that number; neither ours nor that of erfc.
    unit = np.finfo(dtype).eps * (4 + exact**2)
    assert (np.abs(neural.gelu(x) - exact * distribution) <= unit * np.abs(exact * distribution)).all()
    slope = distribution + exact * np.exp(-(exact**2) / 2) / math.sqrt(2 * math.pi)
    size = distribution + np.abs(distribution - slope)
    assert (np.abs(neural.gelu_slope(x) - slope) <= unit * size).all()


def test_gelu_far_to_the_left_is_not_lost_in_rounding():
    x = np.array([-20.0, -37.0])
    expected = [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()]
    np.testing.assert_allclose(neural.gelu(x), expected, rtol=1e-10)
    assert neural.gelu(np.array([-10.0]), "tanh")[0] < 0


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_by_blocks(approximate):
    x = normal(70, 1000)
    y = neural.gelu(x, approximate)
    np.testing.assert_array_equal(y[-1], neural.gelu(x[-1], approximate))
    np.testing.assert_array_equal(neural.gelu(x.T, approximate), y.T)


def test_gelu_by_its_definition_with_tanh():
    x = np.linspace(-6, 6, 1001)
    expected = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(neural.gelu(x, approximate="tanh"), expected, rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match="got approximate='exact', expected 'none' or 'tanh'"):
        neural.gelu(x, approximate="exact")


def test_small_sigmoids_and_losses_keep_their_relative_accuracy():
    assert neural.sigmoid(np.array([-40.0]))[0] == pytest.approx(math.exp(-40), rel=1e-15)
    assert neural.softplus(np.array([-40.0]))[0] == pytest.approx(math.exp(-40), rel=1e-15)
    loss = neural.binary_cross_entropy_with_logits(np.array([40.0]), np.array([1.0]))
    assert loss == 0 or loss == pytest.approx(math.exp(-40), rel=1e-15)
    assert neural.cross_entropy(np.array([0.0, -30.0]), np.array(0)) == pytest.approx(
        math.log1p(math.exp(-30)), rel=1e-2
    )


# Types


SMOOTH = ["sigmoid", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "softmax", "log_softmax", "logsumexp"]


@pytest.mark.parametrize("name", [*SMOOTH, "layer_norm"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_dtypes_are_kept(name, dtype):
    function = getattr(neural, name)
    for a in (
        normal(3, 4).astype(dtype),
        normal(3, 0).astype(dtype) if name != "layer_norm" else normal(0, 3).astype(dtype),
    ):
        x = leaf(a)
        y = function(x)
        assert y.dtype == dtype
        assert function(a).dtype == dtype
        np.testing.assert_array_equal(y.detach().numpy(), function(a))
        y.backward(np.ones(y.shape, dtype))
        assert x.grad.dtype == dtype
        assert x.grad.shape == a.shape
    if name != "layer_norm":
        reference = function(a.astype(float))
        np.testing.assert_allclose(function(a), reference, rtol=1e-2 if dtype == np.float16 else 1e-5)


@pytest.mark.parametrize("name", SMOOTH)
def test_integers_lists_and_numbers_are_taken_as_double_precision(name):
    function = getattr(neural, name)
    expected = function(np.array([1.0, -2.0, 0.0]))
    for x in ([1, -2, 0], np.array([1, -2, 0]), np.array([1, -2, 0], np.int8), (1.0, -2.0, 0.0)):
        y = function(x)
        assert isinstance(y, np.ndarray | np.generic)
        if name != "relu":
            assert y.dtype == np.float64
        np.testing.assert_array_equal(y, expected)
    assert isinstance(function(tg.tensor([1, -2, 0])), tg.Tensor)
    if name not in ("softmax", "log_softmax"):
        assert function(2.0) == function(np.array([2.0]))


@pytest.mark.parametrize("name", [*SMOOTH, "layer_norm"])
def test_arguments_are_not_written_to(name):
    a = normal(3, 4)
    a.flags.writeable = False
    getattr(neural, name)(a)
    neural.cross_entropy(a, np.array([0, 1, 2]))
    neural.binary_cross_entropy_with_logits(a, a)


def test_float16_sums_do_not_overflow():
    x = leaf(np.zeros(70000, np.float16))
    y = neural.logsumexp(x)
    assert y.item() == pytest.approx(math.log(70000), rel=1e-3)
    weights = neural.softmax(x)
    assert weights.detach().numpy().max() == pytest.approx(1 / 70000, rel=2e-2)


# Cross-entropy


def reference_losses(x, q, axis):
    """Return the cross-entropies of probabilities, by the definition."""
    return -(q * (x - np.log(np.exp(x).sum(axis=axis, keepdims=True)))).sum(axis=axis)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_cross_entropy_of_labels_and_of_their_probabilities(axis, reduction, label_smoothing):
    x = normal(3, 3, 3)
    labels = np.random.default_rng(1).integers(0, 3, (3, 3))
    q = np.moveaxis(np.eye(3)[labels], -1, axis)
    smooth = (1 - label_smoothing) * q + label_smoothing / 3
    expected = reference_losses(x, smooth, axis)
    expected = {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](expected)
    gradients = []
    for target in (labels, q, labels.astype(np.int8), tg.tensor(labels)):
        a = leaf(x)
        loss = neural.cross_entropy(a, target, axis=axis, reduction=reduction, label_smoothing=label_smoothing)
        np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-13)
        loss.backward(None if loss.size == 1 else np.arange(9.0).reshape(3, 3))
        gradients.append(a.grad.numpy())
        np.testing.assert_allclose(gradients[-1], gradients[0], rtol=1e-12, atol=1e-15)
    plain = neural.cross_entropy(x, labels, axis, reduction, label_smoothing)
    np.testing.assert_allclose(plain, expected, rtol=1e-13)


def test_cross_entropy_in_both_modes_at_second_order():
    labels = np.array([2, 0, 1, 1])
    check_gradients(lambda x: neural.cross_entropy(x, labels, label_smoothing=0.1), normal(4, 3))
    check_gradients(lambda x: neural.cross_entropy(x, labels, reduction="none") ** 2, normal(4, 3))


@pytest.mark.parametrize("x", [[1000.0, 0.0], [-INF, 0.0], [INF, 0.0], [INF, INF], [0.0, INF]])
def test_cross_entropy_has_the_gradient_of_its_parts_at_extremes(x):
    a, b = leaf(x), leaf(x)
    neural.cross_entropy(a, 1).backward()
    neural.softmax(b).backward(np.array([0.0, 1.0]))
    np.testing.assert_allclose(a.grad.numpy(), neural.softmax(np.array(x)) - [0, 1])


def test_what_cross_entropy_keeps():
    def kept(rows):
        x, labels = leaf(normal(rows, 10).astype(np.float32)), np.zeros(rows, int)
        arrays = [a for a in neural.cross_entropy(x, labels)._record.for_x if isinstance(a, np.ndarray)]
        assert {id(x.data), id(labels)} < {id(a) for a in arrays}
        return sum(a.nbytes for a in arrays if a is not x.data and a is not labels)

    # Exponentials of few logits, the largest of many, and the sums.
    assert kept(50) == (10 + 1) * 50 * 4
    assert kept(5000) == (1 + 1) * 5000 * 4


@pytest.mark.parametrize("rows", [3, 5000])
def test_cross_entropy_of_infinite_logits_however_many(rows):
    z = normal(rows, 4)
    z[0, 1], z[1] = np.inf, [-np.inf, 0.0, -np.inf, -np.inf]
    x, labels = leaf(z), np.ones(rows, int)
    loss = neural.cross_entropy(x, labels, reduction="sum")
    loss.backward()
    np.testing.assert_allclose(loss.item(), neural.cross_entropy(z[2:], labels[2:], reduction="sum"))
    np.testing.assert_array_equal(x.grad.numpy()[:2], 0)
    np.testing.assert_allclose(x.grad.numpy()[2:], neural.softmax(z[2:]) - np.eye(4)[labels[2:]], rtol=1e-12)


def test_cross_entropy_of_untracked_logits_and_of_one_set():
    assert neural.cross_entropy([0.0, 0.0], 1) == pytest.approx(math.log(2))
    assert not neural.cross_entropy(tg.tensor([0.0, 0.0]), 1).requires_grad
    with tg.no_grad():
        assert not neural.cross_entropy(leaf([0.0, 0.0]), 1).requires_grad
    assert neural.cross_entropy(np.zeros((2, 2), np.float16), [0, 1]).dtype == np.float16


def test_a_tracked_distribution_gets_its_gradient():
    x, q = leaf(normal(3)), leaf(np.array([0.2, 0.3, 0.5]))
    neural.cross_entropy(x, q).backward()
    np.testing.assert_allclose(q.grad.numpy(), -neural.log_softmax(x.detach().numpy()))
    np.testing.assert_allclose(x.grad.numpy(), neural.softmax(x.detach().numpy()) - q.detach().numpy())


@pytest.mark.parametrize(
    ("labels", "settings", "error", "sentence"),
    [
        ([0, 1, 2], {}, ShapeError, r"got labels of shape \(3,\), expected \(2,\)"),
        ([[0], [1]], {}, ShapeError, r"got labels of shape \(2, 1\), expected \(2,\)"),
        ([0.5, 0.5], {}, ShapeError, r"got probabilities of shape \(2,\), expected \(2, 3\)"),
        ([0, 3], {}, IndexError, "got labels from 0 to 3, expected 0 to 2"),
        ([-1, 0], {}, IndexError, "got labels from -1 to 0, expected 0 to 2"),
        ([0, 1], {"reduction": "max"}, ValueError, "got reduction='max', expected 'mean', 'sum' or 'none'"),
        ([0, 1], {"label_smoothing": 1.5}, ValueError, "got label_smoothing=1.5, expected a number between 0 and 1"),
    ],
)
def test_cross_entropy_says_what_is_wrong(labels, settings, error, sentence):
    for logits in (np.zeros((2, 3)), leaf(np.zeros((2, 3)))):
        with pytest.raises(error, match=sentence):
            neural.cross_entropy(logits, labels, **settings)


def test_binary_cross_entropy():
    x, y = normal(4), np.array([0.0, 1.0, 0.3, 1.0])
    p = 1 / (1 + np.exp(-x))
    losses = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    for reduction, expected in (("mean", losses.mean()), ("sum", losses.sum()), ("none", losses)):
        a, b = leaf(x), leaf(y)
        loss = neural.binary_cross_entropy_with_logits(a, b, reduction=reduction)
        np.testing.assert_allclose(loss.detach().numpy(), expected)
        loss.sum().backward()
        scale = 4 if reduction == "mean" else 1
        np.testing.assert_allclose(a.grad.numpy(), (p - y) / scale)
        np.testing.assert_allclose(b.grad.numpy(), -x / scale)
    assert neural.binary_cross_entropy_with_logits(x.astype(np.float32), [0, 1, 0, 1]).dtype == np.float32
    with pytest.raises(ShapeError, match=r"shape \(4,\) and targets of shape \(4, 1\), expected one shape"):
        neural.binary_cross_entropy_with_logits(x, y[:, None])


# Normalization


@pytest.mark.parametrize("axis", [-1, (1, 2), 0, None])
def test_layer_norm_has_mean_zero_and_variance_one(axis):
    x = 5 + 3 * normal(4, 5, 6)
    y = neural.layer_norm(x, axis=axis, eps=0.0)
    np.testing.assert_allclose(y.mean(axis=axis), 0, atol=1e-13)
    np.testing.assert_allclose(y.var(axis=axis), 1)


def test_layer_norm_with_weight_and_bias():
    x, w, b = normal(4, 5), normal(5, seed=1), normal(5, seed=2)
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(neural.layer_norm(x), expected)
    np.testing.assert_allclose(neural.layer_norm(x, w), expected * w)
    np.testing.assert_allclose(neural.layer_norm(x, None, b), expected + b)
    np.testing.assert_allclose(neural.layer_norm(x, w, b), expected * w + b)
    check_gradients(lambda x, w, b: neural.layer_norm(x, w, b) ** 2, x, w, b)


def test_layer_norm_of_a_constant_is_zero_with_a_finite_gradient():
    x = leaf(np.full((2, 3), 7.0))
    y = neural.layer_norm(x)
    assert y.tolist() == [[0, 0, 0], [0, 0, 0]]
    (y * np.arange(6.0).reshape(2, 3)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.array([[-1, 0, 1], [-1, 0, 1]]) / math.sqrt(1e-5), atol=1e-10)


def test_layer_norm_with_single_precision_weights():
    x, w, b = leaf(normal(4, 5).astype(np.float32)), leaf(np.ones(5, np.float32)), leaf(np.zeros(5, np.float32))
    y = neural.layer_norm(x, w, b)
    y.sum().backward()
    assert {t.dtype for t in (y, x.grad, w.grad, b.grad)} == {np.dtype(np.float32)}


# On a device


@pytest.mark.parametrize("name", [*SMOOTH, "layer_norm"])
def test_nothing_waits_for_a_device(name):
    x = leaf(strict.asarray(normal(3, 4)))
    with counting() as counts:
        y = getattr(neural, name)(x)
        y.sum().backward()
    assert (counts.synchronizations, counts.uploads) == (0, 0)
    np.testing.assert_allclose(y.detach().numpy(), getattr(neural, name)(x.detach().numpy()), rtol=1e-14)


def test_cross_entropy_on_a_device():
    x, labels = normal(4, 3), np.array([0, 2, 1, 1])
    a, b = leaf(x), leaf(strict.asarray(x))
    neural.cross_entropy(a, labels).backward()
    neural.cross_entropy(b, strict.asarray(labels)).backward()
    np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy())
    neural.cross_entropy(b, labels.tolist()).backward()
    np.testing.assert_allclose(b.grad.numpy(), 2 * a.grad.numpy())


def test_only_what_formulas_name_is_kept():
    kept = {
        name: RULES[name].names for name in ("sigmoid", "relu", "silu", "softplus", "gelu", "softmax", "log_softmax")
    }
    assert kept["sigmoid"] == kept["relu"] == (("out",),)
    assert kept["silu"] == kept["softplus"] == (("x",),)
    assert kept["gelu"] == (("x", "approximate", "slope"),)
    assert kept["softmax"] == kept["log_softmax"] == (("out", "axis"),)


@pytest.mark.parametrize("function", [neural.softmax, neural.logsumexp, neural.sigmoid, neural.relu, neural.gelu])
def test_complex_numbers_are_refused(function):
    for z in (np.array([1j, 2.0]), leaf(np.array([1j, 2.0]))):
        with pytest.raises(DtypeError, match="got dtype complex128, expected real numbers"):
            function(z)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_widest_range_of_finite_numbers_warns_of_nothing(dtype):
    most = float(np.finfo(dtype).max)
    x = leaf(np.array([most, -most, 0.0], dtype))
    assert neural.softmax(x).tolist() == [1.0, 0.0, 0.0]
    assert neural.logsumexp(x).item() == most
    loss = neural.cross_entropy(np.reshape(x, (1, 3)), [0])
    loss.backward()
    assert (loss.item(), x.grad.tolist()) == (0.0, [0.0, 0.0, 0.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 5), -1), ((3, 5), 0), ((4, 3, 5), (0, 2)), ((2, 2000), 1), ((6,), None)]
)
@given(size=st.sampled_from([1.0, 39.0, 41.0]), seed=st.integers(0, 99))
def test_softmax_is_accurate_whether_or_not_it_is_shifted(dtype, shape, axis, size, seed):
    x = (np.random.default_rng(seed).uniform(-size, size, shape)).astype(dtype)
    out = neural.softmax(x, axis)
    e = np.exp(x.astype(np.longdouble))
    expected = e / np.sum(e, axis=axis, keepdims=True)
    assert out.dtype == dtype
    # A shift rounds exponents by half an ulp of 82, 32 eps; none of these results is below the least float32.
    error = np.abs(out - expected) / expected
    limit = 8 if size < 40 else 40
    assert np.max(error) <= limit * np.finfo(dtype).eps
