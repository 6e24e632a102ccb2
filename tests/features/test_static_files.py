"""Static files: which file a path means, what its answer says, and what is never handed out."""

import errno
import gzip
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from cello import App, ConfigError, Middleware, Response, StaticFilesConfig
from cello.features import folders
from cello.http.files import FilePayload

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and devices are of POSIX")


@pytest.fixture
def site(tmp_path):
    """A folder to be served, beside a secret that is not."""
    root = tmp_path / "public"
    (root / "docs").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / ".git").mkdir()
    (root / ".well-known").mkdir()
    for name, text in {
        "app.js": "let app = 1;" * 50,
        "plain.txt": "0123456789",
        "index.html": "<h1>home</h1>",
        "docs/index.html": "<h1>docs</h1>",
        "docs/grüße & <b>.txt": "hello",
        ".env": "PASSWORD=x",
        ".git/config": "x",
        ".well-known/security.txt": "Contact: me",
    }.items():
        (root / name).write_text(text, encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "public-too").mkdir()
    (tmp_path / "public-too" / "secret.txt").write_text("secret")
    return root


def make_app(root, **settings):
    app = App()
    app.enable_static_files(StaticFilesConfig(root, **settings))
    return app


# -- what is served --


@pytest.mark.parametrize(
    ("path", "content_type", "text"),
    [
        ("/static/plain.txt", "text/plain; charset=utf-8", "0123456789"),
        ("/static/app.js", "text/javascript; charset=utf-8", "let app = 1;" * 50),
        ("/static/", "text/html; charset=utf-8", "<h1>home</h1>"),
        ("/static/docs/", "text/html; charset=utf-8", "<h1>docs</h1>"),
        ("/static/docs/gr%C3%BC%C3%9Fe%20&%20%3Cb%3E.txt", "text/plain; charset=utf-8", "hello"),
        ("/static/.well-known/security.txt", "text/plain; charset=utf-8", "Contact: me"),
    ],
)
def test_a_path_means_a_file(serve, site, path, content_type, text):
    with serve(make_app(site)) as client:
        answer = client.get(path)
        head = client.head(path)
    assert (answer.status, answer.headers["content-type"], answer.text) == (200, content_type, text)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (head.status, head.content) == (200, b"")
    for name in ("content-length", "etag", "last-modified", "content-type", "accept-ranges"):
        assert head.headers[name] == answer.headers[name]


@pytest.mark.parametrize("path", ["/static", "/static/docs", "/static/docs?a=1&b=%20"])
def test_a_folder_has_its_slash(serve, site, path):
    with serve(make_app(site)) as client:
        answer = client.get(path, follow_redirects=False)
    before, mark, query = path.partition("?")
    assert (answer.status, answer.headers["location"]) == (308, f"{before}/{mark}{query}")


@pytest.mark.parametrize("path", ["/static/plain.txt/", "/static/nothing", "/static/empty/", "/static/empty", "/other"])
def test_what_is_not_there_is_404(serve, site, path):
    with serve(make_app(site)) as client:
        answer = client.get(path, follow_redirects=False)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_files_are_only_read(serve, site, method):
    with serve(make_app(site)) as client:
        answer = client.request(method, "/static/plain.txt")
        options = client.options("/static/plain.txt")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


def test_several_folders_and_the_whole_site_stand_behind_routes(serve, site, coloured):
    app = make_app(site / "docs", prefix="/docs")
    app.enable_static_files(StaticFilesConfig(site, prefix="/"))
    app.get("/plain.txt")(coloured(lambda: "a route"))
    with serve(app) as client:
        assert client.get("/docs/").text == "<h1>docs</h1>"
        assert client.get("/").text == "<h1>home</h1>"
        assert client.get("/app.js").status == 200
        assert client.get("/plain.txt").text == "a route"
        assert client.get("/nothing").status == 404


def test_urls_are_built_by_name(site):
    app = make_app(site)
    app.enable_static_files(StaticFilesConfig(site, prefix="/assets/v1"))
    app.enable_static_files(StaticFilesConfig(site, prefix="/", name="site"))
    assert app.url_for("static", path="docs/a b.txt") == "/static/docs/a%20b.txt"
    assert app.url_for("assets.v1", path="app.js") == "/assets/v1/app.js"
    assert app.url_for("site", path="app.js") == "/app.js"


