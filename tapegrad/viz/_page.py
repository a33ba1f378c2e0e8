"""Programs as drawings in DOT and as pages: HTML and CSS alone, nothing loaded from elsewhere, no scripts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._source import Place
from ._words import Cost, duration, shown, typed

if TYPE_CHECKING:
    from ._program import Line, Program

STYLE = """
.tapegrad { --ink: #1a1a1a; --muted: #6b6b6b; --rule: #dddddd; --paper: #ffffff; --forward: #9fd0e4;
  --backward: #f2b79d; --memory: #c3dba9; --mark: #fff3c4; color: var(--ink); background: var(--paper);
  font: 14px/1.45 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { .tapegrad { --ink: #e6e6e6; --muted: #9a9a9a; --rule: #3a3a3a;
  --paper: #161616; --forward: #14506a; --backward: #7a3a1e; --memory: #3c5722; --mark: #4d4218; } }
.tapegrad h1 { font-size: 1.5rem; margin: 0 0 .2rem; }
.tapegrad h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
.tapegrad p { margin: .2rem 0; color: var(--muted); max-width: 60rem; }
.tapegrad table { border-collapse: collapse; color: inherit; background: none; }
.tapegrad th, .tapegrad td { padding: .2rem .7rem; text-align: left; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--rule); background-color: transparent; }
.tapegrad th { color: var(--muted); font-weight: 600; position: sticky; top: 0; background-color: var(--paper); }
.tapegrad .n { text-align: right; font-variant-numeric: tabular-nums; }
.tapegrad .bar { background: linear-gradient(to left, var(--of) var(--share), transparent var(--share)) no-repeat
  0 .2rem / 100% 1.4em; min-width: 5.5rem; }
.tapegrad .wrap { white-space: normal; min-width: 11rem; }
.tapegrad .soft { color: var(--muted); }
.tapegrad code { font: .92em ui-monospace, monospace; color: inherit; background: none; padding: 0; }
.tapegrad a { color: inherit; text-decoration: underline; text-decoration-color: var(--muted); }
.tapegrad tr:target td { background-color: var(--mark); }
.tapegrad tr:hover td { border-bottom-color: var(--muted); }
.tapegrad tr.sum td { font-weight: 600; border-bottom: none; }
"""


def ends(lines: Sequence[Line], limit: int | None) -> tuple[Sequence[Line], int, Sequence[Line]]:
    """Return the first lines, the number of those in the middle that are left out, and the last ones."""
    if limit is None or len(lines) <= limit:
        return lines, 0, ()
    first = (limit + 1) // 2
    last = limit - first
    return lines[:first], len(lines) - limit, lines[len(lines) - last :]


def written(text: str, path: str | os.PathLike[str] | None) -> str | None:
    """Write `text` to `path`, or return it if there is no path."""
    if path is None:
        return text
    Path(path).write_text(text, encoding="utf-8")
    return None


# Pages


def page(
    program: Program,
    limit: int,
    operations: Mapping[str, Cost] | None = None,
    sources: Mapping[Place | None, Cost] | None = None,
    seconds: float | None = None,
) -> str:
    """Return a whole page of a program, with sums: those given, or those of its own lines."""
    if operations is None:
        operations = _summed(program, lambda line: line.operation)
        sources = _summed([line for line in program if line.source], lambda line: line.source)
    total = Cost()
    for cost in operations.values():
        _add(total, cost.calls, cost.forward, cost.backward, cost.nbytes)
    facts = [f"{total.calls:,} {'calls' if seconds is not None else 'records'}", f"{total.nbytes:,} bytes kept"]
    if total.seconds:
        facts += [f"{duration(total.forward)} forward", f"{duration(total.backward)} backward"]
    if seconds is not None:
        facts.append(f"{duration(seconds)} of wall time")
    title = escape(program.title)
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{STYLE}body {{ margin: 0; }} main {{ padding: 1.5rem 2rem; }}</style>",
        f'</head>\n<body class="tapegrad">\n<main>\n<h1>{title}</h1>\n<p>{", ".join(facts)}</p>',
        "<h2>By operation</h2>",
        _sums("operation", [(f"<code>{escape(name)}</code>", cost) for name, cost in operations.items()], total),
    ]
    if sources:
        parts += [
            "<h2>By line of the program</h2>",
            _sums("line", [(_source(source), cost) for source, cost in sources.items()], total),
        ]
    parts += [
        "<h2>Record by record</h2>",
        "<p>In the order in which they happened; the replay goes upwards. <code>#7</code> is the result of the record "
        "at position 7. Memory that several records keep is counted where it is first kept.</p>",
        _records(program, limit),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def fragment(
    program: Program,
    limit: int,
    operations: Mapping[str, Cost] | None = None,
    sources: Mapping[Place | None, Cost] | None = None,
    seconds: float | None = None,
) -> str:
    """Return what a notebook shows: the records, or the sums if there are any."""
    parts = [f'<div class="tapegrad"><style>{STYLE}</style>']
    if operations is None:
        parts.append(_records(program, limit))
    else:
        total = Cost()
        for cost in operations.values():
            _add(total, cost.calls, cost.forward, cost.backward, cost.nbytes)
        parts.append(f"<p>{total.calls:,} calls of operations in {duration(seconds)}</p>")
        rows = [(f"<code>{escape(name)}</code>", cost) for name, cost in operations.items()]
        parts.append(_sums("operation", rows[:limit], total))
        places = [(_source(source), cost) for source, cost in (sources or {}).items()]
        parts.append(_sums("line", places[:limit], total))
    return "\n".join([*parts, "</div>"])


def _add(cost: Cost, calls: int, forward: float | None, backward: float | None, nbytes: int) -> None:
    cost.calls += calls
    cost.forward += forward or 0.0
    cost.backward += backward or 0.0
    cost.nbytes += nbytes


def _summed(lines: Sequence[Line], key: Any) -> dict[Any, Cost]:
    """Return the costs of lines by `key`, the dearest first."""
    found: dict[Any, Cost] = {}
    for line in lines:
        _add(found.setdefault(key(line), Cost()), 1, line.forward, line.backward, line.nbytes)
    return dict(sorted(found.items(), key=lambda item: (-item[1].seconds, -item[1].nbytes, -item[1].calls)))


def _bar(text: str, value: float, largest: float, color: str) -> str:
    """Return a cell with a figure, and its share of the largest one as a bar behind it."""
    if not value or not largest:
        return f'<td class="n">{text}</td>'
    return f'<td class="n bar" style="--of: var(--{color}); --share: {100 * value / largest:.1f}%">{text}</td>'


def _sums(what: str, rows: Sequence[tuple[str, Cost]], total: Cost) -> str:
    """Return a table of costs; `rows` have names in HTML."""
    timed = total.seconds > 0
    headings = [what, "calls", *(["forward", "backward", "share"] if timed else []), "bytes"]
    head = "".join(f'<th class="{"n" if i else "s"}">{name}</th>' for i, name in enumerate(headings))
    largest = Cost(
        0,
        max((cost.forward for _, cost in rows), default=0.0),
        max((cost.backward for _, cost in rows), default=0.0),
        max((cost.nbytes for _, cost in rows), default=0),
    )
    body = []
    for name, cost in [*rows, ("together", total)]:
        is_total = cost is total
        cells = [f"<td>{name}</td>", f'<td class="n">{cost.calls:,}</td>']
        shares = Cost() if is_total else largest
        if timed:
            cells.append(_bar(duration(cost.forward), cost.forward, shares.forward, "forward"))
            cells.append(_bar(duration(cost.backward), cost.backward, shares.backward, "backward"))
            cells.append(f'<td class="n">{cost.seconds / total.seconds:.0%}</td>')
        cells.append(_bar(f"{cost.nbytes:,}", cost.nbytes, shares.nbytes, "memory"))
        body.append(f'<tr class="{"sum" if is_total else "one"}">{"".join(cells)}</tr>')
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table>"


def _source(source: Place | None) -> str:
    if source is None:
        return '<span class="soft">unknown</span>'
    text = escape(source.text)
    return f'<span title="{escape(source.file)}">{escape(source.short)}</span> <code class="soft">{text}</code>'


def _records(program: Program, limit: int) -> str:
    """Return the table of records."""
    columns = program.columns()
    figures = ("position", "bytes", "forward", "backward")
    head = "".join(f'<th class="{"n" if name in figures else "s"}">{name}</th>' for name in columns)
    first, gap, last = ends(program, limit)
    listed = {line.position for line in (*first, *last)}
    largest = {name: max((getattr(line, name) or 0.0 for line in program), default=0.0) for name in figures[2:]}
    most = max((line.nbytes for line in program), default=0)

    def row(line: Line) -> str:
        cells = [
            f'<td class="n">{line.position}</td>',
            f"<td><code>{escape(line.operation)}</code></td>",
            f"<td>{', '.join(_input(entry, listed) for entry in line.inputs)}</td>",
            f"<td>{escape(line.result)}</td>",
            f'<td class="wrap">{escape(", ".join(map(str, line.keeps))) or _soft("nothing")}</td>',
            _bar(f"{line.nbytes:,}", line.nbytes, most, "memory"),
        ]
        for name in columns[6:]:
            if name == "line":
                cells.append(f"<td>{_source(line.source)}</td>")
            else:
                seconds = getattr(line, name)
                cells.append(_bar(duration(seconds), seconds or 0.0, largest[name], name))
        return f'<tr id="r{line.position}">{"".join(cells)}</tr>'

    body = [
        f'<tr><td></td><td class="soft">leaf</td><td>{escape(name)}</td><td>{escape(typed(*space))}</td>'
        + "<td></td>" * (len(columns) - 4)
        + "</tr>"
        for name, space in program.leaves.items()
    ]
    body += map(row, first)
    if gap:
        body.append(f'<tr><td></td><td colspan="{len(columns) - 1}">{_soft(f"{gap:,} more")}</td></tr>')
        body += map(row, last)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table>"


def _soft(text: str) -> str:
    return f'<span class="soft">{text}</span>'


def _input(entry: int | str | None, listed: set[int]) -> str:
    if isinstance(entry, int) and entry in listed:
        return f'<a href="#r{entry}">#{entry}</a>'
    return _soft("constant") if entry is None else escape(shown(entry))


# Drawings


def dot(program: Program) -> str:
    """Return a program in Graphviz' language DOT, inputs above results."""
    lines = ["digraph tape {", '  node [shape=box, fontname="sans-serif", fontsize=10];', "  edge [arrowsize=0.6];"]
    for name, space in program.leaves.items():
        lines.append(f"  {_quoted(name)} [label={_quoted(name, typed(*space))}, style=rounded];")
    known = {line.position for line in program}
    for line in program:
        kept = f"{line.nbytes:,} bytes" if line.nbytes else ""
        label = _quoted(f"#{line.position} {line.operation}", line.result, kept)
        lines.append(f"  {_quoted(shown(line.position))} [label={label}];")
        for entry in line.inputs:
            if isinstance(entry, int) and entry not in known:
                lines.append(f"  {_quoted(shown(entry))} [style=dashed];")
            if entry is not None:
                lines.append(f"  {_quoted(shown(entry))} -> {_quoted(shown(line.position))};")
    return "\n".join([*lines, "}", ""])


def _quoted(*rows: str) -> str:
    """Return rows of text as one string of DOT, empty ones left out."""
    text = "\\n".join(row.replace("\\", "\\\\").replace('"', '\\"') for row in rows if row)
    return f'"{text}"'
