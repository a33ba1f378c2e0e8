"""Derivatives of functions, nested in any order: gradients, products with Jacobians and Hessians, whole matrices.

A transform gives the function fresh inputs: aliases, recorded if the originals are tracked, so that transforms nest in
each other and in `backward`. What is returned keeps the history that reaches beyond these inputs, and no other.

Nested derivatives are told apart because each one has records or a level of its own (Siskind and Pearlmutter 2005,
"Perturbation Confusion and Referential Transparency", name what goes wrong otherwise).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ._array import DIFFERENTIABLE, as_array, is_array, ones, zeros
from ._mode import MODE, Mode, ModeContext
from ._op import unary
from ._tape import FORWARD_ONLY, LEAF, Dual, Level, Record, differentiable, next_position, root
from ._tensor import OPS, Tensor, detached, run_replay, seed_for, wrap
from ._tree import described, is_leaf, leaves, map_leaves, matched, named_leaves, unflatten
from .errors import DeviceError, DtypeError, HistoryError, LostGradientError, ShapeError
from .ops._domains import anything
from .ops.creation import as_tensor

__all__ = [
    "elementwise_grad", "grad", "gradients", "hessian", "hvp", "jacobian", "jvp", "linearize", "stop_gradient",
    "value_and_grad", "vjp",
]  # fmt: skip

Argnums = int | Sequence[int]


def alias(x: Any) -> Any:
    """Return `x` itself: as an op, a new record for the same values."""
    return x


alias = unary(alias, lambda g: g, on=anything)


# Inputs and outputs


def _name(function: Any) -> str:
    """Return what messages call a function."""
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _numbers(leaf: Any) -> Tensor | None:
    """Return a leaf as a tensor, or None if it holds no numbers."""
    try:
        return as_tensor(leaf)
    except (DtypeError, ValueError, TypeError):
        return None


def _inputs(tree: Any, name: str) -> list[Tensor]:
    """Return the leaves of an argument as differentiable tensors; `name` is what messages call the argument."""
    made = []
    for i, leaf in enumerate(leaves(tree)):
        tensor = _numbers(leaf)
        if tensor is None or not differentiable(tensor.dtype):
            got = f"{type(leaf).__name__}" if tensor is None else f"dtype {tensor.dtype}"
            raise DtypeError(
                f"got {got} for {named_leaves(tree, name)[i][0]}, expected floating point or complex numbers: only "
                "these have derivatives; convert them to float, choose other arguments by argnums, or let the function "
                "capture what is constant"
            )
        made.append(tensor)
    return made


def _outputs(tree: Any, function: Any) -> list[Tensor]:
    """Return the leaves of what `function` gave as tensors."""
    made = []
    for i, leaf in enumerate(leaves(tree)):
        tensor = _numbers(leaf)
        if tensor is None:
            raise DtypeError(
                f"got {type(leaf).__name__} for {named_leaves(tree, 'result')[i][0]} of {_name(function)}, expected "
                "tensors, arrays or numbers; give anything else as the second of a pair, with has_aux=True"
            )
        made.append(tensor)
    return made


def _like(tree: Any, like: Any, tensors: Sequence[Tensor], name: str, what: str) -> list[Tensor]:
    """Return tangents or cotangents as tensors in the order of `tensors`, the leaves of `like`, whose spaces they need.

    `name` is what messages call one of them, and `what` what it belongs to.
    """
    made = []
    for (called, leaf), x in zip(matched(tree, like, name, what), tensors, strict=True):
        t = _numbers(leaf)
        if t is None:
            raise DtypeError(f"got {type(leaf).__name__} for {called}, expected an array of shape {x.shape}, as {what}")
        if t.shape != x.shape:
            raise ShapeError(f"got shape {t.shape} for {called}, expected {x.shape}, as {what}")
        if t.dtype.kind == "c" and x.dtype.kind != "c":
            raise DtypeError(f"got dtype {t.dtype} for {called}, expected {x.dtype}, as {what}; take its real part")
        if t.device != x.device:
            if isinstance(leaf, Tensor) or is_array(leaf):
                raise DeviceError(
                    f"got device {t.device} for {called}, expected {x.device}, as {what}; move it with to()"
                )
            t = wrap(as_array(t.data, like=x.data))
        made.append(t)
    return made


def _positional(given: Any, what: str) -> tuple[Any, ...]:
    """Return `given` as a tuple, or say that a single value must be put into one."""
    if not isinstance(given, (tuple, list)):
        raise ShapeError(
            f"got {described(given)} for {what}, expected a tuple with one entry for each argument; "
            f"write ({what[:-1]},)"
        )
    return tuple(given)


def _chosen(args: tuple[Any, ...], argnums: Argnums) -> tuple[list[int], bool]:
    """Return the positions that `argnums` names, counted from the first argument, and whether it is a single one."""
    single = isinstance(argnums, (int, np.integer)) and not isinstance(argnums, bool)
    numbers: list[Any] = [argnums] if single else list(argnums) if isinstance(argnums, (tuple, list, range)) else []
    if not numbers or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in numbers):
        raise TypeError(f"got argnums {argnums!r}, expected a position of an argument, or a tuple of positions")
    if not all(-len(args) <= n < len(args) for n in numbers):
        raise ValueError(
            f"got argnums {argnums!r}, expected positions of the {len(args)} positional arguments; "
            "arguments given by name are constants"
        )
    numbers = [int(n) % len(args) for n in numbers]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"got argnums {argnums!r}, which names an argument twice; name each one once")
    return numbers, single


def _pair(result: Any, function: Any) -> tuple[Any, Any]:
    """Return the value and the auxiliary output of a function that gives both."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise ShapeError(
            f"got {described(result)} from {_name(function)}, expected a pair (value, aux) for has_aux=True"
        )
    return result[0], result[1]


