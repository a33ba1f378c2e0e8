"""Programs on a device: on the stand-in for CuPy everywhere, and on CuPy itself wherever there is a CUDA device."""

import contextlib
import itertools
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tapegrad as tg
import tapegrad.__main__ as job
from tapegrad import _array, nn, optim
from tapegrad.data import batches
from tapegrad.errors import DeviceError, LostGradientError, MissingPackageError, OutOfMemoryError, UnsupportedError
from tapegrad.examples import layer_backprop, node_graph, seed_network
from tapegrad.testing import _standin, _sweep, check_gradients, counting, cuda_standin, strict

# The tests that run without a device run on the stand-in, which is no CuPy in one respect: it can be counted.


def cuda():
    """Return cupy, or skip the test with the reason why it cannot be used."""
    cupy = pytest.importorskip("cupy", reason="cupy is not installed", exc_type=ImportError)
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        pytest.skip(f"no CUDA device: {error}")
    return cupy


@pytest.fixture(params=["stand-in", pytest.param("cuda", marks=pytest.mark.gpu)])
def xp(request):
    """The namespace of the device's arrays; the device "cuda" is its."""
    if request.param == "cuda":
        yield cuda()
    else:
        with cuda_standin() as module:
            yield module


@contextlib.contextmanager
def pipelined(xp):
    """A context in which nothing may wait for the device; on the stand-in, nothing may be uploaded unasked either."""
    if xp is strict:
        with counting() as counts:
            yield
        assert (counts.synchronizations, counts.uploads) == (0, 0)
    else:
        import cupyx

        with contextlib.ExitStack() as stack:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it says that it may miss waits outside CuPy
                stack.enter_context(cupyx.allow_synchronize(False))
            yield


def leaf(xp, values, dtype=np.float64):
    return tg.tensor(xp.asarray(np.asarray(values, dtype)), requires_grad=True)


def host(tensor):
    return _array.to_host(tensor.data if isinstance(tensor, tg.Tensor) else tensor)


def agree(there, here):
    """Check that results on the device are those on the host, in containers too."""
    if isinstance(here, (tuple, list)):
        assert len(there) == len(here)
        for one, other in zip(there, here, strict=True):
            agree(one, other)
        return
    assert (there.device, here.device) == ("cuda:0", "cpu")
    assert (there.dtype, there.shape) == (here.dtype, here.shape)
    narrow = here.dtype.itemsize < 8
    # Sums in another order: what cancels keeps the rounding of the largest.
    scale = np.max(np.abs(host(here)), initial=0, where=np.isfinite(host(here)))
    np.testing.assert_allclose(
        host(there), host(here), rtol=1e-5 if narrow else 1e-10, atol=2e-7 * scale if narrow else 1e-12
    )


# Where tensors live


def test_device_by_name(xp):
    for t in (
        tg.tensor([1.0, 2.0], device="cuda", requires_grad=True),
        tg.ones(2, device="cuda:0"),
        tg.as_tensor(np.ones(2), device="cuda"),
        tg.tensor(np.ones(2)).to("cuda"),
        tg.tensor([1.0, 2.0]).to(tg.zeros(2, device="cuda")),
        tg.zeros_like(np.zeros(2), device="cuda"),
        tg.random.default_rng(0, "cuda").normal(size=2),
    ):
        assert t.device == "cuda:0"
        assert isinstance(t.data, xp.ndarray)
        assert t.to("cuda").data is t.data
        back = t.cpu()
        assert type(back.data) is np.ndarray
        assert back.tolist() == t.tolist()


def test_moving_is_differentiated(xp):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.tensor([3.0, 4.0], device="cuda", requires_grad=True)
    np.sum((x.to("cuda") * y).cpu() * x).backward()
    assert (x.grad.device, y.grad.device) == ("cpu", "cuda:0")
    assert x.grad.tolist() == [6.0, 16.0]
    assert y.grad.tolist() == [1.0, 4.0]


def test_printing_copying_and_pickling_keep_the_device(xp):
    x = leaf(xp, [1.0, 2.0])
    assert repr(x) == "tensor([1., 2.], device='cuda:0', requires_grad=True)"
    again = pickle.loads(pickle.dumps(x))
    assert (again.device, again.tolist(), again.requires_grad) == ("cuda:0", [1.0, 2.0], True)


def test_gradients_live_where_their_leaves_live(xp):
    x = leaf(xp, [1.0, 2.0, 3.0], np.float32)
    assert x.device == "cuda:0"
    np.sum(np.exp(x) * x).backward()
    assert type(x.grad.data) is type(x.data)
    assert x.grad.dtype == np.float32
    assert np.allclose(host(x.grad), (1 + np.arange(1.0, 4)) * np.exp(np.arange(1.0, 4)))


def test_arrays_of_the_device_and_numbers_meet_tensors_on_either_side(xp):
    x, a = leaf(xp, [1.0, 2.0]), xp.asarray(np.array([3.0, 4.0]))
    for y in (a * x, x * a, 2.0 * x + a, a @ x, np.multiply(a, x), x ** np.float64(2), 1 - x, np.maximum(x, 0)):
        assert isinstance(y, tg.Tensor)
        assert y.requires_grad
        assert y.device == "cuda:0"


def test_another_device_than_the_first():
    with cuda_standin():
        x = tg.tensor([1.0, 2.0], device="cuda:1", requires_grad=True)
        with pytest.raises(DeviceError, match=r"multiply got arrays on cuda:1, .*tapegrad.device\('cuda:1'\)"):
            x * 2.0
        with tg.device("cuda:1"):
            np.sum(np.exp(x) * 2.0).backward()
            assert tg.ones(2, device="cuda").device == "cuda:1"
            assert tg.random.default_rng(0, "cuda").normal().device == "cuda:1"
        assert x.grad.device == "cuda:1"
        assert x.to("cuda:0").device == "cuda:0"
        gapped = tg.tensor(np.arange(6.0).reshape(2, 3), device="cuda:0")[:, ::2]
        assert gapped.to("cuda:1").tolist() == [[0.0, 2.0], [3.0, 5.0]]
        assert x.cpu().tolist() == [1.0, 2.0]
        with pytest.raises(DeviceError, match=r"(?s)'cuda:0', 'cuda:1'.*move one of them"):
            x.to("cuda:0") * x
    with tg.device("cpu"):
        assert tg.ones(1).device == "cpu"


