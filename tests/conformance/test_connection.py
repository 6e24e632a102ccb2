"""The conformance table through real sockets and the real Connection, down to what the client reads."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cello import App, Request
from cello.wire.tiers import Tier
from tests.conformance.cuts import available_tiers, cut
from tests.conformance.rows import INCOMPLETE, LIMITS, ROWS, Accepted, Row
from tests.gateways.native.lines import PROBE, Line, turn, working

UNREGISTERED = {"OPTIONS": 204, "get": 405}
"""Methods that have no route of their own, and their status; names of routes' methods are upper case."""

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True)
class Way:
    """A head scanner, and whether the compiled lane stands in front of the general one."""

    tier: Tier
    in_front: bool = False

    @property
    def id(self) -> str:
        return "lane" if self.in_front else self.tier.name


WAYS = [
    *(Way(tier) for tier in available_tiers()),
    *(Way(tier, in_front=True) for tier in available_tiers() if tier.name == "compiled"),
]


@pytest.fixture(params=WAYS, ids=lambda way: way.id)
def way(request: pytest.FixtureRequest) -> Way:
    made: Way = request.param
    return made


def echo_app() -> App:
    """An application that takes any request and says what it was."""
    app = App()
    app.set_limits(LIMITS)
    methods = sorted({accepted.method for accepted in all_accepted()} - UNREGISTERED.keys())

    def echo(request: Request) -> dict[str, object]:
        return said(
            request.method, request.raw_path, request.query_string, request.body(), request.http_version,
            request.headers.get("host", ""),
        )  # fmt: skip

    app.add_route("/", echo, methods=methods)
    app.add_route("/{rest:path}", echo, methods=methods)
    return app


def all_accepted() -> Iterator[Accepted]:
    for row in ROWS:
        yield from (item for item in row.outcome if isinstance(item, Accepted))


def said(method: str, path: str, query: str, body: bytes, version: str, host: str) -> dict[str, object]:
    target = f"{path}?{query}" if query else path
    return {"method": method, "target": target, "body": body.decode("latin-1"), "version": version, "host": host}


async def check(line: Line, expected: Accepted) -> None:
    answer = await line.answer(expected.method)
    if answer.status == 100:
        answer = await line.answer(expected.method)
    assert answer.status == UNREGISTERED.get(expected.method, 200)
    if answer.status != 200:
        return
    assert answer.keeps is expected.keep
    if expected.version == "1.0":
        assert answer.headers.get("connection") == ("keep-alive" if expected.keep else "close")
    if expected.method == "HEAD":
        return
    target, _, query = expected.target.partition("?")
    assert json.loads(answer.body) == said(
        expected.method, target, query, expected.body, expected.version, expected.host
    )


@pytest.mark.parametrize("how", ["whole", "odd"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_the_server_agrees_with_the_table(row: Row, how: str, way: Way) -> None:
    async with working(echo_app(), way.tier) as worker, asyncio.timeout(20):
        line = await worker.connect(in_front=way.in_front)
        for piece in cut(row.data, how):
            line.send(piece)
            if how != "whole":
                await turn(1)
        for expected in row.outcome:
            if isinstance(expected, Accepted):
                await check(line, expected)
                if not expected.keep:
                    assert await line.at_end()
            elif isinstance(expected, int):
                answer = await line.answer()
                assert answer.status == expected
                assert answer.headers["content-type"] == "application/problem+json"
                assert not answer.keeps
                assert await line.at_end()
            else:
                assert expected == INCOMPLETE
                line.half_close()
                left = await line.reader.read()
                assert left in (b"", b"HTTP/1.1 100 Continue\r\n\r\n")
        if isinstance(row.outcome[-1], Accepted) and row.outcome[-1].keep:
            line.send(PROBE)
            assert (await line.answer()).status == 200
