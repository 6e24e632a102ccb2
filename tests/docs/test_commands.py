"""What the pages say one should type is typed here, against the program of its page, wherever that can be done.

The program of a page is all its Python above the command, in the file that the command names. What is not run stands in
`NOT_RUN` with the reason: a command that is neither is a failure.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.docs.blocks import PAGES, ROOT, Block, blocks, every_block, heads
from tests.docs.commands import CHECKS, Command, commands
from tests.serve.program import PATIENCE_S, Program, free_port

NOT_RUN = {
    "make": "sets up, builds or measures the whole project",
    "pip": "asks the index of packages; .ci/wheels installs for real",
    "kubectl": "needs a cluster",
    "kill -USR1": "needs the service of the reader; tests/serve/test_tending.py sends it",
    "py-spy": "a tool of its own",
    "strace": "a tool of its own",
    "callgrind_annotate": "a tool of its own",
    "python -m bench": "measures for minutes",
    "python -m pytest tests/messaging -k kafka": "needs a Kafka broker; librdkafka's is used by tests/messaging",
    "python tools/vendor_pages.py": "asks npm",
    "python examples/observability/run.py": "is started by tests/test_observability_example.py",
    "cello sagas show": "needs the id of an execution; tests/saga/test_switch.py types it",
    "cello sagas retry": "needs the id of an execution; tests/saga/test_switch.py types it",
    "cello sagas cancel": "needs the id of an execution; tests/saga/test_switch.py types it",
    "cello sagas signal": "needs the id of an execution; tests/saga/test_switch.py types it",
    "cello worker": "needs a broker; tests/messaging/test_crashes.py starts and kills it",
    "mkdir": "prepares the folder that a test has already",
    "cd": "prepares the folder that a test has already",
    "python -m venv": "prepares the environment that a test has already",
    ". .venv/bin/activate": "prepares the environment that a test has already",
    "source": "is the shell's; what it reads is run",
}
"""By the first words of a command: why it is not run."""

MODULES = {
    "gunicorn": "gunicorn.app.wsgiapp",
    "uvicorn": "uvicorn",
    "cello": "cello",
}
"""What is run as a module of this interpreter in the place of a command of the path."""

EVERY = [(block, command) for block in every_block("sh") for command in commands(block)]


def why_not(command: Command) -> str | None:
    """Return the entry of `NOT_RUN` that a command falls under."""
    typed = " ".join(command.words)
    return next((words for words in NOT_RUN if f"{typed} ".startswith((f"{words} ", f"{words}."))), None)


def name(one: object) -> str:
    return str(one)


@pytest.mark.parametrize("block", every_block("sh") + heads(), ids=name)
def test_a_shell_can_read_it(block: Block) -> None:
    bash = shutil.which("bash")
    assert bash, "these are commands for bash"
    done = subprocess.run([bash, "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


TYPED = [command for _, command in EVERY] + [command for block in heads() for command in commands(block)]
CHECKABLE = [command for command in TYPED if command.words[0] in CHECKS]


@pytest.mark.parametrize("command", CHECKABLE, ids=name)
def test_its_program_takes_these_words(command: Command) -> None:
    try:
        CHECKS[command.words[0]](command.words)
    except SystemExit as error:
        pytest.fail(f"{command} is refused: {error}")


def test_an_address_with_a_question_mark_is_quoted() -> None:
    """Some shells take it for a pattern of file names."""
    lines = [line for block in [*every_block("sh", "console"), *heads()] for line in block.text.splitlines()]
    open_to_it = re.compile(r"curl .*\s[^\s'\"]*\?\w+=[^\s'\"]*(\s|$)")
    assert [line for line in lines if open_to_it.search(line)] == []


def test_so_do_the_programs_of_commands_within_sentences() -> None:
    refused = []
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for typed in re.findall(r"`((?:cello|make|gunicorn|uvicorn|granian|daphne|waitress-serve) [^`\n]+)`", prose):
            if typed == "cello pure":  # a name in the figures
                continue
            block = Block(page.relative_to(ROOT).as_posix(), 0, "sh", typed)
            for command in commands(block):
                try:
                    CHECKS[command.words[0]](command.words)
                except (SystemExit, AssertionError):
                    refused.append(str(command))
    assert refused == []


@pytest.mark.parametrize("typed", ["cello run app:app --wrokers 4", "make tset", "pip install 'cello[nothing]'"])
def test_a_command_that_is_wrong_is_found(typed: str) -> None:
    (command,) = commands(Block("page", 1, "sh", typed))
    with pytest.raises((SystemExit, AssertionError)):
        CHECKS[command.words[0]](command.words)


def test_every_reason_is_of_a_command_that_is_there() -> None:
    assert {why_not(command) for _, command in EVERY} - {None} == set(NOT_RUN)


def program(block: Block) -> str:
    """Return the Python of a page above a block; all of it, where none is above."""
    python = [one for one in blocks(ROOT / block.page) if one.info == "python"]
    above = [one for one in python if one.line < block.line] or python
    return "\n\n".join(one.text for one in above)


def prepare(block: Block, command: Command, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Write the program of a page where the command looks for it; return the words to run, and the environment."""
    text = program(block)
    if command.words[0] == "python" and "app.run()" not in text:
        text += "\n\napp.run()\n"
    target = next((found[1] for word in command.words if (found := re.fullmatch(r"(\w+)(?::app|\.py)", word))), "app")
    (folder / f"{target}.py").write_text(text, "utf-8")
    first, *words = command.words[: command.words.index(">")] if ">" in command.words else command.words
    port = str(free_port())
    own = {
        "CELLO_PORT": port,
        "GUNICORN_CMD_ARGS": f"--bind=127.0.0.1:{port}",
        "UVICORN_PORT": port,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    return ["-m", MODULES[first], *words] if first in MODULES else words, {**command.variables, **own}


RUN = [(block, command) for block, command in EVERY if not why_not(command)]


def serves(command: Command) -> bool:
    """Whether a command goes on until it is stopped."""
    return command.words[:2] in (["cello", "run"], ["python", "app.py"]) or command.words[0] in MODULES.keys() - {
        "cello"
    }


def of(commands: list[tuple[Block, Command]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("block", "command"), commands, ids=[str(command) for _, command in commands])


@of([(block, command) for block, command in RUN if not serves(command)])
def test_it_is_done(block: Block, command: Command, tmp_path: Path) -> None:
    words, environment = prepare(block, command, tmp_path)
    with Program(*words, folder=tmp_path, environment=environment) as typed:
        assert typed.wait() == 0, typed.output


@of([(block, command) for block, command in RUN if serves(command)])
def test_it_serves_and_ends_in_good_order(block: Block, command: Command, tmp_path: Path) -> None:
    words, environment = prepare(block, command, tmp_path)
    with Program(*words, folder=tmp_path, environment=environment) as typed:
        until_it_answers(typed, environment["CELLO_PORT"])
        typed.signal(signal.SIGTERM)
        # uvicorn ends in good order, and then by the signal that it was sent.
        assert typed.wait() in ((0, -signal.SIGTERM) if command.words[0] == "uvicorn" else (0,)), typed.output


def until_it_answers(typed: Program, port: str) -> None:
    """Ask for a page until there is an answer, of whichever status."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if typed.process.poll() is not None:
            pytest.fail(f"it ended with {typed.wait()}:\n{typed.output}")
        with contextlib.suppress(HTTPError, ConnectionError, OSError):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            except HTTPError as error:
                error.close()
            return
        time.sleep(0.05)
    pytest.fail(typed.output)
