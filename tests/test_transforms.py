"""Transforms: values, nesting in every order, containers, complex conventions, errors, and what is left behind."""

import dataclasses
import itertools
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.errors import DtypeError, HistoryError, ShapeError

Point = namedtuple("Point", "x y")


@dataclasses.dataclass
class Weights:
    w: object
    b: object


def reverse(f):
    return tg.grad(f)


def forward(f):
    return lambda x: tg.jvp(f, (x,), (1.0,))[1]


def program(x):
    return np.exp(x * np.sin(x)) / (1 + x * x)


def nested_derivative(order):
    """Return a derivative of `program` at 0.7 from a polynomial fit, as an independent value."""
    nodes = 0.7 + 0.2 * np.cos(np.pi * (np.arange(25) + 0.5) / 25)
    p = np.polynomial.Chebyshev.fit(nodes, np.exp(nodes * np.sin(nodes)) / (1 + nodes**2), 24)
    return p.deriv(order)(0.7)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_modes_nest_in_every_order(order):
    expected = nested_derivative(order)
    for modes in itertools.product([reverse, forward], repeat=order):
        f = program
        for mode in modes:
            f = mode(f)
        assert f(0.7).item() == pytest.approx(expected, rel=1e-7), [mode.__name__ for mode in modes]


@pytest.mark.parametrize("outer", [reverse, forward])
@pytest.mark.parametrize("inner", [reverse, forward])
def test_perturbations_are_not_confused(outer, inner):
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0).item() == 1.0
    assert outer(lambda x: x * inner(lambda y: x * y * y)(2.0))(3.0).item() == 24.0


def test_backward_through_grad_reaches_arguments_and_closures():
    w = tg.tensor(3.0, requires_grad=True)
    x = tg.tensor(2.0, requires_grad=True)
    tg.grad(lambda y: w * y**3)(x).backward()
    assert (w.grad.item(), x.grad.item()) == (12.0, 36.0)


def test_backward_inside_a_transformed_function():
    def inner(x):
        w = tg.tensor(2.0, requires_grad=True)
        (w * w * x).backward(create_graph=True)
        return w.grad

    assert tg.grad(inner)(5.0).item() == 4.0
    assert tg.jvp(inner, (5.0,), (1.0,))[1].item() == 4.0


def test_results_are_untracked_unless_something_outside_is_tracked():
    value, gradient = tg.value_and_grad(program)(0.7)
    assert not value.requires_grad
    assert not gradient.requires_grad
    out, tangent = tg.jvp(program, (0.7,), (1.0,))
    assert not out.requires_grad
    assert not tangent.requires_grad
    x = tg.tensor(0.7, requires_grad=True)
    assert tg.grad(program)(x).requires_grad
    with tg.no_grad():
        assert not tg.grad(program)(x).requires_grad


@pytest.mark.parametrize("mode", [reverse, forward])
def test_transforms_work_inside_no_grad(mode):
    with tg.no_grad():
        assert mode(mode(program))(0.7).item() == pytest.approx(nested_derivative(2), rel=1e-7)
        assert not tg.is_grad_enabled()


def test_a_raising_function_leaves_the_mode_as_it_was():
    def bad(x):
        raise KeyError("bad")

    for run in (lambda: tg.grad(bad)(1.0), lambda: tg.jvp(bad, (1.0,), (1.0,)), lambda: tg.vjp(bad, 1.0)):
        with tg.no_grad(), pytest.raises(KeyError):
            run()
        assert tg.is_grad_enabled()
        assert tg.grad(np.sin)(0.0).item() == 1.0


def test_argnums_keywords_and_auxiliary_outputs():
    def f(x, y, scale=1.0):
        return scale * np.sum(x * y), {"sum": x + y}

    (value, aux), (gx, gy) = tg.value_and_grad(f, argnums=(0, -1), has_aux=True)(np.ones(2), np.arange(2.0), scale=3.0)
    assert value.item() == 3.0
    assert not aux["sum"].requires_grad
    assert (gx.tolist(), gy.tolist()) == ([0.0, 3.0], [3.0, 3.0])
    gradient, aux = tg.grad(f, has_aux=True)(np.ones(2), np.arange(2.0))
    assert aux["sum"].tolist() == [1.0, 2.0]
    assert gradient.tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="argnums 2"):
        tg.grad(f, argnums=2)(1.0, 2.0)


