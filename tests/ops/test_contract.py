"""The gradient contract, as data: every row is a test, and the table of conventions that users read is made from them.

A row of `GRADIENTS` says what is called, where, and what the gradient must be, in reverse and in forward mode; what
other libraries give there is stated beside it, and `pytest -m peers` asks them. A row of `FACTS` is a sentence and the
code that holds it true. The table stands in tapegrad/ops/README.md: see test_readme.py.
"""

import contextlib
import importlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import DtypeError, HistoryError, KinkError, LostGradientError, ShapeError, UnsupportedError
from tapegrad.ops import unary
from tapegrad.testing import _sweep

INF, NAN = math.inf, math.nan
SAME = "same"

SECTIONS = {
    "Ties and kinks": "Equal arguments share, and the shares sum to one. At a kink the smallest subgradient counts. "
    "Under `tapegrad.strict()`, cases marked † here and below raise `KinkError` instead.",
    "Zeros, infinities, edges of the domain": "Where the true derivative exists it is returned, whatever the textbook "
    "formula does; where it is infinite it is infinite.",
    "Types and scalars": "A gradient has the shape, the dtype and the device of its leaf.",
    "Complex numbers": "The gradient of a real loss is the direction of steepest ascent, as in PyTorch.",
    "Indexing and assignment": "NumPy decides what is read and written, and the gradient follows.",
    "Linear algebra": "Exact wherever the function is differentiable, and never a made-up number where it is not.",
    "Engine": "What `backward`, conversions and errors do.",
}
TIES, ZEROS, TYPES, COMPLEX, INDEXING, LINALG, ENGINE = SECTIONS

PEERS = {"torch": "PyTorch", "jax": "JAX", "autograd": "HIPS autograd", "mygrad": "MyGrad"}
VERSIONS = "PyTorch 2.13, JAX 0.10, HIPS autograd 1.9, MyGrad 2.5"


@dataclass(frozen=True)
class Gradient:
    """One row: a function of a namespace (`np` for us) and of arrays, where it is taken, and its gradient there.

    Functions with several results, or an array, are summed, unless `g` gives the cotangent. `peers` holds what other
    libraries give: SAME, a gradient, or in words how they fail; or a pair of a function of their package, and that.
    `kink` says that `tapegrad.strict()` raises there.
    """

    section: str
    case: str
    function: Callable[..., Any]
    at: tuple[Any, ...]
    gives: tuple[Any, ...]
    also: tuple[Callable[..., Any], ...] = ()
    g: Any = None
    second: Any = None
    modes: str = "both"
    strong: Any = None
    kink: bool = False
    note: str = ""
    peers: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.case.replace("`", "")

    @property
    def text(self) -> str:
        """The gradient as users read it."""
        parts = [_text(self.gives)]
        if self.second is not None:
            parts.append("exact at second order too" if np.any(self.second) else "second derivatives 0 too")
        if self.strong is not None:
            parts[0] += f" by default; {_text(self.strong)} under strong zero"
        if self.note:
            parts.append(self.note)
        return "; ".join(parts)

    def peer(self, name: str) -> str:
        """Return what a peer gives, as users read it; empty where nothing is stated."""
        given = self.peers.get(name, "")
        given = given[1] if isinstance(given, tuple) and callable(given[0]) else given
        return given if isinstance(given, str) else _text(_tuple(given))


def _text(gives: Any) -> str:
    parts = [_number(x) if np.ndim(x) == 0 else _array(x) for x in gives]
    return ("; " if any(np.ndim(x) for x in gives) else ", ").join(parts)


def _array(x: Any) -> str:
    inner = ", ".join(_number(y) if np.ndim(y) == 0 else _array(y) for y in x)
    return f"[{inner}]"


def _number(x: Any) -> str:
    if isinstance(x, complex):
        return f"{_number(x.real)}{'+' if x.imag >= 0 else '-'}{_number(abs(x.imag))}j"
    if not math.isfinite(x):
        return str(float(x))
    close = Fraction(float(x)).limit_denominator(64)
    return str(close) if float(close) == x else f"{x:.6g}"


GRADIENTS: list[Gradient] = []
FACTS: list[tuple[str, str, str, Callable[[], None]]] = []


KEYWORDS = ("g", "second", "modes", "note", "kink")


