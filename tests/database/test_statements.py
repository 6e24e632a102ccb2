"""Parameters, read out of SQL, for each driver."""

import pytest

from cello.database import ProgrammingError
from cello.database.sql.statements import DOLLAR, FORMAT, QMARK, Statements, parse

ROWS = {
    "a name": ("select :id", "select $1", "select %s", "select ?", ("id",)),
    "a name twice": ("select :a, :b, :a", "select $1, $2, $1", "select %s, %s, %s", "select ?, ?, ?", ("a", "b", "a")),
    "positions": ("select $1, $2", "select $1, $2", "select %s, %s", "select ?, ?", (0, 1)),
    "positions out of order": ("select $2, $1", "select $2, $1", "select %s, %s", "select ?, ?", (1, 0)),
    "in a string": ("select ':a $1 12:30'", "select ':a $1 12:30'", "select ':a $1 12:30'", "select ':a $1 12:30'", ()),
    "after a doubled quote": ("'i''s :a', :b", "'i''s :a', $1", "'i''s :a', %s", "'i''s :a', ?", ("b",)),
    "in a quoted name": ('select ":a", :b', 'select ":a", $1', 'select ":a", %s', 'select ":a", ?', ("b",)),
    "in a comment": ("1 -- :a\n, :b", "1 -- :a\n, $1", "1 -- :a\n, %s", "1 -- :a\n, ?", ("b",)),
    "in a block comment": ("/* :a */ :b", "/* :a */ $1", "/* :a */ %s", "/* :a */ ?", ("b",)),
    "a per cent sign": ("select 7 % :a", "select 7 % $1", "select 7 %% %s", "select 7 % ?", ("a",)),
    "a per cent sign in a string": ("like '50%'", "like '50%'", "like '50%%'", "like '50%'", ()),
}  # fmt: skip


@pytest.mark.parametrize(("text", "dollar", "format", "qmark", "order"), ROWS.values(), ids=ROWS.keys())
def test_parameters_become_the_placeholders_of_the_driver(
    text: str, dollar: str, format: str, qmark: str, order: tuple[object, ...]
) -> None:
    assert [parse(text, style).sql for style in (DOLLAR, FORMAT, QMARK)] == [dollar, format, qmark]
    assert parse(text, QMARK).order == parse(text, FORMAT).order == order
    assert set(parse(text, DOLLAR).order) == set(order)


POSTGRES = {
    "a cast": ("select :a::int", "select $1::int"),
    "a slice": ("select x[1:2], :a", "select x[1:2], $1"),
    "a slice of columns": ("select x[a:b], :c", "select x[a:b], $1"),
    "a dollar quote": ("select $$ :a $1 $$, :b", "select $$ :a $1 $$, $1"),
    "a tagged dollar quote": ("select $x$ $$ :a $x$, :b", "select $x$ $$ :a $x$, $1"),
    "an escape string": (r"select E'\' :a', :b", r"select E'\' :a', $1"),
    "an operator with a question mark": ("select a ? 'b' and :c", "select a ? 'b' and $1"),
}


@pytest.mark.parametrize(("text", "sql"), POSTGRES.values(), ids=POSTGRES.keys())
def test_what_only_postgresql_writes_is_left_alone(text: str, sql: str) -> None:
    assert parse(text, DOLLAR).sql == sql


def test_mysql_strings_may_escape_a_quote_by_a_backslash() -> None:
    assert parse(r"select 'it\'s :a', :b # :c", FORMAT).sql == r"select 'it\'s :a', %s # :c"


@pytest.mark.parametrize("style", [DOLLAR, FORMAT, QMARK])
def test_values_come_in_the_order_of_the_placeholders(style: str) -> None:
    assert list(parse("select $1, $2", style).values(("a", "b"), {})) == ["a", "b"]
    assert list(parse("select :x, :y", style).values((), {"y": 2, "x": 1})) == [1, 2]
    swapped = list(parse("select $2, $1", style).values(("a", "b"), {}))
    assert swapped == (["a", "b"] if style == DOLLAR else ["b", "a"])
    assert list(parse("select $1, $1", style).values(("a",), {})) == (["a"] if style == DOLLAR else ["a", "a"])


WRONG = {
    "a name is missing": ("select :a", (), {}, ":a was not given"),
    "a name too many": ("select :a", (), {"a": 1, "b": 2}, "it has no :b"),
    "a position is missing": ("select $1, $2", (1,), {}, "takes 2 positional parameters, but 1"),
    "a position too many": ("select 1", (1,), {}, "takes 0 positional parameters, but 1"),
    "a position for a name": ("select :a", (1,), {}, ":a was not given"),
}


@pytest.mark.parametrize("style", [DOLLAR, FORMAT, QMARK])
@pytest.mark.parametrize(("text", "args", "named", "words"), WRONG.values(), ids=WRONG.keys())
def test_values_that_do_not_fit_are_named(
    style: str, text: str, args: tuple[object, ...], named: dict[str, object], words: str
) -> None:
    with pytest.raises(ProgrammingError, match=words):
        parse(text, style).values(args, named)


@pytest.mark.parametrize("text", ["select :a, $1", "select $0", 7])
def test_what_is_no_statement_is_refused(text: str) -> None:
    with pytest.raises(ProgrammingError):
        parse(text, DOLLAR)


def test_only_so_many_statements_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cello.database.sql.statements.MOST_KEPT", 3)
    statements = Statements(QMARK)
    first = statements.get("select 0")
    assert statements.get("select 0") is first
    for number in range(1, 4):
        statements.get(f"select {number}")
    assert statements.get("select 0") is not first
