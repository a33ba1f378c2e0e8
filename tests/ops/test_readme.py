"""The user documentation of the ops, tapegrad/ops/README.md: written from the rows and from the contract's tests.

It is written anew with: pytest tests/ops/test_readme.py --rewrite
"""

import functools
import importlib
import inspect
import re
import runpy
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import ops
from tapegrad._op import CLASSIFIED
from tapegrad._tensor import OPS
from tapegrad.testing import _sweep

HERE = Path(__file__).parent
README = Path(ops.__file__).with_name("README.md")
GUIDE = "GUIDE.md"
UNNAMED = {"constant", "metadata", "refused"}

# The chapters in the order of NumPy's manual; others follow by name.
CHAPTERS = [
    "arithmetic", "elementary", "complex", "reductions", "statistics", "shapes", "joining", "indexing", "products",
    "linalg", "fft", "special", "scipy_linalg", "neural", "creation", "composite",
]  # fmt: skip

INTRO = """# Functions, and the gradients that they have

Written by `pytest tests/ops/test_readme.py --rewrite` from the rows of this folder and from the tests of the contract;
the same test without `--rewrite` fails when this page is out of date. Do not edit it by hand.

**How to read it.** [What a gradient is where libraries disagree](#what-a-gradient-is-where-libraries-disagree) lists
the conventions, each of them tested. [All functions](#all-functions) lists what has a derivative, chapter by chapter,
and [what has none](#what-has-no-derivative): constants, facts about arrays, and the few refusals with what to use
instead. Whatever stands in neither runs on untracked tensors and raises on tracked ones.

**How to add a function.** One row in one chapter: [`__init__.py`](__init__.py) shows the steps and an example{guide}.
"""

LEGEND = """Every rule holds in reverse and in forward mode, at every order, for real and complex numbers of every
precision (where NumPy's function takes them), for 0-d and empty arrays, and under broadcasting.

* **Kind**: how the row is written, which says how forward mode follows. *composite*: by its parts, which are functions
  of this list. *unary*, *binary*, *elementwise*: a formula for each entry. *linear*, *multilinear*: the function itself
  is its derivative in forward mode. *general*: anything else.
* **Keeps**: what a recorded call holds for the backward pass, for each input that has a derivative: inputs, results
  (`out`), facts about arrays (`x_shape`), and settings. Nothing else is kept, and nothing for inputs that are not
  tracked. A dash: nothing at all.
* **CuPy**: whether every call of the tests runs on CuPy arrays; *in part*: CuPy lacks some settings or forms of
  arguments.
"""


def written():
    """Return the page."""
    _sweep.ops()
    guide = f"; [{GUIDE}]({GUIDE}) explains how a rule is written" if README.with_name(GUIDE).exists() else ""
    parts = [INTRO.format(guide=guide), *conventions(), "## All functions\n", LEGEND, *chapters(), *methods()]
    parts += ["## What has no derivative\n", *constants(), *refusals()]
    return "\n".join(parts)


# The contract


def conventions():
    """Yield the table of conventions, section by section."""
    contract = runpy.run_path(str(HERE / "test_contract.py"))
    peers = contract["PEERS"]
    yield "## What a gradient is where libraries disagree\n"
    yield f"What others give was obtained from {contract['VERSIONS']}, on NumPy 2.4, and is tested where"
    yield "they are installed (`pytest -m peers`). *same*: as ours. *none*: the function or its derivative is missing."
    yield "*raises*: it fails.\n"
    for section, words in contract["SECTIONS"].items():
        yield f"### {section}\n\n{words}\n"
        rows = [row for row in contract["GRADIENTS"] if row.section == section]
        facts = [fact for fact in contract["FACTS"] if fact[0] == section]
        told = [name for name in peers if any(row.peer(name) for row in rows)]
        if rows:
            yield _line("Case", "Gradient", *(peers[name] for name in told))
            yield _line(*["---"] * (2 + len(told)))
            for row in rows:
                yield _line(row.case + " †" * row.kink, row.text, *(row.peer(name) for name in told))
            yield ""
        if facts:
            yield _line("Case", "What happens")
            yield _line("---", "---")
            for _, case, result, _ in facts:
                yield _line(case, result)
            yield ""


