"""Functions that are only combinations of ops, and fit in no other chapter: first of all, the methods of ufuncs."""

import itertools
import math

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .._array import device_of, is_array, zeros
from .._op import CLASSIFIED, composite, elementwise, general, linear
from .._tensor import OPS, Tensor, assign, detached, wrapped
from ..errors import UnsupportedError
from ._algebra import along, axes_of, constant, instead, kept_shape, operand, stored, unbroadcast
from ._domains import Domain, anything, case, distinct, nonzero, positive, real, symmetric
from .arithmetic import over
from .indexing import getitem, ungetitem

# Methods of ufuncs. Those that are reductions and scans with rows stand in their chapter; every other ufunc of two
# operands is applied step by step, as its method does.


def _method(ufunc, name, run):
    """Let `run` run in place of the method `name` of `ufunc`."""
    OPS[ufunc, name] = run
    CLASSIFIED[ufunc, name] = ("composite", "")


def _settings(**settings):
    """Return those settings that were given."""
    return {name: value for name, value in settings.items() if value is not None}


def _step_by_step(ufunc):
    """Return the method `reduce` of any ufunc of two operands."""

    def reduce(array, axis=0, dtype=None, out=None, keepdims=False, initial=None, where=True):
        array = operand(array)
        if dtype is not None:
            array = array.astype(dtype)
        given = _settings(initial=initial) | ({} if where is True else {"where": np.True_})
        dtype = ufunc.reduce(_small(array), axis=axis, **given).dtype
        shape = array.shape
        mask = None if where is True else np.broadcast_to(constant(where, array), shape)
        axes = axes_of(axis, array.ndim)
        for a in reversed(axes):
            start = initial if a == axes[0] and initial is not None else None if mask is None else ufunc.identity
            array = _fold(ufunc, array, a, start, mask)
            mask = None
        return stored((array.reshape(kept_shape(shape, axis)) if keepdims else array).astype(dtype), out)

    return reduce


def _fold(ufunc, array, axis, start, mask):
    """Return the ufunc of the entries along `axis`, one after another, from `start` on; without those not in `mask`."""
    steps = [array[along(axis, i)] for i in range(array.shape[axis])]
    if start is None and steps:
        total, *steps = steps
    else:
        shape = array.shape[:axis] + array.shape[axis + 1 :]
        total = zeros(shape, array.dtype, detached(array)) + (ufunc.identity if start is None else start)
    for i, x in enumerate(steps):
        step = ufunc(total, x)
        total = step if mask is None else np.where(mask[along(axis, i)], step, total)
    return total


def _small(array):
    """Return a small array like `array`, of which NumPy says whether it takes the arguments and what dtype it gives."""
    return np.ones([min(n, 1) for n in array.shape], array.dtype)


def _partial_results(ufunc):
    """Return the method `accumulate` of any ufunc of two operands."""

    def accumulate(array, axis=0, dtype=None, out=None):
        array = operand(array)
        if dtype is not None:
            array = array.astype(dtype)
        dtype = ufunc.accumulate(_small(array), axis=axis).dtype
        (a,) = axes_of(axis, array.ndim)
        steps = [array[along(a, i)] for i in range(array.shape[a])]
        results = list(itertools.accumulate(steps, ufunc))
        return stored((np.stack(results, axis=a) if results else array).astype(dtype), out)

    return accumulate


for _ufunc in (
    np.subtract, np.divide, np.power, np.float_power, np.remainder, np.fmod, np.hypot, np.arctan2, np.copysign,
    np.logaddexp, np.logaddexp2, np.nextafter,
):  # fmt: skip
    _method(_ufunc, "reduce", _step_by_step(_ufunc))
    _method(_ufunc, "accumulate", _partial_results(_ufunc))


# Extrema of all entries but nan: those of the entries with infinities for nan, unless there are no others.


def _without_nan(ufunc, extremum, worst):
    def reduce(array, axis=0, dtype=None, out=None, keepdims=False, initial=None, where=True):
        x = operand(array) if dtype is None else operand(array).astype(dtype)
        ufunc.reduce(_small(x), axis=axis)
        taken = np.logical_not(np.isnan(detached(x)))
        if where is not True:
            taken = np.logical_and(taken, constant(where, x))
        start = worst if initial is None else initial
        found = OPS[extremum, "reduce"](np.where(taken, x, worst), axis=axis, keepdims=keepdims, initial=start)
        if initial is None:
            found = np.where(np.any(taken, axis=axis, keepdims=keepdims), found, math.nan)
        return stored(found, out)

    def accumulate(array, axis=0, dtype=None, out=None):
        x = operand(array) if dtype is None else operand(array).astype(dtype)
        ufunc.accumulate(_small(x), axis=axis)
        taken = np.logical_not(np.isnan(detached(x)))
        found = OPS[extremum, "accumulate"](np.where(taken, x, worst), axis=axis)
        return stored(np.where(np.cumsum(taken, axis=axis) > 0, found, math.nan), out)

    return reduce, accumulate


