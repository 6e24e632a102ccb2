"""`python -m bench.guest`: µs per request that a framework adds to a bare WSGI or ASGI callable, in process."""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import install, machine, peers
from bench.load.peers import Peer
from bench.load.sheet import Column, Sheet
from bench.load.terminal import Terminal

_PROBE = Path(__file__).with_name("probe.py")
_FLASK = Peer("flask", "Flask", "", ("flask==3.1.3",))
_COLUMNS = (
    Column("over_us", "over the bare callable, µs", 2),
    Column("guest_us", "whole request, µs", 2),
    Column("bare_us", "bare callable, µs", 2),
)


@dataclass(frozen=True, slots=True)
class Guest:
    """A row: what is probed, whose virtualenv it lives in, and the least that is asked of it."""

    title: str
    subject: str
    peer: Peer
    environment: dict[str, str] = field(default_factory=dict)
    target_us: float | None = None


def _guests() -> list[Guest]:
    cello, falcon, starlette = (peers.choose(name)[0] for name in ("cello", "falcon", "starlette"))
    compiled, pure = {"CELLO_SPEEDUPS": "1"}, {"CELLO_SPEEDUPS": "0"}
    return [
        Guest("cello, WSGI", "cello-wsgi", cello, compiled, 2.0),
        Guest("cello, ASGI", "cello-asgi", cello, compiled, 2.5),
        Guest("cello pure, WSGI", "cello-wsgi", cello, pure, 5.0),
        Guest("cello pure, ASGI", "cello-asgi", cello, pure, 6.0),
        Guest("Falcon, WSGI", "falcon-wsgi", falcon),
        Guest("Falcon, ASGI", "falcon-asgi", falcon),
        Guest("Flask, WSGI", "flask-wsgi", _FLASK),
        Guest("Starlette, ASGI", "starlette-asgi", starlette),
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure; return 0 when no guest failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.guest", description=__doc__)
    parser.add_argument("--guests", default="", help="only titles that hold this word, such as ASGI or cello")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement (default: 1)")
    parser.add_argument("--python", default=sys.executable, help="the Python that the virtualenvs are made from")
    parser.add_argument("--no-save", action="store_true", help="write no result files")
    options = parser.parse_args(argv)
    terminal = Terminal()
    sheet = Sheet("guest", "GET /users/{id} as a guest, 200 routes, 8 header fields, CPU time", _COLUMNS)
    guests = [guest for guest in _guests() if options.guests.lower() in guest.title.lower()]
    prepared = install.prepare([guest.peer for guest in guests], options.python, terminal.progress)
    sheet.faults.update({g.title: prepared.missing[g.peer.name] for g in guests if g.peer.name in prepared.missing})
    for number in range(options.rounds):
        for done, guest in enumerate(guests):
            terminal.progress(number * len(guests) + done, options.rounds * len(guests), guest.title)
            if guest.title in sheet.faults:
                continue
            try:
                sheet.add(guest.title, _probe(guest, prepared.executables[guest.peer.name], options.seconds))
            except _ProbeFailed as error:
                sheet.faults[guest.title] = str(error)
                sheet.rows.pop(guest.title, None)
    asked = [f"{guest.title} ≤ {guest.target_us:g}" for guest in guests if guest.target_us is not None]
    sheet.notes.append(f"asked for, over the bare callable in µs: {', '.join(asked)}")
    sheet.show(terminal)
    if not options.no_save:
        sheet.save(terminal)
    return 1 if sheet.faults else 0


class _ProbeFailed(Exception):
    pass


def _probe(guest: Guest, python: Path, seconds: float) -> dict[str, float]:
    core, _ = machine.choose_cores()
    done = subprocess.run(
        [str(python), str(_PROBE), guest.subject, str(seconds)],
        cwd="/",
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | guest.environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.strip()]
        raise _ProbeFailed(words[-1][-200:] if words else f"exit {done.returncode}")
    found: dict[str, float] = json.loads(done.stdout)
    return {**found, "over_us": found["guest_us"] - found["bare_us"]}


if __name__ == "__main__":
    sys.exit(main())
