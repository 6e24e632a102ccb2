"""GraphiQL in a real browser: it runs a query, shows the schema, and runs a subscription."""

import re

import pytest

from tests.browser import SIZES
from tests.browser import browser as browser  # the fixture, for this file too
from tests.graphql import shop
from tests.serve.program import Program, free_port


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with Program("-m", "cello", "run", f"{shop.__file__}:app", "--port", str(free_port()), folder=folder) as program:
        yield program.listening()


def test_the_page_is_for_browsers_and_comes_with_its_code(serve):
    with serve(shop.make_app()) as client:
        page = client.get("/graphql", headers={"Accept": "text/html,*/*;q=0.8"})
        query = client.get("/graphql", params={"query": "{hello}"}, headers={"Accept": "text/html,*/*;q=0.8"})
        urls = re.findall(r"(?:src|href)=\"([^\":]+)\"", page.text)
        answers = [client.get(f"/{url}") for url in urls if "assets" in url]
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert query.json() == {"data": {"hello": "hello world"}}
    assert len(answers) == 5
    assert {answer.status for answer in answers} == {200}


def test_without_the_switch_there_is_no_page(serve):
    with serve(shop.make_app(shop.GraphQLConfig())) as client:
        assert client.get("/graphql", headers={"Accept": "text/html"}).status == 406


@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", SIZES)
def test_it_runs_queries_and_subscriptions_and_shows_the_schema(browser, site, size):
    width, height, is_phone = SIZES[size]
    with browser.page(width, height, is_phone=is_phone) as page:
        page.open(f"{site}/graphql")
        page.until("document.querySelector('.graphiql-query-editor .CodeMirror')")
        write(page, '{hello(name: "browser")}')
        page.click(".graphiql-execute-button")
        assert "hello browser" in page.until(result_with("hello browser"))
        page.screenshot(f"graphiql-{size}")
        write(page, "subscription {count(to: 4)}")
        page.click(".graphiql-execute-button")
        assert page.until(result_with('"count": 3'))
        page.click("button[aria-label='Show Documentation Explorer']")
        assert page.until("document.querySelector('.graphiql-doc-explorer')?.textContent.includes('Query')")
        page.screenshot(f"graphiql-{size}-schema")
        page.check(site)


def write(page, query):
    page.evaluate(f"document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.setValue({query!r})")


def result_with(text):
    shown = "document.querySelector('.result-window')?.textContent"
    return f"({shown} ?? '').includes({text!r}) && {shown}"
