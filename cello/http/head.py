"""The fields of a received message, kept as they came and looked at only when somebody asks.

This is the pure twin of the head object that the compiled scanner makes. Strategy: a list and a linear search. Requests
carry about a dozen fields and handlers ask for one or two, so building a dictionary costs more than it saves.
"""


class FieldList:
    """The fields of one message, in order.

    Args:
        fields: (name, value) pairs as received; the list is not copied.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self._fields = fields

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the field with this lower-case name, repeated ones joined by ", " (RFC 9110 §5.3)."""
        found = None
        size = len(name)
        for key, value in self._fields:
            if len(key) == size and key.lower() == name:
                found = value if found is None else found + b", " + value
        return found

    def get_all(self, name: bytes) -> list[bytes]:
        """Return the values of every field with this lower-case name, in order."""
        return [value for key, value in self._fields if key.lower() == name]

    def raw(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as received: spelling, order and repetitions kept."""
        return list(self._fields)

    def __repr__(self) -> str:
        return f"FieldList({self._fields!r})"
