"""The site as a reader finds it: built without a warning, complete, and fit for every screen."""

import functools
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser import PATIENCE_S, SIZES, Browser, browser
from tests.missing import missing
from tools.website import build, reference
from tools.website.links import Page

__all__ = ["browser"]

pytestmark = pytest.mark.timeout(300)  # the first test builds the site

SCHEMES = ("light", "dark")
LOOKED_AT = (
    *("", "tutorial/", "guide/rate-limit/", "reference/requests/", "internals/architecture/"),
    *("performance/", "comparison/"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; that it builds is a test of its own."""
    if why := build.missing_tool():
        missing(why)
    output = tmp_path_factory.mktemp("website") / "site"
    build.build(output)
    return output


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The address of the site on a server of its own."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_builds_without_a_warning_and_every_link_leads_somewhere(site: Path) -> None:
    assert (site / "index.html").stat().st_size > 0


def test_every_page_that_was_written_is_part_of_it(site: Path) -> None:
    pages = [page.relative_to(build.DOCS).with_suffix("") for page in build.DOCS.rglob("*.md")]
    missing = [
        page for page in pages if not (site / (page.parent if page.name == "index" else page) / "index.html").exists()
    ]
    assert missing == []


@pytest.mark.parametrize("module", ["cello", *reference.toolkits()])
def test_every_public_name_stands_in_the_reference(site: Path, module: str) -> None:
    anchors: set[str] = set()
    for page in (site / "reference").rglob("*.html"):
        anchors |= Page(page.read_text("utf-8")).anchors
    guards = set(reference.public("cello.guards")) if module == "cello" else set()  # they are explained over there
    missing = [name for name in reference.public(module) if name not in guards and f"{module}.{name}" not in anchors]
    assert missing == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", LOOKED_AT, ids=lambda path: path.strip("/").replace("/", "-") or "home")
def test_a_page_fits_the_screen_and_asks_nobody_else(
    served: str, browser: Browser, path: str, size: str, scheme: str
) -> None:
    width, height, is_phone = SIZES[size]
    with browser.page(width, height, is_phone=is_phone) as page:
        page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.open(f"{served}/{path}")
        page.until("document.body.hasAttribute('data-md-color-scheme')")
        page.screenshot(f"docs-{path.strip('/').replace('/', '-') or 'home'}-{size}-{scheme}")
        page.check(served)
        red, green, blue = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number)"
        )
        assert (red + green + blue > 380) == (scheme == "light")


def test_the_search_finds_the_page_that_has_a_word(served: str, browser: Browser) -> None:
    within = "[...document.querySelectorAll('div')].filter(one => one.shadowRoot).map(one => one.shadowRoot)"
    found = f"{within}.some(root => root.querySelector('a[href*=\"guide/circuit-breaker\"]'))"
    with browser.page(1280, 900) as page:
        page.open(f"{served}/")
        page.click("button.md-search__button")
        eventually(page, f"{within}.some(root => root.activeElement?.tagName == 'INPUT')")
        assert not page.evaluate(found)
        page.command("Input.insertText", text="half_open_target")
        eventually(page, found)


def eventually(page: Any, condition: str) -> None:
    """Wait for what happens in a shadow tree, of which the page is not told."""
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never came true: {condition}"
        time.sleep(0.05)
