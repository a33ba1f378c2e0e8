"""Our derivatives beside those of PyTorch and JAX, for every function that they have too, over the sweep's samples.

Run with: pytest tests/ops/test_peers.py -m peers

Cotangents are random. A call that the other library refuses, or answers otherwise than NumPy, is left out; every
function must keep at least one call. What remains and disagrees is an error, ours or theirs, unless `DIFFERENT` says
why it is none.
"""

import contextlib
import fnmatch
import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import _sweep

pytestmark = pytest.mark.peers

OPS = {op.name: op for op in _sweep.ops() if _sweep.cases_of(op)}
# How many of an op's calls are compared, and how many of those at second order and with complex numbers.
CALLS = {"jax": 3, "torch": 8}
SECOND_ORDER_CALLS = {"jax": 1, "torch": 8}
COMPLEX_CALLS = {"jax": 1, "torch": 4}

# Spaces of names in which a function of the same name is taken for the same function.
NAMESPACES = {
    "jax": ("numpy", "numpy.linalg", "numpy.fft", "nn"),
    "torch": ("", "linalg", "fft", "special", "nn.functional"),
}


# What the other library calls otherwise, as functions of its package and of NumPy's arguments.


def named(path: str) -> Callable[..., Any]:
    """Return the function of that name, whatever ours is called."""
    return lambda package, *args, **settings: _resolve(package, path)(*args, **settings)


JAX: dict[str, Callable[..., Any]] = {
    "getitem": lambda jax, x, index: x[index],
    "assign": lambda jax, x, value, index: jax.numpy.asarray(x).at[index].set(value),
    "choose": lambda jax, a, *choices, mode="raise": jax.numpy.choose(
        a, choices, mode="wrap" if mode == "wrap" else "clip"
    ),
    "special.psi": named("scipy.special.digamma"),
    "special.exp2": named("numpy.exp2"),
    "special.expm1": named("numpy.expm1"),
    "special.log1p": named("numpy.log1p"),
    "special.cbrt": named("numpy.cbrt"),
    "special.log_expit": named("nn.log_sigmoid"),
    "special.binom": lambda jax, n, k: _binom(jax, n, k),
    "special.rgamma": lambda jax, x: 1 / jax.scipy.special.gamma(x),
    "special.exp10": lambda jax, x: 10**x,
    "gelu": lambda jax, x: jax.nn.gelu(x, approximate=False),
    "add.reduce": named("numpy.add.reduce"),
    "multiply.reduce": named("numpy.multiply.reduce"),
    "subtract.outer": lambda jax, x, y: jax.numpy.subtract.outer(x, y),
    "add.accumulate": named("numpy.add.accumulate"),
    "multiply.accumulate": named("numpy.multiply.accumulate"),
    "add.reduceat": lambda jax, x, starts, axis=0: jax.numpy.add.reduceat(x, jax.numpy.asarray(starts), axis=axis),
    "sliding_window_view": lambda jax, x, shape: _windows(jax.numpy, x, shape),
    "sign": named("numpy.sign"),
    "special.hyp1f1": lambda jax, a, b, x: jax.scipy.special.hyp1f1(1.0 * a, 1.0 * b, x),
    "histogram2d": lambda jax, x, y, *args, **settings: _with_float_counts(
        jax.numpy.histogram2d(x, y, *args, **settings)
    ),
    "bincount": lambda jax, weights, places, least=0: jax.numpy.bincount(places, weights, least),
    "modf's fraction": lambda jax, x: jax.numpy.modf(x)[0],
}