def test_below_a_mount_the_way_to_the_slash_is_below_it_too(serve, site):
    outer = App()
    outer.mount("/app", make_app(site), "asgi")
    with serve(outer) as client:
        answer = client.get("/app/static/docs", follow_redirects=False)
        assert answer.headers["location"] == "/app/static/docs/"
        assert client.get("/app/static/docs/").text == "<h1>docs</h1>"


def test_guards_and_middleware_hold_for_files_too(serve, site, coloured):
    class Mark(Middleware):
        @coloured
        def after(self, request, response):
            response.set_header("X-Mark", "yes")

    app = make_app(site)
    app.use(Mark())
    app.add_guard(coloured(lambda request: "may" in request.query))
    with serve(app) as client:
        refused, allowed = client.get("/static/app.js"), client.get("/static/app.js?may")
    assert (refused.status, allowed.status) == (403, 200)
    assert allowed.headers["x-mark"] == "yes"


def test_the_folder_may_be_exchanged_at_any_time(serve, tmp_path):
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "a.txt").write_text(release)
    current = tmp_path / "current"
    current.mkdir()
    app = make_app(current)
    with serve(app) as client:
        assert client.get("/static/a.txt").status == 404
        current.rmdir()
        assert client.get("/static/a.txt").status == 404
        (tmp_path / "two").rename(current)
        assert client.get("/static/a.txt").text == "two"


def test_files_are_not_in_the_openapi_document(site):
    app = make_app(site)
    app.get("/api")(lambda: {"a": 1})
    assert list(app.openapi()["paths"]) == ["/api"]


# -- what is never handed out --

ATTEMPTS = [
    "/static/../secret.txt",
    "/static/%2e%2e/secret.txt",
    "/static/%2E%2E%2Fsecret.txt",
    "/static/..%2fsecret.txt",
    "/static/docs/../../secret.txt",
    "/static/docs/%2e%2e/%2e%2e/secret.txt",
    "/static/..%5csecret.txt",
    "/static/..%5Csecret.txt",
    "/static/%252e%252e/secret.txt",
    "/static/..;/secret.txt",
    "/static/....//secret.txt",
    "/static/./app.js",
    "/static//app.js",
    "/static/docs//index.html",
    "/static//etc/passwd",
    "/static/%2Fetc%2Fpasswd",
    "/static/docs%2Findex.html",
    "/static/app.js%00",
    "/static/app.js%00.txt",
    "/static/%c0%ae%c0%ae/secret.txt",
    "/static/%ff",
    "/static/%",
    "/static/%u002e%u002e/secret.txt",
    "/static/\u2025/secret.txt",
    "/static/%EF%BC%8E%EF%BC%8E/secret.txt",
    "/static/..",
    "/static/../",
    "/static/%2e%2e",
    "/static-too/secret.txt",
    "/static/../public-too/secret.txt",
    "/static/" + "a" * 300,
    "/static/" + "a/" * 1000,
    "/static/.env",
    "/static/%2Eenv",
    "/static/.git/config",
    "/static/C:/secret.txt",
    "/static/file:///etc/passwd",
]


@pytest.mark.parametrize("path", ATTEMPTS)
def test_no_path_leads_elsewhere(serve, site, path):
    with serve(make_app(site, directory_listing=True)) as client:
        answer = client.get(path, follow_redirects=False)
    assert answer.status in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_host_that_keeps_no_encoded_path_gives_away_no_more(site):
    app = make_app(site)
    for path in ("/static/../secret.txt", "/static//etc/passwd", "/static/docs\\index.html", "/static/app.js\0"):
        environ = {
            "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "a",
            "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr,
        }  # fmt: skip
        seen = []
        b"".join(app.wsgi(environ, lambda status, headers, exc_info=None, seen=seen: seen.append(status)))
        assert seen[0].startswith("404"), path


