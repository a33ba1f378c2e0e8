"""What all tests share: hypothesis profiles, options, and the rewriting of golden files."""

import os
from pathlib import Path

import pytest

try:
    from hypothesis import HealthCheck, settings
except ImportError:
    # An installation without the package is tested by the files that need neither it nor what needs it.
    settings = None
    _NEED = ("import hypothesis", "from hypothesis", "random_program")
    collect_ignore = [
        str(path)
        for path in Path(__file__).parent.rglob("test_*.py")
        if any(words in path.read_text(encoding="utf-8") for words in _NEED)
    ]
else:
    _SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings.register_profile("quick", max_examples=10, deadline=None, derandomize=True, suppress_health_check=_SLOW)
    settings.register_profile("deep", max_examples=200, deadline=None, suppress_health_check=_SLOW)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_report_header():
    """Say what is left out."""
    return f"without hypothesis, {len(collect_ignore)} files are left out" if settings is None else None


def pytest_addoption(parser):
    parser.addoption("--rewrite", action="store_true", help="write golden files anew instead of comparing with them")


@pytest.fixture(scope="session")
def rewrite(request):
    """Whether golden files are to be written anew."""
    return request.config.getoption("--rewrite")


@pytest.fixture(scope="session")
def deep():
    """Whether the thorough profile was chosen: `--hypothesis-profile=deep`, or HYPOTHESIS_PROFILE=deep."""
    return settings is not None and settings.get_current_profile_name() == "deep"
