"""The base of optimizers: parameters in groups with options, state by parameter, and writing where that is safe."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._array import LIBRARIES, accumulation_dtype, as_array, move, zeros
from .._tensor import Tensor, writable
from ..errors import LeafError, ShapeError
from ..typing import Array, ArrayLike

__all__ = ["Optimizer"]

BLOCK = 1 << 14
"""How many elements of an array are updated at a time: few enough that all operands stay in the processor's cache."""


class Optimizer:
    """The base of all optimizers.

    A subclass gives its options and their defaults to `__init__`, checks them in `check`, and changes the parameters
    of one group in `update`, which loops over `pending`.

    Steps work on plain arrays and are never recorded. A parameter's memory is written to only if nobody else holds
    it: an array that a living record, another tensor or the caller still holds keeps its values, and the parameter
    gets a new one.

    Parameters
    ----------
    parameters : tensors with `requires_grad`, or pairs of name and tensor as `Module.named_parameters` gives them, or
        groups: dictionaries with such tensors under `"params"` and options of their own
    defaults : the options of groups that do not say otherwise

    Raises
    ------
    TypeError
        If `parameters` holds something else.
    LeafError
        If a tensor is not a leaf with `requires_grad`.
    ValueError
        If there are no parameters, one comes twice, or an option is unknown or out of its range.

    Attributes
    ----------
    param_groups : a dictionary per group: `"params"`, `"names"`, and the options, which may be changed between steps
    state : what the optimizer remembers of each parameter, by name
    """

    def __init__(self, parameters: Iterable[Any], **defaults: Any) -> None:
        if isinstance(parameters, Tensor) or not isinstance(parameters, Iterable):
            raise TypeError(
                f"got a {type(parameters).__name__}, expected tensors in a list, such as model.parameters() or [w, b]"
            )
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        entries = list(parameters)
        grouped = bool(entries) and all(isinstance(entry, Mapping) for entry in entries)
        for group in entries if grouped else [{"params": entries}]:
            self.add_param_group(group)

    # What a subclass provides

    def check(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError if an option of `group` is out of its range."""

    def update(self, group: dict[str, Any]) -> None:
        """Change the parameters of `group` that have a gradient."""
        raise TypeError(f"{type(self).__name__} has no update(group), which says how parameters change")

    # What users call

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own: `{"params": [w, b], "lr": 0.01}`.

        Raises what the constructor raises.
        """
        unknown = [name for name in group if name not in (*self.defaults, "params", "names")]
        if unknown or "params" not in group:
            raise ValueError(
                f"got a group with {', '.join(map(repr, group))}, expected 'params' and "
                f"any of {', '.join(map(repr, self.defaults))}"
            )
        given = group["params"]
        entries = [given] if isinstance(given, Tensor) else list(given)
        if not entries:
            raise ValueError("got no parameters; is a module's list of parameters empty, or an iterator used up?")
        names, tensors = [], []
        start = sum(len(other["params"]) for other in self.param_groups)
        for i, entry in enumerate(entries, start):
            named = isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)
            names.append(entry[0] if named else str(i))
            tensors.append(entry[1] if named else entry)
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for name, p in zip(names, tensors, strict=True):
            if not isinstance(p, Tensor):
                raise TypeError(f"got a {type(p).__name__} as parameter {name}, expected a tensor")
            if not p.is_leaf or not p.requires_grad:
                what = "has requires_grad=False" if p.is_leaf else "is the result of an operation, not a leaf"
                raise LeafError(f"got parameter {name}, which {what}; optimizers change leaves with requires_grad=True")
            if id(p) in known:
                raise ValueError(f"got parameter {name} twice; it would be changed twice in every step")
            known.add(id(p))
        made = {**self.defaults, **group, "params": tensors, "names": names}
        self.check(made)
        self.param_groups.append(made)

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to None, so that the next backward starts anew."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.requires_grad:
                    p.grad = None

    def step(self) -> None:
        """Change every parameter that has a gradient; the others stay as they are, and so does their state."""
        for group in self.param_groups:
            self.update(group)

    # What updates are made of

    def pending(self, group: dict[str, Any]) -> Iterator[tuple[Tensor, Array, Array]]:
        """Yield each parameter that has a gradient, with its array for writing and the gradient's array.

        16-bit gradients come in single precision: their squares, and small steps, would vanish in their own.
        """
        for p in group["params"]:
            grad = p.grad
            if grad is not None:
                g = grad._array
                array = writable(p)
                yield p, array, g if g.dtype.itemsize != 2 else g.astype(np.float32)
                # Numbers are kept as NumPy's own scalars, as tensor() does.
                p._array = array if array.shape else array[()]

    def state_of(self, p: Tensor) -> dict[str, Any]:
        """Return what the optimizer remembers of `p`, nothing at first, where `p` is: state follows its parameter."""
        state = self.state.get(p)
        if state is None:
            state = self.state[p] = {}
        last = next(reversed(state.values()), None)
        if type(last) is not np.ndarray or type(p._array) is not np.ndarray:
            for key, value in state.items():
                if type(value) in LIBRARIES:
                    state[key] = move(value, p.device)
        return state

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state and of the options, by the parameters' names (their positions if they have none).

        It is `{"state": {name: {...}}, "param_groups": [{"params": [names], ...}]}`: numbers, arrays and strings only.
        """
        state = {}
        groups = []
        for group in self.param_groups:
            for name, p in zip(group["names"], group["params"], strict=True):
                if p in self.state:
                    state[name] = {key: _copied(value) for key, value in self.state[p].items()}
            options = {key: value for key, value in group.items() if key not in ("params", "names")}
            groups.append({"params": list(group["names"]), **options})
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and the options that `state_dict` returned, here or in another process.

        Arrays are converted to the dtypes and devices that this optimizer's state has.

        Raises
        ------
        ValueError
            If the groups name other parameters or have other options, or an option is out of its range.
        ShapeError
            If an array does not have its parameter's shape.

        On an error nothing is changed.
        """
        saved = state_dict["param_groups"]
        ours, theirs = [group["names"] for group in self.param_groups], [list(group["params"]) for group in saved]
        if ours != theirs:
            raise ValueError(f"got the state of groups with the parameters {theirs}, expected {ours}")
        groups, state = [], {}
        for group, other in zip(self.param_groups, saved, strict=True):
            if set(other) != set(group) - {"names"}:
                raise ValueError(f"got a group with {sorted(other)}, expected {sorted(set(group) - {'names'})}")
            groups.append({**other, "params": group["params"], "names": group["names"]})
            self.check(groups[-1])
            for name, p in zip(group["names"], group["params"], strict=True):
                if name in state_dict["state"]:
                    state[p] = {key: _fitted(key, value, name, p) for key, value in state_dict["state"][name].items()}
        self.param_groups[:] = groups
        self.state = state

    def __repr__(self) -> str:
        groups = []
        for group in self.param_groups:
            options = ", ".join(f"{key}={value!r}" for key, value in group.items() if key not in ("params", "names"))
            count = len(group["params"])
            groups.append(f"{count} parameter{'s' if count != 1 else ''}, {options}")
        return f"{type(self).__name__}({'; '.join(groups)})"


