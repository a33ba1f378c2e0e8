"""Products of vectors, matrices and tensors.

Cotangents of products are products. Two habits keep them fast: leading axes that only one factor has are folded into
one matrix product, instead of a batch of products that is summed afterwards; and contractions that are matrix products
in disguise go through `tensordot`, or an optimized `einsum` where they are large.
"""

from __future__ import annotations

import functools
import math
import operator
import string
from typing import Any

import numpy as np

from .._array import device_of, explained, on_first_device
from .._op import composite, multilinear
from .._recorders import recorder
from .._tensor import OPS, detached
from ..typing import Shape
from ._algebra import T, conj, instead, operand, unbroadcast
from ._domains import anything, case
from .indexing import ungetitem

# Matrix products


def _rows(x: Any) -> Any:
    """Return `x` as a matrix of the rows in its last axis."""
    return np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def _matmul_x(g: Any, y: Any) -> Any:
    # Of matrices and vectors, `dot` takes half the time of `@` where they are small.
    if y.ndim == 2:
        if g.ndim < 3:
            return np.dot(y, g) if g.ndim == 1 else np.dot(g, y.T)
        return np.reshape(np.dot(_rows(g), y.T), (*g.shape[:-1], y.shape[0]))
    if y.ndim == 1:
        return g[..., None] * y
    if g.ndim < y.ndim:  # x was a vector
        return (y @ g[..., None])[..., 0]
    return g @ T(y)


def _matmul_y(g: Any, x: Any, y_shape: Shape) -> Any:
    if x.ndim == 1:
        return x[:, None] * g[..., None, :] if g.ndim else x * g
    if len(y_shape) == 2:
        return np.dot(x.T, g) if x.ndim == 2 else np.dot(_rows(x).T, _rows(g))
    if len(y_shape) == 1:
        return np.dot(np.reshape(g, -1), _rows(x))
    return T(x) @ g


MATRIX_PAIRS = [
    case((2, 2), (2, 2)),
    case((3,), (3,)),
    case((2, 3), (3,)),
    case((3,), (3, 4)),
    case((2, 3), (3, 4)),
    case((5, 2, 3), (3, 4)),
    case((2, 3), (5, 3, 4)),
    case((5, 2, 3), (5, 3, 4)),
    case((5, 2, 3), (1, 3, 4)),
    case((6, 1, 2, 3), (5, 3, 4)),
    case((5, 2, 3), (3,)),
    case((3,), (5, 3, 4)),
    case((1, 3), (3, 1)),
    case((0, 3), (3, 2)),
    case((2, 0), (0, 3)),
    case((0, 2, 3), (3, 4)),
    case((0,), (0,)),
]
"""Every mixture of vectors, matrices and stacks of matrices, with broadcasting and size 0."""

_matmul = multilinear(
    np.matmul,
    lambda g, y: _matmul_x(g, y),
    lambda g, x, y_shape: _matmul_y(g, x, y_shape),
    on=anything,
    cases=[
        *MATRIX_PAIRS,
        case((3, 2), (3, 4), axes=[(1, 0), (0, 1), (1, 0)]),
        case((3, 5, 2), (4, 1, 3), axes=[(2, 0), (-1, 0), (-2, 0)]),
        case((3,), (4, 3, 1), axes=[0, (-2, 0), (0,)]),
        case((3,), (3,), axes=[0, (0,), ()]),
    ],
)


def matmul_on_device(a: Any, b: Any) -> Any:
    """Return `a @ b`, on a device with all rows of `a` in one matrix where `b` is a matrix or a vector.

    CuPy's own product of such operands calls a product for each matrix of the stack, and copies what is transposed.
    """
    if type(a) is not np.ndarray and type(b) is type(a) and a.ndim > 2 and b.ndim <= 2 and b.ndim:
        return np.reshape(_rows(a) @ b, (*a.shape[:-1], *b.shape[1:]))
    return a @ b


# Axes of generalized ufuncs


def _both(x: Any, y: Any) -> tuple[Any, Any]:
    """Return two operands as tensors or arrays."""
    return operand(x, y), operand(y, x)


