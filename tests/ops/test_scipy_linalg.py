"""Linear algebra beyond NumPy's: edges, bad input, peers, what SciPy misses; every row is in the sweep."""

import subprocess
import sys
import types

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import linalg
from tapegrad._array import device_of
from tapegrad.errors import DeviceError, MissingPackageError, UnsupportedError
from tapegrad.testing import check_gradients, strict

sl = pytest.importorskip("scipy.linalg")

rng = np.random.default_rng(3)


def matrix(*shape, dtype="d"):
    made = rng.uniform(-1, 1, shape)
    if dtype in "FD":
        made = made + 1j * rng.uniform(-1, 1, shape)
    return made.astype(dtype) + (3 * np.eye(shape[-1], dtype=dtype) if shape[-1:] == shape[-2:-1] else 0)


def leaf(array):
    return tg.tensor(array, requires_grad=True)


def total(result):
    """Return a real number that depends on all of a result, with weights that tell its entries apart."""
    parts = result if isinstance(result, tuple) else (result,)
    parts = [y for y in parts if isinstance(y, tg.Tensor) and y.requires_grad]
    return sum(np.sum(np.real(y * (1 + 0.1 * np.arange(y.size)).reshape(y.shape))) for y in parts)


# Triangular systems


@pytest.mark.parametrize("trans", [0, 1, 2])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_only_what_is_read_has_a_gradient(trans, lower, unit):
    a, b = leaf(matrix(4, 4, dtype="D")), matrix(4, 2, dtype="D")
    total(linalg.solve_triangular(a, b, trans, lower, unit)).backward()
    unread = np.triu(np.ones((4, 4)), 1) if lower else np.tril(np.ones((4, 4)), -1)
    unread = unread + unit * np.eye(4)
    assert (a.grad.data[unread > 0] == 0).all()
    assert (a.grad.data[unread == 0] != 0).all()


def test_garbage_in_the_other_triangle_does_not_matter():
    a, b = np.triu(matrix(3, 3)), leaf(matrix(3))
    spoiled = leaf(a + np.tril(np.full((3, 3), 7.0), -1))
    linalg.solve_triangular(spoiled, b).sum().backward()
    first = (spoiled.grad.data, b.grad.data)
    b.grad, clean = None, leaf(a)
    linalg.solve_triangular(clean, b).sum().backward()
    np.testing.assert_array_equal(first[0], clean.grad.data)
    np.testing.assert_array_equal(first[1], b.grad.data)


