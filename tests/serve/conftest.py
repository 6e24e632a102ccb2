"""Fixtures that the tests of the server share."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.missing import missing


@pytest.fixture(scope="session")
def make_certificate() -> Callable[[Path, str], tuple[Path, Path]]:
    """A function that writes NAME.crt and NAME.key, for localhost and 127.0.0.1, into a folder."""
    if shutil.which("openssl") is None:
        missing("the command openssl, which makes the certificates, is not installed")

    def make(folder: Path, name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        request = f"""openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost
            -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {key.name} -out {certificate.name}"""
        subprocess.run(request.split(), cwd=folder, check=True, capture_output=True)
        return certificate, key

    return make
