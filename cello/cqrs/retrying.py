"""Which errors are worth another try, and how long to wait for it."""

import random


class RetryableError(Exception):
    """Raise it, or a subclass, where trying again may help: the handler is called again, after a pause."""

    is_retryable = True


def is_retryable(error: BaseException, further: tuple[type[Exception], ...] = ()) -> bool:
    """Whether an error is marked: by an attribute `is_retryable` that is true, or by its class being in `further`.

    Conflicts of transactions and of writers to the event store are marked.
    """
    return isinstance(error, further) or getattr(error, "is_retryable", False) is True


def pause_s(delay_ms: float, attempt: int) -> float:
    """Return seconds to wait after attempt number `attempt`, from 0: twice as long each time, less up to a half.

    The random part keeps those apart who failed because they met.
    """
    return delay_ms / 1000 * float(2**attempt) * random.uniform(0.5, 1)
