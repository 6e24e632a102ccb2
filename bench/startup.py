"""`python -m bench.startup`: what importing a framework costs over a bare Python, in CPU time and in wall time."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.load import install, peers
from bench.load.peers import Peer
from bench.load.sheet import Column, Sheet
from bench.load.terminal import Terminal

_COLUMNS = (Column("cpu_ms", "CPU over bare Python, ms"), Column("wall_ms", "wall over bare Python, ms"))


class ImportFailed(Exception):
    """A peer cannot be imported."""


def main(argv: list[str] | None = None) -> int:
    """Measure the chosen peers; return 0 when none failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__)
    parser.add_argument("--peers", default="cello,cello-framework,falcon,starlette", metavar="A,B")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--python", default=sys.executable, help="the Python that the virtualenvs are made from")
    parser.add_argument("--no-save", action="store_true", help="write no result files")
    options = parser.parse_args(argv)
    terminal = Terminal()
    sheet = Sheet("startup", "Import of the framework", _COLUMNS)
    chosen = [peer for peer in peers.choose(options.peers) if peer.module]
    prepared = install.prepare(chosen, options.python, terminal.progress)
    sheet.faults.update(prepared.missing)
    subjects = [(peer, prepared.executables[peer.name]) for peer in chosen if peer.name in prepared.executables]
    for number in range(-1, options.rounds):  # the round before the first writes the bytecode and warms the disk cache
        for done, (peer, python) in enumerate(subjects):
            title = f"{peer.name}: {peer.module}"
            terminal.progress(max(number, 0) * len(subjects) + done, options.rounds * len(subjects), title)
            if title in sheet.faults:
                continue
            try:
                bare_cpu, bare_wall = _run(python, "pass", peer)
                cpu, wall = _run(python, f"import {peer.module}", peer)
            except ImportFailed as error:
                sheet.faults[title] = str(error)
                continue
            if number >= 0:
                sheet.add(title, {"cpu_ms": cpu - bare_cpu, "wall_ms": wall - bare_wall})
    sheet.show(terminal)
    if not options.no_save:
        sheet.save(terminal)
    return 1 if sheet.faults else 0


def _run(python: Path, code: str, peer: Peer) -> tuple[float, float]:
    """Return CPU and wall time of one interpreter, in milliseconds."""
    started = time.perf_counter()
    # -I: neither this checkout nor the user's site; in /: nothing importable there.
    command = [str(python), "-I", "-c", code]
    process = subprocess.Popen(command, cwd="/", env=os.environ | dict(peer.environment), stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ImportFailed(f"{code!r} ended with {process.returncode}")
    return (used.ru_utime + used.ru_stime) * 1000, wall * 1000


if __name__ == "__main__":
    sys.exit(main())
