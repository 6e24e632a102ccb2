"""Kafka and SQS in an application: `enable_messaging`, `enable_sqs`, `kafka_producer`, and what each field decides."""

import asyncio
import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cello import App, Depends, KafkaConfig, Response, SqsConfig
from cello.errors import ConfigError
from cello.messaging import BrokerUnavailable, Message, Outgoing, Producer, kafka_consumer, kafka_producer, sqs_consumer
from cello.messaging.declared import EVERYWHERE, consumer_of
from cello.messaging.kafka.client import connection_options
from cello.testing import TestClient
from tests.gateways.test_limits import obeys
from tests.messaging.kafka_cluster import KafkaCluster, bear_with_the_mock, running_kafka
from tests.messaging.rigs import PATIENCE_S, until
from tests.messaging.streams import KafkaRig, SqsRig, kafka_config, shared_sqs, sqs_config

pytest.importorskip("aiokafka")
pytest.importorskip("aiobotocore")


@pytest.fixture
async def kafka() -> KafkaRig:
    made = KafkaRig()
    await made.open()
    return made


@pytest.fixture
async def sqs() -> SqsRig:
    made = SqsRig()
    await made.open()
    return made


@pytest.fixture
def own() -> Iterator[KafkaCluster]:
    """A cluster that the test may stop."""
    with running_kafka() as cluster:
        if not isinstance(cluster, KafkaCluster):
            pytest.skip("a broker that is not the test's own cannot be stopped")
        bear_with_the_mock()
        yield cluster


