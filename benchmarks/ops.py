"""What each rule costs beside its forward pass: `python -m benchmarks --ops`.

Every op is called with large arrays from the domain of its row in `tapegrad.ops`, once for each input that has a
derivative. Forward is NumPy's own function (ours, where NumPy has none) on plain arrays; backward is the replay of what
the call on tensors recorded, with that one input tracked. A composite's backward pass is that of its parts. A rule
should cost at most three times the forward pass; where the mathematics or NumPy demands more, `REASONS` says why.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tapegrad import tensor
from tapegrad._op import Op
from tapegrad._tape import replay
from tapegrad._tensor import Tensor
from tapegrad._tree import leaves
from tapegrad.ops._domains import Case, anything, case, integers, real
from tapegrad.testing import _sweep

from . import report
from .core import Settings

LIMIT = 3.0
"""What backward over forward should be at most."""

SIZE = 100_000
"""About how many elements the largest input has, unless the op is one of linear algebra."""

MATRIX = ROWS, COLUMNS = 400, 250


def _because(reason: str, names: str) -> dict[str, str]:
    return dict.fromkeys([name.strip() for name in names.split(",")], reason)


REASONS: dict[str, str] = {
    **_because(
        "the forward pass makes views and touches no entry; the backward pass writes all of them, for each view",
        "array_split, broadcast_to, diagonal, dsplit, getitem, hsplit, sliding_window_view, split, trace, unstack, "
        "vsplit, window",
    ),
    **_because(
        "NumPy's extremum reads its array once; the rule reads it again, counts ties, and writes an array",
        "max, min, nanmax, nanmin, ptp, histogram_bin_edges",
    ),
    **_because(
        "comparisons and a selection, each a pass over memory, beside one pass forward",
        "absolute, clip, copysign, fmax, fmin, maximum, minimum, sign",
    ),
    **_because(
        "the forward pass only reads and reduces; the backward pass writes an array of the size of its input",
        "Euclidean norm, linalg.vecdot, prod, nanprod, vecdot",
    ),
    **_because(
        "the cotangent of the matrix is an outer product, written where it was only read", "matmul, matvec, vecmat"
    ),
    **_because(
        "entries or runs are copied forward, and added up at their places, into zeros, backward",
        "compress, extract, insert, repeat, resize, take",
    ),
    "assign": "of several writes to an entry the last one counts, and has to be found",
    **_because("each segment's cotangent is embedded in zeros of its own", "maximum.reduceat, minimum.reduceat"),
    "multiply.reduceat": "each segment's cotangent is embedded in zeros of its own",
    **_because(
        "where products or extrema cannot be divided out again, a recurrence is solved, for which NumPy has no loop",
        "apply_along_axis, cumprod, nancumprod, running maximum, running minimum",
    ),
    "cholesky": "NumPy has no triangular solve and no triangular product: an inverse and three products, in full",
    **_because("an inverse takes three times the work of the factorization", "derivative of det, det, slogdet"),
    "lstsq": "needs the pseudoinverse and, here, the singular vectors; LAPACK's solver forms neither",
    "poly": "as many convolutions as roots, each a record, of short arrays",
    "polydiv": "a division of short arrays in Python, step by step, each a record",
    "gradient": "made of slices, whose cotangents are embedded in zeros of their own",
    "sinc": "its derivative, exact at every order, is a power series near 0 and a recurrence elsewhere",
    **_because(
        "the derivative is made of other special functions, which cost more than this one",
        "special.boxcox, special.boxcox1p, special.ellipe, special.ellipeinc, special.ellipk, special.ellipkinc, "
        "special.eval_jacobi, special.exprel, special.i1, special.i1e, special.inv_boxcox, special.inv_boxcox1p, "
        "special.j1, special.k1, special.k1e, special.polygamma, special.psi, special.rgamma, special.spence, "
        "special.y1, special.yn",
    ),
}
"""Why a rule costs more than `LIMIT` times its forward pass, by the name of the op."""


# Large calls, of the ops whose settings depend on shapes, or whose price depends on them

_random = np.random.default_rng(0)
_PLACES = _random.integers(0, SIZE, SIZE)
_MASK = _random.random(MATRIX) < 0.5
_AXES = [case(MATRIX), case(MATRIX, axis=0), case(MATRIX, axis=1)]
_HALVES = [(ROWS, COLUMNS // 2)] * 2


def _by_name(names: str, cases: list[Case]) -> dict[str, list[Case]]:
    return dict.fromkeys(names.split(), cases)


LARGE: dict[str, list[Case]] = {
    **_by_name("sum mean max min prod var std ptp nansum nanprod nanmean nanmax nanmin nanvar nanstd", _AXES),
    **_by_name("cumsum cumprod nancumsum nancumprod softmax log_softmax logsumexp", _AXES),
    **_by_name("cumulative_sum cumulative_prod sort", _AXES[1:]),
    **dict.fromkeys(("running maximum", "running minimum"), _AXES[1:]),
    **_by_name("median nanmedian", [_AXES[0], _AXES[2]]),
    **_by_name("inv det slogdet cholesky eigh eig eigvalsh eigvals cond", [case((200, 200))]),
    **{
        name: [case((200, 200))]
        for name in ("inverse or NaN", "derivative of det", "Hermitian from its lower triangle")
    },
    **_by_name("qr svdvals pinv", [case((300, 100))]),
    **_by_name("fft ifft rfft ihfft irfft hfft", [case((250, 512)), case((512, 250), axis=0)]),
    **_by_name("fftn ifftn fft2 ifft2 rfftn rfft2 irfftn irfft2", [case((250, 512))]),
    **_by_name("matmul dot inner linalg.matmul", [case((300, 300), (300, 300))]),
    **_by_name("outer linalg.outer", [case((ROWS,), (COLUMNS,))]),
    **_by_name("vecdot linalg.vecdot average", [case(MATRIX, MATRIX)]),
    **_by_name("cross linalg.cross", [case((SIZE // 3, 3), (SIZE // 3, 3))]),
    **_by_name("convolve correlate", [case((20_000,), (300,))]),
    **_by_name("multiply.reduceat maximum.reduceat minimum.reduceat", [case(MATRIX, args=([0, 50, 150],), axis=1)]),
    **_by_name("linspace logspace geomspace", [case((1000,), (1000,), num=100)]),
    **_by_name("diag diagflat", [case((1000,))]),
    **_by_name("diagonal trace", [case((1000, 1000))]),
    **{
        name: [case(MATRIX, args=(0.3 * one,)), case(MATRIX, args=([0.2 * one, 0.7 * one],), axis=1)]
        for name, one in (("quantile", 1), ("nanquantile", 1), ("percentile", 100), ("nanpercentile", 100))
    },
    "_ranked": [case(MATRIX, args=(np.array([199, 200]),))],
    "add.reduceat": [case(MATRIX, args=(list(range(0, COLUMNS, 10)),), axis=1)],
    "append": [case(*_HALVES, axis=1)],
    "apply_along_axis": [case((20, 1000), before=(np.cumprod, 1))],
    "apply_over_axes": [case((40, 50, 50), before=(np.sum,), args=((0, 2),))],
    "array_split": [case(MATRIX, args=(3,))],
    "assign": [
        case(MATRIX, (ROWS, COLUMNS // 2), args=((slice(None), slice(None, None, 2)),)),
        case((SIZE,), (SIZE,), args=(_PLACES,)),
    ],
    "average": [case(MATRIX, axis=1)],
    "bincount": [case((SIZE,), args=(_random.integers(0, 100, SIZE), 100))],
    "block": [case(_HALVES)],
    "broadcast_to": [case((COLUMNS,), args=(MATRIX,)), case((ROWS, 1), args=(MATRIX,))],
    "choose": [case(MATRIX, MATRIX, before=(_MASK.astype(int),))],
    "clip": [case(MATRIX, args=(-1.0, 1.0)), case(MATRIX, args=(None, 1.0)), case(MATRIX, MATRIX, MATRIX)],
    "compress": [case(MATRIX, before=(_MASK[:, 0],), axis=0)],
    "concatenate": [case([(200, 250)] * 2), case(_HALVES, axis=1)],
    "corrcoef": [case((100, 1000))],
    "cov": [case((100, 1000)), case((1000, 100), rowvar=False)],
    "cross_entropy": [case((1000, 100), (1000, 100))],
    "delete": [case(MATRIX, args=([5, 100, 200],), axis=0), case(MATRIX, args=([5, 100, 200],), axis=1)],
    "diff": [case((SIZE,)), *_AXES[1:], case(MATRIX, n=2)],
    "dsplit": [case((40, 50, 50), args=(2,))],
    "einsum": [case((300, 300), (300, 300), before=("ij,jk->ik",)), case(MATRIX, before=("ij->j",))],
    "erase": [case(MATRIX, args=((slice(None), slice(None, None, 2)),))],
    "Euclidean norm": _AXES,
    "extract": [case(MATRIX, before=(_MASK,))],
    "flip": [case(MATRIX, axis=1)],
    "full_like": [case(MATRIX, ())],
    "getitem": [
        case(MATRIX, args=((slice(None), slice(None, None, 2)),)),
        case(MATRIX, args=(_random.permutation(ROWS),)),
        case(MATRIX, args=((slice(None), [3, 1, 4] * 30),)),
        case(MATRIX, args=(_MASK,)),
        case((SIZE,), args=(_PLACES,)),
    ],
    "gradient": [case(MATRIX)],
    "histogram": [case((SIZE,), args=(100,), density=True)],
    "histogram2d": [case((SIZE,), (SIZE,), args=(20,), density=True)],
    "histogram_bin_edges": [case((SIZE,), args=(100,))],
    "histogramdd": [case((SIZE, 2), args=(20,), density=True)],
    "hsplit": [case(MATRIX, args=(2,))],
    "insert": [case(MATRIX, args=([5, 100], 1.0), axis=0), case(MATRIX, args=(5, 1.0), axis=1)],
    "interp": [case((SIZE,), (1000,), (1000,))],
    "joined": [case([(200, 250)] * 2, args=(0, (0, 200, 400)))],
    "kron": [case((20, 30), (25, 20))],
    "label_cross_entropy": [case((1000, 100), (1000,), on=(real, integers(0, 100)))],
    "layer_norm": [case(MATRIX, (COLUMNS,), (COLUMNS,))],
    "linalg.tensordot": [case((300, 300), (300, 300), axes=1)],
    "lstsq": [case((300, 100), (300,)), case((300, 100), (300, 100))],
    "matmul": [case((300, 300), (300, 300)), case(MATRIX, (COLUMNS,))],
    "matrix_norm": [case(MATRIX), case((300, 100), ord="nuc")],
    "matrix_power": [case((200, 200), args=(n,)) for n in (5, -2)],
    "matvec": [case(MATRIX, (COLUMNS,))],
    "meshgrid": [case((COLUMNS,), (ROWS,))],
    "multi_dot": [case([(300, 100), (100, 200), (200, 50)])],
    "norm": [*_AXES, case(MATRIX, ord=1, axis=1), case(MATRIX, ord=np.inf, axis=1)],
    "on_diagonal": [case((1000,), args=((1000, 1000),))],
    "pad": [case(MATRIX, args=(10, mode)) for mode in ("constant", "edge", "reflect", "wrap", "mean", "linear_ramp")],
    "partition": [case(MATRIX, args=(20, 1))],
    "piecewise": [case((SIZE,), args=([np.arange(SIZE) % 2 == 0], [np.sin, np.exp]))],
    "poly": [case((300,))],
    "polydiv": [case((300,), (200,))],
    "polyfit": [case((1000,), (1000, 20), args=(3,), on=(real, anything))],
    "polymul": [case((2000,), (2000,))],
    "polyval": [case((5,), MATRIX)],
    "rearrange": [case(MATRIX, args=(np.argsort(_random.random(MATRIX)), 1))],
    "recurrence": [case((249, 400), (250, 400), axis=0), case((400, 249), (400, 250), axis=1)],
    "repeat": [
        case((200, 250), args=(2,), axis=0),
        case((200, 250), args=(2,), axis=1),
        case((200, 250), args=(_random.integers(0, 4, 200),), axis=0),
        case((200, 250), args=(_random.integers(0, 4, 250),), axis=1),
    ],
    "representatives": [case((SIZE,), args=(_random.permutation(SIZE), np.arange(SIZE), 0))],
    "reshape": [case(MATRIX, args=((COLUMNS, ROWS),)), case(MATRIX, args=(-1, "F"))],
    "resize": [case((200, 250), args=(MATRIX,))],
    "roll": [case(MATRIX, args=(3,), axis=1), case(MATRIX, args=(100,))],
    "rollaxis": [case((40, 50, 50), args=(2,))],
    "roots": [case((50,))],
    "rot90": [case(MATRIX)],
    "scale_and_shift": [case(MATRIX, (COLUMNS,), (COLUMNS,))],
    "second derivative of det": [case((60, 60), (60, 60))],
    "select": [case([MATRIX, MATRIX], before=([_MASK, ~_MASK],))],
    "sliding_window_view": [case((SIZE,), args=(3,))],
    "solve": [case((200, 200), (200,)), case((200, 200), (200, 200))],
    "split": [case(MATRIX, args=(2,), axis=1)],
    "squeeze": [case((1, *MATRIX))],
    "stack": [case([(200, 250)] * 2), case([(200, 250)] * 2, axis=-1)],
    "standardize": [case(MATRIX)],
    "svd": [case((300, 100), full_matrices=False)],
    "take": [case((SIZE,), args=(_PLACES,)), case(MATRIX, args=(_random.integers(0, ROWS, ROWS), 0))],
    "take_along_axis": [case(MATRIX, args=(_random.integers(0, COLUMNS, MATRIX), 1))],
    "tensordot": [case((40, 50, 60), (50, 60, 40))],
    "tensorinv": [case((10, 20, 200))],
    "tensorsolve": [case((10, 20, 200), (10, 20))],
    "tile": [case((200, 125), args=((2, 2),))],
    "trapezoid": [case(MATRIX), case(MATRIX, dx=0.5, axis=0)],
    "tril": [case(MATRIX)],
    "triu": [case(MATRIX)],
    "ungetitem": [case((SIZE,), args=((SIZE,), _PLACES))],
    "unstack": [case((10, SIZE // 10))],
    "unwindow": [case((SIZE - 2, 3), args=((SIZE,), 3, 0))],
    "vander": [case((1000,), N=100)],
    "vdot": [case((SIZE,), (SIZE,))],
    "vecmat": [case((ROWS,), MATRIX)],
    "vector_norm": [case(MATRIX, axis=1), case(MATRIX, axis=1, ord=3)],
    "vsplit": [case(MATRIX, args=(2,))],
    "window": [case((SIZE,), args=(3, 0))],
    "zero_padded": [case(MATRIX, args=(((10, 10), (10, 10)),))],
}

LEFT_OUT = ("to_device",)
"""What has no large call of its own kind here."""


@dataclass
class Cost:
    """Seconds that the forward pass of a call takes, and its backward pass to one input."""

    op: str
    call: str
    input: int
    forward: float
    backward: float
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Backward over forward."""
        return self.backward / self.forward


