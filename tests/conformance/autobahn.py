"""The Autobahn Testsuite against the own server: `python -m tests.conformance.autobahn`, or `make autobahn`.

The suite (crossbario/autobahn-testsuite) is a WebSocket client that tries some 500 cases of RFC 6455 and RFC 7692 on an
echo server. It needs CPython 2.7, which is looked for on the PATH, in pyenv, and in the variable PYTHON27; where there
is none this says so and succeeds. It is installed once, in a virtual environment of its own below build/autobahn.

Bound: no case FAILED, for every codec and both colours of the echoing handler; and at most four NON-STRICT with
`async def`. A `def` handler echoes on a thread of its own: when a fault comes in the same packet as a message, the
connection is closed before the thread could answer that, which the suite calls NON-STRICT and the RFC allows.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cello import _speedups
from tests.integration.hosts import free_port

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "autobahn"
SUITE = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv==20.15.1"
"""The last one that makes environments of Python 2.7."""
MOST_NON_STRICT = {"async": 4, "def": 12}
SLOW_SECTIONS = ("9.*", "12.*", "13.*")
"""Big messages and compression, which take most of the time."""
START_LIMIT_S = 30.0

ECHO = """
from cello import App

app = App()
app.get("/")(lambda request: "up")


@app.websocket("/async")
async def echo(ws):
    async for message in ws:
        await ws.send(message)


@app.websocket("/def")
def echo_plain(ws):
    for message in ws:
        ws.send(message)
"""

TIERS = {"compiled": {"CELLO_SPEEDUPS": "1"}, "wsproto": {"CELLO_SPEEDUPS": "0"}}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite; return 0 when every bound holds, or there is no Python 2.7."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.autobahn", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help=f"leave out the sections {', '.join(SLOW_SECTIONS)}")
    parser.add_argument("--cases", default="*", help="such as 1.* or 7.7.1 (default: all)")
    parser.add_argument("--tiers", default=",".join(TIERS), help=f"of {', '.join(TIERS)} (default: all)")
    parser.add_argument("--colours", default="async,def", help="of the echoing handler (default: async,def)")
    options = parser.parse_args(argv)
    wstest = installed_suite()
    if wstest is None:
        print("autobahn: skipped, there is no CPython 2.7 on the PATH, in pyenv or in PYTHON27")
        return 0
    wanted = [tier for tier in options.tiers.split(",") if tier != "compiled" or _speedups.enabled]
    if "compiled" in options.tiers and "compiled" not in wanted:
        print(f"autobahn: the compiled codec is left out, {_speedups.reason}")
    excluded = [*SLOW_SECTIONS] if options.quick else []
    is_good = True
    for tier in wanted:
        with echo_server(tier) as port:
            for colour in options.colours.split(","):
                counts = run_suite(
                    wstest, f"{tier}-{colour}", f"ws://127.0.0.1:{port}/{colour}", options.cases, excluded
                )
                is_good &= counts["FAILED"] == 0 and counts["NON-STRICT"] <= MOST_NON_STRICT[colour]
    return 0 if is_good else 1


def find_python() -> str | None:
    """Return a CPython 2.7, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [os.environ.get("PYTHON27"), shutil.which("python2.7"), *map(str, sorted(pyenv.glob("2.7*/bin/python2.7")))]
    ask = "import platform; print(platform.python_implementation() + platform.python_version()[:3])"
    for candidate in filter(None, found):
        try:
            said = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, timeout=30, check=False)
        except OSError:
            continue
        if said.stdout.strip() == "CPython2.7":
            return candidate
    return None


def installed_suite() -> Path | None:
    """Return the suite's command, installed if it was not; None without a Python 2.7.

    Raises:
        CalledProcessError: It cannot be installed.
    """
    command = FOLDER / "suite" / "bin" / "wstest"
    if command.exists():
        return command
    python = find_python()
    if python is None:
        return None
    tools = FOLDER / "tools"
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "-q")
    subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True)
    subprocess.run([str(tools / "bin" / "python"), *pip, VIRTUALENV], check=True)
    subprocess.run([str(tools / "bin" / "virtualenv"), "-q", "-p", python, str(FOLDER / "suite")], check=True)
    # Its pip says at length that 2.7 has come to its end; that is known.
    installer = [str(FOLDER / "suite" / "bin" / "python"), "-W", "ignore", *pip, SUITE]
    subprocess.run(installer, check=True, stderr=subprocess.DEVNULL)
    return command


@contextmanager
def echo_server(tier: str) -> Iterator[int]:
    """Run the echo application on one worker of the own server; gives its port."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    module = FOLDER / "echo.py"
    module.write_text(ECHO)
    port = free_port()
    variables = {**os.environ, **TIERS[tier], "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "cello", "run", str(module), "--port", str(port), "--workers", "1", "--no-logs"]
    with (FOLDER / f"{tier}.log").open("wb") as log:
        process = subprocess.Popen([*words, "--env", "production"], env=variables, stdout=log, stderr=log)
    try:
        wait_for(process, port)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until a server accepts connections.

    Raises:
        RuntimeError: It has ended, or does not in time.
    """
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # it says nothing where this could hear it: it must be asked
        else:
            return
    raise RuntimeError(f"the echo server does not answer; {FOLDER} has its log")


def run_suite(wstest: Path, agent: str, url: str, cases: str, excluded: list[str]) -> Counter[str]:
    """Have the suite try `url`; print what came of it, and return how many cases ended in which way."""
    reports = FOLDER / agent
    shutil.rmtree(reports, ignore_errors=True)
    specification = FOLDER / f"{agent}.json"
    specification.write_text(
        json.dumps({
            "outdir": str(reports),
            "servers": [{"agent": agent, "url": url}],
            "cases": [cases],
            "exclude-cases": excluded,
            "exclude-agent-cases": {},
        })
    )  # fmt: skip
    began = time.monotonic()
    with (FOLDER / f"{agent}.wstest.log").open("wb") as log:
        words = [str(wstest), "-m", "fuzzingclient", "-s", str(specification)]
        code = subprocess.run(words, stdout=log, stderr=log, check=False).returncode
    index = reports / "index.json"
    if code != 0 or not index.exists():
        print(f"autobahn: {agent}: the suite itself ended with {code}; see {FOLDER / agent}.wstest.log")
        return Counter(FAILED=1)
    outcome = json.loads(index.read_text())[agent]
    worst = {case: worse(found["behavior"], found["behaviorClose"]) for case, found in outcome.items()}
    counts = Counter(worst.values())
    shown = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"autobahn: {agent}: {len(worst)} cases, {shown}; {time.monotonic() - began:.0f} s")
    for case in [case for case, name in worst.items() if name in ("FAILED", "NON-STRICT")]:
        print(f"autobahn: {agent}: {case} is {worst[case]}")
    if not worst:
        print(f"autobahn: {agent}: no case was tried")
        counts["FAILED"] += 1
    return counts


ORDER = ("OK", "INFORMATIONAL", "UNIMPLEMENTED", "NON-STRICT", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT", "FAILED")


def worse(behaviour: str, close: str) -> str:
    """Return the worse of how a case and its closing went; what closed uncleanly or with a wrong code has failed."""
    name = max(behaviour, close, key=lambda one: ORDER.index(one) if one in ORDER else len(ORDER))
    return "FAILED" if name in ("UNCLEAN", "WRONG CODE", "FAILED BY CLIENT") or name not in ORDER else name


if __name__ == "__main__":
    sys.exit(main())
