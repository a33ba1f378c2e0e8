"""The profile: sums by operation and line, single records, and what they keep."""

import json
import time

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import strict as device
from tapegrad.viz import Cost, profile, program, tape


def step(w, x):
    hidden = np.tanh(x @ w)
    loss = np.sum(hidden * hidden)
    loss.backward()
    return loss


@pytest.fixture
def measured():
    """A profile of three steps."""
    w = tg.tensor(np.ones((3, 2)), requires_grad=True)
    x = np.ones((5, 3))
    with profile({"w": w, "x": x}) as p:
        for _ in range(3):
            step(w, x)
    return p


def test_sums_by_operation(measured):
    assert {name: (cost.calls, cost.nbytes) for name, cost in measured.operations.items()} == {
        "matmul": (3, 0),
        "tanh": (3, 240),
        "multiply": (3, 0),
        "sum": (3, 0),
    }
    assert all(cost.forward > 0 and cost.backward > 0 for cost in measured.operations.values())
    assert measured.total.calls == 12
    assert measured.total.seconds == pytest.approx(sum(cost.seconds for cost in measured.operations.values()))
    assert measured.seconds > measured.total.seconds
    times = [cost.seconds for cost in measured.operations.values()]
    assert times == sorted(times, reverse=True)


def test_sums_by_line(measured):
    assert {source.text: (cost.calls, cost.nbytes) for source, cost in measured.lines.items()} == {
        "hidden = np.tanh(x @ w)": (6, 240),
        "loss = np.sum(hidden * hidden)": (6, 0),
    }
    assert {source.function for source in measured.lines} == {"step"}


def test_records_are_known_after_their_release(measured):
    lines = measured.program
    assert [line.operation for line in lines] == 3 * ["matmul", "tanh", "multiply", "sum"]
    matmul, tanh, multiply, _ = lines[:4]
    assert matmul.inputs == ("x", "w")
    assert tanh.inputs == (matmul.position,)
    assert tanh.results == (((5, 2), np.dtype(float)),)
    assert [str(kept) for kept in multiply.keeps] == [f"y = x (of #{tanh.position})"]
    assert all(line.forward > 0 and line.backward > 0 for line in lines)
    assert lines.leaves == {"w": ((3, 2), np.dtype(float))}
    assert lines.nbytes == measured.total.nbytes


def test_it_prints_as_tables(measured):
    text = str(measured)
    assert text.splitlines()[0].endswith("in their rules; 240 bytes kept for the replay")
    assert "in 12 calls of operations" in text
    by_operation, by_line = text.split("\n\n")[1:]
    assert by_operation.splitlines()[0].split() == ["calls", "forward", "backward", "share", "bytes", "operation"]
    assert [line.split()[-1] for line in by_operation.splitlines()[1:]] == [*measured.operations, "together"]
    assert "loss = np.sum(hidden * hidden)" in by_line
    assert repr(measured) == text


def test_it_goes_into_json(measured):
    read = json.loads(json.dumps(measured.to_dict()))
    assert read["operations"]["tanh"]["nbytes"] == 240
    assert read["total"]["calls"] == 12
    assert {line["text"] for line in read["lines"]} == {"hidden = np.tanh(x @ w)", "loss = np.sum(hidden * hidden)"}


def test_time_is_where_it_is_spent():
    def forward(x):
        time.sleep(0.02)
        return x * 2

    def backward(g):
        time.sleep(0.05)
        return g * 2

    slow = tg._op.unary(forward, backward)
    x = tg.tensor([1.0], requires_grad=True)
    with profile() as p:
        np.sum(slow(x)).backward()
    assert list(p.operations) == ["forward", "sum"]
    assert 0.02 <= p.operations["forward"].forward < p.operations["forward"].backward
    assert p.operations["forward"].backward >= 0.05


def test_rules_of_higher_order_count_once():
    def forward(x):
        return x * 2

    def inner(x):
        time.sleep(0.05)
        return x + 0.0

    slow = tg._op.linear(inner, lambda g: slow(g), inputs="x")
    outer = tg._op.unary(forward, lambda g: slow(g) * 2)
    x = tg.tensor([1.0], requires_grad=True)
    with profile() as p:
        np.sum(outer(x)).backward(create_graph=True)
    assert p.operations["inner"].forward >= 0.05
    assert p.operations["forward"].backward < 0.05


