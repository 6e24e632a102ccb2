"""The JSON body as an annotated type.

Strategy: where msgspec is installed and knows the type, its decoder does it in one pass over the bytes; a body it
refuses is decoded plainly and walked by `shapes.py`, which names every fault. pydantic models validate themselves.
"""

import contextlib
import importlib
import re
import typing
from collections.abc import Callable
from typing import Any

from cello.errors import UnsupportedMediaType
from cello.http.request import Request
from cello.pipeline.annotations import bare
from cello.pipeline.defaults import completing
from cello.pipeline.models import is_model, is_pydantic, model_fields, pydantic_faults
from cello.pipeline.params import REQUIRED, Parameter
from cello.pipeline.scalars import checks_of
from cello.pipeline.shapes import Validate, make_validator
from cello.pipeline.validation import REQUIRED_DETAIL, Getter, Invalid, body_fault

_MSGSPEC_PATH = re.compile(r" - at `(?:key in )?\$(.*)`$")


def body_getter(annotation: Any, parameter: Parameter, owner: str) -> Getter:
    """Return the getter of a parameter that is the whole JSON body.

    Raises:
        ConfigError: The annotation cannot be read from JSON.
    """
    default = parameter.default
    if bare(annotation) is bytes:
        return _raw_getter(default)
    checks = checks_of((parameter,))
    validate = make_validator(annotation, owner)
    decode, refusals = (None, ()) if checks else _decoder(annotation)
    complete = None if is_pydantic(bare(annotation)) else completing(annotation)

    def get(request: Request) -> Any:
        raw = request.body()
        if not raw:
            return _absent(default)
        _require_json(request)
        if decode is not None:
            try:
                value = decode(raw)
            except refusals as error:
                return explain(request, error)
            if complete is not None:
                complete(value)
            return value
        return walk(request)

    def walk(request: Request) -> Any:
        faults: list[dict[str, Any]] = []
        value = validate(request.json(), (), faults)
        if not faults and value is not None:
            faults = [body_fault((), words) for check in checks if (words := check(value)) is not None]
        if faults:
            raise Invalid(faults)
        return value

    def explain(request: Request, error: Exception) -> Any:
        """Raise what is wrong with the body, in full."""
        walk(request)
        # Not seen by us: the decoder knows more about the type. Its one fault is still a fault.
        raise Invalid([_decoder_fault(error)])

    return get


def member_getter(annotation: Any, parameter: Parameter, name: str, owner: str) -> Getter:
    """Return the getter of a parameter that is one member of the JSON body.

    Raises:
        ConfigError: The annotation cannot be read from JSON.
    """
    checks = checks_of((parameter,))
    validate: Validate = make_validator(annotation, owner)

    def get(request: Request) -> Any:
        if not request.body():
            return _absent(parameter.default, name)
        _require_json(request)
        document = request.json()
        if not isinstance(document, dict):
            raise Invalid([body_fault((), "must be an object")])
        if name not in document:
            return _absent(parameter.default, name)
        faults: list[dict[str, Any]] = []
        value = validate(document[name], (name,), faults)
        if not faults and value is not None:
            faults = [body_fault((name,), words) for check in checks if (words := check(value)) is not None]
        if faults:
            raise Invalid(faults)
        return value

    return get


def _raw_getter(default: Any) -> Getter:
    def get(request: Request) -> Any:
        return request.body() or _absent(default)

    return get


def _absent(default: Any, *path: str) -> Any:
    if default is REQUIRED:
        raise Invalid([body_fault(path, REQUIRED_DETAIL)])
    return default


def _require_json(request: Request) -> None:
    """Refuse a body that says it is something else than JSON; one that says nothing is taken for JSON.

    SECURITY: a form on a foreign page can send text/plain or urlencoded bodies across origins without a preflight.
    """
    declared = request.get_header("content-type")
    if declared is None or declared == "application/json":
        return
    kind = declared.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType(f"The body must be application/json, not {kind[:80] or 'of an empty type'}.")


def _decoder(annotation: Any) -> tuple[Callable[[bytes], Any] | None, tuple[type[Exception], ...]]:
    """Return what turns bytes into `annotation` in one pass, and the errors it raises for bytes that do not fit.

    There is none where only the walk over plain JSON can do it.
    """
    if is_pydantic(bare(annotation)):
        return bare(annotation).__pydantic_validator__.validate_json, (ValueError,)
    msgspec = None if _has_pydantic(annotation, set()) else _load_msgspec()
    if msgspec is None:
        return None, ()
    try:
        return msgspec.json.Decoder(annotation).decode, (msgspec.MsgspecError, ValueError, RecursionError)
    except TypeError:  # a type it does not support
        return None, ()


def _has_pydantic(annotation: Any, seen: set[Any]) -> bool:
    """Return whether a pydantic model stands anywhere inside `annotation`."""
    kind = bare(annotation)
    if is_pydantic(kind):
        return True
    if is_model(kind):
        if kind in seen:
            return False
        seen.add(kind)
        return any(_has_pydantic(field.annotation, seen) for field in model_fields(kind, "").members)
    return any(_has_pydantic(item, seen) for item in typing.get_args(kind) if not isinstance(item, str))


def _decoder_fault(error: Exception) -> dict[str, Any]:
    """Return the one fault a decoder reported, its path taken from its words."""
    for path, words in pydantic_faults(error) if hasattr(error, "errors") else ():  # type: ignore[arg-type]
        return body_fault(path, words)
    text = str(error)
    match = _MSGSPEC_PATH.search(text)
    steps = re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", match.group(1)) if match else []
    words = text[: match.start()] if match else text
    return body_fault([name or index for name, index in steps], words[:1].lower() + words[1:])


def _load_msgspec() -> Any:
    """Return msgspec, or None where it is not installed; only an application with a model loads it."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("msgspec")
    return None
