"""The sweep: every op in every case that its row implies, in both modes, at second order, on every backend.

A row of `tapegrad.ops` says `on=` and `cases=`; this turns them into samples, and samples into subjects of checks.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._array import device_of, library, to_host
from .._op import CLASSIFIED, RULES, Op
from .._tape import Record, differentiable
from .._tensor import OPS, Tensor
from .._transforms import jvp, vjp
from .._tree import leaves
from ..ops import special
from ..ops._domains import ONE, PAIRS, Case, Domain, anything, case
from ..ops.creation import tensor
from ._checks import check_gradients
from ._laws import compare, first_order, read_only, second_order, unit_of
from ._laws import layouts as same_in_layouts
from ._numerical import Estimate
from ._standin import counting, strict
from ._subject import GradientError, Subject, differentiable_leaves
from ._trace import hermitian_part

__all__ = ["LAWS", "Check", "Entry", "Sample", "accepts", "cases_of", "certify", "checks", "entries", "kept", "ops"]

TRIPLES = [
    case((), (), ()),
    case((3,), (3,), (3,)),
    case((2, 1), (3,), ()),
    case((), (2, 3), (3,)),
    case((0, 3), (1, 3), ()),
]
"""The cases of an elementwise op of three inputs, unless its row says otherwise."""

_METHOD_CASES = {
    "reduce": [case((3,)), case((2, 3)), case((2, 3), axis=1), case((2, 3), axis=-1, keepdims=True)],
    "accumulate": [case((3,)), case((2, 3)), case((2, 3), axis=1)],
    "outer": [case((2,), (3,)), case((), (2, 2)), case((0,), (2,))],
}
"""The cases of methods of ufuncs."""

_DEFAULTS = {1: ONE, 2: PAIRS, 3: TRIPLES}


def cases_of(op: Op) -> list[Case]:
    """Return the cases that a row implies: its own, or those of its kind, or none if it has neither."""
    if op.cases is not None:
        return list(op.cases)
    if op.kind in ("unary", "binary", "elementwise") and not needs_settings(op):
        return _DEFAULTS.get(len(op.inputs), [])
    return []


def needs_settings(op: Op) -> bool:
    """Return whether an op cannot be called with its inputs alone."""
    return any(name not in op.defaults for name in op.settings)


@dataclass(frozen=True)
class Entry:
    """One case of one op."""

    op: Op
    case: Case

    def __str__(self) -> str:
        """Return an identifier that reads well: `sum/2x3/axis=1`."""
        parts = [_shape(entry) for entry in self.case.shapes]
        parts = [_short(value) for value in self.case.before] + parts
        parts += [_short(value) for value in self.case.args]
        parts += [f"{name}={_short(value)}" for name, value in self.case.settings.items()]
        parts += [f"of={_short(self.case.of)}"] if self.case.of is not None else []
        return "/".join([self.op.name, *parts])

    def sample(self, dtypes: str = "d", seed: int = 0) -> Sample:
        """Return arrays for this case: `dtypes` names the character of each input's dtype, the last one repeated.
        Inputs whose domain holds no complex numbers are real where `dtypes` asks for complex ones.
        """
        return Sample(self, dtypes, seed)


def ops() -> list[Op]:
    """Return everything that is swept: the package's rows, those for SciPy where it is installed, methods of ufuncs."""
    with contextlib.suppress(ImportError):
        import scipy.special  # noqa: F401 - its rows appear once it has been imported
    special.register()
    return [*(op for op in RULES.values() if op.trusted and _is_ours(op.public)), *_ufunc_methods()]


def _is_ours(function: Callable[..., Any]) -> bool:
    return (getattr(function, "__module__", None) or "").startswith("tapegrad.")


@functools.cache
def _ufunc_methods() -> tuple[Op, ...]:
    """Return reductions, accumulations and outer products of ufuncs as ops, on the domains of their ufuncs."""
    made = []
    for key, run in OPS.items():
        if not isinstance(key, tuple) or CLASSIFIED.get(key, ("refused",))[0] in ("constant", "metadata", "refused"):
            continue
        (ufunc, method), row = key, RULES.get(key[0].__name__)
        if method in _METHOD_CASES and not hasattr(run, "op"):
            name = f"{ufunc.__name__}.{method}"
            on = row.on if row is not None else None
            function = _fold(ufunc) if method == "reduce" else getattr(ufunc, method)
            op = Op(function, "composite", [], name=name, on=on, cases=_METHOD_CASES[method])
            op.public = run
            made.append(op)
    return tuple(made)


