"""Products: any einsum, folded weights, conjugation, dtypes, devices and errors; the sweep does the rest."""

import itertools
import string
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.errors import LostGradientError
from tapegrad.testing import check_gradients, strict


def leaf(value, **options):
    return tg.tensor(value, requires_grad=True, **options)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# Matrix products


@given(hnp.mutually_broadcastable_shapes(signature="(m?,n),(n,p?)->(m?,p?)", max_dims=2, max_side=3))
def test_matmul_of_every_mixture_of_shapes(shapes):
    a, b = (normal(*shape, seed=i) for i, shape in enumerate(shapes.input_shapes))
    check_gradients(np.matmul, a, b)


@given(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3), hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))
def test_dot_and_inner_of_every_mixture_of_shapes(s, t):
    a, b = normal(*s), normal(*t, seed=1)
    for function in (np.dot, np.inner):
        try:
            function(a, b)
        except ValueError:
            with pytest.raises(ValueError, match="not aligned"):
                function(leaf(a), leaf(b))
        else:
            check_gradients(function, a, b)


def test_a_weight_shared_by_a_batch_takes_one_product(monkeypatch):
    shapes = []
    x, w = leaf(normal(5, 4, 3)), leaf(normal(3, 2))
    y = x @ w

    def spy(a, b, dot=np.dot):
        shapes.append([a.shape, b.shape])
        return dot(a, b)

    g = normal(5, 4, 2, seed=1)
    monkeypatch.setattr(np, "dot", spy)
    for formula, kept in zip(y._record.op.formulas, ((w.data,), (x.data, (3, 2))), strict=True):
        formula(g, *kept)
    monkeypatch.undo()
    assert shapes == [[(20, 2), (2, 3)], [(3, 20), (20, 2)]]
    y.backward(g)
    np.testing.assert_allclose(w.grad.numpy(), np.einsum("bij,bik->jk", x.detach().numpy(), g))


def test_products_keep_single_precision():
    x, w = leaf(normal(4, 3).astype(np.float32)), leaf(normal(3, 2).astype(np.float32))
    for y in (x @ w, np.dot(x, w), np.einsum("ij,jk", x, w), np.tensordot(x, w, 1), np.inner(x, w.T), np.outer(x, w)):
        x.grad = w.grad = None
        assert y.dtype == np.float32
        y.backward(np.ones(y.shape, np.float32))
        assert (x.grad.dtype, w.grad.dtype) == (np.float32, np.float32)


def test_products_of_mixed_precision():
    x, w = leaf(normal(4, 3).astype(np.float32)), leaf(normal(3, 2))
    y = x @ w
    assert y.dtype == np.float64
    y.sum().backward()
    assert (x.grad.dtype, w.grad.dtype) == (np.float32, np.float64)


def test_a_real_factor_of_a_complex_one_gets_a_real_gradient():
    x, z = leaf(normal(3)), leaf(normal(3) + 1j * normal(3, seed=1))
    for y in (x @ z, np.vdot(x, z), np.vdot(z, x), np.inner(x, z), np.einsum("i,i", x, z)):
        x.grad = z.grad = None
        np.real(y).backward()
        assert x.grad.dtype == np.float64
        np.testing.assert_allclose(x.grad.numpy(), z.detach().numpy().real)
        np.testing.assert_allclose(z.grad.numpy(), x.detach().numpy())


def test_conjugating_products():
    # |z|**2 as a product of z with itself: the gradient is 2 z.
    z = leaf(np.array([1 + 2j, 3 - 1j]))
    for product in (np.vdot, np.vecdot, np.linalg.vecdot):
        z.grad = None
        np.real(product(z, z)).backward()
        np.testing.assert_allclose(z.grad.numpy(), 2 * z.detach().numpy())


# Axes of generalized ufuncs

GENERALIZED = [getattr(np, name) for name in ("matmul", "vecdot", "matvec", "vecmat") if hasattr(np, name)]


@st.composite
def calls_with_axes(draw):
    """Draw a product, the shapes of its operands, and keywords that say where its axes lie, often wrongly."""
    one = st.integers(-3, 2)
    entry = one | st.tuples() | st.tuples(one) | st.tuples(one, one)
    shapes = st.lists(st.sampled_from((1, 2)), max_size=3).map(tuple)
    keywords = {"axes": st.lists(entry, min_size=2, max_size=3), "axis": one, "keepdims": st.booleans()}
    settings = draw(st.fixed_dictionaries({}, optional=keywords))
    return draw(st.sampled_from(GENERALIZED)), draw(shapes), draw(shapes), settings


@settings(max_examples=300)
@given(calls_with_axes())
def test_axes_are_taken_and_refused_as_by_numpy(call):
    product, s, t, keywords = call
    a, b = normal(*s), normal(*t, seed=1)
    try:
        expected = product(a, b, **keywords)
    except Exception as error:
        with pytest.raises(type(error).__mro__[1] if type(error).__module__ != "builtins" else type(error)):
            product(leaf(a), leaf(b), **keywords)
    else:
        np.testing.assert_allclose(product(leaf(a), leaf(b), **keywords).data, expected)


