"""The seed network in the style of the classic module libraries: layers with forward and backward; beside the tape.

Each layer computes its output from its input, the gradient of its input from that of its output, and adds to the
gradients of its parameters. A container calls the layers in order, and backward in reverse order. So whoever writes a
layer writes two derivatives, and whoever arranges layers in another way than one after the other writes a container. On
the tape, the forward pass is all there is. The program trains the network both ways and shows that they agree.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import tapegrad as tg
from tapegrad.errors import TapegradError
from tapegrad.examples.seed_network import (
    B1,
    B2,
    INPUT,
    TARGET,
    W1,
    W2,
    State,
    arguments,
    largest_difference,
    show,
    with_tensors,
)


class Layer:
    """A function of one input that keeps its last output and the last gradient of its input."""

    output: Any = None
    grad_input: Any = None

    def update_output(self, x: Any) -> Any:
        """Set `output` to that for the input `x`, and return it; a layer without it passes its input on."""
        self.output = x
        return self.output

    def update_grad_input(self, x: Any, grad_output: Any) -> Any:
        """Set `grad_input` to the gradient by the input `x`, and return it; after `update_output(x)`."""
        self.grad_input = grad_output
        return self.grad_input

    def accumulate_grad_parameters(self, x: Any, grad_output: Any) -> None:
        """Add to the gradients of the parameters; a layer without it has none."""

    def parameters(self) -> list[tuple[Any, Any]]:
        """Return the parameters, each with its gradient."""
        return []

    def forward(self, x: Any) -> Any:
        """Return the output for `x`."""
        return self.update_output(x)

    def backward(self, x: Any, grad_output: Any) -> Any:
        """Return the gradient by `x`, and add to the gradients of the parameters."""
        self.update_grad_input(x, grad_output)
        self.accumulate_grad_parameters(x, grad_output)
        return self.grad_input

    def zero_grad_parameters(self) -> None:
        """Set the gradients of the parameters to zero."""
        for _, gradient in self.parameters():
            gradient[...] = 0

    def update_parameters(self, rate: float) -> None:
        """Move the parameters against their gradients."""
        for parameter, gradient in self.parameters():
            parameter -= rate * gradient


class Linear(Layer):
    """`x @ weight + bias` for a batch of rows `x`."""

    def __init__(self, weight: Any, bias: Any) -> None:
        self.weight, self.bias = weight.copy(), bias.copy()
        self.grad_weight, self.grad_bias = np.zeros_like(weight), np.zeros_like(bias)

    def update_output(self, x: Any) -> Any:
        self.output = x @ self.weight + self.bias
        return self.output

    def update_grad_input(self, x: Any, grad_output: Any) -> Any:
        self.grad_input = grad_output @ self.weight.T
        return self.grad_input

    def accumulate_grad_parameters(self, x: Any, grad_output: Any) -> None:
        self.grad_weight += x.T @ grad_output
        self.grad_bias += grad_output.sum(axis=0)

    def parameters(self) -> list[tuple[Any, Any]]:
        return [(self.weight, self.grad_weight), (self.bias, self.grad_bias)]


class Sigmoid(Layer):
    """The logistic function."""

    def update_output(self, x: Any) -> Any:
        self.output = 1 / (1 + np.exp(-x))
        return self.output

    def update_grad_input(self, x: Any, grad_output: Any) -> Any:
        self.grad_input = grad_output * self.output * (1 - self.output)
        return self.grad_input


class Tanh(Layer):
    """The hyperbolic tangent."""

    def update_output(self, x: Any) -> Any:
        self.output = np.tanh(x)
        return self.output

    def update_grad_input(self, x: Any, grad_output: Any) -> Any:
        self.grad_input = grad_output * (1 - self.output**2)
        return self.grad_input


class Sequential(Layer):
    """A container: its layers, one after the other."""

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    def _inputs(self, x: Any) -> list[Any]:
        """Return what each layer got in the last forward pass of `x`."""
        return [x, *(layer.output for layer in self.layers[:-1])]

    def update_output(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer.update_output(x)
        self.output = x
        return self.output

    def update_grad_input(self, x: Any, grad_output: Any) -> Any:
        for layer, taken in zip(reversed(self.layers), reversed(self._inputs(x)), strict=True):
            grad_output = layer.update_grad_input(taken, grad_output)
        self.grad_input = grad_output
        return self.grad_input

    def accumulate_grad_parameters(self, x: Any, grad_output: Any) -> None:
        gradients = [*(layer.grad_input for layer in self.layers[1:]), grad_output]
        for layer, taken, gradient in zip(self.layers, self._inputs(x), gradients, strict=True):
            layer.accumulate_grad_parameters(taken, gradient)

    def parameters(self) -> list[tuple[Any, Any]]:
        return [pair for layer in self.layers for pair in layer.parameters()]


class MSECriterion:
    """The mean of the squared differences between output and target: the end that starts the backward pass."""

    def update_output(self, output: Any, target: Any) -> Any:
        """Return the loss."""
        return np.mean((output - target) ** 2)

    def update_grad_input(self, output: Any, target: Any) -> Any:
        """Return the gradient of the loss by the output."""
        return 2 * (output - target) / output.size


def with_layers(epochs: int = 10, rate: float = 0.1, device: str = "cpu") -> Iterator[State]:
    """Yield the states of the network, trained as a container of layers."""
    # Plain arrays, NumPy's or CuPy's: layers know no tensors.
    x, target, w1, b1, w2, b2 = (tg.tensor(a, device=device).data for a in (INPUT[None], TARGET[None], W1, B1, W2, B2))
    model = Sequential(Linear(w1, b1), Sigmoid(), Linear(w2, b2), Tanh())
    criterion = MSECriterion()
    for _ in range(epochs + 1):
        output = model.forward(x)
        loss = criterion.update_output(output, target)
        values = [loss, output[0], *(parameter for parameter, _ in model.parameters())]
        yield State(*(np.array(tg.as_tensor(value).numpy()) for value in values))

        model.zero_grad_parameters()
        model.backward(x, criterion.update_grad_input(output, target))
        model.update_parameters(rate)


def main(argv: Sequence[str] | None = None) -> None:
    """Train with layers and on the tape, and compare; see `--help`."""
    options = arguments(__doc__).parse_args(argv)
    try:
        with tg.device(options.device):
            layers = list(with_layers(options.epochs, options.rate, options.device))
            tape = list(with_tensors(options.epochs, options.rate, options.device))
        show(layers)
        print(f"largest difference of any number in any epoch from the tape: {largest_difference(layers, tape):.1e}")
    except TapegradError as error:
        sys.exit(f"layer_backprop: {error}")


if __name__ == "__main__":
    main()
