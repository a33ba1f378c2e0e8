"""Transforms: values, nesting in every order, containers, complex conventions, errors, and what is left behind."""

import contextvars
import dataclasses
import itertools
import sys
import tracemalloc
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._transforms import MIXED
from tapegrad.errors import DeviceError, DtypeError, HistoryError, LostGradientError, ShapeError
from tapegrad.testing import strict

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


# linearize, jacobian, hessian, hvp, elementwise_grad, stop_gradient

MATRIX = np.arange(6.0).reshape(2, 3) / 5


def vector(x):
    return np.tanh(MATRIX @ x) * np.sum(x)


def scalar(x):
    return np.sum(np.exp(x) * np.roll(x, 1)) * np.sin(x[0])


V, W = np.array([0.3, -0.2, 0.5]), np.array([1.0, 2.0, -1.0])


def columns(f, x):
    """Return the Jacobian of a function of a vector, by forward mode."""
    return np.stack([tg.jvp(f, (x,), (t,))[1].data for t in np.eye(len(x))], axis=-1)


def test_linearize_gives_jvp_without_running_the_function_again():
    runs = []

    def f(d, y):
        runs.append(1)
        return {"a": vector(d["x"]) * y, "n": np.argmax(d["x"])}

    value, push = tg.linearize(f, {"x": V}, 2.0)
    assert np.array_equal(value["a"].data, vector(V) * 2)
    for t, s in [(W, 1.0), (V, 0.0)]:
        got = push({"x": t}, s)
        expected = tg.jvp(f, ({"x": V}, 2.0), ({"x": t}, s))[1]
        assert np.allclose(got["a"].data, expected["a"].data, rtol=1e-14)
        assert got["n"].item() == 0
    assert len(runs) == 3
    assert tg.linearize(lambda x: 3.0, V)[1](W).item() == 0.0
    _, push, aux = tg.linearize(lambda x: (x, "aux"), V, has_aux=True)
    assert (push(W).tolist(), aux) == (W.tolist(), "aux")


def test_linearize_at_infinities_and_of_complex_functions():
    _, push = tg.linearize(np.sqrt, np.array([0.0, 4.0]))
    with np.errstate(divide="ignore"):  # as in jvp
        assert push(np.array([1.0, 1.0])).tolist() == [np.inf, 0.25]
    z, t = np.array([1 + 2j, -1j]), np.array([1j, 2 + 1j])
    for f in (np.exp, np.abs, np.conj, lambda z: z * z):
        assert np.allclose(tg.linearize(f, z)[1](t).data, tg.jvp(f, (z,), (t,))[1].data, rtol=1e-14)
    _, push = tg.linearize(lambda x: np.exp(1j * x), V)
    assert np.allclose(push(W).data, 1j * np.exp(1j * V) * W)


@pytest.mark.parametrize("outer", [tg.grad, lambda f: lambda x: tg.jvp(f, (x,), (1.0,))[1]])
@pytest.mark.parametrize("no_grad", [False, True])
def test_linearize_nests(outer, no_grad):
    def f(x):
        return tg.linearize(lambda y: np.sin(x * y), x)[1](x) * x

    # f(x) = x**3 cos(x**2)
    x = 0.7
    first = 3 * x**2 * np.cos(x**2) - 2 * x**4 * np.sin(x**2)
    second = 6 * x * np.cos(x**2) - 14 * x**3 * np.sin(x**2) - 4 * x**5 * np.cos(x**2)
    with tg.set_grad_enabled(not no_grad):
        assert outer(f)(x).item() == pytest.approx(first)
        assert outer(outer(f))(x).item() == pytest.approx(second)
        _, push = tg.linearize(f, x)
        assert outer(push)(1.0).item() == pytest.approx(first)
        assert not push(2.0).requires_grad


@pytest.mark.parametrize("mode", [None, "forward", "reverse"])
@pytest.mark.parametrize("f", [vector, scalar, np.cumsum, lambda x: np.outer(x, x), lambda x: np.sum(x[:1])])
def test_jacobian(f, mode):
    made = tg.jacobian(f, mode=mode)(V)
    assert isinstance(made, tg.Tensor)
    assert not made.requires_grad
    assert made.shape == np.shape(f(V)) + V.shape
    assert np.allclose(made.data, columns(f, V), rtol=1e-13)


