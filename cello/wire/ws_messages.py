"""Frames into events: the half of reading that all tiers share.

A tier finds frames and unmasks them; here they are judged, put together into messages, decompressed and decoded. The
order of the checks is that of ws.py.
"""

from codecs import IncrementalDecoder, getincrementaldecoder

from cello.wire.ws import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MAX_CONTROL_BYTES,
    MAX_FRAGMENTS,
    NOT_CONSISTENT,
    PING,
    POLICY,
    PONG,
    TEXT,
    TOO_BIG,
    Event,
    Fault,
    Inflater,
    Ping,
    Pong,
    frame_header,
    read_close,
)

_Utf8 = getincrementaldecoder("utf-8")
_OPCODES = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
MIN_COMPRESSED_BYTES = 128
"""A shorter message is sent as it is: little is gained, and compressing one costs as much as ten sends."""


def check_first_bytes(first: int, second: int) -> None:
    """Judge what the first two bytes of a frame say alone.

    Raises:
        Fault: They cannot begin a frame.
    """
    opcode = first & 0x0F
    if opcode not in _OPCODES:
        raise Fault(f"the opcode {opcode} means nothing (RFC 6455 §5.2)")
    if opcode >= CLOSE:
        if not first & 0x80:
            raise Fault("a control frame in fragments (RFC 6455 §5.5)")
        if second & 0x7F > MAX_CONTROL_BYTES:
            raise Fault("a control frame of more than 125 bytes (RFC 6455 §5.5)")


class Messages:
    """The state of reading between frames.

    Args:
        limit_bytes: The longest message.
        inflater: Decompresses messages that say so, where that was agreed on.
    """

    __slots__ = (
        "_announced_bytes",
        "_decoder",
        "_fragments",
        "_inflater",
        "_is_compressed",
        "_is_final",
        "_limit_bytes",
        "_opcode",
        "_parts",
        "_size_bytes",
        "_texts",
    )

    def __init__(self, limit_bytes: int, inflater: Inflater | None) -> None:
        self._limit_bytes = limit_bytes
        self._inflater = inflater
        self._opcode = 0  # of the message that is coming in; 0 between messages
        self._is_final = False
        self._is_compressed = False
        self._fragments = 0
        self._announced_bytes = 0
        self._size_bytes = 0
        self._decoder: IncrementalDecoder = _Utf8()
        self._parts: list[bytes] = []
        self._texts: list[str] = []

    @property
    def is_between(self) -> bool:
        """Whether no message is coming in."""
        return not self._opcode

    def check_reserved(self, first: int) -> None:
        """Judge the reserved bits of a frame.

        Raises:
            Fault: One is set that nobody agreed on.
        """
        if not first & 0x70:
            return
        if first & 0x30 or self._inflater is None or first & 0x0F not in (TEXT, BINARY):
            raise Fault("a reserved bit that nobody agreed on (RFC 6455 §5.2)")

    def begin_frame(self, first: int, size: int) -> None:
        """Take the header of a data frame.

        Args:
            first: Its first byte.
            size: Its payload, in bytes.

        Raises:
            Fault: It is out of order, or too much.
        """
        opcode = first & 0x0F
        if opcode == CONTINUATION:
            if not self._opcode:
                raise Fault("a continuation of nothing (RFC 6455 §5.4)")
            self._fragments += 1
            if self._fragments > MAX_FRAGMENTS:
                raise Fault(f"a message in more than {MAX_FRAGMENTS} fragments", POLICY)
        else:
            if self._opcode:
                raise Fault("a message within a message (RFC 6455 §5.4)")
            self._opcode = opcode
            self._is_compressed = bool(first & 0x40)
            self._fragments = 1
            self._announced_bytes = self._size_bytes = 0
        self._is_final = bool(first & 0x80)
        self._announced_bytes += size
        if self._announced_bytes > self._limit_bytes:
            raise self._too_big()

    def add(self, piece: bytes, *, is_end: bool) -> Event | None:
        """Take payload of the frame that was begun; return the message when it is complete.

        Args:
            piece: Unmasked.
            is_end: Whether the frame ends with it.

        Raises:
            Fault: It cannot be decompressed or decoded, or becomes too much.
        """
        is_end = is_end and self._is_final
        if self._is_compressed and self._inflater is not None:
            piece = self._inflater.decompress(piece, self._limit_bytes - self._size_bytes)
            if is_end:
                piece += self._inflater.finish(self._limit_bytes - self._size_bytes - len(piece))
        self._size_bytes += len(piece)
        if self._size_bytes > self._limit_bytes:
            raise self._too_big()
        if self._opcode == TEXT:
            return self._add_text(piece, is_end=is_end)
        if not is_end:
            self._parts.append(piece)
            return None
        self._opcode = 0
        if not self._parts:
            return piece
        parts, self._parts = self._parts, []
        parts.append(piece)
        return b"".join(parts)

    def _add_text(self, piece: bytes, *, is_end: bool) -> str | None:
        try:
            text = self._decoder.decode(piece, is_end)
        except UnicodeDecodeError:
            raise Fault("text that is not UTF-8 (RFC 6455 §8.1)", NOT_CONSISTENT) from None
        if not is_end:
            self._texts.append(text)
            return None
        self._opcode = 0
        if not self._texts:
            return text
        texts, self._texts = self._texts, []
        texts.append(text)
        return "".join(texts)

    def _too_big(self) -> Fault:
        return Fault(f"a message of more than {self._limit_bytes} bytes", TOO_BIG)


def read_control(opcode: int, payload: bytes) -> Event:
    """Return what a control frame says.

    Raises:
        Fault: It is a close frame that says it wrongly.
    """
    if opcode == PING:
        return Ping(payload)
    return Pong(payload) if opcode == PONG else read_close(payload)


def encode_message(message: str | bytes, inflater: Inflater | None) -> bytes:
    """Return a message as one frame, compressed where that was agreed on and is worth it."""
    if isinstance(message, str):
        opcode, payload = TEXT, message.encode()
    else:
        opcode, payload = BINARY, message
    if inflater is not None and len(payload) >= MIN_COMPRESSED_BYTES:
        payload = inflater.compress(payload)
        return frame_header(opcode, len(payload), compressed=True) + payload
    return frame_header(opcode, len(payload)) + payload
