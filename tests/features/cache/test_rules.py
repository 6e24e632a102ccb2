"""The table of rows.py through an application, and in short through every gateway with handlers of both colours."""

from collections.abc import Callable
from typing import Any

import pytest

from cello import App, Response
from cello.features.cache.feature import Caching
from tests.features.cache.rows import KEPT, NOW_S, ROWS, Ask, Row

EVERYWHERE = (
    "max-age", "another field", "a matching If-None-Match is 304", "HEAD is answered with what GET left", "no-store",
    "a successful POST makes what is kept worthless", "stale-while-revalidate", "stale-if-error stands in for 503",
    "a 304 of the handler renews what is kept", "a request with credentials", "Set-Cookie",
)  # fmt: skip


class Clock:
    """A time of day that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


def make_app(row: Row, clock: Clock, paint: Callable[[Any], Any] = lambda handler: handler) -> App:
    """Return an application that gives the row's answers in turn; each says in its body which it is."""
    app = App()
    app._host.install(Caching(row.ttl, clock=clock, **row.options))
    count = 0

    def answer() -> Response:
        nonlocal count
        said = row.answers[min(count, len(row.answers) - 1)]
        count += 1
        return Response("" if said.status in (204, 304) else f"answer {count}", said.status, said.fields)

    app.get("/item")(paint(answer))
    app.route("/item", methods=["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])(paint(answer))
    app.state.count = lambda: count
    return app


def play(client: Any, app: App, row: Row, clock: Clock) -> None:
    for number, ask in enumerate(row.asks, start=1):
        clock.now_s += ask.after_s
        check(client, app, ask, f"{row.id} (RFC 9111 §{row.section}), request {number}")


def check(client: Any, app: App, ask: Ask, where: str) -> None:
    before = app.state.count()
    answer = client.request(ask.method, ask.path, headers=ask.send)
    label = answer.headers.get("x-cache")
    if ask.expect is not None:
        assert (label in ("HIT", "STALE")) is (ask.expect == KEPT), f"{where}: X-Cache is {label}"
        if label in ("MISS", "BYPASS", "HIT"):
            asked_whether_changed = label == "HIT" and app.state.count() == before + 1
            assert asked_whether_changed or (app.state.count() > before) is (ask.expect != KEPT), where
    if ask.status is not None:
        assert answer.status == ask.status, where
    for name, value in ask.has.items():
        assert answer.headers.get(name) == value, f"{where}: {name}"
    for name in ask.lacks:
        assert name not in answer.headers, f"{where}: {name}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row(client, row):
    clock = Clock()
    app = make_app(row, clock)
    play(client(app, raise_server_exceptions=False), app, row, clock)


@pytest.mark.parametrize("row", [row for row in ROWS if row.id in EVERYWHERE], ids=lambda row: row.id)
def test_a_row_everywhere(serve, coloured, row):
    clock = Clock()
    app = make_app(row, clock, coloured)
    play(serve(app), app, row, clock)


def test_every_row_has_a_name_of_its_own():
    names = [row.id for row in ROWS]
    assert sorted(names) == sorted(set(names))
    assert set(EVERYWHERE) <= set(names)
