"""Workloads for a CUDA device: host's time per operation, steps, waits, memory. `devices` runs them there."""

from __future__ import annotations

import contextlib
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .core import Budget, Check, Row, Settings, Workload
from .frameworks import Eager, Framework, Problem, Step
from .networks import perceptron_problem, recurrent_problem, seed_network_problem, transformer_problem
from .operations import chain_problem, elementwise_problem

# What only a device can tell


def library(framework: Framework) -> Any:
    """Return numpy, cupy, or the stand-in for cupy that a framework computes with; None for PyTorch."""
    return getattr(framework, "library", None)


def synchronizations(framework: Framework, step: Step) -> int:
    """Return how often a step waits for the device; CuPy tells only whether it does at all, by 1."""
    module = library(framework)
    if module.__name__ == "strict":
        from tapegrad.testing import counting

        with counting() as counts:
            step()
        return counts.synchronizations
    if module.__name__ != "cupy":
        return 0
    import cupyx

    try:
        with contextlib.ExitStack() as stack:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it says that it may miss waits outside CuPy
                stack.enter_context(cupyx.allow_synchronize(False))
            step()
    except cupyx.DeviceSynchronized:
        return 1
    return 0


@contextlib.contextmanager
def peak_memory(framework: Framework) -> Iterator[list[int]]:
    """Return a context that appends to its list the most bytes that arrays took in it, beyond what they took before.

    On a device that is what CuPy's pool gave out, and PyTorch's own figure; on the host what NumPy asked for.
    """
    found: list[int] = []
    module = library(framework)
    if module is not None and module.__name__ == "cupy":
        hook = _hook(module)
        with hook:
            yield found
        found.append(hook.peak)
    elif module is None and getattr(framework, "device", "cpu") != "cpu":
        cuda = framework.torch.cuda  # type: ignore[attr-defined]  # only PyTorch has no library
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        yield found
        found.append(cuda.max_memory_allocated() - before)
    else:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            yield found
            found.append(tracemalloc.get_traced_memory()[1] - before)
        finally:
            tracemalloc.stop()


def _hook(cupy: Any) -> Any:
    """Return a hook of CuPy's memory pool that knows the most bytes that were given out under it."""

    class Peak(cupy.cuda.MemoryHook):  # type: ignore[misc]  # cupy has no types
        name = "peak"
        used = peak = 0

        def malloc_postprocess(self, **event: Any) -> None:
            self.used += event["mem_size"]
            self.peak = max(self.peak, self.used)

        def free_postprocess(self, **event: Any) -> None:
            self.used -= event["mem_size"]

    return Peak()


# Workloads


