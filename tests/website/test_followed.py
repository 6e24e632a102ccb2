"""The pages that lead from nothing to something that runs, as somebody follows them.

Their files are written, their commands typed, and what they show comes out.

A block with a title is a file; `insert="WORDS"` puts it below the line that begins with these words, `replace="WORDS"`
in the place of the line that has them. In a `console` block lines with `$` are typed, and the others are what must be
said; `…` stands for anything. A command that ends in `&` is a server, which is waited for.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.hosts import free_port
from tools.website.build import DOCS, ROOT

PATIENCE_S = 60
FOLLOWED = ("tutorial/index.md", "howto/from-django.md")
BLOCK = re.compile(
    r'^```(?:python title="(?P<file>[\w./]+)"(?: (?P<how>insert|replace)="(?P<words>[^"]+)")?|console)\n'
    r"(?P<text>.*?)^```",
    flags=re.DOTALL | re.MULTILINE,
)


class Follower:
    """Somebody who does what the page says, in a folder and with a port of their own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.servers: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CELLO_", "PYTEST_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CELLO_PORT": str(port),
        }

    def write(self, name: str, text: str, how: str | None, words: str | None) -> None:
        """Write a file, or change it."""
        path = self.folder / name
        if how:
            lines = path.read_text("utf-8").splitlines(keepends=True)
            (place,) = (number for number, line in enumerate(lines) if words and words in line)
            lines[place : place + 1] = [lines[place], text] if how == "insert" else [text]
            text = "".join(lines)
        path.write_text(text, "utf-8")

    def type(self, command: str) -> str:
        """Run a command and return what it says; a server is left running."""
        command = command.replace(":8000", f":{self.port}")
        if command.endswith("&"):
            shell = ["bash", "-c", re.sub(r"cello run (.*)&", r"exec cello run \1", command)]
            with (self.folder / "server.log").open("ab") as log:
                server = subprocess.Popen(shell, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
            self.servers.append(server)
            self.until_it_answers()
            return ""
        shell = ["bash", "-c", command]
        done = subprocess.run(
            shell, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if command.startswith("kill") and "HUP" not in command:
            assert self.servers[-1].wait(PATIENCE_S) == 0
        return done.stdout

    def until_it_answers(self) -> None:
        """Wait for the newest server to listen."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert self.servers[-1].poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not listen"
            with socket.socket() as connection:
                connection.settimeout(1)
                if connection.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    following = Follower(tmp_path, free_port())
    yield following
    for server in following.servers:
        if server.poll() is None:
            server.terminate()
            server.wait(PATIENCE_S)


def shows(said: str, line: str) -> bool:
    """Whether a line of the page describes what was said."""
    return re.search(".*?".join(re.escape(part) for part in line.split("…")), said, flags=re.DOTALL) is not None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", FOLLOWED)
def test_everything_that_the_page_does_works(page: str, follower: Follower) -> None:
    text = (DOCS / page).read_text("utf-8")
    typed = 0
    for block in BLOCK.finditer(text):
        if block["file"]:
            follower.write(block["file"], block["text"], block["how"], block["words"])
            continue
        said = ""
        for line in block["text"].splitlines():
            if line.startswith("$ "):
                said = follower.type(line[2:])
                typed += 1
            else:
                assert shows(said, line.replace(":8000", f":{follower.port}")), (
                    f"the page says {line!r}, the command {said!r}"
                )
    assert typed == len(re.findall(r"^\$ ", text, flags=re.MULTILINE))
    assert typed > 10
