"""Certify an installation: check every derivative of every op on this machine.

Run `python -m tapegrad.testing --help` for its options.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import importlib
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import tapegrad as tg

from ..errors import TapegradError
from ._certify import BACKENDS, Outcome, Plan, certified, chapter_of, known_ops
from ._depth import DEPTHS

DTYPES = {"float16": "e", "float32": "f", "float64": "d", "complex64": "F", "complex128": "D"}

DESCRIPTION = """\
Certify this installation: check every derivative of every operation, on this
machine's NumPy and, where there is one, on its CUDA device.

For every operation, in every case of shapes and settings that its row names:
values against NumPy's; first derivatives in reverse and forward mode against
differences, and against each other; second derivatives in all combinations of
the modes; float16 to complex128 and mixtures; memory layouts; and the same on
strict, which is NumPy behind arrays that refuse what CuPy refuses, or on CuPy."""

EXAMPLES = """\
examples:
  python -m tapegrad.testing                         everything, quickly: a minute or two
  python -m tapegrad.testing --depth deep            more samples, dtypes and arrays: tens of minutes
  python -m tapegrad.testing matmul 'linalg*' sum    some operations: names, patterns, chapters
  python -m tapegrad.testing --dtype float32 float64 --backend numpy
  python -m tapegrad.testing --backend cupy          on the CUDA device
  python -m tapegrad.testing --report report.json    and write all that was found
  python -m tapegrad.testing --mutations exp         how many faults planted in a rule are found
  python -m tapegrad.testing --list                  name the operations, check nothing

