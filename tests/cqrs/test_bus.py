"""The buses by themselves: who handles what, what is checked, tried again and given up."""

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from cello import ConfigError, Depends, NotFound
from cello.cqrs import (
    Command,
    CommandBus,
    CommandResult,
    CqrsConfig,
    Query,
    QueryBus,
    QueryResult,
    RetryableError,
    Transactions,
    Unsuccessful,
    command_handler,
    log_dispatches,
    query_handler,
)
from cello.database import Database, TransactionConflict


class Free(Command):
    """A command without declared fields."""


class CreateOrder(Command):
    """One with fields."""

    items: list[str]
    total: float = 0.0

    def validate(self) -> None:
        if not self.items:
            raise ValueError("Order must have at least one item")


@dataclass
class Plain:
    """A command that knows nothing of cello."""

    number: int


class Packed(msgspec.Struct):
    """Another one."""

    number: int


class FindOrder(Query):
    order_id: str


def bus_with(message: type, handler: Any, **config: Any) -> CommandBus:
    bus = CommandBus(CqrsConfig(retry_delay_ms=1, **config))
    bus.register(message, handler)
    return bus


def test_a_command_without_fields_takes_what_it_is_given() -> None:
    made = Free(name="Ada", role="admin")
    assert (made.name, made.command_type) == ("Ada", "Free")
    assert made.id == made.id != Free().id
    assert made.to_dict() == {
        "id": made.id,
        "command_type": "Free",
        "timestamp": made.timestamp,
        "name": "Ada",
        "role": "admin",
    }
    assert repr(made) == "Free(name='Ada', role='admin')"
    with pytest.raises(AttributeError, match="'Free' object has no attribute 'nmae'"):
        _ = made.nmae


def test_a_command_with_fields_takes_these_alone() -> None:
    assert CreateOrder(items=["a"]).total == 0.0
    with pytest.raises(TypeError, match="totl"):
        CreateOrder(items=["a"], totl=3)  # type: ignore[call-arg]


def test_a_field_named_id_is_the_users() -> None:
    class Own(Command):
        id: int

    assert Own(id=7).id == 7
    assert Free(id="x").to_dict()["id"] == "x"


HANDLED = {
    "a Command without fields": (Free, Free(number=3)),
    "a Command with fields": (CreateOrder, CreateOrder(items=["a"])),
    "a dataclass": (Plain, Plain(3)),
    "a Struct": (Packed, Packed(3)),
}


@pytest.mark.parametrize(("kind", "message"), HANDLED.values(), ids=HANDLED.keys())
async def test_a_message_goes_to_the_handler_of_its_class(kind: type, message: Any, coloured: Any) -> None:
    seen = []
    bus = bus_with(Free, lambda message: "another")
    if kind is not Free:
        bus.register(kind, coloured(lambda message: seen.append(message)))
    else:
        bus = bus_with(Free, coloured(lambda message: seen.append(message)))
    assert (await bus.dispatch(message)).success
    assert seen == [message]


async def test_a_subclass_goes_to_the_nearest_handler_above_it() -> None:
    class Special(Free):
        pass

    bus = bus_with(Free, lambda message: type(message).__name__)
    assert (await bus.dispatch(Special())).data == "Special"


async def test_a_decorated_handler_registers_itself() -> None:
    @command_handler(Free)
    async def free(command: Free) -> CommandResult:
        return CommandResult.ok(command.number)

    @query_handler(FindOrder)
    def find(query: FindOrder) -> Any:
        return {"id": query.order_id} if query.order_id == "1" else None

    commands, queries = CommandBus(), QueryBus()
    commands.register(free)
    queries.register(FindOrder, find)
    assert (await commands.dispatch(Free(number=3))).unwrap() == 3
    assert (await queries.execute(FindOrder(order_id="1"))).unwrap() == {"id": "1"}
    missing = await queries.execute(FindOrder(order_id="2"))
    assert (missing.found, missing.error, missing.outcome) == (False, None, "not_found")
    with pytest.raises(ConfigError, match="has a handler already"):
        commands.register(free)
    with pytest.raises(ConfigError, match="marked as the handler of the command Free, not of the query FindOrder"):
        queries.register(FindOrder, free)


async def test_what_a_handler_returns_is_its_result_or_the_data_of_one() -> None:
    for made, expected in (
        ({"id": 1}, CommandResult.ok({"id": 1})),
        (None, CommandResult.ok()),
        (CommandResult.fail("Insufficient funds"), CommandResult(False, error="Insufficient funds", outcome="failed")),
        (CommandResult.rejected("closed"), CommandResult.rejected("closed")),
    ):
        assert await bus_with(Free, lambda message, made=made: made).dispatch(Free()) == expected
    assert CommandResult.rejected("closed").error == "Rejected: closed"
    found = QueryBus()
    found.register(FindOrder, lambda query: QueryResult.fail("no index"))
    with pytest.raises(Unsuccessful, match="no index"):
        (await found.execute(FindOrder(order_id="1"))).unwrap()


