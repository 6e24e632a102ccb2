"""Request ids: every request has one, in `request.request_id`, in its answer, and on every record logged meanwhile.

An id that comes in is kept where it is well-formed, so that one id follows a request through several services;
anything else is replaced. SECURITY: ids end up in logs and headers, so what may be in one is narrow and short.
"""

import itertools
import os
import re
import weakref
from collections.abc import Callable

from cello.errors import ConfigError
from cello.extension import Host
from cello.features.log_context import LogContext
from cello.http.grammar import is_token
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.middleware import NAME, Middleware

MOST_CHARACTERS = 128
WELL_FORMED = re.compile(rb"[0-9A-Za-z][0-9A-Za-z._~+/=:@-]{0,127}")


class RequestIds(Middleware):
    """Gives requests their ids. For what the arguments mean see `App.enable_request_id`."""

    name = "request_id"
    band = NAME

    def __init__(
        self, header: str = "X-Request-ID", *, trust: bool = True, generate: Callable[[], str] | None = None
    ) -> None:
        if not is_token(header):
            raise ConfigError(f"enable_request_id: {header!r:.80} is not a header name")
        if generate is not None and not callable(generate):
            raise ConfigError(f"enable_request_id: generate is a function, not {generate!r:.80}")
        self._name = header
        self._header = header.encode("ascii")
        self._key = header.lower()
        self._incoming = self._key.encode("ascii") if trust else None
        self._generate = generate or Sequence().next

    def install(self, host: Host) -> None:
        """Stand around everything."""
        LogContext.install_once(host)
        host.add_middleware(self)

    def before(self, request: Request) -> None:
        """Give the request its id."""
        memo = request._remember()
        if self._incoming is not None:
            sent = request._head.get(self._incoming)
            if sent is not None and WELL_FORMED.fullmatch(sent):
                memo["request_id"] = sent.decode("ascii")
                return
        memo["request_id"] = self._generate()

    def after(self, request: Request, response: Response) -> None:
        """Say in the answer which request it was."""
        request_id: str = request._remember().get("request_id", "")
        if request_id.isalnum() and request_id.isascii():
            response.headers.put(self._key, (self._header, request_id.encode("ascii")))
        elif request_id:
            response.headers[self._name] = request_id  # an application's own: checked before it is sent


class Sequence:
    """Ids of 28 hexadecimal digits: 16 random ones of the process, and a count.

    Unique, not secret. PERF: a UUID4 takes seven times as long; bench/micro/test_features.py.
    """

    def __init__(self) -> None:
        self.restart()
        # A fork would go on with its parent's ids.
        restart = weakref.WeakMethod(self.restart)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: _call(restart))

    def restart(self) -> None:
        """Begin a sequence of another name."""
        self._name = os.urandom(8).hex()
        self._count = itertools.count(int.from_bytes(os.urandom(3)))

    def next(self) -> str:
        """Return an id that no other request has."""
        return f"{self._name}{next(self._count):012x}"


def _call(method: "weakref.WeakMethod[Callable[[], None]]") -> None:
    found = method()
    if found is not None:
        found()