def _fold(ufunc: Any) -> Callable[..., Any]:
    """Return what `ufunc.reduce` says it computes.

    NumPy's own (2.4) forgets entries for power and arctan2 on processors with AVX-512: power.reduce([a, b, c]) = a**c.
    """

    def reduce(x: Any, axis: int = 0, keepdims: bool = False) -> Any:
        last = np.take(ufunc.accumulate(x, axis), [-1], axis)
        return last if keepdims else np.squeeze(last, axis)

    return reduce


def entries(of: Sequence[Op] | None = None) -> list[Entry]:
    """Return all cases of all ops."""
    return [Entry(op, c) for op in (ops() if of is None else of) for c in cases_of(op)]


def _shape(entry: Any) -> str:
    if entry is None:
        return "None"
    if isinstance(entry, list):
        return "[" + ",".join(map(_shape, entry)) + "]"
    return "x".join(map(str, entry)) if entry else "()"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.kind}{_shape(value.shape)}"
    if isinstance(value, (list, tuple)):
        return "(" + ",".join(map(_short, value)) + ")"
    if isinstance(value, slice):
        return ":".join("" if part is None else str(part) for part in (value.start, value.stop, value.step))
    return getattr(value, "__name__", None) or str(value)


class Sample:
    """Arrays for one case of one op, and the op as a function of the differentiable ones."""

    def __init__(self, entry: Entry, dtypes: str = "d", seed: int = 0) -> None:
        self.entry = entry
        self.seed = seed
        op, example = entry.op, entry.case
        rng = np.random.default_rng([seed, zlib.crc32(str(entry).encode())])
        flat: list[Any] = []
        self.hermitian: set[int] = set()
        domains = _domains(op, example)
        count = 0

        def draw(shape: Any) -> Any:
            nonlocal count
            if shape is None:
                count += 1
                return None
            if isinstance(shape, list):
                return [draw(one) for one in shape]
            domain = domains[min(count, len(domains) - 1)]
            dtype = np.dtype(dtypes[min(count, len(dtypes) - 1)])
            count += 1
            if dtype.kind == "c" and not domain.complex:
                dtype = np.dtype(dtype.char.lower())
            array = np.asarray(domain.sample(rng, shape, dtype))
            if domain.hermitian:
                self.hermitian.add(len(flat))
            flat.append(array)
            return array

        self.inputs = [draw(shape) for shape in example.shapes]
        self.arrays = flat
        formulas = op.formulas if len(op.formulas) == len(flat) and not op.variadic else [True] * len(flat)
        self.places = [
            i for i, (a, f) in enumerate(zip(flat, formulas, strict=True)) if differentiable(a.dtype) and f is not None
        ]

    @property
    def xs(self) -> list[Any]:
        """The differentiable inputs."""
        return [self.arrays[i] for i in self.places]

    def call(self, *xs: Any, function: Callable[..., Any] | None = None, module: Any = np, moving: bool = False) -> Any:
        """Return the op's result with `xs` for the differentiable inputs, and constants from the library `module`.

        With `moving`, inputs from a domain of Hermitian matrices stay Hermitian wherever `xs` move: what derivatives
        by one triangle alone are is a matter of convention, and theirs is that both triangles move together.
        """
        example = self.entry.case if module is np else _case_on(module, self.entry.case)
        given: list[Any] = list(self.arrays) if module is np else [module.asarray(a) for a in self.arrays]
        for i, x in zip(self.places, xs, strict=True):
            given[i] = hermitian_part(x) if i in self.hermitian and moving else x
        supply = iter(given)

        def fill(value: Any) -> Any:
            if isinstance(value, list):
                return [fill(one) for one in value]
            return None if value is None else next(supply)

        function = function or self.entry.op.public
        result = function(*example.before, *map(fill, self.inputs), *example.args, **example.settings)
        return result if example.of is None else example.of(result)

    def subject(self, module: Any = np) -> Subject:
        """Return this sample as a subject of checks, on NumPy or on another library of arrays."""

        def call(*xs: Any) -> list[Any]:
            return differentiable_leaves(self.call(*xs, module=module, moving=True))

        xs = [read_only(x) if module is np else module.asarray(x) for x in self.xs]
        dtypes = ", ".join(str(a.dtype) for a in self.arrays)
        return Subject(f"{self.entry} ({dtypes})", call, xs, np.random.default_rng([1, self.seed]))


