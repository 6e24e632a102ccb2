# ruff: noqa: E501  # tables read best on one line
"""The WSGI gateway against PEP 3333: environ in, answer out, clean-ups in close()."""

import io
import os
import sys
import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from cello import App, BackgroundTasks, Depends, LimitsConfig, Request, Response
from cello.gateways.wsgi_environ import EnvironView, raw_path_of


class Answer:
    """What a call of a WSGI callable gave."""

    def __init__(self, app: Any, environ: dict[str, Any], *, is_checked: bool = True) -> None:
        self.iterable = (validator(app) if is_checked else app)(environ, self.start_response)

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        return lambda data: None

    def read(self) -> bytes:
        body = b"".join(self.iterable)
        self.close()
        return body

    def close(self) -> None:
        if hasattr(self.iterable, "close"):
            self.iterable.close()


def make_environ(path: str = "/", method: str = "GET", body: bytes = b"", **extra: Any) -> dict[str, Any]:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ.update({"PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1"})
    environ["wsgi.input"] = io.BytesIO(body)
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    environ.update({key.replace("__", "."): value for key, value in extra.items()})
    return environ


@pytest.fixture
def app() -> Iterator[App]:
    app = App()
    yield app
    app.wsgi.close()


PATHS = {
    "a plain path": ({"PATH_INFO": "/a/b"}, "/a/b"),
    "no path is the root": ({"PATH_INFO": ""}, "/"),
    "the asterisk": ({"PATH_INFO": "*"}, "*"),
    "a decoded path is encoded again": ({"PATH_INFO": "/a b"}, "/a%20b"),
    "utf-8 comes as latin-1": ({"PATH_INFO": "/\xc3\xbc"}, "/%C3%BC"),
    "a decoded percent sign is encoded": ({"PATH_INFO": "/100%"}, "/100%25"),
    "sub-delimiters stay": ({"PATH_INFO": "/a;b=1,2!'()*@:~"}, "/a;b=1,2!'()*@:~"),
    "gunicorn gives the target": ({"PATH_INFO": "/a/b", "RAW_URI": "/a%2Fb?x=1"}, "/a%2Fb"),
    "uwsgi gives the target": ({"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb"}, "/a%2Fb"),
    "a target that middleware has left behind": ({"PATH_INFO": "/new", "REQUEST_URI": "/old%2F"}, "/new"),
    "a target with a prefix": ({"PATH_INFO": "/a/b", "SCRIPT_NAME": "/app", "REQUEST_URI": "/app/a%2Fb"}, "/a%2Fb"),
    "a target with an encoded prefix": (
        {"PATH_INFO": "/a/b", "SCRIPT_NAME": "/my app", "REQUEST_URI": "/my%20app/a%2Fb"}, "/a%2Fb",
    ),
    "a target that is the prefix": ({"PATH_INFO": "", "SCRIPT_NAME": "/a p", "REQUEST_URI": "/a%20p"}, "/"),
    "a target in absolute form": ({"PATH_INFO": "/a b", "RAW_URI": "http://host/a%20b"}, "/a%20b"),
    "a target with raw bytes": ({"PATH_INFO": "/%\xc3\xbc", "RAW_URI": "/%25\xc3\xbc"}, "/%25%C3%BC"),
    "a percent sign in the query alone": ({"PATH_INFO": "/a", "RAW_URI": "/a?x=%20"}, "/a"),
}  # fmt: skip


@pytest.mark.parametrize(("environ", "expected"), PATHS.values(), ids=PATHS)
def test_the_encoded_path(environ: dict[str, Any], expected: str) -> None:
    assert raw_path_of(environ) == expected


def test_fields_are_looked_up_in_the_environ() -> None:
    fields = EnvironView(
        {
            "HTTP_X_TEST": "é", "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "", "HTTP_EMPTY": "",
            "HTTP_CONTENT_LENGTH": "9", "PATH_INFO": "/", "wsgi.version": (1, 0),
        }
    )  # fmt: skip
    assert fields.get(b"x-test") == b"\xe9"
    assert fields.get(b"content-type") == b"text/plain"
    assert fields.get(b"content-length") is None
    assert fields.get(b"empty") == b""
    assert fields.get(b"missing") is None
    assert fields.get_all(b"x-test") == [b"\xe9"]
    assert fields.get_all(b"missing") == []
    assert fields.raw() == [(b"x-test", b"\xe9"), (b"content-type", b"text/plain"), (b"empty", b"")]


def test_a_name_with_an_underscore_is_never_another_fields_name() -> None:
    assert EnvironView({"HTTP_X_USER": "root"}).get(b"x_user") is None


PEERS = {
    "tcp": ({"REMOTE_ADDR": "10.0.0.1", "REMOTE_PORT": "5"}, ("10.0.0.1", 5)),
    "no port": ({"REMOTE_ADDR": "10.0.0.1"}, ("10.0.0.1", 0)),
    "a unix socket": ({"REMOTE_ADDR": ""}, None),
}


