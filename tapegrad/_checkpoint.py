"""Checkpointing: keep a function's arguments instead of its residuals, and run it again when the replay arrives.

A checkpointed call leaves two records and one for each result. The first joins everything that the results depend on:
arguments, and tensors that the function captured. The second holds the call itself; its rule runs the function again,
replays what that recorded, and hands the cotangents of older records to the first one, which passes them on.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import random
from ._array import device_of, is_array, zeros
from ._mode import MODE, Mode, ModeContext
from ._op import Op, Parts, _part
from ._strict import Strict
from ._tape import FORWARD_ONLY, Dual, Leaf, Record, next_position, replay, space_of
from ._tensor import Tensor, detached, wrap
from ._transforms import MIXED, _dual, _name
from ._tree import leaves, map_leaves
from .errors import HistoryError
from .typing import Shape

__all__ = ["checkpoint"]

_SAMPLED = 8
"""How many entries of each result are kept, to see that a second run gives what the first one gave."""


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` such that it keeps only its arguments for the replay, and is run again there.

    A loop of n steps, checkpointed in segments of sqrt(n) steps, keeps 2 sqrt(n) steps' residuals instead of n, for
    one more forward pass (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"; the optimal schedules,
    by nesting, are those of Griewank and Walther 2000, "Algorithm 799: revolve"). Values and derivatives are those of
    `function`, in both modes and at every order, also by tensors that it captures, such as a module's parameters.

    The second run must do what the first one did. Random numbers are drawn again: from the generators of
    `tapegrad.random`, NumPy's global one, and `numpy.random.Generator` objects among the arguments. What `function`
    captures must not be changed before the replay, and what it does besides (counting, printing) it does twice.
    Generators on a CUDA device, and those that other threads draw from too, do not repeat themselves.

    Parameters
    ----------
    function : takes and gives tensors, arrays and anything else, in any containers

    Raises
    ------
    HistoryError
        In the replay, if the second run gives results of another structure or other values than the first one.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> @tg.checkpoint
    ... def segment(x):
    ...     for _ in range(10):
    ...         x = np.sin(x)
    ...     return x
    >>> x = tg.tensor(1.0, requires_grad=True)
    >>> segment(segment(x)).backward()
    >>> x.grad
    tensor(0.03391139)
    """

    @functools.wraps(function, updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        mode = MODE.get() or Mode()
        if not mode.recording:
            return function(*args, **kwargs)
        segment = _Segment(function, args, kwargs, mode)
        before = _random_states(args, kwargs)
        with random.noting_states() as drawn:
            start, value = segment.run()
        made = _made_since(start, value)
        if not made:
            return value
        before.update(drawn)
        segment.states = {rng: state for rng, state in before.items() if not _same(state, _random_state(rng))}
        return _recorded(segment, start, value, made)

    return run


class _Segment:
    """A checkpointed call: what it takes to run it again, and what is known about its results."""

    __slots__ = ("args", "function", "kwargs", "mode", "places", "samples", "spaces", "states")

    def __init__(self, function: Any, args: Any, kwargs: Any, mode: Mode) -> None:
        self.function = function
        # Tensors of our own: assignment to the caller's goes into other memory then.
        self.args, self.kwargs = _own(args), _own(kwargs)
        self.mode = mode
        self.places: dict[Record, int] = {}
        self.spaces: list[tuple[Shape, Any]] = []
        self.samples: list[Any] = []
        self.states: dict[Any, Any] = {}

    def run(self) -> tuple[int, Any]:
        """Return the position from which on the function recorded, and what it gave."""
        start = next_position()
        # Kinks belong to the operations, wherever the replay is; others who look on see it only if they do so now.
        now = MODE.get() or Mode()
        MIXED.update((level, True) for level in now.levels if level in MIXED)
        watchers = tuple(w for w in self.mode.watchers if type(w) is Strict and w not in now.watchers)
        with ModeContext(recording=True, levels=self.mode.levels, watchers=watchers):
            return start, self.function(*_own(self.args), **_own(self.kwargs))

    def run_again(self) -> tuple[int, list[Tensor]]:
        """Return the position from which on the second run recorded, and its results, after a look at them."""
        now = {rng: _random_state(rng) for rng in self.states}
        _set_random_states(self.states)
        try:
            start, value = self.run()
        finally:
            _set_random_states(now)
        made = _made_since(start, value)
        name = _name(self.function)
        spaces = [space_of(t.shape, t.dtype) for t in made]
        if spaces != self.spaces:
            raise HistoryError(
                f"the function {name} under checkpoint gave tracked results of {_listed(spaces)} in its second run, "
                f"expected those of its first, of {_listed(self.spaces)}; it must do the same in both"
            )
        for i, (t, sample) in enumerate(zip(made, self.samples, strict=True)):
            if not _close(_sampled(t._array), sample):
                raise HistoryError(
                    f"the function {name} under checkpoint gave other values for result {i} in its second run; draw "
                    "random numbers from tapegrad.random, or give it the generator as an argument, and do not change "
                    "before the replay what it captures"
                )
        return start, made

    def pull(self, cotangents: Parts) -> Parts:
        """Return the cotangents of what the results depend on, by place, for those of the results."""
        start, made = self.run_again()
        higher = any(isinstance(g, Tensor) for g in cotangents.values())
        seeds = [(made[i]._record, g) for i, g in cotangents.items()]
        arrived = replay(seeds, None, retain=higher, create=higher, beyond=start)  # type: ignore[arg-type]
        unknown = [record for record in arrived if record not in self.places and record.position < start]
        missing = [record for record in self.places if record not in arrived]
        # Leaves that the function makes for itself are others in every run, and nobody waits for their gradients.
        if Counter(record.space for record in unknown if isinstance(record, Leaf)) - Counter(
            record.space for record in missing if isinstance(record, Leaf)
        ) or any(not isinstance(record, Leaf) for record in unknown):
            raise HistoryError(
                f"the function {_name(self.function)} under checkpoint used other tensors in its second run than in "
                "its first; it must do the same in both"
            )
        like = detached(next(iter(cotangents.values())))
        found = Parts({self.places[record]: g for record, g in arrived.items() if record in self.places})
        for record in missing:
            zero = zeros(*(record.space or ((), like.dtype)), like)
            found[self.places[record]] = wrap(zero) if higher else zero
        return found


# The two records of a call. Their ops have no function that anybody calls.

CALL = Op(lambda x: x, "linear", [lambda g, segment: segment.pull(g)], name="checkpoint")
_INPUTS = Op(lambda *xs: xs, "linear", [lambda g, k: g[k]], inputs="*xs", name="inputs of checkpoint")


def _recorded(segment: _Segment, start: int, value: Any, made: Sequence[Tensor]) -> Any:
    """Return the results of a first run with records of the call in place of those of its operations."""
    segment.places = {record: k for k, record in enumerate(_older([t._record for t in made], start))}
    segment.spaces = [space_of(t.shape, t.dtype) for t in made]
    segment.samples = [_sampled(t._array) for t in made]
    inputs, call = Record(), Record()
    inputs.op, inputs.x, inputs.for_x = _INPUTS, tuple(segment.places), tuple(segment.places.values())
    call.op, call.x, call.for_x = CALL, inputs, segment
    for record in (inputs, call):
        record.y = record.for_y = record.space = None
        record.position = next_position()
    parts = {t._record: _part(call, i, t._array) for i, t in enumerate(made)}
    records: dict[Record, Record | None] = {}
    if not _holds_tensor(value):
        return value
    return map_leaves(lambda leaf: _result(leaf, parts, records), value)


def _result(t: Any, parts: dict[Record | None, Record], records: dict[Record, Record | None]) -> Any:
    """Return a result with its record in `parts`, if it has one, and with tangents likewise; `records` are those made.

    A function of its own: one that refers to itself by its closure would keep all this alive until the collector runs.
    """
    old = t._record if isinstance(t, Tensor) else None
    if old is None or (old not in parts and old.position > FORWARD_ONLY):
        return t
    if old not in records:
        tangents = old.tangents.items() if isinstance(old, Dual) else ()
        new = parts.get(old)
        if tangents:
            new = _dual(new)
            new.tangents = {level: _result(s, parts, records) for level, s in tangents}
        records[old] = new
    return wrap(t._array, records[old])


def _made_since(start: int, value: Any) -> list[Tensor]:
    """Return the results, and tangents of results, whose records are not older than `start`, each once."""
    found: dict[Record, Tensor] = {}
    waiting = [leaf for leaf in leaves(value) if isinstance(leaf, Tensor)][::-1]
    while waiting:
        t = waiting.pop()
        record = t._record
        if record is None or record in found or FORWARD_ONLY < record.position < start:
            continue
        if record.position >= start:
            found[record] = t
        if isinstance(record, Dual):
            waiting += [s for s in record.tangents.values() if isinstance(s, Tensor)][::-1]
    return list(found.values())


def _older(starts: Sequence[Record | None], position: int) -> dict[Record, None]:
    """Return the records older than `position` that the history of `starts` ends at, in the order they are found."""
    older: dict[Record, None] = {}
    seen = set(starts)
    waiting = list(starts)
    while waiting:
        record = waiting.pop()
        for parent in record.parents() if record is not None and record.op is not None else ():
            if parent is None or parent.position <= FORWARD_ONLY or parent in seen:
                continue
            seen.add(parent)
            if parent.position < position:
                older[parent] = None
            else:
                waiting.append(parent)
    return older


def _holds_tensor(tree: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in leaves(tree))


def _own(tree: Any) -> Any:
    """Return `tree` in containers and tensors of its own; entries that hold no tensor stay the same objects."""
    if isinstance(tree, (tuple, list)):
        return type(tree)(_own_entry(entry) for entry in tree)
    return {key: _own_entry(entry) for key, entry in tree.items()}


def _own_entry(tree: Any) -> Any:
    if not _holds_tensor(tree):
        return tree
    return map_leaves(lambda leaf: wrap(leaf._array, leaf._record) if isinstance(leaf, Tensor) else leaf, tree)


def _listed(spaces: Sequence[tuple[Shape, Any]]) -> str:
    return ", ".join(f"shape {shape} and {dtype}" for shape, dtype in spaces) or "no shape at all"


# Values


def _sampled(array: Any) -> Any:
    """Return a few entries of a host array, None for one on a device, which would have to wait for it."""
    if not isinstance(array, (np.ndarray, np.generic)):
        return None
    array = np.asarray(array)
    return array.flat[:: max(1, array.size // _SAMPLED)].copy()


def _close(found: Any, expected: Any) -> bool:
    """Return whether two samples are the same up to rounding."""
    if expected is None or np.array_equal(found, expected):
        return True
    rate = float(np.sqrt(np.finfo(expected.dtype).eps))
    size = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
    return bool(np.allclose(found, expected, rtol=rate, atol=rate * float(size), equal_nan=True))


# Random states


def _random_states(args: Any, kwargs: Any) -> dict[Any, Any]:
    """Return the states of NumPy's generators that a function with these arguments may use; None is the global one."""
    given = [rng for rng in leaves([args, kwargs]) if isinstance(rng, np.random.Generator)]
    return {rng: _random_state(rng) for rng in [None, *given]}


def _random_state(rng: Any) -> Any:
    if rng is None:
        return np.random.get_state(legacy=False)
    return rng.bit_generator.state if isinstance(rng, np.random.Generator) else rng.state


def _set_random_states(states: dict[Any, Any]) -> None:
    for rng, state in states.items():
        if rng is None:
            np.random.set_state(state)
        elif isinstance(rng, np.random.Generator):
            rng.bit_generator.state = state
        else:
            rng.state = state


def _same(a: Any, b: Any) -> bool:
    """Return whether two states are known to be the same: a look at those on a device would wait for it."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if is_array(a) and device_of(a) != "cpu":
        return False
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else a == b
