"""Guards: kinds × outcomes × colours × where they stand; what breaks denies."""

import asyncio
import functools
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cello import guards as public
from cello.errors import ConfigError, Forbidden, HTTPError, Unauthorized
from cello.guards import (
    And,
    Authenticated,
    ForbiddenError,
    Guard,
    GuardError,
    Not,
    Or,
    Permission,
    Role,
    UnauthorizedError,
    constant_time_compare,
    verify_guards,
    verify_guards_async,
)
from cello.http.request import Request
from cello.pipeline.guarding import check_guard
from cello.pipeline.middleware import IDENTIFY, MiddlewareStack
from tests.pipeline.conftest import Client, document, field, make_dispatcher, make_route, text
from tests.pipeline.conftest import client as client  # the fixture, for this file too
from tests.pipeline.conftest import portal as portal  # the fixture it needs

COLOURS = ["def", "async", "disguised", "an object", "a partial"]


def guard_that(outcome: Any, colour: str) -> Callable[[Request], Any]:
    """Return a guard of some colour that returns or raises `outcome`."""

    def guard(request: Request) -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def async_guard(request: Request) -> Any:
        await asyncio.sleep(0)
        return guard(request)

    class Object(Guard):
        async def __call__(self, request: Request) -> Any:
            return await async_guard(request)

    if colour == "def":
        return guard
    if colour == "async":
        return async_guard
    if colour == "disguised":
        return lambda request: async_guard(request)
    return Object() if colour == "an object" else functools.partial(async_guard)


OUTCOMES: dict[str, tuple[Any, int, str]] = {
    "True": (True, 200, ""),
    "None": (None, 200, ""),
    "False": (False, 403, "You may not do this."),
    "a message": ("Not on Sundays.", 403, "Not on Sundays."),
    "an empty message": ("", 403, ""),
    "1, which is not True": (1, 403, "You may not do this."),
    "0, which is not False": (0, 403, "You may not do this."),
    "an object": (object(), 403, "You may not do this."),
    "a list": ([True], 403, "You may not do this."),
    "GuardError": (GuardError("No tea.", 418), 418, "No tea."),
    "ForbiddenError": (ForbiddenError("No."), 403, "No."),
    "UnauthorizedError": (UnauthorizedError(), 401, "Authentication required"),
    "HTTPError": (HTTPError(429, "Slower."), 429, "Slower."),
    "an exception": (RuntimeError("secret"), 403, "You may not do this."),
    "KeyError": (KeyError("user"), 403, "You may not do this."),
}


@pytest.mark.parametrize("place", ["route", "app"])
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_guard_lets_pass_or_refuses(client: Client, outcome: str, colour: str, place: str) -> None:
    verdict, status, detail = OUTCOMES[outcome]
    called: list[int] = []

    def handler(request: Request) -> str:
        called.append(1)
        return "fine"

    guard = guard_that(verdict, colour)
    route = make_route("GET", "/", handler, guards=[guard] if place == "route" else None)
    response = client.ask(make_dispatcher(route, guards=[guard] if place == "app" else []), Request("GET", "/"))

    assert response.status == status
    assert bool(called) == (status == 200)
    if status != 200:
        assert document(response)["detail"] == detail
        assert field(response, "Content-Type") == "application/problem+json"
        assert "secret" not in text(response)
    assert field(response, "WWW-Authenticate") == ("Bearer" if status == 401 else None)


@pytest.mark.parametrize("first", COLOURS)
@pytest.mark.parametrize("second", COLOURS)
@pytest.mark.parametrize("verdicts", [(True, True), (True, False), (False, True)])
def test_guards_are_asked_in_order_until_one_refuses(
    client: Client, first: str, second: str, verdicts: tuple[bool, bool]
) -> None:
    guards = [guard_that(verdict, colour) for verdict, colour in zip(verdicts, (first, second), strict=True)]
    dispatcher = make_dispatcher(make_route("GET", "/", lambda request: "fine", guards=guards[1:]), guards=guards[:1])
    assert client.ask(dispatcher, Request("GET", "/")).status == (200 if all(verdicts) else 403)


def test_a_guard_that_breaks_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request) -> bool:
        raise RuntimeError("secret")

    def odd(request: Request) -> int:
        return 7

    for guard, words in ((broken, "raised: denied"), (odd, "returned 7, which is neither True nor None")):
        with caplog.at_level(logging.ERROR, "cello.guards"):
            client.ask(make_dispatcher(make_route("GET", "/", lambda r: "", guards=[guard])), Request("GET", "/"))
        assert words in caplog.text


def test_guards_run_after_identification(client: Client) -> None:
    class Identify:
        band = IDENTIFY

        def before(self, request: Request) -> None:
            request.context["user"] = {"name": "ada"}

    stack = MiddlewareStack()
    stack.use(Identify())
    route = make_route("GET", "/", lambda request: "fine", guards=[Authenticated()])
    assert client.ask(make_dispatcher(route, middleware=stack), Request("GET", "/")).status == 200
    assert client.ask(make_dispatcher(route), Request("GET", "/")).status == 401


