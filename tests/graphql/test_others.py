"""Schemas that were made elsewhere are served all the same."""

import pytest

from cello import App, GraphQLConfig
from cello.testing import TestClient


def ask(schema, query):
    app = App()
    app.enable_graphql(GraphQLConfig(introspection=True), schema=schema)
    with TestClient(app) as client:
        return client.post("/graphql", json={"query": query}).json()


def test_of_graphql_core():
    from graphql import build_schema

    schema = build_schema('type Query {hello(name: String = "world"): String}')
    schema.query_type.fields["hello"].resolve = lambda source, info, name: f"hello {name}"
    assert ask(schema, '{hello(name: "Ada")}') == {"data": {"hello": "hello Ada"}}


def test_of_strawberry():
    strawberry = pytest.importorskip("strawberry")

    @strawberry.type
    class Query:
        @strawberry.field
        async def hello(self, name: str = "world") -> str:
            return f"hello {name}"

    assert ask(strawberry.Schema(Query), "{hello}") == {"data": {"hello": "hello world"}}


def test_of_ariadne():
    ariadne = pytest.importorskip("ariadne")
    query = ariadne.QueryType()
    query.set_field("hello", lambda source, info, name: f"hello {name}")
    schema = ariadne.make_executable_schema("type Query {hello(name: String!): String!}", query)
    assert ask(schema, '{hello(name: "Bob")}') == {"data": {"hello": "hello Bob"}}
