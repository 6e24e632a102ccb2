"""Commands and queries apart: two buses, handlers by class, results that say what became of it.

    @command_handler(CreateOrder)
    async def create(command: CreateOrder, db=Depends("database")):
        ...
        return CommandResult.ok({"id": command.id})

    app.enable_cqrs().command_bus.register(create)

`docs/guide/cqrs.md` is the guide.
"""

from cello.cqrs.bus import BlockingBus, CommandBus, QueryBus
from cello.cqrs.config import CqrsConfig
from cello.cqrs.handlers import command_handler, query_handler
from cello.cqrs.messages import Command, CommandResult, Query, QueryResult, Unsuccessful
from cello.cqrs.middleware import Transactions, log_dispatches
from cello.cqrs.retrying import RetryableError

__all__ = [
    "BlockingBus",
    "Command",
    "CommandBus",
    "CommandResult",
    "CqrsConfig",
    "Query",
    "QueryBus",
    "QueryResult",
    "RetryableError",
    "Transactions",
    "Unsuccessful",
    "command_handler",
    "log_dispatches",
    "query_handler",
]
