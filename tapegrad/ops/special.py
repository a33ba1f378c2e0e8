"""SciPy's special functions: ufuncs whose derivatives are functions of SciPy again, and what does not dispatch there.

SciPy is optional and slow to import, so the rows of its ufuncs are not written until one of them meets a tensor:
`register` does that. Functions of SciPy that are no ufuncs are functions of our own, under the same names and with the
same parameters, shapes and dtypes; `tapegrad.special` names them. Formulas without another source are those of the
Digital Library of Mathematical Functions (DLMF).
"""

from __future__ import annotations

import importlib
import math
import sys
from typing import Any

import numpy as np

from .. import _array
from .._array import device_of, is_array, library, quiet
from .._op import CLASSIFIED, composite, constant, elementwise, general, unary
from .._tensor import OPS, Tensor, detached
from ..errors import UnsupportedError
from ..typing import Array, Axis
from . import _special_on_devices as on_devices
from . import neural
from ._algebra import axes_of, operand, spread
from ._algebra import constant as constant_like
from ._domains import ONE, PAIRS, anything, away_from, case, integers, interval, positive, real
from .arithmetic import WITH_NUMBERS, _power_for_x, _power_for_y
from .neural import _finite, _largest

__all__ = ["companion", "log_softmax", "logsumexp", "multigammaln", "polygamma", "register", "softmax"]

_PI = math.pi
_ROOT_PI = math.sqrt(_PI)
_ROOT_2PI = math.sqrt(2 * _PI)
_DEGREE = _PI / 180

_unit = interval(0.1, 0.9)
_nonzero = away_from(0.0, gap=0.3)
_orders = interval(0.2, 3)
_ORDERED = [case((3,), (3,)), case((2, 1), (3,)), case((), (2, 3)), case((0, 3), (1, 3))]


def companion(x: Array, module: str, name: str) -> Any:
    """Return the function `name` of scipy.`module`, or of cupyx.scipy.`module` for an array on a CUDA device.

    Raises
    ------
    MissingPackageError
        If SciPy is not installed.
    UnsupportedError
        If CuPy does not have the function.
    """
    cupyx = getattr(library(x), "cupyx", None)  # the stand-in brings its own
    found = _array.companion(x, f"scipy.{module}", f"{module}.{name}") if cupyx is None else cupyx.scipy
    function = getattr(found if cupyx is None else getattr(found, module, None), name, None)
    if function is None:
        raise UnsupportedError(f"{module}.{name} does not run on {device_of(x)}; move its arrays there: t.to('cpu')")
    return function


def _special(name: str) -> Any:
    """Return a ufunc of SciPy, which tensors and CuPy's arrays answer to by themselves."""
    return companion(np.empty(0), "special", name)


def register() -> None:
    """Give SciPy's functions their rules, if scipy.special has been imported and they have none yet."""
    sp = sys.modules.get("scipy.special")
    if sp is not None and hasattr(sp, "erf") and sp.erf not in OPS:
        importlib.import_module("tapegrad.ops.scipy_linalg")
        for chapter in (_errors, _logistic, _gamma, _information, _bessel, _integrals, _hypergeometric, _polynomials):
            chapter(sp)
        _functions(sp)


def _named(word, function, *formulas, **options):
    """Write a row under a name that no function of NumPy has.

    SciPy has single and double precision only, and double for numbers of Python. So a result may have another dtype
    than the operands; the leanest recorders, which functions with settings do not get, rely on the contrary.
    """
    return word(function, *formulas, name=f"special.{function.__name__}", free="dtype", **options)


def _paired(*pairs):
    """Return the sum of cotangents times derivatives, which are functions, over those results that were used."""
    return sum(g * derivative() for g, derivative in pairs if g is not None)


def _unary(function, formula, on=real, cases=None):
    return _named(unary, function, formula, on=on, cases=cases)


def _binary(function, for_x, for_y, on=real, cases=None):
    return _named(elementwise, function, for_x, for_y, on=on, cases=cases)


def _as_narrow(value, g):
    """Return `value`, of a function that SciPy has in double precision only, in the dtype of the cotangent `g`."""
    return value.astype(g.dtype, copy=False)


def _unknown(function, argument):
    """Return the formula for an argument by which no derivative is known in terms of other functions."""
    name = function.__name__

    def formula(g):
        raise UnsupportedError(f"{name} has no derivative by its argument {argument} in closed form; detach() it")

    return formula


def _by_second(function, argument, formula, on, cases=()):
    """Write the row of a function whose first argument is an order or a parameter without a derivative."""
    return _named(elementwise, function, _unknown(function, argument), formula, on=on, cases=[*_ORDERED, *cases])


def _on_devices(ufunc, name):
    """Return `ufunc`, whose name in SciPy is a private one, as a function `name` that CuPy's arrays find too."""

    def run(*xs):
        device = next((x for x in xs if is_array(x) and device_of(x) != "cpu"), None)
        return ufunc(*xs) if device is None else companion(device, "special", name)(*xs)

    run.__name__ = name
    return run


def _by_numbers(ufunc, elsewhere):
    """Return `ufunc`, which cupyx lacks, as a function that takes numbers and an array on a device by `elsewhere`."""

    def run(*xs):
        *numbers, x = xs
        there = is_array(x) and device_of(x) != "cpu" and not any(map(is_array, numbers))
        return elsewhere(*numbers, x) if there else ufunc(*xs)

    run.__name__ = ufunc.__name__
    return run


def _answering(ufunc, row):
    """Let `row` run where `ufunc` meets a tensor."""
    OPS[ufunc] = row
    CLASSIFIED[ufunc] = (row.op.kind, "")


def _real_only(x, function):
    if x.dtype.kind == "c":
        raise UnsupportedError(f"{function.__name__} has no rule for complex numbers, where it is not holomorphic")


