"""The application under attack. ABUSE_TIMEOUTS (JSON) replaces fields of its time limits."""

import json
import os

from cello import App, LimitsConfig, TimeoutConfig

app = App()
app.set_timeouts(TimeoutConfig(**json.loads(os.environ.get("ABUSE_TIMEOUTS", "{}"))))
app.set_limits(LimitsConfig(**json.loads(os.environ.get("ABUSE_LIMITS", "{}"))))


@app.get("/")
def index():
    return "in"


@app.post("/collect")
def collect(request):
    return {"size": len(request.body())}


@app.post("/upload", stream=True, max_body_size=10**10)
async def upload(request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"size": size}


@app.get("/endless")
def endless():
    async def tell():
        piece = b"x" * 65_536
        for _ in range(16_384):  # 1 GiB
            yield piece

    return tell()
