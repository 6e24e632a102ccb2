"""Every MUST names what shows that it is kept, and what it names exists."""

from importlib import import_module

import pytest

from tests.conformance.musts import MUSTS, Must
from tests.conformance.rows import ROWS

NAMES = {row.name for row in ROWS}


@pytest.mark.parametrize("must", MUSTS, ids=lambda must: f"{must.section} {must.rule}")
def test_a_must_is_shown_by_rows_and_tests_that_exist(must: Must) -> None:
    assert must.rows or must.tests
    assert not set(must.rows) - NAMES
    for name in must.tests:
        module, _, function = name.partition(":")
        assert callable(getattr(import_module(f"tests.{module}"), function))


def test_every_section_with_a_must_for_servers_is_there() -> None:
    sections = {must.section.split(".")[0] for must in MUSTS}
    assert sections == {f"§{number}" for number in range(2, 10)}
