"""Faults planted in rules: what share of them the checks find.

A mutant is an op whose rule is wrong in one way that authors of rules really err in: a sign, a dropped term, the wrong
residual, a missing conjugate. Some are made around a rule; others in the rule's source, or in that of the functions
that it calls. Planted, a mutant is in force everywhere, as if the row had been written so.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import gc
import inspect
import itertools
import signal
import threading
import types
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import _op
from .._array import to_host
from .._mode import ModeContext, Watcher
from .._op import Op
from .._recorders import recorder
from .._tensor import OPS, Tensor
from .._transforms import vjp
from ..ops.creation import tensor
from ._standin import strict
from ._subject import bare
from ._sweep import Entry, accepts, cases_of, checks, ops, runs_on_device

__all__ = ["FAULTS", "Mutant", "Score", "measure", "mutants", "report", "sample"]

FAULTS = {
    "factor": "the cotangent times 1.001",
    "sign": "the cotangent times -1",
    "dropped term": "one side of a sum or difference left out",
    "dropped factor": "one side of a product, or a divisor, left out",
    "swapped argument": "the sides of -, /, @ or **, two arguments of a call, or the rules of two inputs, swapped",
    "missing sum": "the first entries along broadcast axes, or the first term of a sum, in place of the sum",
    "missing conjugate": "a conjugate, or that of a conjugate transpose, left out",
    "missing real part": "a real part left out",
    "wrong residual": "one input or result kept in place of another",
    "axis off by one": "the setting axis, wherever the rule uses it, one off",
    "damaged input": "the rule changes an input in place",
    "damaged cotangent": "the rule changes the incoming cotangent in place",
    "float64": "the cotangent left in double precision",
    "aliased result": "the cotangent written to memory that the rule's next call writes to again",
}
"""The kinds of faults, and how each is made."""

# What changes no value may still be found.
_NEVER_IDLE = ("factor", "sign", "damaged input", "damaged cotangent", "float64", "aliased result")
# How deep functions that a rule calls are changed too.
_DEPTH = 2
# How many samples of every case tell whether a fault has an effect.
_SEEDS = 6
# No check of a right rule takes nearly as long.
_SECONDS = 20


@dataclass(frozen=True)
class Mutant:
    """An op with one fault in the rule of one of its inputs (or in its tangent rule).

    `formula` is what stands in place of that rule, and `names` its residuals.
    """

    op: Op
    kind: str
    where: str
    place: int | None
    formula: Callable[..., Any] = field(compare=False, repr=False)
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the op, the fault and its place: `divide: sign, for y`."""
        return f"{self.op.name}: {self.kind}, {self.where}"

    @contextlib.contextmanager
    def planted(self) -> Iterator[Op]:
        """Return a context in which this op, wherever it is used, has the wrong rule.

        Examples
        --------
        >>> import numpy as np
        >>> import tapegrad as tg
        >>> from tapegrad.testing import mutants
        >>> sign = next(mutant for mutant in mutants(np.sin) if mutant.kind == "sign")
        >>> with sign.planted():
        ...     tg.grad(np.sin)(0.0)
        tensor(-1.)
        >>> tg.grad(np.sin)(0.0)
        tensor(1.)
        """
        op = self.op
        before = dict(op.__dict__)
        if self.place is None:
            op.jvp = self.formula
            cells: list[tuple[Any, Any]] = []
        else:
            places = range(len(op.formulas)) if self.place < 0 else [self.place]
            formulas, names = list(op.formulas), list(op.names)
            for k in places:
                formulas[k] = self.formula
                names[k] = self.names
            cells = _install(op, formulas, names)
        try:
            yield op
        finally:
            op.__dict__.clear()
            op.__dict__.update(before)
            for cell, value in cells:
                cell.cell_contents = value


