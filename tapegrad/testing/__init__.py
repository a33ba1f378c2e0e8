"""Gradient tests: checks that a derivative is right, strategies that find where it is not, and a stand-in for CuPy.

`check_gradients` says whether all derivatives of a function are right at a point; hypothesis, through the strategies
here, chooses the points; `strict` makes arrays that refuse what CuPy refuses, so that a program's way to the GPU is
tested without one. See the README beside this file.
"""

from ..ops._domains import (
    Domain,
    anything,
    away_from,
    distinct,
    interval,
    invertible,
    nonzero,
    orthogonal,
    positive,
    positive_definite,
    real,
    simplex,
    symmetric,
    triangular,
    unit_norm,
)
from ._checks import GradientError, check_gradients, check_jvp, check_vjp
from ._code import as_code
from ._numerical import Estimate, derivative
from ._standin import StrictArray, counting, cuda_standin, strict
from ._strategies import (
    LAYOUTS,
    arrays,
    axes,
    broadcastable_arrays,
    einsums,
    indices,
    matmul_arrays,
    nested,
    shapes,
    tensors,
)

__all__ = [
    "LAYOUTS",
    "Domain",
    "Estimate",
    "GradientError",
    "StrictArray",
    "anything",
    "arrays",
    "as_code",
    "away_from",
    "axes",
    "broadcastable_arrays",
    "check_gradients",
    "check_jvp",
    "check_vjp",
    "counting",
    "cuda_standin",
    "derivative",
    "distinct",
    "einsums",
    "indices",
    "interval",
    "invertible",
    "matmul_arrays",
    "nested",
    "nonzero",
    "orthogonal",
    "positive",
    "positive_definite",
    "real",
    "shapes",
    "simplex",
    "strict",
    "symmetric",
    "tensors",
    "triangular",
    "unit_norm",
]

for _public in (GradientError, StrictArray, Estimate):
    _public.__module__ = __name__
