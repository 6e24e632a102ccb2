"""A small notes service that shows what cello does; everything it needs is built in.

    cello run examples/demo/app.py

Then open the address that is printed: the start page lists what to try.
"""

import asyncio
import hashlib
import hmac
import itertools
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from cello import (
    App,
    BackgroundTasks,
    Blueprint,
    Depends,
    File,
    Form,
    HTTPError,
    Middleware,
    Query,
    Response,
    UploadedFile,
)
from cello.guards import Authenticated, Role
from cello.pipeline.middleware import IDENTIFY

HERE = Path(__file__).parent
TOKENS = {"demo": {"name": "Ada", "roles": ["user"]}, "boss": {"name": "Grace", "roles": ["user", "admin"]}}


# The data: a store in memory. Handlers may run on several threads, so it has a lock.


@dataclass
class NewNote:
    """What a client sends; cello validates it and answers 422 with every fault."""

    title: str
    text: str = ""
    tags: list[str] = field(default_factory=list)


@dataclass
class Note(NewNote):
    id: int = 0


class NoteNotFound(LookupError):
    """Raised by the store, which knows nothing of HTTP; an exception handler makes it a 404."""


class Notes:
    def __init__(self) -> None:
        self._notes: dict[int, Note] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, new: NewNote) -> Note:
        with self._lock:
            note = Note(**asdict(new), id=next(self._ids))
            self._notes[note.id] = note
        return note

    def get(self, note_id: int) -> Note:
        try:
            return self._notes[note_id]
        except KeyError:
            raise NoteNotFound(note_id) from None

    def remove(self, note_id: int) -> None:
        self.get(note_id)
        with self._lock:
            self._notes.pop(note_id, None)

    def search(self, text: str, tag: str | None, limit: int) -> list[Note]:
        with self._lock:
            notes = list(self._notes.values())
        wanted = [note for note in notes if text.lower() in f"{note.title} {note.text}".lower()]
        return [note for note in wanted if tag is None or tag in note.tags][:limit]


# The application. A blueprint holds what lies below /api; handlers are plain functions or coroutines, as they need.

app = App()
app.enable_openapi("cello demo", tags={"notes": "Write, find, read and remove notes."})
api = Blueprint("/api", tags=["notes"])

app.register_singleton("notes", Notes())
Store = Annotated[Notes, Depends("notes")]


@app.lifespan
async def uploads_folder(app):
    """Keep uploads in a folder that lives as long as the server."""
    with tempfile.TemporaryDirectory(prefix="cello-demo-") as folder:
        app.state.uploads = Path(folder)
        app.state.started = time.monotonic()
        yield


@app.on_event("startup")
def say_what_to_try():
    for url in app.urls[:1]:
        print(f"cello demo. Open {url} in a browser: the page lists what to try. Or, in another terminal:")
        print(f"  curl -i {url}/api/notes")
        print(f"  curl -i -X POST {url}/api/notes -H 'Content-Type: application/json' -d '{{\"title\": \"hello\"}}'")
        print(f"  curl -N '{url}/countdown?seconds=3'", flush=True)


class Identify(Middleware):
    """Who is asking? Guards look at request.context["user"]; this stands before them, whenever it is added."""

    band = IDENTIFY

    def before(self, request):
        token = request.get_header("Authorization", "").removeprefix("Bearer ")
        for known, user in TOKENS.items():
            if hmac.compare_digest(token.encode(), known.encode()):
                request.context["user"] = user


app.use(Identify())


@app.exception_handler(NoteNotFound)
def note_not_found(request, error):
    raise HTTPError(404, f"There is no note {error.args[0]}.")


@app.get("/")
def start_page():
    """The start page, with ETag, Last-Modified and ranges."""
    return Response.sendfile(HERE / "start.html")


# JSON: a parameter converted by its annotation, a validated body, a query with bounds. What a handler returns is held
# to its annotation, and all of it is in the OpenAPI document.


@api.get("/notes", summary="Search notes")
def list_notes(
    notes: Store, q: str = Query(""), tag: str | None = Query(None), limit: int = Query(20, ge=1, le=100)
) -> list[Note]:
    return notes.search(q, tag, limit)