def test_names_with_a_dot_only_on_request(serve, site):
    with serve(make_app(site, hidden_files=True)) as client:
        assert client.get("/static/.env").text == "PASSWORD=x"
        assert client.get("/static/../secret.txt").status == 404


@posix
@pytest.mark.parametrize("follow", [False, True], ids=["not followed", "followed"])
def test_links_are_followed_by_choice(serve, site, follow):
    (site / "file-link.txt").symlink_to(site.parent / "secret.txt")
    (site / "folder-link").symlink_to(site.parent / "public-too")
    (site / "inside.txt").symlink_to("plain.txt")
    (site / "loop").symlink_to("loop")
    (site / "broken").symlink_to("nowhere")
    (site / "app.js.gz").symlink_to(site.parent / "secret.txt")
    paths = ["file-link.txt", "folder-link/secret.txt", "inside.txt"]
    with serve(make_app(site, follow_symlinks=follow, directory_listing=True, index_file=None)) as client:
        statuses = [client.get(f"/static/{path}").status for path in paths]
        assert [client.get(f"/static/{path}").status for path in ("loop", "broken")] == [404, 404]
        listing = client.get("/static/").text
        script = client.get("/static/app.js", headers={"Accept-Encoding": "gzip"})
    assert statuses == ([200] * 3 if follow else [404] * 3)
    assert ("file-link.txt" in listing, "broken" in listing, "loop" in listing) == (follow, False, False)
    assert ("content-encoding" in script.headers) is follow


@posix
def test_the_folder_itself_may_be_a_link(serve, site, tmp_path):
    (tmp_path / "current").symlink_to(site)
    with serve(make_app(tmp_path / "current")) as client:
        assert client.get("/static/docs/").text == "<h1>docs</h1>"


@posix
def test_a_link_put_in_between_is_not_followed(site, monkeypatch):
    """A step that was a folder when it was looked at, and is a link when it is opened: there is no look."""
    folder = folders.Folder(str(site), follow_symlinks=False, hidden_files=False)
    real_open = os.open

    def swap(path, *args, **named):
        if path == "docs":
            (site / "docs").rename(site / "old")
            (site / "docs").symlink_to(site.parent / "public-too")
        return real_open(path, *args, **named)

    (site / "docs" / "secret.txt").write_text("public")
    monkeypatch.setattr(os, "open", swap)
    monkeypatch.setattr("cello.features.folders._CAN_OPEN_BENEATH", True)
    assert folder.open(["docs", "secret.txt"]) is None


def test_where_steps_cannot_be_opened_beneath_each_other_links_are_looked_for(site, monkeypatch):
    monkeypatch.setattr("cello.features.folders._CAN_OPEN_BENEATH", False)
    (site / "link.txt").symlink_to("plain.txt")
    (site / "folder-link").symlink_to("docs")
    folder = folders.Folder(str(site), follow_symlinks=False, hidden_files=False)
    assert folder.open(["link.txt"]) is None
    assert folder.open(["folder-link", "index.html"]) is None
    (site / "docs" / "index.html.br").symlink_to("index.html")
    opened = folder.open(["docs", "index.html"], [".br"])
    os.close(opened.descriptor)
    assert (opened.is_file, opened.suffix) == (True, "")


@posix
def test_only_files_are_sent(serve, site):
    os.mkfifo(site / "pipe")
    with socket.socket(socket.AF_UNIX) as unix, serve(make_app(site)) as client:
        unix.bind(os.path.relpath(site / "socket"))
        assert client.get("/static/pipe").status == 404
        assert client.get("/static/socket").status == 404


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENAMETOOLONG])
def test_what_may_not_be_read_is_not_there(serve, site, monkeypatch, code):
    def fail(*args, **named):
        raise OSError(code, os.strerror(code))

    with serve(make_app(site)) as client:
        monkeypatch.setattr(folders.os, "open", fail)
        assert client.get("/static/plain.txt").status == 404


def test_a_fault_of_the_machine_is_no_missing_file(serve, site, monkeypatch):
    """Nobody may learn, and caches may not keep, that a file is not there only because descriptors ran out."""

    def fail(*args, **named):
        raise OSError(errno.EMFILE, "Too many open files")

    with serve(make_app(site)) as client:
        monkeypatch.setattr(folders.os, "open", fail)
        assert client.get("/static/plain.txt").status == 500


