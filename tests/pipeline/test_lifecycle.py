"""Start-up and shutdown: order, bands, failures on the way, and doing it twice."""

import asyncio
import logging
import os
import re
from contextlib import asynccontextmanager, contextmanager

import pytest

from cello.errors import CelloError, ConfigError
from cello.pipeline.lifecycle import USER_BAND, Lifecycle, State


@pytest.fixture
def life():
    return Lifecycle("the app")


@pytest.fixture
def log():
    return []


def hook(log, word, colour="def", error=None):
    def plain():
        log.append(word)
        if error is not None:
            raise error

    async def coroutine():
        await asyncio.sleep(0)
        plain()

    return plain if colour == "def" else coroutine


def span(log, word):
    async def manage():
        log.append(f"{word} begins")
        yield
        log.append(f"{word} ends")

    return manage


async def test_hooks_run_in_order_of_registration_whatever_their_colour(life, log, colour):
    other = "async" if colour == "def" else "def"
    for word in "abc":
        life.on_startup(hook(log, word, colour if word == "b" else other))
        life.on_shutdown(hook(log, word.upper(), colour if word == "b" else other))
    await life.startup()
    assert log == ["a", "b", "c"]
    await life.shutdown()
    assert log == ["a", "b", "c", "A", "B", "C"]


async def test_bands_go_up_and_come_down(life, log):
    for band in (50, 10, 90):
        life.on_startup(hook(log, f"{band} up"), band)
        life.lifespan(span(log, f"{band} span"), band)
        life.on_shutdown(hook(log, f"{band} down"), band)
    life.on_startup(hook(log, "user up"))
    await life.startup()
    assert log == ["10 up", "10 span begins", "50 up", "50 span begins", "user up", "90 up", "90 span begins"]
    log.clear()
    await life.shutdown()
    assert log == ["90 down", "90 span ends", "50 down", "50 span ends", "10 down", "10 span ends"]
    assert USER_BAND == 50


async def test_lifespans_end_in_reverse(life, log):
    life.lifespan(span(log, "a"))
    life.lifespan(span(log, "b"))
    await life.startup()
    await life.shutdown()
    assert log == ["a begins", "b begins", "b ends", "a ends"]


async def async_generator(app):
    app.append("in")
    yield
    app.append("out")


def generator(app):
    app.append("in")
    yield
    app.append("out")


class Manager:
    def __init__(self, app):
        self.app = app

    async def __aenter__(self):
        self.app.append("in")
        return self

    async def __aexit__(self, *exc_info):
        assert exc_info == (None, None, None)
        self.app.append("out")


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(async_generator, id="async generator function"),
        pytest.param(generator, id="generator function"),
        pytest.param(asynccontextmanager(async_generator), id="asynccontextmanager"),
        pytest.param(contextmanager(generator), id="contextmanager"),
        pytest.param(Manager, id="class"),
    ],
)
@pytest.mark.parametrize("takes_app", [True, False], ids=["takes the app", "takes nothing"])
async def test_a_lifespan_is_anything_that_makes_a_context_manager(make, takes_app):
    app = []
    life = Lifecycle(app)
    given = make if takes_app else (lambda: Manager(app))
    assert life.lifespan(given) is given
    await life.startup()
    assert app == ["in"]
    await life.shutdown()
    assert app == ["in", "out"]


async def test_hooks_are_returned_so_that_they_work_as_decorators(life, log):
    plain = hook(log, "x")
    assert life.on_startup(plain) is plain
    assert life.on_shutdown(plain) is plain


async def test_a_failing_start_up_undoes_what_was_done_and_raises(life, log, colour):
    life.on_shutdown(hook(log, "low down"), 10)
    life.lifespan(span(log, "low"), 10)
    life.lifespan(span(log, "first"))
    life.on_shutdown(hook(log, "never: its band did not start completely"))
    life.on_startup(hook(log, "fails", colour, LookupError("no server")))
    life.on_startup(hook(log, "never: comes after"))
    life.on_shutdown(hook(log, "never: higher band"), 90)
    with pytest.raises(LookupError, match="no server"):
        await life.startup()
    assert log == ["low begins", "first begins", "fails", "first ends", "low down", "low ends"]
    assert life.state is State.FAILED


async def test_a_lifespan_that_fails_to_begin_is_not_ended(life, log):
    @life.lifespan
    async def broken():
        log.append("begins")
        raise LookupError
        yield

    with pytest.raises(LookupError):
        await life.startup()
    assert log == ["begins"]


async def test_errors_of_the_undoing_are_logged_and_hide_nothing(life, log, caplog):
    @life.lifespan
    async def broken():
        yield
        raise ValueError("cannot end")

    life.lifespan(span(log, "inner"))
    life.on_startup(hook(log, "fails", error=LookupError("the reason")))
    with caplog.at_level(logging.ERROR), pytest.raises(LookupError, match="the reason"):
        await life.startup()
    assert log == ["inner begins", "fails", "inner ends"]
    assert "cannot end" in caplog.text


async def test_a_cancelled_start_up_is_undone(life, log):
    reached = asyncio.Event()
    life.lifespan(span(log, "a"))

    @life.on_startup
    async def wait():
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(life.startup())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["a begins", "a ends"]
    assert life.state is State.FAILED


