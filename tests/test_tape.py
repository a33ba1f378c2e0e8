"""The laws of the tape: it owns nothing, never recurses, is left whole by failure, and has a mode per thread."""

import asyncio
import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._mode import ModeContext, Watcher
from tapegrad._op import linear, unary
from tapegrad._tape import LARGE
from tapegrad._tensor import OPS
from tapegrad.errors import HistoryError, ShapeError


def leaf(value):
    return tg.tensor(value, requires_grad=True)


def blocks_after(run, count):
    """Return how many more blocks of memory Python holds after `run(count)`."""
    gc.collect()
    before = sys.getallocatedblocks()
    run(count)
    gc.collect()
    return sys.getallocatedblocks() - before


# Memory and depth


def test_forward_passes_without_backward_run_in_constant_memory():
    w = leaf(np.ones(16))

    def run(count):
        for _ in range(count):
            np.sum(np.tanh(w * 2.0) + w)

    run(10)
    assert blocks_after(run, 2000) < 100


def test_history_is_freed_at_once_when_its_output_dies():
    w = leaf(np.ones(3))
    y = w * 2.0
    z = y * 3.0
    gone = weakref.ref(y)
    gc.disable()
    try:
        del y
        assert gone() is None, "the tensor is freed; its record lives on in z's"
        record = z._record.x
        assert record.op.name == "multiply"
        del z
        alone = object()  # how many an interpreter counts differs
        assert sys.getrefcount(record) == sys.getrefcount(alone), "only this test holds it: the tape owns nothing"
    finally:
        gc.enable()


def test_long_chains_differentiate_and_free_without_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(200_000):
        y = y * 1.0
    y.backward()
    assert x.grad.item() == 1.0
    y = x
    for _ in range(200_000):
        y = y + 0.0
    del y


def test_a_replay_releases_residuals_as_it_goes():
    x = leaf(np.ones(1000))
    alive = []

    def watch(a):
        return a * 1.0

    def rule(g, x):
        alive.append(sum(ref() is not None for ref in refs))
        return g * 1.0

    refs = []
    watched = unary(watch, rule, name="watched")
    y = x
    for _ in range(5):
        y = np.sin(y)
        y = watched(y)
        refs.append(weakref.ref(y._array))
    loss = np.sum(y)
    del y
    loss.backward()
    assert alive == sorted(alive, reverse=True)
    assert alive[-1] <= 1


def test_unrelated_history_in_between_costs_nothing():
    x = leaf(2.0)
    early = x * 3.0
    for _ in range(1000):
        x * 1.0
    keep = [x * 1.0 for _ in range(1000)]
    late = early * 5.0
    late.backward()
    assert x.grad.item() == 15.0
    assert len(keep) == 1000


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=60), st.data())
def test_random_programs_agree_with_symbolic_accumulation(program, data):
    """Any program of sums with gaps of dead history: the gradient counts the paths from each leaf."""
    leaves = [leaf(1.0) for _ in range(3)]
    values = list(leaves)
    counts = [np.eye(3)[i] for i in range(3)]
    for i, j in program:
        a, b = i % len(values), j % len(values)
        if data.draw(st.booleans()):
            values[a] * 2.0
        values.append(values[a] + values[b] * 0.5)
        counts.append(counts[a] + 0.5 * counts[b])
    values[-1].backward()
    expected = counts[-1]
    for i, x in enumerate(leaves):
        got = 0.0 if x.grad is None else x.grad.item()
        assert got == pytest.approx(expected[i], rel=1e-12)


# Replays


def test_second_replay_names_retain_graph_and_changes_nothing():
    x = leaf(3.0)
    y = x * x
    y.backward()
    with pytest.raises(HistoryError, match="retain_graph"):
        y.backward()
    assert x.grad.item() == 6.0


def test_retained_history_accumulates():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12.0


def test_two_losses_over_one_retained_trunk():
    x = leaf(2.0)
    trunk = np.exp(x)
    a, b = trunk * 2.0, trunk * trunk
    a.backward(retain_graph=True)
    b.backward()
    assert x.grad.item() == pytest.approx(2 * np.exp(2) + 2 * np.exp(4))


def test_two_losses_over_one_released_trunk_is_an_error():
    x = leaf(2.0)
    trunk = np.exp(x)
    a, b = trunk * 2.0, trunk * 3.0
    a.backward()
    before = x.grad.item()
    with pytest.raises(HistoryError, match="retain_graph"):
        b.backward()
    assert x.grad.item() == before