TORCH: dict[str, Callable[..., Any]] = {
    "special.polygamma": lambda torch, n, x: torch.special.polygamma(n, x),
    "linear": lambda torch, x, weight, bias=None: x @ weight + (0 if bias is None else bias),
    "cond": lambda torch, a, p=None: torch.linalg.cond(a, p),
    "lstsq": lambda torch, a, b, rcond=None: _least_squares(torch, a, b),
    "logspace": lambda torch, start, stop, num=50, base=10.0: (
        base
        ** (
            start
            + (stop - start)
            * torch.linspace(0, 1, num, dtype=start.dtype)[(slice(None), *[None] * max(start.ndim, stop.ndim))]
        )
    ),
    "quantile": lambda torch, x, q, axis=None, method="linear", keepdims=False: torch.quantile(
        x, torch.as_tensor(q, dtype=x.dtype), dim=axis, interpolation=method, keepdim=keepdims
    ),
    "svd": lambda torch, a, full_matrices=True, compute_uv=True: (
        torch.linalg.svd(a, full_matrices) if compute_uv else torch.linalg.svdvals(a)
    ),
    "select": lambda torch, conditions, xs: _select(torch, conditions, xs),
    "getitem": lambda torch, x, index: x[index],
    "power": lambda torch, x, y: torch.pow(x, y),
    "fabs": named("abs"),
    "cbrt": lambda torch, x: torch.sign(x) * torch.abs(x) ** (1 / 3),
    "conjugate": lambda torch, x: torch.conj(x).resolve_conj(),
    "radians": named("deg2rad"),
    "degrees": named("rad2deg"),
    "astype": lambda torch, x, dtype: x.to(getattr(torch, dtype)),
    "modf's fraction": named("frac"),
    "special.gamma": lambda torch, x: torch.exp(torch.special.gammaln(x)),
    "special.betaln": lambda torch, x, y: torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y),
    "special.log_expit": named("nn.functional.logsigmoid"),
    "special.exprel": lambda torch, x: torch.expm1(x) / x,
    "special.rel_entr": lambda torch, x, y: x * torch.log(x / y),
    "special.kl_div": lambda torch, x, y: x * torch.log(x / y) - x + y,
    "sum": lambda torch, x, axis=None, keepdims=False: torch.sum(x, dim=axis, keepdim=keepdims),
    "mean": lambda torch, x, axis=None, keepdims=False: torch.mean(x, dim=axis, keepdim=keepdims),
    "prod": lambda torch, x, axis=None, keepdims=False: (
        torch.prod(x) if axis is None else torch.prod(x, axis, keepdim=keepdims)
    ),
    "max": lambda torch, x, axis=(), keepdims=False: torch.amax(x, dim=axis, keepdim=keepdims),
    "min": lambda torch, x, axis=(), keepdims=False: torch.amin(x, dim=axis, keepdim=keepdims),
    "ptp": lambda torch, x, axis=(), keepdims=False: (
        torch.amax(x, axis, keepdim=keepdims) - torch.amin(x, axis, keepdim=keepdims)
    ),
    "var": lambda torch, x, axis=None, ddof=0, keepdims=False: torch.var(x, axis, correction=ddof, keepdim=keepdims),
    "std": lambda torch, x, axis=None, ddof=0, keepdims=False: torch.std(x, axis, correction=ddof, keepdim=keepdims),
    "nanvar": lambda torch, x, axis=None, ddof=0: torch.var(x, axis, correction=ddof),
    "median": lambda torch, x, axis=None: torch.quantile(x, 0.5, dim=axis),
    "nanmedian": lambda torch, x, axis=None: torch.nanquantile(x, 0.5, dim=axis),
    "percentile": lambda torch, x, q, axis=None, method="linear", keepdims=False: torch.quantile(
        x, torch.as_tensor(q, dtype=x.dtype) / 100, dim=axis, interpolation=method, keepdim=keepdims
    ),
    "cumsum": lambda torch, x, axis=None: torch.cumsum(x.ravel() if axis is None else x, 0 if axis is None else axis),
    "cumprod": lambda torch, x, axis=None: torch.cumprod(x.ravel() if axis is None else x, 0 if axis is None else axis),
    "cumulative_sum": lambda torch, x, axis=0: torch.cumsum(x, axis),
    "cumulative_prod": lambda torch, x, axis=0: torch.cumprod(x, axis),
    "add.accumulate": lambda torch, x, axis=0: torch.cumsum(x, axis),
    "multiply.accumulate": lambda torch, x, axis=0: torch.cumprod(x, axis),
    "add.reduce": lambda torch, x, axis=0, keepdims=False: torch.sum(x, axis, keepdim=keepdims),
    "multiply.reduce": lambda torch, x, axis=0, keepdims=False: torch.prod(x, axis, keepdim=keepdims),
    "add.outer": lambda torch, x, y: x[(..., *[None] * y.ndim)] + y,
    "subtract.outer": lambda torch, x, y: x[(..., *[None] * y.ndim)] - y,
    "multiply.outer": lambda torch, x, y: x[(..., *[None] * y.ndim)] * y,
    "divide.outer": lambda torch, x, y: x[(..., *[None] * y.ndim)] / y,
    "sort": lambda torch, x, axis=-1: torch.sort(x, dim=axis).values,
    "extract": lambda torch, c, x: x[torch.as_tensor(c) != 0],
    "compress": lambda torch, c, x, axis=None: torch.index_select(
        x.ravel() if axis is None else x, axis or 0, torch.nonzero(torch.as_tensor(c)).ravel()
    ),
    "take_along_axis": lambda torch, x, i, axis=-1: torch.take_along_dim(x, i, axis),
    "take": lambda torch, x, i, axis=None: torch.index_select(
        x.ravel() if axis is None else x, axis or 0, torch.as_tensor(i)
    ),
    "expand_dims": lambda torch, x, axis: torch.unsqueeze(x, axis),
    "transpose": lambda torch, x, axes=None: torch.permute(x, tuple(reversed(range(x.ndim))) if axes is None else axes),
    "matrix_transpose": lambda torch, x: x.mT,
    "linalg.matrix_transpose": lambda torch, x: x.mT,
    "flip": lambda torch, x, axis=None: torch.flip(
        x, tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    ),
    "rot90": lambda torch, x, k=1, axes=(0, 1): torch.rot90(x, k, axes),
    "roll": lambda torch, x, shift, axis=None: torch.roll(x, shift, axis),
    "repeat": lambda torch, x, n, axis=None: torch.repeat_interleave(x, torch.as_tensor(n), dim=axis),
    "array_split": lambda torch, x, n, axis=0: torch.tensor_split(x, n, dim=axis),
    "split": lambda torch, x, n, axis=0: torch.tensor_split(x, n, dim=axis),
    "unstack": lambda torch, x, axis=0: torch.unbind(x, axis),
    "broadcast_arrays": named("broadcast_tensors"),
    "trapezoid": lambda torch, y, x=None, dx=1.0, axis=-1: (
        torch.trapezoid(y, x, dim=axis) if x is not None else torch.trapezoid(y, dx=dx, dim=axis)
    ),
    "diff": lambda torch, x, n=1, axis=-1: torch.diff(x, n, dim=axis),
    "cov": lambda torch, x: torch.cov(x),
    "polyval": lambda torch, p, x: sum(c * x ** (len(p) - 1 - i) for i, c in enumerate(p)),
    "interp": lambda torch, x, xp, fp: _interpolate(torch, x, xp, fp),
    "matvec": lambda torch, a, x: (a @ x[..., None])[..., 0],
    "dot": lambda torch, x, y: torch.tensordot(x, y, dims=([-1], [max(y.ndim - 2, 0)])) if x.ndim and y.ndim else x * y,
    "linalg.outer": named("outer"),
    "linalg.trace": lambda torch, x: torch.einsum("...ii->...", x),
    "linalg.cross": named("linalg.cross"),
    "linalg.vecdot": lambda torch, x, y, axis=-1: torch.linalg.vecdot(x, y, dim=axis),
    "linalg.tensordot": lambda torch, x, y, axes=2: torch.tensordot(x, y, dims=axes),
    "multi_dot": lambda torch, xs: torch.linalg.multi_dot(xs),
    "convolve": lambda torch, x, y, mode="full": _convolve(torch, x, y.flip(0), mode, len(y)),
    "correlate": lambda torch, x, y, mode="valid": _convolve(torch, x, y.conj().resolve_conj(), mode, len(y)),
    "solve": lambda torch, a, b: torch.linalg.solve(a, b),
    "cholesky": lambda torch, a, upper=False: torch.linalg.cholesky(a, upper=upper),
    "sliding_window_view": lambda torch, x, n: (
        x.unfold(0, n, 1) if x.ndim == 1 and isinstance(n, int) else _windows(torch, x, n)
    ),
    "layer_norm": lambda torch, x, scale, shift, axis=-1, eps=1e-5: torch.nn.functional.layer_norm(
        x, x.shape[-1:], scale, shift, eps
    ),
    "logsumexp": lambda torch, x, axis=None, keepdims=False: torch.logsumexp(
        x, tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims
    ),
    "softmax": lambda torch, x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda torch, x, axis=-1: torch.log_softmax(x, axis),
    "pad": lambda torch, x, widths, mode="constant", constant_values=0: _pad(torch, x, widths, mode, constant_values),
    "linspace": lambda torch, start, stop, num=50: (
        start
        + (stop - start)
        * torch.linspace(0, 1, num, dtype=start.dtype)[(slice(None), *[None] * max(start.ndim, stop.ndim))]
    ),
    "hypot": lambda torch, x, y: torch.hypot(
        torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64)
    ),
}

