"""The tree against a naive matcher that tries every pattern, and table by table; compiled and pure alike."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cello import _speedups
from cello.routing.pattern import CONVERTER, MIXED, PLAIN, STATIC, WILDCARD, Pattern, Segment, parse
from cello.routing.tree import PureTree, Tree

impl = pytest.mark.parametrize(
    "tree_class",
    [
        pytest.param(PureTree, id="py"),
        pytest.param(Tree, id="c", marks=pytest.mark.skipif(not _speedups.enabled, reason=_speedups.reason)),
    ],
)


def tree_of(tree_class, *routes):
    tree = tree_class()
    for route in routes:
        method, path = route.split(" ")
        tree.add(method, parse(path), route)
    return tree


def find(tree, method, path):
    return tree.find(method, path.split("/"))


PRECEDENCE = [
    "GET /x/*rest",
    "GET /x/{any}",
    "GET /x/{name}.json",
    "GET /x/{name}.tar.gz",
    "GET /x/{name}.gz",
    "GET /x/{word:regex([0-9a-f]+)}",
    "GET /x/{half:float}",
    "GET /x/{id:int}",
    "GET /x/7",
]


@impl
@pytest.mark.parametrize(
    ("path", "found", "params"),
    [
        pytest.param("/x/7", "GET /x/7", {}, id="static first"),
        pytest.param("/x/8", "GET /x/{id:int}", {"id": "8"}, id="int before float"),
        pytest.param("/x/8.5", "GET /x/{half:float}", {"half": "8.5"}, id="float before regex"),
        pytest.param("/x/8a", "GET /x/{word:regex([0-9a-f]+)}", {"word": "8a"}, id="regex before mixed"),
        pytest.param("/x/q.json", "GET /x/{name}.json", {"name": "q"}, id="mixed before plain"),
        pytest.param("/x/q.tar.gz", "GET /x/{name}.tar.gz", {"name": "q"}, id="longer text before shorter"),
        pytest.param("/x/q.gz", "GET /x/{name}.gz", {"name": "q"}, id="shorter text"),
        pytest.param("/x/.json", "GET /x/{any}", {"any": ".json"}, id="a parameter is never empty"),
        pytest.param("/x/q", "GET /x/{any}", {"any": "q"}, id="plain before wildcard"),
        pytest.param("/x/q/r", "GET /x/*rest", {"rest": "q/r"}, id="wildcard last"),
        pytest.param("/x/", "GET /x/*rest", {"rest": ""}, id="wildcard takes the empty remainder"),
        pytest.param("/x//", "GET /x/*rest", {"rest": "/"}, id="wildcard takes empty segments"),
    ],
)
@pytest.mark.parametrize("order", [1, -1], ids=["as written", "reversed"])
def test_precedence_does_not_depend_on_the_order_of_registration(tree_class, path, found, params, order):
    assert find(tree_of(tree_class, *PRECEDENCE[::order]), "GET", path) == (found, params)


@impl
def test_regexes_at_one_place_are_tried_in_order_of_registration(tree_class):
    wide, narrow = "GET /{w:regex([a-z]+)}", "GET /{n:regex(a+)}"
    assert find(tree_of(tree_class, wide, narrow), "GET", "/aa")[0] == wide
    assert find(tree_of(tree_class, narrow, wide), "GET", "/aa")[0] == narrow


@impl
@pytest.mark.parametrize(
    ("routes", "method", "path", "found"),
    [
        pytest.param(
            ["GET /users/me", "POST /users/{id}"], "POST", "/users/me", ("POST /users/{id}", {"id": "me"}),
            id="over the method, static to plain",
        ),
        pytest.param(
            ["GET /{id:int}", "PUT /{id}", "POST /*rest"], "POST", "/7", ("POST /*rest", {"rest": "7"}),
            id="over the method, down to the wildcard",
        ),
        pytest.param(
            ["GET /a/b/c", "GET /{x}/b/d"], "GET", "/a/b/d", ("GET /{x}/b/d", {"x": "a"}),
            id="out of a static branch",
        ),
        pytest.param(
            ["GET /{i:int}/{j}/end", "GET /{x}/*r"], "GET", "/1/2/other", ("GET /{x}/*r", {"x": "1", "r": "2/other"}),
            id="values of the abandoned branch are gone",
        ),
        pytest.param(
            ["GET /a/{x}/{y}/z", "GET /*rest"], "GET", "/a/1/2/3", ("GET /*rest", {"rest": "a/1/2/3"}),
            id="from deep down to the top's wildcard",
        ),
        pytest.param(
            ["GET /{a}.json/x", "GET /{b}/y"], "GET", "/f.json/y", ("GET /{b}/y", {"b": "f.json"}),
            id="out of a mixed branch",
        ),
    ],
)  # fmt: skip
def test_the_search_backtracks(tree_class, routes, method, path, found):
    assert find(tree_of(tree_class, *routes), method, path) == found


@impl
@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("GET /users", "/users/"),
        ("GET /users/", "/users"),
        ("GET /users/{id}", "/users/"),
        ("GET /users/{id}", "/users"),
        ("GET /users/{id}", "/users/1/"),
        ("GET /Users", "/users"),
        ("GET /files/*rest", "/files"),
        ("GET /{x:regex(.*)}", "/"),
        ("GET /a/../b", "/b"),
        ("GET /users", "/"),
    ],
)
def test_what_is_nearly_the_path_is_not_the_path(tree_class, route, path):
    assert find(tree_of(tree_class, route), "GET", path) is None


@impl
def test_a_decoded_slash_never_splits_a_segment(tree_class):
    tree = tree_of(tree_class, "GET /u/{id}", "GET /u/{id}/x")
    assert tree.find("GET", ["", "u", "a/x"]) == ("GET /u/{id}", {"id": "a/x"})


@impl
def test_each_method_names_its_parameters_itself(tree_class):
    tree = tree_of(tree_class, "GET /u/{id}", "POST /u/{who}")
    assert find(tree, "GET", "/u/1")[1] == {"id": "1"}
    assert find(tree, "POST", "/u/1")[1] == {"who": "1"}


@impl
def test_params_are_a_dict_of_the_request_alone(tree_class):
    tree = tree_of(tree_class, "GET /u/{id}", "GET /s")
    for path in ("/u/1", "/s"):
        find(tree, "GET", path)[1]["mine"] = "yes"
        assert "mine" not in find(tree, "GET", path)[1]


@impl
def test_adding_again_replaces_the_value(tree_class):
    tree = tree_of(tree_class, "GET /u/{id}")
    tree.add("GET", parse("/u/{id}"), "another")
    assert find(tree, "GET", "/u/1") == ("another", {"id": "1"})


@impl
def test_methods_come_from_every_pattern_that_matches(tree_class):
    tree = tree_of(
        tree_class, "GET /u/me", "PUT /u/{id:int}", "POST /u/{id}", "DELETE /u/{n}.json", "PATCH /*rest", "HEAD /other"
    )
    assert tree.methods(["", "u", "me"]) == {"GET", "POST", "PATCH"}
    assert tree.methods(["", "u", "7"]) == {"PUT", "POST", "PATCH"}
    assert tree.methods(["", "u", "a.json"]) == {"DELETE", "POST", "PATCH"}
    assert tree.methods(["", "nowhere", "x", ""]) == {"PATCH"}
    assert tree_of(tree_class, "GET /a").methods(["", "b"]) == set()


# The naive matcher: every pattern on its own, by hand instead of by regular expression, then the best of those.


def read_mixed(segment: Segment, text: str) -> list[str] | None:
    values: list[str] = []
    parts = list(segment.parts)
    for index, part in enumerate(parts):
        if isinstance(part, str):
            if not text.startswith(part):
                return None
            text = text.removeprefix(part)
            continue
        if part.converter == "int":
            end = len(text) - len(text.lstrip("0123456789"))
        elif index == len(parts) - 1:
            end = len(text)
        elif index == len(parts) - 2:
            end = len(text) - len(parts[-1])
        else:
            end = text.find(parts[index + 1], 1)
        if end < 1:
            return None
        values.append(text[:end])
        text = text[end:]
    return None if text else values


def read(pattern: Pattern, segments: list[str]) -> list[str] | None:
    values: list[str] = []
    for index, segment in enumerate(pattern.segments):
        if segment.kind == WILDCARD:
            return [*values, "/".join(segments[index:])] if index < len(segments) else None
        if index >= len(segments):
            return None
        text = segments[index]
        if segment.kind == STATIC and text != segment.key:
            return None
        if segment.kind == PLAIN and not text:
            return None
        if segment.kind == CONVERTER and not (text and set(text) <= set("0123456789")):
            return None
        if segment.kind == MIXED:
            read_values = read_mixed(segment, text) if text else None
            if read_values is None:
                return None
            values += read_values
        elif segment.kind != STATIC:
            values.append(text)
    return values if len(segments) == len(pattern.segments) else None


def naive_find(routes, method, segments):
    best = None
    for known, pattern in routes:
        values = read(pattern, segments)
        if known != method or values is None:
            continue
        key = [
            (segment.kind, segment.rank, min(i for i, (_, p) in enumerate(routes) if p.shape[:n] == pattern.shape[:n]))
            for n, segment in enumerate(pattern.segments, 1)
        ]
        if best is None or key < best[0]:
            best = (key, (known, pattern.path), dict(zip(pattern.param_names, values, strict=True)))
    return best and best[1:]


PIECES = ["a", "b", "1", "{p}", "{p:int}", "{p}.json", "{p}-{q}", "{p}-{q}.json", "a{p:int}", "{p}.{q}"]
TEXTS = ["a", "b", "1", "12", "", "a1", "a.json", "1.json", ".json", "a-b", "a-b.json", "-", "--", "a/b", "a.b-c.json"]


@st.composite
def patterns(draw):
    pieces = draw(st.lists(st.sampled_from(PIECES), max_size=4))
    tail = draw(st.sampled_from(["", "/", "/*rest"]))
    path = "".join("/" + piece for piece in pieces) + tail or "/"
    numbered = ""
    for number, piece in enumerate(path.split("{")):
        numbered += piece if number == 0 else "{" + piece.replace("p", f"p{number}", 1).replace("q", f"q{number}", 1)
    return parse(numbered)


methods = st.sampled_from(["GET", "POST"])


@impl
@settings(max_examples=300, deadline=None)
@given(
    routes=st.lists(st.tuples(methods, patterns()), max_size=12, unique_by=lambda route: (route[0], route[1].shape)),
    method=methods,
    texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=5),
)
def test_the_tree_agrees_with_a_matcher_that_tries_every_pattern(tree_class, routes, method, texts):
    tree = tree_class()
    for known, pattern in routes:
        tree.add(known, pattern, (known, pattern.path))
    segments = ["", *texts]
    assert tree.find(method, segments) == naive_find(routes, method, texts)
    assert tree.methods(segments) == {known for known, pattern in routes if read(pattern, texts) is not None}
