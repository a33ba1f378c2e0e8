"""The main job: train a classifier on scikit-learn's handwritten digits, and write a report to look at.

Run `python -m tapegrad --help` for its options.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import json
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

import numpy as np

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad._array import device, to_host
from tapegrad.data import batches
from tapegrad.errors import DeviceError, MissingPackageError, OutOfMemoryError
from tapegrad.ops import neural
from tapegrad.viz import learning_curves, misclassified, program, weight_images
from tapegrad.viz._figures import optional

HELD_OUT = 0.25
HIDDEN = 128
SHOWN = 64
# Found by trial on 20 seeds: together they are worth two percent, and make strokes visible in the first layer.
SMOOTHING = 0.1
NOISE = 0.4
DECAY = 0.3

DESCRIPTION = """\
Train a classifier on real handwritten digits, and write a report about it.

The data are the 1,797 images of 8 x 8 pixels that come with scikit-learn; a
quarter of them is held out and serves only for testing. The classifier is a
perceptron with one hidden layer, trained with AdamW; every gradient comes from
tapegrad's tape. It takes seconds."""

EXAMPLES = """\
examples:
  python -m tapegrad                           train, and write ./tapegrad-report
  python -m tapegrad --epochs 10 --seed 3      shorter, from another start
  python -m tapegrad --device cuda             on a GPU, through CuPy
  python -m tapegrad --output runs/a --quiet   say nothing, write runs/a

the report folder:
  index.html            all of the following on one page: open it in a browser
  learning_curves.png   loss and accuracy over the epochs
  first_layer.png       the weights of hidden units, as images
  misclassified.png     the held-out digits that were read wrongly
  tape.txt              the tape of one training step, record by record
  metrics.json          settings and figures, for programs
  weights.npz           the trained parameters

exit status: 0 done, 1 training diverged, 2 bad option or missing package,
130 interrupted (Ctrl-C); after 1 and 130 the report tells what was reached."""


