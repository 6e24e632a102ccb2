"""Where in the user's program something was declared, as "file.py:12", for errors that name both sides."""

import os
import sys


def caller() -> str:
    """Return the nearest line outside cello that led here."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"


def _is_ours(module: str) -> bool:
    return module == "cello" or module.startswith("cello.")


def _shown(filename: str) -> str:
    """Return the file as one would type it: relative where it is below the working directory."""
    folder = os.getcwd() + os.sep
    return filename.removeprefix(folder)
