"""What can be served: what the server asks of an App, and whether cello itself is loading the module of one.

While a module is loaded by `cello.serve.importing`, an `app.run()` in it must not start a second server: it records its
options on the App and returns (`is_importing`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

_importing: ContextVar[bool] = ContextVar("cello_importing", default=False)


@runtime_checkable
class Served(Protocol):
    """What the server asks of an App (which stands on a higher layer).

    Attributes:
        run_options: What `app.run()` recorded under import, or None.
        urls: Where it answers, known before the start-up hooks run; empty under a foreign host.
        debug: Whether errors show tracebacks.
        env: "development" or "production".
        name: For banner and metrics.
        role: "server" or "worker".
        settings: Limits, timeouts, `tls`.
        lifecycle: Its `startup()` and `shutdown()` are coroutine functions.
    """

    run_options: dict[str, object] | None
    urls: list[str]
    debug: bool
    env: str
    name: str
    role: str
    lifecycle: Any
    settings: Any

    def feature(self, name: str) -> Any:
        """Return what `enable_<name>()` switched on, or None."""

    def enable_logging(self, format: str) -> None:
        """Log one line for every request."""

    def freeze(self) -> Any:
        """Compile every route; return the dispatcher."""


def is_importing() -> bool:
    """Whether cello itself is loading the module whose code runs now."""
    return _importing.get()


@contextmanager
def importing() -> Iterator[None]:
    """Mark the code run inside as imported by cello: `app.run()` records its options and returns."""
    token = _importing.set(True)
    try:
        yield
    finally:
        _importing.reset(token)
