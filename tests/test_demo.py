"""The demo does what its start page promises, the same on every gateway."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cello.serve.importing import load_app
from cello.testing import TestClient

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "demo"
DEMO = {"Authorization": "Bearer demo"}


@pytest.fixture(params=["native", "wsgi", "asgi"])
def client(request):
    with TestClient(load_app(f"{FOLDER}/app.py:app"), gateway=request.param, raise_server_exceptions=False) as client:
        yield client


class Cards(HTMLParser):
    """Collects the attributes of the page's cards."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "data-path" in attributes:
            self.found.append(attributes)


def cards():
    parser = Cards()
    parser.feed((FOLDER / "start.html").read_text(encoding="utf-8"))
    return parser.found


EXPECTED = {
    "A validated body": 201,
    "A faulty body": 422,
    "A guard says no": 401,
    "A role is missing": 403,
    "No such path": 404,
    "No such method": 405,
    "An unexpected error": 500,
    "Work after the answer": 202,
}


def test_every_card_of_the_start_page_answers_as_it_says(client):
    page = client.get("/").text
    titles = re.findall(r"<article[^>]*data-path[^>]*>\s*<h3>(.*?)</h3>", page)
    assert len(titles) == len(cards())
    for title, card in zip(titles, cards(), strict=True):
        path = card["data-path"].replace("seconds=3", "seconds=1")
        headers = {"Authorization": f"Bearer {card['data-token']}"} if "data-token" in card else {}
        content = card.get("data-json") or card.get("data-text")
        if content is not None:
            headers["Content-Type"] = "application/json" if "data-json" in card else "text/plain"
        response = client.request(card.get("data-method", "GET"), path, headers=headers, content=content or b"")
        assert response.status_code == EXPECTED.get(title, 200), (title, response.text)


def test_a_note_is_written_found_read_and_removed(client):
    made = client.post("/api/notes", json={"title": "Bow", "text": "rosin", "tags": ["care"]})
    assert made.status_code == 201
    where = made.headers["location"]
    assert client.get(where).json()["title"] == "Bow"
    assert [note["title"] for note in client.get("/api/notes?q=ROSIN&tag=care").json()] == ["Bow"]
    assert client.delete(where).status_code == 401
    assert client.delete(where, headers=DEMO).status_code == 204
    assert client.get(where).status_code == 404


def test_the_form_adds_a_note_and_leads_back(client):
    added = client.post("/form", data={"title": "By form", "text": "<b>"}, follow_redirects=False)
    assert (added.status_code, added.headers["location"]) == (303, "/")
    assert any(note["text"] == "<b>" for note in client.get("/api/notes").json())
    assert client.post("/form", data={"title": " "}).status_code == 422


def test_uploaded_files_are_stored_under_safe_names_and_sent_with_ranges(client):
    sent = client.post("/api/files", files=[("file", ("../a.txt", b"0123456789")), ("file", ("b.txt", b"b"))])
    assert [file["name"] for file in sent.json()["saved"]] == ["a.txt", "b.txt"]
    part = client.get("/api/files/a.txt", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert client.get("/api/files/..%2fapp.py").status_code == 404
    assert client.post("/api/files", data={"x": "y"}).status_code == 422


def test_visits_are_counted_in_a_cookie(client):
    assert [client.get("/visits").json()["visits"] for _ in range(3)] == [1, 2, 3]
