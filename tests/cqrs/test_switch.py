"""enable_cqrs: the buses in handlers of both colours on every gateway, and commands and queries as routes."""

import asyncio
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from cello import App, ConfigError, CqrsConfig, Depends, NotFound
from cello.cqrs import Command, CommandResult, Query, QueryResult
from cello.eventsourcing import Event, EventSourcingConfig
from cello.testing import TestClient

Test = Callable[..., Any]
OBEYED: set[str] = set()


def obeys(*fields: str) -> Callable[[Test], Test]:
    """Note which fields a test shows to be obeyed."""
    OBEYED.update(fields)
    return lambda test: test


class Rename(Command):
    """Give an order another name."""

    id: int
    name: str
    tags: list[str] = dataclasses.field(default_factory=list)


class Find(Query):
    """Look an order up."""

    id: int
    limit: int = 10
    near: str | None = None


class Packed(msgspec.Struct):
    id: int
    size: int = 3


@dataclass
class Order:
    id: int
    name: str


def make_app(colour: str, **config: Any) -> App:
    app = App()
    assert app.enable_cqrs(CqrsConfig(retry_delay_ms=1, **config)) is app
    names = app.register_singleton("names", {}) or app.singletons["names"]

    if colour == "def":

        @app.command_bus.handler(Rename)
        def rename(command: Rename, names: Any = Depends("names")) -> Any:
            names[command.id] = command.name
            return CommandResult.ok({"id": command.id, "name": command.name, "tags": command.tags})

        @app.query_bus.handler(Find)
        def find(query: Find, names: Any = Depends("names")) -> Any:
            return {"name": names[query.id]} if query.id in names else QueryResult.not_found()

        @app.put("/orders/{id:int}")
        def put(id: int, bus: Any = Depends("command_bus")) -> Any:
            return bus.dispatch(Rename(id=id, name="by name")).data

        @app.get("/orders/{id:int}")
        def get(request: Any, id: int) -> Any:
            result = request.app.query_bus.execute(Find(id=id))
            return result.data if result.found else ({"error": "nothing"}, 404)

    else:

        @app.command_bus.handler(Rename)
        async def rename(command: Rename, names: Any = Depends("names")) -> Any:
            names[command.id] = command.name
            return CommandResult.ok({"id": command.id, "name": command.name, "tags": command.tags})

        @app.query_bus.handler(Find)
        async def find(query: Find, names: Any = Depends("names")) -> Any:
            return {"name": names[query.id]} if query.id in names else QueryResult.not_found()

        @app.put("/orders/{id:int}")
        async def put(id: int, bus: Any = Depends("command_bus")) -> Any:
            return (await bus.dispatch(Rename(id=id, name="by name"))).data

        @app.get("/orders/{id:int}")
        async def get(request: Any, id: int) -> Any:
            result = await request.app.query_bus.execute(Find(id=id))
            return result.data if result.found else ({"error": "nothing"}, 404)

    assert names == {}
    return app


def test_handlers_of_both_colours_use_the_buses_from_the_first_request(serve: Test, colour: str) -> None:
    client = serve(make_app(colour))
    assert client.get("/orders/1").status == 404
    assert client.put("/orders/1").json() == {"id": 1, "name": "by name", "tags": []}
    assert client.get("/orders/1").json() == {"name": "by name"}


@pytest.mark.parametrize("other", ["def", "async"])
def test_a_handler_of_requests_uses_message_handlers_of_the_other_colour(
    serve: Test, colour: str, other: str, tmp_path: Any
) -> None:
    """Through pools that belong to the loop they were opened on."""
    app = App()
    app.enable_cqrs()
    app.enable_database(f"sqlite:///{tmp_path}/a.db")
    if other == "def":
        app.command_bus.register(Packed, lambda message: app.database.fetch_val("SELECT 1 + :size", size=message.size))
    else:

        @app.command_bus.handler(Packed)
        async def add(message: Packed) -> Any:
            return await app.database.fetch_val("SELECT 1 + :size", size=message.size)

    if colour == "def":
        app.get("/")(lambda request: app.command_bus.dispatch(Packed(1)).unwrap())
    else:

        async def ask(request: Any) -> Any:
            return (await app.command_bus.dispatch(Packed(1))).unwrap()

        app.get("/")(ask)
    client = serve(app)
    assert [client.get("/").json() for _ in range(3)] == [4, 4, 4]


