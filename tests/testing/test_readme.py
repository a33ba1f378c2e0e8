"""What the README of the test kit shows is what happens."""

import doctest
from pathlib import Path

import tapegrad.testing


def test_examples_of_the_readme_run():
    path = Path(tapegrad.testing.__file__).with_name("README.md")
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(path), module_relative=False, optionflags=options)
    assert tried > 10
    assert failed == 0