@pytest.mark.parametrize("mode", [None, "forward", "reverse"])
def test_jacobian_of_containers(mode):
    def f(p, w, scale=1.0):
        return {"o": np.outer(p.x, w["b"]) * scale, "s": [p.y * np.sum(w["b"])]}, "aux"

    args = Point(V, 2.0), {"b": W[:2]}
    j, aux = tg.jacobian(f, argnums=(0, -1), mode=mode, has_aux=True)(*args, scale=3.0)
    assert aux == "aux"
    by_p, by_w = j["o"]
    assert isinstance(by_p, Point)
    assert np.allclose(by_p.x.data, 3 * np.einsum("ik,j->ijk", np.eye(3), W[:2]))
    assert by_p.y.tolist() == np.zeros((3, 2)).tolist()
    assert np.allclose(by_w["b"].data, 3 * np.einsum("i,jk->ijk", V, np.eye(2)))
    assert j["s"][0][0].y.item() == 3.0
    assert j["s"][0][1]["b"].tolist() == [2.0, 2.0]
    single = tg.jacobian(f, argnums=1, mode=mode, has_aux=True)(*args)[0]
    assert single["s"][0]["b"].tolist() == [2.0, 2.0]


def test_jacobian_runs_the_function_once():
    runs = []

    def f(x):
        runs.append(np.random.default_rng(len(runs)).normal(size=3))
        return np.stack([x * runs[-1], x])

    for mode in ("forward", "reverse"):
        runs.clear()
        assert np.allclose(np.diagonal(tg.jacobian(f, mode=mode)(V).data[0]), runs[0])
        assert len(runs) == 1


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian_dtypes_empty_sizes_and_constants(mode):
    for dtype in "efd":
        assert tg.jacobian(lambda x: x * np.float64(2), mode=mode)(V.astype(dtype)).dtype == dtype
    assert tg.jacobian(lambda x: np.exp(1j * x), mode=mode)(V.astype("f")).dtype == np.complex64
    assert tg.jacobian(np.sin, mode=mode)(np.zeros(0)).shape == (0, 0)
    assert tg.jacobian(lambda x: x[:0], mode=mode)(V).shape == (0, 3)
    assert tg.jacobian(lambda x: np.ones(2), mode=mode)(V).tolist() == np.zeros((2, 3)).tolist()
    assert tg.jacobian(lambda d: {}, mode=mode)(V) == {}
    assert tg.jacobian(lambda d: np.ones(2), mode=mode)({}) == {}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_complex_jacobian(mode):
    assert np.allclose(tg.jacobian(lambda x: np.exp(1j * x), mode=mode)(V).data, np.diag(1j * np.exp(1j * V)))
    z = V + 1j * W
    a = MATRIX + 2j
    made = tg.jacobian(lambda z: a @ (z * z), mode=mode, holomorphic=True)(z)
    assert np.allclose(made.data, a * (2 * z))
    for f in (np.exp, np.abs):
        with pytest.raises(DtypeError, match="holomorphic=True"):
            tg.jacobian(f, mode=mode, holomorphic=f is np.abs)(z)


def test_hessian():
    h = tg.hessian(scalar)(V)
    assert np.allclose(h.data, columns(tg.grad(scalar), V), rtol=1e-13)
    third = tg.hessian(vector)(V)
    assert third.shape == (2, 3, 3)
    assert np.allclose(third.data, np.swapaxes(third.data, 1, 2))
    (haa, hab), (hba, _) = tg.hessian(lambda a, b: np.sum(a * a) * b, argnums=(0, 1))(V, 2.0)
    assert np.allclose(haa.data, 4 * np.eye(3))
    assert np.allclose(hab.data, 2 * V)
    assert np.allclose(hba.data, 2 * V)
    h, aux = tg.hessian(lambda d: (d["a"] ** 2 * d["b"], "aux"), has_aux=True)({"a": 2.0, "b": 3.0})
    assert aux == "aux"
    assert [[h[i][j].item() for j in "ab"] for i in "ab"] == [[6.0, 4.0], [4.0, 0.0]]


def test_hvp_is_the_product_with_the_hessian():
    (product,) = tg.hvp(scalar, (V,), (W,))
    assert not product.requires_grad
    assert np.allclose(product.data, tg.hessian(scalar)(V).data @ W, rtol=1e-13)

    def f(p, y):
        return np.sum(p["a"] ** 3) * y

    products = tg.hvp(f, ({"a": V}, 2.0), ({"a": W}, 0.5))
    assert np.allclose(products[0]["a"].data, 12 * V * W + 3 * V**2 * 0.5)
    assert products[1].item() == pytest.approx(np.sum(3 * V**2 * W))
    z, t = 1 + 2j, 0.5 - 1j
    expected = tg.jvp(tg.grad(lambda z: np.abs(z) ** 4), (z,), (t,))[1].item()
    assert tg.hvp(lambda z: np.abs(z) ** 4, (z,), (t,))[0].item() == pytest.approx(expected)


