"""The request that the application sends itself, to make an answer anew that was given out stale."""

from typing import Any, Protocol

from cello.extension import Host
from cello.features.cache.passage import Passage
from cello.http.head import FieldList
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.course import Unfinished
from cello.pipeline.plan import Plan
from cello.routing.route import Route

_LEFT_OUT = frozenset({
    b"cache-control", b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since",
    b"pragma", b"range",
})  # fmt: skip
_REMEMBERED = ("client_ip", "host", "request_id", "root_path", "scheme")


def renewed(request: Request) -> Request:
    """Return `request` as a plain GET: without conditions, ranges and wishes, and not yet answered."""
    head = FieldList([field for field in request._head.raw() if field[0].lower() not in _LEFT_OUT])
    copy = type(request).incoming("GET", request.raw_path, request.query_string, head, request._peer)
    copy.app = request.app
    known = request._memo or {}
    copy._remember().update({name: known[name] for name in _REMEMBERED if name in known})
    return copy


class Keeper(Protocol):
    """The middleware that has answers made anew."""

    def before(self, request: Request) -> Any:
        """Its step, which is left out."""

    def keep_anew(self, request: Request, response: Response, passage: Passage) -> Any:
        """Keep an answer; return what must be awaited, or a Response that stands in for it, or None."""

    def give_up_anew(self, passage: Passage) -> None:
        """Let another request try."""


class Renewal:
    """Runs what lies behind the cache once more, and has the answer kept.

    Args:
        host: Of the application.
        keeper: The cache.
    """

    def __init__(self, host: Host, keeper: Keeper) -> None:
        self._host = host
        self._keeper = keeper
        self._inner: dict[Route, Plan] = {}

    def run(self, plan: Plan, request: Request, passage: Passage) -> None:
        """Do it on this thread."""
        dispatcher = self._host.dispatcher
        passage.watch(request)
        try:
            response = dispatcher.answer(self._plan_within(plan), request)
        except Unfinished as unfinished:
            unfinished.rest.close()  # the plan has learnt that it needs a loop; the next request finds one
            self._keeper.give_up_anew(passage)
            return
        self._keeper.keep_anew(request, response, passage)
        if dispatcher.needs_finish(request, response):
            dispatcher.finish(request, response)

    async def run_async(self, plan: Plan, request: Request, passage: Passage) -> None:
        """Do the same on the running loop."""
        dispatcher = self._host.dispatcher
        passage.watch(request)
        response = await dispatcher.answer_async(self._plan_within(plan), request)
        stored = self._keeper.keep_anew(request, response, passage)
        if stored is not None and not isinstance(stored, Response):
            await stored
        if dispatcher.needs_finish(request, response):
            await dispatcher.finish_async(request, response)

    def _plan_within(self, plan: Plan) -> Plan:
        route = plan.route
        inner = None if route is None else self._inner.get(route)
        if inner is None:
            inner = plan.within(self._keeper.before)
            if route is not None:
                self._inner[route] = inner
        return inner
