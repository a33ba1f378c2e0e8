"""One library against another: the same function in single precision, on a device, in PyTorch or in JAX."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from .._array import as_array, cupy, is_array, library, to_host
from .._tensor import Tensor
from .._tree import leaves, map_leaves, unflatten
from ..errors import MissingPackageError
from ._laws import compare, first_order
from ._standin import strict
from ._subject import GradientError, Subject, bare, explained, name_of, subject

__all__ = ["compare_with", "on_numpy"]

_PEERS = ("torch", "jax")
_SPELLINGS = ("xp", "module")


def _namespace_parameter(function: Any) -> inspect.Parameter | None:
    """Return the parameter by which a function takes its array namespace."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    return next((parameters[name] for name in _SPELLINGS if name in parameters), None)


def on_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that wants an array namespace with numpy for it, and any other as it is."""
    parameter = _namespace_parameter(function)
    if parameter is None or parameter.default is not inspect.Parameter.empty:
        return function
    return functools.partial(function, **{parameter.name: np})


def compare_with(peer: Any, function: Callable[..., Any], args: Sequence[Any], point: Subject, modes: Any) -> None:
    """Check that `function` has the same values and gradients by `peer`, an entry of `against=`."""
    if callable(peer):
        named = _library_of(peer)
        if named is None:
            _against_function(peer, args, point)
        else:
            _against_peer(named, peer, args, point)
    elif peer == "float32":
        _in_single_precision(point, modes)
    elif peer in ("strict", "cupy"):
        module = strict if peer == "strict" else cupy()
        _on_device(f"on {'the stand-in for CuPy' if peer == 'strict' else 'CuPy'}", module, function, args, point)
    elif peer in _PEERS:
        parameter = _namespace_parameter(function)
        if parameter is None:
            raise ValueError(
                f"against={peer!r} calls {point.name} with arrays of {peer}, so it must take the array namespace as a "
                f"parameter xp (def {_identifier(point.name)}(..., xp=np): return xp.sin(...)); or give the same "
                f"function written for {peer}: against=function_for_{peer}"
            )
        _against_peer(peer, function, args, point, parameter.name)
    else:
        raise ValueError(f"got against={peer!r}, expected 'float32', 'strict', 'cupy', 'torch', 'jax', or a function")


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "f"


def _library_of(function: Any) -> str | None:
    """Return which peer's module a function names, in its own code, its closure or its globals; None for NumPy's."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        return _root(function)
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell]
    globals_ = function.__globals__
    for value in [globals_.get(name) for name in _names(code)] + cells:
        root = _root(value)
        if root is not None:
            return root
    return next((name for name in _names(code) if name in _PEERS), None)


def _root(value: Any) -> str | None:
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None) or ""
    root = str(module).partition(".")[0]
    return root if root in _PEERS else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _agree(
    what: str,
    point: Subject,
    outputs: Sequence[Any],
    pulled: Sequence[Any],
    gs: Sequence[Any],
    unit: float | None = None,
) -> None:
    """Check that values, and the cotangents `pulled` for `gs`, are those of `point`."""
    own = point.outputs
    if len(outputs) != len(own):
        raise GradientError(f"{point.name} {what} gave {len(outputs)} results, expected {len(own)}")
    for i, (got, expected) in enumerate(zip(own, outputs, strict=True)):
        name = f"result {i} of {point.name}, compared {what}" if len(own) > 1 else f"{point.name}, compared {what}"
        compare(name, got, expected, unit=unit)
    for k, (got, expected) in enumerate(zip(point.pull(gs), pulled, strict=True)):
        # A gradient that cancels is as precise as what it is made of, of which the largest is all that is known.
        scale = float(max((np.abs(to_host(h)).max(initial=0.0) for h in pulled), default=0.0))
        compare(f"the VJP of {point.name} by {point.label(k)}, compared {what}", got, expected, 0.0, scale, unit)


def _against_function(reference: Callable[..., Any], args: Sequence[Any], point: Subject) -> None:
    other = subject(on_numpy(reference), args)
    gs = point.cotangents()
    if len(other.outputs) != len(gs):
        raise GradientError(f"{other.name} gave {len(other.outputs)} results, expected {len(gs)}, as {point.name}")
    _agree(f"with {other.name}", point, other.outputs, other.pull(gs), gs)


def _in_single_precision(point: Subject, modes: Sequence[str]) -> None:
    xs = [x.astype("complex64" if x.dtype.kind == "c" else "float32") for x in point.xs]
    single = point.at(xs)
    single.name = f"{point.name} in float32"
    for i, (mask, wide) in enumerate(zip(single.finite, point.finite, strict=True)):
        if (wide & ~mask).any():
            which = f"result {i} of " if len(point.finite) > 1 else ""
            raise GradientError(f"{which}{single.name} is not finite, where it is in double precision: it overflows")
    first_order(single, modes)


