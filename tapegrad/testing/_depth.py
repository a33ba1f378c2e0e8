"""How thoroughly gradients are checked: quickly, or in depth."""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["DEPTH", "DEPTHS"]

DEPTHS = ("quick", "deep")

DEPTH: ContextVar[str] = ContextVar("tapegrad_depth", default="quick")