def _named(axes: Any, counts: tuple[int, int, int]) -> list[tuple[int, ...]]:
    """Return `axes` of a generalized ufunc as one tuple for each operand and for the result, of so many axes each."""
    if not isinstance(axes, list):
        raise TypeError(f"got axes of type {type(axes).__name__}, expected a list")
    found = [tuple(map(operator.index, entry if isinstance(entry, tuple) else (entry,))) for entry in axes]
    if tuple(map(len, found)) != counts:
        raise ValueError(f"got axes={axes}, expected a list of entries of {counts} axes")
    return found


def _at_axes(product: Any, counts: Any) -> Any:
    """Return a product of two operands that hears `axes`: where the vectors or matrices lie that it takes and gives.

    `counts` tells from the operands' numbers of axes how many of them are theirs, and how many are the result's.
    """

    def run(x1: Any, x2: Any, /, *, axes: Any = None) -> Any:
        x1, x2 = _both(x1, x2)
        if axes is None:
            return product(x1, x2)
        first, second, of_result = _named(axes, counts(x1.ndim, x2.ndim))
        result = product(_to_end(x1, first), _to_end(x2, second))
        return np.moveaxis(result, tuple(range(-len(of_result), 0)), of_result) if of_result else result

    return run


def _to_end(x: Any, axes: tuple[int, ...]) -> Any:
    return np.moveaxis(x, axes, tuple(range(-len(axes), 0)))


# Its own recorder, which training calls thousands of times, takes two arrays and nothing else.
OPS[np.matmul, "axes"] = _matmul.op.public = _at_axes(_matmul, lambda n, m: (min(n, 2), min(m, 2), (n > 1) + (m > 1)))


# Products of vectors by NumPy's names


def _vecdot(x1: Any, x2: Any, /, axis: int = -1) -> Any:
    x1, x2 = _both(x1, x2)
    if axis != -1:
        axis = operator.index(axis)
        x1, x2 = np.moveaxis(x1, axis, -1), np.moveaxis(x2, axis, -1)
    if x1.shape[-1:] != x2.shape[-1:] or not x1.ndim:
        np.vecdot(np.empty(x1.shape), np.empty(x2.shape))  # NumPy's complaint: a size of 1 is not repeated
    return np.einsum("...i,...i", conj(x1), x2)


