"""What a broker is to cello: the two protocols that RabbitMQ, Kafka, SQS and the in-memory broker implement.

A config class makes brokers (`BrokerConfig`); a broker sends, and opens a `Subscription` for each consumer; the runner
(`runner.py`) fetches from that, has messages handled, and settles each. A broker knows no handlers, no retries' limits,
no order and no concurrency: it moves messages and keeps the promises below.

Rules for who implements one:

Rule 1: all methods are coroutines on one event loop, the one that `connect` or the first `send` ran on. Make sockets
there and not in `__init__`, which runs before workers are forked. Handlers of the other colour have a broker of their
own, made by the same config, on another loop.
Rule 2: every fault of the service is a `BrokerUnavailable` (a `SendTimeout` when a confirmation is late), every refusal
a `Refused` or one of its children, with the library's exception as `__cause__`. Nothing of the library gets out.
Rule 3: reconnecting when sending is the broker's business: `send` on a broker that lost its connection opens it again,
within the config's time limit for connecting, or raises. Reconnecting when consuming is the runner's: a subscription
whose connection broke raises `BrokerUnavailable` from `fetch`; the runner then calls its `close`, pauses, and calls
`subscribe` anew. What it held unsettled is delivered again by the real broker.
Rule 4: nothing is acknowledged or committed but by `settle`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from cello.errors import ConfigError, closest
from cello.messaging.declared import DeclaredConsumer
from cello.messaging.message import Message, Outgoing, Receipt


class Outcome(Enum):
    """What becomes of a message.

    Attributes:
        ACK: It is done with: acknowledge, delete, or let the committed offset pass it.
        RETRY: Deliver it again after `delay_s`, with `attempt` one higher, durably: it must survive this process. Where
            the broker has no delay of its own, a copy goes to a place of the broker's choosing (a queue with a
            time-to-live, a retry topic) and is confirmed *before* the original is acknowledged.
        RELEASE: Give it back as it is, for whichever consumer; `attempt` stays where the broker can keep it.
        DISCARD: It is done with and was not wanted: as ACK, past any dead-letter rule of the broker's own.
        DEAD_LETTER: A copy with `dead_letter_headers(...)` goes to the consumer's `dead_letter` place, which is made
            if need be, and is confirmed *before* the original is acknowledged.
    """

    ACK = "ack"
    RETRY = "retry"
    RELEASE = "release"
    DISCARD = "discard"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class Settlement:
    """A decision about one message.

    Attributes:
        outcome: What becomes of it.
        delay_s: With RETRY: how long to wait at least.
        error: With RETRY and DEAD_LETTER: why, in one line: "ValueError: no such item".
    """

    outcome: Outcome
    delay_s: float = 0.0
    error: str = ""


ACK = Settlement(Outcome.ACK)
RELEASE = Settlement(Outcome.RELEASE)
DISCARD = Settlement(Outcome.DISCARD)


class Subscription(Protocol):
    """The messages of one consumer, on one connection; lives from `Broker.subscribe` to `close` or a lost connection.

    The runner calls `fetch` from one task only; `settle`, `heartbeat` and `lag` from others meanwhile.
    """

    @property
    def heartbeat_s(self) -> float | None:
        """How often `heartbeat` is to be called while messages are in hand; None: never."""

    async def fetch(self, limit: int, timeout_s: float) -> Sequence[Message]:
        """Return 1 to `limit` messages as soon as there is one; none when `timeout_s` went by without.

        `limit` is never more than what `DeclaredConsumer.prefetch` leaves free, so a broker that pushes bounds what it
        takes by that. Set `Message.attempt` (a first delivery is 1) and, where the broker or the key demands an order,
        `Message.order_key`: two messages whose keys are equal are never handled at the same time, and in the order
        that `fetch` returned them. `Message.topic` is where it is taken from as users named it (after a retry, too).

        Cancelling it must lose nothing: what it was about to return is returned by the next call, or delivered again.

        Raises:
            BrokerUnavailable: The subscription is over; nothing more can be settled on it.
        """

    @property
    def generation(self) -> int:
        """Changes when messages that were claimed are to be claimed anew before they begin (a rebalance of Kafka)."""

    def claim(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Return which messages may be handled; asked when handlers are about to begin with them.

        Others were taken away after they were fetched (a rebalance of Kafka). They are forgotten and not settled.
        """

    def give_up(self, messages: Sequence[Message]) -> None:
        """Note that no handler has begun with messages that were claimed."""

    def acknowledge_at_once(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Acknowledge without waiting where the broker need not be asked (Kafka); return which: others are settled."""

    async def settle(self, message: Message, settlement: Settlement) -> None:
        """Carry out a decision; returns when it is certain, as far as the broker confirms such things.

        Called once for each message that `fetch` returned, in any order, also for several at once. A broker that
        commits positions (Kafka) keeps track and commits no further than what is settled without a gap.

        Raises:
            MessagingError: It could not be carried out; the message will be delivered again.
        """

    async def heartbeat(self, messages: Sequence[Message]) -> None:
        """Keep the claim on `messages`, all that are in hand and unsettled (SQS: extend their visibility).

        Raises:
            MessagingError: Logged by the runner, and tried again at the next beat.
        """

    async def lag(self) -> int | None:
        """Return how many messages wait to be delivered to this consumer's group; None where nobody can say."""

    async def close(self) -> None:
        """End it: commit what is settled and not committed yet, give back what was fetched and not settled.

        Called once, after the last handler has ended, or when the connection is lost; must not raise then.
        """


class Broker(Protocol):
    """A connection to a broker, for one event loop."""

    @property
    def where(self) -> str:
        """What errors and health checks name: an address without secrets."""

    async def connect(self) -> None:
        """Connect, or do nothing where that was done; safe to call from several tasks at once.

        Raises:
            BrokerUnavailable: By the config's time limit for connecting, at the latest.
        """

    async def close(self) -> None:
        """Send what is buffered and disconnect; a later `connect` or `send` opens it again. Must not raise."""

    async def check(self) -> Mapping[str, Any] | None:
        """Return a few facts when a round trip to the broker works, for health checks.

        Raises:
            BrokerUnavailable: It does not.
        """

    async def send(self, message: Outgoing) -> Receipt:
        """Send a message, and return when the broker has confirmed that it keeps it.

        Raises:
            BrokerUnavailable: There is no connection, or no confirmation in time.
            Refused: The broker does not take it: `Unroutable`, `TooLarge`.
        """

    async def send_batch(self, messages: Sequence[Outgoing]) -> Sequence[Receipt | Exception]:
        """Send messages in as few trips as the broker allows; return what `send` would return or raise, for each.

        Raises:
            BrokerUnavailable: There is no connection: none was sent.
        """

    async def subscribe(self, consumer: DeclaredConsumer) -> Subscription:
        """Begin to consume; makes topics, queues and bindings that the declaration says.

        Raises:
            BrokerUnavailable: Not now; the runner tries again.
            ConfigError: Never: what the declaration says does not fit what is there. At start-up it ends the start.
        """


class BrokerConfig(Protocol):
    """What config classes of brokers have in common."""

    def make_broker(self) -> Broker:
        """Return a broker that is not connected.

        Raises:
            MissingDependency: Its library is not installed; the message names the extra.
        """


def check_options(who: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    """Check the options of a message or consumer that only some brokers understand.

    Raises:
        ConfigError: There is one that this broker does not.
    """
    for name in options:
        if name not in known:
            close = closest(name, known)
            meant = f"; did you mean {close!r}?" if close else f"; it has: {', '.join(known) or 'none'}"
            raise ConfigError(f"{who} has no option {name!r:.80}{meant}")


ERROR_HEADER = "cello-error"
ATTEMPTS_HEADER = "cello-attempts"
TOPIC_HEADER = "cello-topic"
CONSUMER_HEADER = "cello-consumer"
MOST_ERROR_CHARACTERS = 1_000


def dead_letter_headers(message: Message, settlement: Settlement, consumer: DeclaredConsumer) -> dict[str, str]:
    """Return the headers of a dead letter: the message's own, and what became of it."""
    return message.headers | {
        ERROR_HEADER: settlement.error[:MOST_ERROR_CHARACTERS],
        ATTEMPTS_HEADER: str(message.attempt),
        TOPIC_HEADER: message.topic,
        CONSUMER_HEADER: consumer.name,
    }
