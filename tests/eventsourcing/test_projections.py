"""Projections on every kind of store: catch up and live, checkpoints, one runner, rebuild, faults, kill -9."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from cello import App
from cello.errors import ConfigError
from cello.eventsourcing import Event, EventSourcingConfig, EventStore, Projection, event_handler
from cello.testing import TestClient
from tests.eventsourcing.conftest import IN_DATABASES
from tests.gateways.test_limits import obeys

PATIENCE_S = 30


async def until(holds: Callable[[], Any]) -> None:
    """Wait for something to be true."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


@contextmanager
def running(app: App) -> Iterator[TestClient]:
    with TestClient(app, "asgi") as client:
        yield client


def make_app(config: EventSourcingConfig) -> App:
    app = App()
    app.enable_event_sourcing(config)

    @app.post("/append/{count:int}")
    async def append(request: Any, count: int) -> Any:
        return await request.app.event_store.append("a", [Event("Counted", {"n": n}) for n in range(count)])

    @app.post("/wait/{name}")
    async def wait(request: Any, name: str) -> Any:
        await request.app.projections.wait(name, timeout=PATIENCE_S)

    @app.post("/rebuild/{name}")
    async def rebuild(request: Any, name: str) -> Any:
        await request.app.projections.rebuild(name)

    @app.get("/status/{name}")
    async def status(request: Any, name: str) -> Any:
        return await request.app.projections.status(name)

    return app


@pytest.mark.parametrize("colour", ["def", "async"])
def test_a_projection_catches_up_goes_on_live_and_remembers(
    make_config: Callable[..., EventSourcingConfig], store_type: str, colour: str
) -> None:
    seen: list[int] = []
    threads: set[bool] = set()

    def see(event: Event) -> None:
        seen.append(event.position)
        threads.add(threading.current_thread() is threading.main_thread())

    def make() -> App:
        app = make_app(make_config())
        if colour == "def":
            app.projection("seen")(see)
        else:

            @app.projection("seen")
            async def see_async(event: Event) -> None:
                see(event)

        return app

    app = make()
    with running(app) as client:
        client.post("/append/250")
        client.post("/wait/seen")
        assert seen == list(range(1, 251))
        client.post("/append/1")
        client.post("/wait/seen")
        status = client.get("/status/seen").json()
        assert (status["position"], status["lag"], status["is_leading"], status["fault"]) == (251, 0, True, None)
    if store_type == "memory":
        return  # gone with its process
    with running(make()) as client:
        client.post("/append/1")
        client.post("/wait/seen")
    assert seen == list(range(1, 253))


@dataclass
class Deposited:
    amount: int


def test_an_object_has_a_handler_for_each_type_and_models_for_data(config: EventSourcingConfig) -> None:
    app = make_app(config)

    class Totals(Projection):
        total = 0
        others = 0

        @event_handler(Deposited)
        async def on_deposited(self, event: Event) -> None:
            self.total += event.data.amount

        @event_handler("Closed", "Opened")
        def on_other(self, event: Event) -> None:
            self.others += 1

    totals = Totals()
    assert app.projection("totals")(totals) is totals

    @app.post("/deposit")
    async def deposit(request: Any) -> Any:
        store = request.app.event_store
        await store.append("a", [Deposited(5), Event("Opened"), Event("Unknown"), Deposited(7), Event("Closed")])

    with running(app) as client:
        client.post("/deposit")
        client.post("/wait/totals")
        assert (totals.total, totals.others) == (12, 2)
        assert client.get("/status/totals").json()["position"] == 5


def test_only_the_types_that_were_named_come(config: EventSourcingConfig) -> None:
    app = make_app(config)
    seen: list[Any] = []

    @app.projection("some", Deposited, "Counted")
    async def some(event: Event) -> None:
        seen.append(event.event_type)

    @app.post("/mix")
    async def mix(request: Any) -> Any:
        await request.app.event_store.append("a", [Event("X"), Deposited(1), Event("Y"), Event("Counted")])

    with running(app) as client:
        client.post("/mix")
        client.post("/wait/some")
    assert seen == ["Deposited", "Counted"]


