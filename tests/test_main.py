"""The main job from the command line: it learns, reports, explains itself, and survives Ctrl-C and bad options."""

import io
import json
import re
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import tapegrad.__main__ as job
from tapegrad import nn
from tapegrad.testing import cuda_standin

for _package in ("sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(_package)

FILES = {
    "index.html",
    "learning_curves.png",
    "first_layer.png",
    "misclassified.png",
    "tape.txt",
    "metrics.json",
    "weights.npz",
}


def _metrics(folder):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"), parse_constant=refuse)


def _assert_whole(folder):
    """Assert that every file of a report is there and can be read, and return its figures."""
    assert {path.name for path in folder.iterdir()} == FILES
    for path in folder.glob("*.png"):
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert content.rstrip().endswith(b"IEND\xaeB`\x82")
    assert zipfile.ZipFile(folder / "weights.npz").testzip() is None
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == FILES - {"index.html"}
    assert page.rstrip().endswith("</html>")
    return _metrics(folder)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_learns_to_read_digits(seed, tmp_path, capsys):
    assert job.main(["--seed", str(seed), "--output", str(tmp_path / "deep" / "report")]) == 0
    metrics = _assert_whole(tmp_path / "deep" / "report")
    assert metrics["state"] == "complete"
    assert metrics["test_accuracy"] >= 0.97
    assert metrics["test_images"] == 450
    assert metrics["training_images"] + metrics["test_images"] == 1797
    assert metrics["epochs"] == list(range(61))
    assert metrics["accuracies"]["held out"][-1] == pytest.approx(metrics["test_accuracy"])
    assert metrics["losses"]["held out"][-1] < 0.3 < 2 < metrics["losses"]["held out"][0]
    confusion = np.array(metrics["confusion"])
    assert confusion.sum() - np.trace(confusion) == metrics["test_errors"]
    assert confusion.sum(axis=1).min() >= 43, "the split has equal shares of every digit"
    printed, progress = capsys.readouterr()
    assert f"{metrics['test_accuracy']:.2%}" in printed
    assert "index.html" in printed
    assert "loss" in progress
    assert "accuracy" in progress


def test_the_tape_of_a_step_is_in_the_report(tmp_path):
    assert job.main(["--epochs", "1", "--batch-size", "10", "--quiet", "--output", str(tmp_path)]) == 0
    header, *lines = (tmp_path / "tape.txt").read_text(encoding="utf-8").splitlines()
    assert header.split()[:2] == ["position", "operation"]
    assert [line.split()[1] for line in lines if line.split()[0] == "leaf"] == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    ]
    records = [line for line in lines if line.split()[0].isdigit()]
    assert "relu" in [line.split()[1] for line in records]
    assert all(any(name in line for line in records) for name in ("images", "0.weight", "0.bias", "2.weight", "2.bias"))
    assert "float32 (10, 128)" in records[0]
    assert all("float64" not in line for line in lines)
    total = sum(int(line.split()[-1].replace(",", "")) for line in records)
    assert lines[-1].split() == ["together", f"{total:,}"]
    assert _metrics(tmp_path)["tape_bytes"] == total > 10 * 128 * 4
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert records[0].strip() in page


def test_the_saved_weights_give_the_reported_accuracy(tmp_path):
    assert job.main(["--epochs", "2", "--seed", "5", "--quiet", "--output", str(tmp_path)]) == 0
    digits = job.load(5, "cpu")
    model = job.classifier(np.random.default_rng(1), "cpu")
    with np.load(tmp_path / "weights.npz") as state:
        model.load_state_dict(state)
    training = job.Training(model)
    training.evaluate(digits, 2)
    metrics = _metrics(tmp_path)
    assert training.accuracies["held out"] == [pytest.approx(metrics["test_accuracy"])]
    assert training.losses["training"] == [pytest.approx(metrics["losses"]["training"][-1], rel=1e-5)]


