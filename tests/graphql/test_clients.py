"""Others' programs against a running server: the specification's audits, and the client library of the protocol."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests import node
from tests.graphql import shop
from tests.serve.program import Program, free_port

HERE = Path(__file__).parent
PACKAGES = ("graphql@16", "graphql-http@1", "graphql-ws@6", "ws@8")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    words = ("run", f"{shop.__file__}:app", "--port", str(free_port()), "--env", "production", "--workers", "1")
    with Program("-m", "cello", *words, folder=folder) as program:
        yield program.listening()


@pytest.fixture
def modules():
    return node.node_modules("graphql", PACKAGES)


@pytest.mark.timeout(400)
def test_the_audits_of_the_specification_find_nothing(site, modules, tmp_path):
    lines = node.run_script(HERE / "audit.mjs", modules, tmp_path, f"{site}/graphql").splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not line.startswith("ok ")] == []


@pytest.mark.timeout(400)
def test_the_client_library_of_the_protocol_is_understood(site, modules, tmp_path):
    url = f"{site}/graphql".replace("http:", "ws:")
    said = json.loads(node.run_script(HERE / "converse.mjs", modules, tmp_path, url))
    closes = said.pop("closes")
    protocol = closes.pop("protocol")
    assert said == {
        "query": [{"hello": "hello ws"}],
        "context": [{"whoami": "ada"}],
        "mutation": [{"add_maker": {"name": "Amati  LARGE"}}],
        "subscription": [{"count": 0}, {"count": 1}, {"count": 2}],
        "plain": [{"countdown": 2}, {"countdown": 1}],
        "invalid": ["Cannot query field 'nope' on type 'Query'."],
        "broken": ["Internal Server Error"],
        "together": [[{"count": n} for n in range(to)] for to in (1, 2, 3)],
        "left": 3,
        "forbidden": 4403,
    }
    assert closes == {"unauthorized": 4401, "twice": 4429, "unknown": 4400, "same": 4409}
    assert protocol == 4406 or "subprotocol" in protocol
    assert eventually(lambda: b"forever" in urllib.request.urlopen(f"{site}/closed").read())


def eventually(is_so):
    """Ask until it is so, for half a minute at most."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if is_so():
            return True
    return False


def test_the_command_writes_the_schema(tmp_path):
    words = (sys.executable, "-m", "cello", "graphql", "schema", f"{shop.__file__}:app")
    environment = {**os.environ, "PYTHONPATH": str(node.ROOT)}
    result = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "interface Thing {" in result.stdout
    assert "type Subscription {" in result.stdout
