"""Orders: taken as commands, kept as events, fulfilled by a saga over stock and payment, and shown live.

    make demo-orders

Open the address that is printed, place orders, and break things: let the bank be silent, let it refuse, kill the worker
while it charges a card. Whatever happens, each order ends paid and shipped, or cancelled with the stock back and the
money refunded. Everything is in one SQLite file, `orders.db` in the current folder; with
`ORDERS_DATABASE=postgresql://…`, or `mysql://…`, it is there, for workers on as many machines as you like.

    POST /orders ──→ command PlaceOrder ──→ event OrderPlaced ──→ projection "orders" ──→ table that queries read
                                                 └──→ projection "fulfilment" begins the saga:
                                                      open → reserve stock → charge card → ship
                                                      each undone backwards when a later one fails

`domain.py` is the order and what is said about it, `services.py` stock and bank, `fulfilment.py` the saga.
"""

import asyncio
import os
from pathlib import Path

from domain import FindOrder, ListOrders, Order, PlaceOrder
from fulfilment import make_saga
from services import Bank, Faults, Warehouse, make_tables

from cello import App, CqrsConfig, EventSourcingConfig, NotFound, Response, SagaConfig, SseEvent

PAGE = Path(__file__).with_name("orders.html")
DATABASE = os.environ.get("ORDERS_DATABASE", "sqlite://orders.db")
KIND = DATABASE.partition(":")[0].replace("mariadb", "mysql")

app = App()
app.enable_database(DATABASE)
app.enable_event_sourcing(EventSourcingConfig(store_type=KIND))
app.enable_cqrs(CqrsConfig())
app.enable_saga(SagaConfig(store="database", retry_delay_ms=300, lease_secs=2, poll_interval_ms=250))
app.enable_openapi("Orders", "1.0.0")
app.enable_health_checks()

db = app.database
faults = Faults(db)
warehouse, bank = Warehouse(db, faults), Bank(db, faults)
orders = app.repository(Order)
app.sagas.register(make_saga(app.event_store, warehouse, bank))


@app.on_event("startup")
async def prepare():
    await make_tables(db)


# The command side


@app.command_bus.handler(PlaceOrder)
async def place(command: PlaceOrder):
    order = Order(command.id)
    order.place(command.customer, command.item, command.quantity, command.card)
    await orders.save(order)
    return {"id": command.id}


@app.projection("fulfilment", "OrderPlaced")
async def fulfil(event):
    # It may come twice, after a crash; the key makes the saga one all the same.
    await app.sagas.start("Fulfilment", {"order": event.aggregate_id, **event.data}, key=event.aggregate_id)


# The query side


@app.projection("orders", "OrderPlaced", "OrderShipped", "OrderCancelled")
async def show(event, tx):
    # `tx` commits what is written here together with how far the projection is: exactly once.
    if event.event_type == "OrderPlaced":
        data = event.data
        await tx.execute(
            "INSERT INTO orders (id, customer, item, quantity, status, note, placed_at) "
            "VALUES (:id, :customer, :item, :quantity, 'placed', '', :at)",
            id=event.aggregate_id, customer=data["customer"], item=data["item"], quantity=data["quantity"],
            at=event.timestamp,
        )  # fmt: skip
        return
    status, note = ("shipped", "") if event.event_type == "OrderShipped" else ("cancelled", event.data["reason"])
    await tx.execute(
        "UPDATE orders SET status = :status, note = :note WHERE id = :id",
        status=status,
        note=note,
        id=event.aggregate_id,
    )


@app.query_bus.handler(FindOrder)
async def find(query: FindOrder):
    return await db.fetch_one("SELECT * FROM orders WHERE id = :id", id=query.id)


@app.query_bus.handler(ListOrders)
async def recent(query: ListOrders):
    return await db.fetch_all(f"SELECT * FROM orders ORDER BY placed_at DESC, id LIMIT {int(query.limit)}")


# HTTP

app.command_route("/orders", PlaceOrder, status=201, tags=["orders"])
app.query_route("/orders/{id}", FindOrder, tags=["orders"])
app.query_route("/orders", ListOrders, tags=["orders"])


@app.post("/orders/{id}/cancel", tags=["orders"])
async def cancel(id: str):
    """Have an order undone, if it is not shipped yet."""
    found = await saga_of(id)
    return {"cancelled": await app.sagas.cancel(found.id, "cancelled by the customer")}


@app.get("/orders/{id}/history", tags=["orders"])
async def history(id: str):
    """Everything that ever happened to an order, and what its saga did."""
    events = [{"type": each.event_type, "data": each.data} for each in await app.event_store.get_events(id)]
    return {"events": events, "saga": (await saga_of(id)).get_status()}


async def saga_of(order_id):
    found = await app.sagas.find_execution("Fulfilment", order_id)
    if found is None:
        raise NotFound("There is no such order.")
    return found


@app.put("/faults/{service}/{count:int}", tags=["faults"])
async def break_it(service: str, count: int):
    """Have the next calls fail: "bank" is silent, "refuse" declines, "crash" kills the worker at the bank's counter."""
    if service not in ("bank", "refuse", "crash"):
        raise NotFound("There are faults of the bank, to refuse, and to crash.")
    await faults.set(service, count)
    return {"service": service, "next_calls": count}


@app.get("/", include_in_schema=False)
def page():
    return Response.html(PAGE.read_text(encoding="utf-8"))


@app.get("/live", include_in_schema=False)
def live():
    """The state of everything, again whenever it has changed."""

    async def states():
        last = None
        while True:
            state = await everything()
            if state != last:
                yield SseEvent(state)
                last = state
            await asyncio.sleep(0.2)

    return Response.sse(states())


async def everything():
    sagas = {each.key: each for each in await app.sagas.list_executions("Fulfilment", limit=20)}
    rows = (await app.query_bus.execute(ListOrders(limit=20))).data or []
    for row in rows:
        saga = sagas.get(row["id"])
        row["steps"] = [] if saga is None else saga.steps
        row["saga"] = None if saga is None else str(saga.status)
    return {
        "orders": rows,
        "stock": await warehouse.shelves(),
        "money": await bank.balance(),
        "faults": await faults.all(),
    }


if __name__ == "__main__":
    app.run(workers=2)
