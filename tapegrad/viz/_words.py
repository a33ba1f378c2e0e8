"""How figures, spaces and inputs are spelled, and tables of text are aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._source import Place
from ..typing import Shape


@dataclass
class Cost:
    """What calls have cost together: seconds forward, seconds of their rules, and bytes kept for the replay."""

    calls: int = 0
    forward: float = 0.0
    backward: float = 0.0
    nbytes: int = 0

    @property
    def seconds(self) -> float:
        """Forward and backward together."""
        return self.forward + self.backward


def typed(shape: Shape, dtype: np.dtype[Any]) -> str:
    """Return a space as it is shown."""
    return f"{dtype} {shape}"


def shown(entry: int | str | None) -> str:
    """Return an input as it is shown."""
    return "constant" if entry is None else f"#{entry}" if isinstance(entry, int) else entry


def duration(seconds: float | None) -> str:
    """Return seconds in a unit that suits them, nothing for None."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def place(source: Place | None) -> str:
    """Return a line of the program as it is shown: where it is, and what is written there, unless that is long."""
    if source is None:
        return "unknown"
    text = source.text if len(source.text) <= 60 else source.text[:57] + "..."
    return f"{source.short}  {text}".rstrip()


def aligned(rows: Sequence[Sequence[str]], right: set[str]) -> str:
    """Return a table as text, the columns with a heading in `right` aligned to the right; rows may be short."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(row, widths, rows[0], strict=False)
        ).rstrip()
        for row in rows
    )
