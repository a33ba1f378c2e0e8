import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.examples import seed_network
from tapegrad.examples.seed_network import State, by_hand, largest_difference, with_modules, with_tensors


@pytest.mark.parametrize(("epochs", "rate"), [(10, 0.1), (30, 0.5), (1, 1.0)])
@pytest.mark.parametrize("other", [with_tensors, with_modules])
def test_the_three_ways_agree_at_every_epoch(other, epochs, rate):
    hand, ours = list(by_hand(epochs, rate)), list(other(epochs, rate))
    assert len(hand) == len(ours) == epochs + 1
    for one, two in zip(hand, ours, strict=True):
        for name in State._fields:
            np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=0, atol=1e-12)
    assert largest_difference(hand, ours) <= 1e-12


def test_the_derivative_by_hand_is_that_of_the_loss():
    # The first step by finite differences of the loss, by each weight alone.
    first, second = list(by_hand(1, 1.0))

    def loss(w1, b1, w2, b2):
        hidden = 1 / (1 + np.exp(-(seed_network.INPUT @ w1 + b1)))
        return np.mean((np.tanh(hidden @ w2 + b2) - seed_network.TARGET) ** 2)

    names = ("w1", "b1", "w2", "b2")
    start = {name: getattr(first, name) for name in names}
    for name in names:
        for index in np.ndindex(start[name].shape):
            values = []
            for h in (1e-6, -1e-6):
                moved = start[name].copy()
                moved[index] += h
                values.append(loss(**{**start, name: moved}))
            slope = (values[0] - values[1]) / 2e-6
            step = getattr(second, name)[index] - start[name][index]
            assert step == pytest.approx(-slope, rel=1e-6, abs=1e-9)


def test_the_outputs_move_from_where_they_start_toward_the_target():
    states = list(with_tensors())
    np.testing.assert_allclose(states[0].output, [0.72249262, -0.87790673], atol=1e-8)
    np.testing.assert_allclose(states[10].output, [-0.42365449, 0.31947206], atol=1e-8)
    losses = [float(state.loss) for state in states]
    assert losses == sorted(losses, reverse=True)
    late = list(with_tensors(500))[-1]
    np.testing.assert_allclose(late.output, seed_network.TARGET, atol=5e-3)


def test_states_are_copies():
    one, two = list(with_modules(1))
    assert not np.array_equal(one.w2, two.w2)
    np.testing.assert_array_equal(one.w1, seed_network.W1)


def test_largest_difference_sees_every_number():
    states = list(by_hand(2))
    changed = [*states[:2], states[2]._replace(b2=states[2].b2 + np.array([0, 0.25]))]
    assert largest_difference(states, states) == 0
    assert largest_difference(states, changed) == 0.25


@pytest.mark.parametrize(("epochs", "columns"), [(10, 11), (100, 21)])
def test_the_picture_has_three_panels(tmp_path, monkeypatch, epochs, columns):
    pytest.importorskip("matplotlib")
    drawn = []
    heat_map = seed_network._heat_map
    monkeypatch.setattr(seed_network, "_heat_map", lambda *args: (drawn.append(args), heat_map(*args)))
    path = tmp_path / "picture.png"
    states = list(by_hand(epochs))
    seed_network.draw(states, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 20_000
    assert [args[4].shape for args in drawn] == [(2, columns), (12, columns), (8, columns)]
    np.testing.assert_array_equal(drawn[0][4][:, -1], states[-1].output)
    np.testing.assert_array_equal(drawn[1][4][:, 0], seed_network.W1.ravel())
    np.testing.assert_array_equal(drawn[2][4][:, -1], states[-1].w2.ravel())
    assert list(drawn[0][3])[:2] == ([0, 1] if epochs == 10 else [0, 5])


def test_a_missing_matplotlib_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(tg.errors.MissingPackageError, match=r"matplotlib.*pip install 'tapegrad\[demo\]'"):
        seed_network.draw(list(by_hand(1)), tmp_path / "picture.png")
    with pytest.raises(SystemExit, match=r"seed_network: .*matplotlib"):
        seed_network.main(["--output", str(tmp_path)])


def test_the_program_prints_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "new" / "folder"
    seed_network.main(["--epochs", "20", "--rate", "0.2", "--output", str(folder)])
    printed = capsys.readouterr().out
    assert "    0    0.7225  -0.8779   2.561407" in printed
    assert "   20  " in printed
    assert "target  -0.8500   0.7500" in printed
    assert (folder / "seed_network.png").exists()


def test_the_program_runs_as_a_module_and_explains_itself():
    command = [sys.executable, "-m", "tapegrad.examples.seed_network", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    for words in ("three ways", "--epochs", "--rate", "--output", "--device", "default: 0.1"):
        assert words in result.stdout


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--rate", "-1"], ["--rate", "nan"], ["--epochs", "x"]])
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        seed_network.main(arguments)
    assert caught.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_what_cannot_be_had_is_said_in_a_sentence(tmp_path):
    with pytest.raises(SystemExit, match="seed_network: got device 'tpu'"):
        seed_network.main(["--device", "tpu", "--output", str(tmp_path)])
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="seed_network: "):
        seed_network.main(["--output", str(tmp_path / "file")])
