from . import ops, _methods
from ._tensor import Tensor, tensor, as_tensor
from ._tape import no_grad, enable_grad, set_grad_enabled, is_grad_enabled
