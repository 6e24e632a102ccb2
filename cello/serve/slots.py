"""The places of workers in a zygote, and what follows when one dies: pure bookkeeping, by a clock that is given.

A worker that served for a while and dies is replaced at once. One that keeps dying young is replaced after growing
pauses, and at most `max_restarts` times in a row; one that never got ready at all is not replaced: the next one would
fare no better.
"""

import dataclasses
import socket
from collections.abc import Callable

HEALTHY_AFTER_S = 10.0
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 5.0


@dataclasses.dataclass(slots=True, eq=False)
class Worker:
    """One process.

    Attributes:
        report: Where it says that it is ready, alive, or spent; None once it said its last.
        unread: The beginning of a line of that.
        ready_at: When it said that it serves, by the clock; None = not yet.
        heard_at: When it was last heard, by the clock.
        is_leaving: Whether it was told to drain, or a successor is to take its place.
        kill_at: When it is to be killed, by the clock; None = never.
        is_stuck: Whether it stopped answering its zygote.
    """

    pid: int
    slot: "Slot"
    report: int | None
    heard_at: float
    unread: bytes = b""
    ready_at: float | None = None
    is_leaving: bool = False
    kill_at: float | None = None
    is_stuck: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class Slot:
    """One worker's place: its listeners, its process now, and how its predecessors fared.

    Attributes:
        worker: Who serves here, or is about to.
        spent: Who served here until it said that it is spent, and goes on until `worker` is ready.
        has_served: Whether any worker of this slot got ready.
        young_deaths: Workers in a row that died soon after they were ready.
        fork_at: When to fork the next worker, by the clock; None = not waiting.
    """

    index: int
    listeners: list[socket.socket]
    worker: Worker | None = None
    spent: Worker | None = None
    has_served: bool = False
    young_deaths: int = 0
    fork_at: float | None = 0.0


class RestartPolicy:
    """Decides when a dead worker is replaced.

    Args:
        max_restarts: How many young deaths in a row are forgiven.
        clock: Monotonic seconds.
    """

    def __init__(self, max_restarts: int, clock: Callable[[], float]) -> None:
        self._max_restarts = max_restarts
        self._clock = clock

    def pause_after(self, slot: Slot, dead: Worker) -> float | None:
        """Return how long to wait before the slot's next worker, in seconds; None = there is to be none."""
        if not slot.has_served:
            return None
        lived_s = 0.0 if dead.ready_at is None else self._clock() - dead.ready_at
        slot.young_deaths = 0 if lived_s >= HEALTHY_AFTER_S else slot.young_deaths + 1
        if slot.young_deaths > self._max_restarts:
            return None
        return 0.0 if slot.young_deaths <= 1 else min(_MAX_PAUSE_S, _FIRST_PAUSE_S * 2 ** (slot.young_deaths - 2))
