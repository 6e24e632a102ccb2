"""What the commands of `cello` do: each is given its arguments and returns the exit code.

They import what they need when they run.
"""

import argparse
import platform
import sys
from typing import Any

from cello._version import __version__
from cello.errors import CelloError


def load(target: str | None) -> Any:
    """Return the App of a TARGET; an error of the user's module becomes the cause of a `TargetError`."""
    from cello.serve.importing import TargetError, load_app

    try:
        return load_app(target)
    except TargetError:
        raise
    except Exception as error:
        what = target or "the application"
        raise TargetError(f"{what} could not be imported: {type(error).__name__}: {error}") from error


def run(arguments: argparse.Namespace) -> int:
    """Serve an application."""
    import os

    from cello.serve import entry, options

    app = load(arguments.target)
    said = {name: value for name, value in vars(arguments).items() if name not in ("command", "target")}
    settings = app.settings
    found = options.resolve(
        app.run_options, arguments=said, environment=os.environ, tls=settings.tls, cluster=settings.cluster
    )
    return entry.start(app, found)


def routes(arguments: argparse.Namespace) -> int:
    """List the routes of an application."""
    app = load(arguments.target)
    app.freeze()
    rows = [_row(app, route) for route in (*app.router.routes, *app.router.sockets)]
    if not rows:
        print("no routes")
        return 0
    _print_table(("METHODS", "PATH", "NAME", "HANDLER", "RUNS", "GUARDS", "PLACE"), rows)
    return 0


def _row(app: Any, route: Any) -> tuple[str, ...]:
    guards = (*(() if route.is_builtin else app.guards), *route.options.guards)
    handler = route.handler
    code = getattr(handler, "__qualname__", type(handler).__name__)
    names = ", ".join(getattr(guard, "__name__", type(guard).__name__) for guard in guards)
    return (
        "WEBSOCKET" if route.socket is not None else ",".join(route.methods),
        route.pattern.path,
        route.name,
        f"{getattr(handler, '__module__', '?')}.{code}",
        _where_it_runs(route),
        names or "-",
        route.place,
    )


def _where_it_runs(route: Any) -> str:
    from inspect import iscoroutinefunction

    if iscoroutinefunction(route.handler):
        return "async"
    if route.socket is not None:
        return "thread"
    if route.options.blocking is None:
        return "adaptive"
    return "thread" if route.options.blocking else "inline"


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from cello.serve.console import paint

    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    print(paint(line(head), "bold", sys.stdout))
    for row in rows:
        print(line(row))


def check(arguments: argparse.Namespace) -> int:
    """Say what would not work, or is not wise, in production."""
    import os

    from cello.serve import checkup, options

    app = load(arguments.target)
    said = {name: vars(arguments)[name] for name in ("env", "workers") if name in arguments}
    found = options.resolve(
        app.run_options, arguments=said, environment=os.environ, tls=app.settings.tls, cluster=app.settings.cluster
    )
    app.freeze()
    findings = checkup.examine(
        app, found, machines=arguments.machines, ignored=arguments.ignore, compat=arguments.compat
    )
    passed = checkup.is_passed(findings, strict=arguments.strict)
    routes = len(app.router.routes) + len(app.router.sockets)
    if arguments.format == "json":
        print(checkup.as_json(findings, routes, passed=passed))
    else:
        print(checkup.as_text(findings, routes, sys.stdout, passed=passed))
    return 0 if passed else 1


def shared(arguments: argparse.Namespace) -> int:
    """Show what running servers keep in shared memory."""
    from cello.shared.inspection import find_regions

    regions = find_regions()
    if not regions:
        print("no server of this user keeps anything in shared memory")
        return 0
    _print_table(
        ("ARENA", "REGION", "LAYOUT", "BYTES", "HOLDS"),
        [(found.arena, found.name, found.layout, f"{found.size:,}", found.fill) for found in regions],
    )
    return 0


