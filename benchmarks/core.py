"""What is measured and how: workloads, budgets, agreement of gradients, and interleaved timing."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .frameworks import Framework, Problem, Step

TOLERANCE = {"float64": 1e-6, "float32": 1e-4}
"""The largest difference of two gradients, relative to the largest entry of the parameter's gradient."""

OWN = ("tapegrad", "hand")
"""What must run; peers that fail are only noted."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes
    ----------
    repeat : samples of each library
    least : seconds that one sample takes at least
    tiny : use toy sizes, to see that everything runs
    threads, device : for every library
    progress : wraps the iteration over rounds, to show progress
    """

    repeat: int = 15
    least: float = 0.02
    tiny: bool = False
    threads: int = 1
    device: str = "cpu"
    progress: Callable[[Iterable[int], str], Iterable[int]] = lambda rounds, _: rounds


@dataclass(frozen=True)
class Check:
    """A number that was found, beside the most that it may be."""

    found: float
    limit: float
    unit: str

    @property
    def kept(self) -> bool:
        """Whether the budget is kept."""
        return self.found <= self.limit

    def __str__(self) -> str:
        return f"{self.found:.3g} {self.unit} (at most {self.limit:.3g}) {'ok' if self.kept else 'OVER'}"


@dataclass
class Row:
    """What was measured for one workload: a value for each library, and the checks of its budgets.

    Values are in seconds or in bytes (`unit`), for each `per`. A row whose gradients disagree has no values and says
    so in `refused`.
    """

    workload: str
    what: str
    per: str
    unit: str = "s"
    values: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    def take(self, samples: Mapping[str, Sequence[float]]) -> None:
        """Keep the samples and their medians."""
        self.samples = {name: list(found) for name, found in samples.items()}
        self.values = {name: statistics.median(found) for name, found in self.samples.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """What tapegrad's value is, divided by that of each other library."""
        own = self.values.get("tapegrad")
        return {name: own / value for name, value in self.values.items() if own and value and name != "tapegrad"}


@dataclass(frozen=True)
class Budget:
    """What tapegrad may cost: at most `limit` times `against`, or at most `limit` microseconds more than it."""

    against: str
    limit: float
    more: bool = False

    def check(self, row: Row) -> Check | None:
        """Return whether the row keeps this budget, None if the other library was not measured."""
        if self.against not in row.ratios:
            return None
        if self.more:
            found = (row.values["tapegrad"] - row.values[self.against]) * 1e6
            return Check(found, self.limit, f"us more than {self.against}")
        return Check(row.ratios[self.against], self.limit, f"of {self.against}")


@dataclass(frozen=True)
class Workload:
    """A problem that every library computes, timed in turns; `tiny` is the same problem in toy size."""

    name: str
    group: str
    what: str
    problem: Callable[[], Problem]
    tiny: Callable[[], Problem]
    budgets: Sequence[Budget] = ()

    def run(self, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
        """Return the row of this workload, refused if any two libraries disagree about the gradients."""
        problem = self.tiny() if settings.tiny else self.problem()
        row = Row(self.name, self.what, "operation" if problem.operations else "step")
        found: dict[Framework, list[np.ndarray]] = {}
        for framework in frameworks:
            try:
                found[framework] = gradients(problem, framework)
            except Exception as error:
                if framework.name in OWN:
                    raise
                row.failed[framework.name] = f"{type(error).__name__}: {error}"
        row.refused = disagreement({framework.name: grads for framework, grads in found.items()})
        if row.refused:
            return [row]
        samples = interleaved({framework: framework.prepare(problem) for framework in found}, self.name, settings)
        row.take({name: [t / (problem.operations or 1) for t in times] for name, times in samples.items()})
        row.checks = [check for budget in self.budgets if (check := budget.check(row))]
        return [row]


def gradients(problem: Problem, framework: Framework) -> list[np.ndarray]:
    """Return the gradients that `framework` finds in the first step, and in the second, after an update."""
    step = framework.prepare(problem)
    return [np.array(framework.host(g)) for _ in range(2) for g in step()]


def disagreement(found: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Return a sentence about the first library whose gradients are not those of the one before it, or nothing."""
    names = list(found)
    for first, second in itertools.pairwise(names):
        for k, (a, b) in enumerate(zip(found[first], found[second], strict=True)):
            who = f"gradients disagree: number {k} of {first} and {second}"
            if a.shape != b.shape:
                return f"{who} have shapes {a.shape} and {b.shape}"
            error = np.max(np.abs(a - b), initial=0)
            size = np.max(np.abs(b), initial=0)
            if not error <= max(TOLERANCE[a.dtype.name], TOLERANCE[b.dtype.name]) * size:
                return f"{who} differ by {error:.1e}, the largest entry being {size:.1e}"
    return ""


def interleaved(steps: Mapping[Framework, Step], title: str, settings: Settings) -> dict[str, list[float]]:
    """Return seconds per step for each library, sampled in turns so that noise hits all of them alike.

    Each round begins with another library. Before each sample the garbage of the others is collected and one step is
    run untimed, so that nobody pays for what others left in memory and in caches; during the sample Python's garbage
    collector works as it does for users.
    """
    counts = {framework: _calibrated(framework, step, settings.least) for framework, step in steps.items()}
    samples: dict[str, list[float]] = {framework.name: [] for framework in steps}
    order = list(steps)
    for i in settings.progress(range(settings.repeat), title):
        first = i % len(order)
        for framework in order[first:] + order[:first]:
            gc.collect()
            framework.wait(steps[framework]())
            samples[framework.name].append(_timed(framework, steps[framework], counts[framework]))
    return samples


def _timed(framework: Framework, step: Step, count: int) -> float:
    """Return the seconds that each of `count` steps takes."""
    result: Any = None
    start = time.perf_counter()
    for _ in range(count):
        result = step()
    framework.wait(result)
    return (time.perf_counter() - start) / count


def _calibrated(framework: Framework, step: Step, least: float) -> int:
    """Return how many steps make a sample of at least `least` seconds; this also warms everything up."""
    count = 1
    while (taken := _timed(framework, step, count) * count) < least:
        count *= min(10, max(2, round(1.2 * least / max(taken, 1e-9))))
    return count
