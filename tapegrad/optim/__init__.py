"""Optimizers: they change the leaves that they are given, by the gradients that `backward` left there."""

from ._adam import Adam, AdamW
from ._optimizer import Optimizer
from ._sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
