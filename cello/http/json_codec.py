"""The JSON codec in use: msgspec's when it is installed, else the standard library's, with equal results.

    from cello.http import json_codec

    json_codec.encode({"id": 1})  # b'{"id":1}'

Import the module, not the functions: the codec is loaded when one of them is first looked up (PEP 562), so that
`import cello` does not load msgspec. From then on the lookup is an ordinary one.

What holds for both codecs: compact UTF-8; NaN and infinities are written as null and refused when read; integers of any
size up to 4,300 digits; of repeated keys the last one counts; the forms of `json_values`.
"""

import importlib
from collections.abc import Callable
from typing import Any

encode: Callable[[Any], bytes]
"""Return a value as compact UTF-8 JSON; TypeError, ValueError or RecursionError when it has no JSON form."""

decode: Callable[[bytes], Any]
"""Return what a JSON text says; BadRequest when it is not JSON in UTF-8."""

name: str
"""The codec in use: "msgspec" or "stdlib"."""


def load() -> None:
    """Load the codec now instead of at its first use; servers do so before they accept a request."""
    chosen, module = _choose()
    globals().update(name=chosen, encode=module.encode, decode=module.decode)


def _choose() -> tuple[str, Any]:
    try:
        importlib.import_module("msgspec")
    except ModuleNotFoundError as error:
        if error.name != "msgspec":
            raise
        return "stdlib", importlib.import_module("cello.http.json_stdlib")
    return "msgspec", importlib.import_module("cello.http.json_msgspec")


def __getattr__(attribute: str) -> Any:
    if attribute not in ("encode", "decode", "name"):
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    load()
    return globals()[attribute]
