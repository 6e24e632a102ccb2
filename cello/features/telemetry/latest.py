"""The process-wide tracer provider, for code that asks OpenTelemetry's own API.

That API takes a provider once for a process and never another, while applications start and stop: in tests, one after
the other. So what is registered is this one, which hands every call on to the provider of the application that started
last. Where the program has registered its own, that stays.
"""

from typing import Any

from opentelemetry import trace


class LatestProvider(trace.TracerProvider):
    """Tracers of whichever provider is current."""

    def __init__(self) -> None:
        self.current: trace.TracerProvider = trace.NoOpTracerProvider()

    def get_tracer(self, *args: Any, **named: Any) -> trace.Tracer:
        """Return a tracer that follows what is current."""
        return LatestTracer(self, args, named)


class LatestTracer(trace.Tracer):
    """One library's tracer.

    Args:
        provider: Knows what is current.
        args: What the library asked for.
        named: The same.
    """

    def __init__(self, provider: LatestProvider, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._provider = provider
        self._args = args
        self._named = named
        self._made: tuple[trace.TracerProvider, trace.Tracer] | None = None

    def _tracer(self) -> trace.Tracer:
        current = self._provider.current
        made = self._made
        if made is None or made[0] is not current:
            made = self._made = (current, current.get_tracer(*self._args, **self._named))
        return made[1]

    def start_span(self, *args: Any, **named: Any) -> trace.Span:
        """Start a span with the current provider."""
        return self._tracer().start_span(*args, **named)

    def start_as_current_span(self, *args: Any, **named: Any) -> Any:
        """Start a span and make it the parent of those that begin meanwhile; a context manager and a decorator."""
        return self._tracer().start_as_current_span(*args, **named)


LATEST = LatestProvider()


def register(provider: trace.TracerProvider) -> None:
    """Make `provider` the one behind OpenTelemetry's API."""
    LATEST.current = provider
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(LATEST)


def withdraw(provider: trace.TracerProvider) -> None:
    """Have the API give nothing, where `provider` is still the one behind it."""
    if LATEST.current is provider:
        LATEST.current = trace.NoOpTracerProvider()