@pytest.fixture
def declared_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what a test declares for every application be forgotten."""
    monkeypatch.setattr(EVERYWHERE, "consumers", {})


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


# The switches


@pytest.mark.usefixtures("declared_anew")
@pytest.mark.parametrize("kind", ["kafka", "sqs"])
def test_decorated_functions_consume_in_every_application_that_has_the_switch_on(kind: str) -> None:
    seen: list[str] = []
    decorate = kafka_consumer("orders", group="g") if kind == "kafka" else sqs_consumer("orders", concurrency=2)

    @decorate
    def take(message: Message) -> None:
        seen.append(message.text)

    app = App()
    app.enable_messaging() if kind == "kafka" else app.enable_sqs()
    with TestClient(app, memory_brokers=True) as client:
        assert client.messages.deliver("orders", "x").outcome == "ack"
    assert seen == ["x"]


async def test_what_a_handler_returns_is_sent_too(
    kafka: KafkaRig, client: Callable[..., Any], gateway: str, colour: str
) -> None:
    topic = await kafka.topic()
    app = App()
    app.enable_messaging(kafka_config())

    if colour == "def":

        @app.post("/orders/{id:int}")
        @kafka_producer(topic)
        def order(id: int) -> Any:
            return ({"id": id}, 201) if id else None

    else:

        @app.post("/orders/{id:int}")
        @kafka_producer(topic)
        async def order(id: int) -> Any:
            return ({"id": id}, 201) if id else None

    def ask() -> list[int]:
        opened = client(app, gateway)
        return [opened.post(f"/orders/{number}").status_code for number in (0, 7)]

    assert await in_thread(ask) == [204, 201]
    assert [message.json() for message in await kafka.take(topic, 1)] == [{"id": 7}]


def test_what_is_no_message_is_not_sent() -> None:
    app = App()
    app.enable_messaging()

    @app.get("/")
    @kafka_producer("pages")
    def page(kafka: Any = Depends("kafka")) -> Response:
        return Response.text("hello")

    with TestClient(app, memory_brokers=True, raise_server_exceptions=False) as client:
        assert client.get("/").status_code == 500
        assert client.messages.sent() == []
    with pytest.raises(ConfigError, match="a topic is named by a string"):
        kafka_producer("")


@obeys("KafkaConfig.auto_commit")
async def test_without_auto_commit_messages_are_committed_when_it_is_said_so(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    seen: list[Message] = []
    app = App()
    app.enable_messaging(kafka_config(auto_commit=False, group_id=kafka.options["group"]))
    app.kafka.consumer(topic, ordered_by="none", concurrency=2)(seen.append)

    def serve() -> None:
        with TestClient(app):
            send = asyncio.run_coroutine_threadsafe(send_both(), loop)
            send.result(PATIENCE_S)
            wait_for(lambda: len(seen) == 2)
            next(message for message in seen if message.id == "first").ack()

    async def send_both() -> None:
        async with kafka.producer() as producer:
            for name in ("first", "second"):
                await producer.send(topic, name, id=name, partition=0)

    loop = asyncio.get_running_loop()
    await in_thread(serve)
    assert [message.id for message in await kafka.take(topic, 1)] == ["second"]


def wait_for(holds: Callable[[], object]) -> None:
    asyncio.run(until(holds))


def test_a_start_without_a_broker_fails_and_says_why(own: KafkaCluster) -> None:
    own.down()
    app = App()
    app.enable_messaging(kafka_config(brokers=[own.address], connection_timeout_secs=0.5))
    with pytest.raises(BrokerUnavailable, match=own.address), TestClient(app):
        pass


def test_a_start_that_waits_is_ready_when_the_broker_is_there(own: KafkaCluster) -> None:
    own.create_topic("orders")
    own.down()
    app = App()
    app.enable_health_checks()
    app.enable_messaging(kafka_config(brokers=[own.address], connection_timeout_secs=1), startup="wait")
    done = threading.Event()

    @app.kafka.consumer("orders")
    def take(message: Message) -> None:
        done.set()

    @app.post("/")
    async def send() -> None:
        await app.kafka.send("orders", "x")

    with TestClient(app) as client:
        answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.json()["checks"]["kafka"]["status"] == "down"
        own.up()
        wait_for(lambda: client.get("/health/ready").status_code == 200)
        assert client.post("/").status_code == 204
        assert done.wait(PATIENCE_S)


# What the fields decide


@obeys("KafkaConfig.auto_offset_reset")
async def test_a_new_group_begins_at_the_latest_where_it_is_told(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    seen: list[str] = []
    async with kafka.producer() as producer:
        for partition in range(3):
            await producer.send(topic, "old", partition=partition)
        kafka.config = lambda **fields: kafka_config(auto_offset_reset="latest", **fields)  # type: ignore[method-assign]
        async with kafka.at_work(topic, lambda message: seen.append(message.text)):
            async with asyncio.timeout(PATIENCE_S):
                while "new" not in seen:
                    await producer.send(topic, "new")
                    await asyncio.sleep(0.2)
    assert "old" not in seen


@obeys("KafkaConfig.group_id")
@obeys("KafkaConfig.session_timeout_ms")
@obeys("KafkaConfig.isolation_level")
@obeys("KafkaConfig.max_poll_records")
@obeys("KafkaConfig.client_id")
async def test_fields_reach_the_consumer(kafka: KafkaRig) -> None:
    topic = await kafka.topic()
    config = kafka_config(
        group_id="of-config", isolation_level="read_uncommitted", max_poll_records=7, client_id="me",
        session_timeout_ms=3_333,
    )  # fmt: skip
    app = App()
    app.enable_messaging(config)
    app.kafka.consumer(topic)(print)
    assert [consumer.prefetch for consumer in app.feature("kafka").declared()] == [7]
    broker: Any = config.make_broker()
    subscription = await broker.subscribe(consumer_of(topic, print))
    client = subscription._client
    found = (client._group_id, client._isolation_level, client._client._client_id, client._session_timeout_ms)
    assert found == ("of-config", "read_uncommitted", "me", 3_333)
    assert client._heartbeat_interval_ms == 1_111
    await subscription.close()
    named = await broker.subscribe(consumer_of(topic, print, group="own"))
    assert named._client._group_id == "own"
    await named.close()
    await broker.close()


@obeys("KafkaConfig.compression")
@obeys("KafkaConfig.linger_ms")
@obeys("KafkaConfig.idempotent")
@obeys("KafkaConfig.transaction_timeout_ms")
async def test_fields_reach_the_producer(kafka: KafkaRig) -> None:
    broker: Any = kafka_config(compression="gzip", linger_ms=20, idempotent=False).make_broker()
    made = broker._make_producer()
    assert (made._compression_type, made._message_accumulator._linger_time, made._txn_manager) == ("gzip", 0.02, None)
    await made.stop()
    config = kafka_config(transactional_id="t", transaction_timeout_ms=4_444)
    async with await Producer.connect(config) as producer, producer.transaction() as transaction:
        manager = transaction._broker._producer._txn_manager
        assert manager.transaction_timeout_ms == 4_444
        assert manager.transactional_id.startswith("t-")
    topic = await kafka.topic()
    async with kafka.producer(compression="gzip", idempotent=False) as producer:
        await producer.send(topic, "x" * 5_000)
    assert [len(message.text) for message in await kafka.take(topic, 1)] == [5_000]


@obeys("KafkaConfig.security_protocol")
@obeys("KafkaConfig.sasl_mechanism")
@obeys("KafkaConfig.sasl_username")
@obeys("KafkaConfig.sasl_password")
async def test_a_broker_without_what_was_asked_of_it_is_not_believed(kafka: KafkaRig) -> None:
    signed_in: dict[str, Any] = {"sasl_mechanism": "SCRAM-SHA-256", "sasl_username": "u", "sasl_password": "p"}
    for fields in ({"security_protocol": "SSL"}, {"security_protocol": "SASL_PLAINTEXT", **signed_in}):
        with pytest.raises(BrokerUnavailable):
            await Producer.connect(kafka_config(connection_timeout_secs=1, **fields))
    options = connection_options(kafka_config(security_protocol="SASL_PLAINTEXT", **signed_in))
    assert options["sasl_mechanism"] == "SCRAM-SHA-256"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "p")


@obeys("KafkaConfig.ssl_cafile")
@obeys("KafkaConfig.ssl_certfile")
@obeys("KafkaConfig.ssl_keyfile")
def test_certificates_are_read(tmp_path: Path) -> None:
    for name in ("ssl_cafile", "ssl_certfile"):
        fields: dict[str, Any] = {name: str(tmp_path / name), "security_protocol": "SSL"}
        if name == "ssl_certfile":
            fields["ssl_keyfile"] = str(tmp_path / "key")
        with pytest.raises(ConfigError, match="cannot be read"):
            connection_options(KafkaConfig(**fields))


@obeys("SqsConfig.region")
@obeys("SqsConfig.endpoint_url")
@obeys("SqsConfig.access_key_id")
@obeys("SqsConfig.secret_access_key")
@obeys("SqsConfig.session_token")
async def test_fields_reach_the_client_of_sqs(sqs: SqsRig) -> None:
    broker: Any = sqs_config(
        region="eu-west-3", access_key_id="id", secret_access_key="secret", session_token="token"
    ).make_broker()
    client = await broker.client()
    assert client.meta.region_name == "eu-west-3"
    assert client.meta.endpoint_url == shared_sqs().url
    credentials = client._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("id", "secret", "token")
    await broker.close()


@obeys("SqsConfig.max_messages")
@obeys("SqsConfig.wait_time_secs")
async def test_a_request_for_messages_asks_for_as_many_and_waits_as_long_as_is_said(sqs: SqsRig) -> None:
    topic = await sqs.topic()
    broker: Any = sqs_config(max_messages=2, wait_time_secs=0).make_broker()
    await broker.send_batch([Outgoing(topic, b"x") for _ in range(5)])
    subscription = await broker.subscribe(consumer_of(topic, print))
    assert len(await subscription.fetch(10, 20.0)) == 2
    asked: list[dict[str, Any]] = []

    async def receive_message(**said: Any) -> dict[str, Any]:
        asked.append(said)
        return {}

    subscription._client = type("Client", (), {"receive_message": staticmethod(receive_message)})
    await subscription._receive(2, 20.0)
    assert [(said["MaxNumberOfMessages"], said["WaitTimeSeconds"]) for said in asked] == [(2, 0)]
    subscription._client = await broker.client()
    await subscription.close()
    await broker.close()


OBEYED_ELSEWHERE = {
    # by connecting at all, or in test_kafka.py and test_sqs.py
    "KafkaConfig": {"brokers", "connection_timeout_secs", "send_timeout_secs", "max_message_bytes", "transactional_id"},
    "SqsConfig": {
        "queue_url", "visibility_timeout_secs", "connection_timeout_secs", "send_timeout_secs", "max_message_bytes",
    },
}  # fmt: skip


@pytest.mark.parametrize("config", [KafkaConfig, SqsConfig])
def test_every_field_has_a_test_of_what_obeys_it(config: Any) -> None:
    marked = set(re.findall(rf'@obeys\("{config.__name__}\.(\w+)"', Path(__file__).read_text("utf-8")))
    assert marked | OBEYED_ELSEWHERE[config.__name__] == {field.name for field in dataclasses.fields(config)}
