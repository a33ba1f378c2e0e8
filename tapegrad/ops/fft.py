"""Discrete Fourier transforms, all of them linear.

The matrix of the transform is symmetric, so a transform is its own transpose. What the functions do besides must be
transposed as well: cropping or padding to `n` entries, leaving out the redundant half of a real signal's spectrum, and
completing such a half again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._array import device_of
from .._op import constant, linear
from ..typing import Shape
from ._algebra import along, instead, operand, stored
from ._domains import anything, case, real
from .indexing import ungetitem

# The norm under which the inverse transform has the factor that the forward one has under the key, and vice versa.
_INVERSE_NORM: dict[Any, Any] = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _resized(h: Any, n: int, axis: int) -> Any:
    """Return `h` cropped or padded with zeros to `n` entries along `axis`: the transpose of padding or cropping."""
    axis %= h.ndim
    m = h.shape[axis]
    if m == n:
        return h
    if m > n:
        return h[along(axis, slice(0, n))]
    return ungetitem(h, (*h.shape[:axis], n, *h.shape[axis + 1 :]), along(axis, slice(0, m)))


def _lengths(x_shape: Shape, s: Any, axes: Any) -> tuple[list[int], list[int]]:
    """Return the lengths and axes of an n-dimensional transform, axes counted from 0, as NumPy takes them."""
    ndim = len(x_shape)
    if axes is None:
        axes = range(ndim) if s is None else range(ndim - len(s), ndim)
    axes = [int(axis) % ndim for axis in axes]
    given = [-1] * len(axes) if s is None else s
    return [x_shape[a] if n is None or n == -1 else int(n) for n, a in zip(given, axes, strict=True)], axes


def _after(x_shape: Shape, lengths: Sequence[int], axes: Sequence[int]) -> Shape:
    """Return the shape that transforms of the given lengths leave."""
    shape = list(x_shape)
    for n, axis in zip(lengths, axes, strict=True):
        shape[axis] = n
    return tuple(shape)


# The transposes


def _fft_transpose(g: Any, x_shape: Shape, axis: int, norm: Any, transform: Callable[..., Any]) -> Any:
    return _resized(transform(g, axis=axis, norm=norm), x_shape[axis], axis)


def _rfft_transpose(g: Any, x_shape: Shape, n: int | None, axis: int, norm: Any) -> Any:
    # The real part of the transform of g, which irfft gives from one half of the conjugate: but for the first entry,
    # and the middle one of an even length, the other half has the cotangent zero, so that it counts for half.
    axis %= g.ndim
    n = x_shape[axis] if n is None else n
    end = (n + 1) // 2
    pieces = g[along(axis, slice(0, 1))], 0.5 * g[along(axis, slice(1, end))], g[along(axis, slice(end, None))]
    h = np.fft.irfft(np.conj(np.concatenate(pieces, axis)), n, axis, _INVERSE_NORM[norm])
    return _resized(h, x_shape[axis], axis)


def _irfft_transpose(g: Any, x_shape: Shape, x_dtype: Any, axis: int, norm: Any) -> Any:
    # All but the first entry, and the middle one of an even length, stand for themselves and for their mirror image.
    axis %= g.ndim
    h = np.conj(np.fft.rfft(g, None, axis, _INVERSE_NORM[norm]))
    end = (g.shape[axis] + 1) // 2
    pieces = h[along(axis, slice(0, 1))], 2 * h[along(axis, slice(1, end))], h[along(axis, slice(end, None))]
    h = _resized(np.concatenate(pieces, axis), x_shape[axis], axis)
    # There are no complex numbers of half precision, but there are real ones.
    return h if x_dtype.kind == "c" else np.real(h).astype(g.dtype, copy=False)


def _fftn_transpose(
    g: Any, x_shape: Shape, lengths: Sequence[int], axes: Sequence[int], norm: Any, transform: Callable[..., Any]
) -> Any:
    """Return the transpose of transforms of `lengths` along `axes`, the last one first."""
    if not axes:
        return g  # which CuPy does not say of arrays without entries
    if len(set(axes)) == len(axes):
        h = transform(g, axes=axes, norm=norm)
        for axis in axes:
            h = _resized(h, x_shape[axis], axis)
        return h
    # An axis that is named twice is transformed twice, and may change its length twice.
    shapes = [x_shape]
    for n, axis in zip(reversed(lengths), reversed(axes), strict=True):
        shapes.append(_after(shapes[-1], [n], [axis]))
    for axis, shape in zip(axes, reversed(shapes[:-1]), strict=True):
        g = _resized(transform(g, axes=(axis,), norm=norm), shape[axis], axis)
    return g


def _complex_transpose(
    g: Any, x_shape: Shape, x_dtype: Any, s: Any, axes: Any, norm: Any, transform: Callable[..., Any]
) -> Any:
    return _fftn_transpose(g, x_shape, *_lengths(x_shape, s, axes), norm, transform)


def _rfftn_transpose(g: Any, x_shape: Shape, x_dtype: Any, s: Any, axes: Any, norm: Any) -> Any:
    # First comes the real transform along the last axis, then complex ones along the others.
    (*lengths, n), (*axes, axis) = _lengths(x_shape, s, axes)
    halved = _after(x_shape, [n // 2 + 1], [axis])
    return _rfft_transpose(_fftn_transpose(g, halved, lengths, axes, norm, _fftn), x_shape, n, axis, norm)


def _irfftn_transpose(g: Any, x_shape: Shape, x_dtype: Any, s: Any, axes: Any, norm: Any) -> Any:
    # First come complex transforms along all axes but the last, the first one first.
    (*lengths, _), (*axes, axis) = _lengths(x_shape, s, axes)
    transformed = _after(x_shape, lengths, axes)
    h = _irfft_transpose(g, transformed, np.dtype("complex128"), axis, norm)
    h = _fftn_transpose(h, x_shape, lengths[::-1], axes[::-1], norm, _ifftn)
    return h if x_dtype.kind == "c" else np.real(h).astype(g.dtype, copy=False)


# One axis

LENGTHS = [
    case((4,)),
    case((5,)),
    case((1,)),
    case((2,)),
    case((2, 4)),
    case((3, 2), axis=0),
    case((3, 2, 2), axis=-2),
    case((5,), n=3),
    case((4,), n=7),
    case((2, 5), args=(4, 1)),
    case((3, 2), args=(6, 0, "ortho")),
    case((4,), norm="backward"),
    case((4,), norm="ortho"),
    case((5,), norm="forward"),
    case((3,), n=1),
    case((4,), n=2),
    case((0, 3)),
    case((0, 3), n=4),
]

linear(
    np.fft.fft,
    lambda g, x_shape, n=None, axis=-1, norm=None: _fft_transpose(g, x_shape, axis, norm, np.fft.fft),
    on=anything,
    cases=LENGTHS,
)
linear(
    np.fft.ifft,
    lambda g, x_shape, n=None, axis=-1, norm=None: _fft_transpose(g, x_shape, axis, norm, np.fft.ifft),
    on=anything,
    cases=LENGTHS,
)
linear(
    np.fft.rfft,
    lambda g, x_shape, n=None, axis=-1, norm=None: _rfft_transpose(g, x_shape, n, axis, norm),
    on=real,
    cases=LENGTHS,
)

# A spectrum of one entry alone would stand for a signal of none.
_SPECTRA = [c for c in LENGTHS if c.shapes != ((1,),)] + [case((1,), n=1), case((1,), n=2), case((1, 2), axis=0, n=3)]

linear(
    np.fft.irfft,
    lambda g, x_shape, x_dtype, n=None, axis=-1, norm=None: _irfft_transpose(g, x_shape, x_dtype, axis, norm),
    on=anything,
    cases=_SPECTRA,
)

# The Hermitian pair is the real one with directions exchanged: hfft(x) = irfft(conj(x)), ihfft(x) = conj(rfft(x)).
linear(
    np.fft.hfft,
    lambda g, x_shape, x_dtype, n=None, axis=-1, norm=None: np.conj(
        _irfft_transpose(g, x_shape, x_dtype, axis, _INVERSE_NORM[norm])
    ),
    on=anything,
    cases=_SPECTRA,
)
linear(
    np.fft.ihfft,
    lambda g, x_shape, n=None, axis=-1, norm=None: _rfft_transpose(np.conj(g), x_shape, n, axis, _INVERSE_NORM[norm]),
    on=real,
    cases=LENGTHS,
)


# Several axes

_ANY_AXES = [
    case((2, 3)),
    case((3, 4, 2), axes=(0, 1)),
    case((3, 4, 2), axes=(-1, 0)),
    case((2, 3), axes=(1,)),
    case((3, 4), s=(4, 3), axes=(0, 1)),
    case((3, 4), s=(-1, 5), axes=(1, 0)),
    case((2, 3, 2), args=((3, 2), (0, 2), "ortho")),
    case((2, 3), norm="forward"),
    case((2, 3), norm="ortho"),
    case((3, 3), axes=(0, 0)),
    case((3, 4), s=(2, 5, 4), axes=(0, 1, 0)),
    case((0, 3), axes=(1,)),
    case((2, 3, 2), s=(4, 3)),
]
_TWO_AXES = [
    case((2, 3)),
    case((3, 2, 3)),
    case((2, 3, 4), axes=(0, 1)),
    case((3, 4), s=(4, 3)),
    case((2, 3), args=((3, 5), (1, 0), "ortho")),
    case((2, 4), norm="forward"),
    case((3, 2, 4), axes=(0, 2)),
    case((4, 3), s=(5, 4), axes=(0, 0)),
    case((0, 3, 2)),
]


def _on_axes(several: Any, inner: Any, outer: Any, back: bool) -> Callable[..., Any]:
    """Return a transform along several axes that takes its arguments as NumPy does on devices too.

    Step by step it is `inner` along the last axis and `outer` along those before it, or, with `back`, the other way
    round. CuPy's own goes wrong where an axis is named twice, where a length is -1, and where there are no entries.
    """

    def run(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
        if device_of(a) == "cpu":
            return several(a, s, axes, norm)
        lengths, places = _lengths(a.shape, s, axes)
        if not places or (a.size and len(set(places)) == len(places)):
            # In a list: a tuple that equals the shape CuPy takes for the shape of a spectrum.
            return several(a, None if s is None else lengths, places, norm)
        if back and s is None:
            lengths[-1:] = [2 * (n - 1) for n in lengths[-1:]]
        steps = [(outer, n, axis) for n, axis in zip(lengths[:-1], places[:-1], strict=True)]
        steps = [*steps, (inner, lengths[-1], places[-1])] if back else [(inner, lengths[-1], places[-1]), *steps[::-1]]
        for transform, n, axis in steps:
            a = transform(a, n, axis, norm)
        return a

    return run


def _rows(several: Any, two: Any, run: Callable[..., Any], transpose: Callable[..., Any], on: Any) -> None:
    """Give a transform along any axes, and along two, their rows."""

    def along_any(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
        return run(a, s, axes, norm)

    def along_two(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None) -> Any:
        return run(a, s, axes, norm)

    any_axes = linear(
        along_any,
        lambda g, x_shape, x_dtype, s=None, axes=None, norm=None: transpose(g, x_shape, x_dtype, s, axes, norm),
        name=several.__name__,
        on=on,
        cases=[*_ANY_AXES, case((3,))],
    )
    two_axes = linear(
        along_two,
        lambda g, x_shape, x_dtype, s=None, axes=(-2, -1), norm=None: transpose(g, x_shape, x_dtype, s, axes, norm),
        name=two.__name__,
        on=on,
        cases=_TWO_AXES,
    )

    def on_any(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
        return stored(any_axes(operand(a), s=s, axes=axes, norm=norm), out)

    def on_two(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
        return stored(two_axes(operand(a), s=s, axes=axes, norm=norm), out)

    instead(on_any, any_axes, several)
    instead(on_two, two_axes, two)


_fftn = _on_axes(np.fft.fftn, np.fft.fft, np.fft.fft, back=False)
_ifftn = _on_axes(np.fft.ifftn, np.fft.ifft, np.fft.ifft, back=False)
_rfftn = _on_axes(np.fft.rfftn, np.fft.rfft, np.fft.fft, back=False)
_irfftn = _on_axes(np.fft.irfftn, np.fft.irfft, np.fft.ifft, back=True)


for _several, _two, _run in ((np.fft.fftn, np.fft.fft2, _fftn), (np.fft.ifftn, np.fft.ifft2, _ifftn)):
    _rows(_several, _two, _run, functools.partial(_complex_transpose, transform=_run), anything)
_rows(np.fft.rfftn, np.fft.rfft2, _rfftn, _rfftn_transpose, real)
_rows(np.fft.irfftn, np.fft.irfft2, _irfftn, _irfftn_transpose, anything)

# Permutations and frequencies

_SHIFTS = [case((4,)), case((5,)), case((2, 3)), case((3, 4), axes=1), case((3, 4, 2), axes=(0, -1)), case((0, 3))]

linear(np.fft.fftshift, lambda g, axes=None: np.fft.ifftshift(g, axes), on=anything, cases=_SHIFTS)
linear(np.fft.ifftshift, lambda g, axes=None: np.fft.fftshift(g, axes), on=anything, cases=_SHIFTS)

# These two take no arrays, only a number of entries.
constant(np.fft.fftfreq, np.fft.rfftfreq)
