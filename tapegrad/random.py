"""Random numbers as tensors: seeded generators on the host and on CUDA devices.

A generator wraps `numpy.random.Generator` or `cupy.random.Generator`; its methods have NumPy's names and arguments and
give tensors. The functions of this module draw from one generator for each device, which `seed` starts anew. The same
seed gives the same numbers every time on one device, and other numbers on a CUDA device than on the host.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ._array import on_device
from ._tensor import Tensor
from .ops.creation import as_tensor
from .typing import DtypeLike, Shape

__all__ = [
    "Generator", "default_rng", "get_state", "integers", "normal", "permutation", "random", "seed", "set_state",
    "shared", "uniform",
]  # fmt: skip

# What the checkpointed calls in progress in this thread or task have noted, the outermost first.
_NOTED: ContextVar[tuple[dict[Generator, Any], ...]] = ContextVar("tapegrad_random_states", default=())


@contextlib.contextmanager
def noting_states() -> Iterator[dict[Generator, Any]]:
    """Return a context that gives a dict of the generators that this thread or task uses in it, to their states before.

    Of all generators only these, because others may be in use by other threads.
    """
    states: dict[Generator, Any] = {}
    token = _NOTED.set((*_NOTED.get(), states))
    try:
        yield states
    finally:
        _NOTED.reset(token)


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
        self._seed: Any = seed
        self._siblings: dict[Any, Generator] = {}
        if device != "cpu":
            with on_device(device) as module:
                self.device = f"cuda:{module.cuda.Device().id}"

    @functools.cached_property
    def _rng(self) -> Any:
        """NumPy's or CuPy's generator, made when it is first used: importing it takes longer than all of tapegrad."""
        if self._seed is None:
            # Kept, so that siblings begin with it, and `restart` begins with it anew.
            self._seed = np.random.SeedSequence().entropy
        if self.device == "cpu":
            return np.random.default_rng(self._seed)
        with on_device(self.device) as module:
            return module.random.default_rng(self._seed)

    def _note(self) -> None:
        """Let the contexts that ask for it know the state, before it changes."""
        for states in _NOTED.get():
            if self not in states:
                states[self] = self.state

    def restart(self) -> None:
        """Begin the sequence anew."""
        self._note()
        vars(self).pop("_rng", None)

    def on(self, device: str) -> Generator:
        """Return this generator if it is on `device`, and otherwise its sibling there: same seed, a state of its own.

        Examples
        --------
        >>> import tapegrad as tg
        >>> rng = tg.random.default_rng(0)
        >>> rng.on("cpu") is rng
        True
        """
        if device in (self.device, self.device.partition(":")[0]):
            return self
        if device == "cpu":
            library: Any = np
        else:
            with on_device(device) as library:
                device = f"cuda:{library.cuda.Device().id}"
        # By library too, because the stand-in for CuPy calls its devices by the same names.
        if (library, device) not in self._siblings:
            _ = self._rng  # which settles the seed
            self._siblings[library, device] = Generator(self._seed, device)
        return self._siblings[library, device]

    @property
    def state(self) -> Any:
        """Where the generator is in its sequence: set to it, it gives the same numbers again."""
        if self.device == "cpu":
            return self._rng.bit_generator.state
        # CuPy has no public name for the words of the generator's state; they lie in this array.
        with on_device(self.device):
            return self._rng.bit_generator._state.copy()

    @state.setter
    def state(self, value: Any) -> None:
        self._note()
        if self.device == "cpu":
            self._rng.bit_generator.state = value
        else:
            with on_device(self.device):
                self._rng.bit_generator._state[...] = value

    def _give(self, draw: Callable[[Any], Any], dtype: DtypeLike, requires_grad: bool = False) -> Tensor:
        """Return what `draw` makes of NumPy's or CuPy's generator, on this one's device."""
        self._note()
        if self.device == "cpu":
            tensor = as_tensor(draw(self._rng), dtype=dtype)
        else:
            with on_device(self.device):
                tensor = as_tensor(draw(self._rng), dtype=dtype)
        tensor.requires_grad = requires_grad
        return tensor

    def random(self, size: int | Shape = (), dtype: DtypeLike = None, requires_grad: bool = False) -> Tensor:
        """Return numbers distributed evenly over [0, 1)."""
        return self._give(lambda rng: rng.random(size), dtype, requires_grad)

    def uniform(
        self,
        low: float = 0.0,
        high: float = 1.0,
        size: int | Shape = (),
        dtype: DtypeLike = None,
        requires_grad: bool = False,
    ) -> Tensor:
        """Return numbers distributed evenly over [low, high)."""
        return self._give(lambda rng: low + (high - low) * rng.random(size), dtype, requires_grad)

    def normal(
        self,
        loc: float = 0.0,
        scale: float = 1.0,
        size: int | Shape = (),
        dtype: DtypeLike = None,
        requires_grad: bool = False,
    ) -> Tensor:
        """Return normally distributed numbers of mean `loc` and standard deviation `scale`."""
        return self._give(lambda rng: loc + scale * rng.standard_normal(size), dtype, requires_grad)

    def integers(
        self, low: int, high: int | None = None, size: int | Shape = (), dtype: DtypeLike = np.int64
    ) -> Tensor:
        """Return integers from `low` up to, not including, `high`; from 0 up to `low` if `high` is None."""
        return self._give(lambda rng: rng.integers(low, high, size), dtype)

    def permutation(self, n: int) -> Tensor:
        """Return the integers from 0 up to, not including, `n` in random order."""
        if self.device == "cpu":
            return self._give(lambda rng: rng.permutation(n), None)
        return self._give(lambda rng: rng.random(n).argsort(), None)


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
    """Start the generator behind this module's functions anew, and so its siblings on CUDA devices.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.random.seed(0)
    >>> tg.random.random()
    tensor(0.63696169)
    """
    _shared._seed, _shared._siblings = value, {}
    _shared.restart()


def get_state() -> dict[str, Any]:
    """Return where the generator behind this module's functions is in its sequence.

    Examples
    --------
    >>> import tapegrad as tg
    >>> state = tg.random.get_state()
    >>> first = tg.random.random()
    >>> tg.random.set_state(state)
    >>> (tg.random.random() == first).item()
    True
    """
    return _shared.state


def set_state(state: dict[str, Any]) -> None:
    """Bring the generator behind this module's functions to where it was at `get_state`."""
    _shared.state = state


def shared(device: str = "cpu") -> Generator:
    """Return the generator from which the functions of this module draw, or its sibling on another device.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.random.seed(0)
    >>> tg.random.shared().random()
    tensor(0.63696169)
    """
    return _shared.on(device)


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
