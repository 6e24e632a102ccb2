"""The circuit breaker as one word of shared memory.

    closed      everybody passes; `threshold` failures in a row open it
    open        nobody passes for `reset` milliseconds; whoever comes then begins the trial
    half-open   at most `target` trials pass; as many successes close it, one failure opens it

The word holds the moment at which its state began, the state, how many failures (closed) or successes (half-open) were
counted, and how many trials were let in. It changes by compare-and-swap, so workers see one breaker.

Rule 1: an answer counts only for the state that its request came in under: its permit is the moment of that state.
Rule 2: a trial whose worker was killed never ends. So a half-open state that lasts `reset` begins anew.
"""

from typing import NamedTuple

from cello.shared.slots import Slots

CLOSED, OPEN, HALF_OPEN = range(3)
NAMES = ("closed", "open", "half-open")

SUCCESS, FAILURE, NOTHING = range(3)
"""What became of a request; NOTHING: it was given up before anybody could tell."""

MOST = 1_023
"""What thresholds may be: counts have ten bits."""

Change = tuple[int, int]


class State(NamedTuple):
    """A word, unpacked.

    Attributes:
        began_ms: When the state began.
        kind: `CLOSED`, `OPEN` or `HALF_OPEN`.
        counted: Failures in a row, or successes of trials.
        trials: Trials that were let in.
    """

    began_ms: int
    kind: int
    counted: int = 0
    trials: int = 0

    @classmethod
    def of(cls, word: int) -> "State":
        """Unpack a word."""
        return cls(word >> 22, word >> 20 & 3, word >> 10 & MOST, word & MOST)

    def word(self) -> int:
        """Pack it."""
        return self.began_ms << 22 | self.kind << 20 | self.counted << 10 | self.trials


class Entry(NamedTuple):
    """Whether a request may pass.

    Attributes:
        permit: What `leave` wants; None where it may not.
        wait_ms: How long it should wait then.
        change: The states before and after, if it changed anything, else None.
    """

    permit: int | None
    wait_ms: int = 0
    change: Change | None = None


class Breaker:
    """One breaker.

    Args:
        slots: Where its word is.
        index: Which it is; a zero is a closed breaker.
        threshold: Failures in a row that open it.
        reset_ms: How long it stays open.
        target: Successful trials that close it.
    """

    __slots__ = ("_index", "_reset", "_slots", "_target", "_threshold")

    def __init__(self, slots: Slots, index: int, threshold: int, reset_ms: int, target: int) -> None:
        self._slots = slots
        self._index = index
        self._threshold = threshold
        self._reset = reset_ms
        self._target = target

    def pass_closed(self) -> int:
        """Return the permit that everybody has while the breaker is closed, else -1; `enter` for the whole question.

        PERF: with `is_unchanged` what nearly every request needs: 0.2 in place of 2.4 µs (bench/micro/test_shared.py).
        """
        word = self._slots.get(self._index)
        return -1 if word >> 20 & 3 else word >> 22

    def is_unchanged(self, permit: int) -> bool:
        """Whether a success under `permit` changes nothing: closed ever since, and no failures to forget."""
        return self._slots.get(self._index) == permit << 22

    def state(self) -> State:
        """Return the state as it was last changed."""
        return State.of(self._slots.get(self._index))

    def enter(self, now_ms: int) -> Entry:
        """Let a request in or not."""
        while True:
            word = self._slots.get(self._index)
            state = State.of(word)
            if state.kind == CLOSED:
                return Entry(state.began_ms)
            left_ms = state.began_ms + self._reset - now_ms
            if state.kind == HALF_OPEN and state.trials < self._target:
                after = state._replace(trials=state.trials + 1)
            elif left_ms > 0:
                return Entry(None, min(left_ms, self._reset))
            else:
                # Periods are told apart by the moment they began, so no two may begin at the same one.
                after = State(max(now_ms, state.began_ms + 1), HALF_OPEN, 0, 1)
            if self._slots.swap(self._index, word, after.word()):
                return Entry(after.began_ms, 0, _change(state, after))

    def leave(self, permit: int, outcome: int, now_ms: int) -> Change | None:
        """Count what became of a request; return the states before and after, if that changed anything."""
        while True:
            word = self._slots.get(self._index)
            state = State.of(word)
            if state.began_ms != permit or state.kind == OPEN:
                return None
            after = self._after(state, outcome, max(now_ms, state.began_ms + 1))
            if after == state:
                return None
            if self._slots.swap(self._index, word, after.word()):
                return _change(state, after)

    def _after(self, state: State, outcome: int, now_ms: int) -> State:
        if state.kind == CLOSED:
            if outcome == FAILURE:
                count = state.counted + 1
                return State(now_ms, OPEN) if count >= self._threshold else state._replace(counted=count)
            return state._replace(counted=0) if outcome == SUCCESS else state
        if outcome == FAILURE:
            return State(now_ms, OPEN)
        if outcome == NOTHING:
            return state._replace(trials=max(0, state.trials - 1))
        count = state.counted + 1
        return State(now_ms, CLOSED) if count >= self._target else state._replace(counted=count)


def _change(before: State, after: State) -> Change | None:
    return None if before.kind == after.kind else (before.kind, after.kind)
