"""More about an error than a code and a sentence: `google.rpc.Status`, sent as trailing metadata.

`google.rpc.Status` and `google.rpc.BadRequest` are described here: the package that has them generated is not needed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import descriptor_pool, message_factory, wrappers_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as F
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct

from cello.grpc import structs
from cello.grpc.status import GrpcError, detail_items

KEY = "grpc-status-details-bin"


def _describe() -> tuple[Any, Any]:
    file = FileDescriptorProto(name="google/rpc/cello_status.proto", package="google.rpc", syntax="proto3")
    file.dependency.append("google/protobuf/any.proto")
    status = file.message_type.add(name="Status")
    status.field.add(name="code", number=1, type=F.TYPE_INT32, label=F.LABEL_OPTIONAL)
    status.field.add(name="message", number=2, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
    status.field.add(
        name="details", number=3, type=F.TYPE_MESSAGE, type_name=".google.protobuf.Any", label=F.LABEL_REPEATED
    )
    bad = file.message_type.add(name="BadRequest")
    violation = bad.nested_type.add(name="FieldViolation")
    violation.field.add(name="field", number=1, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
    violation.field.add(name="description", number=2, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
    bad.field.add(
        name="field_violations",
        number=1,
        type=F.TYPE_MESSAGE,
        type_name=".google.rpc.BadRequest.FieldViolation",
        label=F.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(AnyMessage.DESCRIPTOR.file.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    find = pool.FindMessageTypeByName
    return (
        message_factory.GetMessageClass(find("google.rpc.Status")),
        message_factory.GetMessageClass(find("google.rpc.BadRequest")),
    )


Status, BadRequest = _describe()


def bad_request(violations: Iterable[tuple[str, str]]) -> Any:
    """Return a `google.rpc.BadRequest` of (field, what is wrong with it)."""
    made = BadRequest()
    for field, description in violations:
        made.field_violations.add(field=field, description=description)
    return made


def pack(error: GrpcError) -> bytes | None:
    """Return an error's details as a `google.rpc.Status`; None where it has none.

    Raises:
        TypeError: A detail is neither text, mapping nor message.
    """
    items = detail_items(error.details)
    if not items:
        return None
    status = Status(code=int(error.code), message=error.message)
    for item in items:
        message = _as_message(item)
        # `Any.Pack` insists on classes of one pool.
        status.details.add(
            type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}", value=message.SerializeToString()
        )
    content: bytes = status.SerializeToString()
    return content


def _as_message(item: Any) -> Any:
    if isinstance(item, str):
        return wrappers_pb2.StringValue(value=item)
    if isinstance(item, Mapping):
        return structs.to_struct(item)
    if isinstance(item, Message):
        return item
    raise TypeError(f"a detail of a GrpcError is a text, a dict or a protobuf message, not {type(item).__name__}")


def unpack(content: bytes | None) -> list[Any]:
    """Return the details in a `google.rpc.Status`: texts, dicts, `BadRequest`s, and any other as it is packed."""
    if not content:
        return []
    try:
        return [_opened(packed) for packed in Status.FromString(content).details]
    except DecodeError:
        return []


def _opened(packed: Any) -> Any:
    name = packed.type_url.rpartition("/")[2]
    if name == "google.protobuf.StringValue":
        return wrappers_pb2.StringValue.FromString(packed.value).value
    if name == "google.protobuf.Struct":
        return structs.from_struct(Struct.FromString(packed.value))
    if name == "google.rpc.BadRequest":
        return BadRequest.FromString(packed.value)
    return packed
