"""Indexing and selection: every kind of index, the contract's rows, ties, costs and errors; the sweep does the rest."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._op import RULES
from tapegrad.errors import UnsupportedError
from tapegrad.ops.indexing import getitem, ungetitem
from tapegrad.testing import check_gradients, counting, strict


def leaf(value, **options):
    return tg.tensor(value, requires_grad=True, **options)


def slowly(g, shape, index):
    """Return zeros of `shape` with `g` added at `index`, one entry after another."""
    out = np.zeros(int(np.prod(shape)), g.dtype)
    for number, cotangent in zip(np.arange(out.size).reshape(shape)[index].ravel(), g.ravel(), strict=True):
        out[number] += cotangent
    return out.reshape(shape)


@st.composite
def indexed(draw):
    """Return a shape and any index into it: basic, advanced, boolean, or a mixture with NumPy's placement of axes."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4))
    if not shape:
        return shape, draw(
            st.sampled_from([(), Ellipsis, None, (None, Ellipsis), True, False, np.array(True), (True, None)])
        )
    kind = draw(st.sampled_from(["basic", "integers", "boolean", "mixed"]))
    if kind == "basic":
        return shape, draw(hnp.basic_indices(shape, allow_newaxis=True))
    if kind == "integers":
        return shape, draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=3, max_side=4)))
    if kind == "boolean":
        ndim = draw(st.integers(1, len(shape)))
        return shape, draw(hnp.arrays(bool, shape[:ndim]))
    index: list = []
    length = draw(st.integers(1, 4))
    for n in shape:
        entry = draw(st.sampled_from(["slice", "reversed", "number", "array", "list", "scalar array"]))
        if entry == "slice":
            index.append(draw(st.slices(n)))
        elif entry == "reversed":
            index.append(slice(None, None, -1))
        elif entry == "number":
            index.append(draw(st.integers(-n, n - 1)))
        elif entry == "scalar array":
            index.append(np.array(draw(st.integers(-n, n - 1))))
        else:
            numbers = draw(st.lists(st.integers(-n, n - 1), min_size=length, max_size=length))
            index.append(np.array(numbers) if entry == "array" else numbers)
    if draw(st.booleans()):
        index.insert(draw(st.integers(0, len(index))), None)
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(index)))
        index = [*index[:cut], Ellipsis, *index[cut:]]
    return shape, tuple(index)


@given(indexed(), st.sampled_from(["f", "d", "D"]))
def test_every_index_reads_numpys_entries_and_adds_cotangents_there(case, dtype):
    shape, index = case
    rng = np.random.default_rng(0)
    a = rng.normal(size=shape).astype(dtype)
    x = leaf(a)
    y = x[index]
    np.testing.assert_array_equal(y.detach().numpy(), a[index])
    assert y.dtype == a.dtype
    g = rng.normal(size=y.shape).astype(dtype)
    y.backward(g)
    np.testing.assert_allclose(x.grad.numpy(), slowly(g, shape, index), rtol=1e-5 if dtype == "f" else 1e-12, atol=1e-6)
    assert x.grad.dtype == a.dtype


@given(indexed())
def test_reading_and_its_transpose_pair_to_the_same_number(case):
    shape, index = case
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=shape), rng.normal(size=np.zeros(shape)[index].shape)
    np.testing.assert_allclose(np.sum(getitem(x, index) * g), np.sum(x * ungetitem(g, shape, index)), atol=1e-12)


@given(indexed())
def test_any_index_in_both_modes_at_second_order(case):
    shape, index = case
    check_gradients(lambda x: x[index] ** 3, np.random.default_rng(2).uniform(0.5, 1.5, shape))


# The contract


def test_repeated_indices_add():
    x = leaf([1.0, 2.0])
    x[[0, 0, 1]].sum().backward()
    assert x.grad.tolist() == [2, 1]


def test_repeated_indices_add_at_second_order():
    x = leaf([1.0, 2.0])
    y = x[[0, 0, 1]]
    (g,) = tg.gradients((y**3).sum(), [x], create_graph=True)
    assert g.tolist() == [6, 12]
    g.sum().backward()
    assert x.grad.tolist() == [12, 12]


@pytest.mark.parametrize("mask", [[True, False, True], [False, False, False], [True, True, True]])
def test_boolean_masks(mask):
    x = leaf([1.0, 2.0, 3.0])
    for index in (mask, np.array(mask), tg.tensor(mask)):
        x.grad = None
        y = x[index]
        assert y.tolist() == [v for v, m in zip([1, 2, 3], mask, strict=True) if m]
        y.sum().backward()
        assert x.grad.tolist() == mask


