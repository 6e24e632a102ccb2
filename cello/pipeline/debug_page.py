"""The page a developer sees when a handler raised: the traceback with source, and the request. Debug mode only.

It is text about the error and nothing else: no console, no code execution, no script, no outside resource. Everything
that came from the request, the exception or the source is escaped. Clients that do not prefer HTML get the same as a
problem document. SECURITY: values of local variables are not shown, and credentials in headers are masked.
"""

import html
import linecache
import traceback
from collections.abc import Iterator

from cello.errors import phrase
from cello.http import json_codec
from cello.http.request import Request
from cello.http.response import Response

CONTEXT_LINES = 4
MOST_FRAMES = 50
MASKED = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-csrf-token"})

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--hit:#f802;--dim:#777}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0;overflow-wrap:anywhere}h2{font-size:1rem;margin:2rem 0 .5rem}
.where,.dim{color:var(--dim)}pre{margin:0;overflow:auto;font:13px/1.5 ui-monospace,monospace}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:.5rem .75rem}
summary{cursor:pointer;overflow-wrap:anywhere}.hit{background:var(--hit);display:inline-block;min-width:100%}
table{border-collapse:collapse;width:100%}td{border-top:1px solid var(--line);padding:.2rem .5rem;vertical-align:top;
font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}td:first-child{white-space:nowrap;color:var(--dim)}
"""


def debug_response(request: Request, error: BaseException) -> Response:
    """Return the 500 of debug mode: a page where the client prefers HTML, else a problem document."""
    if prefers_html(request.headers.get("accept") or ""):
        page = Response(render(request, error), 500, None, "text/html; charset=utf-8")
        page.set_header("Content-Security-Policy", _POLICY)
        page.set_header("Cache-Control", "no-store")
        return page
    members = {
        "type": "about:blank",
        "title": phrase(500),
        "status": 500,
        "detail": summary(error),
        "error": summary(error),
        "exception": type(error).__qualname__,
        "traceback": "".join(traceback.format_exception(error)).splitlines(),
    }
    return Response(json_codec.encode(members), 500, None, "application/problem+json")


def prefers_html(accept: str) -> bool:
    """Return whether `text/html` stands in an Accept field with at least the weight of JSON; `*/*` is no preference."""
    weights = {"text/html": 0.0, "json": 0.0}
    for item in accept.lower().split(","):
        kind, _, parameters = item.strip().partition(";")
        weight = 1.0
        for parameter in parameters.split(";"):
            name, _, value = parameter.strip().partition("=")
            if name == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        kind = kind.strip()
        key = "json" if kind in ("application/json", "application/problem+json") else kind
        if key in weights:
            weights[key] = max(weights[key], weight)
    return weights["text/html"] > 0 and weights["text/html"] >= weights["json"]


def summary(error: BaseException) -> str:
    """Return the last line of a traceback, as one line."""
    return " ".join("".join(traceback.format_exception_only(error)).split())


def render(request: Request, error: BaseException) -> str:
    """Return the page about `error`, raised while `request` was answered."""
    title = html.escape(summary(error))
    where = html.escape(f"{request.method} {request.raw_path}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body>"
        f'<p class="where">{where}</p><h1>{title}</h1>'
        f"{''.join(_chain(error))}<h2>Request</h2>{_table(_request_rows(request))}"
        f"<h2>Traceback as text</h2><pre>{html.escape(''.join(traceback.format_exception(error)))}</pre>"
        '<p class="dim">This page appears in debug mode only.</p></body></html>'
    )


def _chain(error: BaseException) -> Iterator[str]:
    """Yield the frames of `error`, and of what it came from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        heading = "Traceback, innermost call first" if current is error else f"Caused by {summary(current)}"
        yield f"<h2>{html.escape(heading)}</h2>"
        frames = list(traceback.walk_tb(current.__traceback__))
        for number, (frame, line) in enumerate(reversed(frames)):
            if number == MOST_FRAMES:  # of an endless recursion
                yield f'<p class="dim">… and {len(frames) - number} more</p>'
                break
            code = frame.f_code
            opened = " open" if number == 0 else ""
            yield (
                f"<details{opened}><summary><b>{html.escape(code.co_qualname)}</b> "
                f'<span class="dim">{html.escape(code.co_filename)}:{line}</span></summary>'
                f"<pre>{''.join(_source(code.co_filename, line, frame.f_globals))}</pre></details>"
            )
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _source(filename: str, line: int, module_globals: dict[str, object]) -> Iterator[str]:
    for number in range(max(1, line - CONTEXT_LINES), line + CONTEXT_LINES + 1):
        text = linecache.getline(filename, number, module_globals)
        if text:
            row = html.escape(f"{number:>5}  {text.rstrip()}")
            yield f'<span class="hit">{row}</span>\n' if number == line else f"{row}\n"


def _request_rows(request: Request) -> Iterator[tuple[str, str]]:
    yield "path", request.raw_path
    yield "query", request.query_string
    for name, value in request.params.items():
        yield f"{{{name}}}", value
    for name, value in request.headers.items():
        yield name, "(masked)" if name.lower() in MASKED else value


def _table(rows: Iterator[tuple[str, str]]) -> str:
    cells = (f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"
