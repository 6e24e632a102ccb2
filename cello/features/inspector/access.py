"""Who may see the page: people at this machine, and whom the program names.

SECURITY: the page shows source places and errors, so four things must hold, each against an attack of its own.
Rule 1: the client is this machine, or one that was named: nobody on the network looks in.
Rule 2: no proxy stands in between, unless the program trusts it (`set_trusted_proxies`): behind one everybody seems to
be this machine.
Rule 3: the host that was asked for is this machine by name or a bare address, or was named: a page of another site
whose name was made to point here (DNS rebinding) asks for that name.
Rule 4: the request does not come out of a page of another site, whatever CORS allows.
"""

import ipaddress
import re
from collections.abc import Collection

from cello.errors import ConfigError
from cello.http.request import Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Access:
    """Whom the page is shown to.

    Args:
        allowed_hosts: Addresses and networks of further clients, such as "172.17.0.0/16", and host names that the page
            may be asked for under, such as "dev.example.com".

    Raises:
        ConfigError: Something is neither.
    """

    def __init__(self, allowed_hosts: Collection[str] = ()) -> None:
        if isinstance(allowed_hosts, str) or not all(isinstance(host, str) for host in allowed_hosts):
            raise ConfigError(f"enable_inspector: allowed_hosts is a list of strings, not {allowed_hosts!r:.80}")
        self._networks: list[Network] = []
        self._names = {"localhost"}
        for host in allowed_hosts:
            try:
                self._networks.append(ipaddress.ip_network(host, strict=False))
            except ValueError:
                if not _NAME.fullmatch(host):
                    raise ConfigError(
                        f"enable_inspector: allowed_hosts are addresses, networks and names, not {host!r:.80}"
                    ) from None
                self._names.add(host.lower())

    def allows(self, request: Request) -> bool:
        """Return whether the page may be shown."""
        return self._is_known(request) and self._is_asked_for_here(request) and not _is_from_elsewhere(request)

    def _is_known(self, request: Request) -> bool:
        client = _address(str(request.client_ip))
        if client is None:
            return False
        is_behind_proxy = str(request.client_ip) == request.remote_addr and any(
            name in request.headers for name in _PROXIED
        )
        if is_behind_proxy:
            return False
        return client.is_loopback or any(client in network for network in self._networks)

    def _is_asked_for_here(self, request: Request) -> bool:
        name = _without_port(str(request.host)).lower()
        return name in self._names or name.endswith(".localhost") or _address(name.strip("[]")) is not None


def _is_from_elsewhere(request: Request) -> bool:
    return "origin" in request.headers or request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return found if mapped is None else mapped


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() and not name.endswith(":") else host
