"""Functions that are only combinations of ops, and fit in no other chapter: first of all, the methods of ufuncs."""

import itertools
import math

import numpy as np

from .._array import zeros
from .._op import CLASSIFIED, composite, elementwise, general, linear
from .._tensor import OPS, Tensor, assign, detached, wrapped
from ..errors import UnsupportedError
from ._algebra import along, axes_of, constant, instead, kept_shape, operand, stored, unbroadcast
from ._domains import Domain, anything, case, distinct, positive, real
from .arithmetic import only, over
from .indexing import getitem, ungetitem
from .reductions import _recur_backwards as unrecur
from .reductions import recurrence

_REDUCTIONS = [
    case((4,)),
    case((2, 3)),
    case((2, 3), axis=-1, keepdims=True),
    case((2, 3, 2), axis=(0, 2)),
    case((2, 3), axis=None),
    case((2, 3), axis=1, initial=2.0),
    case((0, 2)),
]
_SCANS = [case((4,)), case((2, 3)), case((2, 3), axis=1), case((0, 2))]

# Methods of ufuncs. Those of additions, multiplications and extrema are reductions and scans that have rows; every
# other ufunc with a rule is applied step by step, as its method does.


def _method(ufunc, name, made, **options):
    """Let `made` run in place of the method `name` of `ufunc`; with `cases`, as an op that is tested as such."""
    if "cases" in options:

        def method(*args, **keywords):
            return getattr(ufunc, name)(*args, **keywords)

        composite(method, made, name=f"{ufunc.__name__}.{name}", **options)
        del OPS[method], CLASSIFIED[method]
    OPS[ufunc, name] = made
    CLASSIFIED[ufunc, name] = ("composite", "")


def _settings(**settings):
    """Return those settings that were given."""
    return {name: value for name, value in settings.items() if value is not None}


def _reduction(function):
    """Return the method `reduce` that NumPy's `function` stands for; its axis is the first unless told otherwise."""

    def reduce(array, axis=0, dtype=None, out=None, keepdims=False, initial=None, where=True):
        array = operand(array)
        if dtype is not None:
            array = array.astype(dtype)
        settings = {"keepdims": keepdims} | _settings(initial=initial) | ({} if where is True else {"where": where})
        return stored(function(array, axis=axis, **settings), out)

    return reduce


def _scan(ufunc, function):
    """Return the method `accumulate` that NumPy's `function` stands for."""

    def accumulate(array, axis=0, dtype=None, out=None):
        array = operand(array)
        ufunc.accumulate(_small(array), axis=axis)
        return stored(function(array, axis=axis, **_settings(dtype=dtype)), out)

    return accumulate


def _of_numbers(extremum, worst):
    """Return a reduction to the extremum of all entries but nan, which is nan only if there is no other entry."""

    def reduce(x, axis, keepdims=False, initial=None, where=True):
        missing = np.isnan(detached(x))
        taken = np.logical_and(np.logical_not(missing), constant(where, x) if where is not True else True)
        found = extremum(x, axis=axis, keepdims=keepdims, where=taken, initial=worst if initial is None else initial)
        if initial is not None:
            return found
        nothing = np.logical_not(np.any(taken, axis=axis, keepdims=keepdims))
        return np.where(nothing, math.nan, found)

    return reduce


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


for _ufunc, _function, _running in ((np.add, np.sum, np.cumsum), (np.multiply, np.prod, np.cumprod)):
    _method(_ufunc, "reduce", _reduction(_function), on=anything, cases=_REDUCTIONS)
    _method(_ufunc, "accumulate", _scan(_ufunc, _running), on=anything, cases=_SCANS)
for _ufunc, _function in ((np.maximum, np.max), (np.minimum, np.min)):
    _method(_ufunc, "reduce", _reduction(_function))
for _ufunc, _function, _worst in ((np.fmax, np.max, -math.inf), (np.fmin, np.min, math.inf)):
    _method(_ufunc, "reduce", _reduction(_of_numbers(_function, _worst)))
for _ufunc in (
    np.subtract, np.divide, np.power, np.float_power, np.remainder, np.fmod, np.hypot, np.arctan2, np.copysign,
    np.logaddexp, np.logaddexp2, np.nextafter,
):  # fmt: skip
    _method(_ufunc, "reduce", _step_by_step(_ufunc))
    _method(_ufunc, "accumulate", _partial_results(_ufunc))


