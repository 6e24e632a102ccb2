"""The least that cello must reach: a peer's CPU time per request as a multiple of cello's, in the same run.

For the floor the same number is cello's share of it: floor ÷ cello. Peers without a row of their own must cost 1.8
times as much at every workload.
"""

TARGETS: dict[str, dict[str, float]] = {
    "cello-framework": {
        "plaintext": 1.8,
        "json": 1.5,
        "param": 1.6,
        "post": 2.4,
        "async": 3.5,
        "suspend": 2.0,
        "headers": 1.7,
        "pipelined": 5.0,
        "websocket": 3.0,
        "websocket-def": 1.0,
    },
    "picows": {"websocket": 0.75, "websocket-64k": 0.85},
    "fastwsgi": {"plaintext": 1.1, "json": 1.2, "param": 1.15, "post": 1.3, "headers": 1.5},
    "floor": {"plaintext": 0.75, "json": 0.75, "param": 0.70},
}
_OTHERS = frozenset(
    ["granian", "socketify", "falcon", "blacksheep", "starlette", "fastapi", "litestar", "sanic", "aiohttp", "robyn"]
)
_OTHERS_LEAST = 1.8


def least(peer: str, workload: str) -> float | None:
    """Return the ratio that must be reached, or None where nothing is asked."""
    if peer in _OTHERS and not workload.startswith("websocket"):
        return _OTHERS_LEAST
    return TARGETS.get(peer, {}).get(workload)
