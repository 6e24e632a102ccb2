"""`python -m bench.load`: install the peers, check them, time them in turn, write down what was found."""

import argparse
import datetime
import sys

from bench.load import chart, install, machine, peers, report, workloads
from bench.load.generator import CONNECTIONS
from bench.load.peers import Peer
from bench.load.places import RESULTS
from bench.load.results import Cell, Result
from bench.load.rounds import Contest, Measuring
from bench.load.terminal import Terminal


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; return 0 when every peer was installed."""
    options = _arguments(argv)
    terminal = Terminal()
    if options.list:
        _list(terminal)
        return 0
    install.program("load")
    prepared = install.prepare(options.peers, options.python, terminal.progress)
    for name, why in prepared.missing.items():
        terminal.say(terminal.paint(f"{name}: {why}", "red"))
    server_core, client_core = machine.choose_cores()
    if server_core == client_core:
        terminal.say(terminal.paint("one processor only: server and load share it, rates mean nothing", "yellow"))
    contest = Contest(
        [peer for peer in options.peers if peer.name in prepared.executables],
        prepared.executables,
        options.workloads,
        options.rounds,
        options.seconds,
        server_core,
        client_core,
    )
    if not contest.peers:
        terminal.say("no peer is installed")
        return 1
    result = Result(
        date=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        machine=machine.describe(),
        settings={
            "rounds": options.rounds,
            "seconds": options.seconds,
            "connections": CONNECTIONS,
            "server_core": server_core,
            "client_core": client_core,
            "python": install.python_version(options.python),
        },
        peers={peer.name: peer.title for peer in options.peers},
        versions={
            peer.name: install.versions_of(prepared.executables[peer.name]) if peer.requirements else {}
            for peer in contest.peers
        },
        workloads={workload.name: workload.title for workload in options.workloads},
        cells={},
    )
    result.cells = Measuring(contest, terminal.progress).run()
    for name, why in prepared.missing.items():
        for row in result.cells.values():
            row[name] = Cell(fails=why)
    report.print_tables(result, terminal)
    if not options.no_save:
        _save(result, terminal)
    return 1 if prepared.missing else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--peers", type=_peers, default="default", help="names, all, or default", metavar="A,B")
    parser.add_argument("--workloads", type=_workloads, default="default", help="the same", metavar="A,B")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement (default: 1)")
    parser.add_argument("--python", default=sys.executable, help="the Python that the virtualenvs are made from")
    parser.add_argument("--no-save", action="store_true", help="write no result files")
    parser.add_argument("--list", action="store_true", help="show the names of peers and workloads")
    return parser.parse_args(argv)


def _peers(words: str) -> list[Peer]:
    try:
        return peers.choose(words)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _workloads(words: str) -> list[workloads.Workload]:
    try:
        return workloads.choose(words)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _list(terminal: Terminal) -> None:
    for peer in peers.PEERS:
        terminal.say(f"{peer.name:24}{peer.title:38}{' '.join(peer.requirements[:2])}")
    terminal.say()
    for workload in workloads.WORKLOADS:
        terminal.say(f"{workload.name:24}{workload.title}")


def _save(result: Result, terminal: Terminal) -> None:
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / f"{result.date[:16].replace(':', '')}-load"
    result.save(stem.with_suffix(".json"))
    stem.with_suffix(".md").write_text(report.markdown(result))
    stem.with_suffix(".svg").write_text(chart.draw(result))
    terminal.say(f"written: {stem}.json, .md, .svg")


if __name__ == "__main__":
    sys.exit(main())
