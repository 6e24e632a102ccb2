"""What a dispatch adds to the call of a handler, without a server or database."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from cello.cqrs import CommandBus


@dataclass
class Rename:
    """A small command."""

    id: int
    name: str


MANY = 200


def made(handler: Any) -> CommandBus:
    bus = CommandBus()
    bus.register(Rename, handler)
    return bus


async def many(bus: CommandBus) -> None:
    for number in range(MANY):
        assert (await bus.dispatch(Rename(number, "Ada"))).success


@pytest.mark.benchmark(group=f"cqrs: {MANY} dispatches, one after the other")
def test_to_a_coroutine(benchmark: Any) -> None:
    async def rename(command: Rename) -> int:
        return command.id

    with asyncio.Runner() as runner:
        benchmark(lambda: runner.run(many(made(rename))))


@pytest.mark.benchmark(group=f"cqrs: {MANY} dispatches, one after the other")
def test_to_a_plain_function(benchmark: Any) -> None:
    with asyncio.Runner() as runner:
        bus = made(lambda command: command.id)
        benchmark(lambda: runner.run(many(bus)))
