import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tapegrad as tg
from tapegrad import nn
from tapegrad.errors import ShapeError

REDUCTIONS = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
arrays = hnp.arrays(float, hnp.array_shapes(min_dims=0, max_dims=2, max_side=4), elements=st.floats(-5, 5))


def compared(module, x, target, entries, slopes):
    """Check value and gradient of a loss by the formula of its entries and of their derivatives."""
    reduce = REDUCTIONS[module.reduction]
    t = tg.tensor(x, requires_grad=True)
    loss = module(t, target)
    np.testing.assert_allclose(loss.data, reduce(entries), rtol=1e-10, atol=1e-12)
    np.sum(loss).backward()
    share = x.size if module.reduction == "mean" else 1
    np.testing.assert_allclose(t.grad.data, slopes / share, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(module(x, target), reduce(entries), rtol=1e-10, atol=1e-12)


@every_reduction
@given(x=arrays, shift=st.floats(-5, 5))
def test_squared_error(reduction, x, shift):
    target = x[...] * 0.5 + shift
    compared(nn.MSELoss(reduction), x, target, (x - target) ** 2, 2 * (x - target))


@every_reduction
@given(x=arrays, shift=st.floats(-5, 5))
def test_absolute_error(reduction, x, shift):
    target = x[...] * 0.5 + shift
    compared(nn.L1Loss(reduction), x, target, np.abs(x - target), np.sign(x - target))


@every_reduction
@given(x=arrays, label=st.floats(0, 1))
def test_binary_cross_entropy(reduction, x, label):
    target = np.full_like(x, label)
    s = 1 / (1 + np.exp(-x))
    compared(nn.BCEWithLogitsLoss(reduction), x, target, -label * np.log(s) - (1 - label) * np.log(1 - s), s - label)


def test_binary_cross_entropy_at_extremes():
    x = tg.tensor([1000.0, 1000.0, -1000.0, -1000.0], requires_grad=True)
    loss = nn.BCEWithLogitsLoss("none")(x, np.array([1.0, 0.0, 1.0, 0.0]))
    np.testing.assert_array_equal(loss.data, [0, 1000, 1000, 0])
    np.sum(loss).backward()
    np.testing.assert_array_equal(x.grad.data, [0, 1, -1, 0])


@every_reduction
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy(reduction, smoothing):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    logs = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    wanted = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3
    entries = -(wanted * logs).sum(axis=1)
    t = tg.tensor(x, requires_grad=True)
    module = nn.CrossEntropyLoss(reduction, label_smoothing=smoothing)
    loss = module(t, labels)
    np.testing.assert_allclose(loss.data, REDUCTIONS[reduction](entries), rtol=1e-12)
    np.sum(loss).backward()
    np.testing.assert_allclose(t.grad.data, (np.exp(logs) - wanted) / (5 if reduction == "mean" else 1), atol=1e-14)
    flipped = nn.CrossEntropyLoss(reduction, label_smoothing=smoothing, axis=0)(x.T, labels)
    np.testing.assert_allclose(flipped, loss.data, rtol=1e-12)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.BCEWithLogitsLoss()])
def test_broadcasting_of_outputs_against_targets_is_refused(loss):
    for x in (np.ones((4, 1)), tg.tensor(np.ones((4, 1)))):
        with pytest.raises(ShapeError, match=r"of shape \(4, 1\) and targets of shape \(4,\)"):
            loss(x, [0.0, 1.0, 0.0, 1.0])


@pytest.mark.parametrize("kind", [nn.MSELoss, nn.L1Loss, nn.BCEWithLogitsLoss, nn.CrossEntropyLoss])
def test_an_unknown_reduction_is_refused(kind):
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none'"):
        kind("average")
    assert repr(kind()) == f"{kind.__name__}()"
    assert repr(kind("sum")) == f"{kind.__name__}(reduction='sum')"


def test_label_smoothing_is_a_share():
    with pytest.raises(ValueError, match=r"label_smoothing=1\.5"):
        nn.CrossEntropyLoss(label_smoothing=1.5)
