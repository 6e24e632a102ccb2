"""The head of an answer, and the decisions that are the server's alone: Connection and Transfer-Encoding."""

import functools

from cello.errors import phrase

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@functools.cache
def status_line(status: int) -> bytes:
    """Return the status line with its CRLF; the version is always ours (RFC 9110 §6.2)."""
    return f"HTTP/1.1 {status} {phrase(status)}\r\n".encode("ascii")


def response_head(
    status: int,
    fields: list[tuple[bytes, bytes]],
    common: tuple[bytes, bytes],
    *,
    http_version: str = "1.1",
    keep_alive: bool = True,
    chunked: bool = False,
) -> bytes:
    """Return status line and fields up to the empty line.

    Args:
        status: Of a final answer.
        fields: The answer's own, as `Response.fields()` gives them: valid, and nothing about the connection.
        common: The ready lines Date and Server with their CRLF; left out where `fields` has its own.
        http_version: Of the request.
        keep_alive: Whether the connection stays open behind this answer.
        chunked: Whether the body is sent in chunks; never to HTTP/1.0 (RFC 9112 §6.1).
    """
    date, server = common
    parts = [status_line(status)]
    for name, value in fields:
        size = len(name)
        if size == 4 and name.lower() == b"date":
            date = b""
        elif size == 6 and name.lower() == b"server":
            server = b""
        parts += (name, b": ", value, b"\r\n")
    parts += (date, server)
    if status == 426:  # RFC 9110 §15.5.22: with the protocol that is wanted
        end = b"" if keep_alive else b", close"
        parts.append(b"Upgrade: websocket\r\nConnection: upgrade%b\r\n" % end)
    elif not keep_alive:
        parts.append(b"Connection: close\r\n")
    elif http_version == "1.0":
        parts.append(b"Connection: keep-alive\r\n")
    parts.append(b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"\r\n")
    return b"".join(parts)


def upgrade_head(fields: list[tuple[bytes, bytes]], common: tuple[bytes, bytes], accept: bytes, extra: bytes) -> bytes:
    """Return the 101 that accepts a WebSocket (RFC 6455 §4.2.2).

    Args:
        fields: The answer's own.
        common: See `response_head`.
        accept: The value of Sec-WebSocket-Accept.
        extra: Ready lines with their CRLF: what was agreed on.
    """
    parts = [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "]
    parts += (accept, b"\r\n", extra)
    for name, value in fields:
        parts += (name, b": ", value, b"\r\n")
    parts += (*common, b"\r\n")
    return b"".join(parts)
