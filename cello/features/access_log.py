"""The access log: one line for every answer, refusals included, written by a thread that no request waits for.

This file is what happens on the request's side: note when it began, and hand over what is known when its answer is
ready. A streamed answer is logged when it ended, with the bytes that left. What a line says is in access_lines.py, how
it is written in access_writer.py.
"""

import asyncio
from collections.abc import Collection
from time import perf_counter_ns

from cello.errors import ConfigError
from cello.extension import Host
from cello.features.access_lines import Lines
from cello.features.access_writer import Writer
from cello.features.counted import count
from cello.features.log_context import ACCESS_LOG, LogContext, current
from cello.http.grammar import is_token
from cello.http.request import Request
from cello.http.response import FilePayload, Response, StreamPayload
from cello.pipeline.course import ABANDONED
from cello.pipeline.middleware import OBSERVE, Middleware
from cello.routing.route import Route

FORMATS = ("text", "json")
CLIENT_LEFT = 499
"""The status of a request whose client left before it was answered, as other servers log it."""


class AccessLog(Middleware):
    """Logs every answer. For what the arguments mean see `App.enable_logging`."""

    name = "logging"
    band = OBSERVE

    def __init__(
        self,
        format: str = "text",
        *,
        headers: Collection[str] = (),
        query: bool = False,
        hidden: Collection[str] = (),
        exclude_paths: Collection[str] = (),
        max_queued: int = 10_000,
    ) -> None:
        if format not in FORMATS:
            raise ConfigError(f"enable_logging: format is 'text' or 'json', not {format!r:.80}")
        if type(max_queued) is not int or max_queued < 1:
            raise ConfigError(f"enable_logging: max_queued is a number of lines, at least 1, not {max_queued!r:.80}")
        for field, names in (("headers", headers), ("hidden", hidden), ("exclude_paths", exclude_paths)):
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise ConfigError(f"enable_logging: {field} is a list of strings, not {names!r:.80}")
        for name in headers:
            if not is_token(name):
                raise ConfigError(f"enable_logging: {name!r:.80} is not a header name")
        self._format = format
        self._header_names = tuple(dict.fromkeys(name.lower() for name in headers))
        self._header_keys = tuple(name.encode("ascii") for name in self._header_names)
        self._query = query
        self._hidden = frozenset(name.lower() for name in hidden)
        self._excluded = tuple(path.rstrip("/") for path in exclude_paths)
        self._max_queued = max_queued
        self._is_on = True
        self.writer = self._make_writer()

    def _make_writer(self) -> Writer:
        lines = Lines(self._format, self._header_names, query=self._query, hidden=self._hidden)
        return Writer(lines, self._max_queued)

    def install(self, host: Host) -> None:
        """Stand around everything, and write while the application runs."""
        host.provide(ACCESS_LOG, self)
        LogContext.install_once(host)
        host.add_middleware(self)
        host.on_start(self._start, band=0)
        host.on_stop(self._stop, band=0)

    def override(self, is_on: bool | None, format: str | None) -> None:
        """Follow the command line, which goes before the program; None leaves a matter as it is."""
        if is_on is not None:
            self._is_on = is_on
        if format is not None:
            self._format = format
            self.writer = self._make_writer()

    @property
    def dropped(self) -> int:
        """How many answers were not logged because the log could not keep up."""
        return self.writer.dropped

    def _start(self) -> None:
        if self._is_on:
            self.writer.start()

    def _stop(self) -> None:
        self.writer.stop()

    def applies_to(self, route: Route | None) -> bool:
        """Leave out what is excluded, at no cost to it."""
        if not self._is_on:
            return False
        if route is None or not self._excluded:
            return True
        template = route.template
        return not any(template == path or template.startswith(f"{path}/") for path in self._excluded)

    def before(self, request: Request) -> None:
        """Note which request runs, and since when."""
        current.set((request, perf_counter_ns()))

    def after(self, request: Request, response: Response) -> None:
        """Hand over what is known."""
        if request._context is not None and ABANDONED in request._context:
            return
        try:
            response.settle(request)  # only now is it decided whether a 200 is a 304 or a 206
        except Exception:
            self._log(request, 500, 0)
            raise
        payload = response.payload
        if payload.__class__ is bytes:
            self._log(request, response.status, len(payload))
        elif isinstance(payload, FilePayload):
            self._log(request, response.status, payload.length)
        elif isinstance(payload, StreamPayload):
            self._log_at_the_end(request, response.status, payload)

    def on_error(self, request: Request, error: BaseException) -> None:
        """Log a request whose client left; no answer will come by."""
        if isinstance(error, asyncio.CancelledError):
            self._log(request, CLIENT_LEFT, 0)

    def _log_at_the_end(self, request: Request, status: int, payload: StreamPayload) -> None:
        def end(size: int, is_cut_short: bool) -> None:
            self._log(request, status, size, started_ns, is_cut_short=is_cut_short)

        started_ns = _started_ns(request)
        count(payload, end)

    def _log(
        self, request: Request, status: int, size: int, started_ns: int | None = None, *, is_cut_short: bool = False
    ) -> None:
        memo, context = request._memo, request._context
        head = request._head
        client_ip, request_id = (None, "") if memo is None else (memo.get("client_ip"), memo.get("request_id", ""))
        # PERF: a bare tuple; the Entry is made of it on the other thread. bench/micro/test_features.py
        self.writer.put(
            (
                _started_ns(request) if started_ns is None else started_ns,
                perf_counter_ns(),
                request._peer,
                client_ip,
                request.method,
                request.raw_path,
                request.query_string if self._query else "",
                status,
                size,
                request_id,
                head.get(b"traceparent"),
                "" if context is None else context.get("trace_id", ""),
                request.route,
                tuple([_text(head.get(name)) for name in self._header_keys]) if self._header_keys else (),
                is_cut_short,
            )
        )


def _started_ns(request: Request) -> int:
    entry = current.get()
    return perf_counter_ns() if entry is None else entry[1]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
