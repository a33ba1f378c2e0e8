"""Networks as modules: parameters and other state by name. No derivative lives here; all of them are in `tapegrad.ops`.

>>> import numpy as np
>>> from tapegrad import nn, optim
>>> model = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Tanh(), nn.Linear(8, 1, rng=1))
>>> x, target = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])
>>> loss_of, optimizer = nn.MSELoss(), optim.Adam(model.parameters(), lr=0.05)
>>> for _ in range(200):
...     optimizer.zero_grad()
...     loss = loss_of(model(x), target)
...     loss.backward()
...     optimizer.step()
>>> model(x).detach().numpy().ravel() > 0.5
array([False,  True,  True, False])
"""

from ._activations import GELU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from ._layers import Dropout, Flatten, Identity, Linear, Sequential
from ._losses import BCEWithLogitsLoss, CrossEntropyLoss, L1Loss, MSELoss
from ._module import LoadResult, Module

__all__ = [
    "GELU",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "L1Loss",
    "Linear",
    "LoadResult",
    "LogSoftmax",
    "MSELoss",
    "Module",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]
