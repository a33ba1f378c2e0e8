"""Linear algebra that SciPy has beyond NumPy: triangular systems, factors, matrix functions, structured matrices.

SciPy's functions do not dispatch, so these are functions of our own, under SciPy's names and with its parameters,
shapes and dtypes; `tapegrad.linalg` names them. Some need SciPy when they are called, or on a CUDA device cupyx; the
others are combinations of NumPy's. Nothing overwrites its arguments: SciPy's `overwrite_a` and `overwrite_b`, which
allow it, change nothing.

Cotangents pair with tangents as Re(sum(g t)), without conjugate, as everywhere.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from .._array import device_of, explained, to_host, zeros
from .._op import composite, general, linear
from .._tensor import Tensor, detached
from ..typing import Array
from ._algebra import H, T, conj, constant, operand, unbroadcast
from ._domains import Domain, anything, case, interval, invertible
from .linalg import SQUARES, _cholesky, _columns, definite, spectral
from .special import companion

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "circulant",
    "coshm",
    "cosm",
    "expm",
    "expm_frechet",
    "hankel",
    "lu",
    "lu_factor",
    "lu_solve",
    "polar",
    "sinhm",
    "sinm",
    "solve_continuous_lyapunov",
    "solve_discrete_lyapunov",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "tanhm",
    "tanm",
    "toeplitz",
]


def _scipys(name: str) -> Any:
    """Return SciPy's function `name`, which overwrites nothing here: what a composite is compared with."""

    def call(*args: Any, **settings: Any) -> Any:
        settings = {key: value for key, value in settings.items() if not key.startswith("overwrite")}
        return companion(np.empty(0), "linalg", name)(*args, **settings)

    call.__name__ = name
    return call


def _scipys_as_given(name: str) -> Any:
    """Return SciPy's function `name` with results in the precision of its arguments, where it widens single ones."""

    def call(*args: Any, **settings: Any) -> Any:
        args = tuple(_wide(x) if isinstance(x, np.ndarray) else x for x in args)
        dtype = np.result_type(*(x.dtype for x in args if isinstance(x, np.ndarray)))
        result = _scipys(name)(*args, **settings)
        return tuple(y.astype(dtype) for y in result) if isinstance(result, tuple) else result.astype(dtype)

    call.__name__ = name
    return call


def _check_finite(*arrays: Any) -> None:
    """Raise SciPy's ValueError for infinities and NaNs; arrays on a device, where asking costs a wait, are trusted."""
    for a in map(detached, arrays):
        if device_of(a) == "cpu" and not np.isfinite(a).all():
            raise ValueError("array must not contain infs or NaNs")


def _wide(x: Any) -> Any:
    """Return `x` in single precision where it is in half precision, which LAPACK lacks, and integers as doubles."""
    if x.dtype.kind in "biu":
        return x.astype(np.float64)
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def _check_together(name: str, *operands: Any) -> None:
    """Raise DeviceError where operands live on different devices."""
    error = TypeError(name)
    if (better := explained(error, name, operands)) is not error:
        raise better


def _square(a: Any) -> Any:
    """Return `a` as an array or tensor of square matrices."""
    a = operand(a)
    if a.ndim < 2:
        raise LinAlgError(f"got an array of {a.ndim} axes, expected square matrices in the last two axes")
    if a.shape[-1] != a.shape[-2]:
        raise LinAlgError(f"got matrices of shape {a.shape[-2:]}, expected square ones")
    return a


# Triangular systems


def _transposition(trans: int | str) -> int:
    """Return 0, 1 or 2 for a system with the matrix, its transpose, or its conjugate transpose."""
    code = {"N": 0, "T": 1, "C": 2}.get(trans, trans) if isinstance(trans, str) else trans
    if code not in (0, 1, 2):
        raise ValueError(f"got trans={trans!r}, expected 0, 1, 2, 'N', 'T' or 'C'")
    return int(code)