PACKAGES = {"jax": JAX, "torch": TORCH}

# Functions of the same name that are others, or that the library cannot differentiate.
LEFT_OUT = {
    "jax": {
        "nextafter": "its derivative is not implemented",
        "special.wofz": "its derivative is not implemented",
        "eig": "it has derivatives of the eigenvalues alone",
        "standardize": "it gives no rate",
        "special.polygamma": "its derivative raises for integer orders",
        **dict.fromkeys(("unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"), "constant there"),
        **dict.fromkeys(("union1d", "intersect1d", "setdiff1d", "setxor1d"), "constant there"),
    },
    "torch": {
        "heaviside": "it is not differentiable there",
        "eig": "eigenvectors have other phases",
        "full_like": "it takes a number",
        "bincount": "it is not differentiable there",
        "histogram": "it is not differentiable there",
        "histogramdd": "it is not differentiable there",
        "vander": "its derivative raises",
        "unique": "it is not differentiable there",
    },
}

# Calls, as patterns of their names, in which the others are wrong; they must go on to disagree.
WRONG = {
    "torch": {
        "svd/*/True": "the gradient by the vectors that full_matrices adds is dropped",
        "ldexp/*": "2**n is computed in integers: 0 for negative n",
        "pinv/*0.5": "the rule takes for granted that no singular value was cut off",
    },
    "jax": {
        "sign/*": "the derivative of complex signs is taken for 0",
        "pinv/*rcond=*": "the rule takes for granted that no singular value was cut off",
        "special.expn/*": "nan at some arguments",
        "special.spence/*": "nan at some arguments",
    },
}