# Operands on different devices: both are named, and the call that mends it


def _pairs(d, h):
    """Return calls of functions of every kind on a tensor of the device and one of the host."""
    x, y = np.arange(1.0, 7.0).reshape(2, 3), np.arange(3)
    return {
        "operator": lambda: d(x) * h(x),
        "reflected": lambda: x * d(x),
        "in place": lambda: (d(x) * 1).__iadd__(h(x)),
        "comparison": lambda: d(x) < h(x),
        "matmul": lambda: d(x) @ h(x).T,
        "stack": lambda: tg.stack([d(x), h(x)]),
        "concatenate": lambda: np.concatenate([d(x), h(x)]),
        "tensor of tensors": lambda: tg.tensor([d(1.0), h(x[0, 0])]),
        "where": lambda: np.where(x > 1, d(x), 0.0),
        "select": lambda: np.select([d(x).detach() > 1], [d(x)], h(x)),
        "choose": lambda: np.choose([0, 1, 1], [d(y), h(y)]),
        "clip": lambda: np.clip(d(x), h(x), None),
        "einsum": lambda: np.einsum("ij,ij", d(x), h(x)),
        "solve": lambda: np.linalg.solve(d(np.eye(3)), h(x[0])),
        "polyval": lambda: np.polyval(d(x[0]), h(x)),
        "polyfit": lambda: np.polyfit(d(x[0]), h(x[1]), 1),
        "polyint": lambda: np.polyint(d(x[0]), k=h([1.0])),
        "interp": lambda: np.interp(d(x[0]), x[1], h(x[1])),
        "histogram": lambda: np.histogram(d(x[0]), weights=h(x[0])),
        "method": lambda: d(x[0]).dot(h(x[0])),
        "number as vector": lambda: np.dot(d(x[0]), h(2.0)),
        "assignment": lambda: (d(x) * 1).__setitem__(0, h(x[0])),
        "assignment to the host": lambda: (h(x) * 1).__setitem__(0, d(x[0])),
        "indexing the host": lambda: h(x)[d(y).detach().astype(int)],
        "out": lambda: np.exp(d(x), out=h(x).detach()),
        "cross_entropy": lambda: tg.cross_entropy(h(x), d(y[:2]).detach().astype(int)),
        "layer_norm": lambda: tg.layer_norm(d(x), h(x[0]), h(x[0])),
        "loss": lambda: nn.MSELoss()(d(x), h(x)),
        "module": lambda: nn.Linear(3, 2)(d(x)),
        "tangent": lambda: tg.jvp(np.sin, (d(x).detach(),), (h(x).detach(),)),
        "linear": lambda: tg.linear(d(x), h(x).T, h(x[0, :2])),
        "attention": lambda: tg.scaled_dot_product_attention(d(x), h(x), d(x)),
    }


@pytest.mark.parametrize("name", _pairs(None, None))
def test_operands_on_different_devices_are_named(name, xp):
    def d(values):
        return leaf(xp, values)

    def h(values):
        return tg.tensor(np.asarray(values, float), requires_grad=True)

    with pytest.raises(DeviceError, match=r"(?s)cpu.*cuda:0"):
        _pairs(d, h)[name]()


@pytest.mark.parametrize("held_back", [0, 1])
def test_every_op_names_the_devices_of_its_operands(held_back):
    """Either the result is there (numbers of NumPy go anywhere), or both devices are named: no op has other words."""
    bare = []
    for op in _sweep.ops():
        if op.name.startswith("scipy."):
            continue  # their functions are called by themselves, not through NumPy
        for entry in (_sweep.Entry(op, c) for c in _sweep.cases_of(op)):
            sample = entry.sample()
            if len(sample.arrays) <= held_back + 1 or not all(a.ndim for a in sample.arrays):
                continue
            given = [tg.tensor(a if i == held_back else strict.asarray(a)) for i, a in enumerate(sample.arrays)]
            try:
                _call(entry, given)
            except DeviceError as error:
                if "cpu" not in str(error) or "cuda:0" not in str(error):
                    bare.append(f"{entry}: {error}")
            except (TypeError, ValueError, AttributeError) as error:
                bare.append(f"{entry}: {type(error).__name__}: {error}")
            break
    assert bare == []


def _call(entry, given):
    """Call an op as users do, NumPy's functions by NumPy's names."""
    supply = iter(given)

    def fill(value):
        return [fill(each) for each in value] if isinstance(value, list) else None if value is None else next(supply)

    example, function = entry.case, entry.op.function
    public = (getattr(function, "__module__", None) or "numpy").startswith("numpy")
    function = function if public else entry.op.public
    return function(*example.before, *map(fill, entry.sample().inputs), *example.args, **example.settings)


def test_functions_that_cupy_lacks_are_named(xp):
    special = pytest.importorskip("scipy.special")
    x = leaf(xp, [1.0, 2.0])
    # For whole orders it is composed of what CuPy has; no other may be taken for the nearest of these.
    np.testing.assert_allclose(host(special.jv(2, x)), special.jv(2, np.array([1.0, 2.0])), rtol=1e-12)
    for call, name in ((lambda: special.jv(0.5, x), "jv"), (lambda: special.wofz(x), "wofz")):
        with pytest.raises(UnsupportedError, match=rf"{name} does not run on cuda:0: .* with t.cpu\(\)"):
            call()
    y = special.jv(0.5, x.cpu()).to("cuda")
    np.sum(y).backward()
    assert x.grad.device == "cuda:0"