def test_a_plain_function_on_the_loop_is_told_that_it_cannot_wait() -> None:
    app = make_app("async")

    def looked_up(request: Any) -> Any:
        return app.query_bus.execute(Find(id=1))

    @app.get("/depends")
    async def handler(found: Any = Depends(looked_up)) -> None: ...

    with TestClient(app, gateway="asgi") as client, pytest.raises(Exception, match="make the handler, or the depend"):
        client.get("/depends")


def make_routes(**config: Any) -> App:
    app = App()
    app.enable_cqrs(CqrsConfig(retry_delay_ms=1, **config))
    app.enable_openapi()

    @app.command_bus.handler(Rename)
    async def rename(command: Rename) -> Any:
        if command.name == "taken":
            return CommandResult.fail("There is an order of that name.")
        if command.name == "closed":
            return CommandResult.rejected("Orders are closed.")
        if command.name == "missing":
            raise NotFound("There is no such order.")
        if command.name == "broken":
            raise KeyError("a secret")
        return Order(command.id, command.name) if command.name != "quiet" else None

    @app.query_bus.handler(Find)
    def find(query: Find) -> Any:
        if query.near == "broken":
            raise KeyError("a secret")
        if query.near == "unknown":
            return QueryResult.fail("The map is being drawn.")
        return {"id": query.id, "limit": query.limit, "near": query.near} if query.id else None

    @app.command_bus.handler(Packed)
    async def slow(command: Packed) -> int:
        await asyncio.sleep(60 if command.size == 60 else 0)
        return command.size

    app.command_route("/orders/{id:int}/name", Rename, "PUT", returns=Order)
    app.command_route("/orders", Rename, status=201, fail_status=422, reject_status=403)
    app.query_route("/orders/{id:int}", Find)
    app.command_route("/packed", Packed)
    return app


COMMANDS: dict[str, tuple[str, str, Any, int, Any]] = {
    "path and body": ("PUT", "/orders/7/name", {"name": "Ada"}, 200, {"id": 7, "name": "Ada"}),
    "all from the body": ("POST", "/orders", {"id": 7, "name": "Ada"}, 201, {"id": 7, "name": "Ada"}),
    "a Struct": ("POST", "/packed", {"id": 7}, 200, 3),
    "success without data": ("POST", "/orders", {"id": 7, "name": "quiet"}, 204, None),
    "failed": ("PUT", "/orders/7/name", {"name": "taken"}, 409, "There is an order of that name."),
    "rejected": ("PUT", "/orders/7/name", {"name": "closed"}, 409, "Orders are closed."),
    "failed, as it says": ("POST", "/orders", {"id": 1, "name": "taken"}, 422, "There is an order of that name."),
    "rejected, as it says": ("POST", "/orders", {"id": 1, "name": "closed"}, 403, "Orders are closed."),
    "an answer that was raised": ("POST", "/orders", {"id": 1, "name": "missing"}, 404, "There is no such order."),
    "an error says nothing": ("POST", "/orders", {"id": 1, "name": "broken"}, 500, None),
    "too slow": (
        "POST", "/packed", {"id": 1, "size": 60}, 503, "The command took too long; it may have been carried out.",
    ),
    "a faulty body": ("POST", "/orders", {"id": "x"}, 422, ...),
    "a faulty member beside the path": ("PUT", "/orders/7/name", {"name": 5}, 422, ...),
    "a missing member beside the path": ("PUT", "/orders/7/name", {}, 422, ...),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "sent", "status", "said"), COMMANDS.values(), ids=COMMANDS.keys())
@obeys("command_timeout_ms")
def test_a_command_as_a_route(serve: Test, method: str, path: str, sent: Any, status: int, said: Any) -> None:
    client = serve(make_routes(command_timeout_ms=300 if sent.get("size") == 60 else 20_000))
    answer = client.request(method, path, json=sent)
    assert answer.status == status, answer.text
    if status == 204:
        assert answer.content == b""
    elif status < 300:
        assert answer.json() == said
    elif said is not ...:
        assert answer.json().get("detail") == said
    else:
        assert answer.json()["errors"]
    assert "secret" not in answer.text


QUERIES: dict[str, tuple[str, int, Any]] = {
    "defaults": ("/orders/7", 200, {"id": 7, "limit": 10, "near": None}),
    "from the query string": ("/orders/7?limit=3&near=x", 200, {"id": 7, "limit": 3, "near": "x"}),
    "nothing": ("/orders/0", 404, None),
    "faulty": ("/orders/7?limit=x", 422, ...),
    "failed": ("/orders/7?near=unknown", 500, "The map is being drawn."),
    "an error says nothing": ("/orders/7?near=broken", 500, None),
}


