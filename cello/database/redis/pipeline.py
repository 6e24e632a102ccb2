"""Pipelines: commands are queued, and sent in one trip."""

from typing import Any

from cello.database.redis.commands import Commands, Read

Queued = list[tuple[tuple[Any, ...], Read | None]]


class Pipeline(Commands):
    """Queues commands; each method returns the pipeline itself.

    Attributes:
        transaction: Whether others' commands stay out of between.
    """

    def __init__(self, owner: Commands, *, transaction: bool) -> None:
        self._prefix = owner._prefix
        self._default_ttl = owner._default_ttl
        self.transaction = transaction
        self._queued: Queued = []

    def __len__(self) -> int:
        return len(self._queued)

    def clear(self) -> None:
        """Forget what was queued."""
        self._queued = []

    def _send(self, *words: Any, read: Read | None = None) -> Any:
        self._queued.append((words, read))
        return self

    def _take(self) -> Queued:
        queued, self._queued = self._queued, []
        return queued

    def _read(self, queued: Queued, found: list[Any]) -> list[Any]:
        return [answer if read is None else read(answer) for (_, read), answer in zip(queued, found, strict=True)]
