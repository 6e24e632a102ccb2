"""Dependencies: how they are made, shared, overridden and cleaned up."""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from cello.errors import ConfigError, NotFound
from cello.http.request import Request
from cello.pipeline.params import Depends, Query
from tests.pipeline.conftest import Client, document, make_dispatcher, make_route, text


def ask(client: Client, handler: Callable[..., Any], path: str = "/", pattern: str = "/", **settings: Any) -> Any:
    return client.ask(make_dispatcher(make_route("GET", pattern, handler), **settings), Request("GET", path))


def answered(client: Client, handler: Callable[..., Any], path: str = "/", pattern: str = "/", **settings: Any) -> Any:
    response = ask(client, handler, path, pattern, **settings)
    assert response.status == 200, response.payload
    return document(response)


def test_a_singleton_is_taken_by_name(client: Client) -> None:
    def get_users(db: Any = Depends("db")) -> list[str]:
        return [db]

    assert answered(client, get_users, singletons={"db": "the database"}) == ["the database"]


def test_a_singleton_that_changes_is_read_anew(client: Client) -> None:
    def handler(db: Annotated[str, Depends("db")]) -> list[str]:
        return [db]

    singletons = {"db": "old"}
    dispatcher = make_dispatcher(make_route("GET", "/", handler), singletons=singletons)
    singletons["db"] = "new"
    assert document(client.ask(dispatcher, Request("GET", "/"))) == ["new"]


def test_a_missing_name_is_an_error_at_the_freeze_that_names_the_route() -> None:
    def handler(db: Any = Depends("db")) -> None:
        return None

    with pytest.raises(ConfigError, match=r"route GET /users \(test.py:1\): .*'db'.*needs Depends\('db'\).*'cache'"):
        make_dispatcher(make_route("GET", "/users", handler), singletons={"cache": 1})


class Service:
    def __init__(self, request: Request, page: int = Query(1)) -> None:
        self.words = f"{request.method} {page}"


class Maker:
    def __call__(self, request: Request) -> str:
        return request.method

    async def __aenter__(self) -> None: ...


async def in_async(request: Request) -> str:
    await asyncio.sleep(0)
    return "async"


async def async_of_async(before: str = Depends(in_async)) -> str:
    return f"{before} of async"


def of_async(before: str = Depends(in_async)) -> str:
    return f"def of {before}"


def disguised(request: Request) -> Any:
    return in_async(request)


def of_path(id: int, page: int = Query(1)) -> str:
    return f"{id}/{page}"


