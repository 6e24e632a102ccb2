"""What databases and Redis add to requests and statements in this process, without a server."""

from typing import Any

import pytest

from cello import App, RedisConfig
from cello.database.colours import Both, colour_of_caller
from cello.database.redis.commands import Commands
from cello.database.resources import HeldLoop
from cello.database.sql.rows import make_builder
from cello.database.sql.statements import DOLLAR, Statements
from cello.database.sql.statistics import Statistics


@pytest.mark.benchmark(group="data: a request notes itself")
def test_note(benchmark: Any) -> None:
    from cello import Request

    app = App()
    held = HeldLoop(app._host)
    request = Request("GET", "/")
    benchmark(held.before, request)


@pytest.mark.benchmark(group="data: the colour of the caller")
def test_colour(benchmark: Any) -> None:
    def deep(levels: int) -> Any:
        return deep(levels - 1) if levels else colour_of_caller()

    async def handler() -> Any:
        return deep(2)

    def call() -> str:
        coroutine = handler()
        try:
            coroutine.send(None)
        except StopIteration as done:
            return str(done.value)
        return ""

    assert benchmark(call) == "async"


@pytest.mark.benchmark(group="data: an object of both colours")
def test_both(benchmark: Any) -> None:
    both: Any = Both({}, {})

    async def handler() -> Any:
        return both.get

    def call() -> None:
        coroutine = handler()
        try:
            coroutine.send(None)
        except StopIteration:
            return

    benchmark(call)


@pytest.mark.benchmark(group="data: a statement that is known")
def test_statement(benchmark: Any) -> None:
    statements = Statements(DOLLAR)
    text = "SELECT * FROM users WHERE id = :id AND name = :name"

    def bind() -> Any:
        return statements.get(text).values((), {"name": "x", "id": 1})

    benchmark(bind)


@pytest.mark.benchmark(group="data: a statement is counted")
def test_statistics(benchmark: Any) -> None:
    statistics = Statistics("test", 1.0, lambda statement, seconds: None)
    benchmark(statistics.add, "SELECT 1", 0.000_2)


@pytest.mark.benchmark(group="data: a row becomes an object")
def test_row(benchmark: Any) -> None:
    from dataclasses import dataclass

    @dataclass
    class User:
        id: int
        name: str
        age: int | None

    build = make_builder(User)
    benchmark(build, {"id": 1, "name": "Ada", "age": None})


@pytest.mark.benchmark(group="data: a command is made")
def test_command(benchmark: Any) -> None:
    class Nowhere(Commands):
        _prefix = "shop:"
        _default_ttl = RedisConfig().default_ttl

        def _send(self, *words: Any, read: Any = None) -> Any:
            return words

    nowhere = Nowhere()
    benchmark(nowhere.set, "key", "value", 60)