def _install(op: Op, formulas: Sequence[Any], names: Sequence[tuple[str, ...]]) -> list[tuple[Any, Any]]:
    """Give an op other formulas with other residuals; return the cells of its recorders that hold something new."""
    renamed = tuple(names) != op.names
    op.formulas, op.names = tuple(formulas), tuple(names)
    rules = tuple(
        (f if f is None or len(op.outputs) == 1 else op._on_parts(f), len(residuals))
        for f, residuals in zip(formulas, names, strict=True)
    )
    op.each_formula = itertools.repeat(op.formulas[0]) if op.variadic else op.formulas
    op.rules = itertools.repeat(rules[0]) if op.variadic else rules
    op.rule_x, op.rule_y = (*rules, (None, 0), (None, 0))[:2]
    op.__dict__.pop("collectors", None)
    op.__dict__.pop("keepers", None)
    changed = []
    if renamed:
        # Recorders of one and two arrays have worked out, when they were made, what they keep.
        for made in _recorders(op):
            cells = _cells(made)
            fresh = _cells(recorder(op)) if "function" in cells else {}
            for name in cells:
                if "keep" in name and name in fresh:
                    changed.append((cells[name], cells[name].cell_contents))
                    cells[name].cell_contents = fresh[name].cell_contents
    return changed


def _cells(function: Any) -> dict[str, Any]:
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


@functools.cache
def _recorders(op: Op) -> tuple[Any, ...]:
    """Return all recorders that were made for an op: its own, and those of the operators of tensors."""
    cells = [found for found in gc.get_referrers(op) if type(found) is types.CellType]
    closures = [found for cell in cells for found in gc.get_referrers(cell) if type(found) is tuple]
    functions = [found for closure in closures for found in gc.get_referrers(closure)]
    made = [
        found for found in functions if type(found) is types.FunctionType and found.__module__ == recorder.__module__
    ]
    return tuple({id(found): found for found in made if found.__code__.co_name == "record"}.values())


# Faults around a rule


Rule = Callable[..., Any]
Around = Callable[[Rule, int, tuple[str, ...]], Rule]


def _factor(rule: Rule, count: int, names: tuple[str, ...]) -> Rule:
    return lambda *given: 1.001 * rule(*given)


def _sign(rule: Rule, count: int, names: tuple[str, ...]) -> Rule:
    return lambda *given: -rule(*given)


def _float64(rule: Rule, count: int, names: tuple[str, ...]) -> Rule:
    def wrong(*given: Any) -> Any:
        h = rule(*given)
        return h.astype("complex128" if h.dtype.kind == "c" else "float64")

    return wrong


def _aliased(rule: Rule, count: int, names: tuple[str, ...]) -> Rule:
    buffers: dict[Any, Any] = {}

    def wrong(*given: Any) -> Any:
        h = rule(*given)
        if not isinstance(h, np.ndarray):
            return h
        buffer = buffers.setdefault((h.shape, h.dtype), np.empty_like(h))
        buffer[...] = h
        return buffer

    return wrong


def _damaging(damage_cotangent: bool) -> Around:
    """Return what makes rules that write to their cotangents, or to their last residual."""

    def around(rule: Rule, count: int, names: tuple[str, ...]) -> Rule:
        def wrong(*given: Any) -> Any:
            h = rule(*given)
            found: Sequence[Any] = given[:count] if damage_cotangent else given[-1:]
            for value in found:
                if isinstance(value, np.ndarray):
                    h = np.array(h) if isinstance(h, np.ndarray) else h
                    value *= 2.0
            return h

        return wrong

    return around


def _first_of_broadcast(rule: Rule, count: int, names: tuple[str, ...]) -> Rule:
    def wrong(*given: Any) -> Any:
        *others, shape = given
        h = rule(*others)
        if h.ndim > len(shape):
            h = h[(0,) * (h.ndim - len(shape))]
        return h[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)] if h.shape != shape else h

    return wrong


def _around(op: Op, k: int) -> Iterator[tuple[str, Around, tuple[str, ...]]]:
    """Yield the kinds of faults made around the rule for input `k`, with the residuals that they need."""
    names = op.names[k]
    yield "factor", _factor, names
    yield "sign", _sign, names
    if _passes(op, k):
        # Rules of users have all that they give cast.
        if op.trusted:
            yield "float64", _float64, names
        yield "aliased result", _aliased, names
    yield "damaged cotangent", _damaging(True), names
    if not op.variadic:
        yield "damaged input", _damaging(False), (*names, op.inputs[k])
        if op.broadcasts and len(op.inputs) > 1:
            yield "missing sum", _first_of_broadcast, (*names, f"{op.inputs[k]}_shape")


