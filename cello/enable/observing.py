"""What an operator sees: logs, metrics, traces, health, the page about the application."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

from cello.enable.base import Base
from cello.errors import ConfigError
from cello.pipeline.guarding import Guard

if TYPE_CHECKING:
    from cello.extension import Check
    from cello.features.health import HealthCheckConfig
    from cello.features.telemetry.settings import OpenTelemetryConfig


CheckFunction = TypeVar("CheckFunction", bound="Check")


class Observing(Base):
    """What an operator sees: logs, metrics, traces, health, the page about the application."""

    def enable_logging(
        self,
        format: str = "text",
        *,
        headers: Collection[str] = (),
        query: bool = False,
        hidden: Collection[str] = (),
        exclude_paths: Collection[str] = (),
        max_queued: int = 10_000,
    ) -> None:
        """Log one line for every request: time, client, method, path, status, bytes, ms, route, request and trace id.

        Where the program has configured `logging`, lines are records of the logger `cello.access` at INFO, with these
        facts as attributes; elsewhere they go to standard error. A thread of their own writes them.

        Every record that is logged while a request runs, by whomever, carries `request_id`, `trace_id` and `route`.

        Args:
            format: "text" or "json".
            headers: Request headers to log too, such as ["user-agent"]; credentials and cookies are shown as hidden.
            query: Log the query string too; fields that look like secrets are shown as hidden.
            hidden: Names of further headers and query fields whose values are not to be shown.
            exclude_paths: Paths that are not logged, nor what is below them, such as ["/health"].
            max_queued: Lines that may wait for a slow log; beyond, they are dropped and counted.

        Raises:
            ConfigError: An argument is out of range.
        """
        from cello.features.access_log import AccessLog

        self._host.install(
            AccessLog(
                format,
                headers=headers,
                query=query,
                hidden=hidden,
                exclude_paths=exclude_paths,
                max_queued=max_queued,
            )
        )

    def enable_prometheus(
        self,
        endpoint: str = "/metrics",
        namespace: str = "cello",
        subsystem: str = "http",
        *,
        buckets: Sequence[float] | None = None,
        exclude_paths: Collection[str] = (),
        guards: Sequence[Guard] | None = None,
    ) -> None:
        """Count requests and serve the numbers to Prometheus, summed over all workers.

        Args:
            endpoint: Where the numbers are.
            namespace: What the names of all metrics begin with.
            subsystem: What follows in those of requests: `{namespace}_{subsystem}_requests_total` and so on.
            buckets: Upper bounds of the durations, in seconds; None: from 1 ms to 10 s.
            exclude_paths: Paths that are not counted, nor what is below them.
            guards: Who may see the numbers; the application's own guards are not asked.

        Raises:
            ConfigError: An argument cannot be what it is meant to be, or the path is taken.
        """
        from cello.features.prometheus.feature import Prometheus

        self._host.install(
            Prometheus(endpoint, namespace, subsystem, buckets=buckets, exclude_paths=exclude_paths, guards=guards)
        )

    def enable_telemetry(self, config: "OpenTelemetryConfig | None" = None) -> None:
        """Export traces and metrics to an OpenTelemetry collector by OTLP.

        Every request has a server span named after its route, in its caller's trace where it has one (W3C
        `traceparent`, `tracestate`, `baggage`); `http.server.request.duration` and `http.server.active_requests` are
        counted. Database drivers, Redis, brokers and HTTP clients have spans where OpenTelemetry's package for them is
        installed. Log records carry the trace id.

        Args:
            config: What and where to; default: `OpenTelemetryConfig("cello-service")`. The OTEL_* environment
                variables decide what is left at its default.

        Raises:
            MissingDependency: OpenTelemetry's SDK is not installed.
            ConfigError: An environment variable says something impossible.
        """
        from cello.features.telemetry.switch import Telemetry

        self._host.install(Telemetry(config))

    def enable_health_checks(self, config: "HealthCheckConfig | None" = None) -> None:
        """Serve `/health/live`, `/health/ready`, `/health/startup` and `/health`: 200, or 503 when down or draining.

        They ask the checks of enabled features and those of `health_check`, and are behind no guard or limit.

        Args:
            config: Where they are and what they show; default: `HealthCheckConfig()`.

        Raises:
            ConfigError: A path is taken.
        """
        from cello.features.health import Health

        self._host.install(Health(config))

    def health_check(
        self, name: str, *, critical: bool = True, timeout: float | None = None
    ) -> Callable[[CheckFunction], CheckFunction]:
        """Have the health endpoints ask a function, `def` or `async def`, that takes no arguments.

        It is healthy unless it raises or returns False; a mapping that it returns is shown as details.

        Args:
            name: What it is about.
            critical: Whether the worker is not ready while it fails; otherwise it is shown as degraded.
            timeout: Seconds; default: `HealthCheckConfig.timeout_secs`.

        Raises:
            ConfigError: The name is taken, or something is not of its kind.
        """
        if not isinstance(name, str):
            raise ConfigError(f"a health check's name is a string, as in @app.health_check('disk'), not {name!r:.80}")

        def register(function: CheckFunction) -> CheckFunction:
            self._host.add_check(name, function, critical=critical, timeout_s=timeout)
            self._host.declared_checks.append(name)
            return function

        return register

    def enable_inspector(self, path: str = "/_cello", *, allowed_hosts: Collection[str] = ()) -> None:
        """Say where the page about this application is, and who may see it.

        In debug mode it is there without this call, at `/_cello`, for clients on this machine: routes and their plans,
        workers, pools, tasks, health, numbers and recent errors. Outside of debug mode it is never there.

        Args:
            path: Where.
            allowed_hosts: Addresses and networks of further clients, such as "172.17.0.0/16", and host names that the
                page may be asked for under, such as "dev.example.com".

        Raises:
            ConfigError: The path is no plain path, or something is no host.
        """
        from cello.features.inspector.switch import Inspector

        self._host.install(Inspector(path, allowed_hosts))
