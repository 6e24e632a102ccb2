"""What the connections of a worker share."""

import asyncio

import pytest

from cello import App
from cello.gateways.native import ServerState, choose_tier
from tests.gateways.native.lines import working

pytestmark = pytest.mark.asyncio


async def test_the_date_follows_the_wall_clock_with_each_tick() -> None:
    now = 784_111_777.0
    state = ServerState(App().freeze(), asyncio.get_running_loop(), choose_tier(), wall_clock=lambda: now)
    assert state.common_fields[0] == b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    now += 1
    assert state.common_fields[0].endswith(b":37 GMT\r\n")
    state.tick()
    assert state.common_fields[0] == b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"


async def test_an_empty_worker_is_empty_at_once() -> None:
    state = ServerState(App().freeze(), asyncio.get_running_loop(), choose_tier())
    await state.wait_empty()


async def test_all_who_wait_for_the_end_hear_of_it() -> None:
    async with working(App()) as worker:
        line = await worker.connect()
        waiting = [asyncio.ensure_future(worker.state.wait_empty()) for _ in range(3)]
        waiting[1].cancel()
        line.vanish()
        await waiting[0]
        await waiting[2]


async def test_spawned_work_is_held_until_it_is_done() -> None:
    release = asyncio.Event()
    state = ServerState(App().freeze(), asyncio.get_running_loop(), choose_tier())

    async def work() -> None:
        await release.wait()

    state.spawn(work())
    assert len(state.tasks) == 1
    release.set()
    await state.wait_empty()
    assert not state.tasks
