"""gRPC: services from annotated methods or generated code, served beside HTTP, and over it to browsers.

    declared    GrpcService, @grpc_method, Field: how users write     status      codes and GrpcError
    request     GrpcRequest, GrpcResponse                             config      GrpcConfig
    signatures  what a method takes and gives                         kinds       scalars ↔ fields
    package     annotations → descriptors                             models      messages ↔ instances
    structs     untyped messages                                      catalog     all services, ready to be called
    servicer    generated code                                        proto       .proto files
    running     a method is called                                    passage     through the application's pipeline
    native      grpc's handlers                                       listening   the port that workers share
    server      grpc's engine, GrpcServer                             web         gRPC-Web
    channel     GrpcChannel                                           details     google.rpc.Status
    switch      the feature

grpcio is the engine. It is imported when a server starts or a channel opens, so never before a fork.
"""

from typing import TYPE_CHECKING, Any

from cello.errors import MissingDependency

if TYPE_CHECKING:
    from cello.grpc.channel import GrpcChannel
    from cello.grpc.config import GrpcConfig
    from cello.grpc.declared import Field, GrpcService, grpc_method
    from cello.grpc.request import GrpcRequest, GrpcResponse
    from cello.grpc.server import GrpcServer
    from cello.grpc.status import GrpcError, StatusCode

_LAZY = {
    "Field": "declared",
    "GrpcChannel": "channel",
    "GrpcConfig": "config",
    "GrpcError": "status",
    "GrpcRequest": "request",
    "GrpcResponse": "request",
    "GrpcServer": "server",
    "GrpcService": "declared",
    "StatusCode": "status",
    "grpc_method": "declared",
}

__all__ = [
    "Field",
    "GrpcChannel",
    "GrpcConfig",
    "GrpcError",
    "GrpcRequest",
    "GrpcResponse",
    "GrpcServer",
    "GrpcService",
    "StatusCode",
    "grpc_method",
]

_LIBRARIES = ("google", "grpc", "grpc_health", "grpc_reflection")


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'cello.grpc' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"cello.grpc.{module}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        raise MissingDependency("cello.grpc needs 'grpcio': pip install 'cello[grpc]'") from None
