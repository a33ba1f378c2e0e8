"""How each library differentiates a problem: one small class per library, all with the same two methods.

A problem's loss is written once, in a namespace of functions that every library has under NumPy's names, plus the few
functions of neural networks that each library has in its own, fused form. `prepare` turns a problem into a step that
computes the gradients (and updates the parameters, where the problem has a rate); the step is all that is ever timed.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

Step = Callable[[], Sequence[Any]]

SHARED = "exp tanh sin sum mean maximum reshape swapaxes"
"""The functions that a loss may use under NumPy's names, besides `dot`, operators and indexing."""


@dataclass(frozen=True)
class Problem:
    """One computation, with the numbers it works on, for any library.

    Attributes
    ----------
    loss : `loss(np, *constants, *parameters)`, a number, written in the functions of the namespace `np`
    hand : the same loss, and its gradients by the parameters, written by hand in NumPy
    constants, parameters : NumPy arrays
    rate : if given, a step ends with `parameter -= rate * gradient`
    operations : the operations that a step's time is divided by, if it is told per operation
    """

    loss: Callable[..., Any]
    hand: Callable[..., tuple[Any, Sequence[Any]]]
    constants: Sequence[np.ndarray]
    parameters: Sequence[np.ndarray]
    rate: float | None = None
    operations: int | None = None


class Framework:
    """A library that can prepare steps."""

    name = ""
    package = ""
    namespace: SimpleNamespace

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        """Import the library and set it to `threads` threads."""

    def prepare(self, problem: Problem) -> Step:
        """Return a function that computes the gradients of `problem`, in fresh memory of its own."""
        raise TypeError(f"{type(self).__name__} prepares no steps")

    def wait(self, result: Any) -> None:
        """Return when all work that was started is done."""

    def host(self, array: Any) -> np.ndarray:
        """Return a gradient as a NumPy array."""
        return np.asarray(array)


def _namespace(module: Any, **functions: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: getattr(module, name) for name in SHARED.split()} | functions)


def _library(device: str) -> Any:
    """Return numpy, or for a CUDA device cupy.

    Raises
    ------
    ImportError, RuntimeError
        If cupy is not installed, or finds no device.
    """
    if device == "cpu":
        return np
    cupy = importlib.import_module("cupy")
    cupy.cuda.runtime.getDeviceCount()
    return cupy


def _wait(library: Any) -> None:
    """Return when the work started through numpy or cupy is done."""
    if library is not np:
        library.cuda.Device().synchronize()


class Hand(Framework):
    """NumPy (on a CUDA device CuPy) alone, with the derivative written by hand."""

    name = "hand"
    package = "numpy"

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        self.library = _library(device)

    def prepare(self, problem: Problem) -> Step:
        library, hand, rate = self.library, problem.hand, problem.rate
        constants = [library.array(a) for a in problem.constants]
        # Numbers are NumPy's scalars, as they are inside tapegrad: arithmetic on 0-d arrays is several times slower.
        parameters = [library.array(a)[()] for a in problem.parameters]

        def step() -> Sequence[Any]:
            _, grads = hand(library, *constants, *parameters)
            if rate is not None:
                for p, g in zip(parameters, grads, strict=True):
                    p -= rate * g
            return grads

        return step

    def wait(self, result: Any) -> None:
        _wait(self.library)

    def host(self, array: Any) -> np.ndarray:
        return np.asarray(array.get() if hasattr(array, "get") else array)


class Eager(Framework):
    """tapegrad and PyTorch, whose steps read alike."""

    no_grad: Callable[[], Any]

    def tensor(self, array: np.ndarray) -> Any:
        """Return a tracked copy of a parameter."""

    def constant(self, array: np.ndarray) -> Any:
        """Return a copy of an array that no derivative is taken by."""

    def tracked(self, problem: Problem) -> tuple[Callable[[], Any], list[Any]]:
        """Return a function that computes the loss, and the parameters that it is computed from."""
        namespace, loss = self.namespace, problem.loss
        constants = [self.constant(a) for a in problem.constants]
        parameters = [self.tensor(a) for a in problem.parameters]
        return lambda: loss(namespace, *constants, *parameters), parameters

    def prepare(self, problem: Problem) -> Step:
        rate, no_grad = problem.rate, self.no_grad
        forward, parameters = self.tracked(problem)

        def step() -> Sequence[Any]:
            for p in parameters:
                p.grad = None
            forward().backward()
            if rate is not None:
                with no_grad():
                    for p in parameters:
                        p -= rate * p.grad
            return [p.grad for p in parameters]

        return step


