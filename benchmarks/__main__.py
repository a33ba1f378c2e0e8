"""Measure tapegrad beside the same arithmetic by hand in NumPy, and beside each peer that is installed.

Every workload is computed by all libraries, which must agree about the gradients; then they are timed in turns, in
one process, on the same number of threads. A cell of the table is the median, and in parentheses tapegrad's median
divided by it: below 1 tapegrad is faster. Budgets that tapegrad must keep are marked ok or OVER.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from . import set_threads

if TYPE_CHECKING:
    from .core import Row

README = Path(__file__).with_name("README.md")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    made.add_argument("--list", action="store_true", help="list the workloads, and measure nothing")
    made.add_argument(
        "--only", metavar="NAMES", help="workloads or groups, by beginnings, as in chains,perceptron-small"
    )
    made.add_argument(
        "--ops",
        metavar="NAMES",
        nargs="?",
        const="",
        help="tell each op's backward pass over its forward pass instead; all, or by beginnings: max,clip",
    )
    made.add_argument(
        "--libraries", metavar="NAMES", help="tapegrad, hand and peers, as in tapegrad,torch; default all"
    )
    made.add_argument("--repeat", type=int, default=15, help="samples of each library (default 15)")
    made.add_argument("--least", type=float, default=0.02, metavar="SECONDS", help="length of a sample (default 0.02)")
    made.add_argument("--threads", type=int, default=1, help="threads of every library (default 1)")
    made.add_argument(
        "--device", choices=["cpu", "cuda"], default="cpu", help="cuda: CuPy arrays, and peers that have a device"
    )
    made.add_argument("--tiny", action="store_true", help="toy sizes: a quick look whether everything runs and agrees")
    made.add_argument("--json", metavar="FILE", type=Path, help="write everything, samples included, to a file")
    made.add_argument("--markdown", action="store_true", help="print the results as a Markdown table at the end")
    made.add_argument("--readme", action="store_true", help="put that table into benchmarks/README.md")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 1 if a row was refused."""
    command = parser()
    options = command.parse_args(arguments)
    if options.repeat < 1 or options.threads < 1 or options.least <= 0:
        command.error("--repeat, --threads and --least must be positive")
    set_threads(options.threads)

    if options.ops is not None:
        return measure_ops(options, command)

    # Only now may numpy be imported: the libraries read the number of threads when they are loaded.
    from . import cuda, frameworks, higher, networks, operations, processes, report
    from .core import Settings

    workloads = [*operations.WORKLOADS, *networks.WORKLOADS, *higher.WORKLOADS, *processes.WORKLOADS]
    if options.device != "cpu":
        workloads = cuda.WORKLOADS
    if options.only:
        wanted = [word.strip() for word in options.only.split(",")]
        for word in wanted:
            if not any(w.name.startswith(word) or w.group.startswith(word) for w in workloads):
                command.error(f"got --only {word}, which is the beginning of no workload; --list names them")
        workloads = [w for w in workloads if any(w.name.startswith(x) or w.group.startswith(x) for x in wanted)]
    if options.list:
        for workload in workloads:
            print(f"{workload.name:<24}{workload.group:<14}{workload.what}")
        return 0
    names = frameworks.installed(options.device)
    if options.libraries:
        wanted = [word.strip() for word in options.libraries.split(",")]
        for word in wanted:
            if word not in names:
                command.error(f"got --libraries {word}, expected some of {', '.join(names)} (those that are installed)")
        names = [name for name in names if name in wanted]

    settings = Settings(
        options.repeat, options.least, options.tiny, options.threads, options.device, progress=_progress()
    )
    limit_blas(options.threads)
    libraries = []
    for name in list(names):
        try:
            libraries.append(frameworks.FRAMEWORKS[name](options.device, options.threads))
        except (ImportError, RuntimeError) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            names.remove(name)
    if not libraries:
        command.error(f"no library can run on --device {options.device}")
    gc.collect()
    gc.freeze()  # a collection during one library's sample shall not walk through the modules of all others
    rows: list[Row] = []
    print(report.header_text(names))
    try:
        for workload in workloads:
            for row in workload.run(libraries, settings):
                if options.tiny:
                    row.checks.clear()  # budgets are for real sizes
                rows.append(row)
                print(report.row_text(row, names), flush=True)
    except KeyboardInterrupt:
        print("interrupted; what follows covers the rows above", file=sys.stderr)
    print(report.summary(rows))
    if options.json:
        options.json.write_text(json.dumps(report.as_json(rows, settings), indent=1) + "\n")
    table = report.as_markdown(rows, names, settings)
    if options.markdown:
        print(table)
    if options.readme:
        part = "results" if options.device == "cpu" else "device"
        README.write_text(report.rewritten(README.read_text(), table, part))
    return int(any(row.refused for row in rows))


def measure_ops(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    """Tell what each op's rule costs beside its forward pass, and return 0."""
    from . import ops, report
    from .core import Settings

    limit_blas(options.threads)
    settings = Settings(options.repeat, options.least, options.tiny, options.threads, progress=_progress())
    try:
        costs = ops.run([word.strip() for word in options.ops.split(",") if word.strip()], settings)
    except ValueError as error:
        command.error(str(error))
    print("\n".join([ops.HEADER, *map(ops.text, costs), ops.summary(costs)]))
    if options.json:
        options.json.write_text(json.dumps(ops.as_json(costs, settings), indent=1) + "\n")
    table = ops.as_markdown(costs)
    if options.markdown:
        print(table)
    if options.readme:
        README.write_text(report.rewritten(README.read_text(), table, "ops"))
    return 0


def limit_blas(threads: int) -> None:
    """Limit the threads of BLAS libraries that are loaded already, if threadpoolctl is installed."""
    try:
        import threadpoolctl
    except ImportError:
        return
    import numpy  # noqa: F401 - it must be loaded to be limited

    threadpoolctl.threadpool_limits(threads)


def _progress():
    """Return what wraps the rounds of a workload: tqdm, if it is installed and somebody watches."""
    try:
        from tqdm import tqdm
    except ImportError:
        return lambda rounds, title: rounds

    def bar(rounds: Iterable[int], title: str) -> Iterable[int]:
        return tqdm(rounds, title, leave=False, disable=None, file=sys.stderr)

    return bar


if __name__ == "__main__":
    sys.exit(main())