def solve_triangular(
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    r"""Return the solution of the triangular system :math:`a x = b`, `scipy.linalg.solve_triangular`.

    Only one triangle of `a` is read, and only that gets a gradient, without the diagonal if `unit_diagonal` says that
    it is one. With :math:`h = a^{-T} g`, the cotangents are :math:`h` for b and :math:`-h x^T` in the triangle for a.

    Parameters
    ----------
    a : (..., M, M) matrices
    b : (M,) or (..., M, N) right-hand sides; leading axes broadcast against those of `a`
    trans : 0 or "N" for :math:`a x = b`, 1 or "T" for :math:`a^T x = b`, 2 or "C" for :math:`a^H x = b`
    lower : whether the lower triangle is read
    unit_diagonal : whether the diagonal is taken to be one
    overwrite_b : accepted, and without effect
    check_finite : whether infinities and NaNs are refused (not on a device)

    Raises
    ------
    numpy.linalg.LinAlgError
        If a matrix is singular (on a device, results are infinite instead).
    ValueError
        If shapes do not fit.
    MissingPackageError
        If SciPy is not installed.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> a = tg.tensor([[2.0, 7.0], [1.0, 4.0]], requires_grad=True)
    >>> x = tg.linalg.solve_triangular(a, np.array([2.0, 5.0]), lower=True)
    >>> x.detach()
    tensor([1., 1.])
    >>> x.sum().backward()
    >>> a.grad
    tensor([[-0.375,  0.   ],
            [-0.25 , -0.25 ]])
    """
    trans = _transposition(trans)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError("expected square matrix")
    if not b.ndim or b.shape[max(b.ndim - 2, 0)] != a.shape[-1]:
        raise ValueError(f"shapes of a {a.shape} and b {b.shape} are incompatible")
    a, b = _wide(a), _wide(b)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = lead + b.shape[-2:]
    dtype = np.result_type(a, b)
    if not math.prod(shape):
        return zeros(shape, dtype, a)
    solve = companion(a, "linalg", "solve_triangular")
    if device_of(a) == "cpu":
        return solve(a, b, trans, lower, unit_diagonal, check_finite=check_finite)
    # cuBLAS wants equal batches of one dtype.
    columns = _columns(b, b.ndim)
    a = np.broadcast_to(a, lead + a.shape[-2:]).astype(dtype)
    columns = np.broadcast_to(columns, lead + columns.shape[-2:]).astype(dtype)
    return np.reshape(solve(a, columns, trans, lower, unit_diagonal), shape)


def _solve_transposed(g: Any, a: Any, b_ndim: int, trans: Any, lower: bool, unit_diagonal: bool) -> Any:
    """Return, as columns, what the system with the transposed matrix makes of the cotangent `g`."""
    trans, g = _transposition(trans), _columns(g, b_ndim)
    if trans == 2:
        return conj(solve_triangular(a, conj(g), 0, lower, unit_diagonal, check_finite=False))
    return solve_triangular(a, g, 1 - trans, lower, unit_diagonal, check_finite=False)


def _triangular_for_a(
    g: Any, a: Any, b_shape: Any, out: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False
) -> Any:
    h = _solve_transposed(g, a, len(b_shape), trans, lower, unit_diagonal)
    x = _columns(out, len(b_shape))
    trans = _transposition(trans)
    product = -h @ T(x) if trans == 0 else -x @ T(h)
    product = conj(product) if trans == 2 else product
    triangle = np.tril(product, -int(unit_diagonal)) if lower else np.triu(product, int(unit_diagonal))
    return unbroadcast(triangle, a.shape)


def _triangular_for_b(
    g: Any, a: Any, b_shape: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False
) -> Any:
    h = _solve_transposed(g, a, len(b_shape), trans, lower, unit_diagonal)
    return unbroadcast(h[..., 0] if len(b_shape) == 1 else h, b_shape)


_solve_triangular = solve_triangular
solve_triangular = general(
    solve_triangular,
    "a b",
    "out",
    [_triangular_for_a, _triangular_for_b],
    name="scipy.solve_triangular",
    free="overwrite_b check_finite",
    on=(invertible, anything),
    cases=[
        case((3, 3), (3,)),
        case((3, 3), (3, 2), lower=True),
        case((3, 3), (3,), trans=1),
        case((3, 3), (3, 2), trans="C", lower=True),
        case((3, 3), (3,), trans="T", unit_diagonal=True, check_finite=False),
        case((3, 3), (3, 2), args=(2, True, True, True, False)),
        case((2, 3, 3), (3,), trans="N"),
        case((2, 3, 3), (2, 3, 1), trans=2),
        case((3, 3), (2, 3, 2)),
        case((2, 1, 2, 2), (3, 2, 2), lower=True),
        case((1, 1), (1,)),
        case((0, 0), (0,)),
        case((2, 2), (2, 0)),
        case((0, 2, 2), (2, 3)),
    ],
)


# Cholesky factors


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    r"""Return the Cholesky factor of Hermitian matrices, `scipy.linalg.cholesky`: upper unless `lower` is true.

    .. math:: a = u^H u = l l^H

    Only one triangle is read, but the gradient is that of a Hermitian matrix, of which both triangles move together.

    Parameters
    ----------
    a : (..., M, M) positive definite matrices
    lower : which factor is returned, and which triangle is read
    overwrite_a : accepted, and without effect
    check_finite : whether infinities and NaNs are refused (not on a device)

    Raises
    ------
    numpy.linalg.LinAlgError
        If a matrix is not positive definite (on a device, its factor is NaN instead).

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 1.],
           [0., 2.]])
    """
    a = _square(a)
    if check_finite:
        _check_finite(a)
    return _cholesky(_wide(a), upper=not lower)


def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, bool]:
    """Return the Cholesky factor of `a`, and `lower`, for `cho_solve`: `scipy.linalg.cho_factor`.

    The other triangle, which SciPy leaves as it happens to be, is zero. See `cholesky`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> a = tg.tensor([[4.0, 2.0], [2.0, 5.0]], requires_grad=True)
    >>> x = tg.linalg.cho_solve(tg.linalg.cho_factor(a), np.array([6.0, 7.0]))
    >>> x.detach()
    tensor([1., 1.])
    >>> x.sum().backward()
    >>> a.grad
    tensor([[-0.1875 , -0.15625],
            [-0.15625, -0.125  ]])
    """
    return cholesky(a, lower, overwrite_a, check_finite), lower


def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Return the solution of a system whose matrix `cho_factor` has factored, `scipy.linalg.cho_solve`.

    Parameters
    ----------
    c_and_lower : the factor, and whether it is the lower one, as `cho_factor` gives them
    b : (M,) or (..., M, N) right-hand sides
    overwrite_b : accepted, and without effect
    check_finite : whether infinities and NaNs are refused (not on a device)

    Raises
    ------
    ValueError
        If shapes do not fit.
    MissingPackageError
        If SciPy is not installed.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.cho_solve((np.array([[2.0, 0.0], [1.0, 2.0]]), True), np.array([6.0, 7.0]))
    array([1., 1.])
    """
    c, lower = c_and_lower
    c, b = operand(c), operand(b)
    lower = bool(np.any(lower))  # of batches, SciPy's cho_factor gives one for each
    first, second = (0, 2) if lower else (2, 0)
    y = solve_triangular(c, b, first, lower, check_finite=check_finite)
    # A vector that has met a batch is a vector for each.
    y = _columns(y, b.ndim)
    x = solve_triangular(c, y, second, lower, check_finite=check_finite)
    return x[..., 0] if b.ndim == 1 else x


composite(
    _scipys("cholesky"),
    cholesky,
    name="scipy.cholesky",
    on=definite,
    cases=[*SQUARES[:4], case((3, 3), lower=True), case((2, 2, 2), args=(True,), overwrite_a=True, check_finite=False)],
)


def _clean_factor(a: Any, lower: bool = False, **settings: Any) -> Any:
    """Return what SciPy's cho_factor gives without what it leaves in the other triangle."""
    return _scipys("cholesky")(a, lower, **settings), lower


composite(
    _clean_factor,
    cho_factor,
    name="scipy.cho_factor",
    on=definite,
    cases=[*SQUARES[:4], case((3, 3), lower=True), case((3, 3), args=(True,), overwrite_a=True, check_finite=False)],
)
composite(
    lambda c, b, lower=False, **settings: _scipys("cho_solve")((c, lower), b, **settings),
    lambda c, b, lower=False, **settings: cho_solve((c, lower), b, **settings),
    name="scipy.cho_solve",
    on=(invertible, anything),
    cases=[
        case((3, 3), (3,)),
        case((3, 3), (3, 2), lower=True),
        case((2, 3, 3), (3,)),
        case((2, 3, 3), (3, 2), lower=True, overwrite_b=True, check_finite=False),
        case((2, 2), (2, 0)),
    ],
)