class Tapegrad(Eager):
    """NumPy's own functions on tapegrad's tensors."""

    name = package = "tapegrad"

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        import tapegrad

        self.tapegrad, self.no_grad = tapegrad, tapegrad.no_grad
        self.library = _library(device)

        self.namespace = _namespace(
            np,
            dot=np.dot,
            sigmoid=tapegrad.sigmoid,
            relu=tapegrad.relu,
            gelu=lambda x: tapegrad.gelu(x, approximate="tanh"),
            cross_entropy=tapegrad.cross_entropy,
            layer_norm=tapegrad.layer_norm,
            linear=tapegrad.linear,
            attention=tapegrad.scaled_dot_product_attention,
        )

    def tensor(self, array: np.ndarray) -> Any:
        return self.tapegrad.tensor(self.library.array(array), requires_grad=True)

    def constant(self, array: np.ndarray) -> Any:
        return self.tapegrad.tensor(self.library.array(array))

    def wait(self, result: Any) -> None:
        _wait(self.library)

    def host(self, array: Any) -> np.ndarray:
        return np.asarray(array.numpy())


class Torch(Eager):
    """PyTorch in eager mode, with its own fused functions."""

    name = package = "torch"

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        import torch
        from torch.nn import functional

        if device != "cpu" and not torch.cuda.is_available():
            raise RuntimeError("this PyTorch finds no CUDA device")
        torch.set_num_threads(threads)
        self.torch, self.no_grad = torch, torch.no_grad

        def attention(q: Any, k: Any, v: Any) -> Any:
            # On a CPU this is faster than torch.nn.functional.scaled_dot_product_attention, by a tenth.
            if device == "cpu":
                return torch.softmax(q @ torch.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1]), -1) @ v
            return functional.scaled_dot_product_attention(q, k, v)

        self.device = device
        self.namespace = _namespace(
            torch,
            dot=torch.dot,
            sigmoid=torch.sigmoid,
            relu=torch.relu,
            gelu=lambda x: functional.gelu(x, approximate="tanh"),
            cross_entropy=functional.cross_entropy,
            layer_norm=lambda x, w, b: functional.layer_norm(x, w.shape, w, b),
            linear=lambda x, w, b: torch.addmm(b, x, w),
            attention=attention,
        )

    def tensor(self, array: np.ndarray) -> Any:
        return self.torch.tensor(array, device=self.device, requires_grad=True)

    def constant(self, array: np.ndarray) -> Any:
        return self.torch.tensor(array, device=self.device)

    def wait(self, result: Any) -> None:
        if self.device != "cpu":
            self.torch.cuda.synchronize()

    def host(self, array: Any) -> np.ndarray:
        return array.cpu().numpy()


class Autograd(Framework):
    """HIPS autograd, the library that tapegrad's users would come from."""

    name = package = "autograd"

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        import autograd
        import autograd.numpy as anp
        from autograd.scipy.special import logsumexp

        self.grad = autograd.grad

        def softmax(x: Any) -> Any:
            e = anp.exp(x - anp.max(x, axis=-1, keepdims=True))
            return e / anp.sum(e, axis=-1, keepdims=True)

        def cross_entropy(x: Any, labels: Any) -> Any:
            return anp.mean(logsumexp(x, axis=1) - x[np.arange(len(labels)), labels])

        def layer_norm(x: Any, w: Any, b: Any) -> Any:
            c = x - anp.mean(x, axis=-1, keepdims=True)
            return c / anp.sqrt(anp.mean(c * c, axis=-1, keepdims=True) + 1e-5) * w + b

        self.namespace = _namespace(
            anp,
            dot=anp.dot,
            sigmoid=lambda x: 1 / (1 + anp.exp(-x)),
            relu=lambda x: anp.maximum(x, 0),
            gelu=lambda x: 0.5 * x * (1 + anp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
            cross_entropy=cross_entropy,
            layer_norm=layer_norm,
            linear=lambda x, w, b: anp.dot(x, w) + b,
            attention=lambda q, k, v: softmax(q @ anp.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])) @ v,
        )

    def prepare(self, problem: Problem) -> Step:
        namespace, loss, rate, constants = self.namespace, problem.loss, problem.rate, problem.constants
        parameters = [np.array(a)[()] for a in problem.parameters]
        gradients = self.grad(lambda parameters: loss(namespace, *constants, *parameters))

        def step() -> Sequence[Any]:
            grads = gradients(parameters)
            if rate is not None:
                for p, g in zip(parameters, grads, strict=True):
                    p -= rate * g
            return grads

        return step


