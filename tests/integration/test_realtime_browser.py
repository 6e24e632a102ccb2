"""A real browser as the client of streams: `EventSource` with its reconnecting, and a chat in two tabs."""

from pathlib import Path

import pytest

from tests.browser import browser as browser  # the fixture, for this file too
from tests.serve.program import Program, free_port

CHAT = Path(__file__).resolve().parents[2] / "examples" / "chat" / "app.py"

EVENTS = '''
from cello import App, Response, SseEvent

app = App()
app.enable_compression(min_size=0)
seen = {"last": [], "ended": 0}

PAGE = """<!doctype html><title>events</title><link rel=icon href=data:,><script>
window.heard = {};
function listen(path, until) {
  const found = heard[path] = [];
  const source = new EventSource(path);
  source.addEventListener("tick", event => {
    found.push(`${event.data}#${event.lastEventId}`);
    if (found.length === until) { source.close(); document.body.append(path + " done ") }
  });
  return source;
}
listen("/def", 7);
listen("/async", 7);
window.live = listen("/live", -1);
</script><body></body>"""

app.get("/")(lambda request: Response.html(PAGE))
app.get("/seen")(lambda request: seen)


@app.get("/def")
def events(request):
    first = begin(request)

    def three():
        for number in range(first, first + 3):
            yield SseEvent({"n": number}, event="tick", id=str(number), retry=20)

    return Response.sse(three())


@app.get("/async")
async def async_events(request):
    first = begin(request)

    async def three():
        for number in range(first, first + 3):
            yield SseEvent({"n": number}, event="tick", id=str(number), retry=20)

    return Response.sse(three())


@app.get("/live")
async def live(request):
    async def endless():
        try:
            yield SseEvent("now", event="tick")
            async for item in app.channel("live").subscribe():
                yield item
        finally:
            seen["ended"] += 1

    return Response.sse(endless())


def begin(request):
    seen["last"].append([request.path, request.last_event_id])
    return int(request.last_event_id or 0) + 1
'''


@pytest.fixture
def events_site(tmp_path):
    (tmp_path / "events.py").write_text(EVENTS)
    words = ("-m", "cello", "run", "events.py", "--port", str(free_port()), "--env", "production", "--workers", "1")
    with Program(*words, folder=tmp_path) as program:
        yield program.listening()


def test_an_event_source_comes_back_with_the_last_id_it_has_seen(browser, events_site):
    with browser.page(800, 600) as page:
        page.open(events_site)
        page.until(
            "document.body.textContent.includes('/def done') && document.body.textContent.includes('/async done')"
        )
        for path in ("/def", "/async"):
            assert page.evaluate(f"heard['{path}']") == [f'{{"n":{n}}}#{n}' for n in range(1, 8)]
        seen = page.evaluate("fetch('/seen').then(answer => answer.json())")
        for path in ("/def", "/async"):
            # A browser that never had an id sends none, which reads as no text.
            assert [last or "" for where, last in seen["last"] if where == path] == ["", "3", "6"]
        answers = [
            event["params"]["response"]
            for event in browser.events
            if event["method"] == "Network.responseReceived" and event["params"]["response"]["url"].endswith("async")
        ]
        encodings = {
            value
            for answer in answers
            for name, value in answer["headers"].items()
            if name.lower() == "content-encoding"
        }
        assert encodings & {"br", "gzip", "zstd"}, "events come through compression"


def test_an_event_source_that_is_closed_ends_its_generator(browser, events_site):
    with browser.page(800, 600) as page:
        page.open(events_site)
        page.evaluate(
            "new Promise(done => { const look = () => heard['/live'].length ? done() : setTimeout(look, 5); look() })"
        )
        assert page.evaluate("fetch('/seen').then(answer => answer.json())")["ended"] == 0
        page.evaluate("live.close()")
        ended = (
            "new Promise(done => { const look = () => fetch('/seen').then(answer => answer.json())"
            ".then(seen => seen.ended ? done(seen.ended) : setTimeout(look, 5)); look() })"
        )
        assert page.evaluate(ended) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_two_tabs_chat(browser, tmp_path, workers):
    words = ("-m", "cello", "run", str(CHAT), "--port", str(free_port()), "--env", "production")
    with Program(*words, "--workers", str(workers), folder=tmp_path) as program:
        site = program.listening()
        with browser.page(800, 700) as ada:
            with browser.page(390, 844, is_phone=True) as bob:
                for page, name in ((ada, "Ada"), (bob, "Bob")):
                    page.open(site)
                    page.fill("#name", name)
                    page.fill("#room", "kitchen")
                    page.click("#enter button")
                    page.until("document.querySelector('#state[data-open]')")
                ada.until("document.body.textContent.includes('Bob has come')")
                ada.fill("#text", "<b>hello</b> Bob")
                ada.click("#say button")
                heard = "document.querySelector('#talk li:not(.note, .mine)')?.textContent.includes"
                bob.until(f"{heard}('<b>hello</b> Bob')")
                bob.fill("#text", "hello Ada")
                bob.click("#say button")
                ada.until(f"{heard}('hello Ada')")
                ada.until("document.querySelector('#talk li.mine')")
                for page, name in ((ada, "desktop"), (bob, "phone")):
                    page.screenshot(f"chat-{workers}-{name}")
                    page.check(site)
            ada.until("document.body.textContent.includes('Bob has left')")
