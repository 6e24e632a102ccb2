"""Compressed answers: which ones, in which coding, and what that changes about their head.

Rule 1: an answer of a compressible type says `Vary: Accept-Encoding`, compressed or not, so that caches tell the two
apart. A compressed one has a weak ETag: the bytes differ, what they say does not (RFC 9110 §8.8.3).
Rule 2: left alone is what is short, has no content, is a part of something (206), is encoded already, or must not be
transformed (`Cache-Control: no-transform`, RFC 9111 §5.2.2.6).
Rule 3: each piece of a stream leaves at once: an event that a client cannot read yet is of no use to it.
Rule 4: no loop waits for a body over `OFF_LOOP_BYTES` to be compressed; a worker thread does that.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from cello.errors import ConfigError
from cello.extension import Host
from cello.features.codings import OFFERED, Coding, available
from cello.features.decompression import Decompression
from cello.http.files import evaluate
from cello.http.grammar import parse_date, split_list
from cello.http.headers import ResponseHeaders, make_field
from cello.http.media import accepted_codings, essence_of, parse_media_type
from cello.http.request import Request
from cello.http.response import FilePayload, Response, StreamPayload
from cello.pipeline.middleware import SHAPE, Middleware
from cello.pipeline.threads import is_on_loop
from cello.routing.route import Route

MIN_SIZE = 1024
OFF_LOOP_BYTES = 32_768
COMPRESSIBLE = frozenset({
    "application/atom+xml", "application/geo+json", "application/graphql", "application/javascript",
    "application/json", "application/ld+json", "application/manifest+json", "application/ndjson",
    "application/problem+json", "application/rss+xml", "application/sql", "application/toml",
    "application/vnd.ms-fontobject", "application/wasm", "application/x-javascript", "application/x-ndjson",
    "application/x-yaml", "application/xhtml+xml", "application/xml", "application/yaml", "font/otf", "font/ttf",
    "image/bmp", "image/svg+xml", "image/x-icon",
})  # fmt: skip

_NO_CONTENT = frozenset({204, 205, 206, 304})
_VARY = make_field("Vary", "Accept-Encoding")
_ABOUT_THE_BYTES = ("content-length", "accept-ranges", "content-md5", "content-digest", "repr-digest", "digest")


class Compression(Middleware):
    """Compresses answers. For what the arguments mean see `App.enable_compression`."""

    name = "compression"
    band = SHAPE
    may_wait = True
    _host: Host

    def __init__(
        self,
        min_size: int | None = None,
        *,
        encodings: Collection[str] | None = None,
        levels: Mapping[str, int] | None = None,
        types: Collection[str] = (),
        exclude_paths: Collection[str] = (),
        requests: bool = True,
    ) -> None:
        if min_size is not None and (type(min_size) is not int or min_size < 0):
            raise ConfigError(f"enable_compression: min_size is a number of bytes, not {min_size!r:.80}")
        for field, names in (("encodings", encodings or ()), ("types", types), ("exclude_paths", exclude_paths)):
            if isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise ConfigError(f"enable_compression: {field} is a list of strings, not {names!r:.80}")
        for kind in types:
            if parse_media_type(kind) is None:
                raise ConfigError(f"enable_compression: {kind!r:.80} is not a media type")
        self._min_size = MIN_SIZE if min_size is None else min_size
        self._codings = self._load(encodings, levels or {})
        self._types = COMPRESSIBLE.union(essence_of(kind) for kind in types)
        self._excluded = tuple(path.rstrip("/") for path in exclude_paths)
        self._requests = requests
        # PERF: clients send a handful of different values; a look-up costs 0.1 µs, a decision 10.
        self._choose = lru_cache(maxsize=256)(self._negotiate)
        self._is_compressible = lru_cache(maxsize=256)(self._judge_type)

    @staticmethod
    def _load(encodings: Collection[str] | None, levels: Mapping[str, int]) -> list[Coding]:
        for name in (*(encodings or ()), *levels):
            if name not in OFFERED:
                raise ConfigError(f"enable_compression: there is no encoding {name!r:.80}; use {', '.join(OFFERED)}")
        if encodings is None:
            return available(levels)
        if not encodings:
            raise ConfigError("enable_compression: encodings names none")
        return [OFFERED[name](levels.get(name)) for name in encodings]

    def install(self, host: Host) -> None:
        """Stand around every route, and around what has none."""
        self._host = host
        host.add_middleware(self)
        if self._requests:
            host.add_middleware(Decompression(host))

    def applies_to(self, route: Route | None) -> bool:
        """Leave out what is excluded, at no cost to it."""
        if route is None or not self._excluded:
            return True
        template = route.template
        return not any(template == path or template.startswith(f"{path}/") for path in self._excluded)

    def after(self, request: Request, response: Response) -> Awaitable[None] | None:
        """Compress the answer, if it should be; where that takes long, hand out what must be awaited."""
        field = response._content_type  # PERF: where a handler set no headers, none are made just to look
        content_type = response.content_type() if field is None else field[1]
        if content_type is None or not self._is_compressible(content_type):
            return None
        headers = response.headers
        if "vary" in headers:
            headers.add_vary("Accept-Encoding")
        else:
            headers.put(*_VARY)
        if "content-encoding" in headers:
            if headers["content-encoding"].lower() == "identity":  # the handler's way to say: as it is
                del headers["content-encoding"]
            return None
        payload = response.payload
        size = len(payload) if payload.__class__ is bytes else _size_of(payload, headers)  # type: ignore[arg-type]
        if size < self._min_size or response.status in _NO_CONTENT or response.status < 200:
            return None
        coding = self._choose(request._head.get(b"accept-encoding"))
        if coding is None or not self._may_be_changed(request, response, headers):
            return None
        if isinstance(payload, bytes):
            if size > OFF_LOOP_BYTES and is_on_loop():
                return self._compress_later(response, payload, coding)
            _replace(response, coding.compress(payload), coding)
            return None
        if isinstance(payload, FilePayload):
            response._catch_up(payload, headers)
            source = StreamPayload(payload.chunks())
            source.iterator = Compressed(source.iterator, coding, flush=False)
            response.payload = source
        elif payload.is_async:
            payload.iterator = CompressedAsync(payload.iterator, coding, self._run_on_thread)
        else:
            payload.iterator = Compressed(payload.iterator, coding, flush=True)
        _mark(headers, coding)
        return None

    def _negotiate(self, accept: bytes | None) -> Coding | None:
        """Return the coding that the client likes best, the best for us among equals; None: leave it as it is."""
        if accept is None:
            return None
        codings = {coding.name: coding for coding in self._codings}
        liked = accepted_codings(accept.decode("latin-1"), list(codings))
        return codings[liked[0]] if liked else None

    def _judge_type(self, content_type: str | bytes) -> bool:
        essence = essence_of(content_type if isinstance(content_type, str) else content_type.decode("latin-1"))
        return essence.startswith("text/") or essence in self._types or essence.endswith(("+json", "+xml"))

    def _may_be_changed(self, request: Request, response: Response, headers: ResponseHeaders) -> bool:
        control = headers.get("cache-control")
        if control is not None and "no-transform" in (part.lower() for part in split_list(control)):
            return False
        head = request._head
        if isinstance(response.payload, FilePayload) and head.get(b"range") is not None:
            return False
        if response.status != 200 or ("etag" not in headers and "last-modified" not in headers):
            return True
        return not self._is_answered_by_condition(request, headers)

    @staticmethod
    def _is_answered_by_condition(request: Request, headers: ResponseHeaders) -> bool:
        """Whether the client's conditions make this a 304 or 412, for which nothing needs to be compressed."""
        head = request._head
        if head.get(b"if-match") is not None:  # compares by the strong ETag, which only the uncompressed answer has
            return True
        etag, date = headers.get("etag"), headers.get("last-modified")
        tag = None if etag is None else etag.encode("latin-1")
        if not evaluate(request.method, head, tag, None if date is None else parse_date(date)):
            return False
        _weaken(headers)  # a 304 has the ETag that the 200 would have had
        return True

    async def _compress_later(self, response: Response, payload: bytes, coding: Coding) -> None:
        _replace(response, await self._run_on_thread(coding.compress, payload), coding)

    async def _run_on_thread(self, call: Callable[..., bytes], *args: Any, **named: Any) -> bytes:
        return await self._host.dispatcher.threads.run(call, *args, **named)


