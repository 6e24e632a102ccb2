"""The pages: what is sent, and what a browser makes of it."""

import gzip
import hashlib
import json
import re
from urllib.parse import urljoin

import pytest

from cello import App
from cello.features.openapi.pages import OWN
from cello.pages.assets import Assets
from cello.pages.page import relative
from tests.browser import SIZES
from tests.browser import browser as browser  # the fixture, for this file too
from tests.features.openapi import shop
from tests.serve.program import ROOT, Program, free_port


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_has_a_policy_with_a_nonce_of_its_own_and_no_inline_script(serve, path):
    app = App()
    app.enable_openapi(title="<b>&", servers=["https://api.example/v1", "/v2", "https://{region}.example"])
    with serve(app) as client:
        first, second = client.get(path), client.get(path)
    policy = first.headers["content-security-policy"]
    [nonce] = set(re.findall(r"'nonce-([^']+)'", policy))
    assert nonce not in second.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "'unsafe" not in policy
    assert "connect-src 'self' https://api.example;" in policy
    assert "<title>&lt;b&gt;&amp;</title>" in first.text
    tags = re.findall(r"<(?:script|style|link rel=\"stylesheet\")[^>]*>", first.text)
    assert tags
    assert all(f'nonce="{nonce}"' in tag for tag in tags)
    assert all(content == "" for content in re.findall(r"<script[^>]*>(.*?)</script>", first.text))
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", first.text) == []
    assert first.headers["cache-control"] == "no-store"


def test_everything_a_page_refers_to_is_there(serve):
    app = App()
    app.enable_openapi(path="/internal/api.json", docs_path="/internal/pages/docs", redoc_path=None)
    with serve(app) as client:
        page = client.get("/internal/pages/docs").text
        found = re.findall(r"(?:src|href|data-document)=\"([^\":]+)\"", page)
        assert "../api.json" in found
        for url in found:
            assert client.get(urljoin("/internal/pages/docs", url)).status == 200
        assert client.get("/redoc").status == 404
        assert client.get("/internal/pages/docs/assets/other.js").status == 404


@pytest.mark.parametrize(("accepts", "coding"), [("gzip, br", "gzip"), ("*", "gzip"), ("br", None), ("gzip;q=0", None)])
def test_assets_are_sent_compressed_to_who_takes_it(serve, accepts, coding):
    app = App()
    app.enable_openapi()
    for name in ("swagger-ui.css", "swagger-start.js"):
        with serve(app) as client:
            answer = client.get(f"/docs/assets/{name}", headers={"Accept-Encoding": accepts})
            assert answer.headers.get("content-encoding") == coding
            assert answer.headers["vary"] == "Accept-Encoding"
            assert "immutable" in answer.headers["cache-control"]
            again = client.get(
                f"/docs/assets/{name}", headers={"Accept-Encoding": accepts, "If-None-Match": answer.headers["etag"]}
            )
            assert again.status == 304


def test_the_assets_are_what_the_manifest_says_and_come_with_their_licences():
    folder = ROOT / "cello" / "features" / "openapi" / "assets"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name, entry in manifest.items():
        content = gzip.decompress((folder / f"{name}.gz").read_bytes())
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert b"sourceMappingURL" not in content[-200:]
        licence = (folder / f"{entry['package']}.LICENSE.txt").read_text(encoding="utf-8")
        assert licence.startswith(f"{entry['package']} {entry['version']}\n")
        assert "License" in licence
    assert (
        Assets("cello.features.openapi", OWN).url("swagger-ui.css")
        == f"swagger-ui.css?v={manifest['swagger-ui.css']['sha256'][:16]}"
    )


LINKS = {
    ("/openapi.json", "/docs"): "openapi.json",
    ("/docs/assets", "/docs"): "docs/assets",
    ("/openapi.json", "/a/b/docs"): "../../openapi.json",
    ("/a/openapi.json", "/a/docs"): "openapi.json",
    ("/openapi.json", "/"): "openapi.json",
}


@pytest.mark.parametrize(("paths", "link"), LINKS.items(), ids=map(str, LINKS))
def test_pages_refer_to_paths_relatively(paths, link):
    assert relative(*paths) == link


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    with Program("-m", "cello", "run", f"{shop.__file__}:app", "--port", str(port), folder=folder) as program:
        yield program.listening()


BODY = ".live-responses-table .highlight-code"
ANSWER = ".live-responses-table .response .response-col_status"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", SIZES)
def test_swagger_ui_shows_operations_and_tries_them_out(browser, site, size):
    width, height, is_phone = SIZES[size]
    with browser.page(width, height, is_phone=is_phone) as page:
        page.open(f"{site}/docs")
        assert page.until("document.querySelector('.info .title')?.textContent").startswith("Shop")
        assert page.until("document.querySelectorAll('.opblock').length") == 17
        page.screenshot(f"swagger-{size}")

        post = "#operations-shop-add_item"
        page.click(f"{post} .opblock-summary-control")
        page.click(f"{post} .try-out__btn")
        page.until(f"document.querySelector('{post} textarea.body-param__text')")
        page.fill(f"{post} textarea.body-param__text", '{"name": "Bow", "price": "12.50", "tags": ["new"]}')
        page.click(f"{post} .execute")
        assert page.until(f"document.querySelector('{post} {ANSWER}')?.textContent").startswith("201")
        assert '"price": "12.50"' in page.evaluate(
            f"document.querySelector('{post} .live-responses-table .highlight-code').textContent"
        )

        get = "#operations-shop-list_items"
        page.click(f"{get} .opblock-summary-control")
        page.click(f"{get} .try-out__btn")
        page.until(f"document.querySelector('{get} tr[data-param-name=q] input')")
        page.fill(f"{get} tr[data-param-name=q] input", "Bow")
        page.click(f"{get} .execute")
        assert page.until(f"document.querySelector('{get} {ANSWER}')?.textContent").startswith("200")
        assert '"name": "Bow"' in page.evaluate(
            f"document.querySelector('{get} .live-responses-table .highlight-code').textContent"
        )
        page.evaluate(f"document.querySelector('{get} .live-responses-table').scrollIntoView()")
        page.screenshot(f"swagger-{size}-tried")
        page.check(site)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", SIZES)
def test_redoc_shows_and_finds_operations(browser, site, size):
    width, height, is_phone = SIZES[size]
    with browser.page(width, height, is_phone=is_phone) as page:
        page.open(f"{site}/redoc")
        assert page.until("document.querySelector('#page h1')?.textContent").startswith("Shop")
        assert page.until("document.querySelectorAll('[data-section-id^=\"tag/shop/operation\"]').length") == 12
        page.screenshot(f"redoc-{size}")
        response = "[data-section-id='tag/shop/operation/add_item'] button"
        page.click(response)
        page.until(f"document.querySelector(\"{response}\").getAttribute('aria-expanded') !== 'false'")
        page.fill(".search-input", "Search the items")
        page.until("document.querySelector('[data-role=\"search:results\"]')?.textContent.includes('Search')")
        page.screenshot(f"redoc-{size}-found")
        page.check(site)


def test_the_tool_that_refreshes_the_assets_knows_every_one():
    tool = (ROOT / "tools" / "vendor_pages.py").read_text(encoding="utf-8")
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "redoc.standalone.js"):
        assert name in tool
