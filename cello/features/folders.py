"""A folder whose files are handed out by the paths of URLs, and nothing outside of it.

Rule 1: a path is taken as segments that name exactly one thing each: nothing empty, no `.` or `..`, no slash or
    backslash in a name, no NUL.
Rule 2: without `follow_symlinks` no link below the folder is followed, whichever step of the path it stands at. Where
    the system can (everywhere but Windows) each step is opened beneath the one before, so that nobody can put a link
    in between a check and its use.
Rule 3: names that begin with a dot are not there, but for `.well-known` (RFC 8615).

The folder itself may be a link: it is looked up each time, so that a new release can be put in place by one rename.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cello.http.files import OPEN_FLAGS

WELL_KNOWN = ".well-known"
NOT_THERE = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR,
    errno.ENXIO,
})  # fmt: skip
"""What opening a file fails with that is missing, as far as a client is concerned; all else is a fault of ours."""

_CAN_OPEN_BENEATH = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_STEP_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_IS_WINDOWS = os.name == "nt"


class Entry(NamedTuple):
    """What a folder holds, for its listing."""

    name: str
    is_folder: bool
    size_bytes: int
    modified_s: float


class Opened(NamedTuple):
    """Something that was opened; the descriptor is the holder's to close.

    Attributes:
        descriptor: Open for reading.
        status: What it is.
        path: Where it was found, for messages.
        suffix: Which of the suffixes that were asked for its name has.
    """

    descriptor: int
    status: os.stat_result
    path: str
    suffix: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file; devices, pipes and sockets are not."""
        return stat.S_ISREG(self.status.st_mode)


class Folder:
    """See above.

    Args:
        root: The folder.
        follow_symlinks: Follow links, wherever they lead.
        hidden_files: Have names that begin with a dot.
    """

    def __init__(self, root: str, *, follow_symlinks: bool, hidden_files: bool) -> None:
        self.root = root
        self._follow_symlinks = follow_symlinks
        self._hidden_files = hidden_files

    def has(self, name: str) -> bool:
        """Whether something of this name may be here at all."""
        if not name or name in (".", "..") or any(character in name for character in "/\\\0"):
            return False
        if _IS_WINDOWS and (":" in name or name[-1] in ". "):
            return False  # SECURITY: a stream of a file, a drive; or another spelling of the same file
        return self._hidden_files or not name.startswith(".") or name == WELL_KNOWN

    def open(self, names: Sequence[str], suffixes: Sequence[str] = ()) -> Opened | None:
        """Open what is at the end of a path, or return None where there is nothing that may be handed out.

        Args:
            names: The path.
            suffixes: Where a file is found, of the files beside it whose names are longer by one of these the first
                that is there is opened instead.

        Raises:
            OSError: It is there, but something is wrong with the machine.
        """
        if not all(map(self.has, names)):
            return None
        path = os.path.join(self.root, *names)
        try:
            step = self._step_to(names)
        except (OSError, ValueError) as error:
            _nothing(error)
            return None
        try:
            found = self._open(path, step)
            if found is not None and found.is_file:
                for suffix in suffixes:
                    sibling = self._open_beside(found, suffix, step)
                    if sibling is not None:
                        return sibling
            return found
        finally:
            if step is not None:
                os.close(step)

    def _step_to(self, names: Sequence[str]) -> int | None:
        """Open the folder that the last name is in, without following links; None where paths are used instead."""
        if self._follow_symlinks or not names:
            return None
        if not _CAN_OPEN_BENEATH:
            self._refuse_links(names)
            return None
        step = os.open(self.root, _STEP_FLAGS & ~_NO_LINK)
        try:
            for name in names[:-1]:
                below = os.open(name, _STEP_FLAGS, dir_fd=step)
                os.close(step)
                step = below
        except BaseException:
            os.close(step)
            raise
        return step

    def _open(self, path: str, step: int | None) -> Opened | None:
        try:
            if step is None:
                descriptor = os.open(path, OPEN_FLAGS)
            else:
                descriptor = os.open(os.path.basename(path), OPEN_FLAGS | _NO_LINK, dir_fd=step)
        except (OSError, ValueError) as error:
            _nothing(error)
            return None
        try:
            return Opened(descriptor, os.fstat(descriptor), path)
        except OSError:
            os.close(descriptor)
            raise

    def _open_beside(self, found: Opened, suffix: str, step: int | None) -> Opened | None:
        """Open a file whose name is longer, and close `found`; or return None, where there is none."""
        path = found.path + suffix
        try:
            if step is None and not self._follow_symlinks and os.path.islink(path):
                return None
            sibling = self._open(path, step)
        except OSError:
            os.close(found.descriptor)
            raise
        if sibling is None:
            return None
        if not sibling.is_file:
            os.close(sibling.descriptor)
            return None
        os.close(found.descriptor)
        return sibling._replace(suffix=suffix)

    def _refuse_links(self, names: Sequence[str]) -> None:
        path = self.root
        for name in names:
            path = os.path.join(path, name)
            if os.path.islink(path) or getattr(os.path, "isjunction", os.path.islink)(path):
                raise OSError(errno.ELOOP, "a link", path)

    def entries(self, names: Sequence[str]) -> Iterator[Entry]:
        """Yield what a folder holds that may be handed out."""
        opened = self.open(names)
        if opened is None:
            return
        try:
            with os.scandir(opened.path if _IS_WINDOWS else opened.descriptor) as found:
                for entry in found:
                    if self.has(entry.name) and (self._follow_symlinks or not entry.is_symlink()):
                        yield from _described(entry)
        finally:
            os.close(opened.descriptor)


def _described(entry: "os.DirEntry[str]") -> Iterator[Entry]:
    try:
        status = entry.stat()
        entry.name.encode()
    except (OSError, UnicodeEncodeError):  # gone meanwhile, a link to nowhere, or a name that no URL can have
        return
    if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
        yield Entry(entry.name, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime)


def _nothing(error: OSError | ValueError) -> None:
    """Pass over what means that there is nothing: a missing file, or a name that no file can have.

    Raises:
        OSError: It means something else.
    """
    if isinstance(error, OSError) and error.errno not in NOT_THERE:
        raise error