def _line(*cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# The functions


@functools.cache
def public():
    """Return the names under which users call functions, by function; the usual name first, then other spellings."""
    import scipy.special

    found = defaultdict(dict)
    spaces = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft, "np.lib.stride_tricks": np.lib.stride_tricks}
    spaces |= {"scipy.special": scipy.special, "tapegrad": tg, "tapegrad.special": tg.special}
    spaces |= {"tapegrad.linalg": tg.linalg}
    for space, module in spaces.items():
        listed = module.__all__ if space.startswith("tapegrad") or hasattr(module, "__all__") else dir(module)
        for name in listed:
            function = getattr(module, name, None)
            # SciPy's functions take tensors if they are ufuncs.
            if not callable(function) or isinstance(function, type) or name.startswith("_"):
                continue
            if isinstance(function, np.ufunc) or space != "scipy.special":
                found[_key(function)][f"{space}.{name}"] = None
    return found


def _key(function):
    return function if isinstance(function, np.ufunc) else id(function)


def names_of(function):
    """Return the names of a function: its own, and other spellings."""
    names = list(public().get(_key(function), ()))
    own = getattr(function, "__name__", "")
    names.sort(key=lambda name: name.rpartition(".")[2] != own)
    return names


def listed():
    """Yield the functions with derivatives that users can call: chapter, names, kind, op or None."""
    swept = {id(function): op for op in _sweep.ops() for function in (op.function, op.public)}
    seen = set()
    for function, (kind, _) in CLASSIFIED.items():
        if isinstance(function, tuple) or kind in UNNAMED or not (names := names_of(function)):
            continue
        run = OPS[function]
        op = getattr(run, "op", None) or swept.get(id(function))
        seen.update(names)
        yield _chapter(op, run), names, kind, op
    for space in (tg, tg.special, tg.linalg):
        for name in space.__all__:
            function = getattr(space, name)
            if not (getattr(function, "__module__", "") or "").startswith(
                ("tapegrad.ops", "tapegrad._op", "tapegrad._recorders")
            ):
                continue
            if _chapter(None, function) == "creation" or seen & set(names_of(function)):
                continue
            op = getattr(function, "op", None) or swept.get(id(function))
            if inspect.isfunction(function) or op is not None:
                seen.update(names_of(function))
                yield _chapter(op, function), names_of(function), op.kind if op else "composite", op


def _chapter(op, run):
    """Return the name of the file in which a row is written."""
    made = [formula for formula in (op.formulas if op else ()) if formula is not None] or [run]
    module = getattr(made[0], "__module__", None) or run.__module__
    return "special" if op and op.name.startswith("special.") else module.rpartition(".")[2]


def chapters():
    """Yield one table per chapter."""
    by_chapter = defaultdict(dict)
    for chapter, names, kind, op in listed():
        by_chapter[chapter][names[0]] = (names, kind, op)
    device = on_device()
    for chapter in sorted(by_chapter, key=lambda name: (CHAPTERS.index(name) if name in CHAPTERS else 99, name)):
        text = inspect.getdoc(importlib.import_module(f"tapegrad.ops.{chapter}"))
        yield f"### {chapter}.py\n\n{' '.join(text.partition(chr(10) * 2)[0].split())}\n"
        yield _line("Function", "Kind", "Keeps", "CuPy")
        yield _line("---", "---", "---", "---")
        for names, kind, op in sorted(by_chapter[chapter].values(), key=lambda row: _order(row[0][0])):
            yield _line(_titles(names), kind, keeps(kind, op), device.get(op.name if op else "", ""))
        yield ""


def _order(name):
    return (name.rpartition(".")[0], name.rpartition(".")[2].lower())


def _titles(names):
    first, *others = [f"`{name}`" for name in names]
    return first + (f" ({', '.join(others)})" if others else "")


