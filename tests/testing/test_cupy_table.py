"""The stored table of what CuPy has, against the real wheel where it is installed (no device is needed).

Write it anew for another CuPy with: pytest tests/testing/test_cupy_table.py --rewrite
"""

import ast
import contextlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim  # noqa: F401 - reached through tg
from tapegrad.data import batches
from tapegrad.testing import GradientError, StrictArray, _cupy_table, _sweep, counting, cuda_standin, strict

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

LINALG = """\\
{linalg}
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


def linalg():
    """Read the source: without CUDA's libraries this part cannot be imported."""
    folder = Path(cupy.__file__).parent.parent / "cupyx" / "scipy" / "linalg"
    wanted = {"expm", "lu", "lu_factor", "lu_solve", "solve_triangular"}
    for path in folder.glob("*.py"):
        for definition in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(definition, ast.FunctionDef) and definition.name in wanted:
                yield f"{definition.name}({ast.unparse(definition.args)})"


def test_the_table_is_that_of_the_installed_cupy(rewrite):
    tables = {
        "functions": "\n".join(sorted(functions())),
        "methods": "\n".join(sorted(methods())),
        "ufuncs": "\n".join(sorted(ufuncs())),
        "special": "\n".join(sorted(special())),
        "linalg": "\n".join(sorted(linalg())),
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
    if line in (_cupy_table.SPECIAL + _cupy_table.LINALG).splitlines():
        return True
    home, _, name = re.match(r"[\w.]+", line).group().rpartition(".")
    return hasattr(MODULES[home + "." if home else ""], name)


# What our own code calls


def calls():
    """Return what is called on the stand-in by every op in the largest of its cases, and by training steps."""
    found = set()
    with counting() as counts:
        for op in _sweep.ops():
            entry = max(
                (_sweep.Entry(op, c) for c in _sweep.cases_of(op)), key=lambda e: str(e.case.shapes), default=None
            )
            if entry is None or not _sweep.runs_on_device(entry):
                continue
            point = entry.sample().subject(module=strict)
            if point.xs and point.outputs:
                # Whether it works is for the sweep to say.
                with contextlib.suppress(GradientError):
                    point.pull([strict.ones(y.shape, y.dtype) for y in point.outputs])
        with cuda_standin():
            _train()
    found.update((name, frozenset(keywords)) for name, keywords in counts.calls)
    return found


def _train():
    model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.ReLU(), tg.nn.Dropout(rng=0), tg.nn.Linear(4, 2)).to("cuda")
    for optimizer in (tg.optim.SGD(model.parameters(), momentum=0.9), tg.optim.Adam(model.parameters())):
        labels = tg.random.default_rng(0, "cuda").integers(0, 2, 5)
        x = tg.random.default_rng(0, "cuda").normal(size=(5, 3))
        for a, b in batches(x, labels, size=2):
            tg.cross_entropy(model(a), b).backward()
            optimizer.step()
    with tg.deterministic():
        np.sum(x.requires_grad_()[[0, 0]]).backward()


def _in_wheel(name):
    """Return what a name in the stand-in's list of calls is in CuPy."""
    home, _, rest = name.partition(".")
    if home == "special":
        import cupyx.scipy.special

        return getattr(cupyx.scipy.special, rest)
    if home == "scipy":
        return next(line for line in linalg() if line.startswith(name.rpartition(".")[2] + "("))
    if home == "ndarray":
        return getattr(cupy.ndarray, rest)
    found = cupy
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _takes(function, name):
    """Return the names of the keywords that a function of CuPy takes; None for any."""
    if isinstance(function, str):
        return set(re.findall(r"[(,] ?(\w+)", function))
    if isinstance(function, cupy.ufunc):
        return {"out", "dtype", "casting"}
    if name.rpartition(".")[2] in ("reduce", "accumulate", "reduceat", "at", "outer"):
        return {"axis", "dtype", "out", "keepdims"}
    known = (function.__doc__ or "").split("\n")[0]
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return {part.partition("=")[0] for part in _documented(known)[1:-1].split(", ")}
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else {p.name for p in parameters}


