"""What the README of the test kit shows is what happens, and it speaks of everything that the kit offers."""

import doctest
import re
from pathlib import Path

import pytest

import tapegrad.testing
from tapegrad.testing._mutations import FAULTS

PATH = Path(tapegrad.testing.__file__).with_name("README.md")


def test_examples_of_the_readme_run_and_fail_as_printed():
    pytest.importorskip("hypothesis")
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(PATH), module_relative=False, optionflags=options)
    assert tried > 40
    assert failed == 0


@pytest.mark.parametrize(
    "topic",
    [
        "check_gradients",
        "assert_gradients",
        "gradient_property",
        "against=",
        "--gradients=deep",
        "Blame:",
        "python -m tapegrad.testing",
        "strict",
        "counting",
        "mutants",
        "programs(size)",
        *("arrays", "tensors", "broadcastable_arrays", "matmul_arrays", "einsums", "axes", "indices", "nested"),
    ],
)
def test_the_readme_speaks_of(topic):
    assert topic in PATH.read_text()


def test_the_table_of_planted_faults_adds_up():
    rows = re.findall(r"^\| ([\w ]+) \| (\d+) \| (\d+) \| ([\d.]+) % \| (\d+) \|$", PATH.read_text(), re.MULTILINE)
    *kinds, (name, planted, found, share, idle) = rows
    assert [row[0] for row in kinds] == list(FAULTS)
    assert name == "all"
    assert int(planted) == sum(int(row[1]) for row in kinds)
    assert int(found) == sum(int(row[2]) for row in kinds)
    assert int(idle) == sum(int(row[4]) for row in kinds)
    assert float(share) >= 99