@api.post("/notes", summary="Write a note", responses={201: Note})
def add_note(new: NewNote, notes: Store, request) -> Response:
    note = notes.add(new)
    return Response.created(asdict(note), location=request.url_for("get_note", id=note.id))


@api.get("/notes/{id:int}", summary="Read a note", name="get_note")
def get_note(id: int, notes: Store) -> Note:
    return notes.get(id)


@api.delete("/notes/{id:int}", summary="Remove a note", guards=[Authenticated()])
def remove_note(id: int, notes: Store) -> None:
    notes.remove(id)


# Forms and uploads.


@app.post("/form", responses={303: "To the start page"})
def add_by_form(notes: Store, title: str = Form(pattern=r"\S"), text: str = Form("")) -> Response:
    notes.add(NewNote(title=title.strip(), text=text))
    return Response.redirect("/", status=303)


@api.post("/files", max_body_size=50 * 1024 * 1024, responses={201: "Saved"})
def upload(file: list[UploadedFile] = File()):
    """Take a multipart upload; large files are spooled to disk, never held in memory."""
    saved = []
    for number, each in enumerate(file):
        name = "".join(filter(str.isprintable, Path(each.filename or "").name)) or f"file-{number}"
        each.save(app.state.uploads / name)
        saved.append({"name": name, "bytes": each.size(), "get": f"/api/files/{quote(name)}"})
    return {"saved": saved}, 201


@api.get("/files/{name}")
def download(name: str):
    """Send a file as an attachment, through the kernel; ranges and conditional requests work."""
    path = app.state.uploads / Path(name).name
    if not path.is_file():
        raise HTTPError(404, f"There is no file {name!r}.")
    return Response.file(path, filename=path.name)


@api.post("/digest", stream=True)
async def digest(request):
    """Read a body of any size while it arrives."""
    sha256, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        sha256.update(chunk)
        size += len(chunk)
    return {"bytes": size, "sha256": sha256.hexdigest()}


# Streams, waiting, background work.


@app.get("/countdown")
async def countdown(seconds: int = Query(5, ge=1, le=60)):
    async def lines():
        for left in range(seconds, 0, -1):
            yield f"{left}\n"
            await asyncio.sleep(1)
        yield "done\n"

    return Response.stream(lines(), content_type="text/plain; charset=utf-8")


@app.get("/numbers.csv")
def numbers():
    """A plain generator is streamed too."""
    yield "n,square\n"
    for n in range(1_000):
        yield f"{n},{n * n}\n"


@app.get("/together")
async def together():
    """Wait for several things at once."""
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(asyncio.sleep(0.1))
    return {"waits": 10, "of_seconds": 0.1, "took_seconds": round(time.perf_counter() - started, 2)}


@app.get("/blocking")
def blocking():
    """A slow plain function: cello notices, moves it to a thread, and goes on answering others meanwhile."""
    time.sleep(0.2)
    return {"slept_seconds": 0.2, "thread": threading.current_thread().name}


@app.post("/later")
def later():
    tasks = BackgroundTasks()
    tasks.add_task(print, "cello demo: this ran after the answer was sent", flush=True)
    response = Response.json({"answered": True}, status=202)
    response.background = tasks
    return response


# Cookies, guards, errors.


@app.get("/visits")
def visits(request):
    count = int(request.cookies.get("visits", "0")) + 1
    response = Response.json({"visits": count})
    response.set_cookie("visits", str(count), max_age=3600, httponly=True, samesite="Lax")
    return response


@app.get("/me", guards=[Authenticated()])
def me(request):
    return request.context["user"]


@app.get("/admin", guards=[Authenticated(), Role(["admin"])])
async def admin(request):
    return {"welcome": request.context["user"]["name"]}


@app.get("/fail")
def fail():
    """An unexpected error: a readable page while debugging, a problem document without details in production."""
    return {"never": 1 / 0}


app.register_blueprint(api)

if __name__ == "__main__":
    app.run()
