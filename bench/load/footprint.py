"""`python -m bench.load.footprint`: how soon a server answers, and what it and its idle connections weigh.

Start is from the process to its first 200, with the 200 routes of the comparison. Memory is resident memory of all its
processes after a thousand requests. An idle connection has had one request answered and is kept open; its weight is
what the server's resident memory grew by, divided by the connections still open at the end (memory of the kernel's
sockets is not in it, for nobody).
"""

import argparse
import resource
import select
import socket
import sys
from pathlib import Path

from bench.load import install, machine, peers, workloads
from bench.load.generator import Generator, LoadError
from bench.load.processes import resident_bytes
from bench.load.server import Server, ServerError
from bench.load.sheet import Column, Sheet
from bench.load.terminal import Terminal

_REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_SPARE_DESCRIPTORS = 200
_COLUMNS = (
    Column("start_ms", "start to first 200, ms", 0),
    Column("resident_mb", "resident memory, MB"),
    Column("idle_kb", "per idle connection, KB", 2),
    Column("idle_open", "of them still open", 0),
)


def main(argv: list[str] | None = None) -> int:
    """Measure the chosen peers; return 0 when none failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.load.footprint", description=__doc__)
    parser.add_argument("--peers", default="default", help="names, all, or default", metavar="A,B")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--python", default=sys.executable, help="the Python that the virtualenvs are made from")
    parser.add_argument("--no-save", action="store_true", help="write no result files")
    options = parser.parse_args(argv)
    terminal = Terminal()
    connections = min(options.connections, _raise_descriptor_limit() - _SPARE_DESCRIPTORS)
    sheet = Sheet("footprint", f"Start, memory, {connections:,} idle connections", _COLUMNS)
    install.program("load")
    prepared = install.prepare(peers.choose(options.peers), options.python, terminal.progress)
    chosen = [peer for peer in peers.choose(options.peers) if peer.name in prepared.executables]
    sheet.faults.update(prepared.missing)
    for number in range(options.rounds):
        for done, peer in enumerate(chosen):
            terminal.progress(number * len(chosen) + done, options.rounds * len(chosen), peer.name)
            if peer.title in sheet.faults:
                continue
            try:
                sheet.add(peer.title, _weigh(peer, prepared.executables[peer.name], connections))
            except (ServerError, LoadError, OSError) as error:
                sheet.faults[peer.title] = str(error)
                sheet.rows.pop(peer.title, None)
    sheet.show(terminal)
    if not options.no_save:
        sheet.save(terminal)
    return 1 if sheet.faults else 0


def _weigh(peer: peers.Peer, executable: Path, connections: int) -> dict[str, float]:
    server_core, client_core = machine.choose_cores()
    plaintext = workloads.choose("plaintext")[0]
    with Server(peer, executable, server_core) as server:
        with Generator(plaintext, server.port, client_core) as generator:
            generator.run(1000)
        before = resident_bytes(server.pid)
        idle = [_idle_connection(server.port) for _ in range(connections)]
        grown = resident_bytes(server.pid) - before
        still_open = len(idle) - _closed(idle)
        for connection in idle:
            connection.close()
        if not still_open:
            raise ServerError("it closed all idle connections before the last was open")
        return {
            "start_ms": server.first_answer_ms,
            "resident_mb": before / 1e6,
            "idle_kb": grown / 1024 / still_open,
            "idle_open": still_open,
        }


def _idle_connection(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.sendall(_REQUEST)
    answer = b""
    while not answer.endswith(b"Hello, World!"):
        received = connection.recv(4096)
        if not received:
            raise ServerError(f"it closed a fresh connection: {answer[:60]!r}")
        answer += received
    return connection


def _closed(connections: list[socket.socket]) -> int:
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return len(poll.poll(0))


def _raise_descriptor_limit() -> int:
    """Allow as many descriptors as the system lets; servers started from here inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


if __name__ == "__main__":
    sys.exit(main())
