"""The tape as a program: what each record did, on what, with what shape, and what it keeps."""

import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._op import Op
from tapegrad._recorders import recorder
from tapegrad.errors import HistoryError
from tapegrad.viz import program


def text_of(output, names=None):
    return program(output, names).text()


def _from_one(text):
    """Return a program's text with positions counted from 1; other tests have used the tape before."""
    first = int(re.search(r"^ *(\d+)  ", text, re.MULTILINE)[1]) - 1
    return re.sub(r"^ *\d+(?=  )|(?<=#)\d+", lambda found: str(int(found[0]) - first), text, flags=re.MULTILINE)


def test_text_of_a_small_program():
    x = np.ones((5, 3), np.float32)
    w = tg.tensor(np.ones((3, 2), np.float32), requires_grad=True)
    b = tg.tensor(np.ones(2, np.float32), requires_grad=True)
    text = text_of(np.sum(np.tanh(x @ w + b)), {"w": w, "b": b})
    assert [line.split() for line in _from_one(text).splitlines()] == [
        line.split()
        for line in (
            "position  operation  inputs       result          keeps for the replay  bytes",
            "          leaf       w            float32 (3, 2)",
            "          leaf       b            float32 (2,)",
            "       1  matmul     constant, w  float32 (5, 2)  x float32 (5, 3)         60",
            "       2  add        #1, b        float32 (5, 2)  nothing                   0",
            "       3  tanh       #2           float32 (5, 2)  out float32 (5, 2)       40",
            "       4  sum        #3           float32 ()      nothing                   0",
            "                                                  together                100",
        )
    ]


def test_columns_are_aligned():
    w = tg.tensor(np.ones(3), requires_grad=True)
    header, *lines = text_of(np.sum(np.exp(w) * 2), {"w": w}).splitlines()
    column = header.index("operation")
    assert [line[column:].split()[0] for line in lines[:-1]] == ["leaf", "exp", "multiply", "sum"]
    assert {len(line) for line in [header, *lines] if line.endswith(("bytes", "0", "4", "24"))} == {len(header)}


def test_positions_rise_and_inputs_name_earlier_records():
    w = tg.tensor(2.0, requires_grad=True)
    first = np.exp(w)
    second = np.sin(first)
    lines = program(first * second + w)
    assert [line.operation for line in lines] == ["exp", "sin", "multiply", "add"]
    exp, sin, multiply, add = lines
    assert exp.position < sin.position < multiply.position < add.position
    assert (exp.inputs, sin.inputs) == (("leaf 1",), (exp.position,))
    assert multiply.inputs == (exp.position, sin.position)
    assert add.inputs == (multiply.position, "leaf 1")
    assert all(line.results == (((), np.dtype(float)),) for line in lines)


def test_shapes_and_dtypes_are_those_of_the_results():
    w = tg.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    steps = [np.exp(w)]
    steps.append(steps[-1] * np.ones((4, 1, 1)))
    steps.append(np.sum(steps[-1], axis=(0, 2)))
    steps.append(steps[-1][1:] * 1j)
    lines = program(steps[-1])
    assert [line.results[0] for line in lines if line.operation != "getitem"] == [(t.shape, t.dtype) for t in steps]


def test_shared_memory_is_counted_once():
    w = tg.tensor(np.ones(100), requires_grad=True)
    out = np.exp(w)
    lines = program(np.sum(out * out[::-1]))
    exp, flipped, multiply, total = lines
    assert [(kept.name, kept.nbytes, kept.holder) for kept in exp.keeps] == [("out", 800, None)]
    assert {(kept.name, kept.nbytes, kept.holder) for kept in multiply.keeps} == {
        ("x", 0, exp.position),
        ("y", 0, exp.position),
    }
    assert [line.nbytes for line in lines] == [800, 0, 0, 0]
    assert flipped.operation == "getitem"
    assert total.keeps == ()


def test_one_array_under_two_names_is_one_entry():
    w = tg.tensor(np.ones(10), requires_grad=True)
    (line,) = program(w * w)
    assert [(kept.name, kept.shape, kept.nbytes) for kept in line.keeps] == [("y = x", (10,), 80)]


def test_a_view_keeps_the_whole_array_alive():
    data = np.ones((1000, 2))
    w = tg.tensor(np.ones(2), requires_grad=True)
    (line,) = program(w * data[0])
    assert [(kept.shape, kept.nbytes) for kept in line.keeps] == [((2,), data.nbytes)]


def test_memory_of_named_arrays_is_theirs():
    x, w = np.ones((5, 3)), tg.tensor(np.ones((3, 2)), requires_grad=True)
    product = x @ w
    (line,) = program(product, {"w": w, "inputs": x})
    assert line.inputs == ("inputs", "w")
    assert [(kept.name, kept.holder, kept.nbytes) for kept in line.keeps] == [("x", "inputs", 0)]
    assert "x (of inputs)" in text_of(product, {"w": w, "inputs": x})


def test_an_op_with_several_results():
    def halves(x):
        return x[: len(x) // 2] ** 2, x[len(x) // 2 :]

    def vjp(gfirst, gsecond, x):
        first = np.zeros_like(x[: len(x) // 2]) if gfirst is None else 2 * gfirst * x[: len(x) // 2]
        return np.concatenate([first, np.zeros_like(x[len(x) // 2 :]) if gsecond is None else gsecond])

    w = tg.tensor(np.arange(5.0), requires_grad=True)
    first, second = recorder(Op(halves, "general", [vjp], inputs="x", outputs="first second"))(w)
    whole, part = program(first)
    assert (whole.operation, part.operation) == ("halves", "result 0")
    assert whole.results == (((2,), np.dtype(float)), None)
    assert [(kept.name, kept.nbytes) for kept in whole.keeps] == [("x", 40)]
    assert part.inputs == (whole.position,)
    assert "float64 (2,), unused" in text_of(first)
    whole = program(np.sum(first) + np.sum(second))[0]
    assert whole.results == (((2,), np.dtype(float)), ((3,), np.dtype(float)))


def test_an_op_of_a_sequence_names_all_its_inputs():
    a, b = tg.tensor([1.0], requires_grad=True), tg.tensor([2.0, 3.0], requires_grad=True)
    (line,) = program(np.concatenate([a, np.zeros(3), b]), {"a": a, "b": b})
    assert line.inputs == ("a", None, "b")
    assert line.results == (((6,), np.dtype(float)),)


def test_looking_changes_nothing():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    loss = np.sum(np.exp(w) * w)
    before = program(loss)
    assert list(program(loss)) == list(before)
    assert w.grad is None
    loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), np.exp([1, 2]) * np.array([2.0, 3.0]), rtol=1e-14)


def test_infinite_derivatives_do_not_disturb():
    w = tg.tensor([0.0, 1.0], requires_grad=True)
    assert [line.operation for line in program(np.sqrt(w))] == ["sqrt"]


def test_a_long_program_needs_no_recursion():
    t = tg.tensor(1.0, requires_grad=True)
    for _ in range(3000):
        t = t * 1.0
    assert len(program(t)) == 3000


def test_a_leaf_is_an_empty_program():
    w = tg.tensor([1.0], requires_grad=True)
    assert list(program(w)) == []
    assert "leaf 1" in text_of(w)


def test_without_history_it_is_an_error():
    w = tg.tensor(1.0, requires_grad=True)
    with pytest.raises(HistoryError, match="requires_grad"):
        program(tg.tensor(1.0))
    loss = np.exp(w)
    loss.backward()
    with pytest.raises(HistoryError, match="retain_graph"):
        text_of(loss)
