"""The page about an application in debug mode: what it says, who may see it, and how it looks."""

import asyncio
import json
import re

import pytest

from cello import App, ConfigError, RateLimitConfig, Request
from cello.features.inspector.access import Access
from cello.features.inspector.facts import MOST_ERRORS, RecentErrors
from tests.browser import SIZES
from tests.browser import browser as browser  # the fixture, for this file too
from tests.serve.program import Program, free_port, get, until

HERE = {"host": "localhost:8000"}
HTML = {**HERE, "accept": "text/html"}


def coming_from(client_ip):
    """Return a class of requests that come from an address, under every gateway."""
    return type("Coming", (Request,), {"remote_addr": client_ip})


def make_app(debug=True, client_ip="127.0.0.1", **settings):
    app = App()
    app.debug = debug
    app.request_class = coming_from(client_ip)
    app.name = "shop <b>"
    if settings:
        app.enable_inspector(**settings)
    return app


def facts(client, **headers):
    answer = client.get("/_cello", headers={**HERE, **headers})
    assert answer.status == 200
    return answer.json()


def test_it_says_what_there_is(serve, coloured):
    app = make_app()
    app.enable_rate_limit(RateLimitConfig.token_bucket(5, 60))
    app.health_check("disk")(lambda: {"free_mb": 512})

    @app.get("/orders/{id:int}")
    @coloured
    def order(request, id: int):
        return id

    @app.get("/broken")
    @coloured
    def broken(request):
        raise LookupError("<script>alert(1)</script>")

    with serve(app) as client:
        client.get("/orders/7")
        for _ in range(2):
            client.get("/broken?token=secret")
        found = facts(client)
        page = client.get("/_cello", headers=HTML)
    assert found["application"]["state"] == "ready"
    assert found["application"]["features"] == ["rate_limit"]
    routes = {route["path"]: route for route in found["routes"]}
    assert routes["/orders/{id:int}"]["methods"] == ["GET"]
    assert routes["/orders/{id:int}"]["declared"].startswith("tests/features/test_inspector.py:")
    assert any("Gatekeeper" in line for line in routes["/orders/{id:int}"]["plan"])
    assert routes["/_cello"]["is_builtin"]
    [error] = found["errors"]
    assert (error["times"], error["where"]) == (2, "GET /broken")
    assert error["error"] == "LookupError: <script>alert(1)</script>"
    assert "test_inspector.py" in error["traceback"]
    assert "secret" not in json.dumps(found)
    assert found["workers"][0]["answered"]
    assert {pool["name"] for pool in found["pools"]} >= {"worker_threads"}
    assert {check["name"]: check["details"] for check in found["checks"]}["disk"] == {"free_mb": "512"}
    assert any(number["name"] == "workers" and number["value"] == 1 for number in found["numbers"])
    assert "<script" not in page.text
    assert "<h1>shop &lt;b&gt;</h1>" in page.text


def test_tasks_are_told_with_where_they_wait(client):
    app = make_app()
    app.get("/")(lambda request: "hi")

    async def patience():
        await asyncio.Event().wait()

    @app.on_event("startup")
    async def start():
        app.state.task = asyncio.create_task(patience(), name="patience")

    @app.on_event("shutdown")
    async def stop():
        app.state.task.cancel()

    for gateway in ("asgi", "native"):
        with client(app, gateway) as opened:
            [task] = [task for task in facts(opened)["tasks"] if task["name"] == "patience"]
        assert "patience" in task["what"]
        assert "Event.wait" in task["waits"][-1]


def test_it_carries_a_strict_policy(serve):
    with serve(make_app()) as client:
        answer = client.get("/_cello", headers=HTML)
    policy = answer.headers["content-security-policy"]
    [nonce] = re.findall(r"style-src 'nonce-([^']+)'", policy)
    assert policy.startswith("default-src 'none'")
    assert f'<style nonce="{nonce}">' in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in answer.headers


def test_outside_of_debug_mode_it_is_not_there(serve):
    app = make_app(debug=False, path="/_cello")
    app.get("/")(lambda request: "hi")
    with serve(app) as client:
        assert client.get("/_cello", headers=HERE).status == 404
    assert all(route.template != "/_cello" for route in app.router.routes)
    assert app.dispatcher.fault_listeners == []


REFUSED = {
    "another machine": ("10.0.0.9", {}),
    "another machine, IPv6": ("2001:db8::9", {}),
    "no address": ("", {}),
    "behind a proxy": ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
    "behind another proxy": ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
    "a name that was made to point here": ("127.0.0.1", {"host": "evil.example"}),
    "a name that looks like this machine": ("127.0.0.1", {"host": "localhost.evil.example"}),
    "no host": ("127.0.0.1", {"host": ""}),
    "a script of another site": ("127.0.0.1", {"origin": "https://evil.example"}),
    "a page of another site": ("127.0.0.1", {"sec-fetch-site": "cross-site"}),
    "a sibling of this site": ("127.0.0.1", {"sec-fetch-site": "same-site"}),
}
SHOWN = {
    "this machine": ("127.0.0.1", {}),
    "this machine, IPv6": ("::1", {"host": "[::1]:8000"}),
    "this machine, mapped": ("::ffff:127.0.0.1", {"host": "127.0.0.1"}),
    "a name below localhost": ("127.0.0.1", {"host": "shop.localhost:8000"}),
    "a bookmark": ("127.0.0.1", {"sec-fetch-site": "none"}),
}


