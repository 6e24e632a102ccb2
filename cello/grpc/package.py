"""Annotations → protobuf messages: one file of descriptors for each package of services.

A field's number is that of its place, counted from 1; `Annotated[…, Field(7)]` pins it, and the fields below go on from
there. So numbers are stable as long as fields are only added at the end, or are pinned.

What has a default, or may be None, is `optional` on the wire: left out, it is what Python says it is.
"""

import enum
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from cello.errors import ConfigError
from cello.grpc.declared import Field
from cello.grpc.kinds import NUMBERS, SCALARS, F, Kind, enum_kind
from cello.grpc.models import Member, Model
from cello.pipeline.annotations import bare, is_union, metadata
from cello.pipeline.models import Field as ModelField
from cello.pipeline.models import ModelFields, is_model, is_pydantic, model_fields
from cello.pipeline.scalars import checks_of

_LISTS: tuple[Any, ...] = (list, tuple, set, frozenset, Sequence, Iterable)
_KEYS = (F.TYPE_INT64, F.TYPE_STRING, F.TYPE_BOOL)
_ADVICE = (
    "use int, float, bool, str, bytes, datetime, timedelta, date, time, UUID, Decimal, an Enum, dict, a dataclass, "
    "Struct, TypedDict or pydantic model, a list or dict[str, …] of these, or `| None`"
)


