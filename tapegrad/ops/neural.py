"""Functions of neural networks, fused where a benchmark says so.

NumPy has none of these, so they are functions of our own on plain arrays: stable at the extremes, without warnings
where the result is right, and of the argument's own dtype. Integers are taken as float64; float16 is computed in
float32. Times in comments are of NumPy 2.4 on one core with AVX-512.

What the fusing buys, as the time of forward and backward pass over that of the same written with other ops, for float64
arrays of shapes (256, 10) and (64, 50, 64): softmax 0.5, 0.4; log_softmax 0.6, 0.8; cross_entropy 0.8, 0.4;
layer_norm 0.7, 0.55; sigmoid 0.7, 0.45; softplus 0.45, 0.55; gelu by tanh 0.85, 0.55; the logistic loss 0.85, 0.6.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .._array import accumulation_dtype, as_array, device_of, explained, few_ones, is_array, quiet, quietly
from .._mode import MODE
from .._op import binary, composite, elementwise, general, unary
from .._recorders import recorded
from .._tensor import Tensor, detached, wrap
from ..errors import DtypeError, ShapeError
from ..typing import Array, Axis
from ._algebra import blockwise, constant, count, kept_shape, largest_number, operand, spread
from ._domains import away_from, case, integers, interval, real

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "elu",
    "gelu",
    "layer_norm",
    "leaky_relu",
    "log_softmax",
    "logsumexp",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
]


def _floating(x: Any) -> Array:
    """Return `x` as an array of floating point numbers.

    Raises
    ------
    DtypeError
        For complex numbers.
    """
    if not is_array(x):
        x = as_array(x)
    if x.dtype.kind == "c":
        raise DtypeError(
            f"got dtype {x.dtype}, expected real numbers; take real parts or absolute values first "
            "(tapegrad.special has logsumexp, softmax and log_softmax of complex numbers)"
        )
    return x if x.dtype.kind in "fV" else x.astype(np.float64)


def _in_place(x: Array) -> Array | None:
    """Return what a ufunc may write its result into: the temporary `x` itself, unless it is a single number."""
    return x if x.shape else None


# Smooth and piecewise linear steps


def sigmoid(x: Any) -> Any:
    r"""Return the logistic function, elementwise.

    .. math:: \sigma(x) = 1 / (1 + e^{-x})

    Full relative accuracy also where the result is tiny; no overflow.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([-1000.0, 0.0, 1000.0], requires_grad=True)
    >>> tg.sigmoid(x).detach()
    tensor([0. , 0.5, 1. ])
    """
    return _logistic(np.negative(_floating(x)))


def _logistic(e: Array) -> Array:
    """Return 1 / (1 + exp(e)) in the memory of `e`."""
    # Where exp overflows, its inverse is zero to the last bit: the infinity is right, only the warning is not.
    e = quietly(np.exp, e, _in_place(e))
    out = _in_place(e)
    return np.reciprocal(np.add(e, 1, out), out)


# In this order NumPy needs one temporary array instead of two.
sigmoid = unary(sigmoid, blockwise(lambda g, out: (1 - out) * out * g), on=interval(-6, 6))


def relu(x: Any) -> Any:
    r"""Return the positive part, elementwise: :math:`\max(x, 0)`. Its derivative at 0 is 0.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    >>> tg.relu(x).sum().backward()
    >>> x.grad
    tensor([0., 0., 1.])
    """
    if is_array(x) and x.dtype.kind == "c":
        _floating(x)
    return np.maximum(x, 0)


def _where_positive(g: Any, out: Any) -> Any:
    """Return g (out > 0)."""
    h = (out > 0).astype(g.dtype)
    if type(h) is not np.ndarray or type(g) is not np.ndarray:
        return h * g
    # In place, and by numbers instead of booleans, in two thirds of the time.
    return np.multiply(h, g, h)


relu = unary(relu, _where_positive, kink=lambda x: x == 0, on=away_from(0.0))


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    r"""Return `x` where it is positive and `negative_slope * x` elsewhere. Its derivative at 0 is `negative_slope`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.leaky_relu(np.array([-1.0, 2.0]), negative_slope=0.1)
    array([-0.1,  2. ])
    """
    x = _floating(x)
    # Selecting by a mask costs five times as much as an extremum.
    return np.maximum(x, negative_slope * x) if negative_slope <= 1 else np.minimum(x, negative_slope * x)


leaky_relu = elementwise(
    leaky_relu,
    lambda g, x, negative_slope=0.01: g * negative_slope + (1 - negative_slope) * g * (x > 0),
    kink=lambda x, negative_slope=0.01: (x == 0) & (negative_slope != 1),
    on=away_from(0.0),
    cases=[case((2, 3)), case(()), case((0,)), case((4,), args=(0.2,)), case((4,), negative_slope=-0.5)],
)


def elu(x: Any, alpha: float = 1.0) -> Any:
    r"""Return `x` where it is positive and :math:`\alpha (e^x - 1)` elsewhere.

    Its derivative at 0 is that of the exponential branch, `alpha`. Source: Clevert, Unterthiner and Hochreiter, "Fast
    and accurate deep network learning by exponential linear units", 2016.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.elu(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    x = _floating(x)
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


