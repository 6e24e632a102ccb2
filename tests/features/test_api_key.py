"""API keys: which are taken, and whose they are."""

import pytest

from cello import App, ConfigError


def make_app(coloured, keys, **more):
    app = App()
    app.enable_api_key(keys, **more)
    app.get("/")(coloured(lambda request: request.context["user"]))
    return app


async def find(key):
    return {"name": "async"} if key == "secret" else None


KEYS = {
    "a list": (["other", "secret"], {"name": "key-2"}),
    "a set": ({"secret"}, {"name": "key-1"}),
    "names": ({"secret": "ann"}, {"name": "ann"}),
    "users": ({"secret": {"id": 7, "roles": ["admin"]}}, {"id": 7, "roles": ["admin"]}),
    "a function": (lambda key: key == "secret", {"name": "api-key"}),
    "a function of users": (lambda key: {"name": "f"} if key == "secret" else None, {"name": "f"}),
    "an async function": (find, {"name": "async"}),
}


@pytest.mark.parametrize(("keys", "user"), KEYS.values(), ids=KEYS.keys())
def test_a_key_is_somebodys_or_nobodys(serve, coloured, keys, user):
    with serve(make_app(coloured, keys)) as client:
        assert client.get("/", headers={"X-API-Key": "secret"}).json() == user
        for wrong in ("secre", "secrets", "Secret", "", "secret, secret"):
            assert client.get("/", headers={"X-API-Key": wrong}).status == 401


def test_the_header_may_be_another(serve):
    with serve(make_app(lambda handler: handler, ["secret"], header="X-Token")) as client:
        assert client.get("/", headers={"x-token": "secret"}).status == 200
        refused = client.get("/", headers={"X-API-Key": "secret"})
        assert refused.headers["www-authenticate"] == 'ApiKey header="X-Token"'


def test_no_key_is_kept_as_it_is():
    app = make_app(lambda handler: handler, ["a-secret-key"])
    held = vars(app.feature("api_key"))
    assert "a-secret-key" not in repr(held)


REFUSED = {
    "nothing": ([], {}, "it is empty"),
    "one key": ("secret", {}, "it is a str"),
    "a number": (5, {}, "it is a int"),
    "an empty key": (["a", ""], {}, "key 2 of keys is empty"),
    "a number among keys": ([5], {}, "key 1 of keys is no text"),
    "no header name": (["a"], {"header": "a b"}, "header 'a b' is not a header name"),
    "no header": (["a"], {"header": None}, "header None is not a header name"),
    "a path": (["a"], {"skip_paths": "/a"}, "skip_paths is a list of paths"),
}


@pytest.mark.parametrize(("keys", "options", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_at_start_up(keys, options, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_api_key(keys, **options)
