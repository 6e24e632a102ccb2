"""A route's path, taken apart: `/users/{id:int}` → segments that the tree can match and a URL can be built from.

One segment between two slashes is one of five kinds, in order of precedence:

    static      users                 equal text, compared after percent-decoding, case-sensitive
    converter   {id:int}              a whole segment that a converter accepts: int, uuid, float, regex(...)
    mixed       {name}.json           text and parameters in one segment
    plain       {id}  {id:str}        any segment but the empty one
    wildcard    {rest:path} {*rest} *rest    everything that is left, slashes included; last in the path

Rule 1: patterns are written as people read them (`/café`), never percent-encoded.
Rule 2: a wildcard wants the slash before it: `/files/*rest` matches `/files/` with an empty `rest`, but not `/files`.
Rule 3: in a mixed segment a plain parameter ends at the first occurrence of the text after it, or, where that text ends
the segment, at the end. Nothing is tried a second time, so hostile input cannot make matching slow.
Rule 4: every parameter is at least one character long, only a wildcard may be empty.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn
from urllib.parse import quote

from cello.errors import ConfigError, RouteError, closest

STATIC, CONVERTER, MIXED, PLAIN, WILDCARD = range(5)

# Numbers are bounded where `int()` is certain to accept them, whatever `sys.set_int_max_str_digits` says.
_CONVERTERS = {
    "int": r"[0-9]{1,640}",
    "uuid": r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "float": r"[0-9]{1,640}(?:\.[0-9]{1,640})?",
}
# Narrow before wide, whatever the order of registration; regexes cannot be compared and keep theirs.
_RANKS = {"int": 0, "uuid": 1, "float": 2, "regex": 3}
_NAMES = ("str", "int", "float", "uuid", "regex(...)", "path")
_REGEX_OPENS = re.compile(r"\{([^:{}/]*):regex\(")
Matcher = Callable[[str], "re.Match[str] | None"]

_SEGMENT_SAFE = "!$&'()*+,;=:@"  # RFC 3986 §3.3: what may stand in a path segment as it is


class Parameter(NamedTuple):
    """One `{name:converter}`.

    Attributes:
        name: An identifier, unique in its pattern.
        converter: "str", "int", "float", "uuid", "regex" or "path".
        expression: The text of a regex converter, else None.
    """

    name: str
    converter: str = "str"
    expression: str | None = None

    @property
    def source(self) -> str:
        """The regular expression that a converter's text must match in full."""
        return self.expression if self.expression is not None else _CONVERTERS[self.converter]


class Segment(NamedTuple):
    """What stands between two slashes.

    Attributes:
        kind: STATIC, CONVERTER, MIXED, PLAIN or WILDCARD.
        parts: Its texts and parameters in order.
        key: Equal for two segments of a kind exactly when they match the same texts, whatever their parameters' names.
        rank: Order among segments of one kind at one place; lower is tried first.
        match: `fullmatch` of the segment's expression, for converters and mixed segments; `groups()` of a mixed
            segment's match are its values.
    """

    kind: int
    parts: tuple[str | Parameter, ...]
    key: str
    rank: int = 0
    match: Matcher | None = None


