"""What was measured, as text, as Markdown and as JSON."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .core import Row, Settings
from .frameworks import FRAMEWORKS

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def value_text(value: float, unit: str) -> str:
    """Return seconds or bytes with three digits and a unit of fitting size."""
    steps = [(1e6, "us"), (1e3, "ms"), (1, "s")] if unit == "s" else [(1, "B"), (2**-10, "KiB"), (2**-20, "MiB")]
    for factor, name in steps:
        if abs(value * factor) < 1000 or name == steps[-1][1]:
            return f"{value * factor:.3g} {name}"
    raise AssertionError


def cells(row: Row, names: Sequence[str]) -> list[str]:
    """Return each library's value and, in parentheses, tapegrad's divided by it."""
    ratios = row.ratios
    return [
        value_text(row.values[name], row.unit) + (f" ({ratios[name]:.3g})" if name in ratios else "")
        if name in row.values
        else "failed"
        if name in row.failed
        else ""
        for name in names
    ]


def header_text(names: Sequence[str]) -> str:
    """Return the first line of the text table."""
    return f"{'workload':<24}{'per':<11}" + "".join(f"{name:<17}" for name in names)


def row_text(row: Row, names: Sequence[str]) -> str:
    """Return the lines of the text table for one workload: its values, then its budgets and what failed."""
    if row.refused:
        return f"{row.workload:<24}REFUSED: {row.refused}"
    lines = [f"{row.workload:<24}{row.per:<11}" + "".join(f"{cell:<17}" for cell in cells(row, names))]
    lines += [f"{'':<24}{check}" for check in row.checks]
    lines += [f"{'':<24}{name} failed: {error}" for name, error in row.failed.items()]
    return "\n".join(line.rstrip() for line in lines)


def summary(rows: Iterable[Row]) -> str:
    """Return how many budgets are kept, and which are not."""
    checks = [(row.workload, check) for row in rows for check in row.checks]
    over = [f"  {workload}: {check}" for workload, check in checks if not check.kept]
    return "\n".join([f"{len(checks) - len(over)} of {len(checks)} budgets kept", *over])


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, Python, and the versions of the libraries."""
    versions = {}
    for package in dict.fromkeys(("numpy", "cupy", *(f.package for f in FRAMEWORKS.values()))):
        names = importlib.metadata.packages_distributions().get(package, [])
        if names:
            versions[package] = importlib.metadata.version(names[0])
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions,
    }


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def as_json(rows: Sequence[Row], settings: Settings) -> dict[str, Any]:
    """Return everything that was measured: medians, samples, ratios and budgets; seconds and bytes."""
    return {
        "machine": machine(),
        "settings": {
            "threads": settings.threads,
            "device": settings.device,
            "repeat": settings.repeat,
            "least_seconds": settings.least,
            "tiny": settings.tiny,
        },
        "rows": [
            asdict(row)
            | {"ratios": row.ratios, "checks": [asdict(check) | {"kept": check.kept} for check in row.checks]}
            for row in rows
        ],
    }


def as_markdown(rows: Sequence[Row], names: Sequence[str], settings: Settings) -> str:
    """Return the table of results, with a line about the machine and the settings."""
    about = machine()
    versions = ", ".join(
        f"{name} {version}" for name, version in about["versions"].items() if name in {"numpy", *names}
    )
    threads = "1 thread" if settings.threads == 1 else f"{settings.threads} threads"
    lines = [
        f"{about['date']}: {about['cores']} cores ({about['processor']}), {about['python']}, {versions}; {threads}, "
        f"device {settings.device}, medians of {settings.repeat} samples.",
        "",
        "| workload | per | " + " | ".join(names) + " | budget |",
        "|---" * (len(names) + 3) + "|",
    ]
    for row in rows:
        if row.refused:
            lines.append(f"| {row.workload} | refused: {row.refused} |" + " |" * (len(names) + 1))
        else:
            budgets = "; ".join(map(str, row.checks))
            lines.append(f"| {row.workload} | {row.per} | {' | '.join(cells(row, names))} | {budgets} |")
    return "\n".join(lines)


def rewritten(text: str, table: str, part: str = "results") -> str:
    """Return `text` with `table` between the two marks of a part."""
    first, last = BEGIN.replace("results", part), END.replace("results", part)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"got a file without the marks {first} and {last}")
    return f"{before}{first}\n{table}\n{last}{after}"
