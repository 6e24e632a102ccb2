"""DataLoader: many loads become one, and each key is loaded once."""

import asyncio

import pytest

from cello import ConfigError
from cello.graphql import DataLoader

pytestmark = pytest.mark.asyncio


def counting(colour, **options):
    batches = []

    def double(keys):
        batches.append(list(keys))
        return [ValueError("odd") if key == 13 else 2 * key for key in keys]

    async def double_async(keys):
        return double(keys)

    return DataLoader(double if colour == "def" else double_async, **options), batches


async def test_loads_of_one_turn_are_one_batch(colour):
    loader, batches = counting(colour)
    assert await asyncio.gather(*map(loader.load, [1, 2, 1, 3])) == [2, 4, 2, 6]
    assert await loader.load_many([3, 4]) == [6, 8]
    assert batches == [[1, 2, 3], [4]]


async def test_what_was_loaded_is_kept_until_it_is_cleared(colour):
    loader, batches = counting(colour)
    for clear in (lambda: None, lambda: loader.clear(1), loader.clear):
        clear()
        await loader.load(1)
    assert batches == [[1], [1], [1]]


async def test_a_key_that_fails_fails_alone(colour):
    loader, _ = counting(colour)
    one, thirteen = await asyncio.gather(loader.load(1), loader.load(13), return_exceptions=True)
    assert one == 2
    assert isinstance(thirteen, ValueError)


async def test_batches_have_a_size(colour):
    loader, batches = counting(colour, max_batch_size=2)
    await loader.load_many(range(5))
    assert batches == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(
    "batch", [lambda keys: [], lambda keys: None, lambda keys: 1 / 0], ids=["few", "none", "raises"]
)
async def test_a_batch_that_is_wrong_fails_all_of_its_keys(batch):
    loader = DataLoader(batch)
    for outcome in await asyncio.gather(loader.load(1), loader.load(2), return_exceptions=True):
        assert isinstance(outcome, TypeError | ZeroDivisionError)


async def test_what_is_no_function_is_refused():
    for arguments in ({"batch_fn": None}, {"batch_fn": len, "max_batch_size": 0}):
        with pytest.raises(ConfigError):
            DataLoader(**arguments)
