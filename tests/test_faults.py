"""Finding faults: which operation or rule made a NaN or an infinity, and which line makes the tape grow."""

import gc
import inspect
import threading
import warnings

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.viz
from tapegrad import _history
from tapegrad.errors import AnomalyError
from tapegrad.testing import strict as device

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


def line():
    """Return the number of the line that calls this."""
    return inspect.currentframe().f_back.f_lineno


def leaf(*values):
    return tg.tensor(list(values), requires_grad=True)


# Forward


def test_the_first_operation_that_makes_a_nan_raises():
    x = leaf(4.0, -1.0)
    with tg.detect_anomaly():
        y = np.exp(x)
        where = line() + 2
        with pytest.raises(AnomalyError) as raised:
            np.sqrt(x) * y
    text = str(raised.value)
    assert text.startswith("sqrt made nan of inputs without any, record #")
    assert f'test_faults.py", line {where}, in test_the_first' in text
    assert ": np.sqrt(x) * y\n" in text
    assert "x      float64 (2,) from -1 to 4" in text
    assert "out    float64 (2,) all 2, 1 nan" in text
    assert "at index (1,): x -1.0, result nan" in text
    assert isinstance(raised.value, FloatingPointError)


def test_infinities_are_remembered_and_named_where_they_become_nan():
    x = leaf(0.0, 4.0)
    with tg.detect_anomaly():
        where, y = line(), np.log(x)
        assert np.isneginf(y.data[0])
        with pytest.raises(AnomalyError, match="subtract made nan") as raised:
            y - 1 - y
    assert "origin" in str(raised.value)
    assert f'log made an infinity: File "{__file__}", line {where}, in' in str(raised.value)


def test_infinities_raise_where_that_is_asked_for():
    x = leaf(0.0, 4.0)
    with tg.detect_anomaly(inf=True), pytest.raises(AnomalyError, match="log made an infinity of finite inputs"):
        np.log(x)
    with tg.detect_anomaly(inf=True), pytest.raises(AnomalyError, match="exp made an infinity"):
        np.exp(tg.tensor(1000.0))


@pytest.mark.parametrize("inf", [False, True])
def test_what_came_in_is_nobodys_fault(inf):
    x = leaf(1.0, np.nan)
    with tg.detect_anomaly(inf=inf):
        np.where([True, False], x, -np.inf)
        np.exp(x * 2)
        np.sum(np.maximum(x, np.inf))
        np.pad(leaf(1.0), 1, constant_values=np.nan)


def test_masks_of_attention_do_not_disturb():
    scores = tg.tensor(np.arange(9.0).reshape(3, 3), requires_grad=True)
    future = np.triu(np.ones((3, 3), bool), 1)
    with tg.detect_anomaly(inf=True):
        weights = tg.softmax(np.where(future, -np.inf, scores), axis=-1)
        np.sum(weights**2).backward()
    assert np.isfinite(scores.grad.data).all()


def test_constants_are_watched_too():
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match=r"^sqrt made nan of inputs without any\n") as raised:
        np.sqrt(tg.tensor(-1.0))
    assert "there: x -1.0, result nan" in str(raised.value)
    with tg.no_grad(), tg.detect_anomaly(), pytest.raises(AnomalyError):
        np.sqrt(leaf(-1.0))


def test_a_raised_fault_leaves_no_record():
    x = leaf(-1.0)
    gc.collect()  # of what other tests have left
    before = len(tg.viz.tape)
    with tg.detect_anomaly(), pytest.raises(AnomalyError):
        np.sqrt(x)
    assert len(tg.viz.tape) == before


def test_complex_values():
    z = tg.tensor([0j, 1 + 1j], requires_grad=True)
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match="divide made nan") as raised:
        z / z
    assert "complex128 (2,) sizes from 0 to 1.41421" in str(raised.value)


# In the replay


def masked(x):
    return np.sum(np.where(x.data > 0, np.sqrt(x), 0))


def test_masked_in_forward_alive_in_backward():
    x = leaf(0.0, 4.0)
    x.grad = [1.0, 1.0]
    with tg.detect_anomaly():
        loss = masked(x)
        with pytest.raises(AnomalyError) as raised:
            loss.backward()
    text = str(raised.value)
    assert text.startswith("the rule of sqrt for its input x made nan of a finite cotangent, in the replay of record #")
    assert "in masked: return np.sum(np.where(x.data > 0, np.sqrt(x), 0))" in text
    assert "at index (0,): g 0.0, out 0.0, result nan" in text
    assert "masked in forward, alive in backward" in text
    assert "tapegrad.strong_zero()" in text
    assert "np.where(ok, f(np.where(ok, x, 1)), 0)" in text
    assert x.grad.tolist() == [1, 1]


