"""Single requests of one kind, sent ten at a time: what SQS charges and answers by request costs a tenth.

add ──▶ pending ──(ten are there, or a moment has passed)──▶ one request ──▶ each hears what became of its own
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cello.messaging.errors import MessagingError
from cello.messaging.sqs.client import error_of

BATCH = 10
WAIT_S = 0.005

Request = Callable[[Sequence[Mapping[str, Any]]], Awaitable[Mapping[str, Any]]]


class Batches:
    """Collects the entries of one kind of request.

    Args:
        request: Sends entries, `Id`s among them, and returns SQS' answer.
        what: What is tried, for errors.
    """

    def __init__(self, request: Request, what: str) -> None:
        self._request = request
        self._what = what
        self._pending: list[tuple[Mapping[str, Any], asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, entry: Mapping[str, Any]) -> None:
        """Have an entry sent with others; return when it is confirmed.

        Raises:
            MessagingError: It was not.
        """
        loop = asyncio.get_running_loop()
        confirmed: asyncio.Future[None] = loop.create_future()
        self._pending.append((entry, confirmed))
        if len(self._pending) >= BATCH:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(WAIT_S, self._flush)
        await confirmed

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._pending:
            taken, self._pending = self._pending[:BATCH], self._pending[BATCH:]
            task = asyncio.get_running_loop().create_task(self._send(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, taken: Sequence[tuple[Mapping[str, Any], "asyncio.Future[None]"]]) -> None:
        results: Sequence[Any]
        try:
            answer = await self._request([{"Id": str(place), **entry} for place, (entry, _) in enumerate(taken)])
            results = outcomes(answer, len(taken), self._what)
        except asyncio.CancelledError:
            for _, confirmed in taken:
                confirmed.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # every one that waits hears it
            results = [error] * len(taken)
        for (_, confirmed), result in zip(taken, results, strict=True):
            if confirmed.done():
                continue
            if isinstance(result, Exception):
                confirmed.set_exception(result)
            else:
                confirmed.set_result(None)

    async def close(self, timeout_s: float) -> None:
        """Send what is pending, and wait for all answers, but no longer than that."""
        self._flush()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def outcomes(answer: Mapping[str, Any], count: int, what: str) -> list[Mapping[str, Any] | MessagingError]:
    """Return what became of each entry of a batch, by its place: a part of the answer, or an error."""
    found: list[Mapping[str, Any] | MessagingError] = [MessagingError(f"{what}: no answer")] * count
    for each in answer.get("Successful", ()):
        found[int(each["Id"])] = each
    for each in answer.get("Failed", ()):
        found[int(each["Id"])] = error_of(each, 400 if each.get("SenderFault", True) else 500, what)
    return found
