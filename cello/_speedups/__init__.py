"""The switch between the compiled modules and their pure twins.

`CELLO_SPEEDUPS=auto|0|1` decides once, when cello is imported: `0` off, `1` required, `auto` (the default) all or
none. A half-built set is never used, so that one process never mixes a compiled and a pure view of the same thing. The
decision looks for the files of all modules but loads only the leaf, which imports nothing: the others import cello
back, and cello is being imported while this runs. For the same reason `enabled` is False until the decision is made.

A module with a compiled twin ends with

    PureTree = Tree
    if _speedups.enabled:
        from cello._speedups.tree import Tree
"""

import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.machinery import PathFinder

MODULES = (
    *("bucket", "frames", "head", "lane", "late_task", "paths", "raw", "recorder", "request", "runner", "slots"),
    *("socket_link", "socket_task"),
    *("table", "track", "tree"),
    *(("transport",) if sys.platform == "linux" else ()),
)
"""Every compiled module, by its name in this package; setup.py builds the same ones."""

LEAF = "head"
"""The module that imports nothing of cello, so that loading it proves that the set fits this interpreter."""

mode = os.environ.get("CELLO_SPEEDUPS") or "auto"
"""What was asked for: "auto", "0" or "1"."""

enabled = False
"""Whether the compiled modules are in use."""

reason = "being decided"
"""Why they are or are not, as one sentence for the banner and `cello version`."""


def decide(
    mode: str,
    modules: Iterable[str] = MODULES,
    folders: Iterable[str] = __path__,
    load: Callable[[str], object] = import_module,
) -> tuple[bool, str]:
    """Return (enabled, reason) for a mode.

    Args:
        mode: "auto", "0" or "1".
        modules: The names that must all be there.
        folders: Where to look for them.
        load: Imports the leaf by its full name.

    Raises:
        ImportError: The mode is "1" and a module is missing or does not load, or the mode is none of the three.
    """
    if mode not in ("auto", "0", "1"):
        raise ImportError(f"CELLO_SPEEDUPS must be auto, 0 or 1, not {mode!r:.40}")
    if mode == "0":
        return False, "switched off by CELLO_SPEEDUPS=0"
    path = list(folders)
    missing = [name for name in modules if PathFinder.find_spec(f"{__name__}.{name}", path) is None]
    if missing:
        if mode == "1":
            raise ImportError(
                f"CELLO_SPEEDUPS=1 requires {__name__}.{missing[0]}, which is not built for this Python; "
                "reinstall cello with a C compiler and Cython, or unset CELLO_SPEEDUPS",
                name=f"{__name__}.{missing[0]}",
            )
        return False, f"not built: {', '.join(missing)}"
    try:
        load(f"{__name__}.{LEAF}")
    except ImportError as error:
        if mode == "1":
            raise ImportError(f"CELLO_SPEEDUPS=1 requires {__name__}.{LEAF}, which does not load: {error}") from error
        return False, f"{LEAF} does not load: {error}"
    return True, "all compiled modules are in use"


enabled, reason = decide(mode)
