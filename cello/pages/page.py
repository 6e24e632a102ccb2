"""What every page is: no content of its own, and a policy that lets nothing but its own code run.

SECURITY: each is a page of no content of its own under a strict policy: scripts and styles only with the nonce of this
very answer, no inline script, no other host but the servers that the document names.
"""

import html
import secrets
from collections.abc import Iterable
from posixpath import dirname, relpath
from typing import NamedTuple
from urllib.parse import urlsplit

from cello.http.response import Response

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
{styles}
<style nonce="{nonce}">body {{ margin: 0 }}</style>
</head>
<body>
<div id="page"></div>
<noscript>This page needs JavaScript; the description of the API itself is <a href="{document}">here</a>.</noscript>
{scripts}
</body>
</html>
"""


class Page(NamedTuple):
    """What one kind of page needs.

    Attributes:
        scripts: The library first, then what starts it.
        styles: Stylesheets.
        policy: What its library needs beyond scripts and styles of the page's own.
    """

    scripts: tuple[str, ...]
    styles: tuple[str, ...]
    policy: str


def render(page: Page, *, title: str, document: str, assets: Iterable[str], servers: Iterable[str]) -> Response:
    """Return a page.

    Args:
        page: Which.
        title: Text.
        document: The URL of the document.
        assets: The URLs of the page's scripts and styles.
        servers: The URLs of servers that operations are tried out on.
    """
    nonce = secrets.token_urlsafe(16)
    urls = [html.escape(url) for url in assets]
    styles = [f'<link rel="stylesheet" nonce="{nonce}" href="{url}">' for url in urls if ".css?" in url]
    *libraries, start = [url for url in urls if ".js?" in url]
    scripts = [f'<script nonce="{nonce}" src="{url}"></script>' for url in libraries]
    scripts.append(f'<script nonce="{nonce}" src="{start}" data-document="{html.escape(document)}"></script>')
    response = Response.html(
        _PAGE.format(
            title=html.escape(title),
            nonce=nonce,
            document=html.escape(document),
            styles="\n".join(styles),
            scripts="\n".join(scripts),
        )
    )
    connect = " ".join(dict.fromkeys(("'self'", *(origin for url in servers if (origin := _origin(url))))))
    response.set_header(
        "Content-Security-Policy",
        f"default-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src {connect}; "
        f"{page.policy}; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    )
    response.set_header("Cache-Control", "no-store")
    response.set_header("Referrer-Policy", "same-origin")
    response.set_header("X-Content-Type-Options", "nosniff")
    return response


def relative(target: str, page: str) -> str:
    """Return how a page refers to another path of the application, wherever that is mounted."""
    return relpath(target, dirname(page) or "/")


def _origin(url: str) -> str | None:
    """Return the origin of a server, or None where it is the page's own or cannot be told."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and "{" not in parts.netloc else None