def test_what_our_code_calls_is_in_the_wheel():
    found = calls()
    names = {name for name, _ in found}
    assert len(names) > 150
    assert {"matmul", "add.at", "ndarray.__getitem__", "linalg.cholesky", "special.erf", "fft.fft"} <= names
    missing = []
    for name, keywords in sorted(found, key=str):
        try:
            function = _in_wheel(name)
        except AttributeError:
            missing.append(name)
            continue
        takes = _takes(function, name)
        if takes is not None and not keywords <= takes:
            missing.append(f"{name}({', '.join(sorted(keywords - takes))})")
    assert missing == []


def test_the_stand_in_has_no_attribute_that_cupy_lacks():
    assert [name for name in dir(StrictArray) if not name.startswith("_") and not hasattr(cupy.ndarray, name)] == []
    assert [name for name in vars(strict.cuda) if not hasattr(cupy.cuda, name)] == []
    assert [name for name in vars(strict.cuda.runtime) if not hasattr(cupy.cuda.runtime, name)] == []
    assert [name for name in vars(strict.random) if not hasattr(cupy.random, name)] == []
    for name in ("synchronize", "mem_info", "id"):
        assert hasattr(cupy.cuda.Device, name)
    for name in ("used_bytes", "total_bytes", "free_all_blocks"):
        assert hasattr(cupy.cuda.MemoryPool, name)
    assert hasattr(cupy, "get_default_memory_pool")
    assert hasattr(cupy, "from_dlpack")


@pytest.mark.parametrize("name", ["random", "uniform", "standard_normal", "integers"])
def test_generators_are_called_as_cupys(name):
    ours, theirs = (
        inspect.signature(getattr(g, name)).parameters for g in (strict.random.Generator, cupy.random.Generator)
    )
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def _unallocated(shape=(2, 2), dtype=np.float64):
    """Return a CuPy array whose memory is nowhere: enough to see whether a call would be launched, or refused."""
    memory = cupy.cuda.UnownedMemory(1024, 8, None, device_id=0)
    return cupy.ndarray(shape, dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))


def _without_device():
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        return
    pytest.skip("there is a device, on which memory that is nowhere must not be touched")


UFUNCS = [op.function for op in _sweep.ops() if isinstance(op.function, np.ufunc) and op.function.signature is None]


@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda ufunc: ufunc.__name__)
def test_cupy_takes_the_ufuncs_that_the_stand_in_takes(ufunc):
    """Also SciPy's, which CuPy finds by their names."""
    _without_device()
    dtypes = (np.float64, np.int64) if ufunc is np.ldexp else (np.float64,) * ufunc.nin
    operands = [strict.ones((2, 2), dtype) for dtype in dtypes]
    try:
        taken = operands[0].__array_ufunc__(ufunc, "__call__", *operands) is not NotImplemented
    except TypeError:
        taken = False
    operands = [_unallocated(dtype=dtype) for dtype in dtypes]
    try:
        found = operands[0].__array_ufunc__(ufunc, "__call__", *operands) is not NotImplemented
    except TypeError:
        found = False
    except cupy.cuda.runtime.CUDARuntimeError:
        found = True
    assert taken == found


def test_cupy_leaves_tensors_to_tensors():
    """CuPy must not take a tensor's array out of it: the gradient would be lost."""
    _without_device()
    a, t = _unallocated(), tg.tensor(np.ones((2, 2)))
    assert a.__array_ufunc__(np.add, "__call__", a, t) is NotImplemented
    assert a.__array_function__(np.concatenate, (cupy.ndarray, tg.Tensor), ([a, t],), {}) is NotImplemented
    assert not hasattr(t, "__cuda_array_interface__")
    assert not hasattr(t, "__cupy_get_ndarray__")


def test_tensors_hold_cupys_arrays():
    _without_device()
    a = _unallocated()
    x = tg.as_tensor(a)
    x.requires_grad = True
    assert x.data is a
    assert type(x.grad) is type(None)
    y = np.swapaxes(np.reshape(x[None, 1:], (2,))[:, None], 0, 1)
    assert (type(y.data), y.shape, y.requires_grad) == (cupy.ndarray, (1, 2), True)


def test_the_driver_that_is_missing_is_told():
    _without_device()
    with pytest.raises(tg.errors.DeviceError, match=r"driver is missing, or too old .*cupy \d.*; or use device='cpu'"):
        tg.ones(3, device="cuda")
