"""Constants, metadata and refusals: what comes back, that nothing is tracked, and what the errors say."""

import io

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._op import CLASSIFIED, RULES
from tapegrad._tensor import OPS
from tapegrad.errors import TapegradError, UnsupportedError

X = np.array([[1.5, -2.5, 0.0], [3.0, np.nan, -np.inf]])
Y = np.array([[1.5, 2.0, -1.0], [0.0, 1.0, -np.inf]])
N = np.array([[6, 4, 9], [12, 5, 0]])


def leaf(value):
    return tg.tensor(value, requires_grad=True)


def agree(got, expected):
    """Assert that `got` is `expected` with untracked tensors in place of arrays."""
    if isinstance(expected, tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            agree(one, other)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert isinstance(got, tg.Tensor)
        assert not got.requires_grad
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got.data, expected)
    else:
        assert got == expected
        assert type(got) is type(expected)


@pytest.mark.parametrize(
    "function",
    [
        np.sign, np.floor, np.ceil, np.trunc, np.rint, np.round, np.spacing, np.signbit,
        np.isnan, np.isinf, np.isfinite, np.isposinf, np.isneginf, np.isreal, np.iscomplex, np.logical_not,
        np.all, np.any, np.argmax, np.argmin, np.argsort, np.argwhere, np.nonzero, np.flatnonzero, np.count_nonzero,
        lambda x: np.round(x, 1), lambda x: np.argmax(x, axis=1), lambda x: np.any(x, axis=0, keepdims=True),
        lambda x: np.argpartition(x, 1, axis=1), lambda x: np.lexsort(x), lambda x: np.isin(x, [0.0, 3.0]),
        lambda x: np.digitize(x, [0.0, 1.0]), lambda x: np.searchsorted(np.arange(4.0), x),
        lambda x: np.nanargmax(x, axis=0), lambda x: np.count_nonzero(x, axis=1),
        np.logical_and.reduce, np.logical_or.accumulate, lambda x: np.logical_xor.reduce(x, axis=1),
        lambda x: x > 0, lambda x: x == X, lambda x: x[0] // 2, lambda x: np.floor_divide(7.0, x[0, :2]),
        lambda x: x.argmax(), lambda x: x.any(), lambda x: x.round(),
        # NumPy 2.5 deprecates it.
        pytest.param(np.fix, marks=pytest.mark.filterwarnings("ignore:numpy.fix:DeprecationWarning")),
    ],
)  # fmt: skip
def test_constants_of_one_array(function):
    agree(function(leaf(X)), function(X))


@pytest.mark.parametrize(
    "function",
    [
        np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal,
        np.logical_and, np.logical_or, np.logical_xor, np.isclose, np.allclose, np.array_equal, np.array_equiv,
        np.greater.outer, np.logical_and.outer,
        lambda x, y: np.isclose(x, y, equal_nan=True),
    ],
)  # fmt: skip
def test_constants_of_two_arrays(function):
    for x, y in ((leaf(X), leaf(Y)), (leaf(X), Y), (X, leaf(Y))):
        agree(function(x, y), function(X, Y))


@pytest.mark.parametrize(
    "function",
    [
        np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.gcd, np.lcm, np.bitwise_and.outer, np.gcd.outer,
        lambda a, b: np.left_shift(a, b % 3), lambda a, b: a >> (b % 3), lambda a, b: ~a | b,
        lambda a, b: np.remainder(a, b + 1),
        lambda a, b: np.bitwise_count(a), lambda a, b: np.gcd.reduce(a, axis=1),
        lambda a, b: np.unravel_index(a, (4, 4)),
        lambda a, b: np.ravel_multi_index((a, a), (20, 20)), lambda a, b: np.packbits(a > b),
        lambda a, b: np.add.reduce(a),
    ],
)  # fmt: skip
def test_integers(function):
    agree(function(tg.tensor(N), tg.tensor(N[::-1].copy())), function(N, N[::-1]))


