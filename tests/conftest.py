"""Fixtures of the whole suite.

`gateway` and `colour` multiply a test over the three ways in and the two kinds of handler; `serve` opens an
application through the gateway at hand. A test that takes them says: this is the same everywhere.
"""

import asyncio
import functools
import inspect
import signal
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import settings

from tests import missing

GATEWAYS = ("wsgi", "asgi", "native")
COLOURS = ("def", "async")
IMPLEMENTATIONS = ("py", "c")


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugins: ours also where cello is not installed, but run from its source tree."""
    if not config.pluginmanager.hasplugin("cello"):
        config.pluginmanager.import_plugin("cello.testing_plugin")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(missing)  # which a conftest of a folder may have imported before
    settings.register_profile("cello", deadline=None)  # no test asserts how long anything takes
    settings.load_profile("cello")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each test on an event loop from within: uvloop swallows what the alarm of pytest-timeout raises."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            mark = item.get_closest_marker("timeout")
            item.obj = bounded(item.obj, mark.args[0] if mark and mark.args else float(item.config.getini("timeout")))


def bounded(test: Callable[..., Any], timeout_s: float) -> Callable[..., Any]:
    """Return the coroutine function with a timeout a little shorter than the one around the whole test."""

    @functools.wraps(test)
    async def bounded_test(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(timeout_s * 0.9):
            await test(*args, **kwargs)

    return bounded_test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write what a test logged so that it can be sent to the process that reports: lone surrogates cannot."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_report_header() -> str:
    """Say what is tested: compiled or pure."""
    from cello import _speedups

    return f"cello: speedups {'on' if _speedups.enabled else 'off'} ({_speedups.reason})"


@pytest.fixture(params=IMPLEMENTATIONS)
def impl(request: pytest.FixtureRequest) -> str:
    """Each twin of what is written once and compiled twice."""
    from cello import _speedups

    if request.param == "c" and not _speedups.enabled:
        pytest.skip(f"no compiled modules: {_speedups.reason}")
    return str(request.param)


@pytest.fixture(params=GATEWAYS)
def gateway(request: pytest.FixtureRequest) -> str:
    """Each way into an application."""
    return str(request.param)


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> str:
    """Each kind of handler."""
    return str(request.param)


@pytest.fixture
def serve(client: Callable[..., Any], gateway: str) -> Callable[..., Any]:
    """Open an application through the gateway at hand; an unhandled exception is the 500 it becomes."""

    def open_client(app: Any, **options: Any) -> Any:
        return client(app, gateway, **{"raise_server_exceptions": False, **options})

    return open_client


@pytest.fixture
def coloured(colour: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a `def` handler to be of the colour at hand: as it is, or as an `async def` with the same signature."""

    def paint(handler: Callable[..., Any]) -> Callable[..., Any]:
        if colour == "def":
            return handler
        if inspect.isgeneratorfunction(handler):

            @functools.wraps(handler)
            async def generator(*args: Any, **kwargs: Any) -> Any:
                for item in handler(*args, **kwargs):
                    await asyncio.sleep(0)
                    yield item

            return generator

        @functools.wraps(handler)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return handler(*args, **kwargs)

        return coroutine

    return paint