def test_interleaved_models_do_not_disturb_each_other():
    u, v = leaf(2.0), leaf(5.0)
    a = u * 1.0
    b = v * 1.0
    for _ in range(3):
        a = a * u
        b = b * v
    a.backward()
    b.backward()
    assert u.grad.item() == 4 * 2.0**3
    assert v.grad.item() == 4 * 5.0**3


def test_adversarial_pair_and_micro_batches():
    x, w = leaf(2.0), leaf(3.0)
    (x * w).backward()
    (-(x * w)).backward()
    assert (x.grad.item(), w.grad.item()) == (0.0, 0.0)
    for batch in (1.0, 2.0, 3.0):
        (w * batch).backward()
    assert w.grad.item() == 6.0


def test_create_graph_gives_gradients_that_can_be_differentiated():
    x = leaf(2.0)
    (x**4).backward(create_graph=True)
    first = x.grad
    x.grad = None
    first.backward(create_graph=True)
    second = x.grad
    x.grad = None
    second.backward()
    assert (first.item(), second.item(), x.grad.item()) == (32.0, 48.0, 48.0)


# Atomic failure


def failing_rule():
    def fail(g, out):
        raise ArithmeticError("planted")

    return unary(lambda a: a * 1.0, fail, name="planted")


def test_an_exception_in_a_rule_changes_no_gradient():
    planted = failing_rule()
    x, w = leaf(2.0), leaf(3.0)
    (x * w).backward()
    y = planted(x) + x * w
    with pytest.raises(ArithmeticError, match="planted"):
        y.backward()
    assert (x.grad.item(), w.grad.item()) == (3.0, 2.0)


def test_an_exception_in_a_forward_operation_leaves_no_record():
    x = leaf(np.ones((2, 3)))
    record = x._record
    with pytest.raises(ValueError, match="broadcast"):
        x * np.ones(4)
    with pytest.raises(ValueError, match="matmul"):
        x @ np.ones(4)
    assert x._record is record
    np.sum(x).backward()
    assert np.array_equal(x.grad.data, np.ones((2, 3)))


def test_a_rule_of_wrong_shape_is_named_with_input_and_shapes():
    wrong = linear(lambda a: a * 1.0, lambda g: np.reshape(g, (3, 2)), name="wrong")
    x = leaf(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"wrong for input 0.*\(3, 2\).*\(2, 3\)"):
        np.sum(wrong(x)).backward()
    assert x.grad is None


# Aliasing


def test_leaves_never_share_a_gradient_array():
    x, y = leaf(np.zeros(3)), leaf(np.zeros(3))
    seed = np.ones(3)
    (x + y).backward(seed)
    x.grad.data[0] = 7.0
    assert y.grad.tolist() == [1.0, 1.0, 1.0]
    assert seed.tolist() == [1.0, 1.0, 1.0]
    assert not np.shares_memory(x.grad.data, y.grad.data)
    assert not np.shares_memory(x.grad.data, seed)


def test_a_cotangent_is_never_aliased_or_changed():
    x = leaf(np.zeros(3))
    seed = np.arange(3.0)
    (x + x + x).backward(seed)
    assert x.grad.tolist() == [0.0, 3.0, 6.0]
    assert seed.tolist() == [0.0, 1.0, 2.0]


def test_broadcast_cotangents_become_writable_gradients():
    x = leaf(np.zeros(3))
    np.sum(x).backward()
    x.grad.data[1] = 5.0
    assert x.grad.tolist() == [1.0, 5.0, 1.0]


def test_replaying_twice_never_adds_into_a_saved_cotangent():
    x = leaf(np.ones(2))
    y = x * 1.0
    z = y + y + y
    z.backward(np.ones(2), retain_graph=True)
    first = x.grad.data.copy()
    z.backward(np.ones(2))
    assert np.array_equal(x.grad.data, 2 * first)


# Recording on and off


def test_no_grad_and_enable_grad_nest():
    x = leaf(1.0)
    with tg.no_grad():
        assert not (x * 2.0).requires_grad
        with tg.enable_grad():
            assert (x * 2.0).requires_grad
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_mode_is_restored_after_an_exception():
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        1 / 0  # noqa: B018
    assert tg.is_grad_enabled()


def test_decorators_cover_functions_generators_and_coroutines():
    x = leaf(1.0)

    @tg.no_grad()
    def function():
        return (x * 2.0).requires_grad

    @tg.no_grad()
    def generator():
        sent = yield (x * 2.0).requires_grad
        yield sent, (x * 2.0).requires_grad
        return "end"

    @tg.no_grad()
    async def coroutine():
        await asyncio.sleep(0)
        return (x * 2.0).requires_grad

    assert function() is False
    steps = generator()
    assert next(steps) is False
    assert (x * 2.0).requires_grad, "the code that iterates is not covered"
    assert steps.send("word") == ("word", False)
    with pytest.raises(StopIteration, match="end"):
        next(steps)
    assert asyncio.run(coroutine()) is False
    assert tg.is_grad_enabled()


