"""What a feature is, and all that it may touch.

A feature (CORS, metrics, a database …) is an object with a name and one method, `install(host)`. The host is the
application seen through this protocol; what a feature needs and `Host` lacks is a change to `Host`, never an import.
Features do not know each other: what one provides by name, another takes by name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cello.config import LimitsConfig, TimeoutConfig
from cello.pipeline.guarding import Guard
from cello.pipeline.lifecycle import State
from cello.routing.router import Route

if TYPE_CHECKING:
    from cello.pipeline.dispatch import Dispatcher
    from cello.shared.meter import Meter, Metric
    from cello.shared.regions import Shared
    from cello.spans import Spans

Check = Callable[[], object]
"""A health check, `def` or `async def`: healthy unless it raises or returns False; a mapping is shown as details."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A check that was added.

    Attributes:
        name: What it is about.
        run: Called without arguments.
        is_critical: Whether the worker is not ready while it fails.
        timeout_s: How long it may take; None: what the health endpoints allow.
    """

    name: str
    run: Check
    is_critical: bool = True
    timeout_s: float | None = None


class Host(Protocol):
    """The application as its features see it."""

    @property
    def app(self) -> Any:
        """What `request.app` is."""

    @property
    def limits(self) -> LimitsConfig:
        """What one connection and one request may use; final once the application starts."""

    @property
    def timeouts(self) -> TimeoutConfig:
        """How long the server waits; final once the application starts."""

    @property
    def dispatcher(self) -> "Dispatcher":
        """What answers requests; there once the application has started."""

    def add_route(
        self,
        path: str,
        handler: Callable[..., Any],
        *,
        methods: Iterable[str] = ("GET",),
        guards: Sequence[Guard] | None = None,
        name: str | None = None,
        is_builtin: bool = True,
    ) -> None:
        """Serve an endpoint of the feature's own (`Route.is_builtin`): only its own guards, no limits, no caching.

        With `is_builtin=False` it is like a route of the application's, but for not being in the OpenAPI document.
        """

    def add_websocket(
        self, path: str, handler: Callable[..., Any], *, subprotocols: Sequence[str] = (), name: str | None = None
    ) -> None:
        """Serve WebSockets, like a route of the application's."""

    def add_middleware(self, middleware: object, *, band: int | None = None) -> None:
        """Surround every request, in the middleware's own band or in `band` (`cello.pipeline.middleware`)."""

    def keep_loop_free(self) -> None:
        """Have `def` handlers run on worker threads from their first call, as they will wait for the loop there.

        Routes that say `blocking=False` stay as they are.
        """

    def on_start(self, hook: Callable[[], Any], *, band: int = 30) -> None:
        """Run `hook` when a worker starts, after its fork; lower bands first, the application's own hooks at 50."""

    def on_stop(self, hook: Callable[[], Any], *, band: int = 30) -> None:
        """Run `hook` when a worker stops; higher bands first."""

    def on_drain(self, hook: Callable[[], None]) -> None:
        """Call `hook`, which must not wait, when the worker begins to drain; not every host says so."""

    def provide(self, name: str, resource: object) -> None:
        """Make `resource` available to handlers as `Depends(name)` and to other features by `resource(name)`."""

    def resource(self, name: str) -> Any:
        """Return what was provided under `name`, or None."""

    def routes(self) -> Sequence[Route]:
        """Return every route, blueprints and endpoints of features included, in order of registration."""

    def mounts(self) -> Sequence[str]:
        """Return the prefixes of other applications that were mounted."""

    def guards(self) -> Sequence[Guard]:
        """Return the guards of every route that is not a feature's endpoint."""

    def add_security_scheme(
        self, name: str, scheme: Mapping[str, Any], wanted: Callable[[Route], bool] | None = None
    ) -> None:
        """Say how clients may sign in, as an OpenAPI Security Scheme Object; for features that identify users.

        `wanted(route)` says which routes are refused to who signs in by none of the schemes that are wanted there.
        """

    def wanted_schemes(self, route: Route) -> Sequence[str]:
        """Return the schemes of which a request to `route` must satisfy one, whatever its guards say."""

    def security_schemes(self) -> Mapping[str, Mapping[str, Any]]:
        """Return all of them by name."""

    @property
    def state(self) -> State:
        """Where the application is in its life."""

    def add_check(self, name: str, check: Check, *, critical: bool = True, timeout_s: float | None = None) -> None:
        """Have health checks ask `check`; a failing critical one makes the worker not ready."""

    def checks(self) -> Sequence[HealthCheck]:
        """Return all that were added."""

    def metric(
        self,
        kind: str,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        bounds: Sequence[float] | None = None,
        *,
        of_machine: bool = False,
    ) -> "Metric":
        """Return a metric to count in: a "counter", a "gauge" or a "histogram" (`cello.shared.meter`).

        Whoever exports metrics adds a prefix to the name, such as "cache_requests_total", and sums it over all workers;
        where nobody does, counting costs next to nothing.

        Args:
            kind: Which of the three.
            name: Of letters, digits and underscores; a counter's ends in `_total`, and units are words of it, such as
                `_seconds` and `_bytes`.
            text: What it says, for people.
            labels: The names of its labels. SECURITY: no label has values that clients choose.
            bounds: Of a histogram: the upper bounds of its buckets; None for those of durations in seconds.
            of_machine: All workers see the same number, as with shared memory: it is not summed.
        """

    def on_collect(self, reader: Callable[[], object]) -> None:
        """Call `reader` in each worker when numbers are about to be read: for states, such as how full a pool is.

        It sets gauges (`Row.set`) and brings counters up to what was counted elsewhere (`Row.follow`), on any thread
        and without waiting. Where nobody exports metrics it is never called.
        """

    @property
    def spans(self) -> "Spans":
        """Where spans go (`cello.spans`): to whoever exports them, else nowhere at next to no cost."""

    @property
    def meter(self) -> "Meter":
        """All metrics that features count, for those that export them."""

    @property
    def shared(self) -> "Shared":
        """Memory that all workers have in common: `shared.region(name, layout)` now, `open()` it on start."""


class Feature(Protocol):
    """Something an application can switch on, once. It may be `cello.review.Reviewed` too."""

    @property
    def name(self) -> str:
        """The switch's name, as in `enable_<name>`."""

    def install(self, host: Host) -> None:
        """Add what the feature consists of; called once, before the application freezes."""
