"""The server's side of grpc: its handlers, and its context as a transport."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import grpc

from cello.grpc.details import KEY, pack
from cello.grpc.passage import Passage
from cello.grpc.request import GrpcRequest
from cello.grpc.running import Runner
from cello.grpc.status import GrpcError
from cello.http.peer import Peer

logger = logging.getLogger("cello.grpc")

CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class NativeCall(Peer):
    """The context of one call, as a transport; as the head of a request, with the metadata as fields; and as its peer.

    PERF: three objects in one, each looked into when somebody asks: 1 of 10 µs (bench/load/grpc.py).
    """

    __slots__ = ("_context", "_fields", "_peer", "_scheme")

    speaks_http = False

    def __init__(self, context: Any, scheme: str) -> None:
        self._context = context
        self._scheme = scheme
        self._fields: list[tuple[bytes, bytes]] | None = None
        # Not later: asked once the call is over (by what writes the log, for instance), grpc reads freed memory.
        self._peer: str = context.peer()

    @property
    def scheme(self) -> str:  # type: ignore[override]  # read-only here
        """Whether the server has a certificate."""
        return self._scheme

    @property
    def client(self) -> tuple[str, int] | None:  # type: ignore[override]  # read-only here
        """Address and port; grpc says "ipv4:127.0.0.1:40000" or "ipv6:%5B::1%5D:40000"."""
        kind, _, rest = self.peer().partition(":")
        host, _, port = rest.rpartition(":")
        return (host.strip("[]"), int(port)) if kind in ("ipv4", "ipv6") and port.isdigit() else None

    @property
    def server(self) -> tuple[str, int | None] | None:  # type: ignore[override]  # read-only here
        """Unknown."""
        return None

    def raw(self) -> list[tuple[bytes, bytes]]:
        """Return the metadata as fields."""
        fields = self._fields
        if fields is None:
            fields = self._fields = [
                (name.encode(), value.encode("utf-8", "replace") if isinstance(value, str) else value)
                for name, value in self.metadata()
            ]
        return fields

    def get(self, name: bytes) -> bytes | None:
        """Return the value of a field, repeated ones joined."""
        found = [value for key, value in self.raw() if key == name]
        return b", ".join(found) if found else None

    def get_all(self, name: bytes) -> list[bytes]:
        """Return every value of a field."""
        return [value for key, value in self.raw() if key == name]

    def metadata(self) -> list[tuple[str, str | bytes]]:
        """Return what the client sent along."""
        return list(self._context.invocation_metadata() or ())

    def peer(self) -> str:
        """Return where it came from."""
        return unquote(self._peer)

    def time_remaining(self) -> float | None:
        """Return the seconds until its deadline."""
        remaining: float | None = self._context.time_remaining()
        return remaining

    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return bool(self._context.cancelled())

    async def send_initial_metadata(self, metadata: list[tuple[str, str | bytes]]) -> None:
        """Send metadata before the first message."""
        await self._context.send_initial_metadata(tuple(metadata))


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the handler of a path. Bytes go in and out: what they mean is decided behind the passage."""

    def __init__(self, runners: Mapping[str, Runner], passage: Passage, scheme: str) -> None:
        self._handlers = {path: _handler(runner, passage, scheme) for path, runner in runners.items()}

    def service(self, handler_call_details: Any) -> Any:
        """Return a handler; None, which answers UNIMPLEMENTED, where there is none."""
        return self._handlers.get(handler_call_details.method)


def _handler(runner: Runner, passage: Passage, scheme: str) -> Any:
    endpoint = runner.endpoint
    if not endpoint.server_streams and not endpoint.client_streams:
        return grpc.unary_unary_rpc_method_handler(_one(runner, passage, scheme))
    many = _many(runner, passage, scheme)
    if endpoint.server_streams:
        wrap = (
            grpc.stream_stream_rpc_method_handler if endpoint.client_streams else grpc.unary_stream_rpc_method_handler
        )
        return wrap(many)

    async def gather(source: Any, context: Any) -> bytes:
        content = b""
        async for content in many(source, context):  # noqa: B007  # there is one
            pass
        return content

    return grpc.stream_unary_rpc_method_handler(gather)


def _one(runner: Runner, passage: Passage, scheme: str) -> Callable[..., Any]:
    async def answer(content: bytes, context: Any) -> bytes:
        request: GrpcRequest = passage.begin(runner, NativeCall(context, scheme))
        try:
            answered = await passage.one(runner, content, request)
        except GrpcError as error:
            await abort(context, error, request.trailing)
            raise
        if request.trailing:
            context.set_trailing_metadata(as_pairs(request.trailing))
        return answered

    return answer


def _many(runner: Runner, passage: Passage, scheme: str) -> Callable[..., AsyncIterator[bytes]]:
    async def answer(source: Any, context: Any) -> AsyncIterator[bytes]:
        request: GrpcRequest = passage.begin(runner, NativeCall(context, scheme))
        answers = passage.many(runner, source, request)
        try:
            async for content in answers:
                yield content
        except GrpcError as error:
            await abort(context, error, request.trailing)
        finally:
            await answers.aclose()  # type: ignore[attr-defined]  # a generator's
        if request.trailing:
            context.set_trailing_metadata(as_pairs(request.trailing))

    return answer


async def abort(context: Any, error: GrpcError, trailing: Mapping[str, str | bytes] | None) -> None:
    """End a call with an error, and the trailing metadata that was said before.

    Raises:
        grpc.aio.AbortError: As grpc wants it.
    """
    metadata = {**(trailing or {}), **error.metadata}
    try:
        packed = pack(error)
    except TypeError:
        logger.exception("the details of %r cannot be sent", error)
        packed = None
    if packed is not None:
        metadata[KEY] = packed
    await context.abort(CODES[error.code], error.message, as_pairs(metadata))


def as_pairs(metadata: Mapping[str, str | bytes]) -> tuple[tuple[str, str | bytes], ...]:
    """Return metadata as grpc wants it: names in lower case."""
    return tuple((name.lower(), value) for name, value in metadata.items())
