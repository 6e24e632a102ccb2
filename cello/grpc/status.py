"""How a call ends: gRPC's status codes, the error that carries one, and what they are in HTTP."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from cello.errors import CelloError


class StatusCode(IntEnum):
    """gRPC's status codes (https://grpc.io/docs/guides/status-codes/)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class GrpcError(CelloError):
    """A call that failed: raise it in a method to answer so; a `GrpcChannel` raises it for what it was answered.

    Args:
        code: One of `StatusCode`, also at hand as `GrpcError.NOT_FOUND` and so on; not OK.
        message: For the client's developers.
        details: More for the client's program (`google.rpc.Status`): a dict, a text, a protobuf message, or several.
        metadata: Trailing metadata.

    Attributes:
        is_remote: Whether another server answered so. Such an error is none of this one's own: a method that lets it
            pass answers INTERNAL.
    """

    OK = StatusCode.OK
    CANCELLED = StatusCode.CANCELLED
    UNKNOWN = StatusCode.UNKNOWN
    INVALID_ARGUMENT = StatusCode.INVALID_ARGUMENT
    DEADLINE_EXCEEDED = StatusCode.DEADLINE_EXCEEDED
    NOT_FOUND = StatusCode.NOT_FOUND
    ALREADY_EXISTS = StatusCode.ALREADY_EXISTS
    PERMISSION_DENIED = StatusCode.PERMISSION_DENIED
    RESOURCE_EXHAUSTED = StatusCode.RESOURCE_EXHAUSTED
    FAILED_PRECONDITION = StatusCode.FAILED_PRECONDITION
    ABORTED = StatusCode.ABORTED
    OUT_OF_RANGE = StatusCode.OUT_OF_RANGE
    UNIMPLEMENTED = StatusCode.UNIMPLEMENTED
    INTERNAL = StatusCode.INTERNAL
    UNAVAILABLE = StatusCode.UNAVAILABLE
    DATA_LOSS = StatusCode.DATA_LOSS
    UNAUTHENTICATED = StatusCode.UNAUTHENTICATED

    def __init__(
        self,
        code: int,
        message: str = "",
        details: Any = None,
        *,
        metadata: Mapping[str, str | bytes] | None = None,
    ) -> None:
        self.code = as_code(code)
        if self.code is StatusCode.OK:
            raise ValueError("OK is no error: return the answer instead of raising GrpcError")
        self.message = message
        self.details = details
        self.metadata = dict(metadata or {})
        self.is_remote = False
        super().__init__(f"{self.code.name}: {message}" if message else self.code.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), int(self.code), self.message, self.details, self.metadata), vars(self)

    def __repr__(self) -> str:
        return f"GrpcError({self.code.name}, {self.message!r}, {self.details!r})"


def _remake(
    kind: type[GrpcError], code: int, message: str, details: Any, metadata: Mapping[str, str | bytes]
) -> GrpcError:
    return kind(code, message, details, metadata=metadata)


def as_code(code: int) -> StatusCode:
    """Return the status code of a number.

    Raises:
        ValueError: There is none.
    """
    try:
        return StatusCode(code)
    except ValueError:
        raise ValueError(f"a gRPC status code is 0-16, as in GrpcError.NOT_FOUND, not {code!r:.80}") from None


def detail_items(details: Any) -> Sequence[Any]:
    """Return what `GrpcError.details` holds as a sequence."""
    if details is None:
        return ()
    return details if isinstance(details, list | tuple) else (details,)


HTTP_STATUS = {
    StatusCode.OK: 200,
    StatusCode.CANCELLED: 499,
    StatusCode.UNKNOWN: 500,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.INTERNAL: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DATA_LOSS: 500,
    StatusCode.UNAUTHENTICATED: 401,
}
"""What logs, metrics and circuit breakers see of a code (google/rpc/code.proto)."""

_CODES = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    405: StatusCode.UNIMPLEMENTED,
    408: StatusCode.DEADLINE_EXCEEDED,
    409: StatusCode.ABORTED,
    412: StatusCode.FAILED_PRECONDITION,
    413: StatusCode.RESOURCE_EXHAUSTED,
    415: StatusCode.INVALID_ARGUMENT,
    416: StatusCode.OUT_OF_RANGE,
    422: StatusCode.INVALID_ARGUMENT,
    429: StatusCode.RESOURCE_EXHAUSTED,
    499: StatusCode.CANCELLED,
    500: StatusCode.INTERNAL,
    501: StatusCode.UNIMPLEMENTED,
    502: StatusCode.UNAVAILABLE,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}


def code_of_http(status: int) -> StatusCode:
    """Return the code for what a guard, a limit or an `HTTPError` answered."""
    return _CODES.get(status, StatusCode.FAILED_PRECONDITION if status < 500 else StatusCode.INTERNAL)
