import numpy as np
import pytest

from tapegrad.examples import layer_backprop
from tapegrad.examples.layer_backprop import Layer, Linear, MSECriterion, Sequential, Sigmoid, Tanh
from tapegrad.examples.seed_network import by_hand, largest_difference, with_tensors


@pytest.mark.parametrize(("epochs", "rate"), [(10, 0.1), (30, 0.5)])
def test_layers_agree_with_the_tape_and_with_paper(epochs, rate):
    layers = list(layer_backprop.with_layers(epochs, rate))
    assert len(layers) == epochs + 1
    assert largest_difference(layers, list(with_tensors(epochs, rate))) <= 1e-12
    assert largest_difference(layers, list(by_hand(epochs, rate))) <= 1e-12


def model_and_data():
    rng = np.random.default_rng(0)
    inner = Sequential(Linear(rng.normal(size=(3, 4)), rng.normal(size=4)), Sigmoid())
    model = Sequential(inner, Layer(), Linear(rng.normal(size=(4, 2)), rng.normal(size=2)), Tanh())
    return model, rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng


def test_gradients_of_a_batch_through_nested_containers_by_differences():
    model, x, target, rng = model_and_data()
    criterion = MSECriterion()
    output = model.forward(x)
    grad_input = model.backward(x, criterion.update_grad_input(output, target))
    pairs = [*model.parameters(), (x, grad_input)]
    assert len(pairs) == 5
    for array, gradient in pairs:
        direction = rng.normal(size=array.shape)
        start, values = array.copy(), []
        for h in (1e-6, -1e-6):
            array[...] = start + h * direction
            values.append(criterion.update_output(model.forward(x), target))
        array[...] = start
        assert np.sum(gradient * direction) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def test_gradients_of_parameters_accumulate_until_they_are_zeroed():
    model, x, target, _ = model_and_data()
    slope = MSECriterion().update_grad_input(model.forward(x), target)
    model.backward(x, slope)
    once = [gradient.copy() for _, gradient in model.parameters()]
    model.backward(x, slope)
    for (_, gradient), one in zip(model.parameters(), once, strict=True):
        np.testing.assert_allclose(gradient, 2 * one)
    model.zero_grad_parameters()
    assert all(np.all(gradient == 0) for _, gradient in model.parameters())


def test_layers_keep_what_they_computed():
    layer = Tanh()
    x = np.array([[0.5]])
    output = layer.forward(x)
    assert layer.output is output
    grad_input = layer.backward(x, np.ones((1, 1)))
    assert layer.grad_input is grad_input
    assert layer.parameters() == []


def test_a_layer_does_not_change_the_arrays_it_was_given():
    weight = np.ones((1, 1))
    layer = Linear(weight, np.zeros(1))
    layer.forward(np.ones((1, 1)))
    layer.backward(np.ones((1, 1)), np.ones((1, 1)))
    layer.update_parameters(0.5)
    assert weight.item() == 1
    assert layer.weight.item() == 0.5


def test_the_program_prints_outputs_and_agreement(capsys):
    layer_backprop.main(["--epochs", "5"])
    printed = capsys.readouterr().out
    assert "    5   -0.4319  -0.8352   1.343868" in printed
    assert "from the tape: " in printed


def test_what_cannot_be_had_is_said_in_a_sentence():
    with pytest.raises(SystemExit, match="layer_backprop: got device 'tpu'"):
        layer_backprop.main(["--device", "tpu"])
    with pytest.raises(SystemExit) as caught:
        layer_backprop.main(["--help"])
    assert caught.value.code == 0