@pytest.mark.parametrize("product", GENERALIZED)
def test_axes_say_where_vectors_and_matrices_lie(product):
    """Every placement of the axes has the derivatives of the product with the axes moved to the end."""
    counts = {"matmul": (2, 2, 2), "vecdot": (1, 1, 0), "matvec": (2, 1, 1), "vecmat": (1, 2, 1)}[product.__name__]
    a, b = normal(2, 2, 2), normal(2, 2, 2, seed=1)
    for axes in itertools.product(*(itertools.permutations((0, 1, 2), count) for count in counts[:2])):
        for of_result in itertools.permutations((0, 1), counts[2]):
            check_gradients(lambda x, y, axes=[*axes, of_result]: product(x, y, axes=axes), a, b)


def test_products_refuse_what_numpy_refuses():
    x, y = leaf(normal(2, 3)), leaf(normal(2, 3))
    for call in (
        lambda: x @ y,
        lambda: np.dot(x, y),
        lambda: np.tensordot(x, y, 1),
        lambda: np.einsum("ij,jk", x, y),
        lambda: np.einsum("ij,ij->kk", x, y),
        lambda: np.cross(leaf(normal(4)), leaf(normal(4))),
        lambda: np.convolve(x, y),
        lambda: np.linalg.multi_dot([x]),
        lambda: np.linalg.multi_dot([x, y]),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own sentences
            call()
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.multi_dot([x, leaf(normal(3, 2, 2)), y])


def test_products_with_out():
    x, y = leaf(normal(2, 3)), leaf(normal(3, 2))
    for function in (lambda out: np.einsum("ij,jk", x, y, out=out), lambda out: np.linalg.multi_dot([x, y], out=out)):
        x.grad = None
        out = tg.zeros((2, 2))
        assert function(out) is out
        out.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), np.ones((2, 2)) @ y.detach().numpy().T)
        with pytest.raises(LostGradientError):
            function(np.zeros((2, 2)))


# Contractions


@st.composite
def contractions(draw):
    """Return subscripts and operands: repeated labels, ellipses that broadcast, axes of length one, any output."""
    letters = draw(st.lists(st.sampled_from(string.ascii_letters), min_size=1, max_size=4, unique=True))
    sizes = {letter: draw(st.integers(1, 3)) for letter in letters}
    ellipsis = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=2)) if draw(st.booleans()) else ()
    terms, operands = [], []
    for k in range(draw(st.integers(1, 3))):
        labels = draw(st.lists(st.sampled_from(letters), max_size=3))
        shape = [
            draw(st.sampled_from([sizes[label], 1])) if labels.count(label) == 1 else sizes[label] for label in labels
        ]
        place = draw(st.integers(0, len(labels)))
        shown = ellipsis[draw(st.integers(0, len(ellipsis))) :]
        shown = tuple(draw(st.sampled_from([n, 1])) for n in shown)
        dots = "..." if shown or draw(st.booleans()) else ""
        terms.append("".join(labels[:place]) + dots + "".join(labels[place:]))
        operands.append(normal(*shape[:place], *shown, *shape[place:], seed=k))
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        used = sorted(set(subscripts) - set(",."))
        output = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
        subscripts += "->" + ("..." if "." in subscripts else "") + "".join(output)
    return subscripts, operands


@given(contractions(), st.sampled_from([False, True, "greedy"]))
def test_einsum_of_anything(contraction, optimize):
    subscripts, operands = contraction
    try:
        np.einsum(subscripts, *operands, optimize=optimize)
    except ValueError:  # an output label of which every operand has length one, for some NumPy paths
        return
    check_gradients(lambda *xs: np.einsum(subscripts, *xs, optimize=optimize), *operands)


def test_einsum_with_operands_and_sublists():
    x, y = leaf(normal(2, 3)), leaf(normal(3, 4))
    for z in (np.einsum(x, [0, 1], y, [1, 2], [2, 0]), np.einsum(x, [30, 1], y, [1, 2], [2, 30])):
        np.testing.assert_allclose(z.detach().numpy(), (x @ y).T.detach().numpy())
    assert np.einsum(x, [1, 0]).shape == (3, 2)
    assert np.einsum(x, [26, 0]).shape == np.einsum(x.detach().numpy(), [26, 0]).shape
    check_gradients(lambda a, b: np.einsum(a, [..., 0, 1], b, [1, 2], [..., 2, 0]), normal(5, 2, 3), normal(3, 4))


@pytest.mark.parametrize("subscripts", ["ii->i", "ii", "iij->ij", "i...i->...", "iji->j", "iii->i"])
def test_einsum_of_diagonals_is_exactly_zero_beside_them(subscripts):
    shape = {"iij->ij": (3, 3, 2), "i...i->...": (3, 2, 3), "iji->j": (3, 2, 3), "iii->i": (3, 3, 3)}.get(
        subscripts, (3, 3)
    )
    x = leaf(normal(*shape))
    y = np.einsum(subscripts, x)
    y.backward(np.full(y.shape, np.inf))
    beside = np.ones(shape, bool)
    operand = subscripts.split("->")[0].replace("...", "j")
    np.einsum(f"{operand}->{''.join(dict.fromkeys(operand))}", beside)[...] = False
    assert (x.grad.numpy()[beside] == 0).all()
    assert np.isinf(x.grad.numpy()[~beside]).all()