def _size_of(payload: FilePayload | StreamPayload, headers: ResponseHeaders) -> int:
    """Return how long a body will be; one of unknown length is worth compressing."""
    if isinstance(payload, FilePayload):
        return payload.length
    declared = headers.get("content-length")
    return int(declared) if declared is not None and declared.isdigit() else sys.maxsize


def _replace(response: Response, compressed: bytes, coding: Coding) -> None:
    """Send `compressed`, if it is shorter."""
    payload = response.payload
    if isinstance(payload, bytes) and len(compressed) < len(payload):
        response.payload = compressed
        _mark(response.headers, coding)


def _mark(headers: ResponseHeaders, coding: Coding) -> None:
    """Say that the body is compressed."""
    headers["Content-Encoding"] = coding.name
    _weaken(headers)
    for name in _ABOUT_THE_BYTES:
        if name in headers:
            del headers[name]


def _weaken(headers: ResponseHeaders) -> None:
    etag = headers.get("etag")
    if etag is not None and not etag.startswith("W/"):
        headers["ETag"] = f"W/{etag}"


class Compressed(Iterator[bytes]):
    """The pieces of a body, compressed.

    Args:
        pieces: The body.
        coding: How.
        flush: Whether each piece can be read as soon as it has arrived.
    """

    def __init__(self, pieces: Iterator[bytes], coding: Coding, *, flush: bool) -> None:
        self._pieces = pieces
        self._encoder = coding.encoder()
        self._flush = flush
        self._has_ended = False

    def __next__(self) -> bytes:
        while not self._has_ended:
            piece = next(self._pieces, None)
            if piece is None:
                self._has_ended = True
                return self._encoder.end()
            out = self._encoder.add(piece, flush=self._flush) if piece else b""
            if out:
                return out
        raise StopIteration

    def close(self) -> None:
        """Close the body."""
        self._pieces.close()  # type: ignore[attr-defined]  # the pieces of a StreamPayload can be closed


