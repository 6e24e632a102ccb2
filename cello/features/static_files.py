"""Static files: a folder served below a prefix.

The route is one like the application's own: its guards, limits and middleware hold for files too. Which file a path
means is `folders.py`'s to say; conditions, ranges and the sending are those of every `Response` of a file.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from urllib.parse import quote

from cello.config import config, field
from cello.errors import ConfigError, NotFound
from cello.extension import Host
from cello.features.folders import Folder, Opened
from cello.http.files import FilePayload, make_etag
from cello.http.grammar import format_date, is_field_value
from cello.http.headers import make_field
from cello.http.media import accepted_codings, guess_content_type
from cello.http.request import Request
from cello.http.response import Response
from cello.review import Deployment, Finding

CODINGS = {".br": "br", ".zst": "zstd", ".gz": "gzip"}
"""Content codings of files that were compressed beforehand, by their suffixes; smallest first."""
_SUFFIXES = {coding: suffix for suffix, coding in CODINGS.items()}

_PARAMETER = "path"
_NOT_FOR_OTHERS = (".env", ".git", "app.py", "main.py", "manage.py", "pyproject.toml", "requirements.txt")
_LISTING = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<table>
<tr><th>Name</th><th>Bytes</th><th>Modified</th></tr>
{rows}
</table>
</body>
</html>
"""
_LISTING_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@config
class StaticFilesConfig:
    """A folder whose files are served.

    Attributes:
        root: The folder.
        prefix: Below which path its files are; "/" for the whole site, behind all routes.
        index_file: What is served for a folder, if it holds it; None for nothing.
        enable_etag: Send `ETag`, so that what a client has is not sent again.
        enable_last_modified: Send `Last-Modified`, for the same.
        cache_control: The `Cache-Control` of every file, such as "public, max-age=31536000, immutable".
        directory_listing: Show what a folder without index file holds.
        precompressed: Serve `app.js.br`, `.zst` or `.gz` for `app.js` to clients that can read it.
        follow_symlinks: Follow symbolic links in the folder, wherever they lead.
        hidden_files: Serve files and folders whose names begin with a dot; `.well-known` always is.
        name: What `app.url_for(name, path="app.js")` calls it; None: after the prefix, "static" for "/static".
    """

    root: str | os.PathLike[str]
    prefix: str = "/static"
    index_file: str | None = "index.html"
    enable_etag: bool = True
    enable_last_modified: bool = True
    cache_control: str | None = None
    directory_listing: bool = False
    precompressed: bool = True
    follow_symlinks: bool = False
    hidden_files: bool = False
    name: str | None = field(default=None)


