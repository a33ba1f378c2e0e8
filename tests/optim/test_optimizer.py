import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import LeafError, ShapeError
from tapegrad.optim import _optimizer
from tapegrad.testing import strict

MAKERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.1),
}
every_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def leaf(values, dtype=float):
    return tg.tensor(values, dtype=dtype, requires_grad=True)


def address(t):
    return t.data.__array_interface__["data"][0]


# Writing only where that is safe


@every_optimizer
def test_a_retained_residual_keeps_its_values(make):
    w = leaf([1.0, -2.0, 3.0])
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    make([w]).step()
    assert not np.array_equal(w.data, [1, -2, 3])
    w.grad = None
    loss.backward()
    np.testing.assert_array_equal(w.grad.data, [2, -4, 6])


@every_optimizer
def test_a_residual_that_is_a_view_of_the_parameter_keeps_its_values(make):
    w = leaf([[1.0, 2.0], [3.0, 4.0]])
    x = leaf([[1.0, 1.0]])
    loss = (x @ np.transpose(w)).sum()
    loss.backward(retain_graph=True)
    make([w]).step()
    x.grad = None
    loss.backward()
    np.testing.assert_array_equal(x.grad.data, [[4, 6]])


@every_optimizer
def test_other_tensors_and_the_caller_keep_their_values(make):
    given_array = np.array([1.0, 2.0])
    shared = tg.as_tensor(given_array).requires_grad_()
    w = leaf([1.0, 2.0])
    snapshot, data = w.detach(), w.data
    shared.grad, w.grad = np.ones(2), np.ones(2)
    make([shared, w]).step()
    for kept in (given_array, snapshot.data, data):
        np.testing.assert_array_equal(kept, [1, 2])
    assert not np.array_equal(w.data, [1, 2])
    np.testing.assert_array_equal(w.data, shared.data)


@every_optimizer
def test_memory_is_reused_where_nobody_else_holds_it(make):
    w = leaf(np.ones((4, 3)))
    optimizer = make([w])
    addresses = set()
    for _ in range(4):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
        addresses.add(address(w))
    assert len(addresses) == 1


@every_optimizer
def test_a_read_only_array_is_not_written_to(make):
    values = np.array([1.0, 2.0])
    values.flags.writeable = False
    w = tg.as_tensor(values).requires_grad_()
    w.grad = np.ones(2)
    make([w]).step()
    np.testing.assert_array_equal(values, [1, 2])
    assert not np.array_equal(w.data, values)


@every_optimizer
def test_steps_are_not_recorded_and_leave_the_gradient_alone(make):
    w = leaf([1.0, 2.0])
    w.grad = np.array([1.0, -1.0])
    make([w]).step()
    assert w.is_leaf
    assert w.requires_grad
    np.testing.assert_array_equal(w.grad.data, [1, -1])


# Shapes, dtypes, layouts


@every_optimizer
@given(
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
    dtype=st.sampled_from([np.float16, np.float32, np.float64, np.complex64, np.complex128]),
    fortran=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_pieces_make_no_difference_and_dtypes_stay(make, shape, dtype, fortran, seed):
    rng = np.random.default_rng(seed)

    def drawn():
        values = rng.uniform(-1, 1, shape) + (1j * rng.uniform(-1, 1, shape) if np.dtype(dtype).kind == "c" else 0)
        return np.asarray(values, dtype, order="F" if fortran else "C")

    start, grads = drawn(), [drawn() for _ in range(3)]
    ends = []
    for block in (1 << 14, 5):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_optimizer, "BLOCK", block)
            w = leaf(start, dtype)
            optimizer = make([w])
            for grad in grads:
                w.grad = grad
                optimizer.step()
        assert w.dtype == dtype
        assert w.shape == shape
        ends.append(w.data)
    np.testing.assert_array_equal(*ends)
    assert np.all(np.isfinite(ends[0]))
    if start.size:
        assert not np.array_equal(ends[0], start)


@every_optimizer
def test_options_that_are_numpy_numbers_do_not_widen(make):
    w = leaf([1.0, 2.0], np.float32)
    optimizer = make([w])
    optimizer.param_groups[0]["lr"] = np.float64(0.5)
    w.grad = np.ones(2, np.float32)
    optimizer.step()
    optimizer.step()
    assert w.dtype == np.float32
    assert all(value.dtype == np.float32 for value in optimizer.state.get(w, {}).values() if hasattr(value, "dtype"))


