"""The seed network in the older style: a graph of nodes is built first, sorted, and run; beside the tape.

Each node knows its inputs and has its own forward and backward. Before anything runs, the nodes are put in topological
order; forward passes follow it, backward passes its reverse. A tape needs none of this: operations are recorded as they
happen, and the order in which things happened is a topological order already. The program trains the network both ways,
shows that they agree, and measures what each costs.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Node:
    """A step of a computation: where its inputs come from, and how it and its derivatives follow from them.

    Raises ValueError if an input comes twice, because `gradients` has room for one derivative by each.
    """

    def __init__(self, *inputs: Node) -> None:
        if len(set(inputs)) < len(inputs):
            raise ValueError("got a node twice among the inputs of another, expected each once")
        self.inputs = inputs
        self.outputs: list[Node] = []
        for node in inputs:
            node.outputs.append(self)
        self.value: Any = None
        # The derivative of the loss by each input's value.
        self.gradients: dict[Node, Any] = {}

    def forward(self) -> None:
        """Set `value` from the values of the inputs."""

    def backward(self) -> None:
        """Set `gradients` from those of the nodes that this one goes into."""

    def cotangent(self) -> Any:
        """Return the derivative of the loss by this node's value: the sum over everything that it goes into."""
        return sum(node.gradients[self] for node in self.outputs)


class Input(Node):
    """A node without inputs: data, or a parameter, whose gradient is kept under the node itself."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def backward(self) -> None:
        self.gradients = {self: self.cotangent()}


class Linear(Node):
    """`x @ w + b` for a batch of rows `x`."""

    def __init__(self, x: Node, w: Node, b: Node) -> None:
        super().__init__(x, w, b)

    def forward(self) -> None:
        x, w, b = self.inputs
        self.value = x.value @ w.value + b.value

    def backward(self) -> None:
        x, w, b = self.inputs
        g = self.cotangent()
        self.gradients = {x: g @ w.value.T, w: x.value.T @ g, b: g.sum(axis=0)}


class Sigmoid(Node):
    """The logistic function."""

    def forward(self) -> None:
        self.value = 1 / (1 + np.exp(-self.inputs[0].value))

    def backward(self) -> None:
        self.gradients = {self.inputs[0]: self.cotangent() * self.value * (1 - self.value)}


class Tanh(Node):
    """The hyperbolic tangent."""

    def forward(self) -> None:
        self.value = np.tanh(self.inputs[0].value)

    def backward(self) -> None:
        self.gradients = {self.inputs[0]: self.cotangent() * (1 - self.value**2)}


class MSE(Node):
    """The mean of the squared differences between target and output, over all elements; the end of the graph."""

    def __init__(self, target: Node, output: Node) -> None:
        super().__init__(target, output)

    def forward(self) -> None:
        target, output = self.inputs
        self.value = np.mean((output.value - target.value) ** 2)

    def backward(self) -> None:
        # The mean is over the elements, so the derivative divides by their number, not by that of the rows.
        target, output = self.inputs
        slope = 2 * (output.value - target.value) / output.value.size
        self.gradients = {target: -slope, output: slope}


def topological_order(end: Node) -> list[Node]:
    """Return all nodes that `end` depends on, each after its inputs (Kahn 1962).

    Raises
    ------
    ValueError
        If a node depends on itself.
    """
    found, missing = [end], {end: len(end.inputs)}
    for node in found:
        for source in node.inputs:
            if source not in missing:
                missing[source] = len(source.inputs)
                found.append(source)
    ready = [node for node in found if missing[node] == 0]
    for node in ready:
        for target in node.outputs:
            if target in missing:
                missing[target] -= 1
                if missing[target] == 0:
                    ready.append(target)
    if len(ready) < len(found):
        raise ValueError("got nodes that depend on themselves, expected an order in which each comes after its inputs")
    return ready


def run(order: Iterable[Node]) -> None:
    """Run all nodes forward in order and backward in reverse."""
    order = list(order)
    for node in order:
        node.forward()
    for node in reversed(order):
        node.backward()


class Network:
    """The seed network as a graph of nodes, on arrays of one device."""

    def __init__(self, device: str = "cpu") -> None:
        # Plain arrays, NumPy's or CuPy's: nodes know no tensors.
        x, target, w1, b1, w2, b2 = (
            Input(tg.tensor(a, device=device).data) for a in (INPUT[None], TARGET[None], W1, B1, W2, B2)
        )
        self.parameters = (w1, b1, w2, b2)
        self.output = Tanh(Linear(Sigmoid(Linear(x, w1, b1)), w2, b2))
        self.loss = MSE(target, self.output)
        self.order = topological_order(self.loss)

    def learn(self, rate: float) -> None:
        """Move the parameters against the gradients of the last run."""
        for p in self.parameters:
            p.value = p.value - rate * p.gradients[p]


def with_nodes(epochs: int = 10, rate: float = 0.1, device: str = "cpu") -> Iterator[State]:
    """Yield the states of the network, trained as a graph of nodes."""
    network = Network(device)
    for _ in range(epochs + 1):
        run(network.order)
        values = [network.loss.value, network.output.value[0], *(p.value for p in network.parameters)]
        yield State(*(np.array(tg.as_tensor(value).numpy()) for value in values))
        network.learn(rate)


def costs(rate: float = 0.1, device: str = "cpu", repeats: int = 7, steps: int = 200) -> tuple[float, float]:
    """Return the seconds of one training step on nodes and on the tape: medians of runs that take turns."""
    network = Network(device)
    parameters: list[Any] = [tg.tensor(a, device=device, requires_grad=True) for a in (W1, B1, W2, B2)]
    w1, b1, w2, b2 = parameters
    x, target = (tg.tensor(a, device=device) for a in (INPUT[None], TARGET[None]))

    def step_on_nodes() -> None:
        run(network.order)
        network.learn(rate)
        network.loss.value.item()

    def step_on_tape() -> None:
        hidden = 1 / (1 + np.exp(-(x @ w1 + b1)))
        output = np.tanh(hidden @ w2 + b2)
        loss: Any = np.mean((output - target) ** 2)
        loss.backward()
        for p in parameters:
            p.data = p.data - rate * p.grad.data
            p.grad = None
        loss.item()

    def seconds(step: Callable[[], None]) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - start) / steps

    pairs = [(seconds(step_on_nodes), seconds(step_on_tape)) for _ in range(repeats)]
    return statistics.median(n for n, _ in pairs), statistics.median(t for _, t in pairs)


def main(argv: Sequence[str] | None = None) -> None:
    """Train on nodes and on the tape, compare, and measure; see `--help`."""
    options = arguments(__doc__).parse_args(argv)
    try:
        with tg.device(options.device):
            network = Network(options.device)
            nodes = list(with_nodes(options.epochs, options.rate, options.device))
            tape = list(with_tensors(options.epochs, options.rate, options.device))
        print("order of the nodes:", ", ".join(type(node).__name__ for node in network.order), "\n")
        show(nodes)
        print(f"largest difference of any number in any epoch from the tape: {largest_difference(nodes, tape):.1e}")
        with tg.device(options.device):
            on_nodes, on_tape = costs(options.rate, options.device)
        print(f"one step: {on_nodes * 1e6:.1f} µs on nodes, {on_tape * 1e6:.1f} µs on the tape")
        print(
            f"the tape costs {on_tape / on_nodes:.2f} times as much, and needs no nodes, no order, no backward to write"
        )
    except TapegradError as error:
        sys.exit(f"node_graph: {error}")


if __name__ == "__main__":
    main()
