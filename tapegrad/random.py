"""Random numbers as tensors: seeded generators on the host and on CUDA devices.

A generator wraps `numpy.random.Generator` or `cupy.random.Generator`; its methods have NumPy's names and arguments and
give tensors. The functions of this module draw from one generator for the process, which `seed` starts anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._array import cupy, move
from ._tensor import Tensor
from .ops.creation import as_tensor
from .typing import DtypeLike, Shape

__all__ = ["Generator", "default_rng", "integers", "normal", "permutation", "random", "seed", "uniform"]


class Generator:
    """A seeded source of random tensors on one device.

    Parameters
    ----------
    seed : an integer, or None for one from the operating system
    device : `"cpu"`, or `"cuda"` or `"cuda:N"`, where the numbers are then drawn

    Examples
    --------
    >>> import tapegrad as tg
    >>> rng = tg.random.default_rng(0)
    >>> rng.normal(size=2)
    tensor([ 0.12573022, -0.13210486])
    >>> rng.uniform(-1, 1, size=(2, 3), requires_grad=True).shape
    (2, 3)
    """

    def __init__(self, seed: int | None = None, device: str = "cpu") -> None:
        self.device = device
        if device == "cpu":
            self._rng: Any = np.random.default_rng(seed)
        else:
            move(np.zeros(()), device)  # raises the error that names what is wrong with the device
            self._rng = cupy().random.default_rng(seed)

    def _give(self, values: Any, dtype: DtypeLike, requires_grad: bool) -> Tensor:
        tensor = as_tensor(values, dtype=dtype, device=self.device)
        tensor.requires_grad = requires_grad
        return tensor

    def random(self, size: int | Shape = (), dtype: DtypeLike = None, requires_grad: bool = False) -> Tensor:
        """Return numbers distributed evenly over [0, 1)."""
        return self._give(self._rng.random(size), dtype, requires_grad)

    def uniform(
        self,
        low: float = 0.0,
        high: float = 1.0,
        size: int | Shape = (),
        dtype: DtypeLike = None,
        requires_grad: bool = False,
    ) -> Tensor:
        """Return numbers distributed evenly over [low, high)."""
        return self._give(low + (high - low) * self._rng.random(size), dtype, requires_grad)

    def normal(
        self,
        loc: float = 0.0,
        scale: float = 1.0,
        size: int | Shape = (),
        dtype: DtypeLike = None,
        requires_grad: bool = False,
    ) -> Tensor:
        """Return normally distributed numbers of mean `loc` and standard deviation `scale`."""
        return self._give(loc + scale * self._rng.standard_normal(size), dtype, requires_grad)

    def integers(
        self, low: int, high: int | None = None, size: int | Shape = (), dtype: DtypeLike = np.int64
    ) -> Tensor:
        """Return integers from `low` up to, not including, `high`; from 0 up to `low` if `high` is None."""
        return self._give(self._rng.integers(low, high, size), dtype, False)

    def permutation(self, n: int) -> Tensor:
        """Return the integers from 0 up to, not including, `n` in random order."""
        if self.device != "cpu":
            return as_tensor(self._rng.random(n).argsort())
        return as_tensor(self._rng.permutation(n))


def default_rng(seed: int | None = None, device: str = "cpu") -> Generator:
    """Return a new generator of random tensors.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.random.default_rng(0).integers(10, size=3)
    tensor([8, 6, 5])
    """
    return Generator(seed, device)


_shared = Generator()


def seed(value: int | None) -> None:
    """Start the generator behind this module's functions anew.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.random.seed(0)
    >>> tg.random.random()
    tensor(0.63696169)
    """
    global _shared
    _shared = Generator(value)


def random(size: int | Shape = (), dtype: DtypeLike = None, requires_grad: bool = False) -> Tensor:
    """Return numbers distributed evenly over [0, 1)."""
    return _shared.random(size, dtype, requires_grad)


def uniform(
    low: float = 0.0,
    high: float = 1.0,
    size: int | Shape = (),
    dtype: DtypeLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers distributed evenly over [low, high)."""
    return _shared.uniform(low, high, size, dtype, requires_grad)


def normal(
    loc: float = 0.0,
    scale: float = 1.0,
    size: int | Shape = (),
    dtype: DtypeLike = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return normally distributed numbers of mean `loc` and standard deviation `scale`."""
    return _shared.normal(loc, scale, size, dtype, requires_grad)


def integers(low: int, high: int | None = None, size: int | Shape = (), dtype: DtypeLike = np.int64) -> Tensor:
    """Return integers from `low` up to, not including, `high`; from 0 up to `low` if `high` is None."""
    return _shared.integers(low, high, size, dtype)


def permutation(n: int) -> Tensor:
    """Return the integers from 0 up to, not including, `n` in random order."""
    return _shared.permutation(n)
