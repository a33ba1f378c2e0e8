"""Arithmetic: sums, products, quotients, powers, remainders, extrema, clipping, selection and rounding of arrays."""

import operator

import numpy as np

from .._array import is_array, on_first_device
from .._op import binary, composite, constant, elementwise, unary
from .._recorders import recorder
from .._tensor import OPS, Tensor, assign, detached, wrapped
from ._algebra import blockwise, instead, numpy_since, stored
from ._domains import ONE, PAIRS, anything, away_from, booleans, case, distinct, integers, nonzero, positive, real

_NUMBERS = (int, float, bool, complex)

WITH_NUMBERS = [
    *PAIRS,
    *(case((2, 3), args=(y,)) for y in (2, 0.5)),
    *(case((3,), before=(x,)) for x in (2, -1.5)),
    case((), args=(2.0,)),
]
"""The cases of a binary op that is to be tried with Python numbers too, which formulas see as they are."""


# Three words that the formulas below, and those of other chapters, are made of.


def over(x, y):
    """Return x / y, and where y is 0 return 0, with zero derivatives of every order."""
    return x / (y + (y == 0)) * (y != 0)


_INTEGERS = {2: np.int16, 4: np.int32, 8: np.int64}


_FEW = 1024
"""Up to so many entries, calls take longer than the work in them."""


def only(g, mask):
    """Return `g` where the boolean array `mask` holds and 0 elsewhere, also for infinite `g`."""
    if type(g) is np.ndarray is type(mask) and g.itemsize in _INTEGERS:
        # As np.where, at a third of its price on large arrays, because there is no branch for each element: as
        # integers, infinities and NaN times 0 are 0 too.
        return (g.view(_INTEGERS[g.itemsize]) * mask).view(g.dtype)
    if type(mask) is np.bool_ and isinstance(g, np.generic):
        return g if mask else type(g)(0)
    return np.where(mask, g, 0)


def share(g, first, second):
    """Return the first operand's part of `g`: all where only `first` holds, half where both or none of the two do."""
    h = only(g, first >= second)
    tie = first == second
    if type(h) is np.ndarray:
        # Ties are rare, so that halving in place costs next to nothing.
        return np.multiply(h, 0.5, out=h, where=tie)
    if type(tie) is np.bool_ and isinstance(h, np.generic):
        return h * 0.5 if tie else h
    return np.where(tie, h * 0.5, h)


# Sums, products, quotients

binary(np.add, lambda g: g, lambda g: g, on=anything, cases=WITH_NUMBERS)
binary(np.subtract, lambda g: g, lambda g: -g, on=anything, cases=WITH_NUMBERS)
binary(np.multiply, lambda g, y: g * y, lambda g, x: g * x, on=anything, cases=WITH_NUMBERS)
binary(
    np.divide,
    lambda g, y: g / y,
    blockwise(lambda g, y, out: -g * (out / y)),
    on=(anything, nonzero),
    cases=WITH_NUMBERS,
)
unary(np.negative, lambda g: -g, on=anything)
unary(np.positive, lambda g: g, on=anything)
unary(np.reciprocal, lambda g, out: -g * (out * out), on=nonzero)
unary(np.square, lambda g, x: g * (2 * x), on=anything)


# Powers


def _power_for_x(g, x, y):
    """Return g y x^(y-1), which is 0 for y = 0 even where x^(y-1) is infinite."""
    if type(y) in _NUMBERS:
        return g * (x + x if y == 2 else y * x ** (y - (y != 0)))
    if y.dtype.kind not in "fc":
        y = y.astype(x.dtype)
    return g * (y * (x + (x == 0) * (y == 0)) ** (y - 1))


def _power_for_y(g, x, y, out):
    """Return g x^y log(x), which is 0 at x = 0 if y is not negative."""
    if type(x) in _NUMBERS:
        if x == 0:
            return g * (0 * out)
        # A Python number again, because NumPy's would turn float32 into float64.
        return g * (out * np.log(x + 0j if out.dtype.kind == "c" else x).item())
    if out.dtype.kind == "c" and x.dtype.kind != "c":
        x = x.astype(out.dtype)
    return g * (out * np.log(x + (x == 0) * (np.real(y) >= 0)))


