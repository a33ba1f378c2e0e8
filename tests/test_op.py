"""The notation: what a row keeps, how settings are bound, how forward mode follows, what is refused."""

from collections import namedtuple

import numpy as np
import pytest

import tapegrad as tg
from tapegrad._op import CLASSIFIED, RULES, Op
from tapegrad.errors import ShapeError, UnsupportedError
from tapegrad.ops import (
    binary,
    composite,
    constant,
    elementwise,
    general,
    linear,
    metadata,
    multilinear,
    refused,
    unary,
)


def leaf(value):
    return tg.tensor(value, requires_grad=True)


@pytest.fixture(autouse=True)
def _rows_of_these_tests_are_forgotten():
    from tapegrad._tensor import OPS

    tables = (OPS, RULES, CLASSIFIED)
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


# What is kept


def kept(t):
    """Return the arrays that the record of `t` keeps."""
    record = t._record
    values = [record.for_x, record.for_y] if not record.op.many else list(record.for_x)
    flat = [v for value in values for v in (value if type(value) is tuple else (value,))]
    return [v for v in flat if isinstance(v, np.ndarray)]


def test_only_what_a_tracked_input_needs_is_kept():
    x, c = leaf(np.ones(3)), np.arange(3.0)
    assert kept(x + c) == []
    (only,) = kept(x * c)
    assert only is c
    assert len(kept(x * leaf(c))) == 2
    y = np.exp(x)
    (only,) = kept(y)
    assert only is y.data
    assert kept(np.reshape(x, (3, 1))) == []
    assert kept(np.sum(x)) == []


def test_records_of_one_space_share_it():
    x = leaf(np.ones(3))
    for y in (x * np.ones(3), x * 2.0, np.exp(x), x + x, 3 - x, (x * np.ones((2, 3)))[0]):
        assert y._record.space is x._record.space
    assert (x * np.ones((2, 3)))._record.space == ((2, 3), np.dtype(np.float64))
    assert (x * np.float32(2))._record.space is x._record.space
    assert np.abs(x * 1j)._record.space is x._record.space


# Settings and inputs


def test_settings_arrive_by_position_by_keyword_and_by_default():
    def roll(x, shift=1, axis=0):
        return np.roll(x, shift, axis)

    seen = []

    def transpose(g, shift=1, axis=0):
        seen.append((shift, axis))
        return np.roll(g, -shift, axis)

    roll = linear(roll, transpose)
    for call in (lambda x: roll(x), lambda x: roll(x, 2), lambda x: roll(x, axis=1), lambda x: roll(x=x, shift=3)):
        x = leaf(np.arange(4.0).reshape(2, 2))
        weights = np.arange(4.0).reshape(2, 2)
        out = call(x)
        np.sum(out * weights).backward()
        shift, axis = seen[-1]
        assert np.array_equal(x.grad.data, np.roll(weights, -shift, axis))
    assert seen == [(1, 0), (2, 0), (1, 1), (3, 0)]


def test_unknown_and_tracked_settings_are_refused_for_tracked_tensors():
    def scaled(x, factor=1.0, label=None, other=None):
        return x * factor

    op = linear(scaled, lambda g, factor=1.0: g * factor, free="label")
    x = leaf(np.ones(2))
    op(x, 2.0, label="free")
    op(tg.tensor([1.0]), other="plain")
    with pytest.raises(UnsupportedError, match=r"scaled.*does not support the argument other.*factor, label"):
        op(x, other=1)
    with pytest.raises(UnsupportedError, match=r"scaled has no derivative by this argument"):
        op(x, leaf(2.0))
    assert op(x, tg.tensor(2.0)).tolist() == [2.0, 2.0]


def test_ops_on_plain_arrays_give_plain_arrays():
    half = unary(lambda a: a / 2, lambda g: g / 2, name="half")
    assert isinstance(half(np.ones(2)), np.ndarray)
    assert isinstance(half(tg.tensor([1.0])), tg.Tensor)


# Kinds, in both modes


def check(f, *xs):
    """Compare VJP and JVP of `f` by the pairing identity, and the JVP with a difference quotient."""
    rng = np.random.default_rng(0)
    ts = tuple(rng.normal(size=np.shape(x)) for x in xs)
    y, pull = tg.vjp(f, *xs)
    _, tangent = tg.jvp(f, xs, ts)
    ys, tangents = (y, tangent) if isinstance(y, tuple) else ((y,), (tangent,))
    gs = tuple(rng.normal(size=v.shape) for v in ys)
    cotangents = pull(gs if isinstance(y, tuple) else gs[0])
    left = sum(np.vdot(g, t.data) for g, t in zip(gs, tangents, strict=True))
    right = sum(np.vdot(c.data, t) for c, t in zip(cotangents, ts, strict=True))
    assert left == pytest.approx(right, rel=1e-10)
    h = 1e-6
    ahead, behind = (f(*(tg.tensor(x + s * h * t) for x, t in zip(xs, ts, strict=True))) for s in (1, -1))
    ahead, behind = (ahead, behind) if isinstance(y, tuple) else ((ahead,), (behind,))
    for a, b, t in zip(ahead, behind, tangents, strict=True):
        assert np.allclose((a.data - b.data) / (2 * h), t.data, rtol=1e-7, atol=1e-7)


