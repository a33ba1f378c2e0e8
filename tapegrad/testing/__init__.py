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
    positive,
    positive_definite,
    real,
    symmetric,
)
from ._checks import GradientError, check_gradients, check_jvp, check_vjp
from ._numerical import Estimate, derivative
from ._standin import StrictArray, counting, strict
from ._strategies import LAYOUTS, arrays, axes, broadcastable_arrays, indices, shapes

__all__ = [
    "LAYOUTS",
    "Domain",
    "Estimate",
    "GradientError",
    "StrictArray",
    "anything",
    "arrays",
    "away_from",
    "axes",
    "broadcastable_arrays",
    "check_gradients",
    "check_jvp",
    "check_vjp",
    "counting",
    "derivative",
    "distinct",
    "indices",
    "interval",
    "invertible",
    "nonzero",
    "positive",
    "positive_definite",
    "real",
    "shapes",
    "strict",
    "symmetric",
]

for _public in (GradientError, StrictArray, Estimate):
    _public.__module__ = __name__
