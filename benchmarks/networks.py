"""Workloads of networks: the seed network, perceptrons, a recurrent network, a transformer block."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import numpy

from .core import Budget, Workload
from .frameworks import Problem
from .operations import SMALL


def seed_network(np: Any, x: Any, target: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """The mean squared error of a perceptron with a sigmoid and a tanh layer."""
    h = np.sigmoid(x @ w1 + b1)
    return np.mean((np.tanh(h @ w2 + b2) - target) ** 2)


def seed_network_by_hand(np: Any, x: Any, target: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """Return the loss of `seed_network` and its gradients."""
    h = 1 / (1 + np.exp(-(x @ w1 + b1)))
    out = np.tanh(h @ w2 + b2)
    error = out - target
    loss = np.mean(error * error)
    gz2 = error * (2 / out.size) * (1 - out * out)
    gz1 = (w2 @ gz2) * h * (1 - h)
    return loss, (np.outer(x, gz1), gz1, np.outer(h, gz2), gz2)


def seed_network_problem() -> Problem:
    """Return the 3-4-2 network with the numbers of `tapegrad.examples.seed_network`."""
    a = numpy.array
    parameters = [
        a([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.9, 1.0, 1.1, 1.2]]),
        a([-2.0, -6.0, -1.0, -7.0]),
        a([[1.3, 1.4], [1.5, 1.6], [1.7, 1.8], [1.9, 2.0]]),
        a([-2.5, -5.0]),
    ]
    data = [a([1.0, 2.0, 3.0]), a([-0.85, 0.75])]
    return Problem(seed_network, seed_network_by_hand, data, parameters, rate=0.1)


def perceptron(np: Any, x: Any, labels: Any, *parameters: Any) -> Any:
    """The cross-entropy of a perceptron with relu layers; `parameters` are weights and biases in turn."""
    for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = np.relu(np.linear(x, w, b))
    return np.cross_entropy(np.linear(x, parameters[-2], parameters[-1]), labels)


def perceptron_by_hand(np: Any, x: Any, labels: Any, *parameters: Any) -> Any:
    """Return the loss of `perceptron` and its gradients."""
    inputs = [x]
    for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        inputs.append(np.maximum(inputs[-1] @ w + b, 0))
    z = inputs[-1] @ parameters[-2] + parameters[-1]
    right = np.arange(len(labels)), labels
    z -= np.max(z, axis=1, keepdims=True)
    g = np.exp(z)
    total = np.sum(g, axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - z[right])
    g /= total
    g[right] -= 1
    g /= len(labels)
    grads: list[Any] = []
    for w, h in zip(parameters[-2::-2], reversed(inputs), strict=True):
        grads += [np.sum(g, axis=0), h.T @ g]
        if h is not x:
            g = (g @ w.T) * (h > 0)
    return loss, grads[::-1]


def perceptron_problem(batch: int, *widths: int) -> Problem:
    """Return a training step of a perceptron of the given widths on one batch, in float32."""
    rng = numpy.random.default_rng(0)
    parameters = []
    for before, after in itertools.pairwise(widths):
        parameters += [rng.standard_normal((before, after)) * math.sqrt(2 / before), rng.standard_normal(after) * 0.1]
    data = [rng.standard_normal((batch, widths[0])).astype("f4"), rng.integers(0, widths[-1], batch)]
    return Problem(perceptron, perceptron_by_hand, data, [p.astype("f4") for p in parameters], rate=0.01)


def recurrent(np: Any, x: Any, wx: Any, wh: Any, b: Any) -> Any:
    """The mean square of the last state of h = tanh(x[t] wx + h wh + b), started from zero."""
    h = np.tanh(np.linear(x[0], wx, b))
    for t in range(1, len(x)):
        h = np.tanh(np.linear(x[t], wx, b) + h @ wh)
    return np.mean(h * h)


def recurrent_by_hand(np: Any, x: Any, wx: Any, wh: Any, b: Any) -> Any:
    """Return the loss of `recurrent` and its gradients."""
    states = [np.tanh(x[0] @ wx + b)]
    for t in range(1, len(x)):
        states.append(np.tanh(x[t] @ wx + b + states[-1] @ wh))
    loss = np.mean(states[-1] * states[-1])
    gh = states[-1] * (2 / states[-1].size)
    gwx = gwh = gb = 0.0
    for t in reversed(range(len(x))):
        g = gh * (1 - states[t] * states[t])
        gwx = gwx + x[t].T @ g
        gb = gb + np.sum(g, axis=0)
        if t:
            gwh = gwh + states[t - 1].T @ g
            gh = g @ wh.T
    return loss, (gwx, gwh, gb)


def recurrent_problem(steps: int, batch: int, inputs: int, hidden: int) -> Problem:
    """Return a recurrent network on one batch of sequences, in float32."""
    rng = numpy.random.default_rng(0)
    x = rng.standard_normal((steps, batch, inputs))
    parameters = [
        rng.standard_normal((inputs, hidden)) / math.sqrt(inputs),
        rng.standard_normal((hidden, hidden)) / math.sqrt(hidden),
        rng.standard_normal(hidden) * 0.1,
    ]
    return Problem(recurrent, recurrent_by_hand, [x.astype("f4")], [p.astype("f4") for p in parameters])


def transformer(np: Any, x: Any, target: Any, *parameters: Any, heads: int) -> Any:
    """The mean squared error of one block: attention and a gelu perceptron, each after a norm and around a residual.

    Tokens stay in the rows of one matrix, so that every linear layer is one product; only attention separates
    sequences and heads. Keys have no bias, for the loss does not depend on one. `x` is (batch, tokens, width).
    """
    n1, m1, wq, bq, wk, wv, bv, wo, bo, n2, m2, w1, b1, w2, b2 = parameters
    batch, tokens, width = x.shape
    x = np.reshape(x, (batch * tokens, width))

    def by_head(a: Any) -> Any:
        return np.swapaxes(np.reshape(a, (batch, tokens, heads, width // heads)), 1, 2)

    a = np.layer_norm(x, n1, m1)
    q, k, v = np.linear(a, wq, bq), a @ wk, np.linear(a, wv, bv)
    a = np.reshape(np.swapaxes(np.attention(by_head(q), by_head(k), by_head(v)), 1, 2), (batch * tokens, width))
    x = x + np.linear(a, wo, bo)
    a = np.linear(np.gelu(np.linear(np.layer_norm(x, n2, m2), w1, b1)), w2, b2)
    d = x + a - np.reshape(target, (batch * tokens, width))
    return np.mean(d * d)


def transformer_by_hand(np: Any, x: Any, target: Any, *parameters: Any, heads: int) -> Any:
    """Return the loss of `transformer` and its gradients."""
    n1, m1, wq, bq, wk, wv, bv, wo, bo, n2, m2, w1, b1, w2, b2 = parameters
    batch, tokens, width = x.shape
    depth = width // heads
    x = x.reshape(-1, width)

    def by_head(a: Any) -> Any:
        return a.reshape(batch, tokens, heads, depth).swapaxes(1, 2)

    def joined(a: Any) -> Any:
        return a.swapaxes(1, 2).reshape(-1, width)

    def norm(x: Any) -> Any:
        c = x - np.mean(x, axis=1, keepdims=True)
        s = 1 / np.sqrt(np.mean(c * c, axis=1, keepdims=True) + 1e-5)
        return c * s, s

    def norm_backward(g: Any, c: Any, s: Any) -> Any:
        return (g - np.mean(g, axis=1, keepdims=True) - c * np.mean(g * c, axis=1, keepdims=True)) * s

    c1, _ = norm(x)
    a1 = c1 * n1 + m1
    q, k, v = by_head(a1 @ wq + bq), by_head(a1 @ wk), by_head(a1 @ wv + bv)
    scores = q @ k.swapaxes(2, 3) / math.sqrt(depth)
    p = np.exp(scores - np.max(scores, axis=3, keepdims=True))
    p /= np.sum(p, axis=3, keepdims=True)
    a = joined(p @ v)
    y = x + (a @ wo + bo)
    c2, s2 = norm(y)
    a2 = c2 * n2 + m2
    u = a2 @ w1 + b1
    rate = math.sqrt(2 / math.pi)
    t = np.tanh(rate * (u + 0.044715 * u * u * u))
    h = 0.5 * u * (1 + t)

    error = y + (h @ w2 + b2) - target.reshape(-1, width)
    loss = np.mean(error * error)

    gy = error * (2 / x.size)
    gw2, gb2 = h.T @ gy, np.sum(gy, axis=0)
    gu = (gy @ w2.T) * (0.5 * (1 + t) + 0.5 * u * (1 - t * t) * rate * (1 + 3 * 0.044715 * u * u))
    gw1, gb1 = a2.T @ gu, np.sum(gu, axis=0)
    ga = gu @ w1.T
    gn2, gm2 = np.sum(ga * c2, axis=0), np.sum(ga, axis=0)
    gy = gy + norm_backward(ga * n2, c2, s2)
    gwo, gbo = a.T @ gy, np.sum(gy, axis=0)
    ga = by_head(gy @ wo.T)
    gv = joined(p.swapaxes(2, 3) @ ga)
    gp = ga @ v.swapaxes(2, 3)
    gs = p * (gp - np.sum(gp * p, axis=3, keepdims=True)) / math.sqrt(depth)
    gq, gk = joined(gs @ k), joined(gs.swapaxes(2, 3) @ q)
    ga = gq @ wq.T + gk @ wk.T + gv @ wv.T
    gwq, gbq, gwk, gwv, gbv = a1.T @ gq, np.sum(gq, axis=0), a1.T @ gk, a1.T @ gv, np.sum(gv, axis=0)
    gn1, gm1 = np.sum(ga * c1, axis=0), np.sum(ga, axis=0)
    return loss, (gn1, gm1, gwq, gbq, gwk, gwv, gbv, gwo, gbo, gn2, gm2, gw1, gb1, gw2, gb2)


def transformer_problem(batch: int, tokens: int, width: int, heads: int) -> Problem:
    """Return a transformer block on one batch of sequences, in float32."""
    rng = numpy.random.default_rng(0)

    def linear(before: int, after: int) -> list[Any]:
        return [rng.standard_normal((before, after)) / math.sqrt(before), rng.standard_normal(after) * 0.1]

    def norm() -> list[Any]:
        return [1 + rng.standard_normal(width) * 0.1, rng.standard_normal(width) * 0.1]

    parameters = [
        *norm(),
        *linear(width, width),
        linear(width, width)[0],
        *linear(width, width),
        *linear(width, width),
        *norm(),
        *linear(width, 4 * width),
        *linear(4 * width, width),
    ]
    data = [rng.standard_normal((batch, tokens, width)).astype("f4") for _ in range(2)]
    return Problem(
        partial(transformer, heads=heads),
        partial(transformer_by_hand, heads=heads),
        data,
        [p.astype("f4") for p in parameters],
    )


WORKLOADS = [
    Workload(
        "seed-network",
        "seed",
        "one epoch of the 3-4-2 perceptron: sigmoid, tanh, mean squared error, backward, update",
        seed_network_problem,
        seed_network_problem,
        [Budget("torch", 0.5), SMALL[0]],
    ),
    Workload(
        "perceptron-small",
        "perceptrons",
        "a training step of 64-128-64-10, batch 64, float32: relu, cross-entropy, backward, update",
        partial(perceptron_problem, 64, 64, 128, 64, 10),
        partial(perceptron_problem, 3, 4, 5, 6, 3),
        [Budget("torch", 0.7)],
    ),
    Workload(
        "perceptron-large",
        "perceptrons",
        "a training step of 784-512-512-10, batch 256, float32",
        partial(perceptron_problem, 256, 784, 512, 512, 10),
        partial(perceptron_problem, 2, 7, 5, 5, 4),
        [Budget("torch", 1.15)],
    ),
    Workload(
        "recurrent",
        "recurrent",
        "50 steps of h = tanh(x[t] wx + h wh + b), hidden 64, batch 32, float32, forward and backward",
        partial(recurrent_problem, 50, 32, 64, 64),
        partial(recurrent_problem, 3, 2, 4, 5),
        [Budget("torch", 0.75)],
    ),
    Workload(
        "transformer",
        "transformer",
        "a block of width 64, 4 heads, 64 tokens, batch 8, float32: norms, attention, gelu, residuals; both directions",
        partial(transformer_problem, 8, 64, 64, 4),
        partial(transformer_problem, 2, 3, 8, 2),
        [Budget("torch", 1.1)],
    ),
]
