"""The compiled routing tree and the pure one: whatever is registered and asked, equal answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello import _speedups
from cello.routing.pattern import parse
from cello.routing.tree import PureTree, Tree

pytestmark = pytest.mark.skipif(not _speedups.enabled, reason=f"no compiled modules: {_speedups.reason}")

METHODS = st.sampled_from(["GET", "POST", "PUT"])
WORDS = ["a", "b", "7", "users", "", "a-b", "1.5"]
SEGMENTS = st.sampled_from(["a", "b", "users", "{x}", "{x:int}", "{x:float}", "{x}-{y}", "{x:regex([ab]+)}"])


def pattern_of(segments: list[str], wildcard: bool) -> str:
    """Return a path whose parameters have names of their own."""
    numbered = [part.replace("{x", f"{{x{place}").replace("{y", f"{{y{place}") for place, part in enumerate(segments)]
    return "/" + "/".join([*numbered, *(["{rest:path}"] if wildcard else [])])


ROUTES = st.lists(st.tuples(METHODS, st.builds(pattern_of, st.lists(SEGMENTS, max_size=4), st.booleans())), max_size=12)
PATHS = st.lists(st.tuples(METHODS, st.lists(st.sampled_from(WORDS), min_size=1, max_size=5)), min_size=1, max_size=12)


@given(ROUTES, PATHS)
def test_any_routes_and_paths_have_the_same_answers(
    routes: list[tuple[str, str]], paths: list[tuple[str, list[str]]]
) -> None:
    compiled, pure = Tree(), PureTree()
    for number, (method, path) in enumerate(routes):
        pattern = parse(path)
        compiled.add(method, pattern, number)
        pure.add(method, pattern, number)
    for method, segments in paths:
        asked = ["", *segments]
        assert compiled.find(method, asked) == pure.find(method, asked)
        assert compiled.methods(asked) == pure.methods(asked)


def test_what_the_application_uses_is_the_compiled_one() -> None:
    assert Tree is not PureTree
    assert Tree.__module__ == "cello._speedups.tree"
