"""A real browser shows a page made of a template and static files, under the strictest policy with a nonce."""

import gzip

import pytest

from tests.browser import browser as browser  # the fixture, for this file too
from tests.serve.program import Program

pytest.importorskip("jinja2", reason="the extra 'templates' is not installed")

APP = """
from dataclasses import replace
from cello import App, CSP, SecurityHeadersConfig, StaticFilesConfig

app = App()
app.enable_templates()
app.enable_static_files(StaticFilesConfig("static", directory_listing=True))
policy = CSP().default_src(["self"]).script_src(["self", CSP.NONCE]).object_src([]).base_uri([])
app.enable_security_headers(replace(SecurityHeadersConfig.secure(), csp=policy))

@app.get("/")
def home(request):
    return app.render("home.html", {"name": request.query.get("name", "")})
"""

HOME = """<!doctype html><title>home</title>
<link rel="stylesheet" href="{{ url_for('static', path='style.css') }}">
<h1>Hello {{ name }}</h1>
<script nonce="{{ csp_nonce }}">window.ours = true</script>
<script src="{{ url_for('static', path='app.js') }}"></script>
"""

NAME = "<script>window.injected = true</script>"


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The page, opened."""
    folder = tmp_path_factory.mktemp("assets")
    for name in ("templates", "static"):
        (folder / name).mkdir()
    (folder / "site_of_assets.py").write_text(APP)
    (folder / "templates" / "home.html").write_text(HOME)
    (folder / "static" / "style.css").write_text("h1 { color: rgb(1, 2, 3) }")
    (folder / "static" / "app.js").write_text("window.loaded = 'as it is'")
    (folder / "static" / "app.js.gz").write_bytes(gzip.compress(b"window.loaded = 'compressed beforehand'"))
    (folder / "static" / "page.html").write_text(HOME.replace("{{", "").replace("}}", ""))
    (folder / "static" / "<img src=x onerror=injected=1>.txt").write_text("text")
    command = ["-m", "cello", "run", "site_of_assets.py", "--port", "0", "--env", "production", "--workers", "1"]
    with Program(*command, folder=folder) as program, browser.page(800, 600) as page:
        page.site = program.listening()
        page.open(f"{page.site}/?name={NAME}")
        yield page


def test_the_template_escapes_and_its_nonce_lets_its_script_run(page):
    assert page.evaluate("document.querySelector('h1').textContent") == f"Hello {NAME}"
    assert page.evaluate("[window.ours, window.injected]") == [True, None]


def test_files_load_and_the_compressed_sibling_is_taken(page):
    assert page.evaluate("window.loaded") == "compressed beforehand"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(1, 2, 3)"


def test_a_listing_runs_nothing_and_its_links_work(page):
    page.open(f"{page.site}/static/")
    names = page.evaluate("[...document.querySelectorAll('a')].map(link => link.textContent)")
    assert names == ["<img src=x onerror=injected=1>.txt", "app.js", "app.js.gz", "page.html", "style.css"]
    assert page.evaluate("window.injected") is None
    assert page.evaluate("fetch(document.querySelector('a').href).then(() => 0, error => error.name)") == "TypeError"
    page.open(page.evaluate("document.querySelector('a').href"))
    assert page.evaluate("document.body.textContent") == "text"