def _scalar(value: Any, function: Any) -> Tensor:
    """Return the value of a function as a tensor of one real number, or say why it cannot be differentiated."""
    name = _name(function)
    tensor = _numbers(value) if is_leaf(value) else None
    if tensor is None:
        hint = "; for a pair (value, aux) give has_aux=True" if isinstance(value, (tuple, list)) else ""
        raise DtypeError(f"got {described(value)} from {name}, expected one real number, as a tensor{hint}")
    if tensor.size != 1:
        raise ShapeError(
            f"got shape {tensor.shape} from {name}, expected a single number; sum it, or use jacobian for the "
            "derivatives of all entries, vjp for a weighted sum of them, elementwise_grad for an elementwise function"
        )
    if tensor.dtype.kind == "c":
        raise DtypeError(
            f"got a complex number from {name}, which has no order to ascend; differentiate its real part or its abs"
        )
    if not differentiable(tensor.dtype):
        raise DtypeError(f"got dtype {tensor.dtype} from {name}, expected a floating point number; convert it to float")
    return tensor


# A function's history


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


def _outside(tensor: Any, keep: bool, level: Level | None = None) -> Any:
    """Return a result without the history that ends at fresh inputs, but with tangents of the levels around.

    The tangents of `level`, which is over, are left out.
    """
    if not isinstance(tensor, Tensor) or keep or tensor._record is None:
        return tensor
    tangents = tensor._record.tangents if isinstance(tensor._record, Dual) else {}
    record = None
    if any(other is not level for other in tangents):
        record = Dual()
        record.tangents = {other: t for other, t in tangents.items() if other is not level}
    return wrap(tensor._array, record)


def _reaches_beyond(starts: Sequence[Record], roots: set[Record]) -> bool:
    """Return whether the history of `starts` contains tracked inputs other than `roots` and what made them."""
    first = min((root.position for root in roots), default=LEAF)
    seen = set(starts)
    stack = list(starts)
    while stack:
        record = stack.pop()
        if record in roots:
            if any(parent is not None for parent in record.parents()):
                return True
            continue
        if record.op is None or record.position < first:
            return True
        for parent in record.parents():
            if parent is not None and parent.position > FORWARD_ONLY and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return False


