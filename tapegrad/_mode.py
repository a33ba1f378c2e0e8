"""What a thread or task does besides computing values: record, play forward levels, be watched; and switching it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from .typing import Formula

if TYPE_CHECKING:
    from ._op import Op
    from ._tape import Level, Record

F = TypeVar("F", bound=Callable[..., Any])


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
