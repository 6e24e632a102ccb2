"""What only SQS has: visibility, FIFO groups, batches that fail in part, attributes, redrive policies."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cello.errors import ConfigError
from cello.messaging import (
    BrokerUnavailable,
    Consumer,
    Message,
    MessageResult,
    MessagingError,
    Producer,
    Refused,
    SqsConfig,
    TooLarge,
    Unroutable,
)
from cello.messaging.broker import ACK, ERROR_HEADER, TOPIC_HEADER
from cello.messaging.declared import consumer_of
from cello.messaging.message import Outgoing
from cello.messaging.sqs.batches import Batches, outcomes
from cello.messaging.sqs.broker import dead_letter_name
from cello.messaging.sqs.records import entry_of, message_of, size_of
from tests.messaging.rigs import until
from tests.messaging.streams import SqsRig, shared_sqs, sqs_config
from tests.messaging.test_semantics import Settled

pytest.importorskip("aiobotocore")


@pytest.fixture
async def sqs() -> AsyncIterator[SqsRig]:
    made = SqsRig()
    await made.open()
    yield made
    await made.close()


def queue(suffix: str = "", **attributes: str) -> str:
    """Make a queue and return its URL."""
    return shared_sqs().create_queue(f"q-{uuid.uuid4().hex[:10]}{suffix}", **attributes)


def sent_and_received(message: Outgoing) -> Message:
    """Return a message as it comes back from SQS' API, by what would be sent."""
    entry = entry_of(message, is_fifo=False)
    raw = {
        "MessageId": "theirs", "ReceiptHandle": "r", "Body": entry["MessageBody"],
        "MessageAttributes": entry["MessageAttributes"], "Attributes": {"SentTimestamp": "1500"},
    }  # fmt: skip
    return message_of(raw, message.topic)