def test_boolean_masks_without_axes():
    x = leaf(3.0)
    for index, shape in ((True, (1,)), (False, (0,)), (np.array(True), (1,)), (np.bool_(False), (0,))):
        x.grad = None
        y = x[index]
        assert y.shape == shape
        y.sum().backward()
        assert x.grad.item() == len(y)


def test_mixed_indices_place_axes_as_numpy_does():
    x = leaf(np.arange(24.0).reshape(2, 3, 4))
    assert x[[0, 1], :, [1, 2]].shape == (2, 3)
    assert x[:, [0, 1, 1], [1, 2, 3]].shape == (2, 3)
    assert x[0, :, [1, 2]].shape == (2, 3)
    assert x[None, ..., [0]].shape == (1, 2, 3, 1)


@pytest.mark.parametrize("index", [tg.tensor([0, 2, 0]), [tg.tensor(0), 2, 0], (tg.tensor([0, 2, 0]),)])
def test_integer_tensors_are_constant_indices(index):
    x = leaf([1.0, 2.0, 3.0])
    y = x[index]
    assert y.tolist() == [1, 3, 1]
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 1]


def test_tensors_as_bounds_of_slices():
    x = leaf([1.0, 2.0, 3.0])
    y = x[tg.tensor(1) : tg.tensor(3)]
    assert y.tolist() == [2, 3]
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1]


def test_iteration_and_unpacking():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    (a, b), row = x
    (a * b + (row * row).sum()).backward()
    assert x.grad.tolist() == [[2, 1], [6, 8]]


@pytest.mark.parametrize("index", [7, (0, 0), "a", 0.5, [0.5], slice("a"), [3], [True, False], (None, 9)])
def test_what_numpy_refuses_is_refused_with_its_own_error(index):
    a = np.arange(3.0)
    try:
        a[index]
    except (IndexError, TypeError) as error:
        expected = type(error)
    with pytest.raises(expected):
        leaf(a)[index]


def test_tracked_indices_are_refused():
    x = leaf([1.0, 2.0])
    for index in (x, [x[0]], (x, 0)):
        with pytest.raises(UnsupportedError, match=r"an index has no derivative, so detach\(\) it"):
            x[index]


