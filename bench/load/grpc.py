"""Unary calls: processor time of the server for each, bare grpc.aio and cello, in turn.

A message with a number comes, one with a number and a name goes. `bare` is what grpc's own documentation writes;
`messages` answers the same generated messages through cello's pipeline, `dataclasses` the same as Python classes,
`struct` the same as an untyped dict. The ratio is that of calls per second of the server's processor time: above 1 is
less time than bare.

    python -m bench.load.grpc [--rounds 5] [--seconds 1] [--concurrency 32]
"""

import argparse
import asyncio
import contextlib
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf import message_factory, struct_pb2

from bench.load import machine, processes

CONTENDERS = ("bare", "messages", "dataclasses", "struct")


def messages() -> tuple[Any, Any]:
    """Return the classes of both messages, as protobuf's compiler would make them."""
    from google.protobuf import descriptor_pool
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as F
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    for name, fields in (("UserId", {"id": F.TYPE_INT64}), ("User", {"id": F.TYPE_INT64, "name": F.TYPE_STRING})):
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            message.field.add(name=field, number=number, type=kind, label=F.LABEL_OPTIONAL)
    pool = descriptor_pool.Default()
    with contextlib.suppress(TypeError):  # it is there already
        pool.AddSerializedFile(file.SerializeToString())
    find = pool.FindMessageTypeByName
    return tuple(message_factory.GetMessageClass(find(f"bench.{name}")) for name in ("UserId", "User"))  # type: ignore[return-value]


def serve_bare(port: int) -> None:
    """Serve by grpc.aio alone."""
    import uvloop

    user_id, user = messages()

    async def get(request: Any, context: Any) -> Any:
        return user(id=request.id, name="Ada")

    async def serve() -> None:
        server = grpc.aio.server(maximum_concurrent_rpcs=1000)
        handler = grpc.unary_unary_rpc_method_handler(get, user_id.FromString, user.SerializeToString)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Users", {"Get": handler}),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    uvloop.run(serve())


def serve_cello(port: int, kind: str) -> None:
    """Serve by cello."""
    from dataclasses import dataclass

    from cello import App, GrpcConfig

    user_id, user = messages()
    app = App()
    app.enable_grpc(GrpcConfig(address=f"127.0.0.1:{port}", concurrency_limit=1000))
    users = app.add_grpc_service("bench.Users")

    @dataclass
    class UserId:
        id: int

    @dataclass
    class User:
        id: int
        name: str

    async def of_messages(request: Any) -> Any:
        return user(id=request.id, name="Ada")

    async def of_dataclasses(request: Any) -> Any:
        return User(request.id, "Ada")

    async def of_dicts(request: Any) -> Any:
        return {"id": request["id"], "name": "Ada"}

    of_messages.__annotations__ = {"request": user_id, "return": user}
    of_dataclasses.__annotations__ = {"request": UserId, "return": User}
    of_dicts.__annotations__ = {}
    chosen = {"messages": of_messages, "dataclasses": of_dataclasses, "struct": of_dicts}[kind]
    users.method("Get")(chosen)
    app.run(port=free_port(), env="production", workers=1)


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def server(kind: str, core: int) -> Iterator[tuple[int, int]]:
    """Start a contender on a processor of its own; yield its process and port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load.grpc", "--serve", kind, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(20)


async def measure(kind: str, pid: int, port: int, seconds: float, concurrency: int) -> float:
    """Return the microseconds of processor time for one call."""
    user_id, user = messages()
    if kind == "struct":
        request = struct_pb2.Struct()
        request.update({"id": 7})
        parse = struct_pb2.Struct.FromString
    else:
        request, parse = user_id(id=7), user.FromString
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/bench.Users/Get", type(request).SerializeToString, parse)
        answer = await call(request, wait_for_ready=True)
        assert (answer["name"] if kind == "struct" else answer.name) == "Ada"
        counts = [0] * concurrency

        async def work(place: int, until: float) -> None:
            while time.perf_counter() < until:
                await call(request)
                counts[place] += 1

        async def run(seconds: float) -> None:
            until = time.perf_counter() + seconds
            await asyncio.gather(*(work(place, until) for place in range(concurrency)))

        await run(seconds / 4)
        counts[:] = [0] * concurrency
        before = processes.cpu_ns(pid)
        await run(seconds)
        return (processes.cpu_ns(pid) - before) / 1000 / sum(counts)


def main() -> None:
    """Measure all contenders in turn and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.grpc", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--serve", nargs=2, metavar=("KIND", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        kind, port = options.serve
        return serve_bare(int(port)) if kind == "bare" else serve_cello(int(port), kind)
    server_core, client_core = machine.choose_cores()
    os.sched_setaffinity(0, {client_core})
    found: dict[str, list[float]] = {kind: [] for kind in CONTENDERS}
    with contextlib.ExitStack() as stack:
        started = {kind: stack.enter_context(server(kind, server_core)) for kind in CONTENDERS}
        for _ in range(options.rounds):
            for kind, (pid, port) in started.items():
                found[kind].append(asyncio.run(measure(kind, pid, port, options.seconds, options.concurrency)))
    print(f"{platform.python_implementation()} {platform.python_version()}, grpcio {version('grpcio')}, ", end="")
    print(f"protobuf {version('protobuf')}, {options.concurrency} calls at once, one worker, uvloop")
    print(f"{'':14}{'µs/call':>9}{'ratio':>8}   spread of the ratio")
    for kind, values in found.items():
        ratios = sorted(bare / own for bare, own in zip(found["bare"], values, strict=True))
        median = statistics.median(ratios)
        print(f"{kind:14}{statistics.median(values):9.1f}{median:8.2f}   {ratios[0]:.2f}-{ratios[-1]:.2f}")
    return None


if __name__ == "__main__":
    main()
