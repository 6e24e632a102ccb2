"""A REST service for tasks: databases, transactions, validation, pages of results, and a cache in Redis.

    python examples/rest_api/app.py            # SQLite, in tasks.db
    DATABASE_URL=postgresql://user@localhost/tasks REDIS_URL=redis://localhost:6379 python examples/rest_api/app.py

    curl -X POST localhost:8000/tasks -d '{"title": "write"}' -H 'Content-Type: application/json'
    curl 'localhost:8000/tasks?done=false'

Its documentation is at /docs, its health at /health.
"""

import os
import uuid
from typing import Annotated

from msgspec import Meta, Struct, field

from cello import App, Blueprint, DatabaseConfig, NotFound, Query, RedisConfig, Response
from cello.database import UniqueViolation, transactional

app = App()
app.enable_database(DatabaseConfig(os.environ.get("DATABASE_URL", "sqlite://tasks.db"), pool_size=5))
if os.environ.get("REDIS_URL"):
    app.enable_redis(RedisConfig(os.environ["REDIS_URL"], key_prefix=os.environ.get("REDIS_PREFIX", "tasks:")))
app.enable_health_checks()
app.enable_openapi(title="Tasks", version="1.0.0")

CACHE_S = 30
HAS_REDIS = bool(os.environ.get("REDIS_URL"))

TABLE = """
CREATE TABLE IF NOT EXISTS tasks (
    id VARCHAR(36) PRIMARY KEY,
    title VARCHAR(200) NOT NULL UNIQUE,
    done INTEGER NOT NULL
)"""


class NewTask(Struct):
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    done: bool = False


class Task(Struct):
    title: str
    done: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@app.on_event("startup")
async def make_table():
    await app.database.execute(TABLE)


@app.exception_handler(UniqueViolation)
def same_title(request, error):
    return Response.json({"error": "There is a task of that title."}, status=409)


tasks = Blueprint("/tasks", tags=["tasks"])


@tasks.get("")
async def list_tasks(
    request, done: bool | None = Query(None), limit: int = Query(20, ge=1, le=100), after: str = Query("")
) -> list[Task]:
    """A page of tasks by title; the next one begins `after` the last title of this one."""
    sql = "SELECT id, title, done FROM tasks WHERE title > :after"
    named = {"after": after, "limit": limit}
    if done is not None:
        sql, named["done"] = f"{sql} AND done = :done", int(done)
    return await request.database.fetch_all(f"{sql} ORDER BY title LIMIT :limit", into=Task, **named)


@tasks.post("")
async def add_task(request, new: NewTask):
    task = Task(new.title, new.done)
    sql = "INSERT INTO tasks (id, title, done) VALUES (:id, :title, :done)"
    await request.database.execute(sql, id=task.id, title=task.title, done=int(task.done))
    return task, 201, {"Location": f"/tasks/{task.id}"}


@tasks.get("/{id}")
def get_task(request, id: str):
    """One task; a plain function, whose calls block its thread and no other request."""
    if HAS_REDIS and (kept := request.redis.hgetall(id)):
        return Task(kept["title"], kept["done"] == "1", id)
    task = request.database.fetch_one("SELECT id, title, done FROM tasks WHERE id = $1", id, into=Task)
    if task is None:
        raise NotFound("There is no such task.")
    if HAS_REDIS:
        with request.redis.pipeline() as pipe:
            pipe.hset(id, title=task.title, done=int(task.done)).expire(id, CACHE_S).execute()
    return task


@tasks.put("/{id}")
@transactional
async def change_task(request, id: str, new: NewTask, tx):
    sql = "UPDATE tasks SET title = :title, done = :done WHERE id = :id"
    await tx.execute(sql, id=id, title=new.title, done=int(new.done))
    if await tx.fetch_val("SELECT count(*) FROM tasks WHERE id = :id", id=id) == 0:
        raise NotFound("There is no such task.")
    await forget(request, id)
    return Task(new.title, new.done, id)


@tasks.delete("/{id}")
async def delete_task(request, id: str):
    if await request.database.execute("DELETE FROM tasks WHERE id = :id", id=id) == 0:
        raise NotFound("There is no such task.")
    await forget(request, id)


async def forget(request, id):
    if HAS_REDIS:
        await request.redis.delete(id)


app.register_blueprint(tasks)

if __name__ == "__main__":
    app.run()