def test_singular_systems_are_refused_as_scipy_refuses_them():
    a, b = leaf(np.array([[1.0, 2.0], [0.0, 0.0]])), leaf(np.ones(2))
    with pytest.raises(sl.LinAlgError, match="singular matrix"):
        linalg.solve_triangular(a, b)
    # Of the transposed zero, SciPy's unit diagonal knows nothing.
    linalg.solve_triangular(a, b, unit_diagonal=True).sum().backward()
    assert a.grad.data.tolist() == [[0, -1], [0, 0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: linalg.solve_triangular(leaf(matrix(2, 3)), matrix(2)), ValueError, "square"),
        (lambda: linalg.solve_triangular(leaf(matrix(2, 2)), matrix(3)), ValueError, "incompatible"),
        (lambda: linalg.solve_triangular(leaf(matrix(2, 2)), matrix(2), trans="X"), ValueError, "got trans='X'"),
        (lambda: linalg.solve_triangular(leaf(np.full((2, 2), np.nan)), matrix(2)), ValueError, "infs or NaNs"),
        (lambda: linalg.cholesky(leaf(-np.eye(2))), sl.LinAlgError, "positive definite"),
        (lambda: linalg.cholesky(leaf(matrix(2, 3))), sl.LinAlgError, r"matrices of shape \(2, 3\)"),
        (lambda: linalg.cholesky(leaf(np.full((2, 2), np.inf))), ValueError, "infs or NaNs"),
        (lambda: linalg.lu(leaf(np.full((2, 2), np.nan))), ValueError, "infs or NaNs"),
        (lambda: linalg.lu_solve(linalg.lu_factor(leaf(matrix(2, 2))), matrix(3)), ValueError, "incompatible"),
        (lambda: linalg.expm(leaf(matrix(3))), sl.LinAlgError, "array of 1 axes"),
        (lambda: linalg.expm(leaf(matrix(2, 3))), sl.LinAlgError, "expected square"),
        (lambda: linalg.sqrtm(leaf(matrix(2, 3))), sl.LinAlgError, "expected square"),
        (lambda: linalg.expm_frechet(matrix(2, 2), leaf(matrix(3, 3))), ValueError, "expected the same shape"),
        (lambda: linalg.expm_frechet(matrix(2, 2), leaf(matrix(2, 2)), method="X"), ValueError, "method='X'"),
        (lambda: linalg.solve_sylvester(matrix(2, 2), matrix(3, 3), leaf(matrix(3, 2))), ValueError, r"\(2, 3\)"),
        (lambda: linalg.solve_discrete_lyapunov(leaf(matrix(2, 2)), matrix(2, 2), "X"), ValueError, "method='X'"),
        (lambda: linalg.polar(leaf(matrix(2, 2)), side="up"), ValueError, "side='up'"),
        (lambda: linalg.block_diag(leaf(matrix(2, 2, 2)), matrix(3, 1, 1)), ValueError, "broadcast"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_infinite_cotangents_are_not_refused():
    a, b = leaf(np.eye(2)), leaf(np.ones(2))
    linalg.solve_triangular(a, b).backward(np.array([np.inf, 1.0]))
    assert b.grad.data[0] == np.inf


def test_arguments_are_not_overwritten():
    a, b = np.asfortranarray(matrix(3, 3)), np.asfortranarray(matrix(3, 2))
    kept = a.copy(), b.copy()
    linalg.solve_triangular(leaf(a), tg.as_tensor(b), overwrite_b=True)
    linalg.lu_solve(linalg.lu_factor(tg.as_tensor(a), overwrite_a=True), tg.as_tensor(b), overwrite_b=True)
    linalg.lu(tg.as_tensor(a), overwrite_a=True)
    np.testing.assert_array_equal(a, kept[0])
    np.testing.assert_array_equal(b, kept[1])


def test_plain_arrays_give_plain_arrays():
    a, b = matrix(3, 3), matrix(3)
    assert type(linalg.solve_triangular(a, b)) is np.ndarray
    assert all(type(x) is np.ndarray for x in linalg.lu(a))
    assert type(linalg.expm(a)) is type(linalg.sqrtm(a @ a)) is type(linalg.toeplitz(b)) is np.ndarray


# Factors


def test_cho_solve_takes_scipys_factors():
    a, b = matrix(2, 3, 3), leaf(matrix(3))
    a = a @ a.swapaxes(-1, -2)
    x = linalg.cho_solve(sl.cho_factor(a), b)
    np.testing.assert_allclose(x.detach().numpy(), sl.cho_solve(sl.cho_factor(a), b.detach().numpy()), rtol=1e-12)
    x.sum().backward()
    np.testing.assert_allclose(b.grad.data, np.linalg.inv(a).sum((0, 1)), rtol=1e-12)


def test_the_permutation_is_constant():
    a = leaf(matrix(3, 3)[::-1])
    p, l, u = linalg.lu(a)
    assert not p.requires_grad
    assert l.requires_grad
    assert u.requires_grad
    indices, l, u = linalg.lu(a, p_indices=True)
    assert not indices.requires_grad
    np.testing.assert_allclose(l.detach().numpy()[indices.numpy()] @ u.detach().numpy(), a.detach().numpy())
    assert not linalg.lu_factor(a)[1].requires_grad


@pytest.mark.parametrize("shape", [(5, 5), (5, 3), (3, 5), (7, 7)])
def test_interchanges_are_lapacks(shape):
    a = rng.uniform(-1, 1, shape)
    packed, piv = linalg.lu_factor(a)
    expected, interchanges = sl.lu_factor(a)
    np.testing.assert_allclose(packed, expected, atol=1e-14)
    np.testing.assert_array_equal(piv, interchanges)
    assert piv.dtype == interchanges.dtype


def test_factors_of_a_singular_matrix_have_no_derivative():
    a = leaf(np.ones((2, 2)))
    _, _, u = linalg.lu(a)
    with pytest.raises(sl.LinAlgError, match="singular"):
        u.sum().backward()
    assert a.grad is None


# Functions of matrices


@pytest.mark.parametrize("scale", [1e-8, 0.1, 1, 30])
def test_derivative_of_the_exponential_at_any_size(scale):
    a, e = scale * rng.uniform(-1, 1, (4, 4)), rng.uniform(-1, 1, (4, 4))
    expected = sl.expm_frechet(a, e, method="blockEnlarge", compute_expm=False)
    out, found = tg.jvp(linalg.expm, (a,), (e,))
    np.testing.assert_allclose(out.numpy(), sl.expm(a), rtol=1e-12)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())
    value, derivative = linalg.expm_frechet(a, e)
    np.testing.assert_allclose(value, sl.expm(a), rtol=1e-10, atol=1e-12 * np.abs(value).max())
    np.testing.assert_allclose(derivative, found.numpy(), rtol=1e-12, atol=1e-300)


def test_exponentials_of_very_different_sizes_do_not_meet():
    a = np.stack([rng.uniform(-1, 1, (3, 3)), 500 * rng.uniform(-1, 0, (3, 3)) - 900 * np.eye(3), np.zeros((3, 3))])
    e = rng.uniform(-1, 1, (3, 3, 3))
    together = tg.jvp(linalg.expm, (a,), (e,))[1].numpy()
    for i in range(3):
        np.testing.assert_allclose(together[i], tg.jvp(linalg.expm, (a[i],), (e[i],))[1].numpy(), rtol=1e-10)
    np.testing.assert_allclose(together[2], e[2], rtol=1e-14)


def test_exponential_of_one_number():
    x = leaf(2.0)
    y = linalg.expm(x)
    assert y.shape == (1, 1)
    y.sum().backward()
    assert x.grad.item() == pytest.approx(np.exp(2))


def test_roots_without_a_derivative_give_nan():
    a = leaf(np.zeros((2, 2)))
    with pytest.warns(sl.LinAlgWarning, match="singular"):
        y = linalg.sqrtm(a)
    y.sum().backward()
    assert np.isnan(a.grad.data).all()


def test_complex_roots_of_real_matrices():
    a = leaf(np.diag([4.0, -9.0]))
    y = linalg.sqrtm(a)
    assert y.dtype == np.complex128
    y[1, 1].imag.backward()
    assert a.grad.dtype == np.float64
    np.testing.assert_allclose(a.grad.data, [[0, 0], [0, -1 / 6]], atol=1e-15)


def test_equations_without_a_unique_solution_give_nan():
    q = leaf(np.ones((2, 2)))
    x = linalg.solve_sylvester(np.eye(2), -np.eye(2), q)
    x.sum().backward()
    assert np.isnan(q.grad.data).all()


def test_real_and_complex_matrices_mix():
    # SciPy takes the real Schur factor of the one for a complex one.
    a, b, q = np.array([[0.0, 2.0], [-2.0, 1.0]]), 3 + matrix(2, 2, dtype="D"), matrix(2, 2)
    x = linalg.solve_sylvester(a, b, q)
    np.testing.assert_allclose(a @ x + x @ b, q, atol=1e-12)
    check_gradients(linalg.solve_sylvester, a, b, q)


# Structured matrices


def test_empty_and_missing_blocks():
    assert linalg.block_diag().shape == sl.block_diag().shape
    x = leaf(np.zeros((0, 2)))
    y = linalg.block_diag(x, leaf(3.0))
    assert y.shape == (1, 3)
    y.sum().backward()
    assert x.grad.shape == (0, 2)


def test_the_first_entry_of_the_row_is_ignored():
    c, r = leaf(np.array([1.0, 2.0])), leaf(np.array([9.0, 3.0, 4.0]))
    linalg.toeplitz(c, r).sum().backward()
    assert (c.grad.data.tolist(), r.grad.data.tolist()) == ([2, 1], [0, 2, 1])
    np.testing.assert_array_equal(linalg.toeplitz([1, 2], [9, 3, 4]), sl.toeplitz([1, 2], [9, 3, 4]))


def test_a_complex_column_is_conjugated_for_the_row():
    c = np.array([1.0, 2 + 3j])
    np.testing.assert_array_equal(linalg.toeplitz(leaf(c)).detach().numpy(), sl.toeplitz(c))


# Peers

TORCH = {
    "triangular": (
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=True),
        lambda a, b: linalg.solve_triangular(a, b),
        [(3, 3), (3, 2)],
    ),
    "batches": (
        lambda t, a, b: t.linalg.solve_triangular(a.mT, b, upper=True, unitriangular=True),
        lambda a, b: linalg.solve_triangular(a, b, "T", lower=True, unit_diagonal=True),
        [(2, 3, 3), (2, 3, 1)],
    ),
    "lu": (lambda t, a: t.linalg.lu(a)[1:], lambda a: linalg.lu(a)[1:], [(4, 4)]),
    "tall lu": (lambda t, a: t.linalg.lu(a)[1:], lambda a: linalg.lu(a)[1:], [(4, 2)]),
    "wide lu": (lambda t, a: t.linalg.lu(a)[1:], lambda a: linalg.lu(a)[1:], [(2, 5)]),
    "lu_factor": (lambda t, a: t.linalg.lu_factor(a)[0], lambda a: linalg.lu_factor(a)[0], [(3, 3)]),
    "expm": (lambda t, a: t.linalg.matrix_exp(a), lambda a: linalg.expm(a), [(3, 3)]),
    "cholesky": (
        lambda t, a: t.linalg.cholesky(a @ a.mH),
        lambda a: linalg.cholesky(a @ np.conj(np.swapaxes(a, -1, -2)), lower=True),
        [(3, 3)],
    ),
    "block_diag": (lambda t, a, b: t.block_diag(a, b), lambda a, b: linalg.block_diag(a, b), [(3, 2), (2, 2)]),
}


