"""`app.channel("name")`: the handle that users write against."""

from collections.abc import Generator
from types import TracebackType
from typing import Any, Protocol, Self

from cello.errors import ConfigError
from cello.features.channels.bus import Bus, Done, settled
from cello.features.channels.hub import Hub
from cello.features.channels.member import Member
from cello.features.channels.message import pack
from cello.features.channels.subscription import DEFAULT_LIMIT, Inbox, Slow, Subscription
from cello.http.websocket import WebSocket

MAX_NAME_BYTES = 255


class Process(Protocol):
    """What one process has."""

    @property
    def hub(self) -> Hub:
        """Who listens in it."""

    @property
    def bus(self) -> Bus:
        """The way to the others."""


class Place(Protocol):
    """Who knows the channels of the current process."""

    def here(self) -> Process:
        """Return them."""


class Channel:
    """One channel, by its name; made anew by each `app.channel(name)`, and cheap.

    Args:
        place: Where it is.
        name: Any text of up to 255 bytes.

    Raises:
        ConfigError: The name is no text, empty, or too long.
    """

    __slots__ = ("_place", "name")

    def __init__(self, place: Place, name: str) -> None:
        if not (name and type(name) is str and len(name.encode()) <= MAX_NAME_BYTES):
            raise ConfigError(f"a channel's name is a text of 1 to {MAX_NAME_BYTES} bytes, not {name!r:.80}")
        self._place = place
        self.name = name

    def publish(self, data: Any) -> Done:
        """Have everybody who listens, in every worker, hear `data`: text, bytes, or what has a JSON form.

        It is awaited in `async def` handlers, and just called in `def` handlers. It never waits for subscribers.

        Raises:
            TypeError: It has no JSON form.
            ValueError: It is too long for the bus.
        """
        return settled(self._place.here().bus.publish(self.name, pack(data)))

    def subscribe(self, *, limit: int = DEFAULT_LIMIT, slow: Slow = "skip") -> Subscription:
        """Return the messages from now on, to be iterated over by `async for` or `for`.

        Args:
            limit: Messages that may wait for the reader.
            slow: What happens beyond: "skip" loses the oldest that waits and counts it in `subscription.skipped`;
                "drop" ends the subscription: the reader gets a `SlowSubscriber` behind what waits.

        Raises:
            ConfigError: An argument is out of range.
        """
        if type(limit) is not int or limit < 1:
            raise ConfigError(f"a subscription's limit is a whole number from 1 on, not {limit!r:.80}")
        check_slow(slow)
        here, name = self._place.here(), self.name

        def close(inbox: Inbox) -> None:
            if here.hub.remove(name, inbox):
                here.bus.forget(name)

        subscription = Subscription(name, limit, slow, close)
        if here.hub.add(name, subscription.inbox):
            subscription.ready = Done(here.bus.follow(name))
        return subscription

    def join(self, socket: WebSocket, *, slow: Slow = "skip") -> "Membership":
        """Send a WebSocket everything that is published from now on, JSON as text, until it closes or leaves.

        It may be awaited (and must be where Redis is in use, to miss nothing), or used as a context manager, at whose
        end the WebSocket leaves.

        Args:
            socket: The WebSocket; joining twice changes nothing.
            slow: What happens when its client does not keep up: "skip" does not send it what it would not take; "drop"
                closes it with 1013.
        """
        check_slow(slow)
        here, name = self._place.here(), self.name
        if any(isinstance(each, Member) and each.is_of(socket) for each in here.hub.of(name)):
            return Membership(self, socket, None)

        def gone(member: Member) -> None:
            if here.hub.remove(name, member):
                here.bus.forget(name)

        is_first = here.hub.add(name, Member(socket, slow, gone))
        return Membership(self, socket, here.bus.follow(name) if is_first else None)

    def leave(self, socket: WebSocket) -> None:
        """Send a WebSocket no more; nothing happens when it has not joined."""
        here = self._place.here()
        for each in here.hub.of(self.name):
            if isinstance(each, Member) and each.is_of(socket) and here.hub.remove(self.name, each):
                here.bus.forget(self.name)

    @property
    def listeners(self) -> int:
        """How many listen in this worker: subscriptions and members."""
        return len(self._place.here().hub.of(self.name))

    def __repr__(self) -> str:
        return f"<Channel {self.name!r}>"


class Membership:
    """A WebSocket in a channel; leaves at the end of a `with` or `async with` block."""

    __slots__ = ("_channel", "_done", "_socket")

    def __init__(self, channel: Channel, socket: WebSocket, future: Any) -> None:
        self._channel = channel
        self._socket = socket
        self._done = settled(future)

    def leave(self) -> None:
        """Leave the channel."""
        self._channel.leave(self._socket)

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._done.__await__()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def check_slow(slow: object) -> None:
    """Check what is to happen to who does not keep up.

    Raises:
        ConfigError: It is neither "skip" nor "drop".
    """
    if slow not in ("skip", "drop"):
        raise ConfigError(f"slow must be 'skip' or 'drop', not {slow!r:.80}")