@pytest.mark.parametrize("colour", ["def", "async"])
def test_a_rebuild_resets_and_gives_all_events_again(config: EventSourcingConfig, colour: str) -> None:
    app = make_app(config)
    seen: list[int] = []
    resets: list[list[int]] = []

    def reset() -> None:
        resets.append(list(seen))
        seen.clear()

    async def reset_async() -> None:
        reset()

    app.projection("seen", reset=reset if colour == "def" else reset_async)(lambda event: seen.append(event.position))
    with running(app) as client:
        client.post("/append/3")
        client.post("/wait/seen")
        client.post("/rebuild/seen")
        client.post("/wait/seen")
        assert client.get("/status/seen").json()["generation"] == 1
    assert (seen, resets) == ([1, 2, 3], [[1, 2, 3]])


def test_an_event_that_fails_holds_the_others_up_until_it_does_not(config: EventSourcingConfig) -> None:
    app = make_app(config)
    app.enable_health_checks()
    app.enable_prometheus()
    seen: list[int] = []
    broken = threading.Event()
    broken.set()

    @app.projection("shaky")
    def shaky(event: Event) -> None:
        if event.position == 3 and broken.is_set():
            raise RuntimeError("the secret reason")
        seen.append(event.position)

    with running(app) as client:
        client.post("/append/5")
        while client.get("/status/shaky").json()["fault"] is None:
            pass
        status = client.get("/status/shaky").json()
        assert (status["position"], status["lag"]) == (2, 3)
        assert "at position 3: RuntimeError('the secret reason')" in status["fault"]
        assert 'projection_lag_events{name="shaky"} 3' in client.get("/metrics").text
        health = client.get("/health")
        assert (health.status, health.json()["status"]) == (200, "degraded")
        assert "secret" not in health.text
        broken.clear()
        client.post("/wait/shaky")
        assert client.get("/status/shaky").json()["fault"] is None
        assert client.get("/health").json()["status"] == "up"
    assert seen == [1, 2, 3, 4, 5]


def test_an_event_that_always_fails_is_left_out_if_so_decided(config: EventSourcingConfig) -> None:
    app = make_app(config)
    app.enable_prometheus()
    seen: list[int] = []

    @app.projection("picky", skip_after=3)
    async def picky(event: Event) -> None:
        seen.append(event.position)
        if event.position == 2:
            raise RuntimeError("never")

    with running(app) as client:
        client.post("/append/4")
        client.post("/wait/picky")
        text = client.get("/metrics").text
        assert 'projection_events_total{name="picky",outcome="handled"} ' in text
        assert 'projection_events_total{name="picky",outcome="skipped"} 1' in text
        assert 'projection_events_total{name="picky",outcome="failed"} 3' in text
        while 'projection_lag_events{name="picky"} 0' not in client.get("/metrics").text:
            pass  # it is told a moment after the checkpoint
    assert seen == [1, 2, 2, 2, 3, 4]


@pytest.mark.parametrize("store_type", IN_DATABASES)
def test_what_a_projection_does_in_its_transaction_happens_once(config: EventSourcingConfig) -> None:
    app = make_app(config)
    table = f"{config.table_prefix}leases"  # any table of the store's own database will do
    failures = iter([True, True])

    @app.projection("once", batch=10)
    async def once(event: Event, tx: Any) -> None:
        await tx.execute(f"INSERT INTO {table} VALUES ($1, 'x', 0, 0)", f"e{event.position}")
        if event.position == 5 and next(failures, False):
            raise RuntimeError("once more")

    @app.get("/rows")
    async def rows(request: Any) -> Any:
        database = request.app.event_store.aio.database
        found = await database.fetch_all(f"SELECT name FROM {table} WHERE name LIKE 'e%' ORDER BY name")
        return [row["name"] for row in found]

    with running(app) as client:
        client.post("/append/9")
        client.post("/wait/once")
        assert client.get("/rows").json() == [f"e{number}" for number in range(1, 10)]


def test_events_that_a_projection_appends_say_what_caused_them(config: EventSourcingConfig) -> None:
    app = make_app(config)

    @app.projection("reacting", "Counted")
    async def reacting(event: Event) -> None:
        await app.event_store.append("b", Event("Reacted", id=f"reacted:{event.id}"))

    @app.get("/events")
    async def events(request: Any) -> Any:
        return [event.json() async for _, event in request.app.event_store.feed()]

    app.enable_request_id()
    with running(app) as client:
        client.post("/append/1", headers={"X-Request-ID": "r-7"})
        client.post("/wait/reacting")
        first, second = client.get("/events").json()
    assert first["metadata"] == {"correlation_id": "r-7"}
    assert second["metadata"] == {"correlation_id": "r-7", "causation_id": first["id"]}


