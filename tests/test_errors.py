"""The tree of errors: what catches what, and what each carries."""

import copy
import pickle

import pytest

from cello import errors
from cello.errors import (
    BadRequest,
    CelloError,
    ConfigError,
    HTTPError,
    MissingDependency,
    NotFound,
    ProtocolError,
    RouteError,
    phrase,
)

EVERY = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception) and not kind.__name__.startswith("_")
]
FIXED = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "ContentTooLarge": 413,
    "UnsupportedMediaType": 415,
    "UnprocessableContent": 422,
    "TooManyRequests": 429,
    "ServiceUnavailable": 503,
}


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_is_a_cello_error_with_a_docstring(kind: type[Exception]) -> None:
    assert issubclass(kind, CelloError)
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [(ConfigError, ValueError), (RouteError, ValueError), (MissingDependency, ImportError), (BadRequest, ValueError)],
    ids=lambda kind: kind.__name__,
)
def test_start_up_errors_are_also_the_builtin_that_one_would_expect(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(kind, builtin)


@pytest.mark.parametrize(("name", "status"), FIXED.items(), ids=FIXED.keys())
def test_an_error_named_after_a_status_has_it(name: str, status: int) -> None:
    error = getattr(errors, name)("because", {"X-A": "1"}, {"extra": 2})
    assert isinstance(error, HTTPError)
    assert (error.status, error.detail, error.headers, error.extensions) == (
        status,
        "because",
        {"X-A": "1"},
        {"extra": 2},
    )


def test_an_http_error_takes_any_error_status() -> None:
    error = HTTPError(418, "short and stout", headers={"A": "b"})
    assert (error.status, error.detail, error.headers, error.extensions) == (418, "short and stout", {"A": "b"}, {})


def test_an_http_error_without_a_status_is_500() -> None:
    assert HTTPError().status == 500


@pytest.mark.parametrize("status", [0, 200, 302, 399, 600, 1000, -1])
def test_an_http_error_outside_400_to_599_is_a_config_error(status: int) -> None:
    with pytest.raises(ConfigError, match=f"400-599, not {status}"):
        HTTPError(status)


def test_an_http_error_is_told_by_its_status_and_detail() -> None:
    assert str(NotFound("no user 7")) == "404 no user 7"
    assert str(NotFound()) == "404 Not Found"
    assert str(HTTPError(499)) == "499 Unknown Status"


def test_headers_and_extensions_are_copies() -> None:
    headers = {"A": "b"}
    error = HTTPError(400, headers=headers)
    headers["C"] = "d"
    assert error.headers == {"A": "b"}


def test_a_protocol_error_carries_status_and_offset() -> None:
    error = ProtocolError("bad", status=431, offset=17)
    assert (str(error), error.status, error.offset) == ("bad", 431, 17)
    assert (ProtocolError("bad").status, ProtocolError("bad").offset) == (400, None)


SAMPLES = {
    "HTTPError": HTTPError(418, "short", {"A": "b"}, {"c": 1}),
    "NotFound": NotFound("gone", {"A": "b"}, {"c": 1}),
    "ProtocolError": ProtocolError("bad", status=431, offset=17),
    "ConfigError": ConfigError("no"),
}


@pytest.mark.parametrize("error", SAMPLES.values(), ids=SAMPLES.keys())
@pytest.mark.parametrize("clone", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_errors_survive_a_copy_and_a_trip_to_another_process(clone: object, error: CelloError) -> None:
    twin = clone(error)  # type: ignore[operator]
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


@pytest.mark.parametrize(
    ("status", "words"),
    [(200, "OK"), (404, "Not Found"), (431, "Request Header Fields Too Large"), (799, "Unknown Status")],
)
def test_a_phrase_is_the_registered_one(status: int, words: str) -> None:
    assert phrase(status) == words
