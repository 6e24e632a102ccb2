"""Drive an application in a test, through any gateway and without a network.

    with TestClient(app) as client:
        assert client.get("/users/1").json() == {"id": 1}

`TestClient` is for plain tests, and `async with TestClient(app) as client` gives the same methods as coroutines.
"""

from cello.testing.client import AsyncTestClient, TestClient
from cello.testing.response import AsyncStreamedResponse, StreamedResponse, TestResponse
from cello.testing.websocket import AsyncTestWebSocket, TestWebSocket, WebSocketClosed, WebSocketDenied

__all__ = [
    "AsyncStreamedResponse",
    "AsyncTestClient",
    "AsyncTestWebSocket",
    "StreamedResponse",
    "TestClient",
    "TestResponse",
    "TestWebSocket",
    "WebSocketClosed",
    "WebSocketDenied",
]
