"""Losses as modules: what is compared, and how the entries become one number; derivatives live in `tapegrad.ops`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ops import neural
from ._module import Module

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss", "L1Loss", "MSELoss"]


class _Loss(Module):
    """A loss with `reduction`: the mean or the sum of the entries, or all of them."""

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"got reduction={reduction!r}, expected 'mean', 'sum' or 'none'")
        self.reduction = reduction

    def reduced(self, entries: Any) -> Any:
        """Return the mean, the sum, or the entries themselves."""
        if self.reduction == "mean":
            return np.mean(entries)
        return np.sum(entries) if self.reduction == "sum" else entries

    def extra_repr(self) -> str:
        """Return the reduction if it is not the mean."""
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


def _check_same_shape(x: Any, target: Any) -> None:
    # Broadcasting (n, 1) against (n,) would compare every output with every target, and train to nonsense unseen.
    shape = target.shape if hasattr(target, "shape") else np.shape(target)
    if x.shape != shape:
        raise ShapeError(f"got outputs of shape {x.shape} and targets of shape {shape}, expected the same")


class MSELoss(_Loss):
    """The squared error `(x - target)**2`: its mean over all entries, its sum, or all of it.

    Parameters
    ----------
    reduction : `"mean"`, `"sum"` or `"none"`

    Raises
    ------
    ShapeError
        If outputs and targets have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> float(nn.MSELoss()(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """

    def forward(self, x: Any, target: Any) -> Any:
        """Return the squared error, reduced."""
        _check_same_shape(x, target)
        return self.reduced(np.square(x - target))


class L1Loss(_Loss):
    """The absolute error `|x - target|`: its mean over all entries, its sum, or all of it.

    Parameters
    ----------
    reduction : `"mean"`, `"sum"` or `"none"`

    Raises
    ------
    ShapeError
        If outputs and targets have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> float(nn.L1Loss("sum")(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """

    def forward(self, x: Any, target: Any) -> Any:
        """Return the absolute error, reduced."""
        _check_same_shape(x, target)
        return self.reduced(np.abs(x - target))


class BCEWithLogitsLoss(_Loss):
    """The cross-entropy of independent yes-or-no labels: `-t*log(s(x)) - (1-t)*log(1-s(x))`, `s` the logistic function.

    It is computed as `softplus(x) - t*x`, which overflows nowhere.

    Parameters
    ----------
    reduction : `"mean"`, `"sum"` or `"none"`

    Raises
    ------
    ShapeError
        If outputs and targets have different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> nn.BCEWithLogitsLoss("none")(np.array([0.0, -1000.0]), np.array([1.0, 1.0]))
    array([6.93147181e-01, 1.00000000e+03])
    """

    def forward(self, x: Any, target: Any) -> Any:
        """Return the cross-entropy of the logits `x` with labels between 0 and 1, reduced."""
        return neural.binary_cross_entropy_with_logits(x, target, self.reduction)


class CrossEntropyLoss(_Loss):
    """The cross-entropy of the softmax of logits with integer labels: `-log_softmax(x)[label]`.

    Parameters
    ----------
    reduction : `"mean"`, `"sum"` or `"none"`
    label_smoothing : how much of a label is shared equally by all classes, between 0 and 1 (Szegedy et al. 2016)
    axis : the axis of the classes in the logits, which the labels lack

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> float(nn.CrossEntropyLoss()(np.array([[0.0, 0.0], [1000.0, 0.0]]), np.array([0, 0])))
    0.34657359027997264
    """

    def __init__(self, reduction: str = "mean", label_smoothing: float = 0.0, axis: int = -1) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"got label_smoothing={label_smoothing}, expected a number between 0 and 1")
        self.axis = axis
        self.label_smoothing = label_smoothing

    def forward(self, x: Any, labels: Any) -> Any:
        """Return the cross-entropy of the logits `x` with `labels`, reduced."""
        return neural.cross_entropy(
            x, labels, axis=self.axis, reduction=self.reduction, label_smoothing=self.label_smoothing
        )
