"""Joining and splitting: mixed operands and dtypes, places of many, and what is raised; the sweep does the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.errors import DeviceError, DtypeError
from tapegrad.testing import check_gradients, strict


def leaf(*shape, dtype=float):
    return tg.tensor(np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape) + 1, requires_grad=True)


# Joining


def test_many_arrays_get_their_own_pieces():
    xs = [leaf(n % 3) for n in range(200)]
    y = np.concatenate(xs)
    y.backward(np.arange(float(y.size)))
    np.testing.assert_array_equal(np.concatenate([x.grad.numpy() for x in xs]), np.arange(float(y.size)))


def test_offsets_of_joined_arrays_are_kept_once_for_all():
    xs = [leaf(2) for _ in range(50)]
    record = np.concatenate(xs)._record
    bounds = {id(value) for saved in record.for_x for value in saved if isinstance(value, tuple)}
    assert len(bounds) == 1


def test_arrays_numbers_and_lists_join_tensors():
    x = leaf(2)
    for y in (np.concatenate([x, np.ones(1)]), np.hstack([x, 1.0]), np.append(x, [1.0]), np.stack([x, [1.0, 2.0]])[0]):
        x.grad = None
        y.backward(np.ones(y.shape))
        np.testing.assert_array_equal(x.grad.numpy(), [1, 1])


def test_lists_join_tensors_on_another_device():
    x = tg.tensor(strict.asarray(np.ones(2)), requires_grad=True)
    y = np.stack([x, [1.0, 2.0]])
    assert y.device == "cuda:0"
    with pytest.raises(DeviceError, match="different devices"):
        np.concatenate([x, leaf(2)])


def test_each_input_keeps_its_dtype():
    x, y = leaf(2, dtype=np.float32), leaf(3, dtype=np.float64)
    z = np.concatenate([x, y, np.ones(1, np.int64)])
    assert z.dtype == np.float64
    z.backward(np.ones(6))
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)
    c = np.stack([x, leaf(2, dtype=np.complex64)])
    c.backward(np.full((2, 2), 1 + 1j, np.complex64))
    np.testing.assert_array_equal(x.grad.numpy(), [2, 2])


def test_the_tensor_function_stacks_nested_lists():
    x, y = leaf(2), leaf(2)
    z = tg.tensor([[x, y], [y, y]])
    assert z.shape == (2, 2, 2)
    z.backward(np.arange(8.0).reshape(2, 2, 2))
    np.testing.assert_array_equal(x.grad.numpy(), [0, 1])
    np.testing.assert_array_equal(y.grad.numpy(), [2 + 4 + 6, 3 + 5 + 7])


def test_one_tensor_in_two_places_gets_both_cotangents():
    x = leaf(2)
    np.concatenate([x, x]).backward(np.array([1.0, 2.0, 10.0, 20.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [11, 22])


def test_joins_refuse_what_numpy_refuses():
    x = leaf(2, 3)
    for call in (
        lambda: np.concatenate([x, leaf(3)]),
        lambda: np.concatenate([x, leaf(3, 2)]),
        lambda: np.concatenate([x, x], axis=2),
        lambda: np.concatenate([x, x], axis=-3),
        lambda: np.concatenate([x[0, 0], x[0, 0]]),
        lambda: np.stack([x, leaf(3, 2)]),
        lambda: np.stack([x, x], axis=4),
        lambda: np.vstack([x, leaf(2, 2)]),
        lambda: np.append(x, leaf(3), axis=0),
    ):
        with pytest.raises(ValueError, match=r".+"):
            call()
    with pytest.raises(TypeError, match="cast"):
        np.concatenate([x, x], dtype=np.float32, casting="safe")


# Blocks


def test_blocks():
    a, b, c = leaf(2, 2), leaf(2, 1), leaf(1, 3)

    def arranged(a, b, c):
        return np.block([[a, b], [c]])

    np.testing.assert_array_equal(
        arranged(a, b, c).detach().numpy(), arranged(*(t.detach().numpy() for t in (a, b, c)))
    )
    check_gradients(arranged, *(t.detach().numpy() for t in (a, b, c)))
    check_gradients(lambda a, b: np.block([[[a], [b]]]), np.ones((2, 2)), np.ones((1, 2, 2)))
    check_gradients(lambda a, b: np.block([a, b, 2.0]), np.ones(2), np.array(1.0))


def test_blocks_refuse_what_numpy_refuses():
    x = leaf(2)
    for arrays, error, words in (
        ([[x], x], ValueError, "mismatched"),
        ([(x, x)], TypeError, "tuple"),
        ([[x], []], ValueError, "empty"),
    ):
        with pytest.raises(error, match=words):
            np.block(arrays)


# Splitting


@given(n=st.integers(0, 7), sections=st.integers(1, 9) | st.lists(st.integers(-9, 9), max_size=4))
def test_parts_are_those_of_numpy(n, sections):
    x = leaf(2, n)
    parts = np.array_split(x, sections, axis=1)
    expected = np.array_split(x.detach().numpy(), sections, axis=1)
    assert type(parts) is list
    for got, part in zip(parts, expected, strict=True):
        np.testing.assert_array_equal(got.detach().numpy(), part)
    if parts:
        parts[0].backward(np.ones(parts[0].shape))
        assert x.grad.numpy().sum() == parts[0].size


def test_splits_refuse_what_numpy_refuses():
    x = leaf(3)
    with pytest.raises(ValueError, match="equal division"):
        np.split(x, 2)
    with pytest.raises(ValueError, match="larger than 0"):
        np.array_split(x, 0)
    with pytest.raises(ValueError, match="2 or more dimensions"):
        np.vsplit(x, 1)
    with pytest.raises(ValueError, match="3 or more dimensions"):
        np.dsplit(x, 1)
    with pytest.raises(ValueError, match="1 or more dimensions"):
        np.hsplit(x[0], 1)
    with pytest.raises(IndexError):
        np.split(x, 1, axis=1)


@pytest.mark.skipif(not hasattr(np, "unstack"), reason="NumPy before 2.1")
def test_unstacking():
    x = leaf(2, 3)
    first, second, third = np.unstack(x, axis=1)
    (first * 2 + third).backward(np.ones(2))
    np.testing.assert_array_equal(x.grad.numpy(), [[2, 0, 1], [2, 0, 1]])
    assert second.shape == (2,)
    with pytest.raises(ValueError, match="at least 1-d"):
        np.unstack(x[0, 0])
    with pytest.raises(ValueError, match="out of bounds"):
        np.unstack(x, axis=2)


# Adding and removing entries

places = st.integers(-4, 4) | st.lists(st.integers(-4, 4), max_size=4) | st.just(slice(None, None, 2))


@given(obj=places)
def test_insertions_are_those_of_numpy(obj):
    x = leaf(4, 2)
    for axis, values in ((0, 7.0), (0, np.array([5.0, 6.0])), (None, 7.0)):
        expected = np.insert(x.detach().numpy(), obj, values, axis=axis)
        got = np.insert(x, obj, values, axis=axis)
        np.testing.assert_array_equal(got.detach().numpy(), expected)
        if got.requires_grad:
            x.grad = None
            got.backward(np.ones(got.shape))
            np.testing.assert_array_equal(x.grad.numpy(), np.ones((4, 2)))


def test_inserted_values_have_gradients():
    check_gradients(lambda x, v: np.insert(x, [0, 2, 2], v), np.ones(4), np.arange(3.0))
    check_gradients(lambda x, v: np.insert(x, 1, v, axis=1), np.ones((2, 3)), np.arange(2.0))
    check_gradients(lambda x, v: np.insert(x, [1], v, axis=1), np.ones((2, 3)), np.ones((2, 2)))
    check_gradients(lambda v: np.insert(np.ones(3), 1, v), np.array(2.0))


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.2.0", reason="NumPy took booleans for integers, and warned"
)
def test_values_inserted_where_a_mask_is_true_have_gradients():
    check_gradients(lambda x, v: np.insert(x, np.array([True, False, True]), v), np.ones(3), np.arange(2.0))


def test_insertion_into_integers_would_lose_the_gradient():
    with pytest.raises(DtypeError, match="gradient would be lost"):
        np.insert(np.arange(3), 1, leaf(1))


@given(obj=st.integers(-4, 3) | st.lists(st.integers(-4, 3), max_size=5) | st.just(slice(1, None, 2)))
def test_deletions_are_those_of_numpy(obj):
    x = leaf(4, 2)
    expected = np.delete(x.detach().numpy(), obj, axis=0)
    got = np.delete(x, obj, axis=0)
    np.testing.assert_array_equal(got.detach().numpy(), expected)
    got.backward(np.ones(got.shape))
    assert x.grad.numpy().sum() == expected.size
    np.testing.assert_array_equal(np.delete(x, obj).detach().numpy(), np.delete(x.detach().numpy(), obj))


def test_places_that_do_not_exist_are_refused():
    x = leaf(3)
    with pytest.raises(IndexError, match="out of bounds"):
        np.insert(x, 5, 1.0)
    with pytest.raises(IndexError, match="out of bounds"):
        np.delete(x, 3)
    with pytest.raises(ValueError, match="boolean"):
        np.delete(x, [True, False])
    with pytest.raises(ValueError, match="out of bounds"):
        np.delete(x, 0, axis=1)
