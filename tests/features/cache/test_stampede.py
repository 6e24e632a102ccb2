"""One request makes an answer while all others that want it wait: threads and coroutines, under every gateway."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cello import App, Response, cache
from cello.features.cache.feature import Caching
from cello.features.cache.flights import Flights, Landing
from tests.features.cache.test_rules import Clock

MANY = 12


class Gate:
    """A handler's door: it says that somebody is inside, and lets out when it is told to."""

    def __init__(self, paint, answer=lambda count: Response("made")):
        self.entered = threading.Semaphore(0)
        self.may_leave = threading.Event()
        self.count = 0
        self.answer = answer

        if paint == "def":

            def handler():
                self.count += 1
                self.entered.release()
                assert self.may_leave.wait(10)
                return self.answer(self.count)

        else:

            async def handler():
                self.count += 1
                self.entered.release()
                while not self.may_leave.is_set():
                    await asyncio.sleep(0.005)
                return self.answer(self.count)

        self.handler = handler


@pytest.fixture
def rush(serve, gateway):
    """Send many requests at once; open the door when one is inside and the others have had time to come."""

    def send(app, gate, path="/item", many=MANY, inside=1):
        with serve(app) as client, ThreadPoolExecutor(many) as pool:
            answers = [pool.submit(client.get, path) for _ in range(many)]
            for _ in range(inside):
                assert gate.entered.acquire(timeout=10)
            gate.may_leave.set()
            return [answer.result(10) for answer in answers]

    return send


def test_many_who_miss_at_once_make_one_answer(rush, colour):
    app = App()
    app.enable_caching()
    gate = Gate(colour)
    app.get("/item", blocking=True if colour == "def" else None)(gate.handler)
    answers = rush(app, gate)
    assert gate.count == 1
    assert [answer.text for answer in answers] == ["made"] * MANY
    assert sorted(answer.headers["x-cache"] for answer in answers) == ["HIT"] * (MANY - 1) + ["MISS"]


def test_what_is_not_kept_is_made_for_each_and_nobody_queues_up(rush, colour):
    app = App()
    app.enable_caching()
    gate = Gate(colour, lambda count: Response("own", headers={"Cache-Control": "no-store"}))
    app.get("/item", blocking=True if colour == "def" else None)(gate.handler)
    answers = rush(app, gate)
    assert gate.count == MANY
    assert {answer.headers["x-cache"] for answer in answers} == {"MISS"}


def test_a_stale_answer_is_made_anew_once_while_everybody_gets_it(serve, gateway, colour):
    clock = Clock()
    app = App()
    app._host.install(Caching(10, stale_while_revalidate=100, clock=clock))
    gate = Gate(colour, lambda count: {"count": count})
    gate.may_leave.set()
    app.get("/item")(cache(tags=["item"])(gate.handler))
    # The other gateways of the test client return when all that comes after an answer is done.
    is_held = gateway == "native" and colour == "async"
    with serve(app) as client:
        assert client.get("/item").json() == {"count": 1}
        gate.entered.acquire()
        clock.now_s += 20
        if is_held:
            gate.may_leave.clear()
        for _ in range(3 if is_held else 1):
            stale = client.get("/item")
            assert (stale.json(), stale.headers["x-cache"]) == ({"count": 1}, "STALE")
        assert gate.entered.acquire(timeout=10)
        gate.may_leave.set()
        while (fresh := client.get("/item")).headers["x-cache"] == "STALE":
            pass
        assert (fresh.json(), fresh.headers["x-cache"], gate.count) == ({"count": 2}, "HIT", 2)


def test_a_failure_to_make_it_anew_leaves_the_stale_answer(serve, coloured):
    clock = Clock()
    app = App()
    app._host.install(Caching(10, stale_while_revalidate=100, clock=clock))
    calls = []

    @coloured
    def item():
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("broken since")
        return "well"

    app.get("/item")(item)
    with serve(app) as client:
        client.get("/item")
        clock.now_s += 20
        assert [client.get("/item").text for _ in range(3)] == ["well"] * 3


def test_an_exception_is_answered_with_what_is_stale(serve, coloured):
    clock = Clock()
    app = App()
    app._host.install(Caching(10, stale_if_error=100, clock=clock))
    calls = []

    @coloured
    def item():
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("broken since")
        return "well"

    app.get("/item")(item)
    with serve(app) as client:
        assert client.get("/item").text == "well"
        clock.now_s += 20
        answer = client.get("/item")
        assert (answer.status, answer.text, answer.headers["x-cache"]) == (200, "well", "STALE")
        clock.now_s += 100
        assert client.get("/item").status == 500


def test_a_flight_that_never_lands_is_overtaken():
    clock = Clock()
    flights = Flights(clock)
    first, leads = flights.board("key")
    assert leads
    assert flights.board("key") == (first, False)
    clock.now_s += 16
    second, leads = flights.board("key")
    assert leads
    assert second is not first
    flights.land(first, Landing.STORED)
    assert flights.board("key") == (second, False), "the first one's end is not the second one's"


def test_who_waits_on_a_loop_is_woken_from_another_thread():
    flights = Flights()
    flight, _ = flights.board("key")

    async def wait():
        threading.Thread(target=flights.land, args=(flight, Landing.STORED)).start()
        return await flight.wait()

    assert asyncio.run(wait()) is Landing.STORED


@pytest.mark.parametrize("gateway", ["asgi", "native"])
def test_a_request_that_is_given_up_lets_another_try(gateway):
    async def play():
        app = App()
        app.enable_caching()
        started = asyncio.Event()
        calls = []

        async def item():
            calls.append(1)
            started.set()
            if len(calls) == 1:
                await asyncio.Event().wait()
            return "second"

        app.get("/item")(item)
        dispatcher = app.freeze()
        tasks = []
        for _ in range(2):
            request = app.request_class("GET", "/item")
            plan = dispatcher.plan_for(request)
            tasks.append(asyncio.create_task(dispatcher.answer_async(plan, request)))
        await started.wait()
        tasks[0].cancel()
        answer = await tasks[1]
        return answer.body(), len(calls)

    assert asyncio.run(play()) == (b"second", 2)