@pytest.mark.parametrize(("environ", "client"), PEERS.values(), ids=PEERS)
def test_the_client(environ: dict[str, Any], client: Any) -> None:
    peer = EnvironView({"SERVER_NAME": "me", "SERVER_PORT": "8000", "wsgi.url_scheme": "https", **environ})
    assert (peer.client, peer.server, peer.scheme) == (client, ("me", 8000), "https")


def test_a_query_with_raw_bytes_is_encoded(app: App) -> None:
    app.get("/")(lambda request: request.query["q"])
    assert Answer(app.wsgi, make_environ(QUERY_STRING="q=\xc3\xbc%20")).read() == "ü ".encode()


def test_the_host_is_told_nothing_but_strings(app: App) -> None:
    app.get("/")(lambda: Response("x", headers={"X-Latin": "é"}))
    answer = Answer(app.wsgi, make_environ())
    assert answer.status == "200 OK"
    assert answer.headers["x-latin"] == "é"
    assert answer.read() == b"x"


def test_a_status_without_a_name_has_a_phrase_all_the_same(app: App) -> None:
    app.get("/")(lambda: Response("x", status=299))
    answer = Answer(app.wsgi, make_environ())
    assert answer.status == "299 Unknown Status"
    answer.close()


BODIES: dict[str, tuple[dict[str, Any], int]] = {
    "as long as announced": ({"body": b"abc"}, 200),
    "longer than announced": ({"body": b"abcd", "CONTENT_LENGTH": "3"}, 200),
    "shorter than announced": ({"body": b"ab", "CONTENT_LENGTH": "3"}, 400),
    "shorter than announced, on disk": ({"body": b"ab", "CONTENT_LENGTH": "2000000"}, 400),
    "a length that is no number": ({"body": b"abc", "CONTENT_LENGTH": "3x"}, 400),
    "a negative length": ({"body": b"abc", "CONTENT_LENGTH": "-3"}, 400),
    "a length in other digits": ({"body": b"abc", "CONTENT_LENGTH": "٣"}, 400),
    "over the limit": ({"body": b"x", "CONTENT_LENGTH": "4000001"}, 413),
    "ended by the host": ({"body": b"abc", "CONTENT_LENGTH": "", "wsgi__input_terminated": True}, 200),
    "ended by the host, over the limit": (
        {"body": b"x" * 4_000_001, "CONTENT_LENGTH": "", "wsgi__input_terminated": True}, 413,
    ),
    "chunks that the host leaves to us": ({"body": b"3\r\nabc", "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 411),
}  # fmt: skip


@pytest.mark.parametrize(("extra", "status"), BODIES.values(), ids=BODIES)
def test_a_body(app: App, extra: dict[str, Any], status: int) -> None:
    app.set_limits(LimitsConfig(max_body_size=4_000_000))
    app.post("/")(lambda request: request.body()[:3])
    answer = Answer(app.wsgi, make_environ("/", "POST", **extra), is_checked=False)
    assert answer.status.startswith(str(status))
    body = answer.read()
    assert status != 200 or body == b"abc"


def test_a_body_in_small_reads_is_put_together(app: App) -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 2, 2))

    app.post("/")(lambda request: request.body())
    environ = make_environ("/", "POST", b"abcdefg")
    environ["wsgi.input"] = Trickle(b"abcdefg")
    assert Answer(app.wsgi, environ).read() == b"abcdefg"


