"""The debug page in a browser: readable, and harmless whatever is in it."""

import pytest

from tests.browser import SIZES
from tests.browser import browser as browser  # the fixture, for this file too
from tests.serve.program import Program, free_port

PROGRAM = """
from cello import App

app = App()


@app.get("/{name}")
def fail(request):
    markup = "<img src=x onerror='document.title=1'><script>document.title = 2</script>"
    raise ValueError(markup + request.params["name"])


app.run()
"""
HOSTILE = "%3Cscript%3Edocument.title=3%3C%2Fscript%3E?q=<script>document.title=4</script>"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", SIZES)
def test_the_page_shows_the_error_and_runs_nothing_of_it(browser, tmp_path, size):
    (tmp_path / "app.py").write_text(PROGRAM, encoding="utf-8")
    width, height, is_phone = SIZES[size]
    with (
        Program("app.py", "--debug", "--port", str(free_port()), folder=tmp_path) as program,
        browser.page(width, height, is_phone=is_phone) as page,
    ):
        site = program.listening()
        page.open(f"{site}/{HOSTILE}")
        assert page.evaluate("document.title").startswith("ValueError: <img")
        assert page.evaluate("document.querySelector('.hit').textContent").strip().endswith('request.params["name"])')
        assert page.evaluate("document.querySelectorAll('details[open]').length") == 1
        assert page.evaluate("document.querySelectorAll('script, img, body a, body link').length") == 0
        page.screenshot(f"debug-{size}")
        complaints = [text for text in page.complaints if "500 (Internal Server Error)" not in text]
        assert complaints == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
