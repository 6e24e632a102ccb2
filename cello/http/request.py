"""A request: what the client asked for, decoded only when somebody looks.

Strategy. A gateway hands over the method, the raw path, the raw query and a head object; making a Request stores those
and nothing more. Headers, query, cookies, JSON and forms are decoded at the first look and kept.

The body is at hand before the handler runs, so `json()`, `text()`, `form()` … are plain calls in `def` and in
`async def` handlers alike: `await request.json()` is a mistake, and Python says so (TypeError: dict can't be awaited).
Only routes with `stream=True` get the body while it arrives: `stream()`, `parts()` or the `…_async()` methods.

This source is also compiled (`cello._speedups.request`): it defines this one class and nothing else, which is why it is
longer than others.
"""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

from cello import _speedups
from cello.errors import BadRequest, ConfigError
from cello.http import json_codec, media
from cello.http.body import BodyStream, HeldBody, Spool, collect
from cello.http.cookies import parse_cookies
from cello.http.head import FieldList
from cello.http.headers import FieldText, Headers
from cello.http.peer import Peer
from cello.http.ports import BodySource, Client, HeadFields
from cello.http.url import Query, decode_lenient, encode_path, encode_query, parse_query

if TYPE_CHECKING:
    from cello.http.forms import FormData, UploadedFile
    from cello.http.multipart import Parts


