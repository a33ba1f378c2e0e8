"""tapegrad: derivatives of NumPy and CuPy programs, by a tape.

Wrap arrays in tensors, write ordinary NumPy, call `backward()`:

>>> import numpy as np
>>> import tapegrad as tg
>>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> loss = np.sum(np.sin(x) ** 2)
>>> loss.backward()
>>> x.grad
tensor([ 0.90929743, -0.7568025 , -0.2794155 ])

Or differentiate a function:

>>> tg.grad(lambda x: np.sum(np.sin(x) ** 2))(np.array([1.0, 2.0, 3.0]))
tensor([ 0.90929743, -0.7568025 , -0.2794155 ])

Derivatives of derivatives, in reverse and forward mode, in any nesting:

>>> tg.grad(tg.grad(np.sin))(0.5)
tensor(-0.47942554)
>>> tg.jvp(tg.grad(np.sin), (0.5,), (1.0,))
(tensor(0.87758256), tensor(-0.47942554))

`tapegrad.nn` and `tapegrad.optim` train networks, `python -m tapegrad` trains one on handwritten digits.
"""

from . import errors, random
from ._custom import custom_rule
from ._explain import explain
from ._faults import detect_anomaly
from ._modes import strict
from ._tape import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from ._tensor import OPS, Tensor, strong_zero
from ._transforms import (
    elementwise_grad,
    grad,
    gradients,
    hessian,
    hvp,
    jacobian,
    jvp,
    linearize,
    stop_gradient,
    value_and_grad,
    vjp,
)
from ._tree import register_container
from .ops.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from .ops.neural import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    elu,
    gelu,
    layer_norm,
    leaky_relu,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
)

# The methods of Tensor are attached from the table that the chapters of ops have filled.
from . import _methods  # isort: skip

__version__ = "0.1.0"

__all__ = [
    "Tensor",
    "arange",
    "as_tensor",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "custom_rule",
    "detect_anomaly",
    "elementwise_grad",
    "elu",
    "empty",
    "empty_like",
    "enable_grad",
    "errors",
    "explain",
    "eye",
    "full",
    "full_like",
    "gelu",
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "jvp",
    "layer_norm",
    "leaky_relu",
    "linearize",
    "linspace",
    "log_softmax",
    "logsumexp",
    "no_grad",
    "ones",
    "ones_like",
    "random",
    "register_container",
    "relu",
    "set_grad_enabled",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "stack",
    "stop_gradient",
    "strict",
    "strong_zero",
    "tensor",
    "value_and_grad",
    "vjp",
    "zeros",
    "zeros_like",
]

_methods.attach()

stack = OPS["stack"]
