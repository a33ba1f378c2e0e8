"""Reductions and scans: sums, products, extrema, means, spreads, norms of order statistics."""

import numpy as np

from .._op import linear
from ._algebra import spread

linear(np.sum, lambda g, x_shape, axis=None, keepdims=False: spread(g, x_shape, axis, keepdims), free="dtype")
