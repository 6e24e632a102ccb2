"""A request as a test writes it, encoded into what a transport sends."""

import json as json_module
import secrets
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from mimetypes import guess_type
from typing import IO, Any, Final
from urllib.parse import quote, urlencode, urljoin, urlsplit

from cello.errors import ConfigError

UNSET: Final[Any] = object()

Params = Mapping[str, Any] | Sequence[tuple[str, Any]] | str
Fields = Mapping[str, str] | Sequence[tuple[str, str]]
Content = bytes | str | Iterable[bytes] | AsyncIterable[bytes]
FileContent = bytes | str | IO[bytes]
File = FileContent | tuple[str, FileContent] | tuple[str, FileContent, str]
Files = Mapping[str, File] | Sequence[tuple[str, File]]
Body = bytes | Iterable[bytes] | AsyncIterable[bytes]


@dataclass(slots=True)
class Outgoing:
    """One request, ready to be sent.

    Attributes:
        url: The absolute address, percent-encoded.
        headers: Fields in order, Host first; no Transfer-Encoding, which is the transport's business.
        body: All of it as bytes, or the pieces of a body without a Content-Length.
    """

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: Body

    @property
    def target(self) -> str:
        """The path and query, as they stand in a request line."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def make_outgoing(
    method: str,
    url: str,
    *,
    params: Params | None,
    headers: Fields,
    content: Content | None,
    json: Any,
    data: Mapping[str, Any] | None,
    files: Files | None,
) -> Outgoing:
    """Encode a request.

    Raises:
        ConfigError: More than one kind of body was given.
    """
    if sum((content is not None, json is not UNSET, data is not None or files is not None)) > 1:
        raise ConfigError("give a request one body: content=, json=, or data= and files=")
    fields = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    names = {name.lower() for name, _ in fields}
    body: Body = b""
    content_type: str | None = None
    if json is not UNSET:
        body = json_module.dumps(json, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        content_type = "application/json"
    elif files is not None:
        body, content_type = encode_multipart(data or {}, files)
    elif data is not None:
        body = urlencode(list(pairs_of(data))).encode("ascii")
        content_type = "application/x-www-form-urlencoded"
    elif isinstance(content, str):
        body = content.encode()
    elif content is not None:
        body = content
    url = add_params(url, params)
    if "host" not in names:
        fields.insert(0, ("Host", urlsplit(url).netloc))
    if content_type is not None and "content-type" not in names:
        fields.append(("Content-Type", content_type))
    if isinstance(body, bytes) and (body or method in ("POST", "PUT", "PATCH")) and "content-length" not in names:
        fields.append(("Content-Length", str(len(body))))
    return Outgoing(method, url, fields, body)


def join_url(base_url: str, url: str) -> str:
    """Return `url` made absolute, with what is not allowed in a URL percent-encoded."""
    if urlsplit(url).scheme in ("http", "https"):
        absolute = url
    elif url.startswith("/"):
        absolute = base_url.rstrip("/") + url  # not urljoin: "//x" is a path here, not a host
    else:
        absolute = urljoin(base_url.rstrip("/") + "/", url)
    return quote(absolute.partition("#")[0], safe="".join(map(chr, range(0x21, 0x7F))))


def add_params(url: str, params: Params | None) -> str:
    """Append query parameters; a list as value repeats the name, None leaves it out."""
    if not params:
        return url
    query = params if isinstance(params, str) else urlencode(list(pairs_of(params)))
    return f"{url}{'&' if '?' in url else '?'}{query}"


def pairs_of(values: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> Iterable[tuple[str, str]]:
    """Yield (name, text) pairs of form or query values."""
    for name, value in values.items() if isinstance(values, Mapping) else values:
        for item in value if isinstance(value, (list, tuple)) else (value,):
            if item is not None:
                yield name, str(item).lower() if isinstance(item, bool) else str(item)


def encode_multipart(data: Mapping[str, Any], files: Files) -> tuple[bytes, str]:
    """Return a multipart/form-data body (RFC 7578) and its Content-Type."""
    boundary = secrets.token_hex(16)
    body = bytearray()
    for name, value in pairs_of(data):
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{quoted(name)}"\r\n\r\n{value}\r\n'.encode()
    for name, file in files.items() if isinstance(files, Mapping) else files:
        filename, content, content_type = describe_file(file)
        body += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{quoted(name)}"; filename="{quoted(filename)}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        ).encode()
        body += content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f"multipart/form-data; boundary={boundary}"


def describe_file(file: File) -> tuple[str, bytes, str]:
    """Return a file's name, bytes and media type."""
    filename, content, content_type = "upload", file, ""
    if isinstance(file, tuple):
        filename, content = file[0], file[1]
        content_type = file[2] if len(file) == 3 else ""
    elif not isinstance(file, (bytes, str)):
        filename = str(getattr(file, "name", filename)).rpartition("/")[2]
    if isinstance(content, str):
        content = content.encode()
    elif not isinstance(content, bytes):
        content = content.read()  # type: ignore[union-attr]  # the tuple was taken apart above
    return filename, content, content_type or guess_type(filename)[0] or "application/octet-stream"


def quoted(text: str) -> str:
    """Escape a name for a Content-Disposition parameter as browsers do (WHATWG HTML, multipart/form-data)."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
