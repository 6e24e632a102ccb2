"""Cookies: reading `Cookie`, writing `Set-Cookie` (RFC 6265, and the SameSite and prefix rules of its revision).

A value outside the cookie alphabet — a space, a comma, "é" — is written as a quoted string with octal escapes of its
UTF-8 bytes, as Python's `http.cookies` does, and read back the same. A control character is refused.
"""

import re
from collections.abc import Iterable

from cello.http.grammar import is_token

MAX_COOKIE_BYTES = 4096
"""What browsers keep of one cookie, name and value together; they drop a larger one without a word."""

EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"

_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_TO_ESCAPE = re.compile(rb"[^!#-+\--:<-\[\]-~]")
_ESCAPED = re.compile(rb"\\(?:([0-3][0-7]{2})|(.))", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DOMAIN = re.compile(r"\.?[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*")
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}


def parse_cookies(values: Iterable[bytes]) -> dict[str, str]:
    """Return the cookies of a request's `Cookie` fields; of repeated names the first, which has the longest path."""
    cookies: dict[str, str] = {}
    for value in values:
        for pair in value.split(b";"):
            name, equals, content = pair.partition(b"=")
            if not equals:
                continue
            key = _text(name.strip(b" \t"))
            if key and key not in cookies:
                cookies[key] = _text(unquote(content.strip(b" \t")))
    return cookies


def unquote(value: bytes) -> bytes:
    """Return a cookie value without the quotes and escapes around it."""
    if len(value) < 2 or value[:1] != b'"' or value[-1:] != b'"':
        return value
    return _ESCAPED.sub(_unescape, value[1:-1])


def _unescape(match: re.Match[bytes]) -> bytes:
    octal, plain = match.groups()
    return plain if octal is None else bytes((int(octal, 8),))


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def quote_value(value: str) -> str:
    """Return a cookie value as it is sent."""
    if _VALUE.fullmatch(value):
        return value
    return '"' + _TO_ESCAPE.sub(lambda match: b"\\%03o" % match.group()[0], value.encode()).decode("ascii") + '"'


def render_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: str | None = None,
) -> str:
    """Return the value of a `Set-Cookie` field.

    Args:
        max_age: Seconds until it is dropped; None for the browser's session, 0 or less deletes it.

    Raises:
        ValueError: Something browsers would refuse or read differently; names the cookie and what is wrong.
    """
    if not is_token(name):
        raise ValueError(f"{name!r:.80} is not a cookie name")
    if _CONTROL.search(value):
        raise ValueError(f"the value of cookie {name!r} holds a control character: {value!r:.80}")
    pieces = [f"{name}={quote_value(value)}"]
    if len(pieces[0]) > MAX_COOKIE_BYTES + 1:
        raise ValueError(f"cookie {name!r} is larger than the {MAX_COOKIE_BYTES} bytes that browsers keep")
    if max_age is not None:
        if isinstance(max_age, bool) or not isinstance(max_age, int):
            raise ValueError(f"max_age of cookie {name!r} must be whole seconds, not {max_age!r:.80}")
        if max_age <= 0:
            pieces.append(f"Expires={EPOCH}")
        pieces.append(f"Max-Age={max(max_age, 0)}")
    if domain is not None:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"{domain!r:.80} is not a domain for cookie {name!r}")
        pieces.append(f"Domain={domain}")
    if path is not None:
        if not path.startswith("/") or ";" in path or _CONTROL.search(path) or not path.isascii():
            raise ValueError(f"{path!r:.80} is not a path for cookie {name!r}")
        pieces.append(f"Path={path}")
    if secure:
        pieces.append("Secure")
    if httponly:
        pieces.append("HttpOnly")
    if samesite is not None:
        spelled = _SAME_SITE.get(samesite.lower())
        if spelled is None:
            raise ValueError(f"samesite of cookie {name!r} must be Lax, Strict or None, not {samesite!r:.80}")
        if spelled == "None" and not secure:
            raise ValueError(f"cookie {name!r} has samesite='None', which browsers accept only with secure=True")
        pieces.append(f"SameSite={spelled}")
    _check_prefix(name, path, domain, secure)
    return "; ".join(pieces)


def _check_prefix(name: str, path: str | None, domain: str | None, secure: bool) -> None:
    """Refuse what browsers would drop for its name's prefix (RFC 6265bis §4.1.3)."""
    lower = name.lower()
    if lower.startswith("__secure-") and not secure:
        raise ValueError(f"cookie {name!r} needs secure=True for its prefix")
    if lower.startswith("__host-") and (not secure or path != "/" or domain is not None):
        raise ValueError(f"cookie {name!r} needs secure=True, path='/' and no domain for its prefix")
