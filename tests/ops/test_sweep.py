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


@pytest.mark.parametrize("law", _sweep.LAWS)
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_law(entry, law, deep):
    _sweep.certify(entry, "deep" if deep else "quick", laws=[law])


def test_kept(rewrite):
    found = {op.name: _sweep.kept(op) for op in _sweep.ops() if _sweep.cases_of(op)}
    if rewrite:
        KEPT.write_text("\n".join(found[name] for name in sorted(found)) + "\n")
    # An older NumPy lacks some functions, and the list holds them all.
    listed = [line for line in KEPT.read_text().splitlines() if line.partition("/")[0] in found]
    assert listed == [found[name] for name in sorted(found)]


ELEMENTWISE = [op for op in _sweep.ops() if _sweep.is_drawable(op)]


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
@given(data=st.data())
def test_elementwise_ops_anywhere_in_their_domain(op, data):
    _sweep.anywhere(op, data.draw)
