"""Aggregates: objects whose state follows from their events, and nothing else.

    class Account(Aggregate):
        def __init__(self, aggregate_id=None):
            super().__init__(aggregate_id)
            self.balance = 0

        def deposit(self, amount):
            if amount <= 0:
                raise ValueError("a deposit is above zero")
            self.apply(Event("Deposited", {"amount": amount}))

        @event_handler("Deposited")
        def on_deposited(self, event):
            self.balance += event.data["amount"]

Rule 1: methods decide and apply events; handlers change the state and decide nothing, as they run again at every load.
Rule 2: a snapshot holds the attributes. What JSON does not give back as it was (dates, Decimals, sets, models) is
annotated in the class body, `opened: datetime`, and read by that; or `to_snapshot` and `from_snapshot` say otherwise.
"""

import typing
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, ClassVar, Self, TypeVar

from cello.eventsourcing.errors import SnapshotError
from cello.eventsourcing.event import Event, as_json, as_model, event_name, new_id
from cello.http import json_codec

F = TypeVar("F", bound=Callable[..., Any])

MARK = "__cello_event_types__"
_OWN = ("id", "version", "uncommitted_events", "_snapshot_at")


def event_handler(*event_types: str | type) -> Callable[[F], F]:
    """Have a method called with the events of a type, or of several; a class has its name, and its events its data.

    In an aggregate they change its state; in a projection they may be `async def`.
    """
    names = [(event_name(each), each if isinstance(each, type) else None) for each in event_types]

    def mark(function: F) -> F:
        setattr(function, MARK, [*getattr(function, MARK, ()), *names])
        return function

    return mark


def kind_of(thing: object) -> type:
    """Return the class of something, as caches take it."""
    return type(thing)


@cache
def handlers_of(kind: type) -> dict[str, tuple[str, type | None]]:
    """Return event type → (method's name, the class of its data or None)."""
    found: dict[str, tuple[str, type | None]] = {}
    for owner in reversed(kind.__mro__):
        for name, function in vars(owner).items():
            for event_type, model in getattr(function, MARK, ()):
                found[event_type] = (name, model)
    return found


class Aggregate:
    """An object made of its events.

    Args:
        aggregate_id: Which one; None for a new id.

    Attributes:
        id: Which one.
        version: How many events it is made of, those not saved yet included.
        state: A dict for handlers that want one; attributes of your own do as well.
        uncommitted_events: Those that were applied and not saved yet.
        snapshot_version: Which form snapshots have. Raise it when attributes change their meaning: older ones are
            ignored then, and taken anew from all events.
    """

    snapshot_version: ClassVar[int] = 1
    id: str
    version: int
    state: dict[str, Any]
    uncommitted_events: list[Event]
    _snapshot_at: int

    def __init__(self, aggregate_id: str | None = None) -> None:
        self.id = aggregate_id or new_id()
        self.version = 0
        self.state = {}
        self.uncommitted_events = []
        self._snapshot_at = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r} at version {self.version}>"

    def apply(self, event: Any) -> None:
        """Note that something happened, an `Event` or a model of one, and change the state by its handler."""
        event = event if isinstance(event, Event) else Event.of(event)
        event.version = self.version + 1
        if event.aggregate_id is None:
            event.aggregate_id = self.id
        self._handle(event)
        self.version = event.version
        self.uncommitted_events.append(event)

    def load_from_events(self, events: Iterable[Event]) -> Self:
        """Make the state of saved events, which begin with version 1; return the aggregate.

        Raises:
            ValueError: They are not in order, or one is missing.
        """
        fresh = type(self)(self.id)
        vars(self).clear()
        vars(self).update(vars(fresh))
        return self.replay(events)

    def replay(self, events: Iterable[Event]) -> Self:
        """Go on with saved events, which begin after `version`; return the aggregate.

        Raises:
            ValueError: They are not in order, or one is missing.
        """
        for event in events:
            if event.version != self.version + 1:
                raise ValueError(f"{self!r}: version {self.version + 1} is to come next, not {event!r}")
            self._handle(event)
            self.version = event.version
        return self

    def clear_uncommitted(self) -> None:
        """Forget the events that were not saved yet, once they are."""
        self.uncommitted_events = []

    def get_version(self) -> int:
        """Return the version."""
        return self.version

    def to_snapshot(self) -> Any:
        """Return the state as a JSON value: the attributes, but for those of `Aggregate` itself."""
        return {name: value for name, value in vars(self).items() if name not in _OWN}

    def from_snapshot(self, state: Any) -> None:
        """Take over a state that `to_snapshot` returned, after its way through JSON."""
        annotations = _annotations(kind_of(self))
        for name, value in state.items():
            annotation = annotations.get(name)
            what = f"the snapshot of {type(self).__name__}.{name}"
            setattr(self, name, value if annotation is None else as_model(value, annotation, what))

    def _handle(self, event: Event) -> None:
        found = handlers_of(kind_of(self)).get(event.event_type)
        if found is not None:
            name, model = found
            if model is not None:
                event.data = event.data_as(model)
            getattr(self, name)(event)
            return
        handler = getattr(self, f"_handle_{event.event_type}", None)
        if handler is not None:
            handler(event)


def snapshot_state(aggregate: Aggregate) -> str:
    """Return the JSON of an aggregate's state.

    Raises:
        SnapshotError: It would not come back as it is.
    """
    state = as_json(aggregate.to_snapshot(), f"the snapshot of {aggregate!r}")
    copy = type(aggregate)(aggregate.id)
    copy.from_snapshot(json_codec.decode(state.encode()))
    before, after = _compared(aggregate), _compared(copy)
    for name in before.keys() | after.keys():
        if before.get(name, ...) != after.get(name, ...):
            raise SnapshotError(
                f"{type(aggregate).__name__}.{name} is {after.get(name)!r:.80} after a snapshot, and was "
                f"{before.get(name)!r:.80}: annotate it in the class body, or write to_snapshot and from_snapshot"
            )
    return state


def _compared(aggregate: Aggregate) -> dict[str, Any]:
    return {name: value for name, value in vars(aggregate).items() if name not in _OWN}


@cache
def _annotations(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {name: hint for name, hint in hints.items() if name not in Aggregate.__annotations__ and hint is not Any}
