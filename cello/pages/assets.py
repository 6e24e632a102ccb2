"""The browser code of the pages, which is part of the package: no page asks another host.

Third-party files are kept compressed, as `tools/vendor_pages.py` wrote them, and sent so to every client that takes
gzip. Their URLs carry a version, so that browsers keep them for good.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from importlib.resources import files

from cello.errors import NotFound
from cello.http import media
from cello.http.request import Request
from cello.http.response import Response


class Asset:
    """One file for browsers.

    Attributes:
        name: Its name, with an extension that says what it is.
        version: Changes when the content does.
    """

    def __init__(self, package: str, name: str, version: str) -> None:
        self._package = package
        self.name = name
        self.version = version

    @cached_property
    def compressed(self) -> bytes:
        """The content, compressed with gzip."""
        return files(self._package).joinpath("assets", f"{self.name}.gz").read_bytes()

    @cached_property
    def content(self) -> bytes:
        """The content as it is; few clients ask for it."""
        return gzip.decompress(self.compressed)

    def answer(self, request: Request) -> Response:
        """Return the response to a request for the file."""
        weights = dict(media.parse_qualities(request.headers.get("accept-encoding", "")))
        is_compressed = weights.get("gzip", weights.get("*", 0.0)) > 0.0
        response = Response(
            self.compressed if is_compressed else self.content, 200, None, media.guess_content_type(self.name)
        )
        if is_compressed:
            response.set_header("Content-Encoding", "gzip")
        response.set_header("ETag", f'"{self.version}{"-gzip" if is_compressed else ""}"')
        response.set_header("Vary", "Accept-Encoding")
        response.set_header("Cache-Control", "public, max-age=31536000, immutable")
        response.set_header("X-Content-Type-Options", "nosniff")
        return response


class OwnAsset(Asset):
    """A small file of our own, kept as it is."""

    def __init__(self, package: str, name: str) -> None:
        content = files(package).joinpath("assets", name).read_bytes()
        super().__init__(package, name, hashlib.sha256(content).hexdigest()[:16])
        self.content = content

    @cached_property
    def compressed(self) -> bytes:
        """The content, compressed with gzip."""
        return gzip.compress(self.content, mtime=0)


class Assets:
    """Every file that the pages of one package need, read when it is first asked for.

    Args:
        package: Its folder `assets` has them, and `manifest.json`.
        own: Those that are our own.
    """

    def __init__(self, package: str, own: Iterable[str]) -> None:
        manifest = json.loads(files(package).joinpath("assets", "manifest.json").read_bytes())
        self._assets = {name: Asset(package, name, entry["sha256"][:16]) for name, entry in manifest.items()}
        self._assets.update({name: OwnAsset(package, name) for name in own})

    def url(self, name: str) -> str:
        """Return the last part of a file's URL."""
        return f"{name}?v={self._assets[name].version}"

    def answer(self, request: Request, name: str) -> Response:
        """Return the response to a request for the file called `name`.

        Raises:
            NotFound: There is none.
        """
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound(f"There is nothing called {name[:80]!r} here.")
        return asset.answer(request)