INVALID = {
    "its own validate() refuses it": (CreateOrder, CreateOrder(items=[]), "Order must have at least one item"),
    "a field of a Command is of the wrong type": (
        CreateOrder,
        CreateOrder(items="ab", total="x"),  # type: ignore[arg-type]
        "items must be an array; total must be a number",
    ),
    "a field of a dataclass is": (Plain, Plain("3"), "number must be a whole number"),  # type: ignore[arg-type]
    "a field of a Struct is": (Packed, Packed("3"), "number must be a whole number"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("kind", "message", "reason"), INVALID.values(), ids=INVALID.keys())
async def test_an_invalid_command_is_rejected_before_its_handler(kind: type, message: Any, reason: str) -> None:
    result = await bus_with(kind, lambda message: pytest.fail("it was called")).dispatch(message)
    assert (result.outcome, result.reason, result.error) == ("invalid", reason, f"Rejected: {reason}")


async def test_validate_may_be_a_coroutine() -> None:
    class Slow(Command):
        async def validate(self) -> None:
            await asyncio.sleep(0)
            raise ValueError("no")

    assert (await bus_with(Slow, lambda message: 1).dispatch(Slow())).reason == "no"


async def test_nobody_registered_is_a_failure_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    result = await CommandBus().dispatch(Free())
    assert (result.success, result.error) == (False, "No handler is registered for Free")
    assert isinstance(result.exception, LookupError)
    assert "No handler is registered for Free" in caplog.text


async def test_what_a_handler_raises_is_a_failure_that_is_logged(coloured: Any, caplog: Any) -> None:
    def broken(message: Free) -> None:
        raise KeyError("x")

    result = await bus_with(Free, coloured(broken)).dispatch(Free())
    assert (result.success, result.outcome, result.error) == (False, "failed", "'x'")
    assert isinstance(result.exception, KeyError)
    assert "Free failed" in caplog.text
    assert caplog.records[-1].exc_info is not None
    with pytest.raises(Unsuccessful) as caught:
        result.unwrap()
    assert caught.value.__cause__ is result.exception


async def test_an_answer_that_a_handler_raises_is_no_error_of_the_server(caplog: Any) -> None:
    def missing(message: Free) -> None:
        raise NotFound("no such order")

    assert isinstance((await bus_with(Free, missing).dispatch(Free())).exception, NotFound)
    assert caplog.records == []


async def test_a_command_that_takes_too_long_is_rejected(coloured: Any) -> None:
    ended = threading.Event()

    async def slow(message: Free) -> None:
        await asyncio.sleep(60)

    result = await bus_with(Free, slow, command_timeout_ms=20).dispatch(Free())
    assert (result.outcome, result.reason) == ("timeout", "timed out after 20 ms")

    def held(message: Free) -> None:
        ended.wait(30)

    result = await bus_with(Free, held, command_timeout_ms=20).dispatch(Free())
    ended.set()
    assert result.outcome == "timeout"


async def test_a_query_that_takes_too_long_fails() -> None:
    bus = QueryBus(CqrsConfig(query_timeout_ms=20))
    bus.register(FindOrder, lambda query: asyncio.sleep(60))
    result = await bus.execute(FindOrder(order_id="1"))
    assert (result.outcome, result.error) == ("timeout", "timed out after 20 ms")


async def test_a_handlers_own_timeout_goes_before_the_configs() -> None:
    @command_handler(Free, timeout_ms=20)
    async def slow(message: Free) -> None:
        await asyncio.sleep(60)

    bus = CommandBus()
    bus.register(slow)
    assert (await bus.dispatch(Free())).reason == "timed out after 20 ms"


async def test_a_timeout_error_of_the_handlers_own_is_its_failure() -> None:
    async def slow(message: Free) -> None:
        raise TimeoutError("the bank does not answer")

    result = await bus_with(Free, slow).dispatch(Free())
    assert (result.outcome, result.error) == ("failed", "the bank does not answer")


class Busy(RetryableError):
    pass


RETRIED: dict[str, tuple[Exception, dict[str, Any], int]] = {
    "a marked error": (Busy("x"), {}, 4),
    "a conflict of transactions": (TransactionConflict("x"), {}, 4),
    "one that is listed": (OSError("x"), {"retry_on": (OSError,)}, 4),
    "one that is not marked": (OSError("x"), {}, 1),
    "as often as the handler says": (Busy("x"), {"max_retries": 1}, 2),
    "never": (Busy("x"), {"max_retries": 0}, 1),
}


@pytest.mark.parametrize(("error", "manner", "calls"), RETRIED.values(), ids=RETRIED.keys())
async def test_only_errors_that_are_marked_are_tried_again(
    error: Exception, manner: dict[str, Any], calls: int, coloured: Any
) -> None:
    seen = []

    def fail(message: Free) -> None:
        seen.append(message)
        raise error

    bus = CommandBus(CqrsConfig(retry_delay_ms=1))
    bus.register(Free, command_handler(Free, **manner)(coloured(fail)))
    result = await bus.dispatch(Free())
    assert (len(seen), result.exception) == (calls, error)


async def test_the_pause_before_each_retry_is_twice_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("cello.cqrs.retrying.random.uniform", lambda low, high: high)
    bus = CommandBus(CqrsConfig(retry_delay_ms=100, max_retries=4))

    async def fail(message: Free) -> None:
        raise Busy

    bus.register(Free, fail)
    monkeypatch.setattr("cello.cqrs.bus.asyncio.sleep", note)
    await bus.dispatch(Free())
    assert pauses == [0.1, 0.2, 0.4, 0.8]


async def test_retries_end_at_the_time_limit() -> None:
    bus = CommandBus(CqrsConfig(retry_delay_ms=10_000, command_timeout_ms=30))

    async def fail(message: Free) -> None:
        raise Busy

    bus.register(Free, fail)
    assert (await bus.dispatch(Free())).outcome == "timeout"


async def test_middleware_surrounds_every_attempt_the_first_one_outermost() -> None:
    seen: list[str] = []

    def named(name: str) -> Any:
        async def around(message: Any, call_next: Any) -> Any:
            seen.append(f"{name} in")
            try:
                return await call_next(message)
            finally:
                seen.append(f"{name} out")

        return around

    tries = []

    def handler(message: Free) -> str:
        tries.append(1)
        seen.append("handler")
        if len(tries) == 1:
            raise Busy
        return "done"

    bus = bus_with(Free, handler)
    bus.use(named("a"))
    bus.use(named("b"))
    assert (await bus.dispatch(Free())).data == "done"
    assert seen == ["a in", "b in", "handler", "b out", "a out"] * 2


async def test_middleware_may_answer_in_place_of_the_handler() -> None:
    async def closed(message: Any, call_next: Any) -> Any:
        return CommandResult.rejected("closed")

    bus = bus_with(Free, lambda message: pytest.fail("it was called"))
    bus.use(closed)
    assert (await bus.dispatch(Free())).reason == "closed"
    with pytest.raises(ConfigError, match="a middleware is an async def"):
        bus.use(lambda message, call_next: call_next(message))


async def test_dispatches_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    bus = bus_with(Free, lambda message: CommandResult.fail("x"))
    bus.use(log_dispatches(level=logging.WARNING))
    await bus.dispatch(Free())
    assert "Free: failed, " in caplog.text


async def test_a_transaction_surrounds_handlers_of_both_colours(url: str, table: str, colour: str) -> None:
    async with await Database.connect(url) as db:
        await db.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
        insert = f"INSERT INTO {table} VALUES (:id)"

        async def write(message: Free) -> Any:
            await db.execute(insert, id=message.number)
            if message.number == 3:
                raise ValueError("not this one")
            return CommandResult.fail("nor this one") if message.number == 2 else "kept"

        def write_blocking(message: Free) -> Any:
            db.blocking.execute(insert, id=message.number)
            if message.number == 3:
                raise ValueError("not this one")
            return CommandResult.fail("nor this one") if message.number == 2 else "kept"

        bus = bus_with(Free, write if colour == "async" else write_blocking)
        bus.use(Transactions(db))
        outcomes = [(await bus.dispatch(Free(number=number))).error for number in (1, 2, 3)]
        kept = await db.fetch_all(f"SELECT id FROM {table}", into=int)
        await db.execute(f"DROP TABLE {table}")
    assert (outcomes, kept) == ([None, "nor this one", "not this one"], [1])


def test_what_cannot_be_a_handler_is_refused() -> None:
    def needs_more(command: Free, mailer: Any) -> None: ...
    def needs_a_callable(command: Free, mailer: Any = Depends(list)) -> None: ...
    def takes_nothing() -> None: ...

    for handler, words in (
        (needs_more, "parameter 'mailer': a handler is called with the Free alone"),
        (needs_a_callable, "get dependencies by name"),
        (takes_nothing, "its first parameter must take the Free"),
        (5, "is a function, not 5"),
    ):
        with pytest.raises(ConfigError, match=words):
            CommandBus().register(Free, handler)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="alone"):
        CommandBus().register(needs_more)
    with pytest.raises(ConfigError, match="command_handler takes a class"):
        command_handler("Free")  # type: ignore[arg-type]


async def test_plain_handlers_that_dispatch_further_ones_do_not_wait_for_their_own_threads() -> None:
    """As many at once as there are threads, each of which needs another."""
    from cello.cqrs import BlockingBus
    from cello.gateways.home_loop import HomeLoop

    class Inner(Command):
        pass

    bus = CommandBus(CqrsConfig(command_timeout_ms=30_000))
    home = HomeLoop()
    home.settle()
    blocking = BlockingBus(bus, home)
    bus.register(Inner, lambda message: 1)
    bus.register(Free, lambda message: blocking.dispatch(Inner()).unwrap())
    results = await asyncio.gather(*[bus.dispatch(Free()) for _ in range(300)])
    assert sum(each.unwrap() for each in results) == 300


@pytest.mark.parametrize("bases", [(Command, msgspec.Struct), (msgspec.Struct, Query)], ids=["command", "query"])
def test_a_struct_that_would_be_a_command_or_query_too_is_refused(bases: tuple[type, ...]) -> None:
    with pytest.raises(ConfigError, match="it is a message as it stands"):
        type(msgspec.Struct)("Both", bases, {"__annotations__": {"item": str}})