_POWERS = [case((2, 3), args=(y,), on=anything) for y in (0, 1, 2, 3, 2.0)]
_POWERS += [case((3,), args=(y,), on=positive.and_complex()) for y in (-1, -2, 0.5, 1.5)]
_POWERS += [case((3,), before=(2,), on=anything), case((2, 1), before=(0.5,), on=anything)]

binary(
    np.power,
    blockwise(_power_for_x),
    blockwise(_power_for_y),
    on=(positive.and_complex(), anything),
    cases=[*PAIRS, *_POWERS],
)


def _float_power(x, y):
    dtype = np.result_type(x, y, float)
    return np.power(*(a.astype(dtype) if hasattr(a, "astype") else a for a in (x, y)))


composite(np.float_power, _float_power, on=(positive.and_complex(), anything), cases=[*PAIRS, *_POWERS])

# Absolute values and signs: the derivative of |x| at 0 is 0. (np.sign has a derivative for complex numbers only, and
# stands in their chapter.)


def _absolute(g, x, out):
    return g * over(np.conj(x), out) if x.dtype.kind == "c" else _signed(g, x)


def _signed(g, x):
    return g * np.sign(x)


unary(np.absolute, _absolute, kink=lambda x: x == 0, on=nonzero)
unary(np.fabs, _signed, kink=lambda x: x == 0, on=away_from(0.0))
binary(
    np.copysign,
    blockwise(lambda g, x, out: g * (np.sign(x) * np.sign(out))),
    None,
    kink=lambda x: x == 0,
    on=away_from(0.0),
    cases=[*PAIRS, case((3,), args=(-2.0,))],
)
binary(np.nextafter, lambda g: g, None, on=real)
binary(np.heaviside, None, lambda g, x: g * (x == 0), on=(integers(-1, 2), real), cases=PAIRS)

# Remainders: x = q y + out with an integer q, whose derivative is 0. Here q is what NumPy's remainder took it for:
# 9 for 1 and 0.1, while floor(1 / 0.1) is 10.

_DIVISION = {
    "on": (away_from(0.0), away_from(0.0, gap=0.4)),
    "cases": [*PAIRS, case((3,), args=(0.7,)), case((3,), before=(2.5,))],
}

binary(np.remainder, lambda g: g, lambda g, x, y: -g * np.floor_divide(x, y), **_DIVISION)
binary(np.fmod, lambda g: g, lambda g, x, y, out: -g * np.rint((x - out) / y), **_DIVISION)
composite(np.divmod, lambda x, y: (np.floor_divide(x, y), np.remainder(x, y)), **_DIVISION)
constant(np.floor_divide)

# Integer and fractional parts: the former are constant.

_BETWEEN_INTEGERS = away_from(*range(-4, 5), gap=0.05)

constant(np.floor, np.ceil, np.trunc, np.rint, np.round, np.around, np.fix)
_fraction = unary(lambda x: np.modf(x)[0], lambda g: g, on=_BETWEEN_INTEGERS, name="modf's fraction")
composite(np.modf, lambda x: (_fraction(x), np.trunc(x)), on=_BETWEEN_INTEGERS, cases=ONE)


# Powers of two: the exponent is an integer.

binary(
    np.ldexp,
    lambda g, y: np.ldexp(g, y),
    None,
    on=(real, integers(-3, 4)),
    cases=[*PAIRS, case((3,), args=(2,)), case((), args=(-1,))],
)


def _frexp(x):
    exponent = np.frexp(detached(x))[1]
    return np.ldexp(x, -exponent), wrapped(exponent) if isinstance(x, Tensor) else exponent


_BETWEEN_POWERS = away_from(*(sign * 2.0**i for i in range(-4, 3) for sign in (-1, 1)), gap=0.01)

composite(np.frexp, _frexp, on=_BETWEEN_POWERS, cases=ONE)

# Extrema: the operand that wins takes the cotangent, and two that are equal share it. A NaN wins against numbers in
# maximum and minimum, and loses in fmax and fmin.


