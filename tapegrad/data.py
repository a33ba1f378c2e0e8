"""Data for training: arrays in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ._array import device_of, is_array, move
from ._tensor import Tensor
from .errors import ShapeError
from .typing import ArrayLike

__all__ = ["batches"]


def batches(
    *arrays: ArrayLike, size: int, shuffle: bool = True, rng: np.random.Generator | int | None = None
) -> Iterator[tuple[Any, ...]]:
    """Return an iterator over batches: tuples with the same `size` rows of each array.

    Every row comes exactly once; the last batch is smaller where `size` does not divide the length. Arrays may be
    NumPy's or CuPy's, or tensors (indexing a tracked tensor is recorded), and keep their dtype and device. The order
    is drawn on the host, so that a seed gives the same batches everywhere, and goes to a CUDA device once, not batch
    by batch.

    Parameters
    ----------
    arrays : one or more, equally long; rows are entries of the first axis
    size : rows in a batch, at least one
    shuffle : whether rows come in random order, and are copied; otherwise batches are views in the arrays' order
    rng : a generator, whose state moves on so that every epoch has an order of its own, or a seed, which gives the
        same order every time

    Raises
    ------
    ShapeError
        If there is no array, or a 0-d one, or the lengths differ.
    ValueError
        If `size` is not positive.

    These are raised by the call, not by the first step of the iteration.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.data import batches
    >>> x, y = np.arange(10).reshape(5, 2), np.arange(5)
    >>> for rows, labels in batches(x, y, size=2, shuffle=False):
    ...     print(rows.tolist(), labels)
    [[0, 1], [2, 3]] [0 1]
    [[4, 5], [6, 7]] [2 3]
    [[8, 9]] [4]
    >>> sorted(int(label) for (labels,) in batches(y, size=2, rng=0) for label in labels)
    [0, 1, 2, 3, 4]
    """
    if size < 1:
        raise ValueError(f"got size={size}, expected at least one row in a batch")
    if not arrays:
        raise ShapeError("got no array, expected one or more to take batches of")
    columns = [array if hasattr(array, "shape") else np.asarray(array) for array in arrays]
    if not all(column.shape for column in columns):
        raise ShapeError("got a 0-d array, which has no rows; expected arrays with one axis or more")
    lengths = [column.shape[0] for column in columns]
    if len(set(lengths)) > 1:
        raise ShapeError(f"got arrays with {', '.join(map(str, lengths))} rows, expected equally many in each")
    order = np.random.default_rng(rng).permutation(lengths[0]) if shuffle else None
    return _rows(columns, lengths[0], size, order)


def _rows(columns: list[Any], length: int, size: int, order: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the batches of `batches`."""
    if order is None:
        for start in range(0, length, size):
            yield tuple(column[start : start + size] for column in columns)
        return
    orders: dict[str, Any] = {}
    places = [device_of(c) if isinstance(c, Tensor) or is_array(c) else "cpu" for c in columns]
    for place in places:
        orders.setdefault(place, move(order, place))
    for start in range(0, length, size):
        yield tuple(column[orders[place][start : start + size]] for column, place in zip(columns, places, strict=True))