for _skipping, _extremum, _worst in ((np.fmax, np.maximum, -math.inf), (np.fmin, np.minimum, math.inf)):
    for _name, _run in zip(("reduce", "accumulate"), _without_nan(_skipping, _extremum, _worst), strict=True):
        _method(_skipping, _name, _run)


def _at(ufunc):
    """Return the method `at`, which adds once for every time an entry is named, as an assignment to a tensor."""

    def at(a, indices, b):
        if not isinstance(a, Tensor):
            raise UnsupportedError(
                f"got a plain array for {ufunc.__name__}.at to write the values of a tensor into, where their gradient "
                "would be lost; give a tensor"
            )
        shape = getitem(a.detach(), indices).shape
        assign(a, ufunc(a, ungetitem(np.broadcast_to(b, shape).astype(a.dtype), a.shape, indices)), ...)

    return at


_method(np.add, "at", _at(np.add))
_method(np.subtract, "at", _at(np.subtract))


# Numbers between two ends, which may be tracked


def _weights(g, num, endpoint, axis):
    """Return the weights of the upper end, in the place and kind of the numbers that `g` belongs to."""
    shape = [-1 if i == axis % g.ndim else 1 for i in range(g.ndim)]
    return constant(np.linspace(0.0, 1.0, num, endpoint=endpoint).reshape(shape), g, np.real(detached(g)).dtype)


def _to_start(g, start_shape, num=50, endpoint=True, axis=0):
    return unbroadcast(np.sum(g * (1 - _weights(g, num, endpoint, axis)), axis=axis), start_shape)


def _to_stop(g, stop_shape, num=50, endpoint=True, axis=0):
    return unbroadcast(np.sum(g * _weights(g, num, endpoint, axis), axis=axis), stop_shape)


_spaced = linear(
    np.linspace,
    _to_start,
    _to_stop,
    inputs="start stop",
    free="dtype",
    on=anything,
    cases=[
        case((), ()),
        case((), (), args=(5,)),
        case((2,), (2,), num=4, axis=1),
        case((3, 1), (2,), num=3, axis=-1),
        case((2,), (), num=4, endpoint=False),
        case((), (3,), args=(1,)),
        case((2,), (2,), num=0),
        case((), (), num=3, dtype="complex128"),
    ],
)


def _arrays(*ends):
    """Return the ends as arrays and tensors, numbers of Python in the dtype that they would take beside the others."""
    dtype = np.result_type(*(end if isinstance(end, (int, float, complex)) else operand(end) for end in ends))
    return [operand(dtype.type(end) if type(end) in (int, float, complex) else end) for end in ends]


def _linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0, *, device=None):
    if dtype is not None and np.dtype(dtype).kind in "biu":
        # Rounded down, so constant.
        return wrapped(np.linspace(detached(start), detached(stop), num, endpoint, retstep, dtype, axis))
    start, stop = _arrays(start, stop)
    numbers = _spaced(start, stop, num, endpoint=endpoint, dtype=dtype, axis=axis)
    if not retstep:
        return numbers
    steps = num - 1 if endpoint else num
    return numbers, (stop - start) / steps if steps > 0 else wrapped(np.asarray(math.nan))


instead(_linspace, _spaced, np.linspace)


def _logspace(start, stop, num=50, endpoint=True, base=10.0, dtype=None, axis=0):
    ndim = max(np.ndim(start), np.ndim(stop), np.ndim(base))
    start, stop = (a.reshape((1,) * (ndim - a.ndim) + a.shape) for a in _arrays(start, stop))
    exponents = np.linspace(start, stop, num, endpoint=endpoint, axis=axis)
    if np.ndim(base):
        base = operand(base)
        base = np.expand_dims(base.reshape((1,) * (ndim - base.ndim) + base.shape), axis)
    numbers = np.power(base, exponents)
    return numbers if dtype is None else numbers.astype(dtype)


