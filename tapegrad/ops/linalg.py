"""Linear algebra: inverses, determinants, decompositions, eigenvalues, singular values, norms.

Cotangents pair with tangents as Re(sum(g t)), without conjugate. Papers pair them as Re(tr(G^H dA)), so that their G is
our conj(g), and their results are conjugated likewise.

Factors are not unique where eigenvalues or singular values coincide, and complex ones are never: every column of
eigenvectors may be multiplied by a phase. A cotangent that does not depend on such a choice has an exact rule; for any
other there is no derivative, and the rules give NaN:

* Eigenvalues that are equal up to rounding count as equal. If only the vectors have a cotangent, a function of them
  that is invariant under rotations of the vectors of equal eigenvalues (one of their projector) is exact. If values and
  vectors both have one, as in V h(w) V^H, what they say about equal eigenvalues cannot be told from what a function
  of the projector and the values would say, which has another derivative: NaN. Eigenvalues alone are always exact.
  All of this holds for singular values and vectors too.
* A complex cotangent that depends on the phases of eigenvectors or singular vectors: NaN. Tangents of such vectors in
  forward mode are those of one smooth choice of phases, which need not be NumPy's.

An input that NumPy refuses (not positive definite, singular, no convergence) raises its LinAlgError, and nothing is
recorded. On a CUDA device CuPy computes on without a word, into NaN or worse, because to know it would have to wait
for the device. Where that is wanted, `with cupyx.errstate(linalg="raise"):` around forward and backward passes makes
it raise as NumPy does; each decomposition then synchronizes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple
from numpy.linalg import LinAlgError

from .._array import as_array, device_of, zeros
from .._op import composite, constant, general, multilinear
from .._tensor import Tensor, detached, wrapped
from ..errors import UnsupportedError
from ..typing import Axis
from ._algebra import H, T, axes_of, conj, count, instead, kept, numpy_since, operand, unbroadcast
from ._domains import Domain, anything, case, invertible, nonzero, positive_definite, symmetric
from .arithmetic import over

Eigh = type(np.linalg.eigh(np.ones((1, 1))))
Eig = type(np.linalg.eig(np.ones((1, 1))))
Svd = type(np.linalg.svd(np.ones((1, 1))))
Qr = type(np.linalg.qr(np.ones((1, 1))))
Slogdet = type(np.linalg.slogdet(np.ones((1, 1))))


# Domains


def _with_values(values: Callable[[np.random.Generator, tuple[int, ...]], Any], unitary: bool = True) -> Any:
    """Return what draws matrices u diag(values) v, where v inverts u unless they are not square."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = float) -> Any:
        *lead, m, n = shape
        k = min(m, n)

        def factor(size: int) -> Any:
            a = rng.uniform(-1, 1, (*lead, size, size)).astype(dtype)
            if dtype is complex:
                a = a + 1j * rng.uniform(-1, 1, a.shape)
            return np.linalg.qr(a)[0] if unitary else np.eye(size) + a / (2 * max(size, 1))

        u, v = factor(m), factor(n)
        if not unitary:
            v = np.linalg.inv(u)
        return (u[..., :k] * values(rng, (*lead, k))[..., None, :]) @ v[..., :k, :]

    return draw


def _apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.arange(shape[-1], 0, -1) * 0.8 + rng.uniform(-0.2, 0.2, shape)


_draw_singular = _with_values(_apart)
_draw_diagonalizable = _with_values(_apart, unitary=False)


def _keep_apart(values: Any, gap: float = 0.1) -> bool:
    """Return whether neighbors in the last axis, sorted, are at least `gap` apart."""
    values = np.sort(values, axis=-1)
    return bool((values[..., 1:] - values[..., :-1] > gap).all())


def _is_spectral(a: Any) -> bool:
    s = np.linalg.svd(a, compute_uv=False) if a.ndim > 1 and a.size else np.ones(1)
    return a.ndim > 1 and _keep_apart(s) and bool((s > 0.1).all())


def _leads(a: Any) -> bool:
    """Return whether the first columns of wide matrices, which q is made of, are independent too."""
    return _is_spectral(a) and bool((np.linalg.svd(a[..., : a.shape[-2]], compute_uv=False) > 1e-3).all())


def _is_diagonalizable(a: Any) -> bool:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        return False
    w = np.linalg.eigvals(a) if a.size else np.ones(1)
    # Complex numbers are told apart by their real parts, which is more than is needed; those of real matrices are real.
    # (Since NumPy 2.5 they are real parts of complex numbers.)
    return (a.dtype.kind == "c" or not np.any(w.imag)) and _keep_apart(w.real)


spectral = Domain("spectral", _draw_singular, holds=_is_spectral)
"""Real matrices whose singular values are positive and keep a distance."""

complex_spectral = spectral.and_complex(lambda rng, shape: _draw_singular(rng, shape, complex))

diagonalizable = Domain("diagonalizable", _draw_diagonalizable, holds=_is_diagonalizable)
"""Real matrices with real eigenvalues that keep a distance."""

complex_diagonalizable = diagonalizable.and_complex(lambda rng, shape: _draw_diagonalizable(rng, shape, complex))


def _draw_hermitian(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    a = rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)
    return a + H(a) + np.diag(3.0 * np.arange(shape[-1]))


hermitian = symmetric(0.1).and_complex(_draw_hermitian)
definite = positive_definite.and_complex(lambda rng, shape: (a := _draw_hermitian(rng, shape)) @ a + np.eye(shape[-1]))

SQUARES = [case((3, 3)), case((1, 1)), case((2, 3, 3)), case((0, 0)), case((0, 2, 2)), case((2, 0, 0))]
RECTANGLES = [case((3, 3)), case((4, 3)), case((3, 4)), case((1, 3)), case((2, 4, 2)), case((0, 3, 2))]


# What of decompositions has a derivative, for complex matrices too: what depends neither on phases, nor on how a basis
# is completed.


def _values(result: Any) -> Any:
    return result[0]


def _projectors(result: Any) -> Any:
    w, v = result
    return w, T(v)[..., None] * np.conj(T(v))[..., None, :]


def _singular_projectors(result: Any) -> Any:
    u, s, vh = result
    k = s.shape[-1]
    pairs = T(u[..., :k])[..., None] * vh[..., :k, None, :]
    return s, pairs, u[..., k:] @ H(u[..., k:]), H(vh[..., k:, :]) @ vh[..., k:, :]


def _completed(result: Any) -> Any:
    q, r = result
    k = min(q.shape[-2], r.shape[-1])
    return q[..., :k], r, q[..., k:] @ H(q[..., k:])


