"""The public checks, which say whether every derivative of a function is right at the arguments given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ._against import compare_with, on_numpy
from ._blame import blame as blame_for
from ._depth import DEPTH
from ._laws import MODES, columns, compare, first_order, forward_laws, layouts, reverse_laws, second_order
from ._report import program_of
from ._subject import GradientError, Subject, UncertainError, subject

__all__ = ["GradientError", "Subject", "assert_gradients", "check_gradients", "check_jvp", "check_vjp", "compare"]
__all__ += ["first_order", "second_order", "subject"]

# Seeds of the deep profile: others than the quick one's are tried, because a cotangent may happen to hide a fault.
_DEEP_SEEDS = 5


def check_vjp(function: Callable[..., Any], *args: Any, name: str | None = None, seed: int = 0) -> None:
    """Check the reverse-mode derivative of `function` at `args` against differences.

    Also checked: linearity in the cotangent, and that gradients keep dtype, shape and device, share no memory, and
    leave inputs, results and cotangents unchanged.

    Parameters
    ----------
    function : takes tensors, alone or in nested containers, and gives tensors likewise
    args : where; floating point and complex arguments are differentiated, others are constants
    name : what messages call the function
    seed : of the random cotangents

    Raises
    ------
    GradientError
        With the input, the index, what was got and expected, the error estimate, and the operation to blame.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import check_vjp
    >>> check_vjp(lambda x, y: np.sum(np.sin(x) * y, axis=0), np.ones((2, 3)), np.arange(3.0))
    """
    point = subject(on_numpy(function), args, name, seed)
    with _blaming(point, args, 1, ("reverse",), f", seed={seed}" if seed else ""):
        gs = point.cotangents()
        reverse_laws(point, columns(point.doubled()), gs)


def check_jvp(function: Callable[..., Any], *args: Any, name: str | None = None, seed: int = 0) -> None:
    """Check the forward-mode derivative of `function` at `args` against differences.

    Parameters and errors are those of `check_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import check_jvp
    >>> check_jvp(lambda x: np.exp(-x * x), np.linspace(-1, 1, 5))
    """
    point = subject(on_numpy(function), args, name, seed)
    with _blaming(point, args, 1, ("forward",), f", seed={seed}" if seed else ""):
        forward_laws(point, columns(point.doubled()), point.like(point.xs))


def check_gradients(
    function: Callable[..., Any],
    *args: Any,
    order: int = 2,
    modes: Sequence[str] = MODES,
    against: Any = (),
    name: str | None = None,
    seed: int = 0,
    blame: bool = True,
) -> None:
    """Check all derivatives of `function` at `args`, of first and second order, in reverse and forward mode.

    First order: VJP and JVP against differences, and against each other by <g, J t> = <J^H g, t>, which needs no
    differences; linearity in the cotangent; dtypes, shapes, devices, memory. Second order: all combinations of the
    modes against differences of the first derivatives. Differences are central ones, extrapolated to step zero
    (Richardson), or a complex step where the function allows it; the tolerance is twice their error estimate and the
    rounding of the dtype.

    Parameters
    ----------
    function : takes tensors, alone or in nested containers, and gives tensors likewise; a parameter `xp` or `module`
        without a default receives the array namespace, numpy
    args : where; floating point and complex arguments are differentiated, others are constants
    order : 1 or 2
    modes : "reverse", "forward", or both
    against : what else must have the same values and gradients, one or several of: "float32" (the same function in
        single precision), "strict" (on arrays that refuse what CuPy refuses), "cupy" (on a CUDA device), "torch" or
        "jax" (calls `function` with that library's arrays, and with its namespace as `xp` or `module`), or a function
        of the same arguments: one written for torch or jax, or a reference written for NumPy
    name : what messages call the function
    seed : of the random cotangents and directions
    blame : whether a failure is traced to the operation whose rule is wrong, or to what left the tape

    Raises
    ------
    GradientError
        With the input, the index, what was got and expected, the error estimate, and the operation to blame. Its
        attribute `verdict` holds what blame found.
    ValueError
        If an option is misspelled.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad as tg
    >>> from tapegrad.testing import check_gradients
    >>> check_gradients(lambda x: np.sum(x / (1 + x * x)), np.array([0.5, -1.0, 2.0]))

    A rule with a wrong sign:

    >>> wrong = tg.ops.unary(lambda x: np.cos(x), lambda g, x: g * np.sin(x), name="wrong")
    >>> check_gradients(wrong, np.array(0.5), blame=False)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    tapegrad.testing.GradientError: the VJP of wrong by input 0 (x): got 0.1313258614, expected -0.1313258614 (...)

    A reference that is slower, and surely right:

    >>> def outer(x, y):
    ...     return np.einsum("i,j->ij", x, y)
    >>> check_gradients(outer, np.arange(3.0), np.ones(2), against=lambda x, y: x[:, None] * y)
    """
    if order not in (1, 2) or not modes or not set(modes) <= set(MODES):
        raise ValueError(f"got order={order} and modes={modes}, expected 1 or 2, and some of {MODES}")
    plain = on_numpy(function)
    point = subject(plain, args, name, seed)
    options = "" if order == 2 else f", order={order}"
    options += "" if set(modes) == set(MODES) else f", modes={tuple(modes)!r}"
    with _blaming(point, args, order, modes, options + (f", seed={seed}" if seed else ""), blame):
        first_order(point, modes)
        if order == 2:
            second_order(point.doubled(), modes)
    for peer in against if isinstance(against, (tuple, list)) else [against]:
        compare_with(peer, function, args, point, modes)


def assert_gradients(function: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Check all derivatives of `function` at `args`, inside any test, as thoroughly as the profile in force says.

    The profile `quick` is one call of `check_gradients`. `deep`, which `pytest --gradients=deep` puts in force, also
    tries other cotangents and directions, and the same arguments in other memory layouts.

    Parameters
    ----------
    function, args : as `check_gradients` takes them
    options : of `check_gradients`

    Raises
    ------
    GradientError
        As `check_gradients`.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.testing import assert_gradients
    >>> def test_norm():
    ...     assert_gradients(lambda x: np.sqrt(np.sum(x * x)), np.array([3.0, 4.0]))
    >>> test_norm()
    """
    check_gradients(function, *args, **options)
    if DEPTH.get() == "deep":
        seed = options.pop("seed", 0)
        # What does not depend on the seed was compared above.
        options.pop("against", None)
        for other in range(1, _DEEP_SEEDS):
            check_gradients(function, *args, seed=seed + other, **options)
        point = subject(on_numpy(function), args, options.get("name"), seed)
        layouts(point)


@contextmanager
def _blaming(
    point: Subject, args: Sequence[Any], order: int, modes: Sequence[str], options: str, wanted: bool = True
) -> Iterator[None]:
    """Add to a failure what is to blame for it, and a program that shows it again."""
    try:
        yield
    except GradientError as error:
        state = str(error)
        verdict = blame_for(point, order, modes) if wanted else None
        if verdict is None:
            raise
        text = f"{state}\n\n{verdict.text}"
        if not verdict.guilty:
            program = program_of(point.name, args, options)
            text += f"\n\nReproduce:\n{program}" if program else ""
        kind = UncertainError if isinstance(error, UncertainError) else GradientError
        found = kind(text)
        found.verdict = verdict
        raise found from error.__cause__
