"""Sending what does not fit into one write: files and iterators, at the pace of the client."""

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import BinaryIO

from cello.errors import ClientDisconnected
from cello.gateways.native.link import Link
from cello.http.response import FilePayload, StreamPayload
from cello.http.stream import Idle
from cello.pipeline.threads import WorkerThreads
from cello.wire.response_head import LAST_CHUNK

PIECE_BYTES = 262_144
BREATH_BYTES = 65_536
"""An iterator that never waits lets others run after so many bytes."""
PROBES, PROBE_S = 2, 1.0
"""How often, and how soon again, a client that sends no more is written to, to see whether it has gone altogether.

The first write makes its system refuse the connection, the second one fails where nothing else tells of that.
"""


class BodyWriter:
    """Frames and writes the pieces of a body.

    Args:
        link: The connection.
        chunked: Frame each piece as a chunk; else they are written as they are.
        length: What Content-Length announced, or None.
        idle: How the body is kept alive while there are no pieces.
    """

    __slots__ = ("_breath_bytes", "_chunked", "_idle", "_left", "_link", "_probes")

    def __init__(self, link: Link, *, chunked: bool, length: int | None, idle: Idle | None = None) -> None:
        self._link = link
        self._idle = idle
        self._chunked = chunked
        self._probes = PROBES
        self._left = length
        self._breath_bytes = 0

    async def write(self, piece: bytes) -> None:
        """Write one piece, and wait while the client does not keep up.

        Raises:
            ClientDisconnected: The client has gone.
            ValueError: The body is longer than announced.
        """
        if not piece:
            return  # an empty chunk would end the body
        link = self._link
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise ValueError("the streamed body is longer than its Content-Length")
        if self._chunked:
            link.queue(b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            link.queue(piece)
        link.flush()
        self.watch_silence()
        if not link.can_write:
            await link.drain()
            self._breath_bytes = 0
            return
        self._breath_bytes += len(piece)
        if self._breath_bytes > BREATH_BYTES:
            self._breath_bytes = 0
            await asyncio.sleep(0)

    @property
    def is_live(self) -> bool:
        """Whether the body may go on for hours."""
        return self._idle is not None

    def watch_silence(self) -> None:
        """Have the deadline of the phase pass when there was no piece for too long."""
        link = self._link
        if link.has_eof:
            link.answer_is_due(link.state.dispatcher.timeouts.idle)
        elif self._idle is not None:
            link.answer_is_due(self._idle.after_s)

    def break_silence(self) -> bool:
        """Keep the body alive, unless earlier pieces are still on their way; False when nothing keeps it.

        For a client that sends no more the same bytes are probes, and there are few of them.
        """
        idle, link = self._idle, self._link
        if idle is None or (link.has_eof and not self._probes):
            return False
        if link.can_write:
            piece = idle.make_piece()
            link.queue(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
        self.watch_silence()
        if link.has_eof:
            self._probes -= 1
            if self._probes:
                link.answer_is_due(PROBE_S)
        return True

    def end(self) -> None:
        """Write the end of the body.

        Raises:
            ValueError: The body is shorter than announced.
        """
        if self._left:
            raise ValueError(f"the streamed body ended {self._left} bytes before its Content-Length")
        if self._chunked:
            self._link.queue(LAST_CHUNK)


async def send_iterator(writer: BodyWriter, payload: StreamPayload, threads: WorkerThreads) -> None:
    """Send what an iterator yields, and run its clean-up whatever happens.

    A plain one may block, so each of its steps is taken on a worker thread.
    """
    if payload.is_async:
        try:
            async for piece in payload.iterator:
                await writer.write(piece)
        finally:
            await payload.iterator.aclose()
    else:
        step: Future[bytes | None] | None = None
        try:
            while True:
                step = threads.submit(next, payload.iterator, None)
                piece = await asyncio.wrap_future(step)
                if piece is None:
                    break
                await writer.write(piece)
        finally:
            # Shielded: whoever is cancelled twice has its generator closed all the same.
            await asyncio.shield(asyncio.wrap_future(threads.submit(_close_after, step, payload.iterator.close)))
    writer.end()


def _close_after(step: "Future[bytes | None] | None", close: Callable[[], None]) -> None:
    """Close an iterator once its last step has ended: a generator that is executing cannot be closed."""
    if step is not None and not step.cancelled():
        step.exception()
    close()


async def close_payload(payload: FilePayload | StreamPayload, threads: WorkerThreads) -> None:
    """Let go of a payload that nobody began to send."""
    if isinstance(payload, StreamPayload) and not payload.is_async:
        await asyncio.shield(asyncio.wrap_future(threads.submit(payload.close)))
    else:
        payload.close()


async def send_file(link: Link, file: BinaryIO, payload: FilePayload, threads: WorkerThreads) -> None:
    """Send an open file, by the kernel alone where it can: not under TLS, nor where there is no socket.

    Raises:
        ClientDisconnected: The client has gone.
        OSError: The file is shorter than it was.
    """
    link.flush()
    sock = None if link.is_tls or sys.platform == "win32" else link.transport.get_extra_info("socket")
    if sock is None:
        await _send_pieces(link, file, payload, threads)
        return
    link.transport.set_write_buffer_limits(high=0)
    try:
        await _wait_until_sent(link)
        # The transport watches its own descriptor; a duplicate of it can be watched by us.
        descriptor = os.dup(sock.fileno())
        try:
            is_sent = await _send_by_kernel(link, descriptor, file.fileno(), payload.offset, payload.length)
        finally:
            os.close(descriptor)
        if not is_sent:
            await _send_pieces(link, file, payload, threads)
    finally:
        link.transport.set_write_buffer_limits()


async def _wait_until_sent(link: Link) -> None:
    while link.is_lost or link.transport.get_write_buffer_size():
        await link.drain()
        await asyncio.sleep(0)


async def _send_by_kernel(link: Link, descriptor: int, source: int, offset: int, count: int) -> bool:
    """Send part of a file; False when its file system, or the socket, does not support this, and nothing was sent."""
    loop = link.state.loop
    write_timeout_s = link.state.dispatcher.timeouts.write
    begin, end = offset, offset + count
    while offset < end:
        try:
            sent = os.sendfile(descriptor, source, offset, min(end - offset, PIECE_BYTES))
        except BlockingIOError:
            link.answer_is_due(write_timeout_s)
            writable = loop.create_future()
            loop.add_writer(descriptor, _wake, writable)
            try:
                await writable
            finally:
                loop.remove_writer(descriptor)
            continue
        except ConnectionError as error:
            raise ClientDisconnected("the client has gone") from error
        except OSError:
            if offset == begin:
                return False
            raise
        if not sent:
            raise OSError(f"the file ended {end - offset} bytes before its announced length")
        offset += sent
        await asyncio.sleep(0)
    link.answer_is_due(None)
    return True


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _send_pieces(link: Link, file: BinaryIO, payload: FilePayload, threads: WorkerThreads) -> None:
    writer = BodyWriter(link, chunked=False, length=payload.length)
    file.seek(payload.offset)
    left = payload.length
    while left:
        piece = await threads.run(file.read, min(left, PIECE_BYTES))
        if not piece:
            raise OSError(f"the file ended {left} bytes before its announced length")
        left -= len(piece)
        await writer.write(piece)
