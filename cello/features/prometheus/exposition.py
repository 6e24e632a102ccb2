"""The two formats that Prometheus reads: text 0.0.4, and OpenMetrics 1.0 for those who ask for it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from cello.http.media import quality
from cello.shared.meter import Family

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}
_TO_ESCAPE = re.compile(r"[\\\"\n]")

Rows = Mapping[tuple[str, ...], Sequence[float]]


def wants_openmetrics(accept: str | None) -> bool:
    """Return whether a scraper prefers OpenMetrics to text; who does not say gets text."""
    if accept is None or "openmetrics" not in accept.lower():
        return False
    openmetrics = quality(accept, "application/openmetrics-text")
    return openmetrics > 0 and openmetrics >= quality(accept, "text/plain")


def escape(text: str) -> str:
    """Return a label value as it stands between quotes."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], text)


def number(value: float) -> str:
    """Return a value: whole numbers without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def lines(name: str, family: Family, rows: Rows, *, openmetrics: bool) -> Iterator[str]:
    """Yield the lines of a metric: what it is, then its rows in order.

    Args:
        name: With its prefix; a counter's ends in `_total`.
        family: What it is.
        rows: Label values → cells.
        openmetrics: In which of the formats.
    """
    title = name.removesuffix("_total") if openmetrics and family.kind == "counter" else name
    text = family.text.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {title} {text}"
    yield f"# TYPE {title} {family.kind}"
    for values, cells in sorted(rows.items()):
        labels = [f'{label}="{escape(value)}"' for label, value in zip(family.labels, values, strict=True)]
        if family.kind == "histogram":
            yield from _histogram(name, labels, family.bounds, cells)
        else:
            yield f"{name}{_braces(labels)} {number(cells[0])}"


def _histogram(name: str, labels: list[str], bounds: Sequence[float], cells: Sequence[float]) -> Iterator[str]:
    count = 0.0
    for bound, cell in zip((*map(repr, map(float, bounds)), "+Inf"), cells, strict=False):
        count += cell
        within = [*labels, f'le="{bound}"']
        yield f"{name}_bucket{_braces(within)} {number(count)}"
    yield f"{name}_sum{_braces(labels)} {number(cells[-1])}"
    yield f"{name}_count{_braces(labels)} {number(count)}"


def _braces(labels: Sequence[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""
