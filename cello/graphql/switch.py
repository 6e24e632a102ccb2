"""The feature: an endpoint for HTTP, SSE and WebSocket at one path, and GraphiQL for browsers."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from cello.errors import BadRequest, ConfigError, HTTPError
from cello.extension import Host
from cello.graphql.config import GraphQLConfig
from cello.graphql.declared import EVERYWHERE, MUTATION, QUERY, SUBSCRIPTION, Declared, RootDecorator
from cello.graphql.engine import GraphQL, Refused, Result
from cello.graphql.page import GraphiQL
from cello.graphql.requests import (
    EVENTS,
    JSON,
    Params,
    PersistedQueryNotFound,
    Reader,
    answer,
    check_method,
    choose_media,
    persisted_query_not_found,
    refusal,
    wants_page,
)
from cello.graphql.schema import accept, build
from cello.graphql.sockets import PROTOCOL, Conversation, OnConnect
from cello.graphql.watching import Operations
from cello.http import json_codec
from cello.http.request import Request
from cello.http.response import Response
from cello.http.sse import SseEvent
from cello.http.websocket import WebSocket
from cello.review import Deployment, Finding

logger = logging.getLogger("cello.graphql")


class Context(dict[str, Any]):
    """What resolvers find in `info.context`: `request`, `app`, and what `on_connect` added."""

    @property
    def request(self) -> Request:
        """The request."""
        found: Request = self["request"]
        return found


class GraphQLSwitch:
    """GraphQL in an application: `app.graphql`.

    Attributes:
        query: Declares a field of Query: `@app.graphql.query`.
        mutation: Declares a field of Mutation.
        subscription: Declares a field of Subscription: a generator, async or plain.
        engine: Executes; None before the application has started.
    """

    name = "graphql"

    def __init__(self, config: GraphQLConfig | None = None, schema: Any = None) -> None:
        self.config = config or GraphQLConfig()
        self._given = schema
        self._declared = Declared()
        self._on_connect: OnConnect | None = None
        self._reader = Reader(self.config)
        self._page: GraphiQL | None = None
        self.query = RootDecorator(self._declared, QUERY)
        self.mutation = RootDecorator(self._declared, MUTATION)
        self.subscription = RootDecorator(self._declared, SUBSCRIPTION)
        self.engine: GraphQL | None = None if schema is None else accept(schema, self.config)

    def on_connect(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Ask `function(payload, request)`, `def` or `async def`, when a WebSocket client introduces itself.

        False, or an exception, refuses it; a mapping is added to the context of its operations.
        """
        if self._on_connect is not None:
            raise ConfigError("app.graphql.on_connect has a function already")
        self._on_connect = function
        return function

    def make_engine(self) -> GraphQL:
        """Return what executes: of the schema that was given, else of all that was declared.

        Raises:
            ConfigError: Nothing was, or a type cannot be derived.
        """
        if self.engine is None:
            self.engine = build(self._declared.extended(EVERYWHERE), self.config)
        elif self._given is not None and not self._declared.is_empty():
            raise ConfigError("enable_graphql was given a schema: @app.graphql.query and its like have no place in it")
        return self.engine

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find what is for development."""
        if deployment.is_production and (self.config.playground or self.config.introspection):
            yield Finding(
                "warning",
                "graphql-development",
                f"GraphQLConfig: playground={self.config.playground}, introspection={self.config.introspection} in "
                "production: everybody can read the whole schema. Use GraphQLConfig.production()",
            )

    def install(self, host: Host) -> None:
        """Add the endpoint."""
        self._host = host
        path = self.config.path
        if self.config.playground:
            self._page = GraphiQL(path)
            self._page.install(host)
        host.add_route(path, self._answer, methods=("GET", "POST"), name="graphql", is_builtin=False)
        host.add_websocket(path, self._converse, subprotocols=(PROTOCOL,), name="graphql_ws")
        host.on_start(self._start, band=40)
        host.on_start(self._lend_threads, band=60)  # the application is complete then
        host.add_check("graphql", self._check)
        self._operations = Operations(host)

    def _start(self) -> None:
        engine = self.make_engine()
        engine.shows_errors = bool(self._host.app.debug)
        engine.operations = self._operations
        engine.spans = self._host.spans
        if self.config.tracing and self._host.spans.exporter is None:
            logger.warning("GraphQLConfig.tracing: no spans are exported; app.enable_telemetry() does that")

    def _lend_threads(self) -> None:
        self.make_engine().calling.threads = self._host.dispatcher.threads

    async def _check(self) -> dict[str, int]:
        """Show how large the schema is; it is derived when the application starts, and that fails then or never."""
        return {"types": len(self.make_engine().schema.type_map)}

    async def _answer(self, request: Request) -> Response:
        if self._page is not None and request.method == "GET" and wants_page(request):
            return self._page.answer()
        chosen = JSON
        try:
            chosen = choose_media(request)
            asked = self._reader.read(request)
            engine = self.make_engine()
            if chosen == EVENTS:
                return self._stream(engine, request, asked)
            if isinstance(asked, list):
                return answer([await self._run(engine, request, each) for each in asked], chosen)
            return answer(await self._run(engine, request, asked), chosen)
        except PersistedQueryNotFound:
            return persisted_query_not_found(chosen)
        except HTTPError as error:
            return refusal(error, chosen)

    async def _run(self, engine: GraphQL, request: Request, asked: Params) -> Result:
        try:
            document, operation = engine.prepare(*asked)
        except Refused as refused:
            return refused.result()
        kind = operation.operation.value
        check_method(request, kind)
        if kind == "subscription":
            raise BadRequest("A subscription is asked for over a WebSocket, or with 'Accept: text/event-stream'.")
        return await engine.run(document, operation, asked.variables, self._context(request))

    def _stream(self, engine: GraphQL, request: Request, asked: Params | list[Params]) -> Response:
        """Answer by server-sent events, one for each result and one for the end (graphql-sse, distinct connections)."""
        if isinstance(asked, list):
            raise BadRequest("A batch is not answered by events.")
        try:
            document, operation = engine.prepare(*asked)
        except Refused as refused:
            return answer(refused.result(), "application/graphql-response+json")
        kind = operation.operation.value
        check_method(request, kind)
        context = self._context(request)

        async def events() -> AsyncIterator[SseEvent]:
            if kind == "subscription":
                async for result in engine.subscribe(document, operation, asked.variables, context):
                    yield _event("next", result)
            else:
                yield _event("next", await engine.run(document, operation, asked.variables, context))
            yield SseEvent("", event="complete")

        return Response.sse(events())

    async def _converse(self, ws: WebSocket) -> None:
        def make_context(request: Request, added: Mapping[str, Any]) -> Context:
            return Context({**self._context(request), **added})

        await Conversation(ws, self.make_engine(), make_context, self._on_connect).run()

    def _context(self, request: Request) -> Context:
        return Context(request=request, app=self._host.app)


def _event(name: str, result: Result) -> SseEvent:
    return SseEvent(json_codec.encode(result).decode(), event=name)
