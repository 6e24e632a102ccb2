"""What the document promises is what the application does, asked by schemathesis with valid and invalid requests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.features.openapi import shop
from tests.serve.program import ROOT, Program, free_port

# Left out: what fails on purpose, and what takes its time on purpose.
SITES = {
    "shop": (Path(shop.__file__), ()),
    "demo": (ROOT / "examples" / "demo" / "app.py", ("/fail", "/countdown", "/blocking", "/together")),
}


# In a form everything is text: `null` is a word there, and not the wrong type.
SETTINGS = """
[[operations]]
include-path-regex = "/(pictures|login|form|files)$"
checks.negative_data_rejection.enabled = false
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("site", SITES)
def test_schemathesis_finds_nothing(tmp_path, site):
    file, excluded = SITES[site]
    (tmp_path / "schemathesis.toml").write_text(SETTINGS, encoding="utf-8")
    with Program("-m", "cello", "run", f"{file}:app", "--port", str(free_port()), folder=tmp_path) as program:
        url = program.listening()
        words = [f"{url}/openapi.json", "--max-examples", "10", "--seed", "1", "--no-color"]
        words += ["--phases", "examples,coverage,fuzzing"]
        for path in excluded:
            words += ["--exclude-path", path]
        code = "import sys; from schemathesis.cli import schemathesis; sys.argv[0] = 'schemathesis'; schemathesis()"
        result = subprocess.run(
            [sys.executable, "-c", code, "run", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=150,
            check=False,
        )
    report = result.stdout[result.stdout.find("FAILURES") :]
    assert result.returncode == 0, report + result.stderr
    generated = re.search(r"(\d+) generated", result.stdout)
    assert generated is not None
    assert int(generated[1]) > 100
