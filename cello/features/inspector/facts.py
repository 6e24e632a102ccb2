"""What the page says, as plain data: also what clients get that prefer JSON.

SECURITY: no values of variables, no headers, no queries, no secrets of settings. Errors have their traceback, without
values.
"""

import asyncio
import platform
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from cello import _speedups
from cello._version import __version__
from cello.extension import Host
from cello.features.health_checks import Outcome
from cello.features.inspector.workers import workers
from cello.http.request import Request
from cello.pipeline.debug_page import summary
from cello.routing.route import Route
from cello.serve.diagnosis import waiting_frames
from cello.shared.meter import Metric

MOST_ERRORS = 50
MOST_TASKS = 200
MOST_NUMBERS = 500
MOST_CHARACTERS = 20_000


class RecentErrors:
    """The errors that became a 500 in this worker; the same one again counts up."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def note(self, request: Request, error: BaseException) -> None:
        """Keep an error, in words."""
        text = "".join(traceback.format_exception(error))[-MOST_CHARACTERS:]
        route: Route | None = request.route
        where = f"{request.method} {request.path if route is None else route.template}"
        seen = self._seen.pop(f"{where}\n{text}", None) or {"times": 0}
        seen.update(
            when=time.strftime("%H:%M:%S"),
            where=where,
            error=summary(error)[:500],
            traceback=text,
            request_id=str(request.request_id),
            times=seen["times"] + 1,
        )
        self._seen[f"{where}\n{text}"] = seen
        if len(self._seen) > MOST_ERRORS:
            self._seen.popitem(last=False)

    def latest(self) -> list[dict[str, Any]]:
        """Return them, the latest first."""
        return list(reversed(self._seen.values()))


def gather(host: Host, outcomes: list[Outcome], errors: RecentErrors, features: list[str]) -> dict[str, Any]:
    """Return everything that the page says; call it on the loop that serves.

    Args:
        host: The application.
        outcomes: What its health checks say.
        errors: What went wrong lately.
        features: The names of those that are switched on.
    """
    totals = host.meter.totals()
    return {
        "application": _application(host, features),
        "workers": workers(host.shared.origin()),
        "pools": list(_pools(host.meter.metrics, totals)),
        "checks": [_check(outcome) for outcome in outcomes],
        "errors": errors.latest(),
        "routes": [_route(host, route) for route in sorted(host.routes(), key=_is_builtin)],
        "mounts": list(host.mounts()),
        "tasks": _tasks(),
        "numbers": _numbers(host.meter.metrics, totals),
    }


def _application(host: Host, features: list[str]) -> dict[str, Any]:
    app = host.app
    return {
        "name": app.name,
        "environment": app.env,
        "state": str(host.state),
        "gateway": _gateway(app),
        "cello": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "speedups": "compiled" if _speedups.enabled else "pure Python",
        "loop": type(asyncio.get_running_loop()).__module__,
        "features": features,
    }


def _gateway(app: Any) -> str:
    if app.urls:
        return "cello's own server"
    served_by = [name.upper() for name in ("wsgi", "asgi") if name in vars(app)]
    return " and ".join(served_by) or "cello's own server"


def _is_builtin(route: Route) -> bool:
    return route.is_builtin


def _route(host: Host, route: Route) -> dict[str, Any]:
    plan = host.dispatcher.plan_of(route)
    kind = "async" if plan.is_async else "def, on threads" if plan.offload.on_thread else "def"
    return {
        "methods": list(route.methods) if route.socket is None else ["WebSocket"],
        "path": route.pattern.path,
        "name": route.name,
        "handler": f"{route.handler.__module__}.{getattr(route.handler, '__qualname__', type(route.handler).__name__)}",
        "declared": route.place,
        "kind": kind,
        "is_builtin": route.is_builtin,
        "body_limit_bytes": plan.body_limit_bytes,
        "timeout_s": plan.timeout_s,
        "moved_to_threads": plan.offload.moves,
        "plan": list(plan.outline),
    }


def _pools(metrics: dict[str, Metric], totals: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pools among the metrics: gauges by `state`, with the most there may be as `…_max`."""
    for name, metric in metrics.items():
        rows = totals.get(name)
        if rows and metric.family.kind == "gauge" and metric.family.labels == ("state",):
            most = totals.get(f"{name}_max", {}).get(())
            yield {
                "name": name,
                "what": metric.family.text,
                "states": {values[0]: cells[0] for values, cells in sorted(rows.items())},
                "most": None if most is None else most[0],
            }


def _numbers(metrics: dict[str, Metric], totals: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        family = metric.family
        for values, cells in sorted(totals.get(name, {}).items()):
            number: dict[str, Any] = {
                "name": name.removeprefix("http: "),
                "labels": dict(zip(family.labels, values, strict=True)),
            }
            if family.kind == "histogram":
                count = sum(cells[:-1])
                number |= {"count": count, "mean": cells[-1] / count if count else None}
            else:
                number |= {"value": cells[0]}
            found.append(number)
    return found[:MOST_NUMBERS]


def _check(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "status": "up" if outcome.is_up else "down",
        "critical": outcome.is_critical,
        "duration_ms": outcome.duration_ms,
        "reason": outcome.reason,
        "details": {str(name): str(value) for name, value in outcome.details.items()},
    }


def _tasks() -> list[dict[str, Any]]:
    """Return the tasks of the running loop, and where each waits."""
    current = asyncio.current_task()
    tasks = sorted(asyncio.all_tasks() - {current}, key=lambda task: task.get_name())
    return [_task(task) for task in tasks[:MOST_TASKS]]


def _task(task: "asyncio.Task[Any]") -> dict[str, Any]:
    coroutine = task.get_coro()
    frames = list(waiting_frames(coroutine))
    return {
        "name": task.get_name(),
        "what": getattr(coroutine, "__qualname__", type(coroutine).__name__),
        "waits": [f"{frame.f_code.co_qualname}, {frame.f_code.co_filename}:{frame.f_lineno}" for frame in frames[-4:]],
    }
