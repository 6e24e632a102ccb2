"""Frameworks as guests: what one request costs inside a WSGI or ASGI server, measured without the server."""
