"""Strategies draw what they promise, shrink to small examples, and print code that gives the same values."""

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.vendor.pretty import pretty

import tapegrad as tg
from tapegrad._tree import leaves
from tapegrad.ops._domains import booleans, integers
from tapegrad.testing import (
    LAYOUTS,
    _sweep,
    anything,
    arrays,
    as_code,
    away_from,
    axes,
    broadcastable_arrays,
    distinct,
    einsums,
    indices,
    interval,
    invertible,
    matmul_arrays,
    nested,
    nonzero,
    orthogonal,
    positive,
    positive_definite,
    real,
    shapes,
    simplex,
    symmetric,
    tensors,
    triangular,
    unit_norm,
)

ELEMENTWISE = [real, anything, positive, nonzero, distinct, interval(-1, 2), away_from(0.0, 1.0), booleans]
ELEMENTWISE += [away_from(0.5, within=2.0, gap=0.25), integers(-2, 3)]
VECTORS = [unit_norm, simplex]
MATRICES = [invertible, positive_definite, symmetric(), symmetric(gap=0.5), orthogonal, triangular(), triangular(False)]
DOMAINS = [*ELEMENTWISE, *VECTORS, *MATRICES]
NAMES = {"np": np, "tg": tg, "complex": complex}

minimal = settings(max_examples=20_000, derandomize=True, database=None)


def smallest(strategy, condition=lambda value: True):
    return find(strategy, condition, settings=minimal)


def side(domain):
    return st.integers(0, 3).map(lambda n: (n, n)) if domain in MATRICES else shapes()


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


# Domains: one vocabulary for rows and strategies


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@given(data=st.data())
def test_what_is_drawn_lies_in_the_domain(domain, data):
    dtype = data.draw(
        st.sampled_from([np.float16, np.float32, np.float64]) if domain in ELEMENTWISE else st.just(float)
    )
    array = data.draw(arrays(domain, side(domain), dtype))
    assert domain.contains(array)
    assert array.dtype == dtype or array.dtype.kind in "bi"
    if domain.complex:
        assert domain.contains(data.draw(arrays(domain, side(domain), np.complex128)))


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_sweep_draws_from_the_same_domains(domain, seed):
    for shape in ((3, 3), (2, 1, 1), (0, 0)):
        assert domain.contains(domain.sample(np.random.default_rng(seed), shape))


@pytest.mark.parametrize(
    ("domain", "outside"),
    [
        (real, 4.0),
        (real, np.nan),
        (positive, 0.0),
        (nonzero, 0.1),
        (away_from(1.0), 1.05),
        (integers(0, 3), 3),
        (distinct, np.ones(2)),
        (unit_norm, np.ones(2)),
        (simplex, np.ones(2)),
        (simplex, np.array([1.5, -0.5])),
        (symmetric(), np.array([[1.0, 2.0], [0.0, 3.0]])),
        (symmetric(), np.eye(2)),
        (positive_definite, -np.eye(2)),
        (orthogonal, 2 * np.eye(2)),
        (invertible, np.ones((2, 2))),
        (triangular(), np.ones((2, 2))),
        (triangular(lower=False), np.zeros((2, 2))),
        (positive, np.array(1j)),
    ],
    ids=str,
)
def test_what_lies_outside_is_seen(domain, outside):
    assert not domain.contains(outside)


def test_every_name_of_a_domain_makes_it():
    names = {"interval": interval, "away_from": away_from, "symmetric": symmetric, "triangular": triangular}
    names |= {"integers": integers, "booleans": booleans}
    names |= {domain.name: domain for domain in DOMAINS if domain.name.isidentifier()}
    for domain in DOMAINS:
        rng, again = np.random.default_rng(0), np.random.default_rng(0)
        assert np.array_equal(eval(repr(domain), names).draw(rng, (2, 2)), domain.draw(again, (2, 2)))


def test_samples_of_all_ops_lie_in_their_domains():
    for entry in _sweep.entries():
        for dtype in "dD":
            sample, domains = entry.sample(dtype), _sweep._domains(entry.op, entry.case)
            for i, array in enumerate(sample.arrays):
                domain = domains[min(i, len(domains) - 1)]
                assert domain.contains(array), f"{entry}: {array!r} is not in {domain}"


