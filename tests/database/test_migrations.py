"""The recipe of the guide works on every kind of database."""

import asyncio
import re
import sys
import uuid
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit, urlunsplit

import pytest

from cello.database import Database

pytest.importorskip("alembic")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "migrations.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def test_alembic_works_on_the_applications_database(
    url: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"cello_{uuid.uuid4().hex[:12]}"
    own = url if kind == "sqlite" else urlunsplit(urlsplit(url)._replace(path=f"/{name}"))

    async def say(sql: str) -> None:
        async with await Database.connect(url) as db:
            await db.execute(sql)

    async def ask(sql: str) -> object:
        async with await Database.connect(own) as db:
            return await db.fetch_val(sql)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", own)
    page = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)
    if kind != "sqlite":
        asyncio.run(say(f"CREATE DATABASE {name}"))
    try:
        for block in BLOCK.findall(PAGE.read_text("utf-8")):
            exec(block, vars(page))  # asserts itself that the application finds its table
        assert asyncio.run(ask("SELECT count(*) FROM alembic_version")) == 0  # taken back at the end
    finally:
        if kind != "sqlite":
            asyncio.run(say(f"DROP DATABASE {name}"))
