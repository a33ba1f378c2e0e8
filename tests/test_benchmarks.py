"""The benchmarks run, in toy sizes, and compute the same gradients in all libraries; nothing here looks at a clock."""

import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from tapegrad.testing import strict

ROOT = Path(__file__).parents[1]

# The benchmarks are not part of the package, so they are found from the root of the repository.
sys.path.insert(0, str(ROOT))
try:
    from benchmarks import __main__ as command
    from benchmarks import core, frameworks, higher, networks, operations, ops, processes, report
finally:
    sys.path.remove(str(ROOT))

TIMED = [*operations.WORKLOADS, *networks.WORKLOADS]
PEERS = [name for name in frameworks.FRAMEWORKS if name not in ("tapegrad", "hand")]
TINY = core.Settings(repeat=2, least=1e-4, tiny=True)


@pytest.fixture(scope="module")
def library():
    """Return a function that gives a library by name, or skips where it is not installed."""
    made = {}

    def get(name):
        if name not in frameworks.installed():
            pytest.skip(f"{name} is not installed")
        if name not in made:
            made[name] = frameworks.FRAMEWORKS[name]()
        return made[name]

    return get


def numerical(problem):
    """Return central differences of the loss by all parameters, through the arithmetic of tapegrad's namespace."""
    tapegrad = frameworks.Tapegrad()
    constants = [np.asarray(a, "f8") if a.dtype.kind == "f" else a for a in problem.constants]
    parameters = [np.array(p, "f8") for p in problem.parameters]
    step = 1e-6

    def loss():
        return float(problem.loss(tapegrad.namespace, *constants, *parameters))

    found = []
    for p in parameters:
        g = np.zeros_like(p)
        for i in np.ndindex(p.shape):
            value = p[i]
            p[i] = value + step
            above = loss()
            p[i] = value - step
            g[i] = (above - loss()) / (2 * step)
            p[i] = value
        found.append(g)
    return found


@pytest.mark.parametrize("workload", TIMED, ids=lambda w: w.name)
def test_hand_written_gradients_are_derivatives(workload):
    problem = workload.tiny()
    found = core.gradients(problem, frameworks.Hand())[: len(problem.parameters)]
    for g, expected in zip(found, numerical(problem), strict=True):
        tolerance = 1e-7 if g.dtype == np.float64 else 1e-4
        np.testing.assert_allclose(g, expected, rtol=0, atol=tolerance * np.max(np.abs(expected)))


