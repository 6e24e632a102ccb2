"""The peers: what is installed, which app file runs, and what a peer cannot do and why.

Versions are pinned so that a result can be repeated; raise them all together, and say so in the commit. A bare peer is
a server without framework: it finds its three answers with `if` and has no routes, so a framework that comes near it
costs next to nothing. Bare apps use the standard library's json, the way they are written; `-msgspec` replaces it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

UVICORN = ("uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0", "h11==0.16.0", "websockets==17.4")
_SOCKETS = ("websocket", "websocket-def", "websocket-64k")
_NO_ASYNC = dict.fromkeys(("async", "suspend", *_SOCKETS), "a WSGI server")
_BARE = {"middleware": "no framework"}
_NO_SOCKET = dict.fromkeys(_SOCKETS, "not set up here")
_NO_DEF_SOCKET = {"websocket-def": "no def handlers for WebSocket"}
_ROUTES = ("plaintext", "param", "post", "async", "suspend", "headers", "pipelined", "middleware")
_ONLY_SOCKETS = dict.fromkeys((*_ROUTES, "json"), "only WebSocket")


@dataclass(frozen=True, slots=True)
class Peer:
    """One contestant.

    Attributes:
        name: As said on the command line.
        title: As shown in tables and charts.
        app: File below `apps/`, run as a script; empty for the floor, which is a program of its own.
        requirements: Pinned distributions; `.` is this checkout with its `standard` extra.
        environment: Variables that make the variant.
        skips: Workloads that it does not take part in, with the reason.
        venv: Name of its virtualenv, where several peers share one.
        module: What a program imports, for `bench.startup`; empty = not measured there.
        serves_graphql: Whether it serves GraphQL, and nothing else.
    """

    name: str
    title: str
    app: str
    requirements: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    skips: Mapping[str, str] = field(default_factory=dict)
    venv: str = ""
    module: str = ""
    serves_graphql: bool = False

    def skips_workload(self, name: str, *, is_graphql: bool) -> str:
        """Return why the peer does not take part in a workload, "" where it does."""
        if is_graphql != self.serves_graphql:
            return "only GraphQL" if self.serves_graphql else "no GraphQL"
        return self.skips.get(name, "")

    @property
    def venv_name(self) -> str:
        """The folder of its virtualenv."""
        return self.venv or self.name


PEERS: tuple[Peer, ...] = (
    Peer("cello", "cello", "cello_app.py", (".",), {"CELLO_SPEEDUPS": "1"}, module="cello"),
    Peer(
        "cello-pure",
        "cello pure (httptools, uvloop)",
        "cello_app.py",
        (".",),
        {"CELLO_SPEEDUPS": "0", "CELLO_HTTP": "httptools", "CELLO_LOOP": "uvloop"},
        venv="cello",
    ),
    Peer(
        "cello-h11",
        "cello pure (h11, asyncio)",
        "cello_app.py",
        (".",),
        {"CELLO_SPEEDUPS": "0", "CELLO_HTTP": "h11", "CELLO_LOOP": "asyncio"},
        venv="cello",
    ),
    Peer(
        "cello-graphql",
        "cello, GraphQL",
        "cello_graphql_app.py",
        (".", "graphql-core==3.3.2"),
        {"CELLO_SPEEDUPS": "1"},
        serves_graphql=True,
    ),
    Peer(
        "strawberry",
        "Strawberry on uvicorn",
        "strawberry_app.py",
        ("strawberry-graphql==0.341.2", "starlette==1.10.0", *UVICORN),
        serves_graphql=True,
    ),
    Peer(
        "picows",
        "picows, bare callback",
        "picows_app.py",
        ("picows==2.3.1", "uvloop==0.23.0"),
        skips=_ONLY_SOCKETS | _NO_DEF_SOCKET,
    ),
    Peer("floor", "C epoll floor", "", skips=_BARE | _NO_SOCKET),
    Peer(
        "cello-framework",
        "cello-framework (Rust)",
        "cello_framework_app.py",
        ("cello-framework==1.4.1",),
        module="cello",
    ),
    Peer(
        "fastwsgi",
        "fastwsgi, bare app",
        "fastwsgi_app.py",
        ("fastwsgi==0.0.9", "setuptools<81", "msgspec==0.22.0"),
        skips=_NO_ASYNC | _BARE,
    ),
    Peer(
        "fastwsgi-msgspec",
        "fastwsgi, bare app, msgspec",
        "fastwsgi_app.py",
        ("fastwsgi==0.0.9", "setuptools<81", "msgspec==0.22.0"),
        {"BENCH_JSON": "msgspec"},
        _NO_ASYNC | _BARE,
        venv="fastwsgi",
    ),
    Peer(
        "granian",
        "granian, bare RSGI",
        "granian_app.py",
        ("granian==2.8.7", "uvloop==0.23.0"),
        skips=_BARE | _NO_DEF_SOCKET,
    ),
    Peer(
        "socketify",
        "socketify",
        "socketify_app.py",
        ("socketify==0.0.31",),
        skips=_BARE | _NO_DEF_SOCKET,
        module="socketify",
    ),
    Peer(
        "falcon",
        "Falcon on bjoern",
        "falcon_app.py",
        ("falcon==4.4.0", "bjoern==3.2.2"),
        skips=_NO_ASYNC,
        module="falcon",
    ),
    Peer(
        "blacksheep",
        "BlackSheep on granian",
        "blacksheep_app.py",
        ("blacksheep==2.6.4", "granian==2.8.7", "uvloop==0.23.0"),
        skips=_NO_SOCKET,
        module="blacksheep",
    ),
    Peer(
        "starlette",
        "Starlette on uvicorn",
        "starlette_app.py",
        ("starlette==1.10.0", *UVICORN),
        skips=_NO_DEF_SOCKET,
        module="starlette.applications",
    ),
    Peer(
        "starlette-h11",
        "Starlette on uvicorn (h11, asyncio)",
        "starlette_app.py",
        ("starlette==1.10.0", *UVICORN),
        {"BENCH_PURE": "1"},
        _NO_DEF_SOCKET,
        venv="starlette",
    ),
    Peer(
        "uvicorn-h11",
        "uvicorn (h11, asyncio), bare ASGI",
        "uvicorn_app.py",
        ("starlette==1.10.0", *UVICORN),
        skips=_BARE | _NO_SOCKET,
        venv="starlette",
    ),
    Peer(
        "uvicorn-wsproto",
        "uvicorn with wsproto, bare ASGI",
        "uvicorn_websocket_app.py",
        (*UVICORN, "wsproto==1.3.2"),
        skips=_ONLY_SOCKETS | _NO_DEF_SOCKET,
    ),
    Peer(
        "fastapi",
        "FastAPI on uvicorn",
        "fastapi_app.py",
        ("fastapi==0.163.2", *UVICORN),
        skips=_NO_SOCKET,
        module="fastapi",
    ),
    Peer(
        "litestar",
        "Litestar on uvicorn",
        "litestar_app.py",
        ("litestar==2.25.0", *UVICORN),
        skips=_NO_SOCKET,
        module="litestar",
    ),
    Peer(
        "sanic",
        "Sanic",
        "sanic_app.py",
        ("sanic==25.12.1", "uvloop==0.23.0"),
        skips=_NO_DEF_SOCKET,
        module="sanic",
    ),
    Peer(
        "aiohttp",
        "aiohttp",
        "aiohttp_app.py",
        ("aiohttp==3.14.5", "uvloop==0.23.0"),
        skips=_NO_DEF_SOCKET,
        module="aiohttp.web",
    ),
    Peer("robyn", "Robyn", "robyn_app.py", ("robyn==0.88.0",), skips=_NO_SOCKET, module="robyn"),
)

SWITCHES = (
    *("request_id", "cors", "logging", "security_headers", "trusted_hosts", "compression", "session"),
    *("rate_limit", "caching", "circuit_breaker", "prometheus"),
)
"""Switches of cello whose cost is measured, each thrown alone."""

PEERS += tuple(
    Peer(
        f"cello+{switch}",
        f"cello + {switch.replace('_', ' ')}",
        "cello_app.py",
        (".",),
        {"CELLO_SPEEDUPS": "1", "BENCH_SWITCH": switch},
        dict.fromkeys((*_ROUTES, *_SOCKETS), "only JSON"),
        venv="cello",
    )
    for switch in SWITCHES
)

DEFAULT = ("cello", "cello-framework", "fastwsgi", "floor")


def choose(words: str, peers: Iterable[Peer] = PEERS) -> list[Peer]:
    """Return the peers named by a comma-separated list, in the order of the table.

    `default` and `switches` are groups; `all` is everybody but the switches.

    Raises:
        ValueError: A name that no peer has.
    """
    by_name = {peer.name: peer for peer in peers}
    wanted = {name for word in words.split(",") for name in _expand(word.strip(), by_name)}
    if unknown := wanted - by_name.keys():
        raise ValueError(f"no such peer: {', '.join(sorted(unknown))}; there are: {', '.join(by_name)}")
    return [peer for name, peer in by_name.items() if name in wanted]


def _expand(word: str, by_name: Mapping[str, Peer]) -> Iterable[str]:
    if word == "all":
        return [name for name in by_name if not name.startswith("cello+")]
    if word == "switches":
        return ["cello", *(f"cello+{switch}" for switch in SWITCHES)]
    return DEFAULT if word == "default" else (word,)