# Words


def _near(gap: Any, values: Any) -> Any:
    """Return where gaps between some of `values`, which add an axis, are nothing but their rounding."""
    unit = 16 * float(np.finfo(values.dtype).eps)
    return np.abs(detached(gap)) <= unit * np.sum(np.abs(detached(values)), axis=-1)[..., None, None]


def _identity(mask: Any) -> Any:
    """Return the identity matrices of the shape of `mask`, as booleans."""
    return np.tril(np.triu(np.ones_like(mask, dtype=bool)))


def _size(*terms: Any) -> Any:
    """Return how large the entries of each matrix are altogether, to judge the rounding of products with it by."""
    return sum(np.sum(np.abs(detached(x)), axis=(-2, -1), keepdims=True) for x in terms)


def _counts(x: Any, size: Any) -> Any:
    """Return where `x` is more than the rounding of numbers of size `size`."""
    return np.abs(detached(x)) > 1024 * float(np.finfo(x.dtype).eps) * size


def _quotient(x: Any, gap: Any, near: Any, size: Any, doubtful: Any = False) -> Any:
    """Return x / gap. Where the gap vanishes: 0 if x does too, and NaN if it does not, or if that says nothing."""
    undefined = near & (_counts(x, size) | doubtful)
    return x * np.where(undefined, np.nan, np.logical_not(near) / (gap + near))


def _tracked(x: Any) -> bool:
    return isinstance(x, Tensor) and x._record is not None


def _plain(function: Callable[..., Any], x: Any, *args: Any, **settings: Any) -> Any:
    """Return the result of NumPy's function on `x`, a constant: a tensor if `x` is one."""
    result = function(detached(x), *args, **settings)
    return wrapped(result) if isinstance(x, Tensor) else result


def _hermitian_part(x: Any) -> Any:
    return (x + H(x)) / 2


def _complete(a: Any) -> Any:
    """Return the Hermitian matrices whose lower triangles `a` holds."""
    return np.tril(a) + H(np.tril(a, -1))


# Of a Hermitian matrix all entries are read, so the gradient is Hermitian.
_complete = general(
    _complete,
    "a",
    "out",
    lambda g: _hermitian_part(g),
    name="Hermitian from its lower triangle",
    on=hermitian,
    cases=SQUARES,
)


# The cotangent of a matrix from that of its singular values (or eigenvalues: q is then the adjoint of p), and
# its transpose: how the values change with the matrix. They are rows because a derivative of theirs by the vectors may
# be rounding alone: in p and in q there would be two roundings of one product, and their difference would be taken for
# dependence on phases, or on a choice of basis. So that product is made once, and both are brought in line with it.


def _for_left(h: Any, p: Any, g: Any, q: Any) -> Any:
    found = (h @ T(q)) * g[..., None, :]
    return found + conj(p) @ ((T(p) @ h @ T(q)) * g[..., None, :] - T(p) @ found)


def _for_right(h: Any, p: Any, g: Any, q: Any) -> Any:
    found = g[..., :, None] * (T(p) @ h)
    return found + (g[..., :, None] * (T(p) @ h @ T(q)) - found @ T(q)) @ conj(q)


_from_values: Any = multilinear(
    lambda p, g, q: (p * g[..., None, :]) @ q,
    lambda h, p, g, q: _for_left(h, p, g, q),
    lambda h, p, q: _to_values(h, p, q),
    lambda h, p, g, q: _for_right(h, p, g, q),
    inputs="p g q",
    name="cotangent from singular values",
    on=anything,
    cases=[case((4, 3), (3,), (3, 3)), case((2, 2, 1), (2, 1), (2, 1, 3)), case((2, 0), (0,), (0, 3))],
)
_to_values: Any = multilinear(
    lambda t, p, q: np.sum((T(p) @ t) * q, axis=-1),
    lambda h, p, q: _from_values(p, h, q),
    lambda h, t, p, q: _for_left(t, p, h, q),
    lambda h, t, p, q: _for_right(t, p, h, q),
    inputs="t p q",
    name="tangents of singular values",
    on=anything,
    cases=[case((4, 3), (4, 3), (3, 3)), case((2, 2, 3), (2, 2, 1), (2, 1, 3)), case((2, 3), (2, 0), (0, 3))],
)


# Inverses and systems of equations

general(np.linalg.inv, "a", "out", lambda g, out: -(T(out) @ g @ T(out)), on=invertible, cases=SQUARES)


def _columns(b: Any, ndim: int) -> Any:
    """Return a right-hand side, or its solution, or its cotangent, as matrices."""
    return b[..., None] if ndim == 1 else b


def _solve_for_b(g: Any, a: Any, b_shape: Any) -> Any:
    h = np.linalg.solve(T(a), _columns(g, len(b_shape)))
    return unbroadcast(h[..., 0] if len(b_shape) == 1 else h, b_shape)


def _solve_for_a(g: Any, a: Any, out: Any, b_shape: Any) -> Any:
    h = np.linalg.solve(T(a), _columns(g, len(b_shape)))
    return unbroadcast(-h @ T(_columns(out, len(b_shape))), a.shape)


general(
    np.linalg.solve,
    "a b",
    "out",
    [_solve_for_a, _solve_for_b],
    on=(invertible, anything),
    cases=[
        case((3, 3), (3,)),
        case((3, 3), (3, 2)),
        case((2, 3, 3), (3,)),
        case((2, 3, 3), (3, 2)),
        case((2, 3, 3), (2, 3, 1)),
        case((3, 3), (2, 3, 2)),
        case((4, 1, 2, 2), (3, 2, 2)),
        case((0, 0), (0,)),
        case((2, 2), (2, 0)),
        case((0, 2, 2), (2, 3)),
    ],
)


def _tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    a, b = operand(a, b), operand(b, a)
    if axes is not None:
        order = list(range(a.ndim))
        for k in axes:
            order.remove(k)
            order.insert(a.ndim, k)
        a = np.transpose(a, order)
    shape = a.shape[-(a.ndim - b.ndim) :]
    size = int(np.prod(shape))
    if a.size != size**2:
        raise LinAlgError("tensorsolve needs prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])")
    return np.reshape(np.linalg.solve(np.reshape(a, (size, size)), np.reshape(b, -1)), shape)


def _tensor(split: int) -> Domain:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        size = int(np.prod(shape[:split]))
        return invertible.draw(rng, (size, size)).reshape(shape)

    return Domain("invertible as a matrix", draw, complex=True)


