"""Who is at the two ends of a connection."""


class Peer:
    """The ends of one connection: made once, shared by all its requests.

    Attributes:
        scheme: "http" or "https".
        client: (address, port) of the socket's other end; None on a unix socket.
        server: (address, port) of our end; the port is None on a unix socket; None where the host does not tell.
        speaks_http: Whether HTTP is spoken to the application. Calls of another protocol only look like requests, and
            no browser can make them: rules about pages and host names do not concern them.
    """

    __slots__ = ("client", "scheme", "server")

    speaks_http = True

    def __init__(
        self,
        scheme: str = "http",
        client: tuple[str, int] | None = None,
        server: tuple[str, int | None] | None = None,
    ) -> None:
        self.scheme = scheme
        self.client = client
        self.server = server

    def __repr__(self) -> str:
        return f"Peer({self.scheme!r}, client={self.client!r}, server={self.server!r})"
