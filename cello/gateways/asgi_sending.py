"""Answers as ASGI messages: bytes, files by the host's own means or in pieces, and streams.

Rule: an OSError out of the host's `send` says that the client has gone, and is ClientDisconnected from there on; one
out of a file or a generator is the application's.
"""

import asyncio
import functools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from cello.errors import ClientDisconnected
from cello.gateways.asgi_scope import Scope
from cello.gateways.inbox import Inbox, run_unless_gone
from cello.gateways.live import Heartbeat, Message, Send
from cello.gateways.portal import close_async_iterator
from cello.http.response import FilePayload, Response, StreamPayload
from cello.pipeline.deadlines import within
from cello.pipeline.dispatch import Dispatcher
from cello.pipeline.threads import WorkerThreads

CHUNK_BYTES = 262_144
# PERF: a file this small is read where we are: a hop to a thread and back costs more than the page cache does.
INLINE_FILE_BYTES = 65_536
TURN_S = 0.01
"""How long a stream that never waits keeps the loop."""
SEND_FAILED = "the client left before its answer was sent"

_clock = time.perf_counter


def message_headers(response: Response) -> list[tuple[bytes, bytes]]:
    """Return the fields as ASGI wants them: names in lower case."""
    return [(name.lower(), value) for name, value in response.fields()]


async def send_payload(scope: Scope, send: Send, dispatcher: Dispatcher, response: Response, inbox: Inbox) -> None:
    """Send an answer that is a file or a stream.

    Raises:
        ClientDisconnected: `send` raised OSError, which is how a host says that the client has gone.
    """
    start = {"type": "http.response.start", "status": response.status, "headers": message_headers(response)}
    payload = response.payload
    # What raises an OSError besides, a file or a generator, is an error of the application.
    unwatched = functools.partial(send_to_client, send)
    send = functools.partial(send_in_time, send, dispatcher)
    if isinstance(payload, bytes):
        await send(start)
        await send({"type": "http.response.body", "body": payload})
        return
    if isinstance(payload, FilePayload):
        try:
            await send(start)
            await send_file(scope.get("extensions") or {}, send, unwatched, dispatcher.threads, payload)
        finally:
            payload.close()
        return
    threads = dispatcher.threads if payload.idle is None else dispatcher.long_threads
    await run_unless_gone(send_stream(start, send, threads, payload), inbox)


async def send_to_client(send: Send, message: Message) -> None:
    """Send a message.

    Raises:
        ClientDisconnected: The client has gone.
    """
    try:
        await send(message)
    except OSError as error:
        raise ClientDisconnected(SEND_FAILED) from error


async def send_in_time(send: Send, dispatcher: Dispatcher, message: Message) -> None:
    """Send a message, for which the host waits until the client has taken enough of what came before.

    Raises:
        ClientDisconnected: The client has gone, or takes nothing.
    """
    wait_s = dispatcher.timeouts.write
    try:
        await within(dispatcher.stalls, wait_s, send(message))
    except TimeoutError:
        raise ClientDisconnected(f"the client took nothing of its answer for {wait_s:g} s") from None
    except OSError as error:
        raise ClientDisconnected(SEND_FAILED) from error


async def send_file(
    extensions: Any, send: Send, send_whole: Send, threads: WorkerThreads, payload: FilePayload
) -> None:
    """Send a file, or part of one: by the host's own means if it offers any, else in pieces.

    Args:
        extensions: Of the scope.
        send: For pieces.
        send_whole: For a message that stands for a whole file, which takes as long as it takes.
        threads: Read the file.
        payload: The file.
    """
    if payload.length and "http.response.zerocopysend" in extensions:
        with await threads.run(payload.open) as file:
            await send_whole({
                "type": "http.response.zerocopysend", "file": file, "offset": payload.offset, "count": payload.length,
            })  # fmt: skip
        return
    # SECURITY: a path that was opened with care may lead elsewhere when the host opens it again.
    if "http.response.pathsend" in extensions and payload.is_whole_file() and not payload.is_pinned:
        payload.close()
        await send_whole({"type": "http.response.pathsend", "path": absolute(payload.path)})
        return
    if payload.length <= INLINE_FILE_BYTES:
        await send({"type": "http.response.body", "body": b"".join(payload.chunks())})
        return
    await send_iterator(send, threads, payload.chunks(CHUNK_BYTES))
    await send({"type": "http.response.body", "body": b""})


def absolute(path: str) -> str:
    """Return a path as the extension wants it; no file is touched."""
    return os.path.abspath(path)


async def send_stream(start: Message, send: Send, threads: WorkerThreads, payload: StreamPayload) -> None:
    """Send an iterator's chunks one by one, and run its clean-up whatever happens."""
    idle = payload.idle
    if idle is None:
        await send_chunks(start, send, threads, payload)
    else:
        async with Heartbeat(send, idle) as steady:
            await send_chunks(start, steady, threads, payload)


async def send_chunks(start: Message, send: Send, threads: WorkerThreads, payload: StreamPayload) -> None:
    """Send an iterator's chunks as they come."""
    await send(start)
    if payload.is_async:
        iterator = payload.iterator
        yielded_at = _clock()
        try:
            async for chunk in iterator:
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                # Neither a generator that is never short of data nor a `send` to a client that has gone need ever
                # wait; without a turn for others the loop would not even notice the disconnect.
                if _clock() - yielded_at > TURN_S:
                    await asyncio.sleep(0)
                    yielded_at = _clock()
        finally:
            await close_async_iterator(iterator)
    else:
        await send_iterator(send, threads, payload.iterator)
    await send({"type": "http.response.body", "body": b""})


async def send_iterator(send: Send, threads: WorkerThreads, iterator: Iterator[bytes]) -> None:
    """Send what a plain iterator yields; it may block, so a worker thread takes each step."""
    step = None
    try:
        while True:
            step = threads.submit(next, iterator, None)
            chunk = await asyncio.wrap_future(step)
            if chunk is None:
                return
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            await asyncio.shield(asyncio.wrap_future(threads.submit(_close_after, step, close)))


def _close_after(step: Any, close: Callable[[], None]) -> None:
    """Close a generator once its last step has ended: one that is executing cannot be closed."""
    if step is not None and not step.cancelled():
        step.exception()
    close()