@pytest.mark.parametrize("workload", TIMED, ids=lambda w: w.name)
def test_hand_written_losses_are_the_losses(workload):
    problem = workload.tiny()
    loss, _ = problem.hand(np, *problem.constants, *problem.parameters)
    expected = problem.loss(frameworks.Tapegrad().namespace, *problem.constants, *problem.parameters)
    np.testing.assert_allclose(loss, expected, rtol=1e-12 if loss.dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("workload", TIMED, ids=lambda w: w.name)
def test_tapegrad_agrees_with_the_hand_written_gradients(workload):
    problem = workload.tiny()
    found = {f.name: core.gradients(problem, f) for f in (frameworks.Tapegrad(), frameworks.Hand())}
    assert core.disagreement(found) == ""
    assert [g.dtype for g in found["tapegrad"]] == [p.dtype for p in problem.parameters] * 2


@pytest.mark.parametrize("made", [frameworks.Hand, frameworks.Tapegrad])
@pytest.mark.parametrize("workload", TIMED, ids=lambda w: w.name)
def test_workloads_run_on_a_device(workload, made):
    problem = workload.tiny()
    there = made()
    there.library = strict
    found = {"here": core.gradients(problem, frameworks.Hand()), "there": core.gradients(problem, there)}
    assert core.disagreement(found) == ""


@pytest.mark.filterwarnings("ignore")  # what peers warn about is theirs
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("workload", TIMED, ids=lambda w: w.name)
def test_peers_agree_with_the_hand_written_gradients(workload, name, library):
    problem = workload.tiny()
    found = {f.name: core.gradients(problem, f) for f in (library("hand"), library(name))}
    assert core.disagreement(found) == ""


def test_a_row_whose_gradients_disagree_is_refused():
    def wrong(np, x, w, b):
        loss, (gw, gb) = operations.elementwise_by_hand(np, x, w, b)
        return loss, (gw, gb * (1 + 1e-5))

    right = operations.elementwise_problem(5, "float64")
    problem = frameworks.Problem(right.loss, wrong, right.constants, right.parameters)
    workload = core.Workload("name", "group", "what", lambda: problem, lambda: problem)
    (row,) = workload.run([frameworks.Tapegrad(), frameworks.Hand()], TINY)
    assert row.refused.startswith("gradients disagree: number 1 of tapegrad and hand")
    assert not row.values
    assert "REFUSED" in report.row_text(row, ["tapegrad", "hand"])


@pytest.mark.parametrize(
    ("a", "b"),
    [([1.0, 2.0], [1.0, 2.00001]), ([1.0], [[1.0]]), ([math.nan], [1.0]), ([0.0], [1.0]), ([1e-30], [0.0])],
)
def test_disagreement_is_seen(a, b):
    assert core.disagreement({"one": [np.array(a)], "other": [np.array(b)]})


def test_agreement_is_relative_and_knows_float32():
    assert core.disagreement({"one": [np.array([1e9, 1.0])], "other": [np.array([1e9 + 1, 1.0])]}) == ""
    ones = np.ones(2, "f4")
    assert core.disagreement({"one": [ones], "other": [ones * np.float32(1 + 5e-5)]}) == ""
    assert core.disagreement({"one": [np.zeros(2)], "other": [np.zeros(2)]}) == ""


def test_a_peer_that_fails_is_noted_and_the_rest_is_measured():
    class Broken(frameworks.Framework):
        name = "broken"

        def prepare(self, problem):
            raise RuntimeError("no kernel")

    (row,) = operations.WORKLOADS[0].run([frameworks.Tapegrad(), frameworks.Hand(), Broken()], TINY)
    assert row.failed == {"broken": "RuntimeError: no kernel"}
    assert set(row.values) == {"tapegrad", "hand"}
    assert "broken failed: RuntimeError: no kernel" in report.row_text(row, ["tapegrad", "hand", "broken"])


def test_budgets():
    row = core.Row("name", "what", "step")
    row.take({"tapegrad": [3e-6, 1e-6, 2e-6], "torch": [4e-6], "hand": [0.5e-6]})
    assert row.values["tapegrad"] == 2e-6
    assert row.ratios == {"torch": 0.5, "hand": 4.0}
    kept, over = core.Budget("torch", 0.5).check(row), core.Budget("hand", 1.3, more=True).check(row)
    assert (kept.found, kept.kept) == (0.5, True)
    assert over.found == pytest.approx(1.5)
    assert not over.kept
    assert core.Budget("jax", 0.5).check(row) is None
    row.checks = [kept, over]
    assert report.summary([row]).splitlines()[0] == "1 of 2 budgets kept"


def test_samples_are_taken_in_turns():
    order = []

    class Named(frameworks.Framework):
        def __init__(self, name):
            self.name = name

    steps = {Named(name): lambda name=name: order.append(name) for name in "abc"}
    samples = core.interleaved(steps, "title", core.Settings(repeat=3, least=1e-9))
    assert {name: len(times) for name, times in samples.items()} == dict.fromkeys("abc", 3)
    assert "".join(order[-18:]) == "aabbcc" + "bbccaa" + "ccaabb"  # an untimed step before each sample


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.2345e-6, "s", "1.23 us"),
        (0.5, "s", "500 ms"),
        (12.0, "s", "12 s"),
        (100.0, "bytes", "100 B"),
        (-3e6, "bytes", "-2.86 MiB"),
    ],
)
def test_values_are_told_in_fitting_units(value, unit, text):
    assert report.value_text(value, unit) == text


