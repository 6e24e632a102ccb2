"""The page itself: HTML without a script, an image or a form; everything that is said in it is escaped."""

import html
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from cello.http.response import Response

_STYLE = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#22201c;--dim:#6a655b;--line:#e2ddd2;--hue:#9a4a1f;
--good:#1d6f42;--bad:#b3261e;--soft:#f3eee5}
@media(prefers-color-scheme:dark){:root{--paper:#171614;--card:#201e1b;--ink:#ece7dd;--dim:#a39c8f;--line:#38342e;
--hue:#e39a6b;--good:#6fcf97;--bad:#ff8a80;--soft:#2a2723}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main,header{max-width:74rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.5rem}
h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:2.25rem 0 .6rem;display:flex;gap:.6rem;align-items:baseline}
h2 small{color:var(--dim);font-weight:400;font-size:.875rem}
a{color:var(--hue)}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.75rem 0 0}
nav a{padding:.35rem 0}
.chips{display:flex;flex-wrap:wrap;gap:.4rem;margin:.75rem 0 0;padding:0;list-style:none}
.chips li{background:var(--soft);border:1px solid var(--line);border-radius:99px;padding:.05rem .7rem;font-size:.875rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;overflow:hidden}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{padding:.45rem .75rem;text-align:left;vertical-align:top;border-top:1px solid var(--line)}
tr:first-child>th,tr:first-child>td{border-top:0}
th{font-weight:600;color:var(--dim);white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code,pre,.mono{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
pre{margin:.5rem 0 0;white-space:pre-wrap}
details{border-top:1px solid var(--line);padding:.5rem .75rem}
details:first-child{border-top:0}
summary{cursor:pointer;overflow-wrap:anywhere}
summary .path{font-weight:600}
.method{display:inline-block;min-width:3.6rem;color:var(--hue);font:600 12px/1.6 ui-monospace,monospace}
.dim{color:var(--dim)}.up{color:var(--good);font-weight:600}.down{color:var(--bad);font-weight:600}
.empty{margin:0;padding:.6rem .75rem;color:var(--dim)}
meter{width:7rem;max-width:100%;vertical-align:middle}
footer{max-width:74rem;margin:2.5rem auto 1.5rem;padding:0 1rem;color:var(--dim);font-size:.875rem}
@media(max-width:40rem){summary .what{display:block}.wide{display:none}th,td{padding:.4rem .5rem}}
"""

Facts = dict[str, Any]


def render(facts: Facts) -> Response:
    """Return the page."""
    nonce = secrets.token_urlsafe(16)
    response = Response.html("".join(_page(facts, nonce)))
    response.set_header(
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
    )
    return response


def _page(facts: Facts, nonce: str) -> Iterator[str]:
    about = facts["application"]
    name = _text(about["name"])
    sections = {
        "errors": ("Recent errors", "of the worker that answered", _errors(facts["errors"]), len(facts["errors"])),
        "checks": ("Health", "", _checks(facts["checks"]), len(facts["checks"])),
        "workers": ("Workers", "", _workers(facts["workers"]), len(facts["workers"])),
        "pools": ("Pools", "", _pools(facts["pools"]), len(facts["pools"])),
        "routes": ("Routes", "open one for its plan", _routes(facts), len(facts["routes"]) + len(facts["mounts"])),
        "tasks": ("Tasks", "of the loop that answered", _tasks(facts["tasks"]), len(facts["tasks"])),
        "numbers": ("Numbers", "what features count", _numbers(facts["numbers"]), len(facts["numbers"])),
    }
    yield (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name} · cello</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f'<style nonce="{nonce}">{_STYLE}</style></head><body><header><h1>{name}</h1><ul class="chips">'
    )
    for fact in ("environment", "state", "gateway", "python", "speedups", "loop"):
        yield f"<li>{_text(about[fact])}</li>"
    yield f'<li>cello {_text(about["cello"])}</li></ul><nav aria-label="Sections">'
    for key, (title, _, _, count) in sections.items():
        yield f'<a href="#{key}">{title} <span class="dim">{count}</span></a>'
    features = ", ".join(about["features"]) or "none"
    yield f'</nav><p class="dim">Switched on: {_text(features)}.</p></header><main>'
    for key, (title, remark, body, _) in sections.items():
        small = f"<small>{remark}</small>" if remark else ""
        yield f'<section id="{key}"><h2>{title}{small}</h2><div class="card">'
        yield "".join(body) or '<p class="empty">None.</p>'
        yield "</div></section>"
    yield "</main><footer>This page appears in debug mode only. Reload it for the present state.</footer></body></html>"


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(head: Iterable[str], rows: list[str]) -> str:
    """Return a table; titles that begin with ">" stand above numbers."""
    if not rows:
        return ""
    cells = "".join(f'<th scope="col" class="{_kind(title)}">{_text(title.removeprefix(">"))}</th>' for title in head)
    return f'<div class="scroll"><table><tr>{cells}</tr>{"".join(rows)}</table></div>'


def _kind(title: str) -> str:
    return "number" if title.startswith(">") else "text"


def _errors(errors: list[Facts]) -> Iterator[str]:
    for number, each in enumerate(errors):
        opened = " open" if number == 0 else ""
        times = f" × {each['times']}" if each["times"] > 1 else ""
        request_id = f", request {_text(each['request_id'])}" if each["request_id"] else ""
        yield (
            f'<details{opened}><summary><span class="down">{_text(each["error"])}</span> <span class="dim what">'
            f"{_text(each['where'])}, {each['when']}{times}{request_id}</span></summary>"
            f"<pre>{_text(each['traceback'])}</pre></details>"
        )


def _checks(checks: list[Facts]) -> Iterator[str]:
    rows = []
    for each in checks:
        details = ", ".join(f"{name}: {value}" for name, value in each["details"].items())
        rows.append(
            f'<tr><td>{_text(each["name"])}</td><td class="{each["status"]}">{each["status"]}</td>'
            f"<td>{_text(each['reason'] or details)}</td>"
            f'<td class="number">{each["duration_ms"]:g} ms</td><td>{"critical" if each["critical"] else ""}</td></tr>'
        )
    yield _table(("Check", "Status", "", ">Took", ""), rows)


def _workers(workers: list[Facts]) -> Iterator[str]:
    rows = [
        f'<tr><td class="number">{each["process"]}</td><td class="number">{_size(each["resident_bytes"])}</td>'
        f'<td class="number">{each["processor_seconds"]:.2f} s</td><td class="number">{each["threads"]}</td>'
        f"<td>{'answered this' if each['answered'] else ''}</td></tr>"
        for each in workers
    ]
    yield _table((">Process", ">Memory", ">Processor", ">Threads", ""), rows)


def _pools(pools: list[Facts]) -> Iterator[str]:
    rows = []
    for each in pools:
        states = ", ".join(f"{_number(value)} {state.replace('_', ' ')}" for state, value in each["states"].items())
        used = sum(value for state, value in each["states"].items() if state != "idle")
        gauge = f'<meter min="0" max="{each["most"]}" value="{used}"></meter>' if each["most"] else ""
        most = "" if each["most"] is None else _number(each["most"])
        rows.append(
            f'<tr><td><code>{_text(each["name"])}</code></td><td>{_text(states)}</td><td class="number">{most}</td>'
            f'<td>{gauge}</td><td class="dim wide">{_text(each["what"])}</td></tr>'
        )
    yield _table(("Pool", "Now", ">Most", "", ""), rows)


def _routes(facts: Facts) -> Iterator[str]:
    for route in facts["routes"]:
        limit = f"body ≤ {_size(route['body_limit_bytes'])}, time ≤ {route['timeout_s'] or '∞'} s"
        remark = "of a feature, " if route["is_builtin"] else ""
        moved = f", moved to the threads {route['moved_to_threads']} times" if route["moved_to_threads"] else ""
        yield (
            f'<details><summary><span class="method">{_text(" ".join(route["methods"]))}</span> '
            f'<code class="path">{_text(route["path"])}</code> '
            f'<span class="dim what">{_text(route["handler"])}, {route["kind"]}</span></summary>'
            f'<p class="dim">{remark}{limit}{moved}; declared at <code>{_text(route["declared"])}</code></p>'
            f"<pre>{_text(chr(10).join(route['plan']))}</pre></details>"
        )
    for prefix in facts["mounts"]:
        yield f'<p class="empty"><span class="method">mount</span> <code>{_text(prefix)}</code></p>'


def _tasks(tasks: list[Facts]) -> Iterator[str]:
    for task in tasks:
        waits = "\n".join(task["waits"])
        yield (
            f"<details><summary>{_text(task['name'])} "
            f'<span class="dim what">{_text(task["what"])}</span></summary><pre>{_text(waits)}</pre></details>'
        )


def _numbers(numbers: list[Facts]) -> Iterator[str]:
    rows = []
    for each in numbers:
        labels = ", ".join(f"{name}={value}" for name, value in each["labels"].items())
        if "value" in each:
            value = _number(each["value"])
        else:
            value = f"{_number(each['count'])}" + (f", mean {each['mean']:.4g}" if each["count"] else "")
        rows.append(
            f'<tr><td><code>{_text(each["name"])}</code></td><td class="mono">{_text(labels)}</td>'
            f'<td class="number">{value}</td></tr>'
        )
    yield _table(("Metric", "Labels", ">Value"), rows)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,.3f}"


def _size(size: int | None) -> str:
    if size is None:
        return "?"
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size:,} B"
