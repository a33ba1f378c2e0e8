import copy
import io
import pickle

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import DtypeError, ShapeError


def leaf(*shape, dtype=float):
    return tg.tensor(np.ones(shape), dtype=dtype, requires_grad=True)


class Everything(nn.Module):
    """Something of each kind of attribute, in each kind of container."""

    def __init__(self):
        self.weight = leaf(2, 3)
        self.mean = tg.tensor(np.zeros(3))
        self._cache = tg.tensor(np.zeros(4))
        self.layers = [nn.Linear(3, 4, rng=0), nn.Tanh()]
        self.table = {"a": leaf(5), "b": (leaf(6), nn.Linear(1, 1, bias=False, rng=0))}
        self.tied = self.weight
        self.count = 3
        self.array = np.ones(7)
        self.result = self.weight * 2
        self.indices = tg.tensor([1, 2])

    def forward(self, x, scale=1.0):
        return scale * (x @ self.weight)


# What it finds


def test_parameters_are_tracked_leaves_by_dotted_name_once():
    module = Everything()
    names = [name for name, _ in module.named_parameters()]
    assert names == ["weight", "layers.0.weight", "layers.0.bias", "table.a", "table.b.0", "table.b.1.weight"]
    assert [p.shape for p in module.parameters()] == [(2, 3), (3, 4), (4,), (5,), (6,), (1, 1)]
    assert module.count_parameters() == 6 + 12 + 4 + 5 + 6 + 1


def test_buffers_are_untracked_tensors():
    module = Everything()
    assert [name for name, _ in module.named_buffers()] == ["mean", "_cache", "indices"]
    assert next(iter(module.buffers())) is module.mean
    module.weight.requires_grad = False
    assert [name for name, _ in module.named_buffers()] == ["weight", "mean", "_cache", "indices"]


def test_modules_and_children():
    module = Everything()
    assert [name for name, _ in module.named_modules()] == ["", "layers.0", "layers.1", "table.b.1"]
    assert [name for name, _ in module.named_children()] == ["layers.0", "layers.1", "table.b.1"]
    assert next(iter(module.modules())) is module
    outer = nn.Sequential(nn.Sequential(nn.Tanh()))
    assert [name for name, _ in outer.named_modules()] == ["", "0", "0.0"]
    assert [name for name, _ in outer.named_children()] == ["0"]
    assert list(outer.children()) == [outer[0]]


def test_a_reference_back_to_the_parent_ends():
    parent = nn.Sequential(nn.Tanh())
    parent[0].parent = parent
    parent[0].itself = [parent[0]]
    parent[0].weight = leaf(2)
    loop = []
    loop.append(loop)
    parent.loop = loop
    assert [name for name, _ in parent.named_parameters()] == ["0.weight"]
    assert [name for name, _ in parent.named_modules()] == ["", "0"]


def test_attributes_that_appear_later_are_found():
    module = nn.Module()
    assert list(module.parameters()) == []
    module.weight = leaf(2)
    assert list(module.parameters()) == [module.weight]
    del module.weight
    assert list(module.parameters()) == []


def test_a_call_is_forward():
    module = Everything()
    np.testing.assert_array_equal(module(np.ones((1, 2)), scale=3.0).data, np.full((1, 3), 6.0))
    with pytest.raises(AttributeError, match="forward"):
        nn.Module()(1)


# What it does to all


def test_train_and_eval_reach_every_module():
    module = Everything()
    assert module.training
    assert module.eval() is module
    assert not any(m.training for m in module.modules())
    assert module.train() is module
    assert all(m.training for m in module.modules())


def test_zero_grad_sets_gradients_to_none():
    module = nn.Linear(2, 2)
    np.sum(module(np.ones((1, 2)))).backward()
    assert module.bias.grad is not None
    module.zero_grad()
    assert module.weight.grad is None
    assert module.bias.grad is None


def test_to_converts_in_place_and_keeps_the_optimizer_working():
    module = Everything()
    weight = module.weight
    weight.grad = np.ones((2, 3))
    optimizer = optim.SGD(module.parameters(), lr=0.5)
    assert module.to(dtype=np.float32) is module
    assert module.weight is weight is module.tied
    assert {p.dtype for p in module.parameters()} == {np.dtype(np.float32)}
    assert module.mean.dtype == module._cache.dtype == np.float32
    assert module.indices.dtype == np.int64
    assert weight.grad.dtype == np.float32
    optimizer.step()
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight.data, np.full((2, 3), 0.5))


def test_a_loss_from_before_a_conversion_still_reaches_its_parameters():
    module = nn.Linear(2, 1, rng=0)
    loss = np.sum(module(np.ones((3, 2))))
    module.to("cpu", np.float32)
    loss.backward()
    assert module.weight.grad.dtype == np.float32
    np.testing.assert_array_equal(module.weight.grad.data, [[3], [3]])


def test_complex_parameters_stay_complex():
    module = nn.Module()
    module.real, module.complex, module.number = leaf(2), leaf(2, dtype=complex), leaf()
    module.to(np.float32)
    assert (module.real.dtype, module.complex.dtype) == (np.float32, np.complex128)
    assert isinstance(module.number._array, np.float32)
    module.to(np.complex64)
    assert (module.real.dtype, module.complex.dtype) == (np.complex64, np.complex64)


