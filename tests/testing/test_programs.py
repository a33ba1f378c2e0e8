"""Random programs: they are their code, they shrink, they are made of the ops, and their gradients are right."""

import traceback

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._op import RULES
from tapegrad.testing import Program, as_code, check_gradients, programs, random_program
from tapegrad.testing._programs import Grown, words
from tapegrad.testing._sweep import ops

NAMES = {"np": np, "tg": tg, "Program": Program}
minimal = settings(max_examples=5_000, derandomize=True, database=None, deadline=None)


def smallest(condition, size=20):
    return find(programs(size), condition, settings=minimal)


def used(program, inputs):
    return {op.name for op in program.ops(*inputs)}


# Programs


@given(drawn=programs())
def test_code_of_a_program_gives_the_same_program(drawn):
    program, inputs = drawn
    again = eval(repr(program), NAMES)
    assert again == program
    assert hash(again) == hash(program)
    assert repr(again) == repr(program)
    inputs_again = eval(as_code(inputs), NAMES)
    assert np.array_equal(again(*inputs_again), program(*inputs))


@given(drawn=programs())
def test_programs_give_tensors_for_tensors_and_arrays_for_arrays(drawn):
    program, inputs = drawn
    expected = program(*inputs)
    got = program(*(tg.tensor(x, requires_grad=True) for x in inputs))
    assert isinstance(got, tg.Tensor)
    assert got.requires_grad
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.data, expected, rtol=1e-12, atol=1e-12)


def test_a_program_is_a_function_in_lines():
    program = Program("x, y", ["a = np.sin(x)", "b = a * y"])
    assert len(program) == 2
    assert str(program) == "def program(x, y):\n    a = np.sin(x)\n    b = a * y\n    return b\n"
    assert program(0.5, 2.0) == np.sin(0.5) * 2
    assert program != Program("x, y", ["a = np.cos(x)", "b = a * y"])
    assert Program("x", [])(3.0) == 3.0
    assert eval(repr(Program("x", ['a = np.einsum("i,i", x, x)'])), NAMES)(np.ones(2)) == 2


def test_ops_are_listed_in_the_order_in_which_they_run():
    program = Program("x, y", ["a = np.sin(x)", "b = a * y", "c = np.sum(b, axis=0)"])
    assert [op.name for op in program.ops(np.ones(2), np.ones(2))] == ["sin", "multiply", "sum"]
    assert all(isinstance(op, type(RULES["sin"])) for op in program.ops(np.ones(2), 2.0))


def test_an_error_shows_the_line_of_the_program():
    program = Program("x", ["a = np.exp(x)", "b = np.reshape(a, (7, 7))"])
    with pytest.raises(ValueError, match="reshape") as raised:
        program(np.ones(3))
    assert "b = np.reshape(a, (7, 7))" in "".join(traceback.format_exception(raised.value))


# What is drawn


def test_seeds_give_programs():
    for seed in range(5):
        program, inputs = random_program(np.random.default_rng(seed), size=20)
        again, same = random_program(np.random.default_rng(seed), size=20)
        assert program == again
        assert all(map(np.array_equal, inputs, same))
        assert len(program) == 20
        assert np.isfinite(program(*inputs)).all()


def test_programs_can_be_longer():
    program, inputs = random_program(np.random.default_rng(0), size=60)
    assert len(program) == 60
    assert len(program.ops(*inputs)) >= 60


def test_values_stay_in_range():
    for seed in range(20):
        program, inputs = random_program(np.random.default_rng(seed), size=20)
        names = {"np": np, "tg": tg, **dict(zip(program.inputs.split(", "), inputs, strict=True))}
        for line in program.lines:
            exec(line, names)
            value = names[line.partition(" = ")[0]]
            assert np.isfinite(value).all()
            assert np.abs(value).max() <= 8
            assert value.size <= 12


def test_programs_are_made_of_most_public_ops():
    public = {op.name for op in ops() if any(getattr(m, op.name, None) is op.function for m in (np, np.linalg, np.fft))}
    spoken = {ways[0].name for ways in words()}
    # What others are made of is not drawn.
    assert len(public & spoken) > 0.95 * len(public)
    # What takes arrays, functions, or operands of one form alone is drawn too.
    assert spoken >= {"select", "piecewise", "take_along_axis", "choose", "poly", "heaviside", "bincount", "astype"}
    assert spoken >= {"apply_along_axis", "apply_over_axes", "sliding_window_view", "add.reduceat"}
    assert any("mode='complete'" in word.code for ways in words() for word in ways)
    found = set()
    for seed in range(60):
        found |= used(*random_program(np.random.default_rng(seed), size=20))
    assert len(found) > 80


# What they shrink to


def test_factors_are_drawn_of_what_they_exist_for():
    # q is made of the first column, of which nothing is left here: it has a sign, and no derivative.
    lost = np.array([[0.0, 1.0]])
    found = [word for entry in words() for word in entry if word.name == "qr"]
    assert len(found) > 2
    for word in found:
        assert not word.domains[0].contains(lost)
        assert word.domains[0].contains(lost + 1)


@pytest.mark.parametrize(
    ("code", "lost", "kept"),
    [
        ("np.trim_zeros({})", [[0.1 + 0.2 - 0.3, 1.0, 2.0]], [[0.5, 1.0, 2.0]]),
        ("np.setdiff1d({}, {})", [[0.3], [0.1 + 0.2]], [[0.3], [0.5]]),
    ],
)
def test_programs_do_not_depend_on_rounding(code, lost, kept):
    # Values that are zero or equal but for their rounding: elsewhere, they are not even that.
    [word] = [word for ways in words() for word in ways if word.code == code]
    assert not Grown([np.array(x) for x in lost])._apply(word, 2)
    assert Grown([np.array(x) for x in kept])._apply(word, 2)


def test_programs_shrink_to_one_simple_step():
    program, inputs = smallest(lambda drawn: True)
    assert len(program) == 1
    assert len(inputs) == 1
    assert inputs[0].size <= 1


@pytest.mark.parametrize("name", ["exp", "sum", "negative"])
def test_programs_shrink_to_the_op_that_matters(name):
    program, _ = smallest(lambda drawn: name in used(*drawn))
    assert len(program) <= 2


def test_programs_shrink_to_what_fails():
    # Any program of several steps that gives a large value will do; few steps make one.
    program, inputs = smallest(lambda drawn: len(drawn[0]) > 1 and np.abs(drawn[0](*drawn[1])).max() > 2, size=6)
    assert len(program) <= 3
    assert len(inputs) == 1


# No false alarms


@given(drawn=programs(size=8))
@settings(max_examples=15)
def test_gradients_of_programs_are_right(drawn):
    program, inputs = drawn
    check_gradients(program, *inputs)


@pytest.mark.parametrize("seed", range(12))
def test_no_false_alarm(seed):
    program, inputs = random_program(np.random.default_rng(seed), size=20)
    check_gradients(program, *inputs)


@pytest.mark.deep
def test_no_false_alarm_in_a_thousand_programs():
    first = int(np.random.SeedSequence().entropy % 2**32)
    for seed in range(first, first + 1000):
        program, inputs = random_program(np.random.default_rng(seed), size=20)
        try:
            check_gradients(program, *inputs, name=f"random program {seed}")
        except Exception as error:
            error.add_note(f"seed {seed}:\n{program}inputs: {as_code(inputs)}")
            raise


@given(data=st.data())
def test_programs_compose_with_other_strategies(data):
    pairs = data.draw(st.lists(programs(size=2), max_size=2))
    assert all(isinstance(program, Program) for program, _ in pairs)
