"""`cello check --compat`: each difference is found in a program, and really is one."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cello import App
from cello.cli import main
from cello.serve import compat
from cello.testing import TestClient

PROGRAM = """
from urllib.parse import unquote
from cello import App, Response

app = App()


@app.get("/text")
def text(request):
    return "hello"


@app.get("/formatted/{name}")
async def formatted(request):
    return f"hello {request.params['name']}"


@app.get("/annotated")
def annotated() -> str:
    found = {"a": "b"}
    return found["a"]


@app.get("/none")
def none(request):
    print("seen")


@app.get("/sometimes")
def sometimes(request):
    if request.query.get("a"):
        return None
    return {"a": 1}


@app.get("/pair")
def pair(request):
    return "made", 201


@app.get("/list")
def listed(request):
    return 1, 2, 3, 4


@app.get("/decoded/{name}")
def decoded(request):
    return {"name": unquote(request.params["name"])}


@app.get("/json")
def plain(request):
    def inner():
        return "not the handler's"

    return {"a": inner()}


@app.get("/response")
def response(request):
    return Response.text("hello")


@app.get("/stream")
def stream(request):
    yield "a"


@app.get("/refused")
def refused(request):
    raise ValueError("no")


app.run()
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    path = tmp_path / "moved_program.py"
    path.write_text(PROGRAM.replace("app.run()", ""))
    spec = importlib.util.spec_from_file_location("moved_program", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "moved_program", module)
    spec.loader.exec_module(module)
    made: App = module.app
    return made


def test_each_difference_is_found_where_it_is(app: App) -> None:
    found = [(one.code, one.level, one.text.split()[2]) for one in compat.examine(app) if one.text.startswith("route")]
    assert found == [
        ("compat-text", "warning", "/text"),
        ("compat-text", "warning", "/formatted/{name}"),
        ("compat-text", "warning", "/annotated"),
        ("compat-none", "warning", "/none"),
        ("compat-none", "warning", "/sometimes"),
        ("compat-tuple", "warning", "/pair"),
        ("compat-tuple", "error", "/list"),
        ("compat-params", "warning", "/decoded/{name}"),
    ]


def test_the_differences_are_real(app: App) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/text").headers["content-type"] == "text/plain; charset=utf-8"
        assert client.get("/none").status_code == 204
        assert (client.get("/pair").status_code, client.get("/pair").text) == (201, "made")
        assert client.get("/list").status_code == 500
        assert client.get("/decoded/a%2541").json() == {"name": "aA"}  # twice
        assert client.post("/text").status_code == 405


def test_the_command_says_them_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "moved_program.py").write_text(PROGRAM)

    def codes(*arguments: str) -> tuple[int, list[str]]:
        code = main(["check", "moved_program.py", "--format", "json", *arguments])
        sys.modules.pop("moved_program", None)
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, sorted({one["code"] for one in found["findings"]})

    assert codes() == (0, [])
    named = ["compat-methods", "compat-none", "compat-params", "compat-run", "compat-text", "compat-tuple"]
    assert codes("--compat") == (1, named)


def test_what_has_no_source_is_left_out() -> None:
    app = App()
    app.get("/a")(lambda: "a")
    assert [one.code for one in compat.examine(app)] == ["compat-methods"]
    assert list(compat.examine(App())) == []