def keeps(kind, op):
    """Return what each input's formula keeps."""
    if kind == "composite" or op is None or not op.formulas:
        return "its parts"
    inputs = op.inputs if len(op.inputs) == len(op.formulas) else op.inputs * len(op.formulas)
    told, unknown = [], []
    for x, formula, names in zip(inputs, op.formulas, op.names, strict=True):
        if formula is None:
            told.append(f"`{x}` is constant")
        elif "_unknown" in formula.__qualname__:
            unknown.append(f"`{x}`")
        else:
            told.append((f"`{x}`: " if len(inputs) > 1 else "") + (f"`{' '.join(names)}`" if names else "–"))
    if unknown:
        told.append(f"no derivative by {', '.join(unknown)} in closed form")
    return "; ".join(told)


def on_device():
    """Return whether an op runs on CuPy, by name, as the stand-in for CuPy has found (kept.txt)."""
    found = {}
    for line in (HERE / "kept.txt").read_text(encoding="utf-8").splitlines():
        name = line.partition("/")[0]
        found[name] = "no" if line.endswith("; not on CuPy") else "in part" if ", not on CuPy:" in line else "yes"
    return found


def methods():
    """Yield the methods of ufuncs."""
    found = defaultdict(list)
    for function, (kind, _) in CLASSIFIED.items():
        if isinstance(function, tuple) and kind not in UNNAMED:
            found[function[1]].append(function[0].__name__)
    yield "### Methods of ufuncs\n"
    yield _line("Method", "Of")
    yield _line("---", "---")
    for method in sorted(found):
        yield _line(f"`{method}`", ", ".join(f"`{name}`" for name in sorted(found[method])))
    yield "\nEvery ufunc takes `out=`, `where=`, `dtype=` and `casting=`, and a tensor on either side of an operator.\n"


def constants():
    """Yield the functions without a derivative, by nature."""
    sentences = {
        "constant": "**Constants.** They take a finite number of values, or make arrays of constants: tensors are "
        "read, and the results are untracked.",
        "metadata": "**Facts about arrays.** They answer as they answer for the array.",
    }
    for kind, sentence in sentences.items():
        names = sorted(
            {
                f"`{name}`"
                for function, (is_a, _) in CLASSIFIED.items()
                if is_a == kind and not isinstance(function, tuple)
                for name in names_of(function)[:1]
            }
        )
        yield f"{sentence} {', '.join(names)}.\n"


def refusals():
    """Yield what is refused, by reason."""
    found = defaultdict(list)
    for function, (kind, because) in CLASSIFIED.items():
        if kind == "refused" and not isinstance(function, tuple):
            found[because] += [f"`{name}`" for name in names_of(function)[:1]]
    yield "### Refused\n"
    yield "Each raises `UnsupportedError` on tensors, with the reason.\n"
    for because, names in found.items():
        yield f"* {', '.join(sorted(names))}: {because}."
    yield "* the method `at` of every ufunc but `np.add` and `np.subtract`: it writes into its operand one index after"
    yield "  another; apply the function to what the index reads, and assign.\n"


def test_the_page_is_up_to_date(rewrite):
    pytest.importorskip("scipy.special")
    if rewrite:
        README.write_text(written(), encoding="utf-8")
    page = README.read_text(encoding="utf-8")
    names = re.findall(r"`np\.((?:\w+\.)*\w+)`", page.partition("## All functions")[2])
    if not all(functools.reduce(lambda a, b: getattr(a, b, None), name.split("."), np) for name in names) or hasattr(
        np, "in1d"
    ):
        pytest.skip("the page is that of a newer NumPy, which has other functions")
    assert page == written(), "write it anew: pytest tests/ops/test_readme.py --rewrite"


def test_every_function_is_listed():
    pytest.importorskip("scipy.special")
    page = README.read_text(encoding="utf-8")
    missing = []
    for function in CLASSIFIED:
        if not isinstance(function, tuple) and (names := names_of(function)) and f"`{names[0]}`" not in page:
            missing.append(names[0])
    # The page is that of the newest NumPy, which has dropped some.
    assert set(missing) <= {"np.trapz", "np.in1d"}


def test_links_lead_somewhere():
    page = README.read_text(encoding="utf-8")
    headings = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", page, re.M)}
    for target in re.findall(r"\]\(([^)]*)\)", page):
        assert target[1:] in headings if target.startswith("#") else README.with_name(target).exists(), target