def _extremum(ufunc, beats, nan_wins):
    def part(g, x, y):
        """Return the part of `x` in the cotangent of the extremum of `x` and `y`."""
        first, second = beats(x, y), beats(y, x)
        # The same in fewer passes where there are neither ties nor NaN; to ask a device would be to wait for it.
        if type(first) is not np.ndarray:
            pass
        elif first.size <= _FEW and type(g) is np.ndarray and g.shape == first.shape:
            # Few booleans are counted fastest as bytes.
            if first.tobytes().count(1) + second.tobytes().count(1) == first.size:
                h = g.copy()
                np.putmask(h, second, 0)
                return h
        elif np.count_nonzero(first) + np.count_nonzero(second) == first.size:
            return only(g, first)
        x_is_nan, y_is_nan = x != x, y != y
        if nan_wins:
            return share(g, first | x_is_nan, second | y_is_nan)
        return share(g, first | y_is_nan, second | x_is_nan)

    binary(
        ufunc,
        blockwise(part),
        blockwise(lambda g, x, y: part(g, y, x)),
        kink=lambda x, y: x == y,
        on=distinct.and_complex(),
        cases=[*PAIRS, case((3,), args=(0.31,)), case((3,), before=(1,))],
    )


_extremum(np.maximum, operator.gt, True)
_extremum(np.minimum, operator.lt, True)
_extremum(np.fmax, operator.gt, False)
_extremum(np.fmin, operator.lt, False)

# Clipping: an entry at a bound still counts as inside. With crossing bounds the upper one gives all values.


def _or_nan(beyond, bound):
    """Return where an entry lies beyond its bound, which is everywhere if the bound is NaN."""
    return beyond if type(bound) in _NUMBERS and bound == bound else beyond | (bound != bound)


def _clip_for_array(g, a, a_min, a_max):
    """Return `g` where `a` lies between the bounds, or is a NaN."""
    if a_min is None or a_max is None:
        if a_min is a_max:
            return g
        outside = _or_nan(a < a_min, a_min) if a_max is None else _or_nan(a > a_max, a_max)
    else:
        outside = _or_nan(a < a_min, a_min) | _or_nan(a > a_max, a_max)
    return only(g, np.logical_not(outside))


def _clip_for_low(g, a, a_min, a_max):
    """Return `g` where the lower bound took over and the upper one did not."""
    below = _or_nan(a < a_min, a_min)
    return only(g, below if a_max is None else below > _or_nan(a_min > a_max, a_max))


def _clip_for_high(g, a, a_min, a_max):
    """Return `g` where the upper bound took over."""
    above = _or_nan(a > a_max, a_max)
    return only(g, above if a_min is None else above | (a_min > a_max))


_clip = elementwise(
    np.clip,
    blockwise(_clip_for_array),
    blockwise(_clip_for_low),
    blockwise(_clip_for_high),
    inputs="a a_min a_max",
    kink=lambda a, a_min, a_max: (
        (a == (np.nan if a_min is None else a_min)) | (a == (np.nan if a_max is None else a_max))
    ),
    on=(away_from(-1, 1), away_from(-1, within=1.2), away_from(1, within=1.2)),
    cases=[
        case((3,), args=(-1, 1)),
        case((2, 3), args=(-1, None)),
        case((2, 3), args=(None, 1)),
        *([case((0,), min=-1, max=1), case((3,), max=1), case((3,), min=-1)] if numpy_since("2.1.0") else []),
        case((2, 3), (3,), (2, 1), on=distinct),
        case((3,), (3,), (3,), on=distinct),
        case((3,), (), (1,), on=distinct),
        case((), (3,), (2, 3), on=distinct),
        case((2, 3), (3,), args=(None,), on=distinct),
        case((0, 3), (1, 3), (3,), on=distinct),
    ],
)


def clip(a, a_min=None, a_max=None, out=None, *, min=None, max=None):
    """Return `a` with the bounds under either of NumPy's two pairs of names."""
    if (min is not None or max is not None) and (a_min is not None or a_max is not None):
        raise ValueError("got both `a_min` or `a_max` and `min` or `max`, expected one pair of names")
    result = _clip(a, a_min if min is None else min, a_max if max is None else max)
    return stored(result, out)