class MyGrad(Framework):
    """MyGrad, with its defaults (memory guards on)."""

    name = package = "mygrad"

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        import mygrad
        from mygrad.nnet import relu, sigmoid, softmax, softmax_crossentropy

        self.tensor = mygrad.tensor

        def layer_norm(x: Any, w: Any, b: Any) -> Any:
            c = x - mygrad.mean(x, axis=-1, keepdims=True)
            return c / mygrad.sqrt(mygrad.mean(c * c, axis=-1, keepdims=True) + 1e-5) * w + b

        self.namespace = _namespace(
            mygrad,
            dot=mygrad.matmul,
            sigmoid=sigmoid,
            relu=relu,
            gelu=lambda x: 0.5 * x * (1 + mygrad.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
            cross_entropy=softmax_crossentropy,
            layer_norm=layer_norm,
            linear=lambda x, w, b: x @ w + b,
            attention=lambda q, k, v: softmax(q @ mygrad.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])) @ v,
        )

    def prepare(self, problem: Problem) -> Step:
        namespace, loss, rate, constants = self.namespace, problem.loss, problem.rate, problem.constants
        parameters = [self.tensor(a) for a in problem.parameters]

        def step() -> Sequence[Any]:
            loss(namespace, *constants, *parameters).backward()
            grads: list[Any] = [p.grad for p in parameters]
            if rate is not None:
                for p, g in zip(parameters, grads, strict=True):
                    p.data -= rate * g
            return grads

        return step


class Jax(Framework):
    """JAX in eager mode: each operation on its own, as a program is while it is being written."""

    name = package = "jax"

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax = jax
        nn = jax.nn

        def cross_entropy(x: Any, labels: Any) -> Any:
            picked = jax.numpy.take_along_axis(nn.log_softmax(x), labels[:, None], axis=1)
            return -jax.numpy.mean(picked)

        def layer_norm(x: Any, w: Any, b: Any) -> Any:
            return nn.standardize(x, epsilon=1e-5) * w + b

        self.namespace = _namespace(
            jax.numpy,
            dot=jax.numpy.dot,
            sigmoid=nn.sigmoid,
            relu=nn.relu,
            gelu=nn.gelu,
            cross_entropy=cross_entropy,
            layer_norm=layer_norm,
            linear=lambda x, w, b: x @ w + b,
            attention=lambda q, k, v: nn.softmax(q @ jax.numpy.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])) @ v,
        )

    def prepare(self, problem: Problem) -> Step:
        namespace, loss, rate = self.namespace, problem.loss, problem.rate
        constants = [self.jax.numpy.asarray(a) for a in problem.constants]
        parameters = [self.jax.numpy.asarray(a) for a in problem.parameters]
        gradients = self.jax.grad(lambda parameters: loss(namespace, *constants, *parameters))

        def step() -> Sequence[Any]:
            grads = gradients(parameters)
            if rate is not None:
                parameters[:] = [p - rate * g for p, g in zip(parameters, grads, strict=True)]
            return grads

        return step

    def wait(self, result: Any) -> None:
        self.jax.block_until_ready(result)


FRAMEWORKS: dict[str, type[Framework]] = {f.name: f for f in (Tapegrad, Hand, Torch, Autograd, MyGrad, Jax)}
ON_DEVICE = ("tapegrad", "hand", "torch")


def installed(device: str = "cpu") -> list[str]:
    """Return the names of the libraries that can run here on `device`."""
    names = FRAMEWORKS if device == "cpu" else ON_DEVICE
    return [name for name in names if importlib.util.find_spec(FRAMEWORKS[name].package) is not None]
