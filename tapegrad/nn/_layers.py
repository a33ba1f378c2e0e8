"""Layers with parameters or settings, and the container that calls layers in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import random
from .._array import as_array, device_of
from .._tensor import Tensor, detached
from ..errors import ShapeError
from ..ops.creation import tensor
from ..ops.layers import linear
from ..typing import DtypeLike
from ._module import Module

__all__ = ["Dropout", "Flatten", "Identity", "Linear", "Sequential"]

Rng = random.Generator | np.random.Generator | int | None
"""A generator of tapegrad's or NumPy's, a seed for one, or None for the generator that `tapegrad.random.seed` seeds."""


def _source(rng: Rng, device: str = "cpu") -> Any:
    """Return what has the methods `random` and `uniform`: tapegrad's generators draw on `device`."""
    if rng is None:
        return random.shared(device)
    if isinstance(rng, (int, np.integer)):
        return random.default_rng(rng, device)
    return rng.on(device) if isinstance(rng, random.Generator) else rng


class Linear(Module):
    """The affine map `x @ weight + bias` of the last axis.

    The weight has shape `(in_features, out_features)`, so that the formula is the one that is written down; PyTorch
    keeps its transpose. Weight and bias start uniformly distributed in ±1/sqrt(in_features), PyTorch's default. The
    numbers are drawn in double precision, weight first, so a seed gives the same layer, rounded, in every `dtype`.

    Parameters
    ----------
    in_features, out_features : the length of the last axis before and after
    bias : whether to add one
    dtype : of the parameters; by default float64, as everywhere in NumPy (PyTorch's is float32)
    device : of the parameters
    rng : a generator (tapegrad's or NumPy's) or a seed; by default the generator that `tapegrad.random.seed` seeds

    Raises
    ------
    ValueError
        If a number of features is negative.
    ShapeError
        If the last axis of an input does not have `in_features` entries.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> layer = nn.Linear(3, 2, rng=0)
    >>> layer(np.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DtypeLike = None,
        device: str | None = None,
        rng: Rng = None,
    ) -> None:
        if in_features < 0 or out_features < 0:
            raise ValueError(f"got {in_features} and {out_features} features, expected numbers that are not negative")
        source = _source(rng)
        bound = 1 / math.sqrt(in_features) if in_features else 0.0

        def drawn(*shape: int) -> Tensor:
            values = source.uniform(-bound, bound, shape)
            return tensor(values, dtype=dtype or np.float64, device=device, requires_grad=True)

        self.weight = drawn(in_features, out_features)
        self.bias = drawn(out_features) if bias else None

    @property
    def in_features(self) -> int:
        """The length of the last axis of inputs."""
        return self.weight.shape[0]

    @property
    def out_features(self) -> int:
        """The length of the last axis of outputs."""
        return self.weight.shape[1]

    def forward(self, x: Any) -> Any:
        """Return `x @ weight + bias`."""
        try:
            return linear(x, self.weight, self.bias)
        except ShapeError as error:
            raise ShapeError(
                f"got an input of shape {np.shape(x)}, expected a last axis of {self.in_features} in {self}"
            ) from error

    def extra_repr(self) -> str:
        """Return the sizes, and whether there is no bias."""
        return f"{self.in_features}, {self.out_features}" + (", bias=False" if self.bias is None else "")


class Sequential(Module):
    """Modules, or any functions of one argument, called in order; parameters are named by position: `0.weight`.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> model = nn.Sequential(nn.Linear(3, 4, rng=0), np.tanh, nn.Linear(4, 2, rng=1))
    >>> model
    Sequential(
      0: Linear(3, 4)
      1: tanh
      2: Linear(4, 2)
    )
    >>> [name for name, _ in model[2].named_parameters()]
    ['weight', 'bias']
    """

    def __init__(self, *layers: Callable[[Any], Any]) -> None:
        for layer in layers:
            if not callable(layer):
                raise TypeError(f"got a {type(layer).__name__}, expected modules or functions, one argument for each")
        self._layers = list(layers)

    def forward(self, x: Any) -> Any:
        """Return the result of the last layer on that of the one before it, and so on."""
        for layer in self._layers:
            x = layer(x)
        return x

    def append(self, layer: Callable[[Any], Any]) -> Sequential:
        """Add a layer at the end, and return this module."""
        self._layers += Sequential(layer)._layers
        return self

    def _entries(self) -> Iterator[tuple[str, Any]]:
        yield from ((str(i), layer) for i, layer in enumerate(self._layers))
        yield from ((name, value) for name, value in super()._entries() if name != "_layers")

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Callable[[Any], Any]]:
        return iter(self._layers)

    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self._layers[index]) if isinstance(index, slice) else self._layers[index]

    def __repr__(self) -> str:
        shown = [repr(f) if isinstance(f, Module) else getattr(f, "__name__", repr(f)) for f in self._layers]
        lines = [f"{i}: {text}".replace("\n", "\n  ") for i, text in enumerate(shown)]
        return "\n  ".join(["Sequential(", *lines]) + ("\n)" if lines else ")")


class Identity(Module):
    """The function that returns its argument."""

    def forward(self, x: Any) -> Any:
        """Return `x`."""
        return x


class Flatten(Module):
    """Join the axes from `start_axis` to `end_axis` into one; by default all but the first.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.Flatten()(np.ones((5, 2, 3))).shape
    (5, 6)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Any) -> Any:
        """Return `x`, reshaped.

        Raises ShapeError if `x` has no such axes.
        """
        ndim = len(x.shape)
        start, end = (axis + ndim if axis < 0 else axis for axis in (self.start_axis, self.end_axis))
        if not 0 <= start <= end < ndim:
            raise ShapeError(f"got shape {x.shape}, which has no axes from {self.start_axis} to {self.end_axis}")
        joined = math.prod(x.shape[start : end + 1])
        return x.reshape(*x.shape[:start], joined, *x.shape[end + 1 :])

    def extra_repr(self) -> str:
        """Return the axes if they are not the usual ones."""
        return "" if (self.start_axis, self.end_axis) == (1, -1) else f"{self.start_axis}, {self.end_axis}"


class Dropout(Module):
    """In training, set each entry to zero with probability `p` and divide the others by `1 - p`; later do nothing.

    Source: Srivastava et al. 2014, in the form that keeps the expectation, so that nothing is scaled in use.

    Parameters
    ----------
    p : the probability of zero
    rng : a generator or a seed, as in `Linear`; the numbers are drawn where the input is, except by a generator of
        NumPy's own, which draws on the host

    Raises
    ------
    ValueError
        If `p` is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> layer = nn.Dropout(0.5, rng=0)
    >>> layer(np.ones(6))
    array([2., 0., 0., 0., 2., 2.])
    >>> layer.eval()(np.ones(6))
    array([1., 1., 1., 1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, rng: Rng = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"got p={p}, expected a probability between 0 and 1")
        self.p = float(p)
        # Resolved at each call, so that modules without a generator of their own follow a later seed().
        self.rng = random.default_rng(rng) if isinstance(rng, (int, np.integer)) else rng

    def forward(self, x: Any) -> Any:
        """Return `x` times a random mask in training, and `x` itself otherwise."""
        if not self.training or self.p == 0:
            return x
        device = device_of(detached(x))
        kept = (detached(_source(self.rng, device).random(x.shape)) >= self.p).astype(x.dtype)
        mask = kept * (1 / (1 - self.p)) if self.p < 1 else kept
        return x * as_array(mask, device=device)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"{self.p}"
