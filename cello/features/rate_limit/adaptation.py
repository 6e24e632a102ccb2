"""How much of an adaptive limit holds at the moment: less while errors, times or load are high, more afterwards.

All workers count into the same words; whoever is the first to see a new second judges the one before. Counts that are
written while it does so may be lost, which a share of many does not feel.
"""

import os

from cello.features.rate_limit.config import RateLimitConfig
from cello.shared.slots import Slots

SECOND_NS = 1_000_000_000
FULL = 1_000
"""A level of 1,000 thousandths: the limit as configured."""
WORDS = 6
_LEVEL, _SECOND, _ANSWERS, _ERRORS, _TIME_US, _READY = range(WORDS)
_FEW = 5
"""Answers in a second below which their share of errors says nothing."""


class Adaptation:
    """The level of one adaptive limit.

    Args:
        slots: Its words, zeroes at first.
        config: The thresholds.
    """

    def __init__(self, slots: Slots, config: RateLimitConfig) -> None:
        self._slots = slots
        self._config = config
        self._least = max(1, FULL * config.min_capacity // config.capacity)

    def level(self) -> int:
        """Return how much holds, in thousandths."""
        return self._slots.get(_LEVEL) or FULL

    def capacity(self) -> int:
        """Return how many requests are allowed at once at the moment."""
        config = self._config
        return max(config.min_capacity, config.capacity * self.level() // FULL)

    def note(self, now: int, taken_ns: int, *, failed: bool) -> None:
        """Count an answer; judge the last second if this is the first of a new one."""
        slots = self._slots
        second = now // SECOND_NS
        before = slots.get(_SECOND)
        if second > before and slots.swap(_SECOND, before, second):
            self._judge()
        slots.add(_ANSWERS, 1)
        slots.add(_TIME_US, taken_ns // 1_000)
        if failed:
            slots.add(_ERRORS, 1)

    def _judge(self) -> None:
        slots, config = self._slots, self._config
        answers, errors, time_us = slots.get(_ANSWERS), slots.get(_ERRORS), slots.get(_TIME_US)
        for word in (_ANSWERS, _ERRORS, _TIME_US):
            slots.set(word, 0)
        is_bad = (
            (answers >= _FEW and errors / answers > config.error_threshold)
            or _is_above(time_us / 1_000 / answers if answers else None, config.latency_threshold_ms)
            or (config.cpu_threshold is not None and _is_above(cpu_share(), config.cpu_threshold))
            or (config.memory_threshold is not None and _is_above(memory_share(), config.memory_threshold))
        )
        level = self.level()
        slots.set(_LEVEL, max(self._least, level * 2 // 3) if is_bad else min(FULL, level + FULL // 10))


def _is_above(value: float | None, threshold: float | None) -> bool:
    return value is not None and threshold is not None and value > threshold


def cpu_share() -> float | None:
    """Return how busy the CPUs were in the last minute, 0-1 and above; None where the system does not say."""
    if not hasattr(os, "getloadavg"):
        return None
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def memory_share() -> float | None:
    """Return the share of memory that is in use, 0-1; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            facts = dict(line.split(":", 1) for line in file)
        total, free = (int(facts[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError):
        return None
    return 1 - free / total
