"""The feature: a gRPC server in every worker, and a route for each of its methods."""

import logging
from collections.abc import Iterator
from typing import Any

from cello.errors import ConfigError, HTTPError, NotFound
from cello.extension import Host
from cello.grpc.catalog import Catalog, generated_methods
from cello.grpc.config import GrpcConfig
from cello.grpc.declared import Declared, GrpcService, Service
from cello.grpc.listening import SharedPort
from cello.grpc.passage import Call, Through
from cello.grpc.server import Engine, warn_of_bare
from cello.grpc.web import Web, WebErrors
from cello.http.request import Request
from cello.http.response import Response
from cello.review import Deployment, Finding

logger = logging.getLogger("cello.grpc")

LAST = 90
"""The band in which it starts to listen: when all else has started. It stops first."""


class GrpcSwitch:
    """gRPC in an application.

    Attributes:
        services: By name.
        port: What this worker listens on; None while it does not.
    """

    name = "grpc"

    def __init__(self, config: GrpcConfig | None = None) -> None:
        if config is not None and not isinstance(config, GrpcConfig):
            raise ConfigError(f"enable_grpc takes a GrpcConfig, not {config!r:.80}")
        self.config = config or GrpcConfig()
        self.services: dict[str, Service] = {}
        self.port: int | None = None
        self._engine: Engine | None = None

    def review(self, deployment: Deployment) -> Iterator[Finding]:
        """Find what would fail at the start, what nothing answers, and what everybody can read."""
        try:
            self.catalog()
        except ConfigError as error:
            yield Finding("error", "grpc-services", str(error))
        for service in self.services.values():
            if names := ", ".join(service.bare()):
                yield Finding(
                    "warning",
                    "grpc-unanswered",
                    f"gRPC service {service.name}: nothing answers {names} (UNIMPLEMENTED)",
                )
        if deployment.is_production and self.config.reflection:
            yield Finding(
                "note",
                "grpc-reflection",
                f"GrpcConfig.reflection: whoever reaches {self.config.address} can read all services and messages",
            )

    def install(self, host: Host) -> None:
        """Add what serves."""
        self._host = host
        self._shared_port = SharedPort(host, self.config.address)
        self._passage = Through(host)
        self._web = Web(self._passage, self.config.max_message_size) if self.config.enable_web else None
        if self._web is not None:
            host.add_middleware(WebErrors(self._passage, self._answer))
        host.on_start(self._start, band=LAST)
        host.on_stop(self._stop, band=LAST)
        host.add_check("grpc", self._is_serving)

    def add(self, name: "str | GrpcService", methods: Any = None, guards: Any = None) -> Service:
        """Add a service; see `App.add_grpc_service`."""
        if isinstance(name, GrpcService):
            name, methods = name.get_name(), name
        service = Service(name, methods, guards)
        if service.name in self.services:
            raise ConfigError(f"the gRPC service {service.name!r} was added already")
        if service.servicer is not None:
            for method in generated_methods(service.name):
                self._add_route(service, method)
        service.watch(lambda declared: self._take(service, declared))
        self.services[service.name] = service
        return service

    def catalog(self) -> Catalog:
        """Return what the services come to.

        Raises:
            ConfigError: Something has no form on the wire.
        """
        return Catalog(self.services.values())

    def _take(self, service: Service, declared: Declared) -> None:
        self._add_route(service, declared.name)

    def _add_route(self, service: Service, method: str) -> None:
        path = f"/{service.name}/{method}"
        self._host.add_route(
            path, self._answer, methods=("POST",), guards=service.guards, name=f"grpc {path}", is_builtin=False
        )

    async def _start(self) -> None:
        catalog = self.catalog()
        warn_of_bare(self.services.values())
        dispatcher = self._host.dispatcher
        self._passage.start(dispatcher)
        threads, waiting = dispatcher.threads, dispatcher.long_threads
        engine = Engine(self.config, catalog, self._passage, threads, waiting, dispatcher.threadpool)
        self.port = await engine.start(self.config.address, await self._shared_port.take())
        self._engine = engine
        logger.info("gRPC listens on %s, port %d", self.config.address, self.port)

    async def _stop(self) -> None:
        engine, self._engine = self._engine, None
        self.port = None
        if engine is not None:
            await engine.stop()

    def _is_serving(self) -> dict[str, Any]:
        if self._engine is None:
            raise RuntimeError("the gRPC server does not listen")
        return {"port": self.port, "services": list(self.services)}

    async def _answer(self, request: Request) -> Response:
        call = request._gateway
        if isinstance(call, Call):
            return await call.answer(request)
        if self._web is None:
            raise NotFound(f"There is nothing at {request.path:.200}.")
        if self._engine is None:
            raise HTTPError(503, "gRPC does not listen.")
        return await self._web.answer(request, self._engine.runners.get(request.raw_path))
