"""Guards: who may pass. `@app.get("/admin", guards=[Role(["admin"])])`, on a blueprint, or `app.add_guard(...)`.

A guard is called with the request. True or None lets it pass; False is 403; a string is 403 with that message; it may
raise `GuardError` or any `HTTPError`. `async def` guards are awaited. SECURITY: anything else denies, an unexpected
exception too. The user is what identification left in `request.context["user"]`, a dict or an object.

    from cello.guards import Authenticated, Not, Or, Role

    @app.delete("/posts/{id}", guards=[Authenticated(), Or(Role(["editor"]), is_author)])
    def delete_post(request): ...
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from cello.errors import ConfigError, Forbidden, HTTPError, Unauthorized
from cello.http.request import Request
from cello.pipeline.colour import describe
from cello.pipeline.guarding import Broken, ask, check_guard, deny, describe_guard, judge, settle

__all__ = [
    "And",
    "AndGuard",
    "Authenticated",
    "AuthenticatedGuard",
    "ForbiddenError",
    "Guard",
    "GuardError",
    "Not",
    "NotGuard",
    "Or",
    "OrGuard",
    "Permission",
    "PermissionGuard",
    "Role",
    "RoleGuard",
    "UnauthorizedError",
    "constant_time_compare",
    "verify_guards",
    "verify_guards_async",
]

AnyGuard = Callable[[Request], Any]


class GuardError(HTTPError):
    """A guard's refusal with a message for the client and a status of its own."""

    def __init__(self, message: str = "Forbidden", status_code: int = 403) -> None:
        # By name: in the children below, the next class takes the detail first.
        HTTPError.__init__(self, status_code, message)
        self.message = message
        self.status_code = status_code


class ForbiddenError(GuardError, Forbidden):
    """403 with a message."""

    def __init__(self, message: str = "Forbidden") -> None:
        GuardError.__init__(self, message, 403)


class UnauthorizedError(GuardError, Unauthorized):
    """401 with a message; the answer carries `WWW-Authenticate`."""

    def __init__(self, message: str = "Authentication required", scheme: str = "Bearer") -> None:
        GuardError.__init__(self, message, 401)
        self.headers["WWW-Authenticate"] = scheme


class Guard:
    """Base of guard classes: override `check`, as `def` or `async def`. An `async def __call__` works as well."""

    def __call__(self, request: Request) -> Any:
        """Return the verdict of `check`."""
        return self.check(request)

    def check(self, request: Request) -> Any:
        """Return True or None to let the request pass, False or a message to refuse it.

        Raises:
            NotImplementedError: A subclass did not override it; the request is refused.
        """
        raise NotImplementedError(f"{type(self).__qualname__}.check(request) is not written")

    def __and__(self, other: AnyGuard) -> "And":
        return And(self, other)

    def __or__(self, other: AnyGuard) -> "Or":
        return Or(self, other)

    def __invert__(self) -> "Not":
        return Not(self)


class Authenticated(Guard):
    """Somebody is signed in: `request.context[user_key]` is there; else 401.

    Args:
        user_key: Where identification leaves the user.
        scheme: What `WWW-Authenticate` names.
    """

    def __init__(self, user_key: str = "user", *, scheme: str = "Bearer") -> None:
        self.user_key = user_key
        self.scheme = scheme

    def check(self, request: Request) -> bool:
        """Pass when there is a user.

        Raises:
            UnauthorizedError: There is none.
        """
        _user(request, self.user_key, self.scheme)
        return True

    def __repr__(self) -> str:
        return f"Authenticated({self.user_key!r})"


