"""Random tensors: NumPy's own numbers, reproducible by seed, tracked when asked."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import DeviceError, MissingPackageError


def test_draws_are_numpys_own_and_tensors():
    ours, theirs = tg.random.default_rng(7), np.random.default_rng(7)
    for got, expected in [
        (ours.random((2, 3)), theirs.random((2, 3))),
        (ours.uniform(-1, 1, 4), -1 + 2 * theirs.random(4)),
        (ours.normal(2.0, 3.0, (2,)), 2 + 3 * theirs.standard_normal(2)),
        (ours.integers(10, size=5), theirs.integers(10, size=5)),
        (ours.integers(2, 4, size=5), theirs.integers(2, 4, size=5)),
        (ours.permutation(6), theirs.permutation(6)),
    ]:
        assert isinstance(got, tg.Tensor)
        assert got.dtype == expected.dtype
        assert np.array_equal(got.data, expected)


def test_dtype_and_requires_grad():
    t = tg.random.default_rng(0).normal(size=3, dtype=np.float32, requires_grad=True)
    assert t.dtype == np.float32
    assert t.is_leaf
    assert t.requires_grad


@pytest.mark.parametrize(
    "draw",
    [
        tg.random.random,
        tg.random.uniform,
        tg.random.normal,
        lambda: tg.random.integers(1000),
        lambda: tg.random.permutation(100),
    ],
)
def test_seed_starts_the_shared_generator_anew(draw):
    tg.random.seed(3)
    first = draw()
    tg.random.seed(3)
    assert np.array_equal(first.data, draw().data)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises((DeviceError, MissingPackageError), match="cuda"):
        tg.random.default_rng(0, device="cuda:7")
