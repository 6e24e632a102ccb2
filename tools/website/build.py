"""One build of the site: gather the pages in a folder, add what is made, run Zensical, check the links."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.website import examples, links, navigation, performance, reference

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTPUT = ROOT / "build" / "site"
WIDE = ("comparison.md",)
"""Pages whose tables need the whole width."""

COLOURS = re.compile(r"\x1b\[[\d;]*m")


class Faulty(Exception):
    """The site could not be built, or has something to complain of: what, one thing a line."""


def missing_tool() -> str | None:
    """Return what to install before a site can be built, or None."""
    missing = [name for name in ("zensical", "mkdocstrings") if importlib.util.find_spec(name) is None]
    return f"no {' and '.join(missing)}: pip install 'cello[docs]'" if missing else None


def build(output: Path) -> None:
    """Build the site.

    Args:
        output: The folder that is replaced by the site. Beside it, `NAME.work` holds the pages it was made from.

    Raises:
        Faulty: A tool is missing, Zensical warned of something, or a link leads nowhere.
    """
    if missing := missing_tool():
        raise Faulty(missing)
    work = output.resolve().with_name(f"{output.name}.work")
    for folder in (work, output):
        shutil.rmtree(folder, ignore_errors=True)
    gather(work / "pages")
    reference.write_sources(work / "source")
    configure(work)
    run_zensical(work)
    shutil.move(work / "site", output)
    if broken := links.broken(output):
        raise Faulty("\n".join(["links that lead nowhere:", *broken]))


def gather(pages: Path) -> None:
    """Bring together in one folder what people wrote and what is made of the code and of the results."""
    shutil.copytree(DOCS, pages)
    shutil.copy(ROOT / "CHANGELOG.md", pages / "changelog.md")
    reference.write(pages / "reference")
    examples.write(pages / "examples")
    performance.write(pages)
    navigation.fill_contents(pages)
    for written in DOCS.rglob("*.md"):
        page = pages / written.relative_to(DOCS)
        page.write_text(examples.link_to_pages(page.read_text("utf-8")), "utf-8")
    for name in WIDE:
        text = (pages / name).read_text("utf-8")
        (pages / name).write_text(f"---\nhide: [navigation, toc]\n---\n{text}", "utf-8")


def configure(work: Path) -> None:
    """Write the settings of this build: those of the project, and where things are. JSON is YAML."""
    made = {"docs_dir": "pages", "site_dir": "site", "nav": navigation.tree(work / "pages")}
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in made.items()]
    settings = (ROOT / "mkdocs.yml").read_text("utf-8")
    (work / "mkdocs.yml").write_text("\n".join([settings, *lines, ""]), "utf-8")


def run_zensical(work: Path) -> None:
    """Turn the pages into HTML."""
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=300)
    said = COLOURS.sub("", f"{done.stdout.strip()}\n{done.stderr.strip()}".partition("\nTraceback")[0])
    # What mkdocstrings complains of is written by griffe, and not counted among the warnings that `--strict` is about.
    if done.returncode or "griffe:" in said or "Warning:" in said:
        raise Faulty(said)
