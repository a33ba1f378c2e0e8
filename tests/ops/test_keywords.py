"""Every keyword that NumPy has: tried by the samples of its row, by the calls below, or exempt for a stated reason."""

import inspect

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops._domains import case
from tapegrad.testing import _sweep

OPS = {op.name: op for op in _sweep.ops() if _sweep.cases_of(op)}
WEIGHTS = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
WIDE = "complex128"

# Calls beyond those that a row is swept with.
MORE = {
    "average": [
        case((2, 3), returned=True),
        case((2, 3), axis=1, weights=[1.0, 2.0, 0.5], returned=True),
        case((2, 3), axis=0, weights=np.array([1.0, 2.0]), returned=True, keepdims=True),
    ],
    "broadcast_to": [case((3,), args=((2, 3),), subok=True)],
    "copy": [case((5,), subok=True)],
    "cumprod": [case((2, 3), axis=0, dtype=WIDE), case((4,), dtype="float64")],
    "full_like": [case((2, 3), (), device="cpu", order="F", subok=True)],
    "histogram": [case((6,), args=(3,), weights=WEIGHTS, density=True)],
    "histogram2d": [case((6,), (6,), args=(3,), weights=WEIGHTS, density=True)],
    "histogram_bin_edges": [case((6,), args=(3,), weights=WEIGHTS)],
    "histogramdd": [case((6, 2), args=(3,), weights=WEIGHTS)],
    "intersect1d": [case((4,), (4,), assume_unique=True), case((4,), (4,), return_indices=True)],
    "linspace": [case((2,), (2,), num=3, retstep=True), case((), (), num=3, device="cpu")],
    "median": [case((5,), overwrite_input=True)],
    "nancumprod": [case((2, 3), axis=0, dtype=WIDE)],
    "nancumsum": [case((2, 3), axis=0, dtype=WIDE)],
    "nanmedian": [case((5,), overwrite_input=True)],
    "nanpercentile": [case((5,), args=(30.0,), overwrite_input=True)],
    "nanquantile": [case((5,), args=(0.3,), overwrite_input=True)],
    "nanstd": [case((2, 3), axis=0, dtype="float64")],
    "nanvar": [case((2, 3), axis=0, dtype="float64")],
    "numpy.astype": [case((3,), args=(WIDE,), device="cpu"), case((3,), args=(WIDE,), device=None)],
    "partition": [case((5,), args=(2,), order=None)],
    "percentile": [case((5,), args=(30.0,), overwrite_input=True)],
    "quantile": [case((5,), args=(0.3,), overwrite_input=True)],
    "sliding_window_view": [case((5,), args=(3,), writeable=False, subok=True)],
    "sort": [case((5,), order=None)],
    "trim_zeros": [case((2, 3), axis=0)],
    "unique": [
        case((5,), return_index=True, return_inverse=True, return_counts=True),
        case((5,), equal_nan=False),
        case((5,), sorted=False),
    ],
} | {
    f"{ufunc}.{method}": [case((5,), args=([0, 2],) if method == "reduceat" else (), dtype=dtype)]
    for ufunc, dtype in {
        "add": WIDE, "subtract": WIDE, "multiply": WIDE, "divide": WIDE, "power": WIDE, "float_power": WIDE,
        **dict.fromkeys(("maximum", "minimum", "fmax", "fmin", "remainder", "fmod", "hypot"), "float64"),
        **dict.fromkeys(("arctan2", "copysign", "logaddexp", "logaddexp2", "nextafter"), "float64"),
    }.items()
    for method in ("accumulate", "reduceat")
    if f"{ufunc}.{method}" in OPS and f"{ufunc}.{method}" != "add.reduceat"
}  # fmt: skip

# Keywords that are tried for all functions together, below.
TOGETHER = {"out"}
OF_UFUNCS = {"out", "where", "casting", "order", "dtype", "subok", "signature"}

# Keywords that no call tries, and why.
DEPRECATED = {"interpolation": "an older NumPy's name of method"}
ONE_SHARED_AXIS = dict.fromkeys(("axis", "keepdims"), "NumPy refuses it for all products but vecdot")
EXEMPT = {
    "histogram": {"range": "with it the bins, and so the counts, are constant: test_statistics.py tries it"},
    "histogram2d": {"range": "as of histogram"},
    "histogram_bin_edges": {"range": "as of histogram"},
    "histogramdd": {"range": "as of histogram"},
    "matmul": ONE_SHARED_AXIS,
    "matvec": ONE_SHARED_AXIS,
    "vecmat": ONE_SHARED_AXIS,
    "corrcoef": dict.fromkeys(("bias", "ddof"), "without effect, and gone from the newest NumPy"),
    "reshape": {"newshape": "an older NumPy's name of shape"},
    "quantile": DEPRECATED,
    "percentile": DEPRECATED,
    "nanquantile": DEPRECATED,
    "nanpercentile": DEPRECATED,
}


