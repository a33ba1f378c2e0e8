"""Every optimizer against its formula, written out, and against PyTorch, step by step."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import optim

SGD = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
]
ADAM = [{}, {"weight_decay": 0.1}, {"betas": (0.5, 0.9), "eps": 1e-2}, {"betas": (0.0, 0.0)}]
OPTIONS = [("SGD", o) for o in SGD] + [(name, o) for name in ("Adam", "AdamW") for o in ADAM]
every_option = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=[f"{n}-{o}" for n, o in OPTIONS])
fractions = st.floats(0, 0.99)
numbers = st.floats(-2, 2)


@given(
    lr=st.floats(0, 1),
    momentum=fractions,
    dampening=fractions,
    decay=st.floats(0, 1),
    nesterov=st.booleans(),
    grads=st.lists(numbers, min_size=1, max_size=6),
)
def test_sgd(lr, momentum, dampening, decay, nesterov, grads):
    nesterov = nesterov and momentum > 0
    dampening = 0.0 if nesterov else dampening
    w = tg.tensor(1.5, requires_grad=True)
    optimizer = optim.SGD([w], lr, momentum, dampening, decay, nesterov)
    p, b = 1.5, None
    for grad in grads:
        w.grad = grad
        optimizer.step()
        g = grad + decay * p
        b = g if b is None else momentum * b + (1 - dampening) * g
        p = p - lr * ((g + momentum * b if nesterov else b) if momentum else g)
        assert w.item() == pytest.approx(p, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
@given(
    lr=st.floats(0, 1),
    beta1=fractions,
    beta2=fractions,
    eps=st.floats(1e-6, 1),
    decay=st.floats(0, 1),
    grads=st.lists(numbers, min_size=1, max_size=6),
)
def test_adam(kind, lr, beta1, beta2, eps, decay, grads):
    w = tg.tensor(1.5, requires_grad=True)
    optimizer = kind([w], lr, (beta1, beta2), eps, decay)
    p, m, v = 1.5, 0.0, 0.0
    for n, grad in enumerate(grads, 1):
        w.grad = grad
        optimizer.step()
        if kind is optim.AdamW:
            p, g = p * (1 - lr * decay), grad
        else:
            g = grad + decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p = p - lr * m / (1 - beta1**n) / (math.sqrt(v / (1 - beta2**n)) + eps)
        assert w.item() == pytest.approx(p, rel=1e-9, abs=1e-9)


@every_option
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_against_pytorch(name, options, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)

    def drawn(shape):
        return rng.normal(size=shape) + (1j * rng.normal(size=shape) if dtype is np.complex128 else 0)

    starts = [drawn(shape) for shape in [(3, 4), (4,), (), (2, 0)]]
    ours = [tg.tensor(a, requires_grad=True) for a in starts]
    theirs = [torch.tensor(a, requires_grad=True) for a in starts]
    optimizer = getattr(optim, name)(ours, lr=0.1, **options)
    reference = getattr(torch.optim, name)(theirs, lr=0.1, **options)
    for step in range(20):
        for k, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            grad = drawn(p.shape)
            # One parameter has no gradient now and then: its state must not move either.
            absent = k == 1 and step % 3 == 0
            p.grad = None if absent else grad
            q.grad = None if absent else torch.tensor(grad)
        optimizer.step()
        reference.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-12)


@every_option
def test_against_pytorch_in_single_precision(name, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    start = rng.normal(size=(5, 7)).astype(np.float32)
    p = tg.tensor(start, requires_grad=True)
    q = torch.tensor(start, requires_grad=True)
    optimizer = getattr(optim, name)([p], lr=0.1, **options)
    reference = getattr(torch.optim, name)([q], lr=0.1, **options)
    for _ in range(20):
        grad = rng.normal(size=(5, 7)).astype(np.float32)
        p.grad, q.grad = grad, torch.tensor(grad)
        optimizer.step()
        reference.step()
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-4, atol=1e-5)
