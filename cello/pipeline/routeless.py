"""Answers without a route: 404, 405, OPTIONS, 426, to a path that cannot be decoded, and to what a gateway refuses."""

import inspect
from collections.abc import Iterable

from cello.errors import BadRequest, HTTPError, MethodNotAllowed, NotFound, ProtocolError
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.course import Course, drive_refusing
from cello.pipeline.plan import Plan
from cello.pipeline.run import recovering
from cello.routing.router import Router


class Routeless:
    """What the routes of an application leave unanswered, as handlers.

    Args:
        router: Those routes.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    def allowed(self, path: str) -> list[str]:
        """Return the methods that a path answers to, by routes of either kind."""
        allowed = self._router.allowed(path)
        return [*allowed, "GET"] if "GET" not in allowed and self._router.find_socket("GET", path) else allowed

    def not_allowed(self, request: Request) -> Response:
        """Answer 405, with Allow."""
        allow = ", ".join(_with_implied(self.allowed(request.raw_path)))
        raise MethodNotAllowed(f"{request.method} is not allowed here.", headers={"Allow": allow})

    def options(self, request: Request) -> Response:
        """Answer OPTIONS where no route does."""
        if request.raw_path == "*":  # RFC 9110 §9.3.7: the server as a whole
            methods: Iterable[str] = {method for route in self._router.routes for method in route.methods}
        else:
            methods = self.allowed(request.raw_path)
        response = Response.no_content()
        response.set_header("Allow", ", ".join(_with_implied(methods)))
        return response

    def undecodable(self, request: Request) -> Response:
        """Answer 400 to a path that cannot be decoded."""
        self._router.find(request.method, request.raw_path)  # raises once more, this time to be answered
        raise BadRequest("The path cannot be decoded.")


def not_found(request: Request) -> Response:
    """Answer 404."""
    raise NotFound(f"There is nothing at {request.path:.200}.")


def upgrade(request: Request) -> Response:
    """Tell a request that came to a WebSocket without being a handshake; a gateway takes those before."""
    if request._gateway is None and b"websocket" in (request._head.get(b"upgrade") or b"").lower():
        raise HTTPError(501, "The server in front of this application speaks WSGI, which cannot carry WebSocket.")
    headers = {"Sec-WebSocket-Version": "13"}  # Upgrade and Connection are the server's to add
    raise HTTPError(426, f"{request.path} speaks WebSocket: the request must be its handshake.", headers=headers)


def _with_implied(methods: Iterable[str]) -> list[str]:
    """Return the value of Allow: also what is answered without being registered."""
    named = {*methods, "OPTIONS"}
    return sorted(named | {"HEAD"} if "GET" in named else named)


def refusing(plan: Plan, request: Request, error: ProtocolError | HTTPError) -> Response:
    """Run the refusal plan with `error` in place of a handler."""

    def course() -> Course[Response]:
        depth = 0
        try:
            for depth, step, _ in plan.before:  # noqa: B007  # how far it came counts after the loop
                early = step(request)
                if inspect.iscoroutine(early):
                    early.close()  # nobody can await it here
        except Exception as second:  # noqa: BLE001  # an observer that raises must not keep the refusal from the client
            return (yield from recovering(plan, request, second, depth))
        return (yield from recovering(plan, request, error, plan.depth))

    return drive_refusing(course(), error)
