"""What a WebSocket's link and its talker agree on: the link has the connection, the talker speaks for the handler."""

import math
from typing import Protocol

OPEN, CLOSING, LINGERING, CLOSED = range(4)

CLOSE_TIMEOUT_S = 10.0
"""For the client's close frame behind ours, and for its end of the connection behind a fault."""
HELD_MESSAGES = 256
HELD_BYTES = 262_144
"""Received and not yet taken by the handler; beyond either the transport stops reading."""
UNSENT_BYTES = 16_777_216
"""Not taken by the client although the handler does not wait for it; beyond, the client is dropped."""
NEVER = math.inf


class Talker(Protocol):
    """Who talks with the client on behalf of the handler; the link's calls come from the loop."""

    def deliver(self, message: str | bytes) -> bool:
        """Take a message; False when enough wait: then the link stops reading until `SocketLink.take_more`."""

    def ended(self) -> None:
        """Hear that no more messages come, and that nothing can be sent; called once."""

    def writable(self) -> None:
        """Hear that the client takes again what is sent, or never will."""

    def control(self, frame: bytes) -> None:
        """Have the link write a frame of its own (`SocketLink.put`), behind what was sent."""
