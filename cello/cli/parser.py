"""The command line of `cello`: its commands, and what each takes."""

import argparse
from collections.abc import Callable
from typing import Any

from cello._version import __version__
from cello.cli import commands

TARGET_HELP = "module:app, path/to/file.py, or nothing for app.py or main.py in the current folder"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="cello",
        description="Serve and inspect cello applications.",
        epilog="cello COMMAND --help tells more about each command.",
    )
    parser.add_argument("--version", action="version", version=f"cello {__version__}")
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(actions)
    _add_targeted(actions, "routes", commands.routes, "list the routes of an application")
    _add_check(actions)
    _add_openapi(actions)
    _add_graphql(actions)
    _add_sagas(actions)
    _add_grpc(actions)
    _add_targeted(actions, "worker", commands.worker, "run the consumers of an application, without the HTTP server")
    new = actions.add_parser("new", help="begin a project", description="Write a small project to start from.")
    new.add_argument("name", metavar="NAME", help="the folder to make")
    new.set_defaults(command=commands.new)
    shared = actions.add_parser(
        "shared",
        help="show what running servers keep in shared memory",
        description="List the shared memory of this user's servers: regions, their size and how full they are.",
    )
    shared.set_defaults(command=commands.shared)
    completion = actions.add_parser(
        "completion",
        help="make bash, zsh or fish complete the command",
        description="Write a script that makes a shell complete the command.",
        epilog='Such as: echo "source <(cello completion bash)" >> ~/.bashrc',
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(command=commands.completion, parser=parser)
    version = actions.add_parser("version", help="show versions, speedups, loop and parser")
    version.set_defaults(command=commands.version)
    return parser


def _add_run(actions: Any) -> None:
    from cello.serve import options

    run = actions.add_parser(
        "run",
        help="serve an application",
        description="Serve an application.",
        epilog="Each option may also be set by the environment (CELLO_PORT, …) or by app.run(port=…) in the module; "
        "the command line goes before the environment, and that before app.run().",
        allow_abbrev=False,
    )
    run.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    options.add_arguments(run)
    run.set_defaults(command=commands.run)


def _add_check(actions: Any) -> None:
    parser = actions.add_parser(
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
    parser.set_defaults(command=commands.check)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _add_openapi(actions: Any) -> None:
    what = "write the OpenAPI document of an application"
    parser = actions.add_parser("openapi", help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it (default: standard output)")
    parser.set_defaults(command=commands.openapi)


def _add_graphql(actions: Any) -> None:
    parser = actions.add_parser("graphql", help="write the GraphQL schema of an application")
    parser.add_argument("what", choices=["schema"], help="the schema, in GraphQL's own language")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.set_defaults(command=commands.graphql)


def _add_grpc(actions: Any) -> None:
    parser = actions.add_parser("grpc", help="write the .proto of an application's gRPC services")
    parser.add_argument("what", choices=["proto"], help="the services and messages, in protobuf's own language")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.add_argument("-o", "--output", metavar="FOLDER", help="where to write a file for each package")
    parser.set_defaults(command=commands.grpc)


def _add_sagas(actions: Any) -> None:
    what = "look at the sagas of an application, and change them"
    kinds = actions.add_parser("sagas", help=what, description=f"{what[0].upper()}{what[1:]}.").add_subparsers(
        metavar="WHAT", required=True
    )

    def add(name: str, text: str) -> Any:
        parser = kinds.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name != "list":
            parser.add_argument("id", metavar="ID", help="the execution")
        parser.set_defaults(command=commands.sagas, what=name)
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


def _add_targeted(actions: Any, name: str, command: Callable[[argparse.Namespace], int], what: str) -> None:
    parser = actions.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument("target", nargs="?", metavar="TARGET", help=TARGET_HELP)
    parser.set_defaults(command=command)
