"""The PROXY protocol through a whole server: both versions, under TLS, by both loops, and what is not announced."""

import contextlib
import json
import signal
import socket
import ssl

import pytest

from tests.serve.program import PATIENCE_S, Program, free_port
from tests.wire.test_proxy_header import V4, v2

APP = """
from cello import App, Response, TimeoutConfig
app = App()
app.set_timeouts(TimeoutConfig(read_header=1))

@app.get("/")
def index(request): return {"client": request.client_ip, "scheme": request.scheme}

@app.get("/stream")
def stream(request):
    yield request.client_ip
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@contextlib.contextmanager
def serving(folder, *words):
    port = free_port()
    command = ["-m", "cello", "run", "--port", str(port), "--proxy-protocol", "--no-logs", *words]
    with Program(*command, folder=folder) as program:
        program.listening()
        yield program, port


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def answer(client):
    """Return the body of the next answer, and all that came."""
    reader = client.makefile("rb")
    assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
    size = 0
    while (line := reader.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    return json.loads(reader.read(size))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_announced_client_is_the_client(folder, loop, workers):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with serving(folder, "--loop", loop, "--workers", workers) as (program, port):
        for header, found in (
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1"),
            (v2(body=V4), "192.0.2.1"),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", "2001:db8::1"),
            (v2(command=0x20, family=0), "127.0.0.1"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        ):
            with connect(port) as client:
                client.sendall(header + GET)
                assert answer(client) == {"client": found, "scheme": "http"}
                client.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert found.encode() in client.makefile("rb").read()
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_a_header_that_comes_byte_by_byte_is_read(folder):
    with serving(folder) as (_, port), connect(port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n" + GET:
            client.send(bytes([byte]))
        assert answer(client)["client"] == "192.0.2.1"


@pytest.mark.parametrize(
    "data",
    [GET, b"PROXY TCP4 nonsense\r\n" + GET, b"", b"PROXY TCP4 1"],
    ids=["no header", "nonsense", "silence", "half"],
)
def test_who_is_not_announced_is_dropped_and_others_are_served(folder, data):
    with serving(folder) as (_, port), connect(port) as client:
        client.sendall(data)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
        with connect(port) as other:
            other.sendall(b"PROXY UNKNOWN\r\n" + GET)
            assert answer(other)["client"] == "127.0.0.1"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_begins_behind_the_header(folder, loop, make_certificate):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    make_certificate(folder, "own")
    context = ssl.create_default_context(cafile=str(folder / "own.crt"))
    with (
        serving(folder, "--certfile", "own.crt", "--keyfile", "own.key", "--loop", loop) as (_, port),
        connect(port) as plain,
    ):
        plain.sendall(v2(body=V4))
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(GET)
            assert answer(client) == {"client": "192.0.2.1", "scheme": "https"}
