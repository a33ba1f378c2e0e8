"""The tape: records, their positions, the replay, forward-mode levels, and recording on and off.

Every operation on a tracked tensor makes one `Record` and takes the next position. A record is held by its output
tensor and by the records made from it, and by nothing else, so history that nobody can ask for any more is freed at
once. `replay` walks the positions downwards: execution order is a topological order, so nothing is ever sorted.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Generator, Sequence
from contextvars import ContextVar
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from ._array import DIFFERENTIABLE, sum_over
from .errors import HistoryError, ShapeError
from .typing import Formula, Shape

if TYPE_CHECKING:
    from ._op import Op
    from ._tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

LEAF = 0
FORWARD_ONLY = -1

next_position = itertools.count(1).__next__


@functools.lru_cache(4096)
def space_of(shape: Shape, dtype: Any) -> tuple[Shape, Any]:
    """Return `(shape, dtype)`, the same object for the same values."""
    return shape, dtype


class Record:
    """One operation as it happened.

    `x` and `y` are the records of the first and second input (None where it is constant), `for_x` and `for_y` what
    the formulas for them need besides the cotangent. An op with any number of inputs (`op.many`) holds tuples in `x`
    and `for_x`. `space` is the output's shape and dtype, one object for all records of that space, so that the replay
    sees by identity where a cotangent must be projected; None for an op with several results. Flat slots, because
    every further container costs the garbage collector a visit on long tapes.
    """

    __slots__ = ("for_x", "for_y", "op", "position", "space", "x", "y")

    op: Op | None
    position: int
    x: Any
    y: Any
    for_x: Any
    for_y: Any
    space: tuple[Shape, Any] | None

    def parents(self) -> Sequence[Record | None]:
        """Return the inputs' records, None for constants; empty once released."""
        if type(self.x) is tuple:
            return self.x
        return () if self.released else (self.x, self.y)

    @property
    def released(self) -> bool:
        """Whether a replay has consumed this record."""
        return self.op is not None and self.x is None and self.y is None


class Leaf(Record):
    """The record of a tensor made with `requires_grad=True`: it has no op, and holds the gradient."""

    __slots__ = ("completed", "dtype", "grad", "hooks", "shape")

    def __init__(self, shape: Shape, dtype: Any) -> None:
        self.op = self.x = self.y = self.for_x = self.for_y = None
        self.space = space_of(shape, dtype)
        self.position = LEAF
        self.shape = shape
        self.dtype = dtype
        self.grad: Tensor | None = None
        self.hooks: list[Callable[[Tensor], Any]] | None = None
        self.completed: list[Callable[[], None]] | None = None


class Dual(Record):
    """A record made while a forward-mode level is active: it holds one tangent per level."""

    __slots__ = ("tangents",)

    def __init__(self) -> None:
        self.op = self.x = self.y = self.for_x = self.for_y = self.space = None
        self.position = FORWARD_ONLY
        self.tangents: dict[Level, Any] = {}


def root(shape: Shape, dtype: Any) -> Dual:
    """Return a record without an op, at the next position: a reverse mode of its own starts there."""
    record = Dual()
    record.space = space_of(shape, dtype)
    record.position = next_position()
    return record


class Level:
    """One forward-mode differentiation in progress; records hold their tangents under it."""

    __slots__ = ()

    def tangent(self, record: Record | None) -> Any:
        """Return the tangent of `record` in this level, or None for zero."""
        return record.tangents.get(self) if type(record) is Dual else None


class Watcher:
    """What looks on while operations are computed and rules are applied, and may put its own in a rule's place.

    Strong zero, checks and profiles are watchers. They see the parts of composites, and not what has no derivative.
    The `rule` of one that `judges` is applied last, around those of all others.
    """

    __slots__ = ()

    judges = False

    def computed(
        self, op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, seconds: float
    ) -> None:
        """Look at an op that was given a tensor: its inputs, settings `(args, kwargs)`, results, and record, if any."""

    def rule(self, op: Op, k: int, formula: Formula, record: Record | None) -> Formula:
        """Return what to call for the k-th input instead of `formula`; no record: on a tangent, in forward mode."""
        return formula