def _elu_vjp(g: Any, x: Any, alpha: float = 1.0) -> Any:
    h = alpha * np.exp(np.minimum(x, 0)) * g
    # What is alpha * exp(0) so far where x is positive must be one there.
    return h if alpha == 1 else h + (1 - alpha) * g * (x > 0)


elu = elementwise(
    elu,
    lambda g, x, alpha=1.0: _elu_vjp(g, x, alpha),
    kink=lambda x, alpha=1.0: (x == 0) & (alpha != 1),
    on=away_from(0.0),
    cases=[case((2, 3)), case(()), case((0,)), case((4,), args=(0.5,)), case((4,), alpha=2.0)],
)


def softplus(x: Any) -> Any:
    r"""Return the smooth positive part, elementwise: :math:`\log(1 + e^x)`, without overflow.

    Computed as :math:`\max(x, 0) + \log(1 + e^{-|x|})`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.softplus(np.array([-1000.0, 0.0, 1000.0]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    x = _floating(x)
    e = np.abs(x)
    e = np.negative(e, out=_in_place(e))
    e = np.exp(e, out=_in_place(e))
    e = np.log1p(e, out=_in_place(e))
    e += np.maximum(x, 0)
    return e


softplus = unary(softplus, blockwise(lambda g, x: sigmoid(x) * g), on=interval(-6, 6))


def silu(x: Any) -> Any:
    r"""Return :math:`x \sigma(x)`, elementwise (also called swish).

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units", Neural Networks 107, 2018.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.silu(np.array([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    s = sigmoid(x)
    s *= x
    return s


def _silu_slope(x: Any) -> Any:
    """Return the derivative of silu: s (1 + x (1 - s))."""
    s = sigmoid(x)
    h = (1 - s) * x
    h += 1
    h *= s
    return h


def _silu_curve(g: Any, x: Any) -> Any:
    s = sigmoid(x)
    return g * s * (1 - s) * (2 + x * (1 - 2 * s))


_silu_slope = unary(_silu_slope, lambda g, x: _silu_curve(g, x), name="silu_slope", on=interval(-6, 6))
silu = unary(silu, blockwise(lambda g, x: _silu_slope(x) * g), on=interval(-6, 6))


# The normal distribution's upper tail is exp(-y**2 / 2) N(y) / D(y) for y >= 0. The coefficients, lowest power first,
# were fitted to erfc in 50 digits by Lawson's iteration for the least maximal relative error on 0 <= y <= 14: 1.5e-16
# for doubles and 6e-9 for singles. All are positive, so that evaluation loses nothing. Beyond 14, where the tail is
# below 1e-44, the error grows to 5e-11 at 37. (Cody's approximations of 1969 are as accurate, but they are three
# formulas and a selection between them, which costs more here than the longer polynomials.)
_TAIL = {
    8: (
        (
            0.5,
            0.6852531535219614,
            0.46608559718569187,
            0.19911309102582292,
            0.057731794902232125,
            0.01157940193486126,
            0.0015697548979254324,
            0.00013219655707517191,
            5.357843454670338e-06,
        ),
        (
            1.0,
            2.168390867846814,
            2.1622967896114913,
            1.3052554927099451,
            0.527466932222419,
            0.14861996630790078,
            0.029356629113324754,
            0.003948221968293801,
            0.00033136763104813936,
            1.3430121864092328e-05,
        ),
    ),
    4: (
        (0.500000003, 0.437287305, 0.182488134, 0.04038122, 0.0040788229),
        (1.0, 1.67245956, 1.19940144, 0.467498317, 0.101227503, 0.0102239644),
    ),
}


def _horner(coefficients: tuple[float, ...], y: Array) -> Array:
    """Return the polynomial with `coefficients`, lowest power first, at the array `y`."""
    p = y * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        p += c
        p *= y
    p += coefficients[0]
    return p


def _normal_tail(x: Array) -> tuple[Array, Array, Array]:
    """Return for an array `x` (not 0-d) |x|, exp(-x**2 / 2), and the normal distribution's tail beyond |x|."""
    y = np.abs(x)
    above, below = _TAIL[4 if x.dtype.itemsize <= 4 else 8]
    tail = _horner(above, y)
    tail /= _horner(below, y)
    e = np.multiply(y, -0.5)
    e *= y
    np.exp(e, out=e)
    tail *= e
    return y, e, tail


def _gelu(x: Any, approximate: str, sloped: bool) -> tuple[Any, Any]:
    """Return `gelu` of `x` and, if asked for, its derivative.

    On the host piece by piece, so that the many temporary arrays stay in the cache.
    """
    x = _floating(x)
    wide = accumulation_dtype(x.dtype)
    if wide is not None:
        out, slope = _gelu(x.astype(wide), approximate, sloped)
        return out.astype(x.dtype), None if slope is None else slope.astype(x.dtype)
    kernel = _gelu_tanh if approximate == "tanh" else _gelu_exact
    flat = np.reshape(x, -1)
    out, slope = np.empty_like(flat), np.empty_like(flat) if sloped else None
    size = flat.size if device_of(flat) != "cpu" else 131072 // flat.dtype.itemsize
    for start in range(0, flat.size, size or 1):
        part = slice(start, start + size)
        kernel(flat[part], out[part], None if slope is None else slope[part])
    return np.reshape(out, x.shape)[()], None if slope is None else np.reshape(slope, x.shape)[()]


