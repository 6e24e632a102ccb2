"""SseStream: filled beforehand or while it is read, by anybody, bounded."""

import asyncio
import threading

import pytest

from cello import SseEvent, SseStream


async def collect(stream: SseStream) -> list[str]:
    return [event.data async for event in stream]


async def test_what_was_added_before_is_all_there_is() -> None:
    stream = SseStream()
    assert stream.is_empty()
    assert stream.add(SseEvent("a"))
    assert stream.add_event("tick", {"n": 1}, id="7")
    assert stream.add_data("c")
    assert (stream.len(), len(stream)) == (3, 3)
    assert await collect(stream) == ["a", '{"n":1}', "c"]
    assert stream.closed
    assert not stream.add("d"), "it has ended"


async def test_a_live_stream_goes_on_until_it_is_closed() -> None:
    stream = SseStream(live=True)
    reading = asyncio.create_task(collect(stream))
    await asyncio.sleep(0)
    assert stream.add("a")
    await asyncio.sleep(0)
    assert stream.add("b")
    stream.close()
    assert await reading == ["a", "b"]


async def test_any_thread_may_add() -> None:
    stream = SseStream(live=True)

    def produce() -> None:
        for number in range(100):
            stream.add(str(number))
        stream.close()

    thread = threading.Thread(target=produce)
    thread.start()
    assert await collect(stream) == [str(number) for number in range(100)]
    thread.join()


async def test_a_client_that_falls_behind_gets_what_waits_and_must_come_back() -> None:
    stream = SseStream(live=True, max_pending=2)
    assert [stream.add("a"), stream.add("b"), stream.add("c"), stream.add("d")] == [True, True, False, False]
    assert await collect(stream) == ["a", "b"]


async def test_a_client_that_leaves_closes_it() -> None:
    stream = SseStream(live=True)
    stream.add("a")
    assert (await anext(stream)).data == "a"
    stream.add("b")
    await stream.aclose()
    assert stream.closed
    assert stream.is_empty()
    assert not stream.add("c")


async def test_it_is_for_one_client() -> None:
    stream = SseStream()
    await collect(stream)
    with pytest.raises(RuntimeError, match="one client"):
        aiter(stream)


def test_a_producer_outlives_the_loop_of_its_reader() -> None:
    stream = SseStream(live=True)

    async def begin() -> None:
        reading = asyncio.create_task(collect(stream))
        await asyncio.sleep(0)
        reading.cancel()

    asyncio.run(begin())
    stream.add("a")
    assert stream.closed or stream.add("b")