class Package:
    """The messages and services of one package.

    Args:
        name: The package; "" for none.

    Attributes:
        file: Its descriptors.
        models: By the Python class.
        classes: Of Google's own messages that are used, by name; there once the descriptors are in a pool.
    """

    def __init__(self, name: str) -> None:
        path = name.replace(".", "/") if name else "services"
        self.name = name
        self.file = FileDescriptorProto(name=f"{path}.proto", package=name, syntax="proto3")
        self.models: dict[Any, Model] = {}
        self.classes: dict[str, Any] = {}
        self._enums: dict[Any, Kind] = {}
        self._owners: dict[str, Any] = {}

    def full(self, name: str) -> str:
        """Return a name with the package before it."""
        return f"{self.name}.{name}" if self.name else name

    def own(self, name: str, owner: Any) -> None:
        """Take a name in the package.

        Raises:
            ConfigError: Another thing has it.
        """
        held = self._owners.setdefault(name, owner)
        if held is not owner:
            where = f"package {self.name}" if self.name else "services without a package"
            raise ConfigError(
                f"two things are called {name!r} in the gRPC {where}: {_spelled(held)}, {_spelled(owner)}"
            )

    def depend(self, file: str) -> None:
        """Note that a message of another file is used."""
        if file not in self.file.dependency:
            self.file.dependency.append(file)

    def model(self, cls: Any, where: str) -> Model:
        """Return the message of a model.

        Raises:
            ConfigError: A member of it has no form on the wire; the message names `where`.
        """
        held = self.models.get(cls)
        if held is not None:
            return held
        origin = typing.get_origin(cls) or cls
        if typing.get_args(cls):
            raise ConfigError(f"{where}: a gRPC message is no generic class; make a class of its own for {cls}")
        return self.compose(origin.__name__, cls, _fields_of(cls, where), where)

    def compose(self, name: str, cls: Any, fields: ModelFields, where: str, owner: Any = None) -> Model:
        """Return the message of some fields; one that `owner` alone uses may be of any class."""
        owner = owner or cls
        self.own(name, owner)
        message = self.file.message_type.add(name=name)
        model = self.models[owner] = Model(self.full(name), cls, fields.build)
        number = 0
        for field in fields.members:
            said = _said(field.annotation)
            number = said.number or number + 1
            member = self._member(message, model, field, number, said, f"{where}: {name}.{field.name}")
            model.members.append(member)
        return model

    def _member(
        self, message: DescriptorProto, model: Model, field: ModelField, number: int, said: Field, where: str
    ) -> Member:
        kind = self.kind(field.annotation, where, said)
        if any(number == held.number for held in message.field):
            raise ConfigError(
                f"{where}: two fields have the number {number}; pin others with Annotated[…, Field(number)]"
            )
        entry = message.field.add(name=field.name, number=number, type=kind.type, label=F.LABEL_OPTIONAL)
        if kind.type_name:
            entry.type_name = kind.type_name
        is_left_out = kind.shape == "one" and (kind.is_optional or not field.required)
        if kind.shape == "list":
            entry.label = F.LABEL_REPEATED
        elif kind.shape == "map":
            entry.label = F.LABEL_REPEATED
            self._map_entry(message, entry, kind)
        elif is_left_out and not kind.is_message:
            entry.proto3_optional = True
            entry.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")
        has_presence = kind.shape == "one" and (is_left_out or kind.is_message)
        checks = checks_of(metadata(field.annotation))
        return Member(field.name, kind, field.required, has_presence, checks)

    def _map_entry(self, message: DescriptorProto, entry: FieldDescriptorProto, kind: Kind) -> None:
        name = "".join(word.capitalize() for word in entry.name.split("_")) + "Entry"
        nested = message.nested_type.add(name=name)
        nested.options.map_entry = True
        key = kind.key or SCALARS[str]
        nested.field.add(name="key", number=1, type=key.type, label=F.LABEL_OPTIONAL)
        value = nested.field.add(name="value", number=2, type=kind.type, label=F.LABEL_OPTIONAL)
        if kind.type_name:
            value.type_name = kind.type_name
        entry.type = F.TYPE_MESSAGE
        entry.type_name = f".{self.full(message.name)}.{name}"

    def kind(self, annotation: Any, where: str, said: Field | None = None) -> Kind:
        """Return what a value of an annotation is on the wire.

        Raises:
            ConfigError: Nothing.
        """
        said = _said(annotation) if said is None else said
        inner, is_optional = _without_none(annotation)
        if is_optional and inner is not Any:
            kind = self.kind(inner, where, said)
            if kind.shape != "one":
                raise ConfigError(f"{where}: a {kind.shape} is never absent on the wire: leave out `| None`")
            return kind._replace(is_optional=True)
        annotation = bare(inner)
        if said.kind is not None:
            if annotation not in (int, float) or said.kind not in NUMBERS:
                raise ConfigError(f"{where}: Field(kind=…) is for int and float, and one of {', '.join(NUMBERS)}")
            return Kind(NUMBERS[said.kind])
        return self._bare_kind(annotation, where)

    def _bare_kind(self, annotation: Any, where: str) -> Kind:
        origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
        if annotation in (list, tuple):
            return self._list(Any, annotation, where)
        if origin in _LISTS and arguments and (origin is not tuple or arguments[1:] == (...,)):
            return self._list(arguments[0], origin, where)
        if origin in (dict, Mapping) and arguments and arguments[1] not in (Any, object):
            return self._map(arguments, where)
        if origin in (dict, Mapping):
            annotation = dict
        try:
            scalar = SCALARS.get(annotation)
        except TypeError:
            scalar = None
        if scalar is not None:
            return scalar if scalar.fill is None else self._well_known(scalar, scalar.fill)
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return self._enum(annotation)
        if origin is typing.Literal and len({type(value) for value in arguments}) == 1:
            return self._literal(arguments, where)
        if is_model(annotation) or is_pydantic(annotation):
            model = self.model(annotation, where)
            return Kind(F.TYPE_MESSAGE, f".{model.name}", model.write, model.read)
        raise ConfigError(f"{where}: gRPC has no form for {_spelled(annotation)}; {_ADVICE}")

    def _well_known(self, kind: Kind, fill: Callable[[Any, Any], None]) -> Kind:
        self.depend(WELL_KNOWN[kind.type_name])
        classes, name = self.classes, kind.type_name[1:]
        classes.setdefault(name, None)

        def write(value: Any) -> Any:
            message = classes[name]()  # of the same pool: a field takes no other
            fill(message, value)
            return message

        return kind._replace(write=write)

    def _list(self, item: Any, origin: Any, where: str) -> Kind:
        made = self.kind(item, where)
        if made.shape != "one" or (made.is_optional and item is not Any):
            raise ConfigError(f"{where}: a list on the wire holds no lists, maps or None; wrap them in a dataclass")
        gather = origin if origin in (tuple, set, frozenset) else list
        write, read = made.write, made.read
        return made._replace(
            shape="list",
            is_optional=False,
            write=None if write is None else lambda items: [write(each) for each in items],
            read=gather if read is None else lambda items: gather([read(each) for each in items]),
        )

    def _map(self, arguments: Any, where: str) -> Kind:
        key, value = self.kind(arguments[0], where), self.kind(arguments[1], where)
        if key.type not in _KEYS or key.write is not None or value.shape != "one" or value.is_optional:
            raise ConfigError(f"{where}: a map on the wire is dict[str, …] or dict[int, …] of plain values or models")
        write, read = value.write, value.read
        return value._replace(
            shape="map",
            key=key,
            write=None if write is None else lambda items: {name: write(each) for name, each in items.items()},
            read=dict if read is None else lambda items: {name: read(items[name]) for name in items},
        )

    def _enum(self, cls: type[enum.Enum]) -> Kind:
        if cls not in self._enums:
            self.own(cls.__name__, cls)
            prefix = "".join(f"_{c}" if c.isupper() and i else c for i, c in enumerate(cls.__name__)).upper()
            numbers = {
                member: member.value if issubclass(cls, int) else place for place, member in enumerate(cls, start=1)
            }
            described = self.file.enum_type.add(name=cls.__name__)
            zero = next((member for member, number in numbers.items() if number == 0), None)
            described.value.add(name=f"{prefix}_{'UNSPECIFIED' if zero is None else zero.name}", number=0)
            for member, number in numbers.items():
                if member is not zero:
                    described.value.add(name=f"{prefix}_{member.name}", number=number)
            self._enums[cls] = enum_kind(cls, f".{self.full(cls.__name__)}", numbers)
        return self._enums[cls]

    def _literal(self, values: Any, where: str) -> Kind:
        kind = self.kind(type(values[0]), where)
        words = f"must be one of {', '.join(map(repr, values))}"

        def read(value: Any) -> Any:
            if value not in values:
                raise ValueError(words)
            return value

        return kind._replace(read=read)