def _errors(sp):
    """Error functions, normal distributions, Dawson's and Voigt's kin: DLMF 7."""
    bell = 2 / _ROOT_PI
    _unary(sp.erf, lambda g, x: g * (bell * np.exp(-x * x)), on=anything)
    _unary(sp.erfc, lambda g, x: g * (-bell * np.exp(-x * x)), on=anything)
    _unary(sp.erfi, lambda g, x: g * (bell * np.exp(x * x)), on=interval(-2, 2).and_complex())
    _unary(sp.erfinv, lambda g, out: g * (_ROOT_PI / 2 * np.exp(out * out)), on=interval(-0.9, 0.9))
    _unary(sp.erfcinv, lambda g, out: g * (-_ROOT_PI / 2 * np.exp(out * out)), on=interval(0.1, 1.9))
    far = [*ONE, case((3,), on=interval(52, 60))]
    _unary(sp.erfcx, lambda g, x, out: g * _erfcx(x, out, bell), on=real, cases=far)
    _unary(sp.dawsn, lambda g, x, out: g * _dawsn(x, out), on=real, cases=far)
    _unary(sp.wofz, lambda g, x, out: g * (2j / _ROOT_PI - 2 * x * out), on=interval(-2, 2).and_complex())
    _unary(sp.ndtr, lambda g, x: g * (np.exp(-x * x / 2) / _ROOT_2PI), on=real)
    _unary(sp.ndtri, lambda g, out: g * (_ROOT_2PI * np.exp(out * out / 2)), on=_unit)
    _unary(sp.ndtri_exp, lambda g, x, out: g * (_ROOT_2PI * np.exp(out * out / 2 + x)), on=interval(-3, -0.1))

    # The density over the probability, without the difference of their two large logarithms.
    def hazard(x):
        return math.sqrt(2 / _PI) / sp.erfcx(x * (-1 / math.sqrt(2)))

    hazard = _named(unary, hazard, lambda g, x, out: -g * (out * (x + out)), on=real)
    _unary(sp.log_ndtr, lambda g, x: g * hazard(x), on=real)
    _binary(
        sp.owens_t,
        lambda g, x, y: g * (np.exp(-x * x / 2) * sp.erf(x * y / math.sqrt(2)) * (-0.5 / _ROOT_2PI)),
        lambda g, x, y: g * (np.exp(-x * x * (1 + y * y) / 2) / (2 * _PI * (1 + y * y))),
        cases=WITH_NUMBERS,
    )
    _named(
        general,
        sp.fresnel,
        "x",
        "s c",
        lambda gs, gc, x: _paired((gs, lambda: np.sin(_PI / 2 * x * x)), (gc, lambda: np.cos(_PI / 2 * x * x))),
        on=real,
        cases=ONE,
    )


# For large x, where the two terms of the exact formulas cancel, the first terms of the asymptotic series of the
# derivatives: their relative error is below 1e-12 from 50 on.


def _erfcx(x, out, bell):
    far = x > 50
    z = 1 / np.where(far, x, 1) ** 2
    series = -z * (1 - z * (1.5 - z * (3.75 - z * 13.125))) / _ROOT_PI
    return np.where(far, series, 2 * np.where(far, 0, x) * out - bell)


def _dawsn(x, out):
    far = np.abs(x) > 50
    z = 1 / np.where(far, x, 1) ** 2
    series = -z * (0.5 + z * (0.75 + z * (1.875 + z * 6.5625)))
    return np.where(far, series, 1 - 2 * np.where(far, 0, x) * out)


def _gauss(sp):
    """Write the rows of 1F1 and 2F1 by their last argument (DLMF 13.3.15, 15.5.1), and return them for other rules."""

    def integral(a, b, x):
        known = b == a + 1 and a == math.floor(a) and a >= 1
        return on_devices.hyp1f1(int(a), int(b), x) if known else sp.hyp1f1(a, b, x)

    row = _by_numbers(sp.hyp1f1, integral)
    hyp1f1 = _named(
        elementwise,
        row,
        _unknown(sp.hyp1f1, "a"),
        _unknown(sp.hyp1f1, "b"),
        lambda g, a, b, x: g * (a / b * hyp1f1(a + 1, b + 1, x)),
        inputs="a b x",
        on=(integers(1, 4), integers(1, 4), anything),
    )
    _answering(sp.hyp1f1, hyp1f1)

    def elsewhere(a, b, c, z):
        known = a == b and c == math.floor(a) + 1 and (2 * a) % 1 == 0 and a >= 1
        return on_devices.hyp2f1(sp, a, b, c, z) if known else sp.hyp2f1(a, b, c, z)

    hyp2f1 = _named(
        elementwise,
        _by_numbers(sp.hyp2f1, elsewhere),
        _unknown(sp.hyp2f1, "a"),
        _unknown(sp.hyp2f1, "b"),
        _unknown(sp.hyp2f1, "c"),
        lambda g, a, b, c, z: g * (a * b / c * hyp2f1(a + 1, b + 1, c + 1, z)),
        inputs="a b c z",
        on=(integers(1, 4), integers(1, 4), integers(1, 4), interval(-0.7, 0.7)),
        cases=[
            case((3,), (3,), (3,), (3,)),
            case((2, 1), (3,), (), (3,)),
            case((3,), before=(0.5, 1.5, 2.0), on=interval(-0.7, 0.7)),
        ],
    )
    _answering(sp.hyp2f1, hyp2f1)
    return hyp1f1, hyp2f1


