"""A connection that a lane in front has handed over, and takes back between two requests.

The lane serves the plain cases alone; what it has begun and cannot finish, bytes or an answer, goes on here.
"""

import asyncio
from typing import Protocol

from cello.gateways.native.connection import Connection
from cello.gateways.native.exchange import Exchange
from cello.gateways.native.link import ANSWERING, READY, RETURNING
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.plan import Plan


class Lane(Protocol):
    """The protocol in front, which takes the connection back between two requests."""

    def take_back(self, rest: bytes, can_write: bool) -> None:
        """Go on with `rest`, the bytes received and not used; the lane is the transport's protocol again."""


class AdoptedConnection(Connection):
    """The general lane behind another one; nothing happens to it before `adopt` or `adopt_answer`."""

    __slots__ = ("_lane",)

    _lane: Lane

    def adopt(
        self, transport: asyncio.Transport, lane: Lane, data: bytes, served: int, *, can_write: bool = True
    ) -> None:
        """Take over a connection with bytes that the lane has received and not used, behind `served` requests.

        The lane is no longer among the state's connections; `Lane.take_back` puts it there again.
        """
        self._take_over(transport, lane, served, can_write=can_write)
        self.data_received(data)

    def adopt_answer(
        self,
        transport: asyncio.Transport,
        lane: Lane,
        exchange: tuple[Request, Plan, Response],
        *,
        keep_alive: bool,
        rest: bytes,
        served: int = 0,
        can_write: bool = True,
    ) -> None:
        """Take over a connection to send an answer that the lane cannot.

        Args:
            transport: Of the lane.
            lane: See `adopt`.
            exchange: The request, its plan and its answer.
            keep_alive: What the request said of it.
            rest: Bytes received behind the request.
            served: Requests so far, this one included.
            can_write: Whether the client takes what is written; the transport says only when that changes.
        """
        request, plan, response = exchange
        self._take_over(transport, lane, served, can_write=can_write)
        self.parser.receive(rest)
        self._phase = ANSWERING
        request._gateway = self
        self._exchange = Exchange(self, request, plan, keep_alive=keep_alive)
        self._exchange.deliver(response)

    def _take_over(self, transport: asyncio.Transport, lane: Lane, served: int, *, can_write: bool) -> None:
        self._lane = lane
        self._served = served
        self._phase = READY
        self.attach(transport)
        transport.set_protocol(self)
        self._is_reading = transport.is_reading()  # else it goes on when there is room
        if not can_write:
            self.pause_writing()

    def _go_on(self, phase: int) -> None:
        super()._go_on(RETURNING if phase == READY and not self.has_eof else phase)

    def _give_back(self) -> None:
        self.state.connections.discard(self)
        self.transport.set_protocol(self._lane)  # type: ignore[arg-type]  # a Lane is a protocol of the transport
        self._lane.take_back(self.parser.take_rest(), self._can_write)
