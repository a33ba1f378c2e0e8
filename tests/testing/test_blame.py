"""Blame names the operation whose rule is wrong and, where none is, what left the tape or which kink is near."""

import functools
import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._op import RULES, Op
from tapegrad._recorders import recorder
from tapegrad.testing import GradientError, check_gradients, check_jvp, check_vjp, mutants, random_program
from tapegrad.testing._blame import blame
from tapegrad.testing._subject import subject

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
V = np.array([1.0, 2.0])


def op(function, kind, *formulas, **options):
    """Return an op that is not entered among the package's own."""
    made = Op(function, kind, formulas, **options)
    made.public = recorder(made)
    return made.public


softsign = op(lambda x: x / (1 + np.abs(x)), "unary", lambda g, x: g / (1 + np.abs(x)), name="softsign")
product = op(np.multiply, "binary", lambda g, y: g * y, lambda g, x: -g * x, name="product")


def failure(function, *args, check=check_gradients, **options):
    with pytest.raises(GradientError) as caught:
        check(function, *args, **options)
    return caught.value


# A rule is wrong.


def loss(w, x):
    h = np.tanh(x @ w)
    s = softsign(2 * h)
    return np.mean(s**2)


def test_the_operation_its_input_and_its_line_are_named():
    error = failure(loss, np.array([0.5, -1.0, 0.25]), X)
    head, told, code = str(error).split("\n\n")
    assert head.startswith("the VJP of loss by input 0 (w) at index (0,): got ")
    assert re.match(
        r"Blame: the rule of softsign for its input 0 \(x\) is wrong, in record 4 of 6, at .*test_blame\.py:\d+, "
        r"in loss:\n"
        r"    s = softsign\(2 \* h\)\n"
        r"  Checked by itself, at the values recorded there:\n"
        r"    the VJP of softsign by input 0 at index \(0,\): got .*\n"
        r"  Its input 0 \(x\) is the result of record 3, multiply at .*test_blame\.py:\d+, in loss\.\n"
        r"  The rules of the other 5 records are right\.$",
        told,
    )
    assert code.startswith("Reproduce:\n    import numpy as np\n    from tapegrad.testing import check_gradients\n")
    assert "x = np.array(" in code
    assert error.verdict.ops == ["softsign"]


@pytest.mark.parametrize("check", [check_vjp, check_jvp])
def test_every_check_blames(check):
    assert failure(loss, np.array([0.5, -1.0, 0.25]), X, check=check).verdict.ops == ["softsign"]


def test_blame_can_be_left_out():
    error = failure(loss, np.array([0.5, -1.0, 0.25]), X, blame=False)
    assert "\n" not in str(error)
    assert error.verdict is None


def test_the_input_is_named_by_its_position_among_the_operations_inputs():
    error = failure(lambda x: np.sum(product(3.0, np.sin(x))), V)
    assert "the rule of product for its input 1 (y) is wrong" in str(error)
    assert "Its input 1 (y) is the result of record 1, sin at" in str(error)


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (lambda x: np.sum(product(np.sin(x), np.exp(x))), (X,)),
        (lambda x: np.sum(product(np.arange(3.0), x)), (X,)),
        (lambda x: np.sum(np.concatenate([x, softsign(x)], axis=1), axis=0), (X,)),
    ],
)
def test_what_is_printed_can_be_pasted_and_fails(function, args):
    code = str(failure(function, *args)).partition("Reproduce:\n")[2]
    program = "\n".join(line.removeprefix("    ") for line in code.splitlines())
    with pytest.raises(GradientError):
        exec(program, {"softsign": softsign, "product": product})
    arrays = re.findall(r"np\.array\((.*)\)$", program, re.MULTILINE)
    assert arrays
    assert all(len(text) < 12 for text in arrays), "the arrays are not shrunk"