class Parser(argparse.ArgumentParser):
    """A parser of options whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one sentence."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> Parser:
    """Return the parser of the options."""
    made = Parser(
        prog="python -m tapegrad",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--epochs", type=_count, default=60, metavar="N", help="passes over the training images (default: 60)")
    add("--batch-size", type=_count, default=64, metavar="N", help="images in one training step (default: 64)")
    add(
        "--rate",
        type=_rate,
        default=0.01,
        metavar="R",
        help="AdamW's learning rate at the start; it falls to zero, linearly (default: 0.01)",
    )
    add(
        "--seed",
        type=_seed,
        default=0,
        metavar="N",
        help="decides split, first weights, noise and the order of images (default: 0)",
    )
    add("--device", default="cpu", metavar="NAME", help="cpu, cuda or cuda:N (default: cpu)")
    add(
        "--output",
        type=Path,
        default=Path("tapegrad-report"),
        metavar="FOLDER",
        help="where the report goes; an earlier report there is replaced (default: tapegrad-report)",
    )
    add("--quiet", action="store_true", help="no progress bar, no summary; only errors")
    add("--version", action="version", version=f"tapegrad {tg.__version__}")
    return made


def _whole(text: str, low: int, expected: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")
    return value


def _count(text: str) -> int:
    return _whole(text, 1, "a whole number of at least 1")


def _seed(text: str) -> int:
    value = _whole(text, 0, "a whole number from 0 to 4294967295")
    if value >= 2**32:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 0 to 4294967295")
    return value


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a positive number")
    return value


class Interruption:
    """Notes Ctrl-C instead of raising, so that training ends between two steps and the report is written whole."""

    noted = False

    def __enter__(self) -> Self:
        # Only the main thread can; elsewhere Ctrl-C does not arrive either.
        self._main = signal.getsignal(signal.SIGINT) is not None and _is_main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.noted:
            # Not print: the handler may run in the middle of another one.
            os.write(2, b"\ninterrupted: writing the report of what was reached, a moment please\n")
        self.noted = True


def _is_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


@dataclass
class Digits:
    """The images and labels of training and test, as tensors on the device; pixels from 0 to 4."""

    images: tg.Tensor
    labels: tg.Tensor
    test_images: tg.Tensor
    test_labels: tg.Tensor


def load(seed: int, device: str) -> Digits:
    """Return the digits, split at random into training and test with equal shares of every digit in both."""
    datasets = optional("sklearn.datasets", "scikit-learn", "the digits")
    selection = optional("sklearn.model_selection", "scikit-learn", "the digits")
    pixels, labels = datasets.load_digits(return_X_y=True)
    # Divided by 4, not by the largest value 16: larger inputs let the hidden units bend more, worth half a percent.
    split = selection.train_test_split(
        (pixels / 4).astype(np.float32), labels, test_size=HELD_OUT, stratify=labels, random_state=seed
    )
    images, test_images, labels, test_labels = (tg.tensor(part, device=device) for part in split)
    return Digits(images, labels, test_images, test_labels)


@dataclass
class Training:
    """A classifier, and what became of it: losses and accuracies by the epoch, beginning before the first."""

    model: nn.Sequential
    epochs: list[float] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=lambda: {"training": [], "held out": []})
    accuracies: dict[str, list[float]] = field(default_factory=lambda: {"training": [], "held out": []})
    seconds: float = 0.0
    state: str = "complete"

    def evaluate(self, digits: Digits, epoch: float) -> None:
        """Add losses and accuracies after `epoch` to the curves."""
        self.epochs.append(epoch)
        for name, images, labels in (
            ("training", digits.images, digits.labels),
            ("held out", digits.test_images, digits.test_labels),
        ):
            with tg.no_grad():
                logits = self.model(images)
                self.losses[name].append(nn.CrossEntropyLoss()(logits, labels).item())
                self.accuracies[name].append(np.mean(np.argmax(logits, axis=1) == labels).item())

    def standing(self) -> str:
        """Return the last values in short."""
        return f"loss {self.losses['training'][-1]:.3f}, accuracy {self.accuracies['held out'][-1]:.2%}"


def classifier(rng: np.random.Generator, device: str) -> nn.Sequential:
    """Return an untrained perceptron from 64 pixels to the logits of 10 digits."""
    return nn.Sequential(
        nn.Linear(64, HIDDEN, dtype=np.float32, device=device, rng=rng),
        nn.ReLU(),
        nn.Linear(HIDDEN, 10, dtype=np.float32, device=device, rng=rng),
    )


def tape_of_a_step(training: Training, digits: Digits, size: int) -> tuple[str, int]:
    """Return the tape of one training step as text, and the bytes that it keeps."""
    images, labels = digits.images[:size], digits.labels[:size]
    loss = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)(training.model(images), labels)
    names = dict(training.model.named_parameters()) | {"images": images, "labels": labels}
    lines = program(loss, names)
    return lines.text(), lines.nbytes


def train(
    training: Training, digits: Digits, options: argparse.Namespace, rng: np.random.Generator, stop: Interruption
) -> None:
    """Train until all epochs are done, or Ctrl-C, or the loss is no number; whichever it was, `state` says."""
    tqdm = optional("tqdm", "tqdm", "the progress bar").tqdm
    model = training.model
    loss_of = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    optimizer = optim.AdamW(model.parameters(), lr=options.rate, weight_decay=DECAY)
    steps = -(-len(digits.labels) // options.batch_size)
    total = options.epochs * steps
    done = 0
    start = time.perf_counter()
    training.evaluate(digits, 0)
    with tqdm(total=total, unit="step", disable=options.quiet, dynamic_ncols=True) as bar:
        bar.set_postfix_str(training.standing(), refresh=False)
        for epoch in range(options.epochs):
            bar.set_description(f"epoch {epoch + 1}/{options.epochs}", refresh=False)
            for images, labels in batches(digits.images, digits.labels, size=options.batch_size, rng=rng):
                if stop.noted:
                    training.state = "interrupted"
                    break
                optimizer.param_groups[0]["lr"] = options.rate * (1 - done / total)
                optimizer.zero_grad()
                noise = NOISE * rng.standard_normal(images.shape, dtype=np.float32)
                loss = loss_of(model(images + tg.tensor(noise, device=options.device)), labels)
                loss.backward()
                optimizer.step()
                done += 1
                bar.update()
            if training.epochs[-1] < done / steps:
                training.evaluate(digits, done / steps)
            if not math.isfinite(training.losses["training"][-1]):
                training.state = "diverged"
            if training.state != "complete":
                break
            bar.set_postfix_str(training.standing(), refresh=False)
    training.seconds = time.perf_counter() - start


def write_report(
    folder: Path, training: Training, digits: Digits, options: argparse.Namespace, tape: tuple[str, int]
) -> dict[str, Any]:
    """Write all files of the report into `folder`, and return the figures in `metrics.json`."""
    model = training.model
    with tg.no_grad():
        probabilities = neural.softmax(model(digits.test_images)).numpy()
    labels = digits.test_labels.numpy()
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    metrics = {
        "state": training.state,
        "test_accuracy": float(np.mean(predicted == labels)),
        "test_errors": int(np.sum(predicted != labels)),
        "test_images": len(labels),
        "training_images": len(digits.labels),
        "epochs_done": training.epochs[-1],
        "seconds": round(training.seconds, 3),
        "parameters": model.count_parameters(),
        "tape_bytes": tape[1],
        "settings": {
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "rate": options.rate,
            "seed": options.seed,
            "device": options.device,
        },
        "epochs": training.epochs,
        "losses": training.losses,
        "accuracies": training.accuracies,
        "confusion": confusion.tolist(),
        "versions": {"tapegrad": tg.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    learning_curves(training.losses, training.accuracies, training.epochs).savefig(folder / "learning_curves.png")
    weight_images(strongest_units(model, SHOWN), (8, 8)).savefig(folder / "first_layer.png")
    pixels = digits.test_images.numpy().reshape(-1, 8, 8)
    misclassified(pixels, labels, predicted, probabilities.max(axis=1)).savefig(folder / "misclassified.png")
    weights: dict[str, Any] = {name: to_host(array) for name, array in model.state_dict().items()}
    np.savez(folder / "weights.npz", **weights)
    (folder / "tape.txt").write_text(tape[0] + "\n", encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(_finite(metrics), indent=2) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(page(metrics, tape[0]), encoding="utf-8")
    return metrics


def strongest_units(model: nn.Sequential, count: int) -> Any:
    """Return the first layer's weights of the units that move the logits most, the strongest in front."""
    first, last = (model[i].weight.detach().numpy() for i in (0, 2))
    strength = np.linalg.norm(first, axis=0) * np.linalg.norm(last, axis=1)
    return first[:, np.argsort(-strength, kind="stable")[:count]]


