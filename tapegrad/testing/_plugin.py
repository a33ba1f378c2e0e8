"""The pytest plugin: the option `--gradients`, and the marker `gradients`.

pytest loads it in every project of an environment in which tapegrad is installed, so it imports nothing that tapegrad
itself does not, and changes nothing in a run that does not use it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from ._depth import DEPTH, DEPTHS

_MARKER = (
    "gradients(depth): a test of gradients; depth is 'quick' or 'deep', unless --gradients says otherwise "
    "(tapegrad.testing marks those made by gradient_property)"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--gradients`."""
    parser.getgroup("tapegrad", "gradient tests (tapegrad)").addoption(
        "--gradients",
        choices=DEPTHS,
        default=None,
        help="how thoroughly gradient_property and assert_gradients search: quick (25 points each, the default), or "
        "deep (500 points, more cotangents and memory layouts)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests made by `gradient_property`, so that `-m gradients` selects them."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_gradient_property", False):
            item.add_marker("gradients")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, None]:
    """Put the depth that the command line or the test's marker names in force."""
    depth = item.config.getoption("gradients", None)
    if depth is None:
        marks = (mark.args[0] if mark.args else mark.kwargs.get("depth") for mark in item.iter_markers("gradients"))
        depth = next((found for found in marks if found is not None), None)
    if depth is None:
        yield
        return
    if depth not in DEPTHS:
        raise pytest.UsageError(f"{item.nodeid}: got the marker gradients({depth!r}), expected 'quick' or 'deep'")
    token = DEPTH.set(depth)
    yield
    DEPTH.reset(token)
