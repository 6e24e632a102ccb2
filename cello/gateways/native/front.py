"""Which protocol a new connection gets: the fast lane where it is compiled and fits, else the general lane."""

import asyncio
from collections.abc import Callable
from importlib import import_module

from cello import _speedups
from cello.gateways.native.connection import Connection
from cello.gateways.native.state import ServerState
from cello.http.request import Request
from cello.pipeline.dispatch import Dispatcher


def make_protocol_factory(dispatcher: Dispatcher, state: ServerState) -> Callable[[], asyncio.Protocol]:
    """Return what `loop.create_server` calls for each connection.

    The fast lane scans heads and makes requests itself, so it stands in front only where the compiled tier was chosen
    too, and requests are of the compiled class.
    """
    if _speedups.enabled and state.tier.name == "compiled" and issubclass(dispatcher.request_class, Request):
        lane = import_module("cello._speedups.lane")
        state.lanes = track = import_module("cello._speedups.track").Track(dispatcher, state)
        make_lane: Callable[[], asyncio.Protocol] = lambda: lane.Lane(track)  # noqa: E731  # one call less than a def
        return make_lane
    return lambda: Connection(dispatcher, state)