@posix
def test_no_descriptor_is_left_open(serve, site):
    (site / "app.js.gz").write_bytes(gzip.compress(b"x"))
    (site / "app.js.br").mkdir()
    (site / "docs" / "index.html").unlink()
    (site / "docs" / "index.html").mkdir()
    app = make_app(site, directory_listing=True)
    headers = {"Accept-Encoding": "gzip, br"}
    paths = ["app.js", "plain.txt/", "", "docs", "docs/", "empty", "nothing", "plain.txt"]
    with serve(app) as client:
        for path in paths:
            client.get(f"/static/{path}", headers=headers, follow_redirects=False)
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
        for _ in range(5):
            for path in paths:
                client.get(f"/static/{path}", headers=headers, follow_redirects=False)
                client.head(f"/static/{path}", headers=headers, follow_redirects=False)
                client.get(f"/static/{path}", headers={"Range": "bytes=99999-"}, follow_redirects=False)
                client.get(f"/static/{path}", headers={"If-None-Match": "*"}, follow_redirects=False)
        after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
    assert after <= before + 2  # threads of the host may have opened something of their own, once


async def test_a_host_that_opens_paths_by_itself_is_given_none(site):
    """The file that was opened with care is sent, whatever its path leads to by then."""
    sent = []

    async def receive():
        (site / "plain.txt").unlink()
        (site / "plain.txt").symlink_to(site.parent / "secret.txt")
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    app = make_app(site)
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": "/static/plain.txt", "query_string": b"", "headers": [], "extensions": {"http.response.pathsend": {}},
    }  # fmt: skip
    pinned = FilePayload.opened("x", os.open(site / "plain.txt", os.O_RDONLY), 10)

    @app.get("/pinned")
    def handler():
        response = Response(b"")
        response.payload = pinned
        return response

    await app.asgi({**scope, "path": "/pinned"}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b"0123456789"
    await app.asgi(scope, receive, sent.clear() or send)
    assert sent[0]["status"] == 404


def test_a_file_that_was_handed_over_open_is_never_opened_again(site):
    payload = FilePayload.opened(str(site / "plain.txt"), os.open(site / "plain.txt", os.O_RDONLY), 10)
    assert b"".join(payload.chunks()) == b"0123456789"
    for again in (payload.open, payload.prepare):
        with pytest.raises(OSError, match="is closed by now"):
            again()


# -- what an answer says --


def test_what_a_client_has_is_not_sent_again(serve, site):
    with serve(make_app(site, cache_control="public, max-age=60")) as client:
        first = client.get("/static/plain.txt")
        by_tag = client.get("/static/plain.txt", headers={"If-None-Match": first.headers["etag"]})
        by_date = client.get("/static/plain.txt", headers={"If-Modified-Since": first.headers["last-modified"]})
        other = client.get("/static/plain.txt", headers={"If-None-Match": '"x"'})
        failed = client.get("/static/plain.txt", headers={"If-Match": '"x"'})
    assert [answer.status for answer in (first, by_tag, by_date, other, failed)] == [200, 304, 304, 200, 412]
    for answer in (first, by_tag, by_date):
        assert answer.headers["cache-control"] == "public, max-age=60"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["etag"] == first.headers["etag"]
    assert (by_tag.content, by_date.content) == (b"", b"")


def test_a_changed_file_has_another_tag(serve, site):
    with serve(make_app(site)) as client:
        before = client.get("/static/plain.txt")
        (site / "plain.txt").write_text("another text")
        after = client.get("/static/plain.txt", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status, after.text) == (200, "another text")
    assert after.headers["etag"] != before.headers["etag"]


@pytest.mark.parametrize(
    ("wanted", "status", "content", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=20-", 416, b"", "bytes */10"),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_ranges(serve, site, wanted, status, content, content_range):
    with serve(make_app(site)) as client:
        answer = client.get("/static/plain.txt", headers={"Range": wanted})
    assert (answer.status, answer.content, answer.headers.get("content-range")) == (status, content, content_range)


def test_several_ranges(serve, site):
    with serve(make_app(site)) as client:
        answer = client.get("/static/plain.txt", headers={"Range": "bytes=0-1,5-6"})
    assert answer.status == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert re.findall(rb"Content-Range: (.*?)\r", answer.content) == [b"bytes 0-1/10", b"bytes 5-6/10"]


@pytest.mark.parametrize("path", ["/static/plain.txt", "/static/app.js"])
def test_validators_can_be_left_out(serve, site, path):
    (site / "app.js.gz").write_bytes(b"x")
    app = make_app(site, enable_etag=False, enable_last_modified=False)
    with serve(app) as client:
        answer = client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": "*"})
    assert answer.status == 200
    assert not {"etag", "last-modified"} & set(answer.headers)


@pytest.mark.parametrize("kept", ["etag", "last-modified"])
def test_one_validator_can_be_left_out(serve, site, kept):
    app = make_app(site, enable_etag=kept == "etag", enable_last_modified=kept == "last-modified")
    with serve(app) as client:
        answer = client.get("/static/plain.txt")
        ranged = client.get("/static/plain.txt", headers={"Range": "bytes=0-1"})
    assert {"etag", "last-modified"} & set(answer.headers) == {kept}
    assert {"etag", "last-modified"} & set(ranged.headers) == {kept}
    assert ranged.status == 206


ACCEPTED = [
    pytest.param(None, None, id="says nothing"),
    pytest.param("", None, id="wants none"),
    pytest.param("gzip", "gzip", id="gzip alone"),
    pytest.param("x-gzip", "gzip", id="its old name"),
    pytest.param("gzip, deflate, br, zstd", "br", id="a browser: the smallest"),
    pytest.param("br;q=0.5, gzip", "gzip", id="by weight"),
    pytest.param("br;q=0, *", "zstd", id="anything but one"),
    pytest.param("*", "br", id="anything"),
    pytest.param("identity, gzip;q=0.5", None, id="rather as it is"),
    pytest.param("deflate, snappy", None, id="none of ours"),
    pytest.param("gzip;q=nonsense, zstd;q=0.1", "zstd", id="a malformed member is ignored"),
]


@pytest.mark.parametrize(("accept", "coding"), ACCEPTED)
def test_what_was_compressed_beforehand_goes_to_who_can_read_it(serve, site, accept, coding):
    for suffix in ("br", "zst", "gz"):
        (site / f"app.js.{suffix}").write_bytes(suffix.encode() * 3)
    sent = {} if accept is None else {"Accept-Encoding": accept}
    with serve(make_app(site)) as client:
        plain = client.get("/static/app.js", headers={"Accept-Encoding": "identity"})
        answer = client.get("/static/app.js", headers={"Accept-Encoding": "", **sent})
    expected = {"br": b"brbrbr", "zstd": b"zstzstzst", "gzip": b"gzgzgz", None: plain.content}[coding]
    assert (answer.headers.get("content-encoding"), answer.content) == (coding, expected)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert (answer.headers["etag"] == plain.headers["etag"]) is (coding is None)


def test_siblings_of_one_size_and_time_have_tags_of_their_own(serve, site):
    for suffix in ("br", "gz"):
        (site / f"app.js.{suffix}").write_bytes(b"xxx")
        os.utime(site / f"app.js.{suffix}", (1, 1))
    with serve(make_app(site)) as client:
        tags = {
            client.get("/static/app.js", headers={"Accept-Encoding": name}).headers["etag"]
            for name in ("br", "gzip", "identity")
        }
    assert len(tags) == 3


def test_a_sibling_is_only_a_form_of_what_is_there(serve, site):
    (site / "gone.js.gz").write_bytes(b"x")
    with serve(make_app(site)) as client:
        assert client.get("/static/gone.js", headers={"Accept-Encoding": "gzip"}).status == 404
        assert client.get("/static/gone.js.gz").headers["content-type"] == "application/gzip"


def test_siblings_can_be_left_alone(serve, site):
    (site / "app.js.gz").write_bytes(b"x")
    with serve(make_app(site, precompressed=False)) as client:
        answer = client.get("/static/app.js", headers={"Accept-Encoding": "gzip"})
    assert not {"content-encoding", "vary"} & set(answer.headers)


def test_compression_leaves_siblings_alone_and_compresses_the_rest(serve, site):
    (site / "app.js.gz").write_bytes(gzip.compress(b"beforehand"))
    (site / "other.js").write_text("let other = 2;" * 500)
    app = make_app(site)
    app.enable_compression()
    with serve(app) as client:
        sent = {"Accept-Encoding": "gzip"}
        assert gzip.decompress(client.get("/static/app.js", headers=sent).content) == b"beforehand"
        other = client.get("/static/other.js", headers=sent)
    assert other.headers["content-encoding"] == "gzip"
    assert gzip.decompress(other.content).decode() == "let other = 2;" * 500
    assert other.headers["vary"] == "Accept-Encoding"


# -- listings --


def test_listings_are_off(serve, site):
    with serve(make_app(site, index_file=None)) as client:
        answers = [client.get(path, follow_redirects=False) for path in ("/static", "/static/", "/static/docs/")]
    assert [answer.status for answer in answers] == [404, 404, 404]


def test_a_listing_shows_what_is_there_and_runs_none_of_it(serve, site):
    (site / "docs" / '"><img src=x onerror=alert(1)>').mkdir()
    (site / "docs" / "javascript:alert(1)").write_text("x")
    with serve(make_app(site, directory_listing=True, index_file=None)) as client:
        answer = client.get("/static/docs/")
        links = re.findall(r'href="([^"]*)"', answer.text)
        statuses = [client.get(f"/static/docs/{link.removeprefix('./')}").status for link in links[2:]]
        top = client.get("/static/")
        assert client.get("/static/docs", follow_redirects=False).status == 308
    assert links[:3] == [
        "../",
        "./%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E/",
        "./gr%C3%BC%C3%9Fe%20%26%20%3Cb%3E.txt",
    ]
    assert links[-1] == "./javascript%3Aalert%281%29"
    assert "<img" not in answer.text
    assert "grüße &amp; &lt;b&gt;.txt" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert statuses == [200] * len(statuses)
    assert "../" not in top.text
    assert ".env" not in top.text
    assert ".git" not in top.text


def test_an_index_file_goes_before_a_listing(serve, site):
    with serve(make_app(site, directory_listing=True)) as client:
        assert client.get("/static/").text == "<h1>home</h1>"
        assert "<table>" in client.get("/static/empty/").text


# -- settings --


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"root": "nowhere"}, "there is no folder"),
        ({"root": 1}, "StaticFilesConfig.root must be the path"),
        ({"prefix": "static"}, "prefix must be a path such as '/static'"),
        ({"prefix": "/a/{b}"}, "prefix must be a path"),
        ({"prefix": "/a//b"}, "prefix must be a path"),
        ({"index_file": "../x"}, "index_file is the name of a file"),
        ({"index_file": ""}, "index_file is the name of a file"),
        ({"cache_control": "a\r\nb"}, "cache_control cannot be sent"),
        ({"cache_control": ""}, "cache_control cannot be sent"),
        ({"directory_listing": "yes"}, "directory_listing must be True or False"),
        ({"listing": True}, "has no field 'listing'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(site, settings, words):
    with pytest.raises(ConfigError, match=words):
        App().enable_static_files(StaticFilesConfig(**{"root": site, **settings}))


def test_a_config_is_asked_for(site):
    with pytest.raises(ConfigError, match="takes a StaticFilesConfig"):
        App().enable_static_files(str(site))


def test_a_prefix_is_served_once(site):
    app = make_app(site)
    with pytest.raises(ConfigError, match=r"enable_static_files\(\) was called already"):
        app.enable_static_files(StaticFilesConfig(site, prefix="/static/"))


def test_the_folder_is_found_wherever_the_program_goes(serve, site, tmp_path, monkeypatch):
    monkeypatch.chdir(site.parent)
    app = make_app("public")
    monkeypatch.chdir(Path("/"))
    with serve(app) as client:
        assert client.get("/static/plain.txt").status == 200
