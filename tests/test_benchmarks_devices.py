"""The workloads for a device, on the host and on the stand-in for CuPy, and the command that runs everything on one."""

import subprocess
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
    from benchmarks import core, cuda, devices, frameworks
finally:
    sys.path.remove(str(ROOT))

TINY = core.Settings(repeat=1, least=1e-4, tiny=True)


def libraries(module):
    made = [frameworks.Tapegrad(), frameworks.Hand()]
    for each in made:
        each.library = module
    return made


@pytest.mark.parametrize("module", [np, strict], ids=["host", "stand-in"])
@pytest.mark.parametrize("workload", cuda.WORKLOADS, ids=lambda w: w.name)
def test_workloads_run_and_agree(workload, module):
    (row,) = workload.run(libraries(module), TINY)
    assert not row.refused
    assert not row.failed
    if isinstance(workload, cuda.Waits):
        (check,) = row.checks
        assert (check.found, check.kept) == (0, True)
    else:
        assert set(row.values) == {"tapegrad", "hand"}
        assert all(value > 0 for value in row.values.values())


def test_names_are_unique_and_every_group_has_workloads():
    names = [workload.name for workload in cuda.WORKLOADS]
    assert len(set(names)) == len(names)
    assert {workload.group for workload in cuda.WORKLOADS} == {"host", "steps", "waits", "peak"}


def test_a_step_that_waits_is_counted():
    (framework, _) = libraries(strict)
    x = strict.ones(3)
    assert cuda.synchronizations(framework, lambda: float(x[0]) + float(x[1])) == 2
    assert cuda.synchronizations(frameworks.Tapegrad(), lambda: 1.0) == 0


def test_peak_memory_is_what_arrays_took():
    with cuda.peak_memory(frameworks.Hand()) as found:
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
    hook = cuda._hook(cupy)
    for size in (100, 50):
        hook.malloc_postprocess(mem_size=size, mem_ptr=0)
    hook.free_postprocess(mem_size=100, mem_ptr=0)
    hook.malloc_postprocess(mem_size=20, mem_ptr=0)
    assert (hook.peak, hook.used) == (150, 70)
    with cuda.peak_memory(framework) as found:
        pass
    assert found == [0]


CARD = "a card, driver for CUDA 12.9, CUDA 12.9, cupy 14.2.0"


@pytest.fixture
def readme(monkeypatch, tmp_path):
    """A copy of the README, a device, and commands that only note what they are and fail where they name `broken`."""
    copy = tmp_path / "README.md"
    copy.write_text(devices.README.read_text())
    state = SimpleNamespace(text=copy.read_text, commands=[], broken="node_graph", before=[])

    def ran(command):
        state.before.append(copy.read_text())
        state.commands.append(command)
        status = "FAILED" if state.broken in command else "passed"
        table = "\n\n| workload | per |\n|---|---|\n| chain | step |" if "--markdown" in command else ""
        return f"* `python {command}`: {status}, 2026-01-02: said this{table}"

    monkeypatch.setattr(devices, "README", copy)
    monkeypatch.setattr(devices, "ran", ran)
    monkeypatch.setattr(devices, "card", lambda device: CARD)
    return state


def test_the_command_runs_everything_in_the_order_of_what_matters(readme, capsys):
    untouched = readme.text().partition("<!-- device: begin -->")[0]
    assert devices.main([]) == 1, "one command failed"
    assert readme.commands == [c for part in devices.parts("cuda").values() for c in part]
    assert list(devices.parts("cuda")) == ["tests", "examples", "benchmarks", "sweep", "suite"]
    assert readme.text().startswith(untouched)
    text = readme.text().removeprefix(untouched)
    assert "No device has been at hand" not in text
    assert "has not run" not in text
    assert "node_graph --device cuda`: FAILED, 2026-01-02: said this" in text
    assert text.count("\n\n| workload | per |") == 4
    assert text.partition(CARD)[2].partition("\n<!--")[0] in capsys.readouterr().out


def test_what_was_cut_off_says_what_has_not_run_and_goes_on_later(readme):
    devices.main([])
    everything, cut = readme.text(), readme.before[7]  # as it stood when the eighth command began
    assert cut.count("`: has not run") == len(readme.commands) - 7
    devices.README.write_text(cut)
    before, readme.broken = readme.commands[:7], "nothing"
    readme.commands.clear()
    assert devices.main([]) == 0
    assert set(before) & set(readme.commands) == {c for c in before if "node_graph" in c}, "what failed runs again"
    assert readme.text() == everything.replace("FAILED", "passed")
    readme.commands.clear()
    assert devices.main([]) == 0
    assert readme.commands == [], "all of it has passed"


def test_parts_are_chosen_and_run_again(readme):
    assert devices.main(["--parts", "benchmarks,tests", "--tiny", "--repeat", "1"]) == 0
    plan = devices.parts("cuda", ["--tiny", "--repeat", "1"])
    assert readme.commands == plan["tests"] + plan["benchmarks"]
    assert all(" --tiny --repeat 1 --only " in c for c in plan["benchmarks"])
    assert devices.main(["--parts", "tests"]) == 0
    assert readme.commands[-1:] == plan["tests"], "what has passed runs again where it is named"
    assert readme.text().count("said this") == 1, "toy figures are no figures"


def test_another_card_or_version_begins_anew(readme, monkeypatch):
    devices.main(["--parts", "examples"])
    monkeypatch.setattr(devices, "card", lambda device: CARD.replace("14.2.0", "14.2.1"))
    devices.main(["--parts", "tests"])
    assert readme.text().count("said this") == 1


def test_on_the_host_nothing_is_written(readme, capsys):
    before = readme.text()
    devices.main(["--device", "cpu", "--parts", "tests,benchmarks", "--only", "chain"])
    assert readme.text() == before
    assert readme.commands[1:] == ["-m benchmarks --device cpu --markdown --only chain"]
    assert "`: has not run" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--parts", "test"], ["--tinny"], ["--repeat", "many"]])
def test_misspelled_options_end_it_at_once(wrong, readme):
    with pytest.raises(SystemExit):
        devices.main(wrong)
    assert readme.commands == []


def test_a_command_is_run_and_its_last_line_and_figures_kept():
    command = "-c 'print(1); print(\"== 2 passed ==\")'"
    told = devices.ran(command)
    assert told.endswith(": 2 passed")
    assert devices.passed(command, {command: told})
    assert "`: FAILED, " in devices.ran("-c 'raise SystemExit(3)'")
    assert devices.ran("-c 'import sys; print(sys.argv[1:])' FOLDER/report").endswith(": ['FOLDER/report']")
    program = "import sys; print('figures'); print('| a |')"
    assert devices.ran(f'-c "{program}" --markdown').endswith(": figures\n\n| a |")


def test_the_slices_are_the_sweep():
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--co", "-q", "-k", "sweep", "-p", "no:cacheprovider", "tests/test_device.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert {c.split()[-1] for c in devices.parts("cuda")["sweep"]} == {line for line in collected if "::" in line}


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
        step = framework.prepare(cuda.WORKLOADS[2].tiny())
        assert all(type(framework.host(g)) is np.ndarray for g in step())


@pytest.mark.gpu
def test_workloads_run_on_the_device():
    cupy = pytest.importorskip("cupy", reason="cupy is not installed", exc_type=ImportError)
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    for workload in cuda.WORKLOADS:
        (row,) = workload.run([frameworks.Tapegrad("cuda"), frameworks.Hand("cuda")], TINY)
        assert not row.refused, row
        if isinstance(workload, cuda.Waits):
            assert row.checks[0].kept, row
