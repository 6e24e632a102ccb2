"""Media types: parsing them, choosing between them by `Accept`, and knowing the one of a file by its name.

Qualities and precedence are RFC 9110 §12.4.2 and §12.5.1. A member of an `Accept…` field that is malformed is ignored,
so that one odd client setting does not cost an answer.
"""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from cello.errors import BadRequest
from cello.http.grammar import is_token, parse_parameters, split_list

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
XML = "application/xml"
BINARY = "application/octet-stream"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
PROBLEM = "application/problem+json"

_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")

# SECURITY: only plain text codecs; Python's others decode compressed or self-describing data, at a price.
_CHARSETS = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1",
    "latin1": "latin-1", "iso-8859-15": "iso8859-15", "windows-1252": "cp1252", "utf-16": "utf-16",
    "utf-16le": "utf-16-le", "utf-16be": "utf-16-be",
}  # fmt: skip

# A table of our own: `mimetypes` reads files of the machine, so the same app would answer differently on another one.
_BY_EXTENSION = {
    "7z": "application/x-7z-compressed", "aac": "audio/aac", "apng": "image/apng", "atom": "application/atom+xml",
    "avi": "video/x-msvideo", "avif": "image/avif", "bin": BINARY, "bmp": "image/bmp", "bz2": "application/x-bzip2",
    "cjs": "text/javascript", "css": "text/css", "csv": "text/csv", "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "eot": "application/vnd.ms-fontobject", "epub": "application/epub+zip", "flac": "audio/flac", "gif": "image/gif",
    "gz": "application/gzip", "htm": "text/html", "html": "text/html", "ico": "image/vnd.microsoft.icon",
    "ics": "text/calendar", "jpeg": "image/jpeg", "jpg": "image/jpeg", "js": "text/javascript", "json": JSON,
    "jsonld": "application/ld+json", "jxl": "image/jxl", "m4a": "audio/mp4", "map": JSON, "md": "text/markdown",
    "mjs": "text/javascript", "mkv": "video/x-matroska", "mov": "video/quicktime", "mp3": "audio/mpeg",
    "mp4": "video/mp4", "mpeg": "video/mpeg", "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet", "odt": "application/vnd.oasis.opendocument.text",
    "oga": "audio/ogg", "ogg": "audio/ogg", "ogv": "video/ogg", "opus": "audio/ogg", "otf": "font/otf",
    "pdf": "application/pdf", "png": "image/png", "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation", "rss": "application/rss+xml",
    "rtf": "application/rtf", "svg": "image/svg+xml", "tar": "application/x-tar", "tif": "image/tiff",
    "tiff": "image/tiff", "toml": "application/toml", "ts": "video/mp2t", "ttf": "font/ttf", "txt": "text/plain",
    "vtt": "text/vtt", "wasm": "application/wasm", "wav": "audio/wav", "weba": "audio/webm", "webm": "video/webm",
    "webmanifest": "application/manifest+json", "webp": "image/webp", "woff": "font/woff", "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml", "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xml": XML, "xz": "application/x-xz",
    "yaml": "application/yaml", "yml": "application/yaml", "zip": "application/zip", "zst": "application/zstd",
}  # fmt: skip


class MediaType(NamedTuple):
    """A media type or range, in lower case but for parameter values (RFC 9110 §8.3.1)."""

    type: str
    subtype: str
    parameters: dict[str, str]

    @property
    def essence(self) -> str:
        """The type without its parameters: "text/html"."""
        return f"{self.type}/{self.subtype}"


def parse_media_type(text: str) -> MediaType | None:
    """Return the media type that `text` spells, or None when it does not spell one."""
    essence, semicolon, rest = text.partition(";")
    kind, slash, subtype = essence.strip(" \t").lower().partition("/")
    if not slash or not is_token(kind) or not is_token(subtype):
        return None
    parameters = parse_parameters(semicolon + rest)
    return None if parameters is None else MediaType(kind, subtype, parameters)


