"""How a method is called: messages in, messages out, whatever its colour and however many there are.

An `async def` method runs on the loop; a `def` one there too while it is quick, and on a worker thread once it was seen
to hold the loop (`cello.pipeline.threads`). Plain generators, and `def` methods that read a stream, are on threads from
the start, since they wait.
"""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator
from time import perf_counter
from typing import Any

from cello.config import ThreadPoolConfig
from cello.grpc.catalog import Endpoint
from cello.grpc.request import GrpcRequest, GrpcResponse
from cello.grpc.status import GrpcError
from cello.pipeline.threads import Offload, WorkerThreads, offload_mode

_END = object()


class Runner:
    """Calls one method.

    Args:
        endpoint: The method.
        threads: Where plain code goes that would hold the loop.
        waiting: Where plain code goes that waits for messages, for hours maybe.
        threadpool: When it counts as holding.
    """

    def __init__(
        self, endpoint: Endpoint, threads: WorkerThreads, waiting: WorkerThreads, threadpool: ThreadPoolConfig
    ) -> None:
        self.endpoint = endpoint
        self._threads = threads
        self._waiting = waiting
        self._offload = Offload.decide(None, threadpool, offload_mode(os.environ))
        self._offload.name = endpoint.path
        function = endpoint.function
        self._is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self._is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)

    async def one(self, content: bytes, request: GrpcRequest) -> bytes:
        """Return the one answer to one message.

        Raises:
            GrpcError: The message does not fit, or the method answers so.
        """
        endpoint = self.endpoint
        message = request.data = endpoint.decode(content)
        try:
            if self._is_async:
                value = await endpoint.call(message, request)
            else:
                value = self._call(message, request)
                if inspect.isawaitable(value):
                    value = await value
        except NotImplementedError:
            _raise_outcome(request)  # what generated servicers do where a method is not overridden
            raise
        return self._encoded(value, request)

    async def many(self, source: "bytes | AsyncIterator[bytes]", request: GrpcRequest) -> AsyncIterator[bytes]:
        """Yield the answers to one message, or to a stream of them.

        Raises:
            GrpcError: A message does not fit, or the method answers so.
        """
        try:
            async for content in self._answers(source, request):
                yield content
        except NotImplementedError:
            _raise_outcome(request)
            raise

    async def _answers(self, source: "bytes | AsyncIterator[bytes]", request: GrpcRequest) -> AsyncIterator[bytes]:
        endpoint = self.endpoint
        if isinstance(source, bytes):
            message = endpoint.decode(source)
        else:
            message = self._decoded(source) if self._is_async else Waiting(self._decoded(source))
        request.data = message
        if self._is_async or self._is_generator:
            value = endpoint.call(message, request)  # a generator function does nothing yet
        elif isinstance(source, bytes):
            value = self._call(message, request)
        else:
            value = await self._waiting.run(endpoint.call, message, request)
        if inspect.isawaitable(value):
            value = await value
        if not endpoint.server_streams:
            yield self._encoded(value, request)
            return
        if value.__class__ is GrpcResponse:
            value = value.open(request)
        messages = value if hasattr(value, "__aiter__") else self._stepped(value)
        try:
            async for each in messages:
                yield endpoint.encode(each)
        finally:
            close = getattr(messages, "aclose", None)
            if close is not None:
                await close()
        _raise_outcome(request)

    def _call(self, message: Any, request: GrpcRequest) -> Any:
        offload = self._offload
        if offload.on_thread:
            return self._threads.run(offload.watch, self.endpoint.call, message, request)
        started_s = perf_counter()
        try:
            return self.endpoint.call(message, request)
        finally:
            offload.held(perf_counter() - started_s)

    def _encoded(self, value: Any, request: GrpcRequest) -> bytes:
        if value.__class__ is GrpcResponse:
            value = value.open(request)
        if request.outcome[0]:
            _raise_outcome(request)
        return self.endpoint.encode(value)

    async def _decoded(self, source: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        decode = self.endpoint.decode
        async for content in source:
            yield decode(content)

    async def _stepped(self, messages: Any) -> AsyncIterator[Any]:
        """Yield what a plain iterable gives; each step of a generator is on a thread."""
        if not isinstance(messages, Iterator):
            for each in messages:
                yield each
            return
        step: Callable[..., Any] = next
        try:
            while (each := await self._waiting.run(step, messages, _END)) is not _END:
                yield each
        finally:
            close = getattr(messages, "close", None)
            if close is not None:
                await self._waiting.run(close)


class Waiting(Iterator[Any]):
    """A stream of messages for plain code on a thread, which waits for each."""

    def __init__(self, messages: AsyncIterator[Any]) -> None:
        self._messages = messages
        self._loop = asyncio.get_running_loop()

    def __next__(self) -> Any:
        async def step() -> Any:
            return await anext(self._messages, _END)

        message = asyncio.run_coroutine_threadsafe(step(), self._loop).result()
        if message is _END:
            raise StopIteration
        return message


def _raise_outcome(request: GrpcRequest) -> None:
    code, message = request.outcome
    if code:
        raise GrpcError(code, message)
