"""The WebSocket link and its port for coroutines are written once and compiled twice.

That the twins do the same is tried by tests/gateways/native/test_websocket.py, which plays everything on either.
"""

from cello import _speedups
from cello.gateways.native.socket_link import PureSocketLink, SocketLink
from cello.gateways.native.socket_task import PureTaskPort, TaskPort


def test_the_twins_are_two_and_have_the_same_names() -> None:
    for pure, used in ((PureSocketLink, SocketLink), (PureTaskPort, TaskPort)):
        assert (pure is not used) is _speedups.enabled
        assert public_names(pure) == public_names(used)


def public_names(kind: type) -> set[str]:
    """Return what a class offers; Cython adds names of its own with underscores."""
    return {name for name in dir(kind) if not name.startswith("_")}
