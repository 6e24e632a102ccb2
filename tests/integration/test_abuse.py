"""The attacks of bench/abuse, scaled down: every limit against a client that abuses it (in full: `make abuse`)."""

import sys
import tempfile

import pytest

from bench.abuse import attacks

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the server is watched through /proc"),
]


async def test_slow_headers_are_cut():
    await attacks.slow_headers(connections=60, read_header=1.0)


async def test_slow_bodies_are_cut():
    await attacks.slow_bodies(connections=30, read_body=1.0)


async def test_slow_readers_are_dropped_in_bounded_memory():
    await attacks.slow_reader(connections=8, write=1.0)


async def test_idle_connections_cost_little():
    await attacks.idle_connections(connections=800)


async def test_connections_beyond_the_limit_are_refused():
    await attacks.beyond_the_limit(limit=40)


async def test_churn_leaves_nothing_behind():
    await attacks.churn(connections=1000)


async def test_floods_are_refused():
    await attacks.floods(scale=0.6)


async def test_a_pipelining_flood_is_held_back():
    await attacks.pipelining()


async def test_large_uploads_are_streamed_in_little_memory():
    await attacks.large_uploads(megabytes=100, at_once=2)


async def test_clients_that_leave_early_leave_nothing_behind():
    await attacks.early_closes(times=80)


async def test_garbage_is_refused():
    with tempfile.TemporaryDirectory(prefix="c") as short:
        await attacks.garbage(f"{short}/s", requests=1500)
