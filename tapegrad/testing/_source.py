"""Where in the user's program something happened, as messages name it."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

__all__ = ["Place", "caller", "line_of"]

_PACKAGE = str(Path(__file__).parents[1])
# Files of the package that hold programs of users, not the machinery between them and the tape.
_PROGRAMS = tuple(str(Path(_PACKAGE) / name) for name in ("examples", "nn", "optim"))
_MACHINERY = ("numpy", "hypothesis", "_pytest", "pluggy", "contextlib.py", "functools.py")


@dataclass(frozen=True)
class Place:
    """A line of a program."""

    file: str
    line: int
    function: str

    @property
    def text(self) -> str:
        """The line itself, or nothing where the source is not at hand."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        """Return the place as tools and editors find it: `model.py:12, in loss`."""
        path = Path(self.file)
        try:
            shown = str(path.relative_to(Path.cwd()))
        except ValueError:
            shown = str(path)
        return f"{shown}:{self.line}, in {self.function}"


def _is_users(file: str) -> bool:
    """Return whether a file belongs to a user's program: neither to this package's machinery nor to NumPy."""
    if file.startswith(_PACKAGE):
        return file.startswith(_PROGRAMS)
    parts = Path(file).parts
    return not file.startswith("<__array_function__") and not any(part in _MACHINERY for part in parts)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def caller() -> Place | None:
    """Return the innermost line of the user's program that is running."""
    for frame in _frames(sys._getframe(1)):
        if _is_users(frame.f_code.co_filename):
            return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    return None


def line_of(error: BaseException) -> str:
    """Return ` (model.py:12, in loss: y = x @ w)` for the user's line that an error came from, or nothing."""
    for entry in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(entry.filename) and entry.lineno is not None:
            place = Place(entry.filename, entry.lineno, entry.name)
            return f" ({place}: {place.text})" if place.text else f" ({place})"
    return ""
