"""Who may call: guards as OpenAPI security requirements, and the schemes they refer to.

A guard that wants a user (`Authenticated`, `Role`, `Permission`) accepts every scheme that the application has:
features that identify users register theirs, and `enable_openapi(security_schemes=…)` names others. Where there is
none, it is what the guard says in `WWW-Authenticate`. Roles and permissions stand beside it, as OpenAPI 3.1 allows.
A guard of your own may carry `security_schemes`, name → Security Scheme Object; any other says nothing but 403.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from cello.guards import And, Authenticated, Not, Or, Permission, Role
from cello.routing.route import Route

Schemes = Mapping[str, Mapping[str, Any]]
Requirement = dict[str, list[str]]
"""What one request must carry: every scheme in it."""


class Security:
    """Reads guards, and collects the schemes that they mention.

    Args:
        known: The schemes by which the application identifies users.
        wanted: Names those of which a route wants one, whatever its guards say.
    """

    def __init__(self, known: Schemes, wanted: Callable[[Route], Sequence[str]] = lambda route: ()) -> None:
        self.known = dict(known)
        self._wanted = wanted
        self.mentioned: dict[str, Mapping[str, Any]] = {}

    def requirements(self, guards: Iterable[Any], route: Route | None = None) -> list[Requirement]:
        """Return the alternatives that let a request pass all of `guards`; none where they say nothing."""
        wanted = () if route is None else self._wanted(route)
        found = _all_of([self._alternatives(guard) for guard in guards])
        if wanted and not any(scheme in choice for choice in found for scheme in wanted):
            found = _all_of([self._any_of({name: self.known[name] for name in wanted}, []), found])
        return [] if found == [{}] else found

    def wants_sign_in(self, route: Route) -> bool:
        """Return whether `route` is answered 401 to who does not sign in, whatever its guards say."""
        return bool(self._wanted(route))

    def wants_user(self, guards: Iterable[Any]) -> bool:
        """Return whether a request without a user is answered 401."""
        return any(
            isinstance(guard, Authenticated | Role | Permission)
            or bool(getattr(guard, "security_schemes", None))
            or (isinstance(guard, And | Or) and self.wants_user(guard.guards))
            for guard in guards
        )

    def _alternatives(self, guard: Any) -> list[Requirement]:
        own = getattr(guard, "security_schemes", None)
        if own:
            return self._any_of(own, [])
        if isinstance(guard, Authenticated):
            return self._any_of(self.known or _http_scheme(guard.scheme), [])
        if isinstance(guard, Role | Permission):
            return self._any_of(self.known or _http_scheme("Bearer"), sorted(guard.wanted))
        if isinstance(guard, And):
            return _all_of([self._alternatives(member) for member in guard.guards])
        if isinstance(guard, Or):
            return _unique(choice for member in guard.guards for choice in self._alternatives(member))
        return [{}]

    def _any_of(self, schemes: Schemes, names: list[str]) -> list[Requirement]:
        self.mentioned.update(schemes)
        return [{scheme: list(names)} for scheme in schemes]


def describe_guards(guards: Iterable[Any]) -> list[str]:
    """Return what roles and permissions `guards` ask for, a sentence each."""
    said: list[str] = []
    for guard in guards:
        if isinstance(guard, Role | Permission):
            joined = (" and " if guard.all_of_them else " or ").join(f"`{name}`" for name in sorted(guard.wanted))
            said.append(f"Requires {guard.word}: {joined}.")
        elif isinstance(guard, And):
            said.extend(describe_guards(guard.guards))
        elif isinstance(guard, Not):
            continue
    return said


def _http_scheme(scheme: str) -> dict[str, dict[str, Any]]:
    """Return the scheme that a `WWW-Authenticate` field names, by a name for it: "bearerAuth"."""
    word = scheme.split()[0].lower() if scheme.split() else "bearer"
    return {f"{word}Auth": {"type": "http", "scheme": word}}


def _all_of(groups: Sequence[list[Requirement]]) -> list[Requirement]:
    """Return every way to satisfy one alternative of each group."""
    return _unique(_merged(choice) for choice in product(*groups))


def _merged(parts: Iterable[Requirement]) -> Requirement:
    merged: Requirement = {}
    for part in parts:
        for scheme, names in part.items():
            merged[scheme] = sorted({*merged.get(scheme, ()), *names})
    return merged


def _unique(requirements: Iterable[Requirement]) -> list[Requirement]:
    """Return `requirements` without repetitions."""
    listed: list[Requirement] = []
    for requirement in requirements:
        if requirement not in listed:
            listed.append(requirement)
    return listed
