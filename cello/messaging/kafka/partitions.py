"""Which partition of a topic a message goes to.

PERF: aiokafka makes two lists of all partitions for each message, and hashes each key in Python; here the lists are
kept until the brokers describe their topics anew, and the latest keys are known. `python -m bench.streams`.

Rule 1: a key has the partition that aiokafka, and Kafka's own client, give it.
Rule 2: messages without a key go in turn to the partitions that have a leader.
"""

import functools
import random
from collections.abc import Sequence
from typing import Any

from cello.errors import ConfigError
from cello.messaging.broker import check_options
from cello.messaging.kafka.client import check_topic
from cello.messaging.message import Outgoing

MOST_KEYS = 4096


class Partitions:
    """The partitions of topics, as a broker object knows them."""

    def __init__(self) -> None:
        self._topics: dict[str, Topic] = {}

    def follow(self, producer: Any) -> None:
        """Forget all that is known now, and whenever this producer hears of topics."""
        self._topics.clear()
        producer.client.cluster.add_listener(lambda cluster: self._topics.clear())

    async def of(self, topic: str, producer: Any) -> "Topic":
        """Return a topic, which the producer asks for if need be.

        Raises:
            ConfigError: Kafka has no such names.
            KafkaError: aiokafka's: there is none, or it may not be seen.
        """
        known = self._topics.get(topic)
        if known is None:
            partitions = await producer.partitions_for(check_topic(topic))
            available = producer.client.cluster.available_partitions_for_topic(topic)
            known = self._topics[topic] = Topic(topic, list(partitions), list(available or partitions))
        return known


class Topic:
    """The partitions of one topic.

    Args:
        name: What it is called.
        partitions: All, in aiokafka's order.
        available: Those that have a leader.
    """

    __slots__ = ("_available", "_name", "_next", "_partitions")

    def __init__(self, name: str, partitions: Sequence[int], available: Sequence[int]) -> None:
        self._name = name
        self._partitions = partitions
        self._available = available
        self._next = random.randrange(len(available))

    def choose(self, message: Outgoing) -> int:
        """Return the partition of a message.

        Raises:
            ConfigError: It names one that there is not.
        """
        if message.options and (said := _said(message)) is not None:
            if said not in self._partitions:
                raise ConfigError(f"the topic {self._name!r} has no partition {said}")
            return said
        if message.key is not None:
            return self._partitions[_hash_of(message.key) % len(self._partitions)]
        self._next = (self._next + 1) % len(self._available)
        return self._available[self._next]


def _said(message: Outgoing) -> int | None:
    """Return the partition that a message names."""
    check_options("a message to Kafka", message.options, ("partition",))
    partition = message.options.get("partition")
    if partition is not None and (type(partition) is not int or partition < 0):
        raise ConfigError(f"the partition of a message is a whole number from 0 on, not {partition!r:.80}")
    return partition


@functools.lru_cache(maxsize=MOST_KEYS)
def _hash_of(key: str) -> int:
    from aiokafka.partitioner import murmur2

    return int(murmur2(key.encode())) & 0x7FFFFFFF
