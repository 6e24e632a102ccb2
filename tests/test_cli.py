"""The command `cello`."""

import importlib.metadata
import re
import subprocess
import sys

import pytest

from cello import __version__
from cello.cli import main
from cello.serve import console

APP = """
from cello import App, Authenticated
app = App()

@app.get("/", summary="front page")
def index(): ...

@app.route("/items/{id:int}", methods=["GET", "PUT"], name="item", guards=[Authenticated()])
async def item(id: int): ...

@app.post("/slow", blocking=True)
def slow(): ...

@app.delete("/quick", blocking=False)
def quick(): ...
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with an app.py; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "app", raising=False)  # of another test in this process
    (tmp_path / "app.py").write_text(APP)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_routes_are_listed_with_how_they_run_who_guards_them_and_where_they_are(folder, capsys):
    assert main(["routes"]) == 0
    head, *rows = [re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert head == ["METHODS", "PATH", "NAME", "HANDLER", "RUNS", "GUARDS", "PLACE"]
    assert rows == [
        ["GET", "/", "index", "app.index", "adaptive", "-", "app.py:5"],
        ["GET,PUT", "/items/{id:int}", "item", "app.item", "async", "Authenticated", "app.py:8"],
        ["POST", "/slow", "slow", "app.slow", "thread", "-", "app.py:11"],
        ["DELETE", "/quick", "quick", "app.quick", "inline", "-", "app.py:14"],
    ]


def test_guards_of_the_whole_app_are_listed_with_every_route(folder, capsys):
    (folder / "app.py").write_text(APP + "\ndef by_day(request): ...\napp.add_guard(by_day)\n")
    assert main(["routes"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert all("by_day" in row for row in rows)
    assert "by_day, Authenticated" in rows[1]


def test_websockets_are_listed_too(folder, capsys):
    (folder / "sockets.py").write_text("from cello import App\napp = App()\napp.websocket('/ws')(lambda ws: None)\n")
    assert main(["routes", "sockets:app"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert (row[0], row[1], row[4]) == ("WEBSOCKET", "/ws", "thread")


def test_an_app_without_routes_is_said(folder, capsys):
    (folder / "empty.py").write_text("from cello import App\napp = App()")
    assert main(["routes", "empty:app"]) == 0
    assert capsys.readouterr().out == "no routes\n"


def test_check_compiles_everything_and_counts(folder, capsys):
    assert main(["check", "app:app"]) == 0
    assert capsys.readouterr().out == "ok: 4 routes\n"


@pytest.mark.parametrize(
    ("argv", "addition", "words"),
    [
        pytest.param(["run", "nope:app"], "", "error: no module named 'nope'", id="no module"),
        pytest.param(["run", "app:nope"], "", "error: 'app' has no 'nope'; Apps in it: app", id="no attribute"),
        pytest.param(["run", "app:index"], "", "app:index is a function", id="not an App"),
        pytest.param(["routes", "web.py"], "", "error: no file 'web.py'", id="no file"),
        pytest.param(["check"], "\n1 / 0", "in <module>\n    1 / 0", id="module that raises"),
        pytest.param(["check"], "\ndef (", "SyntaxError", id="module that does not parse"),
        pytest.param(["check"], "\n@app.get('/')\ndef again(): ...", "registered already", id="duplicate route"),
        pytest.param(["run", "--fd", "999"], "", "descriptor 999 (--fd) is not an open socket", id="no descriptor"),
        pytest.param(["run", "--certfile", "none.pem"], "", "certificate file 'none.pem' cannot be read", id="no cert"),
        pytest.param(["new", "."], "", "'.' is not empty; nothing was written", id="folder in use"),
    ],
)
def test_what_cannot_work_is_explained_and_exits_1(folder, capsys, argv, addition, words):
    (folder / "app.py").write_text(APP + addition)
    assert main(argv) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "importlib" not in error
    assert "cli.py" not in error


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["serve"], "invalid choice: 'serve'"),
        (["run", "--prot", "1"], "unrecognized arguments: --prot"),
        (["run", "--port", "x"], "argument --port: invalid int value: 'x'"),
        (["run", "--env", "staging"], "invalid choice: 'staging'"),
    ],
    ids=["nothing", "unknown command", "unknown flag", "bad number", "bad choice"],
)
def test_a_wrong_command_line_shows_the_usage_and_exits_2(capsys, argv, words):
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "routes", "check", "new", "version"])
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: cello {command}" in capsys.readouterr().out


def test_version_shows_what_is_in_use(capsys):
    assert main(["version"]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["cello"] == __version__
    assert facts["speedups"].startswith(("compiled", "pure Python"))
    assert facts["loop"] in ("asyncio", "uvloop")
    assert facts["parser"] in ("compiled", "httptools", "h11")
    assert sys.version.split()[0] in facts["python"]


def test_a_rival_distribution_of_the_same_import_name_is_said(tmp_path, monkeypatch, capsys):
    assert console.rival() is None
    (tmp_path / "cello_framework-1.4.1.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["version"]) == 0
    assert "the distribution cello-framework is installed too" in capsys.readouterr().err


def test_the_command_and_the_module_are_the_same():
    done = subprocess.run([sys.executable, "-m", "cello", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"cello {__version__}\n"


def test_colours_are_for_terminals_only(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert console.paint("x", "bold", Terminal()) == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert console.paint("x", "bold", Terminal()) == "x"


def test_the_version_is_the_one_of_the_metadata_where_cello_is_installed():
    try:
        installed = importlib.metadata.version("cello")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("cello runs from its source tree")
    assert installed == __version__


def test_check_warns_of_what_wsgi_servers_cannot_carry(folder, capsys):
    (folder / "sockets.py").write_text(
        "from cello import App\napp = App()\nfor n in range(7):\n    app.websocket(f'/ws/{n}')(lambda ws: None)\n"
    )
    assert main(["check", "sockets:app"]) == 0
    told = capsys.readouterr()
    assert told.out.endswith("ok: 7 routes; 1 note\n")
    assert "under a WSGI server /ws/0, /ws/1, /ws/2, /ws/3, /ws/4 and 2 more will be answered 426 or 501" in told.out


def test_check_warns_of_nothing_where_there_is_no_websocket(folder, capsys):
    assert main(["check", "app:app"]) == 0
    assert "WebSocket" not in capsys.readouterr().out