@pytest.mark.parametrize(
    ("client_ip", "headers", "is_shown"),
    [*((*row, False) for row in REFUSED.values()), *((*row, True) for row in SHOWN.values())],
    ids=[*REFUSED, *SHOWN],
)
def test_who_may_see_it(serve, client_ip, headers, is_shown):
    app = make_app(client_ip=client_ip)
    app.enable_cors()
    with serve(app) as client:
        answer = client.get("/_cello", headers={**HERE, **headers})
        if "host" in headers and not headers["host"] and answer.status == 400:
            return  # the server has refused it already
        assert answer.status == (200 if is_shown else 404)
        if not is_shown:
            unknown = client.get("/_other", headers={**HERE, **headers})
            assert answer.text.replace("_cello", "_other") == unknown.text


NAMED = [
    ("10.1.2.3", "dev.example.com", 200),
    ("127.0.0.1", "DEV.example.com:8000", 200),
    ("10.1.2.3", "10.1.0.1:8000", 200),
    ("10.2.2.3", "dev.example.com", 404),
    ("10.1.2.3", "evil.example", 404),
]


@pytest.mark.parametrize(("client_ip", "host", "status"), NAMED)
def test_hosts_that_are_named_may_see_it(serve, client_ip, host, status):
    app = make_app(client_ip=client_ip, path="/inside", allowed_hosts=["10.1.0.0/16", "dev.example.com"])
    with serve(app) as client:
        assert client.get("/inside", headers={"host": host}).status == status
        assert client.get("/_cello", headers=HERE).status == 404


@pytest.mark.parametrize("hosts", ["localhost", [7], ["*.example.com"], ["10.0.0.0/99"], [""]])
def test_what_is_no_host_is_refused(hosts):
    with pytest.raises(ConfigError, match="allowed_hosts"):
        Access(hosts)


@pytest.mark.parametrize("path", ["_cello", "/_cello/", "/{name}"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ConfigError, match="a plain path"):
        App().enable_inspector(path)


def test_an_application_s_own_route_stays(serve, caplog):
    app = make_app()
    app.get("/_cello")(lambda request: "mine")
    with serve(app) as client:
        assert client.get("/_cello", headers=HERE).text == "mine"
    assert "is not shown" in caplog.text


def test_guards_and_limits_of_the_application_do_not_stand_before_it(serve):
    app = make_app()
    app.add_guard(lambda request: False)
    with serve(app) as client:
        assert client.get("/_cello", headers=HERE).status == 200


def test_the_oldest_errors_make_room():
    errors = RecentErrors()
    for number in range(MOST_ERRORS + 5):
        errors.note(Request("GET", f"/{number}"), LookupError(number))
    latest = errors.latest()
    assert len(latest) == MOST_ERRORS
    assert latest[0]["error"] == f"LookupError: {MOST_ERRORS + 4}"


PROGRAM = """
import asyncio
from cello import App, RateLimitConfig

app = App()
app.enable_prometheus()
app.enable_health_checks()
app.enable_rate_limit(RateLimitConfig.token_bucket(1000, 60))
app.enable_caching()
app.enable_database("sqlite://:memory:")
app.enable_circuit_breaker()


@app.get("/orders/{id:int}")
async def order(request, id: int):
    return {"id": id, "n": await request.database.fetch_val("SELECT 1")}


@app.post("/orders/{id:int}/a-rather-long-path-that-has-to-break-on-a-phone/{part:path}")
def long(request):
    return "hi"


@app.get("/broken")
def broken(request):
    raise ValueError("<img src=x onerror='document.title=1'>" + "x" * 90)


async def tick():
    while True:
        await asyncio.sleep(3600)


@app.on_event("startup")
async def start():
    app.state.task = asyncio.create_task(tick(), name="tick")


app.run()
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_one_readable_page_in_a_browser(browser, tmp_path, size, scheme):
    (tmp_path / "app.py").write_text(PROGRAM, encoding="utf-8")
    width, height, is_phone = SIZES[size]
    words = ["app.py", "--debug", "--workers", "2", "--port", str(free_port())]
    with (
        Program(*words, folder=tmp_path) as program,
        browser.page(width, height, is_phone=is_phone) as page,
    ):
        site = program.listening()
        until(lambda: get(site, "/health/ready")[0], 200)
        page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen = None
        while seen != 200:  # each worker keeps its own errors: ask until the page is of one that has seen one
            get(site, "/orders/7")
            assert get(site, "/broken")[0] == 500
            page.open(f"{site}/_cello")
            seen = 200 if page.evaluate("document.querySelectorAll('#errors details').length") else None
        assert page.evaluate("document.title") == "cello · cello"
        assert page.evaluate("document.querySelectorAll('#workers tr').length") == 3
        assert page.evaluate("document.querySelectorAll('#pools tr').length") >= 3
        assert "/orders/{id:int}" in page.evaluate("document.querySelector('#routes').textContent")
        assert "tick" in page.evaluate("document.querySelector('#tasks').textContent")
        assert "request_duration_seconds" in page.evaluate("document.querySelector('#numbers').textContent")
        assert page.evaluate("document.querySelectorAll('script, img, form, iframe').length") == 0
        assert page.evaluate("document.querySelector('#errors details[open] pre').textContent").startswith("Traceback")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(251, 250, 247)", "dark": "rgb(23, 22, 20)"}[scheme]
        page.screenshot(f"inspector-{size}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.evaluate("document.querySelectorAll('#routes details').forEach(each => each.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(f"inspector-{size}-{scheme}-open")
        assert page.complaints == []
        assert page.evaluate("violations") == []