def _gelu_exact(x: Array, out: Array, slope: Array | None) -> None:
    """Write into `out` `x` times the distribution function F(x), and into `slope`, if given, the derivative of that."""
    y, e, tail = _normal_tail(x)
    # x F(x) is x - y tail where x = y and -y tail where x = -y.
    np.maximum(x, 0, out=out)
    y *= tail
    out -= y
    if slope is None:
        return
    # F(x) is 1 - tail on the right and tail on the left.
    right = x >= 0
    tail *= 1 - 2 * right.astype(x.dtype)
    tail += right
    e *= x
    e *= 1 / math.sqrt(2 * math.pi)
    np.add(e, tail, out=slope)


_TANH_SCALE = 2 * math.sqrt(2 / math.pi)
_TANH_CUBIC = 0.044715


def _gelu_tanh(x: Array, out: Array, slope: Array | None) -> None:
    """Write into `out` the approximation by tanh, and into `slope`, if given, its derivative."""
    # (1 + tanh(u)) / 2 is sigmoid(2 u), which keeps its relative accuracy on the left.
    square = x * x
    u = square * (-_TANH_SCALE * _TANH_CUBIC)
    u -= _TANH_SCALE
    u *= x
    s = _logistic(u)
    np.multiply(s, x, out=out)
    if slope is None:
        return
    # d/dx x s(u(x)) = s + x s u' (1 - s)
    square *= 3 * _TANH_SCALE * _TANH_CUBIC
    square += _TANH_SCALE
    square *= out
    np.subtract(1, s, out=slope)
    square *= slope
    np.add(square, s, out=slope)


def _gelu_tanh_curve(g: Any, x: Any) -> Any:
    first = _TANH_SCALE * (1 + 3 * _TANH_CUBIC * x * x)
    s = sigmoid(_TANH_SCALE * (x + _TANH_CUBIC * x * x * x))
    return g * s * (1 - s) * (2 * first + x * first * first * (1 - 2 * s) + 6 * _TANH_SCALE * _TANH_CUBIC * x * x)


def _normal_density(x: Any) -> Any:
    return np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def gelu_slope(x: Any, approximate: str = "none") -> Any:
    """Return the derivative of `gelu`, elementwise."""
    return _gelu(x, approximate, True)[1]


gelu_slope = elementwise(
    gelu_slope,
    lambda g, x, approximate="none": (
        _gelu_tanh_curve(g, x) if approximate == "tanh" else g * _normal_density(x) * (2 - x * x)
    ),
    on=interval(-4, 4),
    cases=[case((2, 3)), case(()), case((0,)), case((4,), approximate="tanh")],
)


def smooth_relu(x: Any, approximate: str = "none") -> Any:
    """Return `gelu`, elementwise."""
    return _gelu(x, approximate, False)[0]


def _gelu_vjp(g: Any, x: Any, approximate: str = "none", slope: Any = None) -> Any:
    """Return g times the derivative, which the forward pass may have left: both take two thirds of the time then."""
    return (gelu_slope(x, approximate) if slope is None or isinstance(g, Tensor) else slope) * g


smooth_relu = elementwise(
    smooth_relu,
    _gelu_vjp,
    name="gelu",
    on=interval(-4, 4),
    cases=[case((2, 3)), case(()), case((0,)), case((4,), args=("tanh",)), case((2, 3), approximate="tanh")],
)


