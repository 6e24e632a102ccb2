"""Compressed requests: decoded before anybody looks, and never beyond the limit."""

import functools
import threading
import zlib
from random import Random

import brotli
import pytest
from backports import zstd

from cello import App, LimitsConfig, Request
from cello.features.codings import PIECE_BYTES, Brotli, Deflate, Gzip, Zstd
from cello.features.decompression import INLINE_BYTES

BODY = b'{"text": "' + b"the quick brown fox " * 200 + b'"}'
ENCODE = {
    "gzip": lambda data: zlib.compress(data, wbits=31),
    "x-gzip": lambda data: zlib.compress(data, wbits=31),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}
LIMIT = 1_000_000


def make_app(coloured, **options):
    app = App()
    app.set_limits(LimitsConfig(max_body_size=LIMIT, max_spool_memory=200_000))
    app.enable_compression(**options)

    @app.post("/json")
    @coloured
    def echo_json(request):
        return {
            "size": len(request.json()["text"]),
            "length": request.content_length,
            "coding": request.get_header("content-encoding"),
            "names": sorted(request.headers),
        }

    app.post("/size")(coloured(lambda request: {"size": len(request.body())}))
    app.post("/small", max_body_size=100)(coloured(lambda request: {"size": len(request.body())}))
    app.post("/guarded", guards=[lambda request: request.json()["text"] != ""])(coloured(lambda: "in"))
    return app


def make_stream_app(colour):
    app = App()
    app.enable_compression()

    def count(request: Request):
        return {"size": sum(len(piece) for piece in request.stream()), "length": request.content_length}

    async def count_async(request: Request):
        return {"size": sum([len(piece) async for piece in request.stream()]), "length": request.content_length}

    app.post("/", stream=True, max_body_size=LIMIT)(count if colour == "def" else count_async)
    return app


def send(client, path, body, coding):
    return client.post(path, content=body, headers={"Content-Encoding": coding, "Content-Type": "application/json"})


def with_wide_window(data):
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize("coding", [*ENCODE, "GZIP", "identity", "gzip, zstd", "br,identity"])
def test_a_handler_gets_the_body_as_it_was(serve, coloured, coding):
    body = BODY
    for name in coding.lower().replace(" ", "").split(","):
        body = ENCODE.get(name, bytes)(body)
    with serve(make_app(coloured)) as client:
        answer = send(client, "/json", body, coding)
        seen_by_guard = send(client, "/guarded", body, coding)
    assert answer.status == 200, answer.text
    got = answer.json()
    assert (got["size"], got["length"]) == (4_000, len(BODY))
    assert got["coding"] == ("identity" if coding == "identity" else None)
    assert got["names"].count("content-length") == 1
    assert seen_by_guard.text == "in"


