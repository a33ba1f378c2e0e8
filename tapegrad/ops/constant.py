"""Functions without a derivative by nature, functions about arrays, and functions that are refused."""

import numpy as np

from .._op import constant, metadata

constant(np.bitwise_and, np.bitwise_or, np.bitwise_xor)
constant(np.left_shift, np.right_shift, np.invert)
constant(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)
constant(np.logical_not, np.logical_and, np.logical_or, np.logical_xor)
constant(np.isnan, np.isinf, np.isfinite)
metadata(np.shape, np.ndim, np.size, np.result_type)
