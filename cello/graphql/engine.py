"""Executes: text is parsed, checked and measured once, and kept; results are plain dicts.

SECURITY: what a resolver raises stays inside. Clients read "Internal Server Error" and the path, unless the error says
what they may know: a `GraphQLError`, or an HTTPError of cello. The error itself goes to the log.
"""

import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from time import perf_counter
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    execute,
    get_operation_ast,
    parse,
    print_schema,
    specified_rules,
    subscribe,
    validate,
)

from cello.errors import HTTPError, MissingDependency
from cello.graphql.calling import Calling
from cello.graphql.config import GraphQLConfig
from cello.graphql.limits import Measure, check
from cello.graphql.loader import requests
from cello.graphql.watching import Operations
from cello.spans import Spans

logger = logging.getLogger("cello.graphql")

KEPT_DOCUMENTS = 1_000
MOST_KEPT_CHARACTERS = 20_000

Result = dict[str, Any]

_EXECUTOR: dict[str, Any] = {}
"""How graphql-core is asked to execute: by our executor, where it has what that stands on (3.3), else by its own."""

with suppress(ImportError):
    from cello.graphql.executor import PlainExecutor

    _EXECUTOR["executor_class"] = PlainExecutor


class Refused(Exception):
    """The query is not executed: it cannot be parsed, is not valid, or asks for too much.

    Attributes:
        errors: Why.
    """

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors

    def result(self) -> Result:
        """Return what a client is told."""
        return {"errors": [error.formatted for error in self.errors]}


class Document:
    """A query that was parsed and found valid.

    Attributes:
        parsed: The parsed text.
        is_measured: Whether its size was found to be within the limits, whatever the variables.
    """

    __slots__ = ("is_measured", "parsed")

    def __init__(self, parsed: DocumentNode) -> None:
        self.parsed = parsed
        self.is_measured = False


