"""Generated servicers: their methods are called with a message and a context of grpc's kind."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, NoReturn

from cello.grpc.request import GrpcRequest
from cello.grpc.status import GrpcError, StatusCode

Pairs = Iterable[tuple[str, str | bytes]]


_END = object()


def bind_servicer(function: Callable[..., Any], *, server_streams: bool) -> Callable[[Any, GrpcRequest], Any]:
    """Return what calls a servicer's method with its message, or the stream of them, and the request."""
    if server_streams and inspect.iscoroutinefunction(function):
        return lambda message, request: _written(function, message, ServicerContext(request, message))
    return lambda message, request: function(message, ServicerContext(request, message))


async def _written(function: Callable[..., Any], message: Any, context: "ServicerContext") -> AsyncIterator[Any]:
    """Yield what a coroutine writes while it runs; and then what it returns, if that can be iterated over."""
    outlet = context.outlet = Outlet()
    task = asyncio.ensure_future(function(message, context))
    task.add_done_callback(lambda _: outlet.queue.put_nowait(_END))
    try:
        while (each := await outlet.queue.get()) is not _END:
            yield each
            outlet.room.release()
        for each in await task or ():
            yield each
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


class Outlet:
    """Messages on their way from `write` to the wire: one at a time, so that a slow client slows the method.

    Attributes:
        queue: What was written, and the end.
        room: Released when a message has been taken.
    """

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.room = asyncio.Semaphore(1)


class ServicerContext:
    """What generated servicers know as `grpc.aio.ServicerContext`.

    Args:
        request: The call.
        messages: What the method was given: a message, or an iterator of them.
    """

    outlet: Outlet | None = None

    def __init__(self, request: GrpcRequest, messages: Any) -> None:
        self.request = request
        self._messages = messages

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        """Return what the client sent along."""
        return list(self.request.pairs())

    def peer(self) -> str:
        """Return where the call came from."""
        return self.request.peer

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline; None where there is none."""
        return self.request.time_remaining()

    def is_active(self) -> bool:
        """Whether somebody still waits."""
        return not self.request.cancelled()

    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self.request.cancelled()

    async def send_initial_metadata(self, metadata: Pairs) -> None:
        """Send metadata before the first message."""
        await self.request.send_initial_metadata(dict(metadata))

    def set_trailing_metadata(self, metadata: Pairs) -> None:
        """Send metadata after the last message."""
        self.request.trailing_metadata.clear()
        self.request.trailing_metadata.update(dict(metadata))

    def trailing_metadata(self) -> list[tuple[str, str | bytes]]:
        """Return what is sent after the last message."""
        return list(self.request.trailing_metadata.items())

    def set_code(self, code: Any) -> None:
        """Answer with a code: grpc's own, or a number."""
        self.request.outcome = (_number(code), self.request.outcome[1])

    def set_details(self, details: str) -> None:
        """Answer with a sentence beside the code."""
        self.request.outcome = (self.request.outcome[0], details)

    def code(self) -> StatusCode:
        """Return the code that was set."""
        return StatusCode(self.request.outcome[0])

    def details(self) -> str:
        """Return the sentence that was set."""
        return self.request.outcome[1]

    def abort(self, code: Any, details: str = "", trailing_metadata: Pairs = ()) -> NoReturn:
        """End the call, with or without `await`.

        Raises:
            GrpcError: Always.
        """
        raise GrpcError(_number(code), details, metadata=dict(trailing_metadata))

    def abort_with_status(self, status: Any) -> NoReturn:
        """End the call with a `grpc.Status`.

        Raises:
            GrpcError: Always.
        """
        raise GrpcError(_number(status.code), status.details, metadata=dict(status.trailing_metadata or ()))

    async def read(self) -> Any:
        """Return the next message, or `grpc.aio.EOF` when there are no more.

        Raises:
            TypeError: The method is not `async def`, or does not take a stream.
        """
        from grpc.aio import EOF

        if not isinstance(self._messages, AsyncIterator):
            raise TypeError("context.read() is for async methods that take a stream")
        return await anext(self._messages, EOF)

    async def write(self, message: Any) -> None:
        """Send a message, when the one before has been taken.

        Raises:
            TypeError: The method does not answer a stream, or yields its messages.
        """
        if self.outlet is None:
            raise TypeError("context.write() is for async methods that answer a stream and yield nothing")
        await self.outlet.room.acquire()
        self.outlet.queue.put_nowait(message)


def _number(code: Any) -> int:
    """Return the number of grpc's own codes, which are pairs of number and name, or of a number."""
    value = getattr(code, "value", code)
    return int(value[0] if isinstance(value, tuple) else value)
