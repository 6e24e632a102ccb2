"""From a request to a WebSocket: the exchange of a handshake, which goes on as the conversation.

The handshake is answered like any request, in a task. Where the answer is anything but `Accepted` it is sent, and the
connection lives on. Otherwise the link takes the transport over, and the handler runs in the same task (`async def`),
or on a thread of its own that the task waits for (`def`).
"""

import asyncio

from cello.errors import HTTPError, ServiceUnavailable
from cello.gateways.native.exchange import Exchange
from cello.gateways.native.link import Link
from cello.gateways.native.socket_link import SocketLink
from cello.gateways.native.socket_task import TaskPort
from cello.gateways.native.socket_thread import ThreadPort
from cello.http.request import Request
from cello.http.response import Response
from cello.http.websocket import WebSocket
from cello.pipeline.plan import Plan
from cello.pipeline.sockets import Accepted, handler_ended
from cello.wire.response_head import upgrade_head
from cello.wire.ws_deflate import Deflate, negotiate
from cello.wire.ws_handshake import Handshake
from cello.wire.ws_tiers import choose_ws_tier


class Upgrade(Exchange):
    """A handshake, and the conversation behind it.

    Args:
        link: The connection that is to be upgraded.
        request: The handshake as a request.
        plan: How it is answered.
        handshake: The same, understood.
        keep_alive: Whether the connection may live on where the upgrade is not accepted.
    """

    __slots__ = ("_handshake",)

    def __init__(self, link: Link, request: Request, plan: Plan, handshake: Handshake, *, keep_alive: bool) -> None:
        super().__init__(link, request, plan, keep_alive=keep_alive)
        self._handshake = handshake

    def start(self) -> None:
        """Answer in a task, which becomes the conversation's."""
        self._run(self._link.state.dispatcher.answer_async(self.plan, self.request))

    def client_is_gone(self) -> None:
        """Let the handshake be answered; there will be nobody to talk to."""

    def _send_at_once(self, response: Response) -> bool:
        return not isinstance(response, Accepted) and super()._send_at_once(response)

    async def _send_slowly(self, response: Response) -> None:
        if not isinstance(response, Accepted):
            await super()._send_slowly(response)
            return
        refusal = self._refusal(response)
        if refusal is not None:
            self._refuse(refusal)
        elif not self._link.is_lost:
            await self._talk(response)

    def _refusal(self, accepted: Accepted) -> HTTPError | None:
        """Return why the worker cannot take the conversation on, or None."""
        state = self._link.state
        if state.draining:
            return ServiceUnavailable("The server is going away.")
        threads = state.dispatcher.long_threads
        if not accepted.is_async and threads.pending >= threads.size:
            return ServiceUnavailable(f"All {threads.size} threads for conversations are taken.")
        return None

    async def _talk(self, accepted: Accepted) -> None:
        """Accept, run the handler, and close."""
        before, request = self._link, self.request
        dispatcher = before.state.dispatcher
        self._is_sending = self._is_over = True  # there is no answer to come, nor a next request
        link = self._accept(accepted)
        port: TaskPort | ThreadPort = TaskPort(link) if accepted.is_async else ThreadPort(link)
        socket = WebSocket.connected_by(port, request, accepted.subprotocol)
        request._gateway = socket
        task = asyncio.current_task()
        if isinstance(port, TaskPort) and task is not None and self.plan.cancel_on_disconnect:
            port.when_left = task.cancel
        rest, can_write = before.leave_transport()
        link.attach(before.transport, port, rest, can_write=can_write)
        if isinstance(port, ThreadPort):
            port.open_wire()
        error: BaseException | None = None
        try:
            if accepted.is_async:
                await accepted.call(socket)
            else:
                await dispatcher.long_threads.run(accepted.call, socket)
        except asyncio.CancelledError as cancelled:
            if task is None or not task.cancelling():
                error = cancelled  # of the handler's own making
            elif isinstance(port, TaskPort) and port.was_left:
                task.uncancel()
            else:
                link.abort()
                raise
        except Exception as raised:  # noqa: BLE001  # every exception becomes a close
            error = raised
        if isinstance(port, TaskPort):
            port.when_left = None
        link.close(*handler_ended(request, error, dispatcher.fault_listeners))
        await asyncio.shield(link.gone)

    def _accept(self, accepted: Accepted) -> SocketLink:
        """Write the 101, and return the link that takes over."""
        link, handshake = self._link, self._handshake
        state = link.state
        agreement = negotiate(handshake.extensions) if accepted.compress else None
        extra = b""
        if accepted.subprotocol is not None:
            extra = b"Sec-WebSocket-Protocol: %b\r\n" % accepted.subprotocol.encode("ascii")
        if agreement is not None:
            extra += b"Sec-WebSocket-Extensions: %b\r\n" % agreement.answer.encode("ascii")
        link.queue(upgrade_head(accepted.fields(), state.common_fields, handshake.accept, extra))
        link.flush()
        tier = choose_ws_tier("compiled" if state.tier.name == "compiled" else "wsproto")
        inflater = None if agreement is None else Deflate(agreement)
        return SocketLink(state, tier.make(state.dispatcher.limits.max_ws_message, inflater))
