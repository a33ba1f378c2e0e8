"""Arithmetic: sums, products, quotients, powers, remainders, extrema and rounding of arrays."""

import numpy as np

from .._op import binary, unary

binary(np.add, lambda g: g, lambda g: g)
binary(np.subtract, lambda g: g, lambda g: -g)
binary(np.multiply, lambda g, y: g * y, lambda g, x: g * x)
binary(np.divide, lambda g, y: g / y, lambda g, y, out: -g * out / y)
binary(np.power, lambda g, x, y: g * (y * x ** (y - (y != 0))), lambda g, x, out: g * out * np.log(x))
unary(np.negative, lambda g: -g)
unary(np.positive, lambda g: g)
unary(np.absolute, lambda g, x: g * np.sign(x))
