"""A request: lazily decoded, in both colours; the pure and the compiled class alike."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from cello.config import LimitsConfig
from cello.errors import BadRequest, ConfigError, ContentTooLarge, UnsupportedMediaType
from cello.http.body import Spool
from cello.http.head import FieldList
from cello.http.peer import Peer
from cello.http.request import PureRequest, Request
from tests.http.test_body import Arriving


@pytest.fixture
def make(impl: str) -> type[Request]:
    """The class of each twin."""
    return PureRequest if impl == "py" else Request


def incoming(
    make: type[Request], *fields: tuple[bytes, bytes], target: str = "/", peer: Peer | None = None, method: str = "GET"
) -> Request:
    path, _, query = target.partition("?")
    return make.incoming(method, path, query, FieldList(list(fields)), peer or Peer(), "1.1")


def test_a_request_is_made_by_hand(make: type[Request]) -> None:
    request = make(
        "POST",
        "/a b?x=1",
        params={"id": "7"},
        headers={"Content-Type": "application/json", "X-A": "caf\xe9"},
        body='{"a":1}',
    )
    assert request.method == "POST"
    assert request.path == "/a b"
    assert request.raw_path == "/a%20b"
    assert request.query_string == "x=1"
    assert request.query == {"x": "1"}
    assert request.params == {"id": "7"}
    assert request.headers["x-a"] == "caf\xe9"
    assert request.json() == {"a": 1}
    assert request.content_length == 7
    assert request.http_version == "1.1"
    assert request.client_ip == "127.0.0.1"
    assert request.url == "http://localhost/a%20b?x=1"
    assert repr(request) == "<Request POST /a%20b>"


@pytest.mark.parametrize(
    ("query", "expected"),
    [("a=1", {"a": "1"}), ({"a": "x y"}, {"a": "x y"}), ({"a": [1, 2]}, {"a": "2"}), (None, {"p": "1"})],
)
def test_a_query_may_be_given_as_text_or_mapping(make: type[Request], query: Any, expected: dict[str, str]) -> None:
    assert make("GET", "/?p=1", query=query).query == expected


def test_headers_may_be_given_as_pairs(make: type[Request]) -> None:
    request = make("GET", "/", headers=[("A", "1"), ("a", "2"), ("Content-Length", "9")], body=b"x")
    assert request.headers.get_all("a") == ["1", "2"]
    assert request.content_length == 9


def test_an_encoded_path_is_left_as_it_is(make: type[Request]) -> None:
    request = make("GET", "/a%2Fb")
    assert request.raw_path == "/a%2Fb"
    assert request.path == "/a/b"
    assert make("GET", "/%ff").path == "/\ufffd"


def test_what_a_gateway_received_is_not_touched(make: type[Request]) -> None:
    request = incoming(make, (b"Host", b"h"), target="/x?y=%20", peer=Peer("https", ("1.2.3.4", 5)))
    assert type(request) is make
    assert request.params == {}
    assert request.route is None
    assert request.app is None
    assert request.body() == b""
    assert request.url == "https://h/x?y=%20"
    assert request.query_params == {"y": " "}
    assert request.query is request.query
    assert request.headers is request.headers


def test_a_subclass_is_made_as_itself(make: type[Request]) -> None:
    class Mine(make):  # type: ignore[valid-type, misc]  # a class from a fixture
        def shout(self) -> str:
            return self.path.upper()  # type: ignore[no-any-return]  # its base is dynamic here

    request = Mine.incoming("GET", "/a", "", FieldList([]), Peer())
    assert request.shout() == "/A"


def test_an_instance_takes_no_unknown_attributes(make: type[Request]) -> None:
    with pytest.raises(AttributeError):
        make("GET", "/").user = 1  # type: ignore[attr-defined]


def test_a_bad_query_fails_when_it_is_looked_at(make: type[Request]) -> None:
    request = incoming(make, target="/?a=%ff")
    with pytest.raises(BadRequest):
        _ = request.query


def test_cookies_of_all_fields_are_one_dict(make: type[Request]) -> None:
    request = incoming(make, (b"Cookie", b"a=1"), (b"cookie", b"b=2"))
    assert request.cookies == {"a": "1", "b": "2"}
    assert request.cookies is request.cookies


@pytest.mark.parametrize(
    ("fields", "peer", "expected"),
    [
        pytest.param([(b"Host", b"a:81")], Peer("http", None, ("b", 80)), "a:81", id="the Host field"),
        pytest.param([], Peer("http", None, ("b", 80)), "b", id="the server's name"),
        pytest.param([], Peer("https", None, ("b", 443)), "b", id="its default port"),
        pytest.param([], Peer("http", None, ("b", 443)), "b:443", id="its odd port"),
        pytest.param([], Peer("http", None, ("b", None)), "b", id="a unix socket"),
        pytest.param([], Peer(), "", id="nothing known"),
    ],
)
def test_the_host_is_what_was_asked_for(
    make: type[Request], fields: list[tuple[bytes, bytes]], peer: Peer, expected: str
) -> None:
    request = incoming(make, *fields, peer=peer)
    assert request.host == expected
    assert request.host() == expected


def test_without_a_client_address_it_is_empty(make: type[Request]) -> None:
    assert incoming(make).client_ip == ""
    assert incoming(make).remote_addr == ""


def test_texts_may_be_called_as_in_the_rust_package(make: type[Request]) -> None:
    request = incoming(
        make, (b"User-Agent", b"u"), (b"Content-Type", b"a/b; c=d"), peer=Peer("http", ("9.9.9.9", 1), None)
    )
    assert request.user_agent() == request.user_agent == "u"
    assert request.content_type() == request.content_type == "a/b; c=d"
    assert request.client_ip() == request.client_ip == "9.9.9.9"
    assert request.request_id() == request.request_id == ""
    request.request_id = "r1"
    assert request.request_id() == "r1"
    empty = incoming(make)
    assert empty.user_agent() == empty.content_type() == ""


def test_a_trusted_proxy_may_tell_the_origin(make: type[Request]) -> None:
    request = incoming(make, (b"Host", b"inner"), peer=Peer("http", ("10.0.0.1", 1), None))
    request.set_origin(client_ip="1.2.3.4")
    assert (request.client_ip, request.scheme, request.host) == ("1.2.3.4", "http", "inner")
    request.set_origin(scheme="https", host="outer")
    assert (request.client_ip, request.scheme, request.host) == ("1.2.3.4", "https", "outer")
    assert request.is_secure()
    assert request.remote_addr == "10.0.0.1"
    assert request.url == "https://outer/"


@pytest.mark.parametrize(
    ("value", "expected"), [(b"12", 12), (b"0", 0), (b"x", None), (b"-1", None), (b"1, 1", None), (None, None)]
)
def test_the_content_length_is_a_number_or_none(make: type[Request], value: bytes | None, expected: int | None) -> None:
    fields = [] if value is None else [(b"Content-Length", value)]
    assert incoming(make, *fields).content_length == expected


@pytest.mark.parametrize(
    ("content_type", "is_json", "is_form", "is_multipart"),
    [
        ("application/json", True, False, False),
        ("Application/Problem+JSON; charset=utf-8", True, False, False),
        ("application/x-www-form-urlencoded;charset=utf-8", False, True, False),
        ("multipart/form-data; boundary=x", False, False, True),
        ("text/plain", False, False, False),
        ("", False, False, False),
    ],
)
def test_the_kind_of_body_is_told_by_its_content_type(
    make: type[Request], content_type: str, is_json: bool, is_form: bool, is_multipart: bool
) -> None:
    request = make("POST", "/", headers={"Content-Type": content_type})
    assert (request.is_json(), request.is_form(), request.is_multipart()) == (is_json, is_form, is_multipart)


def test_a_script_says_that_it_is_one(make: type[Request]) -> None:
    assert incoming(make, (b"x-requested-with", b"XMLHttpRequest")).is_xhr()
    assert not incoming(make).is_xhr()
    assert not incoming(make).is_secure()


def test_accept_is_negotiated(make: type[Request]) -> None:
    request = incoming(make, (b"Accept", b"text/*, image/png;q=0"))
    assert request.accepts("text/html")
    assert not request.accepts("image/png")
    assert incoming(make).accepts("image/png")


def test_context_and_state_are_made_at_the_first_look(make: type[Request]) -> None:
    request = incoming(make)
    assert request.get_context("user") is None
    assert request.get_context("user", "nobody") == "nobody"
    request.set_context("user", "ann")
    assert request.get_context("user") == "ann"
    assert request.context == {"user": "ann"}
    request.state.x = 1
    assert request.state.x == 1
    with pytest.raises(AttributeError):
        _ = request.state.y


def test_a_session_needs_its_switch(make: type[Request]) -> None:
    request = incoming(make)
    with pytest.raises(ConfigError, match="enable_session"):
        _ = request.session
    _ = request.state
    with pytest.raises(ConfigError, match="enable_session"):
        _ = request.session
    request.session = {"a": 1}
    assert request.session == {"a": 1}


def test_the_application_is_asked_for_its_resources(make: type[Request]) -> None:
    request = incoming(make)
    request.app = SimpleNamespace(database="db", redis="r", url_for=lambda name, **params: f"/{name}/{params['id']}")
    assert request.database == request.db == "db"
    assert request.redis == "r"
    assert request.url_for("user", id=7) == "/user/7"


def test_parameters_and_query_fields_are_read_with_defaults(make: type[Request]) -> None:
    request = make("GET", "/", params={"id": "7", "x": "y"}, query="i=3&f=1.5&t=Yes&n=off&bad=x")
    assert request.get_param("id") == "7"
    assert request.get_param("z") is None
    assert request.get_param("z", "d") == "d"
    assert request.get_param_int("id") == 7
    assert request.get_param_int("x", 1) == 1
    assert request.get_param_int("z") is None
    assert request.get_query_param("i") == "3"
    assert request.get_query_param("z", "d") == "d"
    assert request.get_query_int("i") == 3
    assert request.get_query_int("bad", 9) == 9
    assert request.get_query_int("z", 9) == 9
    assert request.get_query_float("f") == 1.5
    assert request.get_query_float("bad") is None
    assert request.get_query_float("z", 0.5) == 0.5
    assert request.get_query_bool("t") is True
    assert request.get_query_bool("n") is False
    assert request.get_query_bool("bad", True) is True
    assert request.get_query_bool("z") is None
    assert request.get_header("x-none") is None
    assert request.get_header("x-none", "d") == "d"


def test_a_body_on_disk_reads_like_one_in_memory(make: type[Request]) -> None:
    request = incoming(make)
    spool = Spool(0)
    spool.write(b'{"a":1}')
    request._body = spool
    assert request.body() == b'{"a":1}'
    assert request.text() == '{"a":1}'
    assert request.json() == {"a": 1}
    assert list(request.stream()) == [b'{"a":1}']


def test_json_is_decoded_once(make: type[Request]) -> None:
    request = make("POST", "/", body=b'{"a":1}')
    assert request.json() is request.json()
    null = make("POST", "/", body=b"null")
    assert null.json() is None
    assert null.json() is None


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN"])
def test_malformed_json_is_a_bad_request_and_a_value_error(make: type[Request], body: bytes) -> None:
    request = make("POST", "/", body=body)
    with pytest.raises(BadRequest) as caught:
        request.json()
    assert isinstance(caught.value, ValueError)


def test_text_follows_the_charset(make: type[Request]) -> None:
    assert make("POST", "/", headers={"Content-Type": "text/plain; charset=latin1"}, body=b"\xe9").text() == "é"
    with pytest.raises(BadRequest):
        make("POST", "/", body=b"\xe9").text()


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=X"}
UPLOAD = (
    b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--X\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n\r\nhello\r\n--X--\r\n'
)


def test_forms_are_parsed_once(make: type[Request]) -> None:
    request = make("POST", "/", headers=FORM, body="a=1&a=2")
    assert request.form() == {"a": "2"}
    assert request.form() is request.form()
    assert request.files() == {}
    upload = make("POST", "/", headers=MULTIPART, body=UPLOAD)
    assert upload.form() == {"a": "1"}
    assert upload.files()["f"].read() == b"hello"


def test_a_body_that_is_no_form_is_an_unsupported_media_type(make: type[Request]) -> None:
    with pytest.raises(UnsupportedMediaType):
        make("POST", "/", body=b"a=1").form()


def test_the_limits_are_those_of_the_application(make: type[Request]) -> None:
    request = make("POST", "/", headers=FORM, body="a=1&b=2")
    request.app = SimpleNamespace(settings=SimpleNamespace(limits=LimitsConfig(max_form_fields=1)))
    with pytest.raises(ContentTooLarge):
        request.form()


async def test_the_compat_coroutines_give_the_same(make: type[Request]) -> None:
    request = make("POST", "/", body=b'{"a":1}')
    assert await request.body_async() == b'{"a":1}'
    assert await request.text_async() == '{"a":1}'
    assert await request.json_async() == {"a": 1}
    assert await make("POST", "/", headers=FORM, body="a=1").form_async() == {"a": "1"}


async def test_awaiting_a_plain_call_is_a_type_error(make: type[Request]) -> None:
    request = make("POST", "/", body=b'{"a":1}')
    with pytest.raises(TypeError, match="await"):
        await request.json()


def streamed(make: type[Request], *pieces: bytes, **headers: str) -> Request:
    request = make("POST", "/", headers={name.replace("_", "-"): value for name, value in headers.items()})
    request._source = Arriving(*pieces)
    return request


def test_a_streamed_body_is_not_at_hand(make: type[Request]) -> None:
    for call in ("body", "text", "json"):
        with pytest.raises(RuntimeError, match="stream=True"):
            getattr(streamed(make, b"1"), call)()
    with pytest.raises(RuntimeError, match="stream=True"):
        streamed(make, b"a=1", Content_Type=FORM["Content-Type"]).form()


async def test_a_streamed_body_arrives_in_pieces(make: type[Request]) -> None:
    assert list(streamed(make, b"a", b"b").stream()) == [b"a", b"b"]
    assert [piece async for piece in streamed(make, b"a", b"b").stream()] == [b"a", b"b"]


async def test_a_streamed_body_can_be_awaited_whole(make: type[Request]) -> None:
    request = streamed(make, b'{"a"', b":1}")
    assert await request.json_async() == {"a": 1}
    assert await request.body_async() == request.body() == b'{"a":1}'


async def test_a_streamed_form_is_taken_part_by_part(make: type[Request]) -> None:
    request = streamed(make, UPLOAD[:30], UPLOAD[30:], Content_Type=MULTIPART["Content-Type"])
    assert [(part.name, await part.read_async()) async for part in request.parts()] == [("a", b"1"), ("f", b"hello")]
    at_hand = make("POST", "/", headers=MULTIPART, body=UPLOAD)
    assert [(part.name, part.read()) for part in at_hand.parts()] == [("a", b"1"), ("f", b"hello")]


async def test_the_gateway_knows_whether_the_client_has_gone(make: type[Request]) -> None:
    class Gone:
        async def disconnected(self) -> bool:
            return True

    request = incoming(make)
    assert await request.disconnected() is False
    request._gateway = Gone()
    assert await request.disconnected() is True


def test_the_compiled_class_takes_the_name_of_the_pure_one() -> None:
    program = (
        "from cello import _speedups; from cello.http.request import PureRequest, Request\n"
        "print(_speedups.enabled == (Request is not PureRequest))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "True\n"