def _logistic(sp):
    """The logistic function and its kin, Box and Cox's transforms, degrees."""
    hyp1f1, hyp2f1 = _gauss(sp)
    _unary(sp.expit, lambda g, x, out: g * (out * sp.expit(-x)))
    _unary(sp.log_expit, lambda g, x: g * sp.expit(-x))
    _unary(sp.logit, lambda g, x: g / x / (1 - x), on=_unit)
    _unary(sp.exprel, lambda g, x: g * (hyp1f1(2, 3, x) / 2))
    _unary(sp.exp2, lambda g, out: g * (out * math.log(2)))
    _unary(sp.exp10, lambda g, out: g * (out * math.log(10)), on=interval(-2, 2))
    _unary(sp.expm1, lambda g, x: g * np.exp(x), on=anything)
    _unary(sp.log1p, lambda g, x: g / (1 + x), on=interval(-0.8, 3).and_complex())
    _unary(sp.cbrt, lambda g, out: g / (3 * (out * out)), on=away_from(0.0))
    _unary(sp.cosm1, lambda g, x: -g * np.sin(x))
    _unary(sp.sindg, lambda g, x: g * (_DEGREE * sp.cosdg(x)))
    _unary(sp.cosdg, lambda g, x: g * (-_DEGREE * sp.sindg(x)))
    _unary(sp.tandg, lambda g, out: g * (_DEGREE * (1 + out * out)), on=interval(-60, 60))
    _unary(sp.cotdg, lambda g, out: g * (-_DEGREE * (1 + out * out)), on=interval(20, 160))
    _named(
        elementwise,
        sp.radian,
        lambda g: g * _DEGREE,
        lambda g: g * (_DEGREE / 60),
        lambda g: g * (_DEGREE / 3600),
        inputs="d m s",
        on=real,
    )
    _binary(
        sp.powm1,
        _power_for_x,
        lambda g, x, y, out: _power_for_y(g, x, y, out + 1),
        on=(positive, real),
        cases=[*PAIRS, *(case((2, 3), args=(y,)) for y in (0, 2, 1.5)), case((3,), before=(2.0,))],
    )
    # With e(u) = (exp(u) - 1) / u the transform of x is log(x) e(y log(x)), and e'(u) = 1F1(2; 3; u) / 2.
    _binary(
        sp.boxcox,
        lambda g, x, y: g * x ** (y - 1),
        lambda g, x, y: g * (np.log(x) ** 2 * hyp1f1(2, 3, y * np.log(x)) / 2),
        on=(positive, real),
    )
    _binary(
        sp.boxcox1p,
        lambda g, x, y: g * (1 + x) ** (y - 1),
        lambda g, x, y: g * (np.log1p(x) ** 2 * hyp1f1(2, 3, y * np.log1p(x)) / 2),
        on=(positive, real),
    )
    # The inverse is exp(x l(x y)) with l(u) = log(1 + u) / u, and l'(u) = -2F1(2, 2; 3; -u) / 2.
    _binary(
        sp.inv_boxcox,
        lambda g, x, y, out: g * (out / (1 + x * y)),
        lambda g, x, y, out: g * (out * x * x * _as_narrow(hyp2f1(2, 2, 3, -x * y), g) / -2),
        on=(positive, _unit),
    )
    _binary(
        sp.inv_boxcox1p,
        lambda g, x, y, out: g * ((1 + out) / (1 + x * y)),
        lambda g, x, y, out: g * ((1 + out) * x * x * _as_narrow(hyp2f1(2, 2, 3, -x * y), g) / -2),
        on=(positive, _unit),
    )
    constant(sp.round, sp.gammasgn)


def _gamma(sp):
    """Gamma and beta functions, complete and incomplete: DLMF 5 and 8."""
    zeta = _on_devices(sp._ufuncs._zeta, "zeta")
    zeta = _by_second(zeta, "x", lambda g, x, y: g * (-x * zeta(x + 1, y)), on=(integers(2, 5), positive))
    _answering(sp._ufuncs._zeta, zeta)
    _unary(sp.psi, lambda g, x: g * zeta(2.0, x), on=positive)
    _unary(sp.gamma, lambda g, x, out: g * (out * sp.psi(x)), on=positive)
    _unary(sp.gammaln, lambda g, x: g * sp.psi(x), on=positive)
    _unary(sp.loggamma, lambda g, x: g * sp.psi(x), on=positive)
    _unary(sp.rgamma, lambda g, x, out: g * _rgamma(sp, x, out), on=interval(-2.8, 3))
    _binary(
        sp.beta,
        lambda g, x, y, out: g * (out * (sp.psi(x) - sp.psi(x + y))),
        lambda g, x, y, out: g * (out * (sp.psi(y) - sp.psi(x + y))),
        on=positive,
        cases=[*_ORDERED, case((3,), args=(2.0,))],
    )
    _binary(
        sp.betaln,
        lambda g, x, y: g * (sp.psi(x) - sp.psi(x + y)),
        lambda g, x, y: g * (sp.psi(y) - sp.psi(x + y)),
        on=positive,
        cases=[*_ORDERED, case((3,), args=(2.0,))],
    )
    _binary(
        sp.binom,
        lambda g, x, y, out: g * (out * (sp.psi(x + 1) - sp.psi(x - y + 1))),
        lambda g, x, y, out: g * (out * (sp.psi(x - y + 1) - sp.psi(y + 1))),
        on=(interval(3.2, 5), _orders),
        cases=_ORDERED,
    )
    _binary(
        sp.poch,
        lambda g, x, y, out: g * (out * (sp.psi(x + y) - sp.psi(x))),
        lambda g, x, y, out: g * (out * sp.psi(x + y)),
        on=positive,
        cases=_ORDERED,
    )

    def density(a, x):
        """Return x^(a-1) exp(-x) / Gamma(a)."""
        return np.exp(sp.xlogy(a - 1, x) - x - sp.gammaln(a))

    parameters = (integers(1, 4), positive)
    _by_second(sp.gammainc, "a", lambda g, x, y: g * density(x, y), on=parameters)
    _by_second(sp.gammaincc, "a", lambda g, x, y: -g * density(x, y), on=parameters)
    _by_second(sp.gammaincinv, "a", lambda g, x, out: g / density(x, out), on=(integers(1, 4), _unit))
    _by_second(sp.gammainccinv, "a", lambda g, x, out: -g / density(x, out), on=(integers(1, 4), _unit))
    _by_second(sp.chdtr, "v", lambda g, x, y: g * (density(x / 2, y / 2) / 2), on=parameters)
    _by_second(sp.chdtrc, "v", lambda g, x, y: -g * (density(x / 2, y / 2) / 2), on=parameters)
    _by_second(sp.pdtr, "k", lambda g, x, y: -g * density(np.floor(x) + 1, y), on=parameters)
    _by_second(sp.pdtrc, "k", lambda g, x, y: g * density(np.floor(x) + 1, y), on=parameters)
    _by_second(
        sp.stdtr,
        "df",
        lambda g, x, y: g * np.exp(-(x + 1) / 2 * np.log1p(y * y / x) - sp.betaln(x / 2, 0.5)) / np.sqrt(x),
        on=(integers(1, 4), real),
    )

    def beta_density(a, b, x):
        return np.exp(sp.xlogy(a - 1, x) + sp.xlog1py(b - 1, -x) - sp.betaln(a, b))

    for function, sign in ((sp.betainc, 1), (sp.betaincc, -1)):
        _named(
            elementwise,
            function,
            _unknown(function, "a"),
            _unknown(function, "b"),
            lambda g, a, b, x, sign=sign: g * (sign * beta_density(a, b, x)),
            inputs="a b x",
            on=(integers(1, 4), integers(1, 4), _unit),
        )
    for function, sign in ((sp.betaincinv, 1), (sp.betainccinv, -1)):
        _named(
            elementwise,
            function,
            _unknown(function, "a"),
            _unknown(function, "b"),
            lambda g, a, b, out, sign=sign: g / (sign * beta_density(a, b, out)),
            inputs="a b y",
            on=(integers(1, 4), integers(1, 4), _unit),
        )


