"""What only RabbitMQ has: its config, exchanges and bindings, quorum queues, confirmations, and how it fails."""

import asyncio
import contextlib
import socket
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import pytest

from cello import App, ConfigError, RabbitMQConfig
from cello.messaging import (
    BrokerUnavailable,
    Consumer,
    Message,
    Producer,
    SendTimeout,
    TooLarge,
    Unroutable,
    rabbitmq_consumer,
)
from cello.messaging.declared import EVERYWHERE
from cello.messaging.rabbitmq.link import Link
from cello.testing import TestClient
from tests.messaging.rigs import PATIENCE_S, RabbitMQRig, until

Test = TypeVar("Test", bound=Callable[..., Any])
OBEYED: set[str] = set()


def obeys(field: str) -> Callable[[Test], Test]:
    """Note which field of `RabbitMQConfig` a test shows."""
    OBEYED.add(field)
    return lambda test: test


@pytest.fixture
async def rabbit() -> AsyncIterator[RabbitMQRig]:
    rig = RabbitMQRig()
    await rig.open()
    yield rig
    await rig.close()


@contextlib.asynccontextmanager
async def channel(rig: RabbitMQRig) -> AsyncIterator[Any]:
    link = Link(rig.config(), "test")  # type: ignore[arg-type]  # it is RabbitMQ's
    try:
        yield await (await link.channel()).get_underlay_channel()
    finally:
        await link.close()


ADDRESSES = {
    "a host": ({}, "amqp://localhost/%2F", "amqp://localhost/"),
    "all of it": (
        {"url": "amqps://me:s%40cret@rabbit:5671/shop?cafile=ca.pem"},
        "amqps://me:s%40cret@rabbit:5671/shop?cafile=ca.pem",
        "amqps://me@rabbit:5671/shop",
    ),
    "a virtual host beside": (
        {"url": "amqp://rabbit", "vhost": "/shop"},
        "amqp://rabbit/%2Fshop",
        "amqp://rabbit/%2Fshop",
    ),
    "the same twice": ({"url": "amqp://rabbit/shop", "vhost": "shop"}, "amqp://rabbit/shop", "amqp://rabbit/shop"),
}


