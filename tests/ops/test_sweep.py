"""Every op, in every case that its row implies: values, both modes, second order, dtypes, layouts, both backends.

The list of what is kept, kept.txt, is written anew with: pytest tests/ops/test_sweep.py -k kept --rewrite
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapegrad.testing import _sweep

ENTRIES = _sweep.entries()
KEPT = Path(__file__).with_name("kept.txt")

each = pytest.mark.parametrize("entry", ENTRIES, ids=str)


@each
def test_forward(entry):
    for dtypes in "fdFD":
        if dtypes == "d" or _sweep.accepts(entry, dtypes):
            _sweep.forward(entry, dtypes)


@each
def test_first_order(entry):
    for dtypes in "dD":
        if dtypes == "d" or _sweep.accepts(entry, dtypes):
            _sweep.first(entry, dtypes)


@each
def test_second_order(entry):
    for dtypes in "dD":
        if dtypes == "d" or _sweep.accepts(entry, dtypes):
            _sweep.second(entry, dtypes)


@each
def test_precision(entry):
    count = len(entry.sample().places)
    for dtypes in ("e", "f", "F", "fd", "df", "dD", "Dd")[: 3 if count < 2 else None]:
        if _sweep.accepts(entry, dtypes):
            _sweep.first(entry, dtypes)


@each
def test_layouts(entry):
    _sweep.layouts(entry)


@each
def test_standin(entry, deep):
    for dtypes in "dfD":
        taken = (dtypes == "d" or _sweep.accepts(entry, dtypes)) and _sweep.on_standin(entry, dtypes)
        if taken and (dtypes == "d" or deep):
            _sweep.second_on_standin(entry, dtypes)


def test_kept(rewrite):
    found = {op.name: _sweep.kept(op) for op in _sweep.ops() if _sweep.cases_of(op)}
    if rewrite:
        KEPT.write_text("\n".join(found[name] for name in sorted(found)) + "\n")
    # An older NumPy lacks some functions, and the list holds them all.
    listed = [line for line in KEPT.read_text().splitlines() if line.partition("/")[0] in found]
    assert listed == [found[name] for name in sorted(found)]


ELEMENTWISE = [op for op in _sweep.ops() if op.kind in ("unary", "binary") and not _sweep.needs_settings(op)]


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
@given(data=st.data())
def test_elementwise_ops_anywhere_in_their_domain(op, data):
    _sweep.anywhere(op, data.draw)
