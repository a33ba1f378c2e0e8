"""Complex numbers: parts, conjugates, angles and signs. Cotangents pair with tangents as Re(sum(g t))."""

import numpy as np

from .._op import CLASSIFIED, composite, general, unary
from .._tensor import OPS, detached, wrapped
from ._domains import ONE, anything, case, nonzero
from .arithmetic import over

unary(np.real, lambda g: g, on=anything)
# The imaginary part of real numbers is a constant 0.
unary(np.imag, lambda g, x_dtype: g * (-1j if x_dtype.kind == "c" else 0), on=anything)
unary(np.conjugate, lambda g: np.conj(g), on=anything)


def _angle(z, deg=False):
    a = np.arctan2(np.imag(z), np.real(z))
    return a * (180 / np.pi) if deg else a


composite(np.angle, _angle, on=nonzero, cases=[*ONE, case((3,), args=(True,)), case((3,), deg=True)])


def _real_if_close(a, tol=100):
    return a if np.real_if_close(detached(a), tol).dtype.kind == "c" else np.real(a)


composite(np.real_if_close, _real_if_close, on=anything, cases=[*ONE, case((3,), tol=1e30), case((3,), args=(0,))])

# The sign x / |x| turns a tangent t into (t - out Re(conj(out) t)) / |x|. That is 0 for real numbers, whose signs are
# therefore constants.


def _sign_vjp(g, x, out):
    return over(g - np.conj(out) * np.real(g * out), np.absolute(x))


def _sign_jvp(t, x, out):
    return over(t - out * np.real(t * np.conj(out)), np.absolute(x))


_sign = general(lambda x: np.sign(x), "x", "out", _sign_vjp, _sign_jvp, on=nonzero, cases=ONE, name="sign")


def sign(x):
    """Return the sign of `x`: a constant if it is real."""
    return _sign(x) if x.dtype.kind == "c" else wrapped(np.sign(detached(x)))


OPS[np.sign] = sign
CLASSIFIED[np.sign] = ("general", "")
