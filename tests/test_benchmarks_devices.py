"""The workloads for a device, on the host and on the stand-in for CuPy, and the command that runs everything on one."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tapegrad.testing import cuda_standin, strict

ROOT = Path(__file__).parents[1]

# The benchmarks are not part of the package, so they are found from the root of the repository.
sys.path.insert(0, str(ROOT))
try:
    from benchmarks import core, devices, frameworks, report
finally:
    sys.path.remove(str(ROOT))

TINY = core.Settings(repeat=1, least=1e-4, tiny=True)


def libraries(module):
    made = [frameworks.Tapegrad(), frameworks.Hand()]
    for each in made:
        each.library = module
    return made


@pytest.mark.parametrize("module", [np, strict], ids=["host", "stand-in"])
@pytest.mark.parametrize("workload", devices.WORKLOADS, ids=lambda w: w.name)
def test_workloads_run_and_agree(workload, module):
    (row,) = workload.run(libraries(module), TINY)
    assert not row.refused
    assert not row.failed
    if isinstance(workload, devices.Waits):
        (check,) = row.checks
        assert (check.found, check.kept) == (0, True)
    else:
        assert set(row.values) == {"tapegrad", "hand"}
        assert all(value > 0 for value in row.values.values())


def test_names_are_unique_and_every_group_has_workloads():
    names = [workload.name for workload in devices.WORKLOADS]
    assert len(set(names)) == len(names)
    assert {workload.group for workload in devices.WORKLOADS} == {"host", "steps", "waits", "peak"}


def test_a_step_that_waits_is_counted():
    (framework, _) = libraries(strict)
    x = strict.ones(3)
    assert devices.synchronizations(framework, lambda: float(x[0]) + float(x[1])) == 2
    assert devices.synchronizations(frameworks.Tapegrad(), lambda: 1.0) == 0


def test_peak_memory_is_what_arrays_took():
    with devices.peak_memory(frameworks.Hand()) as found:
        a = np.ones(100_000)
        del a
        np.ones(10_000)
    assert 800_000 <= found[0] < 900_000


def test_peak_memory_on_a_device_is_told_by_a_hook_of_its_pool():
    class Hook:
        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    cupy = SimpleNamespace(__name__="cupy", cuda=SimpleNamespace(MemoryHook=Hook))
    framework = frameworks.Hand()
    framework.library = cupy
    hook = devices._hook(cupy)
    for size in (100, 50):
        hook.malloc_postprocess(mem_size=size, mem_ptr=0)
    hook.free_postprocess(mem_size=100, mem_ptr=0)
    hook.malloc_postprocess(mem_size=20, mem_ptr=0)
    assert (hook.peak, hook.used) == (150, 70)
    with devices.peak_memory(framework) as found:
        pass
    assert found == [0]


def test_the_command_runs_everything_and_tells_it(monkeypatch, capsys, tmp_path):
    commands = []

    def ran(what, *arguments):
        commands.append(arguments)
        if "--json" in arguments:
            file = Path(arguments[arguments.index("--json") + 1])
            rows = devices.WORKLOADS[1].run(libraries(np), TINY)
            file.write_text(devices.json.dumps(report.as_json(rows, TINY)))
        return devices.Result(what, "python " + " ".join(arguments), what != "node graph", "said this")

    monkeypatch.setattr(devices, "ran", ran)
    assert devices.main(["--device", "cpu", "--tiny"]) == 1
    modules = [arguments[1] for arguments in commands]
    assert modules == [
        *("pytest", "tapegrad", "tapegrad.examples.seed_network", "tapegrad.examples.node_graph"),
        *("tapegrad.examples.layer_backprop", "benchmarks"),
    ]
    printed = capsys.readouterr().out
    assert "| tests | `python -m pytest -q -rf tests` | passed: said this |" in printed
    assert "| FAILED: said this |" in printed
    assert "| chain | operation |" in printed
    assert str(tmp_path) not in printed
    assert "FOLDER" in printed


def test_a_part_is_run_and_its_last_line_kept():
    result = devices.ran("numbers", "-c", "print(1); print('== 2 passed ==')")
    assert (result.passed, result.says) == (True, "2 passed")
    assert not devices.ran("exit", "-c", "raise SystemExit(3)").passed


def test_the_readme_has_a_place_for_the_results():
    text = devices.README.read_text()
    made = report.rewritten(text, devices.section("cuda", "a card", [], "| a | table |"), "device")
    assert "a card." in made
    assert "| a | table |" in made
    assert made.startswith(text[:200])


def test_without_a_device_it_says_what_to_do(capsys):
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        assert devices.main([]) == 2
        assert "update the driver" in capsys.readouterr().err
    else:
        pytest.skip("there is a device")


@pytest.mark.parametrize("name", ["tapegrad", "hand"])
def test_programs_of_the_benchmarks_know_the_device_by_name(name):
    """As `--device cuda` makes them, with the stand-in where cupy would be."""
    with cuda_standin():
        framework = frameworks.FRAMEWORKS[name]()
        framework.library = strict
        step = framework.prepare(devices.WORKLOADS[2].tiny())
        assert all(type(framework.host(g)) is np.ndarray for g in step())


@pytest.mark.gpu
def test_workloads_run_on_the_device():
    cupy = pytest.importorskip("cupy", reason="cupy is not installed", exc_type=ImportError)
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    for workload in devices.WORKLOADS:
        (row,) = workload.run([frameworks.Tapegrad("cuda"), frameworks.Hand("cuda")], TINY)
        assert not row.refused, row
        if isinstance(workload, devices.Waits):
            assert row.checks[0].kept, row
