"""Servers that die and come back, time limits of connections, and TLS; on servers of the tests' own."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cello import App, DatabaseConfig
from cello.database import ConnectionLost, Database, OperationalError
from cello.database.sql.pool import Pool
from cello.testing import TestClient
from tests.database.servers import Mariadb, Postgres, Server, running
from tests.database.test_redis import make_certificates

SERVERS = {"postgresql": Postgres, "mysql": Mariadb}


@pytest.fixture(params=SERVERS, scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server that nobody else uses; whoever kills it starts it again."""
    with running(SERVERS[request.param]()) as server:
        yield server


@pytest.mark.timeout(180)
def test_requests_fail_fast_during_an_outage_and_work_right_after(server: Any) -> None:
    app = App()
    app.enable_database(DatabaseConfig(server.url, pool_size=4, connection_timeout_secs=3))

    @app.get("/async")
    async def ask(request: Any) -> Any:
        return await request.database.fetch_val("SELECT 1")

    @app.get("/def")
    def ask_blocking(request: Any) -> Any:
        return request.database.fetch_val("SELECT 1")

    with TestClient(app, "native", raise_server_exceptions=False) as client:
        for _ in range(2):
            for path in ("/async", "/def"):
                assert client.get(path).json() == 1
            server.kill()
            for path in ("/async", "/def", "/async", "/def"):
                answer = client.get(path)
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
            server.start()
            for path in ("/async", "/def", "/async", "/def"):
                assert client.get(path).json() == 1
        checks = {check.name: check.run for check in app._host.checks()}
        assert "database" in checks


@pytest.mark.timeout(180)
async def test_a_statement_cut_off_and_a_transaction_cut_off_are_lost_connections(server: Any) -> None:
    sleep = f"SELECT {'pg_sleep' if isinstance(server, Postgres) else 'sleep'}(60)"
    async with await Database.connect(DatabaseConfig(server.url, pool_size=4)) as db:
        await db.execute("CREATE TABLE IF NOT EXISTS lost (a INTEGER)")
        statement = asyncio.create_task(db.fetch_val(sleep))
        transaction = await db.begin()
        await transaction.execute("INSERT INTO lost VALUES (1)")
        while db.stats()["pool"]["in_use"] < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        server.kill()
        with pytest.raises(ConnectionLost):
            await statement
        with pytest.raises(OperationalError):
            await transaction.execute("INSERT INTO lost VALUES (2)")
        with pytest.raises(OperationalError):
            await transaction.commit()
        server.start()
        assert await db.fetch_val("SELECT count(*) FROM lost") == 0
        assert db.stats()["pool"]["in_use"] == 0


@pytest.mark.timeout(180)
def test_an_application_that_waits_is_ready_when_the_database_is(server: Server) -> None:
    server.kill()
    app = App()
    app.enable_database(DatabaseConfig(server.url), startup="wait")  # type: ignore[attr-defined]
    app.enable_health_checks()

    @app.get("/")
    async def ask(request: Any) -> Any:
        return await request.database.fetch_val("SELECT 1")

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        assert client.get("/").status_code == 503
        server.start()
        assert client.get("/").json() == 1
        ready = client.get("/health/ready")
        assert ready.status_code == 200, ready.text


def give_certificate(server: Any, folder: Path) -> None:
    """Put a certificate for 127.0.0.1 where the server can read it."""
    make_certificates(folder)
    prepare = server.prepare

    def prepare_with_certificate() -> None:
        prepare()
        for name in ("server.crt", "server.key"):
            shutil.copy(folder / name, server.folder / name)
            (server.folder / name).chmod(0o600)
            if server.user is not None:
                shutil.chown(server.folder / name, server.user)

    server.prepare = prepare_with_certificate


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", SERVERS)
async def test_tls_is_verified_as_sslmode_says(kind: str, tmp_path: Path) -> None:
    server: Any = SERVERS[kind]()
    give_certificate(server, tmp_path)
    certificate, key = f"{server.folder}/server.crt", f"{server.folder}/server.key"
    if kind == "postgresql":
        server.options = ("-c", "ssl=on", "-c", f"ssl_cert_file={certificate}", "-c", f"ssl_key_file={key}")
        asked = "SELECT CASE WHEN ssl THEN 'yes' ELSE '' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    else:
        server.options = (f"--ssl-cert={certificate}", f"--ssl-key={key}")
        asked = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
    (tmp_path / "other").mkdir()
    make_certificates(tmp_path / "other")
    with running(server):
        for fields, encrypted in (
            ({"sslmode": "disable"}, False),
            ({"sslmode": "require"}, True),
            ({"sslmode": "verify-ca", "sslrootcert": f"{tmp_path}/ca.crt"}, True),
            ({"sslmode": "verify-full", "sslrootcert": f"{tmp_path}/ca.crt"}, True),
        ):
            config = DatabaseConfig(server.url, application_name="named", **fields)  # type: ignore[arg-type]
            async with await Database.connect(config) as db:
                assert bool(await db.fetch_val(asked)) is encrypted
                if kind == "postgresql":
                    assert await db.fetch_val("SELECT current_setting('application_name')") == "named"
        wrong = DatabaseConfig(server.url, sslmode="verify-full", sslrootcert=f"{tmp_path}/other/ca.crt")
        with pytest.raises(OperationalError):
            await Database.connect(wrong)


