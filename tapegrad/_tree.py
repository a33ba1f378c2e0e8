"""Nested containers in, leaves out, and back."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .errors import ShapeError

Flatten = Callable[[Any], Iterable[Any]]
Rebuild = Callable[[Any, Sequence[Any]], Any]

_REGISTERED: dict[type, tuple[Flatten, Rebuild]] = {}


def register_container(kind: type, flatten: Flatten, rebuild: Rebuild) -> None:
    """Make `kind` a container: `flatten(value)` gives its entries, `rebuild(value, entries)` a new one like `value`.

    Dicts, lists, tuples, namedtuples and dataclasses are containers already, and None is an empty one.

    Parameters
    ----------
    kind : a class; its subclasses are registered apart
    flatten : gives the entries, always the same number for values of the same structure
    rebuild : gives a container with other entries, arrays or tensors or containers of them, in the same order

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
    _sort.cache_clear()


@functools.lru_cache(1024)
def _sort(kind: Any) -> str:
    """Return what sort of container a class is: this is asked for every entry, and looking is slow."""
    if kind in _REGISTERED:
        return "registered"
    if issubclass(kind, dict):
        return "dict"
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return "namedtuple"
    if issubclass(kind, (list, tuple)):
        return "sequence"
    if kind is type(None):
        return "none"
    return "dataclass" if dataclasses.is_dataclass(kind) else "leaf"


def _open(tree: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]] | None:
    """Return the entries of a container and what makes a container of the same kind from others; None for a leaf."""
    kind: Any = type(tree)
    sort = _sort(kind)
    if sort == "leaf":
        return None
    if sort == "sequence":
        return list(tree), kind if kind in (list, tuple) else lambda entries: _sequence_like(tree, entries)
    if sort == "dict":
        return list(tree.values()), lambda entries: _dict_like(tree, entries)
    if sort == "namedtuple":
        return list(tree), lambda entries: kind(*entries)
    if sort == "registered":
        flatten, rebuild = _REGISTERED[kind]
        return list(flatten(tree)), lambda entries: rebuild(tree, entries)
    if sort == "none":
        return [], lambda entries: None
    names = [field.name for field in dataclasses.fields(tree) if field.init]
    values = [getattr(tree, name) for name in names]
    return values, lambda entries: dataclasses.replace(tree, **dict(zip(names, entries, strict=True)))


def _sequence_like(tree: Any, entries: Sequence[Any]) -> Any:
    """Return a list or tuple of the kind of `tree`, a subclass, which may take other arguments than its entries."""
    if isinstance(tree, tuple):
        return tuple.__new__(type(tree), entries)
    made = copy.copy(tree)
    made[:] = entries
    return made


def _dict_like(tree: Any, entries: Sequence[Any]) -> Any:
    """Return a dict of the kind of `tree`, with its keys; copied first, for kinds with arguments of their own."""
    made = {} if type(tree) is dict else copy.copy(tree)
    for key, entry in zip(tree, entries, strict=True):
        made[key] = entry
    return made


def _labels(tree: Any, count: int) -> list[str]:
    """Return how each of the `count` entries of a container is reached from it, as it would be written in Python."""
    kind: Any = type(tree)
    sort = _sort(kind)
    if sort == "dict":
        return [f"[{key!r}]" for key in tree]
    if sort == "namedtuple":
        return [f".{name}" for name in tree._fields]
    if sort == "dataclass":
        return [f".{field.name}" for field in dataclasses.fields(tree) if field.init]
    return [f".entry{i}" if sort == "registered" else f"[{i}]" for i in range(count)]


def named_leaves(tree: Any, name: str) -> list[tuple[str, Any]]:
    """Return the leaves of `tree` in order, each with the expression that reaches it from `name`: `x['w'][0]`."""
    opened = _open(tree)
    if opened is None:
        return [(name, tree)]
    labels = _labels(tree, len(opened[0]))
    return [
        found for label, entry in zip(labels, opened[0], strict=True) for found in named_leaves(entry, name + label)
    ]


def matched(tree: Any, like: Any, name: str, what: str) -> list[tuple[str, Any]]:
    """Return the leaves of `tree`, with their names, in the order of those of `like`, whose structure it must have.

    Entries of dicts are matched by key. Lists and tuples of one length are taken for each other.

    Raises
    ------
    ShapeError
        If the structures differ; `name` is what the message calls `tree`, and `what` what it calls `like`.
    """
    expected, got = _open(like), _open(tree)
    if expected is None:
        if got is not None:
            raise ShapeError(f"got {described(tree)} for {name}, expected one array or number, as in {what}")
        return [(name, tree)]
    entries = expected[0]
    sequences = isinstance(like, (list, tuple)) and isinstance(tree, (list, tuple))
    if got is None or not (
        sequences or type(tree) is type(like) or (isinstance(tree, dict) and isinstance(like, dict))
    ):
        raise ShapeError(f"got {described(tree)} for {name}, expected {described(like)}, as in {what}")
    values = got[0]
    if isinstance(like, dict):
        if set(tree) != set(like):
            raise ShapeError(f"got keys {list(tree)} for {name}, expected {list(like)}, as in {what}")
        values = [tree[key] for key in like]
    if len(values) != len(entries):
        raise ShapeError(f"got {described(tree)} for {name}, expected {described(like)}, as in {what}")
    labels = _labels(like, len(entries))
    return [
        found
        for label, value, entry in zip(labels, values, entries, strict=True)
        for found in matched(value, entry, name + label, what)
    ]


def described(tree: Any) -> str:
    """Return words for a container, or for what is none."""
    opened = _open(tree)
    kind = type(tree).__name__
    if tree is None:
        return "None"
    if opened is None:
        return f"one {kind}" + (f" of shape {tree.shape}" if hasattr(tree, "shape") else "")
    count = len(opened[0])
    return f"a {kind} of {count} {'entry' if count == 1 else 'entries'}"


def is_leaf(tree: Any) -> bool:
    """Return whether `tree` is no container."""
    return _open(tree) is None


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