def _user(cotangent: Any, like: Tensor, keep: bool, taken: set[int]) -> Tensor:
    """Return an arrived cotangent as users see it: conjugated where complex, zeros where none arrived, never shared.

    `taken` holds the identities of arrays that the result must not share: the seeds', and those given out already.
    """
    if cotangent is None:
        return wrap(zeros(like.shape, like.dtype, like.data))
    if like.dtype.kind == "c":
        cotangent = cotangent.conj()
    found = cast(Tensor, _outside(cotangent, keep)) if isinstance(cotangent, Tensor) else wrap(cotangent)
    if _shared(found._array, taken):
        found = wrap(found._array.copy(), found._record)
    taken.add(id(found._array))
    return found


def _shared(array: Any, taken: set[int]) -> bool:
    """Return whether an array is one of those with the identities `taken`, or may be a view of one."""
    return id(array) in taken or getattr(array, "base", None) is not None


class _Run:
    """A function that was run on fresh inputs, with the history that leads from its outputs to these inputs.

    `numbers` are the positions of the arguments that are differentiated, and `what` is what messages call one.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        numbers: Sequence[int],
        what: str,
        has_aux: bool = False,
        single: bool = False,
    ) -> None:
        self.trees = []
        for number in numbers:
            supply = map(_fresh, _inputs(args[number], f"{what} {number}"))
            self.trees.append(unflatten(args[number], supply))
        self.inputs = [leaf for tree in self.trees for leaf in leaves(tree)]
        called = list(args)
        for number, tree in zip(numbers, self.trees, strict=True):
            called[number] = _handed_over(tree)
        outer = MODE.get() or Mode()
        with ModeContext(recording=True):
            result = function(*called, **kwargs)
        self.value: Any
        self.aux: Any
        self.value, self.aux = _pair(result, function) if has_aux else (result, None)
        self.outputs = [_scalar(self.value, function)] if single else _outputs(self.value, function)
        self.roots = [leaf._record for leaf in self.inputs]
        starts = [leaf._record for leaf in (*self.outputs, *leaves(self.aux)) if isinstance(leaf, Tensor)]
        self.keep = outer.recording and _reaches_beyond([s for s in starts if s is not None], set(self.roots))

    def pull(self, cotangents: Sequence[Any], retain: bool = True) -> list[Tensor]:
        """Return the cotangents of the inputs, by leaf, for those of the outputs; None stands for zero.

        One output of one number may have the cotangent None too: it stands for one, if there are no others.
        """
        create = self.keep or (
            (MODE.get() or Mode()).recording and any(isinstance(g, Tensor) and g.requires_grad for g in cotangents)
        )
        alone = len(self.outputs) == 1
        seeds = [
            (leaf._record, seed_for(leaf, g))
            for leaf, g in zip(self.outputs, cotangents, strict=True)
            if leaf._record is not None and leaf.dtype.kind in DIFFERENTIABLE and (alone or g is not None)
        ]
        # Nobody waits for derivatives by what this run alone has computed, so results are not tied to its history, or
        # their own replays would release it.
        tied = self.keep or bool((MODE.get() or Mode()).levels)
        arrived = run_replay(seeds, self.roots, retain or self.keep, create, tied) if seeds and self.roots else {}
        taken = {id(detached(g)) for _, g in seeds}
        return [_user(arrived.get(leaf._record), leaf, create, taken) for leaf in self.inputs]

    def by_argument(self, values: Sequence[Any]) -> list[Any]:
        """Return `values`, one for each leaf of the inputs, in containers like the arguments."""
        supply = iter(values)
        return [unflatten(tree, supply) for tree in self.trees]

    def outside(self, tree: Any) -> Any:
        """Return results without the history that only this run needs."""
        return map_leaves(lambda leaf: _outside(leaf, self.keep), tree)


# Transforms


def value_and_grad(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Return a function that gives the value of `function` and its gradients by the arguments `argnums`.

    For a real scalar `y = function(x)` the gradient is `dy/dx`, of the shape and dtype of `x`; for complex `x` it is
    the direction of steepest ascent. Arguments may be arrays, numbers, tensors, or nested containers of them.

    Parameters
    ----------
    function : gives one real number, or with `has_aux` a pair of it and anything else
    argnums : one position, or several; with several, the gradients are a tuple; negative ones count from the end
    has_aux : whether `function` gives a pair; the result is then `((value, aux), gradients)`

    Raises
    ------
    ShapeError, DtypeError
        If the value is not one real number, or an argument has no derivative.
    ValueError, TypeError
        If `argnums` names no positional argument, or one twice.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.value_and_grad(lambda x, y: np.sum(x * y), argnums=(0, 1))(np.array([1.0, 2.0]), 3.0)
    (tensor(9.), (tensor([3., 3.]), tensor(3.)))
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        numbers, single = _chosen(args, argnums)
        made = _Run(function, args, kwargs, numbers, "argument", has_aux, single=True)
        grads = made.by_argument(made.pull([None], retain=False))
        value = made.outside(made.outputs[0])
        if has_aux:
            value = (value, made.outside(made.aux))
        return value, grads[0] if single else tuple(grads)

    return run


def grad(function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
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


def elementwise_grad(function: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """Return a function that gives the derivative of every entry of an elementwise `function` by its own argument.

    For `y[i] = f(x[i])` the result is `f'(x[i])`, of the shape of `x`: the diagonal of the Jacobian, found as the
    sum of its columns. If an entry of `y` depends on other entries of `x`, the result is that sum.

    Parameters
    ----------
    function : gives one real array of the shape of each argument that is differentiated
    argnums : one position, or several; with several, the derivatives are a tuple

    Raises
    ------
    ShapeError, DtypeError
        If the result has another shape than an argument, or an argument or the result has no real derivative.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.elementwise_grad(np.sin)(np.array([0.0, np.pi]))
    tensor([ 1., -1.])
    >>> tg.elementwise_grad(tg.elementwise_grad(lambda x: x ** 3))(np.array([1.0, 2.0]))
    tensor([ 6., 12.])
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        numbers, single = _chosen(args, argnums)
        made = _Run(function, args, kwargs, numbers, "argument")
        out = made.outputs[0] if is_leaf(made.value) else None
        if out is None or out.dtype.kind != "f":
            got = described(made.value) if out is None else f"dtype {out.dtype}"
            raise DtypeError(f"got {got} from {_name(function)}, expected one real array, elementwise in the arguments")
        for x in made.inputs:
            if x.shape != out.shape:
                raise ShapeError(
                    f"got shape {out.shape} from {_name(function)}, expected {x.shape}, as the argument; broadcast the "
                    "argument first, or use jacobian for the derivatives of all entries by all others"
                )
        grads = made.by_argument(made.pull([np.ones_like(out.data)], retain=False))
        return grads[0] if single else tuple(grads)

    return run


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Return `function(*primals)` and a function that maps its cotangents to those of the primals.

    For `y = f(x)` with Jacobian `J` the second result maps `g`, of the structure and shapes of `y`, to the tuple of
    `J^H g` by primal. It may be called any number of times, without running `function` again.

    Parameters
    ----------
    function : gives arrays in any containers, or with `has_aux` a pair of them and anything else
    primals : its arguments, in any containers
    has_aux : whether `function` gives a pair; the result then has the auxiliary output as its third entry

    Raises
    ------
    ShapeError, DtypeError
        If a primal has no derivative, or, later, cotangents do not fit the outputs.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> y, pull = tg.vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    made = _Run(function, primals, {}, range(len(primals)), "primal", has_aux)
    value = made.outside(made.value)

    def pull(cotangents: Any) -> tuple[Any, ...]:
        gs = _like(cotangents, value, made.outputs, "the cotangent", f"an output of {_name(function)}")
        return tuple(made.by_argument(made.pull(gs)))

    return (value, pull, made.outside(made.aux)) if has_aux else (value, pull)


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """Return `function(*primals)` and its derivative in the direction `tangents`, computed in forward mode.

    For `y = f(x)` with Jacobian `J` the second result is `J t`. No tape is kept: memory does not grow with the length
    of the program. It covers this thread or task, as `no_grad` does, and threads that work in copies of its context.

    Parameters
    ----------
    function : gives arrays in any containers, or with `has_aux` a pair of them and anything else
    primals, tangents : tuples of equal structure; a tangent has its primal's shape
    has_aux : whether `function` gives a pair; the result then has the auxiliary output as its third entry

    Raises
    ------
    ShapeError, DtypeError
        If a primal has no derivative, or the structure or shapes of tangents differ from those of the primals.
    LostGradientError
        If a part of a result was computed in another thread, out of this context.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.jvp(np.sin, (0.0,), (2.0,))
    (tensor(0.), tensor(2.))
    """
    primals, tangents = _positional(primals, "primals"), _positional(tangents, "tangents")
    originals = [leaf for k, primal in enumerate(primals) for leaf in _inputs(primal, f"primal {k}")]
    given = _like(tangents, primals, originals, "tangents", "its primal")
    taken = {id(t._array) for t in given}
    level = Level()
    inputs = []
    for x, t in zip(originals, given, strict=True):
        record = _dual(alias(x)._record)
        t = t if t.dtype == x.dtype else t.astype(x.dtype)
        record.tangents[level] = t if t._record is not None else t._array
        inputs.append(wrap(x._array, record))
    outer = MODE.get() or Mode()
    start = next_position()
    MIXED[level] = False
    try:
        with ModeContext(levels=(*outer.levels, level)):
            result = function(*unflatten(primals, inputs))
        value, aux = _pair(result, function) if has_aux else (result, None)
        outputs = _outputs(value, function)
        _check_tangents(outputs, level, start)
    finally:
        del MIXED[level]

    def tangent(leaf: Tensor) -> Tensor:
        t = level.tangent(leaf._record)
        if t is None:
            return wrap(zeros(leaf.shape, leaf.dtype, leaf.data))
        found = t if isinstance(t, Tensor) else wrap(t)
        return wrap(found._array.copy(), found._record) if _shared(found._array, taken) else found

    def primal(leaf: Any) -> Any:
        return _outside(leaf, isinstance(leaf, Tensor) and leaf.requires_grad, level)

    found = map_leaves(primal, value), unflatten(value, map(tangent, outputs))
    return (*found, map_leaves(primal, aux)) if has_aux else found


