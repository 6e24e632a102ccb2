"""A function of the application that checks credentials, of either colour, and what it says.

Rule 1: None and False refuse; True accepts; anything else accepts and is the user.
Rule 2: a `def` function runs on a worker thread where there is a loop: it may hash passwords or ask a database.
Rule 3: one that raises lets nobody in: its exception is the answer, 500 unless it is an `HTTPError`.
"""

import inspect
from collections.abc import Callable
from typing import Any

from cello.errors import ConfigError
from cello.extension import Host
from cello.pipeline.colour import must_be_awaited
from cello.pipeline.threads import is_on_loop


class Check:
    """A function that says who has certain credentials.

    Args:
        function: Takes the credentials.
        owner: The switch and argument, for messages.

    Attributes:
        is_async: Whether it is an `async def`.

    Raises:
        ConfigError: It is a class.
    """

    def __init__(self, function: Callable[..., Any], owner: str) -> None:
        if inspect.isclass(function):
            raise ConfigError(f"{owner} is the class {function.__qualname__}, not a function")
        self._function = function
        self.is_async = must_be_awaited(function)

    def ask(self, host: Host, *credentials: str) -> Any:
        """Return what the function says, or what is to be awaited for it."""
        if self.is_async or not is_on_loop():
            return self._function(*credentials)
        return self._ask_on_thread(host, credentials)

    async def _ask_on_thread(self, host: Host, credentials: tuple[str, ...]) -> Any:
        verdict = await host.dispatcher.threads.run(self._function, *credentials)
        return await verdict if inspect.isawaitable(verdict) else verdict


def checked(verdict: Any, user: Any) -> Any:
    """Return the user that a verdict stands for, or None; `user` is the one of a mere True."""
    if verdict is None or verdict is False:
        return None
    return user if verdict is True else verdict
