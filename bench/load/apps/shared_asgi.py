"""Request id and timing as plain ASGI middleware, the cheapest form there is; and uvicorn as it runs fastest."""

import time
from typing import Any

from shared_routes import PORT, new_request_id


class RequestId:
    """Give each answer the id of its request, or a new one."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        given = next((value for name, value in scope.get("headers", ()) if name == b"x-request-id"), None)
        field = (b"x-request-id", given or new_request_id().encode())

        async def send_with_id(event: Any) -> None:
            if event["type"] == "http.response.start":
                event["headers"] = [*event["headers"], field]
            await send(event)

        await self.app(scope, receive, send_with_id)


class Timing:
    """Tell in each answer how long it took."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        started = time.perf_counter()

        async def send_with_time(event: Any) -> None:
            if event["type"] == "http.response.start":
                took = f"{(time.perf_counter() - started) * 1000:.3f}".encode()
                event["headers"] = [*event["headers"], (b"x-response-time", took)]
            await send(event)

        await self.app(scope, receive, send_with_time)


def serve_with_uvicorn(app: Any, *, http: str = "httptools", loop: str = "uvloop") -> None:
    """Run one process, without access log."""
    import uvicorn

    uvicorn.run(app, port=PORT, http=http, loop=loop, access_log=False, log_level="warning")
