"""From a request to one argument: the getters of path, query, header, cookie, form and file parameters.

A getter is made when the route is registered; all it does per request is look up, convert and check. It raises
`Invalid` with the fault of its value.
"""

import re
import typing
from collections.abc import Callable, Collection, Iterable
from copy import copy
from typing import Any

from cello.errors import ConfigError
from cello.http.forms import UploadedFile
from cello.http.grammar import split_list
from cello.http.request import Request
from cello.pipeline.annotations import bare, is_optional, is_union, metadata
from cello.pipeline.bodies import body_getter, member_getter
from cello.pipeline.params import REQUIRED, Parameter
from cello.pipeline.scalars import Check, Convert, checks_of, converter, to_str
from cello.pipeline.signature import EMPTY, Argument, Unresolved
from cello.pipeline.spread import spread, spread_getter
from cello.pipeline.validation import REQUIRED_DETAIL, Getter, Invalid, parameter_fault

Find = Callable[[Request], Any]
"""Finds the text or texts of a parameter, or None when the client sent none."""

_LISTS: dict[Any, Callable[[Iterable[Any]], Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
    Collection: list,
}


def make_getter(argument: Argument, *, embed: bool = False) -> Getter:
    """Return the getter of `argument`.

    Args:
        argument: Any but the request itself and dependencies.
        embed: Whether it is one of several in the body, so that each is the member of its name.

    Raises:
        ConfigError: Its annotation or constraints cannot work.
    """
    source = argument.source
    annotation = str if argument.annotation is EMPTY and source != "body" else argument.annotation
    if isinstance(annotation, Unresolved):
        raise ConfigError(
            f"{argument.owner}: the annotation {annotation.text!r} cannot be resolved: {annotation.reason}"
        )
    parameter = argument.parameter
    if source == "body":
        if embed or parameter.embed:
            return member_getter(annotation, parameter, argument.wire_name, argument.owner)
        return body_getter(annotation, parameter, argument.owner)
    if source == "file":
        return _file_getter(argument, annotation)
    members = spread(argument)
    if members is not None:
        return spread_getter(argument, members, make_getter)
    checks = _checks(argument, parameter, annotation)
    if source == "path":
        return _path_getter(argument, _scalar(argument, annotation), checks)
    return _text_getter(argument, annotation, checks)


def _checks(argument: Argument, parameter: Parameter, annotation: Any) -> list[Check]:
    try:
        checks = checks_of((parameter, *metadata(annotation)))
    except re.error as error:
        raise ConfigError(
            f"{argument.owner}: pattern {parameter.pattern!r} is no regular expression: {error}"
        ) from None
    lengths = parameter.min_length is not None or parameter.max_length is not None or parameter.pattern is not None
    bounds = any(bound is not None for bound in (parameter.ge, parameter.gt, parameter.le, parameter.lt))
    kind = bare(annotation)
    if bounds and kind in (str, bool, bytes):
        raise ConfigError(f"{argument.owner}: ge, gt, le and lt bound numbers and dates, not {kind.__name__}")
    if lengths and kind in (int, float, bool):
        raise ConfigError(f"{argument.owner}: min_length, max_length and pattern bound text, not {kind.__name__}")
    return checks


def _scalar(argument: Argument, annotation: Any) -> Convert:
    convert = converter(annotation)
    if convert is None:
        raise ConfigError(f"{argument.owner}: {annotation!r:.80} cannot be read from a {argument.source} parameter")
    return convert


def _path_getter(argument: Argument, convert: Convert, checks: list[Check]) -> Getter:
    name = argument.name
    if convert is to_str and not checks:
        return lambda request: request.params[name]
    value_of = _converting(argument, convert, checks)
    return lambda request: value_of(request.params[name])


def _text_getter(argument: Argument, annotation: Any, checks: list[Check]) -> Getter:
    """Return the getter of a query, header, cookie or form parameter, of one value or a list of them."""
    build, item = _list_of(annotation)
    name, default = argument.wire_name, argument.parameter.default
    fresh = isinstance(default, list | dict | set)
    value_of: Callable[[Any], Any]
    if build is None:
        value_of, find = _converting(argument, _scalar(argument, annotation), checks), _FINDERS[argument.source](name)
    else:
        value_of = _converting_all(argument, build, item)
        find = _LIST_FINDERS[argument.source](name)

    def get(request: Request) -> Any:
        found = find(request)
        if found is None:
            if default is REQUIRED:
                raise Invalid([parameter_fault(argument.source, name, REQUIRED_DETAIL)])
            return copy(default) if fresh else default
        return value_of(found)

    return get


def _list_of(annotation: Any) -> tuple[Callable[[Iterable[Any]], Any] | None, Any]:
    """Return (how to build it, item annotation) of a list-like annotation, or (None, annotation)."""
    kind = bare(annotation)
    if is_union(kind) and is_optional(kind):
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        kind = bare(members[0]) if len(members) == 1 else kind
    build = _LISTS.get(typing.get_origin(kind) or kind)
    arguments = typing.get_args(kind)
    if build is None or (build is tuple and len(arguments) > 1 and arguments[1] is not Ellipsis):
        return None, annotation
    return build, arguments[0] if arguments else str


def _converting(argument: Argument, convert: Convert, checks: list[Check]) -> Callable[[str], Any]:
    source, name = argument.source, argument.wire_name

    def value_of(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError as error:
            raise Invalid([parameter_fault(source, name, str(error))]) from None
        faults = [words for check in checks if (words := check(value))]
        if faults:
            raise Invalid([parameter_fault(source, name, words) for words in faults])
        return value

    return value_of


def _converting_all(argument: Argument, build: Callable[[Iterable[Any]], Any], item: Any) -> Callable[[list[str]], Any]:
    """Return what turns texts into a list; the marker's lengths bound the list, its other constraints each item."""
    parameter = argument.parameter
    per_item = parameter._replace(min_length=None, max_length=None)
    per_list = Parameter(source=parameter.source, min_length=parameter.min_length, max_length=parameter.max_length)
    value_of = _converting(argument, _scalar(argument, item), checks_of((per_item, *metadata(item))))
    lengths = checks_of((per_list, *metadata(argument.annotation)))

    def values_of(texts: list[str]) -> Any:
        values = build(value_of(text) for text in texts)
        faults = [words for check in lengths if (words := check(values))]
        if faults:
            raise Invalid([parameter_fault(argument.source, argument.wire_name, words) for words in faults])
        return values

    return values_of


def _query(name: str) -> Find:
    return lambda request: request.query.get(name)


def _query_all(name: str) -> Find:
    return lambda request: request.query.get_all(name) or None


def _header(name: str) -> Find:
    return lambda request: request.headers.get(name)


def _header_all(name: str) -> Find:
    """Find every member: a list may come in one field with commas or in several (RFC 9110 §5.3), as proxies like it."""
    return lambda request: [item for value in request.headers.get_all(name) for item in split_list(value)] or None


def _cookie(name: str) -> Find:
    return lambda request: request.cookies.get(name)


def _cookie_all(name: str) -> Find:
    return lambda request: None if (value := request.cookies.get(name)) is None else [value]


def _form(name: str) -> Find:
    return lambda request: request.form().get(name) if _has_body(request) else None


def _form_all(name: str) -> Find:
    return lambda request: (request.form().get_all(name) or None) if _has_body(request) else None


def _has_body(request: Request) -> bool:
    body = request._body
    return bool(body) if isinstance(body, bytes) else body.size > 0


_FINDERS = {"query": _query, "header": _header, "cookie": _cookie, "form": _form}
_LIST_FINDERS = {"query": _query_all, "header": _header_all, "cookie": _cookie_all, "form": _form_all}


def _file_getter(argument: Argument, annotation: Any) -> Getter:
    """Return the getter of uploads: `UploadedFile`, `bytes`, or a list of either."""
    build, item = _list_of(annotation)
    kind, name, default = bare(item), argument.wire_name, argument.parameter.default
    if is_union(kind):
        kind = next(bare(member) for member in typing.get_args(kind) if member is not type(None))
    if kind not in (UploadedFile, bytes, str, Any):
        raise ConfigError(f"{argument.owner}: a File() parameter is an UploadedFile, bytes, or a list of them")

    def value_of(upload: UploadedFile) -> Any:
        return upload.read() if kind is bytes else upload

    def get(request: Request) -> Any:
        uploads = request.form().get_files(name) if _has_body(request) else []
        if not uploads:
            if default is REQUIRED:
                raise Invalid([parameter_fault("file", name, REQUIRED_DETAIL)])
            return default
        return value_of(uploads[-1]) if build is None else build(value_of(upload) for upload in uploads)

    return get
