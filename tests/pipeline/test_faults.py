"""Exceptions and their answers: problem documents, the application's handlers, and the debug page."""

import asyncio
import logging
from typing import Any
from uuid import uuid4

import pytest

from cello.app import App
from cello.errors import BadRequest, ConfigError, HTTPError, MethodNotAllowed, NotFound, ProtocolError, Unauthorized
from cello.http.request import Request
from cello.pipeline.debug_page import prefers_html
from cello.pipeline.faults import check_exception_handler, problem
from cello.pipeline.params import Query
from tests.pipeline.conftest import Client, document, field, make_dispatcher, make_route, text


def raising(error: BaseException) -> Any:
    def handler(request: Request) -> None:
        raise error

    return handler


def ask(client: Client, error: BaseException, headers: Any = None, **settings: Any) -> Any:
    return client.ask(
        make_dispatcher(make_route("GET", "/", raising(error)), **settings), Request("GET", "/", headers=headers)
    )


PROBLEMS: list[tuple[HTTPError, dict[str, Any]]] = [
    (NotFound(), {"title": "Not Found", "status": 404, "error": "Not Found"}),
    (NotFound("no tea"), {"title": "Not Found", "status": 404, "detail": "no tea", "error": "no tea"}),
    (HTTPError(418, "short"), {"title": "I'm a Teapot", "status": 418, "detail": "short", "error": "short"}),
    (HTTPError(499), {"title": "Unknown Status", "status": 499, "error": "Unknown Status"}),
    (HTTPError(503, "soon"), {"title": "Service Unavailable", "status": 503, "detail": "soon", "error": "soon"}),
    (BadRequest("bad", extensions={"errors": [1]}), {
        "title": "Bad Request", "status": 400, "detail": "bad", "error": "bad", "errors": [1],
    }),
]  # fmt: skip


@pytest.mark.parametrize(("error", "members"), PROBLEMS)
def test_an_http_error_is_a_problem_document(client: Client, error: HTTPError, members: dict[str, Any]) -> None:
    response = ask(client, error)
    assert response.status == members["status"]
    assert document(response) == {"type": "about:blank", **members}
    assert field(response, "Content-Type") == "application/problem+json"


def test_headers_of_an_http_error_are_sent(client: Client) -> None:
    assert field(ask(client, HTTPError(429, headers={"Retry-After": "5"})), "Retry-After") == "5"
    assert field(ask(client, Unauthorized()), "WWW-Authenticate") == "Bearer"
    assert field(ask(client, Unauthorized(headers={"www-authenticate": "Basic"})), "WWW-Authenticate") == "Basic"


def test_an_http_error_that_cannot_be_sent_is_a_500(client: Client) -> None:
    assert ask(client, HTTPError(400, headers={"X": "a\r\nb"})).status == 500
    assert ask(client, HTTPError(400, extensions={"it": object()})).status == 500


def test_production_hides_what_was_raised_and_logs_it(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "cello.error"):
        response = ask(client, RuntimeError("secret"), {"Accept": "text/html"})
    assert document(response) == {
        "type": "about:blank", "title": "Internal Server Error", "status": 500, "error": "Internal Server Error",
    }  # fmt: skip
    assert "GET / raised" in caplog.text
    assert "RuntimeError: secret" in caplog.text


def test_what_is_no_error_of_ours_is_not_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    ask(client, NotFound())
    assert caplog.records == []


# The application's handlers ------------------------------------------------------------------------------------------


class Special(LookupError):
    pass


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (Special(), "special"),
        (KeyError(), "lookup"),
        (ZeroDivisionError(), "everything else"),
        (NotFound(), "not found"),
        (MethodNotAllowed(), "http"),
        (HTTPError(418), "tea"),
        (BadRequest(), "http"),
    ],
)
def test_the_nearest_class_answers(client: Client, error: Exception, answer: str, colour: str) -> None:
    def make(words: str) -> Any:
        async def handle_async(request: Request, error: Exception) -> str:
            await asyncio.sleep(0)
            return words

        return handle_async if colour == "async" else lambda request, error: words

    handlers = {
        Exception: make("everything else"),
        LookupError: make("lookup"),
        Special: make("special"),
        HTTPError: make("http"),
        NotFound: make("not found"),
        418: make("tea"),
    }
    assert text(ask(client, error, exception_handlers=handlers)) == answer