def named(beginnings: Sequence[str] = ()) -> list[Op]:
    """Return the ops whose names begin with one of `beginnings`, or all.

    Raises
    ------
    ValueError
        If no name begins so.
    """
    ops = [op for op in _sweep.ops() if "." not in op.name or op.name in LARGE or op.name.startswith("special.")]
    ops = [op for op in ops if op.name not in LEFT_OUT and _sweep.cases_of(op)]
    for word in beginnings:
        if not any(op.name.startswith(word) for op in ops):
            raise ValueError(f"got --ops {word}, which is the beginning of no op's name")
    return [op for op in ops if not beginnings or op.name.startswith(tuple(beginnings))]


def calls(op: Op, tiny: bool = False) -> list[_sweep.Entry]:
    """Return the large calls of an op (with `tiny`, one of the sweep's): its own, or the plainest case scaled up."""
    cases = _sweep.cases_of(op)
    if op.name in LARGE and not tiny:
        return [_sweep.Entry(op, c) for c in LARGE[op.name]]
    # The plainest case is the one whose smallest input is largest, with as few arguments besides as there are.
    plainest = max(cases, key=_plainness)
    return [_sweep.Entry(op, plainest if tiny else _scaled(plainest))]


def _plainness(example: Case) -> tuple[int, ...]:
    sizes = [_sweep._elements(shape) for shape in example.shapes] or [0]
    arguments = len(example.before + example.args) + len(example.settings)
    return min(sizes) > 1, -arguments, min(sizes), sum(sizes)


