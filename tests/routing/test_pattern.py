"""Patterns: what is understood, what is refused and with which words, and what is built back."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.errors import ConfigError, RouteError
from cello.routing.pattern import CONVERTER, MIXED, PLAIN, STATIC, WILDCARD, Parameter, join, parse


@pytest.mark.parametrize(
    ("path", "template", "kinds"),
    [
        pytest.param("/", "/", [STATIC], id="root"),
        pytest.param("/users", "/users", [STATIC], id="static"),
        pytest.param("/users/", "/users/", [STATIC, STATIC], id="trailing slash"),
        pytest.param("/café/a b", "/café/a b", [STATIC, STATIC], id="plain characters"),
        pytest.param("/100%", "/100%", [STATIC], id="a percent sign that is no escape"),
        pytest.param("/a*b:c", "/a*b:c", [STATIC], id="star and colon inside a text"),
        pytest.param("/{id}", "/{id}", [PLAIN], id="plain"),
        pytest.param("/{id:str}", "/{id}", [PLAIN], id="str by name"),
        pytest.param("/{id:int}/x", "/{id}/x", [CONVERTER, STATIC], id="converter"),
        pytest.param(r"/{y:regex(\d{4})}", "/{y}", [CONVERTER], id="regex with braces"),
        pytest.param("/{y:regex(a/b)}/c", "/{y}/c", [CONVERTER, STATIC], id="regex with a slash"),
        pytest.param("/{y:regex((?:a|b))}", "/{y}", [CONVERTER], id="regex with a group"),
        pytest.param("/{name}.json", "/{name}.json", [MIXED], id="parameter and text"),
        pytest.param("/v{major:int}.{minor:int}", "/v{major}.{minor}", [MIXED], id="two converters and text"),
        pytest.param("/f/{rest:path}", "/f/{rest}", [STATIC, WILDCARD], id="wildcard as converter"),
        pytest.param("/f/{*rest}", "/f/{rest}", [STATIC, WILDCARD], id="wildcard in braces"),
        pytest.param("/f/*rest", "/f/{rest}", [STATIC, WILDCARD], id="bare wildcard"),
    ],
)
def test_a_path_is_taken_apart(path, template, kinds):
    pattern = parse(path)
    assert pattern.path == path
    assert pattern.template == template
    assert [segment.kind for segment in pattern.segments] == kinds
    assert pattern.is_static == (not pattern.param_names)


def test_the_three_spellings_of_a_wildcard_have_one_shape():
    assert parse("/f/{rest:path}").shape == parse("/f/{*rest}").shape == parse("/f/*rest").shape


def test_parameters_keep_their_converter_and_expression():
    pattern = parse("/{a}/{b:int}/{c:regex([xy]+)}/{d:path}")
    assert pattern.param_names == ("a", "b", "c", "d")
    assert pattern.parameters == (
        Parameter("a"),
        Parameter("b", "int"),
        Parameter("c", "regex", "[xy]+"),
        Parameter("d", "path"),
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("users", "must start with '/'; write '/users'", id="no leading slash"),
        pytest.param("", "must start with '/'", id="empty"),
        pytest.param("/{id", "unbalanced braces", id="brace never closed"),
        pytest.param("/id}", "unbalanced braces", id="brace never opened"),
        pytest.param("/{a{b}}", "unbalanced braces", id="brace in a brace"),
        pytest.param("/{a/b}", "unbalanced braces", id="slash in braces"),
        pytest.param("/{x:regex(a+}", "unbalanced braces", id="regex never closed"),
        pytest.param("/{}", "needs a name", id="no name"),
        pytest.param("/{a-b}", "needs a name", id="name with a dash"),
        pytest.param("/{1st}", "needs a name", id="name that starts with a digit"),
        pytest.param("/*", "needs a name", id="bare star"),
        pytest.param("/{*}", "needs a name", id="star in braces"),
        pytest.param(
            "/{id:integer}", "unknown converter 'integer' of 'id'; did you mean 'int'?", id="converter nearly right"
        ),
        pytest.param("/{id:zzz}", "unknown converter 'zzz' of 'id'; there are str, int", id="converter far off"),
        pytest.param("/{id:}", "unknown converter ''", id="converter left out"),
        pytest.param("/{id:int(3)}", "unknown converter 'int(3)'", id="converter with arguments"),
        pytest.param(
            "/{id:regex}", "write the expression in parentheses: '{id:regex(...)}'", id="regex without expression"
        ),
        pytest.param("/{id:regex()}", "write the expression in parentheses", id="regex with an empty expression"),
        pytest.param("/{id:regex([)}", "not a valid regular expression", id="broken regex"),
        pytest.param("/{a}/{a}", "the parameter 'a' appears twice", id="name twice"),
        pytest.param("/*rest/x", "must come last", id="wildcard in the middle"),
        pytest.param("/{rest:path}.json", "must stand alone", id="wildcard beside text"),
        pytest.param("/{a}{b}", "there must be some text between 'a' and 'b'", id="parameters side by side"),
        pytest.param("/{a:regex((x)y)}.z", "groups written '(?:...)'", id="capturing group beside text"),
        pytest.param("/a//b", "empty segment", id="double slash"),
        pytest.param("//a", "empty segment", id="leading double slash"),
        pytest.param("/caf%C3%A9", "put the character itself for '%C3'", id="percent-encoded"),
        pytest.param("/<id>", "written in braces: '{id}'", id="another framework's parameter"),
        pytest.param("/<int:id>", "written in braces: '{id:int}'", id="another framework's converter"),
        pytest.param("/a?b=1", "never reaches a route", id="query"),
        pytest.param("/a#b", "never reaches a route", id="fragment"),
        pytest.param("/a\nb", "control character", id="line break"),
    ],
)
def test_a_malformed_path_is_refused_with_words_that_help(path, words):
    with pytest.raises(RouteError, match=re.escape(words)):
        parse(path)


@pytest.mark.parametrize("path", [None, 7, b"/x", print], ids=["None", "number", "bytes", "function"])
def test_a_path_that_is_no_string_is_refused(path):
    with pytest.raises(ConfigError, match="must be a string"):
        parse(path)


@pytest.mark.parametrize(
    ("path", "params", "built"),
    [
        ("/", {}, "/"),
        ("/users/", {}, "/users/"),
        ("/café/a b", {}, "/caf%C3%A9/a%20b"),
        ("/users/{id}", {"id": 7}, "/users/7"),
        ("/users/{id:int}", {"id": 7}, "/users/7"),
        ("/x/{id:uuid}", {"id": UUID(int=5)}, "/x/00000000-0000-0000-0000-000000000005"),
        ("/x/{v:float}", {"v": 1.5}, "/x/1.5"),
        ("/users/{id}", {"id": "a/b ü?#%"}, "/users/a%2Fb%20%C3%BC%3F%23%25"),
        ("/files/*rest", {"rest": "a/b c"}, "/files/a/b%20c"),
        ("/files/*rest", {"rest": ""}, "/files/"),
        ("/{name}.json", {"name": "a.json"}, "/a.json.json"),
        ("/{a}-{b}", {"a": "x", "b": "y-z"}, "/x-y-z"),
        ("/v{a:int}.{b:int}", {"a": 1, "b": 2}, "/v1.2"),
    ],
)
def test_a_path_is_built_and_encoded(path, params, built):
    assert parse(path).build(**params) == built


@pytest.mark.parametrize(
    ("path", "params", "words"),
    [
        pytest.param("/{a}/{b}", {"b": 1}, "is missing 'a'", id="missing"),
        pytest.param("/{a}", {"a": 1, "c": 2, "d": 3}, "has no parameter 'c', 'd'", id="extra"),
        pytest.param("/{a}", {"c": 2}, "is missing 'a' and has no parameter 'c'", id="both"),
        pytest.param("/{a}", {"a": None}, "'a' is None", id="None"),
        pytest.param("/{a}", {"a": ""}, "does not match '{a}'", id="empty"),
        pytest.param("/{a:int}", {"a": "x"}, "'x' does not match '{a:int}'", id="not an int"),
        pytest.param("/{a:int}", {"a": -1}, "does not match", id="negative"),
        pytest.param(
            "/{a:regex([ab]+)}", {"a": "c"}, "does not match '{a:regex([ab]+)}'", id="not what the regex wants"
        ),
        pytest.param("/{a}-{b}", {"a": "x-y", "b": "z"}, "does not match", id="would be read back differently"),
        pytest.param("/{a}", {"a": ".."}, "dot segment", id="parent directory"),
        pytest.param("/*a", {"a": "x/./y"}, "dot segment", id="dot in a wildcard"),
    ],
)
def test_what_would_not_lead_back_is_not_built(path, params, words):
    with pytest.raises(RouteError, match=re.escape(words)):
        parse(path).build(**params)


UUID4 = "6f9619ff-8b86-4011-b42d-00cf4fc964ff"


def test_any_int_that_matches_can_be_converted():
    match = parse("/{id:int}").segments[0].match
    assert match("9" * 640)
    assert not match("9" * 641)
    assert not match("٣"), "a digit that is not ASCII"


@pytest.mark.parametrize(
    ("converter", "texts", "others"),
    [
        ("int", ["0", "007", "12"], ["-1", "+1", "1.0", "", "1 ", "1\n"]),
        ("float", ["0", "1.5", "00.10"], ["1.", ".5", "1e3", "nan", "-1.0"]),
        ("uuid", [UUID4, UUID4.upper()], [UUID4.replace("-", ""), UUID4[1:]]),
        ("regex(a+b?)", ["a", "aab"], ["b", "abb", "xa"]),
    ],
)  # fmt: skip
def test_a_converter_looks_at_the_whole_text(converter, texts, others):
    match = parse(f"/{{x:{converter}}}").segments[0].match
    assert all(match(text) for text in texts)
    assert not any(match(text) for text in others)


@pytest.mark.parametrize(
    ("segment", "text", "values"),
    [
        ("{name}.json", "a.json", ("a",)),
        ("{name}.json", ".json", None),
        ("{name}.json", "a.json.json", ("a.json",)),
        ("{name}.json", "a/b.json", ("a/b",)),
        ("{name}.json", "a\n.json", ("a\n",)),
        ("{a}-{b}", "x-y-z", ("x", "y-z")),
        ("{a}-{b}", "--y", ("-", "y")),
        ("{a}-{b}.json", "x-y.json", ("x", "y")),
        ("{a}-{id:int}", "x-12", ("x", "12")),
        ("{a}-{id:int}", "x-y-12", None),
        ("v{a:int}.{b:int}", "v1.2", ("1", "2")),
        ("@{user}", "@me", ("me",)),
        ("@{user}", "@", None),
    ],
)
def test_a_mixed_segment_is_read_by_its_first_texts(segment, text, values):
    found = parse(f"/{segment}").segments[0].match(text)
    assert (found and found.groups()) == values


def test_hostile_text_costs_a_mixed_segment_no_more_than_its_length():
    # Backtracking over five parameters would take 10^17 steps here; the suite's timeout is the assertion.
    match = parse("/{a}-{b}-{c}-{d}-{e}.json").segments[0].match
    assert match("-" * 8000) is None


@pytest.mark.parametrize(
    ("prefix", "path", "joined"),
    [
        ("", "/users", "/users"),
        ("/", "/users", "/users"),
        ("/api", "/users", "/api/users"),
        ("/api/", "/users", "/api/users"),
        ("/api//", "/users", "/api/users"),
        ("/api", "/", "/api/"),
        ("/api", "", "/api"),
        ("/api/", "", "/api"),
        ("", "", "/"),
    ],
)
def test_a_prefix_joins_with_exactly_one_slash(prefix, path, joined):
    assert join(prefix, path) == joined


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_a_route_error(text):
    for path in (text, "/" + text, "/{" + text + "}", "/{x:regex(" + text + ")}"):
        try:
            pattern = parse(path)
        except RouteError:
            continue
        assert pattern.path == path
        assert parse(pattern.template).param_names == pattern.param_names