def _windows(numpy: Any, x: Any, n: Any) -> Any:
    if x.ndim != 1 or not isinstance(n, int):
        raise NotImplementedError
    return numpy.stack([x[i : i + n] for i in range(len(x) - n + 1)])


def _with_float_counts(result: Any) -> Any:
    return result[0].astype(float), *result[1:]


def _binom(jax: Any, n: Any, k: Any) -> Any:
    g = jax.scipy.special.gammaln
    return jax.numpy.exp(g(n + 1) - g(k + 1) - g(n - k + 1))


def _select(torch: Any, conditions: Any, xs: Any) -> Any:
    chosen = torch.zeros_like(xs[0])
    for condition, x in reversed(list(zip(conditions, xs, strict=True))):
        chosen = torch.where(condition, x, chosen)
    return chosen


def _pad(torch: Any, x: Any, widths: Any, mode: str, value: Any) -> Any:
    pairs = np.broadcast_to(np.asarray(widths), (x.ndim, 2)).tolist()
    modes = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    flat = [n for pair in pairs[::-1] for n in pair]
    if mode == "constant":
        return torch.nn.functional.pad(x, flat, value=value)
    return torch.nn.functional.pad(x[None, None], flat, modes[mode])[0, 0]


def _least_squares(torch: Any, a: Any, b: Any) -> Any:
    # The residuals are taken from the solution, since PyTorch does not differentiate its own.
    x = torch.linalg.lstsq(a, b if b.ndim > 1 else b[:, None]).solution
    x = x if b.ndim > 1 else x[:, 0]
    full = a.shape[0] > a.shape[1]
    rest = torch.atleast_1d(torch.sum(torch.abs(b - a @ x) ** 2, 0)) if full else b.new_zeros(0)
    return x, rest, torch.linalg.matrix_rank(a), torch.linalg.svdvals(a)


