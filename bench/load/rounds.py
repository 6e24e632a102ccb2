"""The measuring itself: rounds in which every peer has its turn at every workload, one directly after the other.

Rule 1. Peers take turns within a workload, beginning with another one in each round, so that whatever else the machine
        does meets all of them alike; ratios are taken within a round.
Rule 2. Servers are started anew in each round: the layout of memory and the hash seed differ from start to start.
Rule 3. A peer is checked before it is timed; a wrong answer there or later costs it its figures, with the reason.
Rule 4. Connections, warm-up and closing are outside what is measured; inside is an exact number of requests.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.load import check, machine
from bench.load.generator import CONNECTIONS, Generator, LoadError
from bench.load.peers import Peer
from bench.load.results import Cell
from bench.load.server import Server, ServerError
from bench.load.workloads import Workload

Progress = Callable[[int, int, str], None]

_TICK_NS = 10_000_000
_FIRST_GUESS = 1000
_WARM_UP_S = 0.15


@dataclass(frozen=True, slots=True)
class Contest:
    """Who runs what, how long and where.

    Attributes:
        executables: What to start for each peer's name: a Python, or the floor.
        seconds: Of one measurement.
        server_core: Processor of the servers.
        client_core: Processor of the load generator.
    """

    peers: Sequence[Peer]
    executables: dict[str, Path]
    workloads: Sequence[Workload]
    rounds: int
    seconds: float
    server_core: int
    client_core: int


class Measuring:
    """Runs a contest and fills its cells."""

    def __init__(self, contest: Contest, progress: Progress) -> None:
        self._contest = contest
        self._progress = progress
        self._per_second: dict[tuple[str, str], float] = {}
        self._done = 0
        self.cells: dict[str, dict[str, Cell]] = {
            workload.name: {
                peer.name: Cell(skipped=peer.skips_workload(workload.name, is_graphql=workload.graphql))
                for peer in contest.peers
            }
            for workload in contest.workloads
        }

    def run(self) -> dict[str, dict[str, Cell]]:
        """Run all rounds and return the cells, by workload and peer."""
        for number in range(self._contest.rounds):
            for middleware in (False, True):
                workloads = [w for w in self._contest.workloads if w.middleware is middleware]
                if workloads:
                    self._round(number, workloads, middleware)
        return self.cells

    def _round(self, number: int, workloads: list[Workload], middleware: bool) -> None:
        peers = list(self._contest.peers)
        shift = number % len(peers)
        with ExitStack() as stack:
            servers = {
                peer.name: server
                for peer in peers
                if (server := self._start(stack, peer, workloads, middleware)) is not None
            }
            for workload in workloads:
                for peer in peers[shift:] + peers[:shift]:
                    self._advance(f"round {number + 1}, {workload.name}, {peer.name}")
                    cell = self.cells[workload.name][peer.name]
                    if peer.name in servers and not cell.fails and not cell.skipped:
                        self._measure(servers[peer.name], workload, cell)

    def _start(self, stack: ExitStack, peer: Peer, workloads: list[Workload], middleware: bool) -> Server | None:
        cells = list(self._open_cells(peer, workloads))
        if not cells:
            return None
        server = Server(peer, self._contest.executables[peer.name], self._contest.server_core, middleware=middleware)
        try:
            return stack.enter_context(server)
        except ServerError as error:
            for cell in cells:
                cell.fails = str(error)
            return None

    def _open_cells(self, peer: Peer, workloads: list[Workload]) -> Iterator[Cell]:
        for workload in workloads:
            cell = self.cells[workload.name][peer.name]
            if not cell.fails and not cell.skipped:
                yield cell

    def _measure(self, server: Server, workload: Workload, cell: Cell) -> None:
        if not cell.cpu_us and (wrong := check.why_wrong(workload, server.port)):
            cell.fails = wrong
            return
        try:
            with Generator(workload, server.port, self._contest.client_core) as generator:
                self._take_sample(server, generator, workload, cell)
        except (LoadError, ServerError) as error:
            cell.fails = str(error)

    def _take_sample(self, server: Server, generator: Generator, workload: Workload, cell: Cell) -> None:
        key = (server.peer.name, workload.name)
        batch = CONNECTIONS * workload.pipeline
        if key not in self._per_second:
            guess = generator.run(_FIRST_GUESS)
            self._per_second[key] = guess.requests / guess.seconds
        warm_up = generator.run(batch + int(self._per_second[key] * _WARM_UP_S))
        self._per_second[key] = warm_up.requests / warm_up.seconds
        requests = batch + int(self._per_second[key] * self._contest.seconds)

        core = self._contest.server_core
        cpu_before, busy_before = server.cpu_ns(), machine.busy_ticks(core)
        run = generator.run(requests)
        cpu_ns = server.cpu_ns() - cpu_before
        busy_ns = (machine.busy_ticks(core) - busy_before) * _TICK_NS

        cell.cpu_us.append(round(cpu_ns / 1000 / run.requests, 4))
        cell.per_second.append(round(run.requests / run.seconds, 1))
        cell.disturbed.append(round(max(0.0, (busy_ns - cpu_ns) / 1e9) / run.seconds, 4))
        cell.requests += run.requests
        cell.reconnects += run.reconnects

    def _advance(self, text: str) -> None:
        contest = self._contest
        self._progress(self._done, contest.rounds * len(contest.workloads) * len(contest.peers), text)
        self._done += 1
