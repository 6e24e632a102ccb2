"""Services of every kind, for tests that call them from other processes. GRPC_PORT is where."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, TypedDict
from uuid import UUID

from msgspec import Meta, Struct
from pydantic import BaseModel
from pydantic import Field as Said

from cello import App, GrpcConfig, NotFound
from cello.grpc import Field, GrpcError, GrpcRequest, GrpcResponse, GrpcService, grpc_method

app = App()
app.enable_grpc(GrpcConfig(address=f"127.0.0.1:{os.environ.get('GRPC_PORT', '0')}", enable_web=True))
app.enable_cors(origins=["https://shop.example"])
app.enable_request_id()
app.enable_health_checks()
app.enable_prometheus()


class Mood(Enum):
    ALLEGRO = "allegro"
    LARGO = "largo"


class Size(IntEnum):
    SMALL = 0
    LARGE = 5


class Tag(TypedDict):
    key: str
    value: str


class Maker(Struct):
    name: Annotated[str, Meta(min_length=2)]
    born: int | None = None


class Price(BaseModel):
    amount: Decimal = Said(ge=0)
    currency: str = "EUR"


@dataclass
class Everything:
    """A field of every kind."""

    whole: int
    small: Annotated[int, Field(5, kind="uint32")]
    ratio: float
    flag: bool
    text: str
    data: bytes
    mood: Mood
    size: Size
    moment: datetime
    span: timedelta
    key: UUID
    price: Price
    maker: Maker
    tag: Tag
    extra: dict[str, Any]
    any: Any
    names: list[str] = field(default_factory=list)
    makers: tuple[Maker, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    by_name: dict[str, Maker] = field(default_factory=dict)
    maybe: str | None = None
    limit: int = 10
    next: "Everything | None" = None


@dataclass
class UserId:
    id: int


@dataclass
class User:
    id: int
    name: str


users = app.add_grpc_service("UserService", ["GetUser", "ListUsers", "Later"])


@users.method("GetUser")
async def get_user(request):
    """Untyped: what `request.data` holds."""
    return {"id": request["id"], "name": "Ada", "nested": [1, 2.5, None, {"a": True}]}


@users.method("ListUsers", stream=True)
def list_users(request):
    for number in range(request.data["count"]):
        yield {"id": number}


class Shop(GrpcService, name="shop.v1.Shop"):
    @grpc_method
    async def Mirror(self, everything: Everything) -> Everything:
        return everything

    @grpc_method
    async def Get(self, request: UserId, context: GrpcRequest) -> User:
        if request.id == 404:
            raise GrpcError(GrpcError.NOT_FOUND, "there is no such user", [{"id": 404}, "look elsewhere"])
        if request.id == 405:
            raise NotFound("Gone for good.")
        if request.id == 500:
            raise RuntimeError("hunter2")
        context.trailing_metadata["x-served-by"] = "shop"
        await context.send_initial_metadata({"x-early": "yes"})
        return User(request.id, str(context.metadata.get("x-name", "nobody")))

    @grpc_method(name="Plain")
    def get_plainly(self, request: UserId) -> User:
        return User(request.id, "plain")

    @grpc_method
    def add(self, left: int, right: int = 5) -> int:
        return left + right

    @grpc_method
    async def Nothing(self) -> None:
        return None

    @grpc_method
    async def Respond(self, request):
        if request["fail"]:
            return GrpcResponse.error(GrpcError.ABORTED, "not now")
        answer = GrpcResponse.ok({"fine": True})
        answer.metadata["x-more"] = "more"
        return answer

    @grpc_method
    async def Count(self, request: UserId) -> AsyncIterator[User]:
        for number in range(request.id):
            yield User(number, f"user {number}")
        if request.id == 3:
            raise GrpcError(GrpcError.DATA_LOSS, "no more")
        if request.id == 4:
            raise RuntimeError("hunter2")

    @grpc_method
    def Countdown(self, request: UserId) -> Iterator[User]:
        for number in range(request.id, 0, -1):
            yield User(number, "plain")

    @grpc_method
    async def Sum(self, ids: AsyncIterator[UserId]) -> User:
        total = 0
        async for each in ids:
            total += each.id
        return User(total, "sum")

    @grpc_method
    def SumPlainly(self, ids: Iterator[UserId]) -> User:
        try:
            return User(sum(each.id for each in ids), "sum")
        finally:
            state["sums"] += 1

    @grpc_method
    async def Echo(self, ids: AsyncIterator[UserId]) -> AsyncIterator[User]:
        async for each in ids:
            yield User(each.id, "echo")

    @grpc_method
    def EchoPlainly(self, ids: Iterator[UserId]) -> Iterator[User]:
        for each in ids:
            yield User(each.id, "plain echo")

    @grpc_method
    async def Forever(self, request: UserId) -> AsyncIterator[User]:
        state["open"] += 1
        try:
            while True:
                yield User(1, "again")
                await asyncio.sleep(0.01)
        finally:
            state["open"] -= 1
            state["closed"] += 1

    @grpc_method
    async def Sleep(self, request: UserId, context: GrpcRequest) -> User:
        state["remaining"] = context.time_remaining()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            state["cancelled"] += 1
            raise
        return User(0, "late")

    @grpc_method
    async def Big(self, size: int) -> bytes:
        return b"x" * size


state: dict[str, Any] = {"open": 0, "closed": 0, "sums": 0, "cancelled": 0, "remaining": None}
app.add_grpc_service(Shop())


def refuse(request):
    return request.headers.get("authorization") == "Bearer ada" or "Not for you."


guarded = app.add_grpc_service("Guarded", guards=[refuse])


@guarded.method()
async def WhoAmI(request):
    return {"path": request.http.path, "host": request.app.name, "peer": request.peer}


@app.get("/state")
def show_state():
    return {**state, "pid": os.getpid(), "now": datetime.now(UTC)}