def test_unknown_paths_and_methods_are_not_guarded(client: Client) -> None:
    dispatcher = make_dispatcher(make_route("GET", "/", lambda request: ""), guards=[Authenticated()])
    found = [client.ask(dispatcher, Request(*line)).status for line in (("GET", "/x"), ("PUT", "/"), ("OPTIONS", "/"))]
    assert found == [404, 405, 204]


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        (Authenticated, r"must be an instance: Authenticated\(…\)"),
        ("text", "must be callable, not 'text'"),
        (lambda: True, "must take one argument, the request"),
        (lambda request, other: True, "must take one argument, the request"),
    ],
)
def test_what_cannot_be_a_guard_is_refused_when_it_is_registered(guard: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_guard(guard)
    with pytest.raises(ConfigError, match=words):
        And(guard)


def test_a_guard_without_a_signature_is_taken(client: Client) -> None:
    check_guard(dict.fromkeys)


# The classes ---------------------------------------------------------------------------------------------------------


def outcome(guard: Callable[[Request], Any], user: Any = None, key: str = "user") -> int | str:
    """Return what `guard` comes to: 200, or a status."""
    request = Request("GET", "/")
    if user is not None:
        request.context[key] = user
    try:
        verify_guards([guard], request)
    except HTTPError as error:
        return error.status
    return 200


ADA = {"roles": ["admin", "author"], "permissions": ["read", "write"]}
BOB = SimpleNamespace(roles="author", permissions={"read"})
TABLE: list[tuple[str, Guard, Any, int]] = [
    ("nobody is signed in", Authenticated(), None, 401),
    ("somebody is signed in", Authenticated(), ADA, 200),
    ("an empty user is a user", Authenticated(), {}, 200),
    ("a user that is False is none", Authenticated(), False, 401),
    ("a role without a user", Role(["admin"]), None, 401),
    ("the role", Role(["admin"]), ADA, 200),
    ("one role as text", Role("admin"), ADA, 200),
    ("not the role", Role(["admin"]), BOB, 403),
    ("a role as text", Role(["author"]), BOB, 200),
    ("no role inside another's name", Role(["auth"]), BOB, 403),
    ("one of the roles", Role(["admin", "owner"]), ADA, 200),
    ("not all of the roles", Role(["admin", "owner"], require_all=True), ADA, 403),
    ("all of the roles", Role(["admin", "author"], True), ADA, 200),
    ("a user without roles", Role(["admin"]), {}, 403),
    ("a user with odd roles", Role(["admin"]), {"roles": 7}, 403),
    ("a permission without a user", Permission(["read"]), None, 401),
    ("all of the permissions", Permission(["read", "write"]), ADA, 200),
    ("not all of the permissions", Permission(["read", "write"]), BOB, 403),
    ("one of the permissions", Permission(["read", "write"], require_all=False), BOB, 200),
    ("another key", Role(["admin"], role_key="groups"), {"groups": ["admin"]}, 200),
    ("and: both", And(Authenticated(), Role("admin")), ADA, 200),
    ("and: one", And(Authenticated(), Role("admin")), BOB, 403),
    ("and: nobody", And([Authenticated(), Role("admin")]), None, 401),
    ("or: the first", Or(Role("admin"), Permission("fly")), ADA, 200),
    ("or: the second", Or(Role("admin"), Permission("read")), BOB, 200),
    ("or: neither", Or([Role("admin"), Permission("fly")]), BOB, 403),
    ("or: the last refusal counts", Or(Role("admin"), Authenticated()), None, 401),
    ("not: refused turned", Not(Role("admin")), BOB, 200),
    ("not: passed turned", Not(Role("admin")), ADA, 403),
    ("not: 401 turned", Not(Authenticated()), None, 200),
    ("operators", (Authenticated() & Role("author")) | ~Authenticated(), BOB, 200),
    ("operators, refused", Authenticated() & ~Role("author"), BOB, 403),
]


@pytest.mark.parametrize(("guard", "user", "status"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_guards_of_the_box(guard: Guard, user: Any, status: int) -> None:
    assert outcome(guard, user) == status


def test_another_user_key_is_respected() -> None:
    assert outcome(Authenticated("account"), ADA, "account") == 200
    assert outcome(Authenticated("account"), ADA) == 401
    assert outcome(Role("admin", user_key="account"), ADA, "account") == 200


@pytest.mark.parametrize("wanted", [[], [7], ()])
def test_no_names_at_all_would_let_everybody_pass_and_are_refused(wanted: Any) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Permission(wanted)


def test_a_combination_of_nothing_is_refused() -> None:
    for kind in (And, Or):
        with pytest.raises(ConfigError, match="needs at least one guard"):
            kind()


def test_a_guard_class_without_a_check_denies() -> None:
    assert outcome(Guard()) == 403


COMBINED: dict[str, tuple[Callable[..., Any], Any, Any, int]] = {
    "and: pass, pass": (And, True, True, 200),
    "and: pass, refuse": (And, True, False, 403),
    "and: refuse, break": (And, "no", RuntimeError(), 403),
    "and: pass, break": (And, True, RuntimeError(), 403),
    "or: refuse, pass": (Or, False, None, 200),
    "or: break, pass": (Or, RuntimeError(), True, 200),
    "or: refuse, 401": (Or, False, UnauthorizedError(), 401),
    "or: refuse, refuse": (Or, False, "no", 403),
    "not and: pass, refuse": (lambda *guards: Not(And(*guards)), True, False, 200),
    "not and: pass, pass": (lambda *guards: Not(And(*guards)), True, True, 403),
    "not and: break": (lambda *guards: Not(And(*guards)), True, RuntimeError(), 403),
    "not and: an odd verdict": (lambda *guards: Not(And(*guards)), True, 7, 403),
    "not or: refuse, refuse": (lambda *guards: Not(Or(*guards)), False, "no", 200),
    "not or: break, refuse": (lambda *guards: Not(Or(*guards)), RuntimeError(), False, 403),
    "not or: refuse, break": (lambda *guards: Not(Or(*guards)), False, RuntimeError(), 403),
    "not or: refuse, 503": (lambda *guards: Not(Or(*guards)), False, HTTPError(503), 403),
    "not: break": (lambda first, second: Not(second), True, RuntimeError(), 403),
    "not: an odd verdict": (lambda first, second: Not(second), True, 7, 403),
    "not: None": (lambda first, second: Not(second), True, None, 403),
    "not not: pass": (lambda first, second: Not(Not(second)), True, True, 200),
    "not not: break": (lambda first, second: Not(Not(second)), True, RuntimeError(), 403),
}


@pytest.mark.parametrize("first", COLOURS)
@pytest.mark.parametrize("second", COLOURS)
@pytest.mark.parametrize("case", COMBINED)
def test_combinations_of_every_colour_fail_closed(case: str, first: str, second: str) -> None:
    combine, one, two, status = COMBINED[case]
    guard = combine(guard_that(one, first), guard_that(two, second))
    try:
        asyncio.run(verify_guards_async([guard], Request("GET", "/")))
        found = 200
    except HTTPError as error:
        found = error.status
    assert found == status


def test_the_same_async_guard_may_stand_twice() -> None:
    guard = guard_that(False, "async")
    with pytest.raises(Forbidden):
        asyncio.run(verify_guards_async([Or(guard, guard)], Request("GET", "/")))


@pytest.mark.parametrize("colour", ["async", "disguised", "an object"])
def test_verifying_an_async_guard_without_await_raises_instead_of_passing(colour: str) -> None:
    with pytest.raises(TypeError, match="is async: await verify_guards_async"):
        verify_guards([guard_that(True, colour)], Request("GET", "/"))


def test_an_awaitable_that_is_no_coroutine_is_not_passed_either() -> None:
    class Odd:
        def __await__(self) -> Any:
            return iter(())

    with pytest.raises(TypeError, match="is async"):
        verify_guards([lambda request: Odd()], Request("GET", "/"))


def test_guard_errors_have_message_and_status() -> None:
    error = GuardError("No tea.", status_code=418)
    assert (error.message, error.status_code, error.status, error.detail) == ("No tea.", 418, 418, "No tea.")
    assert isinstance(ForbiddenError("no"), Forbidden)
    assert isinstance(UnauthorizedError(), Unauthorized)
    assert UnauthorizedError(scheme="Basic").headers == {"WWW-Authenticate": "Basic"}
    assert Authenticated(scheme="Basic").scheme == "Basic"


def test_secrets_are_compared_as_text_or_bytes() -> None:
    assert constant_time_compare("geheim", b"geheim")
    assert not constant_time_compare("geheim", "geheim2")
    assert constant_time_compare("ä", "ä".encode())


def test_guards_show_how_they_were_written() -> None:
    guard = And(Authenticated(), Or(Role(["b", "a"]), Not(Permission("x"))), is_author)
    assert repr(guard) == (
        "And(Authenticated('user'), Or(Role(['a', 'b']), Not(Permission(['x']))), tests.test_guards.is_author)"
    )


def is_author(request: Request) -> bool:
    return True


def test_the_names_of_the_rust_package_are_the_same_guards() -> None:
    names = ("Authenticated", "Role", "Permission", "And", "Or", "Not")
    assert all(getattr(public, f"{name}Guard") is getattr(public, name) for name in names)
