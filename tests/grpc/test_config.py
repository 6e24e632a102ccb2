"""Every field of GrpcConfig, and what obeys it."""

import asyncio
import contextlib
import dataclasses
import errno
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from cello import App, CelloError, ConfigError, GrpcConfig, TlsConfig
from cello.grpc import GrpcChannel, GrpcError
from cello.testing import TestClient
from tests.serve.conftest import make_certificate as make_certificate
from tests.serve.program import PATIENCE_S

OBEYED: set[str] = set()


def obeys(*fields: str) -> Any:
    """Note what a test shows."""
    OBEYED.update(fields)
    return lambda test: test


def make_app(**config: Any) -> App:
    app = App()
    app.enable_grpc(GrpcConfig(**{"address": "127.0.0.1:0", **config}))
    echo = app.add_grpc_service("Echo")
    started, gate = threading.Event(), threading.Event()
    app.state.started, app.state.gate = started, gate

    @echo.method()
    async def Say(request):
        return request.data

    @echo.method()
    async def Wait(request):
        started.set()
        while not gate.is_set():
            await asyncio.sleep(0.01)
        return {"waited": True}

    return app


@contextlib.contextmanager
def serving(**config: Any) -> Iterator[tuple[App, str]]:
    """Serve the application; yield it, and the address of its gRPC server."""
    app = make_app(**config)
    with TestClient(app, "native"):
        yield app, f"127.0.0.1:{app.grpc.port}"


def call(target: str, method: str = "Say", content: bytes = b"", **options: Any) -> Any:
    """Call a method by grpc's own client; return the code of what came of it."""
    with grpc.insecure_channel(target) as channel:
        return outcome(channel.unary_unary(f"/Echo/{method}").future(content, **options))


def outcome(future: Any) -> str:
    try:
        future.result(PATIENCE_S)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


@obeys("address")
def test_the_address_is_where_it_listens() -> None:
    with serving(address="127.0.0.1:0") as (_, target):
        assert call(target) == "OK"
        port = target.partition(":")[2]
        taken = make_app(address=f"127.0.0.1:{port}")
        with pytest.raises(Exception, match=f"gRPC cannot listen on 127.0.0.1:{port}: the port is in use"):
            TestClient(taken, "native").open()
    with serving(address="[::1]:0") as (app, _):
        assert call(f"[::1]:{app.grpc.port}") == "OK"
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", app.grpc.port), PATIENCE_S)


def test_every_interface_is_that_of_ipv4_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    from cello.grpc import listening

    class WithoutIpv6(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **named: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, *args, **named)

    monkeypatch.setattr(listening.socket, "socket", WithoutIpv6)
    assert listening.free_port("[::]:0") > 0
    with pytest.raises(CelloError, match=r"gRPC cannot listen on \[::1\]:0: Address family not supported"):
        listening.free_port("[::1]:0")
    with pytest.raises(CelloError, match=r"gRPC cannot listen on nowhere\.invalid:1: "):
        listening.free_port("nowhere.invalid:1")


def test_the_default_address_is_every_interface() -> None:
    with serving(address="[::]:0") as (app, target):
        assert call(target) == call(f"[::1]:{app.grpc.port}") == "OK"


@obeys("reflection")
@pytest.mark.parametrize("reflection", [True, False])
def test_reflection_is_there_or_not(reflection: bool) -> None:
    async def ask(target: str) -> Any:
        async with await GrpcChannel.connect(target) as channel:
            return await channel.services()

    with serving(reflection=reflection) as (_, target):
        if reflection:
            assert "Echo" in asyncio.run(ask(target))
        else:
            with pytest.raises(GrpcError, match=f"{target} has no reflection"):
                asyncio.run(ask(target))


@obeys("max_message_size")
def test_a_message_may_have_so_many_bytes_and_no_more() -> None:
    def struct_of(size: int) -> bytes:
        text = b"\x1a" + bytes([size & 0x7F | 0x80, size >> 7]) + b"x" * size
        entry = b"\x0a\x01k\x12" + bytes([len(text) & 0x7F | 0x80, len(text) >> 7]) + text
        return b"\x0a" + bytes([len(entry) & 0x7F | 0x80, len(entry) >> 7]) + entry

    with serving(max_message_size=1000) as (_, target):
        assert call(target, content=struct_of(900)) == "OK"
        assert call(target, content=struct_of(1000)) == "RESOURCE_EXHAUSTED"


@obeys("enable_web")
@pytest.mark.parametrize(("enable_web", "status"), [(True, 200), (False, 404)])
def test_grpc_web_is_there_or_not(enable_web: bool, status: int) -> None:
    with TestClient(make_app(enable_web=enable_web), "native", raise_server_exceptions=False) as client:
        headers = {"Content-Type": "application/grpc-web+proto"}
        assert client.post("/Echo/Say", content=b"\0\0\0\0\0", headers=headers).status_code == status


