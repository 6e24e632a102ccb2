"""A streamed body belongs to its request, whichever thread or task makes it."""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from cello import App, Request


def test_a_streamed_body_is_made_in_the_context_of_its_request(
    serve: Callable[..., Any], coloured: Callable[..., Any]
) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    app = App()
    ends: list[str] = []

    @app.before_request
    def note(request: Request) -> None:
        who.set(request.headers["who"])

    @app.get("/")
    @coloured
    def handler() -> Iterator[str]:
        token = who.set(who.get().upper())
        try:
            yield who.get()
            yield who.get()
        finally:
            who.reset(token)
            ends.append(who.get())

    with serve(app) as client:
        texts = [client.get("/", headers={"who": name}).text for name in ("ada", "bob")]
    assert texts == ["ADAADA", "BOBBOB"]
    assert ends == ["ada", "bob"]