@pytest.mark.parametrize("dtype", ["d", "D"])
@pytest.mark.parametrize("name", TORCH)
def test_derivatives_are_pytorchs(name, dtype):
    torch = pytest.importorskip("torch")
    theirs, ours, shapes = TORCH[name]
    arrays = [matrix(*shape, dtype=dtype) for shape in shapes]
    xs, ts = [leaf(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    total(ours(*xs)).backward()
    results = theirs(torch, *ts)
    results = results if isinstance(results, tuple) else (results,)
    weighted = [y * torch.tensor(1 + 0.1 * np.arange(y.numel())).reshape(y.shape) for y in results]
    sum(y.sum().real if y.is_complex() else y.sum() for y in weighted).backward()
    for x, t in zip(xs, ts, strict=True):
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-9, atol=1e-9)


JAX = {
    "expm": (lambda s, a: s.expm(a), linalg.expm, [(3, 3)]),
    "cho_solve": (
        lambda s, a, b: s.cho_solve((a, True), b),
        lambda a, b: linalg.cho_solve((a, True), b),
        [(3, 3), (3,)],
    ),
    "lu_solve": (
        lambda s, a, b: s.lu_solve(s.lu_factor(a), b, trans=1),
        lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b, trans=1),
        [(3, 3), (3, 2)],
    ),
    "toeplitz": (lambda s, c, r: s.toeplitz(c, r), linalg.toeplitz, [(3,), (2,)]),
}


