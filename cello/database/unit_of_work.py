"""`@transactional`: a handler, or any function, that runs in a transaction."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

from cello.database.errors import ProgrammingError, TransactionConflict
from cello.errors import ConfigError
from cello.http.request import Request
from cello.pipeline.colour import describe, must_be_awaited
from cello.pipeline.params import Depends

F = TypeVar("F", bound=Callable[..., Any])

INJECTED = "database_of_the_transaction"
"""The parameter by which the pipeline hands the database to a decorated handler."""


@overload
def transactional(function: F, /) -> F: ...
@overload
def transactional(*, isolation: str | None = None, read_only: bool = False, attempts: int = 1) -> Callable[[F], F]: ...
def transactional(
    function: Any = None, /, *, isolation: str | None = None, read_only: bool = False, attempts: int = 1
) -> Any:
    """Run a function in a transaction: committed when it returns, rolled back when it raises.

    A parameter named `tx` is handed the transaction. The database is the application's, by `enable_database()`; called
    by hand, the function finds it among its arguments, or at a request among them.

    Args:
        function: `def` or `async def`.
        isolation: As `Database.transaction` takes it.
        read_only: As `Database.transaction` takes it.
        attempts: How often to run it in all when the database reports a conflict with another transaction.
    """
    if attempts < 1:
        raise ConfigError(f"@transactional: attempts must be at least 1, not {attempts!r:.80}")
    options = {"isolation": isolation, "read_only": read_only}
    if function is None:
        return lambda decorated: _decorate(decorated, options, attempts)
    return _decorate(function, options, attempts)


def _decorate(function: F, options: Mapping[str, Any], attempts: int) -> F:
    signature = inspect.signature(function)
    wants_tx = "tx" in signature.parameters

    if must_be_awaited(function):

        @functools.wraps(function)
        async def run_async(*args: Any, **named: Any) -> Any:
            database = _database(function, args, named).aio
            for left in range(attempts - 1, -1, -1):
                try:
                    async with database.transaction(**options) as transaction:
                        return await function(*args, **_with(named, transaction, wanted=wants_tx))
                except TransactionConflict:
                    if not left:
                        raise
            return None

        wrapper: Any = run_async
    else:

        @functools.wraps(function)
        def run(*args: Any, **named: Any) -> Any:
            database = _database(function, args, named).blocking
            for left in range(attempts - 1, -1, -1):
                try:
                    with database.transaction(**options) as transaction:
                        return function(*args, **_with(named, transaction, wanted=wants_tx))
                except TransactionConflict:
                    if not left:
                        raise
            return None

        wrapper = run
    wrapper.__signature__ = _injected(signature)
    return cast(F, wrapper)


def _injected(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature without `tx`, and with the database to be injected."""
    kept = [each for each in signature.parameters.values() if each.name != "tx"]
    database = inspect.Parameter(INJECTED, inspect.Parameter.KEYWORD_ONLY, default=Depends("database"))
    rest = [kept.pop()] if kept and kept[-1].kind is inspect.Parameter.VAR_KEYWORD else []
    return signature.replace(parameters=[*kept, database, *rest])


def _with(named: dict[str, Any], transaction: Any, *, wanted: bool) -> dict[str, Any]:
    return {**named, "tx": transaction} if wanted else named


def _database(function: Callable[..., Any], args: Sequence[Any], named: dict[str, Any]) -> Any:
    """Return the database to use, as an object with `aio` and `blocking`."""
    injected = named.pop(INJECTED, None)
    if injected is not None:
        return injected
    for value in (*args, *named.values()):
        if isinstance(value, Request) and value.app is not None:
            return value.app.database
        if hasattr(value, "blocking") and hasattr(value, "transaction"):
            return value
    raise ProgrammingError(f"@transactional: {describe(function)} was called without a request or a database")
