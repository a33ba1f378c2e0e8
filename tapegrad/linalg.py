"""Linear algebra under the names of `scipy.linalg`, whose own functions do not take tensors.

Names, parameters, shapes and dtypes are SciPy's, and so are errors. SciPy is imported when a function that needs it is
called; on a CUDA device cupyx serves where it can. Of what NumPy has too, `det`, `inv`, `norm`, `pinv`, `solve` and
`svdvals` are NumPy's; functions whose results differ between the two (`qr`, `eig`, `lstsq` ...) are left to
`numpy.linalg`, which takes tensors as it is.

>>> import numpy as np
>>> import tapegrad as tg
>>> a = tg.tensor([[0.0, 1.0], [-1.0, 0.0]], requires_grad=True)
>>> np.trace(tg.linalg.expm(a)).backward()
>>> a.grad.round(8)
tensor([[ 0.54030231, -0.84147098],
        [ 0.84147098,  0.54030231]])
"""

from numpy.linalg import LinAlgError, det, inv, norm, pinv, solve, svdvals

from .ops.scipy_linalg import (
    block_diag,
    cho_factor,
    cho_solve,
    cholesky,
    circulant,
    coshm,
    cosm,
    expm,
    expm_frechet,
    hankel,
    lu,
    lu_factor,
    lu_solve,
    polar,
    sinhm,
    sinm,
    solve_continuous_lyapunov,
    solve_discrete_lyapunov,
    solve_sylvester,
    solve_triangular,
    sqrtm,
    tanhm,
    tanm,
    toeplitz,
)

__all__ = [
    "LinAlgError",
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "circulant",
    "coshm",
    "cosm",
    "det",
    "expm",
    "expm_frechet",
    "hankel",
    "inv",
    "lu",
    "lu_factor",
    "lu_solve",
    "norm",
    "pinv",
    "polar",
    "sinhm",
    "sinm",
    "solve",
    "solve_continuous_lyapunov",
    "solve_discrete_lyapunov",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "svdvals",
    "tanhm",
    "tanm",
    "toeplitz",
]