instead(clip, _clip, np.clip)


def _finite(g, x):
    """Return `g` where `x` is finite; real and imaginary parts apart."""
    if x.dtype.kind != "c":
        return only(g, np.isfinite(x))
    return only(np.real(g), np.isfinite(np.real(x))) + 1j * only(np.imag(g), np.isfinite(np.imag(x)))


_nan_to_num = elementwise(
    np.nan_to_num,
    _finite,
    inputs="x",
    free="nan posinf neginf",
    on=anything,
    cases=[case((2, 3)), case(()), case((0,)), case((3,), nan=1.0, posinf=2.0, neginf=-2.0), case((3,), copy=True)],
)


def nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None):
    """Return `x` with numbers for NaN and infinities; without `copy`, as an assignment to the tensor `x`."""
    result = _nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)
    if copy:
        return result
    assign(x, result, ...)
    return x


instead(nan_to_num, _nan_to_num, np.nan_to_num)

# Selection


def _holds(condition):
    """Return a condition, which may be an array of numbers, as booleans."""
    return condition if hasattr(condition, "dtype") and condition.dtype.kind == "b" else np.not_equal(condition, 0)


_where = elementwise(
    np.where,
    None,
    lambda g, condition: only(g, _holds(condition)),
    lambda g, condition: only(g, np.logical_not(condition)),
    inputs="condition x y",
    on=(booleans, anything, anything),
    cases=[
        case((3,), (3,), (3,)),
        case((2, 3), (), (3,)),
        case((3,), (2, 1), ()),
        case((), (2, 3), (3,)),
        case((), (), ()),
        case((2, 1), (3,), (1,)),
        case((0, 3), (3,), (1, 1)),
        case((3,), (3,), args=(0.5,)),
        case((3,), (3,), (3,), on=(integers(-1, 2), anything, anything)),
    ],
)


def where(condition, *branches):
    """Return entries of two branches; with the condition alone, where it holds, which is constant."""
    if not branches:
        return np.nonzero(condition)
    if len(branches) == 1:
        raise ValueError("either both or neither of x and y should be given")
    return _where(condition, *branches)


OPS["where"] = instead(where, _where, np.where)


def _chosen(condition, x, y):
    """Return np.where, of which CuPy has none for bfloat16, and gives float32 then."""
    found = np.where(condition, x, y)
    if type(found) is np.ndarray or found.dtype != np.float32:
        return found
    dtypes = {branch.dtype for branch in (x, y) if is_array(branch)}
    return found.astype(dtypes.pop()) if {dtype.kind for dtype in dtypes} == {"V"} else found


def _mend_where():
    """Let np.where run as CuPy can, once arrays other than NumPy's are there."""
    global _where
    op = _where.op
    op.function = _chosen
    _where = recorder(op)


on_first_device(_mend_where)

# Roots of sums of squares, and logarithms of sums of exponentials

binary(
    np.hypot,
    lambda g, x, out: g * over(x, out),
    lambda g, y, out: g * over(y, out),
    kink=lambda out: out == 0,
    on=away_from(0.0),
    cases=WITH_NUMBERS,
)


def _softmax_part(g, x, y, out, exp):
    """Return g exp(x - out), with halves for two equal infinite operands."""
    infinite = np.isinf(out)
    weighted = g * exp(np.where(infinite, 0, x) - np.where(infinite, 0, out))
    return np.where(infinite, share(g, x == out, y == out), weighted)


binary(
    np.logaddexp,
    blockwise(lambda g, x, y, out: _softmax_part(g, x, y, out, np.exp)),
    blockwise(lambda g, x, y, out: _softmax_part(g, y, x, out, np.exp)),
    on=real,
    cases=WITH_NUMBERS,
)
binary(
    np.logaddexp2,
    blockwise(lambda g, x, y, out: _softmax_part(g, x, y, out, np.exp2)),
    blockwise(lambda g, x, y, out: _softmax_part(g, y, x, out, np.exp2)),
    on=real,
    cases=WITH_NUMBERS,
)
