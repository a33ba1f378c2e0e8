"""Hypothesis strategies: arrays and tensors from the domains of ops, in every layout, and what goes with them.

They compose with hypothesis's own, shrink to small shapes and simple numbers, and print as code that can be pasted.
Whole programs are drawn in `_programs`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.vendor import pretty

from .._tensor import Tensor
from ..ops._domains import Domain, anything
from ..ops.creation import as_tensor
from ._code import as_code

__all__ = [
    "LAYOUTS",
    "arrays",
    "axes",
    "broadcastable_arrays",
    "einsums",
    "indices",
    "matmul_arrays",
    "nested",
    "shapes",
    "tensors",
]

# Larger arrays than this are printed by hypothesis as NumPy prints them.
_LONG = 1000


def _print(value: Any, printer: Any, cycle: bool) -> None:
    printer.text(as_code(value) if value.size <= _LONG and value.dtype.kind in "biufc" else repr(value))


for _kind in (np.ndarray, Tensor):
    pretty.for_type_by_name(_kind.__module__, _kind.__name__, _print)

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


def tensors(
    domain: Domain = anything,
    shape: Any = None,
    dtype: Any = np.float64,
    layout: str | Sequence[str] = LAYOUTS,
    requires_grad: bool = True,
) -> st.SearchStrategy[Tensor]:
    """Return a strategy of tensors; arguments are those of `arrays`.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tapegrad.testing import positive, tensors
    >>> find(tensors(positive, shape=(2,)), lambda t: True)
    tensor([1., 1.], requires_grad=True)
    """
    return arrays(domain, shape, dtype, layout).map(lambda array: as_tensor(array).requires_grad_(requires_grad))


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
def matmul_arrays(
    draw: Any, x: Domain = anything, y: Domain | None = None, dtype: Any = np.float64, max_side: int = 3
) -> tuple[Any, Any]:
    """Return a strategy of pairs of arrays that `@` takes: vectors, matrices, and stacks of them that broadcast.

    Examples
    --------
    >>> from hypothesis import find
    >>> x, y = find(matmul_arrays(), lambda pair: pair[0].ndim == pair[1].ndim == 2)
    >>> x.shape, y.shape
    ((0, 0), (0, 0))
    """
    found = draw(
        hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=2, max_side=max_side, min_side=0)
    )
    left, right = found.input_shapes
    return draw(arrays(x, left, dtype)), draw(arrays(x if y is None else y, right, dtype))


@st.composite
def einsums(
    draw: Any, domain: Domain = anything, max_operands: int = 3, max_side: int = 3, dtype: Any = np.float64
) -> tuple[Any, ...]:
    """Return a strategy of what `np.einsum` takes: subscripts, then operands.

    Terms may repeat a letter (diagonals), hold an ellipsis, or be empty; the output is given or left out.

    Examples
    --------
    >>> from hypothesis import find
    >>> subscripts, x = find(einsums(), lambda call: call[0].startswith("ii"))
    >>> subscripts, x.shape
    ('ii->', (0, 0))
    """
    letters = "ijkl"
    sides = {letter: draw(st.integers(0, max_side)) for letter in letters}
    terms = draw(st.lists(st.text(letters, max_size=3), min_size=1, max_size=max_operands))
    dotted = [draw(st.booleans()) for _ in terms]
    leading: tuple[int, ...] = draw(shapes(2, max_side)) if any(dotted) else ()
    operands = []
    for term, dots in zip(terms, dotted, strict=True):
        # Of the axes below the ellipsis an operand may lack the first, and be broadcast along others.
        lead = leading[draw(st.integers(0, len(leading))) :] if dots else ()
        lead = tuple(draw(st.sampled_from([n, 1])) for n in lead)
        operands.append(draw(arrays(domain, (*lead, *(sides[letter] for letter in term)), dtype)))
    inputs = ",".join("..." * dots + term for term, dots in zip(terms, dotted, strict=True))
    if draw(st.booleans()):
        return inputs, *operands
    used = sorted(set("".join(terms)))
    output = draw(st.lists(st.sampled_from(used), unique=True)) if used else []
    return f"{inputs}->{'...' * any(dotted)}{''.join(output)}", *operands


def nested(leaves: st.SearchStrategy[Any], max_leaves: int = 4) -> st.SearchStrategy[Any]:
    """Return a strategy of what `leaves` draws, alone or in nested lists, tuples and dictionaries.

    Examples
    --------
    >>> from hypothesis import find, strategies as st
    >>> find(nested(st.just(1.5)), lambda tree: isinstance(tree, dict) and tree)
    {'a': 1.5}
    """

    def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        pairs = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        return st.lists(inner, max_size=3) | st.tuples(inner, inner) | pairs

    return st.recursive(leaves, containers, max_leaves=max_leaves)


@st.composite
def axes(draw: Any, ndim: int | tuple[int, ...]) -> dict[str, Any]:
    """Return a strategy of the keywords `axis` and `keepdims` of a reduction over a shape, or some of them.

    `ndim` is a shape or its length.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(axes(2), lambda keywords: keywords.get("keepdims") and "axis" in keywords)
    {'axis': None, 'keepdims': True}
    """
    ndim = ndim if isinstance(ndim, int) else len(ndim)
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
    kinds.append(hnp.arrays(np.bool_, shape))
    if shape:
        kinds.append(hnp.arrays(np.bool_, shape[:1]))
        if all(shape):
            kinds.append(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
            kinds.append(_mixed(shape))
    return draw(st.one_of(kinds))


@st.composite
def _mixed(draw: Any, shape: tuple[int, ...]) -> Any:
    """Return integer arrays and boolean masks on some axes, slices, numbers and new axes on others."""
    length = draw(st.integers(1, 3))
    entries: list[Any] = []
    for n in shape:
        array = hnp.arrays(np.int64, (length,), elements=st.integers(-n, n - 1))
        places = st.lists(st.integers(0, n - 1), min_size=length, max_size=length, unique=True)
        mask = places.map(functools.partial(np.isin, np.arange(n)))
        kinds = [st.slices(n), st.integers(-n, n - 1), array, *([mask] if length <= n else [])]
        entries.append(draw(st.one_of(kinds)))
    # Axes that are named no more are taken whole, and may stand under an ellipsis anywhere.
    if draw(st.booleans()):
        entries.insert(draw(st.integers(0, len(entries))), None)
    if draw(st.booleans()):
        place = draw(st.integers(0, len(entries)))
        kept = [entry for entry in entries[place : place + 1] if entry is None]
        entries[place : place + 1] = [Ellipsis, *kept]
    return tuple(entries)
