"""Our own transport keeps asyncio's promises: one table of scenes, played with either, must read the same."""

import asyncio
import errno
import os
import socket
from importlib import import_module

import pytest

from cello.gateways.native.accepting import Acceptor, is_polling_ours

pytestmark = pytest.mark.skipif(not is_polling_ours(), reason="the poller is compiled, and for Linux")
LOTS = 4_000_000


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self, stays_open=True, fails_on=None):
        self.events = []
        self.received = b""
        self.stays_open = stays_open
        self.fails_on = fails_on
        self.lost = asyncio.get_running_loop().create_future()
        self.blocked = asyncio.Event()
        self.unblocked = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def data_received(self, data):
        self.received += data
        if not self.events or self.events[-1] != "data":
            self.note("data")

    def eof_received(self):
        self.note("eof")
        return self.stays_open

    def pause_writing(self):
        self.note("pause")
        self.blocked.set()

    def resume_writing(self):
        self.note("resume")
        self.unblocked.set()

    def connection_lost(self, error):
        self.note(f"lost {type(error).__name__ if error else 'in peace'}")
        self.lost.set_result(error)

    def note(self, event):
        self.events.append(event)
        if event == self.fails_on:
            raise ValueError(event)


class Scene:
    """A protocol on one end of a socket pair, the test on the other."""

    def __init__(self, kind, **options):
        self.kind = kind
        self.options = options

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.complaints = []
        loop.set_exception_handler(lambda _, context: self.complaints.append(context["message"]))
        self.peer, ours = socket.socketpair()
        self.peer.setblocking(False)
        ours.setblocking(False)
        self.protocol = Recorder(**self.options)
        self.poller = None
        if self.kind == "poller":
            self.poller = import_module("cello._speedups.transport").Poller(loop)
            self.poller.adopt(ours, self.protocol)
        else:
            await loop.connect_accepted_socket(lambda: self.protocol, ours)
        self.transport = self.protocol.transport
        return self

    async def __aexit__(self, *_):
        if not self.protocol.lost.done():
            self.transport.abort()
        self.peer.close()
        async with asyncio.timeout(10):
            await self.protocol.lost
        if self.poller is not None:
            self.poller.close()

    async def say(self, data):
        await asyncio.get_running_loop().sock_sendall(self.peer, data)

    async def hear(self, size=65536):
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(self.peer, size)

    async def hear_all(self):
        heard = b""
        while piece := await self.hear(1 << 20):
            heard += piece
        return heard

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.001)


async def an_echo(scene):
    await scene.say(b"hello")
    await scene.until(lambda: scene.protocol.received)
    scene.transport.write(scene.protocol.received)
    return await scene.hear()


async def a_peer_that_leaves(scene):
    scene.peer.close()
    await scene.until(lambda: "eof" in scene.protocol.events)
    if not scene.protocol.stays_open:
        await scene.protocol.lost


async def a_goodbye_right_behind_the_bytes(scene):
    scene.peer.send(b"hello")
    scene.peer.shutdown(socket.SHUT_WR)
    await scene.until(lambda: "eof" in scene.protocol.events)
    return scene.protocol.received


async def more_comes_than_is_read_at_once(scene):
    sent = os.urandom(700_000)
    scene.transport.pause_reading()
    saying = asyncio.ensure_future(scene.say(sent))
    await asyncio.sleep(0.01)
    scene.transport.resume_reading()
    await saying
    await scene.until(lambda: len(scene.protocol.received) == len(sent))
    return scene.protocol.received == sent


async def what_comes_while_reading_is_paused_is_read_later(scene):
    scene.transport.pause_reading()
    scene.peer.send(b"hello")
    scene.peer.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    before = scene.protocol.received
    scene.transport.resume_reading()
    await scene.until(lambda: "eof" in scene.protocol.events)
    return before, scene.protocol.received


async def a_half_goodbye_is_answered(scene):
    scene.peer.shutdown(socket.SHUT_WR)
    await scene.until(lambda: "eof" in scene.protocol.events)
    scene.transport.write(b"still here")
    heard = await scene.hear()
    scene.transport.close()
    await scene.protocol.lost
    return heard


async def our_half_goodbye_comes_behind_what_is_unsent(scene):
    scene.transport.write(b"x" * LOTS)
    scene.transport.write_eof()
    with pytest.raises(RuntimeError):
        scene.transport.write(b"more")
    heard = len(await scene.hear_all())
    await scene.say(b"thanks")
    await scene.until(lambda: scene.protocol.received)
    return heard, scene.protocol.received, scene.transport.is_closing()


async def closing_sends_what_is_unsent(scene):
    scene.transport.write(b"x" * LOTS)
    unsent = scene.transport.get_write_buffer_size() > 0
    scene.transport.close()
    scene.transport.close()
    return unsent, scene.transport.is_closing(), len(await scene.hear_all()), await scene.protocol.lost


async def aborting_does_not(scene):
    scene.transport.write(b"x" * LOTS)
    scene.transport.abort()
    scene.transport.write(b"ignored")
    await scene.protocol.lost
    return len(await scene.hear_all()) < LOTS


