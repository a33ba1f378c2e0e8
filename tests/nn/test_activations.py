import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn


def logistic(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


# Module, function of one number, and its derivative.
FUNCTIONS = {
    "sigmoid": (nn.Sigmoid(), logistic, lambda x: logistic(x) * logistic(-x)),
    "tanh": (nn.Tanh(), math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "relu": (nn.ReLU(), lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "gelu": (
        nn.GELU(),
        lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
        lambda x: (1 + math.erf(x / math.sqrt(2))) / 2 + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    ),
    "silu": (nn.SiLU(), lambda x: x * logistic(x), lambda x: logistic(x) * (1 + x * logistic(-x))),
    "softplus": (nn.Softplus(), lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))), logistic),
    "identity": (nn.Identity(), lambda x: x, lambda x: 1.0),
}


@pytest.mark.parametrize(("module", "value", "slope"), FUNCTIONS.values(), ids=FUNCTIONS)
@given(x=st.floats(-20, 20))
def test_values_and_derivatives(module, value, slope, x):
    t = tg.tensor([x], requires_grad=True)
    y = module(t)
    assert y.item() == pytest.approx(value(x), rel=1e-12, abs=1e-14)
    np.sum(y).backward()
    assert t.grad.item() == pytest.approx(slope(x), rel=1e-10, abs=1e-13)
    assert module(np.array([x]))[0] == pytest.approx(value(x), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("module", [entry[0] for entry in FUNCTIONS.values()], ids=FUNCTIONS)
def test_narrow_dtypes_stay_narrow(module):
    x = tg.tensor(np.ones(3, np.float32), requires_grad=True)
    y = module(x)
    assert y.dtype == np.float32
    np.sum(y).backward()
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_and_its_logarithm(axis):
    x = np.random.default_rng(0).normal(size=(3, 4))
    expected = np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(nn.Softmax(axis)(x), expected, rtol=1e-12)
    np.testing.assert_allclose(nn.LogSoftmax(axis)(tg.tensor(x)).data, np.log(expected), rtol=1e-12)
    assert repr(nn.Softmax(axis)) == f"Softmax(axis={axis})"
    assert repr(nn.LogSoftmax(axis)) == f"LogSoftmax(axis={axis})"


def test_gelu_has_an_approximation():
    x = np.linspace(-3, 3, 7)
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    np.testing.assert_allclose(nn.GELU("tanh")(x), x / 2 * (1 + np.tanh(inner)), rtol=1e-12)
    assert repr(nn.GELU("tanh")) == "GELU('tanh')"
    assert repr(nn.GELU()) == "GELU()"
    with pytest.raises(ValueError, match="'none' or 'tanh'"):
        nn.GELU("fast")
