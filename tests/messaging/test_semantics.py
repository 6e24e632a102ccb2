"""What holds on every broker: one table of tests, run over memory and the real ones (`rigs.py`)."""

import asyncio
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from cello.messaging import BatchError, Message, MessageResult, Outgoing, TooLarge, Unroutable
from cello.messaging.broker import ATTEMPTS_HEADER, ERROR_HEADER, TOPIC_HEADER
from tests.messaging.rigs import RIGS, Rig, until


@dataclass
class Order:
    item: str
    amount: int


BODIES = {
    "bytes": (b"\x00\xff", b"\x00\xff", "application/octet-stream"),
    "text": ("größe", "größe".encode(), "text/plain; charset=utf-8"),
    "a dict": ({"a": [1, None]}, b'{"a":[1,null]}', "application/json"),
    "a dataclass": (Order("tea", 2), b'{"item":"tea","amount":2}', "application/json"),
    "a number": (1.5, b"1.5", "application/json"),
}


@pytest.mark.parametrize(("value", "body", "media_type"), BODIES.values(), ids=BODIES.keys())
async def test_what_is_sent_is_received(rig: Rig, value: Any, body: bytes, media_type: str) -> None:
    topic = await rig.topic()
    async with rig.producer() as producer:
        receipt = await producer.send(topic, value, key="k1", headers={"tenant": "größe"}, id="id-1")
    assert (receipt.id, receipt.topic) == ("id-1", topic)
    (message,) = await rig.take(topic, 1)
    assert message.body == body
    assert message.headers["content-type"] == media_type
    assert message.headers["tenant"] == "größe"
    assert (message.id, message.topic, message.key, message.attempt) == ("id-1", topic, "k1", 1)
    assert abs(message.timestamp - time.time()) < 60


async def test_an_id_and_a_time_are_made_where_none_is_given(rig: Rig) -> None:
    topic = await rig.topic()
    async with rig.producer() as producer:
        receipt = await producer.send(topic)
    (message,) = await rig.take(topic, 1)
    assert message.id == receipt.id
    assert message.body == b""
    assert message.key is None


async def test_a_batch_is_received_whole(rig: Rig) -> None:
    topic = await rig.topic()
    async with rig.producer() as producer:
        assert await producer.send_batch([{"topic": topic, "value": {"n": n}} for n in range(25)]) == 25
    assert sorted(message.json()["n"] for message in await rig.take(topic, 25)) == list(range(25))


@pytest.mark.parametrize("colour", ["def", "async def"])
async def test_a_handler_is_called_in_its_colour(rig: Rig, colour: str) -> None:
    topic = await rig.topic()
    threads: list[threading.Thread] = []

    def plain(message: Message) -> None:
        threads.append(threading.current_thread())

    async def awaited(message: Message) -> None:
        threads.append(threading.current_thread())

    async with rig.producer() as producer, rig.at_work(topic, plain if colour == "def" else awaited):
        await producer.send(topic, "x")
        await until(lambda: threads)
    assert (threads[0] is threading.current_thread()) == (colour == "async def")


async def test_nothing_is_acknowledged_before_the_handler_has_returned(rig: Rig) -> None:
    topic = await rig.topic()
    began = asyncio.Event()

    async def hang(message: Message) -> None:
        began.set()
        await asyncio.Event().wait()

    async with rig.producer() as producer:
        await producer.send(topic, "x", id="one")
        async with rig.at_work(topic, hang) as working:
            await asyncio.wait_for(began.wait(), 30)
            await working.runner.stop(0)
        (message,) = await rig.take(topic, 1)
    assert message.id == "one"


async def test_a_failing_message_is_tried_again_and_then_dead_lettered_with_the_error(rig: Rig) -> None:
    topic = await rig.topic()
    attempts: list[int] = []

    async def fail(message: Message) -> None:
        attempts.append(message.attempt)
        raise ValueError("no such item")

    async with rig.producer() as producer, rig.at_work(topic, fail, retries=2):
        await producer.send(topic, {"item": 1}, headers={"tenant": "a"}, id="poison")
        (dead,) = await rig.take(rig.dead_letter_of(topic), 1)
    assert attempts == [1, 2, 3]
    assert (dead.id, dead.json(), dead.headers["tenant"]) == ("poison", {"item": 1}, "a")
    assert dead.headers[ERROR_HEADER] == "ValueError: no such item"
    assert dead.headers[ATTEMPTS_HEADER] == "3"
    assert dead.headers[TOPIC_HEADER] == topic


