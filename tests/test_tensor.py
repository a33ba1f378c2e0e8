"""Tensor: construction, what it refuses, what leaves the tape, NumPy's protocols, copies, representation."""

import copy
import math
import operator
import pickle
import re

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._tensor import OPS
from tapegrad.errors import (
    DeviceError,
    DtypeError,
    HistoryError,
    LeafError,
    LostGradientError,
    ShapeError,
    TapegradError,
    UnsupportedError,
)


def leaf(value, **options):
    return tg.tensor(value, requires_grad=True, **options)


# Construction


@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int64, np.bool_, np.complex128]), hnp.array_shapes(min_dims=0)
    )
)
def test_tensor_copies_and_as_tensor_shares(a):
    copied, shared = tg.tensor(a), tg.as_tensor(a)
    for t in (copied, shared):
        assert t.dtype == a.dtype
        assert t.shape == a.shape
        assert (t.ndim, t.size, t.nbytes, t.itemsize) == (a.ndim, a.size, a.nbytes, a.itemsize)
        assert np.array_equal(t.data, a, equal_nan=a.dtype.kind in "fc")
    assert not np.shares_memory(copied.data, a)
    assert shared.data is a


def test_tensor_of_nested_sequences_numbers_and_tensors():
    assert tg.tensor(3).dtype == np.int64
    assert tg.tensor([[1, 2.5]]).tolist() == [[1.0, 2.5]]
    a, b = leaf(1.0), leaf(2.0)
    t = tg.tensor([[a, b], [b, 0.0]])
    assert t.tolist() == [[1.0, 2.0], [2.0, 0.0]]
    np.sum(t * np.array([[1.0, 10.0], [100.0, 1000.0]])).backward()
    assert (a.grad.item(), b.grad.item()) == (1.0, 110.0)


def test_data_of_a_number_is_a_live_view():
    t = tg.tensor(1.0)
    t.data[...] = 5.0
    assert t.item() == 5.0
    t.data += 1.0
    assert t.item() == 6.0


def test_other_byte_orders_become_native():
    t = tg.tensor(np.arange(3.0).astype(">f8"), requires_grad=True)
    assert t.dtype.isnative
    np.sum(t * t).backward()
    assert t.grad.dtype == np.float64


@pytest.mark.parametrize(
    "data",
    [["a", "b"], np.array([None]), np.array("2020-01-01", "M8[D]"), [1, [2, 3]], np.ma.array([1.0], mask=[True])],
)
def test_data_that_no_tensor_holds(data):
    with pytest.raises(DtypeError, match=r"got .*"):
        tg.tensor(data)


@pytest.mark.parametrize("data", [1, [True], np.arange(3)])
def test_integer_leaves_are_refused(data):
    with pytest.raises(DtypeError, match="expected floating point or complex"):
        tg.tensor(data, requires_grad=True)
    t = tg.tensor(data)
    with pytest.raises(TypeError, match="derivatives"):
        t.requires_grad = True
    assert not t.requires_grad


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1:2"])
def test_unknown_devices(device):
    with pytest.raises(DeviceError, match="expected 'cpu', 'cuda'"):
        tg.tensor(1.0, device=device)


def test_creation_functions_agree_with_numpy():
    for ours, theirs in [
        (tg.zeros((2, 3)), np.zeros((2, 3))),
        (tg.ones(3, dtype=np.float32), np.ones(3, np.float32)),
        (tg.full((2,), 7), np.full((2,), 7)),
        (tg.eye(2, 3, 1), np.eye(2, 3, 1)),
        (tg.arange(5), np.arange(5)),
        (tg.arange(1.0, 2.0, 0.25), np.arange(1.0, 2.0, 0.25)),
        (tg.linspace(0, 1, 5), np.linspace(0, 1, 5)),
        (tg.zeros_like(tg.ones((2, 2), dtype=np.float32)), np.zeros((2, 2), np.float32)),
        (tg.ones_like(np.zeros(3), dtype=int), np.ones(3, int)),
        (tg.full_like(tg.ones(2), 4.0, shape=(3,)), np.full(3, 4.0)),
    ]:
        assert isinstance(ours, tg.Tensor)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours.data, theirs)
    assert tg.empty((4, 2)).shape == tg.empty_like(tg.zeros((4, 2))).shape == (4, 2)
    assert tg.ones(3, requires_grad=True).requires_grad


