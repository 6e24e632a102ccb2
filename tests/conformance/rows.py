"""The conformance table: bytes of one connection, and what a strict HTTP/1 server makes of them (RFC 9110, RFC 9112).

A row's outcome is a list, in order: an `Accepted` for each request that is understood, or a status at which the
connection is refused, or `INCOMPLETE` when the last message waits for more. The limits are `LIMITS`.
"""

# A table reads best in rows.
# fmt: off
# ruff: noqa: E501

from dataclasses import dataclass

from cello.config import LimitsConfig

LIMITS = LimitsConfig(max_request_line=256, max_header_size=1024, max_fields=12, max_body_size=1000, max_pipelined=4)
INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Accepted:
    """One request that is understood.

    `keep` is False where the request itself ends the connection.
    """

    method: str = "GET"
    target: str = "/"
    body: bytes = b""
    keep: bool = True
    version: str = "1.1"
    host: str = "a"


@dataclass(frozen=True)
class Row:
    """One case."""

    name: str
    section: str
    data: bytes
    outcome: list[Accepted | int | str]

    @property
    def id(self) -> str:
        return f"{self.section} {self.name}"


def get(head: str = "", target: str = "/", method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """Return a request with a Host and further field lines."""
    return f"{method} {target} {version}\r\nHost: a\r\n{head}\r\n".encode("latin-1")


def post(framing: str, body: bytes = b"") -> bytes:
    return get(framing, method="POST") + body


def chunked(body: bytes, head: str = "") -> bytes:
    return post(f"Transfer-Encoding: chunked\r\n{head}", body)


OK = Accepted()
CLOSES = Accepted(keep=False)
OLD = Accepted(version="1.0", keep=False)


def posted(body: bytes) -> Accepted:
    return Accepted("POST", body=body)


def line(text: bytes) -> bytes:
    return text + b"\r\nHost: a\r\n\r\n"


REQUEST_LINE = [
    Row("a plain GET", "9112 §3", get(), [OK]),
    Row("every token byte in a method", "9110 §5.6.2", get(method="!#$%&'*+-.^_`|~09azAZ"), [Accepted("!#$%&'*+-.^_`|~09azAZ")]),
    Row("an unknown method is for the application", "9110 §9.1", get(method="BREW"), [Accepted("BREW")]),
    Row("methods are case-sensitive", "9110 §9.1", get(method="get"), [Accepted("get")]),
    Row("PRI and other words of HTTP/2 are only words", "9112 §3", get(method="PRI"), [Accepted("PRI")]),
    Row("the preface of HTTP/2", "9112 §2.3", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
    Row("a method with a parenthesis", "9110 §5.6.2", line(b"GE(T / HTTP/1.1"), [400]),
    Row("a method with a byte beyond ASCII", "9110 §5.6.2", line(b"G\xc3\x89T / HTTP/1.1"), [400]),
    Row("no method", "9112 §3", line(b" / HTTP/1.1"), [400]),
    Row("a tab between method and target", "9112 §3", line(b"GET\t/ HTTP/1.1"), [400]),
    Row("two spaces between method and target", "9112 §3", line(b"GET  / HTTP/1.1"), [400]),
    Row("two spaces before the version", "9112 §3", line(b"GET /  HTTP/1.1"), [400]),
    Row("a space behind the version", "9112 §3", line(b"GET / HTTP/1.1 "), [400]),
    Row("a space inside the target", "9112 §3.2", line(b"GET /a b HTTP/1.1"), [400]),
    Row("no target", "9112 §3", line(b"GET HTTP/1.1"), [400]),
    Row("no version", "9112 §3", line(b"GET /"), [400]),
    Row("a word instead of a version", "9112 §2.3", line(b"GET / ICE/1.1"), [400]),
    Row("the name of the version in lower case", "9112 §2.3", line(b"GET / http/1.1"), [400]),
    Row("a version of one digit", "9112 §2.3", line(b"GET / HTTP/1"), [400]),
    Row("a version of three digits", "9112 §2.3", line(b"GET / HTTP/1.10"), [400]),
    Row("a version with letters", "9112 §2.3", line(b"GET / HTTP/1.x"), [400]),
    Row("a version with a sign", "9112 §2.3", line(b"GET / HTTP/+1.1"), [400]),
    Row("HTTP/0.9 with a version", "9110 §15.6.6", line(b"GET / HTTP/0.9"), [505]),
    Row("HTTP/2.0", "9110 §15.6.6", line(b"GET / HTTP/2.0"), [505]),
    Row("HTTP/3.7", "9110 §15.6.6", line(b"GET / HTTP/3.7"), [505]),
    Row("the version is judged before the fields", "9110 §15.6.6", b"GET / HTTP/2.0\r\nbad field\r\n\r\n", [505]),
    Row("HTTP/1.2 is read as 1.1", "9110 §2.5", line(b"GET / HTTP/1.2"), [OK]),
    Row("HTTP/1.9 needs a Host as 1.1 does", "9110 §2.5", b"GET / HTTP/1.9\r\n\r\n", [400]),
    Row("a NUL in the target", "9112 §3.2", line(b"GET /\x00 HTTP/1.1"), [400]),
    Row("a control character in the target", "9112 §3.2", line(b"GET /\x07 HTTP/1.1"), [400]),
    Row("a DEL in the target", "9112 §3.2", line(b"GET /\x7f HTTP/1.1"), [400]),
    Row("a byte beyond ASCII in the target", "9112 §3.2", line(b"GET /\xc3\xa9 HTTP/1.1"), [400]),
    Row("a tab in the target", "9112 §3.2", line(b"GET /\ta HTTP/1.1"), [400]),
    Row("marks that are no URI characters but harmless", "9112 §3.2", get(target='/<>"{}|^`\\'), [Accepted(target='/<>"{}|^`\\')]),
    Row("percent-encoding is left alone", "9112 §3.2", get(target="/a%2Fb%20c"), [Accepted(target="/a%2Fb%20c")]),
    Row("a query", "9112 §3.2.1", get(target="/p?a=1&b=?/"), [Accepted(target="/p?a=1&b=?/")]),
    Row("an empty query", "9112 §3.2.1", get(target="/p?"), [Accepted(target="/p")]),
    Row("two slashes", "9112 §3.2.1", get(target="//x"), [Accepted(target="//x")]),
    Row("a colon in a path", "9112 §3.2.1", get(target="/a:80"), [Accepted(target="/a:80")]),
    Row("a fragment", "9112 §3.2", get(target="/a#b"), [400]),
    Row("a target that is a bare word", "9112 §3.2", get(target="index.html"), [400]),
    Row("a target that begins with a question mark", "9112 §3.2", get(target="?a=1"), [400]),
    Row("an empty line before the request", "9112 §2.2", b"\r\n" + get(), [OK]),
    Row("some empty lines before the request", "9112 §2.2", b"\r\n" * 8 + get(), [OK]),
    Row("too many empty lines before the request", "9112 §2.2", b"\r\n" * 9 + get(), [400]),
    Row("empty lines between requests", "9112 §2.2", get() + b"\r\n\r\n" + get(), [OK, OK]),
    Row("a lone LF before the request", "9112 §2.2", b"\n" + get(), [400]),
    Row("a lone CR before the request", "9112 §2.2", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    Row("a space before the request", "9112 §2.2", b" " + get(), [400]),
    Row("the hello of TLS", "9112 §3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
    Row("only empty lines", "9112 §2.2", b"\r\n\r\n", [INCOMPLETE]),
    Row("half a request line", "9112 §3", b"GET / HT", [INCOMPLETE]),
    Row("nothing but a method", "9112 §3", b"GET", [INCOMPLETE]),
]

LINE_ENDS = [
    Row("lines that end in LF", "9112 §2.2", b"GET / HTTP/1.1\nHost: a\n\n", [400]),
    Row("a request line that ends in LF", "9112 §2.2", b"GET / HTTP/1.1\nHost: a\r\n\r\n", [400]),
    Row("a field line that ends in LF", "9112 §2.2", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", [400]),
    Row("an empty line that is LF", "9112 §2.2", b"GET / HTTP/1.1\r\nHost: a\r\n\n", [400]),
    Row("lines that end in CR", "9112 §2.2", b"GET / HTTP/1.1\rHost: a\r\r\n\r\n", [400]),
    Row("a lone CR in a value", "9112 §2.2", get("X: a\rb\r\n"), [400]),
    Row("a lone CR at the end of a value", "9112 §2.2", get("X: a\r\r\n"), [400]),
    Row("CR LF LF", "9112 §2.2", b"GET / HTTP/1.1\r\n\nHost: a\r\n\r\n", [400]),
    Row("a lone LF hides a second field from some", "9112 §11.2", get("X: a\nTransfer-Encoding: chunked\r\n"), [400]),
    Row("half a head", "9112 §2.1", b"GET / HTTP/1.1\r\nHost: a\r\n", [INCOMPLETE]),
    Row("a head without its last LF", "9112 §2.1", b"GET / HTTP/1.1\r\nHost: a\r\n\r", [INCOMPLETE]),
]

FIELDS = [
    Row("blanks around a value", "9112 §5.1", get("X: \t a b \t \r\n"), [OK]),
    Row("no blank before a value", "9112 §5.1", get("X:a\r\n"), [OK]),
    Row("an empty value", "9110 §5.5", get("X:\r\n"), [OK]),
    Row("a value of blanks", "9110 §5.5", get("X:  \t\r\n"), [OK]),
    Row("a value beyond ASCII", "9110 §5.5", get("X: \xe9\xff\x80\r\n"), [OK]),
    Row("a tab inside a value", "9110 §5.5", get("X: a\tb\r\n"), [OK]),
    Row("every token byte in a name", "9110 §5.1", get("!#$%&'*+-.^_`|~09azAZ: b\r\n"), [OK]),
    Row("a colon inside a value", "9112 §5.1", get("X: a:b:c\r\n"), [OK]),
    Row("a value that is a colon", "9112 §5.1", get("X::\r\n"), [OK]),
    Row("a space before the colon", "9112 §5.1", get("X : a\r\n"), [400]),
    Row("a tab before the colon", "9112 §5.1", get("X\t: a\r\n"), [400]),
    Row("a space before the colon of Content-Length", "9112 §5.1", get("Content-Length : 5\r\n", method="POST"), [400]),
    Row("a space inside a name", "9110 §5.1", get("X Y: a\r\n"), [400]),
    Row("no name", "9112 §5", get(": a\r\n"), [400]),
    Row("no name in the first field", "9112 §5", b"GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n", [400]),
    Row("no colon", "9112 §5", get("X\r\n"), [400]),
    Row("no colon in the first field", "9112 §5", b"GET / HTTP/1.1\r\nX\r\nHost: a\r\n\r\n", [400]),
    Row("a name beyond ASCII", "9110 §5.1", get("\xc3\xa9: a\r\n"), [400]),
    Row("a name with a parenthesis", "9110 §5.1", get("a(b: c\r\n"), [400]),
    Row("a name with a slash", "9110 §5.1", get("a/b: c\r\n"), [400]),
    Row("a name with a quote", "9110 §5.1", get('a"b: c\r\n'), [400]),
    Row("a name with a NUL", "9110 §5.1", get("a\x00b: c\r\n"), [400]),
    Row("a NUL in a value", "9110 §5.5", get("X: a\x00b\r\n"), [400]),
    Row("a control character in a value", "9110 §5.5", get("X: a\x01b\r\n"), [400]),
    Row("a vertical tab in a value", "9110 §5.5", get("X: a\x0bb\r\n"), [400]),
    Row("a form feed around a value", "9110 §5.5", get("X: a\x0c\r\n"), [400]),
    Row("an escape in a value", "9110 §5.5", get("X: \x1b[0m\r\n"), [400]),
    Row("a DEL in a value", "9110 §5.5", get("X: a\x7f\r\n"), [400]),
    Row("a folded value", "9112 §5.2", get("X: a\r\n b\r\n"), [400]),
    Row("a value folded with a tab", "9112 §5.2", get("X: a\r\n\tb\r\n"), [400]),
    Row("a folded first field", "9112 §5.2", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", [400]),
    Row("a fold of blanks only", "9112 §5.2", get("X: a\r\n \r\n"), [400]),
    Row("a repeated field", "9110 §5.3", get("X: a\r\nX: b\r\n"), [OK]),
    Row("another request line among the fields", "9112 §5", get("GET /x HTTP/1.1\r\n"), [400]),
]

HOST = [
    Row("no Host", "9112 §3.2", b"GET / HTTP/1.1\r\n\r\n", [400]),
    Row("no Host, other fields", "9112 §3.2", b"GET / HTTP/1.1\r\nX: a\r\n\r\n", [400]),
    Row("two equal Hosts", "9112 §3.2", get("Host: a\r\n"), [400]),
    Row("two different Hosts", "9112 §3.2", get("host: b\r\n"), [400]),
    Row("two Hosts in HTTP/1.0", "9112 §3.2", get("Host: b\r\n", version="HTTP/1.0"), [400]),
    Row("no Host in HTTP/1.0", "9112 §3.2", b"GET / HTTP/1.0\r\n\r\n", [Accepted(version="1.0", keep=False, host="")]),
    Row("an empty Host", "9112 §3.2", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", [Accepted(host="")]),
    Row("a Host with a port", "9110 §7.2", b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", [Accepted(host="a.example:8080")]),
    Row("a Host with an empty port", "9110 §7.2", b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", [Accepted(host="a:")]),
    Row("an IPv6 Host", "9110 §7.2", b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", [Accepted(host="[2001:db8::1]:80")]),
    Row("a Host with percent-encoding", "9110 §7.2", b"GET / HTTP/1.1\r\nHost: a%20b\r\n\r\n", [Accepted(host="a%20b")]),
    Row("a Host in upper case", "9110 §7.2", b"GET / HTTP/1.1\r\nHOST: A\r\n\r\n", [Accepted(host="A")]),
    Row("a Host with a space", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", [400]),
    Row("a Host that is a list", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", [400]),
    Row("a Host with a path", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", [400]),
    Row("a Host with a user", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", [400]),
    Row("a Host with a word for a port", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", [400]),
    Row("a Host with two ports", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", [400]),
    Row("a Host with a quote", "9112 §3.2", b'GET / HTTP/1.1\r\nHost: a"b\r\n\r\n', [400]),
    Row("a Host beyond ASCII", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", [400]),
    Row("an IPv6 Host without its end", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", [400]),
    Row("a Host with half a percent-encoding", "9112 §3.2", b"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", [400]),
]

TARGET_FORMS = [
    Row("absolute form", "9112 §3.2.2", get(target="http://b/x?y=1"), [Accepted(target="/x?y=1", host="b")]),
    Row("absolute form with a port", "9112 §3.2.2", get(target="http://b:81/"), [Accepted(host="b:81")]),
    Row("absolute form of https", "9112 §3.2.2", get(target="https://b/"), [Accepted(host="b")]),
    Row("absolute form with the scheme in upper case", "9112 §3.2.2", get(target="HTTP://b/"), [Accepted(host="b")]),
    Row("absolute form without a path", "9112 §3.2.2", get(target="http://b"), [Accepted(host="b")]),
    Row("absolute form with a query and no path", "9112 §3.2.2", get(target="http://b?q"), [Accepted(target="/?q", host="b")]),
    Row("absolute form of an IPv6 address", "9112 §3.2.2", get(target="http://[::1]:80/x"), [Accepted(target="/x", host="[::1]:80")]),
    Row("absolute form still needs a Host", "9112 §3.2.2", b"GET http://b/ HTTP/1.1\r\n\r\n", [400]),
    Row("absolute form with two Hosts", "9112 §3.2.2", get("Host: b\r\n", target="http://b/"), [400]),
    Row("absolute form with a user", "9110 §4.2.4", get(target="http://u:p@b/"), [400]),
    Row("absolute form without a host", "9110 §4.2.1", get(target="http:///x"), [400]),
    Row("absolute form with a port only", "9110 §4.2.1", get(target="http://:80/x"), [400]),
    Row("absolute form of another scheme", "9112 §3.2.2", get(target="ftp://b/x"), [400]),
    Row("absolute form with a fragment", "9112 §3.2.2", get(target="http://b/x#y"), [400]),
    Row("absolute form with a bad port", "9112 §3.2.2", get(target="http://b:x/"), [400]),
    Row("asterisk form", "9112 §3.2.4", get(target="*", method="OPTIONS"), [Accepted("OPTIONS", "*")]),
    Row("asterisk form through a proxy", "9112 §3.2.4", get(target="http://b", method="OPTIONS"), [Accepted("OPTIONS", "*", host="b")]),
    Row("OPTIONS of a path", "9110 §9.3.7", get(target="/x", method="OPTIONS"), [Accepted("OPTIONS", "/x")]),
    Row("asterisk form of another method", "9112 §3.2.4", get(target="*"), [400]),
    Row("two asterisks", "9112 §3.2.4", get(target="**", method="OPTIONS"), [400]),
    Row("authority form", "9110 §9.3.6", get(target="b:443", method="CONNECT"), [501]),
    Row("authority form without a port", "9112 §3.2.3", get(target="b", method="CONNECT"), [400]),
    Row("authority form of another method", "9112 §3.2.3", get(target="b:443"), [400]),
    Row("CONNECT to a path", "9112 §3.2.3", get(target="/x", method="CONNECT"), [400]),
]

CONTENT_LENGTH = [
    Row("a body of a length", "9112 §6.2", post("Content-Length: 5\r\n", b"hello"), [posted(b"hello")]),
    Row("a body of no bytes", "9112 §6.2", post("Content-Length: 0\r\n"), [posted(b"")]),
    Row("no length is no body", "9112 §6.3", post("") + get(), [posted(b""), OK]),
    Row("a length with leading zeros", "9110 §8.6", post("Content-Length: 005\r\n", b"hello"), [posted(b"hello")]),
    Row("the name in any case", "9110 §5.1", post("cONTENT-lENGTH: 2\r\n", b"hi"), [posted(b"hi")]),
    Row("a body with GET", "9110 §9.3.1", get("Content-Length: 2\r\n") + b"hi", [Accepted(body=b"hi")]),
    Row("a body that looks like a request", "9112 §6.3", post("Content-Length: 38\r\n", get(target="/evil/evil/x")) + get(), [posted(get(target="/evil/evil/x")), OK]),
    Row("a body cut short", "9112 §8", post("Content-Length: 5\r\n", b"hell"), [INCOMPLETE]),
    Row("bytes behind a body are the next request", "9112 §6.3", post("Content-Length: 2\r\n", b"hi") + get(), [posted(b"hi"), OK]),
    Row("bytes behind a body that are no request", "9112 §6.3", post("Content-Length: 2\r\n", b"hi\x00"), [posted(b"hi"), 400]),
    Row("two equal lengths", "9112 §6.3", post("Content-Length: 2\r\nContent-Length: 2\r\n", b"hi"), [400]),
    Row("two different lengths", "9112 §6.3", post("Content-Length: 2\r\nContent-Length: 3\r\n", b"hi!"), [400]),
    Row("a list of equal lengths", "9112 §6.3", post("Content-Length: 2, 2\r\n", b"hi"), [400]),
    Row("a length with a sign", "9110 §8.6", post("Content-Length: +2\r\n", b"hi"), [400]),
    Row("a negative length", "9110 §8.6", post("Content-Length: -2\r\n", b"hi"), [400]),
    Row("a length in hexadecimal", "9110 §8.6", post("Content-Length: 0x2\r\n", b"hi"), [400]),
    Row("a length with an underscore", "9110 §8.6", post("Content-Length: 1_0\r\n", b"hi"), [400]),
    Row("a length with a fraction", "9110 §8.6", post("Content-Length: 2.0\r\n", b"hi"), [400]),
    Row("a length with a space inside", "9110 §8.6", post("Content-Length: 1 0\r\n", b"hi"), [400]),
    Row("a length in other digits", "9110 §8.6", post("Content-Length: \xb2\r\n", b"hi"), [400]),
    Row("an empty length", "9110 §8.6", post("Content-Length:\r\n"), [400]),
    Row("a length beyond all numbers", "9110 §8.6", post("Content-Length: 99999999999999999999999\r\n"), [400]),
    Row("a length at the limit", "9110 §15.5.14", post("Content-Length: 1000\r\n", b"x" * 1000), [posted(b"x" * 1000)]),
    Row("a length beyond the limit", "9110 §15.5.14", post("Content-Length: 1001\r\n", b"x" * 1001), [413]),
    Row("a length far beyond the limit, nothing sent", "9110 §15.5.14", post("Content-Length: 999999999999\r\n"), [413]),
]

TRANSFER_ENCODING = [
    Row("one chunk", "9112 §7.1", chunked(b"5\r\nhello\r\n0\r\n\r\n"), [posted(b"hello")]),
    Row("several chunks", "9112 §7.1", chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), [posted(b"hello")]),
    Row("no chunk but the last", "9112 §7.1", chunked(b"0\r\n\r\n"), [posted(b"")]),
    Row("a last chunk of many zeros", "9112 §7.1", chunked(b"1\r\na\r\n0000\r\n\r\n"), [posted(b"a")]),
    Row("a size in both cases", "9112 §7.1", chunked(b"a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"), [posted(b"01234567890123456789a")]),
    Row("a size with leading zeros", "9112 §7.1", chunked(b"0005\r\nhello\r\n0\r\n\r\n"), [posted(b"hello")]),
    Row("the coding in any case", "9112 §7", post("Transfer-Encoding: cHuNkEd\r\n", b"0\r\n\r\n"), [posted(b"")]),
    Row("CR and LF are data in a chunk", "9112 §7.1", chunked(b"4\r\n\r\n\r\n\r\n0\r\n\r\n"), [posted(b"\r\n\r\n")]),
    Row("a request behind a chunked body", "9112 §7.1", chunked(b"1\r\na\r\n0\r\n\r\n") + get(), [posted(b"a"), OK]),
    Row("chunks that end in the middle", "9112 §8", chunked(b"5\r\nhel"), [INCOMPLETE]),
    Row("chunks without the last", "9112 §8", chunked(b"5\r\nhello\r\n"), [INCOMPLETE]),
    Row("chunks without the last line", "9112 §8", chunked(b"5\r\nhello\r\n0\r\n"), [INCOMPLETE]),
    Row("both framings", "9112 §6.1", chunked(b"0\r\n\r\n", "Content-Length: 5\r\n"), [400]),
    Row("both framings, the length first", "9112 §6.1", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), [400]),
    Row("a transfer coding in HTTP/1.0", "9112 §6.1", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    Row("chunked twice in one field", "9112 §6.1", post("Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), [400]),
    Row("chunked twice in two fields", "9112 §6.1", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), [400]),
    Row("chunked not last", "9112 §6.3", post("Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), [400]),
    Row("a coding without chunked", "9112 §6.3", post("Transfer-Encoding: gzip\r\n", b"0\r\n\r\n"), [400]),
    Row("identity", "9112 §6.3", post("Transfer-Encoding: identity\r\n", b"0\r\n\r\n"), [400]),
    Row("an unknown coding before chunked", "9112 §6.1", post("Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), [501]),
    Row("an unknown coding in a field before chunked", "9112 §6.1", post("Transfer-Encoding: br\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), [501]),
    Row("a word like chunked", "9112 §7", post("Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), [400]),
    Row("chunked with a parameter", "9112 §7", post("Transfer-Encoding: chunked;a=b\r\n", b"0\r\n\r\n"), [400]),
    Row("chunked in quotes", "9112 §7", post('Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), [400]),
    Row("chunked and an empty member", "9112 §7", post("Transfer-Encoding: chunked,\r\n", b"0\r\n\r\n"), [400]),
    Row("an empty member and chunked", "9112 §7", post("Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n"), [400]),
    Row("an empty transfer coding", "9112 §7", post("Transfer-Encoding:\r\n", b"0\r\n\r\n"), [400]),
    Row("an empty chunk size", "9112 §7.1", chunked(b"\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("a chunk size of letters", "9112 §7.1", chunked(b"zz\r\n"), [400]),
    Row("a chunk size with 0x", "9112 §7.1", chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("a chunk size with a sign", "9112 §7.1", chunked(b"+5\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("a negative chunk size", "9112 §7.1", chunked(b"-1\r\n"), [400]),
    Row("a chunk size with an underscore", "9112 §7.1", chunked(b"1_0\r\n"), [400]),
    Row("a space behind a chunk size", "9112 §7.1", chunked(b"5 \r\nhello\r\n0\r\n\r\n"), [400]),
    Row("a space before a chunk size", "9112 §7.1", chunked(b" 5\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("a chunk size beyond all numbers", "9112 §7.1", chunked(b"10000000000000000\r\n"), [400]),
    Row("a chunk size line that ends in LF", "9112 §7.1", chunked(b"5\nhello\r\n0\r\n\r\n"), [400]),
    Row("a chunk size line with a lone CR", "9112 §7.1", chunked(b"5\rhello\r\n0\r\n\r\n"), [400]),
    Row("a chunk longer than its size", "9112 §7.1", chunked(b"5\r\nhello!\r\n0\r\n\r\n"), [400]),
    Row("a chunk shorter than its size", "9112 §7.1", chunked(b"6\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("chunk data that ends in LF", "9112 §7.1", chunked(b"5\r\nhello\n0\r\n\r\n"), [400]),
    Row("chunk data that ends in a lone CR", "9112 §7.1", chunked(b"5\r\nhello\r0\r\n\r\n"), [400]),
    Row("a last chunk that ends in LF", "9112 §7.1", chunked(b"0\n\n"), [400]),
    Row("an endless chunk size line", "9112 §7.1.1", chunked(b"5;" + b"a" * 1100), [400]),
    Row("chunks at the limit", "9110 §15.5.14", chunked(b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"), [posted(b"x" * 1000)]),
    Row("chunks beyond the limit", "9110 §15.5.14", chunked(b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"), [413]),
    Row("small chunks beyond the limit", "9110 §15.5.14", chunked((b"64\r\n" + b"x" * 100 + b"\r\n") * 11 + b"0\r\n\r\n"), [413]),
]

EXTENSIONS_AND_TRAILERS = [
    Row("an extension", "9112 §7.1.1", chunked(b"5;a\r\nhello\r\n0\r\n\r\n"), [posted(b"hello")]),
    Row("an extension with a value", "9112 §7.1.1", chunked(b"5;a=b\r\nhello\r\n0;c=d\r\n\r\n"), [posted(b"hello")]),
    Row("an extension with a quoted value", "9112 §7.1.1", chunked(b'5;a="b ;\\"c"\r\nhello\r\n0\r\n\r\n'), [posted(b"hello")]),
    Row("extensions with blanks", "9112 §7.1.1", chunked(b"5 ; a = b\t;c\r\nhello\r\n0\r\n\r\n"), [posted(b"hello")]),
    Row("an extension without a name", "9112 §7.1.1", chunked(b"5;\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("an extension without a value", "9112 §7.1.1", chunked(b"5;a=\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("an extension with an open quote", "9112 §7.1.1", chunked(b'5;a="b\r\nhello\r\n0\r\n\r\n'), [400]),
    Row("an extension with a NUL", "9112 §7.1.1", chunked(b"5;a=\x00\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("an extension with a lone CR", "9112 §7.1.1", chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("a word behind a size", "9112 §7.1.1", chunked(b"5 a\r\nhello\r\n0\r\n\r\n"), [400]),
    Row("extensions that outweigh the data", "9112 §7.1.1", chunked((b"1;" + b"e" * 200 + b"\r\nx\r\n") * 6 + b"0\r\n\r\n"), [400]),
    Row("a trailer", "9112 §7.1.2", chunked(b"1\r\na\r\n0\r\nX: y\r\n\r\n") + get(), [posted(b"a"), OK]),
    Row("several trailers", "9112 §7.1.2", chunked(b"0\r\nX: y\r\nZ:\r\n\r\n"), [posted(b"")]),
    Row("a trailer cannot change the framing", "9110 §6.5.1", chunked(b"0\r\nContent-Length: 5\r\n\r\n") + get(), [posted(b""), OK]),
    Row("a trailer without a colon", "9112 §7.1.2", chunked(b"0\r\nX\r\n\r\n"), [400]),
    Row("a trailer without a name", "9112 §7.1.2", chunked(b"0\r\n: y\r\n\r\n"), [400]),
    Row("a trailer with a space before the colon", "9112 §5.1", chunked(b"0\r\nX : y\r\n\r\n"), [400]),
    Row("a folded trailer", "9112 §5.2", chunked(b"0\r\nX: y\r\n z\r\n\r\n"), [400]),
    Row("a trailer with a NUL", "9110 §5.5", chunked(b"0\r\nX: \x00\r\n\r\n"), [400]),
    Row("a trailer that ends in LF", "9112 §2.2", chunked(b"0\r\nX: y\n\r\n"), [400]),
    Row("a trailer with a lone CR", "9112 §2.2", chunked(b"0\r\nX: y\rz\r\n\r\n"), [400]),
    Row("too many trailers", "9110 §15.5.14", chunked(b"0\r\n" + b"X: y\r\n" * 13 + b"\r\n"), [431]),
    Row("as many trailers as allowed", "9110 §15.5.14", chunked(b"0\r\n" + b"X: y\r\n" * 12 + b"\r\n"), [posted(b"")]),
    Row("too large a trailer section", "9110 §15.5.14", chunked(b"0\r\nX: " + b"y" * 1100 + b"\r\n\r\n"), [431]),
    Row("an endless trailer section", "9110 §15.5.14", chunked(b"0\r\nX: " + b"y" * 1100), [431]),
    Row("half a trailer", "9112 §8", chunked(b"0\r\nX: y\r\n"), [INCOMPLETE]),
]

PERSISTENCE = [
    Row("HTTP/1.1 stays open", "9112 §9.3", get() + get(), [OK, OK]),
    Row("HTTP/1.1 with close", "9112 §9.6", get("Connection: close\r\n") + get(), [CLOSES]),
    Row("close in upper case", "9110 §7.6.1", get("Connection: CLOSE\r\n"), [CLOSES]),
    Row("close in a list", "9110 §7.6.1", get("Connection: x, close ,y\r\n"), [CLOSES]),
    Row("close in the second field", "9110 §7.6.1", get("Connection: x\r\nConnection: close\r\n"), [CLOSES]),
    Row("close beats keep-alive", "9112 §9.3", get("Connection: keep-alive, close\r\n"), [CLOSES]),
    Row("a word like close", "9110 §7.6.1", get("Connection: closed\r\n"), [OK]),
    Row("keep-alive in HTTP/1.1", "9112 §9.3", get("Connection: keep-alive\r\n"), [OK]),
    Row("HTTP/1.0 closes", "9112 §9.3", get(version="HTTP/1.0"), [OLD]),
    Row("HTTP/1.0 with keep-alive", "9112 §9.3", get("Connection: Keep-Alive\r\n", version="HTTP/1.0"), [Accepted(version="1.0")]),
    Row("HTTP/1.0 with close and keep-alive", "9112 §9.3", get("Connection: keep-alive, close\r\n", version="HTTP/1.0"), [OLD]),
    Row("HTTP/1.0 with a body", "9112 §6.2", b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", [Accepted("POST", body=b"hi", keep=False, version="1.0", host="")]),
    Row("many requests at once", "9112 §9.3.2", get() * 9, [OK] * 9),
    Row("requests of all kinds at once", "9112 §9.3.2", get() + post("Content-Length: 2\r\n", b"hi") + chunked(b"1\r\na\r\n0\r\n\r\n") + get(method="HEAD"), [OK, posted(b"hi"), posted(b"a"), Accepted("HEAD")]),
    Row("a request and half of the next", "9112 §9.3.2", get() + b"GET / HT", [OK, INCOMPLETE]),
    Row("a request and a bad one", "9112 §9.3.2", get() + get("X : a\r\n"), [OK, 400]),
    Row("nothing is read behind a bad request", "9112 §9.3.2", get("X : a\r\n") + get(), [400]),
    Row("an upgrade that is not taken up", "9110 §7.8", get("Connection: Upgrade\r\nUpgrade: foo/2\r\n") + get(), [OK, OK]),
    Row("an upgrade with a body", "9110 §7.8", post("Connection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 2\r\n", b"hi") + get(), [posted(b"hi"), OK]),
    Row("an offer of HTTP/2", "9110 §7.8", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n") + get(), [OK, OK]),
    Row("HEAD", "9110 §9.3.2", get(method="HEAD") + get(), [Accepted("HEAD"), OK]),
]

EXPECT = [
    Row("100-continue without a body", "9110 §10.1.1", get("Expect: 100-continue\r\n"), [OK]),
    Row("100-continue with the body sent at once", "9110 §10.1.1", post("Expect: 100-continue\r\nContent-Length: 2\r\n", b"hi"), [posted(b"hi")]),
    Row("100-continue in any case", "9110 §10.1.1", post("expect: 100-Continue\r\nContent-Length: 2\r\n", b"hi"), [posted(b"hi")]),
    Row("100-continue with chunks", "9110 §10.1.1", chunked(b"1\r\na\r\n0\r\n\r\n", "Expect: 100-continue\r\n"), [posted(b"a")]),
    Row("an unknown expectation", "9110 §10.1.1", get("Expect: miracles\r\n"), [417]),
    Row("an unknown expectation beside a known one", "9110 §10.1.1", get("Expect: 100-continue, miracles\r\n"), [417]),
    Row("100-continue twice", "9110 §10.1.1", get("Expect: 100-continue\r\nExpect: 100-continue\r\n"), [417]),
    Row("an empty expectation", "9110 §10.1.1", get("Expect:\r\n"), [417]),
    Row("an expectation in HTTP/1.0 is ignored", "9110 §10.1.1", get("Expect: miracles\r\n", version="HTTP/1.0"), [OLD]),
    Row("100-continue with too large a body", "9110 §10.1.1", post("Expect: 100-continue\r\nContent-Length: 1001\r\n"), [413]),
    Row("bad framing is judged before the expectation", "9112 §6.3", post("Expect: miracles\r\nContent-Length: x\r\n"), [400]),
]


def padded(size: int) -> bytes:
    """Return a GET whose head has exactly `size` bytes."""
    return get("X: " + "x" * (size - len(get("X: \r\n"))) + "\r\n")


LONGEST_TARGET = "/" + "x" * (256 - len("GET / HTTP/1.1"))

LIMIT_ROWS = [
    Row("a request line at the limit", "9112 §3", get(target=LONGEST_TARGET), [Accepted(target=LONGEST_TARGET)]),
    Row("a request line beyond the limit", "9110 §15.5.15", get(target=LONGEST_TARGET + "x"), [414]),
    Row("a request line far beyond the limit", "9110 §15.5.15", get(target="/" + "x" * 5000), [414]),
    Row("an endless request line", "9110 §15.5.15", b"GET /" + b"x" * 300, [414]),
    Row("an endless method", "9110 §15.5.15", b"G" * 300, [414]),
    Row("a long request line is judged before its content", "9110 §15.5.15", b"GET /" + b"\x01" * 300 + b"\r\n\r\n", [414]),
    Row("a head at the limit", "9110 §5.4", padded(1024), [OK]),
    Row("a head beyond the limit", "6585 §5", padded(1025), [431]),
    Row("a head far beyond the limit", "6585 §5", padded(9000), [431]),
    Row("an endless head", "6585 §5", get("X: " + "x" * 1100)[:-2], [431]),
    Row("an endless name", "6585 §5", b"GET / HTTP/1.1\r\n" + b"x" * 1100, [431]),
    Row("as many fields as allowed", "9110 §5.4", get("X: y\r\n" * 11), [OK]),
    Row("too many fields", "6585 §5", get("X: y\r\n" * 12), [431]),
    Row("a lone LF before the limit", "9112 §2.2", b"GET / HTTP/1.1\r\nA: b\nX: " + b"x" * 1100, [400]),
    Row("a lone LF behind the limit", "6585 §5", b"GET / HTTP/1.1\r\nX: " + b"x" * 1100 + b"\n\r\n\r\n", [431]),
    Row("the limits count anew for each request", "9112 §9.3.2", padded(1024) + padded(1024), [OK, OK]),
]

ROWS = [
    *REQUEST_LINE, *LINE_ENDS, *FIELDS, *HOST, *TARGET_FORMS, *CONTENT_LENGTH, *TRANSFER_ENCODING,
    *EXTENSIONS_AND_TRAILERS, *PERSISTENCE, *EXPECT, *LIMIT_ROWS,
]
