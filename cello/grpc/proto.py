"""Descriptors → the text of a `.proto` file, for the compilers of other languages."""

from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

F = FieldDescriptorProto
_SCALARS = {
    F.TYPE_DOUBLE: "double",
    F.TYPE_FLOAT: "float",
    F.TYPE_INT64: "int64",
    F.TYPE_UINT64: "uint64",
    F.TYPE_INT32: "int32",
    F.TYPE_FIXED64: "fixed64",
    F.TYPE_FIXED32: "fixed32",
    F.TYPE_BOOL: "bool",
    F.TYPE_STRING: "string",
    F.TYPE_BYTES: "bytes",
    F.TYPE_UINT32: "uint32",
    F.TYPE_SFIXED32: "sfixed32",
    F.TYPE_SFIXED64: "sfixed64",
    F.TYPE_SINT32: "sint32",
    F.TYPE_SINT64: "sint64",
}


def write_proto(file: FileDescriptorProto) -> str:
    """Return the text of a proto3 file."""
    blocks = ['syntax = "proto3";']
    if file.package:
        blocks.append(f"package {file.package};")
    if file.dependency:
        blocks.append("\n".join(f'import "{name}";' for name in sorted(file.dependency)))
    scope = f".{file.package}." if file.package else "."
    blocks += [_service(service, scope) for service in file.service]
    blocks += [_message(message, scope, "") for message in file.message_type]
    blocks += [_enum(described, "") for described in file.enum_type]
    return "\n\n".join(blocks) + "\n"


def _service(service: Any, scope: str) -> str:
    lines = [f"service {service.name} {{"]
    for method in service.method:
        takes = ("stream " if method.client_streaming else "") + _name(method.input_type, scope)
        gives = ("stream " if method.server_streaming else "") + _name(method.output_type, scope)
        lines.append(f"  rpc {method.name} ({takes}) returns ({gives});")
    return "\n".join([*lines, "}"])


def _message(message: DescriptorProto, scope: str, indent: str) -> str:
    lines = [f"{indent}message {message.name} {{"]
    entries = {each.name: each for each in message.nested_type if each.options.map_entry}
    lines += [_message(each, scope, f"{indent}  ") for each in message.nested_type if each.name not in entries]
    lines += [_enum(each, f"{indent}  ") for each in message.enum_type]
    oneof = None
    for field in message.field:
        inside = message.oneof_decl[field.oneof_index].name if _is_in_oneof(field) else None
        if inside != oneof:
            lines += [f"{indent}  }}"] if oneof is not None else []
            lines += [f"{indent}  oneof {inside} {{"] if inside is not None else []
            oneof = inside
        deeper = f"{indent}    " if inside is not None else f"{indent}  "
        lines.append(f"{deeper}{_field(field, scope, entries)}")
    lines += [f"{indent}  }}"] if oneof is not None else []
    return "\n".join([*lines, f"{indent}}}"])


def _is_in_oneof(field: FieldDescriptorProto) -> bool:
    return field.HasField("oneof_index") and not field.proto3_optional


def _field(field: FieldDescriptorProto, scope: str, entries: dict[str, DescriptorProto]) -> str:
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None and field.label == F.LABEL_REPEATED:
        key, value = entry.field
        return f"map<{_type(key, scope)}, {_type(value, scope)}> {field.name} = {field.number};"
    label = "repeated " if field.label == F.LABEL_REPEATED else "optional " if field.proto3_optional else ""
    return f"{label}{_type(field, scope)} {field.name} = {field.number};"


def _type(field: FieldDescriptorProto, scope: str) -> str:
    return _SCALARS.get(field.type) or _name(field.type_name, scope)


def _name(full: str, scope: str) -> str:
    """Return a type as it is written inside its package."""
    return full.removeprefix(scope) if full.startswith(scope) else full.removeprefix(".")


def _enum(described: EnumDescriptorProto, indent: str) -> str:
    lines = [f"{indent}enum {described.name} {{"]
    lines += [f"{indent}  {value.name} = {value.number};" for value in described.value]
    return "\n".join([*lines, f"{indent}}}"])