@pytest.mark.parametrize("dtype", [int, bool, "int8"])
def test_parameters_do_not_become_integers(dtype):
    module = nn.Linear(2, 2)
    with pytest.raises(DtypeError, match="expected floating point"):
        module.to(dtype)
    assert module.weight.dtype == np.float64


def test_an_unknown_device_is_an_error_and_nothing_moves():
    module = nn.Linear(2, 2)
    with pytest.raises(tg.errors.DeviceError, match="cuda"):
        module.to(device="tpu")
    assert module.weight.device == "cpu"


# Saving and loading


def test_a_state_dict_is_a_copy_without_private_buffers():
    module = Everything()
    state = module.state_dict()
    names = "weight mean layers.0.weight layers.0.bias table.a table.b.0 table.b.1.weight indices"
    assert list(state) == names.split()
    assert all(type(value) is np.ndarray for value in state.values())
    module.weight.data[...] = 5
    np.testing.assert_array_equal(state["weight"], np.ones((2, 3)))


def test_a_state_goes_through_a_file():
    module, other = nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1)
    file = io.BytesIO()
    np.savez(file, **module.state_dict())
    file.seek(0)
    with np.load(file) as state:
        assert other.load_state_dict(state) == ([], [])
    np.testing.assert_array_equal(other.weight.data, module.weight.data)
    assert other.weight.requires_grad


def test_loading_keeps_tensors_dtypes_and_the_given_arrays():
    module = nn.Linear(3, 2, dtype=np.float32)
    weight = module.weight
    state = {"weight": np.ones((3, 2)), "bias": [1, 2]}
    module.load_state_dict(state)
    assert module.weight is weight
    assert weight.dtype == np.float32
    weight.data[...] = 7
    np.testing.assert_array_equal(state["weight"], np.ones((3, 2)))
    np.testing.assert_array_equal(module.bias.data, [1, 2])
    module.load_state_dict({"weight": tg.tensor(np.zeros((3, 2))), "bias": module.bias})
    np.testing.assert_array_equal(weight.data, np.zeros((3, 2)))


def test_a_retained_residual_keeps_its_values_when_a_state_is_loaded():
    module = nn.Linear(1, 1, bias=False)
    module.load_state_dict({"weight": [[2.0]]})
    x = leaf(1, 1)
    loss = np.sum(module(x))
    module.load_state_dict({"weight": [[5.0]]})
    loss.backward()
    np.testing.assert_array_equal(x.grad.data, [[2]])


def test_a_state_that_does_not_fit_is_refused_whole():
    module = nn.Linear(3, 2, rng=0)
    before = module.state_dict()
    state = {"weight": np.zeros((2, 3)), "scale": np.zeros(2)}
    with pytest.raises(ShapeError) as caught:
        module.load_state_dict(state)
    for words in ("weight has shape (2, 3) in the state, expected (3, 2)", "bias is missing", "scale is in the state"):
        assert words in str(caught.value)
    with pytest.raises(DtypeError, match="bias has dtype complex128"):
        module.load_state_dict({"weight": np.zeros((3, 2)), "bias": np.zeros(2, complex)})
    with pytest.raises(ShapeError, match="weight has shape"):
        module.load_state_dict(state, strict=False)
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_loading_may_pass_over_names():
    module = nn.Linear(3, 2, rng=0)
    weight = module.weight.data.copy()
    found = module.load_state_dict({"bias": np.zeros(2), "scale": np.zeros(2)}, strict=False)
    assert found.missing == ["weight"]
    assert found.unexpected == ["scale"]
    np.testing.assert_array_equal(module.bias.data, 0)
    np.testing.assert_array_equal(module.weight.data, weight)


def test_frozen_parameters_stay_in_the_state():
    module = nn.Linear(3, 2, rng=0)
    state = module.state_dict()
    module.weight.requires_grad = False
    assert list(module.state_dict()) == list(state)
    module.load_state_dict(state)
    assert not module.weight.requires_grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_share_nothing(copied):
    module = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Dropout(0.5, rng=1), nn.Linear(3, 3, rng=0)).eval()
    module[2].weight = module[0].weight
    other = copied(module)
    assert not other.training
    assert other[2].weight is other[0].weight
    assert [name for name, _ in other.named_parameters()] == ["0.weight", "0.bias", "2.bias"]
    x = np.ones((2, 3))
    np.testing.assert_array_equal(other(x).data, module(x).data)
    other[0].weight.data[...] = 0
    assert np.all(module[0].weight.data != 0)


# How it is shown


def test_repr():
    assert repr(nn.Sequential()) == "Sequential()"
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Sequential(nn.Tanh(), np.exp), nn.Dropout(0.25))
    assert repr(model) == (
        "Sequential(\n"
        "  0: Linear(3, 4, bias=False)\n"
        "  1: Sequential(\n"
        "    0: Tanh()\n"
        "    1: exp\n"
        "  )\n"
        "  2: Dropout(0.25)\n"
        ")"
    )
    shown = repr(Everything())
    assert "\n  weight: (2, 3)\n" in shown
    assert "\n  table.b.1: Linear(1, 1, bias=False)\n" in shown
