"""The port that all workers share.

Each worker binds it with SO_REUSEPORT, and the kernel spreads connections over them. That alone would also share it
with whatever other program asks for the same, so the first worker of an application makes sure that it is free, and
notes its number where the others look: in shared memory, which outlives workers that are replaced. The word there is
the port, or while it is being found out, the negative process id of who does.
"""

import asyncio
import errno
import os
import socket

from cello.errors import CelloError
from cello.extension import Host
from cello.grpc.config import split_address
from cello.shared.layouts import WordsLayout
from cello.shared.regions import Region
from cello.shared.slots import Slots

_LOOK_AGAIN_S = 0.02
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class SharedPort:
    """The port of an application's workers.

    Args:
        host: The application.
        address: As configured.
    """

    def __init__(self, host: Host, address: str) -> None:
        self._address = address
        self._region: Region[Slots] = host.shared.region("grpc port", WordsLayout(1))

    async def take(self) -> int:
        """Return the port to bind.

        Raises:
            CelloError: It is in use by another program, or cannot be had.
        """
        words = self._region.open()
        while True:
            noted = words.get(0)
            if noted > 0:
                return noted
            if (noted == 0 or not _is_alive(-noted)) and words.swap(0, noted, -os.getpid()):
                break
            await asyncio.sleep(_LOOK_AGAIN_S)  # another worker is finding out
        try:
            port = free_port(self._address)
        except BaseException:
            words.set(0, 0)
            raise
        words.set(0, port)
        return port


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def free_port(address: str) -> int:
    """Return the port of an address after making sure that nobody has it.

    Raises:
        CelloError: Somebody has, or it cannot be had.
    """
    host, port = split_address(address)
    try:
        return _probe(host, port)
    except OSError as error:
        if host == "::" and error.errno in _NO_IPV6:  # grpc then listens on every interface by IPv4
            try:
                return _probe("0.0.0.0", port)
            except OSError as second:
                error = second
        why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise CelloError(f"gRPC cannot listen on {address}: {why}") from None


def _probe(host: str, port: int) -> int:
    """Bind a port as nobody else can while it is in use; return its number.

    Raises:
        OSError: Somebody has it, or there is no such address.
    """
    family, kind, protocol, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    with socket.socket(family, kind, protocol) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(name)
        probe.listen(1)
        number: int = probe.getsockname()[1]
    return number
