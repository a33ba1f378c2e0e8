"""Every derivative in the library, one chapter per page of NumPy's manual.

How to add an op
----------------
1. Find the chapter, and the weakest word that fits: `composite` (only a combination of ops), `linear`, `unary`,
   `binary` or `elementwise`, `multilinear`, `general`.
2. Write one row: the function, a formula for each input, `on=` the domain of its samples, `cases=` shapes and settings
   that cover every keyword. A formula's first parameter is the cotangent `g`; the others are what it keeps:

   * `x`, `y` (inputs), `out` (the result), `x_shape`, `x_dtype` (only that fact),
   * the op's own settings, under NumPy's names and with NumPy's defaults,
   * for functions of a sequence (`inputs="*xs"`): `k` (which input), `shapes` (of all), `xs` (all).

3. Formulas are plain NumPy. They see arrays at first order and tensors at higher order, NumPy's or CuPy's. So they call
   only ops, metadata and operators; create arrays only `*_like`; never branch on a value; never widen float32.
   They may return `g` itself or a view, and never change it. Broadcast axes are summed, real parts taken and dtypes
   cast by the engine.
4. Cotangents pair with tangents as Re(sum(g * t)), without conjugate.
5. Run `pytest tests/ops`: the sweep tries the row in both modes, at second order, on every backend.

Examples
--------
>>> import numpy as np
>>> import tapegrad as tg
>>> from tapegrad.ops import unary
>>> def softsign(x):
...     return x / (1 + np.abs(x))
>>> softsign = unary(softsign, lambda g, x: g / (1 + np.abs(x)) ** 2)
>>> x = tg.tensor(1.0, requires_grad=True)
>>> softsign(x).backward()
>>> x.grad
tensor(0.25)
"""

from .. import _op
from .._op import binary, elementwise, general, linear, metadata, multilinear, refused, unary
from .._protocols import LATE
from . import (
    arithmetic,
    complex,
    creation,
    elementary,
    fft,
    indexing,
    joining,
    layers,
    linalg,
    neural,
    products,
    reductions,
    shapes,
    special,
    statistics,
)
from . import composite as _composite_chapter  # noqa: F401
from . import constant as _constant_chapter  # noqa: F401

# SciPy's functions get their rows when the first of them meets a tensor: nothing imports SciPy before.
LATE.append(special.register)

# These two words share their names with chapters, which the imports above have bound here.
composite = _op.composite
constant = _op.constant

__all__ = [
    "arithmetic",
    "binary",
    "complex",
    "composite",
    "constant",
    "creation",
    "elementary",
    "elementwise",
    "fft",
    "general",
    "indexing",
    "joining",
    "layers",
    "linalg",
    "linear",
    "metadata",
    "multilinear",
    "neural",
    "products",
    "reductions",
    "refused",
    "shapes",
    "special",
    "statistics",
    "unary",
]
