"""Request bodies: kept in memory up to a limit and on disk beyond it, or read piece by piece while they arrive."""

import io
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO

from cello.http.ports import BodySource

CHUNK_BYTES = 65_536


class Spool:
    """Bytes written once and read as often as needed; an unlinked temporary file takes over beyond the limit.

    Not safe for use by two threads at once. The file goes when the spool is closed or garbage.

    Args:
        memory_limit_bytes: How much is kept in memory.
    """

    __slots__ = ("_file", "_limit", "_memory", "size")

    def __init__(self, memory_limit_bytes: int) -> None:
        self._limit = memory_limit_bytes
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self.size = 0

    @property
    def is_on_disk(self) -> bool:
        """Whether the limit was passed."""
        return self._file is not None

    def write(self, chunk: bytes) -> None:
        """Append a piece."""
        self.size += len(chunk)
        file = self._file
        if file is not None:
            file.seek(0, io.SEEK_END)
            file.write(chunk)
            return
        self._memory += chunk
        if self.size > self._limit:
            import tempfile  # most applications never spool to disk

            file = self._file = tempfile.TemporaryFile(prefix="cello-")  # noqa: SIM115  # closed by close()
            file.write(self._memory)
            self._memory = bytearray()

    def getvalue(self) -> bytes:
        """Return everything; beyond the limit this reads the file back into memory."""
        file = self._file
        if file is None:
            return bytes(self._memory)
        file.seek(0)
        return file.read()

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield everything in pieces of at most `size` bytes."""
        position = 0
        while position < self.size:
            piece = self.read_at(position, size)
            position += len(piece)
            yield piece

    def read_at(self, position: int, size: int) -> bytes:
        """Return up to `size` bytes from `position`."""
        file = self._file
        if file is None:
            return bytes(self._memory[position : position + size])
        file.seek(position)
        return file.read(size)

    def open(self) -> BinaryIO:
        """Return a file object over everything, at its start and with a position of its own."""
        return io.BufferedReader(SpoolReader(self))

    def close(self) -> None:
        """Let go of memory and file."""
        file, self._file = self._file, None
        self._memory = bytearray()
        self.size = 0
        if file is not None:
            file.close()

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()


class SpoolReader(io.RawIOBase):
    """A readable, seekable view of a spool; closing it leaves the spool alone."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill `buffer` from the current position; 0 at the end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # typeshed has no writable buffer before 3.12
        piece = self._spool.read_at(self._position, len(view))
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an absolute position, or one relative to the current one or the end."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._spool.size}[whence]
        self._position = max(0, start + offset)
        return self._position


class HeldBody:
    """A body at hand, behind the interface of one that is still on its way (a `BodySource`)."""

    __slots__ = ("_chunks",)

    def __init__(self, body: "bytes | Spool") -> None:
        self._chunks = iter((body,)) if isinstance(body, bytes) else body.chunks()

    async def read(self) -> bytes:
        """Return the next piece, b"" at the end."""
        return next(self._chunks, b"")

    def read_blocking(self) -> bytes:
        """Return the next piece, b"" at the end."""
        return next(self._chunks, b"")


class BodyStream(Iterator[bytes], AsyncIterator[bytes]):
    """The pieces of a body as they arrive: for `for` in a `def` handler, for `async for` in an `async def`.

    A body can be read once: a second loop goes on where the first one stopped.

    Args:
        source: Where the pieces come from.
    """

    __slots__ = ("_source",)

    def __init__(self, source: BodySource) -> None:
        self._source = source

    def __iter__(self) -> "BodyStream":
        return self

    def __next__(self) -> bytes:
        chunk = self._source.read_blocking()
        if not chunk:
            raise StopIteration
        return chunk

    def __aiter__(self) -> "BodyStream":
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._source.read()
        if not chunk:
            raise StopAsyncIteration
        return chunk


async def collect(source: BodySource, memory_limit_bytes: int) -> "bytes | Spool":
    """Read a source to its end; the limits of the route are the source's business."""
    spool = Spool(memory_limit_bytes)
    while chunk := await source.read():
        spool.write(chunk)
    if spool.is_on_disk:
        return spool
    return spool.getvalue()
