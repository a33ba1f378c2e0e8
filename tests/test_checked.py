"""Checked mode: writes behind the tape's back are caught in the replay, and named; nothing else is."""

import gc
import inspect
import threading

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import _history, nn, optim
from tapegrad.errors import ForeignWriteError
from tapegrad.testing import strict as device


def line():
    """Return the number of the line that calls this."""
    return inspect.currentframe().f_back.f_lineno


def leaf(value):
    return tg.tensor(value, requires_grad=True)


def test_a_constant_operand_that_is_overwritten_is_named_with_line_and_advice():
    x, a = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    with tg.checked():
        where, y = line(), x * a
        a[...] = 0
        with pytest.raises(ForeignWriteError) as raised:
            y.sum().backward()
    text = str(raised.value)
    assert text.startswith(f"multiply, record #{y._record.position}, kept y for the gradient of its input x, and y was")
    assert f'line   File "{__file__}", line {where}, in test_a_constant' in text
    assert "where, y = line(), x * a\n" in text
    assert "y now  float64 (2,) all 0\n" in text
    assert "y is an operand that the program can write to" in text
    assert "tapegrad.tensor(a), which copies" in text
    assert isinstance(raised.value, RuntimeError)
    assert x.grad is None


def shared_leaf():
    a = np.array([1.0, 2.0])
    t = tg.as_tensor(a)
    t.requires_grad = True
    return t * t, lambda: a.__setitem__(0, 5.0)


def view_of_an_operand():
    a = np.arange(6.0).reshape(2, 3)
    return leaf(np.ones(2)) * a.T[::-1, :], lambda: a.__setitem__((1, 0), 9.0)


def index_array():
    i = np.array([0, 1])
    return leaf([1.0, 2.0])[i], lambda: i.__setitem__(1, 0)


def index_in_a_tuple():
    i = np.array([0, 1])
    return leaf(np.ones((2, 2)))[:, i], lambda: i.__setitem__(1, 0)


def index_of_a_write():
    t, i = tg.zeros(2), np.array([0, 1])
    t[i] = leaf([1.0, 2.0])
    return t, lambda: i.__setitem__(1, 0)


def data_of_a_result():
    y = np.exp(leaf([1.0, 2.0]))
    return y, lambda: y.data.__setitem__(0, 1.0)


def data_of_a_result_that_another_operation_keeps():
    y = leaf([1.0, 2.0]) + 1
    return np.sin(y), lambda: y.data.__setitem__(0, 1.0)


def operand_of_many():
    a = np.ones((2, 2))
    return np.einsum("i,ij,j->", leaf([1.0, 2.0]), a, leaf([1.0, 2.0])), lambda: a.fill(2)


def mask():
    chosen = np.array([True, False])
    return np.where(chosen, leaf([1.0, 2.0]), 0), lambda: chosen.fill(True)


def list_of_settings():
    axes = [0, 1]
    return np.roll(leaf(np.ones((3, 3))), [1, 2], axes), axes.reverse


def single_number():
    a = np.array(2.0)
    return leaf(3.0) * a, lambda: a.fill(0)


def value_that_becomes_nan():
    a = np.array([2.0, 3.0], np.float16)
    return leaf(np.ones(2, np.float16)) * a, lambda: a.fill(np.nan)


def sign_of_a_zero():
    a = np.zeros(2)
    return leaf([1.0, 2.0]) * a, lambda: np.negative(a, out=a)


def several_results():
    w, v = np.linalg.eigh(leaf([[2.0, 1.0], [1.0, 3.0]]))
    return w, lambda: v.data.fill(0)


def array_on_a_device():
    a = device.asarray(np.array([3.0, 4.0]))
    return leaf(device.asarray(np.ones(2))) * a, lambda: a.fill(0)


WRITES = [
    (shared_leaf, "multiply", "kept [xy] .* is a tracked leaf; it was updated in between"),
    (view_of_an_operand, "multiply", "y is an operand"),
    (index_array, "getitem", "index is an argument"),
    (index_in_a_tuple, "getitem", "index is an argument"),
    (index_of_a_write, "assign", "index is an argument"),
    (data_of_a_result, "exp", r"out is the result of exp; its array was written to \(t.data"),
    (data_of_a_result_that_another_operation_keeps, "sin", "x is the result of add, record #"),
    (operand_of_many, "einsum", "xs is an operand"),
    (mask, "where", "is an (operand|argument)"),
    (list_of_settings, "roll", "axis is an argument"),
    (single_number, "multiply", "y is an operand"),
    (value_that_becomes_nan, "multiply", "2 nan"),
    (sign_of_a_zero, "multiply", "y is an operand"),
    (several_results, "eigh", "v is the result of eigh"),
    (array_on_a_device, "multiply", "y is an operand"),
]