def test_containers():
    tree = {"a": [np.ones(2), (2.0, None)], "p": Point(1.0, 3.0), "w": Weights(np.ones(1), 2.0)}

    def f(t):
        (a, (s, _)), p, w = t["a"], t["p"], t["w"]
        return np.sum(a) * s + p.x * p.y + np.sum(w.w) * w.b

    g = tg.grad(f)(tree)
    assert g["a"][0].tolist() == [2.0, 2.0]
    assert (g["a"][1][0].item(), g["a"][1][1]) == (2.0, None)
    assert (g["p"].x.item(), g["p"].y.item()) == (3.0, 1.0)
    assert (g["w"].w.tolist(), g["w"].b.item()) == ([2.0], 1.0)
    _, tangent = tg.jvp(lambda t: {"out": f(t)}, (tree,), (tree,))
    assert tangent["out"].item() == pytest.approx(2 * f(tree))


@given(st.integers(1, 4), st.integers(1, 4))
def test_vjp_is_the_transpose_of_jvp(n, m):
    rng = np.random.default_rng(n + 10 * m)
    a, x, t, g = rng.normal(size=(m, n)), rng.normal(size=n), rng.normal(size=n), rng.normal(size=m)

    def f(x):
        return np.tanh(a @ x) * np.sum(x)

    y, pull = tg.vjp(f, x)
    y2, jt = tg.jvp(f, (x,), (t,))
    assert np.array_equal(y.data, y2.data)
    for _ in range(2):
        assert np.vdot(g, jt.data) == pytest.approx(np.vdot(pull(g)[0].data, t), rel=1e-10, abs=1e-12)


def test_vjp_with_several_outputs_and_a_tracked_cotangent():
    (_, _), pull = tg.vjp(lambda x, y: (x * y, x + 0 * y), 2.0, 3.0)
    assert [g.item() for g in pull((1.0, 10.0))] == [13.0, 2.0]
    c = tg.tensor(1.0, requires_grad=True)
    pull((c, 0.0))[0].backward()
    assert c.grad.item() == 3.0
    with pytest.raises(ShapeError, match="got a tuple of 1 entry for the cotangent, expected a tuple of 2 entries"):
        pull((1.0,))


def test_complex_convention():
    z = 1 + 2j
    assert tg.grad(lambda z: np.abs(z) ** 2)(z).item() == pytest.approx(2 + 4j)
    _, pull = tg.vjp(lambda z: z * z, z)
    assert pull(1.0 + 0j)[0].item() == 2 * np.conj(z)
    _, tangent = tg.jvp(lambda z: z * z, (z,), (1j,))
    assert tangent.item() == 2 * z * 1j


def test_errors():
    with pytest.raises(DtypeError, match="argnums"):
        tg.grad(lambda n: n * 1.0)(3)
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        tg.grad(lambda x: x * 2)(np.ones(2))
    with pytest.raises(DtypeError, match="complex"):
        tg.grad(lambda z: z * 2)(1j)
    with pytest.raises(ShapeError, match=r"got shape \(2,\) for tangents\[0\], expected \(\), as its primal"):
        tg.jvp(np.sin, (1.0,), (np.ones(2),))
    with pytest.raises(ShapeError, match="got a tuple of 0 entries for tangents, expected a tuple of 1 entry"):
        tg.jvp(np.sin, (1.0,), ())
    with pytest.raises(DtypeError, match="real part"):
        tg.jvp(np.sin, (1.0,), (1j,))


def test_a_constant_function_has_zero_derivatives():
    assert tg.grad(lambda x: 3.0)(np.ones(2)).tolist() == [0.0, 0.0]
    assert tg.jvp(lambda x: 3.0, (1.0,), (1.0,))[1].item() == 0.0


