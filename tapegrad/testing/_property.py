"""A function whose gradient is to be right everywhere, as a test that hypothesis runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from .._array import is_array
from .._tensor import Tensor
from ..ops._domains import Domain, real
from ._checks import assert_gradients
from ._depth import DEPTH
from ._laws import MODES
from ._strategies import arrays
from ._subject import GradientError

__all__ = ["gradient_property"]

_EXAMPLES = {"quick": 25, "deep": 500}
_BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD
# All but the explanation, which costs many more runs than shrinking, and says less than blame.
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink]
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.differing_executors]


def gradient_property(
    *values: Any,
    order: int = 2,
    modes: Sequence[str] = MODES,
    against: Any = (),
    max_examples: int | None = None,
    **named: Any,
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Turn a differentiable function into a test that its gradients are right wherever hypothesis tries them.

    What is decorated is the function to differentiate, not a test of it: it takes tensors and returns tensors. In its
    place stands a test without arguments, which pytest finds by its name. A failure is shrunk to small arrays, and
    says which operation is to blame.

    Parameters
    ----------
    values, named : for each argument of the function, by position or by name, where its values come from: a hypothesis
        strategy; a domain such as `positive` (arrays of any shape from it); a shape such as `(2, 3)` (real arrays of
        that shape); or a value, such as an array, to be tried as it is
    order, modes, against : as `check_gradients` takes them
    max_examples : how many points are tried; by default 25, 500 in the profile `deep` (`pytest --gradients=deep`)

    Raises
    ------
    TypeError
        If the function has no such argument, or values for an argument are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import gradient_property, positive
    >>> @gradient_property(x=(3,), width=positive)
    ... def test_bell(x, width):
    ...     return np.sum(np.exp(-((x / (1 + np.sum(width))) ** 2)))
    >>> test_bell()
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        method = bool(parameters) and parameters[0].name == "self" and "." in function.__qualname__
        try:
            bound = signature.bind(*([None] if method else []), *values, **named)
        except TypeError as error:
            wanted = ", ".join(p.name for p in parameters[method:])
            raise TypeError(
                f"gradient_property of {function.__name__}({wanted}) was given values that do not fit: {error}"
            ) from None
        sources = {name: _strategy(value) for name, value in bound.arguments.items() if not (method and name == "self")}
        names = tuple(sources)

        def run(*instance: Any) -> None:
            __tracebackhide__ = True
            shown = inspect.Signature([inspect.Parameter(name, _BY_NAME) for name in names])

            def called(*args: Any) -> Any:
                return function(*instance, **dict(zip(names, args, strict=True)))

            called.__signature__ = shown  # type: ignore[attr-defined]
            options = {"order": order, "modes": modes, "against": against, "name": function.__name__}

            @functools.wraps(function)
            def check(*drawn: Any) -> None:
                __tracebackhide__ = True
                try:
                    assert_gradients(called, *drawn, blame=False, **options)
                except GradientError as error:
                    # Hypothesis prints notes for the smallest example only; blame is worth its time for that one.
                    told = _Told(lambda: assert_gradients(called, *drawn, **options))
                    note(told)
                    raise (told.error or error) from None

            check.__signature__ = shown  # type: ignore[attr-defined]
            count = _EXAMPLES[DEPTH.get()] if max_examples is None else max_examples
            chosen = settings(max_examples=count, deadline=None, phases=_PHASES, suppress_health_check=_SLOW)
            chosen(given(**sources)(check))()

        functools.update_wrapper(run, function)
        run.__signature__ = inspect.Signature(parameters[:1] if method else [])  # type: ignore[attr-defined]
        run.is_gradient_property = True  # type: ignore[attr-defined]
        return run

    return decorate


class _Told:
    """A note that finds out what to say when hypothesis prints it."""

    def __init__(self, again: Callable[[], None]) -> None:
        self.again = again
        self.error: GradientError | None = None

    def __repr__(self) -> str:
        try:
            self.again()
        except GradientError as error:
            self.error = error
        return "The error says which operation is to blame, and how to see it again."


def _strategy(value: Any) -> st.SearchStrategy[Any]:
    """Return where the values of an argument come from."""
    if isinstance(value, st.SearchStrategy):
        return value
    if isinstance(value, Domain):
        return arrays(value)
    if isinstance(value, tuple) and all(type(n) is int for n in value):
        return arrays(real, value)
    if is_array(value):
        return st.builds(np.copy, st.just(value)) if isinstance(value, np.ndarray) else st.just(value)
    return st.just(value.detach() if isinstance(value, Tensor) else value)
