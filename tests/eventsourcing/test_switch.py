"""enable_event_sourcing: one store and its repositories for handlers of both colours, through every gateway."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from cello import App, ConfigError, Depends
from cello.eventsourcing import Aggregate, Event, EventSourcingConfig, EventStore, event_handler
from cello.review import Deployment
from cello.testing import TestClient
from tests.gateways.test_limits import EVERYWHERE, obeys
from tests.integration.hosts import free_port


class Account(Aggregate):
    balance: int

    def __init__(self, aggregate_id: str | None = None) -> None:
        super().__init__(aggregate_id)
        self.balance = 0

    def deposit(self, amount: int) -> None:
        self.apply(Event("Deposited", {"amount": amount}))

    @event_handler("Deposited")
    def on_deposited(self, event: Event) -> None:
        self.balance += event.data["amount"]


def make_app(config: EventSourcingConfig | None, colour: str) -> App:
    """Return an application with the same handlers in the colour at hand."""
    app = App()
    assert app.enable_event_sourcing(config) is app
    app.repository(Account, "accounts")

    if colour == "def":

        @app.post("/accounts/{id}")
        def deposit(id: str, accounts: Any = Depends("accounts")) -> Any:
            account = accounts.update(id, lambda account: account.deposit(5), create=True)
            return {"balance": account.balance}

        @app.get("/accounts/{id}")
        def show(id: str, accounts: Any = Depends("accounts")) -> Any:
            return {"balance": accounts.get(id).balance}

        @app.post("/stale/{id}")
        def stale(request: Any, id: str) -> Any:
            return request.app.event_store.append(id, Event("X"), 77)

        @app.get("/feed")
        def feed(store: Any = Depends("event_store")) -> Any:
            return [[position, event.event_type, event.metadata] for position, event in store.feed()]

    else:

        @app.post("/accounts/{id}")
        async def deposit(id: str, accounts: Any = Depends("accounts")) -> Any:
            account = await accounts.update(id, lambda account: account.deposit(5), create=True)
            return {"balance": account.balance}

        @app.get("/accounts/{id}")
        async def show(id: str, accounts: Any = Depends("accounts")) -> Any:
            return {"balance": (await accounts.get(id)).balance}

        @app.post("/stale/{id}")
        async def stale(request: Any, id: str) -> Any:
            return await request.app.event_store.append(id, Event("X"), 77)

        @app.get("/feed")
        async def feed(store: Any = Depends("event_store")) -> Any:
            return [[position, event.event_type, event.metadata] async for position, event in store.feed()]

    return app


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_handlers_use_repositories_and_the_store(
    serve: Callable[..., Any], make_config: Callable[..., EventSourcingConfig], colour: str
) -> None:
    app = make_app(make_config(), colour)
    app.enable_request_id()
    app.enable_health_checks()
    client = serve(app)
    assert client.get("/accounts/ada").status == 404
    assert client.get("/accounts/ada").json()["detail"] == "There is no Account ada."
    headers = {"X-Request-ID": "r-1", "traceparent": TRACEPARENT}
    assert client.post("/accounts/ada", headers=headers).json() == {"balance": 5}
    assert client.post("/accounts/ada").json() == {"balance": 10}
    assert client.get("/accounts/ada").json() == {"balance": 10}
    stale = client.post("/stale/ada")
    assert (stale.status, stale.json()["detail"]) == (409, "It was changed by somebody else meanwhile.")
    (first, second) = client.get("/feed").json()
    assert first == [
        1,
        "Deposited",
        {"correlation_id": "r-1", "trace_id": "0af7651916cd43dd8448eb211c80319c"},
    ]
    assert second[:2] == [2, "Deposited"]
    assert "trace_id" not in second[2]
    assert client.get("/health").json()["checks"]["event_store"]["details"]["events"] == 2


@obeys("EventSourcingConfig.connection_url", *EVERYWHERE)
def test_a_store_lives_in_the_applications_database(tmp_path: Path, serve: Callable[..., Any], colour: str) -> None:
    app = make_app(EventSourcingConfig("sqlite"), colour)
    app.enable_database(f"sqlite:///{tmp_path}/app.db")  # after the store: the order does not matter

    if colour == "def":

        @app.post("/both")
        def both(request: Any) -> Any:
            with request.database.transaction():
                request.app.event_store.append("a", Event("X"))
                raise ValueError("no")

    else:

        @app.post("/both")
        async def both(request: Any) -> Any:
            async with request.database.transaction():
                await request.app.event_store.append("a", Event("X"))
                raise ValueError("no")

    client = serve(app)
    assert client.post("/accounts/ada").json() == {"balance": 5}
    assert client.post("/both").status == 500
    assert len(client.get("/feed").json()) == 1
    assert app.event_store.aio.database is app.database.aio


def test_the_default_store_of_sqlite_is_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with TestClient(make_app(EventSourcingConfig(store_type="sqlite"), "def")) as client:
        assert client.post("/accounts/ada").json() == {"balance": 5}
    assert (tmp_path / "cello_events.db").exists()


def test_the_default_store_is_in_memory() -> None:
    with TestClient(make_app(None, "async")) as client:
        assert client.post("/accounts/ada").json() == {"balance": 5}


def test_a_server_that_cannot_be_reached_ends_the_start() -> None:
    app = App()
    app.enable_event_sourcing(EventSourcingConfig.postgresql(f"postgresql://root@127.0.0.1:{free_port()}/test"))
    with pytest.raises(Exception, match=r"(?i)connect|refused"), TestClient(app):
        pass


def test_mysql_without_an_address_ends_the_start() -> None:
    app = App()
    app.enable_event_sourcing(EventSourcingConfig(store_type="mysql"))
    with pytest.raises(ConfigError, match="needs connection_url=, or enable_database"), TestClient(app):
        pass


@obeys("EventSourcingConfig.event_ttl_secs")
def test_old_events_are_archived_while_the_application_runs(make_config: Callable[..., EventSourcingConfig]) -> None:
    app = make_app(make_config(event_ttl_secs=0.2), "async")

    @app.get("/archived")
    async def archived(store: Any = Depends("event_store")) -> Any:
        return await store.archived()

    with TestClient(app, "asgi") as client:
        for _ in range(3):
            client.post("/accounts/ada")
        while client.get("/archived").json() < 3:
            pass
        assert client.post("/accounts/ada").json() == {"balance": 20}
        assert [row[0] for row in client.get("/feed").json()] == [1, 2, 3, 4]


FINDINGS = {
    "memory and one process": ("memory", "development", 1, 1, []),
    "memory in production": ("memory", "production", 1, 1, ["warning"]),
    "memory and several workers": ("memory", "production", 2, 1, ["error"]),
    "a file on one machine": ("sqlite", "production", 4, 1, []),
    "a file on several machines": ("sqlite", "production", 1, 2, ["error"]),
}


@pytest.mark.parametrize(("kind", "env", "workers", "machines", "levels"), FINDINGS.values(), ids=FINDINGS.keys())
def test_a_store_that_not_all_reach_is_found(kind: str, env: str, workers: int, machines: int, levels: Any) -> None:
    app = App()
    app.enable_event_sourcing(EventSourcingConfig(kind))
    deployment = Deployment(env, False, "127.0.0.1", workers, machines, True, True)
    assert [found.level for found in app.feature("event_sourcing").review(deployment)] == levels


def test_what_is_missing_is_said() -> None:
    app = App()
    with pytest.raises(ConfigError, match=r"call app\.enable_event_sourcing\(\) first"):
        _ = app.event_store
    with pytest.raises(ConfigError, match=r"app\.repository: call app\.enable_event_sourcing\(\) first"):
        app.repository(Account)
    with pytest.raises(ConfigError, match="takes an EventSourcingConfig, not 'sqlite'"):
        app.enable_event_sourcing("sqlite")  # type: ignore[arg-type]
    app.enable_event_sourcing()
    app.repository(Account, "accounts")
    with pytest.raises(ConfigError, match="a dependency named 'accounts' already"):
        app.repository(Account, "accounts")


def test_an_async_method_in_a_def_handler_says_what_to_do(serve: Callable[..., Any]) -> None:
    app = make_app(None, "def")

    @app.get("/wrong")
    def wrong(request: Any) -> Any:
        try:
            request.app.event_store.aio.append("a", Event("X"))
        except TypeError as error:
            return str(error)

    assert "use .blocking.append() there, or make the handler async def" in serve(app).get("/wrong").text


async def test_the_programs_of_the_reference_run_as_they_are() -> None:
    class OrderAggregate(Aggregate):
        @event_handler("OrderCreated")
        def on_order_created(self, event: Event) -> None:
            self.state["status"] = "created"
            self.state["items"] = event.data.get("items", [])

    store = await EventStore.connect(EventSourcingConfig.memory())
    order = OrderAggregate()
    order.apply(Event(event_type="OrderCreated", data={"items": ["item1"]}, aggregate_id=order.id))
    await store.append(order.id, order.uncommitted_events)
    order.clear_uncommitted()
    again = OrderAggregate(aggregate_id=order.id)
    again.load_from_events(await store.get_events(order.id))
    assert again.state == {"status": "created", "items": ["item1"]}
    await store.close()


def test_every_field_has_a_test_of_what_obeys_it() -> None:
    named = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r'@obeys\("EventSourcingConfig\.(\w+)"', path.read_text("utf-8"))
    }
    assert named == {field.name for field in fields(EventSourcingConfig)}  # type: ignore[arg-type]
