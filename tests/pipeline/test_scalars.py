from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import pytest

from cello.pipeline.annotations import bare, is_optional, metadata
from cello.pipeline.params import Query
from cello.pipeline.scalars import checks_of, converter


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


UserId = NewType("UserId", int)
ID = UUID("12345678-1234-5678-1234-567812345678")

GOOD = [
    (str, "", ""),
    (str, " as it is ", " as it is "),
    (Any, "text", "text"),
    (int, "0", 0),
    (int, "-42", -42),
    (int, "+7", 7),
    (int, "007", 7),
    (float, "1", 1.0),
    (float, "-1.5e3", -1500.0),
    (float, ".5", 0.5),
    (bool, "true", True),
    (bool, "On", True),
    (bool, "1", True),
    (bool, "FALSE", False),
    (bool, "no", False),
    (Decimal, "1.10", Decimal("1.10")),
    (UUID, str(ID), ID),
    (UUID, ID.hex, ID),
    (datetime, "2030-12-31T23:59:59Z", datetime(2030, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (datetime, "2030-12-31T23:59:59", datetime(2030, 12, 31, 23, 59, 59)),
    (date, "2030-12-31", date(2030, 12, 31)),
    (time, "23:59", time(23, 59)),
    (timedelta, "P1DT1H30M", timedelta(days=1, hours=1, minutes=30)),
    (timedelta, "-PT90.5S", timedelta(seconds=-90.5)),
    (timedelta, "P2W", timedelta(weeks=2)),
    (Colour, "red", Colour.RED),
    (Level, "2", Level.HIGH),
    (Literal["a", 1], "1", 1),
    (int | None, "5", 5),
    (int | str, "5", 5),
    (str | int, "5", 5),
    (str | int, "five", "five"),
    (UserId, "9", 9),
    (Annotated[int, "anything"], "9", 9),
]
BAD = [
    (int, "", "must be a whole number"),
    (int, "1.0", "must be a whole number"),
    (int, " 1", "must be a whole number"),
    (int, "1_000", "must be a whole number"),
    (int, "１", "must be a whole number"),
    (int, "9" * 5000, "must be a whole number"),
    (float, "nan", "must be a number"),
    (float, "inf", "must be a number"),
    (float, "1e999", "must be a number"),
    (float, "1,5", "must be a number"),
    (bool, "maybe", "must be true or false"),
    (bool, "", "must be true or false"),
    (Decimal, "NaN", "must be a decimal number"),
    (Decimal, "1e9999999999999999999999", "must be a decimal number"),
    (UUID, "123", "must be a UUID"),
    (UUID, "{12345678-1234-5678-1234-56781234567}", "must be a UUID"),
    (UUID, "z" * 32, "must be a UUID"),
    (datetime, "yesterday", "must be a date and time such as 2030-12-31T23:59:59Z"),
    (date, "2030-13-01", "must be a date such as 2030-12-31"),
    (date, "20301231", "must be a date such as 2030-12-31"),
    (time, "25:00", "must be a time such as 23:59:59"),
    (timedelta, "P", "must be a duration such as PT90S"),
    (timedelta, "PT", "must be a duration such as PT90S"),
    (timedelta, "P1Y", "must be a duration such as PT90S"),
    (timedelta, "P9999999999999999D", "must be a duration such as PT90S"),
    (Colour, "green", "must be one of red, blue"),
    (Literal["only"], "other", "must be only"),
    (int | date, "x", "must be a whole number or must be a date such as 2030-12-31"),
]


@pytest.mark.parametrize(("annotation", "text", "value"), GOOD)
def test_text_becomes_what_the_annotation_says(annotation: Any, text: str, value: object) -> None:
    convert = converter(annotation)
    assert convert is not None
    assert convert(text) == value
    assert type(convert(text)) is type(value)


@pytest.mark.parametrize(("annotation", "text", "words"), BAD, ids=[f"{kind}-{text[:12]}" for kind, text, _ in BAD])
def test_text_that_does_not_fit_says_what_would(annotation: Any, text: str, words: str) -> None:
    convert = converter(annotation)
    assert convert is not None
    with pytest.raises(ValueError, match=f"^{words}$"):
        convert(text)


@pytest.mark.parametrize("annotation", [dict, list[int], bytes, type, int | dict[str, int]])
def test_what_text_cannot_become_has_no_converter(annotation: Any) -> None:
    assert converter(annotation) is None


class Ge:
    """A constraint as annotated-types writes it."""

    ge = 3


CONSTRAINTS = [
    (Query(ge=1), 1, None),
    (Query(ge=1), 0, "must be at least 1"),
    (Query(gt=1), 1, "must be above 1"),
    (Query(le=1), 2, "must be at most 1"),
    (Query(lt=1), 1, "must be below 1"),
    (Query(multiple_of=5), 7, "must be a multiple of 5"),
    (Query(min_length=2), "a", "must have at least 2 characters"),
    (Query(max_length=1), "ab", "must have at most 1 character"),
    (Query(max_length=1), [1, 2], "must have at most 1 item"),
    (Query(pattern="^a+$"), "b", "must match ^a+$"),
    (Query(pattern="^a+$"), "aa", None),
    (Ge(), 2, "must be at least 3"),
]


@pytest.mark.parametrize(("constraint", "value", "words"), CONSTRAINTS)
def test_a_constraint_says_what_it_wants(constraint: Any, value: object, words: str | None) -> None:
    (check,) = checks_of([constraint])
    assert check(value) == words


def test_wrappers_around_a_type_are_seen_through() -> None:
    assert bare(Annotated[UserId, 1]) is int
    assert is_optional(Annotated[int | None, 1])
    assert not is_optional(int)
    assert is_optional(None)
    assert metadata(Annotated[Annotated[int, 1], 2, Query()]) == (1, 2)
    assert metadata(int) == ()
