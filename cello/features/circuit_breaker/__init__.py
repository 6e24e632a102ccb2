"""The circuit breaker: a route that keeps failing is given a rest, in all workers at once.

One breaker for each route, by its methods and template, in shared memory; see `machine.py` for its states. A failure is
an answer with one of the failure codes, an exception that became an answer of 500 or above, or an answer that took too
long. The answer's head decides: what a stream does later is not seen.
"""

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from cello.errors import ConfigError, HTTPError, phrase
from cello.extension import Host
from cello.features.circuit_breaker.machine import (
    CLOSED,
    FAILURE,
    HALF_OPEN,
    MOST,
    NAMES,
    NOTHING,
    OPEN,
    SUCCESS,
    Breaker,
    Change,
)
from cello.features.open_paths import OpenPaths
from cello.http.problem import ProblemDetails
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.course import TOOK_TOO_LONG
from cello.pipeline.middleware import PROTECT, Middleware
from cello.routing.router import Route
from cello.shared.layouts import TableLayout

logger = logging.getLogger("cello")

CODES = (500, 502, 503, 504)
Listener = Callable[[str, str, str], object]
_KEY = "circuit_breaker"
_RAISED = "circuit_breaker raised"


class CircuitBreaker(Middleware):
    """The switch. For what the arguments mean see `Switches.enable_circuit_breaker`."""

    name = "circuit_breaker"
    band = PROTECT

    def __init__(
        self,
        failure_threshold: int = 5,
        reset_timeout: Any = 30,
        half_open_target: int = 3,
        failure_codes: Any = None,
        *,
        exclude_paths: Collection[str] = (),
        on_change: Listener | None = None,
    ) -> None:
        self._threshold = _count("failure_threshold", failure_threshold)
        self._target = _count("half_open_target", half_open_target)
        if (
            isinstance(reset_timeout, bool)
            or not isinstance(reset_timeout, int | float)
            or not 0 < reset_timeout <= 86_400
        ):
            raise ConfigError(
                "enable_circuit_breaker: reset_timeout is a number of seconds above 0 and up to 86,400, "
                f"not {reset_timeout!r:.40}"
            )
        self._reset_ms = max(1, int(reset_timeout * 1_000))
        codes = CODES if failure_codes is None else failure_codes
        if isinstance(codes, str | bytes) or not all(isinstance(code, int) and 400 <= code <= 599 for code in codes):
            raise ConfigError(f"enable_circuit_breaker: failure_codes are statuses of 400 to 599, not {codes!r:.80}")
        if on_change is not None and not callable(on_change):
            raise ConfigError(f"enable_circuit_breaker: on_change is a function, not {on_change!r:.80}")
        self._codes = frozenset(codes)
        self._open_paths = OpenPaths("enable_circuit_breaker: exclude_paths", exclude_paths)
        self._on_change = on_change
        self._breakers: dict[Route | None, Breaker] = {}
        self._names: dict[Route | None, str] = {}

    def install(self, host: Host) -> None:
        """Stand around every route."""
        self._region = host.shared.region(self.name, TableLayout(capacity=8_192))
        host.add_middleware(self)
        host.on_start(self._open)
        host.add_check(self.name, self._check, critical=False)
        told = "Changes of circuit breakers, by route, the state before and the state after."
        self._changes = host.metric("counter", "circuit_breaker_changes_total", told, ("route", "before", "after"))
        told = "Requests that were answered 503 because their route rests."
        self._refused = host.metric("counter", "circuit_breaker_refused_total", told, ("route",))
        told = "1 for the state that a route's breaker is in, 0 for the others."
        self._state = host.metric("gauge", "circuit_breaker_state", told, ("route", "state"), of_machine=True)
        self._spans = host.spans
        host.on_collect(self._read)

    def applies_to(self, route: Route | None) -> bool:
        """Surround routes that answer requests."""
        if route is None or route.socket is not None or self._open_paths.covers(route):
            return False
        name = f"{'|'.join(route.methods)} {route.template}"
        self._names[route] = name
        self._breakers[route] = self._opened(name)
        return True

    def before(self, request: Request) -> Response | None:
        """Let a request pass, or answer for a route that rests."""
        breaker = self._breakers[request.route]
        permit = breaker.pass_closed()
        if permit >= 0:
            request.context[_KEY] = permit
            return None
        entry = breaker.enter(time.monotonic_ns() // 1_000_000)
        if entry.change is not None:
            self._tell(request.route, entry.change)
        if entry.permit is not None:
            request.context[_KEY] = entry.permit
            return None
        self._refused.labelled(self._names[request.route]).add()
        self._spans.note("cello.circuit_breaker", "open")
        wait_s = -(-entry.wait_ms // 1_000)
        detail = f"This part of the service is failing and rests; try again in {wait_s} s."
        refusal = ProblemDetails("about:blank", phrase(503), 503, detail).with_extension("error", phrase(503))
        response = refusal.to_response()
        response.headers["Retry-After"] = str(wait_s)
        return response

    def after(self, request: Request, response: Response) -> None:
        """Count what became of a request."""
        permit = request.get_context(_KEY)
        if permit is None:
            return
        raised = request.context.pop(_RAISED, False)
        failed = response.status in self._codes or (raised and response.status >= 500)
        if failed or not self._breakers[request.route].is_unchanged(permit):
            self._leave(request, FAILURE if failed else SUCCESS)

    def on_error(self, request: Request, error: BaseException) -> None:
        """Note that something was raised; a request that is given up ends here."""
        if request.get_context(_KEY) is None:
            return
        if not isinstance(error, Exception):
            self._leave(request, NOTHING)
        elif not isinstance(error, HTTPError) or error.detail == TOOK_TOO_LONG:
            request.context[_RAISED] = True

    def on_abandoned(self, request: Request) -> None:
        """Count a handler that is still at work on its thread when its time is up; what it comes to counts no more."""
        self._leave(request, FAILURE)

    def states(self) -> dict[str, str]:
        """Return each route's state, "closed", "open" or "half-open", by its methods and template."""
        return {self._names[route]: NAMES[breaker.state().kind] for route, breaker in self._breakers.items()}

    def _read(self) -> None:
        for name, state in self.states().items():
            for each in NAMES:
                self._state.labelled(name, each).set(state == each)

    def _leave(self, request: Request, outcome: int) -> None:
        permit = request.context.pop(_KEY, None)
        if permit is None:  # another thread was first: the handler's, or the one that tells its client that it is late
            return
        change = self._breakers[request.route].leave(permit, outcome, time.monotonic_ns() // 1_000_000)
        if change is not None:
            self._tell(request.route, change)

    def _open(self) -> None:
        """Open the breakers that were planned before this process was forked."""
        for route, name in self._names.items():
            self._breakers[route] = self._opened(name)

    def _opened(self, name: str) -> Breaker:
        table = self._region.open()
        index = table.place(name, time.monotonic_ns())
        return Breaker(table.slots, index, self._threshold, self._reset_ms, self._target)

    def _tell(self, route: Route | None, change: Change) -> None:
        """Log and count a change and call the listener, in the worker that made it; its errors are logged."""
        name = self._names[route]
        before, after = (NAMES[kind] for kind in change)
        self._changes.labelled(name, before, after).add()
        level = logging.WARNING if change[1] in (OPEN, HALF_OPEN) else logging.INFO
        logger.log(level, "the circuit breaker of %s is %s, it was %s", name, after, before)
        if self._on_change is None:
            return
        try:
            self._on_change(name, before, after)
        except Exception:
            logger.exception("on_change of the circuit breaker failed")

    async def _check(self) -> dict[str, str]:
        """Show in health which routes are not closed; the worker itself is well."""
        return {name: state for name, state in self.states().items() if state != NAMES[CLOSED]}


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
        raise ConfigError(f"enable_circuit_breaker: {name} is a whole number of 1 to {MOST}, not {value!r:.40}")
    return value