async def test_a_shutdown_runs_everything_and_raises_all_that_failed(life, log, colour):
    life.on_shutdown(hook(log, "one", colour, LookupError("1")))
    life.on_shutdown(hook(log, "two", colour))
    life.on_shutdown(hook(log, "three", colour, ValueError("3")))
    life.lifespan(span(log, "span"))
    await life.startup()
    with pytest.raises(ExceptionGroup) as caught:
        await life.shutdown()
    assert [repr(error) for error in caught.value.exceptions] == ["LookupError('1')", "ValueError('3')"]
    assert log == ["span begins", "one", "two", "three", "span ends"]
    assert life.state is State.STOPPED


async def test_the_state_can_be_read_all_along(life):
    seen = []
    life.on_startup(lambda: seen.append(life.state))
    life.on_shutdown(lambda: seen.append(life.state))
    assert life.state is State.NEW
    await life.startup()
    assert life.state is State.READY
    await life.shutdown()
    assert seen == [State.STARTING, State.STOPPING]
    assert life.state is State.STOPPED
    assert f"{life.state}" == "stopped"


async def test_both_happen_once(life, log):
    life.on_startup(hook(log, "up"))
    life.on_shutdown(hook(log, "down"))
    await life.shutdown()
    assert life.state is State.NEW
    await life.startup()
    await life.startup()
    await life.shutdown()
    await life.shutdown()
    assert log == ["up", "down"]


async def test_what_has_stopped_or_failed_may_start_again(life, log):
    life.lifespan(span(log, "x"))
    for _ in range(2):
        await life.startup()
        await life.shutdown()
    life.on_startup(hook(log, "fails", error=LookupError()))
    for _ in range(2):
        with pytest.raises(LookupError):
            await life.startup()
    assert log == ["x begins", "x ends"] * 2 + ["x begins", "fails", "x ends"] * 2


async def test_a_second_shutdown_waits_for_the_first(life, log):
    gate, reached = asyncio.Event(), asyncio.Event()

    @life.on_shutdown
    async def slow():
        reached.set()
        await gate.wait()
        log.append("down")

    await life.startup()
    first = asyncio.ensure_future(life.shutdown())
    await reached.wait()
    second = asyncio.ensure_future(life.shutdown())
    await asyncio.sleep(0)
    assert not second.done()
    gate.set()
    await asyncio.gather(first, second)
    assert log == ["down"]


async def test_what_is_under_way_is_not_started_or_stopped_in_between(life):
    async def interfere():
        with pytest.raises(CelloError, match="cannot start: it is starting already"):
            await life.startup()
        with pytest.raises(CelloError, match="cancel its start-up"):
            await life.shutdown()

    async def restart():
        with pytest.raises(CelloError, match="cannot start: it is stopping already"):
            await life.startup()

    life.on_startup(interfere)
    life.on_shutdown(restart)
    await life.startup()
    await life.shutdown()
    assert life.state is State.STOPPED


async def test_a_hook_that_would_never_run_is_refused(life, log):
    life.on_startup(lambda: late(log))

    def late(request):
        with pytest.raises(ConfigError, match="would never run: the application has started already"):
            life.on_startup(hook(log, "x"))
        with pytest.raises(ConfigError, match="would never run"):
            life.lifespan(span(log, "x"))

    await life.startup()
    late(log)
    life.on_shutdown(hook(log, "registered late"))
    await life.shutdown()
    assert log == ["registered late"]


def needs_one(one):
    return one


def needs_two(one, two):
    return one, two


@pytest.mark.parametrize(
    ("register", "thing", "words"),
    [
        ("on_startup", 7, "a start-up hook must be a function, not 7"),
        ("on_shutdown", None, "a shutdown hook must be a function, not None"),
        ("lifespan", "x", "a lifespan must be a function"),
        ("on_startup", needs_one, "the start-up hook 'needs_one' must take no arguments, but needs one"),
        ("on_shutdown", needs_two, "the shutdown hook 'needs_two' must take no arguments, but needs one, two"),
        ("lifespan", needs_two, "the lifespan 'needs_two' may take the application only, but needs one, two"),
    ],
)
def test_what_cannot_be_called_is_refused_at_once(life, register, thing, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        getattr(life, register)(thing)


async def test_hooks_with_defaults_and_builtins_without_a_signature_are_taken(life, log):
    life.on_startup(lambda word="default", *more, **others: log.append(word))
    life.on_shutdown(dict)
    await life.startup()
    await life.shutdown()
    assert log == ["default"]


async def test_a_lifespan_that_makes_no_context_manager_fails_the_start(life):
    life.lifespan(needs_one)
    with pytest.raises(ConfigError, match="'needs_one' must return a context manager, not 'the app'"):
        await life.startup()


async def test_a_lifespan_that_yields_state_is_told_where_it_belongs(life, log):
    @life.lifespan
    async def state():
        yield {"database": 1}
        log.append("ended")

    with pytest.raises(ConfigError, match=r"set attributes of app\.state instead"):
        await life.startup()
    assert log == ["ended"]


async def test_a_forked_child_has_not_started(life, log, monkeypatch):
    life.lifespan(span(log, "x"))
    await life.startup()
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    assert life.state is State.NEW
    await life.startup()
    await life.shutdown()
    assert log == ["x begins", "x begins", "x ends"]
