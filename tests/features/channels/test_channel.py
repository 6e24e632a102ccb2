"""Channels within one process: who hears what, in which order, and what happens to who does not keep up."""

import asyncio
import dataclasses
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cello import App, ConfigError, SlowSubscriber, SubscriptionEnded, WebSocket
from cello.features.channels import Channel, Channels
from cello.features.channels.hub import Hub


@pytest.fixture
def channels() -> Iterator[Channels]:
    """Channels without an application."""
    made = Channels()
    yield made
    made.close()


@pytest.fixture
def room(channels: Channels) -> Channel:
    return channels.channel("room")


@dataclasses.dataclass
class Point:
    x: int
    y: int


VALUES = {
    "text": ("grüße 🎻", "grüße 🎻"),
    "no text": ("", ""),
    "bytes": (b"\x00\xff", b"\x00\xff"),
    "a bytearray": (bytearray(b"a"), b"a"),
    "an object": ({"a": [1, None]}, {"a": [1, None]}),
    "a number": (7, 7),
    "None": (None, None),
    "a dataclass": (Point(1, 2), {"x": 1, "y": 2}),
}


@pytest.mark.parametrize(("sent", "heard"), VALUES.values(), ids=VALUES.keys())
def test_what_is_published_is_heard_by_everybody_who_listens(room: Channel, sent: Any, heard: Any) -> None:
    first, second = room.subscribe(), room.subscribe()
    room.publish(sent)
    assert [first.get(5), second.get(5)] == [heard, heard]


def test_every_subscriber_has_a_copy_of_its_own(room: Channel) -> None:
    first, second = room.subscribe(), room.subscribe()
    room.publish({"a": []})
    first.get(5)["a"].append("mine")
    assert second.get(5) == {"a": []}


def test_other_channels_and_earlier_messages_are_not_heard(channels: Channels) -> None:
    channels.channel("a").publish("early")
    listening = channels.channel("a").subscribe()
    channels.channel("b").publish("elsewhere")
    channels.channel("a").publish("here")
    assert (listening.get(5), listening.waiting) == ("here", 0)


def test_what_has_no_json_form_is_refused(room: Channel) -> None:
    with pytest.raises(TypeError):
        room.publish(object())


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128, 7, None])
def test_a_bad_name_is_refused(channels: Channels, name: Any) -> None:
    with pytest.raises(ConfigError, match="channel's name"):
        channels.channel(name)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": True}, {"limit": "9"}, {"slow": "wait"}])
