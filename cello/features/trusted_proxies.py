"""Trusted proxies: who the client is, and how it asked, when the connection comes from a proxy of ours.

Rule 1: what a request says about where it came from is believed only if the connection comes from a trusted proxy.
Rule 2: the client is the right-most address that is not a trusted proxy's: each proxy appends who it heard from, and
what stands further left anybody could have written.
Rule 3: `Forwarded` (RFC 7239) and `X-Forwarded-For` must agree where both are there. SECURITY: a proxy writes one of
them and passes the other on; which one a client has forged cannot be told, so the request is refused.
Rule 4: `X-Forwarded-Host` is believed only where asked for: many proxies pass on what the client wrote.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from cello.errors import BadRequest, ConfigError
from cello.extension import Host
from cello.http.grammar import parse_parameters, split_list
from cello.http.request import Request
from cello.pipeline.middleware import ORIGIN, Middleware
from cello.review import Deployment, Finding

UNIX = "unix"
UNKNOWN = "unknown"
HEADERS = ("auto", "x-forwarded", "forwarded")
MOST_HOPS = 32
MOST_REMEMBERED = 128
"""Bytes of header values that are kept to be recognised; anybody can send longer ones."""
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

Hop = dict[str, str]


class TrustedProxies(Middleware):
    """Sets a request's origin right. For what the arguments mean see `App.set_trusted_proxies`."""

    name = "trusted_proxies"
    switch = "set_trusted_proxies"
    band = ORIGIN

    def __init__(self, proxies: Collection[str], *, header: str = "auto", host: bool = False) -> None:
        if isinstance(proxies, str) or not proxies:
            raise ConfigError(f"set_trusted_proxies: proxies is a list of addresses, not {proxies!r:.80}")
        if header not in HEADERS:
            raise ConfigError(f"set_trusted_proxies: header is one of {', '.join(HEADERS)}, not {header!r:.80}")
        self._networks = tuple(_network(proxy) for proxy in proxies if proxy != UNIX)
        self._trusts_unix = UNIX in proxies
        self._reads_forwarded = header != "x-forwarded"
        self._reads_x_forwarded = header != "forwarded"
        self._reads_host = host
        # PERF: an application sees few proxies, and a client asks more than once: parsing takes 4 µs, a look-up 0.1.
        self._trusts = lru_cache(maxsize=1024)(self._is_trusted)
        self._remembered = lru_cache(maxsize=1024)(self._read)

    def install(self, host: Host) -> None:
        """Stand around everything else."""
        host.add_middleware(self)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find networks that are the whole world: then every client says who it is."""
        for network in self._networks:
            if network.prefixlen == 0:
                yield Finding(
                    "error",
                    "trusted-proxies",
                    f"set_trusted_proxies: {network} is everybody, so any client can say that it is another, past "
                    "limits and logs. Name the addresses of your proxies",
                )
        if self._reads_host and not deployment.knows_its_hosts:
            yield Finding(
                "warning",
                "forwarded-host",
                "set_trusted_proxies(host=True) believes X-Forwarded-Host, and enable_trusted_hosts() is not called: "
                "where the proxy passes on what a client wrote, links in answers lead wherever it wants",
            )

    def before(self, request: Request) -> None:
        """Tell the request where it really came from.

        Raises:
            BadRequest: What a proxy said cannot be read, or two headers disagree.
        """
        if not self._trusts(request.remote_addr):
            return
        head = request._head
        client = scheme = host = None
        if self._reads_x_forwarded:
            named = head.get(b"x-forwarded-for")
            proto = head.get(b"x-forwarded-proto")
            if named is not None or proto is not None:
                is_usual = (0 if named is None else len(named)) + (
                    0 if proto is None else len(proto)
                ) <= MOST_REMEMBERED
                client, scheme = (self._remembered if is_usual else self._read)(named, proto)
            if self._reads_host:
                host = _last(head.get(b"x-forwarded-host"))
        forwarded = head.get(b"forwarded") if self._reads_forwarded else None
        if forwarded is not None:
            hops = _parse_forwarded(forwarded.decode("latin-1"))
            hop = hops[self._client_index([hop.get("for", UNKNOWN) for hop in hops])]
            other = address_of(hop.get("for", UNKNOWN))
            if client is not None and client != other:
                raise BadRequest("Forwarded and X-Forwarded-For do not agree about the client.")
            client = other
            scheme = _SCHEMES.get(hop.get("proto", "").lower()) or scheme
            host = hop.get("host") or host
        if client is not None or scheme is not None or host is not None:
            request.set_origin(client, scheme, host)

    def _read(self, named: bytes | None, proto: bytes | None) -> tuple[str | None, str | None]:
        """Return the client and its scheme by `X-Forwarded-For` and `-Proto`, None for what they do not say."""
        if named is None:
            return None, _scheme_at(proto, -1, 1)
        nodes = [node.strip() for node in named.decode("latin-1").split(",")]
        index = self._client_index(nodes)
        return address_of(nodes[index]), _scheme_at(proto, index, len(nodes))

    def _client_index(self, nodes: list[str]) -> int:
        """Return where the right-most node stands that is not a trusted proxy; the left-most where all are."""
        if len(nodes) > MOST_HOPS:
            raise BadRequest(f"The request says that it came by more than {MOST_HOPS} proxies.")
        for index in range(len(nodes) - 1, 0, -1):
            if not self._trusts(address_of(nodes[index])):
                return index
        return 0

    def _is_trusted(self, address: str) -> bool:
        if not address:
            return self._trusts_unix
        try:
            parsed = _parsed(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _network(proxy: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(proxy))
    except ValueError as error:
        raise ConfigError(
            f"set_trusted_proxies: {proxy!r:.80} is neither an address nor a network such as '10.0.0.0/8' nor 'unix': "
            f"{error}"
        ) from None


def _parsed(address: str) -> IPv4Address | IPv6Address:
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def address_of(node: str) -> str:
    """Return the address in a node, without port and brackets, in its usual form; "unknown" where there is none."""
    if node.startswith("["):
        node = node[1:].partition("]")[0]
    elif node.count(":") == 1:
        node = node.partition(":")[0]
    try:
        return str(_parsed(node))
    except ValueError:
        return UNKNOWN


def _parse_forwarded(value: str) -> list[Hop]:
    """Return the elements of a Forwarded field (RFC 7239 §4).

    Raises:
        BadRequest: It is malformed. SECURITY: an unbalanced quote would swallow what a proxy appended.
    """
    hops = [parse_parameters(f";{element}") for element in split_list(value)]
    complete = [hop for hop in hops if hop is not None]
    if not hops or len(complete) < len(hops):
        raise BadRequest("The Forwarded header is malformed.")
    return complete


def _scheme_at(value: bytes | None, index: int, count: int) -> str | None:
    """Return the scheme the client used: its own entry where each proxy made one, else the nearest proxy's word."""
    if value is None:
        return None
    schemes = [scheme.strip().lower() for scheme in value.decode("latin-1").split(",")]
    return _SCHEMES.get(schemes[index if len(schemes) == count else -1])


def _last(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1").rpartition(",")[2].strip() or None
