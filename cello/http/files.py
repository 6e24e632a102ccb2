"""Validators, conditional requests and ranges (RFC 9110 §8.8, §13, §14): decisions only, no response is made here.

Rules. A strong ETag is made of a file's size and modification time in nanoseconds. Preconditions are evaluated in the
order of §13.2.2. A `Range` that is malformed, in another unit, of more than 16 parts, or with more than two parts that
overlap is ignored, as §14.2 allows: the client gets everything.
"""

import os
import re
import stat
from collections.abc import Iterator
from typing import BinaryIO

from cello.http.grammar import parse_date
from cello.http.ports import HeadFields

MAX_RANGES = 16
CHUNK_BYTES = 65_536
# O_BINARY: Windows translates line ends without it. O_NONBLOCK: opening a pipe waits for its writer without it.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)

_ETAG = re.compile(rb"(W/)?(\"[\x21\x23-\x7e\x80-\xff]*\")")
_RANGE = re.compile(rb"([0-9]{1,19})?-([0-9]{1,19})?")


class FilePayload:
    """A file, or a part of one, as the body of a response.

    It is opened once, before the head of the response is sent, so what is announced is what will be sent even if the
    path points elsewhere by then.

    Attributes:
        path: Where the file is.
        offset: The first byte to send.
        length: How many bytes to send.
        is_pinned: Whether it is to be sent by the descriptor that it was made with: the path may lead elsewhere.
    """

    __slots__ = ("_descriptor", "_size", "is_pinned", "length", "offset", "path")

    def __init__(self, path: str, offset: int, length: int) -> None:
        self.path = path
        self.offset = offset
        self.length = length
        self.is_pinned = False
        self._descriptor: int | None = None
        self._size = offset + length

    @classmethod
    def opened(cls, path: str, descriptor: int, length: int) -> "FilePayload":
        """Make one of a file that is open already; it owns the descriptor from here on."""
        self = cls(path, 0, length)
        self.is_pinned = True
        self._descriptor = descriptor
        return self

    def prepare(self) -> os.stat_result:
        """Open the file and return its status; `open` hands out the same file."""
        if self._descriptor is None:
            if self.is_pinned:
                raise OSError(f"{self.path!r} was opened before and is closed by now")
            self._descriptor = open_regular(self.path)
        status = os.fstat(self._descriptor)
        self._size = status.st_size
        return status

    def open(self) -> BinaryIO:
        """Return the file at `offset`; closing it is the caller's business from here on."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None and self.is_pinned:
            raise OSError(f"{self.path!r} was opened before and is closed by now")
        file = os.fdopen(open_regular(self.path) if descriptor is None else descriptor, "rb")
        file.seek(self.offset)
        return file

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield exactly `length` bytes in pieces.

        Raises:
            OSError: The file has become shorter than what was announced.
        """
        with self.open() as file:
            remaining = self.length
            while remaining:
                piece = file.read(min(size, remaining))
                if not piece:
                    raise OSError(f"{self.path!r} ended {remaining} bytes before what was announced")
                remaining -= len(piece)
                yield piece

    def is_whole_file(self) -> bool:
        """Whether this is the file from its first byte to its last."""
        return self.offset == 0 and self.length == self._size

    def close(self) -> None:
        """Close the file, when nobody took it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FilePayload({self.path!r}, {self.offset}, {self.length})"


class MultiRangeBody(Iterator[bytes]):
    """Several ranges of a file as `multipart/byteranges` (RFC 9110 §14.6).

    Attributes:
        boundary: What separates the parts, for the Content-Type.
        length: Bytes of the whole body.
    """

    def __init__(self, file: FilePayload, ranges: list[tuple[int, int]], size: int, content_type: bytes) -> None:
        self.boundary = os.urandom(12).hex()
        delimiter = self.boundary.encode("ascii")
        self._heads = [
            b"\r\n--%b\r\nContent-Type: %b\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"
            % (delimiter, content_type, start, stop - 1, size)
            for start, stop in ranges
        ]
        self._heads[0] = self._heads[0][2:]
        self._end = b"\r\n--%b--\r\n" % delimiter
        self.length = sum(map(len, self._heads)) + sum(stop - start for start, stop in ranges) + len(self._end)
        self._file = file
        self._ranges = ranges
        self._pieces = self._generate()

    def _generate(self) -> Iterator[bytes]:
        with self._file.open() as file:
            for head, (start, stop) in zip(self._heads, self._ranges, strict=True):
                yield head
                file.seek(start)
                while start < stop:
                    piece = file.read(min(CHUNK_BYTES, stop - start))
                    if not piece:
                        raise OSError(f"{self._file.path!r} ended {stop - start} bytes before what was announced")
                    start += len(piece)
                    yield piece
            yield self._end

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Close the file."""
        self._pieces.close()  # type: ignore[attr-defined]  # a generator
        self._file.close()