def require(group: Mapping[str, Any], name: str, low: float, high: float = math.inf) -> None:
    """Raise ValueError unless the option `name` is a finite number from `low` up to, not including, `high`."""
    value = group[name]
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    for number in numbers:
        if not (isinstance(number, (float, int, np.number)) and low <= number < high):
            limit = "" if high == math.inf else f" and less than {high:g}"
            raise ValueError(f"got {name}={value!r}, expected a number of at least {low:g}{limit}")


def fresh(array: Array) -> Array:
    """Return zeros for a running average beside `array`: 16-bit parameters get averages in single precision."""
    return zeros(array.shape, accumulation_dtype(array.dtype) or array.dtype, array)


def blocks(*arrays: Array | None) -> Sequence[tuple[Any, ...]]:
    """Return views of arrays of one shape, piece by piece, so that one pass over memory serves a whole update.

    Complex arrays come as their real and their imaginary parts, 0-d arrays with one axis, because NumPy turns results
    of theirs into scalars, which no further result can be written to. None stays None.
    """
    first = arrays[0]
    assert first is not None
    if first.dtype.kind == "c":
        parts = [tuple([None if a is None else getattr(a, part) for a in arrays]) for part in ("real", "imag")]
        return [block for part in parts for block in blocks(*part)]
    if first.ndim == 0:
        return [tuple([None if a is None else a.reshape(1) for a in arrays])]
    if first.size <= 2 * BLOCK or type(first) is not np.ndarray:
        return [arrays]
    rows = max(1, BLOCK * len(first) // first.size)
    return [tuple([None if a is None else a[i : i + rows] for a in arrays]) for i in range(0, len(first), rows)]


def _copied(value: Any) -> Any:
    return value.copy() if hasattr(value, "copy") else value


def _fitted(key: str, value: ArrayLike, name: str, p: Tensor) -> Any:
    """Return an entry of a loaded state as this optimizer keeps it for the parameter `p`."""
    if not hasattr(value, "dtype"):
        return value
    if value.shape != p.shape:
        raise ShapeError(f"got {key} of shape {value.shape} for parameter {name}, expected {p.shape}")
    return as_array(value, fresh(p.data).dtype, p.device, copy=True)
