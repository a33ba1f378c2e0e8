"""Ten epochs of a small perceptron, written three ways that agree: by hand, with tensors, with modules.

Three inputs, four sigmoid units, two tanh outputs; mean squared error, plain gradient descent. The first way is
backpropagation as one derives it on paper, in NumPy alone. The second is the same forward pass on tensors: the backward
pass is gone from the program. The third says which layers there are and leaves the rest to nn and optim. The program
prints the outputs as they move toward the target, and draws them with both weight matrices over the epochs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import MissingPackageError, TapegradError

INPUT = np.array([1.0, 2.0, 3.0])
TARGET = np.array([-0.85, 0.75])
W1 = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [0.9, 1.0, 1.1, 1.2]])
B1 = np.array([-2.0, -6.0, -1.0, -7.0])
W2 = np.array([[1.3, 1.4], [1.5, 1.6], [1.7, 1.8], [1.9, 2.0]])
B2 = np.array([-2.5, -5.0])


class State(NamedTuple):
    """The network in one epoch, before its parameters change: what it answers, and what it consists of."""

    loss: Any
    output: Any
    w1: Any
    b1: Any
    w2: Any
    b2: Any


def by_hand(epochs: int = 10, rate: float = 0.1) -> Iterator[State]:
    """Yield the states of the network, trained by backpropagation derived on paper."""
    w1, b1, w2, b2 = (a.copy() for a in (W1, B1, W2, B2))
    for _ in range(epochs + 1):
        hidden = 1 / (1 + np.exp(-(INPUT @ w1 + b1)))
        output = np.tanh(hidden @ w2 + b2)
        error = output - TARGET
        yield State(np.mean(error**2), output, w1, b1, w2, b2)

        g_output = 2 * error / error.size
        g_above = g_output * (1 - output**2)
        g_hidden = w2 @ g_above
        g_below = g_hidden * hidden * (1 - hidden)
        w2, b2 = w2 - rate * np.outer(hidden, g_above), b2 - rate * g_above
        w1, b1 = w1 - rate * np.outer(INPUT, g_below), b1 - rate * g_below


def with_tensors(epochs: int = 10, rate: float = 0.1, device: str = "cpu") -> Iterator[State]:
    """Yield the states of the network, written as its forward pass alone, on tensors."""
    parameters: list[Any] = [tg.tensor(a, device=device, requires_grad=True) for a in (W1, B1, W2, B2)]
    w1, b1, w2, b2 = parameters
    x, target = (tg.tensor(a, device=device) for a in (INPUT, TARGET))
    for _ in range(epochs + 1):
        hidden = 1 / (1 + np.exp(-(x @ w1 + b1)))
        output = np.tanh(hidden @ w2 + b2)
        loss: Any = np.mean((output - target) ** 2)
        yield _on_host(loss, output, *parameters)

        loss.backward()
        with tg.no_grad():
            for p in parameters:
                p -= rate * p.grad
                p.grad = None


def with_modules(epochs: int = 10, rate: float = 0.1, device: str = "cpu") -> Iterator[State]:
    """Yield the states of the network, made of modules and trained by an optimizer."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2), nn.Tanh())
    model.load_state_dict({"0.weight": W1, "0.bias": B1, "2.weight": W2, "2.bias": B2})
    model.to(device)
    x, target = (tg.tensor(a, device=device) for a in (INPUT, TARGET))
    squared_error = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=rate)
    for _ in range(epochs + 1):
        output = model(x)
        loss = squared_error(output, target)
        yield _on_host(loss, output, *model.parameters())

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _on_host(*tensors: Any) -> State:
    """Return copies of the values as NumPy arrays."""
    return State(*(np.array(t.detach().numpy()) for t in tensors))


