"""The content codings of HTTP (RFC 9110 §8.4): zstd, br, gzip, and deflate for what comes in.

One small class each, so that compression and decompression know no library. What is decoded comes in pieces of bounded
size, whatever the input claims: a decoder never holds more than `PIECE_BYTES` of output.

PERF: 58 KB of JSON take zstd 3 0.12 ms, br 4 0.45 ms, gzip 6 0.87 ms, gzip by isal 0.07 ms, and become about as short
(isal a tenth longer); bench/micro/test_features.py. So zstd comes first where a client likes all of them equally.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Protocol

from cello.errors import BadRequest, ConfigError, MissingDependency

PIECE_BYTES = 65_536
WINDOW_LOG = 23
"""Log2 of the window that a zstd decoder has to keep: 8 MiB, the most a sender may ask of it (RFC 9659 §3)."""


class Encoder(Protocol):
    """Compresses one stream."""

    def add(self, piece: bytes, *, flush: bool) -> bytes:
        """Return what is ready; with `flush` all that was added can be read from what was returned so far."""

    def end(self) -> bytes:
        """Return the end of the stream."""


class Decoder(ABC):
    """Decompresses one stream, in pieces of bounded size.

    Args:
        name: The coding, for what is said to a client.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decodes to.

        Raises:
            BadRequest: It does not.
        """
        try:
            yield from self._decode(data)
        except self._errors() as error:
            raise BadRequest(f"The body is not valid {self.name}.") from error

    @abstractmethod
    def _decode(self, data: bytes) -> Iterator[bytes]:
        """Yield pieces, or raise one of `_errors`."""

    @abstractmethod
    def _errors(self) -> tuple[type[Exception], ...]:
        """Return what the library raises."""

    @abstractmethod
    def is_at_end(self) -> bool:
        """Whether the stream is complete as it stands."""


class Coding(ABC):
    """A content coding.

    Args:
        level: How hard to try.

    Attributes:
        name: As in `Content-Encoding`.
    """

    name: ClassVar[str]
    default_level: ClassVar[int]
    levels: ClassVar[range]

    def __init__(self, level: int | None = None) -> None:
        if level is None:
            level = self.default_level
        if type(level) is not int or level not in self.levels:
            first, last = self.levels[0], self.levels[-1]
            raise ConfigError(f"enable_compression: the level of {self.name} is {first}-{last}, not {level!r:.80}")
        self.level = level

    @abstractmethod
    def compress(self, data: bytes) -> bytes:
        """Return `data` compressed."""

    @abstractmethod
    def encoder(self) -> Encoder:
        """Return an encoder of a new stream."""

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return a decoder of a new stream."""


class Gzip(Coding):
    """gzip (RFC 1952), by isal where that is installed: ten times quicker, some 10 % larger."""

    name = "gzip"
    default_level = 6
    levels = range(1, 10)

    def __init__(self, level: int | None = None) -> None:
        super().__init__(level)
        self._zlib: Any = zlib
        self._zlib_level = self.level
        if find_spec("isal") is not None and self.level <= self.default_level:
            self._zlib = import_module("isal.isal_zlib")
            self._zlib_level = 2 if self.level > 1 else 1

    def compress(self, data: bytes) -> bytes:
        """Return `data` compressed."""
        compressed: bytes = self._zlib.compress(data, self._zlib_level, wbits=31)
        return compressed

    def encoder(self) -> Encoder:
        """Return an encoder of a new stream."""
        return _ZlibEncoder(self._zlib.compressobj(self._zlib_level, zlib.DEFLATED, 31))

    def decoder(self) -> Decoder:
        """Return a decoder of a new stream."""
        return _ZlibDecoder(self.name, 31)


class Deflate(Gzip):
    """What HTTP calls deflate: the zlib format (RFC 1950). Only for what comes in; browsers disagreed about it once."""

    name = "deflate"

    def decoder(self) -> Decoder:
        """Return a decoder of a new stream."""
        return _ZlibDecoder(self.name, 15)


class _ZlibEncoder:
    def __init__(self, compressor: Any) -> None:
        self._compressor = compressor

    def add(self, piece: bytes, *, flush: bool) -> bytes:
        out: bytes = self._compressor.compress(piece)
        return out + self._compressor.flush(zlib.Z_SYNC_FLUSH) if flush else out

    def end(self) -> bytes:
        out: bytes = self._compressor.flush()
        return out


class _ZlibDecoder(Decoder):
    def __init__(self, name: str, window_bits: int) -> None:
        super().__init__(name)
        self._window_bits = window_bits
        self._stream = zlib.decompressobj(window_bits)

    def _decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._stream.eof:  # RFC 1952 §2.2: a file is a series of members
                self._stream = zlib.decompressobj(self._window_bits)
            yield self._stream.decompress(data, PIECE_BYTES)
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def _errors(self) -> tuple[type[Exception], ...]:
        return (zlib.error,)

    def is_at_end(self) -> bool:
        return self._stream.eof


