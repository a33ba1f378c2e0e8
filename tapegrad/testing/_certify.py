"""Certifying an installation: every op, in every case, on this machine's array libraries, by several processes.

`certified` yields an outcome per op as it is done; ops are named by their names, so that other processes find them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from typing import Any

from .._array import cupy
from .._op import Op
from ._standin import strict
from ._subject import GradientError
from ._sweep import Check, Entry, anywhere, cases_of, checks, is_drawable, ops

__all__ = ["BACKENDS", "Failure", "Outcome", "Plan", "certified", "chapter_of", "known_ops"]

BACKENDS = ("numpy", "strict", "cupy")
"""Where the checks run: NumPy, the stand-in for CuPy on NumPy, and a CUDA device."""

_HOST_LAWS = ("forward", "first", "second", "precision", "layouts")
_ANYWHERE = 200


@dataclass(frozen=True)
class Plan:
    """What is to be checked: how deeply, in which dtypes (their characters; None for all), and on what."""

    profile: str = "quick"
    dtypes: str | None = None
    backends: tuple[str, ...] = ("numpy", "strict")


@dataclass
class Failure:
    """A check that failed: of which case, by which law, in which dtypes, and what it said."""

    case: str
    law: str
    dtypes: str
    message: str


@dataclass
class Outcome:
    """What was found about one op."""

    op: str
    chapter: str
    kind: str
    cases: int = 0
    checks: dict[str, int] = field(default_factory=dict)
    refused_by_device: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return what a JSON report says about the op."""
        return asdict(self)


@functools.cache
def known_ops() -> dict[str, Op]:
    """Return everything that is swept, by name."""
    return {op.name: op for op in ops()}


def chapter_of(op: Op) -> str:
    """Return the chapter of the package that holds an op's row."""
    written = next((f for f in op.formulas if f is not None), op.public)
    module = (getattr(written, "__module__", None) or "").split(".")
    return module[2] if module[:2] == ["tapegrad", "ops"] and len(module) > 2 else "engine"


def certified(names: Sequence[str], plan: Plan, jobs: int = 1) -> Iterator[Outcome]:
    """Yield the outcome of each op, in the order in which they are done."""
    if jobs <= 1:
        for name in names:
            yield certify_op(name, plan)
        return
    # The ops with the most cases go first, so that no process is left with a long one at the end.
    order = sorted(names, key=lambda name: -len(cases_of(known_ops()[name])))
    with _single_threaded(), ProcessPoolExecutor(min(jobs, len(order)), get_context("spawn")) as pool:
        futures = {pool.submit(certify_op, name, plan): name for name in order}
        try:
            for future in as_completed(futures):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    op = known_ops()[futures[future]]
                    lost = Failure("all", "process", "", "the process that checked it died (out of memory, or killed)")
                    yield Outcome(op.name, chapter_of(op), op.kind, failures=[lost])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Let processes started here use one thread each for linear algebra, unless the user has said otherwise."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    added = [name for name in names if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def certify_op(name: str, plan: Plan) -> Outcome:
    """Make all checks of one op, and return what they found."""
    op = known_ops()[name]
    found = Outcome(op.name, chapter_of(op), op.kind)
    started = time.perf_counter()
    modules = [strict] if "strict" in plan.backends else []
    modules += [cupy()] if "cupy" in plan.backends else []
    laws = (*_HOST_LAWS, "device") if "numpy" in plan.backends else ("device",)
    with warnings.catch_warnings():
        # Rules are silent where NumPy's own call is.
        warnings.simplefilter("error", RuntimeWarning)
        for example in cases_of(op):
            entry = Entry(op, example)
            found.cases += 1
            for check in checks(entry, plan.profile, laws, plan.dtypes, modules):
                _make(check.run, str(entry), check, found)
        if plan.profile == "deep" and "numpy" in plan.backends and is_drawable(op) and _has_hypothesis():
            _make(lambda: _drawn(op), op.name, Check("anywhere", "d", lambda: None), found)
    found.seconds = round(time.perf_counter() - started, 3)
    return found


def _make(run: Callable[[], Any], case: str, check: Check, found: Outcome) -> None:
    found.checks[check.law] = found.checks.get(check.law, 0) + 1
    try:
        if run() is False:
            found.refused_by_device += 1
    except GradientError as error:
        found.failures.append(Failure(case, check.law, check.dtypes, str(error)))
    except Exception as error:
        found.failures.append(Failure(case, check.law, check.dtypes, f"{type(error).__name__}: {error}"))


def _has_hypothesis() -> bool:
    try:
        import hypothesis  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def _drawn(op: Op) -> None:
    """Check an elementwise op at arrays that hypothesis draws."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]

    @settings(max_examples=_ANYWHERE, deadline=None, database=None, suppress_health_check=slow)
    @given(data=st.data())
    def check(data: Any) -> None:
        anywhere(op, data.draw)

    check()
