"""The namespace tapegrad.special: SciPy's names, and what is no ufunc there."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tapegrad as tg
from tapegrad import special
from tapegrad.errors import MissingPackageError, UnsupportedError
from tapegrad.testing import check_gradients, strict

sp = pytest.importorskip("scipy.special")

inf, nan = np.inf, np.nan


def leaf(array):
    return tg.tensor(array, requires_grad=True)


# Names


def test_ufuncs_are_scipys():
    assert special.erf is sp.erf
    x = leaf(0.5)
    special.gammaln(x).backward()
    assert x.grad.item() == pytest.approx(sp.psi(0.5))
    assert {"erf", "jv", "logsumexp"} <= set(dir(special))


def test_names_that_scipy_lacks_are_missing():
    assert not hasattr(special, "no_such_function")
    with pytest.raises(AttributeError, match=r"tapegrad\.special.* no attribute 'no_such_function'"):
        _ = special.no_such_function


def test_a_missing_scipy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    for call in (lambda: special.erf, lambda: special.polygamma(1, leaf(2.0)), lambda: special.multigammaln(2.0, 1)):
        with pytest.raises(MissingPackageError, match=r"special\.\w+ needs the package scipy.*tapegrad\[scipy\]"):
            call()
    assert special.logsumexp(np.zeros(2), b=[1.0, 1.0]) == pytest.approx(np.log(2))
    assert dir(special) == special.__all__


def test_scipy_is_imported_when_it_is_asked_for():
    script = (
        "import sys, tapegrad as tg, numpy as np; t = tg.tensor([1.0, 2.0], requires_grad=True);"
        "tg.special.logsumexp(t, b=np.array([1.0, -3.0]), return_sign=True)[0].backward(); tg.special.softmax(t);"
        "print('scipy' in sys.modules, t.grad.shape); tg.special.erf(t); print('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "(2,)", "True"]


# Logarithms of sums


@given(
    a=hnp.arrays(float, (2, 3), elements=st.floats(-50, 50)),
    b=hnp.arrays(float, (2, 3), elements=st.floats(0.1, 5) | st.just(0.0)),
    axis=st.sampled_from([None, 0, 1, (0, 1)]),
    keepdims=st.booleans(),
)
def test_weighted_sums_are_scipys(a, b, axis, keepdims):
    expected = sp.logsumexp(a, axis, b, keepdims, return_sign=True)
    found = special.logsumexp(a, axis, b, keepdims, return_sign=True)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


@given(hnp.arrays(float, (2, 3), elements=st.floats(-1, 1)), st.sampled_from([1.0, -1.0]))
def test_gradients_of_weighted_sums(a, sign):
    b = sign * np.array([[1.0, 0.5, 2.0], [8.0, -0.5, 1.0]])  # sums keep their sign
    check_gradients(lambda a, b: special.logsumexp(a, -1, b, return_sign=True)[0], a, b)


@pytest.mark.parametrize(
    ("a", "b", "value", "of_a", "of_b"),
    [
        ([-inf, 0.0], [1.0, 2.0], np.log(2), [0, 1], [0, 0.5]),
        ([-inf, -inf], [1.0, 2.0], -inf, [0, 0], [0, 0]),
        ([inf, 0.0], [2.0, 1.0], inf, [1, 0], [0.5, 0]),
        ([inf, inf], [1.0, 3.0], inf, [0.25, 0.75], [0.25, 0.25]),
        ([1000.0, 1000.0], [1.0, 1.0], 1000 + np.log(2), [0.5, 0.5], [0.5, 0.5]),
        ([-1000.0, -1000.0], [1.0, 1.0], -1000 + np.log(2), [0.5, 0.5], [0.5, 0.5]),
        ([0.0, 1.0], [1.0, 0.0], 0, [1, 0], [1, np.e]),
    ],
)
def test_extremes(a, b, value, of_a, of_b):
    a, b = leaf(a), leaf(b)
    y = special.logsumexp(a, b=b)
    assert y.item() == pytest.approx(value)
    y.backward()
    np.testing.assert_allclose(a.grad.data, of_a)
    np.testing.assert_allclose(b.grad.data, of_b)
    if (b.data == 1).all():
        x = leaf(a.detach())
        special.logsumexp(x).backward()
        np.testing.assert_allclose(x.grad.data, of_a)


def test_a_term_without_weight_does_not_count_even_if_it_is_infinite():
    a, b = leaf([inf, 1.0]), np.array([0.0, 1.0])
    y = special.logsumexp(a, b=b)
    y.backward()
    assert (y.item(), a.grad.data.tolist()) == (1, [0, 1])


def test_sums_that_cancel():
    a = leaf([1.0, 1.0])
    y, sign = special.logsumexp(a, b=np.array([1.0, -1.0]), return_sign=True)
    assert (y.item(), sign.item()) == (-inf, 0)
    y.backward()
    assert a.grad.data.tolist() == [inf, -inf]


def test_negative_sums():
    a, b = leaf([0.0, 1.0]), np.array([1.0, -1.0])
    assert np.isnan(special.logsumexp(a, b=b).item())
    y, sign = special.logsumexp(a, b=b, return_sign=True)
    assert sign.item() == -1
    assert not sign.requires_grad
    assert y.item() == pytest.approx(np.log(np.e - 1))


def test_complex_sums_have_phases():
    check_gradients(
        lambda a, b: list(special.logsumexp(a, b=b, return_sign=True)),
        np.array([0.3 + 1j, -0.2j, 1.0]),
        np.array([1.0, 2.0 + 1j, -0.5]),
    )


def test_weights_broadcast_and_keep_the_precision():
    a = leaf(np.ones((2, 1), np.float32))
    y = special.logsumexp(a, axis=1, b=np.ones(3, np.float32))
    assert (y.shape, y.dtype) == ((2,), np.float32)
    y.sum().backward()
    assert (a.grad.shape, a.grad.dtype) == ((2, 1), np.float32)
    assert special.logsumexp(a, b=2).dtype == np.float32
    assert special.logsumexp(a, b=np.arange(3)).dtype == sp.logsumexp(a.detach().numpy(), b=np.arange(3)).dtype


# Softmax


def test_softmax_is_over_everything_unless_told():
    x = np.array([[1.0, 2.0], [3.0, 1000.0]])
    np.testing.assert_allclose(special.softmax(x), sp.softmax(x))
    np.testing.assert_allclose(special.log_softmax(x), sp.log_softmax(x))
    assert special.softmax(leaf(x)).detach().numpy().sum() == pytest.approx(1)


@pytest.mark.parametrize("x", [[-1000.0, 0.0, 1000.0], [-inf, 0.0, 0.0], [0.0] * 3, [1e308, -1e308, 0.0]])
def test_softmax_at_extremes(x):
    for function, reference in ((special.softmax, sp.softmax), (special.log_softmax, sp.log_softmax)):
        t = leaf(x)
        with np.errstate(over="ignore"):  # as SciPy, of numbers that are too far apart
            y = function(t)
            np.testing.assert_allclose(y.detach().numpy(), reference(np.array(x)))
        y[2].backward()
        assert np.isfinite(t.grad.data).all()


# Gamma functions


@pytest.mark.parametrize("d", [1, 2, 5])
def test_multigammaln(d):
    a = leaf(np.array([3.5, 7.0]))
    y = special.multigammaln(a, d)
    np.testing.assert_allclose(y.detach().numpy(), sp.multigammaln(a.detach().numpy(), d))
    y.sum().backward()
    expected = sp.psi(a.data[:, None] - 0.5 * np.arange(d)).sum(-1)
    np.testing.assert_allclose(a.grad.data, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "d", "message"), [(1.0, 1.5, "positive integer"), (0.5, 3, "not met"), (3.0, [2], "int")]
)
def test_multigammaln_refuses_what_scipy_refuses(a, d, message):
    with pytest.raises(ValueError, match=message):
        sp.multigammaln(a, d)
    with pytest.raises(ValueError, match=message):
        special.multigammaln(leaf(a), d)


def test_polygamma():
    x = leaf(np.array([0.5, 2.0, 30.0]))
    for n in range(5):
        x.grad = None
        special.polygamma(n, x).sum().backward()
        np.testing.assert_allclose(x.grad.data, sp.polygamma(n + 1, x.data), rtol=1e-12)
    assert special.polygamma(40, leaf(np.float32([2.0]))).dtype == np.float32
    np.testing.assert_allclose(special.polygamma(30, np.float32([5.0])), sp.polygamma(30, 5.0), rtol=1e-6)
    with pytest.raises(UnsupportedError, match="no derivative by its argument n"):
        special.polygamma(leaf(1.0), 2.0)


# Peers


@pytest.mark.parametrize("name", ["logsumexp", "softmax", "log_softmax", "multigammaln", "polygamma", "zeta"])
def test_derivatives_are_jaxs(name):
    jax = pytest.importorskip("jax")
    theirs = pytest.importorskip("jax.scipy.special")
    x = np.array([2.5, 3.0, 4.2])
    weights = np.array([1.0, 2.0, -0.5])
    calls = {
        "logsumexp": lambda m: lambda x: m.logsumexp(x, b=weights, return_sign=True)[0],
        "softmax": lambda m: lambda x: (m.softmax(x, axis=0) * weights).sum(),
        "log_softmax": lambda m: lambda x: (m.log_softmax(x, axis=0) * weights).sum(),
        "multigammaln": lambda m: lambda x: m.multigammaln(x, 3).sum(),
        "polygamma": lambda m: lambda x: m.polygamma(2, x).sum(),
        "zeta": lambda m: lambda x: m.zeta(2.0, x).sum(),
    }
    t = leaf(x)
    calls[name](special)(t).backward()
    if name in ("softmax", "log_softmax"):
        theirs = jax.nn
    with jax.enable_x64(True):
        expected = jax.grad(calls[name](theirs))(x)
    np.testing.assert_allclose(t.grad.data, expected, rtol=1e-9)


# On a device


@pytest.mark.parametrize(
    "call",
    [
        lambda x: special.logsumexp(x, axis=0),
        lambda x: special.logsumexp(x, b=2.0, return_sign=True)[0],
        lambda x: special.softmax(x),
        lambda x: special.log_softmax(x, axis=1),
        lambda x: special.softmax(x + 1j).real,
        lambda x: special.zeta(2.0, x),
        lambda x: special.lambertw(x),
    ],
)
def test_on_devices(call):
    a = np.array([[1.5, 2.0], [0.5, 3.0]])
    here, there = leaf(a), leaf(strict.asarray(a))
    for x in (here, there):
        try:
            y = call(x)
        except UnsupportedError as error:
            pytest.skip(f"the stand-in lacks it: {error}")
        np.sum(np.real(y) ** 2).backward()  # of squares, because a softmax's own sum has no derivative but rounding
    np.testing.assert_allclose(there.grad.data.get(), here.grad.data)
