"""The checks pass what is right and catch what is wrong: faults planted in rules, and functions nobody can check."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._op import Op
from tapegrad._recorders import recorder
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
        ([1, 2], (X,), "got list as the function to check, expected something to call"),
        (lambda: np.ones(3), (), "nothing to check; got no arguments"),
        (lambda x: x, (3,), "got int 3; give numbers as floats: 3.0"),
        (lambda x: None, (X,), "it gave None; let it return the result"),
        (lambda x: np.sum(x).item(), (X,), r"it gave float -?\d.*, which has no history; return the tensor itself"),
        (lambda x: np.argsort(x), (Y,), "integers and booleans have no derivative"),
        (lambda x: np.log(x), (-np.abs(Y),), "no finite result at these arguments, only nan and inf"),
        (lambda x: x @ x, (X,), r"\(.*test_checks\.py:\d+, in <lambda>: .*x @ x.*; the arguments were np\.array"),
        (lambda x: float(x[0]) * x, (Y,), "in reverse mode raised LostGradientError .*a gradient would be lost there"),
        (lambda x: x * np.random.default_rng().random(), (np.zeros(3),), "it is not deterministic"),
        (lambda x: np.ones(np.random.default_rng().integers(5, 1000)) * x[0], (Y,), "results of other shapes"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_that_cannot_be_checked_are_explained(function, args, words):
    # Never a bare mismatch of numbers: what is the matter, and what to do.
    with pytest.raises(GradientError, match=words):
        check_gradients(function, *args)


def test_options_are_checked():
    with pytest.raises(ValueError, match="order=3"):
        check_gradients(np.sin, X, order=3)
    with pytest.raises(ValueError, match="modes"):
        check_gradients(np.sin, X, modes=("sideways",))


def test_functions_that_raise_a_step_away_only_are_checked():
    def picky(x):
        if np.any(np.abs(x - 1.0) > 2.0**-9):
            raise ArithmeticError("too far")
        return np.sin(x)

    check_gradients(picky, np.ones(2))


def test_functions_that_raise_at_every_step_are_explained():
    def picky(x):
        if np.any(x != 1.0):
            raise ArithmeticError("too far")
        return np.sin(x)

    with pytest.raises(GradientError, match="picky, a step away from these arguments, raised ArithmeticError"):
        check_gradients(picky, np.ones(2))


def test_functions_may_assign_to_their_arguments():
    def assigning(x):
        x[0] = x[1] * x[2]
        return np.sum(x**2)

    check_gradients(assigning, Y.copy())


def test_inputs_are_named_as_the_function_spells_them():
    faulty = FAULTS["factor"]

    def model(params, *xs):
        return faulty(params["w"][0]) * xs[0]

    with pytest.raises(GradientError, match=r"by input 0 \(params\['w'\]\[0\]\)"):
        check_gradients(model, {"w": [Y]}, Y)
    with pytest.raises(GradientError, match=r"by input 1 \(xs\[0\]\)"):
        check_gradients(lambda params, *xs: params["w"] * faulty(xs[0]), {"w": Y}, Y)


def test_derivatives_that_cancel_are_no_alarm():
    check_gradients(lambda x: np.sum(tg.softmax(x)), np.array([0.1, 0.2, 0.3]))
    check_gradients(lambda x: tg.layer_norm(x, np.ones(2)), np.array([[0.5, -1.0], [2.0, 0.25]]))


def test_rules_that_write_to_one_place_again_and_again_are_caught():
    memory = np.zeros(X.shape)

    def reusing(g, x):
        return np.multiply(g, np.cos(x), out=memory) if type(g) is np.ndarray else g * np.cos(x)

    faulty = op(np.sin, "unary", reusing, name="faulty")
    with pytest.raises(GradientError, match="faulty"):
        check_vjp(faulty, X)


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


@pytest.mark.parametrize("size", [1, 10])
def test_what_moves_values_by_less_than_their_rounding_is_not_known_to_be_zero(size):
    def function(x, y):
        # The sum is rounded to multiples of one number, and so is the difference.
        return [(5.0 + 1e-6 * y * y + 1e-15 * x - 5.0) * np.linspace(0.1, 0.9, size)]

    x, y, t = np.array(0.3), np.array(0.7), np.array(1.0)
    [found] = derivative(function, [x, y], [t, 0 * t])
    assert np.all(np.abs(found.value - 1e-15 * np.linspace(0.1, 0.9, size)) <= found.error)
    assert np.all(found.error < 1e-9)


def test_estimates_are_infinite_where_the_function_is_not_finite():
    [found] = derivative(lambda x: [np.sqrt(x)], [np.array([0.0, 1.0])], [np.ones(2)])
    assert np.isinf(found.error[0])
    assert found.error[1] < 1e-9


@pytest.mark.parametrize("function", [np.sin, lambda x: np.exp(300 * x) / (1 + np.exp(300 * x)), lambda x: x**9])
def test_a_complex_step_is_taken_where_differences_are_poor(function):
    # A function that differences know badly: it turns within a thousandth.
    def steep(x):
        return [function(200 * x)]

    x = np.array([0.003, -0.002])
    [found] = derivative(steep, [x], [np.ones(2)])
    tiny = 1e-100
    exact = function(200 * (x + 1j * tiny)).imag / tiny
    assert np.all(np.abs(found.value - exact) <= found.error)
    assert np.all(found.error <= 1e-8 * (1 + np.abs(exact)))


@pytest.mark.parametrize(
    ("function", "slope"),
    [(np.abs, 1.0), (lambda x: x * np.conj(x), 1.5), (np.real, 1.0), (lambda x: np.maximum(x, 0.0), 1.0)],
)
def test_a_complex_step_is_not_believed_where_the_function_does_not_follow(function, slope):
    x = np.array([0.0, 0.75])
    [found] = derivative(lambda a: [1e3 * function(a) + np.sin(1e3 * a)], [x], [np.ones(2)])
    expected = 1e3 * slope + 1e3 * np.cos(1e3 * x[1])
    assert abs(found.value[1] - expected) <= found.error[1]


@given(noise=st.floats(1e-13, 1e-9), x=st.floats(-2, 2))
def test_estimates_of_rough_functions_hold(noise, x):
    def rough(a):
        return [np.sin(a) + noise * np.sin(1e15 * np.sin(1e5 * a))]

    points = x + np.linspace(0, 1, 8)
    [found] = derivative(rough, [points], [np.ones(8)])
    assert np.mean(np.abs(found.value - np.cos(points)) <= 2 * found.error) >= 0.75
