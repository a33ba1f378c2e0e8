"""Hypothesis strategies: arrays from the domains of ops, in every layout, groups that broadcast, axes and indices.

They compose with hypothesis's own, and shrink to small shapes and simple numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..ops._domains import Domain, anything

__all__ = ["LAYOUTS", "arrays", "axes", "broadcastable_arrays", "indices", "shapes"]

LAYOUTS = ("contiguous", "fortran", "strided", "reversed", "read-only")
"""How arrays can lie in memory."""


class _Drawn:
    """What domains draw from, in place of a random generator: hypothesis, which can shrink what it gave."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = ()) -> Any:
        numbers = st.floats(low, high, allow_subnormal=False)
        return self._draw(hnp.arrays(np.float64, _size(size), elements=numbers))

    def random(self, size: Any = ()) -> Any:
        return self.uniform(0.0, 1.0, size)

    def standard_normal(self, size: Any = ()) -> Any:
        return self.uniform(-3.0, 3.0, size)

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Any = ()) -> Any:
        return loc + scale * self.standard_normal(size)

    def integers(self, low: int, high: int | None = None, size: Any = ()) -> Any:
        low, high = (0, low) if high is None else (low, high)
        return self._draw(hnp.arrays(np.int64, _size(size), elements=st.integers(low, high - 1)))

    def permutation(self, values: Any) -> Any:
        values = np.arange(values) if isinstance(values, int) else np.asarray(values)
        return values[self._draw(st.permutations(range(len(values))))]

    def choice(self, values: Any, size: Any = ()) -> Any:
        values = np.arange(values) if isinstance(values, int) else np.asarray(values)
        return values[self.integers(len(values), size=size)]


def _size(size: Any) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size or ())


def shapes(max_dims: int = 3, max_side: int = 3, min_dims: int = 0, min_side: int = 0) -> st.SearchStrategy[Any]:
    """Return a strategy of shapes, 0-d and empty ones included.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(shapes(), lambda shape: len(shape) == 2)
    (0, 0)
    """
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def _laid_out(array: Any, layout: str) -> Any:
    if layout == "fortran":
        return np.asfortranarray(array) if array.ndim else array
    if layout == "strided" and array.ndim:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    if layout == "reversed" and array.ndim:
        return array[..., ::-1].copy()[..., ::-1]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    return array


@st.composite
def arrays(
    draw: Any,
    domain: Domain = anything,
    shape: Any = None,
    dtype: Any = np.float64,
    layout: str | Sequence[str] = LAYOUTS,
) -> np.ndarray[Any, Any]:
    """Return a strategy of arrays whose entries, or matrices, come from a domain.

    Parameters
    ----------
    domain : where the values lie, one of `tapegrad.ops._domains`
    shape : a shape, or a strategy of shapes; by default any with up to three axes of up to three entries
    dtype : a dtype, or a strategy of dtypes
    layout : one of LAYOUTS, or several to choose from

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import given
    >>> from tapegrad.testing import positive
    >>> @given(arrays(positive, shape=(2, 3), dtype=np.float32))
    ... def test(x):
    ...     assert x.shape == (2, 3) and (x > 0).all()
    >>> test()
    """
    if isinstance(shape, st.SearchStrategy) or shape is None:
        shape = draw(shapes() if shape is None else shape)
    if isinstance(dtype, st.SearchStrategy):
        dtype = draw(dtype)
    array = np.asarray(domain.sample(_Drawn(draw), tuple(shape), dtype))  # type: ignore[arg-type]
    return _laid_out(array, layout if isinstance(layout, str) else draw(st.sampled_from(list(layout))))


@st.composite
def broadcastable_arrays(draw: Any, *domains: Domain, dtype: Any = np.float64, max_side: int = 3) -> tuple[Any, ...]:
    """Return a strategy of tuples of arrays, one from each domain, whose shapes broadcast together.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tapegrad.testing import positive, real
    >>> x, y = find(broadcastable_arrays(real, positive), lambda pair: True)
    >>> (x + y).shape
    ()
    """
    found = draw(hnp.mutually_broadcastable_shapes(num_shapes=len(domains), max_dims=3, max_side=max_side, min_side=0))
    return tuple(draw(arrays(domain, shape, dtype)) for domain, shape in zip(domains, found.input_shapes, strict=True))


@st.composite
def axes(draw: Any, ndim: int) -> dict[str, Any]:
    """Return a strategy of the keywords `axis` and `keepdims` of a reduction over `ndim` axes, or some of them.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(axes(2), lambda keywords: keywords.get("keepdims") and "axis" in keywords)
    {'axis': None, 'keepdims': True}
    """
    choices: list[Any] = [st.none()]
    if ndim:
        choices += [st.integers(-ndim, ndim - 1), hnp.valid_tuple_axes(ndim, min_size=1)]
    keywords = {"axis": st.one_of(choices), "keepdims": st.booleans()}
    return dict(draw(st.fixed_dictionaries({}, optional=keywords)))


@st.composite
def indices(draw: Any, shape: tuple[int, ...]) -> Any:
    """Return a strategy of what can index an array of `shape`: basic, by integer arrays, by a boolean mask, or mixed.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import given, strategies as st
    >>> @given(st.data())
    ... def test(data):
    ...     index = data.draw(indices((2, 3)))
    ...     np.zeros((2, 3))[index]
    >>> test()
    """
    kinds: list[Any] = [hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)]
    if shape:
        kinds.append(hnp.arrays(np.bool_, shape))
        kinds.append(hnp.arrays(np.bool_, shape[:1]))
        if all(shape):
            kinds.append(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
            kinds.append(_mixed(shape))
    return draw(st.one_of(kinds))


@st.composite
def _mixed(draw: Any, shape: tuple[int, ...]) -> Any:
    """Return integer arrays on some axes, and slices or numbers on others."""
    length = draw(st.integers(1, 3))
    entries = []
    for n in shape:
        array = hnp.arrays(np.int64, (length,), elements=st.integers(-n, n - 1))
        entries.append(draw(st.one_of(array, st.slices(n), st.integers(-n, n - 1))))
    return tuple(entries)
