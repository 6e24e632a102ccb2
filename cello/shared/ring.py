"""Messages for all workers: a ring that anybody appends to and everybody reads at a pace of their own, and a bell.

Rule 1: one writer at a time, under the ring's lock. It reserves the room first, then writes the record, then says that
it is there. Killed in between it leaves bytes that the next writer writes over.
Rule 2: readers take no lock. A record is good if, after it was copied, no writer has reserved its room, it names its
own position, and its checksum is right. A reader whom the writers have overtaken goes on with what comes next, and
knows by the records' numbers how many it has lost.
Rule 3: a reader that sleeps is rung once. It says that it is awake before it reads, so that what comes later rings
again; a bell is a datagram to a socket of the reader's own, under any host, whoever made the workers.

Words: reserved, published, records so far, and places ever given to listeners; then two for each listener: its id (0:
free) and whether it was rung. A record is its position, number, length, checksum, and the message, padded to 8 bytes.
"""

import contextlib
import os
import secrets
import socket
import struct
import sys
import tempfile
from pathlib import Path
from zlib import crc32

from cello.config import config, field
from cello.errors import ConfigError
from cello.shared.arena import Block
from cello.shared.slots import Slots

RECORD = struct.Struct("<qqII")
LISTENERS = 254
WORDS = 4 + 2 * LISTENERS
HEAD_BYTES = 8 * WORDS
_RESERVED, _PUBLISHED, _COUNT, _PLACES = 0, 1, 2, 3
_WRITING, _LISTENING = 3, 11
"""The numbers of the ring's locks; words have multiples of 8."""


@config
class RingLayout:
    """Messages for all workers.

    Attributes:
        size_bytes: How many bytes of messages are kept for readers that are behind.
    """

    size_bytes: int = field(default=4_194_304, at_least=4096)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return HEAD_BYTES + self._ring

    @property
    def _ring(self) -> int:
        return (self.size_bytes + 7) // 8 * 8

    def open(self, block: Block) -> "Ring":
        """Return the ring."""
        return Ring(block, self._ring)

    def fill(self, block: Block) -> str:
        """Say how many messages there were."""
        return f"{Slots(block.memory[:HEAD_BYTES], block.gate, block.secret).get(_COUNT):,} messages so far"


