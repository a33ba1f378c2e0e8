import numpy as np
import pytest

from tapegrad.examples import node_graph
from tapegrad.examples.node_graph import MSE, Input, Linear, Network, Node, Sigmoid, Tanh, run, topological_order
from tapegrad.examples.seed_network import by_hand, largest_difference, with_tensors


@pytest.mark.parametrize(("epochs", "rate"), [(10, 0.1), (30, 0.5)])
def test_nodes_agree_with_the_tape_and_with_paper(epochs, rate):
    nodes = list(node_graph.with_nodes(epochs, rate))
    assert len(nodes) == epochs + 1
    assert largest_difference(nodes, list(with_tensors(epochs, rate))) <= 1e-12
    assert largest_difference(nodes, list(by_hand(epochs, rate))) <= 1e-12


def test_every_node_comes_after_its_inputs():
    order = Network().order
    assert len(order) == len(set(order)) == 11
    assert all(order.index(source) < order.index(node) for node in order for source in node.inputs)
    assert isinstance(order[-1], MSE)


def test_order_of_shared_inputs():
    a = Input(1.0)
    b, c = Node(a), Node(a)
    d, unrelated = Node(c, a, b), Node(a)
    end = Node(b, d)
    order = topological_order(end)
    assert set(order) == {a, b, c, d, end}
    assert unrelated not in order
    assert order[0] is a
    assert order[3:] == [d, end]


def test_an_input_that_comes_twice_is_refused():
    a = Input(1.0)
    with pytest.raises(ValueError, match="twice"):
        Node(a, a)
    assert a.outputs == []


def test_a_node_that_depends_on_itself_is_refused():
    a = Node()
    b = Node(a)
    a.inputs, b.outputs = (b,), [a]
    with pytest.raises(ValueError, match="depend on themselves"):
        topological_order(b)


def test_gradients_of_a_batch_by_differences():
    # Several rows: here the exact derivative of the mean over all elements differs from one by the number of rows.
    rng = np.random.default_rng(0)
    inputs = [Input(rng.normal(size=shape)) for shape in [(5, 3), (3, 4), (4,), (4, 2), (2,), (5, 2)]]
    x, w1, b1, w2, b2, target = inputs
    loss = MSE(target, Tanh(Linear(Sigmoid(Linear(x, w1, b1)), w2, b2)))
    order = topological_order(loss)
    run(order)
    for node in inputs:
        gradient = node.gradients[node]
        assert gradient.shape == node.value.shape
        direction = rng.normal(size=node.value.shape)
        start, values = node.value, []
        for h in (1e-6, -1e-6):
            node.value = start + h * direction
            for other in order:
                other.forward()
            values.append(loss.value)
        node.value = start
        assert np.sum(gradient * direction) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def test_a_node_that_goes_into_several_gets_the_sum():
    x, target = Input(np.array([[0.5]])), Input(np.array([[0.0]]))
    w, b = Input(np.array([[2.0]])), Input(np.array([0.0]))
    hidden = Linear(x, w, b)
    loss = MSE(target, Linear(hidden, w, b))
    run(topological_order(loss))
    # The output is w (w x + b) + b = 2, the loss its square.
    assert w.gradients[w].item() == pytest.approx(2 * 2 * (2 * 2 * 0.5))
    assert b.gradients[b].item() == pytest.approx(2 * 2 * (2 + 1))


def test_costs_are_measured_for_both():
    nodes, tape = node_graph.costs(repeats=1, steps=2)
    assert nodes > 0
    assert tape > 0


def test_the_program_prints_order_agreement_and_costs(capsys):
    node_graph.main(["--epochs", "5"])
    printed = capsys.readouterr().out
    assert "Linear, Sigmoid, Linear, Tanh, MSE" in printed
    assert "    5   -0.4319  -0.8352   1.343868" in printed
    assert "one step: " in printed
    assert "times as much" in printed


def test_what_cannot_be_had_is_said_in_a_sentence():
    with pytest.raises(SystemExit, match="node_graph: got device 'tpu'"):
        node_graph.main(["--device", "tpu"])
    with pytest.raises(SystemExit) as caught:
        node_graph.main(["--help"])
    assert caught.value.code == 0
