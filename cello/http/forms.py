"""Forms in a body that is at hand: urlencoded ones, and multipart ones with files.

Files are kept in memory up to `max_spool_memory` each and on disk beyond. Text fields stay in memory, so all of them
together may take `max_spool_memory`, but at least 1 MiB; more, or more than `max_form_fields` of them, is a 413.
"""

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any, BinaryIO

from cello.config import LimitsConfig
from cello.errors import BadRequest, ContentTooLarge, UnsupportedMediaType
from cello.http import media
from cello.http.body import CHUNK_BYTES, HeldBody, Spool
from cello.http.multipart import DEFAULT_LIMITS, Part, Parts
from cello.http.url import Query, parse_query

LEAST_TEXT_BYTES = 1_048_576


class UploadedFile:
    """A file that came with a form.

    Attributes:
        name: The form field.
        filename: What the client calls it, without folders. SECURITY: still the client's word, not a path to write to.
        content_type: What the client says it is.
    """

    __slots__ = ("_spool", "content_type", "filename", "name")

    def __init__(self, name: str, filename: str, content_type: str, spool: Spool) -> None:
        self.name = name
        self.filename = filename
        self.content_type = content_type
        self._spool = spool

    def size(self) -> int:
        """Return the size in bytes."""
        return self._spool.size

    def extension(self) -> str:
        """Return the extension in lower case without its dot, "" when there is none."""
        stem, dot, extension = self.filename.rpartition(".")
        return extension.lower() if dot and stem else ""

    def read(self) -> bytes:
        """Return the whole content; a large file is better taken from `open` or `chunks`."""
        return self._spool.getvalue()

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the whole content as text.

        Raises:
            BadRequest: It is not in that encoding.
        """
        try:
            return self.read().decode(encoding)
        except UnicodeDecodeError as error:
            raise BadRequest(f"The file in {self.name!r:.80} is not {encoding} text.") from error

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield the content in pieces of at most `size` bytes."""
        return self._spool.chunks(size)

    def open(self) -> BinaryIO:
        """Return a readable, seekable file object over the content, at its start."""
        return self._spool.open()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the content to `path`, over what is there."""
        with open(path, "wb") as target:
            target.writelines(self.chunks())

    def close(self) -> None:
        """Let go of the content; happens by itself when nobody holds the file any more."""
        self._spool.close()

    def __repr__(self) -> str:
        return f"<UploadedFile {self.filename!r} {self.size()} bytes>"


class FormData(Query):
    """A form: a dict of each text field's last value, and the files.

    Args:
        fields: (name, value) in the order they came.
        uploads: The files in the order they came.
    """

    __slots__ = ("uploads",)

    def __init__(self, fields: Iterable[tuple[str, str]] = (), uploads: Iterable[UploadedFile] = ()) -> None:
        super().__init__(fields)
        self.uploads = list(uploads)

    def get_or(self, name: str, default: str = "") -> str:
        """Return a field's last value, or `default`."""
        return self.get(name, default)

    def has_field(self, name: str) -> bool:
        """Whether there is a text field of this name."""
        return name in self

    def has_file(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self.get_file(name) is not None

    def get_file(self, name: str) -> UploadedFile | None:
        """Return the last file of this name, or None."""
        files = self.get_files(name)
        return files[-1] if files else None

    def get_files(self, name: str) -> list[UploadedFile]:
        """Return every file of this name."""
        return [upload for upload in self.uploads if upload.name == name]

    def files(self) -> dict[str, UploadedFile]:
        """Return the last file of each name."""
        return {upload.name: upload for upload in self.uploads}

    def field_names(self) -> list[str]:
        """Return the names of the text fields."""
        return list(self)

    def file_names(self) -> list[str]:
        """Return the form-field names of the files."""
        return list(self.files())

    def field_count(self) -> int:
        """Return how many text fields came, repeated ones counted."""
        return len(self.pairs)

    def file_count(self) -> int:
        """Return how many files came."""
        return len(self.uploads)

    def close(self) -> None:
        """Let go of the files' content."""
        for upload in self.uploads:
            upload.close()

    def __reduce__(self) -> Any:
        raise TypeError("a form cannot be pickled: its files may be on disk")


def parse_form(body: bytes | Spool, content_type: str, limits: LimitsConfig | None = None) -> FormData:
    """Return the form in a body.

    Args:
        body: The whole of it.
        content_type: The request's.
        limits: None for the defaults.

    Raises:
        UnsupportedMediaType: It is not the content type of a form.
        BadRequest: The form is malformed.
        ContentTooLarge: It has too many fields or parts, or too much text.
    """
    limits = limits or DEFAULT_LIMITS
    essence = media.essence_of(content_type)
    if essence == media.MULTIPART:
        return _read_parts(Parts(HeldBody(body), content_type, limits), limits)
    if essence != media.FORM:
        raise UnsupportedMediaType(f"A form is expected here: {media.FORM} or {media.MULTIPART}.")
    content = body if isinstance(body, bytes) else body.getvalue()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadRequest("The form is not UTF-8.") from error
    return FormData(parse_query(text, limits.max_form_fields).pairs)


def _read_parts(parts: Parts, limits: LimitsConfig) -> FormData:
    fields: list[tuple[str, str]] = []
    uploads: list[UploadedFile] = []
    text_bytes_left = max(limits.max_spool_memory, LEAST_TEXT_BYTES)
    for part in parts:
        if part.filename is not None:
            upload = _read_file(part, limits.max_spool_memory)
            if upload.filename or upload.size():  # a file input left empty sends neither
                uploads.append(upload)
            continue
        if len(fields) == limits.max_form_fields:
            raise ContentTooLarge(f"The form has more than {limits.max_form_fields} fields.")
        content = bytearray()
        for piece in part:
            text_bytes_left -= len(piece)
            if text_bytes_left < 0:
                raise ContentTooLarge("The text fields of the form are too large.")
            content += piece
        fields.append((part.name, media.decode_text(bytes(content), part.content_type)))
    return FormData(fields, uploads)


def _read_file(part: Part, memory_limit_bytes: int) -> UploadedFile:
    spool = Spool(memory_limit_bytes)
    for piece in part:
        spool.write(piece)
    return UploadedFile(part.name, part.filename or "", part.content_type, spool)