class StaticFiles:
    """Serves one folder. For what the settings mean see `StaticFilesConfig`."""

    switch = "enable_static_files"

    def __init__(self, settings: StaticFilesConfig) -> None:
        if not isinstance(settings, StaticFilesConfig):
            raise ConfigError(f"enable_static_files() takes a StaticFilesConfig, not {settings!r:.80}")
        self._prefix = _checked_prefix(settings.prefix)
        self.name = f"static_files {self._prefix or '/'}"
        self._settings = settings
        self._folder = Folder(
            _checked_root(settings.root), follow_symlinks=settings.follow_symlinks, hidden_files=settings.hidden_files
        )
        self._is_for_folders = settings.directory_listing or settings.index_file is not None
        if settings.index_file is not None and not self._folder.has(settings.index_file):
            raise ConfigError(
                f"StaticFilesConfig.index_file is the name of a file in each folder, not {settings.index_file!r:.80}"
            )
        common = [make_field("X-Content-Type-Options", "nosniff")]
        if settings.precompressed:
            common.append(make_field("Vary", "Accept-Encoding"))
        if settings.cache_control is not None:
            if not settings.cache_control or not is_field_value(settings.cache_control):
                raise ConfigError(f"StaticFilesConfig.cache_control cannot be sent: {settings.cache_control!r:.80}")
            common.append(make_field("Cache-Control", settings.cache_control))
        self._common = common

    def install(self, host: Host) -> None:
        """Add the route, and one for the prefix itself where that could mean a folder."""
        name = self._settings.name or self._prefix.strip("/").replace("/", ".") or "static"
        host.add_route(f"{self._prefix}/{{{_PARAMETER}:path}}", self.serve, name=name, is_builtin=False)
        if self._prefix and self._is_for_folders:
            host.add_route(self._prefix, self.enter, name=f"{name}.folder", is_builtin=False)

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find folders that hold the program itself."""
        root = os.fspath(self._settings.root)
        found = [name for name in _NOT_FOR_OTHERS if os.path.exists(os.path.join(root, name))]
        if found:
            yield Finding(
                "error",
                "static-source",
                f"StaticFilesConfig.root {root!r:.80} holds {', '.join(found)}: whoever asks gets your program, and "
                "what is secret in it. Serve a folder that holds nothing else",
            )
        if deployment.is_production and self._settings.directory_listing:
            yield Finding(
                "note", "static-listing", f"StaticFilesConfig.directory_listing shows everybody what {root!r:.80} holds"
            )

    def serve(self, request: Request, path: str) -> Response:
        """Answer with a file, the index file of a folder, or a listing."""
        # SECURITY: an encoded slash would be a second spelling of a path, which whatever stands in front reads as none.
        if request.raw_path.count("/") != self._prefix.count("/") + 1 + path.count("/"):
            raise NotFound
        names = path.split("/")
        is_for_folder = not names[-1]
        if is_for_folder:
            names.pop()
        opened = self._open(request, names)
        if opened is None:
            raise NotFound
        if opened.is_file and not is_for_folder:
            return self._answer(names[-1], opened)
        os.close(opened.descriptor)
        if not opened.is_folder:
            raise NotFound
        return self._answer_folder(request, names, has_slash=is_for_folder)

    def enter(self, request: Request) -> Response:
        """Answer for the prefix itself."""
        return self._answer_folder(request, [], has_slash=False)

    def _answer_folder(self, request: Request, names: list[str], *, has_slash: bool) -> Response:
        """Answer for a folder; under its URL with a slash at the end, which is what links in its pages are based on."""
        index = None
        if self._settings.index_file is not None:
            index = self._open(request, [*names, self._settings.index_file])
            if index is not None and not index.is_file:
                os.close(index.descriptor)
                index = None
        if index is None:
            if not self._settings.directory_listing:
                raise NotFound
            return self._list(request, names) if has_slash else _redirect(request)
        if not has_slash:
            os.close(index.descriptor)
            return _redirect(request)
        return self._answer(str(self._settings.index_file), index)

    def _answer(self, name: str, opened: Opened) -> Response:
        """Return a file that is called `name`."""
        coding, status = CODINGS.get(opened.suffix), opened.status
        response = Response(b"", 200, None, guess_content_type(name))
        response.payload = FilePayload.opened(opened.path, opened.descriptor, status.st_size)
        headers = response.headers
        headers["Accept-Ranges"] = "bytes"
        if self._settings.enable_etag:
            headers["ETag"] = make_etag(status, coding)
        if self._settings.enable_last_modified:
            headers["Last-Modified"] = format_date(status.st_mtime)
        if coding is not None:
            headers["Content-Encoding"] = coding
        headers.put_missing(self._common)
        return response

    def _open(self, request: Request, names: list[str]) -> Opened | None:
        """Open a file or folder; instead of a file its compressed sibling, if there is one that the client can read."""
        accept = request._head.get(b"accept-encoding") if self._settings.precompressed else None
        return self._folder.open(names, () if accept is None else _liked(accept))

    def _list(self, request: Request, names: list[str]) -> Response:
        entries = sorted(self._folder.entries(names), key=lambda entry: (not entry.is_folder, entry.name))
        rows = ['<tr><td><a href="../">../</a></td><td></td><td></td></tr>'] if names else []
        for entry in entries:
            name = entry.name + "/" * entry.is_folder
            link = f'<a href="./{escape(quote(name))}">{escape(name)}</a>'
            size = "" if entry.is_folder else entry.size_bytes
            rows.append(f"<tr><td>{link}</td><td>{size}</td><td>{format_date(entry.modified_s)}</td></tr>")
        response = Response.html(_LISTING.format(title=escape(request.path), rows="\n".join(rows)))
        response.set_header("Content-Security-Policy", _LISTING_POLICY)
        response.set_header("Cache-Control", "no-cache")
        response.set_header("X-Content-Type-Options", "nosniff")
        return response


@lru_cache(maxsize=256)
def _liked(accept: bytes) -> tuple[str, ...]:
    """Return the suffixes of what a client likes, best first. Clients send a handful of different values."""
    return tuple(_SUFFIXES[coding] for coding in accepted_codings(accept.decode("latin-1"), list(_SUFFIXES)))


def _redirect(request: Request) -> Response:
    """Return the way to the same URL with a slash at its end.

    SECURITY: no empty segment comes this far, so it cannot begin with two slashes and lead to another host.
    """
    query = f"?{request.query_string}" if request.query_string else ""
    return Response.redirect(f"{request.root_path}{request.raw_path}/{query}", 308)


def _checked_prefix(prefix: str) -> str:
    """Return the prefix without the slash at its end.

    Raises:
        ConfigError: It is no plain path.
    """
    if not prefix.startswith("/") or any(character in prefix for character in "{}*?#%\\") or "//" in prefix:
        raise ConfigError(f"StaticFilesConfig.prefix must be a path such as '/static', not {prefix!r:.80}")
    return prefix.rstrip("/")


def _checked_root(root: str | os.PathLike[str]) -> str:
    """Return where the folder is, wherever the program goes later.

    Raises:
        ConfigError: There is none.
    """
    try:
        path = os.path.abspath(os.fspath(root))
    except TypeError:
        raise ConfigError(f"StaticFilesConfig.root must be the path of a folder, not {root!r:.80}") from None
    if not os.path.isdir(path):
        raise ConfigError(f"StaticFilesConfig.root: there is no folder {path!r:.200}")
    return path
