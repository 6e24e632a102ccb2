"""Packages of npm that tests talk to, kept in build/ from one run to the next."""

import shutil
import subprocess
from pathlib import Path

from tests.missing import missing

ROOT = Path(__file__).resolve().parents[1]


def node_modules(name: str, packages: tuple[str, ...]) -> Path:
    """Return a folder `node_modules` with the packages, installed once."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("there is no node and npm")
    folder = ROOT / "build" / name
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != repr(packages):
        words = ("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", *packages)
        result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        if result.returncode != 0:
            missing(f"npm cannot install {', '.join(packages)}: {result.stderr[-300:]}")
        stamp.write_text(repr(packages), encoding="utf-8")
    return folder / "node_modules"


def run_script(script: Path, modules: Path, folder: Path, *arguments: str) -> str:
    """Run a script in `folder`, where it finds the packages, and return what it wrote."""
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(modules, target_is_directory=True)
    shutil.copy(script, folder)
    result = subprocess.run(
        ("node", script.name, *arguments), cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, f"{script.name}: {result.stdout}{result.stderr}"
    return result.stdout
