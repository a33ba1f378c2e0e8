"""Derivatives of functions: grad, value_and_grad, vjp, jvp, and gradients of tensors by tensors.

A transform gives the function fresh inputs: aliases, recorded if the originals are tracked, so that transforms nest in
each other and in `backward`. What is returned keeps the history that reaches beyond these inputs, and no other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

from ._array import DIFFERENTIABLE, zeros
from ._op import unary
from ._tape import FORWARD_ONLY, LEAF, MODE, Dual, Level, Mode, ModeContext, Record, differentiable, root
from ._tensor import Tensor, detached, run_replay, seed_for, wrap
from ._tree import leaves, map_leaves, unflatten
from .errors import DtypeError, HistoryError, ShapeError
from .ops._domains import anything
from .ops.creation import as_tensor

__all__ = ["grad", "gradients", "jvp", "value_and_grad", "vjp"]


def alias(x: Any) -> Any:
    """Return `x` itself: as an op, a new record for the same values."""
    return x


alias = unary(alias, lambda g: g, on=anything)


def _input(value: Any, what: str) -> Tensor:
    """Return `value` as a differentiable tensor."""
    tensor = as_tensor(value)
    if not differentiable(tensor.dtype):
        raise DtypeError(
            f"got {what} of dtype {tensor.dtype}, expected floating point or complex: only these have derivatives; "
            "give it as a float, or choose other arguments by argnums"
        )
    return tensor


def _fresh(tensor: Tensor) -> Tensor:
    """Return an alias of `tensor` that starts a reverse mode of its own, linked to what it is an alias of."""
    linked: Record | None = alias(tensor)._record
    if linked is None or linked.position < LEAF:
        start = root(tensor.shape, tensor.dtype)
        if isinstance(linked, Dual):
            start.tangents = linked.tangents
        linked = start
    return wrap(tensor._array, linked)


def _handed_over(tree: Any) -> Any:
    """Return `tree` in containers and tensors of its own: the function may change them, or assign to them."""
    return map_leaves(lambda leaf: wrap(leaf._array, leaf._record), tree)


def _outside(tensor: Any, keep: bool) -> Any:
    """Return a result without the history that ends at fresh inputs, but with tangents of the levels around."""
    if not isinstance(tensor, Tensor) or keep or tensor._record is None:
        return tensor
    record = None
    if type(tensor._record) is Dual and tensor._record.tangents:
        record = Dual()
        record.tangents = tensor._record.tangents
    return wrap(tensor._array, record)


def _reaches_beyond(starts: Sequence[Record], roots: set[Record]) -> bool:
    """Return whether the history of `starts` contains tracked inputs other than `roots` and what made them."""
    first = min(root.position for root in roots)
    seen = set(starts)
    stack = list(starts)
    while stack:
        record = stack.pop()
        if record in roots:
            if record.op is not None:
                return True
            continue
        if record.op is None or record.position < first:
            return True
        for parent in record.parents():
            if parent is not None and parent.position > FORWARD_ONLY and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return False


def _selected(args: tuple[Any, ...], argnums: int | Sequence[int]) -> tuple[list[int], bool]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ValueError(f"got argnums {argnums!r}, expected positions of the {len(args)} positional arguments")
    return [number % len(args) for number in numbers], isinstance(argnums, int)


def _user(cotangent: Any, like: Tensor, keep: bool, taken: set[int]) -> Tensor:
    """Return an arrived cotangent as users see it: conjugated where complex, zeros where none arrived, never shared.

    `taken` holds the identities of arrays that the result must not share: the seeds', and those given out already.
    """
    if cotangent is None:
        return wrap(zeros(like.shape, like.dtype, like.data))
    if like.dtype.kind == "c":
        cotangent = cotangent.conj()
    found = cast(Tensor, _outside(cotangent, keep)) if isinstance(cotangent, Tensor) else wrap(cotangent)
    if id(found._array) in taken or getattr(found._array, "base", None) is not None:
        found = wrap(found._array.copy(), found._record)
    taken.add(id(found._array))
    return found


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Return a function that gives the value of `function` and its gradients by the arguments `argnums`.

    For a real scalar `y = function(x)` the gradient is `dy/dx`, of the shape and dtype of `x`; for complex `x` it is
    the direction of steepest ascent. Arguments may be arrays, numbers, tensors, or nested containers of them.

    Parameters
    ----------
    function : gives one real number, or with `has_aux` a pair of it and anything else
    argnums : one position, or several; with several, the gradients are a tuple
    has_aux : whether `function` gives a pair; the result is then `((value, aux), gradients)`

    Raises
    ------
    ShapeError, DtypeError
        If the value is not one real number, or an argument has no derivative.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.value_and_grad(lambda x, y: np.sum(x * y), argnums=(0, 1))(np.array([1.0, 2.0]), 3.0)
    (tensor(9.), (tensor([3., 3.]), tensor(3.)))
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        numbers, single = _selected(args, argnums)
        inputs = [map_leaves(lambda leaf: _fresh(_input(leaf, "an argument")), args[number]) for number in numbers]
        roots = [leaf for tree in inputs for leaf in leaves(tree)]
        records = [root._record for root in roots]
        called = list(args)
        for number, tree in zip(numbers, inputs, strict=True):
            called[number] = _handed_over(tree)
        outer = MODE.get() or Mode()
        with ModeContext(recording=True):
            result = function(*called, **kwargs)
        value, aux = result if has_aux else (result, None)
        if not isinstance(value, Tensor):
            value = as_tensor(value)
        record = value._record
        keep = record is not None and outer.recording and _reaches_beyond([record], set(records))
        seed = seed_for(value, None)
        arrived = run_replay([(record, seed)], records, keep, keep) if record is not None else {}
        taken = {id(detached(seed))}
        grads = [
            unflatten(tree, [_user(arrived.get(leaf._record), leaf, keep, taken) for leaf in leaves(tree)])
            for tree in inputs
        ]
        value = _outside(value, keep)
        if has_aux:
            value = (value, map_leaves(lambda leaf: _outside(leaf, keep), aux))
        return value, grads[0] if single else tuple(grads)

    return run


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Return a function that gives the gradient of `function`, which gives one real number, by arguments `argnums`.

    With `has_aux`, the result is `(gradients, aux)`. See `value_and_grad` for the rest.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.grad(np.sin)(0.0)
    tensor(1.)
    >>> tg.grad(tg.grad(lambda x: x ** 3))(2.0)
    tensor(12.)
    """
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return run


