"""Elementary functions: exponentials, logarithms, trigonometric and hyperbolic functions, roots."""

import numpy as np

from .._op import unary

unary(np.exp, lambda g, out: g * out)
unary(np.log, lambda g, x: g / x)
unary(np.sin, lambda g, x: g * np.cos(x))
unary(np.cos, lambda g, x: -g * np.sin(x))
unary(np.tanh, lambda g, out: g * (1 - out * out))
unary(np.sqrt, lambda g, out: g / (2 * out))