def test_a_refused_operation_leaves_no_record(xp):
    x = leaf(xp, [1.0, 2.0])
    for other in (np.ones(2), tg.ones(2)):
        with pytest.raises(DeviceError, match=r"move one of them, for instance with t.to\('cuda:0'\)"):
            x * other
    np.sum(x).backward()
    assert host(x.grad).tolist() == [1.0, 1.0]


# Networks, optimizers, transforms: what they give on the host


def network(to):
    """Return loss and gradients of a small network whose arrays `to` makes."""
    rng = np.random.default_rng(0)
    x, labels = to(rng.normal(size=(8, 5))), to(rng.integers(0, 3, 8))
    w1, b1, w2 = (tg.tensor(to(rng.normal(size=s)), requires_grad=True) for s in ((5, 7), (7,), (7, 3)))
    hidden = np.tanh(x @ w1 + b1)
    loss = tg.cross_entropy(tg.relu(hidden @ w2)[:, ::-1], labels) + np.mean(hidden[[0, 0, 2]] ** 2)
    loss.backward()
    return loss, [w1.grad, b1.grad, w2.grad]


def test_a_network_is_differentiated_as_on_the_host(xp):
    agree(network(xp.asarray), network(np.asarray))


X = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1])
MODULES = {
    "Linear": lambda: nn.Linear(3, 2, rng=0, dtype=np.float32),
    "Linear without bias": lambda: nn.Linear(3, 2, bias=False, rng=0, dtype=np.float32),
    "Sequential": lambda: nn.Sequential(nn.Linear(3, 4, rng=0, dtype=np.float32), nn.Tanh(), np.sin),
    "Flatten": nn.Flatten,
    "Identity": nn.Identity,
    "Dropout in use": lambda: nn.Dropout().eval(),
} | {
    name: getattr(nn, name) for name in ("GELU", "LogSoftmax", "ReLU", "Sigmoid", "SiLU", "Softmax", "Softplus", "Tanh")
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name, xp):
    def run(device):
        module = MODULES[name]().to(device)
        x = tg.tensor(X, device=device, requires_grad=True)
        with pipelined(xp) if device == "cuda" else contextlib.nullcontext():
            y = module(x)
            np.sum(y * y).backward()
        return [y, x.grad, *(p.grad for p in module.parameters())]

    agree(run("cuda"), run("cpu"))


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal, xp):
    def run(device):
        q, k, v = (tg.tensor(np.stack([X, a * X]), device=device, requires_grad=True) for a in (1, 2, 3))
        with pipelined(xp) if device == "cuda" else contextlib.nullcontext():
            y = tg.scaled_dot_product_attention(q, k, v, is_causal=causal)
            np.sum(y * y).backward()
        return [y, q.grad, k.grad, v.grad]

    agree(run("cuda"), run("cpu"))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "BCEWithLogitsLoss", "CrossEntropyLoss"])
