"""Random programs: expressions made of the package's ops, whose values stay where the ops are smooth.

A program is grown from whole numbers, three for a step: which op, on which other operands, in which way. An op is taken
if its operands lie in the domain that its row names (moved there by a factor and a shift, if need be), and if what it
gives stays of moderate size and moves moderately when the inputs do. So every list of numbers gives a program, a
shorter list a shorter one, and hypothesis shrinks programs by shrinking the list.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import itertools
import linecache
import math
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tapegrad

from .._mode import ModeContext, Watcher
from .._op import RULES, Op
from ..ops._domains import Case, Domain, anything, real
from ..ops.creation import tensor
from ._code import as_code
from ._strategies import arrays
from ._sweep import cases_of

__all__ = ["Program", "programs", "random_program"]

Gene = tuple[int, int, int]

# Steps give at most so many numbers, of at most this size; they move at most and at least so many times as far as the
# inputs; their slopes to both sides differ by at most so much; and rounding to so many digits changes no more.
_SIZE = 12
_LARGE = 8.0
_STEEP = 20.0
_FLAT = 1e-4
_BENT = 0.2
_NUDGE = 2.0**-9
_DIGITS = 9
_MANY = 1 << 12
_SHAPES = [(), (2,), (3,), (2, 3), (2, 2), (1, 3), (3, 3), (2, 1, 2)]
_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@", "power": "**"}
_NAMES = [*"abcdefghijklmnopqrstuvw"]
_INPUTS = "xyz"

_count = itertools.count()


class Program:
    """A function of arrays or tensors, in lines of plain NumPy; the last line's value is the result.

    Parameters
    ----------
    inputs : the names of the arguments
    lines : assignments; `np` and `tg` are NumPy and tapegrad

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import Program, check_gradients
    >>> program = Program("x, y", ["a = np.sin(x)", "b = a * y", "c = np.sum(b, axis=0)"])
    >>> program(np.zeros((2, 3)), np.ones(3))
    array([0., 0., 0.])
    >>> check_gradients(program, np.zeros((2, 3)), np.ones(3))
    >>> program
    Program("x, y", ["a = np.sin(x)", "b = a * y", "c = np.sum(b, axis=0)"])
    """

    def __init__(self, inputs: str, lines: Sequence[str]) -> None:
        self.inputs = inputs
        self.lines = tuple(lines)
        self.__name__ = "program"

    def __repr__(self) -> str:
        quoted = ['"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"' for line in self.lines]
        return f'Program("{self.inputs}", [{", ".join(quoted)}])'

    def __str__(self) -> str:
        """Return the program as a function definition."""
        last = self.lines[-1].partition(" = ")[0] if self.lines else self.inputs.partition(",")[0]
        return "\n    ".join([f"def program({self.inputs}):", *self.lines, f"return {last}"]) + "\n"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.lines)

    def __call__(self, *xs: Any) -> Any:
        """Return the result for arrays or tensors."""
        return self._function(*xs)

    @functools.cached_property
    def _function(self) -> Callable[..., Any]:
        # Python's tracebacks, and what else names lines of source, find these lines as they find those of a file.
        source, file = str(self), f"<program {next(_count)}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        weakref.finalize(self, linecache.cache.pop, file, None)
        names: dict[str, Any] = {"np": np, "tg": tapegrad}
        exec(compile(source, file, "exec"), names)
        made: Callable[..., Any] = names["program"]
        return made

    def ops(self, *xs: Any) -> list[Op]:
        """Return the ops that run on tensors of these values, in the order in which they do."""
        seen: list[Op] = []

        class Seen(Watcher):
            def computed(self, op: Any, *facts: Any) -> None:
                seen.append(op)

        with ModeContext(watchers=(Seen(),)):
            self(*(tensor(x, requires_grad=True) for x in xs))
        return seen


# What programs are made of


@dataclasses.dataclass(frozen=True)
class Word:
    """One way to call an op: `code` with a place for each operand, and the domain that each must lie in.

    `square` says of each operand whether its cases are square matrices only.
    """

    name: str
    code: str
    domains: tuple[Domain, ...]
    square: tuple[bool, ...]

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        """The call as a function of its operands."""
        holes = [f"_{i}" for i in range(len(self.domains))]
        made: Callable[..., Any] = eval(
            f"lambda {', '.join(holes)}: {self.code.format(*holes)}", {"np": np, "tg": tapegrad}
        )
        return made


_INDEXED = ["{}[0]", "{}[-1]", "{}[..., 0]", "{}[::-1]", "{}[..., 1:]", "{}[[1, 0, 1]]", "{}[None]", "{}[:, [0, 1, 1]]"]
_INDEXED += ["{}[np.array([[0], [1]]), [0, 1]]", "{}[{} > 0.5]"]
# What takes a form of operand, or constants, that no case gives as code.
_WRITTEN = [
    ("poly", "np.poly({}.reshape(-1))"),
    ("heaviside", "np.heaviside(0.0, {})"),
    ("choose", "np.choose([0, 1, 0], [{}, {}])"),
    ("bincount", "np.bincount([0, 2, 2], {})"),
    ("astype", "{}.astype(complex)"),
    ("piecewise", "np.piecewise({}, [{} > 0.5], [np.arctan])"),
    ("apply_along_axis", "np.apply_along_axis(np.cumprod, -1, {})"),
    ("apply_over_axes", "np.apply_over_axes(np.cumsum, {}, [0])"),
    ("sliding_window_view", "np.lib.stride_tricks.sliding_window_view({}, 2)"),
    *((f"{name}.reduceat", f"np.{name}.reduceat({{}}, [0, 1])") for name in ("add", "multiply", "maximum", "minimum")),
]
_SPELLED = ["-{}", "{}.T", "{} ** 2", "1.5 * {}", "{} + 0.5", "2.0 - {}", "0.75 / (1 + {} ** 2)"]


@functools.cache
def words() -> tuple[tuple[Word, ...], ...]:
    """Return the ways to call each op, the simplest first."""
    made = [Word("indexing", code, (anything,) * code.count("{}"), (False, False)) for code in _INDEXED]
    made += [Word("arithmetic", code, (anything,), (False,)) for code in _SPELLED]
    made += [Word(name, code, (real,) * code.count("{}"), (False, False)) for name, code in _WRITTEN]
    where = "np.where({{}} > {}, {{}}, {{}})"
    made += [Word("where", where.format(c), (real, anything, anything), (False,) * 3) for c in (0, 0.7)]
    for op in RULES.values():
        path = _path(op)
        if path is None or op.name.startswith("_"):
            continue
        for example in cases_of(op):
            code = _call(op, path, example)
            domains = _domains(op, example)
            if code is not None and domains is not None:
                several = len(op.outputs) if op.kind != "composite" else 1
                # A complete q may be turned where r does not reach, and so may vectors of no singular value.
                settings = list(map(str, (*example.args, *example.settings.values())))
                full = op.name == "svd" and "False" not in settings
                wanted = [1] if full or "complete" in settings else range(several)
                square = tuple(len(shape) > 1 and shape[-1] == shape[-2] for shape in _shapes(example))
                made += [Word(op.name, f"{code}[{i}]" if several > 1 else code, domains, square) for i in wanted]
    of_op: dict[str, dict[Any, Word]] = {}
    for word in sorted(made, key=_complexity):
        known = of_op.setdefault(word.name, {})
        other = known.get((word.code, word.domains), word)
        square = tuple(a and b for a, b in zip(word.square, other.square, strict=True))
        known[word.code, word.domains] = dataclasses.replace(word, square=square)
    return tuple(sorted((tuple(found.values()) for found in of_op.values()), key=lambda found: _complexity(found[0])))


def _complexity(word: Word) -> tuple[int, int, str]:
    return len(word.domains), len(word.code), word.code


def _path(op: Op) -> str | None:
    """Return how programs call an op, or None where it has no public name."""
    for module, prefix in ((np, "np"), (np.linalg, "np.linalg"), (np.fft, "np.fft"), (tapegrad, "tg")):
        found = getattr(module, op.name.removeprefix("linalg."), None)
        if found is not None and (found is op.function or found is op.public or getattr(found, "op", None) is op):
            return f"{prefix}.{found.__name__}"
    return None


def _call(op: Op, path: str, example: Case) -> str | None:
    """Return the call of an op as a case makes it, with holes for its inputs; None if its settings are no code."""
    parts = [*example.before, *example.args, *example.settings.values()]
    if example.of is not None or any(_setting(part) is None for part in parts):
        return None
    if _needs_spectrum(op, example):
        return None
    if any(entry is None or (isinstance(entry, list) and not entry) for entry in example.shapes):
        return None
    holes = [f"[{', '.join(['{}'] * len(entry))}]" if isinstance(entry, list) else "{}" for entry in example.shapes]
    if len(holes) == 2 and op.name in _OPERATORS and not parts:
        return f"{holes[0]} {_OPERATORS[op.name]} {holes[1]}"
    literals = [_braced(part) for part in example.before], [_braced(part) for part in example.args]
    settings = [f"{name}={_braced(value)}" for name, value in example.settings.items()]
    return f"{path}({', '.join([*literals[0], *holes, *literals[1], *settings])})"


def _needs_spectrum(op: Op, example: Case) -> bool:
    """Return whether the same call takes operands of which no domain says that their spectra are simple."""
    settings = example.settings
    if op.name == "norm" and "ord" in settings:
        # The order of a vector's norm means another thing for a matrix; of matrices some cases name a domain.
        return isinstance(settings.get("axis"), tuple) or ("axis" not in settings and example.on is None)
    # Of matrices, whose roots may coincide.
    return op.name == "poly"


def _braced(value: Any) -> str:
    return str(_setting(value)).replace("{", "{{").replace("}", "}}")


def _setting(value: Any) -> str | None:
    """Return the code of a setting: of literals, arrays, and lists of them; None for others."""
    if type(value) in (list, tuple):
        parts = [_setting(entry) for entry in value]
        inner = ", ".join(map(str, parts)) + "," * (type(value) is tuple and len(parts) == 1)
        return None if None in parts else f"[{inner}]" if type(value) is list else f"({inner})"
    if isinstance(value, np.ndarray):
        return as_code(value)
    return repr(value) if _is_literal(value) else None


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False


def _shapes(example: Case) -> list[Any]:
    return [shape for entry in example.shapes for shape in (entry if isinstance(entry, list) else [entry])]


def _domains(op: Op, example: Case) -> tuple[Domain, ...] | None:
    """Return a domain for each operand of a case; None if some of them are constants."""
    on = example.on if example.on is not None else op.on
    found: tuple[Domain, ...] = (anything,) if on is None else tuple(on) if isinstance(on, (list, tuple)) else (on,)
    shapes = _shapes(example)
    found = (*found, *found[-1:] * len(shapes))[: len(shapes)]
    rng = np.random.default_rng(0)
    drawn = [np.asarray(domain.draw(rng, shape)) for domain, shape in zip(found, shapes, strict=True)]
    return None if any(values.dtype.kind in "bi" for values in drawn) else found


# Growing


@dataclasses.dataclass
class Value:
    """What a name stands for: the value at the inputs, and at inputs next to them."""

    name: str
    here: Any
    near: Any


class Grown:
    """A program that grows step by step."""

    def __init__(self, xs: Sequence[Any]) -> None:
        self.lines: list[str] = []
        self.names = itertools.chain(_NAMES, (f"{name}{i}" for i in itertools.count(1) for name in _NAMES))
        self.rng = np.random.default_rng(0)
        self.values = [Value(name, x, x + self.nudge(x)) for name, x in zip(_INPUTS, xs, strict=False)]
        self.count = len(self.values)

    def step(self, gene: Gene) -> bool:
        """Add the op that a gene says, or the next one that can be applied, and return whether there was one."""
        vocabulary = words()
        for i in range(len(vocabulary)):
            ways = vocabulary[(gene[0] + i) % len(vocabulary)]
            for j in range(len(ways)):
                if self._apply(ways[(gene[2] + j) % len(ways)], gene[1]):
                    return True
        return False

    def _apply(self, word: Word, others: int) -> bool:
        # One operand is the newest value, so that no step is in vain; the others come from anywhere.
        count = len(self.values)
        places = [count - 1]
        for i in range(1, len(word.domains)):
            places.insert(others % 2 * i, count - 1 - others // 2 % count)
            others //= 2 * count
        operands = []
        for place, domain, square in zip(places, word.domains, word.square, strict=False):
            value = self.values[place]
            if square and (value.here.ndim < 2 or value.here.shape[-1] != value.here.shape[-2]):
                return False
            operand = _moved(value, domain)
            if operand is None:
                return False
            operands.append(operand)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error")
            try:
                here = word.function(*(operand.here for operand in operands))
                near = word.function(*(operand.near for operand in operands))
                if not _is_tame(here, near) or not self._is_smooth(word, operands, here):
                    return False
            except Exception:
                return False
        name = next(self.names)
        self.lines.append(f"{name} = {word.code.format(*(operand.name for operand in operands))}")
        self.values.append(Value(name, here, near))
        return True

    def _is_smooth(self, word: Word, operands: Sequence[Value], here: Any) -> bool:
        """Return whether no kink is near, wherever the operands move: the slopes to both sides are almost the same."""
        moves = [self.nudge(operand.here) for operand in operands]
        above = word.function(*(operand.here + move for operand, move in zip(operands, moves, strict=True)))
        below = word.function(*(operand.here - move for operand, move in zip(operands, moves, strict=True)))
        # Nor a jump that rounding alone decides on: a sum that is zero, or two that are equal, up to their rounding.
        rounded = word.function(*(np.round(operand.here, _DIGITS) for operand in operands))
        apart = np.abs((above - here) - (here - below)), np.abs(rounded - here)
        return np.shape(rounded) == np.shape(here) and all(np.max(a) <= _BENT * _NUDGE for a in apart)

    def nudge(self, x: Any) -> Any:
        return _NUDGE * self.rng.uniform(-1, 1, np.shape(x))

    def program(self) -> tuple[Program, list[Any]]:
        """Return the program, and the inputs that it uses."""
        used = {found.id for line in self.lines for found in ast.walk(ast.parse(line)) if isinstance(found, ast.Name)}
        kept = [value for value in self.values[: self.count] if value.name in used] or self.values[:1]
        return Program(", ".join(value.name for value in kept), self.lines), [value.here for value in kept]


def _is_tame(here: Any, near: Any) -> bool:
    """Return whether a result is what programs go on with: numbers of moderate size that move moderately."""
    if not isinstance(here, (np.ndarray, np.generic)) or here.dtype.kind not in "fc" or np.shape(near) != here.shape:
        return False
    if here.dtype.itemsize < 8 or not 0 < here.size <= _SIZE or here.ndim > 3:
        return False
    with np.errstate(all="ignore"):
        size, moved = np.max(np.abs(here)), np.max(np.abs(near - here))
    # What hardly moves is constant, or rounding alone, and nothing after it would have a derivative.
    return bool(size <= _LARGE and _FLAT * _NUDGE <= moved <= _STEEP * _NUDGE)


def _moved(value: Value, domain: Domain) -> Value | None:
    """Return a value that lies in a domain, this one or one made from it; None if there is none."""
    if domain.hermitian:
        # As much as the value moves, both triangles move together.
        return _symmetric(value, domain)
    if domain.contains(value.here) and domain.contains(value.near):
        return value
    if not math.isfinite(domain.low + domain.high):
        return None
    if value.here.dtype.kind == "c":
        # Both parts are to lie in the domain: they are made smaller.
        size = float(np.max(np.abs([value.here.real, value.here.imag])))
        factor = float(f"{0.7 * min(-domain.low, domain.high) / size:.1g}")
        made = Value(_affine(value.name, factor, 0.0), factor * value.here, factor * value.near)
        return made if factor > 0 and domain.contains(made.here) and domain.contains(made.near) else None
    low, high = float(np.min(value.here)), float(np.max(value.here))
    width = domain.high - domain.low
    factor = 1.0 if high - low < 0.7 * width else float(f"{0.7 * width / (high - low):.1g}")
    middle = (domain.low + domain.high) / 2 - factor * (low + high) / 2
    for share in (0.0, 0.1, -0.1, 0.2, -0.2):
        shift = float(f"{middle + share * width:.2g}")
        made = Value(_affine(value.name, factor, shift), factor * value.here + shift, factor * value.near + shift)
        if domain.contains(made.here) and domain.contains(made.near):
            return made
    return None


def _symmetric(value: Value, domain: Domain) -> Value | None:
    if value.here.ndim < 2 or value.here.shape[-1] != value.here.shape[-2]:
        return None
    n = value.here.shape[-1]
    for code in ("({0} + np.swapaxes({0}, -1, -2))", f"({{0}} @ np.swapaxes({{0}}, -1, -2) + 2 * np.eye({n}))"):
        make = eval(f"lambda x: {code.format('x')}", {"np": np})
        made = Value(code.format(value.name), make(value.here), make(value.near))
        if made.here.dtype.kind != "c" and domain.contains(made.here) and domain.contains(made.near):
            return made
    return None


def _affine(name: str, factor: float, shift: float) -> str:
    term = name if factor == 1 else f"{factor} * {name}"
    return f"({term} {'-' if shift < 0 else '+'} {abs(shift)})" if shift else f"({term})"


def grown(genes: Sequence[Gene], xs: Sequence[Any]) -> tuple[Program, list[Any]]:
    """Return the program that a list of genes gives at inputs `xs`, and the inputs that it uses."""
    made = Grown(xs)
    for gene in genes:
        made.step(gene)
    return made.program()


@st.composite
def programs(draw: Any, size: int = 20, domain: Domain = real, max_inputs: int = 3) -> tuple[Program, list[Any]]:
    """Return a strategy of pairs: a program of at most `size` steps, and a list of arrays to run it on.

    The programs are smooth there, and all their values are of moderate size, so their gradients can be checked. They
    shrink to few and simple steps.

    Examples
    --------
    >>> from hypothesis import find, given, settings
    >>> from tapegrad.testing import check_gradients, programs
    >>> @settings(max_examples=5, deadline=None, derandomize=True)
    ... @given(programs(size=5))
    ... def test(drawn):
    ...     program, inputs = drawn
    ...     check_gradients(program, *inputs)
    >>> test()
    """
    shape = st.sampled_from(_SHAPES)
    count = draw(st.integers(1, max_inputs))
    xs = [draw(arrays(domain, draw(shape), layout="contiguous")) for _ in range(count)]
    number = st.integers(0, _MANY - 1)
    genes = draw(st.lists(st.tuples(number, number, number), min_size=1, max_size=size))
    return grown(genes, xs)


def random_program(rng: np.random.Generator, size: int = 20) -> tuple[Program, list[Any]]:
    """Return a random program of `size` steps, and a list of arrays to run it on.

    Examples
    --------
    >>> import numpy as np
    >>> program, inputs = random_program(np.random.default_rng(0), size=5)
    >>> len(program)
    5
    """
    xs = [real.sample(rng, _SHAPES[rng.integers(len(_SHAPES))]) for _ in range(rng.integers(1, 4))]
    genes = [(int(a), int(b), int(c)) for a, b, c in rng.integers(0, _MANY, (size, 3))]
    return grown(genes, xs)
