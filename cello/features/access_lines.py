"""What a line of the access log says, as text for people and as JSON for machines. Runs on the log's own thread."""

import re
import sys
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO
from urllib.parse import unquote_plus

from cello.features.log_context import parse_trace_id
from cello.http import json_codec
from cello.http.peer import Peer
from cello.routing.route import Route
from cello.serve.console import is_coloured, paint

HIDDEN = "[hidden]"
SECRET_HEADERS = frozenset({
    "authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "x-auth-token", "x-csrf-token",
})  # fmt: skip
_SECRET_QUERY = re.compile(r"token|passw|secret|key|code|signature|session|auth|credential|^sig$|^pwd$", re.IGNORECASE)
_STYLES = {2: "green", 3: "cyan", 4: "yellow", 5: "red"}
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\uffff]")
MOST_CHARACTERS = 2_048
"""Of a path, a query or a header; what is longer is cut."""


class Entry(NamedTuple):
    """What is known of a request when its answer is ready; nothing that keeps its body alive.

    Attributes:
        started_ns: By `perf_counter_ns`, as `ended_ns`.
        client_ip: What a trusted proxy said, if there is one.
        size: Bytes of the body that left.
        headers: The values of those that are logged, in their order.
        is_cut_short: The body did not come to its end.
    """

    started_ns: int
    ended_ns: int
    peer: Peer
    client_ip: str | None
    method: str
    raw_path: str
    query_string: str
    status: int
    size: int
    request_id: str
    traceparent: bytes | None
    trace_id: str
    route: Route | None
    headers: tuple[str | None, ...]
    is_cut_short: bool


class Lines:
    """Makes facts of entries, and lines of facts.

    Args:
        format: "text" or "json".
        headers: The request headers that are logged too, in lower case.
        query: Whether the query string is.
        hidden: Names of further headers and query fields whose value is not shown, in lower case.
    """

    def __init__(self, format: str, headers: Collection[str], *, query: bool, hidden: Collection[str]) -> None:
        self.render = self._json if format == "json" else self._text
        self._headers = tuple(headers)
        self._query = query
        self._hidden = frozenset(hidden)
        stream: TextIO | None = sys.stderr  # None in programs without a console
        self._is_coloured = stream is not None and not stream.closed and is_coloured(stream)
        self._second = -1
        self._clock = ""

    def facts(self, entry: Entry, wall_ns: int) -> dict[str, Any]:
        """Return what a line says, in order; what there is nothing to say about is left out.

        Args:
            wall_ns: What to add to an entry's clock for the time of day.
        """
        facts: dict[str, Any] = {
            "time": (entry.ended_ns + wall_ns) / 1e9,
            "client": entry.client_ip or (entry.peer.client[0] if entry.peer.client else ""),
            "method": entry.method,
            "path": shown(entry.raw_path),
            "status": entry.status,
            "bytes": entry.size,
            "ms": round((entry.ended_ns - entry.started_ns) / 1e6, 3),
        }
        if entry.route is not None:
            facts["route"] = entry.route.template
        if entry.request_id:
            facts["request_id"] = entry.request_id
        trace_id = entry.trace_id or parse_trace_id(entry.traceparent)
        if trace_id:
            facts["trace_id"] = trace_id
        if entry.is_cut_short:
            facts["cut_short"] = True
        if self._query and entry.query_string:
            facts["query"] = shown(self._without_secrets(entry.query_string))
        for name, value in zip(self._headers, entry.headers, strict=True):
            if value is not None:
                is_secret = name in SECRET_HEADERS or name in self._hidden
                facts[name.replace("-", "_")] = HIDDEN if is_secret else shown(value)
        return facts

    def _without_secrets(self, query: str) -> str:
        fields = []
        for field in query.split("&"):
            name, equals, _ = field.partition("=")
            plain = unquote_plus(name)
            is_secret = equals and (_SECRET_QUERY.search(plain) or plain.lower() in self._hidden)
            fields.append(f"{name}={HIDDEN}" if is_secret else field)
        return "&".join(fields)

    def _text(self, facts: Mapping[str, Any]) -> str:
        status = str(facts["status"])
        if self._is_coloured:
            status = paint(status, _STYLES.get(facts["status"] // 100, "bold"), sys.stderr)
        query = f"?{facts['query']}" if "query" in facts else ""
        rest = "".join(f" {name}={value}" for name, value in facts.items() if name not in _IN_EVERY_LINE)
        return (
            f"{self._time_of_day(facts['time'])} {facts['client'] or '-'} {facts['method']} {facts['path']}{query} "
            f"{status} {facts['bytes']} B {facts['ms']:.2f} ms{rest}"
        )

    def _json(self, facts: Mapping[str, Any]) -> str:
        moment = datetime.fromtimestamp(facts["time"], UTC).isoformat(timespec="milliseconds")
        return json_codec.encode({**facts, "time": moment.replace("+00:00", "Z")}).decode()

    def _time_of_day(self, timestamp_s: float) -> str:
        second = int(timestamp_s)
        if second != self._second:
            self._second = second
            self._clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return f"{self._clock}.{int(timestamp_s * 1000) % 1000:03}"


_IN_EVERY_LINE = frozenset({"time", "client", "method", "path", "status", "bytes", "ms", "query"})


def shown(text: str) -> str:
    """Return text of a client's as one line can hold it. SECURITY: a line break in it would forge lines."""
    cut = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found.group()):02x}", cut)