# Layouts


@pytest.mark.parametrize(
    ("layout", "holds"),
    [
        ("contiguous", lambda a: a.flags.c_contiguous and a.flags.writeable),
        ("fortran", lambda a: a.flags.f_contiguous),
        ("strided", lambda a: not a.flags.c_contiguous and a.strides[-1] > 0),
        ("reversed", lambda a: a.strides[-1] < 0),
        ("read-only", lambda a: not a.flags.writeable),
    ],
)
@given(data=st.data())
def test_layouts(layout, holds, data):
    assert holds(data.draw(arrays(real, (2, 3), layout=layout)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
@given(data=st.data())
def test_layouts_of_0d_and_empty_arrays(layout, shape, data):
    assert data.draw(arrays(anything, shape, layout=layout)).shape == shape


# Groups


@given(group=broadcastable_arrays(real, positive, nonzero))
def test_broadcastable_arrays_broadcast(group):
    assert (group[0] + group[1] + group[2]).shape == np.broadcast_shapes(*(a.shape for a in group))


@given(pair=matmul_arrays(anything, dtype=np.complex128))
def test_matmul_arrays_multiply(pair):
    assert (pair[0] @ pair[1]).dtype == np.complex128


@pytest.mark.parametrize("ndims", [(1, 1), (1, 2), (2, 1), (3, 2), (2, 4), (1, 3)])
def test_matmul_arrays_have_every_mixture_of_axes(ndims):
    x, y = smallest(matmul_arrays(), lambda pair: (pair[0].ndim, pair[1].ndim) == ndims)
    assert x.size == y.size == 0


@given(call=einsums())
def test_einsum_takes_what_is_drawn(call):
    subscripts, *operands = call
    np.einsum(subscripts, *operands)


@pytest.mark.parametrize("has", ["ii", "...", "->", "i,i", ",", "ij->ji", "...i->...i"])
def test_equations_cover(has):
    assert has in smallest(einsums(), lambda call: has in call[0])[0]


@given(data=st.data(), shape=shapes())
def test_axes_fit_a_shape(data, shape):
    np.sum(np.ones(shape), **data.draw(axes(shape)))


@given(data=st.data(), shape=shapes())
def test_indices_index(data, shape):
    np.zeros(shape)[data.draw(indices(shape))]


def entries(index):
    return index if isinstance(index, tuple) else (index,)


@pytest.mark.parametrize(
    "kind",
    [
        lambda index: index is Ellipsis or (isinstance(index, tuple) and any(e is Ellipsis for e in index)),
        lambda index: any(e is None for e in entries(index)),
        lambda index: any(isinstance(e, slice) and e.step is not None and e.step < 0 for e in entries(index)),
        lambda index: isinstance(index, np.ndarray) and index.dtype == bool and index.any(),
        lambda index: sum(isinstance(e, np.ndarray) for e in entries(index)) > 1,
        lambda index: (
            any(isinstance(e, np.ndarray) for e in entries(index)) and any(isinstance(e, slice) for e in index)
        ),
        lambda index: {np.ndarray, type(None)} <= {type(e) for e in entries(index)},
        lambda index: {e.dtype.kind for e in entries(index) if isinstance(e, np.ndarray)} == {"b", "i"},
    ],
    ids=["ellipsis", "newaxis", "backwards", "mask", "advanced", "mixed", "advanced+newaxis", "mask+integers"],
)
def test_indices_cover(kind):
    smallest(indices((2, 3)), kind)


@given(tree=nested(tensors(shape=())))
def test_nested_containers_have_leaves(tree):
    assert all(isinstance(leaf, tg.Tensor) for leaf in leaves(tree))


# What they shrink to


@pytest.mark.parametrize(
    ("domain", "shape", "expected"),
    [
        (real, (2,), [0, 0]),
        (anything, (), 0),
        (positive, (2,), [1, 1]),
        (interval(2, 5), (2,), [2, 2]),
        (away_from(0.0), (1,), [0.1]),
        (unit_norm, (2,), [1, 0]),
        (simplex, (2,), [0.5, 0.5]),
        (invertible, (2, 2), [[2, 0], [0, 2]]),
        (positive_definite, (2, 2), [[1, 0], [0, 1]]),
        (orthogonal, (2, 2), [[1, 0], [0, 1]]),
        (triangular(), (2, 2), [[1, 0], [0, 1]]),
        (symmetric(gap=0.5), (2, 2), [[-1, 0], [0, 0]]),
        (booleans, (2,), [True, True]),
        (integers(1, 4), (2,), [1, 1]),
    ],
    ids=str,
)
def test_arrays_shrink_to_simple_numbers(domain, shape, expected):
    found = smallest(arrays(domain, shape))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.flags.c_contiguous
    assert found.flags.writeable


def test_arrays_shrink_to_what_fails():
    found = smallest(arrays(real), lambda a: bool((a > 1).any()))
    assert found.size == 1
    assert found.max() == 2
    assert smallest(arrays(real), lambda a: a.ndim == 2 and a.size > 0).tolist() == [[0]]


def test_groups_shrink():
    x, y = smallest(broadcastable_arrays(real, positive), lambda pair: pair[0].shape != pair[1].shape)
    assert sorted([x.shape, y.shape]) in ([(), (0,)], [(0,), (1,)])
    assert smallest(axes((2, 3)), lambda keywords: keywords.get("axis") is not None) == {"axis": 0}
    assert smallest(indices((2, 3)), lambda index: isinstance(index, np.ndarray)).tolist() in (
        [[False] * 3] * 2,
        [False] * 2,
    )
    subscripts, x = smallest(einsums(), lambda call: len(call[0].partition("->")[0]) == 2)
    assert (subscripts, x.shape) == ("ii->", (0, 0))
    found = smallest(nested(tensors(shape=())), lambda tree: len(leaves(tree)) == 2)
    assert isinstance(found, (list, tuple))


# Code


@given(array=arrays(anything, dtype=st.sampled_from([np.float16, np.float32, np.float64, np.complex64, np.complex128])))
def test_printed_arrays_are_code_for_the_same_array(array):
    again = eval(pretty(array), NAMES)
    assert same(again, array)
    assert again.flags.writeable == array.flags.writeable
    if array.ndim and array.size and array.flags.writeable:
        assert again.flags.f_contiguous == array.flags.f_contiguous
        assert (again.strides[-1] < 0) == (array.strides[-1] < 0) or array.shape[-1] == 1


@given(tensor=tensors(dtype=st.sampled_from([np.float32, np.complex128])))
def test_printed_tensors_are_code_for_the_same_tensor(tensor):
    again = eval(pretty(tensor), NAMES)
    assert same(again.data, tensor.data)
    assert again.requires_grad == tensor.requires_grad


@given(data=st.data(), shape=shapes())
def test_code_of_indices_gives_the_same_entries(data, shape):
    index = data.draw(indices(shape))
    x = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(x[eval(as_code(index), NAMES)], x[index])


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        np.float32(0.1),
        np.array([np.nan, np.inf, -np.inf, -0.0]),
        np.array([complex(np.nan, 1), 1 - 2j]),
        np.array([], dtype=np.int32),
        np.array([True, False]),
        np.arange(3, dtype=np.uint8),
        {"a": [np.ones(2), (np.zeros((0, 2)),)], "b": None},
        "name",
    ],
    ids=str,
)
def test_code_of_any_value(value):
    again = eval(as_code(value), NAMES)
    assert type(again) is type(value)
    for a, b in zip(leaves(again), leaves(value), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def test_large_arrays_are_printed_as_numpy_does():
    assert len(pretty(np.zeros(10_000))) < 100


def test_hypothesis_prints_code_for_what_failed():
    @settings(derandomize=True, database=None)
    @given(x=arrays(positive, (1, 2), np.float32))
    def test(x):
        assert x.sum() < 2

    with pytest.raises(AssertionError) as raised:
        test()
    assert "x=np.array([[1.0, 1.0]], dtype=np.float32)" in "\n".join(raised.value.__notes__)
