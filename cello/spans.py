"""Spans: what features say about the time that their work takes, to whoever exports it.

    with host.spans.span("orders send", "producer", {"messaging.system": "kafka"}) as span:
        host.spans.inject(headers)          # whoever receives them goes on with the trace
        ...
        span.set("messaging.kafka.offset", offset)

Features know this module and no library of tracing; a feature that exports spans sets `Spans.exporter` when a worker
starts and takes it away when it stops. In between a span costs what that exporter takes, else next to nothing.

Names, kinds and attributes follow OpenTelemetry's semantic conventions. SECURITY: no span holds values that belong to
users: parameters of statements, keys, bodies.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, Protocol, Self

Kind = Literal["internal", "client", "server", "producer", "consumer"]
"""Who waits for whom: "internal" for work of one's own, the others for the two ends of a call and of a message."""

Value = str | bool | int | float
Attributes = Mapping[str, Value]


class Span(Protocol):
    """A span under way."""

    def set(self, name: str, value: Value) -> None:
        """Give it an attribute, also after it was begun."""

    def fail(self, error: BaseException | str) -> None:
        """Mark it as failed, for errors that do not leave its block."""


class Exporter(Protocol):
    """What a feature that exports spans offers; see `Spans` for what each does."""

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        carrier: Mapping[str, str] | None,
        library: str | None,
        links: Sequence[Mapping[str, str]],
    ) -> AbstractContextManager[Span]:
        """Begin a span."""

    def record(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        seconds: float,
        error: BaseException | None,
        library: str | None,
    ) -> None:
        """Make a span of what is over."""

    def is_recording(self) -> bool:
        """Return whether what runs is recorded."""

    def note(self, name: str, value: Value) -> None:
        """Give the span that runs an attribute."""

    def inject(self, carrier: MutableMapping[str, str]) -> None:
        """Add the fields of the trace."""


class NoSpan:
    """A span that nobody records; also the block of one."""

    def set(self, name: str, value: Value) -> None:
        """Do nothing."""

    def fail(self, error: BaseException | str) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let everything pass."""


NO_SPAN = NoSpan()


class Spans:
    """Where an application's spans go.

    Attributes:
        exporter: Who takes them; None: nobody.
    """

    __slots__ = ("exporter",)

    def __init__(self) -> None:
        self.exporter: Exporter | None = None

    def span(
        self,
        name: str,
        kind: Kind = "internal",
        attributes: Attributes | None = None,
        *,
        carrier: Mapping[str, str] | None = None,
        library: str | None = None,
        links: Sequence[Mapping[str, str]] = (),
    ) -> AbstractContextManager[Span]:
        """Return a block whose time is a span; what leaves it as an exception marks it as failed.

        Below what is not sampled there is none, and below nothing at all it begins a trace. Enter and leave the block
        in one context: not across the `yield` of an async generator.

        Args:
            name: Few different ones: a template, a queue, never an id.
            kind: Its side of a call or message.
            attributes: What is known when it begins.
            carrier: The headers of a message, names in lower case: the span goes on with the trace that they name.
            library: The library that the work goes through, as OpenTelemetry's instrumentations are called: where
                that one is on, it makes the span.
            links: The headers of further messages, of whose traces this is no part: those of a batch.
        """
        exporter = self.exporter
        return NO_SPAN if exporter is None else exporter.span(name, kind, attributes, carrier, library, links)

    def record(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes | None,
        seconds: float,
        error: BaseException | None = None,
        *,
        library: str | None = None,
    ) -> None:
        """Make a span of what has just ended, below the one that runs; nothing where that is not recorded.

        Args:
            name: As for `span`.
            kind: As for `span`.
            attributes: As for `span`.
            seconds: How long it took.
            error: What it raised.
            library: As for `span`.
        """
        if self.exporter is not None:
            self.exporter.record(name, kind, attributes, seconds, error, library)

    @property
    def is_recording(self) -> bool:
        """Whether what runs here is recorded; for attributes that are dear to find out."""
        return self.exporter is not None and self.exporter.is_recording()

    def note(self, name: str, value: Value) -> None:
        """Give the span that runs, such as the request's, an attribute."""
        if self.exporter is not None:
            self.exporter.note(name, value)

    def inject(self, carrier: MutableMapping[str, str]) -> None:
        """Add the fields of the trace that runs to the headers of a message or call."""
        if self.exporter is not None:
            self.exporter.inject(carrier)
