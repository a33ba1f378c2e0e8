"""Assignment: tensors are values, NumPy's result, the right gradient, and memory that nobody else needs is reused."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._op import RULES
from tapegrad.errors import DtypeError, LeafError, LostGradientError, UnsupportedError
from tapegrad.testing import check_gradients, strict

# What a test does on both: host arrays, and the stand-in for a device.
DEVICES = [np.asarray, strict.asarray]


def leaf(value, **options):
    return tg.tensor(value, requires_grad=True, **options)


def filled(value, index, shape):
    """Return zeros of `shape` after `[index] = value`, as a tensor."""
    t = tg.zeros(shape)
    t[index] = value
    return t


@st.composite
def writes(draw):
    """Return a shape, an index into it, and a shape that broadcasts to what the index names."""
    shape = draw(hnp.array_shapes(max_dims=3, max_side=4))
    advanced = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=5))
    boolean = hnp.arrays(bool, shape)
    index = draw(st.one_of(hnp.basic_indices(shape, allow_newaxis=True), advanced, boolean))
    selected = np.zeros(shape)[index].shape
    value = tuple(draw(st.sampled_from([n, 1])) for n in selected)
    return shape, index, draw(st.sampled_from([value, value[1:] if value[:1] == (1,) else value, (1, *value)]))


@given(writes(), st.randoms(use_true_random=False))
def test_result_and_gradients_are_those_of_writing_one_entry_after_another(write, random):
    shape, index, value_shape = write
    rng = np.random.default_rng(random.getrandbits(32))
    x, v = rng.normal(size=shape), rng.normal(size=value_shape)
    expected = x.copy()
    try:
        expected[index] = v
    except (TypeError, ValueError) as error:  # axes of length one in front, which NumPy ignores for some indices only
        t = leaf(x).copy()
        with pytest.raises(type(error)):
            t[index] = leaf(v)
        np.testing.assert_array_equal(t.detach().numpy(), x)
        return

    # Which entry of v every entry of the result comes from, or -1 - its own number.
    origin = -1 - np.arange(x.size).reshape(shape)
    origin[index] = np.arange(v.size).reshape(value_shape)
    g = rng.normal(size=shape)
    of_x, of_v = np.zeros(x.size), np.zeros(v.size)
    for number, cotangent in zip(origin.ravel(), g.ravel(), strict=True):
        if number < 0:
            of_x[-1 - number] += cotangent
        else:
            of_v[number] += cotangent

    a, b = leaf(x), leaf(v)
    t = a.copy()
    t[index] = b
    np.testing.assert_array_equal(t.detach().numpy(), expected)
    t.backward(g)
    np.testing.assert_allclose(a.grad.numpy().ravel(), of_x, atol=1e-12)
    np.testing.assert_allclose(b.grad.numpy().ravel(), of_v, atol=1e-12)


@pytest.mark.parametrize("asarray", DEVICES)
def test_of_several_writes_to_one_entry_the_last_counts(asarray):
    a = leaf(asarray(np.array([10.0, 20.0, 30.0])))
    t = tg.tensor(asarray(np.zeros(2)))
    t[[0, 1, 0]] = a
    assert t.tolist() == [30, 20]
    t.sum().backward()
    assert a.grad.tolist() == [0, 1, 1]


@pytest.mark.parametrize("asarray", DEVICES)
def test_of_several_writes_of_one_number_one_counts(asarray):
    a = leaf(asarray(np.array(3.0)))
    t = tg.tensor(asarray(np.zeros((2, 2))))
    t[[0, 0]] = a
    assert t.tolist() == [[3, 3], [0, 0]]
    t.sum().backward()
    assert a.grad.item() == 2


@given(st.data())
def test_last_is_meant_in_the_order_of_the_index_whatever_its_layout(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=4))
    index = data.draw(hnp.arrays(np.intp, shape, elements=st.integers(0, 2)))
    values = np.arange(float(index.size)).reshape(shape)
    expected = [0.0, 0.0, 0.0]
    for i, value in zip(index.ravel(), values.ravel(), strict=True):
        expected[i] = value
    axes = data.draw(st.permutations(range(len(shape))))
    back = np.argsort(axes)
    a = leaf(np.ascontiguousarray(values.transpose(axes)).transpose(back))
    t = tg.zeros(3)
    t[np.ascontiguousarray(index.transpose(axes)).transpose(back)] = a
    assert t.tolist() == expected
    t.sum().backward()
    assert a.grad.numpy().sum() == len(set(index.ravel()))
    assert (a.grad.numpy() * values).sum() == sum(expected)


def test_adding_in_place_at_a_repeated_index_adds_once():
    x = leaf([1.0, 2.0])
    t = x * 1
    t[[0, 0]] += 1
    assert t.tolist() == [2, 2]
    t.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_overwritten_entries_get_no_gradient():
    x, v = leaf([1.0, 2.0, 3.0]), leaf(5.0)
    t = x * 2
    t[1:] = v
    t.backward(np.array([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [2, 0, 0]
    assert v.grad.item() == 110


def test_zero_cotangents_of_infinite_ones_stay_zero():
    v = leaf([1.0, 2.0])
    t = filled(v, slice(0, 2), 3)
    t.backward(np.array([np.inf, 1.0, np.nan]))
    assert v.grad.tolist() == [np.inf, 1]
    x = leaf([1.0, 2.0])
    t = x.copy()
    t[0] = 0.0
    t.backward(np.array([np.inf, 1.0]))
    assert x.grad.tolist() == [0, 1]


# Values: no other tensor changes


def test_views_copies_and_detached_tensors_do_not_change():
    x = leaf(np.arange(4.0))
    t = x * 1
    view, reshaped, detached, listed = t[1:], t.reshape(2, 2), t.detach(), t[[0, 1]]
    t[...] = 0.0
    assert t.tolist() == [0, 0, 0, 0]
    assert view.tolist() == [1, 2, 3]
    assert reshaped.tolist() == [[0, 1], [2, 3]]
    assert detached.tolist() == [0, 1, 2, 3]
    assert listed.tolist() == [0, 1]
    view[0] = 9.0
    assert t.tolist() == [0, 0, 0, 0]


def test_residuals_do_not_change():
    x = leaf([1.0, 2.0])
    t = np.exp(x)
    y = t * t
    t[0] = 100.0
    (y.sum() + t.sum()).backward()
    e = np.exp([1.0, 2.0])
    np.testing.assert_allclose(x.grad.numpy(), 2 * e**2 + [0, e[1]])


def test_the_array_that_a_tensor_shares_does_not_change():
    a = np.zeros(3)
    t = tg.as_tensor(a)
    t[0] = 1.0
    assert a.tolist() == [0, 0, 0]
    assert t.tolist() == [1, 0, 0]
    v = tg.tensor([5.0, 6.0])
    u = tg.zeros(2)
    u[...] = v
    u[0] = 0.0
    assert v.tolist() == [5, 6]


def test_a_tensor_may_be_assigned_to_itself():
    x = leaf([1.0, 2.0, 3.0])
    t = x * 1
    t[1:] = t[:-1]
    assert t.tolist() == [1, 1, 2]
    t[...] = t[::-1]
    t.backward(np.array([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [110, 1, 0]
    t = tg.arange(3.0)
    t[t[:2].astype(int)] = t[:2] + 5
    assert t.tolist() == [5, 6, 2]


def test_an_index_that_changes_later_changes_nothing():
    x = leaf([1.0, 2.0, 3.0])
    i, places = tg.tensor(0), [0, 1]
    y, z = x[i:], x[places]
    t = x * 1
    t[i] = 0.0
    t[places] = 0.0
    i += 2
    places.append(2)
    (y.sum() + z.sum() + t.sum()).backward()
    assert x.grad.tolist() == [2, 2, 2]


# Memory


def test_memory_is_reused_where_nobody_else_needs_it():
    t = tg.zeros(1000)
    t[0] = 1.0
    address = t.data.ctypes.data
    v = leaf(2.0)
    for i in range(20):
        t[i] = v * i
        assert t.data.ctypes.data == address
    y = t * t
    t[0] = 5.0
    assert t.data.ctypes.data != address
    y.sum().backward()
    assert v.grad.item() == sum(2 * (2.0 * i) * i for i in range(20))
    assert t[0].item() == 5


def test_filling_keeps_no_copies(monkeypatch):
    copied = []
    monkeypatch.setattr("tapegrad._tensor.as_array", _counting(copied))
    v, t = leaf(2.0), tg.zeros(500)
    copied.clear()
    for i in range(500):
        t[i] = v
    assert len(copied) <= 1
    t.sum().backward()
    assert v.grad.item() == 500


def _counting(calls):
    from tapegrad._array import as_array

    def counted(*args, **settings):
        if settings.get("copy"):
            calls.append(args)
        return as_array(*args, **settings)

    return counted


# Values of every kind


@pytest.mark.parametrize(
    "value", [2, 2.5, True, np.float64(2), np.array([1, 2, 3]), [1.0, 2.0, 3.0], np.array([[1, 2, 3]]), range(3)]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.complex128])
def test_constants_are_written_as_numpy_writes_them(value, dtype):
    a = np.ones((2, 3), dtype)
    t = tg.tensor(a)
    a[1] = value
    t[1] = value
    assert t.dtype == dtype
    np.testing.assert_array_equal(t.numpy(), a)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("of_value", [np.float64, np.float32, np.float16])
def test_gradients_have_the_dtypes_of_their_leaves(dtype, of_value):
    x, v = leaf(np.ones(3, dtype)), leaf(np.ones(1, of_value))
    t = x * 1
    t[1:] = v
    assert t.dtype == dtype
    t.sum().backward()
    assert (x.grad.dtype, v.grad.dtype) == (dtype, of_value)
    assert v.grad.tolist() == [2]


def test_real_values_in_complex_tensors():
    x, v = leaf(np.ones(2, complex)), leaf(3.0)
    t = x * 1
    t[0] = v
    np.sum(np.real(t * np.array([2 + 5j, 1j]))).backward()
    assert v.grad.item() == 2
    assert x.grad.tolist() == [0, -1j]


def test_float16_sums_in_single_precision():
    v = leaf(np.float16(0))
    filled_ = tg.zeros(4096, dtype=np.float16)
    filled_[...] = v
    filled_.backward(np.full(4096, 0.5, np.float16))
    assert v.grad.item() == 2048


def test_untracked_integers_and_booleans():
    t = tg.arange(4)
    t[t > 1] = tg.tensor([7, 8])
    t[0] += 5
    assert t.tolist() == [5, 1, 7, 8]
    assert not t.requires_grad
    flags = tg.tensor([True, False])
    flags[1] = True
    assert flags.tolist() == [True, True]


def test_assignment_makes_a_tensor_tracked_and_whole_assignment_untracked():
    v, t = leaf(1.0), tg.zeros(2)
    t[0] = v
    assert t.requires_grad
    u = v * np.ones(2)
    u[...] = 0.0
    v.grad = None
    (u.sum() + v).backward()
    assert v.grad.item() == 1


def test_without_recording_only_values_change():
    x = leaf([1.0, 2.0])
    with tg.no_grad():
        x[0] = 5.0
    assert x.requires_grad
    assert x.is_leaf
    (x * x).sum().backward()
    assert x.grad.tolist() == [10, 4]


# Orders and modes


def test_both_modes_and_orders_of_a_program_that_fills():
    def program(x, y):
        t = np.exp(x)
        t[1:] = t[:-1] * y
        t[[0, 0]] = t[[1, 2]] * t[[2, 1]]
        t[np.array([False, True, False, False])] += x[0]
        return t * t

    check_gradients(program, np.array([0.1, -0.2, 0.3, 0.4]), np.array(0.7))


def test_assignment_inside_derivatives():
    def f(x):
        t = tg.zeros(3)
        for i in range(3):
            t[i] = x**i
        return t.sum()

    assert tg.grad(f)(2.0).item() == 5
    assert tg.grad(tg.grad(f))(2.0).item() == 2
    value, tangent = tg.jvp(tg.grad(f), (2.0,), (1.0,))
    assert (value.item(), tangent.item()) == (5, 2)
    value, tangent = tg.jvp(lambda x: tg.jvp(f, (x,), (1.0,))[1], (2.0,), (1.0,))
    assert (value.item(), tangent.item()) == (5, 2)


# Statements of random programs: on the tensor or array t, the inputs x and y (scalars), and what was read before, u.
PLACES = [
    0,
    -1,
    slice(1, 3),
    slice(None, None, -1),
    slice(None, None, 2),
    [0, 2],
    [1, 1, 3],
    Ellipsis,
    (None, slice(2)),
]
PLACES += [np.array([True, False, True, False]), np.array([[0, 1], [3, 1]])]
VALUES = [
    lambda t, x, y, u: x * y,
    lambda t, x, y, u: np.sin(t[0]) + y,
    lambda t, x, y, u: 0.5,
    lambda t, x, y, u: u[1] * t[-1],
]
FUNCTIONS = [np.tanh, np.sin, lambda a, out: np.multiply(a, 1.5, out=out), lambda a, out: np.cumsum(a, out=out)]


def write(t, x, y, u, place, value):
    t[place] = value(t, x, y, u)


def add(t, x, y, u, place, value):
    t[place] += value(t, x, y, u)


def multiply(t, x, y, u, place, value):
    t[place] *= value(t, x, y, u)


def move(t, x, y, u, place, value):
    t[place] = t[place] - u[place]


def whole(t, x, y, u, place, value):
    t *= 0.5
    t += value(t, x, y, u)
    t -= u


@st.composite
def programs(draw):
    """Return a function of two scalars that fills an array of four by statements, each read or written in place."""
    statements = draw(
        st.lists(
            st.tuples(
                st.sampled_from([write, add, multiply, move, whole]), st.sampled_from(PLACES), st.sampled_from(VALUES)
            ),
            min_size=1,
            max_size=5,
        )
    )
    functions = draw(st.lists(st.sampled_from([None, *FUNCTIONS]), min_size=len(statements), max_size=len(statements)))

    def program(x, y):
        # Without tensors this is NumPy's own program, except that what is read is copied: tensors are values.
        t = np.cos(np.stack([x, y, x * y, x - y])) if isinstance(x, tg.Tensor) else np.cos([x, y, x * y, x - y])
        kept = []
        for (statement, place, value), function in zip(statements, functions, strict=True):
            u = t if isinstance(x, tg.Tensor) else t.copy()
            u = u[...]
            kept.append(u[::2] * u[1::2])
            statement(t, x, y, u, place, value)
            if function is not None:
                function(t, out=t)
        return np.concatenate([t, *kept])

    return program


@given(programs(), st.floats(-1, 1), st.floats(-1, 1))
def test_programs_that_write_are_numpys_and_right_in_both_modes_at_second_order(program, x, y):
    with tg.checked():
        result = program(tg.tensor(x, requires_grad=True), tg.tensor(y, requires_grad=True))
        np.testing.assert_array_equal(result.detach().numpy(), program(x, y))
        check_gradients(program, x, y, blame=False)


def test_a_loop_that_fills_an_array_step_by_step_at_every_order():
    def trajectory(x):
        t = tg.zeros((6, 2))
        t[0] = x
        for i in range(5):
            t[i + 1] = t[i] + 0.1 * np.sin(t[i, ::-1])
        return t

    def pure(x):
        steps = [x]
        for _ in range(5):
            steps.append(steps[-1] + 0.1 * np.sin(steps[-1][::-1]))
        return np.stack(steps)

    x, v = np.array([0.3, -1.2]), np.array([1.0, 2.0])
    check_gradients(trajectory, x, against=pure)
    for one, other in [
        (tg.jacobian(trajectory, mode="forward")(x), tg.jacobian(pure)(x)),
        (tg.hessian(lambda x: np.sum(trajectory(x) ** 2))(x), tg.hessian(lambda x: np.sum(pure(x) ** 2))(x)),
        (tg.linearize(trajectory, x)[1](v), tg.linearize(pure, x)[1](v)),
        (third(trajectory)(x), third(pure)(x)),
    ]:
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12, atol=1e-14)


def third(f):
    """Return a third derivative of the sum of squares of `f`, forward over reverse over reverse."""
    gradient = tg.grad(lambda x: np.sum(tg.grad(lambda x: np.sum(f(x) ** 2))(x) ** 2))
    return lambda x: tg.jvp(gradient, (x,), (np.ones_like(x),))[1]


def writes_to_its_argument(x):
    x[0] = x[1] * x[2]
    x[1:] += x[0]
    return x


TRANSFORMS = {
    "grad": lambda f, a: tg.grad(lambda x: np.sum(f(x) ** 2))(a),
    "grad of grad": lambda f, a: tg.grad(lambda x: tg.grad(lambda x: np.sum(f(x) ** 3))(x) @ a)(a),
    "jvp": lambda f, a: tg.jvp(f, (a,), (a,))[1],
    "jvp of jvp": lambda f, a: tg.jvp(lambda x: tg.jvp(f, (x,), (x * x,))[1], (a,), (a,))[1],
    "jvp of grad": lambda f, a: tg.jvp(tg.grad(lambda x: np.sum(f(x) ** 3)), (a,), (a,))[1],
    "grad of jvp": lambda f, a: tg.grad(lambda x: np.sum(tg.jvp(f, (x,), (x * x,))[1] ** 2))(a),
    "vjp, twice": lambda f, a: (lambda pull: pull(a)[0] + pull(a)[0])(tg.vjp(f, a)[1]),
    "hvp": lambda f, a: tg.hvp(lambda x: np.sum(f(x) ** 3), (a,), (a,)),
    "checkpoint": lambda f, a: tg.grad(lambda x: np.sum(tg.checkpoint(f)(x) ** 2))(a),
    "grad of checkpoint of grad": lambda f, a: tg.grad(
        lambda x: tg.checkpoint(tg.grad(lambda x: np.sum(tg.checkpoint(f)(x) ** 3)))(x) @ a
    )(a),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_functions_that_write_to_their_arguments_change_nothing_of_the_callers(name):
    def pure(x):
        first = x[1] * x[2]
        return np.stack([first, x[1] + first, x[2] + first])

    a = np.array([1.0, 2.0, 3.0])
    found, expected = (TRANSFORMS[name](f, a) for f in (writes_to_its_argument, pure))
    assert a.tolist() == [1, 2, 3]
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-12)
    # A tensor of the caller's stays what it is, too.
    t = tg.tensor(a)
    np.testing.assert_allclose(
        np.asarray(TRANSFORMS[name](writes_to_its_argument, t)), np.asarray(expected), rtol=1e-12
    )
    assert t.tolist() == [1, 2, 3]


def test_an_outer_tensor_that_is_written_inside_a_derivative():
    def outer(x):
        t = tg.zeros(2)

        def inner(y):
            t[0] = y * y
            t[1] = x
            return t[0] * y * t[1]

        return tg.grad(inner)(x), t

    assert outer(tg.tensor(2.0))[0].item() == 24  # 3 y^2 x
    assert tg.grad(lambda x: outer(x)[0])(2.0).item() == 36  # of 3 x^3
    assert tg.grad(lambda x: np.sum(outer(x)[1]))(2.0).item() == 5  # of x^2 + x


# out=


def test_out_takes_the_gradient_along_in_every_kind_of_function():
    def program(x):
        product, total, joined = tg.zeros((2, 2)), tg.zeros(2), tg.zeros(4)
        assert np.matmul(x, x, out=product) is product
        assert np.sum(product, axis=0, out=total) is total
        np.concatenate([total, total * x[0]], out=joined)
        np.add.accumulate(joined, out=joined)
        wholes, parts = tg.zeros(4), tg.zeros(4)
        np.modf(joined, out=(parts, wholes))
        np.einsum("ij,jk->ik", x, product, out=product)
        np.multiply(product, total, out=product, where=np.array([True, False]))
        np.clip(product, -5, 5, out=product)
        np.take(joined, [0, 3], out=total)
        return product, total, parts

    check_gradients(program, np.array([[0.4, 1.3], [-0.7, 0.6]]))


def test_out_leaves_views_residuals_and_earlier_values_alone():
    x = leaf([1.0, 2.0])
    t = x * 3
    view, y = t[1:], t * t
    np.exp(x, out=t)
    assert view.tolist() == [6]
    (y.sum() + t.sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), 18 * np.array([1.0, 2.0]) + np.exp([1.0, 2.0]))


def test_out_that_is_an_operand_too():
    x = leaf([0.5, 2.0])
    t = x * 1
    for _ in range(3):
        np.multiply(t, t, out=t)
    t.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 8 * np.array([0.5, 2.0]) ** 7)


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        (lambda: leaf(np.zeros(2)), LeafError, "cut it off from its gradient"),
        (lambda: tg.zeros(2, dtype=int), DtypeError, "out of dtype int64"),
        (lambda: tg.zeros(3), ValueError, "broadcast"),
        (lambda: np.zeros(2), LostGradientError, "plain array"),
    ],
)
def test_an_out_that_cannot_hold_the_result_is_refused_and_stays(out, error, words):
    x, target = leaf([1.0, 2.0]), out()
    with pytest.raises(error, match=words):
        np.sin(x, out=target)
    assert not np.any(target.data if isinstance(target, tg.Tensor) else target)


def test_the_rule_keeps_indices_and_shapes_only():
    x, v = leaf(np.ones(4)), leaf(2.0)
    t = x * 1
    t[1] = v
    assert t._record.op is RULES["assign"]
    assert {t._record.for_x, t._record.for_y} == {1, ((), 1)}


# What is refused, and that it leaves everything as it was


def test_a_tracked_leaf_refuses():
    x = leaf([1.0, 2.0])
    with pytest.raises(LeafError, match="cut it off from its gradient"):
        x[0] = 1.0
    assert x.tolist() == [1, 2]


def test_a_tracked_value_in_an_integer_tensor_refuses():
    t = tg.tensor([1, 2])
    with pytest.raises(DtypeError, match="its gradient would be lost"):
        t[0] = leaf(1.0)
    assert t.tolist() == [1, 2]


def test_a_tracked_index_refuses():
    x = leaf([1.0, 2.0])
    with pytest.raises(UnsupportedError, match="an index has no derivative"):
        x[x]
    with pytest.raises(UnsupportedError, match="an index has no derivative"):
        x.copy()[[x[0]]] = 1.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("index", "value", "error"),
    [
        (5, 1.0, IndexError),
        ([0, 7], 1.0, IndexError),
        (0.5, 1.0, IndexError),
        (slice(0, 2), [1.0, 2.0, 3.0], ValueError),
        ([True, False], 1.0, IndexError),
        (0, 1j, TypeError),
        (0, "one", (TypeError, ValueError)),
        (slice(None), np.array([1e300, 1.0, 1.0]), RuntimeWarning),
        (slice(None), 1e300, RuntimeWarning),
        (slice(None), np.array([1j, 1.0, 1.0]), np.exceptions.ComplexWarning),
    ],
)
def test_what_numpy_refuses_changes_nothing(index, value, error):
    x = leaf(np.array([1, 2, 3], np.float32))
    t = x * 1
    record = t._record
    with pytest.raises(error):
        t[index] = value
    assert t.tolist() == [1, 2, 3]
    assert t._record is record
    t.sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_a_python_integer_too_large_refuses():
    t = tg.zeros(2, dtype=np.int8)
    with pytest.raises(OverflowError):
        t[0] = 300
    assert t.tolist() == [0, 0]


def test_plain_arrays_refuse_tracked_tensors():
    a = np.zeros(3)
    with pytest.raises(LostGradientError, match=r"use item\(\)"):
        a[:] = leaf([1.0, 2.0, 3.0])
    with pytest.raises(UnsupportedError, match="make the array a tensor first"):
        np.put_along_axis(a, np.array([0]), leaf([1.0]), 0)
    assert a.tolist() == [0, 0, 0]


# NumPy's functions that assign


def test_put_along_axis_is_assignment():
    x, v = leaf(np.arange(6.0).reshape(2, 3)), leaf([[10.0], [20.0]])
    t = x * 1
    assert np.put_along_axis(t, np.array([[2], [0]]), v, axis=1) is None
    assert t.tolist() == [[0, 1, 10], [20, 4, 5]]
    t.backward(np.arange(6.0).reshape(2, 3))
    assert x.grad.tolist() == [[0, 1, 0], [0, 4, 5]]
    assert v.grad.tolist() == [[2], [3]]
    t = x * 1
    np.put_along_axis(t, np.array([5, 0]), 7.0, None)
    assert t.tolist() == [[7, 1, 2], [3, 4, 7]]


def test_the_constructor_refuses_tracked_tensors():
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(LostGradientError, match=r"got tapegrad.Tensor\(\) of a tracked tensor"):
        tg.Tensor(x * 2)
    assert tg.Tensor(x.detach()).tolist() == [1.0]
