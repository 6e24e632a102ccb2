"""Run every attack in full, or those named: `python -m bench.abuse [NAME...]`. Prints what was seen, one line each."""

import asyncio
import json
import sys
import tempfile
import time

from bench.abuse import attacks

NAMES = [
    "slow_headers", "slow_bodies", "minimum_rate", "slow_reader", "idle_connections", "beyond_the_limit", "churn",
    "floods", "pipelining", "large_uploads", "early_closes", "garbage",
]  # fmt: skip


def main(names: list[str]) -> int:
    """Run attacks; return how many limits did not hold."""
    failures = 0
    with tempfile.TemporaryDirectory(prefix="c") as short:
        for name in names or NAMES:
            began = time.monotonic()
            attack = getattr(attacks, name)
            try:
                seen = asyncio.run(attack(f"{short}/s") if name == "garbage" else attack())
                print(f"{name}: holds, {time.monotonic() - began:.0f} s: {json.dumps(seen)}", flush=True)
            except AssertionError as error:
                failures += 1
                print(f"{name}: DOES NOT HOLD, {time.monotonic() - began:.0f} s: {error!s:.2000}", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
