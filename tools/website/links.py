"""Whether what the pages of a built site link to is there: every page, file and anchor of the site itself.

Links to other sites are not followed: a build asks nobody. Their addresses must be https.
"""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of one page, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what a tag names and where it leads."""
        for name, value in attributes:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value or "")
            elif name in ("href", "src") and value is not None:
                self.targets.append(value)


def broken(site: Path) -> list[str]:
    """Return the links of a site that lead nowhere: where they stand, and where they should lead."""
    site = site.resolve()
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    return list(_broken(site, pages))


def _broken(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for path, page in pages.items():
        for target in page.targets:
            address = urlsplit(target)
            where = path.relative_to(site).as_posix()
            if address.scheme or address.netloc:
                if address.scheme not in ("https", "data", "mailto"):
                    yield f"{where}: {target} (not https)"
                continue
            if where == "404.html" and address.path.startswith("/"):
                continue  # it stands wherever it is shown, and its links begin at the site's address
            found = (path.parent / unquote(address.path)).resolve() if address.path else path
            if found.is_dir():
                found /= "index.html"
            if not found.is_file():
                yield f"{where}: {target}"
            elif address.fragment and found in pages and unquote(address.fragment) not in pages[found].anchors:
                yield f"{where}: {target} (no such anchor)"