BODIES = {
    "text": b"hello",
    "nothing": b"",
    "bytes that are no text": b"\xff\x00\xfe",
    "a control character": b"a\x00b",
    "what looks like base64": base64.b64encode(b"x"),
    "all planes": "größe 🎉 \ufffd".encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_any_body_comes_back(body: bytes) -> None:
    assert sent_and_received(Outgoing("q", body)).body == body


def test_text_is_sent_as_it_is_for_others_to_read() -> None:
    assert entry_of(Outgoing("q", b'{"a": 1}'), is_fifo=False)["MessageBody"] == '{"a": 1}'


HEADERS: dict[str, dict[str, str]] = {
    "few": {"content-type": "text/plain", "tenant": "a"},
    "more than attributes there may be": {f"h{n}": str(n) for n in range(20)},
    "a name that no attribute has": {"x y": "1", "": "2"},
    "an empty value": {"a": ""},
    "a name that is AWS's": {"AWS.trace": "1"},
    "one of our own": {"cello-id": "faked"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
def test_any_headers_come_back(headers: dict[str, str]) -> None:
    message = sent_and_received(Outgoing("q", b"x", "k", headers, "id"))
    assert (message.headers, message.id, message.key) == (headers, "id", "k")
    assert len(entry_of(Outgoing("q", b"x", "k", headers), is_fifo=False)["MessageAttributes"]) <= 10


def test_what_others_sent_is_read_too() -> None:
    raw = {"MessageId": "theirs", "ReceiptHandle": "r", "Body": "plain"}
    message = message_of(raw, "q")
    assert (message.id, message.text, message.key, message.headers, message.attempt) == ("theirs", "plain", None, {}, 1)


def test_the_size_is_counted_as_sqs_does() -> None:
    entry = {"MessageBody": "äb", "MessageAttributes": {"n": {"DataType": "String", "StringValue": "ö"}}}
    assert size_of(entry) == 3 + 1 + len("String") + 2


NAMES = {
    "a queue": ("http://h/1/orders", "orders-dead-letter"),
    "a FIFO queue": ("http://h/1/orders.fifo", "orders-dead-letter.fifo"),
}


@pytest.mark.parametrize(("url", "name"), NAMES.values(), ids=NAMES.keys())
def test_dead_letters_have_a_queue_of_the_same_kind(url: str, name: str) -> None:
    assert dead_letter_name(url) == name


async def test_a_fifo_group_stays_in_order_through_a_failure_and_others_go_on(sqs: SqsRig) -> None:
    url = queue(".fifo", FifoQueue="true")
    seen: list[str] = []

    async def take(message: Message) -> None:
        seen.append(message.text)
        if message.text == "a0" and message.attempt < 3:
            raise ValueError

    async with sqs.producer() as producer, sqs.at_work(url, take, concurrency=4):
        for n in range(3):
            for group in "ab":
                await producer.send(url, f"{group}{n}", key=group)
        await until(lambda: len(seen) == 8)
    assert [text for text in seen if text[0] == "a"] == ["a0", "a0", "a0", "a1", "a2"]
    assert [text for text in seen if text[0] == "b"] == ["b0", "b1", "b2"]


async def test_what_is_sent_twice_to_a_fifo_queue_by_one_id_is_there_once(sqs: SqsRig) -> None:
    url = queue(".fifo", FifoQueue="true")
    async with sqs.producer() as producer:
        for _ in range(2):
            await producer.send(url, "x", key="g", id="same")
        await producer.send(url, "y", key="g")
    assert [message.text for message in await sqs.take(url, 2)] == ["x", "y"]


async def test_a_slow_handler_keeps_its_message(sqs: SqsRig) -> None:
    topic = await sqs.topic()
    seen: list[int] = []
    other: list[Message] = []

    async def slow(message: Message) -> None:
        seen.append(message.attempt)
        await asyncio.sleep(9)  # twice the timeout

    sqs.config = lambda **fields: sqs_config(visibility_timeout_secs=4, **fields)  # type: ignore[method-assign]
    async with sqs.producer() as producer, sqs.at_work(topic, slow):
        await producer.send(topic, "x")
        await until(lambda: seen)
        async with await Consumer.connect(sqs.config()) as consumer:
            await consumer.subscribe(topic)
            for _ in range(8):
                other += await consumer.poll(1000)
    assert (seen, other) == ([1], [])


async def test_what_nobody_settles_comes_back_after_its_time(sqs: SqsRig) -> None:
    topic = await sqs.topic()
    broker: Any = sqs_config(visibility_timeout_secs=1).make_broker()
    await broker.send(Outgoing(topic, b"x"))
    subscription: Any = await broker.subscribe(consumer_of(topic, print))
    try:
        (first,) = await subscription.fetch(1, 20.0)
        (second,) = await subscription.fetch(1, 20.0)
        assert (first.attempt, second.attempt) == (1, 2)
        assert first.id == second.id
        await subscription.settle(second, ACK)
    finally:
        await subscription.close()
        await broker.close()


async def test_at_the_end_what_was_received_is_shown_to_others_at_once(sqs: SqsRig) -> None:
    topic = await sqs.topic()
    broker: Any = sqs_config(visibility_timeout_secs=600).make_broker()
    await broker.send(Outgoing(topic, b"x"))
    subscription: Any = await broker.subscribe(consumer_of(topic, print))
    assert len(await subscription.fetch(1, 20.0)) == 1
    await subscription.close()
    await broker.close()
    assert len(await sqs.take(topic, 1)) == 1


async def test_dead_letters_go_where_the_queues_own_policy_says(sqs: SqsRig) -> None:
    dead = queue()
    url = queue(**shared_sqs().redrive(dead, 5))

    async def refuse(message: Message) -> Any:
        return MessageResult.DEAD_LETTER

    async with sqs.producer() as producer, sqs.at_work(url, refuse):
        await producer.send(url, "x")
        (letter,) = await sqs.take(dead, 1)
    assert letter.text == "x"
    assert letter.headers[TOPIC_HEADER] == url
    assert "dead_letter" in letter.headers[ERROR_HEADER]


async def test_of_a_batch_each_hears_what_became_of_its_own() -> None:
    asked: list[int] = []

    async def request(entries: Any) -> dict[str, Any]:
        asked.append(len(entries))
        failed = [
            {"Id": e["Id"], "SenderFault": True, "Code": "ReceiptHandleIsInvalid"} for e in entries if e["n"] == 3
        ]
        return {"Successful": [{"Id": e["Id"]} for e in entries if e["n"] != 3], "Failed": failed}

    batches = Batches(request, "delete")
    results = await asyncio.gather(*(batches.add({"n": n}) for n in range(25)), return_exceptions=True)
    assert [n for n, result in enumerate(results) if result is not None] == [3]
    assert isinstance(results[3], Refused)
    assert asked == [10, 10, 5]


def test_a_fault_of_the_server_is_told_from_one_of_ours() -> None:
    answer = {
        "Successful": [{"Id": "0"}],
        "Failed": [{"Id": "1", "SenderFault": False, "Code": "InternalError"}, {"Id": "2", "Code": "InvalidAddress"}],
    }
    kinds = [type(each) for each in outcomes(answer, 4, "send")]
    assert kinds == [dict, BrokerUnavailable, Refused, MessagingError]


async def test_a_batch_goes_to_several_queues_and_what_cannot_go_is_said(sqs: SqsRig) -> None:
    first, second = await sqs.topic(), await sqs.topic()
    broker: Any = sqs_config(max_message_bytes=1000).make_broker()
    large = Outgoing(first, b"x" * 1001)
    messages = [Outgoing(first, b"1"), large, Outgoing("nowhere", b"2"), Outgoing(second, b"3")]
    results = await broker.send_batch(messages)
    await broker.close()
    assert [type(each).__name__ for each in results] == ["Receipt", "TooLarge", "Unroutable", "Receipt"]
    assert [message.text for message in await sqs.take(second, 1)] == ["3"]


async def test_a_batch_is_no_larger_than_one_message_may_be(sqs: SqsRig) -> None:
    topic = await sqs.topic()
    async with sqs.producer(max_message_bytes=1000) as producer:
        assert await producer.send_batch([{"topic": topic, "value": "x" * 600} for _ in range(5)]) == 5
    assert len(await sqs.take(topic, 5)) == 5


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's, beyond a MiB
async def test_what_cannot_be_sent_is_refused(sqs: SqsRig) -> None:
    topic = await sqs.topic()
    async with sqs.producer() as producer:
        with pytest.raises(Unroutable, match="no-such-queue"):
            await producer.send("no-such-queue", "x")
        with pytest.raises(ConfigError, match="0 to 900 whole seconds"):
            await producer.send(topic, "x", delay=901)
        with pytest.raises(ConfigError, match="did you mean 'delay'"):
            await producer.send(topic, "x", dealy=1)
    async with sqs.producer(max_message_bytes=2_000_000) as producer:
        with pytest.raises(TooLarge):  # by the server's limit, not ours
            await producer.send(topic, "x" * 1_100_000)


async def test_a_message_may_be_delayed(sqs: SqsRig) -> None:
    topic = await sqs.topic()
    async with sqs.producer() as producer:
        await producer.send(topic, "later", delay=2)
        await producer.send(topic, "now")
    assert [message.text for message in await sqs.take(topic, 2)] == ["now", "later"]


async def test_the_configs_queue_is_that_of_consumers_and_messages_that_name_none(sqs: SqsRig) -> None:
    url = queue()
    sqs.config = lambda **fields: sqs_config(queue_url=url, **fields)  # type: ignore[method-assign]
    seen: list[str] = []
    async with sqs.at_work("", lambda message: seen.append(message.topic)):
        async with sqs.producer() as producer:
            await producer.send(url, "x")
        await until(lambda: seen)
    assert seen == [url]
    broker: Any = sqs_config(queue_url=url).make_broker()
    assert await broker.check() == {"waiting": 0}
    await broker.close()


async def test_a_consumer_without_a_queue_or_of_one_that_is_not_there_is_refused(sqs: SqsRig) -> None:
    broker: Any = sqs_config().make_broker()
    with pytest.raises(ConfigError, match="names no queue"):
        await broker.subscribe(consumer_of("", print))
    gone = queue().replace("q-", "gone-")
    with pytest.raises(ConfigError, match="there is no such queue"):
        await broker.subscribe(consumer_of(gone, print))
    await broker.close()


async def test_a_server_that_is_not_there_is_said() -> None:
    config = SqsConfig.local(endpoint_url="http://127.0.0.1:9", connection_timeout_secs=0.5, send_timeout_secs=1)
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:9"):
        await Producer.connect(config)


async def test_hundreds_go_in_and_come_out(sqs: SqsRig) -> None:
    topic = await sqs.topic()
    count = 300  # moto's time for a request grows with what is in a queue
    seen: dict[str, int] = {}

    async def take(messages: list[Message]) -> None:
        for message in messages:
            seen[message.text] = seen.get(message.text, 0) + 1

    async with sqs.producer() as producer:
        assert await producer.send_batch([{"topic": topic, "value": str(n)} for n in range(count)]) == count
    watching = Settled()
    async with sqs.at_work(topic, take, watching, batch=10, concurrency=4, prefetch=80):
        await until(lambda: len(seen) == count, 60)
        await until(lambda: len(watching.results) >= sum(seen.values()))
    assert set(watching.results) == {"ack"}
    twice = sum(seen.values()) - count  # moto's threads sometimes hand one message to two who ask at the same time
    assert twice <= 20
    broker: Any = sqs_config().make_broker()
    url = await broker.url_of(topic)
    left = await broker.attributes(url, "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    await broker.close()
    assert set(left.values()) == {"0"}
