"""The report after the fact: values and cotangents behind a result, and nothing changed by asking."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import viz
from tapegrad.errors import HistoryError
from tapegrad.testing import strict as device

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")


def leaf(*values):
    return tg.tensor(list(values), requires_grad=True)


def test_a_sound_result():
    x = leaf(1.0, 2.0)
    report = tg.explain(np.sum(np.exp(x) * x), {"x": x})
    assert report.faults == ()
    text = str(report)
    assert text.startswith("3 of 3 values behind this result are known, and finite\nall cotangents are finite\n")
    assert "the largest cotangent has size 14.7781, made by exp, record #" in text
    assert "x  float64 (2,) from 5.43656 to 22.1672" in text
    assert repr(report) == text


def test_the_operation_that_made_a_nan_is_found_from_what_is_kept():
    x = leaf(0.0, 4.0)
    y = np.log(x)
    report = tg.explain(np.sum(y - y), {"x": x})
    first, second, *_ = report.faults
    assert (first.operation, first.input, first.position) == ("log", None, y._record.position)
    assert first.text.startswith("log made an infinity of finite inputs")
    assert second.operation == "subtract"
    assert second.text.startswith("subtract made nan of inputs without any")
    assert second.source is None


def test_the_rule_that_made_a_nan_is_found():
    x = leaf(0.0, 4.0)
    with tg.detect_anomaly(nan=False):
        loss = np.sum(np.where(x.data > 0, np.sqrt(x), 0))
    (fault,) = tg.explain(loss).faults
    assert (fault.operation, fault.input, fault.masked) == ("sqrt", "x", True)
    assert fault.source.text == "loss = np.sum(np.where(x.data > 0, np.sqrt(x), 0))"
    assert "masked in forward, alive in backward" in str(fault)


def test_only_the_first_rule_is_named_and_the_rest_still_reported():
    x, y = leaf(0.0, 4.0), leaf(1.0, 1.0)
    report = tg.explain(np.sum(np.sqrt(np.sqrt(x)) + y), {"x": x, "y": y})
    assert [fault.operation for fault in report.faults] == ["sqrt"]
    assert "y  float64 (2,) all 1" in str(report)
    assert "1 inf" in str(report).split("cotangents of the leaves")[1]


def test_a_nan_that_came_in():
    x, w = leaf(1.0, np.nan), leaf(1.0, 2.0)
    (fault, *_) = tg.explain(np.sum(x * w), {"x": x}).faults
    assert fault.text.startswith("nan came in: x, its x, of multiply")
    (fault, *_) = tg.explain(np.sum(w * np.array([1.0, np.nan]))).faults
    assert fault.text.startswith("nan came in: the constant y of multiply")


def test_values_that_nobody_kept_are_taken_from_names():
    x = leaf(1.0, np.nan)
    loss = np.sum(x * 2)
    assert "not all inputs are known" in str(tg.explain(loss))
    assert "nan came in: weight" in str(tg.explain(loss, {"weight": x}))


def test_nothing_is_changed():
    x = leaf(0.0, 4.0)
    x.grad = [1.0, 2.0]
    loss = np.sum(np.sqrt(x))
    first = str(tg.explain(loss))
    assert str(tg.explain(loss)) == first
    assert x.grad.tolist() == [1, 2]
    loss.backward()
    assert x.grad.tolist() == [np.inf, 2.25]


def test_under_other_watchers():
    x = leaf(0.0, 4.0)
    with tg.detect_anomaly():
        loss = np.sum(np.where(x.data > 0, np.sqrt(x), 0))
        assert len(tg.explain(loss).faults) == 1
        with tg.strong_zero():
            assert tg.explain(loss).faults == ()


def test_inside_a_transform():
    reports = []

    def f(x):
        loss = np.sum(np.sqrt(x))
        reports.append(tg.explain(loss))
        return loss

    tg.grad(f)(np.array([0.0, 1.0]))
    tg.jvp(tg.grad(f), (np.array([1.0, 4.0]),), (np.ones(2),))
    assert [fault.operation for fault in reports[0].faults] == ["sqrt"]
    assert "input 1" in str(reports[0])
    assert reports[1].faults == ()


def test_any_shape_any_op():
    a = tg.tensor(np.array([[2.0, 1], [1, 3]]), requires_grad=True)
    w, v = np.linalg.eigh(a)
    report = tg.explain(np.concatenate([w, v[0], np.einsum("ij,jk->k", a, v)]))
    assert report.faults == ()
    assert "leaf 1  float64 (2, 2)" in str(report)
    assert "none arrives" not in str(report)
    z = tg.tensor([1 + 1j], requires_grad=True)
    assert tg.explain(z * z).faults == ()
    assert "leaf 1" in str(tg.explain(a))


def test_on_a_device():
    x = tg.as_tensor(device.asarray(np.array([0.0, 4.0]))).requires_grad_()
    (fault,) = tg.explain(np.sum(np.sqrt(x))).faults
    assert fault.operation == "sqrt"


def test_without_history_it_is_an_error():
    x = leaf(1.0)
    with pytest.raises(HistoryError, match="requires_grad"):
        tg.explain(tg.tensor(1.0))
    loss = np.sum(np.exp(x))
    loss.backward()
    with pytest.raises(HistoryError, match="retain_graph"):
        tg.explain(loss)


@pytest.mark.parametrize("value", [3.0, np.ones(3), tg.tensor([1.0])], ids=["float", "ndarray", "a tensor"])
def test_what_has_no_history_is_named(value, request):
    named = request.node.callspec.id
    for look in (tg.explain, viz.program):
        with pytest.raises(HistoryError, match=f"got {named} without history"):
            look(value)
