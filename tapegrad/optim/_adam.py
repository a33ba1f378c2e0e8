"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._optimizer import Optimizer, blocks, fresh, require

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: steps along the running mean of gradients, divided by the root of the running mean of their squares.

    With parameter `p`, gradient `g`, and `m`, `v` starting at zero, in step `n`:

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p = p - lr * m / (1 - beta1**n) / (sqrt(v / (1 - beta2**n)) + eps)

    Complex parameters are treated as pairs of real ones, as in PyTorch. 16-bit parameters have `m` and `v` in single
    precision.

    Source: Kingma & Ba 2015, "Adam: a method for stochastic optimization".

    Parameters
    ----------
    parameters : tensors with `requires_grad`, named ones, or groups: see `Optimizer`
    lr : the rate
    betas : how much of `m` and of `v` stays
    eps : keeps the divisor away from zero
    weight_decay : the factor of `p` that is added to its gradient

    Raises
    ------
    ValueError
        If an option is out of its range, or there are no parameters; see also `Optimizer`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from tapegrad import optim
    >>> w = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.Adam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.75, -1.75], requires_grad=True)
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def check(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of `group` is out of its range."""
        require(group, "lr", 0)
        require(group, "eps", 0)
        require(group, "weight_decay", 0)
        if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
            raise ValueError(f"got betas={group['betas']!r}, expected two numbers")
        require(group, "betas", 0, 1)

    def update(self, group: dict[str, Any]) -> None:
        """Change the parameters of `group` that have a gradient."""
        # Python numbers, because a schedule may set NumPy's, which would widen float32.
        rate, eps, decay = float(group["lr"]), float(group["eps"]), float(group["weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        shrink = 1 - rate * decay if self.decoupled else 1.0
        decay = 0.0 if self.decoupled else decay
        for parameter, array, grad in self.pending(group):
            state = self.state_of(parameter)
            if not state:
                state.update(step=0, m=fresh(array), v=fresh(array))
            n = state["step"] = state["step"] + 1
            # The two corrections are numbers, so they are moved out of the arrays: sqrt(v / c) = sqrt(v) / sqrt(c).
            root = math.sqrt(1 - beta2**n)
            scaled_eps = eps * root
            scaled_rate = rate * root / (1 - beta1**n)
            for p, g, m, v in blocks(array, grad, state["m"], state["v"]):
                if shrink != 1:
                    p *= shrink
                if decay:
                    g = g + decay * p
                s = (1 - beta1) * g
                m *= beta1
                m += s
                # From here on `s` is reused: every further temporary would be another pass through memory.
                np.multiply(g, g, out=s)
                s *= 1 - beta2
                v *= beta2
                v += s
                np.sqrt(v, out=s)
                s += scaled_eps
                np.divide(m, s, out=s)
                s *= scaled_rate
                p -= s


class AdamW(Adam):
    """Adam with decoupled weight decay: before the step the parameter shrinks, `p = (1 - lr * weight_decay) * p`.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization".

    Parameters
    ----------
    parameters, lr, betas, eps : as in `Adam`
    weight_decay : how fast parameters shrink

    Examples
    --------
    >>> import tapegrad as tg
    >>> from tapegrad import optim
    >>> w = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.AdamW([w], lr=0.25, weight_decay=1.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5 , -1.25], requires_grad=True)
    """

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)
