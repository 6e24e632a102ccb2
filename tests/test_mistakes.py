"""What somebody does who is new here, and the one message that says what to do instead.

Each mistake is really made: the program is run, the request sent, the command given. The words beside it are those of
the message that name the fix.
"""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cello
from cello.cli import main
from cello.errors import CelloError
from cello.testing import TestClient

HEAD = "from dataclasses import dataclass\nfrom cello import *\nfrom cello import App\n\napp = App()\n"

# What is written, and which words of the error lead on. Every one must come before the first request is served.
PROGRAMS: dict[str, tuple[str, str]] = {
    "a path without its slash": ("@app.get('users')\ndef users(): ...", "write '/users'"),
    "Flask's way to write parameters": ("@app.get('/users/<int:id>')\ndef user(id): ...", "in braces: '{id:int}'"),
    "Express' way to write parameters": ("@app.get('/users/:id')\ndef user(id): ...", "in braces: '{id}'"),
    "a converter that is called otherwise": ("@app.get('/{id:integer}')\ndef user(id): ...", "did you mean 'int'?"),
    "a brace left open": ("@app.get('/users/{id')\ndef user(id): ...", "a '{' without its '}'"),
    "one parameter twice": ("@app.get('/{id}/{id}')\ndef user(id): ...", "the parameter 'id' appears twice"),
    "a wildcard in the middle": ("@app.get('/{a:path}/end/{b:path}')\ndef f(a, b): ...", "it must come last"),
    "one route twice": ("@app.get('/')\ndef a(): ...\n@app.get('/')\ndef b(): ...", "is registered already: app.py:6"),
    "a decorator without its path": ("@app.get\ndef index(): ...", "needs a path first, as in get('/users')"),
    "one method as text": ("@app.route('/', methods='POST')\ndef index(): ...", "a list such as ['GET', 'POST']"),
    "an option mistyped": ("@app.get('/', tag=['a'])\ndef index(): ...", "did you mean 'tags'?"),
    "a parameter that the path has not": ("@app.get('/u/{id}')\ndef u(uid: int): ...", "(there are 'id'); say where"),
    "a query parameter without its marker": (
        "@app.get('/u/{id}')\ndef u(request, id, page): ...",
        "say where it comes from with Query()",
    ),
    "a handler called instead of named": (
        "def f(): return 'x'\napp.add_route('/', f())",
        "must be a function, not 'x'",
    ),
    "a class for a handler": ("@app.get('/')\nclass Index: ...", "register its methods one by one"),
    "a handler's marker mistyped": ("@app.get('/')\ndef f(page: int = Query(1, gte=1)): ...", "did you mean 'gt'?"),
    "a dependency that nobody registered": (
        "@app.get('/')\ndef f(db=Depends('db')): ...\napp.freeze()",
        "no singleton has that name (registered: none)",
    ),
    "a dependency called instead of named": (
        "def db(): return 1\n@app.get('/')\ndef f(db=Depends(db())): ...",
        "Depends takes a callable or the name of a singleton, not 1",
    ),
    "a guard's class": ("@app.get('/', guards=[Role])\ndef f(): ...", "the guard Role is a class; write Role(...)"),
    "a guard without a list": ("@app.get('/', guards=Authenticated())\ndef f(): ...", "guards must be a list"),
    "a middleware's class": ("class M:\n    def before(self, request): ...\napp.use(M)", "an instance: M(…)"),
    "ASGI middleware inside": ("class M: ...\napp.use(M())", "goes around the application: served = Middleware(app)"),
    "Flask's App(__name__)": (
        "App(__name__)",
        "App() takes no arguments, not 'mistaken': what it is called is app.name",
    ),
    "FastAPI's App(title=…)": ("App(title='Shop')", "app.enable_openapi(title=…)"),
    "FastAPI's include_router": ("app.include_router(None)", "use app.register_blueprint(blueprint)"),
    "Starlette's add_middleware": ("app.add_middleware(object)", "use app.use(middleware)"),
    "Flask's errorhandler": ("@app.errorhandler(404)\ndef f(e): ...", "use @app.exception_handler(404)"),
    "Flask's config": ("app.config['KEY'] = 1", "use app.state for your own values"),
    "a switch mistyped": ("app.enable_compresion()", "use app.enable_compression"),
    "one switch twice": ("app.enable_cors()\napp.enable_cors()", "enable_cors() was called already"),
    "credentials for everybody": ("app.enable_cors(credentials=True)", "credentials need a list of origins"),
    "an origin with a path": ("app.enable_cors(['https://a.example/'])", "without a path or slash at the end"),
    "an origin without a scheme": (
        "app.enable_cors(['a.example'])",
        "write scheme and host, as in 'https://example.com'",
    ),
    "a rate nobody knows": ("app.enable_rate_limit('100 per fortnight')", "text such as '100/minute'"),
    "a route's limit without the switch": (
        "@app.get('/', rate_limit='1/s')\ndef f(): ...\napp.freeze()",
        "app.enable_rate_limit() was not called",
    ),
    "a cached route without the switch": (
        "@app.get('/')\n@cache(ttl=3)\ndef f(): ...\napp.freeze()",
        "app.enable_caching() was not called",
    ),
    "a token's secret without its config": ("app.enable_jwt('secret')", "enable_jwt takes a JwtConfig, not a str"),
    "a token without a secret": ("app.enable_jwt(JwtConfig())", "JwtConfig.secret must be text"),
    "a secret too short": ("app.enable_session(SessionConfig(auth_keys='x'))", "such as secrets.token_urlsafe(32)"),
    "one key where keys belong": ("app.enable_api_key('abc')", "keys is a list of keys"),
    "a setting mistyped": ("LimitsConfig(max_body=3)", "did you mean 'max_body_size'?"),
    "a number as text": ("LimitsConfig(max_body_size='10MB')", "max_body_size must be a whole number, not '10MB'"),
    "settings as a dict": ("app.set_limits({'max_body_size': 1})", "set_limits() takes a LimitsConfig"),
    "a database of another kind": (
        "app.enable_database('mssql://a/b')",
        "sqlite://, postgresql://, mysql:// or mariadb://",
    ),
    "a database without the switch": ("app.database.fetch_all('SELECT 1')", "call app.enable_database() first"),
    "Redis without the switch": ("app.redis", "call app.enable_redis() first"),
    "GraphQL without the switch": ("@app.graphql.query\ndef f(info): ...", "call app.enable_graphql() first"),
    "a resolver without a type": (
        "app.enable_graphql()\n@app.graphql.query\ndef f(info): ...\napp.graphql.make_engine()",
        "say what it returns, as in `-> list[User]`",
    ),
    "a folder that is not there": ("app.enable_static_files(StaticFilesConfig('nowhere'))", "there is no folder"),
    "templates that are not there": ("app.enable_templates('nowhere')", "there is no folder"),
    "a template without the switch": ("app.render('a.html')", "needs app.enable_templates() first"),
    "an event that is called otherwise": ("@app.on_event('start')\ndef f(): ...", "use 'startup' or 'shutdown'"),
    "a hook with an argument": ("@app.on_event('startup')\ndef f(app): ...", "must take no arguments, but needs app"),
    "a hook with a yield": ("@app.on_event('startup')\nasync def f(): yield", "write @app.lifespan above it"),
    "a hook before requests without them": ("@app.before_request\ndef f(): ...", "must take (request)"),
    "a hook after requests without answers": (
        "@app.after_request\ndef f(request): ...",
        "must take (request, response)",
    ),
    "an exception handler for nothing": (
        "@app.exception_handler\ndef f(request, error): ...",
        "write @app.exception_handler(404), or (ValueError), above f",
    ),
    "an exception handler without its error": (
        "@app.exception_handler(404)\ndef f(request): ...",
        "must take (request, error)",
    ),
    "a health check without a name": ("@app.health_check\ndef f(): ...", "as in @app.health_check('disk')"),
    "a health check with an argument": ("@app.health_check('a')\ndef f(request): ...", "must take no arguments"),
    "a route too late": (
        "app.freeze()\n@app.get('/')\ndef f(): ...",
        "do it before a server, a TestClient or app.explain() starts it",
    ),
    "a blueprint twice": (
        "b = Blueprint('/a')\napp.register_blueprint(b)\napp.register_blueprint(b)",
        "is registered with <App 'cello', 0 routes> already",
    ),
    "a blueprint's name for itself": ("app.register_blueprint('users')", "takes a Blueprint, not 'users'"),
    "a mount without a slash": ("app.mount('old', lambda e, s: [])", "starts with a slash"),
    "a mount of something else": ("app.mount('/old', 3)", "only a WSGI or ASGI application can be mounted"),
    "a name of a route mistyped": (
        "@app.get('/users')\ndef users(): ...\napp.url_for('user')",
        "did you mean 'users'?",
    ),
    "a link without its parameter": ("@app.get('/u/{id}')\ndef u(id): ...\napp.url_for('u')", "it is missing 'id'"),
    "a URL for a host": ("app.enable_trusted_hosts(['https://a.example'])", "without scheme, port or path"),
    "a name for a proxy": ("app.set_trusted_proxies(['localhost'])", "a network such as '10.0.0.0/8'"),
    "one proxy as text": ("app.set_trusted_proxies('127.0.0.1')", "proxies is a list of addresses"),
    "an option of run mistyped": ("app.run(prot=1)", "did you mean 'port'?"),
    "a value that was never kept": ("app.state.db", "set it before, as in a start-up hook: app.state.db = …"),
    "an error that is none": ("raise HTTPError(200)", "status must be 400-599"),
    "a header with two lines": ("Response('', headers={'A': 'b\\r\\nc: d'})", "holds a character that cannot be sent"),
    "a token for forms without the switch": ("csrf_token(Request('GET', '/'))", "needs app.enable_csrf(...)"),
}