# requires_grad and grad


def test_requires_grad_can_be_switched_on_leaves_only():
    t = tg.tensor([1.0])
    assert t.is_leaf
    assert t.requires_grad_() is t
    assert t.requires_grad
    t.requires_grad = False
    assert not t.requires_grad
    y = leaf(1.0) * 2
    assert not y.is_leaf
    with pytest.raises(LeafError, match="detach"):
        y.requires_grad = False


def test_grad_has_shape_dtype_and_library_of_its_leaf():
    x = leaf(np.ones((2, 1), np.float32))
    np.sum(x * np.ones(3)).backward()
    assert (x.grad.dtype, x.grad.shape) == (np.float32, (2, 1))
    assert isinstance(x.grad.data, np.ndarray)


def test_grad_can_be_set_deleted_and_is_checked():
    x = leaf(np.ones(2))
    x.grad = np.array([1.0, 2.0])
    np.sum(x).backward()
    assert x.grad.tolist() == [2.0, 3.0]
    del x.grad
    assert x.grad is None
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        x.grad = np.ones(3)
    with pytest.raises(LeafError):
        tg.tensor(1.0).grad = 1.0


def test_an_input_that_the_output_does_not_depend_on_keeps_none():
    x, y = leaf(1.0), leaf(2.0)
    (x * 2).backward()
    assert y.grad is None
    assert tg.grad(lambda a, b: a * 2, argnums=1)(1.0, np.ones(3)).tolist() == [0.0] * 3


# backward's bad input


def test_backward_needs_a_number_or_a_cotangent_of_its_shape():
    x = leaf(np.ones(3))
    y = x * 2
    for gradient, error, words in [
        (None, ShapeError, r"shape \(3,\).*sum it first"),
        (np.ones(2), ShapeError, r"\(2,\), expected \(3,\)"),
        (np.ones(3) * 1j, DtypeError, "complex"),
    ]:
        with pytest.raises(error, match=words):
            y.backward(gradient)
        assert x.grad is None
    y.backward([1, 2, 3])
    assert x.grad.tolist() == [2.0, 4.0, 6.0]


def test_size_one_tensors_of_any_rank_need_no_cotangent():
    x = leaf([[2.0]])
    (x * x).backward()
    assert x.grad.tolist() == [[4.0]]


def test_backward_of_an_untracked_tensor():
    with pytest.raises(HistoryError, match="requires_grad=True"):
        tg.tensor(1.0).backward()
    with tg.no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="no_grad"):
        y.backward()


def test_backward_of_a_leaf_and_of_a_complex_loss():
    x = leaf(2.0)
    x.backward()
    x.backward()
    assert x.grad.item() == 2.0
    z = leaf(1 + 2j)
    with pytest.raises(DtypeError, match="complex"):
        (z * z).backward()
    assert z.grad is None


def test_complex_gradients_are_directions_of_steepest_ascent():
    z = leaf(1 + 2j)
    np.real(z * np.conj(z)).backward()
    assert z.grad.item() == 2 + 4j
    z.grad = None
    np.real(z * z).backward()
    assert z.grad.item() == 2 - 4j
    x = leaf(3.0)
    np.real(x * (1 + 2j)).backward()
    assert x.grad.item() == 1.0
    assert tg.grad(lambda z: np.real(z * np.conj(z)))(1 + 2j).item() == 2 + 4j


# Silent losses


@pytest.mark.parametrize(
    "lose",
    [
        float,
        int,
        complex,
        math.sin,
        np.asarray,
        lambda t: np.array([t, t]),
        lambda t: t.numpy(),
        lambda t: np.r_[t, t],
        lambda t: tg.tensor(t),
        lambda t: operator.iadd(np.ones(()), t),
        lambda t: np.add(1.0, t, out=np.ones(())),
    ],
)
@pytest.mark.parametrize("make", [lambda: leaf(1.0), lambda: leaf(1.0) * 2.0])
def test_conversions_that_lose_a_gradient_are_refused(lose, make):
    t = make()
    with pytest.raises(LostGradientError, match="detach"):
        lose(t)
    with tg.no_grad():
        lose(t)
    lose(t.detach())
    t.backward()
    if not t.is_leaf:
        lose(t)


