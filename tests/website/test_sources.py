"""What the site is made of, as far as that can be seen without building it."""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cello
from cello import App
from tools import comparison
from tools.website import build, examples, links, navigation, reference


def listed(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from listed(value)


def test_every_page_stands_in_the_navigation_once() -> None:
    pages = sorted(page.relative_to(build.DOCS).as_posix() for page in build.DOCS.rglob("*.md"))
    assert sorted(listed(navigation.tree(build.DOCS))) == pages


def test_a_page_that_the_navigation_does_not_know_is_added_at_the_end_of_the_guide(tmp_path: Path) -> None:
    for name in ("index", "tutorial/index", "guide/cors", "guide/brand-new"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.md").write_text(f"# About `{name}`\n")
    guide = next(entry["Guide"] for entry in navigation.tree(tmp_path) if "Guide" in entry)
    assert guide == [
        {"Security": [{"About guide/cors": "guide/cors.md"}]},
        {"More": [{"About guide/brand-new": "guide/brand-new.md"}]},
    ]


def explained(module: str) -> Iterator[tuple[str, Any]]:
    """Give every public name of a module, and the methods and properties of the classes among them."""
    for name in reference.public(module):
        value = getattr(importlib.import_module(module), name)
        yield name, value
        if not inspect.isclass(value):
            continue
        ours = [kind for kind in value.__mro__ if kind.__module__.partition(".")[0] == "cello"]
        for member, inner in {member: inner for kind in reversed(ours) for member, inner in vars(kind).items()}.items():
            if not member.startswith("_") and (callable(inner) or isinstance(inner, property | classmethod)):
                yield f"{name}.{member}", inner


@pytest.mark.parametrize("module", ["cello", *reference.toolkits()])
def test_every_public_name_has_a_docstring(module: str) -> None:
    silent = []
    for name, value in explained(module):
        documentation = (getattr(value, "__doc__", None) or "").strip()
        # A dataclass without one of its own gets its signature for a docstring.
        if not documentation or (documentation.startswith(f"{name}(") and "\n" not in documentation):
            silent.append(name)
    assert silent == []


def test_no_name_stands_on_two_pages_of_the_reference() -> None:
    names = [name for _, on_page in reference.core_pages().values() for name in on_page]
    assert len(names) == len(set(names))
    assert set(names) | set(reference.public("cello.guards")) >= set(reference.public("cello"))


def test_what_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/index.html").write_text('<h2 id="here">Here</h2><a href="../gone/">gone</a>')
    (tmp_path / "index.html").write_text(
        '<a href="there/#here">fine</a><a href="there/#not">no</a><img src="none.svg"><a href="http://old.example">old</a>'
    )
    assert links.broken(tmp_path) == [
        "index.html: there/#not (no such anchor)",
        "index.html: none.svg",
        "index.html: http://old.example (not https)",
        "there/index.html: ../gone/",
    ]


PROJECTS = {
    "Flask": ("flask.palletsprojects.com",),
    "FastAPI": ("fastapi.tiangolo.com",),
    "Starlette": ("starlette.dev", "github.com"),
    "Falcon": ("falcon.readthedocs.io",),
    "Litestar": ("docs.litestar.dev",),
    "Sanic": ("sanic.dev",),
    "BlackSheep": ("www.neoteroi.dev", "github.com"),
    "Robyn": ("robyn.tech",),
    "cello-framework": ("github.com",),
}


def test_every_cell_of_the_comparison_is_linked_to_the_documentation_it_was_taken_from() -> None:
    page = (build.DOCS / "comparison.md").read_text("utf-8")
    heads, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"
    ]
    assert heads == ["", "cello", *PROJECTS]
    assert len(rows) > 12
    for name, ours, *cells in rows:
        assert (build.DOCS / re.fullmatch(r"\[.+\]\((.+)\)", ours)[1]).exists(), name
        for project, cell in zip(PROJECTS, cells, strict=True):
            target = re.fullmatch(r"\[.+\]\(https://([^/]+)/\S*\)", cell)
            assert cell == "·" or (target and target[1] in PROJECTS[project]), f"{name}, {project}: {cell}"


def test_every_cell_of_the_comparison_has_something_to_be_checked_by() -> None:
    said = {
        (name, project)
        for name, cells in comparison.rows((build.DOCS / "comparison.md").read_text("utf-8")).items()
        for project, cell in cells.items()
        if project != "cello" and cell != "·"
    }
    assert said == {(name, project) for name, proofs in comparison.EVIDENCE.items() for project in proofs}


ENDINGS = {
    "what it costs": r"(?i)\bcosts?\b",
    "how it fails": r"(?i)\bfail|\bgone\b|refused|\berror\b",
    "what it needs": r"\*\*Needs\*\*|pip install|needs nothing",
}
OVERVIEWS = (
    "index",
    "deployment",
    "migrations",
    "tuning",
    "limits-and-timeouts",
    "check",
    "trusted-proxies",
    "cqrs",
    "metrics",
    "messaging",
)
"""Pages that are about no one switch, or stand on one whose page says this."""


@pytest.mark.parametrize("page", sorted((build.DOCS / "guide").glob("*.md")), ids=lambda page: page.stem)
@pytest.mark.parametrize("what", ENDINGS)
def test_every_page_of_the_guide_says(page: Path, what: str) -> None:
    assert page.stem in OVERVIEWS or re.search(ENDINGS[what], page.read_text("utf-8"))


def test_every_switch_has_a_page_of_the_guide() -> None:
    pages = "".join(page.read_text("utf-8") for page in (build.DOCS / "guide").glob("*.md"))
    switches = [name for name in dir(App) if name.startswith(("enable_", "set_"))]
    assert len(switches) > 25
    assert [name for name in switches if f"`{name}" not in pages and f".{name}(" not in pages] == []


def test_every_example_becomes_a_page_that_shows_its_files(tmp_path: Path) -> None:
    examples.write(tmp_path / "examples")
    for app in examples.EXAMPLES.glob("*/app.py"):
        page = (tmp_path / "examples" / f"{app.parent.name}.md").read_text("utf-8")
        assert app.read_text("utf-8").rstrip() in page
        assert f"]({app.parent.name}.md)" in (tmp_path / "examples" / "index.md").read_text("utf-8")


def settings() -> list[str]:
    """Return the names of the settings classes that `cello` exports."""
    return [
        name for name in cello.__all__ if name.endswith("Config") and dataclasses.is_dataclass(getattr(cello, name))
    ]


@pytest.mark.parametrize("name", settings())
def test_every_field_of_a_settings_class_stands_on_its_page_of_the_guide(name: str) -> None:
    pages = [page.read_text("utf-8") for page in (build.DOCS / "guide").glob("*.md")]
    about = "".join(text for text in pages if name in text)
    fields = [field.name for field in dataclasses.fields(getattr(cello, name)) if field.init]
    assert [field for field in fields if field not in about] == []


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("[alerts](../../examples/observability/alerts.yml)", "[alerts](../examples/observability.md)"),
        ("[hello](../examples/hello/app.py)", "[hello](examples/hello.md)"),
        ("[other](../guide/cors.md)", "[other](../guide/cors.md)"),
    ],
)
def test_a_link_to_a_file_of_an_example_leads_to_its_page(said: str, meant: str) -> None:
    assert examples.link_to_pages(said) == meant
