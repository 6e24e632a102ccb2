"""What `enable_graphql` is told."""

from cello.config import config, field
from cello.errors import ConfigError


@config
class GraphQLConfig:
    """Where GraphQL is served, and what a request may ask.

    Attributes:
        path: Of the endpoint, for HTTP and WebSocket.
        playground: Serve GraphiQL to browsers that open the path.
        introspection: Let clients ask for the schema; GraphiQL's explorer needs it.
        max_depth: Levels of fields.
        max_complexity: Sum of what the fields of a query cost, those in lists times the items asked for.
        batching: Take a JSON array of up to `max_batch` requests.
        tracing: Have a span for each operation (OpenTelemetry).
        max_aliases: Fields of a query that are renamed.
        max_tokens: Words of a query.
        max_batch: Requests of a batch.
        camel_case: Publish `user_name` as `userName`.
    """

    path: str = "/graphql"
    playground: bool = False
    introspection: bool = False
    max_depth: int = field(default=10, at_least=1)
    max_complexity: int = field(default=1000, at_least=1)
    batching: bool = False
    tracing: bool = False
    max_aliases: int = field(default=30, at_least=0)
    max_tokens: int = field(default=1000, at_least=1)
    max_batch: int = field(default=10, at_least=1)
    camel_case: bool = False

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or "{" in self.path:
            raise ConfigError(f"GraphQLConfig.path is a path such as '/graphql', not {self.path!r:.80}")

    @classmethod
    def development(cls) -> "GraphQLConfig":
        """With GraphiQL and introspection."""
        return cls(playground=True, introspection=True)

    @classmethod
    def production(cls) -> "GraphQLConfig":
        """Without either."""
        return cls()
