"""Functions as subjects of checks: at one point, of their differentiable inputs alone; or an explanation why not."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._array import as_array, is_array, library, to_host
from .._source import line_of
from .._tape import differentiable
from .._tensor import Tensor, wrap
from .._transforms import jvp, vjp
from .._tree import leaves, unflatten
from ..errors import LostGradientError
from ._code import as_code

__all__ = ["GradientError", "Subject", "UncertainError", "bare", "explained", "subject"]


# Arrays of more entries than this are described in sentences, not spelled out.
_SHORT = 12


class GradientError(AssertionError):
    """A derivative is wrong, or the function cannot be checked; the message says which, where, and by how much.

    `verdict` is what blame found, if it was asked: the operations whose rules are wrong, or other reasons.
    """

    __module__ = "tapegrad.testing"
    verdict: Any = None


class UncertainError(GradientError):
    """Nothing can be said about a derivative: the function has no values to compare within a step of the point."""


@dataclass
class Subject:
    """A function to be checked, as a function of its differentiable inputs alone, at one point.

    `call` takes arrays or tensors like `xs` and gives the list of its floating point and complex results. `labels` are
    the inputs' names where they are known, as the function's parameters spell them: `w`, `params['bias']`; `positions`
    say which arguments they are, if there are others between them.
    """

    name: str
    call: Callable[..., list[Any]]
    xs: list[Any]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    labels: Sequence[str] = ()
    positions: Sequence[int] = ()

    @functools.cached_property
    def outputs(self) -> list[Any]:
        """The results at `xs`, as arrays."""
        return [bare(y) for y in self.call(*self.xs)]

    @functools.cached_property
    def finite(self) -> list[Any]:
        """Where the results are finite: elsewhere they have no derivative."""
        return [np.isfinite(to_host(y)) for y in self.outputs]

    def label(self, k: int) -> str:
        """Return what messages call input `k`: `input 0 (w)`."""
        number = self.positions[k] if self.positions else k
        return f"input {number} ({self.labels[k]})" if k < len(self.labels) and self.labels[k] else f"input {number}"

    def like(self, arrays: Sequence[Any]) -> list[Any]:
        """Return random arrays of the shapes, dtypes and libraries of `arrays`, with entries between -1 and 1."""
        made = []
        for a in arrays:
            values = self.rng.uniform(-1, 1, a.shape)
            if a.dtype.kind == "c":
                values = values + 1j * self.rng.uniform(-1, 1, a.shape)
            made.append(library(a).asarray(values.astype(a.dtype)))
        return made

    def cotangents(self) -> list[Any]:
        """Return random cotangents of the results, zero where a result is not finite."""
        found = zip(self.like(self.outputs), self.finite, strict=True)
        return [g if mask.all() else library(g).asarray(np.where(mask, to_host(g), 0)) for g, mask in found]

    def pull(self, gs: Sequence[Any]) -> list[Any]:
        """Return the cotangents of the inputs, as arrays, for cotangents of the results."""
        with explained(f"{self.name} in reverse mode"):
            return [bare(h) for h in vjp(self.call, *self.xs)[1](list(gs))]

    def push(self, ts: Sequence[Any]) -> list[Any]:
        """Return the tangents of the results, as arrays, for tangents of the inputs."""
        with explained(f"{self.name} in forward mode"):
            return [bare(t) for t in jvp(self.call, self.xs, ts)[1]]

    def doubled(self) -> Subject:
        """Return the same function at the same point in double precision, the inputs differences are taken of."""
        xs = [x.astype("complex128" if x.dtype.kind == "c" else "float64") for x in self.xs]
        return dataclasses.replace(self, xs=xs)

    def at(self, xs: Sequence[Any]) -> Subject:
        """Return the same function at another point, with the same random numbers still to come."""
        return dataclasses.replace(self, xs=list(xs))


def bare(value: Any) -> Any:
    """Return the array of a tensor, and anything else as it is."""
    return value.data if isinstance(value, Tensor) else value


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an error that a function or a rule raises into a GradientError that says what raised, where, and why."""
    try:
        yield
    except GradientError:
        raise
    except LostGradientError as error:
        raise GradientError(
            f"{what} raised {type(error).__name__}{line_of(error)}: {error}; on plain arrays it works, on tracked "
            "tensors a gradient would be lost there"
        ) from error
    except Exception as error:
        raise GradientError(f"{what} raised {type(error).__name__}{line_of(error)}: {error}") from error


