"""The command line certifies an installation: its options, its table, its report, its exit status."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tapegrad._op import RULES
from tapegrad.testing import __main__ as program
from tapegrad.testing import _certify, mutants
from tapegrad.testing._certify import Failure, Outcome, Plan, certified, certify_op, chapter_of, known_ops


def run(*arguments):
    return program.main([*arguments, "--jobs", "1"])


def exits(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        program.main(list(arguments))
    return caught.value.code, capsys.readouterr().err


def test_right_operations_are_certified(capsys, tmp_path):
    path = tmp_path / "report.json"
    assert run("exp", "sum", "--report", str(path)) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split() == ["chapter", "ops", "cases", "checks", "failed", "seconds"]
    assert [line.split()[0] for line in lines[2:4]] == ["elementary", "reductions"]
    assert lines[-1].startswith("certified: 2 operations passed, in ")
    found = json.loads(path.read_text())
    assert found["certified"] is found["complete"] is True
    assert found["environment"]["numpy"] == np.__version__
    assert [op["op"] for op in found["ops"]] == ["exp", "sum"]
    exp = found["ops"][0]
    assert exp["chapter"] == "elementary"
    assert set(exp["checks"]) == {"forward", "first", "second", "precision", "layouts", "device"}
    assert exp["failures"] == []


def test_wrong_operations_are_not_certified(capsys, tmp_path):
    path = tmp_path / "report.json"
    mutant = next(m for m in mutants(RULES["exp"]) if m.kind == "sign")
    with mutant.planted():
        assert run("exp", "sin", "--backend", "numpy", "--report", str(path)) == 1
    out = capsys.readouterr().out
    assert "FAILED exp (first, case exp/()" in out
    assert "the VJP of exp/() (float64) by input 0: got " in out
    assert "FAILED sin" not in out
    assert "NOT certified: 1 of 2 operations failed" in out
    found = json.loads(path.read_text())
    assert found["certified"] is False
    failures = found["ops"][0]["failures"]
    assert failures
    assert failures[0]["law"] == "first"


def test_dtypes_and_backends_choose_what_is_checked():
    pytest.importorskip("hypothesis")
    everything = certify_op("exp", Plan())
    narrow = certify_op("exp", Plan(dtypes="f", backends=("numpy",)))
    assert set(narrow.checks) == {"forward", "precision"}
    assert sum(narrow.checks.values()) < sum(everything.checks.values())
    device = certify_op("exp", Plan(backends=("strict",)))
    assert set(device.checks) == {"device"}
    deep = certify_op("sin", Plan(profile="deep", dtypes="d", backends=("numpy",)))
    assert deep.checks["anywhere"] == 1
    assert deep.checks["first"] > everything.checks["first"]
    assert deep.failures == []


def test_calls_that_a_device_refuses_are_counted():
    found = certify_op("to_device", Plan(dtypes="d", backends=("strict",)))
    assert found.refused_by_device == found.checks["device"] > 0


def test_operations_are_chosen_by_name_pattern_and_chapter():
    found = known_ops()
    assert len(found) == len(set(found)) > 300
    assert program.selected(["exp", "exp"]) == ["exp"]
    assert set(program.selected(["linalg.*"])) == {name for name in found if name.startswith("linalg.")}
    assert set(program.selected(["fft"])) >= {name for name, op in found.items() if chapter_of(op) == "fft"}
    assert program.selected([]) == list(found)


def test_every_chapter_is_known():
    chapters = {chapter_of(op) for op in known_ops().values()}
    assert {"arithmetic", "elementary", "linalg", "neural", "reductions", "special"} <= chapters
    assert all(chapter.isidentifier() for chapter in chapters)


def test_listing_checks_nothing(capsys):
    assert run("sum", "mean", "--list") == 0
    assert capsys.readouterr().out.split() == ["sum", "reductions", "mean", "reductions"]


def test_quiet_says_nothing(capsys):
    assert run("sin", "--dtype", "float64", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["matmull"], "no operation is called 'matmull'; did you mean matmul"),
        (["--depth", "bottomless"], "invalid choice: 'bottomless'"),
        (["--jobs", "0"], "got '0', expected a whole number from 1 on"),
        (["--report", "/no/such/folder/report.json"], "there is no folder /no/such/folder"),
    ],
)
def test_bad_options_are_told_in_a_sentence(capsys, arguments, words):
    status, said = exits(capsys, *arguments)
    assert status == 2
    assert words in said
    assert said.startswith("python -m tapegrad.testing: ")
    assert said.count("\n") == 1


def test_a_device_that_is_not_there_is_told(capsys, monkeypatch):
    monkeypatch.setattr(program, "device", lambda: None)
    status, said = exits(capsys, "exp", "--backend", "cupy")
    assert status == 2
    assert "CuPy finds no CUDA device here" in said


def test_help_explains_itself(capsys):
    with pytest.raises(SystemExit) as caught:
        program.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "exit status: 0 every check passed" in out
    for option in ("--depth", "--dtype", "--backend", "--jobs", "--report", "--list", "--quiet"):
        assert option in out


def test_interruption_reports_what_was_reached(capsys, monkeypatch, tmp_path):
    def interrupted(names, plan, jobs):
        yield certify_op("exp", Plan(dtypes="d", backends=("numpy",)))
        raise KeyboardInterrupt

    path = tmp_path / "report.json"
    monkeypatch.setattr(program, "certified", interrupted)
    assert run("exp", "sin", "--report", str(path)) == 130
    assert "interrupted after 1 of 2 operations" in capsys.readouterr().err
    found = json.loads(path.read_text())
    assert (found["certified"], found["complete"], len(found["ops"])) == (False, False, 1)


def test_progress_is_told_without_tqdm(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    outcomes = [Outcome(str(i), "sums", "linear") for i in range(25)]
    assert list(program.shown(iter(outcomes), 25, False)) == outcomes
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "2 of 25 operations"
    assert said[-1] == "25 of 25 operations"


def test_many_failures_are_cut_short():
    failed = [Outcome(f"op{i}", "sums", "linear", failures=[Failure("op/3", "first", "d", "wrong")]) for i in range(12)]
    text = program.complaints(failed)
    assert text.count("FAILED") == 10
    assert text.endswith("and 2 more operations: op10, op11")


def test_an_error_of_any_kind_is_a_failure(monkeypatch):
    def broken(*facts, **options):
        yield _certify.Check("first", "d", lambda: 1 // 0)

    monkeypatch.setattr(_certify, "checks", broken)
    found = certify_op("exp", Plan())
    assert found.failures[0].message.startswith("ZeroDivisionError: ")


def test_processes_find_what_one_finds():
    plan = Plan(dtypes="d", backends=("numpy",))
    names = ["exp", "sin", "sum"]
    alone = {outcome.op: (outcome.cases, outcome.checks) for outcome in certified(names, plan)}
    together = {outcome.op: (outcome.cases, outcome.checks) for outcome in certified(names, plan, 2)}
    assert alone == together


def test_planted_faults_are_counted(capsys, tmp_path):
    path = tmp_path / "mutants.json"
    assert run("exp", "--mutations", "--report", str(path)) == 0
    assert "| all |" in capsys.readouterr().out
    found = json.loads(path.read_text())
    assert found["share"] == 1.0
    assert found["planted"]["sign"] == 1


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "tapegrad.testing", "tanh", "--dtype", "float64", "--jobs", "1"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "certified: 1 operation passed" in ran.stdout
