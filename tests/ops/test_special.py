"""SciPy's special functions: every row by the sweep, zeros and extremes, what has no derivative, and when they come."""

import math
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._op import CLASSIFIED, RULES
from tapegrad._tensor import OPS
from tapegrad.errors import UnsupportedError
from tapegrad.ops import scipy_linalg  # noqa: F401 - a chapter that `register` imports once, whose rows are to stay
from tapegrad.ops.special import register
from tapegrad.testing import _sweep

sp = pytest.importorskip("scipy.special")

TABLES = (OPS, RULES, CLASSIFIED)


def _added():
    """Return what `register` adds to the tables, and leave them as they were: other tests list all rows."""
    before = [dict(table) for table in TABLES]
    register()
    after = [dict(table) for table in TABLES]
    for table, content in zip(TABLES, before, strict=True):
        table.clear()
        table.update(content)
    return after


ROWS = _added()
ENTRIES = _sweep.entries([op for name, op in ROWS[1].items() if name.startswith("special.")])
# One entry of each op, with several numbers, is differentiated twice.
TWICE = {entry.op.name: entry for entry in reversed(ENTRIES) if entry.sample().xs[0].size > 1}


@pytest.fixture(autouse=True, scope="module")
def _rows_of_scipy():
    before = [dict(table) for table in TABLES]
    for table, content in zip(TABLES, ROWS, strict=True):
        table.update(content)
    yield
    for table, content in zip(TABLES, before, strict=True):
        table.clear()
        table.update(content)


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_rows(entry):
    for dtypes in "dfDF":
        if dtypes == "d" or _sweep.accepts(entry, dtypes):
            _sweep.forward(entry, dtypes)
            if dtypes != "F":
                _sweep.first(entry, dtypes)
    if entry is TWICE[entry.op.name]:
        _sweep.layouts(entry)
        for dtypes in "dD":
            if dtypes == "d" or _sweep.accepts(entry, dtypes):
                _sweep.second(entry, dtypes)


def gradients(function, *xs):
    inputs = [tg.tensor(float(x), requires_grad=True) for x in xs]
    function(*inputs).backward()
    return [x.grad.item() for x in inputs]


@pytest.mark.parametrize(
    ("function", "x", "y", "expected"),
    [
        (sp.xlogy, 0, 0, [0, 0]),
        (sp.xlogy, 0, 2, [math.log(2), 0]),
        (sp.xlogy, 2, 0.5, [math.log(0.5), 4]),
        (sp.xlog1py, 0, -1, [0, 0]),
        (sp.xlog1py, 2, 1, [math.log(2), 1]),
        (sp.rel_entr, 0, 0, [1, 0]),
        (sp.rel_entr, 1, 2, [math.log(0.5) + 1, -0.5]),
        (sp.kl_div, 0, 0, [0, 1]),
        (sp.kl_div, 1, 2, [math.log(0.5), 0.5]),
        (sp.huber, 1, 0.5, [0, 0.5]),
        (sp.huber, 1, -3, [2, -1]),
        (sp.pseudo_huber, 1, 0, [0, 0]),
        (sp.boxcox, 2, 0, [0.5, math.log(2) ** 2 / 2]),
        (sp.inv_boxcox, 2, 0, [math.exp(2), -2 * math.exp(2)]),
    ],
)
def test_zeros_of_factors(function, x, y, expected):
    np.testing.assert_allclose(gradients(function, x, y), expected, rtol=1e-14)


def test_zeros_with_numbers_of_python():
    assert gradients(lambda y: sp.xlogy(0.0, y), 0) == [0]
    assert gradients(lambda x: sp.xlogy(x, 0.0), 0) == [0]
    assert gradients(lambda x: sp.xlogy(x, 1.0), 3) == [0]


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (sp.expit, -1000, 0),
        (sp.expit, 40, math.exp(-40)),
        (sp.log_expit, -1000, 1),
        (sp.log_expit, 1000, 0),
        (sp.log_ndtr, -1e4, 1e4),
        (sp.log_ndtr, 40, 0),
        (sp.ndtr, 1e4, 0),
        (sp.erf, 1e4, 0),
        (sp.erfcx, 1e8, -1e-16 / math.sqrt(math.pi)),
        (sp.erfcx, 49.9, -0.000226444894770011449),
        (sp.erfcx, 50.1, -0.000224641636946849263),
        (sp.dawsn, 49.9, -0.000200923492856461472),
        (sp.dawsn, -50.1, -0.000199321557132488245),
        (sp.dawsn, 1e8, -0.5e-16),
        (sp.dawsn, -1e8, -0.5e-16),
        (sp.exprel, 0, 0.5),
        (sp.i1, 0, 0.5),
        (sp.rgamma, 0, 1),
        (sp.rgamma, -1, -1),
        (sp.rgamma, -2, 2),
        (sp.rgamma, -3, -6),
        (sp.spence, 1, -1),
        (sp.ellipk, 0, math.pi / 8),
        (sp.ellipe, 0, -math.pi / 8),
        (lambda x: np.real(sp.lambertw(x)), 0, 1),
        (lambda x: sp.sici(x)[0], 0, 1),
        (lambda x: sp.eval_legendre(3, x), 1, 6),
        (lambda x: sp.eval_hermite(0, x), 0.5, 0),
        (lambda x: sp.expn(0, x), 0.5, -6 * math.exp(-0.5)),
    ],
)
def test_zeros_and_extremes_are_exact_and_silent(function, x, expected):
    np.testing.assert_allclose(gradients(function, x), [expected], rtol=1e-7 if x == -1e4 else 1e-11, atol=1e-18)


