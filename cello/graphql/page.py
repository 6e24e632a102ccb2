"""GraphiQL at the endpoint's own address, for browsers; its code comes with the package."""

from cello.extension import Host
from cello.http.request import Request
from cello.http.response import Response
from cello.pages.assets import Assets
from cello.pages.page import Page, relative, render

# React sets styles by attribute; the font and the icons are written into the style sheet.
GRAPHIQL = Page(
    ("react.production.min.js", "react-dom.production.min.js", "graphiql.min.js", "graphiql-start.js"),
    ("graphiql.min.css",),
    "style-src-attr 'unsafe-inline'; img-src 'self' data:; font-src data:; worker-src 'self' blob:",
)
OWN = ("graphiql-start.js",)


class GraphiQL:
    """The page of one endpoint.

    Args:
        path: The endpoint.
    """

    def __init__(self, path: str) -> None:
        self._folder = f"{path.rstrip('/')}/assets"
        self._assets = Assets(__package__, OWN)
        folder = relative(self._folder, path)
        self._urls = [f"{folder}/{self._assets.url(name)}" for name in (*GRAPHIQL.styles, *GRAPHIQL.scripts)]
        self._document = relative(path, path)

    def install(self, host: Host) -> None:
        """Serve the page's code."""

        def answer_asset(request: Request, name: str) -> Response:
            return self._assets.answer(request, name)

        host.add_route(f"{self._folder}/{{name}}", answer_asset, name="graphiql_asset")

    def answer(self) -> Response:
        """Return the page."""
        return render(GRAPHIQL, title="GraphiQL", document=self._document, assets=self._urls, servers=())
