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
import sys
from collections.abc import Callable, Sequence

from cello.cli import commands
from cello.cli.parser import make_parser
from cello.errors import CelloError


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


def _is_ours(filename: str) -> bool:
    """Whether a traceback's frame only says how the module was reached."""
    from cello.serve import importing

    return filename in (commands.__file__, importing.__file__) or "importlib" in filename