def test_gradients_of_tensors_by_leaves_and_results():
    x, y = tg.tensor(3.0, requires_grad=True), tg.tensor(1.0, requires_grad=True)
    m = x * x
    out = m * m
    gx, gm = tg.gradients(out, [x, m], retain_graph=True)
    assert (gx.item(), gm.item()) == (108.0, 18.0)
    assert x.grad is None
    assert tg.gradients(out, [x, y], retain_graph=True, allow_unused=True)[1] is None
    with pytest.raises(HistoryError, match="input 1 was not used"):
        tg.gradients(out, [x, y], retain_graph=True)
    (g,) = tg.gradients(out, x, create_graph=True)
    (h,) = tg.gradients(g, x)
    assert h.item() == pytest.approx(12 * 9)
    with pytest.raises(HistoryError, match="output 0 without history"):
        tg.gradients(tg.tensor(1.0), x)


def test_gradients_share_no_memory():
    x, y = tg.tensor(np.ones(2), requires_grad=True), tg.tensor(np.ones(2), requires_grad=True)
    seed = np.ones(2)
    gx, gy = tg.gradients(x + y, [x, y], seed)
    gx.data[0] = 5.0
    assert gy.tolist() == seed.tolist() == [1.0, 1.0]


def test_forward_mode_keeps_no_tape():
    def loop(x, steps):
        for _ in range(steps):
            x = np.sin(x) * 0.9
        return x

    import gc
    import sys

    tg.jvp(lambda x: loop(x, 10), (np.ones(3),), (np.ones(3),))
    highest = []

    def watched(x):
        for _ in range(20):
            x = loop(x, 50)
            highest.append(sys.getallocatedblocks())
        return x

    gc.collect()
    tg.jvp(watched, (np.ones(3),), (np.ones(3),))
    assert highest[-1] - highest[1] < 200


def assigned_whole(x):
    x *= 3
    return np.sum(x)


def assigned_entry(x):
    x[0] = 5.0
    return np.sum(x * x)


def written_into(x):
    np.exp(x, out=x)
    return np.sum(x)


@pytest.mark.parametrize(
    ("f", "expected"), [(assigned_whole, [3, 3]), (assigned_entry, [0, 4]), (written_into, np.exp([1, 2]))]
)
def test_functions_may_assign_to_their_arguments(f, expected):
    x = np.array([1.0, 2.0])
    assert np.allclose(tg.grad(f)(x).data, expected)
    _, pull = tg.vjp(f, x)
    assert np.allclose(pull(1.0)[0].data, expected)
    assert np.allclose([tg.jvp(f, (x,), (t,))[1].item() for t in np.eye(2)], expected)
    assert x.tolist() == [1.0, 2.0]


def test_functions_may_change_their_containers():
    def f(p):
        p["h"] = p["w"] * 3
        p["w"] = p["h"] * 2
        return np.sum(p["w"])

    given = {"w": np.ones(2)}
    g = tg.grad(f)(given)
    assert list(g) == list(given) == ["w"]
    assert g["w"].tolist() == [6.0, 6.0]


def test_conversion_in_assignment_is_undone_under_forward_levels():
    def f(x):
        t = tg.zeros(2, dtype=complex)
        t[0] = x * 1.0
        return np.sum(np.real(t * t * (1 + 2j)))

    assert tg.grad(f)(3.0).item() == 6.0
    assert [v.item() for v in tg.jvp(tg.grad(f), (3.0,), (1.0,))] == [6.0, 2.0]


def test_results_share_no_memory_with_arguments_or_each_other():
    a, b = np.ones(2), np.ones(2)
    ga, gb = tg.grad(lambda a, b: np.sum((a + b) * 2.0), (0, 1))(a, b)
    ga.data[0] = 7.0
    assert gb.tolist() == [2.0, 2.0]
    cotangent = np.ones(2)
    _, pull = tg.vjp(lambda x: x + 0.0, a)
    (g,) = pull(cotangent)
    cotangent[:] = 9.0
    assert g.tolist() == [1.0, 1.0]
    tg.grad(np.sum)(a).data[0] = 5.0