def keywords(op):
    """Return the parameters of NumPy's function, or none where it is not NumPy's and has no signature."""
    module = getattr(op.function, "__module__", None) or "numpy"
    if not module.startswith("numpy") or op.name.startswith("special."):
        return ()
    try:
        found = inspect.signature(op.function).parameters.values()
    except (TypeError, ValueError):
        # Before NumPy 2.3, ufuncs and functions written in C had no signature.
        return ()
    return tuple(p.name for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))


def tried(op):
    """Return the parameters that the calls of an op give."""
    names, found = keywords(op), set()
    for call in (*_sweep.cases_of(op), *MORE.get(op.name, ())):
        count = len(call.before) + len(call.shapes) + len(call.args)
        found |= {*names[:count], *call.settings}
    return found


@pytest.mark.parametrize("name", OPS)
def test_every_keyword_is_tried(name):
    op = OPS[name]
    known = OF_UFUNCS if isinstance(op.function, np.ufunc) else TOGETHER
    exempt = EXEMPT.get(name, {})
    missing = set(keywords(op)) - tried(op)
    assert missing - known - exempt.keys() == set(), "give the row a case, or say why none is needed"
    if keywords(op):
        assert exempt.keys() & {*keywords(op)} <= missing, "tried after all: take it off the list"


def test_lists_name_ops():
    assert MORE.keys() | EXEMPT.keys() <= OPS.keys() | {"matvec", "vecmat"}


CALLS = [_sweep.Entry(OPS[name], call) for name, calls in MORE.items() if name in OPS for call in calls]


@pytest.mark.parametrize("entry", CALLS, ids=str)
def test_calls_with_these_keywords(entry):
    names = keywords(entry.op)
    if names and not entry.case.settings.keys() <= {*names}:
        pytest.skip("this NumPy does not have the keyword yet")
    _sweep.forward(entry)
    _sweep.first(entry)
    _sweep.second(entry)
    _sweep.on_device(entry)


# out= of every function that has it, and the keywords that all ufuncs have


def first_call(op):
    """Return the first sample of an op that has numbers in it and gives one array."""
    for call in _sweep.cases_of(op):
        sample = _sweep.Entry(op, call).sample()
        if sample.xs and all(x.size for x in sample.xs) and "dtype" not in call.settings:
            return sample
    return None


def pulled(sample, **settings):
    """Return the value of a call with more keywords, and the gradients of its sum."""
    xs = [tg.tensor(x, requires_grad=True) for x in sample.xs]
    y = sample.call(*xs, function=lambda *args, **given: sample.entry.op.function(*args, **given, **settings))
    y.backward(np.ones(y.shape))
    return [y.data, *(np.zeros(x.shape) if x.grad is None else x.grad.data for x in xs)]


WITH_OUT = [
    name
    for name, op in OPS.items()
    if "out" in keywords(op)
    and len(op.outputs) == 1
    and (not isinstance(op.function, np.ufunc) or op.function.nout == 1)
]


@pytest.mark.parametrize("name", WITH_OUT)
def test_out_takes_the_result_and_its_history(name):
    sample = first_call(OPS[name])
    expected = pulled(sample)
    target = tg.zeros(expected[0].shape, dtype=expected[0].dtype)
    for got, value in zip(pulled(sample, out=target), expected, strict=True):
        np.testing.assert_allclose(got, value)
    np.testing.assert_allclose(target.data, expected[0])


UFUNCS = [
    name for name, op in OPS.items() if isinstance(op.function, np.ufunc) and op.function.nout == 1 and "." not in name
]


@pytest.mark.parametrize("name", UFUNCS)
def test_keywords_of_every_ufunc(name):
    op = OPS[name]
    sample = first_call(op)
    expected = pulled(sample)
    for settings in ({"casting": "same_kind"}, {"order": "C"}, {"subok": False}, {"dtype": "float64"}):
        if settings.get("dtype") and not all(x.dtype.kind == "f" for x in sample.arrays):
            continue
        for got, value in zip(pulled(sample, **settings), expected, strict=True):
            np.testing.assert_allclose(got, value, err_msg=str(settings))
    if op.function.signature is None:
        mask = np.array(True)
        target = tg.zeros(expected[0].shape, dtype=expected[0].dtype)
        for got, value in zip(pulled(sample, out=target, where=mask), expected, strict=True):
            np.testing.assert_allclose(got, value)
        target = tg.zeros(expected[0].shape, dtype=expected[0].dtype)
        for got in pulled(sample, out=target, where=np.array(False)):
            np.testing.assert_array_equal(got, np.zeros_like(got))


@pytest.mark.parametrize("name", UFUNCS)
def test_a_keyword_that_no_ufunc_has_is_named(name):
    sample = first_call(OPS[name])
    with pytest.raises(TypeError, match="shape_of_things"):
        pulled(sample, shape_of_things=1)
