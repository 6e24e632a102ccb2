"""Which event loop runs the server."""

import asyncio
import sys
from collections.abc import Callable
from importlib.util import find_spec

from cello.errors import MissingDependency

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def choose_loop(name: str = "auto") -> tuple[str, LoopFactory]:
    """Return the loop's name for the banner and its factory.

    Args:
        name: "asyncio", "uvloop", or "auto": uvloop where it is installed.

    Raises:
        MissingDependency: uvloop was asked for and is not installed.
    """
    if name == "asyncio":
        return "asyncio", asyncio.new_event_loop
    if find_spec("uvloop") is None:
        if name == "uvloop":
            where = " (it does not exist for Windows)" if sys.platform == "win32" else ""
            raise MissingDependency(f"--loop uvloop needs 'uvloop': pip install 'cello[standard]'{where}")
        return "asyncio", asyncio.new_event_loop
    import uvloop

    return "uvloop", uvloop.new_event_loop
