"""Workloads beyond one gradient: Hessian-vector products, checkpointed loops, forward mode over long loops."""

from __future__ import annotations

import functools
import gc
import math
import statistics
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .core import Check, Row, Settings, disagreement, interleaved
from .frameworks import Framework, Problem, Step
from .networks import perceptron_problem
from .processes import resident


@dataclass(frozen=True)
class Higher:
    """A workload that steps of `frameworks` do not cover, measured in this process."""

    name: str
    group: str
    what: str
    measure: Callable[[Higher, Sequence[Framework], Settings], list[Row]]

    def run(self, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
        """Return the rows of this workload."""
        return self.measure(self, frameworks, settings)


class Beside(Framework):
    """Something else that is timed in turns with the libraries, under a name of its own."""

    def __init__(self, name: str) -> None:
        self.name = name


def own(frameworks: Sequence[Framework]) -> Any:
    """Return tapegrad among the libraries, or None."""
    return next((framework for framework in frameworks if framework.name == "tapegrad"), None)


# Hessian-vector products


def tapegrad_hvp(framework: Any, problem: Problem, tangents: Sequence[np.ndarray]) -> Step:
    """Return the product by `tapegrad.hvp`."""
    loss = functools.partial(problem.loss, framework.namespace, *map(framework.constant, problem.constants))
    parameters, directions = (
        tuple(map(framework.constant, problem.parameters)),
        tuple(map(framework.constant, tangents)),
    )
    return lambda: framework.tapegrad.hvp(loss, parameters, directions)


def tapegrad_gradient(framework: Any, problem: Problem) -> Step:
    """Return one gradient by `tapegrad.grad`."""
    loss = functools.partial(problem.loss, framework.namespace, *map(framework.constant, problem.constants))
    parameters = tuple(map(framework.constant, problem.parameters))
    gradient = framework.tapegrad.grad(loss, tuple(range(len(parameters))))
    return lambda: gradient(*parameters)


def torch_hvp(framework: Any, problem: Problem, tangents: Sequence[np.ndarray]) -> Step:
    """Return the product by PyTorch's double backward."""
    grad = framework.torch.autograd.grad
    constants, directions = list(map(framework.constant, problem.constants)), list(map(framework.constant, tangents))
    parameters = list(map(framework.tensor, problem.parameters))

    def step() -> Sequence[Any]:
        value = problem.loss(framework.namespace, *constants, *parameters)
        return grad(grad(value, parameters, create_graph=True), parameters, directions)

    return step


def jax_hvp(framework: Any, problem: Problem, tangents: Sequence[np.ndarray]) -> Step:
    """Return the product by forward over reverse mode, as JAX's documentation has it."""
    jax = framework.jax
    constants, parameters, directions = (
        tuple(map(jax.numpy.asarray, arrays)) for arrays in (problem.constants, problem.parameters, tangents)
    )
    gradient = jax.grad(lambda p: problem.loss(framework.namespace, *constants, *p))
    return lambda: jax.jvp(gradient, (parameters,), (directions,))[1]


PRODUCTS: dict[str, Callable[..., Step]] = {"tapegrad": tapegrad_hvp, "torch": torch_hvp, "jax": jax_hvp}


def measure_hvp(self: Higher, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
    """Return the time of a Hessian-vector product, against PyTorch's and against one gradient of tapegrad."""
    problem = perceptron_problem(*((2, 7, 5, 5, 4) if settings.tiny else (256, 784, 512, 512, 10)))
    rng = np.random.default_rng(1)
    tangents = [rng.standard_normal(p.shape).astype(p.dtype) for p in problem.parameters]
    row = Row(self.name, self.what, "product")
    steps: dict[Framework, Step] = {
        framework: PRODUCTS[framework.name](framework, problem, tangents)
        for framework in frameworks
        if framework.name in PRODUCTS
    }
    row.refused = disagreement(
        {framework.name: [np.array(framework.host(h)) for h in step()] for framework, step in steps.items()}
    )
    if row.refused or not steps:
        return [row]
    library = own(frameworks)
    if library is not None:
        steps[Beside("one gradient")] = tapegrad_gradient(library, problem)
    samples = interleaved(steps, self.name, settings)
    gradient = samples.pop("one gradient", None)
    row.take(samples)
    if gradient is not None:
        found = row.values["tapegrad"] / statistics.median(gradient)
        row.checks = [Check(found, 2.6, "of one gradient")]
    if "torch" in row.ratios:
        row.checks.append(Check(row.ratios["torch"], 1.2, "of torch"))
    return [row]


# Loops


def looped(tapegrad: Any, x: Any, w: Any, steps: int, segment: int | None) -> Any:
    """Return the sum after `steps` steps of tanh(x * w), in checkpointed segments if their length is given."""

    def run(x: Any, count: int) -> Any:
        for _ in range(count):
            x = np.tanh(x * w)
        return x

    if segment is None:
        return np.sum(run(x, steps))
    part = tapegrad.checkpoint(run)
    for first in range(0, steps, segment):
        x = part(x, min(segment, steps - first))
    return np.sum(x)


def measure_checkpoint(self: Higher, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
    """Return time and peak memory of a gradient of a loop in checkpointed segments, against the loop that keeps all.

    A step keeps one array of the state's size: tanh's result, which is the factor of `w` in the next step too.
    """
    library = own(frameworks)
    times = Row(self.name, self.what, "loop")
    memory = Row(f"{self.name}-memory", f"peak memory of {self.name}", "loop", "bytes")
    if library is None:
        return [times, memory]
    steps, size = (16, 64) if settings.tiny else (1000, 16384)
    segment = math.isqrt(steps)
    tapegrad = library.tapegrad
    x, w = (tapegrad.tensor(library.library.array(np.linspace(0.5, 1.5, size)), requires_grad=True) for _ in range(2))

    def step(segment: int | None) -> Sequence[Any]:
        x.grad = w.grad = None
        looped(tapegrad, x, w, steps, segment).backward()
        return [x.grad, w.grad]

    found = {
        name: [np.array(library.host(g)) for g in step(length)] for name, length in (("one", segment), ("other", None))
    }
    times.refused = memory.refused = disagreement(found)
    if times.refused:
        return [times, memory]
    plain = Beside("all kept")
    samples = interleaved({library: lambda: step(segment), plain: lambda: step(None)}, self.name, settings)
    everything = statistics.median(samples.pop(plain.name))
    times.take(samples)
    times.checks = [Check(times.values["tapegrad"] / everything, 1.5, "of the loop that keeps all")]
    gc.collect()
    tracemalloc.start()
    step(segment)
    memory.take({"tapegrad": [float(tracemalloc.get_traced_memory()[1])]})
    tracemalloc.stop()
    kept = memory.values["tapegrad"] / x.nbytes
    memory.checks = [Check(kept / math.sqrt(steps), 2.2, "sqrt(n) steps' residuals")]
    return [times, memory]


def measure_forward(self: Higher, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
    """Return by how much memory grows over the last nine tenths of a long loop in forward mode."""
    library = own(frameworks)
    row = Row(self.name, self.what, "loop", "bytes")
    if library is None:
        return [row]
    steps = 1000 if settings.tiny else 100_000
    sizes: list[int] = []

    def loop(x: Any) -> Any:
        for i in range(steps):
            if i in (steps // 10, steps - 1):
                gc.collect()
                sizes.append(resident())
            x = np.sin(x)
        return x

    x = library.library.ones(1000)
    library.tapegrad.jvp(loop, (x,), (x,))
    row.take({"tapegrad": [float(sizes[1] - sizes[0])]})
    row.checks = [Check(row.values["tapegrad"] / 2**20, 1.0, "MiB of growth")]
    return [row]


WORKLOADS = [
    Higher(
        "hvp-perceptron",
        "higher",
        "a Hessian-vector product of 784-512-512-10, batch 256, float32",
        measure_hvp,
    ),
    Higher(
        "checkpoint-loop",
        "higher",
        "a gradient of 1,000 steps of tanh(x * w) on 16,384 numbers in checkpointed segments of 31",
        measure_checkpoint,
    ),
    Higher(
        "forward-loop",
        "higher",
        "growth of memory over 100,000 steps of sin on 1,000 numbers in forward mode",
        measure_forward,
    ),
]