class Ring:
    """A ring of messages.

    Args:
        block: The region.
        size: Bytes of the ring.

    Attributes:
        is_shared: Whether other processes may have it too.
        max_bytes: The longest message: an eighth of the ring, so that no message drives all others out.
    """

    def __init__(self, block: Block, size: int) -> None:
        self.is_shared = block.fd is not None
        self.max_bytes = size // 8 - RECORD.size
        self.size = size
        self._gate = block.gate
        self._words = Slots(block.memory[:HEAD_BYTES], block.gate, block.secret)
        self._ring = block.memory[HEAD_BYTES : HEAD_BYTES + size]
        self._pid = os.getpid()
        self._bell: socket.socket | None = None

    def publish(self, message: bytes) -> None:
        """Append a message, and ring whoever sleeps; never waits for readers.

        Raises:
            ValueError: It is longer than `max_bytes`.
        """
        if len(message) > self.max_bytes:
            raise ValueError(f"a message for all workers has at most {self.max_bytes:,} bytes, not {len(message):,}")
        words = self._words
        length = (RECORD.size + len(message) + 7) // 8 * 8
        with self._gate.held(_WRITING):
            at = words.get(_PUBLISHED)
            number = words.get(_COUNT)
            words.set(_RESERVED, at + length)
            self._write(at, RECORD.pack(at, number, len(message), crc32(message)) + message)
            words.set(_COUNT, number + 1)
            words.set(_PUBLISHED, at + length)
        self._ring_bells()

    def reader(self) -> "Reader":
        """Return a reader of what is published from now on.

        Raises:
            ConfigError: There are too many in all processes.
        """
        return Reader(self)

    def close(self) -> None:
        """Let go of the bell of this process; it may be rung again."""
        if self._bell is not None and self._pid == os.getpid():
            self._bell.close()
        self._bell = None

    # -- for readers --

    def position(self) -> tuple[int, int]:
        """Return where the next record will stand, and its number."""
        with self._gate.held(_WRITING):
            return self._words.get(_PUBLISHED), self._words.get(_COUNT)

    @property
    def published(self) -> int:
        """Where the next record will stand."""
        return self._words.get(_PUBLISHED)

    def read(self, at: int) -> tuple[int, bytes, int] | None:
        """Return the number and message of a record, and where the next one stands; None if it was overtaken."""
        position, number, length, checksum = RECORD.unpack(self._copy(at, RECORD.size))
        if position != at or length > self.max_bytes:
            return None
        message = self._copy(at + RECORD.size, length)
        if self._words.get(_RESERVED) - self.size > at or crc32(message) != checksum:
            return None
        return number, message, at + (RECORD.size + length + 7) // 8 * 8

    def enlist(self, listener: int) -> int:
        """Give a listener its words; return the index of the first.

        Raises:
            ConfigError: There are too many.
        """
        words = self._words
        with self._gate.held(_LISTENING):
            for index in range(4, WORDS, 2):
                if words.get(index) == 0:
                    words.set(_PLACES, max(words.get(_PLACES), (index - 2) // 2))
                    words.set(index + 1, 0)
                    words.set(index, listener)
                    return index
        raise ConfigError(f"more than {LISTENERS} workers listen to the messages of one application")

    def dismiss(self, index: int, listener: int) -> None:
        """Take a listener's words back."""
        self._words.swap(index, listener, 0)

    def answer(self, index: int) -> None:
        """Note that a listener is awake: what comes from now on rings again."""
        self._words.set(index + 1, 0)

    # -- inside --

    def _ring_bells(self) -> None:
        words = self._words
        for index in range(4, 4 + 2 * words.get(_PLACES), 2):
            listener = words.get(index)
            if listener and words.get(index + 1) == 0:
                words.set(index + 1, 1)
                self._send_to(index, listener)

    def _send_to(self, index: int, listener: int) -> None:
        if self._bell is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
            self._bell.setblocking(False)
        try:
            self._bell.sendto(b"!", address_of(listener))
        except (ConnectionRefusedError, FileNotFoundError):
            self.dismiss(index, listener)  # its process has died
        except OSError:
            return  # its socket is full of bells

    def _copy(self, at: int, size: int) -> bytes:
        begin = at % self.size
        piece = bytes(self._ring[begin : begin + size])
        return piece if len(piece) == size else piece + bytes(self._ring[: size - len(piece)])

    def _write(self, at: int, data: bytes) -> None:
        begin = at % self.size
        first = min(len(data), self.size - begin)
        self._ring[begin : begin + first] = data[:first]
        if first < len(data):
            self._ring[: len(data) - first] = data[first:]


class Reader:
    """One reader of a ring; for one thread at a time.

    Attributes:
        lost: Messages that were written over before they were read.
        wake: A socket that becomes readable when there may be something to take.
    """

    def __init__(self, ring: Ring) -> None:
        self.lost = 0
        self._ring = ring
        self._id = secrets.randbits(62) + 1
        self.wake = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.wake.setblocking(False)
        self.wake.bind(address_of(self._id))
        try:
            self._index = ring.enlist(self._id)
        except ConfigError:
            self.wake.close()
            raise
        self._at, self._number = ring.position()

    def take(self) -> list[bytes]:
        """Return what was published since the last call, in order."""
        ring, taken = self._ring, []
        while self._at < (end := ring.published):
            found = ring.read(self._at)
            if found is None:
                self._at = end
                continue
            number, message, self._at = found
            self.lost += number - self._number
            self._number = number + 1
            taken.append(message)
        return taken

    def answer(self) -> None:
        """Hear the bell; to be called when `wake` is readable, before `take`."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.wake.recv(16)
        self._ring.answer(self._index)

    def close(self) -> None:
        """Read no more."""
        self._ring.dismiss(self._index, self._id)
        self.wake.close()
        address = address_of(self._id)
        if not address.startswith("\0"):
            Path(address).unlink(missing_ok=True)


def address_of(listener: int) -> str:
    """Return where a listener's bell is; on Linux a name that no file system knows."""
    name = f"cello-bell-{listener:016x}"
    return f"\0{name}" if sys.platform == "linux" else str(Path(tempfile.gettempdir()) / name)