def test_einsum_of_large_operands_is_optimized_in_its_rule(monkeypatch):
    calls = []
    einsum = np.einsum
    x, y = leaf(normal(40, 50)), leaf(normal(50, 60))
    z = np.einsum("ij,jk->ik", x, y)
    monkeypatch.setattr(np, "einsum", lambda *args, **settings: calls.append(settings) or einsum(*args, **settings))
    z.backward(np.ones((40, 60)))
    assert calls == [{"optimize": True}] * 2
    np.testing.assert_allclose(x.grad.numpy(), np.ones((40, 60)) @ y.detach().numpy().T)


def test_tensordot_pairs_axes_in_any_order():
    check_gradients(lambda a, b: np.tensordot(a, b, ((2, 0, 1), (0, 1, 2))), normal(3, 4, 2), normal(2, 3, 4))
    check_gradients(lambda a, b: np.tensordot(a, b, [[-1, 0], [1, -1]]), normal(3, 4, 2), normal(5, 2, 3))
    check_gradients(lambda a, b: np.tensordot(a, b, np.array([[1], [0]])), normal(3, 4), normal(4, 2))


# Sequences, chains


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("n", range(1, 6))
@pytest.mark.parametrize("m", range(1, 6))
def test_convolve_and_correlate_of_all_lengths(n, m, mode):
    a, v = normal(n) + 1j * normal(n, seed=1), normal(m, seed=2) + 1j * normal(m, seed=3)
    check_gradients(lambda x, y: np.convolve(x, y, mode), a, v, order=1)
    check_gradients(lambda x, y: np.correlate(x, y, mode), a, v, order=1)


def test_multi_dot_takes_the_cheapest_order(monkeypatch):
    sizes = [2, 30, 3, 40, 1]
    matrices = [normal(*pair, seed=i) for i, pair in enumerate(itertools.pairwise(sizes))]
    work = []
    matmul = tg.Tensor.__matmul__
    monkeypatch.setattr(tg.Tensor, "__matmul__", lambda a, b: work.append(a.size * b.shape[1]) or matmul(a, b))
    y = np.linalg.multi_dot([leaf(m) for m in matrices])
    np.testing.assert_allclose(y.detach().numpy(), np.linalg.multi_dot(matrices))
    assert sum(work) == 3 * 40 + 30 * 3 + 2 * 30


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) >= "2.5.0", reason="NumPy refuses them")
def test_cross_of_flat_vectors_warns_as_numpy_does():
    x, y = normal(2), normal(4, 3)
    with pytest.warns(DeprecationWarning, match="2-dimensional vectors"):
        assert np.cross(leaf(x), leaf(x)).shape == ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for a, b in ((x, x + 1), (x, y), (y, x)):
            np.testing.assert_allclose(np.cross(leaf(a), leaf(b)).detach().numpy(), np.cross(a, b))
            check_gradients(np.cross, a, b)


def test_lists_and_numbers_are_operands():
    x = leaf([1.0, 2.0, 3.0])
    for y in (
        x @ [1.0, 2.0, 3.0],
        [1.0, 2.0, 3.0] @ x,
        np.dot([1.0, 2.0, 3.0], x),
        np.vdot([1.0, 2.0, 3.0], x),
        np.inner(x, [1.0, 2.0, 3.0]),
        np.vecdot([1.0, 2.0, 3.0], x),
        np.einsum("i,i", [1.0, 2.0, 3.0], x),
    ):
        x.grad = None
        y.backward()
        assert x.grad.tolist() == [1, 2, 3]
    x.grad = None
    (np.outer(x, 2.0).sum() + np.kron(x, [1.0, 1.0]).sum() + np.dot(3.0, x).sum()).backward()
    assert x.grad.tolist() == [7, 7, 7]


def test_products_on_a_device():
    x, w = strict.asarray(normal(4, 2, 3)), strict.asarray(normal(3, 5, seed=1))
    for product in (
        np.matmul,
        lambda a, b: np.einsum("...ij,jk", a, b, optimize=True),
        lambda a, b: np.tensordot(a, b, 1),
    ):
        a, b = leaf(x), leaf(w)
        product(a, b).sum().backward()
        np.testing.assert_allclose(b.grad.numpy(), np.repeat(x.get().sum((0, 1))[:, None], 5, 1))


@pytest.mark.parametrize("product", [lambda x: np.tensordot(x, 2.0, axes=0), lambda x: np.tensordot(2.0, x, axes=0)])
def test_numbers_in_tensordot(product):
    assert tg.grad(lambda x: np.sum(product(x)))(np.ones(3)).tolist() == [2.0] * 3