def test_constants_store_their_results():
    out = tg.tensor([False, False])
    assert np.greater(leaf([1.0, -1.0]), 0, out=out) is out
    assert out.data.tolist() == [True, False]
    plain = np.zeros(2)
    assert np.floor(tg.tensor([1.5, -1.5]), out=plain) is plain
    assert plain.tolist() == [1, -2]


def test_constants_index_tensors():
    x = leaf([[3.0, 1.0], [2.0, 5.0]])
    np.sum(x[np.nonzero(x > 2)] * np.array([1.0, 10.0])).backward()
    assert x.grad.data.tolist() == [[1, 0], [0, 10]]
    x.grad = None
    x[np.tril_indices_from(x)].sum().backward()
    assert x.grad.data.tolist() == [[1, 0], [1, 1]]
    assert x[np.argmax(x, axis=0), np.arange(2)].data.tolist() == [3, 5]


@pytest.mark.parametrize(
    "function",
    [
        np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.array_repr, np.array_str, np.array2string,
        np.common_type, np.min_scalar_type,
        lambda x: np.result_type(x, np.float32), lambda x: np.can_cast(x.dtype, np.float32),
        lambda x: np.size(x, 1), lambda x: np.einsum_path("ij,kj->ik", x, x)[0],
    ],
)  # fmt: skip
def test_metadata_answers_as_of_an_array(function):
    assert function(leaf(X)) == function(X)
    assert type(function(leaf(X))) is type(function(X))


def test_memory_is_compared():
    x = leaf([1.0, 2.0, 3.0])
    y = x.detach()[1:]
    assert np.shares_memory(x.detach(), y)
    assert not np.may_share_memory(x, tg.tensor([1.0]))


def test_values_are_written_to_files():
    x = leaf(X)
    for save in (np.save, np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, x)
        file.seek(0)
        loaded = np.load(file)
        np.testing.assert_array_equal(loaded if save is np.save else loaded["arr_0"], X)
    file = io.StringIO()
    np.savetxt(file, x)
    np.testing.assert_array_equal(np.loadtxt(file.getvalue().splitlines()), X)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.putmask(x, x > 0, 1),
        lambda x: np.place(x, x > 0, [1]),
        lambda x: np.put(x, [0], [1]),
        lambda x: np.fill_diagonal(x, 1),
    ],
)
def test_writing_functions_are_refused_with_advice(call):
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(UnsupportedError, match=r"refused on tensors: .*assign.*np\.where"):
        call(x)
    assert x.data.tolist() == [[1, 2], [3, 4]]


def test_methods_that_write_are_refused_with_advice():
    x = leaf([1.0, 2.0])
    with pytest.raises(UnsupportedError, match=r"multiply\.at writes into its operand .* apply multiply"):
        np.multiply.at(x, [0], 2.0)
    with pytest.raises(UnsupportedError, match=r"maximum\.at"):
        np.maximum.at(np.ones(2), [0], x)


def test_what_makes_plain_arrays_is_refused_for_tracked_tensors():
    x = leaf([1.0, 2.0])
    for call in (
        lambda: np.array([x, x]),
        lambda: np.asarray(x),
        lambda: np.full(2, x),
        lambda: np.ascontiguousarray(x),
        lambda: np.asarray([1.0], like=x),
        lambda: np.full(2, x[0], like=x),
        lambda: np.arange(x[0], 3.0, like=x),
        lambda: np.frompyfunc(abs, 1, 1)(x),
    ):
        with pytest.raises(TapegradError, match=r"detach\(\)"):
            call()
    made = np.ones((2, 2), like=x)
    assert isinstance(made, tg.Tensor)
    assert np.asarray(x.detach()).tolist() == [1, 2]


def test_dates_are_refused():
    with pytest.raises(UnsupportedError, match="hold no dates"):
        np.busday_offset("2024-01-01", tg.tensor([1, 2]))


def test_functions_that_answer_about_values_have_no_rules():
    for function, (kind, reason) in CLASSIFIED.items():
        assert kind == "refused" or not reason
        assert (kind == "refused") == bool(reason)
        assert function in OPS
    assert not {"argmax", "floor", "shape"} & set(RULES)
