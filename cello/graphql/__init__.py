"""GraphQL: a schema from annotated functions, executed, limited, and served over HTTP, WebSocket and SSE.

    declared    Query, Mutation, Subscription, Field: how users write
    scalars     scalars beyond GraphQL's own          types       annotations → GraphQL types
    schema      all of it together                    limits      what a query may cost
    engine      parsed, checked and executed          loader      DataLoader
    requests    GraphQL over HTTP                     sockets     graphql-transport-ws
    page        GraphiQL                              switch      the feature

graphql-core does the executing; it is imported with the first name that needs it.
"""

from typing import TYPE_CHECKING, Any

from cello.errors import MissingDependency

if TYPE_CHECKING:
    from cello.graphql.config import GraphQLConfig
    from cello.graphql.declared import ID, Field, Mutation, Query, Subscription, interface
    from cello.graphql.engine import GraphQL
    from cello.graphql.loader import DataLoader
    from cello.graphql.schema import Schema

_LAZY = {
    "DataLoader": "loader",
    "Field": "declared",
    "GraphQL": "engine",
    "GraphQLConfig": "config",
    "ID": "declared",
    "Mutation": "declared",
    "Query": "declared",
    "Schema": "schema",
    "Subscription": "declared",
    "interface": "declared",
}

__all__ = [
    "ID",
    "DataLoader",
    "Field",
    "GraphQL",
    "GraphQLConfig",
    "Mutation",
    "Query",
    "Schema",
    "Subscription",
    "interface",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'cello.graphql' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"cello.graphql.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name != "graphql":
            raise
        raise MissingDependency("cello.graphql needs 'graphql-core': pip install 'cello[graphql]'") from None
