"""What NumPy refuses is refused with NumPy's own exception, and nothing is recorded."""

import fnmatch
import inspect
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._tensor import OPS as TABLE
from tapegrad.errors import UnsupportedError
from tapegrad.testing import _sweep


def of_numpy(op):
    """Whether an op stands for a function of NumPy that arrays can be given to."""
    module = getattr(op.function, "__module__", None) or "numpy"
    return module.startswith("numpy") and not op.name.startswith("special.")


OPS = {op.name: op for op in _sweep.ops() if _sweep.cases_of(op) and of_numpy(op)}


# Where the refusal is another one, or there is none, and why: patterns of what is called.
OTHERWISE = {
    "nan* with out=*": "the gradient would be lost in any plain out",
}
if np.lib.NumpyVersion(np.__version__) < "2.1.0":
    OTHERWISE["setxor1d/* of *"] = "later ones take numbers"


def outcome(call, *xs):
    """Return the type and the words of the exception that a call raises, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call(*xs)
        except Exception as error:
            return type(error), str(error)
    return None


def public(error):
    """Return the type of an exception, or what it is derived from if users cannot name it."""
    return next(kind for kind in error.__mro__ if not kind.__module__.startswith("numpy._core"))


def check(call, xs, what):
    """Check that a call which NumPy refuses for the arrays `xs` is refused for tracked tensors too, in the same way."""
    expected = outcome(call, *xs)
    if expected is None:
        return False
    leaves = [tg.tensor(x, requires_grad=x.dtype.kind in "fc") for x in xs]
    before = [sys.getrefcount(leaf._record) for leaf in leaves]
    got = outcome(call, *leaves)
    if any(fnmatch.fnmatch(what, pattern) for pattern in OTHERWISE):
        return True
    assert got is not None, f"{what} is accepted, expected {expected}"
    assert issubclass(got[0], public(expected[0])), f"{what}: got {got}, expected {expected}"
    # A record would hold the leaves' own.
    assert [sys.getrefcount(leaf._record) for leaf in leaves] == before, f"{what} was recorded"
    return True


def calls_of(op):
    """Return the samples of an op that have numbers in them."""
    samples = [_sweep.Entry(op, call).sample() for call in _sweep.cases_of(op)]
    return [sample for sample in samples if sample.xs and all(x.size for x in sample.xs)]


@pytest.mark.parametrize("name", OPS)
@given(data=st.data())
def test_wrong_shapes(name, data):
    op = OPS[name]
    sample = data.draw(st.sampled_from(calls_of(op)))
    shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
    xs = [np.ones(data.draw(shapes)) for _ in sample.xs]
    check(lambda *xs: sample.call(*xs, function=op.function), xs, f"{sample.entry} of {[x.shape for x in xs]}")


# Values that are wrong for every setting of that name.
WRONG = {
    "axis": [9, -9, (0, 0), "first", 1.5],
    "axes": [9, (9, 9), "first"],
    "axis1": [9], "axis2": [9], "source": [9], "destination": [9], "axisa": [9], "axisb": [9], "axisc": [9],
    "shape": [(7, 7), "all", (-1, -1)],
    "newshape": [(7, 7)],
    "dtype": ["no dtype"],
    "mode": ["no mode"],
    "method": ["no method"],
    "norm": ["no norm"],
    "ord": ["no order", 17.5j],
    "kind": ["no kind"],
    "order": ["no order"],
    "n": [-1, "many"],
    "s": [(-1,), "many"],
    "indices": [99, "some"],
    "indices_or_sections": [7, "some"],
    "repeats": [-1, (1, 2, 3, 4, 5)],
    "reps": [-1],
    "shift": ["far"],
    "k": ["far"],
    "kth": [99],
    "pad_width": [-1, "wide"],
    "q": [7.0],
    "ddof": ["few"],
    "out": [3.0, "here"],
    "where": ["there"],
    "num": [-1],
    "deg": [-1],
    "window_shape": [99, -1],
    "casting": ["no casting"],
    "offset": ["far"],
    "subscripts": ["ij,jk->il", "i->"],
    "UPLO": ["X"],
    "weights": [(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)],
    "returned": [],
}  # fmt: skip


def parameters_of(op):
    try:
        return list(inspect.signature(op.function).parameters)
    except (TypeError, ValueError):
        return []


@pytest.mark.parametrize("name", OPS)
def test_wrong_settings(name):
    op = OPS[name]
    sample = calls_of(op)[0]
    names = parameters_of(op)
    positional = len(sample.entry.case.before) + len(sample.entry.case.shapes) + len(sample.entry.case.args)
    for setting in names[positional:]:
        for value in WRONG.get(setting, ()):
            given = {**sample.entry.case.settings, setting: value}

            def call(*xs, given=given):
                return sample.call(*xs, function=lambda *args, **_: op.function(*args, **given))

            check(call, sample.xs, f"{name} with {setting}={value!r}")


@pytest.mark.parametrize("name", OPS)
def test_unknown_keywords_and_missing_arguments(name):
    op = OPS[name]
    sample = calls_of(op)[0]

    def unknown(*xs):
        return sample.call(*xs, function=lambda *args, **given: op.function(*args, **given, no_such_setting=1))

    assert check(unknown, sample.xs, f"{name} with an unknown keyword")
    leaves = [tg.tensor(x, requires_grad=True) for x in sample.xs]
    assert "no_such_setting" in outcome(unknown, *leaves)[1]
    if not op.variadic and name != "meshgrid":
        check(lambda x: op.function(x, *[x] * 30), sample.xs[:1], f"{name} of too many arguments")


BINARY = [
    name
    for name, op in OPS.items()
    if isinstance(op.function, np.ufunc) and op.function.nin == 2 and not op.function.signature
]


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("other", ["a word", np.array(["a word"]), np.array("2020-01-01", "M8[D]")], ids=repr)
def test_operands_that_are_no_numbers(name, other):
    function = OPS[name].function
    x = np.array([1.0, 2.0])
    for call in (lambda x: function(x, other), lambda x: function(other, x)):
        assert check(call, [x], f"{name} with {other!r}")


def test_the_table_says_what_can_be_used_instead():
    """Every refusal holds advice: another function, a keyword, or what to do with the tensor."""
    from tapegrad._op import CLASSIFIED

    for function, (kind, because) in CLASSIFIED.items():
        if kind == "refused":
            assert any(word in because for word in (";", "use ", "keep ")), function


def test_functions_without_a_rule_say_what_to_do():
    class Unknown:
        __name__ = "no_such_function"

    assert Unknown not in TABLE
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(UnsupportedError, match=r"detach\(\)|write the function with others"):
        x.__array_function__(lambda x: x, (tg.Tensor,), (x,), {})
