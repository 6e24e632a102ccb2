"""Limits over several machines: counts in Redis, by scripts that run there at once or not at all, on Redis' own clock.

A client belongs to the loop that it was made on, so each loop has its own. When Redis cannot be reached the answer is
None, at once, and for a second nothing further is tried, so that no request waits for a server that is down. Scripts
are known by their hash and sent anew to a server that has forgotten them.
"""

import asyncio
import logging
import time
from typing import Any

from cello.database import RedisConfig
from cello.database.redis.driver import make_client, require_redis
from cello.errors import ConfigError
from cello.features.rate_limit.config import MOST_EXACT, SLIDING_WINDOW, RateLimitConfig
from cello.features.rate_limit.limits import read_room
from cello.features.rate_limit.windows import STEPS, Taken

logger = logging.getLogger("cello")

PREFIX = "cello:rate_limit:"
PAUSE_S = 1.0
_COMPLAIN_EVERY_S = 10.0

# All times are whole microseconds, which Lua's numbers hold exactly until the year 2255.
_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000000 + t[2]; "

BUCKET = (
    _NOW
    + """
local interval, full = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = tonumber(redis.call('GET', KEYS[1]) or 0)
local start = math.max(held, now)
local room = full - (start + interval - now)
if room >= 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', start + interval), 'PX', math.ceil((start + interval - now) / 1000))
end
return room
"""
)
"""One key: the moment at which the bucket is full again. Gives the room that is left, or minus the time to wait."""

EXACT = (
    _NOW
    + """
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local newest = tonumber(redis.call('LINDEX', KEYS[1], -1) or 0)
now = math.max(now, newest)
while true do
  local oldest = redis.call('LINDEX', KEYS[1], 0)
  if not oldest or now - tonumber(oldest) < window then break end
  redis.call('LPOP', KEYS[1])
end
local count = redis.call('LLEN', KEYS[1])
if count >= limit then
  return {tonumber(redis.call('LINDEX', KEYS[1], 0)) + window - now, 0, newest + window - now}
end
redis.call('RPUSH', KEYS[1], string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
return {0, limit - count - 1, window}
"""
)
"""One list of moments. Gives the time to wait, what remains, and the time until nothing counts."""

STEPPED = (
    _NOW
    + """
local limit, step, steps = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local current = math.floor(now / step)
local held, total, first, last = redis.call('HGETALL', KEYS[1]), 0, {}, current
local counts, numbers = {}, {}
for at = 1, #held, 2 do
  local number = tonumber(held[at])
  if current - number > steps then
    redis.call('HDEL', KEYS[1], held[at])
  else
    counts[number] = tonumber(held[at + 1]); total = total + counts[number]; numbers[#numbers + 1] = number
  end
end
if total >= limit then
  table.sort(numbers)
  local leaves = numbers[1]
  for _, number in ipairs(numbers) do
    leaves = number; total = total - counts[number]
    if total < limit then break end
  end
  return {(leaves + steps + 1) * step - now, 0, (numbers[#numbers] + steps + 1) * step - now}
end
redis.call('HINCRBY', KEYS[1], string.format('%.0f', current), 1)
redis.call('PEXPIRE', KEYS[1], math.ceil((steps + 1) * step / 1000))
return {0, limit - total - 1, (current + steps + 1) * step - now}
"""
)
"""One hash of steps and their counts; the results are those of `EXACT`."""


class RedisStore:
    """The counts of all limits in one Redis, or one cluster.

    Args:
        config: Which; a URL will do.
        timeout_s: How long a request may wait for it.

    Raises:
        ConfigError: It is no URL of Redis, or the time is out of range.
        MissingDependency: The client is not installed.
    """

    def __init__(self, config: RedisConfig | str, timeout_s: float) -> None:
        if not isinstance(config, RedisConfig | str):
            raise ConfigError(f"enable_rate_limit: redis is a URL, a RedisConfig or True, not {config!r:.80}")
        if not timeout_s > 0:
            raise ConfigError(f"enable_rate_limit: redis_timeout_ms must be above 0, not {timeout_s * 1000!r:.40}")
        require_redis("enable_rate_limit with Redis")
        self._config = RedisConfig(url=config) if isinstance(config, str) else config
        self._prefix = (self._config.key_prefix or "") + PREFIX
        self._timeout_s = timeout_s
        self._clients: dict[int, _Client] = {}
        self._down_until = 0.0
        self._quiet_until = 0.0
        self.failures = 0

    async def take(self, name: str, config: RateLimitConfig, capacity: int, key: str) -> Taken | None:
        """Count a request; None where Redis does not answer in time."""
        if time.monotonic() < self._down_until:
            self.failures += 1
            return None
        from redis.exceptions import RedisError

        client = self._client()
        # Without braces, by which a cluster would keep all keys of a route with parameters on one node.
        where = f"{self._prefix}{name.replace('{', '<').replace('}', '>')}:{key}"
        window = -(-config.window_ns // 1_000)
        try:
            async with asyncio.timeout(self._timeout_s):
                if config.algorithm != SLIDING_WINDOW:
                    interval = -(-window // capacity)
                    room = await client.bucket(keys=[where], args=[interval, interval * capacity])
                    return read_room(room * 1_000, interval * 1_000, interval * capacity * 1_000)
                if capacity <= MOST_EXACT:
                    found = await client.exact(keys=[where], args=[capacity, window])
                else:
                    found = await client.stepped(keys=[where], args=[capacity, -(-window // STEPS), STEPS])
                return Taken(found[0] * 1_000, found[1], found[2] * 1_000)
        except (RedisError, OSError, TimeoutError) as error:
            self._note_failure(error)
            return None

    async def ping(self) -> None:
        """Ask Redis for a sign of life; raises whatever its client does where there is none."""
        async with asyncio.timeout(self._timeout_s):
            await self._client().redis.ping()

    def _client(self) -> "_Client":
        loop = asyncio.get_running_loop()
        client = self._clients.get(id(loop))
        if client is None or client.loop is not loop:
            client = self._clients[id(loop)] = _Client(self._config, loop)
        return client

    def _note_failure(self, error: BaseException) -> None:
        now = time.monotonic()
        self.failures += 1
        self._down_until = now + PAUSE_S
        if now >= self._quiet_until:
            self._quiet_until = now + _COMPLAIN_EVERY_S
            logger.warning(
                "rate limits cannot be counted, Redis does not answer: %s", str(error) or type(error).__name__
            )

    async def close(self) -> None:
        """Close the connections of the running loop."""
        client = self._clients.pop(id(asyncio.get_running_loop()), None)
        if client is not None:
            await client.redis.aclose()


class _Client:
    """The connections of one loop, and the scripts."""

    def __init__(self, config: RedisConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.redis: Any = make_client(config, aio=True)
        self.bucket: Any = self.redis.register_script(BUCKET)
        self.exact: Any = self.redis.register_script(EXACT)
        self.stepped: Any = self.redis.register_script(STEPPED)
