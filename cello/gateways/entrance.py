"""Make an application that is both WSGI and ASGI look like ASGI to the hosts that inspect before they call.

What the hosts check: uvicorn `asyncio.iscoroutinefunction(app.__call__)`, Hypercorn `inspect.iscoroutinefunction` of
the same, daphne (asgiref) either of them or the hint `_asgi_single_callable`; granian and gunicorn are told.
"""

import inspect
import sys
from typing import Any


def show_as_asgi(app: Any) -> None:
    """Mark the `__call__` of `app` as a coroutine function; call it once when the application is made.

    On 3.12+ the class' function carries the standard mark. 3.11 knows no mark, only real `async def` functions, so
    there the instance gets one as an attribute: hosts look it up with `app.__call__` and find it, while `app(…)` goes
    through the class as ever.
    """
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(type(app).__call__)
    else:
        show_by_attribute(app)


def show_by_attribute(app: Any) -> None:
    """Give `app` a coroutine function as its attribute `__call__`."""
    call = type(app).__call__

    async def __call__(scope: Any, receive: Any, send: Any) -> None:
        await call(app, scope, receive, send)

    app.__call__ = __call__