_RANGES = [
    case((), ()),
    case((2,), (2,), num=4, axis=1),
    case((3, 1), (2,), num=3, axis=-1),
    case((2,), (), num=4, endpoint=False),
    case((), (), num=3, dtype="complex128"),
]

composite(np.logspace, _logspace, on=real, cases=[*_RANGES, case((), (2,), num=3, base=2.0)])


def _geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    start, stop = _arrays(start, stop)
    if np.any(start == 0) or np.any(stop == 0):
        raise ValueError("Geometric sequence cannot include zero")
    dt = np.result_type(start, stop, np.zeros((), dtype))
    start, stop = start.astype(dt), stop.astype(dt)
    # Turned to positive numbers, and back again.
    sign = np.sign(start)
    numbers = np.logspace(np.log10(start / sign), np.log10(stop / sign), num, endpoint) * sign
    return np.moveaxis(numbers, 0, axis).astype(dt if dtype is None else dtype)


composite(np.geomspace, _geomspace, on=positive.and_complex(), cases=_RANGES)

# Interpolation and phases


def _interp(x, xp, fp, left=None, right=None, period=None):
    x, xp, fp = operand(x), operand(xp), operand(fp)
    # NumPy checks the arguments, and computes in double precision.
    np.interp(0.0, np.ones(xp.shape), np.ones(fp.shape), period=period)
    x, xp, fp = x.astype(float), xp.astype(float), fp.astype(np.result_type(fp, float))
    if period is not None:
        period, left, right = abs(period), None, None
        x, xp = x % period, xp % period
        order = np.argsort(detached(xp))
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    last = xp.shape[0] - 1
    # A number that is one of xp counts to the interval on its right.
    above = np.searchsorted(detached(xp), detached(x), side="right")
    low = np.clip(above - 1, 0, max(last - 1, 0))
    high = np.minimum(low + 1, last)
    width = xp[high] - xp[low]
    # Infinite numbers lie outside, and would make a nan of an even slope.
    inside = np.clip(x, detached(xp[0]), detached(xp[-1]))
    y = over(fp[high] - fp[low], width) * (inside - xp[low]) + fp[low]
    y = np.where(x < xp[0], fp[0] if left is None else left, y)
    return np.where(x > xp[-1], fp[-1] if right is None else right, y)


_increasing = Domain("increasing", lambda rng, shape: np.sort(distinct.draw(rng, shape)))

composite(
    np.interp,
    _interp,
    on=(real, _increasing, anything),
    cases=[
        case((5,), (6,), (6,)),
        case((2, 3), (4,), (4,), left=-1.0, right=2.0),
        case((), (3,), (3,)),
        case((4,), (1,), (1,)),
        case((5,), (4,), (4,), period=2.5),
        case((0,), (3,), (3,)),
    ],
)

elementwise(
    np.unwrap,
    lambda g: g,
    inputs="p",
    free="discont axis period",
    on=real,
    cases=[case((6,)), case((2, 5), axis=0), case((4,), discont=4.0), case((5,), period=1.5)],
)

# Functions that call a function of the user


def _apply_along_axis(func1d, axis, arr, *args, **kwargs):
    arr = operand(arr)
    (axis,) = axes_of(normalize_axis_index(axis, arr.ndim), arr.ndim)
    lines = np.moveaxis(arr, axis, -1)
    outer = lines.shape[:-1]
    if 0 in outer:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    results = np.stack([operand(func1d(lines[index], *args, **kwargs), arr) for index in np.ndindex(outer)])
    inner = results.shape[1:]
    places = range(len(outer), len(outer) + len(inner))
    return np.moveaxis(results.reshape(outer + inner), list(places), [axis + i for i in range(len(inner))])


composite(
    np.apply_along_axis,
    _apply_along_axis,
    on=real,
    cases=[
        case((2, 3), before=(np.cumprod, 0)),
        case((2, 3), before=(np.sum, -1)),
        case((2, 2, 3), before=(np.outer, 1), args=(np.array([1.0, 2.0]),)),
        case((3,), before=(np.sinc, 0)),
    ],
)


def _apply_over_axes(func, a, axes):
    result = operand(a)
    ndim = result.ndim
    for axis in np.atleast_1d(axes):
        axis = int(axis) + ndim if axis < 0 else int(axis)
        reduced = func(result, axis)
        if reduced.ndim != ndim:
            reduced = np.expand_dims(reduced, axis)
        if reduced.ndim != ndim:
            raise ValueError("function is not returning an array of the correct shape")
        result = reduced
    return result


