"""Tables that cello's own parts keep in a database: made where they are missing, by however many processes at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

from cello.database.errors import DatabaseError, OperationalError, PoolTimeout

ATTEMPTS = 5


async def make_tables(database: Any, statements: Sequence[str]) -> None:
    """Run statements that change nothing where they ran before (`CREATE TABLE IF NOT EXISTS`, `INSERT … IGNORE`).

    Servers let two processes that make the same table at once run into each other, whatever "IF NOT EXISTS" says; who
    loses tries again and finds it made.

    Args:
        database: A `Database`.
        statements: For its kind of server.

    Raises:
        DatabaseError: What the last attempt failed with.
    """
    for attempt in range(ATTEMPTS):
        try:
            for statement in statements:
                await database.execute(statement)
        except PoolTimeout:
            raise
        except DatabaseError as error:
            is_outage = isinstance(error, OperationalError) and error.code is None
            if is_outage or attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.05 * 2**attempt)
        else:
            return
