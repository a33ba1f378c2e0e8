"""Nested containers: leaves out, and back into containers of the same kind."""

import collections
import dataclasses

from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._tree import leaves, map_leaves, unflatten

Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass
class Box:
    content: object
    label: str = "box"


numbers = st.floats(allow_nan=False)
trees = st.recursive(
    numbers | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(collections.OrderedDict, st.dictionaries(st.text(max_size=2), inner, max_size=2))
    ),
    max_leaves=8,
)


@given(trees)
def test_unflatten_undoes_leaves(tree):
    again = unflatten(tree, leaves(tree))
    assert again == tree
    assert type(again) is type(tree)


@given(trees)
def test_map_leaves_keeps_the_structure(tree):
    doubled = map_leaves(lambda x: (x, x) and -x, tree)
    assert leaves(doubled) == [-x for x in leaves(tree)]


def test_dataclasses_and_registered_classes():
    box = Box([1.0, 2.0])
    assert leaves(box) == [1.0, 2.0, "box"]
    assert map_leaves(lambda x: x * 2, box) == Box([2.0, 4.0], "boxbox")

    class Own:
        def __init__(self, *parts):
            self.parts = parts

    tg.register_container(Own, lambda own: own.parts, lambda own, parts: Own(*parts))
    assert map_leaves(lambda x: x + 1, Own(1, 2)).parts == (2, 3)
