"""The two buses: a message goes in, the handler of its class is called, a result comes out.

    check the message → (attempt: middleware → transaction → handler), again after errors that are marked → result

Rule 1: what a handler raises becomes a failed result, whose `exception` it is, and is logged with its traceback. Only
being cancelled passes through.
Rule 2: the time limit is over everything. Beyond it an `async def` handler is cancelled; a `def` handler cannot be, its
thread goes on and nobody hears of it. Either way what it did so far may have happened.
Rule 3: middleware surrounds each attempt, so a transaction never spans two.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Generic, Never, Protocol, TypeVar, cast

from cello.cqrs.config import CqrsConfig
from cello.cqrs.handlers import COMMAND, MARK, QUERY, Handler
from cello.cqrs.messages import INVALID, TIMEOUT, CommandResult, QueryResult
from cello.cqrs.middleware import DispatchMiddleware, Transactions
from cello.cqrs.retrying import is_retryable, pause_s
from cello.errors import ConfigError, HTTPError
from cello.gateways.home_loop import HomeLoop, NestedThreads
from cello.http import json_codec
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.validation import Fault
from cello.spans import Spans

R = TypeVar("R", CommandResult, QueryResult)
F = TypeVar("F", bound=Callable[..., Any])
Listener = Callable[[Any, str, float], None]

logger = logging.getLogger("cello.cqrs")


class Bus(Generic[R]):
    """What both buses are.

    Args:
        config: Time limits and retries; default: `CqrsConfig()`.

    Attributes:
        config: The same.
        listeners: Called with each message, its outcome and the seconds it took.
        spans: Where a span of each message goes.
    """

    kind = ""
    timeout_ms = 0.0

    def __init__(self, config: CqrsConfig | None = None) -> None:
        self.config = config or CqrsConfig()
        self.listeners: list[Listener] = []
        self._handlers: dict[type, Handler] = {}
        self._middleware: list[DispatchMiddleware] = []
        self._transactions: Transactions | None = None
        self._threads = NestedThreads()
        self._given: Callable[[str], Any] = _nothing_given
        self.spans = Spans()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(each.__name__ for each in self._handlers) or 'nothing'}>"

    def register(self, message: Any, handler: Callable[..., Any] | None = None) -> None:
        """Have messages of a class, and of its subclasses without one of their own, handled by a function.

        Args:
            message: The class; or, alone, a function marked by `command_handler` or `query_handler`.
            handler: The function, `def` or `async def`.

        Raises:
            ConfigError: The class has a handler already, or the function cannot be one.
        """
        if handler is None:
            mark = getattr(message, MARK, None)
            if mark is None:
                raise ConfigError(
                    f"{self.kind} bus: register takes a class and its handler, or a function marked by "
                    f"@{self.kind}_handler, not {message!r:.80} alone"
                )
            message, handler = mark.message, message
        made = Handler.of(self.kind, message, handler)
        if message in self._handlers:
            raise ConfigError(
                f"{self.kind} bus: {message.__name__} has a handler already: "
                f"{describe(self._handlers[message].function)}"
            )
        self._handlers[message] = made

    def handler(self, message: type) -> Callable[[F], F]:
        """Do what `register` does, as a decorator: `@bus.handler(CreateOrder)`."""

        def register(function: F) -> F:
            self.register(message, function)
            return function

        return register

    def handler_of(self, message: type) -> Handler | None:
        """Return who handles messages of a class, or of the nearest class above it that has a handler."""
        return next((self._handlers[each] for each in message.__mro__ if each in self._handlers), None)

    def use(self, middleware: DispatchMiddleware | Transactions) -> None:
        """Put a middleware around every attempt; the first one stands outermost.

        Raises:
            ConfigError: It is no `async def` function of two arguments, or there are `Transactions` already.
        """
        if isinstance(middleware, Transactions):
            if self._transactions is not None:
                raise ConfigError(f"{self.kind} bus: there are Transactions already")
            self._transactions = middleware
            return
        if not must_be_awaited(middleware):
            raise ConfigError(
                f"{self.kind} bus: a middleware is an async def of (message, call_next), not {middleware!r:.80}"
            )
        self._middleware.append(middleware)

    async def _run(self, message: Any, *, checked: bool = False) -> R:
        began_s = perf_counter()
        name = type(message).__name__
        with self.spans.span(f"{self.kind} {name}", "internal", {"cello.message": name}) as span:
            result: R = await self._result(message, checked=checked)
            span.set("cello.outcome", result.outcome)
        seconds = perf_counter() - began_s
        for listener in self.listeners:
            listener(message, result.outcome, seconds)
        return result

    async def _result(self, message: Any, *, checked: bool) -> R:
        handler = self.handler_of(type(message))
        if handler is None:
            said = f"No handler is registered for {type(message).__name__}"
            logger.error("%s bus: %s", self.kind, said)
            return self._failed(said, LookupError(said))
        limit_ms = handler.manner.timeout_ms or self.timeout_ms
        try:
            async with asyncio.timeout(limit_ms / 1000) as limit:
                invalid = None if checked else _fault_of(message, handler)
                if invalid is None and handler.validates:
                    invalid = await _refusal(message)
                if invalid is not None:
                    return self._invalid(invalid)
                return self._as_result(await self._attempts(handler, message))
        except Exception as error:  # Rule 1
            if isinstance(error, TimeoutError) and limit.expired():
                logger.warning("%s took longer than %g ms", type(message).__name__, limit_ms)
                return self._timed_out(f"timed out after {limit_ms:g} ms")
            if not isinstance(error, HTTPError) or error.status >= 500:
                logger.error("%s failed: %s", type(message).__name__, error, exc_info=error)
            return self._failed(str(error) or type(error).__name__, error)

    async def _attempts(self, handler: Handler, message: Any) -> Any:
        manner = handler.manner
        retries = self.config.max_retries if manner.max_retries is None else manner.max_retries
        for attempt in range(retries + 1):
            try:
                return await self._attempt(handler, message)
            except Exception as error:
                if attempt == retries or not is_retryable(error, manner.retry_on):
                    raise
                wait_s = pause_s(self.config.retry_delay_ms, attempt)
                logger.info("%s is tried again in %.3f s: %s", type(message).__name__, wait_s, error)
                await asyncio.sleep(wait_s)
        raise AssertionError  # the last attempt returns or raises

    async def _attempt(self, handler: Handler, message: Any) -> Any:
        async def innermost(message: Any) -> Any:
            return self._as_result(await handler.call(message, self._given, self._threads, self._transactions))

        call = innermost
        for middleware in reversed(self._middleware):
            call = _around(middleware, call)
        return await call(message)

    def handlers(self) -> Iterable[Handler]:
        """Return all that are registered."""
        return self._handlers.values()

    def _as_result(self, made: Any) -> R:
        raise NotImplementedError

    def _invalid(self, reason: str) -> R:
        raise NotImplementedError

    def _timed_out(self, reason: str) -> R:
        raise NotImplementedError

    def _failed(self, error: str, exception: Exception) -> R:
        raise NotImplementedError


class Sync(Protocol):
    """What a command that succeeded waits for (`sync.py`)."""

    def mark(self) -> int:
        """Return what tells later whether there is anything to wait for."""

    async def follow(self, mark: int) -> None:
        """Wait for what came since."""


_is_within: ContextVar[bool] = ContextVar("cello_within_command", default=False)


class CommandBus(Bus[CommandResult]):
    """Takes commands to their handlers.

    Attributes:
        sync: What those that succeed wait for, or None.
    """

    kind = COMMAND

    @property
    def timeout_ms(self) -> float:  # type: ignore[override]  # what both have, read from the config
        """Milliseconds that a command may take."""
        return self.config.command_timeout_ms

    def __init__(self, config: CqrsConfig | None = None) -> None:
        super().__init__(config)
        self.sync: Sync | None = None

    async def dispatch(self, command: Any) -> CommandResult:
        """Have a command handled.

        Returns:
            What became of it: also errors are results, and so is a time limit that was passed.
        """
        return await self._run(command)

    async def _run(self, message: Any, *, checked: bool = False) -> CommandResult:
        if self.sync is None or _is_within.get():  # a command of a command: its events may not be committed yet
            return await super()._run(message, checked=checked)
        mark, token = self.sync.mark(), _is_within.set(True)
        try:
            result = await super()._run(message, checked=checked)
        finally:
            _is_within.reset(token)
        if result.success:
            await self.sync.follow(mark)
        return result

    def _as_result(self, made: Any) -> CommandResult:
        return made if isinstance(made, CommandResult) else CommandResult.ok(made)

    def _invalid(self, reason: str) -> CommandResult:
        return CommandResult.rejected(reason, outcome=INVALID)

    def _timed_out(self, reason: str) -> CommandResult:
        return CommandResult.rejected(reason, outcome=TIMEOUT)

    def _failed(self, error: str, exception: Exception) -> CommandResult:
        return CommandResult.fail(error, exception=exception)


class QueryBus(Bus[QueryResult]):
    """Takes queries to their handlers."""

    kind = QUERY

    @property
    def timeout_ms(self) -> float:  # type: ignore[override]  # what both have, read from the config
        """Milliseconds that a query may take."""
        return self.config.query_timeout_ms

    async def execute(self, query: Any) -> QueryResult:
        """Have a query answered.

        Returns:
            What was found: also errors are results, and so is a time limit that was passed.
        """
        return await self._run(query)

    def _as_result(self, made: Any) -> QueryResult:
        return made if isinstance(made, QueryResult) else QueryResult(made)

    def _invalid(self, reason: str) -> QueryResult:
        return QueryResult.fail(reason, outcome=INVALID)

    def _timed_out(self, reason: str) -> QueryResult:
        return QueryResult.fail(reason, outcome=TIMEOUT)

    def _failed(self, error: str, exception: Exception) -> QueryResult:
        return QueryResult.fail(error, exception=exception)


class BlockingBus:
    """A bus for plain functions: `dispatch` and `execute` return results; all else is the bus' own."""

    def __init__(self, bus: Any, home: HomeLoop) -> None:
        self._bus = bus
        self._home = home

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    def dispatch(self, command: Any) -> CommandResult:
        """Have a command handled."""
        return cast(CommandResult, self._home.run(self._bus.dispatch(command), "command_bus.dispatch()"))

    def execute(self, query: Any) -> QueryResult:
        """Have a query answered."""
        return cast(QueryResult, self._home.run(self._bus.execute(query), "query_bus.execute()"))


def _nothing_given(name: str) -> Never:
    raise ConfigError(f"Depends({name!r}) needs a bus of an application: app.enable_cqrs()")


def _around(middleware: DispatchMiddleware, call: Any) -> Any:
    async def step(message: Any) -> Any:
        return await middleware(message, call)

    return step


def _fault_of(message: Any, handler: Handler) -> str | None:
    """Return what breaks the annotations of a message, in words."""
    if handler.check is None:
        return None
    try:
        value = json_codec.decode(json_codec.encode(message))
    except (TypeError, ValueError, RecursionError) as error:
        return f"{type(message).__name__}: {error}"
    faults: list[Fault] = []
    handler.check(value, (), faults)
    return _in_words(faults) if faults else None


def _in_words(faults: Iterable[Fault]) -> str:
    return "; ".join(f"{fault['pointer'].removeprefix('#/') or 'it'} {fault['detail']}" for fault in faults)


async def _refusal(message: Any) -> str | None:
    """Return what `validate()` of a message says against it."""
    try:
        outcome = message.validate()
        if inspect.isawaitable(outcome):
            await outcome
    except (ValueError, TypeError) as error:
        return str(error) or type(error).__name__
    return None
