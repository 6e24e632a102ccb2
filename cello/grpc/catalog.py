"""All services of a server: their descriptors in a pool of their own, and what turns bytes into calls.

Generated servicers bring their descriptors; annotated methods get theirs here. Either way a method ends up the same: an
`Endpoint`, which decodes, calls and encodes.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from google.protobuf import descriptor_pool, empty_pb2, message_factory, struct_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from cello.errors import ConfigError
from cello.grpc import structs
from cello.grpc.declared import Declared, Service
from cello.grpc.models import Fault, Model
from cello.grpc.package import WELL_KNOWN, Package
from cello.grpc.request import GrpcRequest
from cello.grpc.servicer import bind_servicer
from cello.grpc.signatures import Signature, Untyped, is_generated, read_signature
from cello.grpc.status import GrpcError, StatusCode
from cello.pipeline.models import Field, ModelFields

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]


class Endpoint(NamedTuple):
    """A method that can be called.

    Attributes:
        service: The full name of its service.
        name: The method's.
        client_streams: Whether messages come as a stream.
        server_streams: Whether it answers a stream.
        decode: Makes what it takes of a message's bytes. Raises GrpcError.
        encode: Makes a message's bytes of what it gives.
        call: Calls it with the message, or an iterator of them, and the request.
        function: The function behind it.
        path: Where it is called.
    """

    service: str
    name: str
    client_streams: bool
    server_streams: bool
    decode: Decode
    encode: Encode
    call: Callable[[Any, GrpcRequest], Any]
    function: Callable[..., Any]
    path: str


def generated_methods(name: str) -> list[str]:
    """Return the names of the methods of a service of generated code.

    Raises:
        ConfigError: There is no such service.
    """
    return [method.name for method in _generated(name).methods]


def _generated(name: str) -> Any:
    try:
        return descriptor_pool.Default().FindServiceByName(name)
    except KeyError:
        raise ConfigError(
            f"gRPC service {name}: there are no descriptors of that name; import its generated modules, and give the "
            "service's full name with its package"
        ) from None


class Catalog:
    """The services of one server.

    Args:
        services: As declared.

    Attributes:
        endpoints: By path; those that nothing answers are not among them.
        pool: All descriptors.
        packages: What annotated methods came to, by the name of the package.

    Raises:
        ConfigError: Something has no form on the wire.
    """

    def __init__(self, services: Iterable[Service]) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        self.endpoints: dict[str, Endpoint] = {}
        self._added: set[str] = set()
        self.packages: dict[str, Package] = {}
        self._pending: list[Callable[[], Endpoint]] = []
        self.names: list[str] = []
        for service in services:
            self.names.append(service.name)
            if service.servicer is None:
                self._describe(service)
            else:
                self._take_generated(service)
        for package in self.packages.values():
            for file in package.file.dependency:
                self._add_generated_file(descriptor_pool.Default().FindFileByName(file))
            if package.file.name in self._added:  # generated messages of the same package
                package.file.name = package.file.name.replace(".proto", "_services.proto")
            try:
                self.pool.AddSerializedFile(package.file.SerializeToString())
            except TypeError as error:  # a name that generated messages have already, for instance
                raise ConfigError(f"gRPC package {package.name!r}: {error}") from None
            package.classes.update({name: self._class_of(name) for name in package.classes})
            for model in package.models.values():
                model.link(self._class_of(model.name))
        for make in self._pending:
            endpoint = make()
            self.endpoints[endpoint.path] = endpoint

    def _class_of(self, name: str) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def add_file(self, file: FileDescriptorProto) -> None:
        """Add descriptors that no service of the application is in."""
        for needed in file.dependency:
            self._add_generated_file(descriptor_pool.Default().FindFileByName(needed))
        if file.name not in self._added:
            self._added.add(file.name)
            self.pool.AddSerializedFile(file.SerializeToString())

    def _add_generated_file(self, described: Any) -> None:
        if described.name in self._added:
            return
        self._added.add(described.name)
        for needed in described.dependencies:
            self._add_generated_file(needed)
        self.pool.AddSerializedFile(described.serialized_pb)

    # -- annotated methods --

    def _describe(self, service: Service) -> None:
        package_name, _, name = service.name.rpartition(".")
        package = self.packages.setdefault(package_name, Package(package_name))
        package.own(name, service)
        described = package.file.service.add(name=name)
        for declared in service.methods.values():
            where = f"gRPC method {service.name}/{declared.name}"
            made = described.method.add(name=declared.name)
            if declared.function is None:
                package.depend(WELL_KNOWN[_STRUCT])
                made.input_type = made.output_type = _STRUCT
                continue
            signature = read_signature(declared, where)
            made.client_streaming, made.server_streaming = signature.client_streams, signature.server_streams
            made.input_type, decode = self._input(package, declared.name, signature, where)
            made.output_type, encode = self._output(package, declared.name, signature, where)
            self._pend(service, declared, signature, decode, encode)

    def _pend(
        self,
        service: Service,
        declared: Declared,
        signature: Signature,
        decode: Callable[[], Decode],
        encode: Callable[[], Encode],
    ) -> None:
        """Have the endpoint made once the pool is complete."""
        self._pending.append(
            lambda: Endpoint(
                service.name,
                declared.name,
                signature.client_streams,
                signature.server_streams,
                decode(),
                encode(),
                signature.call,
                declared.function,  # type: ignore[arg-type]  # the caller has looked
                f"/{service.name}/{declared.name}",
            )
        )

    def _input(
        self, package: Package, method: str, signature: Signature, where: str
    ) -> tuple[str, Callable[[], Decode]]:
        takes = signature.takes
        if takes is None:
            package.depend(WELL_KNOWN[_EMPTY])
            return _EMPTY, lambda: _decoder(empty_pb2.Empty, lambda message: None, "google.protobuf.Empty")
        if takes is Untyped:
            package.depend(WELL_KNOWN[_STRUCT])
            return _STRUCT, lambda: _decoder(struct_pb2.Struct, structs.from_struct, "google.protobuf.Struct")
        if is_generated(takes):
            name = self._use_generated(package, takes)
            return name, lambda: _decoder(takes, None, name[1:])
        if isinstance(takes, list):
            model = package.compose(
                f"{_camel(method)}Request", dict, ModelFields(tuple(takes), dict), where, (where, 1)
            )
        else:
            model = package.model(takes, where)
        return f".{model.name}", lambda: _decoder(model.message, model.read, model.name)

    def _output(
        self, package: Package, method: str, signature: Signature, where: str
    ) -> tuple[str, Callable[[], Encode]]:
        gives = signature.gives
        if gives is None:
            package.depend(WELL_KNOWN[_EMPTY])
            return _EMPTY, lambda: lambda value: b""
        if gives is Untyped:
            package.depend(WELL_KNOWN[_STRUCT])
            return _STRUCT, lambda: _write_struct
        if is_generated(gives):
            return self._use_generated(package, gives), lambda: _serialised(gives)
        if signature.wraps:
            fields = ModelFields((Field("value", "value", gives, True),), dict)
            model = package.compose(f"{_camel(method)}Response", dict, fields, where, (where, 2))
            return f".{model.name}", lambda: lambda value: model.write({"value": value}).SerializeToString()
        model = package.model(gives, where)
        return f".{model.name}", lambda: _writer(model)

    def _use_generated(self, package: Package, cls: Any) -> str:
        self._add_generated_file(cls.DESCRIPTOR.file)
        package.depend(cls.DESCRIPTOR.file.name)
        return f".{cls.DESCRIPTOR.full_name}"

    # -- generated servicers --

    def _take_generated(self, service: Service) -> None:
        described = _generated(service.name)
        self._add_generated_file(described.file)
        for method in described.methods:
            function = getattr(service.servicer, method.name, None)
            if function is None:
                continue
            takes = message_factory.GetMessageClass(method.input_type)
            gives = message_factory.GetMessageClass(method.output_type)
            endpoint = Endpoint(
                service.name,
                method.name,
                method.client_streaming,
                method.server_streaming,
                _decoder(takes, None, method.input_type.full_name),
                _serialised(gives),
                bind_servicer(function, server_streams=method.server_streaming),
                function,
                f"/{service.name}/{method.name}",
            )
            self.endpoints[endpoint.path] = endpoint


_STRUCT = ".google.protobuf.Struct"
_EMPTY = ".google.protobuf.Empty"


def _camel(name: str) -> str:
    return name if name[:1].isupper() else "".join(word.capitalize() for word in name.split("_"))


def _decoder(message: Any, read: Callable[[Any], Any] | None, name: str) -> Decode:
    from_string = message.FromString

    def decode(content: bytes) -> Any:
        try:
            parsed = from_string(content)
        except DecodeError:
            raise GrpcError(StatusCode.INVALID_ARGUMENT, f"The message is no {name}.") from None
        if read is None:
            return parsed
        try:
            return read(parsed)
        except Fault as fault:
            raise invalid(fault) from None

    return decode


def invalid(fault: Fault) -> GrpcError:
    """Return the error of a message that does not fit, with the field in `google.rpc.BadRequest`."""
    from cello.grpc.details import bad_request

    path = ".".join(fault.path)
    message = f"{path} {fault.words}" if path else fault.words
    return GrpcError(StatusCode.INVALID_ARGUMENT, message, bad_request([(path, fault.words)]))


def _write_struct(value: Any) -> bytes:
    content: bytes = structs.to_struct({} if value is None else value).SerializeToString()
    return content


def _writer(model: Model) -> Encode:
    write = model.write

    def encode(value: Any) -> bytes:
        content: bytes = write(value).SerializeToString()
        return content

    return encode


def _serialised(cls: Any) -> Encode:
    def encode(value: Any) -> bytes:
        if not isinstance(value, cls):
            raise TypeError(f"it gives a {cls.DESCRIPTOR.full_name}, not {type(value).__name__}")
        content: bytes = value.SerializeToString()
        return content

    return encode
