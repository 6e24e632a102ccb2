"""How resolvers are called: plain functions where they do not hold the loop, and on worker threads where they do."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import Any

from cello.pipeline.threads import Offload, WorkerThreads

_END = object()


class Calling:
    """Makes resolvers; knows of the threads once the application has started.

    Attributes:
        threads: Where plain functions go that hold the loop; None: nowhere, they are called on the spot.
    """

    def __init__(self) -> None:
        self.threads: WorkerThreads | None = None

    def bind(self, function: Callable[..., Any], is_method: bool, takes_info: bool) -> Callable[..., Any]:
        """Return the resolver: it is called with the source, `info`, and arguments by name."""
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            call = function
        else:
            call = self._watched(function)
        if is_method:
            if takes_info:
                return call
            return lambda source, info, **arguments: call(source, **arguments)
        if takes_info:
            return lambda source, info, **arguments: call(info, **arguments)
        return lambda source, info, **arguments: call(**arguments)

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        offload = Offload()

        def call(*args: Any, **named: Any) -> Any:
            threads = self.threads
            if threads is None:
                return function(*args, **named)
            if offload.on_thread:
                return threads.run(offload.watch, function, *args, **named)
            started_s = perf_counter()
            try:
                return function(*args, **named)
            finally:
                offload.held(perf_counter() - started_s)

        return call

    def subscriber(self, function: Callable[..., Any], takes_info: bool) -> Callable[..., Any]:
        """Return what begins a subscription: an async generator, also of a plain one."""

        def subscribe(source: Any, info: Any, **arguments: Any) -> Any:
            events = function(info, **arguments) if takes_info else function(**arguments)
            return _stepped(events) if isinstance(events, Iterator) else events

        return subscribe


async def _stepped(events: Iterator[Any]) -> AsyncIterator[Any]:
    """Yield what a plain generator yields; each of its steps runs on a thread."""
    try:
        while (event := await asyncio.to_thread(next, events, _END)) is not _END:
            yield event
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            await asyncio.to_thread(close)