REFUSALS = {
    "not gzip at all": (b"plain text", "gzip", 400, "not valid gzip"),
    "a damaged body": (ENCODE["gzip"](BODY)[:-8] + b"\0" * 8, "gzip", 400, "not valid gzip"),
    "a body cut short": (ENCODE["gzip"](BODY)[:-4], "gzip", 400, "ends before its gzip does"),
    "rubbish behind the body": (ENCODE["gzip"](BODY) + b"rubbish", "gzip", 400, "not valid gzip"),
    "not brotli": (b"\xff\xff plain", "br", 400, "not valid br"),
    "brotli cut short": (ENCODE["br"](BODY)[:-4], "br", 400, "ends before its br does"),
    "rubbish behind brotli": (ENCODE["br"](BODY) + b"rubbish", "br", 400, "not valid br"),
    "not zstd": (b"plain text", "zstd", 400, "not valid zstd"),
    "zstd cut short": (ENCODE["zstd"](BODY)[:-4], "zstd", 400, "ends before its zstd does"),
    "a zstd window of 128 MiB": (with_wide_window(BODY), "zstd", 400, "not valid zstd"),
    "an unknown coding": (b"x", "lzma", 415, "not supported: lzma"),
    "a known one in an unknown one": (b"x", "gzip, lzma", 415, "not supported: lzma"),
    "too many": (b"x", "gzip, gzip, gzip", 415, "more than 2"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "coding", "status", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_cannot_be_decoded_is_refused(serve, coloured, body, coding, status, words):
    with serve(make_app(coloured)) as client:
        answer = send(client, "/size", body, coding)
    assert answer.status == status
    assert words in answer.json()["detail"]
    if status == 415:
        assert answer.headers["accept-encoding"] == "zstd, br, gzip, deflate"


@functools.cache
def make_bomb(coding):
    return ENCODE[coding](bytes(20 * LIMIT))


@pytest.mark.parametrize("coding", ENCODE)
def test_a_bomb_is_defused(serve, coloured, coding):
    bomb = make_bomb(coding)
    with serve(make_app(coloured)) as client:
        answer = send(client, "/size", bomb, coding)
        nested = send(client, "/size", ENCODE["gzip"](bomb), f"{coding}, gzip")
    assert len(bomb) < LIMIT
    assert answer.status == nested.status == 413
    assert "when decoded" in answer.json()["detail"]


@pytest.mark.parametrize(("size", "status"), [(100, 200), (101, 413)], ids=["at the limit", "over it"])
def test_the_limit_of_the_route_holds(serve, coloured, size, status):
    with serve(make_app(coloured)) as client:
        assert send(client, "/small", ENCODE["gzip"](bytes(size)), "gzip").status == status


@pytest.mark.parametrize("size", [0, 10, INLINE_BYTES + 1, LIMIT], ids=["empty", "small", "large", "at the limit"])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_bodies_of_all_sizes_arrive_whole(serve, coloured, coding, size):
    with serve(make_app(coloured)) as client:
        assert send(client, "/size", ENCODE[coding](bytes(size)), coding).json() == {"size": size}


def test_an_empty_body_needs_no_end(serve, coloured):
    with serve(make_app(coloured)) as client:
        assert send(client, "/size", b"", "gzip").json() == {"size": 0}


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_body_is_decoded_while_it_arrives(serve, colour, coding):
    encoded = ENCODE[coding](BODY * 50)
    pieces = [encoded[at : at + 100] for at in range(0, len(encoded), 100)]
    with serve(make_stream_app(colour)) as client:
        assert send(client, "/", pieces, coding).json() == {"size": len(BODY) * 50, "length": None}
        assert send(client, "/", encoded, coding).json() == {"size": len(BODY) * 50, "length": None}
        assert send(client, "/", ENCODE[coding](bytes(LIMIT + 1)), coding).status == 413
        assert send(client, "/", encoded[:-4], coding).status == 400
        assert send(client, "/", b"rubbish", coding).status == 400


def test_a_body_that_was_kept_in_a_file_is_decoded_into_another(serve, coloured):
    body = Random(1).randbytes(500_000)
    with serve(make_app(coloured)) as client:
        assert send(client, "/size", ENCODE["gzip"](body), "gzip").json() == {"size": len(body)}


def test_a_series_of_members_is_one_body(serve):
    with serve(make_app(lambda handler: handler)) as client:
        for coding in ("gzip", "zstd"):
            series = ENCODE[coding](b"abc") + ENCODE[coding](b"de")
            assert send(client, "/size", series, coding).json() == {"size": 5}


def test_a_large_body_is_decoded_on_a_thread_and_its_route_stays_plain(client, monkeypatch):
    names = []
    decoder = type(Gzip().decoder())
    decode = decoder._decode

    def spy(self, data):
        for piece in decode(self, data):
            names.append(threading.current_thread().name)
            yield piece

    monkeypatch.setattr(decoder, "_decode", spy)
    app = App()
    app.enable_compression()
    app.post("/size", blocking=False)(lambda request: {"size": len(request.body())})
    for via in ("asgi", "native"):
        with client(app, via) as opened:
            assert send(opened, "/size", ENCODE["gzip"](bytes(LIMIT)), "gzip").json() == {"size": LIMIT}
        assert len(set(names)) == 2, names
        names.clear()
    assert not app.dispatcher.plan_for(app.request_class("POST", "/size")).is_async


def test_decoding_may_be_left_out(serve):
    with serve(make_app(lambda handler: handler, requests=False)) as client:
        body = ENCODE["gzip"](BODY)
        assert send(client, "/size", body, "gzip").json() == {"size": len(body)}


@pytest.mark.parametrize("coding", [Gzip(), Deflate(), Brotli(), Zstd()], ids=lambda coding: coding.name)
def test_no_piece_is_larger_than_announced(coding):
    bomb = zlib.compress(bytes(5_000_000)) if coding.name == "deflate" else coding.compress(bytes(5_000_000))
    sizes = [len(piece) for piece in coding.decoder().feed(bomb)]
    assert sum(sizes) == 5_000_000
    assert max(sizes) <= 2 * PIECE_BYTES
