"""The C programs: the floor speaks HTTP/1.1 correctly, and the load generator believes no wrong answer."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from bench.load import check, client, install, server, workloads
from bench.load.generator import Generator, LoadError
from bench.load.processes import cpu_ns
from bench.load.workloads import Exchange, Workload

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which(shlex.split(os.environ.get("CC", "gcc"))[0]) is None,
    reason="the C programs need Linux (epoll) and a C compiler",
)

CORE = min(os.sched_getaffinity(0)) if sys.platform == "linux" else 0
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def floor():
    port = server.free_port()
    with subprocess.Popen([install.program("floor"), str(port)]) as process:
        wait_until_listening(port)
        yield port
        process.kill()


def wait_until_listening(port):
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        try:
            client.get_status(port, "/")
        except OSError:
            continue
        return
    raise TimeoutError(port)


@pytest.mark.parametrize("name", ["plaintext", "json", "param", "post", "async", "suspend", "headers", "pipelined"])
def test_the_floor_answers_a_workload_rightly(floor, name):
    assert check.why_wrong(workloads.choose(name)[0], floor) is None


REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "unknown version": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    "no path": (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "folded field": (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
    "two lengths": (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "odd length": (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400),
    "chunked": (b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    "big body": (b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
    "big head": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 16400, 431),
}


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED.values(), ids=REFUSED)
def test_the_floor_refuses_and_closes(floor, request_bytes, status):
    with client.Connection(floor) as connection:
        connection.send(request_bytes)
        answer = connection.receive()
        assert (answer.status, answer.fields["connection"]) == (status, "close")
        with pytest.raises(ConnectionError):
            connection.receive()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ],
)
def test_the_floor_goes_on_after_a_wrong_path_or_method(floor, request_bytes, status):
    with client.Connection(floor) as connection:
        connection.send(request_bytes + GET)
        assert connection.receive().status == status
        assert connection.receive().body == b"Hello, World!"


def test_the_floor_takes_a_request_byte_by_byte(floor):
    with client.Connection(floor) as connection:
        for at in range(len(GET)):
            connection.send(GET[at : at + 1])
        assert connection.receive().body == b"Hello, World!"


def test_the_floor_answers_thousands_of_pipelined_requests_that_nobody_reads_at_first(floor):
    with client.Connection(floor) as connection:
        sender = threading.Thread(target=connection.send, args=(GET * 20_000,))
        sender.start()
        for _ in range(20_000):
            assert connection.receive().status == 200
        sender.join()


def test_the_generator_counts_exactly(floor):
    plaintext = workloads.choose("plaintext")[0]
    with Generator(plaintext, floor, core=CORE, connections=7) as generator:
        assert [generator.run(n).requests for n in (1, 1000)] == [1, 1000]


def test_cpu_time_of_a_server_grows_with_its_work():
    port = server.free_port()
    with subprocess.Popen([install.program("floor"), str(port)]) as process:
        wait_until_listening(port)
        before = cpu_ns(process.pid)
        with Generator(workloads.choose("plaintext")[0], port, core=CORE) as generator:
            generator.run(2000)
        assert cpu_ns(process.pid) > before
        process.kill()


@pytest.fixture
def scripted():
    """Serve each connection the given answers, one per read, then close it."""
    listener = socket.create_server(("127.0.0.1", server.free_port()))
    threads = []

    def serve(*answers):
        def talk():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    for answer in answers:
                        if not connection.recv(65536):
                            break
                        connection.sendall(answer)

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        return listener.getsockname()[1]

    yield serve
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join()


def answer(body, status="200 OK", fields=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n{body}".encode()


WRONG = {
    "another status": (answer("Hello", "500 Oops"), "answer: HTTP/1.1 500 Oops"),
    "another body": (answer("Good bye"), "a body without Hello: Good bye"),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\nHello", "answer without Content-Length"),
    "one answer too many": (answer("Hello") * 2, "an answer that nobody asked for"),
}


@pytest.mark.parametrize(("wrong", "words"), WRONG.values(), ids=WRONG)
def test_the_generator_believes_no_wrong_answer(scripted, wrong, words):
    port = scripted(wrong)
    workload = Workload("scripted", "", (Exchange(GET, "Hello", b"Hello"),))
    with Generator(workload, port, core=CORE, connections=1) as generator, pytest.raises(LoadError, match=words):
        generator.run(1)


def test_the_generator_asks_again_on_a_new_connection_when_the_server_closes(scripted):
    port = scripted(answer("Hello"), answer("Hello", fields="Connection: close\r\n"))
    workload = Workload("scripted", "", (Exchange(GET, "Hello", b"Hello"),))
    with Generator(workload, port, core=CORE, connections=1) as generator:
        run = generator.run(6)
    assert (run.requests, run.reconnects) == (6, 3)


def test_the_generator_asks_on_as_long_as_it_is_answered_however_often_the_server_closes(scripted):
    port = scripted(answer("Hello", fields="Connection: close\r\n"))
    workload = Workload("scripted", "", (Exchange(GET, "Hello", b"Hello"),))
    with Generator(workload, port, core=CORE, connections=1) as generator:
        run = generator.run(1300)
    assert (run.requests, run.reconnects) == (1300, 1300)
