"""What a method knows of the call beyond its message, and the answer that is more than a message."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from cello.grpc.status import GrpcError, StatusCode, as_code

Metadata = Mapping[str, str | bytes]


class Transport(Protocol):
    """The way that a call came."""

    def metadata(self) -> list[tuple[str, str | bytes]]:
        """Return what the client sent along: names in lower case; those of bytes end with "-bin"."""

    def peer(self) -> str:
        """Return where it came from, such as "ipv4:127.0.0.1:40000"."""

    def time_remaining(self) -> float | None:
        """Return the seconds until its deadline; None where it has none."""

    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""

    async def send_initial_metadata(self, metadata: list[tuple[str, str | bytes]]) -> None:
        """Send metadata before the first message."""


class GrpcRequest(Mapping[str, Any]):
    """A call. Where its message is untyped it is also the mapping of that: `request["id"]`.

    Construct one by hand for unit tests.

    Args:
        service: The service's full name.
        method: The method's name.
        data: The message.
        metadata: What the client sent along.

    Attributes:
        data: The message: a dict where it is untyped, else what the method's annotation says; for a client's stream,
            its iterator.
        trailing: What is sent after the last message, if there is any.
        outcome: Code and sentence that a generated servicer has set in its context.
    """

    __slots__ = ("_http", "_make_http", "_metadata", "_transport", "data", "method", "outcome", "service", "trailing")

    def __init__(self, service: str, method: str, data: Any = None, metadata: Metadata | None = None) -> None:
        self.service = service
        self.method = method
        self.data: Any = {} if data is None else data
        self.trailing: dict[str, str | bytes] | None = None
        self._http: Any = None
        self._make_http: Callable[[Any], Any] | None = None
        self.outcome: tuple[int, str] = (0, "")
        self._metadata = None if metadata is None else dict(metadata)
        self._transport: Transport | None = None

    @classmethod
    def incoming(
        cls, service: str, method: str, transport: Transport, make_http: Callable[[Any], Any] | None
    ) -> "GrpcRequest":
        """Make the one of a call that came; `make_http` is asked for its `Request` when somebody looks at that."""
        self = cls.__new__(cls)
        self.service = service
        self.method = method
        self.data = None
        self.trailing = None
        self._http = None
        self._make_http = make_http
        self.outcome = (0, "")
        self._metadata = None
        self._transport = transport
        return self

    @property
    def metadata(self) -> dict[str, str | bytes]:
        """What the client sent along: the last value of each name, in lower case; bytes where it ends with "-bin"."""
        if self._metadata is None:
            self._metadata = {} if self._transport is None else dict(self._transport.metadata())
        return self._metadata

    @property
    def http(self) -> Any:
        """The call as a `Request`, as guards and middleware see it; None without an application."""
        if self._http is None and self._make_http is not None:
            self._http = self._make_http(self._transport)
        return self._http

    @property
    def trailing_metadata(self) -> dict[str, str | bytes]:
        """What is sent after the last message; add to it."""
        if self.trailing is None:
            self.trailing = {}
        return self.trailing

    def pairs(self) -> list[tuple[str, str | bytes]]:
        """Return all that the client sent along, repetitions included."""
        return list(self.metadata.items()) if self._transport is None else self._transport.metadata()

    @property
    def app(self) -> Any:
        """The application; None without one."""
        return None if self.http is None else self.http.app

    @property
    def context(self) -> dict[str, Any]:
        """What guards and middleware left: `request.context["user"]`."""
        return {} if self.http is None else self.http.context

    @property
    def peer(self) -> str:
        """Where the call came from, such as "ipv4:127.0.0.1:40000"; "" in unit tests."""
        return "" if self._transport is None else self._transport.peer()

    def time_remaining(self) -> float | None:
        """Return the seconds until the client's deadline, when the call is cancelled; None where it has none."""
        return None if self._transport is None else self._transport.time_remaining()

    def cancelled(self) -> bool:
        """Whether nobody waits any more; for `def` methods, which cannot be interrupted."""
        return self._transport is not None and self._transport.cancelled()

    async def send_initial_metadata(self, metadata: Metadata) -> None:
        """Send metadata now, before the first message."""
        if self._transport is not None:
            await self._transport.send_initial_metadata(list(metadata.items()))

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"GrpcRequest(service={self.service!r}, method={self.method!r})"


class GrpcResponse:
    """An answer with a status, or with metadata: what a method may return in place of its message.

    Attributes:
        data: The message.
        status_code: OK, or why there is none.
        message: For the client's developers.
        metadata: Trailing metadata; add to it.
    """

    __slots__ = ("data", "message", "metadata", "status_code")

    def __init__(self, data: Any = None, status_code: int = 0, message: str = "OK") -> None:
        self.data = {} if data is None else data
        self.status_code = as_code(status_code)
        self.message = message
        self.metadata: dict[str, str | bytes] = {}

    @classmethod
    def ok(cls, data: Any = None) -> "GrpcResponse":
        """Answer with a message."""
        return cls(data)

    @classmethod
    def error(cls, code: int, message: str = "") -> "GrpcResponse":
        """Answer with a status; the same as raising `GrpcError`."""
        return cls(None, code, message)

    def open(self, request: GrpcRequest) -> Any:
        """Return the message, and tell the call of the metadata.

        Raises:
            GrpcError: It is an error.
        """
        if self.status_code is not StatusCode.OK:
            raise GrpcError(self.status_code, self.message, metadata=self.metadata)
        request.trailing_metadata.update(self.metadata)
        return self.data

    def __repr__(self) -> str:
        return f"GrpcResponse(status_code={self.status_code.name}, message={self.message!r})"
