"""The project that `cello new` writes runs, passes its own tests and checks, and starts from what it says.

That it does so in an empty environment, out of nothing but the wheels, is shown by `.ci/wheels`.
"""

import ast
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

from cello import __version__
from cello.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "My Shop"]) == 0
    said = capsys.readouterr().out
    assert "cello run --reload" in said
    assert "cd 'My Shop'" in said
    return tmp_path / "My Shop"


def run_in(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def test_its_tests_pass(project: Path) -> None:
    done = run_in(project, "pytest", "-q", "-p", "no:cacheprovider")
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_strict_check_passes(project: Path) -> None:
    done = run_in(project, "cello", "check", "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: " in done.stdout


def test_it_serves(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "cello", "run", "--port", str(port)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello/you", timeout=5) as answer:
                    assert answer.read() == b'{"text":"Hello, you!"}'
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        server.terminate()
        assert server.wait(30) == 0


def test_its_metadata_names_it_and_asks_for_this_cello(project: Path) -> None:
    said = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    assert said["project"]["name"] == "my-shop"
    [needed] = said["project"]["dependencies"]
    assert __version__.startswith(needed.rpartition(">=")[2])


def test_what_its_container_and_its_pipeline_run_is_there(project: Path) -> None:
    import yaml

    steps = yaml.safe_load((project / ".github/workflows/test.yml").read_text("utf-8"))["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step][1:] == ["python -m pytest", "cello check --strict"]
    dockerfile = (project / "Dockerfile").read_text("utf-8")
    entry = ast.literal_eval(re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[0])
    assert entry[1:4] == ["run", "app:app", "--env"]
    assert (project / "wheels").is_dir()
    probe = ast.literal_eval(re.findall(r"^HEALTHCHECK CMD (.*)$", dockerfile, re.MULTILINE)[0])
    compile(probe[2], "HEALTHCHECK", "exec")


def test_it_is_formatted_as_ruff_would(project: Path) -> None:
    done = run_in(project, "ruff", "format", "--check", "--no-cache", "--isolated", ".")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["日本", 'a "quoted" {name}', "x"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", name]) == 0
    ast.parse((tmp_path / name / "app.py").read_text("utf-8"))
    assert re.fullmatch(
        r"[a-z0-9-]+", tomllib.loads((tmp_path / name / "pyproject.toml").read_text())["project"]["name"]
    )


def test_an_empty_folder_may_be_the_current_one_and_a_full_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "."]) == 0
    assert "cd " not in capsys.readouterr().out
    before = (tmp_path / "app.py").read_text()
    assert main(["new", "."]) == 1
    assert "is not empty; nothing was written" in capsys.readouterr().err
    assert (tmp_path / "app.py").read_text() == before
