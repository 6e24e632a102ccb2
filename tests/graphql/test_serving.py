# ruff: noqa: E501  # a row of a table reads best on one line
"""GraphQL over HTTP, through every gateway."""

import hashlib
import json

import pytest

from cello import App, ConfigError, GraphQLConfig
from cello.testing import TestClient
from tests.graphql import shop

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"


@pytest.fixture
def ask(serve):
    """Ask one application; returns status and parsed answer."""
    with serve(shop.make_app()) as client:

        def ask(query, variables=None, **members):
            answer = client.post("/graphql", json={"query": query, "variables": variables, **members})
            assert answer.headers["content-type"] == f"{JSON}; charset=utf-8"
            return answer.status, answer.json()

        yield ask


KINDS = """query($m: DateTime!, $k: UUID!, $p: Decimal!) {
    kinds(moment: $m, day: "2026-01-02", hour: "03:04:05", key: $k, price: $p, data: "YWJj") {
        moment day hour key price data extra mood
    }
}"""
KEY = "7b0e2c4e-5d0f-4b43-9a43-0a2ad7f7e1c2"

QUERIES = {
    "a field": ("{hello}", {}, {"hello": "hello world"}),
    "an argument": ('{hello(name: "Ada")}', {}, {"hello": "hello Ada"}),
    "a variable": ("query($n: String!) {hello(name: $n)}", {"n": "Bob"}, {"hello": "hello Bob"}),
    "aliases": ('{a: hello b: hello(name: "b")}', {}, {"a": "hello world", "b": "hello b"}),
    "a directive": ("query($no: Boolean!) {hello @skip(if: $no)}", {"no": True}, {}),
    "an interface": (
        "{things {__typename id ... on Book {pages price} ...S}} fragment S on Score {size parts}",
        {},
        {
            "things": [
                {"__typename": "Book", "id": "1", "pages": 300, "price": "9.50"},
                {"__typename": "Score", "id": "2", "size": "LARGE", "parts": ["solo"]},
            ]
        },
    ),
    "a union": ('{found(id: "2") {__typename ... on Score {name}}}', {}, {"found": {"__typename": "Score", "name": "Suites"}}),
    "null": ('{found(id: "9") {__typename}}', {}, {"found": None}),
    "a struct": ("{makers {name born}}", {}, {"makers": [{"name": "Amati", "born": "1505-01-01"}, {"name": "Stradivari", "born": None}]}),
    "a typed dict and a method": (
        "{users(limit: 1) {address {city} nick}}",
        {},
        {"users": [{"address": {"city": "Cremona"}, "nick": "us"}]},
    ),
    "scalars": (
        KINDS,
        {"m": "2026-01-02T03:04:05+00:00", "k": KEY, "p": "1.10"},
        {
            "kinds": {
                "moment": "2026-01-02T03:04:05+00:00",
                "day": "2026-01-02",
                "hour": "03:04:05",
                "key": KEY,
                "price": "1.10",
                "data": "YWJj",
                "extra": {"any": [1, None]},
                "mood": "largo",
            }
        },
    ),
    "an input": (
        'mutation {add_maker(maker: {name: "Guarneri", born: "1698-08-21", tags: ["del Gesù"], size: SMALL}) {name born}}',
        {},
        {"add_maker": {"name": "Guarneri del Gesù SMALL", "born": "1698-08-21"}},
    ),
    "an input's defaults": (
        "mutation($m: NewMakerInput!) {add_maker(maker: $m) {name}}",
        {"m": {"name": "Bergonzi"}},
        {"add_maker": {"name": "Bergonzi  LARGE"}},
    ),
    "introspection": ("{__schema {queryType {name}}}", {}, {"__schema": {"queryType": {"name": "Query"}}}),
}  # fmt: skip


@pytest.mark.parametrize(("query", "variables", "data"), QUERIES.values(), ids=QUERIES.keys())
def test_what_is_asked_is_answered(ask, query, variables, data):
    assert ask(query, variables) == (200, {"data": data})