@obeys("concurrency_limit")
def test_so_many_calls_may_be_under_way() -> None:
    with serving(concurrency_limit=1) as (app, target), grpc.insecure_channel(target) as channel:
        waiting = channel.unary_unary("/Echo/Wait").future(b"")
        assert app.state.started.wait(PATIENCE_S)
        assert call(target) == "RESOURCE_EXHAUSTED"
        app.state.gate.set()
        assert outcome(waiting) == "OK"
        assert call(target) == "OK"


def frames(connection: socket.socket) -> Iterator[tuple[int, int]]:
    """Yield type and flags of each HTTP/2 frame until the other end closes."""
    pending = b""
    with contextlib.suppress(ConnectionResetError):
        while received := connection.recv(65_536):
            pending += received
            while len(pending) >= 9:
                size = int.from_bytes(pending[:3])
                if len(pending) < 9 + size:
                    break
                yield pending[3], pending[4]
                pending = pending[9 + size :]


@obeys("keepalive_secs", "keepalive_timeout_secs")
def test_a_silent_client_is_pinged_and_dropped() -> None:
    with (
        serving(keepalive_secs=1, keepalive_timeout_secs=1) as (app, _),
        socket.create_connection(("127.0.0.1", app.grpc.port), PATIENCE_S) as connection,
    ):
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        connection.sendall(b"\0\0\0\x04\x01\0\0\0\0")  # its settings are acknowledged; its pings are not
        seen = list(frames(connection))  # ends because it is dropped
    assert (6, 0) in seen


@obeys("shutdown_timeout_secs")
@pytest.mark.parametrize(("seconds", "code"), [(0, "CANCELLED UNAVAILABLE"), (30, "OK")])
def test_calls_under_way_have_so_long_when_the_worker_stops(seconds: float, code: str) -> None:
    app = make_app(shutdown_timeout_secs=seconds)
    client = TestClient(app, "native")
    client.open()
    with grpc.insecure_channel(f"127.0.0.1:{app.grpc.port}") as channel:
        waiting = channel.unary_unary("/Echo/Wait").future(b"")
        assert app.state.started.wait(PATIENCE_S)
        if seconds:
            threading.Timer(0.5, app.state.gate.set).start()
        client.close()
        assert outcome(waiting) in code.split()


@obeys("tls")
def test_certificates_are_used_and_demanded(tmp_path: Any, make_certificate: Any) -> None:
    own, key = map(str, make_certificate(tmp_path, "server"))
    mine, my_key = map(str, make_certificate(tmp_path, "client"))

    async def ask(app: App, **options: Any) -> Any:
        options = {"ca_path": own, "timeout": 2, **options}
        async with await GrpcChannel.connect(f"localhost:{app.grpc.port}", **options) as channel:
            return await channel.call("Echo", "Say", {"a": 1})

    with serving(tls=TlsConfig(own, key)) as (app, _):
        assert asyncio.run(ask(app, timeout=PATIENCE_S)) == {"a": 1}
        with pytest.raises(GrpcError, match="does not answer"):
            asyncio.run(ask(app, ca_path=mine))
    with serving(tls=TlsConfig(own, key, ca_path=mine, require_client_cert=True)) as (app, _):
        assert asyncio.run(ask(app, cert_path=mine, key_path=my_key, timeout=PATIENCE_S)) == {"a": 1}
        with pytest.raises(GrpcError):
            asyncio.run(ask(app))
    with pytest.raises(Exception, match=r"private key .*client.key' does not belong to the certificate"):
        TestClient(make_app(tls=TlsConfig(own, my_key)), "native").open()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an address without a port": ({"address": "localhost"}, "a gRPC address is 'host:port'"),
    "an address with a large port": ({"address": "localhost:70000"}, "a gRPC address is 'host:port'"),
    "a unix socket": ({"address": "unix:/tmp/a"}, "a gRPC address is 'host:port'"),
    "no limit": ({"concurrency_limit": 0}, "GrpcConfig.concurrency_limit must be at least 1"),
    "a size of none": ({"max_message_size": 0}, "GrpcConfig.max_message_size must be at least 1"),
    "a field that there is not": ({"adress": "a:1"}, "did you mean 'address'"),
    "certificates of another kind": ({"tls": "cert.pem"}, "GrpcConfig.tls is a TlsConfig"),
    "a version of TLS": ({"tls": TlsConfig("a", "b", min_version="1.3")}, "min_version and max_version cannot narrow"),
    "names": ({"tls": TlsConfig("a", "b", server_names={"a": ("b", "c")})}, "server_names has no place"),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GrpcConfig(**given)


def test_presets() -> None:
    assert GrpcConfig.local() == GrpcConfig(address="127.0.0.1:50051")
    made = GrpcConfig.production("[::]:443", 1000)
    assert (made.address, made.max_message_size, made.reflection) == ("[::]:443", 1000, False)
    made = GrpcConfig()
    assert (made.address, made.reflection, made.max_message_size) == ("[::]:50051", True, 4_194_304)
    assert (made.enable_web, made.keepalive_secs, made.concurrency_limit) == (False, 60, 100)


def test_every_field_is_obeyed() -> None:
    assert {field.name for field in dataclasses.fields(GrpcConfig)} == OBEYED  # type: ignore[arg-type]  # it is one
