# a row of the table reads best on one line
"""Compressed answers: when, how, and what their heads say."""

import asyncio
import threading
import zlib
from random import Random
from typing import Any

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from cello import App, ConfigError, MissingDependency, Response
from cello.features.codings import Brotli, Gzip, Zstd
from cello.features.compression import OFF_LOOP_BYTES, Compression

TEXT = "the quick brown fox jumps over the lazy dog. " * 60
EVERYTHING = "gzip, deflate, br, zstd"
DECODE = {
    "gzip": lambda data: zlib.decompress(data, 31),
    "br": brotli.decompress,
    "zstd": zstd.decompress,
    None: lambda data: data,
}


def plain(answer: Any) -> bytes:
    return DECODE[answer.headers.get("content-encoding")](answer.content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("files")
    (made / "page.html").write_text(TEXT)
    (made / "photo.png").write_bytes(b"\x89PNG" + bytes(5_000))
    return made


def make_app(coloured, folder, **options):
    app = App()
    app.enable_compression(**options)

    def text(headers=None, status=200, body=TEXT, kind=None):
        return coloured(lambda: Response(body, status, headers, kind))

    app.get("/text")(text())
    app.get("/json")(coloured(lambda: {"text": TEXT}))
    app.get("/short")(text(body="short"))
    app.get("/image")(text(kind="image/png"))
    app.get("/svg")(text(kind="image/svg+xml"))
    app.get("/encoded")(text({"Content-Encoding": "x-own"}))
    app.get("/identity")(text({"Content-Encoding": "identity"}))
    app.get("/as-it-is")(text({"Cache-Control": "public, No-Transform"}))
    app.get("/cached")(text({"Cache-Control": "public, max-age=60"}))
    app.get("/part")(text({"Content-Range": "bytes 0-9/99"}, 206))
    app.get("/not-modified")(text({"ETag": '"v1"'}, 304))
    app.get("/tagged")(text({"ETag": '"v1"'}))
    app.get("/weak")(text({"ETag": 'W/"v1"'}))
    app.get("/varied")(text({"Vary": "Accept, Cookie"}))
    app.get("/digested")(text({"Repr-Digest": "sha-256=:abc=:"}))
    app.get("/random")(text(body=Random(1).randbytes(300), kind="text/plain"))
    app.get("/big")(text(body=TEXT * 100))
    app.get("/file")(coloured(lambda: Response.sendfile(folder / "page.html")))
    app.get("/photo")(coloured(lambda: Response.sendfile(folder / "photo.png")))
    app.get("/guarded", guards=[lambda request: False])(coloured(lambda: "never"))

    @app.get("/lines")
    @coloured
    def lines():
        return Response.stream((f"line {number}: {TEXT}\n" for number in range(20)), content_type="text/plain")

    @app.get("/long-error")
    @coloured
    def long_error():
        from cello import BadRequest

        raise BadRequest(TEXT)

    return app


NEGOTIATED = {
    "nothing sent": (None, None),
    "empty": ("", None),
    "gzip": ("gzip", "gzip"),
    "an old name": ("x-gzip", "gzip"),
    "capitals": ("GZip", "gzip"),
    "brotli": ("br", "br"),
    "zstd": ("zstd", "zstd"),
    "all alike: ours is first": ("gzip, deflate, br, zstd", "zstd"),
    "two alike": ("gzip, br", "br"),
    "the client's favourite wins": ("gzip;q=1.0, br;q=0.8, zstd;q=0.9", "gzip"),
    "the lesser evil": ("br;q=0.1, gzip;q=0.2", "gzip"),
    "none is wanted": ("gzip;q=0, br;q=0", None),
    "identity is wanted more": ("identity, gzip;q=0.5", None),
    "identity is as good": ("identity;q=0.5, gzip;q=0.5", "gzip"),
    "anything": ("*", "zstd"),
    "anything else": ("zstd;q=0, *;q=0.5", "br"),
    "anything but": ("*;q=0", None),
    "only what we cannot do": ("compress, deflate", None),
    "malformed weights are ignored": ("gzip;q=high, br", "br"),
    "blanks and tabs": (" gzip ;\tq=0.3 ,br; q=0.2", "gzip"),
}


@pytest.mark.parametrize(("accept", "coding"), NEGOTIATED.values(), ids=NEGOTIATED.keys())
def test_the_coding_is_the_one_the_client_likes_best(accept, coding):
    chosen = Compression()._choose(None if accept is None else accept.encode())
    assert (chosen and chosen.name) == coding


HEADS = {
    "text": ("/text", 200, "zstd", {"vary": "Accept-Encoding"}),
    "json": ("/json", 200, "zstd", {"content-type": "application/json"}),
    "svg": ("/svg", 200, "zstd", {}),
    "a short answer": ("/short", 200, None, {"vary": "Accept-Encoding", "content-length": "5"}),
    "an image": ("/image", 200, None, {"vary": None}),
    "an answer that is encoded": ("/encoded", 200, "x-own", {"vary": "Accept-Encoding"}),
    "an answer to be left as it is": ("/as-it-is", 200, None, {"vary": "Accept-Encoding"}),
    "a handler that says identity": ("/identity", 200, None, {"vary": "Accept-Encoding"}),
    "a cached one": ("/cached", 200, "zstd", {"cache-control": "public, max-age=60"}),
    "a part": ("/part", 206, None, {"content-range": "bytes 0-9/99"}),
    "a 304 by hand": ("/not-modified", 304, None, {"etag": '"v1"', "vary": "Accept-Encoding"}),
    "a strong tag becomes weak": ("/tagged", 200, "zstd", {"etag": 'W/"v1"'}),
    "a weak tag stays": ("/weak", 200, "zstd", {"etag": 'W/"v1"'}),
    "vary is appended": ("/varied", 200, "zstd", {"vary": "Accept, Cookie, Accept-Encoding"}),
    "a digest goes": ("/digested", 200, "zstd", {"repr-digest": None}),
    "what gets no shorter": ("/random", 200, None, {"content-length": "300"}),
    "a big body": ("/big", 200, "zstd", {}),
    "a stream": ("/lines", 200, "zstd", {"content-length": None}),
    "a file": ("/file", 200, "zstd", {"accept-ranges": None, "content-length": None}),
    "a file of another type": ("/photo", 200, None, {"accept-ranges": "bytes", "vary": None}),
    "no route": ("/nowhere", 404, None, {"vary": "Accept-Encoding"}),
    "an error": ("/long-error", 400, "zstd", {"content-type": "application/problem+json"}),
    "an early answer": ("/guarded", 403, None, {"vary": None}),
}


@pytest.mark.parametrize(("path", "status", "coding", "fields"), HEADS.values(), ids=HEADS.keys())
def test_the_head_says_what_was_done(serve, coloured, folder, path, status, coding, fields):
    with serve(make_app(coloured, folder, min_size=300 if path == "/random" else None)) as client:
        answer = client.get(path, headers={"Accept-Encoding": EVERYTHING})
        as_it_is = client.get(path)
    assert answer.status == as_it_is.status == status
    assert answer.headers.get("content-encoding") == coding
    for name, value in fields.items():
        assert answer.headers.get(name) == value, name
    if coding in DECODE:
        assert plain(answer) == as_it_is.content
    assert as_it_is.headers.get("content-encoding") == ("x-own" if coding == "x-own" else None)
    assert as_it_is.headers.get("vary") == answer.headers.get("vary")
    length = answer.headers.get("content-length")
    assert length is None or int(length) == len(answer.content)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("path", ["/text", "/big", "/lines", "/file"])
def test_every_coding_can_be_read(serve, coloured, folder, coding, path):
    with serve(make_app(coloured, folder)) as client:
        answer = client.get(path, headers={"Accept-Encoding": coding})
        assert answer.headers["content-encoding"] == coding
        assert plain(answer) == client.get(path).content
        assert len(answer.content) < len(plain(answer))


@pytest.mark.parametrize("path", ["/text", "/big", "/lines", "/file"])
def test_head_says_what_get_would(serve, coloured, folder, path):
    with serve(make_app(coloured, folder)) as client:
        got = client.get(path, headers={"Accept-Encoding": "gzip"})
        head = client.head(path, headers={"Accept-Encoding": "gzip"})
    assert head.content == b""
    assert {name for name in got.headers if name != "transfer-encoding"} == {
        name for name in head.headers if name != "transfer-encoding"
    }
    assert head.headers.get("content-length") == got.headers.get("content-length")


def test_a_condition_is_answered_without_compressing(serve, coloured, folder):
    with serve(make_app(coloured, folder)) as client:
        for tag in ('"v1"', 'W/"v1"'):
            answer = client.get("/tagged", headers={"Accept-Encoding": "gzip", "If-None-Match": tag})
            assert (answer.status, answer.headers["etag"], answer.headers["vary"]) == (304, 'W/"v1"', "Accept-Encoding")
        other = client.get("/tagged", headers={"Accept-Encoding": "gzip", "If-None-Match": '"v2"'})
        assert (other.status, other.headers["content-encoding"]) == (200, "gzip")
        strong = client.get("/tagged", headers={"Accept-Encoding": "gzip", "If-Match": '"v1"'})
        assert (strong.status, strong.headers["etag"], strong.text) == (200, '"v1"', TEXT)
        assert client.get("/tagged", headers={"Accept-Encoding": "gzip", "If-Match": '"v2"'}).status == 412


def test_a_range_of_a_file_is_of_the_file_as_it_is(serve, coloured, folder):
    with serve(make_app(coloured, folder)) as client:
        whole = client.get("/file", headers={"Accept-Encoding": "gzip"})
        part = client.get("/file", headers={"Accept-Encoding": "gzip", "Range": "bytes=0-8"})
        assert (part.status, part.text) == (206, "the quick")
        assert "content-encoding" not in part.headers
        # What was compressed cannot be resumed: its tag is weak.
        resumed = client.get("/file", headers={"Range": "bytes=9-", "If-Range": whole.headers["etag"]})
        assert resumed.status == 200


def test_a_file_that_has_vanished_is_an_error_and_no_cut_stream(serve, coloured, folder):
    app = make_app(coloured, folder)
    gone = folder / "gone.txt"
    gone.write_text(TEXT)

    def vanish():
        response = Response.sendfile(gone)
        gone.rename(folder / "elsewhere.txt")
        return response

    app.get("/vanished")(coloured(vanish))
    with serve(app) as client:
        assert client.get("/vanished", headers={"Accept-Encoding": "gzip"}).status == 500


def test_an_after_hook_sees_the_body_as_it_was_made(serve, coloured, folder):
    app = make_app(coloured, folder)
    seen = []
    app.after_request(lambda request, response: seen.append(response.body()))
    app.before_request(lambda request: TEXT if request.path == "/early" else None)
    app.get("/early")(coloured(lambda: "never"))
    with serve(app) as client:
        answer = client.get("/early", headers={"Accept-Encoding": "br"})
    assert answer.headers["content-encoding"] == "br"
    assert seen == [TEXT.encode()]


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_each_event_can_be_read_before_the_next_is_made(serve, coloured, coding):
    app = App()
    app.enable_compression()
    goes_on = threading.Event()

    def events():
        yield "data: first\n\n"
        assert goes_on.wait(30)
        yield "data: second\n\n"

    app.get("/events")(lambda: Response.stream(events(), content_type="text/event-stream"))
    with serve(app) as client, client.stream("GET", "/events", headers={"Accept-Encoding": coding}) as answer:
        decoder = {"gzip": Gzip, "br": Brotli, "zstd": Zstd}[coding]().decoder()
        pieces = answer.iter_bytes()
        first = b""
        while b"first\n\n" not in first:
            first += b"".join(decoder.feed(next(pieces)))
        goes_on.set()
        rest = b"".join(b"".join(decoder.feed(piece)) for piece in pieces)
    assert first == b"data: first\n\n"
    assert rest == b"data: second\n\n"
    assert decoder.is_at_end()


def test_a_large_body_is_compressed_on_a_thread_and_small_ones_where_they_are(client, monkeypatch):
    names = []
    compress = Gzip.compress
    monkeypatch.setattr(
        Gzip, "compress", lambda self, data: names.append(threading.current_thread().name) or compress(self, data)
    )
    app = App()
    app.enable_compression()
    app.get("/def/{size:int}", blocking=False)(lambda size: "x" * int(size))

    @app.get("/async/{size:int}")
    async def answer(size):
        return "x" * int(size)

    for via in ("asgi", "native"):
        for colour in ("def", "async"):
            with client(app, via) as opened:
                for size in (OFF_LOOP_BYTES, OFF_LOOP_BYTES + 1):
                    got = opened.get(f"/{colour}/{size}", headers={"Accept-Encoding": "gzip"})
                    assert len(plain(got)) == size
            small, large = names
            assert small != large
            names.clear()


def test_a_route_with_large_bodies_stays_plain(client, caplog):
    app = App()
    app.enable_compression()
    app.get("/")(lambda: TEXT * 100)
    with client(app, "asgi") as opened:
        for _ in range(3):
            assert opened.get("/", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"
    assert "async" not in caplog.text
    assert not app.dispatcher.plan_for(app.request_class("GET", "/")).is_async


def test_a_large_piece_of_an_async_stream_is_compressed_on_a_thread(client):
    app = App()
    app.enable_compression()

    async def pieces():
        yield "small"
        yield TEXT * 100
        yield ""
        await asyncio.sleep(0)
        yield "end"

    app.get("/text")(lambda: Response.stream(pieces(), content_type="text/plain"))
    for via in ("asgi", "native", "wsgi"):
        with client(app, via) as opened:
            answer = opened.get("/text", headers={"Accept-Encoding": "br"})
        assert answer.headers["content-encoding"] == "br"
        assert plain(answer) == f"small{TEXT * 100}end".encode()


def test_a_stream_that_is_left_is_closed(client):
    app = App()
    app.enable_compression()
    closed = threading.Event()

    async def endless():
        try:
            while True:
                yield "tick\n"
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    app.get("/")(lambda: Response.stream(endless(), content_type="text/event-stream"))
    with client(app, "native") as opened:
        with opened.stream("GET", "/", headers={"Accept-Encoding": "gzip"}) as answer:
            next(answer.iter_bytes())
        assert closed.wait(10)


def test_excluded_paths_are_left_alone(serve):
    app = App()
    app.enable_compression(exclude_paths=["/raw"])
    app.get("/raw/text")(lambda: TEXT)
    app.get("/text")(lambda: TEXT)
    with serve(app) as client:
        raw = client.get("/raw/text", headers={"Accept-Encoding": "gzip"})
        text = client.get("/text", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in raw.headers
    assert "vary" not in raw.headers
    assert text.headers["content-encoding"] == "gzip"


def test_the_smallest_size_and_the_types_are_the_applications(serve):
    app = App()
    app.enable_compression(5, types=["application/x-own"], encodings=["gzip"], levels={"gzip": 9})
    app.get("/own")(lambda: Response(TEXT, content_type="application/x-own; v=1"))
    app.get("/four")(lambda: "aaaa")
    app.get("/many")(lambda: "a" * 50)
    with serve(app) as client:
        codings = [
            client.get(path, headers={"Accept-Encoding": EVERYTHING}).headers.get("content-encoding")
            for path in ("/own", "/four", "/many")
        ]
    assert codings == ["gzip", None, "gzip"]


REFUSED = {
    "an unknown encoding": ({"encodings": ["lzma"]}, "use zstd, br, gzip"),
    "no encoding": ({"encodings": []}, "names none"),
    "a level of an unknown encoding": ({"levels": {"deflate": 1}}, "no encoding 'deflate'"),
    "a level out of range": ({"levels": {"zstd": 22}}, "level of zstd is 1-19"),
    "a negative size": ({"min_size": -1}, "number of bytes"),
    "a size in words": ({"min_size": "1k"}, "number of bytes"),
    "no media type": ({"types": ["text"]}, "not a media type"),
    "a str of types": ({"types": "text/plain"}, "list of strings"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_compression(**options)


@pytest.mark.parametrize(
    ("encoding", "modules"), [("br", ["brotli"]), ("zstd", ["compression.zstd", "backports.zstd"])]
)
def test_an_encoding_that_is_not_installed_is_missed_only_where_it_is_asked_for(monkeypatch, encoding, modules):
    for module in modules:
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingDependency, match=r"needs .* pip install 'cello\["):
        App().enable_compression(encodings=[encoding])
    app = App()
    app.enable_compression()
    assert encoding not in [coding.name for coding in app.feature("compression")._codings]


def test_a_brotli_that_cannot_be_bounded_is_not_used(monkeypatch):
    class Old:
        class Decompressor:
            pass

    monkeypatch.setitem(__import__("sys").modules, "brotli", Old)
    with pytest.raises(MissingDependency, match=r"brotli 1\.2"):
        Brotli()


def test_gzip_works_alike_without_isal(monkeypatch):
    monkeypatch.setattr("cello.features.codings.find_spec", lambda name: None)
    coding = Gzip()
    assert coding._zlib is zlib
    assert zlib.decompress(coding.compress(b"abc"), 31) == b"abc"


@pytest.mark.parametrize(
    "coding", [Gzip(), Gzip(9), Brotli(), Zstd()], ids=lambda coding: f"{coding.name} {coding.level}"
)
@given(pieces=st.lists(st.binary(max_size=2_000), max_size=8), flush=st.booleans())
def test_what_is_encoded_is_decoded(coding, pieces, flush):
    encoder, decoder = coding.encoder(), coding.decoder()
    encoded = [encoder.add(piece, flush=flush) for piece in pieces] + [encoder.end()]
    assert b"".join(b"".join(decoder.feed(piece)) for piece in encoded if piece) == b"".join(pieces)
    assert decoder.is_at_end()
    whole = coding.decoder()
    assert b"".join(whole.feed(coding.compress(b"".join(pieces)))) == b"".join(pieces)
