"""HTTP Basic: what is taken for a name and a password, and how they are checked."""

import sys
from base64 import b64encode

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from cello import App, ConfigError, HTTPError, MissingDependency
from cello.features import basic_auth
from cello.features.basic_auth import Passwords, parse

CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


def basic(text):
    return {"Authorization": "Basic " + b64encode(text if isinstance(text, bytes) else text.encode()).decode()}


def make_app(coloured, credentials, **more):
    app = App()
    app.enable_basic_auth(credentials, **more)
    app.get("/")(coloured(lambda request: request.context["user"]))
    return app


CREDENTIALS = {
    "plain passwords": {"ann": "right", "bob": "other"},
    "argon2 hashes": {"ann": CHEAP.hash("right"), "bob": CHEAP.hash("other")},
    "both": {"ann": CHEAP.hash("right"), "bob": "other"},
    "a function": lambda name, password: (name, password) == ("ann", "right"),
}


async def ask(name, password):
    return (name, password) == ("ann", "right")


@pytest.mark.parametrize("credentials", [*CREDENTIALS.values(), ask], ids=[*CREDENTIALS, "an async function"])
def test_name_and_password_must_both_be_right(serve, coloured, credentials):
    with serve(make_app(coloured, credentials)) as client:
        for _ in range(2):  # what was verified is remembered, for this name and password alone
            assert client.get("/", headers=basic("ann:right")).json() == {"name": "ann"}
            assert client.get("/", headers=basic("ann:wrong")).status == 401
            assert client.get("/", headers=basic("bob:right")).status == 401
            assert client.get("/", headers=basic("eve:right")).status == 401


SENT = {
    "no base64": ({"Authorization": "Basic !!!"}, 401),
    "no colon": (basic("annright"), 401),
    "nothing": ({"Authorization": "Basic"}, 401),
    "another scheme": ({"Authorization": "Bearer YW5uOnJpZ2h0"}, 401),
    "not utf-8": (basic(b"ann:\xff"), 401),
    "a control character": (basic("ann:right\n"), 401),
    "the scheme in other letters": ({"Authorization": "bAsIc " + b64encode(b"ann:right").decode()}, 200),
    "a colon in the password": (basic("col:a:b"), 200),
    "another alphabet": (basic("zoë:pässwörd"), 200),
}


@pytest.mark.parametrize(("headers", "status"), SENT.values(), ids=SENT.keys())
def test_what_is_sent_is_read_as_the_standard_says(serve, headers, status):
    users = {"ann": "right", "col": "a:b", "zoë": "pässwörd"}
    with serve(make_app(lambda handler: handler, users)) as client:
        assert client.get("/", headers=headers).status == status


@pytest.mark.parametrize("encoded", [b"YW5uOnJpZ2h0", b"  YW5uOnJpZ2h0 "])
def test_credentials_are_parsed(encoded):
    assert parse(encoded) == ("ann", "right")


def test_the_user_is_what_the_function_returns(serve, coloured):
    with serve(make_app(coloured, lambda name, password: {"name": name, "roles": ["admin"]})) as client:
        assert client.get("/", headers=basic("a:b")).json() == {"name": "a", "roles": ["admin"]}


def test_a_function_that_raises_lets_nobody_in(serve, coloured):
    def broken(name, password):
        raise ValueError("no database")

    def busy(name, password):
        raise HTTPError(503, "Later.")

    with serve(make_app(coloured, broken)) as client:
        assert client.get("/", headers=basic("a:b")).status == 500
    with serve(make_app(coloured, busy)) as client:
        assert client.get("/", headers=basic("a:b")).status == 503


def test_an_unknown_name_costs_a_verification_too(monkeypatch):
    passwords = Passwords({"ann": CHEAP.hash("right")})
    calls = []
    monkeypatch.setattr(passwords, "_verify_hash", lambda hashed, password: calls.append(hashed) or True)
    assert passwords.verify("eve", "right") is False
    assert calls == [passwords._hashes["ann"]]
    passwords.close()


def test_a_verified_password_is_remembered_for_a_while_only(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(basic_auth.time, "monotonic", lambda: now[0])
    passwords = Passwords({"ann": CHEAP.hash("right")})
    calls = []
    monkeypatch.setattr(passwords, "_verify_hash", lambda hashed, password: calls.append(1) or password == "right")
    for password in ("right", "right", "wrong", "wrong"):
        passwords.verify("ann", password)
    assert len(calls) == 3
    now[0] += basic_auth.REMEMBERED_S
    passwords.verify("ann", "right")
    assert len(calls) == 4
    assert b"right" not in b"".join(passwords._remembered)
    passwords.close()


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(basic_auth, "MOST_REMEMBERED", 3)
    passwords = Passwords({"ann": CHEAP.hash("right")})
    monkeypatch.setattr(passwords, "_verify_hash", lambda hashed, password: True)
    for number in range(10):
        passwords.verify("ann", str(number))
    assert len(passwords._remembered) <= 3
    passwords.close()


def test_the_realm_is_quoted(serve):
    with serve(make_app(lambda handler: handler, {"a": "b"}, realm='the "inner" room')) as client:
        challenge = client.get("/").headers["www-authenticate"]
    assert challenge == 'Basic realm="the \\"inner\\" room", charset="UTF-8"'


REFUSED = {
    "credentials of another kind": (["ann"], {}, "credentials maps names"),
    "a class": (dict, {}, "is the class dict"),
    "a name with a colon": ({"a:b": "x"}, {}, "in credentials is no name"),
    "a name that is none": ({1: "x"}, {}, "in credentials is no name"),
    "an empty password": ({"a": ""}, {}, "the password of 'a'"),
    "no hash": ({"a": "$argon2id$v=19$broken"}, {}, "hash of 'a' in credentials is malformed"),
    "a realm of two lines": ({"a": "b"}, {"realm": "a\nb"}, "realm is a line"),
    "a realm beyond ascii": ({"a": "b"}, {"realm": "Zoë"}, "realm is a line"),
    "a path": ({"a": "b"}, {"skip_paths": "/a"}, "skip_paths is a list of paths"),
    "no path": ({"a": "b"}, {"skip_paths": ["a"]}, "skip_paths is a list of paths"),
}


@pytest.mark.parametrize(("credentials", "options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(credentials, options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_basic_auth(credentials, **options)


def test_hashes_need_argon2(monkeypatch):
    monkeypatch.setitem(sys.modules, "argon2", None)
    with pytest.raises(MissingDependency, match=r"cello\[auth\]"):
        App().enable_basic_auth({"ann": "$argon2id$x"})
    App().enable_basic_auth({"ann": "plain"})


def test_the_hashes_are_those_of_the_library():
    with pytest.raises(VerifyMismatchError):
        CHEAP.verify(CREDENTIALS["argon2 hashes"]["ann"], "wrong")
