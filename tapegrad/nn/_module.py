"""Module: parameters and other state by name, found by looking at attributes when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from .._array import as_array
from .._tape import Leaf, space_of
from .._tensor import Tensor, detached, wrap
from ..errors import DtypeError, ShapeError
from ..typing import Array, ArrayLike, DtypeLike

__all__ = ["LoadResult", "Module"]


class LoadResult(NamedTuple):
    """The names that `load_state_dict(..., strict=False)` passed over."""

    missing: list[str]
    unexpected: list[str]


class _Found(NamedTuple):
    """A tensor of a module, with its dotted name; private if the attribute's name begins with an underscore."""

    name: str
    tensor: Tensor
    private: bool


class Module:
    """A function with parameters: subclass it, make tensors and modules attributes, and write `forward`.

    What an attribute is follows from its value, in lists, tuples and dicts too, and nothing has to be registered:

    * a tensor with `requires_grad` is a *parameter*;
    * a tensor without is a *buffer* (a running mean, a frozen parameter): moved by `to` and saved by `state_dict`,
      except that buffers under a name that begins with an underscore are not saved;
    * a `Module` is a submodule; anything else, results of recorded operations included, is the module's own affair.

    A tensor or module that is reachable by several names (tied weights) counts once, under the first of them.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad import nn
    >>> class Perceptron(nn.Module):
    ...     def __init__(self, rng):
    ...         self.hidden = nn.Linear(3, 4, rng=rng)
    ...         self.output = nn.Linear(4, 2, rng=rng)
    ...         self.gain = tg.tensor(1.0, requires_grad=True)
    ...     def forward(self, x):
    ...         return self.gain * self.output(np.tanh(self.hidden(x)))
    >>> model = Perceptron(np.random.default_rng(0))
    >>> model
    Perceptron(
      gain: ()
      hidden: Linear(3, 4)
      output: Linear(4, 2)
    )
    >>> [name for name, _ in model.named_parameters()]
    ['hidden.weight', 'hidden.bias', 'output.weight', 'output.bias', 'gain']
    >>> model.count_parameters()
    27
    >>> model(np.ones((5, 3))).shape
    (5, 2)
    """

    training: bool = True
    """Whether modules that act differently in training and in use (`Dropout`) are to act as in training."""

    forward: Callable[..., Any]

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """Return `forward` of the arguments."""
        return self.forward(*inputs, **settings)

    # What it consists of

    def _entries(self) -> Iterator[tuple[str, Any]]:
        """Yield the attributes by name."""
        return iter(vars(self).items())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield this module, under the empty name, and all modules below it with their dotted names."""
        return ((name, found) for name, found, _ in _walk(self) if isinstance(found, Module))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all modules below it."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules directly below this one with their names."""
        return ((name, found) for name, found, _ in _walk(self, deep=False) if isinstance(found, Module) and name)

    def children(self) -> Iterator[Module]:
        """Yield the modules directly below this one."""
        return (module for _, module in self.named_children())

    def _tensors(self, deep: bool = True) -> Iterator[_Found]:
        """Yield the parameters and buffers, of this module and of those below it."""
        for name, found, private in _walk(self, deep=deep):
            if isinstance(found, Tensor):
                yield _Found(name, found, private)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters, of this module and of all below it, with their dotted names."""
        return ((name, tensor) for name, tensor, _ in self._tensors() if tensor.requires_grad)

    def parameters(self) -> Iterator[Tensor]:
        """Yield the parameters, of this module and of all below it: what an optimizer takes."""
        return (tensor for _, tensor in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the buffers, of this module and of all below it, with their dotted names."""
        return ((name, tensor) for name, tensor, _ in self._tensors() if not tensor.requires_grad)

    def buffers(self) -> Iterator[Tensor]:
        """Yield the buffers, of this module and of all below it."""
        return (tensor for _, tensor in self.named_buffers())

    def count_parameters(self) -> int:
        """Return the number of trainable numbers in this module and all below it."""
        return sum(parameter.size for parameter in self.parameters())

    # What is done to all of it

    def train(self, training: bool = True) -> Self:
        """Set `training` here and in all modules below, and return this module."""
        for module in self.modules():
            module.training = bool(training)
        return self

    def eval(self) -> Self:
        """Set `training` to False here and in all modules below, and return this module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, *targets: Any, device: str | None = None, dtype: DtypeLike = None) -> Self:
        """Move and convert all parameters and buffers in place, gradients included: `to("cuda")`, `to(np.float32)`.

        The tensors stay the same objects, so an optimizer keeps its parameters, and its state follows them to another
        device in its next step. Only floating point tensors are converted
        to a floating point `dtype`; integer buffers keep theirs, and so do complex tensors unless `dtype` is complex.
        Returns this module.

        Raises
        ------
        DtypeError
            If `dtype` is neither floating point nor complex.
        DeviceError, MissingPackageError
            If `device` cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> from tapegrad import nn
        >>> nn.Linear(3, 2).to(np.float32).weight.dtype
        dtype('float32')
        """
        for target in targets:
            if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
                device = target
            else:
                dtype = target
        wanted = None if dtype is None else np.dtype(dtype)
        if wanted is not None and wanted.kind not in "fcV":
            raise DtypeError(f"got dtype {wanted}, expected floating point or complex: parameters have derivatives")
        moves = []
        for _, tensor, _ in self._tensors():
            converted = wanted if wanted is not None and tensor.dtype.kind in "fV" + wanted.kind else None
            grad = None if tensor.grad is None else wrap(as_array(tensor.grad.data, converted, device))
            moves.append((tensor, as_array(tensor.data, converted, device), grad))
        for tensor, array, grad in moves:
            tensor._array = array[()] if array.ndim == 0 else array
            if isinstance(tensor._record, Leaf):
                # The leaf itself stays: losses that are not yet played back still lead to it.
                tensor._record.dtype = array.dtype
                tensor._record.space = space_of(array.shape, array.dtype)
                tensor._record.grad = grad
        return self

    # Saving and loading

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and saved buffers as arrays, by dotted name.

        `numpy.savez(file, **module.state_dict())` writes them to a file.
        """
        return {name: tensor.data.copy() for name, tensor, private in self._tensors() if _is_saved(tensor, private)}

    def load_state_dict(self, state: Mapping[str, ArrayLike], strict: bool = True) -> LoadResult:
        """Give parameters and buffers the values in `state`, converted to their dtypes and devices.

        Parameters
        ----------
        state : arrays by dotted name, as `state_dict` returns them or `numpy.load` reads them
        strict : whether `state` must name exactly what this module has; otherwise what it lacks stays as it is, and
            names that this module does not know are passed over

        Returns
        -------
        The names of both kinds; both lists are empty if `strict`.

        Raises
        ------
        ShapeError
            If names are missing or unexpected (`strict` only), or shapes differ: all of them are listed.
        DtypeError
            If values would lose their imaginary parts.

        On an error nothing is changed.

        Examples
        --------
        >>> from tapegrad import nn
        >>> first, second = nn.Linear(3, 2), nn.Linear(3, 2)
        >>> second.load_state_dict(first.state_dict())
        LoadResult(missing=[], unexpected=[])
        >>> nn.Linear(3, 3).load_state_dict(first.state_dict())
        Traceback (most recent call last):
            ...
        tapegrad.errors.ShapeError: the state does not fit this Linear:
          weight has shape (3, 2) in the state, expected (3, 3)
          bias has shape (2,) in the state, expected (3,)
        """
        own = {name: tensor for name, tensor, private in self._tensors() if _is_saved(tensor, private)}
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        faults = [f"{name} is missing from the state" for name in missing] if strict else []
        faults += [f"{name} is in the state, but not in the module" for name in unexpected] if strict else []
        loaded = []
        for name, tensor in own.items():
            if name not in state:
                continue
            value = as_array(detached(state[name]))
            if value.shape != tensor.shape:
                faults.append(f"{name} has shape {value.shape} in the state, expected {tensor.shape}")
                continue
            if not np.can_cast(value.dtype, tensor.dtype, "same_kind"):
                raise DtypeError(f"{name} has dtype {value.dtype} in the state, which {tensor.dtype} cannot hold")
            loaded.append((tensor, as_array(value, tensor.dtype, tensor.device, copy=True)))
        if faults:
            raise ShapeError(f"the state does not fit this {type(self).__name__}:\n  " + "\n  ".join(faults))
        for tensor, value in loaded:
            tensor.data = value
        return LoadResult(missing, unexpected)

    # How it is shown

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of this module's own name when it is printed."""
        return ""

    def __repr__(self) -> str:
        settings = self.extra_repr()
        lines = [] if settings else [f"{name}: {tensor.shape}" for name, tensor, _ in self._tensors(deep=False)]
        lines += [f"{name}: {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not lines:
            return f"{type(self).__name__}({settings})"
        return "\n  ".join([f"{type(self).__name__}({settings}", *lines]) + "\n)"


def _is_saved(tensor: Tensor, private: bool) -> bool:
    return tensor.requires_grad or not private


def _walk(root: Module, deep: bool = True) -> list[tuple[str, Any, bool]]:
    """Return modules, parameters and buffers below and including `root`: dotted name, object, whether it is private.

    Each object comes once, so that references back to a parent end. Unless `deep`, only what `root` itself holds.
    """
    found: list[tuple[str, Any, bool]] = []
    seen: set[int] = set()

    def visit(value: Any, name: str, private: bool) -> None:
        entries: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, Module):
            if deep or value is root:
                entries = value._entries()
        elif isinstance(value, (list, tuple)):
            entries = enumerate(value)
        elif isinstance(value, dict):
            entries = value.items()
        elif not isinstance(value, Tensor) or not value.is_leaf:
            return
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, (Module, Tensor)):
            found.append((name, value, private))
        for key, entry in entries:
            hidden = str(key).startswith("_") if isinstance(value, Module) else private
            visit(entry, f"{name}.{key}" if name else str(key), hidden)

    visit(root, "", False)
    return found