@obeys("url")
@obeys("vhost")
@pytest.mark.parametrize(("fields", "full", "safe"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_an_address_is_read_and_shown_without_its_password(fields: dict[str, Any], full: str, safe: str) -> None:
    config = RabbitMQConfig(**fields)
    assert (config.full_url, config.safe_url) == (full, safe)
    assert repr(config) == f"RabbitMQConfig({safe!r})"


WRONG = {
    "another protocol": ({"url": "http://rabbit"}, "RabbitMQConfig.url is such as"),
    "no host": ({"url": "amqp://"}, "RabbitMQConfig.url is such as"),
    "no port": ({"url": "amqp://rabbit:x"}, "RabbitMQConfig.url: Port could not be cast"),
    "two virtual hosts": ({"url": "amqp://rabbit/a", "vhost": "b"}, "the URL names the virtual host 'a', vhost is 'b'"),
    "no prefetch": ({"prefetch_count": 0}, "RabbitMQConfig.prefetch_count must be at least 1"),
    "a queue type": ({"queue_type": "stream"}, "RabbitMQConfig.queue_type must be one of"),
}


@pytest.mark.parametrize(("fields", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_config_that_cannot_work_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RabbitMQConfig(**fields)


def test_local_is_the_server_on_this_machine() -> None:
    assert RabbitMQConfig.local() == RabbitMQConfig()


def test_something_else_than_a_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="enable_rabbitmq\\(\\) takes a RabbitMQConfig, not 5"):
        App().enable_rabbitmq(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="consumers must be one of everywhere, worker"):
        App().enable_rabbitmq(consumers="nowhere")
    with pytest.raises(ConfigError, match="drain_timeout"):
        App().enable_rabbitmq(drain_timeout=-1)
    with pytest.raises(ConfigError, match=r"there is no rabbitmq: call app.enable_rabbitmq\(\) first"):
        _ = App().rabbitmq


@obeys("prefetch_count")
async def test_the_server_pushes_no_more_than_the_prefetch(rabbit: RabbitMQRig) -> None:
    queue = await rabbit.topic()
    app = App()
    app.enable_rabbitmq(RabbitMQConfig(rabbit.url, prefetch_count=3))
    held = asyncio.Event()
    began = 0

    @app.rabbitmq.consumer(queue, concurrency=50)
    async def hold(message: Message) -> None:
        nonlocal began
        began += 1
        await held.wait()

    async with rabbit.producer() as producer, TestClient(app), channel(rabbit) as asked:
        await producer.send_batch([{"topic": queue, "value": "x"} for _ in range(10)])
        await until(lambda: began == 3)
        assert (await asked.queue_declare(queue, passive=True)).message_count == 7
        held.set()
        await until(lambda: began == 10)


@obeys("heartbeat")
async def test_the_heartbeat_is_agreed_with_the_server(rabbit: RabbitMQRig) -> None:
    link = Link(RabbitMQConfig(rabbit.url, heartbeat=7), "test")
    connection = await link.connection()
    assert connection.transport.connection.connection_tune.heartbeat == 7
    await link.close()


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@obeys("connection_timeout_secs")
async def test_connecting_takes_no_longer_than_it_may() -> None:
    with silent_server() as port:
        config = RabbitMQConfig(f"amqp://127.0.0.1:{port}", connection_timeout_secs=0.2)
        with pytest.raises(BrokerUnavailable, match="does not answer in time"):
            await Producer.connect(config)


@obeys("confirm_timeout_secs")
async def test_a_confirmation_that_does_not_come_is_a_timeout(rabbit: RabbitMQRig) -> None:
    queue = await rabbit.topic()
    async with rabbit.producer(confirm_timeout_secs=0.3) as producer:
        broker: Any = producer._broker
        sending = await broker._open()

        async def lose(frame: Any) -> None:
            """Lose what the server confirms."""

        sending._on_confirm_frame = lose
        with pytest.raises(SendTimeout, match=r"did not confirm within 0\.3 s"):
            await producer.send(queue, "x")
    assert len(await rabbit.take(queue, 1)) == 1


@obeys("max_message_bytes")
async def test_what_is_too_large_is_not_sent(rabbit: RabbitMQRig) -> None:
    queue = await rabbit.topic()
    async with rabbit.producer(max_message_bytes=3) as producer:
        with pytest.raises(TooLarge, match=r"has 4 bytes, RabbitMQConfig\.max_message_bytes is 3"):
            await producer.send(queue, "four")
        await producer.send(queue, "yes")
    (message,) = await rabbit.take(queue, 1)
    assert message.text == "yes"


@obeys("queue_type")
@pytest.mark.parametrize("said", ["the config", "the consumer"])
async def test_a_quorum_queue_is_declared_and_counts_deliveries(rabbit: RabbitMQRig, said: str) -> None:
    queue = f"cello-test-{uuid.uuid4().hex[:12]}"
    rabbit.made.append(queue)
    fields = {"queue_type": "quorum"} if said == "the config" else {}
    options = {"queue_type": "quorum"} if said == "the consumer" else {}
    config = RabbitMQConfig(rabbit.url, **fields)
    rabbit.config = lambda **more: config  # type: ignore[method-assign,assignment]
    attempts: list[int] = []

    async def fail(message: Message) -> None:
        attempts.append(message.attempt)
        raise ValueError("never")

    async with rabbit.at_work(queue, fail, retries=2, **options), Producer(config.make_broker()) as producer:
        await producer.send(queue, "x")
        await until(lambda: len(attempts) == 3)
        async with channel(rabbit) as asked:
            await asked.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})  # else it would raise
        consumer = await Consumer.connect(config)
        await consumer.subscribe(f"{queue}.dead-letter", queue_type="quorum")
        (dead,) = await consumer.poll(timeout_ms=PATIENCE_S * 1000)
        await consumer.commit(dead)
        await consumer.close()
    assert attempts == [1, 2, 3]
    assert dead.headers["cello-error"] == "ValueError: never"


def test_every_field_of_the_config_is_obeyed() -> None:
    import dataclasses

    assert {field.name for field in dataclasses.fields(RabbitMQConfig)} == OBEYED  # type: ignore[arg-type]


async def test_exchanges_route_by_their_bindings(rabbit: RabbitMQRig) -> None:
    exchange = f"cello-test-{uuid.uuid4().hex[:12]}"
    eu, every = await rabbit.topic(), await rabbit.topic()
    seen: list[tuple[str, str]] = []

    async def take_eu(message: Message) -> None:
        seen.append(("eu", message.text))

    async def take_all(message: Message) -> None:
        seen.append(("all", message.text))

    said = {"exchange": exchange, "exchange_type": "topic"}
    async with (
        rabbit.at_work(eu, take_eu, **said, routing_key=["order.eu.*", "refund.#"]),
        rabbit.at_work(every, take_all, **said, routing_key="#"),
        rabbit.producer() as producer,
    ):
        for key in ("order.eu.tea", "order.us.tea", "refund", "refund.eu.tea"):
            await producer.send(key, key, exchange=exchange)
        await until(lambda: len(seen) == 7)
    async with channel(rabbit) as asked:
        await asked.exchange_delete(exchange)
    assert sorted(text for queue, text in seen if queue == "eu") == ["order.eu.tea", "refund", "refund.eu.tea"]


async def test_what_goes_nowhere_raises_unless_that_is_allowed(rabbit: RabbitMQRig) -> None:
    async with rabbit.producer() as producer:
        with pytest.raises(Unroutable, match="there is no queue 'nobody-has-this'"):
            await producer.send("nobody-has-this", "x")
        with pytest.raises(Unroutable, match=r"no queue is bound to the exchange 'amq\.direct' with the key 'nothing'"):
            await producer.send("nothing", "x", exchange="amq.direct")
        with pytest.raises(Unroutable, match="no exchange 'nobody-has-this'"):
            await producer.send("x", "x", exchange="nobody-has-this")
        await producer.send("nobody-has-this", "x", mandatory=False)


async def test_of_two_messages_with_one_id_each_hears_of_itself(rabbit: RabbitMQRig) -> None:
    queue = await rabbit.topic()
    async with rabbit.producer() as producer:
        results = await asyncio.gather(
            *(producer.send(to, "x", id="same") for to in ("nobody-has-this", queue) * 10), return_exceptions=True
        )
    assert [isinstance(result, Unroutable) for result in results] == [True, False] * 10


async def test_messages_expire_and_have_priorities_and_amqps_own_properties(rabbit: RabbitMQRig) -> None:
    queue = await rabbit.topic()
    async with rabbit.producer() as producer:
        await producer.send(queue, "gone", expiration=0.001)
        await asyncio.sleep(0.05)
        headers = {"correlation-id": "c1", "reply-to": "answers", "content-type": "text/x-tea"}
        await producer.send(queue, "there", headers=headers, priority=3, persistent=False)
        with pytest.raises(
            ConfigError, match="a message to RabbitMQ has no option 'expirations'; did you mean 'expiration'"
        ):
            await producer.send(queue, "x", expirations=1)
    async with channel(rabbit) as asked:
        found = await asked.basic_get(queue)
        properties = found.header.properties
        await asked.basic_nack(found.delivery_tag, requeue=True)
    assert (properties.correlation_id, properties.reply_to, properties.content_type) == ("c1", "answers", "text/x-tea")
    assert (properties.priority, properties.delivery_mode) == (3, 1)
    (message,) = await rabbit.take(queue, 1)
    assert (message.text, message.headers["correlation-id"]) == ("there", "c1")


UNFIT = {
    "another kind of queue": ({"queue_type": "quorum"}, "PRECONDITION_FAILED"),
    "an option that is none": ({"exchnage": "x"}, "has no option 'exchnage'; did you mean 'exchange'"),
    "a queue type that is none": ({"queue_type": "stream"}, "queue_type is one of classic, quorum, not 'stream'"),
    "an exchange type that is none": ({"exchange": "x", "exchange_type": "y"}, "exchange_type is one of direct"),
}


@pytest.mark.parametrize(("options", "words"), UNFIT.values(), ids=UNFIT.keys())
async def test_a_consumer_that_does_not_fit_ends_the_start(
    rabbit: RabbitMQRig, options: dict[str, Any], words: str
) -> None:
    queue = await rabbit.topic()
    app = App()
    app.enable_rabbitmq(rabbit.url)
    app.rabbitmq.consumer(queue, **options)(print)
    with pytest.raises(ConfigError, match=words):
        await asyncio.to_thread(TestClient(app).open)


async def test_a_queue_that_is_not_to_be_declared_must_be_there(rabbit: RabbitMQRig) -> None:
    app = App()
    app.enable_rabbitmq(rabbit.url)
    app.rabbitmq.consumer("nobody-has-this", declare=False)(print)
    with pytest.raises(ConfigError, match="no queue 'nobody-has-this'"):
        await asyncio.to_thread(TestClient(app).open)


async def test_of_single_active_consumers_one_gets_everything_until_it_is_gone(rabbit: RabbitMQRig) -> None:
    queue = f"cello-test-{uuid.uuid4().hex[:12]}"
    rabbit.made.append(queue)
    seen: list[str] = []

    async with rabbit.producer() as producer, contextlib.AsyncExitStack() as stack:
        second = contextlib.AsyncExitStack()
        async with rabbit.at_work(queue, lambda message: seen.append("first"), single_active=True):
            await second.enter_async_context(
                rabbit.at_work(queue, lambda message: seen.append("second"), single_active=True)
            )
            stack.push_async_exit(second)
            await producer.send_batch([{"topic": queue, "value": "x"} for _ in range(10)])
            await until(lambda: len(seen) == 10)
            assert set(seen) == {"first"}
        await producer.send(queue, "x")
        await until(lambda: len(seen) == 11)
    assert seen[-1] == "second"


async def test_a_deleted_queue_is_noticed_and_declared_anew(rabbit: RabbitMQRig) -> None:
    queue = await rabbit.topic()
    seen: list[str] = []

    async def take(message: Message) -> None:
        seen.append(message.text)

    async with rabbit.at_work(queue, take), rabbit.producer() as producer:
        await producer.send(queue, "before")
        await until(lambda: seen)
        async with channel(rabbit) as asked:
            await asked.queue_delete(queue)

        async def sent() -> bool:
            with contextlib.suppress(Unroutable):
                await producer.send(queue, "after")
                return True
            return False

        while not await sent():
            await asyncio.sleep(0.02)
        await until(lambda: "after" in seen)


async def test_consumers_declared_for_every_application_run(
    rabbit: RabbitMQRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EVERYWHERE, "consumers", {})
    queue = await rabbit.topic()
    seen = threading.Event()

    @rabbitmq_consumer(queue)
    def take(message: Message) -> None:
        seen.set()

    app = App()
    app.enable_rabbitmq(rabbit.url)
    async with rabbit.producer() as producer:
        with TestClient(app):
            await producer.send(queue, "x")
            assert await asyncio.to_thread(seen.wait, PATIENCE_S)


async def test_by_hand_messages_are_polled_and_committed(rabbit: RabbitMQRig) -> None:
    first, second = await rabbit.topic(), await rabbit.topic()
    async with rabbit.producer() as producer:
        for number in range(4):
            await producer.send(first if number % 2 else second, str(number))
    async with await Consumer.connect(rabbit.config()) as consumer:
        with pytest.raises(ConfigError, match="subscribe to something first"):
            await consumer.poll()
        await consumer.subscribe([first, second])
        found: list[Message] = []
        while len(found) < 4:
            found += await consumer.poll(timeout_ms=5000, max_messages=1)
        assert sorted(message.text for message in found) == ["0", "1", "2", "3"]
        given_back = next(message for message in found if message.text == "0")
        given_back.nack()
        await consumer.commit(next(message for message in found if message.text == "1"))
        await consumer.commit(given_back)
    left = [*await rabbit.take(first, 1), *await rabbit.take(second, 2)]
    assert sorted(message.text for message in left) == ["0", "2", "3"]
