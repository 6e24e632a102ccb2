"""gRPC-Web: calls of browsers over HTTP/1.1, unary and with a stream of answers, in binary or base64.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md: a message is a frame of a flag, four bytes of length, and
its bytes; the trailers come last in a frame of their own, whose flag has the highest bit set. In text mode all of it is
base64, piece by piece.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from cello.errors import UnsupportedMediaType
from cello.grpc.details import KEY, pack
from cello.grpc.passage import Call, Refusal, Through, error_of
from cello.grpc.request import GrpcRequest
from cello.grpc.running import Runner
from cello.grpc.status import HTTP_STATUS, GrpcError, StatusCode
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.middleware import ORIGIN, Middleware
from cello.routing.route import Route

_MEDIA = re.compile(r"application/grpc-web(?P<text>-text)?(\+proto)?")
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TRAILERS = 0x80
_COMPRESSED = 0x01
_MEMO = "grpc.web"


class WebCall:
    """A request of gRPC-Web, as a transport."""

    def __init__(self, http: Request) -> None:
        self._http = http
        self.initial: dict[str, str | bytes] = {}
        self.is_over = False
        self._due_s = None if (left := _timeout_s(http)) is None else asyncio.get_running_loop().time() + left

    def metadata(self) -> list[tuple[str, str | bytes]]:
        """Return the request's fields."""
        pairs = [(name.decode("latin-1").lower(), value) for name, value in self._http._head.raw()]
        return [(name, _binary(value) if name.endswith("-bin") else value.decode("latin-1")) for name, value in pairs]

    def peer(self) -> str:
        """Return where it came from."""
        return f"web:{self._http.client_ip}"

    def time_remaining(self) -> float | None:
        """Return the seconds until its deadline."""
        return None if self._due_s is None else max(0.0, self._due_s - asyncio.get_running_loop().time())

    def cancelled(self) -> bool:
        """Whether the answer was given up."""
        return self.is_over

    async def send_initial_metadata(self, metadata: list[tuple[str, str | bytes]]) -> None:
        """Send metadata with the head of the answer."""
        self.initial.update(metadata)


