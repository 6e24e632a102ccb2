"""The reference page: protocols, messages and patterns. Each test is named after its section."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from cello import App, Depends
from cello.messaging import Message
from cello.testing import TestClient
from tests.database.servers import reachable
from tests.messaging.kafka_cluster import running_kafka
from tests.messaging.servers import rabbitmq_server
from tests.messaging.sqs_server import running_sqs
from tests.reference.page import example, run
from tests.serve.program import PATIENCE_S, free_port

Serve = Callable[..., TestClient]


async def call(port: int, service: str, method: str, **message: Any) -> Any:
    """Call a method by cello's own gRPC client."""
    from cello.grpc import GrpcChannel

    async with await GrpcChannel.connect(f"127.0.0.1:{port}") as channel:
        return await channel.call(service, method, message)


def test_app_enable_grpc(serve: Serve) -> None:
    port = free_port()
    app = run(example("app.enable_grpc"), changed={"[::]:50051": f"127.0.0.1:{port}"})
    assert app.grpc.config.enable_web
    users = app.add_grpc_service("UserService")

    @users.method("GetUser")
    def get_user(request):  # type: ignore[no-untyped-def]  # without annotations a message is what one likes
        return {**request.data, "name": "Ada"}

    client = serve(app)
    assert asyncio.run(call(port, "UserService", "GetUser", id=7)) == {"id": 7, "name": "Ada"}
    client.close()


def test_app_add_grpc_service(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    from cello import GrpcConfig
    from cello.grpc import GrpcError

    port = free_port()
    app = run(example("app.add_grpc_service"), changed={"[::]:50051": f"127.0.0.1:{port}"}, GrpcConfig=GrpcConfig)
    with caplog.at_level(logging.WARNING):
        client = serve(app)
        client.get("/")
    assert any("GetUser" in record.getMessage() for record in caplog.records)  # nothing is behind these names yet
    for service, method in [("UserService", "GetUser"), ("UserService", "ListUsers"), ("OrderService", "CreateOrder")]:
        with pytest.raises(GrpcError, match="UNIMPLEMENTED"):
            asyncio.run(call(port, service, method))
    client.close()


def test_app_enable_event_sourcing() -> None:
    from cello.eventsourcing import Event

    stream = f"reference-{os.getpid()}-{id(object())}"
    with reachable("postgresql") as url:
        # The page says no URL: it is the one of the database that the application has.
        made = run(
            example("app.enable_event_sourcing"),
            changed={"app = App()": f"app = App()\napp.enable_database({url!r})"},
        )

        @made.post("/")
        async def append(request: Any) -> Any:
            await request.app.event_store.append(stream, [Event("Opened", {"by": "Ada"})], expected_version=0)
            return [event.data for event in await request.app.event_store.get_events(stream)]

        with TestClient(made) as client:
            assert client.post("/").json() == [{"by": "Ada"}]
    assert App().enable_event_sourcing().__class__ is App  # calls can be chained


def test_app_enable_cqrs(serve: Serve) -> None:
    from cello.cqrs import Command, CommandResult, command_handler

    class Rename(Command):
        name: str

    @command_handler(Rename)
    async def rename(command: Rename) -> CommandResult:
        return CommandResult.ok({"name": command.name})

    app = run(example("app.enable_cqrs"))
    app.command_bus.register(rename)

    @app.post("/")
    async def post(request: Any) -> Any:
        return (await request.app.command_bus.dispatch(Rename(name="Ada"))).data

    assert serve(app).post("/").json() == {"name": "Ada"}
    assert App().enable_cqrs().__class__ is App


def consumed(app: App, consumer: Callable[[str], Callable[..., Any]], topic: str, depends: str) -> TestClient:
    """Have an application send what it is posted and keep what it consumes; return a client of it."""
    seen: list[str] = []
    app.get("/seen")(lambda request: seen)

    @app.post("/")
    async def send(request: Any, producer: Any = Depends(depends)) -> Any:
        await producer.send(topic, request.text())

    @consumer(topic)
    async def keep(message: Message) -> None:
        seen.append(message.text)

    return TestClient(app)


def comes_through(client: TestClient, text: str) -> None:
    """Send a message through a broker and wait until it was consumed."""
    with client:
        assert client.post("/", content=text).status == 204
        deadline = time.monotonic() + PATIENCE_S
        while client.get("/seen").json() != [text]:
            assert time.monotonic() < deadline, "it was never consumed"
            time.sleep(0.05)


def test_app_enable_messaging() -> None:
    with running_kafka() as kafka:
        topic = kafka.create_topic(f"reference-{os.getpid()}")
        app = run(example("app.enable_messaging"), changed={"localhost:9092": kafka.address})
        comes_through(consumed(app, app.kafka.consumer, topic, "kafka"), "by Kafka")


def test_app_enable_rabbitmq() -> None:
    queue = f"reference-{os.getpid()}-{time.monotonic_ns()}"
    with rabbitmq_server() as url:
        app = run(example("app.enable_rabbitmq"), changed={"amqp://localhost": url})
        comes_through(consumed(app, app.rabbitmq.consumer, queue, "rabbitmq"), "by RabbitMQ")


def test_app_enable_sqs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    with running_sqs() as sqs:
        url = sqs.create_queue("queue")
        at_hand = {'"https://sqs.us-west-2.amazonaws.com/123/queue"': f"{url!r}, endpoint_url={sqs.url!r}"}
        app = run(example("app.enable_sqs"), changed=at_hand)
        comes_through(consumed(app, app.sqs.consumer, url, "sqs"), "by SQS")


def test_app_enable_saga(serve: Serve) -> None:
    from cello.saga import Saga, SagaError, SagaStep

    done: list[str] = []

    async def charge(context: Any) -> None:
        done.append("charged in vain")
        raise SagaError("charge", ValueError("no money"))  # not tried again

    class Order(Saga):
        steps = (
            SagaStep("reserve", lambda context: done.append("reserved"), lambda context: done.append("released")),
            SagaStep("charge", charge),
        )

    app = run(example("app.enable_saga"))
    app.sagas.register(Order())

    @app.post("/")
    async def order(request: Any) -> Any:
        with pytest.raises(SagaError, match="charge"):
            await request.app.sagas.execute("Order", {})
        return done

    assert serve(app).post("/").json() == ["reserved", "charged in vain", "released"]
    assert App().enable_saga().__class__ is App
