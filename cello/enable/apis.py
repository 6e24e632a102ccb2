"""Other ways to ask than by HTTP routes, and the description of those: OpenAPI, GraphQL, gRPC."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cello.enable.base import Base
from cello.errors import ConfigError, MissingDependency
from cello.pipeline.guarding import Guard

if TYPE_CHECKING:
    from cello.graphql.config import GraphQLConfig
    from cello.graphql.switch import GraphQLSwitch
    from cello.grpc.config import GrpcConfig
    from cello.grpc.declared import GrpcService, Service
    from cello.grpc.switch import GrpcSwitch


class Apis(Base):
    """Other ways to ask than by HTTP routes, and the description of those: OpenAPI, GraphQL, gRPC."""

    def enable_openapi(
        self,
        title: str = "Cello API",
        version: str = "1.0.1",
        *,
        description: str | None = None,
        servers: Sequence[str | Mapping[str, Any]] = (),
        tags: Mapping[str, str] | None = None,
        info: Mapping[str, Any] | None = None,
        security_schemes: Mapping[str, Mapping[str, Any]] | None = None,
        path: str = "/openapi.json",
        docs_path: str | None = "/docs",
        redoc_path: str | None = "/redoc",
        guards: Sequence[Guard] | None = None,
    ) -> None:
        """Serve the OpenAPI 3.1 description of the application, and two pages that show it, Swagger UI and ReDoc.

        Args:
            title: The application's name.
            version: The application's version.
            description: Prose in Markdown.
            servers: Where the application is reached, as URLs or Server Objects; default: where the document is.
            tags: Tag → its description, in the order of the pages.
            info: Further members of the Info Object, such as contact and license.
            security_schemes: Name → Security Scheme Object: how clients sign in, beside what features say of that.
            path: Where the document is.
            docs_path: Where Swagger UI is; None for nowhere.
            redoc_path: Where ReDoc is; None for nowhere.
            guards: Who may see all this; the application's own guards are not asked.

        Raises:
            ConfigError: An argument is of the wrong kind, or a path is taken.
        """
        from cello.features.openapi import About, OpenApi

        about = About(title, version, description, servers, tags or {}, info or {}, security_schemes or {})
        self._host.install(OpenApi(about, path=path, docs_path=docs_path, redoc_path=redoc_path, guards=guards))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, whether or not it is served; this freezes the application.

        Raises:
            ConfigError: A route cannot be compiled, or a model cannot be described.
        """
        from cello.features.openapi import About, OpenApi

        feature = self._host.installed(OpenApi.name)
        return (feature if isinstance(feature, OpenApi) else OpenApi(About())).document(self._host)

    def enable_graphql(self, config: "GraphQLConfig | None" = None, *, schema: Any = None) -> None:
        """Serve GraphQL at one path: over HTTP, server-sent events, and WebSocket (graphql-transport-ws).

        Functions decorated with `@app.graphql.query`, `.mutation` and `.subscription`, or with `Query`, `Mutation` and
        `Subscription` of `cello.graphql`, are the schema; types follow from their annotations.

        Args:
            config: Where, and what a request may ask; default: `GraphQLConfig()`.
            schema: Executed instead: one of `cello.graphql`, graphql-core, Ariadne or Strawberry.

        Raises:
            MissingDependency: graphql-core is not installed.
            ConfigError: The schema is none of these. What cannot be derived is an error at the start.
        """
        try:
            from cello.graphql.switch import GraphQLSwitch
        except ModuleNotFoundError as error:
            if error.name != "graphql":
                raise
            raise MissingDependency("enable_graphql needs 'graphql-core': pip install 'cello[graphql]'") from None

        self._host.install(GraphQLSwitch(config, schema))

    @property
    def graphql(self) -> "GraphQLSwitch":
        """Where queries, mutations and subscriptions are declared.

        Raises:
            ConfigError: `enable_graphql()` was not called.
        """
        found: GraphQLSwitch | None = self.feature("graphql")
        if found is None:
            raise ConfigError("app.graphql: call app.enable_graphql() first")
        return found

    def enable_grpc(self, config: "GrpcConfig | None" = None) -> None:
        """Serve gRPC beside HTTP, in every worker at one port, with reflection and health.

        Calls go through the application's guards, limits, logs, metrics and traces like requests.

        Args:
            config: Where, and what a call may use; default: `GrpcConfig()`.

        Raises:
            MissingDependency: grpcio, or one of its companions, is not installed.
            ConfigError: It is no GrpcConfig.
        """
        from importlib.util import find_spec

        for package in ("grpc", "grpc_health", "grpc_reflection", "google.protobuf"):
            if find_spec(package.partition(".")[0]) is None:
                raise MissingDependency(f"enable_grpc needs '{package}': pip install 'cello[grpc]'")
        from cello.grpc.switch import GrpcSwitch

        self._host.install(GrpcSwitch(config))

    def add_grpc_service(
        self, name: "str | GrpcService", methods: Any = None, *, guards: Sequence[Guard] | None = None
    ) -> "Service":
        """Add a gRPC service; return it, for `@service.method("GetUser")`.

        Args:
            name: As clients know it, with its package if it has one: "shop.v1.UserService"; or a `GrpcService`.
            methods: The names of its methods, a dict of name → function, a `GrpcService`, or an object of generated
                code (a servicer). A name that no function is given for answers UNIMPLEMENTED.
            guards: Asked beside the application's.

        Raises:
            ConfigError: `enable_grpc()` was not called, the name is taken or none, or methods are nothing of that.
        """
        return self.grpc.add(name, methods, guards)

    @property
    def grpc(self) -> "GrpcSwitch":
        """The gRPC server of this application.

        Raises:
            ConfigError: `enable_grpc()` was not called.
        """
        found: GrpcSwitch | None = self.feature("grpc")
        if found is None:
            raise ConfigError("there is no gRPC: call app.enable_grpc() first")
        return found