class Brotli(Coding):
    """br (RFC 7932)."""

    name = "br"
    default_level = 4
    levels = range(12)

    def __init__(self, level: int | None = None) -> None:
        super().__init__(level)
        try:
            self._brotli: Any = import_module("brotli")
        except ImportError as error:
            raise MissingDependency(
                "enable_compression with 'br' needs 'brotli': pip install 'cello[brotli]'"
            ) from error
        if not hasattr(self._brotli.Decompressor, "can_accept_more_data"):
            # SECURITY: an older one decodes all it was given at once, however much that becomes.
            raise MissingDependency(
                "enable_compression with 'br' needs brotli 1.2 or newer: pip install 'cello[brotli]'"
            )

    def compress(self, data: bytes) -> bytes:
        """Return `data` compressed."""
        compressed: bytes = self._brotli.compress(data, quality=self.level)
        return compressed

    def encoder(self) -> Encoder:
        """Return an encoder of a new stream."""
        return _BrotliEncoder(self._brotli.Compressor(quality=self.level))

    def decoder(self) -> Decoder:
        """Return a decoder of a new stream."""
        return _BrotliDecoder(self.name, self._brotli)


class _BrotliEncoder:
    def __init__(self, compressor: Any) -> None:
        self._compressor = compressor

    def add(self, piece: bytes, *, flush: bool) -> bytes:
        out: bytes = self._compressor.process(piece)
        return out + self._compressor.flush() if flush else out

    def end(self) -> bytes:
        out: bytes = self._compressor.finish()
        return out


class _BrotliDecoder(Decoder):
    def __init__(self, name: str, brotli: Any) -> None:
        super().__init__(name)
        self._error: type[Exception] = brotli.error
        self._stream = brotli.Decompressor()

    def _decode(self, data: bytes) -> Iterator[bytes]:
        stream = self._stream
        piece = stream.process(data, output_buffer_limit=PIECE_BYTES)
        # It may have taken in all of the data and still hold megabytes of output.
        while piece or not stream.can_accept_more_data():
            yield piece
            if stream.is_finished():
                return
            piece = stream.process(b"", output_buffer_limit=PIECE_BYTES)

    def _errors(self) -> tuple[type[Exception], ...]:
        return (self._error,)

    def is_at_end(self) -> bool:
        return bool(self._stream.is_finished())


class Zstd(Coding):
    """zstd (RFC 8878), by the standard library from Python 3.14 on, by its backport before."""

    name = "zstd"
    default_level = 3
    levels = range(1, 20)  # beyond, its window is larger than a browser takes

    def __init__(self, level: int | None = None) -> None:
        super().__init__(level)
        self._zstd = load_zstd()
        if self._zstd is None:
            raise MissingDependency(
                "enable_compression with 'zstd' needs 'backports.zstd' before Python 3.14: pip install 'cello[zstd]'"
            )

    def compress(self, data: bytes) -> bytes:
        """Return `data` compressed."""
        compressed: bytes = self._zstd.compress(data, self.level)
        return compressed

    def encoder(self) -> Encoder:
        """Return an encoder of a new stream."""
        return _ZstdEncoder(self._zstd.ZstdCompressor(self.level))

    def decoder(self) -> Decoder:
        """Return a decoder of a new stream."""
        return _ZstdDecoder(self.name, self._zstd)


def load_zstd() -> Any:
    """Return the module, or None where there is none."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


class _ZstdEncoder:
    def __init__(self, compressor: Any) -> None:
        self._compressor = compressor

    def add(self, piece: bytes, *, flush: bool) -> bytes:
        mode = self._compressor.FLUSH_BLOCK if flush else self._compressor.CONTINUE
        out: bytes = self._compressor.compress(piece, mode)
        return out

    def end(self) -> bytes:
        out: bytes = self._compressor.flush()
        return out


class _ZstdDecoder(Decoder):
    def __init__(self, name: str, zstd: Any) -> None:
        super().__init__(name)
        self._zstd = zstd
        self._stream = self._open()

    def _open(self) -> Any:
        options = {self._zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
        return self._zstd.ZstdDecompressor(options=options)

    def _decode(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._stream.eof or self._stream.needs_input):
            if self._stream.eof:  # frames may follow each other (RFC 8878 §3)
                self._stream = self._open()
            yield self._stream.decompress(data, PIECE_BYTES)
            data = self._stream.unused_data if self._stream.eof else b""

    def _errors(self) -> tuple[type[Exception], ...]:
        return (self._zstd.ZstdError,)

    def is_at_end(self) -> bool:
        return bool(self._stream.eof)


OFFERED: Mapping[str, type[Coding]] = {coding.name: coding for coding in (Zstd, Brotli, Gzip)}
"""The codings of answers, the one that is best for the server first."""


def available(levels: Mapping[str, int]) -> list[Coding]:
    """Return the codings whose library is there, best first."""
    found: list[Coding] = []
    for name, coding in OFFERED.items():
        try:
            found.append(coding(levels.get(name)))
        except MissingDependency:
            continue
    return found


def decoders() -> dict[str, Coding]:
    """Return, by name, the codings that requests may come in."""
    found: dict[str, Coding] = {coding.name: coding for coding in available({})}
    return {**found, "x-gzip": found["gzip"], Deflate.name: Deflate()}
