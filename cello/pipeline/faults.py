"""From an exception to a Response.

The application's exception handlers come first: the nearest class in the exception's MRO wins, with one exception —
a handler for `Exception` is not asked about an `HTTPError` (a 404 must not become the 500 of "everything else");
register `HTTPError` itself for those. What no handler takes becomes a problem document (RFC 9457) with also an `error`
member. Anything but an `HTTPError` is logged with its traceback and answered 500; what was raised is shown to the
client only in debug mode.

`answering` is a course (`course.py`): a generator that yields what must be awaited.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from cello.errors import ClientDisconnected, ConfigError, HTTPError, ProtocolError, phrase
from cello.http import json_codec
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.course import HERE, Course
from cello.pipeline.result import to_response

logger = logging.getLogger("cello.error")

ExceptionHandler = Callable[[Request, Any], Any]


class Faults:
    """How one application answers exceptions.

    Args:
        handlers: The application's exception handlers, by exception class or HTTP status.
        debug: Whether answers to unexpected exceptions show their traceback.

    Attributes:
        listeners: Called with each exception that becomes a 500.
    """

    __slots__ = ("_handlers", "debug", "listeners")

    def __init__(self, handlers: Mapping[type[BaseException] | int, ExceptionHandler], *, debug: bool) -> None:
        self._handlers = dict(handlers)
        self.debug = debug
        self.listeners: list[Callable[[Request, Exception], None]] = []

    def answering(self, request: Request, error: Exception) -> Course[Response]:
        """Return the answer to `error`, of the application's handler or the default one."""
        handler = self.handler_for(error)
        if handler is None:
            return self.default_answer(request, error)
        try:
            yield HERE
            value = handler(request, error)
            if inspect.isawaitable(value):
                value = yield value
            return to_response(value)
        except Exception as second:  # noqa: BLE001  # a handler that raises is answered like a handler that raises
            if second is not error and second.__context__ is None:
                second.__context__ = error
            return self.default_answer(request, second)

    def handler_for(self, error: Exception) -> ExceptionHandler | None:
        """Return the application's handler for `error`: by status, then the nearest class of its MRO."""
        if not self._handlers:
            return None
        is_http = isinstance(error, HTTPError)
        if is_http and error.status in self._handlers:  # type: ignore[attr-defined]  # is_http says so
            return self._handlers[error.status]  # type: ignore[attr-defined]  # is_http says so
        for kind in type(error).__mro__:
            if kind in self._handlers and not (is_http and kind is Exception):
                return self._handlers[kind]
        return None

    def default_answer(self, request: Request, error: Exception) -> Response:
        """Return the problem document of `error`; never raises."""
        if isinstance(error, HTTPError):
            headers = error.headers
            if error.status == 401 and not any(name.lower() == "www-authenticate" for name in headers):
                headers = {**headers, "WWW-Authenticate": "Bearer"}  # RFC 9110 §11.6.1: a 401 must name a scheme
            try:
                return problem(error.status, error.detail, headers, error.extensions)
            except Exception as unusable:  # noqa: BLE001  # headers or extensions that cannot be sent
                error = unusable
        if isinstance(error, ProtocolError):
            return problem(error.status, str(error))
        if isinstance(error, ClientDisconnected):  # no fault of the application's; mostly nobody reads the answer
            return problem(400, "The request ended before its body was complete.")
        return self.internal_error(request, error)

    def internal_error(self, request: Request, error: Exception) -> Response:
        """Log `error` and answer 500, with the traceback in debug mode and without any detail otherwise."""
        if isinstance(error, TypeError) and "await" in str(error):
            error.add_note("request.json(), text(), body(), form() and files() are plain calls: drop the await")
        logger.error("%s %s raised", request.method, request.raw_path, exc_info=error)
        for listen in self.listeners:
            listen(request, error)
        if self.debug:
            from cello.pipeline.debug_page import debug_response  # none of it in production

            try:
                return debug_response(request, error)
            except Exception:
                logger.exception("the debug page failed")
        return problem(500)


def problem(
    status: int,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, object] | None = None,
) -> Response:
    """Return a problem document (RFC 9457) with also an `error` member, the sentence in one place."""
    title = phrase(status)
    members: dict[str, object] = {"type": "about:blank", "title": title, "status": status}
    if detail is not None:
        members["detail"] = detail
    members["error"] = title if detail is None else detail
    if extensions:
        members.update(extensions)
    return Response(json_codec.encode(members), status, dict(headers or {}), "application/problem+json")


def check_exception_kind(kind: object) -> None:
    """Check what `app.exception_handler(kind)` was given.

    Raises:
        ConfigError: It is neither an exception class nor a status.
    """
    if inspect.isfunction(kind):
        raise ConfigError(
            f"exception_handler needs to know what for: write @app.exception_handler(404), or (ValueError), above "
            f"{kind.__qualname__}"
        )
    if isinstance(kind, int):
        if not 400 <= kind <= 599:
            raise ConfigError(f"exception_handler takes an exception class or a status 400-599, not {kind!r}")
    elif not (isinstance(kind, type) and issubclass(kind, Exception)):
        raise ConfigError(f"exception_handler takes an exception class or a status 400-599, not {kind!r:.80}")


def check_exception_handler(handler: object) -> None:
    """Check what `@app.exception_handler(kind)` stands above.

    Raises:
        ConfigError: It cannot take (request, error).
    """
    if not callable(handler):
        raise ConfigError(f"an exception handler must be callable, not {handler!r:.80}")
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        raise ConfigError(f"exception handler {handler!r:.120} must take (request, error)") from None
    except ValueError:  # a built-in without a signature: its call will tell
        return
