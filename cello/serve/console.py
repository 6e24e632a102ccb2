"""What the server prints about itself: the banner, notices, and the one clear line when it cannot start.

Everything goes to standard error, coloured only on a terminal (NO_COLOR is respected), plain in a pipe or file.
"""

import os
import sys
from typing import TextIO

from cello import _speedups
from cello._version import __version__
from cello.serve.options import RunOptions

_INTERPRETERS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalPy"}
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def is_coloured(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that wants colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return `text` in a style ("bold", "dim", "red", …) if `stream` shows colours, else as it is."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if is_coloured(stream) else text


def say(text: str) -> None:
    """Print one line on standard error, in one write so that lines of several processes do not mix."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def notice(text: str) -> None:
    """Print something the user should know but that stops nothing."""
    say(f"{paint('note:', 'yellow', sys.stderr)} {text}")


def failure(text: str) -> None:
    """Print why the program cannot go on."""
    say(f"{paint('error:', 'red', sys.stderr)} {text}")


def speedups() -> str:
    """Return in a few words whether the compiled modules are in use, and why not if they are not."""
    return "compiled" if _speedups.enabled else f"pure Python ({_speedups.reason})"


def banner(options: RunOptions, urls: list[str], *, loop: str, parser: str) -> None:
    """Print what was started and where it answers."""
    bold = paint(f"cello {__version__}", "bold", sys.stderr)
    speed = "compiled" if _speedups.enabled else "pure Python"
    runtime = f"{_INTERPRETERS.get(sys.implementation.name, sys.implementation.name)} {sys.version.split()[0]}"
    say(f"{bold}  {runtime} · {speed} · {loop} · {parser} parser")
    facts = [options.env, "debug" if options.debug else "", "reload" if options.reload else ""]
    if options.workers > 1:
        facts.append(f"{options.workers} workers")
    about = ", ".join(fact for fact in facts if fact)
    say(f"{options.name or 'application'}: {about} (process {os.getpid()}; stop with Ctrl+C)")
    for url in urls:
        say(f"{paint('listening on', 'green', sys.stderr)} {paint(url, 'cyan', sys.stderr)}")


def rival() -> str | None:
    """Return where the distribution `cello-framework` is installed, or None.

    It has the same import name as cello: whichever was installed last has overwritten files of the other.
    """
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue  # a zip file, or nothing at all
        for name in names:
            if name.startswith("cello_framework-") and name.endswith(".dist-info"):
                return os.path.join(entry, name)
    return None


def rival_warning() -> str | None:
    """Return what to say when `cello-framework` is installed beside cello, else None."""
    found = rival()
    if found is None:
        return None
    return (
        f"the distribution cello-framework is installed too ({found}); both have the import name 'cello' and overwrite "
        "each other's files. Keep one: pip uninstall cello-framework cello, then install the one you want again"
    )