class GraphQL:
    """A schema with what executes it.

    Args:
        schema: graphql-core's.
        config: The limits.
        calling: How its resolvers are called.

    Attributes:
        schema: graphql-core's.
        calling: How its resolvers are called.
        shows_errors: Whether clients read what resolvers raise; while debugging.
        operations: Counts what is executed; None: nobody.
        spans: Where spans go, in an application.
    """

    def __init__(self, schema: GraphQLSchema, config: GraphQLConfig, *, calling: Calling) -> None:
        self.schema = schema
        self.config = config
        self.calling = calling
        self.shows_errors = False
        self.operations: Operations | None = None
        self.spans: Spans | None = None
        self._rules = specified_rules if config.introspection else (*specified_rules, NoSchemaIntrospectionCustomRule)
        self._documents: OrderedDict[str, Document] = OrderedDict()
        self._lock = threading.Lock()
        self._tracer = _tracer() if config.tracing else None

    def get_schema(self) -> str:
        """Return the schema in GraphQL's own language."""
        return print_schema(self.schema)

    def prepare(
        self, query: str, variables: Mapping[str, Any] | None = None, operation_name: str | None = None
    ) -> tuple[DocumentNode, OperationDefinitionNode]:
        """Return a query ready to be executed, and which of its operations is meant.

        Raises:
            Refused: It cannot be.
        """
        try:
            return self._prepare(query, variables, operation_name)
        except Refused:
            if self.operations is not None:
                self.operations.refused.add()
            raise

    def _prepare(
        self, query: str, variables: Mapping[str, Any] | None, operation_name: str | None
    ) -> tuple[DocumentNode, OperationDefinitionNode]:
        document = self._documents.get(query)
        if document is None:
            document = self._parse(query)
            self._keep(query, document)
        operation = get_operation_ast(document.parsed, operation_name)
        if operation is None:
            what = (
                "one of several operations must be named"
                if operation_name is None
                else f"no operation is called {operation_name!r:.80}"
            )
            raise Refused([GraphQLError(what[0].upper() + what[1:] + ".")])
        if not document.is_measured:
            measure = Measure(self.schema, document.parsed, variables or {})
            if errors := check(measure.size(operation), self.config):
                raise Refused(errors)
            operations = [node for node in document.parsed.definitions if isinstance(node, OperationDefinitionNode)]
            document.is_measured = not measure.looks_at_variables and len(operations) == 1
        return document.parsed, operation

    def _parse(self, query: str) -> Document:
        try:
            parsed = parse(query, max_tokens=self.config.max_tokens)
        except GraphQLError as error:
            raise Refused([error]) from None
        if errors := validate(self.schema, parsed, self._rules, max_errors=20):
            raise Refused(errors)
        return Document(parsed)

    def _keep(self, query: str, document: Document) -> None:
        if len(query) > MOST_KEPT_CHARACTERS:
            return
        with self._lock:
            self._documents[query] = document
            if len(self._documents) > KEPT_DOCUMENTS:
                self._documents.popitem(last=False)

    async def execute(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        operation_name: str | None = None,
        context: Any = None,
    ) -> Result:
        """Return `{"data": …}`, with `"errors"` where there are some; never raises for what the query says."""
        try:
            document, operation = self.prepare(query, variables, operation_name)
        except Refused as refused:
            return refused.result()
        return await self.run(document, operation, variables, context)

    async def run(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any] | None,
        context: Any,
    ) -> Result:
        """Execute what was prepared."""
        token = requests.set({})
        began_s = perf_counter()
        try:
            with self._span(operation):
                found = self._execute(document, operation, variables, context)
                result = self._result(await found if inspect.isawaitable(found) else found)
        finally:
            requests.reset(token)
        if self.operations is not None:
            self.operations.took(operation.operation.value, began_s, is_ok="errors" not in result)
        return result

    def _execute(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any] | None,
        context: Any,
    ) -> Awaitable[ExecutionResult] | ExecutionResult:
        name = None if operation.name is None else operation.name.value
        return execute(
            self.schema,
            document,
            context_value=context,
            variable_values=dict(variables or {}),
            operation_name=name,
            **_EXECUTOR,
        )

    async def subscribe(
        self,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any] | None,
        context: Any,
    ) -> AsyncIterator[Result]:
        """Yield the results of a subscription that was prepared; of one that cannot begin only its errors."""
        requests.set({})
        name = None if operation.name is None else operation.name.value
        found: Any = subscribe(
            self.schema,
            document,
            context_value=context,
            variable_values=dict(variables or {}),
            operation_name=name,
            **_EXECUTOR,
        )
        if inspect.isawaitable(found):
            found = await found
        if isinstance(found, ExecutionResult):
            yield self._result(found)
            return
        watched = self.operations
        if watched is not None:
            watched.subscriptions.add()
        try:
            async for event in found:
                requests.set({})  # each event loads for itself
                result = self._result(event)
                if watched is not None:
                    watched.told(is_ok="errors" not in result)
                yield result
        except GraphQLError as error:
            yield {"errors": [self._shown(error)]}
        except Exception as error:  # noqa: BLE001  # whatever the generator raises ends the subscription
            yield {"errors": [self._shown(GraphQLError("", original_error=error))]}
        finally:
            if watched is not None:
                watched.subscriptions.add(-1)
            await found.aclose()

    def _result(self, result: ExecutionResult) -> Result:
        if result.errors is None:
            return {"data": result.data}
        return {"errors": [self._shown(error) for error in result.errors], "data": result.data}

    def _shown(self, error: GraphQLError) -> Any:
        original = error.original_error
        while isinstance(original, GraphQLError) and original.original_error is not None:
            original = original.original_error
        if original is None or isinstance(original, GraphQLError):
            return error.formatted
        if isinstance(original, HTTPError) and original.status < 500:
            return _replaced(
                error,
                original.detail or type(original).__name__,
                {"code": type(original).__name__, "status": original.status},
            )
        logger.error("GraphQL: %s", ".".join(map(str, error.path or ())), exc_info=original)
        if self.shows_errors:
            return _replaced(error, f"{type(original).__name__}: {original}", {"code": "INTERNAL_SERVER_ERROR"})
        return _replaced(error, "Internal Server Error", {"code": "INTERNAL_SERVER_ERROR"})

    def _span(self, operation: OperationDefinitionNode) -> AbstractContextManager[Any]:
        if self._tracer is None:
            return nullcontext()
        spans = self.spans
        kind = operation.operation.value
        name = None if operation.name is None else operation.name.value
        attributes = {"graphql.operation.type": kind, **({} if name is None else {"graphql.operation.name": name})}
        title = f"{kind} {name}" if name else kind
        if spans is not None:
            return spans.span(title, attributes=attributes)
        span: AbstractContextManager[Any] = self._tracer.start_as_current_span(title, attributes=attributes)
        return span


def _replaced(error: GraphQLError, message: str, extensions: dict[str, Any]) -> Any:
    return {**error.formatted, "message": message, "extensions": extensions}


def _tracer() -> Any:
    try:
        from opentelemetry import trace
    except ModuleNotFoundError:
        raise MissingDependency("GraphQLConfig.tracing needs OpenTelemetry: pip install 'cello[otel]'") from None
    return trace.get_tracer("cello.graphql")