@pytest.mark.parametrize("mistake", PROGRAMS)
def test_a_program_is_told_what_to_write(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source, words = PROGRAMS[mistake]
    names: dict[str, Any] = {"__name__": "mistaken"}
    with pytest.raises((CelloError, AttributeError, ValueError)) as caught:
        exec(compile(HEAD + source, "app.py", "exec"), names)
    said = str(caught.value)
    assert words in said
    assert "\n" not in said
    assert caught.value.__cause__ is None or isinstance(caught.value, CelloError)


def text(value: Any) -> Callable[[], Any]:
    return lambda: value


def unawaitable(request: cello.Request) -> Any:
    async def handler() -> Any:
        return await request.json()

    return handler()


class Opaque:
    pass


# A handler, a request to it, and what the log says (that nobody but its author sees), in words that name the fix.
ANSWERS: dict[str, tuple[Callable[..., Any], str]] = {
    "a tuple for a list": (text((1, 2)), "return a list for a JSON array"),
    "an object of one's own": (text(Opaque()), "a handler cannot return Opaque: return a Response, dict, list"),
    "an object inside of JSON": (text({"a": Opaque()}), "cannot be written as JSON"),
    "a body awaited": (
        unawaitable,
        "request.json(), text(), body(), form() and files() are plain calls: drop the await",
    ),
    "a session without the switch": (lambda request: request.session["a"], "enable_session"),
}


@pytest.mark.parametrize("mistake", ANSWERS)
def test_a_handler_is_told_in_the_log_and_the_client_is_not(
    mistake: str, gateway: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler, words = ANSWERS[mistake]
    app = cello.App()
    app.add_route("/", handler, methods=["POST"])
    with caplog.at_level(logging.ERROR), TestClient(app, gateway, raise_server_exceptions=False) as client:
        answer = client.post("/", json={})
    assert answer.status_code == 500
    assert words not in answer.text
    assert words in caplog.text


# What a client sends, and what it is told.
def make_shop() -> cello.App:
    app = cello.App()

    @app.post("/books")
    def save(title: str = cello.Body(embed=True), year: int = cello.Body(embed=True)) -> Any:
        return {"title": title, "year": year}

    @app.get("/books/{id}")
    def read(id: int, page: int = cello.Query(1, ge=1)) -> Any:
        return {"id": id, "page": page}

    return app


REQUESTS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "JSON that is none": ("POST", "/books", {"content": b"{title: 'x'}"}, 400, "JSON"),
    "a member missing": ("POST", "/books", {"json": {"title": "x"}}, 422, "year"),
    "a number as text": ("POST", "/books", {"json": {"title": "x", "year": "1720"}}, 422, "year"),
    "a word for a number in the path": ("GET", "/books/first", {}, 422, "id"),
    "a page out of range": ("GET", "/books/1?page=0", {}, 422, "page"),
    "another method": ("DELETE", "/books/1", {}, 405, "Method Not Allowed"),
}


@pytest.mark.parametrize("mistake", REQUESTS)
def test_a_client_is_told_what_is_wrong(mistake: str, gateway: str) -> None:
    method, path, sent, status, words = REQUESTS[mistake]
    headers = {"content-type": "application/json"} if sent else {}
    with TestClient(make_shop(), gateway) as client:
        answer = client.request(method, path, headers=headers, **sent)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.text
    if status == 405:
        assert "GET" in answer.headers["allow"]


APP = "from cello import App\napp = App()\n\n@app.get('/')\ndef index(): ...\n\ndef make(): return app\n"

# What is typed, and what the command answers.
COMMANDS: dict[str, tuple[list[str], str]] = {
    "nothing to serve": (["run", "--port", "0"], "say which one: cello run module:app"),
    "a module that is not there": (["run", "shop:app"], "no module named 'shop'"),
    "a module of another folder": (["run", "inner.thing"], "no module named 'inner'"),
    "a file that is not there": (["run", "shop.py"], "no file 'shop.py'"),
    "a folder for a file": (["run", "folder/"], "is a folder; name the file"),
    "a name that the module has not": (["run", "web:application"], "Apps in it: app"),
    "a function instead of what it makes": (["run", "web:make"], "to call it for the App write 'web:make()'"),
    "a colon without a name": (["run", "web:"], "of the form module:app"),
    "a path for a module": (["run", "a-b:app"], "is not a module name; use dots"),
    "a module without an App": (["run", "empty"], "it should contain: app = App()"),
    "a module that does not parse": (["routes", "broken"], "SyntaxError"),
    "a certificate that is not there": (
        ["run", "web", "--certfile", "no.pem"],
        "certificate file 'no.pem' cannot be read",
    ),
    "a port beyond all": (["run", "web", "--port", "70000"], "port must be at most 65535"),
    "no workers": (["run", "web", "--workers", "0"], "workers must be at least 1"),
}


@pytest.mark.parametrize("mistake", COMMANDS)
def test_a_command_is_told_what_to_type(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    (tmp_path / "web.py").write_text(APP)
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "folder").mkdir()
    command, words = COMMANDS[mistake]
    try:
        assert main(command) == 1
    finally:
        for name in set(sys.modules) - before:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
    said = capsys.readouterr().err
    assert words in said
    assert said.count("error:") == 1


def test_there_are_as_many_as_are_promised() -> None:
    assert len(PROGRAMS) + len(ANSWERS) + len(REQUESTS) + len(COMMANDS) >= 50
