"""The file that says which process the server is.

The file is locked as long as the server lives, so a file left behind by a machine that lost its power is taken over,
and one of a living server is not, whatever number stands in it.
"""

import contextlib
import os
from types import TracebackType

from cello.errors import ConfigError


class PidFile:
    """Holds the file while the `with` block runs; None = there is none to hold.

    Raises:
        ConfigError: The file cannot be written, or a living server holds it.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> "PidFile":
        if self._path is None:
            return self
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"the pid file {self._path!r} cannot be written: {error.strerror}") from None
        if os.name == "posix":
            self._lock()
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._path is None or self._fd < 0:
            return
        with contextlib.suppress(OSError):  # somebody tidied up before us
            os.unlink(self._path)
        os.close(self._fd)
        self._fd = -1

    def _lock(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._fd, 32).decode("ascii", "replace").strip()
            os.close(self._fd)
            self._fd = -1
            raise ConfigError(
                f"the pid file {self._path!r} is held by another server (process {holder}); stop it first"
            ) from None
