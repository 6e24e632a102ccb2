"""An application that has everything an OpenAPI document can speak of."""

import dataclasses
import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic

from cello import App, Blueprint, Body, Cookie, Depends, File, Form, Header, NotFound, Path, Query, UploadedFile
from cello.guards import Authenticated, Role

T = TypeVar("T")


class Colour(enum.Enum):
    """What it is painted in."""

    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class NewItem:
    """What a client sends."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40, description="What it is called.")]
    price: Decimal
    colour: Colour = Colour.RED
    tags: list[str] = dataclasses.field(default_factory=list)
    parent: "NewItem | None" = None


@dataclasses.dataclass
class Item(NewItem):
    id: int = 0


class Page(msgspec.Struct, Generic[T]):
    items: list[T]
    total: Annotated[int, msgspec.Meta(ge=0)]


class Circle(msgspec.Struct, tag="circle", forbid_unknown_fields=True):
    radius: Annotated[float, msgspec.Meta(ge=0, le=1000)]


class Square(msgspec.Struct, tag="square", rename="camel"):
    side_length: Annotated[float, msgspec.Meta(ge=0, le=1000)]


class Filter(TypedDict, total=False):
    words: list[str]
    since: date


class Order(pydantic.BaseModel):
    """An order, by pydantic."""

    model_config = pydantic.ConfigDict(strict=True)

    sku: str = pydantic.Field(pattern="^[a-z]+$")
    amount: float = pydantic.Field(gt=0)
    when: datetime | None = None


def namesake(module: str) -> type:
    """Return another class called User."""
    made = dataclasses.make_dataclass("User", [("id", int), (module, str)])
    made.__module__ = f"shop.{module}"
    return made


Staff, Customer = namesake("staff"), namesake("customers")


def make_app() -> App:
    app = App()
    shop = Blueprint("/shop", tags=["shop"])
    items: dict[int, Item] = {}

    def page_of(limit: int = Query(10, ge=1, le=100), offset: int = Query(0, ge=0, le=10_000)) -> tuple[int, int]:
        return limit, offset

    @shop.get("/items")
    def list_items(
        page: Annotated[tuple[int, int], Depends(page_of)],
        q: Annotated[str | None, Query(description="A word to look for.", max_length=50)] = None,
        colour: Colour | None = Query(None),
        tag: list[str] = Query([]),
    ) -> Page[Item]:
        """Search the items.

        In the order in which they were **added**.
        """
        limit, offset = page
        found = [item for item in items.values() if colour in (None, item.colour)]
        found = [item for item in found if q is None or q in item.name]
        found = [item for item in found if set(tag) <= set(item.tags)]
        return Page(items=found[offset : offset + limit], total=len(found))

    @shop.post("/items", responses={409: "There is one already"})
    def add_item(new: NewItem) -> tuple[Item, Literal[201]]:
        fields = {field.name: getattr(new, field.name) for field in dataclasses.fields(new)}
        item = Item(**fields, id=len(items) + 1)
        items[item.id] = item
        return item, 201

    @shop.get("/items/{id:int}", responses={404: "There is no such item"})
    def get_item(id: int) -> Item:
        if id not in items:
            raise NotFound(f"There is no item {id}.")
        return items[id]

    @shop.put("/items/{item_id:int}", guards=[Authenticated()], deprecated=True)
    def replace_item(item_id: Annotated[int, Path(le=9)], new: NewItem, note: str = Header("", alias="X-Note")) -> None:
        return None

    @shop.delete("/items/{id:int}", guards=[Role(["admin", "owner"])])
    def remove_item(id: int) -> None:
        return None

    @shop.post("/shapes")
    def measure(shape: Circle | Square = Body(examples=[{"type": "circle", "radius": 1.5}])) -> float:
        return shape.radius**2 * 3 if isinstance(shape, Circle) else shape.side_length**2

    @shop.post("/filters")
    def add_filter(name: str = Body(min_length=1), filter: Filter = Body()) -> dict[str, Filter]:
        return {name: filter}

    @shop.post("/orders")
    async def order(order: Order) -> Order:
        return order

    @shop.post("/pictures")
    def add_picture(picture: UploadedFile = File(), title: str = Form(max_length=20)) -> dict[str, int]:
        return {title: picture.size()}

    @shop.post("/login")
    def log_in(name: str = Form(), days: int = Form(1, ge=1)) -> str:
        return f"Hello {name}"

    @shop.get("/basket")
    def basket(basket: UUID | None = Cookie(None), at: datetime | None = Query(None)) -> list[Item]:
        return []

    @shop.get("/files/{rest:path}")
    def download(rest: str) -> bytes:
        return rest.encode()

    @app.get("/staff/{id}", tags=["people"])
    def get_staff(id: UUID) -> Staff:
        return Staff(1, "s")

    @app.get("/customers/{id:uuid}", tags=["people"], summary="One customer", description="By **id**.")
    def get_customer(id: UUID) -> Customer:
        return Customer(1, "c")

    @app.route("/both", methods=["GET", "POST"])
    def both() -> dict[str, Any]:
        return {}

    @app.post("/raw", stream=True, body=None)
    async def raw(request):
        return {"bytes": len([part async for part in request.stream()])}

    app.register_blueprint(shop)
    app.enable_openapi("Shop", "2.0", description="Sells things.", tags={"people": "Who they are."})
    return app


app = make_app()
