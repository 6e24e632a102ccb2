"""Clients that others' generators make of the document compile, and call the application."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import node
from tests.features.openapi import shop
from tests.serve.program import ROOT, Program, free_port

HERE = Path(__file__).parent
DEMO = ROOT / "examples" / "demo" / "app.py"
NPM = ("openapi-typescript@7", "openapi-fetch@0.17", "typescript@5", "@types/node@20")
COMPILER_OPTIONS = {"strict": True, "noUncheckedIndexedAccess": True, "target": "es2022", "module": "nodenext"}
SAID = [["care"], ["Bow"], 401, "Unprocessable Entity"]


def run(*words, folder, **options):
    """Run a command and return what it wrote."""
    result = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=150, check=False, **options
    )
    assert result.returncode == 0, f"{words}: {result.stdout}{result.stderr}"
    return result.stdout


def write_documents(folder):
    for name, file in (("shop", shop.__file__), ("demo", DEMO)):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = ("-m", "cello", "openapi", f"{file}:app", "--output", f"{name}.json")
        run(sys.executable, *words, folder=folder, env=environment)


@pytest.fixture
def demo(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    with Program("-m", "cello", "run", f"{DEMO}:app", "--port", str(free_port()), folder=folder) as program:
        yield program.listening()


@pytest.fixture
def node_modules():
    """The generator and the compiler."""
    return node.node_modules("clients", NPM)


@pytest.mark.timeout(400)
def test_a_typescript_client_compiles_and_calls_the_application(tmp_path, node_modules, demo):
    write_documents(tmp_path)
    (tmp_path / "node_modules").symlink_to(node_modules, target_is_directory=True)
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    for name in ("shop", "demo"):
        run("node", node_modules / "openapi-typescript/bin/cli.js", f"{name}.json", "-o", f"{name}.ts", folder=tmp_path)
    shutil.copy(HERE / "use_client.ts", tmp_path)
    settings = {"compilerOptions": COMPILER_OPTIONS, "files": ["use_client.ts", "shop.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    run("node", node_modules / "typescript/bin/tsc", "--project", ".", folder=tmp_path)
    assert json.loads(run("node", "use_client.js", demo, folder=tmp_path)) == SAID


@pytest.mark.timeout(400)
def test_a_python_client_compiles_and_calls_the_application(tmp_path, demo):
    write_documents(tmp_path)
    for name in ("shop", "demo"):
        words = ("-m", "openapi_python_client", "generate", "--path", f"{name}.json", "--output-path", f"{name}_client")
        settings = {"post_hooks": []}
        (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        said = run(sys.executable, *words, "--meta", "none", "--config", "settings.json", folder=tmp_path)
        assert "Warning" not in said
        assert "Unable" not in said
    run(sys.executable, "-W", "error", "-m", "compileall", "-q", ".", folder=tmp_path)
    shutil.copy(HERE / "use_client.py", tmp_path)
    assert json.loads(run(sys.executable, "use_client.py", demo, folder=tmp_path)) == SAID
