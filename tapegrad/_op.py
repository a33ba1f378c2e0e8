"""The notation in which every derivative is written, and the recorders that are made from it.

A row says what an op is and what its rule is, once:

    unary(np.exp, lambda g, out: g * out)
    binary(np.divide, lambda g, y: g / y, lambda g, y, out: -g * out / y)
    linear(np.reshape, lambda g, x_shape, shape: np.reshape(g, x_shape))

The names of a formula's parameters are its residuals: inputs (`x`, `y`), the result (`out`), a fact about an input
(`x_shape`, `x_dtype`), or a setting of the op under NumPy's name and with NumPy's default. The kind of the row says how
forward mode follows: see `Op.tangent`.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

from ._array import (
    NUMBERS,
    as_array,
    broadcast_to,
    device_of,
    zeros,
)
from ._mode import MODE, Mode, ModeContext
from ._recorders import recorder, refuse_positional_out
from ._tape import FORWARD_ONLY, Dual, Record, next_position, replay, root, space_of
from ._tensor import OPS, Tensor, detached, wrap, wrapped
from .errors import ShapeError, UnsupportedError
from .typing import Formula, Shape

__all__ = ["RULES", "binary", "composite", "constant", "elementwise", "general", "linear", "metadata", "multilinear"]
__all__ += ["refused", "unary"]

RULES: dict[str, Op] = {}
"""Every op with a rule, by name; composites, constants and refusals are in `CLASSIFIED` only."""

CLASSIFIED: dict[Any, tuple[str, str]] = {}
"""Every function that a row names, to its kind and, for refusals, the reason."""


def _shape(a: Any) -> Shape:
    """Return the shape of an array, or of a Python number."""
    return getattr(a, "shape", ())


class Parts(dict[int, Any]):
    """The cotangents of an op with several results, by position; those of unused results are missing."""

    dtype = None
    nbytes = 0

    def __add__(self, other: Parts) -> Parts:
        return Parts(
            {i: self[i] + other[i] if i in self and i in other else self.get(i, other.get(i)) for i in self | other}
        )


class Op:
    """One row of the notation: a function, a formula for each input, and how to draw samples for its tests.

    Parameters
    ----------
    function : what runs on arrays
    kind : the word of the row
    formulas : one per input, None for an input that has no derivative
    inputs : the inputs' names; `"*xs"` for a function of one sequence of arrays, `"subscripts *xs"` for a function
        of a setting followed by any number of arrays
    outputs : the results' names
    free : settings that the derivative does not depend on
    jvp : a hand-written rule for tangents
    into : of an op with one input that reads a part of it: `into(target, g, *residuals)` adds the transpose to the
        cotangent `target` in place, where the replay owns it, or returns False to leave that to the formula
    kink : a mask, of the result's shape, of where the derivative is a convention; its parameters are as a formula's
    on, cases : the domain, and shapes and settings, of the samples
    """

    def __init__(
        self,
        function: Callable[..., Any],
        kind: str,
        formulas: Sequence[Formula | None],
        inputs: str = "x y",
        outputs: str = "out",
        free: str = "",
        jvp: Formula | None = None,
        into: Callable[..., bool] | None = None,
        kink: Formula | None = None,
        on: Any = None,
        cases: Any = None,
        name: str | None = None,
    ) -> None:
        self.function = function
        self.kind = kind
        self.formulas = tuple(formulas)
        self.name = name or function.__name__
        self.jvp = jvp
        self.into = into
        self.kink = kink
        self.on = on
        self.cases = cases
        self.variadic = "*" in inputs
        self.leading = len(inputs.split()) - 1 if self.variadic else 0
        self.inputs = ("xs",) if self.variadic else tuple(inputs.split()[: len(self.formulas)])
        self.outputs = tuple(outputs.split())
        # Rules of this package are proven by the sweep; those of users have their shapes checked as they run.
        self.trusted = all(f is None or f.__module__.startswith(("tapegrad.ops", "tapegrad._")) for f in self.formulas)
        self.cotangents = ("g",) if len(self.outputs) == 1 else tuple("g" + output for output in self.outputs)
        self.names = tuple(() if f is None else _parameters(f)[len(self.cotangents) :] for f in self.formulas)
        self.defaults: dict[str, Any] = {}
        for formula in filter(None, (*self.formulas, jvp)):
            self.defaults |= _defaults(formula)
        if not self.trusted:
            # Our own formulas repeat NumPy's defaults, which NumPy does not always tell; those of users need not.
            self.defaults |= _defaults_of(function)
        self.sources = self._residual_sources()
        self.settings = {name for names in self.names for name in names} - set(self.sources)
        self.known = self.settings | set(free.split())
        rules = tuple(
            (f if f is None or len(self.outputs) == 1 else self._on_parts(f), len(names))
            for f, names in zip(self.formulas, self.names, strict=True)
        )
        self.each_formula: Any = itertools.repeat(self.formulas[0]) if self.variadic else self.formulas
        self.many = self.variadic or len(rules) > 2
        self.rules: Any = itertools.repeat(rules[0]) if self.variadic else rules
        self.rule_x, self.rule_y = (*rules, (None, 0), (None, 0))[:2]
        self.elementwise = kind in ("unary", "binary", "elementwise")
        # Elementwise rules leave broadcast axes to the engine, and so do those of NumPy's generalized ufuncs (matmul).
        self.broadcasts = self.elementwise or (kind == "multilinear" and hasattr(function, "nin"))
        self.projects = self.broadcasts or not self.trusted
        self.public: Callable[..., Any] = function

    # Only the op of a record with hooks has others: see `_hooks`.
    hooks: list[Callable[[Tensor], Any]] | None = None
    retains = False

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    @functools.cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of the function's parameters in NumPy's order, inputs included."""
        try:
            return tuple(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):
            return self.inputs + tuple(self.defaults)

    @functools.cached_property
    def bound(self) -> tuple[str, ...]:
        """The settings in the order in which arguments after the inputs are bound, then those given by name only."""
        after = self.parameters[: self.leading] or self.parameters[len(self.inputs) :]
        return after + tuple(sorted(self.known - set(after)))

    @functools.cached_property
    def open(self) -> int:
        """How many settings, from the first, the rule knows: these may be given by position."""
        return next((i for i, name in enumerate(self.bound) if name not in self.known), len(self.bound))

    def check_names(self) -> None:
        """Raise TypeError where a formula asks for something that is neither known nor an argument of the function."""
        unknown = self.settings - set(self.defaults)
        if unknown and not self.trusted and (unknown := unknown - set(self.parameters)):
            raise TypeError(
                f"the rule of {self.name} asks for {', '.join(sorted(unknown))}, expected inputs "
                f"({', '.join(self.inputs)}), results ({', '.join(self.outputs)}), facts such as "
                f"{self.inputs[0]}_shape, or arguments of the function"
            )

    def check_settings(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Raise UnsupportedError for a setting that the rule does not know."""
        if len(args) > self.open or not self.known.issuperset(kwargs):
            name = next(name for name in (*self.bound[: len(args)], *kwargs) if name not in self.known)
            raise UnsupportedError(
                f"{self.name} of a tracked tensor does not support the argument {name}; "
                f"its rule knows {', '.join(sorted(self.known)) or 'none'}"
            )

    def _on_parts(self, formula: Formula) -> Formula:
        """Return `formula`, which takes one cotangent per result, as a function of `Parts`."""
        places = range(len(self.outputs))
        return lambda parts, *residuals: formula(*[parts.get(i) for i in places], *residuals)

    # Residuals

    def _residual_sources(self) -> dict[str, str]:
        """Return the expression for every residual in terms of the position `_k`, `_arrays` and `_outs`."""
        sources = {name: f"_outs[{i}]" for i, name in enumerate(self.outputs)}
        if self.variadic:
            return sources | {"k": "_k", "xs": "tuple(_arrays)", "shapes": "tuple([a.shape for a in _arrays])"}
        for i, x in enumerate(self.inputs):
            # One of several inputs may be a number.
            shape = f"_shape(_arrays[{i}])" if len(self.inputs) > 1 else "_arrays[0].shape"
            sources |= {x: f"_arrays[{i}]", f"{x}_shape": shape}
            sources |= {f"{x}_dtype": f"_arrays[{i}].dtype", f"{x}_device": f"_device_of(_arrays[{i}])"}
        return sources

    def collector(self, names: Sequence[str]) -> Callable[..., Any]:
        """Return a function of `(k, arrays, outs, *settings)` that gives the values of `names`, a tuple unless one."""
        return self._written_out("_k, _arrays, _outs", names, {})

    @functools.cached_property
    def collectors(self) -> Any:
        """The collector of what the formula for each input keeps."""
        return [self.collector(names) for names in self.names]

    @functools.cached_property
    def keepers(self) -> Any:
        """The same of an op of one or two inputs and one result, as functions of `(x, y, out, *settings)`."""
        short = {"_arrays[0]": "_x", "_arrays[1]": "_y", "_outs[0]": "_out"}
        return [self._written_out("_x, _y, _out", names, short) for names in self.names]

    def _written_out(self, given: str, names: Sequence[str], short: dict[str, str]) -> Callable[..., Any]:
        """Return what collects residuals, with the settings in its signature: so Python binds them at full speed."""
        values = ", ".join(self.sources.get(name, name) for name in names)
        for long, letter in short.items():
            values = values.replace(long, letter)
        signature = "".join(f", {name}=_defaults.get({name!r})" for name in self.bound)
        made: Callable[..., Any] = eval(
            compile(f"lambda {given}{signature}: ({values})", __file__, "eval"),
            {"_defaults": self.defaults, "_shape": _shape, "_device_of": device_of},
        )
        return made

    def revive(self, record: Record, k: int, saved: Any) -> Any:
        """Return the residuals for input `k` with tensors, tied to their records, in place of arrays."""
        names = self.names[0 if self.variadic else k]
        parents = record.parents()
        revived: list[Any] = []
        for name, value in zip(names, saved if len(names) > 1 else (saved,), strict=True):
            if name in self.outputs:
                several = len(self.outputs) > 1
                revived.append(wrap(value, _part(record, self.outputs.index(name), value) if several else record))
            elif name == "xs":
                revived.append(tuple(wrap(v, p) if p is not None else v for v, p in zip(value, parents, strict=True)))
            elif name in self.inputs and (parent := parents[self.inputs.index(name)]) is not None:
                revived.append(wrap(value, parent))
            else:
                revived.append(value)
        return tuple(revived) if len(revived) != 1 else revived[0]

    # Records

    def links(self, record: Record) -> Iterator[tuple[Any, Any, Any, int]]:
        """Return the inputs of a record of many: their records, rules with the number of residuals, these, places."""
        return zip(record.x, self.rules, record.for_x, itertools.count(), strict=False)

    def with_rules(self, parents: list[Record | None]) -> list[Record | None]:
        """Return the inputs' records, None for those that have no rule."""
        if None not in self.formulas:
            return parents
        return [p if formula is not None else None for p, formula in zip(parents, self.each_formula, strict=False)]

    def fill(self, record: Record, parents: Sequence[Any], arrays: Sequence[Any], out: Any, call: Any) -> None:
        """Make `record` the record of this op's result `out` on `arrays`."""
        several = len(self.outputs) > 1
        outs = out if several else (out,)
        record.op = self
        record.space = None if several else self.space(out)
        args, kwargs = call
        kept: list[Any] = [None] * len(parents)
        if self.variadic:
            # What is kept differs by the position alone: it is collected once, not once for each of many inputs.
            names = self.names[0]
            values = self._values(self.collectors[0], len(names), 0, arrays, outs, call)
            for k, p in enumerate(parents):
                if p is not None:
                    own = tuple([k if name == "k" else value for name, value in zip(names, values, strict=True)])
                    kept[k] = own[0] if len(own) == 1 else own
        else:
            for k, p in enumerate(parents):
                if p is not None:
                    kept[k] = self.collectors[k](k, arrays, outs, *args, **kwargs)
        if self.many:
            record.x, record.for_x, record.y, record.for_y = tuple(parents), tuple(kept), None, None
        else:
            record.x, record.for_x = parents[0], kept[0]
            record.y, record.for_y = (parents[1], kept[1]) if len(parents) > 1 else (None, None)
        record.position = next_position()

    def space(self, out: Any) -> tuple[Shape, Any]:
        """Return the space of a result: for rules that nobody has proven an object of its own, so all are projected."""
        return space_of(out.shape, out.dtype) if self.trusted else (out.shape, out.dtype)

    def play(
        self, mode: Mode | None, inputs: Sequence[Any], arrays: Sequence[Any], compute: Callable[[], Any], call: Any
    ) -> Any:
        """Return the tensor (or tensors) of what `compute` makes of `arrays`: recorded, with tangents, and watched.

        The long way, which every op can go; recorders take it where `mode` asks for more than a record. `call` holds
        the arguments besides the inputs, and the keywords.
        """
        recording, levels, watchers = mode or Mode()
        started = perf_counter()
        out = compute()
        seconds = perf_counter() - started
        several = len(self.outputs) > 1
        outs = out if several else (out,)
        parents = self.with_rules([x._record if isinstance(x, Tensor) else None for x in inputs])
        active = [level for level in levels if any(level.tangent(p) is not None for p in parents)]
        reverse = recording and any(p is not None and p.position > FORWARD_ONLY for p in parents)
        record: Record | None = None
        if reverse or active:
            self.check_settings(*call)
            if not self.broadcasts:
                arrays = [as_array(a) if type(a) in NUMBERS else a for a in arrays]
            record = Dual() if active else Record()
            if reverse:
                # Parents that have tangents only stay too: residuals are revived from them.
                self.fill(record, parents, arrays, out, call)
                if not any(p is not None for p in record.parents()) and not active:
                    record = None
        for watcher in watchers:
            watcher.computed(self, inputs, call, outs, record, seconds)
        results = wrapped(out)
        if record is not None:
            records = [_part(record, i, a) for i, a in enumerate(out)] if several else [record]
            tensors = [wrap(a, r) for a, r in zip(outs, records, strict=True)]
            inputs = [x if isinstance(x, Tensor) else a for x, a in zip(inputs, arrays, strict=True)]
            for level in active:
                outer = levels[: levels.index(level)]
                with ModeContext(levels=outer):
                    raw = not outer and not reverse
                    tangents = self.tangent(
                        [level.tangent(p) for p in parents],
                        arrays if raw else inputs,
                        outs if raw else tensors,
                        call,
                    )
                if several:
                    record.tangents[level] = tangents  # type: ignore[attr-defined]
                for part, tangent in zip(records, tangents, strict=True):
                    part.tangents[level] = tangent  # type: ignore[attr-defined]
            results = tensors[0]
            if several:
                results = type(out)(*tensors) if hasattr(out, "_fields") else tuple(tensors)
        return results

    def kinks(self, arrays: Sequence[Any], outs: Sequence[Any], call: Any) -> Any:
        """Return the mask of results at a kink, or None for a row that names none."""
        if self.kink is None:
            return None
        names = _parameters(self.kink)
        return self.kink(*self._values(self.collector(names), len(names), 0, arrays, outs, call))

    # Forward mode

    def tangent(self, ts: Sequence[Any], inputs: Sequence[Any], outs: Sequence[Any], call: Any) -> list[Any]:
        """Return the tangents of the results from those of the inputs (None for zero)."""
        args, kwargs = call
        if self.jvp is not None:
            names = _parameters(self.jvp)[len(ts) :]
            made = self.jvp(*ts, *self._values(self.collector(names), len(names), 0, inputs, outs, call))
            made = list(made) if len(self.outputs) > 1 else [made]
            for t, out in zip(made, outs, strict=not self.trusted):
                if not self.trusted and getattr(t, "shape", None) != out.shape:
                    raise ShapeError(
                        f"the JVP of {self.name} returned a tangent of shape {getattr(t, 'shape', None)}, expected the "
                        f"result's, {out.shape}"
                    )
        elif self.elementwise:
            made = [_sum(self._formula_on(k, (t,), inputs, outs, call) for k, t in enumerate(ts) if t is not None)]
        elif self.kind == "linear":
            full = [zeros(x.shape, outs[0].dtype, x) if t is None else t for t, x in zip(ts, inputs, strict=True)]
            made = [self._call(full, args, kwargs)]
        elif self.kind == "multilinear":
            places = [k for k, t in enumerate(ts) if t is not None]
            made = [
                _sum(self._call([ts[k] if i == k else x for i, x in enumerate(inputs)], args, kwargs) for k in places)
            ]
        else:
            made = self._transposed_vjp(ts, inputs, outs, call)
        return [_fit(t, out) for t, out in zip(made, outs, strict=True)]

    def _call(self, inputs: Sequence[Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if not self.variadic:
            return self.public(*inputs, *args, **kwargs)
        if self.leading:
            return self.public(*args, *inputs, **kwargs)
        return self.public(list(inputs), *args, **kwargs)

    def _formula_on(self, k: int, gs: Sequence[Any], inputs: Sequence[Any], outs: Sequence[Any], call: Any) -> Any:
        """Return the formula for input `k` on the cotangents `gs`, or None where the input has none."""
        i = 0 if self.variadic else k
        formula = self.formulas[i]
        if formula is None:
            return None
        mode = MODE.get()
        if mode is not None and mode.watchers:
            formula = mode.rule(self, k, formula)
        return formula(*gs, *self._values(self.collectors[i], len(self.names[i]), k, inputs, outs, call))

    def _values(self, collect: Any, count: int, k: int, inputs: Sequence[Any], outs: Sequence[Any], call: Any) -> Any:
        """Return the `count` values that a collector gives, as a tuple."""
        args, kwargs = call
        values = collect(k, inputs, outs, *args, **kwargs)
        return (values,) if count == 1 else values

    def _transposed_vjp(self, ts: Sequence[Any], inputs: Sequence[Any], outs: Sequence[Any], call: Any) -> list[Any]:
        """Return the tangents by transposing the VJP: it is linear in the cotangent, so its own VJP is the JVP."""
        with ModeContext(recording=True):
            gs = [wrap(zeros(out.shape, out.dtype, detached(out)), root(out.shape, out.dtype)) for out in outs]
            seeds = []
            for k, t in enumerate(ts):
                h = None if t is None else self._formula_on(k, gs, inputs, outs, call)
                if isinstance(h, Tensor) and h._record is not None:
                    seeds.append((h._record, t if isinstance(t, Tensor) else wrap(t)))
            arrived = replay(seeds, [g._record for g in gs if g._record is not None], retain=True, create=True)
        return [arrived.get(g._record, g.detach()) for g in gs]  # type: ignore[arg-type]


def _sum(terms: Any) -> Any:
    return functools.reduce(lambda a, b: a + b, [term for term in terms if term is not None])


def _fit(t: Any, out: Any) -> Any:
    """Return a tangent brought to the space of the result: broadcast, real where the result is real, its dtype."""
    if t.dtype.kind == "c" and out.dtype.kind != "c":
        t = t.real
    if t.dtype != out.dtype:
        t = t.astype(out.dtype)
    return t if t.shape == out.shape else broadcast_to(t, out.shape)


def _parameters(formula: Formula) -> tuple[str, ...]:
    code = formula.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _defaults(formula: Formula) -> dict[str, Any]:
    values = formula.__defaults__ or ()
    code = formula.__code__
    return dict(zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=True))


def _defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the default values of a function's parameters, as far as it tells them."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}


# One of several results is a record of its own, whose rule puts its cotangent in the right place.


@functools.cache
def _part_op(i: int) -> Op:
    op = Op(lambda x: x, "linear", [lambda g: Parts({i: g})], name=f"result {i}")
    op.trusted = True
    return op


def _part(record: Record, i: int, out: Any) -> Record:
    """Return a record of `out`, the i-th result of `record`, with its tangents."""
    part = Record()
    if type(record) is Dual:
        part = Dual()
        part.tangents = {level: tangents[i] for level, tangents in record.tangents.items()}
    part.y = part.for_x = part.for_y = None
    part.space = space_of(out.shape, out.dtype)
    if record.op is None:
        part.op, part.x, part.position = None, None, FORWARD_ONLY
    else:
        part.op, part.x, part.position = _part_op(i), record, next_position()
    return part


# The words of the notation


def _register(op: Op) -> Callable[..., Any]:
    op.check_names()
    made = recorder(op)
    functools.update_wrapper(made, op.function, assigned=("__name__", "__qualname__", "__doc__"), updated=())
    op.public = made
    RULES[op.name] = op
    OPS[op.function] = made
    CLASSIFIED[op.function] = (op.kind, "")
    return made


def unary(function: Callable[..., Any], formula: Formula, **options: Any) -> Callable[..., Any]:
    """Give an elementwise function of one array its rule, and return it as an op."""
    return _register(Op(function, "unary", [formula], **options))


def binary(
    function: Callable[..., Any], for_x: Formula | None, for_y: Formula | None, **options: Any
) -> Callable[..., Any]:
    """Give an elementwise function of two arrays, which broadcast, a rule for each, and return it as an op."""
    return _register(Op(function, "binary", [for_x, for_y], **options))


def elementwise(function: Callable[..., Any], *formulas: Formula | None, **options: Any) -> Callable[..., Any]:
    """Give an elementwise function of any number of arrays, or one with settings, its rules; None for no derivative."""
    return _register(Op(function, "elementwise", formulas, **options))


def linear(function: Callable[..., Any], *transposes: Formula, **options: Any) -> Callable[..., Any]:
    """Give a function that is linear in all its inputs together the transpose for each, and return it as an op."""
    return _register(Op(function, "linear", transposes, **options))


def multilinear(function: Callable[..., Any], *transposes: Formula, **options: Any) -> Callable[..., Any]:
    """Give a function that is linear in each input apart the transpose for each, and return it as an op."""
    return _register(Op(function, "multilinear", transposes, **options))


def general(
    function: Callable[..., Any],
    inputs: str,
    outputs: str,
    vjp: Formula | Sequence[Formula | None],
    jvp: Formula | None = None,
    **options: Any,
) -> Callable[..., Any]:
    """Give any other function a VJP for each input; its parameters are the cotangents `g` (or `gNAME`), then residuals.

    With several results, the cotangent of one that was not used is None: it says less than one that happens to be zero.
    Without a `jvp`, forward mode transposes the VJP.
    """
    formulas = [vjp] if callable(vjp) else vjp
    return _register(Op(function, "general", formulas, inputs=inputs, outputs=outputs, jvp=jvp, **options))


def composite(function: Callable[..., Any], made: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Say that `function` is only a combination of ops, which `made` spells out; its samples are tested likewise."""
    op = Op(function, "composite", [], **options)
    op.public = made
    RULES[op.name] = op
    OPS[function] = made
    CLASSIFIED[function] = ("composite", "")
    return made


def constant(*functions: Any) -> None:
    """Say that functions have no derivative by nature: they run on the arrays, and the results are constants."""
    for function in functions:
        OPS[function] = _on_arrays(function, wrapped)
        CLASSIFIED[function] = ("constant", "")


def metadata(*functions: Any) -> None:
    """Say that functions answer about arrays (shape, dtype, ...): they give what they give for the array."""
    for function in functions:
        OPS[function] = _on_arrays(function, lambda answer: answer)
        CLASSIFIED[function] = ("metadata", "")


def _on_arrays(function: Callable[..., Any], finish: Callable[[Any], Any]) -> Callable[..., Any]:
    def bare(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value._array
        return type(value)(bare(entry) for entry in value) if type(value) in (list, tuple) else value

    @functools.cache
    def parameters() -> tuple[str, ...]:
        try:
            return tuple(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            return ()

    @functools.wraps(function, assigned=("__name__", "__doc__"), updated=())
    def run(*args: Any, **kwargs: Any) -> Any:
        if len(args) > 2:
            refuse_positional_out(function.__name__, parameters(), args)
        return finish(function(*bare(args), **{name: bare(value) for name, value in kwargs.items()}))

    return run


def refused(*functions: Callable[..., Any], because: str) -> None:
    """Say that functions are refused on tensors, with the reason and what to use instead."""

    def refusal(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            raise UnsupportedError(f"numpy's {function.__name__} is refused on tensors: {because}")

        return run

    for function in functions:
        OPS[function] = refusal(function)
        CLASSIFIED[function] = ("refused", because)
