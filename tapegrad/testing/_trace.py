"""What a function did at a point, operation by operation, so that each rule can be checked by itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._array import to_host
from .._mode import ModeContext, Watcher
from .._op import Op
from .._source import Place, caller
from .._tape import FORWARD_ONLY, Record, differentiable
from .._tensor import Tensor, detached
from .._transforms import alias
from ..ops._domains import Domain
from ..ops.creation import tensor
from ._subject import Subject, bare, differentiable_leaves

__all__ = ["Step", "Trace", "hermitian_part", "is_hermitian", "trace"]


@dataclass
class Step:
    """One operation as it happened: its inputs as given, without their history, and its results.

    `parents` are the records of the inputs, None for constants; `record` is what it left on the tape, if anything.
    `used` are, of several results, those that the program went on with: of eigenvectors that nobody asks for, the
    derivative need not exist.
    """

    op: Op
    inputs: list[Any]
    parents: list[Record | None]
    tensors: list[bool]
    call: tuple[Any, dict[str, Any]]
    outs: tuple[Any, ...]
    record: Record | None
    place: Place | None
    used: set[int] = field(default_factory=set)

    @property
    def places(self) -> list[int]:
        """The positions of the inputs that its rules differentiate by."""
        formulas = self.op.formulas
        return [
            k
            for k, (x, parent) in enumerate(zip(self.inputs, self.parents, strict=True))
            if parent is not None
            and parent.position > FORWARD_ONLY
            and differentiable(x.dtype)
            and formulas[0 if self.op.variadic else k] is not None
        ]

    def name(self, k: int) -> str:
        """Return what the rule calls input `k`."""
        return f"{self.op.inputs[0]}[{k}]" if self.op.variadic else self.op.inputs[k]

    def subject(self, xs: Sequence[Any] | None = None) -> Subject:
        """Return this operation alone, at the values recorded (or other inputs `xs`, constants too), for checks."""
        given = list(self.inputs if xs is None else xs)
        places = self.places
        symmetric = {k for k in places if is_hermitian(self.op, k) and _holds(given[k])}

        def call(*xs: Any) -> list[Any]:
            inputs = list(given)
            for k, x in zip(places, xs, strict=True):
                inputs[k] = hermitian_part(x) if k in symmetric else x
            args, kwargs = self.call
            result = self.op._call(inputs, args, dict(kwargs))
            if len(self.op.outputs) > 1:
                result = [y for i, y in enumerate(result) if i in self.used]
            return differentiable_leaves(result)

        labels = [self.name(k) if len(self.inputs) > 1 else "" for k in places]
        moving = [np.array(given[k]) if isinstance(given[k], np.generic) else given[k] for k in places]
        return Subject(self.op.name, call, moving, labels=labels, positions=places)


@functools.lru_cache(1024)
def _keywords(op: Op) -> frozenset[str] | None:
    """Return the names of what an op's function takes, None if they cannot be told or are any."""
    try:
        parameters = inspect.signature(op.function).parameters.values()
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else frozenset(p.name for p in parameters)


class _Watching(Watcher):
    """Writes down what is computed."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def computed(
        self, op: Op, inputs: Sequence[Any], call: Any, outs: Sequence[Any], record: Record | None, seconds: float
    ) -> None:
        tensors = [isinstance(x, Tensor) for x in inputs]
        parents = [x._record if isinstance(x, Tensor) else None for x in inputs]
        args, kwargs = call
        taken = _keywords(op)
        # Some ops add to their settings what the forward pass has found besides, to save work in the rule.
        kept = (tuple(args), {name: value for name, value in kwargs.items() if taken is None or name in taken})
        arrays = [detached(x) for x in inputs]
        self.steps.append(Step(op, arrays, parents, tensors, kept, tuple(outs), record, caller()))


@dataclass
class Trace:
    """The steps of a function at one point, its inputs there, and its results."""

    point: Subject
    inputs: list[Tensor]
    steps: list[Step]
    results: list[Any]

    @functools.cached_property
    def _origins(self) -> dict[Record, str]:
        found: dict[Record, str] = {}
        for k, x in enumerate(self.inputs):
            if x._record is not None:
                label = self.point.labels[k] if k < len(self.point.labels) else ""
                found[x._record] = f"{label or f'input {k}'} of {self.point.name}"
        for number, step in enumerate(self.steps, 1):
            if step.record is not None:
                where = f" at {step.place}" if step.place else ""
                found[step.record] = f"the result of record {number}, {step.op.name}{where}"
        return found

    def origin(self, record: Record | None) -> str:
        """Return what made a tracked value: `w of loss`, or `the result of record 3, tanh at model.py:12, in loss`."""
        while record is not None and record not in self._origins:
            # One of several results is a record of its own, and so is the alias of an input.
            record = next((p for p in record.parents() if p is not None), None)
        return "" if record is None else self._origins[record]


def trace(point: Subject) -> Trace:
    """Return what the function of `point` does there, on tracked tensors."""
    inputs = [alias(tensor(x, requires_grad=True)) for x in point.xs]
    watching = _Watching()
    with ModeContext(recording=True, watchers=(watching,)):
        results = point.call(*inputs)
    made = {step.record: step for step in watching.steps if step.record is not None}
    for record in [p for step in watching.steps for p in step.parents] + [
        y._record for y in results if isinstance(y, Tensor)
    ]:
        # One of several results is a record of its own, which names its place.
        if record is None or record.op is None or not record.op.name.startswith("result "):
            continue
        parent = next(iter(record.parents()), None)
        if parent is not None and (whole := made.get(parent)) is not None:
            whole.used.add(int(record.op.name.removeprefix("result ")))
    return Trace(point, inputs, watching.steps, results)


def is_hermitian(op: Op, k: int) -> bool:
    """Return whether a row says that input `k` is a Hermitian matrix: both triangles of such an input move together."""
    for domain in (op.on, *(example.on for example in op.cases or ())):
        entries = tuple(domain) if isinstance(domain, (tuple, list)) else (domain,)
        found = entries[min(k, len(entries) - 1)] if entries else None
        if isinstance(found, Domain) and found.hermitian:
            return True
    return False


def _holds(x: Any) -> bool:
    """Return whether matrices are Hermitian, as far as rounding shows."""
    a = to_host(bare(x))
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        return False
    return bool(np.allclose(a, np.conj(np.swapaxes(a, -1, -2)), rtol=1e-4, atol=1e-6))


def hermitian_part(x: Any) -> Any:
    """Return the Hermitian part of matrices."""
    return (x + np.conj(np.swapaxes(x, -1, -2))) / 2