async def test_a_message_that_fails_once_is_handled_in_the_end(rig: Rig) -> None:
    topic = await rig.topic()
    attempts: list[int] = []

    def fail_once(message: Message) -> None:
        attempts.append(message.attempt)
        if len(attempts) == 1:
            raise ValueError

    async with rig.producer() as producer, rig.at_work(topic, fail_once):
        await producer.send(topic, "x")
        await until(lambda: len(attempts) == 2)
    assert attempts == [1, 2]


async def test_a_message_without_order_is_overtaken_while_it_waits_for_its_retry(rig: Rig) -> None:
    topic = await rig.topic()
    seen: list[str] = []

    async def fail_first(message: Message) -> None:
        seen.append(message.text)
        if message.text == "a" and message.attempt == 1:
            raise ValueError

    async with rig.producer() as producer, rig.at_work(topic, fail_first, backoff=1.0, max_backoff=1.0, in_order=False):
        for each in "abc":
            await producer.send(topic, each)
        await until(lambda: len(seen) == 4)
    assert seen[-1] == "a"
    assert sorted(seen) == ["a", "a", "b", "c"]


async def test_messages_of_one_key_stay_in_order_through_retries(rig: Rig) -> None:
    topic = await rig.topic()
    seen: list[str] = []

    async def fail_first(message: Message) -> None:
        seen.append(message.text)
        await asyncio.sleep(0)
        if message.text == "0" and message.attempt < 3:
            raise ValueError

    async with rig.producer() as producer, rig.at_work(topic, fail_first, concurrency=4):
        for each in "0123":
            await producer.send(topic, each, key="same")
        await until(lambda: len(seen) == 6)
    assert seen == ["0", "0", "0", "1", "2", "3"]


async def test_as_many_handlers_run_at_a_time_as_are_allowed(rig: Rig) -> None:
    topic = await rig.topic()
    running, most, done = 0, 0, 0
    full = asyncio.Event()

    async def count(message: Message) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        await asyncio.sleep(0)
        running -= 1
        done += 1

    async with rig.producer() as producer, rig.at_work(topic, count, concurrency=3):
        await producer.send_batch([{"topic": topic, "value": "x"} for _ in range(12)])
        await until(lambda: done == 12)
    assert most == 3


async def test_no_more_are_in_hand_than_the_prefetch_allows(rig: Rig) -> None:
    topic = await rig.topic()
    held: list[int] = []
    done = 0

    class Watching(Silent):
        def in_hand(self, consumer: Any, count: int) -> None:
            held.append(count)

    async def work(message: Message) -> None:
        nonlocal done
        await asyncio.sleep(0.002)
        done += 1

    async with rig.producer() as producer, rig.at_work(topic, work, Watching(), prefetch=4, concurrency=2):
        await producer.send_batch([{"topic": topic, "value": "x"} for _ in range(20)])
        await until(lambda: done == 20)
    assert max(held) <= 4


RESULTS = {
    "ACK": (MessageResult.ACK, "ack"),
    "nothing": (None, "ack"),
    "the word": ("ack", "ack"),
    "REJECT": (MessageResult.REJECT, "discard"),
    "DEAD_LETTER": (MessageResult.DEAD_LETTER, "dead_letter"),
}


@pytest.mark.parametrize(("result", "settled"), RESULTS.values(), ids=RESULTS.keys())
async def test_what_a_handler_returns_decides(rig: Rig, result: Any, settled: str) -> None:
    topic = await rig.topic()
    seen: list[str] = []
    watching = Settled()

    async def say(message: Message) -> Any:
        seen.append(message.text)
        return result

    async with rig.producer() as producer, rig.at_work(topic, say, watching):
        await producer.send(topic, "a")
        await until(lambda: watching.results)
        await producer.send(topic, "b")
        await until(lambda: len(watching.results) == 2)
    assert watching.results == [settled, settled]
    assert seen == ["a", "b"]
    if settled == "dead_letter":
        assert len(await rig.take(rig.dead_letter_of(topic), 2)) == 2


async def test_a_requeued_message_comes_again(rig: Rig) -> None:
    topic = await rig.topic()
    seen: list[str] = []

    async def give_back(message: Message) -> Any:
        seen.append(message.id)
        return MessageResult.REQUEUE if len(seen) == 1 else None

    async with rig.producer() as producer, rig.at_work(topic, give_back, retries=0):
        await producer.send(topic, "a", id="one")
        await until(lambda: len(seen) == 2)
    assert seen == ["one", "one"]


