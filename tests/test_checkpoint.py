"""Checkpointing: derivatives as without it, what is kept, random numbers, and second runs that do something else."""

import copy
import dataclasses
import itertools
import math
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import nn
from tapegrad._checkpoint import checkpoint
from tapegrad.errors import AnomalyError, HistoryError, KinkError

X = np.array([0.5, 0.7, -0.3])
T = np.array([1.0, -2.0, 0.5])


def plain(function):
    return function


def program(mark):
    """Return a scalar function with captured tensors, several results and a result that is used twice."""

    def f(x):
        scale = np.exp(x[0])
        inner = mark(lambda x, k: {"a": np.sin(scale * x) * k, "b": [np.sum(x * x), "text", None]})
        first = inner(x, 2.0)
        second = mark(lambda d: (d["a"] * d["b"][0], d["a"]))(first)
        return np.sum(second[0] * first["a"]) + np.sum(second[1])

    return f


def reverse(f):
    return lambda x: np.sum(tg.grad(f)(x) * T)


def forward(f):
    return lambda x: tg.jvp(f, (x,), (T,))[1]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_every_order_in_both_modes_are_those_without(order):
    for modes in itertools.product([reverse, forward], repeat=order):
        f, expected = program(checkpoint), program(plain)
        for mode in modes:
            f, expected = mode(f), mode(expected)
        assert f(X).item() == pytest.approx(expected(X).item(), rel=1e-12), [mode.__name__ for mode in modes]


def test_a_transform_may_be_checkpointed_and_a_checkpoint_transformed():
    def f(x):
        return np.sum(checkpoint(tg.grad(lambda x: np.sum(np.sin(x) ** 2)))(x) * x)

    def g(x):
        return np.sum(tg.grad(lambda x: np.sum(np.sin(x) ** 2))(x) * x)

    assert np.allclose(tg.grad(f)(X).data, tg.grad(g)(X).data, rtol=1e-13)
    assert np.allclose(tg.grad(reverse(f))(X).data, tg.grad(reverse(g))(X).data, rtol=1e-13)
    assert np.allclose(tg.grad(forward(f))(X).data, tg.grad(forward(g))(X).data, rtol=1e-13)


def test_backward_reaches_leaves_that_are_captured_directly_and_through_results():
    found = []
    for mark in (checkpoint, plain):
        w = tg.tensor(X, requires_grad=True)
        x = tg.tensor(T, requires_grad=True)
        double = w * 2

        @mark
        def f(x, double=double, w=w):
            return np.sum(np.tanh(x * double) * w)

        g = tg.grad(lambda x: f(f(x) * x))(x)
        np.sum(g * g).backward()
        found.append([w.grad.data, x.grad.data])
    assert np.allclose(found[0], found[1], rtol=1e-12)


def test_parameters_of_modules_are_captured():
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=1))
    copied = copy.deepcopy(model)
    np.sum(checkpoint(model)(X)).backward()
    np.sum(copied(X)).backward()
    for p, q in zip(model.parameters(), copied.parameters(), strict=True):
        assert np.array_equal(p.grad.data, q.grad.data)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 2))
def test_nested_checkpoints(lengths, depth):
    def run(x, mark, lengths, depth):
        for n in lengths:
            part = (
                (lambda x, n=n: run(x, mark, [n, 1], depth - 1)) if depth else lambda x, n=n: np.sin(x) * n + x * x / 9
            )
            x = mark(part)(x)
        return x

    def f(x, mark):
        return np.sum(run(x, mark, lengths, depth))

    expected = tg.grad(lambda x: f(x, plain))(X)
    assert np.array_equal(tg.grad(lambda x: f(x, checkpoint))(X).data, expected.data)


def test_every_run_is_counted():
    runs = []

    def f(x):
        runs.append(1)
        return np.sin(x) * x

    def inner_and_outer(x):
        return checkpoint(f)(x) * 2

    x = tg.tensor(0.5, requires_grad=True)
    y = checkpoint(f)(x)
    assert len(runs) == 1
    y.backward(retain_graph=True)
    assert len(runs) == 2
    y.backward()
    assert len(runs) == 3
    assert x.grad.item() == pytest.approx(2 * (math.sin(0.5) + 0.5 * math.cos(0.5)))
    with pytest.raises(HistoryError, match="retain_graph"):
        y.backward()
    runs.clear()
    checkpoint(inner_and_outer)(x).backward()
    assert len(runs) == 3


def test_nothing_is_recorded_or_run_again_without_need():
    runs = []

    @checkpoint
    def f(x):
        runs.append(1)
        return np.sin(x)

    assert not f(tg.tensor(X)).requires_grad
    assert isinstance(f(X), np.ndarray)
    with tg.no_grad():
        assert not f(tg.tensor(X, requires_grad=True)).requires_grad
    runs.clear()
    tg.jvp(f, (X,), (T,))
    assert len(runs) == 1


# Structure


@dataclasses.dataclass
class Pair:
    a: object
    b: object