composite(
    np.apply_over_axes,
    _apply_over_axes,
    on=real,
    cases=[case((2, 3, 2), before=(np.sum,), args=([0, -1],)), case((2, 3), before=(np.cumsum,), args=(1,))],
)

# Sets: every value stands for all entries that equal it, and its cotangent is divided evenly among them.


def _share_with_equals(g, x_shape, inverse, axis):
    counts = np.bincount(inverse, minlength=g.shape[axis]).reshape([-1 if i == axis else 1 for i in range(g.ndim)])
    return getitem(g / constant(counts, g, np.real(detached(g)).dtype), along(axis, inverse))


_representatives = general(
    lambda x, first, inverse, axis: x[along(axis, first)],
    "x",
    "out",
    _share_with_equals,
    free="first",
    name="representatives",
    on=distinct,
    cases=[case((3,), args=(np.array([2, 0, 1]), np.array([1, 2, 0]), 0))],
)


def _beside(values, array):
    """Return the constant `array` as a tensor if `values` are one."""
    return wrapped(array) if isinstance(values, Tensor) else array


def _unique(
    ar,
    return_index=False,
    return_inverse=False,
    return_counts=False,
    axis=None,
    *,
    equal_nan=True,
    sorted=True,
):
    ar = operand(ar)
    _, first, inverse, counts = np.unique(detached(ar), True, True, True, axis, equal_nan=equal_nan)
    flat, place = (ar.reshape(-1), 0) if axis is None else (ar, normalize_axis_index(axis, ar.ndim))
    values = _representatives(flat, first, inverse.reshape(-1), place)
    others = [(first, return_index), (inverse, return_inverse), (counts, return_counts)]
    others = [_beside(values, array) for array, asked in others if asked]
    return (values, *others) if others else values


composite(
    np.unique,
    _unique,
    on=distinct,
    cases=[case((4,)), case((2, 3)), case((3, 2), axis=0), case((2, 3), axis=-1), case((0,))],
)
composite(np.unique_values, lambda x: _unique(x, equal_nan=False), on=distinct, cases=[case((2, 3))])


def _named_unique(function, *asked):
    def run(x):
        values, *others = _unique(x, *asked, equal_nan=False)
        return type(function(np.zeros(1)))(values, *others)

    composite(function, run, on=distinct, cases=[case((2, 3))])


_named_unique(np.unique_all, True, True, True)
_named_unique(np.unique_inverse, False, True)
_named_unique(np.unique_counts, False, False, True)


def _single(ar, assume_unique):
    ar = operand(ar).reshape(-1)
    return ar if assume_unique else _unique(ar)


def _union1d(ar1, ar2):
    return _unique(np.concatenate([operand(ar1).reshape(-1), operand(ar2).reshape(-1)]))


def _intersect1d(ar1, ar2, assume_unique=False, return_indices=False):
    ar1, ar2 = operand(ar1, ar2), operand(ar2, ar1)
    _, *places = np.intersect1d(detached(ar1), detached(ar2), assume_unique, return_indices=True)
    _, *singles = np.intersect1d(*(detached(_single(a, assume_unique)) for a in (ar1, ar2)), True, return_indices=True)
    x, y = (_single(a, assume_unique)[i] for a, i in zip((ar1, ar2), singles, strict=True))
    values = x * 0.5 + y * 0.5
    return (values, *(_beside(values, array) for array in places)) if return_indices else values


def _setdiff1d(ar1, ar2, assume_unique=False):
    x = _single(ar1, assume_unique)
    return x[np.isin(detached(x), detached(ar2), assume_unique=True, invert=True)]


def _setxor1d(ar1, ar2, assume_unique=False):
    x = np.concatenate([_single(ar1, assume_unique), _single(ar2, assume_unique)])
    x = x[np.argsort(detached(x), kind="stable")]
    values = detached(x)
    end = np.ones_like(values, dtype=bool, shape=1)
    new = np.concatenate([end, values[1:] != values[:-1], end]) if values.size else end
    return x[new[1:] & new[:-1]]


composite(np.union1d, _union1d, on=distinct, cases=[case((4,), (2, 3)), case((0,), (3,))])
composite(np.intersect1d, _intersect1d, on=distinct, cases=[case((4,), args=([0.5, 1.0],))])
composite(np.setdiff1d, _setdiff1d, on=distinct, cases=[case((4,), (2, 3)), case((4,), (3,), assume_unique=True)])
composite(np.setxor1d, _setxor1d, on=distinct, cases=[case((4,), (2, 3)), case((4,), (3,), assume_unique=True)])


