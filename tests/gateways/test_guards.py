"""Guards are the same everywhere: kinds × outcomes × colours × gateways."""

from typing import Any

import pytest

from cello import App, Blueprint, HTTPError
from cello.guards import And, Authenticated, Guard, Not, Or, Role
from cello.pipeline.middleware import IDENTIFY, Middleware

OUTCOMES: dict[str, tuple[Any, int, str | None]] = {
    "True": (True, 200, None),
    "None": (None, 200, None),
    "False": (False, 403, None),
    "a message": ("Not today.", 403, None),
    "no verdict at all": (1, 403, None),
    "an error of its own": (HTTPError(418, "Tea."), 418, None),
    "a sign-in wanted": (HTTPError(401, "Who?"), 401, "Bearer"),
    "a failure": (RuntimeError("secret"), 403, None),
}


def guard_of(kind: str, verdict: Any, coloured: Any) -> Any:
    """Return a guard of some kind that returns or raises `verdict`."""

    def judge(request: Any) -> Any:
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict

    plain = coloured(judge)
    if kind == "a function":
        return plain

    class Object(Guard):
        def check(self, request: Any) -> Any:
            return plain(request)

    return {"an object": Object(), "both": And(Object(), plain), "either": Or(lambda request: False, plain)}[kind]


@pytest.mark.parametrize("place", ["route", "blueprint", "app"])
@pytest.mark.parametrize("kind", ["a function", "an object", "both", "either"])
def test_a_guard_decides_the_same_on_every_gateway(serve, coloured, kind, place):
    called: list[str] = []
    app = App()
    for name, (verdict, _, _) in OUTCOMES.items():
        guard = guard_of(kind, verdict, coloured)
        path = "/" + name.replace(" ", "-")

        @coloured
        def handler(request):
            called.append(request.path)
            return {"passed": True}

        if place == "route":
            app.get(path, guards=[guard])(handler)
        elif place == "blueprint":
            blueprint = Blueprint(path, guards=[guard])
            blueprint.get("")(handler)
            app.register_blueprint(blueprint)
        else:
            app.get(path)(handler)
            app.add_guard(lambda request, guard=guard, path=path: guard(request) if request.path == path else None)
    with serve(app) as client:
        for name, (_, status, challenge) in OUTCOMES.items():
            path = "/" + name.replace(" ", "-")
            answer = client.get(path)
            assert (name, answer.status) == (name, status)
            assert (path in called) is (status == 200)
            assert answer.headers.get("www-authenticate") == challenge
            if status != 200:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["status"] == status
                assert "secret" not in answer.text


class Identify(Middleware):
    band = IDENTIFY

    def before(self, request):
        name = request.get_header("x-user")
        if name is not None:
            request.context["user"] = {"name": name, "roles": [name]}


WHO = {
    "anybody": ([], {None: 200, "ada": 200, "boss": 200}),
    "signed in": ([Authenticated()], {None: 401, "ada": 200, "boss": 200}),
    "of a role": ([Role("boss")], {None: 401, "ada": 403, "boss": 200}),
    "strangers only": ([Not(Authenticated())], {None: 200, "ada": 403, "boss": 403}),
    "one of two": ([Or(Role("boss"), Not(Authenticated()))], {None: 200, "ada": 403, "boss": 200}),
}


@pytest.mark.parametrize(("guards", "expected"), WHO.values(), ids=WHO.keys())
def test_who_may_pass_is_the_same_on_every_gateway(serve, coloured, guards, expected):
    app = App()
    app.use(Identify())
    app.get("/", guards=guards)(coloured(lambda request: {"passed": True}))
    with serve(app) as client:
        for user, status in expected.items():
            answer = client.get("/", headers={} if user is None else {"X-User": user})
            assert answer.status == status
            assert ("www-authenticate" in answer.headers) is (status == 401)
