"""The attacks. Each takes its size, asserts that the limit holds, and returns what was seen, for the report."""

import asyncio
import contextlib
import random
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from bench.abuse.target import Target, hang_up, percentile, read_all

Seen = dict[str, object]

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
TICK_S = 0.5
"""The server's clock is this coarse: a limit is met up to two ticks late."""
GRACE_S = 20.0
"""How long a body may come at less than 240 bytes a second."""
SLACK_S = 5.0
"""For a busy machine."""


def allow_descriptors(count: int) -> None:
    """Have this process open so many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count), hard))


async def beside(target: Target, attack: Awaitable[object]) -> list[float]:
    """Run an attack, and meanwhile ask plainly without a pause; return how long the answers took."""
    running = asyncio.ensure_future(attack)
    times = [await target.ask()]
    while not running.done():
        times.append(await target.ask())
    await running
    return times


async def drip(target: Target, begin: bytes, byte: bytes, every_s: float) -> tuple[float, bytes]:
    """Send bytes one by one until the server ends it; return how long it bore with us, and its answer."""
    reader, writer = await target.connect()
    began = time.monotonic()
    reading = asyncio.ensure_future(read_all(reader))
    writer.write(begin)
    while not reading.done():
        with contextlib.suppress(ConnectionError):
            writer.write(byte)
        await asyncio.wait({reading}, timeout=every_s)
    took = time.monotonic() - began
    await hang_up(writer)
    return took, reading.result()


async def slow_headers(connections: int = 500, read_header: float = 5.0) -> Seen:
    """Connections that drip their head: all are cut in time, and others do not notice."""
    async with Target({"read_header": read_header}) as target:
        quiet = [await target.ask() for _ in range(100)]
        ends: list[tuple[float, bytes]] = []

        async def attack() -> None:
            ends.extend(await asyncio.gather(*(drip(target, HEAD, b"X", 0.5) for _ in range(connections))))

        times = await beside(target, attack())
        slowest = max(took for took, _ in ends)
        assert slowest <= read_header + 2 * TICK_S + SLACK_S, slowest
        assert all(answer.startswith(b"HTTP/1.1 408") for _, answer in ends), Counter(a[:12] for _, a in ends)
        return {
            "connections": connections,
            "cut after at most s": round(slowest, 2),
            "p99 ms of others before": round(percentile(quiet, 0.99) * 1e3, 2),
            "p99 ms of others meanwhile": round(percentile(times, 0.99) * 1e3, 2),
        }


async def slow_bodies(connections: int = 200, read_body: float = 30.0) -> Seen:
    """Bodies that stop coming: 408 after `read_body`, or when the grace of the minimum rate is over."""
    head = b"POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"

    async def attack(target: Target) -> tuple[float, bytes]:
        began = time.monotonic()
        answer = await target.exchange(head + b"x")
        return time.monotonic() - began, answer

    async with Target({"read_body": read_body}) as target:
        ends = await asyncio.gather(*(attack(target) for _ in range(connections)))
    slowest = max(took for took, _ in ends)
    due = min(read_body, GRACE_S)
    assert min(took for took, _ in ends) >= due - TICK_S
    assert slowest <= due + 2 * TICK_S + SLACK_S
    assert all(answer.startswith(b"HTTP/1.1 408") for _, answer in ends)
    return {"connections": connections, "cut after at most s": round(slowest, 2)}


async def minimum_rate(connections: int = 200) -> Seen:
    """Bodies that never stop and hardly come: 408 once the grace of 20 seconds is over."""
    head = b"POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    async with Target() as target:
        ends = await asyncio.gather(*(drip(target, head, b"x" * 50, 0.5) for _ in range(connections)))
    slowest = max(took for took, _ in ends)
    assert GRACE_S <= slowest <= GRACE_S + 2 * TICK_S + SLACK_S, slowest
    assert all(answer.startswith(b"HTTP/1.1 408") for _, answer in ends)
    return {"connections": connections, "cut after at most s": round(slowest, 2)}


async def slow_reader(connections: int = 20, write: float = 30.0) -> Seen:
    """Clients that ask for 1 GiB and do not read it: the memory is bounded, and they are dropped."""
    async with Target({"write": write}) as target:
        before = target.usage()
        writers = []
        for _ in range(connections):
            reader, writer = await target.connect()
            reader._limit = 1024  # type: ignore[attr-defined]  # read nothing beyond
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # it can
            writer.write(HEAD.replace(b"/ ", b"/endless ", 1) + b"\r\n")
            writers.append(writer)
        began, most = time.monotonic(), before.rss_mb
        while target.usage().descriptors > before.descriptors:
            most = max(most, target.usage().rss_mb)
            assert time.monotonic() - began < 2 * write + SLACK_S, "they were not dropped"
            await target.ask()
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        for writer in writers:
            await hang_up(writer)
    grown = most - before.rss_mb
    assert grown < 10 + connections, f"{grown} MiB"
    return {"connections": connections, "grown MiB": round(grown, 1), "dropped after s": round(took, 1)}


async def idle_connections(connections: int = 10_000) -> Seen:
    """Connections that stay open after a request: others are served, and each costs little."""
    allow_descriptors(connections + 200)
    async with Target(limits={"max_connections": connections + 10}) as target:
        before = target.usage()
        request = HEAD + b"\r\n"
        lines = []
        for _ in range(connections):
            reader, writer = await target.connect()
            writer.write(request)
            lines.append((reader, writer))
        for reader, _ in lines:
            assert (await reader.readuntil(b"\r\n\r\nin")).startswith(b"HTTP/1.1 200")
        times = [await target.ask() for _ in range(200)]
        held = target.usage()
        again = lines[:: max(1, connections // 500)]
        for _, writer in again:
            writer.write(request)
        for reader, _ in again:
            assert (await reader.readuntil(b"\r\n\r\nin")).startswith(b"HTTP/1.1 200")
        await asyncio.gather(*(hang_up(writer) for _, writer in lines))
        await descriptors_return(target, before.descriptors)
    each_kb = (held.rss_mb - before.rss_mb) * 1024 / connections
    assert each_kb < 16, each_kb
    return {
        "connections": connections,
        "KiB each": round(each_kb, 2),
        "p99 ms of others": round(percentile(times, 0.99) * 1e3, 2),
    }


async def beyond_the_limit(limit: int = 100) -> Seen:
    """More connections than `max_connections`: the others hear 503, and those inside are served."""
    async with Target(limits={"max_connections": limit}) as target:
        inside = []
        for _ in range(limit):
            reader, writer = await target.connect()
            writer.write(HEAD + b"\r\n")
            await reader.readuntil(b"\r\n\r\nin")
            inside.append((reader, writer))
        refused = [await target.exchange(HEAD + b"\r\n") for _ in range(20)]
        assert all(answer.startswith(b"HTTP/1.1 503") for answer in refused), refused[0]
        for reader, writer in inside:
            writer.write(HEAD + b"\r\n")
            assert (await reader.readuntil(b"\r\n\r\nin")).startswith(b"HTTP/1.1 200")
            await hang_up(writer)
        await target.ask()
    return {"limit": limit, "refused with 503": len(refused)}


async def churn(connections: int = 20_000, at_once: int = 50) -> Seen:
    """A connection for each request: none fails, and nothing is left of them."""
    async with Target() as target:
        await many(lambda _: target.ask(), connections // 10, at_once)
        before = target.usage()
        began = time.monotonic()
        await many(lambda _: target.ask(), connections, at_once)
        took = time.monotonic() - began
        await descriptors_return(target, before.descriptors)
        grown = target.usage().rss_mb - before.rss_mb
    assert grown < 8, grown
    return {"connections": connections, "per second": round(connections / took), "grown MiB": round(grown, 2)}


FLOODS: dict[str, tuple[bytes, bytes, int, set[bytes]]] = {
    # name: beginning, what is repeated, how often, the statuses that are right
    "fields": (HEAD, b"X-Field: value\r\n", 100_000, {b"431"}),
    "one endless field": (HEAD + b"X: ", b"x" * 1000, 20_000, {b"431"}),
    "one endless name": (HEAD, b"x" * 1000, 20_000, {b"431"}),
    "an endless target": (b"GET /", b"x" * 1000, 20_000, {b"414"}),
    "empty lines": (b"", b"\r\n" * 500, 20_000, {b"400"}),
    "a chunk extension": (
        b"POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x" * 1000, 20_000, {b"400"},
    ),
    "an extension on every chunk": (
        b"POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1;" + b"e" * 200 + b"\r\na\r\n", 100_000, {b"400", b"413"},
    ),
    "trailers": (
        b"POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: value\r\n",
        100_000, {b"431"},
    ),
    "a chunk size": (
        b"POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 1000, 20_000, {b"400"},
    ),
    "a body beyond its limit": (
        b"POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n",
        20_000, {b"413"},
    ),
}  # fmt: skip


async def floods(scale: float = 1.0) -> Seen:
    """Heads, chunks and trailers without end: refused at the limit, in bounded memory."""
    seen: Seen = {}
    async with Target() as target:
        before = target.usage()
        for name, (begin, piece, times, right) in FLOODS.items():
            answer, sent, most = await flood(target, begin, piece, max(400, int(times * scale)))
            status = answer[9:12]
            assert status in right, (name, answer[:200])
            assert most - before.rss_mb < 30, (name, most)
            seen[name] = f"{status.decode()} after {sent / 1000:.0f} kB"
            await target.ask()
        await descriptors_return(target, before.descriptors)
    return seen


async def flood(target: Target, begin: bytes, piece: bytes, times: int) -> tuple[bytes, int, float]:
    """Send without end; return the answer, how much could be sent, and the most memory seen, in MiB."""
    reader, writer = await target.connect()
    reading = asyncio.ensure_future(read_all(reader))
    sent, most = 0, 0.0
    with contextlib.suppress(ConnectionError):
        writer.write(begin)
        for _ in range(times):
            if reading.done():
                break
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
            most = max(most, target.usage().rss_mb) if sent % 64_000 < len(piece) else most
        if not reading.done():
            writer.write_eof()
    answer = await reading
    await hang_up(writer)
    return answer, sent, max(most, target.usage().rss_mb)


async def pipelining(requests: int = 3_000_000) -> Seen:
    """Requests without end and without reading the answers: the server stops reading, in bounded memory."""
    async with Target({"write": 2.0}, {"max_requests_per_connection": 10 * requests}) as target:
        before = target.usage()
        block, sent, most = (HEAD + b"\r\n") * 1000, 0, before.rss_mb
        with socket.create_connection(("127.0.0.1", target.port)) as client:
            client.settimeout(SLACK_S + 3)  # the server holds back, and drops us after its write timeout
            with contextlib.suppress(OSError):
                while sent < requests:
                    await asyncio.to_thread(client.sendall, block)
                    sent += 1000
                    most = max(most, target.usage().rss_mb)
        assert sent < requests, "everything was taken"
        await target.ask()
        await descriptors_return(target, before.descriptors)
    assert most - before.rss_mb < 10, most
    return {"taken": sent, "grown MiB": round(most - before.rss_mb, 1)}


async def large_uploads(megabytes: int = 200, at_once: int = 3) -> Seen:
    """Uploads that a handler streams: all arrive, in at most 20 MiB of memory."""
    size = megabytes * 1_000_000
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size

    async def upload(target: Target) -> bytes:
        reader, writer = await target.connect()
        writer.write(head)
        piece = b"x" * 100_000
        for _ in range(size // len(piece)):
            writer.write(piece)
            await writer.drain()
        answer = await read_all(reader)
        await hang_up(writer)
        return answer

    async with Target() as target:
        before, most = target.usage(), 0.0
        running = asyncio.gather(*(upload(target) for _ in range(at_once)))
        while not running.done():
            most = max(most, target.usage().rss_mb)
            await asyncio.sleep(0.02)
        assert all(b'{"size":%d}' % size in answer for answer in await running)
    grown = most - before.rss_mb
    assert grown <= 20, grown
    return {"megabytes": megabytes, "at once": at_once, "grown MiB": round(grown, 1)}


async def early_closes(times: int = 500) -> Seen:
    """Clients that leave in the middle, by a close or a reset, and half-closes that still want their answer."""
    upload = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000
    download = HEAD.replace(b"/ ", b"/endless ", 1) + b"\r\n"

    async def leave(number: int) -> None:
        reader, writer = await target.connect()
        writer.write(upload if number % 2 else download)
        await writer.drain()
        if not number % 2:
            await reader.read(1000)
        if number % 4 < 2:
            writer.transport.abort()
        await hang_up(writer)

    async with Target() as target:
        await many(leave, 50, 10)
        before = target.usage()
        await many(leave, times, 10)
        for _ in range(20):
            answer = await target.exchange(HEAD + b"\r\n", half_close=True)
            assert answer.endswith(b"\r\n\r\nin")
        await descriptors_return(target, before.descriptors)
        grown = target.usage().rss_mb - before.rss_mb
    assert grown < 10, grown
    return {"left in the middle": times, "half-closed": 20, "grown MiB": round(grown, 1)}


SEEDS = [
    HEAD + b"\r\n",
    HEAD + b"Accept: */*\r\nCookie: a=b; c=d\r\nX: " + b"y" * 50 + b"\r\n\r\n",
    b"POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + HEAD + b"\r\n",
    b"POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: v\r\n\r\n",
    b"GET /?q=%20 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    (
        b"GET http://b/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ),
]
SPICE = [
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"\xff", b"chunked", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n", b"Content-Length: -1\r\n", b"0\r\n\r\n", b"ffffffffffffffff", b"HTTP/1.1", b"%00",
    b"Host: b\r\n",
]  # fmt: skip


def mutate(source: random.Random) -> bytes:
    """Return a request with some things wrong."""
    data = bytearray(source.choice(SEEDS))
    for _ in range(source.randint(1, 6)):
        at = source.randrange(len(data) + 1)
        how = source.randrange(5)
        if how == 0:
            data[at:at] = source.choice(SPICE)
        elif how == 1:
            del data[at : at + source.randint(1, 8)]
        elif how == 2:
            data[at : at + 1] = bytes([source.randrange(256)])
        elif how == 3:
            data[at:at] = data[at : at + source.randint(1, 40)] * source.randint(1, 3)
        else:
            data = data[:at] or data
    return bytes(data)


async def garbage(uds: str, requests: int = 100_000, seed: int = 9112, at_once: int = 32) -> Seen:
    """Mutated requests: the server lives, answers no 5xx but 501 and 505, and keeps nothing."""
    source = random.Random(seed)
    statuses: Counter[str] = Counter()

    async def attack(_: int) -> None:
        answer = await target.exchange(mutate(source), half_close=True)
        statuses.update(line[9:12].decode("latin-1") for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1."))

    async with Target(uds=uds) as target:
        await many(attack, requests // 10, at_once)
        before = target.usage()
        await many(attack, requests, at_once)
        await target.ask()
        await descriptors_return(target, before.descriptors)
        grown = target.usage().rss_mb - before.rss_mb
    wrong = {status for status in statuses if status >= "500"} - {"501", "505"}
    assert not wrong, statuses
    assert statuses["400"] > requests / 10
    assert grown < 8, grown
    return {"requests": requests, "statuses": dict(statuses.most_common()), "grown MiB": round(grown, 2)}


async def many(work: Callable[[int], Awaitable[object]], times: int, at_once: int) -> None:
    """Do something often, so many at a time."""
    numbers = iter(range(times))

    async def one_after_the_other() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))


async def descriptors_return(target: Target, most: int) -> None:
    """Wait until the server has no more descriptors open than before."""
    began = time.monotonic()
    while (now := target.usage().descriptors) > most:
        assert time.monotonic() - began < 20, f"{now} descriptors are open, {most} were before"
        await asyncio.sleep(0.05)