# LU factors (de Hoog, Anderssen and Lukas 2011, "Differentiation of matrix functionals using triangular
# factorization"). The order of the rows is constant where it is unique.


def _factors(a: Array) -> tuple[Any, Any, Any]:
    """Return p, l and u with a[i] = (l u)[p[i]]."""
    find = companion(a, "linalg", "lu")
    if device_of(a) == "cpu":
        return find(a, p_indices=True, check_finite=False)
    a = _wide(a)
    if not a.size:
        (*lead, m, n), k = a.shape, min(a.shape[-2:])
        return (
            zeros((*lead, 0), np.int64, a),  # as from SciPy
            zeros((*lead, m, k), a.dtype, a),
            zeros((*lead, k, n), a.dtype, a),
        )
    if a.ndim > 2:
        each = [_factors(one) for one in np.reshape(a, (-1, *a.shape[-2:]))]
        return tuple(np.reshape(np.stack(x), a.shape[:-2] + x[0].shape) for x in zip(*each, strict=True))  # type: ignore[return-value]
    p, l, u = find(a, check_finite=False)
    return np.argmax(p, axis=-1), l, u


def _factors_vjp(gp: Any, gl: Any, gu: Any, p: Any, l: Any, u: Any) -> Any:
    k = u.shape[-2]
    wide, tall = u.shape[-1] > k, l.shape[-2] > k
    top, left = l[..., :k, :], u[..., :k]
    of_l = [] if gl is None else [gl[..., :k, :]]
    of_u = [] if gu is None else [gu[..., :k]]
    rest = None
    if wide and gu is not None:
        # The columns of u beyond the square are top^-1 times those of a.
        rest = solve_triangular(top, gu[..., k:], 1, True, True, check_finite=False)
        of_l.append(-rest @ T(u[..., k:]))
    elif tall and gl is not None:
        # The rows of l below the square are those of a times left^-1.
        rest = T(solve_triangular(left, T(gl[..., k:, :]), check_finite=False))
        of_u.append(-T(l[..., k:, :]) @ rest)
    # In the square, top^-1 da left^-1 = top^-1 dl + du left^-1, a lower triangle and an upper one.
    parts = [np.tril(T(top) @ np.tril(g, -1), -1) for g in of_l] + [np.triu(np.triu(g) @ T(left)) for g in of_u]
    h = solve_triangular(top, sum(parts), 1, True, True, check_finite=False)
    h = T(solve_triangular(left, T(h), check_finite=False))
    if wide or tall:
        axis = -1 if wide else -2
        shape = (*h.shape[:-1], u.shape[-1] - k) if wide else (*h.shape[:-2], l.shape[-2] - k, k)
        h = np.concatenate([h, zeros(shape, h.dtype, detached(h)) if rest is None else rest], axis)
    return _rows(h, p)


def _rows(x: Any, order: Any) -> Any:
    """Return the rows of the matrices `x` in the order that the integers `order` give, one list for each matrix."""
    if not x.size:
        return x
    order = detached(order)[..., None]
    return np.take_along_axis(x, order, -2)


def _lower(result: Any) -> Any:
    return result[1]


def _upper(result: Any) -> Any:
    return result[2]


_pivoting = Domain("pivoting", lambda rng, shape: invertible.draw(rng, shape)[..., ::-1, :], complex=True)
"""Invertible matrices whose rows come in another order, so that pivoting has something to do."""

_factors = general(
    _factors,
    "a",
    "p l u",
    _factors_vjp,
    name="scipy.lu factors",
    on=_pivoting,
    cases=[
        case((3, 3)),
        case((4, 3)),
        case((3, 4)),
        case((1, 3)),
        case((2, 4, 2)),
        case((0, 0)),
        case((0, 2, 2)),
        case((2, 4), of=_lower),
        case((4, 2), of=_upper),
    ],
)


def _factored(a: Any, check_finite: bool) -> tuple[Any, Any, Any]:
    a = operand(a)
    if check_finite:
        _check_finite(a)
    p, l, u = _factors(a)
    return detached(p), l, u


def lu(
    a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True, p_indices: bool = False
) -> Any:
    r"""Return the pivoted LU factors of matrices, `scipy.linalg.lu`.

    .. math:: a = p l u

    with a permutation p, a lower l whose diagonal is one, and an upper u. The order of the rows, where it is unique,
    does not move, so p is constant. Where u is singular there is no derivative: the backward pass raises LinAlgError.

    Parameters
    ----------
    a : (..., M, N) matrices
    permute_l : whether to return (p l, u)
    overwrite_a : accepted, and without effect
    check_finite : whether infinities and NaNs are refused (not on a device)
    p_indices : whether p is returned as the integers for which `a = l[p] @ u`

    Returns
    -------
    p : (..., M, M) or (..., M), an array, constant
    l : (..., M, K) with K = min(M, N)
    u : (..., K, N)

    Raises
    ------
    MissingPackageError
        If SciPy is not installed.

    Source of the derivative: de Hoog, Anderssen and Lukas, "Differentiation of matrix functionals using triangular
    factorization", Mathematics of Computation 80, 2011.

    Examples
    --------
    >>> import tapegrad as tg
    >>> a = tg.tensor([[1.0, 2.0], [2.0, 2.0]], requires_grad=True)
    >>> p, l, u = tg.linalg.lu(a)
    >>> u.detach()
    tensor([[2., 2.],
            [0., 1.]])
    >>> u.sum().backward()
    >>> a.grad
    tensor([[-1. ,  1. ],
            [ 1.5,  0.5]])
    """
    p, l, u = _factored(a, check_finite)
    if permute_l:
        return _rows(l, p), u
    if p_indices:
        return _like(p, l), l, u
    bare = detached(l)
    matrix = (p[..., None] == constant(np.arange(p.shape[-1]), bare)).astype(bare.real.dtype)
    return _like(matrix, l), l, u


def _like(x: Array, y: Any) -> Any:
    """Return the constant `x` as a tensor if `y` is one."""
    return Tensor(x) if isinstance(y, Tensor) else x


