"""The two services that an order needs. They stand for systems of others: they may be silent, and be asked twice.

Each remembers by the key of a call what it did, in one transaction with doing it, so asking twice is asking once.
"""

import os
import signal

from cello.database import UniqueViolation, tables

PRICE = 5
SHELVES = {"tea": 20, "coffee": 10, "piano": 1}
TABLES = (
    """orders (id VARCHAR(64) PRIMARY KEY, customer VARCHAR(200), item VARCHAR(50), quantity INTEGER,
               status VARCHAR(20), note VARCHAR(500), placed_at DOUBLE PRECISION)""",
    "stock (item VARCHAR(50) PRIMARY KEY, quantity INTEGER NOT NULL CHECK (quantity >= 0))",
    "reservations (call_key VARCHAR(150) PRIMARY KEY, item VARCHAR(50), quantity INTEGER)",
    "payments (call_key VARCHAR(150) PRIMARY KEY, amount INTEGER)",
    "faults (service VARCHAR(20) PRIMARY KEY, next_calls INTEGER)",
)


async def make_tables(db):
    """Make what is missing; several workers may be at it."""
    await tables.make_tables(db, [f"CREATE TABLE IF NOT EXISTS {table}" for table in TABLES])
    for table, column, rows in (("stock", "item, quantity", SHELVES), ("faults", "service, next_calls", NO_FAULTS)):
        for row in rows.items():
            try:
                await db.execute(f"INSERT INTO {table} ({column}) VALUES ($1, $2)", *row)
            except UniqueViolation:
                continue  # it was there


NO_FAULTS = {"bank": 0, "refuse": 0, "crash": 0}


class Refused(Exception):
    """An answer that asking again does not change."""

    is_retryable = False


class Faults:
    """What is to go wrong, for demonstrations."""

    def __init__(self, db):
        self.db = db

    async def set(self, service, count):
        await self.db.execute("UPDATE faults SET next_calls = $2 WHERE service = $1", service, count)

    async def strikes(self, service):
        """Whether this call is one of those that fail."""
        sql = "UPDATE faults SET next_calls = next_calls - 1 WHERE service = $1 AND next_calls > 0"
        return bool(await self.db.execute(sql, service))

    async def all(self):
        return {row["service"]: row["next_calls"] for row in await self.db.fetch_all("SELECT * FROM faults")}


class Warehouse:
    """Keeps the stock."""

    def __init__(self, db, faults):
        self.db = db
        self.faults = faults

    async def reserve(self, key, item, quantity):
        async with self.db.transaction() as tx:
            if await tx.fetch_val("SELECT count(*) FROM reservations WHERE call_key = $1", key):
                return
            sql = "UPDATE stock SET quantity = quantity - $2 WHERE item = $1 AND quantity >= $3"
            if not await tx.execute(sql, item, quantity, quantity):
                raise Refused(f"not enough {item} in stock")
            await tx.execute("INSERT INTO reservations VALUES ($1, $2, $3)", key, item, quantity)

    async def release(self, key):
        async with self.db.transaction() as tx:
            row = await tx.fetch_one("SELECT item, quantity FROM reservations WHERE call_key = $1", key)
            if row is not None:
                await tx.execute("DELETE FROM reservations WHERE call_key = $1", key)
                sql = "UPDATE stock SET quantity = quantity + $2 WHERE item = $1"
                await tx.execute(sql, row["item"], row["quantity"])

    async def shelves(self):
        return {row["item"]: row["quantity"] for row in await self.db.fetch_all("SELECT * FROM stock ORDER BY item")}


class Bank:
    """Charges cards; those that begin with 0 have no money."""

    def __init__(self, db, faults):
        self.db = db
        self.faults = faults

    async def charge(self, key, card, amount):
        if await self.faults.strikes("bank"):
            raise ConnectionError("the bank does not answer")
        if card.startswith("0") or await self.faults.strikes("refuse"):
            raise Refused("the bank declines the card")
        try:
            await self.db.execute("INSERT INTO payments VALUES ($1, $2)", key, amount)
        except UniqueViolation:
            return  # charged by an earlier attempt, whose worker did not live to tell
        if await self.faults.strikes("crash"):
            os.kill(os.getpid(), signal.SIGKILL)  # charged, and nobody knows

    async def refund(self, key):
        await self.db.execute("DELETE FROM payments WHERE call_key = $1", key)

    async def balance(self):
        return int(await self.db.fetch_val("SELECT COALESCE(SUM(amount), 0) FROM payments"))
