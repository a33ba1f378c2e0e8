"""The checks pass what is right and catch what is wrong: faults planted in rules, and functions nobody can check."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._op import Op, recorder
from tapegrad.ops._domains import positive, real
from tapegrad.testing import (
    GradientError,
    arrays,
    broadcastable_arrays,
    check_gradients,
    check_jvp,
    check_vjp,
    derivative,
    strict,
)

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
Y = np.array([1.25, -0.5, 0.75])
Z = np.array([1 + 2j, -0.5 + 0.25j])


def op(function, kind, *formulas, **options):
    """Return an op that is not entered among the package's own."""
    made = Op(function, kind, formulas, **options)
    made.public = recorder(made)
    return made.public


# What is right passes.


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (np.sin, (X,)),
        (np.sin, (X.astype(np.float32),)),
        (np.sin, (np.array(0.5),)),
        (np.sin, (0.5,)),
        (np.sin, (np.zeros((0, 3)),)),
        (np.exp, (Z,)),
        (np.absolute, (Z,)),
        (np.multiply, (X, Y)),
        (np.multiply, (Y, Z[:1])),
        (np.multiply, (X.astype(np.float32), Y)),
        (lambda x: np.exp(x) / np.sum(np.exp(x)), (Y,)),
        (lambda x: {"a": x * x, "b": [np.sum(x), 3]}, (Y,)),
        (lambda pair, scale: scale * pair["x"] @ pair["y"], ({"x": X, "y": Y}, 2)),
        (lambda x, i: x[i], (X, np.array([0, 0, 1]))),
        (lambda x: np.sum(np.tanh(x) ** 2, axis=0), (np.linspace(-1, 1, 80).reshape(20, 4),)),
        (lambda x: np.sqrt(x), (np.array([1e-8, 1.0, 1e8]),)),
        (lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0), (X,)),
    ],
    ids=str,
)
def test_right_derivatives_pass(function, args):
    check_vjp(function, *args)
    check_jvp(function, *args)
    check_gradients(function, *args)


def test_checks_work_on_the_stand_in():
    check_gradients(lambda x, y: np.sum(np.exp(x) * y, axis=0), strict.asarray(X), strict.asarray(Y))


@given(pair=broadcastable_arrays(real, positive))
def test_right_derivatives_pass_anywhere(pair):
    check_gradients(lambda x, y: np.sin(x) / y, *pair)


# Faults are caught.


def _detached_residual(g, out):
    return g * (out.detach() if isinstance(out, tg.Tensor) else out)


def _wrong_axis(g, x_shape):
    return np.flip(np.cumsum(np.flip(g, 1), 1), 1)


