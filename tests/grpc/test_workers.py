"""The server in processes: workers, rolls, crashes, drains, ports in use, foreign hosts."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from tests.grpc.conftest import running
from tests.serve.program import ROOT, Program, free_port, get, until

HERE = Path(__file__).parent
GENERATED = str(HERE / "generated.py")
LOCAL = [("grpc.use_local_subchannel_pool", 1)]


@pytest.fixture
def stub_of(messages):
    """Open a connection of its own and return a generated client."""
    with contextlib.ExitStack() as stack:

        def connect(target):
            channel = stack.enter_context(grpc.insecure_channel(target, LOCAL))
            return sys.modules["shop.v1_pb2_grpc"].ShopStub(channel)

        yield connect


@pytest.fixture
def two(tmp_path, protos):
    with running(tmp_path, "--workers", "2", module=GENERATED, GRPC_PROTOS=str(protos)) as site:
        yield site


def answering(site, stub_of, messages):
    """Return the process that answers a new connection, or 0 where it came to one that was just closing."""
    try:
        _, call = stub_of(site.target).Get.with_call(messages.UserId(id=1), timeout=30, wait_for_ready=True)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017  # any other is a failure
        return 0
    return int(dict(call.trailing_metadata())["x-pid"])


def seen(site, stub_of, messages, count=60):
    found = set()
    for _ in range(count):
        found |= {answering(site, stub_of, messages)} - {0}
        if len(found) == 2:
            break
    return found


@pytest.mark.timeout(120)
def test_two_workers_share_the_port_and_one_that_is_killed_is_replaced(two, stub_of, messages):
    pids = seen(two, stub_of, messages)
    assert len(pids) == 2
    os.kill(min(pids), signal.SIGKILL)
    until(lambda: len(seen(two, stub_of, messages) - {min(pids)}) == 2)


@pytest.mark.timeout(120)
def test_a_roll_changes_the_workers_and_the_port_stays(two, stub_of, messages):
    before = seen(two, stub_of, messages)
    two.program.signal(signal.SIGHUP)
    until(lambda: not seen(two, stub_of, messages) & before)


@pytest.mark.timeout(120)
def test_generated_servicers_answer(two, stub_of, messages):
    stub = stub_of(two.target)
    answer, call = stub.Get.with_call(messages.UserId(id=7), metadata=[("x-name", "Ada")])
    assert (answer.id, answer.name, dict(call.initial_metadata())["x-early"]) == (7, "Ada", "yes")
    assert stub.Plain(messages.UserId(id=7)).name == "ipv4"
    assert [each.id for each in stub.Countdown(messages.UserId(id=3))] == [3, 2, 1]
    ids = [messages.UserId(id=number) for number in (1, 2)]
    assert [each.id for each in stub.Echo(iter(ids))] == [1, 2]
    assert [each.id for each in stub.EchoPlainly(iter(ids))] == [1, 2]  # read and written
    assert stub.Sum(iter(ids)).id == 3
    lost = stub.EchoPlainly(iter([messages.UserId(id=404), messages.UserId(id=1)]))
    assert next(lost).id == 404
    with pytest.raises(grpc.RpcError) as refused:
        next(lost)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    for method, id, code, sentence in (
        (stub.Get, 404, "NOT_FOUND", "there is no such user"),
        (stub.Plain, 404, "NOT_FOUND", "there is no such user"),
        (stub.Get, 405, "OUT_OF_RANGE", "too far"),
        (stub.Count, 1, "UNIMPLEMENTED", "Method not implemented!"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            list(method(messages.UserId(id=id)))
        assert (caught.value.code().name, caught.value.details()) == (code, sentence)


@pytest.mark.timeout(120)
def test_a_drain_lets_calls_end_and_takes_no_more(two, stub_of, messages):
    under_way = []
    for stub in [stub_of(two.target) for _ in range(6)]:
        under_way.append(stub.Sleep.future(messages.UserId(id=2)))
        assert stub.Plain(messages.UserId(id=1)).id == 1  # behind it on the same connection, so it has arrived
    two.program.signal(signal.SIGTERM)
    assert two.program.wait() == 0
    assert len({each.result(30).id for each in under_way}) > 0
    with pytest.raises(grpc.RpcError):
        stub_of(two.target).Plain(messages.UserId(id=1), timeout=2)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_one_clear_line(tmp_path, protos, workers):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # which must not make it shared
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ("run", f"{GENERATED}:app", "--port", str(free_port()), "--env", "production")
        environment = {"GRPC_PORT": str(port), "GRPC_PROTOS": str(protos)}
        with Program("-m", "cello", *words, "--workers", workers, folder=tmp_path, environment=environment) as program:
            assert program.wait() == 1
            assert f"gRPC cannot listen on 127.0.0.1:{port}: the port is in use" in program.output


HOSTS = {
    "gunicorn sync, two workers": (
        "-m",
        "gunicorn",
        "-w",
        "2",
        "-b",
        "127.0.0.1:{port}",
        "tests.grpc.generated:app",
    ),
    "gunicorn with cello's workers": (
        *("-m", "gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "-k", "cello.serve.gunicorn.CelloWorker"),
        "tests.grpc.generated:app",
    ),
    "uvicorn, two workers": ("-m", "uvicorn", "--workers", "2", "--port", "{port}", "tests.grpc.generated:app"),
    "waitress": ("-m", "waitress", "--listen=127.0.0.1:{port}", "tests.grpc.generated:app"),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("words", HOSTS.values(), ids=HOSTS.keys())
def test_foreign_hosts_serve_grpc_too(words, tmp_path, protos, stub_of, messages):
    """Under WSGI each worker begins with its first request, on a loop in the background."""
    http, port = free_port(), free_port()
    environment = {
        "GRPC_PORT": str(port),
        "GRPC_PROTOS": str(protos),
        "PYTHONPATH": str(ROOT),
    }
    command = [word.format(port=http) for word in words]
    with Program(*command, folder=tmp_path, environment=environment) as program:

        def is_there():
            with contextlib.suppress(OSError):
                return get(f"http://127.0.0.1:{http}")[0] == 200
            return False

        until(is_there)
        answer, call = stub_of(f"127.0.0.1:{port}").Get.with_call(
            messages.UserId(id=7), timeout=30, wait_for_ready=True
        )
        assert answer.id == 7
        assert int(dict(call.trailing_metadata())["x-pid"]) > 0
        program.signal(signal.SIGINT if "waitress" in words else signal.SIGTERM)
        program.wait()


def test_grpc_is_not_imported_before_a_worker_starts():
    code = "import sys; from cello import App; app = App(); app.enable_grpc(); app.add_grpc_service('A', ['B']); "
    code += "app.freeze(); print('grpc' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run((sys.executable, "-c", code), env=environment, check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "False"