def test_the_table_replaces_what_stands_between_the_marks():
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.rewritten(text, "new") == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="without the marks"):
        report.rewritten("no marks", "new")
    assert report.rewritten(command.README.read_text(), "new").count("new\n") == 1


def test_json_and_markdown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "set_threads", lambda threads: None)  # other tests go on in this process
    monkeypatch.setattr(command, "limit_blas", lambda threads: None)
    monkeypatch.setattr(command.gc, "freeze", lambda: None)
    readme = tmp_path / "README.md"
    readme.write_text(f"{report.BEGIN}\n{report.END}\n")
    monkeypatch.setattr(command, "README", readme)
    path = tmp_path / "figures.json"
    options = f"--tiny --repeat 2 --least 0.0001 --only chain-0d,seed --libraries tapegrad,hand --readme --json {path}"
    assert command.main(options.split()) == 0

    found = json.loads(path.read_text())
    assert set(found) == {"machine", "settings", "rows"}
    assert found["settings"] == {"threads": 1, "device": "cpu", "repeat": 2, "least_seconds": 1e-4, "tiny": True}
    assert found["machine"]["versions"]["numpy"] == np.__version__
    assert [row["workload"] for row in found["rows"]] == ["chain-0d", "seed-network"]
    for row in found["rows"]:
        assert set(row["values"]) == set(row["samples"]) == {"tapegrad", "hand"}
        assert all(len(times) == 2 and min(times) > 0 for times in row["samples"].values())
        assert row["ratios"]["hand"] == pytest.approx(row["values"]["tapegrad"] / row["values"]["hand"])
        assert (row["unit"], row["refused"], row["failed"]) == ("s", "", {})

    table = readme.read_text()
    assert table.count("\n| chain-0d | operation |") == 1
    printed = capsys.readouterr().out
    assert printed.startswith("workload")
    assert "seed-network" in printed


