"""Projections: what is made of the events, for whoever asks: a table of balances, an index, mails that were sent.

A projection is a function of an event, or an object with a handler for each type:

    @app.projection("balances", "Deposited", "Withdrawn")
    async def balances(event, tx): ...

    class Balances(Projection):
        @event_handler(Deposited)
        async def on_deposited(self, event): ...

        async def reset(self):  # before it begins anew
            ...

    app.projection("balances")(Balances())

Rule 1: every event comes at least once, in the order of the feed. After a crash the last ones come again: `event.id` is
the same then, and tells what was done already.
Rule 2: who takes `tx` has its events and its checkpoint in one transaction of the event store's database: what it does
there happens exactly once.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cello.errors import ConfigError
from cello.eventsourcing.aggregate import handlers_of, kind_of
from cello.eventsourcing.event import Event, check_name, event_name
from cello.pipeline.colour import describe, must_be_awaited

LONGEST_NAME = 200
BATCH = 100


class Projection:
    """Base of projections with a handler for each type of event, by `@event_handler`; `def` or `async def`."""

    def reset(self) -> Any:
        """Undo all that it has made, `def` or `async def`; called before it begins anew."""


@dataclass(frozen=True, slots=True)
class Handler:
    """What is called for a type of event.

    Attributes:
        function: `def` or `async def`.
        model: What the event's data is to be, or None.
        takes_tx: Whether it is given the transaction.
    """

    function: Callable[..., Any]
    model: type | None
    takes_tx: bool


@dataclass(frozen=True, slots=True)
class Subject:
    """A projection as it is run.

    Attributes:
        name: What its checkpoint and its lease are called.
        handlers: Type of event → what is called.
        any_handler: What is called for all types; None where `handlers` says all.
        reset: Called before it begins anew, or None.
        batch: Most events between two checkpoints.
        skip_after: How often an event is tried before it is left out; None for ever.
    """

    name: str
    handlers: Mapping[str, Handler]
    any_handler: Handler | None
    reset: Callable[[], Any] | None
    batch: int
    skip_after: int | None

    @property
    def takes_tx(self) -> bool:
        """Whether it runs in transactions."""
        handlers = [*self.handlers.values(), *([self.any_handler] if self.any_handler else [])]
        return any(handler.takes_tx for handler in handlers)

    async def handle(self, event: Event, tx: Any) -> bool:
        """Call what handles an event; return whether there is something."""
        handler = self.handlers.get(event.event_type, self.any_handler)
        if handler is None:
            return False
        if handler.model is not None:
            event.data = event.data_as(handler.model)
        await call(handler.function, event, *((tx,) if handler.takes_tx else ()))
        return True


def make_subject(
    name: str,
    target: Any,
    event_types: tuple[str | type, ...],
    reset: Callable[[], Any] | None,
    batch: int,
    skip_after: int | None,
) -> Subject:
    """Return the projection that a function, or an object with handlers, is.

    Raises:
        ConfigError: It is neither, or something cannot be.
    """
    check_name(name, "a projection's name", LONGEST_NAME)
    if not 1 <= batch <= 1_000:
        raise ConfigError(f"projection {name!r}: batch must be from 1 to 1000, not {batch!r:.80}")
    if skip_after is not None and skip_after < 1:
        raise ConfigError(f"projection {name!r}: skip_after must be at least 1, not {skip_after!r:.80}")
    if isinstance(target, type):
        raise ConfigError(f"projection {name!r}: give an object, {target.__name__}(), not its class")
    methods = handlers_of(kind_of(target))
    if methods:
        if event_types:
            raise ConfigError(f"projection {name!r}: its handlers say which types of events it takes")
        handlers = {kind: _handler(name, getattr(target, method), model) for kind, (method, model) in methods.items()}
        return Subject(name, handlers, None, reset or getattr(target, "reset", None), batch, skip_after)
    if not callable(target):
        raise ConfigError(f"projection {name!r}: a function, or an object with @event_handler, not {target!r:.80}")
    if not event_types:
        return Subject(name, {}, _handler(name, target, None), reset, batch, skip_after)
    handlers = {
        event_name(each): _handler(name, target, each if isinstance(each, type) else None) for each in event_types
    }
    return Subject(name, handlers, None, reset, batch, skip_after)


def _handler(name: str, function: Callable[..., Any], model: type | None) -> Handler:
    given = inspect.signature(function).parameters.values()
    needed = [each.name for each in given if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    takes_tx = needed[1:] == ["tx"]
    if not needed or not (takes_tx or len(needed) == 1):
        raise ConfigError(f"projection {name!r}: {describe(function)} takes (event) or (event, tx), not {needed}")
    if takes_tx and not must_be_awaited(function):
        raise ConfigError(f"projection {name!r}: {describe(function)} takes tx, so it must be async def")
    return Handler(function, model, takes_tx)


async def call(function: Callable[..., Any], *args: Any) -> None:
    """Call a function of either colour: `def` on a thread, so that it may wait."""
    if must_be_awaited(function):
        await function(*args)
        return
    result = await asyncio.to_thread(function, *args)
    if isinstance(result, Awaitable):
        await result