def _mutant(name, kind):
    return next(m for m in mutants(RULES[name]) if m.kind == kind)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sum", lambda x: np.exp(-np.sum(x * x, axis=1, keepdims=True) / x)),
        ("matmul", lambda x: np.tanh(np.sin(x) @ np.cos(x.T))),
        ("joined", lambda x: np.concatenate([x, np.sin(x)], axis=1) ** 2),
        ("getitem", lambda x: x[:, [0, 0, 1]] * x),
        ("cholesky", lambda x: np.linalg.cholesky(x @ x.T + np.eye(2))),
        ("svd", lambda x: np.linalg.svd(x, compute_uv=False) ** 2),
    ],
)
def test_rules_of_the_package_are_blamed_and_shown_as_programs(name, function):
    with _mutant(name, "sign").planted():
        error = failure(function, X)
        assert error.verdict.ops == [name]
        code = str(error).partition("Reproduce:\n")[2]
        with pytest.raises(GradientError):
            exec("\n".join(line.removeprefix("    ") for line in code.splitlines()), {})


def test_second_derivatives_are_blamed_too():
    def hidden(g, x):
        return 2 * g * np.abs(x.detach() if isinstance(x, tg.Tensor) else x)

    bent = op(lambda x: x * np.abs(x), "unary", hidden, name="bent")
    assert failure(lambda x: np.sum(bent(np.sin(x))), V).verdict.ops == ["bent"]


def test_a_rule_that_raises_is_blamed():
    def broken(g, x):
        raise ZeroDivisionError("no such thing")

    faulty = op(np.sin, "unary", broken, name="faulty")
    error = failure(lambda x: np.exp(faulty(x)), V)
    assert error.verdict.ops == ["faulty"]
    assert "ZeroDivisionError" in str(error)


def test_additions_that_the_checks_make_too_are_blamed_first():
    # With a wrong rule for sums, no rule is linear in its cotangent.
    with _mutant("add", "factor").planted():
        verdict = failure(lambda x: np.sin(np.exp(x) + 2.0), V).verdict
    assert verdict.ops[0] == "add"


def test_an_operation_inside_a_rule_is_blamed_not_the_rule():
    with _mutant("divide", "factor").planted():
        error = failure(lambda x: np.linalg.svd(x)[0][:, :1] ** 2, X[:, :2])
    assert error.verdict.ops == ["divide"]
    assert "which the rule of svd computes with" in str(error)


def test_results_that_nobody_used_are_not_held_against_an_operation():
    def values(x):
        # The eigenvectors of a multiple of the identity have no derivative, and its eigenvalues' sum has.
        return np.sum(np.linalg.eigh(softsign(x) * np.eye(2))[0])

    assert failure(values, np.array(0.5)).verdict.ops == ["softsign"]


def test_the_first_record_of_every_kind_of_a_long_program_is_tried():
    def long(x):
        for _ in range(450):
            x = x + 1e-3
        return softsign(x)

    error = failure(long, V, order=1)
    assert error.verdict.ops == ["softsign"]
    assert (error.verdict.tried, error.verdict.total) == (400, 451)
    assert "51 were not tried" in str(error)


# Every rule is right.


def _detach(x):
    return x * np.sin(x).detach()


def _data(x):
    return np.sum(x * x.data)


def _item(x):
    norm = np.sqrt(np.sum(x * x))
    return x / norm.item()


def _asarray(x):
    with tg.no_grad():
        weights = np.asarray(np.sin(x))
    return x * weights


def _outside(x):
    return x * np.cos(x.data)


def _copied(x):
    return x * tg.tensor(np.sin(x).data)


def _no_grad(x):
    with tg.no_grad():
        total = np.sum(np.exp(x))
    return x / total


def _plain(x):
    return np.sin(x.data)