def subject(function: Callable[..., Any], args: Sequence[Any], name: str | None = None, seed: int = 0) -> Subject:
    """Return `function` at `args` as a subject of checks, or explain why it is none.

    Raises
    ------
    GradientError
        If no argument is differentiable, or the function raises, gives no differentiable or no finite result, or
        gives other results on the second call.
    """
    if not callable(function):
        raise GradientError(f"got {type(function).__name__} as the function to check, expected something to call")
    if name is None:
        name = name_of(function)
    given = leaves(tuple(args))
    values = [as_array(bare(a)) if isinstance(a, (float, complex, Tensor)) or is_array(a) else a for a in given]
    places = [i for i, a in enumerate(values) if is_array(a) and differentiable(a.dtype)]
    if not places:
        got = ", ".join(_described(a) for a in given) or "no arguments"
        raise GradientError(
            f"{name} was given no floating point or complex argument, so there is nothing to check; got {got}"
            + ("; give numbers as floats: 3.0, or array.astype(float)" if given else "")
        )
    paths = labels_of(function, args)

    def call(*xs: Any) -> list[Any]:
        called = list(values)
        for i, x in zip(places, xs, strict=True):
            # Functions are written for tensors: on untracked ones they do what they do on arrays.
            called[i] = x if isinstance(x, Tensor) else wrap(x)
        return differentiable_leaves(function(*unflatten(tuple(args), called)))

    labels = [paths[i] for i in places] if len(paths) == len(values) else []
    made = Subject(name, call, [values[i] for i in places], np.random.default_rng(seed), labels)
    try:
        outputs = made.outputs
    except Exception as error:
        raise GradientError(
            f"{name} raised {type(error).__name__} at these arguments{line_of(error)}: {error}; "
            f"the arguments were {', '.join(_described(a) for a in given)}"
        ) from error
    if not outputs:
        raise GradientError(
            f"{name} gave no tensor or array of floating point or complex numbers; "
            f"it gave {_result(function, args, values)}"
        )
    if any(y.size for y in outputs) and not any(mask.any() for mask in made.finite):
        raise GradientError(f"{name} gave no finite result at these arguments, only nan and inf; check it elsewhere")
    _refuse_chance(made, made.xs)
    # Chance may have no effect at this very point: that of dropout on zeros.
    near = [
        x + t.astype(x.dtype) * library(x).asarray(2.0**-8, x.dtype)
        for x, t in zip(made.xs, made.like(made.xs), strict=True)
    ]
    try:
        with np.errstate(all="ignore"):
            _refuse_chance(made, near)
    except GradientError:
        raise
    except Exception:
        pass  # The function need not be defined there.
    made.rng = np.random.default_rng(seed)
    return made


def _refuse_chance(made: Subject, xs: Sequence[Any]) -> None:
    """Raise GradientError if a function gives two results for the same arguments."""
    name = made.name
    outputs, again = ([bare(y) for y in made.call(*xs)] for _ in range(2))
    if len(again) != len(outputs) or any(a.shape != b.shape for a, b in zip(outputs, again, strict=True)):
        raise GradientError(
            f"{name} gave results of other shapes when called again with the same arguments: it is not deterministic"
        )
    for i, (first, second) in enumerate(zip(outputs, again, strict=True)):
        a, b = to_host(first), to_host(second)
        if not np.array_equal(a, b, equal_nan=True):
            which = f", in result {i}" if len(outputs) > 1 else ""
            place = tuple(map(int, np.argwhere(~((a == b) | (np.isnan(a) & np.isnan(b))))[0]))
            raise GradientError(
                f"{name} gave two results for the same arguments: it is not deterministic; fix its seed"
                f" (first {a[place]:.6g}, then {b[place]:.6g}{which})"
            )


def name_of(function: Any) -> str:
    """Return what messages call a function."""
    row = getattr(function, "op", None)
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return str(getattr(row, "name", None) or getattr(function, "__name__", None) or type(function).__name__)


def differentiable_leaves(result: Any) -> list[Any]:
    """Return the tensors and arrays of floating point and complex numbers in a result."""
    return [y for y in leaves(result) if (isinstance(y, Tensor) or is_array(y)) and differentiable(y.dtype)]


def labels_of(function: Any, args: Sequence[Any]) -> list[str]:
    """Return how a function's parameters spell each leaf of its arguments; empty where they cannot be told."""
    row = getattr(function, "op", None)
    if row is not None:
        names = [] if row.variadic else list(row.inputs)[: len(args)]
        return [path for name, arg in zip(names, args, strict=False) for path in _paths(name, arg)]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []
    names = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(len(args) - len(names))]
        elif parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            names.append(parameter.name)
    if len(names) < len(args):
        return []
    return [path for name, arg in zip(names, args, strict=False) for path in _paths(name, arg)]


def _paths(path: str, tree: Any) -> list[str]:
    """Return the spellings of the leaves of `tree`, which is called `path`."""
    if isinstance(tree, dict):
        return [p for key, entry in tree.items() for p in _paths(f"{path}[{key!r}]", entry)]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return [p for key in tree._fields for p in _paths(f"{path}.{key}", getattr(tree, key))]
    if isinstance(tree, (list, tuple)):
        return [p for i, entry in enumerate(tree) for p in _paths(f"{path}[{i}]", entry)]
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        names = [entry.name for entry in dataclasses.fields(tree) if entry.init]
        return [p for key in names for p in _paths(f"{path}.{key}", getattr(tree, key))]
    return [path] * len(leaves(tree))


def _described(value: Any) -> str:
    """Return a value as a message names it: arrays by shape and dtype."""
    if isinstance(value, Tensor) or is_array(value):
        if value.size <= _SHORT:
            return as_code(bare(value))
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return f"{kind} of shape {value.shape} and dtype {value.dtype}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _result(function: Callable[..., Any], args: Sequence[Any], values: Sequence[Any]) -> str:
    """Return what a function gave in place of tensors, and what to do about it."""
    given = leaves(function(*unflatten(tuple(args), values)))
    if not given:
        return "None; let it return the result"
    if all(isinstance(y, (float, complex)) and not isinstance(y, np.generic) for y in given):
        return f"{_described(given[0])}, which has no history; return the tensor itself, without item() or float()"
    numbers = any(hasattr(y, "dtype") for y in given)
    return ", ".join(map(_described, given[:3])) + ("; integers and booleans have no derivative" if numbers else "")
