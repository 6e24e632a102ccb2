"""Who is told what consumers do: metrics and traces."""

import contextlib
from collections.abc import Sequence
from typing import Protocol

from cello.messaging.declared import DeclaredConsumer
from cello.messaging.message import Message


class Observer(Protocol):
    """Who is told what consumers do: metrics and traces."""

    def called(self, consumer: DeclaredConsumer, seconds: Sequence[float]) -> None:
        """Calls of a handler took so long each."""

    def settled(self, consumer: DeclaredConsumer, result: str, count: int = 1) -> None:
        """So many ended: "ack", "retry", "release", "discard", "dead_letter", or "lost" when it was not settled."""

    def in_hand(self, consumer: DeclaredConsumer, count: int) -> None:
        """So many messages are fetched and not settled."""

    def lag(self, consumer: DeclaredConsumer, count: int) -> None:
        """So many messages wait at the broker."""

    def around(
        self, consumer: DeclaredConsumer, messages: Sequence[Message]
    ) -> contextlib.AbstractContextManager[object]:
        """Return what surrounds a call of the handler: a span in the sender's trace."""


_NOTHING = contextlib.nullcontext()


class Silent:
    """An observer that does nothing."""

    def called(self, consumer: DeclaredConsumer, seconds: Sequence[float]) -> None:
        """Do nothing."""

    def settled(self, consumer: DeclaredConsumer, result: str, count: int = 1) -> None:
        """Do nothing."""

    def in_hand(self, consumer: DeclaredConsumer, count: int) -> None:
        """Do nothing."""

    def lag(self, consumer: DeclaredConsumer, count: int) -> None:
        """Do nothing."""

    def around(
        self, consumer: DeclaredConsumer, messages: Sequence[Message]
    ) -> contextlib.AbstractContextManager[object]:
        """Return what does nothing."""
        return _NOTHING