def _swaps(p: Array, k: int) -> Array:
    """Return LAPACK's list of `k` successive interchanges for the order `p` of rows."""
    p = to_host(p)
    made = np.empty((*p.shape[:-1], k), np.int32)
    for i in np.ndindex(*p.shape[:-1]):
        place = p[i].astype(int)  # where each row of a has to go
        row = np.argsort(place)  # and which has to come here
        at, here = np.arange(place.size), np.arange(place.size)  # the row that is here now; where each row is
        for j in range(k):
            other = here[row[j]]
            made[i][j] = other
            at[[j, other]] = at[[other, j]]
            here[at[[j, other]]] = [j, other]
    return made


def _order(piv: Any) -> Array:
    """Return the order into which LAPACK's interchanges bring rows."""
    piv = to_host(detached(piv))
    made = np.empty(piv.shape, np.intp)
    for i in np.ndindex(*piv.shape[:-1]):
        order = np.arange(piv.shape[-1])
        for j, other in enumerate(piv[i]):
            order[[j, other]] = order[[other, j]]
        made[i] = order
    return made


def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Any, Any]:
    """Return the pivoted LU factors of matrices in one, and the interchanges of rows: `scipy.linalg.lu_factor`.

    Parameters
    ----------
    a : (..., M, N) matrices
    overwrite_a : accepted, and without effect
    check_finite : whether infinities and NaNs are refused (not on a device)

    Returns
    -------
    lu : (..., M, N): u in the upper triangle, and l without its diagonal, which is one, below
    piv : (..., K) integers: row i was interchanged with row `piv[i]`; constant

    Raises
    ------
    MissingPackageError
        If SciPy is not installed.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> a = tg.tensor([[1.0, 2.0], [2.0, 2.0]], requires_grad=True)
    >>> x = tg.linalg.lu_solve(tg.linalg.lu_factor(a), np.array([3.0, 4.0]))
    >>> x.detach()
    tensor([1., 1.])
    >>> x.sum().backward()
    >>> a.grad
    tensor([[ 0. ,  0. ],
            [-0.5, -0.5]])
    """
    p, l, u = _factored(a, check_finite)
    k = u.shape[-2]
    joined = np.tril(l[..., :k, :], -1) + u[..., :k]
    if u.shape[-1] > k:
        joined = np.concatenate([joined, u[..., k:]], -1)
    elif l.shape[-2] > k:
        joined = np.concatenate([joined, l[..., k:, :]], -2)
    return joined, _like(constant(_swaps(p, k if joined.size else 0), detached(l)), l)


