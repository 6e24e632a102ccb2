"""Messages ↔ instances of the classes that they were made of.

PERF: each model's two converters are written out as source and compiled once, one expression over all fields; which
field was at fault is found out afterwards, in the rare case (bench/load/grpc.py).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cello.grpc.kinds import Kind
from cello.pipeline.models import is_pydantic, pydantic_faults


class Fault(Exception):
    """A client's message does not fit.

    Attributes:
        path: Names and positions that lead to what does not.
        words: What is wrong with it.
    """

    def __init__(self, words: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(words)
        self.words = words
        self.path = path


class Member(NamedTuple):
    """A field of a message.

    Attributes:
        name: On the wire and in Python.
        kind: What it is.
        required: Whether Python has no default for it.
        has_presence: Whether the wire tells absent from empty.
        checks: Constraints; each returns the words of a fault, or None.
    """

    name: str
    kind: Kind
    required: bool
    has_presence: bool
    checks: list[Callable[[Any], str | None]]

    def take(self, message: Any) -> Any:
        """Return the value that a message holds.

        Raises:
            ValueError: It is not valid.
        """
        value = getattr(message, self.name)
        if self.kind.read is not None:
            value = self.kind.read(value)
        for check in self.checks:
            words = check(value)
            if words is not None:
                raise ValueError(words)
        return value


class Model:
    """A message and its Python class.

    Attributes:
        name: The message's full name.
        cls: The Python class.
        members: Its fields.
        message: The class of its messages; there once it is linked.
        read: Makes an instance of a message. Raises Fault.
        write: Makes a message of an instance, or of a mapping.
    """

    message: Any

    def __init__(self, name: str, cls: Any, build: Callable[[dict[str, Any]], Any]) -> None:
        self.name = name
        self.cls = cls
        self._own = None if cls is dict else cls
        self.members: list[Member] = []
        self._build = build
        self._read: Callable[[Any], Any] | None = None
        self._write: Callable[[Any], Any] | None = None

    def link(self, message: Any) -> None:
        """Take the class of the messages, and compile the converters."""
        self.message = message
        self._read = self._compile_read()
        self._write = self._compile_write()

    def read(self, message: Any) -> Any:
        """Return an instance.

        Raises:
            Fault: The message does not fit.
        """
        try:
            return self._read(message)  # type: ignore[misc]  # it is linked by then
        except Fault:
            raise self._locate(message) from None
        except Exception as error:
            if not is_fault(error):
                raise
            raise self._locate(message) from None

    def write(self, value: Any) -> Any:
        """Return a message.

        Raises:
            TypeError, ValueError, AttributeError: The value does not fit.
        """
        if value.__class__ is not self._own and isinstance(value, Mapping):
            return self._write_mapping(value)
        return self._write(value)  # type: ignore[misc]  # it is linked by then

    def _compile_read(self) -> Callable[[Any], Any]:
        names: dict[str, Any] = {"build": self._build, "cls": self.cls}
        always, sometimes = [], []
        for place, member in enumerate(self.members):
            names[f"take{place}"] = member.take
            read = member.kind.read
            value = f"take{place}(m)" if member.checks else f"m.{member.name}"
            if read is not None and not member.checks:
                names[f"read{place}"] = read
                value = f"read{place}({value})"
            if not member.has_presence:
                always.append(f"{member.name}={value}")
            elif not member.required:
                sometimes.append(f"    if m.HasField({member.name!r}): made[{member.name!r}] = {value}")
            elif member.kind.is_optional:
                always.append(f"{member.name}={value} if m.HasField({member.name!r}) else None")
            else:
                names["missing"] = _missing
                always.append(f"{member.name}={value} if m.HasField({member.name!r}) else missing()")
        if not sometimes:
            made_of = f"build(dict({', '.join(always)}))" if is_pydantic(self.cls) else f"cls({', '.join(always)})"
            lines = ["def read(m):", f"    return {made_of}"]
        else:
            lines = ["def read(m):", f"    made = dict({', '.join(always)})", *sometimes, "    return build(made)"]
        exec("\n".join(lines), names)
        made: Callable[[Any], Any] = names["read"]
        return made

    def _compile_write(self) -> Callable[[Any], Any]:
        names: dict[str, Any] = {"message": self.message}
        parts = []
        for place, member in enumerate(self.members):
            value = f"v.{member.name}"
            if member.kind.write is not None:
                names[f"write{place}"] = member.kind.write
                called = f"write{place}({value})"
                is_nullable = member.kind.is_optional
                value = f"None if {value} is None else {called}" if is_nullable else called
            parts.append(f"{member.name}={value}")
        exec(f"def write(v):\n    return message({', '.join(parts)})", names)
        made: Callable[[Any], Any] = names["write"]
        return made

    def _write_mapping(self, value: Mapping[str, Any]) -> Any:
        made = {}
        for member in self.members:
            held = value.get(member.name)
            if held is not None:
                made[member.name] = held if member.kind.write is None else member.kind.write(held)
        unknown = [name for name in value if all(name != member.name for member in self.members)]
        if unknown:
            raise ValueError(f"{self.name} has no field {unknown[0]!r:.80}")
        return self.message(**made)

    def _locate(self, message: Any) -> Fault:
        """Return what does not fit, with where it is: each field by itself, then all together."""
        made: dict[str, Any] = {}
        for member in self.members:
            if member.has_presence and not message.HasField(member.name):
                if member.required and not member.kind.is_optional:
                    return Fault("is required", (member.name,))
                if member.required:
                    made[member.name] = None
                continue
            try:
                made[member.name] = member.take(message)
            except Fault as fault:
                return Fault(fault.words, (member.name, *fault.path))
            except Exception as error:
                if not is_fault(error):
                    raise
                return Fault(str(error), (member.name,))
        try:
            self._build(made)
        except Exception as error:
            if not is_fault(error):
                raise
            return _of_class(error)
        return Fault("is not valid")


def _missing() -> Any:
    raise Fault("is required")


def is_fault(error: Exception) -> bool:
    """Whether an exception of a class's own validation is the client's fault."""
    return isinstance(error, ValueError) or type(error).__module__ == "msgspec"


def _of_class(error: Exception) -> Fault:
    if hasattr(error, "errors") and isinstance(error, ValueError):
        for path, words in pydantic_faults(error):
            return Fault(words, tuple(map(str, path)))
    return Fault(str(error))
