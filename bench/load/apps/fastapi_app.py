"""FastAPI on uvicorn with httptools and uvloop."""

import asyncio
from typing import Annotated, Any

from fastapi import Body, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from shared_asgi import RequestId, Timing, serve_with_uvicorn
from shared_routes import ORIGIN, TEXT, WITH_MIDDLEWARE, filler_paths, greeting

app = FastAPI(openapi_url=None)


@app.get("/", response_class=PlainTextResponse)
async def home():
    return TEXT


@app.get("/json")
def json_greeting():
    return greeting()


@app.get("/users/{id}")
async def user(id: str):
    return {"id": id}


@app.post("/echo")
async def echo(data: Annotated[Any, Body()]):
    return data


@app.get("/async")
async def async_greeting():
    return greeting()


@app.get("/suspend")
async def suspended_greeting():
    await asyncio.sleep(0)
    return greeting()


async def other():
    return {"ok": True}


for path in filler_paths():
    app.get(path)(other)

if WITH_MIDDLEWARE:
    app.add_middleware(Timing)
    app.add_middleware(RequestId)
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN])

if __name__ == "__main__":
    serve_with_uvicorn(app)
