"""What `http` asks of the rooms above it, as Protocols: nothing here runs."""

from typing import Protocol


class HeadFields(Protocol):
    """A head object: the fields of a received message (`head.FieldList` and others)."""

    def get(self, name: bytes, /) -> bytes | None:
        """Return the value of the field with this lower-case name, repeated ones joined by ", "."""

    def get_all(self, name: bytes, /) -> list[bytes]:
        """Return every value of the field with this lower-case name."""

    def raw(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as received."""


class BodySource(Protocol):
    """A request body that is still on its way.

    Both methods raise `ClientDisconnected` when the body will not be completed, and `HTTPError` (408, 413) when it is
    too slow or too large.
    """

    async def read(self) -> bytes:
        """Return the next piece, b"" at the end; for the event loop the request is served on."""

    def read_blocking(self) -> bytes:
        """Return the next piece, b"" at the end; for a worker thread."""


class Client(Protocol):
    """The client of a request, as its gateway sees it."""

    async def disconnected(self) -> bool:
        """Whether the client has gone; answers at once."""


class SessionLike(Protocol):
    """What features may ask of `request.session`, a mapping of text to what JSON can say (`features/session.py`)."""

    @property
    def id(self) -> str:
        """Its name, a secret."""

    @property
    def accessed(self) -> bool:
        """Whether somebody looked at it, so that the answer depends on who asks."""

    def __len__(self) -> int:
        """Return how many entries it has; one without is not kept."""
