"""Hold every cell of `docs/comparison.md` against the packages themselves: what is said to be there, is there.

    python -m venv peers && peers/bin/pip install flask fastapi starlette falcon litestar sanic sanic-ext \
        sanic-testing blacksheep robyn cello-framework
    peers/bin/python tools/comparison.py

Run it with the interpreter of an environment that holds the peers, and not cello: `cello-framework` has the same import
name. Nothing is imported; for each cell a file of the installed package must hold the words that stand below. A cell
about a page alone (who deploys it, which other package it names) says so with `PAGE`: somebody has to read that page.
For cells without an entry the words of the row are looked for in the package, and what is found is listed: it means
that the cell should be looked at again.
"""

import re
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

COMPARISON = Path(__file__).resolve().parents[1] / "docs" / "comparison.md"
PAGE = "PAGE"
PACKAGES = {
    "Flask": "flask",
    "FastAPI": "fastapi",
    "Starlette": "starlette",
    "Falcon": "falcon",
    "Litestar": "litestar",
    "Sanic": "sanic",
    "BlackSheep": "blacksheep",
    "Robyn": "robyn",
    "cello-framework": "cello",
}

EVIDENCE = {
    "runs on": {
        "Flask": "app.py: def wsgi_app",
        "FastAPI": "applications.py: class FastAPI\\(Starlette\\)",
        "Starlette": "applications.py: async def __call__\\(self, scope",
        "Falcon": "asgi/app.py: async def __call__",
        "Litestar": "app.py: async def __call__",
        "Sanic": "app.py: async def __call__\\(self, scope",
        "BlackSheep": "server/application.py: async def __call__\\(self, scope",
        "Robyn": "robyn.pyi: class Server",
        "cello-framework": "__init__.py: self._app.run\\(host, port",
    },
    "`def` and `async def` handlers": {
        "Flask": "app.py: def async_to_sync",
        "FastAPI": "routing.py: run_in_threadpool",
        "Starlette": "routing.py: run_in_threadpool",
        "Falcon": "routing/compiled.py: iscoroutinefunction\\(responder\\)",
        "Litestar": "handlers/http_handlers/base.py: sync_to_thread",
        "Sanic": "app.py: isawaitable\\(response\\)",
        "BlackSheep": "server/normalization.py: def get_sync_wrapper",
        "Robyn": "router.py: iscoroutinefunction\\(handler\\)",
        "cello-framework": "__init__.py: iscoroutinefunction",
    },
    "several worker processes": {
        "Flask": PAGE,
        "FastAPI": PAGE,
        "Falcon": PAGE,
        "Litestar": "cli/commands/core.py: --wc",
        "Sanic": "worker/manager.py: class WorkerManager",
        "Robyn": "processpool.py: def run_processes",
        "cello-framework": "__init__.py: def _run_multiprocess",
    },
    "WebSocket": {
        "FastAPI": "websockets.py: WebSocket",
        "Starlette": "websockets.py: class WebSocket",
        "Falcon": "asgi/ws.py: class WebSocket",
        "Litestar": "connection/websocket.py: class WebSocket",
        "Sanic": "server/protocols/websocket_protocol.py: class WebSocketProtocol",
        "BlackSheep": "server/websocket.py: class WebSocket",
        "Robyn": "ws.py: class WebSocket",
        "cello-framework": "__init__.py: def websocket\\(",
    },
    "server-sent events": {
        "FastAPI": "sse.py: class EventSourceResponse",
        "Falcon": "asgi/structures.py: class SSEvent",
        "Litestar": "response/sse.py: class ServerSentEvent",
        "BlackSheep": "server/sse.py: class ServerSentEvent",
        "Robyn": "responses.py: SSEResponse",
        "cello-framework": "__init__.py: SseStream",
    },
    "OpenAPI and its pages": {
        "FastAPI": "applications.py: docs_url",
        "Starlette": "schemas.py: class SchemaGenerator",
        "Litestar": "openapi/plugins.py: class SwaggerRenderPlugin",
        "Sanic": "../sanic_ext/extensions/openapi/extension.py: class OpenAPIExtension",
        "BlackSheep": "server/openapi/ui.py: class SwaggerUIProvider",
        "Robyn": "openapi.py: class OpenAPI",
        "cello-framework": "__init__.py: def enable_openapi",
    },
    "validation by signature": {
        "FastAPI": "routing.py: RequestValidationError",
        "Litestar": "_signature/model.py: class SignatureModel",
        "Sanic": "../sanic_ext/extras/validation/decorator.py: def validate",
        "BlackSheep": "server/bindings/__init__.py: class FromJSON",
        "Robyn": "pydantic_support.py: ValidationError",
        "cello-framework": "validation.py: def wrap_handler_with_validation",
    },
    "dependency injection": {
        "FastAPI": "param_functions.py: def Depends",
        "Litestar": "di.py: class Provide",
        "Sanic": "../sanic_ext/extensions/injection/extension.py: class InjectionExtension",
        "BlackSheep": "server/di.py: def register_http_context|def di_scope_middleware",
        "Robyn": "dependency_injection.py: class DependencyMap",
        "cello-framework": "__init__.py: class Depends",
    },
    "CORS": {
        "FastAPI": "middleware/cors.py: CORSMiddleware",
        "Starlette": "middleware/cors.py: class CORSMiddleware",
        "Falcon": "middleware.py: class CORSMiddleware",
        "Litestar": "config/cors.py: class CORSConfig",
        "Sanic": "../sanic_ext/extensions/http/cors.py: def add_cors",
        "BlackSheep": "server/cors.py: class CORSPolicy",
        "Robyn": "__init__.py: def ALLOW_CORS",
        "cello-framework": "__init__.py: def enable_cors",
    },
    "compression of answers": {
        "FastAPI": "middleware/gzip.py: GZipMiddleware",
        "Starlette": "middleware/gzip.py: class GZipMiddleware",
        "Litestar": "middleware/compression/brotli_facade.py: class BrotliCompression",
        "BlackSheep": "server/compression.py: class GzipMiddleware",
        "cello-framework": "__init__.py: def enable_compression",
    },
    "sessions": {
        "Flask": "sessions.py: class SecureCookieSessionInterface",
        "Starlette": "middleware/sessions.py: class SessionMiddleware",
        "Litestar": "stores/valkey.py: class ValkeyStore",
        "BlackSheep": "sessions/memory.py: class InMemorySessionStore",
        "Robyn": "session.py: class Session",
        "cello-framework": "__init__.py: sessions created on one worker are",
    },
    "rate limits": {
        "Starlette": PAGE,
        "Litestar": "middleware/rate_limit.py: class RateLimitMiddleware",
        "BlackSheep": "server/application.py: rate_limiter: RateLimiter",
        "cello-framework": "__init__.py: rate limits apply per worker",
    },
    "cache of answers": {
        "Flask": PAGE,
        "Litestar": "middleware/response_cache.py: class ResponseCacheMiddleware",
        "cello-framework": "__init__.py: response cache is per worker",
    },
    "metrics for Prometheus": {
        "Starlette": PAGE,
        "Litestar": "plugins/prometheus/middleware.py: class PrometheusMiddleware",
        "cello-framework": "__init__.py: def enable_prometheus",
    },
    "OpenTelemetry": {
        "FastAPI": "telemetry/_api.py: class TelemetryConfig",
        "Starlette": "middleware/opentelemetry.py: is experimental",
        "Litestar": "plugins/opentelemetry/plugin.py: class OpenTelemetryPlugin",
        "BlackSheep": "server/otel/__init__.py: def use_open_telemetry",
        "cello-framework": "__init__.py: def enable_telemetry",
    },
    "GraphQL": {
        "FastAPI": PAGE,
        "Starlette": PAGE,
        "Litestar": PAGE,
        "Robyn": PAGE,
        "cello-framework": "graphql.py: class GraphQL",
    },
    "gRPC": {"cello-framework": "grpc.py: class GrpcServer"},
    "Kafka, RabbitMQ, SQS": {"cello-framework": "messaging.py: class SqsConfig"},
    "event sourcing, sagas": {"cello-framework": "saga.py: class Saga"},
    "mounts WSGI applications": {"Flask": PAGE, "FastAPI": PAGE, "Starlette": PAGE},
    "test client": {
        "Flask": "testing.py: class FlaskClient",
        "FastAPI": "testclient.py: TestClient",
        "Starlette": "testclient.py: class TestClient",
        "Falcon": "testing/client.py: class TestClient",
        "Litestar": "testing/client/sync_client.py: class TestClient",
        "Sanic": "../sanic_testing/testing.py: class SanicTestClient",
        "BlackSheep": "testing/client.py: class TestClient",
        "Robyn": "testing.py: class TestClient",
    },
}
"""By row and project: where in the package it is, and the words (a regular expression) that stand there."""