async def test_nack_is_a_failure(rig: Rig) -> None:
    topic = await rig.topic()
    attempts: list[int] = []

    def refuse(message: Message) -> None:
        attempts.append(message.attempt)
        message.nack()

    async with rig.producer() as producer, rig.at_work(topic, refuse, retries=1):
        await producer.send(topic, "a")
        (dead,) = await rig.take(rig.dead_letter_of(topic), 1)
    assert attempts == [1, 2]
    assert "nack" in dead.headers[ERROR_HEADER]


async def test_by_hand_a_message_is_acknowledged_when_it_is_said_so(rig: Rig) -> None:
    topic = await rig.topic()
    held: list[Message] = []
    watching = Settled()

    async with rig.producer() as producer, rig.at_work(topic, held.append, watching, auto_ack=False):
        await producer.send_batch([{"topic": topic, "value": each, "id": each} for each in ("a", "b")])
        await until(lambda: len(held) == 2)
        assert watching.results == []
        threading.Thread(target=held[0].ack).start()
        await until(lambda: watching.results == ["ack"])
    (left,) = await rig.take(topic, 1)
    assert left.id == held[1].id


INVALID = {
    "no JSON": (b"{", "the body is no JSON"),
    "a missing member": ({"item": "tea"}, "#/amount is required"),
    "a member of another type": ({"item": "tea", "amount": "two"}, "#/amount"),
    "not UTF-8": (b"\xff", "the body is no JSON"),
}


@pytest.mark.parametrize(("value", "words"), INVALID.values(), ids=INVALID.keys())
async def test_a_body_that_does_not_fit_is_dead_lettered_at_once(rig: Rig, value: Any, words: str) -> None:
    topic = await rig.topic()
    seen: list[Order] = []

    async def take(order: Order) -> None:
        seen.append(order)

    async with rig.producer() as producer, rig.at_work(topic, take):
        await producer.send(topic, value)
        (dead,) = await rig.take(rig.dead_letter_of(topic), 1)
        await producer.send(topic, Order("tea", 2))
        await until(lambda: seen)
    assert seen == [Order("tea", 2)]
    assert words in dead.headers[ERROR_HEADER]
    assert dead.headers[ATTEMPTS_HEADER] == "1"


async def test_batches_are_handled_as_lists(rig: Rig) -> None:
    topic = await rig.topic()
    sizes: list[int] = []
    seen: list[int] = []

    async def take(messages: list[Message]) -> None:
        sizes.append(len(messages))
        seen.extend(message.json() for message in messages)

    async with rig.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": n} for n in range(25)])
        async with rig.at_work(topic, take, batch=10, batch_wait=0.2):
            await until(lambda: len(seen) == 25)
    assert sorted(seen) == list(range(25))
    assert max(sizes) == 10


async def test_of_a_batch_only_what_is_invalid_is_dead_lettered_and_results_are_of_each(rig: Rig) -> None:
    topic = await rig.topic()
    seen: list[int] = []
    watching = Settled()

    async def take(orders: list[Order], messages: list[Message]) -> list[MessageResult]:
        seen.extend(order.amount for order in orders)
        assert len(orders) == len(messages)
        return [MessageResult.REJECT if order.amount == 2 else MessageResult.ACK for order in orders]

    async with rig.producer() as producer:
        values: list[Any] = [Order("tea", 1), {"item": "tea"}, Order("tea", 2), Order("tea", 3)]
        await producer.send_batch([{"topic": topic, "value": value} for value in values])
        async with rig.at_work(topic, take, watching, batch=4, batch_wait=0.5):
            await until(lambda: len(watching.results) == 4)
        (dead,) = await rig.take(rig.dead_letter_of(topic), 1)
    assert dead.json() == {"item": "tea"}
    assert sorted(seen) == [1, 2, 3]
    assert sorted(watching.results) == ["ack", "ack", "dead_letter", "discard"]


async def test_a_handler_that_takes_too_long_has_failed(rig: Rig) -> None:
    topic = await rig.topic()

    async def hang(message: Message) -> None:
        await asyncio.Event().wait()

    async with rig.producer() as producer, rig.at_work(topic, hang, timeout=0.05, retries=0):
        await producer.send(topic, "x")
        (dead,) = await rig.take(rig.dead_letter_of(topic), 1)
    assert "the handler took longer than 0.05 s" in dead.headers[ERROR_HEADER]


async def test_without_a_dead_letter_place_a_message_is_dropped(rig: Rig) -> None:
    topic = await rig.topic()
    watching = Settled()

    async def fail(message: Message) -> None:
        raise ValueError

    async with rig.producer() as producer, rig.at_work(topic, fail, watching, retries=0, dead_letter=False):
        await producer.send(topic, "x")
        await until(lambda: watching.results)
    assert watching.results == ["discard"]


