"""Functions of neural networks, fused where a benchmark says so."""

import numpy as np

from .._op import general, unary


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1, e) / (1 + e)


def sigmoid(x):
    """Return the logistic function."""
    return _sigmoid(x)


sigmoid = unary(sigmoid, lambda g, out: g * out * (1 - out))


def relu(x):
    """Return the positive part."""
    return np.maximum(x, 0)


relu = unary(relu, lambda g, out: g * (out > 0))


def softmax(x, axis=-1):
    """Return the softmax."""
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


softmax = general(softmax, "x", "out", lambda g, out, axis=-1: out * (g - np.sum(g * out, axis=axis, keepdims=True)))


def log_softmax(x, axis=-1):
    """Return the logarithm of the softmax."""
    d = x - np.max(x, axis=axis, keepdims=True)
    return d - np.log(np.sum(np.exp(d), axis=axis, keepdims=True))


log_softmax = general(
    log_softmax, "x", "out", lambda g, out, axis=-1: g - np.exp(out) * np.sum(g, axis=axis, keepdims=True)
)


def cross_entropy(logits, labels, axis=-1):
    """Return the mean cross-entropy of integer labels."""
    return -np.mean(np.take_along_axis(log_softmax(logits, axis), np.expand_dims(labels, axis), axis))
