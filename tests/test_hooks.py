"""Hooks and kept gradients: what they see, what they may change, and that they leave the tape's laws alone."""

import gc
import weakref

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import HistoryError, LeafError, ShapeError


def leaf(value):
    return tg.tensor(value, requires_grad=True)


def test_a_hook_sees_the_whole_cotangent_once_and_may_replace_it():
    x = leaf([1.0, 2.0])
    y = x * 3.0
    seen = []
    y.register_hook(seen.append)
    y.register_hook(lambda g: 10 * g)
    (y * y + y * [1.0, 2.0]).sum().backward()
    assert [g.tolist() for g in seen] == [[7.0, 14.0]]
    assert x.grad.tolist() == [210.0, 420.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda x: np.exp(x),
        lambda x: x * x,
        lambda x: 2.0 - x,
        lambda x: np.concatenate([x, x]),
        lambda x: np.einsum("i->i", x),
        lambda x: np.linalg.eigh(np.outer(x, x) + np.diag([1.0, 3.0]))[0],
        lambda x: np.sum(x, keepdims=True),
    ],
)
def test_hooks_on_results_of_every_kind_of_op_double_what_passes(make):
    plain, hooked = leaf([0.5, 1.5]), leaf([0.5, 1.5])
    make(plain).sum().backward()
    y = make(hooked)
    y.register_hook(lambda g: 2 * g)
    y.sum().backward()
    np.testing.assert_array_equal(hooked.grad.numpy(), 2 * plain.grad.numpy())


def test_a_leafs_hook_sees_what_this_replay_adds_and_changes_only_that():
    x = leaf([1.0, 2.0])
    x.grad = np.array([5.0, 5.0])
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()) or g.clip(None, 3.0))
    (x * x + x).sum().backward()
    assert seen == [[3.0, 5.0]]
    assert x.grad.tolist() == [8.0, 8.0]


def test_hooks_see_complex_gradients_in_the_convention_of_grad():
    z = leaf(1 + 2j)
    w = z * 1.0
    seen = []
    for t in (z, w):
        t.register_hook(lambda g: seen.append(g.item()))
    w.register_hook(lambda g: 1j * g)
    np.abs(w**2).backward()
    expected = 2 * (1 + 2j)
    np.testing.assert_allclose(seen, [expected, 1j * expected])
    np.testing.assert_allclose(z.grad.item(), 1j * expected)


def test_hooks_are_differentiated_where_the_replay_is():
    x = leaf(2.0)
    y = x * 1.0
    with y.register_hook(lambda g: g * g):
        (y**2).backward(create_graph=True)
    assert x.grad.item() == 16.0
    first = x.grad
    x.grad = None
    first.backward()
    assert x.grad.item() == 16.0


def test_hooks_count_in_gradients_of_intermediates_and_under_retained_history():
    x = leaf(3.0)
    y = x * 2.0
    y.register_hook(lambda g: g + 1)
    loss = y * y
    assert [g.item() for g in tg.gradients(loss, [y, x], retain_graph=True)] == [13.0, 26.0]
    for _ in range(2):
        loss.backward(retain_graph=True)
    assert x.grad.item() == 52.0


def test_removed_hooks_are_not_called():
    x = leaf(1.0)
    seen = []
    with x.register_hook(lambda g: seen.append("in")) as handle:
        (2 * x).backward()
    (2 * x).backward()
    handle.remove()
    assert seen == ["in"]


def test_hooks_wait_for_all_gradients_before_a_leaf_is_complete():
    x, w = leaf(1.0), leaf(2.0)
    seen = []
    look = [
        t.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, x.grad.item(), w.grad.item())))
        for t in (x, w)
    ]
    (x * w).backward()
    for handle in look:
        handle.remove()
    assert sorted(seen) == [(False, 2.0, 1.0), (True, 2.0, 1.0)]
    x.register_post_accumulate_grad_hook(lambda t: setattr(t, "grad", None))
    (x * w).backward()
    assert x.grad is None


def test_hooks_do_not_keep_their_tensor_alive():
    x = leaf(np.ones(3))
    x.register_post_accumulate_grad_hook(lambda t: None)
    y = np.exp(x)
    y.retain_grad()
    y.sum().backward()
    found = [weakref.ref(x), weakref.ref(y)]
    gc.disable()
    try:
        del x, y
        assert [ref() for ref in found] == [None, None]
    finally:
        gc.enable()


