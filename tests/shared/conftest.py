"""Regions in plain memory and in files, by either twin."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from cello.shared.gate import Gate
from cello.shared.slots import PureSlots, Slots
from cello.shared.table import PureTable, Table

SECRET = bytes(range(16))


@pytest.fixture
def make_slots(impl: str) -> Callable[..., Any]:
    """A function that makes a row of words."""

    def make(count: int) -> Any:
        kind = PureSlots if impl == "py" else Slots
        return kind(memoryview(bytearray(8 * count)), Gate(None, 0), SECRET)

    return make


@pytest.fixture
def make_table(impl: str, make_slots: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes a table."""

    def make(groups: int, width: int = 1) -> Any:
        kind = PureTable if impl == "py" else Table
        return kind(make_slots(8 + groups * 8 * (2 + width)), Gate(None, 0), groups, width)

    return make


@pytest.fixture
def arena_fd() -> Any:
    """An empty file without a name."""
    fd = os.memfd_create("cello-test") if hasattr(os, "memfd_create") else pytest.skip("this system has no memfd")
    yield fd
    os.close(fd)
