"""Tasks that begin at once.

PERF: an eager task runs up to its first wait inside its constructor, and most handlers never wait: 0.8 µs from start to
end instead of 2.1 for a plain one, which the loop starts on its next turn; bench/micro/test_native.py, Python 3.12.
"""

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

if sys.version_info >= (3, 12):

    def start_task(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context | None = None
    ) -> "asyncio.Task[None]":
        """Return a task of `work` in `context`, or a copy of the current one; it may be done already."""
        return asyncio.Task(work, loop=loop, context=context, eager_start=True)

else:

    def start_task(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context | None = None
    ) -> "asyncio.Task[None]":
        """Return a task of `work` in `context`, or a copy of the current one; the loop starts it on its next turn."""
        return asyncio.Task(work, loop=loop, context=context)
