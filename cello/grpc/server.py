"""A server of gRPC on grpc's own engine: its options, its port, reflection and health, and an orderly end."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from cello.config import ThreadPoolConfig
from cello.errors import CelloError, ConfigError
from cello.grpc.catalog import Catalog
from cello.grpc.config import GrpcConfig, split_address
from cello.grpc.declared import GrpcService, Service
from cello.grpc.listening import free_port
from cello.grpc.passage import Direct, Passage
from cello.grpc.running import Runner
from cello.pipeline.long_threads import LongThreads
from cello.pipeline.threads import WorkerThreads
from cello.serve.tls import make_context

logger = logging.getLogger("cello.grpc")


class GrpcServer:
    """A server beside no application; `app.enable_grpc` makes one that is part of it.

    Args:
        config: Where and how; default: `GrpcConfig()`.

    Attributes:
        port: What it listens on, once it does.
    """

    def __init__(self, config: GrpcConfig | None = None) -> None:
        if config is not None and not isinstance(config, GrpcConfig):
            raise ConfigError(f"GrpcServer takes a GrpcConfig, not {config!r:.80}")
        self._config = config or GrpcConfig()
        self._services: dict[str, Service] = {}
        self._engine: Engine | None = None
        self.port: int | None = None

    def register_service(self, service: GrpcService | Service) -> None:
        """Add a service.

        Raises:
            TypeError: It is none.
            ConfigError: There is one of its name.
        """
        if isinstance(service, GrpcService):
            service = Service.of(service)
        if not isinstance(service, Service):
            raise TypeError(f"register_service takes a GrpcService, not {type(service).__name__}")
        if service.name in self._services:
            raise ConfigError(f"the gRPC service {service.name!r} is registered already")
        self._services[service.name] = service

    def get_services(self) -> list[str]:
        """Return the names of the services."""
        return list(self._services)

    async def start(self, address: str | None = None) -> int:
        """Listen; return the port.

        Args:
            address: "host:port"; default: the config's.

        Raises:
            RuntimeError: It is running.
            CelloError: The address cannot be had.
        """
        if self._engine is not None:
            raise RuntimeError("the gRPC server is running already")
        address = address or self._config.address
        catalog = Catalog(self._services.values())
        settings = ThreadPoolConfig()
        threads, waiting = WorkerThreads(settings.size), LongThreads(settings.max_long)
        engine = Engine(self._config, catalog, Direct(), threads, waiting, settings)
        self.port = await engine.start(address, free_port(address))
        self._engine = engine
        return self.port

    async def stop(self, grace: float | None = None) -> None:
        """Take no more calls, let those under way end, then close.

        Args:
            grace: Seconds they have; default: the config's `shutdown_timeout_secs`.
        """
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.stop(grace)

    def __repr__(self) -> str:
        return f"GrpcServer(services={len(self._services)}, running={self._engine is not None})"


class Engine:
    """grpc's server for the services of a catalog.

    Args:
        config: How it serves.
        catalog: What.
        passage: How calls get to their methods.
        threads: For plain methods.
        waiting: For plain methods that wait for messages.
        threadpool: When a plain method goes to a thread.
    """

    def __init__(
        self,
        config: GrpcConfig,
        catalog: Catalog,
        passage: Passage,
        threads: WorkerThreads,
        waiting: WorkerThreads,
        threadpool: ThreadPoolConfig,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._passage = passage
        self.runners = {
            path: Runner(endpoint, threads, waiting, threadpool) for path, endpoint in catalog.endpoints.items()
        }
        self._server: Any = None
        self._health: Any = None

    async def start(self, address: str, port: int) -> int:
        """Listen on a port of the address's host; return it.

        Raises:
            CelloError: It cannot be had.
        """
        import grpc  # its threads and locks must not be there before a fork

        from cello.grpc.native import Methods

        self._server = server = grpc.aio.server(
            options=self._options(), maximum_concurrent_rpcs=self._config.concurrency_limit
        )
        scheme = "http" if self._config.tls is None else "https"
        server.add_generic_rpc_handlers((Methods(self.runners, self._passage, scheme),))
        self._health = await self._add_health(server)
        if self._config.reflection:
            self._add_reflection(server)
        host, _ = split_address(address)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._config.tls is None:
                bound = server.add_insecure_port(target)
            else:
                bound = server.add_secure_port(target, self._credentials(grpc))
        except RuntimeError as error:
            raise CelloError(f"gRPC cannot listen on {target}: {error}") from None
        await server.start()
        return int(bound)

    async def stop(self, grace_s: float | None = None) -> None:
        """Take no more calls, say so, let those under way end, then close."""
        server, self._server = self._server, None
        if server is None:
            return
        await self._health.enter_graceful_shutdown()
        await server.stop(self._config.shutdown_timeout_secs if grace_s is None else grace_s)

    def _options(self) -> list[tuple[str, int]]:
        config = self._config
        return [
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", config.max_message_size),
            ("grpc.max_send_message_length", config.max_message_size),
            ("grpc.keepalive_time_ms", int(config.keepalive_secs * 1000)),
            ("grpc.keepalive_timeout_ms", int(config.keepalive_timeout_secs * 1000)),
            ("grpc.http2.ping_timeout_ms", int(config.keepalive_timeout_secs * 1000)),  # else a minute passes
            ("grpc.keepalive_permit_without_calls", 1),
            # What clients may do in turn: ping as often as we do, and not much more.
            ("grpc.http2.min_recv_ping_interval_without_data_ms", int(min(config.keepalive_secs, 10) * 500)),
        ]

    def _credentials(self, grpc: Any) -> Any:
        tls = self._config.tls
        make_context(tls)  # its errors name the file at fault; grpc's name nothing
        authorities = None if tls.ca_path is None else Path(tls.ca_path).read_bytes()
        pair = (Path(tls.key_path).read_bytes(), Path(tls.cert_path).read_bytes())
        return grpc.ssl_server_credentials([pair], authorities, tls.require_client_cert)

    async def _add_health(self, server: Any) -> Any:
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc

        servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        for name in self._catalog.names:
            await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        return servicer

    def _add_reflection(self, server: Any) -> None:
        """Serve reflection v1alpha, and v1, which is the same but for its name."""
        import grpc
        from grpc_health.v1 import health_pb2
        from grpc_reflection.v1alpha import reflection, reflection_pb2

        catalog = self._catalog
        for file in (_file_of(reflection_pb2), _as_v1(_file_of(reflection_pb2)), _file_of(health_pb2)):
            catalog.add_file(file)
        versions = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")
        servicer = reflection.aio.ReflectionServicer(
            [*catalog.names, *versions, "grpc.health.v1.Health"], pool=catalog.pool
        )
        handler = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for version in versions:
            handlers = grpc.method_handlers_generic_handler(version, {"ServerReflectionInfo": handler})
            server.add_generic_rpc_handlers((handlers,))


def _file_of(module: Any) -> FileDescriptorProto:
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def _as_v1(file: FileDescriptorProto) -> FileDescriptorProto:
    """Make the descriptors of reflection v1alpha those of v1."""
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = "grpc.reflection.v1"
    old, new = ".grpc.reflection.v1alpha.", ".grpc.reflection.v1."
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, new)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(old, new)
            method.output_type = method.output_type.replace(old, new)
    return file


def warn_of_bare(services: Iterable[Service]) -> None:
    """Log the methods that nothing answers."""
    for service in services:
        names = service.bare()
        if names:
            logger.warning(
                "gRPC service %s: nothing answers %s, so calls get UNIMPLEMENTED; use @service.method(name)",
                service.name,
                ", ".join(names),
            )