def _sort_complex(a):
    a = operand(a)
    small = a.dtype.kind == "c" or a.dtype.char in "bhBH"
    return np.sort(a).astype(np.result_type(a.dtype, np.complex64) if small else np.complex128)


composite(np.sort_complex, _sort_complex, on=distinct.and_complex(), cases=[case((4,)), case((2, 3))])

# Polynomials, as arrays of their coefficients, the highest power first


def _together(*arrays):
    """Return tensors and arrays as they are, and sequences and numbers as arrays where the first of those is."""
    like = next((a for a in arrays if isinstance(a, Tensor) or is_array(a)), None)
    return [operand(a, like) for a in arrays]


def _coefficients(*arrays):
    return [np.atleast_1d(a) for a in _together(*arrays)]


def _as_by_numpy(function, run):
    """Return `run`, which lets NumPy's function complain first of coefficients that form no sequence, or none."""

    def checked(*args, **settings):
        arrays = [detached(a) for a in args]
        if any(np.ndim(a) != 1 or np.size(a) == 0 for a in arrays) and all(device_of(a) == "cpu" for a in arrays):
            function(*arrays, **settings)
        return run(*args, **settings)

    return checked


def _without_leading_zeros(p):
    nonzero = np.flatnonzero(detached(p))
    return p[int(nonzero[0]) :] if nonzero.size else p[:0]


def _polyval(p, x):
    p, x = _together(p, x)
    y = np.zeros_like(x)
    for coefficient in p:
        y = y * x + coefficient
    return y


def _padded(p, n):
    return np.concatenate([np.zeros_like(detached(p), shape=n - p.shape[0]), p]) if n > p.shape[0] else p


def _polyadd(a1, a2):
    a1, a2 = _coefficients(a1, a2)
    n = max(a1.shape[0], a2.shape[0])
    return _padded(a1, n) + _padded(a2, n)


def _polysub(a1, a2):
    a1, a2 = _coefficients(a1, a2)
    n = max(a1.shape[0], a2.shape[0])
    return _padded(a1, n) - _padded(a2, n)


def _polymul(a1, a2):
    a1, a2 = (_without_leading_zeros(a) for a in _coefficients(a1, a2))
    one = [np.zeros_like(detached(a), shape=1) if a.shape[0] == 0 else a for a in (a1, a2)]
    return np.convolve(*one)


def _polydiv(u, v):
    u, v = (a + 0.0 for a in _coefficients(u, v))
    n = v.shape[0]
    scale = 1.0 / v[0]
    r = u.astype(np.result_type(u, v))
    q = []
    for k in range(u.shape[0] - n + 1):
        q.append(scale * r[k])
        r = np.concatenate([r[:k], r[k : k + n] - q[-1] * v, r[k + n :]])
    while r.shape[0] > 1 and np.allclose(detached(r)[0], 0, rtol=1e-14):
        r = r[1:]
    return np.stack(q) if q else np.zeros_like(r, shape=1), r


def _polyder(p, m=1):
    if int(m) < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    p = operand(p)
    for _ in range(int(m)):
        p = p[:-1] * constant(np.arange(p.shape[0] - 1, 0, -1), p)
    return p


def _polyint(p, m=1, k=None):
    m = int(m)
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    _, k = _coefficients(p, [0.0] * m if k is None else k)
    if k.shape[0] < m and k.shape[0] != 1:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    p = operand(p)
    for i in range(m):
        last = k[i if k.shape[0] > 1 else 0].reshape(1)
        p = np.concatenate([p / constant(np.arange(p.shape[0], 0, -1), p), last])
    return p


def _poly(seq_of_zeros):
    (zeros_of,) = _coefficients(seq_of_zeros)
    if zeros_of.ndim == 2 and zeros_of.shape[0] == zeros_of.shape[1] > 0:
        zeros_of = np.linalg.eigvals(zeros_of)
    elif zeros_of.ndim == 1:
        zeros_of = zeros_of.astype(np.mintypecode(zeros_of.dtype.char))
    else:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    if zeros_of.shape[0] == 0:
        return 1.0
    nothing = np.zeros_like(detached(zeros_of), shape=1)
    a = nothing + 1
    for i in range(zeros_of.shape[0]):
        a = np.concatenate([a, nothing]) - zeros_of[i] * np.concatenate([nothing, a])
    if a.dtype.kind == "c":
        values = detached(zeros_of)
        if np.all(np.sort(values) == np.sort(np.conj(values))):
            a = np.real(a)
    return a


