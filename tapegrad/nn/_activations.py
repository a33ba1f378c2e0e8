"""Activations as modules; the derivatives live in `tapegrad.ops`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._tensor import OPS
from ..ops import neural
from ._module import Module

__all__ = ["GELU", "LogSoftmax", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh"]

# The op itself: what np.tanh would find on a tensor, without the search.
_tanh = OPS[np.tanh]


class Sigmoid(Module):
    """The logistic function `1 / (1 + exp(-x))`, elementwise.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.Sigmoid()(np.array([0.0, 1000.0]))
    array([0.5, 1. ])
    """

    def forward(self, x: Any) -> Any:
        """Return the logistic function of `x`."""
        return neural.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent, elementwise.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.Tanh()(np.array([0.0, 1.0]))
    array([0.        , 0.76159416])
    """

    def forward(self, x: Any) -> Any:
        """Return the hyperbolic tangent of `x`."""
        return _tanh(x)


class ReLU(Module):
    """The positive part `max(x, 0)`, elementwise; its derivative at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.ReLU()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def forward(self, x: Any) -> Any:
        """Return the positive part of `x`."""
        return neural.relu(x)


class GELU(Module):
    """The Gaussian error linear unit `x * Phi(x)`, elementwise, or its approximation by a hyperbolic tangent.

    Source: Hendrycks & Gimpel 2016.

    Parameters
    ----------
    approximate : `"none"` or `"tanh"`

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.GELU("tanh")(np.array([0.0, 1.0]))
    array([0.        , 0.84119199])
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"got approximate={approximate!r}, expected 'none' or 'tanh'")
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        """Return the Gaussian error linear unit of `x`."""
        return neural.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Return the approximation, if there is one."""
        return "" if self.approximate == "none" else repr(self.approximate)


class SiLU(Module):
    """The sigmoid linear unit `x / (1 + exp(-x))`, elementwise, also called swish.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.SiLU()(np.array([0.0, 1.0]))
    array([0.        , 0.73105858])
    """

    def forward(self, x: Any) -> Any:
        """Return the sigmoid linear unit of `x`."""
        return neural.silu(x)


class Softplus(Module):
    """The smooth positive part `log(1 + exp(x))`, elementwise.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.Softplus()(np.array([0.0, 1000.0]))
    array([6.93147181e-01, 1.00000000e+03])
    """

    def forward(self, x: Any) -> Any:
        """Return the smooth positive part of `x`."""
        return neural.softplus(x)


class Softmax(Module):
    """The exponentials along an axis, divided by their sum.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.Softmax()(np.array([0.0, 0.0, 1000.0]))
    array([0., 0., 1.])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Return the softmax of `x`."""
        return neural.softmax(x, axis=self.axis)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """The logarithm of the softmax along an axis, without overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.LogSoftmax()(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """

    def forward(self, x: Any) -> Any:
        """Return the logarithm of the softmax of `x`."""
        return neural.log_softmax(x, axis=self.axis)