@pytest.mark.parametrize("recording", [True, False])
def test_new_transforms_nest_in_all_others(recording):
    def jacobians(x):
        return np.sum(tg.jacobian(np.sin)(x)[0])

    def hessians(x):
        return np.sum(tg.hessian(lambda x: np.sum(x * x * x))(x)[1])

    def products(x):
        return np.sum(tg.hvp(lambda x: np.sum(x**3), (x,), (np.ones(3),))[0])

    def elementwise(x):
        return np.sum(tg.elementwise_grad(np.exp)(x))

    with tg.set_grad_enabled(recording):
        for f, expected in [
            (jacobians, [-np.sin(V[0]), 0, 0]),
            (hessians, [0, 6, 0]),
            (products, [6, 6, 6]),
            (elementwise, np.exp(V)),
        ]:
            assert np.allclose(tg.grad(f)(V).data, expected)
            assert np.allclose(tg.jacobian(f, mode="forward")(V).data, expected)
            assert tg.jvp(f, (V,), (W,))[1].item() == pytest.approx(expected @ W)
            assert tg.linearize(f, V)[1](W).item() == pytest.approx(expected @ W)
            second = columns(tg.grad(f), V)
            assert np.allclose(tg.hessian(f)(V).data, second)
            assert np.allclose(tg.hvp(f, (V,), (W,))[0].data, second @ W)
        assert tg.is_grad_enabled() is recording


@pytest.mark.parametrize(
    "make",
    [
        lambda x: tg.jacobian(np.sin)(x),
        lambda x: tg.jacobian(np.sin, mode="forward")(x),
        lambda x: tg.linearize(np.sin, x)[1](np.ones(3)),
        lambda x: tg.hvp(lambda x: -np.sum(np.cos(x)), (x,), (np.ones(3),))[0],
        lambda x: tg.elementwise_grad(np.sin)(x),
    ],
)
def test_backward_through_new_transforms(make):
    x = tg.tensor(V, requires_grad=True)
    made = make(x)
    assert made.requires_grad
    np.sum(made * np.cos(1.0)).backward()
    assert np.allclose(x.grad.data, -np.sin(V) * np.cos(1.0))


def test_elementwise_grad():
    x = np.array([[0.5, -1.0], [2.0, 0.0]])
    assert np.allclose(tg.elementwise_grad(np.tanh)(x).data, 1 - np.tanh(x) ** 2)
    gx, gy = tg.elementwise_grad(lambda x, y, k: x**k * y, argnums=(0, 1))(x, x + 1, k=2)
    assert np.allclose(gx.data, 2 * x * (x + 1))
    assert np.allclose(gy.data, x * x)
    f = np.sin
    for _ in range(3):
        f = tg.elementwise_grad(f)
    assert np.allclose(f(x).data, -np.cos(x))


def test_stop_gradient_stops_both_modes_in_whole_trees():
    def f(x):
        kept = tg.stop_gradient({"x": [x, "text"], "n": None})
        return x * kept["x"][0]

    assert tg.grad(f)(3.0).item() == 3.0
    assert tg.jvp(f, (3.0,), (1.0,))[1].item() == 3.0
    assert tg.stop_gradient(("a", 1.0)) == ("a", 1.0)


def test_auxiliary_outputs_of_vjp_and_jvp():
    y, pull, aux = tg.vjp(lambda x: (x * x, {"x": x}), 3.0, has_aux=True)
    assert (y.item(), pull(1.0)[0].item(), aux["x"].item()) == (9.0, 6.0, 3.0)
    assert not aux["x"].requires_grad
    y, t, aux = tg.jvp(lambda x: (x * x, {"x": x}), (3.0,), (1.0,), has_aux=True)
    assert (y.item(), t.item(), aux["x"].item()) == (9.0, 6.0, 3.0)


def test_auxiliary_outputs_keep_the_history_that_reaches_beyond():
    w = tg.tensor(2.0, requires_grad=True)
    _, aux = tg.grad(lambda x: (x * x, w * x), has_aux=True)(3.0)
    aux.backward()
    assert w.grad.item() == 3.0