def _rgamma(sp, x, out):
    """Return the derivative of 1 / Gamma(x), by reflection for negative x, where poles of two factors meet."""
    left = np.real(x) < 0.5
    if x.dtype.kind == "c":
        # Far from the poles the sine and the cosine would overflow.
        left = left & (np.abs(np.imag(x)) < 1)
    z = np.where(left, x, 0)
    y = 1 - z
    reflected = sp.gamma(y) * (np.cos(_PI * z) - np.sin(_PI * z) / _PI * sp.psi(y))
    return np.where(left, reflected, -out * sp.psi(np.where(left, 1, x)))


def _information(sp):
    """Entropies and divergences, and Huber's losses. Where a factor of a logarithm is 0, so is the product."""
    _binary(
        sp.xlogy,
        lambda g, x, y: g * sp.xlogy(np.ones_like(x) - (x == 0) * (y == 0), y),
        lambda g, x, y: g * (x / (y + (x == 0) * (y == 0))),
        on=(anything, positive.and_complex()),
        cases=[*_ORDERED, case((3,), args=(2.0,)), case((3,), before=(0.5,), on=positive)],
    )
    _binary(
        sp.xlog1py,
        lambda g, x, y: g * sp.xlog1py(np.ones_like(x) - (x == 0) * (y == -1), y),
        lambda g, x, y: g * (x / (1 + y + (x == 0) * (y == -1))),
        on=(anything, positive.and_complex()),
        cases=[*_ORDERED, case((3,), args=(2.0,)), case((3,), before=(0.5,), on=positive)],
    )
    _unary(sp.entr, lambda g, x: -g * (np.log(x) + 1), on=positive)
    _binary(
        sp.rel_entr,
        lambda g, x, y: g * (_log_ratio(g, x, y) + 1),
        lambda g, x, y: -g * (x / (y + _both_zero(g, x, y))),
        on=positive,
        cases=[*_ORDERED, case((3,), args=(2.0,)), case((3,), before=(0.5,))],
    )
    _binary(
        sp.kl_div,
        lambda g, x, y: g * _log_ratio(g, x, y),
        lambda g, x, y: g * (1 - x / (y + _both_zero(g, x, y))),
        on=positive,
        cases=[*_ORDERED, case((3,), args=(2.0,)), case((3,), before=(0.5,))],
    )
    _binary(
        sp.huber,
        lambda g, x, y: g * np.maximum(np.abs(y) - x, 0),
        lambda g, x, y: g * np.clip(y, -x, x),
        on=(interval(0.9, 1.1), away_from(-1, 1, gap=0.15)),
        cases=[*_ORDERED, case((3,), before=(1.0,))],
    )
    _binary(
        sp.pseudo_huber,
        lambda g, x, y: g * _pseudo_huber_by_width(x, y),
        lambda g, x, y: g * (y / np.hypot(1, y / x)),
        on=(positive, real),
        cases=[*_ORDERED, case((3,), before=(1.0,))],
    )


def _both_zero(g, x, y):
    """Return 1 where both `x` and `y`, either of which may be a number of Python, are 0, in the dtype of `g`."""
    return ((x == 0) & (y == 0)).astype(g.dtype)


def _log_ratio(g, x, y):
    """Return log(x / y), and 0 where both are 0."""
    both = _both_zero(g, x, y)
    return np.log(x / (y + both) + both)


def _pseudo_huber_by_width(x, y):
    """Return x (2 (s - 1) - r^2 / s) with r = y / x and s = sqrt(1 + r^2), which is x (s - 1)^2 / s."""
    r = y / x
    s = np.hypot(1, r)
    return x * (r * r / (s + 1)) ** 2 / s