@pytest.mark.parametrize("name", JAX)
def test_derivatives_are_jaxs(name):
    jax = pytest.importorskip("jax")
    theirs, ours, shapes = JAX[name]
    arrays = [matrix(*shape) for shape in shapes]
    xs = [leaf(a) for a in arrays]
    y = ours(*xs)
    weights = (1 + 0.1 * np.arange(y.size)).reshape(y.shape)
    np.sum(y * weights).backward()
    with jax.enable_x64(True):
        found = jax.grad(
            lambda *xs: (theirs(jax.scipy.linalg, *xs).real * weights).sum(), argnums=tuple(range(len(xs)))
        )(*arrays)
    for x, h in zip(xs, found, strict=True):
        np.testing.assert_allclose(x.grad.data, h, rtol=1e-8, atol=1e-8)


AUTOGRAD = {
    "sqrtm": [(3, 3)],
    "solve_sylvester": [(3, 3), (2, 2), (3, 2)],
    "solve_triangular": [(3, 3), (3, 2)],
}


@pytest.mark.parametrize("name", AUTOGRAD)
def test_derivatives_are_autograds(name):
    autograd = pytest.importorskip("autograd")
    theirs = pytest.importorskip("autograd.scipy.linalg")
    arrays = [matrix(*shape) for shape in AUTOGRAD[name]]
    xs = [leaf(a) for a in arrays]
    getattr(linalg, name)(*xs).sum().backward()
    for k, x in enumerate(xs):
        expected = autograd.grad(lambda *xs: autograd.numpy.sum(getattr(theirs, name)(*xs)), k)(*arrays)
        np.testing.assert_allclose(x.grad.data, expected, rtol=1e-9, atol=1e-9)


