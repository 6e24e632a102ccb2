"""cello with GraphQL: a schema from annotated functions."""

from dataclasses import dataclass

from shared_routes import PORT, TEXT

from cello import App, GraphQLConfig

app = App()
app.enable_graphql(GraphQLConfig(max_complexity=100_000))


@dataclass
class User:
    id: int
    name: str


@app.graphql.query
async def user(info, id: int) -> User:
    return User(id, f"user {id}")


@app.graphql.query
async def users(info, limit: int) -> list[User]:
    return [User(id, f"user {id}") for id in range(limit)]


@app.get("/")
def home(request):
    return TEXT


if __name__ == "__main__":
    app.run(port=PORT, env="production", workers=1, logs=False)
