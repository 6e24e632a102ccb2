"""Shells complete the command: each script is given to its shell, which is asked what it would offer."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cello.cli import main, make_parser
from cello.serve.completion import commands_of
from cello.serve.options import OPTIONS
from tests.missing import missing

Offer = Callable[[str], list[str]]

BASH = """
source ./script
COMP_WORDS=({words} {last!r})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_cello
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# zsh asks in its line editor only; what its own functions are told is what they then show.
ZSH = """
compdef() {{ : }}
_describe() {{ print -rl -- ${{commands%%:*}} }}
_arguments() {{ print -rl -- "$@" }}
source ./script
words=({words} {last!r})
CURRENT=$#words
_cello
"""


def ask(shell: str, folder: Path, program: str) -> list[str]:
    done = subprocess.run(
        [shell, "-c", program],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.fixture
def offer(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Offer:
    """Return what a shell offers after a line, without descriptions."""
    found = shutil.which(shell)
    if found is None:
        missing(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "shop.py").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder").mkdir()

    def offered(line: str) -> list[str]:
        words, _, last = line.rpartition(" ")
        if shell == "bash":
            return ask(found, tmp_path, BASH.format(words=words, last=last))
        if shell == "zsh":
            return ask(found, tmp_path, ZSH.format(words=words, last=last))
        return [line.split("\t")[0] for line in ask(found, tmp_path, f"source ./script; complete -C '{line}'")]

    return offered


each_shell = pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])


@each_shell
def test_commands_are_offered(offer: Offer) -> None:
    assert {"run", "routes", "check", "new", "completion", "version"} <= set(offer("cello "))


@each_shell
def test_options_of_a_command_are_offered(offer: Offer) -> None:
    shown = "\n".join(offer("cello run --"))
    for option in OPTIONS:
        assert option.flag in shown
    assert "--machines" not in shown


@each_shell
def test_values_are_offered_where_there_are_few(shell: str, offer: Offer) -> None:
    if shell == "zsh":
        assert any("(development production)" in line for line in offer("cello run --env "))
    else:
        assert sorted(offer("cello run --env ")) == ["development", "production"]


@each_shell
def test_files_are_offered_for_the_target(shell: str, offer: Offer) -> None:
    if shell == "zsh":
        assert "1: :_files" in offer("cello run ")
    else:
        assert {"shop.py", "folder/"} <= set(offer("cello run "))


@pytest.mark.parametrize("shell", ["bash"])
def test_what_is_begun_is_completed(offer: Offer) -> None:
    assert offer("cello ver") == ["version"]
    assert offer("cello check --mac") == ["--machines"]
    assert offer("cello completion z") == ["zsh"]
    assert offer("cello run --port ") == []
    assert offer("cello nonsense ") == []


def test_every_command_and_option_is_known_to_it() -> None:
    known = {command.name: command for command in commands_of(make_parser())}
    assert {option.flag for option in OPTIONS} <= {name for word in known["run"].options for name in word.names}
    assert all(command.help for command in known.values())


def test_an_unknown_shell_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["completion", "tcsh"])
    assert "invalid choice: 'tcsh'" in capsys.readouterr().err