KINDS: dict[str, tuple[Any, str]] = {
    "def": (lambda request: "made", "made"),
    "a lambda of nothing": (lambda: "nothing", "nothing"),
    "async def": (in_async, "async"),
    "async of async": (async_of_async, "async of async"),
    "def of async": (of_async, "def of async"),
    "def that hands out a coroutine": (disguised, "async"),
    "an object": (Maker(), "GET"),
    "with path and query": (of_path, "7/2"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_callable_makes_the_value(client: Client, kind: str, colour: str) -> None:
    dependency, expected = KINDS[kind]

    def handler(id: str, made: str = Depends(dependency)) -> list[str]:
        return [id, made]

    async def async_handler(id: str, made: str = Depends(dependency)) -> list[str]:
        return [id, made]

    chosen = handler if colour == "def" else async_handler
    assert answered(client, chosen, "/7?page=2", "/{id}") == ["7", expected]


def test_a_class_is_called_and_may_be_the_annotation(client: Client) -> None:
    def handler(one: Annotated[Service, Depends()], two: Service = Depends(Service)) -> list[Any]:
        return [one.words, one is two]

    assert answered(client, handler, "/?page=3") == ["GET 3", True]


def test_one_value_is_shared_in_a_request_unless_it_says_otherwise(client: Client) -> None:
    made: list[int] = []

    def number() -> int:
        made.append(1)
        return len(made)

    def doubled(n: int = Depends(number)) -> int:
        return n * 10

    def handler(
        a: int = Depends(number),
        b: int = Depends(doubled),
        c: int = Depends(number),
        d: int = Depends(number, use_cache=False),
        e: int = Depends(number, use_cache=False),
    ) -> list[int]:
        return [a, b, c, d, e]

    dispatcher = make_dispatcher(make_route("GET", "/", handler))
    assert document(client.ask(dispatcher, Request("GET", "/"))) == [1, 10, 1, 2, 3]
    assert document(client.ask(dispatcher, Request("GET", "/"))) == [4, 40, 4, 5, 6]


def test_faults_of_a_dependency_come_with_those_of_the_handler(client: Client) -> None:
    called: list[int] = []

    def paged(page: int = Query()) -> int:
        called.append(1)
        return page

    def handler(id: int, page: int = Depends(paged), size: int = Query()) -> None:
        return None

    response = ask(client, handler, "/x", "/{id}")
    assert response.status == 422
    assert [fault["name"] for fault in document(response)["errors"]] == ["page", "id", "size"]
    assert called == []


def test_faults_of_an_async_dependency_are_answered_too(client: Client) -> None:
    async def paged(page: int = Query()) -> int:
        return page

    def handler(page: int = Depends(paged)) -> None: ...

    assert ask(client, handler).status == 422


def test_arguments_of_dependencies_are_known_for_schemas() -> None:
    def paged(page: int = Query()) -> int:
        return page

    def handler(request: Request, id: int, page: int = Depends(paged)) -> None: ...

    route = make_route("GET", "/{id}", handler)
    binding = make_dispatcher(route).bindings[route]
    assert [(argument.name, argument.source) for argument in binding.arguments] == [
        ("request", "request"), ("id", "path"), ("page", "query"), ("page", "depends"),
    ]  # fmt: skip


def one(two: Any = Depends(lambda: None)) -> None: ...
def two(one: Any = Depends(one)) -> None: ...


def test_a_circle_is_an_error_at_the_freeze_that_names_the_chain() -> None:
    one.__defaults__ = (Depends(two),)
    with pytest.raises(ConfigError, match=r"dependencies go in a circle: \S+\.one → \S+\.two → \S+\.one"):
        make_dispatcher(make_route("GET", "/", lambda it=Depends(one): it))


def test_a_dependency_that_cannot_be_bound_is_an_error_that_names_it() -> None:
    def broken(request: Request, other: Any) -> None: ...

    def handler(it: Any = Depends(broken)) -> None: ...

    with pytest.raises(ConfigError, match=r"broken, parameter 'other': cannot be bound"):
        make_dispatcher(make_route("GET", "/", handler))


# Clean-up ------------------------------------------------------------------------------------------------------------

Log = list[str]


def making(log: Log, colour: str, name: str, *needs: Any) -> Callable[..., Any]:
    """Return a generator dependency that writes down its life."""

    def plain(needed: Any = Depends(needs[0]) if needs else Depends(lambda: None)) -> Iterator[str]:
        log.append(f"{name} begins")
        try:
            yield name
        except Exception as error:
            log.append(f"{name} sees {type(error).__name__}")
            raise
        finally:
            log.append(f"{name} ends")

    async def awaited(needed: Any = Depends(needs[0]) if needs else Depends(lambda: None)) -> AsyncIterator[str]:
        log.append(f"{name} begins")
        try:
            yield name
        except Exception as error:
            log.append(f"{name} sees {type(error).__name__}")
            raise
        finally:
            await asyncio.sleep(0)
            log.append(f"{name} ends")

    return plain if colour == "def" else awaited


@pytest.mark.parametrize("inner", ["def", "async"])
@pytest.mark.parametrize("outer", ["def", "async"])
@pytest.mark.parametrize("fails", [False, True], ids=["answered", "raised"])
def test_clean_ups_run_in_reverse_after_the_answer(client: Client, inner: str, outer: str, fails: bool) -> None:
    log: Log = []
    first = making(log, outer, "first")
    second = making(log, inner, "second", first)

    def handler(a: str = Depends(second), b: str = Depends(first)) -> list[str]:
        log.append("handler")
        if fails:
            raise NotFound("gone")
        return [a, b]

    response = ask(client, handler)
    seen = {name: [f"{name} sees NotFound"] if fails else [] for name in ("first", "second")}
    assert response.status == (404 if fails else 200)
    assert log == [
        "first begins", "second begins", "handler",
        *seen["second"], "second ends", *seen["first"], "first ends",
    ]  # fmt: skip


def test_the_answer_comes_before_the_clean_up() -> None:
    log: Log = []

    def handler(a: str = Depends(making(log, "def", "it"))) -> str:
        return a

    dispatcher = make_dispatcher(make_route("GET", "/", handler))
    request = Request("GET", "/")
    response = dispatcher.answer(dispatcher.plan_for(request), request)
    assert text(response) == "it"
    assert log == ["it begins"]
    assert dispatcher.needs_finish(request, response)
    dispatcher.finish(request, response)
    assert log == ["it begins", "it ends"]
    assert not dispatcher.needs_finish(request, response)


def test_a_dependency_that_fails_leaves_those_before_it_cleaned_up(client: Client) -> None:
    log: Log = []

    def broken(a: str = Depends(making(log, "def", "it"))) -> None:
        raise RuntimeError("broken")

    def handler(b: Any = Depends(broken)) -> None:
        log.append("never")

    assert ask(client, handler).status == 500
    assert log == ["it begins", "it sees RuntimeError", "it ends"]


def yields_twice() -> Iterator[int]:
    yield 1
    yield 2


async def yields_twice_async() -> AsyncIterator[int]:
    yield 1
    yield 2


def fails_at_the_end() -> Iterator[int]:
    yield 1
    raise RuntimeError("clean-up fails")


async def fails_at_the_end_async() -> AsyncIterator[int]:
    yield 1
    raise RuntimeError("clean-up fails")


@pytest.mark.parametrize("dependency", [yields_twice, yields_twice_async, fails_at_the_end, fails_at_the_end_async])
def test_a_clean_up_that_fails_is_logged_and_the_rest_still_runs(
    client: Client, dependency: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log: Log = []

    def handler(a: str = Depends(making(log, "def", "it")), b: int = Depends(dependency)) -> int:
        return b

    with caplog.at_level(logging.ERROR):
        assert answered(client, handler) == 1
    assert log == ["it begins", "it ends"]
    assert f"the clean-up of dependency {dependency.__name__} raised" in caplog.text


def never_yields() -> Iterator[int]:
    return
    yield 1


async def never_yields_async() -> AsyncIterator[int]:
    return
    yield 1


@pytest.mark.parametrize("dependency", [never_yields, never_yields_async])
def test_a_generator_that_never_yields_is_an_error(client: Client, dependency: Any) -> None:
    def handler(it: int = Depends(dependency)) -> int:
        return it

    assert ask(client, handler).status == 500


def test_a_clean_up_runs_in_the_context_its_dependency_began_in(client: Client) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    seen: list[str] = []

    def scope() -> Iterator[str]:
        token = user.set("ada")
        yield user.get()
        seen.append(user.get())
        user.reset(token)

    def handler(name: str = Depends(scope)) -> list[str]:
        return [name, user.get()]

    assert answered(client, handler) == ["ada", "ada"]
    assert seen == ["ada"]


def test_an_error_swallowed_by_a_dependency_is_still_answered(client: Client) -> None:
    def forgiving() -> Iterator[int]:
        try:
            yield 1
        except NotFound:
            pass

    def handler(it: int = Depends(forgiving)) -> None:
        raise NotFound("gone")

    assert ask(client, handler).status == 404


# Overrides -----------------------------------------------------------------------------------------------------------


def real() -> str:
    return "real"


def above(below: str = Depends(real)) -> str:
    return f"above {below}"


async def awaited_fake() -> str:
    return "awaited"


def generated_fake() -> Iterator[str]:
    yield "generated"


def fake_with_needs(request: Request, page: int = Query(1)) -> str:
    return f"{request.method} {page}"


FAKES: dict[str, tuple[Any, str]] = {
    "a lambda": (lambda: "fake", "fake"),
    "async def": (awaited_fake, "awaited"),
    "a generator": (generated_fake, "generated"),
    "with needs of its own": (fake_with_needs, "GET 5"),
}


@pytest.mark.parametrize("fake", FAKES)
def test_a_dependency_can_be_overridden_and_put_back(client: Client, fake: str, colour: str) -> None:
    replacement, expected = FAKES[fake]

    def handler(a: str = Depends(real), b: str = Depends(above)) -> list[str]:
        return [a, b]

    async def async_handler(a: str = Depends(real), b: str = Depends(above)) -> list[str]:
        return [a, b]

    overrides: dict[Any, Any] = {}
    chosen = handler if colour == "def" else async_handler
    dispatcher = make_dispatcher(make_route("GET", "/", chosen), overrides=overrides)
    assert document(client.ask(dispatcher, Request("GET", "/"))) == ["real", "above real"]
    overrides[real] = replacement
    for _ in range(2):
        assert document(client.ask(dispatcher, Request("GET", "/?page=5"))) == [expected, f"above {expected}"]
    overrides.clear()
    assert document(client.ask(dispatcher, Request("GET", "/"))) == ["real", "above real"]


def test_a_singleton_is_overridden_by_the_value_itself(client: Client) -> None:
    def handler(db: str = Depends("db")) -> list[str]:
        return [db]

    overrides: dict[Any, Any] = {}
    dispatcher = make_dispatcher(make_route("GET", "/", handler), singletons={"db": "real"}, overrides=overrides)
    overrides["db"] = "fake"
    assert document(client.ask(dispatcher, Request("GET", "/"))) == ["fake"]
    del overrides["db"]
    assert document(client.ask(dispatcher, Request("GET", "/"))) == ["real"]


def test_an_override_of_something_else_changes_nothing(client: Client) -> None:
    def handler(a: str = Depends(above)) -> list[str]:
        return [a]

    assert answered(client, handler, overrides={"db": 1, len: real}) == ["above real"]
