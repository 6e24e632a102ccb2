"""What systemd and a service say to each other: readiness, the watchdog, and sockets that were opened for us.

Both are a few environment variables and one datagram socket; nothing is needed beside them. Where the variables are
absent every call does nothing.
"""

import os
import socket
import time
from collections.abc import MutableMapping

from cello.errors import ConfigError
from cello.serve.options import RunOptions

_FIRST_FD = 3
_PATIENCE_S = 1.0


class Notifier:
    """Tells systemd how the service fares (`Type=notify`, `WatchdogSec=`).

    Args:
        environment: Where systemd's variables are; they are removed, since children do not speak for the service.

    Attributes:
        every_s: How often `alive` wants to be called, in seconds; None = there is no watchdog.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        usec, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        self._socket: socket.socket | None = None
        self.every_s: float | None = None
        if not address or not hasattr(socket, "AF_UNIX"):
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_PATIENCE_S)
        self._address = "\0" + address[1:] if address.startswith("@") else address
        if usec.isdigit() and int(usec) and pid in ("", str(os.getpid())):
            self.every_s = int(usec) / 2_000_000

    def ready(self, status: str) -> None:
        """Say that the service answers, for the first time or again after `reloading`."""
        self._say(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that the service loads its code anew."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        if self.every_s is not None:
            self._say("WATCHDOG=1")

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            return  # nobody listens, or not now; the service goes on


def with_activated_sockets(options: RunOptions, environment: MutableMapping[str, str]) -> RunOptions:
    """Return `options` with the sockets that systemd (or another activator) has opened for this process, if any.

    An address that somebody named goes before them. The variables are removed.

    Raises:
        ConfigError: The variables make no sense.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return options  # meant for somebody else
    if not count.isdigit():
        raise ConfigError(f"LISTEN_FDS must be the number of inherited sockets, not {count!r:.80}")
    named = [options.origins[name] for name in ("fd", "uds", "port", "host") if options.was_said(name)]
    if named:
        notice = f"{count} sockets were opened by systemd, but {named[0]} names another address: they are not used"
        return options._replace(notices=(*options.notices, notice))
    return options._replace(fds=tuple(range(_FIRST_FD, _FIRST_FD + int(count))))
