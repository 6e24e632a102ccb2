"""The documentation says nothing that does not run: every python block of a page, in order, in one namespace.

A page is a program: blocks may build on those before, and assert what the text claims. What is not to be run is not
marked `python`.
"""

import contextlib
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from tests.database.servers import reachable
from tests.messaging.servers import rabbitmq_server
from tests.messaging.streams import kafka_for_guide, sqs_for_guide
from tools.website import reference

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


# Pages whose examples need a server: where it comes from, and what the page says in its place.
SERVERS = {
    "guide/kafka.md": (kafka_for_guide, "localhost:9092"),
    "guide/rabbitmq.md": (rabbitmq_server, "amqp://guest:guest@127.0.0.1:5672"),
    "guide/redis.md": (partial(reachable, "redis"), "redis://127.0.0.1:6379"),
    "guide/sqs.md": (sqs_for_guide, "SqsConfig.local("),
}


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text("utf-8"))], ids=name_of)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text("utf-8")
    with contextlib.ExitStack() as stack:
        if name_of(page) in SERVERS:
            server, said = SERVERS[name_of(page)]
            text = text.replace(said, stack.enter_context(server()))
        run_blocks(page, text, tmp_path, monkeypatch)


def run_blocks(page: Path, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks of a page one after the other, in an empty folder."""
    module = ModuleType("page")  # a real one, so that annotations in its functions resolve
    monkeypatch.setitem(sys.modules, "page", module)
    monkeypatch.chdir(folder)
    for found in BLOCK.finditer(text):
        above = text.count("\n", 0, found.start(1))
        exec(compile("\n" * above + found.group(1), str(page), "exec"), vars(module))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_linked_from_a_page_exists(page: Path) -> None:
    targets = LINK.findall(page.read_text("utf-8"))
    assert [target for target in targets if not is_there(page.parent / target)] == []


def is_there(target: Path) -> bool:
    """Whether a page or picture is written, or made for the site from docstrings."""
    made = target.parent.name == "reference" and target.stem in reference.pages()
    return made or target.exists()


def test_every_switch_of_the_guide_has_an_example() -> None:
    silent = [
        name_of(page) for page in PAGES if page.parent.name == "guide" and not BLOCK.search(page.read_text("utf-8"))
    ]
    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_and_bench_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:tests|bench)/[\w/.]+)(?:::(\w+))?`", page.read_text("utf-8"))
    root = DOCS.parent
    missing = [path for path, _ in named if not (root / path).exists()]
    missing += [f"{path}::{test}" for path, test in named if test and f"def {test}(" not in (root / path).read_text()]
    assert missing == []