def gelu(x: Any, approximate: str = "none") -> Any:
    r"""Return :math:`x \Phi(x)`, elementwise, with the distribution function of the standard normal distribution.

    With `approximate="tanh"`, :math:`x (1 + \tanh(\sqrt{2/\pi} (x + 0.044715 x^3))) / 2`, as PyTorch has it. Both keep
    their relative accuracy far to the left.

    Raises
    ------
    ValueError
        If `approximate` is neither `"none"` nor `"tanh"`.

    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.gelu(np.array([-1.0, 0.0, 1.0]))
    array([-0.15865525,  0.        ,  0.84134475])
    >>> tg.gelu(np.array([-1.0, 0.0, 1.0]), approximate="tanh")
    array([-0.15880801,  0.        ,  0.84119199])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"got approximate={approximate!r}, expected 'none' or 'tanh'")
    if type(x) is not Tensor or x._record is None or MODE.get() is not None or x.dtype.kind not in "fV":
        return smooth_relu(x, approximate)
    out, slope = _gelu(x._array, approximate, True)
    return recorded(smooth_relu.op, out, x._record, (x._array, approximate, slope))


smooth_relu.op.public = gelu


# Exponentials along axes


def _is_last(axis: Axis, ndim: int) -> bool:
    return isinstance(axis, int) and axis in (-1, ndim - 1)


@functools.lru_cache(64)
def _row_starts(size: int, length: int) -> Array:
    return np.arange(0, size, length)


def _largest(x: Array, axis: Axis) -> Array:
    """Return the maxima of `x` along `axis`, kept as axes of length one; -inf for none."""
    shape = kept_shape(x.shape, axis)
    if x.size == 0:
        return np.full_like(x, -math.inf, shape=shape)
    if _is_last(axis, x.ndim) and type(x) is np.ndarray and x.flags.c_contiguous:
        # The same maxima as np.max, which spends 70 ns on each row of 64, this 25 ns.
        return np.reshape(np.maximum.reduceat(np.reshape(x, -1), _row_starts(x.size, x.shape[-1])), shape)
    return np.max(x, axis=axis, keepdims=True)


def _finite(largest: Array) -> Array:
    """Return the largest entries with the most extreme finite numbers in place of infinities."""
    bound = largest_number(largest.dtype)
    return np.minimum(np.maximum(largest, -bound), bound)


def _below(x: Array, shift: Array) -> Array:
    """Return `x` less its largest entries, which are given as finite numbers.

    So infinities are dealt with without a warning: where the largest is +inf, it becomes 0 (each of them, if there are
    several) and the rest the most negative number; where it is -inf, all stay -inf.
    """
    with quiet():  # of a difference beyond the largest number
        d = x - shift
    return np.minimum(d, 0, out=_in_place(d))


def _sums(x: Any, axis: Axis) -> Any:
    """Return the sums of `x` along `axis`, kept as axes of length one."""
    if _is_last(axis, x.ndim) and 0 < x.shape[-1] <= 1024 and x.dtype.itemsize > 2:
        if type(x) is np.ndarray and x.dtype.char in "fd" and x.flags.c_contiguous:
            # As a product with ones, in a fifth of the time of np.sum.
            rows = np.reshape(x, (-1, x.shape[-1])).dot(few_ones(x.shape[-1], x.dtype.char))
            return np.reshape(rows, (*x.shape[:-1], 1))
        return np.einsum("...i->...", x)[..., None]  # a third of the time of np.sum
    return np.sum(x, axis=axis, keepdims=True)


def _sums_of_products(x: Any, y: Any, axis: Axis) -> Any:
    """Return the sums of x * y along `axis`, kept as axes of length one."""
    if _is_last(axis, x.ndim) and x.dtype.itemsize > 2:
        if type(x) is np.ndarray and type(y) is np.ndarray and x.dtype.kind == "f":
            return np.vecdot(x, y)[..., None]
        return np.einsum("...i,...i", x, y)[..., None]
    return np.sum(x * y, axis=axis, keepdims=True)


def _total(e: Array, axis: Axis) -> Array:
    """Return the sums of exponentials along `axis`: at least 1 by the largest entry, and 1 where there is none."""
    return np.maximum(_sums(e, axis), 1)


def _in_single(function: Any, x: Any, *settings: Any) -> Any:
    """Return `function` of `x` as floating point numbers; float16 goes through float32 and back."""
    x = _floating(x)
    wide = accumulation_dtype(x.dtype)
    return function(x, *settings) if wide is None else function(x.astype(wide), *settings).astype(x.dtype)


def _shifted(x: Array, axis: Axis) -> Array:
    """Return `x` less its largest entries along `axis`."""
    largest = _largest(x, axis)
    # To look at few numbers is cheaper than to be ready for infinities among many; a device would have to wait.
    if type(largest) is np.ndarray and 8 * largest.size <= x.size and np.isfinite(largest).all():
        return x - largest
    return _below(x, _finite(largest))


def _softmax(x: Array, axis: Axis) -> Array:
    if _moderate(x):
        # Nothing overflows or vanishes, so nothing is shifted: that takes as long as all the rest.
        e = np.exp(x)
        e /= _sums(e, axis)
        return e
    d = _shifted(x, axis)
    e = np.exp(d, out=_in_place(d))
    e /= _total(e, axis)
    return e


def _moderate(x: Array) -> bool:
    """Return whether `x` is an array on the host whose exponentials are far from the limits of its dtype."""
    if type(x) is not np.ndarray or x.dtype.char not in "fd" or not x.shape or not x.size or not x.flags.c_contiguous:
        return False
    # NaN is not below anything.
    return bool(np.maximum.reduce(x, axis=None) < 40 and np.minimum.reduce(x, axis=None) > -40)


def softmax(x: Any, axis: Axis = -1) -> Any:
    r"""Return exponentials divided by their sum along `axis`, an axis, a tuple of axes, or None for all.

    .. math:: \mathrm{softmax}(x)_i = e^{x_i} / \sum_j e^{x_j}

    Entries of -inf get 0, and so does a slice of nothing else; several entries of +inf share 1.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    return _in_single(_softmax, x, axis)


REDUCED = [
    case((4,)),
    case((2, 3)),
    case((2, 3), axis=0),
    case((2, 3), args=(1,)),
    case((2, 3, 4), axis=-2),
    case((2, 3, 4), axis=(0, 2)),
    case((2, 3), axis=None),
    case((), axis=None),
    case((0, 3)),
    case((3, 0)),
    case((3, 1)),
]

softmax = general(
    softmax,
    "x",
    "out",
    lambda g, out, axis=-1: (g - _sums_of_products(g, out, axis)) * out,
    on=real,
    cases=REDUCED,
)


def _log_softmax(x: Array, axis: Axis) -> Array:
    d = _shifted(x, axis)
    d -= np.log(_total(np.exp(d), axis))
    return d


