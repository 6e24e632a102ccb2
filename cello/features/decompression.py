"""Compressed requests: bodies with a Content-Encoding reach guards and handlers in plain form.

Rule 1: what a body decodes to is bounded by the limit of the route, like any body: 413 beyond, however small it was.
Rule 2: a body that does not decode is 400; a coding that is not known is 415 and says which are (RFC 9110 §15.5.16).
Rule 3: the request is then as if it had come without a coding: its Content-Encoding is gone, its length is the new one.
Rule 4: no loop waits for more than `INLINE_BYTES` to be decoded; a worker thread does the rest.
"""

from collections.abc import Awaitable, Iterator, Sequence

from cello.errors import BadRequest, ContentTooLarge, UnsupportedMediaType
from cello.extension import Host
from cello.features.codings import Decoder, decoders
from cello.http.body import Spool
from cello.http.grammar import split_list
from cello.http.head import FieldList
from cello.http.ports import BodySource
from cello.http.request import Request
from cello.pipeline.middleware import DECODE, Middleware
from cello.pipeline.threads import is_on_loop
from cello.routing.route import Route

INLINE_BYTES = 262_144
MOST_CODINGS = 2


class Decompression(Middleware):
    """Decodes the bodies of requests."""

    band = DECODE
    may_wait = True

    def __init__(self, host: Host) -> None:
        self._host = host
        self._codings = decoders()

    def applies_to(self, route: Route | None) -> bool:
        """Where there is no route nobody reads the body."""
        return route is not None

    def before(self, request: Request) -> Awaitable[None] | None:
        """Decode the body; where that takes long, hand out what must be awaited."""
        value = request._head.get(b"content-encoding")
        if value is None:
            return None
        stages = self._stages(value.decode("latin-1"))
        if not stages:
            return None
        limit = self._limit_of(request)
        source = request._source
        if source is not None:
            request._source = DecodedSource(source, stages, limit)
            _describe(request, None)
            return None
        work = Decoding(request, stages, limit, self._host.limits.max_spool_memory)
        if not is_on_loop():
            work.go_on(None)
            return None
        return None if work.go_on(INLINE_BYTES) else self._finish(work)

    async def _finish(self, work: "Decoding") -> None:
        await self._host.dispatcher.threads.run(work.go_on, None)

    def _stages(self, value: str) -> list[Decoder]:
        """Return what undoes a Content-Encoding, the coding applied last first.

        Raises:
            UnsupportedMediaType: It names one that is not known, or too many.
        """
        names = [name.lower() for name in split_list(value) if name.lower() != "identity"]
        unknown = [name for name in names if name not in self._codings]
        if unknown or len(names) > MOST_CODINGS:
            offers = ", ".join(name for name in self._codings if name != "x-gzip")
            what = f"is not supported: {unknown[0]:.40}" if unknown else f"names more than {MOST_CODINGS} codings"
            raise UnsupportedMediaType(f"The Content-Encoding {what}.", headers={"Accept-Encoding": offers})
        return [self._codings[name].decoder() for name in reversed(names)]

    def _limit_of(self, request: Request) -> int:
        route: Route | None = request.route
        own = None if route is None else route.options.max_body_size
        return self._host.limits.max_body_size if own is None else own


class Decoding:
    """The decoding of one body at hand, which may be interrupted and go on elsewhere.

    Args:
        request: Its body is replaced at the end.
        stages: What the body goes through.
        limit_bytes: How long it may become.
        memory_bytes: What of it is kept in memory; more goes to a file.
    """

    def __init__(self, request: Request, stages: Sequence[Decoder], limit_bytes: int, memory_bytes: int) -> None:
        self._request = request
        self._stages = stages
        self._limit = limit_bytes
        self._spool = Spool(memory_bytes)
        body = request._body
        self._pieces = _decode_all(iter((body,)) if isinstance(body, bytes) else body.chunks(), stages)

    def go_on(self, at_most: int | None) -> bool:
        """Decode, and interrupt after `at_most` bytes; return whether the end was reached.

        Raises:
            BadRequest: The body cannot be decoded.
            ContentTooLarge: It becomes too long.
        """
        spool = self._spool
        for piece in self._pieces:
            if spool.size + len(piece) > self._limit:
                spool.close()
                raise _too_large(self._limit)
            spool.write(piece)
            if at_most is not None and spool.size > at_most:
                return False
        request, old = self._request, self._request._body
        _describe(request, spool.size)
        request._body = spool if spool.is_on_disk else spool.getvalue()
        if isinstance(old, Spool):
            old.close()
        return True


class DecodedSource:
    """A body that is decoded while it arrives (a `BodySource`).

    Args:
        source: The body as it is sent.
        stages: What it goes through.
        limit_bytes: How long it may become.
    """

    def __init__(self, source: BodySource, stages: Sequence[Decoder], limit_bytes: int) -> None:
        self._source = source
        self._stages = stages
        self._limit = limit_bytes
        self._size = 0
        self._pieces: Iterator[bytes] = iter(())

    async def read(self) -> bytes:
        """Return the next piece, b"" at the end."""
        while not (piece := self._next()):
            data = await self._source.read()
            if not data:
                return self._end()
            self._pieces = _decode(data, self._stages)
        return piece

    def read_blocking(self) -> bytes:
        """Return the next piece, b"" at the end."""
        while not (piece := self._next()):
            data = self._source.read_blocking()
            if not data:
                return self._end()
            self._pieces = _decode(data, self._stages)
        return piece

    def _next(self) -> bytes:
        for piece in self._pieces:
            self._size += len(piece)
            if self._size > self._limit:
                raise _too_large(self._limit)
            if piece:
                return piece
        return b""

    def _end(self) -> bytes:
        _check_end(self._stages)
        return b""


def _decode_all(chunks: Iterator[bytes], stages: Sequence[Decoder]) -> Iterator[bytes]:
    is_empty = True
    for chunk in chunks:
        if chunk:
            is_empty = False
            yield from _decode(chunk, stages)
    if not is_empty:
        _check_end(stages)


def _decode(data: bytes, stages: Sequence[Decoder]) -> Iterator[bytes]:
    first, *rest = stages
    for piece in first.feed(data):
        if not rest:
            yield piece
        elif piece:
            yield from _decode(piece, rest)


def _check_end(stages: Sequence[Decoder]) -> None:
    for stage in stages:
        if not stage.is_at_end():
            raise BadRequest(f"The body ends before its {stage.name} does.")


def _describe(request: Request, size: int | None) -> None:
    """Make the head say what the body is now."""
    fields = [
        (name, value)
        for name, value in request._head.raw()
        if name.lower() not in (b"content-encoding", b"content-length")
    ]
    if size is not None:
        fields.append((b"Content-Length", b"%d" % size))
    request._head = FieldList(fields)
    request._headers = None


def _too_large(limit_bytes: int) -> ContentTooLarge:
    return ContentTooLarge(f"The request body is larger than {limit_bytes} bytes when decoded.")
