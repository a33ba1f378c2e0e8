"""Gradient tests: checks that a derivative is right, strategies that find where it is not, and a stand-in for CuPy.

`check_gradients` says whether all derivatives of a function are right at a point, and if not, whose fault it is;
`gradient_property` lets hypothesis choose the points, from the strategies here; `strict` makes arrays that refuse what
CuPy refuses, so that a program's way to the GPU is tested without one. `python -m tapegrad.testing` certifies an
installation, `pytest --gradients=deep` searches longer. See the README beside this file.
"""

# What is here is loaded when it is asked for: pytest imports this package in every project where it is installed, and
# checks need no hypothesis, which strategies do.
import importlib
from typing import TYPE_CHECKING, Any

from ..errors import MissingPackageError

if TYPE_CHECKING:
    from ..ops._domains import (
        Domain,
        anything,
        away_from,
        distinct,
        interval,
        invertible,
        nonzero,
        orthogonal,
        positive,
        positive_definite,
        real,
        simplex,
        symmetric,
        triangular,
        unit_norm,
    )
    from ._checks import assert_gradients, check_gradients, check_jvp, check_vjp
    from ._code import as_code
    from ._mutations import Mutant, measure, mutants
    from ._numerical import Estimate, derivative
    from ._programs import Program, programs, random_program
    from ._property import gradient_property
    from ._standin import StrictArray, counting, cuda_standin, strict
    from ._strategies import (
        LAYOUTS,
        arrays,
        axes,
        broadcastable_arrays,
        einsums,
        indices,
        matmul_arrays,
        nested,
        shapes,
        tensors,
    )
    from ._subject import GradientError

__all__ = [
    "LAYOUTS",
    "Domain",
    "Estimate",
    "GradientError",
    "Mutant",
    "Program",
    "StrictArray",
    "anything",
    "arrays",
    "as_code",
    "assert_gradients",
    "away_from",
    "axes",
    "broadcastable_arrays",
    "check_gradients",
    "check_jvp",
    "check_vjp",
    "counting",
    "cuda_standin",
    "derivative",
    "distinct",
    "einsums",
    "gradient_property",
    "indices",
    "interval",
    "invertible",
    "matmul_arrays",
    "measure",
    "mutants",
    "nested",
    "nonzero",
    "orthogonal",
    "positive",
    "positive_definite",
    "programs",
    "random_program",
    "real",
    "shapes",
    "simplex",
    "strict",
    "symmetric",
    "tensors",
    "triangular",
    "unit_norm",
]

_HOMES = {
    "_checks": "assert_gradients check_gradients check_jvp check_vjp",
    "_code": "as_code",
    "_numerical": "Estimate derivative",
    "_mutations": "Mutant measure mutants",
    "_programs": "Program programs random_program",
    "_property": "gradient_property",
    "_standin": "StrictArray counting cuda_standin strict",
    "_strategies": "LAYOUTS arrays axes broadcastable_arrays einsums indices matmul_arrays nested shapes tensors",
    "_subject": "GradientError",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        # The domains are known to the rows of ops; everything else has its home here.
        home = importlib.import_module(f".{_HOME[name]}", __name__) if name in _HOME else _domains()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "hypothesis":
            raise
        raise MissingPackageError.of("hypothesis", f"tapegrad.testing.{name}", "test") from error
    value = getattr(home, name)
    if isinstance(value, type) and value.__module__.startswith(__name__):
        value.__module__ = __name__
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _domains() -> Any:
    return importlib.import_module("..ops._domains", __name__)