def _finite(value: Any) -> Any:
    """Return `value` with None in place of what JSON cannot spell: NaN and the infinities."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summary(metrics: dict[str, Any]) -> str:
    """Return what was reached, in one sentence."""
    right = metrics["test_images"] - metrics["test_errors"]
    epochs = f"{metrics['epochs_done']:.4g} of {metrics['settings']['epochs']} epochs"
    state = {
        "complete": "",
        "interrupted": "Interrupted: ",
        "diverged": "Diverged (the loss is no longer a number; try a smaller --rate): ",
    }[metrics["state"]]
    return (
        f"{state}{metrics['test_accuracy']:.2%} of the held-out digits right ({right} of {metrics['test_images']}) "
        f"after {epochs}, in {metrics['seconds']:.1f} s."
    )


PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tapegrad: handwritten digits</title>
<style>
body {{ max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff;
       font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.5rem; }}
h2 {{ font-size: 1.1rem; margin-top: 2.5rem; }}
p {{ max-width: 44rem; }}
img {{ max-width: 100%; height: auto; }}
.figure {{ font-size: 3.5rem; line-height: 1.1; font-weight: 600; margin: 0; }}
pre {{ background: #f5f5f3; padding: 1rem; overflow-x: auto; font-size: 0.8rem; line-height: 1.45; }}
footer {{ margin-top: 3rem; color: #6b6b6b; font-size: 0.9rem; }}
</style>
</head>
<body>
<h1>Handwritten digits, learned through tapegrad's tape</h1>
<p class="figure">{accuracy}</p>
<p>{summary}</p>
<h2>Learning</h2>
<p>Loss (cross-entropy) and accuracy on the {training_images:,} training images, and on the {test_images} held-out
ones, which were used for nothing but these curves.</p>
<img src="learning_curves.png" alt="Loss and accuracy over the epochs">
<h2>What was read wrongly</h2>
<p>Held-out digits that the classifier takes for another one, the surest errors first.</p>
<img src="misclassified.png" alt="Misclassified digits">
<h2>What the hidden units look for</h2>
<p>The weights of hidden units as images, the {shown} most influential of {hidden}: a unit answers to ink on red
pixels, and is silenced by ink on blue ones.</p>
<img src="first_layer.png" alt="First-layer weights as images">
<h2>The tape of one training step</h2>
<p>Every operation on a tensor was recorded as it happened; <code>loss.backward()</code> replays the list from the
bottom to the top. A record keeps only the arrays that its rule names: {tape_bytes:,} bytes together.</p>
<pre>{tape}</pre>
<footer><p>{settings}. Figures for programs: <a href="metrics.json">metrics.json</a>; the trained parameters:
<a href="weights.npz">weights.npz</a>; the tape as text: <a href="tape.txt">tape.txt</a>.
tapegrad {tapegrad}, NumPy {numpy}, Python {python}.</p></footer>
</body>
</html>
"""