def test_def_handlers_look_after_projections_too(serve: Callable[..., Any], config: EventSourcingConfig) -> None:
    app = App()
    app.enable_event_sourcing(config)
    seen: list[int] = []
    app.projection("seen", reset=seen.clear)(lambda event: seen.append(event.position))

    @app.post("/append")
    def append(request: Any) -> Any:
        return request.app.event_store.append("a", Event("X"))

    @app.post("/wait")
    def wait(request: Any) -> Any:
        request.app.projections.wait("seen", timeout=PATIENCE_S)

    @app.post("/rebuild")
    def rebuild(request: Any) -> Any:
        request.app.projections.rebuild("seen")

    @app.get("/status")
    def status(request: Any) -> Any:
        return request.app.projections.status("seen").generation

    client = serve(app)
    for _ in range(2):
        client.post("/append")
    client.post("/wait")
    assert seen == [1, 2]
    client.post("/rebuild")
    client.post("/wait")
    assert (seen, client.get("/status").json()) == ([1, 2], 1)


# One runner over all processes


@obeys("EventSourcingConfig.lease_secs")
@pytest.mark.parametrize("store_type", IN_DATABASES)
def test_one_of_many_applications_runs_a_projection_and_another_takes_over(
    make_config: Callable[..., EventSourcingConfig],
) -> None:
    config = make_config(lease_secs=1)
    seen: list[tuple[int, int]] = []
    apps = []
    for number in range(3):
        app = make_app(config)
        app.projection("one")(lambda event, number=number: seen.append((number, event.position)))  # type: ignore[misc]
        apps.append(app)
    with ExitStack() as stack:
        clients = [stack.enter_context(running(app)) for app in apps]
        clients[0].post("/append/50")
        clients[0].post("/wait/one")
        assert [position for _, position in seen] == list(range(1, 51))
        assert len({number for number, _ in seen}) == 1
        leading = [client.get("/status/one").json()["is_leading"] for client in clients]
        leader = leading.index(True)
        assert leading.count(True) == 1
        clients[leader].__exit__(None, None, None)  # ends in order, and gives its lease back
        other = clients[(leader + 1) % 3]
        other.post("/append/50")
        other.post("/wait/one")
        assert [position for _, position in seen] == list(range(1, 101))
        assert {number for number, _ in seen[50:]} != {leader}


@pytest.mark.parametrize("store_type", IN_DATABASES)
async def test_a_checkpoint_of_a_former_holder_does_not_count(store: EventStore) -> None:
    journal = store._journal
    known = await journal.checkpoint("p")
    assert await journal.take("p", 5)
    assert await journal.advance("p", 5, known._replace(position=10))
    assert await journal.take("p", 6)
    assert not await journal.advance("p", 5, known._replace(position=3))
    assert not await journal.take("p", 5)
    assert await journal.advance("p", 6, known._replace(position=11))
    await journal.rewind("p")
    assert not await journal.advance("p", 6, known._replace(position=12))
    assert (await journal.checkpoint("p"))[:3] == (0, 1, True)


@pytest.mark.parametrize("store_type", IN_DATABASES)
async def test_a_lease_is_held_by_one_and_passes_on(store: EventStore) -> None:
    leases = store._journal.leases
    first = await leases.acquire("x", "one", 60)
    assert first is not None
    assert await leases.acquire("x", "other", 60) is None
    assert await leases.acquire("y", "other", 60) is not None
    assert await leases.renew("x", "one", first, 60)
    assert await leases.renew("x", "one", first, 60)  # at once, where little has changed
    assert await leases.holder("x") == "one"
    again = await leases.acquire("x", "one", 0.05)
    assert again is not None
    assert again > first
    assert not await leases.renew("x", "one", first, 60)
    await until_async(lambda: leases.acquire("x", "other", 60))
    assert not await leases.renew("x", "one", again, 60)
    await leases.release("x", "one", again)  # of another by now: nothing happens
    assert await leases.holder("x") == "other"


