"""The machinery of config classes, and the ones that the core reads."""

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from cello.config import LimitsConfig, ThreadPoolConfig, TimeoutConfig, config, field
from cello.errors import ConfigError


@config
class Sample:
    """One field of every kind."""

    name: str
    count: int = field(default=1, at_least=0, at_most=9)
    ratio: float = field(default=0.5, above=0, at_most=1)
    colour: str = field(default="red", one_of=("red", "green"))
    flag: bool = False
    limit: int | None = field(default=None, at_least=1)
    items: list[str] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    ladder: Callable[[int], int] | None = None
    path: Path = Path()


def test_values_are_kept_and_readable() -> None:
    made = Sample("x", count=3, ratio=1, colour="green", flag=True, limit=5, items=["a"])
    assert (made.name, made.count, made.ratio, made.colour, made.flag, made.limit) == ("x", 3, 1, "green", True, 5)
    assert made.items == ["a"]


def test_a_field_of_a_class_takes_what_it_is_given() -> None:
    assert Sample("x", ladder=abs, path=Path("a")).ladder is abs
    assert Sample("x", ladder=None).ladder is None


def test_defaults_hold_where_nothing_is_said() -> None:
    made = Sample("x")
    assert (made.count, made.ratio, made.colour, made.flag, made.limit, made.items) == (1, 0.5, "red", False, None, [])


def test_a_default_factory_makes_a_fresh_value_each_time() -> None:
    assert Sample("x").items is not Sample("x").items


REFUSED = {
    "an unknown field, with what comes close": ({"cuont": 1}, "Sample has no field 'cuont'; did you mean 'count'"),
    "an unknown field that is close to none": ({"zzz": 1}, "Sample has no field 'zzz'; it has: name, count"),
    "too few of what is required": ({"name": ...}, r"Sample: missing 1 required positional argument: 'name'"),
    "below at_least": ({"count": -1}, "Sample.count must be at least 0, not -1"),
    "beyond at_most": ({"count": 10}, "Sample.count must be at most 9, not 10"),
    "not above": ({"ratio": 0}, "Sample.ratio must be above 0, not 0"),
    "none of one_of": ({"colour": "blue"}, r"Sample.colour must be one of \('red', 'green'\), not 'blue'"),
    "a string for a number": ({"count": "3"}, "Sample.count must be a whole number, not '3'"),
    "a fraction for a whole number": ({"count": 1.5}, "Sample.count must be a whole number, not 1.5"),
    "a bool for a whole number": ({"count": True}, "Sample.count must be a whole number, not True"),
    "a bool for a number": ({"ratio": True}, "Sample.ratio must be a number, not True"),
    "a number for a bool": ({"flag": 1}, "Sample.flag must be True or False, not 1"),
    "a number for a string": ({"name": 5}, "Sample.name must be a string, not 5"),
    "None where it is not allowed": ({"count": None}, "Sample.count must not be None"),
    "None for a required field": ({"name": None}, "Sample.name must not be None"),
    "not a number at all": ({"ratio": float("nan")}, "Sample.ratio must be"),
    "an optional field out of range": ({"limit": 0}, "Sample.limit must be at least 1, not 0"),
    "a string for an optional number": ({"limit": "5"}, "Sample.limit must be a whole number or None, not '5'"),
    "a list for a mapping": ({"table": ["a"]}, "Sample.table must be a mapping, not \\['a'\\]"),
    "None for a value of a class": ({"path": None}, "Sample.path must not be None"),
    "a string for a list": ({"items": "abc"}, "Sample.items must be a list, not 'abc'"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_work_is_refused_with_the_field_named(given: dict[str, object], message: str) -> None:
    arguments = {"name": "x", **given}
    with pytest.raises(ConfigError, match=message):
        Sample(**{name: value for name, value in arguments.items() if value is not ...})  # type: ignore[arg-type]


def test_too_many_positional_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="Sample: takes from 2 to 11 positional arguments but 12 were given"):
        Sample("x", 1, 0.5, "red", False, 1, [], {}, None, Path(), "more")  # type: ignore[call-arg]


def test_a_long_wrong_value_is_shown_shortened() -> None:
    with pytest.raises(ConfigError) as caught:
        Sample("x", count="9" * 1000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sample("x").count = 2  # type: ignore[misc]


def test_a_config_takes_no_other_attributes() -> None:
    assert not hasattr(Sample("x"), "__dict__")


def test_replace_makes_a_checked_variation() -> None:
    assert dataclasses.replace(Sample("x"), count=2) == Sample("x", count=2)
    with pytest.raises(ConfigError, match=r"Sample\.count"):
        dataclasses.replace(Sample("x"), count=-2)


def test_configs_can_be_compared_hashed_copied_and_pickled() -> None:
    made = LimitsConfig(max_fields=7)
    assert made == LimitsConfig(max_fields=7) != LimitsConfig()
    assert hash(made) == hash(LimitsConfig(max_fields=7))
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


def test_the_signature_shows_the_real_fields() -> None:
    assert list(inspect.signature(Sample).parameters)[:3] == ["name", "count", "ratio"]


def test_the_core_configs_have_the_documented_defaults() -> None:
    limits, timeouts, threads = LimitsConfig(), TimeoutConfig(), ThreadPoolConfig()
    assert (limits.max_header_size, limits.max_body_size, limits.max_connections) == (16384, 10485760, 10000)
    assert (limits.max_requests_per_connection, limits.max_request_line, limits.max_fields) == (1000, 8192, 100)
    assert (limits.max_pipelined, limits.max_form_fields, limits.max_multipart_parts) == (16, 1000, 128)
    assert limits.max_spool_memory == 1048576
    assert dataclasses.astuple(timeouts) == (5, 30, 30, 60, 30)
    assert dataclasses.astuple(threads) == (64, 1, True, 4096)


@pytest.mark.parametrize("name", ["read_header", "read_body", "write", "idle", "handler"])
def test_timeouts_are_readable_by_both_names(name: str) -> None:
    made = TimeoutConfig(**{name: 7.5})
    assert getattr(made, name) == getattr(made, f"{name}_timeout") == 7.5
