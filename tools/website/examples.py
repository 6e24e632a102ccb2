"""The examples as pages: their README, and for each folder what its files say."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

LANGUAGES = {".py": "python", ".html": "html", ".yml": "yaml"}
"""Kinds of files that are shown; the others are there to be used."""


TITLES = {"rest_api": "REST API", "graphql": "GraphQL", "grpc": "gRPC", "mounted_flask": "A mounted Flask application"}


def write(folder: Path) -> None:
    """Write one page for each example, and their list."""
    folder.mkdir(parents=True)
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/app.py"))
    for name in names:
        (folder / f"{name}.md").write_text(page(EXAMPLES / name), "utf-8")
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    (folder / "index.md").write_text(re.sub(r"\]\((\w+)/[\w./]*\)", r"](\1.md)", listed), "utf-8")


def page(example: Path) -> str:
    """Return the page of one example: its files, `app.py` first."""
    files = sorted(
        (path for path in example.iterdir() if path.suffix in LANGUAGES and path.name != "__init__.py"),
        key=lambda path: (path.name != "app.py", path.suffix != ".py", path.name),
    )
    title = TITLES.get(example.name, example.name.replace("_", " ").capitalize())
    lines = [f"# {title}", "", f"The folder `examples/{example.name}`.", ""]
    for path in files:
        text = path.read_text("utf-8").rstrip()
        fence = "````" if "```" in text else "```"
        lines += [f'{fence}{LANGUAGES[path.suffix]} title="{path.name}"', text, fence, ""]
    return "\n".join(lines)


def link_to_pages(text: str) -> str:
    """Return the text of a page of `docs/` with links to files of the examples leading to their pages instead."""
    return re.sub(r"\]\(\.\./((?:\.\./)*)examples/(\w+)/[\w./]*\)", r"](\1examples/\2.md)", text)