def test_losses(name, reduction, xp):
    def run(device):
        x = tg.tensor(X, device=device, requires_grad=True)
        target = tg.tensor(LABELS if name == "CrossEntropyLoss" else X[::-1] > 0, device=device)
        target = target if name == "CrossEntropyLoss" else target.astype(np.float32)
        with pipelined(xp) if device == "cuda" else contextlib.nullcontext():
            loss = getattr(nn, name)(reduction)(x, target)
            np.sum(loss).backward()
        return [loss, x.grad]

    agree(run("cuda"), run("cpu"))


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, dtype, xp):
    def run(device):
        parameters = [tg.tensor(a.astype(dtype), device=device, requires_grad=True) for a in (X, X[0], X[0, 0])]
        optimizer = OPTIMIZERS[name](parameters)
        for _ in range(3):
            optimizer.zero_grad()
            sum(np.sum(np.abs(p) ** 2) for p in parameters).backward()
            with pipelined(xp) if device == "cuda" else contextlib.nullcontext():
                optimizer.step()
        return [p.detach() for p in parameters]

    there, here = run("cuda"), run("cpu")
    for a, b in zip(there, here, strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_allclose(host(a), host(b), rtol=2e-3 if dtype is np.float16 else 1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_optimizers_follows_their_parameters(name, xp):
    def run(moves):
        model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(2, 1, rng=1))
        model[0].gain = tg.tensor(2.0, requires_grad=True)
        optimizer = OPTIMIZERS[name](model.parameters())
        for device in moves:
            model.to(device)
            optimizer.zero_grad()
            x = tg.tensor(X.astype(float), device=device)
            np.sum((model(x) * model[0].gain) ** 2).backward()
            optimizer.step()
            for p in model.parameters():
                assert p.device.partition(":")[0] == device
        return [p.cpu().detach() for p in model.parameters()]

    for a, b in zip(run(["cpu", "cuda", "cuda", "cpu"]), run(["cpu"] * 4), strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12)


def test_modules_move_with_their_gradients_and_load_from_anywhere(xp):
    model = nn.Linear(3, 2, rng=0)
    np.sum(model(np.ones((1, 3)))).backward()
    expected = model.weight.grad.tolist()
    model.to("cuda", np.float32)
    assert {p.device for p in model.parameters()} == {model.weight.grad.device} == {"cuda:0"}
    assert (model.weight.dtype, model.weight.grad.dtype, model.weight.grad.tolist()) == (
        np.float32,
        np.float32,
        expected,
    )
    np.sum(model(tg.ones((1, 3), np.float32, device="cuda"))).backward()
    assert model.weight.grad.dtype == np.float32
    other = nn.Linear(3, 2, rng=1)
    other.load_state_dict(
        model.state_dict() if xp is not strict else {k: v.get() for k, v in model.state_dict().items()}
    )
    model.load_state_dict(other.state_dict())
    assert model.weight.device == "cuda:0"
    assert other.weight.device == "cpu"


def f(x):
    return np.sum(np.sin(x) ** 2 * np.cumsum(x, axis=0)) + np.linalg.norm(x @ x.T)


TRANSFORMS = {
    "grad": lambda x, t: tg.grad(f)(x),
    "value_and_grad": lambda x, t: tg.value_and_grad(f)(x),
    "grad of grad": lambda x, t: tg.grad(lambda x: np.sum(tg.grad(f)(x) ** 2))(x),
    "vjp": lambda x, t: tg.vjp(np.sin, x)[1](t),
    "jvp": lambda x, t: tg.jvp(f, (x,), (t,)),
    "jvp of grad": lambda x, t: tg.jvp(tg.grad(f), (x,), (t,)),
    "jvp of jvp": lambda x, t: tg.jvp(lambda x: tg.jvp(f, (x,), (t,))[1], (x,), (t,)),
    "linearize": lambda x, t: tg.linearize(f, x)[1](t),
    "jacobian": lambda x, t: tg.jacobian(lambda x: np.sum(np.exp(x), axis=0))(x),
    "hessian": lambda x, t: tg.hessian(f)(x),
    "hvp": lambda x, t: tg.hvp(f, (x,), (t,)),
    "elementwise_grad": lambda x, t: tg.elementwise_grad(np.tanh)(x),
    "checkpoint": lambda x, t: tg.grad(tg.checkpoint(f))(x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name, xp):
    x, t = X.astype(float), np.cos(X.astype(float))
    there = TRANSFORMS[name](tg.tensor(x, device="cuda"), tg.tensor(t, device="cuda"))
    agree(there, TRANSFORMS[name](tg.tensor(x), tg.tensor(t)))


def test_second_order_and_forward_mode(xp):
    x = xp.asarray(np.array([0.5, 1.5]))
    (second,) = tg.jvp(tg.grad(lambda x: np.sum(np.sin(x) ** 2)), (x,), (xp.asarray(np.ones(2)),))[1:]
    assert np.allclose(host(second), 2 * np.cos(2 * np.array([0.5, 1.5])))


def test_the_test_kit_checks_what_is_on_a_device(xp):
    check_gradients(lambda x: np.exp(x) * x, xp.asarray(X.astype(float)))


# Nothing waits in a training step


def _clipped(parameters, limit):
    """Scale the gradients down to the norm `limit`, in NumPy's words."""
    norm = np.sqrt(sum(np.sum(p.grad * p.grad) for p in parameters))
    factor = np.minimum(limit / norm, 1.0)
    for p in parameters:
        p.grad = p.grad * factor


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_waits_for_nothing(name, dtype, xp):
    model = nn.Sequential(
        nn.Linear(3, 5, rng=0, dtype=dtype), nn.ReLU(), nn.Dropout(0.5, rng=0), nn.Linear(5, 3, rng=1, dtype=dtype)
    ).to("cuda")
    optimizer = OPTIMIZERS[name](model.parameters())
    x, labels = tg.tensor(X, device="cuda", dtype=dtype), tg.tensor(LABELS, device="cuda")
    before = [p.data.copy() for p in model.parameters()]
    for step in range(3):
        with pipelined(xp) if step else contextlib.nullcontext():  # first steps set things up
            optimizer.zero_grad()
            loss = nn.CrossEntropyLoss(label_smoothing=0.1)(model(x), labels)
            loss.backward()
            _clipped(list(model.parameters()), 0.5)
            optimizer.step()
            rate = optimizer.param_groups[0]["lr"]
            optimizer.param_groups[0]["lr"] = rate * 0.9
    assert loss.item() > 0
    assert not any(np.array_equal(host(p), host(b)) for p, b in zip(model.parameters(), before, strict=True))


def test_batches_are_shuffled_alike_everywhere_and_waited_for_by_nobody(xp):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    there = [tg.tensor(a, device="cuda") for a in (x, y)]
    with pipelined(xp):
        found = list(batches(*there, size=4, rng=3))
    for (a, b), (c, d) in zip(found, batches(x, y, size=4, rng=3), strict=True):
        assert a.device == b.device == "cuda:0"
        assert np.array_equal(host(a), c)
        assert np.array_equal(host(b), d)


def test_history_is_freed_as_the_replay_passes():
    """Residuals are let go of as soon as they are played, so that memory falls during the replay."""
    alive = []

    def rule(g, x):
        alive.append(pool.used_bytes())
        return g

    double = tg.ops.unary(_double, rule, name="test: double")
    with cuda_standin() as module:
        pool = module.get_default_memory_pool()
        x = tg.ones(1000, device="cuda", requires_grad=True)
        y = x
        for _ in range(6):
            y = double(y)
        y = np.sum(y)
        y.backward()
    assert len(alive) == 6
    # Each of the inner results goes before the next is asked for; a cotangent or two are in flight.
    assert alive[-1] <= alive[0] - 4 * 8000
    assert all(b <= a for a, b in itertools.pairwise(alive[1:]))


def _double(x):
    return x + x


# Repeated indices


def test_the_last_of_repeated_writes_counts(xp):
    for _ in range(3):
        b, a = tg.tensor(xp.asarray(np.zeros(3))), leaf(xp, [1.0, 2.0, 3.0])
        b[[0, 0, 2]] = a
        assert host(b).tolist() == [2.0, 0.0, 3.0]
        np.sum(b).backward()
        assert host(a.grad).tolist() == [0.0, 1.0, 1.0]


def test_a_number_is_written_to_repeated_places(xp):
    b = leaf(xp, [1.0, 2.0, 3.0]) * 1
    for value in (5.0, np.float64(6.0), tg.tensor(7.0, device="cuda")):
        b[[0, 0, 2]] = value
        assert host(b).tolist() == [float(value), 2.0, float(value)]


@pytest.mark.parametrize("index", [([0, 0, 1], [1, 1, 2]), (slice(None), [0, 0]), (0, [1, 1]), ([0, 0], slice(1, 3))])
def test_repeated_reads_along_several_axes(index, xp):
    def run(device):
        x = tg.tensor(X, device=device, requires_grad=True)
        y = x * 1
        y[index] = x[index] * 2
        np.sum(y * y + np.sum(x[index])).backward()
        return [y, x.grad]

    agree(run("cuda"), run("cpu"))


def test_numbers_read_as_vectors_have_numbers_for_gradients(xp):
    x = leaf(xp, 2.0)
    np.sum(x[None] * x[...] + x[True]).backward()
    assert (x.grad.shape, float(x.grad)) == ((), 5.0)


def test_arrays_of_no_axes_and_no_entries_are_made_like_others(xp):
    x = leaf(xp, [1.0, 2.0])
    for shape in ((), 0, (0, 2), 3):
        expected = np.zeros(shape).shape
        for made in (
            np.zeros_like(x, shape=shape),
            np.ones_like(x, shape=shape),
            np.empty_like(x, shape=shape),
            np.full_like(x, 2, shape=shape),
            tg.zeros_like(x, shape=shape),
            tg.ones_like(x, shape=shape),
            tg.empty_like(x, shape=shape),
        ):
            assert (made.shape, made.device) == (expected, "cuda:0")


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (0, 4), (2, 2)])
@pytest.mark.parametrize("s", [None, (3, 4), (2, 2), (-1, 5)])
@pytest.mark.parametrize("axes", [(-2, -1), (-1, -2), (-1, -1)])
@pytest.mark.parametrize("name", ["fft2", "ifftn", "rfftn", "irfft2"])
def test_transforms_along_several_axes(name, axes, s, shape, xp):
    def run(device):
        x = tg.tensor(np.cos(np.arange(np.prod(shape))).reshape(shape), device=device, requires_grad=True)
        y = getattr(np.fft, name)(x, s, axes)
        np.sum(np.abs(y) ** 2).backward()
        return [y, x.grad]

    try:
        expected = run("cpu")
    except ValueError:
        with pytest.raises(ValueError, match="Invalid number of FFT data points"):
            run("cuda")
        return
    agree(run("cuda"), expected)