FAULTS = {
    "factor": op(np.sin, "unary", lambda g, x: 2 * g * np.cos(x), name="faulty"),
    "small factor": op(np.sin, "unary", lambda g, x: (1 + 1e-6) * g * np.cos(x), name="faulty"),
    "sign": op(np.cos, "unary", lambda g, x: g * np.sin(x), name="faulty"),
    "wrong residual": op(np.exp, "unary", lambda g, x: g * x, name="faulty"),
    "dropped term": op(lambda x: x * x * x, "unary", lambda g, x: 2 * g * x * x, name="faulty"),
    "not linear in g": op(np.sin, "unary", lambda g, x: g * g * np.cos(x), name="faulty"),
    "constant added": op(np.sin, "unary", lambda g, x: g * np.cos(x) + 1, name="faulty"),
    "second order only": op(np.exp, "unary", _detached_residual, name="faulty"),
    "wrong axis": op(lambda x: np.cumsum(x, 0), "linear", _wrong_axis, name="faulty"),
    "wrong jvp": op(
        np.sin, "general", lambda g, x: g * np.cos(x), inputs="x", jvp=lambda t, x: -t * np.cos(x), name="faulty"
    ),
    "not linear": op(lambda x: x * x, "linear", lambda g, x_shape: 2 * g, name="faulty"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_unary_rules_are_caught(fault):
    with pytest.raises(GradientError, match="faulty"):
        check_gradients(FAULTS[fault], X)


@pytest.mark.parametrize(
    "formulas",
    [
        (lambda g, x: g * x, lambda g, y: g * y),
        (lambda g, y: g * y, lambda g, x: -g * x),
        (lambda g, y: g * y, lambda g, x: 0 * g),
        (lambda g, y: g * y, lambda g, x: g * np.conj(x)),
    ],
    ids=["swapped", "sign", "dropped", "conjugate"],
)
def test_faults_of_binary_rules_are_caught(formulas):
    faulty = op(np.multiply, "binary", *formulas, name="faulty")
    with pytest.raises(GradientError, match="faulty"):
        check_gradients(faulty, np.outer(Y, Y) + 1j, Y - 2j)


def _damage_cotangent(g, x):
    g *= np.cos(x)
    return g


def _damage_input(g, x):
    x *= 1.5
    return g * np.cos(x / 1.5)


@pytest.mark.parametrize("formula", [_damage_cotangent, _damage_input])
def test_damage_in_place_is_caught(formula):
    faulty = op(np.sin, "unary", formula, name="faulty")
    with pytest.raises(GradientError, match="faulty"):
        check_vjp(faulty, X.copy())


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_dtypes_that_leak_are_caught(mode):
    leaking = op(np.sin, "general", lambda g, x: g * np.cos(x) * np.float64(1), inputs="x", name="faulty")
    leaking.op.trusted, leaking.op.projects = True, False
    check_gradients(leaking, X, modes=[mode])
    with pytest.raises(GradientError, match="has dtype float64, expected float32"):
        check_gradients(leaking, X.astype(np.float32), modes=["reverse"])


def test_derivatives_of_a_result_that_a_rule_keeps_are_needed():
    def kept(x):
        return np.exp(tg.tensor(x.data)) if isinstance(x, tg.Tensor) else np.exp(x)

    with pytest.raises(GradientError, match="the VJP of detached by input 0"):
        check_gradients(lambda x: x * kept(x), Y, name="detached")


def test_messages_say_where_and_by_how_much():
    faulty = op(np.sin, "unary", lambda g, x: g * np.cos(x) * (x < 1.9), name="faulty")
    with pytest.raises(GradientError) as caught:
        check_vjp(faulty, X)
    message = str(caught.value).partition("\n")[0]
    assert message.startswith("the VJP of faulty by input 0 (x) at index (0, 2): got 0, expected ")
    assert "error estimate" in message
    assert message.endswith("1 of 6 entries differ")


# What cannot be checked is explained.


@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        (lambda x: x, (np.arange(3),), "no floating point or complex argument"),
        (lambda x: "text", (X,), "gave no tensor or array"),
        (lambda x: np.argmax(x), (X,), "gave no tensor or array"),
        (lambda x: x @ x, (X,), "raised ValueError"),
        (lambda x: x * np.random.default_rng().random(), (X,), "not deterministic"),
        (lambda x: np.sqrt(x), (np.array([0.0, 1.0]),), "not finite within a step"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_that_cannot_be_checked_are_explained(function, args, words):
    with pytest.raises(GradientError, match=words):
        check_gradients(function, *args)


def test_options_are_checked():
    with pytest.raises(ValueError, match="order=3"):
        check_gradients(np.sin, X, order=3)
    with pytest.raises(ValueError, match="modes"):
        check_gradients(np.sin, X, modes=("sideways",))


# Differences know their own error.


@given(x=arrays(real, shape=(2,)), t=arrays(real, shape=(2,)))
def test_estimates_of_smooth_functions_hold(x, t):
    for function, slope in ((np.sin, np.cos), (np.exp, np.exp), (lambda a: a**3, lambda a: 3 * a * a)):
        [found] = derivative(lambda a, function=function: [function(a)], [x], [t])
        assert np.all(np.abs(found.value - slope(x) * t) <= found.error)
        assert np.all(found.error <= 1e-7 * (1 + np.abs(found.value)))


@given(gap=st.floats(0, 0.1))
def test_estimates_near_kinks_and_jumps_are_large(gap):
    [kink] = derivative(lambda x: [np.abs(x)], [np.array(gap)], [np.array(1.0)])
    assert abs(kink.value - (gap > 0)) <= kink.error
    [jump] = derivative(lambda x: [np.floor(x)], [np.array(gap)], [np.array(1.0)])
    assert abs(jump.value) <= jump.error


def test_estimates_are_infinite_where_the_function_is_not_finite():
    [found] = derivative(lambda x: [np.sqrt(x)], [np.array([0.0, 1.0])], [np.ones(2)])
    assert np.isinf(found.error[0])
    assert found.error[1] < 1e-9
