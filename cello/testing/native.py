"""The test client's way in through cello's own server: real connections of it, over socket pairs.

h11 reads the answers: a client that was not written by us, and a strict one.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import h11

from cello.gateways.hosted import ServedApp
from cello.gateways.native import ServerState, choose_tier, make_protocol_factory
from cello.testing.native_websocket import NativeSocket
from cello.testing.outgoing import Outgoing
from cello.testing.transport import Incoming, TransportError, body_chunks


class NativeTransport:
    """Serves the application with `cello.gateways.native` on the client's loop; connections are kept and reused."""

    def __init__(self, app: ServedApp, *, tier: str = "auto") -> None:
        self._app = app
        self._tier = tier
        self._state: ServerState | None = None
        self._idle: list[Wire] = []

    async def open(self) -> None:
        """Start the application and one worker's server state."""
        await self._app.lifecycle.startup()
        dispatcher = self._app.freeze()
        self._state = ServerState(dispatcher, asyncio.get_running_loop(), choose_tier(self._tier))
        self._state.start()

    async def close(self) -> None:
        """Close every connection, wait for what is under way, and shut the application down."""
        state, self._state = self._state, None
        if state is None:
            return
        for wire in self._idle:
            wire.close()
        self._idle.clear()
        await state.wait_empty()
        state.stop()
        await self._app.lifecycle.shutdown()
        state.dispatcher.end_threads()

    async def send(self, request: Outgoing) -> Incoming:
        """Send a request on an idle connection, or a new one."""
        state = self._state
        if state is None:
            raise TransportError("the transport is not open")
        wire = self._idle.pop() if self._idle else await Wire.connect(state)
        exchange = WireExchange(wire, request, self._keep)
        await exchange.begin()
        return Incoming(exchange.status, exchange.fields, exchange.read(), exchange.leave)

    async def connect(self, request: Outgoing) -> NativeSocket:
        """Open a WebSocket, on a connection of its own."""
        if self._state is None:
            raise TransportError("the transport is not open")
        wire = await Wire.connect(self._state)
        return await NativeSocket(wire.reader, wire.writer).begin(request)

    async def settle(self) -> None:
        """Wait for the tasks behind the last answers."""
        while self._state is not None and self._state.tasks:
            await asyncio.wait(set(self._state.tasks))

    def _keep(self, wire: "Wire") -> None:
        if self._state is not None and not wire.reader.at_eof():
            self._idle.append(wire)
        else:
            wire.close()


class Wire:
    """The client's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.protocol = h11.Connection(h11.CLIENT)

    @classmethod
    async def connect(cls, state: ServerState) -> "Wire":
        """Open a connection to the server."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        make = make_protocol_factory(state.dispatcher, state)
        await loop.connect_accepted_socket(make, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(reader, writer)

    async def write(self, event: Any) -> None:
        """Send an h11 event."""
        data = self.protocol.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    async def next_event(self) -> Any:
        """Return the next h11 event from the server."""
        while (event := self.protocol.next_event()) is h11.NEED_DATA:
            self.protocol.receive_data(await self.reader.read(65_536))
        return event

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


class WireExchange:
    """One request and its answer on a connection."""

    status: int
    fields: list[tuple[bytes, bytes]]

    def __init__(self, wire: Wire, request: Outgoing, keep: Callable[[Wire], None]) -> None:
        self._wire = wire
        self._request = request
        self._keep = keep
        self._sending: asyncio.Task[None] | None = None
        self._is_over = False

    async def begin(self) -> None:
        """Send, and read up to the head of the final answer; a body that is still on its way goes on being sent."""
        self._sending = sending = asyncio.create_task(self._send())
        try:
            while isinstance(event := await self._wire.next_event(), h11.InformationalResponse):
                pass
            if not isinstance(event, h11.Response):
                raise TransportError("the server closed the connection without an answer")
        except BaseException as error:
            await self.leave()
            if sending.done() and not sending.cancelled() and (failure := sending.exception()) is not None:
                raise failure from None
            if isinstance(error, OSError | h11.RemoteProtocolError):
                raise TransportError(f"the server broke the connection: {error}") from error
            raise
        self.status = event.status_code
        self.fields = list(event.headers.raw_items())

    async def _send(self) -> None:
        fields = list(self._request.headers)
        names = {name.lower() for name, _ in fields}
        if not isinstance(self._request.body, bytes) and "content-length" not in names:
            fields.append(("Transfer-Encoding", "chunked"))
        wire = self._wire
        try:
            await wire.write(h11.Request(method=self._request.method, target=self._request.target, headers=fields))
            async for chunk in body_chunks(self._request.body):
                await wire.write(h11.Data(data=chunk))
            await wire.write(h11.EndOfMessage())
        except ConnectionError:
            return  # the server answered and closed before it had everything; its answer says why
        except BaseException:
            wire.close()  # a body that cannot be completed: the reader must not wait for an answer
            raise

    async def read(self) -> AsyncIterator[bytes]:
        """Yield the body, and give the connection back if it can be used again."""
        try:
            while isinstance(event := await self._wire.next_event(), h11.Data):
                yield bytes(event.data)
        except (OSError, h11.RemoteProtocolError) as error:
            raise TransportError(f"the server broke off its answer: {error}") from error
        wire = self._wire
        if self._sending is not None and self._sending.done():
            await self._sending
            if wire.protocol.our_state is h11.DONE and wire.protocol.their_state is h11.DONE:
                wire.protocol.start_next_cycle()
                self._is_over = True
                self._keep(wire)

    async def leave(self) -> None:
        """Close the connection unless it was given back."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.wait({self._sending})
        if not self._is_over:
            self._is_over = True
            self._wire.close()
