"""Where metrics of prometheus-client are added up over workers: a directory that it must know when it is imported.

So the supervisor makes one before any application is imported, unless whoever started it named one. Counters of dead
workers stay in it; their "live" gauges are the zygote's to remove.
"""

import contextlib
import os
from collections.abc import Iterator, MutableMapping
from importlib.util import find_spec
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextlib.contextmanager
def directory(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Name a directory in `environment` for as long as the service runs, where prometheus-client is installed."""
    if environment.get(VARIABLE) or find_spec("prometheus_client") is None:
        yield
        return
    import tempfile  # both bring all compressors, and few applications come here

    path = environment[VARIABLE] = tempfile.mkdtemp(prefix="cello-prometheus-")
    try:
        yield
    finally:
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def forget(pid: int) -> None:
    """Remove the gauges of a process that has ended, which say what lives."""
    path = os.environ.get(VARIABLE)
    if path:
        for file in Path(path).glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)