def test_the_list_and_mistaken_names(capsys):
    assert command.main(["--list", "--only", "chains,memory"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["chain-0d", "chain-8", "memory-perceptron", "memory-transformer"]
    for options, message in (
        (["--only", "chans"], "got --only chans"),
        (["--libraries", "numpi"], "got --libraries numpi, expected some of tapegrad, hand"),
        (["--repeat", "0"], "must be positive"),
    ):
        with pytest.raises(SystemExit):
            command.main(options)
        assert message in capsys.readouterr().err


def test_libraries_that_cannot_run_are_left_out(capsys, monkeypatch):
    class Absent(frameworks.Framework):
        def __init__(self, device, threads):
            raise RuntimeError("no device")

    monkeypatch.setattr(command, "set_threads", lambda threads: None)
    monkeypatch.setattr(command, "limit_blas", lambda threads: None)
    monkeypatch.setitem(frameworks.FRAMEWORKS, "hand", Absent)
    monkeypatch.setitem(frameworks.FRAMEWORKS, "tapegrad", Absent)
    Absent.package = "numpy"
    with pytest.raises(SystemExit):
        command.main(["--libraries", "tapegrad,hand"])
    error = capsys.readouterr().err
    assert "hand is left out: no device" in error
    assert "no library can run on --device cpu" in error


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell a process's memory")
@pytest.mark.parametrize("workload", processes.WORKLOADS, ids=lambda w: w.name)
def test_workloads_with_processes_of_their_own(workload):
    rows = workload.run([frameworks.Tapegrad(), frameworks.Hand()], TINY)
    for row in rows:
        assert "tapegrad" in row.values
        assert not row.failed
    assert [check.unit for row in rows for check in row.checks] or workload.group == "memory"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell a process's memory")
def test_the_peak_of_memory_is_seen_and_forgotten():
    def fill_and_drop():
        return np.ones(2**23).sum()  # 64 MiB

    processes.forget_peak()
    before = processes.resident()
    fill_and_drop()
    assert processes.resident(peak=True) - before > 60 * 2**20
    processes.forget_peak()
    assert processes.resident(peak=True) - before < 30 * 2**20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not tell a process's memory")
@pytest.mark.parametrize("workload", higher.WORKLOADS, ids=lambda workload: workload.name)
def test_workloads_of_higher_derivatives(workload):
    for row in workload.run([frameworks.Tapegrad()], TINY):
        assert not row.refused
        assert "tapegrad" in row.values
        assert row.checks


def test_calls_of_ops_are_measured_for_each_input():
    costs = ops.run(["maximum", "sum", "eigh"], TINY)
    assert {(c.op, c.input) for c in costs if c.op in ("maximum", "sum", "eigh")} == {
        ("maximum", 0),
        ("maximum", 1),
        ("sum", 0),
        ("eigh", 0),
    }
    assert [c.ratio for c in costs] == sorted((c.ratio for c in costs), reverse=True)
    for c in costs:
        assert c.forward == min(c.samples["forward"])
        assert c.backward == min(c.samples["backward"]) > 0


@pytest.mark.parametrize("op", ops.named(), ids=lambda op: op.name)
def test_every_op_has_a_call_that_can_be_measured(op):
    for entry in ops.calls(op, tiny=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert list(ops.measured(entry, core.Settings(repeat=1, least=1e-9)))


def test_large_calls_are_of_known_ops_and_large():
    pytest.importorskip("scipy")
    names = {op.name for op in ops.named()}
    later = {"cumulative_prod", "cumulative_sum", "unstack", "matvec", "vecmat"}  # not in NumPy 2.0
    known = names | {name for name in later if not hasattr(np, name)}
    assert set(ops.LARGE) <= known
    assert set(ops.REASONS) <= known
    (entry,) = ops.calls(next(op for op in ops.named() if op.name == "hypot"))
    assert all(0.8 * ops.SIZE < math.prod(shape) < 1.2 * ops.SIZE for shape in entry.case.shapes)


def test_reasons_that_lack_and_reasons_too_many_are_told(monkeypatch):
    monkeypatch.setattr(ops, "REASONS", {"sum": "of no use", "exp": "why"})
    costs = [ops.Cost("exp", "exp/3", 0, 1.0, 4.0), ops.Cost("sum", "sum/3", 0, 1.0, 2.0), ops.Cost("f", "f", 0, 1, 9)]
    assert ops.summary(costs).splitlines() == [
        "1 of 3 within 3 times the forward pass",
        "without a reason: f",
        "reasons no longer needed: sum",
    ]
    assert ops.text(costs[0]).endswith("4.00  why")
    assert ops.text(costs[1]).endswith("2.00")
    assert [line.split(" | ")[-1] for line in ops.as_markdown(costs).splitlines()[4:]] == ["why |", " |"]


def test_the_command_measures_ops(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "set_threads", lambda threads: None)
    monkeypatch.setattr(command, "limit_blas", lambda threads: None)
    readme = tmp_path / "README.md"
    readme.write_text("<!-- ops: begin -->\n<!-- ops: end -->\n")
    monkeypatch.setattr(command, "README", readme)
    path = tmp_path / "figures.json"
    options = f"--ops exp2,tril --tiny --repeat 2 --least 0.0001 --readme --json {path}"
    assert command.main(options.split()) == 0
    found = json.loads(path.read_text())
    assert {row["op"] for row in found["rows"]} == {"exp2", "tril"}
    assert found["limit"] == ops.LIMIT
    assert "of 2 calls of 2 ops" in readme.read_text()
    assert capsys.readouterr().out.startswith("call")
    with pytest.raises(SystemExit):
        command.main(["--ops", "exq"])
    assert "got --ops exq, which is the beginning of no op's name" in capsys.readouterr().err
