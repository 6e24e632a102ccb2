# ruff: noqa: E501  # a row of the table reads best on one line
"""Trusted proxies: the client is who the right-most trusted word says it is, and nobody else's word counts."""

import pytest

from cello import App, ConfigError, Request
from cello.features.trusted_proxies import TrustedProxies, address_of
from cello.http.peer import Peer

PROXIES = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]
CLIENT = "198.51.100.7"


def ask(headers, peer="10.0.0.1", **options):
    """Return what a request with these headers, from this peer, looks like to the application."""
    request = Request("GET", "/", headers={"Host": "inner", **headers})
    request._peer = Peer("http", None if peer is None else (peer, 1234), ("10.9.9.9", 80))
    app = App()
    app.set_trusted_proxies(options.pop("proxies", PROXIES), **options)
    app.get("/")(lambda request: f"{request.client_ip} {request.scheme} {request.host}")
    dispatcher = app.freeze()
    response = dispatcher.answer(dispatcher.plan_for(request), request)
    return response.body().decode() if response.status == 200 else response.status


def xff(value, **more):
    return {"X-Forwarded-For": value, **{name.replace("_", "-"): text for name, text in more.items()}}


def forwarded(value, **more):
    return {"Forwarded": value, **more}


ROWS = {
    "nothing said": ({}, {}, "10.0.0.1 http inner"),
    # X-Forwarded-For.
    "one address": (xff(CLIENT), {}, f"{CLIENT} http inner"),
    "an untrusted peer is the client": (xff(CLIENT), {"peer": "203.0.113.9"}, "203.0.113.9 http inner"),
    "the right-most that is untrusted": (xff(f"1.1.1.1, {CLIENT}"), {}, f"{CLIENT} http inner"),
    "behind a second proxy of ours": (xff(f"1.1.1.1, {CLIENT}, 10.2.3.4"), {}, f"{CLIENT} http inner"),
    "behind three": (xff(f"{CLIENT}, 192.0.2.1, 10.2.3.4"), {}, f"{CLIENT} http inner"),
    "all are ours: the first": (xff("10.5.5.5, 10.2.3.4"), {}, "10.5.5.5 http inner"),
    "a port": (xff(f"{CLIENT}:5678"), {}, f"{CLIENT} http inner"),
    "an ipv6 address": (xff("2001:1::7"), {}, "2001:1::7 http inner"),
    "an ipv6 address with a port": (xff("[2001:1::7]:443"), {}, "2001:1::7 http inner"),
    "an ipv6 address in full": (xff("2001:0001:0:0::0007"), {}, "2001:1::7 http inner"),
    "ours in ipv6": (xff(f"{CLIENT}, 2001:db8::5"), {}, f"{CLIENT} http inner"),
    "ours as ipv4 in ipv6": (xff(f"{CLIENT}, ::ffff:10.0.0.9"), {}, f"{CLIENT} http inner"),
    "an unknown client": (xff("unknown"), {}, "unknown http inner"),
    "rubbish is nobody's address": (xff("10.0.0.1<script>"), {}, "unknown http inner"),
    "empty": (xff(""), {}, "unknown http inner"),
    "a peer as ipv4 in ipv6": (xff(CLIENT), {"peer": "::ffff:10.0.0.1"}, f"{CLIENT} http inner"),
    "a peer with a zone": (xff(CLIENT), {"peer": "fe80::1%eth0", "proxies": ["fe80::/10"]}, f"{CLIENT} http inner"),
    "a unix socket that is trusted": (xff(CLIENT), {"peer": None, "proxies": ["unix"]}, f"{CLIENT} http inner"),
    "a unix socket that is not": (xff(CLIENT), {"peer": None}, " http inner"),
    "a peer without an address": (xff(CLIENT), {"peer": "testclient"}, "testclient http inner"),
    "too many hops": (xff(", ".join(["1.1.1.1"] * 33)), {}, 400),
    # X-Forwarded-Proto and -Host.
    "the scheme": (xff(CLIENT, X_Forwarded_Proto="https"), {}, f"{CLIENT} https inner"),
    "the scheme alone": ({"X-Forwarded-Proto": "HTTPS"}, {}, "10.0.0.1 https inner"),
    "the scheme of a socket": (xff(CLIENT, X_Forwarded_Proto="wss"), {}, f"{CLIENT} https inner"),
    "an impossible scheme": (xff(CLIENT, X_Forwarded_Proto="gopher"), {}, f"{CLIENT} http inner"),
    "a scheme for each hop": (xff(f"1.1.1.1, {CLIENT}, 10.2.3.4", X_Forwarded_Proto="http, https, http"), {}, f"{CLIENT} https inner"),
    "one scheme more than hops: the nearest": (xff(CLIENT, X_Forwarded_Proto="https, http"), {}, f"{CLIENT} http inner"),
    "a host is not believed unasked": (xff(CLIENT, X_Forwarded_Host="outer"), {}, f"{CLIENT} http inner"),
    "a host where it is asked for": (xff(CLIENT, X_Forwarded_Host="outer:8443"), {"host": True}, f"{CLIENT} http outer:8443"),
    "the nearest host": (xff(CLIENT, X_Forwarded_Host="evil, outer"), {"host": True}, f"{CLIENT} http outer"),
    "an empty host": (xff(CLIENT, X_Forwarded_Host=" "), {"host": True}, f"{CLIENT} http inner"),
    "no word of an untrusted peer": (xff("1.1.1.1", X_Forwarded_Proto="https", X_Forwarded_Host="evil"), {"peer": "203.0.113.9", "host": True}, "203.0.113.9 http inner"),
    # Forwarded (RFC 7239).
    "forwarded": (forwarded(f"for={CLIENT};proto=https;host=outer"), {}, f"{CLIENT} https outer"),
    "names in any case": (forwarded(f"For={CLIENT}; Proto=HTTPS"), {}, f"{CLIENT} https inner"),
    "an element for each hop": (forwarded(f"for=1.1.1.1;host=evil, for={CLIENT};host=outer, for=10.2.3.4;host=x"), {}, f"{CLIENT} http outer"),
    "a quoted node": (forwarded('for="[2001:1::7]:4711"'), {}, "2001:1::7 http inner"),
    "a hidden node": (forwarded("for=_hidden, for=10.0.0.2"), {}, "unknown http inner"),
    "no for at all": (forwarded("proto=https"), {}, "unknown https inner"),
    "malformed": (forwarded("for=<b>, for"), {}, 400),
    "an open quote before ours": (forwarded(f'for="_x, for={CLIENT}'), {}, 400),
    "a quote around ours": (forwarded('x=", for="[2001:1::7]"'), {}, 400),
    "empty forwarded": (forwarded(""), {}, 400),
    "of an untrusted peer": (forwarded("for=1.1.1.1"), {"peer": "203.0.113.9"}, "203.0.113.9 http inner"),
    # Both.
    "both agree": (xff(CLIENT, Forwarded=f"for={CLIENT};proto=https"), {}, f"{CLIENT} https inner"),
    "both disagree: one is forged": (xff(CLIENT, Forwarded="for=127.0.0.1"), {}, 400),
    "only one is read": (xff(CLIENT, Forwarded="for=127.0.0.1"), {"header": "x-forwarded"}, f"{CLIENT} http inner"),
    "only the other is read": (xff("127.0.0.1", Forwarded=f"for={CLIENT}"), {"header": "forwarded"}, f"{CLIENT} http inner"),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "options", "expected"), ROWS.values(), ids=ROWS.keys())
