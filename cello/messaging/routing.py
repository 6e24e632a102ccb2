"""Which queues a message to an exchange goes to: AMQP 0-9-1's rules, for declarations and the broker in memory."""

from collections.abc import Sequence
from typing import NamedTuple

from cello.errors import ConfigError
from cello.messaging.declared import DeclaredConsumer

KINDS = ("direct", "topic", "fanout")


class Bound(NamedTuple):
    """A queue bound to an exchange.

    Attributes:
        exchange: Its name.
        kind: "direct", "topic" or "fanout".
        pattern: The routing key; with "topic" `*` stands for one word and `#` for any number.
        queue: The queue.
    """

    exchange: str
    kind: str
    pattern: str
    queue: str


def bindings_of(consumer: DeclaredConsumer) -> list[Bound]:
    """Return the bindings that a consumer's options say: `exchange`, `exchange_type`, `routing_key`.

    Raises:
        ConfigError: They are of the wrong kind.
    """
    exchange = consumer.options.get("exchange", "")
    if not exchange:
        return []
    kind = consumer.options.get("exchange_type", "direct")
    if kind not in KINDS:
        raise ConfigError(f"consumer {consumer.name}: exchange_type is one of {', '.join(KINDS)}, not {kind!r:.80}")
    keys = consumer.options.get("routing_key", consumer.topic)
    patterns: Sequence[str] = [keys] if isinstance(keys, str) else keys
    return [Bound(exchange, kind, pattern, consumer.topic) for pattern in patterns]


class Bindings:
    """All bindings."""

    def __init__(self) -> None:
        self._bound: dict[str, dict[Bound, None]] = {}

    def add(self, bound: Bound) -> None:
        """Add one."""
        self._bound.setdefault(bound.exchange, {})[bound] = None

    def queues(self, exchange: str, routing_key: str) -> list[str]:
        """Return the queues that a message goes to, each once."""
        found = (each.queue for each in self._bound.get(exchange, ()) if _matches(each, routing_key))
        return list(dict.fromkeys(found))


def _matches(bound: Bound, routing_key: str) -> bool:
    if bound.kind == "fanout":
        return True
    if bound.kind == "direct":
        return bound.pattern == routing_key
    return _fits(bound.pattern.split("."), routing_key.split("."))


def _fits(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    first, *rest = pattern
    if first == "#":
        return any(_fits(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _fits(rest, words[1:])
