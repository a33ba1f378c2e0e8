"""The tape: records, their positions, the replay, forward-mode levels, and recording on and off.

Every operation on a tracked tensor makes one `Record` and takes the next position. A record is held by its output
tensor and by the records made from it, and by nothing else, so history that nobody can ask for any more is freed at
once. `replay` walks the positions downwards: execution order is a topological order, so nothing is ever sorted.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from ._array import DIFFERENTIABLE, holders, owns_memory, sum_over
from ._mode import MODE
from .errors import HistoryError, ShapeError
from .typing import Shape

if TYPE_CHECKING:
    from ._op import Op
    from ._tensor import Tensor


LEAF = 0
FORWARD_ONLY = -1

LARGE = 1 << 16
"""From so many bytes on, to find memory for a sum costs more than to find out whose memory it may take."""

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


@functools.lru_cache(4096)
def axes_between(found: Shape, shape: Shape) -> tuple[tuple[int, ...], bool]:
    """Return the axes of `found`, ascending, along which `shape` was broadcast to it, and whether their sum has it.

    Raises
    ------
    ShapeError
        If `shape` could not have been broadcast to `found`.
    """
    lead = len(found) - len(shape)
    if lead > 0 and found[lead:] == shape:
        return tuple(range(lead)), True
    axes = [axis for axis in range(lead) if found[axis] != 1]
    for axis, n in enumerate(shape, lead):
        m = found[axis] if axis >= 0 else None
        if n != m:
            if n != 1 or m is None:
                raise ShapeError(f"got a cotangent of shape {found}, expected one that sums to {shape}")
            axes.append(axis)
    return tuple(axes), shape == tuple(n for axis, n in enumerate(found) if axis not in axes)


def project(h: Any, shape: Shape, dtype: Any) -> Any:
    """Bring a cotangent back to an input's space: sum over broadcast axes, take the real part, cast.

    `h` may be an array or, at higher order, a tensor; only methods that both have are used.
    """
    found = h.shape
    if found != shape:
        axes, whole = axes_between(found, shape)
        if axes:
            h = sum_over(h, axes)
        if not whole:
            h = h.reshape(shape)
    if h.dtype is not dtype and h.dtype != dtype:
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
    tied: bool = True,
) -> dict[Record, Any]:
    """Replay the tape in reverse and return the cotangents that arrive at the leaves.

    Parameters
    ----------
    seeds : records with the cotangents they start from
    wanted : if given, cotangents are returned for these records instead, and the replay goes no deeper
    retain : keep residuals and parents, so that the same records can be played again
    create : the cotangents are tensors: residuals are revived, so the formulas record themselves
    tied : whether revived residuals are tied to their records; otherwise they are constants of the new history
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
    special = create or watched is not None
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
        parent, y, space = record.x, record.y, record.space
        rule, saved, k = op.rule_x, record.for_x, 0
        links: Any = None
        if wanted is not None and record in wanted:
            arrived[record] = [record, op.hooked(g) if op.hooks else g, False]
            if record.position <= floor:
                break
        if y is None:
            if parent is None:
                raise HistoryError(
                    f"the history of this result was released by an earlier replay (at {op.name}); "
                    "call the first backward with retain_graph=True to replay it again"
                )
            if op.many:
                if op.hooks is not None:
                    g = arrived[record][1] if record in arrived else op.hooked(g)
                    if op.retains:
                        arrived[record] = [record, g, False]
                links, parent = op.links(record), None
            elif op.into is not None and not special:
                # A part of what the parent's cotangent is made of need not be as large as the whole.
                cell = arrived.get(parent) if parent.op is None else pending.get(parent.position)
                if cell is not None and cell[2] and op.into(cell[1], g, *saved):
                    parent = None
        # For each input; written as one loop because a loop over tuples, made for this, costs a third of the replay.
        while True:
            if parent is not None and ((place := parent.position) >= floor or (beyond is not None and place >= LEAF)):
                formula, count = rule
                if special:
                    if create and tied and count:
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
                    cells, place = arrived, parent
                else:
                    cells = pending
                cell = cells.get(place)
                if cell is None:
                    cells[place] = [parent, h, False]
                    if waiting is not None and cells is pending:
                        heappush(waiting, -place)
                elif cell[2]:
                    cell[1] += h
                elif create or h.nbytes < LARGE:
                    cell[1] = cell[1] + h
                    cell[2] = not create
                else:
                    # Large arrays are added up in the memory of either, if nobody else knows it.
                    before, cell[1] = cell[1], None
                    if holders(before) == 0 and owns_memory(before):
                        before += h
                    elif holders(h) == 0 and owns_memory(h):
                        h += before
                        before = h
                    else:
                        before = before + h
                    cell[1], cell[2] = before, True
            if y is not None:
                parent, y, k = y, None, 1
                rule, saved = op.rule_y, record.for_y
            elif links is None or (link := next(links, None)) is None:
                break
            else:
                parent, rule, saved, k = link
        if not retain:
            record.x = record.y = record.for_x = record.for_y = None
        links = link = saved = parent = h = cell = before = None
    return {record: cell[1] for record, cell in arrived.items()}


def projected(h: Any, target: tuple[Shape, Any], op: Op, k: int) -> Any:
    """Return a cotangent projected to `target`, shape and dtype, or say whose rule for which input made it wrong."""
    try:
        if not op.broadcasts and h.shape != target[0]:
            raise ShapeError(f"got a cotangent of shape {h.shape}, expected {target[0]}")
        return project(h, *target)
    except ShapeError as error:
        raise ShapeError(f"the rule of {op.name} for input {k}: {error}") from None
    except AttributeError:
        if hasattr(h, "shape"):
            raise
        got = type(h).__name__
        raise ShapeError(f"the rule of {op.name} for input {k} returned {got}, expected an array") from None


def differentiable(dtype: Any) -> bool:
    """Return whether arrays of `dtype` can be tracked."""
    return dtype.kind in DIFFERENTIABLE or dtype.kind == "V"