# Running extrema: each cotangent is divided evenly among the entries so far that equal the extremum.


def _running_extremum(x, ufunc, axis):
    """Return the extrema of all entries up to each along `axis`; by doubling steps, which CuPy can do too."""
    if type(x) is np.ndarray:
        return ufunc.accumulate(x, axis=axis)
    step = 1
    while step < x.shape[axis]:
        head, tail, early = (along(axis, part) for part in (slice(step), slice(step, None), slice(-step)))
        x = np.concatenate([x[head], ufunc(x[tail], x[early])], axis=axis)
        step *= 2
    return x


def _share_so_far(g, x, out, axis):
    before, after = out[along(axis, slice(-1))], out[along(axis, slice(1, None))]
    same = (before == after) | ((before != before) & (after != after))
    same = np.concatenate([np.zeros_like(out[along(axis, slice(1))], dtype=bool), same], axis=axis).astype(g.dtype)
    tied = (x == out) | ((x != x) & (out != out))
    ties = recurrence(same, tied.astype(g.dtype), axis)
    return only(unrecur(g / ties, same, axis), tied)


_running = general(
    _running_extremum,
    "x",
    "out",
    _share_so_far,
    free="ufunc",
    name="running extremum",
    on=distinct,
    cases=[case((2, 5), args=(ufunc, axis)) for ufunc in (np.maximum, np.fmin) for axis in (0, 1)]
    + [case((0,), args=(np.minimum, 0)), case((1,), args=(np.fmax, 0))],
)


def _accumulate_extrema(ufunc):
    def accumulate(array, axis=0, dtype=None, out=None):
        array = operand(array)
        if dtype is not None:
            array = array.astype(dtype)
        ufunc.accumulate(_small(array), axis=axis)
        (a,) = axes_of(axis, array.ndim)
        return stored(_running(array, ufunc, a), out)

    return accumulate


for _ufunc in (np.maximum, np.minimum, np.fmax, np.fmin):
    _method(_ufunc, "accumulate", _accumulate_extrema(_ufunc))


# Every pair of entries, sums of slices, and additions at repeated indices


def _outer(ufunc):
    """Return the method `outer`: the ufunc of every pair of entries."""

    def outer(a, b, **keywords):
        a, b = operand(a), operand(b)
        return ufunc(a.reshape(a.shape + (1,) * b.ndim), b, **keywords)

    return outer


for _ufunc in {f for f in vars(np).values() if isinstance(f, np.ufunc)}:
    if _ufunc.nin == 2 and _ufunc.signature is None:
        _method(_ufunc, "outer", _outer(_ufunc))


def _slices(indices, n):
    """Return the positions that the slices of reduceat name in an axis of length `n`, and the slice of each."""
    starts = np.asarray(indices, np.intp) % max(n, 1)
    stops = np.append(starts[1:], n)
    lengths = np.where(starts < stops, stops - starts, 1)
    number = np.repeat(np.arange(starts.size), lengths)
    return np.arange(number.size) - np.repeat(np.cumsum(lengths) - lengths, lengths) + starts[number], number


def _spread_slices(g, x_shape, indices, axis):
    positions, number = _slices(indices, x_shape[axis])
    return ungetitem(getitem(g, along(axis, number)), x_shape, along(axis, positions))


_add_slices = linear(
    lambda x, indices, axis: np.add.reduceat(x, indices, axis=axis),
    _spread_slices,
    name="add.reduceat",
    on=anything,
    cases=[
        case((6,), args=([0, 2, 5], 0)),
        case((6,), args=([4, 1, 1, 3], 0)),
        case((2, 4), args=([0, 3], 1)),
        case((3, 2), args=([1], 0)),
    ],
)


def _add_reduceat(array, indices, axis=0, dtype=None, out=None):
    array = operand(array)
    if dtype is not None:
        array = array.astype(dtype)
    return stored(_add_slices(array, detached(indices), axes_of(axis, array.ndim)[0]), out)


_method(np.add, "reduceat", _add_reduceat)


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
    free="dtype device",
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
