"""Commands and queries, and what becomes of them.

A command or query is any object; its class decides who handles it. Dataclasses, Structs and pydantic models will do.
`Command` and `Query` are base classes that add an id and a time: a subclass with annotated fields becomes a dataclass
whose fields are given by keyword, one without takes whatever it is given. A Struct stands by itself.
"""

import dataclasses
import inspect
import time
import uuid
from typing import Any, Self, dataclass_transform

from cello.errors import CelloError, ConfigError


@dataclass_transform(kw_only_default=True)
class Message:
    """What commands and queries have in common.

    Attributes:
        id: A UUID, unless a field of this name says otherwise.
        timestamp: When it was first asked for, in seconds since 1970.

    Raises:
        ConfigError: A subclass is a Struct as well.
    """

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # msgspec makes the rest of a Struct after this: whoever looks at its attributes now ends the process.
        if any(base.__module__ == "msgspec" and base.__name__ == "Struct" for base in cls.__mro__[1:]):
            raise ConfigError(
                f"{cls.__name__}: a Struct is no subclass of Command or Query; it is a message as it stands"
            )
        if inspect.get_annotations(cls) and "__init__" not in cls.__dict__:
            dataclasses.dataclass(kw_only=True, repr=False)(cls)

    def __getattr__(self, name: str) -> Any:
        # Made when asked for: decoders build objects without calling __init__.
        if name == "id":
            return self.__dict__.setdefault("id", str(uuid.uuid4()))
        if name == "timestamp":
            return self.__dict__.setdefault("timestamp", time.time())
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._members().items())})"

    def _members(self) -> dict[str, Any]:
        made = ("id", "timestamp")
        return {name: value for name, value in vars(self).items() if name not in made and not name.startswith("_")}


@dataclass_transform(kw_only_default=True)
class Command(Message):
    """An intention to change something."""

    @property
    def command_type(self) -> str:
        """The name of its class."""
        return type(self).__name__

    def validate(self) -> Any:
        """Raise ValueError or TypeError where the command makes no sense; called before its handler is."""

    def to_dict(self) -> dict[str, Any]:
        """Return id, type, time and fields."""
        about = {"id": self.id, "command_type": self.command_type, "timestamp": self.timestamp}
        return about | self._members()


@dataclass_transform(kw_only_default=True)
class Query(Message):
    """A question that changes nothing."""

    @property
    def query_type(self) -> str:
        """The name of its class."""
        return type(self).__name__

    def to_dict(self) -> dict[str, Any]:
        """Return id, type, time and fields."""
        return {"id": self.id, "query_type": self.query_type, "timestamp": self.timestamp} | self._members()


class Unsuccessful(CelloError):
    """`unwrap()` was called on a result without success.

    Attributes:
        result: The result.
    """

    def __init__(self, result: Any) -> None:
        super().__init__(str(result))
        self.result = result


OK, FAILED, REJECTED, INVALID, TIMEOUT, NOT_FOUND = "ok", "failed", "rejected", "invalid", "timeout", "not_found"


@dataclasses.dataclass(frozen=True, slots=True)
class CommandResult:
    """What became of a command.

    Attributes:
        success: Whether it did what it should.
        data: What its handler returned.
        error: Why not, in words.
        outcome: "ok"; "failed" by its handler; "invalid" or "rejected" before or by it; "timeout".
        reason: Why it was rejected, in words.
        exception: What its handler raised.
    """

    success: bool
    data: Any = None
    error: str | None = None
    outcome: str = ""
    reason: str | None = None
    exception: Exception | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.outcome:
            object.__setattr__(self, "outcome", OK if self.success else FAILED)

    @classmethod
    def ok(cls, data: Any = None) -> Self:
        """It did what it should."""
        return cls(True, data)

    @classmethod
    def fail(cls, error: str, *, exception: Exception | None = None) -> Self:
        """It could not."""
        return cls(False, error=error, exception=exception)

    @classmethod
    def rejected(cls, reason: str, *, outcome: str = REJECTED) -> Self:
        """It was not to be done."""
        return cls(False, error=f"Rejected: {reason}", outcome=outcome, reason=reason)

    def unwrap(self) -> Any:
        """Return the data.

        Raises:
            Unsuccessful: There was no success; what the handler raised is its cause.
        """
        if not self.success:
            raise Unsuccessful(self) from self.exception
        return self.data


@dataclasses.dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query found.

    Attributes:
        data: What its handler returned.
        error: Why there is none, in words; None also where nothing was found.
        outcome: "ok", "not_found", "failed", "invalid" or "timeout".
        exception: What its handler raised.
    """

    data: Any = None
    error: str | None = None
    outcome: str = ""
    exception: Exception | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.outcome:
            found = OK if self.data is not None else NOT_FOUND
            object.__setattr__(self, "outcome", found if self.error is None else FAILED)

    @property
    def found(self) -> bool:
        """Whether there is anything."""
        return self.data is not None and self.error is None

    @classmethod
    def ok(cls, data: Any) -> Self:
        """This was found; None is nothing."""
        return cls(data)

    @classmethod
    def not_found(cls) -> Self:
        """There is nothing."""
        return cls()

    @classmethod
    def fail(cls, error: str, *, outcome: str = FAILED, exception: Exception | None = None) -> Self:
        """It could not be found out."""
        return cls(None, error, outcome, exception)

    def unwrap(self) -> Any:
        """Return the data; None where nothing was found.

        Raises:
            Unsuccessful: It failed; what the handler raised is its cause.
        """
        if self.error is not None:
            raise Unsuccessful(self) from self.exception
        return self.data