def _vecdot_ufunc(x1: Any, x2: Any, /, *, axes: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if axis is not None:
        if axes is not None:
            raise TypeError("got both axis and axes, expected one of them")
        axes = [axis, axis, axis if keepdims else ()]
    elif isinstance(axes, list) and len(axes) == 2:
        axes = [*axes, -1 if keepdims else ()]
    return (_kept_vecdot_at_axes if keepdims else _vecdot_at_axes)(x1, x2, axes=axes)


_vecdot_at_axes = _at_axes(_vecdot, lambda n, m: (1, 1, 0))
_kept_vecdot_at_axes = _at_axes(lambda x1, x2: _vecdot(x1, x2)[..., None], lambda n, m: (1, 1, 1))


def _matvec(x1: Any, x2: Any) -> Any:
    if x1.ndim < 2 or not x2.ndim:
        np.matvec(np.empty(x1.shape), np.empty(x2.shape))  # NumPy's complaint
    return (x1 @ x2[..., None])[..., 0]


def _vecmat(x1: Any, x2: Any) -> Any:
    if not x1.ndim or x2.ndim < 2:
        np.vecmat(np.empty(x1.shape), np.empty(x2.shape))  # NumPy's complaint
    return (conj(x1)[..., None, :] @ x2)[..., 0, :]


VECTOR_PAIRS = [case((3,), (3,)), case((2, 3), (2, 3)), case((2, 3), (3,)), case((4, 1, 3), (2, 3)), case((2, 0), (0,))]

composite(
    np.vecdot,
    _vecdot_ufunc,
    on=anything,
    cases=[
        *VECTOR_PAIRS,
        case((3, 2), (4, 3, 1), axis=-2),
        case((3, 2), (3, 1), axis=0, keepdims=True),
        case((2, 3), (3,), keepdims=True),
        case((3, 2), (4, 1, 3), axes=[0, 2]),
        case((3, 2), (4, 1, 3), axes=[(0,), -1, 1], keepdims=True),
    ],
)
composite(
    np.linalg.vecdot,
    _vecdot,
    name="linalg.vecdot",
    on=anything,
    cases=[
        *VECTOR_PAIRS,
        case((3, 2), (3, 2), axis=0),
        case((3, 1, 2), (3, 4, 1), axis=0),
        case((2, 3), (3,), axis=-1),
    ],
)

if hasattr(np, "matvec"):  # NumPy 2.2
    composite(
        np.matvec,
        _at_axes(_matvec, lambda n, m: (2, 1, 1)),
        on=anything,
        cases=[
            case((2, 3), (3,)),
            case((5, 2, 3), (3,)),
            case((4, 1, 2, 3), (5, 3)),
            case((3, 5, 2), (3, 1), axes=[(2, 0), 0, -2]),
        ],
    )
    composite(
        np.vecmat,
        _at_axes(_vecmat, lambda n, m: (1, 2, 1)),
        on=anything,
        cases=[
            case((3,), (3, 2)),
            case((5, 3), (3, 2)),
            case((5, 3), (4, 1, 3, 2)),
            case((3, 1), (2, 5, 3), axes=[(0,), (-1, 0), (0,)]),
        ],
    )

# vdot conjugates its first argument, and Re(g * conj(t) * y) = Re(conj(g * y) * t).
multilinear(
    np.vdot,
    lambda g, y, x_shape: np.reshape(conj(g * y), x_shape),
    lambda g, x, y_shape: np.reshape(g * conj(x), y_shape),
    on=anything,
    cases=[case((3,), (3,)), case((), ()), case((2, 3), (2, 3)), case((2, 3), (6,)), case((0,), (0,))],
)

multilinear(
    np.outer,
    lambda g, y, x_shape: np.reshape(g @ np.ravel(y), x_shape),
    lambda g, x, y_shape: np.reshape(np.ravel(x) @ g, y_shape),
    on=anything,
    cases=[case((3,), (2,)), case((), (3,)), case((2, 2), (3, 1)), case((0,), (3,))],
)


def _inner_x(g: Any, y: Any, x_shape: Any) -> Any:
    if not x_shape or not y.ndim:
        return unbroadcast(g * y, x_shape)
    lead = len(x_shape) - 1
    return contracted(g, y, list(range(lead, g.ndim)), list(range(y.ndim - 1)))


def _inner_y(g: Any, x: Any, y_shape: Any) -> Any:
    if not y_shape or not x.ndim:
        return unbroadcast(g * x, y_shape)
    lead = list(range(x.ndim - 1))
    return contracted(g, x, lead, lead)


def contracted(x: Any, y: Any, of_x: list[int], of_y: list[int]) -> Any:
    """Return np.tensordot over pairs of axes: over none of them in the one way that CuPy takes for numbers."""
    return np.tensordot(x, y, (of_x, of_y) if of_x else 0)


def _inner(a: Any, b: Any) -> Any:
    """Return np.inner, in which CuPy divides by the length of the last axis."""
    if a.shape and b.shape and not a.shape[-1] and device_of(a) != "cpu":
        return np.tensordot(a, b, (-1, -1))
    return np.inner(a, b)


multilinear(
    np.inner,
    lambda g, y, x_shape: _inner_x(g, y, x_shape),
    lambda g, x, y_shape: _inner_y(g, x, y_shape),
    on=anything,
    cases=[
        case((3,), (3,)),
        case((), ()),
        case((), (2, 3)),
        case((2, 3), ()),
        case((2, 3), (3,)),
        case((3,), (2, 3)),
        case((4, 2, 3), (5, 3)),
        case((2, 3), (4, 5, 3)),
        case((0,), (0,)),
        case((2, 0), (3, 0)),
    ],
)


def _mend_inner() -> None:
    """Let inner products run as CuPy can, once arrays other than NumPy's are there."""
    op: Any = OPS[np.inner].op
    op.function = _inner
    op.public = OPS[np.inner] = recorder(op, _inner)


on_first_device(_mend_inner)


def _dot_x(g: Any, y: Any, x_shape: Any) -> Any:
    if not x_shape or not y.ndim:
        return unbroadcast(g * y, x_shape)
    if y.ndim == 1:
        return g[..., None] * y if g.ndim else g * y
    if y.ndim == 2:
        return g @ T(y) if g.ndim < 3 else np.tensordot(g, y, (-1, -1))
    lead = len(x_shape) - 1
    return np.tensordot(g, y, (list(range(lead, g.ndim)), [*range(y.ndim - 2), y.ndim - 1]))


def _dot_y(g: Any, x: Any, y_shape: Any) -> Any:
    if not y_shape or not x.ndim:
        return unbroadcast(g * x, y_shape)
    if not g.ndim:
        return g * x
    if x.ndim == 2 and len(y_shape) <= 2:
        return T(x) @ g
    lead = list(range(x.ndim - 1))
    h = np.tensordot(x, g, (lead, lead))
    return h if len(y_shape) <= 2 else np.moveaxis(h, 0, -2)


multilinear(
    np.dot,
    lambda g, y, x_shape: _dot_x(g, y, x_shape),
    lambda g, x, y_shape: _dot_y(g, x, y_shape),
    on=anything,
    cases=[
        case((), ()),
        case((), (2, 3)),
        case((2, 3), ()),
        case((3,), (3,)),
        case((2, 3), (3,)),
        case((3,), (3, 4)),
        case((2, 3), (3, 4)),
        case((5, 2, 3), (3,)),
        case((5, 2, 3), (3, 4)),
        case((3,), (5, 3, 4)),
        case((2, 3), (5, 3, 4)),
        case((6, 2, 3), (5, 3, 4)),
        case((2, 0), (0, 3)),
        case((0,), (0,)),
    ],
)


# Contractions


@functools.lru_cache(1024)
def _contracted(axes: Any, x_ndim: int, y_ndim: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return which axes of each operand tensordot contracts, pair by pair, counted from the front."""
    if isinstance(axes, tuple):
        of_x, of_y = (tuple(a) if isinstance(a, tuple) else (a,) for a in axes)
    else:
        of_x, of_y = tuple(range(x_ndim - axes, x_ndim)), tuple(range(axes))
    return tuple(a % x_ndim for a in of_x), tuple(a % y_ndim for a in of_y)


def _hashable(axes: Any) -> Any:
    if np.ndim(axes) == 0 and not isinstance(axes, (tuple, list)):
        return int(axes)
    return tuple(tuple(int(i) for i in a) if np.ndim(a) else int(a) for a in axes)


def _tensordot_vjp(g: Any, other: Any, ndim: int, axes: Any, first: bool) -> Any:
    """Return the cotangent of tensordot's first or second operand, which has `ndim` axes, from the other operand."""
    ndims = (ndim, other.ndim) if first else (other.ndim, ndim)
    pairs = _contracted(_hashable(axes), *ndims)
    mine, its = pairs if first else pairs[::-1]
    free = [i for i in range(other.ndim) if i not in its]
    kept = [i for i in range(ndim) if i not in mine]
    # g has the first operand's free axes, then the second's.
    of_other = list(range(len(kept), g.ndim)) if first else list(range(len(free)))
    h = contracted(g, other, of_other, free)
    # Now come our own free axes, then the contracted ones in the other's order.
    ordered = sorted(its)
    source = {axis: i for i, axis in enumerate(kept)}
    source |= {a: len(kept) + ordered.index(b) for a, b in zip(mine, its, strict=True)}
    order = [source[i] for i in range(ndim)]
    return h if order == list(range(ndim)) else np.transpose(h, order)


TENSORDOTS = [
    case((2, 3, 4), (3, 4, 5)),
    case((2, 3), (4, 5), axes=0),
    case((2, 3), (3, 4), axes=1),
    case((2, 3), (2, 3), axes=2),
    case((2, 3, 4), (4, 5, 3), axes=([1, 2], [2, 0])),
    case((3, 4, 2), (5, 4, 3), axes=((0, 1), (2, 1))),
    case((2, 3), (3, 4), args=((1, 0),)),
    case((2, 3, 4), (5, 3), args=((-2, -1),)),
    case((2, 0), (0, 3), axes=1),
    case((), (), axes=0),
]

multilinear(
    np.tensordot,
    lambda g, y, x_shape, axes=2: _tensordot_vjp(g, y, len(x_shape), axes, True),
    lambda g, x, y_shape, axes=2: _tensordot_vjp(g, x, len(y_shape), axes, False),
    on=anything,
    cases=TENSORDOTS,
)


def einsum(subscripts: str, *xs: Any, **settings: Any) -> Any:
    """Return the sum of products that `subscripts` spells, by NumPy's einsum."""
    for x in xs:
        if type(x) is not np.ndarray:
            settings = _settings_there(xs, settings)
            break
    return np.einsum(subscripts, *xs, **settings)


def _settings_there(xs: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that einsum takes where `xs` are; CuPy would upload those that are on the host unasked."""
    places = {device_of(x) for x in xs}
    if places == {"cpu"}:
        return settings
    if "cpu" in places:
        raise explained(TypeError(), "einsum", xs)
    # CuPy always optimizes, in C order, and casts as the dtypes ask.
    return {name: value for name, value in settings.items() if name not in ("optimize", "order", "casting")}


@functools.lru_cache(1024)
def _spelled(subscripts: str, ndims: tuple[int, ...]) -> tuple[tuple[str, ...], str]:
    """Return the labels of each operand and of the result, with letters of their own in place of ellipses."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    extra = [
        ndim - len(term.replace("...", "")) if "..." in term else 0 for term, ndim in zip(terms, ndims, strict=True)
    ]
    spare = [letter for letter in string.ascii_letters if letter not in subscripts][: max(extra)]
    labels = tuple(term.replace("...", "".join(spare[len(spare) - n :])) for term, n in zip(terms, extra, strict=True))
    if arrow:
        return labels, output.replace("...", "".join(spare))
    named = inputs.replace(",", "").replace(".", "")
    return labels, "".join(spare) + "".join(sorted(label for label in set(named) if named.count(label) == 1))


def _contract(terms: str, *xs: Any) -> Any:
    """Return an einsum, with the order of products optimized where the work exceeds that of finding the order."""
    work = math.prod(
        {
            label: n
            for term, x in zip(terms.split("->")[0].split(","), xs, strict=True)
            for label, n in zip(term, x.shape, strict=True)
        }.values()
    )
    return np.einsum(terms, *xs, optimize=True) if work > 50_000 else np.einsum(terms, *xs)


def _einsum_vjp(g: Any, k: int, subscripts: str, xs: Any) -> Any:
    """Return the cotangent of operand k: the einsum of g and the other operands, brought to the operand's labels.

    Labels that only operand k has were summed over: the cotangent is broadcast along them. A label that it has more
    than once names a diagonal: the cotangent is zero beside it.
    """
    labels, output = _spelled(subscripts, tuple(x.ndim for x in xs))
    shape = xs[k].shape
    size = dict(zip(labels[k], shape, strict=True))
    others = [i for i in range(len(xs)) if i != k]
    known = set(output).union(*(labels[i] for i in others))
    shared = [label for label in size if label in known]
    terms = ",".join([output, *(labels[i] for i in others)]) + "->" + "".join(shared)
    h = _contract(terms, g, *(xs[i] for i in others))
    broadcast = tuple(i for i, label in enumerate(shared) if size[label] == 1 and h.shape[i] != 1)
    if broadcast:
        h = np.sum(h, axis=broadcast, keepdims=True)
    if h.ndim < len(size):
        h = np.reshape(h, tuple(h.shape[shared.index(label)] if label in known else 1 for label in size))
    if h.shape != tuple(size.values()):
        h = np.broadcast_to(h, tuple(size.values()))
    if len(size) == len(shape):
        return h
    ones = (1,) * len(size)
    like = detached(xs[k])
    along = {
        label: np.reshape(np.arange(n, like=like), (n, *ones[i + 1 :])) for i, (label, n) in enumerate(size.items())
    }
    return ungetitem(h, shape, tuple(along[label] for label in labels[k]), unique=True)


einsum = multilinear(
    einsum,
    lambda g, k, subscripts, xs: _einsum_vjp(g, k, subscripts, xs),
    inputs="subscripts *xs",
    free="optimize order casting dtype",
    on=anything,
    cases=[
        case((2, 3), (3, 4), before=("ij,jk->ik",)),
        case((2, 3), (3, 4), before=("ij,jk",)),
        case((2, 3), (3, 4), before=("ij , jk -> ki",), optimize=True),
        case((3, 2), before=("ba",)),
        case((3, 3), before=("ii",)),
        case((3, 3), before=("ii->i",)),
        case((3, 2, 3, 2), before=("ijij->j",)),
        case((3, 3, 3), (3,), before=("iii,i->i",)),
        case((2, 3, 3), before=("...ii->...i",)),
        case((2, 3), before=("ij->",)),
        case((2, 3), (4,), before=("ij,k->k",)),
        case((2, 3), (4,), before=("ij,k->ik",)),
        case((5, 2, 3), (5, 3, 4), before=("bij,bjk->bik",)),
        case((5, 2, 3), (3, 4), before=("...ij,jk->...ik",)),
        case((5, 1, 2, 3), (6, 3, 4), before=("...ij,...jk",)),
        case((2, 3), (3, 4), (4, 5), before=("ij,jk,kl->il",), optimize="greedy"),
        case((3,), (3,), (3,), before=("i,i,i",)),
        case((2, 1), (2, 3), before=("ij,ij->ij",)),
        case((1,), (3,), before=("i,i",)),
        case((), (3,), before=(",i->i",)),
        case((3,), (2,), before=("i,j",)),
        case((0, 3), (3, 2), before=("ij,jk->ik",)),
        case((2, 3), (2, 3), before=("ij,ij",), order="C", casting="safe"),
        case((2, 3), (3, 4), before=("ij,jk",), dtype="complex128"),
    ],
)


def _np_einsum(*operands: Any, **settings: Any) -> Any:
    """Run the einsum op on either of NumPy's two forms: subscripts first, or each operand followed by its labels."""
    if isinstance(operands[0], str):
        return einsum(*operands, **settings)
    # NumPy numbers the labels A to Z, then a to z.
    letters = string.ascii_uppercase + string.ascii_lowercase
    lists = ["".join("..." if label is Ellipsis else letters[label] for label in ls) for ls in operands[1::2]]
    xs = operands[: len(operands) // 2 * 2 : 2]
    subscripts = ",".join(lists)
    if len(operands) % 2:
        subscripts += "->" + "".join("..." if label is Ellipsis else letters[label] for label in operands[-1])
    return einsum(subscripts, *xs, **settings)


instead(_np_einsum, einsum, np.einsum)


# Combinations of the above


def _kron(a: Any, b: Any) -> Any:
    a, b = _both(a, b)
    ndim = max(a.ndim, b.ndim)
    of_a = (1,) * (ndim - a.ndim) + a.shape
    of_b = (1,) * (ndim - b.ndim) + b.shape
    wide = np.reshape(a, tuple(n for m in of_a for n in (m, 1))) * np.reshape(b, tuple(n for m in of_b for n in (1, m)))
    return np.reshape(wide, tuple(m * n for m, n in zip(of_a, of_b, strict=True)))


composite(
    np.kron,
    _kron,
    on=anything,
    cases=[
        case((2,), (3,)),
        case((), (3,)),
        case((), ()),
        case((2, 3), (4, 2)),
        case((2,), (3, 2)),
        case((2, 1, 3), (2, 2)),
        case((0,), (2,)),
    ],
)


def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = _both(a, b)
    if a.ndim == 0 or b.ndim == 0 or a.shape[axisa] != 3 or b.shape[axisb] != 3:
        return _flat_cross(a, b, axisa, axisb, axisc)
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    # Of c = (a2 b3 - a3 b2, a3 b1 - a1 b3, a1 b2 - a2 b1) rolled by one, every entry is a[i] b[i + 1] - a[i + 1] b[i].
    c = np.roll(a * np.roll(b, -1, axis=-1) - np.roll(a, -1, axis=-1) * b, -1, axis=-1)
    return np.moveaxis(c, -1, axisc)


def _flat_cross(a: Any, b: Any, axisa: int, axisb: int, axisc: int) -> Any:
    """Return the cross product where a vector has two entries, which NumPy deprecates, or raise NumPy's error."""
    np.cross(detached(a), detached(b), axisa, axisb, axisc)
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    last = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    if a.shape[-1] == b.shape[-1]:
        return last
    if a.shape[-1] == 2:
        c = [a[..., 1] * b[..., 2], -a[..., 0] * b[..., 2], last]
    else:
        c = [-a[..., 2] * b[..., 1], a[..., 2] * b[..., 0], last]
    return np.stack(c, axis=axisc)


CROSSES = [
    case((3,), (3,)),
    case((2, 3), (3,)),
    case((2, 3), (2, 3)),
    case((3, 2), (2, 3), axisa=0),
    case((2, 3), (3, 2), axisb=0),
    case((2, 3), (2, 3), axisc=0),
    case((3, 2), (3, 2), axis=0),
    case((4, 1, 3), (2, 3)),
    case((0, 3), (3,)),
]

composite(np.cross, _cross, on=anything, cases=CROSSES)


def _embedded(g: Any, n: int, m: int, mode: Any, correlating: bool = False) -> Any:
    """Return the cotangent of a convolution of n and m numbers in any mode as that of the full convolution."""
    less = min(n, m) - 1
    if g.shape[0] == n + m - 1:
        return g
    if mode in ("valid", 0):
        start = less
    elif correlating and n < m:  # NumPy mirrors the problem, and with it the middle that it keeps
        start = less - less // 2
    else:
        start = less // 2
    return ungetitem(g, (n + m - 1,), slice(start, start + g.shape[0]))


def _convolve_vjp(g: Any, other: Any, shape: Any, mode: Any) -> Any:
    (n,), (m,) = shape or (1,), np.shape(other) or (1,)
    full = _embedded(g, n, m, mode)
    return np.reshape(np.convolve(full, np.flip(other), mode="valid"), shape)


SEQUENCES = [
    case((5,), (3,)),
    case((3,), (5,)),
    case((4,), (4,)),
    *(
        case(a, v, mode=mode)
        for a, v in (((5,), (3,)), ((2,), (5,)), ((4,), (5,)))
        for mode in ("full", "same", "valid")
    ),
    case((3,), (1,), args=("same",)),
]

multilinear(
    np.convolve,
    lambda g, y, x_shape, mode="full": _convolve_vjp(g, y, x_shape, mode),
    lambda g, x, y_shape, mode="full": _convolve_vjp(g, x, y_shape, mode),
    on=anything,
    cases=[*SEQUENCES, case((), (3,))],
)


def _correlate_x(g: Any, y: Any, x_shape: Any, mode: Any) -> Any:
    (n,), (m,) = x_shape or (1,), np.shape(y) or (1,)
    full = _embedded(g, n, m, mode, correlating=True)
    return np.reshape(np.convolve(full, conj(y), mode="valid"), x_shape)


def _correlate_y(g: Any, x: Any, y_shape: Any, mode: Any) -> Any:
    (n,), (m,) = np.shape(x) or (1,), y_shape or (1,)
    full = _embedded(g, n, m, mode, correlating=True)
    return np.reshape(np.flip(conj(np.convolve(full, np.flip(x), mode="valid"))), y_shape)


# correlate(x, y) is convolve(x, conj(flip(y))).
multilinear(
    np.correlate,
    lambda g, y, x_shape, mode="valid": _correlate_x(g, y, x_shape, mode),
    lambda g, x, y_shape, mode="valid": _correlate_y(g, x, y_shape, mode),
    on=anything,
    cases=SEQUENCES,
)


def _multi_dot(arrays: Any) -> Any:
    arrays = [operand(a) for a in arrays]
    if len(arrays) == 2:
        return np.dot(*arrays)  # of any axes, as NumPy has it
    if len(arrays) < 2 or any(a.ndim != 2 for a in arrays[1:-1]) or any(a.ndim not in (1, 2) for a in arrays):
        return np.linalg.multi_dot([detached(a) for a in arrays])  # NumPy's own complaint
    # A vector at the left is a row, one at the right a column.
    rows = [a.shape[0] if a.ndim == 2 or i else 1 for i, a in enumerate(arrays)]
    columns = arrays[-1].shape[1] if arrays[-1].ndim == 2 else 1
    order = _cheapest((*rows, columns))

    def product(i: int, j: int) -> Any:
        return arrays[i] if i == j else product(i, order[i, j]) @ product(order[i, j] + 1, j)

    return product(0, len(arrays) - 1)


@functools.lru_cache(256)
def _cheapest(sizes: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Return where to split each run of a chain of matrices, by dynamic programming over runs (Cormen et al., 15.2)."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs = [cost[i, s] + cost[s + 1, j] + sizes[i] * sizes[s + 1] * sizes[j + 1] for s in range(i, j)]
            cost[i, j] = min(costs)
            split[i, j] = i + costs.index(cost[i, j])
    return split


composite(
    np.linalg.multi_dot,
    _multi_dot,
    on=anything,
    cases=[
        case([(2, 3), (3, 4)]),
        case([(2, 3), (3, 4), (4, 2)]),
        case([(3,), (3, 4), (4,)]),
        case([(3,), (3, 4)]),
        case([(5, 2), (2, 6), (6, 3), (3,)]),
        case([(2, 0), (0, 4), (4, 2)]),
        case([(), (2, 3)]),
        case([(), ()]),
        case([(2, 2, 3), (3,)]),
    ],
)