def test_a_decorated_generator_can_be_closed_and_thrown_into():
    seen = []

    @tg.no_grad()
    def generator():
        try:
            yield 1
        except KeyError:
            seen.append(tg.is_grad_enabled())
            yield 2
        finally:
            seen.append(tg.is_grad_enabled())

    steps = generator()
    next(steps)
    assert steps.throw(KeyError("x")) == 2
    steps.close()
    assert seen == [False, False]
    assert tg.is_grad_enabled()


def test_set_grad_enabled_works_at_once_and_as_a_context():
    x = leaf(1.0)
    switch = tg.set_grad_enabled(False)
    try:
        assert not (x * 2.0).requires_grad
    finally:
        switch.__exit__()
    with tg.set_grad_enabled(False):
        assert not tg.is_grad_enabled()
        with tg.set_grad_enabled(True):
            assert tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_no_grad_belongs_to_its_thread():
    x = leaf(1.0)
    inside, done = threading.Event(), threading.Event()
    seen = []

    def other():
        inside.wait()
        seen.append((x * 2.0).requires_grad)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with tg.no_grad():
        inside.set()
        done.wait()
    thread.join()
    assert seen == [True]


def test_no_grad_belongs_to_its_task():
    x = leaf(1.0)

    async def plain():
        seen = []
        for _ in range(3):
            seen.append((x * 2.0).requires_grad)
            await asyncio.sleep(0)
        return seen

    async def without():
        seen = []
        with tg.no_grad():
            for _ in range(3):
                seen.append((x * 2.0).requires_grad)
                await asyncio.sleep(0)
        return seen

    async def both():
        return await asyncio.gather(plain(), without())

    assert asyncio.run(both()) == [[True] * 3, [False] * 3]


# Threads


def train(seed, steps=30):
    rng = np.random.default_rng(seed)
    w = leaf(rng.normal(size=(4, 3)))
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
    for _ in range(steps):
        error = np.tanh(x @ w) - y
        loss = np.sum(error * error)
        w.grad = None
        loss.backward()
        with tg.no_grad():
            w[...] = w - 0.01 * w.grad
    return w.data.copy()


