"""The workloads: exact request bytes, and what every answer must hold.

An `Exchange` is checked in full before anything is timed; the load generator then looks for its `needle` in each body.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

ORIGIN = "https://app.example.com"
USERS = 4096
_TEXT = "Hello, World!"
_GREETING = {"message": "Hello, World!"}

# What a current desktop browser sends with a navigation, beside Host.
_BROWSER_FIELDS = (
    "Connection: keep-alive",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control: max-age=0",
    "Referer: http://127.0.0.1/start",
    "Cookie: theme=dark; session=5f2b9c1e8d7a4f60b3c2d1e0f9a8b7c6",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what its answer must be.

    Attributes:
        request: The bytes sent.
        expected: The body: text as it is, anything else as JSON.
        needle: Bytes that each timed answer's body must hold.
        fields: Names of response fields that must be there, in lower case.
    """

    request: bytes
    expected: object
    needle: bytes
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """One column of the table.

    Attributes:
        name: As said on the command line.
        title: As shown.
        exchanges: Taken in turn by all connections.
        pipeline: Requests sent in one batch before the answers are read.
        middleware: Whether the app runs with CORS, request id and timing.
        websocket: The path to upgrade on; the exchanges are then masked frames.
        graphql: Whether it is for peers that serve GraphQL, and for nobody else.
    """

    name: str
    title: str
    exchanges: tuple[Exchange, ...]
    pipeline: int = 1
    middleware: bool = False
    websocket: str = ""
    graphql: bool = False


def _get(path: str, expected: object, needle: str, *fields: str, answer: tuple[str, ...] = ()) -> Exchange:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *fields, "", ""]
    return Exchange("\r\n".join(lines).encode(), expected, needle.encode(), answer)


def _graphql(query: str, expected: object, needle: str) -> Exchange:
    body = json.dumps({"query": query}).encode()
    head = (
        "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return Exchange(head.encode() + body, {"data": expected}, needle.encode())


def _post_1k() -> Exchange:
    items = [{"sku": f"A-{number:04}", "count": number, "price": number * 1.25, "gift": False} for number in range(18)]
    data = {"customer": "Ada Lovelace", "note": "Grüße aus Köln", "items": items}
    body = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    head = (
        "POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return Exchange(head.encode() + body, data, b"A-0017")


def _masked_frame(message: str | bytes) -> Exchange:
    payload = message.encode() if isinstance(message, str) else message
    mask, size = b"\x37\xfa\x21\x3d", len(payload)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 127]) + size.to_bytes(8, "big")
    first = b"\x81" if isinstance(message, str) else b"\x82"
    return Exchange(first + length + mask + masked, message, payload[-32:])


_ECHO = _masked_frame("cello says hello thirty-two long")
_LONG_ECHO = _masked_frame(bytes(range(256)) * 256)
_HOME = _get("/", _TEXT, _TEXT)
_MIDDLEWARE_FIELDS = ("access-control-allow-origin", "x-request-id", "x-response-time")

WORKLOADS: tuple[Workload, ...] = (
    Workload("plaintext", "plaintext GET /", (_HOME,)),
    Workload("json", "JSON GET, def", (_get("/json", _GREETING, _TEXT),)),
    # Ids of one length: every answer has the same size.
    Workload(
        "param",
        f"GET /users/{{id}}, {USERS} ids",
        tuple(_get(f"/users/{n}", {"id": str(n)}, f'"{n}"') for n in range(1000, 1000 + USERS)),
    ),
    Workload("post", "POST 1 KB JSON, echoed", (_post_1k(),)),
    Workload("async", "JSON GET, async def", (_get("/async", _GREETING, _TEXT),)),
    Workload("suspend", "JSON GET, one await sleep(0)", (_get("/suspend", _GREETING, _TEXT),)),
    Workload("headers", "GET / with 8 browser headers", (_get("/", _TEXT, _TEXT, *_BROWSER_FIELDS),)),
    Workload("pipelined", "16 pipelined GET /", (_HOME,), pipeline=16),
    Workload(
        "middleware",
        "CORS + request id + timing",
        (_get("/", _TEXT, _TEXT, f"Origin: {ORIGIN}", answer=_MIDDLEWARE_FIELDS),),
        middleware=True,
    ),
    Workload("websocket", "WebSocket echo, 32 bytes, async", (_ECHO,), websocket="/ws"),
    Workload("websocket-def", "WebSocket echo, 32 bytes, def", (_ECHO,), websocket="/ws-def"),
    Workload(
        "graphql",
        "GraphQL, one object",
        (_graphql("{user(id: 7) {id name}}", {"user": {"id": 7, "name": "user 7"}}, "user 7"),),
        graphql=True,
    ),
    Workload(
        "graphql-list",
        "GraphQL, 1,000 objects",
        (
            _graphql(
                "{users(limit: 1000) {id name}}",
                {"users": [{"id": number, "name": f"user {number}"} for number in range(1000)]},
                "user 999",
            ),
        ),
        graphql=True,
    ),
    Workload("websocket-64k", "WebSocket echo, 64 KiB, async", (_LONG_ECHO,), websocket="/ws"),
)

DEFAULT = ("plaintext", "json", "param", "post")


def choose(words: str, workloads: Iterable[Workload] = WORKLOADS) -> list[Workload]:
    """Return the workloads named by a comma-separated list, `all` or `default`, in the order of the table.

    Raises:
        ValueError: A name that no workload has.
    """
    by_name = {workload.name: workload for workload in workloads}
    wanted: set[str] = set()
    for word in (word.strip() for word in words.split(",")):
        wanted.update(by_name if word == "all" else DEFAULT if word == "default" else (word,))
    if unknown := wanted - by_name.keys():
        raise ValueError(f"no such workload: {', '.join(sorted(unknown))}; there are: {', '.join(by_name)}")
    return [workload for name, workload in by_name.items() if name in wanted]