def log_softmax(x: Any, axis: Axis = -1) -> Any:
    r"""Return the logarithm of `softmax`, :math:`x_i - \log \sum_j e^{x_j}`, accurate where softmax is tiny.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    return _in_single(_log_softmax, x, axis)


log_softmax = general(
    log_softmax,
    "x",
    "out",
    lambda g, out, axis=-1: g - np.exp(out) * _sums(g, axis),
    on=real,
    cases=REDUCED,
)


def _logsumexp(x: Array, axis: Axis, keepdims: bool) -> tuple[Array, Array, Array]:
    """Return the result and, kept as axes of length one, the largest entries and the sums of exponentials."""
    largest = _largest(x, axis)
    shift = _finite(largest)
    d = _below(x, shift)
    total = _total(np.exp(d, out=_in_place(d)), axis)
    out = np.log(total) + largest
    if not keepdims:
        out = np.squeeze(out, tuple(i for i, kept in enumerate(_kept(x.ndim, axis)) if not kept))[()]
    return out, shift, total


def _kept(ndim: int, axis: Axis) -> list[bool]:
    """Return for each axis whether a reduction over `axis` leaves it."""
    return [n == 2 for n in kept_shape((2,) * ndim, axis)]


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    r"""Return :math:`\log \sum_i e^{x_i}` along `axis` (None for all), without overflow.

    Its gradient is `softmax`: zero where all entries are -inf, as is the sum.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([-float("inf"), 0.0, 0.0], requires_grad=True)
    >>> y = tg.logsumexp(x)
    >>> y.backward()
    >>> y.item(), x.grad
    (0.6931471805599453, tensor([0. , 0.5, 0.5]))
    """
    if isinstance(x, Tensor) and x._record is not None:
        return _recorded_logsumexp(x, axis, keepdims)
    return sum_of_exponentials(x, axis, keepdims)


def sum_of_exponentials(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the logarithm of the sum of exponentials: see `logsumexp`, which also leaves its parts to the rule."""
    return _in_single(lambda x: _logsumexp(x, axis, keepdims)[0], x)


def _logsumexp_vjp(
    g: Any, x: Any, axis: Axis = None, keepdims: bool = False, shift: Any = None, total: Any = None
) -> Any:
    """Return g softmax(x). `shift` and `total`, if the forward pass left them, save half the work."""
    g = spread(g, x.shape, axis, keepdims)
    if shift is None or isinstance(g, Tensor) or isinstance(x, Tensor):
        return softmax(x, axis) * g
    h = _below(x, shift)
    h = np.exp(h, out=_in_place(h))
    h /= total
    h *= g
    return h.astype(x.dtype, copy=False)


def _recorded_logsumexp(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    a = _floating(x._array)
    wide = accumulation_dtype(a.dtype)
    settings = {"axis": axis, "keepdims": keepdims}

    def compute() -> Any:
        out, shift, total = _logsumexp(a if wide is None else a.astype(wide), axis, keepdims)
        settings.update(shift=shift, total=total)
        return out.astype(a.dtype, copy=False)

    return sum_of_exponentials.op.play(MODE.get(), (x,), (a,), compute, ((), settings))


sum_of_exponentials = general(
    sum_of_exponentials,
    "x",
    "out",
    _logsumexp_vjp,
    name="logsumexp",
    on=real,
    cases=[
        case((4,)),
        case(()),
        case((2, 3)),
        case((2, 3), axis=0),
        case((2, 3), args=(1, True)),
        case((2, 3, 4), axis=(0, -1)),
        case((2, 3, 4), axis=1, keepdims=True),
        case((2, 3), keepdims=True),
        case((3, 0), axis=0),
    ],
)
sum_of_exponentials.op.public = logsumexp


# Losses


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction == "mean":
        return np.mean(losses)
    return np.sum(losses) if reduction == "sum" else losses


_FEW = 16384
"""Arrays of fewer elements cost calls, not elements."""


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"got reduction={reduction!r}, expected 'mean', 'sum' or 'none'")


@functools.lru_cache(64)
def _counting(n: int, after: int) -> Array:
    """Return the numbers below n along an axis that `after` axes of length one follow."""
    return np.arange(n).reshape((n,) + (1,) * after)


def _picked(labels: Array, axis: int) -> tuple[Any, ...]:
    """Return the index of the entries that `labels` name along `axis` of an array with one axis more."""
    if type(labels) is np.ndarray:
        grid: list[Any] = [_counting(n, labels.ndim - i - 1) for i, n in enumerate(labels.shape)]
    else:
        ones = (1,) * labels.ndim
        grid = [np.reshape(np.arange(n, like=labels), (n, *ones[i + 1 :])) for i, n in enumerate(labels.shape)]
    grid.insert(axis % (labels.ndim + 1), labels)
    return tuple(grid)


def _check_labels(logits: Array, labels: Array, axis: int) -> None:
    shape = logits.shape[: axis % logits.ndim] + logits.shape[axis % logits.ndim + 1 :]
    if labels.shape != shape:
        raise ShapeError(
            f"cross_entropy got labels of shape {labels.shape}, expected {shape}: one class for each set of logits "
            f"along axis {axis} of the shape {logits.shape}, or floating point probabilities of that shape"
        )
    # To look at labels on a device would be to wait for it.
    if labels.size and type(labels) is np.ndarray:
        low, high = np.minimum.reduce(labels, axis=None), np.maximum.reduce(labels, axis=None)
        if low < 0 or high >= logits.shape[axis]:
            raise IndexError(f"cross_entropy got labels from {low} to {high}, expected 0 to {logits.shape[axis] - 1}")


