"""Products of vectors, matrices and tensors."""

import numpy as np

from .._op import multilinear
from ._algebra import T

multilinear(np.matmul, lambda g, y: g @ T(y), lambda g, x: T(x) @ g)
