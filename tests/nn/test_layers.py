import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tapegrad as tg
from tapegrad import nn
from tapegrad.errors import ShapeError

# Linear


@given(shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), out=st.integers(0, 4), bias=st.booleans())
def test_linear_is_affine_in_the_last_axis(shape, out, bias):
    layer = nn.Linear(shape[-1], out, bias=bias, rng=0)
    assert (layer.in_features, layer.out_features) == (shape[-1], out)
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    x = tg.tensor(values, requires_grad=True)
    y = layer(x)
    expected = values @ layer.weight.data + (layer.bias.data if bias else 0)
    np.testing.assert_allclose(y.data, expected, rtol=1e-14, atol=1e-14)
    np.sum(y).backward()
    rows = values.reshape(-1, shape[-1])
    np.testing.assert_allclose(layer.weight.grad.data, np.tile(rows.sum(axis=0)[:, None], out))
    np.testing.assert_allclose(x.grad.data, np.broadcast_to(layer.weight.data.sum(axis=1), shape))
    if bias:
        np.testing.assert_array_equal(layer.bias.grad.data, np.full(out, len(rows)))


def test_linear_starts_within_its_bound_and_fills_it():
    layer = nn.Linear(100, 300, rng=0)
    for p in layer.parameters():
        assert np.abs(p.data).max() <= 0.1
        assert np.abs(p.data).max() > 0.098
        assert abs(p.data.mean()) < 0.01
        assert p.data.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("rng", [0, np.int64(0), lambda: np.random.default_rng(0), lambda: tg.random.default_rng(0)])
def test_a_seed_and_generators_give_the_same_layer(rng):
    layer, again = nn.Linear(3, 2, rng=rng() if callable(rng) else rng), nn.Linear(3, 2, rng=np.random.default_rng(0))
    np.testing.assert_allclose(layer.weight.data, again.weight.data, rtol=1e-15)
    np.testing.assert_allclose(layer.bias.data, again.bias.data, rtol=1e-15)
    narrow = nn.Linear(3, 2, dtype=np.float32, rng=0)
    np.testing.assert_array_equal(narrow.weight.data, layer.weight.data.astype(np.float32))


def test_without_a_generator_the_seed_of_the_process_decides():
    tg.random.seed(5)
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    tg.random.seed(5)
    again = nn.Linear(3, 2)
    np.testing.assert_array_equal(again.weight.data, first.weight.data)
    assert not np.array_equal(second.weight.data, first.weight.data)


def test_a_generator_goes_on_from_layer_to_layer():
    rng = np.random.default_rng(0)
    assert not np.array_equal(nn.Linear(3, 2, rng=rng).weight.data, nn.Linear(3, 2, rng=rng).weight.data)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_dtypes_stay_narrow(dtype):
    model = nn.Sequential(
        nn.Linear(3, 4, dtype=dtype), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4, 2, dtype=dtype)
    )
    y = model(np.ones((5, 3), dtype))
    assert y.dtype == dtype
    np.sum(y).backward()
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(dtype)}


def test_linear_names_a_wrong_shape():
    with pytest.raises(ShapeError, match=r"shape \(5, 4\), expected a last axis of 3 in Linear\(3, 2\)"):
        nn.Linear(3, 2)(np.ones((5, 4)))
    with pytest.raises(ShapeError, match="last axis of 3"):
        nn.Linear(3, 2)(tg.tensor(1.0))
    with pytest.raises(ValueError, match="-1 and 2 features"):
        nn.Linear(-1, 2)


def test_linear_on_plain_arrays_and_without_recording():
    layer = nn.Linear(3, 2, rng=0)
    with tg.no_grad():
        assert not layer(np.ones((1, 3))).requires_grad
    assert layer(np.ones((1, 3))).requires_grad


# Containers and shapes


def test_sequential_calls_in_order():
    model = nn.Sequential(np.exp, lambda x: x + 1)
    assert model(0.0) == 2
    assert nn.Sequential()(3) == 3
    assert model.append(np.sqrt) is model
    assert len(model) == 3
    assert next(iter(model)) is model[0] is np.exp
    assert isinstance(model[1:], nn.Sequential)
    assert model[1:](3.0) == 2
    with pytest.raises(TypeError, match="got a float"):
        nn.Sequential(1.0)
    with pytest.raises(TypeError, match="got a list"):
        model.append([np.exp])


def test_a_subclass_of_sequential_keeps_its_own_attributes():
    model = nn.Sequential(nn.Linear(2, 2))
    model.gain = tg.tensor(1.0, requires_grad=True)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "gain"]


def test_identity_gives_the_same_object():
    x = np.ones(3)
    assert nn.Identity()(x) is x


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        ((), (2, 3, 4), (2, 12)),
        ((), (2, 3), (2, 3)),
        ((0,), (2, 3, 4), (24,)),
        ((1, 2), (2, 3, 4, 5), (2, 12, 5)),
        ((-2, -1), (2, 3, 4), (2, 12)),
        ((), (0, 3, 4), (0, 12)),
        ((), (2, 0, 4), (2, 0)),
    ],
)
def test_flatten(axes, shape, expected):
    x = tg.tensor(np.ones(shape), requires_grad=True)
    y = nn.Flatten(*axes)(x)
    assert y.shape == expected
    np.sum(y).backward()
    assert x.grad.shape == shape


@pytest.mark.parametrize(("axes", "shape"), [((), (3,)), ((), ()), ((0, 3), (2, 3)), ((1, 0), (2, 3)), ((-4,), (2, 3))])
def test_flatten_names_axes_that_are_not_there(axes, shape):
    with pytest.raises(ShapeError, match="has no axes"):
        nn.Flatten(*axes)(np.ones(shape))


# Dropout


@given(p=st.floats(0, 1), shape=hnp.array_shapes(min_dims=0, max_side=6), seed=st.integers(0, 99))
def test_dropout_scales_what_it_keeps_and_its_gradient_alike(p, shape, seed):
    x = tg.tensor(np.full(shape, 2.0), requires_grad=True)
    y = nn.Dropout(p, rng=seed)(x)
    kept = y.data != 0
    np.testing.assert_allclose(y.data[kept], 2 / (1 - p) if p < 1 else [])
    np.sum(y).backward()
    np.testing.assert_array_equal(x.grad.data * 2, y.data)


def test_dropout_drops_the_right_share():
    y = nn.Dropout(0.3, rng=0)(np.ones(100_000))
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.01)
    assert np.mean(y) == pytest.approx(1, abs=0.02)


def test_dropout_does_nothing_in_use_or_with_probability_zero():
    x = np.ones(5)
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    np.testing.assert_array_equal(nn.Dropout(1.0)(x), 0)


def test_dropout_repeats_itself_with_a_seed():
    x = np.ones(50)
    for make in (lambda: 3, lambda: np.random.default_rng(3), lambda: tg.random.default_rng(3)):
        first, second = nn.Dropout(0.5, rng=make()), nn.Dropout(0.5, rng=make())
        one = first(x)
        np.testing.assert_array_equal(one, second(x))
        assert not np.array_equal(one, first(x))
    tg.random.seed(3)
    one = nn.Dropout(0.5)(x)
    tg.random.seed(3)
    np.testing.assert_array_equal(one, nn.Dropout(0.5)(x))


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="expected a probability"):
        nn.Dropout(p)
