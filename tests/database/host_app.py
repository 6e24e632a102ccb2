"""An application with a database and Redis, for hosts in processes of their own."""

import os
from typing import Any

from cello import App, DatabaseConfig, RedisConfig

app = App()
app.enable_database(DatabaseConfig(os.environ["CELLO_TEST_DATABASE_URL"], pool_size=5, connection_timeout_secs=20))
app.enable_redis(RedisConfig(os.environ["CELLO_TEST_REDIS_URL"], pool_size=5))


@app.get("/def")
def plain(request: Any) -> Any:
    with request.database.transaction() as tx:
        return {"sum": tx.fetch_val("SELECT 1 + 1", into=int), "redis": request.redis.ping(), "pid": os.getpid()}


@app.get("/async")
async def coroutine(request: Any) -> Any:
    async with request.database.transaction() as tx:
        total = await tx.fetch_val("SELECT 1 + 1", into=int)
    return {"sum": total, "redis": await request.redis.ping(), "pid": os.getpid()}


@app.get("/stats")
def stats(request: Any) -> Any:
    found = request.app.database.aio.stats()
    return {"pool": found["pool"], "blocking_pool": found["blocking_pool"], "pid": os.getpid()}