MIXED: dict[Level, bool] = {}
"""The forward modes in progress, and whether each ran a checkpoint, whose records join tangents and primals."""


def _check_tangents(outputs: Sequence[Tensor], level: Level, start: int) -> None:
    """Raise LostGradientError where an operation since the position `start` was given a tangent and made none.

    It was not computed in this forward mode then. What such an operation leaves is a record for the replay, so a
    program that has none of these, as most have that are differentiated in forward mode alone, is not looked through.
    """
    waiting = [out._record for out in outputs if not MIXED[level] or level.tangent(out._record) is None]
    seen = set()
    while waiting:
        record = waiting.pop()
        if record is None or record.position < start or record.op is None or record in seen:
            continue
        seen.add(record)
        parents = record.parents()
        if MIXED[level] and record.space is None and type(record) is Record:
            continue  # the join of a checkpoint
        if level.tangent(record) is None and any(level.tangent(parent) is not None for parent in parents):
            raise LostGradientError(
                f"got a result of {record.op.name} whose input has a tangent, and which has none: it was computed in "
                "another thread, where this forward mode is not active; run the function there in a copy of this "
                "context (contextvars.copy_context().run), or use linearize, which replays the tape instead"
            )
        waiting += parents


def _dual(record: Record | None) -> Dual:
    """Return a record like `record` that can hold tangents of its own."""
    dual = Dual()
    if record is not None:
        for name in Record.__slots__:
            setattr(dual, name, getattr(record, name))
        if isinstance(record, Dual):
            dual.tangents = dict(record.tangents)
    return dual


