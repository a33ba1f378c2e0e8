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

import importlib
from typing import TYPE_CHECKING, Any

from . import errors, random
from ._array import deterministic, device
from ._checkpoint import checkpoint
from ._custom import custom_rule
from ._mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from ._strict import strict
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
    from_dlpack,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from .ops.layers import linear, scaled_dot_product_attention
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

if TYPE_CHECKING:
    from . import linalg, special
    from ._checked import checked
    from ._explain import explain
    from ._faults import detect_anomaly
    from ._memory import memory_summary
    from .viz import profile, tape

__version__ = "0.1.0"

__all__ = [
    "Tensor",
    "arange",
    "as_tensor",
    "binary_cross_entropy_with_logits",
    "checked",
    "checkpoint",
    "cross_entropy",
    "custom_rule",
    "detect_anomaly",
    "deterministic",
    "device",
    "elementwise_grad",
    "elu",
    "empty",
    "empty_like",
    "enable_grad",
    "errors",
    "explain",
    "eye",
    "from_dlpack",
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
    "linalg",
    "linear",
    "linearize",
    "linspace",
    "log_softmax",
    "logsumexp",
    "memory_summary",
    "no_grad",
    "ones",
    "ones_like",
    "profile",
    "random",
    "register_container",
    "relu",
    "scaled_dot_product_attention",
    "set_grad_enabled",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "special",
    "stack",
    "stop_gradient",
    "strict",
    "strong_zero",
    "tape",
    "tensor",
    "value_and_grad",
    "vjp",
    "zeros",
    "zeros_like",
]

_methods.attach()

stack = OPS["stack"]

# What few programs ask for is imported when it is asked for.
_LATER = {
    "checked": "_checked",
    "detect_anomaly": "_faults",
    "explain": "_explain",
    "linalg": "",
    "memory_summary": "_memory",
    "profile": "viz",
    "special": "",
    "tape": "viz",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_LATER[name] or name}")
    return module if not _LATER[name] else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