def _label_losses(
    logits: Array, labels: Array, axis: int, reduction: str, label_smoothing: float
) -> tuple[Array, Array, Array]:
    """Return the cross-entropy and, kept as axes of length one, the largest logits and the sums of exponentials."""
    wide = accumulation_dtype(logits.dtype)
    x = logits if wide is None else logits.astype(wide)
    shift = _finite(_largest(x, axis))
    d = _below(x, shift)
    picked = d[_picked(labels, axis)]
    if label_smoothing:
        picked = (1 - label_smoothing) * picked + label_smoothing * np.mean(d, axis=axis)
    total = _total(np.exp(d, out=_in_place(d)), axis)
    losses = np.reshape(np.log(total), labels.shape) - picked
    if reduction != "none":
        losses = np.add.reduce(losses, axis=None)
        losses = losses / labels.size if reduction == "mean" else losses
    return losses.astype(logits.dtype, copy=False), shift, total


def _few_label_losses(x: Array, labels: Array, mean: bool) -> tuple[Array, Array, Array] | None:
    """Return the cross-entropy, the exponentials and their sums, of few rows of finite numbers; None for other numbers.

    In half of the calls that `_label_losses` takes to be ready for infinities.
    """
    n = len(labels)
    with quiet():
        d = x - np.maximum.reduceat(np.reshape(x, -1), _row_starts(x.size, x.shape[1]))[:, None]
        picked = d[_counting(n, 0), labels]
        e = np.exp(d, out=d)
        total = e.dot(few_ones(e.shape[1], e.dtype.char))
        loss = np.add.reduce(np.log(total) - picked)
    if not math.isfinite(loss):
        return None
    return loss / n if mean else loss, e, total[:, None]


def label_cross_entropy(
    logits: Array, labels: Array, axis: int = -1, reduction: str = "mean", label_smoothing: float = 0.0
) -> Array:
    """Return the cross-entropy of classes: see `cross_entropy`, which takes care of the arguments."""
    _check_labels(logits, labels, axis)
    return _label_losses(logits, labels, axis, reduction, label_smoothing)[0]


def _label_cross_entropy_vjp(
    g: Any,
    logits: Any,
    labels: Any,
    axis: int = -1,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    shift: Any = None,
    total: Any = None,
    exponentials: Any = None,
) -> Any:
    """Return g (softmax(logits) - target). What the forward pass left, sums and exponentials, saves half the work."""
    if reduction == "none":
        g = np.expand_dims(g, axis)
    elif reduction == "mean":
        g = g / max(labels.size, 1)
    if total is None or isinstance(g, Tensor) or isinstance(logits, Tensor):
        target = np.full_like(detached(logits), label_smoothing / logits.shape[axis])
        target[_picked(labels, axis)] += 1 - label_smoothing
        return (softmax(logits, axis) - target) * g
    if exponentials is not None:
        h = exponentials / total
        h[_counting(len(h), 0), labels] -= 1
        h *= g
        return h
    h = _below(logits, shift)
    h = np.exp(h, out=h)
    h /= total
    if label_smoothing:
        h -= label_smoothing / logits.shape[axis]
    h[_picked(labels, axis)] -= 1 - label_smoothing
    h *= g
    return h.astype(logits.dtype, copy=False)


label_cross_entropy = general(
    label_cross_entropy,
    "logits labels",
    "out",
    [
        _label_cross_entropy_vjp,
        None,
    ],
    on=(real, integers(0, 3)),
    cases=[
        case((4, 3), (4,)),
        case((3,), ()),
        case((0, 3), (0,), reduction="sum"),
        case((2, 4, 3), (2, 4), reduction="none"),
        case((2, 3, 4), (2, 4), axis=1, reduction="sum"),
        case((4, 3), (4,), label_smoothing=0.1),
        case((3, 4), (4,), axis=0, reduction="none", label_smoothing=0.2),
    ],
)


