"""The opening handshake (RFC 6455 §4.2), as the server sees it.

Whether the request asks for an upgrade at all is seen before (`RequestHead.upgrade`); here it is judged.
"""

import re
from base64 import b64encode
from hashlib import sha1
from typing import NamedTuple

from cello.errors import BadRequest, HTTPError
from cello.http.ports import HeadFields

_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = b"13"


class Handshake(NamedTuple):
    """What a client that wants to upgrade says.

    Attributes:
        key: Sec-WebSocket-Key.
        extensions: The values of Sec-WebSocket-Extensions.
    """

    key: bytes
    extensions: list[bytes]

    @property
    def accept(self) -> bytes:
        """The value of Sec-WebSocket-Accept (RFC 6455 §4.2.2)."""
        return b64encode(sha1(self.key + _GUID, usedforsecurity=False).digest())


def is_upgrade(upgrade: bytes) -> bool:
    """Whether a request's Upgrade field, in lower case, names WebSocket."""
    return any(protocol.strip(b" \t") == b"websocket" for protocol in upgrade.split(b","))


def read_handshake(fields: HeadFields, *, has_body: bool) -> Handshake:
    """Return what the request says; it is a GET that asks for an upgrade.

    Raises:
        HTTPError: 400 for a missing, repeated or malformed field; 426 for another version of the protocol.
    """
    if has_body:
        raise BadRequest("A WebSocket handshake has no body.")
    versions = fields.get_all(b"sec-websocket-version")
    if len(versions) != 1:
        raise BadRequest(f"{len(versions)} Sec-WebSocket-Version fields instead of one (RFC 6455 §4.1).")
    if versions[0] != VERSION:
        raise HTTPError(
            426, "The only version of WebSocket spoken here is 13.", headers={"Sec-WebSocket-Version": VERSION.decode()}
        )
    keys = fields.get_all(b"sec-websocket-key")
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise BadRequest("Sec-WebSocket-Key must be there once, and be 16 bytes in base64 (RFC 6455 §4.1).")
    return Handshake(keys[0], fields.get_all(b"sec-websocket-extensions"))
