"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._optimizer import Optimizer, blocks, fresh, require

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay if wanted; PyTorch's formulas.

    With parameter `p`, gradient `g`, rate `lr`, and `b` the running sum that momentum keeps, which starts as the first
    `g`:

        g = g + weight_decay * p
        b = momentum * b + (1 - dampening) * g
        p = p - lr * b                            or, with nesterov: p - lr * (g + momentum * b)

    Source: Sutskever, Martens, Dahl & Hinton 2013, "On the importance of initialization and momentum in deep
    learning"; there the rate is inside `b`.

    Parameters
    ----------
    parameters : tensors with `requires_grad`, named ones, or groups: see `Optimizer`
    lr : the rate
    momentum : how much of `b` stays
    dampening : how much of each new gradient is left out of `b`
    weight_decay : the factor of `p` that is added to its gradient
    nesterov : whether to look ahead; needs a momentum and no dampening

    Raises
    ------
    ValueError
        If an option is out of its range, or there are no parameters; see also `Optimizer`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from tapegrad import optim
    >>> w = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1. ], requires_grad=True)
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def check(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of `group` is out of its range."""
        require(group, "lr", 0)
        require(group, "momentum", 0)
        require(group, "dampening", 0)
        require(group, "weight_decay", 0)
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("got nesterov=True, expected with it a momentum above 0 and dampening=0")

    def update(self, group: dict[str, Any]) -> None:
        """Change the parameters of `group` that have a gradient."""
        # Python numbers, because a schedule may set NumPy's, which would widen float32.
        rate, momentum, decay = float(group["lr"]), float(group["momentum"]), float(group["weight_decay"])
        taken = 1 - float(group["dampening"])
        nesterov = group["nesterov"]
        for parameter, array, grad in self.pending(group):
            buffer = None
            share = taken
            if momentum:
                state = self.state_of(parameter)
                buffer = state.get("momentum_buffer")
                if buffer is None:
                    buffer = state["momentum_buffer"] = fresh(array)
                    share = 1.0
            for p, g, b in blocks(array, grad, buffer):
                if decay:
                    g = g + decay * p
                if momentum:
                    b *= momentum
                    b += g if share == 1 else share * g
                    g = g + momentum * b if nesterov else b
                p -= rate * g