class Request:
    """An HTTP request.

    Construct one by hand for unit tests; gateways use `incoming`.

    Args:
        method: "GET" and so on.
        path: As typed; may hold a query behind "?".
        params: The path parameters that the router would find.
        query: A query string, or a mapping of its fields (a list as a value repeats the field).
        headers: A mapping, or pairs.
        body: Text is sent as UTF-8.

    Attributes:
        method: The method, as sent.
        raw_path: The path, still percent-encoded.
        query_string: The query, still percent-encoded, without "?".
        http_version: "1.0" or "1.1"; "2" behind a host that speaks it.
        route: What is known about the route that matched, or None.
        app: The application.
    """

    __slots__ = (
        "__weakref__",
        "_afterwork",
        "_body",
        "_context",
        "_gateway",
        "_head",
        "_headers",
        "_memo",
        "_params",
        "_peer",
        "_query",
        "_source",
        "app",
        "http_version",
        "method",
        "query_string",
        "raw_path",
        "route",
    )

    def __init__(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        query: str | Mapping[str, object] | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        body: bytes | str | None = None,
    ) -> None:
        path, _, found = path.partition("?")
        if query is not None:
            found = query if isinstance(query, str) else encode_query(query)
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        content = body.encode() if isinstance(body, str) else body or b""
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
        head = FieldList(fields)
        if content and head.get(b"content-length") is None:
            fields.append((b"content-length", b"%d" % len(content)))
        peer = Peer("http", ("127.0.0.1", 0), ("localhost", 80))
        self._receive(method, path if "%" in path else encode_path(path), found, head, peer, "1.1")
        self._params: dict[str, str] | None = dict(params or {})
        self._body: bytes | Spool = content

    @classmethod
    def incoming(
        cls, method: str, raw_path: str, query_string: str, head: HeadFields, peer: Peer, http_version: str = "1.1"
    ) -> Self:
        """Make the request that a gateway received; nothing is checked here.

        Args:
            raw_path: Percent-encoded ASCII, beginning with "/", or "*".
            query_string: Percent-encoded, without "?".
            head: The fields as they came.
            peer: The connection it came on.
        """
        self = cls.__new__(cls)
        self._receive(method, raw_path, query_string, head, peer, http_version)
        return self

    def _receive(
        self, method: str, raw_path: str, query_string: str, head: HeadFields, peer: Peer, http_version: str
    ) -> None:
        # PERF: compiled, `self` has a type here, which it has not in `incoming`: 16 stores instead of 16 look-ups.
        self.method = method
        self.raw_path = raw_path
        self.query_string = query_string
        self.http_version = http_version
        self._head = head
        self._peer = peer
        self._params = None
        self.route: Any = None
        self.app: Any = None
        self._body = b""
        self._source: BodySource | None = None
        self._gateway: Client | None = None
        self._afterwork: Any = None
        self._headers: Headers | None = None
        self._query: Query | None = None
        self._context: dict[str, Any] | None = None
        self._memo: dict[str, Any] | None = None

    @property
    def params(self) -> dict[str, str]:
        """Path parameters, percent-decoded."""
        params = self._params
        if params is None:
            params = self._params = {}
        return params

    @params.setter
    def params(self, params: dict[str, str]) -> None:
        self._params = params

    @property
    def path(self) -> str:
        """The path, percent-decoded; for matching and links use `raw_path`, where "/" and "%2F" still differ."""
        raw = self.raw_path
        return raw if "%" not in raw else decode_lenient(raw)

    @property
    def scheme(self) -> str:
        """The scheme, "http" or "https"; what a trusted proxy said, if there is one."""
        memo = self._memo
        if memo is not None and "scheme" in memo:
            scheme: str = memo["scheme"]
            return scheme
        return self._peer.scheme

    @property
    def url(self) -> str:
        """The whole URL, percent-encoded."""
        query = self.query_string
        return f"{self.scheme}://{self.host}{self.root_path}{self.raw_path}{'?' if query else ''}{query}"

    @property
    def root_path(self) -> str:
        """Where the application is mounted in another one or behind a host's prefix, percent-encoded; mostly ""."""
        memo = self._memo
        return "" if memo is None else memo.get("root_path", "")

    @property
    def query(self) -> Query:
        """The query's fields: a dict of each one's last value, and `get_all` for the others.

        Raises:
            BadRequest: A field is not UTF-8.
        """
        query = self._query
        if query is None:
            query = self._query = parse_query(self.query_string)
        return query

    @property
    def query_params(self) -> Query:
        """The same as `query`."""
        return self.query

    @property
    def headers(self) -> Headers:
        """The header fields; case-insensitive."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers(self._head)
        return headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies the client sent."""
        memo = self._remember()
        cookies: dict[str, str] | None = memo.get("cookies")
        if cookies is None:
            cookies = memo["cookies"] = parse_cookies(self._head.get_all(b"cookie"))
        return cookies

    @property
    def context(self) -> dict[str, Any]:
        """What middleware, guards and handlers tell each other about this request."""
        context = self._context
        if context is None:
            context = self._context = {}
        return context

    @property
    def state(self) -> SimpleNamespace:
        """The same for attributes: `request.state.user = …`; a missing one is an AttributeError."""
        memo = self._remember()
        state: SimpleNamespace | None = memo.get("state")
        if state is None:
            state = memo["state"] = SimpleNamespace()
        return state

    @property
    def session(self) -> Any:
        """The client's session.

        Raises:
            ConfigError: Sessions are not switched on.
        """
        memo = self._memo
        if memo is None or "session" not in memo:
            raise ConfigError("request.session needs app.enable_session(...)")
        return memo["session"]

    @session.setter
    def session(self, session: Any) -> None:
        self._remember()["session"] = session

    @property
    def database(self) -> Any:
        """The application's database."""
        return self.app.database

    @property
    def db(self) -> Any:
        """The same as `database`."""
        return self.app.database

    @property
    def redis(self) -> Any:
        """The application's Redis client."""
        return self.app.redis

    @property
    def host(self) -> FieldText:
        """The host and port that the client asked for: its `Host`, or what a trusted proxy said."""
        memo = self._memo
        if memo is not None and "host" in memo:
            return FieldText(memo["host"])
        value = self._head.get(b"host")
        if value is not None:
            return FieldText(value.decode("latin-1"))
        server = self._peer.server
        if server is None:
            return FieldText("")
        name, port = server
        return FieldText(name if port is None or port == (443 if self.scheme == "https" else 80) else f"{name}:{port}")

    @property
    def client_ip(self) -> FieldText:
        """The client's address: the connection's other end, or what a trusted proxy said; "" on a unix socket."""
        memo = self._memo
        if memo is not None and "client_ip" in memo:
            return FieldText(memo["client_ip"])
        return FieldText(self.remote_addr)

    @property
    def remote_addr(self) -> str:
        """The address of the connection's other end, be it a proxy; "" on a unix socket."""
        client = self._peer.client
        return "" if client is None else client[0]

    @property
    def content_type(self) -> FieldText:
        """The Content-Type with its parameters; "" when it was not sent."""
        value = self._head.get(b"content-type")
        return FieldText("" if value is None else value.decode("latin-1"))

    @property
    def content_length(self) -> int | None:
        """The Content-Length; None when it was not sent."""
        value = self._head.get(b"content-length")
        return int(value) if value is not None and value.isdigit() else None

    @property
    def user_agent(self) -> FieldText:
        """The User-Agent; "" when it was not sent."""
        value = self._head.get(b"user-agent")
        return FieldText("" if value is None else value.decode("latin-1"))

    @property
    def request_id(self) -> FieldText:
        """The id of this request in logs and traces; "" unless request ids are switched on."""
        memo = self._memo
        return FieldText("" if memo is None else memo.get("request_id", ""))

    @request_id.setter
    def request_id(self, request_id: str) -> None:
        self._remember()["request_id"] = request_id

    def set_origin(
        self,
        client_ip: str | None = None,
        scheme: str | None = None,
        host: str | None = None,
        root_path: str | None = None,
    ) -> None:
        """Tell where the request really came from; for gateways, and middleware that trusts a proxy.

        None leaves a value alone.
        """
        memo = self._remember()
        if root_path is not None:
            memo["root_path"] = root_path
        if client_ip is not None:
            memo["client_ip"] = client_ip
        if scheme is not None:
            memo["scheme"] = scheme
        if host is not None:
            memo["host"] = host

    def _remember(self) -> dict[str, Any]:
        """Return the dict of what was decoded or set beyond the common attributes."""
        memo = self._memo
        if memo is None:
            memo = self._memo = {}
        return memo

    def get_header(self, name: str, default: str | None = None) -> str | None:
        """Return a header field's value, or `default`."""
        value = self._head.get(name.lower().encode("latin-1", "replace"))
        return default if value is None else value.decode("latin-1")

    @property
    def last_event_id(self) -> str | None:
        """The id of the last server-sent event that a returning client has seen, or None."""
        value = self._head.get(b"last-event-id")
        return None if not value else value.decode("utf-8", "replace")

    def get_context(self, key: str, default: Any = None) -> Any:
        """Return a value of `context`, or `default`."""
        context = self._context
        return default if context is None else context.get(key, default)

    def set_context(self, key: str, value: Any) -> None:
        """Put a value into `context`."""
        self.context[key] = value

    def get_param(self, name: str, default: str | None = None) -> str | None:
        """Return a path parameter, or `default`."""
        return self.params.get(name, default)

    def get_param_int(self, name: str, default: int | None = None) -> int | None:
        """Return a path parameter as an int, or `default` when it is missing or none."""
        try:
            return int(self.params[name])
        except (KeyError, ValueError):
            return default

    def get_query_param(self, name: str, default: str | None = None) -> str | None:
        """Return a query field's last value, or `default`."""
        return self.query.get(name, default)

    def get_query_int(self, name: str, default: int | None = None) -> int | None:
        """Return a query field as an int, or `default` when it is missing or none."""
        value = self.query.get(name)
        try:
            return default if value is None else int(value)
        except ValueError:
            return default

    def get_query_float(self, name: str, default: float | None = None) -> float | None:
        """Return a query field as a float, or `default` when it is missing or none."""
        value = self.query.get(name)
        try:
            return default if value is None else float(value)
        except ValueError:
            return default

    def get_query_bool(self, name: str, default: bool | None = None) -> bool | None:
        """Return a query field as a bool (true/1/yes/on, false/0/no/off), or `default` when it is neither."""
        value = self.query.get(name, "").lower()
        if value in ("true", "1", "yes", "on"):
            return True
        return False if value in ("false", "0", "no", "off") else default

    def is_json(self) -> bool:
        """Whether the Content-Type is JSON, or something +json."""
        essence = media.essence_of(self.content_type)
        return essence == media.JSON or essence.endswith("+json")

    def is_form(self) -> bool:
        """Whether the Content-Type is that of an urlencoded form."""
        return media.essence_of(self.content_type) == media.FORM

    def is_multipart(self) -> bool:
        """Whether the Content-Type is that of a multipart form."""
        return media.essence_of(self.content_type) == media.MULTIPART

    def is_xhr(self) -> bool:
        """Whether a script says it sent this (`X-Requested-With`)."""
        return self._head.get(b"x-requested-with") == b"XMLHttpRequest"

    def is_secure(self) -> bool:
        """Whether it came over TLS, to us or to a trusted proxy."""
        return self.scheme in ("https", "wss")

    def accepts(self, media_type: str) -> bool:
        """Whether the client's `Accept` takes this media type (RFC 9110 §12.5.1)."""
        value = self._head.get(b"accept")
        return media.quality(None if value is None else value.decode("latin-1"), media_type) > 0

    def url_for(self, name: str, /, **params: object) -> str:
        """Return the path of the route called `name`, below `root_path`."""
        path: str = self.app.url_for(name, **params)
        return self.root_path + path

    def body(self) -> bytes:
        """Return the body.

        Raises:
            RuntimeError: The route takes it as a stream and it has not been read.
        """
        if self._source is not None:
            raise RuntimeError(
                "this route has stream=True, so its body is not at hand: use request.stream() or await body_async()"
            )
        body = self._body
        return body if isinstance(body, bytes) else body.getvalue()

    def text(self) -> str:
        """Return the body as text, by the charset of its Content-Type or else UTF-8.

        Raises:
            BadRequest: The charset is unknown, or the body is not in it.
        """
        return media.decode_text(self.body(), self.content_type)

    def json(self) -> Any:
        """Return what the body says as JSON; the same object at every call.

        Raises:
            BadRequest: It is not JSON; 400 when nobody catches it.
        """
        memo = self._remember()
        if "json" not in memo:
            body = self.body()
            if not body:
                raise BadRequest("The body is not valid JSON: it is empty.")
            memo["json"] = json_codec.decode(body)
        return memo["json"]

    def form(self) -> "FormData":
        """Return the form in the body: a mapping of fields, and with multipart the files too. The same at every call.

        Raises:
            UnsupportedMediaType: The Content-Type is not that of a form.
            BadRequest: The form is malformed.
            ContentTooLarge: It has too many fields or parts.
        """
        memo = self._remember()
        form: FormData | None = memo.get("form")
        if form is None:
            from cello.http.forms import parse_form  # many applications have no form

            source = self._source
            if source is not None:
                self.body()
            form = memo["form"] = parse_form(self._body, self.content_type, self._limits())
        return form

    def files(self) -> "dict[str, UploadedFile]":
        """Return the uploaded files by field name, the last one of each; `form().get_files(name)` has them all.

        Raises:
            UnsupportedMediaType, BadRequest, ContentTooLarge: As for `form`.
        """
        return self.form().files()

    def _limits(self) -> Any:
        """Return the application's limits, or None for the defaults."""
        return None if self.app is None else self.app.settings.limits

    async def body_async(self) -> bytes:
        """Return the body, reading it first where the route takes it as a stream."""
        await self._collect()
        return self.body()

    async def text_async(self) -> str:
        """Do what `text` does, reading the body first where the route takes it as a stream."""
        await self._collect()
        return self.text()

    async def json_async(self) -> Any:
        """Do what `json` does, reading the body first where the route takes it as a stream."""
        await self._collect()
        return self.json()

    async def form_async(self) -> "FormData":
        """Do what `form` does, reading the body first where the route takes it as a stream."""
        await self._collect()
        return self.form()

    async def _collect(self) -> None:
        source = self._source
        if source is not None:
            from cello.http.multipart import DEFAULT_LIMITS

            limits = self._limits() or DEFAULT_LIMITS
            self._body = await collect(source, limits.max_spool_memory)
            self._source = None

    def stream(self) -> BodyStream:
        """Return the body's pieces as they arrive, for `for` and `async for`; at hand already without `stream=True`."""
        return BodyStream(self._source or HeldBody(self._body))

    def parts(self) -> "Parts":
        """Return the parts of a multipart form as they arrive, for `for` and `async for`; nothing is kept.

        Raises:
            UnsupportedMediaType: The Content-Type is not multipart/form-data.
        """
        from cello.http.multipart import Parts

        return Parts(self._source or HeldBody(self._body), self.content_type, self._limits())

    async def disconnected(self) -> bool:
        """Whether the client has gone; answers at once. Always False where the host does not tell, as under WSGI."""
        gateway = self._gateway
        return False if gateway is None else await gateway.disconnected()

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.raw_path}>"


PureRequest = Request
if _speedups.enabled:
    from cello._speedups.request import Request  # type: ignore[import-not-found, no-redef, unused-ignore]
