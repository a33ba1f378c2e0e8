"""Linear algebra where rules are tried hardest: singular matrices, repeated values, zero vectors, choices of basis."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._tape import next_position
from tapegrad.errors import UnsupportedError

SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
WEIGHTS = np.array([[1.0, 2.0, -1.0], [0.5, 3.0, 4.0], [5.0, -2.0, 6.0]])


def gradient(function, x):
    """Return the gradient of a real function as `backward` gives it."""
    t = tg.tensor(x, requires_grad=True)
    function(t).backward()
    assert t.grad.dtype == t.dtype
    return t.grad.data


def second(function, x, t):
    """Return the derivative of the gradient of `function` at `x` along `t`, by reverse over reverse."""
    leaf = tg.tensor(x, requires_grad=True)
    function(leaf).backward(create_graph=True)
    slope, leaf.grad = leaf.grad, None
    np.sum(np.real(slope * np.conj(t))).backward()
    return leaf.grad.data


def differences(function, x, hermitian=False, step=1e-5):
    """Return the gradient of a real function by central differences; along Hermitian directions if so wanted."""
    found = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        for unit in (1.0, 1.0j) if x.dtype.kind == "c" else (1.0,):
            t = np.zeros_like(x)
            t[index] = step * unit
            if hermitian:
                t = (t + np.conj(np.swapaxes(t, -1, -2))) / 2
            found[index] += unit * (function(x + t) - function(x - t)) / (2 * step)
    return found


def unitary(n, complex_=False, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    return np.linalg.qr(a + 1j * rng.normal(size=(n, n)) if complex_ else a)[0]


def hermitian(values, complex_=False, seed=0):
    q = unitary(len(values), complex_, seed)
    a = (q * np.asarray(values)) @ q.conj().T
    return (a + a.conj().T) / 2


def minors(a):
    """Return the cofactors of a matrix from the determinants of what is left of it without a row and a column."""
    n = len(a)
    left = [[np.delete(np.delete(a, i, 0), j, 1) for j in range(n)] for i in range(n)]
    return np.array([[(-1) ** (i + j) * np.linalg.det(left[i][j]) for j in range(n)] for i in range(n)])


# Determinants


def test_det_of_a_singular_matrix():
    np.testing.assert_allclose(gradient(np.linalg.det, SINGULAR), [[4, -2], [-2, 1]], atol=1e-14)


@given(n=st.integers(1, 5), lost=st.integers(0, 5), complex_=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_det_at_every_rank(n, lost, complex_, seed):
    rng = np.random.default_rng(seed)
    rank = max(n - lost, 0)
    a = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n))
    if complex_:
        a = a @ (rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)))

    def loss(a):
        return np.real(np.linalg.det(a) * (1 - 2j))

    scale = max(np.abs(a).max(), 1) ** n * 1e-10
    expected = np.conj(minors(a) * (1 - 2j))
    np.testing.assert_allclose(gradient(loss, a), expected if complex_ else expected.real, atol=scale)
    t = rng.normal(size=(n, n))
    # The gradient is a polynomial of low degree, so differences of large steps are exact up to the third order.
    steps = [(gradient(loss, a + h * t) - gradient(loss, a - h * t)) / (2 * h) for h in (0.1, 0.05)]
    expected = (4 * steps[1] - steps[0]) / 3
    np.testing.assert_allclose(second(loss, a, t), expected, atol=100 * scale, rtol=1e-9)


def test_det_of_a_batch_with_a_singular_matrix():
    a = np.stack([SINGULAR, np.eye(2), np.zeros((2, 2))])
    found = gradient(lambda a: np.sum(np.linalg.det(a)), a)
    np.testing.assert_allclose(found, [[[4, -2], [-2, 1]], np.eye(2), np.zeros((2, 2))], atol=1e-14)


def test_third_derivative_of_det():
    a, t = WEIGHTS, np.eye(3)

    def curvature(a):
        return np.sum(tg.grad(lambda a: np.sum(tg.grad(np.linalg.det)(a) * t))(a) * t)

    np.testing.assert_allclose(gradient(curvature, a), 2 * np.eye(3), atol=1e-10)
    assert np.isnan(gradient(curvature, np.diag([1.0, 1.0, 1e-9]))).all()


def test_slogdet_of_a_singular_matrix_is_infinite():
    found = gradient(lambda a: np.linalg.slogdet(a).logabsdet, SINGULAR)
    assert np.isinf(found).all()
    np.testing.assert_array_equal(np.sign(found), [[1, -1], [-1, 1]])


def test_slogdet_does_not_underflow():
    a = np.diag(np.full(200, 1e-20))
    np.testing.assert_allclose(gradient(lambda a: np.linalg.slogdet(a)[1], a), np.diag(np.full(200, 1e20)))


def test_second_derivative_of_the_logarithm_of_det():
    a, t = WEIGHTS, np.arange(9.0).reshape(3, 3)
    inverse = np.linalg.inv(a)
    found = second(lambda a: np.linalg.slogdet(a)[1], a, t)
    np.testing.assert_allclose(found, -(inverse @ t @ inverse).T, rtol=1e-10)


def test_sign_of_a_real_determinant_is_constant():
    np.testing.assert_array_equal(gradient(lambda a: np.linalg.slogdet(a).sign, WEIGHTS), np.zeros((3, 3)))


def test_sign_of_a_complex_determinant():
    a = WEIGHTS + 1j * WEIGHTS.T

    def loss(a):
        sign, logabsdet = np.linalg.slogdet(a)
        return np.real(sign * (2 - 1j)) + logabsdet

    np.testing.assert_allclose(gradient(loss, a), differences(loss, a), atol=1e-8)


# Symmetric matrices


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        lambda a: np.sum(np.abs(np.linalg.cholesky(a)) ** 3),
        lambda a: np.sum(np.abs(np.linalg.cholesky(a, upper=True)) ** 3),
        lambda a: np.sum(np.linalg.eigvalsh(a) ** 3),
        lambda a: np.sum(np.linalg.eigh(a).eigenvalues[0] * np.abs(np.linalg.eigh(a, "U")[1]) ** 3),
        lambda a: np.sum(np.abs(np.linalg.pinv(a, hermitian=True)) ** 3),
        lambda a: np.sum(np.linalg.svd(a, hermitian=True)[1] ** 3),
        lambda a: np.sum(np.linalg.svd(a, compute_uv=False, hermitian=True)[:2] ** 3),
        lambda a: np.sum(np.abs(np.linalg.svd(a, hermitian=True).Vh) ** 3),
    ],
)
def test_gradients_of_hermitian_matrices_are_hermitian(function, complex_):
    a = hermitian([0.7, 1.5, 3.0], complex_)
    found = gradient(function, a)
    np.testing.assert_allclose(found, found.conj().T, atol=1e-14)
    np.testing.assert_allclose(found, differences(function, a, hermitian=True), atol=1e-8)


def test_only_one_triangle_is_read():
    a = hermitian([0.7, 1.5, 3.0])
    other = np.tril(a) + np.triu(np.full((3, 3), 9.0), 1)
    for function in (
        lambda a: np.sum(np.linalg.cholesky(a)),
        lambda a: np.linalg.eigvalsh(a)[0],
        lambda a: np.sum(np.linalg.pinv(a, hermitian=True)),
    ):
        assert function(tg.tensor(other)).item() == pytest.approx(function(other), rel=1e-12)
        np.testing.assert_allclose(gradient(function, other), gradient(function, a), atol=1e-12)


# Repeated eigenvalues and singular values


@pytest.mark.parametrize("complex_", [False, True])
def test_eigenvalues_alone_may_repeat(complex_):
    a = hermitian([1.0, 1.0, 2.0], complex_)
    for function in (np.linalg.eigvalsh, lambda a: np.linalg.eigh(a)[0], np.linalg.eigvals):
        found = gradient(lambda a, function=function: np.real(np.sum(function(a) ** 3)), a)
        np.testing.assert_allclose(found, 3 * a @ a, atol=1e-12)


@pytest.mark.parametrize("complex_", [False, True])
def test_singular_values_alone_may_repeat(complex_):
    q = unitary(3, complex_)
    for function in (np.linalg.svdvals, lambda a: np.linalg.svd(a).S):
        np.testing.assert_allclose(gradient(lambda a, f=function: np.sum(f(a) ** 3), q), 3 * q, atol=1e-12)


@given(k=st.integers(1, 4), n=st.integers(4, 6), complex_=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_projector_on_the_vectors_of_repeated_eigenvalues(k, n, complex_, seed):
    q = unitary(n, complex_, seed)
    w = np.concatenate([np.ones(k), 2.0 + np.arange(n - k)])
    x = np.random.default_rng(seed).normal(size=n)

    def loss(a):
        return np.sum(np.abs(np.conj(np.linalg.eigh(a)[1][:, :k].T) @ x) ** 2)

    across = (np.outer(x, x) @ q[:, k:]) / (1 - w[k:])
    expected = q[:, :k] @ (q[:, :k].conj().T @ across) @ q[:, k:].conj().T
    found = gradient(loss, hermitian(w, complex_, seed))
    np.testing.assert_allclose(found, expected + expected.conj().T, atol=1e-11)


def test_polar_factor_where_singular_values_repeat():
    q = unitary(3)

    def loss(a):
        u, _, vh = np.linalg.svd(a)
        return np.sum(WEIGHTS * (u @ vh))

    np.testing.assert_allclose(gradient(loss, q), differences(loss, q), atol=1e-8)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a: np.sum(WEIGHTS * np.linalg.eigh(a)[1]),
        # Square roots by eigenvalues, also of one entry, in whose cotangents there is nothing but zeros to see.
        lambda a: np.sum((lambda w, v: (v * np.sqrt(w)) @ v.T)(*np.linalg.eigh(a))),
        lambda a: (lambda w, v: (v * np.sqrt(w)) @ v.T)(*np.linalg.eigh(a))[0, 1],
        lambda a: np.sum((lambda w, v: (v * np.sqrt(w)) @ np.linalg.inv(v))(*np.linalg.eigh(a))),
        lambda a: np.sum((lambda w, v: np.real((v * np.sqrt(w)) @ np.linalg.inv(v)))(*np.linalg.eig(a))),
        lambda a: np.sum((lambda u, s, vh: (u * np.sqrt(s)) @ vh)(*np.linalg.svd(a))),
    ],
)
def test_vectors_of_repeated_values_have_no_derivative(loss):
    assert np.isnan(gradient(loss, np.eye(3))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_eigenvalues_of_defective_matrices_have_no_derivative(dtype):
    jordan = np.eye(3, dtype=dtype) + np.diag(np.array([1, 0], dtype), 1)
    # The product of the eigenvalues has one as the determinant, which they do not know.
    for function in (np.linalg.eigvals, lambda a: np.linalg.eig(a)[0]):
        assert np.isnan(gradient(lambda a, f=function: np.real(np.prod(f(a))), jordan)).all()
        assert np.isnan(tg.jvp(lambda a, f=function: np.real(f(a)), (jordan,), (jordan,))[1].data).all()
    batch = np.stack([jordan, np.eye(3, dtype=dtype)])
    found = gradient(lambda a: np.sum(np.real(np.prod(np.linalg.eigvals(a), axis=-1))), batch)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], np.eye(3))


def test_second_derivatives_where_eigenvalues_repeat_are_not_made_up():
    a = np.eye(3)
    assert np.isnan(second(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2), a, WEIGHTS)).all()
    assert np.isnan(second(lambda a: np.sum(np.linalg.svdvals(a) ** 2), a, WEIGHTS)).all()
    # The sum of the eigenvalues is the trace, and does depend on no choice.
    np.testing.assert_array_equal(second(lambda a: np.sum(np.linalg.eigvalsh(a)) + np.sum(a), a, WEIGHTS), 0)


def test_second_derivative_of_eigenvalues():
    a, t = hermitian([1.0, 2.0, 4.0]), WEIGHTS + WEIGHTS.T
    found = second(lambda a: np.sum(np.linalg.eigvalsh(a) ** 3), a, t)
    np.testing.assert_allclose(found, 3 * (a @ t + t @ a), rtol=1e-10)


@given(power=st.integers(1, 2), n=st.integers(1, 4), real=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_second_derivatives_of_eigenvalues_do_not_depend_on_vectors(power, n, real, seed):
    # The traces of a and of a a: what their derivatives say of the vectors is rounding alone.
    rng = np.random.default_rng(seed)
    a, t = rng.normal(size=(2, n, n)) + (0 if real else 1j * rng.normal(size=(2, n, n)))

    def loss(a):
        return np.real(np.sum(np.linalg.eigvals(a) ** power)) + np.sum(np.real(a * np.conj(a)))

    slope, along = tg.grad(loss), lambda a: tg.jvp(loss, (a,), (t,))[1]
    lost = 1e-10 * np.linalg.cond(np.linalg.eig(a)[1]) ** 3
    expected = 2 * t + (2 * t.conj().T if power == 2 else 0)
    np.testing.assert_allclose(second(loss, a, t), expected, atol=lost)
    np.testing.assert_allclose(tg.jvp(slope, (a,), (t,))[1].data, expected, atol=lost)
    np.testing.assert_allclose(tg.grad(along)(a).data, expected, atol=lost)
    np.testing.assert_allclose(tg.jvp(along, (a,), (t,))[1].data, np.vdot(expected, t).real, atol=lost * n * n)


@given(power=st.integers(1, 2), sides=st.integers(1, 2), m=st.integers(1, 4), n=st.integers(1, 4), seed=st.integers(0))
def test_second_derivatives_of_singular_values_do_not_depend_on_phases(power, sides, m, n, seed):
    # Along what has no part in the vectors of the largest one on one side, or on both, they do not turn in phase.
    rng = np.random.default_rng(seed)
    a, t = rng.normal(size=(2, m, n)) + 1j * rng.normal(size=(2, m, n))
    u, s, vh = np.linalg.svd(a)
    t = t - u[:, :1] @ (u[:, :1].conj().T @ t)
    t = t if sides == 1 else t - (t @ vh[:1].conj().T) @ vh[:1]
    gap = min(s[0] - s[1], 1) if len(s) > 1 else s[0]
    agree_on_second_derivatives(lambda a: np.linalg.svdvals(a)[0] ** power, a, t, gap)


@given(power=st.integers(1, 2), complex_=st.booleans(), n=st.integers(1, 4), seed=st.integers(0))
def test_second_derivatives_of_eigenvalues_do_not_depend_on_phases(power, complex_, n, seed):
    rng = np.random.default_rng(seed)
    a, t = rng.normal(size=(2, n, n)) + (1j * rng.normal(size=(2, n, n)) if complex_ else 0)
    a, t = a + a.conj().T, t + t.conj().T
    w, v = np.linalg.eigh(a)
    beside = np.eye(n) - v[:, :1] @ v[:, :1].conj().T
    gap = min(w[1] - w[0], 1) if n > 1 else 1.0
    agree_on_second_derivatives(lambda a: np.linalg.eigvalsh(a)[0] ** power, a, beside @ t @ beside, gap)


def agree_on_second_derivatives(loss, a, t, gap):
    """Compare those along `t`, in three ways, with differences; the derivatives go up to the fourth in 1 / gap."""
    step, slope = 1e-5, tg.grad(loss)
    expected = (slope(a + step * t).data - slope(a - step * t).data) / (2 * step)
    lost = 1e-6 * max(np.abs(t).max(), 1) ** 3 / gap**4
    along = tg.grad(lambda a: tg.jvp(loss, (a,), (t,))[1])
    np.testing.assert_allclose(second(loss, a, t), expected, atol=lost)
    np.testing.assert_allclose(tg.jvp(slope, (a,), (t,))[1].data, expected, atol=lost)
    np.testing.assert_allclose(along(a).data, expected, atol=lost)


# Choices of phase, and of vectors that complete a basis


@pytest.mark.parametrize("function", [np.linalg.eigh, np.linalg.eig])
def test_phases_of_complex_eigenvectors(function):
    a = hermitian([1.0, 2.0, 4.0], complex_=True)

    def invariant(a):
        return np.sum(WEIGHTS * np.abs(function(a)[1]) ** 3)

    hermitian_only = function is np.linalg.eigh
    np.testing.assert_allclose(gradient(invariant, a), differences(invariant, a, hermitian=hermitian_only), atol=1e-7)
    assert np.isnan(gradient(lambda a: np.sum(np.imag(WEIGHTS * function(a)[1])), a)).all()


def test_complex_eigenvectors_of_a_real_matrix():
    a = np.array([[0.0, -1.0, 0.5], [2.0, 0.3, 0.0], [0.1, 0.4, 3.0]])

    def loss(a):
        w, v = np.linalg.eig(a)
        return np.sum(np.abs(v) ** 3 * np.real(w)) + np.sum(np.imag(w) ** 2)

    np.testing.assert_allclose(gradient(loss, a), differences(loss, a), atol=1e-8)


def test_phases_of_complex_singular_vectors():
    a = WEIGHTS + 1j * WEIGHTS.T

    def invariant(a):
        u, s, vh = np.linalg.svd(a)
        return np.sum(WEIGHTS * np.real((u * s**2) @ vh)) + np.sum(np.abs(u) ** 3)

    np.testing.assert_allclose(gradient(invariant, a), differences(invariant, a), atol=1e-6)
    assert np.isnan(gradient(lambda a: np.sum(np.imag(WEIGHTS * np.linalg.svd(a)[0])), a)).all()


@pytest.mark.parametrize("complex_", [False, True])
def test_bases_that_are_completed(complex_):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 2)) + (1j * rng.normal(size=(5, 2)) if complex_ else 0)
    c = rng.normal(size=(5, 5))
    for columns in (
        lambda a: np.linalg.svd(a)[0][:, 2:],
        lambda a: np.linalg.qr(a, "complete")[0][:, 2:],
        lambda a: np.conj(np.linalg.svd(np.conj(a.T))[2][2:].T),
    ):

        def projector(a, columns=columns):
            u = columns(a)
            return np.sum(c * np.real(u @ np.conj(u.T)))

        np.testing.assert_allclose(gradient(projector, a), differences(projector, a), atol=1e-8)
        assert np.isnan(gradient(lambda a, columns=columns: np.sum(c[:, 2:] * np.real(columns(a))), a)).all()


def test_range_of_a_matrix_that_lacks_ranks():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 2)) @ rng.normal(size=(2, 4))
    c = rng.normal(size=(5, 5))

    def loss(a):
        u = np.linalg.svd(a, full_matrices=False)[0][:, :2]
        return np.sum(c * (u @ u.T))

    np.testing.assert_allclose(gradient(loss, a), differences(loss, a), atol=1e-7)
    assert np.isnan(gradient(lambda a: np.sum(c[:, :4] * np.linalg.svd(a, full_matrices=False)[0]), a)).all()


def test_product_of_svd_of_a_singular_matrix():
    # u diag(s) vh is the matrix itself: smooth, though s and the vectors are not.
    found = gradient(lambda a: np.sum(SINGULAR * (lambda u, s, vh: (u * s) @ vh)(*np.linalg.svd(a))), SINGULAR)
    np.testing.assert_allclose(found, SINGULAR, atol=1e-12)


# Norms


@pytest.mark.parametrize("ord", [None, 2, 1, 3, 1.5, 0.5, np.inf, -np.inf])
@pytest.mark.parametrize("complex_", [False, True])
def test_norm_of_the_zero_vector(ord, complex_):
    zero = np.zeros(3, complex if complex_ else float)
    np.testing.assert_array_equal(gradient(lambda x: np.linalg.norm(x, ord), zero), 0)
    np.testing.assert_array_equal(second(lambda x: np.linalg.norm(x, ord) + np.real(np.vdot(x, x)) / 2, zero, 1.0), 1)


@pytest.mark.parametrize("ord", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norm_of_the_zero_matrix(ord):
    zero = np.zeros((3, 2))
    np.testing.assert_array_equal(gradient(lambda x: np.linalg.norm(x, ord), zero), 0)
    np.testing.assert_array_equal(second(lambda x: np.linalg.norm(x, ord) + np.sum(x**2) / 2, zero, 1.0), 1)


def test_norm_of_a_batch_with_a_zero_vector():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(gradient(lambda x: np.sum(np.linalg.norm(x, axis=1)), x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(gradient(lambda x: np.sum(np.linalg.norm(x, 3, axis=0)), x), [[1, 1], [0, 0]])


def test_norm_at_zero_entries():
    np.testing.assert_array_equal(gradient(lambda x: np.linalg.norm(x, 1), np.array([2.0, 0.0, -3.0])), [1, 0, -1])
    found = gradient(lambda x: np.linalg.norm(x, 0.5), np.array([4.0, 0.0, 1.0]))
    np.testing.assert_allclose(found, [1.5, 0, 3])
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(gradient(lambda x: np.linalg.norm(x, -1), np.array([2.0, 0.0])), 0)
    # The second derivative of the 2-norm beside a zero entry is not zero.
    np.testing.assert_allclose(second(np.linalg.norm, np.array([2.0, 0.0]), np.array([0.0, 1.0])), [0, 0.5])


def test_ties_of_norms_are_shared():
    np.testing.assert_array_equal(gradient(lambda x: np.linalg.norm(x, np.inf), np.array([1.0, 3, -3])), [0, 0.5, -0.5])
    found = gradient(lambda x: np.linalg.norm(x, -np.inf), np.array([1.0, 3.0, 1.0]))
    np.testing.assert_array_equal(found, [0.5, 0, 0.5])
    found = gradient(lambda a: np.linalg.norm(a, 1), np.array([[1.0, -1.0], [1.0, 1.0]]))
    np.testing.assert_array_equal(found, [[0.5, -0.5], [0.5, 0.5]])
    for q in (np.eye(3), unitary(3), unitary(3, complex_=True)):
        for ord in (2, -2):
            np.testing.assert_allclose(gradient(lambda a, ord=ord: np.linalg.norm(a, ord), q), q / 3, atol=1e-14)
        np.testing.assert_allclose(gradient(np.linalg.cond, q), 0 * q, atol=1e-14)


def test_ties_are_found_in_each_matrix_of_a_batch():
    a = np.stack([np.eye(2), np.diag([3.0, 1.0]), np.diag([1.0, 2.0])])
    found = gradient(lambda a: np.sum(np.linalg.norm(a, 2, axis=(1, 2))), a)
    np.testing.assert_allclose(found, [np.eye(2) / 2, np.diag([1, 0]), np.diag([0, 1])], atol=1e-14)


def test_nuclear_norm():
    for q in (unitary(3), unitary(3, complex_=True)):
        np.testing.assert_allclose(gradient(lambda a: np.linalg.norm(a, "nuc"), 2 * q), q, atol=1e-13)
    # Of the subgradients at a matrix of rank one, the smallest.
    found = gradient(lambda a: np.linalg.norm(a, "nuc"), np.ones((3, 3)))
    np.testing.assert_allclose(found, np.ones((3, 3)) / 3, atol=1e-14)


def test_norms_keep_numpys_values():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 3))
    for ord in ("nuc", 2, -2, "fro", 1, np.inf):
        found = np.linalg.norm(tg.tensor(a, requires_grad=True), ord).item()
        assert found == pytest.approx(np.linalg.norm(a, ord), rel=1e-14)
    integers = tg.tensor([[1, 2], [3, 4]])
    assert np.linalg.norm(integers, 1).item() == 6.0
    assert np.linalg.norm(integers, 1).dtype == np.float64


# Inverses, least squares, condition numbers


def test_pinv_that_drops_singular_values():
    rng = np.random.default_rng(0)
    a = unitary(4)[:, :3] * [3.0, 2.0, 0.5] @ unitary(3, seed=1)
    c = rng.normal(size=(3, 4))
    for rcond in (0.3, np.float64(0.9)):

        def loss(a, rcond=rcond):
            return np.sum(c * np.linalg.pinv(a, rcond))

        np.testing.assert_allclose(gradient(loss, a), differences(loss, a), atol=1e-8)


def test_pinv_of_a_matrix_that_lacks_ranks():
    rng = np.random.default_rng(0)
    left, right, c = rng.normal(size=(5, 2)), rng.normal(size=(2, 3)), rng.normal(size=(3, 5))

    def loss(left):
        return np.sum(c * np.linalg.pinv(left @ right))

    np.testing.assert_allclose(gradient(loss, left), differences(loss, left), atol=1e-7)
    with pytest.raises(ValueError, match="can't be both set"):
        np.linalg.pinv(tg.tensor(left, requires_grad=True), 0.1, rtol=0.1)


def test_lstsq_gives_what_numpy_gives():
    rng = np.random.default_rng(0)
    for shape in ((4, 3), (3, 4), (3, 3)):
        a, b = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
        found = np.linalg.lstsq(tg.tensor(a, requires_grad=True), b)
        for got, expected in zip(found, np.linalg.lstsq(a, b), strict=True):
            np.testing.assert_array_equal(got.data, expected)
        assert [y.requires_grad for y in found] == [True, True, False, True]


def test_lstsq_of_a_matrix_that_lacks_ranks():
    a, b = np.ones((4, 2)), np.arange(4.0)
    _, residuals, rank, _ = np.linalg.lstsq(tg.tensor(a), tg.tensor(b, requires_grad=True))
    assert rank.item() == 1
    assert residuals.shape == (0,)
    found = gradient(lambda b: np.sum(np.linalg.lstsq(a, b)[0]), b)
    np.testing.assert_allclose(found, np.full(4, 0.25))


def test_condition_of_a_singular_matrix():
    for p in (None, 2, 1, "fro"):
        found = np.linalg.cond(tg.tensor(np.diag([1.0, 0.0]), requires_grad=True), p)
        assert found.item() == np.inf
    a = np.stack([np.diag([1.0, 0.0]), np.diag([4.0, 2.0])])
    found = np.linalg.cond(tg.tensor(a, requires_grad=True), 1)
    np.testing.assert_array_equal(found.data, np.linalg.cond(a, 1))
    np.testing.assert_allclose(gradient(lambda a: np.linalg.cond(a, 1)[1], a)[1], np.diag([0.5, -1]))


def test_matrix_power_zero_depends_on_nothing():
    a = tg.tensor(WEIGHTS, requires_grad=True)
    found = np.linalg.matrix_power(a, 0)
    assert not found.requires_grad
    np.testing.assert_array_equal(found.data, np.eye(3))


def test_solve_reads_vectors_as_numpy_2_does():
    a = np.random.default_rng(0).normal(size=(2, 3, 3)) + 3 * np.eye(3)
    b = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = np.linalg.solve(a, b)
    assert x.shape == (2, 3)
    np.sum(x).backward()
    np.testing.assert_allclose(b.grad.data, np.sum(np.linalg.inv(a), axis=(0, 1)), rtol=1e-12)


# Errors, types and shapes


@pytest.mark.parametrize(
    "call",
    [
        lambda a: np.linalg.inv(a[:, :2]),
        lambda a: np.linalg.inv(a * 0),
        lambda a: np.linalg.solve(a * 0, a),
        lambda a: np.linalg.cholesky(-a @ a.T),
        lambda a: np.linalg.eigh(a[0]),
        lambda a: np.linalg.det(a[:, :2]),
        lambda a: np.linalg.svd(a * np.nan),
        lambda a: np.linalg.matrix_power(a[:, :2], 2),
        lambda a: np.linalg.matrix_power(a * 0, -1),
        lambda a: np.linalg.matrix_power(a, 0.5),
        lambda a: np.linalg.tensorinv(a, 0),
        lambda a: np.linalg.tensorsolve(a, a[0, :2]),
        lambda a: np.linalg.lstsq(a, a[:2]),
        lambda a: np.linalg.multi_dot([a]),
        lambda a: np.linalg.qr(a, "half"),
        lambda a: np.linalg.norm(a, "nuclear"),
        lambda a: np.linalg.norm(a, 3),
        lambda a: np.linalg.norm(a, 2, axis=(0, 0)),
        lambda a: np.linalg.norm(a, np.inf, axis=5),
        lambda a: np.linalg.norm(a, axis=(0, 1, 2)),
        lambda a: np.linalg.vector_norm(a, axis=3),
        lambda a: np.linalg.matrix_norm(a[0]),
        lambda a: np.linalg.cond(a[:0]),
        lambda a: np.linalg.cond(a, 7),
        lambda a: np.linalg.outer(a, a),
        lambda a: np.linalg.cross(a[:, :2], a[:, :2]),
        lambda a: np.linalg.vecdot(a, a[:, :2]),
    ],
)
def test_errors_are_numpys(call):
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever NumPy raises
        call(WEIGHTS)
    a = tg.tensor(WEIGHTS, requires_grad=True)
    with pytest.raises(type(expected.value)):
        call(a)
    assert a.grad is None


def test_a_failed_call_is_not_recorded():
    a = tg.tensor(np.zeros((2, 2)), requires_grad=True)
    before = next_position()
    for function in (np.linalg.inv, np.linalg.cholesky, lambda a: np.linalg.solve(a, [1.0, 2.0])):
        with pytest.raises(np.linalg.LinAlgError):
            function(a)
    assert next_position() == before + 1


def test_backward_through_a_factor_that_is_singular_raises():
    a = tg.tensor(np.zeros((2, 2)), requires_grad=True)
    loss = np.sum(np.linalg.qr(a)[1])
    with pytest.raises(np.linalg.LinAlgError):
        loss.backward()
    assert a.grad is None


def test_raw_factors_are_refused():
    with pytest.raises(UnsupportedError, match="mode='raw'"):
        np.linalg.qr(tg.tensor(WEIGHTS, requires_grad=True), "raw")
    h, _ = np.linalg.qr(tg.tensor(WEIGHTS), "raw")
    np.testing.assert_array_equal(h.data, np.linalg.qr(WEIGHTS, "raw")[0])


@pytest.mark.parametrize("tracked", [False, True])
def test_results_have_names(tracked):
    a = tg.tensor(hermitian([1.0, 2.0, 4.0]), requires_grad=tracked)
    assert np.linalg.eigh(a)._fields == ("eigenvalues", "eigenvectors")
    assert np.linalg.eig(a)._fields == ("eigenvalues", "eigenvectors")
    assert np.linalg.slogdet(a)._fields == ("sign", "logabsdet")
    assert np.linalg.qr(a)._fields == ("Q", "R")
    for keywords in ({}, {"full_matrices": False}, {"hermitian": True}):
        result = np.linalg.svd(a, **keywords)
        assert result._fields == ("U", "S", "Vh")
        assert all(isinstance(part, tg.Tensor) and part.requires_grad == tracked for part in result)


def test_rank_is_constant():
    rank = np.linalg.matrix_rank(tg.tensor(SINGULAR, requires_grad=True))
    assert int(rank) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize(
    "function",
    [
        np.linalg.inv,
        np.linalg.det,
        lambda a: np.linalg.slogdet(a)[1],
        lambda a: (lambda u, _, vh: u @ vh)(*np.linalg.svd(a)),
        lambda a: np.linalg.qr(a)[0],
        np.linalg.cholesky,
        lambda a: np.linalg.eigh(a)[0],
        np.linalg.pinv,
        lambda a: np.linalg.pinv(a, 0.2),
        lambda a: np.linalg.norm(a, 2),
        lambda a: np.linalg.norm(a, 3, axis=0),
        lambda a: np.linalg.norm(a, "nuc"),
        np.linalg.cond,
        lambda a: np.linalg.lstsq(a, a[:, 0])[0],
        lambda a: np.linalg.matrix_power(a, -3),
    ],
)
def test_single_precision(function, dtype):
    a = tg.tensor(hermitian([1.0, 2.0, 4.0], dtype is np.complex64).astype(dtype), requires_grad=True)
    out = function(a)
    assert out.dtype.itemsize in (4, 8 if dtype is np.complex64 else 4)
    np.sum(np.real(out)).backward(create_graph=True)
    assert a.grad.dtype == dtype
    np.sum(np.abs(a.grad)).backward()
    assert a.grad.dtype == dtype
    assert np.isfinite(a.grad.data).all()


# Peers


def pairs(complex_):
    """Return losses of two matrices, written for either library's namespace of linear algebra."""
    losses = {
        "inv": lambda la, a, b: la.inv(a),
        "solve": lambda la, a, b: la.solve(a, b),
        "det": lambda la, a, b: la.det(a),
        "slogdet": lambda la, a, b: la.slogdet(a)[1],
        "qr": lambda la, a, b: la.qr(a)[0] @ la.qr(b)[1],
        "qr of a wide matrix": lambda la, a, b: la.qr(a[:2])[1] * la.qr(b[:2])[0][0, 1],
        "svdvals": lambda la, a, b: la.svdvals(a),
        "svd": lambda la, a, b: (lambda u, s, vh: (u * s**2) @ vh)(*la.svd(a)),
        "eigvals": lambda la, a, b: la.eigvals(a).sum() + (la.eigvals(b) ** 3).sum(),
        "pinv": lambda la, a, b: la.pinv(a[:, :2]),
        "matrix_power": lambda la, a, b: la.matrix_power(a, 3) + la.matrix_power(b, -2),
        "multi_dot": lambda la, a, b: la.multi_dot([a, b, a, b[:, :1]]),
        "cond": lambda la, a, b: la.cond(a),
        "norm 1": lambda la, a, b: la.norm(a, 1),
        "norm nuc": lambda la, a, b: la.norm(a, "nuc"),
        "norm -2": lambda la, a, b: la.norm(a, -2),
        "matrix_norm": lambda la, a, b: la.matrix_norm(a, ord=2),
        "vector_norm": lambda la, a, b: la.vector_norm(a, ord=3),
        "vecdot": lambda la, a, b: la.vecdot(a, b),
        "cross": lambda la, a, b: la.cross(a, b),
    }
    if not complex_:
        losses["lstsq"] = lambda la, a, b: la.lstsq(a[:, :2], b)[0]
        losses["tensorsolve"] = lambda la, a, b: la.tensorsolve(a, b[0])
    return losses


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
@pytest.mark.parametrize(
    ("name", "complex_"), [(name, complex_) for complex_ in (False, True) for name in pairs(complex_)]
)
def test_agrees_with_torch(name, complex_):
    import torch

    loss = pairs(complex_)[name]
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(3, 3)) + 2 * np.eye(3) for _ in range(2))
    if complex_:
        a, b = a + 1j * rng.normal(size=(3, 3)), b + 1j * rng.normal(size=(3, 3))
    ours = [tg.tensor(x, requires_grad=True) for x in (a, b)]
    out = loss(np.linalg, *ours)
    g = rng.normal(size=out.shape)
    out.backward(g.astype(out.dtype))
    theirs = [torch.tensor(x, requires_grad=True) for x in (a, b)]
    result = loss(torch.linalg, *theirs)
    result.backward(torch.tensor(g, dtype=result.dtype))
    np.testing.assert_allclose(out.data, result.detach().numpy(), rtol=1e-10)
    for x, y in zip(ours, theirs, strict=True):
        assert (x.grad is None) == (y.grad is None)
        if x.grad is not None:
            np.testing.assert_allclose(x.grad.data, y.grad.resolve_conj().numpy(), rtol=1e-8, atol=1e-10)