@pytest.mark.parametrize(("path", "status", "said"), QUERIES.values(), ids=QUERIES.keys())
def test_a_query_as_a_route(serve: Test, path: str, status: int, said: Any) -> None:
    answer = serve(make_routes()).get(path)
    assert answer.status == status, answer.text
    if said is not ...:
        assert (answer.json() if status == 200 else answer.json().get("detail")) == said
    assert "secret" not in answer.text


@obeys("query_timeout_ms")
def test_a_query_that_takes_too_long_is_503(serve: Test) -> None:
    app = App()
    app.enable_cqrs(CqrsConfig(query_timeout_ms=20))

    @app.query_bus.handler(Find)
    async def find(query: Find) -> None:
        await asyncio.sleep(60)

    app.query_route("/{id}", Find)
    answer = serve(app).get("/1")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


@obeys("max_retries", "retry_delay_ms")
@pytest.mark.parametrize("retries", [0, 2])
def test_the_config_says_how_often_a_marked_error_is_tried_again(retries: int, monkeypatch: Any) -> None:
    from cello.cqrs import RetryableError

    app, tries, delays = App(), [], []
    app.enable_cqrs(CqrsConfig(max_retries=retries, retry_delay_ms=7))
    monkeypatch.setattr("cello.cqrs.bus.pause_s", lambda delay_ms, attempt: delays.append(delay_ms) or 0)

    @app.command_bus.handler(Rename)
    def rename(command: Rename) -> None:
        tries.append(command.id)
        raise RetryableError

    app.command_route("/", Rename)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/", json={"id": 1, "name": ""}).status == 500
    assert (len(tries), delays) == (retries + 1, [7] * retries)


def test_openapi_describes_what_commands_and_queries_take_and_answer() -> None:
    document = make_routes().openapi()
    validate(document)
    put = document["paths"]["/orders/{id}/name"]["put"]
    schema = document["components"]["schemas"]["RenameBody"]
    assert (sorted(schema["properties"]), schema["required"]) == (["name", "tags"], ["name"])
    assert put["operationId"] == "rename_put"
    assert put["summary"] == "Give an order another name"
    assert put["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Order"}
    assert {"409", "422", "503"} <= put["responses"].keys()
    get = document["paths"]["/orders/{id}"]["get"]
    shown = {each["name"]: (each["in"], each.get("required", False)) for each in get["parameters"]}
    assert shown == {"id": ("path", True), "limit": ("query", False), "near": ("query", False)}


REFUSED: dict[str, tuple[Callable[[App], object], str]] = {
    "a command without fields": (
        lambda app: app.command_route("/x", type("Bare", (Command,), {})),
        "Bare has no annotated fields",
    ),
    "a path with another name": (lambda app: app.command_route("/{nr}", Rename), "Rename has no field 'nr'"),
    "a query with another name": (lambda app: app.query_route("/{nr}", Find), "Find has no field 'nr'"),
    "a config of another kind": (lambda app: App().enable_cqrs({"max_retries": 1}), "takes a CqrsConfig"),  # type: ignore[arg-type]
    "twice": (lambda app: app.enable_cqrs(), r"enable_cqrs\(\) was called already"),
    "a bus without the switch": (lambda app: App().command_bus, r"app\.command_bus needs app\.enable_cqrs\(\)"),
    "a route without the switch": (lambda app: App().query_route("/", Find), r"needs app\.enable_cqrs\(\)"),
}