def test_the_client_is_who_a_trusted_word_says(headers, options, expected):
    assert ask(headers, **options) == expected


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_it_is_the_same_everywhere(serve, coloured, gateway, path, caplog):
    app = App()
    app.set_trusted_proxies(["127.0.0.1", "unix"])
    app.enable_logging()
    app.get("/")(coloured(lambda request: f"{request.client_ip} {request.scheme}"))
    with caplog.at_level("INFO"), serve(app) as client:
        answer = client.get(path, headers=xff(f"1.1.1.1, {CLIENT}", X_Forwarded_Proto="https"))
        if path == "/":
            assert answer.text == f"{CLIENT} https"
        else:
            assert answer.status == 404
    assert [record.client for record in caplog.records if record.name == "cello.access"] == [CLIENT]


def test_addresses_are_read_out_of_nodes():
    assert address_of("192.0.2.43:47011") == "192.0.2.43"
    assert address_of("[2001:db8:cafe::17") == "2001:db8:cafe::17"
    assert address_of("010.0.0.1") == "unknown"  # octal or not? nobody's


def test_a_lookup_is_remembered():
    proxies = TrustedProxies(PROXIES)
    assert proxies._trusts("10.0.0.1")
    assert proxies._trusts("10.0.0.1")
    assert proxies._trusts.cache_info().hits == 1


REFUSED = {
    "none": ([], {}, "list of addresses"),
    "a str": ("127.0.0.1", {}, "list of addresses"),
    "everybody": (["*"], {}, "neither an address"),
    "a name": (["proxy.example"], {}, "neither an address"),
    "a network with host bits": (["10.0.0.1/8"], {}, "has host bits set"),
    "another header": (["10.0.0.1"], {"header": "x-real-ip"}, "header is one of"),
}


@pytest.mark.parametrize(("proxies", "options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(proxies, options, words):
    with pytest.raises(ConfigError, match=words):
        App().set_trusted_proxies(proxies, **options)


def test_it_is_said_once():
    app = App()
    app.set_trusted_proxies(["10.0.0.1"])
    with pytest.raises(ConfigError, match=r"set_trusted_proxies\(\) was called already"):
        app.set_trusted_proxies(["10.0.0.2"])