@pytest.mark.parametrize("x", [-2 + 0j, -1.5 + 0.5j, -1 + 1e-9j, -2 + 300j, 2 - 3j])
def test_reciprocal_gamma_at_and_between_its_complex_zeros(x):
    tg.testing.check_gradients(sp.rgamma, np.array(x), order=1)


def test_infinite_derivatives_are_infinite():
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert gradients(sp.entr, 0) == [math.inf]
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert gradients(sp.logit, 0) == [math.inf]
    assert gradients(sp.erfinv, 1) == [math.inf]


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_derivatives_of_digamma_of_every_order(order):
    x = tg.tensor(2.5, requires_grad=True)
    y = sp.psi(x)
    for _ in range(order):
        x.grad = None
        y.backward(create_graph=True)
        y = x.grad
    np.testing.assert_allclose(y.item(), sp.polygamma(order, 2.5), rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "name", "argument"),
    [
        (lambda a: sp.gammainc(a, 1.0), "gammainc", "a"),
        (lambda v: sp.jv(v, 1.0), "jv", "v"),
        (lambda n: sp.expn(n, 1.0), "expn", "n"),
        (lambda a: sp.betainc(a, 2.0, 0.5), "betainc", "a"),
        (lambda a: sp.hyp2f1(a, 1.0, 2.0, 0.5), "hyp2f1", "a"),
        (lambda n: sp.eval_legendre(n, 0.5), "eval_legendre", "n"),
    ],
)
def test_arguments_without_a_derivative_are_named(call, name, argument):
    x = tg.tensor(2.0, requires_grad=True)
    with pytest.raises(UnsupportedError, match=f"{name} has no derivative by its argument {argument} in closed form"):
        call(x).backward()
    assert x.grad is None


def test_scaled_functions_of_complex_numbers_are_refused():
    z = tg.tensor(1 + 1j, requires_grad=True)
    with pytest.raises(UnsupportedError, match="ive has no rule for complex numbers"):
        np.real(sp.ive(1, z)).backward()


def test_results_that_are_used_twice_or_not_at_all():
    x = tg.tensor([0.5, 1.5], requires_grad=True)
    first, _ = sp.fresnel(x)
    np.sum(first * first).backward()
    np.testing.assert_allclose(x.grad.data, 2 * sp.fresnel(x.detach().numpy())[0] * np.sin(np.pi / 2 * x.data**2))


def test_precision_is_scipys():
    x = tg.tensor(np.float32([0.5, 1.5]), requires_grad=True)
    out = sp.erf(x)
    assert out.dtype == np.float32
    out.backward(np.float32([1, 1]))
    assert x.grad.dtype == np.float32
    half = tg.tensor(np.float16([0.5]), requires_grad=True)
    wide = sp.xlogy(half, half)
    assert wide.dtype == sp.xlogy(half.data, half.data).dtype
    wide.backward(np.ones(1, wide.dtype))
    assert half.grad.dtype == np.float16


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("number", [0.0, 2.0])
@pytest.mark.parametrize("name", ["rel_entr", "kl_div"])
def test_divergences_from_a_number_keep_the_precision(name, number, dtype):
    x = tg.tensor(np.array([0.5, 1.5], dtype) if number else np.zeros(2, dtype), requires_grad=True)
    made = tg.grad(lambda x: np.sum(getattr(sp, name)(x, number)))(x.detach())
    assert made.dtype == x.dtype
    ratio = np.log(x.data / number) if number else np.zeros(2)
    np.testing.assert_allclose(made, ratio + (name == "rel_entr"), rtol=1e-6)
    made = tg.grad(lambda y: np.sum(getattr(sp, name)(number, y)))(x.detach() + 1)
    assert made.dtype == x.dtype
    np.testing.assert_allclose(made, (name == "kl_div") - number / (x.data + 1), rtol=1e-6)


@pytest.mark.parametrize("name", ["spence", "ellipk", "ellipe"])
@pytest.mark.parametrize("order", [1, 2])
def test_functions_that_scipy_has_in_double_precision_only_stay_single(name, order):
    derivative = getattr(sp, name)
    for _ in range(order):
        derivative = tg.grad(derivative)
    single, double = derivative(np.asarray(np.float32(0.25))), derivative(np.asarray(0.25))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, rtol=1e-6)


@pytest.mark.parametrize("x", [0.0, 5e-324, 2.2e-308, -2.2e-308, 1e-300, -1e-300, 1e-160])
def test_bessel_functions_at_the_smallest_numbers(x):
    first = tg.grad(sp.i1)
    assert first(np.asarray(x)).item() == tg.grad(tg.grad(sp.i0))(np.asarray(x)).item() == 0.5
    assert tg.grad(first)(np.asarray(x)).item() == pytest.approx(0, abs=1e-150)
    assert tg.grad(tg.grad(first))(np.asarray(x)).item() == 0.375


def test_scipy_is_not_imported_with_tapegrad():
    script = (
        "import sys, tapegrad; from tapegrad.ops.special import register; register(); print('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_registering_twice_changes_nothing():
    before = dict(OPS)
    register()
    assert before == OPS


@pytest.mark.filterwarnings("ignore:floating point number truncated")
def test_a_fraction_of_the_order_of_expn_is_cut_off_as_scipy_does():
    for order in (0, 0.5, 1, 1.9, 3.2):
        derivative = tg.grad(lambda x, order=order: tg.special.expn(order, x))(1.5)
        assert derivative.item() == tg.grad(lambda x, order=order: tg.special.expn(int(order), x))(1.5).item()