@pytest.mark.parametrize(("act", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused(act: Callable[[App], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        act(App().enable_cqrs())


def test_a_dependency_that_nobody_provides_ends_the_start() -> None:
    app = App().enable_cqrs()

    @app.command_bus.handler(Rename)
    def rename(command: Rename, mailer: Any = Depends("mailer")) -> None: ...

    with pytest.raises(ConfigError, match="parameter 'mailer': there is no dependency 'mailer'"), TestClient(app):
        pass


def test_messages_are_counted_by_what_became_of_them(serve: Test) -> None:
    app = make_routes()
    app.enable_prometheus()
    client = serve(app)
    client.post("/orders", json={"id": 1, "name": "Ada"})
    client.post("/orders", json={"id": 1, "name": "taken"})
    client.get("/orders/0")
    text = client.get("/metrics").text
    for kind, message, outcome in (
        ("command", "Rename", "ok"), ("command", "Rename", "failed"), ("query", "Find", "not_found"),
    ):  # fmt: skip
        labels = f'kind="{kind}",message="{message}",outcome="{outcome}"'
        assert f"cqrs_duration_seconds_count{{{labels}}} 1" in text, text


class Deposit(Command):
    account: str
    amount: int


class Balance(Query):
    account: str


def make_bank(store: str, **config: Any) -> App:
    """Return an application whose query side is fed by a projection that takes its time."""
    app = App()
    app.enable_event_sourcing(
        EventSourcingConfig() if store == "memory" else EventSourcingConfig(store_type="sqlite", connection_url=store)
    )
    app.enable_cqrs(CqrsConfig(**config))
    balances: dict[str, int] = {}

    @app.projection("balances", "Deposited")
    async def project(event: Any) -> None:
        await asyncio.sleep(0.1)
        balances[event.aggregate_id] = balances.get(event.aggregate_id, 0) + event.data["amount"]

    @app.command_bus.handler(Deposit)
    async def deposit(command: Deposit, events: Any = Depends("event_store")) -> int:
        return int(await events.append(command.account, [Event("Deposited", {"amount": command.amount})]))

    @app.query_bus.handler(Balance)
    def balance(query: Balance) -> Any:
        return balances.get(query.account)

    app.command_route("/deposits", Deposit)
    app.query_route("/balances/{account}", Balance)
    return app


@obeys("enable_event_sync")
@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_after_a_command_queries_show_what_projections_made_of_it(serve: Test, store: str, tmp_path: Any) -> None:
    url = store if store == "memory" else f"sqlite:///{tmp_path}/events.db"
    client = serve(make_bank(url, event_sync_timeout_ms=20_000))
    for total in (5, 10, 15):
        assert client.post("/deposits", json={"account": "ada", "amount": 5}).status == 200
        assert client.get("/balances/ada").json() == total


@obeys("enable_event_sync")
def test_without_event_sync_projections_follow_when_they_can(serve: Test) -> None:
    client = serve(make_bank("memory", enable_event_sync=False))
    assert client.post("/deposits", json={"account": "ada", "amount": 5}).status == 200
    assert client.get("/balances/ada").status == 404
    deadline = time.monotonic() + 30
    while (answer := client.get("/balances/ada")).status == 404:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert answer.json() == 5


@obeys("event_sync_timeout_ms")
def test_a_slow_projection_holds_a_command_up_for_so_long_at_most(serve: Test, caplog: Any) -> None:
    client = serve(make_bank("memory", event_sync_timeout_ms=10))
    assert client.post("/deposits", json={"account": "ada", "amount": 5}).json() == 1
    assert "event sync: projections that are behind after 0.01 s: balances" in caplog.text


def test_a_projection_that_dispatches_a_command_does_not_wait_for_itself() -> None:
    app = App()
    app.enable_event_sourcing()
    app.enable_cqrs(CqrsConfig(event_sync_timeout_ms=60_000))
    seen: list[str] = []

    @app.command_bus.handler(Deposit)
    async def deposit(command: Deposit, events: Any = Depends("event_store")) -> None:
        await events.append(command.account, [Event("Deposited", {"amount": command.amount})])

    @app.projection("interest", "Deposited")
    async def interest(event: Any) -> None:
        seen.append(event.aggregate_id)
        if event.aggregate_id == "ada":
            await app.command_bus.dispatch(Deposit(account="bank", amount=1))

    app.command_route("/deposits", Deposit)
    with TestClient(app) as client:
        assert client.post("/deposits", json={"account": "ada", "amount": 5}).status == 204
        deadline = time.monotonic() + 30
        while seen != ["ada", "bank"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_conflict_of_writers_is_tried_again() -> None:
    app = App()
    app.enable_event_sourcing()
    app.enable_cqrs(CqrsConfig(retry_delay_ms=1))
    expected = [7, 0]

    @app.command_bus.handler(Deposit)
    async def deposit(command: Deposit, events: Any = Depends("event_store")) -> int:
        return int(await events.append("ada", [Event("Deposited", {})], expected_version=expected.pop(0)))

    app.command_route("/deposits", Deposit)
    with TestClient(app) as client:
        assert client.post("/deposits", json={"account": "ada", "amount": 5}).json() == 1
    assert expected == []


def test_every_field_is_obeyed_somewhere() -> None:
    assert {field.name for field in dataclasses.fields(CqrsConfig)} == OBEYED  # type: ignore[arg-type]  # it is one
