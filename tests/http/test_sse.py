"""Server-sent events as bytes: what each field becomes, and what cannot be sent."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cello import Response, SseEvent
from cello.http.stream import StreamPayload

ENCODED = {
    "data": (SseEvent("hello"), b"data: hello\n\n"),
    "no data": (SseEvent(), b"data: \n\n"),
    "lines end in LF": (SseEvent("a\nb"), b"data: a\ndata: b\n\n"),
    "lines end in CR or CRLF": (SseEvent("a\rb\r\nc"), b"data: a\ndata: b\ndata: c\n\n"),
    "an empty last line": (SseEvent("a\n"), b"data: a\ndata: \n\n"),
    "other separators are no line's end": (SseEvent("a\u2028b\x0bc"), "data: a\u2028b\x0bc\n\n".encode()),
    "all fields": (SseEvent("x", "tick", "7", 3000), b"event: tick\nid: 7\nretry: 3000\ndata: x\n\n"),
    "an id that is a number": (SseEvent("x", id=7), b"id: 7\ndata: x\n\n"),  # type: ignore[arg-type]  # on purpose
    "an empty id resets it": (SseEvent("x", id=""), b"id: \ndata: x\n\n"),
    "json": (SseEvent({"a": [1, "ü"]}), 'data: {"a":[1,"ü"]}\n\n'.encode()),
    "a lone surrogate": (SseEvent("\ud800"), b"data: ?\n\n"),
    "by the class": (SseEvent.data("hello"), b"data: hello\n\n"),
    "by the class, with a name": (SseEvent.with_event("tick", "1"), b"event: tick\ndata: 1\n\n"),
}


@pytest.mark.parametrize(("event", "expected"), ENCODED.values(), ids=ENCODED.keys())
def test_an_event_is_sent_as(event: SseEvent, expected: bytes) -> None:
    assert event.encode() == expected
    assert event.to_sse_string() == expected.decode()


REFUSED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "a name with a line's end": ({"event": "a\ndata: b"}, ValueError),
    "an id with a line's end": ({"id": "1\r2"}, ValueError),
    "an id with a NUL": ({"id": "1\0"}, ValueError),
    "a negative retry": ({"retry": -1}, ValueError),
    "a retry that is no number": ({"retry": True}, ValueError),
    "data without a JSON form": ({"data": object()}, TypeError),
}


@pytest.mark.parametrize(("given", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_become_another_event_is_refused(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        SseEvent(**given)


def test_an_event_shows_its_fields() -> None:
    event = SseEvent("x", "tick", "7", 3000)
    assert (event.data, event.content, event.event, event.id, event.retry) == ("x", "x", "tick", "7", 3000)
    assert repr(event) == "SseEvent('x', event='tick', id='7', retry=3000)"
    assert event == SseEvent("x", "tick", "7", 3000)
    assert event != SseEvent("x")
    assert event != "x"
    assert len({event, SseEvent("x", "tick", "7", 3000)}) == 1


def test_the_response_tells_caches_and_proxies_what_it_is() -> None:
    response = Response.sse(["a"], headers={"Cache-Control": "no-store"})
    response.settle(None)
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.content_length is None


def test_whatever_has_a_json_form_is_an_event() -> None:
    payload = Response.sse([SseEvent("a"), "b", {"c": 1}, None]).payload
    assert isinstance(payload, StreamPayload)
    assert list(payload.iterator) == [b"data: a\n\n", b"data: b\n\n", b'data: {"c":1}\n\n', b"data: null\n\n"]


async def test_an_async_generator_is_closed_with_the_answer() -> None:
    ended = []

    async def events() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
        finally:
            ended.append(True)

    payload = Response.sse(events()).payload
    assert isinstance(payload, StreamPayload)
    assert await anext(payload.iterator) == b"data: x\n\n"
    await payload.iterator.aclose()
    assert ended


@pytest.mark.parametrize("events", ["text", b"bytes", {"a": 1}, SseEvent("x"), 7], ids=str)
def test_what_is_no_stream_of_events_is_refused(events: Any) -> None:
    with pytest.raises(TypeError, match=r"Response\.sse takes"):
        Response.sse(events)
