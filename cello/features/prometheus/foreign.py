"""The application's own metrics, made with prometheus-client: shown beside ours, summed over the workers.

The client sums over processes by files in a directory that must be known when it is first imported. cello's own server
sets that (`PROMETHEUS_MULTIPROC_DIR`) before it imports the application; under other hosts whoever starts them does.
"""

import logging
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

logger = logging.getLogger("cello.prometheus")

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CLIENT = "prometheus_client"


class Families:
    """A registry as the client's writers of text want it: the families that do not have one of our names.

    Args:
        registry: The client's own.
        ours: The names that are taken.
    """

    def __init__(self, registry: Any, ours: set[str]) -> None:
        self._registry = registry
        self._ours = ours

    def collect(self) -> Iterable[Any]:
        """Yield families."""
        for family in self._registry.collect():
            if family.name in self._ours:
                logger.warning(
                    "the metric %s of prometheus-client has a name of cello's own and is left out", family.name
                )
            else:
                yield family


def text_of(ours: set[str], *, openmetrics: bool) -> str:
    """Return the lines of all metrics that were made with prometheus-client, "" where there are none.

    Args:
        ours: Names that are taken, without `_total`.
        openmetrics: In which of the formats.
    """
    folder = os.environ.get(VARIABLE)
    if CLIENT not in sys.modules and not (
        folder and os.path.isdir(folder) and os.listdir(folder) and find_spec(CLIENT)
    ):
        return ""
    client = import_module(CLIENT)
    registry = client.REGISTRY
    if folder:
        registry = client.CollectorRegistry()
        import_module(f"{CLIENT}.multiprocess").MultiProcessCollector(registry, folder)
    writer = import_module(f"{CLIENT}.openmetrics.exposition") if openmetrics else import_module(f"{CLIENT}.exposition")
    raw: bytes = writer.generate_latest(Families(registry, ours))
    return raw.decode().removesuffix("# EOF\n")


def warn_where_apart(*, has_other_workers: bool) -> None:
    """Say that the client's metrics are each worker's own, where they are."""
    if has_other_workers and CLIENT in sys.modules and not os.environ.get(VARIABLE):
        logger.warning(
            "metrics of prometheus-client are not summed over the workers: set %s to an empty directory before the "
            "server starts",
            VARIABLE,
        )