def lu_solve(lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Return the solution of a system whose matrix `lu_factor` has factored, `scipy.linalg.lu_solve`.

    Parameters
    ----------
    lu_and_piv : what `lu_factor` gave for (..., M, M) matrices
    b : (M,) or (..., M, N) right-hand sides
    trans : 0 for the matrix, 1 for its transpose, 2 for its conjugate transpose
    overwrite_b : accepted, and without effect
    check_finite : whether infinities and NaNs are refused (not on a device)

    Raises
    ------
    numpy.linalg.LinAlgError
        If a matrix is singular.
    ValueError
        If shapes do not fit.
    MissingPackageError
        If SciPy is not installed.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> factors = tg.linalg.lu_factor(np.array([[1.0, 2.0], [2.0, 2.0]]))
    >>> tg.linalg.lu_solve(factors, np.array([3.0, 4.0]), trans=1)
    array([1., 1.])
    """
    factors, piv = lu_and_piv
    factors, b = operand(factors), operand(b)
    trans = _transposition(trans)
    if b.shape[max(b.ndim - 2, 0)] != factors.shape[-1]:
        raise ValueError(f"shapes of lu {factors.shape} and b {b.shape} are incompatible")
    vector, b = b.ndim == 1, _columns(b, b.ndim)
    b = np.broadcast_to(b, np.broadcast_shapes(factors.shape[:-2], b.shape[:-2]) + b.shape[-2:])
    order = _order(piv)
    lower = functools.partial(solve_triangular, factors, lower=True, unit_diagonal=True, check_finite=check_finite)
    upper = functools.partial(solve_triangular, factors, check_finite=check_finite)

    def arranged(x: Any, order: Any) -> Any:
        return _rows(x, np.broadcast_to(constant(order, detached(x)), x.shape[:-1]))

    if trans == 0:
        x = upper(lower(arranged(b, order)))
    else:
        x = arranged(lower(upper(b, trans=trans), trans=trans), np.argsort(order, axis=-1))
    return x[..., 0] if vector else x


composite(
    _scipys("lu"),
    lu,
    name="scipy.lu",
    on=_pivoting,
    cases=[
        case((3, 3)),
        case((4, 3)),
        case((2, 3, 4)),
        case((4, 3), args=(True,)),
        case((3, 4), permute_l=True, overwrite_a=True, check_finite=False),
        case((2, 3, 3), p_indices=True),
        case((2, 3, 2), permute_l=True),
        case((0, 3), permute_l=True),
        case((3, 0)),
    ],
)


def _joined_factors(a: Any, **settings: Any) -> tuple[Any, Any]:
    """Return what SciPy's lu_factor gives, as a tuple also for batches."""
    return tuple(_scipys("lu_factor")(a, **settings))


composite(
    _joined_factors,
    lu_factor,
    name="scipy.lu_factor",
    on=_pivoting,
    cases=[case((3, 3)), case((4, 3)), case((2, 3, 4), overwrite_a=True, check_finite=False), case((0, 0))],
)
composite(
    lambda a, b, **settings: _scipys("lu_solve")(_joined_factors(a), b, **settings),
    lambda a, b, **settings: lu_solve(lu_factor(a), b, **settings),
    name="scipy.lu_solve",
    on=(_pivoting, anything),
    cases=[
        case((3, 3), (3,)),
        case((3, 3), (3, 2), trans=1),
        case((3, 3), (3,), trans=2),
        case((2, 3, 3), (3,), overwrite_b=True, check_finite=False),
        case((3, 3), (2, 3, 2)),
        case((2, 3, 3), (2, 3, 2), trans=2),
    ],
)


# Matrix exponentials (Al-Mohy and Higham 2009, "Computing the Fréchet derivative of the matrix exponential, with an
# application to condition number estimation"): scaling and squaring with the Padé approximant of degree 13, whose
# derivative is exact to the last bit where the scaled matrix has a 1-norm of at most 4.74.

_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_REACH = 4.74


def _times(x: tuple[Any, ...], y: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the product of matrices that may each have a tangent beside them."""
    return (x[0] @ y[0],) if len(x) == 1 else (x[0] @ y[0], x[0] @ y[1] + x[1] @ y[0])


def _combined(*terms: tuple[float, tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return a linear combination of matrices, each with its tangent."""
    return tuple(functools.reduce(lambda p, q: p + q, [c * x[i] for c, x in terms]) for i in range(len(terms[0][1])))


def _with_identity(c: float, x: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `x` with `c` times the identity added."""
    bare = detached(x[0])
    return (x[0] + c * constant(np.eye(bare.shape[-1]), bare, bare.dtype), *x[1:])


def _exponential(*x: Any) -> tuple[Any, ...]:
    """Return exp(a) for `(a,)`, and for `(a, e)` also its derivative in the direction of e."""
    bare = detached(x[0])
    if not bare.size:
        return x
    # Each matrix is halved as often as it needs; how often is asked of the values, once.
    norm = np.max(np.sum(np.abs(bare), axis=-2), axis=-1)
    halvings = np.ceil(np.log2(np.maximum(norm, _REACH) / _REACH))
    most = float(np.max(np.where(np.isfinite(halvings), halvings, 0)))
    scale = (0.5**halvings)[..., None, None]
    x = tuple(one * scale for one in x)
    square = _times(x, x)
    fourth = _times(square, square)
    sixth = _times(square, fourth)
    halves = []
    for odd in (1, 0):
        b0, b2, b4, b6, b8, b10, b12 = _PADE[odd::2]
        high = _times(sixth, _combined((b12, sixth), (b10, fourth), (b8, square)))
        halves.append(_with_identity(b0, _combined((1.0, high), (b6, sixth), (b4, fourth), (b2, square))))
    u, v = _times(x, halves[0]), halves[1]
    top, bottom = _combined((1.0, v), (1.0, u)), _combined((1.0, v), (-1.0, u))
    r = np.linalg.solve(bottom[0], top[0])
    y = (r,) if len(x) == 1 else (r, np.linalg.solve(bottom[0], top[1] - bottom[1] @ r))
    for i in range(int(most)):
        # Where a matrix has been squared often enough, it is multiplied by one.
        more = constant((halvings > i).astype(bare.real.dtype), bare)[..., None, None]
        other = (y[0] * more, *(t * more for t in y[1:]))
        y = _times(y, _with_mask(1 - more, other))
    return y


def _with_mask(mask: Any, x: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return `x` with the identity added where `mask` is one."""
    bare = detached(x[0])
    return (x[0] + mask * constant(np.eye(bare.shape[-1]), bare, bare.dtype), *x[1:])


_of_several_sizes = Domain(
    "of several sizes",
    lambda rng, shape: rng.uniform(-1, 1, shape) * 3.0 ** np.arange(shape[0])[:, None, None],
    complex=True,
)
"""Matrices of which some must be halved more often than others."""


def _expm(a: Array) -> Array:
    if device_of(a) != "cpu":
        # cupyx has the exponential of one matrix; this is of batches too.
        return _exponential(_wide(a))[0]
    return companion(a, "linalg", "expm")(_wide(a))


_expm = general(
    _expm,
    "a",
    "out",
    lambda g, a: _frechet(T(a), g),
    # A third of the time of the VJP transposed.
    jvp=lambda t, a: _frechet(a, t),
    name="scipy.expm",
    on=interval(-2, 2).and_complex(),
    cases=[*SQUARES, case((5, 5), on=interval(-0.1, 0.1).and_complex()), case((3, 2, 2), on=_of_several_sizes)],
)


def _frechet(a: Any, e: Any) -> Any:
    """Return the derivative of the exponential of `a` in the direction of `e`."""
    return _exponential(_wide(a), e)[1].astype(e.dtype, copy=False)


def expm(A: Any) -> Any:  # noqa: N803 - SciPy's name
    r"""Return the exponential of square matrices, `scipy.linalg.expm`.

    .. math:: e^A = \sum_k A^k / k!

    The cotangent of `A` is the Fréchet derivative at :math:`A^T` in the direction of the result's cotangent, computed
    by scaling and squaring beside the exponential itself, in about four times its time.

    Parameters
    ----------
    A : (..., M, M) matrices, or one number

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrices are not square.
    MissingPackageError
        If SciPy is not installed.

    Source of the derivative: Al-Mohy and Higham, "Computing the Fréchet derivative of the matrix exponential, with an
    application to condition number estimation", SIAM Journal on Matrix Analysis and Applications 30, 2009.

    Examples
    --------
    >>> import tapegrad as tg
    >>> a = tg.tensor([[0.0, 1.0], [0.0, 0.0]], requires_grad=True)
    >>> y = tg.linalg.expm(a)
    >>> y.detach()
    tensor([[1., 1.],
            [0., 1.]])
    >>> y[0, 1].backward()
    >>> a.grad.round(8)
    tensor([[0.5       , 1.        ],
            [0.16666667, 0.5       ]])
    """
    a = operand(A)
    return _expm(_square(np.reshape(a, (1, 1)) if a.ndim < 2 and a.size == 1 else a))


def expm_frechet(
    A: Any,  # noqa: N803 - SciPy's name
    E: Any,  # noqa: N803 - SciPy's name
    method: str | None = None,
    compute_expm: bool = True,
    check_finite: bool = True,
) -> Any:
    """Return the matrix exponential of `A`, and its derivative in the direction of `E`: `scipy.linalg.expm_frechet`.

    Parameters
    ----------
    A : (..., M, M) matrices
    E : directions of the same shape
    method : None, or one of SciPy's, "SPS" and "blockEnlarge"; here all mean the first, scaling and squaring
    compute_expm : whether the exponential is returned too, before the derivative
    check_finite : whether infinities and NaNs are refused (not on a device)

    Both have the precision of the arguments, also where SciPy widens them.

    Raises
    ------
    ValueError
        If shapes do not fit, or `method` is unknown.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.expm_frechet(np.zeros((2, 2)), np.array([[0.0, 1.0], [2.0, 0.0]]), compute_expm=False)
    array([[0., 1.],
           [2., 0.]])
    """
    a, e = _square(A), _square(E)
    _check_together("expm_frechet", a, e)
    if a.shape != e.shape:
        raise ValueError(f"got matrices of shape {a.shape} and directions of shape {e.shape}, expected the same shape")
    if method not in (None, "SPS", "blockEnlarge"):
        raise ValueError(f"got method={method!r}, expected None, 'SPS' or 'blockEnlarge'")
    if check_finite:
        _check_finite(a, e)
    dtype = np.result_type(_wide(a).dtype, _wide(e).dtype)
    value, derivative = _exponential(a.astype(dtype), e.astype(dtype))
    return (value, derivative) if compute_expm else derivative


composite(
    _scipys_as_given("expm_frechet"),
    expm_frechet,
    name="scipy.expm_frechet",
    on=interval(-2, 2),
    cases=[
        case((3, 3), (3, 3)),
        case((3, 3), (3, 3), args=("SPS", False)),
        case((2, 2), (2, 2), method="blockEnlarge", compute_expm=True, check_finite=False),
    ],
)


# Trigonometric and hyperbolic functions of matrices, by their exponentials, as SciPy has them


def _imaginary(a: Any) -> Any:
    return expm(1j * a)


def cosm(A: Any) -> Any:  # noqa: N803 - SciPy's name
    """Return the cosine of square matrices, `scipy.linalg.cosm`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.cosm(np.zeros((2, 2)))
    array([[1., 0.],
           [0., 1.]])
    """
    a = _square(A)
    return (_imaginary(a) + _imaginary(-a)) / 2 if a.dtype.kind == "c" else np.real(_imaginary(a))


def sinm(A: Any) -> Any:  # noqa: N803 - SciPy's name
    """Return the sine of square matrices, `scipy.linalg.sinm`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.sinm(np.zeros((1, 1)))
    array([[0.]])
    """
    a = _square(A)
    return -0.5j * (_imaginary(a) - _imaginary(-a)) if a.dtype.kind == "c" else np.imag(_imaginary(a))


def tanm(A: Any) -> Any:  # noqa: N803 - SciPy's name
    """Return the tangent of square matrices, `scipy.linalg.tanm`: the cosine's inverse times the sine.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.tanm(np.zeros((1, 1)))
    array([[0.]])
    """
    return np.linalg.solve(cosm(A), sinm(A))


def coshm(A: Any) -> Any:  # noqa: N803 - SciPy's name
    """Return the hyperbolic cosine of square matrices, `scipy.linalg.coshm`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.coshm(np.zeros((1, 1)))
    array([[1.]])
    """
    a = _square(A)
    return (expm(a) + expm(-a)) * 0.5


def sinhm(A: Any) -> Any:  # noqa: N803 - SciPy's name
    """Return the hyperbolic sine of square matrices, `scipy.linalg.sinhm`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.sinhm(np.zeros((1, 1)))
    array([[0.]])
    """
    a = _square(A)
    return (expm(a) - expm(-a)) * 0.5


def tanhm(A: Any) -> Any:  # noqa: N803 - SciPy's name
    """Return the hyperbolic tangent of square matrices, `scipy.linalg.tanhm`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.tanhm(np.zeros((1, 1)))
    array([[0.]])
    """
    return np.linalg.solve(coshm(A), sinhm(A))


for _function in (cosm, sinm, tanm, coshm, sinhm, tanhm):
    composite(
        _scipys(_function.__name__),
        _function,
        name=f"scipy.{_function.__name__}",
        on=interval(-0.5, 0.5).and_complex(),
        cases=[case((3, 3)), case((2, 2, 2))],
    )


# Sylvester's equation (Kao and Hennequin 2020, "Automatic differentiation of Sylvester, Lyapunov, and algebraic Riccati
# equations")


def _sylvester(a: Array, b: Array, q: Array, or_nan: bool = False) -> Array:
    """Return x with a x + x b = q; with `or_nan`, NaN where a and -b share an eigenvalue up to rounding.

    SciPy's own function would mix real and complex Schur factors, which goes wrong, and does not tell of shared
    eigenvalues: it moves them apart.
    """
    schur, rows = companion(a, "linalg", "schur"), companion(a, "linalg", "get_lapack_funcs")
    dtype = np.result_type(*map(_wide, (a, b, q)))
    a, b, q = (x.astype(dtype, copy=False) for x in (a, b, q))
    lead = np.broadcast_shapes(*(x.shape[:-2] for x in (a, b, q)))
    a, b, q = (np.broadcast_to(x, lead + x.shape[-2:]) for x in (a, b, q))
    x = np.empty(q.shape, dtype)
    if not x.size:
        return x
    (solve,) = rows(("trsyl",), (a, b, q))
    for i in np.ndindex(*lead):
        if or_nan and not (np.isfinite(a[i]).all() and np.isfinite(b[i]).all()):
            x[i] = np.nan
            continue
        (r, u), (s, v) = schur(a[i]), schur(b[i].conj().T)
        y, scale, info = solve(r, s, u.conj().T @ q[i] @ v, tranb="C")
        x[i] = np.nan if info and or_nan else u @ (y * scale) @ v.conj().T
    return x


def _sylvester_vjp(g: Any, a: Any, b: Any) -> Any:
    return _sylvester(T(a), T(b), g, or_nan=True)


_sylvester = general(
    _sylvester,
    "a b q",
    "out",
    [
        lambda g, a, b, out: unbroadcast(-_sylvester_vjp(g, a, b) @ T(out), a.shape),
        lambda g, a, b, out: unbroadcast(-T(out) @ _sylvester_vjp(g, a, b), b.shape),
        lambda g, a, b, q_shape: unbroadcast(_sylvester_vjp(g, a, b), q_shape),
    ],
    name="scipy.sylvester",
    free="or_nan",
    on=(invertible, invertible, anything),
    cases=[
        case((3, 3), (2, 2), (3, 2)),
        case((2, 2), (2, 2), (2, 2), or_nan=True),
        case((2, 1, 2, 2), (3, 1, 1), (2, 1)),
        case((0, 0), (2, 2), (0, 2)),
    ],
)


def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    r"""Return the solution of Sylvester's equation :math:`a x + x b = q`, `scipy.linalg.solve_sylvester`.

    It is unique where a and -b share no eigenvalue; where they do, gradients are NaN. The cotangent h of q solves
    :math:`a^T h + h b^T = g`; those of a and b are :math:`-h x^T` and :math:`-x^T h`.

    Parameters
    ----------
    a : (..., M, M) matrices
    b : (..., N, N) matrices
    q : (..., M, N) right-hand sides

    Raises
    ------
    numpy.linalg.LinAlgError
        If a or b are not square.
    ValueError
        If shapes do not fit, or for infinities and NaNs.
    MissingPackageError
        If SciPy is not installed.
    UnsupportedError
        On a CUDA device: CuPy has no Schur factors.

    Source of the derivative: Kao and Hennequin, "Automatic differentiation of Sylvester, Lyapunov, and algebraic
    Riccati equations", 2020.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> a, b = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[3.0]])
    >>> q = tg.tensor([[8.0], [5.0]], requires_grad=True)
    >>> x = tg.linalg.solve_sylvester(a, b, q)
    >>> x.detach()
    tensor([[2.],
            [1.]])
    >>> x.sum().backward()
    >>> q.grad
    tensor([[0.25],
            [0.2 ]])
    """
    a, b, q = _square(a), _square(b), operand(q)
    _check_together("solve_sylvester", a, b, q)
    if q.ndim < 2 or q.shape[-2:] != (a.shape[-1], b.shape[-1]):
        raise ValueError(f"got q of shape {q.shape}, expected {(a.shape[-1], b.shape[-1])} as a and b say")
    _check_finite(a, b, q)
    return _sylvester(a, b, q)


def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    r"""Return the solution of Lyapunov's equation :math:`a x + x a^H = q`, `scipy.linalg.solve_continuous_lyapunov`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.solve_continuous_lyapunov(np.array([[2.0]]), np.array([[8.0]]))
    array([[2.]])
    """
    a = _square(a)
    _check_together("solve_continuous_lyapunov", a, q)
    return solve_sylvester(a, H(a), q)


def solve_discrete_lyapunov(a: Any, q: Any, method: str | None = None) -> Any:
    r"""Return the solution of :math:`a x a^H - x + q = 0`, `scipy.linalg.solve_discrete_lyapunov`.

    By the bilinear transformation :math:`b = (a^H - 1)^{-1} (a^H + 1)`, which makes it a continuous equation. That -1
    or 1 is an eigenvalue of `a` is refused or inaccurate. The result has the precision of
    the arguments, also where SciPy widens them.

    Parameters
    ----------
    a, q : (..., M, M) matrices
    method : None, "direct" or "bilinear"; all mean the last

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.solve_discrete_lyapunov(np.array([[0.5]]), np.array([[3.0]]))
    array([[4.]])
    """
    if method not in (None, "direct", "bilinear"):
        raise ValueError(f"got method={method!r}, expected None, 'direct' or 'bilinear'")
    a, q = _wide(_square(a)), _square(q)
    _check_together("solve_discrete_lyapunov", a, q)
    h = H(a)
    one = constant(np.eye(h.shape[-1]), detached(h), h.dtype)
    # With s = (a^H - 1)^-1 the solution of b^H x + x b = -2 s^H q s.
    b = np.linalg.solve(h - one, h + one)
    right = T(np.linalg.solve(T(h - one), T(_wide(q))))
    right = np.linalg.solve(a - one, right)
    return solve_sylvester(H(b), b, -2 * right)


composite(
    _scipys("solve_sylvester"),
    solve_sylvester,
    name="scipy.solve_sylvester",
    on=(invertible, invertible, anything),
    cases=[case((3, 3), (2, 2), (3, 2)), case((2, 2, 2), (2, 2), (2, 2))],
)
composite(
    _scipys("solve_continuous_lyapunov"),
    solve_continuous_lyapunov,
    name="scipy.solve_continuous_lyapunov",
    on=(invertible, anything),
    cases=[case((3, 3), (3, 3)), case((2, 2, 2), (2, 2))],
)
composite(
    _scipys_as_given("solve_discrete_lyapunov"),
    solve_discrete_lyapunov,
    name="scipy.solve_discrete_lyapunov",
    on=(interval(-0.3, 0.3).and_complex(), anything),
    cases=[case((3, 3), (3, 3)), case((2, 2), (2, 2), method="bilinear"), case((2, 2), (2, 2), args=("direct",))],
)


# Square roots and polar factors


def _sqrtm(a: Array) -> Array:
    return companion(a, "linalg", "sqrtm")(_wide(a))


# The root x moves by what solves x dx + dx x = da.
_sqrtm = general(
    _sqrtm,
    "a",
    "out",
    lambda g, out: _sylvester(T(out), T(out), g, or_nan=True),
    name="scipy.sqrtm",
    on=invertible,
    cases=[
        *SQUARES,
        # Negative eigenvalues, and complex roots of real matrices.
        case((3, 3), on=Domain("negative", lambda rng, shape: -invertible.draw(rng, shape), complex=True)),
    ],
)


def sqrtm(A: Any) -> Any:  # noqa: N803 - SciPy's name
    """Return the principal square root of square matrices, `scipy.linalg.sqrtm`.

    It is complex where that of a real matrix is. Where two of its eigenvalues add up to zero, as those of a matrix of
    zeros, there is no derivative: gradients are NaN.

    Parameters
    ----------
    A : (..., M, M) matrices

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrices are not square.
    MissingPackageError
        If SciPy is not installed.
    UnsupportedError
        On a CUDA device: CuPy has no such function.

    Source of the derivative: Sylvester's equation; Higham, "Functions of matrices", 2008, section 6.1.

    Examples
    --------
    >>> import tapegrad as tg
    >>> a = tg.tensor([[4.0, 0.0], [0.0, 9.0]], requires_grad=True)
    >>> y = tg.linalg.sqrtm(a)
    >>> y.detach()
    tensor([[2., 0.],
            [0., 3.]])
    >>> y.sum().backward()
    >>> a.grad.round(8)
    tensor([[0.25      , 0.2       ],
            [0.2       , 0.16666667]])
    """
    return _sqrtm(_square(A))


def polar(a: Any, side: str = "right") -> tuple[Any, Any]:
    r"""Return the polar factors of matrices, `scipy.linalg.polar`: :math:`a = u p`, or :math:`a = p u` on the left.

    u has orthonormal columns or rows, and p is positive semidefinite; both have derivatives where `a` has full rank.

    Parameters
    ----------
    a : (..., M, N) matrices
    side : "right" or "left"

    Raises
    ------
    ValueError
        If `side` is neither.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> u, p = tg.linalg.polar(np.array([[0.0, -2.0], [3.0, 0.0]]))
    >>> u, p
    (array([[ 0., -1.],
           [ 1.,  0.]]), array([[3., 0.],
           [0., 2.]]))
    """
    if side not in ("right", "left"):
        raise ValueError(f"got side={side!r}, expected 'right' or 'left'")
    a = _wide(operand(a))
    w, s, vh = np.linalg.svd(a, full_matrices=False)
    p = (H(vh) * s[..., None, :]) @ vh if side == "right" else (w * s[..., None, :]) @ H(w)
    return w @ vh, p


composite(
    _scipys("polar"),
    polar,
    name="scipy.polar",
    on=spectral,
    cases=[case((3, 3)), case((4, 2)), case((2, 3), side="left"), case((2, 3, 3), args=("left",))],
)


# Structured matrices


def _blocks(arrs: Any) -> Any:
    """Return matrices, or batches of them, along a diagonal; everything else is zero."""
    lead = np.broadcast_shapes(*(x.shape[:-2] for x in arrs))
    shape = (*lead, sum(x.shape[-2] for x in arrs), sum(x.shape[-1] for x in arrs))
    out = zeros(shape, np.result_type(*(x.dtype for x in arrs)), arrs[0])
    for x, place in zip(arrs, _places([x.shape for x in arrs]), strict=True):
        out[place] = x
    return out


def _places(shapes: Any) -> list[Any]:
    """Return the index of each block."""
    made, row, column = [], 0, 0
    for *_, m, n in shapes:
        made.append((..., slice(row, row + m), slice(column, column + n)))
        row, column = row + m, column + n
    return made


_blocks = linear(
    _blocks,
    lambda g, k, shapes: unbroadcast(g[_places(shapes)[k]], shapes[k]),
    inputs="*xs",
    name="scipy.blocks",
    on=anything,
    cases=[case([(2, 3), (1, 1)]), case([(2, 2)]), case([(2, 1, 2), (2, 2)]), case([(0, 2), (1, 1), (2, 0)])],
)


def block_diag(*arrs: Any) -> Any:
    """Return the matrix with the given ones along its diagonal, `scipy.linalg.block_diag`.

    Parameters
    ----------
    arrs : (..., M, N) matrices, rows (N,) or numbers; leading axes broadcast

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> y = tg.linalg.block_diag(x, x * [[1.0, 3.0]])
    >>> y.detach()
    tensor([[2., 0., 0.],
            [0., 2., 6.]])
    >>> y.sum().backward()
    >>> x.grad
    tensor(5.)
    """
    like = next((detached(x) for x in arrs if isinstance(x, Tensor)), arrs[0] if arrs else None)
    given = [operand(x, like) for x in arrs or ([],)]
    return _blocks([np.reshape(x, (1, -1)) if x.ndim < 2 else x for x in given])


composite(
    _scipys("block_diag"),
    block_diag,
    name="scipy.block_diag",
    on=anything,
    cases=[case((2, 3), (1, 1)), case((), (2,), (2, 2)), case((2, 2, 2), (1, 3)), case((0,), (2, 1))],
)


def _by_index(values: Any, index: Array) -> Any:
    """Return the entries of the last axis of `values` that a matrix of integers names."""
    return values[..., constant(index, detached(values))]


def toeplitz(c: Any, r: Any = None) -> Any:
    """Return the matrix with first column `c` and first row `r`, constant along diagonals: `scipy.linalg.toeplitz`.

    Parameters
    ----------
    c : (..., M) first columns
    r : (..., N) first rows, whose first entry is ignored; without them, the conjugate of `c`

    Examples
    --------
    >>> import tapegrad as tg
    >>> c = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = tg.linalg.toeplitz(c)
    >>> y.detach()
    tensor([[1., 2., 3.],
            [2., 1., 2.],
            [3., 2., 1.]])
    >>> y.sum().backward()
    >>> c.grad
    tensor([3., 4., 2.])
    """
    c = np.atleast_1d(operand(c, r))
    r = conj(c) if r is None else np.atleast_1d(operand(r, c))
    lead = np.broadcast_shapes(c.shape[:-1], r.shape[:-1])
    m, n = c.shape[-1], r.shape[-1]
    c, r = (np.broadcast_to(x, lead + x.shape[-1:]) if x.shape[:-1] != lead else x for x in (c, r))
    values = np.concatenate([c[..., ::-1], r[..., 1:]], -1)
    return _by_index(values, np.arange(m - 1, -1, -1)[:, None] + np.arange(n))


def hankel(c: Any, r: Any = None) -> Any:
    """Return the matrix with first column `c` and last row `r`, constant along antidiagonals: `scipy.linalg.hankel`.

    Parameters
    ----------
    c : (M,) first column
    r : (N,) last row, whose first entry is ignored; without it, zeros

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.hankel(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    array([[1., 2.],
           [2., 3.]])
    """
    c = np.reshape(operand(c, r), -1)
    r = 0 * c if r is None else np.reshape(operand(r, c), -1)
    return _by_index(np.concatenate([c, r[1:]]), np.arange(c.shape[0])[:, None] + np.arange(r.shape[0]))


def circulant(c: Any) -> Any:
    """Return the matrix whose first column is `c` and each other the one before, turned: `scipy.linalg.circulant`.

    Parameters
    ----------
    c : (..., N) first columns

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.linalg.circulant(np.array([1.0, 2.0, 3.0]))
    array([[1., 3., 2.],
           [2., 1., 3.],
           [3., 2., 1.]])
    """
    c = np.atleast_1d(operand(c))
    places = np.arange(c.shape[-1])
    return _by_index(c, (places[:, None] - places) % max(c.shape[-1], 1))


composite(
    _scipys("toeplitz"),
    toeplitz,
    name="scipy.toeplitz",
    on=anything,
    cases=[case((3,)), case((3,), (4,)), case((2, 3), (2,)), case(()), case((1,), (3,)), case((2, 3))],
)
composite(
    _scipys("hankel"),
    hankel,
    name="scipy.hankel",
    on=anything,
    cases=[case((3,)), case((3,), (4,)), case((2,), (1,))],
)
composite(_scipys("circulant"), circulant, name="scipy.circulant", on=anything, cases=[case((3,)), case((2, 4))])