def test_equal_seeds_give_equal_results_and_others_do_not(tmp_path):
    found = []
    for seed in (1, 1, 2):
        assert job.main(["--epochs", "1", "--seed", str(seed), "--quiet", "--output", str(tmp_path)]) == 0
        found.append(_metrics(tmp_path))
    first, second, other = ({key: m[key] for key in ("losses", "accuracies", "confusion")} for m in found)
    assert first == second
    assert first["losses"] != other["losses"]


def test_quiet_says_nothing(tmp_path, capfd):
    assert job.main(["--epochs", "1", "--quiet", "--output", str(tmp_path)]) == 0
    assert capfd.readouterr() == ("", "")


def test_a_batch_may_be_larger_than_the_training_set(tmp_path):
    assert job.main(["--epochs", "2", "--batch-size", "99999", "--quiet", "--output", str(tmp_path)]) == 0
    assert _metrics(tmp_path)["epochs"] == [0, 1, 2]


def test_a_rate_that_is_too_large_is_named_and_still_reported(tmp_path, capsys):
    assert job.main(["--epochs", "5", "--rate", "1e38", "--output", str(tmp_path)]) == 1
    metrics = _assert_whole(tmp_path)
    assert metrics["state"] == "diverged"
    assert "--rate" in capsys.readouterr().err


# Interruptions


def _signal_before(monkeypatch, where, call):
    """Let Ctrl-C arrive just before a call, counted from 1, of a function of the main job."""
    function = getattr(job, where)
    calls = iter(range(1, 10**6))

    def interrupted(*args, **kwargs):
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return function(*args, **kwargs)

    monkeypatch.setattr(job, where, interrupted)


@pytest.mark.parametrize(
    ("where", "call", "epochs", "state"),
    [
        ("optional", 1, [0], "interrupted"),
        ("load", 1, [0], "interrupted"),
        ("tape_of_a_step", 1, [0], "interrupted"),
        ("batches", 1, [0], "interrupted"),
        ("batches", 3, [0, 1, 2], "interrupted"),
        ("learning_curves", 1, [0, 1, 2, 3], "complete"),
        ("page", 1, [0, 1, 2, 3], "complete"),
    ],
)
def test_an_interruption_leaves_a_whole_report(where, call, epochs, state, tmp_path, capfd, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    _signal_before(monkeypatch, where, call)
    assert job.main(["--epochs", "3", "--output", str(tmp_path)]) == 130
    metrics = _assert_whole(tmp_path)
    assert (metrics["state"], metrics["epochs"]) == (state, epochs)
    assert "nterrupted" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interruption_within_an_epoch_counts_its_part(tmp_path, monkeypatch):
    steps = iter(range(1, 10**6))

    class Interrupting(nn.CrossEntropyLoss):
        def forward(self, x, labels):
            if self.label_smoothing and next(steps) == 1 + 22 + 11:
                signal.raise_signal(signal.SIGINT)
            return super().forward(x, labels)

    monkeypatch.setattr(nn, "CrossEntropyLoss", Interrupting)
    assert job.main(["--epochs", "3", "--quiet", "--output", str(tmp_path)]) == 130
    assert _assert_whole(tmp_path)["epochs"] == [0, 1, 1.5]


def test_impatience_does_not_spoil_the_report(tmp_path, monkeypatch):
    for where in ("batches", "write_report", "weight_images", "page"):
        _signal_before(monkeypatch, where, 1)
    assert job.main(["--epochs", "3", "--quiet", "--output", str(tmp_path)]) == 130
    assert _assert_whole(tmp_path)["state"] == "interrupted"


def test_a_process_that_is_interrupted_reports_and_exits_with_130(tmp_path):
    command = [sys.executable, "-m", "tapegrad", "--epochs", "100000", "--output", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        seen = b""
        # The bar is drawn a few times a second, so not every epoch is seen.
        while not re.search(rb"epoch ([3-9]|\d\d+)/", seen):
            read = process.stderr.read(1)
            assert read, seen
            seen += read
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().decode()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert "Interrupted: " in rest
    assert str(tmp_path / "index.html") in rest
    assert _assert_whole(tmp_path)["state"] == "interrupted"


# Bad options and missing packages


def _assert_one_sentence(text):
    assert len(text.strip().splitlines()) == 1, text
    assert text.startswith("python -m tapegrad: ")
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--epochs", "-3"], "--epochs: got '-3', expected a whole number of at least 1"),
        (["--epochs", "0"], "--epochs"),
        (["--epochs", "many"], "--epochs: got 'many'"),
        (["--batch-size", "0"], "--batch-size"),
        (["--rate", "0"], "--rate: got '0', expected a positive number"),
        (["--rate", "nan"], "--rate"),
        (["--rate", "inf"], "--rate"),
        (["--seed", "-1"], "--seed"),
        (["--seed", str(2**32)], "--seed"),
        (["--speed", "9"], "--speed"),
        (["--epoch", "9"], "--epoch"),
        (["--output"], "--output"),
    ],
)
def test_a_bad_option_is_one_sentence(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        job.main(arguments)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    _assert_one_sentence(text)
    assert said in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "cuda:0:1"])