WELL_KNOWN = {
    ".google.protobuf.Struct": "google/protobuf/struct.proto",
    ".google.protobuf.Value": "google/protobuf/struct.proto",
    ".google.protobuf.Timestamp": "google/protobuf/timestamp.proto",
    ".google.protobuf.Duration": "google/protobuf/duration.proto",
    ".google.protobuf.Empty": "google/protobuf/empty.proto",
}


def _said(annotation: Any) -> Field:
    inner, is_optional = _without_none(annotation)
    found = [each for each in metadata(annotation) if isinstance(each, Field)]
    if not found and is_optional and inner is not annotation and inner is not Any:
        return _said(inner)
    return found[0] if found else Field()


def _without_none(annotation: Any) -> tuple[Any, bool]:
    annotation_bare = bare(annotation)
    if is_union(annotation_bare):
        members = [each for each in typing.get_args(annotation_bare) if each is not type(None)]
        if len(members) < len(typing.get_args(annotation_bare)) and len(members) == 1:
            return members[0], True
    return annotation, annotation_bare is Any


def _fields_of(cls: Any, where: str) -> ModelFields:
    if is_pydantic(cls) and hasattr(cls, "model_fields"):
        hints = typing.get_type_hints(cls, include_extras=True)
        members = [ModelField(n, n, hints[n], field.is_required()) for n, field in cls.model_fields.items()]
        known = {name: _alias(field) or name for name, field in cls.model_fields.items()}
        return ModelFields(tuple(members), lambda made: cls(**{known[name]: value for name, value in made.items()}))
    return model_fields(cls, where)


def _alias(field: Any) -> str | None:
    """Return the one name that a pydantic model takes a field by, where it is not the field's own."""
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else None


def _spelled(annotation: Any) -> str:
    return getattr(annotation, "__qualname__", None) or str(annotation)