def test_sums_of_segments_keep_to_their_segments(xp):
    """CuPy's own are differences of running sums, in which one NaN or one large number spoils all that follow."""

    def run(device):
        x = tg.tensor([[1e30, 2.0, 3.0, 4.0], [np.inf, 5.0, 6.0, 7.0]], dtype=np.float32, device=device)
        sums = np.add.reduceat(x.requires_grad_(), [0, 1, 3], axis=1)
        copies = np.repeat(x, [1, 2, 0, 1], axis=1)
        g = tg.tensor(np.array([[1e30, 1, 2, 3], [np.inf, 4, 5, 6]], np.float32), device=device)
        copies.backward(g)
        return [sums, x.grad]

    agree(run("cuda"), run("cpu"))


def test_weighted_fits_leave_their_operands_alone(xp):
    def run(device):
        x, y, w = (tg.tensor(a, device=device) for a in (np.arange(5.0), np.sin(np.arange(5.0)), np.arange(1.0, 6.0)))
        return [np.polyfit(x, y, 2, w=w), y]

    agree(run("cuda"), run("cpu"))


def test_variances_of_numbers_with_any_freedom(xp):
    values = np.array([[1.0, 2.0, 4.0], [np.nan, 3.0, np.nan], [np.nan] * 3])

    def run(device):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [np.nanvar(tg.tensor(values, device=device), axis=1, ddof=ddof) for ddof in (0, 0.5, 1, 3)]

    agree(run("cuda"), run("cpu"))