def test_a_body_nobody_announced_is_not_waited_for(app: App) -> None:
    class Hanging(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError("reading would block for ever")

    app.get("/")(lambda request: {"size": len(request.body())})
    environ = make_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ["wsgi.input"] = Hanging()
    assert Answer(app.wsgi, environ).read() == b'{"size":0}'


def test_a_streamed_route_reads_the_input_as_it_goes(app: App) -> None:
    source = io.BytesIO(b"x" * 200_000)
    seen: list[int] = []

    @app.post("/", stream=True)
    def handler(request: Request) -> object:
        seen.append(source.tell())
        next(iter(request.stream()))
        seen.append(source.tell())
        return "enough"

    environ = make_environ("/", "POST", CONTENT_LENGTH="200000")
    environ["wsgi.input"] = source
    assert Answer(app.wsgi, environ).read() == b"enough"
    assert seen == [0, 65_536]


def test_a_streamed_body_that_breaks_off_is_400(app: App) -> None:
    app.post("/", stream=True)(lambda request: {"size": len(b"".join(request.stream()))})
    answer = Answer(app.wsgi, make_environ("/", "POST", b"abc", CONTENT_LENGTH="4"))
    assert answer.status.startswith("4")
    answer.read()


def test_a_whole_file_goes_to_the_hosts_file_wrapper(app: App, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")
    app.get("/")(lambda: Response.sendfile(path))
    wrapped: list[Any] = []

    def file_wrapper(file: Any, size: int) -> Any:
        wrapped.append((os.read(file.fileno(), 3), file.seek(0), file.tell(), size))
        return FileWrapper(file, size)

    answer = Answer(app.wsgi, make_environ(wsgi__file_wrapper=file_wrapper))
    assert answer.read() == b"content"
    assert wrapped == [(b"con", 0, 0, 65_536)]


def test_a_range_does_not(app: App, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")
    app.get("/")(lambda: Response.sendfile(path))

    def file_wrapper(file: Any, size: int) -> Any:
        raise AssertionError("hosts send wrapped files to their end")

    answer = Answer(app.wsgi, make_environ(HTTP_RANGE="bytes=0-2", wsgi__file_wrapper=file_wrapper))
    assert answer.status.startswith("206")
    assert answer.read() == b"con"


CLOSING: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda path: Response.text("x"),
    "nothing": lambda path: Response.no_content(),
    "a file": lambda path: Response.sendfile(path),
    "a stream": lambda path: Response.stream(iter(["x"])),
}


@pytest.mark.parametrize("make", CLOSING.values(), ids=CLOSING)
@pytest.mark.parametrize("wrapper", [None, FileWrapper], ids=["", "with a file wrapper"])
def test_clean_ups_and_background_tasks_wait_for_close(
    app: App, tmp_path: Path, make: Callable[[Path], Response], wrapper: Any
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x")
    log: list[str] = []

    async def resource() -> AsyncIterator[str]:
        yield "open"
        log.append("closed")

    @app.get("/")
    def handler(value: str = Depends(resource)) -> Response:
        response = make(path)
        response.background = BackgroundTasks()
        response.background.add_task(log.append, "task")
        return response

    extra = {} if wrapper is None else {"wsgi__file_wrapper": wrapper}
    answer = Answer(app.wsgi, make_environ(**extra))
    assert log == []
    assert answer.read() in (b"x", b"")
    assert log == ["closed", "task"]


def test_a_stream_left_early_is_closed(app: App) -> None:
    log: list[str] = []

    def plain() -> Iterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            log.append("plain closed")

    async def fancy() -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            log.append("async closed")

    app.get("/plain")(plain)
    app.get("/async")(fancy)
    for path in ("/plain", "/async"):
        answer = Answer(app.wsgi, make_environ(path))
        assert next(iter(answer.iterable)) == b"a"
        answer.iterable.close()
    assert log == ["plain closed", "async closed"]


def test_an_error_in_a_stream_reaches_the_host(app: App) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise OSError("disk gone")

    app.get("/")(broken)
    answer = Answer(app.wsgi, make_environ())
    with pytest.raises(OSError, match="disk gone"):
        list(answer.iterable)
    answer.iterable.close()


def test_a_plain_function_that_hands_out_a_coroutine_is_finished_on_the_portal(app: App) -> None:
    async def inner() -> str:
        return "finished"

    app.get("/")(lambda: inner())
    assert Answer(app.wsgi, make_environ()).read() == b"finished"


def test_the_application_starts_with_the_first_call_and_only_once(app: App) -> None:
    log: list[str] = []
    app.on_event("startup")(lambda: log.append("start"))
    app.on_event("shutdown")(lambda: log.append("stop"))
    app.get("/")(lambda: "x")
    threads = [threading.Thread(target=lambda: Answer(app.wsgi, make_environ()).read()) for _ in range(8)]
    assert log == []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log == ["start"]
    app.wsgi.close()
    assert log == ["start", "stop"]


def test_a_failing_start_is_raised_to_the_host_and_tried_again(app: App) -> None:
    attempts: list[int] = []

    @app.on_event("startup")
    def start() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("no database yet")

    app.get("/")(lambda: "x")
    with pytest.raises(ConnectionError, match="no database yet"):
        app.wsgi(make_environ(), lambda status, headers: None)
    assert Answer(app.wsgi, make_environ()).read() == b"x"


def test_many_threads_share_one_portal(app: App) -> None:
    import asyncio

    loops: set[int] = set()

    @app.get("/{number}")
    async def handler(number: int) -> object:
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return number

    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = Answer(app.wsgi, make_environ(f"/{number}")).read()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: str(number).encode() for number in range(16)}
    assert len(loops) == 1


class BrokenInput:
    """A host's input whose client has gone."""

    def read(self, size: int) -> bytes:
        raise OSError("connection reset")


@pytest.mark.parametrize("extra", [{"CONTENT_LENGTH": "3"}, {"CONTENT_LENGTH": "3000000"}], ids=["small", "big"])
@pytest.mark.parametrize("stream", [False, True], ids=["at hand", "unread"])
def test_an_input_that_cannot_be_read_is_400(app: App, extra: dict[str, str], stream: bool) -> None:
    app.post("/", stream=stream)(lambda request: b"".join(request.stream()))
    environ = {**make_environ("/", "POST"), **extra, "wsgi.input": BrokenInput()}
    answer = Answer(app.wsgi, environ, is_checked=False)
    assert answer.status.startswith("400")
    answer.close()


def test_uwsgi_decodes_chunks_by_a_function_of_its_own(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = iter([b"abc", b"def"])
    uwsgi = types.ModuleType("uwsgi")
    monkeypatch.setattr(uwsgi, "chunked_read", lambda: next(chunks, b""), raising=False)
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    app.post("/")(lambda request: request.body())
    extra = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "uwsgi__version": b"2.0"}
    assert Answer(app.wsgi, make_environ("/", "POST", **extra)).read() == b"abcdef"