def _roots(p):
    (p,) = _coefficients(p)
    if p.ndim != 1:
        raise ValueError("Input must be a rank-1 array.")
    nonzero = np.flatnonzero(detached(p))
    if nonzero.size == 0:
        return np.zeros_like(p, shape=(0,), dtype=float)
    trailing = p.shape[0] - int(nonzero[-1]) - 1
    p = p[int(nonzero[0]) : int(nonzero[-1]) + 1]
    if p.dtype.kind not in "fc":
        p = p.astype(float)
    n = p.shape[0] - 1
    if n < 1:
        return np.zeros_like(p, shape=(trailing,), dtype=float)
    shifts = constant(np.eye(n - 1, n), p, p.dtype)
    roots = np.linalg.eigvals(np.concatenate([(-p[1:] / p[0])[None], shifts]))
    return np.concatenate([roots, np.zeros_like(detached(roots), shape=trailing)]) if trailing else roots


def _polyfit(x, y, deg, rcond=None, full=False, w=None, cov=False):
    # NumPy checks the arguments, and warns of matrices of low rank.
    if w is None:
        x, y = _together(x, y)
    else:
        x, y, w = _together(x, y, w)
    # A copy, because CuPy multiplies its operand by the weights, in place.
    np.polyfit(detached(x), detached(y) if w is None else detached(y).copy(), deg, rcond, full, detached(w), cov)
    x, y = x + 0.0, y + 0.0
    order = int(deg) + 1
    powers = np.vander(x, order)
    if w is not None:
        w = w + 0.0
        powers = powers * w[:, None]
        y = y * (w[:, None] if y.ndim == 2 else w)
    # The fit does not depend on the scale of the powers; only the singular values, which are asked for by `full`, do.
    scale = np.sqrt(np.sum((powers if full else detached(powers)) ** 2, axis=0))
    if rcond is None:
        rcond = x.shape[0] * np.finfo(x.dtype).eps
    powers = powers / scale
    fitted, residuals, rank, singular = np.linalg.lstsq(powers, y, rcond)
    fitted = fitted / (scale[:, None] if y.ndim == 2 else scale)
    if full:
        return fitted, residuals, rank, singular, _beside(fitted, constant(rcond, x))
    if not cov:
        return fitted
    spread = np.linalg.inv(powers.T @ powers) / np.outer(scale, scale)
    factor = 1 if isinstance(cov, str) and cov == "unscaled" else residuals / (x.shape[0] - order)
    return fitted, (spread if y.ndim == 1 else spread[:, :, None]) * factor


composite(
    np.polyval,
    _polyval,
    on=anything,
    cases=[case((3,), (2, 3)), case((3,), ()), case((4,), args=(2,))],
)
for _function, _run in ((np.polyadd, _polyadd), (np.polysub, _polysub), (np.polymul, _polymul)):
    composite(
        _function,
        _as_by_numpy(_function, _run),
        on=anything,
        cases=[case((3,), (3,)), case((4,), (2,)), case((), (3,)), case((2,), (4,))],
    )
# With fewer quotients to take there would be a remainder, whose length depends on rounding.
composite(np.polydiv, _as_by_numpy(np.polydiv, _polydiv), on=nonzero, cases=[case((2,), (3,)), case((1,), (2,))])
composite(
    np.polyder,
    _as_by_numpy(np.polyder, _polyder),
    on=anything,
    cases=[case((4,)), case((4,), args=(2,)), case((3,), m=0), case((1,))],
)
composite(
    np.polyint,
    _polyint,
    on=anything,
    cases=[case((3,)), case((3,), args=(2,)), case((3,), m=2, k=[1.0, 2.0]), case((2,), m=2, k=3.0), case((2,), m=0)],
)
composite(np.poly, _poly, on=anything, cases=[case((3,)), case((1,)), case((2, 2), on=symmetric())])
composite(np.roots, _roots, on=nonzero, cases=[case((3,)), case((4,)), case((2,))])
composite(
    np.polyfit,
    _polyfit,
    on=distinct,
    cases=[
        case((5,), (5,), args=(2,)),
        case((5,), (5, 2), args=(1,)),
        case((5,), (5,), args=(2,), w=[1.0, 2.0, 1.0, 0.5, 1.0]),
        case((5,), (5,), args=(2,), full=True),
        case((5,), (5,), args=(2,), cov=True),
        case((5,), (5, 2), args=(1,), cov="unscaled", rcond=1e-12),
    ],
)
