"""Header fields as mappings: a read-only view of what came, and a validated collection of what will be sent.

Names are case-insensitive, values are Latin-1 text (RFC 9110 §5.5).

SECURITY: what is set on `ResponseHeaders` is checked when it is set, so a CR, LF or NUL that a client smuggled into a
value fails in the line that used it and never splits a response.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import TypeVar, overload

from cello.http.grammar import is_field_value, is_token
from cello.http.head import FieldList as FieldList
from cello.http.ports import HeadFields

T = TypeVar("T")

HeaderValues = Mapping[str, str] | Iterable[tuple[str, str]]
"""What a `headers=` argument takes: a mapping, or pairs where a name comes more than once."""


class FieldText(str):
    """Text that may also be called: `request.host` and, as programs for the Rust package write it, `request.host()`."""

    __slots__ = ()

    def __call__(self) -> str:
        """Return the text."""
        return self


class Headers(Mapping[str, str]):
    """The fields of a request: read-only, case-insensitive, repeated ones joined by ", ".

    Args:
        head: The head object to look into; nothing is decoded before it is asked for.
    """

    __slots__ = ("_head",)

    def __init__(self, head: HeadFields) -> None:
        self._head = head

    def __getitem__(self, name: str) -> str:
        value = self._head.get(_key(name))
        if value is None:
            raise KeyError(name)
        return value.decode("latin-1")

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | T) -> str | T: ...
    def get(self, name: str, /, default: T | None = None) -> str | T | None:
        """Return the field's value, or `default` when it was not sent."""
        value = self._head.get(_key(name))
        return default if value is None else value.decode("latin-1")

    def get_all(self, name: str) -> list[str]:
        """Return every value of a field, in order."""
        return [value.decode("latin-1") for value in self._head.get_all(_key(name))]

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """The fields as received: spelling, order and repetitions kept."""
        return self._head.raw()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._head.get(_key(name)) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower().decode("latin-1") for name, _ in self._head.raw()))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._head.raw()})

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


class ResponseHeaders(MutableMapping[str, str]):
    """The fields of a response: ordered, case-insensitive, and a name may come more than once.

    `headers[name] = value` replaces every field of that name; `append` adds one. Reading joins repeated ones by ", ".

    Args:
        fields: What to start with.
    """

    __slots__ = ("_fields", "_names")

    def __init__(self, fields: HeaderValues | None = None) -> None:
        self._names: list[str] = []
        self._fields: list[tuple[bytes, bytes]] = []
        if fields is not None:
            self.extend(fields)

    def __setitem__(self, name: str, value: str) -> None:
        self.put(*make_field(name, value))

    def put(self, key: str, field: tuple[bytes, bytes]) -> None:
        """Set a field that `make_field` made beforehand, for fields that many answers share."""
        names = self._names
        if key not in names:
            names.append(key)
            self._fields.append(field)
            return
        first = names.index(key)
        self._fields[first] = field
        for index in range(len(names) - 1, first, -1):
            if names[index] == key:
                del names[index], self._fields[index]

    def put_missing(self, fields: Iterable[tuple[str, tuple[bytes, bytes]]]) -> None:
        """Set those of `fields`, made by `make_field` beforehand, whose name is not there yet."""
        names = self._names
        for key, field in fields:
            if key not in names:
                names.append(key)
                self._fields.append(field)

    def put_all(self, fields: Iterable[tuple[str, tuple[bytes, bytes]]]) -> None:
        """Append fields made by `make_field`, such as those of another answer."""
        for key, field in fields:
            self._names.append(key)
            self._fields.append(field)

    def append(self, name: str, value: str) -> None:
        """Add a field and keep those of the same name.

        Raises:
            ValueError: The name is no token, or the value holds a control character or one above U+00FF.
        """
        key, field = make_field(name, value)
        self._names.append(key)
        self._fields.append(field)

    def extend(self, fields: HeaderValues) -> None:
        """Append every field of a mapping or of pairs."""
        for name, value in fields.items() if isinstance(fields, Mapping) else fields:
            self.append(name, value)

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, /, default: str | T) -> str | T: ...
    def get(self, name: str, /, default: T | None = None) -> str | T | None:
        """Return the field's value, or `default` when it was not set."""
        return ", ".join(self.get_all(name)) if name.lower() in self._names else default

    def get_all(self, name: str) -> list[str]:
        """Return every value of a field, in order."""
        key = name.lower()
        return [
            value.decode("latin-1") for each, (_, value) in zip(self._names, self._fields, strict=True) if each == key
        ]

    def add_vary(self, name: str) -> None:
        """Name a request field in `Vary`, once; `Vary: *` says it already (RFC 9110 §12.5.5)."""
        known = [member.strip().lower() for value in self.get_all("vary") for member in value.split(",")]
        if "*" not in known and name.lower() not in known:
            self["Vary"] = ", ".join([*self.get_all("vary"), name])

    def __delitem__(self, name: str) -> None:
        key = name.lower()
        if key not in self._names:
            raise KeyError(name)
        kept = [index for index, each in enumerate(self._names) if each != key]
        self._fields = [self._fields[index] for index in kept]
        self._names = [self._names[index] for index in kept]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._names))

    def __len__(self) -> int:
        return len(set(self._names))

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return the fields as they will be sent."""
        return list(self._fields)

    def keyed_fields(self) -> Iterator[tuple[str, tuple[bytes, bytes]]]:
        """Yield each field behind its lower-case name."""
        return zip(self._names, self._fields, strict=True)

    def __repr__(self) -> str:
        return f"ResponseHeaders({self._fields!r})"


def make_field(name: str, value: str) -> tuple[str, tuple[bytes, bytes]]:
    """Return the lower-case name and the encoded field.

    Raises:
        ValueError: The name is no token, or the value holds a control character or one above U+00FF.
        TypeError: The name or the value is not a str.
    """
    key, encoded = _encode_name(name)
    if not isinstance(value, str):
        raise TypeError(f"the value of header {name!r} must be a str, not {type(value).__name__}: {value!r:.80}")
    if not is_field_value(value):
        raise ValueError(f"the value of header {name!r} holds a character that cannot be sent: {value!r:.80}")
    return key, (encoded, value.strip(" \t").encode("latin-1"))


@lru_cache(maxsize=512)
def _encode_name(name: str) -> tuple[str, bytes]:
    if not isinstance(name, str):
        raise TypeError(f"a header name must be a str, not {type(name).__name__}: {name!r:.80}")
    if not is_token(name):
        raise ValueError(f"{name!r:.80} is not a header name")
    return name.lower(), name.encode("ascii")


def _key(name: str) -> bytes:
    """Return the bytes a head object is asked with; a name that cannot exist asks for one that never does."""
    return name.lower().encode("latin-1", "replace")