def test_plain_arrays_are_not_changed_by_a_refused_operation():
    a = np.ones(2)
    with pytest.raises(LostGradientError):
        a += leaf(np.ones(2))
    assert a.tolist() == [1.0, 1.0]
    a += tg.tensor([1.0, 2.0])
    assert a.tolist() == [2.0, 3.0]


def test_explicit_reads_always_work(capsys):
    t = leaf([1.5, 2.0]) * 2.0
    assert t[0].item() == 3.0
    assert t.item(1) == 4.0
    assert t.tolist() == [3.0, 4.0]
    print(t, f"{t[0]:.2f}", repr(t))
    assert "3.00" in capsys.readouterr().out
    assert bool(t[0] > 2)
    assert 4.0 in t
    assert 5.0 not in t
    assert max(t[0], t[1]).item() == 4.0
    assert sum([t[0], t[1]]).item() == 7.0
    assert len(t) == 2
    assert [x.item() for x in t] == [3.0, 4.0]


def test_iteration_and_length_of_numbers():
    with pytest.raises(TypeError, match="0-d"):
        len(tg.tensor(1.0))
    with pytest.raises(TypeError, match="0-d"):
        iter(tg.tensor(1.0))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(tg.tensor([1.0, 2.0]))


# Operators and protocols


@pytest.mark.parametrize(
    "operate",
    [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.floordiv, operator.mod],
)
@pytest.mark.parametrize("other", [2, 2.0, np.float64(2), np.array([2.0, 3.0]), [2.0, 3.0]])
def test_operators_with_constants_on_both_sides(operate, other):
    a = np.array([1.5, 2.5])
    t = leaf(a)
    for got, expected in [(operate(t, other), operate(a, other)), (operate(other, t), operate(other, a))]:
        assert isinstance(got, tg.Tensor)
        assert np.array_equal(got.data, expected)
        assert got.dtype == expected.dtype


def test_operators_leave_foreign_types_to_themselves():
    class Foreign:
        def __radd__(self, other):
            return "radd"

        def __array_ufunc__(self, *args, **kwargs):
            return "ufunc"

    assert tg.tensor(1.0) + Foreign() in ("radd", "ufunc")
    with pytest.raises(TypeError):
        tg.tensor(1.0) + "a"
    with pytest.raises(TypeError):
        tg.tensor(1.0) + object()
    with pytest.raises(TypeError):
        tg.tensor(1.0) < None  # noqa: B015


def test_comparisons_are_elementwise_constants_and_hash_is_identity():
    t = leaf([1.0, 2.0])
    assert (t == t).tolist() == [True, True]
    assert (t > 1).tolist() == [False, True]
    assert not (t > 1).requires_grad
    assert {t: "value"}[t] == "value"


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_python_numbers_keep_narrow_dtypes_and_numpy_scalars_do_not(dtype):
    x = leaf(np.ones(3, dtype))
    assert (x * 2.0).dtype == (2 - x).dtype == (x / 3).dtype == (x**2).dtype == dtype
    wide = x * np.float64(2)
    assert wide.dtype == np.float64
    np.sum(wide).backward()
    assert x.grad.dtype == dtype


def test_numpy_functions_operators_and_scalars_dispatch():
    x = leaf([1.0, 4.0])
    for y in (np.sqrt(x), np.array([1.0, 1.0]) * x, np.float64(2) * x, np.add.reduce(x), np.ones((2, 2)) @ x):
        assert isinstance(y, tg.Tensor)
        assert y.requires_grad
    assert np.shape(x) == (2,)
    assert np.ndim(x) == 1


@pytest.mark.parametrize("function", [np.sinc, np.exp2])
def test_functions_without_rows_run_on_constants_and_refuse_tracked_tensors(function, monkeypatch):
    monkeypatch.delitem(OPS, function)
    assert function(tg.tensor([1.0, 2.0])).tolist() == function([1.0, 2.0]).tolist()
    with pytest.raises(UnsupportedError, match=rf"{function.__name__}.*detach"):
        function(leaf([1.0]))


def test_arguments_that_numpy_does_not_have_are_numpys_own_error():
    with pytest.raises(TypeError, match="bogus"):
        np.sum(leaf([1.0]), bogus=1)