def test_containers_keywords_integers_and_inputs_that_are_not_used():
    n = np.array([0, 2])

    @checkpoint
    def f(pair, unused, index, *, names=("a",), scale=1.0):
        return Pair(pair.a[index] * scale, {"names": names, "index": index, "count": tg.tensor(3)}), pair.b

    x, b, u = (tg.tensor(v, requires_grad=True) for v in (X, 2.0, 1.0))
    out, same = f(Pair(x, b), u, n, names=("c",), scale=3.0)
    assert out.b["names"] == ("c",)
    assert out.b["index"] is n
    assert not out.b["count"].requires_grad
    (np.sum(out.a) + same * 5).backward()
    assert x.grad.tolist() == [3.0, 0.0, 3.0]
    assert b.grad.item() == 5.0
    assert u.grad is None


def test_results_that_are_not_used_have_no_part():
    @checkpoint
    def f(x, y):
        return x * x, y * y

    x, y = tg.tensor(3.0, requires_grad=True), tg.tensor(4.0, requires_grad=True)
    f(x, y)[0].backward()
    assert x.grad.item() == 6.0
    assert y.grad.item() == 0.0


def test_it_decorates_methods_and_keeps_names():
    class Model:
        w = tg.tensor(2.0, requires_grad=True)

        @checkpoint
        def run(self, x):
            """Say what it does."""
            return self.w * x * x

    assert Model.run.__name__ == "run"
    assert Model.run.__doc__ == "Say what it does."
    assert tg.grad(Model().run)(3.0).item() == 12.0


def test_functions_may_assign_and_callers_may_assign_later():
    @checkpoint
    def f(x):
        x[0] = x[1] * x[2]
        return x

    x = tg.tensor(X, requires_grad=True)
    y = x * 1.0
    out = f(y)
    y[1] = 100.0
    out.backward(np.ones(3))
    assert np.allclose(x.grad.data, [0.0, 1 + X[2], 1 + X[1]])
    assert out.tolist() == [X[1] * X[2], X[1], X[2]]


def test_leaves_made_inside():
    def f(x):
        w = tg.tensor(2.0, requires_grad=True)
        (w * w * x).backward(create_graph=True)
        return w.grad

    assert tg.grad(checkpoint(f))(5.0).item() == 4.0
    assert tg.grad(tg.grad(lambda x: checkpoint(f)(x) * x))(5.0).item() == 8.0


def test_dtypes_and_complex_numbers():
    for dtype in "efFD":
        x = tg.tensor(np.array([1.0, 2.0]).astype(dtype), requires_grad=True)
        np.sum(np.real(checkpoint(lambda x: x * x * 3)(x))).backward()
        assert x.grad.dtype == x.dtype
        assert x.grad.tolist() == [6.0, 12.0]


# Random numbers


def drawn(x, rng=None):
    return np.sum(x * tg.random.normal(size=3) * tg.random.uniform() + x * x * np.random.normal(size=3))


def test_random_numbers_are_drawn_again_and_the_sequences_go_on():
    def found(mark):
        tg.random.seed(3)
        np.random.seed(3)
        g = tg.grad(lambda x: mark(drawn)(x) * mark(drawn)(x))(X)
        return [*g.tolist(), tg.random.random().item(), np.random.random()]

    assert found(checkpoint) == pytest.approx(found(plain), rel=1e-14)


def test_generators_that_are_captured_or_given():
    def found(mark):
        own, given = tg.random.default_rng(1), np.random.default_rng(2)
        f = mark(lambda x, rng: np.sum(np.sin(x) * own.normal(size=3) * rng.normal(size=3)))
        g = tg.grad(lambda x: f(x, given) + f(x, given))(X)
        return [*g.tolist(), own.random().item(), given.random()]

    assert found(checkpoint) == pytest.approx(found(plain), rel=1e-14)


def test_dropout_drops_the_same_entries_again():
    for seed in (None, 0):
        layer = nn.Dropout(0.5, rng=seed)
        copied = copy.deepcopy(layer)
        tg.random.seed(0)
        expected = tg.grad(lambda x, copied=copied: np.sum(copied(x * x)))(np.ones(50))
        tg.random.seed(0)
        assert np.array_equal(tg.grad(lambda x, layer=layer: np.sum(checkpoint(layer)(x * x)))(np.ones(50)), expected)


def test_a_seed_inside_starts_the_sequence_anew_each_time():
    def f(x):
        tg.random.seed(5)
        return x * tg.random.normal()

    g = tg.grad(checkpoint(f))(1.0)
    tg.random.seed(5)
    assert g.item() == tg.random.normal().item()


# Second runs that are others


def test_other_values_in_the_second_run_are_an_error():
    rng = np.random.default_rng(0)
    x = tg.tensor(X, requires_grad=True)
    y = checkpoint(lambda x: np.sin(x * rng.normal()))(x)
    with pytest.raises(HistoryError, match="<lambda> under checkpoint gave other values for result 0"):
        np.sum(y).backward()
    assert x.grad is None
    w = tg.tensor(2.0, requires_grad=True)
    y = checkpoint(lambda x: np.sum(x * w))(x)
    with tg.no_grad():
        w -= 0.5
    with pytest.raises(HistoryError, match="do not change before the replay what it captures"):
        y.backward()