def _on_device(what: str, module: Any, function: Callable[..., Any], args: Sequence[Any], point: Subject) -> None:
    def sent(leaf: Any) -> Any:
        return module.asarray(to_host(bare(leaf))) if isinstance(leaf, Tensor) or is_array(leaf) else leaf

    moved = map_leaves(sent, tuple(args))
    device = subject(on_numpy(function), moved, f"{point.name} {what}")
    gs = point.cotangents()
    for i, y in enumerate(device.outputs):
        if library(y) is not module:
            raise GradientError(f"result {i} of {point.name} {what} left the device: it is {type(y).__name__}")
    pulled = device.pull([module.asarray(to_host(g)) for g in gs])
    for k, h in enumerate(pulled):
        if library(h) is not module:
            raise GradientError(f"the gradient of {point.name} by {point.label(k)} {what} left the device")
    _agree(what, point, [to_host(y) for y in device.outputs], [to_host(h) for h in pulled], gs)


def _against_peer(
    peer: str, function: Callable[..., Any], args: Sequence[Any], point: Subject, namespace: str | None = None
) -> None:
    try:
        module = importlib.import_module(peer)
    except ImportError as error:
        raise MissingPackageError.of(peer, f"a comparison with {peer}", "bench") from error
    gs = [to_host(g) for g in point.cotangents()]
    run = _torch if peer == "torch" else _jax
    called = function if namespace is None else functools.partial(function, **{namespace: _namespace(peer, module)})
    with explained(f"{name_of(function)} on arrays of {peer}"):
        outputs, pulled = run(module, called, args, gs)
    _agree(
        f"with {peer}", point, outputs, pulled, [library(y).asarray(g) for y, g in zip(point.outputs, gs, strict=True)]
    )


def _namespace(peer: str, module: Any) -> Any:
    return importlib.import_module("jax.numpy") if peer == "jax" else module


def _prepared(args: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Return the leaves of arguments as NumPy arrays, and the places of the differentiable ones."""
    values = [
        to_host(as_array(bare(a))) if isinstance(a, (float, complex, Tensor)) or is_array(a) else a
        for a in leaves(tuple(args))
    ]
    return values, [i for i, a in enumerate(values) if isinstance(a, np.ndarray) and a.dtype.kind in "fc"]


def _torch(
    torch: Any, function: Callable[..., Any], args: Sequence[Any], gs: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    values, places = _prepared(args)
    given = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in values]
    for i in places:
        given[i].requires_grad_()
    found = function(*unflatten(tuple(args), given))
    results = [y for y in leaves(found) if isinstance(y, torch.Tensor) and (y.is_floating_point() or y.is_complex())]
    if len(results) != len(gs):
        raise GradientError(f"{name_of(function)} gave {len(results)} tensors of torch, expected {len(gs)}")
    xs = [given[i] for i in places]
    pairs = [(y, torch.tensor(g)) for y, g in zip(results, gs, strict=True) if y.requires_grad]
    hs: Sequence[Any] = [None] * len(xs)
    if pairs:
        hs = torch.autograd.grad([y for y, _ in pairs], xs, [g for _, g in pairs], allow_unused=True)
    pulled = [
        np.zeros_like(values[i]) if h is None else h.resolve_conj().numpy() for i, h in zip(places, hs, strict=True)
    ]
    return [y.detach().resolve_conj().numpy() for y in results], pulled


def _jax(jax: Any, function: Callable[..., Any], args: Sequence[Any], gs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    values, places = _prepared(args)
    jnp = importlib.import_module("jax.numpy")
    before = jax.config.jax_enable_x64
    # JAX knows double precision only where it is told.
    jax.config.update("jax_enable_x64", True)
    try:

        def called(*xs: Any) -> list[Any]:
            given = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in values]
            for i, x in zip(places, xs, strict=True):
                given[i] = x
            found = leaves(function(*unflatten(tuple(args), given)))
            return [y for y in found if hasattr(y, "dtype") and np.dtype(y.dtype).kind in "fc"]

        outputs, pull = jax.vjp(called, *(jnp.asarray(values[i]) for i in places))
        if len(outputs) != len(gs):
            raise GradientError(f"{name_of(function)} gave {len(outputs)} arrays of jax, expected {len(gs)}")
        # JAX pairs without conjugates.
        pulled = [np.conj(np.asarray(h)) for h in pull([jnp.conj(jnp.asarray(g)) for g in gs])]
        return [np.asarray(y) for y in outputs], pulled
    finally:
        jax.config.update("jax_enable_x64", before)