def test_out_and_where_of_ufuncs():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    target = tg.zeros(2)
    result = np.multiply(x, y, out=target)
    assert result is target
    assert target.requires_grad
    np.sum(target).backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([3.0, 4.0], [1.0, 2.0])
    x.grad = y.grad = None
    target = tg.ones(2)
    np.multiply(x, y, out=target, where=np.array([True, False]))
    assert target.tolist() == [3.0, 1.0]
    np.sum(target).backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([3.0, 0.0], [1.0, 0.0])
    total = tg.zeros(())
    assert np.sum(x, out=total) is total
    assert total.requires_grad
    with pytest.raises(LostGradientError, match="out="):
        np.sum(x, out=np.zeros(()))
    with pytest.raises(UnsupportedError, match=r"np\.where"):
        np.multiply(x, y, where=np.array([True, False]))


def test_every_operator_and_method_of_arrays_is_there():
    missing = [
        name
        for name in dir(np.ndarray)
        if not hasattr(tg.Tensor, name)
        and not re.match("_[^_]", name)
        and name
        not in {
            # memory layout, buffers and files: numpy() gives the array that has them
            *("base", "ctypes", "data", "dump", "dumps", "flags", "getfield", "newbyteorder", "setfield", "setflags"),
            *("strides", "tobytes", "tofile", "tostring", "view", "byteswap", "itemset", "resize", "to_device"),
            # in-place operations without a derivative
            *("partition", "put"),
            # only there to say that it is gone, in older versions of NumPy
            "ptp",
            # protocols that would swallow the tensor, or are for subclasses of ndarray
            *("__array_interface__", "__array_struct__", "__array_finalize__", "__array_priority__", "__array_wrap__"),
            *("__array_namespace__", "__buffer__", "__class_getitem__", "__delitem__", "__dlpack__"),
            *("__dlpack_device__", "__setstate__"),
        }
    ]
    assert missing == []


def test_cupy_protocols_that_would_swallow_a_tensor_are_absent():
    for name in ("__cuda_array_interface__", "__cupy_get_ndarray__"):
        assert not hasattr(tg.tensor(1.0), name)


# Copies


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_drop_history_and_keep_requires_grad(make):
    x = leaf([1.0, 2.0])
    y = x * 2.0
    for t in (x, y, tg.tensor([1, 2])):
        made = make(t)
        assert made.is_leaf
        assert made.requires_grad == t.requires_grad
        assert made.tolist() == t.tolist()
    np.sum(make(y) * 3.0).backward()
    assert x.grad is None


def test_deepcopy_copies_values_and_gradient():
    x = leaf([1.0])
    (x * 2).backward()
    made = copy.deepcopy([x, x])
    assert made[0] is made[1]
    made[0].data[0] = 9.0
    made[0].grad.data[0] = 9.0
    assert (x.item(), x.grad.item()) == (1.0, 2.0)


def test_copy_method_is_recorded_and_detach_shares():
    x = leaf([1.0])
    c = x.copy()
    assert not c.is_leaf
    assert not np.shares_memory(c.data, x.data)
    assert x.detach().data is x.data
    assert not x.detach().requires_grad


def test_astype_and_to():
    x = leaf(np.ones(2, np.float32))
    y = x.astype(np.float64)
    assert y.dtype == np.float64
    np.sum(y * 3.0).backward()
    assert x.grad.dtype == np.float32
    assert x.to("cpu") is x
    assert x.to(np.float64).dtype == x.to(y).dtype == np.float64
    assert x.detach().astype(int).dtype == np.int64
    with pytest.raises(DtypeError, match="lost"):
        x.astype(int)


# Representation


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tg.tensor(1.5), "tensor(1.5)"),
        (lambda: leaf([1.0, 2.0]), "tensor([1., 2.], requires_grad=True)"),
        (lambda: leaf(2.0) * 3.0, "tensor(6., op=multiply)"),
        (lambda: tg.tensor(np.float32([1.0])), "tensor([1.], dtype=float32)"),
        (lambda: tg.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        (lambda: tg.tensor(True), "tensor(True)"),
    ],
)
def test_repr(make, text):
    assert repr(make()) == text


def test_errors_are_built_in_errors_too():
    for error, base in [
        (ShapeError, ValueError),
        (DtypeError, TypeError),
        (DeviceError, TypeError),
        (HistoryError, RuntimeError),
        (LeafError, RuntimeError),
        (LostGradientError, TypeError),
        (UnsupportedError, TypeError),
    ]:
        assert issubclass(error, base)
        assert issubclass(error, TapegradError)