@given(data=st.data())
def test_sorted_additions_are_numpys(data):
    """The NumPy twin of what runs on a device."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    index = data.draw(hnp.integer_array_indices(shape, dtype=np.int64))
    index = index[0] if len(index) == 1 and data.draw(st.booleans()) else index
    target = np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)
    values = np.cos(np.arange(target[index].size, dtype=float)).reshape(target[index].shape)
    expected = target.copy()
    np.add.at(expected, index, values)
    _array.sorted_add(target, index, values)
    np.testing.assert_allclose(target, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64])
@pytest.mark.parametrize("kind", ["rows", "list", "pairs", "take", "empty"])
def test_deterministic_gradients_are_the_same_bits(kind, dtype, xp):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(5, 3)).astype(dtype)
    rows, columns = rng.integers(-5, 5, 400), rng.integers(0, 3, 400)

    def read(x, to):
        if kind == "take":
            return np.take(x, to(columns), axis=1)
        if kind == "list":
            return x[rows.tolist()]
        return x[to(rows)] if kind == "rows" else x[to(rows), to(columns)] if kind == "pairs" else x[to(rows[:0])]

    def run(device, to):
        x = tg.tensor(w, device=device, requires_grad=True)
        y = read(x, to)
        g = tg.tensor(np.sin(np.arange(y.size)).reshape(y.shape).astype(dtype), device=device)
        with tg.deterministic():
            y.backward(g)
        return x.grad

    found = [run("cuda", xp.asarray) for _ in range(3)]
    expected = run("cpu", np.asarray)
    for g in found:
        assert host(g).tobytes() == host(found[0]).tobytes()
        assert (g.dtype, g.device) == (expected.dtype, "cuda:0")
    tolerance = 1e-2 if dtype is np.float16 else 1e-4
    np.testing.assert_allclose(host(found[0]), expected.data, rtol=tolerance, atol=tolerance)


def test_without_the_mode_the_order_of_additions_is_nobodys():
    """The stand-in adds in another order every time, as CuPy may: otherwise the test above could not fail."""
    values = np.sin(np.arange(4000)).astype(np.float32)

    def run():
        x = tg.tensor(np.zeros(2, np.float32), device="cuda", requires_grad=True)
        x[strict.zeros(4000, int)].backward(strict.asarray(values))
        return host(x.grad).tobytes()

    with cuda_standin():
        assert len({run() for _ in range(5)}) > 1
        with tg.deterministic():
            assert len({run() for _ in range(5)}) == 1
            with tg.deterministic(False), counting() as counts:
                run()
            assert counts.called("add.at") == 1
            with counting() as counts:
                run()
            # The one synchronization is that of reading the result.
            assert (counts.called("add.at"), counts.synchronizations) == (0, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_are_counted_up_in_a_fixed_order(dtype, xp):
    rng = np.random.default_rng(0)
    places, weights = rng.integers(0, 4, 300), rng.normal(size=300).astype(dtype)

    def run(device):
        w = tg.tensor(weights, device=device, requires_grad=True)
        with tg.deterministic():
            return np.bincount(tg.tensor(places, device=device), w, 6)

    agree(run("cuda"), run("cpu"))
    assert host(run("cuda")).tobytes() == host(run("cuda")).tobytes()


@tg.deterministic()
def _decorated():
    return _array._DETERMINISTIC.get()


def test_the_mode_decorates_functions_and_ends():
    assert _decorated()
    assert not _array._DETERMINISTIC.get()


# Linear algebra that fails


def test_linear_algebra_raises_where_it_is_asked_to_check(xp):
    from_cupyx = xp.cupyx if xp is strict else pytest.importorskip("cupyx")
    bad = leaf(xp, [[1.0, 2.0], [2.0, 1.0]])
    assert np.isnan(host(np.linalg.cholesky(bad))).any()
    with from_cupyx.errstate(linalg="raise"):
        with pytest.raises(np.linalg.LinAlgError):
            np.linalg.cholesky(bad)
        good = leaf(xp, [[2.0, 1.0], [1.0, 2.0]])
        np.sum(np.linalg.cholesky(good)).backward()
    assert np.isfinite(host(good.grad)).all()


# Narrow floating point numbers

NARROW = {
    "arithmetic": lambda x, w: (x + x) * x / (x - 3),
    "numbers": lambda x, w: 2 * x + 1 - x**2,
    "exp": lambda x, w: np.exp(-x),
    "tanh": lambda x, w: np.tanh(x),
    "matmul": lambda x, w: x @ w,
    "bias": lambda x, w: x @ w + w[0],
    "sum": lambda x, w: np.sum(x, axis=0),
    "mean": lambda x, w: np.mean(x, axis=1),
    "max": lambda x, w: np.max(x, axis=1),
    "where": lambda x, w: np.where(x.detach() > 1, x, 0),
    "index": lambda x, w: x[:, 1:],
    "relu": lambda x, w: tg.relu(x),
    "sigmoid": lambda x, w: tg.sigmoid(x),
    "softmax": lambda x, w: tg.softmax(x),
    "gather": lambda x, w: x[[0, 0, 1]],
}


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_narrow_numbers_stay_narrow(name, kind, xp):
    dtype = np.dtype(np.float16) if kind == "float16" else np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    if kind == "bfloat16" and name in ("matmul", "bias"):
        pytest.skip("CuPy 14 has no product of bfloat16 matrices")
    x, w = (tg.tensor(a.astype(dtype), device="cuda", requires_grad=True) for a in (np.abs(X), X[:3, :2]))
    y = NARROW[name](x, w)
    assert y.dtype == dtype
    np.sum(y).backward()
    assert (x.grad.dtype, x.grad.device) == (dtype, "cuda:0")
    a, b = (tg.tensor(t.data.get().astype(np.float32), requires_grad=True) for t in (x, w))
    np.sum(NARROW[name](a, b)).backward()
    np.testing.assert_allclose(host(x.grad).astype(np.float32), a.grad.data, rtol=0.05, atol=0.05)


# Random numbers


def test_random_numbers_are_drawn_on_the_device_and_reproducible(xp):
    with pipelined(xp):
        rng, again, other = (tg.random.default_rng(seed, "cuda") for seed in (0, 0, 1))
        drawn = [
            [g.random(3), g.uniform(-1, 1, 4), g.normal(size=(2, 2)), g.integers(9, size=5), g.permutation(6)]
            for g in (rng, again, other)
        ]
    for a, b in zip(drawn[0], drawn[1], strict=True):
        assert a.device == "cuda:0"
        assert a.tolist() == b.tolist()
    assert drawn[0][0].tolist() != drawn[2][0].tolist()
    assert sorted(drawn[0][4].tolist()) == list(range(6))
    state = rng.state
    first = rng.random(3).tolist()
    rng.state = state
    assert rng.random(3).tolist() == first
    rng.restart()
    assert rng.random(3).tolist() == drawn[0][0].tolist()


def test_siblings_of_a_generator(xp):
    rng = tg.random.default_rng(7)
    there = rng.on("cuda")
    assert there is rng.on("cuda:0")
    assert there.on("cuda") is there
    assert there.random(2).tolist() == tg.random.default_rng(7, "cuda").random(2).tolist()
    tg.random.seed(5)
    first = tg.random.shared("cuda").random(2).tolist()
    tg.random.seed(5)
    assert tg.random.shared("cuda").random(2).tolist() == first


@pytest.mark.parametrize("rng", [0, None, lambda: tg.random.default_rng(0), lambda: tg.random.default_rng(0, "cuda")])
def test_dropout_draws_where_its_input_is(rng, xp):
    def run():
        tg.random.seed(0)
        layer = nn.Dropout(0.5, rng=rng() if callable(rng) else rng)
        x = tg.ones((50, 2), np.float32, device="cuda", requires_grad=True)
        with pipelined(xp):
            y = layer(x)
            np.sum(y * y).backward()
        assert (y.dtype, y.device) == (np.float32, "cuda:0")
        return y.tolist(), x.grad.tolist()

    assert run() == run()
    assert {value for row in run()[0] for value in row} == {0.0, 2.0}


def test_checkpointed_dropout_draws_the_same_mask_again(xp):
    x = tg.ones(40, device="cuda", requires_grad=True)
    layer = nn.Dropout(0.5, rng=0)
    layer(x)  # the generator on this device has begun
    with pipelined(xp):
        y = tg.checkpoint(lambda x: layer(x) * x)(x)
        np.sum(y).backward()
    assert x.grad.tolist() == (2 * y.detach()).tolist()


# The form of what is computed on a device


def _operands(monkeypatch):
    """Return a list that the numbers of axes of the operands of each product on the stand-in are added to."""
    seen = []
    run = _standin._call_ufunc

    def watched(ufunc, inputs, keywords):
        if ufunc is np.matmul:
            seen.append(tuple(x.ndim for x in inputs))
        return run(ufunc, inputs, keywords)

    def called(name, args, keywords):
        if name == "dot":
            seen.append(tuple(x.ndim for x in args))
        return call(name, args, keywords)

    call = _standin._call
    monkeypatch.setattr(_standin, "_call_ufunc", watched)
    monkeypatch.setattr(_standin, "_call", called)
    return seen


def _products(counts):
    """Return how many products of matrices and vectors ran, by either name."""
    return sum(counts.called(name) for name in ("matmul", "dot", "ndarray.dot"))


@pytest.mark.parametrize(
    "write", [lambda x, w: x @ w, np.matmul, lambda x, w: x @ w[:, 0], lambda x, w: x.data @ w, tg.linear]
)
@pytest.mark.parametrize("shape", [(5, 4, 3), (2, 5, 4, 3), (0, 4, 3)])
def test_stacks_of_rows_are_multiplied_as_one_matrix(shape, write, monkeypatch):
    a, b = np.arange(np.prod(shape), dtype=float).reshape(shape), np.arange(6.0).reshape(3, 2)
    x, w = leaf(strict, a), leaf(strict, b)
    seen = _operands(monkeypatch)
    y = write(x, w)
    np.sum(y * y).backward()
    assert seen
    assert all(max(ndims) <= 2 for ndims in seen)
    c, d = tg.tensor(a, requires_grad=True), tg.tensor(b, requires_grad=True)
    np.sum(write(c, d) ** 2).backward()
    np.testing.assert_allclose(host(w.grad), d.grad.data, rtol=1e-12)


def test_large_sums_over_leading_axes_are_products():
    x = tg.tensor(np.ones((1000, 80), np.float32), device="cpu")
    with cuda_standin():
        b = tg.zeros(80, np.float32, device="cuda", requires_grad=True)
        with counting() as counts:
            np.sum((x.to("cuda") + b) * 2).backward()
        assert _products(counts) == 1
        assert counts.called("ndarray.sum") == 1, "that of the forward pass"
        assert b.grad.tolist() == [2000.0] * 80
        small = tg.zeros(4, device="cuda", requires_grad=True)
        with counting() as counts:
            np.sum(tg.ones((3, 4), device="cuda") + small).backward()
        assert _products(counts) == 0


# DLPack


@pytest.mark.parametrize("library", ["numpy", "torch", "jax.numpy"])
def test_dlpack_both_ways(library):
    other = pytest.importorskip(library)
    made = other.asarray(np.arange(3.0, dtype=np.float32))
    t = tg.from_dlpack(made)
    assert (t.dtype, t.device, t.tolist()) == (np.float32, "cpu", [0.0, 1.0, 2.0])
    assert not t.requires_grad
    back = other.from_dlpack(tg.tensor([1.0, 2.0], dtype=np.float32))
    assert back.tolist() == [1.0, 2.0]


def test_dlpack_shares_memory_and_copies_where_asked():
    torch = pytest.importorskip("torch")
    theirs = torch.zeros(2)
    shared, copied = tg.from_dlpack(theirs), tg.from_dlpack(theirs, copy=True)
    theirs[0] = 7
    assert shared.tolist() == [7.0, 0.0]
    assert copied.tolist() == [0.0, 0.0]
    ours = tg.tensor([1.0, 2.0])
    torch.from_dlpack(ours)[1] = 5
    assert ours.tolist() == [1.0, 5.0]


@pytest.mark.parametrize("library", ["numpy", "torch", "jax.numpy"])
def test_dlpack_refuses_tracked_tensors(library):
    other = pytest.importorskip(library)
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    for t in (x, x * 2):
        with pytest.raises(LostGradientError, match="detach"):
            other.from_dlpack(t)
        assert other.from_dlpack(t.detach()).shape == (2,)


def test_dlpack_to_the_device(xp):
    t = tg.from_dlpack(np.arange(3.0), device="cuda")
    assert (t.device, t.tolist()) == ("cuda:0", [0.0, 1.0, 2.0])
    with pytest.raises(DeviceError, match="copy=False and device='cuda', but the data is on cpu"):
        tg.from_dlpack(np.arange(3.0), device="cuda", copy=False)


@pytest.mark.gpu
def test_dlpack_on_the_device():
    cupy = cuda()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch finds no CUDA device")
    t = tg.from_dlpack(torch.arange(3.0, device="cuda"))
    assert isinstance(t.data, cupy.ndarray)
    assert torch.from_dlpack(t * 2).tolist() == [0.0, 2.0, 4.0]


# Memory


def test_memory_summary_tells_who_holds_memory():
    with cuda_standin():
        x = tg.ones(1000, device="cuda", requires_grad=True)
        y = np.sum(np.exp(np.sin(x)))
        text = tg.memory_summary()
        line = next(line.split() for line in text.splitlines() if line.startswith("kept by exp"))
        assert line[3:] == ["cuda:0", "1", "8,000"]
        assert "pool of cuda:0" in text
        y.backward()
        assert "kept by exp" not in tg.memory_summary()


# What is wrong with a device


class Broken:
    """A cupy module whose devices fail with a CUDA error of this number."""

    __version__ = "14.2.0"
    ndarray = _standin.StrictArray

    def __init__(self, status, memory=False):
        module = self

        class CUDARuntimeError(RuntimeError):
            def __init__(self):
                self.status = status
                super().__init__(f"error {status}")

        class Device:
            def __init__(self, number=0):
                self.id = number

            def __enter__(self):
                return module.fail()

            def __exit__(self, *exception):
                pass

        self.fail = _raiser(
            MemoryError("Out of memory allocating 8,000,000,000 bytes") if memory else CUDARuntimeError()
        )
        self.cuda = self
        self.runtime = self
        self.CUDARuntimeError = CUDARuntimeError
        self.Device = Device
        self.asarray = lambda array, order: self.fail()
        self.getDeviceCount = lambda: 2 if status == 101 else self.fail()


def _raiser(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (35, r"the NVIDIA driver is missing, or too old .*cupy 14\.2\.0.*update the driver .*or use device='cpu'"),
        (100, r"no CUDA device was found; .*nvidia-smi.*CUDA_VISIBLE_DEVICES"),
        (101, r"there are 2 devices, numbered from cuda:0"),
        (999, r"error 999; see whether nvidia-smi lists the device"),
    ],
)
def test_devices_that_cannot_be_used(status, says, monkeypatch):
    monkeypatch.setattr(_array, "CUDA", [Broken(status)])
    for use in (
        lambda: tg.tensor([1.0], device="cuda:1"),
        lambda: tg.zeros(3).to("cuda:1"),
        lambda: nn.Linear(2, 2, device="cuda:1"),
        lambda: nn.Linear(2, 2).to("cuda:1"),
        lambda: tg.random.default_rng(0, "cuda:1"),
        lambda: tg.device("cuda:1").__enter__(),
    ):
        with pytest.raises(DeviceError, match=f"device 'cuda:1' cannot be used: {says}"):
            use()


def test_devices_that_are_misspelled():
    for name in ("gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0"):
        with pytest.raises(DeviceError, match="expected 'cpu', 'cuda' or 'cuda:N'"):
            tg.zeros(1, device=name)


def test_without_cupy(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    for use in (lambda: tg.zeros(1, device="cuda"), lambda: tg.random.default_rng(0, "cuda")):
        with pytest.raises(
            MissingPackageError, match=r"a CUDA device needs the package cupy, .*pip install 'tapegrad\[cuda12\]'"
        ):
            use()


def test_with_a_broken_cupy(monkeypatch):
    def broken(name):
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(_array.importlib, "import_module", broken)
    with pytest.raises(MissingPackageError, match=r"cannot be imported \(libcudart.*pip install"):
        tg.zeros(1, device="cuda")


def test_out_of_memory(monkeypatch):
    monkeypatch.setattr(_array, "CUDA", [Broken(2, memory=True)])
    with pytest.raises(
        OutOfMemoryError, match=r"ran out of memory \(Out of memory allocating 8,000,000,000 bytes\); .*smaller batches"
    ):
        tg.zeros(1, device="cuda")
    with pytest.raises(MemoryError):
        tg.zeros(1, device="cuda:1")


def _full(x):
    raise MemoryError("Out of memory allocating 512 bytes")


def test_out_of_memory_in_an_operation_and_in_its_rule():
    full = tg.ops.unary(_full, lambda g: g, name="test: full")
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(OutOfMemoryError, match="test: full ran out of memory"):
        full(x)
    heavy = tg.ops.unary(_double, lambda g: _full(g), name="test: heavy")
    y = heavy(x)
    with pytest.raises(OutOfMemoryError, match="ran out of memory"):
        y.backward(np.ones(1))
    assert x.grad is None


# On a device, everything: in slices, each of which takes a minute or two, as `python -m benchmarks.devices` runs them

SLICES = 16


@pytest.mark.gpu
@pytest.mark.parametrize("slice_", range(SLICES))
def test_sweep_of_every_op(slice_):
    cupy = cuda()
    failures = []
    for entry in _sweep.entries()[slice_::SLICES]:
        try:
            _sweep.certify(entry, laws=["device"], modules=[cupy])
        except Exception as error:
            failures.append(f"{entry}: {type(error).__name__}: {str(error).splitlines()[0]}")
    assert not failures, f"{len(failures)} entries:\n" + "\n".join(failures)


@pytest.mark.gpu
def test_sweep_of_what_cupy_refuses():
    """It is what the stand-in refuses."""
    cupy = cuda()
    differ = [
        str(entry)
        for entry in _sweep.entries()
        if _sweep.runs_on_device(entry, module=cupy) != _sweep.runs_on_device(entry, module=strict)
    ]
    assert differ == []


# Programs by their command lines


def _programs(folder):
    return {
        "main job": (job.main, ["--quiet", "--epochs", "2", "--output", str(folder)]),
        "seed network": (seed_network.main, ["--epochs", "3", "--output", str(folder)]),
        "node graph": (node_graph.main, ["--epochs", "3"]),
        "layers": (layer_backprop.main, ["--epochs", "3"]),
    }


@pytest.mark.parametrize(
    ("name", "device"), [*((name, "cuda") for name in _programs("")), ("main job", "cuda:1"), ("layers", "cuda:1")]
)
def test_programs_on_the_stand_in(name, device, tmp_path):
    main, arguments = _programs(tmp_path)[name]
    with cuda_standin(), counting() as counts:
        assert main([*arguments, "--device", device]) in (None, 0)
    assert counts.uploads == 0
    assert _products(counts) > 10


@pytest.mark.gpu
@pytest.mark.parametrize("name", _programs(""))
def test_programs_on_the_device(name, tmp_path):
    cuda()
    main, arguments = _programs(tmp_path)[name]
    assert main([*arguments, "--device", "cuda"]) in (None, 0)


@pytest.mark.parametrize("name", _programs(""))
def test_programs_say_what_is_wrong_with_the_device(name, tmp_path, monkeypatch, capsys):
    main, arguments = _programs(tmp_path)[name]
    monkeypatch.setattr(_array, "CUDA", [Broken(100)])
    try:
        status = main([*arguments, "--device", "cuda"])
        said = capsys.readouterr().err
    except SystemExit as end:
        status, said = end.code, str(end.code)
    assert status not in (0, None)
    assert "no CUDA device was found; see whether nvidia-smi lists one" in said
    assert "Traceback" not in said
    assert "\n" not in said.strip()


def test_training_in_the_main_job_waits_once_an_epoch(tmp_path):
    def waits(epochs):
        arguments = ["--quiet", "--epochs", str(epochs), "--device", "cuda", "--output", str(tmp_path)]
        with cuda_standin(), counting() as counts:
            assert job.main(arguments) == 0
        return counts.synchronizations

    # Twenty-two steps an epoch, and in the evaluation after it two losses and two accuracies.
    assert 0 < waits(2) - waits(1) <= 4
