"""PROXY headers: the bytes of both versions, cut anywhere, and everything that is none."""

import socket
import struct

import pytest

from cello.errors import ProtocolError
from cello.wire.proxy_header import ProxyHeader

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command=0x21, family=0x11, body=b"", size=None):
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if size is None else size) + body


def pair(kind, client, server, ports=(56324, 443)):
    return socket.inet_pton(kind, client) + socket.inet_pton(kind, server) + struct.pack("!HH", *ports)


V4 = pair(socket.AF_INET, "192.0.2.1", "198.51.100.2")
V6 = pair(socket.AF_INET6, "2001:db8::1", "2001:db8::2")
FOUR = (("192.0.2.1", 56324), ("198.51.100.2", 443))
SIX = (("2001:db8::1", 56324), ("2001:db8::2", 443))
GOOD = [
    pytest.param(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", FOUR, id="v1 TCP4"),
    pytest.param(b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", SIX, id="v1 TCP6"),
    pytest.param(b"PROXY UNKNOWN\r\n", (None, None), id="v1 unknown"),
    pytest.param(b"PROXY UNKNOWN ffff:f::1 ffff::1 65535 65535\r\n", (None, None), id="v1 unknown with a rest"),
    pytest.param(v2(body=V4), FOUR, id="v2 TCP4"),
    pytest.param(v2(family=0x21, body=V6), SIX, id="v2 TCP6"),
    pytest.param(v2(body=V4 + b"\x03\x00\x04abcd"), FOUR, id="v2 with a further field"),
    pytest.param(v2(command=0x20, family=0, body=b""), (None, None), id="v2 local"),
    pytest.param(v2(command=0x20, family=0x11, body=V4), (None, None), id="v2 local with addresses"),
    pytest.param(v2(family=0x00, body=b""), (None, None), id="v2 unspecified"),
    pytest.param(v2(family=0x31, body=b"\x00" * 216), (None, None), id="v2 unix"),
]


@pytest.mark.parametrize("step", [1, 5, 16, 4096], ids=lambda step: f"{step} at a time")
@pytest.mark.parametrize(("data", "found"), GOOD)
def test_a_header_is_read_and_nothing_behind_it_is_touched(data, found, step):
    rest = b"\x16\x03\x01PROXY \r\n"
    waiting, header = data + rest, ProxyHeader()
    while not header.is_complete:
        arrived = waiting[:step]
        taken = header.take(arrived)
        assert 1 <= taken <= len(arrived)
        waiting = waiting[taken:]
    assert waiting == rest
    assert (header.client, header.server) == found


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n", id="a request"),
        pytest.param(b"\x16\x03\x01\x02\x00", id="a TLS hello"),
        pytest.param(b"\r\n\r\nGET", id="almost a signature"),
        pytest.param(b"PROXY\r\n", id="no blank"),
        pytest.param(b"PROXY TCP4\r\n", id="no addresses"),
        pytest.param(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n", id="no port"),
        pytest.param(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 7\r\n", id="too many words"),
        pytest.param(b"PROXY TCP4  192.0.2.1 198.51.100.2 56324 443\r\n", id="two blanks"),
        pytest.param(b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n", id="TCP4 with v6"),
        pytest.param(b"PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n", id="TCP6 with v4"),
        pytest.param(b"PROXY TCP4 example 198.51.100.2 56324 443\r\n", id="a name"),
        pytest.param(b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n", id="a sign"),
        pytest.param(b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n", id="too large a port"),
        pytest.param(b"PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n", id="another protocol"),
        pytest.param(b"PROXY UNKNOWN " + b"x" * 120, id="no end"),
        pytest.param(v2(command=0x11, body=V4), id="version 1 in the form of 2"),
        pytest.param(v2(command=0x22, body=V4), id="another command"),
        pytest.param(v2(body=V4[:-1]), id="addresses cut short"),
        pytest.param(v2(size=2049), id="too long"),
    ],
)
@pytest.mark.parametrize("step", [1, 4096], ids=["byte by byte", "whole"])
def test_what_is_no_header_is_refused(data, step):
    with pytest.raises(ProtocolError, match="PROXY"):
        take_all(ProxyHeader(), data, step)


def take_all(header, data, step):
    while not header.is_complete and data:
        data = data[header.take(data[:step]) :]
