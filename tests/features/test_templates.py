"""Templates: what they can use, what is escaped, and what handlers make of them."""

import asyncio
import sys

import pytest

from cello import CSP, App, ConfigError, MissingDependency, NotFound, Response, SecurityHeadersConfig

pytest.importorskip("jinja2", reason="the extra 'templates' is not installed")


@pytest.fixture
def folder(tmp_path):
    """A folder of templates."""
    for name, source in {
        "base.html": "<title>{% block title %}{% endblock %}</title>{% block body %}{% endblock %}",
        "page.html": '{% extends "base.html" %}{% block body %}Hello {{ name }}{% endblock %}',
        "mail.txt": "Hello {{ name }}",
        "mail.txt.j2": "Hello {{ name }}",
        "letter.md": "Hello {{ name }}",
        "where.html": "{{ request.path }} {{ url_for('item', id=7) }}",
        "nonce.html": "<script nonce='{{ csp_nonce }}'></script>",
        "form.html": "{{ csrf_token() }}",
        "later.html": "{{ later() }} {% for n in numbers() %}{{ n }}{% endfor %}",
    }.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    return tmp_path


def make_app(folder, **options):
    app = App()
    app.enable_templates(folder, **options)
    return app


def test_a_handler_that_returns_a_page_answers_with_html(serve, folder, coloured):
    app = make_app(folder)
    app.get("/")(coloured(lambda: app.render("page.html", {"name": "<b>"})))
    app.get("/status")(coloured(lambda: (app.render_string("gone: {{ 1 + 1 }}"), 410)))
    app.get("/response")(coloured(lambda: Response.html(app.render("page.html", {"name": "x"}))))
    app.get("/mail")(coloured(lambda: app.render("mail.txt", {"name": "<b>"})))
    with serve(app) as client:
        page, status, response, mail = (client.get(path) for path in ("/", "/status", "/response", "/mail"))
    html = "text/html; charset=utf-8"
    assert (page.text, page.headers["content-type"]) == ("<title></title>Hello &lt;b&gt;", html)
    assert (status.status, status.text, status.headers["content-type"]) == (410, "gone: 2", html)
    assert (response.text, response.headers["content-type"]) == ("<title></title>Hello x", html)
    assert (mail.text, mail.headers["content-type"]) == ("Hello <b>", "text/plain; charset=utf-8")


def test_the_request_and_its_urls_are_at_hand(serve, folder, coloured):
    app = make_app(folder)
    app.get("/items/{id}", name="item")(coloured(lambda: app.render("where.html")))
    with serve(app) as client:
        assert client.get("/items/1").text == "/items/1 /items/7"
    outer = App()
    outer.mount("/shop", app, "asgi")
    with serve(outer) as client:
        assert client.get("/shop/items/1").text == "/items/1 /shop/items/7"


def test_pages_of_errors_see_their_request_too(serve, folder, coloured):
    app = make_app(folder)
    app.get("/here")(coloured(lambda: "x"))
    app.exception_handler(NotFound)(
        coloured(lambda request, error: (app.render_string("no {{ request.path }}"), error.status))
    )
    app.exception_handler(405)(coloured(lambda request, error: (app.render_string("never {{ request.method }}"), 405)))
    with serve(app) as client:
        missing, refused = client.get("/nowhere"), client.post("/here")
    assert (missing.status, missing.text) == (404, "no /nowhere")
    assert (refused.status, refused.text) == (405, "never POST")


def test_requests_at_once_do_not_see_each_other(serve, folder):
    app = make_app(folder)
    arrived = asyncio.Event()

    @app.get("/first")
    async def first():
        await arrived.wait()
        return app.render_string("{{ request.path }}")

    @app.get("/second")
    async def second():
        arrived.set()
        return app.render_string("{{ request.path }}")

    from concurrent.futures import ThreadPoolExecutor

    with serve(app) as client, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.get, "/first")
        assert client.get("/second").text == "/second"
        assert waiting.result(30).text == "/first"


def test_outside_of_a_request_there_is_none(folder):
    app = make_app(folder)
    app.get("/items/{id}", name="item")(lambda id: id)
    assert app.render_string("{{ request is defined }} {{ url_for('item', id=1) }} [{{ csp_nonce }}]") == (
        "False /items/1 []"
    )


def test_the_nonce_of_the_policy_is_at_hand(serve, folder, coloured):
    app = make_app(folder)
    app.enable_security_headers(SecurityHeadersConfig(csp=CSP().script_src([CSP.NONCE])))
    app.get("/")(coloured(lambda: app.render("nonce.html")))
    with serve(app) as client:
        answer = client.get("/")
    nonce = answer.text.split("'")[1]
    assert len(nonce) > 16
    assert f"'nonce-{nonce}'" in answer.headers["content-security-policy"]


def test_the_token_against_csrf_is_whose_who_provides_it(serve, folder, coloured):
    class Protection:
        name = "protection"

        def install(self, host):
            host.provide("csrf_token", lambda request: f"token for {request.path}")

    app = make_app(folder)
    app._host.install(Protection())
    app.get("/form")(coloured(lambda: app.render("form.html")))
    with serve(app) as client:
        assert client.get("/form").text == "token for /form"


def test_a_token_that_nobody_provides_is_an_error(folder):
    with pytest.raises(ConfigError, match=r"needs app.enable_csrf\(\)"):
        make_app(folder).render("form.html")


