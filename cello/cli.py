"""The command `cello`.

    cello run [TARGET] [options]     serve an application
    cello routes [TARGET]            list what it answers
    cello check [TARGET]             find what would not work, or is not wise, in production
    cello openapi [TARGET]           write its OpenAPI document
    cello shared                     show what running servers keep in shared memory
    cello graphql schema [TARGET]    write its GraphQL schema
    cello grpc proto [TARGET]        write the .proto of its gRPC services
    cello worker [TARGET]            run its consumers, without the HTTP server
    cello sagas WHAT [ID] [TARGET]   list, show, retry, cancel or signal its sagas
    cello new NAME                   begin a project
    cello completion SHELL           write what makes bash, zsh or fish complete all this
    cello version                    what is installed and in use

TARGET is `module:app`, a file, or nothing: `app.py` or `main.py` of the current folder. Commands import what they
need when they run, so that `cello --help` is quick.
"""

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cello._version import __version__
from cello.errors import CelloError

TARGET_HELP = "module:app, path/to/file.py, or nothing for app.py or main.py in the current folder"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Args:
        argv: The arguments, without the program's name; None = those of this process.
    """
    arguments = make_parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except CelloError as error:
        _show(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`cello routes | head`) has what it wanted
        return 0


def _show(error: CelloError) -> None:
    """Print an error as one line, after the traceback of the user's own code if that is what it came from."""
    from cello.serve import console

    if error.__cause__ is not None:
        import traceback

        own = error.__cause__.__traceback__
        while own is not None and _is_ours(own.tb_frame.f_code.co_filename):
            own = own.tb_next
        traceback.print_exception(error.__cause__.with_traceback(own), file=sys.stderr)
    console.failure(str(error))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="cello",
        description="Serve and inspect cello applications.",
        epilog="cello COMMAND --help tells more about each command.",
    )
    parser.add_argument("--version", action="version", version=f"cello {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_targeted(commands, "routes", _routes, "list the routes of an application")
    _add_check(commands)
    _add_openapi(commands)
    _add_graphql(commands)
    _add_sagas(commands)
    _add_grpc(commands)
    _add_targeted(commands, "worker", _worker, "run the consumers of an application, without the HTTP server")
    new = commands.add_parser("new", help="begin a project", description="Write a small project to start from.")
    new.add_argument("name", metavar="NAME", help="the folder to make")
    new.set_defaults(command=_new)
    shared = commands.add_parser(
        "shared",
        help="show what running servers keep in shared memory",
        description="List the shared memory of this user's servers: regions, their size and how full they are.",
    )
    shared.set_defaults(command=_shared)
    completion = commands.add_parser(
        "completion",
        help="make bash, zsh or fish complete the command",
        description="Write a script that makes a shell complete the command.",
        epilog='Such as: echo "source <(cello completion bash)" >> ~/.bashrc',
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(command=_completion)
    version = commands.add_parser("version", help="show versions, speedups, loop and parser")
    version.set_defaults(command=_version)
    return parser


def _add_run(commands: Any) -> None:
    from cello.serve import options

    run = commands.add_parser(
        "run",
        help="serve an application",
        description="Serve an application.",
        epilog="Each option may also be set by the environment (CELLO_PORT, …) or by app.run(port=…) in the module; "
        "the command line goes before the environment, and that before app.run().",
        allow_abbrev=False,
    )
    run.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    options.add_arguments(run)
    run.set_defaults(command=_run)


def _add_check(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="find what would not work, or is not wise, in production",
        description="Compile every route as at start-up, serve nothing, and say what about the settings will not "
        "work, or is not wise, where the application is to run.",
        epilog="Exit code 0: nothing must be changed; 1: there are errors (with --strict: or warnings), or the "
        "application cannot be loaded; 2: the command line is wrong.",
    )
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.add_argument(
        "--env",
        choices=["production", "development"],
        default="production",
        help="where it is to run (default: production)",
    )
    parser.add_argument(
        "--workers",
        type=_count,
        default=argparse.SUPPRESS,
        metavar="N",
        help="processes on each machine (default: as the application says, else one per processor)",
    )
    parser.add_argument("--machines", type=_count, default=1, metavar="N", help="machines that serve it (default: 1)")
    parser.add_argument("--strict", action="store_true", help="fail on warnings too")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="CODE", help="leave out findings of this code; may be repeated"
    )
    parser.add_argument(
        "--compat", action="store_true", help="find what means something else than under cello-framework"
    )
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to write (default: text)")
    parser.set_defaults(command=_check)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _add_openapi(commands: Any) -> None:
    what = "write the OpenAPI document of an application"
    parser = commands.add_parser("openapi", help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: standard output)")
    parser.set_defaults(command=_openapi)


def _add_graphql(commands: Any) -> None:
    parser = commands.add_parser("graphql", help="write the GraphQL schema of an application")
    parser.add_argument("what", choices=["schema"], help="the schema, in GraphQL's own language")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.set_defaults(command=_graphql)


def _add_grpc(commands: Any) -> None:
    parser = commands.add_parser("grpc", help="write the .proto of an application's gRPC services")
    parser.add_argument("what", choices=["proto"], help="the services and messages, in protobuf's own language")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.add_argument("-o", "--output", metavar="FOLDER", help="where to write a file for each package")
    parser.set_defaults(command=_grpc)


def _add_sagas(commands: Any) -> None:
    what = "look at the sagas of an application, and change them"
    actions = commands.add_parser("sagas", help=what, description=f"{what[0].upper()}{what[1:]}.").add_subparsers(
        metavar="WHAT", required=True
    )

    def add(name: str, text: str) -> Any:
        parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name != "list":
            parser.add_argument("id", metavar="ID", help="the execution")
        parser.set_defaults(command=_sagas, what=name)
        return parser

    listing = add("list", "list executions, the newest first")
    listing.add_argument("--saga", metavar="NAME", help="of this saga alone")
    listing.add_argument("--status", help="running, waiting, compensating, completed, failed, cancelled or stuck")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="how many at most (50)")
    parsers = [
        listing,
        add("show", "write everything about an execution, as JSON"),
        add("retry", "try again what is stuck, or has failed"),
        cancelling := add("cancel", "have an execution compensated"),
        signalling := add("signal", "tell an execution of an event that it waits for"),
    ]
    cancelling.add_argument("--reason", default="cancelled by hand", help="what the log is to say")
    signalling.add_argument("event", metavar="EVENT", help="the event's name")
    signalling.add_argument("--data", metavar="JSON", default="null", help="what comes with it")
    for parser in parsers:
        parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)


