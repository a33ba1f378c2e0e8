"""What cupyx.scipy.special lacks and derivatives of its functions need: a few families, for whole orders.

Plain arithmetic on arrays of any library: power series near 0, where the recurrences of the Digital Library of
Mathematical Functions (DLMF) would lose digits, and the recurrences elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..typing import Array


def _series(coefficients: list[float], x: Array) -> Array:
    """Return the power series with the given coefficients, lowest power first."""
    total = 0 * x + coefficients[-1]
    for c in coefficients[-2::-1]:
        total = total * x + c
    return total


def _apart(x: Array, limit: float, near: Callable[[Array], Array], far: Callable[[Array], Array]) -> Array:
    """Return `near` of x where |x| is below `limit` and `far` of it elsewhere; neither sees the other's numbers."""
    small = np.abs(x) < limit
    return np.where(small, near(np.where(small, x, limit / 2)), far(np.where(small, limit, x)))


def _climbed(n: int, x: Array, zeroth: Array, first: Array, rise: int, keep: int) -> Array:
    """Return f of order n by f(k + 1) = rise (2k / x) f(k) + keep f(k - 1): DLMF 10.6 and 10.29."""
    below, here = zeroth, first
    if n == 0:
        return below
    for k in range(1, n):
        below, here = here, here * (2 * rise * k / x) + keep * below
    return here


def bessel(sp: Any, name: str) -> Callable[[int, Array], Array]:
    """Return a Bessel function that takes whole orders: jv, yv, iv, kv, or the scaled ones, ive and kve."""
    kind, scaled = name[0], "e" if name.endswith("e") else ""
    zeroth, first = getattr(sp, f"{kind}0{scaled}"), getattr(sp, f"{kind}1{scaled}")
    rise, keep = {"j": (1, -1), "y": (1, -1), "k": (1, 1), "i": (-1, 1)}[kind]

    def climbed(n: int, x: Array) -> Array:
        return _climbed(n, x, zeroth(x), first(x), rise, keep)

    def small(n: int, x: Array) -> Array:
        # DLMF 10.2.2 and 10.25.2
        sign = -1 if kind == "j" else 1
        terms = [sign**k / (math.factorial(k) * math.factorial(n + k)) for k in range(30)]
        total = _series(terms, x * x / 4) * (x / 2) ** n
        return total * np.exp(-np.abs(x)) if scaled else total

    def run(v: int, x: Array) -> Array:
        n = abs(int(v))
        if kind in "yk":
            found = climbed(n, x)
        else:
            found = _apart(x, 4.0 if kind == "j" else 8.0, lambda y: small(n, y), lambda y: climbed(n, y))
        return -found if v < 0 and n % 2 and kind in "jy" else found

    return run


def hyp1f1(a: int, b: int, x: Array) -> Array:
    """Return 1F1(a; a + 1; x), which is a times the integral of t^(a - 1) exp(x t) over 0 < t < 1."""

    def far(x: Array) -> Array:
        found = np.expm1(x) / x
        for m in range(1, a):
            found = (np.exp(x) - m * found) / x
        return a * found

    terms = [a / (math.factorial(k) * (k + a)) for k in range(40)]
    return _apart(x, 2.0 + a, lambda y: _series(terms, y), far)


def hyp2f1(sp: Any, a: float, b: float, c: float, z: Array) -> Array:
    """Return 2F1(n, n; n + 1; z), the integral of n (t / (1 - z t))^n / t, or 2F1(n + 1/2, n + 1/2; n + 1; z)."""
    terms, term = [], 1.0
    for k in range(60):
        terms.append(term)
        term *= (a + k) * (b + k) / ((c + k) * (k + 1))
    far = _of_logarithms if a == int(a) else _of_ellipk
    return _apart(z, 0.5, lambda y: _series(terms, y), lambda y: far(sp, int(c) - 1, y))


def _of_logarithms(sp: Any, n: int, z: Array) -> Array:
    found = -np.log1p(-z) / z
    for m in range(1, n):
        found = ((1 - z) ** -m / m - found) / z
    return n * found


def _of_ellipk(sp: Any, n: int, m: Array) -> Array:
    """Return the n-th derivative of the complete elliptic integral K over its value at 0: DLMF 19.4.1, 19.4.8."""
    k = sp.ellipk(m)
    below, here = k, (sp.ellipeinc(math.pi / 2, m) / (1 - m) - k) / (2 * m)
    scale = math.pi / 8
    if n == 0:
        return below * (2 / math.pi)
    for i in range(n - 1):
        below, here = here, ((i + 0.5) ** 2 * below - (i + 1) * (1 - 2 * m) * here) / (m * (1 - m))
        scale *= (i + 1.5) ** 2 / (i + 2)
    return here / scale