def test_a_handler_of_everything_else_leaves_http_errors_what_they_are(client: Client) -> None:
    handlers = {Exception: lambda request, error: ({"error": "Internal server error"}, 500)}
    dispatcher = make_dispatcher(make_route("GET", "/", raising(KeyError())), exception_handlers=handlers)
    asked = {"/": "GET", "/unknown": "GET"}
    assert [client.ask(dispatcher, Request(method, path)).status for path, method in asked.items()] == [500, 404]
    assert client.ask(dispatcher, Request("PUT", "/")).status == 405


def test_a_malformed_body_is_a_value_error_to_those_who_handle_these(client: Client) -> None:
    handlers = {ValueError: lambda request, error: ("not JSON", 400)}
    dispatcher = make_dispatcher(make_route("POST", "/", lambda request: request.json()), exception_handlers=handlers)
    assert text(client.ask(dispatcher, Request("POST", "/", body="{"))) == "not JSON"


def test_404_405_guards_and_validation_can_be_answered_otherwise(client: Client) -> None:
    def handler(request: Request, page: int = Query()) -> str:
        return "fine"

    def handle(request: Request, error: HTTPError) -> Any:
        return (f"mine {error.status}", error.status, error.headers)

    routes = [
        make_route("GET", "/", handler),
        make_route("GET", "/guarded", lambda r: "", guards=[lambda r: False]),
    ]
    dispatcher = make_dispatcher(*routes, exception_handlers={HTTPError: handle})
    for method, path, status in (("GET", "/x", 404), ("PUT", "/", 405), ("GET", "/guarded", 403), ("GET", "/", 422)):
        response = client.ask(dispatcher, Request(method, path))
        assert (response.status, text(response)) == (status, f"mine {status}")
    assert field(client.ask(dispatcher, Request("PUT", "/")), "Allow") == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("debug", [False, True])
def test_a_handler_that_raises_itself_is_a_500(client: Client, colour: str, debug: bool) -> None:
    def handle(request: Request, error: Exception) -> None:
        raise RuntimeError("of the handler")

    async def handle_async(request: Request, error: Exception) -> None:
        raise RuntimeError("of the handler")

    handlers = {KeyError: handle if colour == "def" else handle_async}
    response = ask(client, KeyError("first"), exception_handlers=handlers, debug=debug)
    assert response.status == 500
    assert ("of the handler" in text(response)) is debug
    assert ("KeyError" in text(response)) is debug


def test_a_handler_may_raise_an_http_error_or_what_it_was_given(client: Client) -> None:
    def turn(request: Request, error: Exception) -> None:
        raise NotFound("turned")

    def pass_on(request: Request, error: Exception) -> None:
        raise error

    assert document(ask(client, KeyError(), exception_handlers={KeyError: turn}))["detail"] == "turned"
    assert ask(client, KeyError(), exception_handlers={KeyError: pass_on}).status == 500


def test_a_handler_that_returns_nothing_sensible_is_a_500(client: Client) -> None:
    assert ask(client, KeyError(), exception_handlers={KeyError: lambda r, e: object()}).status == 500