# On a device: what cupyx has, on the stand-in


def _solve_triangular(a, b, trans=0, lower=False, unit_diagonal=False, overwrite_b=False, check_finite=False):
    if a.ndim > 2 and a.shape[:-2] != b.shape[: a.ndim - 2]:
        raise ValueError("incompatible batch count")
    if a.dtype != b.dtype:
        raise TypeError("cuBLAS takes one dtype")
    solved = sl.solve_triangular(a.get(), b.get(), trans, lower, unit_diagonal, check_finite=check_finite)
    return strict.asarray(solved)


def _lu(a, permute_l=False, overwrite_a=False, check_finite=True):
    if a.ndim != 2 or a.dtype.char not in "fdFD":
        raise ValueError("cuSOLVER factors one matrix")
    return tuple(strict.asarray(x) for x in sl.lu(a.get(), permute_l))


@pytest.fixture
def cupyx(monkeypatch):
    """Let the stand-in have those functions of cupyx.scipy.linalg that are asked for."""
    scipy = getattr(strict.cupyx, "scipy", types.SimpleNamespace())
    monkeypatch.setattr(strict.cupyx, "scipy", scipy)
    module = types.SimpleNamespace(solve_triangular=_solve_triangular, lu=_lu)
    monkeypatch.setattr(scipy, "linalg", module, raising=False)


ON_DEVICES = [
    (lambda a, b: linalg.solve_triangular(a, b, 2, True), [(3, 3), (3,)]),
    (lambda a, b: linalg.solve_triangular(a, b), [(2, 3, 3), (3, 2)]),
    (lambda a, b: linalg.solve_triangular(a, b, unit_diagonal=True), [(2, 3, 3), (3,)]),
    (lambda a, b: linalg.cho_solve(linalg.cho_factor(a @ np.conj(a.swapaxes(-1, -2))), b), [(3, 3), (3, 2)]),
    (lambda a: linalg.lu(a), [(4, 3)]),
    (lambda a: linalg.lu(a, permute_l=True), [(2, 3, 4)]),
    (lambda a: linalg.lu_factor(a), [(3, 3)]),
    (lambda a, b: linalg.lu_solve(linalg.lu_factor(a), b, 1), [(2, 3, 3), (3,)]),
    (lambda a: linalg.expm(a), [(2, 3, 3)]),
    (lambda a: linalg.cosm(a), [(3, 3)]),
    (lambda a, b: linalg.block_diag(a, b), [(2, 2), (3,)]),
    (lambda a, b: linalg.toeplitz(a, b), [(3,), (2,)]),
    (lambda a: linalg.polar(a), [(3, 2)]),
]


