"""A dict as an XML document: keys are elements, lists repeat theirs, everything else is text."""

import re
from collections.abc import Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def render_xml(data: Mapping[str, Any], root: str = "root") -> str:
    """Return `data` as a document; a dict with one key that is no list is its own root.

    Raises:
        ValueError: A key is no element name, or a text holds a character that XML cannot (XML 1.0 §2.2).
    """
    only = next(iter(data.values())) if len(data) == 1 else None
    is_own_root = only is not None and not isinstance(only, list | tuple)
    body = "".join(_elements(data)) if is_own_root else _element(root, data)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'


def _elements(data: Mapping[str, Any]) -> list[str]:
    return [
        _element(name, each)
        for name, value in data.items()
        for each in (value if isinstance(value, list | tuple) else (value,))
    ]


def _element(name: Any, value: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.80} is not a name for an XML element")
    if value is None:
        return f"<{name}/>"
    return f"<{name}>{_content(value)}</{name}>"


def _content(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(_elements(value))
    if isinstance(value, list | tuple):
        return "".join(_element("item", each) for each in value)
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if _ILLEGAL.search(text):
        raise ValueError(f"a text holds a character that XML cannot: {text!r:.80}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
