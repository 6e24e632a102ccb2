"""Gives each peer its own virtualenv, and compiles the two C programs; nothing is done twice.

A virtualenv is kept until its requirements or the Python version change. cello itself is built from the checkout,
compiled, whenever any of its sources changed; from a copy, so that neither `build/` nor generated C appear here.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.load.peers import Peer
from bench.load.places import CACHE, CHECKOUT, NATIVE

_BUILD_INPUTS = ("cello", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
_LIMIT_S = 900


class InstallError(Exception):
    """A peer cannot be installed or a program not compiled; the text says why."""


@dataclass(slots=True)
class Prepared:
    """What is ready to be started, and what is not.

    Attributes:
        executables: A Python for each peer's name, or the program that the floor is.
        missing: Why a peer could not be installed, by name.
    """

    executables: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def prepare(peers: Sequence[Peer], base: str, progress: Callable[[int, int, str], None]) -> Prepared:
    """Install what is missing of `peers` into virtualenvs made from the Python `base`."""
    prepared = Prepared()
    pythons: dict[str, Path] = {}
    faults: dict[str, str] = {}
    for number, peer in enumerate(peers):
        progress(number, len(peers), f"installing {peer.name}")
        place = peer.venv_name
        if place not in pythons and place not in faults:
            try:
                pythons[place] = _virtualenv(peer, base) if peer.requirements else program(peer.name)
            except InstallError as error:
                faults[place] = f"not installed: {error}"
        if place in pythons:
            prepared.executables[peer.name] = pythons[place]
        else:
            prepared.missing[peer.name] = faults[place]
    return prepared


def program(name: str) -> Path:
    """Return the compiled `native/NAME.c`, compiled anew if the source is newer.

    Raises:
        InstallError: No compiler, or the compiler's message.
    """
    source, target = NATIVE / f"{name}.c", CACHE / "native" / name
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = target.with_suffix(f".{os.getpid()}")
        _run([*shlex.split(os.environ.get("CC", "gcc")), "-O2", "-Wall", "-Wextra", "-o", str(made), str(source)])
        made.replace(target)
    return target


def versions_of(python: Path) -> dict[str, str]:
    """Return the distributions installed beside an interpreter, with their versions."""
    listed = _run([str(python), "-m", "pip", "list", "--format", "json"])
    versions = {entry["name"]: entry["version"] for entry in json.loads(listed)}
    return {name: version for name, version in versions.items() if name not in ("pip", "setuptools")}


def python_version(python: str) -> str:
    """Return an interpreter's version, such as 3.12.1."""
    return _run([python, "-c", "import platform; print(platform.python_version())"]).strip()


def _virtualenv(peer: Peer, base: str) -> Path:
    folder = CACHE / peer.venv_name
    python = folder / "bin" / "python"
    wanted = "\n".join([_run([base, "-c", "import sys; print(sys.version)"]).strip(), *peer.requirements])
    if not _is_stamped(folder / "stamp", wanted):
        shutil.rmtree(folder, ignore_errors=True)
        _run([base, "-m", "venv", str(folder)])
        others = [requirement for requirement in peer.requirements if requirement != "."]
        if others:
            _run([str(python), "-m", "pip", "install", "--quiet", *others])
        (folder / "stamp").write_text(wanted)
    if "." in peer.requirements:
        _install_checkout(python, folder / "checkout-stamp")
    return python


def _install_checkout(python: Path, stamp: Path) -> None:
    sources = _sources()
    digest = hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(CHECKOUT)}\0".encode() + path.read_bytes())
    if _is_stamped(stamp, digest.hexdigest()):
        return
    copy = CACHE / "source"
    shutil.rmtree(copy, ignore_errors=True)
    for path in sources:
        target = copy / path.relative_to(CHECKOUT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    install = [str(python), "-m", "pip", "install", "--quiet"]
    # The version stays the same from edit to edit: without removing it first pip would keep the old one.
    _run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "cello"])
    _run([*install, f"{copy}[standard]"], CELLO_SPEEDUPS="1")
    stamp.write_text(digest.hexdigest())


def _sources() -> list[Path]:
    listed = _run(["git", "ls-files", "-z", "-co", "--exclude-standard", "--", *_BUILD_INPUTS], cwd=CHECKOUT)
    return [path for name in sorted(set(listed.split("\0"))) if name and (path := CHECKOUT / name).is_file()]


def _is_stamped(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text() == wanted


def _run(command: list[str], *, cwd: Path | None = None, **environment: str) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise InstallError(f"{' '.join(command[:4])}: {_gist(done.stderr or done.stdout)}")
    return done.stdout


def _gist(output: str) -> str:
    """Return the lines of a failed command's output that say what was wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [
        line for line in lines if "error" in line.lower() and not line.startswith(("note:", "error: subprocess"))
    ]
    return " / ".join((telling or lines)[:3])[:400]
