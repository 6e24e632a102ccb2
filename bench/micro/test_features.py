"""What each switch adds to a request: a hundred requests through the pipeline, without it and with it, in one run.

`python -m pytest bench/micro/test_features.py`: in the group "a hundred requests" the difference to "nothing", divided
by a hundred, is what a switch costs one request. Bodies to compress have groups of their own.
"""

import asyncio
import json
import logging
from random import Random

import pytest

from cello import CSP, App, Request, Response, SecurityHeadersConfig
from cello.features.codings import Brotli, Gzip, Zstd
from cello.features.request_id import Sequence
from cello.http.head import FieldList
from cello.http.peer import Peer

HEAD = FieldList([
    (b"Host", b"localhost:8000"), (b"User-Agent", b"bench/1"), (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"gzip, deflate, br, zstd"), (b"Origin", b"https://shop.example.com"),
    (b"X-Request-Id", b"7b0e2c4e-5d0f-4b43-9a43-0a2ad7f7e1c2"), (b"X-Forwarded-For", b"198.51.100.7"),
    (b"X-Forwarded-Proto", b"https"),
])  # fmt: skip
NONCED = CSP().default_src(["self"]).script_src(["self", CSP.NONCE])
PEER = Peer("http", ("127.0.0.1", 54321), ("127.0.0.1", 8000))

SWITCHES = {
    "nothing": lambda app: None,
    "an empty hook before": lambda app: app.before_request(lambda request: None),
    "an empty hook after": lambda app: app.after_request(lambda request, response: None),
    "cors, any origin": lambda app: app.enable_cors(),
    "cors, listed origins": lambda app: app.enable_cors(["https://shop.example.com", "https://*.example.org"]),
    "logging": lambda app: app.enable_logging(),
    "request ids, incoming": lambda app: app.enable_request_id(),
    "request ids, made": lambda app: app.enable_request_id(trust=False),
    "compression, a short answer": lambda app: app.enable_compression(),
    "security headers": lambda app: app.enable_security_headers(),
    "security headers, strict": lambda app: app.enable_security_headers(SecurityHeadersConfig.secure()),
    "security headers, a nonce": lambda app: app.enable_security_headers(SecurityHeadersConfig(csp=NONCED)),
    "trusted hosts": lambda app: app.enable_trusted_hosts(["localhost", "*.example.com"]),
    "trusted proxies, from one": lambda app: app.set_trusted_proxies(["127.0.0.1"]),
    "trusted proxies, not from one": lambda app: app.set_trusted_proxies(["10.0.0.0/8"]),
}


@pytest.fixture
def quiet():
    """The access log, written to nowhere."""
    logger = logging.getLogger("cello.access")
    logger.addHandler(handler := logging.NullHandler())
    logger.propagate = False
    yield
    logger.removeHandler(handler)
    logger.propagate = True


@pytest.mark.benchmark(group="a hundred requests")
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch(benchmark, quiet, name):
    app = App()
    SWITCHES[name](app)
    app.get("/")(lambda: Response.text("hello"))
    asyncio.run(app.lifecycle.startup())
    dispatcher = app.freeze()

    def answer():
        for _ in range(100):
            request = Request.incoming("GET", "/", "", HEAD, PEER)
            response = dispatcher.answer(dispatcher.plan_for(request), request)
        return response

    try:
        assert benchmark(answer).status == 200
    finally:
        asyncio.run(app.lifecycle.shutdown())


@pytest.mark.benchmark(group="an id")
@pytest.mark.parametrize("way", ["sequence", "uuid4"])
def test_an_id(benchmark, way):
    import uuid

    benchmark(Sequence().next if way == "sequence" else lambda: str(uuid.uuid4()))


def make_document(size):
    """Rows of numbers, names and dates, as an API sends them; the same in every run."""
    random = Random(1)
    words = [random.randbytes(random.randint(1, 4)).hex() for _ in range(200)]
    rows = []
    while size > 0:
        row = {
            "id": random.randint(1, 1_000_000),
            "name": " ".join(random.choices(words, k=4)),
            "price": round(random.random() * 100, 2),
            "tags": random.choices(words, k=3),
            "created": f"2026-11-{random.randint(1, 28):02}T{random.randint(0, 23):02}:00:00Z",
        }
        rows.append(row)
        size -= len(json.dumps(row))
    return json.dumps(rows, separators=(",", ":")).encode()


CODINGS = {"zstd 3": Zstd, "br 4": Brotli, "gzip 6 (isal)": Gzip, "gzip 6 (zlib)": Gzip}


@pytest.mark.parametrize("size", [2_000, 58_000])
@pytest.mark.parametrize("name", CODINGS)
def test_a_coding(benchmark, monkeypatch, name, size):
    if "zlib" in name:
        monkeypatch.setattr("cello.features.codings.find_spec", lambda module: None)
    coding = CODINGS[name]()
    document = make_document(size)
    benchmark.group = f"{size} bytes of JSON"
    compressed = benchmark(coding.compress, document)
    benchmark.extra_info["ratio"] = round(len(document) / len(compressed), 2)
