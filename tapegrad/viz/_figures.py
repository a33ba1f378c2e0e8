"""Pictures of a training: functions from arrays to Matplotlib figures, which hold no global state."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._array import to_host
from .._tensor import detached
from ..errors import MissingPackageError, ShapeError
from ..typing import ArrayLike, Shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learning_curves", "misclassified", "weight_images"]

INK, MUTED, LINES = "#1a1a1a", "#6b6b6b", "#dddddd"
COLORS = ("#0b6e99", "#c8501e", "#4a7c2c", "#7b4fa3", "#8a6d00")
"""Told apart by people who see colors differently, too, and printed in gray."""


def optional(module: str, package: str, purpose: str, extra: str = "demo") -> Any:
    """Return an imported module, or raise an error that names the command that installs its package.

    Raises
    ------
    MissingPackageError
        If the package is not installed. Other failures of its import are not hidden.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingPackageError.of(package, purpose, extra) from error


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure, `width` by `height` inches, without pyplot and so without a display."""
    figure = optional("matplotlib.figure", "matplotlib", "a picture of the training")
    made: Figure = figure.Figure(figsize=(width, height), dpi=120, layout="constrained")
    return made


def learning_curves(
    losses: Mapping[str, Sequence[float]],
    accuracies: Mapping[str, Sequence[float]],
    epochs: Sequence[float] | None = None,
) -> Figure:
    """Return a picture of losses and accuracies over the epochs, side by side, each curve with its last value.

    Losses are drawn on a logarithmic scale if all are positive, accuracies from the worst after the first epoch.

    Parameters
    ----------
    losses, accuracies : curves by name, equally long; accuracies as fractions of one
    epochs : where the values were taken; by default 0, 1, 2, ...

    Raises
    ------
    MissingPackageError
        If matplotlib is not installed.
    ShapeError
        If a curve does not have a value for every epoch, or there is none at all.

    Examples
    --------
    >>> from tapegrad.viz import learning_curves
    >>> figure = learning_curves({"training": [2.3, 0.4, 0.1]}, {"training": [0.1, 0.9, 0.97]})
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['Loss', 'Accuracy, percent']
    """
    curves = [*losses.values(), *accuracies.values()]
    lengths = [len(curve) for curve in curves]
    where = np.arange(max(lengths, default=0)) if epochs is None else np.asarray(epochs)
    if len(where) == 0 or any(length != len(where) for length in lengths):
        raise ShapeError(
            f"got curves of {lengths} values for {len(where)} epochs, expected one for each, and one at least"
        )
    figure = _figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    _curves(left, where, losses, "Loss", "{:.3f}")
    if len(where) > 1 and all(value > 0 for curve in losses.values() for value in curve):
        _logarithmic(left)
    percent = {name: [100 * value for value in curve] for name, curve in accuracies.items()}
    _curves(right, where, percent, "Accuracy, percent", "{:.1f} %")
    # What happened before the first epoch is off the picture: beside it, all that follows would look alike.
    learned = [value for curve in percent.values() for value in curve[1:] if math.isfinite(value)]
    low = min(10 * math.floor(min(learned) / 10), 90) if learned else 0
    right.set_ylim(low, 100 + 0.03 * (100 - low))
    return figure


def _logarithmic(axes: Axes) -> None:
    """Give `axes` a logarithmic vertical scale with plain numbers at 1, 2 and 5."""
    ticker = optional("matplotlib.ticker", "matplotlib", "a picture of the training")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())


def _curves(axes: Axes, where: Any, curves: Mapping[str, Sequence[float]], title: str, spelling: str) -> None:
    """Draw named curves into `axes`, with names and last values in the legend."""
    for (name, curve), color in zip(curves.items(), COLORS, strict=False):
        label = f"{name}, {spelling.format(curve[-1])}"
        axes.plot(where, curve, color=color, label=label, linewidth=1.8, marker="o" if len(where) < 3 else None)
        axes.plot(where[-1:], curve[-1:], color=color, marker="o", markersize=4)
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    axes.set_xlabel("epoch", color=MUTED)
    axes.grid(axis="y", color=LINES, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINES)
    axes.tick_params(colors=MUTED, length=0)
    axes.locator_params(axis="x", integer=True)
    if len(where) == 1:
        axes.set_xticks(where)
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    if curves:
        axes.legend(frameon=False, labelcolor=INK)


def weight_images(weights: ArrayLike, shape: Shape, columns: int = 16) -> Figure:
    """Return a picture of the weights of a first layer: one image for each unit, all on one scale of colors.

    Blue pixels speak against a unit and red ones for it; white ones do not matter.

    Parameters
    ----------
    weights : of shape `(pixels, units)`, as `tapegrad.nn.Linear` keeps them
    shape : rows and columns of the input images
    columns : images beside each other

    Raises
    ------
    MissingPackageError
        If matplotlib is not installed.
    ShapeError
        If `weights` has no such shape.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.viz import weight_images
    >>> figure = weight_images(np.random.default_rng(0).normal(size=(64, 20)), (8, 8), columns=10)
    """
    values = to_host(detached(weights))
    if values.ndim != 2 or values.shape[0] != math.prod(shape) or values.shape[1] == 0:
        raise ShapeError(
            f"got weights of shape {values.shape}, expected ({math.prod(shape)}, units) for images {shape}"
        )
    units = values.shape[1]
    columns = min(columns, units)
    rows = -(-units // columns)
    height, width = shape
    # One picture with a gap of one pixel between the images: a hundred axes would take seconds to draw.
    mosaic = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i in range(units):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        mosaic[top : top + height, left : left + width] = values[:, i].reshape(shape)
    figure = _figure(9, 9 * mosaic.shape[0] / mosaic.shape[1] * 0.9 + 0.3)
    axes = figure.subplots()
    finite = np.abs(values[np.isfinite(values)])
    bound = float(np.percentile(finite, 99.5)) if finite.any() else 1.0
    shown = axes.imshow(mosaic, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
    axes.set_axis_off()
    bar = figure.colorbar(shown, ax=axes, shrink=0.6, aspect=30, pad=0.02, extend="both")
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, length=0)
    return figure


def misclassified(
    images: ArrayLike,
    truth: ArrayLike,
    predicted: ArrayLike,
    probabilities: ArrayLike | None = None,
    columns: int = 8,
    limit: int = 40,
) -> Figure:
    """Return a picture of the images whose prediction is wrong, each with what it is and what it was taken for.

    Parameters
    ----------
    images : of shape `(count, rows, columns)`, dark where they are large
    truth, predicted : labels, of shape `(count,)`
    probabilities : what the classifier gave for its predictions, of the same shape; the surest errors come first
    columns : images beside each other
    limit : at most so many are shown, and the number of others is named

    Raises
    ------
    MissingPackageError
        If matplotlib is not installed.
    ShapeError
        If the lengths differ, or the images have not three axes.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.viz import misclassified
    >>> images = np.random.default_rng(0).random((3, 8, 8))
    >>> figure = misclassified(images, [7, 1, 4], [7, 1, 9])
    >>> figure.get_suptitle()
    '1 of 3 is wrong'
    """
    pixels, true, guess = (to_host(detached(array)) for array in (images, truth, predicted))
    sure = None if probabilities is None else to_host(detached(probabilities))
    if pixels.ndim != 3 or any(a.shape != pixels.shape[:1] for a in (true, guess, sure) if a is not None):
        raise ShapeError(
            f"got images of shape {pixels.shape} and labels of shapes {true.shape} and {guess.shape}, "
            "expected (count, rows, columns), and (count,) for the others"
        )
    wrong = np.flatnonzero(true != guess)
    if sure is not None:
        wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    shown = wrong[:limit]
    rows = max(-(-len(shown) // columns), 1)
    figure = _figure(9, 1.42 * rows + 0.4)
    title = f"{len(wrong)} of {len(pixels)} {'is' if len(wrong) == 1 else 'are'} wrong"
    if len(wrong) > len(shown):
        title += f"; the first {len(shown)} of them" if sure is None else f"; the {len(shown)} surest of them"
    figure.suptitle(title, color=INK, fontsize=12, fontweight="bold", x=0.01, ha="left")
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes[len(shown) :]:
        axes.set_axis_off()
    for axes, i in zip(all_axes, shown, strict=False):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(LINES)
        axes.imshow(pixels[i], cmap="gray_r", interpolation="nearest")
        percent = "" if sure is None else f"\n{100 * sure[i]:.0f} % sure"
        axes.set_title(f"{true[i]}, taken for {guess[i]}{percent}", fontsize=8.5, color=INK)
    return figure