def test_numbers_stay_numpy_scalars_because_those_compute_faster():
    w = leaf(2.0)
    w.grad = 1.0
    for make in MAKERS.values():
        make([w]).step()
        assert isinstance(w._array, np.float64)


def test_averages_of_half_precision_parameters_are_single_precision():
    w = leaf([1.0, 2.0], np.float16)
    optimizer = optim.Adam([w], lr=0.5)
    w.grad = np.full(2, 1e-4, np.float16)
    optimizer.step()
    # The square of the gradient is below the smallest half-precision number.
    assert optimizer.state[w]["v"].dtype == np.float32
    np.testing.assert_allclose(w.data, [0.5, 1.5], rtol=1e-3)


@every_optimizer
@given(
    shape=hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4),
    dtype=st.sampled_from([np.float16, np.float32, np.float64, np.complex128]),
)
def test_steps_on_a_device_equal_those_on_the_host(make, shape, dtype):
    values = np.asarray(np.random.default_rng(0).uniform(-1, 1, shape)).astype(dtype)
    ends = []
    for asarray in (np.asarray, strict.asarray):
        w = tg.tensor(asarray(values), requires_grad=True)
        optimizer = make([w])
        for _ in range(3):
            w.grad = asarray(values)
            optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        assert type(w.data) is type(asarray(values))
        ends.append(w.detach().numpy())
    np.testing.assert_array_equal(*ends)


# Which parameters


@every_optimizer
def test_parameters_without_gradient_stay_and_their_state_too(make):
    v, w = leaf([1.0]), leaf([1.0])
    optimizer = make([v, w])
    w.grad = [1.0]
    optimizer.step()
    assert v.data[0] == 1
    assert w.data[0] != 1
    assert v not in optimizer.state
    w.requires_grad = False
    frozen = w.data.copy()
    optimizer.step()
    optimizer.zero_grad()
    np.testing.assert_array_equal(w.data, frozen)


def test_zero_grad_sets_gradients_to_none():
    w = leaf([1.0])
    w.grad = [1.0]
    optim.SGD([w]).zero_grad()
    assert w.grad is None


def test_groups_have_options_of_their_own():
    v, w = leaf([1.0]), leaf([1.0])
    optimizer = optim.SGD([{"params": v}, {"params": [w], "lr": 0.5}], lr=0.25)
    v.grad, w.grad = [1.0], [1.0]
    optimizer.step()
    assert (v.item(), w.item()) == (0.75, 0.5)
    u = leaf([1.0])
    optimizer.add_param_group({"params": [u], "lr": 1.0})
    assert repr(optimizer).count("1 parameter,") == 3


def test_options_may_change_between_steps():
    w = leaf([1.0])
    optimizer = optim.SGD([w], lr=1.0)
    w.grad = [1.0]
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.5
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    assert w.item() == -0.5
    optimizer.step()
    assert w.item() == -1.25


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ([], ValueError, "no parameters"),
        ([{"params": []}], ValueError, "no parameters"),
        (leaf([1.0]), TypeError, "in a list"),
        (3, TypeError, "got a int"),
        ([np.ones(2)], TypeError, "got a ndarray as parameter 0"),
        ([("w", np.ones(2))], TypeError, "parameter w"),
        ([tg.tensor([1.0])], LeafError, "requires_grad=False"),
        ([leaf([1.0]) * 2], LeafError, "result of an operation"),
        ([{"params": [leaf([1.0])], "rate": 1}], ValueError, "'rate', expected 'params' and any of 'lr'"),
        ([{"lr": 1.0}], ValueError, "expected 'params'"),
        ([{"params": [leaf([1.0])], "lr": -1.0}], ValueError, "lr=-1.0"),
    ],
)
def test_wrong_parameters_are_refused(kind, parameters, error, words):
    with pytest.raises(error, match=words):
        kind(parameters)


