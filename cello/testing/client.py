"""The test clients: the same requests as plain calls and as coroutines.

Strategy: `Session` does the work on an event loop, over one transport. `AsyncTestClient` awaits it on the test's loop;
`TestClient` runs it on a loop thread of its own, so a `def` test may drive `async def` handlers, keep the stream of an
answer open, and send the next request meanwhile.
"""

import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from cello.errors import ConfigError
from cello.gateways.portal import Portal
from cello.testing.cookie_jar import CookieJar
from cello.testing.entry import make_transport
from cello.testing.outgoing import Fields
from cello.testing.response import AsyncStreamedResponse, StreamedResponse, TestResponse
from cello.testing.session import Session
from cello.testing.transport import Transport
from cello.testing.websocket import AsyncTestWebSocket, TestWebSocket

if TYPE_CHECKING:
    from cello.messaging.memory import SentMessages


class _Methods:
    """The arguments of every request, documented once.

    Args of `request()` and of the methods named after HTTP's:
        url: A path, or an absolute address; what a URL may not hold is percent-encoded.
        params: Query parameters, appended; a list as value repeats the name.
        headers, cookies: Beside the client's own.
        content: The body: bytes, str, or an iterable of bytes, which is sent chunked.
        json: A JSON body. data: A form, urlencoded, or with `files=` multipart.
        files: By field name: a file, or (file name, content), or (file name, content, media type).
        follow_redirects: None takes the client's setting.
    """

    _session: Session
    _follow_redirects: bool

    @property
    def cookies(self) -> CookieJar:
        """The cookie jar."""
        return self._session.cookies

    @property
    def headers(self) -> dict[str, str]:
        """Fields sent with every request; change them as you like."""
        return self._session.headers

    @property
    def base_url(self) -> str:
        """What a path is appended to."""
        return self._session.base_url


class TestClient(_Methods):
    """Drives an application from plain tests.

    Args:
        app: An App, or with "asgi" and "wsgi" any application of that kind.
        gateway: "asgi", "wsgi", or "native": cello's own server over a socket pair.
        raise_server_exceptions: An exception that no handler took is raised here, instead of the 500 it became.
        base_url: What a path is appended to; an `https:` one makes the request secure.
        headers, cookies: Sent with every request.
        follow_redirects: Whether redirects are followed.
        client: Address and port that the application sees as the client's ("native" has none).
        memory_brokers: Have the application's message brokers (RabbitMQ and so on) in memory: `messages` shows what was
            sent, and delivers. It must be said before the application has started for the first time.

    The application is started by `with`, or else by the first request, and shut down by the end of `with`, `close()`,
    or the end of the client.
    """

    __test__ = False  # pytest collects classes by name

    def __init__(
        self,
        app: Any,
        gateway: str = "asgi",
        *,
        raise_server_exceptions: bool = True,
        base_url: str = "http://testserver",
        headers: Fields | None = None,
        cookies: Mapping[str, str] | None = None,
        follow_redirects: bool = False,
        client: tuple[str, int] = ("127.0.0.1", 50000),
        memory_brokers: bool = False,
    ) -> None:
        self.app = app
        self.gateway = gateway
        transport = make_transport(app, gateway, raise_errors=raise_server_exceptions, client=client)
        self._session = Session(transport, base_url, headers, cookies)
        self._follow_redirects = follow_redirects
        self._portal = Portal()
        self._messages = _in_memory(app) if memory_brokers else None
        self._shut: Callable[[], object] | None = None

    def open(self) -> None:
        """Start the application; does nothing when it runs."""
        if self._shut is None:
            try:
                self._portal.run(self._session.transport.open())
            except BaseException:
                self._portal.close()
                raise
            self._shut = weakref.finalize(self, _shut_down, self._portal, self._session.transport)

    def close(self) -> None:
        """Shut the application down; a later request starts it again."""
        shut, self._shut = self._shut, None
        if shut is not None:
            shut()

    def __enter__(self) -> "TestClient":
        self.open()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> "AsyncTestClient":
        other = AsyncTestClient(self._session, follow_redirects=self._follow_redirects, messages=self._messages)
        await self._session.transport.open()
        return other

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.transport.close()

    def request(self, method: str, url: str, *, follow_redirects: bool | None = None, **options: Any) -> TestResponse:
        """Send a request and return the complete answer; for the options see the class' methods."""
        self.open()
        follow = self._follow_redirects if follow_redirects is None else follow_redirects
        return self._portal.run(
            self._session.request(self._session.make(method, url, **options), follow_redirects=follow)
        )

    @contextmanager
    def stream(self, method: str, url: str, **options: Any) -> Iterator[StreamedResponse]:
        """Send a request and give the answer as soon as its head is there; leaving the block early goes away."""
        self.open()
        head, incoming = self._portal.run(self._session.send(self._session.make(method, url, **options)))
        chunks = self._portal.iterate(incoming.chunks)

        def close() -> None:
            try:
                self._portal.run(incoming.aclose())
            finally:
                chunks.close()

        response = StreamedResponse(head, chunks, close)
        try:
            yield response
        finally:
            response.close()

    @contextmanager
    def websocket_connect(
        self, url: str, subprotocols: Sequence[str] = (), *, headers: Fields | None = None, **options: Any
    ) -> Iterator[TestWebSocket]:
        """Open a WebSocket; leaving the block closes it.

        Args:
            subprotocols: What the client speaks, the preferred first.
            headers: Beside the client's own; those of a handshake may be overridden.
            options: `params` and `cookies`, as for requests.

        Raises:
            WebSocketDenied: The application did not accept; the error holds its answer.
        """
        self.open()
        other = self._portal.run(self._session.connect(url, subprotocols, headers=headers, **options))
        socket = TestWebSocket(other, self._portal.run)
        try:
            yield socket
        finally:
            socket.close()

    @property
    def messages(self) -> "SentMessages":
        """The brokers in memory: what was sent, and `deliver`.

        Raises:
            ConfigError: The client was made without `memory_brokers=True`.
        """
        found = _asked_for(self._messages)
        self.open()
        return found

    def wait_for_background(self) -> None:
        """Wait until clean-ups and background tasks of the answers so far have run.

        Through "asgi" and "wsgi" they have when an answer is complete; the native server sends the answer first.
        """
        self._portal.run(self._session.transport.settle())

    def get(self, url: str, **options: Any) -> TestResponse:
        """Send a GET request."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> TestResponse:
        """Send a POST request."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> TestResponse:
        """Send a PUT request."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> TestResponse:
        """Send a PATCH request."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> TestResponse:
        """Send a DELETE request."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> TestResponse:
        """Send a HEAD request."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Any) -> TestResponse:
        """Send an OPTIONS request."""
        return self.request("OPTIONS", url, **options)