def test_tangents_and_cotangents_of_dicts_are_matched_by_key():
    primal, other = {"a": 2.0, "b": 3.0}, {"b": 10.0, "a": 1.0}
    assert tg.jvp(lambda d: d["a"] * d["b"], (primal,), (other,))[1].item() == 3.0 + 20.0
    _, pull = tg.vjp(lambda x: {"a": x, "b": 2 * x}, 1.0)
    assert pull(other)[0].item() == 21.0


def test_a_tangent_that_passes_through_is_copied():
    t = np.ones(3)
    _, out = tg.jvp(lambda x: x, (V,), (t,))
    out.data[0] = 5.0
    assert t.tolist() == [1.0, 1.0, 1.0]


def test_forward_mode_over_a_long_loop_takes_constant_memory():
    blocks = []

    def loop(x):
        for i in range(100_000):
            if i in (1_000, 99_000):
                blocks.append(sys.getallocatedblocks())
            if i == 99_000:
                tracemalloc.start()  # what it costs in time, it would cost at every step
            x = np.sin(x)
        blocks.append(tracemalloc.get_traced_memory()[1])
        return x

    try:
        tg.jvp(loop, (np.ones(100),), (np.ones(100),))
    finally:
        tracemalloc.stop()
    early, late, peak = blocks
    assert late - early < 200
    assert peak < 20_000


def test_a_raising_function_leaves_the_mode_and_the_tape_as_they_were():
    def bad(x):
        x * x
        raise KeyError("bad")

    w = tg.tensor(V, requires_grad=True)
    loss = np.sum(w * w)
    for run in (
        lambda: tg.linearize(bad, V),
        lambda: tg.jacobian(bad)(V),
        lambda: tg.hessian(bad)(V),
        lambda: tg.hvp(bad, (V,), (V,)),
        lambda: tg.elementwise_grad(bad)(V),
        lambda: tg.grad(lambda x: tg.jvp(bad, (x,), (V,))[1])(w),
    ):
        for recording in (True, False):
            with tg.set_grad_enabled(recording):
                with pytest.raises(KeyError):
                    run()
                assert tg.is_grad_enabled() is recording
                assert tg.jvp(np.sin, (0.0,), (1.0,))[1].item() == 1.0
    loss.backward()
    assert w.grad.tolist() == (2 * V).tolist()


# Sentences


class Thing:
    """What no array can be made of."""


def pulled(f, cotangent):
    return lambda: tg.vjp(f, V)[1](cotangent)


