"""enable_database: one object for handlers of both colours, through every gateway."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cello import App, ConfigError, DatabaseConfig, Depends, Response
from cello.database import Database, OperationalError, PoolTimeout, UniqueViolation, WrongColour, transactional
from cello.testing import TestClient
from tests.integration.hosts import free_port

ROWS = 20


def make_app(url: str, colour: str, table: str, **fields: Any) -> App:
    """Return an application with the same handlers in the colour at hand."""
    app = App()
    app.enable_database(DatabaseConfig(url, **fields))

    @app.on_event("startup")
    async def fill() -> None:
        db = app.database
        await db.execute(f"DROP TABLE IF EXISTS {table}")
        await db.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name VARCHAR(20))")
        await db.execute_many(f"INSERT INTO {table} VALUES ($1, $2)", [(i, f"n{i}") for i in range(ROWS)])

    @app.on_event("shutdown")
    async def drop() -> None:
        await app.database.execute(f"DROP TABLE {table}")

    one, total = f"SELECT * FROM {table} WHERE id = :id", f"SELECT count(*) FROM {table}"
    insert = f"INSERT INTO {table} VALUES (:id, 'new')"

    if colour == "def":

        @app.get("/by-app/{id}")
        def by_app(request: Any, id: int) -> Any:
            return request.app.database.fetch_one(one, id=id)

        @app.get("/by-request/{id}")
        def by_request(request: Any, id: int) -> Any:
            return request.database.fetch_one(one, id=id)

        @app.get("/by-name/{id}")
        def by_name(id: int, db: Any = Depends("database")) -> Any:
            return db.fetch_one(one, id=id)

        @app.post("/moved/{id}")
        @transactional
        def moved(request: Any, id: int, tx: Any) -> Any:
            tx.execute(insert, id=id)
            if id == 1001:
                raise ValueError("not this one")
            with request.database.transaction():
                return {"count": request.database.fetch_val(total)}

        @app.get("/rows")
        def rows(db: Any = Depends("database")) -> Any:
            return [row["id"] for row in db.iterate(f"SELECT id FROM {table} ORDER BY id", batch=7)]

    else:

        @app.get("/by-app/{id}")
        async def by_app(request: Any, id: int) -> Any:
            return await request.app.database.fetch_one(one, id=id)

        @app.get("/by-request/{id}")
        async def by_request(request: Any, id: int) -> Any:
            return await request.database.fetch_one(one, id=id)

        @app.get("/by-name/{id}")
        async def by_name(id: int, db: Any = Depends("database")) -> Any:
            return await db.fetch_one(one, id=id)

        @app.post("/moved/{id}")
        @transactional
        async def moved(request: Any, id: int, tx: Any) -> Any:
            await tx.execute(insert, id=id)
            if id == 1001:
                raise ValueError("not this one")
            async with request.database.transaction():
                return {"count": await request.database.fetch_val(total)}

        @app.get("/rows")
        async def rows(db: Any = Depends("database")) -> Any:
            return [row["id"] async for row in db.iterate(f"SELECT id FROM {table} ORDER BY id", batch=7)]

    return app


def test_handlers_use_the_database(serve: Callable[..., Any], url: str, colour: str, table: str) -> None:
    client = serve(make_app(url, colour, table))
    for way in ("by-app", "by-request", "by-name"):
        for _ in range(2):
            assert client.get(f"/{way}/3").json() == {"id": 3, "name": "n3"}
    assert client.get("/rows").json() == list(range(ROWS))


def test_a_transactional_handler_commits_or_rolls_back(
    serve: Callable[..., Any], url: str, colour: str, table: str
) -> None:
    client = serve(make_app(url, colour, table))
    assert client.post("/moved/1000").json() == {"count": ROWS + 1}
    assert client.post("/moved/1001").status_code == 500
    assert client.post("/moved/1002").json() == {"count": ROWS + 2}
    assert client.post("/moved/1000").status_code == 500
    assert client.get("/by-app/1001").status_code == 204


@pytest.mark.timeout(120)
def test_two_hundred_requests_at_once_share_a_pool_of_five(
    serve: Callable[..., Any], url: str, colour: str, table: str
) -> None:
    app = make_app(url, colour, table, pool_size=5, connection_timeout_secs=30)
    client = serve(app)
    answers: list[Any] = [None] * 200
    start = threading.Barrier(200)

    def ask(number: int) -> None:
        start.wait(30)
        answers[number] = client.get(f"/by-app/{number % ROWS}").json()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [{"id": number % ROWS, "name": f"n{number % ROWS}"} for number in range(200)]
    stats = app.database.aio.stats()
    pool = stats["blocking_pool"] if colour == "def" else stats["pool"]
    assert pool["opened"] <= 5
    assert pool["in_use"] == 0


def test_no_config_is_sqlite_in_the_working_directory(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = App()
    app.enable_database()

    @app.get("/")
    def version(request: Any) -> Any:
        return request.app.database.fetch_val("SELECT 1")

    assert serve(app).get("/").json() == 1
    assert (tmp_path / "cello.db").exists()


def test_a_database_in_memory_is_one_for_both_colours(serve: Callable[..., Any]) -> None:
    app = App()
    app.enable_database("sqlite://:memory:")

    @app.post("/")
    async def write(request: Any) -> Any:
        await request.database.execute("CREATE TABLE t (a)")
        return await request.database.execute("INSERT INTO t VALUES (1)")

    @app.get("/")
    def read(request: Any) -> Any:
        return request.database.fetch_val("SELECT a FROM t")

    client = serve(app)
    assert client.post("/").json() == 1
    assert client.get("/").json() == 1


def test_the_reference_pages_example_is_accepted() -> None:
    app = App()
    app.enable_database(
        DatabaseConfig(url="postgresql://user:pass@localhost/mydb", pool_size=20, max_lifetime_secs=1800)
    )
    assert app.database.aio.config.pool_size == 20


def test_a_database_that_is_not_there_is_said_so() -> None:
    app = App()
    with pytest.raises(ConfigError, match=r"call app\.enable_database\(\) first"):
        app.database  # noqa: B018


# Objects made in a start-up hook


def test_a_database_of_the_applications_own_works_in_both_colours(serve: Callable[..., Any], tmp_path: Path) -> None:
    app = App()

    @app.on_event("startup")
    async def start() -> None:
        app.state.db = await Database.connect(DatabaseConfig(f"sqlite:///{tmp_path}/own.db"))

    @app.on_event("shutdown")
    async def stop() -> None:
        await app.state.db.disconnect()

    @app.get("/async")
    async def from_async(request: Any) -> Any:
        return await request.app.state.db.fetch_val("SELECT 1")

    @app.get("/def")
    def from_def(request: Any) -> Any:
        return request.app.state.db.blocking.fetch_val("SELECT 1")

    @app.get("/wrong")
    def wrong(request: Any) -> Any:
        try:
            request.app.state.db.fetch_val("SELECT 1")
        except WrongColour as error:
            return str(error)

    client = serve(app)
    assert client.get("/async").json() == 1
    assert client.get("/def").json() == 1
    assert "use .blocking.fetch_val() there, or make the handler async def" in client.get("/wrong").text


# Failure


def test_an_unreachable_database_fails_the_start() -> None:
    app = App()
    app.enable_database(f"postgresql://root@127.0.0.1:{free_port()}/test")
    with pytest.raises(Exception, match=r"(?i)connect|refused"), TestClient(app):
        pass


@pytest.mark.parametrize("startup", ["wait", "lazy"])
def test_an_unreachable_database_is_503_where_the_start_does_not_need_it(
    serve: Callable[..., Any], coloured: Any, colour: str, startup: str
) -> None:
    app = App()
    app.enable_database(f"postgresql://root@127.0.0.1:{free_port()}/test", startup=startup)

    if colour == "def":

        @app.get("/")
        def ask(request: Any) -> Any:
            return request.database.fetch_val("SELECT 1")

    else:

        @app.get("/")
        async def ask(request: Any) -> Any:
            return await request.database.fetch_val("SELECT 1")

    answer = serve(app).get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "127.0.0.1" not in answer.text  # internals stay inside
    assert {check.name: check.is_critical for check in app._host.checks()}["database"]


def test_startup_takes_three_words() -> None:
    with pytest.raises(ConfigError, match="startup must be one of fail, wait, lazy"):
        App().enable_database(startup="maybe")


def test_an_exhausted_pool_is_503(serve: Callable[..., Any], url: str) -> None:
    app = App()
    app.enable_database(DatabaseConfig(url, pool_size=1, connection_timeout_secs=0.2))

    @app.get("/async")
    async def ask(request: Any) -> Any:
        async with request.database.raw():
            return await request.database.fetch_val("SELECT 1")

    @app.get("/def")
    def ask_blocking(request: Any) -> Any:
        async def hold(connection: Any) -> Any:
            return await inner(connection)

        async def inner(connection: Any) -> Any:
            return await asyncio.to_thread(request.app.database.blocking.fetch_val, "SELECT 1")

        return request.database.raw(hold)

    client = serve(app)
    for path in ("/async", "/def"):
        assert client.get(path).status_code == 503
    assert issubclass(PoolTimeout, OperationalError)


def test_a_broken_constraint_is_the_applications_to_answer(serve: Callable[..., Any], url: str, table: str) -> None:
    app = make_app(url, "def", table)
    app.exception_handler(UniqueViolation)(lambda request, error: Response.json({"taken": True}, status=409))
    assert serve(app).post("/moved/1").status_code == 409


def test_a_blocking_call_on_the_loop_moves_the_route_to_the_threads(url: str, table: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("CELLO_OFFLOAD", raising=False)
    app = make_app(url, "def", table)
    with TestClient(app, "native") as client:
        assert app.explain("/by-app/1").splitlines()[1].startswith("def;")
        client.get("/by-app/1")
        assert app.explain("/by-app/1").splitlines()[1].startswith("def, on a thread")
        assert client.get("/by-app/2").json()["id"] == 2


def test_a_cancelled_request_gives_its_connection_back(url: str, kind: str) -> None:
    app = App()
    app.enable_database(DatabaseConfig(url, pool_size=1, connection_timeout_secs=20))
    endless = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "postgresql": "SELECT pg_sleep(60)",
        "mysql": "SELECT sleep(60)",
    }[kind]

    @app.get("/slow", timeout=0.3)
    async def slow(request: Any) -> Any:
        return await request.database.fetch_val(endless)

    @app.get("/quick")
    async def quick(request: Any) -> Any:
        return await request.database.fetch_val("SELECT 1")

    with TestClient(app, "native") as client:
        for _ in range(2):
            assert client.get("/slow").status_code == 503
            assert client.get("/quick").json() == 1


# Metrics and traces


def test_statements_are_counted_by_kind_and_outcome(
    serve: Callable[..., Any], url: str, kind: str, colour: str
) -> None:
    app = App()
    app.enable_database(url)
    app.enable_prometheus()
    if colour == "def":
        app.get("/")(lambda request: request.database.fetch_val("SELECT 1"))
    else:

        @app.get("/")
        async def ask(request: Any) -> Any:
            return await request.database.fetch_val("SELECT 1")

    @app.get("/wrong")
    async def wrong(request: Any) -> Any:
        return await request.database.execute("drop table there_is_no_such_table")

    client = serve(app)
    for _ in range(3):
        client.get("/")
    client.get("/wrong")
    text = client.get("/metrics").text
    name = "cello_database_query_duration_seconds_count"
    assert f'{name}{{system="{kind}",operation="SELECT",outcome="ok"}} 3' in text
    assert f'{name}{{system="{kind}",operation="DROP",outcome="error"}} 1' in text
