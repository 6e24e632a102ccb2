"""Which way into the application a test client takes."""

from collections.abc import Callable
from typing import Any

from cello.errors import ConfigError
from cello.gateways.asgi import AsgiGateway
from cello.gateways.wsgi import WsgiGateway
from cello.http.request import Request
from cello.testing.asgi import AsgiTransport
from cello.testing.outgoing import Outgoing
from cello.testing.transport import Incoming, Transport
from cello.testing.websocket import SocketConnection
from cello.testing.wsgi import WsgiTransport

GATEWAYS = ("asgi", "wsgi", "native")


def make_transport(app: Any, gateway: str, *, raise_errors: bool, client: tuple[str, int]) -> Transport:
    """Return the transport for a gateway by name.

    Raises:
        ConfigError: No such gateway, or one that needs an App and got something else.
    """
    is_ours = hasattr(app, "freeze") and hasattr(app, "lifecycle")
    transport: Transport
    if gateway == "asgi":
        transport = AsgiTransport(AsgiGateway(app) if is_ours else app, raise_errors=raise_errors, client=client)
    elif gateway == "wsgi":
        if is_ours:
            door = WsgiGateway(app)
            transport = WsgiTransport(door, raise_errors=raise_errors, client=client, start=door.open, stop=door.close)
        else:
            transport = WsgiTransport(app, raise_errors=raise_errors, client=client)
    elif gateway == "native":
        if not is_ours:
            raise ConfigError(f"the native gateway serves an App, not {type(app).__name__}")
        from cello.testing.native import NativeTransport

        transport = NativeTransport(app)
    else:
        raise ConfigError(f"gateway must be one of {', '.join(GATEWAYS)}, not {gateway!r}")
    return Raising(app, transport) if raise_errors and is_ours else transport


class Raising:
    """A transport that raises what the application's handlers raised, where the answer is the 500 it became."""

    def __init__(self, app: Any, transport: Transport) -> None:
        self._app = app
        self._transport = transport
        self._faults: list[tuple[str, str, Exception]] = []

    async def open(self) -> None:
        """Start the application, and hear of what nobody handles from now on."""
        await self._transport.open()
        self._app.dispatcher.fault_listeners.append(self._note)

    async def close(self) -> None:
        """Stop hearing, and shut down."""
        self._app.dispatcher.fault_listeners.remove(self._note)
        await self._transport.close()

    async def send(self, request: Outgoing) -> Incoming:
        """Send a request.

        Raises:
            Exception: The very one that a handler raised and nobody handled.
        """
        incoming = await self._transport.send(request)
        if incoming.status >= 500 and (error := self._fault_of(request)) is not None:
            await incoming.aclose()
            raise error
        return incoming

    def _fault_of(self, request: Outgoing) -> Exception | None:
        """Return, once, what the handler of `request` raised."""
        path = request.target.partition("?")[0]
        for fault in self._faults:
            if fault[:2] == (request.method, path):
                self._faults.remove(fault)
                return fault[2]
        return None

    async def connect(self, request: Outgoing) -> SocketConnection:
        """Open a WebSocket, whose reads and close raise what its handler raised."""
        connection = await self._transport.connect(request)
        return RaisingSocket(connection, lambda: self._fault_of(request))

    async def settle(self) -> None:
        """Wait for what follows the answers."""
        await self._transport.settle()

    def _note(self, request: Request, error: Exception) -> None:
        self._faults.append((request.method, request.raw_path, error))


class RaisingSocket:
    """A WebSocket that raises what its handler raised, where the test reads on, or closes."""

    def __init__(self, connection: SocketConnection, fault: Callable[[], Exception | None]) -> None:
        self._connection = connection
        self._fault = fault
        self.fields = connection.fields
        self.subprotocol = connection.subprotocol
        self.send = connection.send

    @property
    def close_code(self) -> int | None:
        """Of the close."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str:
        """What came with it."""
        return self._connection.close_reason

    async def receive(self) -> str | bytes | None:
        """Return the next message, None when the application has closed."""
        message = await self._connection.receive()
        if message is None:
            self._raise()
        return message

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait until the application is done with it."""
        await self._connection.close(code, reason)
        self._raise()

    def _raise(self) -> None:
        error = self._fault()
        if error is not None:
            raise error
