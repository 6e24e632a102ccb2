"""A real browser judges what cello says to browsers: CORS, compressed answers and the content security policy.

A page of one origin calls servers of three others with `fetch` and tells what it saw.
"""

import json
from contextlib import ExitStack

import pytest

from tests.browser import browser as browser  # the fixture, for this file too
from tests.serve.program import Program, free_port

SITE = """
import os
from cello import App, CSP, Response, SecurityHeadersConfig

app = App()
policy = CSP().default_src(["self"]).script_src([CSP.NONCE]).connect_src(["self", *os.environ["APIS"].split()])
app.enable_security_headers(SecurityHeadersConfig(csp=policy))
page = open("page.html").read()

@app.get("/")
def index(request):
    return Response.html(page.replace("NONCE", request.context["csp_nonce"]))
"""

API = """
import json, os
from cello import App, Forbidden, Response, Unauthorized

app = App()
app.enable_cors(**json.loads(os.environ["CORS"]))
app.enable_compression()

def signed_in(request):
    if request.get_header("authorization") != "Bearer 42":
        raise Unauthorized("Who are you?")

@app.get("/simple")
def simple():
    return Response.json({"simple": True}, headers={"X-Total": "7", "X-Secret": "8"})

@app.put("/item")
def put(request):
    return {"put": request.json(), "token": request.get_header("x-token")}

@app.delete("/item")
def delete():
    return {"deleted": True}

@app.get("/broken")
def broken():
    raise ValueError("secret")

@app.get("/guarded", guards=[signed_in])
def guarded():
    return {"in": True}

@app.get("/large")
def large():
    return "large " * 5000

@app.post("/login")
def login():
    response = Response.json({"ok": True})
    response.set_cookie("user", "ada", httponly=True)
    return response

@app.get("/me")
def me(request):
    return {"user": request.cookies.get("user")}
"""

PAGE = """<!doctype html><title>page</title>
<script>window.injected = true</script>
<script nonce="NONCE">
const ANY = "$ANY", LISTED = "$LISTED", CLOSED = "$CLOSED";
async function see(url, options) {
  try {
    const answer = await fetch(url, options);
    const text = await answer.text();
    let body = text;
    try { body = JSON.parse(text); } catch (error) {}
    const [total, secret] = ["x-total", "x-secret"].map(name => answer.headers.get(name));
    return {status: answer.status, body, total, secret};
  } catch (error) {
    return {failed: error.name};
  }
}
const put = {method: "PUT", headers: {"Content-Type": "application/json", "X-Token": "t"}, body: "[1]"};
const signed = {headers: {"Authorization": "Bearer 42"}};
const cookies = {credentials: "include"};
window.seen = (async () => ({
  "a simple request": await see(ANY + "/simple"),
  "a preflighted request": await see(ANY + "/item", put),
  "an error": await see(ANY + "/broken"),
  "no route": await see(ANY + "/nowhere"),
  "a preflight for no route": await see(ANY + "/nowhere", put),
  "a preflight for another method": await see(ANY + "/simple", put),
  "a guard without credentials": await see(ANY + "/guarded"),
  "a guard with a header of ours": await see(ANY + "/guarded", signed),
  "a compressed answer": await see(ANY + "/large"),
  "cookies for all": await see(ANY + "/me", cookies),
  "signing in": await see(LISTED + "/login", {method: "POST", ...cookies}),
  "with a cookie": await see(LISTED + "/me", cookies),
  "without a cookie": await see(LISTED + "/me"),
  "an exposed header": await see(LISTED + "/simple", cookies),
  "a method that is not allowed": await see(LISTED + "/item", {method: "DELETE"}),
  "a header that is not allowed": await see(LISTED + "/simple", {headers: {"X-Other": "1"}}),
  "another origin's server": await see(CLOSED + "/simple"),
  "another origin's server, preflighted": await see(CLOSED + "/item", put),
  "another origin's error": await see(CLOSED + "/broken"),
  "a script without the nonce": window.injected === undefined,
}))();
</script>
"""

FAILED = {"failed": "TypeError"}


def answered(status, body, total=None):
    return {"status": status, "body": body, "total": total, "secret": None}


EXPECTED = {
    "a simple request": answered(200, {"simple": True}),
    "a preflighted request": answered(200, {"put": [1], "token": "t"}),
    "an error": 500,
    "no route": 404,
    "a preflight for no route": 404,
    "a preflight for another method": 405,
    "a guard without credentials": 401,
    "a guard with a header of ours": answered(200, {"in": True}),
    "a compressed answer": answered(200, "large " * 5000),
    "cookies for all": FAILED,
    "signing in": answered(200, {"ok": True}),
    "with a cookie": answered(200, {"user": "ada"}),
    "without a cookie": answered(200, {"user": None}),
    "an exposed header": answered(200, {"simple": True}, total="7"),
    "a method that is not allowed": FAILED,
    "a header that is not allowed": FAILED,
    "another origin's server": FAILED,
    "another origin's server, preflighted": FAILED,
    "another origin's error": FAILED,
    "a script without the nonce": True,
}


@pytest.fixture(scope="module")
def seen(browser, tmp_path_factory):
    """What the page saw."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "page_server.py").write_text(SITE)
    (folder / "api.py").write_text(API)
    site_port = free_port()
    site = f"http://127.0.0.1:{site_port}"
    apis = {
        "ANY": {},
        "LISTED": {
            "origins": [site], "credentials": True, "expose_headers": ["X-Total"], "methods": ["GET", "POST"],
            "headers": ["Content-Type"],
        },
        "CLOSED": {"origins": ["https://elsewhere.example"]},
    }  # fmt: skip
    with ExitStack() as running:

        def start(name, port, **environment):
            words = ["-m", "cello", "run", f"{name}.py", "--port", str(port), "--env", "production", "--workers", "1"]
            return running.enter_context(Program(*words, folder=folder, environment=environment)).listening()

        urls = {name: start("api", free_port(), CORS=json.dumps(options)) for name, options in apis.items()}
        page = PAGE
        for name, url in urls.items():
            page = page.replace(f"${name}", url)
        (folder / "page.html").write_text(page)
        start("page_server", site_port, APIS=" ".join(urls.values()))
        opened = running.enter_context(browser.page(800, 600))
        opened.open(site)
        return opened.evaluate("window.seen")


@pytest.mark.parametrize("what", EXPECTED)
def test_a_browser_sees_what_it_should(seen, what):
    expected = EXPECTED[what]
    assert (seen[what]["status"] if isinstance(expected, int) and expected is not True else seen[what]) == expected


def test_nothing_was_left_out(seen):
    assert seen.keys() == EXPECTED.keys()