def test_models_trained_in_eight_threads_are_those_trained_one_after_the_other():
    expected = [train(seed) for seed in range(8)]
    got = [None] * 8

    def run(seed):
        got[seed] = train(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(expected, got, strict=True):
        assert np.array_equal(a, b)


def test_tensors_cross_threads():
    x = leaf(3.0)
    made = []
    thread = threading.Thread(target=lambda: made.append(x * x))
    thread.start()
    thread.join()
    made[0].backward()
    assert x.grad.item() == 6.0


def test_concurrent_replays_into_one_leaf_lose_nothing():
    x = leaf(np.zeros(4))

    def run():
        for _ in range(200):
            np.sum(x * 1.0).backward()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert x.grad.tolist() == [800.0] * 4


@settings(max_examples=20)
@given(st.integers(1, 40))
def test_wide_sums_accumulate_in_any_width(width):
    x = leaf(np.ones(2))
    terms = [x * float(i) for i in range(width)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    np.sum(total).backward()
    assert x.grad.tolist() == [sum(range(width))] * 2


class Log(Watcher):
    """A watcher that writes down what it sees."""

    def __init__(self) -> None:
        self.computed_ops: list[tuple[str, bool]] = []
        self.rules: list[tuple[str, int, bool]] = []

    def computed(self, op, inputs, call, outs, record, seconds):
        assert seconds >= 0
        self.computed_ops.append((op.name, record is not None))

    def rule(self, op, k, formula, record):
        self.rules.append((op.name, k, record is not None))
        return lambda g, *saved: 2 * formula(g, *saved)


def test_watchers_see_what_is_computed_and_may_put_their_rule_in_a_rules_place():
    log = Log()
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with ModeContext(watchers=(log,)):
        y = tg.tensor([1.0, 1.0]) + 1
        np.sum(np.exp(x) * y).backward()
    assert log.computed_ops == [("add", False), ("exp", True), ("multiply", True), ("sum", True)]
    assert log.rules == [("sum", 0, True), ("multiply", 0, True), ("exp", 0, True)]
    np.testing.assert_allclose(x.grad.numpy(), 8 * 2 * np.exp([1.0, 2.0]))


def test_watchers_see_tangents_and_are_gone_afterwards():
    log = Log()
    with ModeContext(watchers=(log,)):
        _, t = tg.jvp(np.exp, (0.0,), (1.0,))
    assert (log.rules, t.item()) == ([("exp", 0, False)], 2.0)
    assert tg.grad(np.exp)(0.0).item() == 1.0
    assert len(log.rules) == 1


def test_tasks_may_share_a_context():
    shared = tg.no_grad()
    seen = {}

    async def first():
        with shared:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            seen["first, inside"] = tg.is_grad_enabled()
        seen["first, after"] = tg.is_grad_enabled()

    async def second():
        with tg.no_grad():
            with shared:
                for _ in range(3):
                    await asyncio.sleep(0)
            seen["second, after"] = tg.is_grad_enabled()

    async def main():
        await asyncio.gather(first(), second())

    asyncio.run(main())
    assert seen == {"first, inside": False, "first, after": True, "second, after": False}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_generators_that_hold_a_context_may_end_in_any_order(order):
    def generator():
        with tg.no_grad():
            yield

    made = [generator(), generator()]
    for each in made:
        next(each)
    for i in order:
        assert not tg.is_grad_enabled()
        assert next(made[i], None) is None
    assert tg.is_grad_enabled()


def test_rows_that_are_read_one_by_one_are_added_in_place():
    op = OPS["getitem"].op
    formula, count = op.rule_x
    calls = []
    op.rule_x = (lambda g, *saved: calls.append(1) or formula(g, *saved), count)
    try:
        x = leaf(np.arange(40.0).reshape(10, 4))
        y = x * 2.0
        total = sum(np.sum(row * row) for row in y) + np.sum(y[1:9:2, 2] ** 3) + np.sum(y[[0, 0]])
        for _ in range(2):
            calls.clear()
            total.backward(retain_graph=True)
            # Two make the memory that the others are added to; an array of indices is left to the formula.
            assert len(calls) <= 3
    finally:
        op.rule_x = formula, count
    expected = 8 * x.data
    expected[1:9:2, 2] += 6 * (2 * x.data[1:9:2, 2]) ** 2
    expected[0] += 4
    np.testing.assert_allclose(x.grad.numpy(), 2 * expected)


def test_parts_added_in_place_change_no_cotangent_that_others_hold():
    x = leaf(np.ones((3, 2)))
    seed = np.ones((3, 2))
    seen = []
    y = x * 1.0
    y.register_hook(lambda g: seen.append(g.tolist()))
    whole = y + 0.0
    z = whole + np.stack([y[0] * 2.0, y[1] * 3.0, y[2] * 4.0])
    z.backward(seed)
    assert seed.tolist() == [[1.0, 1.0]] * 3
    assert x.grad.tolist() == [[3.0, 3.0], [4.0, 4.0], [5.0, 5.0]]
    assert seen == [x.grad.tolist()]


@given(
    st.lists(st.sampled_from([0, -1, slice(1, 3), (slice(None), 1), None, (Ellipsis, 0), [0, 0], [True, False, True]]))
)
def test_sums_of_reads_have_the_gradient_of_one_sum(indices):
    def f(x):
        return sum((np.sum(np.sin(x[i]) * (k + 1)) for k, i in enumerate(indices)), np.sum(x))

    x = np.arange(6.0).reshape(3, 2)
    first = tg.grad(f)(x)
    with ModeContext(watchers=(Watcher(),)):  # a watcher sees every rule, so nothing is added in place
        np.testing.assert_allclose(first.numpy(), tg.grad(f)(x).numpy(), rtol=1e-14)


def test_large_cotangents_are_added_up_in_memory_that_nobody_else_knows():
    n = LARGE // 8
    x, seed, seen = leaf(np.ones(n)), np.ones(n), []
    z = x * 2.0
    z.register_hook(seen.append)
    # The seed itself arrives at x first, and at z, whose hook keeps it; then comes a product, which nobody knows.
    (x + z).backward(seed)
    np.testing.assert_array_equal(seed, np.ones(n))
    np.testing.assert_array_equal(seen[0].numpy(), np.ones(n))
    np.testing.assert_array_equal(x.grad.numpy(), np.full(n, 3.0))


def test_a_constant_that_a_rule_returns_is_not_added_to():
    n = LARGE // 8
    constant = np.full(n, 2.0)

    @tg.custom_rule(vjp=lambda g, x: constant)
    def double(x):
        return x * 2

    x = leaf(np.ones(n))
    (double(x) + double(x)).sum().backward()
    assert np.all(constant == 2)
    np.testing.assert_array_equal(x.grad.numpy(), np.full(n, 4.0))
