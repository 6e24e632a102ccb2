"""The ways in: adapters between the pipeline and WSGI, ASGI, and cello's own server."""
