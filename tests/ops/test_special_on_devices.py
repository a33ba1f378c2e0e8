"""Families of functions that cupyx lacks, of whole orders: beside SciPy's, where formulas meet, and on the stand-in."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops import _special_on_devices as on_devices
from tapegrad.testing import strict

sp = pytest.importorskip("scipy.special")

SIZES = np.array([1e-12, 1e-3, 0.3, 1, 2, 3.99, 4.01, 7.99, 8.01, 12, 30])


@pytest.mark.parametrize("n", range(-2, 5))
@pytest.mark.parametrize("name", ["jv", "yv", "iv", "kv", "ive", "kve"])
def test_bessel_functions_of_whole_orders(name, n):
    x = np.concatenate([SIZES, -SIZES]) if name[0] in "ji" else SIZES
    expected = getattr(sp, name)(n, x)
    # Next to a zero of an oscillating function its neighbor's size counts.
    scale = np.abs(expected) + (np.abs(getattr(sp, name)(n + 1, x)) * (np.abs(x) > 1) if name[0] in "jy" else 0)
    assert (np.abs(on_devices.bessel(sp, name)(n, x) - expected) <= 1e-13 * scale).all()


@pytest.mark.parametrize("a", range(1, 6))
def test_kummers_function(a):
    x = np.concatenate([SIZES, -SIZES, [a + 1.99, a + 2.01, -a - 1.99, -a - 2.01]])
    np.testing.assert_allclose(on_devices.hyp1f1(a, a + 1, x), sp.hyp1f1(a, a + 1, x), rtol=1e-10)


@pytest.mark.parametrize("a", [1, 2, 3, 4, 0.5, 1.5, 2.5, 3.5])
def test_gausss_function(a):
    z = np.array([1e-9, 0.3, 0.49, 0.51, 0.7, 0.99, -1e-9, -0.3, -0.49, -0.51, -1, -5, -20])
    c = int(a) + 1
    np.testing.assert_allclose(on_devices.hyp2f1(sp, a, a, c, z), sp.hyp2f1(a, a, c, z), rtol=1e-12)


@pytest.mark.parametrize("name", ["j1", "i1", "i1e", "exprel", "ellipk"])
def test_three_derivatives_on_a_device(name):
    function = getattr(sp, name)
    third = tg.grad(tg.grad(tg.grad(function)))
    for x in (0.25, 0.75):
        there = third(strict.asarray(x))
        assert there.device == "cuda:0"
        assert there.item() == pytest.approx(third(x).item(), rel=1e-11)


def test_single_precision_stays():
    x = np.float32([0.25, 9.0])
    for name in ("jv", "iv", "kv", "ive"):
        found = on_devices.bessel(sp, name)(2, x)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, getattr(sp, name)(2, x), rtol=1e-4)
    assert on_devices.hyp1f1(2, 3, x).dtype == on_devices.hyp2f1(sp, 2, 2, 3, -x).dtype == np.float32
