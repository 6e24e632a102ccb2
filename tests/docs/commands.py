"""The command lines of the pages, and what can be said of each without running it: that its program takes these words.

A program without an entry in `CHECKS` cannot be checked; the tests say which may stay so, and why.
"""

import importlib.util
import re
import shlex
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cello.cli import make_parser
from tests.docs.blocks import ROOT, Block

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


class Command(NamedTuple):
    """One simple command: the page where it stands, the variables set for it, and its words."""

    page: str
    variables: dict[str, str]
    words: list[str]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def commands(block: Block) -> list[Command]:
    """Take a block of shell apart: comments away, `&&`, pipes and `<(…)` divided."""
    found = []
    for line in block.text.splitlines():
        line = re.sub(r"<\((.*?)\)", r"/dev/fd/63 && \1 &&", line)  # source <(cello …)
        words, variables = [], {}
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word in ("&&", "|", ";"):
                if words:
                    found.append(Command(block.page, variables, words))
                words, variables = [], {}
            elif not words and (setting := re.fullmatch(r"([A-Z_]+)=(.*)", word)):
                variables[setting[1]] = setting[2]
            else:
                words.append(word)
    return found


def of_cello(words: list[str]) -> None:
    if ">" in words:
        words = words[: words.index(">")]
    make_parser().parse_args(words[1:])


def of_make(words: list[str]) -> None:
    for word in words[1:]:
        name, is_variable, _ = word.partition("=")
        if is_variable:
            assert f"$({name})" in MAKEFILE or f"$(or $({name})" in MAKEFILE, f"the Makefile does not read {name}"
        else:
            assert re.search(rf"^{name}:", MAKEFILE, re.MULTILINE), f"the Makefile has no target {name}"


def of_python(words: list[str]) -> None:
    if words[1] == "-m":
        spec = importlib.util.find_spec(words[2])
        assert spec is not None, f"there is no module {words[2]}"
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        if ROOT in folder.parents:
            takes(folder, words[3:])
        elif words[2] == "pytest":
            assert all((ROOT / word).exists() for word in words[3:] if "/" in word)
    elif words[1] != "app.py":
        assert (ROOT / words[1]).exists(), f"there is no file {words[1]}"
        takes(ROOT / words[1], words[2:])


def takes(code: Path, words: list[str]) -> None:
    """Look for the options among some words in a program of our own."""
    files = [code] if code.is_file() else list(code.glob("*.py"))
    text = "".join(path.read_text("utf-8") for path in files)
    unknown = [word for word in words if word.startswith("--") and f'"{word.partition("=")[0]}"' not in text]
    assert unknown == [], f"{code} does not take {unknown}"


def of_pip(words: list[str]) -> None:
    assert words[1] in ("install", "uninstall")
    for word in words[2:]:
        name, _, extras = word.partition("[")
        assert re.fullmatch(r"-\w|--[\w-]+|cello|\.|/path/to/cello|cello-framework|\w[\w-]*|\w[\w-]*", name)
        assert [extra for extra in extras.rstrip("]").split(",") if extra and extra not in EXTRAS] == []


def of_gunicorn(words: list[str]) -> None:
    from gunicorn.config import Config

    Config(usage="").parser().parse_args(words[1:])


def of_uvicorn(words: list[str]) -> None:
    from uvicorn.main import main

    main.make_context("uvicorn", words[1:])


def of_granian(words: list[str]) -> None:
    from granian.cli import cli

    cli.make_context("granian", words[1:])


def of_waitress(words: list[str]) -> None:
    from waitress.adjustments import Adjustments

    Adjustments.parse_args(words[1:])


def of_daphne(words: list[str]) -> None:
    from daphne.cli import CommandLineInterface

    CommandLineInterface().parser.parse_args(words[1:])


def of_kubectl(words: list[str]) -> None:
    manifests = (ROOT / "docs/guide/deployment.md").read_text("utf-8")
    (named,) = (re.fullmatch(r"deploy(?:ment)?/(\w+)", word) for word in words if word.startswith("deploy"))
    assert named is not None
    assert f"kind: Deployment\nmetadata:\n  name: {named[1]}\n" in manifests
    if "--" in words:
        of_cello(words[words.index("--") + 1 :])


def of_kill(words: list[str]) -> None:
    assert f"SIG{words[1].lstrip('-')}" in signal.Signals.__members__


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "cello": of_cello,
    "make": of_make,
    "python": of_python,
    "pip": of_pip,
    "gunicorn": of_gunicorn,
    "uvicorn": of_uvicorn,
    "granian": of_granian,
    "waitress-serve": of_waitress,
    "daphne": of_daphne,
    "kubectl": of_kubectl,
    "kill": of_kill,
}
"""By program: what fails if the program would not take the words of a command."""
