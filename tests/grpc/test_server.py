"""GrpcServer and GrpcChannel by themselves, as the package's own examples use them."""

import asyncio
import dataclasses
import pickle
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from enum import Enum

import pytest

from cello import ConfigError
from cello.grpc import (
    GrpcChannel,
    GrpcConfig,
    GrpcError,
    GrpcRequest,
    GrpcResponse,
    GrpcServer,
    GrpcService,
    StatusCode,
    grpc_method,
)


class UserService(GrpcService):
    """As Cello's own documentation writes it."""

    @grpc_method
    def get_user(self, request):
        return {"id": request.data["id"], "name": "Alice"}

    @grpc_method(stream=True)
    def list_users(self, request):
        yield {"id": 1, "name": "Alice"}
        yield {"id": 2, "name": "Bob"}


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass
class Thing:
    name: str
    at: datetime
    colour: Colour
    parts: list["Thing"] = dataclasses.field(default_factory=list)
    weights: dict[int, float] = dataclasses.field(default_factory=dict)
    note: str | None = None


class Things(GrpcService, name="a.b.Things"):
    @grpc_method
    async def Mirror(self, thing: Thing) -> Thing:
        return thing

    @grpc_method
    async def Join(self, names: AsyncIterator[dict]) -> dict:
        return {"names": [each["name"] async for each in names]}

    @grpc_method
    def Split(self, text: str) -> Iterator[str]:
        yield from text.split()

    @grpc_method
    async def Fail(self, text: str) -> str:
        raise GrpcError(GrpcError.OUT_OF_RANGE, text, [{"limit": 7}, "try less"], metadata={"x-hint": "less"})

    @grpc_method
    async def Break(self) -> str:
        raise RuntimeError("hunter2")

    @grpc_method
    async def Ask(self, target: str) -> str:
        async with await GrpcChannel.connect(target) as channel:
            await channel.call("a.b.Things", "Fail", {"text": "hunter2"})
        return "never"


@pytest.fixture
async def server():
    server = GrpcServer(GrpcConfig(address="127.0.0.1:0"))
    server.register_service(UserService())
    server.register_service(Things())
    await server.start()
    yield server
    await server.stop(0)


@pytest.fixture
async def channel(server):
    async with await GrpcChannel.connect(f"127.0.0.1:{server.port}") as channel:
        yield channel


async def test_the_first_example_works(server, channel):
    assert server.get_services() == ["UserService", "a.b.Things"]
    assert await channel.call("UserService", "get_user", {"id": 1}) == {"id": 1, "name": "Alice"}
    assert [each async for each in channel.stream("UserService", "list_users")] == [
        {"id": 1, "name": "Alice"},
        {"id": 2, "name": "Bob"},
    ]
    assert {"UserService", "a.b.Things", "grpc.health.v1.Health"} <= set(await channel.services())


async def test_messages_are_dicts_of_their_fields(channel):
    thing = {"name": "é", "at": "2026-01-02T03:04:05Z", "colour": "COLOUR_RED"}
    sent = {**thing, "parts": [thing], "weights": {7: 0.5}}
    whole = {**thing, "parts": [], "weights": {}}
    assert await channel.call("a.b.Things", "Mirror", sent) == {**sent, "parts": [whole]}


async def test_streams_are_sent_from_lists_and_generators(channel):
    async def names():
        for name in "ab":
            yield {"name": name}

    assert await channel.call("a.b.Things", "Join", [{"name": "x"}]) == {"names": ["x"]}
    assert await channel.call("a.b.Things", "Join", names()) == {"names": ["a", "b"]}
    assert await channel.call("a.b.Things", "Join") == {"names": []}
    said = [each async for each in channel.stream("a.b.Things", "Split", {"text": "a b"})]
    assert said == [{"value": "a"}, {"value": "b"}]


async def test_errors_have_all_that_was_said(channel):
    with pytest.raises(GrpcError) as caught:
        await channel.call("a.b.Things", "Fail", {"text": "too far"})
    error = caught.value
    assert (error.code, error.message, error.is_remote) == (GrpcError.OUT_OF_RANGE, "too far", True)
    assert error.details == [{"limit": 7}, "try less"]
    assert error.metadata["x-hint"] == "less"


async def test_what_is_internal_stays_inside_also_an_error_of_another_server(server, channel, caplog):
    with pytest.raises(GrpcError, match="INTERNAL: Internal Server Error") as caught:
        await channel.call("a.b.Things", "Break")
    assert "hunter2" not in repr(caught.value)
    with pytest.raises(GrpcError, match="INTERNAL: Internal Server Error") as caught:
        await channel.call("a.b.Things", "Ask", {"target": f"127.0.0.1:{server.port}"})
    assert "hunter2" not in repr(caught.value)
    assert caplog.text.count("hunter2") >= 2


