"""The stored table of what CuPy has, against the real wheel where it is installed (no device is needed).

Write it anew for another CuPy with: pytest tests/testing/test_cupy_table.py --rewrite
"""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from tapegrad.testing import _cupy_table

cupy = pytest.importorskip("cupy", exc_type=ImportError)

MODULES = {"": np, "fft.": np.fft, "lib.stride_tricks.": np.lib.stride_tricks, "linalg.": np.linalg}
# Functions about files, printing and the installation do not belong to the mathematics of arrays.
FOREIGN = re.compile("load|save|gen|from|show|array2|array_(repr|str)|format_|base_repr|binary_repr|test")

HEADER = '''"""What CuPy {version} has of NumPy, read from its wheel: signatures, methods, loops of ufuncs.

Written by `pytest tests/testing/test_cupy_table.py --rewrite`, which also checks it; not edited by hand.
"""

# ruff: noqa: E501 - signatures stay on one line

VERSION = "{version}"

FUNCTIONS = """\\
{functions}
"""

METHODS = """\\
{methods}
"""

UFUNCS = """\\
{ufuncs}
"""

SPECIAL = """\\
{special}
"""
'''


class _Named:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


def _signature(function):
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        default = parameter.default
        if isinstance(default, type) and default is not parameter.empty:
            default = _Named(default.__name__)
        parameters.append(parameter.replace(annotation=parameter.empty, default=default))
    return str(inspect.Signature(parameters))


def _documented(text):
    """Return the signature in the first line of a compiled function's documentation, without types."""
    inside = re.search(r"\((.*?)\)(?: ->.*)?$", text.split("\n")[0]).group(1)
    return f"({', '.join(parameter.split(' ')[-1] for parameter in inside.split(', '))})"


def functions():
    for prefix, module in MODULES.items():
        theirs = cupy
        for part in prefix.split(".")[:-1]:
            theirs = getattr(theirs, part)
        for name in dir(module):
            function = getattr(theirs, name, None)
            if name.startswith("_") or FOREIGN.match(name) or not callable(function) or inspect.isclass(function):
                continue
            if function is getattr(module, name):
                continue
            if isinstance(function, cupy.ufunc):
                if not isinstance(getattr(module, name), np.ufunc):
                    yield f"{prefix}{name}(x, out=None, dtype=None)"
                continue
            try:
                yield prefix + name + _signature(function)
            except ValueError:
                yield prefix + name + _documented(function.__doc__)


def methods():
    for name in dir(np.ndarray):
        method = getattr(cupy.ndarray, name, None)
        if not name.startswith("_") and callable(method):
            known = (method.__doc__ or "").split("\n")[0]
            yield name + (_documented(known) if f".{name}(" in known else _signature(method))


def ufuncs():
    for name in dir(np):
        ufunc = getattr(cupy, name, None)
        if isinstance(getattr(np, name), np.ufunc) and isinstance(ufunc, cupy.ufunc):
            # "V" is for structured dtypes.
            loops = [loop for loop in ufunc.types if "V" not in loop]
            yield f"{name} {' '.join(loops)}"


def special():
    import cupyx.scipy.special

    for name, function in vars(cupyx.scipy.special).items():
        if isinstance(function, cupy.ufunc):
            yield f"{name} {' '.join(function.types)}"
        elif inspect.isfunction(function):
            yield name


def test_the_table_is_that_of_the_installed_cupy(rewrite):
    tables = {
        "functions": "\n".join(sorted(functions())),
        "methods": "\n".join(sorted(methods())),
        "ufuncs": "\n".join(sorted(ufuncs())),
        "special": "\n".join(sorted(special())),
    }
    if rewrite:
        Path(_cupy_table.__file__).write_text(HEADER.format(version=cupy.__version__, **tables))
        return
    if cupy.__version__ != _cupy_table.VERSION:
        pytest.skip(f"cupy {cupy.__version__} is installed, and the table is that of {_cupy_table.VERSION}")
    for name, text in tables.items():
        stored = set(getattr(_cupy_table, name.upper()).splitlines())
        found = set(text.splitlines())
        # The wheel is asked for the names that the installed NumPy has, which may be fewer than the table's.
        assert found <= stored
        assert {line for line in stored - found if _in_numpy(line)} == set()


def _in_numpy(line):
    if line in _cupy_table.SPECIAL.splitlines():
        return True
    home, _, name = re.match(r"[\w.]+", line).group().rpartition(".")
    return hasattr(MODULES[home + "." if home else ""], name)