def test_a_parameter_that_comes_twice_is_refused():
    w = leaf([1.0])
    with pytest.raises(ValueError, match="parameter 1 twice"):
        optim.SGD([w, w])
    with pytest.raises(ValueError, match="twice"):
        optim.SGD([{"params": [w]}, {"params": [w]}])


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, "fast", None, 1j])
@pytest.mark.parametrize(
    ("kind", "option"),
    [(optim.SGD, "lr"), (optim.SGD, "momentum"), (optim.SGD, "weight_decay"), (optim.Adam, "lr"), (optim.AdamW, "eps")],
)
def test_wrong_options_are_refused(kind, option, value):
    with pytest.raises(ValueError, match=f"got {option}=.*expected a number of at least 0"):
        kind([leaf([1.0])], **{option: value})


@pytest.mark.parametrize("betas", [(0.9, 1.0), (-0.1, 0.9), 0.9, (0.9,), (0.9, 0.99, 0.999)])
def test_wrong_betas_are_refused(betas):
    with pytest.raises(ValueError, match="betas"):
        optim.Adam([leaf([1.0])], betas=betas)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_momentum_without_dampening(options):
    with pytest.raises(ValueError, match="nesterov"):
        optim.SGD([leaf([1.0])], nesterov=True, **options)


def test_a_subclass_without_update_says_so():
    w = leaf([1.0])
    w.grad = [1.0]
    with pytest.raises(TypeError, match="no update"):
        optim.Optimizer([w]).step()


# Saving and loading


def trained(make, model, steps, optimizer=None):
    optimizer = optimizer or make(model.named_parameters())
    for step in range(steps):
        optimizer.zero_grad()
        np.sum(model(np.full((2, 3), step + 1.0)) ** 2).backward()
        optimizer.step()
    return optimizer


@every_optimizer
def test_a_restored_optimizer_continues_as_if_never_stopped(make):
    model = nn.Linear(3, 2, rng=0)
    optimizer = trained(make, model, 2)
    other = nn.Linear(3, 2)
    other.load_state_dict(model.state_dict())
    saved = optimizer.state_dict()
    restored = make(other.named_parameters())
    restored.param_groups[0]["lr"] = 7.0
    restored.load_state_dict(saved)
    trained(make, model, 2, optimizer)
    trained(make, other, 2, restored)
    np.testing.assert_array_equal(other.weight.data, model.weight.data)
    np.testing.assert_array_equal(other.bias.data, model.bias.data)
    # The saved state is a copy that later steps have not changed.
    again = nn.Linear(3, 2)
    late = make(again.named_parameters())
    late.load_state_dict(saved)
    assert late.state_dict()["param_groups"] == saved["param_groups"]


def test_a_state_dict_names_parameters():
    model = nn.Linear(3, 2, rng=0)
    saved = trained(MAKERS["adam"], model, 1).state_dict()
    assert list(saved["state"]) == ["weight", "bias"]
    assert saved["param_groups"][0]["params"] == ["weight", "bias"]
    assert saved["state"]["bias"]["step"] == 1
    unnamed = optim.Adam(model.parameters()).state_dict()
    assert unnamed["param_groups"][0]["params"] == ["0", "1"]


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda s: s["param_groups"][0]["params"].pop(), ValueError, "expected.*'bias'"),
        (lambda s: s["param_groups"][0].pop("eps"), ValueError, "got a group with.*'eps'"),
        (lambda s: s["param_groups"][0].update(lr=-1.0), ValueError, "lr"),
        (lambda s: s["state"]["bias"].update(m=np.zeros(5)), ShapeError, r"m of shape \(5,\).*bias.*\(2,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(spoil, error, words):
    model = nn.Linear(3, 2, rng=0)
    optimizer = trained(MAKERS["adam"], model, 1)
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    saved["param_groups"][0]["eps"] = 0.5
    saved["state"]["weight"]["step"] = 9
    spoil(saved)
    with pytest.raises(error, match=words):
        optimizer.load_state_dict(saved)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert after["state"]["weight"]["step"] == 1


def test_a_loaded_state_takes_the_dtype_of_the_parameters():
    model = nn.Linear(3, 2, rng=0)
    saved = trained(MAKERS["adam"], model, 1).state_dict()
    narrow = nn.Linear(3, 2, dtype=np.float32)
    optimizer = optim.Adam(narrow.named_parameters())
    optimizer.load_state_dict(saved)
    assert optimizer.state[narrow.weight]["m"].dtype == np.float32