async def until_async(attempt: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await attempt() is None:
            await asyncio.sleep(0.01)


async def test_of_many_who_want_a_lease_at_once_one_gets_it(store: EventStore) -> None:
    leases = store._journal.leases
    tokens = await asyncio.gather(*(leases.acquire("x", f"owner-{number}", 60) for number in range(20)))
    assert len([token for token in tokens if token is not None]) == 1


# kill -9


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store_type", IN_DATABASES)
@pytest.mark.parametrize("kind", ["tx", "plain"])
async def test_a_killed_runner_is_taken_over_without_loss(
    make_config: Callable[..., EventSourcingConfig], kind: str
) -> None:
    config = make_config(lease_secs=0.5)
    table = f"{config.table_prefix}leases_seen"
    async with await EventStore.connect(config) as store:
        database = store.database
        await database.execute(f"CREATE TABLE {table} (position BIGINT, id VARCHAR(128), process BIGINT)")
        processes = [start(config, kind, table) for _ in range(2)]
        total = 0
        for killed in range(3):
            for _ in range(10):
                await store.append("a", [Event("Counted") for _ in range(10)])
            total += 100
            enough = total - 100 + 10 * (killed + 1)
            async with asyncio.timeout(60):
                while await database.fetch_val(f"SELECT count(*) FROM {table}") < enough:
                    await asyncio.sleep(0.005)
            last = await database.fetch_val(f"SELECT process FROM {table} ORDER BY position DESC LIMIT 1")
            victim = next(process for process in processes if process.pid == last)
            victim.kill()
            victim.wait()
            processes.remove(victim)
            processes.append(start(config, kind, table))
        async with asyncio.timeout(60):
            while await database.fetch_val(f"SELECT max(position) FROM {table}") < total:
                await asyncio.sleep(0.01)
        for process in processes:
            process.kill()
            process.wait()
        rows = await database.fetch_all(f"SELECT position, id FROM {table} ORDER BY position")
        await database.execute(f"DROP TABLE {table}")
        assert {row["position"] for row in rows} == set(range(1, total + 1))
        assert len({row["id"] for row in rows}) == total
        doubled = len(rows) - total  # of each process that was killed at most a batch
        assert doubled == 0 if kind == "tx" else 0 <= doubled <= 3 * 7


def start(config: EventSourcingConfig, kind: str, table: str) -> "subprocess.Popen[bytes]":
    told = json.dumps(asdict(config))  # type: ignore[call-overload]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.eventsourcing.projector", told, kind, table],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline() == b"running\n"
    return process


# What cannot be

CANNOT_BE: dict[str, tuple[Callable[[App], Any], str]] = {
    "a name twice": (lambda app: [app.projection("a")(print_it) for _ in range(2)], "a projection named 'a' already"),
    "a class": (lambda app: app.projection("a")(Projection), "give an object, Projection"),
    "no function": (lambda app: app.projection("a")(42), "a function, or an object with @event_handler, not 42"),
    "too many parameters": (lambda app: app.projection("a")(lambda event, more: None), "takes .event. or .event, tx."),
    "a def with a transaction": (lambda app: app.projection("a")(lambda event, tx: None), "so it must be async def"),
    "too large a batch": (lambda app: app.projection("a", batch=5_000)(print_it), "batch must be from 1 to 1000"),
    "no attempt at all": (lambda app: app.projection("a", skip_after=0)(print_it), "skip_after must be at least 1"),
}


def print_it(event: Event) -> None:
    print(event)


@pytest.mark.parametrize(("make", "message"), CANNOT_BE.values(), ids=CANNOT_BE.keys())
def test_what_cannot_be_is_refused(make: Callable[[App], Any], message: str) -> None:
    app = App()
    app.enable_event_sourcing()
    with pytest.raises(ConfigError, match=message):
        make(app)


def test_a_transaction_needs_a_database() -> None:
    app = App()
    app.enable_event_sourcing()

    @app.projection("a")
    async def project(event: Event, tx: Any) -> None: ...

    with pytest.raises(ConfigError, match="'a' takes tx, but the event store is in memory"), running(app):
        pass


def test_a_projection_that_is_not_there_is_named() -> None:
    app = make_app(EventSourcingConfig())
    with TestClient(app, "asgi", raise_server_exceptions=True) as client, pytest.raises(ConfigError, match="'nobody'"):
        client.get("/status/nobody")
    with pytest.raises(ConfigError, match=r"app\.projection: call app\.enable_event_sourcing"):
        App().projection("a")(print_it)