def row(section: str, case: str, function: Any, at: Any, gives: Any, **options: Any) -> None:
    """Add a row; `at` and `gives` are tuples of one entry for each input, or the one entry itself."""
    peers = {name: options.pop(name) for name in PEERS if name in options}
    options = {name: value if name in KEYWORDS else _tuple(value) for name, value in options.items()}
    GRADIENTS.append(Gradient(section, case, function, _tuple(at), _tuple(gives), **options, peers=peers))


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def fact(section: str, case: str, result: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Add a row whose result is a sentence that the decorated function holds true."""

    def add(check: Callable[[], None]) -> Callable[[], None]:
        FACTS.append((section, case, result, check))
        return check

    return add


# Ties and kinks

row(
    TIES, "`max` of [1, 3, 3], with or without axis", lambda np, x: np.max(x), [1, 3, 3], [0, 1 / 2, 1 / 2],
    also=(lambda np, x: np.max(x, axis=0), lambda np, x: np.amax(x, axis=-1, keepdims=True), lambda np, x: x.max()),
    torch=(lambda torch, x: torch.amax(x), SAME), jax=SAME, autograd=SAME, mygrad=[0, 1, 0],
    kink=True,
)  # fmt: skip
row(
    TIES, "`max` along an axis", lambda np, x: np.max(x, axis=0), [1, 3, 3], [0, 1 / 2, 1 / 2],
    torch=(lambda torch, x: torch.max(x, dim=0).values, [0, 1, 0]), jax=SAME, autograd=SAME, mygrad=[0, 1, 0],
    kink=True,
)  # fmt: skip
row(
    TIES, "`maximum(2, 2)`, `minimum(2, 2)`", lambda np, x, y: np.maximum(x, y), (2, 2), (1 / 2, 1 / 2),
    also=(lambda np, x, y: np.minimum(x, y),),
    torch=(lambda torch, x, y: torch.maximum(x, y), SAME), jax=SAME, autograd=SAME, mygrad=(0, 0),
    kink=True,
)  # fmt: skip
row(
    TIES, "`fmax(2, 2)`, `fmin(2, 2)`", lambda np, x, y: np.fmax(x, y), (2, 2), (1 / 2, 1 / 2),
    also=(lambda np, x, y: np.fmin(x, y),),
    torch=(lambda torch, x, y: torch.fmax(x, y), (1, 0)), jax=(0, 1), autograd=SAME, mygrad="none",
    kink=True,
)  # fmt: skip
row(
    TIES, "`maximum(nan, 2)`", lambda np, x, y: np.maximum(x, y), (NAN, 2), (1, 0),
    also=(lambda np, x, y: np.minimum(x, y),),
    torch=(lambda torch, x, y: torch.maximum(x, y), (1, 1)), jax=(0, 0), autograd=(0, 0), mygrad=(0, 1),
)  # fmt: skip
row(
    TIES, "`fmax(nan, 2)`", lambda np, x, y: np.fmax(x, y), (NAN, 2), (0, 1),
    also=(lambda np, x, y: np.fmin(x, y),),
    torch=(lambda torch, x, y: torch.fmax(x, y), SAME), jax=SAME, autograd=SAME, mygrad="none",
)  # fmt: skip
row(
    TIES, "`tapegrad.relu(0)`", lambda np, x: tg.relu(x), 0, 0,
    torch=(lambda torch, x: torch.relu(x), SAME), jax=(lambda jax, x: jax.nn.relu(x), SAME),
    autograd=(lambda ag, x: ag.numpy.maximum(x, 0), 1 / 2), mygrad=(lambda mg, x: mg.nnet.relu(x), SAME),
    kink=True,
)  # fmt: skip
row(
    TIES, "`abs(0)`", lambda np, x: np.abs(x), 0, 0, also=(lambda np, x: np.fabs(x), lambda np, x: abs(x)),
    torch=(lambda torch, x: torch.abs(x), SAME), jax=1, autograd=SAME, mygrad=SAME,
    kink=True,
)  # fmt: skip
row(
    TIES, "`clip(x, low, high)` at the lower bound", lambda np, x, low, high: np.clip(x, low, high),
    (1, 1, 3), (1, 0, 0),
    torch=(lambda torch, x, low, high: torch.clip(x, low, high), SAME), jax=(1 / 2, 1 / 2, 0),
    autograd=(lambda ag, x, low, high: ag.numpy.clip(x, 1.0, 3.0), (0, 0, 0)),
    kink=True,
)  # fmt: skip
row(
    TIES, "`clip(x, low, high)` at the upper bound", lambda np, x, low, high: np.clip(x, low, high),
    (3, 1, 3), (1, 0, 0),
    torch=(lambda torch, x, low, high: torch.clip(x, low, high), SAME), jax=(1 / 2, 0, 1 / 2),
    autograd=(lambda ag, x, low, high: ag.numpy.clip(x, 1.0, 3.0), (0, 0, 0)),
    kink=True,
)  # fmt: skip
row(
    TIES, "`clip(x, low, high)` outside", lambda np, x, low, high: np.clip(x, low, high), (5, 1, 3), (0, 0, 1),
    torch=(lambda torch, x, low, high: torch.clip(x, low, high), SAME), jax=SAME,
)  # fmt: skip
row(
    TIES, "`clip(x, low, high)` with low > high", lambda np, x, low, high: np.clip(x, low, high), (2, 3, 1), (0, 0, 1),
    torch=(lambda torch, x, low, high: torch.clip(x, low, high), SAME), jax=SAME,
)  # fmt: skip
row(
    TIES, "`floor`, `ceil`, `round`, `trunc`, `rint`, `sign`, times x, at 2.5", lambda np, x: np.floor(x) * x, 2.5, 2,
    also=(lambda np, x: np.trunc(x) * x, lambda np, x: np.rint(x) * x, lambda np, x: np.round(x) * x,
          lambda np, x: (np.ceil(x) - 1) * x, lambda np, x: (np.sign(x) + 1) * x),
    note="they are constants", torch=(lambda torch, x: torch.floor(x) * x, SAME), jax=SAME, autograd=SAME,
)  # fmt: skip
row(
    TIES, "`heaviside(0, y)`", lambda np, x, y: np.heaviside(x, y), (0, 1 / 2), (0, 1),
    torch=(lambda torch, x, y: torch.heaviside(x, y), "none"), jax=SAME,
)  # fmt: skip
row(
    TIES, "`median` of [1, 2, 3, 4]", lambda np, x: np.median(x), [1, 2, 3, 4], [0, 1 / 2, 1 / 2, 0],
    torch=(lambda torch, x: torch.median(x), [0, 1, 0, 0]), jax=SAME, autograd="none", mygrad="none",
)  # fmt: skip
row(
    TIES, "`sort` of [2, 1, 2], by g = [1, 2, 3]", lambda np, x: np.sort(x), [2, 1, 2], [2, 1, 3],
    g=[1, 2, 3], note="order of equal entries kept",
    torch=(lambda torch, x: torch.sort(x, stable=True).values, SAME), jax=SAME, autograd=SAME, mygrad="none",
)  # fmt: skip
row(
    TIES, "`linalg.norm([3, -3], inf)`", lambda np, x: np.linalg.norm(x, math.inf), [3, -3], [1 / 2, -1 / 2],
    torch=(lambda torch, x: torch.linalg.norm(x, math.inf), SAME), jax=SAME, autograd=[NAN, NAN], mygrad=[1, 0],
    kink=True,
)  # fmt: skip
row(
    TIES, "`linalg.norm([0, -3], 1)`", lambda np, x: np.linalg.norm(x, 1), [0, -3], [0, -1],
    torch=(lambda torch, x: torch.linalg.norm(x, 1), SAME), jax=[1, -1], autograd="none", mygrad=SAME,
    kink=True,
)  # fmt: skip

# Zeros, infinities, edges of the domain

row(
    ZEROS, "`sqrt(0)`, `cbrt(0)`, `0 ** 0.5`", lambda np, x: np.sqrt(x), 0, INF,
    also=(lambda np, x: np.cbrt(x), lambda np, x: x**0.5),
    torch=(lambda torch, x: torch.sqrt(x), SAME), jax=SAME, autograd=SAME, mygrad=SAME,
)  # fmt: skip
row(
    ZEROS, "`arcsin(1)`", lambda np, x: np.arcsin(x), 1, INF,
    torch=(lambda torch, x: torch.arcsin(x), SAME), jax=SAME, autograd=SAME, mygrad=0,
)  # fmt: skip
row(
    ZEROS, "`arccos(1)`", lambda np, x: np.arccos(x), 1, -INF,
    torch=(lambda torch, x: torch.arccos(x), SAME), jax=SAME, autograd=SAME, mygrad=0,
)  # fmt: skip
row(
    ZEROS, "`linalg.norm` of [0, 0], of any order", lambda np, x: np.linalg.norm(x), [0, 0], [0, 0],
    also=tuple(lambda np, x, p=p: np.linalg.norm(x, p) for p in (1, 2, 3, 1.5, math.inf, -math.inf)),
    second=np.zeros((2, 2)),
    torch=(lambda torch, x: torch.linalg.norm(x), SAME), jax=[NAN, NAN], autograd=[NAN, NAN], mygrad=[NAN, NAN],
    kink=True,
)  # fmt: skip
row(
    ZEROS, "`hypot(0, 0)`", lambda np, x, y: np.hypot(x, y), (0, 0), (0, 0),
    torch=(lambda torch, x, y: torch.hypot(x, y), (NAN, NAN)), jax=(1 / 2, 1 / 2), autograd=(NAN, NAN),
    kink=True,
)  # fmt: skip
row(
    ZEROS, "`arctan2(0, 0)`", lambda np, x, y: np.arctan2(x, y), (0, 0), (0, 0),
    torch=(lambda torch, x, y: torch.arctan2(x, y), SAME), jax=(NAN, NAN),
    autograd=(NAN, NAN), mygrad=(NAN, NAN),
    kink=True,
)  # fmt: skip
row(
    ZEROS, "`std([1, 1])`", lambda np, x: np.std(x), [1, 1], [0, 0], second=np.zeros((2, 2)),
    torch=(lambda torch, x: torch.std(x, correction=0), SAME), jax=[NAN, NAN], autograd=[NAN, NAN], mygrad=[NAN, NAN],
    kink=True,
)  # fmt: skip
row(
    ZEROS, "`prod([0, 2, 3])`", lambda np, x: np.prod(x), [0, 2, 3], [6, 0, 0],
    second=[[0, 3, 2], [3, 0, 0], [2, 0, 0]], also=(lambda np, x: np.multiply.reduce(x),),
    torch=(lambda torch, x: torch.prod(x), SAME), jax=SAME, autograd=[NAN, 0, 0], mygrad=SAME,
)  # fmt: skip
row(
    ZEROS, "`prod([0, 0, 3])`", lambda np, x: np.prod(x), [0, 0, 3], [0, 0, 0],
    second=[[0, 3, 0], [3, 0, 0], [0, 0, 0]],
    torch=(lambda torch, x: torch.prod(x), SAME), jax=SAME, autograd=[NAN, NAN, 0], mygrad=SAME,
)  # fmt: skip
row(
    ZEROS, "`cumprod([0, 2, 3])`", lambda np, x: np.cumprod(x), [0, 2, 3], [9, 0, 0],
    second=[[0, 4, 2], [4, 0, 0], [2, 0, 0]], also=(lambda np, x: np.multiply.accumulate(x),),
    note="exact through zeros, in linear time",
    torch=(lambda torch, x: torch.cumprod(x, 0), SAME), jax=SAME, autograd="none", mygrad=SAME,
)  # fmt: skip
row(
    ZEROS, "`0 ** 0` by base and exponent", lambda np, x, y: x**y, (0, 0), (0, 0),
    torch=(lambda torch, x, y: x**y, SAME), jax=(NAN, 0), autograd=(0, 0), mygrad=(0, 0),
)  # fmt: skip
row(
    ZEROS, "`0 ** 2` by base and exponent", lambda np, x, y: x**y, (0, 2), (0, 0),
    torch=(lambda torch, x, y: x**y, SAME), jax=SAME, autograd=SAME, mygrad=SAME,
)  # fmt: skip
row(
    ZEROS, "`(-2) ** 2` with a constant exponent", lambda np, x: x**2.0, -2, -4,
    also=(lambda np, x: np.power(x, 2), lambda np, x: x**2, lambda np, x: np.power(x, np.asarray(2.0))),
    note="no logarithm is ever taken for a constant exponent",
    torch=(lambda torch, x: x**2.0, SAME), jax=SAME, autograd=SAME, mygrad=SAME,
)  # fmt: skip
row(
    ZEROS, "`(-2) ** 2` by base and exponent", lambda np, x, y: x**y, (-2, 2), (-4, NAN), modes="reverse",
    torch=(lambda torch, x, y: x**y, SAME), jax=SAME, autograd=SAME, mygrad=SAME,
)  # fmt: skip
row(
    ZEROS, "`scipy.special.xlogy(0, 0)`", lambda np, x, y: scipy_special().xlogy(x, y), (0, 0), (0, 0),
    torch=(lambda torch, x, y: torch.special.xlogy(x, y), (0, NAN)),
    jax=(lambda jax, x, y: jax.scipy.special.xlogy(x, y), (-INF, NAN)),
)  # fmt: skip
row(
    ZEROS, "`tapegrad.logsumexp([-inf, 0])`", lambda np, x: tg.logsumexp(x), [-INF, 0], [0, 1],
    torch=(lambda torch, x: torch.logsumexp(x, 0), SAME), jax=(lambda jax, x: jax.nn.logsumexp(x), SAME),
    mygrad=(lambda mg, x: mg.logsumexp(x) if hasattr(mg, "logsumexp") else mg.math.misc.funcs.logsumexp(x), "none"),
)  # fmt: skip
row(
    ZEROS, "`tapegrad.logsumexp([-inf, -inf])`", lambda np, x: tg.logsumexp(x), [-INF, -INF], [0, 0],
    torch=(lambda torch, x: torch.logsumexp(x, 0), [NAN, NAN]), jax=(lambda jax, x: jax.nn.logsumexp(x), [NAN, NAN]),
)  # fmt: skip
row(
    ZEROS, "`logaddexp(inf, inf)`", lambda np, x, y: np.logaddexp(x, y), (INF, INF), (1 / 2, 1 / 2),
    also=(lambda np, x, y: np.logaddexp2(x, y),),
    torch=(lambda torch, x, y: torch.logaddexp(x, y), (NAN, NAN)), jax=(1, 1), autograd=(NAN, NAN), mygrad=(NAN, NAN),
)  # fmt: skip
row(
    ZEROS, "`logaddexp(-inf, -inf)`", lambda np, x, y: np.logaddexp(x, y), (-INF, -INF), (1 / 2, 1 / 2),
    also=(lambda np, x, y: np.logaddexp2(x, y),),
    torch=(lambda torch, x, y: torch.logaddexp(x, y), (NAN, NAN)), jax=(NAN, NAN),
    autograd=(NAN, NAN), mygrad=(NAN, NAN),
)  # fmt: skip
row(
    ZEROS, "`tapegrad.sigmoid(-1000)`", lambda np, x: tg.sigmoid(x), -1000, 0, note="without a warning",
    torch=(lambda torch, x: torch.sigmoid(x), SAME), jax=(lambda jax, x: jax.nn.sigmoid(x), SAME),
    autograd=(lambda ag, x: 1 / (1 + ag.numpy.exp(-x)), NAN), mygrad=(lambda mg, x: mg.nnet.sigmoid(x), SAME),
)  # fmt: skip
row(
    ZEROS, "`tapegrad.softplus` of [-1000, 1000]", lambda np, x: tg.softplus(x), [-1000, 1000], [0, 1],
    note="without a warning", torch=(lambda torch, x: torch.nn.functional.softplus(x), SAME),
    jax=(lambda jax, x: jax.nn.softplus(x), SAME), autograd=(lambda ag, x: ag.numpy.log1p(ag.numpy.exp(x)), [0, NAN]),
)  # fmt: skip
row(
    ZEROS, "`tapegrad.log_softmax([1000, 0])`, by g = [1, 0]", lambda np, x: tg.log_softmax(x),
    [1000, 0], [0, 0], g=[1, 0],
    note="without a warning", torch=(lambda torch, x: torch.log_softmax(x, 0), SAME),
    jax=(lambda jax, x: jax.nn.log_softmax(x), SAME),
    autograd=(lambda ag, x: ag.numpy.log(ag.numpy.exp(x) / ag.numpy.sum(ag.numpy.exp(x))), [NAN, NAN]),
)  # fmt: skip
row(
    ZEROS, "`tapegrad.logsumexp([1000, 0])`", lambda np, x: tg.logsumexp(x), [1000, 0], [1, 0],
    note="without a warning", torch=(lambda torch, x: torch.logsumexp(x, 0), SAME),
    jax=(lambda jax, x: jax.nn.logsumexp(x), SAME),
    autograd=(lambda ag, x: ag.numpy.log(ag.numpy.sum(ag.numpy.exp(x))), [NAN, 0]),
)  # fmt: skip
row(
    ZEROS, "`sinc(0)`", lambda np, x: np.sinc(x), 0, 0,
    torch=(lambda torch, x: torch.sinc(x), SAME), jax=SAME, autograd=NAN, mygrad=SAME,
)  # fmt: skip
row(
    ZEROS, "`mod(7.5, 2)`", lambda np, x, y: np.mod(x, y), (7.5, 2), (1, -3), note="-floor(x / y) by the divisor",
    also=(lambda np, x, y: x % y, lambda np, x, y: np.remainder(x, y)),
    torch=(lambda torch, x, y: torch.remainder(x, y), SAME), jax=SAME, autograd=SAME,
)  # fmt: skip
row(
    ZEROS, "`mod(-7.5, 2)`", lambda np, x, y: np.mod(x, y), (-7.5, 2), (1, 4),
    torch=(lambda torch, x, y: torch.remainder(x, y), SAME), jax=SAME, autograd=SAME,
)  # fmt: skip
row(
    ZEROS, "`fmod(-7.5, 2)`", lambda np, x, y: np.fmod(x, y), (-7.5, 2), (1, 3), note="-trunc(x / y) by the divisor",
    torch=(lambda torch, x, y: torch.fmod(x, y), SAME), jax=SAME,
)  # fmt: skip
row(
    ZEROS, "`nan_to_num` of [nan, inf, 2]", lambda np, x: np.nan_to_num(x), [NAN, INF, 2], [0, 0, 1],
    torch=(lambda torch, x: torch.nan_to_num(x), SAME), jax=SAME, autograd=SAME,
)  # fmt: skip
row(
    ZEROS, "`where(x > 0, log(x), 0)` at 0", lambda np, x: np.where(x > 0, np.log(x), 0.0), 0, NAN, modes="reverse",
    torch=(lambda torch, x: torch.where(x > 0, torch.log(x), 0.0), SAME), jax=SAME, autograd=SAME, mygrad=SAME,
    strong=0,
)  # fmt: skip


@fact(
    ZEROS,
    "`tapegrad.strong_zero()`, or `backward(strong_zero=True)`",
    "a cotangent of exactly 0 stays 0 through an elementwise rule, even where the local derivative is infinite or nan",
)
def _strong_zero() -> None:
    x = leaf([0.0, 2.0])
    with np.errstate(all="ignore"):
        np.sum(np.where(x > 0, np.sqrt(x) * np.log(x), 0.0)).backward(strong_zero=True)
    np.testing.assert_allclose(x.grad.data, [0, (1 + math.log(2) / 2) / math.sqrt(2)])


@fact(ZEROS, "`std` and `var` with `ddof=1` of one element", "nan, with NumPy's warning")
def _no_degrees_of_freedom() -> None:
    for function in (np.std, np.var):
        x = tg.tensor([2.0], requires_grad=True)
        with pytest.warns(RuntimeWarning, match="Degrees of freedom"), np.errstate(all="ignore"):
            y = function(x, ddof=1)
        with np.errstate(all="ignore"):
            y.backward()
        assert math.isnan(y.item())
        assert math.isnan(x.grad.item())


@fact(ZEROS, "arrays of size 0, also broadcast with others", "a gradient of the leaf's shape")
def _size_zero() -> None:
    x, y = leaf(np.ones((0, 3))), leaf(np.ones((1, 3)))
    np.sum(x * y).backward()
    assert x.grad.shape == (0, 3)
    assert y.grad.tolist() == [[0.0, 0.0, 0.0]]


@fact(ZEROS, "`mean` of an empty array; `max` of one", "NumPy's nan and warning; NumPy's ValueError")
def _empty_arrays() -> None:
    x = leaf(np.ones(0))
    with pytest.warns(RuntimeWarning), np.errstate(all="ignore"):
        assert math.isnan(np.mean(x).item())
    with pytest.raises(ValueError, match="zero-size array"):
        np.max(x)


# Types and scalars


def leaf(data: Any) -> Any:
    return tg.tensor(data, requires_grad=True)


def scipy_special() -> Any:
    return pytest.importorskip("scipy.special")


@fact(TYPES, "`requires_grad=True` for integers and booleans", "DtypeError; without it they are constants")
def _integers() -> None:
    for data in ([1, 2], [True, False]):
        with pytest.raises(DtypeError, match="floating point or complex"):
            tg.tensor(data, requires_grad=True)
        x = leaf([0.5, 0.5])
        np.sum(x * tg.tensor(data)).backward()
        assert x.grad.tolist() == [float(n) for n in data]


@fact(TYPES, "`t32 * 2.0`, for `t32` of float32", "float32, and so is the gradient")
def _python_numbers() -> None:
    x = leaf(np.ones(2, np.float32))
    y = x * 2.0
    np.sum(y).backward()
    assert y.dtype == x.grad.dtype == np.float32


@fact(TYPES, "`t32 * np.float64(2)`", "float64, as in NumPy; the gradient is float32")
def _numpy_scalars() -> None:
    x = leaf(np.ones(2, np.float32))
    y = x * np.float64(2)
    np.sum(y).backward()
    assert y.dtype == np.float64
    assert x.grad.dtype == np.float32


@fact(TYPES, "`t16 + b16` summed over broadcast axes, of float16", "accumulated in float32: 4096 ones give 4096")
def _half_precision() -> None:
    b = leaf(np.zeros(1, np.float16))
    np.add(np.zeros(4096, np.float16), b).backward(np.ones(4096, np.float16))
    assert b.grad.dtype == np.float16
    assert b.grad.item() == 4096


@fact(TYPES, "`backward()` of a result that is no single number", "ShapeError, unless a cotangent is given")
def _no_number() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ShapeError, match="sum it first"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"\(3,\), expected \(2,\)"):
        (x * 2).backward(np.ones(3))
    (x[:1] * 2).backward()
    assert x.grad.tolist() == [2.0, 0.0]


@fact(TYPES, "the cotangent that `backward` was given", "never changed, never aliased")
def _cotangent() -> None:
    x, g = leaf([1.0, 2.0]), np.array([1.0, 1.0])
    x.backward(g)
    x.backward(g)
    assert not np.shares_memory(x.grad.data, g)
    assert g.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


# Complex numbers

row(
    COMPLEX, "`|z|**2` at 1+2j", lambda np, z: np.real(z * np.conj(z)), 1 + 2j, 2 + 4j,
    also=(lambda np, z: np.abs(z) ** 2, lambda np, z: np.real(z) ** 2 + np.imag(z) ** 2),
    torch=(lambda torch, z: torch.real(z * torch.conj(z)), SAME), jax=2 - 4j, autograd=2 - 4j,
)  # fmt: skip
row(
    COMPLEX, "`real(z**2)` at 1+2j", lambda np, z: np.real(z**2), 1 + 2j, 2 - 4j,
    torch=(lambda torch, z: torch.real(z**2), SAME), jax=2 + 4j, autograd=2 + 4j,
)  # fmt: skip
row(
    COMPLEX, "`abs(z)` at 0", lambda np, z: np.abs(z), 0j, 0,
    torch=(lambda torch, z: torch.abs(z), SAME), jax=SAME, autograd=SAME,
    kink=True,
)  # fmt: skip
row(
    COMPLEX, "`real(x * (1+2j))` by a real x", lambda np, x: np.real(x * (1 + 2j)), 3, 1,
    note="a real gradient", torch=(lambda torch, x: torch.real(x * (1 + 2j)), SAME), jax=SAME, autograd=SAME,
)  # fmt: skip


@fact(COMPLEX, "`backward()` of a complex number", "DtypeError: differentiate its real part or its size")
def _complex_loss() -> None:
    with pytest.raises(DtypeError, match="real part or abs"):
        leaf(1 + 2j).backward()


@fact(COMPLEX, "`tapegrad.grad`, `vjp`, `jvp`", "the same convention: `jvp` gives J t, and `vjp` its adjoint")
def _complex_transforms() -> None:
    assert tg.grad(lambda z: np.abs(z) ** 2)(1 + 2j).item() == pytest.approx(2 + 4j)
    g, t, z = 1 - 3j, 0.5 + 2j, 1 + 2j
    pulled = tg.vjp(lambda z: z * z, z)[1](g)[0].item()
    pushed = tg.jvp(lambda z: z * z, (z,), (t,))[1].item()
    assert pushed == 2 * z * t
    assert pulled == g * (2 * z).conjugate()


# Indexing and assignment

row(
    INDEXING, "`x[[0, 0, 1]]`", lambda np, x: x[[0, 0, 1]], [5, 7], [2, 1],
    torch=(lambda torch, x: x[[0, 0, 1]], SAME), jax=(lambda jax, x: x[jax.numpy.array([0, 0, 1])], SAME),
    autograd=SAME, mygrad=SAME,
)  # fmt: skip
row(
    INDEXING, "`b[[0, 0]] = a`, then `sum(b)`, by a", lambda np, a: _assigned(a), [5, 7], [0, 1],
    note="only the last write counts",
    torch=(lambda torch, a: _put(torch.zeros(3, dtype=a.dtype), a), [1, 1]),
    jax=(lambda jax, a: jax.numpy.zeros(3).at[jax.numpy.array([0, 0])].set(a), SAME), autograd="none",
    mygrad=(lambda mg, a: _put(mg.zeros(3), a), SAME),
)  # fmt: skip
row(
    INDEXING, "`a = x * 1; a[[0, 0]] += 1`, then `sum(a * a)`", lambda np, x: _added(x), [5, 7], [12, 14],
    note="adds once, as NumPy does", torch=(lambda torch, x: _added(x), [24, 14]), autograd="none",
    mygrad=(lambda mg, x: _added(x), SAME),
)  # fmt: skip
row(
    INDEXING, "`a = x * 1; a[1] = 0`, then `sum(a)`", lambda np, x: _overwritten(x), [5, 7], [1, 0],
    note="overwritten entries get 0", torch=(lambda torch, x: _overwritten(x), SAME), autograd="none",
    mygrad=(lambda mg, x: _overwritten(x), SAME),
)  # fmt: skip
row(
    INDEXING, "`a = zeros(2, 2); a[...] = v`, then `sum(a)`, by v", lambda np, v: _broadcast(v), [5, 7], [2, 2],
    note="an assigned value is broadcast",
)  # fmt: skip
row(INDEXING, "`x[mask]`, by a Boolean mask", lambda np, x: x[np.array([True, False])], [5, 7], [1, 0])
row(INDEXING, "`x[mask]`, by an empty mask", lambda np, x: x[np.array([False, False])], [5, 7], [0, 0])
row(INDEXING, "`x[True]`, by a mask of no axis", lambda np, x: x[True], [5, 7], [1, 1])
row(INDEXING, "`x[..., None, ::-1]`, by g = [1, 2]", lambda np, x: x[..., None, ::-1], [5, 7], [2, 1], g=[[1, 2]])
row(INDEXING, "`x[i]`, by a tensor of integers", lambda np, x: x[tg.tensor([1, 1])], [5, 7], [0, 2])


@fact(
    INDEXING, "mixed basic and advanced indices", "axes placed as NumPy places them, in the value and in the gradient"
)
def _mixed_indices() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    for index in ((0, slice(None), [1, 2]), (slice(None), [0, 2], [1, 1]), ([0, 1], slice(1, None), 2)):
        x = leaf(a)
        y = x[index]
        g = np.arange(1.0, y.size + 1).reshape(y.shape)
        y.backward(g)
        expected = np.zeros_like(a)
        np.add.at(expected, index, g)
        assert np.array_equal(y.data, a[index])
        assert np.array_equal(x.grad.data, expected)


def _assigned(a: Any) -> Any:
    return _put(tg.zeros(3), a)


def _put(b: Any, a: Any) -> Any:
    b[[0, 0]] = a
    return b


def _added(x: Any) -> Any:
    a = x * 1
    a[[0, 0]] += 1
    return a * a


def _overwritten(x: Any) -> Any:
    a = x * 1
    a[1] = 0
    return a


def _broadcast(v: Any) -> Any:
    a = tg.zeros((2, 2))
    a[...] = v
    return a


# Linear algebra

SINGULAR = [[1, 2], [2, 4]]
SYMMETRIC = [[2, 1], [1, 2]]

row(
    LINALG, "`linalg.det` of [[1, 2], [2, 4]]", lambda np, a: np.linalg.det(a), SINGULAR, [[4, -2], [-2, 1]],
    note="the adjugate, transposed; exact at every rank",
    torch=(lambda torch, a: torch.linalg.det(a), [[0, 0], [0, 0]]), jax=SAME, autograd="raises",
)  # fmt: skip
row(
    LINALG, "`linalg.slogdet` of it, the logarithm", lambda np, a: np.linalg.slogdet(a)[1], SINGULAR,
    [[INF, -INF], [-INF, INF]], modes="reverse",
    torch=(lambda torch, a: torch.linalg.slogdet(a)[1], [[-INF, INF], [INF, -INF]]), jax=SAME, autograd="raises",
)  # fmt: skip
row(
    LINALG, "`linalg.eigvalsh` of [[2, 1], [1, 2]], the largest", lambda np, a: np.linalg.eigvalsh(a)[-1], SYMMETRIC,
    [[1 / 2, 1 / 2], [1 / 2, 1 / 2]], modes="reverse", note="the gradient is symmetric, though one triangle is read",
    also=(lambda np, a: np.linalg.eigh(a)[0][-1],),
    torch=(lambda torch, a: torch.linalg.eigvalsh(a)[-1], SAME), jax=SAME,
    autograd=(lambda ag, a: ag.numpy.linalg.eigh(a)[0][-1], [[1 / 2, 0], [1, 1 / 2]]),
)  # fmt: skip
row(
    LINALG, "`linalg.cholesky` of [[4, 2], [2, 2]], entry [0, 0]", lambda np, a: np.linalg.cholesky(a)[1, 0],
    [[4, 2], [2, 2]], [[-1 / 8, 1 / 4], [1 / 4, 0]], modes="reverse", note="symmetric too",
    torch=(lambda torch, a: torch.linalg.cholesky(a)[1, 0], SAME), jax=SAME,
)  # fmt: skip
row(
    LINALG, "`sum(eigvalsh(a)**2)` of the unit matrix", lambda np, a: np.linalg.eigvalsh(a) ** 2, [[1, 0], [0, 1]],
    [[2, 0], [0, 2]], modes="reverse", note="eigenvalues alone may repeat",
    torch=(lambda torch, a: torch.linalg.eigvalsh(a) ** 2, SAME), jax=SAME,
)  # fmt: skip
row(
    LINALG, "`sum(svdvals(a)**2)` of the unit matrix", lambda np, a: np.linalg.svd(a, compute_uv=False) ** 2,
    [[1, 0], [0, 1]], [[2, 0], [0, 2]], note="and so may singular values",
    also=(lambda np, a: np.linalg.svdvals(a) ** 2,),
    torch=(lambda torch, a: torch.linalg.svdvals(a) ** 2, SAME), jax=SAME,
    autograd=(lambda ag, a: ag.numpy.linalg.svd(a, full_matrices=False)[1] ** 2, [[NAN, NAN], [NAN, NAN]]),
)  # fmt: skip
row(
    LINALG, "`linalg.norm(a, 'nuc')` of zeros", lambda np, a: np.linalg.norm(a, "nuc"), [[0, 0], [0, 0]],
    [[0, 0], [0, 0]], torch=(lambda torch, a: torch.linalg.norm(a, "nuc"), [[1, 0], [0, 1]]),
    jax=[[1, 0], [0, 1]],
)  # fmt: skip
row(
    LINALG, "`linalg.norm(a, 2)` of the unit matrix", lambda np, a: np.linalg.norm(a, 2), [[1, 0], [0, 1]],
    [[1 / 2, 0], [0, 1 / 2]], note="largest singular values share",
    torch=(lambda torch, a: torch.linalg.norm(a, 2), SAME), jax=[[1 / 2, 0], [0, 1 / 2]],
)  # fmt: skip
row(
    LINALG, "`einsum('ii->i', a)`, by g = [1, 2]", lambda np, a: np.einsum("ii->i", a), SYMMETRIC, [[1, 0], [0, 2]],
    g=[1, 2], also=(lambda np, a: np.diagonal(a), lambda np, a: np.linalg.diagonal(a)),
    torch=(lambda torch, a: torch.einsum("ii->i", a), SAME), jax=SAME, autograd="raises",
)  # fmt: skip
row(
    LINALG, "`einsum('ii', a)`, and `trace`", lambda np, a: np.einsum("ii", a), SYMMETRIC, [[1, 0], [0, 1]],
    also=(lambda np, a: np.trace(a), lambda np, a: np.einsum("...ii->...", a), lambda np, a: np.einsum(a, [0, 0])),
    torch=(lambda torch, a: torch.einsum("ii", a), SAME), jax=SAME,
)  # fmt: skip


def _eigenvectors(weights: Any, function: Any = np.linalg.eigh) -> Any:
    return lambda a: np.sum(weights * function(a)[1])


@fact(
    LINALG,
    "`eigh`, `eig`, `svd`: vectors of repeated values",
    "exact where the cotangent does not depend on the choice of basis; otherwise nan, never a made-up number",
)
def _vectors_of_repeated_values() -> None:
    weights = np.array([[1.0, 2.0], [3.0, 4.0]])
    projector = tg.grad(lambda a: np.sum(weights * (lambda v: v @ v.T)(np.linalg.eigh(a)[1])))(np.eye(2))
    np.testing.assert_allclose(projector.data, 0, atol=1e-15)
    with np.errstate(all="ignore"):
        assert np.isnan(tg.grad(_eigenvectors(weights))(np.eye(2)).data).all()


@fact(
    LINALG,
    "`svd`, `qr`: reduced and full, wide and tall",
    "exact where defined; nan for the choice of a completed basis",
)
def _completed_bases() -> None:
    a = np.array([[3.0], [4.0]])
    np.testing.assert_allclose(tg.grad(lambda a: np.sum(np.linalg.svd(a)[1]))(a).data, a / 5)
    np.testing.assert_allclose(tg.grad(lambda a: np.abs(np.linalg.qr(a, "reduced")[1][0, 0]))(a).data, a / 5)
    with np.errstate(all="ignore"):
        assert np.isnan(tg.grad(lambda a: np.linalg.svd(a)[0][0, 1])(np.array([[3.0], [4.0], [12.0]])).data).all()


@fact(LINALG, "`matmul`, `dot`: mixtures of 1-D and n-D, with broadcasting", "exact")
def _mixtures() -> None:
    for x, y in (
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (4, 3, 2)),
        ((4, 2, 3), (3,)),
        ((4, 2, 3), (3, 2)),
        ((1, 2, 3), (4, 3, 2)),
    ):
        a, b = np.ones(x), np.ones(y)
        for function in (np.matmul, np.dot):
            s, t = leaf(a), leaf(b)
            try:
                expected = function(a, b)
            except ValueError:
                continue
            np.sum(function(s, t)).backward()
            assert s.grad.shape == x
            assert t.grad.shape == y
            # The product is linear in each factor.
            assert np.sum(s.grad.data * a) == np.sum(t.grad.data * b) == np.sum(expected)


@fact(
    LINALG,
    "`pinv`, `lstsq`, `matrix_power` (negative too), `matrix_norm`, `cond`, `multi_dot`, `tensorsolve`, `tensorinv`",
    "exact, in both modes and at second order",
)
def _all_of_linalg() -> None:
    names = "pinv lstsq matrix_power matrix_norm cond multi_dot tensorsolve tensorinv"
    found = {op.name: op for op in _sweep.ops()}
    for name in names.split():
        entry = _sweep.Entry(found[name], _sweep.cases_of(found[name])[0])
        _sweep.first(entry)
        _sweep.second(entry)


@fact(
    LINALG,
    "`inv` of a singular matrix, `cholesky` of an indefinite one",
    "NumPy's LinAlgError, and nothing is recorded",
)
def _refused_matrices() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        np.linalg.inv(leaf(np.zeros((2, 2))))
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        np.linalg.cholesky(leaf(-np.eye(2)))


# Engine


@fact(ENGINE, "a second `backward()` through released history", "HistoryError, which names `retain_graph`")
def _second_backward() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(HistoryError, match="retain_graph"):
        y.backward()
    assert x.grad.item() == 4.0


@fact(ENGINE, "two losses over one leaf, or over one retained trunk", "gradients accumulate")
def _two_losses() -> None:
    x = leaf(2.0)
    trunk = x * x
    (trunk * 3).backward(retain_graph=True)
    (trunk * 5).backward()
    (x * 1).backward()
    assert x.grad.item() == 33.0


@fact(ENGINE, "an input that the result does not depend on", "`.grad` stays None; `tapegrad.grad` gives zeros")
def _independent() -> None:
    x, y = leaf(2.0), leaf([1.0, 2.0])
    (x * x).backward()
    assert y.grad is None
    assert tg.grad(lambda x, y: x * x, argnums=1)(2.0, np.ones(2)).tolist() == [0.0, 0.0]


@fact(ENGINE, "`item()`, `tolist()`, printing, formatting, comparisons, truth", "always work: they are explicit reads")
def _reads() -> None:
    t = leaf([3.0]) * 2
    assert (t.item(), t.tolist(), f"{t[0]:.1f}") == (6.0, [6.0], "6.0")
    assert "6." in repr(t)
    assert t > 5
    assert bool(t)


@fact(
    ENGINE,
    "`float(t)`, `int(t)`, `math.sin(t)`, `np.asarray(t)`, `np.array([t, t])`, `t.numpy()`",
    "LostGradientError while history is alive, since a gradient would be lost unseen: `item()` and `detach()` say it; "
    "they work under `no_grad`, on untracked tensors, and after `backward`",
)
def _silent_losses() -> None:
    for read in (float, int, math.sin, np.asarray, lambda t: np.array([t, t]), lambda t: t.numpy()):
        for t in (leaf(2.0), leaf(2.0) * 3):
            with pytest.raises(LostGradientError, match=r"item\(\).*detach\(\)"):
                read(t)
            with tg.no_grad():
                read(t)
            read(t.detach())
        t.backward()
        read(t)


@fact(ENGINE, "Python's `sum([t1, t2])` and `max(t1, t2)`", "work; `max` compares values")
def _python_functions() -> None:
    x, y = leaf(2.0), leaf(3.0)
    (sum([x, y]) + max(x, y)).backward()
    assert (x.grad.item(), y.grad.item()) == (1.0, 2.0)


@fact(
    ENGINE, "a rule of your own that returns a wrong shape", "ShapeError with the op, the input's position, both shapes"
)
def _wrong_shapes() -> None:
    from tapegrad._op import CLASSIFIED, RULES
    from tapegrad._tensor import OPS

    bad = unary(lambda x: x * 1, lambda g: g[:2], name="doubtful rule")
    try:
        with pytest.raises(ShapeError, match=r"doubtful rule.*input 0.*\(2,\).*\(3,\)"):
            np.sum(bad(leaf(np.ones(3)))).backward()
    finally:
        function = RULES.pop("doubtful rule").function
        del OPS[function], CLASSIFIED[function]


@fact(
    ENGINE,
    "a function without a rule, or one that writes into a plain array",
    "UnsupportedError, which says what to use",
)
def _without_rules() -> None:
    with pytest.raises(UnsupportedError, match=r"assign instead"):
        np.putmask(leaf([1.0]) * 1, [True], [2.0])


# The tests


def _leaves(xs: Any) -> list[Any]:
    return [np.asarray(x, complex if np.iscomplexobj(x) else float) for x in xs]


def _backward(function: Any, xs: list[Any], g: Any) -> list[Any]:
    """Return gradients by `backward`."""
    inputs = [leaf(x) for x in xs]
    y = function(np, *inputs)
    y.backward(np.ones(y.shape) if g is None else np.asarray(g, float))
    return [np.zeros(x.shape) if x.grad is None else x.grad.data for x in inputs]


def _forward(function: Any, xs: list[Any], g: Any) -> list[Any]:
    """Return gradients one entry after another by forward mode."""
    found = [np.zeros_like(x) for x in xs]
    for k, x in enumerate(xs):
        for index in np.ndindex(x.shape):
            for unit in (1, 1j) if x.dtype.kind == "c" else (1,):
                ts = [np.zeros_like(other) for other in xs]
                ts[k][index] = unit
                y, t = tg.jvp(lambda *xs: function(np, *xs), tuple(xs), tuple(ts))
                weights = np.ones(y.shape) if g is None else np.asarray(g, float)
                # Where a tangent is zero, infinite weights of others would make it nan.
                found[k][index] += unit * np.sum((weights * t.data.real)[t.data != 0])
    return found


MODES = {"reverse": _backward, "forward": _forward}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", GRADIENTS, ids=str)
def test_gradients(row, mode):
    if mode == "forward" and row.modes == "reverse":
        pytest.skip("entries are not independent here")
    expected = _leaves(row.gives)
    infinite = not all(np.isfinite(x).all() for x in expected)
    for function in (row.function, *row.also):
        with np.errstate(all="ignore") if infinite else contextlib.nullcontext():
            found = MODES[mode](function, _leaves(row.at), row.g)
        for got, value in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
@pytest.mark.parametrize("row", [row for row in GRADIENTS if row.second is not None], ids=str)
def test_second_derivatives(row, inner, outer):
    (x,) = _leaves(row.at)
    units = np.eye(x.size)

    def slope(x):
        def loss(x):
            return np.sum(row.function(np, x))

        if inner == "reverse":
            return tg.grad(loss)(x)
        return np.stack([tg.jvp(loss, (x,), (t,))[1] for t in units])

    if outer == "reverse":
        found = [tg.vjp(slope, x)[1](g)[0].data for g in units]
    else:
        found = [tg.jvp(slope, (x,), (t,))[1].data for t in units]
    np.testing.assert_allclose(found, row.second, atol=1e-14)


@pytest.mark.parametrize("row", [row for row in GRADIENTS if row.strong is not None], ids=str)
def test_strong_zero(row):
    with tg.strong_zero(), np.errstate(all="ignore"):
        found = _backward(row.function, _leaves(row.at), row.g)
    for got, value in zip(found, _leaves(row.strong), strict=True):
        np.testing.assert_array_equal(got, value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", [row for row in GRADIENTS if row.kink], ids=str)
def test_strict(row, mode):
    for function in (row.function, *row.also):
        with tg.strict(), pytest.raises(KinkError, match="has a kink here"):
            MODES[mode](function, _leaves(row.at), row.g)


@pytest.mark.parametrize("check", [entry[-1] for entry in FACTS], ids=[entry[1].replace("`", "") for entry in FACTS])
def test_facts(check):
    check()


def test_every_section_has_rows():
    assert {row.section for row in GRADIENTS} | {entry[0] for entry in FACTS} == set(SECTIONS)


# What peers give


def _of_torch(torch: Any, function: Any, xs: list[Any], g: Any) -> list[Any]:
    inputs = [torch.tensor(x, requires_grad=True) for x in xs]
    y = function(torch, *inputs)
    y.backward(torch.ones_like(y) if g is None else torch.tensor(g, dtype=y.dtype))
    return [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in inputs]


def _of_jax(jax: Any, function: Any, xs: list[Any], g: Any) -> list[Any]:
    with jax.enable_x64(True):
        y, pull = jax.vjp(lambda *xs: function(jax, *xs), *map(jax.numpy.asarray, xs))
        return [np.asarray(h) for h in pull(jax.numpy.ones_like(y) if g is None else jax.numpy.asarray(g, y.dtype))]


def _of_autograd(autograd: Any, function: Any, xs: list[Any], g: Any) -> list[Any]:
    found = []
    for k in range(len(xs)):
        pull, y = autograd.make_vjp(lambda *xs: function(autograd, *xs), k)(*(x if x.shape else x[()] for x in xs))
        found.append(np.asarray(pull(np.ones_like(y) if g is None else np.asarray(g, float))))
    return found


def _of_mygrad(mygrad: Any, function: Any, xs: list[Any], g: Any) -> list[Any]:
    inputs = [mygrad.tensor(x) for x in xs]
    y = function(mygrad, *inputs)
    y.backward(np.ones(y.shape) if g is None else np.asarray(g, float))
    return [np.zeros(x.shape) if x.grad is None else x.grad for x in inputs]


PULL = {"torch": _of_torch, "jax": _of_jax, "autograd": _of_autograd, "mygrad": _of_mygrad}


def _package(name: str) -> Any:
    """Return a peer with those of its modules that rows name, or skip the test where it is absent."""
    package = pytest.importorskip(name)
    for part in {"jax": ("nn", "numpy", "scipy.special"), "autograd": ("numpy",), "mygrad": ("nnet",)}.get(name, ()):
        importlib.import_module(f"{name}.{part}")
    return package


STATED = [(name, row) for row in GRADIENTS for name in row.peers]


@pytest.mark.peers
@pytest.mark.parametrize(("name", "row"), STATED, ids=[f"{name}-{row}" for name, row in STATED])
def test_what_is_said_of_peers(name, row):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package, stated = _package(name), row.peers[name]
        if isinstance(stated, tuple) and callable(stated[0]):
            function, stated = stated
        else:

            def function(package, *xs):
                return row.function(package if name == "mygrad" else package.numpy, *xs)

        if isinstance(stated, str) and stated != SAME:
            with pytest.raises((AttributeError, NotImplementedError, TypeError, ValueError, RuntimeError)):
                PULL[name](package, function, _leaves(row.at), row.g)
            return
        found = PULL[name](package, function, _leaves(row.at), row.g)
    for got, value in zip(found, _leaves(row.gives if stated == SAME else _tuple(stated)), strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-12, atol=1e-12)
