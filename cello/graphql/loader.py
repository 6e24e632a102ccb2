"""DataLoader: many loads of one thing become one load of many things.

What is loaded while one step of a query runs is collected and handed to the batch function at once; each key is loaded
once per request. Outside of a request a loader keeps what it has loaded until `clear`.
"""

import asyncio
import inspect
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from cello.errors import ConfigError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Loads = dict["DataLoader[Any, Any]", "_Load"]
requests: ContextVar[Loads | None] = ContextVar("cello_graphql_loads", default=None)
"""What each loader has loaded for the request that runs in this context."""


class _Load:
    """What one loader has loaded, and what waits to be."""

    __slots__ = ("futures", "waiting")

    def __init__(self) -> None:
        self.futures: dict[Any, asyncio.Future[Any]] = {}
        self.waiting: list[Any] = []


class DataLoader(Generic[K, V]):
    """Loads by key, in batches.

    Args:
        batch_fn: Takes the keys, `def` or `async def`, and returns a value for each in the same order; a value that is
            an exception is raised for its key.
        max_batch_size: Most keys of one call; None: as many as there are.
    """

    def __init__(self, batch_fn: Callable[[list[K]], Any], *, max_batch_size: int | None = None) -> None:
        if not callable(batch_fn):
            raise ConfigError(f"a DataLoader's batch function is a function, not {batch_fn!r:.80}")
        if max_batch_size is not None and (type(max_batch_size) is not int or max_batch_size < 1):
            raise ConfigError(f"max_batch_size is a number from 1 on, not {max_batch_size!r:.80}")
        self._batch_fn = batch_fn
        self._most = max_batch_size
        self._own = _Load()

    def _load(self) -> _Load:
        loads = requests.get()
        return self._own if loads is None else loads.setdefault(self, _Load())

    def load(self, key: K) -> "asyncio.Future[V]":
        """Return what will be the value of `key`; await it. For `async def` resolvers, or returned as it is."""
        load = self._load()
        loop = asyncio.get_running_loop()
        found = load.futures.get(key)
        if found is not None and found.get_loop() is loop:
            return found
        future = load.futures[key] = loop.create_future()
        if not load.waiting:
            loop.call_soon(self._begin, load)
        load.waiting.append(key)
        return future

    async def load_many(self, keys: Iterable[K]) -> list[V]:
        """Return the values of many keys, in their order."""
        return list(await asyncio.gather(*map(self.load, keys)))

    def clear(self, key: K | None = None) -> None:
        """Forget the value of a key, or all."""
        futures = self._load().futures
        if key is None:
            futures.clear()
        else:
            futures.pop(key, None)

    def _begin(self, load: _Load) -> None:
        keys, load.waiting = load.waiting, []
        size = self._most or len(keys)
        for start in range(0, len(keys), size):
            batch = keys[start : start + size]
            futures = [load.futures[key] for key in batch if key in load.futures]
            task = asyncio.ensure_future(self._run(batch[: len(futures)], futures))
            task.add_done_callback(_seen)

    async def _run(self, keys: list[K], futures: "list[asyncio.Future[V]]") -> None:
        try:
            values = self._batch_fn(keys)
            if inspect.isawaitable(values):
                values = await values
            if not isinstance(values, Sequence) or len(values) != len(keys):
                raise TypeError(f"a batch function returns a list with a value for each of the {len(keys)} keys")
        except BaseException as error:
            for future in futures:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # whoever waits has it; where nobody does, nothing is to be said
            raise
        for future, value in zip(futures, values, strict=True):
            if future.done():
                continue
            if isinstance(value, BaseException):
                future.set_exception(value)
                future.exception()
            else:
                future.set_result(value)


def _seen(task: "asyncio.Task[None]") -> None:
    """Take note of a failed batch: its keys' waiters have the error."""
    if not task.cancelled():
        task.exception()
