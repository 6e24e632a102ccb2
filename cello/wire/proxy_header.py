"""The PROXY protocol, versions 1 and 2: who is really connected, told by a load balancer before the first byte.

Sans-IO: `ProxyHeader.take` is given what has arrived and says how much of it belongs to the header, so that not a byte
of what follows (a TLS handshake, perhaps) is touched. Anything that is not exactly a header is refused; a server that
guessed would let clients choose their address.
"""

import ipaddress
import socket
import struct
from collections.abc import Callable

from cello.errors import ProtocolError

Address = tuple[str, int]

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_WORD = b"PROXY "
_MOST_V1 = 107
_MOST_V2 = 2048
"""Bytes of addresses and further fields; the protocol allows 65,535, balancers send some dozens."""
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}


class ProxyHeader:
    """One header, while it arrives and after.

    Attributes:
        is_complete: Whether all of it was taken.
        client: The client's address; None = the balancer speaks for itself, or does not know.
        server: The address that the client connected to; None likewise.
    """

    def __init__(self) -> None:
        self._seen = b""
        self.is_complete = False
        self.client: Address | None = None
        self.server: Address | None = None

    def take(self, arrived: bytes) -> int:
        """Take what belongs to the header from the front of `arrived` (not empty); return its length, at least 1.

        Raises:
            ProtocolError: This is no header.
        """
        together = self._seen + arrived
        if together.startswith(_WORD[: len(together)]):
            total = self._length_v1(together)
            read: Callable[[bytes], None] = self._read_v1
        elif together.startswith(_SIGNATURE[: len(together)]):
            total = self._length_v2(together)
            read = self._read_v2
        else:
            raise ProtocolError(f"the connection begins with {together[:16]!r} instead of a PROXY header")
        if total is None or total > len(together):
            self._seen = together
            return len(arrived)
        taken = total - len(self._seen)
        self._seen = together[:total]
        read(self._seen)
        self.is_complete = True
        return taken

    def _length_v1(self, seen: bytes) -> int | None:
        end = seen.find(b"\r\n", 0, _MOST_V1)
        if end >= 0:
            return end + 2
        if len(seen) >= _MOST_V1:
            raise ProtocolError("the PROXY line has no end")
        return None

    def _length_v2(self, seen: bytes) -> int | None:
        if len(seen) < 16:
            return None
        size: int = struct.unpack_from("!H", seen, 14)[0]
        if size > _MOST_V2:
            raise ProtocolError(f"the PROXY header has {size} bytes, more than {_MOST_V2}")
        return 16 + size

    def _read_v1(self, line: bytes) -> None:
        parts = line[:-2].decode("latin-1").split(" ")
        if parts[1] == "UNKNOWN":
            return
        version = {"TCP4": 4, "TCP6": 6}.get(parts[1])
        if version is None or len(parts) != 6:
            raise ProtocolError(f"the PROXY line is malformed: {line!r}")
        self.client = _address(version, parts[2], parts[4])
        self.server = _address(version, parts[3], parts[5])

    def _read_v2(self, header: bytes) -> None:
        command, family = header[12], header[13]
        if command not in (_LOCAL, _PROXY):
            raise ProtocolError(f"the PROXY header has the version and command {command:#x}")
        if command == _LOCAL or family not in _FAMILIES:
            return  # the balancer's own check, or a family (a unix socket, say) that has no such addresses
        kind, size = _FAMILIES[family]
        if len(header) < 16 + 2 * size + 4:
            raise ProtocolError("the PROXY header is shorter than its addresses")
        hosts = [socket.inet_ntop(kind, header[at : at + size]) for at in (16, 16 + size)]
        ports = struct.unpack_from("!HH", header, 16 + 2 * size)
        self.client, self.server = (hosts[0], ports[0]), (hosts[1], ports[1])


def _address(version: int, host: str, port: str) -> Address:
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        raise ProtocolError(f"the PROXY line names the address {host!r:.60}") from None
    if parsed.version != version or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ProtocolError(f"the PROXY line names {host!r:.60} and port {port!r:.20} for TCP{version}")
    return str(parsed), int(port)