def cross_entropy(
    logits: Any, labels: Any, axis: int = -1, reduction: str = "mean", label_smoothing: float = 0.0
) -> Any:
    r"""Return the cross-entropy of `softmax(logits)` along `axis` with the classes or probabilities `labels`.

    .. math:: \ell = \log \sum_j e^{x_j} - x_{label}, \qquad \ell = -\sum_j q_j \log \mathrm{softmax}(x)_j

    Parameters
    ----------
    logits : unnormalized log-probabilities, classes along `axis`
    labels : integers, the classes, in the shape of `logits` without `axis`; or floating point numbers, probabilities of
        all classes, in the shape of `logits`
    reduction : `"mean"` or `"sum"` over all sets of logits, or `"none"`
    label_smoothing : the share of each label that is spread over all classes evenly

    Raises
    ------
    ShapeError
        If the shapes do not match.
    IndexError
        If a label is negative, or not below the number of classes (not checked on a device, which would have to wait).

    Examples
    --------
    >>> import tapegrad as tg
    >>> logits = tg.tensor([[2.0, 0.0], [0.0, 0.0]], requires_grad=True)
    >>> loss = tg.cross_entropy(logits, [0, 1])
    >>> loss.backward()
    >>> logits.grad
    tensor([[-0.05960146,  0.05960146],
            [ 0.25      , -0.25      ]])
    """
    _check_reduction(reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"got label_smoothing={label_smoothing}, expected a number between 0 and 1")
    x = logits if isinstance(logits, Tensor) else _floating(logits)
    labels = operand(labels, x)
    if labels.dtype.kind not in "iu":
        return _probability_cross_entropy(x, labels, axis, reduction, label_smoothing)
    labels = detached(labels)
    if type(labels) is not type(detached(x)):
        labels = _beside(labels, x)
    if not isinstance(x, Tensor) or x._record is None:
        x = _floating(detached(x))
        return _like(logits, label_cross_entropy(x, labels, axis, reduction, label_smoothing))
    a = x._array
    if MODE.get() is None and 0 < a.size <= _FEW and not label_smoothing and axis in (-1, 1) and reduction != "none":
        result = _recorded_few(x, a, labels, reduction)
        if result is not None:
            return result
    settings = {"axis": axis, "reduction": reduction, "label_smoothing": label_smoothing}

    def compute() -> Any:
        _check_labels(a, labels, axis)
        out, shift, total = _label_losses(a, labels, axis, reduction, label_smoothing)
        settings.update(shift=shift, total=total)
        return out

    return label_cross_entropy.op.play(MODE.get(), (x, labels), (a, labels), compute, ((), settings))


def _recorded_few(x: Tensor, a: Array, labels: Array, reduction: str) -> Tensor | None:
    """Record the cross-entropy of few logits: their exponentials are kept, where those of many are computed again."""
    if type(a) is not np.ndarray or a.ndim != 2 or a.dtype.itemsize < 4 or not a.flags.c_contiguous:
        return None
    _check_labels(a, labels, -1)
    computed = _few_label_losses(a, labels, reduction == "mean")
    if computed is None:
        return None
    out, e, total = computed
    return recorded(label_cross_entropy.op, out, x._record, (a, labels, -1, reduction, 0.0, None, total, e))


label_cross_entropy.op.public = cross_entropy


def _beside(labels: Any, logits: Any) -> Any:
    """Return labels where the logits are: from the host to a device once, not whenever they index something there."""
    try:
        return constant(labels, logits)
    except TypeError as error:
        raise explained(error, "cross_entropy", (logits, labels)) from None


def _like(x: Any, out: Array) -> Any:
    return wrap(out) if isinstance(x, Tensor) else out


def _probability_cross_entropy(
    logits: Any, probabilities: Any, axis: int, reduction: str, label_smoothing: float
) -> Any:
    if probabilities.shape != logits.shape:
        raise ShapeError(
            f"cross_entropy got probabilities of shape {probabilities.shape}, expected {logits.shape}, that of the "
            "logits; labels that are classes must be integers"
        )
    if label_smoothing:
        probabilities = (1 - label_smoothing) * probabilities + label_smoothing / logits.shape[axis]
    return _reduced(-np.sum(probabilities * log_softmax(logits, axis), axis=axis), reduction)


composite(
    cross_entropy,
    cross_entropy,
    on=(real, interval(0, 1)),
    cases=[
        case((4, 3), (4, 3)),
        case((3,), (3,)),
        case((2, 3, 4), (2, 3, 4), axis=1, reduction="sum"),
        case((4, 3), (4, 3), label_smoothing=0.1, reduction="none"),
    ],
)


def logistic_loss(x: Array, y: Array) -> Array:
    """Return softplus(x) - x y, elementwise: see `binary_cross_entropy_with_logits`."""
    return softplus(x) - x * y


logistic_loss = binary(
    logistic_loss,
    lambda g, x, y: (sigmoid(x) - y) * g,
    lambda g, x: -x * g,
    on=(interval(-6, 6), interval(0, 1)),
)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Any:
    r"""Return the cross-entropy of the probabilities :math:`\sigma(x)` with `targets` between 0 and 1.

    .. math:: \ell = -y \log \sigma(x) - (1 - y) \log \sigma(-x) = \max(x, 0) - x y + \log(1 + e^{-|x|})

    Parameters
    ----------
    logits, targets : of one shape
    reduction : `"mean"` or `"sum"` over all entries, or `"none"`

    Raises
    ------
    ShapeError
        If the shapes differ.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([0.0, 1000.0], requires_grad=True)
    >>> loss = tg.binary_cross_entropy_with_logits(x, [1, 0], reduction="sum")
    >>> loss.backward()
    >>> loss.item(), x.grad
    (1000.6931471805599, tensor([-0.5,  1. ]))
    """
    _check_reduction(reduction)
    x = logits if isinstance(logits, Tensor) else _floating(logits)
    y = operand(targets, x)
    if y.dtype.kind not in "fV":
        y = y.astype(x.dtype)  # classes, as numbers, must not widen float32
    if x.shape != y.shape:
        raise ShapeError(f"got logits of shape {x.shape} and targets of shape {y.shape}, expected one shape")
    return _reduced(logistic_loss(x, y), reduction)


