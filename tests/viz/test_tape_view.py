"""The living tape: found when asked for, and nothing held by looking."""

import gc
import re
import threading

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.viz import program, tape


@pytest.fixture
def before():
    """The number of records that other tests have left alive."""
    gc.collect()
    return len(tape)


def test_it_counts_what_is_alive(before):
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    assert len(tape) == before
    loss = np.sum(np.exp(w) * w)
    assert len(tape) == before + 3
    loss.backward(retain_graph=True)
    assert len(tape) == before + 3
    loss.backward()
    assert len(tape) == before
    other = np.exp(w)
    assert [line.operation for line in tape.records()[before:]] == ["exp"]
    del other
    assert len(tape) == before


def test_looking_holds_nothing(before):
    w = tg.tensor(np.ones(1000), requires_grad=True)
    lines = tape.records()
    loss = np.sum(np.exp(w))
    lines = tape.records()
    del loss
    assert len(tape) == before
    assert [line.operation for line in lines[-2:]] == ["exp", "sum"]


def test_bytes_are_counted_once(before):
    known = tape.nbytes
    w = tg.tensor(np.ones(1000), requires_grad=True)
    out = np.exp(w)
    both = out * out, out[::-1] * out
    assert tape.nbytes - known == 8000
    assert tape.records({"out": out}).nbytes == known
    del both


def test_one_mechanism_shows_the_tape_and_one_result(before):
    w = tg.tensor(np.ones((3, 2)), requires_grad=True)
    loss = np.sum(np.tanh(np.ones((5, 3)) @ w))
    other = np.sin(w)
    assert list(tape.records({"w": w})[before:-1]) == list(program(loss, {"w": w}))
    assert other.shape == (3, 2)


def test_it_prints_as_a_program_without_its_middle(before):
    w = tg.tensor(2.0, requires_grad=True)
    t = w
    for _ in range(1000):
        t = t * 1.5
    text = str(tape)
    assert text.splitlines()[0].split()[:3] == ["position", "operation", "inputs"]
    assert f"... {before + 900:,} more" in text
    assert len(text.splitlines()) < 250
    assert repr(tape) == text
    assert len(program(t).text().splitlines()) == 1003
    assert len(program(t).text(limit=3).splitlines()) == 7


def test_records_of_other_threads_are_seen(before):
    w = tg.tensor(2.0, requires_grad=True)
    made = []
    thread = threading.Thread(target=lambda: made.append(np.exp(w)))
    thread.start()
    thread.join()
    assert tape.records()[-1].operation == "exp"
    assert len(tape) == before + 1


def test_looking_while_others_work():
    stop = threading.Event()

    def work():
        w = tg.tensor(np.ones(3), requires_grad=True)
        while not stop.is_set():
            np.sum(np.exp(w) * w).backward()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            str(tape)
            tape.to_dot()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_released_input_is_shown_as_such():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    out = np.exp(w)
    position = out._record.position
    np.sum(out).backward()
    after = out * 2
    assert tape.records()[-1].inputs == (f"#{position} (released)", None)
    assert f"#{position} (released)" in str(tape)
    assert after.shape == (2,)


def test_inside_a_transform():
    shown = []

    def f(x):
        y = np.sum(np.exp(x) * x)
        shown.append(str(tape))
        shown.append(str(program(y)))
        return y

    tg.grad(f)(np.array([1.0, 2.0]))
    tg.jvp(tg.grad(f), (np.array([1.0, 2.0]),), (np.ones(2),))
    for text in shown:
        assert re.search(r"input \d", text)  # other tests may have left leaves
        assert "exp" in text


def test_records_with_hooks():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    out = np.exp(w)
    out.register_hook(lambda g: g * 2)
    exp, total = program(np.sum(out), {"w": w})
    assert (exp.operation, exp.inputs, exp.results) == ("exp", ("w",), (((2,), np.dtype(float)),))
    assert total.inputs == (exp.position,)


def test_lines_of_the_program_are_shown_where_a_watcher_saw_them():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    outside = np.exp(w)
    with tg.detect_anomaly():
        inside = outside * w
    first, second = program(inside)
    assert first.source is None
    assert second.source.text == "inside = outside * w"
    header, *_, row, _ = program(inside).text().splitlines()
    assert header.endswith("line")
    assert row.endswith("inside = outside * w")
    assert "line" not in program(outside).columns()
