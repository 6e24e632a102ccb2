"""Requests to a WebSocket path that are no handshake, and handshakes where no WebSocket can be."""

from collections.abc import Callable
from typing import Any

import pytest

from cello import App
from cello.testing import TestClient, WebSocketDenied


def make_app() -> App:
    app = App()
    app.websocket("/ws")(lambda ws: None)
    app.websocket("/both")(lambda ws: None)
    app.post("/both")(lambda request: "posted")
    return app


@pytest.mark.parametrize("path", ["/ws", "/both"])
def test_a_plain_get_is_told_to_upgrade(serve: Callable[..., Any], path: str) -> None:
    answer = serve(make_app()).get(path)
    assert answer.status_code == 426
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["sec-websocket-version"] == "13"


def test_the_own_server_names_the_protocol() -> None:
    with TestClient(make_app(), "native") as client:
        answer = client.get("/ws")
    assert (answer.headers["upgrade"], answer.headers["connection"]) == ("websocket", "upgrade")


def test_other_methods_are_not_allowed(serve: Callable[..., Any]) -> None:
    client = serve(make_app())
    answer = client.post("/ws")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert client.options("/ws").headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.options("/both").headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert client.post("/both").text == "posted"


def test_wsgi_says_that_it_cannot(client: Callable[..., TestClient]) -> None:
    with (
        pytest.raises(WebSocketDenied, match="WSGI") as denied,
        client(make_app(), "wsgi", raise_server_exceptions=False).websocket_connect("/ws"),
    ):
        pass
    assert denied.value.response.status_code == 501
