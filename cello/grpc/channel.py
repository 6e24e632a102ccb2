"""A client for services whose messages it has never seen: it asks the server for their descriptors.

Descriptors come by server reflection, v1 or where that is not there v1alpha, and are kept for the channel's life; or
they are given.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2

from cello.grpc import structs
from cello.grpc.config import GrpcConfig
from cello.grpc.details import KEY, unpack
from cello.grpc.status import GrpcError, StatusCode

_VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
_WRAPPED = {
    "google.protobuf.Struct": structs.from_struct,
    "google.protobuf.Value": structs.from_value,
    "google.protobuf.ListValue": structs.from_list,
}

Metadata = Mapping[str, str | bytes]


class _Method(NamedTuple):
    """A method as the server describes it."""

    path: str
    takes: Any
    gives: Any
    client_streams: bool
    server_streams: bool


class GrpcChannel:
    """A connection to a server.

    ```python
    channel = await GrpcChannel.connect("localhost:50051")
    user = await channel.call("UserService", "GetUser", {"id": 42})
    ```

    Make it where it is used, in a start-up hook for instance: it must not be there before a fork.

    Args:
        target: "host:port".
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._channel: Any = None
        self._pool = descriptor_pool.DescriptorPool()
        self._known: set[str] = set()
        self._methods: dict[tuple[str, str], _Method] = {}
        self._asking = asyncio.Lock()

    @classmethod
    async def connect(
        cls,
        target: str,
        *,
        timeout: float = 5.0,  # noqa: ASYNC109  # of the connection, as grpc understands it
        tls: bool = False,
        ca_path: str | None = None,
        cert_path: str | None = None,
        key_path: str | None = None,
        max_message_size: int | None = None,
        descriptors: bytes | None = None,
    ) -> Self:
        """Return a channel whose server answers.

        Args:
            target: "host:port".
            timeout: Seconds to wait for it.
            tls: Encrypt; so it is with `ca_path`.
            ca_path: PEM file with the authorities to check the server against; default: the system's.
            cert_path: PEM file with a certificate of one's own.
            key_path: PEM file with its key.
            max_message_size: Bytes of a message, either way; default: `GrpcConfig`'s.
            descriptors: A `FileDescriptorSet` (`protoc --include_imports --descriptor_set_out`), for servers without
                reflection.

        Raises:
            GrpcError: UNAVAILABLE: it does not answer in time.
        """
        self = cls(target)
        if descriptors is not None:
            self._learn(file.SerializeToString() for file in FileDescriptorSet.FromString(descriptors).file)
        size = max_message_size or GrpcConfig().max_message_size
        options = [("grpc.max_receive_message_length", size), ("grpc.max_send_message_length", size)]
        if tls or ca_path:
            read = [None if path is None else _read(path) for path in (ca_path, key_path, cert_path)]
            self._channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*read), options)
        else:
            self._channel = grpc.aio.insecure_channel(target, options)
        try:
            await asyncio.wait_for(self._channel.channel_ready(), timeout)
        except TimeoutError:
            await self._channel.close()
            raise _remote(GrpcError(StatusCode.UNAVAILABLE, f"{target} does not answer")) from None
        return self

    async def call(
        self,
        service: str,
        method: str,
        request: Mapping[str, Any] | Iterable[Any] | AsyncIterable[Any] | None = None,
        *,
        timeout: float | None = 30.0,  # noqa: ASYNC109  # the deadline that the server is told
        metadata: Metadata | None = None,
    ) -> dict[str, Any]:
        """Call a method that gives one answer; return it.

        Args:
            service: Its full name.
            method: Its name.
            request: The message; several, in a list or an iterator, where the method takes a stream.
            timeout: Seconds; None waits for ever.
            metadata: Sent along.

        Raises:
            GrpcError: The server's answer, or why there is none.
            ValueError: The message does not fit the method's.
        """
        found = await self._method(service, method)
        if found.server_streams:
            raise ValueError(f"{found.path} answers a stream: use `async for … in channel.stream(…)`")
        kind = self._channel.stream_unary if found.client_streams else self._channel.unary_unary
        stub = kind(found.path, found.takes.SerializeToString, found.gives.FromString)
        try:
            answer = await stub(_sent(found, request), timeout=timeout, metadata=_pairs(metadata))
        except grpc.aio.AioRpcError as error:
            raise as_error(error) from None
        return as_dict(answer)

    async def stream(
        self,
        service: str,
        method: str,
        request: Mapping[str, Any] | Iterable[Any] | AsyncIterable[Any] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # the deadline that the server is told
        metadata: Metadata | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Call a method that gives a stream; yield its answers. Leaving the loop early cancels the call.

        Args:
            service: Its full name.
            method: Its name.
            request: The message; several where the method takes a stream.
            timeout: Seconds for all of it; None for ever.
            metadata: Sent along.

        Raises:
            GrpcError: The server's answer, or why there is none.
            ValueError: The message does not fit the method's.
        """
        found = await self._method(service, method)
        if not found.server_streams:
            raise ValueError(f"{found.path} gives one answer: use `await channel.call(…)`")
        kind = self._channel.stream_stream if found.client_streams else self._channel.unary_stream
        stub = kind(found.path, found.takes.SerializeToString, found.gives.FromString)
        call = stub(_sent(found, request), timeout=timeout, metadata=_pairs(metadata))
        try:
            async for answer in call:
                yield as_dict(answer)
        except grpc.aio.AioRpcError as error:
            raise as_error(error) from None
        finally:
            call.cancel()

    async def services(self) -> list[str]:
        """Return the names of the server's services.

        Raises:
            GrpcError: It has no reflection, or does not answer.
        """
        answer = await self._ask(reflection_pb2.ServerReflectionRequest(list_services=""))
        return [each.name for each in answer.list_services_response.service]

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _method(self, service: str, name: str) -> _Method:
        if self._channel is None:
            raise GrpcError(StatusCode.UNAVAILABLE, "the channel is not connected: use GrpcChannel.connect()")
        held = self._methods.get((service, name))
        if held is not None:
            return held
        async with self._asking:
            described = self._find(service)
            if described is None:
                request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
                self._learn((await self._ask(request)).file_descriptor_response.file_descriptor_proto)
                described = self._find(service)
        method = None if described is None else described.methods_by_name.get(name)
        if method is None:
            raise _remote(GrpcError(StatusCode.UNIMPLEMENTED, f"the server has no method {service}/{name}"))
        made = self._methods[service, name] = _Method(
            f"/{service}/{name}",
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
            method.client_streaming,
            method.server_streaming,
        )
        return made

    def _find(self, service: str) -> Any:
        try:
            return self._pool.FindServiceByName(service)
        except KeyError:
            return None

    async def _ask(self, request: Any) -> Any:
        """Return what reflection answers.

        Raises:
            GrpcError: It has none, or does not know.
        """
        for version in _VERSIONS:
            # A stream of one message. As a stream grpc would report a refusal as a failure to write to it.
            stub = self._channel.unary_stream(
                f"/{version}.ServerReflection/ServerReflectionInfo",
                reflection_pb2.ServerReflectionRequest.SerializeToString,
                reflection_pb2.ServerReflectionResponse.FromString,
            )
            try:
                async for answer in stub(request):
                    if answer.HasField("error_response"):
                        said = answer.error_response
                        raise _remote(GrpcError(said.error_code, said.error_message))
                    return answer
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise as_error(error) from None
        raise _remote(
            GrpcError(StatusCode.UNIMPLEMENTED, f"{self.target} has no reflection: connect with descriptors=")
        )

    def _learn(self, files: Iterable[bytes]) -> None:
        """Add descriptors to the pool, each after those that it needs."""
        waiting = {file.name: file for file in map(FileDescriptorProto.FromString, files)}

        def add(name: str) -> None:
            if name in self._known:
                return
            file = waiting.pop(name, None)
            if file is None:  # Google's own are often left out
                file = FileDescriptorProto()
                descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
            for needed in file.dependency:
                add(needed)
            self._known.add(name)
            self._pool.AddSerializedFile(file.SerializeToString())

        for name in list(waiting):
            add(name)

    def __repr__(self) -> str:
        return f"GrpcChannel(target={self.target!r}, connected={self._channel is not None})"


def _sent(method: _Method, request: Any) -> Any:
    """Return what the stub is given.

    Raises:
        ValueError: It does not fit.
    """
    if not method.client_streams:
        return _message(method, {} if request is None else request)
    if isinstance(request, AsyncIterable):

        async def messages() -> AsyncIterator[Any]:
            async for each in request:
                yield _message(method, each)

        return messages()
    return [_message(method, each) for each in request or ()]


def _message(method: _Method, data: Any) -> Any:
    if method.takes.DESCRIPTOR.full_name == "google.protobuf.Struct":
        return method.takes.FromString(structs.to_struct(data).SerializeToString())
    try:
        return json_format.ParseDict(dict(data), method.takes())
    except json_format.ParseError as error:
        raise ValueError(f"the message does not fit {method.path}: {error}") from None


def as_dict(message: Any) -> dict[str, Any]:
    """Return the fields of a message by name, whole numbers as `int`; what is absent is left out."""
    described = message.DESCRIPTOR
    if described.full_name == "google.protobuf.Struct":
        return structs.from_struct(message)
    made = {}
    for field in described.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        made[field.name] = _value(field, getattr(message, field.name))
    return made


def _value(field: Any, value: Any) -> Any:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        inner = entry.fields_by_name["value"]
        return {key: _plain(inner, value[key]) for key in value}
    if hasattr(value, "extend"):
        return [_plain(field, each) for each in value]
    return _plain(field, value)


def _plain(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if field.message_type is None:
        return value
    name = field.message_type.full_name
    if name in _WRAPPED:
        return _WRAPPED[name](value)
    if name.startswith("google.protobuf."):
        return json_format.MessageToDict(value)  # the forms of JSON: a Timestamp is a text
    return as_dict(value)


def as_error(error: Any) -> GrpcError:
    """Return grpc's own error as ours."""
    metadata = dict(error.trailing_metadata() or ())
    packed = metadata.pop(KEY, None)
    details = unpack(packed)
    return _remote(GrpcError(error.code().value[0], error.details() or "", details or None, metadata=metadata))


def _remote(error: GrpcError) -> GrpcError:
    error.is_remote = True
    return error


def _pairs(metadata: Metadata | None) -> tuple[tuple[str, str | bytes], ...] | None:
    return None if metadata is None else tuple((name.lower(), value) for name, value in metadata.items())


def _read(path: str) -> bytes:
    return Path(path).read_bytes()