def largest_difference(ours: Sequence[State], theirs: Sequence[State]) -> float:
    """Return the largest difference between any two numbers of two runs."""
    return max(
        float(np.max(np.abs(a - b), initial=0))
        for one, other in zip(ours, theirs, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def draw(states: Sequence[State], path: str | Path) -> None:
    """Write a picture of the outputs and of both weight matrices over the epochs: three heat maps, one PNG.

    The numbers are values. Outputs are colored by value; weights by how far they have come since the start, because
    that is what training does to them. Of more than 21 epochs, 21 are shown.

    Raises
    ------
    MissingPackageError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError.of("matplotlib", "drawing the heat maps", "demo") from error

    epochs = np.unique(np.linspace(0, len(states) - 1, min(len(states), 21)).round().astype(int))
    output, w1, w2 = (
        np.column_stack([getattr(states[i], name).ravel() for i in epochs]) for name in ("output", "w1", "w2")
    )
    w1_names = [f"x{i + 1} → h{j + 1}" for i, j in np.ndindex(W1.shape)]
    w2_names = [f"h{i + 1} → y{j + 1}" for i, j in np.ndindex(W2.shape)]

    figure = Figure(figsize=(2.6 + 0.64 * (len(epochs) + 1.4), 9.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("A 3-4-2 perceptron learns one example", fontsize=15, fontweight="bold")
    panels = figure.subplots(3, 1, height_ratios=[2, 12, 8])
    _heat_map(panels[0], "Outputs", ["y1", "y2"], epochs, output, output, "target", TARGET, 1.0)
    for panel, title, names, weights in (
        (panels[1], "Weights of the first layer, $w_1$", w1_names, w1),
        (panels[2], "Weights of the second layer, $w_2$", w2_names, w2),
    ):
        change = weights - weights[:, :1]
        limit = max(float(np.abs(change).max()), 1e-12)
        _heat_map(panel, title, names, epochs, weights, change, "change", change[:, -1], limit)
    panels[2].set_xlabel("epoch", fontsize=10)
    figure.savefig(path, dpi=130)


def _heat_map(
    panel: Any,
    title: str,
    names: Sequence[str],
    epochs: Any,
    values: Any,
    colors: Any,
    last_name: str,
    last: Any,
    limit: float,
) -> None:
    """Draw `values` over `epochs`, one row for each name, colored by `colors`, and the column `last` set apart."""
    rows, columns = values.shape
    apart = columns + 0.4
    edges = np.arange(rows + 1)
    style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "edgecolors": "white", "linewidth": 1.5}
    panel.pcolormesh(np.arange(columns + 1), edges, colors, **style)
    image = panel.pcolormesh(np.array([apart, apart + 1]), edges, last[:, None], **style)
    meaning = "value" if last_name == "target" else "change since epoch 0"
    panel.figure.colorbar(image, ax=panel, label=meaning, pad=0.015, aspect=max(4, 1.7 * rows), fraction=0.04)
    signed = "+.2f" if last_name == "change" else ".2f"
    cells = [(c + 0.5, r + 0.5, f"{values[r, c]:.2f}", colors[r, c]) for r, c in np.ndindex(values.shape)]
    cells += [(apart + 0.5, r + 0.5, f"{last[r]:{signed}}", last[r]) for r in range(rows)]
    for x, y, text, color in cells:
        shade = "white" if abs(color) > 0.55 * limit else "#222222"
        panel.text(x, y, text.replace("-", "−"), ha="center", va="center", fontsize=8.5, color=shade)
    panel.set_title(title, loc="left", fontsize=11.5)
    panel.set_yticks(np.arange(rows) + 0.5, names, fontsize=9)
    panel.set_xticks([*(np.arange(columns) + 0.5), apart + 0.5], [*map(str, epochs), last_name], fontsize=9)
    panel.invert_yaxis()
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for what the examples on this network have in common."""
    summary, _, details = (description or "").partition("\n\n")
    parser = argparse.ArgumentParser(description=summary, epilog=" ".join(details.split()))
    parser.add_argument("--epochs", type=_count, default=10, metavar="N", help="how often to learn (default: 10)")
    parser.add_argument("--rate", type=_rate, default=0.1, help="the step along the gradient (default: 0.1)")
    parser.add_argument("--device", default="cpu", help="where tensors live: cpu, cuda or cuda:N (default: cpu)")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected at least 1")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < np.inf:
        raise argparse.ArgumentTypeError(f"got {text}, expected a positive number")
    return value


def show(states: Sequence[State]) -> None:
    """Print outputs and losses: every epoch, or about ten of them."""
    print("epoch   outputs             loss")
    step = max(1, (len(states) - 1) // 10)
    for epoch in sorted({*range(0, len(states), step), len(states) - 1}):
        state = states[epoch]
        print(f"{epoch:5}   {state.output[0]:7.4f}  {state.output[1]:7.4f}   {float(state.loss):.6f}")
    print(f"target  {TARGET[0]:7.4f}  {TARGET[1]:7.4f}\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, compare, print and draw; see `--help`."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--output", type=Path, default=Path(), metavar="DIR", help="the picture's folder (default: here)"
    )
    options = parser.parse_args(argv)
    try:
        hand = list(by_hand(options.epochs, options.rate))
        with tg.device(options.device):
            tensors = list(with_tensors(options.epochs, options.rate, options.device))
            modules = list(with_modules(options.epochs, options.rate, options.device))
        show(hand)
        print("largest difference of any number in any epoch from backpropagation by hand")
        print(f"  plain tensors  {largest_difference(hand, tensors):.1e}")
        print(f"  nn and optim   {largest_difference(hand, modules):.1e}")
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / "seed_network.png"
        draw(tensors, path)
        print(f"\nheat maps of the epochs: {path}")
    except (TapegradError, OSError) as error:
        sys.exit(f"seed_network: {error}")


if __name__ == "__main__":
    main()