def _bessel(sp):
    """Bessel and Airy functions: DLMF 9 and 10."""

    def of_order(function, formula, domain=positive):
        row = function
        # The orders of these two are whole numbers.
        broken = [] if function.__name__ in ("yn", "kn") else [case((3,), before=(0.7,), on=domain)]
        if function.__name__ in ("jv", "yv", "iv", "kv", "ive", "kve"):
            whole = on_devices.bessel(sp, function.__name__)
            row = _by_numbers(function, lambda v, x: whole(int(v), x) if v == math.floor(v) else function(v, x))
        row = _by_second(row, "v", formula, on=(integers(0, 4), domain), cases=broken)
        _answering(function, row)
        return row

    jv = of_order(sp.jv, lambda g, x, y: g * ((jv(x - 1, y) - jv(x + 1, y)) / 2), positive.and_complex())
    yv = of_order(sp.yv, lambda g, x, y: g * ((yv(x - 1, y) - yv(x + 1, y)) / 2), positive.and_complex())
    iv = of_order(sp.iv, lambda g, x, y: g * ((iv(x - 1, y) + iv(x + 1, y)) / 2), positive.and_complex())
    kv = of_order(sp.kv, lambda g, x, y: g * ((kv(x - 1, y) + kv(x + 1, y)) / -2), positive.and_complex())
    ive = of_order(sp.ive, lambda g, x, y, out: _ive(ive, g, x, y, out))
    kve = of_order(sp.kve, lambda g, x, y, out: g * (out - (kve(x - 1, y) + kve(x + 1, y)) / 2))
    _unary(sp.j0, lambda g, x: -g * sp.j1(x))
    _unary(sp.j1, lambda g, x: g * ((sp.j0(x) - jv(2, x)) / 2))
    _unary(sp.y0, lambda g, x: -g * sp.y1(x), on=positive)
    _unary(sp.y1, lambda g, x: g * ((sp.y0(x) - yv(2, x)) / 2), on=positive)
    _unary(sp.i0, lambda g, x: g * sp.i1(x))
    _unary(sp.i1, lambda g, x: g * ((sp.i0(x) + iv(2, _off_the_smallest(x))) / 2))
    _unary(sp.k0, lambda g, x: -g * sp.k1(x), on=positive)
    _unary(sp.k1, lambda g, x: g * ((sp.k0(x) + kv(2, x)) / -2), on=positive)
    of_order(sp.yn, lambda g, x, y: g * ((sp.yn(x - 1, y) - sp.yn(x + 1, y)) / 2))
    of_order(sp.kn, lambda g, x, y: g * ((kv(x - 1, y) + kv(x + 1, y)) / -2))
    for hankel in (sp.hankel1, sp.hankel2):
        of_order(
            hankel,
            lambda g, x, y, hankel=hankel: g * ((hankel(x - 1, y) - hankel(x + 1, y)) / 2),
            positive.and_complex(),
        )

    # Scaled by exp(-|x|), exp(x), or for complex numbers by exp(-|imag|), which is not holomorphic.
    _unary(sp.i0e, lambda g, x, out: g * (sp.i1e(x) - np.sign(x) * out), on=_nonzero)
    _unary(sp.i1e, lambda g, x, out: g * ((sp.i0e(x) + ive(2, x)) / 2 - np.sign(x) * out), on=_nonzero)
    _unary(sp.k0e, lambda g, x, out: g * (out - sp.k1e(x)), on=positive)
    _unary(sp.k1e, lambda g, x, out: g * (out - (sp.k0e(x) + kve(2, x)) / 2), on=positive)
    of_order(sp.jve, lambda g, x, y: _scaled(sp.jve, g, x, y))
    of_order(sp.yve, lambda g, x, y: _scaled(sp.yve, g, x, y))

    _named(
        general,
        sp.airy,
        "x",
        "a da b db",
        lambda ga, gda, gb, gdb, x, a, da, b, db: _paired(
            (ga, lambda: da), (gda, lambda: x * a), (gb, lambda: db), (gdb, lambda: x * b)
        ),
        on=real,
        cases=ONE,
    )


def _off_the_smallest(x):
    """Return `x`, moved by 1e-290 next to 0, but not at 0: SciPy's iv is nan at the smallest numbers that there are."""
    return x + np.where((np.abs(x) < 1e-300) & (x != 0), 1e-290, np.zeros_like(x))


def _ive(ive, g, x, y, out):
    _real_only(y, ive)
    return g * ((ive(x - 1, y) + ive(x + 1, y)) / 2 - np.sign(y) * out)


def _scaled(function, g, x, y):
    _real_only(y, function)
    return g * ((function(x - 1, y) - function(x + 1, y)) / 2)


