"""cello: a web framework with its own server. `from cello import App` is where everything begins."""

from typing import TYPE_CHECKING, Any

from cello import _speedups as speedups
from cello._version import __version__
from cello.app import App
from cello.config import LimitsConfig, ThreadPoolConfig, TimeoutConfig
from cello.errors import (
    BadRequest,
    CelloError,
    ClientDisconnected,
    ConfigError,
    ContentTooLarge,
    Forbidden,
    HTTPError,
    MethodNotAllowed,
    MissingDependency,
    NotFound,
    ProtocolError,
    RouteError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnprocessableContent,
    UnsupportedMediaType,
)
from cello.guards import (
    And,
    AndGuard,
    Authenticated,
    AuthenticatedGuard,
    ForbiddenError,
    Guard,
    GuardError,
    Not,
    NotGuard,
    Or,
    OrGuard,
    Permission,
    PermissionGuard,
    Role,
    RoleGuard,
    UnauthorizedError,
    constant_time_compare,
    verify_guards,
)
from cello.http.background import BackgroundTasks
from cello.http.problem import ProblemDetails
from cello.http.request import Request
from cello.http.response import Response
from cello.pipeline.middleware import Middleware
from cello.pipeline.params import Body, Cookie, Depends, File, Form, Header, Path, Query
from cello.routing.blueprint import Blueprint
from cello.routing.marks import cache

if TYPE_CHECKING:
    from cello.cqrs.config import CqrsConfig
    from cello.database.config import DatabaseConfig, RedisConfig
    from cello.eventsourcing.config import EventSourcingConfig
    from cello.features.channels import ChannelError, SlowSubscriber, SubscriptionEnded
    from cello.features.csp import CSP
    from cello.features.csrf import csrf_token
    from cello.features.health import HealthCheckConfig
    from cello.features.jwt import JwtConfig
    from cello.features.log_context import RequestFields
    from cello.features.rate_limit import RateLimitConfig
    from cello.features.security_headers import SecurityHeadersConfig
    from cello.features.sessions import SessionConfig
    from cello.features.static_files import StaticFilesConfig
    from cello.features.telemetry.settings import OpenTelemetryConfig
    from cello.graphql.config import GraphQLConfig
    from cello.grpc.config import GrpcConfig
    from cello.http.forms import FormData, UploadedFile
    from cello.http.sse import SseEvent
    from cello.http.websocket import WebSocket
    from cello.http.websocket_message import WebSocketMessage
    from cello.messaging.kafka.config import KafkaConfig
    from cello.messaging.rabbitmq.config import RabbitMQConfig
    from cello.messaging.sqs.config import SqsConfig
    from cello.pipeline.event_stream import SseStream
    from cello.saga.config import SagaConfig
    from cello.serve.cluster import ClusterConfig
    from cello.serve.tls import TlsConfig

_LAZY = {
    "CqrsConfig": "cello.cqrs.config",
    "SagaConfig": "cello.saga.config",
    "CSP": "cello.features.csp",
    "ChannelError": "cello.features.channels",
    "GraphQLConfig": "cello.graphql.config",
    "GrpcConfig": "cello.grpc.config",
    "HealthCheckConfig": "cello.features.health",
    "JwtConfig": "cello.features.jwt",
    "OpenTelemetryConfig": "cello.features.telemetry.settings",
    "DatabaseConfig": "cello.database.config",
    "EventSourcingConfig": "cello.eventsourcing.config",
    "FormData": "cello.http.forms",
    "KafkaConfig": "cello.messaging.kafka.config",
    "RabbitMQConfig": "cello.messaging.rabbitmq.config",
    "SqsConfig": "cello.messaging.sqs.config",
    "RedisConfig": "cello.database.config",
    "RateLimitConfig": "cello.features.rate_limit",
    "RequestFields": "cello.features.log_context",
    "SecurityHeadersConfig": "cello.features.security_headers",
    "SessionConfig": "cello.features.sessions",
    "SseEvent": "cello.http.sse",
    "SlowSubscriber": "cello.features.channels",
    "StaticFilesConfig": "cello.features.static_files",
    "SseStream": "cello.pipeline.event_stream",
    "ClusterConfig": "cello.serve.cluster",
    "SubscriptionEnded": "cello.features.channels",
    "TlsConfig": "cello.serve.tls",
    "UploadedFile": "cello.http.forms",
    "WebSocket": "cello.http.websocket",
    "WebSocketMessage": "cello.http.websocket_message",
    "csrf_token": "cello.features.csrf",
}
"""Names whose modules are imported when they are first asked for (PEP 562)."""

__all__ = [
    "CSP",
    "And",
    "AndGuard",
    "App",
    "Authenticated",
    "AuthenticatedGuard",
    "BackgroundTasks",
    "BadRequest",
    "Blueprint",
    "Body",
    "CelloError",
    "ChannelError",
    "ClientDisconnected",
    "ClusterConfig",
    "ConfigError",
    "ContentTooLarge",
    "Cookie",
    "CqrsConfig",
    "DatabaseConfig",
    "Depends",
    "EventSourcingConfig",
    "File",
    "Forbidden",
    "ForbiddenError",
    "Form",
    "FormData",
    "GraphQLConfig",
    "GrpcConfig",
    "Guard",
    "GuardError",
    "HTTPError",
    "Header",
    "HealthCheckConfig",
    "JwtConfig",
    "KafkaConfig",
    "LimitsConfig",
    "MethodNotAllowed",
    "Middleware",
    "MissingDependency",
    "Not",
    "NotFound",
    "NotGuard",
    "OpenTelemetryConfig",
    "Or",
    "OrGuard",
    "Path",
    "Permission",
    "PermissionGuard",
    "ProblemDetails",
    "ProtocolError",
    "Query",
    "RabbitMQConfig",
    "RateLimitConfig",
    "RedisConfig",
    "Request",
    "RequestFields",
    "Response",
    "Role",
    "RoleGuard",
    "RouteError",
    "SagaConfig",
    "SecurityHeadersConfig",
    "ServiceUnavailable",
    "SessionConfig",
    "SlowSubscriber",
    "SqsConfig",
    "SseEvent",
    "SseStream",
    "StaticFilesConfig",
    "SubscriptionEnded",
    "ThreadPoolConfig",
    "TimeoutConfig",
    "TlsConfig",
    "TooManyRequests",
    "Unauthorized",
    "UnauthorizedError",
    "UnprocessableContent",
    "UnsupportedMediaType",
    "UploadedFile",
    "WebSocket",
    "WebSocketMessage",
    "__version__",
    "cache",
    "constant_time_compare",
    "csrf_token",
    "speedups",
    "verify_guards",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'cello' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
