"""Which head scanner is chosen."""

import importlib.util
from typing import Any

import pytest

from cello import _speedups
from cello.errors import ConfigError
from cello.wire import tiers
from cello.wire.tiers import choose_tier


def without(missing: str) -> Any:
    """Return a `find_spec` that does not find one package."""
    return lambda name: None if name == missing else importlib.util.find_spec(name)


def test_the_best_one_present_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_speedups, "enabled", False)
    assert choose_tier().name == "httptools"
    monkeypatch.setattr(tiers, "find_spec", without("httptools"))
    assert choose_tier().name == "h11"


def test_the_compiled_one_comes_first() -> None:
    assert (choose_tier().name == "compiled") is _speedups.enabled


@pytest.mark.parametrize("name", ["httptools", "h11"])
def test_one_can_be_named(name: str) -> None:
    assert choose_tier(name).name == name


def test_what_is_missing_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "find_spec", without("httptools"))
    with pytest.raises(ConfigError, match=r"pip install 'cello\[standard\]'"):
        choose_tier("httptools")
    monkeypatch.setattr(_speedups, "enabled", False)
    with pytest.raises(ConfigError, match="compiled HTTP parser is not in use"):
        choose_tier("compiled")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="auto, compiled, httptools or h11, not 'nginx'"):
        choose_tier("nginx")
