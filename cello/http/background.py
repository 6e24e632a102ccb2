"""Work that a handler leaves for after its answer was sent."""

import inspect
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

Task = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Context]


class BackgroundTasks:
    """Calls to make after the response was sent, in order: `response.background = BackgroundTasks()`.

    Plain functions run on a worker thread where there is one, coroutine functions are awaited. One that raises is
    logged and does not keep the others from running. Each runs in a copy of the context (contextvars) that it was added
    in, so what it logs says which request it was for.
    """

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def add_task(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have `function(*args, **kwargs)` called after the response was sent."""
        if not callable(function):
            raise TypeError(f"a background task must be callable, not {function!r:.80}")
        self._tasks.append((function, args, kwargs, copy_context()))

    def pending_count(self) -> int:
        """Return how many calls wait."""
        return len(self._tasks)

    def take(self) -> list[Task]:
        """Return the waiting calls and forget them; for whoever runs them."""
        tasks, self._tasks = self._tasks, []
        return tasks

    def run_all(self) -> None:
        """Call the waiting plain functions now, in order; for tests and scripts.

        Raises:
            TypeError: One of them is a coroutine function; nothing was called.
        """
        for function, *_ in self._tasks:
            if inspect.iscoroutinefunction(function):
                raise TypeError(f"{function!r:.200} must be awaited: attach the tasks to a response instead")
        for function, args, kwargs, context in self.take():
            context.run(function, *args, **kwargs)
