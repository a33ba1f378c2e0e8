"""Where in a user's program something happens, as messages and tables name it."""

from __future__ import annotations

import contextlib
import functools
import linecache
import os
import sys
import traceback
from types import FrameType
from typing import NamedTuple

import numpy as np

__all__ = ["Place", "caller", "line_of"]

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
# Programs that come with the package are users of it; layers and optimizers are called by users.
_PROGRAMS = (os.path.join(_PACKAGE, "examples", ""), os.path.join(_PACKAGE, "__main__.py"))
_BETWEEN = (
    _PACKAGE,
    os.path.join(os.path.dirname(np.__file__), ""),
    contextlib.__file__,
    functools.__file__,
    "<__array_function__",
)
_INSTALLED = tuple(
    os.path.join(folder, name, "")
    for folder in ("site-packages", "dist-packages")
    for name in ("_pytest", "cupy", "hypothesis", "pluggy", "scipy")
)


class Place(NamedTuple):
    """A line of a program: file, line number, and the function that it is in."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        """Return the place as tools and editors find it: `model.py:12, in loss`."""
        inside = os.path.relpath(self.file) if os.path.isabs(self.file) else self.file
        return f"{self.file if inside.startswith(os.pardir) else inside}:{self.line}, in {self.function}"

    @property
    def short(self) -> str:
        """The place in a word: `model.py:12`."""
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def text(self) -> str:
        """The line itself, or nothing where the source is not at hand."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def full(self) -> str:
        """The place and the line, as Python's tracebacks spell it."""
        text = self.text
        return f'File "{self.file}", line {self.line}, in {self.function}' + (f": {text}" if text else "")


@functools.lru_cache(4096)
def _is_users(file: str) -> bool:
    """Return whether a file belongs to a user's program, and not to what stands between it and the tape."""
    if file.startswith(_PROGRAMS):
        return True
    return not file.startswith(_BETWEEN) and not any(folder in file for folder in _INSTALLED)


def caller() -> Place | None:
    """Return the innermost line of the user's program that is running, or None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if _is_users(code.co_filename):
            return Place(code.co_filename, frame.f_lineno or 0, code.co_name)
        frame = frame.f_back
    return None


def line_of(error: BaseException) -> str:
    """Return ` (model.py:12, in loss: y = x @ w)` for the user's line that an error came from, or nothing."""
    for entry in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(entry.filename) and entry.lineno is not None:
            place = Place(entry.filename, entry.lineno, entry.name)
            return f" ({place}: {place.text})" if place.text else f" ({place})"
    return ""