class CompressedAsync(AsyncIterator[bytes]):
    """The pieces of an async body, compressed, each readable as soon as it has arrived.

    Args:
        pieces: The body.
        coding: How.
        run_on_thread: Compresses what is large.
    """

    def __init__(
        self, pieces: AsyncIterator[bytes], coding: Coding, run_on_thread: Callable[..., Awaitable[bytes]]
    ) -> None:
        self._pieces = pieces
        self._encoder = coding.encoder()
        self._run_on_thread = run_on_thread
        self._has_ended = False

    async def __anext__(self) -> bytes:
        while not self._has_ended:
            piece = await anext(self._pieces, None)
            if piece is None:
                self._has_ended = True
                return self._encoder.end()
            if len(piece) > OFF_LOOP_BYTES:
                out = await asyncio.shield(self._finish(piece))
            else:
                out = self._encoder.add(piece, flush=True) if piece else b""
            if out:
                return out
        raise StopAsyncIteration

    def _finish(self, piece: bytes) -> "asyncio.Future[bytes]":
        return asyncio.ensure_future(self._run_on_thread(self._encoder.add, piece, flush=True))

    async def aclose(self) -> None:
        """Close the body."""
        await self._pieces.aclose()  # type: ignore[attr-defined]  # the pieces of a StreamPayload can be closed