def _scaled(example: Case) -> Case:
    """Return a case with every axis longer than one by the same factor."""
    shapes = [one for shape in example.shapes for one in (shape if isinstance(shape, list) else [shape])]
    largest = max(shapes, key=_sweep._elements)
    factor = max(
        1, round((SIZE / max(_sweep._elements(largest), 1)) ** (1 / max(sum(n > 1 for n in largest or ()), 1)))
    )

    def scale(shape: Any) -> Any:
        if isinstance(shape, list):
            return [scale(one) for one in shape]
        return None if shape is None else tuple(n * factor if n > 1 else n for n in shape)

    return Case(tuple(map(scale, example.shapes)), example.before, example.args, example.settings, example.on)


def measured(entry: _sweep.Entry, settings: Settings) -> Iterator[Cost]:
    """Yield what a call costs for each of its inputs, forward and backward sampled in turns."""
    sample = entry.sample()
    xs = [np.ascontiguousarray(x) for x in sample.xs]
    rng = np.random.default_rng(0)
    for k in range(len(xs)):
        inputs = [tensor(x, requires_grad=i == k) for i, x in enumerate(xs)]
        results = leaves(sample.call(*inputs))
        tracked = [y for y in results if isinstance(y, Tensor) and y._record is not None]
        if not tracked:
            continue
        seeds = [(y._record, _cotangent(rng, y)) for y in tracked]
        forward, backward = _samples(
            [
                lambda: sample.call(*xs, function=entry.op.function),
                lambda seeds=seeds: replay(seeds, retain=True),
            ],
            settings,
        )
        yield Cost(
            entry.op.name, str(entry), k, min(forward), min(backward), {"forward": forward, "backward": backward}
        )


