"""Whose line is it: the innermost one that is neither this package's, nor NumPy's, nor a test runner's."""

import inspect
import os

import _pytest.python
import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn
import tapegrad.viz
from tapegrad._source import Place, _is_users, caller, line_of


def here():
    """Return the number of the line that calls this."""
    return inspect.currentframe().f_back.f_lineno


def test_the_caller_is_this_line():
    place, line = caller(), here()
    assert place == Place(__file__, line, "test_the_caller_is_this_line")
    assert place.text == "place, line = caller(), here()"
    assert place.short == f"test_source.py:{line}"
    assert place.full.startswith(f'File "{__file__}", line {line}, in test_the_caller_is_this_line: place, line')


def test_a_place_is_shown_from_the_working_directory(monkeypatch, tmp_path):
    inside = str(tmp_path / "sub" / "model.py")
    monkeypatch.chdir(tmp_path)
    assert str(Place(inside, 3, "loss")) == f"{os.path.join('sub', 'model.py')}:3, in loss"
    monkeypatch.chdir(tmp_path.parents[0])
    assert str(Place("<stdin>", 1, "<module>")) == "<stdin>:1, in <module>"
    assert Place("<stdin>", 1, "<module>").text == ""
    monkeypatch.chdir("/")
    assert str(Place(os.path.join(os.sep, "x.py"), 1, "f")) == "x.py:1, in f"


@pytest.mark.parametrize(
    ("module", "users"),
    [
        (tg._tape, False),
        (tg.nn._layers, False),
        (np.linalg._linalg, False),
        (_pytest.python, False),
        (inspect, True),
    ],
)
def test_whose_files_count(module, users):
    assert _is_users(module.__file__) is users


def test_programs_of_the_package_are_users():
    root = os.path.dirname(tg.__file__)
    assert _is_users(os.path.join(root, "examples", "seed_network.py"))
    assert _is_users(os.path.join(root, "__main__.py"))


def test_the_line_of_an_error():
    def wrong():
        return tg.tensor(np.ones(3)) + tg.tensor(np.ones(4))

    with pytest.raises(ValueError, match="broadcast") as raised:
        wrong()
    assert line_of(raised.value).endswith("in wrong: return tg.tensor(np.ones(3)) + tg.tensor(np.ones(4)))")
    assert line_of(ValueError("never raised")) == ""
