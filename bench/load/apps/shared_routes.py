"""What every app of the comparison answers: the same 200 routes, words and switches; imports nothing of a framework.

Six routes are measured, 194 stand beside them as in a grown application: half of them with a parameter. An app reads
its port and its variant from the environment, so that each one is started the same way: `python <app file>`.
"""

import itertools
import os

PORT = int(os.environ.get("BENCH_PORT", "8000"))
WITH_MIDDLEWARE = os.environ.get("BENCH_MIDDLEWARE") == "1"

TEXT = "Hello, World!"
ORIGIN = "https://app.example.com"

_NOUNS = ["orders", "invoices", "carts", "products", "reviews", "accounts", "teams", "projects"]
FILLER_PATHS = [f"/api/v{n // 8}/{_NOUNS[n % 8]}" for n in range(97)]
FILLER_PATHS += [f"{path}/{{id}}" for path in FILLER_PATHS]

_request_numbers = itertools.count(1)
_request_prefix = os.urandom(8).hex()


def greeting() -> dict[str, str]:
    """Make the JSON greeting anew, as a handler does with data of its own."""
    return {"message": "Hello, World!"}


def new_request_id() -> str:
    """Make a request id that is unique and costs next to nothing, the same for every framework."""
    return f"{_request_prefix}{next(_request_numbers):08x}"


def filler_paths(parameter: str = "{id}") -> list[str]:
    """List the 194 other routes in a framework's own spelling of a parameter, such as `<id>` or `:id`."""
    return [path.replace("{id}", parameter) for path in FILLER_PATHS]
