"""The example service, on SQLite and on PostgreSQL with Redis, through every gateway."""

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from cello.database import Database
from cello.serve.importing import load_app
from cello.testing import TestClient
from tests.database.servers import reachable

APP = Path(__file__).resolve().parents[1] / "examples" / "rest_api" / "app.py"


@contextlib.contextmanager
def own_database(url: str) -> Iterator[str]:
    """Make a database for one test."""
    name = f"cello_{uuid.uuid4().hex[:12]}"

    async def say(sql: str) -> None:
        async with await Database.connect(url) as db:
            await db.execute(sql)

    asyncio.run(say(f"CREATE DATABASE {name}"))
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        asyncio.run(say(f"DROP DATABASE {name}"))


@pytest.fixture(params=["sqlite", "postgresql and redis"])
def service(
    request: pytest.FixtureRequest, gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        if request.param != "sqlite":
            monkeypatch.setenv(
                "DATABASE_URL", stack.enter_context(own_database(stack.enter_context(reachable("postgresql"))))
            )
            monkeypatch.setenv("REDIS_URL", stack.enter_context(reachable("redis")))
            monkeypatch.setenv("REDIS_PREFIX", f"{uuid.uuid4().hex}:")
        app = load_app(f"{APP}:app")
        yield stack.enter_context(TestClient(app, gateway, raise_server_exceptions=False))


def test_tasks_are_made_read_changed_and_deleted(service: TestClient) -> None:
    made = service.post("/tasks", json={"title": "write"})
    assert made.status_code == 201
    task: dict[str, Any] = made.json()
    assert made.headers["location"] == f"/tasks/{task['id']}"
    for _ in range(2):  # from the database, then from the cache where there is one
        assert service.get(f"/tasks/{task['id']}").json() == {"title": "write", "done": False, "id": task["id"]}
    assert service.post("/tasks", json={"title": "write"}).status_code == 409
    assert service.post("/tasks", json={"title": ""}).status_code == 422
    changed = service.put(f"/tasks/{task['id']}", json={"title": "write more", "done": True})
    assert changed.json() == {"title": "write more", "done": True, "id": task["id"]}
    assert service.get(f"/tasks/{task['id']}").json() == changed.json()
    assert service.put("/tasks/nobody", json={"title": "x"}).status_code == 404
    assert service.delete(f"/tasks/{task['id']}").status_code == 204
    assert service.delete(f"/tasks/{task['id']}").status_code == 404
    assert service.get(f"/tasks/{task['id']}").status_code == 404


def test_tasks_are_listed_by_pages(service: TestClient) -> None:
    for number in range(5):
        assert service.post("/tasks", json={"title": f"task {number}", "done": number % 2 == 0}).status_code == 201
    first = service.get("/tasks?limit=3").json()
    assert [task["title"] for task in first] == ["task 0", "task 1", "task 2"]
    rest = service.get("/tasks", params={"limit": "3", "after": first[-1]["title"]}).json()
    assert [task["title"] for task in rest] == ["task 3", "task 4"]
    assert [task["title"] for task in service.get("/tasks?done=false").json()] == ["task 1", "task 3"]
    assert service.get("/tasks?limit=1000").status_code == 422
    assert service.get("/health").json()["status"] == "up"
    assert "/tasks/{id}" in service.get("/openapi.json").json()["paths"]