async def a_slow_reader_blocks_and_unblocks(scene):
    scene.transport.set_write_buffer_limits(high=1000)
    limits = scene.transport.get_write_buffer_limits()
    scene.transport.write(b"x" * (LOTS // 2))
    scene.transport.write(b"y" * (LOTS // 2))
    async with asyncio.timeout(10):
        await scene.protocol.blocked.wait()
        heard = 0
        while heard < LOTS:
            heard += len(await scene.hear(1 << 20))
        await scene.protocol.unblocked.wait()
    return limits, heard, scene.transport.get_write_buffer_size()


async def reading_can_be_paused(scene):
    scene.transport.pause_reading()
    await scene.say(b"hello")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    held = scene.protocol.received, scene.transport.is_reading()
    scene.transport.resume_reading()
    await scene.until(lambda: scene.protocol.received)
    return held, scene.transport.is_reading()


async def another_protocol_takes_over(scene):
    first, second = scene.protocol, Recorder()
    scene.transport.set_protocol(second)
    await scene.say(b"to the second")
    await scene.until(lambda: second.received)
    is_second = scene.transport.get_protocol() is second
    scene.transport.set_protocol(first)
    return first.received, second.received, is_second


async def bytes_like_things_are_written(scene):
    scene.transport.write(bytearray(b"one "))
    scene.transport.writelines([b"t", b"wo"])
    scene.transport.write(b"")
    await scene.until(lambda: scene.transport.get_write_buffer_size() == 0)
    await asyncio.sleep(0)
    return await scene.hear()


async def wrong_limits_are_refused(scene):
    with pytest.raises(ValueError, match="must be >="):
        scene.transport.set_write_buffer_limits(high=1, low=2)
    return scene.transport.can_write_eof(), scene.transport.get_extra_info("sslcontext", "none")


SCENES = [
    an_echo,
    a_peer_that_leaves,
    a_goodbye_right_behind_the_bytes,
    more_comes_than_is_read_at_once,
    what_comes_while_reading_is_paused_is_read_later,
    a_half_goodbye_is_answered,
    our_half_goodbye_comes_behind_what_is_unsent,
    closing_sends_what_is_unsent,
    aborting_does_not,
    a_slow_reader_blocks_and_unblocks,
    reading_can_be_paused,
    another_protocol_takes_over,
    bytes_like_things_are_written,
    wrong_limits_are_refused,
]


async def play(scene, kind, **options):
    async with Scene(kind, **options) as stage:
        result = await scene(stage)
    return result, stage.protocol.events, stage.complaints


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_a_scene_reads_as_with_asyncio(scene):
    assert await play(scene, "poller") == await play(scene, "asyncio")


async def test_eof_that_is_not_wanted_closes():
    assert await play(a_peer_that_leaves, "poller", stays_open=False) == await play(
        a_peer_that_leaves, "asyncio", stays_open=False
    )


async def test_a_protocol_that_raises_ends_its_connection():
    async def scene(stage):
        await stage.say(b"hello")
        return type(await stage.protocol.lost)

    result, events, complaints = await play(scene, "poller", fails_on="data")
    assert (result, events) == (ValueError, ["made", "data", "lost ValueError"])
    assert complaints == ["Fatal error: protocol.data_received() call failed."]


async def test_a_reset_is_told_also_while_reading_is_paused():
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = Recorder()
    acceptor = Acceptor(asyncio.get_running_loop(), lambda: protocol)
    await acceptor.listen(listener)
    client = socket.create_connection(listener.getsockname())
    async with asyncio.timeout(10):
        while not protocol.events:
            await asyncio.sleep(0.001)
        protocol.transport.pause_reading()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        error = await protocol.lost
    assert error.errno == errno.ECONNRESET
    acceptor.close()
    listener.close()


async def test_what_comes_behind_urgent_data_is_read():
    listener = socket.create_server(("127.0.0.1", 0))
    protocol = Recorder()
    acceptor = Acceptor(asyncio.get_running_loop(), lambda: protocol)
    await acceptor.listen(listener)
    with socket.create_connection(listener.getsockname()) as client:
        client.send(b"before")
        client.send(b"!", socket.MSG_OOB)
        client.send(b"behind")
        async with asyncio.timeout(10):
            while protocol.received != b"beforebehind":
                await asyncio.sleep(0.001)
    acceptor.close()
    listener.close()


async def test_what_is_open_when_the_poller_closes_is_lost():
    async with Scene("poller") as stage:
        stage.poller.close()
        assert await stage.protocol.lost is None
        stage.transport.close()


async def test_without_descriptors_it_pauses_instead_of_spinning():
    loop = asyncio.get_running_loop()
    complaints = []
    loop.set_exception_handler(lambda _, context: complaints.append(context["exception"].errno))

    class Exhausted:
        """A listener whose process has no descriptor left."""

        def __init__(self):
            self.inner = socket.create_server(("127.0.0.1", 0))

        def fileno(self):
            return self.inner.fileno()

        def setblocking(self, flag):
            self.inner.setblocking(flag)

        def accept(self):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    listener = Exhausted()
    poller = import_module("cello._speedups.transport").Poller(loop)
    listening = poller.listen(listener, Recorder)
    client = socket.create_connection(listener.inner.getsockname())
    for _ in range(100):
        await asyncio.sleep(0)
    assert complaints == [errno.EMFILE]
    listening.close()
    poller.close()
    client.close()
    listener.inner.close()
