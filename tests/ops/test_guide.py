"""The op author's guide: its code runs and prints, or raises, what it says; its kernel compiles for a device."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

from tapegrad import ops
from tapegrad._op import CLASSIFIED, RULES
from tapegrad._tensor import OPS
from tapegrad.testing import _sweep, check_gradients

GUIDE = Path(ops.__file__).with_name("GUIDE.md")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
KERNEL = "A CUDA kernel: a recurrence"


def blocks(section):
    """Return the code blocks of a section: whether each needs a device, its text, and the text that follows, if any."""
    pattern = r"^```python( gpu)?\n(.*?)^```\n(?:```text\n(.*?)^```$)?"
    found = re.findall(pattern, SECTIONS[section], re.MULTILINE | re.DOTALL)
    assert len(found) == SECTIONS[section].count("```python")
    return found


def run(section, device):
    """Run the blocks of a section, one after the other, and return their names and what each printed and promised."""
    space, results = {"__name__": "guide"}, []
    for gpu, code, promised in blocks(section):
        if gpu and not device:
            continue
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            try:
                exec(compile(code, GUIDE.name, "exec"), space)
            except Exception as error:
                if not promised:
                    raise
                print(f"{type(error).__name__}: {error}")
        results.append((stream.getvalue(), promised))
    return space, results


@pytest.fixture(autouse=True)
def rows():
    """Take back the rows that the guide's code writes: some are of functions that have rows already."""
    _sweep.ops()  # which writes those rows first that wait for SciPy
    tables = (RULES, OPS, CLASSIFIED)
    before = [dict(table) for table in tables]
    yield
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)


@pytest.mark.parametrize("section", [title for title in SECTIONS if blocks(title)])
def test_blocks_print_or_raise_what_stands_below_them(section):
    if "scipy" in SECTIONS[section]:
        pytest.importorskip("scipy")
    if "gradient_property" in SECTIONS[section]:
        pytest.importorskip("hypothesis")
    _, results = run(section, device=False)
    assert [printed for printed, _ in results] == [promised for _, promised in results]


def test_the_rows_are_right():
    pytest.importorskip("scipy")
    space = run("The words", device=False)[0]
    rng = np.random.default_rng(0)
    x, y = rng.uniform(1, 2, (2, 3)), rng.uniform(1, 2, 3)
    check_gradients(space["softsign"], -x)
    check_gradients(space["harmonic"], x, y)
    check_gradients(lambda x: space["huber"](x, width=1.5), x)
    check_gradients(lambda x: space["blur"](x, 0.7, truncate=2.0), x)
    check_gradients(space["bilinear"], x[:, 0], rng.normal(size=4))
    check_gradients(space["polar"], x, x[::-1])


@pytest.mark.gpu
def test_the_kernel_does_on_a_device_what_its_twin_does():
    cupy = pytest.importorskip("cupy", reason="cupy is not installed", exc_type=ImportError)
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    _, results = run(KERNEL, device=True)
    assert [printed for printed, _ in results] == [promised for _, promised in results]


@pytest.mark.parametrize("real", ["float", "double"])
def test_the_kernel_compiles(real):
    nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="cupy is not installed", exc_type=ImportError)
    try:
        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"NVIDIA's runtime compiler is not installed: {error}")
    program = nvrtc.createProgram(run(KERNEL, device=False)[0]["SOURCE"], "scan.cu", [], [])
    try:
        nvrtc.compileProgram(program, [f"-DREAL={real}", "-arch=sm_90"])
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    assert nvrtc.getCUBIN(program)


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", GUIDE.read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not (GUIDE.parent / target).exists()] == []