def _cotangent(rng: np.random.Generator, y: Tensor) -> Any:
    """Return a cotangent of `y` as a replay has it: for a number, NumPy's scalar."""
    g = rng.standard_normal(y.shape)
    g = g + 1j * rng.standard_normal(y.shape) if y.dtype.kind == "c" else g
    return np.asarray(g, y.dtype)[()]


def _samples(steps: Sequence[Callable[[], Any]], settings: Settings) -> list[list[float]]:
    """Return seconds per call of each step, sampled in turns."""
    counts = []
    for step in steps:
        step()
        start = time.perf_counter()
        step()
        counts.append(max(1, round(settings.least / max(time.perf_counter() - start, 1e-9))))
    found: list[list[float]] = [[] for _ in steps]
    for _ in range(settings.repeat):
        for step, count, samples in zip(steps, counts, found, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                step()
            samples.append((time.perf_counter() - start) / count)
    return found


def run(beginnings: Sequence[str], settings: Settings) -> list[Cost]:
    """Return what the calls of the named ops cost, the dearest rules first."""
    entries = [entry for op in named(beginnings) for entry in calls(op, settings.tiny)]
    costs: list[Cost] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values outside of a domain, say, of which the sweep takes care
        for i in settings.progress(range(len(entries)), "ops"):
            costs += measured(entries[i], settings)
    return sorted(costs, key=lambda cost: -cost.ratio)


def text(cost: Cost) -> str:
    """Return the line of a table for one call and input, with the reason if it costs too much."""
    reason = REASONS.get(cost.op, "no reason yet") if cost.ratio > LIMIT else ""
    call = cost.call if len(cost.call) <= 54 else cost.call[:51] + "..."
    times = "".join(f"{report.value_text(t, 's'):>10}" for t in (cost.forward, cost.backward))
    return f"{call:<56}{cost.input:>5}{times}{cost.ratio:>8.2f}  {reason}".rstrip()


HEADER = f"{'call':<56}{'input':>5}{'forward':>10}{'backward':>10}{'ratio':>8}"


def summary(costs: Sequence[Cost]) -> str:
    """Return how many rules cost too much, which of them have no reason, and which reasons nothing needs any more."""
    over = {cost.op for cost in costs if cost.ratio > LIMIT}
    known = {cost.op for cost in costs}
    lines = [f"{sum(c.ratio <= LIMIT for c in costs)} of {len(costs)} within {LIMIT:g} times the forward pass"]
    if unexplained := sorted(over - set(REASONS)):
        lines.append(f"without a reason: {', '.join(unexplained)}")
    if needless := sorted((set(REASONS) & known) - over):
        lines.append(f"reasons no longer needed: {', '.join(needless)}")
    return "\n".join(lines)


def as_json(costs: Sequence[Cost], settings: Settings) -> dict[str, Any]:
    """Return everything that was measured, in seconds, beside what the figures depend on."""
    return {
        "machine": report.machine(),
        "settings": {"repeat": settings.repeat, "least_seconds": settings.least, "tiny": settings.tiny},
        "limit": LIMIT,
        "rows": [asdict(c) | {"ratio": c.ratio, "reason": REASONS.get(c.op, "")} for c in costs],
    }


def as_markdown(costs: Sequence[Cost]) -> str:
    """Return the table of the rules that cost too much, each op with its dearest call."""
    within = sum(cost.ratio <= LIMIT for cost in costs)
    ops = len({cost.op for cost in costs})
    dearest: dict[str, Cost] = {}
    for cost in costs:
        if cost.ratio > LIMIT:
            dearest.setdefault(cost.op, cost)
    lines = [
        f"{report.machine()['date']}: of {len(costs)} calls of {ops} ops, {within} have a backward pass of at most "
        f"{LIMIT:g} times the forward pass. The others:",
        "",
        "| call | input | forward | backward | ratio | why |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.call.replace('|', ' ')} | {c.input} | {report.value_text(c.forward, 's')} "
        f"| {report.value_text(c.backward, 's')} | {c.ratio:.3g} | {REASONS.get(c.op, '')} |"
        for c in dearest.values()
    ]
    return "\n".join(lines)
