"""The WebSocket codecs: a message in, a message out, and compression; `pytest bench/micro/test_ws.py`."""

import json
import zlib
from typing import Any

import pytest

from cello import _speedups
from cello.wire.ws_deflate import MEMORY_LEVEL, WINDOW_BITS
from cello.wire.ws_tiers import choose_ws_tier
from tests.conformance.ws_rows import binary, text

MESSAGES = {"32 bytes of text": "x" * 32, "1 KiB of text": "x" * 1024, "64 KiB": bytes(65_536)}
DATA = json.dumps({
    "customer": "Ada Lovelace", "items": [{"sku": f"A-{n:04}", "count": n, "price": n * 1.25} for n in range(22)],
}).encode()  # fmt: skip


@pytest.fixture(params=["compiled", "wsproto"])
def codec(request: pytest.FixtureRequest) -> Any:
    if request.param == "compiled" and not _speedups.enabled:
        pytest.skip(f"no compiled modules: {_speedups.reason}")
    return choose_ws_tier(request.param).make(1 << 24, None)


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_receive(benchmark: Any, codec: Any, message: str | bytes) -> None:
    frame = text(message) if isinstance(message, str) else binary(message)
    assert benchmark(codec.receive, frame) == [message]


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_encode(benchmark: Any, codec: Any, message: str | bytes) -> None:
    assert len(benchmark(codec.encode, message)) > len(message)


@pytest.mark.parametrize("level", [1, 6])
def test_compress(benchmark: Any, level: int) -> None:
    stream = zlib.compressobj(level, wbits=-WINDOW_BITS, memLevel=MEMORY_LEVEL)
    benchmark(lambda: stream.compress(DATA) + stream.flush(zlib.Z_SYNC_FLUSH))