def test_float16_adds_up_in_single_precision():
    x = leaf(np.zeros(2, np.float16))
    y = x[np.zeros(4096, int)]
    y.backward(np.full(4096, 0.5, np.float16))
    assert x.grad.dtype == np.float16
    assert x.grad.tolist() == [2048, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_repeated_indices_on_a_device(dtype):
    x = leaf(strict.asarray(np.arange(6).reshape(3, 2).astype(dtype)))
    y = x[[0, 2, 0]]
    y.backward(strict.asarray(np.full((3, 2), 1 + 2 * (np.dtype(dtype).kind == "c"), dtype)))
    assert x.grad.dtype == dtype
    assert (x.grad.data.get() == np.array([[2, 2], [0, 0], [1, 1]]) * x.grad.data.get()[2, 0]).all()


def test_basic_indices_do_not_wait_for_a_device():
    x = leaf(strict.ones((4, 3)))
    with counting() as counts:
        (x[1:, 0] * x[0, 0]).sum().backward()
    assert (counts.synchronizations, counts.uploads) == (0, 0)


# What is kept, and at what price


def test_reading_keeps_a_shape_and_the_index():
    x = leaf(np.ones((3, 4)))
    assert x[1]._record.for_x == ((3, 4), 1)
    assert (x * 1)[:, 2]._record.for_x == ((3, 4), (slice(None), 2))


def test_no_scatter_where_indices_cannot_repeat(monkeypatch):
    def refuse(*args):
        raise AssertionError("scattered")

    monkeypatch.setattr("tapegrad.ops.indexing.scatter_add", refuse)
    monkeypatch.setattr("tapegrad.ops.indexing._added_up", refuse)
    x = leaf(np.arange(12.0).reshape(3, 4))
    for index in (
        1,
        (1, 2),
        slice(0, 2),
        (slice(None), 1),
        x.detach() > 3,
        ([True, False, True], slice(1)),
        [2],
        (0, [1]),
    ):
        x[index].sum().backward()
    for result in (np.sort(x), np.partition(x, 1), np.compress([True, False], x, 0), np.extract(x.detach() > 2, x)):
        result.sum().backward()
    with pytest.raises(AssertionError, match="scattered"):
        x[[0, 1]].sum().backward()


# Selection and sorting


def test_take_modes_out_of_range():
    x = leaf([1.0, 2.0, 3.0])
    for mode, expected in (("wrap", [0, 2, 1]), ("clip", [1, 0, 2])):
        x.grad = None
        np.take(x, [4, -4, 5], mode=mode).backward(np.array([1.0, 1.0, 1.0]))
        y = np.zeros(3)
        np.add.at(y, [4 % 3, -4 % 3, 5 % 3] if mode == "wrap" else [2, 0, 2], 1)
        assert x.grad.tolist() == y.tolist() == [*y], expected
    with pytest.raises(IndexError):
        np.take(x, [4])


def test_take_by_tensors_lists_and_numbers():
    x = leaf(np.arange(6.0).reshape(2, 3))
    for indices in (tg.tensor([2, 2]), [2, 2], np.array([2, 2])):
        x.grad = None
        np.take(x, indices, axis=1).sum().backward()
        assert x.grad.tolist() == [[0, 0, 2], [0, 0, 2]]
    y = np.take(x, 4)
    assert y.shape == ()
    assert y.item() == 4


@given(
    hnp.arrays(float, hnp.array_shapes(max_dims=3, max_side=5), elements=st.sampled_from([0.0, 1.0, 2.0])), st.data()
)
def test_sort_follows_the_stable_order_at_ties(a, data):
    axis = data.draw(st.one_of(st.none(), st.integers(-a.ndim, a.ndim - 1)))
    x = leaf(a)
    y = np.sort(x, axis=axis)
    np.testing.assert_array_equal(y.detach().numpy(), np.sort(a, axis=axis))
    g = np.arange(float(a.size)).reshape(y.shape)
    y.backward(g)
    flat, along = (a.ravel(), 0) if axis is None else (a, axis)
    expected = np.zeros(flat.shape)
    np.put_along_axis(expected, np.argsort(flat, axis=along, kind="stable"), g, along)
    np.testing.assert_array_equal(x.grad.numpy(), expected.reshape(a.shape))


@given(
    hnp.arrays(float, hnp.array_shapes(max_dims=2, max_side=6), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0])),
    st.data(),
)
def test_partition_gives_numpys_result_and_every_entry_one_cotangent(a, data):
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    kth = data.draw(st.integers(0, a.shape[axis] - 1))
    x = leaf(a)
    y = np.partition(x, kth, axis=axis)
    np.testing.assert_array_equal(y.detach().numpy(), np.partition(a, kth, axis=axis))
    g = 1 + np.arange(float(a.size)).reshape(a.shape)
    y.backward(g)
    assert sorted(x.grad.numpy().ravel()) == sorted(g.ravel())
    # Where the values agree, so do the sums of their cotangents.
    for value in np.unique(a):
        assert x.grad.numpy()[a == value].sum() == g[np.partition(a, kth, axis=axis) == value].sum()


def test_sort_refuses_fields():
    with pytest.raises(ValueError, match="order"):
        np.sort(leaf([1.0, 2.0]), order="a")


def test_choose_select_and_piecewise_give_cotangents_to_what_was_selected():
    x, y = leaf([1.0, 2.0, 3.0]), leaf(10.0)
    np.choose([0, 1, 1], [x, y]).sum().backward()
    assert (x.grad.tolist(), y.grad.item()) == ([1, 0, 0], 2)
    x.grad = y.grad = None
    np.select([x.detach() > 2, x.detach() > 1], [x * x, y * x], default=0).sum().backward()
    assert (x.grad.tolist(), y.grad.item()) == ([0, 10, 6], 2)
    x.grad = None
    np.piecewise(x, [x.detach() < 2, x.detach() > 2], [np.negative, lambda v: v * v, 7.0]).sum().backward()
    assert x.grad.tolist() == [-1, 0, 6]


def test_selection_refuses_what_numpy_refuses():
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match="invalid entry in choice array"):
        np.choose([0, 2], [x, x])
    with pytest.raises(TypeError, match="should be boolean"):
        np.select([[1, 0]], [x])
    with pytest.raises(ValueError, match="same length"):
        np.select([[True, False]], [x, x])
    with pytest.raises(ValueError, match="functions are expected"):
        np.piecewise(x, [[True, False]], [np.sin, np.cos, np.exp, np.exp])
    with pytest.raises(ValueError, match="1-d"):
        np.compress([[True]], x)
    with pytest.raises(IndexError):
        np.compress([True, False, True], x)
    with pytest.raises(UnsupportedError, match="choice numbers"):
        np.choose(leaf(0.0), [x, x])


def test_choose_and_select_have_numpys_dtypes():
    x = leaf(np.ones(2, np.float32))
    assert np.select([[True, False]], [x], default=0.0).dtype == np.float32
    assert np.select([[True, False]], [x], default=np.float64(0)).dtype == np.float64
    assert np.choose([0, 1], [x, np.ones(2)]).dtype == np.float64
    assert np.piecewise(x, [[True, False]], [1, 2]).dtype == np.float32


