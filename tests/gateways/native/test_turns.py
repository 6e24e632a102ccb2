"""What the compiled poller keeps for the end of a turn: small writes, and threads to be woken."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from importlib import import_module
from queue import Empty
from typing import Any

import pytest

from cello.gateways.native.accepting import is_polling_ours
from tests.gateways.native.test_transport import LOTS, Recorder, Scene

pytestmark = pytest.mark.skipif(not is_polling_ours(), reason="the poller is compiled, and for Linux")


class Answering(Recorder):
    """Does something whenever data comes."""

    answer: Callable[[Any], None]

    def data_received(self, data):
        super().data_received(data)
        self.answer(self.transport)


def answering(answer: Callable[[Any], None]) -> Any:
    scene = Scene("poller")
    Answering.answer = staticmethod(answer)  # type: ignore[assignment]  # a protocol is made by the scene
    return scene


@pytest.fixture
def as_answering(monkeypatch):
    """Have scenes be played by a protocol that answers."""
    monkeypatch.setattr("tests.gateways.native.test_transport.Recorder", Answering)


@pytest.mark.usefixtures("as_answering")
class TestWriteSoon:
    async def test_what_is_written_in_one_turn_goes_in_one_piece(self):
        waited = []

        def answer(transport):
            for piece in (b"a", b"b", b"c"):
                transport.write_soon(piece)
            waited.append(transport.get_write_buffer_size())

        async with answering(answer) as scene:
            await scene.say(b"?")
            assert await scene.hear() == b"abc"
            assert waited == [3]
            assert scene.transport.get_write_buffer_size() == 0

    async def test_order_is_kept_with_write_and_with_much(self):
        long = bytes(100_000)

        def answer(transport):
            transport.write_soon(b"1")
            transport.write(b"2")
            transport.write_soon(b"3")
            transport.write_soon(long)
            transport.write_soon(b"4")

        async with answering(answer) as scene:
            await scene.say(b"?")
            heard = b""
            while len(heard) < len(long) + 4:
                heard += await scene.hear()
            assert heard == b"123" + long + b"4"

    @pytest.mark.parametrize("end", ["close", "write_eof"])
    async def test_the_end_comes_behind_it(self, end):
        def answer(transport):
            transport.write_soon(b"last words")
            getattr(transport, end)()

        async with answering(answer) as scene:
            await scene.say(b"?")
            assert await scene.hear_all() == b"last words"

    async def test_abort_drops_it(self):
        def answer(transport):
            transport.write_soon(b"never")
            transport.abort()

        async with answering(answer) as scene:
            await scene.say(b"?")
            assert await scene.hear_all() == b""

    async def test_a_client_that_takes_nothing_blocks_the_writer(self):
        def answer(transport):
            transport.write(bytes(LOTS))
            transport.write_soon(b"and this")

        async with answering(answer) as scene:
            await scene.say(b"?")
            await scene.protocol.blocked.wait()
            heard = 0
            while heard < LOTS + 8:
                heard += len(await scene.hear(1 << 20))
            await scene.protocol.unblocked.wait()

    async def test_outside_of_a_turn_it_is_written_at_once(self):
        async with Scene("poller") as scene:
            scene.transport.write_soon(b"now")
            assert scene.transport.get_write_buffer_size() == 0
            assert await scene.hear() == b"now"


class Pairs:
    """Some connections of one poller, in the order of which the poller hears of them."""

    def __init__(self, *protocols):
        self.poller = import_module("cello._speedups.transport").Poller(asyncio.get_running_loop())
        self.peers = []
        for protocol in protocols:
            peer, ours = socket.socketpair()
            peer.settimeout(10)
            self.peers.append(peer)
            self.poller.adopt(ours, protocol)

    async def __aenter__(self):
        for peer in self.peers:
            peer.send(b"?")
        return self

    async def __aexit__(self, *_):
        self.poller.close()
        for peer in self.peers:
            peer.close()


class Acting(asyncio.Protocol):
    """Does what it is told when data comes."""

    def __init__(self, act):
        self.act = act

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.act(self.transport)


async def hear_from(peer):
    return await asyncio.to_thread(peer.recv, 100)


class TestManyConnections:
    async def test_each_gets_its_own_bytes(self):
        def answer(number):
            def act(transport):
                for _ in range(3):
                    transport.write_soon(b"%d" % number)

            return act

        async with Pairs(*(Acting(answer(number)) for number in range(8))) as pairs:
            assert [await hear_from(peer) for peer in pairs.peers] == [b"%d" % number * 3 for number in range(8)]

    async def test_one_that_writes_for_another_keeps_the_order_of_both(self):
        transports = []

        def first(transport):
            transports.append(transport)
            transport.write_soon(b"a1")

        def second(transport):
            transport.write_soon(b"b1")
            transports[0].write_soon(b"a2")
            transport.write_soon(b"b2")

        async with Pairs(Acting(first), Acting(second)) as pairs:
            heard = [b"", b""]
            while len(heard[0]) < 4 or len(heard[1]) < 4:
                for number, peer in enumerate(pairs.peers):
                    heard[number] += await hear_from(peer) if len(heard[number]) < 4 else b""
            assert heard == [b"a1a2", b"b1b2"]

    async def test_more_than_fits_is_sent_in_between(self):
        piece = bytes(16_000)
        async with Pairs(*(Acting(lambda transport: transport.write_soon(piece)) for _ in range(20))) as pairs:
            for peer in pairs.peers:
                heard = b""
                while len(heard) < len(piece):
                    heard += await asyncio.to_thread(peer.recv, 65536)
                assert heard == piece

    async def test_an_answer_does_not_wait_for_slow_handlers(self):
        heard = []

        def slow(_):
            time.sleep(0.001)

        def look(_):
            heard.append(pairs.peers[0].recv(100))  # in the same turn: it would wait for ever otherwise

        async with Pairs(Acting(lambda transport: transport.write_soon(b"early")), Acting(slow), Acting(look)) as pairs:
            async with asyncio.timeout(10):
                while not heard:
                    await asyncio.sleep(0.001)
        assert heard == [b"early"]

    async def test_what_escapes_one_leaves_the_others_their_bytes(self):
        class Escaping(BaseException):
            pass

        def escape(_):
            raise Escaping

        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        answer = Acting(lambda transport: transport.write_soon(b"here"))
        async with Pairs(answer, Acting(escape), Acting(answer.act), Acting(answer.act)) as pairs:
            for number in (0, 2, 3):
                assert await hear_from(pairs.peers[number]) == b"here"


class TestMailbox:
    @pytest.fixture
    async def poller(self):
        made = import_module("cello._speedups.transport").Poller(asyncio.get_running_loop())
        yield made
        made.close()

    async def test_things_come_out_in_order(self, poller):
        mailbox = import_module("cello._speedups.transport").Mailbox(poller)
        for item in ("a", None, b"c"):
            mailbox.put(item)
        assert mailbox.qsize() == 3
        assert [mailbox.get() for _ in range(3)] == ["a", None, b"c"]
        assert mailbox.empty()

    @pytest.mark.parametrize("timeout", [0, 0.001, -1])
    async def test_waiting_ends_in_time(self, poller, timeout):
        mailbox = import_module("cello._speedups.transport").Mailbox(poller)
        with pytest.raises(Empty):
            mailbox.get(timeout=timeout)
        mailbox.put("later")
        assert mailbox.get(timeout=30) == "later"

    async def test_every_reader_gets_one(self, poller):
        mailbox = import_module("cello._speedups.transport").Mailbox(poller)
        taken: list[int] = []
        readers = [threading.Thread(target=lambda: taken.append(mailbox.get(timeout=30))) for _ in range(8)]
        for reader in readers:
            reader.start()
        for number in range(8):
            mailbox.put(number)
        for reader in readers:
            await asyncio.to_thread(reader.join)
        assert sorted(taken) == list(range(8))

    @pytest.mark.usefixtures("as_answering")
    async def test_a_thread_is_woken_by_a_turn(self):
        got = asyncio.get_running_loop().create_future()
        boxes: list[Any] = []

        def answer(transport):
            boxes[0].put(f"{len(transport.get_protocol().received)} bytes")

        async with answering(answer) as scene:
            boxes.append(scene.transport.mailbox())
            loop = asyncio.get_running_loop()
            reader = threading.Thread(
                target=lambda: loop.call_soon_threadsafe(got.set_result, [boxes[0].get(), boxes[0].get()])
            )
            reader.start()
            await scene.say(b"123")
            await scene.until(lambda: scene.protocol.received == b"123")
            await scene.say(b"45")
            assert await got == ["3 bytes", "5 bytes"]
            reader.join()
