"""The stand-in computes what NumPy computes, and refuses what CuPy refuses."""

import copy
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._array import device_of
from tapegrad.ops._domains import positive, real
from tapegrad.testing import StrictArray, arrays, broadcastable_arrays, counting, cuda_standin, indices, strict

X = np.arange(6.0).reshape(2, 3) - 2
V = np.array([0.5, -1.0, 2.0])
S = np.array([[2.0, 0.5, 0.0], [0.5, 3.0, 0.25], [0.0, 0.25, 1.5]])
I = np.array([0, 2, 0])


def on_device(value):
    """Return `value` with stand-in arrays in place of NumPy's, inside lists and tuples too."""
    if isinstance(value, np.ndarray):
        return strict.asarray(value)
    return type(value)(on_device(v) for v in value) if isinstance(value, (list, tuple)) else value


def same(got, expected):
    """Check that results agree in values, dtypes and shapes, and that they are where they must be."""
    if isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            same(one, other)
        return
    assert type(got) is StrictArray
    assert (got.dtype, got.shape) == (np.asarray(expected).dtype, np.shape(expected))
    # NumPy's vector loops may round the last bit otherwise where an array lies otherwise in memory.
    np.testing.assert_allclose(got.get(), expected, rtol=4e-16 if got.dtype.kind in "fc" else 0, atol=0)


CALLS = {
    "sum": (X,),
    "sum axis": (X, {"axis": 1, "keepdims": True}),
    "prod": (X,),
    "mean": (X, {"axis": (0, 1)}),
    "std": (X, {"axis": 0, "ddof": 1}),
    "max": (X, {"axis": 0}),
    "argmax": (X, {"axis": 1}),
    "any": (X,),
    "cumsum": (X, {"axis": 1}),
    "clip": (X, -1, 2),
    "where": (X > 0, X, 0.5),
    "reshape": (X, (3, 2)),
    "transpose": (X,),
    "moveaxis": (X, 0, 1),
    "expand_dims": (X, 1),
    "squeeze": (X[:1],),
    "broadcast_to": (V, (2, 3)),
    "concatenate": ([X, X],),
    "concatenate axis": ([X, X], {"axis": 1}),
    "stack": ((V, V),),
    "vstack": ([X, V],),
    "split": (V, 3),
    "array_split": (V, [1, 2]),
    "tile": (V, (2, 1)),
    "repeat": (V, 2),
    "roll": (X, 1, {"axis": 0}),
    "flip": (X,),
    "rot90": (X,),
    "pad": (X, ((1, 0), (0, 2))),
    "pad edge": (X, 1, {"mode": "edge"}),
    "take": (V, I),
    "take axis": (X, I, {"axis": 1}),
    "take_along_axis": (X, np.array([[0], [1]]), 1),
    "sort": (V,),
    "argsort": (V,),
    "partition": (V, 1),
    "diag": (V,),
    "diagonal": (X,),
    "tril": (X,),
    "trace": (S,),
    "dot": (S, V),
    "vdot": (V, V),
    "inner": (V, V),
    "outer": (V, V),
    "matmul": (X, S),
    "tensordot": (X, S, {"axes": 1}),
    "einsum": ("ij,jk->ik", X, S),
    "einsum optimize": ("ij,jk->ik", X, S, {"optimize": True}),
    "kron": (V, V),
    "cross": (V, V),
    "convolve": (V, V),
    "interp": (V, np.sort(V), V),
    "trapezoid": (V, {"dx": 0.5}),
    "gradient": (V, 0.5),
    "diff": (X, {"axis": 1, "prepend": X[:, :1]}),
    "meshgrid": (V, V, {"indexing": "ij"}),
    "nan_to_num": (np.array([np.nan, 1.0]), {"nan": 3.0}),
    "searchsorted": (np.sort(V), V),
    "median": (V,),
    "average": (V, {"weights": np.abs(V)}),
    "linalg.inv": (S,),
    "linalg.det": (S,),
    "linalg.slogdet": (S,),
    "linalg.solve": (S, V),
    "linalg.cholesky": (S,),
    "linalg.eigh": (S,),
    "linalg.qr": (S,),
    "linalg.svd": (X, {"full_matrices": False}),
    "linalg.norm": (X, {"axis": 1}),
    "linalg.matrix_power": (S, 3),
    "fft.fft": (V,),
    "fft.rfft": (V, {"n": 4, "norm": "ortho"}),
    "fft.irfftn": (X + 0j,),
    "zeros_like": (X,),
    "ones_like": (X, {"shape": (2,), "dtype": np.float32}),
    "full_like": (X, 2.5),
    "real": (X + 1j,),
    "imag": (X + 1j,),
    "angle": (X + 1j,),
    "count_nonzero": (X,),
    "isclose": (X, X),
    "unravel_index": (I, (2, 2)),
    "lib.stride_tricks.sliding_window_view": (V, 2),
}