def test_out_of_ufuncs_with_several_results():
    x = leaf([1.5, -2.25])
    fractions, wholes = tg.zeros(2), tg.zeros(2)
    result = np.modf(x, out=(fractions, wholes))
    assert result[0] is fractions
    assert result[1] is wholes
    assert (fractions.tolist(), wholes.tolist()) == ([0.5, -0.25], [1.0, -2.0])
    np.sum(fractions).backward()
    assert x.grad.tolist() == [1.0, 1.0]


# Faults that once were


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_matrices_are_arrays_and_masked_or_object_operands_are_refused():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    y = x * matrix
    assert y.tolist() == [[1.0, 4.0], [9.0, 16.0]]
    np.sum(y).backward()
    assert type(x.grad.data) is np.ndarray
    for other in (np.ma.array([1.0, 2.0], mask=[0, 1]), np.array([3, 4], object)):
        with pytest.raises(DtypeError):
            leaf([1.0, 2.0]) * other


def test_masked_out_entries_of_ufuncs_have_no_value_and_no_derivative():
    x = leaf([0.0, 1.0, 4.0])
    out = np.log(x, out=tg.zeros(3), where=np.array([False, True, True]))
    np.sum(out).backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.25]


def test_create_graph_gives_every_leaf_a_gradient_of_its_own():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    seed = np.ones(2)
    (a + b).backward(seed, create_graph=True)
    a.grad.data[0] = seed[1] = 9.0
    assert b.grad.tolist() == [1.0, 1.0]


def test_a_tensor_as_out_by_position_never_damages_a_residual():
    x, c = leaf([1.0, 2.0]), tg.tensor([3.0, 4.0])
    y = np.sum(x * c)
    with pytest.raises(UnsupportedError, match="out=tensor"):
        np.round(np.array([9.4, 9.6]), 0, c)
    np.take(c, [0, 0], 0, c)
    assert c.tolist() == [3.0, 3.0]
    y.backward()
    assert x.grad.tolist() == [3.0, 4.0]


def test_freezing_keeps_gradient_and_history():
    x = leaf([1.0, 2.0])
    np.sum(x * x).backward()
    y = np.sum(x * x)
    x.requires_grad = False
    assert x.grad is None
    x.requires_grad = True
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_later_backward_keeps_the_history_of_the_gradient():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    (x * 2).backward()
    first = x.grad
    x.grad = None
    first.backward()
    assert (first.item(), x.grad.item()) == (29.0, 18.0)


def test_assignment_under_no_grad_to_recorded_results_is_refused():
    y = leaf([1.0, 2.0]) * 2
    with tg.no_grad(), pytest.raises(LostGradientError, match="detach"):
        y[0] = 0.0
    np.sum(y).backward()
    with tg.no_grad():
        y[0] = 0.0


@pytest.mark.parametrize("product", [np.dot, np.outer, np.inner, np.vdot])
def test_numbers_in_products_leave_the_gradient_its_dtype(product):
    for dtype in (np.float32, np.float16):
        x = leaf(np.ones((), dtype))
        for f in (lambda x: product(x, 2.0), lambda x: product(2.0, x)):
            assert tg.grad(lambda x: np.sum(f(x) ** 2))(x.detach()).dtype == dtype  # noqa: B023


def test_dtype_and_casting_of_ufuncs_are_numpys():
    t = tg.tensor([1.5, 2.5], dtype=np.float32)
    assert np.add(t, np.ones(2), dtype=np.float32).dtype == np.float32
    with pytest.raises(TypeError):
        np.add(t, 1.0, out=tg.tensor([0, 0]))
    whole = np.zeros((), int)
    with pytest.raises(TypeError):
        np.sum(t, out=whole)
    assert whole == 0


def test_comparisons_with_what_is_no_number():
    t = tg.tensor([1.0, 2.0])
    assert np.all(t != "abc")
    with pytest.raises(TypeError):
        leaf(np.zeros(0)) + None


def test_data_of_a_result_keeps_its_shape():
    y = leaf([1.0]) * 2
    with pytest.raises(ShapeError):
        y.data = np.zeros(5)