composite(
    np.linalg.tensorsolve,
    _tensorsolve,
    cases=[
        case((2, 3, 6), (2, 3), on=(_tensor(2), anything)),
        case((6, 2, 3), (6,), on=(_tensor(1), anything)),
        case((2, 6, 3), (2, 3), axes=(1,), on=anything),
        case((2, 3, 6), (6,), args=((0, 1),), on=anything),
    ],
)


def _tensorinv(a: Any, ind: int = 2) -> Any:
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    if not a.ndim:
        return _plain(np.linalg.tensorinv, a, ind)
    size = int(np.prod(a.shape[ind:]))
    return np.reshape(np.linalg.inv(np.reshape(a, (size, -1))), a.shape[ind:] + a.shape[:ind])


composite(
    np.linalg.tensorinv,
    _tensorinv,
    cases=[case((2, 3, 6), on=_tensor(2)), case((6, 2, 3), ind=1, on=_tensor(1))],
)


def _matrix_power(a: Any, n: int) -> Any:
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError("exponent must be an integer") from None
    if a.ndim < 2 or a.shape[-1] != a.shape[-2] or n == 0:
        return _plain(np.linalg.matrix_power, a, n)
    square = np.linalg.inv(a) if n < 0 else np.positive(a)
    left, result = abs(n), None
    while True:
        left, bit = divmod(left, 2)
        if bit:
            result = square if result is None else result @ square
        if not left:
            return result
        square = square @ square


composite(
    np.linalg.matrix_power,
    _matrix_power,
    on=invertible,
    cases=[case(c.shapes[0], args=(n,)) for c in SQUARES[:3] for n in (1, 2, 3, 6, -1, -2)] + [case((0, 0), args=(2,))],
)


# Determinants
#
# The derivative of the determinant is the matrix of cofactors, which exists whatever the rank. For a = u s v it is
# det(u v) conj(u) c conj(v), where the diagonal matrix c holds the products of all singular values but one, and
# likewise the second derivative follows from that at a diagonal matrix, which holds the products of all but two. The
# third derivative is written with the inverse; where that is too inaccurate for it, it is NaN.


