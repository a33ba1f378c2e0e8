"""Failures made small, and as code that can be pasted: the arrays at which a rule still fails, and the program."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import tapegrad

from .._array import is_array, library, to_host
from .._op import RULES, Op
from ._code import as_code
from ._trace import Step, is_hermitian

__all__ = ["code_of", "program_of", "shrunk"]

_TRIES = 80
_LONGEST = 1500


def shrunk(step: Step, fails: Callable[[list[Any]], bool]) -> list[Any]:
    """Return inputs like those of `step`, with fewer entries and rounder numbers, at which `fails` still holds."""
    best = [x.copy() if isinstance(x, np.ndarray) else x for x in step.inputs]
    left = _TRIES

    def still(candidate: list[Any]) -> bool:
        nonlocal left
        left -= 1
        try:
            return fails(candidate)
        except Exception:
            # Shapes that do not belong together, or a point outside the domain.
            return False

    for smaller in (_with_fewer_entries, _with_rounder_numbers):
        going = True
        while going and left > 0:
            going = False
            for candidate in itertools.islice(smaller(best), left):
                if still(candidate):
                    best, going = candidate, True
                    break
    return best


def _is_shrinkable(x: Any) -> bool:
    return is_array(x) and bool(x.size)


def _with_fewer_entries(xs: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield inputs with axes cut: first all axes of one length together, which may belong together, then each alone."""

    def of_length(n: int) -> Callable[[int], bool]:
        return lambda m: m == n

    lengths = sorted({n for x in xs if _is_shrinkable(x) for n in x.shape if n > 1}, reverse=True)
    for n in lengths:
        for part in (slice(0, 1), slice(n - 1, n), slice(0, n // 2), slice(n // 2, n), slice(1, n)):
            yield [_cut(x, part, of_length(n)) if _is_shrinkable(x) else x for x in xs]
    for i, x in enumerate(xs):
        if not _is_shrinkable(x):
            continue
        for axis, n in enumerate(x.shape):
            if n > 1:
                for part in (slice(0, 1), slice(n - 1, n)):
                    index = (slice(None),) * axis + (part,)
                    yield [*xs[:i], x[index].copy(), *xs[i + 1 :]]
    if any(_is_shrinkable(x) and x.shape for x in xs) and all(x.size == 1 for x in xs if is_array(x)):
        yield [x.reshape(()) if _is_shrinkable(x) else x for x in xs]


def _cut(x: Any, part: slice, chosen: Callable[[int], bool]) -> Any:
    return x[tuple(part if chosen(n) else slice(None) for n in x.shape)].copy() if x.ndim else x


def _with_rounder_numbers(xs: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield inputs with fewer digits."""
    for i, x in enumerate(xs):
        if is_array(x) and x.dtype.kind in "fc" and x.size and np.isfinite(to_host(x)).all():
            host = to_host(x)
            for digits in (0, 1, 2):
                rounded = np.round(host, digits).astype(x.dtype)
                if not np.array_equal(rounded, host):
                    yield [*xs[:i], library(x).asarray(rounded), *xs[i + 1 :]]
                else:
                    break


# Code


def code_of(step: Step, inputs: Sequence[Any], options: str = "") -> str:
    """Return a program that checks the operation of `step` alone at `inputs`, indented."""
    op = step.op
    names = _names(op, inputs)
    function, line = _spelled(op)
    args, kwargs = step.call
    settings = [as_code(value) for value in args]
    keywords = [f"{name}={as_code(value)}" for name, value in kwargs.items()]
    moving = [name for k, name in enumerate(names) if k in step.places]
    fixed = [name for k, name in enumerate(names) if k not in step.places]
    symmetric = [is_hermitian(op, k) for k in range(len(names))]
    given = [
        f"({n} + np.conj(np.swapaxes({n}, -1, -2))) / 2" if s and k in step.places and np.ndim(inputs[k]) > 1 else n
        for k, (n, s) in enumerate(zip(names, symmetric, strict=True))
    ]
    plain = not settings and not keywords and not fixed and not op.variadic and given == names and function
    if op.name == "getitem" and step.op is RULES.get("getitem"):
        called = f"{given[0]}[{_index(args[0] if args else kwargs['index'])}]"
        plain = False
    elif op.variadic:
        inner = [*settings, *given] if op.leading else [f"[{', '.join(given)}]", *settings]
        called = f"{function}({', '.join([*inner, *keywords])})"
    else:
        called = f"{function}({', '.join([*given, *settings, *keywords])})"
    lines = ["import numpy as np", "import tapegrad as tg", "from tapegrad.testing import check_gradients"]
    lines += [line] if line else []
    for name, x in zip(names, inputs, strict=True):
        text = as_code(x)
        lines.append(f"{name} = {text if len(text) <= _LONGEST else text[:_LONGEST] + '...  # shortened'}")
    target = function if plain else f"lambda {', '.join(moving)}: {called}"
    lines.append(f"check_gradients({', '.join([target, *moving])}{options})")
    used = "\n".join(lines[3:])
    if "tg." not in used:
        lines.remove("import tapegrad as tg")
    return "\n".join(f"    {entry}" for entry in lines)


def _names(op: Op, inputs: Sequence[Any]) -> list[str]:
    if op.variadic:
        return [f"{op.inputs[0].rstrip('s')}{i}" for i in range(len(inputs))]
    return list(op.inputs[: len(inputs)])


def _index(index: Any) -> str:
    if isinstance(index, tuple) and index:
        return ", ".join(_index(entry) for entry in index) + ("," if len(index) == 1 else "")
    if isinstance(index, slice):
        return as_code(index).removeprefix("np.s_[").removesuffix("]")
    return as_code(index)


def _spelled(op: Op) -> tuple[str, str]:
    """Return how a program spells an op, and the line that imports it or says where it is."""
    for path, space in (("np", np), ("np.linalg", np.linalg), ("np.fft", np.fft)):
        if getattr(space, op.name.rpartition(".")[2], None) is op.function:
            return f"{path}.{op.name.rpartition('.')[2]}", ""
    if getattr(tapegrad, op.name, None) is op.public:
        return f"tg.{op.name}", ""
    found = op.public
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", "")
    if module in sys.modules and _resolved(sys.modules[module], name) is found and module != "__main__":
        return name, f"from {module} import {name.partition('.')[0]}"
    if RULES.get(op.name) is op and op.trusted:
        return "op", f"from tapegrad._op import RULES; op = RULES[{op.name!r}].public"
    code = next((f.__code__ for f in op.formulas if f is not None), None)
    where = f", whose rule is at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    name = op.name if op.name.isidentifier() else "op"
    return name, f"# {name} is your op{where}"


def _resolved(module: Any, name: str) -> Any:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def program_of(name: str, args: Sequence[Any], options: str = "") -> str:
    """Return a program that checks the function called `name` at `args`, indented; nothing if that is too long."""
    given = [as_code(arg) for arg in args]
    if sum(map(len, given)) > _LONGEST:
        return ""
    function = name if name.isidentifier() else "function"
    lines = [] if name.isidentifier() else [f"# function is {name}"]
    lines.append(f"check_gradients({', '.join([function, *given])}{options})")
    head = ["import numpy as np"] + (["import tapegrad as tg"] if "tg." in lines[-1] else [])
    return "\n".join(f"    {entry}" for entry in [*head, "from tapegrad.testing import check_gradients", *lines])