def _add_targeted(commands: Any, name: str, command: Callable[[argparse.Namespace], int], what: str) -> None:
    parser = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.set_defaults(command=command)


def _load(target: str | None) -> Any:
    """Return the App; an error of the user's module becomes the cause of a `TargetError`."""
    from cello.serve.importing import TargetError, load_app

    try:
        return load_app(target)
    except TargetError:
        raise
    except Exception as error:
        what = target or "the application"
        raise TargetError(f"{what} could not be imported: {type(error).__name__}: {error}") from error


def _is_ours(filename: str) -> bool:
    """Whether a traceback's frame only says how the module was reached."""
    from cello.serve import importing

    return filename in (__file__, importing.__file__) or "importlib" in filename


def _run(arguments: argparse.Namespace) -> int:
    import os

    from cello.serve import entry, options

    app = _load(arguments.target)
    said = {name: value for name, value in vars(arguments).items() if name not in ("command", "target")}
    settings = app.settings
    found = options.resolve(
        app.run_options, arguments=said, environment=os.environ, tls=settings.tls, cluster=settings.cluster
    )
    return entry.start(app, found)


def _routes(arguments: argparse.Namespace) -> int:
    app = _load(arguments.target)
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


def _check(arguments: argparse.Namespace) -> int:
    import os

    from cello.serve import checkup, options

    app = _load(arguments.target)
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


def _shared(arguments: argparse.Namespace) -> int:
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


def _openapi(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    text = json.dumps(_load(arguments.target).openapi(), indent=2, ensure_ascii=False) + "\n"
    if arguments.output is None:
        sys.stdout.buffer.write(text.encode())  # UTF-8 wherever it is sent to, as JSON must be
        return 0
    try:
        Path(arguments.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CelloError(f"{arguments.output} cannot be written: {error.strerror}") from None
    return 0


def _graphql(arguments: argparse.Namespace) -> int:
    text = _load(arguments.target).graphql.make_engine().get_schema()
    sys.stdout.buffer.write(f"{text}\n".encode())
    return 0


def _grpc(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from cello.grpc.proto import write_proto

    files = [package.file for package in _load(arguments.target).grpc.catalog().packages.values()]
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


def _worker(arguments: argparse.Namespace) -> int:
    import logging

    from cello.serve import worker

    app = _load(arguments.target)
    if not any(getattr(feature, "has_work", lambda: False)() for feature in app.features()):
        raise CelloError("there is nothing to do for a worker: the application declares no consumers")
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return worker.run(app)


def _sagas(arguments: argparse.Namespace) -> int:
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

    found = asyncio.run(console.run(feature_of(_load(arguments.target)), work))
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


def _new(arguments: argparse.Namespace) -> int:
    from cello.serve.scaffold import make_project

    print(make_project(arguments.name))
    return 0


def _completion(arguments: argparse.Namespace) -> int:
    from cello.serve import completion

    print(completion.SHELLS[arguments.shell]("cello", completion.commands_of(make_parser())), end="")
    return 0


def _version(arguments: argparse.Namespace) -> int:
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
