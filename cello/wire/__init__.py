"""Bytes to events and back, without I/O: HTTP/1 heads and bodies, WebSocket frames."""
