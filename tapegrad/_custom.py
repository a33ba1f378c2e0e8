"""Rules of users' own: a Python function with a VJP for all its inputs at once, and optionally a JVP."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ._array import as_array, is_array, zeros
from ._op import Op
from ._recorders import recorder
from ._tape import Record, differentiable
from .errors import DtypeError, LostGradientError, ShapeError
from .typing import Formula


class CustomOp(Op):
    """An op whose one VJP gives the cotangents of all inputs, and is called once for them all."""

    def __init__(self, function: Callable[..., Any], vjp: Formula, inputs: Sequence[str], **options: Any) -> None:
        super().__init__(function, "general", [vjp] * len(inputs), inputs=" ".join(inputs), **options)
        self.vjp = vjp if len(self.outputs) == 1 else self._on_parts(vjp)
        self.many = self.projects = True
        self.trusted = False

    def fill(self, record: Record, parents: Sequence[Any], arrays: Sequence[Any], out: Any, call: Any) -> None:
        """Make `record` the record of this op's result, as `Op.fill`, unless it is one that has no derivative."""
        outs = out if len(self.outputs) > 1 else (out,)
        if not any(differentiable(a.dtype) for a in outs):
            raise DtypeError(
                f"{self.name} has a rule for its derivative, and returned dtype {outs[0].dtype}, which has none; "
                "let it return floating point numbers, or detach() its inputs"
            )
        super().fill(record, parents, arrays, out, call)

    def play(self, *args: Any) -> Any:
        """Return the tensor or tensors of a call, as `Op.play`; integers among several results are constants."""
        made = super().play(*args)
        for t in made if isinstance(made, tuple) else ():
            if not differentiable(t.dtype):
                t._record = None
        return made

    def links(self, record: Record) -> Iterator[tuple[Any, Any, Any, int]]:
        """Return the inputs with their rules and residuals, as `Op.links`; the rules share one call of the VJP."""
        made: list[Any] = []

        def rule(k: int, parent: Record) -> Callable[..., Any]:
            def run(g: Any, *residuals: Any) -> Any:
                if not made:
                    made.extend(self._cotangents(self.vjp(g, *residuals)))
                if made[k] is None and parent.space is not None:
                    like = next((r for r in residuals if is_array(r)), 0.0) if isinstance(g, dict) else g
                    return zeros(*parent.space, like)
                return made[k]

            return run

        for k, parent in enumerate(record.x):
            yield parent, (parent and rule(k, parent), len(self.names[k])), record.for_x[k], k

    def _cotangents(self, made: Any) -> Sequence[Any]:
        """Return what the VJP returned as one cotangent per input."""
        if len(self.inputs) == 1 and not isinstance(made, (tuple, list)):
            made = (made,)
        if not isinstance(made, (tuple, list)) or len(made) != len(self.inputs):
            got = f"{len(made)} cotangents" if isinstance(made, (tuple, list)) else type(made).__name__
            raise ShapeError(
                f"the VJP of {self.name} returned {got}, expected a tuple of {len(self.inputs)}: "
                f"one for each of ({', '.join(self.inputs)}), None for zero"
            )
        return made

    def _formula_on(self, k: int, gs: Sequence[Any], inputs: Sequence[Any], outs: Sequence[Any], call: Any) -> Any:
        try:
            made = super()._formula_on(k, gs, inputs, outs, call)
        except LostGradientError as error:
            error.add_note(
                f"Forward mode transposes the VJP of {self.name}, which runs it on tensors; this one leaves the tape. "
                "Write it with NumPy's functions alone, or give the rule a JVP: custom_rule(vjp=..., jvp=...)"
            )
            raise
        return self._cotangents(made)[k]


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function by name, none for a compiled one that does not tell them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _check_places(function: Callable[..., Any], names: Sequence[str]) -> None:
    """Raise TypeError where one of `names`, the inputs, is a parameter of the function in another place."""
    parameters = list(_parameters(function))
    if any(name in parameters and parameters.index(name) != i for i, name in enumerate(names)):
        raise TypeError(
            f"got inputs={' '.join(names)!r} for {function.__name__}({', '.join(parameters)}), expected its first "
            f"parameters in their order ({', '.join(parameters[: len(names)])}); settings come after the inputs"
        )


def _required(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters without a default value."""
    required = [p for p in _parameters(function).values() if p.default is p.empty]
    names = [p.name for p in required if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not names:
        raise TypeError(f"{function.__name__} does not name its inputs; say them: custom_rule(..., inputs='x y')")
    return names


def custom_rule(
    vjp: Formula, jvp: Formula | None = None, *, inputs: str | None = None, outputs: str = "out"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    r"""Return a decorator that gives a Python function derivative rules of its own, in place of those of its parts.

    The function is called with plain arrays, so it may use whatever computes on arrays: SciPy's solvers, compiled
    code, kernels. For a function :math:`y = f(x_1, ..., x_n)`, `vjp` maps a cotangent `g` of `y` to those of all
    inputs, :math:`g_k = J_k^T g`, and `jvp` maps tangents to the tangent of the result, :math:`\sum_k J_k t_k`.

    Parameters
    ----------
    vjp : its first parameter is the cotangent `g` (with several results one each, named `g` and the result: `gq`,
        `gr`; None for a result that was not used). The names of the others say what is kept for it: inputs and
        settings by the function's own names, the result `out`, or facts such as `x_shape`. It returns one cotangent for
        each input, in their order: arrays of the inputs' shapes, or None for zero; a single one needs no tuple
    jvp : optional; its first parameters are the tangents, one for each input, None for zero; the others as in `vjp`.
        Without it, forward mode runs `vjp` on tensors and transposes it
    inputs : the names of the first parameters, which have derivatives; by default all without a default value
    outputs : the names of the results, `"q r"` for a function that returns two; integers among them are constants

    At second order, and in forward mode without a `jvp`, `vjp` is called with tensors: written in NumPy's functions
    it is differentiated in its turn. A rule for complex numbers pairs without conjugates: cotangents and tangents as
    Re(sum(g * t)), see `tapegrad/ops`.

    Raises
    ------
    ShapeError
        In the replay, if the VJP returns too few cotangents, or one of another shape than its input's; with the
        function, the input, and both shapes.
    DtypeError
        If the function is given a tracked tensor and none of its results is floating point or complex.
    TypeError
        If the VJP asks for something that is neither an input, a result, a fact, nor a parameter; if the function
        does not name its inputs; or if `inputs` are not its first parameters.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> def root_vjp(g, out):
    ...     return g / (3 * out**2)
    >>> @tg.custom_rule(vjp=root_vjp)
    ... def cube_root(x):
    ...     return np.cbrt(x)
    >>> x = tg.tensor([1.0, 8.0], requires_grad=True)
    >>> cube_root(x).sum().backward()
    >>> x.grad
    tensor([0.33333333, 0.08333333])
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = inputs.split() if inputs else _required(function)
        _check_places(function, names)

        @functools.wraps(function)
        def compute(*args: Any, **kwargs: Any) -> Any:
            made = function(*args, **kwargs)
            several = isinstance(made, (tuple, list)) and " " in outputs
            arrays = [a if is_array(a) else as_array(a) for a in (made if several else (made,))]
            if len(arrays) != len(outputs.split()):
                raise ShapeError(f"{function.__name__} returned {len(arrays)} results, expected {outputs}")
            return type(made)(*arrays) if hasattr(made, "_fields") else tuple(arrays) if several else arrays[0]

        op = CustomOp(compute, vjp, names, jvp=jvp, outputs=outputs)
        op.check_names()
        return functools.update_wrapper(recorder(op), function)

    return decorate