def _passes(op: Op, k: int) -> bool:
    """Return whether what the rule for input `k` gives can reach the input as it is.

    Cotangents of inputs of another dtype than the result's, and those of ops of several results, are always copied and
    cast by the engine: there a rule may give any dtype, and any memory.
    """
    if op.variadic or len(op.outputs) > 1:
        return op.variadic
    for example in cases_of(op):
        sample = Entry(op, example).sample("f")
        if k in sample.places:
            with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.suppress(TypeError):
                warnings.simplefilter("ignore")
                if sample.call(*sample.xs).dtype == sample.arrays[k].dtype:
                    return True
    return False


# Faults in the source


def _next_axis(axis: Any) -> Any:
    """Return another axis, or other axes, of an array that has more than one."""
    if isinstance(axis, (tuple, list)):
        return type(axis)(_next_axis(a) for a in axis)
    if axis is None or isinstance(axis, Tensor) or not isinstance(axis, (int, np.integer)):
        return axis
    return axis + 1 if axis in (0, -2) else axis - 1


def _first_term(a: Any, axis: Any = None, keepdims: bool = False, **others: Any) -> Any:
    """Return what a sum would be if all terms but the first were zero."""
    axes = range(a.ndim) if axis is None else sorted(i % a.ndim for i in (axis if isinstance(axis, tuple) else (axis,)))
    index = tuple((slice(0, 1) if keepdims else 0) if i in axes else slice(None) for i in range(a.ndim))
    return a[index]


def _only_turned(x: Any) -> Any:
    return x.swapaxes(-1, -2)


_TOOLS = {"_next_axis": _next_axis, "_first_term": _first_term, "_only_turned": _only_turned}
_ONE_WAY = (ast.Sub, ast.Div, ast.MatMult, ast.Pow)
# Functions that do not mind the order of their first two arguments, or say nothing of derivatives.
_EITHER_WAY = (
    "maximum",
    "minimum",
    "multiply",
    "add",
    "hypot",
    "bitwise_and",
    "zip",
    "isinstance",
    "getattr",
    "max",
    "min",
)
_AXES = ("axis", "axes", "axis1", "axis2")


def _call(name: str, *args: ast.expr, keywords: Sequence[ast.keyword] = ()) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(args), list(keywords))


def _called(site: ast.AST) -> str:
    """Return the last name of what a call calls."""
    if not isinstance(site, ast.Call):
        return ""
    return site.func.attr if isinstance(site.func, ast.Attribute) else getattr(site.func, "id", "")


def _changes(site: ast.AST, is_complex: bool) -> Iterator[tuple[str, ast.expr]]:
    """Yield the faults that can be made at one place of the source: what stands there instead."""
    if isinstance(site, ast.BinOp):
        if isinstance(site.op, (ast.Add, ast.Sub)):
            yield "dropped term", site.left
            yield "dropped term", site.right if isinstance(site.op, ast.Add) else ast.UnaryOp(ast.USub(), site.right)
        if isinstance(site.op, (ast.Mult, ast.Div, ast.MatMult)):
            yield "dropped factor", site.left
            if isinstance(site.op, ast.Mult):
                yield "dropped factor", site.right
        if isinstance(site.op, _ONE_WAY):
            yield "swapped argument", ast.BinOp(site.right, site.op, site.left)
    name = _called(site)
    if isinstance(site, ast.Call):
        if (
            name not in _EITHER_WAY
            and len(site.args) >= 2
            and not any(isinstance(arg, ast.Starred) for arg in site.args)
        ):
            swapped = [site.args[1], site.args[0], *site.args[2:]]
            if all(isinstance(arg, (ast.Name, ast.BinOp, ast.Call)) for arg in swapped[:2]):
                yield "swapped argument", ast.Call(site.func, swapped, site.keywords)
        if is_complex and name in ("conj", "conjugate", "H"):
            operand = site.args[0] if site.args else site.func.value  # type: ignore[attr-defined]
            yield "missing conjugate", _call("_only_turned", operand) if name == "H" else operand
        if is_complex and name == "real" and site.args:
            yield "missing real part", site.args[0]
        if name == "sum" and isinstance(site.func, ast.Attribute):
            operands = site.args if getattr(site.func.value, "id", "") == "np" else [site.func.value, *site.args]
            yield "missing sum", _call("_first_term", *operands, keywords=site.keywords)
    if isinstance(site, ast.Attribute) and site.attr == "real" and is_complex and getattr(site.value, "id", "") != "np":
        yield "missing real part", site.value


