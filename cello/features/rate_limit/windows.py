"""The sliding window: never more than so many requests in any window of so many seconds.

`ExactWindow` keeps the moment of each of the last `limit` requests of a key: the next may pass when the oldest of them
is a whole window ago. `SteppedWindow` serves limits that are too high for that: it counts in 60 steps and counts the
oldest, half-gone step in full, so a window is never shorter than asked for and up to 1/60 longer.

Both work under the lock of the key's group. Each change that makes a request count is one word, so whoever is killed in
between has counted it or not; an `ExactWindow` that is caught between its two words counts it without letting it pass.
"""

from math import ceil
from typing import NamedTuple

from cello.shared.table import Table

STEPS = 60
BITS = 30
MASK = (1 << BITS) - 1


class Taken(NamedTuple):
    """What became of a request.

    Attributes:
        wait_ns: 0 if it may pass, else nanoseconds until it might.
        remaining: How many more may follow at once.
        reset_ns: Nanoseconds until nothing of this key counts any more, if nothing follows.
    """

    wait_ns: int
    remaining: int
    reset_ns: int


class ExactWindow:
    """Windows by key, for limits up to `MOST_EXACT`.

    Args:
        table: 1 + limit words per key: how many requests have passed, and the moments of the last ones.
        limit: Requests per window.
        window_ns: Its length.
    """

    def __init__(self, table: Table, limit: int, window_ns: int) -> None:
        self._table = table
        self._limit = limit
        self._window = window_ns

    def take(self, key: str, now: int) -> Taken:
        """Count a request of `key` if it may pass."""
        slots, limit, window = self._table.slots, self._limit, self._window
        with self._table.locked(key, now) as count_at:
            first = count_at + 1
            count = slots.get(count_at)
            newest = slots.get(first + (count - 1) % limit) if count else 0
            now = max(now, newest)  # whoever read the clock earlier may come later
            oldest = slots.get(first + count % limit)
            if count >= limit and now - oldest < window:
                return Taken(oldest + window - now, 0, newest + window - now)
            slots.set(first + count % limit, now)
            slots.set(count_at, count + 1)
            # The moments since `low` ago are in order; find the first that still counts.
            low, high = max(0, count + 1 - limit), count + 1
            while low < high:
                middle = (low + high) // 2
                if now - slots.get(first + middle % limit) < window:
                    high = middle
                else:
                    low = middle + 1
            return Taken(0, limit - (count + 1 - low), window)


class SteppedWindow:
    """Windows by key, for any limit.

    Args:
        table: 61 words per key: a step's number in the upper 34 bits, its requests in the lower 30.
        limit: Requests per window.
        window_ns: Its length, at least a second: steps are numbered by the monotonic clock, for years.
    """

    WIDTH = STEPS + 1

    def __init__(self, table: Table, limit: int, window_ns: int) -> None:
        self._table = table
        self._limit = limit
        self._step = ceil(window_ns / STEPS)

    def take(self, key: str, now: int) -> Taken:
        """Count a request of `key` if it may pass."""
        slots, step = self._table.slots, self._step
        with self._table.locked(key, now) as first:
            words = [slots.get(first + place) for place in range(self.WIDTH)]
            current = max(now // step, max(words) >> BITS)
            steps = {word >> BITS: word & MASK for word in words if word and current - (word >> BITS) <= STEPS}
            total = sum(steps.values())
            if total >= self._limit:
                for number in sorted(steps):
                    total -= steps[number]
                    if total < self._limit:
                        break
                last = max(steps)
                return Taken((number + STEPS + 1) * step - now, 0, (last + STEPS + 1) * step - now)
            slots.set(first + current % self.WIDTH, (current << BITS) | (steps.get(current, 0) + 1))
            return Taken(0, self._limit - total - 1, (current + STEPS + 1) * step - now)