class Web:
    """Answers gRPC-Web.

    Args:
        passage: Counts calls.
        max_message_size: Bytes of a message.
    """

    def __init__(self, passage: Through, max_message_size: int) -> None:
        self._passage = passage
        self._max = max_message_size

    async def answer(self, http: Request, runner: Runner | None) -> Response:
        """Return the answer; errors are raised for the pipeline to see, and put into words by `WebErrors`.

        Raises:
            HTTPError: The request is no gRPC-Web, or the call failed.
        """
        is_text = _is_text(http)
        if is_text is None:
            raise UnsupportedMediaType("This is a gRPC method: its content type is application/grpc-web+proto.")
        transport = WebCall(http)
        if runner is None:
            raise _refused(http, None, GrpcError(StatusCode.UNIMPLEMENTED, "Nothing answers this method."))
        endpoint = runner.endpoint
        request = GrpcRequest.incoming(endpoint.service, endpoint.name, transport, lambda _: http)
        call = Call(runner, b"", request)
        if endpoint.client_streams:
            raise _refused(http, call, GrpcError(StatusCode.UNIMPLEMENTED, "gRPC-Web has no streams of a client."))
        try:
            content = _message_in(http.body(), is_text, self._max)
            if endpoint.server_streams:
                http._remember()[_MEMO] = call
                pieces = self._stream(runner, content, request, transport, is_text)
                return _response(http, pieces, is_text, transport.initial)
            async with asyncio.timeout(transport.time_remaining()):
                answered = await runner.one(content, request)
        except TimeoutError:
            raise _refused(http, call, GrpcError(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")) from None
        except GrpcError as error:
            if error.is_remote:
                raise
            raise _refused(http, call, error) from error
        if len(answered) > self._max:
            raise _refused(http, call, GrpcError(StatusCode.RESOURCE_EXHAUSTED, "The answer is too large."))
        self._passage.count(endpoint.path, StatusCode.OK)
        body = frame(answered) + trailers(StatusCode.OK, "", request.trailing_metadata)
        return _response(http, body, is_text, transport.initial)

    async def _stream(
        self, runner: Runner, content: bytes, request: GrpcRequest, transport: WebCall, is_text: bool
    ) -> AsyncIterator[bytes]:
        call = Call(runner, content, request)
        code, message, packed = StatusCode.OK, "", None
        metadata = request.trailing_metadata
        try:
            async with asyncio.timeout(transport.time_remaining()):
                async for answered in call.answers(request.http, content):
                    yield _coded(frame(answered), is_text)
        except TimeoutError:
            code, message = StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"
        except GrpcError as error:
            code, message, packed = error.code, error.message, pack(error)
            metadata.update(error.metadata)
        except BaseException:
            transport.is_over = True
            self._passage.count(runner.endpoint.path, StatusCode.CANCELLED)
            raise
        self._passage.count(runner.endpoint.path, code)
        yield _coded(trailers(code, message, metadata, packed), is_text)


class WebErrors(Middleware):
    """Puts what the pipeline answers in place of a method into gRPC-Web's words; observers have seen it by then."""

    band = ORIGIN

    def __init__(self, passage: Through, handler: Any) -> None:
        self._passage = passage
        self._handler = handler

    def applies_to(self, route: Route | None) -> bool:
        """Look at gRPC's routes only."""
        return route is not None and route.handler == self._handler

    def after(self, request: Request, response: Response) -> Response | None:
        """Make an answer of trailers only."""
        if response.status < 400 or isinstance(request._gateway, Call):
            return None
        is_text = _is_text(request)
        if is_text is None:
            return None
        memo = request._memo or {}
        error = error_of(memo.get(f"{_MEMO}.error"), response)
        call: Call | None = memo.get(_MEMO)
        metadata = {**({} if call is None else call.request.trailing_metadata), **error.metadata}
        if request.route is not None:
            self._passage.count(request.route.template, error.code)
        kept = [
            (name.decode(), value.decode("latin-1"))
            for name, value in response.fields()
            if not name.lower().startswith(b"content-")
        ]
        # Another response: observers have settled the one that they saw.
        body = _coded(trailers(error.code, error.message, metadata, pack(error)), is_text)
        return Response(body, 200, kept, _media(is_text))


def _refused(http: Request, call: Call | None, error: GrpcError) -> Refusal:
    """Return what the pipeline is to see of an error; the error itself is kept for `WebErrors`."""
    memo = http._remember()
    memo[f"{_MEMO}.error"] = error
    memo[_MEMO] = call
    return Refusal(HTTP_STATUS[error.code], error.message or None)


def _is_text(http: Request) -> bool | None:
    """Return whether a request is in base64; None where it is no gRPC-Web."""
    media = (http._head.get(b"content-type") or b"").decode("latin-1").partition(";")[0].strip().lower()
    found = _MEDIA.fullmatch(media)
    return None if found is None else found["text"] is not None


def _media(is_text: bool) -> str:
    return "application/grpc-web-text+proto" if is_text else "application/grpc-web+proto"


def _timeout_s(http: Request) -> float | None:
    value = http._head.get(b"grpc-timeout")
    found = None if value is None else _TIMEOUT.fullmatch(value.decode("latin-1"))
    return None if found is None else int(found[1]) * _UNITS[found[2]]


def _message_in(body: bytes, is_text: bool, most: int) -> bytes:
    """Return the message of a request's body.

    Raises:
        GrpcError: There is none, or it is too large.
    """
    if is_text:
        try:
            body = b"".join(base64.b64decode(part, validate=True) for part in _parts(body))
        except binascii.Error:
            raise GrpcError(StatusCode.INVALID_ARGUMENT, "The body is not base64.") from None
    if len(body) < 5 or int.from_bytes(body[1:5]) != len(body) - 5:
        raise GrpcError(StatusCode.INVALID_ARGUMENT, "The body is not one frame of gRPC-Web.")
    if body[0] & _COMPRESSED:
        raise GrpcError(StatusCode.UNIMPLEMENTED, "Compressed messages are not taken.")
    if body[0]:
        raise GrpcError(StatusCode.INVALID_ARGUMENT, "The body is not one frame of gRPC-Web.")
    if len(body) - 5 > most:
        raise GrpcError(StatusCode.RESOURCE_EXHAUSTED, f"Received message larger than max ({len(body) - 5} vs. {most})")
    return body[5:]


def _parts(body: bytes) -> Iterable[bytes]:
    """Split base64 that was padded in the middle, as pieces put together are."""
    return re.findall(rb"[^=]+=*|=+", body)


def frame(content: bytes, flag: int = 0) -> bytes:
    """Return a frame."""
    return bytes((flag,)) + len(content).to_bytes(4) + content


def trailers(
    code: StatusCode, message: str, metadata: Mapping[str, str | bytes], details: bytes | None = None
) -> bytes:
    """Return the frame of trailers."""
    fields = {"grpc-status": str(int(code))}
    if message:
        fields["grpc-message"] = quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    fields |= {name.lower(): _as_text(value) for name, value in metadata.items()}
    if details is not None:
        fields[KEY] = _as_text(details)
    return frame(
        "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1", "replace"), _TRAILERS
    )


def _as_text(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode().rstrip("=")
    # SECURITY: a line break would begin a trailer of whoever wrote the value.
    return value.replace("\r", " ").replace("\n", " ")


def _binary(value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return value


def _coded(content: bytes, is_text: bool) -> bytes:
    return base64.b64encode(content) if is_text else content


def _response(
    http: Request, body: "bytes | AsyncIterator[bytes]", is_text: bool, initial: Mapping[str, str | bytes]
) -> Response:
    headers = {name: _as_text(value) for name, value in initial.items()}
    if isinstance(body, bytes):
        return Response(_coded(body, is_text), 200, headers, _media(is_text))
    return Response.stream(body, 200, _media(is_text), headers)
