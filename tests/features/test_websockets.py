"""The switches around a WebSocket: its opening is a request like any other, and what it logs is marked too."""

import logging

import pytest

from cello import App
from cello.testing.websocket import WebSocketDenied
from tests.features.test_order import TOGETHER, throw

logger = logging.getLogger("chat")
SENT = {"Host": "a.example", "X-Request-ID": "one"}


@pytest.fixture
def app(colour):
    app = App()
    for switch in TOGETHER:
        throw(app, switch)

    def plain(ws):
        for text in iter(ws.recv, None):
            logger.warning("heard %s", text.text)
            ws.send_text(text.text * 1000)

    async def coroutine(ws):
        async for text in ws:
            logger.warning("heard %s", text.text)
            await ws.send_text(text.text * 1000)

    app.websocket("/chat/{room}")(plain if colour == "def" else coroutine)
    return app


@pytest.mark.parametrize("via", ["asgi", "native"])
def test_a_socket_opens_is_logged_and_its_records_are_marked(client, app, via, caplog):
    caplog.set_level("INFO")
    with client(app, via) as opened, opened.websocket_connect("/chat/main", headers=SENT) as ws:
        ws.send_text("hi")
        assert ws.receive_text() == "hi" * 1000
    [line] = [record for record in caplog.records if record.name == "cello.access"]
    assert (line.path, line.status, line.request_id) == ("/chat/main", 101, "one")
    [heard] = [record for record in caplog.records if record.name == "chat"]
    assert (heard.request_id, heard.route) == ("one", "/chat/{room}")


@pytest.mark.parametrize("via", ["asgi", "native"])
def test_a_socket_at_an_unknown_host_is_refused(client, app, via):
    with client(app, via) as opened, pytest.raises(WebSocketDenied, match="400"):
        opened.websocket_connect("/chat/main", headers={**SENT, "Host": "b.example"}).__enter__()
