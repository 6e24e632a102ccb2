"""What multiplies the table: three ways to cut the bytes, and the head scanners that are there."""

from collections.abc import Iterator

from cello.errors import ConfigError
from cello.wire.tiers import Tier, choose_tier

CUTS = ("whole", "bytes", "odd")


def cut(data: bytes, how: str) -> Iterator[bytes]:
    """Yield `data` in pieces."""
    if how == "whole":
        yield data
    elif how == "bytes":
        for at in range(len(data)):
            yield data[at : at + 1]
    else:
        at, sizes = 0, (1, 2, 13, 3, 7, 64, 5)
        turn = 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            yield data[at : at + size]
            at += size
            turn += 1


def available_tiers() -> list[Tier]:
    """Return every head scanner that this Python has."""
    tiers = []
    for name in ("compiled", "httptools", "h11"):
        try:
            tiers.append(choose_tier(name))
        except ConfigError:
            continue
    return tiers