def status_of(path: str) -> os.stat_result:
    """Return the status of a regular file.

    Raises:
        OSError: There is no such file, or it is a directory or a device.
    """
    status = os.stat(path)
    _check_regular(path, status)
    return status


def open_regular(path: str) -> int:
    """Return the descriptor of a regular file, opened for reading.

    Raises:
        OSError: There is no such file, it may not be read, or it is a directory or a device.
    """
    descriptor = os.open(path, OPEN_FLAGS)
    try:
        _check_regular(path, os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{path!r} is a directory: only a file can be sent")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path!r} is not a regular file")


def make_etag(status: os.stat_result, coding: str | None = None) -> str:
    """Return a strong entity tag for a file's content (RFC 9110 §8.8.3).

    Args:
        coding: Its content coding. Files that were built together have the same time, and at times the same size.
    """
    suffix = f"-{coding}" if coding else ""
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}{suffix}"'


def evaluate(method: str, head: HeadFields, etag: bytes | None, last_modified_s: int | None) -> int:
    """Return what the preconditions of a request make of a representation: 0 (go on), 304 or 412 (RFC 9110 §13.2.2).

    Args:
        method: The request's method.
        head: The request's fields.
        etag: The representation's entity tag.
        last_modified_s: Its Last-Modified as a POSIX timestamp.
    """
    if_match = head.get(b"if-match")
    if if_match is not None:
        if not _is_in(if_match, etag, weakly=False):
            return 412
    elif last_modified_s is not None:
        since = _date(head.get(b"if-unmodified-since"))
        if since is not None and last_modified_s > since:
            return 412
    reads = method in ("GET", "HEAD")
    if_none_match = head.get(b"if-none-match")
    if if_none_match is not None:
        if _is_in(if_none_match, etag, weakly=True):
            return 304 if reads else 412
    elif reads and last_modified_s is not None:
        since = _date(head.get(b"if-modified-since"))
        if since is not None and last_modified_s <= since:
            return 304
    return 0


def _is_in(members: bytes, etag: bytes | None, *, weakly: bool) -> bool:
    """Whether an `If-Match` or `If-None-Match` value names `etag` (RFC 9110 §8.8.3.2)."""
    if members.strip() == b"*":
        return True
    if etag is None:
        return False
    is_weak = etag.startswith(b"W/")
    opaque = etag[2:] if is_weak else etag
    return any(member == opaque and (weakly or not (weak or is_weak)) for weak, member in _ETAG.findall(members))


def _date(value: bytes | None) -> int | None:
    return None if value is None else parse_date(value.decode("latin-1"))


def is_range_wanted(if_range: bytes | None, etag: bytes | None, last_modified_s: int | None) -> bool:
    """Whether `If-Range` lets a `Range` apply: only when it names exactly this representation (RFC 9110 §13.1.5)."""
    if if_range is None:
        return True
    if b'"' in if_range:
        return etag is not None and if_range == etag and not etag.startswith(b"W/")
    date = _date(if_range)
    return date is not None and date == last_modified_s


def parse_range(value: bytes, size: int) -> list[tuple[int, int]] | None:
    """Return the (start, stop) pairs of a `Range` for a representation of `size` bytes, in the order asked for.

    Returns:
        None when the field is to be ignored; an empty list when no range can be satisfied (416).
    """
    unit, equals, members = value.partition(b"=")
    if not equals or unit.strip().lower() != b"bytes":
        return None
    specs = [member.strip(b" \t") for member in members.split(b",")]
    if len(specs) > MAX_RANGES:
        return None
    ranges: list[tuple[int, int]] = []
    for spec in specs:
        match = _RANGE.fullmatch(spec)
        if match is None or spec == b"-":
            return None
        first, last = match.groups()
        if first is None:
            start, stop = max(0, size - int(last)), size
        else:
            start, stop = int(first), size if last is None else min(int(last) + 1, size)
            if last is not None and int(last) < int(first):
                return None
        if start < stop:
            ranges.append((start, stop))
    return None if _overlap_too_much(ranges) else ranges


def _overlap_too_much(ranges: list[tuple[int, int]]) -> bool:
    """SECURITY: many overlapping ranges ask for the same bytes over and over (RFC 9110 §14.2, §17.15)."""
    overlapping = 0
    furthest = -1
    for start, stop in sorted(ranges):
        overlapping += start < furthest
        furthest = max(furthest, stop)
    return overlapping >= 2
