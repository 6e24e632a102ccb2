"""A Kafka for tests: the one at `CELLO_TEST_KAFKA=host:port`, or librdkafka's mock cluster in a process of its own.

The mock cluster comes with the wheel of confluent-kafka and speaks the real protocol over TCP: groups, rebalances,
idempotent and transactional producers, errors on demand. It keeps messages in memory and has no limits of a topic, no
compaction, no access control; what needs those needs a real broker.

Its functions are librdkafka's own (`rdkafka_mock.h`), called through ctypes: the Python package has no names for them.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.database.servers import missing
from tests.serve.program import ROOT

PRODUCE, FETCH, OFFSET_COMMIT, JOIN_GROUP = 0, 1, 8, 11
"""Numbers of requests in Kafka's protocol, for `KafkaCluster.fail`."""


class KafkaCluster:
    """A mock cluster with one broker, which can be made to go away and come back with all that it holds.

    Attributes:
        address: Its "host:port".
    """

    is_mock = True

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        self.address = str(self._read())

    def create_topic(self, name: str, partitions: int = 1) -> str:
        """Make a topic; return its name. Others make themselves when they are used, with four partitions."""
        self._ask("create", name, partitions)
        return name

    def down(self) -> None:
        """Close all connections and take no more."""
        self._ask("down")

    def up(self) -> None:
        """Take connections again, at the same port."""
        self._ask("up")

    def fail(self, request: int, *codes: int) -> None:
        """Answer the next requests of a kind with these error codes, one each."""
        self._ask("fail", request, *codes)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(30)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _ask(self, *words: object) -> object:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> object:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            missing("librdkafka's mock cluster does not start: pip install confluent-kafka")
        return json.loads(line)


class RealKafka:
    """A broker that runs already."""

    is_mock = False

    def __init__(self, address: str) -> None:
        self.address = address

    def create_topic(self, name: str, partitions: int = 1) -> str:
        """Make a topic; return its name."""
        asyncio.run(self._create(name, partitions))
        return name

    async def _create(self, name: str, partitions: int) -> None:
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1)])
        finally:
            await admin.close()

    def down(self) -> None:
        """Skip the test."""
        pytest.skip("a broker that is not the test's own cannot be stopped")

    up = down

    def fail(self, request: int, *codes: int) -> None:
        """Skip the test."""
        pytest.skip("a real broker does not err on demand")

    def close(self) -> None:
        """Leave it running."""


@contextlib.contextmanager
def running_kafka() -> Iterator[KafkaCluster | RealKafka]:
    """Yield the broker of `CELLO_TEST_KAFKA`, else a mock cluster of one's own."""
    pytest.importorskip("aiokafka")
    address = os.environ.get("CELLO_TEST_KAFKA")
    cluster = RealKafka(address) if address else KafkaCluster()
    try:
        yield cluster
    finally:
        cluster.close()


def bear_with_the_mock() -> None:
    """Have aiokafka, in this process and from now on, get along with what the mock cluster does otherwise than Kafka.

    It refuses a member that asks for its share after its leader has handed the shares in: leaders wait a little. The
    records by which it marks the ends of transactions have no checksum: none is checked.
    """
    from aiokafka.consumer.fetcher import Fetcher
    from aiokafka.consumer.group_coordinator import GroupCoordinator

    assign, make = GroupCoordinator._perform_assignment, Fetcher.__init__
    if assign.__name__ == "assign_later":
        return

    async def assign_later(self: GroupCoordinator, response: Any) -> Any:
        await asyncio.sleep(0.5)
        return await assign(self, response)

    def make_unchecked(self: Fetcher, *args: Any, **named: Any) -> None:
        make(self, *args, **{**named, "check_crcs": False})

    GroupCoordinator._perform_assignment = assign_later
    Fetcher.__init__ = make_unchecked


class _Librdkafka:
    """The mock cluster itself, in this process."""

    def __init__(self) -> None:
        import confluent_kafka

        package = Path(confluent_kafka.__file__).parent
        self._library = ctypes.CDLL(str(next((package.parent / "confluent_kafka.libs").glob("librdkafka*"))))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(self._library, name).restype = ctypes.c_void_p
        self._library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        why = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        client = ctypes.c_void_p(self._library.rd_kafka_new(0, conf, why, len(why)))
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(client, 1))
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 50)
        self.address = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def do(self, order: str, *words: int | str) -> int:
        """Follow an order of `KafkaCluster`; return librdkafka's error code."""
        if order == "create":
            name, partitions = words
            return int(self._library.rd_kafka_mock_topic_create(self._cluster, str(name).encode(), partitions, 1))
        if order == "fail":
            request, *codes = map(int, words)
            array = (ctypes.c_int * len(codes))(*codes)
            self._library.rd_kafka_mock_push_request_errors_array(
                self._cluster, ctypes.c_int16(request), ctypes.c_size_t(len(codes)), array
            )
            return 0
        return int(getattr(self._library, f"rd_kafka_mock_broker_set_{order}")(self._cluster, 1))


def main() -> None:
    """Run the mock cluster, and follow orders until standard input ends."""
    cluster = _Librdkafka()
    print(json.dumps(cluster.address), flush=True)
    for line in sys.stdin:
        print(json.dumps(cluster.do(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
