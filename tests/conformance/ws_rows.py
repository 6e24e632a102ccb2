# ruff: noqa: E501  # a row of the table reads best on one line
"""What a WebSocket codec must make of a client's bytes: one table for every tier. Rows cite RFC 6455 or RFC 7692."""

import zlib
from dataclasses import dataclass
from typing import Any

from cello.wire.ws import Close, Failure, Ping, Pong
from cello.wire.ws_deflate import Agreement, Deflate, negotiate

MASK = b"\x37\xfa\x21\x3d"
LIMIT_BYTES = 70_000


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK, width: int = 0
) -> bytes:
    """Return a frame; `width` forces the bytes of its length (2 or 8)."""
    size = len(payload)
    masked = 0 if mask is None else 0x80
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if width == 8 or (not width and size > 65_535):
        header = first + bytes([masked | 127]) + size.to_bytes(8, "big")
    elif width == 2 or (not width and size > 125):
        header = first + bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        header = first + bytes([masked | size])
    if mask is None:
        return header + payload
    return header + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def text(payload: str | bytes, **rest: Any) -> bytes:
    return frame(1, payload.encode() if isinstance(payload, str) else payload, **rest)


def binary(payload: bytes, **rest: Any) -> bytes:
    return frame(2, payload, **rest)


def more(payload: bytes = b"", **rest: Any) -> bytes:
    return frame(0, payload, **rest)


def close(code: int | None = None, reason: bytes = b"", **rest: Any) -> bytes:
    return frame(8, b"" if code is None else code.to_bytes(2, "big") + reason, **rest)


def failure(code: int) -> Failure:
    """Return a failure whose reason does not matter."""
    return Failure(code, "")


@dataclass
class WsRow:
    """Bytes, and the events they are.

    Attributes:
        offer: What was offered for compression; it is accepted.
    """

    id: str
    data: bytes
    events: list[Any]
    limit_bytes: int = LIMIT_BYTES
    offer: str = ""

    def deflate(self) -> Deflate | None:
        """Return new streams of what was agreed on."""
        agreement = agreed(self.offer) if self.offer else None
        return Deflate(agreement) if agreement else None


def agreed(offer: str) -> Agreement:
    agreement = negotiate([offer.encode()])
    assert agreement is not None
    return agreement