def _others(x: Any) -> Any:
    """Return the products of all entries but one along the last axis, without division."""
    one = np.ones_like(x[..., :1])
    before = np.cumprod(np.concatenate([one, x[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([one, x[..., :0:-1]], -1), -1)[..., ::-1]
    return before * after


def _singular_factors(a: Any) -> tuple[Any, Any, Any, Any]:
    """Return conj(u), s and conj(v) of a = u s v, and the determinant of u v, as matrices of one entry."""
    u, s, v = np.linalg.svd(a)
    return np.conj(u), s, np.conj(v), (np.linalg.det(u) * np.linalg.det(v))[..., None, None]


def _cofactors(a: Any) -> Any:
    """Return the derivatives of the determinants of `a` by its entries."""
    if device_of(a) == "cpu":
        # What is lost in the inverse of a matrix that is nearly singular is won back in the determinant, for both are
        # made from the same factors. On a GPU, whose solvers do not say that they failed, asking costs a wait.
        with np.errstate(all="ignore"):
            try:
                found = np.linalg.det(a)[..., None, None] * T(np.linalg.inv(a))
                if np.isfinite(found).all() or not np.isfinite(a).all():
                    return found
            except LinAlgError:
                pass
    u, s, v, unit = _singular_factors(a)
    return unit * ((u * _others(s)[..., None, :]) @ v)


def _second_cofactors(x: Any, a: Any) -> Any:
    """Return the derivatives of the sums of `x` times the cofactors of `a` by the entries of `a`."""
    u, s, v, unit = _singular_factors(a)
    x = T(u) @ x @ T(v)
    one = _identity(x)
    pairs = np.logical_not(one) * _others(np.where(one, 1, s[..., None, :]))
    across = one * (pairs @ np.diagonal(x, 0, -2, -1)[..., None])
    return unit * (u @ (across - pairs * T(x)) @ v)


def _third_cofactors(g: Any, x: Any, a: Any) -> Any:
    """Return the derivatives of the sums of `g` times the second cofactors of `x` and `a` by the entries of `a`."""
    b = T(np.linalg.inv(a))
    of_x, of_g = b @ T(x) @ b, b @ T(g) @ b
    along_x, along_g = (np.sum(y * b, axis=(-2, -1), keepdims=True) for y in (x, g))
    both = along_x * along_g - np.sum(g * of_x, axis=(-2, -1), keepdims=True)
    h = both * b - along_x * of_g - along_g * of_x + of_g @ T(x) @ b + of_x @ T(g) @ b
    s = np.linalg.svd(detached(a), compute_uv=False)[..., None]
    lost = s[..., -1:, :] ** 2 < 1024 * float(np.finfo(s.dtype).eps) * s[..., :1, :] ** 2
    # A factor, not a choice: forward mode transposes this rule, and the transpose of a choice of NaN is zero.
    return np.where(lost, np.nan, np.linalg.det(a)[..., None, None]) * h


def _draw_deficient(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = float) -> Any:
    return _with_values(lambda rng, shape: _apart(rng, shape) * (np.arange(shape[-1]) > 0))(rng, shape, dtype)


deficient = Domain("deficient", _draw_deficient).and_complex(lambda rng, shape: _draw_deficient(rng, shape, complex))
"""Matrices that lack one rank."""

_second: Any = general(
    _second_cofactors,
    "x a",
    "out",
    [lambda g, a: _second(g, a), lambda g, x, a: _third_cofactors(g, x, a)],
    name="second derivative of det",
    on=(anything, invertible),
    cases=[case((4, 4), (4, 4)), case((2, 5, 5), (2, 5, 5)), case((0, 0), (0, 0))],
)
_first = general(
    _cofactors,
    "a",
    "out",
    lambda g, a: _second(g, a),
    name="derivative of det",
    on=invertible,
    cases=[case((3, 3)), case((2, 4, 4)), case((0, 0)), case((0, 2, 2))],
)
general(
    np.linalg.det,
    "a",
    "out",
    lambda g, a: g[..., None, None] * _first(a),
    on=invertible,
    cases=[*SQUARES, *(case(shape, on=deficient) for shape in ((1, 1), (2, 2), (3, 3), (2, 4, 4)))],
)


def _inverse_transposed(a: Any) -> Any:
    """Return the transposed inverse of `a`; of a singular matrix, its infinite entries."""
    try:
        return T(np.linalg.inv(a))
    except LinAlgError:
        with np.errstate(divide="ignore"):
            return _first(a) / np.linalg.det(a)[..., None, None]


# A change z = tr(a^-1 da) of the logarithm moves the logarithm of the modulus by its real part, and turns the sign,
# if that is a complex one, by its imaginary part.
def _slogdet_vjp(gsign: Any, glogabsdet: Any, a: Any, sign: Any) -> Any:
    g = glogabsdet
    if sign.dtype.kind == "c" and gsign is not None:
        turn = np.imag(gsign * sign) * 1j
        g = turn if g is None else g + turn
    if g is None:
        return zeros(a.shape, a.dtype, detached(a))
    return g[..., None, None] * _inverse_transposed(a)


_slogdet = general(
    lambda a: Slogdet(*np.linalg.slogdet(a)),
    "a",
    "sign logabsdet",
    _slogdet_vjp,
    name="slogdet",
    on=invertible,
    cases=SQUARES,
)
instead(_slogdet, _slogdet, np.linalg.slogdet)


# Cholesky factors (Murray 2016, "Differentiation of the Cholesky decomposition")


def _cholesky(a: Any, upper: bool = False) -> Any:
    if not upper:
        return np.linalg.cholesky(a)
    return np.linalg.cholesky(a, upper=True) if device_of(a) == "cpu" else H(np.linalg.cholesky(H(a)))


def _cholesky_vjp(g: Any, out: Any, upper: bool = False) -> Any:
    if upper:
        g, out = H(g), H(out)
    # The factor of l^-1 da l^-H that is lower triangular, with half the diagonal, is l^-1 dl.
    p = T(out) @ g
    inverse = np.linalg.inv(out)
    return T(inverse) @ (_hermitian_part(np.tril(p) + np.tril(p, -1)) / 2) @ conj(inverse)


_cholesky = general(
    _cholesky,
    "a",
    "out",
    _cholesky_vjp,
    name="cholesky",
    on=definite,
    cases=[*SQUARES, case((3, 3), upper=True), case((2, 2, 2), upper=False)],
)
instead(_cholesky, _cholesky, np.linalg.cholesky)


# QR factors (Walter and Lehmann 2010, "Algorithmic differentiation of linear algebra functions with application in
# optimum experimental design"; for complex and for wide matrices, derived likewise: r has a real diagonal)


def _qr_vjp(gq: Any, gr: Any, q: Any, r: Any) -> Any:
    """Return the cotangent of a = q r, where q has as many columns as a has rows, or as a has columns."""
    k = min(q.shape[-2], r.shape[-1])
    gq = zeros(q.shape, q.dtype, detached(q)) if gq is None else gq
    gr = zeros(r.shape, r.dtype, detached(r)) if gr is None else gr
    m = T(q) @ gq
    # The first k columns of a determine q and the square part of r; what is left of r is q^H times the rest of a.
    right, g_right = r[..., :k, k:], gr[..., :k, k:]
    square, g_square = r[..., :k, :k], gr[..., :k, :k]
    shift = conj(right) @ H(g_right)
    inner = m[..., :k, :k] - g_square @ T(square) + shift
    upper = np.triu(inner, 1)
    inner = upper + H(upper) + np.real(np.tril(np.triu(inner)))
    q1 = conj(q[..., :k])
    if q.shape[-1] > k:
        # Of a complete q, the columns that r does not reach may be rotated among each other.
        lower = m[..., k:, :k] - H(m[..., :k, k:])
        h = q1 @ (m[..., :k, :k] - inner) + conj(q[..., k:]) @ lower
        rotation = m[..., k:, k:] - H(m[..., k:, k:])
        h = np.where(np.any(_counts(rotation, _size(gq)), axis=(-2, -1), keepdims=True), np.nan, h)
    else:
        h = gq + q1 @ (shift - inner)
    h = T(np.linalg.solve(square, T(h)))
    return h if r.shape[-1] == k else np.concatenate([h, q1 @ g_right], -1)


_factors = general(
    lambda a, mode="reduced": Qr(*np.linalg.qr(a, mode)),
    "a",
    "q r",
    _qr_vjp,
    name="qr",
    free="mode",
    on=replace(complex_spectral, holds=_leads),
    cases=[
        *RECTANGLES,
        *(case(c.shapes[0], mode="r") for c in RECTANGLES),
        case((3, 3), args=("complete",)),
        case((2, 4), mode="complete"),
        case((4, 3), mode="complete", on=replace(spectral, holds=_leads)),
        case((2, 3, 2), mode="complete", on=replace(spectral, holds=_leads)),
        case((4, 2), mode="complete", of=_completed),
    ],
)


def _qr(a: Any, mode: Any = "reduced") -> Any:
    if mode == "r":
        return _factors(a)[1]
    if mode not in ("reduced", "complete"):
        result = np.linalg.qr(detached(a), mode)  # NumPy's own complaint, unless the mode is raw
        if isinstance(a, Tensor) and a.requires_grad:
            raise UnsupportedError(f"qr of a tracked tensor does not support mode={mode!r}; use 'reduced', or detach()")
        return wrapped(result)
    return _factors(a, mode)


instead(_qr, _factors, np.linalg.qr)


# Eigenvalues of Hermitian matrices (Giles 2008, "Collected matrix derivative results for forward and reverse mode
# algorithmic differentiation", section 3.1, with the part that keeps the gradient Hermitian)


def _eigh_vjp(gw: Any, gv: Any, w: Any, v: Any) -> Any:
    h: Any = None if gw is None else _hermitian_part(_from_values(conj(v), gw, T(v)))
    if gv is None:
        return h
    m = T(v) @ gv
    gap = w[..., None, :] - w[..., :, None]
    near = _near(gap, w)
    doubtful = False if gw is None else np.logical_not(_identity(near))
    turned = conj(v) @ _quotient((m - H(m)) / 2, gap, near, _size(gv), doubtful) @ T(v)
    return turned if h is None else h + turned


_eigh = general(
    lambda a, UPLO="L": Eigh(*np.linalg.eigh(a, UPLO)),  # noqa: N803 - NumPy's name
    "a",
    "w v",
    _eigh_vjp,
    name="eigh",
    free="UPLO",
    on=symmetric(),
    cases=[
        *SQUARES,
        case((3, 3), args=("U",)),
        case((2, 2, 2), UPLO="L"),
        case((3, 3), on=hermitian, of=_values),
        case((3, 3), on=hermitian, of=_projectors),
        case((2, 2, 2), args=("U",), on=hermitian, of=_projectors),
    ],
)
instead(_eigh, _eigh, np.linalg.eigh)


def _eigvalsh(a: Any, UPLO: str = "L") -> Any:  # noqa: N803 - NumPy's name
    if _tracked(a):
        return _eigh(a, UPLO)[0]
    return _plain(np.linalg.eigvalsh, a, UPLO)


composite(
    np.linalg.eigvalsh,
    _eigvalsh,
    on=hermitian,
    cases=[*SQUARES, case((3, 3), args=("U",)), case((2, 2, 2), UPLO="L")],
)


# Eigenvalues of any matrix (Giles 2008, section 3.1; the vectors have length one)


def _for_vectors(h: Any, g: Any, v: Any) -> Any:
    """Return the cotangent of `v` in the sum of h times v^-T diag(g) v^T.

    It is a commutator, whose diagonal is exactly zero: nothing of it stretches a column of `v` or turns its phase.
    """
    q = T(np.linalg.solve(v, h @ v))
    return np.linalg.solve(T(v), q * (g[..., None, :] - g[..., :, None]))


# The cotangent of a matrix from that of its eigenvalues, and its transpose: the change of the eigenvalues with that of
# the matrix. They are rows because a derivative of theirs made of products would depend on stretches and phases by its
# rounding, which the rule of eigenvectors takes for what it is.
_from_eigenvalues: Any = general(
    lambda g, v: np.linalg.solve(T(v), g[..., :, None] * T(v)),
    "g v",
    "out",
    [lambda h, v: _to_eigenvalues(h, v), lambda h, g, v: _for_vectors(h, g, v)],
    name="cotangent from eigenvalues",
    on=(anything, invertible),
    cases=[case((3,), (3, 3)), case((2, 3), (2, 3, 3)), case((0,), (0, 0))],
)
_to_eigenvalues: Any = general(
    lambda t, v: np.sum(T(np.linalg.solve(v, t)) * v, axis=-2),
    "t v",
    "out",
    [lambda h, v: _from_eigenvalues(h, v), lambda h, t, v: _for_vectors(t, h, v)],
    name="tangents of eigenvalues",
    on=(anything, invertible),
    cases=[case((3, 3), (3, 3)), case((2, 3, 3), (2, 3, 3)), case((0, 0), (0, 0))],
)


def _unless_defective(w: Any, v: Any) -> Any:
    """Return 1, or NaN for matrices of which eigenvalues and their vectors coincide up to rounding: nothing is known.

    There the differences of the eigenvalues' cotangents may vanish as fast as those of the vectors.
    """
    w, v = detached(w), detached(v)
    spread = _size(np.linalg.inv(v))
    near = _near(w[..., None, :] - w[..., :, None], w)
    several = np.any(near & np.logical_not(_identity(near)), axis=(-2, -1), keepdims=True)
    return np.where(several & (spread * (1024 * float(np.finfo(v.dtype).eps)) > 1), np.nan, np.ones_like(spread))


def _eig_vjp(gw: Any, gv: Any, w: Any, v: Any, a_dtype: Any) -> Any:
    h: Any = None if gw is None else _from_eigenvalues(gw, v) * _unless_defective(w, v)
    if gv is None:
        return h
    if a_dtype.kind != "c" and v.dtype.kind == "c":
        # The real vectors of a real matrix stay real: their phase is not free.
        gv = np.where(np.all(np.imag(detached(v)) == 0, axis=-2, keepdims=True), np.real(gv), gv)
    m = T(v) @ gv
    # What would stretch a vector is taken out; what would turn its phase must be nothing.
    m = m - (T(v) @ conj(v)) * np.sum(np.real(v * gv), axis=-2)[..., None, :]
    gap = w[..., None, :] - w[..., :, None]
    near = _near(gap, w)
    doubtful = False if gw is None else np.logical_not(_identity(near))
    turned = np.linalg.solve(T(v), _quotient(m, gap, near, _size(gv), doubtful) @ T(v))
    return turned if h is None else h + turned


_eig = general(
    lambda a: Eig(*np.linalg.eig(a)),
    "a",
    "w v",
    _eig_vjp,
    name="eig",
    on=diagonalizable,
    cases=[*SQUARES, *(case(shape, on=complex_diagonalizable, of=_projectors) for shape in ((3, 3), (2, 2, 2)))],
)
instead(_eig, _eig, np.linalg.eig)
# Without vectors the values might come in another order, so they are found with them.
composite(np.linalg.eigvals, lambda a: _eig(a)[0], on=complex_diagonalizable, cases=SQUARES)


# Singular values (Townsend 2016, "Differentiating the singular value decomposition"; Wan and Zhang 2019, "Automatic
# differentiation for complex valued SVD"). They divide by differences of squares. With x and y the parts of the
# cotangents that rotate the columns of u and of v, that is half of x + y over the differences of the singular values,
# plus half of x - y over their sums: so equal singular values matter to x + y alone, which rotates both sides alike.


def _svd_vjp(gu: Any, gs: Any, gvh: Any, u: Any, s: Any, vh: Any) -> Any:
    k = s.shape[-1]
    u1, v1 = conj(u[..., :k]), conj(vh[..., :k, :])
    if gu is None and gvh is None:
        return _from_values(u1, gs * np.sign(s), v1)
    gu = zeros(u.shape, u.dtype, detached(u)) if gu is None else gu
    gvh = zeros(vh.shape, vh.dtype, detached(vh)) if gvh is None else gvh
    of_u, of_v = T(u) @ gu, H(gvh @ T(vh))
    x, y = of_u - H(of_u), of_v - H(of_v)
    size = _size(gu, gvh)
    rows, columns = s[..., :, None], s[..., None, :]
    gap, total = columns - rows, columns + rows
    near, none = _near(gap, s), _near(total, s)
    doubtful = False if gs is None else np.logical_not(_identity(near))
    of_x, of_y = x[..., :k, :k], y[..., :k, :k]
    turn, shear = _quotient(of_x + of_y, gap, near, size, doubtful), _quotient(of_x - of_y, total, none, size, doubtful)
    h = u1 @ ((turn + shear) / 2) @ v1
    if gs is not None:
        h = h + _from_values(u1, gs, v1)
    # Directions outside the k columns of u, or rows of vh; where these are complete, the ones that are left over may be
    # rotated among each other.
    free = []
    if u.shape[-2] > k:
        if u.shape[-1] > k:
            outside = conj(u[..., k:]) @ x[..., k:, :k]
            free.append(x[..., k:, k:])
        else:
            outside = gu - u1 @ of_u
        h = h + _quotient(outside, columns, _near(columns, s), size, gs is not None) @ v1
    if vh.shape[-1] > k:
        if vh.shape[-2] > k:
            outside = -y[..., :k, k:] @ conj(vh[..., k:, :])
            free.append(y[..., k:, k:])
        else:
            outside = gvh - (gvh @ T(vh)) @ v1
        h = h + u1 @ _quotient(outside, rows, _near(rows, s), size, gs is not None)
    for rotation in free:
        h = np.where(np.any(_counts(rotation, size), axis=(-2, -1), keepdims=True), np.nan, h)
    return h


_svd = general(
    lambda a, full_matrices=True: Svd(*np.linalg.svd(a, full_matrices)),
    "a",
    "u s vh",
    _svd_vjp,
    name="svd",
    free="full_matrices",
    on=spectral,
    cases=[
        *(case(c.shapes[0], full_matrices=False) for c in RECTANGLES),
        case((3, 3)),
        case((4, 3)),
        case((3, 4), args=(True,)),
        case((2, 3, 2)),
        case((3, 2), compute_uv=False),
        case((3, 3), hermitian=True, on=symmetric()),
        case((2, 2, 2), hermitian=True, compute_uv=False, on=hermitian),
        *(case(shape, on=complex_spectral, of=_singular_projectors) for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2))),
        case((4, 3), full_matrices=False, on=complex_spectral, of=_singular_projectors),
        case((2, 3), full_matrices=False, on=complex_spectral, of=_singular_projectors),
    ],
)


def _singular(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    if not hermitian:
        return _svd(a, full_matrices) if compute_uv else _svdvals(a)
    if not compute_uv:
        w = np.abs(np.linalg.eigvalsh(a))
        return np.take_along_axis(w, np.argsort(detached(w))[..., ::-1], -1)
    # As NumPy does it: the sign of an eigenvalue goes into v.
    w, v = np.linalg.eigh(a)
    order = np.argsort(np.abs(detached(w)))[..., ::-1]
    w, u = np.take_along_axis(w, order, -1), np.take_along_axis(v, order[..., None, :], -1)
    return Svd(u, np.abs(w), H(u * np.copysign(1, detached(w))[..., None, :]))


instead(_singular, _svd, np.linalg.svd)


def _svdvals(x: Any, /) -> Any:
    if _tracked(x):
        return _svd(x, False)[1]
    return _plain(np.linalg.svd, x, compute_uv=False)


composite(np.linalg.svdvals, _svdvals, on=complex_spectral, cases=RECTANGLES)


# Pseudoinverses and least squares (Golub and Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear least
# squares problems whose variables separate")


def _cuts(a: Any, rcond: Any) -> bool:
    """Return whether `rcond` is more than the rounding of `a`, so that singular values that count may be dropped."""
    if rcond is None:
        return False
    return np.ndim(rcond) > 0 or rcond > max(a.shape[-2:]) * float(np.finfo(a.dtype).eps)


def _pinv_vjp(g: Any, a: Any, out: Any, rcond: Any = None) -> Any:
    p, gt = out, T(g)
    # Of products of three, the pair whose product is small comes first.
    if a.shape[-2] > a.shape[-1]:
        left, right = gt @ (p @ H(p)), H(p) @ (p @ gt)
        h = conj(left - a @ (p @ left) + right - right @ (p @ a)) - T(p) @ (g @ T(p))
    else:
        left, right = (gt @ p) @ H(p), (H(p) @ p) @ gt
        h = conj(left - (a @ p) @ left + right - (right @ p) @ a) - (T(p) @ g) @ T(p)
    if not _cuts(a, rcond):
        return h
    # That was the cotangent of a without the part that is dropped: of a times the projector on the rows that are kept.
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    rcond = detached(rcond) if np.ndim(rcond) == 0 else as_array(rcond, like=detached(s))[..., None]
    kept_rows = (detached(s) > rcond * np.max(detached(s), axis=-1, keepdims=True))[..., None]
    through = T(a) @ h
    rows = conj(vh) * kept_rows
    return (h @ T(vh)) @ rows + _svd_vjp(None, None, rows @ (through + H(through)), u, s, vh)


_pinv = general(
    lambda a, rcond=None: np.linalg.pinv(a) if rcond is None else np.linalg.pinv(a, rcond),
    "a",
    "out",
    _pinv_vjp,
    name="pinv",
    on=complex_spectral,
    cases=[
        *RECTANGLES,
        case((3, 4), args=(0.5,)),
        case((4, 3), rcond=0.5),
        case((2, 3, 3), rcond=np.array([0.1, 0.5])),
        case((4, 3), rtol=0.5),
        case((3, 2), rtol=None),
        case((3, 3), hermitian=True, on=hermitian),
        case((0, 0)),
        case((3, 0)),
    ],
)

_UNSET = object()


def _pseudoinverse(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = _UNSET) -> Any:
    if rtol is not _UNSET:
        if rcond is not None:
            raise ValueError("`rtol` and `rcond` can't be both set.")
        rcond = max(a.shape[-2:]) * float(np.finfo(a.dtype).eps) if rtol is None else rtol
    if a.ndim < 2 or (hermitian and a.shape[-2] != a.shape[-1]):
        np.linalg.pinv(np.empty(a.shape), hermitian=hermitian)  # NumPy's complaint
    a = _complete(a) if hermitian else a
    return _pinv(a) if rcond is None else _pinv(a, rcond)


instead(_pseudoinverse, _pinv, np.linalg.pinv)


def _least_squares_pinv(a: Any, b: Any, rcond: Any) -> tuple[Any, Any]:
    """Return the pseudoinverse of `a` that makes solutions by least squares, and its relative cutoff."""
    unit = float(np.finfo(np.result_type(a.dtype, b.dtype)).eps)
    rcond = unit * max(a.shape) if rcond is None else unit if rcond == -1 else rcond
    return _pinv(a, rcond), rcond


def _lstsq_for_a(gx: Any, gresiduals: Any, grank: Any, gs: Any, a: Any, b: Any, x: Any, rcond: Any = None) -> Any:
    h = zeros(a.shape, x.dtype, detached(x))
    if gx is not None:
        p, cutoff = _least_squares_pinv(a, b, rcond)
        h = h + _pinv_vjp(_columns(gx, b.ndim) @ T(_columns(b, b.ndim)), a, p, cutoff)
    if gresiduals is not None and gresiduals.size:
        # The residual is orthogonal to the range of a, so a change of the solution does not matter.
        missed = _columns(conj(b - a @ x), b.ndim)
        h = h - (2 * gresiduals * missed) @ T(_columns(x, b.ndim))
    if gs is not None:
        # Where gs is differentiated again it may depend on s, so vectors and values both count then.
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        h = h + _svd_vjp(None, gs + 0 * s, None, u, s, vh)
    return h


def _lstsq_for_b(gx: Any, gresiduals: Any, grank: Any, gs: Any, a: Any, b: Any, x: Any, rcond: Any = None) -> Any:
    h = zeros(b.shape, x.dtype, detached(x))
    if gx is not None:
        h = h + T(_least_squares_pinv(a, b, rcond)[0]) @ gx
    if gresiduals is not None and gresiduals.size:
        h = h + 2 * gresiduals * conj(b - a @ x)
    return h


_lstsq = general(
    np.linalg.lstsq,
    "a b",
    "x residuals rank s",
    [_lstsq_for_a, _lstsq_for_b],
    on=(complex_spectral, anything),
    cases=[
        case((4, 3), (4,)),
        case((4, 3), (4, 2)),
        case((3, 3), (3, 2)),
        case((3, 4), (3,)),
        case((2, 3), (2, 2), args=(None,)),
        case((4, 3), (4, 2), rcond=-1),
        case((4, 3), (4, 2), rcond=0.5),
        case((3, 4), (3,), rcond=0.5),
        case((4, 2), (4, 0)),
    ],
)


def _least_squares(a: Any, b: Any, rcond: Any = None) -> Any:
    x, residuals, rank, s = _lstsq(operand(a, b), operand(b, a), rcond=rcond)
    return x, residuals, rank.detach() if isinstance(rank, Tensor) else rank, s


instead(_least_squares, _lstsq, np.linalg.lstsq)

constant(np.linalg.matrix_rank)


# Norms. At a zero vector, and at zero entries where the derivative would be infinite, derivatives of all orders are 0.


def _euclidean_vjp(g: Any, x: Any, out: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    g, out = kept(g, x.shape, axis, keepdims), kept(out, x.shape, axis, keepdims)
    return conj(x) * over(g, out)


_euclidean = general(
    lambda x, axis=None, keepdims=False: np.linalg.norm(x, None, axis, keepdims),
    "x",
    "out",
    _euclidean_vjp,
    name="Euclidean norm",
    kink=lambda out: out == 0,
    on=anything,
    cases=[case((2, 3)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1), keepdims=True), case((0, 2), axis=0)],
)


def _p_norm_vjp(g: Any, x: Any, out: Any, ord: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return g sign(x) (|x| / out)^(ord - 1), conjugated, which does not overflow."""
    g, out = kept(g, x.shape, axis, keepdims), kept(out, x.shape, axis, keepdims)
    moving = (x != 0) & (out != 0)
    out = out + (out == 0)
    ratio = (np.abs(x) + (x == 0)) / out
    return g * moving * conj(x) / out * ratio ** (float(ord) - 2)


_p_norm = general(
    lambda x, ord, axis=None, keepdims=False: np.linalg.norm(x, ord, axis, keepdims),
    "x",
    "out",
    _p_norm_vjp,
    name="p-norm",
    kink=lambda out: out == 0,
    on=nonzero,
    cases=[case((2, 3), args=(3, 0)), case((2, 3), args=(-1,), axis=-1, keepdims=True), case((0, 3), args=(0.5, 1))],
)


def _tied(s: Any, i: int) -> Any:
    """Return the singular value `i`, with its cotangent shared among those that equal it up to rounding."""
    bare = detached(s)
    chosen = bare[..., i]
    ties = _near((bare - chosen[..., None])[..., None, :], bare)[..., 0, :].astype(bare.dtype)
    return chosen + np.sum((s - bare) * (ties / np.sum(ties, axis=-1, keepdims=True)), axis=-1)


def _nuclear(s: Any) -> Any:
    """Return the sum of singular values, where those that are zero up to rounding take no cotangent."""
    bare = detached(s)
    return np.sum(np.where(_near(bare[..., None], bare)[..., 0], bare, s), axis=-1)


def _largest(x: Any, axis: int) -> Any:
    """Return the largest of numbers that are not negative, 0 if there are none."""
    return np.max(x, axis=axis, keepdims=True) if x.shape[axis] else np.sum(x, axis=axis, keepdims=True)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if x.dtype.kind in "fc":
        if axis is None and (ord is None or (ord in ("f", "fro") and x.ndim == 2) or (ord == 2 and x.ndim == 1)):
            return _euclidean(x, keepdims=keepdims)
        if len(axes) == 1 and not isinstance(ord, str):
            return _norm_of_vectors(x, ord, normalize_axis_index(operator.index(axes[0]), x.ndim), keepdims)
        if len(axes) == 2 and axes[0] % x.ndim != axes[1] % x.ndim:
            if ord in (None, "f", "fro"):
                return _euclidean(x, axis=axes, keepdims=keepdims)
            if ord in _MATRIX_NORMS:
                values = _MATRIX_NORMS[ord](np.moveaxis(x, axes, (-2, -1)))
                places = axes_of(axes, x.ndim)
                shape = [1 if i in places else n for i, n in enumerate(x.shape) if keepdims or i not in places]
                return np.reshape(values, tuple(shape))
    return _plain(np.linalg.norm, x, ord, axis, keepdims)  # integers, and NumPy's own complaints


def _norm_of_vectors(x: Any, ord: Any, axis: int, keepdims: bool) -> Any:
    if ord is None or ord == 2:
        return _euclidean(x, axis=axis, keepdims=keepdims)
    if ord == 1 or (ord == np.inf and not x.shape[axis]):
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    if ord == np.inf:
        return np.max(np.abs(x), axis=axis, keepdims=keepdims)
    if ord == -np.inf:
        return np.min(np.abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return _plain(np.linalg.norm, x, ord, axis, keepdims)
    return _p_norm(x, ord, axis=axis, keepdims=keepdims)


_MATRIX_NORMS = {
    1: lambda x: _largest(np.sum(np.abs(x), axis=-2, keepdims=True), -1),
    np.inf: lambda x: _largest(np.sum(np.abs(x), axis=-1, keepdims=True), -2),
    -1: lambda x: np.min(np.sum(np.abs(x), axis=-2, keepdims=True), axis=-1),
    -np.inf: lambda x: np.min(np.sum(np.abs(x), axis=-1, keepdims=True), axis=-2),
    2: lambda x: _tied(_svdvals(x), 0) if min(x.shape[-2:]) else np.sum(x, axis=(-2, -1)).real,
    -2: lambda x: _tied(_svdvals(x), -1),
    "nuc": lambda x: _nuclear(_svdvals(x)),
}

_VECTOR_ORDERS = (None, 1, 2, 3, 0.5, 1.5, -1, -2, np.inf, -np.inf)
_MATRIX_ORDERS = (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)

composite(
    np.linalg.norm,
    _norm,
    on=nonzero,
    cases=[
        case(()),
        case((2, 3, 2)),
        case((2, 3, 2), keepdims=True),
        *(case((4,), ord=ord) for ord in _VECTOR_ORDERS),
        *(case((2, 3), ord=ord, axis=1) for ord in _VECTOR_ORDERS),
        case((3, 2), args=(3, 0, True)),
        case((2, 3), ord=1, axis=-1, keepdims=True),
        case((0,)),
        case((0,), ord=1),
        *([case((0,), ord=np.inf)] if numpy_since("2.3.0") else []),
        case((0, 3), ord=3, axis=1),
        *(case((3, 2), ord=ord, on=complex_spectral) for ord in _MATRIX_ORDERS),
        *(case((2, 3, 4), ord=ord, axis=(2, 0), keepdims=True) for ord in _MATRIX_ORDERS),
        case((4, 3, 2), ord="fro", axis=(0, 1)),
        case((4, 3, 2), ord=1, axis=(1, 0)),
        case((3, 2, 4), ord=2, axis=(-3, -1)),
        *(case((0, 3), ord=ord) for ord in (None, "nuc", 1, *((2, np.inf) if numpy_since("2.3.0") else ()))),
    ],
)
composite(
    np.linalg.matrix_norm,
    lambda x, /, *, keepdims=False, ord="fro": _norm(x, ord, (-2, -1), keepdims),
    on=nonzero,
    cases=[
        case((3, 2)),
        case((2, 3, 2), keepdims=True),
        *(case((2, 3, 2), ord=ord, on=complex_spectral) for ord in _MATRIX_ORDERS[1:]),
    ],
)


def _vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    flat = np.transpose(x, axes + rest) if axes + rest != tuple(range(x.ndim)) else x
    flat = np.reshape(flat, (count(x.shape, axes), *(x.shape[i] for i in rest)))
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdims or i not in axes)
    return np.reshape(_norm(flat, ord, 0), shape)


composite(
    np.linalg.vector_norm,
    _vector_norm,
    on=nonzero,
    cases=[
        case(()),
        case((2, 3)),
        case((2, 3), keepdims=True),
        case((2, 3), axis=0),
        case((2, 3, 2), axis=(0, 2)),
        case((2, 3, 2), axis=(2, 0), keepdims=True),
        *(case((2, 3), axis=-1, ord=ord) for ord in _VECTOR_ORDERS[1:]),
        case((0, 3)),
    ],
)


# Condition numbers


def _inverse_or_nan(a: Any) -> Any:
    """Return the inverses of `a`, NaN for those that are singular."""
    try:
        return np.linalg.inv(a)
    except LinAlgError:
        singular = (np.linalg.slogdet(a)[0] == 0)[..., None, None]
        return np.where(singular, np.nan, np.linalg.inv(np.where(singular, _identity(a), a)))


_inverse_or_nan = general(
    _inverse_or_nan,
    "a",
    "out",
    lambda g, out: -(T(out) @ g @ T(out)),
    name="inverse or NaN",
    on=invertible,
    cases=SQUARES,
)


def _cond(x: Any, p: Any = None) -> Any:
    if x.dtype.kind not in "fc" or x.ndim < 2 or not min(x.shape[-2:]):
        return _plain(np.linalg.cond, x, p)
    with np.errstate(all="ignore"):
        if p is None or p in (2, -2):
            s = _svdvals(x)
            large, small = _tied(s, 0), _tied(s, -1)
            found = small / large if p == -2 else large / small
        else:
            found = _norm(x, p, (-2, -1)) * _norm(_inverse_or_nan(x), p, (-2, -1))
        lost = np.isnan(detached(found)) & np.logical_not(np.any(np.isnan(detached(x)), axis=(-2, -1)))
        return np.where(lost, np.inf, found)


composite(
    np.linalg.cond,
    _cond,
    on=complex_spectral,
    cases=[
        *(case(shape) for shape in ((3, 3), (4, 2), (2, 2, 3), (0, 2, 2))),
        *(case((3, 3), args=(p,)) for p in _MATRIX_ORDERS[1:]),
        case((2, 2, 2), p=1),
    ],
)


# The array API's spellings of functions that have their rules elsewhere


def _linalg_outer(x1: Any, x2: Any, /) -> Any:
    x1, x2 = operand(x1, x2), operand(x2, x1)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"got arrays of {x1.ndim} and {x2.ndim} axes, expected one-dimensional ones")
    return np.outer(x1, x2)


def _linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    x1, x2 = operand(x1, x2), operand(x2, x1)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(f"got vectors of {x1.shape[axis]} and {x2.shape[axis]} numbers, expected 3")
    return np.cross(x1, x2, axis=axis)


composite(
    np.linalg.outer,
    _linalg_outer,
    name="linalg.outer",
    on=anything,
    cases=[case((3,), (2,)), case((1,), (1,)), case((0,), (2,))],
)
composite(
    np.linalg.cross,
    _linalg_cross,
    name="linalg.cross",
    on=anything,
    cases=[case((3,), (3,)), case((2, 3), (3,)), case((3, 2), (3, 2), axis=0)],
)
composite(
    np.linalg.matmul,
    lambda x1, x2, /: np.matmul(x1, x2),
    name="linalg.matmul",
    on=anything,
    cases=[case((2, 3), (3, 2)), case((3,), (2, 3, 2)), case((2, 2, 3), (3,))],
)
composite(
    np.linalg.tensordot,
    lambda x1, x2, /, *, axes=2: np.tensordot(x1, x2, axes=axes),
    name="linalg.tensordot",
    on=anything,
    cases=[case((2, 3), (2, 3)), case((2, 3), (3, 2), axes=1), case((2, 3), (3, 2), axes=((0,), (1,)))],
)
composite(
    np.linalg.matrix_transpose,
    lambda x, /: np.matrix_transpose(x),
    name="linalg.matrix_transpose",
    on=anything,
    cases=[case((2, 3)), case((2, 3, 4)), case((0, 3))],
)
composite(
    np.linalg.diagonal,
    lambda x, /, *, offset=0: np.diagonal(x, offset, -2, -1),
    name="linalg.diagonal",
    on=anything,
    cases=[case((3, 3)), case((2, 3, 4), offset=1), case((3, 2), offset=-1), case((0, 2))],
)
composite(
    np.linalg.trace,
    lambda x, /, *, offset=0, dtype=None: np.trace(x, offset, -2, -1, dtype),
    name="linalg.trace",
    on=anything,
    cases=[case((3, 3)), case((2, 3, 4), offset=1), case((3, 2), offset=-1, dtype="complex128")],
)