def test_every_kind_in_both_modes():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0.5, 2, (2, 3)), rng.uniform(0.5, 2, (2, 3))
    check(unary(lambda x: x**3, lambda g, x: g * 3 * x * x, name="cube"), x)
    check(binary(lambda x, y: x * y * y, lambda g, y: g * y * y, lambda g, x, y: g * 2 * x * y, name="xyy"), x, y)
    check(binary(lambda x, y: x - y, lambda g: g, lambda g: -g, name="minus"), x, y[0])
    three = elementwise(
        lambda x, y, z: x * y * z,
        lambda g, y, z: g * y * z,
        lambda g, x, z: g * x * z,
        lambda g, x, y: g * x * y,
        inputs="x y z",
        name="three",
    )
    check(three, x, y, y[:1])
    check(linear(lambda x: np.concatenate([x, x]), lambda g: g[:2] + g[2:], name="twice"), x)
    check(multilinear(lambda x, y: x @ y, lambda g, y: g @ y.T, lambda g, x: x.T @ g, name="mm"), x, y.T.copy())
    joined = linear(
        lambda xs: np.concatenate(xs),
        lambda g, k, shapes: g[sum(s[0] for s in shapes[:k]) : sum(s[0] for s in shapes[: k + 1])],
        inputs="*xs",
        name="joined",
    )
    check(lambda x, y: joined([x, y, x]), x, y[:1])
    check(general(lambda x: np.exp(x), "x", "out", lambda g, out: g * out, name="by_transposition"), x)
    by_hand = general(lambda x: x**2, "x", "out", lambda g, x: 2 * g * x, jvp=lambda t, x: 2 * t * x, name="by_hand")
    check(by_hand, x)


Pair = namedtuple("Pair", "s d")


def zero(g):
    return 0.0 if g is None else g


def sum_and_difference(x, y):
    return Pair(x * y, x / y)


def test_several_results_keep_their_type_and_get_their_own_cotangents():
    both = general(
        sum_and_difference,
        "x y",
        "s d",
        vjp=[
            lambda gs, gd, y: zero(gs) * y + zero(gd) / y,
            lambda gs, gd, x, y, d: zero(gs) * x - zero(gd) * d / y,
        ],
    )
    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    result = both(leaf(x), leaf(y))
    assert isinstance(result, Pair)
    check(lambda x, y: tuple(both(x, y)), x, y)
    # Only one result used: the other's cotangent is None.
    a = leaf(x)
    np.sum(both(a, y).d).backward()
    assert np.allclose(a.grad.data, 1 / y)
    # Second order through a kept result.
    b = leaf(y)
    (g,) = tg.gradients(np.sum(both(x, b).d), b, create_graph=True)
    np.sum(g).backward()
    assert np.allclose(b.grad.data, 2 * x / y**3)
    # Forward over reverse.
    _, t = tg.jvp(tg.grad(lambda y: np.sum(both(x, y).d)), (y,), (np.ones(2),))
    assert np.allclose(t.data, 2 * x / y**3)


def test_composites_constants_metadata_and_refusals():
    def plain_norm(x):
        return np.sqrt(np.sum(x * x))

    def plain_sign(x):
        return np.sign(x)

    def plain_shape(x):
        return x.shape

    def plain_bad(x):
        return x

    composite(plain_norm, plain_norm)
    constant(plain_sign)
    metadata(plain_shape)
    refused(plain_bad, because="use another")
    from tapegrad._tensor import OPS

    x = leaf([3.0, 4.0])
    OPS[plain_norm](x).backward()
    assert np.allclose(x.grad.data, [0.6, 0.8], rtol=1e-15)
    assert not OPS[plain_sign](x).requires_grad
    assert OPS[plain_shape](x) == (2,)
    with pytest.raises(UnsupportedError, match=r"plain_bad is refused on tensors: use another"):
        OPS[plain_bad](x)


# Faults of users' rules


@pytest.mark.parametrize(
    "row",
    [
        lambda: unary(lambda a: a * 1.0, lambda g: np.sum(g), name="bad"),
        lambda: linear(lambda a: a * 1.0, lambda g: g[:, :2], name="bad"),
        lambda: general(lambda a: a * 1.0, "x", "out", lambda g: g[0][0], name="bad"),
    ],
)
def test_wrong_shapes_of_users_rules_name_op_and_input(row):
    bad = row()
    x = leaf(np.ones((2, 3)))
    with pytest.raises(ShapeError, match="the rule of bad for input 0"):
        bad(x).backward(np.ones((2, 3)))
    assert x.grad is None


def test_a_forward_only_input_gets_no_cotangent():
    op = Op(lambda x, y: x * y, "binary", [lambda g, y: g * y, lambda g, x: g * x], name="seen")
    assert op.names == (("y",), ("x",))
    x = leaf(2.0)
    y = x * 3.0
    assert y._record.y is None


def test_a_misspelled_residual_is_refused_when_the_row_is_written():
    with pytest.raises(TypeError, match=r"the rule of bad asks for ou, expected inputs \(x\), results \(out\)"):
        unary(lambda a: a * 1.0, lambda g, ou: g * ou, name="bad")


def test_a_rule_that_returns_no_array_is_named():
    bad = unary(lambda a: a * 1.0, lambda g: None, name="bad")
    with pytest.raises(ShapeError, match="the rule of bad for input 0 returned NoneType"):
        bad(leaf(1.0)).backward()


def test_constants_given_as_lists_are_arrays_to_tangents_too():
    a = np.array([[3.0, 1.0], [1.0, 2.0]])

    def f(b):
        return lambda a: tg.grad(lambda a: np.linalg.solve(a, b).sum())(a)

    lists, arrays = (tg.jvp(f(b), (a,), (np.ones((2, 2)),))[1] for b in ([1.0, 2.0], np.array([1.0, 2.0])))
    np.testing.assert_array_equal(lists.numpy(), arrays.numpy())


def test_settings_that_a_call_leaves_out_are_the_functions_own_in_users_rules():
    def total(x, axis=-1):
        return np.sum(x, axis=axis)

    seen = []
    total = linear(total, lambda g, x_shape, axis: seen.append(axis) or np.broadcast_to(g[..., None], x_shape))
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    total(x).sum().backward()
    assert seen == [-1]
