"""Problem documents: errors that programs can read (RFC 9457)."""

from typing import Any, Self

from cello.errors import ConfigError
from cello.http import json_codec, media
from cello.http.outgoing import checked_status
from cello.http.response import Response

_STANDARD = frozenset({"type", "title", "status", "detail", "instance"})


class ProblemDetails:
    """What went wrong, as an `application/problem+json` document.

    Args:
        type_uri: A URI that names the kind of problem; "about:blank" when the status says it all.
        title: The kind in a few words, the same every time.
        status: 400–599.
        detail: What happened this time, for people.
        instance: A URI that names this occurrence.
    """

    __slots__ = ("detail", "extensions", "instance", "status", "title", "type_uri")

    def __init__(
        self, type_uri: str, title: str, status: int, detail: str | None = None, instance: str | None = None
    ) -> None:
        self.type_uri = type_uri
        self.title = title
        self.status = checked_status(status)
        self.detail = detail
        self.instance = instance
        self.extensions: dict[str, Any] = {}

    def with_extension(self, name: str, value: Any) -> Self:
        """Add a member of your own (RFC 9457 §3.2) and return the problem.

        Raises:
            ConfigError: The name is one of the standard members.
        """
        if name in _STANDARD:
            raise ConfigError(f"{name!r} is a standard member of a problem document: set the attribute instead")
        self.extensions[name] = value
        return self

    def members(self) -> dict[str, Any]:
        """Return the document as a dict, without the members that have no value."""
        members: dict[str, Any] = {"type": self.type_uri, "title": self.title, "status": self.status}
        if self.detail is not None:
            members["detail"] = self.detail
        if self.instance is not None:
            members["instance"] = self.instance
        return members | self.extensions

    def to_json(self) -> str:
        """Return the document as JSON text."""
        return json_codec.encode(self.members()).decode()

    def to_response(self) -> Response:
        """Return the document as a response with its status."""
        return Response(json_codec.encode(self.members()), self.status, None, media.PROBLEM)

    def __repr__(self) -> str:
        return f"ProblemDetails({self.type_uri!r}, {self.title!r}, {self.status})"
