"""Server-sent events through every gateway, in both colours."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cello import App, Response, SseEvent, SseStream


def test_a_generator_is_a_stream_of_events(serve: Callable[..., Any], coloured: Callable[..., Any]) -> None:
    app = App()

    @coloured
    def events() -> Any:
        yield SseEvent("a", id="1", retry=500)
        yield {"b": 2}

    app.get("/events")(lambda request: Response.sse(events()))
    answer = serve(app).get("/events")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text == 'id: 1\nretry: 500\ndata: a\n\ndata: {"b":2}\n\n'


def test_each_event_leaves_at_once(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    release = threading.Event()

    async def async_events() -> Any:
        yield "first"
        await asyncio.to_thread(release.wait, 30)
        yield "second"

    def events() -> Any:
        yield "first"
        release.wait(30)
        yield "second"

    app.get("/events")(lambda request: Response.sse(events() if colour == "def" else async_events()))
    with serve(app).stream("GET", "/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: first"
        release.set()
        assert [line for line in lines if line] == ["data: second"]


def test_a_silent_stream_sends_comments(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    release = threading.Event()

    async def async_events() -> Any:
        await asyncio.to_thread(release.wait, 30)
        yield "late"

    def events() -> Any:
        release.wait(30)
        yield "late"

    app.get("/events")(lambda request: Response.sse(events() if colour == "def" else async_events(), keep_alive=0.01))
    with serve(app).stream("GET", "/events") as answer:
        lines = answer.iter_lines()
        assert [next(lines), next(lines), next(lines)] == [":", "", ":"]
        release.set()
        assert "data: late" in list(lines)


def test_a_client_that_leaves_ends_the_generator(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    ended = threading.Event()

    async def async_events() -> Any:
        try:
            while True:
                yield "tick"
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    def events() -> Any:
        try:
            while True:
                yield "tick"
        finally:
            ended.set()

    app.get("/events")(lambda request: Response.sse(events() if colour == "def" else async_events()))
    with serve(app).stream("GET", "/events") as answer:
        assert next(answer.iter_lines()) == "data: tick"
    assert ended.wait(30)


def test_a_live_stream_is_fed_from_elsewhere_and_closed_by_its_client(serve: Callable[..., Any], colour: str) -> None:
    app = App()
    streams: list[SseStream] = []

    def listen(request: Any) -> Response:
        streams.append(SseStream(live=True))
        streams[-1].add_event("hello", request.last_event_id)
        return Response.sse(streams[-1])

    async def async_listen(request: Any) -> Response:
        return listen(request)

    app.get("/events")(listen if colour == "def" else async_listen)
    with serve(app).stream("GET", "/events", headers={"Last-Event-ID": "41"}) as answer:
        lines = answer.iter_lines()
        assert [next(lines), next(lines), next(lines)] == ["event: hello", "data: 41", ""]
        assert streams[0].add_data("from elsewhere")
        assert next(lines) == "data: from elsewhere"
    while streams[0].add_data("is it gone?"):
        threading.Event().wait(0.001)


def test_head_begins_no_stream(serve: Callable[..., Any]) -> None:
    app = App()
    begun = []

    def events() -> Any:
        begun.append(True)
        yield "x"

    app.get("/events")(lambda request: Response.sse(events()))
    answer = serve(app).request("HEAD", "/events")
    assert answer.headers["content-type"] == "text/event-stream"
    assert (answer.content, begun) == (b"", [])


@pytest.mark.parametrize("value", [None, "", "7"], ids=["absent", "empty", "there"])
def test_a_request_knows_the_last_event_its_client_saw(serve: Callable[..., Any], value: str | None) -> None:
    app = App()
    app.get("/id")(lambda request: {"id": request.last_event_id})
    headers = {} if value is None else {"Last-Event-ID": value}
    assert serve(app).get("/id", headers=headers).json() == {"id": value or None}
