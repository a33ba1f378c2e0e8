"""Rules of users' own: one VJP for all inputs, checked, at every order, in both modes."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import DtypeError, LostGradientError, ShapeError, UnsupportedError
from tapegrad.testing import check_gradients

A = np.array([[3.0, 1.0], [0.5, 2.0]])
B = np.array([1.0, -2.0])


def plain(function):
    """Return `function` refusing tensors, as compiled code does."""

    def run(*args, **settings):
        assert not any(isinstance(a, tg.Tensor) for a in args)
        return function(*args, **settings)

    return run


def solve_vjp(g, a, out, transposed=False):
    h = np.linalg.solve(a if transposed else a.T, g)
    ga = -np.outer(h, out)
    return ga.T if transposed else ga, h


@tg.custom_rule(vjp=solve_vjp)
def solve(a, b, transposed=False):
    """Solve one system."""
    assert not isinstance(a, tg.Tensor)
    return np.linalg.solve(a.T if transposed else a, b)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_rule_for_all_inputs_holds_in_both_modes_at_second_order(transposed):
    check_gradients(lambda a, b: solve(a, b, transposed=transposed), A, B, order=2)
    check_gradients(lambda a: solve(a, B, transposed), A, order=2)
    check_gradients(lambda b: solve(A, b), B, order=2)


def test_the_vjp_is_called_once_for_all_inputs():
    calls = []

    def vjp(g, x, y):
        calls.append(g)
        return g * y, g * x

    product = tg.custom_rule(vjp=vjp)(lambda x, y: x * y)
    x, y = tg.tensor(3.0, requires_grad=True), tg.tensor(4.0, requires_grad=True)
    out = product(x, y)
    out.backward(retain_graph=True)
    assert (len(calls), x.grad.item(), y.grad.item()) == (1, 4.0, 3.0)
    out.backward()
    assert (len(calls), x.grad.item(), y.grad.item()) == (2, 8.0, 6.0)


def test_decorated_functions_are_what_they_were_for_arrays():
    assert solve.__name__ == "solve"
    assert solve.__doc__ == "Solve one system."
    assert isinstance(solve(A, B), np.ndarray)
    assert isinstance(solve(a=A, b=B), np.ndarray)


def test_a_jvp_serves_forward_mode_and_vjps_that_leave_the_tape_need_one():
    def vjp(g, x):
        return np.asarray(g) * np.exp(np.asarray(x))

    without = tg.custom_rule(vjp=vjp, inputs="x")(plain(np.exp))
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    without(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([0.0, 1.0]))
    with pytest.raises(LostGradientError) as caught:
        tg.jvp(without, (np.ones(2),), (np.ones(2),))
    assert "give the rule a JVP" in caught.value.__notes__[0]
    given = tg.custom_rule(vjp=vjp, jvp=lambda t, out: t * out, inputs="x")(lambda x: np.exp(x))
    np.testing.assert_allclose(tg.jvp(given, (np.zeros(2),), (np.ones(2),))[1].numpy(), np.ones(2))


def test_several_results_each_have_a_cotangent():
    def vjp(gs, gc, s, c):
        zero = 0 * s
        return (zero if gs is None else gs * c) - (zero if gc is None else gc * s)

    def circle(x):
        return np.sin(x), np.cos(x)

    circle = tg.custom_rule(vjp=vjp, outputs="s c")(circle)
    check_gradients(circle, np.array([0.3, 2.0]), order=2)
    check_gradients(lambda x: circle(x)[1], np.array([0.3, 2.0]), order=2)


def test_none_is_zero():
    first = tg.custom_rule(vjp=lambda g: (g, None))(lambda x, y: x + 0 * y)
    x, y = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor(np.ones(2, np.float32), requires_grad=True)
    first(x, y).sum().backward()
    assert y.grad.tolist() == [0.0, 0.0]
    assert y.grad.dtype == np.float32


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (
            lambda g, x, y: (g[:1], g),
            r"wrong for input 0: got a cotangent of shape \(1,\), expected \(2,\)",
        ),
        (
            lambda g, x, y: (g, np.stack([g, g])),
            r"input 1: got a cotangent of shape \(2, 2\), expected \(2,\)",
        ),
        (lambda g, x, y: g, r"the VJP of wrong returned ndarray, expected a tuple of 2: one for each of \(x, y\)"),
        (lambda g, x, y: (g,), "the VJP of wrong returned 1 cotangents, expected a tuple of 2"),
        (lambda g, x, y: ("g", g), "the rule of wrong for input 0 returned str"),
    ],
)
def test_what_a_vjp_returns_is_checked(returned, sentence):
    def wrong(x, y):
        return x + y

    x, y = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([1.0, 2.0], requires_grad=True)
    loss = tg.custom_rule(vjp=returned)(wrong)(x, y).sum()
    with pytest.raises(ShapeError, match=sentence):
        loss.backward()
    assert x.grad is None
    assert y.grad is None


def test_what_a_jvp_returns_is_checked():
    wrong = tg.custom_rule(vjp=lambda g: g, jvp=lambda t: t[:1], inputs="x")(lambda x: x + 0)
    with pytest.raises(ShapeError, match=r"returned a tangent of shape \(1,\), expected the result's, \(2,\)"):
        tg.jvp(wrong, (np.ones(2),), (np.ones(2),))


def test_settings_that_the_vjp_does_not_know_are_refused():
    def vjp(g, x):
        return g

    rule = tg.custom_rule(vjp=vjp)(lambda x, power=1: x**power)
    x = tg.tensor(2.0, requires_grad=True)
    with pytest.raises(UnsupportedError, match="power"):
        rule(x, power=2)
    assert rule(x.detach(), power=2).item() == 4.0


def test_names_that_nobody_knows_are_refused_at_once():
    with pytest.raises(TypeError, match=r"asks for z, expected inputs \(x\)"):
        tg.custom_rule(vjp=lambda g, z: g)(lambda x: x)
    with pytest.raises(TypeError, match="does not name its inputs; say them"):
        tg.custom_rule(vjp=lambda g: g)(lambda *args: args[0])


@pytest.mark.parametrize("inputs", ["a b", "b", "b a", "bands b"])
def test_inputs_that_are_not_the_first_parameters_are_refused_at_once(inputs):
    with pytest.raises(TypeError, match=r"expected its first parameters in their order \(bands.*settings come after"):
        tg.custom_rule(vjp=lambda g: g, inputs=inputs)(lambda bands, a, b: b)


def test_inputs_may_be_named_for_functions_that_do_not_name_them():
    for function in (lambda *args: args[0] + args[1], lambda a, *others: a + others[0], lambda x, y: x + y, np.add):
        total = tg.custom_rule(vjp=lambda g: (g, 2 * g), inputs="a b")(function)
        assert [h.item() for h in tg.grad(total, argnums=(0, 1))(1.0, 2.0)] == [1, 2]


def test_failing_functions_leave_no_record():
    x = tg.tensor(np.ones((2, 2)), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError):
        solve(x, B)


def test_rules_of_elementwise_words_still_sum_over_broadcast_axes_and_others_do_not():
    from tapegrad.ops import general, unary

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    unary(lambda x: x * 2, lambda g: np.stack([g, g]), name="doubled")(x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    wrong = general(lambda x: x * 2, "x", "out", lambda g: np.stack([g, g]), name="stacked")
    with pytest.raises(ShapeError, match=r"the rule of stacked for input 0: got a cotangent of shape \(2, 2\)"):
        wrong(x).sum().backward()


def test_settings_that_a_call_leaves_out_have_the_functions_own_values_in_its_rules():
    def power_vjp(g, x, p):
        return g * p * x ** (p - 1)

    @tg.custom_rule(vjp=power_vjp)
    def power(x, p=3.0):
        return x**p

    @tg.custom_rule(vjp=power_vjp, jvp=lambda t, x, p: t * p * x ** (p - 1))
    def powered(x, *, p=3.0):
        return x**p

    x = np.array([1.0, 2.0])
    for function in (power, powered):
        assert tg.grad(lambda x, f=function: f(x).sum())(x).tolist() == [3.0, 12.0]
        assert tg.grad(lambda x, f=function: f(x, p=2.0).sum())(x).tolist() == [2.0, 4.0]
        assert tg.grad(lambda x, f=function: f(x=x).sum())(x).tolist() == [3.0, 12.0]
        assert tg.jvp(function, (x,), (np.ones(2),))[1].tolist() == [3.0, 12.0]
        assert tg.hvp(lambda x, f=function: f(x).sum(), (x,), (np.ones(2),))[0].tolist() == [6.0, 12.0]


def test_integer_results_have_no_derivative():
    @tg.custom_rule(vjp=lambda g: g)
    def signs(x):
        return (x > 0).astype(int)

    @tg.custom_rule(vjp=lambda gv, gi, i: np.take(gv, np.argsort(i)), outputs="v i")
    def ordered(x):
        return np.sort(x), np.argsort(x)

    x = tg.tensor([3.0, 1.0, 2.0], requires_grad=True)
    with pytest.raises(DtypeError, match="signs has a rule for its derivative, and returned dtype int64"):
        signs(x)
    with pytest.raises(DtypeError, match="signs has a rule"):
        tg.grad(tg.checkpoint(lambda x: (signs(x) * 0.5).sum()))(np.ones(2))
    assert signs(x.detach()).tolist() == [1, 1, 1]
    v, i = ordered(x)
    assert v.requires_grad
    assert not i.requires_grad
    (x[i] * v).sum().backward()
    assert x.grad.tolist() == [6.0, 2.0, 4.0]
    assert tg.jvp(ordered, (x.data,), (np.arange(3.0),))[1][0].tolist() == [1.0, 2.0, 0.0]


def test_functions_that_do_not_tell_their_parameters():
    sine = tg.custom_rule(vjp=lambda g, x: g * np.cos(x), inputs="x")(np.sin)
    assert tg.grad(sine)(0.0).item() == 1.0
    assert tg.custom_rule(vjp=lambda g: g, inputs="x")(max)([1.0, 2.0]).item() == 2.0
    with pytest.raises(TypeError, match="max does not name its inputs; say them"):
        tg.custom_rule(vjp=lambda g: g)(max)
