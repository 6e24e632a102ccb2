"""Problem documents (RFC 9457)."""

import json
from typing import Any

import pytest

from cello.errors import ConfigError
from cello.http.problem import ProblemDetails


def test_a_problem_is_a_document_without_empty_members() -> None:
    problem = ProblemDetails("about:blank", "Not Found", 404)
    assert json.loads(problem.to_json()) == {"type": "about:blank", "title": "Not Found", "status": 404}
    assert repr(problem) == "ProblemDetails('about:blank', 'Not Found', 404)"


def test_a_problem_is_a_response_with_its_members_and_extensions() -> None:
    problem = ProblemDetails("/errors/credit", "No credit", 403, "Balance is 30.", "/account/1")
    response = problem.with_extension("balance", 30).with_extension("accounts", ["/account/2"]).to_response()
    assert response.status == 403
    assert response.content_type() == "application/problem+json"
    assert json.loads(response.body()) == {
        "type": "/errors/credit",
        "title": "No credit",
        "status": 403,
        "detail": "Balance is 30.",
        "instance": "/account/1",
        "balance": 30,
        "accounts": ["/account/2"],
    }


@pytest.mark.parametrize("name", ["type", "title", "status", "detail", "instance"])
def test_a_standard_member_is_no_extension(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        ProblemDetails("about:blank", "x", 400).with_extension(name, 1)


@pytest.mark.parametrize("status", [0, 600, "404", True])
def test_a_problem_has_a_status(status: Any) -> None:
    with pytest.raises(ValueError):
        ProblemDetails("about:blank", "x", status)
