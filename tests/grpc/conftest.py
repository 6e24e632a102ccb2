"""The shop as a program of its own, and what others' tools make of it."""

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from tests.grpc import shop
from tests.serve.program import ROOT, Program, free_port


class Site(NamedTuple):
    """A shop that serves.

    Attributes:
        http: The URL of its HTTP side.
        target: The address of its gRPC side.
        program: The process.
    """

    http: str
    target: str
    program: Program


@contextlib.contextmanager
def running(folder: Path, *options: str, module: str = shop.__file__, **environment: str) -> Iterator[Site]:
    """Serve the shop with further options of `cello run`."""
    port = free_port()
    words = ("run", f"{module}:app", "--port", str(free_port()), "--env", "production", *options)
    variables = {"GRPC_PORT": str(port), **environment}
    with Program("-m", "cello", *words, folder=folder, environment=variables) as program:
        yield Site(program.listening(), f"127.0.0.1:{port}", program)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The shop, with one worker."""
    with running(tmp_path_factory.mktemp("shop"), "--workers", "1") as site:
        yield site


@pytest.fixture(scope="module")
def channel(site: Site) -> Iterator[grpc.Channel]:
    """A connection by grpc's own client."""
    with grpc.insecure_channel(site.target) as channel:
        yield channel


@pytest.fixture(scope="session")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the `.proto` files that `cello grpc proto` writes, and what protobuf's compiler makes of them."""
    folder = tmp_path_factory.mktemp("protos")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = (sys.executable, "-m", "cello", "grpc", "proto", f"{shop.__file__}:app", "-o", str(folder))
    subprocess.run(words, env=environment, check=True, capture_output=True)
    compiler = (sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=.")
    subprocess.run((*compiler, "services.proto", "shop/v1.proto"), cwd=folder, check=True)
    return folder


@pytest.fixture(scope="session")
def messages(protos: Path) -> Any:
    """The generated messages of the package shop.v1."""
    sys.path.insert(0, str(protos))
    try:
        importlib.import_module("shop.v1_pb2_grpc")
        return importlib.import_module("shop.v1_pb2")
    finally:
        sys.path.remove(str(protos))


@pytest.fixture
def stub(channel: grpc.Channel, messages: Any) -> Any:
    """The generated client of shop.v1.Shop."""
    return sys.modules["shop.v1_pb2_grpc"].ShopStub(channel)