@pytest.mark.parametrize("dtype", ["f", "d", "D"])
@pytest.mark.parametrize(("call", "shapes"), ON_DEVICES)
def test_on_devices(call, shapes, dtype, cupyx):
    arrays = [matrix(*shape, dtype=dtype) for shape in shapes]
    here, there = [leaf(a) for a in arrays], [leaf(strict.asarray(a)) for a in arrays]
    results = [call(*xs) for xs in (here, there)]
    for x, y in zip(*(r if isinstance(r, tuple) else (r,) for r in results), strict=True):
        assert (device_of(x.data), device_of(y.data)) == ("cpu", "cuda:0")
        assert x.dtype == y.dtype or x.dtype.kind == "i"
        np.testing.assert_allclose(y.data.get(), x.data, rtol=1e-4, atol=1e-4)
    for result in results:
        parts = result if isinstance(result, tuple) else (result,)
        sum(np.sum(np.real(y)) for y in parts if y.requires_grad).backward()
    for x, y in zip(here, there, strict=True):
        assert (device_of(y.grad.data), y.grad.dtype) == ("cuda:0", x.dtype)
        np.testing.assert_allclose(y.grad.data.get(), x.grad.data, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["sqrtm", "solve_sylvester"])
def test_what_cupy_lacks_says_so(name, cupyx):
    a = leaf(strict.asarray(np.eye(2)))
    with pytest.raises(UnsupportedError, match=r"does not run on cuda:0; .*t.to\('cpu'\)"):
        getattr(linalg, name)(*[a] * (3 if name == "solve_sylvester" else 1))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 0, 0), (0, 2, 3), (2, 3, 0)])
@pytest.mark.parametrize("options", [{}, {"permute_l": True}, {"p_indices": True}])
def test_factors_of_empty_matrices_on_devices(shape, options, cupyx):
    """They have SciPy's shapes, and gradients."""
    here, there = leaf(np.zeros(shape)), leaf(strict.asarray(np.zeros(shape)))
    results = [(*linalg.lu(a, **options), *linalg.lu_factor(a)) for a in (here, there)]
    for x, y in zip(*results, strict=True):
        assert y.shape == x.shape
        assert device_of(y.data) == "cuda:0"
    sum(np.sum(y) for y in results[1] if y.requires_grad).backward()
    assert there.grad.shape == shape


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("expm_frechet", 2),
        ("solve_sylvester", 3),
        ("solve_continuous_lyapunov", 2),
        ("solve_discrete_lyapunov", 2),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_operands_on_two_devices_are_named(name, count, plain, cupyx):
    host, device = 2 * np.eye(2), strict.asarray(np.eye(2))
    for k in range(count):
        for one, other in ((host, device), (device, host)):
            operands = [other if plain else leaf(other)] * count
            operands[k] = leaf(one)
            with pytest.raises(DeviceError, match=rf"{name} got operands on different devices .*'cpu', 'cuda:0'"):
                getattr(linalg, name)(*operands)


# Without SciPy


@pytest.mark.parametrize(
    "call",
    [
        lambda a: linalg.solve_triangular(a, np.ones(2)),
        lambda a: linalg.lu(a),
        lambda a: linalg.expm(a),
        lambda a: linalg.sqrtm(a),
        lambda a: linalg.solve_sylvester(a, a, a),
    ],
)
def test_a_missing_scipy_is_named(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    with pytest.raises(
        MissingPackageError, match=r"linalg\.\w+ needs the package scipy.*pip install 'tapegrad\[scipy\]'"
    ):
        call(leaf(np.eye(2)))


def test_what_needs_no_scipy_runs_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    a = leaf(np.eye(2))
    linalg.cholesky(a)
    linalg.block_diag(a, linalg.toeplitz(a[0]), linalg.circulant(a[1]), linalg.hankel(a[0]))
    linalg.polar(a)
    linalg.expm_frechet(a, a)


def test_scipy_is_not_imported_with_the_names():
    script = "import sys, tapegrad; tapegrad.linalg, tapegrad.special; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
