"""Uploads of any size, with progress as the server sees it: bodies as streams, server-sent events, channels.

    python examples/upload/app.py          # files go to a temporary folder, or to $UPLOADS

Open the address that is printed. A file is written while it arrives and never held in memory. What has been written is
published on a channel, so whoever watches hears of it, whichever worker (`--workers 2`) has the upload.
"""

import os
import re
import tempfile
from pathlib import Path

from cello import App, BadRequest, Header, NotFound, Query, Response, SseEvent

PAGE = Path(__file__).with_name("upload.html")
FOLDER = Path(os.environ.get("UPLOADS") or tempfile.gettempdir()) / "cello-uploads"
MOST_BYTES = 10_000_000_000
STEP_BYTES = 262_144

app = App()


@app.on_event("startup")
def make_folder():
    FOLDER.mkdir(parents=True, exist_ok=True)


@app.get("/")
def page():
    return Response.html(PAGE.read_text(encoding="utf-8"))


def path_of(name: str) -> Path:
    """Return where a file is kept; its name may have no folder in it, and is not hidden."""
    if not re.fullmatch(r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,199}", name):
        raise BadRequest("This name cannot be used for a file.")
    return FOLDER / name


@app.post("/files", stream=True, max_body_size=MOST_BYTES)
def upload(
    request,
    name: str = Query(min_length=1),
    upload_id: str = Header("", alias="X-Upload-Id"),
    total: int = Header(0, alias="Content-Length"),
):
    """Write the body to a file; a plain function, on a thread of its own while it waits for bytes and for the disk."""
    kept = path_of(name)
    channel = app.channel(f"upload/{upload_id}")
    received = told = 0
    with tempfile.NamedTemporaryFile(dir=FOLDER, prefix=".", delete=False) as file:
        try:
            for chunk in request.stream():
                file.write(chunk)
                received += len(chunk)
                if received - told >= STEP_BYTES:
                    told = received
                    channel.publish({"received": received, "total": total})
        except BaseException:
            os.unlink(file.name)  # half a file is none
            raise
    os.replace(file.name, kept)
    channel.publish({"received": received, "total": received, "done": True})
    return {"name": name, "bytes": received}, 201, {"Location": app.url_for("download", name=name)}


@app.get("/uploads/{upload_id}")
async def progress(upload_id: str):
    """Events while an upload is under way, the last with `done`; to be opened before it begins."""
    heard = app.channel(f"upload/{upload_id}").subscribe()

    async def events():
        async with heard:
            yield SseEvent({"received": 0}, event="ready")
            async for step in heard:
                yield SseEvent(step, event="progress")
                if step.get("done"):
                    return

    return Response.sse(events())


@app.get("/files")
def listing():
    files = [path for path in FOLDER.iterdir() if path.is_file() and not path.name.startswith(".")]
    return [{"name": path.name, "bytes": path.stat().st_size} for path in sorted(files)]


@app.get("/files/{name}")
def download(name: str):
    path = path_of(name)
    if not path.is_file():
        raise NotFound("There is no such file.")
    return Response.file(path)


if __name__ == "__main__":
    app.run()