async def test_dead_letters_go_where_the_consumer_says(rig: Rig) -> None:
    topic, place = await rig.topic(), await rig.topic()

    async def fail(message: Message) -> None:
        raise ValueError

    async with rig.producer() as producer, rig.at_work(topic, fail, retries=0, dead_letter=place):
        await producer.send(topic, "x", id="one")
        (dead,) = await rig.take(place, 1)
    assert dead.id == "one"


async def test_at_the_end_handlers_finish_and_what_has_not_begun_is_given_back(rig: Rig) -> None:
    topic = await rig.topic()
    began, may_end = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def work(message: Message) -> None:
        began.set()
        await may_end.wait()
        done.append(message.id)

    async with rig.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": "x", "id": str(n)} for n in range(6)])
        async with rig.at_work(topic, work) as working:
            await asyncio.wait_for(began.wait(), 30)
            stopping = asyncio.create_task(working.runner.stop(30))
            await asyncio.sleep(0.05)
            assert not stopping.done()
            may_end.set()
            await stopping
    assert len(done) == 1
    rest = await rig.take(topic, 5)
    assert sorted([*done, *(message.id for message in rest)]) == [str(n) for n in range(6)]


async def test_too_large_a_message_is_refused(rig: Rig) -> None:
    topic = await rig.topic()
    async with rig.producer(max_message_bytes=1000) as producer:
        with pytest.raises(TooLarge):
            await producer.send(topic, b"x" * 1001)
        with pytest.raises(BatchError) as caught:
            await producer.send_batch([Outgoing(topic, b"1"), Outgoing(topic, b"x" * 1001), Outgoing(topic, b"2")])
    assert set(caught.value.errors) == {1}
    assert isinstance(caught.value.errors[1], TooLarge)
    assert sorted(message.body for message in await rig.take(topic, 2)) == [b"1", b"2"]


@pytest.mark.parametrize("rig", sorted(RIGS), indirect=True)  # the others make topics when they are sent to
async def test_what_goes_nowhere_is_refused(rig: Rig) -> None:
    async with rig.producer() as producer:
        with pytest.raises(Unroutable):
            await producer.send("nowhere", "x", exchange="amq.direct")


async def test_what_a_handler_sets_in_context_is_gone_with_its_message(rig: Rig) -> None:
    topic = await rig.topic()
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    found: list[str] = []

    async def take(message: Message) -> None:
        found.append(tenant.get())
        if message.text == "leaves it":
            tenant.set("somebody")

    async with rig.producer() as producer:
        for n in range(12):
            await producer.send(topic, "leaves it" if n % 2 else "")
        async with rig.at_work(topic, take):
            await until(lambda: len(found) == 12)
    assert set(found) == {"nobody"}


async def test_a_handler_that_cancels_its_task_does_not_cancel_the_next(rig: Rig) -> None:
    topic = await rig.topic()
    seen: list[str] = []

    async def take(message: Message) -> None:
        await asyncio.sleep(0)
        seen.append(message.id)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async with rig.producer() as producer:
        sent = [(await producer.send(topic, "x")).id for _ in range(6)]
        async with rig.at_work(topic, take):
            await until(lambda: len(set(seen)) == 6)
    assert sorted(set(seen)) == sorted(sent)


async def test_handlers_that_never_wait_leave_room_for_others(rig: Rig) -> None:
    topic = await rig.topic()
    rounds: list[int] = []
    turns = 0

    async def take(message: Message) -> None:
        until_s = time.perf_counter() + 0.001
        while time.perf_counter() < until_s:
            pass
        rounds.append(turns)

    async def go_round() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with rig.producer() as producer:
        await producer.send_batch([{"topic": topic, "value": "x", "key": "k"} for _ in range(100)])
        going = asyncio.create_task(go_round())
        async with rig.at_work(topic, take, prefetch=100):
            await until(lambda: len(rounds) == 100)
        going.cancel()
    assert len(set(rounds)) >= 10


class Silent:
    """An observer that tests extend."""

    def called(self, consumer: Any, seconds: Any) -> None:
        pass

    def settled(self, consumer: Any, result: str, count: int = 1) -> None:
        pass

    def in_hand(self, consumer: Any, count: int) -> None:
        pass

    def lag(self, consumer: Any, count: int) -> None:
        pass

    def around(self, consumer: Any, messages: Any) -> Any:
        import contextlib

        return contextlib.nullcontext()


class Settled(Silent):
    """Remembers the results."""

    def __init__(self) -> None:
        self.results: list[str] = []

    def settled(self, consumer: Any, result: str, count: int = 1) -> None:
        self.results += [result] * count
