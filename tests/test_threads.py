"""Threads, tasks and processes: models trained at once are those trained alone; forks and copies go on from there.

What a thread or task has for itself, its mode, is tested with the tape.
"""

import asyncio
import concurrent.futures
import contextvars
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import AnomalyError, ForeignWriteError, HistoryError


def leaf(value):
    return tg.tensor(value, requires_grad=True)


@pytest.fixture(autouse=True)
def switches():
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*jobs):
    """Return the results of functions that run in a thread each, all started before any goes on."""
    gate = threading.Barrier(len(jobs))

    def run(job):
        gate.wait()
        return job()

    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(run, job) for job in jobs]]


# Training


def train(seed, around=lambda step: step, steps=12):
    """Return what the training of a small network comes to: everything that a race could have changed."""
    data = np.random.default_rng(seed)
    x, y = data.normal(size=(32, 6)), data.integers(0, 3, size=32)
    rng = tg.random.default_rng(seed)
    model = nn.Sequential(
        nn.Linear(6, 16, rng=rng), nn.GELU(), nn.Dropout(0.3, rng=rng), nn.Linear(16, 16, rng=rng), nn.Tanh(),
        nn.Linear(16, 3, rng=rng),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    norms = []
    for p in model.parameters():
        p.register_post_accumulate_grad_hook(lambda p: norms.append(float(np.sum(p.grad.data**2))))

    @around
    def step():
        optimizer.zero_grad()
        rows = data.permutation(32)[:16]
        loss = tg.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = [step() for _ in range(steps)]
    model.eval()
    with tg.no_grad():
        scores = model(x).numpy()
    return losses, norms, scores.tolist(), [p.data.tolist() for p in model.parameters()]


def under(context):
    """Return a decorator under which a function runs in `context()`."""

    def decorate(step):
        def run():
            with context():
                return step()

        return run

    return decorate


@pytest.mark.parametrize(
    "around",
    [lambda step: step, under(tg.checked), under(tg.detect_anomaly), under(tg.strict), under(tg.profile)],
    ids=["plain", "checked", "detect_anomaly", "strict", "profile"],
)
def test_eight_networks_trained_at_once_are_those_trained_one_after_the_other(around):
    alone = [train(seed) for seed in range(8)]
    assert at_once(*[lambda seed=seed: train(seed, around) for seed in range(8)]) == alone


def derivatives(seed):
    """Return derivatives of several kinds, which nest levels and replays."""
    rng = np.random.default_rng(seed)
    w, v = rng.normal(size=(4, 4)), rng.normal(size=4)

    def f(x):
        t = tg.zeros(4)
        for i in range(4):
            t[i] = np.sum(np.sin(w[i] * x))
        return np.sum(t * t)

    found = [tg.grad(f)(v), *tg.hvp(f, (v,), (v,)), tg.hessian(f)(v), *tg.jvp(tg.grad(f), (v,), (v,))]
    found += [tg.jacobian(tg.grad(f), mode="forward")(v), tg.grad(lambda x: tg.grad(tg.checkpoint(f))(x) @ v)(v)]
    found += [tg.jvp(lambda s: tg.jvp(lambda x: f(x * s), (v,), (v,))[1], (1.0,), (1.0,))[1]]
    return [t.tolist() for t in found]


def test_transforms_of_eight_threads_do_not_meet():
    alone = [derivatives(seed) for seed in range(8)]
    assert at_once(*[lambda seed=seed: derivatives(seed) for seed in range(8)]) == alone


def test_checkpoints_rewind_only_the_generators_that_their_own_thread_draws_from():
    mine, other = (tg.random.default_rng(seed) for seed in (1, 2))
    expected = tg.random.default_rng(2).normal(size=6).tolist()
    drawn, twice = [], []

    def draw_elsewhere():
        thread = threading.Thread(target=lambda: drawn.append(other.normal().item()))
        thread.start()
        thread.join()

    @tg.checkpoint
    def noisy(x):
        draw_elsewhere()
        noise = mine.normal(size=2)
        twice.append(noise.tolist())
        draw_elsewhere()
        return x * noise

    x = leaf([1.0, 2.0])
    y = noisy(x)
    draw_elsewhere()
    y.sum().backward()
    draw_elsewhere()
    assert twice[0] == twice[1] == x.grad.tolist()
    assert drawn == expected


def test_checkpointed_networks_with_dropout_trained_at_once():
    def fit(seed):
        data, rng = np.random.default_rng(seed), tg.random.default_rng(seed)
        w, x, drop = leaf(data.normal(size=(4, 4))), data.normal(size=(16, 4)), nn.Dropout(0.3, rng=rng)
        block = tg.checkpoint(lambda h: drop(np.tanh(h @ w)))
        losses = []
        for _ in range(10):
            w.grad = None
            loss = np.sum(block(block(block(tg.tensor(x)))) ** 2)
            loss.backward()
            with tg.no_grad():
                w -= 0.01 * w.grad
            losses.append(loss.item())
        return losses

    alone = [fit(seed) for seed in range(8)]
    assert at_once(*[lambda seed=seed: fit(seed) for seed in range(8)]) == alone


# One tape


def test_a_history_made_in_many_threads_is_replayed_in_one_and_the_other_way_round():
    x = leaf(np.arange(4.0))

    def piece(i):
        y = x * float(i)
        for _ in range(50):
            y = y + 1.0
        return y * y

    pieces = at_once(*[lambda i=i: piece(i) for i in range(8)])
    total = pieces[0]
    for term in pieces[1:]:
        total = total + term
    at_once(lambda: total.sum().backward())
    assert x.grad.tolist() == [sum(2 * i * (i * v + 50) for i in range(8)) for v in range(4)]


def test_replays_at_once_add_up_exactly_in_every_leaf_and_result_that_they_share():
    leaves = [leaf(np.zeros(3)) for _ in range(5)]
    trunk = leaves[0] * 2.0 + leaves[1] * 3.0
    trunk.retain_grad()

    def run(i):
        for _ in range(50):
            (trunk * float(i) + leaves[2] + leaves[3 + i % 2]).backward(np.ones(3), retain_graph=True)

    at_once(*[lambda i=i: run(i) for i in range(6)])
    weights = 50 * sum(range(6))
    expected = [2 * weights, 3 * weights, 300, 150, 150]
    assert [t.grad.tolist() for t in leaves] == [[float(n)] * 3 for n in expected]
    assert trunk.grad.tolist() == [float(weights)] * 3


def test_one_of_two_replays_of_one_history_gets_it_and_the_other_is_refused():
    x = leaf(np.ones(2))
    y = x
    for _ in range(300):
        y = y * 1.0
    outcomes = []

    def run():
        try:
            y.backward(np.ones(2))
            outcomes.append("replayed")
        except HistoryError as error:
            outcomes.append(error)

    run()
    at_once(run, run)
    assert [type(outcome) for outcome in outcomes] == [str, HistoryError, HistoryError]
    assert x.grad.tolist() == [1, 1]


def test_gradients_are_read_whole_while_they_are_written():
    x, y = leaf(np.zeros(1000)), leaf(np.zeros(1000))
    np.sum(x + y).backward()
    done = threading.Event()

    def write():
        for _ in range(200):
            np.sum(x + y).backward()
        done.set()

    def read():
        seen = 0.0
        while not done.is_set():
            values = x.grad.data
            assert values.min() == values.max() >= seen
            seen = values[0]

    at_once(write, read, read)
    assert x.grad.tolist() == y.grad.tolist() == [201.0] * 1000


def test_history_that_other_threads_drop_is_freed():
    x = leaf(np.ones(4))

    def run(i):
        y = x
        for step in range(400):
            y = (y * 1.5 if step % 7 else x) + float(i)
        return y

    kept = at_once(*[lambda i=i: run(i) for i in range(8)])
    for y in kept:
        y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


# Tasks


def test_tasks_that_train_in_turns_get_what_they_get_alone():
    async def training(seed):
        data = np.random.default_rng(seed)
        w, x = leaf(data.normal(size=3)), data.normal(size=(5, 3))
        for _ in range(10):
            w.grad = None
            loss = np.sum(np.tanh(x @ w) ** 2)
            await asyncio.sleep(0)
            loss.backward()
            with tg.no_grad():
                await asyncio.sleep(0)
                w[...] = w - 0.1 * w.grad
        return w.tolist()

    async def all_of(seeds):
        return await asyncio.gather(*map(training, seeds))

    assert asyncio.run(all_of(range(8))) == [asyncio.run(training(seed)) for seed in range(8)]


def test_every_kind_of_mode_belongs_to_its_task():
    bad, shared = leaf(-1.0), np.array([2.0, 3.0])

    async def watched():
        with tg.detect_anomaly(), tg.checked():
            for _ in range(3):
                await asyncio.sleep(0)
            with pytest.raises(AnomalyError), np.errstate(invalid="ignore"):
                np.sqrt(bad)
            x = leaf([1.0, 1.0])
            y = np.sum(x * shared)
            await asyncio.sleep(0)
            shared[0] += 1
            with pytest.raises(ForeignWriteError):
                y.backward()

    async def plain():
        for _ in range(5):
            with np.errstate(invalid="ignore"):
                assert np.isnan(np.sqrt(bad).item())
            x = leaf([1.0, 1.0])
            y = np.sum(x * shared)
            await asyncio.sleep(0)
            shared[1] += 1
            y.backward()

    async def both():
        await asyncio.gather(watched(), plain(), watched())

    asyncio.run(both())


def test_threads_may_share_a_context():
    shared = tg.no_grad()

    def enter():
        for _ in range(200):
            with shared, tg.enable_grad(), shared:
                assert not tg.is_grad_enabled()
            assert tg.is_grad_enabled()

    at_once(enter, enter, enter)


def test_tangents_are_pushed_through_threads_that_take_the_context_along():
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def f(x):
            y = x * x
            return pool.submit(contextvars.copy_context().run, np.sin, y).result()

        value, tangent = tg.jvp(f, (2.0,), (1.0,))
    assert value.item() == np.sin(4.0)
    assert tangent.item() == 4 * np.cos(4.0)

    async def outside():
        with tg.no_grad():
            return await asyncio.to_thread(tg.is_grad_enabled)

    assert asyncio.run(outside()) is False


# Processes


def run(program, *arguments, folder):
    """Run a program by itself, as what starts processes must, and return the end of what it printed."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(program))
    command = [sys.executable, "-W", "ignore:.*multi-threaded.*fork:DeprecationWarning", str(path), *arguments]
    where = os.environ | {"PYTHONPATH": str(Path(tg.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=where)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


POOL = """
    import multiprocessing, sys
    import numpy as np
    import tapegrad as tg
    from tapegrad import nn, optim

    def fit(job):
        model, x, y = job
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            loss = np.mean((model(x) - y) ** 2)
            loss.backward()
            optimizer.step()
        return model, loss

    if __name__ == "__main__":
        before = tg.tensor([1.0, 2.0], requires_grad=True)
        alive = np.sum(before * before)
        jobs = []
        for seed in range(4):
            data, rng = np.random.default_rng(seed), tg.random.default_rng(seed)
            layers = [nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Dropout(0.1, rng=rng), nn.Linear(4, 1, rng=rng)]
            model = nn.Sequential(*layers)
            jobs.append((model, tg.tensor(data.normal(size=(8, 3))), data.normal(size=(8, 1))))
        with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
            made = pool.map(fit, jobs, chunksize=1)
        for (model, loss), job in zip(made, jobs):
            expected, expected_loss = fit(job)
            assert loss.item() == expected_loss.item()
            for p, q in zip(model.parameters(), expected.parameters(), strict=True):
                assert p.requires_grad and p.is_leaf and np.array_equal(p.data, q.data)
            model(job[1]).sum().backward()
        alive.backward()
        assert before.grad.tolist() == [2.0, 4.0]
        print("done")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_models_travel_to_processes_and_back(method, tmp_path):
    if not hasattr(os, "fork") and method == "fork":
        pytest.skip("this system does not fork")
    assert run(POOL, method, folder=tmp_path) == "done"


FORKS = """
    import os, signal, sys, threading
    import numpy as np
    import tapegrad as tg

    sys.setswitchinterval(1e-6)
    w, x = tg.tensor(np.zeros(4), requires_grad=True), tg.tensor([1.0, 2.0], requires_grad=True)
    loss = np.sum(x * x)
    stop = False

    def busy():
        while not stop:
            np.sum(w * 1.0).backward()

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            child = os.fork()
            if not child:
                signal.alarm(10)
                loss.backward()
                before = w.grad.tolist()
                np.sum(w).backward()
                right = x.grad.tolist() == [2.0, 4.0] and w.grad.tolist() == [g + 1 for g in before]
                os._exit(0 if right else 1)
            status = os.waitpid(child, 0)[1]
            assert status == 0, f"a child ended with {status}"
    finally:
        stop = True
    loss.backward()
    assert x.grad.tolist() == [2.0, 4.0]
    print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_while_other_threads_replay_is_safe(tmp_path):
    assert run(FORKS, folder=tmp_path) == "done"