class Mode(NamedTuple):
    """What a thread or task does besides computing values: record for reverse mode, play forward levels, be watched."""

    recording: bool = True
    levels: tuple[Level, ...] = ()
    watchers: tuple[Watcher, ...] = ()

    def rule(self, op: Op, k: int, formula: Formula, record: Record | None = None) -> Formula:
        """Return `formula` as the watchers want it called."""
        for watcher in self.watchers:
            formula = watcher.rule(op, k, formula, record)
        return formula


OFF = Mode(recording=False)

# None stands for Mode(), so that the recorders' one look costs one comparison.
MODE: ContextVar[Mode | None] = ContextVar("tapegrad_mode", default=None)

# The modes to go back to, the innermost with the rest behind it: one stack for each thread and task.
_BEFORE: ContextVar[tuple[Mode | None, Any]] = ContextVar("tapegrad_modes_before", default=(None, None))


class ModeContext:
    """A context manager, and a decorator, under which this thread or task works in another mode.

    As a decorator of a generator function it covers the body of the generator, not the code that iterates over it.
    One object may be entered again inside itself, and by several threads and tasks.
    """

    def __init__(
        self,
        recording: bool | None = None,
        levels: tuple[Level, ...] | None = None,
        watchers: tuple[Watcher, ...] = (),
    ) -> None:
        self._recording = recording
        self._levels = levels
        self._watchers = watchers

    def _switch(self, mode: Mode | None) -> None:
        if mode is None and self._levels is None and not self._watchers:
            MODE.set(OFF if self._recording is False else None)
            return
        recording, levels, watchers = mode or Mode()
        mode = Mode(
            recording if self._recording is None else self._recording,
            levels if self._levels is None else self._levels,
            tuple(sorted(watchers + self._watchers, key=lambda watcher: watcher.judges)),
        )
        MODE.set(None if mode == Mode() else OFF if mode == OFF else mode)

    def __enter__(self) -> None:
        mode = MODE.get()
        _BEFORE.set((mode, _BEFORE.get()))
        self._switch(mode)

    def __exit__(self, *exception: object) -> None:
        mode, outer = _BEFORE.get()
        _BEFORE.set(outer)
        MODE.set(mode)

    def __call__(self, function: F) -> F:
        """Return `function` running under this mode."""
        fresh = functools.partial(ModeContext, self._recording, self._levels, self._watchers)
        wrapper: Any
        if inspect.isasyncgenfunction(function):
            raise TypeError("got an asynchronous generator function; open the context inside its body instead")
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                return _drive(function(*args, **kwargs), fresh)

        elif inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with fresh():
                    return await function(*args, **kwargs)

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with fresh():
                    return function(*args, **kwargs)

        return cast(F, wrapper)


def _drive(generator: Any, fresh: Callable[[], ModeContext]) -> Generator[Any, Any, Any]:
    """Run `generator` step by step, each step under a fresh mode, passing on what is sent and thrown."""
    step, argument = generator.send, None
    while True:
        try:
            with fresh():
                value = step(argument)
        except StopIteration as stop:
            return stop.value
        try:
            argument = yield value
            step = generator.send
        except GeneratorExit:
            with fresh():
                generator.close()
            raise
        except BaseException as error:
            step, argument = generator.throw, error


def no_grad() -> ModeContext:
    """Return a context, also a decorator, in which operations are not recorded for reverse mode.

    It covers this thread or asyncio task alone. Forward-mode levels stay active.

    Examples
    --------
    >>> import tapegrad as tg
    >>> w = tg.tensor(2.0, requires_grad=True)
    >>> with tg.no_grad():
    ...     y = w * 3
    >>> y.requires_grad
    False
    """
    return ModeContext(recording=False)


