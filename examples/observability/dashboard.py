"""Write dashboard.json, the dashboard for Grafana, from this table of what it shows.

python examples/observability/dashboard.py
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).resolve().parent / "dashboard.json"
RATE = "[$__rate_interval]"
JOB = 'job="$job"'


class Panel(NamedTuple):
    """One picture.

    Attributes:
        title: What it shows.
        unit: Grafana's name of the unit.
        queries: What each line is called → its query; "{{label}}" stands for a label's value.
        kind: Grafana's name of the picture.
        text: What it means, for who looks at it at night.
    """

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    text: str = ""


def quantile(share: float, metric: str, by: str = "") -> str:
    """Return the query of a quantile."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{JOB}}}{RATE})))"


REQUESTS = f"cello_http_requests_total{{{JOB}}}"
ERRORS = f'cello_http_requests_total{{{JOB}, status=~"5.."}}'
DURATION = "cello_http_request_duration_seconds"

ROWS: dict[str, list[Panel]] = {
    "Now": [
        Panel("Requests", "reqps", {"": f"sum(rate({REQUESTS}{RATE}))"}, "stat"),
        Panel("Errors", "percentunit", {"": f"sum(rate({ERRORS}{RATE})) / sum(rate({REQUESTS}{RATE}))"}, "stat"),
        Panel("95 of 100 are faster than", "s", {"": quantile(0.95, DURATION)}, "stat"),
        Panel("Workers", "none", {"": f"sum(cello_workers{{{JOB}}})"}, "stat"),
    ],
    "Requests": [
        Panel("By status", "reqps", {"{{status}}": f"sum by (status) (rate({REQUESTS}{RATE}))"}),
        Panel("By route", "reqps", {"{{route}}": f"sum by (route) (rate({REQUESTS}{RATE}))"}),
        Panel("Durations", "s", {f"{share:.0%}": quantile(share, DURATION) for share in (0.5, 0.95, 0.99)}),
        Panel("The slowest twentieth, by route", "s", {"{{route}}": quantile(0.95, DURATION, "route")}),
        Panel("Under way", "none", {"{{route}}": f"sum by (route) (cello_http_requests_in_progress{{{JOB}}})"}),
        Panel(
            "Bytes",
            "Bps",
            {
                "in": f"sum(rate(cello_http_request_size_bytes_sum{{{JOB}}}{RATE}))",
                "out": f"sum(rate(cello_http_response_size_bytes_sum{{{JOB}}}{RATE}))",
            },
        ),
    ],
    "Workers": [
        Panel("Memory", "bytes", {"all workers": f"sum(cello_worker_resident_bytes{{{JOB}}})"}),
        Panel(
            "Processors in use",
            "none",
            {"all workers": f"sum(rate(cello_worker_processor_seconds_total{{{JOB}}}{RATE}))"},
        ),
        Panel(
            "Threads",
            "none",
            {
                "{{state}}": f"sum by (state) (cello_worker_threads{{{JOB}}})",
                "most": f"sum(cello_worker_threads_max{{{JOB}}})",
                "calls that wait": f"sum(cello_worker_calls_waiting{{{JOB}}})",
            },
            text="Calls that wait: all threads are busy. Raise ThreadPoolConfig.size, or make handlers wait less.",
        ),
        Panel("Shared memory in use", "percentunit", {"{{region}}": f"cello_shared_memory_used_ratio{{{JOB}}}"}),
    ],
    "Databases": [
        Panel(
            "Statements, the slowest twentieth",
            "s",
            {"{{operation}}": quantile(0.95, "cello_database_query_duration_seconds", "operation")},
        ),
        Panel(
            "Connections",
            "none",
            {
                "{{state}}": f"sum by (state) (cello_database_connections{{{JOB}}})",
                "most": f"sum(cello_database_connections_max{{{JOB}}})",
                "statements that wait": f"sum(cello_database_waiting{{{JOB}}})",
            },
        ),
        Panel(
            "Redis, the slowest twentieth",
            "s",
            {"{{command}}": quantile(0.95, "cello_redis_command_duration_seconds", "command")},
        ),
        Panel(
            "GraphQL",
            "ops",
            {
                "{{type}} {{outcome}}": (
                    f"sum by (type, outcome) (rate(cello_graphql_operation_duration_seconds_count{{{JOB}}}{RATE}))"
                )
            },
        ),
    ],
    "Protection": [
        Panel("Cache", "ops", {"{{result}}": f"sum by (result) (rate(cello_cache_requests_total{{{JOB}}}{RATE}))"}),
        Panel(
            "Refused",
            "ops",
            {
                "limit {{limit}}": f"sum by (limit) (rate(cello_rate_limit_refused_total{{{JOB}}}{RATE}))",
                "breaker {{route}}": f"sum by (route) (rate(cello_circuit_breaker_refused_total{{{JOB}}}{RATE}))",
            },
        ),
        Panel(
            "Circuits that are not closed",
            "none",
            {"{{route}} {{state}}": f'cello_circuit_breaker_state{{{JOB}, state!="closed"}}'},
        ),
        Panel(
            "Spans",
            "ops",
            {"{{outcome}}": f"sum by (outcome) (rate(cello_telemetry_spans_total{{{JOB}}}{RATE}))"},
            text="Dropped: the queue was full. Failed: the collector did not take them.",
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row, members in ROWS.items():
        panels.append({"type": "row", "title": row, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}, "panels": []})
        top += 1
        height = 4 if members[0].kind == "stat" else 8
        for number, each in enumerate(members):
            width = 6 if len(members) == 4 else 8
            per_row = 24 // width
            place = {
                "x": number % per_row * width,
                "y": top + number // per_row * height,
                "w": width,
                "h": height,
            }
            panels.append(panel(each, place))
        top += -(-len(members) // (4 if len(members) == 4 else 3)) * height
    for number, found in enumerate(panels, start=1):
        found["id"] = number
    return {
        "title": "cello",
        "uid": "cello",
        "description": "An application of cello: what it answers, what it waits for, what it refuses.",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "editable": True,
        "templating": {"list": [source(), job()]},
        "annotations": {"list": []},
        "panels": panels,
    }


def panel(each: Panel, place: dict[str, int]) -> dict[str, Any]:
    """Return one panel."""
    targets = [
        {"refId": chr(ord("A") + number), "expr": query, "legendFormat": name or "__auto", "datasource": DATASOURCE}
        for number, (name, query) in enumerate(each.queries.items())
    ]
    custom = {"lineWidth": 2, "fillOpacity": 10, "showPoints": "never"} if each.kind == "timeseries" else {}
    return {
        "type": each.kind,
        "title": each.title,
        "description": each.text,
        "gridPos": place,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": {"unit": each.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if each.kind == "timeseries" else {},
        "targets": targets,
    }


DATASOURCE = {"type": "prometheus", "uid": "${source}"}


def source() -> dict[str, Any]:
    """Return the choice of the data source."""
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}


def job() -> dict[str, Any]:
    """Return the choice of the application, by the job that scrapes it."""
    query = "label_values(cello_workers, job)"
    return {
        "name": "job",
        "label": "Application",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "job"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "current": {},
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