composite(
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits,
    on=(interval(-6, 6), interval(0, 1)),
    cases=[case((4,), (4,)), case((2, 3), (2, 3), reduction="sum"), case((3,), (3,), reduction="none"), case((), ())],
)


# Normalization


def standardize(x: Array, axis: Axis = -1, eps: float = 1e-5) -> tuple[Array, Array]:
    """Return `x` less its mean along `axis`, over its standard deviation; and the inverse of the latter.

    `eps` is added to the variance.
    """
    x = _floating(x)
    wide = accumulation_dtype(x.dtype)
    if wide is not None:
        out, rate = _standardize(x.astype(wide), axis, eps)
        return out.astype(x.dtype), rate.astype(x.dtype)
    return _standardize(x, axis, eps)


def _standardize(x: Array, axis: Axis, eps: float) -> tuple[Array, Array]:
    n = count(x.shape, axis)
    d = x - _sums(x, axis) / n
    rate = _sums_of_products(d, d, axis)
    rate /= n
    rate += eps
    rate = 1 / np.sqrt(rate)
    d *= rate
    return d, rate


def _standardize_vjp(g_out: Any, g_rate: Any, out: Any, rate: Any, axis: Axis = -1) -> Any:
    # With n entries, out = d rate and rate = (d d / n + eps)**(-1/2):
    # d out = rate (t - mean(t) - out (out t) / n), d rate = -rate**2 (out t) / n.
    n = count(out.shape, axis)
    if g_out is None:
        return -out * (g_rate * rate / n) * rate  # in this order, because rate * rate overflows in half precision
    onto = _sums_of_products(g_out, out, axis)
    if g_rate is not None:
        onto = onto + g_rate * rate
    return (g_out - _sums(g_out, axis) / n - out * (onto / n)) * rate


def _rate(result: Any) -> Any:
    return result[1]


standardize = general(
    standardize,
    "x",
    "out rate",
    lambda gout, grate, out, rate, axis=-1: _standardize_vjp(gout, grate, out, rate, axis),
    free="eps",
    on=real,
    cases=[
        case((4,)),
        case((2, 3)),
        case((2, 3), axis=0, eps=0.1),
        case((2, 3, 4), axis=(1, 2)),
        case((2, 3), args=(None, 1e-3)),
        case((0, 3)),
        case((2, 1)),
        case((2, 3), of=_rate),
    ],
)


def scale_and_shift(x: Array, y: Array, z: Array) -> Array:
    """Return x * y + z."""
    out = x * y
    if out.shape and out.dtype == np.result_type(out, z):
        out += z
        return out
    return out + z


def _onto_last(h: Any, shape: Any) -> Any:
    """Return `h` summed to `shape` if that is its last axis, in half of the engine's time; otherwise as it is."""
    if h.ndim > 1 and shape == h.shape[-1:] and h.dtype.itemsize > 2:
        return np.einsum("ij->j", np.reshape(h, (-1, h.shape[-1])))
    return h


def _scale_vjp(g: Any, x: Any, shape: Any) -> Any:
    if g.ndim > 1 and shape == g.shape[-1:] and x.shape == g.shape and g.dtype == x.dtype and g.dtype.itemsize > 2:
        return np.einsum("ij,ij->j", np.reshape(g, (-1, *shape)), np.reshape(x, (-1, *shape)))
    return g * x


scale_and_shift = elementwise(
    scale_and_shift,
    lambda g, y: g * y,
    lambda g, x, y_shape: _scale_vjp(g, x, y_shape),
    lambda g, z_shape: _onto_last(g, z_shape),
    inputs="x y z",
    on=real,
    cases=[
        case((4,), (4,), (4,)),
        case((2, 3), (3,), (3,)),
        case((2, 3), (), (3,)),
        case((2, 3), (2, 1), (2, 1)),
        case((3,), (2, 1), ()),
        case((), (), ()),
    ],
)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, axis: Axis = -1, eps: float = 1e-5) -> Any:
    r"""Return `x` with mean 0 and variance 1 along `axis`, times `weight`, plus `bias`.

    .. math:: y = \frac{x - \mathrm{mean}(x)}{\sqrt{\mathrm{var}(x) + \epsilon}} w + b

    Parameters
    ----------
    x : array
    weight, bias : of shapes that broadcast to that of `x`; None for 1 and 0
    axis : an axis, a tuple of axes, or None for all
    eps : added to the variance

    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.layer_norm(np.array([[1.0, 2.0, 3.0]]), eps=0.0)
    array([[-1.22474487,  0.        ,  1.22474487]])
    """
    out = standardize(x, axis, eps)[0]
    if weight is None:
        return out if bias is None else out + bias
    return out * weight if bias is None else scale_and_shift(out, weight, bias)


composite(
    layer_norm,
    layer_norm,
    on=real,
    cases=[
        case((2, 3), (3,), (3,)),
        case((2, 3), (3,)),
        case((2, 3)),
        case((2, 3, 4), (3, 4), (3, 4), axis=(1, 2)),
        case((2, 3), (2, 1), (2, 1), axis=0, eps=0.1),
    ],
)
