"""The registry: every function of NumPy is classified, and every row has samples and is swept.

The list NOT_YET is written anew with: pytest tests/ops/test_registry.py --rewrite
"""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tapegrad._op import CLASSIFIED
from tapegrad._tensor import OPS
from tapegrad.testing import _sweep

MODULES = {"": np, "fft.": np.fft, "linalg.": np.linalg}

# Functions of NumPy that no chapter classifies yet. The list only shrinks: a name that is classified must leave it.
NOT_YET = """
row_stack
"""


def public():
    """Return NumPy's public functions by name, without classes (dtypes, exceptions) and modules."""
    found = {}
    for prefix, module in MODULES.items():
        for name in module.__all__ if prefix else dir(module):
            function = getattr(module, name)
            if callable(function) and not isinstance(function, type) and not name.startswith("_"):
                found[prefix + name] = function
    return found


def unclassified():
    return {name for name, function in public().items() if function not in CLASSIFIED}


def test_every_function_of_numpy_is_classified(rewrite):
    if rewrite:
        path = Path(__file__)
        body = textwrap.fill(" ".join(sorted(unclassified())), 119)
        text = re.sub(r'(NOT_YET = """\n).*?(""")', rf"\1{body}\n\2", path.read_text(), flags=re.S)
        path.write_text(text)
        return
    assert unclassified() - set(NOT_YET.split()) == set(), (
        "new functions: write their rows, or classify them as what they are"
    )


def test_what_is_not_yet_classified_only_shrinks(rewrite):
    if rewrite:
        pytest.skip("the list is being written")
    assert (set(NOT_YET.split()) & public().keys()) - unclassified() == set(), (
        "classified now: take these names off the list"
    )


def test_every_kind_is_known_and_every_refusal_has_a_reason():
    kinds = {"unary", "binary", "elementwise", "linear", "multilinear", "general", "composite"}
    for function, (kind, because) in CLASSIFIED.items():
        assert kind in kinds | {"constant", "metadata", "refused"}, function
        assert (kind == "refused") == bool(because), function


def test_every_row_is_swept():
    swept = _sweep.ops()
    functions = {id(op.function) for op in swept}
    names = {op.name: op for op in swept}
    runs = {id(OPS[op.function]) for op in swept if op.function in OPS}
    lost = []
    for function, (kind, _) in CLASSIFIED.items():
        if kind in ("constant", "metadata", "refused") or id(function) in functions or id(OPS[function]) in runs:
            continue
        if isinstance(function, tuple):
            # Writing in place has no value to sweep.
            if function[1] != "at" and f"{function[0].__name__}.{function[1]}" not in names:
                lost.append(function)
            continue
        # Aliases share a row, and a function may be handed over to an op of the package that carries its name.
        op = getattr(OPS[function], "op", None) or names.get(getattr(function, "__name__", ""))
        if op not in swept or (op is names.get(getattr(function, "__name__", "")) and _of_numpy(op)):
            lost.append(function)
    rows = {op for run in OPS.values() if (op := getattr(run, "op", None)) is not None and op.trusted}
    lost += [op for op in rows if names.get(op.name) is not op]
    assert lost == [], "these are not swept: rows of equal names replace each other, so give one of them a name="


@pytest.mark.parametrize("op", _sweep.ops(), ids=lambda op: op.name)
def test_every_row_has_samples(op):
    samples = [_sweep.Entry(op, case).sample() for case in _sweep.cases_of(op)]
    assert any(x.size for sample in samples for x in sample.xs), f"{op} needs cases="


def _of_numpy(op):
    return (getattr(op.function, "__module__", None) or "").startswith("numpy")


@pytest.mark.parametrize("op", [op for op in _sweep.ops() if op.known and _of_numpy(op)], ids=lambda op: op.name)
def test_samples_cover_every_setting(op):
    given = set()
    for case in _sweep.cases_of(op):
        names = op.parameters[: op.leading] if op.leading else op.parameters[len(op.inputs) :]
        given |= set(dict(zip(names, (*case.before, *case.args), strict=False))) | set(case.settings)
    # `subok` and `casting` say how NumPy computes, and `out` is stored by the tensor.
    assert op.known - given - {"k", "subok", "casting", "out"} == set()
