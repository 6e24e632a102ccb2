"""`app.run()` in a program, under cello's own import, and elsewhere."""

import signal
import subprocess
import sys

import pytest

from cello import App
from cello.errors import ConfigError
from cello.serve import run
from cello.serve.served import importing
from tests.serve.program import ROOT, Program, free_port, get

BARE = """
import sys
from cello import App
app = App()

@app.get("/")
def index(): return sys.argv[1:]

app.run(port={port}, debug=False, logs=False)
"""
GUARDED = BARE.replace("app.run", 'if __name__ == "__main__":\n    app.run') + '\n    print("after run", flush=True)\n'


def test_a_program_serves_itself_and_goes_on_after_a_graceful_end(tmp_path):
    (tmp_path / "shop.py").write_text(GUARDED.format(port=1))
    port = free_port()
    with Program("shop.py", "import", "--port", str(port), "--dry", folder=tmp_path) as program:
        assert program.listening() == f"http://127.0.0.1:{port}"
        assert get(f"http://127.0.0.1:{port}") == (200, f'["import","--port","{port}","--dry"]')
        program.signal(signal.SIGTERM)
        program.wait_for("after run")
        assert program.wait() == 0


@pytest.mark.parametrize(
    ("words", "environment", "winner"),
    [
        pytest.param(["--port", "{a}"], {"CELLO_PORT": "{b}"}, "a", id="command line"),
        pytest.param([], {"CELLO_PORT": "{b}"}, "b", id="environment"),
        pytest.param([], {}, "c", id="run"),
        pytest.param([], {"CELLO_PORT": "tcp://10.0.0.1:80"}, "c", id="run, past a port of Kubernetes"),
    ],
)
@pytest.mark.parametrize("way", ["program", "command"])
def test_the_command_line_goes_before_the_environment_and_that_before_run(tmp_path, words, environment, winner, way):
    ports = {name: free_port() for name in "abc"}
    (tmp_path / "shop.py").write_text(BARE.format(port=ports["c"]))
    words = [word.format(**ports) for word in words]
    environment = {name: value.format(**ports) for name, value in environment.items()}
    command = ["shop.py"] if way == "program" else ["-m", "cello", "run", "shop:app"]
    with Program(*command, *words, folder=tmp_path, environment=environment) as program:
        assert program.listening() == f"http://127.0.0.1:{ports[winner]}"
        assert ("set by Kubernetes" in program.output) == ("tcp://10.0.0.1:80" in environment.values())


def test_under_cellos_own_import_run_records_its_options():
    app = App()
    with importing():
        run(app, {"port": 1, "workers": 3})
    assert app.run_options == {"port": 1, "workers": 3}


def test_an_import_by_something_else_is_told_about_the_guard(tmp_path):
    (tmp_path / "shop.py").write_text(BARE.format(port=1))
    with Program("-c", "import shop", folder=tmp_path) as program:
        assert program.wait() == 1
    assert "ConfigError" in program.output
    assert 'if __name__ == "__main__":' in program.output
    assert "'shop'" in program.output


def test_an_unknown_option_is_refused_wherever_it_is_met():
    words = "no option 'prot'; did you mean 'port'"
    with pytest.raises(ConfigError, match=words):
        App().run(prot=1)
    with importing(), pytest.raises(ConfigError, match=words):
        App().run(prot=1)


async def test_run_inside_a_coroutine_is_refused():
    with pytest.raises(ConfigError, match="call it from plain code"):
        App().run()


def test_several_workers_of_an_interactive_session_are_refused(tmp_path):
    done = subprocess.run(
        [sys.executable, "-i"],
        input=f"from cello import App\nApp().run(workers=2, port={free_port()})\n",
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert "need a program that can be started again" in done.stderr
