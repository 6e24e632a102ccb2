"""What telemetry is told: by `OpenTelemetryConfig`, and by OpenTelemetry's own environment variables.

What a program says goes before the environment; where it left a default, the environment decides. So one image can be
pointed at another collector, or sampled otherwise, without a change.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from cello.config import config, field
from cello.errors import ConfigError

DEFAULT_SERVICE = "cello-service"
GRPC, HTTP = "grpc", "http/protobuf"
SAMPLERS: Mapping[str, tuple[bool, float | None]] = {
    "always_on": (False, 1.0),
    "always_off": (False, 0.0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, 1.0),
    "parentbased_always_off": (True, 0.0),
    "parentbased_traceidratio": (True, None),
}
"""OTEL_TRACES_SAMPLER → whether a caller's decision is followed, and which share of the rest is sampled."""


@config
class OpenTelemetryConfig:
    """What is exported, and where to.

    Attributes:
        service_name: `service.name` of the resource.
        service_version: `service.version`.
        otlp_endpoint: Such as "http://collector:4317" (gRPC) or "http://collector:4318" (HTTP; so is every other URL
            with a path). None: OTEL_EXPORTER_OTLP_ENDPOINT, else this machine's port 4317.
        sampling_rate: Share of the traces that begin here; a caller's decision is followed. 1.0 leaves the decision to
            OTEL_TRACES_SAMPLER, where that is set.
        export_traces: Whether spans are.
        export_metrics: Whether metrics are.
        excluded_paths: Paths, with what is below them, that have neither spans nor metrics.
    """

    service_name: str
    service_version: str = "0.1.0"
    otlp_endpoint: str | None = None
    sampling_rate: float = field(default=1.0, at_least=0, at_most=1)
    export_traces: bool = True
    export_metrics: bool = True
    excluded_paths: list[str] = field(default_factory=lambda: ["/health", "/metrics"])

    def __post_init__(self) -> None:
        if not self.service_name:
            raise ConfigError("OpenTelemetryConfig.service_name is empty")
        if self.otlp_endpoint is not None and urlsplit(self.otlp_endpoint).scheme not in ("http", "https"):
            raise ConfigError(
                "OpenTelemetryConfig.otlp_endpoint is a URL such as 'http://localhost:4317', not "
                f"{self.otlp_endpoint!r:.80}"
            )


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which requests are traced.

    Attributes:
        follows_caller: Whether the decision that a `traceparent` brings is kept.
        rate: Share of the others.
    """

    follows_caller: bool
    rate: float


def sampling_of(settings: OpenTelemetryConfig, environ: Mapping[str, str] = os.environ) -> Sampling:
    """Return which requests are traced.

    Raises:
        ConfigError: OTEL_TRACES_SAMPLER or its argument is unknown.
    """
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if settings.sampling_rate < 1 or not name:
        return Sampling(True, settings.sampling_rate)
    if name not in SAMPLERS:
        raise ConfigError(f"OTEL_TRACES_SAMPLER is one of {', '.join(SAMPLERS)}, not {name!r:.80}")
    follows_caller, rate = SAMPLERS[name]
    if rate is None:
        text = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1.0"
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not 0 <= rate <= 1:
            raise ConfigError(f"OTEL_TRACES_SAMPLER_ARG is a share from 0 to 1, not {text!r:.80}")
    return Sampling(follows_caller, rate)


def is_disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether OTEL_SDK_DISABLED asks for silence."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporter_of(signal: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return what exports "traces" or "metrics": "otlp", "console" or "none".

    Raises:
        ConfigError: OTEL_…_EXPORTER says something else.
    """
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    name = environ.get(variable, "").strip().lower() or "otlp"
    if name not in ("otlp", "console", "none"):
        raise ConfigError(f"{variable} is otlp, console or none, not {name!r:.80}")
    return name


def protocol_of(endpoint: str | None, signal: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return how the collector is spoken to: what the variables say, else what the endpoint looks like.

    Raises:
        ConfigError: OTEL_EXPORTER_OTLP_PROTOCOL is neither `grpc` nor `http/protobuf`.
    """
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if name := environ.get(variable, "").strip().lower():
            if name not in (GRPC, HTTP):
                raise ConfigError(f"{variable} is {GRPC} or {HTTP}, not {name!r:.80}")
            return name
    of_signal = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    parts = urlsplit(endpoint or of_signal or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""))
    return HTTP if parts.port == 4318 or parts.path.strip("/") else GRPC
