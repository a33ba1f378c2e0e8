"""Strong zero and strict: what they change, where, and that they are gone afterwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._op import RULES
from tapegrad.errors import KinkError


def masked(function, fallback=0.0):
    """Return a function that is `function` where x > 0, summed; below, it is not even defined."""

    def run(x):
        with np.errstate(all="ignore"):
            return np.sum(np.where(x > 0, function(x), fallback))

    return run


MASKED = {
    "log": (np.log, lambda x: 1 / x, lambda x: -1 / x**2),
    "sqrt": (np.sqrt, lambda x: 0.5 * x**-0.5, lambda x: -0.25 * x**-1.5),
    "power": (lambda x: x**0.5, lambda x: 0.5 * x**-0.5, lambda x: -0.25 * x**-1.5),
    "divide": (lambda x: 1 / x, lambda x: -(x**-2), lambda x: 2 * x**-3),
    "composed": (lambda x: np.exp(np.log(x) * 2.0), lambda x: 2 * x, lambda x: np.full_like(x, 2.0)),
}
X = np.array([-1.0, 0.0, 0.5, 2.0])


@pytest.mark.parametrize("name", MASKED)
def test_strong_zero_ends_the_trap_of_values_that_where_did_not_select(name):
    function, first, second = MASKED[name]
    f = masked(function)
    expected = [np.concatenate([[0, 0], d(X[2:])]) for d in (first, second)]
    with np.errstate(all="ignore"):
        assert np.isnan(tg.grad(f)(X).numpy()[:2]).any()
    with tg.strong_zero():
        np.testing.assert_allclose(tg.grad(f)(X).numpy(), expected[0])
        hessian = tg.grad(lambda x: tg.grad(f)(x).sum())(X)
        np.testing.assert_allclose(hessian.numpy(), expected[1])
        t = np.array([0.0, 0.0, 1.0, -1.0])
        np.testing.assert_allclose(tg.jvp(f, (X,), (t,))[1].item(), expected[0] @ t)
        np.testing.assert_allclose(tg.jvp(tg.grad(f), (X,), (t,))[1].numpy(), expected[1] * t)


def test_strong_zero_is_an_argument_of_backward_too():
    x = tg.tensor(X, requires_grad=True)
    f = masked(np.log)
    f(x).backward(strong_zero=True)
    assert x.grad.tolist() == [0.0, 0.0, 2.0, 0.5]
    x.grad = None
    with np.errstate(all="ignore"):
        f(x).backward()
    assert np.isnan(x.grad.numpy()[1])


def test_strong_zero_leaves_infinite_derivatives_that_count():
    x = tg.tensor([0.0, 4.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        np.sqrt(x).sum().backward(strong_zero=True)
    assert x.grad.tolist() == [np.inf, 0.25]


@settings(max_examples=50)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=4), st.sampled_from([np.float32, np.float64]))
def test_strong_zero_changes_no_gradient_without_infinities(values, dtype):
    x = np.array(values, dtype)

    def f(x):
        return np.sum(np.maximum(np.tanh(x) * x, 0.1) * np.cos(x[::-1]))

    plain = tg.grad(f)(x)
    with tg.strong_zero():
        strong = tg.grad(f)(x)
    assert strong.dtype == dtype
    np.testing.assert_array_equal(plain.numpy(), strong.numpy())


# What is at a kink: a function, and a value where its derivative is a convention
KINKS = {
    "absolute": (np.abs, [1.0, 0.0]),
    "fabs": (np.fabs, [1.0, 0.0]),
    "copysign": (lambda x: np.copysign(x, -1.0), [1.0, 0.0]),
    "maximum": (lambda x: np.maximum(x, 0.0), [1.0, 0.0]),
    "minimum": (lambda x: np.minimum(x, x[::-1]), [1.0, 1.0]),
    "fmax": (lambda x: np.fmax(x, 0.0), [1.0, 0.0]),
    "fmin": (lambda x: np.fmin(x, 0.0), [1.0, 0.0]),
    "clip": (lambda x: np.clip(x, None, 1.0), [1.0, 0.0]),
    "hypot": (lambda x: np.hypot(x, 0.0), [1.0, 0.0]),
    "arctan2": (lambda x: np.arctan2(x, 0.0), [1.0, 0.0]),
    "relu": (tg.relu, [1.0, 0.0]),
    "leaky_relu": (tg.leaky_relu, [1.0, 0.0]),
    "elu": (lambda x: tg.elu(x, 2.0), [1.0, 0.0]),
    "max": (lambda x: np.max(x, axis=-1), [1.0, 1.0]),
    "min": (lambda x: np.min(x, keepdims=True), [1.0, 1.0]),
    "Euclidean norm": (np.linalg.norm, [0.0, 0.0]),
    "p-norm": (lambda x: np.linalg.norm(x, 3), [0.0, 0.0]),
    "root": (np.std, [1.0, 1.0]),
    "rearrange": (lambda x: np.sort(x) * [1.0, 2.0], [1.0, 1.0]),
    "_ranked": (lambda x: np.quantile(x, 0.25), [1.0, 1.0]),
}
SMOOTH = np.array([1.5, -0.7])


def test_every_row_with_a_kink_is_tried():
    assert set(KINKS) == {name for name, op in RULES.items() if op.kink is not None}


@pytest.mark.parametrize("name", KINKS)
def test_strict_raises_at_kinks_and_nowhere_else(name):
    f, at = KINKS[name]

    def total(x):
        return np.sum(f(x))

    with tg.strict():
        tg.grad(total)(SMOOTH)
        with pytest.raises(KinkError, match=f"^{name} has a kink here.*cotangent other than 0"):
            tg.grad(total)(np.array(at))
        with pytest.raises(KinkError, match="a tangent passes"):
            tg.jvp(total, (np.array(at),), (np.ones(2),))
    with tg.strict("warn"), pytest.warns(RuntimeWarning, match="has a kink"):
        warned = tg.grad(total)(np.array(at))
    np.testing.assert_array_equal(warned.numpy(), tg.grad(total)(np.array(at)).numpy())


def test_strict_names_the_position_and_the_entries():
    x = tg.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    with tg.strict():
        y = np.abs(x)
        loss = np.sum(y)
        with pytest.raises(KinkError, match=rf"index \(0, 1\), \(1, 0\) .*position {y._record.position} of the tape"):
            loss.backward()
    assert x.grad is None


def test_strict_lets_values_at_a_kink_pass_that_take_no_cotangent():
    x = tg.tensor([1.0, 0.0], requires_grad=True)
    with tg.strict():
        (np.abs(x) * [1.0, 0.0]).sum().backward()
        np.where(x > 0, np.abs(x), 0.0).sum().backward()
    assert x.grad.tolist() == [2.0, 0.0]


def test_strict_asks_for_an_action():
    with pytest.raises(ValueError, match="expected 'raise' or 'warn'"):
        tg.strict("ignore")


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f, x: tg.linearize(f, x)[1](np.ones(2)),
        lambda f, x: tg.jacobian(f, mode="forward")(x),
        lambda f, x: tg.jacobian(f, mode="reverse")(x),
        lambda f, x: tg.jvp(f, (x,), (np.ones(2),)),
    ],
    ids=["linearize", "forward", "reverse", "jvp"],
)
def test_strict_holds_in_every_transform(derivative):
    with tg.strict():
        derivative(np.abs, np.array([1.0, 2.0]))
        with pytest.raises(KinkError, match="absolute has a kink"):
            derivative(np.abs, np.array([1.0, 0.0]))


@pytest.mark.parametrize(
    "second",
    [
        lambda f, x: tg.hessian(f)(x).data.diagonal(),
        lambda f, x: tg.hvp(f, (x,), (np.ones_like(x),))[0],
        lambda f, x: tg.jvp(tg.grad(f), (x,), (np.ones_like(x),))[1],
        lambda f, x: tg.jacobian(tg.grad(f), mode="forward")(x).data.diagonal(),
        lambda f, x: tg.linearize(tg.grad(f), x)[1](np.ones_like(x)),
    ],
    ids=["hessian", "hvp", "forward over reverse", "jacobian", "linearize"],
)
def test_strong_zero_keeps_finite_derivatives_of_cotangents_that_happen_to_be_zero(second):
    x = np.array([0.0, 0.5])
    with tg.strong_zero():
        assert np.allclose(second(lambda x: np.sum(np.sin(x) ** 2), x), 2 * np.cos(2 * x))
        assert np.allclose(second(masked(lambda x: x**1.5), x), [0.0, 0.75 * 0.5**-0.5])
        assert np.allclose(tg.jacobian(np.sin, mode="forward")(x), np.diag(np.cos(x)))


def test_strict_warns_about_the_line_of_the_program():
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    with tg.strict("warn"):
        loss = np.sum(np.abs(x))
        with pytest.warns(RuntimeWarning, match="absolute has a kink here, at index") as caught:
            loss.backward()
    assert [warning.filename for warning in caught] == [__file__]
    assert x.grad.tolist() == [0.0, 1.0]
