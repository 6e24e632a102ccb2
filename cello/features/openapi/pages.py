"""The pages: Swagger UI, where operations can be tried out, and ReDoc, to read."""

from cello.pages.page import Page

OWN = ("swagger-start.js", "redoc-start.js")
# Both show icons that are written into their styles. ReDoc's search runs in a worker made of text.
SWAGGER = Page(("swagger-ui-bundle.js", "swagger-start.js"), ("swagger-ui.css",), "img-src 'self' data:")
REDOC = Page(("redoc.standalone.js", "redoc-start.js"), (), "img-src 'self' data:; worker-src blob:")
