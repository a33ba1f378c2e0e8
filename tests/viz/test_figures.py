"""Pictures of a training show what they were given, need no display, and name what is missing."""

import io
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import MissingPackageError, ShapeError
from tapegrad.viz import learning_curves, misclassified, weight_images

pytest.importorskip("matplotlib")

LOSSES = {"training": [2.0, 0.5, 0.1], "held out": [2.0, 0.6, 0.3]}
ACCURACIES = {"training": [0.1, 0.9, 1.0], "held out": [0.1, 0.85, 0.95]}


def _drawn(figure):
    """Return the figure as PNG, drawn completely."""
    stream = io.BytesIO()
    figure.savefig(stream)
    return stream.getvalue()


def _legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_learning_curves_show_every_value_and_name_the_last():
    figure = learning_curves(LOSSES, ACCURACIES)
    assert _drawn(figure).startswith(b"\x89PNG")
    left, right = figure.axes
    assert [line.get_ydata().tolist() for line in left.lines[::2]] == list(LOSSES.values())
    np.testing.assert_allclose(
        [line.get_ydata() for line in right.lines[::2]], 100 * np.array(list(ACCURACIES.values()))
    )
    assert _legend(left) == ["training, 0.100", "held out, 0.300"]
    assert _legend(right) == ["training, 100.0 %", "held out, 95.0 %"]


def test_accuracies_fill_the_picture_from_the_first_epoch_on():
    low, high = learning_curves(LOSSES, ACCURACIES).axes[1].get_ylim()
    assert low == 80
    assert 100 < high < 101
    low, high = learning_curves({}, {"perfect": [0.1, 1.0, 1.0]}).axes[1].get_ylim()
    assert low < 100 < high


@pytest.mark.parametrize(
    ("losses", "epochs", "scale"),
    [
        ([2.0], [0.0], "linear"),
        ([2.0, 1.0], [0, 0.5], "log"),
        ([2.0, 0.0], [0, 1], "linear"),
        ([2.0, np.nan], [0, 1], "linear"),
        ([np.inf, np.inf], [0, 1], "log"),
    ],
)
def test_unfinished_and_diverged_trainings_are_drawn(losses, epochs, scale):
    figure = learning_curves({"training": losses}, {"training": [0.1] * len(losses)}, epochs)
    assert figure.axes[0].get_yscale() == scale
    assert figure.axes[0].lines[0].get_xdata().tolist() == epochs
    assert _drawn(figure)


def test_curves_of_unequal_length_are_an_error():
    with pytest.raises(ShapeError, match=r"\[2, 3\] values for 2 epochs"):
        learning_curves({"a": [1.0, 2.0]}, {"a": [0.1, 0.2, 0.3]}, epochs=[0, 1])
    with pytest.raises(ShapeError, match="one at least"):
        learning_curves({"a": []}, {})
    with pytest.raises(ShapeError, match="one at least"):
        learning_curves({}, {})


@pytest.mark.parametrize(("units", "columns"), [(1, 16), (5, 3), (16, 16), (20, 16)])
def test_every_unit_is_an_image_in_reading_order(units, columns):
    weights = tg.tensor(np.arange(6.0 * units).reshape(6, units), requires_grad=True)
    figure = weight_images(weights, (2, 3), columns=columns)
    assert _drawn(figure)
    mosaic = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
    wide = min(units, columns)
    for i in range(units):
        top, left = 3 * (i // wide), 4 * (i % wide)
        np.testing.assert_array_equal(mosaic[top : top + 2, left : left + 3], weights.data[:, i].reshape(2, 3))
    assert np.isfinite(mosaic).sum() == 6 * units


def test_zero_is_white_on_the_scale_of_weights():
    image = weight_images(np.random.default_rng(0).normal(1, 1, (4, 9)), (2, 2)).axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high < 0
    assert image.cmap(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.05)


@pytest.mark.parametrize("weights", [np.zeros((4, 2)), np.full((4, 2), np.nan)])
def test_weights_without_a_scale_are_drawn(weights):
    assert _drawn(weight_images(weights, (2, 2)))


@pytest.mark.parametrize("shape", [(4,), (5, 3), (4, 0), (4, 3, 1)])
def test_weights_of_wrong_shape_are_an_error(shape):
    with pytest.raises(ShapeError, match="expected"):
        weight_images(np.zeros(shape), (2, 2))


def test_misclassified_shows_the_wrong_ones_the_surest_first():
    images = np.random.default_rng(0).random((4, 3, 3))
    figure = misclassified(images, [0, 1, 2, 3], [0, 7, 2, 5], [0.9, 0.4, 0.8, 0.6])
    assert _drawn(figure)
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["3, taken for 5\n60 % sure", "1, taken for 7\n40 % sure"]
    for axes, i in zip(shown, (3, 1), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[i])
    assert figure.get_suptitle() == "2 of 4 are wrong"


def test_misclassified_shows_so_many_and_counts_the_others():
    figure = misclassified(np.zeros((9, 2, 2)), np.zeros(9, int), np.ones(9, int), columns=2, limit=3)
    assert len([axes for axes in figure.axes if axes.images]) == 3
    assert figure.get_suptitle() == "9 of 9 are wrong; the first 3 of them"


def test_a_perfect_classifier_gets_a_picture_too():
    figure = misclassified(np.zeros((2, 2, 2)), [0, 1], [0, 1])
    assert _drawn(figure)
    assert figure.get_suptitle() == "0 of 2 are wrong"


def test_images_and_labels_that_do_not_fit_are_an_error():
    with pytest.raises(ShapeError, match="expected"):
        misclassified(np.zeros((2, 4)), [0, 1], [0, 1])
    with pytest.raises(ShapeError, match="expected"):
        misclassified(np.zeros((2, 2, 2)), [0, 1], [0, 1, 2])


def test_a_missing_matplotlib_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"matplotlib.*pip install 'tapegrad\[demo\]'"):
        learning_curves(LOSSES, ACCURACIES)


def test_a_broken_matplotlib_is_not_called_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    def broken(module):
        raise ModuleNotFoundError("No module named 'kiwisolver'", name="kiwisolver")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="kiwisolver"):
        learning_curves(LOSSES, ACCURACIES)


def test_pictures_leave_pyplot_alone():
    program = (
        "import sys; from tapegrad.viz import learning_curves; "
        "learning_curves({'a': [1.0]}, {'a': [1.0]}).savefig(sys.stderr.buffer, format='png'); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert done.stdout.split() == [b"False"]
