"""A collector for each test that wants one."""

from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest

from cello.features.telemetry.libraries import GROUP
from tests.features.telemetry.receiver import Received, grpc_receiver, http_receiver


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    # What is shown here does not depend on which packages of OpenTelemetry's happen to be installed.
    installed = ",".join(found.name for found in entry_points(group=GROUP))
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", installed)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    """One that speaks HTTP."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with http_receiver() as received:
        yield received


@pytest.fixture(params=["grpc", "http/protobuf"])
def each_collector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    """One of each protocol."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", request.param)
    with grpc_receiver() if request.param == "grpc" else http_receiver() as received:
        yield received