FAULTS = {
    "no query language": ("{", "Syntax Error"),
    "an unknown field": ("{nope}", "Cannot query field 'nope'"),
    "a wrong argument": ("{hello(name: 3)}", "String cannot represent a non string value"),
    "a wrong scalar": ('{kinds(day: "tomorrow") {day}}', "is no Date"),
    "no operation of that name": ("query A {hello} query B {hello}", "must be named"),
    "a subscription": ("subscription {count}", "WebSocket"),
}


@pytest.mark.parametrize(("query", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_executed_says_why(ask, query, message):
    _, answer = ask(query)
    assert "data" not in answer
    assert message in " ".join(error["message"] for error in answer["errors"])


def test_errors_of_resolvers_stay_inside_and_leave_the_rest(ask, caplog):
    status, answer = ask("{hello broken refused}")
    broken, refused = answer["errors"]
    assert (status, answer["data"]) == (200, {"hello": "hello world", "broken": None, "refused": None})
    assert (broken["message"], broken["path"]) == ("Internal Server Error", ["broken"])
    assert (refused["message"], refused["extensions"]["status"]) == ("Not for you.", 403)
    assert "hunter2" not in json.dumps(answer)
    assert "hunter2" in caplog.text


def test_null_where_none_may_be_goes_up(ask):
    _, answer = ask("{hello nothing}")
    assert answer["data"] is None
    assert answer["errors"][0]["path"] == ["nothing"]


def test_a_constraint_of_an_input_is_the_client_s_fault(ask):
    _, answer = ask('mutation {add_maker(maker: {name: "x"}) {name}}')
    assert "length >= 2" in answer["errors"][0]["message"]


def test_errors_are_shown_while_debugging(serve):
    app = shop.make_app()
    app.debug = True
    with serve(app) as client:
        answer = client.post("/graphql", json={"query": "{broken}"}).json()
    assert answer["errors"][0]["message"] == "ValueError: the password is hunter2"


# -- HTTP --


@pytest.mark.parametrize(
    "accept", [None, "*/*", JSON, "application/*", RESPONSE_JSON, f"{RESPONSE_JSON}, {JSON};q=0.9"]
)
def test_the_media_type_follows_what_is_accepted(serve, accept):
    wants_new = accept is not None and accept.startswith((RESPONSE_JSON, "application/*"))
    with serve(shop.make_app()) as client:
        headers = {} if accept is None else {"Accept": accept}
        fine = client.post("/graphql", json={"query": "{hello}"}, headers=headers)
        wrong = client.post("/graphql", json={"query": "{nope}"}, headers=headers)
    assert fine.headers["content-type"].startswith(RESPONSE_JSON if wants_new else JSON)
    assert (fine.status, wrong.status) == (200, 400 if wants_new else 200)


REFUSED = {
    "another method": ("PUT", {}, 405),
    "nothing acceptable": ("POST", {"json": {"query": "{hello}"}, "headers": {"Accept": "text/csv"}}, 406),
    "no JSON": ("POST", {"content": b"{", "headers": {"Content-Type": JSON}}, 400),
    "another content type": ("POST", {"content": b"{hello}", "headers": {"Content-Type": "text/plain"}}, 415),
    "another charset": ("POST", {"content": b"{}", "headers": {"Content-Type": f"{JSON}; charset=latin1"}}, 415),
    "no query": ("POST", {"json": {}}, 400),
    "a list": ("POST", {"json": [{"query": "{hello}"}]}, 400),
    "a number": ("POST", {"json": 7}, 400),
    "variables of a kind": ("POST", {"json": {"query": "{hello}", "variables": "x"}}, 400),
    "a mutation by GET": ("GET", {"params": {"query": "mutation {upload}"}}, 200),
    "no variables by GET": ("GET", {"params": {"query": "{hello}", "variables": "x"}}, 400),
    "a form": ("POST", {"data": {"query": "{hello}"}}, 415),
}


@pytest.mark.parametrize(("method", "send", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_understood_is_refused(serve, method, send, status):
    with serve(shop.make_app()) as client:
        answer = client.request(method, "/graphql", **send)
    assert answer.status == status
    if status != 405:
        assert answer.json()["errors"]


def test_get_executes_queries_only(serve):
    with serve(shop.make_app()) as client:
        query = client.get(
            "/graphql", params={"query": "query($n: String) {hello(name: $n)}", "variables": '{"n": "x"}'}
        )
        mutation = client.get("/graphql", params={"query": 'mutation {add_maker(maker: {name: "Amati"}) {name}}'})
    assert query.json() == {"data": {"hello": "hello x"}}
    assert (mutation.status, mutation.headers["allow"]) == (405, "POST")


def test_a_batch_is_answered_in_order(serve):
    app = shop.make_app(GraphQLConfig(batching=True, max_batch=2))
    with serve(app) as client:
        two = client.post("/graphql", json=[{"query": "{hello}"}, {"query": "{nope}"}]).json()
        three = client.post("/graphql", json=[{"query": "{hello}"}] * 3)
    assert two[0] == {"data": {"hello": "hello world"}}
    assert "errors" in two[1]
    assert three.status == 400


def test_files_are_taken_from_who_no_form_can_be(serve):
    operations = {
        "query": "mutation($a: Upload!, $b: [Upload!]!) {upload(file: $a, more: $b)}",
        "variables": {"a": None, "b": [None]},
    }
    send = {
        "data": {"operations": json.dumps(operations), "map": '{"0": ["variables.a"], "1": ["variables.b.0"]}'},
        "files": {"0": ("a.txt", b"first"), "1": ("b.txt", b"second")},
    }
    with serve(shop.make_app()) as client:
        refused = client.post("/graphql", **send)
        taken = client.post("/graphql", headers={"GraphQL-Require-Preflight": "1"}, **send)
        send["data"]["map"] = '{"0": ["variables.nowhere"]}'
        misplaced = client.post("/graphql", headers={"GraphQL-Require-Preflight": "1"}, **send)
    assert (refused.status, misplaced.status) == (400, 400)
    assert taken.json() == {"data": {"upload": ["first", "second"]}}


def test_a_query_is_known_by_its_hash_once_it_was_sent(serve):
    text = "{hello}"
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(text.encode()).hexdigest()}}
    with serve(shop.make_app()) as client:
        unknown = client.post("/graphql", json={"extensions": persisted}).json()
        client.post("/graphql", json={"query": text, "extensions": persisted})
        known = client.post("/graphql", json={"extensions": persisted}).json()
        by_get = client.get("/graphql", params={"extensions": json.dumps(persisted)}).json()
        other = client.post("/graphql", json={"query": "{things {id}}", "extensions": persisted})
    assert unknown["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    assert known == by_get == {"data": {"hello": "hello world"}}
    assert other.status == 400


def test_a_subscription_comes_as_events(serve):
    with serve(shop.make_app()) as client:
        answer = client.post(
            "/graphql", json={"query": "subscription {count(to: 2)}"}, headers={"Accept": "text/event-stream"}
        )
        plain = client.post(
            "/graphql", json={"query": "subscription {countdown}"}, headers={"Accept": "text/event-stream"}
        )
        query = client.post("/graphql", json={"query": "{hello}"}, headers={"Accept": "text/event-stream"})
        broken = client.post(
            "/graphql", json={"query": "subscription {breaks}"}, headers={"Accept": "text/event-stream"}
        )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert events(answer) == [("next", {"data": {"count": 0}}), ("next", {"data": {"count": 1}}), ("complete", None)]
    assert [name for name, _ in events(plain)] == ["next", "next", "complete"]
    assert events(query)[0] == ("next", {"data": {"hello": "hello world"}})
    assert "hunter2" not in broken.text
    assert events(broken)[1][1]["errors"][0]["message"] == "Internal Server Error"


def events(answer):
    found = []
    for block in answer.text.strip("\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((lines["event"], json.loads(lines["data"]) if lines.get("data", "").strip() else None))
    return found


def test_guards_of_the_application_stand_before_it(serve):
    app = shop.make_app()
    app.add_guard(lambda request: False)
    with serve(app) as client:
        assert client.post("/graphql", json={"query": "{hello}"}).status == 403


# -- limits --

FRAGMENTS = "query {users(limit: 1) {...A}} fragment A on User {posts {...B}} fragment B on Post {id title}"

LIMITS = {
    "depth": ({"max_depth": 2}, FRAGMENTS, {}, "The depth of this query is 3, more than 2."),
    "complexity": ({"max_complexity": 9}, "{users(limit: 5) {id name}}", {}, "The complexity of this query is 11"),
    "complexity of a variable": (
        {"max_complexity": 9}, "query($n: Int!) {users(limit: $n) {id name}}", {"n": 5}, "The complexity of this query is 11",
    ),
    "complexity of a field": ({"max_complexity": 4}, "{users {posts {id}}}", {}, "The complexity of this query is 5"),
    "aliases": ({"max_aliases": 1}, "{a: hello b: hello}", {}, "The number of aliases of this query is 2"),
    "tokens": ({"max_tokens": 5}, "{a: hello b: hello}", {}, "tokens"),
    "introspection": ({}, "{__schema {queryType {name}}}", {}, "introspection"),
}  # fmt: skip


@pytest.mark.parametrize(("limits", "query", "variables", "message"), LIMITS.values(), ids=LIMITS.keys())
def test_a_query_that_asks_for_too_much_is_refused(serve, limits, query, variables, message):
    with serve(shop.make_app(GraphQLConfig(**limits))) as client:
        for _ in range(2):  # also when it is known already
            answer = client.post("/graphql", json={"query": query, "variables": variables}).json()
            assert message in answer["errors"][0]["message"]
            assert "data" not in answer


def test_a_variable_decides_each_time(serve):
    query = "query($n: Int!) {users(limit: $n) {id}}"
    with serve(shop.make_app(GraphQLConfig(max_complexity=5))) as client:
        few, many = (client.post("/graphql", json={"query": query, "variables": {"n": n}}).json() for n in (2, 50))
    assert "errors" not in few
    assert "errors" in many


def test_a_hundred_users_with_their_posts_are_two_loads(serve):
    shop.batches.clear()
    with serve(shop.make_app(GraphQLConfig(max_complexity=10_000))) as client:
        answer = client.post("/graphql", json={"query": "{users {id posts {title}} again: users {posts {id}}}"}).json()
    assert len(answer["data"]["users"]) == 100
    assert [len(batch) for batch in shop.batches] == [100]


# -- the switch --


def test_functions_are_declared_by_decorators(serve, coloured):
    app = App()
    app.enable_graphql()

    @app.graphql.query(name="twice", description="Doubled.")
    @coloured
    def double(info, number: int) -> int:
        return 2 * number

    with serve(app) as client:
        assert client.post("/graphql", json={"query": "{twice(number: 4)}"}).json() == {"data": {"twice": 8}}
    assert '"""Doubled."""' in app.graphql.engine.get_schema()


def test_what_cannot_be_derived_is_an_error_at_the_start(serve):
    app = App()
    app.enable_graphql()

    @app.graphql.query
    def odd(info) -> set[complex]:
        return set()

    with pytest.raises(ConfigError, match=r"Query\.odd: GraphQL has no type for complex"), serve(app):
        pass


WRONG = {
    "no schema": lambda app: app.enable_graphql(schema="type Query {a: Int}"),
    "no path": lambda app: app.enable_graphql(GraphQLConfig(path="graphql")),
    "no depth": lambda app: app.enable_graphql(GraphQLConfig(max_depth=0)),
    "not switched on": lambda app: app.graphql,
}


@pytest.mark.parametrize("throw", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_refused(throw):
    with pytest.raises(ConfigError):
        throw(App())


def test_start_up_hooks_may_still_complete_the_application():
    app = App()
    app.enable_graphql()

    @app.graphql.query
    def hello(info) -> str:
        return "hello"

    @app.on_event("startup")
    def complete():
        app.get("/late")(lambda request: "late")

    with TestClient(app) as client:
        assert client.get("/late").text == "late"
        assert client.post("/graphql", json={"query": "{hello}"}).json() == {"data": {"hello": "hello"}}