@dataclass(frozen=True)
class Host:
    """What recording costs the host: operations are handed to the device, and nobody waits for it meanwhile."""

    name: str
    group: str
    what: str
    problem: Callable[[], Problem]
    tiny: Callable[[], Problem]
    limit: float

    def run(self, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
        """Return the host's seconds for each operation of a forward pass, recorded and not."""
        problem = self.tiny() if settings.tiny else self.problem()
        count = problem.operations or 1
        row = Row(self.name, self.what, "operation")
        passes: dict[Framework, Callable[[], Any]] = {}
        for framework in frameworks:
            if isinstance(framework, Eager):
                passes[framework], _ = framework.tracked(problem)
            elif library(framework) is not None:
                passes[framework] = _plain(framework, problem)
        samples: dict[str, list[float]] = {framework.name: [] for framework in passes}
        for _ in settings.progress(range(settings.repeat + 3), self.name):
            for framework, run in passes.items():
                framework.wait(None)
                start = time.perf_counter()
                result = run()
                samples[framework.name].append((time.perf_counter() - start) / count)
                framework.wait(result)
        # The first rounds compile kernels and fill the pool.
        row.take({name: times[3:] for name, times in samples.items()})
        check = Budget("hand", self.limit, more=True).check(row)
        row.checks = [check] if check else []
        return [row]


def _plain(framework: Framework, problem: Problem) -> Callable[[], Any]:
    """Return the loss of `problem` in plain CuPy or NumPy, through NumPy's functions as tensors are."""
    module = library(framework)
    arrays = [module.array(a)[()] for a in (*problem.constants, *problem.parameters)]
    return lambda: problem.loss(module, *arrays)


@dataclass(frozen=True)
class Waits:
    """How often a training step waits for the device."""

    name: str
    group: str
    what: str
    problem: Callable[[], Problem]
    tiny: Callable[[], Problem]

    def run(self, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
        """Return a row that says how often tapegrad's step waits; it may not."""
        problem = self.tiny() if settings.tiny else self.problem()
        row = Row(self.name, self.what, "step")
        for framework in frameworks:
            if framework.name == "tapegrad":
                step = framework.prepare(problem)
                framework.wait(step())
                row.checks = [Check(synchronizations(framework, step), 0, "synchronizations in a step")]
        return [row]


@dataclass(frozen=True)
class Peak:
    """The most memory that a training step takes."""

    name: str
    group: str
    what: str
    problem: Callable[[], Problem]
    tiny: Callable[[], Problem]

    def run(self, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
        """Return the peak of memory in training steps, beyond data and parameters."""
        problem = self.tiny() if settings.tiny else self.problem()
        row = Row(self.name, self.what, "step", "bytes")
        samples: dict[str, list[float]] = {}
        for framework in frameworks:
            if library(framework) is None and getattr(framework, "device", "cpu") == "cpu":
                continue  # what PyTorch takes on the host, nobody here can tell
            step = framework.prepare(problem)
            framework.wait(step())
            with peak_memory(framework) as found:
                for _ in range(3):
                    framework.wait(step())
            samples[framework.name] = [float(bytes_) for bytes_ in found]
        row.take(samples)
        check = Budget("torch", 1.0).check(row)
        row.checks = [check] if check else []
        return [row]


SMALL, LARGE = [Budget("torch", 1.5)], [Budget("torch", 1.05)]

_STEPS: list[tuple[str, str, Callable[[], Problem], Callable[[], Problem], list[Budget]]] = [
    (
        "seed-network",
        "an epoch of the 3-4-2 perceptron",
        seed_network_problem,
        seed_network_problem,
        SMALL,
    ),
    (
        "perceptron-small",
        "a training step of 64-128-64-10, batch 64, float32",
        partial(perceptron_problem, 64, 64, 128, 64, 10),
        partial(perceptron_problem, 3, 4, 5, 6, 3),
        SMALL,
    ),
    (
        "perceptron-middle",
        "a training step of 784-512-512-10, batch 256, float32",
        partial(perceptron_problem, 256, 784, 512, 512, 10),
        partial(perceptron_problem, 2, 7, 5, 5, 4),
        SMALL,
    ),
    (
        "perceptron-large",
        "a training step of 4096-8192-8192-1000, batch 4096, float32",
        partial(perceptron_problem, 4096, 4096, 8192, 8192, 1000),
        partial(perceptron_problem, 2, 7, 5, 5, 4),
        LARGE,
    ),
    (
        "recurrent",
        "50 steps of h = tanh(x[t] wx + h wh + b), hidden 64, batch 32, float32, forward and backward",
        partial(recurrent_problem, 50, 32, 64, 64),
        partial(recurrent_problem, 3, 2, 4, 5),
        SMALL,
    ),
    (
        "transformer-small",
        "a block of width 64, 4 heads, 64 tokens, batch 8, float32, forward and backward",
        partial(transformer_problem, 8, 64, 64, 4),
        partial(transformer_problem, 2, 3, 8, 2),
        SMALL,
    ),
    (
        "transformer-large",
        "a block of width 1024, 16 heads, 1024 tokens, batch 16, float32, forward and backward",
        partial(transformer_problem, 16, 1024, 1024, 16),
        partial(transformer_problem, 2, 3, 8, 2),
        LARGE,
    ),
    (
        "elementwise",
        "sum(tanh(x * w + b) * sigmoid(x * b - w)) on 30,000,000 elements, float32",
        partial(elementwise_problem, 30_000_000, "float32"),
        partial(elementwise_problem, 7, "float32"),
        [],
    ),
]

WORKLOADS: list[Any] = [
    Host(
        "host-chain",
        "host",
        "1,000 multiplications and additions of 8 elements, forward: the host's time for each, recorded and by CuPy",
        partial(chain_problem, (8,), 500),
        partial(chain_problem, (8,), 3),
        3.0,
    ),
    Workload(
        "chain",
        "host",
        "the same, forward and backward, until the device has finished",
        partial(chain_problem, (8,), 500),
        partial(chain_problem, (8,), 3),
        SMALL,
    ),
    *(Workload(name, "steps", what, problem, tiny, budgets) for name, what, problem, tiny, budgets in _STEPS),
    *(Waits(f"waits-{name}", "waits", what, problem, tiny) for name, what, problem, tiny, _ in _STEPS),
    *(
        Peak(f"peak-{name}", "peak", what, problem, tiny)
        for name, what, problem, tiny, _ in _STEPS
        if name.endswith("large")
    ),
]
"""What is measured on a CUDA device instead of the workloads of the host."""
