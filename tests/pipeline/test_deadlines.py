"""Time limits: one coarse timer, a fake clock."""

import asyncio

import pytest

from cello.pipeline.course import HERE
from cello.pipeline.deadlines import Deadlines, Watch, within


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def never() -> None:
    await asyncio.Event().wait()


def test_only_what_is_overdue_is_cancelled() -> None:
    async def main() -> None:
        clock = Clock()
        watch = Watch(clock)
        short, long = asyncio.create_task(never()), asyncio.create_task(never())
        watch.add(short, 5)
        watch.add(long, 50)
        watch.tick()
        assert not short.cancelling()
        clock.now += 5
        watch.tick()
        assert (short.cancelling(), long.cancelling()) == (1, 0)
        assert watch.remove(short)
        assert not watch.remove(short)
        assert not watch.remove(long)
        watch.tick()
        long.cancel()
        for task in (short, long):
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_the_timer_rests_when_nothing_is_in_flight_and_starts_again() -> None:
    async def main() -> None:
        watch = Watch(asyncio.get_running_loop().time)
        for _ in range(2):
            task = asyncio.create_task(never())
            watch.add(task, 0.001)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert watch.remove(task)

    asyncio.run(main())


def test_what_takes_too_long_is_a_time_out() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            await within(Deadlines(), 0.001, never())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())


def test_who_is_cancelled_by_somebody_else_too_ends_for_them() -> None:
    async def cut_off_twice() -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await never()
        except asyncio.CancelledError:
            task.cancel()
            raise

    async def main() -> None:
        task = asyncio.create_task(within(Deadlines(), 0.001, cut_off_twice()))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_every_loop_has_a_list_of_its_own() -> None:
    deadlines = Deadlines()

    async def watch() -> Watch:
        assert deadlines.watch() is deadlines.watch()
        return deadlines.watch()

    assert asyncio.run(watch()) is not asyncio.run(watch())


def test_the_sentinel_shows_its_name() -> None:
    assert repr(HERE) == "HERE"
