"""The schema: everything that was declared, with the types that it leads to."""

import inspect
from collections.abc import Callable
from typing import Any

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema, validate_schema

from cello.errors import ConfigError
from cello.graphql.calling import Calling
from cello.graphql.config import GraphQLConfig
from cello.graphql.declared import MUTATION, QUERY, SUBSCRIPTION, Declared
from cello.graphql.engine import GraphQL
from cello.graphql.types import Types


class Schema:
    """A schema by hand: `Schema().query(user).mutation(rename).build(max_depth=5)`."""

    def __init__(self) -> None:
        self.declared = Declared()

    def query(self, function: Callable[..., Any]) -> "Schema":
        """Add a field of Query."""
        self.declared.add(QUERY, function)
        return self

    def mutation(self, function: Callable[..., Any]) -> "Schema":
        """Add a field of Mutation."""
        self.declared.add(MUTATION, function)
        return self

    def subscription(self, function: Callable[..., Any]) -> "Schema":
        """Add a field of Subscription: a generator, async or plain."""
        self.declared.add(SUBSCRIPTION, function)
        return self

    def build(self, **limits: Any) -> GraphQL:
        """Return what executes it.

        Args:
            **limits: Fields of `GraphQLConfig`; introspection is on unless said otherwise.

        Raises:
            ConfigError: A type cannot be derived; the message names resolver and annotation.
        """
        return build(self.declared, GraphQLConfig(**{"introspection": True, **limits}))


def build(declared: Declared, config: GraphQLConfig) -> GraphQL:
    """Return what executes a declared schema."""
    calling = Calling()
    types = Types(calling.bind, camel_case=config.camel_case)
    query, mutation, subscription = (_root(root, declared, types, calling) for root in (QUERY, MUTATION, SUBSCRIPTION))
    if query is None:
        raise ConfigError("a GraphQL schema needs at least one query: decorate a function with @app.graphql.query")
    schema = _checked(lambda: GraphQLSchema(query, mutation, subscription, types=types.implementations))
    return GraphQL(schema, config, calling=calling)


def accept(given: Any, config: GraphQLConfig) -> GraphQL:
    """Return what executes a schema from elsewhere: ours, graphql-core's, Ariadne's, or Strawberry's.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(given, GraphQL):
        return GraphQL(given.schema, config, calling=given.calling)
    if isinstance(given, Schema):
        return build(given.declared, config)
    schema = given if isinstance(given, GraphQLSchema) else getattr(given, "_schema", None)
    if not isinstance(schema, GraphQLSchema):
        raise ConfigError(
            f"enable_graphql: a schema is cello's, graphql-core's, Ariadne's or Strawberry's, not {given!r:.80}"
        )
    return GraphQL(schema, config, calling=Calling())


def _root(root: str, declared: Declared, types: Types, calling: Calling) -> GraphQLObjectType | None:
    fields = declared.fields[root]
    if not fields:
        return None

    def make() -> dict[str, GraphQLField]:
        made = {}
        for name, field in fields.items():
            resolved = types.resolved(field, root)
            if root == SUBSCRIPTION and field.function is not None:
                parameters = list(inspect.signature(field.function).parameters.values())
                takes_info = bool(parameters) and (
                    parameters[0].name == "info" or parameters[0].annotation is parameters[0].empty
                )
                resolved.subscribe = calling.subscriber(field.function, takes_info)
                resolved.resolve = _itself
            made[field.name or types.published(name)] = resolved
        return made

    return GraphQLObjectType(root, make)


def _itself(event: Any, info: Any, **arguments: Any) -> Any:
    return event


def _checked(make: Callable[[], GraphQLSchema]) -> GraphQLSchema:
    try:
        schema = make()
    except TypeError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        raise ConfigError(f"the GraphQL schema is not valid: {error}") from None
    if errors := validate_schema(schema):
        raise ConfigError(f"the GraphQL schema is not valid: {'; '.join(error.message for error in errors)}")
    return schema
