"""The orders example, end to end: as its command runs it, on each kind of database, with all faults that it offers."""

import contextlib
import http.client
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cello.database import Database
from cello.serve.importing import load_app
from cello.testing import TestClient
from tests.browser import SIZES
from tests.browser import browser as browser  # the fixture, for this file too
from tests.database.servers import reachable
from tests.serve.program import PATIENCE_S, Program, free_port

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "orders"
PRICE, STOCK = 5, {"tea": 20, "coffee": 10, "piano": 1}


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Yield the URL of a database of the example's own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/orders.db"
        return
    with reachable(request.param) as url:
        name = f"orders_{uuid.uuid4().hex[:12]}"
        async with await Database.connect(url) as server:
            await server.execute(f"CREATE DATABASE {name}")
        yield f"{url.rpartition('/')[0]}/{name}"
        async with await Database.connect(url) as server:
            await server.execute(f"DROP DATABASE {name}{' WITH (FORCE)' if request.param == 'postgresql' else ''}")


class Shop:
    """Speaks to a running example."""

    def __init__(self, address: str) -> None:
        self.host = address.removeprefix("http://")

    def ask(self, method: str, path: str, sent: Any = None) -> tuple[int, Any]:
        """Send a request; again where the worker was killed over it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connection = http.client.HTTPConnection(self.host, timeout=PATIENCE_S)
            try:
                with contextlib.closing(connection):
                    body = None if sent is None else json.dumps(sent)
                    connection.request(method, path, body, {"Content-Type": "application/json", "Connection": "close"})
                    answer = connection.getresponse()
                    text = answer.read().decode()
                    return answer.status, json.loads(text) if text else None
            except (OSError, http.client.HTTPException):
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def order(self, item: str, quantity: int = 1, card: str = "4242") -> str:
        made = str(uuid.uuid4())  # its own id, so that asking again is asking once
        sent = {"id": made, "customer": "Ada", "item": item, "quantity": quantity, "card": card}
        status, said = self.ask("POST", "/orders", sent)
        assert status in (201, 409), said
        return made

    def states(self) -> Iterator[Any]:
        """Yield what the page is sent."""
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", "/live")
            for line in connection.getresponse():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def until_all_have_ended(self) -> dict[str, Any]:
        deadline = time.monotonic() + 2 * PATIENCE_S
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                for state in self.states():
                    if all(
                        each["saga"] in ("completed", "failed", "cancelled") for each in state["orders"]
                    ) and not any(each["status"] == "placed" for each in state["orders"]):
                        return dict(state)
                    assert time.monotonic() < deadline, state
            assert time.monotonic() < deadline


@pytest.mark.timeout(240)
async def test_whatever_breaks_goods_and_money_agree(database: str, tmp_path: Path) -> None:
    port = str(free_port())
    command = (str(FOLDER / "app.py"), "--port", port)
    with Program(*command, folder=tmp_path, environment={"ORDERS_DATABASE": database}) as program:
        shop = Shop(program.listening())
        expected: dict[str, str] = {}
        expected[shop.order("tea", 2)] = "shipped"
        expected[shop.order("piano", 2)] = "cancelled"
        expected[shop.order("tea", card="0000")] = "cancelled"
        shop.until_all_have_ended()
        shop.ask("PUT", "/faults/bank/2")
        expected[shop.order("coffee")] = "shipped"
        shop.until_all_have_ended()
        shop.ask("PUT", "/faults/bank/9")
        expected[shop.order("coffee", 3)] = "cancelled"
        shop.until_all_have_ended()
        shop.ask("PUT", "/faults/bank/0")
        for _ in range(2):
            shop.ask("PUT", "/faults/crash/1")
            crashed = shop.order("tea", 3)
            expected[crashed] = "shipped"
            state = shop.until_all_have_ended()
            steps = {step["name"]: step for step in shop.ask("GET", f"/orders/{crashed}/history")[1]["saga"]["steps"]}
            assert (state["faults"]["crash"], steps["charge"]["interruptions"]) == (0, 1), "its worker was killed in it"
        shop.ask("PUT", "/faults/refuse/1")
        expected[shop.order("tea")] = "cancelled"
        for _ in range(5):
            expected[shop.order("tea")] = "shipped"
        state = shop.until_all_have_ended()
        assert sorted(each["status"] for each in state["orders"]) == sorted(expected.values())
        found = {each["id"]: each for each in state["orders"]}
        refused = [key for key, each in found.items() if each["note"] == "Refused: the bank declines the card"]
        assert len(refused) == 2
        shipped = [each for each in found.values() if each["status"] == "shipped"]
        sold = {item: sum(each["quantity"] for each in shipped if each["item"] == item) for item in STOCK}
        assert state["stock"] == {item: STOCK[item] - sold[item] for item in STOCK}
        assert state["money"] == PRICE * sum(sold.values())
        for key, each in found.items():
            status, history = shop.ask("GET", f"/orders/{key}/history")
            kinds = [event["type"] for event in history["events"]]
            assert (status, kinds) == (200, ["OrderPlaced", f"Order{each['status'].capitalize()}"])


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ORDERS_DATABASE", f"sqlite:///{tmp_path}/orders.db")
    return load_app(f"{FOLDER}/app.py:app")


@pytest.mark.parametrize("gateway", ["native", "asgi", "wsgi"])
def test_orders_are_placed_listed_and_cancelled_on_every_gateway(app: Any, gateway: str) -> None:
    with TestClient(app, gateway=gateway, raise_server_exceptions=False) as client:
        assert client.post("/orders", json={"customer": " ", "item": "tea"}).status == 422
        made = client.post("/orders", json={"customer": "Ada", "item": "tea"})
        assert made.status == 201
        key = made.json()["id"]
        assert client.get(f"/orders/{key}").json()["customer"] == "Ada"
        assert client.post("/orders", json={"customer": "Ada", "item": "tea", "id": key}).status == 409
        deadline = time.monotonic() + PATIENCE_S
        while (answer := client.post(f"/orders/{key}/cancel")).status == 404:
            assert time.monotonic() < deadline
        assert answer.json() in ({"cancelled": True}, {"cancelled": False})
        while client.get(f"/orders/{key}").json()["status"] == "placed":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.get("/orders/nobody").status == 404
        assert client.post("/orders/nobody/cancel").status == 404
        assert client.put("/faults/weather/1").status == 404
        assert "EventSource" in client.get("/").text
        assert client.get("/health/ready").status == 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_shows_orders_live_and_fits(browser: Any, tmp_path: Path, size: str, scheme: str) -> None:
    width, height, is_phone = SIZES[size]
    command = (str(FOLDER / "app.py"), "--port", str(free_port()))
    with Program(*command, folder=tmp_path) as program, browser.page(width, height, is_phone=is_phone) as page:
        site = program.listening()
        page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.open(site)
        page.until("document.querySelector('#link').textContent === 'live'")
        page.click("#place button")
        page.until("document.querySelector('li[data-status=shipped]')")
        page.evaluate("document.querySelector('[name=card]').value = '0000'")
        page.click("#place button")
        page.until("document.querySelector('li[data-status=cancelled] small')?.textContent.includes('declines')")
        page.click('[data-fault="bank/9"]')
        page.until("document.querySelector('#pending').textContent")
        page.fill("[name=customer]", "Somebody-Whose-Name-Is-One-Word-And-Quite-A-Long-1")
        page.evaluate("document.querySelector('[name=card]').value = '4242'")
        page.click("#place button")
        page.until("document.querySelector('li[data-status=placed]')")
        page.screenshot(f"orders-{size}-{scheme}")
        page.check(site)
        tops = "[...document.querySelectorAll('li[data-status=shipped] .step')].map(step => step.offsetTop)"
        assert len(set(page.evaluate(tops))) == 1, "its steps are not in one line"
        page.click("li[data-status=placed] button")
        page.until("document.querySelectorAll('li[data-status=cancelled]').length === 2")
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.screenshot(f"orders-{size}-{scheme}-end")