def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return `function(*primals)` and a function that maps its cotangents to those of the primals.

    For `y = f(x)` with Jacobian `J` the second result maps `g`, of the structure and shapes of `y`, to the tuple of
    `J^H g` by primal. It may be called any number of times.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> y, pull = tg.vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    inputs = map_leaves(lambda leaf: _fresh(_input(leaf, "a primal")), primals)
    roots = leaves(inputs)
    outer = MODE.get() or Mode()
    with ModeContext(recording=True):
        result = function(*_handed_over(inputs))
    outputs = [as_tensor(leaf) for leaf in leaves(result)]
    starts = [leaf._record for leaf in outputs if leaf._record is not None]
    keep = outer.recording and bool(roots) and _reaches_beyond(starts, {root._record for root in roots})

    def pull(cotangents: Any) -> tuple[Any, ...]:
        given = leaves(cotangents)
        if len(given) != len(outputs):
            raise ShapeError(f"got {len(given)} cotangents, expected {len(outputs)}: one for every output")
        create = keep or (
            (MODE.get() or Mode()).recording and any(isinstance(g, Tensor) and g.requires_grad for g in given)
        )
        seeds = [
            (leaf._record, seed_for(leaf, g))
            for leaf, g in zip(outputs, given, strict=True)
            if leaf._record is not None and leaf.dtype.kind in DIFFERENTIABLE
        ]
        arrived = run_replay(seeds, [root._record for root in roots], True, create) if seeds else {}
        taken = {id(detached(g)) for _, g in seeds}
        found: tuple[Any, ...] = unflatten(
            inputs, [_user(arrived.get(root._record), root, create, taken) for root in roots]
        )
        return found

    return map_leaves(lambda leaf: _outside(leaf, keep), result), pull


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Return `function(*primals)` and its derivative in the direction `tangents`, computed in forward mode.

    For `y = f(x)` with Jacobian `J` the second result is `J t`. No tape is kept: memory does not grow with the length
    of the program.

    Parameters
    ----------
    primals, tangents : tuples of equal structure; a tangent has its primal's shape

    Raises
    ------
    ShapeError
        If a tangent's shape differs from its primal's.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.jvp(np.sin, (0.0,), (2.0,))
    (tensor(0.), tensor(2.))
    """
    level = Level()
    given = [as_tensor(t) for t in leaves(tuple(tangents))]
    originals = [_input(leaf, "a primal") for leaf in leaves(tuple(primals))]
    if len(given) != len(originals):
        raise ShapeError(f"got {len(given)} tangents, expected {len(originals)}: one for every primal")
    inputs = []
    for x, t in zip(originals, given, strict=True):
        if t.shape != x.shape:
            raise ShapeError(f"got a tangent of shape {t.shape}, expected {x.shape}, its primal's")
        if t.dtype.kind == "c" and x.dtype.kind != "c":
            raise DtypeError(f"got a complex tangent for a primal of dtype {x.dtype}; take its real part")
        record = _dual(alias(x)._record)
        t = t if t.dtype == x.dtype else t.astype(x.dtype)
        record.tangents[level] = t if t._record is not None else t._array
        inputs.append(wrap(x._array, record))
    outer = MODE.get() or Mode()
    with ModeContext(levels=(*outer.levels, level)):
        result = function(*unflatten(tuple(primals), inputs))

    def tangent(leaf: Any) -> Any:
        leaf = as_tensor(leaf)
        t = level.tangent(leaf._record)
        if t is None:
            return wrap(zeros(leaf.shape, leaf.dtype, leaf.data))
        return t if isinstance(t, Tensor) else wrap(t)

    def primal(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or type(leaf._record) is not Dual:
            return leaf
        leaf._record.tangents.pop(level, None)
        return _outside(leaf, leaf.requires_grad)

    tangents_out = map_leaves(tangent, result)
    return map_leaves(primal, result), tangents_out


def _dual(record: Record | None) -> Dual:
    """Return a record like `record` that can hold tangents of its own."""
    dual = Dual()
    if record is not None:
        for name in Record.__slots__:
            setattr(dual, name, getattr(record, name))
        if isinstance(record, Dual):
            dual.tangents = dict(record.tangents)
    return dual


def gradients(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    cotangents: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the sum of `outputs` by `inputs`, leaves or results, without touching any `grad`.

    Parameters
    ----------
    outputs, inputs : tensors, one or several
    cotangents : of the outputs, in their order; needed for outputs of more than one element
    create_graph : record the replay itself, so that the gradients can be differentiated again
    retain_graph : keep the history for another replay; by default as `create_graph`
    allow_unused : give None for an input that the outputs do not depend on, instead of an error

    Raises
    ------
    HistoryError
        If an output or input is not tracked, or an input was not used and `allow_unused` is False.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> y = x * x
    >>> tg.gradients(y * y, [x, y])
    (tensor(108.), tensor(18.))
    """
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    given = (
        [None] * len(outs) if cotangents is None else [cotangents] if isinstance(outputs, Tensor) else list(cotangents)
    )
    if len(given) != len(outs):
        raise ShapeError(f"got {len(given)} cotangents, expected {len(outs)}: one for every output")
    for what, tensors in (("output", outs), ("input", ins)):
        for i, tensor in enumerate(tensors):
            if not tensor.requires_grad:
                raise HistoryError(f"got {what} {i} without history; make leaves with requires_grad=True")
    seeds = [(out._record, seed_for(out, g)) for out, g in zip(outs, given, strict=True)]
    wanted = [x._record for x in ins]
    retain = create_graph if retain_graph is None else retain_graph
    arrived = run_replay(seeds, wanted, retain or create_graph, create_graph)  # type: ignore[arg-type]
    for i, x in enumerate(ins):
        if x._record not in arrived and not allow_unused:
            raise HistoryError(f"input {i} was not used for the outputs; allow_unused=True gives None for it")
    taken = {id(detached(g)) for _, g in seeds}
    return tuple(_user(arrived[x._record], x, create_graph, taken) if x._record in arrived else None for x in ins)