@pytest.mark.parametrize("call", CALLS)
def test_functions_agree_with_numpy(call):
    name, (*args,) = call.partition(" ")[0], CALLS[call]
    keywords = args.pop() if isinstance(args[-1], dict) else {}
    function = operator.attrgetter(name)(np)
    expected = function(*args, **keywords)
    device_args, device_keywords = on_device(args), {key: on_device(value) for key, value in keywords.items()}
    same(function(*device_args, **device_keywords), expected)
    same(operator.attrgetter(name)(strict)(*device_args, **device_keywords), expected)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "arctan2", "maximum", "less"])
@given(pair=broadcastable_arrays(positive, positive))
def test_ufuncs_agree_with_numpy(name, pair):
    ufunc, (x, y) = getattr(np, name), pair
    same(ufunc(*on_device(pair)), ufunc(x, y))
    same(ufunc(on_device(x), 0.5), np.asarray(ufunc(x, 0.5)))
    same(ufunc(np.float64(0.5), on_device(x)), np.asarray(ufunc(np.float64(0.5), x)))
    same(ufunc.outer(*on_device(pair)), np.asarray(ufunc.outer(x, y)))
    same(getattr(strict, name)(*on_device(pair)), np.asarray(ufunc(x, y)))


METHODS = [
    ("sum", (), {"axis": 0}),
    ("mean", (), {}),
    ("max", (), {"axis": 1, "keepdims": True}),
    ("cumsum", (), {"axis": 1}),
    ("reshape", (3, 2), {}),
    ("reshape", ((3, 2),), {}),
    ("reshape", (-1,), {}),
    ("transpose", (), {}),
    ("transpose", (1, 0), {}),
    ("swapaxes", (0, 1), {}),
    ("astype", (np.float32,), {}),
    ("ravel", (), {}),
    ("flatten", (), {}),
    ("copy", (), {}),
    ("clip", (0, 1), {}),
    ("round", (1,), {}),
    ("dot", (S,), {}),
    ("take", (I, 1), {}),
    ("repeat", (2,), {"axis": 0}),
    ("argsort", (), {"axis": 0}),
    ("conj", (), {}),
    ("diagonal", (), {}),
    ("squeeze", (), {}),
    ("std", (), {"ddof": 1}),
    ("nonzero", (), {}),
]


@pytest.mark.parametrize(("name", "args", "keywords"), METHODS, ids=lambda value: str(value))
def test_methods_agree_with_numpy(name, args, keywords):
    same(getattr(strict.asarray(X), name)(*on_device(args), **keywords), getattr(X, name)(*args, **keywords))


def test_an_empty_shape_is_none():
    """CuPy's creation functions take it for that of the prototype."""
    x = strict.asarray(V)
    for function in (np.zeros_like, np.ones_like, np.empty_like, lambda x, shape: np.full_like(x, 2.0, shape=shape)):
        assert function(x, shape=()).shape == (3,)
        assert function(x, shape=0).shape == (3,)
        assert function(x, shape=(0,)).shape == (0,)