def page(metrics: dict[str, Any], tape: str) -> str:
    """Return the report's page, which shows the pictures beside it."""
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in metrics["settings"].items())
    return PAGE.format(
        accuracy=f"{metrics['test_accuracy']:.2%}",
        summary=html.escape(summary(metrics)),
        training_images=metrics["training_images"],
        test_images=metrics["test_images"],
        hidden=HIDDEN,
        shown=SHOWN,
        tape_bytes=metrics["tape_bytes"],
        tape=html.escape(tape),
        settings=html.escape(settings.capitalize()),
        **metrics["versions"],
    )


def prepare(folder: Path) -> None:
    """Make `folder`, and see that files can be written there, before time is spent on training.

    Raises
    ------
    OSError
        If that fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / ".tapegrad-trial"
        trial.touch()
        trial.unlink()
    except ValueError as error:  # a name that no file can have
        raise OSError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job with these arguments, or those of the command line, and return the exit status."""
    made = parser()
    options = made.parse_args(arguments)
    with Interruption() as stop, contextlib.ExitStack() as context:
        try:
            for module, package, purpose in (
                ("sklearn", "scikit-learn", "the digits"),
                ("matplotlib", "matplotlib", "the report"),
                ("tqdm", "tqdm", "the progress bar"),
            ):
                optional(module, package, purpose)
            context.enter_context(device(options.device))
            digits = load(options.seed, options.device)
            prepare(options.output)
        except (MissingPackageError, DeviceError, OutOfMemoryError) as error:
            return complain(made, str(error))
        except OSError as error:
            return complain(made, f"cannot write the report to {str(options.output)!r}: {error.strerror or error}")
        rng = np.random.default_rng(options.seed)
        # A rate that is too large is found by its loss, and told in one sentence instead of NumPy's warnings.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            try:
                training = Training(classifier(rng, options.device))
                tape = tape_of_a_step(training, digits, options.batch_size)
                train(training, digits, options, rng, stop)
            except OutOfMemoryError as error:
                return complain(made, str(error))
            try:
                metrics = write_report(options.output, training, digits, options, tape)
            except OSError as error:
                return complain(made, f"cannot write the report to {str(options.output)!r}: {error.strerror or error}")
        stream = sys.stdout if training.state == "complete" else sys.stderr
        if not options.quiet or stream is sys.stderr:
            print(summary(metrics), file=stream)
            print(f"Look at {(options.output / 'index.html').resolve()}", file=stream)
        return 130 if stop.noted else int(training.state == "diverged")


def complain(made: Parser, message: str) -> int:
    """Print one sentence, and return the exit status of a run that could not begin."""
    print(f"{made.prog}: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
