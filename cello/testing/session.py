"""The state of a test client and its requests, on an event loop: encoding, cookies, redirects."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urljoin

from cello.errors import ConfigError
from cello.testing.cookie_jar import CookieJar
from cello.testing.outgoing import UNSET, Content, Fields, Files, Outgoing, Params, join_url, make_outgoing
from cello.testing.response import ResponseHead, TestResponse
from cello.testing.transport import Incoming, Transport
from cello.testing.websocket import AsyncTestWebSocket, as_handshake

MAX_REDIRECTS = 20


class Session:
    """One client's state and its requests, on a loop.

    Attributes:
        cookies: The cookie jar.
        headers: Fields sent with every request.
    """

    def __init__(
        self, transport: Transport, base_url: str, headers: Fields | None, cookies: Mapping[str, str] | None
    ) -> None:
        self.transport = transport
        self.base_url = base_url
        self.headers: dict[str, str] = dict(headers or {})
        self.cookies = CookieJar()
        self.cookies.update(cookies or {})

    def make(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Fields | None = None,
        cookies: Mapping[str, str] | None = None,
        content: Content | None = None,
        json: Any = UNSET,
        data: Mapping[str, Any] | None = None,
        files: Files | None = None,
    ) -> Outgoing:
        """Encode a request with the client's own headers and cookies."""
        own = list(headers.items() if isinstance(headers, Mapping) else headers or ())
        given = {name.lower() for name, _ in own}
        fields = [(name, value) for name, value in self.headers.items() if name.lower() not in given] + own
        absolute = join_url(self.base_url, url)
        if "cookie" not in given and (cookie := self.cookies.header_for(absolute, dict(cookies or {}))):
            fields.append(("Cookie", cookie))
        return make_outgoing(
            method.upper(), absolute, params=params, headers=fields, content=content, json=json, data=data, files=files
        )

    async def send(self, request: Outgoing) -> tuple[ResponseHead, Incoming]:
        """Send one request and keep the cookies of the answer."""
        incoming = await self.transport.send(request)
        head = ResponseHead(request, incoming.status, incoming.fields)
        self.cookies.take(head.headers.get_all("set-cookie"))
        return head, incoming

    async def connect(self, url: str, subprotocols: Sequence[str], **options: Any) -> AsyncTestWebSocket:
        """Open a WebSocket."""
        request = as_handshake(self.make("GET", url, **options), subprotocols)
        return AsyncTestWebSocket(await self.transport.connect(request))

    async def request(self, request: Outgoing, *, follow_redirects: bool) -> TestResponse:
        """Send a request, read the answer, and go where it leads if wanted."""
        history: list[TestResponse] = []
        while True:
            head, incoming = await self.send(request)
            try:
                content = b"".join([chunk async for chunk in incoming.chunks])
            finally:
                await incoming.aclose()
            response = TestResponse(head, content, list(history))
            if not (follow_redirects and response.is_redirect):
                return response
            history.append(response)
            if len(history) > MAX_REDIRECTS:
                raise ConfigError(
                    f"more than {MAX_REDIRECTS} redirects, the last one to {response.headers['location']!r}"
                )
            request = self._redirected(response)

    def _redirected(self, response: TestResponse) -> Outgoing:
        """Return the request that a redirect asks for: a GET after 303, and after a POST (RFC 9110 §15.4)."""
        before = response.request
        method, body = before.method, before.body
        dropped = {"host", "cookie"}
        if response.status_code == 303 or (response.status_code in (301, 302) and method == "POST"):
            method, body = "GET" if method != "HEAD" else method, b""
            dropped |= {"content-length", "content-type"}
        elif not isinstance(body, bytes):
            raise ConfigError("a body that was sent from an iterator cannot be sent again after a redirect")
        headers = [(name, value) for name, value in before.headers if name.lower() not in dropped]
        request = self.make(method, urljoin(before.url, response.headers["location"]), headers=headers)
        request.body = body
        return request
