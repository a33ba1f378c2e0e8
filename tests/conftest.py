"""What all tests share: hypothesis profiles, options, and the rewriting of golden files."""

import os

import pytest
from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("quick", max_examples=10, deadline=None, derandomize=True, suppress_health_check=_SLOW)
settings.register_profile("deep", max_examples=200, deadline=None, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_addoption(parser):
    parser.addoption("--rewrite", action="store_true", help="write golden files anew instead of comparing with them")


@pytest.fixture(scope="session")
def rewrite(request):
    """Whether golden files are to be written anew."""
    return request.config.getoption("--rewrite")


@pytest.fixture(scope="session")
def deep():
    """Whether the thorough profile was chosen: `--hypothesis-profile=deep`, or HYPOTHESIS_PROFILE=deep."""
    return settings.get_current_profile_name() == "deep"
