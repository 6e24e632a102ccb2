"""Which codec reads WebSocket frames: the compiled one, or wsproto's."""

from dataclasses import dataclass

from cello import _speedups
from cello.errors import ConfigError
from cello.wire.ws import MakeCodec


@dataclass(frozen=True, slots=True)
class WsTier:
    """One codec.

    Attributes:
        name: "compiled" or "wsproto".
        make: See ws.py.
    """

    name: str
    make: MakeCodec


def choose_ws_tier(name: str = "auto") -> WsTier:
    """Return the codec of that name, or with "auto" the best one present.

    Raises:
        ConfigError: The name is unknown, or the compiled modules are not in use.
    """
    if name == "auto":
        name = "compiled" if _speedups.enabled else "wsproto"
    if name == "compiled":
        if not _speedups.enabled:
            raise ConfigError(f"the compiled WebSocket codec is not in use: {_speedups.reason}")
        from cello._speedups.frames import Codec

        return WsTier(name, Codec)
    if name == "wsproto":
        from cello.wire.ws_wsproto import WsprotoCodec

        return WsTier(name, WsprotoCodec)
    raise ConfigError(f"the WebSocket codec must be auto, compiled or wsproto, not {name!r:.40}")
