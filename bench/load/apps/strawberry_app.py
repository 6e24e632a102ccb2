"""Strawberry's ASGI app on uvicorn, httptools and uvloop, with its cache of parsed and validated queries."""

import strawberry
from shared_asgi import serve_with_uvicorn
from shared_routes import TEXT
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache


@strawberry.type
class User:
    id: int
    name: str


@strawberry.type
class Query:
    @strawberry.field
    async def user(self, id: int) -> User:
        return User(id=id, name=f"user {id}")

    @strawberry.field
    async def users(self, limit: int) -> list[User]:
        return [User(id=id, name=f"user {id}") for id in range(limit)]


endpoint = GraphQL(strawberry.Schema(Query, extensions=[ParserCache(), ValidationCache()]))


async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(TEXT))]})
        await send({"type": "http.response.body", "body": TEXT.encode()})
    else:
        await endpoint(scope, receive, send)


if __name__ == "__main__":
    serve_with_uvicorn(app)