exit status: 0 every check passed, 1 some failed, 2 bad option or missing
package, 130 interrupted (Ctrl-C)."""

_SHOWN = 10
# The share of planted faults that must be found.
_ENOUGH = 0.99


class Parser(argparse.ArgumentParser):
    """A parser of options whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one sentence."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> Parser:
    """Return the parser of the options."""
    made = Parser(
        prog="python -m tapegrad.testing",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("ops", nargs="*", metavar="OP", help="operations by name, pattern or chapter (default: all)")
    add("--depth", choices=DEPTHS, default="quick", help="how many samples (default: quick)")
    add("--dtype", nargs="+", choices=DTYPES, metavar="NAME", help=f"only these: {', '.join(DTYPES)} (default: all)")
    add(
        "--backend",
        nargs="+",
        choices=BACKENDS,
        metavar="NAME",
        help="numpy, strict, cupy (default: numpy and strict, and cupy where there is a device)",
    )
    add("--jobs", type=_count, default=_cores(), metavar="N", help="processes to use (default: the cores, %(default)s)")
    add("--report", type=Path, metavar="FILE", help="write a JSON report there")
    add("--list", action="store_true", help="name the operations that would be checked, and stop")
    add("--mutations", action="store_true", help="plant faults in the rules instead, and count how many are found")
    add("--quiet", action="store_true", help="no progress, no table; only failures")
    add("--version", action="version", version=f"tapegrad {tg.__version__}")
    return made


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1 on")
    return int(text)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def selected(wanted: Sequence[str]) -> list[str]:
    """Return the names of the ops that names, patterns and chapters choose.

    Raises
    ------
    ValueError
        If one chooses nothing.
    """
    found = known_ops()
    if not wanted:
        return list(found)
    chosen: dict[str, None] = {}
    for word in wanted:
        hits = [n for n, op in found.items() if fnmatch.fnmatchcase(n, word) or chapter_of(op) == word]
        if not hits:
            chapters = {chapter_of(op) for op in found.values()}
            near = difflib.get_close_matches(word, [*found, *chapters], 3)
            hint = f"did you mean {', '.join(near)}? " if near else ""
            raise ValueError(f"no operation is called {word!r}; {hint}--list names them all")
        chosen.update(dict.fromkeys(hits))
    return list(chosen)


def device() -> str | None:
    """Return the name of the CUDA device that CuPy can use, or None."""
    try:
        module: Any = importlib.import_module("cupy")
        if not module.cuda.runtime.getDeviceCount():
            return None
        return str(module.cuda.runtime.getDeviceProperties(0)["name"].decode())
    except Exception:
        # No package, no driver, no device, or a driver that is too old: each says so in its own way.
        return None


def _version(package: str) -> str | None:
    try:
        return str(importlib.import_module(package).__version__)
    except ImportError:
        return None


def environment() -> dict[str, Any]:
    """Return what was certified: versions, machine, device."""
    return {
        "tapegrad": tg.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": _version("scipy"),
        "cupy": _version("cupy"),
        "device": device(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def shown(outcomes: Iterator[Outcome], total: int, quiet: bool) -> Iterator[Outcome]:
    """Yield outcomes behind a progress bar: tqdm's where it is installed, lines otherwise."""
    if quiet:
        yield from outcomes
        return
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ImportError:
        step = max(1, total // 10)
        for done, outcome in enumerate(outcomes, 1):
            if done % step == 0 or done == total:
                print(f"{done} of {total} operations", file=sys.stderr, flush=True)
            yield outcome
        return
    failed = 0
    with tqdm(total=total, unit="op", dynamic_ncols=True) as bar:
        for outcome in outcomes:
            failed += bool(outcome.failures)
            bar.set_postfix_str(f"{outcome.op}, {failed} failed" if failed else outcome.op, refresh=False)
            bar.update()
            yield outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes by chapter, as text."""
    rows: list[tuple[str, ...]] = [("chapter", "ops", "cases", "checks", "failed", "seconds")]
    for chapter in sorted({outcome.chapter for outcome in outcomes}):
        rows.append(_row(chapter, [outcome for outcome in outcomes if outcome.chapter == chapter]))
    rows.append(_row("all", outcomes))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)])
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _row(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    figures = (
        len(outcomes),
        sum(outcome.cases for outcome in outcomes),
        sum(sum(outcome.checks.values()) for outcome in outcomes),
        sum(len(outcome.failures) for outcome in outcomes),
    )
    return (name, *(f"{figure:,}" for figure in figures), f"{sum(outcome.seconds for outcome in outcomes):.1f}")


def complaints(outcomes: Sequence[Outcome]) -> str:
    """Return what failed, the first failure of each op, as text."""
    lines = []
    failed = [outcome for outcome in outcomes if outcome.failures]
    for outcome in failed[:_SHOWN]:
        first, more = outcome.failures[0], len(outcome.failures) - 1
        lines.append(f"FAILED {outcome.op} ({first.law}, case {first.case}{f', and {more} more' if more else ''})")
        lines += [f"    {line}" for line in first.message.splitlines()]
    if len(failed) > _SHOWN:
        lines.append(f"and {len(failed) - _SHOWN} more operations: {', '.join(o.op for o in failed[_SHOWN:])}")
    return "\n".join(lines)


def report(
    facts: dict[str, Any], plan: Plan, outcomes: Sequence[Outcome], seconds: float, whole: bool
) -> dict[str, Any]:
    """Return the JSON report."""
    return {
        "certified": whole and not any(outcome.failures for outcome in outcomes),
        "complete": whole,
        "environment": facts,
        "depth": plan.profile,
        "dtypes": [name for name, char in DTYPES.items() if plan.dtypes is None or char in plan.dtypes],
        "backends": list(plan.backends),
        "seconds": round(seconds, 1),
        "ops": [outcome.as_dict() for outcome in sorted(outcomes, key=lambda outcome: outcome.op)],
    }


def mutations(names: Sequence[str], path: Path | None, quiet: bool) -> int:
    """Plant faults in the rules of ops, show how many the quick checks find, and return the exit status."""
    from ._mutations import report as planted

    fates: Counter[str] = Counter()

    def told(mutant: Any, fate: str) -> None:
        fates[fate] += 1
        if fate == "survived" or fates.total() % 100 == 0:
            print(
                f"{fates.total()} planted, {fates['survived']} survived; {fate}: {mutant}", file=sys.stderr, flush=True
            )

    score = planted(names, None if quiet else told)
    if path is not None:
        path.write_text(json.dumps(score.as_dict(), indent=1) + "\n")
    if not quiet:
        print(score)
    print("\n".join(f"SURVIVED {mutant}" for mutant in score.survivors), end="\n" if score.survivors else "")
    return 0 if score.share >= _ENOUGH else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    made = parser()
    options = made.parse_args(arguments)
    try:
        names = selected(options.ops)
    except ValueError as error:
        made.error(str(error))
    if options.list:
        print("\n".join(f"{name:32} {chapter_of(known_ops()[name])}" for name in names))
        return 0
    facts = environment()
    if options.backend and "cupy" in options.backend and facts["device"] is None:
        made.error(
            "got --backend cupy, and CuPy finds no CUDA device here (pip install 'tapegrad[cuda12]', or a driver)"
        )
    if options.report is not None and not options.report.absolute().parent.is_dir():
        made.error(f"got --report {options.report}, and there is no folder {options.report.absolute().parent}")
    backends = tuple(options.backend or ("numpy", "strict", *(["cupy"] if facts["device"] else [])))
    if options.mutations:
        return mutations(names, options.report, options.quiet)
    chars = None if options.dtype is None else "".join(DTYPES[name] for name in options.dtype)
    plan = Plan(options.depth, chars, backends)
    # A device is shared badly by processes that each compile their own kernels.
    jobs = 1 if "cupy" in backends else options.jobs
    if not options.quiet:
        found = ", ".join(f"{key} {value}" for key, value in facts.items() if value is not None)
        print(f"{found}\n{len(names)} operations, {options.depth}, on {', '.join(backends)}", file=sys.stderr)
    outcomes: list[Outcome] = []
    started, whole = time.perf_counter(), True
    try:
        for outcome in shown(certified(names, plan, jobs), len(names), options.quiet):
            outcomes.append(outcome)
    except KeyboardInterrupt:
        whole = False
    except TapegradError as error:
        made.error(str(error))
    seconds = time.perf_counter() - started
    if options.report is not None:
        options.report.write_text(json.dumps(report(facts, plan, outcomes, seconds, whole), indent=1) + "\n")
    failed = sum(bool(outcome.failures) for outcome in outcomes)
    if not options.quiet:
        print(table(outcomes))
    if failed:
        print(complaints(outcomes))
    if not whole:
        print(f"interrupted after {len(outcomes)} of {len(names)} operations", file=sys.stderr)
        return 130
    if not options.quiet:
        many = f"{len(names)} operation{'s' if len(names) > 1 else ''}"
        count = f"{failed} of {many} failed" if failed else f"{many} passed"
        print(f"{'NOT certified' if failed else 'certified'}: {count}, in {seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