def _interpolate(torch: Any, x: Any, xp: Any, fp: Any) -> Any:
    if len(xp) < 2:
        raise NotImplementedError
    i = torch.clip(torch.searchsorted(xp.detach(), x.detach()), 1, len(xp) - 1)
    part = torch.clip((x - xp[i - 1]) / (xp[i] - xp[i - 1]), 0, 1)
    return fp[i - 1] + part * (fp[i] - fp[i - 1])


def _convolve(torch: Any, x: Any, y: Any, mode: str, n: int) -> Any:
    if len(x) < n:
        raise NotImplementedError
    both = {"full": n - 1, "valid": 0}[mode]
    return torch.nn.functional.conv1d(x[None, None], y[None, None], padding=both)[0, 0]


def _resolve(package: Any, path: str) -> Any:
    return functools.reduce(getattr, path.split(".") if path else [], package)


def corresponding(peer: str, package: Any) -> dict[str, Callable[..., Any]]:
    """Return the other library's functions by the names of our ops."""
    found = {}
    for name in OPS:
        if name in LEFT_OUT[peer]:
            continue
        if name in PACKAGES[peer]:
            found[name] = functools.partial(PACKAGES[peer][name], package)
            continue
        *path, last = name.split(".")
        spaces = NAMESPACES[peer]
        if path == ["linalg"] and peer == "jax":
            spaces = ("numpy.linalg", "scipy.linalg")
        elif path == ["special"]:
            spaces = ("scipy.special",) if peer == "jax" else ("special",)
        elif path:
            spaces = tuple(f"{'numpy.' if peer == 'jax' else ''}{part}" for part in path)
        for space in spaces:
            try:
                function = getattr(_resolve(package, space), last)
            except AttributeError:
                continue
            if callable(function):
                found[name] = function
                break
    return found