def test_statistics_that_differ():
    """Where CuPy computes something else than NumPy, the stand-in does so too."""
    x = strict.asarray(np.array([1.0, np.nan, 3.0, 4.0]))
    same(np.nanvar(x, ddof=0.5), np.nanvar(x.get()))
    same(np.add.reduceat(x, strict.asarray(np.array([0, 1, 2, 3]))), np.array([1.0, np.nan, np.nan, np.nan]))
    with pytest.raises(ZeroDivisionError):
        np.inner(strict.ones((2, 0)), strict.ones((3, 0)))


def test_methods_in_place():
    x = strict.asarray(V)
    x.sort()
    x.fill(2.0)
    x[0] = 5
    x += 1
    same(x, np.array([6.0, 3.0, 3.0]))


@given(data=st.data())
def test_indexing_agrees_with_numpy(data):
    x = data.draw(arrays(real, shape=(2, 3), layout="contiguous"))
    index = data.draw(indices(x.shape))
    got = strict.asarray(x)[on_device(index) if data.draw(st.booleans()) else index]
    same(got, np.asarray(x[index]))


REFUSED = {
    "NumPy operand": lambda x: x + V,
    "NumPy operand on the left": lambda x: V + x,
    "0-d NumPy operand": lambda x: np.multiply(x, np.array(2.0)),
    "list operand": lambda x: np.add(x, [1.0, 2.0, 3.0]),
    "conversion": lambda x: np.asarray(x),
    "array of arrays": lambda x: np.array([x, x]),
    "NumPy array in a sequence": lambda x: np.concatenate([x, V]),
    "NumPy array in einsum": lambda x: np.einsum("i,i", x, V),
    "NumPy array as out": lambda x: np.exp(x, out=np.zeros(3)),
    "NumPy array into an array": lambda x: x.__iadd__(V),
    "assignment of a NumPy array": lambda x: x.__setitem__(slice(None), V),
    "where of a reduction": lambda x: np.sum(x, where=x > 0),
    "initial of a reduction": lambda x: np.sum(x, initial=1.0),
    "where of a ufunc": lambda x: np.exp(x, where=x > 0, out=x),
    "min and max of clip": lambda x: np.clip(x, min=0, max=1),
    "shape of reshape": lambda x: np.reshape(x, shape=(3, 1)),
    "mode of take": lambda x: np.take(x, strict.asarray(I), mode="wrap"),
    "out of einsum": lambda x: np.einsum("i->i", x, out=x),
    "stable of sort": lambda x: np.sort(x, stable=True),
    "device of creation": lambda x: np.zeros_like(x, device="cpu"),
    "correction of var": lambda x: np.var(x, correction=1),
    "vecdot": lambda x: np.vecdot(x, x),
    "matvec": lambda x: np.matvec(strict.asarray(S), x),
    "block": lambda x: np.block([x, x]),
    "insert": lambda x: np.insert(x, 0, 1.0),
    "unstack": lambda x: np.unstack(x),
    "nanquantile": lambda x: np.nanquantile(x, 0.5),
    "linalg.vecdot": lambda x: np.linalg.vecdot(x, x),
    "linalg.matrix_norm": lambda x: np.linalg.matrix_norm(strict.asarray(S)),
    "linalg.svdvals": lambda x: np.linalg.svdvals(strict.asarray(S)),
    "linalg.multi_dot": lambda x: np.linalg.multi_dot([x, x]),
    "logical functions of complex numbers": lambda x: np.logical_not(x + 1j),
    "reduce of maximum": lambda x: np.maximum.reduce(x),
    "accumulate of maximum": lambda x: np.maximum.accumulate(x),
    "reduceat of multiply": lambda x: np.multiply.reduceat(x, [0, 1]),
    "at of multiply": lambda x: np.multiply.at(x, [0], 2.0),
    "at of complex numbers": lambda x: strict.add.at(x + 1j, [0], 2.0),
    "tensordot of numbers over no pairs": lambda x: np.tensordot(x[0], x[1], ([], [])),
    "at of a list": lambda x: np.add.at(x, [0], 2.0),
    "at of a tuple": lambda x: np.add.at(x, (strict.asarray(I[0]),), 2.0),
    "at of a slice": lambda x: np.add.at(x, slice(1), 2.0),
    "reduceat of a list": lambda x: np.add.reduceat(x, [0, 1]),
    "kinds of sorts": lambda x: np.sort(x, kind="quicksort"),
    "kinds of sorts in place": lambda x: x.sort(kind="mergesort"),
    "kinds of sorts that give indices": lambda x: x.argsort(kind="heapsort"),
    "transforms along an axis twice": lambda x: np.fft.fftn(strict.asarray(X), axes=(0, 0)),
    "transforms of the length -1": lambda x: np.fft.fft2(strict.asarray(X), s=(-1, 3)),
    "transforms of the shape as a tuple": lambda x: np.fft.irfft2(strict.asarray(X), s=(2, 3)),
    "transforms of nothing": lambda x: np.fft.rfftn(strict.ones((0, 3)), axes=(1,)),
    "index()": lambda x: operator.index(strict.asarray(np.array(1))),
    "hash()": lambda x: hash(x),
    "two masks": lambda x: strict.asarray(X)[strict.ones(2, bool), strict.ones(3, bool)],
    "a number for an operand": lambda x: np.dot(x, 2.0),
    "extended precision": lambda x: x.astype(np.longdouble),
    "item of several": lambda x: x.item(),
    "missing in the namespace": lambda x: strict.vecdot,
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses_what_cupy_refuses(what):
    with pytest.raises((TypeError, ValueError, AttributeError, NotImplementedError)):
        REFUSED[what](strict.asarray(V))


def test_results_are_arrays_and_never_scalars():
    x = strict.asarray(V)
    for result in (x.sum(), np.mean(x), x[0], x @ x, np.add.reduce(x), np.linalg.norm(x), x[0] + 1, np.vdot(x, x)):
        assert type(result) is StrictArray
        assert result.shape == ()


def test_linear_algebra_gives_plain_tuples_and_fails_silently():
    assert type(np.linalg.eigh(strict.asarray(S))) is tuple
    assert np.isnan(np.linalg.cholesky(strict.asarray(-S)).get()).all()
    assert np.isnan(np.linalg.inv(strict.zeros((2, 2))).get()).all()
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.inv(strict.zeros((2, 3)))


def test_no_floating_point_warnings():
    same(np.log(strict.asarray(np.array([0.0, -1.0]))), np.array([-np.inf, np.nan]))


def test_of_repeated_indices_the_last_does_not_win():
    x = strict.zeros(2)
    x[strict.asarray(np.array([0, 0]))] = strict.asarray(np.array([1.0, 2.0]))
    same(x, np.array([1.0, 0.0]))


def test_indices_wrap_around():
    x = strict.asarray(V)
    same(x[strict.asarray(np.array([3, -4]))], V[[0, 2]])
    with pytest.raises(IndexError):
        x[3]


def test_views_know_their_base():
    x = strict.asarray(X)
    view = x[0][1:]
    assert view.base is x
    assert x.base is None
    assert (x.flags.owndata, view.flags.owndata, x.T.flags["F_CONTIGUOUS"]) == (True, False, True)
    assert np.reshape(x, (3, 2)).base is x
    assert np.exp(x).base is None
    assert x[strict.asarray(I[:2] // 2)].base is None
    assert x.astype(np.float64, copy=False) is x
    view[0] = 7
    assert x[0, 1] == 7


def test_order_is_c():
    assert np.exp(strict.asarray(X).T).flags.c_contiguous
    assert np.asfortranarray(X).T.flags.c_contiguous


def test_counts_what_stops_a_pipeline():
    x = strict.asarray(V)
    with counting() as none:
        np.sum(np.where(x > 0, x, 0.0)) * 2
        x[1:], x[strict.asarray(I)]
    assert (none.synchronizations, none.uploads) == (0, 0)
    waits = [lambda: float(x[0]), lambda: x[0].item(), lambda: bool(x[0]), lambda: x.get(), lambda: str(x)]
    waits += [lambda: x[x > 0], lambda: x.__setitem__(x > 0, 1.0), lambda: np.nonzero(x), lambda: np.where(x)]
    waits += [lambda: np.median(x), lambda: np.unique(x), lambda: x.tolist()]
    for wait in waits:
        with counting() as one, counting() as two:
            wait()
        assert one.synchronizations == two.synchronizations == 1
    for upload in (lambda: x[[0, 1]], lambda: x[I], lambda: np.take(x, I), lambda: np.add.at(x, I, 1.0)):
        with counting() as counts:
            upload()
        assert (counts.synchronizations, counts.uploads) == (0, 1)


def test_copies_and_pickles():
    x = strict.asarray(V)
    for made in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        same(made, V)
        assert not np.may_share_memory(made, x)


def test_tensors_hold_stand_in_arrays():
    t = tg.tensor(strict.asarray(V), requires_grad=True)
    assert (t.device, device_of(t.data)) == ("cuda:0", "cuda:0")
    np.sum(np.exp(t) * t).backward()
    assert type(t.grad.data) is StrictArray
    np.testing.assert_allclose(t.grad.data.get(), np.exp(V) * (1 + V))


@pytest.mark.parametrize("join", [np.add, operator.add, lambda a, b: b + a, lambda a, b: np.multiply(b, a)])
def test_operators_leave_the_result_to_tensors(join):
    """CuPy defers to types it does not know; otherwise it would swallow the tensor and lose the gradient."""
    t = tg.tensor(strict.asarray(V), requires_grad=True)
    result = join(strict.asarray(V), t)
    assert isinstance(result, tg.Tensor)
    assert result.requires_grad
    assert type(result.data) is StrictArray


def test_tensors_on_different_devices_do_not_mix():
    with pytest.raises(tg.errors.DeviceError):
        tg.tensor(strict.asarray(V)) + tg.tensor(V)


def test_nothing_of_the_stand_in_is_imported_with_tapegrad():
    import subprocess
    import sys

    code = "import sys, tapegrad; print(any(name.startswith('tapegrad.testing') for name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


# Devices, and what is no function of arrays


def test_the_stand_in_is_the_device_where_it_is_asked_to_be():
    with cuda_standin() as xp:
        assert xp is strict
        x = tg.tensor([1.0, 2.0], device="cuda")
        assert type(x.data) is StrictArray
    assert tg.tensor(x.data).device == "cuda:0"  # what is there stays there


def test_arrays_live_on_the_device_that_was_current():
    with strict.cuda.Device(1):
        x = strict.asarray(V)
        y = x[1:] + 1
        assert (device_of(x), device_of(y), device_of(x[0])) == ("cuda:1", "cuda:1", "cuda:1")
    assert strict.cuda.Device().id == 0
    for use in (
        lambda: x + 1,
        lambda: np.sum(x),
        lambda: x.sum(),
        lambda: strict.ones(3) * x,
        lambda: x[strict.asarray(I)],
        lambda: x.__setitem__(0, 1.0),
        lambda: np.add.at(strict.ones(3), strict.asarray(I), x),
    ):
        with pytest.raises(ValueError, match=r"resides \(1\) is different from the current device \(0\)"):
            use()
    assert x.get().tolist() == V.tolist()
    assert device_of(strict.asarray(x)) == "cuda:0"
    assert device_of(x.reshape(1, 3)) == "cuda:1"
    assert copy.deepcopy(x).device == x.device == strict.cuda.Device(1) != strict.cuda.Device(0)
    with pytest.raises(strict.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"), strict.cuda.Device(2):
        pass


def test_generators_are_reproducible_and_keep_their_state_on_the_device():
    rng, again = strict.random.default_rng(3), strict.random.default_rng(3)
    for draw in (
        lambda g: g.random(3),
        lambda g: g.uniform(1, 2, (2, 2)),
        lambda g: g.standard_normal((2, 1), np.float32),
        lambda g: g.integers(5, size=4),
        lambda g: g.random(),
    ):
        a, b = draw(rng), draw(again)
        assert type(a) is StrictArray
        same(a, b.get())
        assert not np.array_equal(a.get(), draw(rng).get()) or a.size < 5
        draw(again)
    state = rng.bit_generator._state.copy()
    first = rng.random(3).get()
    rng.bit_generator._state[...] = state
    same(rng.random(3), first)


def test_special_functions_have_cupys_loops():
    special = pytest.importorskip("scipy.special")
    x = strict.asarray(np.abs(V))
    same(special.erf(x), special.erf(np.abs(V)))
    same(strict.cupyx.scipy.special.gammaln(x), special.gammaln(np.abs(V)))
    assert special.erf(x.astype(np.float16)).dtype == np.float64  # CuPy's, not SciPy's
    assert special.gammainc(x.astype(np.float32), x).dtype == np.float64
    same(special.sici(x), special.sici(np.abs(V)))
    for function, operand in ((special.jv, (x, x)), (special.wofz, (x,)), (special.ndtri, (x + 1j,))):
        with pytest.raises(TypeError):
            function(*operand)
    with pytest.raises(AttributeError, match="no attribute 'jv'"):
        _ = strict.cupyx.scipy.special.jv


def test_linear_algebra_that_is_checked_raises_and_waits():
    with counting() as counts, strict.cupyx.errstate(linalg="raise"):
        with pytest.raises(np.linalg.LinAlgError):
            np.linalg.cholesky(strict.asarray(-S))
        np.linalg.inv(strict.asarray(S))
    assert counts.synchronizations == 2
    assert np.isnan(np.linalg.cholesky(strict.asarray(-S)).get()).all()


def test_additions_by_index_come_in_any_order():
    values = strict.asarray(np.sin(np.arange(3000)).astype(np.float32))
    sums = []
    for _ in range(5):
        x = strict.zeros(2, np.float32)
        np.add.at(x, strict.zeros(3000, int), values)
        sums.append(x.get())
    assert len({s.tobytes() for s in sums}) > 1
    np.testing.assert_allclose(sums, [sums[0]] * 5, atol=1e-3)


def test_calls_are_listed_with_their_keywords():
    x = strict.asarray(X)
    with counting() as counts:
        np.sum(x, axis=0)
        x.mean(axis=1, keepdims=True)
        x @ x.T
        x[0] = x[1]
        np.add.at(x, strict.asarray(I[:1]), 1.0)
    assert counts.calls == [
        ("sum", ("axis",)),
        ("ndarray.mean", ("axis", "keepdims")),
        ("matmul", ()),
        ("ndarray.__getitem__", ()),
        ("ndarray.__setitem__", ()),
        ("asarray", ()),
        ("add.at", ()),
    ]
    assert (counts.called("matmul"), counts.called("dot")) == (1, 0)


def test_bfloat16():
    dtype = pytest.importorskip("ml_dtypes").bfloat16
    x = strict.asarray(V.astype(dtype))
    for y in (x + x, x * 2.0, 1 - x, np.exp(x)):
        assert y.dtype == dtype
    assert np.where(x > 0, x, x).dtype == np.float32, "CuPy has no where of its own for them"
    with pytest.raises(TypeError):
        np.add.at(x, strict.asarray(I), x)


def test_dlpack():
    np.testing.assert_array_equal(np.from_dlpack(strict.asarray(V)), V)
    same(strict.from_dlpack(V), V)
