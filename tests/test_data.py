"""Batches: every row once, in order or shuffled, for arrays and tensors; wrong calls are errors at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.data import batches
from tapegrad.errors import ShapeError


@given(length=st.integers(0, 40), size=st.integers(1, 50), shuffle=st.booleans(), seed=st.integers(0, 5))
def test_every_row_comes_once_and_rows_stay_together(length, size, shuffle, seed):
    x = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
    y = np.arange(length)
    found = list(batches(x, y, size=size, shuffle=shuffle, rng=seed))
    assert [len(labels) for _, labels in found] == [min(size, length - i) for i in range(0, length, size)]
    assert all(rows.dtype == np.float32 and np.array_equal(rows, x[labels]) for rows, labels in found)
    order = [int(label) for _, labels in found for label in labels]
    assert sorted(order) == list(range(length))
    if not shuffle:
        assert order == list(range(length))


def test_a_seed_repeats_the_order_and_a_generator_moves_on():
    y = np.arange(50)

    def order(rng):
        return np.concatenate([labels for (labels,) in batches(y, size=7, rng=rng)]).tolist()

    assert order(3) == order(3) != order(4)
    generator = np.random.default_rng(3)
    first, second = order(generator), order(generator)
    assert first == order(3)
    assert first != second


def test_batches_in_order_are_views_and_shuffled_ones_are_copies():
    x = np.zeros((4, 2))
    assert all(np.shares_memory(rows, x) for (rows,) in batches(x, size=3, shuffle=False))
    assert not any(np.shares_memory(rows, x) for (rows,) in batches(x, size=3, rng=0))


def test_lists_are_taken_for_arrays():
    assert [rows.tolist() for (rows,) in batches([1, 2, 3], size=2, shuffle=False)] == [[1, 2], [3]]


def test_gradients_pass_through_batches_of_a_tensor():
    x = tg.tensor(np.arange(5.0), requires_grad=True)
    for rows, weights in batches(x, np.arange(5.0), size=2, rng=0):
        assert isinstance(rows, tg.Tensor)
        np.sum(rows * weights).backward()
    assert x.grad.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("arrays", "size", "error", "sentence"),
    [
        ((np.zeros(3), np.zeros(4)), 2, ShapeError, "3, 4 rows"),
        ((), 2, ShapeError, "no array"),
        ((np.zeros(()),), 2, ShapeError, "0-d"),
        ((np.zeros(3),), 0, ValueError, "size=0"),
        ((np.zeros(3),), -1, ValueError, "size=-1"),
    ],
)
def test_wrong_calls_are_errors_before_the_first_batch(arrays, size, error, sentence):
    with pytest.raises(error, match=sentence):
        batches(*arrays, size=size)