TRACES = {
    "server-sent events": "event-stream",
    "OpenAPI and its pages": "openapi",
    "compression of answers": "gzip",
    "sessions": "class \\w*Session",
    "rate limits": "rate.?limit",
    "metrics for Prometheus": "prometheus",
    "OpenTelemetry": "import opentelemetry|from opentelemetry",
    "GraphQL": "graphql",
    "gRPC": "grpc\\.",
    "Kafka, RabbitMQ, SQS": "kafka|rabbitmq",
    "mounts WSGI applications": "WSGIMiddleware",
    "test client": "class \\w*TestClient",
}
"""By row: what the sources of a package would say that could do it."""


def rows(text: str) -> dict[str, dict[str, str]]:
    """Return the cells of the table, by the names of row and column."""
    heads, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    return {line[0]: dict(zip(heads[1:], line[1:], strict=True)) for line in lines}


def main() -> int:
    """Check all cells; print those to look at; return 1 if something said is not there."""
    packages = Path(sysconfig.get_paths()["purelib"])
    absent = 0
    for project in PACKAGES:
        print(f"{project} {version(project)}")
    for row, cells in rows(COMPARISON.read_text("utf-8")).items():
        for project, package in PACKAGES.items():
            proof = EVIDENCE[row].get(project)
            if proof is None:
                traces = [
                    str(path.relative_to(packages))
                    for path in sorted((packages / package).rglob("*.py"))
                    if row in TRACES and re.search(TRACES[row], path.read_text("utf-8", "replace"), re.IGNORECASE)
                ]
                if traces:
                    print(f"  look again: {row}, {project} {cells[project]}: {', '.join(traces[:4])}")
            elif proof == PAGE:
                print(f"  to be read: {row}, {project}: {cells[project]}")
            else:
                name, _, words = proof.partition(": ")
                path = packages / package / name
                if not path.exists() or not re.search(words, path.read_text("utf-8")):
                    print(f"  NOT THERE: {row}, {project}: {proof}")
                    absent += 1
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