def openapi(arguments: argparse.Namespace) -> int:
    """Write the OpenAPI document of an application."""
    import json
    from pathlib import Path

    text = json.dumps(load(arguments.target).openapi(), indent=2, ensure_ascii=False) + "\n"
    if arguments.output is None:
        sys.stdout.buffer.write(text.encode())  # UTF-8 wherever it is sent to, as JSON must be
        return 0
    try:
        Path(arguments.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CelloError(f"{arguments.output} cannot be written: {error.strerror}") from None
    return 0


def graphql(arguments: argparse.Namespace) -> int:
    """Write the GraphQL schema of an application."""
    text = load(arguments.target).graphql.make_engine().get_schema()
    sys.stdout.buffer.write(f"{text}\n".encode())
    return 0


def grpc(arguments: argparse.Namespace) -> int:
    """Write the .proto of an application's gRPC services."""
    from pathlib import Path

    from cello.grpc.proto import write_proto

    files = [package.file for package in load(arguments.target).grpc.catalog().packages.values()]
    if arguments.output is None:
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise CelloError(f"there are {len(files)} files, {names}: say where to write them, with -o FOLDER")
        for file in files:
            sys.stdout.buffer.write(write_proto(file).encode())
        return 0
    for file in files:
        path = Path(arguments.output, file.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write_proto(file), encoding="utf-8")
        except OSError as error:
            raise CelloError(f"{path} cannot be written: {error.strerror}") from None
        print(path)
    return 0


def worker(arguments: argparse.Namespace) -> int:
    """Run the consumers of an application."""
    import logging

    from cello.serve import worker

    app = load(arguments.target)
    if not any(getattr(feature, "has_work", lambda: False)() for feature in app.features()):
        raise CelloError("there is nothing to do for a worker: the application declares no consumers")
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return worker.run(app)


def sagas(arguments: argparse.Namespace) -> int:
    """Look at the sagas of an application, or change one."""
    import asyncio
    import json

    from cello.saga import console
    from cello.saga.switch import feature_of

    what = arguments.what
    try:
        data = json.loads(arguments.data) if what == "signal" else None
    except ValueError as error:
        raise CelloError(f"--data is no JSON: {error}") from None

    async def work(sagas: Any) -> Any:
        if what == "list":
            return await sagas.list_executions(arguments.saga, arguments.status, arguments.limit)
        if what == "show":
            return await console.show(sagas, arguments.id)
        if what == "retry":
            return await sagas.retry(arguments.id)
        if what == "cancel":
            return await sagas.cancel(arguments.id, arguments.reason)
        return await sagas.signal(arguments.id, arguments.event, data)

    found = asyncio.run(console.run(feature_of(load(arguments.target)), work))
    if what == "list":
        _print_table(console.HEAD, console.rows(found))
    elif what == "show":
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif what == "retry":
        print(f"{found.id} is {found.status}, and a running server will take it up")
    elif what == "cancel":
        print(f"{arguments.id} will be compensated" if found else f"{arguments.id} has ended already")
    else:
        print(f"{arguments.id} was told" if found else f"{arguments.id} was told of {arguments.event!r} before")
    return 0


def new(arguments: argparse.Namespace) -> int:
    """Begin a project."""
    from cello.serve.scaffold import make_project

    print(make_project(arguments.name))
    return 0


def completion(arguments: argparse.Namespace) -> int:
    """Write what makes a shell complete the command."""
    from cello.serve import completion

    print(completion.SHELLS[arguments.shell]("cello", completion.commands_of(arguments.parser)), end="")
    return 0


def version(arguments: argparse.Namespace) -> int:
    """Show versions, speedups, loop and parser."""
    from cello.gateways.native import choose_tier
    from cello.serve import console
    from cello.serve.loops import choose_loop

    runtime = f"{platform.python_implementation()} {platform.python_version()} ({platform.platform(terse=True)})"
    facts = {
        "cello": __version__,
        "python": runtime,
        "speedups": console.speedups(),
        "loop": choose_loop()[0],
        "parser": choose_tier().name,
    }
    for name, value in facts.items():
        print(f"{name:<9} {value}")
    warning = console.rival_warning()
    if warning is not None:
        console.notice(warning)
    return 0
