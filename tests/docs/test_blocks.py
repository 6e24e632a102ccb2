"""No block of code escapes: every language has its tests, and what is shown as output is what comes out."""

import ast
import asyncio
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.docs.blocks import ROOT, Block, blocks, every_block
from tests.website.test_followed import FOLLOWED, shows

CHECKED_BY = {
    "python": "tests/test_docs.py and tests/test_readme.py run it; with a title, tests/website/test_followed.py",
    "console": "tests/website/test_followed.py types it",
    "sh": "tests/docs/test_commands.py types it, or says why not",
    "ini": "tests/docs/test_deployment.py, by systemd-analyze",
    "nginx": "tests/docs/test_deployment.py, by nginx",
    "dockerfile": "tests/docs/test_deployment.py, instruction by instruction",
    "yaml": "tests/docs/test_deployment.py, against the application of the page",
    "py": "here: it is compiled, its imports of cello are looked up, and it runs with stand-ins for what is not here",
    "text": "here: it is output that comes out, or stands in DRAWINGS",
}
"""By language: who looks at its blocks."""

DRAWINGS = {
    ("docs/guide/circuit-breaker.md", "closed"): "a drawing",
    ("docs/guide/deployment.md", "supervisor"): "a drawing",
    ("docs/internals/speedups.md", "socket"): "a drawing",
    ("docs/guide/shared-state.md", "ARENA"): "a sample of servers at work; tests/test_cli.py has the command's output",
}
"""By page and first word: text that nothing prints, with the reason why it is not checked."""


def test_every_block_is_in_a_language_that_is_checked() -> None:
    assert [str(block) for block in every_block() if block.language not in CHECKED_BY] == []


def test_files_and_sessions_stand_only_on_pages_that_are_followed() -> None:
    files = [block for block in every_block() if block.language == "console" or block.info.startswith("python ")]
    assert {block.page for block in files} == {f"docs/{page}" for page in FOLLOWED}


def test_python_is_in_blocks_only_where_it_is_run() -> None:
    elsewhere = {block.page for block in every_block("python") if not block.page.startswith("docs/")}
    assert elsewhere == {"README.md"}


def key(block: Block) -> tuple[str, str]:
    return block.page, block.text.split()[0]


def program(block: Block, folder: Path) -> str:
    """Run the Python of a page above a block; return all that it writes."""
    above = [one.text for one in blocks(ROOT / block.page) if one.info == "python" and one.line < block.line]
    (folder / "page.py").write_text("\n\n".join(above), "utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def check_findings(block: Block, folder: Path) -> None:
    said = program(block, folder)
    assert [line for line in block.text.splitlines() if not shows(said, line)] == []


def check_log(block: Block, folder: Path) -> None:
    """A line of the log: other times, addresses and ids, the same fields."""
    pattern = "".join(
        r"\w+" if part.endswith("…") else r"[\d.:-]+" if part[:1].isdigit() else re.escape(part)
        for part in re.split(r"((?<=[ =])[\w.:-]*\d[\w.:-]*…?|^[\d-]+)", block.text.strip())
    )
    said = program(block, folder)
    assert re.search(pattern, said), f"{pattern}\n{said}"


OUTPUT: dict[tuple[str, str], Callable[[Block, Path], None]] = {
    ("docs/guide/check.md", "error"): check_findings,
    ("docs/guide/logging.md", "2026-11-05"): check_log,
}
"""By page and first word: how text is compared with what the program above it writes."""


@pytest.mark.parametrize("block", every_block("text"), ids=str)
def test_text_is_what_comes_out(block: Block, tmp_path: Path) -> None:
    if key(block) not in DRAWINGS:
        OUTPUT[key(block)](block, tmp_path)


def test_every_reason_is_of_a_block_that_is_there() -> None:
    assert set(DRAWINGS) | set(OUTPUT) == {key(block) for block in every_block("text")}


@pytest.mark.parametrize("block", every_block("py"), ids=str)
def test_what_it_imports_from_cello_is_there(block: Block) -> None:
    for statement in ast.walk(ast.parse(block.text)):
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("cello"):
            module = importlib.import_module(statement.module or "")
            assert [name.name for name in statement.names if not hasattr(module, name.name)] == []


def test_the_steps_of_a_saga_run_as_the_page_has_it_on_temporal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporal needs its server: stand-ins call activities at once. The steps, and how they are called, are real."""
    page = ROOT / "docs/guide/sagas.md"
    (block,) = every_block("py")
    assert block.page == "docs/guide/sagas.md"
    monkeypatch.chdir(tmp_path)
    saga: dict[str, Any] = {"__name__": "page"}
    first = next(one for one in blocks(page) if one.info == "python")
    exec(compile(first.text, str(first), "exec"), saga)

    def as_it_is(*names: object, **options: object) -> Any:
        return names[0] if names else lambda function: function

    class Passed:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *exc: object) -> None:
            pass

    done: list[tuple[str, bool]] = []

    async def execute_activity(name: str, *, args: list[Any], **options: object) -> Any:
        done.append((args[0], args[1]))
        return await made["run_step"](*args)

    info = SimpleNamespace(workflow_id="7", attempt=1)
    workflow = SimpleNamespace(
        defn=as_it_is,
        run=as_it_is,
        execute_activity=execute_activity,
        unsafe=SimpleNamespace(imports_passed_through=Passed),
    )
    stand_ins = {
        "temporalio": {"activity": SimpleNamespace(defn=as_it_is, info=lambda: info), "workflow": workflow},
        "temporalio.common": {"RetryPolicy": lambda **said: said},
        "shop": {},
        "shop.sagas": {"OrderSaga": saga["OrderSaga"]},
    }
    for name, members in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    made: dict[str, Any] = {"__name__": "temporal"}
    exec(compile(block.text, str(block), "exec"), made)
    order, left = made["OrderWorkflow"](), saga["stock"]["tea"]
    context = asyncio.run(order.run({"item": "tea", "card": "full"}))
    assert context["receipt"] in saga["charged"]
    assert done == [("reserve", False), ("charge", False)]
    with pytest.raises(saga["SagaError"]):
        asyncio.run(order.run({"item": "tea", "card": "empty"}))
    assert done[2:] == [("reserve", False), ("charge", False), ("charge", True), ("reserve", True)]
    assert saga["stock"]["tea"] == left - 1
