"""Every error cello raises, as one tree.

Start-up errors (`ConfigError`, `MissingDependency`, `RouteError`) speak to the developer: which thing, what was wrong,
what to do. `ProtocolError` speaks of bytes a peer sent. `HTTPError` and its children are answers: raising one in a
handler, guard, dependency or middleware ends the request with that status.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus


class CelloError(Exception):
    """Base of every error that cello itself raises."""


class ConfigError(CelloError, ValueError):
    """A setting, option, or handler signature that cannot work; raised before the first request."""


class MissingDependency(CelloError, ImportError):
    """An optional package is needed by something that was switched on; the message names the extra to install."""


class RouteError(CelloError, ValueError):
    """A route pattern that is malformed, duplicated, or contradicts another; names both places where it can."""


class ProtocolError(CelloError):
    """Bytes from a peer that break the protocol.

    Attributes:
        status: The HTTP status the peer should be told, e.g. 400, 408, 413, 414, 431, 501, 505.
        offset: Where in the message the fault was seen, in bytes from its start, or None when unknown.
    """

    def __init__(self, message: str, *, status: int = 400, offset: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.offset = offset


class ClientDisconnected(CelloError):
    """The client went away before its request was complete, or before the answer was sent."""


class HTTPError(CelloError):
    """An HTTP answer raised as an exception.

    Attributes:
        status: 400–599.
        detail: A sentence for the client, or None for the status' standard phrase.
        headers: Extra response fields, e.g. `{"Retry-After": "5"}`.
        extensions: Extra members of the problem document (RFC 9457 §3.2).
    """

    status = 500

    def __init__(
        self,
        status: int | None = None,
        detail: str | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        self.status = type(self).status if status is None else status
        if not 400 <= self.status <= 599:
            raise ConfigError(f"HTTPError status must be 400-599, not {self.status!r}")
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})
        super().__init__(f"{self.status} {detail or phrase(self.status)}")

    def __reduce__(self) -> tuple[object, ...]:
        # The message is made from the arguments, so it must not be taken for one when a copy or a pickle is opened.
        return _remake, (type(self), *self.args), vars(self)


def _remake(kind: type[HTTPError], *args: object) -> HTTPError:
    return kind.__new__(kind, *args)


def phrase(status: int) -> str:
    """Return the standard reason phrase of a status (RFC 9110 §15), or "Unknown Status" for an unregistered one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"


def too_late(what: str) -> str:
    """Return what is said of something that an application cannot take any more."""
    return (
        f"{what} comes too late: the application answers requests already; do it before a server, a TestClient or "
        "app.explain() starts it"
    )


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return which of `known` a mistyped `name` was probably meant to be, or None."""
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(name, known, n=1)
    return close[0] if close else None


class _Fixed(HTTPError):
    """An `HTTPError` whose class decides the status, so the detail comes first."""

    def __init__(
        self,
        detail: str | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(None, detail, headers, extensions)


class BadRequest(_Fixed, ValueError):
    """400: the request could not be understood, e.g. malformed JSON. Also a `ValueError`."""

    status = 400


class Unauthorized(_Fixed):
    """401: no valid credentials; carries `WWW-Authenticate` (RFC 9110 §11.6.1)."""

    status = 401


class Forbidden(_Fixed):
    """403: understood, refused."""

    status = 403


class NotFound(_Fixed):
    """404: no such resource."""

    status = 404


class MethodNotAllowed(_Fixed):
    """405: the path exists under other methods; carries `Allow`."""

    status = 405


class ContentTooLarge(_Fixed):
    """413: the body exceeds the limit of the route."""

    status = 413


class UnsupportedMediaType(_Fixed):
    """415: the body's media type or coding is not accepted."""

    status = 415


class UnprocessableContent(_Fixed):
    """422: well-formed but invalid; `extensions["errors"]` lists every fault with its location."""

    status = 422


class TooManyRequests(_Fixed):
    """429: a limit was reached; carries `Retry-After`."""

    status = 429


class ServiceUnavailable(_Fixed):
    """503: overloaded, draining, or timed out."""

    status = 503
