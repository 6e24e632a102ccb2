"""Which message is next: the oldest whose order key is free.

Rule 1: messages of one order key are in hand of at most one handler (or one batch) at a time, in order of arrival.
Rule 2: otherwise the oldest goes first; so with one handler at a time all are in order.
"""

import heapq
from collections import deque
from collections.abc import Hashable

from cello.messaging.message import Message


class Schedule:
    """Messages that were fetched and whose handling has not begun."""

    def __init__(self) -> None:
        self._ready: list[tuple[int, Message]] = []
        self._behind: dict[Hashable, deque[tuple[int, Message]]] = {}
        self._claims: dict[Hashable, int] = {}
        self._arrived = 0
        self._waiting = 0
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return self._waiting

    @property
    def has_ready(self) -> bool:
        """Whether `take` would return anything."""
        return bool(self._ready)

    def add(self, message: Message) -> None:
        """Take in a message that was fetched."""
        self._arrived += 1
        self._waiting += 1
        entry = (self._arrived, message)
        key = message.order_key
        if key is None:
            heapq.heappush(self._ready, entry)
        elif key in self._claims:
            self._behind.setdefault(key, deque()).append(entry)
        else:
            self._claims[key] = 1
            heapq.heappush(self._ready, entry)

    def take(self, limit: int = 1) -> list[Message]:
        """Return the next messages, `limit` at most; each must be ended by `done` or come back by `again`."""
        taken: list[Message] = []
        places, ready = self._places, self._ready
        while ready and len(taken) < limit:
            place, message = heapq.heappop(ready)
            places[id(message)] = place
            taken.append(message)
            if len(taken) == limit:
                break
            key = message.order_key
            behind = self._behind.get(key)
            if not behind:
                continue
            count = min(len(behind), limit - len(taken))
            for _ in range(count):
                place, message = behind.popleft()
                places[id(message)] = place
                taken.append(message)
            self._claims[key] += count
            if not behind:
                del self._behind[key]
        self._waiting -= len(taken)
        return taken

    def done(self, message: Message) -> None:
        """Note that a message is done with; the next one of its order key may be taken."""
        if self._places.pop(id(message), None) is None:
            return  # it was dropped
        key = message.order_key
        if key is None:
            return
        self._claims[key] -= 1
        if self._claims[key]:
            return
        behind = self._behind.get(key)
        if not behind:
            del self._claims[key]
            return
        self._claims[key] = 1
        heapq.heappush(self._ready, behind.popleft())
        if not behind:
            del self._behind[key]

    def again(self, message: Message) -> None:
        """Put a message back where it was; its order key stays taken until it is done."""
        heapq.heappush(self._ready, (self._places.pop(id(message)), message))
        self._waiting += 1

    def drop_all(self) -> list[Message]:
        """Take out all that wait, and return them."""
        waiting = [*self._ready, *(entry for behind in self._behind.values() for entry in behind)]
        self._ready.clear()
        self._behind.clear()
        self._waiting = 0
        return [message for _, message in sorted(waiting, key=lambda entry: entry[0])]
