"""What a handler answers, as OpenAPI responses: its return annotation, `responses=`, and the problems it may meet."""

from collections.abc import Mapping
from typing import Any, TypedDict

from cello.errors import phrase
from cello.features.openapi.schemas import BINARY, Schemas
from cello.pipeline.returns import Promise, read_promise
from cello.pipeline.signature import EMPTY

Responses = dict[str, dict[str, Any]]

PROBLEM_TYPE = "application/problem+json"


class Problem(TypedDict, total=False):
    """What went wrong, for programs (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    error: str


Fault = TypedDict("Fault", {"in": str, "name": str, "pointer": str, "detail": str}, total=False)
Fault.__doc__ = "One thing that is wrong with a request: which parameter, or where in the body, and what."


class ValidationProblem(Problem):
    """A request that is not valid: every fault of it."""

    errors: list[Fault]


def success(annotation: Any, declared: Mapping[Any, Any], schemas: Schemas) -> Responses:
    """Return the responses of a handler that does what it should.

    Args:
        annotation: Its return annotation.
        declared: What `responses=` says.
        schemas: Collects models.
    """
    promise = read_promise(annotation)
    content = _content(promise, schemas)
    found: Responses = {}
    if content or not promise.is_empty:
        statuses = promise.statuses or [int(key) for key in declared if str(key).isdigit() and 200 <= int(key) < 300]
        for status in [status for status in statuses if status != 204] or ([] if statuses else [200]):
            found[str(status)] = {"description": phrase(status), **({"content": content} if content else {})}
    if promise.is_empty:
        found["204"] = {"description": phrase(204)}
    if promise.is_open:
        found["default"] = {"description": "Whatever else the handler answers."}
    return found


class Stock:
    """The problem documents that a request may be answered with before its handler runs, or instead of it.

    They are kept once, and operations refer to them.

    Attributes:
        used: Those that are referred to, by name.
    """

    def __init__(self, schemas: Schemas) -> None:
        challenge = {"headers": {"WWW-Authenticate": {"schema": {"type": "string"}}}}
        self._responses = {
            "401": {**_problem(phrase(401), Problem, schemas), **challenge},
            "403": _problem(phrase(403), Problem, schemas),
            "422": _problem("The request is not valid", ValidationProblem, schemas),
            "4XX": _problem("The request cannot be answered", Problem, schemas),
            "5XX": _problem("The server failed", Problem, schemas),
        }
        self.used: Responses = {}

    def problems(self, *, wants_user: bool, is_guarded: bool, validates: bool) -> Responses:
        """Return the problems that one operation may meet."""
        unmet = {"401": not wants_user, "403": not is_guarded, "422": not validates}
        return {code: response for code, response in self._responses.items() if not unmet.get(code)}

    def refer(self, responses: Responses) -> Responses:
        """Return `responses` with references in place of those that are as in stock."""
        made = dict(responses)
        for code, response in responses.items():
            if self._responses.get(code) == response:
                name = _STOCK_NAMES[code]
                self.used[name] = response
                made[code] = {"$ref": f"#/components/responses/{name}"}
        return made


_STOCK_NAMES = {
    "401": "Unauthorized",
    "403": "Forbidden",
    "422": "NotValid",
    "4XX": "ClientError",
    "5XX": "ServerError",
}


def declared_responses(declared: Mapping[Any, Any], known: Responses, schemas: Schemas) -> Responses:
    """Return `known` with what `responses=` says over it.

    A value may be a description, a type, or a Response Object, in which `model` stands for its content.
    """
    made = dict(known)
    for key, said in declared.items():
        code = str(key)
        standing = made.get(code, {})
        if code.isdigit() and not standing:
            fallback = {"description": phrase(int(code))}
            standing = {**made.get(f"{code[0]}XX", {}), **fallback} if code[0] in "45" else fallback
        standing = {"description": code, **standing}
        if isinstance(said, str):
            made[code] = {**standing, "description": said}
        elif isinstance(said, Mapping):
            content = {"content": _json(said["model"], schemas)} if "model" in said else {}
            made[code] = {**standing, **content, **{name: value for name, value in said.items() if name != "model"}}
        elif said is None:
            made[code] = {"description": standing["description"]}
        else:
            made[code] = {**standing, "content": _json(said, schemas)}
    return made


def in_order(responses: Responses) -> Responses:
    """Return responses by status, ranges after the statuses in them, "default" last."""
    return dict(sorted(responses.items(), key=lambda item: (item[0] == "default", item[0].replace("X", "~"))))


def _content(promise: Promise, schemas: Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if promise.data is not EMPTY:
        content.update(_json(promise.data, schemas))
    if promise.has_text:
        content["text/plain"] = {"schema": {"type": "string"}}
    if promise.has_bytes or promise.has_stream:
        content["application/octet-stream"] = {"schema": dict(BINARY)}
    return content


def _json(annotation: Any, schemas: Schemas) -> dict[str, Any]:
    return {"application/json": {"schema": schemas.of(annotation, "out")}}


def _problem(description: str, model: Any, schemas: Schemas) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_TYPE: {"schema": schemas.of(model, "out")}}}
