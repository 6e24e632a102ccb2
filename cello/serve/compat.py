"""What `cello check --compat` says: where a program for the Rust-based cello-framework means something else here.

Handlers are read, not run: what a `return` says by itself, or the return annotation. A value that comes from elsewhere
(`return found`) tells nothing, so silence is no proof.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from cello.review import Finding

Function = ast.FunctionDef | ast.AsyncFunctionDef
_DECODERS = frozenset({"unquote", "unquote_plus", "unquote_to_bytes"})


def examine(app: Any) -> Iterator[Finding]:
    """Look at every route of an App, those of its features left out."""
    routes = [route for route in app.router.routes if not route.is_builtin]
    for route in routes:
        tree = _tree(route.handler)
        if tree is None:
            continue
        if _annotation(tree) == "str" or any(_is_text(value) for value in _returned(tree)):
            yield Finding(
                "warning",
                "compat-text",
                f"route {route}: a str is sent as text/plain, not as a JSON string; return Response.json(text) for "
                "that",
            )
        yield from _nothing(route, tree)
        yield from _tuples(route, tree)
        called = {_called(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        if decoder := next(iter(called & _DECODERS), None):
            yield Finding(
                "warning",
                "compat-params",
                f"route {route}: request.params and request.query are percent-decoded already, and {decoder}() would "
                "decode them twice",
            )
    if routes:
        yield Finding(
            "note",
            "compat-methods",
            "a path that exists under another method is 405 with Allow, not 404; HEAD is answered for every GET route, "
            "and OPTIONS for every path",
        )
    if app.run_options is not None and not {"env", "debug"} & set(app.run_options):
        yield Finding(
            "note",
            "compat-run",
            "app.run() decides by env (development, unless it is said) whether errors show tracebacks and requests are "
            "logged, not by whether there is a terminal",
        )


def _tree(handler: Callable[..., Any]) -> Function | None:
    """Return a handler's source as a tree; None where it has none that stands alone."""
    try:
        parsed = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(handler))))
    except (OSError, TypeError, SyntaxError):  # a built-in, something typed in a shell, a lambda within a call
        return None
    first = parsed.body[0] if parsed.body else None
    return first if isinstance(first, Function) else None


def _annotation(tree: Function) -> str | None:
    return None if tree.returns is None else ast.unparse(tree.returns).strip("'\"")


def _own(tree: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of functions and classes in it."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function | ast.ClassDef | ast.Lambda):
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def _returned(tree: Function) -> list[ast.expr | None]:
    return [node.value for node in _own(tree) if isinstance(node, ast.Return)]


def _is_text(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str)
    return isinstance(value, ast.JoinedStr)


def _nothing(route: Any, tree: Function) -> Iterator[Finding]:
    """Find handlers that return nothing, at least at one place."""
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own(tree)):
        return
    returned = _returned(tree)
    says_none = any(value is None or (isinstance(value, ast.Constant) and value.value is None) for value in returned)
    if says_none or (not returned and not any(isinstance(node, ast.Raise) for node in _own(tree))):
        yield Finding(
            "warning",
            "compat-none",
            f"route {route}: None is answered 204 without a body, not null; return Response.json(None) for that",
        )


def _tuples(route: Any, tree: Function) -> Iterator[Finding]:
    """Find tuples, which set the status here."""
    for value in _returned(tree):
        if not isinstance(value, ast.Tuple):
            continue
        status = value.elts[1] if len(value.elts) in (2, 3) else None
        if status is None or (isinstance(status, ast.Constant) and not _is_status(status.value)):
            yield Finding(
                "error",
                "compat-tuple",
                f"route {route}: a tuple is (body, status) or (body, status, headers), and {ast.unparse(value):.60} is "
                "neither, so it raises; return a list for a JSON array",
            )
        else:
            yield Finding(
                "warning",
                "compat-tuple",
                f"route {route}: {ast.unparse(value):.60} sets the status; return a list for a JSON array",
            )


def _is_status(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