def _integrals(sp):
    """Exponential, trigonometric and elliptic integrals, dilogarithm, Lambert's W: DLMF 4, 6, 19, 25."""
    hyp2f1 = OPS[sp.hyp2f1]
    _unary(sp.exp1, lambda g, x: -g * (np.exp(-x) / x), on=positive.and_complex())
    _unary(sp.expi, lambda g, x: g * (np.exp(x) / x), on=_nonzero)
    _by_second(sp.expn, "n", lambda g, x, y, out: -g * _expn_below(sp, x, y, out), on=(integers(0, 4), positive))
    _named(
        general,
        sp.sici,
        "x",
        "s c",
        lambda gs, gc, x: _paired((gs, lambda: np.sinc(x / _PI)), (gc, lambda: np.cos(x) / x)),
        on=positive,
        cases=ONE,
    )
    _named(
        general,
        sp.shichi,
        "x",
        "s c",
        lambda gs, gc, x: _paired((gs, lambda: (sp.exprel(x) + sp.exprel(-x)) / 2), (gc, lambda: np.cosh(x) / x)),
        on=positive,
        cases=ONE,
    )
    _unary(sp.spence, lambda g, x: -g * _as_narrow(hyp2f1(1, 1, 2, 1 - x), g), on=interval(0.2, 1.8))
    _unary(sp.ellipk, lambda g, x: g * (_PI / 8 * _as_narrow(hyp2f1(1.5, 1.5, 2, x), g)), on=_unit)
    _unary(sp.ellipe, lambda g, x: g * (-_PI / 8 * _as_narrow(hyp2f1(0.5, 1.5, 2, x), g)), on=_unit)
    for function, power in ((sp.ellipkinc, -0.5), (sp.ellipeinc, 0.5)):
        _named(
            elementwise,
            function,
            lambda g, x, y, power=power: g * (1 - y * np.sin(x) ** 2) ** power,
            _unknown(function, "m"),
            on=(real, integers(-2, 1)),
            cases=_ORDERED,
        )
    lambertw = _named(
        elementwise,
        _on_devices(sp._ufuncs._lambertw, "lambertw"),
        lambda g, out: g * (np.exp(-out) / (1 + out)),
        None,
        None,
        inputs="z k tol",
        on=(positive.and_complex(), integers(0, 2), real),
        cases=[case((3,), args=(0, 1e-8)), case((3,), (3,), args=(1e-8,)), case((), (3,), args=(1e-8,))],
    )
    _answering(sp._ufuncs._lambertw, lambertw)


def _expn_below(sp, n, x, out):
    """Return E_(n-1)(x): for n = 0, which SciPy does not have, by recurrence."""
    lowest = n < 1
    # SciPy cuts a fraction of n off, with a warning.
    recurrence = (np.exp(-x) - (n - n % 1 - 1) * out) / x
    return np.where(lowest, recurrence, sp.expn(np.maximum(n - 1, 0), x))


def _hypergeometric(sp):
    """Further hypergeometric functions, by their last argument: DLMF 13, 16."""
    _by_second(sp.hyp0f1, "v", lambda g, x, y: g * (sp.hyp0f1(x + 1, y) / x), on=(integers(1, 4), real))
    _named(
        elementwise,
        sp.hyperu,
        _unknown(sp.hyperu, "a"),
        _unknown(sp.hyperu, "b"),
        lambda g, a, b, x: -g * (a * sp.hyperu(a + 1, b + 1, x)),
        inputs="a b x",
        on=(integers(1, 4), integers(1, 4), positive),
    )


def _polynomials(sp):
    """Orthogonal polynomials: DLMF 18.9."""

    def below(n):
        return np.maximum(n - 1, 0)

    def of_degree(function, formula):
        _by_second(function, "n", formula, on=(integers(0, 5), real))

    of_degree(sp.eval_legendre, lambda g, x, y: g * ((x + 1) / 2 * sp.eval_jacobi(x - 1, 1, 1, y)))
    of_degree(sp.eval_chebyt, lambda g, x, y: g * (x * sp.eval_chebyu(x - 1, y)))
    of_degree(sp.eval_chebyu, lambda g, x, y: g * (2 * sp.eval_gegenbauer(x - 1, 2, y)))
    of_degree(sp.eval_hermite, lambda g, x, y: g * (2 * x * sp.eval_hermite(below(x), y)))
    of_degree(sp.eval_hermitenorm, lambda g, x, y: g * (x * sp.eval_hermitenorm(below(x), y)))
    of_degree(sp.eval_laguerre, lambda g, x, y: -g * sp.eval_genlaguerre(x - 1, 1, y))
    for function, formula in (
        (sp.eval_gegenbauer, lambda g, n, a, x: g * (2 * a * sp.eval_gegenbauer(n - 1, a + 1, x))),
        (sp.eval_genlaguerre, lambda g, n, a, x: -g * sp.eval_genlaguerre(n - 1, a + 1, x)),
    ):
        _named(
            elementwise,
            function,
            _unknown(function, "n"),
            _unknown(function, "alpha"),
            formula,
            inputs="n a x",
            on=(integers(0, 5), integers(1, 4), real),
        )
    _named(
        elementwise,
        sp.eval_jacobi,
        _unknown(sp.eval_jacobi, "n"),
        _unknown(sp.eval_jacobi, "alpha"),
        _unknown(sp.eval_jacobi, "beta"),
        lambda g, n, a, b, x: g * ((n + a + b + 1) / 2 * sp.eval_jacobi(n - 1, a + 1, b + 1, x)),
        inputs="n a b x",
        on=(integers(0, 5), integers(1, 4), integers(1, 4), real),
        cases=[
            case((3,), (3,), (3,), (3,)),
            case((2, 1), (3,), (), (3,)),
            case((2, 3), before=(3, 0.5, 1.5), on=real),
        ],
    )


# What is no ufunc in SciPy


def _parts(a: Any, b: Any, axis: Axis) -> tuple[Any, Any, Any, Any]:
    """Return the largest exponents and, all scaled by them, exponentials, weighted exponentials, and their sums.

    Exponents whose weight is 0 do not count. Where the largest is +inf, each of its kind is 1 and the rest is 0; where
    there is none but -inf, the sum is given as 1, so that quotients by it are 0.
    """
    bare, counted = np.real(detached(a)), detached(b) != 0
    largest = _largest(np.where(counted, bare, -math.inf).astype(bare.dtype), axis)
    infinite = bare == math.inf
    with quiet():
        e = np.exp(np.where(infinite, a - bare if a.dtype.kind == "c" else np.zeros_like(bare), a - _finite(largest)))
        weighted = np.where(counted, e, np.zeros_like(detached(e))) * b
        return largest, e, weighted, np.sum(weighted, axis=axis, keepdims=True) + (largest == -math.inf)


