"""`body=` checks the JSON of handlers that take the request and read it themselves."""

import dataclasses

import pytest

from cello import App


@dataclasses.dataclass
class Written:
    """What a `body=` option names."""

    title: str


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"title":"x"}', 200), (b'{"title":1}', 422), (b"", 422), (b"{", 400)],
    ids=["fits", "does not fit", "is missing", "is no JSON"],
)
def test_the_body_option_checks_what_the_handler_reads_itself(serve, coloured, body, status):
    app = App()
    app.add_route("/books", coloured(lambda request: request.json()), methods=["POST"], body=Written)
    with serve(app) as client:
        answer = client.post("/books", content=body, headers={"Content-Type": "application/json"})
    assert answer.status == status
