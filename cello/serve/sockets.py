"""Where the server listens: bound sockets, made before anything else is started.

`bind` makes what one process needs. `bind_slots` makes what a supervisor needs: one SO_REUSEPORT listener per worker
slot, so that the kernel spreads connections evenly and a replaced worker inherits the queue of the one before it. (One
shared socket does not balance: the worker that wakes first takes everything.) Unix sockets and inherited descriptors
cannot be multiplied; all slots share the one there is.

A port of another program is found here, by binding without SO_REUSEPORT first: one clear error, nothing started.
"""

import contextlib
import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Sequence

from cello.errors import ConfigError
from cello.serve.options import RunOptions

_SO_ATTACH_REUSEPORT_CBPF = 51
BACKLOG = 2048  # the kernel lowers it to net.core.somaxconn


class AddressError(ConfigError):
    """The address cannot be listened on; the message says why in one line."""


def bind(options: RunOptions) -> list[socket.socket]:
    """Return the bound, not yet listening, sockets of one process.

    Raises:
        AddressError: The address is in use, not ours, not allowed, or unknown.
    """
    if options.fds:
        return [_inherit(fd) for fd in options.fds]
    if options.uds is not None:
        return [_bind_unix(options.uds)]
    return _bind_tcp(options.host, options.port, share_port=False)


def bind_slots(options: RunOptions) -> list[list[socket.socket]]:
    """Return one list of listening sockets per worker slot."""
    first = bind(options)
    if options.fds or options.uds is not None or not hasattr(socket, "SO_REUSEPORT"):
        return [listen(first)] * options.workers
    port = first[0].getsockname()[1]
    close(first)
    # Every slot listens before any worker runs: the kernel chooses a slot per connection from the first one on.
    return [listen(_bind_tcp(options.host, port, share_port=True)) for _ in range(options.workers)]


def one_more(slots: list[list[socket.socket]]) -> list[socket.socket]:
    """Return the listening sockets of one slot more, beside those there are.

    Raises:
        OSError: The system refuses.
    """
    first = slots[0]
    if not _is_multiplied(first[0]):
        return first
    made = []
    for beside in first:
        sock = socket.socket(beside.family, socket.SOCK_STREAM)
        made.append(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if beside.family == socket.AF_INET6:
            only = beside.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        sock.bind(beside.getsockname())
    return listen(made)


def spread_over(listeners: list[socket.socket], count: int) -> bool:
    """Have the kernel give new connections to the first `count` slots only; False where it cannot.

    Closing the listener of a slot that is not wanted any more would reset the handshakes under way to it. A small
    filter that chooses among the others (SO_ATTACH_REUSEPORT_CBPF: `random % count`) loses none; slots are numbered in
    the order in which they began to listen.

    Args:
        listeners: Those of any slot; the filter is shared by all that have the address.
        count: How many slots.
    """
    if not _is_multiplied(listeners[0]):
        return True  # one queue for all: who is left takes from it
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # one process alone does without, and is 0.7 MB smaller

    code = b"".join(
        struct.pack("HBBI", operation, 0, 0, operand)
        for operation, operand in ((0x20, 0xFFFFF000 + 56), (0x94, count), (0x16, 0))  # load random; modulo; return
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    try:
        for sock in listeners:
            program = struct.pack("HP", len(code) // 8, ctypes.addressof(buffer))
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)
    except OSError:
        return False
    return True


def _is_multiplied(listener: socket.socket) -> bool:
    """Whether each slot has a listener of its own."""
    reuse = getattr(socket, "SO_REUSEPORT", None)
    is_internet = listener.family in (socket.AF_INET, socket.AF_INET6)
    return reuse is not None and is_internet and bool(listener.getsockopt(socket.SOL_SOCKET, reuse))


def listen(sockets: list[socket.socket]) -> list[socket.socket]:
    """Start the queues of bound sockets; on some systems a port in use is only found now."""
    for sock in sockets:
        try:
            sock.listen(BACKLOG)
        except OSError as error:
            raise _explain(error, describe(sock)) from None
    return sockets


def close(sockets: Sequence[socket.socket]) -> None:
    """Close listeners."""
    for sock in sockets:
        sock.close()


def remove_file(options: RunOptions, sockets: Sequence[socket.socket]) -> None:
    """Remove the file of a unix socket, but only while it is open: later it may be another server's."""
    if options.uds is not None and any(sock.fileno() >= 0 for sock in sockets):
        with contextlib.suppress(FileNotFoundError):  # someone tidied up before us
            os.unlink(options.uds)


def urls(sockets: Sequence[socket.socket], *, encrypted: bool) -> list[str]:
    """Return what a user can open, one per socket: http://127.0.0.1:8000 or unix:/run/app.sock."""
    scheme = "https" if encrypted else "http"
    found = []
    for sock in sockets:
        where = describe(sock)
        found.append(where if where.startswith("unix:") else f"{scheme}://{where}")
    return found


def describe(sock: socket.socket) -> str:
    """Return a socket's address as text: 127.0.0.1:8000, [::1]:8000 or unix:/run/app.sock."""
    if sock.family == getattr(socket, "AF_UNIX", None):
        return f"unix:{sock.getsockname()}"
    return _as_text(sock.getsockname())


def _as_text(address: Sequence[object]) -> str:
    host, port = str(address[0]), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_tcp(host: str, port: int, *, share_port: bool) -> list[socket.socket]:
    try:
        # As bytes where it is ASCII: text goes through the IDNA codec, which is 0.4 MB of tables.
        name = host.encode() if host.isascii() else host
        found = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise AddressError(f"the host {host!r} is not an address of this machine: {reason}") from None
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            if port == 0 and bound:
                address = (address[0], bound[0].getsockname()[1], *address[2:])
            sock = _open(family, is_dual=host == "::")
            if sock is None:
                continue
            bound.append(sock)
            if share_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                sock.bind(address)
            except OSError as error:
                raise _explain(error, _as_text(address)) from None
    except AddressError:
        close(bound)
        raise
    if not bound:
        raise AddressError(f"this machine has no network for the host {host!r}")
    return bound


def _open(family: int, *, is_dual: bool) -> socket.socket | None:
    """Return a new socket, or None where the machine has no such network (IPv6 switched off, for "localhost")."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    sock.setblocking(False)
    if os.name == "posix":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_dual else 1)
    return sock


def _bind_unix(path: str) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise AddressError("this system has no unix sockets (--uds)")
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise _explain(error, f"unix:{path}") from None
    return sock


def _remove_stale(path: str) -> None:
    """Remove the file of a server that is gone; a living one, or another kind of file, is an error."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise AddressError(f"{path!r} exists and is not a socket; --uds takes a path that is free")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _explain(error, f"unix:{path}") from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            raise _explain(error, f"unix:{path}") from None
    raise AddressError(f"unix:{path} is in use by another server")


def _inherit(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise AddressError(f"descriptor {fd} (--fd) is not an open socket: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM:
        sock.close()
        raise AddressError(f"descriptor {fd} (--fd) is not a stream socket")
    sock.setblocking(False)
    return sock


def _explain(error: OSError, where: str) -> AddressError:
    """Return an error in plain words for what the system said about an address."""
    if error.errno == errno.EADDRINUSE:
        return AddressError(f"{where} is in use by another program; stop it or choose another --port")
    if error.errno in (errno.EACCES, errno.EPERM):
        return AddressError(f"{where} is not allowed for this user: {error.strerror}")
    if error.errno == errno.EADDRNOTAVAIL:
        return AddressError(f"{where} is not an address of this machine")
    return AddressError(f"cannot listen on {where}: {error.strerror or error}")