def test_functions_with_out():
    x, out = leaf([1.0, 2.0, 3.0]), tg.zeros(2)
    assert np.compress([True, False, True], x, out=out) is out
    out.sum().backward()
    assert x.grad.tolist() == [1, 0, 1]


@pytest.mark.parametrize("function", [np.argsort, np.argmax, np.nonzero, lambda x: np.searchsorted(x, 1.5)])
def test_positions_are_constants(function):
    result = function(leaf([1.0, 2.0]))
    assert not any(t.requires_grad for t in (result if isinstance(result, tuple) else (result,)))


def test_rows_are_the_weakest_word_that_fits():
    kinds = {name: RULES[name].kind for name in ("getitem", "ungetitem", "erase", "assign", "take", "take_along_axis")}
    assert set(kinds.values()) == {"linear"}


NUMBERS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "call",
    [
        *(
            lambda x, put, mode=mode: np.take(x, put([[0, 2], [1, 0]]), 1, mode=mode)
            for mode in ("raise", "wrap", "clip")
        ),
        *(lambda x, put, mode=mode: np.take(x, put([7, -8]), 1, mode=mode) for mode in ("wrap", "clip")),
        lambda x, put: np.take(x, put([7, -8]), mode="wrap"),
        lambda x, put: np.take(x, [[0, 5], [1, -2]], 1, mode="clip"),
        lambda x, put: np.take_along_axis(x, put([[0, 0], [2, 1]]), -1),
        lambda x, put: np.compress(put([True, False, True]), x, axis=1),
        lambda x, put: np.compress(put([False, True]), x, axis=1),
        lambda x, put: np.compress(put([False, True, True, False]), x, axis=1),
        lambda x, put: np.compress([0, 2, 1, 0], x, axis=1),
        lambda x, put: np.extract(put([[True, False, True], [False, False, True]]), x),
        lambda x, put: np.select([put(NUMBERS > 3), put(NUMBERS < 1)], [x, x * x], 2.0),
        lambda x, put: np.select([[True, False, True]], [x], 2.0),
        lambda x, put: np.choose([0, 1, 0], [x, -x]),
    ],
)
def test_selection_on_a_device_is_that_on_the_host(call):
    host, device = leaf(NUMBERS), leaf(strict.asarray(NUMBERS))
    out, there = call(host, np.asarray), call(device, lambda a: strict.asarray(np.asarray(a)))
    assert there.device == "cuda:0"
    np.testing.assert_array_equal(out.data, call(NUMBERS, np.asarray))
    np.testing.assert_array_equal(there.data.get(), out.data)
    np.sum(out * out).backward()
    np.sum(there * there).backward()
    np.testing.assert_array_equal(device.grad.data.get(), host.grad.data)


def test_compress_refuses_a_condition_that_is_true_beyond_the_end():
    for x in (leaf([1.0, 2.0]), leaf(strict.asarray([1.0, 2.0]))):
        with pytest.raises(IndexError, match=r"index 2 is out of bounds|beyond the end of the axis"):
            np.compress([True, False, True], x)


def test_take_writes_to_a_tensor():
    x, out = leaf([1.0, 2.0, 3.0]), tg.tensor([0.0, 0.0])
    assert np.take(x, [2, 0], out=out) is out
    np.sum(out * out).backward()
    np.testing.assert_array_equal(x.grad.data, [2, 0, 6])


@pytest.mark.parametrize("hi", [3, 50, 400])
@pytest.mark.parametrize("shape", [(400, 20), (400, 4, 5), (400, 3)])
def test_rows_that_are_read_again_and_again_add_up(shape, hi):
    rng = np.random.default_rng(0)
    rows = rng.integers(-hi, hi, 120)
    x = tg.tensor(rng.standard_normal(shape), requires_grad=True)
    g = rng.standard_normal((120, *shape[1:]))
    x[rows].backward(g)
    expected = np.zeros(shape)
    np.add.at(expected, rows, g)
    np.testing.assert_allclose(x.grad.data, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("gaps", [[], [0], [5, 6, 7, 30], [39], list(range(0, 40, 2)), list(range(40))])
def test_masks_of_one_axis_put_cotangents_back(axis, gaps):
    mask = np.ones(40, bool)
    mask[gaps] = False
    index = (slice(None),) * axis + (mask,)
    x = tg.tensor(np.arange(1600.0).reshape(40, 40), requires_grad=True)
    g = np.arange(1.0, 1.0 + x.detach()[index].size).reshape(x.detach()[index].shape)
    x[index].backward(g)
    expected = np.zeros((40, 40))
    expected[index] = g
    np.testing.assert_array_equal(x.grad.data, expected)
