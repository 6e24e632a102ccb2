"""One way to write parameters, for every driver: `:name` with keywords, or `$1 …` with positional arguments.

Strategy: a statement is read once by one regular expression that knows what may hide a colon — strings, quoted names,
comments, dollar quotes, casts — and is rewritten into the placeholders of the driver. Values never enter the text here.

Rule: a parameter that was not given, or was given and is not there, is an error before anything is sent.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cello.database.errors import ProgrammingError

DOLLAR = "dollar"
"""`$1`, numbered: PostgreSQL."""
FORMAT = "format"
"""`%s`, in order: MySQL."""
QMARK = "qmark"
"""`?`, in order: SQLite."""

MOST_KEPT = 2_048

_STRING = r"'(?:[^']|'')*'"
_BACKSLASHED = r"'(?:[^'\\]|\\.|'')*'"
_REST = r'"(?:[^"]|"")*" | `[^`]*` | /\*.*?\*/'
_PARAMETER = r"(?<![:\w]):(?P<name>[A-Za-z_]\w*) | \$(?P<number>\d+)"
_TOKENS = {
    DOLLAR: rf"[eE]{_BACKSLASHED} | {_STRING} | {_REST} | --[^\n]* | \$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$ "
    rf"| :: | {_PARAMETER}",
    FORMAT: rf'{_BACKSLASHED} | "(?:[^"\\]|\\.|"")*" | `[^`]*` | /\*.*?\*/ | --(?:\s[^\n]*|$) | \#[^\n]* '
    rf"| {_PARAMETER} | (?P<percent>%)",
    QMARK: rf"{_STRING} | {_REST} | \[[^\]]*\] | --[^\n]* | {_PARAMETER}",
}
_SCANNERS = {style: re.compile(tokens, re.DOTALL | re.VERBOSE) for style, tokens in _TOKENS.items()}


class Statement:
    """SQL in a driver's own form, and which values it takes in which order.

    Attributes:
        text: As the user wrote it.
        sql: As the driver takes it.
        order: Names, or positions from 0, of the values to pass.
    """

    __slots__ = ("_as_given", "_count", "_names", "order", "sql", "text")

    def __init__(self, text: str, sql: str, order: tuple[str | int, ...]) -> None:
        self.text = text
        self.sql = sql
        self.order = order
        self._names = frozenset(key for key in order if isinstance(key, str))
        self._count = max((key + 1 for key in order if isinstance(key, int)), default=0)
        self._as_given = order == tuple(range(self._count))

    def values(self, args: Sequence[Any], named: Mapping[str, Any]) -> Sequence[Any]:
        """Return the values in the driver's order.

        Raises:
            ProgrammingError: One is missing, or one too many.
        """
        if named.keys() != self._names or len(args) != self._count:
            raise self._mismatch(args, named)
        if self._as_given:
            return args
        if not self._names:
            return [args[key] for key in self.order]  # type: ignore[index]  # positions only
        return [named[key] for key in self.order]  # type: ignore[index]  # names only, as there are no positions

    def _mismatch(self, args: Sequence[Any], named: Mapping[str, Any]) -> ProgrammingError:
        missing = sorted(self._names - named.keys())
        extra = sorted(named.keys() - self._names)
        if missing or extra:
            faults = [f":{name} was not given" for name in missing] + [f"it has no :{name}" for name in extra]
        else:
            faults = [f"it takes {self._count} positional parameters, but {len(args)} were given"]
        return ProgrammingError(f"{'; '.join(faults)}: {self.text!r:.200}", statement=self.text)


def parse(text: str, style: str) -> Statement:
    """Return a statement for a driver of `style`.

    Raises:
        ProgrammingError: It is no text, or names and positions are mixed.
    """
    if not isinstance(text, str):
        raise ProgrammingError(f"SQL must be a string, not {text!r:.80}")
    order: list[str | int] = []

    def rewrite(found: re.Match[str]) -> str:
        if style == FORMAT and found["percent"]:
            return "%%"
        name, number = found["name"], found["number"]
        if name is None and number is None:
            return found[0].replace("%", "%%") if style == FORMAT else found[0]
        key = name if name is not None else int(number) - 1
        if key == -1:
            raise ProgrammingError(f"parameters count from $1, there is no $0: {text!r:.200}", statement=text)
        if style != DOLLAR:
            order.append(key)
            return "%s" if style == FORMAT else "?"
        if isinstance(key, int):
            if key not in order:
                order.append(key)
            return found[0]
        if key not in order:
            order.append(key)
        return f"${order.index(key) + 1}"

    sql = _SCANNERS[style].sub(rewrite, text)
    if len({type(key) for key in order}) > 1:
        raise ProgrammingError(f"use either :name or $1 parameters, not both: {text!r:.200}", statement=text)
    if style == DOLLAR and order and isinstance(order[0], int):
        order = list(range(max(order) + 1))  # type: ignore[operator]  # positions only, passed as they came
    return Statement(text, sql, tuple(order))


class Statements:
    """The statements of one database, read once each; the oldest are forgotten beyond `MOST_KEPT`."""

    def __init__(self, style: str) -> None:
        self._style = style
        self._kept: dict[str, Statement] = {}

    def get(self, text: str) -> Statement:
        """Return a statement."""
        try:
            return self._kept[text]
        except (KeyError, TypeError):
            made = parse(text, self._style)
        while len(self._kept) >= MOST_KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[text] = made
        return made
