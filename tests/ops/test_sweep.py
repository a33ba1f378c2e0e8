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
@pytest.mark.parametrize("dtypes", ["d", "D"])
def test_first_order(entry, dtypes):
    if dtypes == "d" or _sweep.accepts(entry, dtypes):
        _sweep.first(entry, dtypes)


@each
@pytest.mark.parametrize("dtypes", ["d", "D"])
def test_second_order(entry, dtypes):
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
def test_standin(entry):
    for dtypes in "dfD":
        if (dtypes == "d" or _sweep.accepts(entry, dtypes)) and _sweep.on_standin(entry, dtypes) and dtypes != "f":
            _sweep.second_on_standin(entry, dtypes)


def test_kept(rewrite):
    found = [_sweep.kept(op) for op in sorted(_sweep.ops(), key=lambda op: op.name) if _sweep.cases_of(op)]
    if rewrite:
        KEPT.write_text("\n".join(found) + "\n")
    assert KEPT.read_text().splitlines() == found


ELEMENTWISE = [op for op in _sweep.ops() if op.kind in ("unary", "binary") and not _sweep.needs_settings(op)]


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
@given(data=st.data())
def test_elementwise_ops_anywhere_in_their_domain(op, data):
    _sweep.anywhere(op, data.draw)
