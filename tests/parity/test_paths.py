"""The compiled index of paths: whatever it finds, the tree finds too; and it does find what is plain."""

from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello import _speedups
from cello.errors import BadRequest
from cello.routing.pattern import parse
from cello.routing.tree import Tree
from tests.parity.test_tree import METHODS, ROUTES, WORDS, pattern_of

pytestmark = pytest.mark.skipif(not _speedups.enabled, reason=f"no compiled modules: {_speedups.reason}")

RAW = st.lists(st.sampled_from([*WORDS, "%61", "%2F", "%", "a%20b", "*", "é"]), max_size=5)
MANY = [f"/{'x' * (number % 30)}{number}/{{id}}" for number in range(2000)]


def make(routes):
    tree = Tree()
    for number, (method, path) in enumerate(routes):
        tree.add(method, parse(path), number)
    return tree, import_module("cello._speedups.paths").PathIndex(tree, lambda value, path: value)


def ask(tree, method, path):
    try:
        return tree.find_raw(method, path)
    except BadRequest:
        return None


@given(ROUTES, st.lists(st.tuples(METHODS, RAW), min_size=1, max_size=12))
def test_what_the_index_finds_the_tree_finds(routes, paths):
    tree, index = make(routes)
    for method, segments in paths:
        path = "/" + "/".join(segments)
        raw = path.encode("latin-1")
        found = ask(tree, method, path)
        indexed = index.look_up(method.encode(), raw)
        assert indexed is None or indexed == found
        line = index.look_up_line(f"{method} ".encode() + raw)
        assert line is None or (line, {}) == found


PLAIN = st.builds(pattern_of, st.lists(st.sampled_from(["a", "b", "{x}"]), max_size=4), st.just(False))


@given(
    st.lists(st.tuples(METHODS, PLAIN)),
    st.lists(st.tuples(METHODS, st.lists(st.sampled_from(["a", "b", "7", ""]), max_size=4)), min_size=1),
)
def test_among_plain_routes_it_finds_all_that_the_tree_finds(routes, paths):
    tree, index = make(routes)
    for method, segments in paths:
        path = "/" + "/".join(segments)
        assert index.look_up(method.encode(), path.encode()) == ask(tree, method, path)


def test_two_thousand_siblings_are_told_apart():
    tree, index = make([("GET", path) for path in MANY])
    for number, path in enumerate(MANY):
        asked = path.replace("{id}", "7")
        assert index.look_up(b"GET", asked.encode()) == (number, {"id": "7"}) == tree.find_raw("GET", asked)


def test_more_parameters_than_it_has_room_for_are_left_to_the_tree():
    for count in (16, 17):
        path = "".join(f"/{{p{place}}}" for place in range(count))
        tree, index = make([("GET", path)])
        asked = "/v" * count
        assert tree.find_raw("GET", asked) is not None
        assert (index.look_up(b"GET", asked.encode()) is None) is (count == 17)


@pytest.mark.parametrize("path", [b"", b"*", b"x", b"/%61"], ids=["nothing", "a star", "no slash", "an escape"])
def test_what_is_no_plain_path_is_not_found(path):
    _, index = make([("GET", "/a"), ("GET", "/{x}"), ("GET", "/")])
    assert index.look_up(b"GET", path) is None