def _package(peer: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip(peer)
        for part in ("numpy", "nn", "scipy.linalg", "scipy.special") if peer == "jax" else ():
            importlib.import_module(f"{peer}.{part}")
    return package


# Cotangents pulled back by the other library, in our convention: the gradient is the direction of steepest ascent.


class Peer:
    """What is the same for both: values, gradients and derivatives of gradients, each None where it is refused."""

    def derivatives(self, call: Callable[..., Any], xs: Any, gs: Any, ts: Any, second: bool) -> list[Any]:
        gs, ts = [self.constant(g) for g in gs], [self.constant(t) for t in ts]
        steps = [
            lambda: call(*xs),
            lambda: self.pull(call, xs, gs),
            lambda: self.pull(lambda *xs: self.pull(call, xs, gs), xs, ts),
        ]
        found: list[Any] = [None, None, None]
        for i in range(3 if second else 2):
            # A library says in many ways that it cannot do something, from TypeError to AssertionError.
            with contextlib.suppress(Exception):
                found[i] = [self.host(y) for y in steps[i]()]
        return found


def _is_numbers(value: Any) -> bool:
    return all(map(_is_numbers, value)) if type(value) is list else isinstance(value, (bool, int, float))


class OfJax(Peer):
    """Derivatives by JAX, whose cotangents are the conjugates of ours."""

    def __init__(self, jax: Any) -> None:
        self.jax = jax
        self.array = jax.numpy.asarray

    def precision(self) -> Any:
        return self.jax.enable_x64(True)

    def hermitian(self, x: Any) -> Any:
        np = self.jax.numpy
        return (x + np.conj(np.swapaxes(x, -1, -2))) / 2

    def results(self, result: Any) -> list[Any]:
        np = self.jax.numpy
        return [y for y in self.jax.tree.leaves(result) if np.issubdtype(np.asarray(y).dtype, np.inexact)]

    def pull(self, function: Callable[..., list[Any]], xs: Any, gs: Any) -> list[Any]:
        conj = self.jax.numpy.conj
        return [conj(h) for h in self.jax.vjp(function, *xs)[1]([conj(g) for g in gs])]

    def derivatives(self, call: Callable[..., Any], xs: Any, gs: Any, ts: Any, second: bool) -> list[Any]:
        def all_of_them(xs: Any, gs: Any, ts: Any) -> Any:
            pulled = self.pull(call, xs, gs)
            bent = self.pull(lambda *xs: self.pull(call, xs, gs), xs, ts) if second else None
            return call(*xs), pulled, bent

        try:
            # One program takes a quarter of the time of compiling its steps apart, but not every function allows it.
            found = self.jax.jit(all_of_them)(xs, gs, ts)
        except Exception:
            return super().derivatives(call, xs, gs, ts, second)
        return [part and [self.host(y) for y in part] for part in found]

    def constant(self, value: Any) -> Any:
        # Lists of numbers are refused where NumPy takes arrays, and NumPy's functions take no tracers.
        if isinstance(value, np.ufunc):
            return getattr(self.jax.numpy, value.__name__)
        if type(value) is list and all(isinstance(one, np.ufunc) or callable(one) for one in value):
            return [self.constant(one) for one in value]
        return np.asarray(value) if type(value) is list and _is_numbers(value) else value

    def host(self, value: Any) -> Any:
        return np.asarray(value)


class OfTorch(Peer):
    """Derivatives by PyTorch, whose functions take tensors alone."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def array(self, x: Any) -> Any:
        return self.torch.tensor(np.array(x), requires_grad=True)

    def precision(self) -> Any:
        return warnings.catch_warnings()

    def hermitian(self, x: Any) -> Any:
        return (x + x.mH) / 2

    def results(self, result: Any) -> list[Any]:
        if isinstance(result, (list, tuple)):
            return [y for entry in result for y in self.results(entry)]
        if not isinstance(result, self.torch.Tensor):
            return []
        return [result] if result.is_floating_point() or result.is_complex() else []

    def pull(self, function: Callable[..., list[Any]], xs: Any, gs: Any) -> list[Any]:
        pairs = [(y, g) for y, g in zip(function(*xs), gs, strict=True) if y.requires_grad]
        if not pairs:
            raise NotImplementedError("no result is tracked")
        ys, gs = zip(*pairs, strict=True)
        found = self.torch.autograd.grad(ys, xs, gs, create_graph=True, allow_unused=True)
        return [self.torch.zeros_like(x) if h is None else h for x, h in zip(xs, found, strict=True)]

    def constant(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.torch.tensor(value)
        return type(value)(self.constant(entry) for entry in value) if type(value) in (list, tuple) else value

    def host(self, value: Any) -> Any:
        return value.detach().resolve_conj().resolve_neg().numpy()


LIBRARIES = {"jax": OfJax, "torch": OfTorch}


def compared(peer: Any, function: Callable[..., Any], entry: Any, dtypes: str, second: bool) -> str:
    """Compare first (and second) derivatives of one call; return the orders that were compared."""
    sample = entry.sample(dtypes)
    point = sample.subject()
    if not point.xs or not any(x.size for x in point.xs) or not point.outputs:
        return ""

    gs, ts = point.cotangents(), point.like(point.xs)

    def call(*xs: Any) -> list[Any]:
        moved = [peer.hermitian(x) if i in sample.hermitian else x for i, x in zip(sample.places, xs, strict=True)]

        def translated(*args: Any, **settings: Any) -> Any:
            return function(*map(peer.constant, args), **{k: peer.constant(v) for k, v in settings.items()})

        return peer.results(sample.call(*moved, function=translated))

    values, found, bent = peer.derivatives(call, [peer.array(x) for x in point.xs], gs, ts, second)
    if values is None or len(values) != len(point.outputs) or not all(map(_same, values, point.outputs)):
        return ""
    if found is None:
        return ""
    for k, (ours, other) in enumerate(zip(point.pull(gs), found, strict=True)):
        _agree(f"the VJP of {entry} ({dtypes}) by input {k}", ours, other)
    if bent is None:
        return "1"
    slopes = tg.vjp(lambda *xs: list(tg.vjp(point.call, *xs)[1](gs)), *point.xs)[1](ts)
    for k, (ours, other) in enumerate(zip(slopes, bent, strict=True)):
        _agree(f"the second derivative of {entry} ({dtypes}) by input {k}", ours.data, other)
    return "12"


def _same(got: Any, expected: Any) -> bool:
    return got.shape == expected.shape and np.allclose(got, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


def _agree(what: str, ours: Any, other: Any) -> None:
    # Many special functions of others are good to nine digits.
    scale = float(np.max(np.abs(ours), initial=1.0))
    np.testing.assert_allclose(ours, other, rtol=1e-7, atol=1e-8 * scale, err_msg=what)


def calls(op: Any, count: int, patterns: Any = ()) -> list[Any]:
    """Return `count` calls of an op with arrays that are not empty, spread over its cases, and those of `patterns`."""
    found = [_sweep.Entry(op, case) for case in _sweep.cases_of(op)]
    found = [entry for entry in found if any(x.size for x in entry.sample().xs)]
    if len(found) <= count:
        return found
    named = [entry for entry in found if any(fnmatch.fnmatch(str(entry), pattern) for pattern in patterns)]
    spread = [found[i * len(found) // count] for i in range(count)]
    return [*spread, *(entry for entry in named if all(entry is not other for other in spread))]


@pytest.fixture(scope="module", params=list(PACKAGES))
def peer(request):
    """The name of a library, its functions by the names of our ops, and its derivatives."""
    package = _package(request.param)
    return request.param, corresponding(request.param, package), LIBRARIES[request.param](package)


@pytest.mark.parametrize("name", OPS)
def test_derivatives_agree(peer, name):
    library, functions, derivatives = peer
    if name not in functions:
        pytest.skip(f"{library} has no such function")
    done, wrong = set(), {}
    patterns = [pattern for pattern in WRONG[library] if pattern.startswith(f"{name}/")]
    with warnings.catch_warnings(), derivatives.precision(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for i, entry in enumerate(calls(OPS[name], CALLS[library], patterns)):
            found = [pattern for pattern in patterns if fnmatch.fnmatch(str(entry), pattern)]
            for dtypes in "dD"[: 2 if i < COMPLEX_CALLS[library] else 1]:
                if dtypes == "d" or _sweep.accepts(entry, dtypes):
                    try:
                        done |= set(
                            compared(derivatives, functions[name], entry, dtypes, i < SECOND_ORDER_CALLS[library])
                        )
                    except AssertionError as error:
                        if not found:
                            raise
                        wrong |= dict.fromkeys(found, error)
                        done.add("1")
    assert "1" in done, f"no call of {name} could be compared: leave it out with the reason, or write an adapter"
    assert set(patterns) == wrong.keys(), "they agree now: take these off the list"


# So many functions correspond, and the number only grows.
LEAST = {"jax": 310, "torch": 235}


def test_enough_functions_are_compared(peer):
    library, functions, _ = peer
    assert len(functions) >= LEAST[library]


def test_what_is_left_out_exists():
    for peer, names in LEFT_OUT.items():
        assert names.keys() <= OPS.keys(), peer
        assert PACKAGES[peer].keys() <= OPS.keys(), PACKAGES[peer].keys() - OPS.keys()