def test_records_from_before_and_programs_of_living_records():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    before = np.exp(w)
    with profile() as p:
        loss = np.sum(before * 2)
        loss.backward(retain_graph=True)
    exp, multiply, total = program(loss, profile=p)
    assert (exp.forward, exp.backward) == (None, None)
    assert multiply.forward > 0
    assert multiply.backward > 0
    assert total.source.text == "loss = np.sum(before * 2)"
    assert tape.records(profile=p)[-1] == total
    assert p.operations["exp"].calls == 0
    assert p.operations["exp"].backward > 0
    assert None in p.lines
    assert "unknown" in str(p)
    assert p.to_dict()["lines"][list(p.lines).index(None)]["file"] is None
    assert "backward" in program(loss, profile=p).text().splitlines()[0]


def test_only_the_last_records_are_kept_singly():
    w = tg.tensor(2.0, requires_grad=True)
    with profile(keep=10) as p:
        t = w
        for _ in range(100):
            t = t * 1.5
        t.backward()
    assert len(p.program) == 10
    assert p.program[0].inputs == (p.program[0].position - 1, None)
    assert p.operations["multiply"].calls == 100


def test_memory_that_was_freed_is_not_taken_for_memory_of_others():
    w = tg.tensor(np.ones(1000), requires_grad=True)
    with profile() as p:
        for _ in range(50):
            np.exp(w)
    assert p.total.nbytes == 50 * 8000


def test_nothing_is_kept_alive():
    w = tg.tensor(np.ones(1000), requires_grad=True)
    before = len(tape)
    with profile() as p:
        np.sum(np.exp(w))
    assert len(tape) == before
    assert p.total.calls == 2


def test_several_results_and_untracked_operations():
    a = tg.tensor(np.eye(2), requires_grad=True)
    with profile() as p:
        w, _ = np.linalg.eigh(a)
        np.sum(w).backward()
        np.exp(tg.tensor([1.0]))
        with tg.no_grad():
            np.exp(a)
    assert p.operations["exp"].calls == 2
    assert p.operations["exp"].nbytes == 0
    eigh, total = p.program
    assert [result[0] for result in eigh.results] == [(2,), (2, 2)]
    assert total.inputs == (eigh.position,)


def test_it_is_entered_again_to_add_up():
    w = tg.tensor(2.0, requires_grad=True)
    p = profile()
    with p:
        np.exp(w)
    seconds = p.seconds
    with p:
        np.exp(w)
    np.exp(w)
    assert p.operations["exp"].calls == 2
    assert p.seconds > seconds


def test_transforms_and_forward_mode():
    with profile() as p:
        tg.jvp(tg.grad(lambda x: np.sum(np.exp(x))), (np.ones(2),), (np.ones(2),))
    assert p.operations["exp"].forward > 0
    assert {"<lambda>", "test_transforms_and_forward_mode"} == {source.function for source in p.lines}


def test_devices_are_waited_for(monkeypatch):
    waits = []

    class Device(str):
        def synchronize(self):
            waits.append(1)

    monkeypatch.setattr(device.ndarray, "device", Device("cuda:0"), raising=False)
    x = tg.as_tensor(device.asarray(np.ones(3))).requires_grad_()
    with profile() as p:
        np.sum(np.exp(x)).backward()
    assert len(waits) == 4
    assert p.total.nbytes == 24


def test_costs_add_up():
    assert Cost(1, 2.0, 3.0, 4).seconds == 5.0


def test_operations_inside_rules_belong_to_the_users_lines():
    x = np.linspace(0.1, 0.5, 3)
    with profile() as p:
        tg.jvp(lambda x: np.tanh(np.sin(x)), (x,), (x,))
        tg.hvp(lambda x: np.sum(np.tanh(x)), (x,), (x,))
    assert {place and place.file for place in p.lines} <= {__file__, None}