class Compressor:
    """The client's stream."""

    def __init__(self, bits: int = 12) -> None:
        self._stream = zlib.compressobj(wbits=-bits)

    def __call__(self, payload: bytes) -> bytes:
        return (self._stream.compress(payload) + self._stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed(payload: bytes) -> bytes:
    return Compressor()(payload)


def two_with_context() -> bytes:
    stream = Compressor()
    one, two = stream(b"the same words again and again"), stream(b"the same words again and again")
    assert len(two) < len(one)
    return text(one, rsv=4) + text(two, rsv=4)


def final_block(payload: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-12)
    return stream.compress(payload) + stream.flush(zlib.Z_FINISH) + b"\x00"


ALL_BYTES = bytes(range(256))
EURO = "€".encode()

ROWS = [
    # §5.2, §5.6: messages in one frame
    WsRow("a text", text("Hello"), ["Hello"]),
    WsRow("a text beyond ASCII", text("grüße, 世界 🎻"), ["grüße, 世界 🎻"]),
    WsRow("an empty text", text(""), [""]),
    WsRow("a text of one letter", text("x"), ["x"]),
    WsRow("a text with NUL", text("a\0b"), ["a\0b"]),
    WsRow("a binary", binary(ALL_BYTES), [ALL_BYTES]),
    WsRow("an empty binary", binary(b""), [b""]),
    WsRow("several at once", text("a") + binary(b"b") + text("c"), ["a", b"b", "c"]),
    WsRow("a mask of zeros", text("Hello", mask=bytes(4)), ["Hello"]),
    WsRow("a mask of one byte", binary(ALL_BYTES, mask=b"\0\0\0\x80"), [ALL_BYTES]),
    *(WsRow(f"a binary of {size} bytes", binary(ALL_BYTES[:size]), [ALL_BYTES[:size]]) for size in range(1, 18)),
    *(WsRow(f"a text of {size} bytes", text("x" * size), ["x" * size]) for size in (7, 8, 9, 124, 125, 126, 127, 65_535, 65_536)),
    WsRow("a long binary", binary(ALL_BYTES * 256), [ALL_BYTES * 256]),
    # §5.4: fragments
    WsRow("a text in two", text("Hel", fin=False) + more(b"lo"), ["Hello"]),
    WsRow("a text in three, one empty", text("Hel", fin=False) + more(fin=False) + more(b"lo"), ["Hello"]),
    WsRow("an empty text in two", text("", fin=False) + more(), [""]),
    WsRow("a binary in three", binary(b"a", fin=False) + more(b"b", fin=False) + more(b"c"), [b"abc"]),
    WsRow("an empty binary in two", binary(b"", fin=False) + more(), [b""]),
    WsRow("a character in two fragments", text(b"1" + EURO[:1], fin=False) + more(EURO[1:]), ["1€"]),
    WsRow("a character in three fragments", text(EURO[:1], fin=False) + more(EURO[1:2], fin=False) + more(EURO[2:]), ["€"]),
    WsRow("control frames within a message", text("Hel", fin=False) + frame(9, b"p") + frame(10, b"q") + more(b"lo"), [Ping(b"p"), Pong(b"q"), "Hello"]),
    WsRow("a close within a message", text("Hel", fin=False) + close(1000) + more(b"lo"), [Close(1000, "")]),
    WsRow("a message behind fragments", text("a", fin=False) + more(b"b") + text("c"), ["ab", "c"]),
    WsRow("a continuation of nothing", more(b"x"), [failure(1002)]),
    WsRow("a continuation of a complete message", text("x") + more(b"y"), ["x", failure(1002)]),
    WsRow("a text within a text", text("x", fin=False) + text("y"), [failure(1002)]),
    WsRow("a binary within a text", text("x", fin=False) + binary(b"y"), [failure(1002)]),
    # §5.5: control frames
    WsRow("a ping", frame(9), [Ping(b"")]),
    WsRow("a ping of 125 bytes", frame(9, b"x" * 125), [Ping(b"x" * 125)]),
    WsRow("a pong nobody asked for", frame(10, b"x"), [Pong(b"x")]),
    WsRow("a ping of 126 bytes", frame(9, b"x" * 126), [failure(1002)]),
    WsRow("a ping in fragments", frame(9, b"x", fin=False), [failure(1002)]),
    WsRow("a pong in fragments", frame(10, b"x", fin=False), [failure(1002)]),
    WsRow("a close in fragments", close(1000, fin=False), [failure(1002)]),
    # §5.2: what a header may not be
    *(WsRow(f"opcode {opcode}", frame(opcode), [failure(1002)]) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    *(WsRow(f"reserved bits {rsv:03b}", text("x", rsv=rsv), [failure(1002)]) for rsv in range(1, 8)),
    WsRow("a reserved bit on a ping", frame(9, rsv=1), [failure(1002)]),
    WsRow("a reserved bit on a continuation", text("a", fin=False) + more(b"b", rsv=4), [failure(1002)]),
    WsRow("no mask", text("x", mask=None), [failure(1002)]),
    WsRow("no mask on a ping", frame(9, b"x", mask=None), [failure(1002)]),
    WsRow("no mask on a close", close(1000, mask=None), [failure(1002)]),
    WsRow("a short length in 2 bytes", text("x" * 125, width=2), [failure(1002)]),
    WsRow("a short length in 8 bytes", text("x" * 125, width=8), [failure(1002)]),
    WsRow("a middle length in 8 bytes", text("x" * 65_535, width=8), [failure(1002)]),
    WsRow("a length of 64 bits", b"\x82\xff\x80\0\0\0\0\0\0\1", [failure(1002)]),
    WsRow("messages before a fault count", text("a") + text("b") + frame(3) + text("c"), ["a", "b", failure(1002)]),
    # §8.1: UTF-8
    *(
        WsRow(f"not utf-8: {name}", text("fine") + text(b"x" + data), ["fine", failure(1007)])
        for name, data in {
            "a lone continuation": b"\x80", "ff": b"\xff", "overlong": b"\xc0\xaf", "a surrogate": b"\xed\xa0\x80",
            "beyond the last": b"\xf4\x90\x80\x80", "cut at the end": EURO[:2], "latin-1": b"gr\xfc\xdfe",
        }.items()
    ),
    WsRow("not utf-8 in the last of three", text("a", fin=False) + more(b"b", fin=False) + more(b"\xff"), [failure(1007)]),
    WsRow("not utf-8 in the first of three", text(b"\xff", fin=False) + more(b"b", fin=False) + more(b"c"), [failure(1007)]),
    WsRow("a character that two fragments leave open", text(EURO[:1], fin=False) + more(EURO[1:2]), [failure(1007)]),
    WsRow("binary need not be utf-8", binary(b"\xff\xfe"), [b"\xff\xfe"]),
    # §5.5.1, §7.4: closing
    WsRow("a close without a code", close(), [Close(1005, "")]),
    WsRow("a close with a reason", close(1001, "grüße".encode()), [Close(1001, "grüße")]),
    WsRow("nothing counts behind a close", close(1000) + text("x") + b"\xff\xff", [Close(1000, "")]),
    WsRow("a close of one byte", frame(8, b"\3"), [failure(1002)]),
    WsRow("a close whose reason is not utf-8", close(1000, b"\xff"), [failure(1007)]),
    WsRow("a close of 126 bytes", close(1000, b"x" * 124), [failure(1002)]),
    WsRow("a close of 125 bytes", close(1000, b"x" * 123), [Close(1000, "x" * 123)]),
    *(WsRow(f"close code {code}", close(code), [Close(code, "")]) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)),
    *(WsRow(f"close code {code} must not be sent", close(code), [failure(1002)]) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)),
    # §10.4: limits
    WsRow("a message at the limit", binary(b"x" * 100), [b"x" * 100], limit_bytes=100),
    WsRow("a message beyond the limit", binary(b"x" * 101), [failure(1009)], limit_bytes=100),
    WsRow("a text beyond the limit", text("x" * 101), [failure(1009)], limit_bytes=100),
    WsRow("fragments beyond the limit", binary(b"x" * 60, fin=False) + more(b"x" * 41), [failure(1009)], limit_bytes=100),
    WsRow("only announced beyond the limit", b"\x82\xff\0\0\0\0\xff\0\0\0" + MASK, [failure(1009)], limit_bytes=100),
    WsRow("control frames have no part in it", frame(9, b"x" * 120), [Ping(b"x" * 120)], limit_bytes=100),
    WsRow("each message anew", binary(b"x" * 100) * 3, [b"x" * 100] * 3, limit_bytes=100),
    WsRow("an empty message at a limit of nothing", text("") + text("x"), ["", failure(1009)], limit_bytes=0),
    # RFC 7692
    WsRow("a compressed text", text(compressed(b"Hello"), rsv=4), ["Hello"], offer="permessage-deflate"),
    WsRow("a compressed empty text", text(b"\x00", rsv=4), [""], offer="permessage-deflate"),
    WsRow("a compressed binary", binary(compressed(ALL_BYTES * 9), rsv=4), [ALL_BYTES * 9], offer="permessage-deflate"),
    WsRow("a plain message between", text(compressed(b"a"), rsv=4) + text("b"), ["a", "b"], offer="permessage-deflate"),
    WsRow("compressed, in fragments (§7.2.3.1)", text(compressed(b"Hello")[:3], fin=False, rsv=4) + frame(9) + more(compressed(b"Hello")[3:]), [Ping(b""), "Hello"], offer="permessage-deflate"),
    WsRow("compressed, in fragments of nothing", text(b"", fin=False, rsv=4) + more(compressed(b"Hello"), fin=False) + more(), ["Hello"], offer="permessage-deflate"),
    WsRow("the context is kept (§7.2.3.2)", two_with_context(), ["the same words again and again"] * 2, offer="permessage-deflate"),
    WsRow("the client keeps no context", text(compressed(b"words words"), rsv=4) * 2, ["words words"] * 2, offer="permessage-deflate; client_no_context_takeover"),
    WsRow("a context that was to be forgotten", two_with_context(), ["the same words again and again", failure(1007)], offer="permessage-deflate; client_no_context_takeover"),
    WsRow("a block without compression (§7.2.3.3)", text(b"\x00\x05\x00\xfa\xffHello\x00", rsv=4), ["Hello"], offer="permessage-deflate"),
    WsRow("a final block (§7.2.3.4)", text(final_block(b"Hello"), rsv=4) * 2, ["Hello"] * 2, offer="permessage-deflate"),
    WsRow("two blocks (§7.2.3.5)", text(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", rsv=4), ["Hello"], offer="permessage-deflate"),
    WsRow("what is no deflate", text(b"\xff\xff\xff", rsv=4), [failure(1007)], offer="permessage-deflate"),
    WsRow("compressed, not utf-8", text(compressed(b"\xff"), rsv=4), [failure(1007)], offer="permessage-deflate"),
    WsRow("compressed, a character in two frames", text(compressed(EURO)[:2], fin=False, rsv=4) + more(compressed(EURO)[2:]), ["€"], offer="permessage-deflate"),
    WsRow("a bomb", binary(compressed(bytes(1_000_000)), rsv=4), [failure(1009)], offer="permessage-deflate"),
    WsRow("a bomb in fragments", binary(compressed(bytes(100_000))[:50], fin=False, rsv=4) + more(compressed(bytes(100_000))[50:]), [failure(1009)], offer="permessage-deflate"),
    WsRow("compressed to just the limit", binary(compressed(bytes(LIMIT_BYTES)), rsv=4), [bytes(LIMIT_BYTES)], offer="permessage-deflate"),
    WsRow("a reserved bit beside the agreed one", text(compressed(b"x"), rsv=6), [failure(1002)], offer="permessage-deflate"),
    WsRow("compressed control frames (§6.1)", frame(9, b"x", rsv=4), [failure(1002)], offer="permessage-deflate"),
    WsRow("RSV1 on a later frame (§6.1)", text(b"x", fin=False) + more(b"y", rsv=4), [failure(1002)], offer="permessage-deflate"),
    WsRow("nobody agreed on compression", text(compressed(b"x"), rsv=4), [failure(1002)]),
]  # fmt: skip