class _Holds(Guard):
    """The user has some or all of certain names in a list of theirs; 401 without a user, else 403."""

    word = ""

    def __init__(self, wanted: str | Iterable[str], *, all_of_them: bool, user_key: str, key: str) -> None:
        names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        if not names or not all(isinstance(name, str) for name in names):
            # SECURITY: all of no permissions would be held by everybody.
            raise ConfigError(f"{type(self).__name__} needs at least one {self.word}, as strings, not {wanted!r:.80}")
        self.wanted = frozenset(names)
        self.all_of_them = all_of_them
        self.user_key = user_key
        self.key = key

    def check(self, request: Request) -> bool | str:
        """Pass when the user holds what is wanted.

        Raises:
            UnauthorizedError: There is no user.
        """
        held = _names(_user(request, self.user_key, "Bearer"), self.key)
        enough = self.wanted <= held if self.all_of_them else not self.wanted.isdisjoint(held)
        return enough or f"Requires {self.word}: {(' and ' if self.all_of_them else ' or ').join(sorted(self.wanted))}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({sorted(self.wanted)})"


class Role(_Holds):
    """The user has one of `roles`, or all with `require_all`; 401 without a user, else 403.

    Args:
        roles: One name or several.
        require_all: Whether one is not enough.
        user_key: Where identification leaves the user.
        role_key: The user's member with their roles: a list, or one name.
    """

    word = "role"

    def __init__(
        self, roles: str | Iterable[str], require_all: bool = False, user_key: str = "user", role_key: str = "roles"
    ) -> None:
        super().__init__(roles, all_of_them=require_all, user_key=user_key, key=role_key)


class Permission(_Holds):
    """The user has all of `permissions`, or one without `require_all`; 401 without a user, else 403.

    Args:
        permissions: One name or several.
        require_all: Whether one is not enough.
        user_key: Where identification leaves the user.
        perm_key: The user's member with their permissions: a list, or one name.
    """

    word = "permission"

    def __init__(
        self,
        permissions: str | Iterable[str],
        require_all: bool = True,
        user_key: str = "user",
        perm_key: str = "permissions",
    ) -> None:
        super().__init__(permissions, all_of_them=require_all, user_key=user_key, key=perm_key)


class _Combined(Guard):
    """Several guards in one; a coroutine comes out where one of them must be awaited."""

    def __init__(self, *guards: AnyGuard | Sequence[AnyGuard]) -> None:
        flat: list[Any] = []
        for guard in guards:
            flat.extend(guard if isinstance(guard, list | tuple) else [guard])
        if not flat:
            raise ConfigError(f"{type(self).__name__} needs at least one guard")
        for guard in flat:
            check_guard(guard)
        self.guards: tuple[AnyGuard, ...] = tuple(flat)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(describe_guard(guard) for guard in self.guards)})"


class And(_Combined):
    """Every guard lets pass; the first refusal is the answer, and the rest are not asked."""

    def check(self, request: Request) -> Any:
        """Pass when all do.

        Raises:
            HTTPError: The first refusal.
        """
        for position, guard in enumerate(self.guards):
            verdict = ask(guard, request)
            if inspect.isawaitable(verdict):
                return self._rest(request, verdict, position)
            _require(guard, verdict)
        return True

    async def _rest(self, request: Request, pending: Awaitable[Any], position: int) -> bool:
        await settle(self.guards[position], pending)
        for guard in self.guards[position + 1 :]:
            await judge(guard, request)
        return True


class Or(_Combined):
    """One guard lets pass, and the rest are not asked; if none does, the last refusal is the answer."""

    def check(self, request: Request) -> Any:
        """Pass when one does.

        Raises:
            HTTPError: The last refusal.
        """
        refusal: HTTPError | None = None
        for position, guard in enumerate(self.guards):
            try:
                verdict = ask(guard, request)
                if inspect.isawaitable(verdict):
                    return self._rest(request, verdict, position, refusal)
                _require(guard, verdict)
            except HTTPError as error:
                refusal = _weightier(refusal, error)
            else:
                return True
        raise refusal or Forbidden()

    async def _rest(self, request: Request, pending: Awaitable[Any], position: int, refusal: HTTPError | None) -> bool:
        for number, guard in enumerate(self.guards[position:]):
            try:
                await (settle(guard, pending) if number == 0 else judge(guard, request))
            except HTTPError as error:
                refusal = _weightier(refusal, error)
            else:
                return True
        raise refusal or Forbidden()


