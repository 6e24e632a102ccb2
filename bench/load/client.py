"""A plain HTTP/1.1 client on a blocking socket: for checks before timing, never for load."""

import socket
from dataclasses import dataclass, field

TIMEOUT_S = 5.0


@dataclass(slots=True)
class Answer:
    """One answer as received. Field names are in lower case; of repeated fields the last one is kept."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Connection:
    """A keep-alive connection that reads answers one after the other, pipelined ones too."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._reader = self._socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *unused: object) -> None:
        self._reader.close()
        self._socket.close()

    def send(self, request: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(request)

    def receive(self) -> Answer:
        """Read one answer.

        Raises:
            ConnectionError: The server closed before a complete answer.
            ValueError: What came is no answer with a Content-Length.
        """
        first = self._line()
        try:
            answer = Answer(int(first.split(" ", 2)[1]))
        except (IndexError, ValueError):
            raise ValueError(f"no status line: {first!r:.80}") from None
        while line := self._line():
            name, _, value = line.partition(":")
            answer.fields[name.lower()] = value.strip()
        if "content-length" not in answer.fields:
            raise ValueError("an answer without Content-Length")
        length = int(answer.fields["content-length"])
        answer.body = self._reader.read(length)
        if len(answer.body) < length:
            raise ConnectionError("the server closed within a body")
        return answer

    def _line(self) -> str:
        line = self._reader.readline(65536)
        if not line.endswith(b"\n"):
            raise ConnectionError("the server closed the connection")
        return line.rstrip(b"\r\n").decode("latin-1")


def get_status(port: int, path: str) -> int:
    """Return the status of one GET on a connection of its own.

    Raises:
        OSError: Nobody listens, or the connection broke.
    """
    with Connection(port) as connection:
        connection.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return connection.receive().status
