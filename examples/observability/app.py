"""The demo application, watched: metrics, health, traces, and everything that has numbers of its own.

    python examples/observability/run.py        # this, a Prometheus beside it, and some traffic

Redis and a collector of OpenTelemetry are used where the environment names them: REDIS_URL and
OTEL_EXPORTER_OTLP_ENDPOINT.
"""

import os
import random
import sys
import tempfile
from pathlib import Path

from cello import GraphQLConfig, HealthCheckConfig, OpenTelemetryConfig, cache

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.app import app

DATABASE = Path(tempfile.gettempdir()) / f"cello-observability-{os.getuid()}.db"

app.enable_prometheus(exclude_paths=["/metrics", "/health"])
app.enable_health_checks(HealthCheckConfig(include_system_info=True))
app.enable_request_id()
app.enable_caching(0)  # only what is marked
app.enable_rate_limit(None)  # only where a route says so
app.enable_circuit_breaker(failure_threshold=5, reset_timeout=5)
app.enable_database(os.environ.get("DATABASE_URL", f"sqlite:///{DATABASE}"))
app.enable_graphql(GraphQLConfig(tracing=bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))))
if os.environ.get("REDIS_URL"):
    app.enable_redis(os.environ["REDIS_URL"])
if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
    app.enable_telemetry(OpenTelemetryConfig("cello-demo", sampling_rate=0.5))


@app.on_event("startup")
async def make_table():
    await app.database.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)")


@app.health_check("disk")
def disk():
    """Fail before the database does."""
    about = os.statvfs(DATABASE.parent)
    free_mb = about.f_bavail * about.f_frsize // 2**20
    if free_mb < 10:
        raise OSError("the disk is nearly full")
    return {"free_mb": free_mb}


@app.post("/orders")
async def order(request):
    await request.database.execute("INSERT INTO orders (item) VALUES (:item)", item=random.choice("abc"))
    if os.environ.get("REDIS_URL"):
        await request.redis.incr("cello-demo:orders")
    return {"ordered": True}, 201


@app.get("/orders/count")
def count(request):
    return {"orders": request.database.fetch_val("SELECT count(*) FROM orders")}


@app.get("/prices")
@cache(ttl=2)
async def prices(request):
    return {"apple": random.randint(1, 9)}


@app.get("/limited", rate_limit="30/minute")
def limited(request):
    return "not more than thirty a minute"


@app.graphql.query
async def orders(info) -> int:
    return await info.context.request.database.fetch_val("SELECT count(*) FROM orders")