def _case_on(module: Any, example: Case) -> Case:
    """Return a case with the arrays among its settings on another library."""
    settings = {name: _sent(module, value) for name, value in example.settings.items()}
    return replace(example, before=_sent(module, example.before), args=_sent(module, example.args), settings=settings)


def _sent(module: Any, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return module.asarray(value)
    return type(value)(_sent(module, entry) for entry in value) if type(value) in (list, tuple) else value


def _domains(op: Op, example: Case) -> tuple[Domain, ...]:
    on = example.on if example.on is not None else op.on
    if on is None:
        return (anything,)
    return tuple(on) if isinstance(on, (tuple, list)) else (on,)


def accepts(entry: Entry, dtypes: str) -> bool:
    """Return whether the domains hold such numbers, and NumPy's function takes them."""
    sample = entry.sample(dtypes)
    if dtypes.upper() == dtypes and not any(a.dtype.kind == "c" for a in sample.arrays):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sample.call(*sample.xs, function=entry.op.function)
    except TypeError:
        return False
    return True


def _quiet(law: Callable[..., Any]) -> Callable[..., Any]:
    """Return a law under which warnings of NumPy's own call are no errors, and warnings of rules alone are."""

    @functools.wraps(law)
    def run(entry: Entry, *args: Any) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sample = entry.sample(*[given for given in args if isinstance(given, (str, int))])  # type: ignore[arg-type]
            sample.call(*sample.xs, function=entry.op.function)
        with warnings.catch_warnings():
            for category in {warning.category for warning in caught}:
                warnings.simplefilter("ignore", category)
            return law(entry, *args)

    return run


# Laws


@_quiet
def forward(entry: Entry, dtypes: str = "d") -> None:
    """Check that tensors give what arrays give, called as the op and called as NumPy's function."""
    sample = entry.sample(dtypes)
    expected = leaves(sample.call(*sample.xs, function=entry.op.function))
    plain = leaves(sample.call(*sample.xs))
    if any(isinstance(y, Tensor) for y in plain):
        raise GradientError(f"{entry} of arrays gave tensors, which formulas cannot use")
    functions = [entry.op.public]
    if isinstance(entry.op.function, np.ufunc) or (getattr(entry.op.function, "__module__", None) or "").startswith(
        "numpy"
    ):
        functions.append(entry.op.function)
    for function in functions:
        for tracked in (False, True):
            inputs = [tensor(x, requires_grad=tracked) for x in sample.xs]
            results = leaves(sample.call(*inputs, function=function))
            if len(results) != len(expected):
                raise GradientError(f"{entry} gave {len(results)} results, expected {len(expected)}")
            for i, (got, value) in enumerate(zip(results, expected, strict=True)):
                _same(f"result {i} of {entry}", got, value, inputs)
            floating = [got for got in results if hasattr(got, "dtype") and differentiable(got.dtype) and got.size]
            if tracked and inputs and floating and not any(got.requires_grad for got in floating):
                raise GradientError(f"no result of {entry} is tracked, though an input is")


def _same(what: str, got: Any, value: Any, inputs: Sequence[Tensor]) -> None:
    if not hasattr(value, "dtype"):
        if type(got) is not type(value) or got != value:
            raise GradientError(f"{what}: got {got!r}, expected {value!r}")
        return
    if inputs and not isinstance(got, Tensor):
        raise GradientError(f"{what} is {type(got).__name__}, expected a tensor")
    if got.dtype != value.dtype or got.shape != value.shape:
        raise GradientError(f"{what} has {got.dtype} and {got.shape}, expected {value.dtype} and {value.shape}")
    bare = got.data if isinstance(got, Tensor) else got
    # Composites may round otherwise than NumPy's own code.
    compare(what, bare, np.asarray(value))


@_quiet
def first(entry: Entry, dtypes: str = "d", seed: int = 0) -> None:
    """Check first derivatives of one sample, in both modes."""
    point = entry.sample(dtypes, seed).subject()
    if point.xs and point.outputs:
        first_order(point)


@_quiet
def second(entry: Entry, dtypes: str = "d", seed: int = 0) -> None:
    """Check second derivatives of one sample, in all combinations of modes."""
    point = entry.sample(dtypes, seed).subject()
    if point.xs and point.outputs:
        second_order(point)


@_quiet
def layouts(entry: Entry, dtypes: str = "d") -> None:
    """Check that strided, transposed and read-only inputs have the derivatives of contiguous ones."""
    point = entry.sample(dtypes).subject()
    if point.xs and point.outputs:
        same_in_layouts(point)


def _of_vectors(result: Any) -> Any:
    w, v = result
    return w, np.abs(v)


def _of_singular_vectors(result: Any) -> Any:
    if not isinstance(result, tuple):
        return result
    u, s, vh = result
    k = s.shape[-1]
    return np.abs(u[..., :k]), s, np.abs(vh[..., :k, :])


def _of_eigenvalues(w: Any) -> Any:
    return [np.sum(w**power, axis=-1) for power in (1, 2, 3)]


def _of_eigenvectors(result: Any) -> Any:
    w, v = result
    return [*_of_eigenvalues(w), np.sum(w[..., None, :] * np.abs(v), axis=-1)]


_SETTLED = {
    "det": lambda out: 1 + out,  # determinants that are zero are the rounding of their terms
    "eigh": _of_vectors,
    "svd": _of_singular_vectors,
    "eig": _of_eigenvectors,
    "eigvals": _of_eigenvalues,
    "roots": _of_eigenvalues,
}
"""What is the same from every library of linear algebra: neither phases of vectors, nor the order of eigenvalues."""


def _settled(entry: Entry, module: Any) -> Entry:
    """Return the entry, on CuPy itself without what its libraries may choose otherwise than NumPy's."""
    of = _SETTLED.get(entry.op.name)
    if module is strict or of is None or (entry.case.of is not None and of is not _of_eigenvectors):
        return entry
    return replace(entry, case=replace(entry.case, of=of))


@_quiet
def on_device(entry: Entry, dtypes: str = "d", module: Any = strict) -> bool:
    """Check that a sample has the same results and derivatives on a device, or the stand-in for one, as on NumPy.

    Returns False where CuPy itself refuses the call, and the op refuses it too.
    """
    if not runs_on_device(entry, dtypes, module):
        return False
    where = _WHERE if module is strict else "on CuPy"
    entry = _settled(entry, module)
    sample = entry.sample(dtypes)
    # A result in double precision of inputs in single precision may be made of what has single precision.
    unit = functools.partial(unit_of, *sample.xs)
    result = sample.call(*map(module.asarray, sample.xs), module=module)
    for i, (got, value) in enumerate(zip(leaves(result), leaves(sample.call(*sample.xs)), strict=True)):
        if hasattr(value, "dtype"):
            if library(got) is not module:
                raise GradientError(f"result {i} of {entry} {where} is {type(got).__name__}")
            compare(f"result {i} of {entry} {where}", got, np.asarray(value), unit=unit(got))
    point, host = sample.subject(module), sample.subject()
    if not host.xs or not host.outputs:
        return True
    gs, ts = host.cotangents(), host.like(host.xs)
    device_gs, device_ts = [module.asarray(g) for g in gs], [module.asarray(t) for t in ts]
    # CuPy's ufuncs may give single precision where SciPy's give double: what counts is the dtype of the result there.
    for name, likes, got, expected in (
        ("VJP", point.xs, point.pull(device_gs), host.pull(gs)),
        ("JVP", point.outputs, point.push(device_ts), host.push(ts)),
    ):
        for i, (h, like, value) in enumerate(zip(got, likes, expected, strict=True)):
            what = f"the {name} of {entry} {where}, entry {i}"
            if not device_of(h).startswith("cuda") or h.dtype != like.dtype:
                raise GradientError(f"{what}: got {h.dtype} on {device_of(h)}, expected {like.dtype} on a CUDA device")
            compare(what, h, np.asarray(value), unit=unit(h))
    return True


@_quiet
def second_on_device(entry: Entry, dtypes: str = "d", module: Any = strict) -> None:
    """Check that second derivatives work on a device, in all combinations, and are those on NumPy."""
    sample = _settled(entry, module).sample(dtypes)
    point = sample.subject(module)
    if point.xs and point.outputs:
        host = sample.subject()
        # Drawn on the host alone: results may be complex on a device where they are real here.
        gs, ts = host.cotangents(), host.like(host.xs)
        expected = second_order(host, expected=_exact(host, gs, ts), along=(gs, ts))
        second_order(point, expected=expected, along=([module.asarray(g) for g in gs], [module.asarray(t) for t in ts]))


def _exact(point: Subject, gs: Sequence[Any], ts: Sequence[Any]) -> tuple[list[Estimate], list[Estimate]]:
    """Return second derivatives by reverse over reverse and forward over forward, checked elsewhere."""
    slopes = vjp(lambda *xs: list(vjp(point.call, *xs)[1](gs)), *point.xs)[1](ts)
    bends = jvp(lambda *xs: list(jvp(point.call, xs, ts)[1]), point.xs, ts)[1]
    exact = [[Estimate(to_host(a.data), np.full(a.shape, 1e-12)) for a in found] for found in (slopes, bends)]
    return exact[0], exact[1]


def anywhere(op: Op, draw: Callable[..., Any]) -> None:
    """Check an elementwise op at arrays that hypothesis draws from its domain, in any shapes that broadcast."""
    # Here alone is hypothesis needed: an installation can be certified without it.
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp

    from ._strategies import arrays

    count = len(op.inputs)
    domains = _domains(op, case())
    domains = (*domains, *domains[-1:] * count)[:count]
    takes_complex = accepts(Entry(op, case(*[()] * count)), "D")
    dtypes = [np.float64, np.complex128] if takes_complex else [np.float64]
    found = hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=2, max_side=2, min_side=0)
    shapes = draw(found).input_shapes
    xs = []
    for domain, shape in zip(domains, shapes, strict=True):
        dtype = draw(st.sampled_from(dtypes if domain.complex else dtypes[:1]))
        xs.append(draw(arrays(domain, shape, dtype)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        op.function(*xs)
    with warnings.catch_warnings():
        for category in {warning.category for warning in caught}:
            warnings.simplefilter("ignore", category)
        check_gradients(op.public, *xs, name=f"{op.name} of {', '.join(map(repr, xs))}")


def is_drawable(op: Op) -> bool:
    """Return whether `anywhere` can check an op: it is elementwise, and needs no settings."""
    return op.kind in ("unary", "binary") and not needs_settings(op)


# The profiles


LAWS = ("forward", "first", "second", "precision", "layouts", "device")
"""What is checked of every entry: values; derivatives of first and second order; other dtypes; layouts; devices."""

PROFILES = ("quick", "deep")
_SEEDS = {"quick": 1, "deep": 5}
_WHERE = "on CuPy's stand-in"


@dataclass(frozen=True)
class Check:
    """One law, for one entry, in one choice of dtypes."""

    law: str
    dtypes: str
    run: Callable[[], Any]


def checks(
    entry: Entry,
    profile: str = "quick",
    laws: Sequence[str] = LAWS,
    dtypes: str | None = None,
    modules: Sequence[Any] = (strict,),
) -> Iterator[Check]:
    """Yield the checks of an entry, those that find the most in the least time first.

    Parameters
    ----------
    profile : "quick" tries one sample of each dtype, "deep" several, and devices in every dtype at second order
    laws : some of LAWS
    dtypes : the characters of dtypes to try, by default "efdFD"
    modules : the devices of the law "device": `strict`, `cupy`, or both
    """
    count = len(entry.sample().places)
    mixed = ("e", "f", "F", "fd", "df", "dD", "Dd")[: 3 if count < 2 else None]

    @functools.cache
    def taken(found: str) -> bool:
        asked = dtypes is None or set(found) <= set(dtypes)
        return asked and (found == "d" or accepts(entry, found))

    def made(law: str, found: str, run: Callable[..., Any], *args: Any) -> Iterator[Check]:
        if law in laws and taken(found):
            yield Check(law, found, functools.partial(run, entry, found, *args))

    for found in ("d", "f", "F", "D"):
        yield from made("forward", found, forward)
    for seed in range(_SEEDS[profile]):
        for law, run in (("first", first), ("second", second)):
            for found in ("d", "D"):
                yield from made(law, found, run, seed)
        for found in mixed:
            yield from made("precision", found, first, seed)
    for found in ("d", "D") if profile == "deep" else ("d",):
        yield from made("layouts", found, layouts)
    for module in modules:
        for found in ("d", "f", "D"):
            yield from made("device", found, _device, module, profile == "deep" or found == "d")


def _device(entry: Entry, dtypes: str, module: Any, to_second_order: bool) -> bool:
    runs = on_device(entry, dtypes, module)
    if runs and to_second_order:
        second_on_device(entry, dtypes, module)
    return runs


def certify(entry: Entry, profile: str = "quick", **options: Any) -> int:
    """Make all checks of an entry that `checks` yields, and return their number.

    Raises
    ------
    GradientError
        At the first that fails.
    """
    count = 0
    for count, check in enumerate(checks(entry, profile, **options), 1):  # noqa: B007 - the number of the last
        check.run()
    return count


# What is kept


def kept(op: Op) -> str:
    """Return one line: what a tracked call of the op keeps for its backward pass, and what that costs on a GPU.

    The call is the case with the largest inputs. Named are the residuals of each input's formula, and the bytes of
    arrays that records hold beyond the inputs themselves. For the stand-in, synchronizations and uploads of a forward
    and backward pass.
    """
    found = sorted(cases_of(op), key=lambda c: _elements(c.shapes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _kept(Entry(op, found[-1]))


def _kept(entry: Entry) -> str:
    sample = entry.sample()
    inputs = [tensor(x, requires_grad=True) for x in sample.xs]
    outs = [y for y in leaves(sample.call(*inputs)) if isinstance(y, Tensor) and y.requires_grad]
    owned = {id(_root(x.data)): 0 for x in inputs} | {id(_root(a)): 0 for a in sample.arrays}
    arrays: dict[int, Any] = {}
    for record in _history(outs):
        for saved in (record.for_x, record.for_y):
            for value in leaves(saved) if saved is not None else ():
                if isinstance(value, (np.ndarray, np.generic)) and id(_root(value)) not in owned:
                    arrays[id(_root(value))] = value
    names = " | ".join(" ".join(residuals) or "-" for residuals in entry.op.names) if entry.op.names else "composite"
    total = sum(a.nbytes for a in arrays.values())
    return f"{entry}: {names}; {total} bytes beyond {sum(x.nbytes for x in inputs)} of inputs; {_cost(entry)}"


def _cost(entry: Entry) -> str:
    point = entry.sample().subject(strict)
    refused = [str(Entry(entry.op, c)) for c in cases_of(entry.op) if not runs_on_device(Entry(entry.op, c))]
    if str(entry) in refused:
        return "not on CuPy"
    with counting() as counts:
        outs = point.outputs
        if point.xs and outs:
            point.pull([strict.ones(y.shape, y.dtype) for y in outs])
    note = f", not on CuPy: {', '.join(refused)}" if refused else ""
    return f"{counts.synchronizations} synchronizations, {counts.uploads} uploads{note}"


def runs_on_device(entry: Entry, dtypes: str = "d", module: Any = strict) -> bool:
    """Return whether CuPy takes this call, and leaves its result on the device."""
    if entry.op.name == "to_device":
        return False
    sample = entry.sample(dtypes)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sample.call(*map(module.asarray, sample.xs), module=module)
    except (TypeError, NotImplementedError, ValueError, AttributeError):
        return False
    return True


def _elements(shapes: Any) -> int:
    if shapes is None:
        return 0
    if isinstance(shapes, list) or (isinstance(shapes, tuple) and any(not isinstance(n, int) for n in shapes)):
        return sum(_elements(one) for one in shapes)
    return int(np.prod(shapes))


def _root(array: Any) -> Any:
    while getattr(array, "base", None) is not None and isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _history(outs: Sequence[Tensor]) -> Iterator[Record]:
    seen: set[Record] = set()
    stack = [y._record for y in outs]
    while stack:
        record = stack.pop()
        if record is None or record in seen:
            continue
        seen.add(record)
        yield record
        stack.extend(record.parents())
