"""`python -m tests.fuzz NAME [libFuzzer arguments]`: feed a target with atheris, guided by the code it reaches.

Without a NAME each target runs for `-seconds` seconds (30), one after the other. Where atheris is not installed
(`pip install atheris`; CPython 3.11 or later, Linux and macOS), hypothesis makes 20,000 examples of each instead.
"""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

from tests.fuzz import NAMES

EXAMPLES = 20_000


def main(arguments: list[str]) -> int:
    """Run one target, or all in turn; return the worst exit code."""
    if arguments and arguments[0] in NAMES:
        name, *rest = arguments
        return with_atheris(name, rest) if find_spec("atheris") else with_hypothesis(name)
    seconds = arguments[0].removeprefix("-seconds=") if arguments else "30"
    if not seconds.isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    return max(
        subprocess.run([sys.executable, "-m", "tests.fuzz", name, f"-max_total_time={seconds}"], check=False).returncode
        for name in NAMES
    )


def with_atheris(name: str, arguments: list[str]) -> int:
    """Never returns where a fault is found: libFuzzer ends the process, and writes the bytes to a file."""
    import atheris

    with atheris.instrument_imports(include=["cello.wire", "cello.http.url", "cello.errors"]):
        targets = import_module("tests.fuzz.targets")
    atheris.Setup([f"fuzz-{name}", "-max_len=2000", "-print_final_stats=1", *arguments], targets.TARGETS[name])
    atheris.Fuzz()
    return 0


def with_hypothesis(name: str) -> int:
    """Make many examples."""
    from hypothesis import HealthCheck, given, settings

    from tests.fuzz.targets import TARGETS
    from tests.fuzz.test_targets import streams

    print(f"{name}: atheris is not installed, {EXAMPLES} examples by hypothesis")
    settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))(
        given(streams(name))(TARGETS[name])
    )()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
