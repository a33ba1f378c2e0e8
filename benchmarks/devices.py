"""The one command that runs everything on a CUDA device: `python -m benchmarks.devices`.

What it runs are commands in parts, in the order of what matters most: the tests that need a device; the main job and
the examples; the workloads; every op on the device, in slices; the rest of the test suite. What each comes to goes into
benchmarks/README.md as soon as it is known, below the card and the versions, and what has not run is said to have not:
so the command may be cut off at any time. Called again, on the same card and versions, it goes on with what has not
passed there; --parts runs parts again. All other options are those of `python -m benchmarks`, for the workloads.
With `--device cpu` it does the same on the host, to see that it works; there it writes nothing.
"""

from __future__ import annotations

import argparse
import datetime
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import __main__ as benchmarks
from . import report

README = Path(__file__).with_name("README.md")
ROOT = Path(__file__).parents[1]
PASSED = "passed"
FOLDER = "FOLDER"
"""Stands for a temporary folder in commands."""

SLICES = 16
"""In how many the test of every op comes, each of which ends within minutes."""


def parts(device: str, options: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the commands of each part, as `python` runs them; `options` go to the benchmarks."""
    on = f"--device {device}"
    figures = " ".join([f"-m benchmarks {on} --markdown", shlex.join(options)]).rstrip()
    groups = ("waits", "host", "steps", "peak") if device != "cpu" and "--only" not in options else ()
    return {
        "tests": ["-m pytest -q -rf -m gpu -k 'not sweep' tests"],
        "examples": [
            f"-m tapegrad {on} --quiet --epochs 20 --output {FOLDER}/report",
            f"-m tapegrad.examples.seed_network {on} --output {FOLDER}",
            f"-m tapegrad.examples.node_graph {on}",
            f"-m tapegrad.examples.layer_backprop {on}",
        ],
        "benchmarks": [f"{figures} --only {group}" for group in groups] or [figures],
        "sweep": [
            *(f"-m pytest -q -rf tests/test_device.py::test_sweep_of_every_op[{i}]" for i in range(SLICES)),
            "-m pytest -q -rf tests/test_device.py::test_sweep_of_what_cupy_refuses",
        ],
        "suite": [
            f"-m pytest -q -rf -m 'not gpu and not deep and not mutation and not peers' {files}"
            for files in ("tests --ignore=tests/ops", "tests/ops")
        ],
    }


def card(device: str) -> str:
    """Return which device it is, and the versions of its driver, of CUDA and of the libraries.

    Raises
    ------
    TapegradError
        If it cannot be used: what to install, or change.
    """
    versions = report.machine()["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("tapegrad", "numpy", "cupy", "torch") if name in versions)
    if device == "cpu":
        return f"no device: the host itself, {named}"
    import tapegrad

    tapegrad.zeros(1, device=device)  # raises the error that names what is wrong
    import cupy

    runtime = cupy.cuda.runtime
    name = runtime.getDeviceProperties(cupy.cuda.Device().id)["name"]
    driver, built = (f"{v // 1000}.{v % 1000 // 10}" for v in (runtime.driverGetVersion(), runtime.runtimeGetVersion()))
    name = name.decode() if isinstance(name, bytes) else name
    return f"{name}, driver for CUDA {driver}, CUDA {built}, {named}"


def ran(command: str) -> str:
    """Run a command from the root of the repository, showing what it prints, and return what it came to, in Markdown.

    That is its last line, and the table of figures if it made one.
    """
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        words = [word.replace(FOLDER, folder) for word in shlex.split(command)]
        with subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line.strip().replace(folder, FOLDER))
    table = [line for line in lines if line.startswith("|")] if "--markdown" in words else []
    last = next((line for line in reversed(lines) if line and line not in table), "")
    status = PASSED if process.returncode == 0 else "FAILED"
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    told = f"* `python {command}`: {status}, {date}: {last.strip('= ')}"
    return "\n".join([told, "", *table] if table else [told])


def section(about: str, plan: Mapping[str, Iterable[str]], found: Mapping[str, str]) -> str:
    """Return what goes into benchmarks/README.md: the card, and what each command came to, or that it has not run."""
    lines = [f"{about}."]
    for part, commands in plan.items():
        lines += ["", f"**{part}**", ""]
        for command in commands:
            told = found.get(command, f"* `python {command}`: has not run")
            lines += [told, ""] if "\n" in told else [told]
    return "\n".join(lines)


def told(text: str, about: str) -> dict[str, str]:
    """Return what a README tells of commands that ran, if its section is about this card and these versions."""
    rest = text.partition(f"\n{about}.\n")[2].partition("<!--")[0]
    entries = re.split(r"\n+(?=\* `|\*\*)", rest.rstrip())
    return {match[1]: match[0] for e in entries if (match := re.match(r"(?s)\* `python (.*?)`: (?!has not).*", e))}


def main(arguments: list[str] | None = None) -> int:
    """Run everything on a device, and return the exit status: 0 if all of it passed, 2 if there is no device."""
    parser = argparse.ArgumentParser("python -m benchmarks.devices", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: only to see that this works")
    parser.add_argument("--parts", metavar="NAMES", help=f"some of {','.join(parts(''))}; default: what has not passed")
    options, rest = parser.parse_known_args(arguments)
    benchmarks.parser().parse_args(rest)  # which ends the program where they are wrong
    plan = parts(options.device, rest)
    wanted = options.parts.split(",") if options.parts else list(plan)
    if unknown := set(wanted) - set(plan):
        parser.error(f"got --parts {','.join(sorted(unknown))}, expected some of {','.join(plan)}")
    try:
        about = card(options.device)
    except Exception as error:
        print(f"python -m benchmarks.devices: {error}", file=sys.stderr)
        return 2
    print(about)
    found = {} if options.device == "cpu" else told(README.read_text(), about)
    commands = [c for part in plan if part in wanted for c in plan[part] if options.parts or not passed(c, found)]
    for command in commands:
        print(f"\n== python {command}", flush=True)
        found[command] = ran(command)
        if options.device != "cpu":
            README.write_text(report.rewritten(README.read_text(), section(about, plan, found), "device"))
    print(f"\n{section(about, plan, found)}")
    return int(not all(passed(command, found) for command in commands))


def passed(command: str, found: Mapping[str, str]) -> bool:
    """Return whether a command has run, and passed."""
    return found.get(command, "").startswith(f"* `python {command}`: {PASSED}")


if __name__ == "__main__":
    sys.exit(main())
