"""What `app.run()` does: in a program it serves, under cello's own import it records, elsewhere it refuses.

`start` is common to `app.run()` and `cello run`. Where several processes are needed it replaces this process by a
supervisor, which never imports the application: the supervisor starts the same command again, and that copy, told so
by one environment variable, arrives here as a zygote (see zygote.py).
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from types import FrameType
from typing import NoReturn

from cello.errors import ConfigError
from cello.serve import console, options, systemd
from cello.serve.options import RunOptions
from cello.serve.served import Served, is_importing
from cello.serve.server import Server

_CODE_OF_A_MODULE = "<module>"


def run(app: Served, given: Mapping[str, object]) -> None:
    """Do what `App.run(**given)` promises; returns after a graceful end.

    Raises:
        ConfigError: An unknown or impossible option; or the call stands at module level while a foreign host (or any
            other code) imports the module.
        SystemExit: The server could not start, or its shutdown failed.
    """
    options.check_names(given)
    if is_importing():
        app.run_options = dict(given)
        return
    _refuse_foreign_import(sys._getframe(1))
    _refuse_running_loop()
    found = options.resolve(
        given,
        arguments=options.read_arguments(sys.argv[1:]),
        environment=os.environ,
        tls=app.settings.tls,
        cluster=app.settings.cluster,
    )
    code = start(app, found)
    if code:
        raise SystemExit(code)


def start(app: Served, found: RunOptions) -> int:
    """Serve as one process, as a supervisor, or as the zygote of one; return the exit code."""
    tell_app(app, found)
    if options.ZYGOTE_VARIABLE in os.environ:
        from cello.serve import zygote  # only where there are several processes

        assignment = zygote.take_assignment(os.environ)
        if assignment is not None:
            return zygote.Zygote(app, found, assignment).run()
    found = systemd.with_activated_sockets(found, os.environ)
    for text in (*found.notices, console.rival_warning()):
        if text is not None:
            console.notice(text)
    if found.is_supervised and hasattr(os, "fork"):
        replace_by_supervisor(found)
    if found.is_supervised:
        console.notice("this system has no fork: one process, without workers, reload or replacement")
    return Server(app, found).run()


def replace_by_supervisor(found: RunOptions) -> NoReturn:
    """Turn this process into a supervisor that starts its command again as the zygote."""
    main = sys.modules.get("__main__")
    if getattr(main, "__file__", None) is None and "-c" not in sys.orig_argv:
        raise ConfigError(
            "several workers and reload need a program that can be started again, from a file; "
            "in an interactive session run one worker without reload"
        )
    from cello.serve.supervisor import exec_supervisor

    exec_supervisor(found, [sys.executable, *sys.orig_argv[1:]])


def tell_app(app: Served, found: RunOptions) -> None:
    """Let the application know what was decided, before its start-up hooks run."""
    app.debug = found.debug
    app.env = found.env
    if found.name is not None:
        app.name = found.name
    log = app.feature("logging")
    if log is None:
        if found.logs:
            app.enable_logging(format=found.log_format)
        return
    log.override(
        found.logs if found.was_said("logs") else None, found.log_format if found.was_said("log_format") else None
    )


def _refuse_foreign_import(frame: FrameType | None) -> None:
    """Raise when a module other than the main one is just being imported by code that called `app.run()`."""
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if frame.f_code.co_name == _CODE_OF_A_MODULE and name != "__main__" and _is_module(name, frame):
            raise ConfigError(
                f"app.run() was called while the module {name!r} is being imported by another program, which would "
                'start a server inside it; write\n\n    if __name__ == "__main__":\n        app.run()\n'
            )
        frame = frame.f_back


def _is_module(name: object, frame: FrameType) -> bool:
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module is not None and vars(module) is frame.f_globals


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigError("app.run() starts an event loop of its own; call it from plain code, not from a coroutine")