@pytest.mark.parametrize(
    ("run", "error", "words"),
    [
        (lambda: tg.grad(vector)(V), ShapeError, r"got shape \(2,\) from vector, expected a single number; sum it, or"),
        (lambda: tg.hvp(vector, (V,), (V,)), ShapeError, r"got shape \(2,\) from vector, expected a single number"),
        (lambda: tg.grad(lambda x: (x, x))(1.0), DtypeError, r"got a tuple of 2 entries .* give has_aux=True"),
        (lambda: tg.grad(lambda x: None)(1.0), DtypeError, "got None from <lambda>, expected one real number"),
        (lambda: tg.grad(lambda x: "text")(1.0), DtypeError, "got one str from <lambda>, expected one real number"),
        (lambda: tg.grad(np.argmax)(V), DtypeError, "got dtype int64 from argmax, expected a floating point number"),
        (lambda: tg.grad(scalar, has_aux=True)(V), ShapeError, r"got one Tensor .* from scalar, expected a pair"),
        (lambda: tg.grad(scalar)([1, 2.0]), DtypeError, r"got dtype int64 for argument 0\[0\], expected floating"),
        (lambda: tg.grad(scalar)({"w": Weights(1.0, "no")}), DtypeError, r"got str for argument 0\['w'\].b, expected"),
        (lambda: tg.grad(scalar)(Thing()), DtypeError, "got Thing for argument 0, expected floating point"),
        (lambda: tg.vjp(scalar, V, True), DtypeError, "got dtype bool for primal 1, expected floating"),
        (lambda: tg.jvp(scalar, (Point(1, 2.0),), (V,)), DtypeError, "got dtype int64 for primal 0.x, expected"),
        (lambda: tg.grad(scalar)(x=V), ValueError, r"expected positions of the 0 positional arguments; .* by name"),
        (lambda: tg.grad(scalar, argnums=(0, -1))(V), ValueError, r"got argnums \(0, -1\), which names .* twice"),
        (lambda: tg.grad(scalar, argnums="x")(V), TypeError, "got argnums 'x', expected a position"),
        (lambda: tg.grad(scalar, argnums=True)(V), TypeError, "got argnums True, expected a position"),
        (lambda: tg.grad(scalar, argnums=())(V), TypeError, r"got argnums \(\), expected a position"),
        (lambda: tg.jvp(scalar, V, V), ShapeError, r"got one ndarray of shape \(3,\) for primals, .* \(primal,\)"),
        (lambda: tg.jvp(scalar, (V,), V), ShapeError, r"for tangents, .* one entry for each argument; .* \(tangent,\)"),
        (lambda: tg.jvp(scalar, ({"a": V},), ({"b": V},)), ShapeError, r"got keys \['b'\] for tangents\[0\]"),
        (lambda: tg.jvp(scalar, ([V],), (V,)), ShapeError, r"got one ndarray .* tangents\[0\], expected a list of 1"),
        (lambda: tg.jvp(scalar, (V,), ([V],)), ShapeError, r"got a list of 1 entry for tangents\[0\], expected one"),
        (lambda: tg.jvp(scalar, (V,), (None,)), ShapeError, r"got None for tangents\[0\], expected one array"),
        (lambda: tg.jvp(scalar, (V,), ("t",)), DtypeError, r"got str for tangents\[0\], expected an array of shape"),
        (lambda: tg.jvp(scalar, (V,), (V * 1j,)), DtypeError, r"got dtype complex128 for tangents\[0\].* real part"),
        (lambda: tg.hvp(scalar, (V,), (V[:2],)), ShapeError, r"got shape \(2,\) for tangents\[0\], expected \(3,\)"),
        (lambda: tg.linearize(scalar, V)[1](V[:2]), ShapeError, r"got shape \(2,\) for tangents\[0\]"),
        (lambda: tg.linearize(scalar, V)[1](V, V), ShapeError, "got a tuple of 2 entries for tangents"),
        (pulled(vector, V), ShapeError, r"got shape \(3,\) for the cotangent, expected \(2,\), as an output of vector"),
        (pulled(vector, [V]), ShapeError, "got a list of 1 entry for the cotangent, expected one array or number"),
        (pulled(vector, V[:2] * 1j), DtypeError, "got dtype complex128 for the cotangent.*take its real part"),
        (pulled(lambda x: {"a": x}, {"a": V[:1]}), ShapeError, r"got shape \(1,\) for the cotangent\['a'\]"),
        (pulled(lambda x: Point(x, x), [V]), ShapeError, "expected a Point of 2 entries, as in an output of <lambda>"),
        (lambda: tg.vjp(lambda x: {"a": Thing()}, V), DtypeError, r"got Thing for result\['a'\] of <lambda>.*has_aux"),
        (lambda: tg.jvp(lambda x: "text", (V,), (V,)), DtypeError, "got str for result of <lambda>, expected tensors"),
        (lambda: tg.jacobian(np.sin, mode="rev"), ValueError, "got mode 'rev', expected 'forward', 'reverse' or None"),
        (lambda: tg.jacobian(np.argsort)(V), DtypeError, "got an output of dtype int64 from argsort"),
        (lambda: tg.elementwise_grad(np.sum)(V), ShapeError, r"got shape \(\) from sum, expected \(3,\)"),
        (lambda: tg.elementwise_grad(lambda x: (x, x))(V), DtypeError, "got a tuple of 2 entries.*one real array"),
        (lambda: tg.elementwise_grad(np.exp)(V * 1j), DtypeError, "got dtype complex128 from exp, expected one real"),
    ],
)
def test_sentences(run, error, words):
    with pytest.raises(error, match=words):
        run()


def test_sentences_of_gradients():
    x = tg.tensor(V, requires_grad=True)
    y = x * x
    for run, error, words in [
        (lambda: tg.gradients(y, x), ShapeError, r"got shape \(3,\) for output 0, expected a single number; give"),
        (lambda: tg.gradients(3.0, x), DtypeError, "got float for output 0, expected a tensor"),
        (lambda: tg.gradients(y, [x, V]), DtypeError, "got ndarray for input 1, expected a tensor"),
        (lambda: tg.gradients([y, y], x, [V]), ShapeError, "got a list of 1 entry for cotangents.*each of the 2"),
        (lambda: tg.gradients([y, y], x, V), ShapeError, r"got one ndarray of shape \(3,\) for cotangents"),
        (lambda: tg.gradients(y, x, V[:2]), ShapeError, r"got a cotangent of shape \(2,\), expected \(3,\)"),
    ]:
        with pytest.raises(error, match=words):
            run()


