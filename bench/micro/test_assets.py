"""What static files and templates take: a request through the pipeline up to the settled answer, files not yet sent.

`python -m pytest bench/micro/test_assets.py`: in the group "a hundred requests" divide by a hundred. The rival of the
static route is "a response of a file": `Response.sendfile` of the same file by a handler.
"""

import asyncio

import pytest

from cello import App, Request, Response, StaticFilesConfig
from cello.http.head import FieldList
from cello.http.peer import Peer

PLAIN = [(b"Host", b"localhost:8000"), (b"User-Agent", b"bench/1"), (b"Accept", b"*/*")]
BROWSER = [*PLAIN, (b"Accept-Encoding", b"gzip, deflate, br, zstd")]
PEER = Peer("http", ("127.0.0.1", 54321), ("127.0.0.1", 8000))


def make_app(folder, **settings):
    """Return an application that serves a folder of one script, or a handler that sends it."""
    (folder / "a" / "b").mkdir(parents=True, exist_ok=True)
    (folder / "a" / "b" / "app.js").write_text("let app = 1;" * 100)
    app = App()
    app.enable_static_files(StaticFilesConfig(folder, **settings))
    app.get("/sendfile")(lambda: Response.sendfile(folder / "a" / "b" / "app.js"))
    return app


def measure(benchmark, app, path, fields, status=200):
    """Answer a hundred requests a round."""
    asyncio.run(app.lifecycle.startup())
    dispatcher = app.freeze()
    head = FieldList(fields)

    def answer():
        for _ in range(100):
            request = Request.incoming("GET", path, "", head, PEER)
            response = dispatcher.answer(dispatcher.plan_for(request), request)
            if not isinstance(response.payload, bytes):
                response.payload.close()
        return response

    try:
        assert benchmark(answer).status == status
    finally:
        asyncio.run(app.lifecycle.shutdown())


CASES = {
    "a response of a file": ("/sendfile", PLAIN, {}, None),
    "a file, three steps deep": ("/static/a/b/app.js", PLAIN, {}, None),
    "links are followed": ("/static/a/b/app.js", PLAIN, {"follow_symlinks": True}, None),
    "siblings are looked for": ("/static/a/b/app.js", BROWSER, {}, None),
    "a sibling is there": ("/static/a/b/app.js", BROWSER, {}, "app.js.br"),
    "not found": ("/static/nothing", PLAIN, {}, None),
}


@pytest.mark.benchmark(group="a hundred requests")
@pytest.mark.parametrize("name", CASES)
def test_a_static_file(benchmark, tmp_path, name):
    path, fields, settings, sibling = CASES[name]
    app = make_app(tmp_path, **settings)
    if sibling:
        (tmp_path / "a" / "b" / sibling).write_bytes(b"x" * 300)
    measure(benchmark, app, path, fields, 404 if name == "not found" else 200)


@pytest.mark.benchmark(group="a hundred requests, templates")
@pytest.mark.parametrize("way", ["neither", "switched on", "rendered"])
def test_a_template(benchmark, tmp_path, way):
    pytest.importorskip("jinja2")
    (tmp_path / "page.html").write_text("<h1>Hello {{ name }}</h1>{{ request.path }}")
    app = App()
    if way != "neither":
        app.enable_templates(tmp_path)
    app.get("/")(lambda: app.render("page.html", {"name": "you"}) if way == "rendered" else "hello")
    measure(benchmark, app, "/", PLAIN)