class Pattern(NamedTuple):
    """A parsed path.

    Attributes:
        path: The path as written.
        template: The path with bare parameter names, e.g. "/users/{id}", as in OpenAPI and metrics.
        segments: What stands between the slashes; the last is an empty static one where the path ends in "/".
        parameters: In the order of the path.
        shape: Equal for two patterns exactly when they match the same paths.
    """

    path: str
    template: str
    segments: tuple[Segment, ...]
    parameters: tuple[Parameter, ...]
    shape: tuple[tuple[int, str], ...]

    @property
    def param_names(self) -> tuple[str, ...]:
        """The names of the parameters, in the order of the path."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def is_static(self) -> bool:
        """Whether the pattern matches one path only."""
        return not self.parameters

    def build(self, **params: object) -> str:
        """Return the percent-encoded path that has these parameters.

        Raises:
            RouteError: A parameter is missing, unknown, or has a value that this pattern would not match.
        """
        names = self.param_names
        missing = [name for name in names if name not in params]
        extra = [name for name in params if name not in names]
        if missing or extra:
            wrong = [f"is missing {', '.join(map(repr, missing))}"] if missing else []
            wrong += [f"has no parameter {', '.join(map(repr, extra))}"] if extra else []
            raise RouteError(f"cannot build {self.template!r}: it {' and '.join(wrong)}")
        return "".join("/" + self._build_segment(segment, params) for segment in self.segments)

    def _build_segment(self, segment: Segment, params: dict[str, object]) -> str:
        if segment.kind == STATIC:
            return quote(segment.key, safe=_SEGMENT_SAFE)
        texts = [part if isinstance(part, str) else self._text(part.name, params[part.name]) for part in segment.parts]
        text = "".join(texts)
        values = [text for text, part in zip(texts, segment.parts, strict=True) if isinstance(part, Parameter)]
        if segment.kind == WILDCARD:
            pieces = text.split("/")
        else:
            pieces = [text]
            found = segment.match(text) if segment.match else None
            read_back = None if found is None else list(found.groups()) if segment.kind == MIXED else [text]
            if not text or (segment.match and read_back != values):
                wanted = "".join(part if isinstance(part, str) else _written(part) for part in segment.parts)
                raise RouteError(f"cannot build {self.template!r}: {text!r:.80} does not match {wanted!r}")
        if "." in pieces or ".." in pieces:
            # SECURITY: a client resolves dot segments, encoded or not, before it sends: the URL would be another one.
            raise RouteError(f"cannot build {self.template!r}: {text!r:.80} has a dot segment, which clients resolve")
        return "/".join(quote(piece, safe=_SEGMENT_SAFE) for piece in pieces)

    def _text(self, name: str, value: object) -> str:
        if value is None:
            raise RouteError(f"cannot build {self.template!r}: {name!r} is None")
        return str(value)


def parse(path: str) -> Pattern:
    """Take a route's path apart.

    Raises:
        ConfigError: `path` is not a string, e.g. because a decorator was written without its parentheses.
        RouteError: It is malformed; the message shows the path and says what to write instead.
    """
    if not isinstance(path, str):
        raise ConfigError(f"a route's path must be a string such as '/users', not {path!r:.80}")
    _check_text(path)
    pieces = _split(path)
    segments = tuple(_segment(path, parts) for parts in pieces)
    if any(segment.kind == WILDCARD for segment in segments[:-1]):
        _fail(path, "a wildcard takes all that is left, so it must come last")
    parameters = tuple(part for parts in pieces for part in parts if isinstance(part, Parameter))
    names = [parameter.name for parameter in parameters]
    for name in names:
        if names.count(name) > 1:
            _fail(path, f"the parameter {name!r} appears twice")
    return Pattern(
        path=path,
        template="".join("/" + "".join(_bare(part) for part in parts) for parts in pieces),
        segments=segments,
        parameters=parameters,
        shape=tuple((segment.kind, segment.key) for segment in segments),
    )


def join(prefix: str, path: str) -> str:
    """Return `prefix` and `path` with exactly one slash between them; an empty `path` means the prefix itself."""
    return (prefix.rstrip("/") + path) or "/"


def _fail(path: str, why: str) -> NoReturn:
    raise RouteError(f"route {path!r:.200}: {why}")


def _check_text(path: str) -> None:
    if not path.startswith("/"):
        _fail(path, f"a path must start with '/'; write {'/' + path!r:.200}")
    if escape := re.search(r"%[0-9a-fA-F]{2}", path):
        _fail(path, f"a pattern is written in plain characters, so put the character itself for {escape[0]!r}")
    if flask := re.search(r"<(?:(\w+):)?(\w+)>", path):
        converter = f":{flask[1]}" if flask[1] else ""
        _fail(path, f"parameters are written in braces: '{{{flask[2]}{converter}}}'")
    if colon := re.search(r"/:([A-Za-z_]\w*)", path):
        _fail(path, f"parameters are written in braces: '{{{colon[1]}}}'")
    if not path.isprintable():
        _fail(path, "it contains a control character")


def _split(path: str) -> list[list[str | Parameter]]:
    """Return the texts and parameters of each segment."""
    pieces: list[list[str | Parameter]] = [[]]
    text_from = at = 1

    def end_text() -> None:
        if at > text_from:
            pieces[-1].append(path[text_from:at])

    while at < len(path):
        character = path[at]
        if character == "/":
            end_text()
            if not pieces[-1]:
                _fail(path, "it contains an empty segment ('//')")
            pieces.append([])
            at = text_from = at + 1
        elif character == "{":
            end_text()
            parameter, at = _parameter(path, at)
            if pieces[-1] and isinstance(pieces[-1][-1], Parameter):
                _fail(path, f"there must be some text between {pieces[-1][-1].name!r} and {parameter.name!r}")
            pieces[-1].append(parameter)
            text_from = at
        elif character == "}":
            _fail(path, "unbalanced braces: a '}' without its '{'")
        elif character == "*" and at == text_from and not pieces[-1]:
            end = path.find("/", at)
            end = len(path) if end < 0 else end
            pieces[-1].append(_named(path, path[at + 1 : end], "path"))
            at = text_from = end
        elif character in "?#":
            _fail(path, f"{character!r} never reaches a route: queries and fragments are not part of the path")
        else:
            at += 1
    end_text()
    return pieces


def _parameter(path: str, at: int) -> tuple[Parameter, int]:
    """Read the parameter that opens at `at`; return it and where the path goes on."""
    if opening := _REGEX_OPENS.match(path, at):
        # An expression may hold slashes and braces of its own, so it ends only at ")}".
        end = path.find(")}", opening.end())
        if end < 0:
            _fail(path, "unbalanced braces: a regex parameter ends with ')}'")
        return _named(path, opening[1], "regex", path[opening.end() : end]), end + 2
    end = path.find("}", at)
    inside = path[at + 1 : end]
    if end < 0 or "{" in inside or "/" in inside:
        _fail(path, "unbalanced braces: a '{' without its '}'")
    if inside.startswith("*"):
        return _named(path, inside[1:], "path"), end + 1
    name, colon, converter = inside.partition(":")
    return _named(path, name, converter if colon else "str"), end + 1


def _named(path: str, name: str, converter: str, expression: str | None = None) -> Parameter:
    if not name.isidentifier():
        _fail(path, f"a parameter needs a name made of letters, digits and '_', not {name!r}")
    if converter == "regex":
        if not expression:
            _fail(path, f"write the expression in parentheses: '{{{name}:regex(...)}}'")
        try:
            re.compile(expression)
        except re.error as error:
            _fail(path, f"the expression of {name!r} is not a valid regular expression: {error}")
    elif converter not in _CONVERTERS and converter not in ("str", "path"):
        close = closest(converter, _NAMES)
        hint = f"did you mean {close!r}?" if close else f"there are {', '.join(_NAMES)}"
        _fail(path, f"unknown converter {converter!r} of {name!r}; {hint}")
    return Parameter(name, converter, expression)


def _segment(path: str, parts: list[str | Parameter]) -> Segment:
    whole = parts[0] if len(parts) == 1 else None
    if not parts or isinstance(whole, str):
        return Segment(STATIC, tuple(parts), "".join(map(str, parts)))
    if whole is None:
        return _mixed(path, parts)
    if whole.converter == "path":
        return Segment(WILDCARD, (whole,), "")
    if whole.converter == "str":
        return Segment(PLAIN, (whole,), "")
    return Segment(
        CONVERTER,
        (whole,),
        f"{whole.converter}:{whole.source}",
        _RANKS[whole.converter],
        re.compile(whole.source).fullmatch,
    )


def _mixed(path: str, parts: list[str | Parameter]) -> Segment:
    source = ""
    last = len(parts) - 1
    for index, part in enumerate(parts):
        if isinstance(part, str):
            source += re.escape(part)
        elif part.converter == "path":
            _fail(path, f"the wildcard {part.name!r} must stand alone between slashes")
        elif part.converter != "str":
            if re.compile(part.source).groups:
                _fail(path, f"beside text, the expression of {part.name!r} may only have groups written '(?:...)'")
            source += f"({part.source})"
        elif index >= last - 1:
            source += "((?s:.+))"
        else:
            # SECURITY: atomic (Rule 3): backtracking over several parameters would cost the power of their number.
            source += f"(?>((?s:.+?))(?={re.escape(str(parts[index + 1]))}))"
    text_length = sum(len(part) for part in parts if isinstance(part, str))
    return Segment(MIXED, tuple(parts), source, -text_length, re.compile(source).fullmatch)


def _bare(part: str | Parameter) -> str:
    return part if isinstance(part, str) else f"{{{part.name}}}"


def _written(parameter: Parameter) -> str:
    if parameter.converter == "str":
        return f"{{{parameter.name}}}"
    expression = "" if parameter.expression is None else f"({parameter.expression})"
    return f"{{{parameter.name}:{parameter.converter}{expression}}}"