# Time limits, on a clock of the test's own


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class CountingDriver:
    """Connections that are numbers."""

    system, style, where, shares_stream = "test", "qmark", "test://", True

    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[int] = []
        self.pinged: list[int] = []
        self.dead: set[int] = set()

    async def connect(self) -> int:
        self.opened += 1
        return self.opened

    async def close(self, raw: int) -> None:
        self.closed.append(raw)

    def terminate(self, raw: int) -> None:
        self.closed.append(raw)

    def is_closed(self, raw: int) -> bool:
        return False

    async def ping(self, raw: int) -> None:
        self.pinged.append(raw)
        if raw in self.dead:
            raise ConnectionLost("gone")

    async def mend(self, raw: int) -> bool:
        return True

    def translate(self, error: BaseException) -> None:
        return None


@contextlib.asynccontextmanager
async def pooled(**fields: Any) -> Any:
    driver, clock = CountingDriver(), Clock()
    limits = {"size": 3, "min_idle": 0, "max_lifetime_s": 100, "idle_timeout_s": 30, "connect_timeout_s": 1}
    pool = Pool(driver, clock=clock, **{**limits, **fields})  # type: ignore[arg-type]
    yield pool, driver, clock
    await pool.close()
    assert sorted(driver.closed) == list(range(1, driver.opened + 1))


async def test_a_connection_beyond_its_lifetime_is_replaced() -> None:
    async with pooled() as (pool, driver, clock):
        for _ in range(3):
            pool.release(await pool.acquire())
        assert driver.opened == 1
        clock.now_s += 101
        pool.release(await pool.acquire())
        assert (driver.opened, driver.closed) == (2, [1])
        lent = await pool.acquire()
        clock.now_s += 101
        pool.release(lent)  # old when it comes back
        await asyncio.sleep(0)
        pool.release(await pool.acquire())
        assert (driver.opened, driver.closed) == (3, [1, 2])


async def test_idle_connections_are_closed_down_to_the_minimum() -> None:
    async with pooled(min_idle=1) as (pool, driver, clock):
        lent = [await pool.acquire() for _ in range(3)]
        for each in lent:
            pool.release(each)
        await pool.keep()
        assert (driver.opened, driver.closed) == (3, [])
        clock.now_s += 31
        await pool.keep()
        assert (pool.idle, len(driver.closed)) == (1, 2)
        clock.now_s += 100
        await pool.keep()  # beyond its lifetime: closed, and another opened in its place
        assert (pool.idle, driver.opened, len(driver.closed)) == (1, 4, 3)


async def test_only_connections_that_were_idle_for_long_are_asked_first() -> None:
    async with pooled() as (pool, driver, clock):
        pool.release(await pool.acquire())
        clock.now_s += 4
        pool.release(await pool.acquire())
        assert driver.pinged == []
        clock.now_s += 6
        pool.release(await pool.acquire())
        assert driver.pinged == [1]
        clock.now_s += 6
        driver.dead = {1}
        pool.release(await pool.acquire())
        assert (driver.opened, driver.closed) == (2, [1])


async def test_one_broken_connection_has_all_idle_ones_asked() -> None:
    async with pooled() as (pool, driver, _clock):
        first, second, third = [await pool.acquire() for _ in range(3)]
        pool.release(second)
        pool.release(third)
        driver.dead = {2, 3}
        pool.discard(first, is_outage=True)
        lent = await pool.acquire()
        assert lent.raw == 4
        assert sorted(driver.closed) == [1, 2, 3]
        assert sorted(driver.pinged) == [2, 3]
        pool.release(lent)


async def test_the_line_is_served_in_order_and_gets_freed_places() -> None:
    async with pooled(size=1) as (pool, driver, _clock):
        held = await pool.acquire()
        order: list[int] = []

        async def wait(number: int) -> None:
            lent = await pool.acquire()
            order.append(number)
            await asyncio.sleep(0)
            pool.release(lent)

        tasks = [asyncio.create_task(wait(number)) for number in range(5)]
        while pool.waiting < 5:
            await asyncio.sleep(0)
        tasks[2].cancel()
        pool.discard(held, is_outage=False)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == [0, 1, 3, 4]
        assert (driver.opened, pool.in_use) == (2, 0)