@pytest.mark.parametrize(
    ("kind", "handler", "words"),
    [
        ("text", print, "takes an exception class or a status 400-599, not 'text'"),
        (int, print, "takes an exception class"),
        (KeyboardInterrupt, print, "takes an exception class"),
        (200, print, "not 200"),
        (KeyError, "text", "must be callable, not 'text'"),
        (KeyError, lambda: None, r"must take \(request, error\)"),
    ],
)
def test_what_cannot_handle_exceptions_is_refused(kind: Any, handler: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        App().exception_handler(kind)(handler)


def test_a_handler_without_a_signature_is_taken() -> None:
    check_exception_handler(dict.fromkeys)
    check_exception_handler(type)


def test_a_problem_may_have_neither_detail_nor_headers() -> None:
    assert document(problem(404)) == {
        "type": "about:blank", "title": "Not Found", "status": 404, "error": "Not Found",
    }  # fmt: skip


SECRET = uuid4().hex  # not to be found in the source that the page shows


# Debug mode ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json", False),
        ("application/json, text/html", True),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", False),
        ("text/html; charset=utf-8; q=0.5", True),
        ("application/problem+json;q=0.4, text/html;q=0.5", True),
    ],
)
def test_html_is_for_those_who_prefer_it(accept: str, expected: bool) -> None:
    assert prefers_html(accept) is expected


def test_the_debug_page_shows_the_error_its_source_and_the_request_all_escaped(client: Client) -> None:
    def handler(request: Request) -> None:
        marker = "this line is shown"  # noqa: F841  # that is the point
        try:
            raise KeyError("<script>alert(1)</script>")
        except KeyError as cause:
            raise RuntimeError("<b>bold</b>") from cause

    dispatcher = make_dispatcher(make_route("GET", "/{name}", handler), debug=True)
    headers = {"Accept": "text/html", "X-Evil": "<i>", "Authorization": SECRET, "Cookie": SECRET}
    response = client.ask(dispatcher, Request("GET", "/%3Cu%3E?q=<s>", headers=headers))
    page = text(response)

    assert response.status == 500
    assert field(response, "Content-Type") == "text/html; charset=utf-8"
    assert (field(response, "Content-Security-Policy") or "").startswith("default-src 'none'")
    for shown in ("RuntimeError: &lt;b&gt;bold", "Caused by KeyError", "this line is shown", "&lt;i&gt;", "(masked)"):
        assert shown in page
    for hidden in ("<script", "<b>bold", "<i>", "<u>", "<s>", SECRET):
        assert hidden not in page


def test_the_debug_page_of_an_endless_recursion_is_short(client: Client) -> None:
    def handler(request: Request) -> None:
        handler(request)

    dispatcher = make_dispatcher(make_route("GET", "/", handler), debug=True)
    page = text(client.ask(dispatcher, Request("GET", "/", headers={"Accept": "text/html"})))
    assert page.count("<details") == 50
    assert " more</p>" in page


def test_debug_mode_answers_programs_with_a_problem_document(client: Client) -> None:
    response = ask(client, RuntimeError("shown"), debug=True)
    members = document(response)
    assert field(response, "Content-Type") == "application/problem+json"
    assert (members["detail"], members["exception"]) == ("RuntimeError: shown", "RuntimeError")
    assert members["traceback"][0] == "Traceback (most recent call last):"


def test_debug_mode_changes_nothing_about_http_errors(client: Client) -> None:
    assert document(ask(client, NotFound("no"), debug=True))["error"] == "no"


def test_an_error_that_cannot_be_shown_is_still_a_500(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            return "\ud800"

    assert ask(client, Unspeakable(), {"Accept": "text/html"}, debug=True).status == 500
    assert "the debug page failed" in caplog.text


def test_who_awaits_a_plain_call_is_told_to_drop_the_await(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Any:
        return await request.json()

    response = client.ask(make_dispatcher(make_route("POST", "/", handler)), Request("POST", "/", body=b"{}"))
    assert response.status == 500
    assert "drop the await" in caplog.text


def test_a_protocol_error_says_what_was_wrong() -> None:
    dispatcher = make_dispatcher()
    request = Request("GET", "/")
    response = dispatcher.refuse(ProtocolError("a bare CR", status=400), request)
    assert (response.status, document(response)["detail"]) == (400, "a bare CR")