def _weightier(first: HTTPError | None, second: HTTPError) -> HTTPError:
    """Return the refusal to go on with: the later one, but never one that hides a broken guard."""
    return first if isinstance(first, Broken) else second


class Not(Guard):
    """The guard refuses, as a guard does: with False, a string, or a 4xx; a guard that breaks refuses both ways.

    Args:
        guard: The guard to turn round.
        message: What the client is told.
    """

    def __init__(self, guard: AnyGuard, message: str = "You may not do this.") -> None:
        check_guard(guard)
        self.guard = guard
        self.message = message

    def check(self, request: Request) -> Any:
        """Pass when the guard does not.

        Raises:
            ForbiddenError: The guard passes, or breaks.
        """
        try:
            verdict = self.guard(request)
        except HTTPError as error:
            return self._turned(error)
        # SECURITY: a guard that raises anything else has not refused: it is broken, and `GuardLayer` denies.
        if inspect.isawaitable(verdict):
            return self._rest(verdict)
        return self._turned(verdict)

    async def _rest(self, pending: Awaitable[Any]) -> Any:
        try:
            verdict = await pending
        except HTTPError as error:
            return self._turned(error)
        return self._turned(verdict)

    def _turned(self, verdict: Any) -> Any:
        refuses = verdict is False or isinstance(verdict, str)
        if isinstance(verdict, HTTPError):
            refuses = verdict.status < 500 and not isinstance(verdict, Broken)
        return True if refuses else self.message

    def __repr__(self) -> str:
        return f"Not({describe_guard(self.guard)})"


AuthenticatedGuard = Authenticated
RoleGuard = Role
PermissionGuard = Permission
AndGuard = And
OrGuard = Or
NotGuard = Not


def verify_guards(guards: Iterable[AnyGuard], request: Request) -> None:
    """Ask `guards` about `request`, in order, for code that guards something itself.

    Raises:
        HTTPError: The first refusal.
        TypeError: One of them is async: use `verify_guards_async`. SECURITY: raised, not returned as something to be
            awaited, because a forgotten `await` would let everybody pass.
    """
    for guard in guards:
        verdict = ask(guard, request)
        if inspect.isawaitable(verdict):
            if inspect.iscoroutine(verdict):
                verdict.close()
            raise TypeError(f"guard {describe(guard)} is async: await verify_guards_async(guards, request)")
        _require(guard, verdict)


async def verify_guards_async(guards: Iterable[AnyGuard], request: Request) -> None:
    """Ask `guards` of either colour about `request`, in order.

    Raises:
        HTTPError: The first refusal.
    """
    for guard in guards:
        await judge(guard, request)


def constant_time_compare(a: str | bytes, b: str | bytes) -> bool:
    """Return whether two secrets are equal, in a time that does not tell where they differ."""
    import hmac  # brings hashlib and OpenSSL, which few applications need

    left = a.encode() if isinstance(a, str) else a
    right = b.encode() if isinstance(b, str) else b
    return hmac.compare_digest(left, right)


def _require(guard: AnyGuard, verdict: Any) -> None:
    if verdict is not True and verdict is not None:
        deny(guard, verdict)


def _user(request: Request, key: str, scheme: str) -> Any:
    """Return the user, whatever it is.

    Raises:
        UnauthorizedError: There is none.
    """
    user = request.context.get(key)
    if user is None or user is False:
        raise UnauthorizedError(scheme=scheme)
    return user


def _names(user: Any, key: str) -> frozenset[str]:
    """Return the strings under `key` of a user, a dict or an object; none when it has no such list."""
    held = user.get(key) if isinstance(user, Mapping) else getattr(user, key, None)
    if isinstance(held, str):
        return frozenset((held,))
    return frozenset(held) if isinstance(held, Iterable) else frozenset()
