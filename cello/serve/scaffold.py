"""The project that `cello new` writes: an application, its tests, a container and a pipeline of checks, all at work.

What is written is meant to be kept: no placeholders, and nothing that `cello check --strict` would refuse.
"""

import re
import shlex
import sys
from pathlib import Path

from cello._version import __version__
from cello.errors import ConfigError

_APP = '''\
"""{title}: run it with `cello run --reload`, then open http://127.0.0.1:8000/docs."""

from dataclasses import dataclass

from cello import App, NotFound, Query

app = App()
app.enable_health_checks()  # /health/live, /health/ready
app.enable_openapi(title="{title}", version="0.1.0")  # /docs


HELLO = {{"en": "Hello", "fr": "Bonjour", "de": "Hallo"}}


@dataclass
class Guest:
    name: str
    language: str = "en"


@dataclass
class Greeting:
    text: str


@app.get("/")
def index():
    return {{"try": app.url_for("greet", name="you")}}


@app.get("/hello/{{name}}")
def greet(name: str, language: str = Query("en")) -> Greeting:
    if language not in HELLO:
        raise NotFound(f"Nobody here speaks {{language!r}}.")
    return Greeting(f"{{HELLO[language]}}, {{name}}!")


@app.post("/guests")
async def welcome(guest: Guest) -> list[Greeting]:
    return [greet(guest.name, guest.language), Greeting("Come in.")]


if __name__ == "__main__":
    app.run()
'''

_TEST = '''\
"""What the application promises, asked through the test client: no server, no network."""

import pytest

from app import app
from cello.testing import TestClient


@pytest.fixture
def client():
    with TestClient(app) as client:
        yield client


def test_the_front_page_leads_to_a_greeting(client):
    link = client.get("/").json()["try"]
    assert client.get(link).json() == {"text": "Hello, you!"}


def test_it_speaks_some_languages(client):
    assert client.get("/hello/toi?language=fr").json() == {"text": "Bonjour, toi!"}
    assert client.get("/hello/te?language=la").status_code == 404


def test_guests_are_welcome_who_say_their_name(client):
    said = client.post("/guests", json={"name": "Ann"}).json()
    assert said == [{"text": "Hello, Ann!"}, {"text": "Come in."}]
    assert client.post("/guests", json={}).status_code == 422


def test_it_says_that_it_is_well(client):
    assert client.get("/health/ready").status_code == 200
'''

_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{package}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["cello[standard]>={version}"]

[project.optional-dependencies]
test = ["cello[test]", "pytest>=8.3"]

[tool.setuptools]
py-modules = ["app"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]
"""

_DOCKERFILE = """\
FROM python:{python}-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --find-links wheels .

FROM python:{python}-slim
COPY --from=build /venv /venv
RUN useradd --system app
USER app
WORKDIR /srv
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK CMD ["/venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/live')"]
ENTRYPOINT ["/venv/bin/cello", "run", "app:app", "--env", "production", "--host", "0.0.0.0"]
"""

_WORKFLOW = """\
name: test

on: [push, pull_request]

permissions:
  contents: read

jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "{python}"
      - run: python -m pip install --find-links wheels '.[test]'
      - run: python -m pytest
      - run: cello check --strict
"""

_README = """\
# {title}

    python -m venv .venv && . .venv/bin/activate
    pip install --find-links wheels -e '.[test]'
    cello run --reload          # http://127.0.0.1:8000/docs
    python -m pytest
    cello check                 # what would not be wise in production

In production: `cello run app:app --env production --host 0.0.0.0`, or the container:

    docker build -t {package} . && docker run -p 8000:8000 {package}

`wheels/` is for packages that no index has, such as cello's own wheel where you have built it yourself (`make wheel` in
its source tree); pip looks there too.
"""

_IGNORED = """\
__pycache__/
*.egg-info/
/.venv/
/build/
/dist/
.pytest_cache/
"""

_NOT_IN_THE_IMAGE = """\
.git
.github
.venv
**/__pycache__
**/*.egg-info
build
dist
tests
"""


def make_project(name: str) -> str:
    """Write a project into the new folder `name`; return what to tell its author.

    Raises:
        ConfigError: The folder exists and holds something, or cannot be made.
    """
    folder = Path(name)
    title = re.sub(r'["\\\s{}]+', " ", folder.resolve().name).strip() or "app"
    said = {
        "title": title,
        "package": re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "app",
        "version": ".".join(__version__.split(".")[:2]),
        "python": "{}.{}".format(*sys.version_info),
    }
    files = {
        "app.py": _APP.format(**said),
        "tests/test_app.py": _TEST,
        "pyproject.toml": _PYPROJECT.format(**said),
        "Dockerfile": _DOCKERFILE.format(**said),
        ".dockerignore": _NOT_IN_THE_IMAGE,
        ".github/workflows/test.yml": _WORKFLOW.format(**said),
        "wheels/.gitkeep": "",
        "README.md": _README.format(**said),
        ".gitignore": _IGNORED,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{name!r} is not empty; nothing was written. Name a folder that is new, or empty")
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{name!r} cannot be made: {error.strerror}") from None
    enter = "" if folder.resolve() == Path.cwd() else f"    cd {shlex.quote(str(folder))}\n"
    return f"{folder} is ready:\n\n{enter}    cello run --reload\n    pip install -e '.[test]' && python -m pytest\n"