def _result(x):
    return np.sin(x).detach()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_detach, "input 1 (y) of multiply, in record 2 at .*: it is the result of record 1, sin at .*, detached"),
        (_data, "input 1 (y) of multiply, in record 1 .*: it is x of _data, taken out, by .data or np.asarray"),
        (_item, "input 1 (y) of divide, .*: it is the result of record 3, sqrt at .*, made a Python number by item()"),
        (_asarray, "nothing was recorded for sin at .*: recording was off there (no_grad"),
        (_outside, "input 1 (y) of multiply, .*: it was computed from them outside the tape"),
        (_copied, "input 1 (y) of multiply, .*: it is the result of record 1, sin at .*, copied without its history"),
        (_no_grad, "nothing was recorded for exp at .*: recording was off there (no_grad"),
        (_plain, "result 0 is a plain ndarray, though it changes with the inputs: it was computed from them outside"),
        (_result, "result 0 is a tensor without history, .*: it is the result of record 1, sin at .*, detached"),
    ],
)
def test_what_left_the_tape_is_named(function, words):
    error = failure(function, V)
    assert error.verdict.guilty == []
    pattern = ".*".join(map(re.escape, words.split(".*")))
    assert re.search(pattern, str(error)), str(error)
    assert "Reproduce:\n    import numpy as np\n    from tapegrad.testing import check_gradients\n" in str(error)
    assert f"check_gradients({function.__name__}, np.array([1.0, 2.0]))" in str(error)


def test_what_is_made_of_a_lost_value_is_not_named_again():
    def twice(x):
        lost = np.sin(x).detach()
        return x * np.exp(lost + 1)

    reasons = failure(twice, V).verdict.reasons
    assert len(reasons) == 1
    assert "input 0 (x) of add" in reasons[0]


@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        (lambda x: np.abs(x) ** 1.5, ([0.0, 1.0],), "a kink: absolute, record 1 .*stands on one"),
        (lambda x: np.sqrt(x - 1.0), ([1.0, 2.0],), "sqrt, record 2 .*is not finite within a step"),
        (np.linalg.cholesky, ([[2.0, 0.5], [0.5, 1.0]],), "cholesky, record 1 .*both triangles move together"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_kinks_edges_and_triangles_are_named(function, args, words):
    error = failure(function, *map(np.array, args))
    assert error.verdict.guilty == []
    assert re.search(words, "\n".join(error.verdict.reasons)), str(error)


def _branching(x):
    return np.sum(x * x if x[0].item() > 1.0 else np.sin(x))


def _selecting(x):
    return np.sum(np.where(x > 1.0, x, 3 * np.sin(x)))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_branching, "the program takes another way there (an if on values)"),
        (_selecting, "a condition or index of where, record 3"),
    ],
)
def test_conditions_that_change_within_the_step_are_named(function, words):
    verdict = blame(subject(function, (np.array([1.0, 2.0]),)))
    assert verdict.guilty == []
    assert any(words in reason for reason in verdict.reasons), verdict.text


def test_a_right_function_is_acquitted_in_full():
    verdict = blame(subject(lambda x: np.sum(np.sin(x) ** 2), (V,)))
    assert (verdict.guilty, verdict.reasons) == ([], [])
    assert "Nothing was found that left the tape" in verdict.text


def test_a_function_that_raises_on_tracked_tensors_is_not_blamed():
    error = failure(lambda x: tg.tensor(float(np.sum(x))), V)
    assert error.verdict is None
    assert "in reverse mode raised LostGradientError" in str(error)
    assert "on plain arrays it works" in str(error)


# How far it reaches.


@functools.cache
def _mutants(name):
    return mutants(RULES[name])


def _named(seed):
    """Return the op with a planted fault, and what blame named first; None where the fault changes nothing."""
    rng = np.random.default_rng(seed)
    program, xs = random_program(rng, 20)
    names = sorted({found.name for found in program.ops(*xs) if found.formulas} & set(RULES))
    planted = _mutants(names[rng.integers(len(names))]) if names else []
    if not planted:
        return None
    mutant = planted[rng.integers(len(planted))]
    try:
        check_gradients(program, *xs, blame=False)
        with mutant.planted():
            check_gradients(program, *xs)
    except GradientError as error:
        verdict = error.verdict
        return verdict and (mutant.op.name, verdict.ops[0] if verdict.ops else "nothing")
    return None


@pytest.mark.filterwarnings("ignore")
def test_the_right_operation_is_blamed_in_random_programs_of_twenty_operations(deep):
    found = [named for seed in range(400 if deep else 24) if (named := _named(seed)) is not None]
    assert len(found) >= (100 if deep else 6)
    wrong = [(planted, named) for planted, named in found if planted != named]
    assert len(wrong) <= 0.05 * len(found), wrong
