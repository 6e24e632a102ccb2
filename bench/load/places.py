"""Where things are: sources in this folder, everything made (virtualenvs, binaries, logs) below `.cache/bench`."""

from pathlib import Path

LOAD = Path(__file__).resolve().parent
CHECKOUT = LOAD.parent.parent
APPS = LOAD / "apps"
NATIVE = LOAD / "native"
RESULTS = LOAD.parent / "results"
CACHE = CHECKOUT / ".cache" / "bench"
LOGS = CACHE / "logs"
