"""A database that goes away and comes back, while events are appended and a projection runs."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from cello import App
from cello.eventsourcing import Event, EventSourcingConfig
from cello.testing import TestClient
from tests.database.servers import Mariadb, Postgres, Server, running

PATIENCE_S = 60
SERVERS: dict[str, type[Server]] = {"postgresql": Postgres, "mysql": Mariadb}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server of the test's own, which it may kill."""
    with running(SERVERS[request.param]()) as started:
        started.kind = request.param  # type: ignore[attr-defined]
        yield started


@pytest.mark.timeout(240)
def test_appends_and_a_projection_survive_the_death_of_the_server(server: Any) -> None:
    app = App()
    app.enable_event_sourcing(EventSourcingConfig(server.kind, connection_url=server.url, lease_secs=2))
    seen: list[str] = []

    @app.projection("seen", batch=3)
    async def see(event: Event) -> None:
        seen.append(event.id)

    @app.post("/append/{id}")
    async def append(request: Any, id: str) -> Any:
        return await request.app.event_store.append("a", Event("Counted", id=id))

    def append_until_it_works(client: Any, id: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while client.post(f"/append/{id}").status != 200:  # 503 while the server is away
            assert time.monotonic() < deadline_s
            time.sleep(0.05)

    with TestClient(app, "asgi", raise_server_exceptions=False) as client:
        for number in range(20):
            append_until_it_works(client, f"before-{number}")
        server.kill()
        assert client.post("/append/meanwhile").status == 503
        server.start()
        for number in range(20):
            append_until_it_works(client, f"after-{number}")
        wanted = {f"{when}-{number}" for when in ("before", "after") for number in range(20)}
        deadline_s = time.monotonic() + PATIENCE_S
        while not wanted <= set(seen):
            assert time.monotonic() < deadline_s, sorted(wanted - set(seen))
            time.sleep(0.05)
    first_seen = list(dict.fromkeys(seen))
    assert [each for each in first_seen if each != "meanwhile"] == [
        *(f"before-{number}" for number in range(20)),
        *(f"after-{number}" for number in range(20)),
    ]