def test_an_unknown_device_is_one_sentence(device, tmp_path, capsys):
    assert job.main(["--device", device, "--output", str(tmp_path / "report")]) == 2
    text = capsys.readouterr().err
    _assert_one_sentence(text)
    assert repr(device) in text
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("folder", ["file", "file/below", "nul\0byte"])
def test_a_folder_that_cannot_be_written_is_one_sentence(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert job.main(["--output", str(tmp_path / folder), "--epochs", "1"]) == 2
    text = capsys.readouterr().err
    _assert_one_sentence(text)
    assert "cannot write the report" in text
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_folder_that_vanishes_is_one_sentence(tmp_path, capsys, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "write_report", full)
    assert job.main(["--output", str(tmp_path), "--epochs", "1", "--quiet"]) == 2
    text = capsys.readouterr().err
    _assert_one_sentence(text)
    assert "No space left" in text


@pytest.mark.parametrize(
    ("module", "package"), [("sklearn", "scikit-learn"), ("matplotlib", "matplotlib"), ("tqdm", "tqdm")]
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(module, package, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert job.main(["--output", str(tmp_path / "report")]) == 2
    text = capsys.readouterr().err
    _assert_one_sentence(text)
    assert package in text
    assert "pip install 'tapegrad[demo]'" in text
    assert not (tmp_path / "report").exists()


def test_help_explains_options_files_and_exit_status(capsys):
    with pytest.raises(SystemExit) as stop:
        job.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for word in ("--epochs", "--batch-size", "--rate", "--seed", "--device", "--output", "--quiet", "examples:", "130"):
        assert word in text
    assert all(name in text for name in FILES)


def test_importing_tapegrad_needs_numpy_alone():
    program = "import sys, tapegrad, tapegrad.nn, tapegrad.optim, tapegrad.data, tapegrad.viz; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    optional = {"sklearn", "matplotlib", "tqdm", "scipy", "cupy", "hypothesis", "torch", "jax", "autograd"}
    assert optional.isdisjoint(done.stdout.split())


def test_figures_that_json_cannot_spell_become_null():
    stream = io.StringIO()
    json.dump(job._finite({"a": [1.0, float("nan"), float("-inf")], "b": "x"}), stream, allow_nan=False)
    assert json.loads(stream.getvalue()) == {"a": [1.0, None, None], "b": "x"}


def test_it_runs_on_a_device_with_the_same_results(tmp_path):
    with cuda_standin():
        for device in ("cpu", "cuda"):
            assert job.main(["--epochs", "1", "--device", device, "--quiet", "--output", str(tmp_path / device)]) == 0
            assert job.load(0, device).images.device == ("cpu" if device == "cpu" else "cuda:0")
    host, other = (_assert_whole(tmp_path / device) for device in ("cpu", "cuda"))
    assert other["losses"]["training"] == pytest.approx(host["losses"]["training"], rel=1e-5)
    assert other["test_accuracy"] == pytest.approx(host["test_accuracy"], abs=0.01)
