"""The saga of an order."""

from services import PRICE

from cello.eventsourcing import Event
from cello.saga import Saga, SagaStep, Sleep


def make_saga(events, warehouse, bank):
    """Return the saga, over the services it needs."""

    async def cancel_order(context, run):
        # Undone last, so when it says "cancelled" everything is back. The event's id makes appending it twice once.
        await events.append(context["order"], [Event("OrderCancelled", {"reason": run.reason}, id=run.key)])

    async def reserve(context, run):
        await warehouse.reserve(run.key, context["item"], context["quantity"])

    async def release(context, run):
        await warehouse.release(run.action_key)

    async def charge(context, run):
        await bank.charge(run.key, context["card"], context["quantity"] * PRICE)

    async def refund(context, run):
        await bank.refund(run.action_key)

    async def ship(context, run):
        await events.append(context["order"], [Event("OrderShipped", {}, id=run.key)])

    saga = Saga("Fulfilment")
    for step in (
        SagaStep("open", lambda context: None, cancel_order),
        SagaStep("reserve", reserve, release),
        SagaStep("charge", charge, refund, timeout=5),
        Sleep(0.5, name="pack"),
        SagaStep("ship", ship),
    ):
        saga.add_step(step)
    return saga
