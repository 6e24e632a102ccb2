"""The blocks of code of the pages: where each stands, and in which language it is.

A fenced block says its language; one that is indented by four spaces, outside of lists, is shell.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md", "bench/README.md")),
)


class Block(NamedTuple):
    """One block.

    Attributes:
        page: The path of its page, from the root of the project.
        line: The number of its first line of text.
        info: What stands behind the fence, such as `python title="app.py"`.
        text: What is in it, without the indentation of an indented block.
    """

    page: str
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        """The first word behind the fence."""
        return self.info.partition(" ")[0]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Give the blocks of a page, in order."""
    name = page.relative_to(ROOT).as_posix()
    lines = page.read_text("utf-8").splitlines()
    number, in_list, above = 0, False, ""
    while number < len(lines):
        line = lines[number]
        if fence := re.fullmatch(r"```(.*)", line):
            begin = number + 1
            number = next(end for end in range(begin, len(lines)) if lines[end] == "```")
            yield Block(name, begin + 1, fence[1].strip(), "\n".join(lines[begin:number]) + "\n")
        elif line.startswith("    ") and not above and not in_list:
            begin = number
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number]):
                number += 1
            yield Block(name, begin + 1, "sh", "\n".join(text[4:] for text in lines[begin:number]).rstrip() + "\n")
            number -= 1
            line = ""
        elif line and not line.startswith(" "):
            in_list = re.match(r"(-|\*|\d+\.) ", line) is not None
        above = line
        number += 1


def heads() -> list[Block]:
    """Return what the heads of the examples say one should type: their lines that begin with one of these programs."""
    found = []
    for path in sorted((ROOT / "examples").rglob("*.py")):
        head = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        if typed := re.findall(r"^    ((?:[A-Z_]+=\S+ )*(?:cello|curl|make|pip|python) .*)$", head, re.MULTILINE):
            found.append(Block(path.relative_to(ROOT).as_posix(), 1, "sh", "\n".join(typed) + "\n"))
    return found


def every_block(*languages: str) -> list[Block]:
    """Return all blocks in one of these languages; all of all, if none is named."""
    found = [block for page in PAGES for block in blocks(page)]
    return [block for block in found if not languages or block.language in languages]
