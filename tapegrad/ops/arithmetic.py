import numpy as np
from .._op import unary, binary, linear, multilinear, constant
from .._tensor import OPS
import operator
binary(np.add, lambda g: g, lambda g: g)
binary(np.subtract, lambda g: g, lambda g: -g)
binary(np.multiply, lambda g, y: g * y, lambda g, x: g * x)
binary(np.divide, lambda g, y: g / y, lambda g, y, out: -g * out / y)
binary(np.power, lambda g, x, y: g * (y * x ** (y - (y != 0))), lambda g, x, out: g * out * np.log(x))
multilinear(np.matmul, lambda g, y: g @ np.swapaxes(y, -1, -2), lambda g, x: np.swapaxes(x, -1, -2) @ g)
unary(np.negative, lambda g: -g)
unary(np.positive, lambda g: g)
unary(np.absolute, lambda g, x: g * np.sign(x))
unary(np.exp, lambda g, out: g * out)
unary(np.sin, lambda g, x: g * np.cos(x))
unary(np.cos, lambda g, x: -g * np.sin(x))
linear(np.sum, lambda g, x_shape, axis=None, keepdims=False: np.broadcast_to(g if axis is None or keepdims else np.expand_dims(g, axis), x_shape), free="dtype")
linear(np.broadcast_to, lambda g, x_shape, shape: g)
linear(np.expand_dims, lambda g, x_shape, axis: np.reshape(g,x_shape))
linear(np.reshape, lambda g, x_shape, shape: np.reshape(g,x_shape))
linear(np.swapaxes, lambda g, axis1, axis2: np.swapaxes(g,axis1,axis2))
constant(np.floor_divide,np.remainder,np.divmod,np.bitwise_and,np.bitwise_or,np.bitwise_xor,np.left_shift,np.right_shift,np.equal,np.not_equal,np.less,np.less_equal,np.greater,np.greater_equal,np.invert,np.sign)
OPS["getitem"] = linear(operator.getitem, lambda g, x_shape, index: g, name="getitem")
