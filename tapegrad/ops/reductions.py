"""Reductions and scans: sums, products, extrema, means, spreads, norms of order statistics."""

import numpy as np

from .._op import general, linear
from ._algebra import broadcast, count, keep, spread

linear(np.sum, lambda g, x_shape, axis=None, keepdims=False: spread(g, x_shape, axis, keepdims), free="dtype")
linear(
    np.mean,
    lambda g, x_shape, axis=None, keepdims=False: spread(g / max(count(x_shape, axis), 1), x_shape, axis, keepdims),
    free="dtype",
)


def share(g, x, out, axis=None, keepdims=False):
    g, out = keep(g, x.shape, axis, keepdims), keep(out, x.shape, axis, keepdims)
    chosen = (x == out) | (x != x)
    ties = np.sum(chosen, axis=axis, keepdims=True, dtype=g.dtype)
    return np.where(chosen, g / ties, 0)


general(np.max, "x", "out", share)
general(np.min, "x", "out", share)
