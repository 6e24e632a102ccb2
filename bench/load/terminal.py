"""Words on a terminal: colours where there is one, and a progress line that never ends up in a file."""

import os
import sys
import time

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Terminal:
    """Standard output, coloured when it is a terminal and `NO_COLOR` is unset."""

    def __init__(self) -> None:
        self._is_tty = sys.stdout.isatty()
        self._colours = self._is_tty and not os.environ.get("NO_COLOR")
        self._started = time.monotonic()
        self._line_open = False

    def paint(self, text: str, *styles: str) -> str:
        """Return `text` in the given styles (bold, dim, red, …)."""
        if not self._colours or not styles:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def say(self, text: str = "") -> None:
        """Print a line."""
        self._clear()
        print(text, flush=True)

    def progress(self, done: int, total: int, text: str) -> None:
        """Show how far it is, over the previous progress line; silent when the output is not a terminal."""
        if not self._is_tty:
            return
        if done == 0:
            self._started = time.monotonic()
        elapsed = time.monotonic() - self._started
        left = f", about {elapsed / done * (total - done):.0f} s left" if done else ""
        filled = 24 * done // max(total, 1)
        bar = "█" * filled + "░" * (24 - filled)
        self._clear()
        print(f"{bar} {done}/{total}{left}  {text}"[:118], end="", flush=True)
        self._line_open = True

    def _clear(self) -> None:
        if self._line_open:
            print("\r\x1b[2K", end="")
            self._line_open = False
