"""Gradients agree between precisions, devices and libraries; where they do not, the message says which and how."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._op import Op
from tapegrad._recorders import recorder
from tapegrad.errors import MissingPackageError
from tapegrad.testing import GradientError, check_gradients, strict

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
V = np.array([1.25, -0.5, 0.75])
Z = np.array([1 + 2j, -0.5 + 0.25j])


def bell(x, width, xp):
    return xp.exp(-((x / width) ** 2))


def reference(x, y):
    return x[:, None] * y


def outer(x, y):
    return np.einsum("i,j->ij", x, y)


@pytest.mark.parametrize("against", ["float32", "strict", ("float32", "strict")])
def test_precisions_and_devices_agree(against):
    check_gradients(lambda x, y: np.sum(np.exp(x) * y, axis=0), X, V, against=against)


def test_arrays_among_constants_travel_to_the_device():
    check_gradients(lambda x, i: x[i] * 2, V, np.array([0, 0, 2]), against="strict")


def test_a_function_that_leaves_the_device_is_caught():
    def leaving(x):
        return np.sum(x * np.array([1.0, 2.0, 3.0]))

    with pytest.raises(GradientError, match="on the stand-in for CuPy raised"):
        check_gradients(leaving, V, against="strict")


def test_single_precision_that_overflows_is_caught():
    def unstable(x):
        return np.log(np.sum(np.exp(100 * x)))

    check_gradients(unstable, V)
    with (
        np.errstate(over="ignore"),
        pytest.raises(GradientError, match="unstable in float32 is not finite, where it is"),
    ):
        check_gradients(unstable, V, against="float32")


def test_single_precision_whose_derivative_loses_its_digits_is_caught():
    def formula(g, x):
        return g * ((np.cos(x) + 1e4) - 1e4)

    made = Op(np.sin, "unary", [formula], name="rounded")
    check_gradients(recorder(made), V, order=1)
    with pytest.raises(GradientError, match="the VJP of rounded in float32"):
        check_gradients(recorder(made), V, order=1, against="float32")


def test_references_agree():
    check_gradients(outer, V, V, against=reference)


def test_references_that_differ_are_told():
    with pytest.raises(GradientError, match=r"outer, compared with wrong at index \(0, 1\): got .* expected "):
        check_gradients(outer, V, V, against=_wrong)
    with pytest.raises(GradientError, match=r"the VJP of outer by input 0 \(x\), compared with detached"):
        check_gradients(outer, V, V, against=_detached)
    with pytest.raises(GradientError, match="gave 2 results, expected 1"):
        check_gradients(outer, V, V, against=_two)


def _two(x, y):
    return reference(x, y), x


def _wrong(x, y):
    return reference(x, y) + np.arange(3)


def _detached(x, y):
    return reference(tg.as_tensor(x).detach(), y)


_wrong.__name__, _detached.__name__ = "wrong", "detached"


@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_peers_agree_through_a_namespace(peer):
    pytest.importorskip(peer)
    check_gradients(bell, X, V, against=peer)
    check_gradients(bell, X.astype(np.float32), V.astype(np.float32), against=peer)


@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_peers_agree_on_complex_numbers_containers_and_constants(peer):
    pytest.importorskip(peer)

    def spectrum(pair, i, xp):
        return {"a": xp.abs(pair["z"] * xp.conj(pair["w"])) ** 2, "b": [xp.exp(pair["z"]), pair["w"][i]]}

    check_gradients(spectrum, {"z": Z, "w": Z[::-1].copy()}, np.array([0, 0]), against=peer)


def test_functions_written_for_torch_are_recognized():
    torch = pytest.importorskip("torch")

    def torch_bell(x, width):
        return torch.exp(-((x / width) ** 2))

    def faulty(x, width):
        return torch.exp(-((x / width.detach()) ** 2))

    check_gradients(lambda x, width: bell(x, width, np), X, V, against=torch_bell)
    with pytest.raises(GradientError, match=r"by input 1 \(width\), compared with torch"):
        check_gradients(lambda x, width: bell(x, width, np), X, V, against=faulty)


def test_functions_written_for_jax_are_recognized():
    jax = pytest.importorskip("jax")

    def jax_bell(x, width):
        return jax.numpy.exp(-((x / width) ** 2))

    check_gradients(lambda x, width: bell(x, width, np), X, V, against=jax_bell)


def test_what_a_peer_cannot_do_is_explained():
    pytest.importorskip("torch")

    def numpys(x, xp):
        return np.sort(xp.sin(x))

    with pytest.raises(GradientError, match="numpys on arrays of torch raised"):
        check_gradients(numpys, V, against="torch")


def test_functions_without_a_namespace_are_told_how():
    with pytest.raises(ValueError, match=r"must take the array namespace as a parameter xp \(def outer\(..., xp=np\)"):
        check_gradients(outer, V, V, against="torch")


def test_misspelled_peers_are_told():
    with pytest.raises(ValueError, match="got against='tensorflow', expected 'float32', 'strict'"):
        check_gradients(outer, V, V, against="tensorflow")


def test_absent_peers_are_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingPackageError, match="a comparison with torch needs the package torch"):
        check_gradients(bell, X, V, against="torch")


def test_a_namespace_is_numpy_unless_compared():
    check_gradients(bell, X, V)
    check_gradients(bell, strict.asarray(X), strict.asarray(V))
