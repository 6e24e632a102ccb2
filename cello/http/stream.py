"""Iterators as bodies: whatever a handler yields, gateways see bytes.

A body is made after the handler has returned, by whichever thread or task sends it. It still belongs to its request:
the iterator runs in a copy of the context that it was handed over in, so that what it logs and traces is told apart.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import Any, NamedTuple


class Idle(NamedTuple):
    """How a stream that lives long is kept alive while it has nothing to say.

    Attributes:
        after_s: Seconds of silence; None leaves it silent.
        make_piece: Gives the bytes to send then; called on the event loop, or on the thread that sends.
    """

    after_s: float | None
    make_piece: Callable[[], bytes]


class StreamPayload:
    """A body that is made while it is sent.

    Attributes:
        iterator: Yields bytes: plain (`close()` ends it), or async (`aclose()` ends it).
        is_async: Which of the two.
        idle: For a stream that may live for hours, such as server-sent events, else None. Whoever wraps the iterator of
            one hands it on, with a `make_piece` that fits what the pieces have become.
    """

    __slots__ = ("_source", "idle", "is_async", "iterator")

    iterator: Any

    def __init__(self, source: Iterable[str | bytes] | AsyncIterable[str | bytes], idle: Idle | None = None) -> None:
        self._source = source
        self.idle = idle
        if isinstance(source, AsyncIterable):
            self.is_async = True
            self.iterator = AsyncChunks(aiter(source))
        elif hasattr(source, "__iter__") and not isinstance(source, str | bytes | Mapping):
            self.is_async = False
            self.iterator = Chunks(iter(source))
        else:
            raise TypeError(f"a stream needs an iterator, plain or async, not {type(source).__name__}")

    def close(self) -> None:
        """End a stream that nobody will read.

        An async one is only let go of: it has not begun, so it holds nothing.
        """
        if not self.is_async:
            self.iterator.close()


class Chunks(Iterator[bytes]):
    """The pieces of a plain iterator, as bytes."""

    __slots__ = ("_run", "_source")

    def __init__(self, source: Iterator[str | bytes]) -> None:
        self._source = source
        self._run = copy_context().run

    def __next__(self) -> bytes:
        chunk = self._run(next, self._source)
        return chunk if chunk.__class__ is bytes else as_bytes(chunk)

    def close(self) -> None:
        """Close what the handler gave, if it can be closed."""
        close = getattr(self._source, "close", None)
        if close is not None:
            self._run(close)


class AsyncChunks(AsyncIterator[bytes]):
    """The pieces of an async iterator, as bytes."""

    __slots__ = ("_context", "_source")

    def __init__(self, source: AsyncIterator[str | bytes]) -> None:
        self._source = source
        self._context = copy_context()

    async def __anext__(self) -> bytes:
        chunk = await InContext(self._context, self._source.__anext__)
        return chunk if chunk.__class__ is bytes else as_bytes(chunk)

    async def aclose(self) -> None:
        """Close what the handler gave, if it can be closed."""
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await InContext(self._context, close)


class InContext(Awaitable[Any]):
    """What `make()` gives to be awaited, awaited in another context by the same task.

    PERF: a task of its own for each piece would cost ten times as much.
    """

    __slots__ = ("_make", "_run")

    def __init__(self, context: Context, make: Callable[[], Awaitable[Any]]) -> None:
        self._run = context.run
        self._make = make

    def __await__(self) -> Generator[Any, Any, Any]:
        run = self._run
        steps: Any = run(lambda: self._make().__await__())
        step: Callable[..., Any] = steps.__next__
        value: tuple[BaseException, ...] = ()
        while True:
            try:
                waits_for = run(step, *value)
            except StopIteration as stop:
                return stop.value
            try:
                yield waits_for
            except GeneratorExit:
                run(steps.close)
                raise
            except BaseException as error:  # noqa: BLE001  # a cancellation, for instance: handed on, not kept
                step, value = steps.throw, (error,)
            else:
                step, value = steps.__next__, ()


def as_bytes(chunk: object) -> bytes:
    """Return one piece of a stream as bytes.

    Raises:
        TypeError: It is neither text nor bytes.
    """
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise TypeError(f"a streamed response yields str or bytes, not {type(chunk).__name__}: {chunk!r:.80}")
