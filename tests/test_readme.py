"""The README says nothing that does not run."""

import re
from pathlib import Path

import pytest

from cello import App
from cello.testing import TestClient

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OWN_SERVER, WSGI, ASGI = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def make_app(source: str) -> App:
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(source, "README.md", "exec"), names)
    app = names["app"]
    assert isinstance(app, App)
    return app


def test_the_two_commands_come_first():
    title, _, first, second, *_ = README.splitlines()
    assert title == "# cello"
    assert first.startswith("    make demo")
    assert second.startswith("    make test")


@pytest.mark.parametrize("via", ["native", "wsgi", "asgi"])
def test_the_example_of_the_own_server_works_everywhere(via):
    with TestClient(make_app(OWN_SERVER), gateway=via) as client:
        assert client.get("/books/1").status == 404
        assert client.put("/books/1", json={"title": "Suites", "year": 1720}).status == 201
        assert client.get("/books/1").json() == {"title": "Suites", "year": 1720}
        assert client.put("/books/1", json={"title": "Suites", "year": "long ago"}).status == 422


def test_the_example_under_wsgi_works():
    with TestClient(make_app(WSGI), gateway="wsgi") as client:
        assert client.post("/files", files={"a": ("a.txt", b"12345")}).json() == {"a": 5}
        assert client.get("/files/numbers.csv").text.startswith("0\n1\n2\n")
        assert client.get("/", follow_redirects=False).status == 302


def test_the_example_under_asgi_works():
    with TestClient(make_app(ASGI), gateway="asgi") as client:
        assert client.get("/sleep/0.01").json()["slept"] >= 0.01
        assert client.get("/missing").json() == {"nothing": "/missing"}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_file_linked_from_the_readme_exists(target):
    assert (ROOT / target).exists()


def test_every_switch_that_the_readme_names_is_there():
    named = set(re.findall(r"`((?:enable|set|add)_\w+)`", README))
    assert len(named) > 20
    assert [name for name in named if not callable(getattr(App, name, None))] == []


def test_the_features_lead_to_their_guides():
    table = README.partition("## What is in it")[2].partition("## More")[0]
    assert len(re.findall(r"\]\(docs/guide/[\w-]+\.md\)", table)) > 25
    assert "planned" not in README
