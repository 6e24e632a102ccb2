"""Under CELLO_TEST_SERVICES=1 no test is skipped for want of what an installation would bring."""

import pytest

from tests import missing

pytest_plugins = ["pytester"]

MODULE = """
import pytest
pytest.importorskip("no_such_package")

def test_of_it():
    pass
"""

TESTS = """
import pytest
from tests.missing import missing

def test_import():
    pytest.importorskip("no_such_package")

def test_own_words():
    pytest.importorskip("no_such_package", reason="the extra 'shop' is not installed")

def test_switch():
    pytest.skip("enable_shop needs 'shop': pip install 'cello[shop]'")

@pytest.fixture
def shop():
    pytest.skip("shop is not installed")

def test_fixture(shop):
    pass

@pytest.mark.skip(reason="shop is not installed")
def test_mark():
    pass

def test_service():
    missing("there is no shop on this machine")
"""

OTHERS = """
import pytest

@pytest.mark.skipif(True, reason="no compiled modules: not built: head, tree")
def test_pure():
    pass

@pytest.mark.skipif(True, reason="this system has no fork")
def test_fork():
    pass

def test_built():
    pytest.skip("the compiled modules are installed, not built in this source tree")

@pytest.mark.xfail(reason="shop is not installed", strict=True)
def test_expected():
    raise LookupError
"""


def run(pytester: pytest.Pytester, text: str) -> pytest.RunResult:
    pytester.makepyfile(text)
    switched_off = [word for name in ("asyncio", "cacheprovider", "xdist") for word in ("-p", f"no:{name}")]
    return pytester.runpytest_inprocess("-p", "tests.missing", *switched_off)


@pytest.fixture
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLO_TEST_SERVICES", "1")


@pytest.mark.usefixtures("_strict")
def test_a_module_that_skips_itself_fails(pytester: pytest.Pytester) -> None:
    result = run(pytester, MODULE)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*could not import 'no_such_package'*", "*`make build` installs it.*"])


@pytest.mark.usefixtures("_strict")
def test_tests_that_are_skipped_fail(pytester: pytest.Pytester) -> None:
    result = run(pytester, TESTS)
    result.assert_outcomes(failed=4, errors=2)
    result.stdout.fnmatch_lines(["*the extra 'shop' is not installed*", "*`make build` installs it.*"])
    result.stdout.fnmatch_lines(["*there is no shop on this machine, and CELLO_TEST_SERVICES=1*"])


@pytest.mark.usefixtures("_strict")
def test_other_reasons_remain_skips(pytester: pytest.Pytester) -> None:
    run(pytester, OTHERS).assert_outcomes(skipped=3, xfailed=1)


@pytest.mark.parametrize(("text", "skipped"), [(MODULE, 1), (TESTS, 6), (OTHERS, 3)], ids=["module", "tests", "others"])
def test_elsewhere_they_are_skips(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, text: str, skipped: int
) -> None:
    monkeypatch.delenv("CELLO_TEST_SERVICES", raising=False)
    assert run(pytester, text).parseoutcomes()["skipped"] == skipped


@pytest.mark.parametrize("is_here", [True, False])
def test_what_is_not_for_this_system_may_be_skipped(is_here: bool) -> None:
    assert missing.is_for_want_of_a_package("shop is not installed", {"shop": is_here}) is is_here


def test_the_suite_itself_has_the_hooks(request: pytest.FixtureRequest) -> None:
    assert request.config.pluginmanager.is_registered(missing)