def test_another_structure_in_the_second_run_is_an_error():
    sizes = iter([2, 3])
    x = tg.tensor(X, requires_grad=True)
    y = checkpoint(lambda x: x[: next(sizes)] * 2)(x)
    with pytest.raises(HistoryError, match=r"gave tracked results of shape \(3,\) and float64 in its second run"):
        np.sum(y).backward()
    counts = iter([1, 2])
    y = checkpoint(lambda x: [x * 2] * next(counts) + [x * 3])(x)
    np.sum(y[0]).backward()
    given = iter([True, False])
    y = checkpoint(lambda x: x * 2 if next(given) else X)(x)
    with pytest.raises(HistoryError, match="of no shape at all in its second run"):
        np.sum(y).backward()


def test_other_tensors_in_the_second_run_are_an_error():
    a, b = tg.tensor(2.0, requires_grad=True), tg.tensor(2.0, requires_grad=True)
    both = iter([a * 1.0, b * 1.0])
    y = checkpoint(lambda x: next(both) * x)(3.0)
    with pytest.raises(HistoryError, match="used other tensors in its second run"):
        y.backward()


def test_an_error_in_the_second_run_leaves_all_as_it_was():
    calls = []

    def f(x):
        calls.append(tg.random.random())
        if len(calls) == 2:
            raise KeyError("second")
        return x * x

    x = tg.tensor(2.0, requires_grad=True)
    tg.random.seed(0)
    y = checkpoint(f)(x) + x
    state = tg.random.get_state()
    with pytest.raises(KeyError):
        y.backward()
    assert x.grad is None
    assert tg.random.get_state() == state
    assert tg.is_grad_enabled()
    assert calls[0].item() == calls[1].item()


# In company


def test_watchers_see_the_second_run():
    def f(x):
        return np.sum(np.where(x > 0, np.log(x), 0.0) * 2)

    x = np.array([0.0, 2.0])
    with np.errstate(all="ignore"), tg.strong_zero():
        assert tg.grad(checkpoint(f))(x).tolist() == [0.0, 1.0]


def test_threads_do_not_meet():
    def train(seed):
        w = tg.tensor(np.linspace(0, 1, 5) + seed, requires_grad=True)
        step = checkpoint(lambda x: np.tanh(x * w))
        x = w
        for _ in range(30):
            x = step(x)
        np.sum(x).backward()
        return w.grad.tolist()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(train, range(8))) == [train(seed) for seed in range(8)]


# Memory


STEPS, LENGTH = 1000, 4096


def steps(x, count):
    """Take steps that keep one array each, `tanh`'s result."""
    for _ in range(count):
        x = np.tanh(x)
    return x


def looped(x, mark):
    size = math.isqrt(STEPS)
    for first in range(0, STEPS, size):
        x = mark(steps)(x, min(size, STEPS - first))
    return x


def peak(mark):
    """Return the most memory beyond the argument's, in steps' residuals, that a gradient of the loop takes."""
    x = tg.tensor(np.linspace(-1, 1, LENGTH), requires_grad=True)
    tracemalloc.start()
    try:
        np.sum(looped(x, mark)).backward()
        return tracemalloc.get_traced_memory()[1] / (8 * LENGTH), x.grad.data
    finally:
        tracemalloc.stop()


def test_a_loop_in_segments_keeps_two_square_roots_of_its_steps():
    kept, g = peak(checkpoint)
    everything, expected = peak(plain)
    assert everything > STEPS
    assert kept <= 2.2 * math.sqrt(STEPS)
    assert np.array_equal(g, expected)


def test_random_states_are_kept_only_where_they_were_used():
    def grown(f):
        x = tg.tensor(1.0, requires_grad=True)
        f(x)
        tracemalloc.start()
        kept = [f(x) for _ in range(20)]
        found = tracemalloc.get_traced_memory()[0] / len(kept)
        tracemalloc.stop()
        return found

    assert grown(checkpoint(lambda x: x * 2)) < 3000
    assert grown(checkpoint(lambda x: x * np.random.random())) > 2500


def test_strict_mode_of_the_first_run_holds_in_a_replay_outside():
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    with tg.strict():
        y = tg.checkpoint(np.abs)(x).sum()
    with pytest.raises(KinkError, match="absolute has a kink"):
        y.backward()
    assert x.grad is None


def test_anomalies_are_found_inside_the_second_run():
    def f(x):
        return np.sqrt(x) * 2

    x = tg.tensor([0.0, 4.0], requires_grad=True)
    with tg.detect_anomaly():
        y = tg.checkpoint(f)(x).sum()
        with pytest.raises(AnomalyError, match="the rule of sqrt for its input x") as caught:
            y.backward()
    assert "return np.sqrt(x) * 2" in str(caught.value)
    report = tg.explain(tg.checkpoint(f)(x).sum())
    assert [fault.operation for fault in report.faults] == ["sqrt"]