def essence_of(content_type: str) -> str:
    """Return a Content-Type without its parameters, in lower case, unchecked."""
    return content_type.partition(";")[0].strip(" \t").lower()


def parse_qualities(value: str) -> list[tuple[str, float]]:
    """Return the members of `Accept-Encoding` and its like with their weights, in order, in lower case."""
    members = []
    for item in split_list(value):
        name, semicolon, rest = item.partition(";")
        parameters = parse_parameters(semicolon + rest)
        weight = None if parameters is None else _weight(parameters)
        if weight is not None:
            members.append((name.strip(" \t").lower(), weight))
    return members


def _weight(parameters: dict[str, str]) -> float | None:
    text = parameters.pop("q", "1")
    return float(text) if _QUALITY.fullmatch(text) else None


def quality(accept: str | None, media_type: str) -> float:
    """Return the weight 0–1 that an `Accept` value gives a media type: that of the most specific range that matches.

    Args:
        accept: None when the field was not sent, which accepts everything.
        media_type: What is offered; with parameters only ranges that name them, or fewer, match it.
    """
    if accept is None or not accept.strip():
        return 1.0
    offer = parse_media_type(media_type)
    if offer is None:
        return 0.0
    best = (-1, 0.0)
    for item in split_list(accept):
        media_range = parse_media_type(item)
        if media_range is None:
            continue
        weight = _weight(media_range.parameters)
        if weight is None:
            continue
        specificity = _specificity(media_range, offer)
        if specificity > best[0]:
            best = (specificity, weight)
    return best[1]


def _specificity(media_range: MediaType, offer: MediaType) -> int:
    """Return how exactly a range names an offer; -1 when it does not match."""
    if media_range.type == "*":
        return 0 if media_range.subtype == "*" else -1
    if media_range.type != offer.type:
        return -1
    if media_range.subtype == "*":
        return 1
    if media_range.subtype != offer.subtype:
        return -1
    for name, value in media_range.parameters.items():
        if offer.parameters.get(name, "").lower() != value.lower():
            return -1
    return 2 + len(media_range.parameters)


def accepted_codings(accept: str, offers: Sequence[str]) -> list[str]:
    """Return those of the content codings that a client likes better than none, best first (RFC 9110 §12.5.3).

    Args:
        accept: The value of `Accept-Encoding`.
        offers: Names of codings; among those that the client likes equally, this order holds.
    """
    weights = dict(parse_qualities(accept))
    if "x-gzip" in weights:
        weights.setdefault("gzip", weights["x-gzip"])
    others = weights.get("*", 0.0)
    plain = weights.get("identity", 0.0)  # as it is is worth less than encoded, unless the client says otherwise
    liked = {name: weights.get(name, others) for name in offers}
    best = [name for name in offers if liked[name] > 0 and liked[name] >= plain]
    return sorted(best, key=lambda name: -liked[name])


def best_match(accept: str | None, offers: list[str]) -> str | None:
    """Return the offer that `accept` likes best, the first of equals, or None when it accepts none of them."""
    best: str | None = None
    best_weight = 0.0
    for offer in offers:
        weight = quality(accept, offer)
        if weight > best_weight:
            best, best_weight = offer, weight
    return best


def guess_content_type(filename: str) -> str:
    """Return the Content-Type of a file by its extension; text is declared UTF-8, the unknown is octets."""
    extension = os.path.splitext(filename)[1][1:].lower()
    found = _BY_EXTENSION.get(extension, BINARY)
    return f"{found}; charset=utf-8" if found.startswith("text/") else found


def decode_text(data: bytes, content_type: str) -> str:
    """Return a body as text, by the charset of its Content-Type or else UTF-8.

    Raises:
        BadRequest: The charset is unknown, or the body is not in it.
    """
    charset = "utf-8"
    if ";" in content_type:
        media_type = parse_media_type(content_type)
        if media_type is not None:
            charset = media_type.parameters.get("charset", "utf-8").lower()
    codec = _CHARSETS.get(charset)
    if codec is None:
        raise BadRequest(f"The charset {charset!r:.40} is not supported.")
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not {charset} text.") from error
