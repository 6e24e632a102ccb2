"""Who is asking: every way to sign in that is switched on, as one layer around every request.

Rule 1: one valid way is enough. A request that offers several is tried with each, in the order of their names; where
all fail the first failure is the answer.
Rule 2: without a valid one the answer is 401, with a challenge of each way (RFC 9110 §11.6.1) — also where there is no
route, so that strangers do not learn what there is.
Rule 3: a way's `skip_paths` take it out of what is demanded there. Where none is demanded, and at endpoints of features
(which have guards of their own), who signs in is known, and who does not is nobody, even with bad credentials.

What identification leaves: `request.context["user"]`, which guards ask for.
"""

import inspect
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from cello.errors import HTTPError, Unauthorized
from cello.extension import Host
from cello.features.open_paths import OpenPaths
from cello.http.request import Request
from cello.pipeline.middleware import IDENTIFY, Middleware
from cello.routing.route import Route

IDENTIFICATION = "cello.identification"
PROVEN = "proven_by_header"
"""Set in a request's memory when it carries a header that no page of another site can have a browser send."""

Outcome = bool | Awaitable[bool]
"""False: no credentials of this kind; True: signed in."""


class Scheme(Protocol):
    """One way to sign in."""

    @property
    def name(self) -> str:
        """The switch's name."""

    @property
    def challenge(self) -> str:
        """What `WWW-Authenticate` says of it."""

    @property
    def open_paths(self) -> OpenPaths:
        """Where it is not demanded."""

    @property
    def security_schemes(self) -> Mapping[str, Mapping[str, Any]]:
        """What OpenAPI says of it."""

    @property
    def is_async(self) -> bool:
        """Whether `identify` always hands out awaitables, so that plans had better know."""

    def identify(self, request: Request) -> Outcome:
        """Look for credentials of this kind, and sign the user in by them.

        Raises:
            HTTPError: They are not valid (401), or cannot be checked now (503).
        """


class Identification(Middleware):
    """The ways to sign in of one application."""

    band = IDENTIFY
    may_wait = True

    def __init__(self) -> None:
        self._schemes: tuple[Scheme, ...] = ()
        self._demands: dict[Route, bool] = {}

    @classmethod
    def add(cls, host: Host, scheme: Scheme) -> None:
        """Have clients sign in by `scheme` too."""
        found: Identification | None = host.resource(IDENTIFICATION)
        if found is None:
            host.provide(IDENTIFICATION, found := cls())
            host.add_middleware(found)
        found._schemes = tuple(sorted((*found._schemes, scheme), key=lambda each: each.name))
        if scheme.is_async:
            found.before = found._before_async  # type: ignore[method-assign]  # of the other colour
        for name, described in scheme.security_schemes.items():
            host.add_security_scheme(
                name, described, lambda route: not route.is_builtin and not scheme.open_paths.covers(route)
            )

    @property
    def title(self) -> str:
        """How `app.explain` names it."""
        return f"identification: {', '.join(scheme.name for scheme in self._schemes)}"

    def before(self, request: Request) -> Awaitable[None] | None:
        """Sign the user in, or refuse.

        Raises:
            HTTPError: Nobody is signed in where somebody must be.
        """
        return self._ask(request, 0, None)

    async def _before_async(self, request: Request) -> None:
        pending = self._ask(request, 0, None)
        if pending is not None:
            await pending

    def _ask(self, request: Request, start: int, refusal: HTTPError | None) -> Awaitable[None] | None:
        schemes = self._schemes
        for position in range(start, len(schemes)):
            try:
                outcome = schemes[position].identify(request)
            except HTTPError as error:
                refusal = refusal or error
                continue
            if outcome is True:
                return None
            if outcome is not False:
                return self._ask_later(request, position, outcome, refusal)
        if self._is_demanded(request):
            raise refusal or self._challenge()
        return None

    async def _ask_later(
        self, request: Request, position: int, pending: Awaitable[bool], refusal: HTTPError | None
    ) -> None:
        try:
            if await pending:
                return
        except HTTPError as error:
            refusal = refusal or error
        rest = self._ask(request, position + 1, refusal)
        if inspect.isawaitable(rest):
            await rest

    def _is_demanded(self, request: Request) -> bool:
        route = request.route
        if route is None:
            return any(not scheme.open_paths.has(request.path) for scheme in self._schemes)
        demanded = self._demands.get(route)
        if demanded is None:
            demanded = not route.is_builtin and any(not scheme.open_paths.covers(route) for scheme in self._schemes)
            self._demands[route] = demanded
        return demanded

    def _challenge(self) -> Unauthorized:
        challenges = ", ".join(dict.fromkeys(scheme.challenge for scheme in self._schemes))
        return Unauthorized("Sign in first.", headers={"WWW-Authenticate": challenges})


def sign_in(request: Request, user: Any, *, by_header: bool) -> None:
    """Note who is asking.

    Args:
        by_header: The proof was in a header that browsers do not add on their own, so nobody tricked one into asking.
    """
    request.context["user"] = user
    if by_header:
        request._remember()[PROVEN] = True
