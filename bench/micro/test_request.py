"""Making a Request and asking it the usual questions, for both builds."""

import pytest

from cello.http.head import FieldList
from cello.http.peer import Peer
from cello.http.request import PureRequest, Request

HEAD = FieldList([(b"Host", b"localhost:8000"), (b"Accept", b"*/*"), (b"X-Request-Id", b"42")])
PEER = Peer("http", ("127.0.0.1", 54321), ("127.0.0.1", 8000))


@pytest.fixture
def request_class(impl):
    return PureRequest if impl == "py" else Request


def make(request_class, query=""):
    return request_class.incoming("GET", "/users/42", query, HEAD, PEER)


@pytest.mark.benchmark(group="make a request")
def test_make(benchmark, request_class):
    assert benchmark(make, request_class).raw_path == "/users/42"


@pytest.mark.benchmark(group="a header, first look")
def test_header(benchmark, request_class):
    assert benchmark(lambda: make(request_class).get_header("x-request-id")) == "42"


@pytest.mark.benchmark(group="a query field, first look")
def test_query(benchmark, request_class):
    assert benchmark(lambda: make(request_class, "page=2&sort=name").query["page"]) == "2"
