"""Shapes: reshaping, moving axes, broadcasting, flipping, padding."""

import numpy as np

from .._op import linear
from ._algebra import unbroadcast


def inverse(axes):
    """Return the permutation that undoes the permutation `axes`."""
    if axes is None:
        return None
    axes = [a % len(axes) for a in axes]
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


linear(np.reshape, lambda g, x_shape, shape, order="C": g.reshape(x_shape, order=order))
linear(np.ravel, lambda g, x_shape, order="C": g.reshape(x_shape, order=order))
linear(np.transpose, lambda g, axes=None: g.transpose(inverse(axes)))
linear(np.swapaxes, lambda g, axis1, axis2: g.swapaxes(axis1, axis2))
linear(np.moveaxis, lambda g, source, destination: np.moveaxis(g, destination, source))
linear(np.matrix_transpose, lambda g: g.swapaxes(-1, -2))
linear(np.expand_dims, lambda g, x_shape, axis: g.reshape(x_shape))
linear(np.squeeze, lambda g, x_shape, axis=None: g.reshape(x_shape))
linear(np.broadcast_to, lambda g, x_shape, shape: unbroadcast(g, x_shape))
linear(np.flip, lambda g, axis=None: np.flip(g, axis))
linear(np.copy, lambda g: g, free="order subok")
