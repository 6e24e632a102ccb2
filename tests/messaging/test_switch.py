"""A broker in an application: producers in handlers of both colours, consumers, what tests see; every gateway."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cello import App, ConfigError, Depends, RabbitMQConfig
from cello.features.messaging.switch import MessagingSwitch
from cello.messaging import MemoryConfig, Message, MessageResult
from cello.testing import TestClient
from tests.messaging.rigs import PATIENCE_S, Rig


@dataclass
class Order:
    item: str
    amount: int = 1


def app_over(rig: Rig, **options: Any) -> App:
    app = App()
    app.enable(MessagingSwitch("messages", "enable_messages", rig.config(), **options))
    return app


async def test_handlers_send_in_their_colour(rig: Rig, client: Callable[..., Any], gateway: str, colour: str) -> None:
    topic = await rig.topic()
    app = app_over(rig)

    if colour == "def":

        @app.post("/orders")
        def take(order: Order, messages: Any = Depends("messages")) -> Any:
            messages.send_batch([{"topic": topic, "value": "another"}])
            return {"id": messages.send(topic, order, id="one").id}

    else:

        @app.post("/orders")
        async def take(order: Order, messages: Any = Depends("messages")) -> Any:
            await messages.send_batch([{"topic": topic, "value": "another"}])
            return {"id": (await messages.send(topic, order, id="one")).id}

    def ask() -> None:
        answer = client(app, gateway).post("/orders", json={"item": "tea", "amount": 1})
        assert answer.json() == {"id": "one"}

    await in_thread(ask)
    assert sorted(message.text for message in await rig.take(topic, 2)) == ["another", '{"item":"tea","amount":1}']


async def test_consumers_run_with_the_application_and_get_what_they_ask_for(
    rig: Rig, client: Callable[..., Any], gateway: str, colour: str
) -> None:
    topic = await rig.topic()
    app = app_over(rig)
    app.register_singleton("prices", {"tea": 3})
    seen: list[Any] = []
    done = threading.Event()

    def session() -> Iterator[str]:
        seen.append("opened")
        yield "session"
        seen.append("closed")
        done.set()

    async def nested(inner: str = Depends(session)) -> AsyncIterator[str]:
        yield f"nested {inner}"

    decorate = app.feature("messages").resource.consumer(topic)
    if colour == "def":

        @decorate
        def take(
            order: Order,
            message: Message,
            prices: Any = Depends("prices"),
            one: str = Depends(nested),
            *,
            more: int = 1,
        ) -> None:
            seen.append((order, message.id, prices["tea"], one, more))

    else:

        @decorate
        async def take(
            order: Order,
            message: Message,
            prices: Any = Depends("prices"),
            one: str = Depends(nested),
            *,
            more: int = 1,
        ) -> None:
            seen.append((order, message.id, prices["tea"], one, more))

    @app.post("/orders")
    async def send(messages: Any = Depends("messages")) -> None:
        await messages.send(topic, Order("tea"), id="one")

    def ask() -> None:
        opened = client(app, gateway)
        assert opened.post("/orders").status_code == 204
        assert done.wait(PATIENCE_S)

    await in_thread(ask)
    assert seen == ["opened", (Order("tea"), "one", 3, "nested session", 1), "closed"]


def memory_app() -> App:
    app = App()
    app.enable_rabbitmq(RabbitMQConfig("amqp://nowhere.invalid"))
    return app


def test_a_test_sees_what_was_sent_and_delivers(gateway: str, colour: str) -> None:
    app = memory_app()
    stock: list[Order] = []

    if colour == "def":

        @app.post("/orders")
        def order(request: Any) -> None:
            app.rabbitmq.send("orders", request.json(), key="k", headers={"tenant": "a"})

        @app.rabbitmq.consumer("stock", retries=1)
        def take(order: Order) -> Any:
            stock.append(order)
            if order.item == "poison":
                raise ValueError("bad")
            return MessageResult.REJECT if order.item == "junk" else None

    else:

        @app.post("/orders")
        async def order(request: Any) -> None:
            await app.rabbitmq.send("orders", request.json(), key="k", headers={"tenant": "a"})

        @app.rabbitmq.consumer("stock", retries=1)
        async def take(order: Order) -> Any:
            stock.append(order)
            if order.item == "poison":
                raise ValueError("bad")
            return MessageResult.REJECT if order.item == "junk" else None

    with TestClient(app, gateway, memory_brokers=True) as client:
        client.post("/orders", json={"item": "tea"})
        (sent,) = client.messages.sent("orders")
        assert (sent.json(), sent.key, sent.headers["tenant"]) == ({"item": "tea"}, "k", "a")
        assert client.messages.deliver("stock", {"item": "tea"}).outcome == "ack"
        assert client.messages.deliver("stock", {"item": "junk"}).outcome == "discard"
        dead = client.messages.deliver("stock", {"item": "poison"})
        assert (dead.outcome, dead.attempts, dead.error) == ("dead_letter", 2, "ValueError: bad")
        assert client.messages.deliver("stock", {"no": "item"}).outcome == "dead_letter"
        assert len(client.messages.dead_letters("stock")) == 2
        assert client.messages.clear().sent() == []
        with pytest.raises(TimeoutError, match="no consumer was done with the message to 'nobody'"):
            client.messages.deliver("nobody", "x", timeout=0.05)
    assert stock == [Order("tea"), Order("junk"), Order("poison"), Order("poison")]


async def test_an_async_client_sees_them_too() -> None:
    import asyncio

    app = memory_app()
    app.rabbitmq.consumer("stock")(print)
    async with TestClient(app, memory_brokers=True) as client:
        done = await asyncio.to_thread(client.messages.deliver, "stock", "x")
        assert (done.outcome, len(client.messages.sent("stock"))) == ("ack", 1)


def test_messages_of_a_client_must_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="memory_brokers=True"):
        _ = TestClient(memory_app()).messages


def test_exchanges_in_memory_go_by_the_bindings() -> None:
    app = memory_app()
    seen: list[tuple[str, str]] = []

    @app.rabbitmq.consumer("eu", exchange="sales", exchange_type="topic", routing_key=["order.eu.*", "refund.#"])
    def eu(message: Message) -> None:
        seen.append(("eu", message.text))

    @app.rabbitmq.consumer("all", exchange="sales", exchange_type="topic", routing_key="#")
    def everything(message: Message) -> None:
        seen.append(("all", message.text))

    with TestClient(app, memory_brokers=True) as client:
        for key in ("order.eu.tea", "order.us.tea", "refund", "refund.eu.tea"):
            assert client.messages.deliver(key, key, exchange="sales").outcome == "ack"
    assert sorted(text for queue, text in seen if queue == "eu") == ["order.eu.tea", "refund", "refund.eu.tea"]
    assert len([text for queue, text in seen if queue == "all"]) == 4


def test_consumers_of_workers_do_not_run_in_servers() -> None:
    app = App()
    config = MemoryConfig()
    app.enable(MessagingSwitch("messages", "enable_messages", config, consumers="worker"))
    seen: list[Message] = []
    app.feature("messages").resource.consumer("orders")(seen.append)
    with TestClient(app, memory_brokers=True) as client, pytest.raises(TimeoutError):
        client.messages.deliver("orders", "x", timeout=0.2)
    app.role = "worker"
    with TestClient(app, memory_brokers=True) as client:
        assert client.messages.deliver("orders", "x").outcome == "ack"


REFUSED = {
    "a handler's parameter that nothing explains": (lambda a, b: None, {}, "parameter 'b': nothing says what it is"),
    "no function": (5, {}, "a consumer is a function, not 5"),
    "a negative number of retries": (print, {"retries": -1}, "retries is a whole number from 0 on, not -1"),
    "half a handler": (print, {"concurrency": 0.5}, "concurrency is a whole number from 1 on, not 0.5"),
    "time running backwards": (print, {"backoff": -1}, "backoff is a number of seconds from 0 on, not -1"),
    "no time at all": (print, {"timeout": 0}, "timeout is a number of seconds above 0, not 0"),
    "a nameless dead letter place": (print, {"dead_letter": ""}, "dead_letter is a name, True or False, not ''"),
}


@pytest.mark.parametrize(("handler", "said", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_at_the_start(handler: Any, said: dict[str, Any], words: str) -> None:
    app = App()
    app.enable(MessagingSwitch("messages", "enable_messages", MemoryConfig()))

    def start() -> None:
        app.feature("messages").resource.consumer("orders", **said)(handler)
        TestClient(app).open()

    with pytest.raises(ConfigError, match=words):
        start()


def test_an_unknown_dependency_ends_the_start() -> None:
    app = App()
    app.enable(MessagingSwitch("messages", "enable_messages", MemoryConfig()))

    @app.feature("messages").resource.consumer("orders")
    def take(message: Message, db: Any = Depends("database")) -> None: ...

    with pytest.raises(ConfigError, match=r"take, parameter 'db': Depends\('database'\), but no singleton"):
        TestClient(app).open()


def test_a_consumer_declared_after_the_start_is_refused() -> None:
    app = memory_app()
    with TestClient(app, memory_brokers=True), pytest.raises(ConfigError, match="comes too late"):
        app.rabbitmq.consumer("late")(print)


def test_a_broker_that_is_away_ends_the_start_or_is_waited_for() -> None:
    config = MemoryConfig()
    config.hub.go_down()
    app = App()
    app.enable(MessagingSwitch("messages", "enable_messages", config))
    with pytest.raises(Exception, match="the broker in memory is down"):
        TestClient(app).open()
    app = App()
    app.enable(MessagingSwitch("messages", "enable_messages", config, startup="wait"))
    app.enable_health_checks()
    seen = threading.Event()

    @app.feature("messages").resource.consumer("orders")
    def take(message: Message) -> None:
        seen.set()

    @app.get("/send")
    async def send() -> None:
        await app.feature("messages").resource.send("orders", "x")

    with TestClient(app) as client:
        assert client.get("/health/ready").status_code == 503
        answer = client.get("/send")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "memory" not in answer.text
        config.hub.is_down = False
        assert client.get("/send").status_code == 204
        assert seen.wait(PATIENCE_S)
        assert client.get("/health/ready").status_code == 200


def test_metrics_count_what_is_sent_and_handled() -> None:
    app = memory_app()
    app.enable_prometheus()

    @app.rabbitmq.consumer("orders", retries=1, backoff=0)
    def take(message: Message) -> None:
        if message.text == "bad":
            raise ValueError

    @app.get("/send")
    def send() -> None:
        app.rabbitmq.send("elsewhere", "x")

    with TestClient(app, memory_brokers=True) as client:
        client.get("/send")
        client.messages.deliver("orders", "good")
        client.messages.deliver("orders", "bad")
        text = client.get("/metrics").text
    name = f'consumer="{take.__module__}.{take.__qualname__}"'
    assert 'cello_messages_sent_total{system="rabbitmq",outcome="ok"} 1' in text
    for result, count in {"ack": 1, "retry": 1, "dead_letter": 1}.items():
        line = next(each for each in text.splitlines() if "handled_total{" in each and f'result="{result}"' in each)
        assert name.replace("<locals>", "<locals>") in line
        assert line.endswith(f" {count}")
    assert "cello_message_handler_duration_seconds_count" in text
    assert "cello_messages_in_hand" in text


def test_the_trace_of_a_request_goes_with_its_messages() -> None:
    app = memory_app()
    app.enable_logging()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @app.get("/send")
    async def send() -> None:
        await app.rabbitmq.send("first", "x")

    @app.rabbitmq.consumer("first")
    async def hand_on(message: Message) -> None:
        await app.rabbitmq.send("second", message.value)

    with TestClient(app, memory_brokers=True) as client:
        client.get("/send", headers={"traceparent": trace})
        (sent,) = client.messages.sent("first")
        assert sent.headers["traceparent"].split("-")[1] == trace.split("-")[1]
        client.messages.deliver("first", "x", headers={"traceparent": trace})
        assert client.messages.sent("second")[-1].headers["traceparent"].split("-")[1] == trace.split("-")[1]


async def in_thread(call: Callable[[], None]) -> None:
    import asyncio

    await asyncio.to_thread(call)
