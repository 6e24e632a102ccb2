"""A schema with one of everything, as users would write it; also served by programs of the tests."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import msgspec

from cello import App, GraphQLConfig, HTTPError, UploadedFile
from cello.graphql import ID, DataLoader, Field, Schema, interface

closed: list[str] = []
batches: list[list[int]] = []


class Size(Enum):
    """How large."""

    SMALL = "s"
    LARGE = "l"


@interface
@dataclass
class Thing:
    """Whatever can be sold."""

    id: ID
    name: str


@dataclass
class Book(Thing):
    """A book."""

    pages: int = 0
    price: Decimal = Decimal("9.50")


@dataclass
class Score(Thing):
    size: Size = Size.SMALL
    parts: list[str] = field(default_factory=list)


class Maker(msgspec.Struct):
    name: str
    born: date | None = None


class Address(TypedDict):
    city: str


@dataclass
class Post:
    id: int
    title: str


@dataclass
class User:
    id: int
    name: Annotated[str, Field(description="What we call them.")]
    address: Address = field(default_factory=lambda: Address(city="Cremona"))

    @Field(complexity=3)
    async def posts(self, info: Any, limit: int = 2) -> list[Post]:
        """What they wrote."""
        return (await posts_of.load(self.id))[:limit]

    @Field(name="nick", deprecated="say name")
    def nickname(self) -> str:
        return self.name[:2]


class NewMaker(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=2)]
    born: date | None = None
    tags: list[str] = []
    size: Size = Size.LARGE


async def load_posts(ids: list[int]) -> list[list[Post]]:
    batches.append(ids)
    await asyncio.sleep(0)
    return [[Post(id * 10 + number, f"post {number}") for number in range(3)] for id in ids]


posts_of: DataLoader[int, list[Post]] = DataLoader(load_posts)


def hello(info: Any, name: str = "world") -> str:
    """Greet."""
    return f"hello {name}"


def things() -> list[Thing]:
    return [Book(ID("1"), "Il violoncello", 300), Score(ID("2"), "Suites", Size.LARGE, ["solo"])]


async def found(info: Any, id: ID) -> Book | Score | None:
    return next((each for each in things() if each.id == id), None)  # type: ignore[return-value]


def makers() -> list[Maker]:
    return [Maker("Amati", date(1505, 1, 1)), Maker("Stradivari")]


def users(info: Any, limit: int = 100) -> list[User]:
    return [User(id, f"user {id}") for id in range(1, limit + 1)]


@dataclass
class Kinds:
    moment: datetime
    day: date
    hour: time
    key: UUID
    price: Decimal
    data: bytes
    extra: dict[str, Any]
    mood: Literal["allegro", "largo"]


def kinds(info: Any, moment: datetime, day: date, hour: time, key: UUID, price: Decimal, data: bytes) -> Kinds:
    assert isinstance(moment, datetime)
    assert isinstance(key, UUID)
    assert isinstance(price, Decimal)
    return Kinds(moment.astimezone(UTC), day, hour, key, price, data, {"any": [1, None]}, "largo")


def broken(info: Any) -> int | None:
    raise ValueError("the password is hunter2")


def refused(info: Any) -> int | None:
    raise HTTPError(403, "Not for you.")


async def nothing(info: Any) -> str:
    return None  # type: ignore[return-value]


def whoami(info: Any) -> str:
    return str(info.context.get("user", "nobody"))


async def add_maker(info: Any, maker: NewMaker) -> Maker:
    return Maker(f"{maker.name} {','.join(maker.tags)} {maker.size.name}", maker.born)


def upload(info: Any, file: UploadedFile, more: list[UploadedFile]) -> list[str]:
    return [each.read().decode() for each in (file, *more)]


async def count(info: Any, to: int = 3) -> AsyncIterator[int]:
    for number in range(to):
        yield number


def countdown(info: Any, start: int = 2) -> Iterator[int]:
    yield from range(start, 0, -1)


async def forever(info: Any) -> AsyncIterator[int]:
    try:
        number = 0
        while True:
            yield (number := number + 1)
            await asyncio.sleep(0.001)
    finally:
        closed.append("forever")


async def breaks(info: Any) -> AsyncIterator[int]:
    yield 1
    raise ValueError("the password is hunter2")


QUERIES = (hello, things, found, makers, users, kinds, broken, refused, nothing, whoami)


def make_schema() -> Schema:
    schema = Schema()
    for query in QUERIES:
        schema.query(query)
    for mutation in (add_maker, upload):
        schema.mutation(mutation)
    for subscription in (count, countdown, forever, breaks):
        schema.subscription(subscription)
    return schema


def make_app(config: GraphQLConfig | None = None) -> App:
    app = App()
    app.enable_graphql(config or GraphQLConfig.development(), schema=make_schema())

    @app.graphql.on_connect
    async def greet(payload: Any, request: Any) -> Any:
        if (payload or {}).get("token") == "wrong":
            return False
        return {"user": (payload or {}).get("token", "nobody")}

    @app.get("/closed")
    def what_closed() -> list[str]:
        return closed

    return app


app = make_app(GraphQLConfig(playground=True, introspection=True, batching=True))