def test_a_bad_option_is_refused(room: Channel, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        room.subscribe(**options)


# -- reading --


async def test_a_coroutine_is_woken_by_a_task_of_its_loop_and_by_another_thread(room: Channel) -> None:
    listening = room.subscribe()
    waiting = asyncio.create_task(listening.aget())
    await asyncio.sleep(0)
    await room.publish("from a task")
    assert await waiting == "from a task"
    waiting = asyncio.create_task(listening.aget())
    await asyncio.sleep(0)
    await asyncio.to_thread(room.publish, "from a thread")
    assert await waiting == "from a thread"


def test_a_thread_is_woken_by_another(room: Channel) -> None:
    listening = room.subscribe()
    heard: list[Any] = []
    reader = threading.Thread(target=lambda: heard.extend([next(listening), next(listening)]))
    reader.start()
    room.publish("one")
    room.publish("two")
    reader.join(10)
    assert heard == ["one", "two"]


async def test_waiting_ends_in_time(room: Channel) -> None:
    with pytest.raises(TimeoutError):
        await room.subscribe().aget(0)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(room.subscribe().get, 0)


async def test_waiting_may_be_cancelled_without_losing_a_message(room: Channel) -> None:
    listening = room.subscribe()
    waiting = asyncio.create_task(listening.aget())
    await asyncio.sleep(0)
    waiting.cancel()
    room.publish("kept")
    assert await listening.aget() == "kept"
    assert waiting.cancelled() or await asyncio.gather(waiting, return_exceptions=True)


async def test_blocking_on_an_event_loop_is_refused_and_the_way_out_named(room: Channel) -> None:
    with pytest.raises(ConfigError, match="blocking=True"):
        room.subscribe().get()


async def test_iteration_ends_with_the_subscription_behind_what_has_come(room: Channel) -> None:
    listening = room.subscribe()
    room.publish("last")
    listening.close()
    room.publish("never heard")
    assert [item async for item in listening] == ["last"]
    with pytest.raises(SubscriptionEnded):
        await listening.aget()


async def test_whoever_waits_when_channels_close_is_told(channels: Channels) -> None:
    by_task, by_thread = channels.channel("a").subscribe(), channels.channel("b").subscribe()
    waiting = [
        asyncio.create_task(anext(by_task, "over")),
        asyncio.create_task(asyncio.to_thread(next, by_thread, "over")),
    ]
    await asyncio.sleep(0)
    channels.close()
    assert await asyncio.gather(*waiting) == ["over", "over"]


def test_a_subscription_ends_with_its_block(room: Channel) -> None:
    with room.subscribe():
        assert room.listeners == 1
    assert room.listeners == 0


def test_a_subscription_that_nobody_refers_to_is_over(room: Channel) -> None:
    listening = room.subscribe()
    circle = [listening]
    circle.append(circle)  # type: ignore[arg-type]  # only the collector finds that
    del listening, circle
    gc.collect()
    assert room.listeners == 0


def test_who_subscribes_after_the_end_hears_the_end(channels: Channels) -> None:
    hub = Hub()
    hub.close()
    inbox = channels.channel("x").subscribe().inbox
    assert not hub.add("x", inbox)
    assert inbox.is_over


# -- who does not keep up --


def test_a_slow_subscriber_that_skips_loses_the_oldest_and_knows_how_many(room: Channel) -> None:
    listening = room.subscribe(limit=3)
    for number in range(10):
        room.publish(number)
    assert [listening.get(5) for _ in range(3)] == [7, 8, 9]
    assert listening.skipped == 7


def test_a_slow_subscriber_that_is_dropped_gets_what_waits_and_an_error(room: Channel) -> None:
    listening, quick = room.subscribe(limit=3, slow="drop"), room.subscribe()
    for number in range(10):
        room.publish(number)
    assert [next(listening) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SlowSubscriber):
        next(listening)
    assert [quick.get(5) for _ in range(10)] == list(range(10))


def test_messages_lost_on_the_way_count_as_skipped_or_drop(room: Channel, channels: Channels) -> None:
    patient, strict = room.subscribe(), room.subscribe(slow="drop")
    channels.here().hub.missed(5)
    assert patient.skipped == 5
    with pytest.raises(SlowSubscriber):
        strict.get(5)


# -- order, with many --


def test_all_hear_all_in_one_order_whoever_publishes(room: Channel) -> None:
    subscriptions = [room.subscribe(limit=10_000) for _ in range(3)]
    publishers = [
        threading.Thread(target=lambda mark=mark: [room.publish(f"{mark}{n}") for n in range(500)]) for mark in "abc"
    ]
    for thread in publishers:
        thread.start()
    for thread in publishers:
        thread.join()
    heard = [[each.get(5) for _ in range(1500)] for each in subscriptions]
    for mark in "abc":
        assert [item for item in heard[0] if item[0] == mark] == [f"{mark}{n}" for n in range(500)]
    assert heard[0] == heard[1] == heard[2]


# -- through handlers --


def make_chat(colour: str, slow: Any = "skip") -> App:
    """Return a room whose members hear each other, with a page that speaks into it."""
    app = App()

    def plain(ws: WebSocket, name: str) -> None:
        with app.channel(name).join(ws, slow=slow):
            ws.send_text("joined")
            for message in ws:
                app.channel(name).publish(message.text)

    async def coroutine(ws: WebSocket, name: str) -> None:
        async with app.channel(name).join(ws, slow=slow):
            await ws.send_text("joined")
            async for message in ws:
                await app.channel(name).publish(message.text)

    def say(request: Any) -> None:
        app.channel("room").publish({"said": request.query["what"]})

    async def say_async(request: Any) -> None:
        await app.channel("room").publish({"said": request.query["what"]})

    app.websocket("/chat/{name}")(plain if colour == "def" else coroutine)
    app.post("/say")(say if colour == "def" else say_async)
    return app


@pytest.mark.parametrize("gateway", ["asgi", "native"])  # WSGI has no WebSocket
def test_members_of_a_room_hear_each_other(serve: Callable[..., Any], colour: str, gateway: str) -> None:
    client = serve(make_chat(colour))
    with (
        client.websocket_connect("/chat/room") as ada,
        client.websocket_connect("/chat/room") as bob,
        client.websocket_connect("/chat/other") as eve,
    ):
        assert [ws.receive_text() for ws in (ada, bob, eve)] == ["joined"] * 3
        ada.send_text("hello")
        assert [ada.receive_text(), bob.receive_text()] == ["hello", "hello"]
        client.post("/say?what=news")
        assert [ada.receive_text(), bob.receive_text()] == ['{"said":"news"}'] * 2
        eve.send_text("only me")
        assert eve.receive_text() == "only me"


@pytest.mark.parametrize("gateway", ["asgi", "native"])  # WSGI has no WebSocket
def test_a_member_that_has_gone_is_forgotten(serve: Callable[..., Any], colour: str, gateway: str) -> None:
    app = make_chat(colour)
    client = serve(app)
    with client.websocket_connect("/chat/room") as ada:
        assert ada.receive_text() == "joined"
        with client.websocket_connect("/chat/room") as bob:
            assert bob.receive_text() == "joined"
            assert app.channel("room").listeners == 2
        ada.send_text("alone?")
        assert ada.receive_text() == "alone?"


def test_a_handler_reads_a_channel(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    listening = threading.Event()

    def plain(request: Any) -> Any:
        with app.channel("news").subscribe() as subscription:
            listening.set()
            for item in subscription:
                yield f"{item}\n"
                if item == "end":
                    return

    async def coroutine(request: Any) -> Any:
        async with app.channel("news").subscribe() as subscription:
            listening.set()
            async for item in subscription:
                yield f"{item}\n"
                if item == "end":
                    return

    app.get("/news")(plain if colour == "def" else coroutine)

    def publish() -> None:
        listening.wait(30)
        for item in ("one", "two", "end"):
            app.channel("news").publish(item)

    publisher = threading.Thread(target=publish)
    publisher.start()
    assert serve(app).get("/news").text == "one\ntwo\nend\n"
    publisher.join()
    assert app.channel("news").listeners == 0


def test_a_stand_in_may_join(room: Channel) -> None:
    socket = WebSocket()
    with room.join(socket):
        room.join(socket)
        room.publish("a")
        room.publish({"b": 1})
        room.publish(b"c")
    room.publish("not heard")
    assert [message.content for message in socket.get_queued_messages()] == ["a", '{"b":1}', b"c"]


def test_channels_may_be_switched_on_once_and_before_they_are_used() -> None:
    app = App()
    app.channel("x")
    with pytest.raises(ConfigError, match="already"):
        app.enable_channels()


class Stubborn:
    """The port of a client that takes nothing."""

    loop = None
    is_blocking = True
    is_open = True
    dropped: tuple[int, str] | None = None

    def offer(self, message: str | bytes) -> bool:
        return False

    def drop(self, code: int, reason: str) -> None:
        self.dropped = (code, reason)


@pytest.mark.parametrize(("slow", "expected"), [("skip", None), ("drop", (1013, "too slow"))])
def test_a_member_whose_client_takes_nothing_is_skipped_or_dropped(room: Channel, slow: Any, expected: Any) -> None:
    port: Any = Stubborn()
    socket = WebSocket.connected_by(port, WebSocket().request, None)
    room.join(socket, slow=slow)
    room.publish("hello")
    assert port.dropped == expected
    assert room.listeners == (1 if slow == "skip" else 0)


def test_a_member_on_the_own_server_that_reads_nothing_is_closed(
    client: Callable[..., Any], colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_chat(colour, slow="drop")
    with client(app, "native") as opened, opened.websocket_connect("/chat/room") as deaf:
        assert deaf.receive_text() == "joined"
        for _ in range(2000):  # more than the sockets' buffers hold
            app.channel("room").publish("x" * 100_000)
            if app.channel("room").listeners == 0:
                break
        while (message := deaf.recv(30)) is not None:
            assert message.text == "x" * 100_000
        assert deaf.close_code == 1013
    assert "does not keep up" in caplog.text
