"""Nested containers in, leaves out, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Flatten = Callable[[Any], Iterable[Any]]
Rebuild = Callable[[Any, Sequence[Any]], Any]

_REGISTERED: dict[type, tuple[Flatten, Rebuild]] = {}


def register_container(kind: type, flatten: Flatten, rebuild: Rebuild) -> None:
    """Make `kind` a container: `flatten(value)` gives its entries, `rebuild(value, entries)` a new one like `value`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> class Pair:
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    >>> tg.register_container(Pair, lambda p: (p.a, p.b), lambda p, entries: Pair(*entries))
    >>> tg.grad(lambda p: p.a * p.b)(Pair(2.0, 3.0)).a
    tensor(3.)
    """
    _REGISTERED[kind] = (flatten, rebuild)


def _open(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]] | None:
    """Return the entries of a container and what makes a container of the same kind from others; None for a leaf."""
    kind = type(tree)
    if kind in _REGISTERED:
        flatten, rebuild = _REGISTERED[kind]
        return list(flatten(tree)), lambda entries: rebuild(tree, entries)
    if isinstance(tree, dict):
        return list(tree.values()), lambda entries: kind(zip(tree, entries, strict=True))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return list(tree), lambda entries: kind(*entries)
    if isinstance(tree, (list, tuple)):
        return list(tree), lambda entries: kind(entries)
    if tree is None:
        return [], lambda entries: None
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [field.name for field in dataclasses.fields(tree) if field.init]
        values = [getattr(tree, name) for name in names]
        return values, lambda entries: dataclasses.replace(tree, **dict(zip(names, entries, strict=True)))
    return None


def leaves(tree: Any) -> list[Any]:
    """Return the leaves of `tree` in order."""
    opened = _open(tree)
    return [tree] if opened is None else [leaf for entry in opened[0] for leaf in leaves(entry)]


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree like `tree` with `function` applied to every leaf."""
    opened = _open(tree)
    if opened is None:
        return function(tree)
    entries, rebuild = opened
    return rebuild([map_leaves(function, entry) for entry in entries])


def unflatten(tree: Any, values: Iterable[Any]) -> Any:
    """Return a tree like `tree` with `values` for its leaves, in order."""
    supply = iter(values)
    return map_leaves(lambda _: next(supply), tree)
