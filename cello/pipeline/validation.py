"""Faults of values that came from a client, and how they are reported: all of them at once, as 422.

A getter or validator raises `Invalid` at the first fault (the way that must be fast is the one without faults); only
then is the rest looked at, so that the answer names every fault. Each is `{"in", "name" or "pointer", "detail"}`:
`name` is a parameter's name on the wire, `pointer` a JSON Pointer (RFC 6901) into the body, as a URI fragment.
"""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from cello.errors import UnprocessableContent
from cello.http.request import Request

Getter = Callable[[Request], Any]
Fault = dict[str, Any]

REQUIRED_DETAIL = "is required"


class Invalid(Exception):
    """Values that do not fit their annotations; carries the faults found so far."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


def parameter_fault(source: str, name: str, detail: str) -> Fault:
    """Return the fault of one parameter: `source` is "path", "query", "header", "cookie", "form" or "file"."""
    return {"in": source, "name": name, "detail": detail}


def body_fault(path: Iterable[str | int], detail: str) -> Fault:
    """Return the fault of one place in the body."""
    return {"in": "body", "pointer": pointer(path), "detail": detail}


def pointer(path: Iterable[str | int]) -> str:
    """Return `path` as a JSON Pointer in URI fragment form (RFC 6901 §6); "#" is the whole document."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return "#" + "".join(f"/{quote(step, safe='~!$&()*+,;=:@')}" for step in steps)


def all_faults(request: Request, getters: Iterable[Getter]) -> list[Fault]:
    """Return what every one of `getters` finds wrong with `request`."""
    faults: list[Fault] = []
    for get in getters:
        try:
            get(request)
        except Invalid as invalid:
            faults.extend(fault for fault in invalid.faults if fault not in faults)
    return faults


def unprocessable(faults: list[Fault]) -> UnprocessableContent:
    """Return the 422 for `faults`."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    first = faults[0]
    where = first.get("name") or first.get("pointer")
    return UnprocessableContent(
        f"The request is not valid: {count}; {first['in']} {where} {first['detail']}.", extensions={"errors": faults}
    )
