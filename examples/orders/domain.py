"""The order, and what is said about it: the commands and queries that come in, the events that are kept."""

import uuid
from dataclasses import field

from cello.cqrs import Command, Query
from cello.eventsourcing import Aggregate, Event, event_handler


class PlaceOrder(Command):
    """Take an order."""

    customer: str
    item: str
    quantity: int = 1
    card: str = "4242"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def validate(self):
        if not self.customer.strip():
            raise ValueError("an order has a customer")
        if not 1 <= self.quantity <= 100:
            raise ValueError("one orders 1 to 100 of an item")


class FindOrder(Query):
    """One order."""

    id: str


class ListOrders(Query):
    """The newest orders."""

    limit: int = 50


class Order(Aggregate):
    """What has happened to an order."""

    def __init__(self, aggregate_id=None):
        super().__init__(aggregate_id)
        self.status = "new"

    def place(self, customer, item, quantity, card):
        self.apply(Event("OrderPlaced", {"customer": customer, "item": item, "quantity": quantity, "card": card}))

    @event_handler("OrderPlaced")
    def on_placed(self, event):
        self.status = "placed"

    @event_handler("OrderShipped")
    def on_shipped(self, event):
        self.status = "shipped"

    @event_handler("OrderCancelled")
    def on_cancelled(self, event):
        self.status = "cancelled"
