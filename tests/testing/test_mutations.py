"""Faults planted in the rules of ops: the checks find them. A sample here; all of them with `pytest -m mutation`."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._op import Op
from tapegrad._recorders import recorder
from tapegrad.testing import measure, mutants
from tapegrad.testing._mutations import FAULTS, Score, differentiable_ops, fate, report, sample


def found(op, kind, text=""):
    return [mutant for mutant in mutants(op) if mutant.kind == kind and text in mutant.where]


# Planting


def test_a_planted_fault_is_in_force_everywhere_and_then_gone():
    x = np.array([0.5, 2.0])
    [sign] = found(np.multiply, "sign", "for x")
    functions = [lambda x: np.sum(x * 3.0), lambda x: np.sum(np.multiply(x, 3.0))]
    right = [tg.grad(function)(x).data for function in functions]
    with sign.planted() as op:
        assert op.name == "multiply"
        for function, expected in zip(functions, right, strict=True):
            assert np.array_equal(tg.grad(function)(x).data, -expected)
            assert tg.jvp(function, (x,), (np.ones(2),))[1].item() == -np.sum(expected)
    for function, expected in zip(functions, right, strict=True):
        assert np.array_equal(tg.grad(function)(x).data, expected)


def test_a_planted_fault_is_gone_after_an_error():
    with pytest.raises(ZeroDivisionError), found(np.exp, "sign")[0].planted():
        raise ZeroDivisionError
    assert tg.grad(np.exp)(0.0).item() == 1


def test_a_wrong_residual_is_kept():
    x = np.array([0.5, 2.0])
    [swapped] = found(np.exp, "wrong residual")
    assert swapped.names == ("x",)
    with swapped.planted():
        assert np.array_equal(tg.grad(lambda x: np.sum(np.exp(x)))(x).data, x)
    y = np.array([3.0, 4.0])
    [swapped] = found(np.multiply, "wrong residual", "for x: x for y")
    with swapped.planted():
        assert np.array_equal(tg.grad(lambda x: np.sum(np.multiply(x, y)))(x).data, x)
        assert np.array_equal(tg.grad(lambda x: np.sum(x * y))(x).data, x)
    assert np.array_equal(tg.grad(lambda x: np.sum(x * y))(x).data, y)


def test_faults_in_the_source_of_a_rule():
    places = {mutant.where for mutant in mutants(np.divide) if mutant.kind == "dropped factor"}
    assert "for x: 'g' for 'g / y'" in places
    [dropped] = [mutant for mutant in mutants(np.divide) if mutant.where == "for x: 'g' for 'g / y'"]
    with dropped.planted():
        assert tg.grad(lambda x: x / 4.0)(1.0).item() == 1
    assert tg.grad(lambda x: x / 4.0)(1.0).item() == 0.25


def test_every_kind_of_fault_is_planted_somewhere():
    made = {
        mutant.kind for function in (np.divide, np.sum, np.matmul, np.cumsum, np.abs) for mutant in mutants(function)
    }
    made |= {mutant.kind for mutant in mutants(np.fft.irfft)}
    assert made == set(FAULTS)


def test_differentiable_ops_have_mutants():
    pytest.importorskip("scipy")
    for op in differentiable_ops()[::6]:
        kinds = {mutant.kind for mutant in mutants(op)}
        assert not kinds or {"factor", "sign", "damaged cotangent"} <= kinds, op.name


def test_ops_of_users_can_be_measured():
    def softsign(x):
        return x / (1 + np.abs(x))

    row = Op(softsign, "unary", [lambda g, x: g / (1 + np.abs(x)) ** 2], on=tg.testing.away_from(0.0))
    row.public = recorder(row)
    score = measure(mutants(row.public))
    assert score.planted.total() > 10
    assert score.share == 1
    assert not score.survivors


def test_what_has_no_rule_is_refused():
    with pytest.raises(TypeError, match=r"got <function .*expected an op with a rule of its own"):
        mutants(np.linalg.tensorsolve)
    with pytest.raises(TypeError, match=r"got <function"):
        mutants(lambda x: x)


# Counting


def test_what_checks_cannot_see_survives_and_what_they_need_not_see_is_idle():
    # Samples are nowhere zero, so the rule is never wrong there.
    row = Op(np.abs, "unary", [lambda g, x: g * (x / (np.abs(x) + (x == 0)))], on=tg.testing.positive, name="size")
    row.public = recorder(row)
    fates = {mutant.where: fate(mutant) for mutant in mutants(row) if mutant.kind == "dropped term"}
    assert fates == {
        "for x: 'np.abs(x)' for 'np.abs(x) + (x == 0)'": "idle",
        "for x: 'x == 0' for 'np.abs(x) + (x == 0)'": "found",
    }


def test_a_score_is_a_table():
    score = Score()
    score.planted.update({"sign": 3, "factor": 1})
    score.survivors = found(np.exp, "sign")
    assert score.share == 0.75
    lines = str(score).splitlines()
    assert lines[2] == "| factor | 1 | 1 | 100.0 % | 0 |"
    assert lines[3] == "| sign | 3 | 2 | 66.7 % | 0 |"
    assert lines[-1] == "| all | 4 | 3 | 75.0 % | 0 |"
    assert score.as_dict()["survivors"] == ["exp: sign, for x"]


def test_reports_are_of_the_ops_that_are_named():
    seen = []
    score = report(["square"], lambda mutant, became: seen.append((mutant.op.name, became)))
    assert score.planted.total() == len(seen) > 4
    assert set(seen) == {("square", "found")}


def test_a_sample_of_all_faults_is_found():
    pytest.importorskip("scipy")
    score = measure(sample(80))
    assert score.planted.total() > 40
    assert score.share >= 0.95, score.survivors


@pytest.mark.mutation
def test_all_faults_are_found():
    score = report()
    print(score)
    assert score.share >= 0.99, "\n".join(map(str, score.survivors))
