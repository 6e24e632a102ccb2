"""Health endpoints for load balancers, orchestrators and people.

    GET /health/live      the process answers: restart it when this does not
    GET /health/startup   the application has started and its critical checks have passed once
    GET /health/ready     send it requests: not while it starts or drains, nor while a critical check fails
    GET /health           all of it, with every check

200 or 503. No guard of the application stands before them, nor a limit or a cache: whoever must not see them is kept
away by the network, and what they show is little (`HealthCheckConfig.include_details`).
"""

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cello._version import __version__
from cello.config import config, field
from cello.errors import ConfigError
from cello.extension import Host
from cello.features.health_checks import Examination, Outcome
from cello.features.runtime import Runtime, resident_bytes
from cello.http.response import Response
from cello.pipeline.lifecycle import State
from cello.review import Deployment, Finding

NOT_SERVING = frozenset({State.STARTING, State.DRAINING, State.STOPPING, State.STOPPED, State.FAILED})


@config
class HealthCheckConfig:
    """What the health endpoints do.

    Attributes:
        base_path: Where they are.
        include_details: Show every check, not only the result.
        include_system_info: Show Python, platform, process and memory at the base path.
        version: The application's own version, shown at the base path.
        timeout_secs: Seconds that each check may take.
        cache_secs: Seconds that the outcome of the checks may be reused; None: only for requests at the same time.
    """

    base_path: str = "/health"
    include_details: bool = True
    include_system_info: bool = False
    version: str | None = None
    timeout_secs: float = field(default=5, above=0)
    cache_secs: float | None = field(default=None, above=0)

    def __post_init__(self) -> None:
        if not self.base_path.startswith("/") or self.base_path.endswith("/"):
            raise ConfigError(
                f"HealthCheckConfig.base_path begins with a slash and ends without: {self.base_path!r:.80}"
            )

    @classmethod
    def detailed(cls) -> "HealthCheckConfig":
        """For people: everything is shown."""
        return cls(include_details=True, include_system_info=True)

    @classmethod
    def kubernetes(cls) -> "HealthCheckConfig":
        """For the kubelet's three probes: little text, short limits, and checks at most once a second."""
        return cls(include_details=False, timeout_secs=1, cache_secs=1)


class Health:
    """The four endpoints. For what they mean see `App.enable_health_checks`."""

    name = "health_checks"

    def __init__(self, settings: HealthCheckConfig | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings or HealthCheckConfig()
        self._clock = clock
        self._began_s = clock()
        self._was_ready = False

    def install(self, host: Host) -> None:
        """Add the endpoints; checks may still be added afterwards."""
        self._host = host
        Runtime.install_once(host)
        settings = self._settings
        self._examination = Examination(
            host.checks, timeout_s=settings.timeout_secs, cache_s=settings.cache_secs or 0, clock=self._clock
        )
        base = settings.base_path
        host.add_route(base, self._health, name="health")
        host.add_route(f"{base}/live", self._live, name="health_live")
        host.add_route(f"{base}/ready", self._ready, name="health_ready")
        host.add_route(f"{base}/startup", self._startup, name="health_startup")
        host.on_start(self._start, band=0)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find what tells strangers too much."""
        if deployment.is_production and self._settings.include_system_info:
            yield Finding(
                "warning",
                "health-system-info",
                f"HealthCheckConfig.include_system_info shows {self._settings.base_path}'s readers the machine; it is "
                "behind no guard",
            )

    def _start(self) -> None:
        self._began_s = self._clock()
        self._was_ready = False

    def _live(self) -> Response:
        return _answer(True, {"status": "up"})

    async def _ready(self) -> Response:
        return await self._examine()

    async def _startup(self) -> Response:
        if self._was_ready:
            return _answer(True, {"status": "up"})
        return await self._examine()

    async def _health(self) -> Response:
        return await self._examine(self._about())

    async def _examine(self, about: dict[str, Any] | None = None) -> Response:
        state = self._host.state
        outcomes = await self._examination.outcomes()
        is_up = state not in NOT_SERVING and all(each.is_up for each in outcomes if each.is_critical)
        self._was_ready = self._was_ready or is_up
        body: dict[str, Any] = {"status": _status(is_up, outcomes)}
        if state in NOT_SERVING:
            body["reason"] = str(state)
        if self._settings.include_details and outcomes:
            body["checks"] = {each.name: _shown(each) for each in outcomes}
        return _answer(is_up, {**body, **(about or {})})

    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = {"uptime_seconds": round(self._clock() - self._began_s, 3)}
        if self._settings.version is not None:
            about["version"] = self._settings.version
        if self._settings.include_system_info:
            about["system"] = system_info()
        return about


def system_info() -> dict[str, Any]:
    """Return what machine and process this is; memory where the system tells, in bytes."""
    info: dict[str, Any] = {
        "cello": __version__,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": platform.platform(),
        "process_id": os.getpid(),
        "processors": os.cpu_count(),
        "threads": threading.active_count(),
    }
    if hasattr(os, "getloadavg"):
        info["load_average"] = [round(load, 2) for load in os.getloadavg()]
    if (resident := resident_bytes()) is not None:
        info["resident_bytes"] = resident
    return info


def _status(is_up: bool, outcomes: Sequence[Outcome]) -> str:
    if not is_up:
        return "down"
    return "up" if all(each.is_up for each in outcomes) else "degraded"


def _shown(outcome: Outcome) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "status": "up" if outcome.is_up else "down",
        "critical": outcome.is_critical,
        "duration_ms": outcome.duration_ms,
    }
    if outcome.reason is not None:
        shown["reason"] = outcome.reason
    if outcome.details:
        shown["details"] = outcome.details
    return shown


def _answer(is_up: bool, body: dict[str, Any]) -> Response:
    answer = Response.json(body, 200 if is_up else 503)
    answer.headers["Cache-Control"] = "no-store"
    return answer