def _log_total(a: Array, b: Array, axis: Axis, keepdims: bool, modulus: bool) -> tuple[Array, Array]:
    """Return the logarithms of the sums of `b` times exponentials of `a`, or of their moduli, and their signs."""
    largest, _, _, total = _parts(a, b, axis)
    none = largest == -math.inf
    with quiet():
        out = np.log(np.abs(total) if modulus else total) + largest
    sign = np.sign(total) * np.logical_not(none)
    if not keepdims:
        axes = axes_of(axis, a.ndim)
        out, sign = np.squeeze(out, axes), np.squeeze(sign, axes)
    return out[()], sign[()]


def _share(g: Any, a: Any, b: Any, axis: Axis, keepdims: bool, by_weight: bool) -> Any:
    """Return `g` times the part that each exponential, or each weighted one, has in the sum."""
    _, e, weighted, total = _parts(a, b, axis)
    with quiet():
        return spread(g, a.shape, axis, keepdims) * ((e if by_weight else weighted) / total)


_log_sum = general(
    lambda a, b, axis=None, keepdims=False: _log_total(a, b, axis, keepdims, False)[0],
    "a b",
    "out",
    [
        lambda g, a, b, axis=None, keepdims=False: _share(g, a, b, axis, keepdims, False),
        lambda g, a, b, axis=None, keepdims=False: _share(g, a, b, axis, keepdims, True),
    ],
    name="special.log of a weighted sum",
    on=(anything, positive.and_complex()),
    cases=[case((4,), (4,)), case((2, 3), (2, 3), axis=0), case((2, 3), (2, 3), args=((0, 1), True))],
)


def _modulus_vjp(gout: Any, gsign: Any, a: Any, b: Any, sign: Any, axis: Axis, keepdims: bool, by_weight: bool) -> Any:
    # A change z of the logarithm moves that of the modulus by its real part, and turns the sign, if that is a complex
    # one, by its imaginary part.
    g = gout
    if sign.dtype.kind == "c" and gsign is not None:
        turn = np.imag(gsign * sign) * 1j
        g = turn if g is None else g + turn
    if g is None:
        g = np.zeros_like(detached(sign))
    return _share(g, a, b, axis, keepdims, by_weight)


_log_modulus = general(
    lambda a, b, axis=None, keepdims=False: _log_total(a, b, axis, keepdims, True),
    "a b",
    "out sign",
    [
        lambda gout, gsign, a, b, sign, axis=None, keepdims=False: _modulus_vjp(
            gout, gsign, a, b, sign, axis, keepdims, False
        ),
        lambda gout, gsign, a, b, sign, axis=None, keepdims=False: _modulus_vjp(
            gout, gsign, a, b, sign, axis, keepdims, True
        ),
    ],
    name="special.log of the modulus of a weighted sum",
    on=(anything, away_from(0.0, gap=0.3).and_complex()),
    cases=[case((4,), (4,)), case((2, 3), (2, 3), axis=0), case((2, 3), (2, 3), args=((0, 1), True))],
)


