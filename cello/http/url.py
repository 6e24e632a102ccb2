"""Percent-encoding, query strings, and the URL of a redirect.

Two strictnesses, on purpose. A path selects a resource, so a malformed escape in it is refused (RFC 3986 §2.1). A query
is typed by people and forms, so `100%` stays what it is, as in browsers (WHATWG URL, urlencoded form).
In both, what decodes to bytes that are not UTF-8 is refused rather than guessed.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_to_bytes

from cello.errors import BadRequest, ContentTooLarge

PATH_SAFE = "/!$&'()*+,;=:@-._~"  # pchar of RFC 3986 §3.3, and the slash
URL_SAFE = "!#$%&'()*+,/:;=?@[]-._~"
_MALFORMED_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Query(dict[str, str]):
    """Decoded pairs of a query or a form, as a dict of each name's last value; `get_all` has the others.

    Args:
        pairs: In the order they came.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs: list[tuple[str, str]] = list(pairs)
        super().__init__(self.pairs)

    def get_all(self, name: str) -> list[str]:
        """Return every value of a name, in order."""
        return [value for key, value in self.pairs if key == name]


def decode_segment(text: str) -> str:
    """Return a percent-decoded path, or a segment of one.

    Raises:
        BadRequest: A "%" without two hexadecimal digits, or bytes that are not UTF-8.
    """
    if "%" not in text:
        return text
    if _MALFORMED_ESCAPE.search(text):
        raise BadRequest("The path holds a malformed percent-escape.")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("The path is not UTF-8.") from error


def decode_lenient(text: str) -> str:
    """Return a percent-decoded path for display: what cannot be decoded becomes U+FFFD."""
    return unquote_to_bytes(text).decode("utf-8", "replace")


def parse_query(text: str, max_fields: int | None = None) -> Query:
    """Return the decoded pairs of a query string or an urlencoded form.

    Args:
        text: Percent-encoded, without the "?".
        max_fields: How many pairs are accepted; None for any number.

    Raises:
        BadRequest: A name or value is not UTF-8.
        ContentTooLarge: More than `max_fields` pairs; nothing was decoded.
    """
    if not text:
        return Query()
    pieces = [piece for piece in text.split("&") if piece]
    if max_fields is not None and len(pieces) > max_fields:
        raise ContentTooLarge(f"The form has more than {max_fields} fields.")
    split = [piece.partition("=") for piece in pieces]
    if "%" in text or "+" in text:
        return Query([(_decode_form(name), _decode_form(value)) for name, _, value in split])
    return Query([(name, value) for name, _, value in split])


def _decode_form(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"A query or form field is not UTF-8: {text!r:.80}.") from error


def encode_path(text: str) -> str:
    """Return text percent-encoded for use as a path; "/" stays."""
    return quote(text, PATH_SAFE)


def encode_query(values: Mapping[str, object]) -> str:
    """Return a mapping as a query string; a list or tuple as a value repeats its name."""
    return "&".join(
        f"{quote(name, '')}={quote(str(each), '')}"
        for name, value in values.items()
        for each in (value if isinstance(value, list | tuple) else (value,))
    )


def encode_location(url: str) -> str:
    """Return a URL fit for a `Location` field: what is not ASCII, and spaces, percent-encoded, the rest untouched.

    Raises:
        ValueError: The URL holds a control character: a client's input reached a redirect unchecked.
    """
    if _CONTROL.search(url):
        raise ValueError(f"a redirect URL holds a control character: {url!r:.80}")
    return quote(url, URL_SAFE)
