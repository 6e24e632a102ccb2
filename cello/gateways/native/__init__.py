"""cello's own server, one connection at a time: the general lane.

Read in this order: state.py (what the connections of a worker share), connection.py (bytes in, keep-alive, timers,
closing), exchange.py (one request and its answer), sending.py (files and streams), request_body.py (bodies read by the
handler itself). It is complete without a compiler and the reference for behaviour.

A compiled lane in front of it serves the plain cases alone and hands over the rest (adopted.py): a connection with its
untouched bytes, or an answer that is a file or a stream. Between two requests the connection goes back to it.
"""

from cello.gateways.native.connection import Connection
from cello.gateways.native.front import make_protocol_factory
from cello.gateways.native.state import ServerState
from cello.wire.tiers import Tier, choose_tier

__all__ = ["Connection", "ServerState", "Tier", "choose_tier", "make_protocol_factory"]