@pytest.mark.parametrize(("program", "operation", "words"), WRITES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_kind_of_foreign_write_is_caught(program, operation, words):
    with tg.checked():
        out, write = program()
        out.sum().backward(retain_graph=True)
        write()
        with pytest.raises(ForeignWriteError, match=f"(?s)^{operation}, record #.*{words}"):
            out.sum().backward()


@pytest.mark.parametrize("program", [row[0] for row in WRITES], ids=lambda program: program.__name__)
def test_without_the_mode_nothing_is_looked_at(program):
    out, write = program()
    write()
    out.sum().backward()


def test_an_update_in_place_between_two_replays_of_one_history():
    w, x = leaf(np.ones((2, 2))), leaf(np.ones((3, 2)))
    with tg.checked():
        loss = np.sum(x @ w)
        loss.backward(retain_graph=True)
        w.data[...] -= 0.1 * w.grad.data
        with pytest.raises(ForeignWriteError, match=r"(?s)^matmul, .* input x, .*a tracked leaf; it was updated"):
            loss.backward()


@pytest.mark.parametrize("make", [lambda w: optim.SGD([w], lr=0.1, momentum=0.9), lambda w: optim.Adam([w])])
def test_steps_of_optimizers_leave_what_a_retained_history_keeps(make):
    w, x = leaf(np.ones((2, 2))), leaf(np.ones((3, 2)))
    optimizer = make(w)
    with tg.checked():
        for _ in range(3):
            now = w.data.copy()
            loss = np.sum(np.tanh(x @ w))
            loss.backward(retain_graph=True)
            optimizer.step()
            assert not np.array_equal(w.data, now)
            first, x.grad = x.grad.tolist(), None
            loss.backward()
            assert x.grad.tolist() == first
            x.grad = None


def test_derivatives_of_the_replay_are_covered():
    a = np.array([3.0, 4.0])
    x = leaf([1.0, 2.0])
    with tg.checked():
        (g,) = tg.gradients(np.sum((x * a) ** 3), [x], create_graph=True)
        a[0] = 0
        with pytest.raises(ForeignWriteError, match="multiply"):
            g.sum().backward()


def test_transforms_are_covered():
    a = np.array([3.0, 4.0])
    with tg.checked():
        _, pull = tg.vjp(lambda x: x * a, np.ones(2))
        a[0] = 0
        with pytest.raises(ForeignWriteError, match="multiply"):
            pull(np.ones(2))
        assert tg.grad(lambda x: np.sum(x * a))(np.ones(2)).tolist() == [0, 4]
        assert tg.jvp(tg.grad(lambda x: np.sum(x * x * a)), (np.ones(2),), (np.ones(2),))[1].tolist() == [0, 8]


def test_what_is_recorded_in_one_context_is_checked_in_another():
    x, a = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    with tg.checked():
        y = (x * a).sum()
    a += 1
    with tg.checked(), pytest.raises(ForeignWriteError):
        y.backward()
    y = (x * a).sum()
    a += 1
    with tg.checked():
        y.backward()  # there was nobody to take a fingerprint


def test_writes_of_the_same_values_and_to_copies_change_nothing():
    x, a = leaf([1.0, np.inf]), np.array([3.0, np.nan])
    with tg.checked():
        y = (x * a + tg.tensor(a)).sum()
        a[...] = a.copy()
        y.backward()
        t = tg.tensor(a)
        y = (x * t).sum()
        t[0] = 7.0
        a[...] = 0
        y.backward()
    assert x.grad.tolist()[0] == 6


def test_training_with_everything_that_is_updated_in_place_is_no_fault():
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x, y = rng.normal(size=(16, 4)), rng.normal(size=(16, 1))
    with tg.checked():
        for _ in range(3):
            optimizer.zero_grad()
            loss = np.mean((model(x) - y) ** 2)
            loss.backward()
            optimizer.step()


def test_filling_in_memory_that_is_reused_is_no_fault():
    with tg.checked():
        x, t = leaf(2.0), tg.zeros(20)
        for i in range(20):
            t[i] = x * i
            t[: i + 1] *= x
        (t * t).sum().backward()
    assert np.isfinite(x.grad.item())


def test_rules_that_write_to_their_arguments_are_caught():
    def doubles(g, x):
        g *= 2
        return g * x

    def forgets(g, x):
        x[...] = 0
        return g

    x = leaf([1.0, 2.0])
    for rule, words in ((doubles, "writes to its cotangent"), (forgets, "writes to x")):
        op = tg.custom_rule(vjp=rule)(lambda x: x * x)
        with tg.checked():
            y = op(x + 0)
            with pytest.raises(ForeignWriteError, match=words):
                y.backward(np.ones(2))


def test_of_several_cotangents_a_write_is_caught_too():
    def vjp(gs, gc, s, c):
        gs += gc
        return gs * c

    circle = tg.custom_rule(vjp=vjp, outputs="s c")(lambda x: (np.sin(x), np.cos(x)))
    with tg.checked():
        s, c = circle(leaf([1.0, 2.0]))
        with pytest.raises(ForeignWriteError, match="its cotangent"):
            (s + c * 2).backward(np.ones(2))


@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.float16, np.longdouble, np.complex64, "U3", object, "M8[s]", "i4,f8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_settings_that_are_arrays_of_any_dtype(dtype, shape):
    scaled = tg.custom_rule(vjp=lambda g, table: g, inputs="x")(lambda x, table: x + 0)
    table = np.zeros(shape, dtype)
    x = leaf(3.0)
    with tg.checked():
        y = scaled(x, table)
        y.backward(retain_graph=True)
        table[...] = np.ones(shape, dtype)
        if table.size:
            with pytest.raises(ForeignWriteError, match="kept table"):
                y.backward()
        else:
            y.backward()
    assert x.grad.item() == 2 - bool(table.size)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    a = np.ones(2, ml_dtypes.bfloat16)
    x = tg.tensor(a, requires_grad=True)
    with tg.checked():
        y = (x * a).sum()
        y.backward(retain_graph=True)
        a[1] = 2
        with pytest.raises(ForeignWriteError, match="kept y"):
            y.backward()


def test_rules_of_any_objects_are_looked_at_as_far_as_that_goes():
    class Table:
        def __ne__(self, other):
            raise AssertionError("compared")

    def vjp(g, table, scale):
        return g * scale["a"]

    @tg.custom_rule(vjp=vjp, inputs="x")
    def scaled(x, table, scale):
        return x * scale["a"]

    table, scale = Table(), {"a": np.array(2.0)}
    x = leaf(3.0)
    with tg.checked():
        y = scaled(x, table, scale)
        y.backward(retain_graph=True)
        assert x.grad.item() == 2
        scale["a"] = np.array(3.0)
        with pytest.raises(ForeignWriteError, match="kept scale"):
            y.backward()


def test_other_watchers_stand_beside_it():
    x, a = leaf([0.0, 2.0]), np.array([3.0, 4.0])
    with tg.checked(), tg.strict(), tg.detect_anomaly(), tg.strong_zero():
        y = (np.abs(x + 1) * a).sum()
        y.backward(retain_graph=True)
        assert x.grad.tolist() == [3, 4]
        a += 1
        with pytest.raises(ForeignWriteError, match="multiply"):
            y.backward()


def test_it_covers_one_thread():
    x, a = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    made = []
    with tg.checked():
        thread = threading.Thread(target=lambda: made.append((x * a).sum()))
        thread.start()
        thread.join()
        position = made[0]._record.position
        assert position not in _history.NOTES.prints


def test_notes_on_records_that_died_are_dropped(monkeypatch):
    notes = _history._Notes()
    notes._limit = notes._FEW = 200
    monkeypatch.setattr("tapegrad._checked.NOTES", notes)
    x = leaf(1.0)
    with tg.checked():
        y = x
        for _ in range(1000):
            y = x * 2.0 + 1.0
        gc.collect()
        assert len(notes.prints) <= 201
        y.backward()