def test_retained_gradients_add_up_and_can_be_set_to_none():
    x = leaf([1.0, 2.0])
    y = x * 3.0
    assert y.grad is None
    y.retain_grad()
    y.retain_grad()
    loss = (y * y).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    assert (y.grad.tolist(), x.grad.tolist()) == ([12.0, 24.0], [36.0, 72.0])
    y.grad = None
    loss.backward()
    assert y.grad.tolist() == [6.0, 12.0]
    x.retain_grad()
    assert x.grad.tolist() == [54.0, 108.0]


def test_retained_gradients_have_memory_of_their_own():
    x = leaf([1.0, 2.0])
    y = x + 0.0
    y.retain_grad()
    y.backward(gradient=(g := np.ones(2)))
    g += 1
    y.grad += 5
    assert x.grad.tolist() == [1.0, 1.0]


def test_failing_hooks_change_no_gradient():
    x, w = leaf(1.0), leaf(1.0)
    y = x * w
    y.retain_grad()
    z = y * 2.0

    def fail(g):
        raise ArithmeticError("no")

    w.register_hook(fail)
    with pytest.raises(ArithmeticError):
        z.backward()
    assert x.grad is None
    assert w.grad is None
    assert y.grad is None


def test_what_hooks_return_is_checked():
    x = leaf([1.0, 2.0])
    handle = x.register_hook(lambda g: g[:1])
    with pytest.raises(ShapeError, match=r"a hook returned a cotangent of shape \(1,\)"):
        (2 * x).sum().backward()
    handle.remove()
    x.register_hook(lambda g: g * 1j)
    with pytest.raises(ShapeError, match="dtype complex128"):
        (2 * x).sum().backward()
    y = leaf(np.ones(2, np.float32)) * np.float32(1)
    y.register_hook(lambda g: g.astype(np.float64))
    y.register_hook(lambda g: [g.dtype.itemsize, 1.0])
    assert tg.gradients(y.sum(), [y])[0].tolist() == [4.0, 1.0]


def test_hooks_need_history():
    with pytest.raises(HistoryError, match="not tracked"):
        tg.tensor(1.0).register_hook(print)
    x = leaf(1.0)
    y = x * 2.0
    with pytest.raises(LeafError, match="register_hook"):
        y.register_post_accumulate_grad_hook(print)
    y.backward()
    with pytest.raises(HistoryError, match="released"):
        y.retain_grad()


def test_hooks_and_kept_gradients_on_the_inputs_of_transforms():
    def doubled(x):
        x.register_hook(lambda g: 2 * g)
        return (x * x).sum()

    def kept(x):
        x.retain_grad()
        y = (x * x).sum()
        y.backward(retain_graph=True)
        return y * x.grad[0].item()

    at = np.array([1.0, 3.0])
    assert tg.grad(doubled)(at).tolist() == [4.0, 12.0]
    assert not tg.value_and_grad(doubled)(at)[0].requires_grad
    assert tg.vjp(doubled, at)[1](1.0)[0].tolist() == [4.0, 12.0]
    assert tg.hessian(doubled)(at).tolist() == [[8.0, 0.0], [0.0, 8.0]]
    assert tg.grad(kept)(at).tolist() == [4.0, 12.0]
    x = leaf(at)
    tg.grad(doubled)(x).sum().backward()
    assert x.grad.tolist() == [8.0, 8.0]


def test_hooks_on_results_of_custom_rules():
    seen = []

    @tg.custom_rule(vjp=lambda g, x, y: (seen.append(g) or g * y, g * x))
    def product(x, y):
        return x * y

    @tg.custom_rule(vjp=lambda gq, gr, x: 2 * x * gq if gr is None else 2 * x * gq + 3 * gr, outputs="q r")
    def both(x):
        return x * x, 3 * x

    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    z = product(x, y)
    z.retain_grad()
    z.register_hook(lambda g: 10 * g)
    q, r = both(z)
    r.register_hook(lambda g: 2 * g)
    (q + r).sum().backward()
    assert z.grad.tolist() == [120.0, 220.0]
    assert x.grad.tolist() == [360.0, 880.0]
    assert y.grad.tolist() == [120.0, 440.0]
    assert len(seen) == 1


def test_retained_gradients_follow_assignment():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    y.retain_grad()
    y[0] = 0.0
    (y * [3.0, 4.0]).sum().backward()
    assert (y.grad.tolist(), x.grad.tolist()) == ([3.0, 4.0], [0.0, 8.0])


def test_hooks_are_functions():
    x = leaf([1.0, 2.0])
    for register in (x.register_hook, (x * 2).register_hook):
        with pytest.raises(TypeError, match="got str for a hook, expected a function"):
            register("clip")
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