def enable_grad() -> ModeContext:
    """Return a context, also a decorator, in which operations are recorded, also inside `no_grad`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> w = tg.tensor(2.0, requires_grad=True)
    >>> with tg.no_grad(), tg.enable_grad():
    ...     y = w * 3
    >>> y.requires_grad
    True
    """
    return ModeContext(recording=True)


class set_grad_enabled(ModeContext):  # noqa: N801 - a function by its use, as the field spells it
    """Switch recording on or off at once for this thread or task; as a context, switch back at its end.

    Examples
    --------
    >>> import tapegrad as tg
    >>> with tg.set_grad_enabled(False):
    ...     tg.is_grad_enabled()
    False
    >>> tg.is_grad_enabled()
    True
    """

    def __init__(self, enabled: bool) -> None:
        super().__init__(recording=bool(enabled))
        self._mode = MODE.get()
        self._switch(self._mode)

    def __enter__(self) -> None:
        """Leave the mode as the constructor set it."""

    def __exit__(self, *exception: object) -> None:
        MODE.set(self._mode)

    def __call__(self, function: F) -> F:
        """Return `function` running under this mode, with the caller's own mode restored first."""
        self.__exit__()
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Return whether operations of this thread or task are recorded for reverse mode.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.is_grad_enabled()
    True
    """
    mode = MODE.get()
    return mode is None or mode.recording


def project(h: Any, shape: Shape, dtype: Any) -> Any:
    """Bring a cotangent back to an input's space: sum over broadcast axes, take the real part, cast.

    `h` may be an array or, at higher order, a tensor; only methods that both have are used.

    Raises
    ------
    ShapeError
        If `shape` could not have been broadcast to the shape of `h`.
    """
    if h.shape != shape:
        found = h.shape
        lead = len(found) - len(shape)
        if lead > 0 and found[lead:] == shape:
            axes: Sequence[int] = range(lead)
        else:
            axes = [axis for axis in range(lead) if found[axis] != 1]
            for axis, n in enumerate(shape, lead):
                m = found[axis] if axis >= 0 else None
                if n != m:
                    if n != 1 or m is None:
                        raise ShapeError(f"got a cotangent of shape {found}, expected one that sums to {shape}")
                    axes.append(axis)
        if axes:
            h = sum_over(h, axes)
        if h.shape != shape:
            h = h.reshape(shape)
    if h.dtype != dtype:
        if h.dtype.kind == "c" and dtype.kind != "c":
            h = h.real
        h = h.astype(dtype)
    return h


def replay(
    seeds: Sequence[tuple[Record, Any]],
    wanted: Collection[Record] | None = None,
    retain: bool = False,
    create: bool = False,
    beyond: int | None = None,
) -> dict[Record, Any]:
    """Replay the tape in reverse and return the cotangents that arrive at the leaves.

    Parameters
    ----------
    seeds : records with the cotangents they start from
    wanted : if given, cotangents are returned for these records instead, and the replay goes no deeper
    retain : keep residuals and parents, so that the same records can be played again
    create : the cotangents are tensors: residuals are revived, so the formulas record themselves
    beyond : if given, cotangents are returned for all records older than this position, and none of them is played

    Raises
    ------
    HistoryError
        If a record was released by an earlier replay.
    ShapeError
        If a rule returned a cotangent of the wrong shape.
    """
    # Cells hold a record, its cotangent, and whether this replay allocated the cotangent's memory. Records that wait,
    # by position, are held here, strongly, until they are played; their children were dropped when they were.
    pending: dict[int, list[Any]] = {}
    arrived: dict[Record, list[Any]] = {}
    floor = LEAF if wanted is None else min((record.position for record in wanted), default=LEAF)
    if beyond is not None:
        floor = beyond

    for record, g in seeds:
        cells: Any = arrived if record.op is None else pending
        place: Any = record if record.op is None else record.position
        cells[place] = [record, cells[place][1] + g if place in cells else g, False]

    mode = MODE.get()
    watched = mode if mode is not None and mode.watchers else None
    position = max(pending, default=LEAF)
    misses = 0
    waiting: list[int] | None = None
    while pending:
        if waiting is not None:
            position = -heappop(waiting)
        cell = pending.pop(position, None)
        if cell is None:
            # Other history lies in between. It is stepped over; if there is much of it, a heap tells who comes next.
            misses += 1
            position -= 1
            if misses > len(pending):
                waiting = [-place for place in pending]
                heapify(waiting)
            continue
        misses = 0
        position -= 1
        record, g, _ = cell
        op: Any = record.op
        if wanted is not None and record in wanted:
            arrived[record] = [record, op.hooked(g) if op.hooks else g, False]
            if record.position <= floor:
                break
        links: Any
        space = record.space
        if op.many:
            if op.hooks is not None:
                g = arrived[record][1] if record in arrived else op.hooked(g)
                if op.retains:
                    arrived[record] = [record, g, False]
            links = op.links(record)
        elif record.y is None:
            parent = record.x
            links = ((parent, op.rule_x, record.for_x),)
            if op.into is not None and parent is not None and not create and watched is None:
                # A part of what the parent's cotangent is made of need not be as large as the whole.
                cell = arrived.get(parent) if parent.op is None else pending.get(parent.position)
                if cell is not None and cell[2] and op.into(cell[1], g, *record.for_x):
                    links = ()
        else:
            links = ((record.x, op.rule_x, record.for_x), (record.y, op.rule_y, record.for_y))
        k = -1
        for parent, (formula, count), saved in links:
            k += 1
            if parent is None:
                continue
            place = parent.position
            if place < floor and (beyond is None or place < LEAF):
                continue
            if create and count:
                saved = op.revive(record, k, saved)
            if watched is not None:
                formula = watched.rule(op, k, formula, record)
            if count == 1:
                h = formula(g, saved)
            elif count == 0:
                h = formula(g)
            else:
                h = formula(g, *saved)
            target = parent.space
            if (
                target is not space
                and target is not None
                and (op.projects or space is None or target[1] is not space[1])
                and (not op.trusted or h.shape != target[0] or h.dtype is not target[1])
            ):
                h = projected(h, target, op, k)
            if parent.op is None or place < floor:
                cells = arrived
                place = parent
            else:
                cells = pending
            cell = cells.get(place)
            if cell is None:
                cells[place] = [parent, h, False]
                if waiting is not None and cells is pending:
                    heappush(waiting, -place)
            elif cell[2]:
                cell[1] += h
            else:
                cell[1] = cell[1] + h
                cell[2] = not create
        if record.x is None and record.y is None:
            raise HistoryError(
                f"the history of this result was released by an earlier replay (at {op.name}); "
                "call the first backward with retain_graph=True to replay it again"
            )
        if not retain:
            record.x = record.y = record.for_x = record.for_y = None
        links = saved = h = cell = None
    return {record: cell[1] for record, cell in arrived.items()}


def projected(h: Any, target: tuple[Shape, Any], op: Op, k: int) -> Any:
    """Return a cotangent projected to `target`, shape and dtype, or say whose rule for which input made it wrong."""
    if not hasattr(h, "shape"):
        raise ShapeError(f"the rule of {op.name} for input {k} returned {type(h).__name__}, expected an array")
    try:
        if h.shape != target[0] and not op.broadcasts:
            raise ShapeError(f"got a cotangent of shape {h.shape}, expected {target[0]}")
        return project(h, *target)
    except ShapeError as error:
        raise ShapeError(f"the rule of {op.name} for input {k}: {error}") from None


def differentiable(dtype: Any) -> bool:
    """Return whether arrays of `dtype` can be tracked."""
    return dtype.kind in DIFFERENTIABLE or dtype.kind == "V"
