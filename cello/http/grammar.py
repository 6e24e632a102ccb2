"""The rules of RFC 9110 that more than one module needs: tokens, field values, lists, parameters and dates.

Everything here is total: malformed input gives None, False or fewer items, and never an exception, so that each caller
decides what a fault means.
"""

import re
import time
from datetime import UTC, datetime

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN_BYTES = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110 §5.5: no control characters but the tab, and nothing above one byte.
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FIELD_VALUE_BYTES = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_PARAMETER = re.compile(r"[ \t]*;[ \t]*(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\",]*)))?")
_LIST_ITEM = re.compile(r"(?:[^,\"]|\"(?:[^\"\\]|\\.)*\"?)+")
_QUOTED_PAIR = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r"[\"\\]")

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATE_FORMS = (
    re.compile(r"[A-Z][a-z]{2}, (?P<day>[0-9]{2}) (?P<month>[A-Z][a-z]{2}) (?P<year>[0-9]{4}) " + _CLOCK + " GMT"),
    re.compile(r"[A-Z][a-z]{5,8}, (?P<day>[0-9]{2})-(?P<month>[A-Z][a-z]{2})-(?P<year>[0-9]{2}) " + _CLOCK + " GMT"),
    re.compile(r"[A-Z][a-z]{2} (?P<month>[A-Z][a-z]{2}) (?P<day>[ 0-9][0-9]) " + _CLOCK + r" (?P<year>[0-9]{4})"),
)


def is_token(value: str | bytes) -> bool:
    """Whether `value` is a token (RFC 9110 §5.6.2): a field name, a method, a cookie name."""
    if isinstance(value, bytes):
        return _TOKEN_BYTES.fullmatch(value) is not None
    return _TOKEN.fullmatch(value) is not None


def is_field_value(value: str | bytes) -> bool:
    """Whether `value` may be sent as a field value (RFC 9110 §5.5): one byte a character, no control but the tab."""
    if isinstance(value, bytes):
        return _FIELD_VALUE_BYTES.fullmatch(value) is not None
    # PERF: a sixth of what the pattern takes, and nearly every value is like this.
    return (value.isascii() and value.isprintable()) or _FIELD_VALUE.fullmatch(value) is not None


def quote(text: str) -> str:
    """Return `text` as it stands if it is a token, else as a quoted-string (RFC 9110 §5.6.4)."""
    if is_token(text):
        return text
    return '"' + _TO_ESCAPE.sub(r"\\\g<0>", text) + '"'


def split_list(value: str) -> list[str]:
    """Return the members of a comma-separated list, commas inside quoted strings left alone (RFC 9110 §5.6.1)."""
    if '"' not in value:
        return [item for piece in value.split(",") if (item := piece.strip(" \t"))]
    return [item for piece in _LIST_ITEM.findall(value) if (item := piece.strip(" \t"))]


def parse_parameters(text: str) -> dict[str, str] | None:
    """Return `; name=value` parameters with lower-case names (RFC 9110 §5.6.6), the first of repeated ones.

    Returns:
        None when the text is not made of parameters to its end.
    """
    parameters: dict[str, str] = {}
    position = 0
    end = len(text.rstrip(" \t"))
    while position < end:
        match = _PARAMETER.match(text, position, end)
        if match is None:
            return None
        position = match.end()
        name, quoted, plain = match.groups()
        if name is not None:
            parameters.setdefault(name.lower(), plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted))
    return parameters


def format_date(timestamp_s: float) -> str:
    """Return a POSIX timestamp as an IMF-fixdate (RFC 9110 §5.6.7); independent of the locale."""
    at = time.gmtime(timestamp_s)
    return (
        f"{DAYS[at.tm_wday]}, {at.tm_mday:02} {MONTHS[at.tm_mon - 1]} {at.tm_year:04} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    )


def parse_date(text: str) -> int | None:
    """Return the POSIX timestamp of an HTTP-date in any of its three forms (RFC 9110 §5.6.7), or None."""
    for form in _DATE_FORMS:
        match = form.fullmatch(text)
        if match is None:
            continue
        parts = match.groupdict()
        if parts["month"] not in MONTHS:
            return None
        year = int(parts["year"])
        if year < 100:
            # A two-digit year that looks more than 50 years ahead is the most recent past year with those digits.
            latest = time.gmtime().tm_year + 50
            year = latest - (latest - year) % 100
        try:
            moment = datetime(
                year,
                MONTHS.index(parts["month"]) + 1,
                int(parts["day"]),
                int(parts["hour"]),
                int(parts["minute"]),
                min(int(parts["second"]), 59),  # a leap second is the second before
                tzinfo=UTC,
            )
        except ValueError:
            return None
        return int(moment.timestamp())
    return None
