"""Events and snapshots: what happened, and the state that followed from it up to some version.

The data of an event is any JSON value, or a model (msgspec Struct, dataclass, TypedDict or pydantic model) that is
written as one. A store hands out JSON values; whoever handles an event by its class (`@event_handler(Deposited)`) gets
the model back.
"""

import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from cello.errors import BadRequest
from cello.eventsourcing.errors import EventStoreError
from cello.http import json_codec
from cello.pipeline.models import is_model
from cello.pipeline.shapes import make_validator

M = TypeVar("M")

LONGEST_NAME = 255
LONGEST_ID = 128


class Record(NamedTuple):
    """An event as it is stored.

    Attributes:
        position: Its place in the feed of all events, from 1, without gaps.
        aggregate_id: Whose.
        version: Its place in the aggregate's stream, from 1, without gaps.
        event_id: What makes appending it twice the same as once.
        event_type: What kind.
        schema_version: Which form its data has.
        data: JSON.
        metadata: JSON, an object.
        created_ms: When it was made, in milliseconds since 1970.
    """

    position: int
    aggregate_id: str
    version: int
    event_id: str
    event_type: str
    schema_version: int
    data: str
    metadata: str
    created_ms: int


class Event:
    """Something that happened.

    Args:
        event_type: What: a name, or the class of a model, whose name it is.
        data: A JSON value, or a model.
        aggregate_id: Whose; `append` fills it in.
        metadata: About it: whatever is worth keeping. `append` adds `correlation_id`, `causation_id` and `trace_id`
            where they are known.
        id: What makes appending it twice the same as once; None for a new one. Up to 128 characters.
        schema_version: Which form the data has; None for the newest that upcasters know (1 without any).
        timestamp: When, in seconds since 1970; None for now.

    Attributes:
        version: Its place in the aggregate's stream, from 1; 0 before it was applied or appended.
        position: Its place among all events, from 1; 0 before it was read from a store.
    """

    __slots__ = ("_data", "_raw", "aggregate_id", "event_type", "id", "metadata", "position", "schema_version",
                 "timestamp", "version")  # fmt: skip

    def __init__(
        self,
        event_type: str | type,
        data: Any = None,
        aggregate_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        schema_version: int | None = None,
        timestamp: float | None = None,
    ) -> None:
        self.event_type = event_name(event_type)
        self._data = {} if data is None else data
        self._raw: str | None = None
        self.aggregate_id = aggregate_id
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.id = new_id() if id is None else id
        self.schema_version = schema_version
        self.timestamp = time.time() if timestamp is None else timestamp
        self.version = 0
        self.position = 0

    @classmethod
    def of(cls, model: Any, **options: Any) -> "Event":
        """Return the event that a model is: its class's name, and the model as data."""
        if not is_model(type(model)):
            raise EventStoreError(f"an event is an Event or a Struct, dataclass or pydantic model, not {model!r:.80}")
        return cls(type(model), model, **options)

    @classmethod
    def _of_record(cls, record: Record) -> "Event":
        self = cls.__new__(cls)
        (self.position, self.aggregate_id, self.version, self.id, self.event_type, self.schema_version, self._raw,
         metadata, created_ms) = record  # fmt: skip
        self.metadata = {} if metadata == "{}" else json_codec.decode(metadata.encode())
        self.timestamp = created_ms / 1000
        self._data = None
        return self

    @property
    def data(self) -> Any:
        """What happened, in detail."""
        if self._raw is not None:  # it is read when it is looked at
            self._data = json_codec.decode(self._raw.encode())
            self._raw = None
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._data = value
        self._raw = None

    def data_as(self, model: type[M]) -> M:
        """Return the data as a model.

        Raises:
            EventStoreError: It does not fit.
        """
        data = self.data
        return data if isinstance(data, model) else as_model(data, model, repr(self))

    def json(self) -> dict[str, Any]:
        """Return all of it as a dict."""
        names = ("id", "event_type", "aggregate_id", "data", "metadata", "version", "timestamp")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"Event({self.event_type!r}, aggregate_id={self.aggregate_id!r}, version={self.version}, id={self.id!r})"


class Snapshot:
    """The state of an aggregate after some event.

    Args:
        aggregate_id: Whose.
        version: After which event.
        state: A JSON value.
        schema_version: Which form the state has; a repository ignores snapshots of another than its aggregate's.
        timestamp: When, in seconds since 1970; None for now.
    """

    __slots__ = ("aggregate_id", "schema_version", "state", "timestamp", "version")

    def __init__(
        self, aggregate_id: str, version: int, state: Any, *, schema_version: int = 1, timestamp: float | None = None
    ) -> None:
        self.aggregate_id = aggregate_id
        self.version = version
        self.state = state
        self.schema_version = schema_version
        self.timestamp = time.time() if timestamp is None else timestamp

    def __repr__(self) -> str:
        return f"Snapshot({self.aggregate_id!r}, version={self.version})"


def event_name(event_type: str | type) -> str:
    """Return the name of a type of event: of a class its `event_type`, if it says one, else its name.

    Raises:
        EventStoreError: It is neither a name nor a class.
    """
    if isinstance(event_type, str):
        return event_type
    if isinstance(event_type, type):
        named = getattr(event_type, "event_type", None)
        return named if isinstance(named, str) else event_type.__name__
    raise EventStoreError(f"an event's type is a name or a class, not {event_type!r:.80}")


def new_id() -> str:
    """Return a new id: a UUID of version 7 (RFC 9562 §5.7); it begins with the time, so that indexes grow in order."""
    ms = time.time_ns() // 1_000_000
    tail = os.urandom(10).hex()
    variant = "89ab"[int(tail[3], 16) & 3]
    text = f"{ms:012x}"
    return f"{text[:8]}-{text[8:]}-7{tail[:3]}-{variant}{tail[4:7]}-{tail[7:19]}"


def as_json(value: Any, what: str) -> str:
    """Return the JSON of a value.

    Raises:
        EventStoreError: It has none.
    """
    try:
        return json_codec.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EventStoreError(f"{what} has no JSON form: {error}") from None


_validators: dict[Any, Any] = {}


def as_model(data: Any, model: Any, what: str) -> Any:
    """Return JSON data as a model.

    Raises:
        EventStoreError: It does not fit; the message says where.
    """
    validate = _validators.get(model)
    if validate is None:
        validate = _validators[model] = make_validator(model, what)
    faults: list[Any] = []
    try:
        made = validate(data, (), faults)
    except BadRequest as error:
        faults.append(error.detail)
    if faults:
        raise EventStoreError(f"{what}: its data is no {getattr(model, '__name__', model)}: {faults[0]}")
    return made


def check_name(value: object, what: str, longest: int = LONGEST_NAME) -> str:
    """Return a name that every database keeps as it is.

    Raises:
        EventStoreError: It is none.
    """
    if not isinstance(value, str) or not value or len(value) > longest:
        raise EventStoreError(f"{what} is 1-{longest} characters, not {value!r:.80}")
    if not value.isprintable() or value[0] == " " or value[-1] == " ":
        raise EventStoreError(f"{what} has no control characters and no space at its ends: {value!r:.80}")
    return value