def test_both_remedies_work():
    x = leaf(0.0, 4.0)
    with tg.detect_anomaly():
        ok = x.data > 0
        np.sum(np.where(ok, np.sqrt(np.where(ok, x, 1)), 0)).backward()
        assert x.grad.tolist() == [0, 0.25]
        with tg.strong_zero():
            masked(x).backward()
    with tg.strong_zero(), tg.detect_anomaly():
        masked(x).backward()
    assert x.grad.tolist() == [0, 0.75]


def test_an_infinite_derivative_is_not_called_masked():
    x = leaf(0.0, 4.0)
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match="sqrt for its input x made an infinity") as raised:
        np.sum(np.sqrt(x)).backward()
    assert "masked in forward" not in str(raised.value)


def test_a_rule_is_not_blamed_for_what_arrives():
    x = leaf(1.0, 2.0)
    with tg.detect_anomaly():
        np.exp(x).backward([np.nan, 1.0])
    assert np.isnan(x.grad.data[0])


def test_records_from_outside_have_no_line():
    x = leaf(0.0, 4.0)
    loss = masked(x)
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match="unknown: only under detect_anomaly or profile"):
        loss.backward()


def test_without_forward_checks_the_replay_says_where_the_nan_is_from():
    x = leaf(-1.0)
    with tg.detect_anomaly(nan=False):
        loss = np.sum(np.sqrt(x) * x)
        with pytest.raises(AnomalyError, match="multiply for its input") as raised:
            loss.backward()
    assert "sqrt made nan: File" in str(raised.value)


@pytest.mark.parametrize(
    "differentiate",
    [
        lambda x: masked(x).backward(create_graph=True),
        tg.grad(lambda x: np.sum(tg.grad(masked)(x) ** 2)),
        lambda x: tg.jvp(lambda x: np.where(x.data > 0, np.sqrt(x), 0), (x.data,), (np.array([0.0, 1.0]),)),
        lambda x: tg.jvp(tg.grad(masked), (x.data,), (np.array([0.0, 1.0]),)),
    ],
    ids=["create_graph", "grad of grad", "jvp", "jvp of grad"],
)
def test_under_transforms_and_at_higher_order(differentiate):
    x = leaf(0.0, 4.0)
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match="rule of sqrt for its input x made nan") as raised:
        differentiate(x)
    assert "masked in forward, alive in backward: the " in str(raised.value)


def test_forward_mode_alone():
    with tg.detect_anomaly(inf=True), pytest.raises(AnomalyError, match=r"^log made an infinity of finite inputs\n"):
        tg.jvp(np.log, (0.0,), (1.0,))
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match="a finite tangent, in forward mode"):
        tg.jvp(np.sqrt, (0.0,), (1.0,))


def test_second_derivatives_are_blamed_at_their_own_rule():
    def f(x):
        return np.sum(x**1.5)

    with tg.detect_anomaly():
        assert tg.grad(f)(np.array([0.0])).tolist() == [0]
        with pytest.raises(AnomalyError):
            tg.grad(lambda x: np.sum(tg.grad(f)(x)))(np.array([0.0]))


def test_several_results():
    a = tg.tensor(np.eye(2), requires_grad=True)
    with tg.detect_anomaly():
        w, _ = np.linalg.eigh(a)
        np.sum(w).backward()
        np.testing.assert_allclose(a.grad.data, np.eye(2), atol=1e-14)


def test_values_are_those_without_it():
    x = leaf(1.0, 2.0)
    np.sum(np.exp(x) * x).backward()
    plain, x.grad = x.grad.tolist(), None
    with tg.detect_anomaly():
        np.sum(np.exp(x) * x).backward()
    assert x.grad.tolist() == plain


def test_as_a_decorator_and_gone_afterwards():
    @tg.detect_anomaly()
    def root(x):
        return np.sqrt(x)

    with pytest.raises(AnomalyError):
        root(leaf(-1.0))
    assert np.isnan(np.sqrt(leaf(-1.0)).data[0])


