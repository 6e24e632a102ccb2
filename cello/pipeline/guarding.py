"""Guards: may this request pass? Many become one `before` step of the plan.

A guard is called with the request. True or None lets it pass; False is 403; a string is 403 with that message; an
`HTTPError` it raises is the answer. SECURITY: it fails closed: any other exception and any other value denies, and is
logged, because a guard that breaks must not open the door.
"""

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from cello.errors import ConfigError, Forbidden, HTTPError
from cello.http.request import Request
from cello.pipeline.colour import describe, must_be_awaited

logger = logging.getLogger("cello.guards")

Guard = Callable[[Request], Any]

DENIED = "You may not do this."


class Broken(Forbidden):
    """403 because a guard broke. SECURITY: nothing may turn this round, as `Not` does with a refusal."""


class GuardLayer:
    """The guards of one route as a middleware of band GUARDS, in their order: app, blueprints, route."""

    def __init__(self, guards: Iterable[Guard]) -> None:
        self.guards = tuple(guards)
        self.before = self._check_async if any(map(must_be_awaited, self.guards)) else self._check

    def _check(self, request: Request) -> Any:
        for position, guard in enumerate(self.guards):
            verdict = ask(guard, request)
            if verdict is not True and verdict is not None:
                if inspect.isawaitable(verdict):
                    return self._finish(request, verdict, position)
                deny(guard, verdict)
        return None

    async def _check_async(self, request: Request) -> None:
        for guard in self.guards:
            await judge(guard, request)

    async def _finish(self, request: Request, pending: Any, position: int) -> None:
        """Go on where a plain guard handed out an awaitable."""
        await settle(self.guards[position], pending)
        for guard in self.guards[position + 1 :]:
            await judge(guard, request)

    @property
    def title(self) -> str:
        """How `app.explain` names it."""
        return f"guards: {', '.join(describe_guard(guard) for guard in self.guards)}"


def describe_guard(guard: object) -> str:
    """Return a guard as it was written, or its name where it is a function."""
    return describe(guard) if type(guard).__repr__ is object.__repr__ or inspect.isroutine(guard) else repr(guard)


def ask(guard: Guard, request: Request) -> Any:
    """Return what `guard` says, which may be an awaitable; an unexpected exception denies.

    Raises:
        HTTPError: The guard's own answer, or 403.
    """
    try:
        return guard(request)
    except HTTPError:
        raise
    except Exception as error:
        logger.exception("guard %s raised: denied", describe(guard))
        raise Broken(DENIED) from error


async def judge(guard: Guard, request: Request) -> None:
    """Let `request` pass `guard`, whichever colour that has.

    Raises:
        HTTPError: The guard's own answer, or 403.
    """
    await settle(guard, ask(guard, request))


async def settle(guard: Guard, verdict: Any) -> None:
    """Turn what `guard` said, awaited where it must be, into passing or an exception.

    Raises:
        HTTPError: The guard's own answer, or 403.
    """
    if inspect.isawaitable(verdict):
        try:
            verdict = await verdict
        except HTTPError:
            raise
        except Exception as error:
            logger.exception("guard %s raised: denied", describe(guard))
            raise Broken(DENIED) from error
    if verdict is not True and verdict is not None:
        deny(guard, verdict)


def deny(guard: Guard, verdict: Any) -> None:
    """Raise the 403 for a verdict that is neither True nor None.

    Raises:
        Forbidden: Always; with the guard's message if it gave one.
    """
    if isinstance(verdict, str):
        raise Forbidden(verdict)
    if verdict is False:
        raise Forbidden(DENIED)
    logger.error("guard %s returned %.80r, which is neither True nor None: denied", describe(guard), verdict)
    raise Broken(DENIED)


def check_guard(guard: object) -> None:
    """Check that `guard` can be one.

    Raises:
        ConfigError: A class instead of an instance, or nothing that can be called with a request.
    """
    # SECURITY: calling a class makes an object, which would have to be taken for a verdict.
    if inspect.isclass(guard):
        raise ConfigError(f"a guard must be an instance: {guard.__qualname__}(…), not the class itself")
    if not callable(guard):
        raise ConfigError(f"a guard must be callable, not {guard!r:.80}")
    try:
        inspect.signature(guard).bind(None)
    except TypeError:
        raise ConfigError(f"guard {describe(guard)} must take one argument, the request") from None
    except ValueError:  # a built-in without a signature: its call will tell, and deny
        return
