"""Request ids: on every request, in every answer, and only well-formed ones."""

import os

import pytest

from cello import App, ConfigError
from cello.features.request_id import Sequence

HEADER = "X-Request-ID"


def make_app(coloured, **options):
    app = App()
    app.enable_request_id(**options)
    app.get("/id")(coloured(lambda request: request.request_id))
    app.get("/guarded", guards=[lambda request: False])(coloured(lambda: "never"))
    app.post("/small", max_body_size=3)(coloured(lambda: "never"))

    @app.get("/broken")
    @coloured
    def broken():
        raise ValueError("secret")

    return app


ANSWERS = {
    "a route": ("GET", "/id", {}, 200),
    "no route": ("GET", "/nowhere", {}, 404),
    "another method": ("PUT", "/id", {}, 405),
    "automatic options": ("OPTIONS", "/id", {}, 204),
    "an exception": ("GET", "/broken", {}, 500),
    "an early answer": ("GET", "/guarded", {}, 403),
    "a refusal": ("POST", "/small", {"content": b"12345"}, 413),
}


@pytest.mark.parametrize(("method", "path", "send", "status"), ANSWERS.values(), ids=ANSWERS.keys())
def test_every_answer_names_its_request(serve, coloured, method, path, send, status):
    with serve(make_app(coloured)) as client:
        first = client.request(method, path, **send)
        second = client.request(method, path, headers={HEADER: "mine-1"}, **send)
    assert first.status == second.status == status
    assert len(first.headers[HEADER]) == 28
    assert second.headers[HEADER] == "mine-1"


SENT = {
    "a word": ("abc", True),
    "a uuid": ("7b0e2c4e-5d0f-4b43-9a43-0a2ad7f7e1c2", True),
    "amazon's": ("1-67891233-abcdef012345678912345678", True),
    "base64": ("aGVsbG8=+/", True),
    "as long as may be": ("a" * 128, True),
    "too long": ("a" * 129, False),
    "empty": ("", False),
    "a blank inside": ("a b", False),
    "a line of a log": ("a\tGET /admin", False),
    "markup": ("<script>", False),
    "sent twice": ("a, b", False),
    "a dash in front": ("-rf", False),
}


@pytest.mark.parametrize(("sent", "kept"), SENT.values(), ids=SENT.keys())
def test_an_id_is_kept_only_where_it_is_well_formed(serve, sent, kept):
    with serve(make_app(lambda handler: handler)) as client:
        answer = client.get("/id", headers={HEADER: sent})
    assert (answer.text == sent) is kept
    assert answer.headers[HEADER] == answer.text != ""


def test_ids_from_outside_may_be_mistrusted(serve):
    with serve(make_app(lambda handler: handler, trust=False)) as client:
        assert client.get("/id", headers={HEADER: "abc"}).text != "abc"


def test_the_header_may_be_another(serve):
    with serve(make_app(lambda handler: handler, header="X-Correlation-Id")) as client:
        answer = client.get("/id", headers={"x-correlation-id": "abc", HEADER: "no"})
    assert answer.headers["X-Correlation-Id"] == answer.text == "abc"
    assert HEADER not in answer.headers


def test_ids_may_be_made_by_the_application(serve):
    with serve(make_app(lambda handler: handler, generate=lambda: "order-66")) as client:
        assert client.get("/id").headers[HEADER] == "order-66"


def test_an_id_that_would_split_the_answer_is_not_sent(serve):
    with serve(make_app(lambda handler: handler, generate=lambda: "a\r\nSet-Cookie: b=c")) as client:
        answer = client.get("/id")
    assert answer.status == 500
    assert HEADER not in answer.headers
    assert "set-cookie" not in answer.headers


def test_no_two_ids_are_equal_nor_do_processes_share_a_sequence():
    first, second = Sequence(), Sequence()
    ids = {sequence.next() for sequence in (first, second) for _ in range(1_000)}
    assert len(ids) == 2_000
    assert {len(name) for name in ids} == {28}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_ids_of_its_own():
    sequence = Sequence()
    name = sequence.next()[:16]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, sequence.next()[:16].encode())
        os._exit(0)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as answer:
        os.close(writing)
        assert answer.read() not in (name.encode(), b"")


REFUSED = {
    "no header name": ({"header": "a b"}, "not a header name"),
    "no function": ({"generate": "uuid"}, "generate is a function"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_request_id(**options)