def linearize(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Return `function(*primals)` and its derivative there, as a linear function of tangents.

    For `y = f(x)` with Jacobian `J` the second result maps `t`, one tangent for each primal, to `J t`. `function` runs
    once, however often the linear function is called. What is kept is the tape of its VJP `g -> J^H g`: this is
    linear, so replaying it maps `t` to `J t`. For a single tangent `jvp` is cheaper and keeps nothing.

    Parameters
    ----------
    function : gives arrays in any containers, or with `has_aux` a pair of them and anything else
    primals : its arguments, in any containers
    has_aux : whether `function` gives a pair; the result then has the auxiliary output as its third entry

    Raises
    ------
    ShapeError, DtypeError
        If a primal has no derivative, or, later, the structure or shapes of tangents differ from those of the primals.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> y, push = tg.linearize(lambda x, w: np.sum(x * w), np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    >>> y, push(np.array([1.0, 0.0]), np.zeros(2)), push(np.zeros(2), np.array([1.0, 1.0]))
    (tensor(11.), tensor(3.), tensor(3.))
    """
    made = _Run(function, primals, {}, range(len(primals)), "primal", has_aux)
    push_leaves = _transposed(made)
    value = made.outside(made.value)

    def push(*tangents: Any) -> Any:
        ts = _like(tangents, primals, made.inputs, "tangents", "its primal")
        return unflatten(value, push_leaves(ts))

    return (value, push, made.outside(made.aux)) if has_aux else (value, push)


def _transposed(made: _Run) -> Callable[[Sequence[Tensor]], list[Tensor]]:
    """Return the function that maps tangents of the inputs of a run to those of its outputs, both by leaf."""
    places = [i for i, out in enumerate(made.outputs) if differentiable(out.dtype)]

    def pull(*gs: Tensor) -> list[Tensor]:
        supply = dict(zip(places, gs, strict=True))
        return made.pull([supply.get(i) for i in range(len(made.outputs))])

    # The values of this pull are of no interest, so neither are infinities among them. Its cotangents are ones, because
    # a zero would tell those who look on (strict mode, hooks) that nobody asks for a derivative.
    with np.errstate(all="ignore"):
        one = [wrap(ones(out.shape, out.dtype, out.data)) for out in (made.outputs[i] for i in places)]
        again = _Run(pull, one, {}, range(len(places)), "cotangent")
    # What lies beyond the cotangents is the run itself, and what lies beyond that.
    again.keep = made.keep

    def push(ts: Sequence[Tensor]) -> list[Tensor]:
        found = iter(again.pull(ts))
        return [
            next(found) if i in places else wrap(zeros(out.shape, out.dtype, out.data))
            for i, out in enumerate(made.outputs)
        ]

    return push


def jacobian(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    mode: str | None = None,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """Return a function that gives the Jacobian of `function` by the arguments `argnums`.

    For `y = f(x)` the result is the array `J[i, j] = dy[i]/dx[j]` of shape `y.shape + x.shape` and the precision of
    `x`. For containers it has the structure of `y` with the structure of `x` in place of every leaf, as JAX's `jacrev`
    and `jacfwd` have it. `function` runs once; then one linear replay follows for every entry of `y` (reverse mode) or
    of `x` (forward mode).

    Parameters
    ----------
    function : gives arrays in any containers, or with `has_aux` a pair of them and anything else
    argnums : one position, or several; with several, each leaf of `y` is replaced by a tuple
    mode : "reverse", "forward", or None for the cheaper one: forward if `y` has more entries than `x`
    has_aux : whether `function` gives a pair; the result is then `(jacobian, aux)`
    holomorphic : says that `function` is complex differentiable by its complex arguments; `J` is then `dy/dz`

    Raises
    ------
    DtypeError
        For complex arguments of a function that is not said to be holomorphic, and outputs without derivatives.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.jacobian(lambda x: np.array([2.0, 3.0])[:, None] * x)(np.array([1.0, 1.0, 1.0])).shape
    (2, 3, 3)
    >>> tg.jacobian(np.cumsum)(np.zeros(3))
    tensor([[1., 0., 0.],
            [1., 1., 0.],
            [1., 1., 1.]])
    """
    if mode not in (None, "forward", "reverse"):
        raise ValueError(f"got mode {mode!r}, expected 'forward', 'reverse' or None")

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        numbers, single = _chosen(args, argnums)
        made = _Run(function, args, kwargs, numbers, "argument", has_aux)
        _check_jacobian(made, _name(function), holomorphic)
        rows = sum(out.size for out in made.outputs)
        columns = sum(x.size for x in made.inputs)
        forward = rows > columns if mode is None else mode == "forward"
        blocks = (_columns if forward else _rows)(made)
        parts = [made.by_argument(found) for found in blocks]
        result = unflatten(made.value, [part[0] if single else tuple(part) for part in parts])
        return (result, made.outside(made.aux)) if has_aux else result

    return run


def _check_jacobian(made: _Run, name: str, holomorphic: bool) -> None:
    """Raise DtypeError where there is no Jacobian: for integer outputs, and complex inputs of any other function."""
    for out in made.outputs:
        if not differentiable(out.dtype):
            raise DtypeError(
                f"got an output of dtype {out.dtype} from {name}, expected floating point or complex numbers; "
                "give what has no derivative as the second of a pair, with has_aux=True"
            )
    for x in made.inputs:
        if x.dtype.kind == "c" and not (holomorphic and all(out.dtype.kind == "c" for out in made.outputs)):
            raise DtypeError(
                f"got an argument of dtype {x.dtype} for {name}, which has a Jacobian only if the function is complex "
                "differentiable and gives complex numbers: say so by holomorphic=True; or differentiate by real and "
                "imaginary parts"
            )


def _rows(made: _Run) -> list[list[Tensor]]:
    """Return the blocks of a Jacobian, by output and input, from one VJP for each entry of the outputs."""
    blocks = []
    for i, out in enumerate(made.outputs):
        rows = []
        for unit in _units(out):
            gs = [unit if j == i else None for j in range(len(made.outputs))]
            row = made.pull(gs)
            if out.dtype.kind == "c":
                # For real inputs a VJP gives the real part of what it is for complex ones: of J or of -i J.
                other = made.pull([None if g is None else 1j * g for g in gs]) if _any_real(made.inputs) else row
                row = [h.conj() if h.dtype.kind == "c" else h + 1j * h_i for h, h_i in zip(row, other, strict=True)]
            rows.append(row)
        blocks.append([_joined([row[k] for row in rows], out, x, 0) for k, x in enumerate(made.inputs)])
    return blocks


def _any_real(tensors: Sequence[Tensor]) -> bool:
    return any(x.dtype.kind != "c" for x in tensors)


def _columns(made: _Run) -> list[list[Tensor]]:
    """Return the blocks of a Jacobian, by output and input, from one JVP for each entry of the inputs."""
    push = _transposed(made)
    zero = [wrap(zeros(x.shape, x.dtype, x.data)) for x in made.inputs]
    by_input = []
    for k, x in enumerate(made.inputs):
        columns = [push([*zero[:k], wrap(unit), *zero[k + 1 :]]) for unit in _units(x)]
        by_input.append([_joined([column[i] for column in columns], out, x, -1) for i, out in enumerate(made.outputs)])
    return [list(block) for block in zip(*by_input, strict=True)] if by_input else [[] for _ in made.outputs]


def _units(like: Tensor) -> Any:
    """Yield the arrays of the space of `like` that have one entry of one and zeros elsewhere."""
    for place in range(like.size):
        unit = zeros((like.size,), like.dtype, like.data)
        unit[place] = 1
        yield unit.reshape(like.shape)


def _joined(parts: Sequence[Tensor], out: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return the block of a Jacobian whose slices along the output's (0) or the input's (-1) entries are `parts`."""
    dtype = np.result_type(x.dtype, np.complex64) if out.dtype.kind == "c" else x.dtype
    shape = out.shape + x.shape
    if not parts:
        return wrap(zeros(shape, dtype, x.data))
    block = OPS["stack"](parts, axis=axis).reshape(shape)
    return block if block.dtype == dtype else block.astype(dtype)


def hessian(
    function: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[..., Any]:
    """Return a function that gives the second derivatives of `function` by the arguments `argnums`.

    For `y = f(x)` the result is `H[i, j, k] = d2y[i]/dx[j]dx[k]` of shape `y.shape + x.shape + x.shape`, the Jacobian
    of the Jacobian; for a scalar function the Hessian matrix. Containers nest as in `jacobian`. For products with
    vectors alone `hvp` needs no matrix.

    Parameters and errors are those of `jacobian`.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    tensor([[4., 2.],
            [2., 0.]])
    """
    first = jacobian(function, argnums, has_aux=has_aux, holomorphic=holomorphic)
    return jacobian(first, argnums, has_aux=has_aux, holomorphic=holomorphic)


def hvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
    """Return the product of the Hessian of `function`, which gives one real number, at `primals` with `tangents`.

    For `y = f(x)` with Hessian `H` the result is the tuple of `H t` by primal: the derivative of the gradient in the
    direction `t`. No matrix is formed; the cost is that of a few gradients, whatever the size of `x`.

    The product is the gradient of the derivative along `t`, reverse mode over forward mode: the same numbers as the
    forward mode over reverse mode of Pearlmutter 1994, "Fast Exact Multiplication by the Hessian", but the products
    that only the gradient needs are not computed.

    Parameters
    ----------
    primals, tangents : tuples of equal structure; a tangent has its primal's shape

    Raises
    ------
    ShapeError, DtypeError
        If the value is not one real number, a primal has no derivative, or tangents do not fit the primals.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.hvp(lambda x: x[0] ** 2 * x[1], (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    (tensor([4., 2.]),)
    """
    primals = _positional(primals, "primals")

    @functools.wraps(function, updated=())
    def scalar(*args: Any) -> Any:
        return _scalar(function(*args), function)

    def slope(*args: Any) -> Any:
        return jvp(scalar, args, tangents)[1]

    made = _Run(slope, primals, {}, range(len(primals)), "primal")
    return tuple(made.by_argument(made.pull([None], retain=False)))


def stop_gradient(tree: Any) -> Any:
    """Return `tree` with tensors that share the arrays and have no history and no tangents: constants, to derivatives.

    Parameters
    ----------
    tree : a tensor, or any containers of tensors; anything else in them stays as it is

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.grad(lambda x: x * tg.stop_gradient(x))(3.0)
    tensor(3.)
    """
    return map_leaves(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)


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
    outs: list[Any] = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    ins: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    given = [None] * len(outs) if cotangents is None else [cotangents] if isinstance(outputs, Tensor) else cotangents
    if not isinstance(given, (list, tuple)) or len(given) != len(outs):
        raise ShapeError(f"got {described(given)} for cotangents, expected one for each of the {len(outs)} outputs")
    for what, tensors in (("output", outs), ("input", ins)):
        for i, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                raise DtypeError(f"got {type(tensor).__name__} for {what} {i}, expected a tensor")
            if not tensor.requires_grad:
                raise HistoryError(f"got {what} {i} without history; make leaves with requires_grad=True")
    for i, (out, g) in enumerate(zip(outs, given, strict=True)):
        if g is None and out.size != 1:
            raise ShapeError(
                f"got shape {out.shape} for output {i}, expected a single number; give its cotangent: cotangents=[...]"
            )
    seeds = [(out._record, seed_for(out, g)) for out, g in zip(outs, given, strict=True)]
    wanted = [x._record for x in ins]
    retain = create_graph if retain_graph is None else retain_graph
    arrived = run_replay(seeds, wanted, retain or create_graph, create_graph)
    for i, x in enumerate(ins):
        if x._record not in arrived and not allow_unused:
            raise HistoryError(f"input {i} was not used for the outputs; allow_unused=True gives None for it")
    taken = {id(detached(g)) for _, g in seeds}
    return tuple(_user(arrived[x._record], x, create_graph, taken) if x._record in arrived else None for x in ins)
