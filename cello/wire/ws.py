"""WebSocket frames (RFC 6455): the contract that every tier keeps, with its events, opcodes and close codes.

A codec is one side of one conversation, behind its handshake, without I/O:

    codec.receive(data) -> list[Event]      what the bytes complete, in order
    codec.encode(message) -> bytes          `str` as a text message, `bytes` as a binary one, in one frame
    control_frame(opcode, payload) -> bytes

An event is a complete message (`str` or `bytes`), a `Ping`, `Pong` or `Close` of the peer's, or a `Failure`: what came
breaks the protocol or a limit, and the connection is to be closed with that code. Behind a `Close` or a `Failure`
nothing is read any more, and `receive` returns nothing.

Rule 1: the events never depend on how the bytes were cut, but for text: what is not UTF-8 fails as soon as it shows.
Rule 2: memory is bounded: a message by `limit_bytes`, before and after decompression; a control frame by its 125 bytes.
Rule 3: a codec answers nothing by itself: pongs and closing handshakes are its owner's.

Of several faults the first of this list counts, each as soon as the bytes are there that show it (1002 unless said):

  * with two bytes of a frame: an unknown opcode; a control frame in fragments, or of more than 125 bytes;
  * with the whole length: a length not written in the shortest way, or over 63 bits; a reserved bit that nobody agreed
    on, or RSV1 on anything but the first frame of a message; no mask;
  * with the whole header: a continuation without a beginning, or a beginning within a message; too many fragments
    (1008); more than `limit_bytes` announced (1009);
  * with the payload: text that is not UTF-8 (1007), data that cannot be decompressed (1007) or becomes too long (1009);
    a close frame of one byte, or with a code that must not be sent; a reason that is not UTF-8 (1007).
"""

import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

NORMAL, GOING_AWAY, PROTOCOL_ERROR = 1000, 1001, 1002
NO_STATUS, ABNORMAL, NOT_CONSISTENT, POLICY, TOO_BIG, INTERNAL_ERROR = 1005, 1006, 1007, 1008, 1009, 1011

MAX_CONTROL_BYTES = 125
MAX_FRAGMENTS = 131_072
"""Frames of one message; a message of 16 MiB in frames of 128 bytes."""


class Ping(NamedTuple):
    """The peer wants a pong with this payload."""

    payload: bytes


class Pong(NamedTuple):
    """An answer to a ping, or sent unasked."""

    payload: bytes


class Close(NamedTuple):
    """The peer closes: its code (1005 where it gave none) and reason."""

    code: int
    reason: str


class Failure(NamedTuple):
    """The connection is to be closed with this code; the reason is for the peer's developer."""

    code: int
    reason: str


Event = str | bytes | Ping | Pong | Close | Failure


class Inflater(Protocol):
    """What decompresses messages; see ws_deflate.py."""

    def decompress(self, piece: bytes, room_bytes: int) -> bytes:
        """Return what a piece of a message becomes."""

    def finish(self, room_bytes: int) -> bytes:
        """Return the rest of the message."""

    def compress(self, payload: bytes) -> bytes:
        """Return a whole message compressed."""


class Codec(Protocol):
    """One side of one conversation."""

    def receive(self, data: bytes) -> list[Event]:
        """Return what `data`, with what came before, completes."""

    def encode(self, message: str | bytes) -> bytes:
        """Return a message as one frame."""


MakeCodec = Callable[[int, Inflater | None], Codec]
"""Takes the limit of a message in bytes, and what was agreed on compression."""


class Fault(Exception):
    """What the peer sent breaks the protocol; tiers turn it into a `Failure`."""

    def __init__(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.code = code


_LENGTH_16 = struct.Struct("!BBH")
_LENGTH_64 = struct.Struct("!BBQ")


def frame_header(opcode: int, size: int, *, compressed: bool = False) -> bytes:
    """Return the header of an unmasked frame that is a whole message (RFC 6455 §5.2)."""
    first = 0x80 | (0x40 if compressed else 0) | opcode
    if size <= MAX_CONTROL_BYTES:
        return bytes((first, size))
    return _LENGTH_16.pack(first, 126, size) if size < 65_536 else _LENGTH_64.pack(first, 127, size)


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """Return a close, ping or pong frame.

    Raises:
        ValueError: The payload has more than 125 bytes.
    """
    if len(payload) > MAX_CONTROL_BYTES:
        raise ValueError(f"the payload of a control frame has at most 125 bytes, not {len(payload)} (RFC 6455 §5.5)")
    return frame_header(opcode, len(payload)) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; 1005 is one without a code. A reason that is too long is cut, never within a character."""
    if code == NO_STATUS:
        return control_frame(CLOSE)
    text = reason.encode("utf-8", "replace")[: MAX_CONTROL_BYTES - 2].decode("utf-8", "ignore").encode()
    return control_frame(CLOSE, code.to_bytes(2, "big") + text)


def may_be_sent(code: int) -> bool:
    """Whether a close frame may hold `code` (RFC 6455 §7.4, and the IANA registry: 1012-1014)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def read_close(payload: bytes) -> Close:
    """Return what a close frame says.

    Raises:
        Fault: It says it wrongly.
    """
    if not payload:
        return Close(NO_STATUS, "")
    if len(payload) == 1:
        raise Fault("a close frame with half a code (RFC 6455 §5.5.1)")
    code = int.from_bytes(payload[:2], "big")
    if not may_be_sent(code):
        raise Fault(f"the close code {code} must not be sent (RFC 6455 §7.4)")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise Fault("the reason of a close frame is not UTF-8 (RFC 6455 §5.5.1)", NOT_CONSISTENT) from None