async def test_a_client_is_told_what_it_did_wrong(channel):
    with pytest.raises(GrpcError, match="the server has no method UserService/nope"):
        await channel.call("UserService", "nope")
    with pytest.raises(GrpcError, match="NOT_FOUND"):
        await channel.call("Nope", "nope")
    with pytest.raises(ValueError, match="answers a stream"):
        await channel.call("UserService", "list_users")
    with pytest.raises(ValueError, match="gives one answer"):
        [each async for each in channel.stream("UserService", "get_user")]
    with pytest.raises(ValueError, match=r"does not fit /a\.b\.Things/Mirror"):
        await channel.call("a.b.Things", "Mirror", {"nope": 1})
    with pytest.raises(GrpcError, match="not connected"):
        await GrpcChannel("127.0.0.1:1").call("A", "b")


async def test_a_server_that_is_not_there(server):
    await server.stop(0)
    with pytest.raises(GrpcError, match=f"UNAVAILABLE: 127.0.0.1:{server.port} does not answer"):
        await GrpcChannel.connect(f"127.0.0.1:{server.port}", timeout=0.2)


async def test_descriptors_may_be_given(server):
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from cello.grpc.catalog import Catalog
    from cello.grpc.declared import Service

    catalog = Catalog([Service.of(Things())])
    files = FileDescriptorSet(file=[catalog.packages["a.b"].file])
    silent = GrpcServer(GrpcConfig(address="127.0.0.1:0", reflection=False))
    silent.register_service(Things())
    port = await silent.start()
    async with await GrpcChannel.connect(f"127.0.0.1:{port}", descriptors=files.SerializeToString()) as channel:
        assert await channel.call("a.b.Things", "Join", [{"name": "x"}]) == {"names": ["x"]}
    await silent.stop(0)


async def test_a_server_is_started_once_and_stopped_any_time():
    server = GrpcServer()
    server.register_service(UserService())
    await server.stop()
    await server.start("127.0.0.1:0")
    with pytest.raises(RuntimeError, match="running already"):
        await server.start()
    await server.stop()
    await server.start("127.0.0.1:0")
    await server.stop()


def test_what_cannot_be_registered():
    server = GrpcServer()
    with pytest.raises(TypeError, match="takes a GrpcService, not str"):
        server.register_service("UserService")
    server.register_service(UserService())
    with pytest.raises(ConfigError, match="'UserService' is registered already"):
        server.register_service(UserService())
    with pytest.raises(ConfigError, match="takes a GrpcConfig"):
        GrpcServer({"address": "a:1"})


def test_names_and_methods_are_readable():
    service = UserService()
    assert service.get_name() == "UserService"
    assert service.get_methods() == [{"name": "get_user", "stream": False}, {"name": "list_users", "stream": True}]
    assert UserService("shop.Users").get_name() == "shop.Users"
    assert UserService.get_user(service, GrpcRequest("UserService", "get_user", {"id": 1}))["id"] == 1


def test_requests_and_responses_for_unit_tests():
    request = GrpcRequest("UserService", "get_user", {"id": 42}, {"authorization": "Bearer x"})
    assert (request.service, request.method, request["id"], request.get("no")) == ("UserService", "get_user", 42, None)
    assert (dict(request), request.metadata["authorization"]) == ({"id": 42}, "Bearer x")
    assert (request.time_remaining(), request.cancelled(), request.peer, request.app) == (None, False, "", None)
    assert (GrpcResponse.ok({"a": 1}).data, GrpcResponse.ok().status_code) == ({"a": 1}, 0)
    response = GrpcResponse.error(GrpcError.NOT_FOUND, "no")
    assert (response.status_code, response.message, response.data) == (5, "no", {})


def test_codes_and_errors():
    assert [code.value for code in StatusCode] == list(range(17))
    assert all(getattr(GrpcError, code.name) is code for code in StatusCode)
    error = GrpcError(code=GrpcError.NOT_FOUND, message="User not found", details="No user with id=42")
    assert (error.code, error.message, error.details) == (5, "User not found", "No user with id=42")
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)
    for code, words in ((0, "OK is no error"), (17, "0-16")):
        with pytest.raises(ValueError, match=words):
            GrpcError(code)


async def test_a_stream_that_is_left_is_cancelled():
    ended = asyncio.Event()

    class Endless(GrpcService):
        @grpc_method
        async def Go(self) -> AsyncIterator[int]:
            try:
                while True:
                    yield 1
                    await asyncio.sleep(0.01)
            finally:
                ended.set()

    server = GrpcServer()
    server.register_service(Endless())
    port = await server.start("127.0.0.1:0")
    async with await GrpcChannel.connect(f"127.0.0.1:{port}") as channel:
        stream = channel.stream("Endless", "Go")
        assert await anext(stream) == {"value": 1}
        await stream.aclose()
        await asyncio.wait_for(ended.wait(), 30)
    await server.stop(0)