def test_it_covers_one_thread():
    found = []
    with tg.detect_anomaly():
        thread = threading.Thread(target=lambda: found.append(np.isnan(np.sqrt(leaf(-1.0)).data[0])))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            thread.start()
            thread.join()
    assert found == [True]


def test_threads_get_their_own_lines():
    texts = {}

    def work(name, function):
        try:
            with tg.detect_anomaly():
                for _ in range(20):
                    np.exp(leaf(1.0))
                function(leaf(-1.0))
        except AnomalyError as error:
            texts[name] = str(error)

    threads = [threading.Thread(target=work, args=job) for job in (("sqrt", np.sqrt), ("log", np.log))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts["sqrt"].startswith("sqrt made nan")
    assert texts["log"].startswith("log made nan")


def test_on_a_device():
    x = tg.as_tensor(device.asarray(np.array([0.0, 4.0]))).requires_grad_()
    with tg.detect_anomaly():
        with pytest.raises(AnomalyError, match=r"at index \(0,\): g 0.0, out 0.0, result nan"):
            np.sum(np.where(x.data > 0, np.sqrt(x), 0)).backward()
        with pytest.raises(AnomalyError, match="subtract made nan"):
            np.log(x) - np.log(x)


def test_half_precision_and_empty_arrays():
    x = tg.tensor(np.array([6e4], np.float16), requires_grad=True)
    with tg.detect_anomaly(inf=True):
        np.sum(tg.tensor(np.zeros((0, 3)), requires_grad=True) ** 2).backward()
        with pytest.raises(AnomalyError, match=r"float16 \(1,\) 1 inf"):
            x * x


# Growth


@pytest.fixture
def soon(monkeypatch):
    """Let the tape be looked at soon, so that tests are quick."""
    monkeypatch.setattr(_history, "MANY", 100)
    monkeypatch.setattr(tg._faults, "MANY", 100)


def grows(steps, step):
    """Return the warnings of `steps` calls of `step`, by the number of their line."""
    with warnings.catch_warnings(record=True) as found, tg.detect_anomaly():
        warnings.simplefilter("always")
        for _ in range(steps):
            step()
    return {warning.lineno: str(warning.message) for warning in found}


def test_a_running_total_of_losses_is_named(soon):
    w = leaf(1.0, 2.0)
    total = tg.tensor(0.0)
    place = 0

    def step():
        nonlocal total, place
        loss = np.sum(w * w)
        place, total = line(), total + loss
        loss.backward()

    found = grows(300, step)
    assert set(found) == {place}
    assert "whose history a replay has released" in found[place]
    assert "total += loss.item()" in found[place]


def test_a_running_total_that_is_never_replayed_is_named(soon):
    w = leaf(1.0, 2.0)
    total = tg.tensor(0.0)
    place = 0

    def step():
        nonlocal total, place
        loss = np.sum(w * w)
        place, total = line(), total + loss

    found = grows(300, step)
    assert set(found) == {place}
    assert "has summed up" in found[place]


def test_a_list_of_losses_is_named(soon):
    w = leaf(1.0, 2.0)
    losses = []
    place = 0

    def step():
        nonlocal place
        place, _ = line(), losses.append(np.sum(w * w))

    found = grows(300, step)
    assert set(found) == {place}
    assert "tensors that are held with their history" in found[place]


@pytest.mark.parametrize("kind", ["training", "detached", "recurrence", "euler"])
def test_sound_programs_are_not_warned_about(soon, kind):
    w = leaf(1.0, 2.0)
    state = tg.tensor([0.0, 0.0])

    def step():
        nonlocal state
        if kind == "recurrence":
            state = np.tanh(state * w)
        elif kind == "euler":
            state = state + 0.01 * np.sin(state * w)
        else:
            loss = np.sum(w * w)
            if kind == "training":
                loss.backward()
            state = state + loss.detach()

    assert grows(400, step) == {}


def test_notes_are_dropped_with_the_records(monkeypatch):
    monkeypatch.setattr(_history.NOTES, "_limit", 500)
    monkeypatch.setattr(type(_history.NOTES), "_FEW", 500)
    w = leaf(1.0, 2.0)
    with tg.detect_anomaly():
        held = np.exp(w)
        for _ in range(3000):
            np.exp(w)
    assert len(_history.NOTES.sources) <= 501
    assert held._record.position in _history.NOTES.sources
