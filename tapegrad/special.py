"""Special functions under the names of `scipy.special`, all of which take tensors here.

SciPy's ufuncs (`erf`, `gammaln`, `jv` ...) are SciPy's own: they dispatch on tensors, so `tapegrad.special.erf(t)` is
`scipy.special.erf(t)`, on NumPy and, where cupyx has the function, on CuPy. What is no ufunc there would not dispatch,
and stands here as a function of our own: `logsumexp`, `softmax`, `log_softmax`, `multigammaln`, `polygamma`.

SciPy is imported when one of its functions is asked for, and not before.

>>> import tapegrad as tg
>>> x = tg.tensor([0.0, 1.0], requires_grad=True)
>>> tg.special.erf(x).sum().backward()
>>> x.grad
tensor([1.12837917, 0.4151075 ])
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ._array import companion
from .ops.special import log_softmax, logsumexp, multigammaln, polygamma, softmax

__all__ = ["log_softmax", "logsumexp", "multigammaln", "polygamma", "softmax"]


def __getattr__(name: str) -> Any:
    """Return what SciPy has under a public name."""
    if name.startswith("_") or (found := getattr(_scipys(name), name, None)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def _scipys(name: str) -> Any:
    """Return SciPy's module, where `name` is looked for."""
    return companion(np.empty(0), "scipy.special", f"special.{name}")


def __dir__() -> list[str]:
    """Return the names here and, where SciPy is installed, SciPy's."""
    try:
        return sorted({*__all__, *importlib.import_module("scipy.special").__all__})
    except ImportError:
        return __all__