def logsumexp(a: Any, axis: Axis = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    r"""Return the logarithm of a sum of exponentials, without overflow: `scipy.special.logsumexp`.

    .. math:: \log \sum_i b_i e^{a_i}

    The derivative by :math:`a_i` is the part that its term has in the sum, :math:`b_i e^{a_i} / \sum`, and by
    :math:`b_i` it is :math:`e^{a_i} / \sum`. Where all exponents are -inf, all derivatives are 0.

    Parameters
    ----------
    a : exponents, real or complex
    axis : an axis, a tuple of axes, or None for all
    b : weights, which broadcast with `a`; a term whose weight is 0 does not count, even if it is infinite
    keepdims : whether summed axes are kept, with length one
    return_sign : whether to return the logarithm of the sum's modulus, and its sign (for complex numbers, its phase);
        without it, negative sums give NaN

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> a = tg.tensor([1000.0, 1000.0], requires_grad=True)
    >>> y, sign = tg.special.logsumexp(a, b=np.array([1.0, -3.0]), return_sign=True)
    >>> y.detach(), sign
    (tensor(1000.69314718), tensor(-1.))
    >>> y.backward()
    >>> a.grad
    tensor([-0.5,  1.5])
    """
    a = operand(a, b)
    a = a.astype(np.float64) if a.dtype.kind in "biu" else a
    a = np.reshape(a, (1,)) if not a.ndim else a
    if b is None and not return_sign and a.dtype.kind != "c":
        return neural.logsumexp(a, axis, keepdims)
    if type(b) in (bool, int, float, complex) or b is None:
        b = 1 if b is None else b
        b = constant_like(np.asarray(b, np.result_type(a.dtype, b)), detached(a))
    b = operand(b, a)
    dtype = np.result_type(a.dtype, b.dtype)
    a, b = (x if x.dtype == dtype else x.astype(dtype) for x in np.broadcast_arrays(a, b))
    if not return_sign:
        return _log_sum(a, b, axis=axis, keepdims=keepdims)
    out, sign = _log_modulus(a, b, axis=axis, keepdims=keepdims)
    return out, sign.detach() if isinstance(sign, Tensor) and dtype.kind != "c" else sign


def _complex_largest(x: Any, axis: Axis) -> Array:
    """Return NumPy's maxima of complex numbers, 0 for infinite ones: they decide on which branch logarithms are."""
    largest = np.max(detached(x), axis=axis, keepdims=True)
    return np.where(np.isfinite(largest), largest, np.zeros_like(largest))


def softmax(x: Any, axis: Axis = None) -> Any:
    r"""Return exponentials divided by their sum along `axis`, None for all: `scipy.special.softmax`.

    .. math:: e^{x_i} / \sum_j e^{x_j}

    It is `tapegrad.softmax` but for the default of `axis`, and for complex numbers.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.special.softmax(np.array([[1000.0, 1000.0], [-np.inf, 0.0]]))
    array([[0.5, 0.5],
           [0. , 0. ]])
    """
    x = operand(x)
    if x.dtype.kind != "c":
        return neural.softmax(x, axis)
    e = np.exp(x - _complex_largest(x, axis))
    return e / np.sum(e, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Axis = None) -> Any:
    r"""Return the logarithm of `softmax`, accurate where that is tiny: `scipy.special.log_softmax`.

    .. math:: x_i - \log \sum_j e^{x_j}

    It is `tapegrad.log_softmax` but for the default of `axis`, and for complex numbers.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.special.log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    x = operand(x)
    if x.dtype.kind != "c":
        return neural.log_softmax(x, axis)
    d = x - _complex_largest(x, axis)
    return d - np.log(np.sum(np.exp(d), axis=axis, keepdims=True))


def multigammaln(a: Any, d: int) -> Any:
    r"""Return the logarithm of the multivariate gamma function, `scipy.special.multigammaln`.

    .. math:: \log \Gamma_d(a) = \frac{d (d - 1)}{4} \log \pi + \sum_{j=0}^{d-1} \log \Gamma(a - j / 2)

    Parameters
    ----------
    a : real numbers above (d - 1) / 2
    d : the dimension, a positive integer; constant

    The result has the precision of `a`, also where SciPy widens it.

    Raises
    ------
    ValueError
        If `d` is no integer, or some `a` is too small (not checked on a device).
    MissingPackageError
        If SciPy is not installed.

    Examples
    --------
    >>> import tapegrad as tg
    >>> a = tg.tensor(23.5, requires_grad=True)
    >>> y = tg.special.multigammaln(a, 10)
    >>> y.backward()
    >>> round(y.item(), 6), round(a.grad.item(), 6)
    (457.176675, 30.30239)
    """
    gammaln = _special("gammaln")
    a, dimension = operand(a), np.asarray(detached(d))
    if dimension.ndim or dimension != np.floor(dimension):
        raise ValueError("d should be a positive integer (dimension)")
    bare, d = detached(a), int(dimension)
    if device_of(bare) == "cpu" and np.any(bare <= 0.5 * (d - 1)):
        raise ValueError(f"condition a ({bare}) > 0.5 * (d-1) ({0.5 * (d - 1)}) not met")
    steps = constant_like(np.arange(d) * 0.5, bare, bare.dtype if bare.dtype.kind == "f" else np.float64)
    return np.sum(gammaln(a[..., None] - steps), axis=-1) + d * (d - 1) * 0.25 * math.log(_PI)


def polygamma(n: Any, x: Any) -> Any:
    r"""Return the n-th derivative of the digamma function, `scipy.special.polygamma`.

    .. math:: \psi^{(n)}(x) = (-1)^{n+1} n! \, \zeta(n + 1, x)

    Its derivative by `x` is the next one.

    Parameters
    ----------
    n : integers of at least 0; constant
    x : real numbers, whose precision the result has, also where SciPy widens it

    Raises
    ------
    UnsupportedError
        If `n` is a tracked tensor.
    MissingPackageError
        If SciPy is not installed.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> y = tg.special.polygamma(1, x)
    >>> y.detach()
    tensor([0.64493407, 0.39493407])
    >>> y.sum().backward()
    >>> x.grad
    tensor([-0.40411381, -0.15411381])
    """
    psi, gamma, zeta = _special("psi"), _special("gamma"), _special("zeta")
    if isinstance(n, Tensor) and n.requires_grad:
        raise UnsupportedError("polygamma has no derivative by its argument n; detach() it")
    x = operand(x, n)
    n = np.asarray(_array.to_host(detached(n)) if is_array(detached(n)) else n)
    # In double precision, for the one factor is large where the other is small.
    dtype, x = x.dtype if x.dtype.kind == "f" else np.float64, x.astype(np.float64)
    factor = constant_like((-1.0) ** (n + 1) * gamma(n + 1.0), detached(x))
    higher = factor * zeta(constant_like(n + 1.0, detached(x)), x)
    return np.where(constant_like(n == 0, detached(x)), psi(x), higher).astype(dtype)


def _functions(sp):
    """The functions above, beside SciPy's own, whose results may be of double precision where ours are single."""
    composite(
        sp.logsumexp,
        logsumexp,
        name="special.logsumexp",
        on=anything,
        cases=[
            case((4,)),
            case(()),
            case((2, 3), axis=0),
            case((2, 3), args=((0, 1), None, True)),
            case((2, 3, 2), axis=(0, -1), keepdims=True),
            case((2, 3), b=2.0),
            case((2, 3), axis=1, b=np.array([1.0, 0.0, 2.0])),
            case((4,), b=np.array([1.0, -2.0, 3.0, 0.5]), return_sign=True),
            case((2, 3), axis=-1, return_sign=True),
            case((2, 1), axis=1, b=np.array([[2.0, 0.5, 1.0]]), keepdims=True, return_sign=True),
        ],
    )
    for function in (softmax, log_softmax):
        composite(
            getattr(sp, function.__name__),
            function,
            name=f"special.{function.__name__}",
            on=anything,
            cases=[case((4,)), case((2, 3)), case((2, 3), axis=0), case((2, 3, 2), args=((0, 2),))],
        )
    composite(
        lambda a, d: sp.multigammaln(a, d).astype(a.dtype),
        multigammaln,
        name="special.multigammaln",
        on=interval(2.2, 5),
        cases=[case((3,), args=(1,)), case((2, 3), args=(3,)), case((), args=(5,)), case((0,), d=2)],
    )
    composite(
        lambda n, x: sp.polygamma(n, x).astype(x.dtype),
        polygamma,
        name="special.polygamma",
        on=positive,
        cases=[case((3,), before=(1,)), case((2, 3), before=(0,)), case((3,), before=(np.array([[0], [2], [3]]),))],
    )
