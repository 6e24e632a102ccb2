"""A dispatcher over a few routes, asked in each colour: without a loop, on a loop, and through a portal."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cello.gateways.portal import Portal
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.course import Unfinished
from cello.pipeline.dispatch import Dispatcher
from cello.routing.pattern import parse
from cello.routing.route import Route, check_options
from cello.routing.router import Router


def make_route(method: str, path: str, handler: Callable[..., Any], **options: Any) -> Route:
    return Route((method,), parse(path), handler, check_options("a test", options), handler.__name__, "test.py:1")


def make_dispatcher(*routes: Route, **settings: Any) -> Dispatcher:
    router = Router()
    for route in routes:
        router.add(route)
    return Dispatcher(app=settings.pop("app", None), router=router, **settings)


class Client:
    """Asks a dispatcher as a gateway would, and finishes what it left."""

    def __init__(self, way: str, portal: Portal) -> None:
        self.way = way
        self.portal = portal

    def ask(self, dispatcher: Dispatcher, request: Request) -> Response:
        plan = dispatcher.plan_for(request)
        if self.way == "portal":
            response = dispatcher.answer_portal(plan, request, self.portal)
            dispatcher.finish_portal(request, response, self.portal)
            return response
        if self.way == "loop" or plan.is_async:  # the plain way ends where a step must be awaited
            return asyncio.run(self._on_loop(dispatcher, request))
        try:
            response = dispatcher.answer(plan, request)
        except Unfinished as unfinished:
            response = asyncio.run(unfinished.rest)
        try:
            dispatcher.finish(request, response)
        except Unfinished as unfinished:
            asyncio.run(unfinished.rest)
        return response

    async def _on_loop(self, dispatcher: Dispatcher, request: Request) -> Response:
        plan = dispatcher.plan_for(request)
        response = await dispatcher.answer_async(plan, request)
        await dispatcher.finish_async(request, response)
        dispatcher.threads.shutdown()
        return response


@pytest.fixture(scope="session")
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


@pytest.fixture(params=["plain", "loop", "portal"])
def client(request: pytest.FixtureRequest, portal: Portal) -> Client:
    """Every way a request can be run."""
    return Client(request.param, portal)


def document(response: Response) -> Any:
    assert isinstance(response.payload, bytes)
    return json.loads(response.payload)


def text(response: Response) -> str:
    assert isinstance(response.payload, bytes)
    return response.payload.decode()


def field(response: Response, name: str) -> str | None:
    found = [value.decode("latin-1") for key, value in response.fields() if key.decode().lower() == name.lower()]
    return ", ".join(found) if found else None
