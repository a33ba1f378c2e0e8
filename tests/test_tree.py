"""Nested containers: leaves out, and back into containers of the same kind."""

import collections
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad._tree import leaves, map_leaves, matched, named_leaves, unflatten
from tapegrad.errors import ShapeError

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


def test_dicts_of_other_kinds_stay_what_they_are():
    made = map_leaves(lambda x: x + 1, collections.defaultdict(list, a=1))
    assert made == {"a": 2}
    assert made.default_factory is list
    assert map_leaves(lambda x: x + 1, collections.Counter("aab")) == {"a": 3, "b": 2}


def test_leaves_have_names_as_they_are_written():
    class Own:
        parts = (1.0, [2.0])

    tg.register_container(Own, lambda own: own.parts, lambda own, parts: own)
    tree = {"w": [1.0, Pair(2.0, Box(3.0))], 5: None, "o": Own()}
    assert named_leaves(tree, "x") == [
        ("x['w'][0]", 1.0),
        ("x['w'][1].a", 2.0),
        ("x['w'][1].b.content", 3.0),
        ("x['w'][1].b.label", "box"),
        ("x['o'].entry0", 1.0),
        ("x['o'].entry1[0]", 2.0),
    ]


@given(trees)
def test_a_tree_matches_itself(tree):
    assert matched(tree, tree, "x", "it") == named_leaves(tree, "x")


def test_matching_goes_by_key_and_takes_lists_for_tuples():
    like = {"a": (1.0, 2.0), "b": 3.0}
    assert matched({"b": "third", "a": ["first", "second"]}, like, "x", "it") == [
        ("x['a'][0]", "first"),
        ("x['a'][1]", "second"),
        ("x['b']", "third"),
    ]


@pytest.mark.parametrize(
    ("tree", "like", "words"),
    [
        ([1.0], 1.0, "got a list of 1 entry for x, expected one array or number, as in it"),
        (1.0, [1.0], "got one float for x, expected a list of 1 entry, as in it"),
        (None, [1.0], "got None for x, expected a list of 1 entry"),
        (1.0, None, "got one float for x, expected None"),
        ([1.0], [1.0, 2.0], "got a list of 1 entry for x, expected a list of 2 entries"),
        ({"a": 1.0}, {"b": 1.0}, r"got keys \['a'\] for x, expected \['b'\]"),
        ({"a": [1.0]}, {"a": 1.0}, r"got a list of 1 entry for x\['a'\], expected one array"),
        (Box(1.0), Pair(1.0, 2.0), "got a Box of 2 entries for x, expected a Pair of 2 entries"),
        ({"a": 1.0}, [1.0], "got a dict of 1 entry for x, expected a list of 1 entry"),
    ],
)
def test_structures_that_do_not_match(tree, like, words):
    with pytest.raises(ShapeError, match=words):
        matched(tree, like, "x", "it")


def test_lists_and_tuples_whose_classes_take_other_arguments():
    class Interval(tuple):
        def __new__(cls, low, high=0.0):
            return super().__new__(cls, (low, high))

    class Named(list):
        def __init__(self, name, entries):
            super().__init__(entries)
            self.name = name

    found = tg.grad(lambda p: p[0] * p[1])(Interval(2.0, 3.0))
    assert type(found) is Interval
    assert found == (3.0, 2.0)
    given = Named("weights", [2.0, 3.0])
    found = tg.grad(lambda p: p[0] * p[1])(given)
    assert (type(found), found.name, list(found)) == (Named, "weights", [3.0, 2.0])
    assert list(given) == [2.0, 3.0]