class AsyncTestClient(_Methods):
    """Drives an application from async tests, on their loop; comes from `async with TestClient(app)`."""

    __test__ = False

    def __init__(self, session: Session, *, follow_redirects: bool, messages: "SentMessages | None" = None) -> None:
        self._session = session
        self._follow_redirects = follow_redirects
        self._messages = messages

    @property
    def messages(self) -> "SentMessages":
        """The brokers in memory; `deliver` waits, so have a thread call it: `await asyncio.to_thread(…)`.

        Raises:
            ConfigError: The client was made without `memory_brokers=True`.
        """
        return _asked_for(self._messages)

    async def request(
        self, method: str, url: str, *, follow_redirects: bool | None = None, **options: Any
    ) -> TestResponse:
        """Send a request and return the complete answer."""
        follow = self._follow_redirects if follow_redirects is None else follow_redirects
        return await self._session.request(self._session.make(method, url, **options), follow_redirects=follow)

    @asynccontextmanager
    async def stream(self, method: str, url: str, **options: Any) -> AsyncIterator[AsyncStreamedResponse]:
        """Send a request and give the answer as soon as its head is there; leaving the block early goes away."""
        head, incoming = await self._session.send(self._session.make(method, url, **options))
        try:
            yield AsyncStreamedResponse(head, incoming.chunks, incoming.aclose)
        finally:
            await incoming.aclose()

    @asynccontextmanager
    async def websocket_connect(
        self, url: str, subprotocols: Sequence[str] = (), *, headers: Fields | None = None, **options: Any
    ) -> AsyncIterator[AsyncTestWebSocket]:
        """Open a WebSocket; leaving the block closes it.

        Raises:
            WebSocketDenied: The application did not accept; the error holds its answer.
        """
        socket = await self._session.connect(url, subprotocols, headers=headers, **options)
        try:
            yield socket
        finally:
            await socket.close()

    async def wait_for_background(self) -> None:
        """Wait until clean-ups and background tasks of the answers so far have run."""
        await self._session.transport.settle()

    def get(self, url: str, **options: Any) -> Coroutine[Any, Any, TestResponse]:
        """Send a GET request."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Coroutine[Any, Any, TestResponse]:
        """Send a POST request."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Coroutine[Any, Any, TestResponse]:
        """Send a PUT request."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Any) -> Coroutine[Any, Any, TestResponse]:
        """Send a PATCH request."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> Coroutine[Any, Any, TestResponse]:
        """Send a DELETE request."""
        return self.request("DELETE", url, **options)

    def head(self, url: str, **options: Any) -> Coroutine[Any, Any, TestResponse]:
        """Send a HEAD request."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Any) -> Coroutine[Any, Any, TestResponse]:
        """Send an OPTIONS request."""
        return self.request("OPTIONS", url, **options)


def _asked_for(messages: "SentMessages | None") -> "SentMessages":
    if messages is None:
        raise ConfigError("TestClient.messages: make the client with memory_brokers=True")
    return messages


def _in_memory(app: Any) -> "SentMessages":
    """Have every broker of an application in memory."""
    from cello.messaging.memory import Hub, SentMessages  # only applications with messages

    hub = Hub()
    for feature in app.features():
        if hasattr(feature, "use_memory"):
            feature.use_memory(hub)
    return SentMessages(hub)


def _shut_down(portal: Portal, transport: Transport) -> None:
    try:
        portal.run(transport.close())
    finally:
        portal.close()
