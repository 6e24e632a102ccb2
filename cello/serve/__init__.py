"""Processes and loops: cello's own server, from the options of `app.run()` to the last answer of a drain.

`run` is all that `App.run` needs; the modules beside it are one idea each:

    options      what the server was told, by whom, and what follows from it
    importing    "module:app" → the App, and the rule for an `app.run()` met on the way
    sockets      where it listens
    tls          certificates
    server       one process: loop, connections, signals, drain
    supervisor   several processes: generations, signals, reload; never imports the application
    zygote       the process that imports the application and forks the workers
    reload       seeing that a source file changed
    console      what is printed
    client_metrics  where metrics of prometheus-client are added up
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cello.serve.served import Served


def run(app: "Served", given: Mapping[str, object]) -> None:
    """Do what `App.run(**given)` promises; see `cello.serve.entry.run`."""
    # Imported here: `cello --help` and `cello.serve.options` need neither a loop nor a gateway.
    from cello.serve import entry

    entry.run(app, given)