def _axes_of(site: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(site, ast.Name) and site.id in _AXES and isinstance(site.ctx, ast.Load):
        yield "axis off by one", _call("_next_axis", site)


class _Replaced(ast.NodeTransformer):
    """A copy of a tree with one place replaced."""

    def __init__(self, site: ast.AST, by: ast.AST) -> None:
        self.site, self.by = site, by

    def visit(self, tree: ast.AST) -> Any:
        return self.by if tree is self.site else super().visit(tree)


class _Renamed(ast.NodeTransformer):
    """A copy of a tree with one name replaced."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, name: ast.Name) -> Any:
        return ast.Name(self.names.get(name.id, name.id), name.ctx)

    def visit_arg(self, arg: ast.arg) -> Any:
        return ast.arg(self.names.get(arg.arg, arg.arg))


@functools.cache
def _trees(file: str) -> tuple[Any, ...]:
    tree = ast.parse(Path(file).read_text())
    return tuple(found for found in ast.walk(tree) if isinstance(found, (ast.Lambda, ast.FunctionDef)))


def _tree(function: Any) -> Any:
    """Return the source of a function as a tree, or None where it is not at hand."""
    code = getattr(function, "__code__", None)
    if code is None or not Path(code.co_filename).is_file():
        return None
    found = []
    for tree in _trees(code.co_filename):
        name = "<lambda>" if isinstance(tree, ast.Lambda) else tree.name
        lines = [tree.lineno, *(decorator.lineno for decorator in getattr(tree, "decorator_list", ()))]
        if name == code.co_name and code.co_firstlineno == min(lines):
            arguments = [arg.arg for arg in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs)]
            if arguments == inspect.getargs(code).args:
                found.append(tree)
    if len(found) > 1:
        # Several lambdas of one line with the same parameters: the code tells them apart.
        found = [tree for tree in found if _compiled(tree, function).__code__.co_code == code.co_code]
    return found[0] if len(found) == 1 else None


def _compiled(tree: Any, function: Any) -> Any:
    """Return the function that a changed tree makes, in the place of `function`."""
    names = {**function.__globals__, **_TOOLS}
    for name, cell in _cells(function).items():
        with contextlib.suppress(ValueError):
            names[name] = cell.cell_contents
    tree = copy.deepcopy(tree)
    # Defaults were evaluated where the function was made.
    tree.args.defaults = [ast.Constant(None) for _ in tree.args.defaults]
    tree.args.kw_defaults = [default and ast.Constant(None) for default in tree.args.kw_defaults]
    if isinstance(tree, ast.Lambda):
        made = eval(compile(ast.fix_missing_locations(ast.Expression(tree)), "<mutant>", "eval"), names)
    else:
        tree.decorator_list = []
        exec(compile(ast.fix_missing_locations(ast.Module([tree], [])), "<mutant>", "exec"), names)
        made = names[tree.name]
    made.__defaults__ = function.__defaults__
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _with_global(function: Any, name: str, value: Any) -> Any:
    """Return a copy of a function for which a global name stands for another value."""
    made = types.FunctionType(
        function.__code__,
        {**function.__globals__, name: value},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made


def _in_source(function: Any, is_complex: bool, depth: int = 0) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield faulty versions of a function: the kind, the place in words, and what makes the function."""
    tree = _tree(function)
    if tree is None:
        return
    body = [tree.body] if isinstance(tree, ast.Lambda) else tree.body
    for site in itertools.chain.from_iterable(map(ast.walk, body)):
        for kind, by in itertools.chain(_changes(site, is_complex), _axes_of(site)):
            shown = ast.unparse(ast.fix_missing_locations(copy.deepcopy(by)))
            where = f"{shown!r} for {ast.unparse(site)!r}"
            if depth:
                where += f" in {function.__name__}"
            yield kind, where, functools.partial(_changed, function, tree, site, by)
    if depth < _DEPTH:
        for name in function.__code__.co_names:
            called = function.__globals__.get(name)
            if isinstance(called, types.FunctionType) and _is_helper(called):
                for kind, where, make in _in_source(called, is_complex, depth + 1):
                    yield kind, where, functools.partial(_with_helper, function, name, make)


def _with_helper(function: Any, name: str, make: Callable[[], Any]) -> Any:
    return _with_global(function, name, make())


def _changed(function: Any, tree: Any, site: ast.AST, by: ast.AST) -> Any:
    """Return a function in whose source `by` stands in place of `site`."""
    # The copy holds `site` itself, so that it is found there.
    return _compiled(_Replaced(site, by).visit(copy.deepcopy(tree, {id(site): site})), function)


def _is_helper(function: Any) -> bool:
    """Return whether a function belongs to the rules themselves: no op, and no general tool."""
    module = function.__module__ or ""
    return module.startswith("tapegrad.ops.") and module != "tapegrad.ops._algebra" and not hasattr(function, "op")


def _refuses(formula: Any) -> bool:
    """Return whether a rule only says why there is none."""
    tree = _tree(formula)
    return isinstance(tree, ast.FunctionDef) and any(isinstance(line, ast.Raise) for line in tree.body)


def _renamings(op: Op, k: int) -> Iterator[dict[str, str]]:
    """Yield which residual of the rule for input `k` is kept instead of which."""
    names = op.names[k]
    for name in names:
        for other in (*op.inputs, *op.outputs):
            if name in (*op.inputs, *op.outputs) and other not in names and not op.variadic:
                yield {name: other}
                break
    kept = [name for name in names if name in (*op.inputs, *op.outputs)]
    if len(kept) > 1:
        yield {kept[0]: kept[1], kept[1]: kept[0]}


def mutants(op: Any, most: int = 4) -> list[Mutant]:
    """Return the faults that can be planted in the rules of an op, by kind and place.

    Parameters
    ----------
    op : a row, or a function that has one: `np.exp`, `tapegrad.gelu`, an op of your own
    most : of one kind in the source of one rule, at most so many, from its beginning to its end

    Examples
    --------
    >>> import numpy as np
    >>> for mutant in mutants(np.square)[:2]:
    ...     print(mutant)
    square: factor, for x
    square: sign, for x
    """
    op = _row(op)
    is_complex = any(accepts(Entry(op, example), "D") for example in cases_of(op))
    count = len(op.outputs)
    made: list[Mutant] = []
    for k, formula in enumerate(op.formulas):
        if formula is None or _refuses(formula):
            continue
        where = f"for {op.inputs[k]}"
        names = op.names[k]
        for kind, around, kept in _around(op, k):
            made.append(Mutant(op, kind, where, k, around(formula, count, names), kept))
        in_source: dict[str, list[Any]] = defaultdict(list)
        for kind, place, make in _in_source(formula, is_complex):
            in_source[kind].append((place, make))
        for kind, found in in_source.items():
            for place, make in (found[len(found) * i // most] for i in range(most)) if len(found) > most else found:
                made.append(Mutant(op, kind, f"{where}: {place}", k, make(), names))
        tree = _tree(formula)
        for renamed in _renamings(op, k) if tree is not None else ():
            wrong = _compiled(_Renamed(renamed).visit(copy.deepcopy(tree)), formula)
            kept = tuple(renamed.get(name, name) for name in names)
            if len(renamed) == 2:
                # Names and values are exchanged: the formula stays, and what it is given is the wrong way round.
                wrong = formula
            place = ", ".join(f"{new} for {old}" for old, new in renamed.items())
            made.append(Mutant(op, "wrong residual", f"{where}: {place}", k, wrong, kept))
    if len(op.formulas) == 2 and not any(formula is None or _refuses(formula) for formula in op.formulas):
        made.append(Mutant(op, "swapped argument", "for x: the rule for y", 0, op.formulas[1], op.names[1]))
    if op.jvp is not None:
        for kind, around in (("factor", _factor), ("sign", _sign)):
            parameters = ", ".join(_op._parameters(op.jvp))
            wrong = eval(f"lambda {parameters}: _wrong({parameters})", {"_wrong": around(op.jvp, 0, ())})
            made.append(Mutant(op, kind, "in the tangent rule", None, wrong))
    unique = {(mutant.kind, mutant.where): mutant for mutant in made}
    order = list(FAULTS)
    return sorted(unique.values(), key=lambda mutant: order.index(mutant.kind))


def _row(op: Any) -> Op:
    found = op if isinstance(op, Op) else getattr(op, "op", None) or getattr(OPS.get(op), "op", None)
    if not isinstance(found, Op) or not found.formulas:
        raise TypeError(f"got {op!r}, expected an op with a rule of its own")
    return found


# Measuring


def fate(mutant: Mutant) -> str:
    """Return "found", "survived" or "idle": what becomes of a mutant in the quick checks.

    Idle is a fault in the source that changes no derivative anywhere in the op's domain. Rules hold code for ties, for
    overflow, for values next to the edge of the domain; what is wrong there is none of the sweep's business, but of the
    tests of the gradient contract. To tell, derivatives of first and second order are compared with those of the right
    rule, at many more values than the sweep tries.
    """
    found = [Entry(mutant.op, example) for example in cases_of(mutant.op)]
    laws = [("first",), ("second",), ("precision",), ("forward", "layouts", "device")]
    if mutant.kind == "float64":
        laws.insert(0, ("precision",))
    if mutant.kind not in _NEVER_IDLE:
        witness = _witness(mutant, found)
        if witness is None:
            return "idle"
        # Where there is something to be found it is found soonest.
        found = [witness, *(entry for entry in found if entry is not witness)]
    with mutant.planted(), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        # First derivatives find most: they are tried in all cases before anything else is.
        if not all(_pass(found, law) for law in laws):
            return "found"
        # The quick checks are those of all ops: what is composed of this one is checked too.
        return "survived" if _pass(_composites()[mutant.op.name], ("first", "second")) else "found"


def _pass(found: Sequence[Entry], laws: tuple[str, ...]) -> bool:
    for entry in found:
        for check in checks(entry, laws=laws):
            try:
                with _in_time():
                    check.run()
            except Exception:
                return False
    return True


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Return a context that raises TimeoutError if it lasts: a wrong rule may never come to an end."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"no end within {_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@functools.cache
def _composites() -> dict[str, list[Entry]]:
    """Return by name of an op all entries of composites that call it."""
    found: dict[str, list[Entry]] = defaultdict(list)

    class Seen(Watcher):
        def computed(self, op: Any, *facts: Any) -> None:
            names.add(op.name)

    for op in ops():
        for entry in [Entry(op, example) for example in cases_of(op)] if op.kind == "composite" else []:
            names: set[str] = set()
            sample = entry.sample()
            with warnings.catch_warnings(), np.errstate(all="ignore"), ModeContext(watchers=(Seen(),)):
                warnings.simplefilter("ignore")
                sample.call(*(tensor(x, requires_grad=True) for x in sample.xs))
            for name in names:
                found[name].append(entry)
    return found


def _witness(mutant: Mutant, found: Sequence[Entry]) -> Entry | None:
    """Return the first entry where some sample has other derivatives than with the right rule."""
    for entry in found:
        choices: list[Any] = [("d", seed, np) for seed in range(_SEEDS)]
        choices += [("D", seed, np) for seed in range(_SEEDS)] if accepts(entry, "D") else []
        # Some rules take another way on a device.
        choices += [("d", 0, strict)] if runs_on_device(entry) else []
        for choice in choices:
            right = _derivatives(entry, *choice)
            with mutant.planted():
                wrong = _derivatives(entry, *choice)
            if type(right) is not type(wrong):
                return entry
            if right != wrong if isinstance(right, str) else not all(map(_are_close, right, wrong)):
                return entry
    return None


def _derivatives(entry: Entry, dtypes: str, seed: int, module: Any) -> Any:
    """Return derivatives of first and second order at one sample, or a string for what was raised."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            with _in_time():
                point = entry.sample(dtypes, seed).subject(module)
                if not point.xs or not point.outputs:
                    return []
                gs, ts = point.cotangents(), point.like(point.xs)

                def gradients(*given: Any) -> list[Any]:
                    return list(vjp(point.call, *given[len(gs) :])[1](list(given[: len(gs)])))

                pulled = vjp(gradients, *gs, *point.xs)[1](ts)
                return [to_host(bare(h)) for h in (*point.pull(gs), *pulled)]
        except Exception as error:
            return type(error).__name__


def _are_close(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-7, atol=1e-12, equal_nan=True)


@dataclass
class Score:
    """How many mutants were planted, by kind, and which survived.

    Mutants that are wrong nowhere in the domain of their op are counted apart, as `idle`.
    """

    planted: Counter[str] = field(default_factory=Counter)
    survivors: list[Mutant] = field(default_factory=list)
    idle: list[Mutant] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The share of mutants that was found."""
        total = self.planted.total()
        return 1 - len(self.survivors) / total if total else 1.0

    def __str__(self) -> str:
        """Return a table by kind of fault."""
        missed, idle = Counter(m.kind for m in self.survivors), Counter(m.kind for m in self.idle)
        rows = [(kind, n, n - missed[kind], idle[kind]) for kind in FAULTS if (n := self.planted[kind])]
        total = self.planted.total()
        rows.append(("all", total, total - len(self.survivors), len(self.idle)))
        lines = ["| fault | planted | found | | idle |", "|---|---:|---:|---:|---:|"]
        lines += [f"| {kind} | {n} | {found} | {100 * found / n:.1f} % | {idle} |" for kind, n, found, idle in rows]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return what the table says as plain data."""
        survivors, idle = [str(m) for m in self.survivors], [str(m) for m in self.idle]
        return {"planted": dict(self.planted), "share": self.share, "survivors": survivors, "idle": idle}


def measure(of: Sequence[Mutant], progress: Callable[[Mutant, str], Any] | None = None) -> Score:
    """Return how many of the mutants the quick checks find.

    Parameters
    ----------
    of : mutants, from `mutants`
    progress : called with each mutant and "found", "survived" or "idle"

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import measure, mutants
    >>> measure(mutants(np.square)).survivors
    []
    """
    score = Score()
    for mutant in of:
        became = fate(mutant)
        if became == "idle":
            score.idle.append(mutant)
        else:
            score.planted[mutant.kind] += 1
        if became == "survived":
            score.survivors.append(mutant)
        if progress is not None:
            progress(mutant, became)
    return score


def differentiable_ops() -> list[Op]:
    """Return all swept ops with a rule of their own."""
    return [op for op in ops() if any(f is not None for f in op.formulas)]


def sample(share: int, seed: int = 0) -> list[Mutant]:
    """Return a random one of `share` of all mutants."""
    found = [mutant for op in differentiable_ops() for mutant in mutants(op)]
    chosen = np.random.default_rng(seed).permutation(len(found))[: len(found) // share]
    return [found[i] for i in sorted(chosen)]


def report(names: Sequence[str] | None = None, progress: Callable[[Mutant, str], Any] | None = None) -> Score:
    """Return the score of all mutants of the ops called `names`, or of all ops."""
    chosen = [op for op in differentiable_ops() if names is None or op.name in names]
    return measure([mutant for op in chosen for mutant in mutants(op)], progress)
