"""Workloads that need processes of their own: a very long chain, memory, and import time.

Each process runs `python -m benchmarks.processes TASK LIBRARY WORKLOAD SIZE` and prints what it found as JSON.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .core import OWN, Budget, Check, Row, Settings, Workload
from .frameworks import FRAMEWORKS, Framework
from .networks import WORKLOADS as NETWORKS
from .operations import WORKLOADS as OPERATIONS
from .operations import chain_problem

PROBLEMS = {workload.name: workload for workload in (*OPERATIONS, *NETWORKS)}
ROOT = Path(__file__).parents[1]

# What runs in the processes


def resident(peak: bool = False) -> int:
    """Return the bytes of memory that this process has now, or the most it has had since `forget_peak`.

    Linux tells both; elsewhere this raises OSError.
    """
    found = re.search(r"VmHWM:\s*(\d+)" if peak else r"VmRSS:\s*(\d+)", Path("/proc/self/status").read_text())
    if found is None:
        raise OSError("the system does not tell how much memory a process has")
    return int(found[1]) * 1024


def forget_peak() -> None:
    """Give free memory back to the system, and make what is resident now the peak."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def long_chain(framework: Framework, workload: Workload, pairs: int) -> dict[str, float]:
    """Return seconds and bytes for each operation of a chain of `pairs` multiplications and additions."""
    shape = workload.problem().parameters[0].shape
    framework.prepare(chain_problem(shape, 10))()
    step = framework.prepare(chain_problem(shape, pairs))
    forget_peak()
    before = resident()
    times = []
    for _ in range(max(1, min(100, 100_000 // pairs))):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(times) / (2 * pairs),
        "bytes": (resident(peak=True) - before) / (2 * pairs),
    }


def forward_passes(framework: Any, workload: Workload, passes: int) -> dict[str, float]:
    """Return by how many bytes memory grows over the last nine tenths of `passes` recorded forward passes."""
    forward, _ = framework.tracked(workload.problem())
    before = 0
    for i in range(passes):
        if i == passes // 10:
            gc.collect()
            before = resident()
        forward()
    gc.collect()
    return {"bytes": resident() - before}


def step_memory(framework: Framework, workload: Workload, steps: int) -> dict[str, float]:
    """Return the peak of memory during training steps, beyond data and parameters."""
    problem = workload.problem()
    first, second = framework.prepare(problem), framework.prepare(problem)
    framework.wait(first())  # libraries load code and set up buffers in their first step
    del first
    forget_peak()
    before = resident()
    for _ in range(steps):
        second()
    return {"bytes": resident(peak=True) - before}


TASKS: dict[str, Callable[[Any, Workload, int], dict[str, float]]] = {
    function.__name__: function for function in (long_chain, forward_passes, step_memory)
}

# What starts the processes

IMPORT = "import time, numpy; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def answer(*arguments: str) -> Any:
    """Return what a Python process with these arguments prints, read as JSON."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    return json.loads(done.stdout)


def task(name: str, framework: str, workload: str, size: int) -> dict[str, float]:
    """Return what a task finds in a process of its own."""
    found: dict[str, float] = answer("-m", "benchmarks.processes", name, framework, workload, str(size))
    return found


def sampled(
    row: Row, names: Sequence[str], sample: Callable[[str], float], repeat: int, settings: Settings
) -> dict[str, list[float]]:
    """Return samples for each library, taken in turns; peers that fail are noted in `row`."""
    samples: dict[str, list[float]] = {}
    for _ in settings.progress(range(repeat), row.workload):
        for name in names:
            if name in row.failed:
                continue
            try:
                samples.setdefault(name, []).append(sample(name))
            except RuntimeError as error:
                if name in OWN:
                    raise
                row.failed[name] = str(error)
    return samples


@dataclass(frozen=True)
class Separate:
    """A workload that is measured in processes of its own."""

    name: str
    group: str
    what: str
    measure: Callable[[Separate, Sequence[str], Settings], list[Row]]
    workload: str = ""

    def run(self, frameworks: Sequence[Framework], settings: Settings) -> list[Row]:
        """Return the rows of this workload."""
        return self.measure(self, [framework.name for framework in frameworks], settings)


def measure_deep(self: Separate, names: Sequence[str], settings: Settings) -> list[Row]:
    """Return time and peak memory for each operation of a chain, the time against that of a short chain."""
    short, long = (10, 100) if settings.tiny else (500, 500_000)
    names = [name for name in names if name in ("tapegrad", "hand", "torch")]
    times = Row(self.name, self.what, "operation")
    memory = Row(f"{self.name}-memory", f"peak memory of {self.name}", "operation", "bytes")
    kept: dict[str, list[float]] = {}
    before: list[float] = []

    def sample(name: str) -> float:
        found = task("long_chain", name, self.workload, long)
        kept.setdefault(name, []).append(found["bytes"])
        if name == "tapegrad":
            before.append(task("long_chain", name, self.workload, short)["seconds"])
        return found["seconds"]

    times.take(sampled(times, names, sample, 1 if settings.tiny else 3, settings))
    memory.take(kept)
    if before:
        growth = times.values["tapegrad"] / statistics.median(before)
        times.checks = [Check(growth, 1.3, f"of its time in a chain of {2 * short:,}")]
    return [times, memory]


def measure_inference(self: Separate, names: Sequence[str], settings: Settings) -> list[Row]:
    """Return the growth of memory in a loop of forward passes; one MiB would be ten bytes for each pass."""
    passes = 1000 if settings.tiny else 100_000
    row = Row(self.name, self.what, "loop", "bytes")
    own = [name for name in names if name == "tapegrad"]
    row.take(sampled(row, own, lambda name: task("forward_passes", name, self.workload, passes)["bytes"], 1, settings))
    row.checks = [Check(value / 2**20, 1.0, "MiB of growth") for value in row.values.values()]
    return [row]


def measure_memory(self: Separate, names: Sequence[str], settings: Settings) -> list[Row]:
    """Return the peak memory of a training step."""
    steps, repeat = (1, 1) if settings.tiny else (5, 3)
    row = Row(self.name, self.what, "step", "bytes")
    names = [name for name in names if name in ("tapegrad", "hand", "torch")]
    row.take(
        sampled(row, names, lambda name: task("step_memory", name, self.workload, steps)["bytes"], repeat, settings)
    )
    check = Budget("torch", 1.1).check(row)
    row.checks = [check] if check else []
    return [row]


def measure_import(self: Separate, names: Sequence[str], settings: Settings) -> list[Row]:
    """Return the time that importing takes once NumPy is imported."""
    row = Row(self.name, self.what, "import")
    names = [name for name in names if name != "hand"]
    packages = {name: FRAMEWORKS[name].package for name in names}
    repeat = 1 if settings.tiny else 9
    row.take(sampled(row, names, lambda name: float(answer("-c", IMPORT.format(packages[name]))), repeat, settings))
    row.checks = [Check(value, 0.15, "s") for name, value in row.values.items() if name == "tapegrad"]
    return [row]


WORKLOADS = [
    Separate(
        "deep-0d", "deep", "chain-0d with 1,000,000 operations, a process for each library", measure_deep, "chain-0d"
    ),
    Separate(
        "deep-8", "deep", "chain-8 with 1,000,000 operations, a process for each library", measure_deep, "chain-8"
    ),
    Separate(
        "inference",
        "inference",
        "growth of memory over 100,000 forward passes of the seed network, without no_grad and without backward",
        measure_inference,
        "seed-network",
    ),
    Separate(
        "memory-perceptron",
        "memory",
        "peak of resident memory in training steps of perceptron-large, beyond data and parameters",
        measure_memory,
        "perceptron-large",
    ),
    Separate(
        "memory-transformer",
        "memory",
        "peak of resident memory in training steps of transformer, beyond data and parameters",
        measure_memory,
        "transformer",
    ),
    Separate("import", "import", "importing the library once NumPy is imported", measure_import),
]

if __name__ == "__main__":
    _, name, framework, workload, size = sys.argv
    print(json.dumps(TASKS[name](FRAMEWORKS[framework](), PROBLEMS[workload], int(size))))
