"""What a test needs and this machine lacks: a skip; a failure where CELLO_TEST_SERVICES=1 says that all is installed.

`missing` is for what a test looks for itself, a command or a server. The hooks are for the rest: they look at the
reason of each skip, at collection and at run, and make a failure of one for want of a package, whoever skipped and by
whatever way, so that a step that no longer installs something cannot hide. Other reasons, such as a system without
`fork` or modules that are not compiled, remain skips.
"""

import os
import platform
import re
import sys
from collections.abc import Generator, Mapping
from typing import Any, NoReturn, TypeVar

import pytest

Report = TypeVar("Report", pytest.CollectReport, pytest.TestReport)

LACKS = re.compile(r"could not import|(is|are) not installed|No module named|pip install")
"""What reasons for want of something say: pytest's `importorskip`, our tests, the import system, MissingDependency."""

NOT_EVERYWHERE: Mapping[str, bool] = {
    "pyuwsgi": sys.platform == "linux" and platform.machine() == "x86_64",
    "uvloop": sys.platform != "win32",
}
"""What the extra `dev` asks for on some systems only, and whether this is one of them."""


def is_all_installed() -> bool:
    """Whether whoever runs the tests says that everything is there."""
    return os.environ.get("CELLO_TEST_SERVICES") == "1"


def missing(why: str) -> NoReturn:
    """Skip the test, or fail it where everything must be there."""
    if is_all_installed():
        pytest.fail(f"{why}, and CELLO_TEST_SERVICES=1 says that it is there (see .ci/services)")
    pytest.skip(why)


def is_for_want_of_a_package(reason: str, not_everywhere: Mapping[str, bool] = NOT_EVERYWHERE) -> bool:
    """Return whether a reason to skip is one that an installation would remove on this system."""
    if any(name in reason and not is_here for name, is_here in not_everywhere.items()):
        return False
    return LACKS.search(reason) is not None


def refuse(report: Report) -> Report:
    """Make a failure of a skip for want of a package, where everything must be there."""
    if report.skipped and is_all_installed() and isinstance(report.longrepr, tuple):
        path, line, words = report.longrepr
        if is_for_want_of_a_package(words):
            report.outcome = "failed"
            report.longrepr = (
                f"{path}:{line}: {words.removeprefix('Skipped: ')}\n"
                "CELLO_TEST_SERVICES=1 says that everything is there: a package that tests need belongs into the extra "
                "'dev' of pyproject.toml, and `make build` installs it."
            )
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at modules that skip themselves."""
    return refuse((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, pytest.TestReport]:
    """Look at tests that are skipped, by a mark, a fixture or themselves."""
    return refuse((yield))
