"""Litestar on uvicorn with httptools and uvloop."""

import asyncio
from typing import Any

from litestar import Litestar, MediaType, get, post
from litestar.config.cors import CORSConfig
from litestar.status_codes import HTTP_200_OK
from shared_asgi import RequestId, Timing, serve_with_uvicorn
from shared_routes import ORIGIN, TEXT, WITH_MIDDLEWARE, filler_paths, greeting


@get("/", media_type=MediaType.TEXT)
async def home() -> str:
    return TEXT


@get("/json", sync_to_thread=False)
def json_greeting() -> dict[str, str]:
    return greeting()


@get("/users/{id:str}")
async def user(id: str) -> dict[str, str]:
    return {"id": id}


@post("/echo", status_code=HTTP_200_OK)
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@get("/async")
async def async_greeting() -> dict[str, str]:
    return greeting()


@get("/suspend")
async def suspended_greeting() -> dict[str, str]:
    await asyncio.sleep(0)
    return greeting()


def make_other(path: str) -> Any:
    if path.endswith("}"):

        @get(path)
        async def other(id: str) -> dict[str, bool]:
            return {"ok": True}
    else:

        @get(path)
        async def other() -> dict[str, bool]:
            return {"ok": True}

    return other


measured = [home, json_greeting, user, echo, async_greeting, suspended_greeting]
app = Litestar(
    [*measured, *map(make_other, filler_paths("{id:str}"))],
    openapi_config=None,
    cors_config=CORSConfig(allow_origins=[ORIGIN]) if WITH_MIDDLEWARE else None,
    middleware=[RequestId, Timing] if WITH_MIDDLEWARE else [],
)

if __name__ == "__main__":
    serve_with_uvicorn(app)
