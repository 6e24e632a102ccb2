"""Which head scanner reads the requests: the compiled one, httptools, or h11, in this order of preference."""

from importlib.util import find_spec
from typing import NamedTuple

from cello import _speedups
from cello.errors import ConfigError
from cello.wire.h1 import ParseHead


class Tier(NamedTuple):
    """One head scanner, for one event loop: it need not be safe for several threads.

    Attributes:
        name: "compiled", "httptools" or "h11".
        parse_head: See h1.py.
    """

    name: str
    parse_head: ParseHead


def choose_tier(name: str = "auto") -> Tier:
    """Return the scanner of that name, or with "auto" the best one present.

    Raises:
        ConfigError: The name is unknown, or what it needs is not installed.
    """
    if name == "auto":
        name = "compiled" if _speedups.enabled else "httptools" if find_spec("httptools") else "h11"
    if name == "compiled":
        if not _speedups.enabled:
            raise ConfigError(f"the compiled HTTP parser is not in use: {_speedups.reason}")
        from cello.wire import h1_compiled

        return Tier(name, h1_compiled.parse_head)
    if name == "httptools":
        if find_spec("httptools") is None:
            raise ConfigError("the HTTP parser httptools is not installed: pip install 'cello[standard]'")
        from cello.wire import h1_httptools

        return Tier(name, h1_httptools.HeadScanner())
    if name == "h11":
        from cello.wire import h1_h11

        return Tier(name, h1_h11.parse_head)
    raise ConfigError(f"the HTTP parser must be auto, compiled, httptools or h11, not {name!r:.40}")
