"""Scanning a request head and looking a field up: the compiled scanner, h11 and httptools.

`small` is what a load generator sends; `browser` is a page load with eight fields. DESIGN figure to hold: the compiled
scan stays below 0.3 µs for `browser`, with all fields kept as offsets.
"""

from importlib.util import find_spec

import pytest

from cello import _speedups

HEADS = {
    "small": b"GET /users/42 HTTP/1.1\r\nHost: localhost:8000\r\n\r\n",
    "browser": (
        b"GET /users/42?page=2 HTTP/1.1\r\nHost: localhost:8000\r\n"
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0\r\n"
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
        b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n"
        b"Cookie: session=abcdefghijklmnopqrstuvwxyz0123456789\r\nUpgrade-Insecure-Requests: 1\r\n\r\n"
    ),
}


@pytest.fixture(params=["compiled", "httptools", "h11"])
def parse_head(request):
    if request.param == "compiled":
        if not _speedups.enabled:
            pytest.skip(f"no compiled modules: {_speedups.reason}")
        from cello.wire import h1_compiled as tier
    elif request.param == "httptools":
        if find_spec("httptools") is None:
            pytest.skip("httptools is not installed")
        from cello.wire.h1_httptools import HeadScanner

        return HeadScanner()
    else:
        from cello.wire import h1_h11 as tier
    return tier.parse_head


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
@pytest.mark.benchmark(group="scan a head")
def test_scan(benchmark, parse_head, head):
    method, _, minor, _ = benchmark(parse_head, head)
    assert (method, minor) == ("GET", 1)


@pytest.mark.parametrize("name", [b"host", b"cookie", b"authorization"], ids=["first", "seventh", "absent"])
@pytest.mark.benchmark(group="look a field up among eight")
def test_look_up(benchmark, parse_head, name):
    fields = parse_head(HEADS["browser"])[3]
    value = benchmark(fields.get, name)
    assert (value is None) is (name == b"authorization")
