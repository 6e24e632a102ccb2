"""What a release consists of: one version, workflows and scripts that name what is there, wheels for every Python."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cello import __version__

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))

pytestmark = pytest.mark.skipif(
    not WORKFLOWS, reason="these tests stand in a source archive, without the repository's own files"
)


def test_the_version_stands_in_one_place() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cello._version.__version__"}
    number = re.escape(__version__)
    assigned = re.compile(rf"^__version__ = |^version = \"{number}\"|version=[\"']{number}", re.MULTILINE)
    sources = [*(ROOT / "cello").glob("*.py"), ROOT / "setup.py", ROOT / "pyproject.toml"]
    found = [path.relative_to(ROOT).as_posix() for path in sources if assigned.search(path.read_text("utf-8"))]
    assert found == ["cello/_version.py"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc|\.dev)\d+)?", __version__)


def test_the_changelog_begins_with_what_is_not_released() -> None:
    sections = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert sections[0] == "Unreleased"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_scripts_that_are_there(path: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all("uses" in step or "run" in step for step in steps)
    scripts = re.findall(r"\.ci/\w+", "\n".join(step.get("run", "") for step in steps))
    assert [script for script in scripts if not (ROOT / script).is_file()] == []
    needed = {name for job in workflow["jobs"].values() for name in job.get("needs", [])}
    assert needed <= workflow["jobs"].keys()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_asks_for_something(path: Path) -> None:
    form = yaml.safe_load(path.read_text("utf-8"))
    if path.name == "config.yml":
        return
    assert {"name", "description", "body"} <= form.keys()
    asked = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(asked) == len(set(asked)) >= 1


@pytest.mark.parametrize("name", ["run", "services", "wheels"])
def test_a_script_is_bash(name: str) -> None:
    done = subprocess.run(["bash", "-n", str(ROOT / ".ci" / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_wheels_are_built_for_every_python_that_is_promised_and_tried() -> None:
    least = PROJECT["project"]["requires-python"].removeprefix(">=3.")
    built = [int(name[3:].removesuffix("-*").removeprefix("3")) for name in PROJECT["tool"]["cibuildwheel"]["build"]]
    assert built == list(range(int(least), max(built) + 1))
    promised = {
        int(found[1])
        for line in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", line))
    }
    assert promised <= set(built)
    assert PROJECT["tool"]["cibuildwheel"]["test-command"].endswith(".ci/smoke.py on")
    assert PROJECT["tool"]["cibuildwheel"]["environment"] == {"CELLO_SPEEDUPS": "1"}


def test_what_a_repository_is_asked_for_is_there() -> None:
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"):
        assert len((ROOT / name).read_text("utf-8")) > 500
    assert (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").is_file()