def test_tangents_and_cotangents_on_another_device():
    x = strict.asarray(V)
    for run in (
        lambda: tg.jvp(np.sin, (x,), (V,)),
        lambda: tg.linearize(np.sin, x)[1](tg.tensor(V)),
        lambda: tg.vjp(np.sin, x)[1](V),
        lambda: tg.hvp(scalar, (x,), (V,)),
    ):
        with pytest.raises(DeviceError, match=r"got device cpu for .*, expected cuda:0, as .*; move it with to\(\)"):
            run()
    assert tg.jvp(np.sin, (strict.asarray(0.0),), (2.0,))[1].item() == 2.0


@pytest.mark.parametrize(
    "made",
    [
        tg.jacobian(vector),
        tg.jacobian(vector, mode="forward"),
        tg.jacobian(lambda x: np.exp(1j * x), mode="reverse"),
        tg.hessian(scalar),
        tg.elementwise_grad(np.tanh),
        lambda x: tg.hvp(scalar, (x,), (x,))[0],
        lambda x: tg.linearize(vector, x)[1](x),
        tg.grad(tg.checkpoint(scalar)),
        lambda x: tg.hvp(tg.checkpoint(scalar), (x,), (x,))[0],
    ],
)
def test_on_a_device(made, monkeypatch):
    monkeypatch.setitem(globals(), "MATRIX", strict.asarray(MATRIX))
    there = made(strict.asarray(V))
    monkeypatch.undo()
    assert there.device == "cuda:0"
    assert np.allclose(there.numpy(), made(V).data, rtol=1e-12)


def test_tangents_of_results_share_no_memory_with_those_given():
    t = np.ones(4)
    found = tg.jvp(lambda x: (x, x.reshape(2, 2), x[::-1], x.T), (np.zeros(4),), (t,))[1]
    assert not any(np.shares_memory(entry.data, t) for entry in found)


@pytest.mark.parametrize("function", [lambda y, x: y, lambda y, x: y * x, lambda y, x: np.sum(y) + x])
def test_tangents_do_not_get_lost_in_other_threads(function):
    def elsewhere(run):
        def f(x):
            with ThreadPoolExecutor(1) as pool:
                return function(pool.submit(run, np.sin, x).result(), x)

        return f

    def bare(f, x):
        return f(x)

    def inside(f, x):
        return contexts[-1].run(f, x)

    x, t = np.array([1.0, 2.0]), np.array([1.0, -1.0])
    for derivative in (tg.jvp, tg.hvp):
        with pytest.raises(LostGradientError, match="a result of sin whose input has a tangent"):
            derivative(lambda x: np.sum(elsewhere(bare)(x) ** 2), (x,), (t,))
    assert not MIXED
    contexts = []

    def g(x):
        contexts.append(contextvars.copy_context())
        return np.sum(elsewhere(inside)(x) ** 2)

    expected = tg.jvp(lambda x: np.sum(function(np.sin(x), x) ** 2), (x,), (t,))[1]
    assert np.allclose(tg.jvp(g, (x,), (t,))[1].data, expected.data)
    assert np.allclose(tg.linearize(lambda x: np.sum(elsewhere(bare)(x) ** 2), x)[1](t).data, expected.data)


@pytest.mark.parametrize("make", ["vjp", "linearize"])
def test_functions_of_a_run_can_be_called_again_after_a_replay_through_their_results(make):
    x, g = np.array([0.3, 1.2]), tg.tensor([1.0, -2.0], requires_grad=True)
    _, function = getattr(tg, make)(lambda x: np.sin(x) * x, x)
    expected = (np.cos(x) * x + np.sin(x)) * g.data
    for _ in range(3):
        made = function(g)
        made = made[0] if isinstance(made, tuple) else made
        np.testing.assert_allclose(made.detach().numpy(), expected)
        g.grad = None
        made.sum().backward()
        np.testing.assert_allclose(g.grad.numpy(), np.cos(x) * x + np.sin(x))


def test_cotangents_that_are_tracked_reach_beyond_a_run_where_it_does():
    w, g = tg.tensor(2.0, requires_grad=True), tg.tensor(3.0, requires_grad=True)
    _, pull = tg.vjp(lambda x: x * x * w, 5.0)
    (h,) = pull(g)
    h.backward()
    assert (h.item(), g.grad.item(), w.grad.item()) == (60.0, 20.0, 30.0)
