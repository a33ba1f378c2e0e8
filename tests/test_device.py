"""Tensors on a device: the stand-in for CuPy everywhere, and CuPy itself wherever there is a CUDA device."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import DeviceError
from tapegrad.testing import strict


def cuda():
    """Return cupy, or skip the test with the reason why it cannot be used."""
    cupy = pytest.importorskip("cupy", reason="cupy is not installed")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    return cupy


@pytest.fixture(params=["stand-in", pytest.param("cuda", marks=pytest.mark.gpu)])
def xp(request):
    """The namespace of the device's arrays."""
    return cuda() if request.param == "cuda" else strict


def leaf(xp, values, dtype=np.float64):
    return tg.tensor(xp.asarray(np.asarray(values, dtype)), requires_grad=True)


def host(tensor):
    return tensor.data.get()


def test_gradients_live_where_their_leaves_live(xp):
    x = leaf(xp, [1.0, 2.0, 3.0], np.float32)
    assert x.device == "cuda:0"
    np.sum(np.exp(x) * x).backward()
    assert type(x.grad.data) is type(x.data)
    assert x.grad.dtype == np.float32
    assert np.allclose(host(x.grad), (1 + np.arange(1.0, 4)) * np.exp(np.arange(1.0, 4)))


def test_arrays_of_the_device_meet_tensors_on_either_side(xp):
    x, a = leaf(xp, [1.0, 2.0]), xp.asarray(np.array([3.0, 4.0]))
    for y in (a * x, x * a, 2.0 * x + a, a @ x, np.multiply(a, x)):
        assert isinstance(y, tg.Tensor)
        assert y.requires_grad


def test_operands_on_different_devices_are_named_and_nothing_is_recorded(xp):
    x = leaf(xp, [1.0, 2.0])
    for other in (np.ones(2), tg.ones(2)):
        with pytest.raises(DeviceError, match=r"cpu.*cuda:0"):
            x * other
    np.sum(x).backward()
    assert host(x.grad).tolist() == [1.0, 1.0]


def network(to):
    """Return loss and gradients of a small network whose arrays `to` makes."""
    rng = np.random.default_rng(0)
    x, labels = to(rng.normal(size=(8, 5))), to(rng.integers(0, 3, 8))
    w1, b1, w2 = (tg.tensor(to(rng.normal(size=s)), requires_grad=True) for s in ((5, 7), (7,), (7, 3)))
    hidden = np.tanh(x @ w1 + b1)
    loss = tg.cross_entropy(tg.relu(hidden @ w2)[:, ::-1], labels) + np.mean(hidden[[0, 0, 2]] ** 2)
    loss.backward()
    return loss, [w1.grad, b1.grad, w2.grad]


def test_a_network_is_differentiated_as_on_the_host(xp):
    loss, grads = network(xp.asarray)
    expected_loss, expected = network(np.asarray)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-12)
    for g, e in zip(grads, expected, strict=True):
        assert np.allclose(host(g), e.data, rtol=1e-10, atol=1e-12)


def test_the_last_of_repeated_writes_counts(xp):
    b, a = tg.tensor(xp.asarray(np.zeros(3))), leaf(xp, [1.0, 2.0])
    b[[0, 0]] = a
    assert host(b).tolist() == [2.0, 0.0, 0.0]
    np.sum(b).backward()
    assert host(a.grad).tolist() == [0.0, 1.0]


def test_second_order_and_forward_mode(xp):
    x = xp.asarray(np.array([0.5, 1.5]))
    (second,) = tg.jvp(tg.grad(lambda x: np.sum(np.sin(x) ** 2)), (x,), (xp.asarray(np.ones(2)),))[1:]
    assert np.allclose(host(second), 2 * np.cos(2 * np.array([0.5, 1.5])))