def test_coroutines_are_awaited_by_the_async_forms(serve, folder):
    async def later():
        await asyncio.sleep(0)
        return "<now>"

    async def numbers():
        for number in range(3):
            await asyncio.sleep(0)
            yield number

    app = make_app(folder, globals={"later": later, "numbers": numbers})

    @app.get("/")
    async def page():
        return await app.render_async("later.html")

    @app.get("/string")
    async def string():
        return await app.render_string_async("{{ later() }} {{ request.path }} {{ x }}", {"x": 1})

    with serve(app) as client:
        assert client.get("/").text == "&lt;now&gt; 012"
        assert client.get("/string").text == "&lt;now&gt; /string 1"


@pytest.mark.parametrize(
    ("name", "auto_escape", "expected"),
    [
        ("page.html", True, "<title></title>Hello &lt;i&gt;"),
        ("page.html", False, "<title></title>Hello <i>"),
        ("letter.md", True, "Hello &lt;i&gt;"),
        ("mail.txt", True, "Hello <i>"),
        ("mail.txt.j2", True, "Hello <i>"),
    ],
)
def test_all_is_escaped_but_plain_text(folder, name, auto_escape, expected):
    assert str(make_app(folder, auto_escape=auto_escape).render(name, {"name": "<i>"})) == expected


def test_a_string_is_escaped_too(folder):
    app = make_app(folder)
    assert app.render_string("<p>{{ x }} {{ y|safe }}", {"x": "<i>", "y": "<b>"}) == "<p>&lt;i&gt; <b>"
    assert type(make_app(folder, auto_escape=False).render_string("{{ 1 }}")) is str


def test_globals_and_filters(folder):
    app = make_app(folder, globals={"site": "Shop"}, filters={"money": lambda cents: f"{cents / 100:.2f}"})
    app.feature("templates").environment.globals["year"] = 2026
    assert app.render_string("{{ site }} {{ 1999|money }} {{ year }}") == "Shop 19.99 2026"
    assert asyncio.run(app.render_string_async("{{ site }} {{ 1999|money }} {{ year }}")) == "Shop 19.99 2026"
    assert app.render_string("{{ site }}", {"site": "mine"}) == "mine"


def test_an_unknown_variable_is_nothing_or_an_error(folder):
    from jinja2 import UndefinedError

    assert make_app(folder).render_string("[{{ nmae }}]") == "[]"
    with pytest.raises(UndefinedError, match="nmae"):
        make_app(folder, strict=True).render_string("[{{ nmae }}]")


def test_several_folders_the_first_before_the_others(folder, tmp_path_factory):
    theme = tmp_path_factory.mktemp("theme")
    (theme / "mail.txt").write_text("Themed {{ name }}")
    app = make_app([theme, folder])
    assert app.render("mail.txt", {"name": "x"}) == "Themed x"
    assert "Hello x" in app.render("page.html", {"name": "x"})


@pytest.mark.parametrize("name", ["../secret.html", "/etc/passwd", "nothing.html"])
def test_templates_are_those_of_the_folder(folder, name):
    from jinja2 import TemplateNotFound

    (folder.parent / "secret.html").write_text("secret")
    with pytest.raises(TemplateNotFound):
        make_app(folder).render(name)


@pytest.mark.parametrize("debug", [False, True])
def test_changed_templates_are_read_again_while_developing(serve, folder, debug):
    app = make_app(folder)
    app.debug = debug
    app.get("/")(lambda: app.render("mail.txt", {"name": "x"}))
    with serve(app) as client:
        assert client.get("/").text == "Hello x"
        (folder / "mail.txt").write_text("Good-bye {{ name }}")
        assert client.get("/").text == ("Good-bye x" if debug else "Hello x")


def test_a_broken_template_is_500_and_logged(serve, folder, coloured, caplog):
    app = make_app(folder)
    (folder / "broken.html").write_text("{% if %}")
    app.get("/")(coloured(lambda: app.render("broken.html")))
    with serve(app) as client:
        answer = client.get("/")
    assert answer.status == 500
    assert "broken.html" not in answer.text
    assert "TemplateSyntaxError" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"template_dir": "nowhere"}, "there is no folder"),
        ({"template_dir": 7}, "iterable|path of a folder"),
        ({"template_dir": [7]}, "path of a folder"),
        ({"auto_escape": "yes"}, "auto_escape is True or False"),
        ({"strict": 1}, "strict is True or False"),
        ({"globals": ["x"]}, "globals is a dict"),
        ({"filters": ["x"]}, "filters is a dict"),
    ],
)
def test_what_cannot_be_is_refused(folder, arguments, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_templates(**{"template_dir": folder, **arguments})


def test_without_a_folder_there_are_strings(tmp_path):
    app = App()
    app.enable_templates(None)
    assert app.render_string("{{ 1 }}") == "1"


@pytest.mark.parametrize("call", ["render", "render_string"])
def test_rendering_without_the_switch_says_which(call):
    with pytest.raises(ConfigError, match=r"needs app.enable_templates\(\) first"):
        getattr(App(), call)("x")


def test_without_jinja_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependency, match=r"enable_templates needs 'jinja2': pip install 'cello\[templates\]'"):
        App().enable_templates(folder)
