"""permessage-deflate (RFC 7692): which offer is accepted, and the two streams behind it.

Windows are 4 KiB where the client lets us choose: messages are short, connections are many. A stream is made when the
first message needs it, so a connection that never compresses pays nothing.
"""

import re
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from cello.wire.ws import NOT_CONSISTENT, TOO_BIG, Fault

WINDOW_BITS = 12
MEMORY_LEVEL = 5
LEVEL = 1
"""PERF: a JSON message of 1.1 KB becomes 226 bytes in 1.8 µs, at level 6 224 in 3.5; bench/micro/test_ws.py."""

_TAIL = b"\x00\x00\xff\xff"
_OFFER = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_PARAMETER = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)"
    r'(?:[ \t]*=[ \t]*(?:([!#$%&\'*+.^_`|~0-9A-Za-z-]+)|"([!#$%&\'*+.^_`|~0-9A-Za-z-]+)"))?[ \t]*'
)
_BITS = {str(bits): bits for bits in range(8, 16)}
_NAME = "permessage-deflate"


class Agreement(NamedTuple):
    """What both sides keep to.

    Attributes:
        server_window_bits: Of what we send.
        client_window_bits: Of what the client sends.
        server_keeps_context: Whether our messages refer to earlier ones.
        client_keeps_context: Whether the client's do.
        answer: The value of Sec-WebSocket-Extensions that says so.
    """

    server_window_bits: int
    client_window_bits: int
    server_keeps_context: bool
    client_keeps_context: bool
    answer: str


def negotiate(values: Iterable[bytes]) -> Agreement | None:
    """Return what the first acceptable offer comes to; None when there is none.

    Args:
        values: Of Sec-WebSocket-Extensions. Offers that are malformed, or of another extension, are declined.
    """
    for offer in _OFFER.findall(",".join(value.decode("latin-1") for value in values)):
        parameters = _parse(offer)
        if parameters is not None and (agreement := _agree(parameters)):
            return agreement
    return None


def _parse(offer: str) -> dict[str, str | None] | None:
    """Return the parameters of an offer of permessage-deflate, or None: another extension, or malformed."""
    name, *parts = offer.split(";")
    if name.strip(" \t").lower() != _NAME:
        return None
    parameters: dict[str, str | None] = {}
    for part in parts:
        found = _PARAMETER.fullmatch(part)
        if found is None or found[1] in parameters:
            return None
        parameters[found[1]] = found[2] if found[2] is not None else found[3]
    return parameters


def _agree(offered: dict[str, str | None]) -> Agreement | None:
    """Return what an offer comes to, or None where it cannot be accepted (RFC 7692 §7.1)."""
    server_bits, client_bits = WINDOW_BITS, 15
    answer = [_NAME]
    for name, value in offered.items():
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                return None
            answer.append(name)
        elif name == "server_max_window_bits":
            bits = _BITS.get(value or "", 0)
            if bits < 9:  # not a number, or a window of 256 bytes, which zlib does not make
                return None
            server_bits = min(bits, WINDOW_BITS)
            answer.append(f"{name}={server_bits}")
        elif name == "client_max_window_bits":
            if value is not None and value not in _BITS:
                return None
            client_bits = min(_BITS.get(value or "", 15), WINDOW_BITS)
            answer.append(f"{name}={client_bits}")
        else:
            return None
    return Agreement(
        server_bits,
        client_bits,
        "server_no_context_takeover" not in offered,
        "client_no_context_takeover" not in offered,
        "; ".join(answer),
    )


class Deflate:
    """The two streams of one conversation."""

    __slots__ = ("_agreement", "_deflater", "_inflater")

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._deflater: zlib._Compress | None = None
        self._inflater: zlib._Decompress | None = None

    def compress(self, payload: bytes) -> bytes:
        """Return a whole message compressed (RFC 7692 §7.2.1)."""
        agreement = self._agreement
        stream = self._deflater or zlib.compressobj(LEVEL, wbits=-agreement.server_window_bits, memLevel=MEMORY_LEVEL)
        if agreement.server_keeps_context:
            self._deflater = stream
        return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def decompress(self, piece: bytes, room_bytes: int) -> bytes:
        """Return what a piece of a message becomes.

        SECURITY: a kilobyte can become a megabyte; nothing beyond the limit is ever made.

        Args:
            piece: As it came.
            room_bytes: How long it may become.

        Raises:
            Fault: It is not deflate's format (1007), or becomes longer (1009).
        """
        stream = self._inflater
        if stream is None:
            stream = self._inflater = zlib.decompressobj(wbits=-self._agreement.client_window_bits)
        try:
            plain = stream.decompress(piece, room_bytes + 1)
        except zlib.error:
            raise Fault("a message that cannot be decompressed (RFC 7692 §7.2.2)", NOT_CONSISTENT) from None
        if len(plain) > room_bytes:
            raise Fault("a message that is too long when decompressed", TOO_BIG)
        return plain

    def finish(self, room_bytes: int) -> bytes:
        """Return the rest of the message (RFC 7692 §7.2.2).

        Raises:
            Fault: As for `decompress`.
        """
        plain = self.decompress(_TAIL, room_bytes)
        stream = self._inflater
        # A final block ends the stream: the sender began anew behind it (RFC 7692 §7.2.3.4).
        if not self._agreement.client_keeps_context or (stream is not None and stream.eof):
            self._inflater = None
        return plain
